"""What must be held: rule-sets, the staged engine, the statement and the liquidation price."""

from __future__ import annotations

from crossmargin.margin._crossing import close_in, outward
from crossmargin.margin._explain import (
    PositionGreeks,
    Standalone,
    component_lines,
    position_greeks,
    pot_name,
    standalone_margins,
)
from crossmargin.margin._frame import (
    Frame,
    sum_by,
)
from crossmargin.margin._notes import gaps_here
from crossmargin.margin._protect import (
    protect_haircut,
    protect_of,
    protected_state,
)
from crossmargin.margin._statement_lines import pot_lines, worst_state
from crossmargin.margin._tail_detail import (
    TailApproximation,
    TailDetail,
    approximate_tail,
    tail_detail,
)
from crossmargin.margin.at_scale import BookColumns, evaluate_compact
from crossmargin.margin.batch import (
    BookResult,
    LocationStress,
    evaluate_book,
    location_stress,
)
from crossmargin.margin.book_states import (
    ACCOUNT_STATES,
    account_states,
    below_line,
    states_by_numbers,
)
from crossmargin.margin.carried import EVERY, CarriedAccount, FundingFlow
from crossmargin.margin.engine import (
    Equity,
    Requirement,
    equity,
    fenced_margins,
    frame_for,
    requirement,
)
from crossmargin.margin.evaluation import Evaluation, evaluate
from crossmargin.margin.expiry_detail import (
    ExpiryDetail,
    expiry_details,
    isolated_margins,
)
from crossmargin.margin.haircut_files import haircut_files, read_haircuts
from crossmargin.margin.haircut_model import (
    HaircutPoint,
    HaircutSpec,
    haircut_defaults,
    haircut_spec,
    model_haircut,
)
from crossmargin.margin.haircut_schedule import (
    HaircutSchedule,
    haircut_history,
    haircut_schedule,
    tiers_from_points,
)
from crossmargin.margin.haircut_tables import HaircutTable, collateral_from_haircuts
from crossmargin.margin.house_path import (
    HouseOption,
    HousePath,
    HousePortfolio,
    house_margin_path,
    house_tail,
)
from crossmargin.margin.inverse import (
    SizeLimit,
    WithdrawalLimit,
    largest_order,
    largest_withdrawal,
)
from crossmargin.margin.liquidation_price import (
    HIGHEST_RATIO,
    LOWEST_RATIO,
    Crossing,
    LiquidationPrice,
    excess_at,
    liquidation_prices,
    tick_size,
)
from crossmargin.margin.mixed import evaluate_in, prepare
from crossmargin.margin.pretrade import (
    OrderCheck,
    PotCheck,
    check_order,
)
from crossmargin.margin.requires import MarketNeeds, market_needs
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
from crossmargin.margin.ruleset_changes import (
    CHANGE_FORMAT,
    ChangedParameter,
    ChangeRecord,
    changes_path,
    check_changes,
    encode_changes,
    expired_changes,
    make_change,
    read_changes,
)
from crossmargin.margin.ruleset_diff import (
    ParameterChange,
    flat_parameters,
    parameter_changes,
)
from crossmargin.margin.shares import (
    Shares,
    shares,
)
from crossmargin.margin.state_changes import (
    Change,
    StateChanges,
    moving_underlyings,
    state_changes,
    vol_changes,
)
from crossmargin.margin.statement import (
    decode_statement,
    encode_statement,
    make_statement,
    recompute,
)
from crossmargin.margin.statement_types import (
    ComponentLine,
    Statement,
)
from crossmargin.margin.stop_size import (
    StopSize,
    size_for_stop,
)
from crossmargin.margin.tiers import (
    Jump,
    TierTable,
    effective_rates,
    next_jumps,
    tier_tables,
)
from crossmargin.margin.topup import (
    TopUp,
    top_up,
)
from crossmargin.margin.trades import (
    Fill,
    Trade,
    TradedAccount,
    account_totals,
    evaluation_of,
)
from crossmargin.margin.watch import (
    BookWatcher,
    Breaches,
    Watcher,
    make_watcher,
)

__all__ = [
    "ACCOUNT_STATES",
    "CHANGE_FORMAT",
    "EVERY",
    "HIGHEST_RATIO",
    "LOWEST_RATIO",
    "ArrayCommodity",
    "ArrayContract",
    "BookColumns",
    "BookResult",
    "BookWatcher",
    "Breaches",
    "CarriedAccount",
    "Change",
    "ChangeRecord",
    "ChangedParameter",
    "CommodityRisk",
    "ComponentLine",
    "Crossing",
    "Equity",
    "Evaluation",
    "ExpiryDetail",
    "Fill",
    "Frame",
    "FundingFlow",
    "HaircutPoint",
    "HaircutSchedule",
    "HaircutSpec",
    "HaircutTable",
    "HouseOption",
    "HousePath",
    "HousePortfolio",
    "Jump",
    "LiquidationPrice",
    "LocationStress",
    "MarketNeeds",
    "OrderCheck",
    "ParameterChange",
    "PositionGreeks",
    "PotCheck",
    "Requirement",
    "RiskArrays",
    "Ruleset",
    "Shares",
    "SizeLimit",
    "SpanResult",
    "Standalone",
    "StateChanges",
    "Statement",
    "StopSize",
    "TailApproximation",
    "TailDetail",
    "TierTable",
    "TopUp",
    "Trade",
    "TradedAccount",
    "Watcher",
    "WithdrawalLimit",
    "account_states",
    "account_totals",
    "approximate_tail",
    "below_line",
    "changes_path",
    "check_changes",
    "check_order",
    "close_in",
    "collateral_from_haircuts",
    "component_lines",
    "decode_statement",
    "effective_rates",
    "encode_changes",
    "encode_statement",
    "equity",
    "evaluate",
    "evaluate_book",
    "evaluate_compact",
    "evaluate_in",
    "evaluation_of",
    "excess_at",
    "expired_changes",
    "expiry_details",
    "fenced_margins",
    "flat_parameters",
    "frame_for",
    "gaps_here",
    "haircut_defaults",
    "haircut_files",
    "haircut_history",
    "haircut_schedule",
    "haircut_spec",
    "house_margin_path",
    "house_tail",
    "isolated_margins",
    "largest_order",
    "largest_withdrawal",
    "liquidation_prices",
    "load_ruleset",
    "location_stress",
    "make_change",
    "make_statement",
    "make_watcher",
    "market_needs",
    "model_haircut",
    "moving_underlyings",
    "next_jumps",
    "outward",
    "parameter_changes",
    "position_greeks",
    "pot_lines",
    "pot_name",
    "prepare",
    "protect_haircut",
    "protect_of",
    "protected_state",
    "read_changes",
    "read_haircuts",
    "recompute",
    "requirement",
    "ruleset_from_dict",
    "ruleset_from_toml",
    "ruleset_ids",
    "shares",
    "size_for_stop",
    "span_from_arrays",
    "standalone_margins",
    "state_changes",
    "states_by_numbers",
    "sum_by",
    "tail_detail",
    "tick_size",
    "tier_tables",
    "tiers_from_points",
    "top_up",
    "vol_changes",
    "worst_state",
]
