"""What each position costs in margin: alone, at the margin, allocated; and what to release.

*Standalone* is the margin of the position in an account of its own. *Marginal* is with − without:
what closing it at the mark would release. *Allocated* is its Aumann–Shapley share, the only one of
the three whose sum is the requirement. A hedge has a marginal margin below 0 although its
standalone margin is above.

Source: requirements A12 (standalone, marginal and Euler margin, release list), A03 (Euler shares).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from crossmargin.book import LEGS, AccountFile, book_from_accounts
from crossmargin.margin import (
    Evaluation,
    Ruleset,
    Trade,
    TradedAccount,
    account_totals,
    evaluate,
    shares,
    standalone_margins,
)
from crossmargin.market import Snapshot

_PASS_ROWS = 200_000


class PositionMargin(msgspec.Struct, frozen=True, kw_only=True):
    """One position, US dollars.

    Attributes
    ----------
    instrument, pool, leg : str
        Which.
    quantity : float
        Units, > 0 long.
    notional_usd : float
        Absolute.
    standalone_usd, marginal_usd, allocated_usd : float
        Initial margin alone, with − without (open orders as they rest), and its share.
    released_usd : float
        Rise of what is available (equity after haircuts less IM) when it is closed at the mark
        without cost.
    pnl_usd : float or None
        What it earned over the period, where that is known.
    return_on_marginal : float or None
        Earned over marginal margin; None where that is not above 0 or nothing is known.
    """

    instrument: str
    pool: str
    leg: str
    quantity: float
    notional_usd: float
    standalone_usd: float
    marginal_usd: float
    allocated_usd: float
    released_usd: float
    pnl_usd: float | None = None
    return_on_marginal: float | None = None


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A position to close, in the order that releases most each time.

    `released_usd` is what closing it adds to what is available once those before it are closed,
    `together_usd` what all so far have.
    """

    instrument: str
    pool: str
    leg: str
    quantity: float
    released_usd: float
    together_usd: float


def position_margins(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    *,
    pnl_usd: Mapping[str, float] | None = None,
) -> list[PositionMargin]:
    """Measure each position's margin three ways, and what closing it would release.

    Parameters
    ----------
    account, snapshot, ruleset
        The account today.
    pnl_usd : mapping of str to float, optional
        What each instrument earned over a period of the caller's choice.

    Returns
    -------
    list of PositionMargin
        In the account's order. Allocated margins (and those of coin balances) add up to IM
        without open orders; the others do not.
    """
    done = evaluate(book_from_accounts([account]), snapshot, ruleset)
    frame, book = done.frame, done.frame.book
    size = book.position_quantity.size
    alone = standalone_margins(frame).im[:size]
    split = shares(frame).position
    live = [k for k in range(size) if not frame.view.settled[book.position_instrument[k]]]
    closing = TradedAccount(account, snapshot, ruleset, [_close(done, k) for k in live])
    totals = _closed_one_by_one(closing)
    marginal, released = np.zeros(size), np.zeros(size)
    marginal[live] = totals["im"][0] - totals["im"][1:]
    free = totals["equity_im"] - totals["im"]
    released[live] = free[1:] - free[0]
    usd = frame.view.asset_usd[frame.terms.settlement[book.position_instrument]]
    notional = frame.notional(book.position_instrument, book.position_quantity) * usd
    found = []
    for k in range(size):
        name = book.registry[int(book.position_instrument[k])].id
        earned = None if pnl_usd is None else pnl_usd.get(name)
        pays = earned is not None and marginal[k] > 0
        found.append(
            PositionMargin(
                instrument=name,
                pool=book.pool_names[int(book.position_pool[k])],
                leg=LEGS[int(book.position_leg[k])],
                quantity=float(book.position_quantity[k]),
                notional_usd=float(notional[k]),
                standalone_usd=float(alone[k]),
                marginal_usd=float(marginal[k]),
                allocated_usd=float(split[k]),
                released_usd=float(released[k]),
                pnl_usd=earned,
                return_on_marginal=float(earned / marginal[k])
                if pays and earned is not None
                else None,
            )
        )
    return found


def release_list(
    account: AccountFile, snapshot: Snapshot, ruleset: Ruleset, *, most: int = 10
) -> list[Release]:
    """List positions in the order in which closing them releases most, one after the other.

    Each step closes at the mark, without cost, the position that then adds most to what is
    available; the list ends where no position adds anything. Taking the best each time is not the
    best set of a given size, which the list does not claim to be.

    Parameters
    ----------
    account, snapshot, ruleset
        The account today.
    most : int
        Positions at most.
    """
    done = evaluate(book_from_accounts([account]), snapshot, ruleset)
    frame, book = done.frame, done.frame.book
    held = range(book.position_quantity.size)
    live = [k for k in held if not frame.view.settled[book.position_instrument[k]]]
    closing = TradedAccount(account, snapshot, ruleset, [_close(done, k) for k in live])
    count = len(live)
    made = np.zeros(count, dtype=np.bool_)
    start = closing.evaluation(made.tolist())
    free = float((start.have.im - start.need_orders.im) @ start.frame.pot_usd)
    least = 1e-9 * max(1.0, abs(free))
    found: list[Release] = []
    total = 0.0
    while len(found) < min(most, count):
        left = np.flatnonzero(~made)
        sets = np.tile(made, (left.size, 1))
        sets[np.arange(left.size), left] = True
        after = _totals(closing, sets)
        gains = after["equity_im"] - after["im"] - free
        best = int(np.argmax(gains))
        if gains[best] <= least:
            break
        k = int(left[best])
        made[k] = True
        free += float(gains[best])
        total += float(gains[best])
        trade = closing.trades[k]
        found.append(
            Release(
                instrument=trade.instrument,
                pool=trade.pool,
                leg=trade.leg,
                quantity=-trade.quantity,
                released_usd=float(gains[best]),
                together_usd=total,
            )
        )
    return found


def _close(done: Evaluation, row: int) -> Trade:
    book = done.frame.book
    return Trade(
        instrument=book.registry[int(book.position_instrument[row])].id,
        quantity=-float(book.position_quantity[row]),
        pool=book.pool_names[int(book.position_pool[row])],
        leg=LEGS[int(book.position_leg[row])],  # type: ignore[arg-type]
    )


def _closed_one_by_one(closing: TradedAccount) -> dict[str, np.ndarray]:
    """Evaluate the account as it is, then without each position."""
    count = len(closing.trades)
    return _totals(closing, np.concatenate([np.zeros((1, count), bool), np.eye(count, dtype=bool)]))


def _totals(closing: TradedAccount, sets: np.ndarray) -> dict[str, np.ndarray]:
    """Evaluate sets in passes of bounded size."""
    step = max(1, _PASS_ROWS // max(1, len(closing.trades)))
    parts = [
        account_totals(closing.many(sets[first : first + step]))
        for first in range(0, len(sets), step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
