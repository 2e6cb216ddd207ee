"""What surrounds the accounts of a cascade, and the rules of the venue they are on.

Everything around the core is a small frozen object with a neutral default: no news, depth that
never changes, marks that are the book's price, no funding, nobody who acts of his own accord.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import number
from crossmargin.cascade.impact import Impact, LogLinear
from crossmargin.errors import CascadeError
from crossmargin.liquidation import Breaker, LiquidationRules, liquidation_rules

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Deleveraging = Literal["direct", "haircut"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What rules around the core may look at, in one step.

    Attributes
    ----------
    step, steps : int
        From 0, and how many there are.
    time_ns, step_ns : int
        The end of the step, and its length.
    returns : float64[J]
        Exogenous log returns of the step.
    exogenous : float64[J]
        Prices without anybody's forced sales, US dollars.
    mark, book : float64[J]
        Marks as they were last, and prices now.
    displacement : float64[K]
        Logarithm of the book's price over the exogenous one.
    depth_usd, open_interest : float64[K]
        D, and coins.
    """

    step: int
    steps: int
    time_ns: int
    step_ns: int
    returns: Floats
    exogenous: Floats
    mark: Floats
    book: Floats
    displacement: Floats
    depth_usd: Floats
    open_interest: Floats


class Books(Protocol):
    """Depth along a path."""

    def begin(self) -> Any:
        """Return the state before anything."""
        ...

    def next(self, state: Any, weather: Weather) -> tuple[Any, Floats, Floats, Floats]:
        """Return the state, depth [K] in US dollars, a gap and what is kept.

        The gap [K] is a log price move by itself; the last [K] is the share of the displacement
        by own sales that has not decayed, 0 to 1.
        """
        ...


class Marks(Protocol):
    """Marks from prices: asked before the first and after every round of a step."""

    def begin(self) -> Any:
        """Return the state before anything."""
        ...

    def next(self, state: Any, weather: Weather) -> tuple[Any, Floats]:
        """Return the state, kept only from the last call of a step, and marks [J]."""
        ...


class Funding(Protocol):
    """Funding of a step."""

    def begin(self) -> Any:
        """Return the state before anything."""
        ...

    def next(self, state: Any, weather: Weather) -> tuple[Any, Floats]:
        """Return the state and rates [K] of this step on the mark; longs pay where above 0."""
        ...


class Margins(Protocol):
    """Margins and haircuts that follow the market."""

    def begin(self) -> Any:
        """Return the state before anything."""
        ...

    def next(self, state: Any, weather: Weather) -> tuple[Any, Floats, Floats]:
        """Return the state, factors on maintenance [K], above 0, and haircuts [J]."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """What people do of their own accord.

    Attributes
    ----------
    account : int32[n]
        Who pays in or takes out.
    cash_usd : float64[n]
        How much, above 0 paid in.
    row : int32[m]
        Positions of the population that are reduced.
    share : float64[m]
        By how much of what is left, 0 to 1.
    """

    account: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    cash_usd: Floats = field(default_factory=lambda: np.empty(0))
    row: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    share: Floats = field(default_factory=lambda: np.empty(0))


class People(Protocol):
    """A view of accounts for those who act: measured on demand, at the marks."""

    def equity(self) -> Floats:
        """Return the equity of every account, haircuts taken."""
        ...

    def maintenance(self) -> Floats:
        """Return the requirement of every account."""
        ...

    def quantity(self) -> Floats:
        """Return the coins of every position."""
        ...

    def free(self) -> NDArray[np.bool_]:
        """Say who is neither under liquidation nor gone: others can do nothing."""
        ...


class Behaviour(Protocol):
    """Top-ups, stop orders, new money: asked once a step, before liquidations."""

    def begin(self) -> Any:
        """Return the state before anything."""
        ...

    def next(self, state: Any, weather: Weather, people: People) -> tuple[Any, Actions | None]:
        """Return the state and what is done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeMarket:
    """News, and how a market takes it.

    Attributes
    ----------
    exogenous : float64[T, J]
        Log returns of every asset in every step.
    depth_usd : float64[K]
        D: notional that would move a price by 100 % if impact were linear; infinite where
        sales move nothing. Ignored where `books` is given.
    start_ns, step_ns : int
        Time of row 0, and the length of a step.
    impact : Impact
        How far a step's whole flow moves a price.
    books, marks, funding, margins, behaviour
        As the protocols say; None where nothing of it changes.
    """

    exogenous: Floats
    depth_usd: ArrayLike = np.inf
    start_ns: int = 0
    step_ns: int = 60_000_000_000
    impact: Impact = field(default_factory=LogLinear)
    books: Books | None = None
    marks: Marks | None = None
    funding: Funding | None = None
    margins: Margins | None = None
    behaviour: Behaviour | None = None


def _house() -> LiquidationRules:
    return liquidation_rules("house")


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeRules:
    """What a venue does at the line.

    Attributes
    ----------
    liquidation : LiquidationRules
        Steps and layers: a file of ``liquidation/rules`` or one like it.
    fund_usd, backstop_usd : float
        What the insurance fund and the backstop have at the start. Without a backstop the fund
        takes over what it would have taken.
    rounds : int
        Most liquidation rounds in a step; a step ends earlier where nothing is sold any more. 1 is
        a venue in discrete time, a large number the instant fixed point.
    rest : float
        A step has come to rest where a round closes less than this share of all coins of every
        contract: beyond it is rounding, which a gain near 1 would carry on for ever. After a shock
        of 10⁻⁶ all rounds together close no more than some 10⁻⁶ of all coins, and the default is
        then a few millionths of the answer: 0 goes on until nobody sells, or the rounds end.
    absorption : float
        φ: share of the net forced flow that holders of the other side fill by closing, all alike,
        so that open interest falls; the rest goes to whoever stands outside. Not identified by
        any data: 0.5 is the default of cascades.md, to be calibrated to the fall of open interest.
    deleveraging : {"direct", "haircut"}
        ``direct``: positions that the fund cannot pay for are closed against holders. ``haircut``:
        everything is sold in the market, and holders' profits are cut for what is lacking.
    adl_cap : float
        Most of a position that a capped ADL rule may close.
    breaker : Breaker or None
        Halts, contract by contract; no fill goes beyond the price that trips it.
    """

    liquidation: LiquidationRules = field(default_factory=_house)
    fund_usd: float = 0.0
    backstop_usd: float = 0.0
    rounds: int = 50
    rest: float = 1e-11
    absorption: float = 0.5
    deleveraging: Deleveraging = "direct"
    adl_cap: float = 1.0
    breaker: Breaker | None = None

    def __post_init__(self) -> None:
        number("fund_usd", self.fund_usd, least=0)
        number("backstop_usd", self.backstop_usd, least=0)
        number("rest", self.rest, least=0, most=1)
        number("absorption", self.absorption, least=0, most=1)
        number("adl_cap", self.adl_cap, least=0, most=1)
        if number("rounds", self.rounds) != int(number("rounds", self.rounds)) or self.rounds < 1:
            raise CascadeError(
                "a step has a whole number of rounds, at least one", code="CAS-001", field="rounds"
            )
        if self.deleveraging not in ("direct", "haircut"):
            raise CascadeError(
                f"there is no way of deleveraging named {self.deleveraging!r}",
                code="CAS-003",
                field="deleveraging",
                hint="direct or haircut",
            )
