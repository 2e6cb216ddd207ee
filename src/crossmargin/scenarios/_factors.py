"""Scenarios on the prices of coins and on their volatilities: what a history turns into.

Sources, formula by formula, are with the functions; the section they are of is clearing-practice
§1.6 unless another is named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import MarketDataError, RulesetError
from crossmargin.market import FactorHistory
from crossmargin.scenarios._basis import (
    BasisMoves,
    BasisPast,
    basis_past,
    filtered_basis,
    no_moves,
    stressed_basis,
)
from crossmargin.scenarios._horizon import over_horizon
from crossmargin.scenarios._tail_spec import TailSpec
from crossmargin.stats import (
    copula_uniforms,
    ewma_volatilities,
    garch_volatilities,
    jump_sums,
    long_volatilities,
    normals,
    repaired,
    rescaled,
    shuffles,
    weighted_correlation,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Largest log-return of a scenario.
LARGEST = 5.0

#: Places of the streams that a seed is split into; 1 is that of days drawn, from 6 on the basis's.
_RESIDUAL, _STRESS_RESIDUAL, _COPULA, _JUMPS = (k << 20 for k in range(2, 6))


@dataclass(frozen=True, slots=True)
class FactorScenarios:
    """Equally likely scenarios.

    Attributes
    ----------
    move : float64[A, S]
        Relative move of each coin's price in US dollars; 0 where the coin is not known.
    level : float64[A, S]
        Log-change of each coin's thirty-day volatility.
    labels : tuple of str
        Days they were taken from, or names.
    basis : BasisMoves
        Log-changes of contracts against their coins.
    """

    move: Floats
    level: Floats
    labels: tuple[str, ...]
    basis: BasisMoves

    @property
    def size(self) -> int:
        """Number of scenarios."""
        return int(self.move.shape[1])


@dataclass(frozen=True, slots=True)
class TailSets:
    """Everything a tail is measured on, at one moment.

    Attributes
    ----------
    coins : tuple of str
        Rows of all tables, in the history's order.
    known : bool[A]
        Coins with enough history.
    filtered, long, stress : FactorScenarios
        At today's volatility, at long volatility, and the stressed period as it was.
    order : int64[K, A, S]
        Rearrangements of the filtered scenarios in which dependence breaks: independent, all
        together, and each block against the rest. Empty where there is nothing to break.
    broken : tuple of str
        Names of the rearrangements.
    sigma, sigma_long : float64[A]
        Volatility of a day, now and long; NaN where not known.
    stress_from, stress_to : str
        First and last day of the stressed period.
    """

    coins: tuple[str, ...]
    known: NDArray[np.bool_]
    filtered: FactorScenarios
    long: FactorScenarios
    stress: FactorScenarios
    order: Ints
    broken: tuple[str, ...]
    sigma: Floats
    sigma_long: Floats
    stress_from: str
    stress_to: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A history with its volatilities: what every moment of it shares.

    Attributes
    ----------
    returns, sigma, long : float64[T, A], float64[T + 1, A], float64[T + 1, A]
        Log-returns; volatility known before each; volatility of the long window.
    every : float64[T + 1, A]
        Root mean square of all returns before each moment.
    residuals : int64[T + 1, A]
        Returns of each coin freed from their volatility, so far.
    vol_returns, vol_sigma : float64[T, V], float64[T + 1, V]
        The same of volatilities.
    vol_column : int64[A]
        Column of each coin's volatility, or -1.
    basis : BasisPast or None
        Volatilities of contracts against their coins, where the rules move them.
    """

    history: FactorHistory
    returns: Floats
    sigma: Floats
    long: Floats
    every: Floats
    residuals: Ints
    vol_returns: Floats
    vol_sigma: Floats
    vol_column: Ints
    basis: BasisPast | None


def prepare(history: FactorHistory, spec: TailSpec, *, entries: int | None = None) -> Prepared:
    """Work out the volatilities of a history: once, whatever the number of moments asked about.

    With `entries` only the first so many of the rule for the basis are followed.
    """
    r, v = history.returns, history.vol_returns
    if spec.volatility == "ewma":
        sigma = ewma_volatilities(r, spec.decay, warm_up=spec.warm_up)
    else:
        sigma = _fitted(r, spec)
    free = np.isfinite(r) & np.isfinite(sigma[:-1]) & (sigma[:-1] > 0)
    count = np.concatenate([np.zeros((1, r.shape[1]), dtype=np.int64), np.cumsum(free, axis=0)])
    place = {name: k for k, name in enumerate(history.vol_coins)}
    return Prepared(
        history=history,
        returns=r,
        sigma=sigma,
        long=long_volatilities(r, spec.long_days),
        every=long_volatilities(r, max(r.shape[0], 1)),
        residuals=count,
        vol_returns=v,
        vol_sigma=ewma_volatilities(v, spec.decay, warm_up=spec.warm_up),
        vol_column=np.array([place.get(c, -1) for c in history.coins], dtype=np.int64),
        basis=basis_past(history, spec, entries),
    )


