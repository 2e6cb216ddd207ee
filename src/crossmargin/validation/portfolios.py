"""Books on which a model is tried, and what they lose over a horizon.

A book is *static*: its sizes are set anew in US dollars on every morning of the test and stay as
they are over the horizon (hypothetical profit and loss, as PFMI principle 6 asks). So the book is
the same on every day and margin moves because the market does.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import msgspec
import numpy as np

from crossmargin.codec import Certainty, convert_data, parse_toml
from crossmargin.errors import InputError
from crossmargin.pricing import black76
from crossmargin.validation._result import Floats
from crossmargin.validation.history import PERPETUAL, MarketHistory
from crossmargin.validation.surface import YEAR, HeldShape

#: Days of history before the first day that is tested.
START_UP = 500
#: The same for books that rest on the volatility proxy, whose history is shorter.
START_UP_SYNTHETIC = 250


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Strict data."""


class Leg(_Data, frozen=True, kw_only=True):
    """One position.

    `usd` is its size in US dollars of the coin on each morning, > 0 long. `strike` is a multiple
    of the index and `days` the time to expiry of options. `price` says whose price a perpetual
    follows: the index, or its own.
    """

    kind: Literal["perpetual", "call", "put"]
    asset: str
    usd: float
    strike: float = 1.0
    days: int = 0
    price: Literal["index", "perpetual"] = "index"

    @property
    def symbol(self) -> str:
        """Series of the history that it follows."""
        return self.asset + (PERPETUAL if self.price == "perpetual" else "")


class Pledge(_Data, frozen=True, kw_only=True):
    """Collateral: a coin, worth so many US dollars on each morning."""

    asset: str
    usd: float


class Portfolio(_Data, frozen=True, kw_only=True):
    """A static book: legs, collateral and the group that it is reported under."""

    name: str
    group: str
    legs: list[Leg]
    collateral: list[Pledge] = []
    description: str = ""

    @property
    def synthetic(self) -> bool:
        """Whether it is valued on the volatility proxy."""
        return any(leg.kind != "perpetual" for leg in self.legs)

    @property
    def gross_usd(self) -> float:
        """Sum of the sizes of its legs."""
        return sum(abs(leg.usd) for leg in self.legs)


class Crash(_Data, frozen=True, kw_only=True):
    """Days of a crisis, both included."""

    name: str
    since: str
    until: str


class _Source(_Data, frozen=True, kw_only=True):
    title: str
    date: str
    confidence: Certainty


class _Shape(_Data, frozen=True, kw_only=True):
    level: float
    skew: float
    curvature: float
    cut: float
    lowest: float
    source: _Source


class PortfolioFile(_Data, frozen=True, kw_only=True):
    """Books, crises and the held shape of the volatility proxy."""

    format: Literal["crossmargin-portfolios/1"]
    source: _Source
    portfolios: list[Portfolio]
    crashes: list[Crash] = []
    shape: _Shape | None = None

    @property
    def held(self) -> HeldShape:
        """The shape; that of the house where the file has none."""
        given = self.shape if self.shape is not None else house_portfolios().shape
        assert given is not None
        return HeldShape(
            level=given.level,
            skew=given.skew,
            curvature=given.curvature,
            cut=given.cut,
            lowest=given.lowest,
        )


def _wrong(message: str, field: str) -> InputError:
    return InputError(
        message,
        code="INP-003",
        field=field,
        hint="see docs/models/validation.md for the form of a file of portfolios",
    )


def portfolios_from_toml(text: str, what: str) -> PortfolioFile:
    """Read a file of portfolios.

    Raises
    ------
    InputError
        ``INP-003`` for a wrong shape, ``INP-004`` for a size, strike or time that cannot be,
        ``INP-007`` for a name given twice.
    """
    made = convert_data(parse_toml(text, what, _wrong), PortfolioFile, what, _wrong)
    seen: set[str] = set()
    for book in made.portfolios:
        if book.name in seen:
            raise InputError(f"{what}: {book.name!r} appears twice", code="INP-007")
        seen.add(book.name)
        _check(book, what)
    return made


def _check(book: Portfolio, what: str) -> None:
    wrong: list[tuple[bool, str]] = [(not book.legs, "legs")]
    for leg in book.legs:
        option = leg.kind != "perpetual"
        wrong += [
            (leg.usd == 0.0, "usd"),
            (option and leg.strike <= 0.0, "strike"),
            (option and leg.days < 2, "days"),
            (option and leg.price != "index", "price"),
        ]
    wrong += [(pledge.usd <= 0.0, "collateral") for pledge in book.collateral]
    for bad, field in wrong:
        if bad:
            raise InputError(
                f"{what}: portfolio {book.name!r} has no usable {field}",
                code="INP-004",
                field=field,
                hint="legs need a size that is not 0, options a strike and at least 2 days",
            )


