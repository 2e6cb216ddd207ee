"""Which of two models is better: a score, and tests of the difference.

The score is Fissler and Ziegel's, for value at risk and expected shortfall together; the smaller
the better. Heavy tails can void the normal law of the Diebold–Mariano statistic
(arXiv 2605.16866, abstract, as clearing-practice §2 quotes it), so a p-value by block bootstrap
and one by subsampling stand beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.errors import InputError
from crossmargin.stats import generator
from crossmargin.validation._result import Floats, as_series
from crossmargin.validation.shortfall import _checked


def fz0(losses: ArrayLike, var: ArrayLike, es: ArrayLike, level: float) -> Floats:
    """Return the FZ0 score of each observation; smaller is better.

    ``−(1/(αe))·1{y ≤ v}(v − y) + v/e + ln(−e) − 1`` with y = −loss, v = −VaR, e = −ES. It has
    degree 0: a change of unit adds the same constant to all models. Source: Fissler and Ziegel
    (2016) as Patton, Ziegel and Chen (2019) write it, clearing-practice §2 (published).
    """
    loss, v, e, alpha = _checked(losses, var, es, level)
    over = np.where(loss >= v, loss - v, 0.0)
    return np.asarray(over / (alpha * e) + v / e + np.log(e) - 1.0, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Difference of two models' mean scores.

    Attributes
    ----------
    difference : float
        Mean score of the first less the second; negative: the first is better.
    statistic : float
        Diebold and Mariano's, with a long-run variance; NaN where the scores do not differ.
    p_normal, p_bootstrap, p_subsample : float
        Two-sided p-values: asymptotic, by block bootstrap, by subsampling; 1 where the scores do
        not differ.
    lags, block : int
        Of the long-run variance, and length of the blocks.
    """

    difference: float
    statistic: float
    p_normal: float
    p_bootstrap: float
    p_subsample: float
    lags: int
    block: int


def long_run_variance(values: Floats, lags: int) -> float:
    """Return the variance of √n times the mean, Bartlett weights.

    Source: Newey and West (1987) (published); no correction for degrees of freedom.
    """
    x = values - values.mean()
    n = x.size
    total = float(x @ x) / n
    for k in range(1, min(lags, n - 1) + 1):
        total += 2.0 * (1.0 - k / (lags + 1.0)) * float(x[k:] @ x[:-k]) / n
    return float(total)


def compare_scores(
    first: ArrayLike,
    second: ArrayLike,
    *,
    seed: int,
    draws: int = 2_000,
    lags: int | None = None,
    block: int | None = None,
) -> Comparison:
    """Compare two rows of scores of the same observations.

    Parameters
    ----------
    first, second : array_like
        Scores; smaller is better.
    seed : int
        Of the bootstrap.
    draws : int
        Of the bootstrap.
    lags : int, optional
        Default ``⌊4(n/100)^{2/9}⌋`` (Newey and West 1994, secondary).
    block : int, optional
        Length of blocks; default ``⌈n^{1/3}⌉`` for the bootstrap and its square for subsamples.

    Notes
    -----
    Diebold and Mariano (1995): ``√n·d̄ / √(long-run variance of d)``. The bootstrap is circular
    in blocks, of the centred differences (Künsch 1989). Subsampling takes ``√b(d̄_b − d̄)`` over
    all runs of b observations against ``√n·d̄`` (Politis, Romano and Wolf 1999), which holds
    without the variance that heavy tails may lack.

    Raises
    ------
    InputError
        ``INP-004`` with fewer than eight observations.
    """
    a = as_series(first, "first")
    b = as_series(second, "second", a.size)
    d = a - b
    n = d.size
    if n < 8:
        raise InputError("a comparison needs at least eight observations", code="INP-004")
    length = math.ceil(n ** (1.0 / 3.0)) if block is None else block
    kept = math.floor(4.0 * (n / 100.0) ** (2.0 / 9.0)) if lags is None else lags
    mean = float(d.mean())
    if not np.ptp(d):
        # A constant difference has no error; none at all says that the models are one.
        p = 1.0 if mean == 0.0 else 0.0
        return Comparison(
            difference=mean, statistic=math.nan, p_normal=p, p_bootstrap=p, p_subsample=p,
            lags=kept, block=length,
        )  # fmt: skip
    statistic = math.sqrt(n) * mean / math.sqrt(max(long_run_variance(d, kept), 1e-300))
    return Comparison(
        difference=mean,
        statistic=statistic,
        p_normal=math.erfc(abs(statistic) / math.sqrt(2.0)),
        p_bootstrap=_bootstrap(d, length, draws, seed),
        p_subsample=_subsample(d, min(length * length, n // 2)),
        lags=kept,
        block=length,
    )


def _bootstrap(d: Floats, block: int, draws: int, seed: int) -> float:
    rng = generator(seed)
    n = d.size
    wheel = np.concatenate([d - d.mean(), (d - d.mean())[: block - 1]])
    sums = np.convolve(wheel, np.ones(block), mode="valid")
    blocks = math.ceil(n / block)
    means = sums[rng.integers(0, n, size=(draws, blocks))].sum(axis=1) / (blocks * block)
    worse = int((np.abs(means) >= abs(d.mean())).sum())
    return (1.0 + worse) / (1.0 + draws)


def _subsample(d: Floats, length: int) -> float:
    runs = np.convolve(d, np.ones(length), mode="valid") / length
    spread = math.sqrt(length) * np.abs(runs - d.mean())
    worse = int((spread >= math.sqrt(d.size) * abs(d.mean())).sum())
    return (1.0 + worse) / (1.0 + runs.size)
