"""Forwards of one underlying: a curve through those that are quoted, and parity where none is.

Source: put-call parity for undiscounted European options; for coin-settled (inverse) options, the
same identity divided by the forward at which the coin amounts are valued.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.errors import MarketDataError
from crossmargin.units import format_time, year_fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardCurve:
    """Forwards of one underlying by expiry.

    Between two known expiries the logarithm of the forward is linear in time, which is a constant
    annualised carry between them. Before the first and after the last, the annualised
    log-basis ``ln(F / index) / years`` of that expiry is held flat.

    Parameters
    ----------
    underlying : str
        Name used in errors, for example ``BTC``.
    index_usd : float
        Index (spot) price, USD, > 0.
    expiry_ns : tuple of int
        Known expiries, strictly rising, ns since 1970-01-01 UTC; at least one.
    forward_usd : tuple of float
        Their forwards, USD, > 0.

    Raises
    ------
    MarketDataError
        ``MKT-120`` when there is no expiry, when the two tuples do not fit together, or when a
        price is not positive.

    Notes
    -----
    Interpolating the annualised basis itself would divide the small mismatch between index and
    forwards (they are never read at the same instant) by a time of hours and spread the result
    over days: on recorded curves, predicting each expiry from its neighbours, its median error
    is more than twice as large.
    """

    underlying: str
    index_usd: float
    expiry_ns: tuple[int, ...]
    forward_usd: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a curve that cannot be read."""
        if not self.expiry_ns:
            raise self._bad("has no known forward", "pass at least one, or estimate it by parity")
        if len(self.expiry_ns) != len(self.forward_usd):
            raise self._bad("has not one forward for each expiry", "pass equally long tuples")
        if any(b <= a for a, b in zip(self.expiry_ns, self.expiry_ns[1:], strict=False)):
            raise self._bad("has expiries that do not rise", "sort them, one forward each")
        if not all(math.isfinite(p) and p > 0.0 for p in (self.index_usd, *self.forward_usd)):
            raise self._bad("has a price that is not positive", "leave out missing forwards")

    def forward(self, expiry_ns: int, as_of_ns: int) -> float:
        """Read the forward for an expiry.

        Parameters
        ----------
        expiry_ns : int
            Expiry asked for, ns UTC, not before `as_of_ns`.
        as_of_ns : int
            Moment of the prices, ns UTC. Known expiries at or before it are ignored.

        Returns
        -------
        float
            USD. A known expiry gives its own forward exactly; an expiry at `as_of_ns` that is
            not a known one gives the index.

        Raises
        ------
        MarketDataError
            ``MKT-121`` when the expiry is past, ``MKT-120`` when every known expiry is.
        """
        if expiry_ns < as_of_ns:
            raise MarketDataError(
                f"{self.underlying} expiry {format_time(expiry_ns)} is before "
                f"{format_time(as_of_ns)}",
                code="MKT-121",
                field="expiry_ns",
                hint="settle the expired contracts first",
            )
        at = bisect_left(self.expiry_ns, expiry_ns)
        if at < len(self.expiry_ns) and self.expiry_ns[at] == expiry_ns:
            return self.forward_usd[at]
        first = bisect_left(self.expiry_ns, as_of_ns + 1)
        if first == len(self.expiry_ns):
            raise self._bad("has no known forward left", "all its expiries are past")
        if first < at < len(self.expiry_ns):
            share = (expiry_ns - self.expiry_ns[at - 1]) / (
                self.expiry_ns[at] - self.expiry_ns[at - 1]
            )
            low, high = self.forward_usd[at - 1], self.forward_usd[at]
            return low * math.exp(share * math.log(high / low))
        knot = first if at <= first else len(self.expiry_ns) - 1
        return self.index_usd * math.exp(
            self._basis(knot, as_of_ns) * year_fraction(as_of_ns, expiry_ns)
        )

    def _basis(self, knot: int, as_of_ns: int) -> float:
        years = year_fraction(as_of_ns, self.expiry_ns[knot])
        return math.log(self.forward_usd[knot] / self.index_usd) / years

    def _bad(self, fault: str, hint: str) -> MarketDataError:
        return MarketDataError(
            f"the forward curve of {self.underlying} {fault}",
            code="MKT-120",
            field="forward_usd",
            hint=hint,
        )


def forward_from_parity(
    call_mid: ArrayLike,
    put_mid: ArrayLike,
    strike: ArrayLike,
    *,
    in_coin: bool,
    discount: float = 1.0,
    nearest: int = 7,
) -> float:
    """Estimate the forward of one expiry from calls and puts by put-call parity.

    Each strike gives one estimate; the median of those nearest the money is returned, so a wrong
    quote among them does no harm. Where spreads are wide the mids are no prices: leave such strikes
    out, or the estimate can be off by per cents (seen in long expiries during a fall).

    Parameters
    ----------
    call_mid, put_mid : array_like, shape (n,)
        Mid prices of the call and the put at each strike, per coin of option. A strike where
        either is missing (NaN) is ignored.
    strike : array_like, shape (n,)
        USD, > 0.
    in_coin : bool
        True for coin-settled (inverse) options, prices in coin: ``C - P = 1 - K / F``.
        False for USD prices: ``C - P = discount * (F - K)``.
    discount : float
        Discount factor to expiry, for USD prices only (coin prices are taken undiscounted).
    nearest : int
        How many strikes, those with the smallest ``|C - P|``, enter the median.

    Returns
    -------
    float
        USD.

    Raises
    ------
    MarketDataError
        ``MKT-122`` when no strike has both prices or they imply no positive forward;
        ``MKT-103`` for arrays that do not fit together.
    """
    call, put, strikes = (np.asarray(v, dtype=np.float64) for v in (call_mid, put_mid, strike))
    if strikes.ndim != 1 or not call.shape == put.shape == strikes.shape:
        raise MarketDataError(
            "calls, puts and strikes must be lists of one length", code="MKT-103", field="strike"
        )
    gap = call - put
    usable = np.isfinite(gap) & (strikes > 0.0)
    if in_coin:
        usable &= gap < 1.0
    gap, strikes = gap[usable], strikes[usable]
    estimate = strikes / (1.0 - gap) if in_coin else strikes + gap / discount
    away = np.abs(gap) if in_coin else np.abs(gap) / strikes
    near = np.argsort(away, kind="stable")[: max(1, nearest)]
    found = float(np.median(estimate[near])) if near.size else math.nan
    if not found > 0.0:
        raise MarketDataError(
            "no strike has both a call and a put price that imply a forward",
            code="MKT-122",
            field="call_mid",
            hint="use the listed future, or the index with a stated carry",
        )
    return found
