"""The market of a live book: a snapshot, and what has moved since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import MarketDataError
from crossmargin.instruments import KIND_CODE, Option, Registry, Terms
from crossmargin.market import InstrumentQuote, MarketView, Snapshot
from crossmargin.market._view import option_vol
from crossmargin.market.moved import MovedMarket, check_price

Floats = NDArray[np.float64]


class World:
    """A snapshot moved by prices, volatilities and time.

    Prices move as :class:`~crossmargin.market.moved.MovedMarket` says: forwards, futures,
    perpetuals and spot in proportion, volatilities by strike. Whoever feeds prices has judged
    them: verdicts on the snapshot's prices are left behind.

    Parameters
    ----------
    snapshot : Snapshot
        Where it begins.
    registry : Registry
        Instruments.

    Notes
    -----
    Ratios are taken from the prices of the snapshot, not tick upon tick, so that rounding does
    not add up.
    """

    def __init__(self, snapshot: Snapshot, registry: Registry) -> None:
        self._registry = registry
        self._start(replace(snapshot, trust=None))
        self._shown: dict[str, float] = {}

    def _start(self, base: Snapshot) -> None:
        self._base = base
        self._moved = MovedMarket(base, self._registry)
        self._prices: dict[str, float] = {}
        self._vols: dict[str, float] = {}
        self._scaled: Floats | None = None

    @property
    def prices_usd(self) -> dict[str, float]:
        """Assets that have moved since the snapshot, with their prices."""
        return self._shown | self._prices

    def rebase(self) -> None:
        """Count moves from here on: the market stays what it is."""
        shown = self.prices_usd
        self._start(self.snapshot())
        self._shown = shown

    def at(self, moment_ns: int) -> World:
        """Return the same prices and volatilities at a later moment.

        Raises
        ------
        MarketDataError
            ``MKT-006`` for a moment before the snapshot.
        """
        out = World(self.snapshot().at(moment_ns), self._registry)
        out._shown = self.prices_usd
        return out

    def set_prices(self, prices_usd: Mapping[str, float]) -> None:
        """Set prices of some assets.

        Raises
        ------
        MarketDataError
            ``MKT-001`` for an asset without a price in the market, ``MKT-009`` for a price that
            is not positive. Nothing is changed then.
        """
        for name, price in prices_usd.items():
            check_price(self._base, name, price)
        self._prices.update({name: float(price) for name, price in prices_usd.items()})

    def scale_vols(self, underlying: str, factor: float) -> None:
        """Multiply the volatilities of an underlying's options.

        Raises
        ------
        MarketDataError
            ``MKT-115`` when the factor is not positive.
        """
        if not 0.0 < factor < float("inf"):
            raise MarketDataError(
                f"volatilities cannot be multiplied by {factor:g}",
                code="MKT-115",
                field=f"vol.{underlying}",
                hint="give a factor above 0",
            )
        self._vols[underlying] = self._vols.get(underlying, 1.0) * factor
        self._scaled = None

    def ratio(self, assets: int) -> Floats:
        """Price of each of the registry's first assets over its price in the snapshot."""
        names = self._registry.assets[:assets]
        return np.array(
            [
                self._prices[name] / self._base.assets[name].price_usd
                if name in self._prices
                else 1.0
                for name in names
            ]
        )

    def moved_view(self, view: MarketView, terms: Terms) -> MarketView:
        """Return the snapshot's own view, moved to where the market is.

        Parameters
        ----------
        view : MarketView
            Of the snapshot as it was when this world began.
        terms : Terms
            Of the registry.
        """
        if self._prices:
            view = view.shocked(self.ratio(view.asset_usd.size), terms)
        if self._vols:
            if self._scaled is None:
                names = self._registry.assets[: view.asset_usd.size]
                factor = np.array([self._vols.get(name, 1.0) for name in names])[terms.underlying]
                option = terms.kind == KIND_CODE["option"]
                self._scaled = np.where(option, view.vol * factor, view.vol)
            # The same array until volatilities change again: rows by scenario are kept by it.
            view = replace(view, vol=self._scaled)
        return view

    def snapshot(self) -> Snapshot:
        """Return the market as it is now."""
        now = self._moved.at(self._prices) if self._prices else self._base
        return self._with_vols(now)

    def _with_vols(self, now: Snapshot) -> Snapshot:
        """Write the volatilities that have been scaled into the quotes of their options.

        Those of options whose quote currency has moved are written out too: a surface is read at
        a strike in dollars, and volatilities are to stay with their strikes.
        """
        quotes = dict(now.quotes)
        for item in self._registry:
            if not isinstance(item, Option) or item.expiry_ns <= now.moment_ns:
                continue
            if item.underlying not in self._vols and item.quote not in self._prices:
                continue
            try:
                vol = option_vol(self._base, item)
            except MarketDataError:
                continue
            quote = quotes.get(item.id) or InstrumentQuote(time_ns=now.as_of_ns, source=now.source)
            quotes[item.id] = replace(quote, vol=vol * self._vols.get(item.underlying, 1.0))
        return replace(now, quotes=quotes)
