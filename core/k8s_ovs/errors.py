"""The errors of k8s-ovs, as a tree.

K8sOvsError            anything that a user can cause or must act on; says what, found, expected
├── InvalidRecord      a value in etcd, Kubernetes or a flag that does not make sense
├── Unavailable        an outside part (etcd, API server, OVS) does not answer; try again
│   └── TimedOut       it did not answer within its time limit
├── PluginError        a plugin is missing, in conflict, or raised
└── SwitchError        Open vSwitch refused what it was told
"""

from __future__ import annotations

import signal

__all__ = [
    "InvalidRecord",
    "K8sOvsError",
    "PluginError",
    "SwitchError",
    "TimedOut",
    "Unavailable",
    "is_ctrl_c",
    "reason_of",
    "shown",
]


class K8sOvsError(Exception):
    """Anything that a user can cause or must act on. Its text says all: no trace is needed.

    passing: it may be over when it is tried again, although nothing that it is about has changed.
    """

    passing = False


class InvalidRecord(K8sOvsError):
    """A value that does not make sense: names the key, the field, what was found and expected."""


class Unavailable(K8sOvsError):
    """An outside part does not answer. Names the part and its address."""


class TimedOut(Unavailable):
    """An outside part did not answer within its time limit. Names the limit in seconds."""


class PluginError(K8sOvsError):
    """A plugin is missing, doubled, in conflict or raised. Names the plugin."""


class SwitchError(K8sOvsError):
    """Open vSwitch refused what it was told. Carries its own words."""


def is_ctrl_c(error: BaseException) -> bool:
    """Whether a person interrupts this command. A daemon handles SIGINT itself, so there a
    KeyboardInterrupt is just what a plugin raises."""
    return (
        isinstance(error, KeyboardInterrupt)
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def reason_of(error: BaseException) -> str:
    """What the system says of it, without number and path; of others than an OSError their text."""
    return getattr(error, "strerror", None) or str(error)


def shown(value: object, limit: int = 200) -> str:
    """`value` in the text of an error: its repr, cut at `limit` characters; never raises."""
    try:
        text = str.__str__(repr(value))  # which may be of a plugin's own class
    except BaseException as error:  # a plugin's value may raise anything, and too deep a one does
        if is_ctrl_c(error):
            raise
        text = f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= limit else text[: limit - 3] + "..."
