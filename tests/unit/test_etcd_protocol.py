"""What etcd3 describes, and what is added to it, is what etcd understands."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from k8s_ovs.observe.etcd.messages import PROGRESS_REQUEST
from k8s_ovs.observe.etcd.protocol import described, rpc, stub

#: Per service, the calls that k8s-ovs makes, and which of request and answer are streams.
CALLS = {
    "KV": {"Range": "unary_unary", "DeleteRange": "unary_unary", "Txn": "unary_unary"},
    "Lease": {
        "LeaseGrant": "unary_unary",
        "LeaseRevoke": "unary_unary",
        "LeaseKeepAlive": "stream_stream",
    },
    "Auth": {"Authenticate": "unary_unary"},
    "Watch": {"Watch": "stream_stream"},
    "Maintenance": {"Status": "unary_unary", "Snapshot": "unary_stream"},
}


class Channel:
    """Says how a call is made, instead of making it."""

    def __getattr__(self, kind: str) -> Any:
        return lambda path, **serializers: (kind, path, *serializers)


@pytest.mark.parametrize("service", CALLS)
def test_each_call_has_its_path_and_its_streams(service: str) -> None:
    calls = vars(stub(Channel(), service))
    both = ("request_serializer", "response_deserializer")
    for name, kind in CALLS[service].items():
        assert calls[name] == (kind, f"/etcdserverpb.{service}/{name}", *both)


def test_what_etcd_3_4_brought_has_the_numbers_that_etcd_gave_it() -> None:
    assert PROGRESS_REQUEST.SerializeToString() == b"\x1a\x00"
    assert PROGRESS_REQUEST.WhichOneof("request_union") == "progress_request"
    assert list(rpc.StatusResponse.FromString(b"\x42\x01a\x42\x01b").errors) == ["a", "b"]


def test_what_is_added_is_not_in_etcd3() -> None:
    etcd3 = find_spec("etcd3")
    assert etcd3 is not None
    protocol = described(Path(str(etcd3.origin)).with_name("etcdrpc") / "rpc_pb2.py")
    fields = {
        message.name: {field.name for field in message.field} for message in protocol.message_type
    }
    assert "WatchProgressRequest" not in fields
    assert "progress_request" not in fields["WatchRequest"]
    assert "errors" not in fields["StatusResponse"]


def test_a_module_of_another_kind_is_named(tmp_path: Path) -> None:
    module = tmp_path / "rpc_pb2.py"
    module.write_text("DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'')\n")
    with pytest.raises(ImportError, match=rf"^{module} has no serialized_pb, expected one as in"):
        described(module)
