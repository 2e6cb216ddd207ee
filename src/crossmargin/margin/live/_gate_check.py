"""The rule "room, or no harm" for one account, compiled: see :mod:`crossmargin.margin.pretrade`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from crossmargin.margin.live._address import figures_at, floats
from crossmargin.margin.live._gate_blocks import (
    BEYOND,
    DECIDED,
    EDITS,
    NOT_HERE,
    PARTS,
    REFUSED,
    UNIT,
    asked_of,
    market_of,
    resting_of,
    work_of,
)
from crossmargin.margin.live._gate_kernel import bound_kernel, is_over, record_kernel, require
from crossmargin.margin.live._gate_orders import change_kernel, refresh_kernel
from crossmargin.margin.live._gate_pots import (
    EQUITY_FILLED,
    IM_FILLED,
    IM_HIGH,
    IM_LOW,
    IM_RESTING,
    judge_resting,
    judge_share,
    judge_whole,
    list_extras,
    open_pots,
    orders_valued,
    share_of,
    sum_before,
    sum_touched,
    totals,
    verdict,
)
from crossmargin.margin.live._gate_rows import fill, merge
from crossmargin.margin.live._gate_tables import EPOCH, IDLE, WORST_FILL
from crossmargin.margin.live._kept import compiled

#: Types of a check's arguments: a call with others finds no function, instead of compiling one.
DECIDE = "(int64, int64, int64, int64, int64, float64, float64, int64, int64, boolean)"


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def unpack(work_at: int, asked_at: int, alternatives: int, removals: int) -> None:
    """Write what is asked to scratch."""
    codes, amounts, prices, span, group, removed = asked_of(work_at)
    figures = figures_at(asked_at)
    at = leg = 0
    for k in range(alternatives):
        legs = int(figures[at])
        group[k] = int(figures[at + 1])
        at += 2
        span[2 * k] = leg
        for _ in range(legs):
            codes[leg] = int(figures[at])
            amounts[leg], prices[leg] = figures[at + 1], figures[at + 2]
            at += 3
            leg += 1
        span[2 * k + 1] = leg
    for k in range(removals):
        removed[k] = int(figures[at + k])


@functools.cache
def touched_kernels(
    nv: int, na: int, mode: int, paired: bool, value: int, orders: bool
) -> tuple[Callable[..., int], Callable[..., None]]:
    """Return the compiled records of the runs that an order touches, and bounds on them.

    ``records(market, work, resting, added, runs, filled, first, save)`` writes from record
    `first` on and returns 1 where one is beyond its limit, plus 2 where shares need a bound.
    ``bounds(market, work, runs, held, first, touched)`` bounds the runs at every share between
    the records of what is held (`held` on; as it stands where it is -1) and those at `first`.
    Parts beside the scan are convex in the share, so their ends are the records' own.
    """
    record = record_kernel(nv, na, mode, paired, value, orders)
    bound = bound_kernel(nv, mode)

    @compiled(nv, na, mode, paired, value, orders)
    def records(
        market_at: int, work_at: int, resting_at: int, added: bool, runs: int, filled: bool,
        first: int, save: int,
    ) -> int:  # fmt: skip
        run = work_of(work_at)[18]
        at = first
        over = mixed = False
        for r in range(runs):
            if run[4 * r + 2] != 0:
                mixed = record(
                    market_at, work_at, resting_at, added, run[4 * r], run[4 * r + 1], filled,
                    at, save,
                ) or mixed  # fmt: skip
                over = is_over(market_at, work_at, resting_at, added, run[4 * r], at) or over
                at += 1
        return (1 if over else 0) + (2 if mixed else 0)

    @compiled(nv, na, mode, paired, value, orders)
    def bounds(
        market_at: int, work_at: int, runs: int, held: int, first: int, touched: int
    ) -> None:
        work = work_of(work_at)
        in_group, group_of = market_of(market_at)[11], market_of(market_at)[6]
        code, run, out = work[4], work[18], work[15]
        at = first
        for r in range(runs):
            if run[4 * r + 2] == 0:
                continue
            to = first + touched + 2 * (at - first)
            base = r if held < 0 else held + at - first
            for j in range(out.shape[0]):
                out[j, to] = out[j, base]
                out[j, to + 1] = out[j, at]
            if in_group[group_of[code[run[4 * r]]]] != 0:
                bound(market_at, work_at, run[4 * r], run[4 * r + 1], to)
            at += 1

    return records, bounds


@functools.cache
def filled_kernels(
    nv: int, na: int, mode: int, paired: bool, value: int, orders: bool
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the compiled looks at an order filled: whole, and by shares.

    ``whole(market, work, resting, sizes, first, last, more, linear, rounding, live)`` returns
    ``(over, certain, debt)``; ``shares(market, work, resting, slot, sizes, first, last, more,
    group, cells, rounding)`` returns ``(over, debt, looks)``. `sizes` is runs, touched runs,
    records in use and codes that the order moves; with `more` other orders change too.
    """
    shape = (nv, na, mode, paired, value, orders)
    records, bounds = touched_kernels(*shape)
    change = change_kernel(nv, na, mode, value)

    @compiled(nv, na, mode, paired, value, orders)
    def whole(
        market_at: int, work_at: int, base_at: int, sizes: Any, first: int, last: int, more: bool,
        linear: bool, rounding: float, live: bool,
    ) -> Any:  # fmt: skip
        runs, touched, count, extras = sizes
        code, quantity, price, _, _, _ = asked_of(work_at)
        debt = fill(market_at, work_at, runs, extras, code, quantity, price, first, last, 1.0)
        held = -1
        if more:
            # Nothing of it filled, and what it replaces gone: where its shares begin.
            held = count + 3 * touched
            records(market_at, work_at, base_at, True, runs, False, held, 1)
        found = records(market_at, work_at, base_at, more, runs, True, count, 2)
        mixed = linear and found & 2 != 0
        if mixed:
            bounds(market_at, work_at, runs, held, count, touched)
        require(market_at, work_at, count, count + (3 * touched if mixed else touched))
        sum_touched(market_at, work_at, runs, count, 1, EQUITY_FILLED, IM_FILLED)
        if mixed:
            sum_touched(market_at, work_at, runs, count + touched, 2, -1, IM_LOW)
            sum_touched(market_at, work_at, runs, count + touched + 1, 2, -1, IM_HIGH)
        certain = judge_whole(market_at, work_at, rounding, mixed, live) and linear
        return found & 1 != 0, certain, debt

    @compiled(nv, na, mode, paired, value, orders)
    def rests(
        market_at: int, work_at: int, base_at: int, slot_at: int, sizes: Any, first: int,
        last: int, share: float, group: int, cells: int,
    ) -> int:  # fmt: skip
        """Sum what a share of the order would ask while it rests."""
        runs, touched, count, _ = sizes
        code, quantity, price, _, _, _ = asked_of(work_at)
        # The share's legs are written behind all others.
        to = code.size // 2
        for leg in range(first, last):
            code[to + leg - first] = code[leg]
            quantity[to + leg - first] = quantity[leg] * share
            price[to + leg - first] = price[leg]
        end = to + last - first
        cells = change(market_at, work_at, slot_at, False, code, quantity, price, to, end, group,
                       1.0, cells)  # fmt: skip
        records(market_at, work_at, base_at, True, runs, False, count, 0)
        cells = change(market_at, work_at, slot_at, False, code, quantity, price, to, end, group,
                       -1.0, cells)  # fmt: skip
        require(market_at, work_at, count, count + touched)
        sum_touched(market_at, work_at, runs, count, 1, -1, IM_HIGH)
        return cells

    @compiled(nv, na, mode, paired, value, orders)
    def shares(
        market_at: int, work_at: int, base_at: int, slot_at: int, sizes: Any, first: int,
        last: int, more: bool, group: int, cells: int, rounding: float,
    ) -> Any:  # fmt: skip
        runs, touched, count, extras = sizes
        code, quantity, price, _, _, _ = asked_of(work_at)
        added = orders and market_of(market_at)[29][WORST_FILL] != 0
        over = False
        debt = 0.0
        looks = 0
        for number in range(PARTS - 1 + last - first):
            share = share_of(work_at, extras, first, number)
            if not 0.0 < share < 1.0:
                continue
            looks += 1
            owed = fill(market_at, work_at, runs, extras, code, quantity, price, first, last, share)
            debt = max(debt, owed)
            found = records(market_at, work_at, base_at, more, runs, True, count, 0)
            over = over or found & 1 != 0
            require(market_at, work_at, count, count + touched)
            sum_touched(market_at, work_at, runs, count, 1, EQUITY_FILLED, IM_FILLED)
            if not judge_share(market_at, work_at, rounding):
                continue
            # The whole order has no room, this share of it may have.
            if added:
                cells = rests(market_at, work_at, base_at, slot_at, sizes, first, last, share,
                              group, cells)  # fmt: skip
            judge_resting(market_at, work_at, rounding, IM_HIGH if added else IM_RESTING)
        return over, debt, looks

    return whole, shares


