"""A real Kubernetes on this machine: nodes are namespaces, everything else is what users run.

    python -m tests.cluster.run up [--nodes N] [--name NAME]
    python -m tests.cluster.run down [--name NAME]

Nodes are not ready until a network is installed; `up` says how. Run again after an interruption,
`up` starts over, and `down` removes whatever is there.
"""

from __future__ import annotations

import argparse
import signal
import sys

from tests.cluster.cluster import MANIFEST
from tests.cluster.lifecycle import tear_down, up
from tests.cluster.place import Place
from tests.cluster.plain_etcd import with_plain_etcd
from tests.cluster.progress import progress

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab.layout import LabSettings

__all__ = ["main"]


def main(words: list[str] | None = None) -> int:
    """The program's status: 0, 1 if it failed, 130 if it was interrupted."""
    wanted = _parse(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        asked = LabSettings(name=wanted.name, nodes=wanted.nodes)
        place = Place(asked.name, asked.nodes)
        if wanted.command == "down":
            progress("removed" if tear_down(place) else f"no cluster {place.name} is there")
            return 0
        up(place)
    except K8sOvsError as error:
        progress(f"failed: {error}")
        return 1
    except KeyboardInterrupt:
        progress("interrupted; run again, it starts over, and down removes what is there")
        return 130
    manifest = place.directory / "k8s-ovs.yaml"
    manifest.write_text(with_plain_etcd(MANIFEST.read_text()))
    progress(f"up; kubeconfig: {place.kubeconfig} (the API server is in a namespace), try:")
    print(f"{place.kubectl} get nodes,pods -A -o wide\n{place.kubectl} apply -f {manifest}")
    return 0


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster.run", description="A real Kubernetes on this machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("up", "bring it up"), ("down", "remove it")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--name", default="kube", help="prefix of its namespaces (kube)")
        command.set_defaults(nodes=2)
        if name == "up":
            command.add_argument("--nodes", type=int, metavar="N", help="how many (2)")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
