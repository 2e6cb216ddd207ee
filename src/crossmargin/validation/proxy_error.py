"""How wrong the volatility proxy is: its surface against recorded chains.

The recorded chains of 2026 have a whole surface and the proxy only a level, so here the level is
worked out from each chain as a volatility index is, the proxy's surface is built on it, and
options are revalued with both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossmargin.errors import InputError
from crossmargin.pricing import black76
from crossmargin.validation._result import Floats
from crossmargin.validation.surface import YEAR, HeldShape

Progress = Callable[[int, int], None]

#: File of the recorded chains in a folder of recorded data.
CHAINS = "deribit_options_2026q1.parquet"
_INDEX_DAYS = 30.0
#: Buckets of the report: days to expiry, and ln(K/F) in standard deviations.
_TENORS = ((1.0, 10.0), (10.0, 45.0), (45.0, 120.0))
_MONEYNESS = ((-2.5, -1.0), (-1.0, -0.25), (-0.25, 0.25), (0.25, 1.0), (1.0, 2.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Error in one range of expiry and strike.

    Attributes
    ----------
    days, sigmas : tuple of (float, float)
        Range of days to expiry, and of ``ln(K/F)/(L√T)``.
    options : int
        Observations.
    bias, typical, worst : float
        Mean, mean absolute and largest absolute error of implied volatility (decimal per year),
        proxy less recorded.
    """

    days: tuple[float, float]
    sigmas: tuple[float, float]
    options: int
    bias: float
    typical: float
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyError:
    """The proxy on recorded chains.

    Attributes
    ----------
    coin : str
        Underlying.
    first, last : str
        First and last moment, ISO-8601.
    snapshots : int
        Chains used.
    buckets : tuple of Bucket
        Error of volatility.
    straddle_bias, straddle_typical, straddle_worst : float
        Error of the value of a 30-day straddle at the money, as a share of the recorded value.
    straddle_change : float
        Mean absolute error of its change from one chain to the next, as a share of the mean
        absolute recorded change.
    level : tuple of (float, float)
        Lowest and highest level met.
    """

    coin: str
    first: str
    last: str
    snapshots: int
    buckets: tuple[Bucket, ...]
    straddle_bias: float
    straddle_typical: float
    straddle_worst: float
    straddle_change: float
    level: tuple[float, float]


def index_level(strikes: Floats, vols: Floats, forward: float, years: float) -> float:
    """Return the variance-swap volatility of one expiry from its out-of-the-money options.

    ``σ² = (2/T) Σ ΔK/K² · Q(K)`` with Q the out-of-the-money value at the forward, trapezoid
    weights and the correction ``−(F/K₀ − 1)²/T``. Source: Cboe's VIX white paper, which Deribit
    says DVOL follows (secondary). Values are undiscounted.
    """
    order = np.argsort(strikes)
    k, v = strikes[order], vols[order]
    call = k >= forward
    q = black76(np.full(k.size, forward), k, np.full(k.size, years), v, call)
    width = np.gradient(k)
    at = k[k <= forward].max() if (k <= forward).any() else k[0]
    variance = 2.0 / years * float(np.sum(width / k**2 * q)) - (forward / at - 1.0) ** 2 / years
    return float(np.sqrt(max(variance, 1e-12)))


def level_of_chain(days: Floats, strikes: Floats, vols: Floats, forwards: Floats) -> float | None:
    """Return the 30-day level of one chain: total variance of two expiries, interpolated.

    None where no two expiries lie about 30 days.
    """
    levels = []
    for tenor in np.unique(days):
        rows = days == tenor
        if tenor >= 5.0 and rows.sum() >= 8:
            years = float(tenor) / YEAR
            forward = float(np.median(forwards[rows]))
            levels.append((years, index_level(strikes[rows], vols[rows], forward, years)))
    near = [x for x in levels if x[0] <= _INDEX_DAYS / YEAR]
    far = [x for x in levels if x[0] > _INDEX_DAYS / YEAR]
    if not (near and far):
        return None
    (t1, v1), (t2, v2) = near[-1], far[0]
    target = _INDEX_DAYS / YEAR
    share = (t2 - target) / (t2 - t1)
    variance = share * t1 * v1 * v1 + (1.0 - share) * t2 * v2 * v2
    return float(np.sqrt(variance / target))


