"""deploy/k8s-ovs.yaml beside what the code needs: rights, settings, configuration, paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML has no types
from tests.cluster.plain_etcd import with_plain_etcd

from k8s_ovs.cli import options
from k8s_ovs.hooks.load import load_plugins
from k8s_ovs.link import sysctl
from k8s_ovs.model.codec import decode
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.node.install.cni_config import SOCKET
from k8s_ovs.node.install.installer import BIN_DIR, CONF_DIR
from k8s_ovs.observe.etcd.settings import EtcdSettings, parse_endpoints

DEPLOY = Path(__file__).parents[2] / "deploy"
OBJECTS = list(yaml.safe_load_all((DEPLOY / "k8s-ovs.yaml").read_text()))


def the(kind: str, name: str = "k8s-ovs") -> Any:
    """The object of this kind and name."""
    (found,) = (
        each for each in OBJECTS if each["kind"] == kind and each["metadata"]["name"] == name
    )
    return found


POD = the("DaemonSet")["spec"]["template"]["spec"]
(UNINSTALL,) = yaml.safe_load_all((DEPLOY / "k8s-ovs-uninstall.yaml").read_text())
UNINSTALLING = UNINSTALL["spec"]["template"]["spec"]

#: Root is what must be: the host's files and Open vSwitch's sockets are root's.
OF_ROOT = {"k8s-ovs", "uninstall"}


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


def test_its_configuration_is_valid_and_its_plugins_are_installed() -> None:
    text = the("ConfigMap", "k8s-ovs-network")["data"]["network.json"]
    load_plugins(decode(NetworkConfig, "network.json", text.encode()).plugin_name)


def test_its_settings_are_read_by_the_command_line() -> None:
    source = Path(options.__file__).read_text()
    for name in the("ConfigMap", "k8s-ovs-settings")["data"]:
        assert f'"{name}"' in source


def etcd_of(text: str) -> EtcdSettings:
    """What the daemon makes of the manifest's settings."""
    (found,) = (
        each["data"]
        for each in yaml.safe_load_all(text)
        if each["metadata"]["name"] == "k8s-ovs-settings"
    )
    names = ("CAFILE", "CERTFILE", "KEYFILE")
    files = (found.get(f"K8S_OVS_ETCD_{name}") for name in names)
    return EtcdSettings(parse_endpoints(found["K8S_OVS_ETCD_ENDPOINTS"]), *files)


def test_etcd_is_spoken_to_by_tls_with_certificates_unless_somebody_chooses_otherwise() -> None:
    text = (DEPLOY / "k8s-ovs.yaml").read_text()
    shipped, plain = etcd_of(text), etcd_of(with_plain_etcd(text))
    assert all(each.startswith("https://") for each in shipped.endpoints)
    (etcd,) = (each for each in POD["volumes"] if each["name"] == "etcd")
    assert etcd["secret"] == {"secretName": "k8s-ovs-etcd", "optional": True}
    for path in (shipped.cafile, shipped.certfile, shipped.keyfile):
        assert path is not None
        assert Path(path).parent == Path("/etc/k8s-ovs/etcd")
    assert plain == EtcdSettings(("http://192.168.0.1:2379",))


def test_the_hosts_paths_are_where_the_daemon_looks() -> None:
    (container,) = POD["containers"]
    mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    host = {each["name"]: each.get("hostPath", {}).get("path") for each in POD["volumes"]}
    same = (BIN_DIR, CONF_DIR, options.OVS_RUN_DIR, SOCKET.parent)
    for path in same:
        assert host[mounted[str(path)]] == str(path)
    assert host[mounted[str(sysctl.OF_HOST)]] == "/proc/sys/net"


def test_what_removes_it_finds_the_hosts_paths_where_it_looks() -> None:
    (container,) = UNINSTALLING["initContainers"]
    mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    host = {each["name"]: each["hostPath"]["path"] for each in UNINSTALLING["volumes"]}
    # The daemon's directory is removed, so it cannot be where something is mounted.
    assert options.OVS_RUN_DIR.parent == SOCKET.parent.parent
    for path in (BIN_DIR, CONF_DIR, options.OVS_RUN_DIR.parent):
        assert host[mounted[str(path)]] == str(path)


def test_all_containers_run_the_same_image() -> None:
    assert len({each["image"] for each in containers()}) == 1


def test_nothing_runs_as_root_that_need_not_and_nobody_has_all_rights() -> None:
    for container in containers():
        security = container["securityContext"]
        assert security["capabilities"]["drop"] == ["ALL"]
        assert security["readOnlyRootFilesystem"]
        if container["name"] not in OF_ROOT:
            assert security["runAsNonRoot"]
            assert security["runAsUser"] > 0
            assert "add" not in security["capabilities"]
        # With SYS_ADMIN, Kubernetes refuses a container that says so.
        if "SYS_ADMIN" not in security["capabilities"].get("add", ()):
            assert security["allowPrivilegeEscalation"] is False


def containers() -> list[Any]:
    """Of both manifests."""
    return [
        each
        for pod in (POD, UNINSTALLING)
        for kind in ("initContainers", "containers")
        for each in pod[kind]
    ]


def test_the_image_has_the_dependencies_that_were_tested() -> None:
    def pins(path: Path) -> set[str]:
        return {line.split()[0] for line in path.read_text().splitlines() if "==" in line}

    tested = pins(DEPLOY.parent / "requirements.lock")
    assert pins(DEPLOY / "requirements.lock") <= tested
    assert pins(DEPLOY / "build.lock") <= tested
