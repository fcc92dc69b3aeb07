"""Which messages and calls does etcd have? Those that etcd3's files describe, and newer ones.

The descriptions are in modules that only a protobuf before 4 can import. So the modules are read,
not imported, and any protobuf makes classes of what they describe.
Source of the newer ones: etcd's api/etcdserverpb/rpc.proto.
"""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

__all__ = ["described", "rpc", "stub"]

_DESCRIBED = re.compile(r"^ *serialized_pb=_b\((.*)\)$", re.MULTILINE)


def described(module: Path) -> FileDescriptorProto:
    """The description inside of a module that protobuf's compiler wrote."""
    found = _DESCRIBED.search(module.read_text(encoding="ascii"))
    if found is None:
        raise ImportError(f"{module} has no serialized_pb, expected one as in etcd3 0.12")
    return FileDescriptorProto.FromString(ast.literal_eval(found[1]).encode("latin-1"))


def _modules() -> Path:
    etcd3 = find_spec("etcd3")
    if etcd3 is None or etcd3.origin is None:
        raise ModuleNotFoundError("etcd3 is not installed, expected 0.12", name="etcd3")
    return Path(etcd3.origin).with_name("etcdrpc")


def _add_newer(protocol: FileDescriptorProto) -> None:
    """What etcd 3.4 brought, and etcd3 0.12 does not know."""
    known = {message.name: message for message in protocol.message_type}
    protocol.message_type.add(name="WatchProgressRequest")
    known["WatchRequest"].field.add(
        name="progress_request",
        number=3,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        type_name=".etcdserverpb.WatchProgressRequest",
        oneof_index=0,
    )
    known["StatusResponse"].field.add(
        name="errors",
        number=8,
        label=FieldDescriptorProto.LABEL_REPEATED,
        type=FieldDescriptorProto.TYPE_STRING,
    )


def _protocol() -> Any:
    # A pool of its own: "rpc.proto" is a name that others have, too.
    pool, modules = DescriptorPool(), _modules()
    for name in ("kv_pb2.py", "auth_pb2.py"):
        pool.AddSerializedFile(described(modules / name).SerializeToString())
    protocol = described(modules / "rpc_pb2.py")
    _add_newer(protocol)
    return pool.AddSerializedFile(protocol.SerializeToString())


_PROTOCOL = _protocol()
#: The classes of messages, by their names.
rpc: Any = SimpleNamespace(
    **{name: GetMessageClass(each) for name, each in _PROTOCOL.message_types_by_name.items()}
)


def stub(channel: Any, service: str) -> Any:
    """The calls of a service over a gRPC channel, by their names."""
    return SimpleNamespace(
        **{each.name: _call(channel, each) for each in _PROTOCOL.services_by_name[service].methods}
    )


def _call(channel: Any, method: Any) -> Any:
    asked = "stream" if method.client_streaming else "unary"
    answered = "stream" if method.server_streaming else "unary"
    return getattr(channel, f"{asked}_{answered}")(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
