"""The record of one broken no-arbitrage condition, and how runs of them are gathered."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crossmargin.market.svi import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class ArbitrageViolation:
    """One broken no-arbitrage condition.

    Attributes
    ----------
    kind : str
        ``butterfly`` (Durrleman's g below zero), ``calendar`` (total variance falls with time),
        ``call_bounds`` (outside intrinsic value and forward), ``call_rising``
        (a higher strike costs more), ``call_steep`` (price falls faster than the strike rises),
        ``call_concave`` (a butterfly of three quotes costs less than nothing).
    years : float
        Time to expiry; for ``calendar`` that of the nearer expiry.
    years_far : float or None
        The later expiry of a ``calendar`` violation.
    k, strike_usd : float
        Where it is worst: log-moneyness, and strike in USD (for ``calendar``, measured from the
        near expiry's forward).
    k_from, k_to : float
        The stretch of log-moneyness that is affected; both equal `k` for one point.
    amount : float
        Size, > 0, in `unit`.
    unit : str
        ``g`` (Durrleman's function, dimensionless), ``w`` (total variance) or ``usd``.
    """

    kind: str
    years: float
    k: float
    strike_usd: float
    k_from: float
    k_to: float
    amount: float
    unit: str
    years_far: float | None = None

    def __str__(self) -> str:
        """One line for a person."""
        days = f"{self.years * 365.0:.2f}d"
        if self.years_far is not None:
            days += f"->{self.years_far * 365.0:.2f}d"
        stretch = "" if self.k_from == self.k_to else f", k in [{self.k_from:.4f}, {self.k_to:.4f}]"
        return (
            f"{self.kind} {days}: {self.amount:.3g} {self.unit} at strike {self.strike_usd:,.0f} "
            f"(k = {self.k:.4f}{stretch})"
        )


def calendar_records(
    k: Floats, short: Floats, tolerance: float, near: float, far: float, forward: float
) -> list[ArbitrageViolation]:
    """One calendar record per connected run of ``short > tolerance``."""
    return [
        ArbitrageViolation(
            kind="calendar",
            years=near,
            years_far=far,
            k=float(k[at]),
            strike_usd=forward * math.exp(k[at]),
            k_from=float(k[first]),
            k_to=float(k[last]),
            amount=float(short[at]),
            unit="w",
        )
        for first, last, at in runs(short, tolerance)
    ]


def runs(depth: Floats, tolerance: float) -> list[tuple[int, int, int]]:
    """First, last and worst index of each connected run of ``depth > tolerance``."""
    bad = np.concatenate(([False], depth > tolerance, [False]))
    edges = np.flatnonzero(bad[1:] != bad[:-1])
    return [
        (int(first), int(end) - 1, int(first + np.argmax(depth[first:end])))
        for first, end in zip(edges[::2], edges[1::2], strict=True)
    ]
