"""A new version is rolled out by its image, while packets flow both ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.cluster.cluster import SYSTEM, Cluster
from tests.cluster.images import DAEMON, all_images, as_another
from tests.cluster.node import import_image
from tests.cluster.pings import pinging

NEXT = "docker.io/library/k8s-ovs:next"


def test_a_rolling_update_to_a_new_image_loses_no_packet(
    cluster: Cluster, ways: dict[str, str], tmp_path: Path, report: Callable[[str], None]
) -> None:
    archive = tmp_path / "next.tar"
    as_another(all_images()[DAEMON], archive, NEXT)
    for node in cluster.place.nodes:
        import_image(node, archive)
    archive.unlink()
    before = image_ids(cluster)
    with pinging(cluster, ways) as counts:
        cluster.kubectl("set", "image", "daemonset/k8s-ovs", f"*={NEXT}", "-n", SYSTEM)
        cluster.await_rollout("daemonset/k8s-ovs")

    assert len(set(before) | set(image_ids(cluster))) == 2
    for pod, count in counts.items():
        report(f"update to a new image, ping 100 Hz from {pod}: {count}")
        assert count.lost == ()


def image_ids(cluster: Cluster) -> list[str]:
    """What each node's daemon runs, as the runtime names it."""
    names = [cluster.daemon_on(node.name) for node in cluster.place.nodes]
    pods = [cluster.get("pod", name, SYSTEM) for name in names]
    return [pod["status"]["containerStatuses"][0]["imageID"] for pod in pods]
