"""What could happen: grids, tails, volatility rules; and the risk table they give."""

from __future__ import annotations

from crossmargin.scenarios._spec import (
    VOL_STATES,
    Block,
    ScenarioSet,
    ScenarioSpec,
    UnderlyingShocks,
    build_scenarios,
)
from crossmargin.scenarios._table import (
    LANES,
    Kernel,
    RiskTable,
    TablePlan,
    build_table,
    plan_table,
    vol_multiplier,
)

__all__ = [
    "LANES",
    "VOL_STATES",
    "Block",
    "Kernel",
    "RiskTable",
    "ScenarioSet",
    "ScenarioSpec",
    "TablePlan",
    "UnderlyingShocks",
    "build_scenarios",
    "build_table",
    "plan_table",
    "vol_multiplier",
]
