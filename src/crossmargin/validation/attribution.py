"""Does the risk model see what moves the book: the profit-and-loss attribution test.

Risk-theoretical profit is what the model's factors explain, hypothetical profit what the front
office's revaluation gives for the same positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.errors import InputError
from crossmargin.validation._result import as_series

#: Zones of Basel MAR32.17 and 32.18, table: Spearman green from 0.80, red below 0.70;
#: Kolmogorov–Smirnov green to 0.09, red above 0.12 (published).
_SPEARMAN = (0.80, 0.70)
_KS = (0.09, 0.12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Both statistics and the worse of their zones.

    Attributes
    ----------
    spearman : float
        Rank correlation of the two profits.
    kolmogorov_smirnov : float
        Largest distance of their distributions, 0 to 1.
    zone : str
        ``green``, ``amber`` or ``red``.
    """

    spearman: float
    kolmogorov_smirnov: float
    zone: str


def attribution(theoretical: ArrayLike, hypothetical: ArrayLike) -> Attribution:
    """Compare risk-theoretical with hypothetical profit day by day and in distribution.

    Source: Basel MAR32 (published): zones above; clearing-practice §2 asks for both statistics.
    250 observations are usual there; nothing here depends on it.

    Raises
    ------
    InputError
        ``INP-004`` for rows of different length, or hypothetical profits that never move.
    """
    from scipy.stats import rankdata

    risk = as_series(theoretical, "theoretical")
    real = as_series(hypothetical, "hypothetical", risk.size)
    if not np.ptp(real):
        raise InputError(
            "profits that never move have no correlation", code="INP-004", field="hypothetical"
        )
    # A model that explains nothing is not correlated with anything.
    moved = bool(np.ptp(risk))
    rho = float(np.corrcoef(rankdata(risk), rankdata(real))[0, 1]) if moved else 0.0
    every = np.sort(np.concatenate([risk, real]))
    below = [np.searchsorted(np.sort(x), every, side="right") / x.size for x in (risk, real)]
    distance = float(np.abs(below[0] - below[1]).max())
    if rho < _SPEARMAN[1] or distance > _KS[1]:
        zone = "red"
    elif rho < _SPEARMAN[0] or distance > _KS[0]:
        zone = "amber"
    else:
        zone = "green"
    return Attribution(spearman=rho, kolmogorov_smirnov=distance, zone=zone)
