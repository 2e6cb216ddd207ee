"""Is the tail as deep as the model says: tests of expected shortfall.

Losses, value at risk and expected shortfall are positive numbers in the same unit; statistics are
those of Acerbi and Székely with ``X = −loss``: 0 on average under a right model, negative where
risk is understated. Their laws are simulated from a seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.errors import InputError
from crossmargin.stats import generator
from crossmargin.validation._result import Floats, TestResult, as_series, check_level

#: Draws of the null law that are made at once.
_BATCH = 20_000

Statistic = Literal["z1", "z2", "min_bias"]


@dataclass(frozen=True, slots=True)
class Law:
    """Law of standardised losses: Student's t, or the normal law without degrees of freedom.

    Attributes
    ----------
    dof : float or None
        Degrees of freedom, more than 1; None for the normal law.
    """

    dof: float | None = None

    def __post_init__(self) -> None:
        """Refuse a law without a mean."""
        if self.dof is not None and not self.dof > 1.0:
            raise InputError(
                f"Student's t with {self.dof:g} degrees of freedom has no expected shortfall",
                code="INP-004",
                field="dof",
            )

    @property
    def name(self) -> str:
        """Words for the report."""
        return "normal" if self.dof is None else f"Student t({self.dof:g})"

    def quantile(self, u: Floats) -> Floats:
        """Return the losses at cumulative probabilities."""
        from scipy.special import ndtri, stdtrit

        made = ndtri(u) if self.dof is None else stdtrit(self.dof, u)
        return np.asarray(made, dtype=np.float64)

    def tail(self, level: float) -> tuple[float, float]:
        """Return value at risk and expected shortfall.

        For t with ν degrees ``ES = f(q)(ν + q²) / ((ν − 1)(1 − level))``. Source: McNeil, Frey
        and Embrechts (2005), §2.2.4 (published).
        """
        from crossmargin.stats import normal_expected_shortfall

        q = float(self.quantile(np.array([level]))[0])
        if self.dof is None:
            return q, normal_expected_shortfall(level)
        from scipy.special import gammaln

        nu = self.dof
        log_scale = float(gammaln((nu + 1) / 2) - gammaln(nu / 2)) - 0.5 * math.log(nu * math.pi)
        density = math.exp(log_scale) * (1.0 + q * q / nu) ** (-(nu + 1) / 2)
        return q, density * (nu + q * q) / ((nu - 1.0) * (1.0 - level))


def _checked(
    losses: ArrayLike, var: ArrayLike, es: ArrayLike, level: float
) -> tuple[Floats, Floats, Floats, float]:
    alpha = check_level(level)
    loss = as_series(losses, "losses")
    v, e = as_series(var, "var", loss.size), as_series(es, "es", loss.size)
    if not bool((e > 0).all()):
        raise InputError("an expected shortfall is not positive", code="INP-004", field="es")
    return loss, v, e, alpha


def z1(losses: ArrayLike, var: ArrayLike, es: ArrayLike, level: float) -> float:
    """Return Acerbi and Székely's Z1: ``(1/N) Σ X_t I_t / ES_t + 1``, NaN without a breach.

    It looks at the size of breaches only, not at their number. Source: Acerbi and Székely
    (2014), clearing-practice §2 (published).
    """
    loss, v, e, _ = _checked(losses, var, es, level)
    hit = loss > v
    return 1.0 - float(np.mean(loss[hit] / e[hit])) if hit.any() else math.nan


def z2(losses: ArrayLike, var: ArrayLike, es: ArrayLike, level: float) -> float:
    """Return Acerbi and Székely's Z2: ``Σ X_t I_t / (T α ES_t) + 1``.

    It looks at number and size together. 5 % of right models lie below about −0.70 and 0.01 %
    below about −1.8 for T = 250 at 97.5 %, for laws from normal to t (t(3): −0.81). Source: as
    :func:`z1`.
    """
    loss, v, e, alpha = _checked(losses, var, es, level)
    hit = loss > v
    return 1.0 - float(np.sum(loss[hit] / e[hit])) / (loss.size * alpha)


def min_bias(losses: ArrayLike, var: ArrayLike, es: ArrayLike, level: float) -> float:
    """Return the minimally biased statistic: ``(1/T) Σ [ES − VaR − (X + VaR)⁻/α] / ES``.

    Robust to an error of the value at risk. Source: Acerbi and Székely (2017), relative form,
    clearing-practice §2 (published).
    """
    loss, v, e, alpha = _checked(losses, var, es, level)
    return float(np.mean((e - v - np.maximum(loss - v, 0.0) / alpha) / e))


_STATISTICS = {"z1": z1, "z2": z2, "min_bias": min_bias}


def simulated_statistics(
    observations: int, level: float, *, draws: int, seed: int, law: Law | None = None
) -> dict[Statistic, Floats]:
    """Draw the three statistics of a right model.

    Breaches are binomial and their sizes are drawn from the law beyond its quantile: what is
    not in the tail enters no statistic. Scale and place drop out, so a model whose volatility
    moves has the same law.

    Parameters
    ----------
    observations : int
        T.
    level : float
        Confidence of VaR and ES.
    draws : int
        How many.
    seed : int
        The same seed gives the same draws.
    law : Law, optional
        Of standardised losses; default normal.

    Returns
    -------
    dict of {"z1", "z2", "min_bias"} to float64[draws]
        Sorted up; ``z1`` is NaN (last) where no breach was drawn.
    """
    alpha = check_level(level)
    if observations < 1 or draws < 1:
        raise InputError("a simulation needs observations and draws", code="INP-004")
    chosen = law if law is not None else Law()
    rng = generator(seed)
    v, e = chosen.tail(level)
    parts: dict[Statistic, list[Floats]] = {"z1": [], "z2": [], "min_bias": []}
    left = draws
    while left:
        now = min(left, _BATCH)
        left -= now
        count = rng.binomial(observations, alpha, size=now)
        loss = chosen.quantile(1.0 - alpha * rng.random(int(count.sum())))
        owner = np.repeat(np.arange(now), count)
        deep = np.bincount(owner, weights=loss / e, minlength=now)
        over = np.bincount(owner, weights=(loss - v) / e, minlength=now)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts["z1"].append(1.0 - np.where(count > 0, deep / count, np.nan))
        parts["z2"].append(1.0 - deep / (observations * alpha))
        parts["min_bias"].append((e - v) / e - over / (observations * alpha))
    return {name: np.sort(np.concatenate(found)) for name, found in parts.items()}


def shortfall_test(
    which: Statistic,
    losses: ArrayLike,
    var: ArrayLike,
    es: ArrayLike,
    level: float,
    *,
    draws: int = 20_000,
    seed: int = 0,
    law: Law | None = None,
    simulated: dict[Statistic, Floats] | None = None,
) -> TestResult:
    """Test the expected shortfall: the share of right models that look at least as bad.

    Parameters
    ----------
    which : {"z1", "z2", "min_bias"}
        Statistic.
    losses, var, es : array_like
        Of each observation.
    level : float
        Confidence of VaR and ES.
    draws, seed, law
        As for :func:`simulated_statistics`.
    simulated : dict, optional
        Draws made before, for the same observations, level and law.

    Returns
    -------
    TestResult
        ``p = (1 + #{draws ≤ statistic}) / (1 + draws)``, so never 0 by luck of the draws.
    """
    found = _STATISTICS[which](losses, var, es, level)
    chosen = law if law is not None else Law()
    name = {"z1": "Acerbi–Székely Z1", "z2": "Acerbi–Székely Z2", "min_bias": "MinBias"}[which]
    if not math.isfinite(found):
        return TestResult(name=name, statistic=found, p_value=math.nan, note="no breach")
    if simulated is None:
        size = np.asarray(losses).size
        simulated = simulated_statistics(size, level, draws=draws, seed=seed, law=chosen)
    null = simulated[which]
    null = null[np.isfinite(null)]
    below = int(np.searchsorted(null, found, side="right"))
    return TestResult(
        name=name,
        statistic=found,
        p_value=(1.0 + below) / (1.0 + null.size),
        note=f"{null.size:,} draws of a {chosen.name} law",
    )


def critical_value(simulated: Floats, size: float) -> float:
    """Return the statistic below which a share `size` of right models lie."""
    null = simulated[np.isfinite(simulated)]
    return float(np.quantile(null, size))
