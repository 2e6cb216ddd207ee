"""Loop gain of a stored book under any rule-set: the margin engine is asked, not modelled.

What a return of each asset does to an account's equity and requirement is measured by margining
the whole book in a market a little above and a little below (central differences). What a pro-rata
cut sells of each underlying is its delta: measured on one unit of every instrument. From there on
it is the matrix of :mod:`crossmargin.cascade.gain`, with the engine's MM in the denominator.

Source: cascades.md §1.2 for the matrix; the differences are house. A pro-rata cut of a portfolio
frees its share of MM where the requirement is homogeneous (scans, rates without brackets); fixed
charges, brackets and minimum charges make it an approximation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook
from crossmargin.cascade._exposure import Exposure
from crossmargin.cascade.figures import number
from crossmargin.errors import CascadeError
from crossmargin.instruments import DOLLARS, expiry_of
from crossmargin.margin import BookColumns, Ruleset, evaluate_compact
from crossmargin.market import MovedMarket, Snapshot

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookExposure:
    """A book's derivatives, as :func:`crossmargin.cascade.gain.gain_from` takes them.

    Attributes
    ----------
    assets : tuple of str
        Underlyings of the contracts held, then coins that are collateral alone.
    contracts : int
        How many of them are underlyings.
    exposure : Exposure
    equity, mm : float64[A]
        US dollars; NaN where an account could not be computed.
    failed : int
        Accounts that could not be: they count nowhere.
    open_interest : float64[K]
        Long deltas of the book, US dollars.
    evaluations : int
        How often the book was margined.
    """

    assets: tuple[str, ...]
    contracts: int
    exposure: Exposure
    equity: Floats
    mm: Floats
    failed: int
    open_interest: Floats
    evaluations: int


def exposure_of_book(
    book: CompactBook,
    snapshot: Snapshot,
    ruleset: Ruleset,
    *,
    also: Sequence[str] = (),
    bump: float = 1e-4,
    threads: int = 1,
    engine: Literal["auto", "fused", "vectorised"] = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> BookExposure:
    """Measure a book's exposure to its assets.

    Parameters
    ----------
    book : CompactBook
        Accounts.
    snapshot : Snapshot
        The market.
    ruleset : Ruleset
        The rules.
    also : sequence of str
        Dollars that may move too: USDC, USDT. Other coins always do.
    bump : float
        Relative move up and down, in (0, 0.1].
    threads, engine : int, str
        As in :func:`crossmargin.margin.evaluate_compact`.
    progress : callable, optional
        Called with evaluations done and in all.

    Raises
    ------
    CascadeError
        ``CAS-024`` where nothing in the book has an underlying that the market prices, or no
        account can be computed.
    """
    step = number("bump", bump, above=0.0, most=0.1)
    assets, contracts = _assets(book, snapshot, also)
    moved = MovedMarket(snapshot, book.registry)
    total = 2 * len(assets) + 1
    done = 1

    def margined(coins: Mapping[str, float], of: CompactBook = book) -> BookColumns:
        prices = {c: snapshot.assets[c].price_usd * by for c, by in coins.items()}
        return evaluate_compact(of, moved.at(prices), ruleset, threads=threads, engine=engine)

    base = margined({})
    good = np.isfinite(base.equity) & np.isfinite(base.mm)
    if not good.any():
        why = next(iter(base.failures.values()), None)
        raise CascadeError(
            f"no account of the book can be computed under {ruleset.id!r}"
            + (f": {why.message}" if why is not None else ""),
            code="CAS-024",
            field="book",
            hint="see crossmargin book FOLDER for the reasons",
        )
    gained, freed = np.zeros((book.size, len(assets))), np.zeros((book.size, len(assets)))
    for j, coin in enumerate(assets):
        up, down = margined({coin: 1.0 + step}), margined({coin: 1.0 - step})
        gained[:, j] = (up.equity - down.equity) / (2.0 * step)
        freed[:, j] = (up.mm - down.mm) / (2.0 * step)
        done += 2
        if progress is not None:
            progress(done, total)
    good &= np.isfinite(gained).all(axis=1) & np.isfinite(freed).all(axis=1)
    gained[~good], freed[~good] = 0.0, 0.0
    unit = _unit_deltas(book, snapshot, margined, assets[:contracts], step)
    notional = _notional(book, unit, contracts, good)
    return BookExposure(
        assets=assets,
        contracts=contracts,
        exposure=_exposure(snapshot, assets, notional, gained, freed, base, good),
        equity=base.equity,
        mm=base.mm,
        failed=int((~good).sum()),
        open_interest=np.maximum(notional, 0.0).sum(axis=0),
        evaluations=total,
    )


def _exposure(
    snapshot: Snapshot,
    assets: tuple[str, ...],
    notional: Floats,
    gained: Floats,
    freed: Floats,
    base: BookColumns,
    good: Bools,
) -> Exposure:
    from scipy.sparse import csr_matrix

    held = good & (base.mm > 0) & (notional != 0.0).any(axis=1)
    return Exposure(
        prices=np.array([snapshot.assets[c].price_usd for c in assets]),
        notional=csr_matrix(notional),
        gained=csr_matrix(gained),
        freed=csr_matrix(freed),
        slack=np.where(good, base.equity - base.mm, 0.0),
        relief=np.where(held, base.mm, 0.0),
    )


def _assets(
    book: CompactBook, snapshot: Snapshot, also: Sequence[str]
) -> tuple[tuple[str, ...], int]:
    """Underlyings of contracts that the market prices, then other coins; and how many of them."""
    items = [book.registry[int(i)] for i in book.instruments_used()]
    traded = {x.underlying for x in items if x.kind != "spot"} & set(snapshot.assets)
    if not traded:
        raise CascadeError(
            "no contract of the book has an underlying that the market prices",
            code="CAS-024",
            field="book",
            hint="give the market that the book was made for with --market",
        )
    held = {book.registry.assets[int(j)] for j in book.assets_used()} | set(also)
    coins = {c for c in held if c in snapshot.assets and (c in also or c not in DOLLARS)}
    return (*sorted(traded), *sorted(coins - traded)), len(traded)


def _unit_deltas(
    book: CompactBook,
    snapshot: Snapshot,
    margined: Callable[[Mapping[str, float], CompactBook], BookColumns],
    coins: tuple[str, ...],
    step: float,
) -> dict[int, tuple[int, float]]:
    """Underlying and delta notional (US dollars) of one unit of every instrument held."""
    place = {coin: k for k, coin in enumerate(coins)}
    used = [int(i) for i in book.instruments_used() if book.registry[int(i)].underlying in place]
    entry = []
    for i in used:
        item = book.registry[i]
        quote = snapshot.quotes.get(item.id)
        known = None if quote is None else quote.price_mark
        if known is None and item.kind == "future":
            forward = snapshot.forwards.get((item.underlying, expiry_of(item) or 0))
            known = None if forward is None else forward.price_usd
        # Linear contracts need the mark as entry; "settled at the mark" would move with it.
        entry.append(np.nan if item.kind == "option" or known is None else known)
    units = CompactBook(
        registry=book.registry,
        ids=[book.registry[i].id for i in used],
        position_start=np.arange(len(used) + 1),
        position_instrument=np.array(used, dtype=np.uint32),
        position_quantity=np.ones(len(used)),
        position_entry=np.array(entry, dtype=np.float64),
        balance_start=np.zeros(len(used) + 1, dtype=np.int64),
        balance_asset=np.empty(0, dtype=np.uint32),
        balance_amount=np.empty(0),
    )
    up, down = (dict.fromkeys(coins, 1.0 + sign * step) for sign in (1, -1))
    delta = (margined(up, units).equity - margined(down, units).equity) / (2.0 * step)
    return {
        i: (place[book.registry[i].underlying], float(value))
        for i, value in zip(used, delta)
        if np.isfinite(value)
    }


def _notional(
    book: CompactBook,
    unit: Mapping[int, tuple[int, float]],
    contracts: int,
    good: Bools,
) -> Floats:
    """Delta notional of each account by underlying; accounts with an unknown delta turn bad."""
    out = np.zeros(book.size * contracts)
    count = len(book.registry)
    place, value = np.full(count, -1, dtype=np.int64), np.zeros(count)
    for i, (k, usd) in unit.items():
        place[i], value[i] = k, usd
    parts = [
        (
            np.repeat(np.arange(book.regular), np.diff(book.position_start)),
            book.position_instrument.astype(np.int64),
            np.asarray(book.position_quantity),
        )
    ]
    if book.rest is not None:
        rest = book.rest
        account = book.regular + rest.pool_account[rest.position_pool]
        parts.append((account, rest.position_instrument, rest.position_quantity))
    for account, instrument, quantity in parts:
        known = place[instrument] >= 0
        good[account[~known]] = False
        out += np.bincount(
            account[known] * contracts + place[instrument[known]],
            quantity[known] * value[instrument[known]],
            minlength=out.size,
        )
    table = out.reshape(book.size, contracts)
    table[~good] = 0.0
    return table
