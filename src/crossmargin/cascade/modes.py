"""Cross against isolated margin on the same paths: what is left, what the venue bears.

One trader, one wallet, linear contracts at flat maintenance rates. Isolated, every position has a
pot of its own and the rest of the wallet stands apart; in cross margin everything is one pot.
Nothing else differs: the same positions, the same paths, the same fills, the same forfeiture. That
is what makes the comparison fair, and a test holds both modes to the same account of the money::

    wealth − deficit + forfeited = wallet + Σ q·(close − entry)

Source: requirements rows A04, A13 and A15, whose figures the tests reproduce (house model).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError
from crossmargin.stats import expected_shortfall, value_at_risk

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Mode = Literal["cross", "isolated"]
#: At the mark that breaches (a gap), or where the line is met between two marks.
Fill = Literal["gap", "line"]
#: Who keeps what is left of a pot after its positions were closed.
Forfeiture = Literal["venue", "trader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trader:
    """One trader's positions and money.

    Attributes
    ----------
    wallet : float
        US dollars, pots included, above 0.
    quantity, entry : float64[K]
        Signed coins and US dollars.
    margin : float64[K]
        What an isolated pot holds at the start, US dollars; together at most the wallet.
    mm_rate, im_rate : float64[K]
        Of notional.
    """

    wallet: float
    quantity: Floats
    entry: Floats
    margin: Floats
    mm_rate: Floats
    im_rate: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeOutcome:
    """What became of a trader on P paths of T steps.

    Attributes
    ----------
    wealth : float64[P]
        Of the trader at the end, US dollars, never below 0.
    deficit : float64[P]
        What the trader's pots owe and cannot pay; the venue bears it.
    forfeited : float64[P]
        Left over in liquidated pots and kept by the venue.
    closed_at : int64[P, K]
        Step whose mark closed each position by force, −1 where none did.
    close_price : float64[P, K]
        Price at which each position was closed, or its last mark.
    calls : int64[P]
        Steps on which some pot stood between maintenance and initial margin.
    """

    wealth: Floats
    deficit: Floats
    forfeited: Floats
    closed_at: Ints
    close_price: Floats
    calls: Ints

    @property
    def liquidated(self) -> float:
        """Share of paths on which anything was closed by force."""
        return float((self.closed_at >= 0).any(axis=1).mean())

    def loss(self, trader: Trader) -> Floats:
        """Return the trader's loss on each path, US dollars, negative for a gain."""
        return np.asarray(trader.wallet - self.wealth, dtype=np.float64)


def _numbers(values: ArrayLike, field: str, shape: tuple[int, ...] | None = None) -> Floats:
    try:
        found = np.asarray(values, dtype=np.float64)
        return found if shape is None else np.broadcast_to(found, shape)
    except (TypeError, ValueError):
        raise InputError(
            f"{field} is no array of numbers of the shape that is needed",
            code="INP-004",
            field=field,
        ) from None


def trader_of(
    wallet: float,
    quantity: ArrayLike,
    entry: ArrayLike,
    margin: ArrayLike,
    *,
    mm_rate: ArrayLike = 0.05,
    im_rate: ArrayLike = 0.10,
) -> Trader:
    """Check figures and make a trader of them.

    Raises
    ------
    InputError
        ``INP-004`` for pots that hold more than the wallet, or figures out of range.
    """
    q = np.atleast_1d(_numbers(quantity, "quantity"))
    p, m, mm, im = (
        _numbers(x, name, q.shape).copy()
        for x, name in (
            (entry, "entry"),
            (margin, "margin"),
            (mm_rate, "mm_rate"),
            (im_rate, "im_rate"),
        )
    )
    given = float(_numbers(wallet, "wallet", ()))
    good = (p > 0).all() and (m >= 0).all() and (mm > 0).all() and (im >= mm).all()
    if not (good and all(np.isfinite(x).all() for x in (q, p, m, mm, im, np.asarray(given)))):
        raise InputError(
            "a trader has finite quantities, prices above 0, margins of at least 0 and an initial "
            "rate that is not below the maintenance rate",
            code="INP-004",
            field="trader",
        )
    if m.sum() > wallet * (1.0 + 1e-12):
        raise InputError(
            f"the pots hold {m.sum():g}, which the wallet of {wallet:g} does not have",
            code="INP-004",
            field="margin",
            hint="put at most the wallet into the pots",
        )
    return Trader(wallet=float(wallet), quantity=q, entry=p, margin=m, mm_rate=mm, im_rate=im)


