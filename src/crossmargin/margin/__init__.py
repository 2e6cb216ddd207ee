"""What must be held: rule-sets, the staged engine, the statement and the liquidation price."""

from __future__ import annotations

from crossmargin.margin._explain import (
    Standalone,
    component_lines,
    gaps_here,
    standalone_margins,
)
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin.batch import BookResult, evaluate_book
from crossmargin.margin.engine import (
    Equity,
    Requirement,
    equity,
    fenced_margins,
    frame_for,
    requirement,
)
from crossmargin.margin.expiry_detail import ExpiryDetail, expiry_details, isolated_margins
from crossmargin.margin.liquidation_price import (
    Crossing,
    LiquidationPrice,
    excess_at,
    liquidation_prices,
    tick_size,
)
from crossmargin.margin.risk_arrays import (
    ArrayCommodity,
    ArrayContract,
    CommodityRisk,
    RiskArrays,
    SpanResult,
    span_from_arrays,
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

__all__ = [
    "ArrayCommodity",
    "ArrayContract",
    "BookResult",
    "CommodityRisk",
    "ComponentLine",
    "Crossing",
    "Equity",
    "Evaluation",
    "ExpiryDetail",
    "Frame",
    "LiquidationPrice",
    "Requirement",
    "RiskArrays",
    "Ruleset",
    "Shares",
    "SpanResult",
    "Standalone",
    "Statement",
    "component_lines",
    "decode_statement",
    "encode_statement",
    "equity",
    "evaluate",
    "evaluate_book",
    "excess_at",
    "expiry_details",
    "fenced_margins",
    "frame_for",
    "gaps_here",
    "isolated_margins",
    "liquidation_prices",
    "load_ruleset",
    "make_statement",
    "pot_lines",
    "recompute",
    "requirement",
    "ruleset_from_dict",
    "ruleset_from_toml",
    "ruleset_ids",
    "shares",
    "span_from_arrays",
    "standalone_margins",
    "sum_by",
    "tick_size",
    "worst_state",
]
