"""A contender that is a statistical rule-set: one with a section ``tail``, day by day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CrossmarginError, RulesetError
from crossmargin.margin import HouseOption, HousePortfolio, Ruleset, house_margin_path
from crossmargin.market import FactorHistory, factor_history, without_funding
from crossmargin.scenarios import TailSpec
from crossmargin.validation._result import Floats
from crossmargin.validation.contenders import Progress, Setting
from crossmargin.validation.history import PERPETUAL
from crossmargin.validation.models import Forecast
from crossmargin.validation.portfolios import Portfolio
from crossmargin.validation.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class OfTail:
    """A rule-set whose margin is a tail of past returns, margined by its quick path.

    Attributes
    ----------
    ruleset : Ruleset
        With a section ``tail``.
    spec : TailSpec
        The section; its horizon and confidence become those of the test.
    label : str
        Ends the name of a variant.
    """

    ruleset: Ruleset
    spec: TailSpec
    label: str = ""

    @property
    def name(self) -> str:
        """Short name for tables."""
        return self.ruleset.id + self.label

    @property
    def title(self) -> str:
        """One line that says what it is."""
        return self.ruleset.data.title

    @property
    def limits(self) -> tuple[str, ...]:
        """What a reader must know."""
        return (
            *self.ruleset.data.limits,
            "Market risk only: add-ons for liquidity and concentration and the cap on bought "
            "options are not in the path.",
            "Options are margined at the level at the money, and valued with the held skew.",
            "VaR and ES that are tested are those of the filtered past, the margin is the whole.",
        )

    @property
    def step(self) -> Step:
        """Step in volatility that it is shown: fewer paths, since each day is dear."""
        return Step(calm_days=600, days=400, paths=4)

    def variants(self) -> dict[str, OfTail]:
        """Return the model without any anti-procyclicality tool, and with each of its own."""
        none = {"stress_weight": 0.0, "floor": 0.0, "buffer": 0.0}
        weight = self.spec.stress_weight or 0.25
        changes = {
            "none": none,
            "stress weight": {**none, "stress_weight": weight},
            "floor": {**none, "floor": self.spec.floor or 1.0},
            "buffer": {**none, "buffer": self.spec.buffer or 0.25},
        }
        return {
            tool: OfTail(
                ruleset=self.ruleset,
                spec=msgspec.structs.replace(self.spec, **changed),
                label=f", {tool}",
            )
            for tool, changed in changes.items()
        }

    def forecasts(self, setting: Setting, progress: Progress | None = None) -> list[Forecast | str]:
        """Return a forecast for each book, or why there is none.

        Where the model refuses a coin's history, the books are halved until those that hold it
        stand alone, so that one coin does not stop the others.
        """
        out: list[Forecast | str] = [""] * len(setting.books)
        parts = [np.arange(len(setting.books))]
        while parts:
            mine = parts.pop()
            try:
                made: list[Forecast | str] = list(self._together(setting, mine, progress))
            except CrossmarginError as error:
                if mine.size > 1:
                    parts += [mine[: mine.size // 2], mine[mine.size // 2 :]]
                    continue
                made = [str(error)]
            for p, one in zip(mine.tolist(), made, strict=True):
                out[p] = one
        return out

    def _together(
        self, setting: Setting, mine: NDArray[np.int64], progress: Progress | None
    ) -> list[Forecast]:
        """Margin some books in one pass over the history."""
        history = setting.history
        books = [setting.books[p] for p in mine.tolist()]
        spec = msgspec.structs.replace(
            self.spec, horizon_days=setting.horizon, level_im=setting.level,
            level_mm=min(self.spec.level_mm, setting.level),
        )  # fmt: skip
        wanted = np.flatnonzero(setting.tested[mine].any(axis=0))
        if not wanted.size:
            nothing = np.full(len(history.days), np.nan)
            return [Forecast(margin=nothing) for _ in books]
        path = house_margin_path(
            [_portfolio(book) for book in books],
            _factors(books, setting, spec),
            spec,
            first=history.days[int(wanted[0])],
            last=history.days[int(wanted[-1])],
            sizes="usd",
            progress=progress,
        )
        place = {day: k for k, day in enumerate(history.days)}
        at = np.array([place[day] for day in path.days])

        def spread(rows: Floats) -> Floats:
            out = np.full((len(books), len(history.days)), np.nan)
            out[:, at] = rows
            return out

        margin, var, explained = spread(path.im), spread(path.var), spread(path.pnl)
        share = 1.0 - spec.stress_weight
        es = spread(path.parts["base"] / share) if share > 0 else None
        return [
            Forecast(
                margin=margin[k],
                var=None if es is None else var[k],
                es=None if es is None else es[k],
                explained=explained[k],
            )
            for k in range(len(books))
        ]


def _factors(books: Sequence[Portfolio], setting: Setting, spec: TailSpec) -> FactorHistory:
    """Return the series that the books and the model's proxy need."""
    history = setting.history
    coins = {spec.proxy} if spec.proxy and history.has(spec.proxy) else set()
    own = {leg.symbol for book in books for leg in book.legs if leg.price == "perpetual"}
    for book in books:
        coins |= {leg.asset for leg in book.legs} | {one.asset for one in book.collateral}
    prices = {name: history.price[:, history.column(name)] for name in sorted(coins)}
    if own and history.has(spec.proxy + PERPETUAL):
        own.add(spec.proxy + PERPETUAL)
    for name in sorted(own):
        column = history.column(name)
        prices[name] = without_funding(history.price[:, column], history.carry[:, column])
    vols = {
        name: history.vol[:, history.column(name)] * setting.shape.level
        for name in sorted(coins)
        if np.isfinite(history.vol[:, history.column(name)]).any()
    }
    return factor_history(history.days, prices, vols, source=history.source)


def _portfolio(book: Portfolio) -> HousePortfolio:
    """Write a book down in US dollars of each coin, collateral among the coins.

    What follows the index is held as the coin, what follows a price of its own as a contract.
    """
    coins: dict[str, float] = {}
    contracts: dict[str, float] = {}
    for leg in book.legs:
        if leg.kind == "perpetual":
            side = contracts if leg.price == "perpetual" else coins
            side[leg.symbol] = side.get(leg.symbol, 0.0) + leg.usd
    for pledge in book.collateral:
        coins[pledge.asset] = coins.get(pledge.asset, 0.0) + pledge.usd
    options = tuple(
        HouseOption(
            underlying=leg.asset,
            quantity=leg.usd,
            days=float(leg.days),
            moneyness=leg.strike,
            is_call=leg.kind == "call",
        )
        for leg in book.legs
        if leg.kind != "perpetual"
    )
    return HousePortfolio(name=book.name, coins=coins, contracts=contracts, options=options)


def tail_of(ruleset: Ruleset) -> TailSpec | None:
    """Return the section ``tail`` of a rule-set, or None where it has none.

    Raises
    ------
    RulesetError
        ``RUL-036`` when its volatility cannot be followed through a history.
    """
    spec = ruleset.data.tail
    if not isinstance(spec, TailSpec):
        return None
    if spec.volatility != "ewma":
        raise RulesetError(
            "a back-test needs volatility = 'ewma': a GARCH fit sees later days",
            code="RUL-036",
            field="tail.volatility",
            hint="use --set tail.volatility=ewma",
        )
    return spec
