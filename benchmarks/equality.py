"""Hold the engines for large books to the stages as plain loops, account by account.

    python -m benchmarks.equality --accounts 100000 [--ruleset span ...] [--engine auto]

The reference evaluates small books with the stages of ``tests/oracles/loops`` in place of those
over whole books, and a few accounts quite alone. Differences are relative to the account's scale:
the largest of its equity, its requirement and its gross notional. A second market has holes in
it, so that some accounts cannot be computed: they must be refused with the same words.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tests.oracles import loops

from benchmarks.ruleset_worlds import WORLDS, rules, world
from crossmargin.book import Book, CompactBook
from crossmargin.errors import CrossmarginError
from crossmargin.margin import Ruleset, evaluate_book, evaluate_compact
from crossmargin.margin.at_scale import BookColumns, Engine
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]

#: What may be lost to the order of additions.
EQUAL = 1e-12
#: Accounts of a reference book; of those evaluated alone; of the market with holes, which is a
#: small one, because the reference halves a book until it finds who is to be refused.
PIECE, ALONE, BROKEN = 2_000, 25, 400
INSTRUMENTS_BROKEN = 150
FIELDS = ("equity", "equity_im", "im", "mm")


@dataclass(frozen=True, slots=True)
class Held:
    """How two evaluations of the same accounts differ.

    Attributes
    ----------
    accounts, refused : int
        How many, and how many of them have a reason instead of numbers.
    worst : float
        Largest difference, relative to the account's scale.
    reasons : bool
        Whether the same accounts are refused with the same words.
    """

    accounts: int
    refused: int
    worst: float
    reasons: bool

    @property
    def good(self) -> bool:
        return self.reasons and self.worst <= EQUAL


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each rule-set; 1 when one of them differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--ruleset", action="append", choices=sorted(WORLDS))
    parser.add_argument("--engine", choices=("auto", "fused", "vectorised"), default="vectorised")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    good = True
    for name in options.ruleset or sorted(WORLDS):
        start = time.monotonic()
        book, snapshot = world(name, options.accounts, seed=options.seed)
        held = hold(book, snapshot, rules(name), options.engine)
        few, market = world(
            name,
            min(options.accounts, BROKEN),
            seed=options.seed,
            instruments=INSTRUMENTS_BROKEN,
        )
        holed = hold(few, with_holes(market), rules(name), options.engine, alone=0)
        good &= held.good and holed.good
        print(
            f"{name:22} {held.accounts:>9,} accounts  worst {held.worst:.1e}  "
            f"with holes: {holed.refused:,} of {holed.accounts:,} refused, "
            f"{'the same' if holed.reasons else 'NOT THE SAME'} reasons, worst {holed.worst:.1e}  "
            f"{'' if held.good and holed.good else 'DIFFERS  '}"
            f"{time.monotonic() - start:.0f} s",
            flush=True,
        )
    return 0 if good else 1


def hold(
    book: CompactBook, snapshot: Snapshot, ruleset: Ruleset, engine: Engine, *, alone: int = ALONE
) -> Held:
    """Compare all regular accounts of a book with small books, and a few with the account alone."""
    found = evaluate_compact(book, snapshot, ruleset, engine=engine)
    found = replace(found, failures=dict(found.failures))
    worst, same, refused = 0.0, True, 0
    for first in range(0, book.size, PIECE):
        part = book.accounts(first, min(first + PIECE, book.size))
        rows = np.arange(first, first + part.size)
        off, agreed, count = against(found, rows, part, snapshot, ruleset)
        worst, same, refused = max(worst, off), same and agreed, refused + count
    for account in np.linspace(0, book.size - 1, min(alone, book.size)).astype(int).tolist():
        part = book.accounts(account, account + 1)
        off, agreed, _ = against(found, np.array([account]), part, snapshot, ruleset)
        worst, same = max(worst, off), same and agreed
    return Held(book.size, refused, worst, same)


def against(
    found: BookColumns,
    rows: NDArray[np.int64],
    part: Book,
    snapshot: Snapshot,
    ruleset: Ruleset,
) -> tuple[float, bool, int]:
    """Compare some accounts with the plain loops: worst difference, same reasons, refusals."""
    with loops.installed():
        slow = evaluate_book(part, snapshot, ruleset)
    ours = np.stack([getattr(found, field)[rows] for field in FIELDS])
    theirs = np.stack([getattr(slow, field) for field in FIELDS])
    scale = np.fmax(np.fmax(np.abs(theirs[0]), np.abs(theirs[2])), gross(part, snapshot))
    same = bool(np.array_equal(np.isnan(ours), np.isnan(theirs)))
    mine = {row: found.failures.get(int(account)) for row, account in enumerate(rows)}
    for row, error in mine.items():
        same &= words(error) == words(slow.failures.get(row))
    off = np.abs(ours - theirs) / np.maximum(scale, 1.0)
    return float(np.nanmax(off, initial=0.0)), same, len(slow.failures)


def words(error: CrossmarginError | None) -> dict[str, str | None] | None:
    return None if error is None else error.as_dict()


def gross(book: Book, snapshot: Snapshot) -> Floats:
    """Gross notional of accounts in US dollars, at the index."""
    terms = book.registry.terms
    index = book.position_instrument
    usd = np.nan_to_num(snapshot.view(book.registry, []).asset_usd)[terms.underlying[index]]
    in_usd = terms.inverse[index] & ~np.isfinite(terms.strike[index])
    coins = np.abs(book.position_quantity) * terms.contract_size[index]
    notional = np.where(in_usd, coins, coins * usd)
    return np.bincount(
        book.pool_account[book.position_pool], weights=notional, minlength=book.size
    ).astype(np.float64)


def with_holes(snapshot: Snapshot) -> Snapshot:
    """Return a market without some prices: the last contract and each fiftieth, rates, forwards."""
    last = len(snapshot.quotes) - 1
    kept = [pair for n, pair in enumerate(snapshot.quotes.items()) if n % 50 != 7 and n != last]
    quotes = dict(kept)
    forwards = dict(snapshot.forwards)
    for turn, key in enumerate(sorted(forwards)):
        if turn % 7 == 3:
            forwards[key] = replace(forwards[key], rate=None)
        if turn % 11 == 9:
            del forwards[key]
    return replace(snapshot, quotes=quotes, forwards=forwards)


if __name__ == "__main__":
    sys.exit(main())
