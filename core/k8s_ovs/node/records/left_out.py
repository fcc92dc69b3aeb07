"""Which records of etcd does a daemon not watch?"""

from __future__ import annotations

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.codec import decode
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node_status import SEEN, STATUS
from k8s_ovs.observe.etcd.watch import LeftOut

__all__ = ["CONFIG_KEY", "LEFT_OUT"]

CONFIG_KEY = "config"


def _told_by_nodes(config: bytes | None) -> tuple[str, ...] | None:
    if config is None:
        return ()
    try:
        name = decode(NetworkConfig, CONFIG_KEY, config).name
    except InvalidRecord:
        return None
    return f"{name}/{SEEN}/", f"{name}/{STATUS}/"


#: What nodes say of themselves is for people. Each change of the cluster is one change in each
#: node's status, so if each node watched them all, it would be as many events as nodes, squared.
LEFT_OUT = LeftOut(CONFIG_KEY, _told_by_nodes)
