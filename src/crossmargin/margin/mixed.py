"""Evaluating an account in a market that was put together: columns from several moments.

Source: house; what is evaluated is the engine's own requirement and equity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crossmargin.book import Book
from crossmargin.errors import CrossmarginError, MarketDataError
from crossmargin.margin._arrange import arrange
from crossmargin.margin._frame import Frame
from crossmargin.margin._location import counted_book
from crossmargin.margin.engine import (
    at_index,
    mark_entries,
    require_orders_known,
    untraded,
)
from crossmargin.margin.evaluation import Evaluation
from crossmargin.margin.ruleset import Ruleset
from crossmargin.margin.trades import evaluation_of
from crossmargin.market import MarketView


def evaluate_in(book: Book, view: MarketView, ruleset: Ruleset) -> Evaluation:
    """Evaluate a book in a market given as columns aligned with its registry.

    Parameters
    ----------
    book : Book
        Accounts.
    view : MarketView
        Over the book's registry as it is; at marks, whatever the rule-set values perpetuals at.
    ruleset : Ruleset
        The rules.

    Raises
    ------
    MarketDataError
        ``MKT-001`` for a price that the account or the rules need and the columns do not have.
    CrossmarginError
        What the rule-set refuses.
    """
    try:
        book, left_out = counted_book(book, ruleset, view.as_of_ns)
        arrangement = arrange(book, ruleset)
        require_orders_known(book, ruleset)
        for index in book.instruments_used().tolist():
            error = untraded(book.registry, index, ruleset)
            if error is not None:
                raise error
            if np.isnan(view.price_fixed[index] + view.price_variable[index]):
                raise _missing(book.registry[index].id)
        names = book.registry.assets
        needed = {names[a] for a in arrangement.group_underlying}
        needed |= {names[a] for a in book.balance_asset[book.balance_amount != 0.0]}
        if ruleset.data.numeraire not in ("USD", "settlement"):
            needed.add(ruleset.data.numeraire)
        for name in sorted(needed - {"USD"}):
            if name not in names or np.isnan(view.asset_usd[names.index(name)]):
                raise _missing(name)
        if ruleset.data.price_view == "index":
            view = at_index(view, book.registry)
        entry = mark_entries(book, view)
        frame = Frame(
            book, ruleset, arrangement, view, "numpy", entry, left_out=left_out, shares=False
        )
        return evaluation_of(frame)
    except CrossmarginError as error:
        raise error.located(account=book.account_ids[0] if book.size == 1 else None) from None


def _missing(name: str) -> MarketDataError:
    return MarketDataError(
        f"the market put together has no price for {name}",
        code="MKT-001",
        field=name,
        hint=f"add {name} to both markets",
    )


def prepare(books: Sequence[Book], rulesets: Sequence[Ruleset]) -> None:
    """Let the registry that some books share learn every asset that the rules name.

    To be called before columns are made for it: rules may count in an asset that nobody holds.
    """
    for book in books:
        for ruleset in rulesets:
            arrange(book, ruleset)
