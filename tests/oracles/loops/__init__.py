"""Stages of the engine as plain loops by row, group, pot and pair.

Slow, and what the stages over whole books are held to: the formulas as they were written for one
account, kept apart from the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from crossmargin.margin import _arrange, _stages, engine
from crossmargin.margin import components as kinds

from . import (
    charges,
    contracts,
    feeds,
    fences,
    formula,
    hedges,
    offset,
    option_charges,
    options,
    orders,
    portfolio,
    span_stages,
)


def _plain(run: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return lambda spec, stage: run(spec, stage.frame, stage.quantity, orders=stage.orders)


#: By kind of component.
LOOPS: dict[type, Callable[[Any, Any], Any]] = {
    kinds.RateMargin: _plain(formula.run_rate),
    kinds.RootRate: _plain(formula.run_rate),
    kinds.OpenInterestRate: _plain(formula.run_rate),
    kinds.PerpWeights: _plain(formula.run_rate),
    kinds.OptionFormula: _plain(options.run_options),
    kinds.Roll: _plain(charges.run_roll),
    kinds.MinDelta: _plain(charges.run_min_delta),
    kinds.DeltaConcentration: _plain(charges.run_delta_concentration),
    kinds.BasisContingency: _plain(option_charges.run_basis),
    kinds.NakedShort: _plain(option_charges.run_naked),
    kinds.OptionBounded: _plain(option_charges.run_bounded),
    kinds.OracleConfidence: _plain(feeds.run_confidence),
    kinds.Basis: _plain(portfolio.run_basis),
    kinds.MinimumCharge: _plain(portfolio.run_minimum_charge),
    kinds.ProductOffset: portfolio.run_product_offset,
    kinds.Depeg: _plain(hedges.run_depeg),
    kinds.ExpirySpread: _plain(hedges.run_expiry_spread),
    kinds.ContractCharge: _plain(contracts.run_contract_charge),
    kinds.CalendarSpread: _plain(span_stages.run_calendar),
    kinds.DeliveryCharge: _plain(span_stages.run_delivery),
    kinds.SpreadCredit: span_stages.run_spread_credit,
    kinds.RiskCap: span_stages.run_risk_cap,
}

POT_LOOPS: dict[type, Callable[[Any, Any], Any]] = {
    kinds.CollateralConfidence: lambda spec, stage: feeds.run_collateral_confidence(
        spec, stage.frame, stage.amount
    ),
}


@contextmanager
def installed() -> Iterator[None]:
    """Let the engine compute with the loops; frames made before must not be used in it."""
    with (
        patch.dict(_stages.STAGES, LOOPS),
        patch.dict(_stages.POT_STAGES, POT_LOOPS),
        patch.object(engine, "apply_offset", offset.apply_offset),
        patch.object(engine, "fenced_margins", fences.fenced_margins),
        patch.object(engine, "_move_fences", fences._move_fences),
        patch.object(_arrange, "_held_position", orders._held_position),
    ):
        yield
