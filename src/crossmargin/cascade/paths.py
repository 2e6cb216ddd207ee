"""What prices would do if nobody were liquidated: exogenous log-returns by step and asset.

Every function returns float64[T, J]: row t is what happens in step t, column j the asset. Paths
add up: a scripted fall on top of a random market is the sum of the two arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.draws import generator
from crossmargin.cascade.figures import number, numbers
from crossmargin.errors import CascadeError
from crossmargin.market import Ticks, read_ticks

Floats = NDArray[np.float64]

#: Distribution of one asset's return: its tail. Together with `dof` it decides what is heavy.
Marginal = Literal["normal", "student"]


def _whole(name: str, value: int, least: int = 1) -> int:
    if value < least or value != int(value):
        raise CascadeError(
            f"{name} is {value}, not a whole number of at least {least}",
            code="CAS-001",
            field=name,
        )
    return int(value)


def still(steps: int, assets: int) -> Floats:
    """Return a path on which nothing moves."""
    return np.zeros((_whole("steps", steps), _whole("assets", assets)))


def scripted(
    points: Mapping[str, Sequence[tuple[float, float]]],
    assets: Sequence[str],
    *,
    steps: int,
    step_s: float,
) -> Floats:
    """Write a path down: prices at some moments, straight lines in the logarithm between them.

    Parameters
    ----------
    points : mapping of str to list of (float, float)
        By asset: (seconds from the start, price relative to the start). Times rise. Before the
        first point the price is 1, after the last it stays. Assets not named stand still.
    assets : sequence of str
        Columns.
    steps : int
        T.
    step_s : float
        Seconds a step takes.

    Raises
    ------
    CascadeError
        ``CAS-001`` for times that do not rise or prices that are not positive, ``CAS-003`` for
        an asset that has no column.
    """
    out = still(steps, len(assets))
    moments = np.arange(steps + 1) * number("step_s", step_s, above=0)
    for name, script in points.items():
        if name not in assets:
            raise CascadeError(
                f"the script moves {name!r}, which is no asset of the population",
                code="CAS-003",
                field="points",
                hint="one of " + ", ".join(assets),
            )
        table = numbers(f"points.{name}", np.array(script, dtype=np.float64).reshape(-1, 2))
        if (np.diff(table[:, 0]) <= 0).any() or (table[:, 0] < 0).any():
            raise CascadeError(
                f"the times of the script of {name} do not rise from 0",
                code="CAS-001",
                field=f"points.{name}",
            )
        level = np.log(numbers(f"points.{name}", table[:, 1], above=0))
        times = table[:, 0]
        if not times.size or times[0] > 0:
            times, level = np.append(0.0, times), np.append(0.0, level)
        log_price = np.interp(moments, times, level)
        column = np.diff(log_price)
        # A script that begins elsewhere than at 1 gaps there in its first step.
        column[0] += log_price[0]
        out[:, list(assets).index(name)] = column
    return out


def jump(size: ArrayLike, *, at: int, steps: int) -> Floats:
    """Return a path with one jump.

    Parameters
    ----------
    size : array-like [J]
        Relative change of each price, above −1: −0.1 is a fall by a tenth.
    at : int
        Step of the jump, from 0.
    steps : int
        T.
    """
    change = numbers("size", np.atleast_1d(np.asarray(size, dtype=np.float64)), above=-1)
    out = still(steps, change.size)
    if not 0 <= at < steps:
        raise CascadeError(
            f"the jump is at step {at} of a path of {steps}", code="CAS-001", field="at"
        )
    out[at] = np.log1p(change)
    return out


def replayed(price: ArrayLike) -> Floats:
    """Turn recorded prices into a path.

    Parameters
    ----------
    price : array-like [T + 1, J]
        Positive; row 0 is the start.

    Raises
    ------
    CascadeError
        ``CAS-001`` for a price that is not positive: missing is not zero.
    """
    found = numbers("price", price, above=0)
    if found.ndim != 2 or found.shape[0] < 2:
        raise CascadeError(
            "a replay needs prices by moment and asset, two moments at least",
            code="CAS-001",
            field="price",
        )
    return np.asarray(np.diff(np.log(found), axis=0), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A recorded path on an even grid of moments.

    Attributes
    ----------
    assets : tuple of str
        Columns.
    times_ns : int64[T + 1]
        The grid, ns UTC.
    price : float64[T + 1, J]
        The last price known at each moment, in the recording's quote.
    stale : int64[J]
        Moments of the grid at which the asset had no new price since the one before.
    """

    assets: tuple[str, ...]
    times_ns: NDArray[np.int64]
    price: Floats
    stale: NDArray[np.int64]

    @property
    def returns(self) -> Floats:
        """The path, float64[T, J]."""
        return replayed(self.price)


