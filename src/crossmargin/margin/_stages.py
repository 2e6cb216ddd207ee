"""The table of stages: which function computes which kind of component.

A new kind of component is its data in ``margin/components``, a function that takes a
:class:`Stage`, and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import invariant
from crossmargin.margin import _charges as charges
from crossmargin.margin import _contracts as contracts
from crossmargin.margin import _feeds as feeds
from crossmargin.margin import _hedges as hedges
from crossmargin.margin import _option_charges as option_charges
from crossmargin.margin import _portfolio as portfolio
from crossmargin.margin import _span_stages as span
from crossmargin.margin._counting import run_debts
from crossmargin.margin._formula import Part, run_rate
from crossmargin.margin._frame import Frame
from crossmargin.margin._options import run_options
from crossmargin.margin._scan import ScanResult
from crossmargin.margin._size import run_concentration, run_impact
from crossmargin.margin._tail import PotPart, run_tail
from crossmargin.margin.components import (
    BalanceRate,
    Basis,
    BasisContingency,
    Borrow,
    CalendarSpread,
    CollateralConfidence,
    Component,
    Concentration,
    ContractCharge,
    CorrelationContingency,
    Debt,
    DeliveryCharge,
    DeltaConcentration,
    Depeg,
    ExpirySpread,
    Factor,
    FeeProvision,
    FixedCharge,
    FundingProvision,
    Impact,
    MinDelta,
    MinimumCharge,
    NakedShort,
    OpenInterestRate,
    OptionBounded,
    OptionFormula,
    OracleConfidence,
    OrderCharge,
    PegCharge,
    PegFactor,
    PerpWeights,
    ProductOffset,
    RateMargin,
    RiskCap,
    Roll,
    RootRate,
    Scan,
    ScanPart,
    SpreadCredit,
    TailLeg,
    Unpublished,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stage:
    """What a component may read besides its own data.

    Attributes
    ----------
    frame : Frame
        Book, rules and market.
    quantity : float64[N]
        Quantities of the positions (the book's own, or scaled).
    amount : float64[B]
        Amounts of the balances (the book's own, or scaled).
    parts : dict of str to Part
        Components computed so far: the scan first, then in the file's order.
    scan : ScanResult or None
        Outcome of the scan, where the rule-set has one.
    orders : bool
        Whether open orders may fill.
    scratch : dict
        What the components of one requirement share, worked out by the first that asks.
    """

    frame: Frame
    quantity: Floats
    amount: Floats
    parts: Mapping[str, Part]
    scan: ScanResult | None
    orders: bool
    scratch: dict[str, Any] = field(default_factory=dict)


def _scan(spec: Scan, stage: Stage) -> Part:
    scan = stage.scan
    invariant(scan is not None, "a scan component without a scan")
    assert scan is not None
    p, b = scan.position_share, scan.balance_share
    return Part(scan.margin, scan.margin, p, p, b, b)


def _correlation(spec: CorrelationContingency, stage: Stage) -> Part:
    known = stage.frame.ruleset.scan
    name = known.name if known else ""
    return charges.run_correlation(spec, stage.frame, stage.quantity, stage.parts[name])


def _plain(run: Callable[..., Part]) -> Callable[[Any, Stage], Part]:
    """Adapt a stage that reads frame, quantities and whether orders may fill."""
    return lambda spec, stage: run(spec, stage.frame, stage.quantity, orders=stage.orders)


#: Components of groups.
STAGES: dict[type, Callable[[Any, Stage], Part]] = {
    Scan: _scan,
    CorrelationContingency: _correlation,
    RateMargin: _plain(run_rate),
    RootRate: _plain(run_rate),
    OpenInterestRate: _plain(run_rate),
    PerpWeights: _plain(run_rate),
    OptionFormula: _plain(run_options),
    Roll: _plain(charges.run_roll),
    MinDelta: _plain(charges.run_min_delta),
    DeltaConcentration: _plain(charges.run_delta_concentration),
    FundingProvision: _plain(charges.run_funding),
    FeeProvision: _plain(charges.run_fees),
    BasisContingency: _plain(option_charges.run_basis),
    NakedShort: _plain(option_charges.run_naked),
    OptionBounded: _plain(option_charges.run_bounded),
    OracleConfidence: _plain(feeds.run_confidence),
    PegFactor: _plain(feeds.run_peg_factor),
    PegCharge: _plain(feeds.run_peg_charge),
    BalanceRate: lambda spec, stage: feeds.run_balance_rate(spec, stage.frame, stage.amount),
    Concentration: _plain(run_concentration),
    Impact: _plain(run_impact),
    ScanPart: portfolio.run_scan_part,
    Basis: _plain(portfolio.run_basis),
    MinimumCharge: _plain(portfolio.run_minimum_charge),
    Depeg: _plain(hedges.run_depeg),
    ContractCharge: _plain(contracts.run_contract_charge),
    ExpirySpread: _plain(hedges.run_expiry_spread),
    Unpublished: _plain(portfolio.run_unpublished),
    Factor: _plain(portfolio.run_factor),
    ProductOffset: portfolio.run_product_offset,
    CalendarSpread: _plain(span.run_calendar),
    DeliveryCharge: _plain(span.run_delivery),
    SpreadCredit: span.run_spread_credit,
    RiskCap: span.run_risk_cap,
}

#: Components of a pot as a whole: initial and maintenance requirement by pot.
POT_STAGES: dict[type, Callable[[Any, Stage], tuple[Floats, Floats] | PotPart]] = {
    Borrow: lambda spec, stage: charges.run_borrow(spec, stage.frame),
    Debt: lambda spec, stage: run_debts(spec, stage.frame),
    OrderCharge: lambda spec, stage: charges.run_order_charge(spec, stage.frame, stage.orders),
    FixedCharge: lambda spec, stage: charges.run_fixed_charge(spec, stage.frame),
    CollateralConfidence: lambda spec, stage: feeds.run_collateral_confidence(
        spec, stage.frame, stage.amount
    ),
    TailLeg: run_tail,
}


def run_stage(spec: Component, stage: Stage) -> Part:
    """Compute a component of the groups."""
    return STAGES[type(spec)](spec, stage)
