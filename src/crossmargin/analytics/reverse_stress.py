r"""Reverse stress in n dimensions: the smallest joint move that takes an account to its line.

With moves :math:`x = Lu` of covariance :math:`\Sigma = LL'` the size of a move is
:math:`\lVert u \rVert = \sqrt{x'\Sigma^{-1}x}` standard deviations, and the answer is the nearest
point of the set where the excess of equity over the line is below 0.

Where the excess is affine in the moves (rates on linear contracts, one bracket) that point is
:math:`u^* = -g_0 \nabla g / \lVert \nabla g \rVert^2`, and the answer is exact. Otherwise the first
breach is sought along many directions; from each the direction is turned towards the negative
gradient at the breach, the stationarity condition of the nearest point, for as long as that
brings it nearer. The best of all is taken; a breach between the directions may be missed.

Source: requirements A23 and B20 (reverse stress); the fixed point is that of the first-order
reliability method (Hasofer and Lind 1974; Rackwitz and Fiessler 1978). Directions and steps are
the house's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.account_risk import RiskModel
from crossmargin.analytics.frontier import Factor, even_directions
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.margin import CarriedAccount, close_in

Floats = NDArray[np.float64]

#: A price is not taken below this multiple of today, nor above that one.
LEAST_RATIO, MOST_RATIO = 0.02, 20.0

#: Directions tried beside the gradient and the axes, by number of factors.
_DIRECTIONS = {1: 0, 2: 24}
_MANY = 60
_BUMP = 1e-3


class ReverseStress(msgspec.Struct, frozen=True, kw_only=True):
    """The nearest breach.

    Attributes
    ----------
    factors : list of str
        What moves.
    sigma : float or None
        Its distance in standard deviations; None where no breach was found.
    moves : dict of str to float
        Relative move of each factor there, on the safe side of the line.
    prices_usd : dict of str to float
        Prices of the coins there.
    pot : str
        Pot that breaches.
    safe_usd, dead_usd : float
        Its excess on either side.
    method : {"affine", "search"}
        Exact, or the best of many directions.
    angle : float
        Between the direction and the negative gradient at the breach, radians: 0 at a nearest
        point on a smooth line.
    breached_now : list of str
        Pots below their line today; nothing is searched for them.
    starts, evaluations : int
        Directions started from, and revaluations.
    """

    factors: list[str]
    sigma: float | None
    moves: dict[str, float]
    prices_usd: dict[str, float]
    pot: str
    safe_usd: float
    dead_usd: float
    method: str
    angle: float
    breached_now: list[str]
    starts: int
    evaluations: int


def reverse_stress(
    account: CarriedAccount,
    model: RiskModel,
    *,
    factors: Sequence[Factor] | None = None,
    most_sigma: float = 60.0,
) -> ReverseStress:
    """Find the smallest joint move, in standard deviations, that takes a pot to its line.

    Parameters
    ----------
    account : CarriedAccount
        The account today.
    model : RiskModel
        Standard deviations by factor (coins, ``vol`` or ``vol:COIN``) and correlations, of
        relative moves.
    factors : sequence of Factor, optional
        What moves; default every coin that moves the account.
    most_sigma : float
        How far is looked.

    Returns
    -------
    ReverseStress
        With `sigma` None where nothing breaches within the range of prices and σ.
    """
    chosen = factors or [Factor("price", c) for c in sorted(set(account.drivers.values()))]
    if not chosen:
        raise InputError(
            "nothing moves this account", code="INP-013", field="factors",
            hint="an account of dollars alone has no reverse stress",
        )  # fmt: skip
    return _Reverse(account, model, chosen, most_sigma).answer()


class _Breach:
    """A first breach along a direction: the last safe distance and what is beyond."""

    def __init__(self, unit: Floats, safe: float, dead: float, pot: int) -> None:
        self.unit, self.safe, self.dead, self.pot = unit, safe, dead, pot


class _Reverse:
    def __init__(
        self, account: CarriedAccount, model: RiskModel, factors: Sequence[Factor], most: float
    ) -> None:
        self.account, self.factors, self.most = account, tuple(factors), most
        self.names = [factor.name for factor in factors]
        cov = model.covariance(self.names)
        values, axes = np.linalg.eigh(cov)
        # A direction without variance cannot be moved in; the others span the moves there are.
        keep = values > 1e-14 * values.max()
        self.spread = axes[:, keep] * np.sqrt(values[keep])
        self.size = int(keep.sum())
        base = account.excess({})
        self.breached = base < 0
        self.base = np.where(self.breached, np.inf, base)

    def excess(self, u: Floats) -> Floats:
        """Return the excess by pot after a move of `u` standard deviations."""
        ratio = 1.0 + self.spread @ u
        prices: dict[str, float] = {}
        vols: dict[str, float] = {}
        for factor, r in zip(self.factors, ratio.tolist()):
            step = math.log(min(max(r, LEAST_RATIO), MOST_RATIO))
            table = prices if factor.kind == "price" else vols
            table[factor.coin] = table.get(factor.coin, 0.0) + step
        return np.where(self.breached, np.inf, self.account.excess(prices, vols))

    def reach(self, unit: Floats) -> float:
        """Return how far a direction goes before a price leaves its range."""
        step = self.spread @ unit
        far = self.most
        for move in step.tolist():
            if move < 0:
                far = min(far, (1.0 - LEAST_RATIO) / -move)
            elif move > 0:
                far = min(far, (MOST_RATIO - 1.0) / move)
        return far

    def gradient(self, u: Floats, pot: int) -> Floats:
        """Return the gradient of one pot's excess, by central differences."""
        found = np.zeros(self.size)
        for k in range(self.size):
            step = np.zeros(self.size)
            step[k] = _BUMP
            ends = [float(self.excess(u + sign * step)[pot]) for sign in (1.0, -1.0)]
            found[k] = (ends[0] - ends[1]) / (2.0 * _BUMP)
        return found

    def answer(self) -> ReverseStress:
        if not np.isfinite(self.base).any():
            return self.described(None, "search", 0.0, 0)
        exact = self.affine()
        if exact is not None:
            return self.described(exact, "affine", 0.0, 1)
        best: _Breach | None = None
        starts = 0
        for unit in self.starts():
            starts += 1
            found = self.walk(unit, self.most if best is None else best.safe)
            if found is not None and (best is None or found.safe < best.safe):
                best = self.turned(found)
        angle = 0.0
        if best is not None:
            slope = -self.gradient(best.safe * best.unit, best.pot)
            norm = float(np.linalg.norm(slope))
            cosine = float(best.unit @ slope) / norm if norm > 0 else 1.0
            angle = math.acos(min(1.0, max(-1.0, cosine)))
        return self.described(best, "search", angle, starts)

    def affine(self) -> _Breach | None:
        """Return the exact answer where every pot's excess is affine at all points tried."""
        pots = np.flatnonzero(np.isfinite(self.base)).tolist()
        slopes = {pot: self.gradient(np.zeros(self.size), pot) for pot in pots}
        best: tuple[float, int] | None = None
        for pot in pots:
            norm = float(np.linalg.norm(slopes[pot]))
            if norm > 0 and (best is None or self.base[pot] / norm < best[0]):
                best = float(self.base[pot]) / norm, pot
        if best is None:
            return None
        distance, pot = best
        unit = -slopes[pot] / np.linalg.norm(slopes[pot])
        if not 0 < distance < self.reach(unit):
            return None
        rng = np.random.default_rng(1)
        points = [distance * unit, 0.5 * distance * unit]
        for _ in range(2 * self.size + 2):
            toward = rng.standard_normal(self.size)
            toward /= np.linalg.norm(toward)
            points.append(min(distance, 0.9 * self.reach(toward)) * toward)
        scale = max(1.0, float(np.abs(self.base[pots]).max()))
        try:
            for u in points:
                there = self.excess(u)
                for k in pots:
                    if abs(float(there[k]) - (self.base[k] + slopes[k] @ u)) > 1e-7 * scale:
                        return None
        except CrossmarginError:
            return None
        # The slope is known to the rounding of a difference: close in on the line itself.
        return self.walk(unit, 1.01 * distance)

    def starts(self) -> Iterator[Floats]:
        """Yield directions: the steepest today, both ways along every axis, and spread ones."""
        for pot in np.flatnonzero(np.isfinite(self.base)).tolist():
            slope = self.gradient(np.zeros(self.size), pot)
            norm = float(np.linalg.norm(slope))
            if norm > 0:
                yield -slope / norm
        for k in range(self.size):
            for sign in (1.0, -1.0):
                unit = np.zeros(self.size)
                unit[k] = sign
                yield unit
        count = _DIRECTIONS.get(self.size, _MANY)
        if count:
            for direction in even_directions(self.size, count):
                yield direction / np.linalg.norm(direction)

    def walk(self, unit: Floats, most: float) -> _Breach | None:
        """Walk outward to the first breach nearer than `most`; None where there is none."""
        far = min(most, self.reach(unit))
        safe, at_safe = 0.0, float(self.base.min())
        t = 0.0

        def least(s: float) -> float:
            return float(self.excess(s * unit).min())

        while t < far:
            t = min(far, t + max(0.25, 0.06 * t))
            try:
                value = least(t)
            except CrossmarginError:
                return None  # Beyond what the rule-set has figures for: nothing is claimed.
            if value < 0:
                found = close_in(least, safe, at_safe, t, value, width=1e-11)
                dead = t if found.dead is None else found.dead
                pot = int(np.argmin(self.excess(dead * unit)))
                return _Breach(unit, found.safe, dead, pot)
            safe, at_safe = t, value
        return None

    def turned(self, start: _Breach) -> _Breach:
        """Turn the direction towards the negative gradient for as long as that comes nearer."""
        best = start
        for _ in range(40):
            slope = -self.gradient(best.safe * best.unit, best.pot)
            norm = float(np.linalg.norm(slope))
            if norm == 0.0:
                return best
            goal, better, share = slope / norm, None, 1.0
            while better is None and share > 1e-3:
                mixed = (1.0 - share) * best.unit + share * goal
                length = float(np.linalg.norm(mixed))
                if length > 0:
                    better = self.nearer(mixed / length, best.safe)
                share *= 0.5
            if better is None:
                return best
            gain = best.safe - better.safe
            best = better
            if gain <= 1e-9 * best.safe:
                return best
        return best

    def nearer(self, unit: Floats, than: float) -> _Breach | None:
        """Return the first breach along a direction if it is nearer; one look tells mostly."""
        try:
            if float(self.excess(min(than, self.reach(unit)) * (1.0 - 1e-9) * unit).min()) >= 0:
                return None
        except CrossmarginError:
            return None
        return self.walk(unit, than)

    def described(
        self, found: _Breach | None, method: str, angle: float, starts: int
    ) -> ReverseStress:
        moves: dict[str, float] = {}
        prices: dict[str, float] = {}
        safe = dead = 0.0
        if found is not None:
            step = self.spread @ (found.safe * found.unit)
            moves = dict(zip(self.names, step.tolist()))
            prices = _prices(self.account, self.factors, moves)
            safe = float(self.excess(found.safe * found.unit)[found.pot])
            dead = float(self.excess(found.dead * found.unit)[found.pot])
        return ReverseStress(
            factors=self.names,
            sigma=None if found is None else found.safe,
            moves=moves,
            prices_usd=prices,
            pot="" if found is None else self.account.pots[found.pot],
            safe_usd=safe,
            dead_usd=dead,
            method=method,
            angle=angle,
            breached_now=[p for p, out in zip(self.account.pots, self.breached) if out],
            starts=starts,
            evaluations=self.account.evaluations,
        )


def _prices(
    account: CarriedAccount, factors: Sequence[Factor], moves: Mapping[str, float]
) -> dict[str, float]:
    return {
        factor.coin: account.price_usd(factor.coin) * (1.0 + moves[factor.name])
        for factor in factors
        if factor.kind == "price" and factor.coin != "*"
    }
