"""Scenarios on the basis: what contracts gain over the coin they are on.

A basis is a risk factor of its own: the log-change Δb of contract over coin, freed from its
volatility and brought to today's like a price (clearing-practice §1.6, published, for the filter;
that the basis is filtered as a spread, and what stands in for a missing series: house). Dependence
is that of the days it comes from: it is not rescaled to today's correlation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.market import FactorHistory
from crossmargin.scenarios._horizon import over_horizon
from crossmargin.scenarios._tail_spec import BasisRule, TailSpec
from crossmargin.stats import (
    ewma_volatilities,
    long_volatilities,
    normals,
    stream,
    whole_numbers,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Places of the streams that a seed is split into; those of prices end at 5 << 20.
_LOT, _NOISE, _STRESS_NOISE, _RATE, _STRESS_RATE, _PATH = (k << 20 for k in range(6, 12))
#: A lot is a number below this, taken modulo the days there are.
_LOTS = 1 << 30


@dataclass(frozen=True, slots=True)
class BasisPast:
    """Volatilities of all series of contracts, by coin and entry of :class:`BasisRule`.

    Attributes
    ----------
    returns, sigma, long, every : float64[T (+ 1), A, F]
        As those of :class:`crossmargin.scenarios.Prepared`; NaN where there is no series.
    residuals : int64[T + 1, A, F]
        Returns freed from their volatility, so far.
    """

    returns: Floats
    sigma: Floats
    long: Floats
    every: Floats
    residuals: Ints


@dataclass(frozen=True, slots=True)
class BasisMoves:
    """Log-changes of basis in scenarios.

    Attributes
    ----------
    move : float64[A, F, S]
        By coin and entry of the rule.
    rate : float64[A, F, S]
        Besides, per year that a contract has to run; 0 where a series of its own has it.
    """

    move: Floats
    rate: Floats

    def of(self, coin: Ints, entry: Ints, years: Floats) -> Floats:
        """Return Δb of instruments, ``[n, S]``; 0 where coin or entry is -1."""
        out = np.zeros((coin.size, self.move.shape[2]))
        some = (coin >= 0) & (entry >= 0)
        c, e = coin[some], entry[some]
        out[some] = self.move[c, e] + self.rate[c, e] * years[some, None]
        return out


def no_moves(coins: int, size: int) -> BasisMoves:
    """Return the moves of a rule-set without a basis."""
    nothing = np.zeros((coins, 0, size))
    return BasisMoves(nothing, nothing)


def basis_past(
    history: FactorHistory, spec: TailSpec, first: int | None = None
) -> BasisPast | None:
    """Work the volatilities of all series out, or return None without a rule.

    Of the rule's entries only the `first` so many are looked at where fewer are held.
    """
    rule = spec.basis
    if rule is None or first == 0:
        return None
    place = {name: k for k, name in enumerate(history.contracts)}
    used = rule.contracts[:first]
    days, coins, entries = max(len(history.days) - 1, 0), len(history.coins), len(used)
    r = np.full((days, coins, entries), np.nan)
    for f, one in enumerate(used):
        for a, coin in enumerate(history.coins):
            k = place.get(f"{coin}-{one.ending}", -1)
            if k >= 0:
                r[:, a, f] = history.basis_returns[:, k]
    flat = r.reshape(days, coins * entries)
    shape = (days + 1, coins, entries)
    sigma = ewma_volatilities(flat, spec.decay, warm_up=spec.warm_up)
    free = np.isfinite(flat) & np.isfinite(sigma[:-1]) & (sigma[:-1] > 0)
    begun = np.zeros((1, flat.shape[1]), dtype=np.int64)
    return BasisPast(
        returns=r,
        sigma=sigma.reshape(shape),
        long=long_volatilities(flat, spec.long_days).reshape(shape),
        every=long_volatilities(flat, max(days, 1)).reshape(shape),
        residuals=np.concatenate([begun, np.cumsum(free, axis=0)]).reshape(shape),
    )


def filtered_basis(
    past: BasisPast, days: Ints, end: int, lead: int, coin_long: Floats, spec: TailSpec
) -> tuple[BasisMoves, BasisMoves]:
    """Return the moves of basis at today's volatility, and at the long one.

    Parameters
    ----------
    past : BasisPast
        Of the whole history; nothing after `end` is looked at.
    days : int64[S]
        Days that the scenarios come from.
    end : int
        Returns that are known.
    lead : int
        The proxy's coin.
    coin_long : float64[A]
        Long volatility of each coin's price.
    spec : TailSpec
        With a rule for the basis.
    """
    own = past.residuals[end] >= spec.fewest
    with np.errstate(invalid="ignore", divide="ignore"):
        z = past.returns[days] / past.sigma[days]
    z = _filled(np.where(np.isfinite(z), z, np.nan), own, lead, spec)
    z = _with_noise(_spread(z, own, lead, None), own, lead, spec, _NOISE)
    today = np.broadcast_to(past.sigma[end], z.shape)
    then = np.where(np.isfinite(past.sigma[days]), past.sigma[days], today)
    scale = {"full": today, "half": 0.5 * (today + then), "none": then}[spec.filter]
    ratio, least = _ratio(coin_long, lead), _rule(spec).least
    scale, today, long = (
        np.maximum(_spread(np.where(np.isfinite(x), x, 0.0), own, lead, ratio), least)
        for x in (scale, today, np.broadcast_to(past.long[end], z.shape))
    )
    coins, entries = own.shape

    def over(size: Floats, sigma: Floats) -> BasisMoves:
        flat = z.reshape(z.shape[0], -1)
        x = over_horizon(flat, size.reshape(flat.shape), sigma[0].reshape(-1), spec)
        x = np.ascontiguousarray(x.reshape(-1, coins, entries).transpose(1, 2, 0))
        return BasisMoves(x, _rate_moves(own, x.shape[2], spec, _RATE))

    wide = over(long, long)
    if spec.monte_carlo is None:
        return over(scale, today), wide
    # Simulated prices have no days: the basis of each path is drawn from the days by lot.
    taken = _path_days(z.shape[0], spec.monte_carlo.paths, spec)
    x = sum((z[day] * scale[day] for day in taken), np.zeros((taken.shape[1], coins, entries)))
    x = np.ascontiguousarray(x.transpose(1, 2, 0))
    return BasisMoves(x, _rate_moves(own, x.shape[2], spec, _RATE)), wide


def stressed_basis(
    past: BasisPast, rows: Ints, end: int, lead: int, coin_long: Floats, spec: TailSpec
) -> BasisMoves:
    """Return the moves of basis of the stressed period, and of the hypothetical scenarios.

    A day that a series has not seen takes the proxy's, or one of its own by lot, in units of the
    root mean square so far. Parameters as :func:`filtered_basis`; `rows` are the period's days.
    """
    own = past.residuals[end] >= spec.fewest
    spread = past.every[end]
    with np.errstate(invalid="ignore", divide="ignore"):
        u, pool = past.returns[rows] / spread, past.returns[:end] / spread
    u = _filled(np.where(np.isfinite(u), u, np.nan), own, lead, spec, pool)
    u = _with_noise(_spread(u, own, lead, None), own, lead, spec, _STRESS_NOISE)
    size = _spread(
        np.where(np.isfinite(spread), spread, 0.0)[None], own, lead, _ratio(coin_long, lead)
    )
    x = u * np.maximum(size, _rule(spec).least)
    if spec.horizon_days > 1:
        x = np.lib.stride_tricks.sliding_window_view(x, spec.horizon_days, axis=0).sum(axis=-1)
    judged, rate = _judged(own, spec)
    x = np.concatenate([x.transpose(1, 2, 0), judged], axis=2)
    drawn = _rate_moves(own, x.shape[2] - judged.shape[2], spec, _STRESS_RATE)
    return BasisMoves(x, np.concatenate([drawn, rate], axis=2))


def _rate_moves(own: Bools, size: int, spec: TailSpec, place: int) -> Floats:
    """Return log-changes per year of contracts without a series of their own, ``[A, F, S]``."""
    rule = _rule(spec)
    coins, entries = own.shape
    out = np.zeros((coins, entries, size))
    used = rule.contracts[:entries]
    if rule.rate == 0.0 or not any(one.days > 0 for one in used):
        return out
    noise = normals(spec.seed, place, (coins, size)) * (rule.rate * math.sqrt(spec.horizon_days))
    for f, one in enumerate(used):
        if one.days > 0:
            out[:, f] = np.where(own[:, f, None], 0.0, noise)
    return out


def _judged(own: Bools, spec: TailSpec) -> tuple[Floats, Floats]:
    """Return the basis and the rate of hypothetical scenarios, ``[A, F, H]`` each."""
    years = np.array([one.days for one in _rule(spec).contracts[: own.shape[1]]]) / 365.0
    shape = (*own.shape, len(spec.hypothetical))
    move, rate = np.zeros(shape), np.zeros(shape)
    for k, one in enumerate(spec.hypothetical):
        move[:, :, k] = math.log1p(one.basis) + np.where(own, one.rate * years, 0.0)
        rate[:, :, k] = np.where(own | (years == 0.0), 0.0, one.rate)
    return move, rate


def _path_days(size: int, paths: int, spec: TailSpec) -> Ints:
    return stream(spec.seed, _PATH).integers(0, size, size=(spec.horizon_days, paths))


def _rule(spec: TailSpec) -> BasisRule:
    assert spec.basis is not None
    return spec.basis


def _with_noise(u: Floats, own: Bools, lead: int, spec: TailSpec, place: int) -> Floats:
    """Give what has neither a series nor a proxy normal draws, one a day and coin."""
    bare = ~own & ~own[:, :1] & ~own[lead, 0]
    if not bare.any():
        return u
    noise = normals(spec.seed, place, u.shape[:2])
    return np.where(bare, noise[:, :, None], u)


def _ratio(coin_long: Floats, lead: int) -> Floats:
    """Return long volatilities of coins over the proxy's; 1 where either is not known."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = coin_long / coin_long[lead]
    return np.where(np.isfinite(found) & (found > 0), found, 1.0)


