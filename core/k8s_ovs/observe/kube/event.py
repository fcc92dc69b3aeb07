"""Our events in `kubectl describe`."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Literal

import structlog
from attrs import frozen

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.observe.kube.client import Kube
from k8s_ovs.observe.kube.documents import Json

__all__ = ["Involved", "post_event"]

_log = structlog.get_logger(__name__)


@frozen
class Involved:
    """The object that an event is about; its namespace is empty for nodes and the like."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    api_version: str = "v1"


def post_event(
    kube: Kube,
    involved: Involved,
    reason: str,
    message: str,
    *,
    severity: Literal["Normal", "Warning"] = "Normal",
    host: str = "",
) -> bool:
    """Post a core/v1 Event; whether it was accepted. One that is not accepted is logged and
    forgotten.

    reason: one word in UpperCamelCase. host: the node that reports.
    """
    body = _event(involved, reason, message, severity, host)
    namespace = body["metadata"]["namespace"]
    try:
        kube.create(f"/api/v1/namespaces/{namespace}/events", body)
    except K8sOvsError as error:
        _log.warning("event not posted", object=involved.name, reason=reason, detail=str(error))
        return False
    return True


def _event(involved: Involved, reason: str, message: str, severity: str, host: str) -> Json:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{involved.name}.{secrets.token_hex(8)}",
            # Events of what has no namespace live in `default`, as the kubelet's of its node.
            "namespace": involved.namespace or "default",
        },
        "involvedObject": {
            "kind": involved.kind,
            "name": involved.name,
            "namespace": involved.namespace,
            "uid": involved.uid,
            "apiVersion": involved.api_version,
        },
        "reason": reason,
        "message": message[:1024],
        "type": severity,
        "source": {"component": "k8s-ovs", "host": host},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