def play_mode(
    trader: Trader,
    paths: ArrayLike,
    mode: Mode,
    *,
    fill: Fill = "gap",
    forfeiture: Forfeiture = "venue",
) -> ModeOutcome:
    """Run a trader along paths of prices in one mode.

    Parameters
    ----------
    trader : Trader
        Who.
    paths : array-like, (P, T, K)
        Marks, US dollars, above 0. The first is that of the start: it too may liquidate.
    mode : {"cross", "isolated"}
        One pot, or one a position.
    fill : {"gap", "line"}
        ``gap``: closed at the first mark below the line; the jump may go past zero equity.
        ``line``: prices run straight from mark to mark, and the pot is closed where its equity
        meets maintenance.
    forfeiture : {"venue", "trader"}
        Who keeps the rest of a liquidated pot.

    Returns
    -------
    ModeOutcome
        A pot is closed whole.

    Raises
    ------
    InputError
        ``INP-004`` for paths of a wrong shape, or prices that are none.
    """
    marks = _numbers(paths, "paths")
    good = marks.ndim == 3 and marks.shape[2] == trader.quantity.size and marks.shape[1] > 0
    if not (good and (marks > 0).all() and np.isfinite(marks).all()):
        raise InputError(
            "paths are prices above 0, by path, step and contract",
            code="INP-004",
            field="paths",
        )
    for value, known, name in ((mode, Mode, "mode"), (fill, Fill, "fill")):
        if value not in get_args(known):
            raise InputError(
                f"there is no {name} {value!r}",
                code="INP-004",
                field=name,
                hint="one of " + ", ".join(get_args(known)),
            )
    n, _, k = marks.shape
    pots = [np.arange(k)] if mode == "cross" else [np.array([j]) for j in range(k)]
    money = [trader.wallet] if mode == "cross" else trader.margin.tolist()
    wealth = np.full(n, trader.wallet - sum(money))
    deficit, forfeited = np.zeros(n), np.zeros(n)
    closed_at = np.full((n, k), -1, dtype=np.int64)
    close_price = marks[:, -1, :].copy()
    called = np.zeros(marks.shape[:2], dtype=np.bool_)
    for held, rows in zip(money, pots):
        step, price, low = _pot(trader, marks[:, :, rows], rows, held, fill)
        left = held + ((price - trader.entry[rows]) * trader.quantity[rows]).sum(axis=1)
        gone = step >= 0
        kept = np.maximum(left, 0.0)
        deficit += np.maximum(-left, 0.0)
        taken = np.where(gone, kept, 0.0) if forfeiture == "venue" else np.zeros(n)
        forfeited += taken
        wealth += kept - taken
        closed_at[:, rows] = step[:, None]
        close_price[:, rows] = price
        called |= low
    return ModeOutcome(
        wealth=wealth,
        deficit=deficit,
        forfeited=forfeited,
        closed_at=closed_at,
        close_price=close_price,
        calls=called.sum(axis=1),
    )


def _pot(
    trader: Trader, marks: Floats, rows: Ints, money: float, fill: Fill
) -> tuple[Ints, Floats, NDArray[np.bool_]]:
    """Return when a pot is closed (−1: never), at which prices, and when it is under call."""
    q = trader.quantity[rows]
    equity = money + ((marks - trader.entry[rows]) * q).sum(axis=2)
    notional = np.abs(q) * marks
    excess = equity - (trader.mm_rate[rows] * notional).sum(axis=2)
    below = excess < 0.0
    gone = below.any(axis=1)
    step = np.where(gone, below.argmax(axis=1), -1)
    alive = np.arange(marks.shape[1]) < np.where(gone, step, marks.shape[1])[:, None]
    call = alive & (equity < (trader.im_rate[rows] * notional).sum(axis=2))
    path = np.arange(marks.shape[0])
    price = marks[path, step]
    if fill == "line":
        # Equity and requirement are linear between two marks: where they meet is exact.
        before = np.maximum(step - 1, 0)
        high, low = excess[path, before], excess[path, step]
        inside = (step > 0) & (high > 0.0)
        share = np.divide(high, high - low, out=np.ones(high.size), where=inside)
        there = marks[path, before] + share[:, None] * (price - marks[path, before])
        price = np.where((gone & inside)[:, None], there, price)
    return step, np.where(gone[:, None], price, marks[:, -1]), call


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeFigures:
    """One mode in figures; money in US dollars.

    Attributes
    ----------
    mode : Mode
        Which.
    mean_wealth : float
        At the end.
    p_liquidated : float
        Share of paths on which anything was closed by force.
    var, cvar : float
        Quantile of the trader's loss, and its mean beyond.
    mean_deficit, cvar_deficit : float
        What the venue bears: its mean, and its mean in the worst cases.
    call_share : float
        Share of steps under a margin call.
    """

    mode: Mode
    mean_wealth: float
    p_liquidated: float
    var: float
    cvar: float
    mean_deficit: float
    cvar_deficit: float
    call_share: float


