"""Installing the CNI program on a host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.install import cni_program
from k8s_ovs.node.install.cni_config import Style, cni_config
from k8s_ovs.node.install.cni_program import Python, check_program
from k8s_ovs.node.install.installer import install

#: Installs it again and again; argv: what it runs on, where to, the program of the image.
REPLACE = """
import sys
from pathlib import Path
from k8s_ovs.node.install import cni_program
from k8s_ovs.node.install.installer import install

cni_program.PROGRAM = Path(sys.argv[3])
python, place = cni_program.Python(sys.argv[1]), Path(sys.argv[2])
for _ in range(40):
    install(place, place, python=python)
"""


def test_the_plugin_is_executable_and_answers_without_a_daemon(tmp_path: Path) -> None:
    binary, _ = install(tmp_path / "bin", tmp_path / "net.d")
    answer = subprocess.run(
        [binary],
        input='{"cniVersion": "1.0.0"}',
        env={"CNI_COMMAND": "VERSION"},
        text=True,
        capture_output=True,
        timeout=10,
        check=True,
    )
    assert json.loads(answer.stdout)["cniVersion"] == "1.0.0"
    assert os.stat(binary).st_mode & 0o777 == 0o755


@pytest.fixture
def portmap(tmp_path: Path) -> Path:
    """A plugin of this name that speaks up to 1.0.0, in the directory `bin`."""
    path = tmp_path / "bin" / "portmap"
    path.parent.mkdir()
    answer = json.dumps({"cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "1.0.0"]})
    path.write_text(f"#!/bin/sh\n[ $CNI_COMMAND = VERSION ] && echo '{answer}'\n")
    path.chmod(0o755)
    return path


def there(tmp_path: Path) -> list[str]:
    """What is in the directory `net.d`."""
    return sorted(path.name for path in (tmp_path / "net.d").iterdir())


def test_the_configuration_names_the_socket_only_where_it_is_not_the_usual_one(
    tmp_path: Path,
) -> None:
    _, config = install(tmp_path, tmp_path, cni_version="1.1.0")
    assert config.name == "80-k8s-ovs.conf"
    assert json.loads(config.read_text()) == {
        "cniVersion": "1.1.0",
        "name": "k8s-ovs",
        "type": "k8s-ovs",
    }
    assert cni_config(Style.CONF, "1.1.0", Path("/run/x.sock"))["socketPath"] == "/run/x.sock"


def test_where_portmap_is_it_follows_in_a_chain(tmp_path: Path, portmap: Path) -> None:
    _, config = install(
        portmap.parent, tmp_path / "net.d", cni_version="0.3.1", cni_socket=Path("/run/x.sock")
    )
    assert config.name == "80-k8s-ovs.conflist"
    assert json.loads(config.read_text()) == {
        "cniVersion": "0.3.1",
        "name": "k8s-ovs",
        "plugins": [
            {"type": "k8s-ovs", "socketPath": "/run/x.sock"},
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }


def test_a_portmap_that_cannot_be_started_is_none(tmp_path: Path, portmap: Path) -> None:
    portmap.chmod(0o644)
    assert install(portmap.parent, tmp_path / "net.d")[1].name == "80-k8s-ovs.conf"


def test_a_portmap_that_does_not_speak_the_version_is_none(tmp_path: Path, portmap: Path) -> None:
    net_d = tmp_path / "net.d"
    assert install(portmap.parent, net_d, cni_version="1.1.0")[1].name == "80-k8s-ovs.conf"
    with pytest.raises(K8sOvsError, match=r"speaks the CNI 0\.3\.1, 1\.0\.0, expected 1\.1\.0"):
        install(portmap.parent, net_d, Style.CONFLIST, cni_version="1.1.0")


@pytest.mark.parametrize("program", ["no program", "#!/bin/sh\nexit 127\n", "#!/bin/sh\necho 1\n"])
def test_a_portmap_that_cannot_be_asked_here_may_work_for_the_runtime(
    tmp_path: Path, portmap: Path, program: str
) -> None:
    portmap.write_text(program)
    assert install(portmap.parent, tmp_path / "net.d")[1].name == "80-k8s-ovs.conflist"


def test_of_two_styles_there_is_only_the_last(tmp_path: Path, portmap: Path) -> None:
    for style in (Style.CONFLIST, Style.CONF, Style.AUTO):
        _, config = install(portmap.parent, tmp_path / "net.d", style)
        assert there(tmp_path) == [config.name]


def test_at_any_moment_a_runtime_finds_the_old_style_or_the_new_one(
    tmp_path: Path, portmap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        seen.append(there(tmp_path))
        unlink(path, missing_ok=missing_ok)

    install(portmap.parent, tmp_path / "net.d", Style.CONF)
    monkeypatch.setattr(Path, "unlink", watched)
    install(portmap.parent, tmp_path / "net.d", Style.CONFLIST)
    install(portmap.parent, tmp_path / "net.d", Style.CONF)
    assert seen == [["80-k8s-ovs.conf", "80-k8s-ovs.conflist"]] * 2


def test_what_somebody_else_has_written_stays(tmp_path: Path, portmap: Path) -> None:
    chain = {"plugins": [{"type": "k8s-ovs"}, {"type": "bandwidth"}]}
    for content in (json.dumps(chain), '{"type": "bridge"}', "[]", "{"):
        install(portmap.parent, tmp_path / "net.d", Style.CONF)
        theirs = tmp_path / "net.d" / "80-k8s-ovs.conflist"
        theirs.write_text(content)
        install(portmap.parent, tmp_path / "net.d", Style.CONF)
        assert theirs.read_text() == content


def test_a_chain_without_portmap_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(K8sOvsError, match=f"{tmp_path}/bin/portmap is missing"):
        install(tmp_path / "bin", tmp_path / "net.d", Style.CONFLIST)
    assert list(tmp_path.iterdir()) == []


def test_installing_twice_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    for version in ("0.4.0", "1.0.0"):
        install(tmp_path / "bin", tmp_path / "net.d", cni_version=version)
    assert [path.name for path in sorted(tmp_path.glob("*/*"))] == ["k8s-ovs", "80-k8s-ovs.conf"]


@pytest.mark.parametrize("python", [Python.SYSTEM, Python.OWN])
def test_a_runtime_may_start_it_while_it_is_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, standalone_program: Path, python: Python
) -> None:
    monkeypatch.setattr(cni_program, "PROGRAM", standalone_program)
    binary, _ = install(tmp_path, tmp_path, python=python)
    again = [sys.executable, "-c", REPLACE, python, str(tmp_path), str(standalone_program)]
    installing = subprocess.Popen(again)
    starts = 0
    while installing.poll() is None or starts == 0:
        check_program(binary)
        starts += 1
    assert installing.returncode == 0


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "bin").write_text("a file where a directory should be")
    with pytest.raises(K8sOvsError, match=f"cannot install {tmp_path}/bin/k8s-ovs"):
        install(tmp_path / "bin", tmp_path / "net.d")
