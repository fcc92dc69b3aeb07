"""What plugins said last of each pod's interface: one that fails is kept at its word."""

from __future__ import annotations

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.pod import Rates
from k8s_ovs.plugin import LinkSettings, Pod, View, hook
from k8s_ovs.reconcile.pod_links import PodLinks
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_pod, sample_world

POD, OTHER = sample_pod(1), sample_pod(2)


class Wishing:
    """Wants these settings of every pod; an error: it raises that."""

    def __init__(self, wish: LinkSettings | Exception | None = None) -> None:
        self.wish = wish

    @hook
    def pod_link(self, view: View, pod: Pod) -> LinkSettings | None:
        if isinstance(self.wish, Exception):
            raise self.wish
        return self.wish


class Asked:
    """Pods' links, and two plugins that are asked about them."""

    def __init__(self) -> None:
        self.links, self.first, self.second = PodLinks(), Wishing(), Wishing()
        self.manager = PluginManager(
            {"mode": SingleTenant(), "first": self.first, "second": self.second}
        )

    def ask(self, *pods: Pod) -> list[str]:
        view = self.manager.view(sample_world())
        return [str(each) for pod in pods for each in self.links.ask(self.manager, view, pod)]

    def rates(self) -> dict[str, Rates]:
        return {port: each.rates for port, each in self.links.take_changed().items()}


def test_settings_are_told_once_and_again_when_they_change() -> None:
    asked = Asked()
    assert asked.ask(POD, OTHER) == []
    assert asked.rates() == {POD.port: Rates(), OTHER.port: Rates()}
    asked.ask(POD, OTHER)
    assert asked.rates() == {}
    asked.first.wish = LinkSettings(rates=Rates(5_000))
    asked.ask(POD)
    assert asked.rates() == {POD.port: Rates(5_000)}


def test_a_plugin_that_fails_keeps_what_it_wanted_and_the_other_goes_on() -> None:
    asked = Asked()
    asked.first.wish = LinkSettings(rates=Rates(5_000))
    asked.ask(POD)
    asked.first.wish, asked.second.wish = (
        ValueError("ill"),
        LinkSettings(rates=Rates(None, 7_000)),
    )
    (failure,) = asked.ask(POD)
    assert failure.startswith("plugin first: pod_link of pod default/pod1: ValueError('ill')")
    assert asked.rates() == {POD.port: Rates(5_000, 7_000)}
    asked.first.wish = None
    asked.ask(POD)
    assert asked.rates() == {POD.port: Rates(None, 7_000)}


def test_of_a_pod_that_is_gone_nothing_is_left() -> None:
    asked = Asked()
    asked.first.wish = LinkSettings(rates=Rates(5_000))
    asked.ask(POD, OTHER)
    asked.links.forget(POD.port)
    asked.links.forget("never there")
    assert asked.rates() == {OTHER.port: Rates(5_000)}
    # One that comes by its name has not said anything before.
    asked.first.wish = ValueError("ill")
    asked.ask(POD)
    assert asked.rates() == {POD.port: Rates()}
