"""Which network runs on this node: configuration, plugins and subnet, applied when they change.

What cannot be applied is reported, and the node keeps what runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network

import structlog

from k8s_ovs.errors import InvalidRecord, K8sOvsError, PluginError, SwitchError
from k8s_ovs.hooks.load import load_plugins
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.link.host_addresses import address_conflicts, local_addresses, route_conflicts
from k8s_ovs.link.nftables import EtcdSockets, etcd_sockets
from k8s_ovs.model.codec import decode
from k8s_ovs.model.network import NetworkConfig, incompatibility
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.subnet_use import SubnetUse, subnet_of_pods
from k8s_ovs.model.world import CONFIG, LOCAL_NODE, OWN_NODE, SUBNETS, USED, Slot
from k8s_ovs.node.host.desired import host_values, nft_values, switch_values
from k8s_ovs.node.host.etcd_addresses import EtcdAddresses
from k8s_ovs.node.host.keeper import Keeper
from k8s_ovs.node.ipam import AddressPool
from k8s_ovs.node.network import Network
from k8s_ovs.node.own_subnet import NoSubnet, find_own_subnet, mtu_problem, pod_mtu
from k8s_ovs.node.records.ingest import ETCD, KUBE, Ingest
from k8s_ovs.node.settings import NodeSettings
from k8s_ovs.node.switch import NODE_PORT, Switch
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs.state.value import Value

__all__ = ["NotReady", "Setup"]

_log = structlog.get_logger(__name__)

#: Seconds between two looks at the machine's addresses and the underlay's MTU.
_LOOK_EVERY = 8.0
#: Seconds after which plugins judge a configuration again that they rejected.
_JUDGED_AGAIN = 60.0

#: What may be refused; the node then keeps what it has.
_OF_CONFIG, _OF_SUBNET = "configuration", "subnet"


class NotReady(K8sOvsError):
    """The network is not ready yet. Says what it waits for."""


class Setup:
    """Follows configuration and subnet. on_config: called with each applied configuration."""

    def __init__(
        self,
        settings: NodeSettings,
        switch: Switch,
        ingest: Ingest,
        keeper: Keeper,
        on_config: Callable[[NetworkConfig], None],
    ) -> None:
        self._settings = settings
        self._switch = switch
        self._ingest = ingest
        self._keeper = keeper
        self.switch_values: list[Value] = []
        self._host_values: list[Value] = []
        self._on_config = on_config
        self.etcd_addresses = EtcdAddresses(settings.etcd.endpoints)
        self._config: NetworkConfig | None = None
        # Whose plugins say that a field is wrong, and why: to load them takes some milliseconds.
        self._rejected: tuple[NetworkConfig | None, str] = (None, "")
        self._rejected_until = 0.0
        self._reconciler: Reconciler | None = None
        self._settled_for: tuple[HostSubnet, NetworkConfig, int, EtcdSockets] | None = None
        self._look_at = 0.0
        self._network: Network | None = None
        self._problems = {_OF_CONFIG: "", _OF_SUBNET: ""}
        self._conflict = ""
        self._stray_routes: list[str] = []
        self.fresh = True

    @property
    def reconciler(self) -> Reconciler | None:
        return self._reconciler

    @property
    def problems(self) -> list[str]:
        """What is not applied, each with what becomes of it and the reason, and routes that lead
        past the network."""
        rejected = [f"{self._fate(each)}: {text}" for each, text in self._problems.items() if text]
        return [*rejected, *self._stray_routes]

    @property
    def reason(self) -> str:
        """Why no packet of a pod would arrive, although all is set up; "": they do.

        Without a record of its own the others send nothing here, and another node may be given the
        subnet.
        """
        return self._conflict or self._unnamed() or self._problems[_OF_SUBNET]

    @property
    def subnet_use(self) -> SubnetUse | None:
        """Which subnet this node's pods are in, be it that its record says otherwise; None: it has
        none."""
        if self._config is None or self._reconciler is None:
            return None
        world, host, before = self._reconciler.world, self._settings.hostname, self._noted_use()
        if not self._switch.ovsdb.connected:  # which pods there are is not known: as it was
            return before
        known: list[IPv4Network | None] = [before.subnet if before else None]
        if self._network is not None:
            known = [self._network.local_node.subnet]
        else:
            known += [record.subnet for record in world.settled(SUBNETS).values()]
        addresses = [pod.ip for pod in self._switch.pods().values()]
        found = subnet_of_pods(addresses, known, self._config.host_subnet_length)
        return None if found is None else SubnetUse(host, found)

    @property
    def told_use(self) -> SubnetUse | None:
        """What etcd has of that; None: nothing, be it that what it has lost still counts."""
        if self._config is None or self._reconciler is None:
            return None
        return self._noted_use() if self._ingest.has(self._path_of_use()) else None

    def _path_of_use(self) -> str:
        return f"{self._config.name if self._config else ''}/{USED}/{self._settings.hostname}"

    def _noted_use(self) -> SubnetUse | None:
        """What this node has said of it before; None: nothing that anybody can read."""
        path = self._path_of_use()
        entry = self._ingest.record(path)
        if entry is None:
            return None
        try:
            return decode(SubnetUse, path, entry.value)
        except InvalidRecord:
            return None

    def _unnamed(self) -> str:
        """Why no pod of this node would ever be found: Kubernetes knows no node of its name."""
        hostname, reconciler = self._settings.hostname, self._reconciler
        if self._settings.kube is None or reconciler is None:
            return ""
        known = reconciler.world.settled(OWN_NODE)
        if hostname in known or not self._ingest.connected(KUBE + OWN_NODE):
            return ""
        return (
            f"Kubernetes has no Node {hostname} (--hostname), expected one of those that "
            "`kubectl get nodes` shows"
        )

    def forget_devices(self) -> None:
        """Open vSwitch started anew: bridge, devices and addresses are checked again."""
        self._settled_for = None
        self._look_at = 0.0

    def network(self) -> Network:
        """The network as it is now, with all watch events ingested.

        Raises NotReady and NoSubnet where it is not there yet, Unavailable and SwitchError where
        Open vSwitch fails.
        """
        config, reconciler = self._followed_config()
        manager = reconciler.manager
        changes = self._ingest.changes(config, manager.kinds, manager.resources)
        reconciler.update(changes, self._ingest.revision)
        due = time.monotonic() >= self._look_at
        if due or any(kind == SUBNETS for kind, _ in changes):
            self._follow_subnet(config, reconciler)
        if due:  # no record changes what the machine has
            conflicts = address_conflicts(config.network, config.service_network, NODE_PORT)
            self._conflict = "; ".join(conflicts)
            # With an address comes its route, which is told already.
            self._stray_routes = [] if conflicts else route_conflicts(config.network, NODE_PORT)
            self._look_at = time.monotonic() + _LOOK_EVERY
        if self._network is None:
            raise NotReady("the node's subnet")
        return self._network

    def _followed_config(self) -> tuple[NetworkConfig, Reconciler]:
        if not self._ingest.synced(ETCD):
            state = self._ingest.sources.get(ETCD)
            told = f": {state.detail}" if state and state.detail else ""
            raise NotReady(f"etcd has not been reached yet{told}")
        config, reason = self._ingest.config()
        if config is not None and config != self._config:
            reason = self._try_config(config)
        elif config is not None:
            reason = ""
        self._report(_OF_CONFIG, reason)
        if self._config is None or self._reconciler is None:
            raise NotReady(f"the configuration {self._settings.prefix}/config: {reason}")
        return self._config, self._reconciler

    def _try_config(self, config: NetworkConfig) -> str:
        """Apply `config`; returns why that is impossible, or ""."""
        wanted = self._settings.network
        if wanted and wanted != config.name:
            return f"Name: found {config.name}, expected {wanted} as --network says"
        old, network = self._config, self._network
        pods = len(self._switch.pods())
        if old and network:
            local_node = network.local_node
            refusal = incompatibility(old, config, local_node.subnet, pods)
            if refusal := refusal or mtu_problem(config, local_node.host_ip):
                return refusal
        if config == self._rejected[0] and time.monotonic() < self._rejected_until:
            return self._rejected[1]
        try:
            manager = load_plugins(config.plugin_name)
        except PluginError as error:
            return str(error)
        if problems := manager.config_problems(config):
            self._rejected = config, "; ".join(problems)
            # A plugin may judge otherwise later: one that did not answer, say.
            self._rejected_until = time.monotonic() + _JUDGED_AGAIN
            return self._rejected[1]
        self._start(config, manager)
        return ""

    def _start(self, config: NetworkConfig, manager: PluginManager) -> None:
        _log.info(
            "configuration applied",
            node=self._settings.hostname,
            network=config.name,
            cidr=str(config.network),
            plugins=manager.names,
        )
        old, self._config = self._config, config
        before = self._reconciler.manager.readers if self._reconciler else {}
        kept = [name for name, plugin in manager.readers.items() if before.get(name) == plugin]
        self._reconciler = Reconciler(manager)
        self._reconciler.update({(CONFIG, ""): Slot(config)})
        same_network = old is not None and config.keeps_records_of(old)
        self._ingest.restart(kept, same_network=same_network)
        self.forget_devices()
        self._network = None
        self.fresh = True
        self._on_config(config)

    def _report(self, subject: str, problem: str) -> None:
        if problem and problem != self._problems[subject]:
            _log.error(self._fate(subject), reason=problem)
        self._problems[subject] = problem

    def _fate(self, subject: str) -> str:
        """What becomes of a subject that is rejected."""
        before = self._config if subject == _OF_CONFIG else self._network
        fate = "rejected, keeping the previous one" if before else "rejected, waiting"
        return f"{subject} {fate}"

    def _follow_subnet(self, config: NetworkConfig, reconciler: Reconciler) -> None:
        """Find this node's record; adapt bridge and devices when it has changed."""
        addresses = local_addresses()
        slots = reconciler.world.of(SUBNETS)
        try:
            own = find_own_subnet(slots, addresses, self._settings.hostname)
        except NoSubnet as error:
            if self._network is None:
                raise
            # Pods run: the last valid subnet stays.
            self._report(_OF_SUBNET, str(error))
            return
        mtu, etcd = pod_mtu(config, own), etcd_sockets(self.etcd_addresses.now(), addresses)
        if self._settled_for == (own, config, mtu, etcd):
            self._report(_OF_SUBNET, "")
            return
        if refusal := self._move_refused(own):
            self._report(_OF_SUBNET, refusal)
            if self._network is None:
                raise NotReady(refusal)
            return
        if self._network is None and (refusal := mtu_problem(config, own.host_ip)):
            raise NotReady(f"the configuration {self._settings.prefix}/config: {refusal}")
        local_node = self._settle(own, config, mtu, etcd, reconciler)
        self._settled_for = (own, config, mtu, etcd)
        self._report(_OF_SUBNET, "")
        reconciler.update({(LOCAL_NODE, ""): Slot(local_node)})

    def _move_refused(self, own: HostSubnet) -> str:
        """Pods keep their addresses, so the node keeps the subnet that contains these."""
        pods = self._switch.pods().values()
        strangers = [pod for pod in pods if own.subnet is None or pod.ip not in own.subnet]
        if not strangers:
            return ""
        return (
            f"subnets/{own.host_ip}: Subnet: found {own.subnet}, expected one that holds "
            f"{strangers[0].ip} of pod {strangers[0].identity}, as {len(strangers)} pods "
            "are not in it"
        )

    def _settle(
        self,
        own: HostSubnet,
        config: NetworkConfig,
        mtu: int,
        etcd: EtcdSockets,
        reconciler: Reconciler,
    ) -> LocalNode:
        """Bring bridge, devices, addresses and nftables to `own`. Raises K8sOvsError."""
        datapath = self._switch.datapath()
        values = switch_values(own, config, mtu, reconciler.manager.pipeline, datapath)
        self._bring_about(values, known=values == self.switch_values)
        self.switch_values = values
        local_node = self._switch.local_node(own, mtu)
        values = host_values(local_node, config, datapath)
        values += nft_values(local_node, config, etcd)
        self._bring_about(values, known=values == self._host_values)
        self._host_values = values
        _log.info(
            "subnet applied",
            node=self._settings.hostname,
            host_ip=str(local_node.host_ip),
            subnet=str(local_node.subnet),
            datapath=datapath,
            mtu=mtu,
        )
        network = self._network
        if network is not None and network.local_node.subnet == local_node.subnet:
            pool = network.pool
        else:
            pool = AddressPool(local_node.subnet, self._switch.last_given)
        manager = reconciler.manager
        self._network = Network(config, manager, reconciler, local_node, datapath, pool, etcd)
        return local_node

    def _bring_about(self, values: Sequence[Value], *, known: bool) -> None:
        """Make the node have `values`. known: it had them, so what differs somebody has changed.

        Raises K8sOvsError for what could not be asked, or could not be put right.
        """
        done, left = self._keeper.host.repair(values)
        if known:
            self._keeper.repaired_all(done)
        for each in left.unknown:
            raise each.reason
        if left.differences:
            raise SwitchError("; ".join(map(str, left.differences)))