def _fitted(returns: Floats, spec: TailSpec) -> Floats:
    """Return volatilities by GARCH or GJR; a coin must not miss a day once it has begun."""
    out = np.full((returns.shape[0] + 1, returns.shape[1]), np.nan)
    for a in range(returns.shape[1]):
        rows = np.flatnonzero(np.isfinite(returns[:, a]))
        if rows.size < spec.fewest:
            continue
        past = garch_volatilities(returns[rows, a], asymmetric=spec.volatility == "gjr")
        out[rows, a], out[-1, a] = past[:-1], past[-1]
    return out


def tail_sets(history: FactorHistory, spec: TailSpec) -> TailSets:
    """Return the scenarios of a history as of its last day.

    Raises
    ------
    MarketDataError
        ``MKT-044`` when no coin has a history that is long enough.
    RulesetError
        ``RUL-037`` when the figures give scenarios that no market has.
    """
    return history.once(
        ("tail sets", spec.key),
        lambda: sets_at(prepare(history, spec), len(history.days) - 1, spec),
    )


def sets_at(past: Prepared, end: int, spec: TailSpec, *, levels: bool = True) -> TailSets:
    """Return the scenarios known after the first `end` returns.

    Nothing later is looked at, but for volatilities by GARCH, whose fit sees all of a history.
    Without `levels` changes of volatility are left at 0, which is quicker.
    """
    known = past.residuals[end] >= spec.fewest if end >= 0 else np.zeros(0, dtype=np.bool_)
    if not known.any():
        raise MarketDataError(
            f"no coin of the history has {spec.fewest} returns with a known volatility",
            code="MKT-044",
            field="history",
            hint="give a longer history, or lower tail.fewest",
        )
    lead = _leader(past, known, end, spec)
    z, scale, days = _residuals(past, known, lead, end, spec)
    labels = _named(past.history.days, days)
    sigma = np.where(known, past.sigma[end], np.nan)
    long = np.where(known, past.long[end], np.nan)
    if spec.monte_carlo is not None:
        filtered = _simulated(z, sigma, long, spec)
    else:
        filtered = over_horizon(z, scale, sigma, spec)
    wide = over_horizon(z, np.broadcast_to(_or_zero(long), z.shape), long, spec)
    if spec.monte_carlo is None and spec.multi_day == "blocks" and spec.horizon_days > 1:
        labels = labels[len(labels) % spec.horizon_days :][:: spec.horizon_days]
    _check_size(filtered, wide)
    simple = spec.monte_carlo is not None and spec.monte_carlo.simple
    move = np.maximum(filtered, -0.999999) if simple else np.expm1(filtered)
    if spec.monte_carlo is not None:
        labels = tuple(f"path {k + 1}" for k in range(filtered.shape[0]))
    level = _levels(past, filtered, days, end, spec) if levels else np.zeros_like(filtered)
    coins = len(past.history.coins)
    still = no_moves(coins, filtered.shape[0]), no_moves(coins, wide.shape[0])
    based = past.basis
    near, far = still if based is None else filtered_basis(based, days, end, lead, long, spec)
    _check_size(near.move, far.move)
    found = FactorScenarios(move.T.copy(), level.T.copy(), labels, near)
    wide_level = _levels(past, wide, days, end, spec) if levels else np.zeros_like(wide)
    stress, first, last = _stress(past, known, lead, end, spec, based)
    order, broken = _rearranged(found.move, known, past.history.coins, spec)
    return TailSets(
        coins=past.history.coins,
        known=known,
        filtered=found,
        long=FactorScenarios(
            np.expm1(wide).T.copy(), wide_level.T.copy(), labels[: wide.shape[0]], far
        ),
        stress=stress,
        order=order,
        broken=broken,
        sigma=sigma,
        sigma_long=long,
        stress_from=first,
        stress_to=last,
    )


