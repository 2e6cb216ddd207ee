"""A large book in a page: states, totals, the worst accounts, concentration, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.book_summary_types import (
    AccountRow,
    BookRules,
    BookSummary,
    BookTotals,
    ComponentTotal,
    Concentration,
    FailureRow,
    LargestShare,
    StateCount,
    UnderlyingRow,
)
from crossmargin.book import CompactBook, Rejected
from crossmargin.errors import CrossmarginError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin import ACCOUNT_STATES, BookColumns, Ruleset, account_states
from crossmargin.market import Snapshot
from crossmargin.units import format_time

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: How many of the largest accounts the shares of initial margin are given for.
_LARGEST = (1, 10, 100, 1_000)


def summarise_book(
    book: CompactBook,
    columns: BookColumns,
    rules: Ruleset,
    snapshot: Snapshot,
    *,
    market: str = "",
    top: int = 100,
    rejected: Rejected | None = None,
    warnings: Sequence[str] = (),
) -> BookSummary:
    """Summarise a margined book.

    Parameters
    ----------
    book : CompactBook
        What was margined.
    columns : BookColumns
        The result, in the book's order.
    rules : Ruleset
        The rules.
    snapshot : Snapshot
        The market.
    market : str
        Its name, for people.
    top : int
        How many accounts the lists hold at most.
    rejected : Rejected, optional
        Accounts that were set aside when the book was read: counted as failed.
    warnings : sequence of str
        To be repeated in the summary.

    Returns
    -------
    BookSummary
        Ties go to the account that comes first.
    """
    states = account_states(columns, rules)
    aside = 0 if rejected is None else int(rejected.rows.size)
    rows = AccountRows(book, columns, states)
    known = ~np.isnan(columns.health)
    underlyings, unpriced = _underlyings(book, snapshot)
    return BookSummary(
        ruleset=BookRules(
            id=rules.id,
            title=rules.data.title,
            effective_from=rules.data.effective_from,
            hash=rules.content_hash,
            gaps=list(rules.gaps),
            overrides=list(rules.overrides),
        ),
        market=market,
        as_of=format_time(snapshot.as_of_ns),
        at=format_time(snapshot.moment_ns),
        accounts=book.size + aside,
        computed=int(known.sum()),
        rejected=aside,
        positions=book.positions + (0 if book.rest is None else book.rest.position_quantity.size),
        engine=columns.engine,
        totals=BookTotals(
            equity_usd=_sum(columns.equity),
            equity_im_usd=_sum(columns.equity_im),
            im_usd=_sum(columns.im),
            mm_usd=_sum(columns.mm),
        ),
        states=_states(columns, states, aside),
        components=[
            ComponentTotal(name=name, im_usd=im, mm_usd=mm)
            for name, (im, mm) in columns.components.items()
        ],
        worst_by_excess=rows.at(lowest(columns.equity - columns.mm, top)),
        worst_by_health=rows.at(lowest(np.where(columns.mm > 0, columns.health, np.nan), top)),
        concentration=_concentration(columns.im, rows, top),
        underlyings=underlyings,
        unpriced=unpriced,
        failures=failure_rows(columns.failures, rejected),
        warnings=list(warnings),
    )


def lowest(values: Floats, count: int) -> Ints:
    """Return where the lowest values are, lowest first; NaN is none, ties in order of place."""
    known = np.flatnonzero(~np.isnan(values))
    if 0 < count < known.size:
        edge = np.partition(values[known], count - 1)[count - 1]
        known = known[values[known] <= edge]
    order = np.argsort(values[known], kind="stable")
    return known[order][:count]


class AccountRows:
    """Makes rows of some accounts.

    Parameters
    ----------
    book, columns
        What was margined, and the result.
    states : int8[A]
        Of :func:`~crossmargin.margin.account_states`.
    """

    def __init__(self, book: CompactBook, columns: BookColumns, states: NDArray[np.int8]) -> None:
        self._book, self._columns, self._states = book, columns, states
        self._im = _sum(columns.im)

    def at(self, places: Ints) -> list[AccountRow]:
        """Return the rows of accounts given by number."""
        c = self._columns
        return [
            AccountRow(
                account=self._book.name(k),
                equity_usd=float(c.equity[k]),
                im_usd=float(c.im[k]),
                mm_usd=float(c.mm[k]),
                excess_im_usd=float(c.equity_im[k] - c.im[k]),
                excess_mm_usd=float(c.equity[k] - c.mm[k]),
                health=float(c.health[k]) if np.isfinite(c.health[k]) else None,
                state=ACCOUNT_STATES[self._states[k]],
                im_share=float(c.im[k]) / self._im if self._im > 0 else 0.0,
            )
            for k in map(int, places)
        ]


def failure_rows(
    failures: Mapping[int, CrossmarginError], rejected: Rejected | None = None
) -> list[FailureRow]:
    """Count failures by code, most frequent first; the first account of each is its example.

    Accounts that were set aside when the book was read come after the others.
    """
    counts = Counter(error.code for error in failures.values())
    first: dict[str, CrossmarginError] = {}
    for _, error in sorted(failures.items()):
        first.setdefault(error.code, error)
    if rejected is not None:
        counts.update(rejected.by_code())
        for error in rejected.values():
            if len(first) == len(counts):
                break
            first.setdefault(error.code, error)
    return [
        FailureRow(
            code=code, accounts=n, account=first[code].account or "", message=str(first[code])
        )
        for code, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _sum(values: Floats) -> float:
    return float(np.nansum(values))


def _states(columns: BookColumns, states: NDArray[np.int8], aside: int) -> list[StateCount]:
    out, size = [], states.size + aside
    for code, name in enumerate(ACCOUNT_STATES):
        mine = states == code
        accounts = int(mine.sum()) + (aside if name == "failed" else 0)
        gap = columns.mm[mine] - columns.equity[mine]
        out.append(
            StateCount(
                state=name,
                accounts=accounts,
                share=accounts / size if size else 0.0,
                equity_usd=_sum(columns.equity[mine]),
                im_usd=_sum(columns.im[mine]),
                mm_usd=_sum(columns.mm[mine]),
                deficit_mm_usd=_sum(np.maximum(gap, 0.0)),
            )
        )
    return out


def _concentration(im: Floats, rows: AccountRows, top: int) -> Concentration:
    total = _sum(im)
    if total <= 0:
        return Concentration(hhi=None, equal_accounts=None, shares=[], largest=[])
    largest = lowest(-im, max(top, _LARGEST[-1]))
    shares = np.cumsum(im[largest]) / total
    hhi = _sum((im / total) ** 2)
    return Concentration(
        hhi=hhi,
        equal_accounts=1.0 / hhi,
        shares=[
            LargestShare(accounts=n, im_share=float(shares[n - 1]))
            for n in _LARGEST
            if n <= shares.size
        ],
        largest=rows.at(largest[:top]),
    )


def _underlyings(book: CompactBook, snapshot: Snapshot) -> tuple[list[UnderlyingRow], list[str]]:
    """Return notional by underlying, largest gross first, and what has no price."""
    registry = book.registry
    size = len(registry)
    if not size:
        return [], []
    held = [(book.position_instrument, book.position_quantity, _owners(book))]
    if book.rest is not None:
        rest = book.rest
        owners = book.regular + rest.pool_account[rest.position_pool]
        held.append((rest.position_instrument, rest.position_quantity, owners))
    net, gross = np.zeros(size), np.zeros(size)
    for instrument, quantity, _ in held:
        net += np.bincount(instrument, weights=quantity, minlength=size)
        gross += np.bincount(instrument, weights=np.abs(quantity), minlength=size)
    unit = _unit_notional_usd(book, snapshot)
    used = gross > 0
    lost = used & np.isnan(unit)
    unit = np.where(np.isnan(unit), 0.0, unit)
    coin = registry.terms.underlying
    coins = len(registry.assets)
    net_usd = np.bincount(coin, weights=net * unit, minlength=coins)
    gross_usd = np.bincount(coin, weights=gross * unit, minlength=coins)
    holders = np.zeros(coins, dtype=np.int64)
    for instrument, _, owners in held:
        # One key for an account and a coin; an account that holds a coin twice counts once.
        keys = np.unique(owners * coins + coin[instrument])
        holders += np.bincount(keys % coins, minlength=coins)
    order = np.argsort(-gross_usd, kind="stable")
    found = [
        UnderlyingRow(
            underlying=registry.assets[k],
            net_usd=float(net_usd[k]),
            gross_usd=float(gross_usd[k]),
            accounts=int(holders[k]),
        )
        for k in map(int, order)
        if gross_usd[k] > 0
    ]
    return found, [registry[int(k)].id for k in np.flatnonzero(lost)]


def _owners(book: CompactBook) -> Ints:
    return np.repeat(np.arange(book.regular), np.diff(book.position_start))


def _unit_notional_usd(book: CompactBook, snapshot: Snapshot) -> Floats:
    """US dollars of notional of one unit of every instrument; NaN where it has no price.

    Coins per unit at the mark (or forward) in the quote currency; an inverse contract counts the
    dollars it is for.
    """
    terms = book.registry.terms
    view = snapshot.view(book.registry, ())
    price = view.price
    paid = view.asset_usd[terms.quote]
    dollars = terms.inverse & (terms.kind != KIND_CODE["option"])
    return np.where(dollars, terms.contract_size * paid, terms.contract_size * price * paid)
