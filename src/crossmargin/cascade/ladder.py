"""Thresholds instead of proportions: who is closed at which price, and how far that carries.

Every account is closed whole when price reaches its trigger. Distances are measured from the mark
in the direction of the fall (or of the rise: the arithmetic is the same), so that a trigger lies
at ``d ≥ 0`` and everything with ``d ≤ R`` has fired when price has moved by R.

Source: reference cascades.md §1.2 (threshold form, square-root impact), requirements rows A02,
B10, B17; the sweep is house.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import number, numbers, same_shape, together
from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Displacement (US dollars, at least 0) that sales of so many coins cause; rises with its argument.
Displacement = Callable[[Floats], Floats]

Side = Literal["down", "up"]


def power_displacement(coefficient: float, exponent: float = 1.0) -> Displacement:
    """Return the law ``a·Q^δ``: linear (δ = 1, a = λ), square root (δ = ½).

    Parameters
    ----------
    coefficient : float
        a, US dollars for one coin, at least 0.
    exponent : float
        δ > 0. Below 1 a cascade is always finite, at 1 there is a threshold, above 1 large shocks
        run away (cascades.md §1.2).
    """
    a, power = number("coefficient", coefficient, least=0.0), number("exponent", exponent, above=0)
    return lambda coins: np.asarray(a * np.asarray(coins, dtype=np.float64) ** power)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Where a cascade over thresholds stops.

    Attributes
    ----------
    displacement : float
        Total move from the mark, the shock included, US dollars, at least 0.
    coins : float
        Closed by force.
    fired : int
        How many triggers.
    through : bool
        Whether every trigger that there is has fired.
    """

    displacement: float
    coins: float
    fired: int
    through: bool


def sweep(distance: ArrayLike, coins: ArrayLike, shock: float, displacement: Displacement) -> Sweep:
    """Find where price stops: the first fixed point of ``R = x + I(Q(R))``, without rounds.

    Written in prices, the greatest fixed point of ``p = p0 − x − λ·Q(p)``. Triggers are sorted;
    after the first k of them price has moved by ``x + I(S_k)``, and it stops at the smallest k
    whose next trigger lies further away. O(n log n), and the order of rounds plays no part.

    Parameters
    ----------
    distance : array_like [N]
        Of each trigger from the mark, US dollars; at most 0 has fired already.
    coins : array_like [N]
        Closed when it fires, at least 0.
    shock : float
        x, US dollars, at least 0.
    displacement : callable
        I; :func:`power_displacement` for the usual laws. Must not fall.

    Raises
    ------
    CascadeError
        ``CAS-001`` for figures that no ladder has, or a law that falls.
    """
    d, q = numbers("distance", distance), numbers("coins", coins, least=0.0)
    same_shape(distance=d, coins=q)
    x = number("shock", shock, least=0.0)
    order = np.argsort(d, kind="stable")
    sold = np.concatenate([[0.0], np.cumsum(q[order])])
    moved = x + displacement(sold)
    if (np.diff(moved) < 0).any():
        raise CascadeError(
            "an impact that falls with the size has no first stop",
            code="CAS-001",
            field="displacement",
        )
    stops = np.flatnonzero(d[order] > moved[:-1])
    k = int(stops[0]) if stops.size else d.size
    return Sweep(
        displacement=float(moved[k]), coins=float(sold[k]), fired=k, through=k == d.size > 0
    )


def uniform_fall(shock: ArrayLike, gain: ArrayLike) -> Floats:
    """Total fall over triggers of even density, linear impact: ``x/(1 − g)``, infinite at g ≥ 1.

    With ρ coins per US dollar of price and a slope λ, ``g = λ·ρ`` (row A02: shock 1,000, λ = 0.5,
    ρ = 1 gives 2,000, ρ = 1.8 gives 10,000).
    """
    x, g = together(shock=numbers("shock", shock, least=0), gain=numbers("gain", gain, least=0))
    out = np.where(x > 0, np.inf, 0.0)
    np.divide(x, 1.0 - g, out=out, where=g < 1.0)
    return out


