"""Who competes: models of losses and rule-sets behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin import Ruleset
from crossmargin.validation._result import Floats
from crossmargin.validation.history import MarketHistory
from crossmargin.validation.models import Forecast, LossModel
from crossmargin.validation.portfolios import (
    START_UP,
    START_UP_SYNTHETIC,
    Portfolio,
    known_days,
    losses,
)
from crossmargin.validation.ruleset_path import ruleset_path
from crossmargin.validation.step import Step
from crossmargin.validation.surface import HeldShape

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all contenders of one test see.

    Attributes
    ----------
    history : MarketHistory
        Daily market.
    shape : HeldShape
        Of the volatility proxy.
    books : tuple of Portfolio
        Static books.
    horizon : int
        Days over which a loss is made.
    level : float
        Confidence that the margin is held to.
    daily, loss : float64[P, D]
        Loss over one day and over the horizon after each close, US dollars; NaN where unknown.
    first : tuple of int
        First day on which each book is tested; the number of days where it never is.
    """

    history: MarketHistory
    shape: HeldShape
    books: tuple[Portfolio, ...]
    horizon: int
    level: float
    daily: Floats
    loss: Floats
    first: tuple[int, ...]

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Days of each book on which a margin is asked for, shape ``[P, D]``."""
        days = np.zeros(self.loss.shape, dtype=np.bool_)
        for p, start in enumerate(self.first):
            days[p, start:] = np.isfinite(self.loss[p, start:])
        return days


def make_setting(
    books: Sequence[Portfolio],
    history: MarketHistory,
    shape: HeldShape,
    *,
    level: float = 0.99,
    horizon: int = 1,
    start_up: int | None = None,
) -> Setting:
    """Value the books on the history and fix the days of the test.

    Parameters
    ----------
    books : sequence of Portfolio
        Static books.
    history : MarketHistory
        Daily market.
    shape : HeldShape
        Of the volatility proxy.
    level : float
        Confidence that margins are held to.
    horizon : int
        Days.
    start_up : int, optional
        Days before the first one that is tested, from the first day on which everything has a
        price; default 500, and 250 for books on the volatility proxy.
    """
    daily = np.stack([losses(book, history, shape, 1) for book in books])
    loss = (
        daily
        if horizon == 1
        else np.stack([losses(book, history, shape, horizon) for book in books])
    )
    first = []
    for book in books:
        known = known_days(book, history)
        wait = start_up
        if wait is None:
            wait = START_UP_SYNTHETIC if book.synthetic else START_UP
        begin = int(np.argmax(known)) if known.any() else known.size
        first.append(min(begin + wait, known.size))
    return Setting(
        history=history,
        shape=shape,
        books=tuple(books),
        horizon=horizon,
        level=level,
        daily=daily,
        loss=loss,
        first=tuple(first),
    )


class Contender(Protocol):
    """Something that says what to hold against each book on each day."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        ...

    @property
    def title(self) -> str:
        """One line that says what it is."""
        ...

    @property
    def limits(self) -> tuple[str, ...]:
        """What a reader must know before believing the figures."""
        ...

    @property
    def step(self) -> Step:
        """Step in volatility that it is shown: long and often where it learns from history."""
        ...

    def forecasts(self, setting: Setting, progress: Progress | None = None) -> list[Forecast | str]:
        """Return a forecast for each book, or the reason why there is none."""
        ...


@dataclass(frozen=True, slots=True)
class OfLosses:
    """A contender that looks at the losses of the book itself."""

    model: LossModel

    @property
    def name(self) -> str:
        """Short name for tables."""
        return self.model.name

    @property
    def title(self) -> str:
        """One line that says what it is."""
        return self.model.title

    @property
    def limits(self) -> tuple[str, ...]:
        """What a reader must know."""
        return ("It sees the book's own past profit and loss, not its risk factors.",)

    @property
    def step(self) -> Step:
        """Step in volatility that it is shown."""
        return Step()

    def forecasts(self, setting: Setting, progress: Progress | None = None) -> list[Forecast | str]:
        """Return a forecast for each book."""
        out: list[Forecast | str] = []
        for p in range(len(setting.books)):
            out.append(self.model.forecast(setting.daily[p], setting.loss[p], setting.horizon))
            if progress is not None:
                progress(p + 1, len(setting.books))
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class OfRuleset:
    """A contender that is a rule-set, evaluated by the engine on every day.

    Attributes
    ----------
    ruleset : Ruleset
        The rules, as they stand today on all days.
    requirement : {"im", "mm"}
        Which requirement is held.
    dollar : str
        Settlement of its linear contracts.
    """

    ruleset: Ruleset
    requirement: Literal["im", "mm"] = "im"
    dollar: str = "USDC"

    @property
    def name(self) -> str:
        """Short name for tables."""
        return self.ruleset.id

    @property
    def title(self) -> str:
        """One line that says what it is."""
        word = "initial" if self.requirement == "im" else "maintenance"
        return f"{self.ruleset.data.title}, {word} margin"

    @property
    def limits(self) -> tuple[str, ...]:
        """What a reader must know."""
        said = [
            "Today's rules and figures on all days, whatever the venue had then.",
            "A venue that liquidates within minutes does not set out to cover a day.",
        ]
        if not self.ruleset.complete:
            said.append("The rule-set is incomplete: what has no published source is left out.")
        return tuple(said)

    @property
    def step(self) -> Step:
        """Step in volatility that it is shown: short, since rules forget nothing."""
        return Step(calm_days=30, days=60, paths=1)

    def forecasts(self, setting: Setting, progress: Progress | None = None) -> list[Forecast | str]:
        """Return a forecast for each book, or why the rules do not cover it."""
        made = ruleset_path(
            setting.books,
            setting.history,
            self.ruleset,
            setting.shape,
            setting.tested,
            level=self.requirement,
            dollar=self.dollar,
            progress=progress,
        )
        return [
            made.refusals[p] if p in made.refusals else Forecast(margin=made.cover[p])
            for p in range(len(setting.books))
        ]
