"""Where to hold what: by hand, and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from tests.helpers import (
    ETH_PERP,
    PERP,
    account,
    fixture_g,
    flat_rate,
    rules,
    scan_rules,
)

from crossmargin.analytics import VenueAccount
from crossmargin.errors import PlanningError
from crossmargin.margin import load_ruleset
from crossmargin.planning import place

MARKET = fixture_g()
FLAT, SCAN = rules(flat_rate(0.10, 0.05)), scan_rules()
CALL, FUTURE = "BTC_USDC-27MAR26-50000-C", "BTC_USDC-27MAR26"


def row_a08(long: float = 1.0, cash: float = 20_000.0) -> list[VenueAccount]:
    """Long at A, short at B: nobody sees the hedge (row A08)."""
    return [
        VenueAccount(
            venue="A", ruleset=FLAT,
            account=account((PERP, long, 50_000), balances={"USDC": cash}, name="a"),
        ),
        VenueAccount(
            venue="B", ruleset=FLAT,
            account=account((PERP, -1.0, 50_000), balances={"USDC": cash}, name="b"),
        ),
    ]  # fmt: skip


class TestPlace:
    def test_a_hedge_over_two_venues_meets(self) -> None:
        # 5,000 each for a position that is flat: brought together nothing is needed.
        made = place(row_a08(), MARKET, budget_usd=200.0)
        assert made.im_before_usd == pytest.approx(10_000) and made.proven
        assert made.im_after_usd == pytest.approx(0.0, abs=1e-3)
        assert made.cost_usd == pytest.approx(100.0, rel=1e-6)  # one coin traded at both ends
        assert sum(m.quantity for m in made.moves) == pytest.approx(0.0, abs=1e-9)

    def test_half_the_budget_moves_half(self) -> None:
        made = place(row_a08(), MARKET, budget_usd=50.0)
        assert made.cost_usd <= 50.0 + 1e-9
        assert made.im_after_usd == pytest.approx(5_000, rel=1e-6)

    def test_against_brute_force(self) -> None:
        venues = [
            VenueAccount(
                venue="scan", ruleset=SCAN,
                account=account((CALL, -2.0), (PERP, -0.5), balances={"USDC": 60_000}, name="a"),
            ),
            VenueAccount(
                venue="flat", ruleset=FLAT,
                account=account((PERP, 1.5, 50_000), balances={"USDC": 60_000}, name="b"),
            ),
        ]  # fmt: skip
        made = place(venues, MARKET, budget_usd=400.0, instruments=[PERP])
        from crossmargin.planning.placement import _Asked, _Desk

        asked = _Asked([_Desk(v, [MARKET], [PERP]) for v in venues], 1)
        grid = np.linspace(-4.0, 4.0, 1_601)
        grid = grid[2 * np.abs(grid) * 50 <= 400.0 + 1e-9]
        best = asked(np.column_stack([grid, -grid]))[:, 0].min()
        assert made.im_after_usd <= best + 1e-6
        assert made.im_after_usd == pytest.approx(best, rel=2e-3)  # the grid is coarse

    def test_shortfall_in_stress_does_not_grow(self) -> None:
        # All at the richer venue would need least; but the poorer one may not fall short for it.
        venues = row_a08(long=2.0, cash=6_000.0)
        free = place(venues, MARKET, budget_usd=1_000.0)
        held = place(venues, MARKET, budget_usd=1_000.0, scenarios=[{"BTC": 0.1}, {"BTC": -0.1}])
        assert held.shortfall_after_usd <= held.shortfall_before_usd + 1e-6
        assert held.im_after_usd >= free.im_after_usd - 1e-6

    def test_profit_of_a_scenario_counts(self) -> None:
        # −10 %: A has 20,000 − 5,000 against 2,250; nothing is short. At −40 % A is 1,500 short.
        calm = place(row_a08(), MARKET, budget_usd=1.0, scenarios=[{"BTC": -0.1}])
        assert calm.shortfall_before_usd == 0.0
        deep = place(row_a08(), MARKET, budget_usd=1.0, scenarios=[{"BTC": -0.4}])
        assert deep.shortfall_before_usd == pytest.approx(1_500.0)

    def test_what_a_venue_does_not_cover_stays(self) -> None:
        # B has no options: the call cannot go there, the hedge can come to it.
        only = load_ruleset("hyperliquid")
        venues = [
            VenueAccount(
                venue="A", ruleset=SCAN,
                account=account((CALL, -1.0), balances={"USDC": 50_000}, name="a"),
            ),
            VenueAccount(
                venue="B", ruleset=only,
                account=account((PERP, 0.5, 50_000), balances={"USDC": 50_000}, name="b"),
            ),
        ]  # fmt: skip
        made = place(venues, MARKET, budget_usd=500.0)
        assert made.refused == ((CALL, "B"),)
        assert made.im_after_usd < made.im_before_usd
        assert {(m.instrument, m.venue) for m in made.moves} == {(PERP, "A"), (PERP, "B")}

    def test_wrong_input(self) -> None:
        with pytest.raises(PlanningError, match="two venues"):
            place(row_a08()[:1], MARKET, budget_usd=1.0)
        with pytest.raises(PlanningError, match="no venue holds"):
            place(row_a08(), MARKET, budget_usd=1.0, instruments=[ETH_PERP])
        with pytest.raises(PlanningError, match="cannot move"):
            place(row_a08(), MARKET, budget_usd=1.0, scenarios=[{"BTC": -2.0}])
