"""The market's rules as the simulation asks for them, step by step.

The rules themselves (depth, marks, funding, margins, behaviour) are pure functions of arrays; here
each is given the state it needs and the *weather* of a step. Volatility is measured on prices as
they came out, forced sales included: a cascade frightens market makers as news does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.cascade.behaviour import (
    Calendar,
    Habits,
    Holders,
    Wealth,
    act,
    banks_never,
)
from crossmargin.cascade.figures import Floats, number, numbers
from crossmargin.cascade.funding import Funding, FundingState
from crossmargin.cascade.live_books import BooksState, LiveBooks
from crossmargin.cascade.marks import MarkRule, MarkState
from crossmargin.cascade.population import Population
from crossmargin.cascade.procyclical import FactorState, Procyclical, haircuts
from crossmargin.cascade.setting import Actions, People, Weather
from crossmargin.cascade.volatility import Volatility, VolatilityState
from crossmargin.errors import CascadeError
from crossmargin.units import NS_PER_SECOND

__all__ = [
    "BooksState",
    "HoldersState",
    "LiveBehaviour",
    "LiveBooks",
    "LiveFunding",
    "LiveMargins",
    "LiveMarks",
    "MarginsState",
    "wealth_of",
]

_HOUR_NS = 3_600 * NS_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMarks:
    """Marks of a rule, and discounts that only the venue's own book has.

    Attributes
    ----------
    rule : MarkRule
        How index and mark are formed.
    local : float64[T, J] or None
        Logarithm of what the venue's own book trades at, over the price elsewhere: a collateral
        coin that loses its peg here only. For assets that nobody trades as a contract.
    """

    rule: MarkRule = field(default_factory=MarkRule)
    local: ArrayLike | None = None

    def __post_init__(self) -> None:
        if self.local is not None and numbers("local", self.local).ndim != 2:
            raise CascadeError(
                "local has a row for each step and a column for each asset",
                code="CAS-001",
                field="local",
            )

    def begin(self) -> MarkState | None:
        """Return the state before anything."""
        return None

    def next(self, state: MarkState | None, weather: Weather) -> tuple[MarkState | None, Floats]:
        """Return the state and marks [J]."""
        book = weather.book
        if self.local is not None:
            rows = np.asarray(self.local, dtype=np.float64)
            book = book * np.exp(rows[min(weather.step, rows.shape[0] - 1)])
        if self.rule.plain:
            # The mark is the book: nobody asks for an index, and nothing is remembered.
            return state, book
        before = self.rule.start(book.size) if state is None else state
        after, _, mark = self.rule.next(before, book, weather.exogenous, weather.step_ns)
        return after, mark


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFunding:
    """Funding of the premium of the book over the index.

    Attributes
    ----------
    funding : Funding
        From premium to rate.
    marks : MarkRule
        Whose index it is; by default prices elsewhere alone.
    """

    funding: Funding
    marks: MarkRule = field(default_factory=lambda: MarkRule(kind="index", sources=(0.0,)))

    def begin(self) -> FundingState | None:
        """Return the state before anything."""
        return None

    def next(self, state: FundingState | None, weather: Weather) -> tuple[FundingState, Floats]:
        """Return the state and the rates [K] of this step on the mark."""
        k = weather.displacement.size
        before = self.funding.start(k) if state is None else state
        index = self.marks.index(weather.book, weather.exogenous)[:k]
        after, per_h = self.funding.next(before, weather.book[:k] / index - 1.0, weather.step_ns)
        return after, per_h * (weather.step_ns / _HOUR_NS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginsState:
    """Volatility of marks, factors of margins and of haircuts in force."""

    volatility: VolatilityState
    margin: FactorState
    haircut: FactorState
    mark: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMargins:
    """Margins and haircuts that follow the volatility of marks.

    Attributes
    ----------
    volatility : Volatility
        Of all J assets, per step.
    haircut : float64[J]
        Bases.
    contracts : int
        K.
    margin, collateral : Procyclical
        Factors: of K, and of J.
    most : float
        Largest haircut.
    """

    volatility: Volatility
    haircut: ArrayLike
    contracts: int
    margin: Procyclical = field(default_factory=Procyclical)
    collateral: Procyclical = field(default_factory=Procyclical)
    most: float = 1.0

    def __post_init__(self) -> None:
        numbers("haircut", self.haircut, least=0, most=1)
        number("contracts", self.contracts, least=1)

    def begin(self) -> MarginsState:
        """Return the state before anything."""
        start = self.volatility.start()
        return MarginsState(
            volatility=start,
            margin=self.margin.start(start.sigma[: self.contracts]),
            haircut=self.collateral.start(start.sigma),
        )

    def next(self, state: MarginsState, weather: Weather) -> tuple[MarginsState, Floats, Floats]:
        """Return the state, factors on maintenance [K] and haircuts [J]."""
        move = weather.returns
        if state.mark is not None:
            move = np.log(weather.mark / state.mark)
        volatility, _ = self.volatility.next(state.volatility, move)
        sigma = volatility.sigma
        margin = self.margin.next(state.margin, sigma[: self.contracts], weather.step_ns)
        haircut = self.collateral.next(state.haircut, sigma, weather.step_ns)
        after = MarginsState(
            volatility=volatility, margin=margin, haircut=haircut, mark=weather.mark
        )
        return after, margin.factor, haircuts(self.haircut, haircut.factor, most=self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldersState:
    """What can still be brought in, and the equity that stop-losses count from, float64[A]."""

    wealth: Wealth
    first: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveBehaviour:
    """Habits of the holders of a population.

    Attributes
    ----------
    habits : Habits
        Rates and thresholds.
    population : Population
        Whose accounts they are.
    wealth : Wealth
        What each can bring in; see :func:`wealth_of` for a simple one.
    seed, path : int
        Of the draws.
    key : uint64[A] or None
        What an account's draws belong to; None: its row.
    banks : Calendar
        When fiat moves.
    """

    habits: Habits
    population: Population
    wealth: Wealth
    seed: int = 0
    path: int = 0
    key: ArrayLike | None = None
    banks: Calendar = banks_never

    def begin(self) -> HoldersState:
        """Return the state before anything."""
        return HoldersState(wealth=self.wealth, first=self.population.equity())

    def next(
        self, state: HoldersState, weather: Weather, people: People
    ) -> tuple[HoldersState, Actions | None]:
        """Return what is left outside, and what is done."""
        if self.habits.idle:
            return state, None
        who = self.population
        quantity = people.quantity()
        held = np.zeros(who.size, dtype=np.bool_)
        held[who.account[quantity != 0.0]] = True
        free = getattr(people, "free", None)
        if free is not None:
            # Whoever is in the venue's hands does nothing, and spends nothing.
            held &= free()
        rows = np.flatnonzero(held)
        key = np.arange(who.size) if self.key is None else np.asarray(self.key)
        holders = Holders(
            account=rows,
            key=key[rows].astype(np.uint64),
            equity=people.equity()[rows],
            maintenance=people.maintenance()[rows],
            open=np.ones(rows.size, dtype=np.bool_),
        )
        wealth, did = act(
            self.habits,
            state.wealth,
            holders,
            start_equity=state.first,
            seed=self.seed,
            path=self.path,
            step=weather.step,
            time_ns=weather.time_ns,
            dt_ns=weather.step_ns,
            banks=self.banks,
        )
        after = replace(state, wealth=wealth)
        close = np.zeros(who.size)
        close[did.account] = did.close
        share = close[who.account]
        touched = np.flatnonzero((share > 0.0) & (quantity != 0.0))
        paid = np.flatnonzero(did.cash > 0.0)
        if not touched.size and not paid.size:
            return after, None
        return after, Actions(
            account=did.account[paid].astype(np.int32),
            cash_usd=did.cash[paid],
            row=touched.astype(np.int32),
            share=share[touched],
        )


def wealth_of(population: Population, *, fiat: float = 0.0, stable: float = 0.0) -> Wealth:
    """Return money outside in proportion to what is in: shares of each account's equity.

    House: nothing is known of what holders own elsewhere.

    Parameters
    ----------
    population : Population
        Accounts; equity below 0 counts as none.
    fiat, stable : float
        At least 0.
    """
    inside = np.maximum(population.equity(), 0.0)
    return Wealth(
        fiat=inside * number("fiat", fiat, least=0),
        stable=inside * number("stable", stable, least=0),
    )
