"""What does the log say of a request? One line, when it is answered."""

from __future__ import annotations

import structlog

from k8s_ovs.node.cni.protocol import Answer, CniError, CniRequest, CniResult

__all__ = ["identity", "log_answer", "outcome"]

_log = structlog.get_logger(__name__)


def identity(request: CniRequest) -> dict[str, str]:
    """Which request it is."""
    return {
        "command": request.command,
        "container": request.container_id,
        "interface": request.ifname,
        "namespace": request.namespace,
        "pod": request.pod,
    }


def outcome(answer: Answer) -> str:
    """ok, or the number of the error."""
    return str(int(answer.code)) if isinstance(answer, CniError) else "ok"


def log_answer(request: CniRequest, answer: Answer, sent: bool, seconds: float) -> None:
    """The one log line per request. Runtimes ask for STATUS every few seconds."""
    took = round(seconds * 1e3, 1)
    said: dict[str, object] = {"ms": took} if sent else {"ms": took, "client": "gone"}
    if request.command == "STATUS":
        _log.debug("cni", **identity(request), **said, reason=str(answer) if answer else "")
    elif isinstance(answer, CniError):
        _log.warning("cni", **identity(request), **said, code=int(answer.code), reason=str(answer))
    elif isinstance(answer, CniResult):
        _log.info("cni", **identity(request), **said, address=str(answer.address))
    else:
        _log.info("cni", **identity(request), **said)
