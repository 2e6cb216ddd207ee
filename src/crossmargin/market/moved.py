"""The same market at other prices of its coins: what a tick of a recording does to a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from crossmargin.errors import MarketDataError
from crossmargin.instruments import Option, Registry
from crossmargin.market.snapshot import Forward, InstrumentQuote, Snapshot


class MovedMarket:
    """A snapshot whose coin prices may be set anew, again and again.

    With a coin's index move, in proportion, its spot, perpetuals and futures and the forwards of
    its expiries (the basis is kept as a ratio). Volatilities stay with their strikes; what a
    settlement has already averaged, funding rates and the moment of valuation stay. This is
    :meth:`~crossmargin.market.MarketView.shocked` on a snapshot.

    Sources and policy of trust are left behind: nobody has judged the new prices.

    Parameters
    ----------
    snapshot : Snapshot
        The market that moves.
    registry : Registry
        Instruments that must move with it; quotes of others stay.

    Notes
    -----
    Source: house (``docs/book.md``); volatilities sticky by strike, as in every shock of the house.
    """

    def __init__(self, snapshot: Snapshot, registry: Registry) -> None:
        self._snapshot = replace(snapshot, trust=None)
        self._linear = {
            item.id: (item.underlying, item.quote)
            for item in registry
            if not isinstance(item, Option) and item.id in snapshot.quotes
        }

    @property
    def snapshot(self) -> Snapshot:
        """The market before anything moved."""
        return self._snapshot

    def at(self, prices_usd: Mapping[str, float]) -> Snapshot:
        """Return the market with these prices.

        Parameters
        ----------
        prices_usd : mapping of str to float
            New price of each coin that has moved, US dollars; others stay.

        Raises
        ------
        MarketDataError
            ``MKT-001`` for a coin that the market has no price of, ``MKT-009`` for a price that
            is not positive.
        """
        base = self._snapshot
        ratio = {name: self._ratio(name, price) for name, price in prices_usd.items()}
        return replace(
            base,
            assets={
                k: replace(v, price_usd=prices_usd[k]) if k in prices_usd else v
                for k, v in base.assets.items()
            },
            forwards={k: _forward(v, ratio.get(k[0], 1.0)) for k, v in base.forwards.items()},
            quotes={k: self._quote(k, v, ratio) for k, v in base.quotes.items()},
        )

    def _ratio(self, name: str, price: float) -> float:
        check_price(self._snapshot, name, price)
        return price / self._snapshot.assets[name].price_usd

    def _quote(
        self, name: str, quote: InstrumentQuote, ratio: Mapping[str, float]
    ) -> InstrumentQuote:
        underlying, paid_in = self._linear.get(name, ("", ""))
        by = ratio.get(underlying, 1.0) / ratio.get(paid_in, 1.0)
        if by == 1.0:
            return quote
        return replace(
            quote,
            price_mark=_times(quote.price_mark, by),
            bid=_times(quote.bid, by),
            ask=_times(quote.ask, by),
        )


def check_price(snapshot: Snapshot, name: str, price: float) -> None:
    """Refuse a new price of a coin that cannot be moved, or that is no price.

    Raises
    ------
    MarketDataError
        ``MKT-001`` for a coin that the market has no price of, ``MKT-009`` for a price that is
        not positive.
    """
    if name not in snapshot.assets:
        raise MarketDataError(
            f"the market has no price for {name}, so that nothing can move with it",
            code="MKT-001",
            field=f"assets.{name}",
            hint=f"add {name} with its price in US dollars to the market",
        )
    if not 0.0 < price < float("inf"):
        raise MarketDataError(
            f"{price:g} is no price of {name}", code="MKT-009", field=f"assets.{name}"
        )


def _times(value: float | None, by: float) -> float | None:
    return None if value is None else value * by


def _forward(forward: Forward, by: float) -> Forward:
    if by == 1.0:
        return forward
    parts = forward.parts_usd
    return replace(
        forward,
        price_usd=forward.price_usd * by,
        parts_usd=None if parts is None else (parts[0], parts[1] * by),
    )
