"""Kubernetes' notation of numbers, against another reading of it: by decimal arithmetic."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs_shaping.quantity import parse_quantity

#: As Kubernetes' documentation of resource.Quantity has them.
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}

digits = st.text("0123456789", min_size=1, max_size=15)
numbers = st.one_of(
    digits,
    st.builds("{}.{}".format, digits, digits),
    st.builds("{}.".format, digits),
    st.builds(".{}".format, digits),
)
signed = st.builds("{}{}".format, st.sampled_from(["", "+"]), numbers)


def ceiling(number: str, scale: Decimal) -> int:
    with localcontext() as context:
        context.prec = 200
        return int((Decimal(number) * scale).to_integral_value(ROUND_CEILING))


@given(number=signed, suffix=st.sampled_from(sorted(DECIMAL)))
def test_a_decimal_suffix_is_a_power_of_ten(number: str, suffix: str) -> None:
    expected = ceiling(number, Decimal(10) ** DECIMAL[suffix])
    assert parse_quantity(f"{number}{suffix}") == expected


@given(number=signed, suffix=st.sampled_from(sorted(BINARY)))
def test_a_binary_suffix_is_a_power_of_two(number: str, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == ceiling(number, Decimal(1 << BINARY[suffix]))


@given(
    number=signed, letter=st.sampled_from("eE"), exponent=st.integers(-30, 30), plus=st.booleans()
)
def test_an_exponent_is_a_power_of_ten(number: str, letter: str, exponent: int, plus: bool) -> None:
    written = f"{exponent:+d}" if plus else str(exponent)
    expected = ceiling(number, Decimal(10) ** exponent)
    assert parse_quantity(f"{number}{letter}{written}") == expected


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10M", 10_000_000),
        ("1.5G", 1_500_000_000),
        ("500k", 500_000),
        ("10Mi", 10_485_760),
        ("2e6", 2_000_000),
        ("5E", 5 * 10**18),
        ("5E3", 5_000),
        ("1m", 1),
        ("1000.0001", 1001),
        ("0", 0),
    ],
)
def test_what_people_write_is_what_they_mean(text: str, number: int) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "M", ".", "+", "-5M", "--5", "5 M", " 5M", "5M ", "5M\n", "1,5M", "1.2.3"),
        *("5K", "5g", "5mi", "5ki", "5MM", "5Mb", "5Mbit", "5MiB", "ten", "0x10", "1_000"),
        *("5e", "5e+", "5e1.5", "5e3M", "inf", "nan", "NaN", "1e1000", "٣M"),
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a number such as 500k, 10M, 1\.5G, 10Mi or "):
        parse_quantity(text)
