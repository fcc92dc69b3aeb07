"""What the state of a node's parts means, and what to do about problems. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot
from k8s_ovs.cli.doctor.etcd_access import EtcdAccess, access_problem
from k8s_ovs.cli.doctor.kube_proxy import check_kube_proxy
from k8s_ovs.cli.doctor.leader import check_leader
from k8s_ovs.cli.doctor.not_checked import checks_not_made
from k8s_ovs.cli.doctor.observations import CniObservations, NodeObservations, Observations
from k8s_ovs.cli.doctor.other_nodes import check_other_nodes
from k8s_ovs.cli.host.status import SwitchStatus
from k8s_ovs.cli.host.this_node import DaemonStatus
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.hooks.result import Failure
from k8s_ovs.model.network import VXLAN_OVERHEAD, NetworkConfig
from k8s_ovs.node.install.cni_config import BINARY, PORTMAP
from k8s_ovs.node.switch import BRIDGE, NODE_PORT, TUNNEL_PORT
from k8s_ovs.observe.etcd.client import EtcdFull
from k8s_ovs.observe.etcd.errors import Forbidden
from k8s_ovs.plugin.values import Check
from k8s_ovs.state.value import (
    Address,
    Bridge,
    Device,
    Interface,
    NftTable,
    Offload,
    Port,
    PortConfig,
    RateLimit,
    Route,
    Sysctl,
    Veth,
)

__all__ = ["core_checks", "plugin_checks"]

_DAEMON_LOG = "its log says more (journalctl -u k8s-ovs, or kubectl logs of its pod)"
_DAEMON_REPAIRS = f"the daemon repairs this within 10 s; if it persists, {_DAEMON_LOG}"
_WITHOUT_PORT = (
    "a device without a port: the daemon gives it back to a pod that lives, and deletes it if the "
    "pod has ended; status names one that it cannot judge"
)
_WITHIN_SECONDS = "a running daemon repairs this within 10 s: check its status and its log"


def core_checks(observations: Observations) -> Iterator[Check]:
    """One check per part, in the order in which they depend on each other."""
    yield from _switch(observations)
    yield from _etcd(observations.snapshot, observations.full)
    yield from _access(observations.access)
    yield from _kube(observations.kube, observations.snapshot)
    if isinstance(observations.node, K8sOvsError):
        # An unreachable etcd or switch is named above already.
        known = (
            observations.switch.problem,
            str(observations.snapshot),
            *_problems(observations.snapshot),
        )
        if str(observations.node) not in known:
            yield Check("subnet", False, str(observations.node), "look at: k8s-ovs subnet list")
    elif isinstance(observations.snapshot, ClusterSnapshot):
        lacking = isinstance(observations.kube, K8sOvsError) or bool(observations.snapshot.unread)
        config = observations.snapshot.needed_config()
        yield from _node(observations.node, config, lacking=lacking)
        yield from check_kube_proxy(observations.kube_proxy, config)
    yield _cni(observations.cni, external=observations.kube == "")
    # No runtime is to start it on a host that serves no pods.
    if observations.kube != "":
        yield _cni_program(observations.cni_program)
    yield _daemon(observations.daemon)
    if isinstance(observations.snapshot, ClusterSnapshot):
        yield from check_leader(observations.snapshot)
        yield from check_other_nodes(observations.snapshot, observations.hostname)
    yield from checks_not_made(observations)


def plugin_checks(observations: Observations) -> Iterator[Check]:
    """The configured plugins' own checks; a plugin that fails is a check that is not ok."""
    if isinstance(observations.snapshot, K8sOvsError) or isinstance(observations.node, K8sOvsError):
        return
    manager = observations.snapshot.manager
    for plugin, result in manager.doctor_checks(manager.view(observations.node.world)):
        if isinstance(result, Failure):
            yield Check(plugin, False, str(result), "tell the plugin's author")
        else:
            yield from result


def _switch(observations: Observations) -> Iterator[Check]:
    switch = observations.switch
    if switch.problem:
        advice = "start Open vSwitch (systemctl start openvswitch-switch), or give --ovs-run-dir"
        if "Permission denied" in switch.problem:
            advice = "run this as root"
        elif switch.datapath is not None:
            advice = "is ovs-vswitchd running? systemctl restart openvswitch-switch"
        elif "is not there" in switch.problem:
            advice = "see what the daemon waits for"
        yield Check("Open vSwitch", False, switch.problem, advice)
    else:
        version = f"version {switch.version}, " if switch.version else ""
        yield Check("Open vSwitch", True, f"{version}br0 has {switch.flows} flows")
    if switch.datapath:
        yield _datapath(switch, observations.in_kernel)


