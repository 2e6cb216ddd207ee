"""Many accounts at once: one bad account is a value with a reason, and the rest go on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import Book, select_accounts
from crossmargin.errors import CrossmarginError
from crossmargin.margin._frame import sum_by
from crossmargin.margin.engine import equity, frame_for, maintenance, requirement
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot
from crossmargin.scenarios import Kernel

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookResult:
    """Requirement and equity of every account of a book, in US dollars, in the book's order.

    Attributes
    ----------
    account_ids : list of str
        By account.
    equity, equity_im : float64[A]
        Sums over the pots of each account, at market and after haircuts; NaN where it failed.
    im, mm : float64[A]
        Requirements, open orders in IM; NaN where it failed.
    health : float64[A]
        Smallest equity / MM over the pots; ``inf`` where nothing is required, ``-inf`` where
        nothing is required and less than nothing is there, NaN where it failed.
    failures : dict of int to CrossmarginError
        By account index: why it could not be computed.
    """

    account_ids: list[str]
    equity: Floats
    equity_im: Floats
    im: Floats
    mm: Floats
    health: Floats
    failures: dict[int, CrossmarginError]


def evaluate_book(
    book: Book, snapshot: Snapshot, ruleset: Ruleset, *, kernel: Kernel = "numpy"
) -> BookResult:
    """Evaluate all accounts of a book.

    Parameters
    ----------
    book : Book
        Accounts.
    snapshot : Snapshot
        The market.
    ruleset : Ruleset
        The rules.
    kernel : {"numpy", "numba"}
        Pricing kernel.

    Returns
    -------
    BookResult
        With a reason for every account that could not be computed.

    Notes
    -----
    The whole book is tried first. Where an account stops it, the book is halved until the
    account stands alone, so that k broken accounts among n cost about k·log n evaluations.
    """
    columns = np.full((5, book.size), np.nan)
    failures: dict[int, CrossmarginError] = {}
    parts = [(np.arange(book.size), book)]
    while parts:
        mine, part = parts.pop()
        if not mine.size:
            continue
        try:
            columns[:, mine] = _totals(part, snapshot, ruleset, kernel)
        except CrossmarginError as error:
            if mine.size == 1:
                failures[int(mine[0])] = error.located(account=book.account_ids[int(mine[0])])
            else:
                for half in np.array_split(np.arange(mine.size), 2):
                    parts.append((mine[half], select_accounts(part, half)))
    return BookResult(
        account_ids=book.account_ids,
        equity=columns[0],
        equity_im=columns[1],
        im=columns[2],
        mm=columns[3],
        health=columns[4],
        failures=dict(sorted(failures.items())),
    )


def _totals(book: Book, snapshot: Snapshot, ruleset: Ruleset, kernel: Kernel) -> Floats:
    frame = frame_for(book, snapshot, ruleset, kernel=kernel)
    need = requirement(frame)
    initial = requirement(frame, orders=True) if book.leg_order.size else need
    have = equity(frame, initial)
    mm = maintenance(frame, need, initial)
    account = book.pool_account[frame.arrangement.pot_pool]
    usd = frame.pot_usd
    with np.errstate(divide="ignore", invalid="ignore"):
        none = np.where(have.mm < 0, -np.inf, np.inf)
        ratio = np.where(mm > 0, have.mm / mm, none)
    health = np.full(book.size, np.inf)
    np.minimum.at(health, account, ratio)
    sums = [sum_by(x * usd, account, book.size) for x in (have.mm, have.im, initial.im, mm)]
    return np.stack([*sums, health])
