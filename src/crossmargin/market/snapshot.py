"""A snapshot: one moment's market, every price with its age, source and confidence.

Missing is missing: a price that is not there is absent from the columns (NaN), never 0, and
whoever needs it gets a :class:`~crossmargin.errors.MarketDataError` that names it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import MarketDataError
from crossmargin.instruments import Option, Registry, Terms, expiry_of
from crossmargin.market.depth import OrderBook
from crossmargin.market.factor_history import FactorHistory
from crossmargin.market.liquidity import Liquidity, LiquidityColumns
from crossmargin.market.svi import SviSlice
from crossmargin.pricing import SETTLEMENT_WINDOW_S
from crossmargin.units import NS_PER_SECOND, format_time

if TYPE_CHECKING:
    from crossmargin.market.trust import PriceTrust, ProtectState

#: Confidence is kept exact: this integer stands for 1.0.
CONFIDENCE_ONE = 10**18

#: Columns of a view's confidences.
CONFIDENCE_FEEDS: tuple[str, ...] = ("perpetual", "forward", "rate", "vol")

#: Deribit's delivery price is the average of the index over the last half hour; the same
#: window is used by Derive (``derive-v2`` §1.2, 1800 s).
SETTLEMENT_WINDOW_NS = int(SETTLEMENT_WINDOW_S) * NS_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetPrice:
    """Price of an asset in US dollars: a coin's index, or a stablecoin's rate.

    Attributes
    ----------
    price_usd : float
        Positive.
    time_ns : int
        When it was observed.
    source : str
        Who said so.
    confidence : int
        1e-18 units; ``CONFIDENCE_ONE`` is full confidence.
    """

    price_usd: float
    time_ns: int
    source: str = ""
    confidence: int = CONFIDENCE_ONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Forward of one underlying at one expiry, in US dollars.

    Attributes
    ----------
    price_usd : float
        Forward of the index itself, without what a settlement has already averaged.
    average_usd : float or None
        Average of the index collected so far in the settlement window; None when the window has
        not begun or the feed does not say.
    parts_usd : tuple of (float, float) or None
        Settled and moving part of the forward as the venue's own feed states them. They replace
        `price_usd` and the average worked out from it, and price a contract that has expired
        and is not yet settled.
    rate : float or None
        Interest rate to the expiry, per year; None when the market says nothing.
    time_ns, source
        As for :class:`AssetPrice`.
    confidence, rate_confidence, vol_confidence : int
        Of the forward, the rate and the volatilities of the expiry; 1e-18 units.
    """

    price_usd: float
    average_usd: float | None = None
    parts_usd: tuple[float, float] | None = None
    rate: float | None = None
    time_ns: int = 0
    source: str = ""
    confidence: int = CONFIDENCE_ONE
    rate_confidence: int = CONFIDENCE_ONE
    vol_confidence: int = CONFIDENCE_ONE


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentQuote:
    """What the market says of one instrument.

    Attributes
    ----------
    price_mark : float or None
        Mark price: quote currency for futures, perpetuals, spot and linear options; coins for
        inverse options.
    vol : float or None
        Mark volatility of an option, per year, as a decimal.
    funding_rate_8h : float or None
        Funding of a perpetual over the next eight hours as a fraction; > 0 when longs pay.
    bid, ask : float or None
        Best quotes, same unit as the mark.
    time_ns, source, confidence
        As for :class:`AssetPrice`.
    """

    price_mark: float | None = None
    vol: float | None = None
    funding_rate_8h: float | None = None
    bid: float | None = None
    ask: float | None = None
    time_ns: int = 0
    source: str = ""
    confidence: int = CONFIDENCE_ONE


