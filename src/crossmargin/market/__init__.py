"""What the world is: snapshots of prices, forwards and volatilities, and fitted surfaces."""

from __future__ import annotations

from crossmargin.market.arbitrage import (
    ArbitrageViolation,
    butterfly_violations,
    calendar_violations,
    quote_violations,
)
from crossmargin.market.files import (
    MARKET_FORMAT,
    MarketFile,
    decode_market,
    exact_confidence,
    file_from_snapshot,
    read_market,
    snapshot_from_file,
    write_market,
)
from crossmargin.market.fit import SmileQuotes, SurfaceFit, SviFit, fit_surface, fit_svi
from crossmargin.market.forwards import ForwardCurve, forward_from_parity
from crossmargin.market.snapshot import (
    CONFIDENCE_FEEDS,
    CONFIDENCE_ONE,
    SETTLEMENT_WINDOW_NS,
    AssetPrice,
    Forward,
    InstrumentQuote,
    MarketView,
    Snapshot,
)
from crossmargin.market.svi import SviSlice

__all__ = [
    "CONFIDENCE_FEEDS",
    "CONFIDENCE_ONE",
    "MARKET_FORMAT",
    "SETTLEMENT_WINDOW_NS",
    "ArbitrageViolation",
    "AssetPrice",
    "Forward",
    "ForwardCurve",
    "InstrumentQuote",
    "MarketFile",
    "MarketView",
    "SmileQuotes",
    "Snapshot",
    "SurfaceFit",
    "SviFit",
    "SviSlice",
    "butterfly_violations",
    "calendar_violations",
    "decode_market",
    "exact_confidence",
    "file_from_snapshot",
    "fit_surface",
    "fit_svi",
    "forward_from_parity",
    "quote_violations",
    "read_market",
    "snapshot_from_file",
    "write_market",
]
