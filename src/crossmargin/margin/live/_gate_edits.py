"""Changes of an account's resting orders, compiled: each one step for whoever checks meanwhile."""

from __future__ import annotations

import functools
from collections.abc import Callable

from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.live._gate_blocks import market_of, resting_of, work_of
from crossmargin.margin.live._gate_orders import change_kernel, refresh_kernel
from crossmargin.margin.live._gate_pots import orders_valued
from crossmargin.margin.live._gate_tables import EPOCH, WORST_FILL
from crossmargin.margin.live._kept import compiled

#: Types of arguments; see :data:`crossmargin.margin.live._gate_check.DECIDE`.
EDIT = "void(int64, int64, int64, int64, int64)"
AMEND = "void(int64, int64, int64, int64, float64, float64)"
FRESHEN = "void(int64, int64, int64)"


@functools.cache
def edit_kernels(
    nv: int, na: int, mode: int, value: int
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the compiled changes of an account's resting orders.

    ``edit(market, work, account, order, sign)`` lets a stored order rest (1) or be gone (-1);
    ``amend(market, work, account, order, quantity, price)`` changes one of one leg. Each is one
    step for whoever checks meanwhile. Sums that belong to another market are left to be made
    afresh.
    """
    change = change_kernel(nv, na, mode, value)
    wide = LANES * nv

    @compiled(nv, na, mode, value, signature=EDIT)
    def edit(market_at: int, work_at: int, account: int, order: int, sign: int) -> None:
        market, work = market_of(market_at), work_of(work_at)
        resting_at = work[3][work[0][4 * account + 2]]
        resting = resting_of(resting_at)
        head, unit, cells, cell_of = resting[0], market[3], work[24], work[25]
        facts = market[29]
        first, last = resting[1][2 * order], resting[1][2 * order + 1]
        resting[3][order] = 1 if sign > 0 else 0
        head[2] += sign * (last - first)
        if head[1] != facts[EPOCH] or facts[WORST_FILL] == 0:
            return
        used = change(
            market_at, work_at, resting_at, True, resting[4], resting[5], resting[6], first, last,
            resting[2][order], float(sign), 0,
        )  # fmt: skip
        for cell in range(used):
            for j in range(wide):
                resting[13][cell_of[cell] * wide + j] = cells[cell * wide + j]
        for leg in range(first, last):
            resting[15][0] += sign * abs(resting[5][leg]) * unit[8 * resting[4][leg] + 5]
        head[3] += 1

    @compiled(nv, na, mode, value, signature=AMEND)
    def amend(
        market_at: int, work_at: int, account: int, order: int, quantity: float, price: float
    ) -> None:
        work = work_of(work_at)
        resting = resting_of(work[3][work[0][4 * account + 2]])
        edit(market_at, work_at, account, order, -1)
        leg = resting[1][2 * order]
        resting[5][leg], resting[6][leg] = quantity, price
        edit(market_at, work_at, account, order, 1)

    return edit, amend


@functools.cache
def freshen_kernel(nv: int, na: int, mode: int, value: int) -> Callable[..., None]:
    """Return the compiled ``freshen(market, work, account)``: an account's orders summed anew."""
    refresh = refresh_kernel(nv, na, mode, value)

    @compiled(nv, na, mode, value, signature=FRESHEN)
    def freshen(market_at: int, work_at: int, account: int) -> None:
        facts = market_of(market_at)[29]
        work = work_of(work_at)
        resting_at = work[3][work[0][4 * account + 2]]
        if facts[WORST_FILL] == 0 or resting_of(resting_at)[0][1] == facts[EPOCH]:
            return
        if orders_valued(market_at, resting_at):
            refresh(market_at, work_at, resting_at)

    return freshen
