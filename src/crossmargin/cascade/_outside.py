"""The market around the accounts in a run: prices, depth, marks, funding, margins, breakers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade._measure import Marks
from crossmargin.cascade._round import Window
from crossmargin.cascade._venue import Venue
from crossmargin.cascade.figures import numbers
from crossmargin.cascade.population import Population
from crossmargin.cascade.setting import (
    Actions,
    Behaviour,
    CascadeMarket,
    CascadeRules,
    People,
    Weather,
)
from crossmargin.errors import CascadeError
from crossmargin.liquidation import Breaker, BreakerState, breaker_at_rest, observe

Floats = NDArray[np.float64]


class Outside:
    """Everything that is not accounts, as it stands."""

    def __init__(self, people: Population, market: CascadeMarket, rules: CascadeRules) -> None:
        j, k = people.price.size, len(people.contracts)
        self.market, self._contracts = market, k
        self.returns = numbers("exogenous", market.exogenous)
        if self.returns.ndim != 2 or self.returns.shape[1] != j:
            raise CascadeError(
                f"exogenous returns are of the shape {self.returns.shape}, not steps by {j} assets",
                code="CAS-001",
                field="exogenous",
            )
        with np.errstate(over="ignore", under="ignore"):
            news = people.price * np.exp(np.cumsum(self.returns, axis=0))
        if not ((news > 0.0) & np.isfinite(news)).all():
            wrong = people.assets[int(np.argwhere(~((news > 0.0) & np.isfinite(news)))[0, 1])]
            raise CascadeError(
                f"exogenous returns carry the price of {wrong} to nothing or beyond all numbers",
                code="CAS-001",
                field="exogenous",
                hint="returns are logarithms of one step: -0.1 is a fall of 9.5 %",
            )
        depth = numbers("depth_usd", market.depth_usd, above=0, finite=False)
        if depth.ndim > 1 or depth.size not in (1, k):
            raise CascadeError(
                f"{depth.size} depths for {k} contracts", code="CAS-001", field="depth_usd"
            )
        for name, value, least in (
            ("step_ns", market.step_ns, 1),
            ("start_ns", market.start_ns, 0),
        ):
            if not isinstance(value, (int, np.integer)) or value < least:
                raise CascadeError(
                    f"{name} is {value!r}, not a whole number of nanoseconds from {least} on",
                    code="CAS-001",
                    field=name,
                )
        self.steps = int(self.returns.shape[0])
        self.start, self._moved = people.price, np.zeros(j)
        self.exogenous, self.mark = people.price.copy(), people.price.copy()
        self.displacement, self.paid = np.zeros(k), np.zeros(k)
        self.factor, self.haircut = np.ones(k), people.haircut
        self.depth = np.broadcast_to(depth, (k,)).astype(np.float64)
        self.rate = np.zeros(k)
        self.time_ns = market.start_ns
        rules_of = (market.books, market.marks, market.funding, market.margins, market.behaviour)
        self._state: list[Any] = [None if rule is None else rule.begin() for rule in rules_of]
        self._mark_state = self._state[1]
        self._terms = rules.breaker
        self._breakers: list[BreakerState] = []
        if rules.breaker is not None:
            prices = people.price[:k].tolist()
            self._breakers = [breaker_at_rest(market.start_ns, p) for p in prices]
        self.weather: Weather | None = None

    @property
    def book(self) -> Floats:
        """Prices now, own sales included, float64[J]."""
        k = self._contracts
        found = self.exogenous.copy()
        found[:k] *= np.exp(self.displacement)
        return found

    def now(self, venue: Venue) -> Marks:
        """Return prices of this moment as the kernels want them."""
        k, factor = self._contracts, self.factor
        if self._breakers:
            factor = factor * np.array([b.margin_factor for b in self._breakers])
        return Marks(
            mark=self.mark,
            worth=self.mark[:k] - self.paid,
            factor=factor,
            credit=self.mark * (1.0 - self.haircut),
            scale=venue.history.scale.copy(),
            taken=venue.history.taken.copy(),
        )

    def move(self, step: int, venue: Venue) -> None:
        """Let news, depth, marks, funding and margins of a step arrive."""
        market, k = self.market, self._contracts
        self.time_ns = market.start_ns + (step + 1) * market.step_ns
        self._moved = self._moved + self.returns[step]
        self.exogenous = np.asarray(self.start * np.exp(self._moved), dtype=np.float64)
        self._mark_state = self._state[1]
        if market.books is not None:
            weather = self._weather(step, venue)
            self._state[0], depth, gap, keep = market.books.next(self._state[0], weather)
            self.depth = np.broadcast_to(numbers("depth_usd", depth, above=0, finite=False), (k,))
            self.displacement = self.displacement * keep + gap
        self.weather = self._weather(step, venue)
        self._set_mark()
        if market.funding is not None:
            self._state[2], self.rate = market.funding.next(
                self._state[2], self._weather(step, venue)
            )
            self.paid = self.paid + self.rate * self.mark[:k]
        if market.margins is not None:
            found = market.margins.next(self._state[3], self._weather(step, venue))
            self._state[3] = found[0]
            self.factor = numbers("mm_factor", found[1], above=0)
            self.haircut = numbers("haircut", found[2], least=0, most=1)
        self._observe()

    def ask(self, behaviour: Behaviour, people: People) -> Actions | None:
        """Ask what people do in this step."""
        assert self.weather is not None
        self._state[4], found = behaviour.next(self._state[4], self.weather, people)
        return found

    def _weather(self, step: int, venue: Venue) -> Weather:
        return Weather(
            step=step,
            steps=self.steps,
            time_ns=self.time_ns,
            step_ns=self.market.step_ns,
            returns=self.returns[step],
            exogenous=self.exogenous,
            mark=self.mark,
            book=self.book,
            displacement=self.displacement,
            depth_usd=self.depth,
            open_interest=venue.open_interest,
        )

    def _set_mark(self) -> None:
        if self.market.marks is None:
            self.mark = self.book
            return
        assert self.weather is not None
        self._state[1], mark = self.market.marks.next(self._mark_state, self.weather)
        self.mark = numbers("mark", mark, above=0)

    def _observe(self) -> None:
        if self._terms is None:
            return
        prices = self.book[: self._contracts].tolist()
        for row, price in enumerate(prices):
            state = self._breakers[row]
            self._breakers[row], _ = observe(self._terms, state, self.time_ns, price)

    def window(self) -> Window:
        """Open the market of a step."""
        k = self._contracts
        depth = self.depth
        if self._terms is not None:
            ease = [
                self._terms.impact_factor if b.phase == "reopening" else 1.0 for b in self._breakers
            ]
            depth = depth / np.array(ease)
        found = Window(
            price=self.book[:k],
            depth=np.ascontiguousarray(depth),
            flow=np.zeros(k),
            floor=np.zeros(k),
            halted=np.zeros(k, dtype=np.bool_),
            impact=self.market.impact,
        )
        self._bind(found)
        return found

    def _bind(self, window: Window) -> None:
        if self._terms is None:
            return
        window.halted = np.array([b.phase == "halted" for b in self._breakers])
        window.floor = np.array([_floor(self._terms, b, self.time_ns) for b in self._breakers])

    def fill(self, window: Window) -> None:
        """Take note of prices after a round: marks and breakers follow."""
        k = self._contracts
        book = window.book()
        if not (book > 0.0).all():
            raise CascadeError(
                f"forced sales carried the price of contract {int(np.argmin(book))} to nothing",
                code="CAS-001",
                field="depth_usd",
                hint="give it more depth, or an impact with a floor",
            )
        self.displacement = np.log(book / self.exogenous[:k])
        if self.market.marks is not None:
            self._set_weather_book()
        self._set_mark()
        self._observe()
        self._bind(window)

    def _set_weather_book(self) -> None:
        assert self.weather is not None
        self.weather = replace(
            self.weather, book=self.book, mark=self.mark, displacement=self.displacement
        )


def _floor(terms: Breaker, state: BreakerState, time_ns: int) -> float:
    """Return the price that trips a breaker next; 0 while none can."""
    if state.phase != "open" or time_ns < state.armed_from_ns or not state.seen:
        return 0.0
    reference = state.seen[0][1]
    falls = [
        t.fall_abs if t.fall_abs is not None else (t.fall_rel or 0.0) * reference
        for t in terms.tiers
    ]
    return max(reference - min(falls), 0.0)
