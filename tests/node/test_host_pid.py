"""To open a namespace by /proc/PID/ns/net, as cri-dockerd names it, takes a capability more."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.parametrize(("capabilities", "opens"), [("", False), (",+sys_ptrace", True)])
def test_it_takes_sys_ptrace(capabilities: str, opens: bool) -> None:
    kept = f"-all,+net_admin,+sys_admin{capabilities}"
    with subprocess.Popen(["sleep", "60"]) as pod:
        command = ["setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}"]
        command += ["nsenter", f"--net=/proc/{pod.pid}/ns/net", "true"]
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        pod.kill()
    assert (done.returncode == 0) is opens


def test_manifest_and_chart_say_so() -> None:
    assert "SYS_PTRACE" in (DEPLOY / "k8s-ovs.yaml").read_text()
    template = (DEPLOY / "chart" / "templates" / "daemonset.yaml").read_text()
    assert '.Values.hostPID | ternary (list "SYS_PTRACE") list' in template