def compare_modes(
    trader: Trader,
    paths: ArrayLike,
    *,
    level: float = 0.99,
    fill: Fill = "gap",
    forfeiture: Forfeiture = "venue",
) -> tuple[ModeFigures, ModeFigures]:
    """Run both modes on the same paths and put their figures side by side.

    Neither mode wins by construction: where gaps are small, forfeiture of pots makes isolated
    margin dearer; where they are large, cross margin puts more of the wallet at stake. Source:
    requirements row A13 (one-jump lognormal gaps, σ = 3 % and 10 %).

    Parameters
    ----------
    trader, paths, fill, forfeiture
        As :func:`play_mode`.
    level : float
        Confidence of the tails, between 0 and 1.

    Returns
    -------
    tuple of ModeFigures
        Cross, isolated.
    """
    if not 0.0 < float(_numbers(level, "level", ())) < 1.0:
        raise InputError("a confidence lies between 0 and 1", code="INP-004", field="level")
    marks = _numbers(paths, "paths")
    found = []
    for mode in get_args(Mode):
        made = play_mode(trader, marks, mode, fill=fill, forfeiture=forfeiture)
        loss = made.loss(trader)
        found.append(
            ModeFigures(
                mode=mode,
                mean_wealth=float(made.wealth.mean()),
                p_liquidated=made.liquidated,
                var=value_at_risk(loss, level),
                cvar=expected_shortfall(loss, level),
                mean_deficit=float(made.deficit.mean()),
                cvar_deficit=expected_shortfall(made.deficit, level),
                call_share=float(made.calls.mean() / marks.shape[1]),
            )
        )
    return found[0], found[1]


def withstood(trader: Trader, mode: Mode, direction: ArrayLike) -> float:
    """Return the largest shock at which the trader keeps every position.

    Prices move to ``entry·(1 + x·direction)``; the answer is the largest x ≥ 0 with equity ≥ MM in
    every pot, in closed form: each excess is linear in x but where a price reaches 0, and stays
    there. Source: requirements row A15 ("drawdown withstood").

    Parameters
    ----------
    trader : Trader
        At entry.
    mode : {"cross", "isolated"}
        How it is margined.
    direction : array-like, (K,)
        Relative move of each contract per unit of x: ``-1`` for a fall of all.

    Returns
    -------
    float
        Infinite where no shock breaches, 0 where the line is broken at once.
    """
    d = _numbers(direction, "direction", trader.quantity.shape)
    if not np.isfinite(d).all():
        raise InputError("a direction has finite moves", code="INP-004", field="direction")
    value = trader.quantity * trader.entry
    # Equity less requirement per unit of price, the price at entry being 1.
    weight = value - trader.mm_rate * np.abs(value)
    if mode == "cross":
        return _reach(trader.wallet - float(value.sum()), weight, d)
    pots = zip(trader.margin - value, weight, d, strict=True)
    return min(_reach(float(money), w[None], move[None]) for money, w, move in pots)


def _reach(money: float, weight: Floats, direction: Floats) -> float:
    """Return the largest x with ``money + Σ weight·max(1 + x·direction, 0) ≥ 0`` up to it."""
    start = money + float(weight.sum())
    if start < 0.0:
        return 0.0
    at, excess = 0.0, start
    # Moves at which prices are 0, and an end without any.
    ends = np.unique(-1.0 / direction[direction < 0.0])
    for end in [*ends.tolist(), np.inf]:
        moving = (direction >= 0.0) | (-1.0 / np.where(direction < 0.0, direction, -1.0) > at)
        slope = float((weight * direction)[moving].sum())
        here = at + excess / -slope if slope < 0.0 else np.inf
        if here <= end and np.isfinite(here):
            return here
        excess, at = excess + slope * (end - at) if np.isfinite(end) else excess, end
    return float("inf")
