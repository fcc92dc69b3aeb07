"""Whatever comes in, of whatever type, depth or size: it is answered or set aside by itself, and
what is valid beside it works. The inputs are generated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.unit.any_values import BYTES, JSON, nested

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.codec import encode
from k8s_ovs.model.pod import Pod, pod_from_ids, pod_ids
from k8s_ovs.model.world import NODES, SUBNETS
from k8s_ovs.node import attach
from k8s_ovs.node.attach import Attachments
from k8s_ovs.node.cni.protocol import (
    MAX_REQUEST,
    CniError,
    CniRequest,
    Code,
    asked_version,
    encode_reply,
    parse_request,
    valid_attachments,
)
from k8s_ovs.node.ipam import AddressPool
from k8s_ovs.node.network import Network
from k8s_ovs.node.records.ingest import ETCD, KUBE, Ingest
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot
from k8s_ovs.ovs.ovsdb.json_parser import MessageParser
from k8s_ovs.plugin import hook
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_extlb import ExternalHosts
from k8s_ovs_multitenant import MultiTenant
from k8s_ovs_shaping import Shaping
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import (
    sample_config,
    sample_host,
    sample_local_node,
    sample_pod,
    sample_world,
)

EXAMPLES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


DEEP = [b"[" * 100_000, b'{"a":' * 50_000, b'{"cniVersion":' + b"[" * 90_000]

CONFIG = {"cniVersion": "1.1.0", "name": "k8s-ovs", "type": "k8s-ovs"}
NAMED = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"


def wire(command: str, stdin: bytes, container: str = "c1", args: str = NAMED) -> bytes:
    items = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": container,
        "CNI_NETNS": "/run/netns/pod",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": args,
    }
    head = b"\0".join(f"{k}={v}".encode(errors="surrogatepass") for k, v in items.items())
    return head + b"\0\0" + stdin


def request(command: str, container: str = "c1", args: str = NAMED, **config: Any) -> CniRequest:
    return parse_request(wire(command, json.dumps(CONFIG | config).encode(), container, args), 0.0)


COMMANDS = st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"])


@EXAMPLES
@given(COMMANDS, BYTES | st.sampled_from(DEEP), st.text(max_size=30))
def test_a_request_is_read_or_refused_with_an_answer(command: str, stdin: bytes, args: str) -> None:
    for sent in (wire(command, stdin), wire(command, json.dumps(CONFIG).encode(), args=args)):
        refusal = None
        try:
            parse_request(sent, 0.0)
        except CniError as error:
            refusal = encode_reply(error, asked_version(sent))
        assert refusal is None or (json.loads(refusal[1:])["msg"] and len(refusal) < 4096)


@EXAMPLES
@given(JSON, st.sampled_from(["cniVersion", "name", "prevResult", "args", "runtimeConfig"]))
def test_a_configuration_with_a_wrong_field_is_read_or_refused(value: Any, name: str) -> None:
    with suppress(CniError):
        request("CHECK", **{name: value})


@pytest.mark.parametrize(
    ("previous", "told"),
    [
        (None, "prevResult is malformed: found null, expected an object"),
        ([], "prevResult is malformed: found [], expected an object"),
        ({"ips": None}, "prevResult.ips is malformed: found null, expected a list of objects"),
        ({"ips": {}}, "prevResult.ips is malformed: found {}, expected a list of objects"),
        ({"ips": [None]}, "prevResult.ips[0] is malformed: found null, expected an object with"),
        ({"ips": [{"address": 7}]}, 'prevResult.ips[0] is malformed: found {"address": 7}, exp'),
        ({"ips": [{"address": "x"}]}, 'found {"address": "x"}, expected an object with an addr'),
        ({"ips": nested(90)}, "prevResult.ips is malformed: found {"),
    ],
)
def test_a_check_with_a_malformed_result_is_told_what_was_found(previous: Any, told: str) -> None:
    with pytest.raises(CniError) as raised:
        request("CHECK", prevResult=previous)
    assert raised.value.code == Code.INVALID_CONFIG
    assert told in str(raised.value)


def test_a_number_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(CniError, match="NaN is no JSON number"):
        request("ADD", mtu=float("nan"))


@pytest.mark.parametrize(
    "attachments", [0, "", False, {}, [None], [{"containerID": [], "ifname": {}}], [["a", "b"]]]
)
def test_a_gc_with_a_malformed_list_removes_nothing(attachments: Any) -> None:
    asked = request("GC", **{"cni.dev/valid-attachments": attachments})
    with pytest.raises(CniError, match=r"is malformed: found .*, expected"):
        valid_attachments(asked)


def test_the_largest_request_is_answered() -> None:
    stdin = json.dumps(CONFIG | {"prevResult": "x" * MAX_REQUEST}).encode()
    with pytest.raises(CniError) as raised:
        parse_request(wire("CHECK", stdin), 0.0)
    assert len(str(raised.value)) < 1000


class Replies:
    """Who asked, and what each was answered."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}

    def of(self, name: str) -> Any:
        def reply(answer: Any) -> bool:
            assert name not in self.answers
            self.answers[name] = answer
            return True

        return reply


