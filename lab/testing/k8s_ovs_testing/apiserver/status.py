"""How does the API server refuse?  With a Status object, as the real one."""

from __future__ import annotations

from typing import Any

__all__ = [
    "Json",
    "StatusError",
    "already_exists",
    "bad_request",
    "conflict",
    "expired",
    "invalid",
    "not_found",
    "success",
]

Json = dict[str, Any]


class StatusError(Exception):
    """A refusal; `status` is the object that the client gets."""

    def __init__(self, code: int, reason: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.code = code
        self.status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }


def success(kind: str, name: str, uid: str) -> Json:
    """The Status object of a deletion."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": name, "kind": kind, "uid": uid},
    }


def bad_request(message: str) -> StatusError:
    """400: the request is invalid."""
    return StatusError(400, "BadRequest", message)


def not_found(plural: str, name: str) -> StatusError:
    """404: no such object."""
    return StatusError(404, "NotFound", f'{plural} "{name}" not found', name=name, kind=plural)


def already_exists(plural: str, name: str) -> StatusError:
    """409: created before."""
    text = f'{plural} "{name}" already exists'
    return StatusError(409, "AlreadyExists", text, name=name, kind=plural)


def conflict(plural: str, name: str) -> StatusError:
    """409: changed since it was read."""
    text = (
        f'Operation cannot be fulfilled on {plural} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    return StatusError(409, "Conflict", text, name=name, kind=plural)


def expired(asked: int, oldest: int) -> StatusError:
    """410: the changes since then are no longer kept."""
    return StatusError(410, "Expired", f"too old resource version: {asked} ({oldest})")


def invalid(plural: str, name: str, problem: str) -> StatusError:
    """422: the object is invalid."""
    text = f'{plural} "{name}" is invalid: {problem}'
    return StatusError(422, "Invalid", text, name=name, kind=plural)
