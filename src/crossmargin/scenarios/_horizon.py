"""What several days make of the residuals of one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from crossmargin.scenarios._tail_spec import TailSpec
from crossmargin.stats import stream

Floats = NDArray[np.float64]

#: Place of the stream that further days are drawn from.
MULTI_DAY = 1 << 20


def over_horizon(z: Floats, scale: Floats, sigma: Floats, spec: TailSpec) -> Floats:
    """Return log-returns over the horizon, ``[S', A]``.

    One day: ``z·scale``. ``bootstrap``: further days draw a residual (the same day for every coin)
    and carry the volatility on, ``σ²_{k+1} = λσ²_k + (1−λ)x_k²`` (Barone-Adesi, Giannopoulos and
    Vosper 1999). ``blocks``: sums over days that do not overlap, the last ending now. ``root``:
    times √h, right only for independent days (clearing-practice §1.7).
    """
    first, h = z * scale, spec.horizon_days
    if h == 1:
        return first
    if spec.multi_day == "root":
        return math.sqrt(h) * first
    if spec.multi_day == "blocks":
        blocks = first.shape[0] // h
        return np.asarray(first[-blocks * h :].reshape(blocks, h, -1).sum(axis=1))
    pick = stream(spec.seed, MULTI_DAY).integers(0, z.shape[0], size=(h - 1, z.shape[0]))
    total, x = first.copy(), first
    variance = np.where(np.isfinite(sigma), sigma, 0.0) ** 2
    for day in range(h - 1):
        variance = spec.decay * variance + (1.0 - spec.decay) * x * x
        x = z[pick[day]] * np.sqrt(variance)
        total += x
    return total
