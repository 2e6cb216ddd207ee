"""Rules and result of a cascade over a book under any rule-set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade.figures import number
from crossmargin.errors import CascadeError
from crossmargin.liquidation import Breaker, LiquidationRules, liquidation_rules

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _house() -> LiquidationRules:
    return liquidation_rules("house")


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRules:
    """What a venue does at the line, for accounts one by one.

    Attributes
    ----------
    liquidation : LiquidationRules
        Any of the catalogue that needs no auction and no bids from outside.
    fund_usd : float
        What the insurance fund has at the start. It takes accounts over, sells them in the same
        round and bears what is lacking; what it cannot bear is bad debt (there is no
        deleveraging here).
    rounds : int
        Most rounds in a step.
    breaker : Breaker or None
        Halts, contract by contract.
    hedged : float
        Share of the delta of accounts' options that their counterparties hedge, at least 0.
    option_spread : float
        Share of an option's price lost when it is closed by force, 0 to below 1. No figure of it
        is known; 0 leaves it out.
    lots : mapping of str to float
        Smallest size that is closed, by instrument.
    """

    liquidation: LiquidationRules = field(default_factory=_house)
    fund_usd: float = 0.0
    rounds: int = 50
    breaker: Breaker | None = None
    hedged: float = 1.0
    option_spread: float = 0.0
    lots: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        number("fund_usd", self.fund_usd, least=0)
        number("hedged", self.hedged, least=0)
        number("option_spread", self.option_spread, least=0, most=1 - 1e-12)
        if self.rounds < 1:
            raise CascadeError("a step has at least one round", code="CAS-001", field="rounds")


@dataclass(frozen=True, slots=True, kw_only=True)
class BookCascade:
    """One run of :func:`crossmargin.cascade.cascade_on_rules`.

    T steps, J assets of which K are traded, A accounts. Row 0 of what has T + 1 rows is the state
    before anything. Money is in US dollars.

    Attributes
    ----------
    assets : tuple of str
        J names; the first K are those whose trades move prices.
    times_ns : int64[T + 1]
        Moments.
    price, exogenous : float64[T + 1, J]
        Marks, and prices without forced sales or hedging.
    depth : float64[T + 1, K]
        D.
    open_interest : float64[T + 1, J]
        Coins held long by accounts in futures and perpetuals.
    gamma : float64[T + 1, J]
        ``Γ·S²`` of the options that accounts hold; their counterparties have the opposite.
    rounds, breached : int64[T]
        Rounds, and accounts newly below the line.
    sold, bought : float64[T, K]
        Delta closed by force in futures, perpetuals and spot, at its fills.
    hedging : float64[T, K]
        Delta traded by hedgers of options, signed: below 0 they sold.
    fund : float64[T + 1]
        The insurance fund.
    fees, bad_debt : float64[T]
        Fees paid into it, and losses that nobody bore.
    first_step : int64[A]
        Step of the first forced closing, −1 where there was none.
    closed : mapping of (int, str) to float
        Units closed by force, by account and instrument, at least 0.
    equity, mm : float64[A]
        At the end, at the maintenance level; NaN for an account that cannot be computed.
    """

    assets: tuple[str, ...]
    times_ns: Ints
    price: Floats
    exogenous: Floats
    depth: Floats
    open_interest: Floats
    gamma: Floats
    rounds: Ints
    breached: Ints
    sold: Floats
    bought: Floats
    hedging: Floats
    fund: Floats
    fees: Floats
    bad_debt: Floats
    first_step: Ints
    closed: Mapping[tuple[int, str], float]
    equity: Floats
    mm: Floats

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Accounts of which anything was closed by force, bool[A]."""
        return np.asarray(self.first_step >= 0, dtype=np.bool_)
