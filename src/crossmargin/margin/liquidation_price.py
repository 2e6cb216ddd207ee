"""The liquidation price, solved on the whole account with everything revalued.

For each underlying the price is moved, up and down, with everything that depends on it: marks,
forwards, coin collateral, inverse legs; scenarios are rebuilt and brackets selected again. The
account dies where the first of its pots has less equity than maintenance margin. There is no
formula per position: that is the mistake this module exists to avoid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CrossmarginError
from crossmargin.instruments import DOLLARS
from crossmargin.margin._frame import Frame
from crossmargin.margin.engine import equity, fenced_margins, requirement

Floats = NDArray[np.float64]

#: The search looks this far, as multiples of today's price.
LOWEST_RATIO, HIGHEST_RATIO = 0.01, 20.0
#: Step in log-price near today's price, and farther away. A gap narrower than a step, in which
#: the account dies and recovers, may be missed.
_FINE, _COARSE, _FINE_REACH = 0.03, 0.20, 0.6


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where maintenance margin is first breached in one direction.

    Attributes
    ----------
    price_usd : float or None
        Price of the underlying; None when there is none within the search.
    pot : int or None
        The pot that breaches.
    distance : float or None
        Relative to today's price, for example −0.32.
    unknown_beyond : float or None
        Where the search had to stop because the rule-set has no figure there: nothing is
        claimed beyond this distance.
    """

    price_usd: float | None
    pot: int | None
    distance: float | None
    unknown_beyond: float | None = None


@dataclass(frozen=True, slots=True)
class LiquidationPrice:
    """Liquidation prices of one underlying, all else unmoved.

    Attributes
    ----------
    underlying : str
        Coin that moves; ``"*"`` when all move together.
    price_usd : float
        Today's index price (NaN for ``"*"``).
    breached : bool
        Whether a pot is below its maintenance margin already.
    down, up : Crossing
        Nearest breach on either side among the pots that are not.
    breached_pots : tuple of int
        Pots that are below already.
    """

    underlying: str
    price_usd: float
    breached: bool
    down: Crossing
    up: Crossing
    breached_pots: tuple[int, ...] = ()


def tick_size(price: float) -> float:
    """Resolution of a solved price: seven significant digits (0.01 at 78,000)."""
    return float(10.0 ** (math.floor(math.log10(price)) - 6))


def excess_at(frame: Frame, moves: NDArray[np.bool_], fences: Floats, ratio: float) -> Floats:
    """Return equity less the liquidation line of every pot, in US dollars, at a moved price.

    The line is MM, unless the rule-set's states put it elsewhere (``k·MM + c``). The marked
    assets' price is multiplied by `ratio`.

    Parameters
    ----------
    frame : Frame
        Account, rules and today's market.
    moves : bool[A]
        Assets that move.
    fences : float64[N]
        Margin pledged to positions when it was pledged.
    ratio : float
        Positive.
    """
    factor = np.where(moves, ratio, 1.0)
    there = frame.shocked(factor)
    data = frame.ruleset.data
    orders = "mm" in data.orders.levels and bool(frame.book.leg_order.size)
    need = requirement(there, orders=orders, levels=("mm",))
    have = equity(there, need, fences)
    factor_mm, amount = frame.ruleset.liquidation_line
    excess = (have.mm - factor_mm * need.mm) * there.pot_usd - amount
    if frame.ruleset.data.pools.by == "position":
        # Where every position is fenced, the wallet holds none and cannot be liquidated.
        excess = np.where(frame.arrangement.pot_position < 0, np.inf, excess)
    return np.asarray(excess, dtype=np.float64)


def liquidation_prices(frame: Frame, *, together: bool = True) -> list[LiquidationPrice]:
    """Solve the liquidation prices of one account, underlying by underlying.

    Parameters
    ----------
    frame : Frame
        One account.
    together : bool
        Also solve the move of all underlyings together, when there are several.

    Returns
    -------
    list of LiquidationPrice
        One per underlying that the account is exposed to, including coin collateral.
    """
    book, a = frame.book, frame.arrangement
    terms = frame.terms
    follow = frame.follow
    initial = requirement(frame, orders=bool(book.leg_order.size), levels=("im",))
    fences = fenced_margins(frame, initial)
    touched = set(follow[terms.underlying[book.position_instrument]].tolist())
    for asset, amount, pot in zip(book.balance_asset, book.balance_amount, a.balance_pot):
        own = asset == a.pot_asset[pot]
        if amount != 0 and not own and book.registry.assets[asset] not in DOLLARS:
            touched.add(int(follow[asset]))
    result = []
    for asset in sorted(touched):
        result.append(_solve(frame, follow == asset, fences, book.registry.assets[asset]))
    if together and len(touched) > 1:
        result.append(_solve(frame, np.isin(follow, sorted(touched)), fences, "*"))
    return result


