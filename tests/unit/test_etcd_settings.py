"""What the --etcd-... flags say is checked before etcd is asked."""

from __future__ import annotations

import pytest

from k8s_ovs.backoff import Backoff
from k8s_ovs.errors import InvalidRecord
from k8s_ovs.observe.etcd.client import EtcdSettings, parse_endpoints
from k8s_ovs.observe.etcd.messages import KeyRange, key_ranges, prefix_end

PLAIN = ("http://127.0.0.1:2379",)
SECURE = ("https://127.0.0.1:2379",)


def test_endpoints_are_a_list_with_commas() -> None:
    found = parse_endpoints("http://10.0.0.1:2379, http://[fd00::1]:2379/,")
    assert found == ("http://10.0.0.1:2379", "http://[fd00::1]:2379")
    assert EtcdSettings(found).endpoints == found


@pytest.mark.parametrize(
    "endpoint",
    [
        "10.0.0.1:2379",
        "http://10.0.0.1",
        "http://:2379",
        "ftp://10.0.0.1:2379",
        "http://10.0.0.1:port",
        "http://10.0.0.1:99999",
        "http://10.0.0.1:2379/v3",
        "http://user@10.0.0.1:2379",
    ],
)
def test_an_endpoint_that_makes_no_sense_is_named_with_its_flag(endpoint: str) -> None:
    with pytest.raises(InvalidRecord, match=r"--etcd-endpoints: .*expected http://HOST:PORT") as no:
        EtcdSettings((*PLAIN, endpoint))
    assert endpoint in str(no.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"endpoints": ()}, "--etcd-endpoints is empty"),
        ({"endpoints": SECURE, "certfile": "c"}, "--etcd-certfile is given without --etcd-keyfile"),
        ({"endpoints": SECURE, "keyfile": "k"}, "--etcd-keyfile is given without --etcd-certfile"),
        ({"endpoints": PLAIN, "cafile": "ca"}, "is not encrypted"),
        ({"endpoints": PLAIN, "password": "p"}, "without --etcd-username"),
        ({"endpoints": PLAIN, "timeout": 0.0}, "found 0 s"),
    ],
)
def test_flags_that_contradict_each_other_are_named(
    settings: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidRecord, match=words):
        EtcdSettings(**settings)  # type: ignore[arg-type]  # one flag of each type


def test_the_password_is_not_shown_with_the_settings() -> None:
    settings = EtcdSettings(("http://10.0.0.1:2379",), None, None, None, "node", "secret")
    assert "node" in repr(settings)
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [(b"/a/", b"/a0"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")],
)
def test_a_prefix_ends_before_the_next_possible_key(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end


def test_a_prefix_without_some_keys_is_the_ranges_around_them() -> None:
    assert key_ranges("/p/") == (KeyRange(b"/p/", b"/p0"),)
    assert key_ranges("") == (KeyRange(b"\0", b"\0"),)
    assert key_ranges("/p/", ["/p/n/status/", "/p/n/seen/"]) == (
        KeyRange(b"/p/", b"/p/n/seen/"),
        KeyRange(b"/p/n/seen0", b"/p/n/status/"),
        KeyRange(b"/p/n/status0", b"/p0"),
    )


def test_waits_grow_to_the_cap_and_start_over_after_success() -> None:
    backoff = Backoff(first=0.2, cap=5.0)
    limits = [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    for limit in limits:
        assert limit / 2 <= backoff.wait() <= limit
    backoff.reset()
    assert backoff.wait() <= 0.2
