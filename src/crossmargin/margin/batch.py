"""Many accounts at once: one bad account is a value with a reason, and the rest go on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import Book, book_without_location, select_accounts
from crossmargin.errors import CrossmarginError, RulesetError
from crossmargin.margin._frame import sum_by
from crossmargin.margin._protect import protected_pots
from crossmargin.margin.engine import equity, frame_for, maintenance, requirement
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Priced, Snapshot
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
    protected : bool[A]
        Accounts that touch a price which is not trusted: no new risk and no liquidation on these
        numbers (``docs/models/prices.md``). False where it failed.
    failures : dict of int to CrossmarginError
        By account index: why it could not be computed.
    """

    account_ids: list[str]
    equity: Floats
    equity_im: Floats
    im: Floats
    mm: Floats
    health: Floats
    protected: NDArray[np.bool_]
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

    Where a rule-set charges an owner for the size of all accounts together, an owner's accounts
    are never parted: if one of them cannot be computed, the others fail with it by name, because
    what they owe is not known without it.
    """
    columns = np.full((6, book.size), np.nan)
    failures: dict[int, CrossmarginError] = {}
    # Pricing is most of what a part costs, and all parts have the instruments of the book.
    priced = Priced(snapshot, book.registry)
    parts = [(np.arange(book.size), book)]
    while parts:
        mine, part = parts.pop()
        if not mine.size:
            continue
        try:
            columns[:, mine] = _totals(part, snapshot, ruleset, kernel, priced)
        except CrossmarginError as error:
            owners = part.owners if ruleset.by_owner else part.account_ids
            numbers = {name: k for k, name in enumerate(dict.fromkeys(owners))}
            if mine.size == 1:
                failures[int(mine[0])] = error.located(account=book.account_ids[int(mine[0])])
            elif len(numbers) == 1:
                failures |= _owner_failures(part, mine, snapshot, ruleset, kernel, priced, error)
            else:
                late = np.array([numbers[name] for name in owners]) >= (len(numbers) + 1) // 2
                for half in (np.flatnonzero(~late), np.flatnonzero(late)):
                    parts.append((mine[half], select_accounts(part, half)))
    return BookResult(
        account_ids=list(book.account_ids),
        equity=columns[0],
        equity_im=columns[1],
        im=columns[2],
        mm=columns[3],
        health=columns[4],
        protected=columns[5] == 1.0,
        failures=dict(sorted(failures.items())),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationStress:
    """All accounts before and after a location stops.

    Attributes
    ----------
    location : str
        Venue or chain.
    before, after : BookResult
        With and without what it holds.
    held : bool[A]
        Accounts that own something there.
    breached : bool[A]
        Accounts that are at or above their maintenance margin before, and below it after.
    """

    location: str
    before: BookResult
    after: BookResult
    held: NDArray[np.bool_]
    breached: NDArray[np.bool_]


def location_stress(
    book: Book, snapshot: Snapshot, ruleset: Ruleset, location: str, *, kernel: Kernel = "numpy"
) -> LocationStress:
    """Run the health of all accounts again as if a location had stopped (requirements B19).

    Raises
    ------
    InputError
        ``INP-016`` when no balance is there.
    """
    without = book_without_location(book, location)
    before = evaluate_book(book, snapshot, ruleset, kernel=kernel)
    after = evaluate_book(without, snapshot, ruleset, kernel=kernel)
    held = np.zeros(book.size, dtype=bool)
    moved = without.balance_amount != book.balance_amount
    held[book.pool_account[book.balance_pool[moved]]] = True
    return LocationStress(
        location=location,
        before=before,
        after=after,
        held=held,
        breached=(before.health >= 1.0) & (after.health < 1.0),
    )


def _owner_failures(
    part: Book,
    mine: NDArray[np.int64],
    snapshot: Snapshot,
    ruleset: Ruleset,
    kernel: Kernel,
    priced: Priced,
    error: CrossmarginError,
) -> dict[int, CrossmarginError]:
    """Say of each account of one owner why the owner cannot be computed.

    An account that fails by itself gets its own reason, the others name it. Where none fails by
    itself, all share the reason of the whole.
    """
    own: dict[int, CrossmarginError] = {}
    for row in range(mine.size):
        try:
            _totals(select_accounts(part, [row]), snapshot, ruleset, kernel, priced)
        except CrossmarginError as reason:
            own[row] = reason.located(account=part.account_ids[row])
    if not own:
        return dict.fromkeys(mine.tolist(), error)
    first = min(own)
    found = {}
    for row in range(mine.size):
        found[int(mine[row])] = own.get(row) or RulesetError(
            f"what the owner {part.owners[row]!r} is charged for size is not known, because the "
            f"account {part.account_ids[first]!r} cannot be computed: {own[first].message}",
            code="RUL-034",
            account=part.account_ids[row],
            hint="mend that account, or evaluate the others without it",
        )
    return found


def _totals(
    book: Book, snapshot: Snapshot, ruleset: Ruleset, kernel: Kernel, priced: Priced
) -> Floats:
    frame = frame_for(book, snapshot, ruleset, kernel=kernel, priced=priced)
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
    protected = np.zeros(book.size)
    protected[account[protected_pots(frame)]] = 1.0
    return np.stack([*sums, health, protected])
