"""`k8s-ovs backup`: the network's records as one file."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from k8s_ovs.cli.cluster.backup_document import (
    CONFIG_PATH,
    FORMAT,
    Backup,
    backup_text,
    counted,
    kept_value,
    record_problems,
)
from k8s_ovs.cli.cluster.snapshot import opened
from k8s_ovs.cli.cluster.stored_records import StoredRecords, stored_records
from k8s_ovs.cli.options import EtcdLocation, with_etcd
from k8s_ovs.errors import InvalidRecord, K8sOvsError, reason_of
from k8s_ovs.model.checked import is_utf8
from k8s_ovs.model.codec import decode
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.observe.etcd.client import KeyValue
from k8s_ovs.plugin.command.output import Output, OutputForm, complain, say_columns, say_json

__all__ = ["run"]


@with_etcd
def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file, - for stdout.")],
    *,
    output: OutputForm = Output.TABLE,
    etcd: EtcdLocation,
) -> None:
    """Write the configuration and all records of the network into a file, as JSON.

    The file is replaced at once, and only its owner may read it. It does not have what daemons
    write anew by themselves: their status, and who the leader is.

    Exit status 1 if a record is wrong, so that `k8s-ovs restore` would refuse the file: it is
    written all the same, and each such record is named.

    \b
    Examples:
      k8s-ovs backup network.json
      k8s-ovs backup - | gzip > network.json.gz
    """
    backup, left_out = _read(etcd)
    text = backup_text(backup)
    if file == "-":
        typer.echo(text, nl=False)
    else:
        _replace(Path(file), text)
        _say(file, backup, output)
    refused = record_problems(backup)
    problems = [f"{each}; the file is written, and restore would refuse it" for each in refused]
    for problem in (*left_out, *problems):
        complain("warning", problem)
    if left_out or problems:
        raise typer.Exit(1)


def _read(location: EtcdLocation) -> tuple[Backup, list[str]]:
    """The backup, and which records it cannot hold and why."""
    with opened(location) as etcd:
        found = etcd.get(f"{location.prefix}/{CONFIG_PATH}")
        if found is None:
            raise InvalidRecord(
                f"there is no configuration at {location.prefix}/{CONFIG_PATH}, so nothing says "
                "which network's records to write"
            )
        name = _name_in(found)
        stored = stored_records(etcd, location.prefix, name)
    return _backup_of(stored)


def _name_in(config: KeyValue) -> str:
    """The network's Name, also in a configuration that is wrong in other fields. Raises
    InvalidRecord."""
    try:
        return decode(NetworkConfig, config.key, config.value).name
    except InvalidRecord as error:
        with suppress(ValueError):
            value = kept_value(config.value)
            name = value.get("Name") if isinstance(value, dict) else None
            if isinstance(name, str) and name and is_utf8(name):
                return name
        raise InvalidRecord(
            f"{error}; no file is written, as nothing says which network's records belong into it"
        ) from error


def _backup_of(stored: StoredRecords) -> tuple[Backup, list[str]]:
    records, left_out = dict[str, Any](), list[str]()
    for path in sorted(stored.records, key=lambda each: (each != CONFIG_PATH, each)):
        try:
            if not is_utf8(path):
                raise ValueError("its key is no UTF-8")
            records[path] = kept_value(stored.records[path].value)
        except ValueError as error:
            left_out.append(f"{path}: left out, no JSON that can be kept: {error}")
    if CONFIG_PATH not in records:
        raise K8sOvsError(f"{CONFIG_PATH} was changed in the meantime: try again")
    time = datetime.now(UTC).isoformat(timespec="seconds")
    backup = Backup(FORMAT, stored.network, stored.revision, time, version("k8s-ovs"), records)
    return backup, left_out


def _replace(path: Path, text: str) -> None:
    """Write the whole file or nothing. Raises InvalidRecord for a path that is no file's."""
    if path.exists() and not path.is_file():
        raise InvalidRecord(f"FILE: found {str(path)!r}, expected a file, or - for stdout")
    target = path.resolve()
    try:
        number, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
    except OSError as error:
        raise K8sOvsError(f"cannot write {path}: {reason_of(error)}") from error
    try:
        with open(number, "w", encoding="ascii") as opened_file:
            opened_file.write(text)
            opened_file.flush()
            os.fsync(number)
        Path(beside).replace(target)
    except OSError as error:
        raise K8sOvsError(f"cannot write {path}: {reason_of(error)}") from error
    finally:
        with suppress(FileNotFoundError):
            Path(beside).unlink()


def _say(file: str, backup: Backup, output: Output) -> None:
    counts = counted(backup.records)
    if output is Output.JSON:
        head = {"file": file, "network": backup.network, "revision": backup.revision}
        say_json({**head, "records": counts})
        return
    say_columns(("KIND", "RECORDS"), [(kind, str(count)) for kind, count in counts.items()])
    typer.echo(
        f"{file} has {len(backup.records)} records of network {backup.network} "
        f"at revision {backup.revision}"
    )
