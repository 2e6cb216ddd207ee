"""What could happen: grids, tails, volatility rules; and the risk table they give."""

from __future__ import annotations

from crossmargin.scenarios._basis import BasisMoves, no_moves
from crossmargin.scenarios._factor_table import distances, factor_table, shocked_vols
from crossmargin.scenarios._factors import (
    FactorScenarios,
    Prepared,
    TailSets,
    prepare,
    sets_at,
    tail_sets,
)
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
from crossmargin.scenarios._tail_spec import (
    BasisContracts,
    BasisRule,
    Hypothetical,
    Jumps,
    MonteCarlo,
    TailSpec,
    VolShocks,
)
from crossmargin.scenarios._taylor import TaylorCheck, full_pnl, taylor_check, taylor_pnl

__all__ = [
    "LANES",
    "VOL_STATES",
    "BasisContracts",
    "BasisMoves",
    "BasisRule",
    "Block",
    "FactorScenarios",
    "Hypothetical",
    "Jumps",
    "Kernel",
    "MonteCarlo",
    "Prepared",
    "RiskTable",
    "ScenarioSet",
    "ScenarioSpec",
    "TablePlan",
    "TailSets",
    "TailSpec",
    "TaylorCheck",
    "UnderlyingShocks",
    "VolShocks",
    "build_scenarios",
    "build_table",
    "distances",
    "factor_table",
    "full_pnl",
    "no_moves",
    "plan_table",
    "prepare",
    "sets_at",
    "shocked_vols",
    "tail_sets",
    "taylor_check",
    "taylor_pnl",
    "vol_multiplier",
]
