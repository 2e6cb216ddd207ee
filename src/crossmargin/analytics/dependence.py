"""How the coins of an account move together: assumed, or measured on past closes.

Source: requirements B16 (base correlation, tail dependence by a t copula); EWMA as in the house
model, clearing-practice §1.6 (published); the copula's fit is McNeil, Frey and Embrechts (2005),
section 5.5.3 (published).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.account_risk import RiskModel
from crossmargin.errors import MarginError, MarketDataError
from crossmargin.market import FactorHistory
from crossmargin.stats import (
    TCopulaFit,
    copula_uniforms,
    ewma_volatilities,
    fit_t_copula,
    repaired,
    weighted_correlation,
)

Floats = NDArray[np.float64]

#: Where no history says: house. BTC and ETH, 2018 to 2026, daily and freed of their volatility, fit
#: 3.9 (tests/golden/test_recorded_dependence.py).
ASSUMED_DEGREES = 4.0
#: Days that every coin must have in common.
FEWEST = 250
DECAY = 0.97


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependence:
    """Joint moves of coins over a horizon.

    Attributes
    ----------
    coins : tuple of str
        In the order of every row.
    sigma : float64[A]
        Standard deviation over the horizon: of log-returns where `margins` are known, else of
        relative moves.
    correlation : float64[A, A]
        Base.
    degrees : float
        ν of the t copula; infinite for a Gaussian one.
    fit : TCopulaFit or None
        Where ν is from, when it was fitted.
    margins : float64[S, A] or None
        Past returns in units of their volatility, the law of each coin; None for normals.
    source : str
        For people.
    """

    coins: tuple[str, ...]
    sigma: Floats
    correlation: Floats
    degrees: float = ASSUMED_DEGREES
    fit: TCopulaFit | None = None
    margins: Floats | None = None
    source: str = ""

    def draw(self, correlation: Floats, degrees: float, draws: int, *, seed: int) -> Floats:
        """Draw relative moves with another dependence and the same margins, ``[A, draws]``.

        The same seed draws the same normals, whatever the correlation, and the same χ², whatever
        ν: differences between two answers are theirs and not the draw's. A price cannot fall by
        more than 99 %.
        """
        from scipy.special import ndtri

        u = copula_uniforms(correlation, draws, degrees=degrees, seed=seed)
        if self.margins is None:
            move = ndtri(np.clip(u, 1e-16, 1.0 - 1e-16)) * self.sigma
        else:
            own = [
                np.quantile(self.margins[:, a], u[:, a], method="hazen")
                for a in range(len(self.coins))
            ]
            move = np.expm1(np.minimum(np.column_stack(own) * self.sigma, 5.0))
        return np.asarray(np.maximum(move, -0.99).T)


def assumed_dependence(
    coins: Sequence[str],
    model: RiskModel,
    *,
    days: float = 1.0,
    degrees: float | None = None,
) -> Dependence:
    """Return normal moves of a model's volatilities, with ν as given or assumed.

    Parameters
    ----------
    coins : sequence of str
        Each with a standard deviation in the model.
    model : RiskModel
        Daily.
    days : float
        Horizon; σ grows with its root.
    degrees : float, optional
        ν of the copula, above 2; infinite for a Gaussian one.
    """
    sigma = np.array([model.sigma[coin] for coin in coins]) if coins else np.empty(0)
    cov = model.covariance(coins)
    return Dependence(
        coins=tuple(coins),
        sigma=sigma * math.sqrt(days),
        correlation=np.asarray(cov / np.outer(sigma, sigma)),
        degrees=_degrees(degrees, ASSUMED_DEGREES),
        source="volatilities of the market or as given, correlation assumed or as given",
    )


def past_dependence(
    history: FactorHistory,
    coins: Sequence[str],
    *,
    days: float = 1.0,
    degrees: float | None = None,
    decay: float = DECAY,
) -> Dependence:
    """Measure volatilities, correlation and the copula's ν on past closes.

    Returns are freed of their moving volatility; correlation is that of today, weights λ^age; ν is
    fitted to all residuals. Waves of volatility that coins share are in σ and not in ν.

    Parameters
    ----------
    history : FactorHistory
        Daily closes, none later than the moment asked about.
    coins : sequence of str
        All in the history.
    days, degrees
        As for :func:`assumed_dependence`; ν is fitted where it is not given.
    decay : float
        λ of volatility and correlation.

    Raises
    ------
    MarketDataError
        ``MKT-044`` for a coin that the history does not have, or too few days in common.
    """
    missing = [coin for coin in coins if coin not in history.coins]
    if missing:
        raise MarketDataError(
            f"the history has no closes of {missing[0]}",
            code="MKT-044",
            field=f"history.prices.{missing[0]}",
            hint=f"it has {', '.join(history.coins)}",
        )
    if not 0.5 <= decay < 1.0:
        raise MarginError(f"a decay of {decay:g}", code="MRG-025", field="decay",
                          hint="at least 0.5 and below 1")  # fmt: skip
    returns = history.returns[:, [history.coins.index(coin) for coin in coins]]
    # A table of its own for each coin would leave the others out: only common days are joint.
    common = np.isfinite(returns).all(axis=1)
    r = returns[common]
    if r.shape[0] < FEWEST:
        raise MarketDataError(
            f"the coins have {r.shape[0]} daily returns in common, fewer than {FEWEST}",
            code="MKT-044",
            field="history",
            hint="give a longer history",
        )
    vol = ewma_volatilities(r, decay)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = r / vol[:-1]
    z = z[np.isfinite(z).all(axis=1)]
    fit = fit_t_copula(z) if len(coins) > 1 and degrees is None else None
    return Dependence(
        coins=tuple(coins),
        sigma=vol[-1] * math.sqrt(days),
        correlation=weighted_correlation(z, decay),
        degrees=_degrees(degrees, ASSUMED_DEGREES if fit is None else fit.degrees),
        fit=fit,
        margins=z,
        source=f"{z.shape[0]:,} daily returns to {history.days[-1]}"
        + (f" in {history.source}" if history.source else ""),
    )


def with_given(
    base: Dependence,
    sigma: Mapping[str, float],
    pairs: Mapping[tuple[str, str], float],
    *,
    days: float = 1.0,
) -> Dependence:
    """Return a dependence with daily volatilities and correlations that the user gives instead.

    Raises
    ------
    MarginError
        ``MRG-025`` for a coin that is not there, or figures that no market has.
    """
    named = {*sigma, *(name for pair in pairs for name in pair)}
    if strangers := sorted(named.difference(base.coins)):
        raise MarginError(
            f"{strangers[0]} is no coin of these moves", code="MRG-025", field="sigma",
            hint=f"one of {', '.join(base.coins)}",
        )  # fmt: skip
    # The model refuses figures that no market has.
    RiskModel(sigma=dict(sigma), pairs=dict(pairs))
    scale, rho = base.sigma.copy(), base.correlation.copy()
    for coin, value in sigma.items():
        scale[base.coins.index(coin)] = value * math.sqrt(days)
    for (a, b), value in pairs.items():
        i, j = base.coins.index(a), base.coins.index(b)
        rho[i, j] = rho[j, i] = value if i != j else 1.0
    if pairs and float(np.linalg.eigvalsh(rho)[0]) < -1e-9:
        raise MarginError(
            "these correlations cannot all be: the matrix has a negative eigenvalue",
            code="MRG-025",
            field="correlation",
        )
    return replace(base, sigma=scale, correlation=repaired(rho, 0.0) if pairs else rho)


def _degrees(given: float | None, otherwise: float) -> float:
    value = otherwise if given is None else given
    if not value > 2.0:
        raise MarginError(
            f"{value:g} degrees of freedom", code="MRG-025", field="degrees",
            hint="more than 2; inf for a Gaussian copula",
        )  # fmt: skip
    return float(value)
