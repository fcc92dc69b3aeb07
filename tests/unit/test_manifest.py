"""deploy/k8s-ovs.yaml beside what the code needs: rights, settings, configuration, paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML has no types

from k8s_ovs.cli import options
from k8s_ovs.link import sysctl
from k8s_ovs.model.codec import decode
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.node.cni_install import BIN_DIR, CONF_DIR
from k8s_ovs.plugin.manager import load_plugins

DEPLOY = Path(__file__).parents[2] / "deploy"
OBJECTS = list(yaml.safe_load_all((DEPLOY / "k8s-ovs.yaml").read_text()))


def the(kind: str, name: str = "k8s-ovs") -> Any:
    """The object of this kind and name."""
    (found,) = (
        each for each in OBJECTS if each["kind"] == kind and each["metadata"]["name"] == name
    )
    return found


POD = the("DaemonSet")["spec"]["template"]["spec"]


@pytest.mark.parametrize("mode", ["k8s-ovs-subnet", "k8s-ovs-multitenant"])
def test_the_daemon_may_watch_what_the_plugins_ask_for(mode: str) -> None:
    allowed = {
        (group, resource, verb)
        for rule in the("ClusterRole")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    resources = load_plugins(mode).resources
    assert resources
    for resource in resources.values():
        for verb in ("list", "watch"):
            assert ("", resource.path.removeprefix("/api/v1/"), verb) in allowed


def test_its_configuration_makes_sense_and_its_plugins_are_installed() -> None:
    text = the("ConfigMap", "k8s-ovs-network")["data"]["network.json"]
    load_plugins(decode(NetworkConfig, "network.json", text.encode()).plugin_name)


def test_its_settings_are_read_by_the_command_line() -> None:
    source = Path(options.__file__).read_text()
    for name in the("ConfigMap", "k8s-ovs-settings")["data"]:
        assert f'"{name}"' in source


def test_the_hosts_paths_are_where_the_daemon_looks() -> None:
    (container,) = POD["containers"]
    mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    host = {each["name"]: each.get("hostPath", {}).get("path") for each in POD["volumes"]}
    same = (BIN_DIR, CONF_DIR, options.OVS_RUN_DIR, options.CNI_SOCKET.parent)
    for path in same:
        assert host[mounted[str(path)]] == str(path)
    assert host[mounted[str(sysctl.OF_HOST)]] == "/proc/sys/net"


def test_all_containers_run_the_same_image() -> None:
    assert len({each["image"] for each in POD["initContainers"] + POD["containers"]}) == 1


def test_the_image_has_the_dependencies_that_were_tested() -> None:
    def pins(path: Path) -> set[str]:
        return {line.split()[0] for line in path.read_text().splitlines() if "==" in line}

    tested = pins(DEPLOY.parent / "requirements.lock")
    assert pins(DEPLOY / "requirements.lock") <= tested
    assert pins(DEPLOY / "build.lock") <= tested
