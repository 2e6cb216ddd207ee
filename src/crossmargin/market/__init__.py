"""What the world is: snapshots of prices, forwards and volatilities, and fitted surfaces."""

from __future__ import annotations

from crossmargin.market.files import (
    MARKET_FORMAT,
    MarketFile,
    decode_market,
    file_from_snapshot,
    read_market,
    snapshot_from_file,
    write_market,
)
from crossmargin.market.snapshot import (
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
    "CONFIDENCE_ONE",
    "MARKET_FORMAT",
    "SETTLEMENT_WINDOW_NS",
    "AssetPrice",
    "Forward",
    "InstrumentQuote",
    "MarketFile",
    "MarketView",
    "Snapshot",
    "SviSlice",
    "decode_market",
    "file_from_snapshot",
    "read_market",
    "snapshot_from_file",
    "write_market",
]
