"""What a node needs hangs meanwhile: it exists, and does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_testing.ovs import OvsProcess

__all__ = ["apiserver_hangs", "database_hangs", "etcd_hangs", "switch", "switch_hangs"]


@contextmanager
def etcd_hangs(world: LabNet) -> Iterator[None]:
    with _part_hangs(world, "etcd"):
        yield


@contextmanager
def apiserver_hangs(world: LabNet) -> Iterator[None]:
    with _part_hangs(world, "apiserver"):
        yield


@contextmanager
def switch_hangs(world: LabNet) -> Iterator[None]:
    with _hangs_on_node1(world, "ovs-vswitchd"):
        yield


@contextmanager
def database_hangs(world: LabNet) -> Iterator[None]:
    with _hangs_on_node1(world, "ovsdb-server"):
        yield


def switch(world: LabNet) -> OvsProcess:
    """Open vSwitch of node1."""
    node = world.lab.node("node1")
    return OvsProcess(node.ovs_directory, node.netns)


@contextmanager
def _part_hangs(world: LabNet, name: str) -> Iterator[None]:
    world.lab.part(name).pause()
    try:
        yield
    finally:
        world.lab.part(name).resume()


@contextmanager
def _hangs_on_node1(world: LabNet, program: str) -> Iterator[None]:
    switch(world).pause(program)
    try:
        yield
    finally:
        switch(world).resume(program)
