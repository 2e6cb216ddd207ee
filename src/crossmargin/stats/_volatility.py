"""Volatility that moves with the market, and returns freed from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError, invariant

Floats = NDArray[np.float64]


def ewma_volatility(returns: ArrayLike, decay: float, *, warm_up: int = 30) -> Floats:
    """Return the volatility known before each return, and after the last: n + 1 values.

    ``σ²_{t+1} = λσ²_t + (1−λ)r_t²``. It starts at the mean square of the first `warm_up`
    returns (or of all, where there are fewer). Source: RiskMetrics (1996), clearing-practice §1.6
    (published); the start is ours (house).

    Parameters
    ----------
    returns : array_like
        Returns per period, in order.
    decay : float
        λ, between 0 and 1.
    warm_up : int
        Returns that set the start.
    """
    from scipy.signal import lfilter

    r = np.asarray(returns, dtype=np.float64)
    invariant(r.ndim == 1 and r.size > 0, "volatility of no returns")
    invariant(bool(np.isfinite(r).all()), "returns are finite numbers")
    invariant(0.0 < decay < 1.0, "a decay lies between 0 and 1")
    invariant(warm_up >= 1, "at least one return sets the start")
    start = float(np.mean(r[:warm_up] ** 2))
    after, _ = lfilter([1.0 - decay], [1.0, -decay], r**2, zi=[decay * start])
    return np.asarray(np.sqrt(np.concatenate([[start], after])), dtype=np.float64)


def filtered_returns(returns: ArrayLike, decay: float, *, warm_up: int = 30) -> Floats:
    """Return past returns at today's volatility: ``r_t / σ_t · σ_now``.

    The first `warm_up` returns, which set the start of the volatility, are left out where more
    remain. Source: Hull and White (1998), clearing-practice §1.6 (published).

    Parameters
    ----------
    returns : array_like
        Returns per period, in order, not all 0.
    decay : float
        λ of :func:`ewma_volatility`.
    warm_up : int
        Returns that set the start.
    """
    r = np.asarray(returns, dtype=np.float64)
    sigma = ewma_volatility(r, decay, warm_up=warm_up)
    first = warm_up if r.size > 2 * warm_up else 0
    known = sigma[:-1]
    # A stretch without any move has no volatility to be freed from; its returns are 0.
    scaled = np.divide(r, known, out=np.zeros_like(r), where=known > 0) * sigma[-1]
    return np.asarray(scaled[first:], dtype=np.float64)


def ewma_volatilities(returns: ArrayLike, decay: float, *, warm_up: int = 30) -> Floats:
    """Return the volatility of several series known before each return, ``[T + 1, A]``.

    As :func:`ewma_volatility`, column by column; a series may begin late (NaN before) and miss a
    day (the volatility then stays). Row t uses returns before t alone, so that the rows of a
    shorter history are the first rows of a longer one.

    Parameters
    ----------
    returns : array_like [T, A]
        Returns per period, in order; NaN where there is none.
    decay : float
        λ, between 0 and 1.
    warm_up : int
        Returns of each series that set its start; no volatility is known before they are over.

    Returns
    -------
    float64[T + 1, A]
        NaN until a series has begun and its first `warm_up` returns are known.
    """
    r = np.asarray(returns, dtype=np.float64)
    invariant(r.ndim == 2, "returns by period and series")
    invariant(0.0 < decay < 1.0, "a decay lies between 0 and 1")
    known = np.isfinite(r)
    square = np.where(known, r, 0.0) ** 2
    seen = np.cumsum(known, axis=0)
    out = np.full((r.shape[0] + 1, r.shape[1]), np.nan)
    variance = np.full(r.shape[1], np.nan)
    total = np.zeros(r.shape[1])
    for t in range(r.shape[0]):
        here = known[t]
        total += np.where(seen[t] <= warm_up, square[t], 0.0)
        moved = decay * variance + (1.0 - decay) * square[t]
        variance = np.where(here, moved, variance)
        variance = np.where(here & (seen[t] == warm_up), total / warm_up, variance)
        out[t + 1] = variance
    return np.sqrt(out)


def long_volatilities(returns: ArrayLike, window: int) -> Floats:
    """Return the root mean square of the last `window` returns before each moment, ``[T + 1, A]``.

    NaN where a series has none yet. Source: EMIR RTS 153/2013 art. 28(c), ten-year volatility
    (published); the mean of 0 is ours.
    """
    r = np.asarray(returns, dtype=np.float64)
    known = np.isfinite(r)
    nothing = np.zeros((1, r.shape[1]))
    square = np.concatenate([nothing, np.cumsum(np.where(known, r, 0.0) ** 2, axis=0)])
    count = np.concatenate([nothing, np.cumsum(known, axis=0)])
    first = np.maximum(np.arange(r.shape[0] + 1) - window, 0)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt((square - square[first]) / (count - count[first])))


def garch_volatilities(returns: ArrayLike, *, asymmetric: bool = False) -> Floats:
    """Return GARCH(1,1) or GJR volatility of one series: n + 1 values, the last for tomorrow.

    ``σ²_{t+1} = ω + α·r_t² + γ·r_t²·1{r_t<0} + β·σ_t²``, fitted by maximum likelihood with a mean
    of 0 by the package `arch`. The fit sees the whole series, so it must end today.

    Parameters
    ----------
    returns : array_like [T]
        Returns per period, in order, not all 0.
    asymmetric : bool
        With γ (Glosten, Jagannathan and Runkle 1993); else Bollerslev (1986).

    Raises
    ------
    InputError
        ``INP-023`` when `arch` is not installed.
    """
    try:
        from arch import arch_model
    except ImportError:
        raise InputError(
            "GARCH volatility needs the package arch",
            code="INP-023",
            field="tail.volatility",
            hint="install crossmargin[stats], or use volatility = 'ewma'",
        ) from None
    r = np.asarray(returns, dtype=np.float64)
    scale = float(np.sqrt(np.mean(r * r)))
    invariant(scale > 0, "volatility of returns that are all 0")
    # The fit is for returns near 1 in size.
    model = arch_model(r / scale, mean="Zero", vol="GARCH", p=1, o=int(asymmetric), q=1)
    fit = model.fit(disp="off", show_warning=False)
    ahead = float(fit.forecast(horizon=1, reindex=False).variance.to_numpy()[0, 0])
    past = np.asarray(fit.conditional_volatility, dtype=np.float64)
    return np.asarray(scale * np.append(past, np.sqrt(ahead)))