@dataclass(frozen=True, slots=True)
class MarketView:
    """The market as columns aligned with one registry: what pricing and margin read.

    All prices are per unit of the underlying coin, in the instrument's quote currency.

    Attributes
    ----------
    as_of_ns : int
        Moment of valuation.
    asset_usd : float64[A]
        US dollars per unit of each asset of the registry.
    price_fixed, price_variable : float64[n]
        Mark price of spot, perpetuals and futures, or the forward of an option, split into the
        part that is already settled and the part that still moves with the index.
    vol : float64[n]
        Volatility of options; NaN elsewhere.
    years : float64[n]
        ACT/365 years to expiry, at least 0; ``inf`` where there is no expiry.
    funding_rate_8h : float64[n]
        NaN where the market says nothing.
    settled : bool[n]
        Expired by `as_of_ns`: worth its settlement value, without risk.
    rate : float64[n]
        Interest rate to the expiry, per year; NaN where the market says nothing.
    asset_confidence : int64[A]
        Of each asset's price, 1e-18 units.
    confidence : int64[n, 4]
        Of each instrument's mark, forward, rate and volatility, in the order of
        ``CONFIDENCE_FEEDS``.
    liquidity : LiquidityColumns
        Volume, open interest, volatility and spread: sizes in coins, which no shock moves.
    protect : ProtectState or None
        Which of these prices may be trusted; None when nobody judges them.
    history : FactorHistory or None
        Past prices, which no shock moves.
    """

    as_of_ns: int
    asset_usd: NDArray[np.float64]
    price_fixed: NDArray[np.float64]
    price_variable: NDArray[np.float64]
    vol: NDArray[np.float64]
    years: NDArray[np.float64]
    funding_rate_8h: NDArray[np.float64]
    settled: NDArray[np.bool_]
    rate: NDArray[np.float64]
    asset_confidence: NDArray[np.int64]
    confidence: NDArray[np.int64]
    liquidity: LiquidityColumns
    protect: ProtectState | None = None
    history: FactorHistory | None = None

    @property
    def price(self) -> NDArray[np.float64]:
        """Mark price, or forward of an option: both parts together, shape ``[n]``."""
        return self.price_fixed + self.price_variable

    def shocked(self, ratio: NDArray[np.float64], terms: Terms) -> MarketView:
        """Return the market with each asset's price multiplied by a ratio.

        Marks and forwards move in proportion (the basis is kept as a ratio), volatilities stay
        with their strikes, and what has already been averaged into a settlement stays.

        Parameters
        ----------
        ratio : float64[A]
            Multiplier of each asset of the registry; 1 leaves it alone.
        terms : Terms
            Terms of the instruments this view is aligned with.
        """
        return replace(
            self,
            asset_usd=self.asset_usd * ratio,
            price_variable=self.price_variable * ratio[terms.underlying] / ratio[terms.quote],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One moment's market.

    Attributes
    ----------
    as_of_ns : int
        Moment the prices belong to.
    assets : mapping of str to AssetPrice
        By asset name. US dollars need no entry.
    forwards : mapping of (str, int) to Forward
        By underlying and expiry (ns).
    surfaces : mapping of (str, int) to SviSlice
        Volatility slices by underlying and expiry.
    quotes : mapping of str to InstrumentQuote
        By instrument id.
    settlements : mapping of (str, int) to float
        Settlement prices (USD) of expiries that are past.
    liquidity : mapping of str to Liquidity
        By underlying or instrument id: what the market can absorb.
    depth : mapping of str to OrderBook
        By instrument id.
    source : str
        Where it came from, for people.
    stale_after_s : float
        Prices older than this at `as_of_ns` are refused.
    valued_at_ns : int or None
        Moment of valuation when it differs from `as_of_ns` (see :meth:`at`).
    trust : PriceTrust or None
        Sources of indices, histories of basis and the policy by which prices are judged; None
        when nobody judges them.
    history : FactorHistory or None
        Past daily closes, for rule-sets that look back.
    """

    as_of_ns: int
    assets: Mapping[str, AssetPrice]
    forwards: Mapping[tuple[str, int], Forward] = field(default_factory=dict)
    surfaces: Mapping[tuple[str, int], SviSlice] = field(default_factory=dict)
    quotes: Mapping[str, InstrumentQuote] = field(default_factory=dict)
    settlements: Mapping[tuple[str, int], float] = field(default_factory=dict)
    liquidity: Mapping[str, Liquidity] = field(default_factory=dict)
    depth: Mapping[str, OrderBook] = field(default_factory=dict)
    source: str = ""
    stale_after_s: float = 3_600.0
    valued_at_ns: int | None = None
    trust: PriceTrust | None = None
    history: FactorHistory | None = None

    @property
    def moment_ns(self) -> int:
        """Moment of valuation."""
        return self.as_of_ns if self.valued_at_ns is None else self.valued_at_ns

    def at(self, moment_ns: int) -> Snapshot:
        """Return the same market, valued at a later moment.

        Prices and volatilities stay as they are; only time passes. Contracts that expire by
        then settle at today's index price.

        Raises
        ------
        MarketDataError
            ``MKT-006`` when the moment lies before the snapshot.
        """
        if moment_ns < self.as_of_ns:
            raise MarketDataError(
                f"{format_time(moment_ns)} lies before the market of {format_time(self.as_of_ns)}",
                code="MKT-006",
                field="at",
                hint="give a later time",
            )
        return replace(self, valued_at_ns=moment_ns)

    def asset_usd(self, asset: str) -> float:
        """Return US dollars per unit of `asset`.

        Raises
        ------
        MarketDataError
            ``MKT-001`` missing, ``MKT-002`` stale.
        """
        if asset == "USD":
            return 1.0
        quote = self.assets.get(asset)
        if quote is None:
            raise MarketDataError(
                f"the market has no price for {asset}",
                code="MKT-001",
                field=f"assets.{asset}",
                hint=f"add {asset} with its price in US dollars to the market",
            )
        self._fresh(quote.time_ns, asset)
        return quote.price_usd

    def _fresh(self, time_ns: int, what: str) -> None:
        age_s = (self.as_of_ns - (time_ns or self.as_of_ns)) / NS_PER_SECOND
        if age_s > self.stale_after_s:
            raise MarketDataError(
                f"the price of {what} is {age_s:,.0f} s old, older than the "
                f"{self.stale_after_s:,.0f} s that the market allows",
                code="MKT-002",
                field="time",
                hint="refresh the market, or raise stale_after_s in the market file",
            )

    def view(self, registry: Registry, needed: Iterable[int] | None = None) -> MarketView:
        """Arrange the market as columns aligned with `registry`.

        Parameters
        ----------
        registry : Registry
            Instruments to price.
        needed : iterable of int, optional
            Indices that must be priced; by default all. Others are filled when possible.

        Raises
        ------
        MarketDataError
            The first missing, stale or impossible price among the needed instruments.
        """
        from crossmargin.market._view import build_view

        return build_view(self, registry, needed)

    def restricted_to(
        self, registry: Registry, used: Iterable[int], extra: Iterable[str]
    ) -> Snapshot:
        """Return only what the given instruments and assets need, volatilities read off.

        A surface becomes the volatility of each option, so that the result stands by itself.

        Parameters
        ----------
        registry : Registry
            Names the instruments.
        used : iterable of int
            Indices of instruments that must be priced.
        extra : iterable of str
            Further assets whose price is needed.
        """
        from crossmargin.market._view import option_vol

        assets = set(extra)
        forwards, quotes, settlements = {}, {}, {}
        names = set()
        for index in used:
            item = registry[index]
            names.add(item.id)
            assets |= {item.underlying, item.settlement, item.quote}
            expiry = expiry_of(item)
            if expiry is not None:
                key = (item.underlying, expiry)
                if key in self.forwards:
                    forwards[key] = self.forwards[key]
                if key in self.settlements:
                    settlements[key] = self.settlements[key]
            quote = self.quotes.get(item.id)
            if isinstance(item, Option) and expiry is not None and expiry > self.moment_ns:
                base = quote or InstrumentQuote(time_ns=self.as_of_ns, source=self.source)
                quote = replace(base, vol=option_vol(self, item))
            if quote is not None:
                quotes[item.id] = quote
        return replace(
            self,
            assets={k: v for k, v in self.assets.items() if k in assets},
            forwards=forwards,
            surfaces={},
            quotes=quotes,
            settlements=settlements,
            liquidity={k: v for k, v in self.liquidity.items() if k in assets | names},
            depth={k: v for k, v in self.depth.items() if k in names},
            trust=None if self.trust is None else self.trust.restricted_to(assets, quotes),
        )

    @property
    def content_hash(self) -> str:
        """SHA-256 over the whole content, independent of the order of entries."""
        digest = hashlib.sha256()
        digest.update(repr((self.as_of_ns, self.moment_ns, self.stale_after_s)).encode())
        tables: list[Mapping[Any, Any]] = [
            self.assets,
            self.forwards,
            self.surfaces,
            self.quotes,
            self.settlements,
            self.liquidity,
            self.depth,
        ]
        for table in tables:
            for key in sorted(table):
                digest.update(repr((key, table[key])).encode())
            digest.update(b"|")
        if self.trust is not None:
            digest.update(self.trust.content)
        if self.history is not None:
            digest.update(self.history.content_hash.encode())
        return digest.hexdigest()
