"""What a rule-set needs to know of the market before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UnsetType

from crossmargin.book import Book
from crossmargin.instruments import Option, expiry_of
from crossmargin.margin.components import SizeComponent
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketNeeds:
    """What a book needs of a market under a rule-set; names sorted.

    Attributes
    ----------
    assets : tuple of str
        Assets whose price in US dollars is needed.
    instruments : tuple of str
        Contracts held or ordered.
    options : tuple of str
        Those of them that need a volatility, of their own or by a surface.
    liquidity : tuple of str
        Underlyings or instruments whose liquidity is charged for.
    history : tuple of str
        Coins whose past daily closes are looked at.
    """

    assets: tuple[str, ...]
    instruments: tuple[str, ...]
    options: tuple[str, ...]
    liquidity: tuple[str, ...]
    history: tuple[str, ...]

    def without_history(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the coins that the market's history does not have."""
        known = () if snapshot.history is None else snapshot.history.coins
        return tuple(name for name in self.history if name not in known)


def market_needs(book: Book, ruleset: Ruleset) -> MarketNeeds:
    """Return what a book needs of a market under a rule-set; no price is read.

    Liquidity and history are named where a component of the rule-set looks at them; assets that
    the rule-set calls stable need no history.
    """
    registry, data = book.registry, ruleset.data
    held = [registry[int(i)] for i in book.instruments_used()]
    balances = {registry.assets[int(a)] for a in book.balance_asset[book.balance_amount != 0.0]}
    assets = balances | {n for i in held for n in (i.underlying, i.settlement, i.quote)}
    sized: set[str] = set()
    for spec in data.components:
        if isinstance(spec, SizeComponent):
            mine = [i for i in held if i.kind in spec.kinds]
            sized |= {i.underlying if spec.per == "underlying" else i.id for i in mine}
    past: set[str] = set()
    if not isinstance(data.tail, UnsetType):
        rules = data.collateral.assets
        stressed = {
            name
            for name in balances
            for rule in [rules.get(name) or rules.get("default")]
            if rule is not None and rule.stress != "none"
        }
        touched = {n for i in held for n in (i.underlying, i.settlement, i.quote)} | stressed
        free = {"USD", *data.tail.stable}
        past = {data.groups.get(name, name) for name in touched - free} - free
    return MarketNeeds(
        assets=tuple(sorted(assets - {"USD"})),
        instruments=tuple(sorted(i.id for i in held)),
        options=tuple(sorted(i.id for i in held if isinstance(i, Option) and expiry_of(i))),
        liquidity=tuple(sorted(sized)),
        history=tuple(sorted(past)),
    )