def _named(days: tuple[str, ...], rows: Ints) -> tuple[str, ...]:
    """Return the dates at the ends of returns."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == rows.size:
        return days[first + 1 : last + 2]
    return tuple(days[k + 1] for k in rows.tolist())


def _check_size(*returns: Floats) -> None:
    """Refuse scenarios in which a price is multiplied or divided by more than e⁵."""
    worst = max(float(np.abs(x).max(initial=0.0)) for x in returns)
    if not worst <= LARGEST:
        raise RulesetError(
            f"the tail's figures give a scenario with a log-return of {worst:.3g}",
            code="RUL-037",
            field="tail",
            hint="a decay, a horizon or jumps are out of proportion to the history",
        )


def _or_zero(x: Floats) -> Floats:
    return np.where(np.isfinite(x), x, 0.0)


def _leader(past: Prepared, known: NDArray[np.bool_], end: int, spec: TailSpec) -> int:
    """Return the coin whose days are the scenarios: the proxy, or the one with most residuals."""
    coins = past.history.coins
    if spec.proxy in coins and known[coins.index(spec.proxy)]:
        return coins.index(spec.proxy)
    return int(np.argmax(np.where(known, past.residuals[end], -1)))


def _residuals(
    past: Prepared, known: NDArray[np.bool_], lead: int, end: int, spec: TailSpec
) -> tuple[Floats, Floats, Ints]:
    """Return residuals, the volatility each is multiplied by, and the days: ``[S, A]``, ``[S]``.

    ``z_t = r_t/σ_t`` with σ_t known before r_t. On days that a coin has not seen it takes the
    residual of the leader (house). Dependence is then brought to today's.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        z = past.returns[:end] / past.sigma[:end]
    z = np.where(np.isfinite(z), z, np.nan)
    days = np.flatnonzero(np.isfinite(z[:, lead]))[-spec.days :]
    z = z[days]
    z = np.where(np.isfinite(z), z, z[:, lead][:, None])
    some = np.flatnonzero(known)
    z[:, ~known] = 0.0
    now = _wanted(z[:, some], spec)
    z[:, some] = rescaled(z[:, some], now, spec.rescale)
    today, then = past.sigma[end], past.sigma[:end][days]
    then = np.where(np.isfinite(then), then, today)
    if spec.filter == "full":
        scale = np.broadcast_to(today, z.shape)
    elif spec.filter == "half":
        scale = 0.5 * (today + then)
    else:
        scale = then
    return z, _or_zero(scale), days


def _wanted(z: Floats, spec: TailSpec) -> Floats:
    """Return the correlation that scenarios are brought to: today's, or one that is asked for.

    Of more than two coins not all can be far below 0 to each other (not below −1/(A − 1)); such a
    wish becomes the nearest that can be.
    """
    if spec.correlation is None:
        return weighted_correlation(z, spec.correlation_decay)
    wanted = np.full((z.shape[1], z.shape[1]), spec.correlation)
    np.fill_diagonal(wanted, 1.0)
    return repaired(wanted)


def _simulated(z: Floats, sigma: Floats, long: Floats, spec: TailSpec) -> Floats:
    """Return simulated log-returns over the horizon, ``[paths, A]``.

    A t copula (all coins share one χ²) with the dependence of the residuals, each coin's own law,
    today's volatility, and jumps that all take together.
    """
    from scipy.special import ndtri

    law = spec.monte_carlo
    assert law is not None
    some = np.flatnonzero(np.isfinite(sigma))
    c = _wanted(z[:, some], spec)
    degrees = math.inf if law.degrees is None else law.degrees
    out = np.zeros((law.paths, z.shape[1]))
    h = spec.horizon_days
    for day in range(h):
        u = copula_uniforms(c, law.paths, degrees=degrees, seed=spec.seed, place=_COPULA + day)
        if law.marginal == "normal":
            drawn = ndtri(np.clip(u, 1e-16, 1.0 - 1e-16))
        else:
            drawn = np.empty_like(u)
            for k, a in enumerate(some.tolist()):
                drawn[:, k] = np.quantile(z[:, a], u[:, k], method="hazen")
        out[:, some] += drawn * sigma[some]
    if law.jumps is not None:
        j = law.jumps
        out[:, some] += jump_sums(
            law.paths, j.intensity * h, j.mean, j.spread, seed=spec.seed, place=_JUMPS
        )[:, None]
    return out


def _levels(past: Prepared, x: Floats, days: Ints, end: int, spec: TailSpec) -> Floats:
    """Return log-changes of volatilities in scenarios of log-returns x, ``[S, A]``.

    A coin's own past changes, at the volatility that its volatility has today, where the history
    has them for the day; else the stated response.
    """
    rule, h = spec.vol, spec.horizon_days
    noise = normals(spec.seed, _RESIDUAL, x.shape) * math.sqrt(h)
    out = rule.down * np.maximum(-x, 0.0) + rule.up * np.maximum(x, 0.0) + rule.residual * noise
    if h > 1 or spec.monte_carlo is not None or x.shape[0] != days.size:
        return np.asarray(out)
    for a in np.flatnonzero(past.vol_column >= 0).tolist():
        v = int(past.vol_column[a])
        now = past.vol_sigma[end, v]
        with np.errstate(invalid="ignore", divide="ignore"):
            own = past.vol_returns[days, v] / past.vol_sigma[days, v] * now
        out[:, a] = np.where(np.isfinite(own), own, out[:, a])
    return np.asarray(out)


