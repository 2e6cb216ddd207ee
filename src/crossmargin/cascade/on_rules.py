"""The same cascade over a book under any rule-set, options included.

News, books, marks, funding, impact and halts are those of the simulation of populations; what is
swapped is the view of margin. Who is due comes from the live book and its trigger prices, an
account that is due is the account itself under its rule-set, and what is closed of it is decided by
the liquidation room's engine, one account at a time. That is exact and slow: for thousands of
accounts, not a million.

What options do to a cascade: whoever stands against the accounts hedges their delta. When the
price moves, or an option is closed by force, that delta changes and is traded in the market. If
accounts are long gamma their counterparties are short of it and sell into a fall; if accounts are
short gamma, hedging holds the price (a term −Γ·S²/D of the loop gain, Γ the hedgers'; cascades.md
§1.2 and the issue's own condition).
"""

from __future__ import annotations

from collections.abc import Sequence

from crossmargin.book import CompactBook
from crossmargin.cascade._book_types import BookCascade, BookRules
from crossmargin.cascade.setting import CascadeMarket
from crossmargin.margin import Ruleset
from crossmargin.market import Snapshot

__all__ = ["BookCascade", "BookRules", "cascade_on_rules"]


def cascade_on_rules(
    book: CompactBook,
    snapshot: Snapshot,
    ruleset: Ruleset,
    market: CascadeMarket,
    rules: BookRules | None = None,
    *,
    assets: Sequence[str],
    contracts: int | None = None,
) -> BookCascade:
    """Run a cascade over a book under a rule-set.

    Parameters
    ----------
    book : CompactBook
        Accounts of positions and balances.
    snapshot : Snapshot
        The market at the start; volatilities stay with their strikes, time stands still for
        margins (a cascade is short).
    ruleset : Ruleset
        Any of the catalogue. Quick where it is computed in one pass with trigger prices
        (docs/models/triggers.md); else the whole book is computed at every price.
    market : CascadeMarket
        News by asset, and how prices take flow. Margins and behaviour are for populations and
        are refused here.
    rules : BookRules, optional
        Default the house's.
    assets : sequence of str
        Coins of the columns of `market.exogenous`.
    contracts : int, optional
        K: forced trades in the first K coins move prices. Default as many as there are depths, or
        all where one depth is for all.

    Raises
    ------
    CascadeError
        ``CAS-001`` a market that does not fit, ``CAS-003`` a coin without a price.
    LiquidationError
        ``LIQ-011`` a figure that the rules lack.

    Notes
    -----
    All contracts on one coin share its depth. An order fills where the coin's fills put its
    contract: forwards keep their ratio to the index, options their volatility.
    """
    # Compiled kernels load with it: only who runs it waits for them.
    from crossmargin.cascade._book_run import Run

    run = Run(book, snapshot, ruleset, market, rules or BookRules(), assets, contracts)
    for step in range(run.steps):
        run.step(step)
    return run.result()
