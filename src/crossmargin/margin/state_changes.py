"""Where a state changes: the prices or volatilities at which an account crosses its lines.

The account is carried along a path (one underlying, several together, volatilities), everything
is revalued and re-tiered at every step, and each change of sign of *equity − line* is closed in
until it stands between two evaluated points.

Lines, pot by pot: ``im`` (equity = IM, open orders at their worst fills), ``mm`` (equity = MM),
``bankruptcy`` (equity = 0) and any health h (equity = h·MM). An account is over a line when all
its pots are. Source of the states: requirements rows A23 (reverse stress) and A26; of the solver:
:mod:`crossmargin.margin.liquidation_price` (house).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile, book_from_accounts
from crossmargin.errors import CrossmarginError, InputError, MarginError
from crossmargin.instruments import DOLLARS, KIND_CODE
from crossmargin.margin._crossing import close_in, outward
from crossmargin.margin._frame import Frame
from crossmargin.margin._standing import asked, pot_names
from crossmargin.margin.engine import equity, fenced_margins, frame_for, requirement
from crossmargin.margin.liquidation_price import HIGHEST_RATIO, LOWEST_RATIO, moving_assets
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]

#: Volatilities below this are not looked at: one basis point a year.
LEAST_VOL = 1e-4

VolShift = Literal["relative", "absolute"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One crossing of one line.

    Attributes
    ----------
    line : str
        ``im``, ``mm``, ``bankruptcy`` or ``health 1.5``.
    pot : str
        The pot that crosses.
    at : float
        Coordinate: ratio to today's price, factor on volatilities, or shift in volatility.
    price_usd : float or None
        Price of the driving underlying there; None for volatilities and several together.
    falls : bool
        Whether equity falls below the line on the way from today; False where it recovers.
    safe, dead : float
        Evaluated coordinates on either side: at or over the line, and below it.
    safe_usd, dead_usd : float
        Equity − line there, US dollars.
    """

    line: str
    pot: str
    at: float
    price_usd: float | None
    falls: bool
    safe: float
    dead: float
    safe_usd: float
    dead_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanges:
    """All crossings along one path.

    Attributes
    ----------
    path : str
        What moves.
    kind : {"price", "vol relative", "vol absolute"}
    today_usd : float or None
        Price of the driving underlying.
    low, high : float
        Range looked at, in the coordinate of :class:`Change`.
    below_now : tuple of str
        Lines that the account is below already.
    changes : tuple of Change
        Ascending in the coordinate.
    unknown_below, unknown_above : float or None
        Beyond these the rule-set has no figure, and nothing is claimed.
    evaluations : int
        Revaluations of the whole account.
    """

    path: str
    kind: str
    today_usd: float | None
    low: float
    high: float
    below_now: tuple[str, ...]
    changes: tuple[Change, ...]
    unknown_below: float | None
    unknown_above: float | None
    evaluations: int


class _Lines:
    """Equity − line of every pot in any market the account is carried to."""

    def __init__(self, frame: Frame, healths: Sequence[float]) -> None:
        self.frame = frame
        self.healths = tuple(healths)
        self.names = ("im", "mm", "bankruptcy", *(f"health {h:g}" for h in healths))
        self.orders = bool(frame.book.leg_order.size)
        # Margin was pledged to a position when it was pledged: it does not move with prices.
        self.fences = fenced_margins(frame, requirement(frame, levels=("im",)))

    def at(self, there: Frame) -> Floats:
        """Return equity − line, US dollars, ``[line, pot]``."""
        need = requirement(there)
        im = need.im
        if self.orders:
            worst = requirement(there, orders=True, levels=("im",)).im
            im = asked(there, need.im, worst)
        have = equity(there, need, self.fences)
        rows = [have.im - im, have.mm - need.mm, have.mm]
        rows += [have.mm - h * need.mm for h in self.healths]
        out = np.stack(rows) * there.pot_usd
        if there.ruleset.data.pools.by == "position":
            # The wallet of fenced positions holds none: it can lack money, not be liquidated.
            out[1:, there.arrangement.pot_position < 0] = np.inf
        return out