@functools.cache
def decide_kernel(
    nv: int, na: int, mode: int, paired: bool, value: int, orders: bool
) -> Callable[..., Any]:
    """Return the compiled check of an order or a change of quotes, called from Python.

    ``decide(market, work, account, asked, code, quantity, price, alternatives, removals,
    no_debt)``, the first two as addresses of blocks. With `asked` 0 the question is one order of
    one leg; else it is the address of float64 figures: for each alternative its number of legs,
    its quote group, and code, quantity and price of each leg, then the resting orders that go.
    Each alternative is an order of its own, filled while the others rest.

    Returns ``(status, rule, im before, im after, equity, excess, rounding, debt, pot, shares)``.
    """
    shape = (nv, na, mode, paired, value, orders)
    record = record_kernel(*shape)
    records, _ = touched_kernels(*shape)
    whole, shares = filled_kernels(*shape)
    change = change_kernel(nv, na, mode, value)
    refresh = refresh_kernel(nv, na, mode, value)

    @compiled(nv, na, mode, paired, value, orders)
    def change_all(
        market_at: int, work_at: int, slot_at: int, alternatives: int, removals: int
    ) -> int:
        """Let the orders that go be gone and the new ones rest; return the cells in use."""
        resting = resting_of(slot_at)
        code, quantity, price, span, group, removed = asked_of(work_at)
        cells = 0
        for k in range(removals):
            order = removed[k]
            cells = change(
                market_at, work_at, slot_at, False, resting[4], resting[5], resting[6],
                resting[1][2 * order], resting[1][2 * order + 1], resting[2][order], -1.0, cells,
            )  # fmt: skip
        for k in range(alternatives):
            cells = change(
                market_at, work_at, slot_at, False, code, quantity, price, span[2 * k],
                span[2 * k + 1], group[k], 1.0, cells,
            )  # fmt: skip
        return cells

    @compiled(nv, na, mode, paired, value, orders)
    def stands(market_at: int, work_at: int, base_at: int, runs: int) -> Any:
        """Record the account as it stands; return the touched runs, and whether one is over."""
        run = work_of(work_at)[18]
        over = False
        touched = 0
        for r in range(runs):
            save = 1 if run[4 * r + 2] != 0 else 0
            touched += save
            record(market_at, work_at, base_at, False, run[4 * r], run[4 * r + 1], False, r, save)
            over = is_over(market_at, work_at, base_at, False, run[4 * r], r) or over
        return touched, over

    @compiled(*shape, signature=DECIDE)
    def decide(
        market_at: int, work_at: int, account: int, asked_at: int, one: int, amount: float,
        at_price: float, alternatives: int, removals: int, no_debt: bool,
    ) -> Any:  # fmt: skip
        facts = market_of(market_at)[29]
        work = work_of(work_at)
        header, slots = work[0], work[3]
        code, quantity, price, span, group, _ = asked_of(work_at)
        nothing = (NOT_HERE, REFUSED, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0)
        if not 0 <= account < header.size // 4 or header[4 * account + 2] < 0:
            return nothing
        if asked_at != 0:
            unpack(work_at, asked_at, alternatives, removals)
        else:
            code[0], quantity[0], price[0] = one, amount, at_price
            span[0], span[1], group[0] = 0, 1, -1
        slot_at = slots[header[4 * account + 2]]
        head = resting_of(slot_at)[0]
        added = orders and facts[WORST_FILL] != 0
        base_at = slot_at if added and head[2] > 0 else 0
        if base_at != 0 and (head[1] != facts[EPOCH] or head[3] > EDITS):
            if not orders_valued(market_at, slot_at):
                return nothing
            refresh(market_at, work_at, slot_at)
        legs = span[2 * alternatives - 1]
        extras = list_extras(market_at, work_at, slot_at, legs, removals)
        if extras < 0:
            return nothing
        phantoms = resting_of(slot_at)[14].size if base_at != 0 else 0
        _, runs, live, gross, counted, away = merge(
            market_at, work_at, slot_at, account, phantoms, extras
        )
        if away:
            return nothing
        live = live or head[2] > 0 or facts[IDLE] != 0
        own, linear = open_pots(market_at, work_at, legs)
        linear = linear and not no_debt
        touched, over = stands(market_at, work_at, base_at, runs)
        cells = 0
        if added:
            cells = change_all(market_at, work_at, slot_at, alternatives, removals)
            found = records(market_at, work_at, base_at, True, runs, False, runs, 0)
            over = over or found & 1 != 0
        count = runs + (touched if added else 0)
        require(market_at, work_at, 0, count)
        sum_before(market_at, work_at, runs)
        if added:
            sum_touched(market_at, work_at, runs, runs, 1, -1, IM_RESTING)
        equity, before, after = totals(market_at, work_at, added, live)
        if base_at != 0:
            gross += resting_of(slot_at)[15][0]
            counted += head[2]
        # As :func:`crossmargin.margin._standing.rounding_usd` bounds it, twice.
        rounding = 2.0 * (counted + legs + 20) * UNIT * (gross + 2.0 * own)
        sizes = (runs, touched, count, extras)
        more = added and (removals > 0 or alternatives > 1)
        owed = 0.0
        looks = 0
        for k in range(alternatives):
            first, last = span[2 * k], span[2 * k + 1]
            if added:
                cells = change(market_at, work_at, slot_at, False, code, quantity, price, first,
                               last, group[k], -1.0, cells)  # fmt: skip
            beyond, certain, debt = whole(
                market_at, work_at, base_at, sizes, first, last, more, linear, rounding, live
            )
            owed = max(owed, debt)
            if not certain:
                further, debt, looked = shares(
                    market_at, work_at, base_at, slot_at, sizes, first, last, more, group[k],
                    cells, rounding,
                )  # fmt: skip
                owed = max(owed, debt)
                beyond = beyond or further
                looks += looked
            over = over or beyond
            if added and alternatives > 1:
                cells = change(market_at, work_at, slot_at, False, code, quantity, price, first,
                               last, group[k], 1.0, cells)  # fmt: skip
        if added:
            for k in range(19, 24):
                floats(work_at, k)[:] = 0.0
        rule, least, poor = verdict(market_at, work_at, rounding, owed, no_debt)
        status = BEYOND if over else DECIDED
        if not np.isfinite(least):
            status = NOT_HERE
        return (
            status, rule, before, after, equity, least, rounding, owed if no_debt else 0.0, poor,
            looks,
        )  # fmt: skip

    return decide