def _solve(frame: Frame, moves: NDArray[np.bool_], fences: Floats, name: str) -> LiquidationPrice:
    assets = frame.book.registry.assets
    price = math.nan if name == "*" else float(frame.view.asset_usd[assets.index(name)])

    def excess(ratio: float) -> Floats:
        return excess_at(frame, moves, fences, ratio)

    base = excess(1.0)
    dead = base < 0
    alive = lambda ratio: np.where(dead, np.inf, excess(ratio))
    down = up = _Found()
    if not dead.all():
        down = _first_crossing(alive, np.where(dead, np.inf, base), -1.0, math.log(LOWEST_RATIO))
        up = _first_crossing(alive, np.where(dead, np.inf, base), 1.0, math.log(HIGHEST_RATIO))
    return LiquidationPrice(
        name,
        price,
        bool(dead.any()),
        _crossing(price, down),
        _crossing(price, up),
        tuple(int(pot) for pot in np.flatnonzero(dead)),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    ratio: float | None = None
    pot: int | None = None
    stopped_at: float | None = None


def _crossing(price: float, found: _Found) -> Crossing:
    beyond = None if found.stopped_at is None else found.stopped_at - 1.0
    if found.ratio is None:
        return Crossing(None, None, None, beyond)
    there = None if math.isnan(price) else price * found.ratio
    return Crossing(there, found.pot, found.ratio - 1.0)


def _first_crossing(
    excess: Callable[[float], Floats], base: Floats, sign: float, limit: float
) -> _Found:
    """Walk away from today's price until a pot breaches, then close in on the first breach."""
    if not base.size:
        return _Found()
    safe, safe_value = 0.0, float(base.min())
    while abs(safe) < abs(limit):
        step = _FINE if abs(safe) < _FINE_REACH - 1e-9 else _COARSE
        probe = max(safe - step, limit) if sign < 0 else min(safe + step, limit)
        try:
            values = excess(math.exp(probe))
        except CrossmarginError:
            # Beyond what the rule-set covers (an unpublished charge): no claim is made there.
            return _Found(stopped_at=math.exp(safe))
        if np.any(values < 0):
            return _close_in(excess, safe, safe_value, probe, float(values.min()))
        safe, safe_value = probe, float(values.min())
    return _Found()


def _close_in(
    excess: Callable[[float], Floats], safe: float, f_safe: float, dead: float, f_dead: float
) -> _Found:
    """Regula falsi with the Illinois step, falling back on bisection at jumps."""
    pot = 0
    stuck = 0
    for turn in range(200):
        if abs(dead - safe) <= 4e-16 * max(1.0, abs(dead)) or f_dead == 0.0:
            break
        middle = 0.5 * (safe + dead)
        if stuck < 3 and f_safe != f_dead:
            secant = safe + (dead - safe) * f_safe / (f_safe - f_dead)
            if min(safe, dead) < secant < max(safe, dead):
                middle = secant
        else:
            stuck = 0
        width = abs(dead - safe)
        values = excess(math.exp(middle))
        f_mid = float(values.min())
        if f_mid < 0:
            dead, f_dead, pot = middle, f_mid, int(np.argmin(values))
            f_safe *= 0.5 if turn else 1.0
        else:
            safe, f_safe = middle, f_mid
            f_dead *= 0.5 if turn else 1.0
        stuck = stuck + 1 if abs(dead - safe) > 0.5 * width else 0
        if abs(math.expm1(dead - safe)) < 1e-13:
            break
    values = excess(math.exp(dead))
    return _Found(math.exp(dead), int(np.argmin(values)) if values.min() < 0 else pot)