def state_changes(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    underlying: str | None = None,
    *,
    betas: Mapping[str, float] | None = None,
    healths: Sequence[float] = (),
    low: float = LOWEST_RATIO,
    high: float = HIGHEST_RATIO,
) -> StateChanges:
    """Find the prices at which an account's state changes, in both directions.

    Parameters
    ----------
    account, snapshot, ruleset
        The account now.
    underlying : str, optional
        The coin that moves, with what follows it under the rule-set; None moves all coins.
    betas : mapping of str to float, optional
        How coins move with a driving ratio r: each by ``r ** beta``, so that a price stays
        positive. Coins not named stay. Given with `underlying`, that coin drives with beta 1
        unless it is named.
    healths : sequence of float
        Further lines: equity = h × MM.
    low, high : float
        Range of r, ``0 < low <= 1 <= high``.

    Returns
    -------
    StateChanges
        A gap narrower than a step (3 % up to a factor of e^0.6, 20 % beyond) may be missed.

    Raises
    ------
    MarginError
        ``MRG-001`` for a coin that the account and the market do not have.
    """
    frame = _priced(account, snapshot, ruleset)
    if not 0 < low <= 1 <= high or not math.isfinite(high):
        raise InputError(
            f"a range from {low:g} to {high:g} does not hold today's price",
            code="INP-004",
            field="range",
            hint="give 0 < low <= 1 <= high, as multiples of today's price",
        )
    beta, path, driver = _betas(frame, underlying, betas)
    now = None if driver is None else float(frame.view.asset_usd[driver])

    def market(x: float) -> Frame:
        return frame.shocked(np.exp(beta * x))

    return _along(
        _Lines(frame, healths),
        market,
        (math.log(low), math.log(high)),
        coordinate=math.exp,
        path=path,
        kind="price",
        today=now,
        account=account.account,
    )


def vol_changes(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    underlying: str | None = None,
    *,
    shift: VolShift = "relative",
    healths: Sequence[float] = (),
    low: float | None = None,
    high: float | None = None,
) -> StateChanges:
    """Find the volatilities at which an account's state changes; prices stay.

    Parameters
    ----------
    account, snapshot, ruleset
        The account now.
    underlying : str, optional
        Whose options; None moves all of them.
    shift : {"relative", "absolute"}
        All volatilities times a factor, or plus a shift in decimals (0.10 is ten points).
        Volatilities do not go below 0.01 %.
    healths : sequence of float
        Further lines.
    low, high : float, optional
        Range of the factor (default 0.05 to 10) or of the shift (default −0.5 to 3).
    """
    frame = _priced(account, snapshot, ruleset)
    relative = shift == "relative"
    start = (0.05 if relative else -0.5) if low is None else low
    stop = (10.0 if relative else 3.0) if high is None else high
    today = 1.0 if relative else 0.0
    least = 0.0 if relative else -math.inf
    if not (least < start <= today <= stop and math.isfinite(start) and math.isfinite(stop)):
        raise InputError(
            f"a range from {start:g} to {stop:g} does not hold today's volatilities",
            code="INP-004",
            field="range",
            hint="factors contain 1, shifts contain 0",
        )
    terms = frame.terms
    mine = terms.kind == KIND_CODE["option"]
    if underlying is not None:
        mine = mine & (frame.follow[terms.underlying] == _asset(frame, underlying))

    def market(x: float) -> Frame:
        vol = frame.view.vol
        moved = vol * math.exp(x) if relative else vol + x
        moved = np.where(mine & ~frame.view.settled, np.maximum(moved, LEAST_VOL), vol)
        return frame.in_market(replace(frame.view, vol=moved))

    whose = "all options" if underlying is None else f"options on {underlying}"
    return _along(
        _Lines(frame, healths),
        market,
        (math.log(start), math.log(stop)) if relative else (start, stop),
        coordinate=math.exp if relative else float,
        path=f"volatility of {whose}",
        kind=f"vol {shift}",
        today=None,
        account=account.account,
    )


def _priced(account: AccountFile, snapshot: Snapshot, ruleset: Ruleset) -> Frame:
    try:
        return frame_for(book_from_accounts([account]), snapshot, ruleset)
    except CrossmarginError as error:
        raise error.located(account=account.account) from None


def moving_underlyings(account: AccountFile, snapshot: Snapshot, ruleset: Ruleset) -> list[str]:
    """Return the coins whose price an account is exposed to, in the order of its file."""
    frame = _priced(account, snapshot, ruleset)
    return [frame.book.registry.assets[asset] for asset in moving_assets(frame)]


