"""Scenario files: every figure has a basis, and what is built is what the file says."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from importlib.resources import files

import msgspec
import numpy as np
import pytest

from crossmargin.cascade.build import (
    news_of,
    people_of,
    rules_of,
    run_scenario,
    script_moves,
    shock_runs,
)
from crossmargin.cascade.contagion import exposure, run_contagion
from crossmargin.cascade.facts import MEASURES, fact_table, facts_from_toml, judge
from crossmargin.cascade.heat import heat, news_gain
from crossmargin.cascade.outcome import outcome
from crossmargin.cascade.population import population
from crossmargin.cascade.scenario_file import (
    basis_of,
    figure_places,
    load_scenario,
    scenario_from_data,
    scenario_ids,
    with_changes,
)
from crossmargin.errors import CascadeError, CrossmarginError

SMALL = {"population.accounts": 400, "clock.steps": 60, "clock.step_s": 60.0}


@pytest.mark.parametrize("name", scenario_ids())
class TestShipped:
    def test_every_figure_of_the_file_has_a_listed_source(self, name: str) -> None:
        text = (files("crossmargin.cascade") / "scenarios" / f"{name}.toml").read_text("utf-8")
        made, places = load_scenario(name), list(figure_places(tomllib.loads(text)))
        assert len(places) > 30
        for place in places:
            basis = basis_of(made, place)
            assert basis is not None and basis.source in made.sources

    def test_open_interest_and_prices_are_those_of_the_file(self, name: str) -> None:
        made = with_changes(load_scenario(name), SMALL)
        people = people_of(made)
        k = len(made.assets)
        np.testing.assert_allclose(
            people.open_interest() * people.price[:k], [a.interest_usd for a in made.assets]
        )
        assert people.assets == tuple(made.names)
        assert (people.health() > 1.0).all()

    def test_it_runs_and_conserves(self, name: str) -> None:
        made = with_changes(load_scenario(name), SMALL)
        people, run = run_scenario(made, 1)
        figures = outcome(people, run, made.lead_row)
        assert run.conservation < 1e-9
        assert figures.oi_drop <= 1e-12
        borne = (
            figures.fund_usd
            + figures.backstop_usd
            + max(figures.adl_loss_usd, 0.0)
            + figures.socialised_usd
            + figures.bad_debt_usd
        )
        assert figures.deficit_usd == pytest.approx(borne)


class TestFile:
    def test_a_figure_without_a_basis_is_refused(self) -> None:
        raw = msgspec.to_builtins(load_scenario("crash"))
        raw["basis"] = [b for b in raw["basis"] if "clock.*" not in b["figures"]]
        with pytest.raises(CascadeError, match="nobody says where") as caught:
            scenario_from_data(raw, "mine")
        assert caught.value.code == "CAS-002"

    def test_a_basis_of_nothing_is_refused(self) -> None:
        raw = msgspec.to_builtins(load_scenario("crash"))
        raw["basis"].append({"figures": ["coins.USDe.*"], "source": "house", "confidence": "house"})
        raw["basis"].insert(0, {"figures": ["*"], "source": "house", "confidence": "house"})
        with pytest.raises(CascadeError, match="is of no figure"):
            scenario_from_data(raw, "mine")

    def test_a_source_that_is_not_listed_is_refused(self) -> None:
        raw = msgspec.to_builtins(load_scenario("crash"))
        raw["basis"][0]["source"] = "hearsay"
        with pytest.raises(CascadeError, match="hearsay"):
            scenario_from_data(raw, "mine")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"population.leverage": 8}, "no place in a scenario"),
            ({"assets.DOGE.mm_rate": 0.1}, "no place in a scenario"),
            ({"rules.fund_share": 2.0}, "<= 1.0"),
            ({"rules.rounds": 0}, ">= 1"),
            ({"clock.start": "yesterday"}, "yesterday"),
            ({"population.walls": "groups"}, "0 groups for 4 contracts"),
            ({"assets.SOL.redeems": "EURO"}, "EURO"),
            ({"title": "x"}, "no place in a scenario"),
        ],
    )
    def test_wrong_changes_are_refused_in_words(self, changes: dict, words: str) -> None:  # type: ignore[type-arg]
        with pytest.raises(CrossmarginError, match=words):
            with_changes(load_scenario("crash"), changes)

    def test_changes_touch_only_their_place_and_are_the_users(self) -> None:
        before = load_scenario("crash")
        after = with_changes(before, {"assets.*.mm_rate": 0.03, "assets.ETH.depth_usd": 5e9})
        assert [a.mm_rate for a in after.assets] == [0.03] * 4
        assert after.assets[1].depth_usd == 5e9
        assert after.assets[0].depth_usd == before.assets[0].depth_usd
        basis = basis_of(after, "assets.ETH.depth_usd")
        assert basis is not None and basis.confidence == "user"
        assert basis_of(after, "assets.BTC.depth_usd").confidence == "secondary"  # type: ignore[union-attr]
        assert fnmatchcase("assets.ETH.mm_rate", "assets.*.mm_rate")

    def test_an_unknown_scenario_lists_those_that_are(self) -> None:
        with pytest.raises(CascadeError, match="crash, depeg"):
            load_scenario("1929")

    def test_rules_are_replaced_by_name(self) -> None:
        rules = rules_of(with_changes(load_scenario("crash"), {"rules.adl": "bitmex"}))
        assert [x.adl for x in rules.liquidation.layers if x.adl] == ["bitmex"]
        with pytest.raises(CrossmarginError, match="no ADL rule"):
            rules_of(with_changes(load_scenario("crash"), {"rules.adl": "fair"}))


class TestNews:
    def test_without_noise_it_is_the_script(self) -> None:
        made = with_changes(load_scenario("crash"), {"noise.scale": 0.0, "noise.script_sd": 0.0})
        path = np.exp(np.cumsum(news_of(made, 7), axis=0))
        assert path[:, 0].min() == pytest.approx(0.935)
        assert path[:, 1].min() == pytest.approx(0.92)
        np.testing.assert_allclose(script_moves(made), [-0.065, -0.08, -0.10, -0.095])

    def test_seeds_differ_and_repeat(self) -> None:
        made = load_scenario("crash")
        np.testing.assert_array_equal(news_of(made, 3), news_of(made, 3))
        assert (news_of(made, 3) != news_of(made, 4)).any()

    def test_designs_meet_the_same_news(self) -> None:
        made = load_scenario("crash")
        other = with_changes(made, {"rules.adl": "bitmex", "population.walls": "isolated"})
        np.testing.assert_array_equal(news_of(made, 3), news_of(other, 3))


def test_a_depeg_is_seen_at_the_venues_book_and_not_at_redemption() -> None:
    """cascades.md, fact 11: a local de-peg hits only the venue that marks at its own book."""
    sizes = {**SMALL, "population.median_leverage": 33.0, "noise.scale": 0.0}
    own = with_changes(load_scenario("depeg"), sizes)
    redeemed = with_changes(load_scenario("depeg"), {**sizes, "marks.redemption": True})
    people, run = run_scenario(own, 1)
    _, quiet = run_scenario(redeemed, 1)
    _, holds = exposure(people, "USDe")
    first = int(run.first_step[run.hit].min())
    assert run.hit.any() and not quiet.hit.any()
    assert holds[run.first_step == first].all()  # it begins with those who hold it
    assert run.liquidated_usd > 0 == quiet.liquidated_usd


def test_contagion_through_prices_reaches_the_unexposed() -> None:
    sizes = {**SMALL, "clock.steps": 10, "depth.factor": 0.3}
    people, runs = shock_runs(with_changes(load_scenario("crash"), sizes), {"BTC": -0.12})
    found = run_contagion(people, runs)
    position, coin = exposure(people, "BTC")
    hit = runs["BTC"].hit
    assert found.unexposed[0] == pytest.approx((~(position | coin))[hit].mean())
    assert found.unexposed[0] > 0.0
    assert (found.matrix[0] > 0.0).all()


def test_a_shock_to_nothing_is_refused() -> None:
    made = load_scenario("crash")
    with pytest.raises(CascadeError, match="no asset called 'DOGE'"):
        shock_runs(made, {"DOGE": -0.1})


class TestHeat:
    def test_the_threshold_gain_by_hand(self) -> None:
        """Two longs of 100 coins: one's line lies within a fall of 10 %, the other's beyond."""
        people = population(
            contracts=["X"], price=[100.0], mm_rate=[0.05], cash=[1_200.0, 4_000.0],
            start=[0, 1, 2], contract=[0, 0], quantity=[100.0, 100.0],
        )  # fmt: skip
        # Equity 1,200 meets 5 % of 100·p at p = 92.63, equity 4,000 at 63.16.
        news = np.array([-0.10])
        assert news_gain(people, np.array([1e5]), news) == pytest.approx((10_000 / 1e5) / 0.10)
        assert news_gain(people, np.array([1e5]), np.array([-0.05])) == 0.0
        assert news_gain(people, np.array([1e5]), np.array([0.0])) == 0.0

    def test_everything_closed_is_on_the_map(self) -> None:
        made = with_changes(load_scenario("crash"), {**SMALL, "depth.factor": 1.0})
        people, run = run_scenario(made, 1)
        found = heat(people, run, 0)
        forced = float((run.sold + run.bought)[:, 0].sum())
        assert forced > 0
        assert found.closed.sum() == pytest.approx(forced)
        assert found.standing.sum() > 0
        held = np.abs(people.quantity[people.contract == 0]).sum() * float(found.edges[-1])
        assert found.standing.sum() <= held


class TestFacts:
    def test_verdicts(self) -> None:
        made = with_changes(load_scenario("2025-10-10"), SMALL)
        people, run = run_scenario(made, 1)
        figures = outcome(people, run)
        rows = judge(fact_table("2025-10-10"), people, run, figures)
        by_id = {row.fact.id: row for row in rows}
        assert by_id["amplification"].verdict == "not identified"
        assert by_id["amplification"].simulated == figures.amplification
        for row in rows:
            if row.fact.low is None:
                assert row.verdict == "not identified" and row.fact.reason
            else:
                inside = row.simulated is not None and (
                    row.fact.low <= row.simulated <= (row.fact.high or 0.0)
                )
                assert row.verdict == ("matched" if inside else "off")

    def test_measures_on_a_run_by_hand(self) -> None:
        made = with_changes(load_scenario("crash"), {**SMALL, "depth.factor": 1.0})
        people, run = run_scenario(made, 1)
        figures = outcome(people, run)
        volume = (run.sold + run.bought).sum(axis=1)
        assert MEASURES["peak_minute"](people, run, figures, 0) == pytest.approx(
            volume.max() / volume.sum()
        )
        price = run.price[:, 0]
        assert MEASURES["rebound"](people, run, figures, 0) == pytest.approx(
            price[-1] / price.min() - 1
        )
        busiest = sorted(volume)[::-1][:3]  # a twentieth of sixty steps
        assert figures.burst == pytest.approx(sum(busiest) / volume.sum())

    def test_the_traps_of_the_reference_are_not_repeated(self) -> None:
        table = fact_table("2025-10-10")
        deficit = next(f for f in table.facts if f.id == "negative-equity")
        assert "23.2" in deficit.observed
        assert not any("653" in f.observed for f in table.facts)
        rebound = next(f for f in table.facts if f.id == "rebound")
        assert rebound.low is None  # fact 8: never a pass condition

    def test_a_fact_needs_a_band_or_a_reason(self) -> None:
        text = """
format = "crossmargin-cascade-facts/1"
id = "x"
title = "x"
[sources.a]
title = "a"
date = "2026-01-01"
[[facts]]
id = "f"
title = "f"
observed = "seen"
unit = "share"
quality = "A"
"""
        with pytest.raises(CascadeError, match="a band or a reason"):
            facts_from_toml(text, "x.toml")
        with pytest.raises(CascadeError, match="no measure 'mood'"):
            facts_from_toml(text + 'measure = "mood"\nreason = "none"\n', "x.toml")
