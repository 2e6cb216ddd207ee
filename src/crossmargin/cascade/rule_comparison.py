"""The same accounts, news and market under several rule-sets: cross against portfolio margin.

Populations are margined position by position, so that cross and isolated margin differ there by
walls alone. What nets between positions needs the margin engine: here one book is run under each
rule-set by :func:`crossmargin.cascade.on_rules.cascade_on_rules`, on the same path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossmargin.book import CompactBook
from crossmargin.cascade.on_rules import BookRules, cascade_on_rules
from crossmargin.cascade.setting import CascadeMarket
from crossmargin.margin import Ruleset
from crossmargin.market import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesetOutcome:
    """What a book came to under one rule-set; money in US dollars.

    Attributes
    ----------
    ruleset : str
        Id.
    complete : bool
        Whether every figure of it is published; see its statement for the gaps.
    drop, news_drop : float
        Lowest price of the lead coin over its first, less 1: as it went, and without forced
        sales and hedging.
    liquidated_usd : float
        Delta closed by force in futures, perpetuals and spot.
    accounts : tuple of int
        Rows of the book of which anything was closed by force.
    bad_debt_usd, fund_usd : float
        Losses that nobody bore, and what the fund paid net of fees.
    """

    ruleset: str
    complete: bool
    drop: float
    news_drop: float
    liquidated_usd: float
    accounts: tuple[int, ...]
    bad_debt_usd: float
    fund_usd: float


def compare_rulesets(
    book: CompactBook,
    snapshot: Snapshot,
    rulesets: Sequence[Ruleset],
    market: CascadeMarket,
    rules: BookRules | None = None,
    *,
    assets: Sequence[str],
    lead: int = 0,
) -> list[RulesetOutcome]:
    """Run a book under several rule-sets on one path.

    Parameters
    ----------
    book, snapshot, market, rules, assets
        As for :func:`crossmargin.cascade.on_rules.cascade_on_rules`: the same for each rule-set.
    rulesets : sequence of Ruleset
        For example a standard and a portfolio margin of one venue. Rule-sets that fence every
        position are refused; for those see ``population.walls``.
    lead : int
        Column of `assets` whose price is reported.

    Returns
    -------
    list of RulesetOutcome
        In the order given.
    """
    found = []
    for ruleset in rulesets:
        run = cascade_on_rules(book, snapshot, ruleset, market, rules, assets=assets)
        price, news = run.price[:, lead], run.exogenous[:, lead]
        found.append(
            RulesetOutcome(
                ruleset=ruleset.id,
                complete=ruleset.complete,
                drop=float(price.min() / price[0] - 1.0),
                news_drop=float(news.min() / news[0] - 1.0),
                liquidated_usd=float(run.sold.sum() + run.bought.sum()),
                accounts=tuple(int(row) for row in run.hit.nonzero()[0]),
                bad_debt_usd=float(run.bad_debt.sum()),
                fund_usd=float(run.fund[0] + run.fees.sum() - run.fund[-1]),
            )
        )
    return found
