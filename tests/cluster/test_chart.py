"""deploy/chart beside deploy/k8s-ovs.yaml: the same objects, and values that are checked."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML has no types
from attrs import fields
from tests.cluster.chart import CHART, helm
from tests.cluster.cluster import MANIFEST, SYSTEM
from tests.cluster.plain_etcd import VALUES as PLAIN_ETCD

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.model.network import NetworkConfig

CHECKSUM = "checksum/settings"


def objects(text: str) -> dict[tuple[str, str], Any]:
    """By kind and name; the network's configuration as what its JSON says."""
    found = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}
    data = found["ConfigMap", "k8s-ovs-network"]["data"]
    data["network.json"] = json.loads(data["network.json"])
    return found


def rendered(*values: str) -> dict[tuple[str, str], Any]:
    """The chart's objects, with these values instead of its own: `image.tag=1`, ..."""
    words = [f"--set-json={each}" for each in values]
    return objects(helm("template", "k8s-ovs", str(CHART), f"--namespace={SYSTEM}", *words))


def template_of(found: dict[tuple[str, str], Any]) -> Any:
    """The daemon's pod template."""
    return found["DaemonSet", "k8s-ovs"]["spec"]["template"]


def checksum(*values: str) -> str:
    return str(template_of(rendered(*values))["metadata"]["annotations"][CHECKSUM])


def test_helm_has_nothing_to_complain_of() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_it_gives_what_the_manifest_gives() -> None:
    found = rendered()
    # What restarts daemons when a setting changes: nothing that a manifest could say.
    assert list(template_of(found)["metadata"].pop("annotations")) == [CHECKSUM]
    assert found == objects(MANIFEST.read_text())


def test_its_version_is_the_programs() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{chart["version"]}"\n' in (CHART.parents[1] / "pyproject.toml").read_text()
    assert chart["appVersion"] == chart["version"]


def test_values_yaml_speaks_of_all_that_the_schema_knows() -> None:
    def names(schema: Any) -> set[str]:
        own = schema.get("properties", {})
        return set(own).union(*map(names, own.values()))

    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    helms_own = schema.pop("global")
    assert helms_own["type"] == "object"
    free = {name: schema.pop(name) for name in ("tolerations", "resources")}
    told = set(re.findall(r"\w+", (CHART / "values.yaml").read_text()))
    assert names({"properties": schema}) | set(free) <= told
    fields_of_network = {each.metadata.get("json") for each in fields(NetworkConfig)} - {None}
    assert fields_of_network < set(schema["network"]["properties"])


def test_other_settings_restart_the_daemons_and_another_network_does_not() -> None:
    assert checksum('etcd.prefix="/other"') != checksum()
    assert checksum("network.MTU=1400") == checksum()


def test_settings_name_the_files_of_the_secret_and_its_password() -> None:
    found = rendered(
        'etcd={"endpoints":["https://a:1","https://b:2"],"secret":"own","caFile":"ca.pem",'
        '"certFile":"node.pem","keyFile":"node-key.pem","username":"net"}'
    )
    assert found["ConfigMap", "k8s-ovs-settings"]["data"] == {
        "K8S_OVS_ETCD_ENDPOINTS": "https://a:1,https://b:2",
        "K8S_OVS_ETCD_PREFIX": "/k8s.ovs.com/ovs/network",
        "K8S_OVS_ETCD_CAFILE": "/etc/k8s-ovs/etcd/ca.pem",
        "K8S_OVS_ETCD_CERTFILE": "/etc/k8s-ovs/etcd/node.pem",
        "K8S_OVS_ETCD_KEYFILE": "/etc/k8s-ovs/etcd/node-key.pem",
        "K8S_OVS_ETCD_USERNAME": "net",
    }
    pod = template_of(found)["spec"]
    password = {
        "name": "K8S_OVS_ETCD_PASSWORD",
        "valueFrom": {"secretKeyRef": {"name": "own", "key": "password"}},
    }
    for container in pod["initContainers"] + pod["containers"]:
        assert password in container["env"]
    (volume,) = (each for each in pod["volumes"] if each["name"] == "etcd")
    assert volume["secret"]["secretName"] == "own"


def test_an_etcd_without_tls_has_to_be_chosen() -> None:
    with pytest.raises(K8sOvsError, match="http:// is not encrypted; expected https://"):
        rendered('etcd.endpoints=["http://a:1"]')
    found = objects(helm("template", "k8s-ovs", str(CHART), f"--namespace={SYSTEM}", *PLAIN_ETCD))
    assert found["ConfigMap", "k8s-ovs-settings"]["data"] == {
        "K8S_OVS_ETCD_ENDPOINTS": "http://192.168.0.1:2379",
        "K8S_OVS_ETCD_PREFIX": "/k8s.ovs.com/ovs/network",
    }


def test_the_configuration_has_the_fields_of_all_plugins() -> None:
    found = rendered(
        'network={"MTU":1400,"GlobalNamespaces":["kube-system","ingress"],'
        '"BandwidthUnenforced":"warn"}',
        'pluginFields={"Audit":{"Every":3}}',
    )
    config = found["ConfigMap", "k8s-ovs-network"]["data"]["network.json"]
    assert config == {
        "Name": "k8ssdn",
        "Network": "172.11.0.0/16",
        "HostSubnetLength": 10,
        "ServiceNetwork": "10.96.0.0/12",
        "PluginName": "k8s-ovs-multitenant",
        "MTU": 1400,
        "GlobalNamespaces": ["kube-system", "ingress"],
        "BandwidthUnenforced": "warn",
        "Audit": {"Every": 3},
    }


