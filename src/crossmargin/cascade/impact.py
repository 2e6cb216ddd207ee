"""How far a flow of forced orders moves a price, and at which average it fills.

A rule is a function of the *whole* signed flow of a window (one step, all its rounds) from the
window's first price: what a further order does is the difference between two values. So it does
not matter in how many rounds a flow arrives, whatever the rule; :func:`fill` does the arithmetic.

Signs: a flow above 0 is bought and raises the price, below 0 sold. Moves are logarithms. Depth D
is the notional that would move the price by 100 % if impact were linear: a sale S moves the return
by −S/D (cascades.md §1.1); a slope of λ US dollars per coin at the price p is D = p²/λ.

From one window to the next the depth is given anew. Log-linear impact on coin quantity is then
path-independent and split-invariant as long as the depth in coins D/p stays; impact on dollar
quantity, or with another power than 1, is not (cascades.md §1.3): a sale over two windows moves
the price by something else than the same sale in one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import Floats, number, numbers
from crossmargin.errors import CascadeError


class Impact(Protocol):
    """A rule of price impact."""

    def displacement(self, coins: Floats, depth_usd: Floats, price: Floats) -> Floats:
        """Return the logarithm of price after flow over price before, float64[K].

        Parameters
        ----------
        coins : float64[K]
            Whole signed flow of the window.
        depth_usd : float64[K]
            D at the window's first price.
        price : float64[K]
            The window's first price, US dollars.
        """
        ...

    def turnover(self, coins: Floats, depth_usd: Floats, price: Floats) -> Floats:
        """Return what the whole flow is worth at its fills, float64[K], signed US dollars.

        The integral of the price over the quantity: a flow of q fills at turnover / q.
        """
        ...

    def capacity(self, depth_usd: Floats, price: Floats) -> tuple[Floats, Floats]:
        """Return the most coins that can be sold and bought in a window, each float64[K]."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """What an order does after others in its window.

    Attributes
    ----------
    move : float64[K]
        Logarithm of price after it over price before it.
    price : float64[K]
        Average fill, US dollars; where nothing is traded the price there.
    filled : float64[K]
        Coins, signed: less than asked for only where the book ends.
    """

    move: Floats
    price: Floats
    filled: Floats


def fill(
    rule: Impact, before: ArrayLike, coins: ArrayLike, depth_usd: ArrayLike, price: ArrayLike
) -> Fill:
    """Trade after what has been traded in the window already.

    Parameters
    ----------
    rule : Impact
        The rule.
    before, coins : array-like [K]
        Signed flow before, and of this order.
    depth_usd, price : array-like [K]
        Depth and price at the beginning of the window.
    """
    first, more = numbers("before", before), numbers("coins", coins)
    depth = numbers("depth_usd", depth_usd, above=0, finite=False)
    p = numbers("price", price, above=0)
    return fill_after(rule, first, more, depth, p)


def fill_after(rule: Impact, first: Floats, more: Floats, depth: Floats, p: Floats) -> Fill:
    """Trade as :func:`fill` does, columns being such as are known to be good."""
    sell, buy = rule.capacity(depth, p)
    # What a window has absorbed of one side is no room on the other.
    whole = np.where(
        more < 0,
        np.minimum(np.maximum(first + more, -sell), first),
        np.maximum(np.minimum(first + more, buy), first),
    )
    # A purchase without any depth to speak of: infinite, which callers refuse in words.
    with np.errstate(over="ignore", invalid="ignore"):
        there, here = rule.displacement(whole, depth, p), rule.displacement(first, depth, p)
        paid = rule.turnover(whole, depth, p) - rule.turnover(first, depth, p)
        filled = whole - first
        # A tiny order after a large one: the difference of two large turnovers has no digits left,
        # and both ends of so short a way are the same price.
        middle = p * np.exp(0.5 * (there + here))
        average = np.divide(paid, filled, out=middle.copy(), where=filled != 0.0)
        low, high = p * np.exp(np.minimum(there, here)), p * np.exp(np.maximum(there, here))
        return Fill(move=there - here, price=np.clip(average, low, high), filled=filled)


#: Halvings of the interval in which a flow is looked for: more than a float64 has digits.
_HALVINGS = 200


def coins_to(rule: Impact, depth_usd: ArrayLike, price: ArrayLike, target: ArrayLike) -> Floats:
    """Return the window's flow that brings each price to a target, float64[K], signed.

    Where no flow does (a floor, the end of a book) the most that can be traded, which may be
    infinite. Found by halving: rules are monotone in the flow.

    Parameters
    ----------
    rule : Impact
        The rule.
    depth_usd, price : array-like [K]
        At the beginning of the window.
    target : array-like [K]
        US dollars, at least 0.
    """
    depth = numbers("depth_usd", depth_usd, above=0, finite=False)
    p = numbers("price", price, above=0)
    with np.errstate(divide="ignore"):
        wanted = np.log(numbers("target", target, least=0) / p)
    sign = np.where(wanted < 0, -1.0, 1.0)
    sell, buy = rule.capacity(depth, p)
    most = np.where(wanted < 0, sell, buy)
    high = np.minimum(depth / p, most)
    high[~np.isfinite(high)] = 1.0
    low = np.zeros(high.shape)

    def short(coins: Floats) -> NDArray[np.bool_]:
        there = rule.displacement(sign * coins, depth, p)
        return np.asarray(np.abs(there) < np.abs(wanted), dtype=np.bool_)

    for _ in range(_HALVINGS):
        more = short(high) & (high < most) & (high < 1e300)
        if not more.any():
            break
        low = np.where(more, high, low)
        high = np.where(more, np.minimum(2.0 * high, most), high)
    never = short(high)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        less = short(middle)
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    return np.asarray(sign * np.where(never, most, high), dtype=np.float64)


def _unbounded(price: Floats) -> tuple[Floats, Floats]:
    limit = np.full(price.shape, np.inf)
    return limit, limit


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLinear:
    """``ln p′ = ln p + q·p/D``: linear in coins, in the logarithm. The default.

    Two flows in any order and any parts move the price as their sum does, and back again: nobody
    gains by going round. With `start` that holds over windows too while D stays as it is; without
    it D is in US dollars at each window's own price, so that the same dollars always move the
    price by the same.

    Source: cascades.md §1.3 and design table (published there as derived; "coin-quantity log-linear
    impact is path-independent and split-invariant").

    Attributes
    ----------
    start : float64[K] or None
        Prices at which D is D, US dollars: the depth in coins D/start stays. None: at the
        window's first price.
    """

    start: ArrayLike | None = None

    def __post_init__(self) -> None:
        if self.start is not None:
            numbers("start", self.start, above=0)

    def displacement(self, coins: Floats, depth_usd: Floats, price: Floats) -> Floats:
        """See :class:`Impact`."""
        base = price if self.start is None else np.asarray(self.start, dtype=np.float64)
        return np.asarray(coins * base / depth_usd, dtype=np.float64)

    def turnover(self, coins: Floats, depth_usd: Floats, price: Floats) -> Floats:
        """``q·p·(e^x − 1)/x`` with x the displacement; ``q·p`` at infinite depth."""
        x = self.displacement(coins, depth_usd, price)
        return np.asarray(coins * price * _mean_exp(x), dtype=np.float64)

    def capacity(self, depth_usd: Floats, price: Floats) -> tuple[Floats, Floats]:
        """Unbounded."""
        return _unbounded(price)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """``p′ = p·(1 + q·p/D)``: linear in the return, as closed forms of loop gain assume.

    A slope of ``λ = p²/D`` US dollars per coin. A price does not fall below `floor` of the
    window's first price, where linear impact would carry it below 0.

    Source: Kyle (1985) as in cascades.md §1.2–1.3 (published; recalled there).

    Attributes
    ----------
    floor : float
        Least price as a share of the window's first, in (0, 1).
    """

    floor: float = 1e-6

    def __post_init__(self) -> None:
        number("floor", self.floor, above=0, most=1 - 1e-12)

    def displacement(self, coins: Floats, depth_usd: Floats, price: Floats) -> Floats:
        """See :class:`Impact`."""
        there = np.maximum(coins * price / depth_usd, self.floor - 1.0)
        return np.asarray(np.log1p(there), dtype=np.float64)

    def turnover(self, coins: Floats, depth_usd: Floats, price: Floats) -> Floats:
        """``q·p·(1 + x/2)`` with x = q·p/D down to the floor, and the floor's price beyond."""
        x = coins * price / depth_usd
        far = np.maximum(x, self.floor - 1.0)
        share = np.divide(far, x, out=np.ones_like(x), where=x != 0.0)
        inside = share * (1.0 + 0.5 * far) + (1.0 - share) * self.floor
        return np.asarray(coins * price * inside, dtype=np.float64)

    def capacity(self, depth_usd: Floats, price: Floats) -> tuple[Floats, Floats]:
        """Unbounded."""
        return _unbounded(price)


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """``ln p′ = ln p ± Y·σ·(|q|/V)^δ``: a power of the quantity, the square root by default.

    With δ < 1 no cascade diverges but each begins with a jump; δ = 1 has a threshold, δ > 1 is
    unstable for large shocks (cascades.md §1.2). In place of σ and V a depth may stand: with
    neither, ``Y·(|q|·p/D)^δ``.

    Source: I = Yσ√(Q/V), Y about 0.9 to 1 (Donier and Bonart 2015; cascades.md §1.3, published:
    abstract).

    Attributes
    ----------
    delta : float
        δ > 0.
    y : float
        Y > 0.
    sigma : float64[K] or None
        Volatility over the period that `volume` is of, a decimal.
    volume : float64[K] or None
        V, coins in that period.
    """

    delta: float = 0.5
    y: float = 1.0
    sigma: ArrayLike | None = None
    volume: ArrayLike | None = None

    def __post_init__(self) -> None:
        number("delta", self.delta, above=0)
        number("y", self.y, above=0)
        if (self.sigma is None) != (self.volume is None):
            raise CascadeError(
                "a power law takes σ and volume together, or neither",
                code="CAS-001",
                field="volume",
            )
        if self.sigma is not None and self.volume is not None:
            numbers("sigma", self.sigma, least=0)
            numbers("volume", self.volume, above=0)

    def displacement(self, coins: Floats, depth_usd: Floats, price: Floats) -> Floats:
        """See :class:`Impact`; with σ and V the depth scales nothing."""
        size = np.abs(coins)
        if self.sigma is None or self.volume is None:
            law = self.y * (size * price / depth_usd) ** self.delta
        else:
            volume = np.asarray(self.volume, dtype=np.float64)
            law = self.y * np.asarray(self.sigma) * (size / volume) ** self.delta
        return np.asarray(np.copysign(law, coins) + 0.0, dtype=np.float64)

    def turnover(self, coins: Floats, depth_usd: Floats, price: Floats) -> Floats:
        """``q·p·₁F₁(1/δ; 1 + 1/δ; x)``, the integral of ``e^{x·s^δ}`` over s from 0 to 1."""
        from scipy.special import hyp1f1

        x = self.displacement(coins, depth_usd, price)
        a = 1.0 / self.delta
        return np.asarray(coins * price * hyp1f1(a, 1.0 + a, x), dtype=np.float64)

    def capacity(self, depth_usd: Floats, price: Floats) -> tuple[Floats, Floats]:
        """Unbounded."""
        return _unbounded(price)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """``p′ = p·(1 − Ψ)``, ``Ψ = (1 − B/p)(1 − e^{−x/δ})``, ``δ = D·(1 − B/p₀)``: a floor price.

    However much is sold (x US dollars at the window's first price) the price stays above B. A
    purchase raises it by as much as the same sale would lower it.

    Source: Cont and Schaanning (2017), as in cascades.md §1.3 (published: abstract; formula
    recalled there). The side of purchases is ours (house).

    Attributes
    ----------
    start : float64[K]
        p₀, prices before anything, US dollars: Ψ′(0) = 1/D there.
    floor_share : float
        B as a share of p₀; one half in the paper.
    """

    start: ArrayLike
    floor_share: float = 0.5

    def __post_init__(self) -> None:
        numbers("start", self.start, above=0)
        number("floor_share", self.floor_share, least=0, most=1 - 1e-12)

    def _parts(self, depth_usd: Floats, price: Floats) -> tuple[Floats, Floats]:
        """Return room above the floor as a share of the price, and δ in US dollars."""
        base = np.asarray(self.start, dtype=np.float64) * self.floor_share
        room = np.maximum(1.0 - base / price, 0.0)
        return room, depth_usd * (1.0 - self.floor_share)

    def displacement(self, coins: Floats, depth_usd: Floats, price: Floats) -> Floats:
        """See :class:`Impact`."""
        room, scale = self._parts(depth_usd, price)
        psi = -room * np.expm1(-np.abs(coins) * price / scale)
        return np.asarray(np.log1p(np.copysign(psi, coins)) + 0.0, dtype=np.float64)

    def turnover(self, coins: Floats, depth_usd: Floats, price: Floats) -> Floats:
        """``p·∫(1 ± Ψ)``: q·p·[1 ± room·(1 − (1 − e^{−u})/u)] with u = |q|·p/δ."""
        room, scale = self._parts(depth_usd, price)
        u = np.abs(coins) * price / scale
        mean_psi = room * (1.0 - _mean_exp(-u))
        return np.asarray(coins * price * (1.0 + np.copysign(mean_psi, coins)), dtype=np.float64)

    def capacity(self, depth_usd: Floats, price: Floats) -> tuple[Floats, Floats]:
        """Unbounded."""
        return _unbounded(price)


def _mean_exp(x: Floats) -> Floats:
    """Return ``(e^x − 1)/x``, 1 at 0: the mean of e^{xs} over s from 0 to 1."""
    return np.asarray(np.divide(np.expm1(x), x, out=np.ones_like(x), where=x != 0.0), np.float64)