def root_fall(shock: ArrayLike, ignition: ArrayLike) -> Floats:
    """Total fall over triggers of even density under square-root impact.

    ``R = x + a·√R``, so ``√R = (a + √(a² + 4x))/2``. There is no divergence but a jump: however
    small the shock, ``R ≥ a²``.

    Parameters
    ----------
    shock : array_like
        x, at least 0; a fraction of price, or US dollars.
    ignition : array_like
        a, in the square root of that unit, at least 0: ``Y·σ·√(ℓ/V)`` with ℓ the density, σ the
        volatility of the time in which V is traded.

    Returns
    -------
    float64[...]
        The fall as the shock comes from above 0; at exactly 0 it is the jump a².
    """
    x, a = together(
        shock=numbers("shock", shock, least=0.0), ignition=numbers("ignition", ignition, least=0.0)
    )
    return np.asarray((0.5 * (a + np.sqrt(a**2 + 4.0 * x))) ** 2)


def power_fall(shock: float, coefficient: float, exponent: float) -> float:
    """Total fall over triggers of even density under impact ``∝ Q^δ``.

    The first root of ``R = x + c·R^δ`` at or above x, reached from a shock just above 0 where x
    is 0. For δ < 1 it is always finite, for δ = 1 it is x/(1 − c), for δ > 1 there is none once
    ``x > (1 − 1/δ)·(c·δ)^(−1/(δ−1))``.

    Parameters
    ----------
    shock : float
        x, at least 0.
    coefficient : float
        c, at least 0: the law's coefficient times density to the δ.
    exponent : float
        δ, above 0.

    Returns
    -------
    float
        Infinite where there is no root.
    """
    x = number("shock", shock, least=0.0)
    c, power = number("coefficient", coefficient, least=0.0), number("exponent", exponent, above=0)
    if c == 0.0:
        return x
    if power == 1.0:
        # From a shock just above 0, as said: with a gain of 1 there is no smallest fall.
        return float(uniform_fall(x, c)) if c < 1.0 else math.inf
    excess: Callable[[float], float] = lambda r: r - x - c * r**power
    if power < 1.0:
        # Concave: above every root the excess is positive, and the last root is the one reached.
        low, high = max(x, c ** (1.0 / (1.0 - power))), 2.0 * x + 2.0
        while excess(high) <= 0.0:
            high *= 2.0
        return _root(excess, low, high)
    top = (c * power) ** (-1.0 / (power - 1.0))
    if excess(top) < 0.0:
        return math.inf
    return x if x == 0.0 else _root(excess, x, top)


def _root(excess: Callable[[float], float], low: float, high: float) -> float:
    """Root of a function that is at most 0 at `low` and at least 0 at `high`."""
    from scipy.optimize import brentq

    if excess(low) >= 0.0:
        return low
    return float(brentq(excess, low, max(high, low), xtol=1e-300, rtol=1e-14, maxiter=500))


def halted_fall(shock: float, gain: float, halt: float, factor: float) -> float:
    """Total fall with one halt, after which impact is weaker: row B10.

    Price falls to the halt while ``g·halt − (halt − x)`` of the displacement that has been
    triggered is still to come. After the pause what is left to sell moves price `factor` times as
    much, and so does all that it triggers.

    Source: requirements row B10 (x = 1,000, g = 0.9, halt at 1,500, impact halved: 2,272.73; that
    flow already triggered and not yet sold waits for the reopening is read from the figure,
    inferred).

    Parameters
    ----------
    shock, halt : float
        US dollars below the mark, at least 0. A halt beyond the end changes nothing.
    gain : float
        λ·ρ before the halt, at least 0.
    factor : float
        Impact afterwards over impact before, in [0, 1].

    Returns
    -------
    float
        US dollars; infinite where the gain stays at 1 or above.
    """
    whole = float(uniform_fall(shock, gain))
    stop = number("halt", halt, least=0.0)
    after = gain * number("factor", factor, least=0.0, most=1.0)
    if stop >= whole:
        return whole
    if stop < shock:
        # Stopped on the way of the shock itself: nothing was sold yet, and its rest follows.
        return float(uniform_fall(shock, after))
    pending = (gain * stop - (stop - shock)) * factor
    return stop + float(uniform_fall(pending, after))


