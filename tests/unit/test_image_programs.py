"""The image has few programs, so what runs in it starts few."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Who starts other programs, and the Debian package that the image gets them from.
STARTERS = {
    "core/k8s_ovs/link/nftables.py": "nftables",
    # The CNI program, which the image itself brings.
    "core/k8s_ovs/node/install/cni_program.py": "",
}


def test_only_programs_that_the_image_has_are_started() -> None:
    code = [*ROOT.glob("core/**/*.py"), *ROOT.glob("plugins/**/*.py")]
    words = ("subprocess", "os.exec", "os.system", "os.popen", "posix_spawn", "Popen")
    found = {
        str(path.relative_to(ROOT))
        for path in code
        if any(word in path.read_text() for word in words)
    }
    assert found == STARTERS.keys()
    installed = (ROOT / "deploy/Dockerfile").read_text().rpartition("FROM ")[2].split()
    assert {package for package in STARTERS.values() if package} <= set(installed)
