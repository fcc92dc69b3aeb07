"""Which plugin owns a flow? 16 bits of its cookie are a hash of its plugin's name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from k8s_ovs.errors import PluginError
from k8s_ovs.pipeline.wire import MAX_OWNER

__all__ = ["owner_bits", "owners_of"]


def owner_bits(plugin: str) -> int:
    """The bits that mark the flows of `plugin`."""
    digest = hashlib.blake2b(plugin.encode(), digest_size=2).digest()
    return int.from_bytes(digest, "big") % (MAX_OWNER + 1)


def owners_of(plugins: Iterable[str]) -> dict[str, int]:
    """The bits of each plugin; raises PluginError where two would share them."""
    owners: dict[str, int] = {}
    for plugin in plugins:
        bits = owner_bits(plugin)
        for other, taken in owners.items():
            if taken == bits:
                raise PluginError(
                    f"plugins {other} and {plugin} have the same flow owner, rename one"
                )
        owners[plugin] = bits
    return owners