def _stress(
    past: Prepared,
    known: NDArray[np.bool_],
    lead: int,
    end: int,
    spec: TailSpec,
    based: BasisPast | None,
) -> tuple[FactorScenarios, str, str]:
    """Return the stressed period as it was, with the hypothetical scenarios.

    The window of past returns in which squared returns, each coin's in units of its own mean
    square so far, were largest on average. Sums over the horizon overlap: a stress is no test.
    """
    r = past.returns[:end]
    spread = past.every[end]
    alive = np.flatnonzero(np.isfinite(r[:, lead]))
    with np.errstate(invalid="ignore", divide="ignore"):
        u = r[alive] / spread
    u = np.where(np.isfinite(u), u, np.nan)
    seen = np.isfinite(u) & known
    size = np.where(seen, u, 0.0) ** 2
    score = size.sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    length = min(spec.stress_days, alive.size)
    total = np.concatenate([[0.0], np.cumsum(score)])
    first = int(np.argmax(total[length:] - total[:-length]))
    part = u[first : first + length]
    part = np.where(np.isfinite(part), part, part[:, lead][:, None]) * _or_zero(spread)
    part[:, ~known] = 0.0
    rows = alive[first : first + length]
    names = list(_named(past.history.days, rows))
    h = spec.horizon_days
    if h > 1:
        part = np.lib.stride_tricks.sliding_window_view(part, h, axis=0).sum(axis=-1)
    x = part
    rule = spec.vol
    noise = normals(spec.seed, _STRESS_RESIDUAL, x.shape) * math.sqrt(h)
    level = rule.down * np.maximum(-x, 0.0) + rule.up * np.maximum(x, 0.0) + rule.residual * noise
    if h == 1:
        for a in np.flatnonzero(past.vol_column >= 0).tolist():
            own = past.vol_returns[rows, int(past.vol_column[a])]
            level[:, a] = np.where(np.isfinite(own), own, level[:, a])
    move = np.expm1(x)
    labels = names[h - 1 :]
    for one in spec.hypothetical:
        extra = [one.moves.get(c, one.moves.get("default", 0.0)) for c in past.history.coins]
        vols = [one.vols.get(c, one.vols.get("default", 0.0)) for c in past.history.coins]
        move = np.concatenate([move, [extra]])
        level = np.concatenate([level, [np.log1p(vols)]])
        labels.append(one.name)
    basis = no_moves(len(past.history.coins), move.shape[0])
    if based is not None:
        long = np.where(known, past.long[end], np.nan)
        basis = stressed_basis(based, rows, end, lead, long, spec)
    found = FactorScenarios(move.T.copy(), level.T.copy(), tuple(labels), basis)
    return found, names[0], names[-1]


def _rearranged(
    move: Floats, known: NDArray[np.bool_], coins: tuple[str, ...], spec: TailSpec
) -> tuple[Ints, tuple[str, ...]]:
    """Return the orders in which each coin's scenarios are taken when dependence breaks.

    Each coin keeps its own moves; which of them come together is new. Independent: each coin's
    days shuffled by itself. Together: all sorted. A block against the rest: all sorted, the
    block's the other way round. Source: clearing-practice §1.6 (dependence forced to 0 and ±1 per
    pair group); the rearrangement is the house's way to do it.
    """
    size = move.shape[1]
    some = np.flatnonzero(known)
    if spec.break_share == 0.0 or some.size < 2:
        return np.empty((0, move.shape[0], size), dtype=np.int64), ()
    still = np.tile(np.arange(size), (move.shape[0], 1))
    apart = still.copy()
    apart[some] = shuffles(size, some.size, spec.seed)
    together = still.copy()
    together[some] = np.argsort(move[some], axis=1, kind="stable")
    found, names = [apart, together], ["independent", "all together"]
    for block in spec.blocks:
        mine = np.array([k for k in some.tolist() if coins[k] in block], dtype=np.int64)
        if 0 < mine.size < some.size:
            against = together.copy()
            against[mine] = against[mine, ::-1]
            found.append(against)
            names.append(f"{', '.join(block)} against the rest")
    return np.array(found, dtype=np.int64), tuple(names)