def test_the_daemons_pod_is_as_it_is_asked_for() -> None:
    found = rendered(
        'image={"repository":"r.example/net","tag":"1","pullPolicy":"Always","pullSecrets":["r"]}',
        'extraArgs=["--log-format=json"]',
        'cni={"binDir":"/usr/libexec/cni","confDir":"/etc/rancher/net.d"}',
        'ovsRunDir="/run/ovs"',
        'extraCapabilities=["DAC_OVERRIDE"]',
        "hostPID=true",
        'nodeSelector={"net":"ovs"}',
        "tolerations=[]",
        'resources={"limits":{"memory":"1Gi"}}',
        'maxUnavailable="25%"',
    )
    update = found["DaemonSet", "k8s-ovs"]["spec"]["updateStrategy"]["rollingUpdate"]
    assert update == {"maxUnavailable": "25%"}
    pod = template_of(found)["spec"]
    for container in pod["initContainers"] + pod["containers"]:
        assert (container["image"], container["imagePullPolicy"]) == ("r.example/net:1", "Always")
    (daemon,) = pod["containers"]
    assert daemon["args"][-1] == "--log-format=json"
    added = daemon["securityContext"]["capabilities"]["add"]
    assert added == ["NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE", "DAC_OVERRIDE"]
    assert daemon["resources"]["limits"] == {"memory": "1Gi"}
    paths = {each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each}
    assert {"/usr/libexec/cni", "/etc/rancher/net.d", "/run/ovs"} < paths
    assert pod["imagePullSecrets"] == [{"name": "r"}]
    assert pod["hostPID"] is True
    assert pod["nodeSelector"]["net"] == "ovs"
    assert "tolerations" not in pod


def test_plugins_of_others_get_rights_files_and_variables() -> None:
    """As docs/plugins.md says it."""
    text = (CHART.parents[1] / "docs/plugins.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    given = yaml.safe_load(block)
    found = rendered(*(f"{name}={json.dumps(value)}" for name, value in given.items()))
    usual = rendered()
    rules = usual["ClusterRole", "k8s-ovs"]["rules"]
    assert found["ClusterRole", "k8s-ovs"]["rules"] == [*rules, *given["extraRules"]]
    pod, usual_pod = template_of(found)["spec"], template_of(usual)["spec"]
    assert pod["volumes"] == [*usual_pod["volumes"], *given["extraVolumes"]]
    (daemon,), (usual_daemon,) = pod["containers"], usual_pod["containers"]
    mounts = [*usual_daemon["volumeMounts"], *given["extraVolumeMounts"]]
    assert daemon["volumeMounts"] == mounts
    # Of two variables of one name the later one counts: ours.
    assert daemon["env"] == [*given["extraEnv"], *usual_daemon["env"]]
    for container in (*pod["initContainers"], daemon):
        assert container["image"] == "REGISTRY/k8s-ovs-acme:1.0"


@pytest.mark.parametrize(
    ("value", "where", "complaint"),
    [
        ('imagee="x"', "", "additional properties 'imagee' not allowed"),
        ("image.tag=1", "/image/tag", "got number, want string"),
        ('image.pullPolicy="Sometimes"', "/image/pullPolicy", "one of 'Always', 'IfNotPresent'"),
        ('etcd.endpoints="http://a:1"', "/etcd/endpoints", "got string, want array"),
        ('etcd.endpoints=["a:1"]', "/etcd/endpoints/0", "does not match pattern"),
        ("etcd.endpoints=[]", "/etcd/endpoints", "minItems: got 0, want 1"),
        ('network.Mtu="1400"', "/network", "additional properties 'Mtu' not allowed"),
        ("network.MTU=100", "/network/MTU", "minimum: got 100, want 576"),
        ("network.Network=null", "/network", "missing property 'Network'"),
        ('network.ServiceNetwork="10.96.0.0"', "/network/ServiceNetwork", "does not match"),
        ('network.BandwidthUnenforced="no"', "/network/BandwidthUnenforced", "'refuse', 'warn'"),
        ('cni.binDir="opt"', "/cni/binDir", "does not match pattern"),
        ('extraArgs="--x"', "/extraArgs", "got string, want array"),
        ('extraRules=[{"verbs":["list"]}]', "/extraRules/0", "'apiGroups', 'resources'"),
        ('extraVolumes=[{"name":"acme"}]', "/extraVolumes/0", "minProperties: got 1, want 2"),
        ('extraVolumeMounts=[{"name":"acme"}]', "/extraVolumeMounts/0", "property 'mountPath'"),
        ('extraEnv=[{"name":"A","value":7}]', "/extraEnv/0/value", "got number, want string"),
        ("maxUnavailable=0", "/maxUnavailable", "minimum: got 0, want 1"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(value: str, where: str, complaint: str) -> None:
    with pytest.raises(K8sOvsError) as refused:
        rendered(value)
    line = " ".join(str(refused.value).split())
    assert f"at '{where}': " in line
    assert complaint in line
