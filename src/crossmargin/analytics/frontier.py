r"""The liquidation frontier: where in two or more factors equity meets the liquidation line.

Factors are prices of coins and volatilities, as logarithms of their moves. From today's market the
account is carried outward along rays, everything revalued, until its first pot breaches; together
the breaches are the surface *equity = MM*. With standard deviations and correlations of the
factors the nearest breach is searched for and given as a distance in σ
(Mahalanobis, :math:`\sqrt{x' \Sigma^{-1} x}`); the worst move of that size is its direction.

Source: requirements rows B06 (distance to liquidation in price and in σ, time to liquidation from
funding alone, multi-asset frontier) and A23 (reverse stress). Rays and search are the house's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.frontier_types import Axis, Frontier, FrontierPoint, Ray, Runway
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.margin import (
    EVERY,
    HIGHEST_RATIO,
    LOWEST_RATIO,
    CarriedAccount,
    close_in,
    outward,
)

Floats = NDArray[np.float64]

#: Factors are not moved beyond these multiples unless asked to.
LOWEST, HIGHEST = 0.2, 5.0

#: Standard deviations outside are slips, and their squares would be lost to rounding.
LEAST_SIGMA, MOST_SIGMA = 1e-6, 10.0

#: Rays of a frontier in two factors, and in more.
RAYS, RAYS_MANY = 36, 90


@dataclass(frozen=True, slots=True)
class Factor:
    """What moves.

    Attributes
    ----------
    kind : {"price", "vol"}
        Price of a coin, or volatility of the options on it.
    coin : str
        ``"*"`` for all.
    """

    kind: Literal["price", "vol"]
    coin: str

    @property
    def name(self) -> str:
        """How it is written: ``BTC``, ``*``, ``vol``, ``vol:BTC``."""
        if self.kind == "price":
            return self.coin
        return "vol" if self.coin == EVERY else f"vol:{self.coin}"


def parse_factor(text: str) -> Factor:
    """Read a factor: a coin, ``*`` for all coins, ``vol`` or ``vol:COIN`` for volatilities."""
    name = text.strip()
    head, colon, coin = name.partition(":")
    if head.lower() == "vol" and (coin or not colon):
        return Factor("vol", coin or EVERY)
    if not name or colon:
        raise InputError(
            f"{text!r} is no factor",
            code="INP-013",
            field="factors",
            hint="name a coin (BTC), * for all coins, vol or vol:BTC",
        )
    return Factor("price", name)


def liquidation_frontier(
    account: CarriedAccount,
    factors: Sequence[Factor],
    *,
    sigmas: Mapping[str, float] | None = None,
    correlations: Mapping[tuple[str, str], float] | None = None,
    low: float = LOWEST,
    high: float = HIGHEST,
    rays: int | None = None,
    grid: int = 21,
) -> Frontier:
    """Find the surface on which an account is liquidated.

    Parameters
    ----------
    account : CarriedAccount
        The account today.
    factors : sequence of Factor
        Two or more, all different.
    sigmas : mapping of str to float, optional
        Standard deviation of the logarithm of each factor over whatever horizon distances are
        to be read in (daily, for example), positive, for all factors or none.
    correlations : mapping of (str, str) to float, optional
        Between factors, in (−1, 1); pairs left out are taken as uncorrelated.
    low, high : float
        Range of every factor as multiples of today, ``0.01 <= low < 1 < high <= 20``: as far
        as liquidation prices are looked for.
    rays : int, optional
        Directions, evenly spread over log-moves; 36 in two factors, 90 in more.
    grid : int
        Points a side of the map for two factors, odd; 0 for none.

    Returns
    -------
    Frontier
        The first breach along each ray. A gap narrower than a step (3 % up to a factor of
        e^0.6, 20 % beyond) may be missed, and so may a spike between two rays.

    Raises
    ------
    InputError
        ``INP-004`` for a range, deviation or correlation that cannot be; ``INP-013`` for
        factors that are too few or twice the same.
    """
    search = _Search(account, factors, sigmas or {}, correlations or {}, low, high)
    base = search.base
    walks = search.walk_all(rays)
    points = [ray.point for ray in walks if ray.point is not None]
    coordinates, values = search.map(grid, points)
    return Frontier(
        factors=tuple(f.name for f in factors),
        low=(low,) * len(factors),
        high=(high,) * len(factors),
        breached_now=tuple(account.pots[k] for k in np.flatnonzero(base < 0)),
        excess_now_usd=float(base.min()),
        axes=tuple(search.axis(k) for k in range(len(factors))),
        rays=tuple(walks),
        nearest=search.nearest(points),
        runway=_runway(account, base),
        grid_ratios=coordinates,
        grid_excess_usd=values,
        evaluations=account.evaluations,
    )


class _Search:
    """Walks away from today's market."""

    def __init__(
        self,
        account: CarriedAccount,
        factors: Sequence[Factor],
        sigmas: Mapping[str, float],
        correlations: Mapping[tuple[str, str], float],
        low: float,
        high: float,
    ) -> None:
        names = [f.name for f in factors]
        if len(names) < 2 or len(set(names)) < len(names):
            raise InputError(
                f"a frontier needs two or more different factors, not {', '.join(names) or 'none'}",
                code="INP-013",
                field="factors",
                hint="for example BTC ETH, or BTC vol; one factor alone: see `when`",
            )
        if not LOWEST_RATIO <= low < 1 < high <= HIGHEST_RATIO:
            raise InputError(
                f"a range from {low:g} to {high:g} does not hold today's market, or is too wide",
                code="INP-004",
                field="range",
                hint=f"give {LOWEST_RATIO:g} <= low < 1 < high <= {HIGHEST_RATIO:g}, as multiples "
                "of today",
            )
        self.account, self.factors = account, tuple(factors)
        self.names = names
        self.spread = _spread(names, sigmas, correlations)
        self.low, self.high = math.log(low), math.log(high)
        self.base = account.excess({})
        self._dead = self.base < 0

    def excess(self, x: Floats) -> Floats:
        """Return equity − line by pot where the factors' logarithms have moved by `x`."""
        prices: dict[str, float] = {}
        vols: dict[str, float] = {}
        for factor, step in zip(self.factors, x.tolist()):
            (prices if factor.kind == "price" else vols)[factor.coin] = step
        # Pots that are below their line today would hide all others.
        return np.where(self._dead, np.inf, self.account.excess(prices, vols))

    def sigma(self, x: Floats) -> float | None:
        """Return the distance of a move in standard deviations."""
        if self.spread is None:
            return None
        return float(np.linalg.norm(np.linalg.solve(self.spread, x)))

    def walk(self, direction: Floats) -> Ray:
        """Walk from today until a pot breaches, or the range ends."""
        d = direction / np.abs(direction).max()
        reach = min(
            (self.high if step > 0 else self.low) / step for step in d.tolist() if step != 0
        )

        def least(t: float) -> float:
            return float(self.excess(t * d).min())

        safe, at_safe = 0.0, float(np.where(self._dead, np.inf, self.base).min())
        if math.isinf(at_safe):
            return _ray(d, None, 0.0, unknown=False)
        for t in outward(1.0, reach):
            try:
                value = least(t)
            except CrossmarginError:
                return _ray(d, None, safe, unknown=True)
            if value < 0:
                found = close_in(least, safe, at_safe, t, value, width=1e-9)
                return _ray(d, self._point(d, found.safe, found.dead or t), found.safe)
            safe, at_safe = t, value
        return _ray(d, None, safe, unknown=False)

    def _point(self, d: Floats, safe: float, dead: float) -> FrontierPoint:
        there, beyond = self.excess(safe * d), self.excess(dead * d)
        pot = int(np.argmin(beyond))
        return FrontierPoint(
            ratios=tuple(np.exp(safe * d).tolist()),
            sigma=self.sigma(safe * d),
            pot=self.account.pots[pot],
            safe_usd=float(there[pot]),
            dead_usd=float(beyond[pot]),
        )

    def walk_all(self, rays: int | None) -> list[Ray]:
        """Walk in directions spread evenly over the moves of the factors' logarithms."""
        size = len(self.factors)
        count = rays or (RAYS if size == 2 else RAYS_MANY)
        return [self.walk(u) for u in even_directions(size, count)]

    def axis(self, k: int) -> Axis:
        """Walk along one factor alone, both ways."""
        unit = np.zeros(len(self.factors))
        unit[k] = 1.0
        factor = self.factors[k]
        priced = factor.kind == "price" and factor.coin != EVERY
        own = None if self.spread is None else float(np.linalg.norm(self.spread[k]))
        return Axis(
            factor=factor.name,
            today_usd=self.account.price_usd(factor.coin) if priced else None,
            sigma=own,
            down=self.walk(-unit),
            up=self.walk(unit),
        )

    def nearest(self, points: Sequence[FrontierPoint]) -> FrontierPoint | None:
        """Return the breach at the least σ: the best of all rays, then turned towards less.

        Rays along the principal axes of the metric are tried as well. A turned direction is
        looked at just inside the distance known so far; where that is dead, a nearer breach lies
        on it. Turns shrink until they are under a thousandth.
        """
        if self.spread is None:
            return None
        _, axes = np.linalg.eigh(self.spread @ self.spread.T)
        walks = [self.walk(sign * axis) for axis in axes.T for sign in (1.0, -1.0)]
        points = [*points, *(ray.point for ray in walks if ray.point is not None)]
        if not points:
            return None
        best = min(points, key=lambda p: p.sigma if p.sigma is not None else math.inf)
        turn = math.pi / 6.0
        while turn > 1e-3:
            better = next(self._nearer(best, turn), None)
            if better is None:
                turn *= 0.5
            else:
                best = better
        return best

    def _nearer(self, best: FrontierPoint, turn: float) -> Iterator[FrontierPoint]:
        assert self.spread is not None and best.sigma is not None
        moved = np.log(np.array(best.ratios))
        unit = np.asarray(np.linalg.solve(self.spread, moved), dtype=np.float64) / best.sigma
        for tangent in _tangents(unit):
            for sign in (turn, -turn):
                u = math.cos(sign) * unit + math.sin(sign) * tangent
                x = self.spread @ u
                within = ((self.low <= best.sigma * x) & (best.sigma * x <= self.high)).all()
                if not within:
                    continue
                try:
                    value = float(self.excess(best.sigma * (1.0 - 1e-7) * x).min())
                except CrossmarginError:
                    continue
                if value < 0:
                    # Nearer than known, yet not necessarily the first breach: walk there.
                    found = self.walk(x).point
                    if found is not None and (found.sigma or math.inf) < best.sigma:
                        yield found

    def map(
        self, grid: int, points: Sequence[FrontierPoint]
    ) -> tuple[tuple[tuple[float, ...], ...], tuple[tuple[float | None, ...], ...]]:
        """Evaluate a grid over two factors that holds today and the frontier found."""
        if len(self.factors) != 2 or grid < 2:
            return (), ()
        axes = [self._extent(k, points, grid) for k in range(2)]
        rows = []
        for y in axes[1]:
            row: list[float | None] = []
            for x in axes[0]:
                try:
                    row.append(float(self.account_excess(np.array([x, y])).min()))
                except CrossmarginError:
                    row.append(None)
            rows.append(tuple(row))
        return tuple(tuple(np.exp(a).tolist()) for a in axes), tuple(rows)

    def _extent(self, k: int, points: Sequence[FrontierPoint], grid: int) -> Floats:
        """Return evenly spaced moves of one factor, today's among them."""
        reached = [math.log(p.ratios[k]) for p in points] or [self.low, self.high]
        low = max(self.low, 1.15 * min(*reached, 0.1 * self.low))
        high = min(self.high, 1.15 * max(*reached, 0.1 * self.high))
        step = (high - low) / (grid - 1)
        below, above = math.ceil(-low / step - 1e-9), math.ceil(high / step - 1e-9)
        moves = step * np.arange(-below, above + 1)
        return np.asarray(np.clip(moves, self.low, self.high), dtype=np.float64)

    def account_excess(self, x: Floats) -> Floats:
        """Return equity − line of all pots, those below it today included."""
        dead, self._dead = self._dead, np.zeros_like(self._dead)
        try:
            return self.excess(x)
        finally:
            self._dead = dead