def network(*plugins: object) -> Network:
    named = {f"acme-{number}": plugin for number, plugin in enumerate(plugins)}
    manager = PluginManager({"k8s-ovs-subnet": SingleTenant(), **named})
    local_node = sample_local_node()
    reconciler = Reconciler(manager, sample_world(pods=[]))
    pool = AddressPool(local_node.subnet)
    return Network(sample_config(), manager, reconciler, local_node, "netdev", pool)


class Breaks:
    """A plugin that fails on the pod `bad`, in a way that nobody expected."""

    @hook
    def admit_pod(self, view: Any, request: Any) -> None:
        if request.name == "bad":
            raise SystemExit("no more")


def test_of_requests_at_once_one_that_fails_is_answered_and_the_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mistake = ZeroDivisionError("a mistake of ours")
    link_settings = attach.link_settings

    def failing(of: Network, pod: Pod) -> Any:
        if pod.name == "ours":
            raise mistake
        return link_settings(of, pod)

    monkeypatch.setattr(attach, "link_settings", failing)
    attachments, replies = Attachments(30.0), Replies()
    for name in ("good", "bad", "ours", "fine"):
        args = f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}"
        attachments.put(request("ADD", name, args), replies.of(name))
    with capture_logs() as logs:
        planned = attachments.plan_adds(network(Breaks()), {})
    assert [add.pod.name for add in planned] == ["good", "fine"]
    assert "plugin acme-0 failed" in str(replies.answers["bad"])
    assert replies.answers["ours"].code == Code.FAILED
    assert "a mistake of ours" in str(replies.answers["ours"])
    assert mistake in [each.get("exc_info") for each in logs]


def test_a_check_and_a_delete_that_fail_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    attachments, replies = Attachments(30.0), Replies()

    def failing(*_: Any) -> Any:
        raise RecursionError("a mistake of ours")

    monkeypatch.setattr(attach, "_find", failing)
    for command in ("CHECK", "DEL"):
        attachments.put(request(command), replies.of(command))
    attachments.put(request("STATUS"), replies.of("STATUS"))
    with capture_logs():
        assert attachments.plan_removals({}) == ()
        attachments.answer_questions(network(), {})
    assert [replies.answers[name].code for name in ("CHECK", "DEL")] == [Code.FAILED] * 2
    assert replies.answers["STATUS"] is None


@pytest.mark.parametrize("args", ["", "K8S_POD_NAMESPACE=default", "K8S_POD_NAME=web"])
def test_an_add_that_does_not_name_its_pod_is_refused_at_once(args: str) -> None:
    attachments, replies = Attachments(30.0), Replies()
    attachments.put(request("ADD", args=args), replies.of("ADD"))
    answer = replies.answers["ADD"]
    assert (answer.code, answer.msg) == (
        Code.INVALID_ENVIRONMENT,
        "CNI_ARGS does not name the pod",
    )
    assert "expected also K8S_POD_NAME" in answer.details
    assert attachments.next_deadline is None


def test_an_add_whose_client_has_hung_up_is_dropped() -> None:
    attachments, replies = Attachments(30.0), Replies()
    first, second = request("ADD", "c1"), request("ADD", "c2")
    attachments.put(first, replies.of("first"))
    attachments.put(second, replies.of("second"))
    attachments.drop(first)
    attachments.drop(first)
    assert "hung up" in str(replies.answers["first"])
    assert [add.pod.container for add in attachments.plan_adds(network(), {})] == ["c2"]


