"""How much a book takes: withdrawal when prices jump, refill, hours of the week.

D_k is the notional that would move price k by 100 % if impact were linear (cascades.md §1.1). It is
``base × hour factor × state``; the state falls at once when a move is large against volatility and
comes back with a half-life.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import Floats, number, numbers, same_shape, unknown, value_of
from crossmargin.cascade.resilience import Displacement, Resilience, house_resilience, left_after
from crossmargin.errors import CascadeError
from crossmargin.units import NS_PER_SECOND

_FILE: Final = "depth.toml"
_HOUR_NS: Final = 3_600 * NS_PER_SECOND
HOURS: Final = 168

#: 90 % quantile of the standard normal law.
_Z90: Final = 1.2815515655446004


def base_depth(assets: Sequence[str], given: Mapping[str, float] | None = None) -> Floats:
    """Return D in a calm market, float64[K], US dollars.

    Parameters
    ----------
    assets : sequence of str
        Underlyings of the contracts.
    given : mapping of str to float, optional
        D by asset, before the shipped figures.

    Raises
    ------
    CascadeError
        ``CAS-003`` for an asset of which nobody gave a depth.

    Notes
    -----
    Shipped: 100 times the notional within 1 % of the middle on one venue, October 2025
    (cascades.md design table, secondary): BTC 24.4 bn, ETH 11.7 bn, SOL 4.0 bn, XRP 2.4 bn, DOGE
    1.6 bn US dollars.
    """
    shipped = {k: 100.0 * v for k, v in value_of(_FILE, "depth_1pct_usd").items()}
    known = {**shipped, **(given or {})}
    for name in assets:
        if name not in known:
            raise unknown("depth", name, known)
    return numbers("depth", [known[name] for name in assets], above=0)


def hour_of_week(time_ns: int) -> int:
    """Return the hour of the week, 0 for Monday from midnight to one, UTC."""
    # The epoch began on a Thursday: 72 hours into its week.
    return int((time_ns // _HOUR_NS + 72) % HOURS)


def hour_profile(times_ns: ArrayLike, values: ArrayLike) -> Floats:
    """Return what an hour of the week has against the mean hour, float64[168].

    Parameters
    ----------
    times_ns : array-like of int [n]
        Moments, ns UTC.
    values : array-like [n]
        Depth, or volume where depth is not recorded; at least 0.

    Returns
    -------
    float64[168]
        Median of each hour over the mean of all medians; their mean is 1.

    Raises
    ------
    CascadeError
        ``CAS-001`` where an hour of the week has no value, or all are 0.

    Notes
    -----
    House. Volume is no depth: that busy hours have deep books is an assumption that whoever
    passes volumes makes.
    """
    times = np.asarray(times_ns, dtype=np.int64)
    found = numbers("values", values, least=0)
    same_shape(times_ns=times, values=found)
    hour = (times // _HOUR_NS + 72) % HOURS
    medians = np.empty(HOURS)
    for h in range(HOURS):
        mine = found[hour == h]
        if not mine.size:
            raise CascadeError(
                f"no value falls into hour {h} of the week", code="CAS-001", field="times_ns"
            )
        medians[h] = float(np.median(mine))
    if medians.sum() == 0.0:
        raise CascadeError("all values are 0", code="CAS-001", field="values")
    return np.asarray(medians / medians.mean(), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """``w(|z|)``: what is left of a book after a move of z standard deviations.

    A table of classes: |z| in [lower, next) shrinks the book by 1/shrink at the median; with a
    90th percentile the shrink is lognormal around it, ``shrink·e^{σε}`` with
    ``σ = ln(p90/shrink)/1.2816``, never below 1.

    Source: cascades.md §2, fact 4 (secondary; quality A/B there).

    Attributes
    ----------
    lower : float64[C]
        Lower ends of the classes, rising from 0.
    shrink : float64[C]
        Median of depth before over after, at least 1.
    p90 : float64[C]
        90th percentile, at least the median; 0 where there is none.
    """

    lower: Floats
    shrink: Floats
    p90: Floats

    def __post_init__(self) -> None:
        same_shape(lower=self.lower, shrink=self.shrink, p90=self.p90)
        numbers("shrink", self.shrink, least=1)
        if not self.lower.size or self.lower[0] != 0 or (np.diff(self.lower) <= 0).any():
            raise CascadeError("classes of |z| rise from 0", code="CAS-001", field="lower")
        if ((self.p90 != 0) & (self.p90 < self.shrink)).any():
            raise CascadeError(
                "a 90th percentile lies below its median", code="CAS-001", field="p90"
            )

    def row(self, z: ArrayLike) -> NDArray[np.int64]:
        """Return the class of each move, from 0; NaN counts as no move."""
        size = np.nan_to_num(np.abs(np.asarray(z, dtype=np.float64)), nan=0.0, posinf=np.inf)
        return np.asarray(np.searchsorted(self.lower, size, side="right") - 1, dtype=np.int64)

    def left(self, z: ArrayLike, scatter: ArrayLike = 0.0) -> Floats:
        """Return the share of the book that is left, in (0, 1].

        Parameters
        ----------
        z : array-like
            Move over its standard deviation, either sign; NaN counts as none.
        scatter : array-like
            Standard normal numbers; 0 gives the median.
        """
        row = self.row(z)
        median, high = self.shrink[row], self.p90[row]
        # An untouched book is not touched: the first class is of moves that happened.
        spread = np.log(np.where(high > 0, high, median) / median) / _Z90
        shrink = median * np.exp(spread * np.asarray(scatter, dtype=np.float64))
        moved = np.abs(np.asarray(z, dtype=np.float64)) > 0
        return np.asarray(np.where(moved, 1.0 / np.maximum(shrink, 1.0), 1.0), np.float64)


def withdrawal() -> Withdrawal:
    """Return the shipped table of fact 4."""
    return Withdrawal(
        lower=numbers("withdrawal_z", value_of(_FILE, "withdrawal_z")),
        shrink=numbers("withdrawal_shrink", value_of(_FILE, "withdrawal_shrink")),
        p90=numbers("withdrawal_shrink_p90", value_of(_FILE, "withdrawal_shrink_p90")),
    )


def stays() -> Withdrawal:
    """Return books that nothing frightens."""
    return Withdrawal(lower=np.zeros(1), shrink=np.ones(1), p90=np.zeros(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthState:
    """What is left of the books, float64[K] in (0, 1]."""

    left: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthRule:
    """Depth along a path. By default it never changes.

    Attributes
    ----------
    base_usd : float64[K]
        D in a calm market; infinite where sales move nothing.
    withdrawal : Withdrawal
        What a move takes away; default nothing. :func:`withdrawal` gives the shipped table.
    refill_half_life_s : float
        Half of what is missing is back after so long; infinite: never.
    hours : float64[168] or None
        Factor by hour of the week, Monday first; None: always 1.
    gap_share : float
        γ of :meth:`gap`.
    """

    base_usd: ArrayLike
    withdrawal: Withdrawal = field(default_factory=stays)
    refill_half_life_s: float = float("inf")
    hours: ArrayLike | None = None
    gap_share: float = 0.0

    def __post_init__(self) -> None:
        numbers("base_usd", self.base_usd, above=0, finite=False)
        number("refill_half_life_s", self.refill_half_life_s, above=0, finite=False)
        number("gap_share", self.gap_share, least=0, most=10)
        if self.hours is not None and numbers("hours", self.hours, above=0).shape != (HOURS,):
            raise CascadeError(
                f"a week has {HOURS} hours, hour 0 being Monday's first",
                code="CAS-001",
                field="hours",
            )

    def start(self) -> DepthState:
        """Return whole books."""
        return DepthState(left=np.ones(np.asarray(self.base_usd).size))

    def next(
        self,
        state: DepthState,
        z: Floats,
        dt_ns: int,
        hour: int = 0,
        scatter: Floats | float = 0.0,
    ) -> tuple[DepthState, Floats]:
        """Let a step pass: refill, then withdraw.

        Parameters
        ----------
        state : DepthState
            Before the step.
        z : float64[K]
            Move over its standard deviation.
        dt_ns : int
            Length of the step.
        hour : int
            Hour of the week, see :func:`hour_of_week`.
        scatter : float64[K]
            Standard normal numbers of a stream of their own (``"depth"``).

        Returns
        -------
        state : DepthState
            After it.
        depth_usd : float64[K]
            D.
        """
        back = 1.0 - (1.0 - state.left) * left_after(dt_ns, self.refill_half_life_s)
        left = np.minimum(back, self.withdrawal.left(z, scatter))
        factor = 1.0 if self.hours is None else float(np.asarray(self.hours)[hour])
        depth = np.asarray(self.base_usd, dtype=np.float64) * factor * left
        return replace(state, left=left), np.asarray(depth, dtype=np.float64)

    def gap(self, before: DepthState, after: DepthState, move: Floats) -> Floats:
        """Return by how much quotes that leave move the price themselves, as logarithms.

        ``γ·(1 − left after / left before)⁺·move``: of the books that leave in a step the price
        goes a further share γ of the step's own move. It is transient: the quotes come back.

        Source: cascades.md §2, fact 5 asks for it ("quote withdrawal must move price by itself");
        the form is ours and γ is not identified (house).
        """
        gone = np.maximum(1.0 - after.left / before.left, 0.0)
        return np.asarray(self.gap_share * gone * move, dtype=np.float64)


def stressed_depth(
    assets: Sequence[str],
    given: Mapping[str, float] | None = None,
    *,
    hours: ArrayLike | None = None,
    gap_share: float | None = None,
) -> DepthRule:
    """Return the depth of the shipped figures: bases, withdrawal by |z|, refill.

    Parameters
    ----------
    assets, given
        As for :func:`base_depth`.
    hours, gap_share
        As of :class:`DepthRule`.
    """
    return DepthRule(
        base_usd=base_depth(assets, given),
        withdrawal=withdrawal(),
        refill_half_life_s=float(value_of(_FILE, "refill_half_life_s")),
        hours=hours,
        gap_share=float(value_of(_FILE, "gap_share")) if gap_share is None else gap_share,
    )


def window_steps(step_ns: int) -> int:
    """Return the steps that a move is measured over for withdrawal: five minutes' worth, or 1.

    Source: classes of |z| were formed on moves of five minutes (cascades.md §2, fact 4; secondary).
    """
    whole = float(value_of(_FILE, "z_window_s")) * NS_PER_SECOND
    return max(1, round(whole / number("step_ns", step_ns, above=0)))


__all__ = [
    "HOURS",
    "DepthRule",
    "DepthState",
    "Displacement",
    "Resilience",
    "Withdrawal",
    "base_depth",
    "hour_of_week",
    "hour_profile",
    "house_resilience",
    "stressed_depth",
    "window_steps",
    "withdrawal",
]
