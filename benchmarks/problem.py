"""The inputs that kernels and rivals are timed on: a seeded book of many accounts, and a chain.

The book is that of the prototypes: 10 positions an account in 1,500 instruments of 10
underlyings, popularity by Zipf's law (underlying by rank, instrument by rank within it; about five
underlyings an account), sorted by account and instrument. Values of the table do not change what
a kernel does; popularity and the width of rows do, because loads from cache are what it waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Problem:
    """Accounts in compressed sparse rows and a risk table.

    Attributes
    ----------
    start : int64[A + 1]
        Row pointers.
    code : uint16[N] or uint32[N]
        Instruments, ascending within an account.
    quantity : float64[N]
        Units held.
    table : float64[M, S]
        Profit and loss of one unit.
    """

    start: NDArray[np.int64]
    code: NDArray[Any]
    quantity: Floats
    table: Floats

    @property
    def accounts(self) -> int:
        return self.start.size - 1

    @property
    def scenarios(self) -> int:
        return int(self.table.shape[1])

    @property
    def useful_flops(self) -> float:
        """Multiply-adds that the answer needs, 2 operations each; the minimum is not counted."""
        return 2.0 * self.quantity.size * self.scenarios

    def head(self, accounts: int) -> Problem:
        """Return the first accounts alone (views)."""
        last = int(self.start[min(accounts, self.accounts)])
        start = self.start[: min(accounts, self.accounts) + 1]
        return Problem(start, self.code[:last], self.quantity[:last], self.table)

    def chunks(self, accounts: int) -> list[tuple[int, int]]:
        """Return the bounds of runs of accounts."""
        return [
            (first, min(first + accounts, self.accounts))
            for first in range(0, self.accounts, accounts)
        ]

    def gross(self) -> Floats:
        """Return by account the sum of |quantity × row|'s greatest: the scale of its rounding."""
        reach = np.abs(self.table).max(axis=1)[self.code] * np.abs(self.quantity)
        return np.add.reduceat(reach, self.start[:-1])


def make_problem(
    accounts: int,
    *,
    positions: int = 10,
    scenarios: int = 32,
    instruments: int = 1_500,
    underlyings: int = 10,
    popularity: Literal["zipf", "uniform"] = "zipf",
    seed: int = 7,
) -> Problem:
    """Draw a book without duplicates within an account, and a table.

    Raises
    ------
    ValueError
        When an account cannot hold that many different instruments.
    """
    if positions > instruments // 2:
        raise ValueError("an account holds at most half of the instruments")
    rng = np.random.default_rng(seed)
    each = max(1, instruments // underlyings)
    size = each * underlyings

    def draw(n: int) -> NDArray[np.int64]:
        if popularity == "uniform":
            return rng.integers(0, size, n)
        return _zipf(rng, underlyings, n) * each + _zipf(rng, each, n)

    wide = np.uint16 if size <= 65_536 else np.uint32
    codes = np.sort(draw(accounts * positions).reshape(accounts, positions), axis=1)
    for tries in range(10_000):
        again = np.zeros(codes.shape, dtype=bool)
        again[:, 1:] = codes[:, 1:] == codes[:, :-1]
        rows = np.flatnonzero(again.any(axis=1))
        if not rows.size:
            break
        mine = codes[rows]
        # Popular instruments run out for accounts of many positions: then draw from all.
        count = int(again.sum())
        mine[again[rows]] = draw(count) if tries < 50 else rng.integers(0, size, count)
        codes[rows] = np.sort(mine, axis=1)
    quantity = rng.pareto(1.5, accounts * positions) + 0.01
    quantity *= rng.choice([-1.0, 1.0], quantity.size)
    return Problem(
        np.arange(accounts + 1, dtype=np.int64) * positions,
        codes.ravel().astype(wide),
        quantity,
        rng.normal(0.0, 1.0, (size, scenarios)),
    )


def _zipf(rng: np.random.Generator, ranks: int, n: int) -> NDArray[np.int64]:
    """Draw ranks from 0 with chances 1, 1/2, 1/3, ..."""
    weight = np.cumsum(1.0 / np.arange(1, ranks + 1))
    return np.minimum(np.searchsorted(weight / weight[-1], rng.random(n)), ranks - 1)


def worst_by_loop(problem: Problem) -> Floats:
    """Return each account's least profit over the scenarios, plainly: what all are held to."""
    out = np.empty(problem.accounts)
    for a in range(problem.accounts):
        mine = slice(problem.start[a], problem.start[a + 1])
        out[a] = (problem.quantity[mine] @ problem.table[problem.code[mine]]).min()
    return out


@dataclass(frozen=True, slots=True)
class Chain:
    """A listed chain of options on one underlying and a grid of scenarios."""

    forward: Floats
    strike: Floats
    years: Floats
    vol: Floats
    is_call: NDArray[np.bool_]
    move: Floats
    vol_factor: Floats


@cache
def make_chain(options: int = 1_500, scenarios: int = 32, seed: int = 11) -> Chain:
    """Draw a chain: an hour to two years, 20 % to 150 %; moves to ±16 %, vol ×0.75 to ×1.5."""
    rng = np.random.default_rng(seed)
    return Chain(
        forward=50_000.0 * np.exp(rng.normal(0.0, 0.02, options)),
        strike=50_000.0 * np.exp(rng.normal(0.0, 0.3, options)),
        years=rng.uniform(1 / 8760, 2.0, options),
        vol=rng.uniform(0.2, 1.5, options),
        is_call=rng.random(options) < 0.5,
        move=np.linspace(-0.16, 0.16, scenarios),
        vol_factor=np.array([0.75, 1.0, 1.5])[np.arange(scenarios) % 3],
    )


def chain_table(chain: Chain) -> Callable[[], Floats]:
    """Return the call that prices a chain's risk table with the library's compiled kernel."""
    from crossmargin.pricing import black76, price_grid

    factors = np.array([0.75, 1.0, 1.5])
    state = np.searchsorted(factors, chain.vol_factor)
    out = np.empty((chain.strike.size, chain.move.size))
    base = black76(chain.forward, chain.strike, chain.years, chain.vol, chain.is_call)

    def run() -> Floats:
        price_grid(
            forward_fixed=0.0,
            forward_variable=chain.forward,
            strike=chain.strike,
            years=chain.years,
            is_call=chain.is_call,
            move=chain.move,
            vol=chain.vol[:, None] * factors,
            vol_state=state,
            out=out,
            kernel="numba",
        )
        return np.subtract(out, base[:, None])

    return run
