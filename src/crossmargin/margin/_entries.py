"""Entry prices of positions that have none: the mark when the book is taken on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]


def marks(book: CompactBook, snapshot: Snapshot, ruleset: Ruleset) -> Floats:
    """Return the mark of every instrument, as the engine sees it; NaN where there is none."""
    from crossmargin.margin.engine import at_index

    view = snapshot.view(book.registry, [])
    if ruleset.data.price_view == "index":
        view = at_index(view, book.registry)
    return view.price


def entered(book: CompactBook, snapshot: Snapshot, ruleset: Ruleset) -> CompactBook:
    """Return a book whose positions without an entry price are entered at the mark.

    Margining a book once, they have no profit; in a market that moves they have one from then on.
    What has no mark stays without.

    Parameters
    ----------
    book : CompactBook
        Accounts; not changed.
    snapshot : Snapshot
        Where the market begins.
    ruleset : Ruleset
        Whose marks count.
    """
    rest = book.rest
    blank = np.isnan(book.position_entry)
    blank_too = rest is not None and bool(np.isnan(rest.position_entry).any())
    if not blank.any() and not blank_too:
        return book
    mark = marks(book, snapshot, ruleset)
    if rest is not None:
        at = mark[rest.position_instrument]
        entry = np.where(np.isnan(rest.position_entry), at, rest.position_entry)
        rest = replace(rest, position_entry=entry)
    at = mark[book.position_instrument]
    return replace(book, position_entry=np.where(blank, at, book.position_entry), rest=rest)