def fund_exhaustion(buffer: ArrayLike, slope: ArrayLike, fund: ArrayLike) -> Floats:
    """Coins whose closing empties the fund: ``Q* = (b + √(b² + 2λ·IF))/λ``.

    Closing Q coins at once costs ``λQ²/2`` in impact, against a buffer of ``b·Q`` between the
    mark and the bankruptcy price; the fund pays the difference.

    Source: cascades.md, analytic cases (derived there).

    Parameters
    ----------
    buffer : array_like
        b, US dollars per coin; may be negative (bankrupt already).
    slope : array_like
        λ, US dollars per coin and coin, above 0.
    fund : array_like
        IF, US dollars, at least 0.
    """
    b, bend = numbers("buffer", buffer), numbers("slope", slope, above=0.0)
    root = np.sqrt(b**2 + 2.0 * bend * numbers("fund", fund, least=0.0))
    return np.asarray((b + root) / bend)


@dataclass(frozen=True, slots=True, kw_only=True)
class DensityMap:
    """What would be closed at which price, on one side of the mark.

    Attributes
    ----------
    edges : float64[B + 1]
        Prices, rising, US dollars.
    coins, notional : float64[B]
        Closed within each bin; notional is coins times the trigger price, US dollars.
    inside, beyond : float
        Notional within the edges and outside of them; together all that has a trigger.
    """

    edges: Floats
    coins: Floats
    notional: Floats
    inside: float
    beyond: float

    @property
    def total(self) -> float:
        """All liquidatable notional, US dollars."""
        return self.inside + self.beyond

    @property
    def density(self) -> Floats:
        """ℓ(p): coins per US dollar of price, in each bin."""
        return self.coins / np.diff(self.edges)

    def gain(self, slope: ArrayLike) -> Floats:
        """Local gain ``g(p) = λ·ℓ(p)`` of each bin; λ in US dollars per coin.

        A plateau above 1 is run through without further news; price stops where it falls below.
        """
        return np.asarray(numbers("slope", slope, least=0.0) * self.density)


def density_map(trigger: ArrayLike, coins: ArrayLike, edges: ArrayLike) -> DensityMap:
    """Spread triggers over bins of price.

    Parameters
    ----------
    trigger : array_like [N]
        Prices above 0; NaN for positions that nothing closes, which are left out.
    coins : array_like [N]
        At least 0.
    edges : array_like [B + 1]
        Rising; the last bin holds its upper edge.

    Notes
    -----
    Source: requirements row B17: the map integrates to the total liquidatable notional.
    """
    t, q = np.asarray(trigger, dtype=np.float64), numbers("coins", coins, least=0.0)
    same_shape(trigger=t, coins=q)
    at = numbers("edges", edges)
    if at.ndim != 1 or at.size < 2 or (np.diff(at) <= 0).any():
        raise CascadeError("edges of a map must rise", code="CAS-001", field="edges")
    some = ~np.isnan(t)
    t, q = numbers("trigger", t[some], above=0.0), q[some]
    within = (t >= at[0]) & (t <= at[-1])
    count = np.histogram(t[within], at, weights=q[within])[0]
    value = np.histogram(t[within], at, weights=(q * t)[within])[0]
    return DensityMap(
        edges=at,
        coins=count.astype(np.float64),
        notional=value.astype(np.float64),
        inside=float((q * t)[within].sum()),
        beyond=float((q * t)[~within].sum()),
    )