def _filled(u: Floats, own: Bools, lead: int, spec: TailSpec, pool: Floats | None = None) -> Floats:
    """Fill days that a series of its own has not seen: by the proxy's, then by lot from `pool`."""
    out = np.where(own, u, 0.0)
    lots: Ints | None = None
    for a, f in zip(*(x.tolist() for x in np.nonzero(own))):
        mine = u[:, a, f]
        gap = np.flatnonzero(np.isnan(mine))
        if not gap.size:
            continue
        if a != lead and own[lead, f]:
            known = ~np.isnan(u[gap, lead, f])
            out[gap[known], a, f] = u[gap[known], lead, f]
            gap = gap[~known]
        if gap.size:
            lots = _lots(u.shape[0], spec) if lots is None else lots
            have = mine if pool is None else pool[:, a, f]
            have = have[np.isfinite(have)]
            out[gap, a, f] = have[lots[gap] % have.size]
    return out


def _lots(size: int, spec: TailSpec) -> Ints:
    return whole_numbers(spec.seed, _LOT, size, _LOTS)


def _spread(x: Floats, own: Bools, lead: int, ratio: Floats | None) -> Floats:
    """Give coins without a first series the proxy's, times `ratio`; other entries the first."""
    out = x.copy()
    if own[lead, 0]:
        for a in np.flatnonzero(~own[:, 0]).tolist():
            out[:, a, 0] = x[:, lead, 0] * (1.0 if ratio is None else ratio[a])
    for f in range(1, x.shape[2]):
        out[:, :, f] = np.where(own[:, f], out[:, :, f], out[:, :, 0])
    return out