def _datapath(switch: SwitchStatus, in_kernel: bool | K8sOvsError) -> Check:
    if switch.datapath != "netdev":
        return Check("datapath", True, "the kernel's")
    if in_kernel is True:
        advice = "start the daemon with --datapath auto or system: the kernel's is faster"
        return Check("datapath", False, "userspace, although this kernel has one", advice)
    return Check("datapath", True, "userspace: this kernel has none (modprobe openvswitch)")


def _etcd(snapshot: ClusterSnapshot | K8sOvsError, full: EtcdFull | None) -> Iterator[Check]:
    if isinstance(snapshot, K8sOvsError):
        yield Check("etcd", False, str(snapshot), _etcd_advice(snapshot))
        return
    if full is not None:
        yield Check("etcd", False, full.found, full.advice)
    else:
        yield Check("etcd", True, f"{len(snapshot.raw)} keys")
    advice = "repair the record; k8s-ovs config check lists all"
    if not snapshot.revision_of_config:
        advice = "was it lost? k8s-ovs restore FILE; is the network new? k8s-ovs config set"
    for problem in snapshot.problems:
        yield Check("records", False, problem, advice)
    if not snapshot.problems:
        yield Check("records", True, "all valid")


def _etcd_advice(problem: K8sOvsError) -> str:
    if isinstance(problem, Forbidden):
        return (
            "check the user (--etcd-username, or the common name of --etcd-certfile) and its role: "
            "k8s-ovs etcd-roles prints what it needs"
        )
    return "check --etcd-endpoints and that etcd runs"


def _access(access: EtcdAccess | None) -> Iterator[Check]:
    """Where the mode has tenants."""
    if access is None or not access.tenants:
        return
    name, problem = "etcd access", access_problem(access)
    if problem:
        advice = "use https, and users or client certificates: docs/operations.md, Protecting etcd"
        yield Check(name, False, problem, advice)
    else:
        settings = access.settings
        asks = f"user {settings.username}" if settings.username else "a client certificate"
        yield Check(name, True, f"encrypted, as {asks}")


def _problems(snapshot: ClusterSnapshot | K8sOvsError) -> Sequence[str]:
    return () if isinstance(snapshot, K8sOvsError) else snapshot.problems


def _kube(kube: str | K8sOvsError, snapshot: ClusterSnapshot | K8sOvsError) -> Iterator[Check]:
    name, advice = "API server", "check KUBECONFIG or KUBERNETES_MASTER"
    if isinstance(kube, K8sOvsError):
        yield Check(name, False, str(kube), advice)
        return
    unread, left_out = (
        ((), ()) if isinstance(snapshot, K8sOvsError) else (snapshot.unread, snapshot.left_out)
    )
    for problem in unread:
        further = "that it has this resource, and that we may list it"
        yield Check(name, False, problem, f"{advice}, {further}")
    for problem in left_out:
        yield Check(name, False, f"left out: {problem}", "repair or delete this object")
    if not unread and not left_out:
        named = kube or "not asked: the environment has no KUBECONFIG and no KUBERNETES_MASTER"
        yield Check(name, True, named)


def _node(node: NodeObservations, config: NetworkConfig, *, lacking: bool) -> Iterator[Check]:
    """lacking: what plugins read at the API server is not known."""
    local_node = node.local_node
    yield Check("subnet", True, f"{local_node.subnet} under {local_node.host_ip}")
    yield _mtu(node, config)
    yield from _state(node, config)
    yield _flows(node, lacking=lacking)
    for failure in node.failures:
        yield Check("plugins", False, failure, "tell the plugin's author")


def _mtu(node: NodeObservations, config: NetworkConfig) -> Check:
    if isinstance(node.underlay_mtu, K8sOvsError):
        return Check("MTU", False, str(node.underlay_mtu), "has this node lost its address?")
    most = node.underlay_mtu - VXLAN_OVERHEAD
    if node.local_node.mtu <= most:
        return Check("MTU", True, f"{node.local_node.mtu} for pods, {node.underlay_mtu} below")
    found = f"MTU {config.mtu} of the configuration, the underlay carries {most} at most"
    return Check("MTU", False, found, "large packets to other nodes are lost: lower MTU")


