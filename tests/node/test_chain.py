"""The chain of the conflist, as a runtime calls it: our result is what the real portmap needs."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from k8s_ovs.node.install.cni_config import PORTMAP, Style, cni_config
from k8s_ovs_lab import LabPod, cni
from k8s_ovs_lab.command import inside, run
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import OUTSIDE

PROGRAM = Path("/usr/lib/cni") / PORTMAP
HOST_PORT, OWN_PORT = 8088, 8080
MAPPINGS = [{"hostPort": HOST_PORT, "containerPort": OWN_PORT, "protocol": "tcp"}]
WITHIN_S = 3.0


@frozen
class Chain:
    """Both plugins for one pod. mappings: what its hostPorts ask for."""

    world: LabNet
    pod: LabPod
    version: str
    mappings: Sequence[Mapping[str, Any]]

    def add(self) -> Any:
        """The result of the whole chain."""
        return json.loads(self.portmap("ADD", self.ours("ADD")))

    def delete(self, result: Any = None) -> None:
        """The other way round, as runtimes do. result: of `add`, if it is known."""
        self.portmap("DEL", result)
        self.ours("DEL", result)

    def ours(self, command: str, result: Any = None) -> Any:
        """What our plugin says."""
        return self.world.cni(command, self.pod, {"cniVersion": self.version} | _previous(result))

    def portmap(self, command: str, result: Any) -> str:
        """What portmap says. A runtime fills in what `capabilities` ask it for."""
        config = cni_config(Style.CONFLIST, self.version)
        _, plugin = config.pop("plugins")
        del plugin["capabilities"]
        given = {"runtimeConfig": {"portMappings": self.mappings}} | _previous(result)
        pod = self.pod
        environment = cni.pod_environment(
            pod.container, pod.netns, pod.namespace, pod.name, pod.uid
        )
        return run(
            [str(PROGRAM)],
            netns=self.world.lab.node(pod.node).netns,
            text=json.dumps(config | plugin | given),
            environment={"CNI_COMMAND": command, "CNI_PATH": str(PROGRAM.parent), **environment},
        ).stdout


def _previous(result: Any) -> dict[str, Any]:
    return {} if result is None else {"prevResult": result}


@contextmanager
def chained(world: LabNet, version: str, mappings: Sequence[Mapping[str, Any]]) -> Iterator[Chain]:
    """A chain for a pod that is there and not attached."""
    pod = world.bare_pod("node1", "chained")
    chain = Chain(world, pod, version, mappings)
    try:
        yield chain
    finally:
        chain.delete()
        world.remove(pod)


def client_seen(world: LabNet, pod: LabPod) -> str:
    """The address that the pod sees when a host outside the cluster comes to the node's port;
    raises OSError where nothing answers."""
    node = str(world.lab.node(pod.node).address)
    with inside(pod.netns):
        server = socket.create_server(("", OWN_PORT))
    with server:
        server.settimeout(WITHIN_S)
        with inside(world.lab.layout.outside):
            client = socket.create_connection((node, HOST_PORT), WITHIN_S)
        with client:
            channel, (address, _) = server.accept()
            channel.close()
    return str(address)


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_a_port_of_the_node_leads_to_the_pod_until_it_goes(world: LabNet, version: str) -> None:
    with chained(world, version, MAPPINGS) as chain:
        result = chain.add()
        assert client_seen(world, chain.pod) == str(OUTSIDE.ip)
        if version == "0.3.1":  # it knows no CHECK, and DEL is told nothing
            chain.delete()
        else:
            # Ours alone: portmap 1.1.1 looks for rules of IPv6, too, and finds none.
            chain.ours("CHECK", result)
            chain.delete(result)
        with pytest.raises(OSError, match=r"timed out|refused"):
            client_seen(world, chain.pod)


def test_the_chain_gives_a_pod_without_such_ports_what_the_plugin_alone_gives(
    world: LabNet,
) -> None:
    with chained(world, "1.0.0", []) as chain:
        result = chain.add()
        assert result == chain.ours("ADD")
        chain.ours("CHECK", result)
        chain.portmap("CHECK", result)
        chain.delete(result)
