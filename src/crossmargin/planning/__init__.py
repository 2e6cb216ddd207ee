"""What to do: allocation, sizing, drawdown control, rebalancing, cheapest hedge."""

from __future__ import annotations

from crossmargin.planning.allocation import allocate, margin_frontier
from crossmargin.planning.allocation_types import (
    Allocation,
    AllocationLine,
    Strategy,
    VenueCapital,
)
from crossmargin.planning.candidates import (
    Candidate,
    market_candidates,
    trading_costs,
    unit_usd,
)
from crossmargin.planning.contributions import (
    risk_budget_weights,
    shortfall_contributions,
    volatility_contributions,
    worst_contributions,
)
from crossmargin.planning.drawdown import (
    Drawdown,
    DrawdownReport,
    drawdown_report,
    drawdowns,
    max_drawdown,
    underwater,
    unit_values,
)
from crossmargin.planning.drawdown_limits import (
    FloorExposure,
    Rung,
    check_ladder,
    floor_exposure,
    growth_multiple,
    ladder_exposure,
)
from crossmargin.planning.drawdown_paths import DrawdownFan, simulate_drawdowns
from crossmargin.planning.files import (
    read_coin,
    read_equity,
    read_macro,
    read_profits,
)
from crossmargin.planning.hedging import (
    Band,
    HedgeDesk,
    HedgePlan,
    HedgeTrade,
    useful_candidates,
)
from crossmargin.planning.macro import (
    Aligned,
    CoinSeries,
    MacroSeries,
    align,
    closing_times_ns,
    coin_series,
    macro_series,
    sample,
)
from crossmargin.planning.macro_links import (
    CorrelationLine,
    MacroStress,
    correlation_line,
    macro_stress,
)
from crossmargin.planning.overlay import Overlay, put_overlay
from crossmargin.planning.placement import (
    Move,
    Placement,
    VenueMargin,
    place,
)
from crossmargin.planning.portfolios import (
    MarginedPortfolio,
    Optimiser,
    fit_within_margin,
    weights_margin,
)
from crossmargin.planning.rebalancing import (
    HedgeError,
    Rebalance,
    RiskTarget,
    hedge_band,
    hedge_trade,
    hedging_error,
    merton_weight,
    no_trade_half_width,
    rebalance,
    risk_target,
)
from crossmargin.planning.regimes import (
    DynamicCorrelation,
    Regimes,
    dynamic_correlation,
    regimes,
)
from crossmargin.planning.sizing import (
    RuleSize,
    SizePlan,
    atr_quantity,
    average_true_range,
    kelly_binary,
    kelly_weights,
    size_position,
    stop_quantity,
    volatility_quantity,
)
from crossmargin.planning.strategy_file import (
    StrategyEntry,
    StrategyFile,
)

__all__ = [
    "Aligned",
    "Allocation",
    "AllocationLine",
    "Band",
    "Candidate",
    "CoinSeries",
    "CorrelationLine",
    "Drawdown",
    "DrawdownFan",
    "DrawdownReport",
    "DynamicCorrelation",
    "FloorExposure",
    "HedgeDesk",
    "HedgeError",
    "HedgePlan",
    "HedgeTrade",
    "MacroSeries",
    "MacroStress",
    "MarginedPortfolio",
    "Move",
    "Optimiser",
    "Overlay",
    "Placement",
    "Rebalance",
    "Regimes",
    "RiskTarget",
    "RuleSize",
    "Rung",
    "SizePlan",
    "Strategy",
    "StrategyEntry",
    "StrategyFile",
    "VenueCapital",
    "VenueMargin",
    "align",
    "allocate",
    "atr_quantity",
    "average_true_range",
    "check_ladder",
    "closing_times_ns",
    "coin_series",
    "correlation_line",
    "drawdown_report",
    "drawdowns",
    "dynamic_correlation",
    "fit_within_margin",
    "floor_exposure",
    "growth_multiple",
    "hedge_band",
    "hedge_trade",
    "hedging_error",
    "kelly_binary",
    "kelly_weights",
    "ladder_exposure",
    "macro_series",
    "macro_stress",
    "margin_frontier",
    "market_candidates",
    "max_drawdown",
    "merton_weight",
    "no_trade_half_width",
    "place",
    "put_overlay",
    "read_coin",
    "read_equity",
    "read_macro",
    "read_profits",
    "rebalance",
    "regimes",
    "risk_budget_weights",
    "risk_target",
    "sample",
    "shortfall_contributions",
    "simulate_drawdowns",
    "size_position",
    "stop_quantity",
    "trading_costs",
    "underwater",
    "unit_usd",
    "unit_values",
    "useful_candidates",
    "volatility_contributions",
    "volatility_quantity",
    "weights_margin",
    "worst_contributions",
]
