"""Tenants of a lab: their records in etcd as people write and read them, and who has them."""

from __future__ import annotations

import base64
import json
from typing import Any

from attrs import frozen

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.model.json_text import parse_json
from k8s_ovs_lab.lab import Lab
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that

__all__ = ["Tenants"]

_WITHIN = 30.0


@frozen
class Tenants:
    """The records below `netnamespaces/`. Methods raise K8sOvsError."""

    lab: Lab

    def text(self, namespace: str) -> str:
        """A namespace's record as etcd has it; "" if there is none."""
        return self._read().get(f"netnamespaces/{namespace}", ("", 0))[0]

    def net_ids(self) -> dict[str, int]:
        """The tenant id of each namespace."""
        return {
            key.removeprefix("netnamespaces/"): int(parse_json(text)["NetID"])
            for key, (text, _) in self._read().items()
            if key.startswith("netnamespaces/")
        }

    def put(self, namespace: str, text: str) -> None:
        """Write a record as a person does, and wait until its answer is in force everywhere."""
        self.lab.etcdctl("put", self._key(f"netnamespaces/{namespace}"), text)
        self.await_settled(namespace)

    def ask(self, namespace: str, action: str, other: str = "") -> None:
        """Ask for an action by the record, and wait until the answer is in force everywhere."""
        record = parse_json(self.text(namespace))
        record.pop("Reason", None)
        asked = record | {"Action": action, "Namespace": other}
        self.put(namespace, json.dumps(asked, separators=(",", ":")))

    def await_settled(self, namespace: str) -> None:
        """Wait until a record asks for nothing, and each node has what it says in its flows."""

        def settled() -> bool:
            records = self._read()
            text, revision = records.get(f"netnamespaces/{namespace}", ("", 0))
            if not _is_answered(text):
                raise K8sOvsError(f"{namespace}: {text!r} is not answered")
            behind = [
                node.name
                for node in self.lab.nodes
                if _applied(records.get(f"status/{node.name}", ("{}", 0))[0]) < revision
            ]
            if behind:
                raise K8sOvsError(f"{', '.join(behind)}: behind revision {revision}")
            return True

        await_that(f"the tenant of {namespace} everywhere", settled, _WITHIN)

    def _read(self) -> dict[str, tuple[str, int]]:
        """All that is below the network's name: values, and revisions of their last changes."""
        base = self._key("")
        found: Any = parse_json(self.lab.etcdctl("get", "--prefix", "--write-out=json", base))
        return {
            _plain(each["key"]).removeprefix(base): (_plain(each["value"]), each["mod_revision"])
            for each in found.get("kvs", ())
        }

    def _key(self, key: str) -> str:
        return f"{ETCD_PREFIX}/{self.lab.state.settings.network_config()['Name']}/{key}"


def _plain(text: str) -> str:
    return base64.b64decode(text).decode()


def _applied(status: str) -> int:
    """The revision that a node says it has in its flows; 0: it says nothing."""
    return int(parse_json(status).get("Revision", 0))


def _is_answered(text: str) -> bool:
    try:
        return bool(parse_json(text)["Action"] == "")
    except (ValueError, KeyError, TypeError):
        return False
