"""Silence the library logs of commands. Before a library is loaded: gRPC's asks only then."""

from __future__ import annotations

import logging
import os
from typing import Any

import structlog

__all__ = ["quiet_logs"]


def quiet_logs() -> None:
    """Parts that the daemon shares log what they do; here the command itself says it."""
    # To look for a fault in gRPC, a user sets it.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    structlog.configure(processors=[_drop])
    # Without any handler Python prints what libraries log as warnings and errors.
    logging.getLogger().addHandler(logging.NullHandler())


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent
