"""What `k8s-ovs config set` makes of what it is given, before etcd is asked: there is none here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Cli = Callable[..., Result]


def test_a_file_without_its_option_is_told(k8s_ovs: Cli, tmp_path: Path) -> None:
    file = tmp_path / "network.json"
    file.write_text("{}")
    done = k8s_ovs("config", "set", str(file))
    assert (done.exit_code, done.stderr) == (
        1,
        f"error: JSON: found {str(file)!r}, the name of a file, expected JSON, or --file {file}\n",
    )


@pytest.mark.parametrize("text", ["network.json", "{", "x" * 5000, "a\\0b"])
def test_what_is_no_file_is_said_to_be_no_json(
    text: str, k8s_ovs: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = k8s_ovs("config", "set", text)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: JSON: not JSON (")
    assert len(done.stderr.splitlines()) == 1


def test_json_stays_json_where_a_file_has_its_name(
    k8s_ovs: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("5").write_text("{}")
    assert k8s_ovs("config", "set", "5").stderr == "error: JSON: found 5, expected a JSON object\n"
