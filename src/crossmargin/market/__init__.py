"""What the world is: snapshots of prices, forwards and volatilities, and fitted surfaces."""

from __future__ import annotations

from crossmargin.market.arbitrage import (
    ArbitrageViolation,
    butterfly_violations,
    calendar_violations,
    quote_violations,
)
from crossmargin.market.depth import OrderBook, Walk, contract_coins, walk_book
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
from crossmargin.market.history import (
    BidSide,
    PriceHistory,
    bid_side,
    read_bid_side,
    read_price_history,
)
from crossmargin.market.impact import (
    ImpactFit,
    LiquidationCost,
    fit_impact,
    impact_fraction,
    liquidation_cost,
    unwind_days,
    unwind_sigmas,
)
from crossmargin.market.liquidity import LIQUIDITY_FIGURES, Liquidity, LiquidityColumns
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
    "LIQUIDITY_FIGURES",
    "MARKET_FORMAT",
    "SETTLEMENT_WINDOW_NS",
    "ArbitrageViolation",
    "AssetPrice",
    "BidSide",
    "Forward",
    "ForwardCurve",
    "ImpactFit",
    "InstrumentQuote",
    "LiquidationCost",
    "Liquidity",
    "LiquidityColumns",
    "MarketFile",
    "MarketView",
    "OrderBook",
    "PriceHistory",
    "SmileQuotes",
    "Snapshot",
    "SurfaceFit",
    "SviFit",
    "SviSlice",
    "Walk",
    "bid_side",
    "butterfly_violations",
    "calendar_violations",
    "contract_coins",
    "decode_market",
    "exact_confidence",
    "file_from_snapshot",
    "fit_impact",
    "fit_surface",
    "fit_svi",
    "forward_from_parity",
    "impact_fraction",
    "liquidation_cost",
    "quote_violations",
    "read_bid_side",
    "read_market",
    "read_price_history",
    "snapshot_from_file",
    "unwind_days",
    "unwind_sigmas",
    "walk_book",
    "write_market",
]
