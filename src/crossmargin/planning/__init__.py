"""What to do: allocation, sizing, drawdown control, rebalancing, cheapest hedge."""

from __future__ import annotations

from crossmargin.planning.drawdown import (
    Drawdown,
    DrawdownFan,
    DrawdownReport,
    FloorExposure,
    Rung,
    drawdown_report,
    drawdowns,
    floor_exposure,
    growth_multiple,
    ladder_exposure,
    max_drawdown,
    simulate_drawdowns,
    underwater,
    unit_values,
)

__all__ = [
    "Drawdown",
    "DrawdownFan",
    "DrawdownReport",
    "FloorExposure",
    "Rung",
    "drawdown_report",
    "drawdowns",
    "floor_exposure",
    "growth_multiple",
    "ladder_exposure",
    "max_drawdown",
    "simulate_drawdowns",
    "underwater",
    "unit_values",
]
