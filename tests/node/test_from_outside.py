"""A host outside that knows a way to the pods, by a node: whom does it reach, and as whom?"""

from __future__ import annotations

import pytest
from tests.node.test_nftables import (
    NETWORK,
    NODE,
    OUTSIDE,
    SERVICE,
    VXLAN,
    Site,
    apply,
    arrives,
    connects,
    site,
    translate,
)

__all__ = ["site"]

POD = "172.11.4.2"


@pytest.fixture
def routed(site: Site) -> Site:
    site.outside.run(f"ip route add {NETWORK} via {NODE}")
    site.outside.run("ip addr add 172.11.4.3/32 dev eth0")
    return site


def test_it_does_not_pass_as_a_pod(routed: Site) -> None:
    pod = POD, 5000
    assert arrives(routed.outside, pod, routed.pod, 5000, source="172.11.4.3")
    apply(NETWORK, VXLAN)
    assert not arrives(routed.outside, pod, routed.pod, 5000, source="172.11.4.3")
    assert not arrives(routed.outside, (NODE, 5000), routed.node, 5000, source="172.11.4.3")
    assert arrives(routed.outside, pod, routed.pod, 5000), "as itself"


def test_a_node_reaches_itself_by_its_address_in_the_network(routed: Site) -> None:
    apply(NETWORK, VXLAN)
    assert arrives(routed.node, ("172.11.4.1", 5000), routed.node, 5000)


class TestServicesAlone:
    """FromOutside is `services`."""

    def test_no_pod_is_reached_but_by_a_service(self, routed: Site) -> None:
        translate(routed, f"ip daddr {SERVICE} tcp dport 80 dnat to {POD}:5000")
        routed.outside.run(f"ip route add {SERVICE}/32 via {NODE}")
        apply(NETWORK, VXLAN, outside="all")
        assert connects(routed.outside, (POD, 5000), routed.pod, 5000)
        apply(NETWORK, VXLAN, outside="services")
        assert not connects(routed.outside, (POD, 5000), routed.pod, 5000)
        assert not arrives(routed.outside, (POD, 5000), routed.pod, 5000)
        assert connects(routed.outside, (SERVICE, 80), routed.pod, 5000)

    def test_pods_reach_outside_and_their_node_reaches_them(self, routed: Site) -> None:
        apply(NETWORK, VXLAN, outside="services")
        assert connects(routed.pod, (OUTSIDE, 5000), routed.outside, 5000)
        assert connects(routed.node, (POD, 5000), routed.pod, 5000)
        assert connects(routed.pod, (NODE, 5000), routed.node, 5000)
