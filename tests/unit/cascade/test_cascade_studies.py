"""Studies: the same bytes however they are run, common paths, figures over many runs."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from crossmargin.cascade.outcome import Outcome, lorenz, spread, two_largest
from crossmargin.cascade.policies import policy_families, policy_variants, size_fund
from crossmargin.cascade.population import population
from crossmargin.cascade.ranking import ranked
from crossmargin.cascade.scenario_file import load_scenario, with_changes
from crossmargin.cascade.studies import (
    Plan,
    Record,
    Study,
    Variant,
    grid,
    run_one,
    run_study,
    seeds_of,
)
from crossmargin.errors import CascadeError
from crossmargin.liquidation import gini

SMALL = {"population.accounts": 300, "clock.steps": 40, "clock.step_s": 90.0}


def plan(variants: list[Variant] | None = None, seeds: int = 3) -> Plan:
    scenario = with_changes(load_scenario("crash"), SMALL)
    return Plan(
        scenario=scenario,
        variants=variants or grid({"population.median_leverage": [3.0, 8.0]}),
        seeds=seeds_of(1, seeds),
    )


class Broken(Exception):
    pass


class TestRuns:
    def test_a_study_that_was_killed_ends_with_the_same_bytes(self, tmp_path: Path) -> None:
        whole = run_study(plan(), folder=tmp_path / "a")
        calls = []

        def dies(raw: bytes, variant: int, seed: int) -> bytes:
            if len(calls) == 2:
                raise Broken
            calls.append((variant, seed))
            return run_one(raw, variant, seed)

        with pytest.raises(Broken):
            run_study(plan(), folder=tmp_path / "b", run=dies)
        assert len(list((tmp_path / "b").glob("run-*.json"))) == 2
        again = []

        def counts(raw: bytes, variant: int, seed: int) -> bytes:
            again.append((variant, seed))
            return run_one(raw, variant, seed)

        resumed = run_study(plan(), folder=tmp_path / "b", run=counts)
        assert len(again) == 4  # what was done is not done again
        assert msgspec.json.encode(resumed) == msgspec.json.encode(whole)
        for one in sorted((tmp_path / "a").glob("run-*.json")):
            assert one.read_bytes() == (tmp_path / "b" / one.name).read_bytes()
        assert not list(tmp_path.rglob(".draft-*"))

    def test_a_damaged_result_is_run_again(self, tmp_path: Path) -> None:
        asked = plan(seeds=1)
        whole = run_study(asked, folder=tmp_path)
        victim = sorted(tmp_path.glob("run-*.json"))[0]
        victim.write_bytes(victim.read_bytes()[:100])
        assert msgspec.json.encode(run_study(asked, folder=tmp_path)) == msgspec.json.encode(whole)

    def test_seeds_may_be_added_later(self, tmp_path: Path) -> None:
        run_study(plan(seeds=1), folder=tmp_path)
        more = run_study(plan(seeds=2), folder=tmp_path)
        assert msgspec.json.encode(more) == msgspec.json.encode(run_study(plan(seeds=2)))

    def test_a_folder_of_another_study_is_refused(self, tmp_path: Path) -> None:
        run_study(plan(seeds=1), folder=tmp_path)
        other = plan(grid({"rules.fund_share": [0.0]}), seeds=1)
        with pytest.raises(CascadeError, match="holds another study"):
            run_study(other, folder=tmp_path)

    def test_any_executor_gives_the_same(self) -> None:
        with ThreadPoolExecutor(2) as pool:
            threads = run_study(plan(seeds=2), executor=pool)
        assert msgspec.json.encode(threads) == msgspec.json.encode(run_study(plan(seeds=2)))

    def test_progress_is_told(self) -> None:
        said: list[tuple[int, int]] = []
        run_study(plan(seeds=1), progress=lambda done, total: said.append((done, total)))
        assert said == [(0, 2), (1, 2), (2, 2)]

    def test_a_wrong_variant_is_refused_before_anything_runs(self) -> None:
        with pytest.raises(CascadeError, match="no place"):
            run_study(plan([Variant(label="x", changes={"rules.luck": 1})]))
        with pytest.raises(CascadeError, match="unique"):
            run_study(plan([Variant(label="x"), Variant(label="x")]))


def test_processes_give_the_bytes_of_one(tmp_path: Path) -> None:
    asked = plan(seeds=1)
    assert msgspec.json.encode(run_study(asked, workers=2)) == msgspec.json.encode(run_study(asked))


def record(label: str, seed: int, **figures: float) -> Record:
    base = dict.fromkeys(Outcome.__struct_fields__, 0.0)
    made = msgspec.convert({**base, **figures, "fund_exhausted": figures.get("x", 0) > 0},
                           Outcome, strict=False)  # fmt: skip
    return Record(variant=label, seed=seed, outcome=made, minutes=[0.0, 1.0], path=[1.0, 0.9])


def study(rows: dict[str, list[dict[str, float]]]) -> Study:
    return Study(
        scenario="x",
        lead="BTC",
        variants=[Variant(label=label) for label in rows],
        seeds=list(range(len(next(iter(rows.values()))))),
        records=[record(v, s, **f) for v, each in rows.items() for s, f in enumerate(each)],
    )


class TestFigures:
    def test_differences_are_taken_seed_by_seed(self) -> None:
        """Paths differ far more than designs: pairs see what means would not."""
        falls = [-0.05, -0.20, -0.40, -0.10]
        made = study(
            {
                "a": [{"drop": f} for f in falls],
                "b": [{"drop": f - 0.01 * (1 + k % 2)} for k, f in enumerate(falls)],
            }
        )
        _, b = ranked(made, "drop")
        assert b.difference == pytest.approx(-0.015)
        assert b.error == pytest.approx(np.std([0.01, 0.02, 0.01, 0.02], ddof=1) / 2)
        assert b.better == 1.0
        with pytest.raises(CascadeError, match="no figure"):
            ranked(made, "luck")

    def test_var_and_lar_are_percentiles(self) -> None:
        made = study({"a": [{"deficit_usd": float(k), "liquidated_usd": 2.0 * k, "adl_usd": 1.0}
                            for k in range(1, 101)]})  # fmt: skip
        found = spread(made.outcomes("a"))
        # Five of a hundred lie above 95, and the house takes the largest that is not exceeded.
        assert found.var_usd == 95.0
        assert found.lar_usd == 2 * 95.0 + 1.0
        assert found.es_usd == pytest.approx(sum(range(96, 101)) / 5)
        assert found.p_adl == 1.0

    def test_a_fund_meets_its_target(self) -> None:
        deficits = [float(k) for k in range(1, 101)]
        made = study({"a": [{"deficit_usd": d, "two_largest_usd": 7.0} for d in deficits]})
        answer = size_fund(made, "a", 0.05)
        exceeded = sum(d > answer.by_target for d in deficits) / len(deficits)
        assert exceeded <= 0.05
        assert sum(d > answer.by_target - 1 for d in deficits) / len(deficits) > 0.05
        assert answer.by_shortfall == pytest.approx(98.0)
        assert answer.two_largest == 7.0
        assert answer.exhausted[0] == 1.0 and answer.exhausted[-1] == 0.0
        assert all(a >= b for a, b in itertools.pairwise(answer.exhausted))
        with pytest.raises(CascadeError, match="cannot show"):
            size_fund(made, "a", 0.001)

    def test_the_lorenz_curve_and_gini_agree(self) -> None:
        burden = np.array([0.0, 0.0, 1.0, 3.0, 6.0])
        curve = lorenz(burden, 6)
        assert curve == pytest.approx([0, 0, 0, 0.1, 0.4, 1.0])
        area = sum((a + b) / 2 / 5 for a, b in itertools.pairwise(curve))
        assert gini(burden) == pytest.approx(1 - 2 * area)
        assert lorenz(np.zeros(3)) == []

    def test_cover_two_by_hand(self) -> None:
        """At 80: shortfalls 1,000, 500, 0 and 1,500 (two pots of one person)."""
        people = population(
            contracts=["X"], price=[100.0], mm_rate=[0.01],
            cash=[1_000.0, 1_500.0, 9_000.0, 1_250.0, 1_250.0],
            start=[0, 1, 2, 3, 4, 5], contract=[0] * 5, quantity=[100.0] * 5,
            owner=[0, 1, 2, 3, 3],
        )  # fmt: skip
        assert two_largest(people, np.array([80.0])) == pytest.approx(1_500 + 1_000)


class TestDesigns:
    @pytest.mark.parametrize("family", policy_families())
    def test_each_family_is_of_this_scenario(self, family: str) -> None:
        scenario = load_scenario("crash")
        made = policy_variants(scenario, family)
        assert len(made) >= 2
        assert len({v.label for v in made}) == len(made)
        for variant in made:
            with_changes(scenario, variant.changes)

    def test_designs_meet_the_same_paths(self) -> None:
        asked = plan(policy_variants(load_scenario("crash"), "modes"), seeds=2)
        found = run_study(asked)
        news = {v.label: [o.news_drop for o in found.outcomes(v.label)] for v in found.variants}
        assert len({tuple(x) for x in news.values()}) == 1
        assert all(math.isfinite(r.difference) for r in ranked(found, "drop"))

    def test_an_unknown_family_lists_those_that_are(self) -> None:
        with pytest.raises(CascadeError, match="modes"):
            policy_variants(load_scenario("crash"), "luck")
