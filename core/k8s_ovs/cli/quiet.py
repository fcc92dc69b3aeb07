"""Silence the library logs of commands."""

from __future__ import annotations

import logging
from typing import Any

import structlog

__all__ = ["quiet_logs"]


def quiet_logs() -> None:
    """Parts that the daemon shares log what they do; here the command itself says it."""
    structlog.configure(processors=[_drop])
    # Without any handler Python prints what libraries log as warnings and errors.
    logging.getLogger().addHandler(logging.NullHandler())


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent
