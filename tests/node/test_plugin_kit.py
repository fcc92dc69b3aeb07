"""A stranger's first plugin: from nothing to tests that pass, with the built wheels alone."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.node.installed import on_path

from k8s_ovs_lab import Lab
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
DOCUMENT = (ROOT / "docs/plugins.md").read_text()
#: What is typed in the document's first section, and what is answered.
SHOWN = re.findall(r"```console\n(.*?)```", DOCUMENT, re.DOTALL)[0]


class Stranger:
    """Somebody with a directory, an environment that has the wheels, and nothing of the tree."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bin = home / "environment/bin"
        self.for_daemons = home / "plugins"

    def run(self, *command: object, where: str = ".") -> str:
        """What a command prints; its complaint fails the test."""
        done = subprocess.run(
            list(map(str, command)),
            cwd=self.home / where,
            env={
                "PATH": f"{self.bin}:{TOOLS}:{os.environ['PATH']}",
                "HOME": str(self.home),
                "COLUMNS": "80",
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    """Has the wheels of k8s-ovs and of the testing kit. What they depend on is this environment's,
    so that nothing is fetched."""
    home = tmp_path_factory.mktemp("stranger")
    wheels = home / "wheels"
    for tree in (ROOT, ROOT / "lab/testing"):
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels]
        subprocess.run(build, cwd=tree, check=True, capture_output=True, timeout=100)
    environment = home / "environment"
    uv = [TOOLS / "uv", "--quiet", "--offline"]
    subprocess.run([*uv, "venv", "--python", sys.executable, environment], check=True, timeout=100)
    (packages,) = environment.glob("lib/python3.*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    into = ["--no-deps", "--python", environment / "bin/python"]
    subprocess.run([*uv, "pip", "install", *into, *wheels.iterdir()], check=True, timeout=100)
    return Stranger(home)


@pytest.fixture(scope="module")
def made(stranger: Stranger) -> str:
    """What `plugin new` prints; the plugin is built and installed."""
    printed = stranger.run(stranger.bin / "k8s-ovs", "plugin", "new", "acme-quiet")
    build = [stranger.bin / "python", "-m", "hatchling", "build", "-t", "wheel"]
    stranger.run(*build, where="acme-quiet")
    (wheel,) = (stranger.home / "acme-quiet/dist").glob("*.whl")
    into = ["--no-deps", "--python", stranger.bin / "python"]
    stranger.run(TOOLS / "uv", "--quiet", "--offline", "pip", "install", *into, wheel)
    into = ["--no-deps", "--target", stranger.for_daemons]
    stranger.run(TOOLS / "uv", "--quiet", "--offline", "pip", "install", *into, wheel)
    shutil.rmtree(stranger.home / "acme-quiet/dist")
    return printed


def answered(command: str) -> str:
    """What the document shows behind a command."""
    return SHOWN.partition(f"$ {command}\n")[2].partition("\n$ ")[0].strip()


def timeless(text: str) -> str:
    """Without times, which differ, and the width of their column."""
    return re.sub(r" +[0-9.]+ m?s", " TIME", re.sub(r"TIME +RESULT", "TIME RESULT", text))


def test_the_wheels_are_what_it_runs(stranger: Stranger) -> None:
    where = "import k8s_ovs, k8s_ovs_testing; print(k8s_ovs.__path__, k8s_ovs_testing.__path__)"
    printed = stranger.run(stranger.bin / "python", "-c", where)
    assert str(ROOT) not in printed
    assert printed.count(str(stranger.home)) == 2


def test_what_new_prints_is_in_the_document(made: str) -> None:
    assert answered("k8s-ovs plugin new acme-quiet") == made.strip()


@pytest.mark.usefixtures("made")
def test_its_tests_pass_on_a_real_switch(stranger: Stranger) -> None:
    printed = stranger.run(stranger.bin / "python", "-m", "pytest", "-q", where="acme-quiet")
    assert "3 passed" in printed
    assert "3 passed" in answered("pytest -q")


@pytest.mark.usefixtures("made")
def test_a_strict_type_checker_finds_nothing(stranger: Stranger) -> None:
    printed = stranger.run(stranger.bin / "python", "-m", "mypy", where="acme-quiet")
    assert answered("mypy") == printed.strip()


@pytest.mark.usefixtures("made")
def test_its_style_is_good(stranger: Stranger) -> None:
    printed = stranger.run(TOOLS / "ruff", "check", where="acme-quiet")
    assert answered("ruff check") == printed.strip()
    stranger.run(TOOLS / "ruff", "format", "--check", where="acme-quiet")


@pytest.mark.usefixtures("made")
def test_a_check_says_what_it_would_do(stranger: Stranger) -> None:
    order = 'acme-quiet/default={"Silent":true}'
    command = ["plugin", "check", "acme-quiet", "--record", order]
    printed = stranger.run(stranger.bin / "k8s-ovs", *command)
    shown = answered(f"k8s-ovs plugin check acme-quiet --record '{order}'")
    assert timeless(shown) == timeless(printed.strip())


@pytest.mark.usefixtures("made")
def test_in_the_lab_it_does_what_it_says(stranger: Stranger, lab_of: Callable[..., Lab]) -> None:
    with on_path(stranger.for_daemons):
        lab = lab_of("kit", nodes=1, plugin="k8s-ovs-subnet,acme-quiet")
    lab.run_pod("node1", "web", "red")
    lab.run_pod("node1", "db")
    net = LabNet(lab)
    assert net.pings("red/web", net.address("db"))
    lab.etcdctl("put", f"{ETCD_PREFIX}/k8ssdn/acme-quiet/red", '{"Silent":true}')
    await_that("silence", lambda: not net.pings("red/web", net.address("db")), 10)
