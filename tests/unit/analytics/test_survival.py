"""Survival of one pot and of many on the same paths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.helpers import ETH_PERP, PERP, account, flat_rate, market, rules

from crossmargin.analytics import (
    RiskModel,
    common_paths,
    leverage_curve,
    liquidations_avoided,
    survival,
)
from crossmargin.errors import MarginError

WORLD = market(
    {"BTC": 50_000.0, "ETH": 3_000.0, "USDC": 1.0}, marks={PERP: 50_000.0, ETH_PERP: 3_000.0}
)
CROSS = rules(flat_rate(0.10, 0.05))
FENCED = rules(flat_rate(0.10, 0.05), pools={"by": "position"})
MODEL = RiskModel(sigma={"BTC": 0.03, "ETH": 0.04}, correlation=0.7)
PATHS = common_paths(MODEL, ["BTC", "ETH"], steps=5, paths=60, seed=5)
HEDGED = account(
    {"instrument": PERP, "quantity": 1, "entry_price": 50_000, "fenced_margin": 5_000},
    {"instrument": ETH_PERP, "quantity": -16, "entry_price": 3_000, "fenced_margin": 5_000},
    balances={"USDC": 10_000},
)


def by_hand(path_b: np.ndarray, path_e: np.ndarray) -> tuple[int | None, int | None]:
    """First step at which the pots of each mode die, from the definitions alone."""
    fenced = cross = None
    for t, (b, e) in enumerate(zip(path_b, path_e)):
        long, short = 50_000 * (math.exp(b) - 1), -48_000 * (math.exp(e) - 1)
        mm_long, mm_short = 2_500 * math.exp(b), 2_400 * math.exp(e)
        if fenced is None and (5_000 + long < mm_long or 5_000 + short < mm_short):
            fenced = t
        if cross is None and 10_000 + long + short < mm_long + mm_short:
            cross = t
    return fenced, cross


def test_survival_of_both_modes_by_hand() -> None:
    hand = [by_hand(PATHS["BTC"][p], PATHS["ETH"][p]) for p in range(60)]
    for which, ruleset in enumerate((FENCED, CROSS)):
        made = survival(HEDGED, WORLD, ruleset, PATHS)
        deaths = [h[which] for h in hand if h[which] is not None]
        assert made.liquidated == len(deaths) and made.refused == 0
        alive = [1 - sum(d < t for d in deaths) / 60 for t in range(6)]
        assert made.alive == pytest.approx(alive)
        assert made.p_liquidation == pytest.approx(1 - alive[-1])


def test_the_pot_of_a_hedged_book_avoids_liquidations() -> None:
    fenced, cross = (survival(HEDGED, WORLD, r, PATHS) for r in (FENCED, CROSS))
    assert liquidations_avoided(fenced, cross) == fenced.liquidated - cross.liquidated > 5


def test_leverage_never_lowers_the_probability_at_any_step() -> None:
    who = account((PERP, 1, 50_000), (ETH_PERP, 5, 3_000), balances={"USDC": 20_000})
    curve = leverage_curve(who, WORLD, CROSS, PATHS, [2.0, 6.0, 12.0])
    shares = [one.p_liquidation for one in curve]
    assert shares == sorted(shares) and shares[0] < shares[-1]
    for t in range(6):
        alive = [one.alive[t] for one in curve]
        assert alive == sorted(alive, reverse=True)


def test_paths_have_the_moments_they_are_asked_for() -> None:
    paths = common_paths(MODEL, ["BTC", "ETH"], steps=1, paths=40_000, seed=1)
    b, e = paths["BTC"][:, 0], paths["ETH"][:, 0]
    assert b.std() == pytest.approx(0.03, rel=0.02) and e.std() == pytest.approx(0.04, rel=0.02)
    assert np.corrcoef(b, e)[0, 1] == pytest.approx(0.7, abs=0.01)
    assert np.exp(b).mean() == pytest.approx(1.0, abs=4 * 0.03 / 200)
    again = common_paths(MODEL, ["BTC", "ETH"], steps=1, paths=40_000, seed=1)
    assert np.array_equal(again["BTC"], paths["BTC"])


def test_refusals() -> None:
    with pytest.raises(MarginError):
        common_paths(MODEL, [], steps=1, paths=1, seed=1)
    with pytest.raises(MarginError):
        survival(HEDGED, WORLD, CROSS, {"BTC": np.zeros((2, 3)), "ETH": np.zeros((2, 4))})
    with pytest.raises(MarginError):
        leverage_curve(account(balances={"USDC": 5}), WORLD, CROSS, PATHS, [2.0])
    dead = account((PERP, 1, 50_000), balances={"USDC": 10})
    made = survival(dead, WORLD, CROSS, PATHS)
    assert made.liquidated == 60 and made.alive[0] == 0.0