#: Notional (US dollars) that stands between the mark and a price; rises with the distance.
Depth = Callable[[Floats], Floats]


def linear_depth(depth: float, mark: float) -> Depth:
    """Return the depth of a linear book: ``D·|1 − p/mark|`` US dollars up to the price p."""
    whole, at = number("depth", depth, above=0.0), number("mark", mark, above=0.0)
    return lambda price: np.asarray(whole * np.abs(1.0 - np.asarray(price) / at))


def book_depth(price: ArrayLike, size: ArrayLike) -> Depth:
    """Return the depth of one side of an order book, best level first.

    Parameters
    ----------
    price, size : array_like [L]
        Levels as :class:`crossmargin.market.OrderBook` gives them: US dollars and coins. A level
        counts where the price asked about reaches it.
    """
    p, s = numbers("price", price, above=0.0), numbers("size", size, least=0.0)
    same_shape(price=p, size=s)
    value = np.concatenate([[0.0], np.cumsum(p * s)])
    sign = -1.0 if p.size < 2 or p[-1] < p[0] else 1.0

    def standing(asked: Floats) -> Floats:
        place = np.searchsorted(sign * p, sign * np.asarray(asked, dtype=np.float64), side="right")
        return np.asarray(value[place])

    return standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Fuse:
    """The first price at which what must be closed outruns what stands in front of it.

    Attributes
    ----------
    price : float
        US dollars, on the tick; NaN where the book holds everything.
    liquidatable, standing : float
        Cumulative notional from the mark to that price, US dollars.
    distance : float
        Return from the mark, −0.1 is 10 % below; NaN likewise.
    """

    price: float
    liquidatable: float
    standing: float
    distance: float


def fuse_price(
    trigger: ArrayLike,
    coins: ArrayLike,
    *,
    mark: float,
    depth: Depth,
    side: Side = "down",
    tick: float = 0.0,
) -> Fuse:
    """Find the fuse: cumulative liquidatable notional against cumulative depth.

    Source: requirements row B17. Between two triggers only depth grows, so the first crossing lies
    on a trigger; it is rounded outward to the tick.

    Parameters
    ----------
    trigger, coins : array_like [N]
        As in :func:`density_map`. Triggers on the other side of the mark are left out.
    mark : float
        US dollars, above 0.
    depth : callable
        :func:`linear_depth` or :func:`book_depth`.
    side : {"down", "up"}
        Longs closed into bids, or shorts into offers.
    tick : float
        US dollars; 0 for no rounding.
    """
    t, q = np.asarray(trigger, dtype=np.float64), numbers("coins", coins, least=0.0)
    same_shape(trigger=t, coins=q)
    at = number("mark", mark, above=0.0)
    step = number("tick", tick, least=0.0)
    there = (t <= at if side == "down" else t >= at) & (q > 0)
    t, q = t[there], q[there]
    order = np.argsort(-t if side == "down" else t, kind="stable")
    t, value = t[order], np.cumsum((q * t)[order])
    # Triggers at one price fire together.
    last = np.append(np.diff(t) != 0, True)[: t.size]
    t, value = t[last], value[last]
    standing = depth(t) if t.size else np.zeros(0)
    found = np.flatnonzero(value > standing)
    if not found.size:
        whole = float(value[-1]) if value.size else 0.0
        deep = float(standing[-1]) if value.size else 0.0
        return Fuse(price=math.nan, liquidatable=whole, standing=deep, distance=math.nan)
    k = int(found[0])
    price = float(t[k])
    if step > 0:
        ticks = price / step
        whole_ticks = math.floor(ticks + 1e-9) if side == "down" else math.ceil(ticks - 1e-9)
        price = whole_ticks * step
    return Fuse(
        price=price,
        liquidatable=float(value[k]),
        standing=float(standing[k]),
        distance=price / at - 1.0,
    )
