"""`k8s-ovs`: the command line. Where each command is; its code is loaded when it runs."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from attrs import frozen
from typer.core import TyperCommand, TyperGroup

from k8s_ovs.cli.streams import name_streams
from k8s_ovs.errors import K8sOvsError

__all__ = ["app", "main"]


@frozen
class _Command:
    """Where a command is: a module with `run` (one command), or with a group in its `group`.

    logs: it is a program that logs; the others print their own messages.
    """

    module: str
    help: str
    logs: bool = False
    group: str = "app"


_COMMANDS = {
    "node": _Command("k8s_ovs.cli.host.node", "Run the daemon of this node.", logs=True),
    "config": _Command("k8s_ovs.cli.cluster.config", "The network's configuration in etcd."),
    "allow-deletions": _Command(
        "k8s_ovs.cli.cluster.allow_deletions", "Let the leader delete many records at once."
    ),
    "backup": _Command("k8s_ovs.cli.cluster.backup", "Write the network's records into a file."),
    "restore": _Command("k8s_ovs.cli.cluster.restore", "Put a backup's records back into etcd."),
    "subnet": _Command("k8s_ovs.cli.cluster.subnet", "Which host has which subnet."),
    "status": _Command("k8s_ovs.cli.host.status", "The state of this node and its network."),
    "pod": _Command("k8s_ovs.cli.host.pod", "The pods of this node, and their rate limits."),
    "flows": _Command("k8s_ovs.cli.host.flows", "The flows of this node, with names and owners."),
    "doctor": _Command("k8s_ovs.cli.doctor.command", "What is wrong on this node, and what to do."),
    "etcd-roles": _Command(
        "k8s_ovs.cli.cluster.etcd_roles", "Commands that make roles and users of etcd."
    ),
    "install-cni": _Command(
        "k8s_ovs.cli.host.install_cni", "Put the CNI program where the container runtime finds it."
    ),
    "uninstall": _Command(
        "k8s_ovs.cli.uninstall.command", "Remove from this host what k8s-ovs made on it."
    ),
    "version": _Command("k8s_ovs.cli.host.version", "Which version this is, and the daemon's."),
}

#: Entry points of other distributions: one command group (a typer application) each.
_COMMANDS_GROUP = "k8s_ovs.commands"

#: Groups that other distributions of the tree bring, and which: not on nodes.
_BROUGHT_BY = {"lab": "k8s-ovs-lab", "plugin": "k8s-ovs-testing"}

#: In a context's meta: names and one line of help are enough, no command is about to run.
_NAMES_ONLY = "k8s_ovs.names_only"


class _LazyGroup(TyperGroup):
    """Imports only the command that runs; plugins are asked if the core has no such name."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._lazy = dict(_COMMANDS)
        self.commands = {
            name: TyperCommand(name, help=each.help) for name, each in _COMMANDS.items()
        }
        self._looked_further = self._met_plugins = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`k8s-ovs --etcd-endpoints=...` starts the daemon, as before there were commands."""
        own = {flag for parameter in self.get_params(ctx) for flag in parameter.opts}
        first = args[0].partition("=")[0] if args else ""
        if first.startswith("--") and first != "--" and first not in own:
            if not ctx.resilient_parsing:
                _refuse_what_node_lacks(ctx, args, own)
            args = ["node", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        self._meet_plugins(ctx)
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            self._look_further()
        if cmd_name in self._lazy and _NAMES_ONLY not in ctx.meta:
            return _load(cmd_name, self._lazy[cmd_name])
        if cmd_name not in self.commands:
            self._meet_plugins(ctx)
        found = self.commands.get(cmd_name)
        if found is None and cmd_name in _BROUGHT_BY and not ctx.resilient_parsing:
            wanted = _BROUGHT_BY[cmd_name]
            raise K8sOvsError(
                f"command {cmd_name}: found no distribution {wanted}, expected it beside this one: "
                f"pip install {wanted}"
            )
        return found

    def format_help(self, ctx: Any, formatter: Any) -> None:
        ctx.meta[_NAMES_ONLY] = True
        super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        ctx.meta[_NAMES_ONLY] = True
        return super().shell_complete(ctx, incomplete)

    def invoke(self, ctx: Any) -> Any:
        """An error that a user can cause is one line on stderr and exit status 1."""
        try:
            return super().invoke(ctx)
        except K8sOvsError as error:
            _complain("error", str(error))
            raise typer.Exit(1) from error
        except BrokenPipeError:
            raise  # the reader of our output has ended, which is no error
        except OSError as error:
            named = f"{error.filename}: " if error.filename is not None else ""
            _complain("error", f"{named}{error.strerror or error}")
            raise typer.Exit(1) from error

    def _look_further(self) -> None:
        """Learn the names of other distributions' groups; their code waits until one runs."""
        if self._looked_further:
            return
        self._looked_further = True
        for entry in import_module("importlib.metadata").entry_points(group=_COMMANDS_GROUP):
            summary = str(entry.dist.metadata["Summary"])
            self._lazy.setdefault(entry.name, _Command(entry.module, summary, group=entry.attr))
            self.commands.setdefault(entry.name, TyperCommand(entry.name, help=summary))

    def _meet_plugins(self, ctx: Any) -> None:
        if self._met_plugins:
            return
        self._met_plugins = True
        self._look_further()
        _quiet_logs()
        found = import_module("k8s_ovs.cli.plugin_commands").plugin_commands(frozenset(self._lazy))
        for name, group in found.groups.items():
            self.commands[name] = _named(typer.main.get_group(group), name)
        # Completion cannot show messages.
        for problem in () if ctx.resilient_parsing else found.problems:
            _complain("warning", problem)


