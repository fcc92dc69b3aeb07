"""The daemon's settings from the command line and the environment."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from k8s_ovs.node.cni.protocol import ANSWER_SECONDS
from k8s_ovs.node.install.cni_config import Style
from k8s_ovs.node.install.installer import BIN_DIR, CONF_DIR
from k8s_ovs.observe.etcd.settings import EtcdSettings
from k8s_ovs.observe.kube import KubeSettings

__all__ = ["NodeSettings"]


@frozen
class NodeSettings:
    """hostname: the Kubernetes node's name. network: the Name that the configuration must have,
    None: any. datapath: auto, system or netdev. kube: None: no API server, then this is an external
    host: it serves no pods and does not run for leader.
    metrics: HOST:PORT, None: no metrics page. cni_wait: seconds for which a CNI ADD waits for
    what it needs. install_cni: in which style program and configuration are put where the container
    runtime looks for them, bin_dir and conf_dir, as soon as the network is ready; None: not at all.
    """

    etcd: EtcdSettings
    prefix: str
    hostname: str
    kube: KubeSettings | None
    cni_socket: Path
    ovs_run_dir: Path
    network: str | None = None
    datapath: str = "auto"
    metrics: str | None = None
    cni_wait: float = ANSWER_SECONDS
    install_cni: Style | None = None
    bin_dir: Path = BIN_DIR
    conf_dir: Path = CONF_DIR
