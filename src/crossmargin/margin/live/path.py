"""Replaying prices: which accounts are below their maintenance line after every step.

With trigger prices a step costs what is due; without, every account is computed at every step.
Both give the same crossings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._layout import POSITION, POT
from crossmargin.margin.fused._program import Program
from crossmargin.margin.fused._run import run_program
from crossmargin.margin.live import _exposures as ex
from crossmargin.margin.live._price import Drivers, PriceTable, drivers_of, price_table, program_at
from crossmargin.margin.live._tables import Filler
from crossmargin.margin.live.triggers import Triggers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossings:
    """Who crossed the maintenance line, and when.

    Attributes
    ----------
    start : bool[A]
        Accounts below it in the market of the rules, before the first step.
    step, account : int64[n]
        Crossings in order of step, then account.
    below : bool[n]
        Whether the account fell below the line; False where it came back.
    visited : int64[steps]
        Pots computed at each step.
    """

    start: NDArray[np.bool_]
    step: Ints
    account: Ints
    below: NDArray[np.bool_]
    visited: Ints

    def at(self, step: int) -> NDArray[np.bool_]:
        """Return which accounts are below the line after a step, bool[A]."""
        out = self.start.copy()
        end = int(np.searchsorted(self.step, step, side="right"))
        out[self.account[:end]] = self.below[:end]
        return out

    def first(self) -> Ints:
        """Return the first step after which each account is below; -1 for never, int64[A].

        Accounts that are below from the start have 0.
        """
        out = np.full(self.start.size, -1, dtype=np.int64)
        fell = np.flatnonzero(self.below)[::-1]
        out[self.account[fell]] = self.step[fell]
        out[self.start] = 0
        return out


def replay(
    program: Program,
    holdings: Holdings,
    path: Mapping[str, ArrayLike],
    *,
    prices: PriceTable | None = None,
    wait: Callable[[int], None] | None = None,
) -> Crossings:
    """Replay prices with trigger prices.

    Parameters
    ----------
    program : Program
        Compiled rules and market.
    holdings : Holdings
        Laid out for the program.
    path : mapping of str to float64[steps]
        US dollars of each asset that moves, after each step.
    prices : PriceTable, optional
        Of the program, where it is known.
    wait : callable, optional
        Called with the number of each step before it is taken: what paces a replay. Nothing
        depends on how long it takes.

    Raises
    ------
    NotBounded
        With a sentence, where the rule-set or the market has a term without a bound;
        :func:`replay_every_step` then serves.
    InputError
        ``INP-082`` for a path that is not one.
    """
    table = price_table(program) if prices is None else prices
    steps, moves = _checked(program, table.drivers, path)
    names = [program.registry.assets[a] for a in table.drivers.asset]
    base = program.units.frame.view.asset_usd[table.drivers.asset]
    now = dict(zip(names, base.tolist()))
    known = {n: (min(x.min(), now[n]), max(x.max(), now[n])) for n, x in moves.items()}
    triggers = Triggers(program, holdings, pace={n: _pace(x) for n, x in moves.items()},
                        within=known, prices=table)  # fmt: skip
    start = triggers.breached.copy()
    found = _Log()
    visited = np.zeros(steps, dtype=np.int64)
    # What is left of the path ahead of each step: prices that never come need no bound.
    ahead = {
        name: (np.minimum.accumulate(x[::-1])[::-1], np.maximum.accumulate(x[::-1])[::-1])
        for name, x in moves.items()
    }
    for step in range(steps):
        if wait is not None:
            wait(step)
        tick = triggers.move(
            {name: float(x[step]) for name, x in moves.items()},
            {name: (float(a[step]), float(b[step])) for name, (a, b) in ahead.items()},
        )
        visited[step] = tick.visited
        found.add(step, tick.breached, tick.recovered)
    return found.crossings(start, visited)


def replay_every_step(
    program: Program,
    holdings: Holdings,
    path: Mapping[str, ArrayLike],
    *,
    threads: int = 1,
    at: Sequence[int] | None = None,
) -> Crossings:
    """Replay prices by computing every account at every step.

    Parameters
    ----------
    program, holdings, path
        As for :func:`replay`.
    threads : int
        Chunks of accounts in work at a time.
    at : sequence of int, optional
        Only these steps, in order.
    """
    drivers = drivers_of(program)
    steps, moves = _checked(program, drivers, path)
    chosen = range(steps) if at is None else at
    before = run_program(program, holdings, threads=threads).health < 1.0
    start = before.copy()
    found = _Log()
    visited = np.zeros(steps, dtype=np.int64)
    names = [program.registry.assets[a] for a in drivers.asset]
    base = program.units.frame.view.asset_usd[drivers.asset]
    rho = np.ones(len(names))
    for step in chosen:
        for name, x in moves.items():
            d = names.index(name)
            rho[d] = x[step] / base[d]
        now = run_program(program_at(program, drivers, rho), holdings, threads=threads).health < 1.0
        visited[step] = holdings.size
        found.add(step, np.flatnonzero(now & ~before), np.flatnonzero(before & ~now))
        before = now
    return found.crossings(start, visited)


def _pace(path: Floats) -> float:
    """Typical relative move of a price in a step; a price that stands still has none."""
    moves = np.abs(np.diff(np.log(path), prepend=np.log(path[0])))
    return float(max(moves.mean(), 1e-9))


def _checked(
    program: Program, drivers: Drivers, path: Mapping[str, ArrayLike]
) -> tuple[int, dict[str, Floats]]:
    names = [program.registry.assets[a] for a in drivers.asset]
    moves = {name: np.asarray(x, dtype=np.float64) for name, x in path.items()}
    sizes = {x.size for x in moves.values()}
    for name, x in moves.items():
        good = x.ndim == 1 and len(sizes) == 1 and np.isfinite(x).all() and (x > 0).all()
        if not good or name not in names:
            why = "moves nothing of the book" if good else "is not a row of prices above 0"
            raise InputError(
                f"the path of {name} {why}",
                code="INP-082",
                field=f"path.{name}",
                hint="give prices in US dollars, as many for every asset, of assets that are held",
            )
    return (sizes.pop() if sizes else 0), moves


class _Log:
    """Crossings as they are found."""

    def __init__(self) -> None:
        self._step: list[Ints] = []
        self._account: list[Ints] = []
        self._below: list[NDArray[np.bool_]] = []

    def add(self, step: int, fell: Ints, rose: Ints) -> None:
        account = np.concatenate([fell, rose])
        order = np.argsort(account, kind="stable")
        self._account.append(account[order])
        self._below.append((np.arange(account.size) < fell.size)[order])
        self._step.append(np.full(account.size, step, dtype=np.int64))

    def crossings(self, start: NDArray[np.bool_], visited: Ints) -> Crossings:
        none = np.empty(0, dtype=np.int64)
        return Crossings(
            start=start,
            step=np.concatenate([none, *self._step]),
            account=np.concatenate([none, *self._account]),
            below=np.concatenate([np.empty(0, dtype=bool), *self._below]),
            visited=visited,
        )


def bad_debt_by_delay(
    program: Program,
    holdings: Holdings,
    path: Mapping[str, ArrayLike],
    crossings: Crossings,
    delays: Sequence[int],
    *,
    fee_rate: float = 0.0,
) -> Floats:
    """Return what is lost beyond the accounts' own money when they are closed late.

    Every account that falls below its line at step t is closed at the prices of step t + d (the
    last step at most), for a fee on the notional of its contracts; what a pot then owes is bad
    debt. Accounts that are below from the start are left out: nothing says since when.

    Parameters
    ----------
    program, holdings, path, crossings
        Of a replay.
    delays : sequence of int
        Steps between breach and close, at least 0.
    fee_rate : float
        Of the notional, both in US dollars.

    Returns
    -------
    float64[len(delays)]
        US dollars, at least 0.

    Notes
    -----
    Source: house; the loss between breach and close as a function of latency. Closing is at the
    mark: no price impact.
    """
    table = price_table(program)
    steps, moves = _checked(program, table.drivers, path)
    first = crossings.first()
    fell = np.flatnonzero((first >= 0) & ~crossings.start)
    code = np.empty(holdings.code.size, dtype=np.int64)
    ex.signed_codes(holdings.code, holdings.quantity, code)
    worth, notional = _by_step(program, table, moves, steps)
    out = np.zeros(len(delays))
    for k, delay in enumerate(delays):
        at = np.minimum(first[fell] + delay, steps - 1)
        out[k] = _owed(fell, at, holdings.start, holdings.level, code,
                       holdings.quantity, worth, notional, fee_rate)  # fmt: skip
    return out


def _by_step(
    program: Program, table: PriceTable, moves: dict[str, Floats], steps: int
) -> tuple[Floats, Floats]:
    """Equity and notional of one unit of every signed code after every step, US dollars."""
    filler = Filler(program, table)
    names = [program.registry.assets[a] for a in table.drivers.asset]
    base = program.units.frame.view.asset_usd[table.drivers.asset]
    layout, terms = program.layout, program.registry.terms
    held = layout.what == POSITION
    item = np.where(held, layout.item, 0)
    usd_units = terms.inverse[item] & (terms.kind[item] != KIND_CODE["option"])
    usd = program.units.frame.view.asset_usd
    unit = terms.contract_size[item] * np.where(usd_units, 1.0, usd[terms.underlying[item]])
    worth = np.empty((steps, 2 * layout.size))
    notional = np.empty((steps, layout.size))
    for step in range(steps):
        rho = np.ones(len(names))
        for name, x in moves.items():
            d = names.index(name)
            rho[d] = x[step] / base[d]
        worth[step] = filler.exact(rho)[:, table.signed.equity]
        own = table.drivers.of_code
        moved = np.where(own >= 0, rho[np.maximum(own, 0)], 1.0)
        notional[step] = np.where(held, unit * np.where(usd_units, 1.0, moved), 0.0)
    return worth, notional


@numba.njit(nogil=True, cache=True)
def _owed(
    accounts: Any, steps: Any, start: Any, level: Any, code: Any,
    quantity: Any, worth: Any, notional: Any, fee_rate: float,
) -> float:  # fmt: skip
    """Sum what pots owe after they are closed."""
    total = 0.0
    for r in range(accounts.size):
        a, t = accounts[r], steps[r]
        left = 0.0
        for k in range(start[a], start[a + 1]):
            if k > start[a] and level[k] >= POT:
                total += max(0.0, -left)
                left = 0.0
            q = quantity[k]
            left += q * worth[t, code[k]] - fee_rate * abs(q) * notional[t, code[k] // 2]
        total += max(0.0, -left)
    return total


def paced(times: ArrayLike, speed: float, sleep: Callable[[float], None]) -> Callable[[int], None]:
    """Return a `wait` for :func:`replay` that keeps the times of a recording.

    Parameters
    ----------
    times : float64[steps]
        Seconds of each step, rising.
    speed : float
        How many times faster than recorded.
    sleep : callable
        Takes seconds.
    """
    gaps = np.diff(np.asarray(times, dtype=np.float64), prepend=np.asarray(times)[:1])

    def wait(step: int) -> None:
        sleep(float(gaps[step]) / speed)

    return wait


def steps_of(crossings: Crossings) -> Iterator[tuple[int, Ints, Ints]]:
    """Yield step, accounts that fell below the line, and accounts that came back."""
    for step in np.unique(crossings.step).tolist():
        mine = crossings.step == step
        yield (
            step,
            crossings.account[mine & crossings.below],
            crossings.account[mine & ~crossings.below],
        )
