"""What a Pod of the API server asks for: limits of its annotations, and whose they are."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.plugin import Rates
from k8s_ovs_shaping.bandwidth import EGRESS, INGRESS, Bandwidth, bandwidth_of, pods, rates_of
from k8s_ovs_testing.world import sample_pod

KEY = "default/web"
ACCEPTED = "expected a number such as 500k, 10M, 1.5G, 10Mi or 10000000"
IN_RANGE = "expected 1k to 1P bits per second"


def pod_object(annotations: Any = None, uid: str = "uid1") -> dict[str, Any]:
    """As the API server tells it; `annotations` None: it has none."""
    told = {} if annotations is None else {"annotations": annotations}
    return {"metadata": {"name": "web", "namespace": "default", "uid": uid, **told}}


@pytest.mark.parametrize(
    ("annotations", "rates"),
    [
        (None, Rates()),
        ({}, Rates()),
        ({"other": "10M"}, Rates()),
        ({INGRESS: "10M"}, Rates(to_pod=10_000_000)),
        ({EGRESS: "20M"}, Rates(from_pod=20_000_000)),
        ({INGRESS: "10M", EGRESS: "1.5G"}, Rates(10_000_000, 1_500_000_000)),
    ],
)
def test_each_direction_has_an_annotation_of_its_own(annotations: Any, rates: Rates) -> None:
    assert bandwidth_of(KEY, pod_object(annotations)) == Bandwidth(frozenset({"uid1"}), rates)


@pytest.mark.parametrize("annotations", [{INGRESS: "10M"}, {INGRESS: "much"}, None])
@pytest.mark.parametrize(
    "without_interface",
    [
        {"spec": {"hostNetwork": True}},
        {"status": {"phase": "Succeeded"}},
        {"status": {"phase": "Failed"}},
        {"spec": {"hostNetwork": True}, "status": {"phase": "Running"}},
    ],
)
def test_a_pod_without_an_interface_of_ours_is_not_looked_at(
    without_interface: dict[str, Any], annotations: Any
) -> None:
    assert bandwidth_of(KEY, pod_object(annotations) | without_interface) is None


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
def test_a_pod_that_may_still_run_is_looked_at(phase: str) -> None:
    living = {"spec": {"hostNetwork": False}, "status": {"phase": phase}}
    with pytest.raises(InvalidRecord, match="found"):
        bandwidth_of(KEY, pod_object({INGRESS: "much"}) | living)


def test_the_annotations_are_kubernetes_own() -> None:
    assert INGRESS == "kubernetes.io/ingress-bandwidth"
    assert EGRESS == "kubernetes.io/egress-bandwidth"


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1k", 10**3), ("1000", 10**3), ("999.5", 10**3), ("1P", 10**15), ("1000T", 10**15)],
)
def test_from_a_thousand_bits_to_a_quadrillion_all_is_accepted(text: str, rate: int) -> None:
    assert bandwidth_of(KEY, pod_object({INGRESS: text})).rates.to_pod == rate


@pytest.mark.parametrize("name", [INGRESS, EGRESS])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", IN_RANGE),
        ("999", IN_RANGE),
        ("1m", IN_RANGE),
        ("1000000000000001", IN_RANGE),
        ("1Pi", IN_RANGE),
        ("1E", IN_RANGE),
        ("", ACCEPTED),
        ("fast", ACCEPTED),
        ("10Mbit", ACCEPTED),
        ("-10M", ACCEPTED),
    ],
)
def test_a_refusal_names_pod_annotation_value_and_what_is_accepted(
    name: str, text: str, expected: str
) -> None:
    other = {INGRESS: EGRESS, EGRESS: INGRESS}[name]
    with pytest.raises(InvalidRecord) as refused:
        bandwidth_of(KEY, pod_object({name: text, other: "10M"}))
    assert str(refused.value) == f'pod default/web: {name}: found "{text}", {expected}'


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (5, "pod default/web: found 5, expected an object"),
        ({"spec": 5}, "pod default/web: spec: found 5, expected an object"),
        (
            {"spec": {"hostNetwork": "yes"}},
            "pod default/web: spec.hostNetwork: found 'yes', expected true or false",
        ),
        ({"status": {"phase": []}}, "pod default/web: status.phase: found [], expected a string"),
        ({"metadata": "web"}, "pod default/web: metadata: found 'web', expected an object"),
        (
            {"metadata": {"annotations": ["a"]}},
            "pod default/web: metadata.annotations: found ['a'], expected an object",
        ),
        ({"metadata": {"uid": {}}}, "pod default/web: metadata.uid: found {}, expected a string"),
        (
            {"metadata": {"annotations": {INGRESS: 5}}},
            f'pod default/web: {INGRESS}: found 5, expected a string such as "10M"',
        ),
    ],
)
def test_a_field_of_another_type_is_refused_by_its_name(found: Any, told: str) -> None:
    with pytest.raises(InvalidRecord) as refused:
        bandwidth_of(KEY, found)
    assert str(refused.value) == told


def test_it_is_of_the_pod_with_its_uid_and_of_one_that_tells_none() -> None:
    asked = bandwidth_of(KEY, pod_object(uid="uid1"))
    assert asked.is_of("uid1")
    assert asked.is_of("")
    assert not asked.is_of("uid2")


def test_a_static_pod_is_known_by_the_uid_that_kubelet_gives_it_too() -> None:
    """Its mirror in the API server has one of its own."""
    mirror = pod_object({"kubernetes.io/config.hash": "hash1", EGRESS: "5M"}, uid="uid1")
    asked = bandwidth_of(KEY, mirror)
    assert asked.is_of("hash1")
    assert asked.is_of("uid1")
    assert not asked.is_of("uid2")


def test_a_pod_has_the_limits_of_its_own_object_only() -> None:
    """One of the same name before or after it, or none, leaves it those that it was given last."""
    given, asked = Rates(1_000, 2_000), Rates(3_000, None)
    pod = evolve(sample_pod(1), rates=given)
    assert rates_of(Bandwidth(frozenset({pod.uid}), asked), pod) == asked
    assert rates_of(Bandwidth(frozenset({pod.uid}), Rates()), pod) == Rates()
    assert rates_of(Bandwidth(frozenset({"another"}), asked), pod) == given
    assert rates_of(None, pod) == given


def test_just_the_pods_of_this_node_are_watched() -> None:
    resource = pods()
    assert (resource.path, resource.local_only) == ("/api/v1/pods", True)
    assert resource.decode(KEY, pod_object({INGRESS: "10M"})).rates == Rates(to_pod=10_000_000)
