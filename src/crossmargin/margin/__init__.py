"""What must be held: rule-sets, the staged engine, the statement and the liquidation price."""

from __future__ import annotations

from crossmargin.margin._explain import (
    Standalone,
    component_lines,
    gaps_here,
    standalone_margins,
)
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._protect import protect_haircut, protect_of, protected_state
from crossmargin.margin.batch import (
    BookResult,
    LocationStress,
    evaluate_book,
    location_stress,
)
from crossmargin.margin.engine import (
    Equity,
    Requirement,
    equity,
    fenced_margins,
    frame_for,
    requirement,
)
from crossmargin.margin.expiry_detail import ExpiryDetail, expiry_details, isolated_margins
from crossmargin.margin.haircut_model import (
    HaircutPoint,
    HaircutSchedule,
    HaircutSpec,
    haircut_defaults,
    haircut_history,
    haircut_schedule,
    haircut_spec,
    model_haircut,
)
from crossmargin.margin.haircut_tables import (
    HaircutTable,
    collateral_from_haircuts,
    haircut_files,
    read_haircuts,
)
from crossmargin.margin.liquidation_price import (
    Crossing,
    LiquidationPrice,
    excess_at,
    liquidation_prices,
    tick_size,
)
from crossmargin.margin.ruleset import (
    Ruleset,
    load_ruleset,
    ruleset_from_dict,
    ruleset_from_toml,
    ruleset_ids,
)
from crossmargin.margin.shares import Shares, shares
from crossmargin.margin.statement import (
    Evaluation,
    decode_statement,
    encode_statement,
    evaluate,
    make_statement,
    pot_lines,
    recompute,
    worst_state,
)
from crossmargin.margin.statement_types import ComponentLine, Statement
from crossmargin.margin.tiers import (
    Jump,
    TierTable,
    effective_rates,
    next_jumps,
    tier_tables,
)

__all__ = [
    "BookResult",
    "ComponentLine",
    "Crossing",
    "Equity",
    "Evaluation",
    "ExpiryDetail",
    "Frame",
    "HaircutPoint",
    "HaircutSchedule",
    "HaircutSpec",
    "HaircutTable",
    "Jump",
    "LiquidationPrice",
    "LocationStress",
    "Requirement",
    "Ruleset",
    "Shares",
    "Standalone",
    "Statement",
    "TierTable",
    "collateral_from_haircuts",
    "component_lines",
    "decode_statement",
    "effective_rates",
    "encode_statement",
    "equity",
    "evaluate",
    "evaluate_book",
    "excess_at",
    "expiry_details",
    "fenced_margins",
    "frame_for",
    "gaps_here",
    "haircut_defaults",
    "haircut_files",
    "haircut_history",
    "haircut_schedule",
    "haircut_spec",
    "isolated_margins",
    "liquidation_prices",
    "load_ruleset",
    "location_stress",
    "make_statement",
    "model_haircut",
    "next_jumps",
    "pot_lines",
    "protect_haircut",
    "protect_of",
    "protected_state",
    "read_haircuts",
    "recompute",
    "requirement",
    "ruleset_from_dict",
    "ruleset_from_toml",
    "ruleset_ids",
    "shares",
    "standalone_margins",
    "sum_by",
    "tick_size",
    "tier_tables",
    "worst_state",
]