def _refuse_what_node_lacks(ctx: Any, args: list[str], own: set[str]) -> None:
    """Without a command, all options must be the daemon's, and no command may follow."""
    parameters = _load("node", _COMMANDS["node"]).get_params(ctx)
    takes_value = {flag: not each.is_flag for each in parameters for flag in each.opts}
    words = iter(args)
    for word in words:
        flag, equals, _ = word.partition("=")
        if not flag.startswith("-"):
            ctx.fail(f"'{word}' comes behind an option, expected k8s-ovs COMMAND OPTIONS")
        if flag not in takes_value:
            known = [name for name in (*own, *takes_value) if name.startswith("--")]
            near = import_module("difflib").get_close_matches(flag, known)
            guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            ctx.fail(f"No such option: {flag}.{guess}")
        if takes_value[flag] and not equals:
            next(words, None)


def _load(name: str, wanted: _Command) -> Any:
    if not wanted.logs:
        _quiet_logs()
    try:
        module = import_module(wanted.module)
    except ImportError as error:
        raise K8sOvsError(f"command {name} ({wanted.module}) does not load: {error}") from error
    if hasattr(module, wanted.group):
        command: Any = typer.main.get_group(getattr(module, wanted.group))
    else:
        single = typer.Typer(add_completion=False)
        single.command(name, help=module.run.__doc__)(module.run)
        command = typer.main.get_command(single)
    return _named(command, name)


def _named(command: Any, name: str) -> Any:
    """The command under its name, with help that the terminal can wrap."""
    command.name = name
    _prepare(command, import_module("k8s_ovs.cli.flag_values").check_texts)
    return command


def _prepare(command: Any, check_texts: Callable[[Any], None]) -> None:
    """Help that the terminal can wrap and checks of texts, of the command and all below it."""
    command.help = _flowing(command.help or "")
    check_texts(command)
    for each in getattr(command, "commands", {}).values():
        _prepare(each, check_texts)


def _flowing(text: str) -> str:
    """A paragraph is one line, which the terminal wraps; what follows \\b stays as it is."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        each if each.lstrip("\n").startswith("\b") else " ".join(each.split())
        for each in paragraphs
    )


def _quiet_logs() -> None:
    import_module("k8s_ovs.cli.quiet").quiet_logs()


def _complain(kind: str, text: str) -> None:
    import_module("k8s_ovs.plugin.command.output").complain(kind, text)


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(import_module("importlib.metadata").version("k8s-ovs"))
        raise typer.Exit


@app.callback()
def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", is_eager=True, callback=_say_version, help="Show the version."
        ),
    ] = False,
) -> None:
    """A Kubernetes network on Open vSwitch."""


def _show_warning(  # noqa: PLR0917 - as warnings.showwarning has it
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """In the place of warnings.showwarning, which prints those of libraries too."""
    show_own = import_module("k8s_ovs.cli.own_warnings").show_own
    show_own(lambda text: _complain("warning", text), message, category, filename, lineno)


def main() -> None:
    """The program that users start."""
    warnings.showwarning = _show_warning
    name_streams()
    try:
        try:
            app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except K8sOvsError as error:  # of help, which no command prints
        _complain("error", str(error))
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()
