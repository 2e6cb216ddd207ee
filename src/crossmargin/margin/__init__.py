"""What must be held: rule-sets, the staged engine, the statement and the liquidation price."""

from __future__ import annotations

from crossmargin.margin._explain import Standalone, standalone_margins
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
    recompute,
)
from crossmargin.margin.statement_types import Statement

__all__ = [
    "BookResult",
    "Crossing",
    "Equity",
    "Evaluation",
    "ExpiryDetail",
    "Frame",
    "LiquidationPrice",
    "Requirement",
    "Ruleset",
    "Shares",
    "Standalone",
    "Statement",
    "decode_statement",
    "encode_statement",
    "equity",
    "evaluate",
    "evaluate_book",
    "excess_at",
    "expiry_details",
    "fenced_margins",
    "frame_for",
    "isolated_margins",
    "liquidation_prices",
    "load_ruleset",
    "make_statement",
    "recompute",
    "requirement",
    "ruleset_from_dict",
    "ruleset_from_toml",
    "ruleset_ids",
    "shares",
    "standalone_margins",
    "sum_by",
    "tick_size",
]
