"""A whole book of linear accounts in one tick, as columns.

For legs at flat rates and flat costs the smallest sufficient reduction has a closed form, leg by
leg or in proportion, so that a hundred thousand accounts are sized without a loop. A test holds it
to :func:`crossmargin.liquidation.reduce`, account by account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import LiquidationError
from crossmargin.liquidation.account import ROUNDING, Line

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

BookPolicy = Literal["proportional", "riskiest-first"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearBook:
    """Accounts of linear legs, compressed by rows.

    Attributes
    ----------
    start : int64[A + 1]
        Legs of account a are the rows ``start[a]`` to ``start[a + 1]``.
    notional : float64[N]
        Of each leg at its mark, US dollars, at least 0.
    rate : float64[N]
        Maintenance rate.
    equity : float64[A]
        US dollars.
    """

    start: Ints
    notional: Floats
    rate: Floats
    equity: Floats

    @property
    def size(self) -> int:
        """Number of accounts."""
        return int(self.equity.size)

    @property
    def account(self) -> Ints:
        """Account of each row."""
        return np.repeat(np.arange(self.size), np.diff(self.start))


@dataclass(frozen=True, slots=True, kw_only=True)
class BookReduction:
    """What one tick closes.

    Attributes
    ----------
    breached : bool[A]
        Below the line before.
    share : float64[N]
        Fraction of each leg that is closed.
    sufficient : bool[A]
        Whether the line holds afterwards; where not, everything is closed.
    equity, mm : float64[A]
        Afterwards, US dollars.
    """

    breached: Bools
    share: Floats
    sufficient: Bools
    equity: Floats
    mm: Floats


def linear_book(
    start: ArrayLike, notional: ArrayLike, rate: ArrayLike, equity: ArrayLike
) -> LinearBook:
    """Check columns and make a book of them.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` columns that do not fit together or figures that no account has.
    """
    rows = np.asarray(start, dtype=np.int64)
    n, r, e = (np.asarray(x, dtype=np.float64) for x in (notional, rate, equity))
    fits = rows.size == e.size + 1 and rows[0] == 0 and rows[-1] == n.size == r.size
    if not fits or (np.diff(rows) < 0).any():
        raise LiquidationError(
            "the columns of a book do not fit together", code="LIQ-001", field="start"
        )
    if not (np.isfinite(n).all() and np.isfinite(e).all() and (n >= 0).all() and (r > 0).all()):
        raise LiquidationError(
            "notionals are at least 0, rates above 0", code="LIQ-001", field="notional"
        )
    return LinearBook(start=rows, notional=n, rate=r, equity=e)


def reduce_book(
    book: LinearBook, policy: BookPolicy, *, line: Line | None = None, cost_rate: float = 0.0
) -> BookReduction:
    """Size the liquidations of one tick.

    ``x = (k·MM + c − E)/(k·m − f)`` on the legs in their order, or on all alike. Source: the
    closed form of :func:`crossmargin.liquidation.partial_size`, leg after leg (house).

    Parameters
    ----------
    book : LinearBook
        At today's marks.
    policy : BookPolicy
        ``proportional``: one fraction for all legs. ``riskiest-first``: the leg with the largest
        requirement first, the earlier row where two are alike; legs whose closing costs more
        than it frees last, with everything else.
    line : Line, optional
        Target; default equity = MM.
    cost_rate : float
        Fee and slippage as a fraction of what is closed.

    Returns
    -------
    BookReduction
        Sums run in the order of rows: the same bytes every time.
    """
    where = Line() if line is None else line
    account, n = book.account, book.size
    mm = _sums(book.rate * book.notional, account, n)
    need = where.factor * mm + where.amount
    short = need - book.equity
    breached = short > ROUNDING * (np.abs(book.equity) + np.abs(need))
    relief = (where.factor * book.rate - cost_rate) * book.notional
    share = _proportional if policy == "proportional" else _in_turn
    closed = share(book, account, np.where(breached, short, 0.0), relief)
    closed[~breached[account]] = 0.0
    enough = _sums(closed * relief, account, n) >= short * (1.0 - 1e-9)
    # Where no part pays for its own closing all of it goes.
    closed[(breached & ~enough)[account]] = 1.0
    left = _sums((1.0 - closed) * book.rate * book.notional, account, n)
    equity = book.equity - cost_rate * _sums(closed * book.notional, account, n)
    after = equity - where.factor * left - where.amount
    tolerance = 1e-9 * (np.abs(equity) + mm)
    return BookReduction(
        breached=breached,
        share=closed,
        sufficient=~breached | (after >= -tolerance),
        equity=equity,
        mm=left,
    )


def _sums(values: Floats, account: Ints, size: int) -> Floats:
    return np.bincount(account, weights=values, minlength=size).astype(np.float64, copy=False)


def _proportional(book: LinearBook, account: Ints, short: Floats, relief: Floats) -> Floats:
    whole = _sums(relief, account, book.size)
    share = np.divide(short, whole, out=np.full(book.size, 2.0), where=whole > 0)
    return np.asarray(np.where(share <= 1.0, share, 1.0)[account], dtype=np.float64)


def _in_turn(book: LinearBook, account: Ints, short: Floats, relief: Floats) -> Floats:
    share = np.zeros(account.size)
    # Only accounts that lack something are put in order: that is most of the work.
    lacking = short > 0.0
    rows = np.flatnonzero(lacking[account])
    if not rows.size:
        return share
    helps = np.maximum(relief, 0.0)[rows]
    mine = account[rows]
    order = np.lexsort((-(book.rate * book.notional)[rows], mine))
    freed = helps[order]
    counts = np.diff(book.start)[lacking]
    rank = np.arange(rows.size) - np.repeat(np.cumsum(counts) - counts, counts)
    # What the legs before it in the same account have freed.
    before = np.zeros(rows.size)
    by_rank = np.argsort(rank, kind="stable")
    ends = np.searchsorted(rank[by_rank], np.arange(1, int(counts.max()) + 1))
    for first, last in zip(ends[:-1].tolist(), ends[1:].tolist()):
        place = by_rank[first:last]
        before[place] = before[place - 1] + freed[place - 1]
    wanted = np.clip(short[mine] - before, 0.0, freed)
    part = np.divide(wanted, freed, out=np.zeros(freed.size), where=freed > 0)
    share[rows[order]] = part
    return share