def test_of_very_many_adds_the_first_are_served_first() -> None:
    attachments, replies = Attachments(30.0), Replies()
    names = [f"c{number}" for number in range(100)]
    for name in names:
        attachments.put(evolve(request("ADD", name), arrived=time.monotonic()), replies.of(name))
    served: list[str] = []
    of, pods = network(), dict[str, Pod]()
    while planned := attachments.plan_adds(of, pods):
        assert len(planned) <= 32
        served += [add.pod.container for add in planned]
        pods |= {add.pod.port: add.pod for add in planned}
        left = len(served) < len(names)
        assert (attachments.next_deadline == 0.0) is left
    assert served == names
    for name in names:
        other = evolve(request("ADD", f"{name}x"), arrived=time.monotonic())
        attachments.put(other, replies.of(f"{name}x"))
    attachments.plan_adds(of, pods)
    assert attachments.next_deadline == 0.0
    attachments.not_ready("Open vSwitch is away")
    assert attachments.next_deadline != 0.0


MANAGER = PluginManager(
    {
        "k8s-ovs-multitenant": MultiTenant(),
        "k8s-ovs-extlb": ExternalHosts(),
        "k8s-ovs-shaping": Shaping(),
    }
)
GOOD = sample_host(2)
GOOD_PATH = f"k8ssdn/{SUBNETS}/{GOOD.host_ip}"


@EXAMPLES
@given(st.dictionaries(st.text(max_size=10), BYTES, max_size=3), st.sampled_from([*MANAGER.kinds]))
def test_records_of_any_content_leave_the_valid_ones_alone(
    records: dict[str, bytes], kind: str
) -> None:
    ingest, reconciler = Ingest(), Reconciler(MANAGER, sample_world(pods=[sample_pod(1)]))
    entries = {f"k8ssdn/{kind}/{key}": Entry(data, 2) for key, data in records.items()}
    entries |= {f"k8ssdn/{kind}/deep": Entry(DEEP[0], 2), GOOD_PATH: Entry(encode(GOOD), 1)}
    with capture_logs():
        ingest.absorb(Snapshot(ETCD, entries, 3))
        ingest.absorb(RecordChange(ETCD, "config", Entry(b"[" * 100_000, 4), 4))
        assert ingest.config()[0] is None
        found = ingest.changes(sample_config(), MANAGER.kinds, MANAGER.resources)
        reconciler.update(found, 4)
        reconciler.compute()
    slot = reconciler.world.slot(SUBNETS, str(GOOD.host_ip))
    assert (slot.settled, slot.problem) == (GOOD, None)
    assert reconciler.world.slot(kind, "deep").problem is not None


@EXAMPLES
@given(JSON, st.sampled_from([*MANAGER.resources]), st.sampled_from(["metadata", "status", "spec"]))
def test_objects_of_any_shape_leave_the_valid_ones_alone(
    value: Any, resource: str, part: str
) -> None:
    good = {"metadata": {"name": "node2"}, "status": {"addresses": []}}
    ingest = Ingest()
    bad = {"metadata": {"name": "bad", "uid": "1"}, "status": {}, "spec": {}} | {part: value}
    with capture_logs():
        ingest.absorb(Snapshot(KUBE + resource, {"bad": Entry(bad), "worse": Entry(value)}))
        if resource != NODES:
            ingest.absorb(Snapshot(KUBE + NODES, {"node2": Entry(good)}))
        else:
            ingest.absorb(RecordChange(KUBE + NODES, "node2", Entry(good)))
        found = ingest.changes(sample_config(), MANAGER.kinds, MANAGER.resources)
    slot = found[NODES, "node2"]
    assert slot is not None
    assert slot.settled.name == "node2"


@EXAMPLES
@given(st.dictionaries(st.sampled_from([*pod_ids(sample_pod(1))]), st.text(max_size=12)))
def test_external_ids_of_any_content_are_a_pod_or_none(ids: Mapping[str, str]) -> None:
    pod_from_ids("veth1", 1, ids)
    found = pod_from_ids("veth1", 101, pod_ids(sample_pod(1)) | ids)
    assert found is None or isinstance(found, Pod)


@EXAMPLES
@given(st.text(max_size=100) | JSON.map(json.dumps))
def test_messages_of_ovsdb_of_any_content_end_or_go_on(text: str) -> None:
    parser = MessageParser()
    assert 0 <= parser.feed(text) <= len(text)
    assert parser.is_done() == (parser.finish() is not None)
