"""Aligning a snapshot with a registry: which price, forward and volatility each row takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from crossmargin.errors import MarketDataError
from crossmargin.instruments import Future, Instrument, Option, Registry, expiry_of
from crossmargin.market.liquidity import liquidity_columns
from crossmargin.pricing import SETTLEMENT_WINDOW_S, settlement_parts
from crossmargin.units import NS_PER_SECOND, format_time, year_fraction

if TYPE_CHECKING:
    from crossmargin.market.snapshot import MarketView, Snapshot


def missing_prices(
    snapshot: Snapshot, registry: Registry, needed: Iterable[int]
) -> tuple[MarketView, dict[int, MarketDataError]]:
    """Build the columns, and say of each needed instrument that has no price why.

    Parameters
    ----------
    snapshot : Snapshot
        The market.
    registry : Registry
        Instruments to price.
    needed : iterable of int
        Indices that are wanted.

    Returns
    -------
    MarketView
        NaN in the rows of what cannot be priced.
    dict of int to MarketDataError
        By index, in the order of the registry.
    """
    missing: dict[int, MarketDataError] = {}
    return build_view(snapshot, registry, needed, missing), missing


class Priced:
    """A market that is priced once for many books over the same instruments.

    Parameters
    ----------
    snapshot : Snapshot
        The market.
    registry : Registry
        The instruments that the books share.
    """

    def __init__(self, snapshot: Snapshot, registry: Registry) -> None:
        self._snapshot, self._registry = snapshot, registry
        self._made: tuple[MarketView, dict[int, MarketDataError]] | None = None

    def view(self, needed: Iterable[int]) -> MarketView:
        """Return the market as columns; as :meth:`Snapshot.view` would, of these instruments.

        Raises
        ------
        MarketDataError
            The first missing, stale or impossible price among the needed instruments.
        """
        if self._made is None:
            everything = range(len(self._registry))
            self._made = missing_prices(self._snapshot, self._registry, everything)
        view, missing = self._made
        first = min(missing.keys() & set(needed), default=None)
        if first is not None:
            # Whoever gets it writes its own account into it.
            raise missing[first].copy()
        return view


def build_view(
    snapshot: Snapshot,
    registry: Registry,
    needed: Iterable[int] | None = None,
    missing: dict[int, MarketDataError] | None = None,
) -> MarketView:
    """Build the columns; see :meth:`Snapshot.view`.

    With `missing`, a needed instrument without a price is noted there instead of being raised.
    """
    from crossmargin.market.snapshot import CONFIDENCE_FEEDS, CONFIDENCE_ONE, MarketView
    from crossmargin.market.trust import assess

    required = set(range(len(registry)) if needed is None else needed)
    size = len(registry)
    fixed = np.full(size, np.nan)
    variable = np.full(size, np.nan)
    vol = np.full(size, np.nan)
    years = np.full(size, np.inf)
    funding = np.full(size, np.nan)
    settled = np.zeros(size, dtype=np.bool_)
    rate = np.full(size, np.nan)
    confidence = np.full((size, len(CONFIDENCE_FEEDS)), CONFIDENCE_ONE, dtype=np.int64)
    asset_usd = np.array([_asset_or_nan(snapshot, name) for name in registry.assets])
    for index, instrument in enumerate(registry):
        try:
            row = _row(snapshot, instrument)
        except MarketDataError as error:
            if index in required:
                error.located(instrument=instrument.id)
                if missing is None:
                    raise error from None
                missing[index] = error
            continue
        fixed[index], variable[index], vol[index], years[index] = row[:4]
        funding[index], settled[index] = row[4], row[5]
        rate[index], confidence[index] = _feeds(snapshot, instrument)
    return MarketView(
        as_of_ns=snapshot.moment_ns,
        asset_usd=asset_usd,
        price_fixed=fixed,
        price_variable=variable,
        vol=vol,
        years=years,
        funding_rate_8h=funding,
        settled=settled,
        rate=rate,
        asset_confidence=np.array(
            [_asset_confidence(snapshot, name) for name in registry.assets], dtype=np.int64
        ),
        confidence=confidence,
        liquidity=liquidity_columns(snapshot.liquidity, registry, snapshot.as_of_ns),
        protect=assess(snapshot),
        history=snapshot.history,
    )


def _asset_confidence(snapshot: Snapshot, name: str) -> int:
    from crossmargin.market.snapshot import CONFIDENCE_ONE

    quote = snapshot.assets.get(name)
    return CONFIDENCE_ONE if quote is None else quote.confidence


def _feeds(snapshot: Snapshot, instrument: Instrument) -> tuple[float, tuple[int, int, int, int]]:
    """Return the rate to the expiry, and how far mark, forward, rate and vol are trusted."""
    from crossmargin.market.snapshot import CONFIDENCE_ONE

    quote = snapshot.quotes.get(instrument.id)
    own = CONFIDENCE_ONE if quote is None else quote.confidence
    expiry = expiry_of(instrument)
    if expiry is None:
        return math.nan, (own, CONFIDENCE_ONE, CONFIDENCE_ONE, CONFIDENCE_ONE)
    forward = snapshot.forwards.get((instrument.underlying, expiry))
    if forward is None:
        return math.nan, (own, CONFIDENCE_ONE, CONFIDENCE_ONE, own)
    vol = min(own, forward.vol_confidence)
    rate = math.nan if forward.rate is None else forward.rate
    return rate, (own, forward.confidence, forward.rate_confidence, vol)


def _asset_or_nan(snapshot: Snapshot, name: str) -> float:
    try:
        return snapshot.asset_usd(name)
    except MarketDataError:
        # Missing or stale: whoever needs it asks by name and gets the reason.
        return math.nan


def _row(
    snapshot: Snapshot, instrument: Instrument
) -> tuple[float, float, float, float, float, bool]:
    """Return fixed, variable, vol, years, funding, settled for one instrument."""
    snapshot.asset_usd(instrument.underlying)
    snapshot.asset_usd(instrument.settlement)
    if isinstance(instrument, Future | Option):
        return _dated_row(snapshot, instrument)
    quote = snapshot.quotes.get(instrument.id)
    price = None if quote is None else quote.price_mark
    if price is None and instrument.kind == "spot":
        price = snapshot.asset_usd(instrument.underlying) / snapshot.asset_usd(instrument.quote)
    if price is None:
        raise MarketDataError(
            f"the market has no mark price for {instrument.id}",
            code="MKT-003",
            instrument=instrument.id,
            field="price_mark",
            hint=f"add {instrument.id} with its price_mark to the market's instruments",
        )
    if quote is not None:
        snapshot._fresh(quote.time_ns, instrument.id)
    rate = quote.funding_rate_8h if quote is not None else None
    return 0.0, price, math.nan, math.inf, math.nan if rate is None else rate, False


def _dated_row(
    snapshot: Snapshot, instrument: Future | Option
) -> tuple[float, float, float, float, float, bool]:
    years = year_fraction(snapshot.moment_ns, instrument.expiry_ns)
    per_usd = 1.0 / snapshot.asset_usd(instrument.quote)
    feed = snapshot.forwards.get((instrument.underlying, instrument.expiry_ns))
    if feed is not None and feed.parts_usd is not None:
        known = (instrument.underlying, instrument.expiry_ns) in snapshot.settlements
        if years > 0 or not known:
            return _stated_row(snapshot, instrument, feed.parts_usd, years, per_usd)
    if years <= 0:
        price = _settlement_price(snapshot, instrument)
        return price * per_usd, 0.0, 0.0, 0.0, math.nan, True
    fixed, variable = _forward_parts(snapshot, instrument, per_usd)
    vol = option_vol(snapshot, instrument) if isinstance(instrument, Option) else math.nan
    return fixed, variable, vol, years, math.nan, False


def _stated_row(
    snapshot: Snapshot,
    instrument: Future | Option,
    parts_usd: tuple[float, float],
    years: float,
    per_usd: float,
) -> tuple[float, float, float, float, float, bool]:
    """Take the forward as a feed states it: what has expired stays open until it is settled."""
    vol = math.nan
    if isinstance(instrument, Option):
        vol = option_vol(snapshot, instrument) if years > 0 else 0.0
    fixed, variable = (part * per_usd for part in parts_usd)
    return fixed, variable, vol, max(years, 0.0), math.nan, False


def _no_forward(instrument: Future | Option) -> MarketDataError:
    return MarketDataError(
        f"the market has no forward of {instrument.underlying} for "
        f"{format_time(instrument.expiry_ns)}",
        code="MKT-004",
        instrument=instrument.id,
        field="forwards",
        hint="add the forward of that expiry to the market, or use an expiry it lists",
    )


def _settlement_price(snapshot: Snapshot, instrument: Future | Option) -> float:
    key = (instrument.underlying, instrument.expiry_ns)
    known = snapshot.settlements.get(key)
    if known is not None:
        return known
    if instrument.expiry_ns <= snapshot.as_of_ns:
        raise MarketDataError(
            f"{instrument.id} expired on {format_time(instrument.expiry_ns)}, before the market "
            f"of {format_time(snapshot.as_of_ns)}, and the market has no settlement price for it",
            code="MKT-007",
            instrument=instrument.id,
            field="settlements",
            hint="remove the position, or add the settlement price to the market",
        )
    # Time was moved past the expiry on an unchanged market: what was averaged stays, the rest
    # of the window sees today's index.
    index = snapshot.asset_usd(instrument.underlying)
    forward = snapshot.forwards.get(key)
    known = None if forward is None else forward.average_usd
    return _average(snapshot, instrument.expiry_ns, index, known, SETTLEMENT_WINDOW_S)


def _elapsed_s(expiry_ns: int, moment_ns: int) -> float:
    """Seconds of the settlement window that have passed, 0 before it."""
    passed = SETTLEMENT_WINDOW_S - (expiry_ns - moment_ns) / NS_PER_SECOND
    return min(max(passed, 0.0), SETTLEMENT_WINDOW_S)


def _average(
    snapshot: Snapshot, expiry_ns: int, index: float, known: float | None, elapsed_s: float
) -> float:
    """Average of the index over the window so far, on an unchanged market.

    What had been collected by the market's own time stays; since then the index stood where it
    stands. Without a collected average the index is taken to have stood there all along.
    """
    before_s = _elapsed_s(expiry_ns, snapshot.as_of_ns)
    if known is None or elapsed_s <= 0:
        return index
    return (known * before_s + index * (elapsed_s - before_s)) / elapsed_s


def _forward_parts(
    snapshot: Snapshot, instrument: Future | Option, per_usd: float
) -> tuple[float, float]:
    """Split a forward, or a future's mark, into averaged and moving part, in quote currency.

    A listed future takes its own mark. Inside the window at the market's own time that mark
    already contains the average, which is taken out before it is put back as of the moment of
    valuation. A forward from the market's list is the forward of the index, without average.
    """
    forward = snapshot.forwards.get((instrument.underlying, instrument.expiry_ns))
    quote = snapshot.quotes.get(instrument.id)
    index = snapshot.asset_usd(instrument.underlying) * per_usd
    known = None
    if forward is not None:
        snapshot._fresh(forward.time_ns, f"the forward of {instrument.id}")
        known = None if forward.average_usd is None else forward.average_usd * per_usd
    if isinstance(instrument, Future) and quote is not None and quote.price_mark is not None:
        snapshot._fresh(quote.time_ns, instrument.id)
        done = _elapsed_s(instrument.expiry_ns, snapshot.as_of_ns) / SETTLEMENT_WINDOW_S
        collected = index if known is None else known
        price = (quote.price_mark - done * collected) / (1.0 - done)
        if price <= 0:
            raise MarketDataError(
                f"the mark of {instrument.id} lies below what its settlement has already collected",
                code="MKT-009",
                instrument=instrument.id,
                field="price_mark",
            )
    elif forward is not None:
        price = forward.price_usd * per_usd
    else:
        raise _no_forward(instrument)
    elapsed = _elapsed_s(instrument.expiry_ns, snapshot.moment_ns)
    if elapsed <= 0:
        return 0.0, price
    average = _average(snapshot, instrument.expiry_ns, index, known, elapsed)
    fixed, variable = settlement_parts(index, price - index, average, elapsed, SETTLEMENT_WINDOW_S)
    return float(fixed), float(variable)


def option_vol(snapshot: Snapshot, option: Option) -> float:
    """Return an option's volatility: its own, else its expiry's surface at the strike."""
    quote = snapshot.quotes.get(option.id)
    if quote is not None and quote.vol is not None:
        snapshot._fresh(quote.time_ns, option.id)
        return quote.vol
    surface = snapshot.surfaces.get((option.underlying, option.expiry_ns))
    if surface is None:
        raise MarketDataError(
            f"the market has no volatility for {option.id}",
            code="MKT-005",
            instrument=option.id,
            field="vol",
            hint="add its vol to the market's instruments, or a surface for that expiry",
        )
    # The surface is in US dollars; a strike in a stablecoin is worth what that is worth.
    return float(surface.vol(option.strike * snapshot.asset_usd(option.quote)))
