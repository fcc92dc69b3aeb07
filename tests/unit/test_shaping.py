"""Rate limits of pods as values: who is admitted, how fast an interface is, what enforces that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import k8s_ovs
from k8s_ovs.hooks.load import load_plugins
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Failure
from k8s_ovs.model.world import CONNECTED, LOCAL_NODE, PROBLEM, SETTLED, Slot
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs.plugin import PodRequest, Rates, Refuse, View, Wait
from k8s_ovs_shaping import Shaping
from k8s_ovs_shaping.bandwidth import BANDWIDTHS, Bandwidth
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_config, sample_local_node, sample_pod, sample_world

NAME = "k8s-ovs-shaping"
MODES = ("k8s-ovs-subnet", "k8s-ovs-multitenant")
SHAPING = Shaping()
MANAGER = PluginManager({"k8s-ovs-subnet": SingleTenant(), NAME: SHAPING})
POD, OTHER = sample_pod(1), sample_pod(2)
REQUEST = PodRequest(POD.namespace, POD.name, POD.uid, POD.container, POD.ifname)
LIMITS = Rates(10_000_000, 20_000_000)
FAST = 'pod default/pod1: kubernetes.io/egress-bandwidth: found "fast", expected a number'


def asked(rates: Rates = LIMITS, uid: str = POD.uid) -> Bandwidth:
    return Bandwidth(frozenset({uid}), rates)


def seen(
    record: Bandwidth | None = None,
    *,
    problem: str | None = None,
    connected: bool | None = True,
    meters: int = 1000,
    unenforced: Any = None,
) -> View:
    """A view in which the API server says this of pod 1. unenforced: BandwidthUnenforced."""
    key = POD.identity
    records: dict[str, Mapping[str, Any]] = {
        LOCAL_NODE: {"": evolve(sample_local_node(), meters=meters)},
        BANDWIDTHS: {key: Slot(record, problem=problem)} if record or problem else {},
        CONNECTED: {} if connected is None else {BANDWIDTHS: connected},
    }
    extra = {} if unenforced is None else {"BandwidthUnenforced": unenforced}
    return MANAGER.view(sample_world(records=records, config=sample_config(extra=extra)))


def flows(view: View, pod: Any = POD) -> list[str]:
    return [flow_text(each, MANAGER.pipeline, human=True) for each in SHAPING.pod_flows(view, pod)]


class TestAdmission:
    def test_a_pod_that_the_api_server_has_is_admitted(self) -> None:
        assert SHAPING.admit_pod(seen(asked(Rates())), REQUEST) is None
        assert SHAPING.admit_pod(seen(asked()), evolve(REQUEST, uid="")) is None

    @pytest.mark.parametrize("connected", [True, None])
    @pytest.mark.parametrize("record", [None, asked(uid="the one before it")])
    def test_one_that_is_not_known_yet_waits(
        self, record: Bandwidth | None, connected: bool | None
    ) -> None:
        answer = SHAPING.admit_pod(seen(record, connected=connected), REQUEST)
        assert answer == Wait("pod default/pod1 as the API server has it")

    @pytest.mark.parametrize("record", [None, asked(uid="the one before it")])
    def test_while_the_api_server_is_away_it_does_not_wait(self, record: Bandwidth | None) -> None:
        assert SHAPING.admit_pod(seen(record, connected=False), REQUEST) is None

    @pytest.mark.parametrize("connected", [True, False, None])
    @pytest.mark.parametrize("last_valid", [None, asked()])
    def test_annotations_that_make_no_sense_are_refused_in_their_words(
        self, last_valid: Bandwidth | None, connected: bool | None
    ) -> None:
        view = seen(last_valid, problem=FAST, connected=connected)
        assert SHAPING.admit_pod(view, REQUEST) == Refuse(FAST)

    def test_who_waits_is_asked_again_when_any_of_that_changes(self) -> None:
        view = seen()
        SHAPING.admit_pod(view, REQUEST)
        key = POD.identity
        assert view.reads == {
            (BANDWIDTHS, key, SETTLED),
            (BANDWIDTHS, key, PROBLEM),
            (CONNECTED, BANDWIDTHS, SETTLED),
        }


class TestLink:
    def test_an_interface_gets_the_rate_limits_of_its_pod(self) -> None:
        settings = SHAPING.pod_link(seen(asked()), POD)
        assert settings is not None
        assert (settings.rates, settings.mtu, settings.routes) == (LIMITS, None, ())

    @pytest.mark.parametrize("connected", [True, False, None])
    def test_while_nothing_is_known_of_it_it_keeps_its_limits(self, connected: bool | None) -> None:
        given = evolve(POD, rates=Rates(1_000_000, None))
        for record in (None, asked(uid="another of its name")):
            settings = SHAPING.pod_link(seen(record, connected=connected), given)
            assert settings is not None
            assert settings.rates == given.rates

    def test_what_is_taken_out_is_lifted(self) -> None:
        settings = SHAPING.pod_link(seen(asked(Rates())), evolve(POD, rates=LIMITS))
        assert settings is not None
        assert settings.rates == Rates()

    @pytest.mark.parametrize(
        ("unenforced", "must_hold"), [(None, True), ("refuse", True), ("warn", False)]
    )
    def test_the_configuration_says_whether_a_pod_may_run_without(
        self, unenforced: Any, must_hold: bool
    ) -> None:
        settings = SHAPING.pod_link(seen(asked(), unenforced=unenforced), POD)
        assert settings is not None
        assert settings.must_hold is must_hold

    @pytest.mark.parametrize("unenforced", ["Warn", "", 1, False, ["warn"], {}])
    def test_another_word_there_is_told_and_no_pod_slips_through(self, unenforced: Any) -> None:
        view = seen(asked(), unenforced=unenforced)
        results = dict(MANAGER.pod_link(view, POD))
        failure = results[NAME]
        assert isinstance(failure, Failure)
        assert "BandwidthUnenforced: found" in failure.error
        assert 'expected "refuse" or "warn"' in failure.error


class TestMeter:
    def test_behind_the_limit_is_a_meter_of_a_little_more(self) -> None:
        (flow,) = SHAPING.pod_flows(seen(asked()), POD)
        meter = flow.actions[0]
        assert (meter.number, meter.rate, meter.burst) == (POD.ofport, 21_000, 2_100)
        assert flows(seen(asked())) == [
            f"table=POLICE,priority=100,ip,in_port={POD.ofport} "
            f"actions=meter:{POD.ofport},goto_table:ROUTE"
        ]

    def test_a_slow_pod_may_still_send_segments_as_its_kernel_makes_them(self) -> None:
        (flow,) = SHAPING.pod_flows(seen(asked(Rates(None, 1_000))), POD)
        meter = flow.actions[0]
        assert (meter.rate, meter.burst) == (2, 2_000)

    @pytest.mark.parametrize("rates", [Rates(), Rates(to_pod=10_000_000)])
    def test_what_a_pod_receives_needs_none(self, rates: Rates) -> None:
        assert flows(seen(asked(rates))) == []

    def test_while_nothing_is_known_the_meter_of_its_last_limit_stays(self) -> None:
        given = evolve(POD, rates=Rates(None, 20_000_000))
        assert flows(seen(None), given) == flows(seen(asked(Rates(None, 20_000_000))))

    @pytest.mark.parametrize("meters", [0, POD.ofport - 1])
    def test_a_datapath_that_cannot_have_it_gets_no_flow(self, meters: int) -> None:
        assert flows(seen(asked(), meters=meters)) == []
        assert flows(seen(asked(), meters=POD.ofport)) != []

    def test_a_port_without_a_number_yet_has_none(self) -> None:
        assert flows(seen(asked()), evolve(POD, ofport=0)) == []

    def test_no_meter_counts_beyond_32_bits_of_kilobits(self) -> None:
        most = (1 << 32) - 1
        highest = most * 100_000 // 105
        (flow,) = SHAPING.pod_flows(seen(asked(Rates(None, highest))), POD)
        assert flow.actions[0].rate == most
        assert flows(seen(asked(Rates(None, highest + 1_000)))) == []
        assert flows(seen(asked(Rates(None, 10**15)))) == []


class TestTold:
    def test_status_counts_the_pods_that_have_a_limit(self) -> None:
        assert SHAPING.status(seen(asked())) == {"limited_pods": 1}
        assert SHAPING.status(seen(asked(Rates()))) == {"limited_pods": 0}
        assert SHAPING.status(seen(None)) == {"limited_pods": 0}

    def test_the_doctor_says_where_no_meter_enforces_them(self) -> None:
        (well,), (ill,) = (SHAPING.doctor_checks(seen(meters=each)) for each in (1000, 0))
        assert (well.ok, ill.ok) == (True, False)
        assert "this datapath has no meters" in ill.found


@pytest.mark.parametrize("mode", MODES)
def test_it_comes_along_with_each_mode_and_goes_where_it_is_taken_out(mode: str) -> None:
    along, without = load_plugins(mode), load_plugins(f"{mode},-{NAME}")
    assert NAME in along.names
    assert BANDWIDTHS in along.resources
    assert "POLICE" in [table.name for table in along.pipeline.tables]
    assert NAME not in without.names
    assert BANDWIDTHS not in without.resources
    assert "POLICE" not in [table.name for table in without.pipeline.tables]


def test_the_core_does_not_know_its_name() -> None:
    core = Path(str(k8s_ovs.__file__)).parent
    naming = [
        str(path.relative_to(core))
        for path in core.rglob("*.py")
        if NAME in path.read_text() or "k8s_ovs_shaping" in path.read_text()
    ]
    assert naming == []