def proxy_error(
    folder: str | Path,
    shape: HeldShape,
    *,
    coin: str = "BTC",
    every: int = 4,
    progress: Progress | None = None,
) -> ProxyError:
    """Measure the proxy on the recorded chains of a folder.

    Calls and puts that are out of the money, with a volatility and at least one day to go.

    Parameters
    ----------
    folder : str or Path
        Folder of recorded data.
    shape : HeldShape
        The proxy.
    coin : str
        Underlying of the chains.
    every : int
        Use each so-many-th chain (there are about four a day).
    progress : callable, optional
        Told chains done and chains in all.

    Raises
    ------
    InputError
        ``INP-005`` when the folder has no chains, ``INP-003`` when none of them is usable.
    """
    import polars as pl

    path = Path(folder) / CHAINS
    if not path.is_file():
        raise InputError(
            f"the folder has no {CHAINS}", code="INP-005", field="data",
            hint="the error of the proxy needs recorded chains",
        )  # fmt: skip
    columns = ["timestamp", "strike", "expiry_datetime", "underlying", "option_type",
               "implied_volatility"]  # fmt: skip
    table = (
        pl.scan_parquet(path)
        .filter(pl.col("currency").cast(pl.String) == coin)
        .select(columns)
        .collect()
    )
    moments = table["timestamp"].unique().sort().to_list()[::every]
    errors: list[Floats] = []
    straddles: list[tuple[float, float]] = []
    levels: list[float] = []
    for done, moment in enumerate(moments):
        found = _one_chain(table.filter(pl.col("timestamp") == moment), moment, shape)
        if found is not None:
            level, rows, pair = found
            levels.append(level)
            errors.append(rows)
            straddles.append(pair)
        if progress is not None:
            progress(done + 1, len(moments))
    if len(levels) < 2:
        raise InputError("no two recorded chains can be used", code="INP-003", field="data")
    return _measured(coin, moments, np.concatenate(errors), np.array(straddles), levels)


def _one_chain(
    chain: Any, moment: Any, shape: HeldShape
) -> tuple[float, Floats, tuple[float, float]] | None:
    import polars as pl

    seconds = (chain["expiry_datetime"] - moment).dt.total_seconds().to_numpy()
    days = seconds.astype(np.float64) / 86_400.0
    strike = chain["strike"].to_numpy().astype(np.float64)
    forward = chain["underlying"].to_numpy().astype(np.float64)
    vol = chain["implied_volatility"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    call = np.char.startswith(chain["option_type"].cast(pl.String).to_numpy().astype("U"), "c")
    keep = np.isfinite(vol) & (vol > 0.01) & (days >= 1.0) & (call == (strike >= forward))
    days, strike, forward, vol = days[keep], strike[keep], forward[keep], vol[keep]
    level = level_of_chain(days, strike, vol, forward) if days.size else None
    if level is None:
        return None
    years = days / YEAR
    k = np.log(strike / forward)
    made = shape.vol(level, k, years)
    rows = np.stack([days, k / (level * np.sqrt(years)), made - vol], axis=1)
    return level, rows, (_straddle(float(shape.vol(level, 0.0, _INDEX_DAYS / YEAR))),
                         _straddle(_at_the_money(days, k, vol)))  # fmt: skip


def _straddle(vol: float) -> float:
    """Value of a 30-day straddle at the money, as a share of the forward."""
    from scipy.special import ndtr

    return float(2.0 * (2.0 * ndtr(0.5 * vol * np.sqrt(_INDEX_DAYS / YEAR)) - 1.0))


def _at_the_money(days: Floats, k: Floats, vol: Floats) -> float:
    """Interpolate the recorded volatility at the money to 30 days, in total variance."""
    found = []
    for tenor in np.unique(days):
        rows = days == tenor
        if tenor < 5.0 or rows.sum() < 8:
            continue
        order = np.argsort(k[rows])
        found.append((tenor, float(np.interp(0.0, k[rows][order], vol[rows][order]))))
    tenors = np.array([t for t, _ in found])
    total = np.array([t * v * v for t, v in found])
    return float(np.sqrt(np.interp(_INDEX_DAYS, tenors, total) / _INDEX_DAYS))


def _measured(
    coin: str, moments: list[Any], rows: Floats, pairs: Floats, levels: list[float]
) -> ProxyError:
    buckets = []
    for near, far in _TENORS:
        for low, high in _MONEYNESS:
            inside = (rows[:, 0] >= near) & (rows[:, 0] < far)
            inside &= (rows[:, 1] >= low) & (rows[:, 1] < high)
            error = rows[inside, 2]
            if error.size:
                buckets.append(
                    Bucket(
                        days=(near, far), sigmas=(low, high), options=int(error.size),
                        bias=float(error.mean()), typical=float(np.abs(error).mean()),
                        worst=float(np.abs(error).max()),
                    )
                )  # fmt: skip
    share = pairs[:, 0] / pairs[:, 1] - 1.0
    moved = np.diff(pairs, axis=0)
    return ProxyError(
        coin=coin,
        first=str(moments[0])[:19],
        last=str(moments[-1])[:19],
        snapshots=len(levels),
        buckets=tuple(buckets),
        straddle_bias=float(share.mean()),
        straddle_typical=float(np.abs(share).mean()),
        straddle_worst=float(np.abs(share).max()),
        straddle_change=float(np.abs(moved[:, 0] - moved[:, 1]).sum() / np.abs(moved[:, 1]).sum()),
        level=(min(levels), max(levels)),
    )
