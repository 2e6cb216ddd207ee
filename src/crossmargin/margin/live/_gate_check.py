"""The rule "room, or no harm" for one account, compiled: see :mod:`crossmargin.margin.pretrade`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from crossmargin.margin.kernels._named import named_after
from crossmargin.margin.live._gate_kernel import (
    ABSURD,
    BEYOND,
    DEBT,
    DECIDED,
    EDITS,
    NOT_HERE,
    PARTS,
    REDUCING,
    REFUSED,
    ROOM,
    UNIT,
    _add_extra,
    _fill,
    _merge,
    _over,
    _require,
    bound_kernel,
    record_kernel,
    work_of,
)
from crossmargin.margin.live._gate_orders import (
    WORK,
    change_kernel,
    floats,
    ints,
    market_of,
    opened,
    refresh_kernel,
    resting_of,
)
from crossmargin.margin.live._gate_tables import CERTAIN, EPOCH, IDLE, POTS, WORST_FILL

LANES = 8

#: Figures by pot in scratch.
(EQUITY, IM, EQUITY_REST, IM_REST, IM_RESTING, EQUITY_FILLED, IM_FILLED, IM_LOW, IM_HIGH,
 LEAST, TOUCHED, WORST, PASSES) = range(13)  # fmt: skip
WIDTH = 13


@numba.njit(cache=True, boundscheck=False)
def _sum_before(market_at: int, work_at: int, runs: int) -> None:
    """Add the records of the account as it stands up by pot, and what the order leaves alone."""
    market, work = market_of(market_at), work_of(work_at)
    pot_of, in_group, pot_usd, group_of = market[8], market[11], market[25], market[6]
    code, out, im, run, pots = work[4], work[15], work[17], work[18], work[27]
    for r in range(runs):
        c = code[run[4 * r]]
        p = WIDTH * pot_of[c]
        usd = pot_usd[pot_of[c]]
        eq = out[1, r] * usd
        need = im[r] * usd if in_group[group_of[c]] != 0 else 0.0
        pots[p + EQUITY] += eq
        if run[4 * r + 3] != 0:
            pots[p + IM] += need
        if run[4 * r + 2] == 0:
            pots[p + EQUITY_REST] += eq
            pots[p + IM_REST] += need


@numba.njit(cache=True, boundscheck=False)
def _sum_touched(
    market_at: int, work_at: int, runs: int, first: int, step: int, eq: int, to: int
) -> None:
    """Add records of touched runs, from `first` on every `step`, to what the order leaves alone.

    `eq` is the column that equity goes to, or -1.
    """
    market, work = market_of(market_at), work_of(work_at)
    pot_of, in_group, pot_usd, group_of = market[8], market[11], market[25], market[6]
    code, out, im, run, pots = work[4], work[15], work[17], work[18], work[27]
    for p in range(market[29][POTS]):
        if pots[WIDTH * p + TOUCHED] != 0.0:
            pots[WIDTH * p + to] = pots[WIDTH * p + IM_REST]
            if eq >= 0:
                pots[WIDTH * p + eq] = pots[WIDTH * p + EQUITY_REST]
    at = first
    for r in range(runs):
        if run[4 * r + 2] == 0:
            continue
        c = code[run[4 * r]]
        p = WIDTH * pot_of[c]
        usd = pot_usd[pot_of[c]]
        if in_group[group_of[c]] != 0:
            pots[p + to] += im[at] * usd
        if eq >= 0:
            pots[p + eq] += out[1, at] * usd
        at += step


@functools.cache
def decide_kernel(
    nv: int, absolute: bool, buckets: bool, paired: bool, orders: bool
) -> Callable[..., Any]:
    """Return the compiled decision.

    ``decide(market, work, account, code, quantity, price, span, group, alternatives, removed,
    removals, no_debt)``: alternative k is legs ``span[2k]:span[2k + 1]``, an order of its own in
    quote group ``group[k]``; `removed` are resting orders that go.

    Returns ``(status, rule, im before, im after, equity, excess, rounding, debt, pot, shares)``.
    """
    record = record_kernel(nv, absolute, buckets, paired, orders)
    bound = bound_kernel(nv)
    change = change_kernel(nv)
    refresh = refresh_kernel(nv)

    @numba.njit(cache=True, boundscheck=False)
    @named_after(nv, absolute, buckets, paired, orders)
    def touched_records(
        market_at: int, work_at: int, resting_at: int, added: bool, runs: int, filled: bool,
        first: int, save: int,
    ) -> int:  # fmt: skip
        """Record the touched runs from `first` on; 1: one is beyond its limit, 2: see `bound`."""
        run = work_of(work_at)[18]
        at = first
        over = mixed = False
        for r in range(runs):
            if run[4 * r + 2] != 0:
                mixed = record(
                    market_at, work_at, resting_at, added, run[4 * r], run[4 * r + 1], filled,
                    at, save,
                ) or mixed  # fmt: skip
                over = _over(market_at, work_at, resting_at, added, run[4 * r], at) or over
                at += 1
        return (1 if over else 0) + (2 if mixed else 0)

    @numba.njit(cache=True, boundscheck=False)
    @named_after(nv, absolute, buckets, paired, orders)
    def bounds(
        market_at: int, work_at: int, runs: int, held: int, first: int, touched: int
    ) -> None:
        """Bound the touched runs at every share, between records of what is held and filled.

        Parts beside the scan are convex in the share, so their ends are the records' own.
        """
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
            if nv > 0 and in_group[group_of[code[run[4 * r]]]] != 0:
                bound(market_at, work_at, run[4 * r], run[4 * r + 1], to)
            at += 1

    @numba.njit(cache=True, boundscheck=False)
    @named_after(nv, absolute, buckets, paired, orders)
    def decide(
        market_at: int, work_at: int, account: int, code: Any, quantity: Any, price: Any,
        span: Any, group: Any, alternatives: int, removed: Any, removals: int, no_debt: bool,
    ) -> Any:  # fmt: skip
        market, work = market_of(market_at), work_of(work_at)
        unit, pot_of, cash, facts, stop = market[3], market[8], market[27], market[29], market[5]
        header, slots, run, extra, pots = work[0], work[3], work[18], work[26], work[27]
        q0 = work[6]
        nothing = (NOT_HERE, REFUSED, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0)
        if not 0 <= 4 * account < header.size:
            return nothing
        slot = header[4 * account + 2]
        if slot < 0:
            return nothing
        resting_at = slots[slot]
        resting = resting_of(resting_at)
        head = resting[0]
        worst_fill = facts[WORST_FILL] != 0
        has_orders = slot > 0 and head[0] > 0
        based = orders and worst_fill and has_orders
        if based and (head[1] != facts[EPOCH] or head[3] > EDITS):
            for order in range(head[0]):
                if resting[3][order] != 0:
                    for leg in range(resting[1][2 * order], resting[1][2 * order + 1]):
                        if stop[resting[4][leg]] != 0:
                            return nothing
            refresh(market_at, work_at, resting_at)
        base_at = resting_at if based else 0
        legs = span[2 * alternatives - 1]
        extras = 0
        for leg in range(legs):
            c = code[leg]
            # Prices of nothing and unsound numbers are judged where there is time for words.
            if not 0.0 < abs(quantity[leg]) <= ABSURD or price[leg] <= 0.0:
                return nothing
            if price[leg] == np.inf or cash[2 * c] < 0:
                return nothing
            extras = _add_extra(extra, extras, c)
            for side in range(2):
                if cash[2 * c + side] >= 0:
                    extras = _add_extra(extra, extras, cash[2 * c + side])
        for k in range(removals):
            for leg in range(resting[1][2 * removed[k]], resting[1][2 * removed[k] + 1]):
                extras = _add_extra(extra, extras, resting[4][leg])
        phantoms = resting[14].size if based else 0
        rows, runs, live, gross, counted, away = _merge(
            market_at, work_at, resting_at, account, phantoms, extras
        )
        if away:
            return nothing
        live = live or has_orders or facts[IDLE] != 0
        for p in range(facts[POTS]):
            for k in range(WIDTH):
                pots[WIDTH * p + k] = 0.0
            pots[WIDTH * p + LEAST] = np.inf
            pots[WIDTH * p + PASSES] = 1.0
        own = 0.0
        linear = facts[CERTAIN] != 0
        for leg in range(legs):
            c = code[leg]
            pots[WIDTH * pot_of[c] + TOUCHED] = 1.0
            own += abs(quantity[leg]) * unit[8 * c + 5]
            linear = linear and unit[8 * c + 6] != 0.0
        # As it stands.
        over = False
        touched = 0
        for r in range(runs):
            save = 1 if run[4 * r + 2] != 0 else 0
            touched += save
            record(market_at, work_at, base_at, False, run[4 * r], run[4 * r + 1], False, r, save)
            over = over or _over(market_at, work_at, base_at, False, run[4 * r], r)
        # Resting.
        added = orders and worst_fill
        cells_used = 0
        if added:
            for k in range(removals):
                order = removed[k]
                cells_used = change(
                    market_at, work_at, resting_at, False, resting[4], resting[5], resting[6],
                    resting[1][2 * order], resting[1][2 * order + 1], resting[2][order], -1.0,
                    cells_used,
                )  # fmt: skip
            for k in range(alternatives):
                cells_used = change(
                    market_at, work_at, resting_at, False, code, quantity, price, span[2 * k],
                    span[2 * k + 1], group[k], 1.0, cells_used,
                )  # fmt: skip
            over = (
                touched_records(market_at, work_at, base_at, True, runs, False, runs, 0) != 0
                or over
            )
        count = runs + (touched if added else 0)
        _require(market_at, work_at, 0, count)
        _sum_before(market_at, work_at, runs)
        if added:
            _sum_touched(market_at, work_at, runs, runs, 1, -1, IM_RESTING)
        equity = before = after = 0.0
        for p in range(facts[POTS]):
            at = WIDTH * p
            if pots[at + TOUCHED] == 0.0:
                continue
            if not added:
                # At-fill: an order reserves nothing, but its pot is stressed.
                pots[at + IM_RESTING] = pots[at + IM]
            if not live:
                pots[at + IM] = 0.0
            equity += pots[at + EQUITY]
            before += pots[at + IM]
            after += pots[at + IM_RESTING]
        units = counted + legs + (head[2] if based else 0) + 20
        size = gross + own + (resting[15][0] if based else 0.0)
        rounding = 2.0 * (units * UNIT * size + units * UNIT * own)
        # Filled, alternative by alternative.
        owed = 0.0
        looked = 0
        for k in range(alternatives):
            first, last = span[2 * k], span[2 * k + 1]
            if added:
                cells_used = change(
                    market_at, work_at, resting_at, False, code, quantity, price, first, last,
                    group[k], -1.0, cells_used,
                )  # fmt: skip
            more = added and (removals > 0 or alternatives > 1)
            owed = max(
                owed,
                _fill(market_at, work_at, runs, extras, code, quantity, price, first, last, 1.0),
            )
            if more:
                # Nothing of it filled, and what it replaces gone: where its shares begin.
                touched_records(
                    market_at, work_at, base_at, True, runs, False, count + 3 * touched, 1
                )
            found = touched_records(market_at, work_at, base_at, more, runs, True, count, 2)
            over = over or found & 1 != 0
            certain = linear and not no_debt
            mixed = certain and found & 2 != 0
            if mixed:
                begin = count + 3 * touched if more else -1
                bounds(market_at, work_at, runs, begin, count, touched)
            end = count + (3 * touched if mixed else touched)
            _require(market_at, work_at, count, end)
            _sum_touched(market_at, work_at, runs, count, 1, EQUITY_FILLED, IM_FILLED)
            if mixed:
                _sum_touched(market_at, work_at, runs, count + touched, 2, -1, IM_LOW)
                _sum_touched(market_at, work_at, runs, count + touched + 1, 2, -1, IM_HIGH)
            for p in range(facts[POTS]):
                at = WIDTH * p
                if pots[at + TOUCHED] == 0.0:
                    continue
                excess = pots[at + EQUITY] - pots[at + IM]
                waiting = pots[at + EQUITY] - pots[at + IM_RESTING]
                filled = pots[at + EQUITY_FILLED] - pots[at + IM_FILLED]
                here = min(waiting, filled)
                harm = max(pots[at + IM_FILLED] - pots[at + IM], excess - filled)
                # At every share the excess is at least, and the requirement at most, on the line
                # between its ends; at no share filled the order asks no more than resting.
                low, worse = waiting, harm
                if mixed:
                    low = pots[at + EQUITY] - pots[at + IM_LOW]
                    high = pots[at + EQUITY_FILLED] - pots[at + IM_HIGH]
                    certain = certain and min(low, high) >= here
                    rise = max(pots[at + IM_LOW], pots[at + IM_HIGH]) - pots[at + IM]
                    worse = max(rise, excess - min(low, high))
                if not here >= -rounding:
                    if not harm <= rounding:
                        pots[at + PASSES] = 0.0
                    elif not worse <= rounding or not live:
                        certain = False
                pots[at + LEAST] = min(pots[at + LEAST], here)
            # Shares of the fill, and those at which a leg is flat.
            shares = 0 if certain else PARTS - 1 + last - first
            for number in range(shares):
                share = (number + 1.0) / PARTS
                if number >= PARTS - 1:
                    leg = first + number - (PARTS - 1)
                    at = -1
                    for e in range(extras):
                        if extra[2 * e] == code[leg]:
                            at = extra[2 * e + 1]
                    share = -q0[at] / quantity[leg]
                    if not 0.0 < share < 1.0:
                        continue
                looked += 1
                owed = max(
                    owed,
                    _fill(
                        market_at, work_at, runs, extras, code, quantity, price, first, last, share
                    ),
                )
                found = touched_records(market_at, work_at, base_at, more, runs, True, count, 0)
                over = over or found != 0
                _require(market_at, work_at, count, count + touched)
                _sum_touched(market_at, work_at, runs, count, 1, EQUITY_FILLED, IM_FILLED)
                asked = False
                for p in range(facts[POTS]):
                    at = WIDTH * p
                    if pots[at + TOUCHED] == 0.0:
                        continue
                    excess = pots[at + EQUITY] - pots[at + IM]
                    filled = pots[at + EQUITY_FILLED] - pots[at + IM_FILLED]
                    harm = max(pots[at + IM_FILLED] - pots[at + IM], excess - filled)
                    pots[at + LEAST] = min(pots[at + LEAST], filled)
                    pots[at + WORST] = harm
                    if not harm <= rounding:
                        waiting = pots[at + EQUITY] - pots[at + IM_RESTING]
                        if not filled >= -rounding:
                            pots[at + PASSES] = 0.0
                        elif not waiting >= -rounding:
                            asked = True
                if not asked:
                    continue
                # The whole order has no room, this share of it may have.
                if added:
                    for leg in range(first, last):
                        quantity[leg] *= share
                    cells_used = change(
                        market_at, work_at, resting_at, False, code, quantity, price, first, last,
                        group[k], 1.0, cells_used,
                    )  # fmt: skip
                    touched_records(market_at, work_at, base_at, True, runs, False, count, 0)
                    cells_used = change(
                        market_at, work_at, resting_at, False, code, quantity, price, first, last,
                        group[k], -1.0, cells_used,
                    )  # fmt: skip
                    for leg in range(first, last):
                        quantity[leg] /= share
                    _require(market_at, work_at, count, count + touched)
                    _sum_touched(market_at, work_at, runs, count, 1, -1, IM_HIGH)
                for p in range(facts[POTS]):
                    at = WIDTH * p
                    need = pots[at + IM_HIGH] if added else pots[at + IM_RESTING]
                    if pots[at + TOUCHED] != 0.0 and not pots[at + WORST] <= rounding:
                        if not pots[at + EQUITY] - need >= -rounding:
                            pots[at + PASSES] = 0.0
            if added and alternatives > 1:
                cells_used = change(
                    market_at, work_at, resting_at, False, code, quantity, price, first, last,
                    group[k], 1.0, cells_used,
                )  # fmt: skip
        if added:
            for k in range(19, 24):
                floats(opened(work_at, WORK), k)[:] = 0.0
        least = np.inf
        poor = 0
        passes = True
        for p in range(facts[POTS]):
            at = WIDTH * p
            if pots[at + TOUCHED] == 0.0:
                continue
            if not pots[at + LEAST] >= least:
                least, poor = pots[at + LEAST], p
            passes = passes and pots[at + PASSES] != 0.0
        rule = ROOM if least >= -rounding else REDUCING
        if not passes:
            rule = REFUSED
        elif no_debt and owed > rounding:
            rule = DEBT
        status = BEYOND if over else DECIDED
        if not np.isfinite(least):
            status = NOT_HERE
        return (status, rule, before, after, equity, least, rounding, owed, poor, looked)

    return decide  # type: ignore[no-any-return]


@functools.cache
def check_kernel(
    nv: int, absolute: bool, buckets: bool, paired: bool, orders: bool
) -> Callable[..., Any]:
    """Return the compiled check of one order of one leg, called from Python.

    ``check(market, work, account, code, quantity, price, no_debt)``, the first two as addresses.
    """
    decide = decide_kernel(nv, absolute, buckets, paired, orders)

    @numba.njit(cache=True, boundscheck=False)
    @named_after(nv, absolute, buckets, paired, orders)
    def check(
        market_at: int, work_at: int, account: int, code: int, quantity: float, price: float,
        no_debt: bool,
    ) -> Any:  # fmt: skip
        asked = opened(work_at, WORK)
        codes, span, group, removed = (
            ints(asked, 32), ints(asked, 33), ints(asked, 34), ints(asked, 35),
        )  # fmt: skip
        amounts, prices = floats(asked, 36), floats(asked, 37)
        codes[0], amounts[0], prices[0] = code, quantity, price
        span[0], span[1], group[0] = 0, 1, -1
        return decide(market_at, work_at, account, codes, amounts, prices, span, group, 1, removed, 0,
                      no_debt)  # fmt: skip

    return check  # type: ignore[no-any-return]


@functools.cache
def check_many_kernel(
    nv: int, absolute: bool, buckets: bool, paired: bool, orders: bool
) -> Callable[..., Any]:
    """Return the compiled check of an order of several legs, or of a change of quotes.

    ``check(market, work, account, packed, alternatives, removals, no_debt)``; `packed` is bytes:
    for each alternative its number of legs, its quote group and code, quantity and price of each
    leg, then the resting orders that go, all as float64.
    """
    decide = decide_kernel(nv, absolute, buckets, paired, orders)

    @numba.njit(cache=True, boundscheck=False)
    @named_after(nv, absolute, buckets, paired, orders)
    def check(
        market_at: int, work_at: int, account: int, packed: Any, alternatives: int,
        removals: int, no_debt: bool,
    ) -> Any:  # fmt: skip
        asked = opened(work_at, WORK)
        codes, span, group, removed = (
            ints(asked, 32), ints(asked, 33), ints(asked, 34), ints(asked, 35),
        )  # fmt: skip
        amounts, prices = floats(asked, 36), floats(asked, 37)
        figures = np.frombuffer(packed, np.float64)
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
        return decide(market_at, work_at, account, codes, amounts, prices, span, group, alternatives,
                      removed, removals, no_debt)  # fmt: skip

    return check  # type: ignore[no-any-return]


@functools.cache
def edit_kernel(nv: int) -> Callable[..., None]:
    """Return the compiled change of an account's sums by one of its resting orders.

    ``edit(market, work, account, order, sign)``; sums that belong to another market are left to
    be made afresh.
    """
    change = change_kernel(nv)
    wide = LANES * nv

    @numba.njit(cache=True, boundscheck=False)
    @named_after(nv)
    def edit(market_at: int, work_at: int, account: int, order: int, sign: float) -> None:
        market, work = market_of(market_at), work_of(work_at)
        resting_at = work[3][work[0][4 * account + 2]]
        resting = resting_of(resting_at)
        head, unit, cells, cell_of = resting[0], market[3], work[24], work[25]
        facts = market[29]
        if head[1] != facts[EPOCH] or facts[WORST_FILL] == 0:
            return
        first, last = resting[1][2 * order], resting[1][2 * order + 1]
        used = change(
            market_at, work_at, resting_at, True, resting[4], resting[5], resting[6], first, last,
            resting[2][order], sign, 0,
        )  # fmt: skip
        for cell in range(used):
            for j in range(wide):
                resting[13][cell_of[cell] * wide + j] = cells[cell * wide + j]
        for leg in range(first, last):
            resting[15][0] += sign * abs(resting[5][leg]) * unit[8 * resting[4][leg] + 5]
        head[3] += 1

    return edit  # type: ignore[no-any-return]
