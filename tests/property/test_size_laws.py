"""Laws of what size costs: 0 below the threshold, superlinear above, blind to splitting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import helpers as h

from crossmargin.book import book_from_accounts
from crossmargin.errors import RulesetError
from crossmargin.margin import (
    evaluate_book,
    frame_for,
    requirement,
    ruleset_from_dict,
    shares,
)
from crossmargin.margin._size import concentration_charge
from crossmargin.market import Liquidity, Snapshot

ADV = 1_000.0
INVERSE = "BTC-PERPETUAL"
THRESHOLD = 0.1
power = st.floats(0.05, 4.0)
rate = st.floats(0.0, 1.0)
cap = st.one_of(st.none(), st.floats(0.001, 1.0))
size = st.floats(0.0, 50_000.0)


def market() -> Snapshot:
    known = Liquidity(
        adv_coins=ADV, sigma_daily=0.04, open_interest_coins=4_000.0, half_spread=0.0005
    )
    return replace(h.fixture_g(), liquidity={"BTC": known})


def charge(coins: float, rate: float, power: float, cap: float | None) -> tuple[float, float]:
    most = np.inf if cap is None else cap
    value, slope = concentration_charge(
        np.array([coins]),
        np.array([THRESHOLD * ADV]),
        np.array([rate]),
        np.array([power]),
        np.array([most]),
    )
    return float(value[0]), float(slope[0])


@given(st.floats(0.0, 1.0), rate, power, cap)
def test_nothing_below_the_threshold(
    part: float, rate: float, power: float, cap: float | None
) -> None:
    assert charge(part * THRESHOLD * ADV, rate, power, cap) == (0.0, 0.0)


@given(size, st.floats(1.001, 20.0), st.floats(0.001, 1.0), power, cap)
def test_monotone_and_faster_than_size(
    coins: float, more: float, rate: float, power: float, cap: float | None
) -> None:
    low, _ = charge(coins, rate, power, cap)
    high, _ = charge(coins * more, rate, power, cap)
    assert high >= low
    if coins > 1.01 * THRESHOLD * ADV:
        # More per coin, also where the rate on the excess is capped.
        assert high / (coins * more) > low / coins


@given(size, st.floats(0.001, 1.0), power, cap)
def test_slope_is_the_derivative(
    coins: float, rate: float, power: float, cap: float | None
) -> None:
    threshold = THRESHOLD * ADV
    coins += 1.5 * threshold
    step = 1e-6 * coins
    low, high = charge(coins - step, rate, power, cap)[0], charge(coins + step, rate, power, cap)[0]
    _, slope = charge(coins, rate, power, cap)
    grown = [rate * ((c - threshold) / threshold) ** power for c in (coins - step, coins + step)]
    if cap is not None and grown[0] < cap * (1 + 1e-9) and grown[1] > cap * (1 - 1e-9):
        return  # the kink where the cap begins
    assert slope == pytest.approx(coins * (high - low) / (2 * step), rel=1e-4)


def rules(power: float, horizon: str, risk: float):
    scale = {"threshold": THRESHOLD, "rate": 0.02, "power": power}
    leave = {"y": 1.0, "participation": 0.1, "risk_multiple": risk}
    return h.rules(
        h.component("concentration", "size", measure="adv", scales={"default": scale}),
        h.component("impact", "exit", horizon=horizon, scales={"default": leave}),
    )


parts = st.lists(
    st.tuples(st.floats(0.01, 300.0), st.booleans(), st.booleans()), min_size=1, max_size=6
)


def owner_total(held: list[tuple[float, bool]], made) -> np.ndarray:
    """Charge of each account; quantities in coins, True for the inverse contract."""
    accounts = [
        h.account((INVERSE, q * 50_000.0) if inverse else (h.PERP, q), name=f"a{k}", owner="o")
        for k, (q, inverse) in enumerate(held)
    ]
    found = evaluate_book(book_from_accounts(accounts), market(), made)
    assert not found.failures
    return found.im


@settings(max_examples=60)
@given(parts, st.floats(0.2, 3.0), st.sampled_from(["whole-days", "smooth"]))
def test_splitting_leaves_the_owners_add_on_unchanged(
    held: list[tuple[float, bool, bool]], power: float, horizon: str
) -> None:
    """Long and short, linear and inverse, over any number of accounts: the net decides."""
    made = rules(power, horizon, risk=2.0)
    signed = [(q if long else -q, inverse) for q, long, inverse in held]
    net = sum(q for q, _ in signed)
    split = owner_total(signed, made)
    assert (split >= 0).all()
    gross = sum(abs(q) for q, _ in signed)
    if abs(net) < 1e-3 * gross:
        return  # cancellation: the net itself is known to no 1e-12
    whole = owner_total([(net, False)], made)
    days = abs(net) / (0.1 * ADV)
    if horizon == "whole-days" and abs(days - round(days)) < 1e-9:
        return  # on the step itself
    scale = gross / abs(net)  # the rounding of the sum, as the charge sees it
    assert split.sum() == pytest.approx(whole[0], rel=1e-12 * max(1.0, 8 * scale))


@settings(max_examples=40)
@given(st.floats(1.0, 3_000.0), st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6))
def test_splitting_one_side_is_exact_and_pro_rata(total: float, weights: list[float]) -> None:
    made = rules(1.0, "smooth", risk=2.0)
    share = np.array(weights) / sum(weights)
    whole = owner_total([(total, False)], made)[0]
    split = owner_total([(total * w, k % 2 == 1) for k, w in enumerate(share)], made)
    assert split.sum() == pytest.approx(whole, rel=1e-12)
    assert split == pytest.approx(whole * share, rel=1e-11)


@settings(max_examples=25, deadline=None)
@given(parts, st.floats(0.2, 3.0), st.sampled_from(["whole-days", "smooth"]))
def test_shares_add_up_over_all_accounts_of_an_owner(
    held: list[tuple[float, bool, bool]], power: float, horizon: str
) -> None:
    made = rules(power, horizon, risk=1.0)
    accounts = [
        h.account(
            (INVERSE, (q if long else -q) * 50_000.0) if inverse else (h.PERP, q if long else -q),
            name=f"a{k}",
            owner="o",
        )
        for k, (q, long, inverse) in enumerate(held)
    ]
    frame = frame_for(book_from_accounts(accounts), market(), made)
    total = float(requirement(frame).im.sum())
    found = shares(frame)
    lines = float(found.position.sum()) + found.fixed + found.jumps
    assert lines == pytest.approx(total, rel=1e-9, abs=1e-9)
    if horizon == "smooth":
        assert found.jumps == 0.0


EXTREMES = {
    "size": {
        "threshold": (1e-300, 1e-9, 1e12),
        "rate": (0.0, 10.0),
        "power": (1e-9, 4.0),
        "max_rate": (0.0, 10.0),
    },
    "exit": {
        "y": (0.0, 1e6),
        "power": (1e-9, 2.0),
        "participation": (1e-9, 1.0),
        "spread_multiple": (0.0, 1e6),
        "risk_multiple": (0.0, 1e6),
        "covered_days": (0, 365),
    },
}


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        (name, field, value)
        for name, fields in EXTREMES.items()
        for field, values in fields.items()
        for value in values
    ],
)
@pytest.mark.parametrize("horizon", ["whole-days", "smooth"])
def test_each_parameter_at_its_ends(name: str, field: str, value: float, horizon: str) -> None:
    """A finite charge of at least 0 that never falls with size, or a refusal in a sentence."""
    base = rules(1.0, horizon, 1.0)
    path = f"components.{name}.scales.default.{field}"
    made = ruleset_from_dict(base.as_dict(), overrides={path: value})
    charges = []
    try:
        for coins in (1e-9, 50.0, 150.0, 1_500.0, 1e6):
            charges.append(h.im(made, market(), (h.PERP, coins)))
    except RulesetError as error:
        assert error.code == "RUL-033" and field == "threshold" and value == 1e-300
        return
    assert np.isfinite(charges).all() and charges[0] >= 0
    assert (np.diff(charges) >= 0).all()
