"""`k8s-ovs restore`: the records of a backup, back into etcd."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from attrs import frozen

from k8s_ovs.cli.cluster.backup_document import counted, parse_backup, record_problems
from k8s_ovs.cli.cluster.restore_plan import (
    Plan,
    contradictions,
    plan_of,
    require_same_network,
)
from k8s_ovs.cli.cluster.restore_write import write_plan
from k8s_ovs.cli.cluster.snapshot import opened
from k8s_ovs.cli.cluster.stored_records import stored_records
from k8s_ovs.cli.options import EtcdLocation, with_etcd
from k8s_ovs.errors import InvalidRecord, reason_of
from k8s_ovs.plugin.command.output import (
    Output,
    OutputForm,
    complain,
    printable,
    say_columns,
    say_json,
)

__all__ = ["run"]


@with_etcd
def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The backup, - for stdin.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done and write nothing.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Change records that differ from the backup.")
    ] = False,
    delete_others: Annotated[
        bool, typer.Option("--delete-others", help="Delete records that the backup does not have.")
    ] = False,
    output: OutputForm = Output.TABLE,
    etcd: EtcdLocation,
) -> None:
    """Put the records of a backup back into etcd, the configuration last.

    It adds what is missing. If a record differs, it names it and writes nothing, unless --overwrite
    says otherwise. It deletes nothing without --delete-others. What they change is named first.
    A backup with a wrong record, or of another network, is refused. To run it twice does no harm.

    \b
    Examples:
      k8s-ovs restore network.json --dry-run
      k8s-ovs restore network.json
      k8s-ovs restore network.json --overwrite --delete-others
    """
    label = "stdin" if file == "-" else file
    backup = parse_backup(label, _given(file))
    _refuse_if([f"{label}: {problem}" for problem in record_problems(backup)])
    with opened(etcd) as client:
        stored = stored_records(client, etcd.prefix, backup.network)
        require_same_network(backup, stored)
        plan = plan_of(backup, stored, delete_others=delete_others)
        report = _Report(backup.network, etcd, plan, output)
        if dry_run:
            report.say(dry_run=True)
        if not overwrite:
            _refuse_if([f"{each}; add --overwrite to change it" for each in plan.change.values()])
        _refuse_if(contradictions(backup, stored, plan))
        if not dry_run:
            if overwrite or delete_others:
                report.say_each()  # before, so that it is known what there was
            write_plan(client, stored, plan)
            report.say(dry_run=False)


def _given(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InvalidRecord(f"{file}: {reason_of(error)}") from error


def _refuse_if(problems: list[str]) -> None:
    """Say all of them, and that nothing was written."""
    if not problems:
        return
    for problem in problems:
        complain("error", problem)
    complain("error", "nothing was written")
    raise typer.Exit(1)


@frozen
class _Report:
    """What is said of a plan, and of where it is carried out."""

    network: str
    etcd: EtcdLocation
    plan: Plan
    output: Output

    def say(self, *, dry_run: bool) -> None:
        if self.output is Output.JSON:
            say_json(self._as_json(dry_run=dry_run))
            return
        if dry_run:
            self.say_each()
        plan = self.plan
        groups = (plan.add, plan.change, plan.delete, plan.same, plan.others)
        counts = [counted(paths) for paths in groups]
        kinds = counted({path for paths in groups for path in paths})
        rows = [(kind, *(str(count[kind]) for count in counts)) for kind in kinds]
        say_columns(("KIND", "ADD", "CHANGE", "DELETE", "SAME", "OTHERS"), rows)
        place = f"etcd at {', '.join(self.etcd.settings.endpoints)} below {self.etcd.prefix}"
        typer.echo(f"{place}: {self._done(dry_run=dry_run)}")

    def say_each(self) -> None:
        """One line per record, for people."""
        if self.output is Output.JSON:
            return
        plan = self.plan
        lines = [f"delete {path}" for path in plan.delete]
        lines += [
            f"change {plan.change[path]}" if path in plan.change else f"add {path}"
            for path in plan.writes
        ]
        lines += [f"leave {path}: the backup does not have it" for path in plan.others]
        for line in lines:
            typer.echo(printable(line))

    def _done(self, *, dry_run: bool) -> str:
        if dry_run:
            return "nothing was written (--dry-run)"
        if self.plan.writes or self.plan.delete:
            return f"network {self.network} is restored"
        return f"network {self.network} is already as in the backup"

    def _as_json(self, *, dry_run: bool) -> dict[str, Any]:
        return {
            "network": self.network,
            "endpoints": list(self.etcd.settings.endpoints),
            "prefix": self.etcd.prefix,
            "dry_run": dry_run,
            "add": list(self.plan.add),
            "change": list(self.plan.change),
            "delete": list(self.plan.delete),
            "same": list(self.plan.same),
            "others": list(self.plan.others),
        }
