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
from crossmargin.margin._crossing import close_in, outward
from crossmargin.margin._frame import Frame
from crossmargin.margin.engine import equity, fenced_margins, requirement

Floats = NDArray[np.float64]

#: The search looks this far, as multiples of today's price.
LOWEST_RATIO, HIGHEST_RATIO = 0.01, 20.0


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
    return excess_in(frame.shocked(np.where(moves, ratio, 1.0)), fences)


def excess_in(there: Frame, fences: Floats) -> Floats:
    """Return equity less the liquidation line of every pot, in US dollars, in some market.

    Parameters
    ----------
    there : Frame
        Account and rules in the market it is carried to.
    fences : float64[N]
        Margin pledged to positions when it was pledged.
    """
    data = there.ruleset.data
    orders = "mm" in data.orders.levels and bool(there.book.leg_order.size)
    need = requirement(there, orders=orders, levels=("mm",))
    have = equity(there, need, fences)
    factor_mm, amount = there.ruleset.liquidation_line
    excess = (have.mm - factor_mm * need.mm) * there.pot_usd - amount
    if data.pools.by == "position":
        # Where every position is fenced, the wallet holds none and cannot be liquidated.
        excess = np.where(there.arrangement.pot_position < 0, np.inf, excess)
    return np.asarray(excess, dtype=np.float64)


def moving_assets(frame: Frame) -> list[int]:
    """Return the assets whose price an account is exposed to, coin collateral included, sorted."""
    book, a = frame.book, frame.arrangement
    touched = set(frame.follow[frame.terms.underlying[book.position_instrument]].tolist())
    for asset, amount, pot in zip(book.balance_asset, book.balance_amount, a.balance_pot):
        own = asset == a.pot_asset[pot]
        if amount != 0 and not own and book.registry.assets[asset] not in DOLLARS:
            touched.add(int(frame.follow[asset]))
    return sorted(int(asset) for asset in touched)


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
    book = frame.book
    follow = frame.follow
    initial = requirement(frame, orders=bool(book.leg_order.size), levels=("im",))
    fences = fenced_margins(frame, initial)
    touched = moving_assets(frame)
    result = []
    for asset in touched:
        result.append(_solve(frame, follow == asset, fences, book.registry.assets[asset]))
    if together and len(touched) > 1:
        result.append(_solve(frame, np.isin(follow, touched), fences, "*"))
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

    def least(step: float) -> float:
        return float(excess(math.exp(step)).min())

    for probe in outward(sign, limit):
        try:
            value = least(probe)
        except CrossmarginError:
            # Beyond what the rule-set covers (an unpublished charge): no claim is made there.
            return _Found(stopped_at=math.exp(safe))
        if value < 0:
            found = close_in(least, safe, safe_value, probe, value)
            ratio = math.exp(probe if found.dead is None else found.dead)
            return _Found(ratio, int(np.argmin(excess(ratio))))
        safe, safe_value = probe, value
    return _Found()