def recorded(
    ticks: Ticks | str | Path, assets: Sequence[str], *, start_ns: int, steps: int, step_ns: int
) -> Recorded:
    """Sample a recording on a grid: at every moment the last price that was known then.

    Parameters
    ----------
    ticks : Ticks or path
        Or a table that :func:`~crossmargin.market.read_ticks` reads (Parquet, CSV).
    assets : sequence of str
        Coins of the recording, in the order of the columns.
    start_ns : int
        First moment of the grid.
    steps, step_ns : int
        T and the length of a step.

    Raises
    ------
    CascadeError
        ``CAS-003`` for a coin that the recording lacks, ``CAS-001`` where it has no price at
        the start, or ends before the grid does.
    InputError
        For a table that cannot be read.
    """
    _whole("steps", steps)
    _whole("step_ns", step_ns)
    last = start_ns + steps * step_ns
    found = ticks if isinstance(ticks, Ticks) else read_ticks(ticks, until_ns=last)
    grid = start_ns + step_ns * np.arange(steps + 1, dtype=np.int64)
    price, stale = np.empty((steps + 1, len(assets))), np.zeros(len(assets), dtype=np.int64)
    for column, name in enumerate(assets):
        if name not in found.coins:
            raise CascadeError(
                f"the recording has no prices of {name!r}",
                code="CAS-003",
                field="assets",
                hint="one of " + ", ".join(found.coins),
            )
        mine = found.price[:, found.coins.index(name)]
        known = np.flatnonzero(np.isfinite(mine))
        times = found.time_ns[known]
        at = np.searchsorted(times, grid, side="right") - 1
        if at[0] < 0 or times[-1] <= last - step_ns:
            raise CascadeError(
                f"the recording of {name} does not cover the time asked for",
                code="CAS-001",
                field="start_ns",
                hint="start later or take fewer steps",
            )
        price[:, column] = mine[known][at]
        stale[column] = int((np.diff(at) == 0).sum())
    return Recorded(assets=tuple(assets), times_ns=grid, price=price, stale=stale)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonteCarlo:
    """Correlated random returns with heavy joint tails, jumps and volatility that clusters.

    ``r_t = drift + σ_t·ε_t + Σ jumps``. ε has unit variance, its dependence is that of a Gaussian
    or, with `dof` = ν, of a Student t vector ``z·√(ν/χ²_ν)``: in a t copula extremes come
    together. Jumps hit all assets at the same moment; their number in a step is Poisson. With a
    `decay` λ volatility follows what happened::

        σ²_{t+1} = (1 − pull)·[λσ²_t + (1 − λ)(r_t − drift)²] + pull·σ²_0

    Source: t copula as in Demarta and McNeil (2005); EWMA of RiskMetrics (1996),
    clearing-practice §1.6; jumps after Merton (1976). Composition and `pull` house. No default
    is a fit of any market.

    Attributes
    ----------
    volatility : float64[J]
        σ_0, per step, a decimal.
    correlation : float64[J, J]
        Positive semidefinite, ones on its diagonal.
    drift : float64[J] or float
        Mean log-return per step apart from jumps.
    dof : float or None
        ν > 2 of the dependence; None for Gaussian.
    marginal : {"normal", "student"}
        Distribution of each ε: normal (with `dof` a t copula with normal margins), or the t
        scaled to unit variance; "student" needs `dof`.
    jump_rate : float
        Expected jumps per step, at least 0.
    jump_mean, jump_sd : float64[J] or float
        Of the log-size of a jump, by asset; sizes share `correlation`.
    decay : float or None
        λ in (0, 1); None keeps volatility constant.
    pull : float
        0 is the plain EWMA, whose level has no home; towards 1 it returns to σ_0 at once.
    """

    volatility: ArrayLike
    correlation: ArrayLike
    drift: ArrayLike = 0.0
    dof: float | None = None
    marginal: Marginal = "normal"
    jump_rate: float = 0.0
    jump_mean: ArrayLike = 0.0
    jump_sd: ArrayLike = 0.0
    decay: float | None = None
    pull: float = 0.0

    def __post_init__(self) -> None:
        sigma = numbers("volatility", self.volatility, least=0)
        if sigma.ndim != 1 or not sigma.size:
            raise CascadeError(
                "volatility is one number for each asset", code="CAS-001", field="volatility"
            )
        _root(self.correlation, sigma.size)
        number("jump_rate", self.jump_rate, least=0)
        for name, least in (("drift", -np.inf), ("jump_mean", -np.inf), ("jump_sd", 0.0)):
            given = numbers(name, getattr(self, name), least=least)
            if given.shape not in ((), sigma.shape):
                raise CascadeError(
                    f"{name} is one number, or one for each of {sigma.size} assets",
                    code="CAS-001",
                    field=name,
                )
        number("pull", self.pull, least=0, most=1)
        if self.decay is not None:
            number("decay", self.decay, above=0, most=1 - 1e-12)
        if self.dof is not None:
            number("dof", self.dof, above=2)
        if self.marginal == "student" and self.dof is None:
            raise CascadeError(
                "a Student marginal needs degrees of freedom", code="CAS-001", field="dof"
            )

    @property
    def assets(self) -> int:
        """J."""
        return int(np.asarray(self.volatility).size)

    def innovations(self, seed: int, path: int, steps: int) -> Floats:
        """Return ε, float64[T, J]: mean 0, variance 1."""
        draw = generator(seed, path, "returns")
        normal = draw.standard_normal((_whole("steps", steps), self.assets))
        # Sums in the order of columns whatever the library: the same bytes on any machine load.
        joint = np.einsum("tj,ij->ti", normal, _root(self.correlation, self.assets))
        if self.dof is None:
            return np.asarray(joint, dtype=np.float64)
        student = joint * np.sqrt(self.dof / draw.chisquare(self.dof, steps))[:, None]
        if self.marginal == "student":
            return np.asarray(student * np.sqrt((self.dof - 2.0) / self.dof), dtype=np.float64)
        from scipy.special import ndtri, stdtr

        # By the lower tail: the upper one has no digits left close to 1.
        tail = ndtri(stdtr(self.dof, -np.abs(student)))
        return np.asarray(-np.sign(student) * tail, dtype=np.float64)

    def jumps(self, seed: int, path: int, steps: int) -> Floats:
        """Return the sum of each step's jumps, float64[T, J]."""
        out = still(steps, self.assets)
        if self.jump_rate == 0.0:
            return out
        draw = generator(seed, path, "jumps")
        count = draw.poisson(self.jump_rate, steps)
        # The sum of n jumps is normal with n times their mean and variance.
        normal = draw.standard_normal((steps, self.assets))
        joint = np.einsum("tj,ij->ti", normal, _root(self.correlation, self.assets))
        some = count[:, None].astype(np.float64)
        return np.asarray(
            some * np.asarray(self.jump_mean) + np.sqrt(some) * np.asarray(self.jump_sd) * joint,
            dtype=np.float64,
        )

    def path(self, seed: int, path: int, steps: int) -> Floats:
        """Return path number `path` of a seed, float64[T, J]."""
        shocks = self.innovations(seed, path, steps)
        jumps = self.jumps(seed, path, steps)
        drift = np.broadcast_to(np.asarray(self.drift, dtype=np.float64), (self.assets,))
        first = np.asarray(self.volatility, dtype=np.float64)
        if self.decay is None:
            return np.asarray(drift + first * shocks + jumps, dtype=np.float64)
        out, variance = np.empty_like(shocks), first**2
        for t in range(steps):
            move = np.sqrt(variance) * shocks[t] + jumps[t]
            out[t] = drift + move
            kept = self.decay * variance + (1.0 - self.decay) * move**2
            variance = (1.0 - self.pull) * kept + self.pull * first**2
        return out


def _root(correlation: ArrayLike, assets: int) -> Floats:
    """Return the symmetric root R of a correlation matrix: R·R = C."""
    matrix = numbers("correlation", correlation)
    fits = matrix.shape == (assets, assets)
    if not fits or np.abs(matrix - matrix.T).max() > 1e-12 or np.abs(np.diag(matrix) - 1).max() > 0:
        raise CascadeError(
            f"correlation is no symmetric {assets} × {assets} matrix with ones on its diagonal",
            code="CAS-001",
            field="correlation",
        )
    value, vector = np.linalg.eigh(matrix)
    if value[0] < -1e-10:
        raise CascadeError(
            f"correlation is not positive semidefinite: its least eigenvalue is {value[0]:.3g}",
            code="CAS-001",
            field="correlation",
            hint="take the nearest correlation matrix",
        )
    return np.asarray((vector * np.sqrt(np.maximum(value, 0.0))) @ vector.T, dtype=np.float64)
