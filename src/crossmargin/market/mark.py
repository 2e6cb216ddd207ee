"""Marks that a single print cannot move: smoothed basis, time-weighted average, guard.

Ticks are a step function: a price holds from its time until the next one. A tick that has just
arrived has held for no time and therefore counts nothing yet; a false print must be kept up to
have an effect. Equal times are allowed, the last of them wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import MarketDataError
from crossmargin.units import NS_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class BasisTick:
    """One observation of a contract's basis: ``price / index − 1`` at a moment."""

    time_ns: int
    basis: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkPrice:
    """A mark formed from the index.

    Attributes
    ----------
    price : float
        ``index × (1 + basis)``.
    index : float
        In the contract's quote currency.
    basis : float
        Smoothed, relative.
    clamped : int
        Observations that the clamp cut.
    age_s : float
        Of the last observation of the basis.
    """

    price: float
    index: float
    basis: float
    clamped: int
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Twap:
    """A time-weighted average.

    Attributes
    ----------
    price : float
        Over the part of the window in which there is a price.
    covered : float
        That part, 0 to 1.
    ticks : int
        Prices that count.
    """

    price: float
    covered: float
    ticks: int


def _far_off() -> MarketDataError:
    return MarketDataError(
        "a time lies beyond the years 1678 to 2261 that nanoseconds can count",
        code="MKT-013",
        field="time",
    )


def _moment(time_ns: int) -> int:
    if not -(2**63) <= time_ns < 2**63:
        raise _far_off()
    return time_ns


def _ticks(
    times_ns: ArrayLike, values: ArrayLike, *, positive: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    try:
        times, found = np.asarray(times_ns, dtype=np.int64), np.asarray(values, dtype=np.float64)
    except OverflowError:
        raise _far_off() from None
    if times.ndim != 1 or times.shape != found.shape or not times.size:
        raise MarketDataError(
            "ticks need times and values of one length, at least one",
            code="MKT-013",
            field="ticks",
        )
    if (np.diff(times) < 0).any():
        raise MarketDataError(
            "the times of ticks do not rise", code="MKT-013", field="ticks", hint="sort them"
        )
    if not np.isfinite(found).all() or (positive and (found <= 0).any()):
        raise MarketDataError(
            "a tick is not a finite number"
            + (" above 0" if positive else "")
            + "; missing is not zero",
            code="MKT-013",
            field="ticks",
            hint="leave the tick out",
        )
    return times, found


def smoothed_basis(
    times_ns: ArrayLike, basis: ArrayLike, at_ns: int, *, tau_s: float, clamp: float
) -> float:
    """Smooth a basis exponentially in time, every observation clamped first.

    With x(s) the clamped step function of the ticks and t₀ the first of them::

        b(t) = x(t₀)·e^(−(t−t₀)/τ) + ∫_{t₀}^{t} x(s)·e^(−(t−s)/τ) ds / τ

    which is the exponentially weighted average that does not depend on how often the basis is
    sampled. It lies within the clamps.

    Parameters
    ----------
    times_ns, basis : array-like [n]
        Observations, times not falling; basis relative to the index.
    at_ns : int
        Moment t; at or after the last tick.
    tau_s : float
        Time constant τ, > 0.
    clamp : float
        Largest absolute basis that counts, > 0.

    Returns
    -------
    float
        Relative basis.

    Raises
    ------
    MarketDataError
        ``MKT-013``.

    Source: "mark = index + smoothed basis" (requirements row A18); form and figures house.
    """
    times, found = _ticks(times_ns, basis, positive=False)
    if _moment(at_ns) < times[-1]:
        raise MarketDataError("a tick lies after the moment asked for", code="MKT-013", field="at")
    if not (tau_s > 0 and clamp > 0):
        raise MarketDataError("tau and clamp must be above 0", code="MKT-013", field="tau_s")
    held = np.clip(found, -clamp, clamp)
    ends = np.append(times[1:], at_ns)
    # Long ago is minus infinity for a short time constant, and weighs nothing.
    with np.errstate(over="ignore", under="ignore"):
        kept = np.exp((times - at_ns) / NS_PER_SECOND / tau_s)
        weight = np.exp((ends - at_ns) / NS_PER_SECOND / tau_s) - kept
    # The start of the history holds the weight of everything before it, so weights sum to 1.
    weight[0] += kept[0]
    return float(np.dot(weight, held))


def mark_from_basis(
    index: float, ticks: Sequence[BasisTick], at_ns: int, *, tau_s: float, clamp: float
) -> MarkPrice:
    """Form a mark from the index and the history of a contract's basis.

    ``mark = index × (1 + b)`` with b from :func:`smoothed_basis`.

    Parameters
    ----------
    index : float
        Positive, in the contract's quote currency.
    ticks : sequence of BasisTick
        At least one.
    at_ns, tau_s, clamp
        As for :func:`smoothed_basis`.

    Raises
    ------
    MarketDataError
        ``MKT-009`` for an impossible index, ``MKT-013`` for impossible ticks.
    """
    if not (math.isfinite(index) and index > 0):
        raise MarketDataError(
            f"the index is {index!r}, not a positive price", code="MKT-009", field="index"
        )
    times, basis = [t.time_ns for t in ticks], [t.basis for t in ticks]
    smooth = smoothed_basis(times, basis, at_ns, tau_s=tau_s, clamp=clamp)
    return MarkPrice(
        price=index * (1.0 + smooth),
        index=index,
        basis=smooth,
        clamped=sum(abs(x) > clamp for x in basis),
        age_s=(at_ns - times[-1]) / NS_PER_SECOND,
    )


def twap(times_ns: ArrayLike, prices: ArrayLike, start_ns: int, end_ns: int) -> Twap:
    """Average a price over a window, each tick weighted with the time it held.

    Parameters
    ----------
    times_ns, prices : array-like [n]
        Ticks, times not falling, prices positive. A tick before the window holds into it;
        ticks after it are left out.
    start_ns, end_ns : int
        Window, ``start < end``.

    Returns
    -------
    Twap
        `covered` says which share of the window has a price: before the first tick there is
        none, and none is made up.

    Raises
    ------
    MarketDataError
        ``MKT-013`` for impossible ticks or a window without any price.
    """
    times, found = _ticks(times_ns, prices, positive=True)
    if _moment(start_ns) >= _moment(end_ns):
        raise MarketDataError("the window is empty", code="MKT-013", field="window")
    ends = np.append(times[1:], max(end_ns, int(times[-1])))
    seconds = np.clip(ends, start_ns, end_ns) - np.clip(times, start_ns, end_ns)
    total = int(seconds.sum())
    if total <= 0:
        raise MarketDataError("no tick lies in or before the window", code="MKT-013", field="ticks")
    weight = seconds / total
    return Twap(
        price=float(np.dot(weight, found)),
        covered=total / (end_ns - start_ns),
        ticks=int((seconds > 0).sum()),
    )


def diverges_from_twap(price: float, average: float, limit: float) -> bool:
    """Return whether a price stands too far from its average: at or beyond the limit.

    ``|price − average| / average >= limit``; Drift v2 blocks liquidation at 0.5 from the
    5-minute average (``venues.md`` §7). published
    """
    return abs(price - average) >= limit * average