def _ray(d: Floats, point: FrontierPoint | None, t: float, *, unknown: bool = False) -> Ray:
    return Ray(
        direction=tuple(d.tolist()), point=point, end=tuple(np.exp(t * d).tolist()), unknown=unknown
    )


def _spread(
    names: Sequence[str],
    sigmas: Mapping[str, float],
    correlations: Mapping[tuple[str, str], float],
) -> Floats | None:
    """Return the Cholesky factor of the covariance of the factors' logarithms, or None."""
    strangers = [
        n for n in (*sigmas, *(x for pair in correlations for x in pair)) if n not in names
    ]
    if strangers:
        raise InputError(
            f"{strangers[0]} is not one of the factors {', '.join(names)}",
            code="INP-013",
            field="sigma",
        )
    if not sigmas:
        return None
    missing = [name for name in names if name not in sigmas]
    if missing:
        raise InputError(
            f"{', '.join(missing)} has no standard deviation, others have",
            code="INP-004",
            field="sigma",
            hint="give one for every factor, or for none",
        )
    for name, value in sigmas.items():
        if not LEAST_SIGMA <= value <= MOST_SIGMA:
            raise InputError(
                f"the standard deviation of {name} is {value:g}",
                code="INP-004",
                field="sigma",
                hint=f"of its logarithm, from {LEAST_SIGMA:g} to {MOST_SIGMA:g}: 0.03 is three "
                "per cent",
            )
    scale = np.array([sigmas[name] for name in names])
    matrix = np.eye(len(names))
    for (a, b), rho in correlations.items():
        if not -1 < rho < 1 or a == b:
            raise InputError(
                f"the correlation of {a} and {b} is {rho:g}",
                code="INP-004",
                field="correlation",
                hint="between two factors, above -1 and below 1",
            )
        matrix[names.index(a), names.index(b)] = matrix[names.index(b), names.index(a)] = rho
    try:
        return np.asarray(np.linalg.cholesky(matrix * np.outer(scale, scale)))
    except np.linalg.LinAlgError:
        raise InputError(
            "these correlations cannot hold together: the matrix has a negative direction",
            code="INP-004",
            field="correlation",
        ) from None