def _flows(node: NodeObservations, *, lacking: bool) -> Check:
    if isinstance(node.delta, K8sOvsError):
        return Check("flows", False, str(node.delta), "is ovs-vswitchd running?")
    adds, deletes = len(node.delta.adds), len(node.delta.deletes)
    if adds or deletes:
        found = f"{adds} missing, {deletes} unexpected"
        if lacking:
            found = f"{found}, compared without what the API server says"
            return Check("flows", False, found, "first see to the check API server")
        return Check("flows", False, found, f"look at: k8s-ovs flows --diff; {_DAEMON_REPAIRS}")
    return Check("flows", True, "as they should be")


def _state(node: NodeObservations, config: NetworkConfig) -> Iterator[Check]:
    """How the node differs from what it should be, part by part."""
    if isinstance(node.state, K8sOvsError):
        yield Check("state", False, str(node.state), "run this as root")
        return
    of_pods = [each for each in node.state.differences if each.pod or each.key.kind == Veth.kind]
    for name, kinds, well in (
        (
            "bridge",
            (Bridge.kind, Port.kind, PortConfig.kind),
            f"{BRIDGE}, {TUNNEL_PORT} and {NODE_PORT} as desired",
        ),
        (
            NODE_PORT,
            (Device.kind, Address.kind, Route.kind, Sysctl.kind, Offload.kind),
            "address, route, MTU and sysctls as desired",
        ),
        ("nftables", (NftTable.kind,), f"masquerades what leaves {config.network}"),
    ):
        wrong = [
            str(each)
            for each in node.state.differences
            if each.key.kind in kinds and each not in of_pods
        ]
        wrong += [
            str(each.reason) for each in node.state.unknown if not each.kinds.isdisjoint(kinds)
        ]
        yield Check(name, not wrong, "; ".join(wrong) or well, _WITHIN_SECONDS)
    alone = [each for each in of_pods if each.expected is None]
    wrong_pods = [str(each) for each in of_pods if each not in alone]
    kinds_of_pods = {Veth.kind, Interface.kind, RateLimit.kind}
    unknown = [e for e in node.state.unknown if not e.kinds.isdisjoint(kinds_of_pods)]
    if wrong_pods or unknown:
        said = "; ".join([*wrong_pods, *map(str, unknown)])
        yield Check("pods", False, said, _WITHIN_SECONDS)
    if alone:
        yield Check("devices", False, "; ".join(map(str, alone)), _WITHOUT_PORT)


def _cni(cni: CniObservations | K8sOvsError, *, external: bool) -> Check:
    """external: it may be an external host, which serves no pods."""
    name = "CNI"
    if isinstance(cni, K8sOvsError):
        return Check(name, False, str(cni), "run this as root")
    if cni.first is None:
        advice = "k8s-ovs install-cni, or start the daemon with --install-cni"
        return Check(name, external, "no configuration for the container runtime", advice)
    if BINARY not in cni.plugins:
        found = f"the container runtime uses {cni.first}, which belongs to another network"
        return Check(name, external, found, "move it away: the runtime uses the first by name")
    if cni.missing:
        found = f"{cni.first} needs plugins that are not installed: {', '.join(cni.missing)}"
        return Check(name, False, found, "install it, or run k8s-ovs install-cni")
    served = "" if PORTMAP in cni.plugins else "; no hostPort, as portmap is not chained"
    return Check(name, True, f"{cni.first}: {', '.join(cni.plugins)}{served}")


def _cni_program(said: str | K8sOvsError) -> Check:
    name = "CNI program"
    if isinstance(said, K8sOvsError):
        return Check(name, False, str(said), "reinstall it: k8s-ovs install-cni")
    return Check(name, True, said)


def _daemon(daemon: DaemonStatus | K8sOvsError) -> Check:
    if isinstance(daemon, K8sOvsError):
        return Check("daemon", False, str(daemon), "check --cni-socket and its permissions")
    if daemon.ready:
        return Check("daemon", True, f"process {daemon.listening} serves the CNI")
    advice = f"{_DAEMON_LOG[0].upper()}{_DAEMON_LOG[1:]}"
    if not daemon.running:
        advice = "start it: k8s-ovs node --etcd-endpoints=...; or give --cni-socket"
    return Check("daemon", False, daemon.trouble, advice)
