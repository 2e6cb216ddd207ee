"""The cheapest hedge, held to brute force over all lots."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import ETH_PERP, PERP, account, fixture_g, flat_rate, rules, scan_rules

from crossmargin.book import AccountFile
from crossmargin.errors import PlanningError
from crossmargin.margin import Ruleset, load_ruleset
from crossmargin.planning import (
    Band,
    Candidate,
    HedgeDesk,
    HedgePlan,
    market_candidates,
    trading_costs,
    useful_candidates,
)
from crossmargin.venues import load_account, load_market

MARKET = fixture_g()
SCAN = scan_rules()
PUT, CALL = "BTC_USDC-27MAR26-45000-P", "BTC_USDC-27MAR26-55000-C"
SHORT_VOL = account(
    ("BTC_USDC-27MAR26-50000-C", -2.0), ("BTC_USDC-27MAR26-50000-P", -2.0),
    balances={"USDC": 100_000},
)  # fmt: skip
LOTS = (
    Candidate(instrument=PERP, cost_usd=30.0, buy=2.0, sell=2.0, lot=0.25),
    Candidate(instrument=PUT, cost_usd=20.0, buy=2.0, sell=2.0, lot=0.5),
    Candidate(instrument=CALL, cost_usd=22.0, buy=2.0, sell=2.0, lot=0.5),
)


def all_lots(candidates: tuple[Candidate, ...]) -> np.ndarray:
    """Return every set of lots."""
    axes = [
        np.arange(-round(c.sell / c.lot), round(c.buy / c.lot) + 1) * c.lot  # type: ignore[operator]
        for c in candidates
    ]
    return np.array(list(itertools.product(*axes)))


def cheapest_by_force(
    who: AccountFile, ruleset: Ruleset, candidates: tuple[Candidate, ...], free: float
) -> float:
    """Return the least cost of all lots that free so much; inf where none does."""
    desk = HedgeDesk(who, MARKET, ruleset, candidates)
    sets = all_lots(candidates)
    found = desk.ask(np.vstack([np.zeros(len(candidates)), sets]))
    now, there = found[0], found[1:]
    good = (there[:, 0] <= now[0] - free + 1e-6) & (there[:, 1] <= now[1] + 1e-6)
    cost = np.abs(sets) @ [c.cost_usd for c in candidates]
    cost += (sets != 0) @ np.array([c.fixed_usd for c in candidates])
    return float(cost[good].min(initial=np.inf))


def plan(
    who: AccountFile = SHORT_VOL,
    candidates: tuple[Candidate, ...] = LOTS,
    ruleset: Ruleset = SCAN,
    **asked: object,
) -> HedgePlan:
    return HedgeDesk(who, MARKET, ruleset, candidates).plan(**asked)  # type: ignore[arg-type]


class TestAgainstBruteForce:
    @pytest.mark.parametrize("free", [500.0, 3_000.0, 6_000.0, 9_000.0])
    def test_cheapest_of_all_lots(self, free: float) -> None:
        made = plan(free_usd=free)
        assert made.met and made.proven
        assert made.freed_usd >= free - 1e-6
        assert made.cost_usd == pytest.approx(cheapest_by_force(SHORT_VOL, SCAN, LOTS, free))

    def test_what_no_lots_can_do_is_called_impossible(self) -> None:
        assert cheapest_by_force(SHORT_VOL, SCAN, LOTS, 40_000.0) == np.inf
        made = plan(free_usd=40_000.0)
        assert made.impossible and not made.met and not made.trades
        assert made.available_after_usd == made.available_before_usd

    def test_most_freed_within_a_budget(self) -> None:
        made = plan(budget_usd=60.0)
        desk = HedgeDesk(SHORT_VOL, MARKET, SCAN, LOTS)
        sets = all_lots(LOTS)
        cost = np.abs(sets) @ [c.cost_usd for c in LOTS]
        found = desk.ask(sets[cost <= 60.0])
        assert made.cost_usd <= 60.0 + 1e-9
        assert -made.available_after_usd == pytest.approx(found[:, 0].min(), rel=1e-9)

    def test_few_trades_where_each_has_a_price(self) -> None:
        dear = tuple(
            Candidate(
                instrument=c.instrument, cost_usd=c.cost_usd, fixed_usd=100.0, buy=c.buy,
                sell=c.sell, lot=c.lot,
            )
            for c in LOTS
        )  # fmt: skip
        made = plan(candidates=dear, free_usd=3_000.0)
        assert made.cost_usd == pytest.approx(cheapest_by_force(SHORT_VOL, SCAN, dear, 3_000.0))
        single = plan(free_usd=3_000.0, most_trades=1)
        assert len(single.trades) <= 1

    @given(
        st.tuples(*[st.integers(-3, 3)] * 4).filter(any), st.sampled_from([0.1, 0.3, 0.6]),
        st.booleans(),
    )  # fmt: skip
    @settings(max_examples=12, deadline=None)
    def test_random_books(self, held: tuple[int, ...], share: float, tail: bool) -> None:
        names = [PERP, PUT, CALL, "BTC_USDC-27MAR26-50000-C"]
        who = account(
            *[(n, float(q)) for n, q in zip(names, held) if q], balances={"USDC": 200_000}
        )
        candidates = LOTS[:2] if tail else LOTS[1:]
        need = -HedgeDesk(who, MARKET, SCAN, candidates).ask(np.zeros((1, 2)))[0, 2]
        free = max(-share * need, 1.0)
        made = plan(who, candidates, free_usd=free)
        best = cheapest_by_force(who, SCAN, candidates, free)
        if np.isinf(best):
            assert not made.met
        else:
            assert made.met and made.cost_usd == pytest.approx(best, abs=1e-6)

    def test_flat_rates_net_too(self) -> None:
        who = account((PERP, 3.0), (ETH_PERP, -20.0), balances={"USDC": 50_000})
        two = (
            Candidate(instrument=PERP, cost_usd=25.0, buy=3.0, sell=3.0, lot=0.5),
            Candidate(instrument=ETH_PERP, cost_usd=1.0, buy=20.0, sell=20.0, lot=2.0),
        )
        ruleset = rules(flat_rate(0.10, 0.05))
        made = plan(who, two, ruleset, free_usd=7_000.0)
        assert made.cost_usd == pytest.approx(cheapest_by_force(who, ruleset, two, 7_000.0))


class TestBands:
    def test_inside_the_band_zero_orders(self) -> None:
        # Row A14.
        made = plan(bands=[Band(underlying="BTC", greek="delta", low=-1.0, high=1.0)])
        assert made.met and made.proven and not made.trades and made.cost_usd == 0.0

    def test_every_greek_ends_in_its_band_and_health_has_not_fallen(self) -> None:
        long_gamma = account((PERP, 1.5), (CALL, -1.0), balances={"USDC": 100_000})
        bands = [
            Band(underlying="BTC", greek="delta", low=-0.05, high=0.05),
            Band(underlying="BTC", greek="vega", low=-5.0, high=5.0),
        ]
        free = tuple(
            Candidate(instrument=c.instrument, cost_usd=c.cost_usd, buy=5.0, sell=5.0) for c in LOTS
        )
        made = plan(long_gamma, free, bands=bands)
        assert made.met
        assert -0.05 - 1e-9 <= made.greeks_after["BTC delta"] <= 0.05 + 1e-9
        assert abs(made.greeks_after["BTC vega"]) <= 5.0 + 1e-9
        assert made.mm_after_usd <= made.mm_before_usd * (1 + 1e-9)
        # As if from the start: the account after the trades has that margin.
        held = {PERP: 1.5, CALL: -1.0}
        for trade in made.trades:
            held[trade.instrument] = held.get(trade.instrument, 0.0) + trade.quantity
        after = account(*held.items(), balances={"USDC": 100_000})
        im = HedgeDesk(after, MARKET, SCAN, free).ask(np.zeros((1, 3)))[0, 2]
        assert im == pytest.approx(made.im_after_usd, rel=1e-9)

    def test_wrong_bands_are_named(self) -> None:
        with pytest.raises(PlanningError, match="upside down"):
            plan(bands=[Band(underlying="BTC", greek="delta", low=1.0, high=-1.0)])
        with pytest.raises(PlanningError, match="no Greek"):
            plan(bands=[Band(underlying="BTC", greek="charm", low=0.0, high=1.0)])
        with pytest.raises(PlanningError, match="stands on DOGE"):
            plan(bands=[Band(underlying="DOGE", greek="delta", low=0.0, high=1.0)])


class TestDesk:
    def test_demo_desk(self) -> None:
        who = load_account("short-vol-desk")
        market, ruleset = load_market("calm-2026-02-03"), load_ruleset("deribit-pm-cross")
        names = market_candidates(who, market)
        assert len(names) == len(set(names)) > 20
        few = useful_candidates(who, market, ruleset, trading_costs(market, names), most=8)
        made = HedgeDesk(who, market, ruleset, few).plan(free_usd=50_000.0)
        assert made.met and made.freed_usd >= 50_000.0
        assert made.freed_usd == pytest.approx(50_000.0, rel=1e-3)

    def test_candidates_that_cannot_be(self) -> None:
        with pytest.raises(PlanningError, match="named twice"):
            HedgeDesk(SHORT_VOL, MARKET, SCAN, [LOTS[0], LOTS[0]])
        with pytest.raises(PlanningError, match="nothing to hedge with"):
            HedgeDesk(SHORT_VOL, MARKET, SCAN, [])
        with pytest.raises(PlanningError, match="free_usd"):
            plan(free_usd=-5.0)