def _asset(frame: Frame, name: str) -> int:
    assets = frame.book.registry.assets
    if name not in assets:
        raise MarginError(
            f"the account has no exposure to {name}",
            code="MRG-001",
            field="underlying",
            hint=f"it has {', '.join(sorted(assets))}",
        )
    return int(frame.follow[assets.index(name)])


def _betas(
    frame: Frame, underlying: str | None, betas: Mapping[str, float] | None
) -> tuple[Floats, str, int | None]:
    """Return the exponent of every asset, a name for the path, and the driving asset."""
    beta = np.zeros(len(frame.book.registry.assets))
    driver = None if underlying is None else _asset(frame, underlying)
    if underlying is not None:
        beta[frame.follow == driver] = 1.0
    elif betas is None:
        beta[[name not in DOLLARS for name in frame.book.registry.assets]] = 1.0
    for name, value in (betas or {}).items():
        if not math.isfinite(value):
            raise InputError(f"the beta of {name} is {value:g}", code="INP-004", field="betas")
        beta[frame.follow == _asset(frame, name)] = value
    if driver is not None and not betas:
        return beta, underlying or "", driver
    if betas:
        words = ", ".join(f"{name} {value:g}" for name, value in betas.items())
        drives = "" if underlying is None else f"{underlying} with "
        return beta, f"{drives}{words}", driver
    return beta, "*", None


def _along(
    lines: _Lines,
    market: Callable[[float], Frame],
    limits: tuple[float, float],
    *,
    coordinate: Callable[[float], float],
    path: str,
    kind: str,
    today: float | None,
    account: str,
) -> StateChanges:
    """Walk from today to both ends of the range and close in on every change of sign."""
    known: dict[float, Floats] = {}

    def at(x: float) -> Floats:
        if x not in known:
            known[x] = lines.at(market(x)).reshape(len(lines.names), -1)
        return known[x]

    try:
        base = at(0.0).min(axis=1, initial=np.inf)
    except CrossmarginError as error:
        raise error.located(account=account) from None
    found: list[Change] = []
    stops: list[float | None] = [None, None]
    pots = pot_names(lines.frame)
    for side, limit in enumerate(limits):
        here = 0.0
        for probe in outward(-1.0 if side == 0 else 1.0, limit):
            try:
                values = at(probe)
            except CrossmarginError:
                stops[side] = coordinate(here)
                break
            for row, name in enumerate(lines.names):
                ends = float(at(here)[row].min()), float(values[row].min())
                if (ends[0] < 0) != (ends[1] < 0):
                    crossed = _cross(at, row, (here, probe), ends)
                    found.append(_change(name, pots, at, row, crossed, coordinate, today))
            here = probe
    return StateChanges(
        path=path,
        kind=kind,
        today_usd=today,
        low=coordinate(limits[0]),
        high=coordinate(limits[1]),
        below_now=tuple(n for n, value in zip(lines.names, base) if value < 0),
        changes=tuple(sorted(found, key=lambda c: c.at)),
        unknown_below=stops[0],
        unknown_above=stops[1],
        evaluations=len(known),
    )


def _cross(
    at: Callable[[float], Floats], row: int, points: tuple[float, float], ends: tuple[float, float]
) -> tuple[float, float, bool]:
    """Close in; return the safe and the dead point, and whether equity falls outward."""
    falls = ends[1] < 0
    safe, dead = points if falls else points[::-1]
    f_safe, f_dead = ends if falls else ends[::-1]
    bracket = close_in(lambda x: float(at(x)[row].min()), safe, f_safe, dead, f_dead)
    assert bracket.dead is not None
    return bracket.safe, bracket.dead, falls


def _change(
    name: str,
    pots: tuple[str, ...],
    at: Callable[[float], Floats],
    row: int,
    crossed: tuple[float, float, bool],
    coordinate: Callable[[float], float],
    today: float | None,
) -> Change:
    safe, dead, falls = crossed
    there = coordinate(dead)
    return Change(
        line=name,
        pot=pots[int(np.argmin(at(dead)[row]))],
        at=there,
        price_usd=None if today is None else today * there,
        falls=falls,
        safe=coordinate(safe),
        dead=there,
        safe_usd=float(at(safe)[row].min()),
        dead_usd=float(at(dead)[row].min()),
    )