@lru_cache(maxsize=1)
def house_portfolios() -> PortfolioFile:
    """Return the portfolios that ship with the package."""
    name = "portfolios.toml"
    return portfolios_from_toml(files(__package__).joinpath(name).read_text("utf-8"), name)


def choose(file: PortfolioFile, names: list[str] | None) -> list[Portfolio]:
    """Return some of the portfolios by name or group, or all.

    Raises
    ------
    InputError
        ``INP-003`` for a name that the file does not have.
    """
    if not names:
        return list(file.portfolios)
    out: list[Portfolio] = []
    for name in names:
        found = [b for b in file.portfolios if name in (b.name, b.group)]
        if not found:
            known = ", ".join(b.name for b in file.portfolios)
            raise InputError(
                f"no portfolio is called {name!r}", code="INP-003", field="portfolio",
                hint=f"known are {known}",
            )  # fmt: skip
        out += [b for b in found if b not in out]
    return out


def known_days(book: Portfolio, history: MarketHistory) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return the days on which everything the book holds has a price."""
    known = np.ones(len(history.days), dtype=np.bool_)
    for leg in book.legs:
        known &= ~np.isnan(history.price[:, history.column(leg.symbol)])
        if leg.kind != "perpetual":
            known &= ~np.isnan(history.vol[:, history.column(leg.asset)])
    for pledge in book.collateral:
        known &= ~np.isnan(history.price[:, history.column(pledge.asset)])
    return known


def losses(book: Portfolio, history: MarketHistory, shape: HeldShape, horizon: int = 1) -> Floats:
    """Return what the book loses from each day's close over the horizon, US dollars.

    Positions and collateral together; funding over the horizon included where it is known.
    Options are Black-76 on the index as forward, without interest.

    Parameters
    ----------
    book : Portfolio
        Static over the horizon.
    history : MarketHistory
        Daily market.
    shape : HeldShape
        Of the volatility proxy.
    horizon : int
        Days, at least 1 and less than the time to expiry of every option.

    Returns
    -------
    float64[D]
        Positive is a loss; NaN where a price is missing or the horizon ends after the history.
    """
    count = len(history.days)
    if horizon < 1 or any(leg.kind != "perpetual" and leg.days <= horizon for leg in book.legs):
        raise InputError(
            f"a horizon of {horizon} days",
            code="INP-004",
            field="horizon",
            hint="give at least 1 day and fewer than the shortest option has",
        )
    out = np.full(count, np.nan)
    if count <= horizon:
        return out
    gain = np.zeros(count - horizon)
    for leg in book.legs:
        gain += _leg_gain(leg, history, shape, horizon)
    for pledge in book.collateral:
        price = history.price[:, history.column(pledge.asset)]
        gain += pledge.usd * (price[horizon:] / price[:-horizon] - 1.0)
    out[: count - horizon] = -gain
    return out


def _leg_gain(leg: Leg, history: MarketHistory, shape: HeldShape, horizon: int) -> Floats:
    column = history.column(leg.symbol)
    price = history.price[:, column]
    before, after = price[:-horizon], price[horizon:]
    if leg.kind == "perpetual":
        paid = np.cumsum(history.carry[:, column])
        return np.asarray(leg.usd * (after / before - 1.0 - (paid[horizon:] - paid[:-horizon])))
    vol = history.vol[:, history.column(leg.asset)]
    strike = leg.strike * before
    then = option_value(strike, after, vol[horizon:], leg, leg.days - horizon, shape)
    now = option_value(strike, before, vol[:-horizon], leg, leg.days, shape)
    return leg.usd / before * (then - now)


def option_value(
    strike: Floats, price: Floats, level: Floats, leg: Leg, days: float, shape: HeldShape
) -> Floats:
    """Return the value of one option on the proxy, US dollars; NaN where a figure is missing."""
    out = np.full(price.shape, np.nan)
    ok = ~(np.isnan(price) | np.isnan(level) | np.isnan(strike))
    years = days / YEAR
    vol = shape.vol(level[ok], np.log(strike[ok] / price[ok]), years)
    out[ok] = black76(price[ok], strike[ok], years, vol, leg.kind == "call")
    return out
