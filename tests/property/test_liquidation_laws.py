"""Laws of liquidation: no flip, no growth, no waste; layers sum; open interest stays balanced."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.liquidation import (
    POLICIES,
    Candidates,
    ClosingCost,
    Layer,
    Line,
    LinearAccount,
    Look,
    Reduced,
    Trial,
    adl_rule,
    adl_rule_ids,
    advance,
    bankruptcy_legs,
    begin,
    cover,
    deleverage,
    largest_remainder,
    linear_account,
    liquidate,
    liquidation_rule_ids,
    liquidation_rules,
    partial_size,
    reduce,
    share_loss,
    start_of,
)

SECOND = 1_000_000_000
RAMP = {"steps.ramp.initial_share": 0.25, "steps.ramp.duration_s": 40.0}
sizes = st.floats(0.01, 1_000, allow_subnormal=False)
signed = st.builds(lambda q, s: q * s, sizes, st.sampled_from([-1.0, 1.0]))


@st.composite
def accounts(draw: st.DrawFn, *, lots: bool = True) -> LinearAccount:
    count = draw(st.integers(1, 5))
    rows = lambda values: draw(st.lists(values, min_size=count, max_size=count))
    quantity, mark = rows(signed), rows(st.floats(0.5, 60_000))
    rate = rows(st.sampled_from([0.004, 0.01, 0.025, 0.05, 0.2]))
    lot = rows(st.sampled_from([0.0, 0.0, 0.001, 0.01, 1.0])) if lots else 0.0
    mm = math.fsum(abs(q) * p * r for q, p, r in zip(quantity, mark, rate))
    equity = mm * draw(st.floats(-0.3, 1.5))
    bound = draw(st.none() | st.floats(0, 0.3).map(lambda x: x * mm))
    return linear_account(
        quantity=quantity, mark=mark, rate=rate, equity=equity, lot=lot, orders_mm=bound
    )


def never_turned_round(before: np.ndarray, after: np.ndarray) -> None:
    assert (before * after >= 0).all() and (np.abs(after) <= np.abs(before)).all()


@settings(max_examples=150, deadline=None)
@given(accounts(), st.sampled_from(POLICIES), st.sampled_from([0.0, 0.001, 0.03]))
def test_a_reduction_is_enough_and_not_a_lot_more(
    account: LinearAccount, policy: str, fee: float
) -> None:
    trial = Trial(account, Line(1.05, 1.0), ClosingCost(fee_rate=fee))
    found = reduce(trial, policy)  # type: ignore[arg-type]
    never_turned_round(start_of(account), found.quantity)
    assert found.closed == pytest.approx(np.abs(start_of(account)) - np.abs(found.quantity))
    if trial.excess(trial.none) >= 0:
        assert not found.closed.any()
    elif not found.sufficient:
        assert not found.quantity.any(), "where nothing suffices everything goes"
    else:
        rounded = any(leg.lot and x for leg, x in zip(account.legs, found.closed.tolist()))
        for row, leg in enumerate(account.legs):
            less = found.closed.copy()
            # Beside legs in lots, one without may be over by less than a lot of those.
            less[row] -= leg.lot or (math.inf if rounded else 1e-6 * abs(leg.quantity))
            # Where all legs go alike, one that costs more than it frees goes with them.
            pays = 1.05 * account.brackets[row].rates[0] > fee
            if less[row] >= 0 and pays:
                assert trial.excess(less) < 1e-9 * found.before.mm
    if fee == 0.0:
        assert found.after.mm <= found.before.mm


@settings(max_examples=100, deadline=None)
@given(signed, st.floats(1, 1e5), st.floats(-0.1, 1.2), st.floats(0, 0.06), st.floats(0, 5))
def test_the_solver_is_the_closed_form(
    quantity: float, price: float, health: float, cost: float, depth: float
) -> None:
    equity = 0.05 * abs(quantity) * price * health
    impact = depth * 0.05 * price / abs(quantity)
    closed = partial_size(quantity, price, equity, 0.05, cost_rate=cost, impact=impact)
    account = linear_account(quantity=quantity, mark=price, rate=0.05, equity=equity, names=["x"])
    costs = ClosingCost(fee_rate=cost, impact={"x": impact})
    found = reduce(Trial(account, Line(), costs), "proportional")
    if found.sufficient == closed.sufficient:
        assert found.closed[0] == pytest.approx(closed.size, rel=1e-6, abs=1e-9 * abs(quantity))
    else:
        # Only where the line is met on a single point or by rounding may the two differ.
        assert abs(closed.equity - closed.mm) <= 1e-6 * abs(quantity) * price


@settings(max_examples=60, deadline=None)
@given(
    accounts(lots=False),
    st.sampled_from(liquidation_rule_ids()),
    st.lists(st.floats(0.1, 20), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.004]),
)
def test_engines_keep_their_laws(
    account: LinearAccount, name: str, gaps: list[float], slip: float
) -> None:
    rules = liquidation_rules(name, overrides=RAMP if name == "drift-v2" else None)
    costs, progress, now = ClosingCost(slip_rate=slip), begin(), 0
    held, acted = start_of(account), dict[str, int]()
    timers = {f"{name}/{s.name}": round(s.interval_s * SECOND) for s in rules.steps}
    here: LinearAccount | Reduced = account
    at = account.standing(held, held * 0, orders=account.has_orders)
    for number, gap in enumerate(gaps):
        look: Look = advance(here, rules, progress, now, costs=costs, draw=number)
        if number == 0:
            assert bool(look.trail) is not rules.line.holds(at), "below the line and only there"
        never_turned_round(held, look.quantity)
        for step in look.trail:
            if step.action == "close" and step.rule in acted:
                assert now == acted[step.rule] or now - acted[step.rule] >= timers[step.rule]
            if step.action == "close":
                acted[step.rule] = now
            if step.action == "wait":
                assert step.due_ns is not None and step.due_ns > now
            if step.action == "restored":
                assert rules.target.holds(step.after)
            assert (
                step.after.equity
                <= step.before.equity + step.from_fund + 1e-6 * (1 + abs(step.before.equity))
                or step.action == "takeover"
            )
        if look.takeover is not None:
            assert look.takeover.equity == pytest.approx(
                math.fsum(x.allocated_usd for x in look.takeover.legs), rel=1e-9, abs=1e-9
            )
            assert not look.quantity.any()
        if look.progress.state != "liquidating":
            break
        here, held, progress = Reduced(here, look), look.quantity, look.progress
        now += round(gap * SECOND)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(liquidation_rule_ids()),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.002]),
    st.floats(1.02, 4.0),
)
def test_on_a_path_of_marks(name: str, seed: int, slip: float, health: float) -> None:
    """Nobody above the line is touched, the first mark below it starts, equity is accounted for."""
    rules = liquidation_rules(name, overrides=RAMP if name == "drift-v2" else None)
    draw = np.random.default_rng(seed)
    start = np.array([50_000.0, 3_000.0, 100.0])
    quantity = np.array([1.0, -8.0, 200.0]) * draw.choice([-1.0, 1.0], 3) * draw.uniform(0.1, 9, 3)
    mm = float((np.abs(quantity) * start * 0.05).sum())
    account = linear_account(quantity=quantity, mark=start, rate=0.05, equity=mm * health)
    steps = np.exp(np.cumsum(draw.normal(0, 0.01, (60, 3)), axis=0)) * start
    times = [int(t) * SECOND for t in np.cumsum(draw.integers(1, 9, 60))]
    path = dict(zip(times, steps.tolist()))
    looks = liquidate(
        account, rules, times, costs=ClosingCost(slip_rate=slip), marks=lambda t: path[t]
    )
    held, cash = quantity.copy(), mm * health - float(quantity @ start)
    before = begin()
    for look, now in zip(looks, times):
        marks = np.array(path[now])
        equity = cash + float(held @ marks)
        need = float((np.abs(held) * marks * 0.05).sum())
        near = abs(equity - need) < 1e-9 * (abs(equity) + need)
        if before.state == "healthy" and not near:
            assert bool(look.trail) is (equity < need)
        never_turned_round(held, look.quantity)
        # What is closed at the mark becomes cash, what closing costs is gone.
        cash += float((held - look.quantity) @ marks) - float(look.cost.sum())
        held = look.quantity.copy()
        scale = float(np.abs(quantity) @ marks) + abs(cash)
        assert look.standing.equity == pytest.approx(cash + float(held @ marks), abs=1e-9 * scale)
        before = look.progress
    assert len(looks) == 60 or looks[-1].progress.state in ("taken-over", "auction", "closed")


@given(accounts(lots=False))
def test_bankruptcy_prices_leave_exactly_nothing(account: LinearAccount) -> None:
    legs = bankruptcy_legs(account, start_of(account), account.equity)
    by_price = [
        x.quantity * leg.point * (x.price - leg.mark)
        for x, leg in zip(legs, account.legs)
        if x.price is not None
    ]
    if len(by_price) == len(legs):
        assert account.equity + math.fsum(by_price) == pytest.approx(
            0,
            abs=1e-9
            * (
                1
                + sum(abs(q) * leg.mark for q, leg in zip(start_of(account).tolist(), account.legs))
            ),
        )


quanta = st.integers(0, 10**15)


@given(quanta, st.lists(st.tuples(st.none() | quanta, st.none() | quanta), max_size=6))
def test_layers_sum_and_stand_in_order(
    deficit: int, rows: list[tuple[int | None, int | None]]
) -> None:
    layers = [Layer(f"l{i}", have, limit) for i, (have, limit) in enumerate(rows)]
    found = cover(deficit, layers)
    assert sum(x.used for x in found.layers) + found.uncovered == deficit
    for above, below in zip(zip(layers, found.layers), found.layers[1:]):
        if below.used:
            assert above[1].used == above[0].capacity
    assert all(x.left is None or x.left >= 0 for x in found.layers)


@given(quanta, st.lists(quanta, min_size=1, max_size=20))
def test_largest_remainder_is_exact_and_fair(total: int, weights: list[int]) -> None:
    whole = sum(weights)
    if whole == 0:
        return
    parts = largest_remainder(total, weights)
    assert sum(parts) == total
    assert all(abs(p * whole - total * w) < whole for p, w in zip(parts, weights))


@given(
    st.sampled_from(["equity-haircut", "contracts-pro-rata", "profit-pro-rata", "junior-profit"]),
    quanta,
    st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=20),
)
def test_a_shared_loss_is_shared_whole(rule: str, deficit: int, rows: list[int]) -> None:
    if rule == "contracts-pro-rata" and not any(rows):
        return
    found = share_loss(
        rule,  # type: ignore[arg-type]
        deficit,
        equity=rows,
        contracts=rows,
        profit=rows,
    )
    assert sum(found.charged) + found.uncovered == deficit
    if rule != "contracts-pro-rata":
        assert all(0 <= c <= max(0, x) for c, x in zip(found.charged, rows))


@given(
    st.sampled_from(adl_rule_ids()),
    st.lists(st.integers(0, 500), min_size=1, max_size=12),
    st.integers(1, 3_000),
    st.integers(0, 50),
    st.sampled_from([-1, 1]),
    st.data(),
)
def test_deleveraging_is_zero_sum(
    rule: str, held: list[int], bankrupt: int, start: int, side: int, data: st.DataObject
) -> None:
    count = len(held)
    rows = lambda low, high: np.array(
        data.draw(st.lists(st.floats(low, high), min_size=count, max_size=count))
    )
    candidates = Candidates(
        contracts=tuple(q * side for q in held),
        mark=100.0,
        entry=rows(50, 150),
        bankruptcy=rows(60, 140),
        wallet=rows(0, 1e5),
        profit=rows(-1e4, 1e5),
        mm=rows(1, 1e4),
    )
    found = deleverage(
        adl_rule(rule), -side * bankrupt, candidates, 101.0, start=start, cap=rows(0, 1)
    )
    assert found.contracts + found.left == bankrupt and found.left >= 0
    rows_closed = [f.row for f in found.fills]
    assert len(set(rows_closed)) == len(rows_closed)
    assert all(0 < f.contracts <= held[f.row] for f in found.fills)
    # What the holders bear is what the bankrupt side is relieved of.
    assert found.covered == pytest.approx(found.contracts * -side)