def even_directions(size: int, count: int) -> Floats:
    """Return unit vectors spread evenly: a circle, or a low-discrepancy sphere."""
    if size == 2:
        angle = 2.0 * math.pi * np.arange(count) / count
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    from scipy.special import ndtri
    from scipy.stats import qmc

    # Halton points through the normal quantile, and both ends of every axis.
    drawn = ndtri(qmc.Halton(size, scramble=False).random(count + 1)[1:])
    ends = np.concatenate([np.eye(size), -np.eye(size)])
    found = np.concatenate([ends, drawn / np.linalg.norm(drawn, axis=1, keepdims=True)])
    return np.asarray(found, dtype=np.float64)


def _tangents(unit: Floats) -> Floats:
    """Return an orthonormal basis of what is at right angles to a unit vector."""
    full, _ = np.linalg.qr(np.concatenate([unit[:, None], np.eye(unit.size)], axis=1))
    return np.asarray(full[:, 1:].T)


def runway(account: CarriedAccount) -> Runway:
    """Return how long an account lasts when nothing moves but funding."""
    return _runway(account, account.excess({}))


def _runway(account: CarriedAccount, base: Floats) -> Runway:
    """Return how long each paying pot lasts, and the first."""
    flow = account.funding()
    paid = -flow.usd_per_hour
    hours = np.where(paid > 0, np.maximum(base, 0.0) / np.where(paid > 0, paid, 1.0), np.inf)
    first = int(np.argmin(hours))
    ends = bool(np.isfinite(hours[first]))
    return Runway(
        usd_per_hour=float(flow.usd_per_hour.sum()),
        hours=float(hours[first]) if ends else None,
        pot=account.pots[first] if ends else None,
        without_rate=flow.without_rate,
    )
