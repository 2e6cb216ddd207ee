"""Fit SABR, Heston, Merton and Bates to quoted smiles, with the error that is left.

Errors are in volatility. Every fit starts at the same points and draws nothing, so the same quotes
give the same parameters. A few strikes of one expiry say little about the speed of return κ and its
goal θ: fit several expiries together.

Sources: Hagan and others (2002) for SABR, whose β is fixed beforehand; Heston (1993), Merton (1976)
and Bates (1996) as priced by QuantLib (extra ``models``). Weights are the house's: all quotes
count alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from crossmargin.errors import PricingError
from crossmargin.pricing.sabr import sabr_vol
from crossmargin.pricing.stochastic import StochasticModel, model_vols

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

ModelName = Literal["heston", "merton", "bates"]

#: Bounds of the search and where it starts: v₀, θ, κ, ξ, ρ, λ, δ, s. House.
_LOW = (1e-3, 1e-3, 0.1, 0.02, -0.98, 0.0, -0.6, 0.005)
_HIGH = (9.0, 9.0, 20.0, 6.0, 0.98, 60.0, 0.4, 0.6)
_STARTS = ((3.0, 1.0, -0.3, 2.0, -0.10, 0.15), (8.0, 2.5, -0.1, 10.0, -0.03, 0.08))
_PARTS: dict[str, tuple[int, ...]] = {
    "merton": (0, 5, 6, 7),
    "heston": (0, 1, 2, 3, 4),
    "bates": (0, 1, 2, 3, 4, 5, 6, 7),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmileTarget:
    """Quotes of one expiry that a model is to meet.

    Attributes
    ----------
    forward : float
        Dollars, > 0.
    days : float
        To the expiry, > 0; Heston, Merton and Bates take whole days, at least one.
    strike, vol : array_like [n]
        Dollars; decimals per year. At least three.
    """

    forward: float
    days: float
    strike: ArrayLike
    vol: ArrayLike

    def arrays(self) -> tuple[Floats, Floats]:
        """Return strikes and volatilities, checked.

        Raises
        ------
        PricingError
            ``PRC-001`` for quotes that are none, ``PRC-002`` for lists of two lengths.
        """
        k, v = np.asarray(self.strike, dtype=np.float64), np.asarray(self.vol, dtype=np.float64)
        if k.ndim != 1 or k.shape != v.shape:
            raise PricingError("one volatility a strike", code="PRC-002", field="vol")
        fine = np.isfinite(k) & np.isfinite(v) & (k > 0) & (v > 0)
        if not (k.size >= 3 and fine.all() and self.forward > 0 and self.days > 0):
            raise PricingError(
                "a smile needs three strikes, all figures above 0",
                code="PRC-001",
                field="strike",
                hint="leave out strikes without a volatility, and expiries that are past",
            )
        return k, v


@dataclass(frozen=True, slots=True, kw_only=True)
class SabrFit:
    """SABR of one expiry.

    Attributes
    ----------
    alpha, beta, rho, nu : float
        Parameters; `beta` as given.
    rmse, worst : float
        Root mean square and largest error, volatility as a decimal.
    """

    alpha: float
    beta: float
    rho: float
    nu: float
    rmse: float
    worst: float

    def vol(self, forward: float, strike: ArrayLike, days: float) -> Floats:
        """Return volatilities of strikes."""
        return sabr_vol(
            forward,
            strike,
            days / 365.0,
            alpha=self.alpha,
            beta=self.beta,
            rho=self.rho,
            nu=self.nu,
        )


def fit_sabr(target: SmileTarget, *, beta: float = 1.0) -> SabrFit:
    """Fit α, ρ and ν of one expiry by least squares in volatility.

    Parameters
    ----------
    target : SmileTarget
        One expiry.
    beta : float
        0 to 1; 1 (lognormal) is the house's: coins have no floor that prices feel.
    """
    k, v = target.arrays()
    years, forward = target.days / 365.0, target.forward

    def vols(x: Floats) -> Floats:
        return sabr_vol(
            forward, k, years, alpha=float(np.exp(x[0])), beta=beta, rho=float(x[1]), nu=float(x[2])
        )

    near = float(v[np.argmin(np.abs(np.log(k / forward)))])
    level = float(np.log(near * forward ** (1.0 - beta)))
    starts = [[level, rho, nu] for rho in (-0.4, 0.2) for nu in (0.5, 2.0)]
    low, high = [level - 3.0, -0.995, 1e-4], [level + 3.0, 0.995, 20.0]
    best = _least(lambda x: vols(x) - v, starts, low, high)
    error = vols(best) - v
    return SabrFit(
        alpha=float(np.exp(best[0])),
        beta=beta,
        rho=float(best[1]),
        nu=float(best[2]),
        rmse=float(np.sqrt(np.mean(error**2))),
        worst=float(np.abs(error).max()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFit:
    """A model fitted to one expiry or several.

    Attributes
    ----------
    name : {"heston", "merton", "bates"}
        Which.
    model : StochasticModel
        Parameters.
    rmse, worst : float
        Root mean square and largest error over all quotes, volatility as a decimal.
    at_edge : tuple of str
        Parameters that ended at a bound of the search: the quotes do not say where they are.
    """

    name: ModelName
    model: StochasticModel
    rmse: float
    worst: float
    at_edge: tuple[str, ...]


def whole_days(days: float) -> int:
    """Return days as the models count them: whole, at least one."""
    return max(1, round(days))


def fit_model(targets: Sequence[SmileTarget], name: ModelName) -> ModelFit:
    """Fit a model to smiles by least squares in volatility.

    Parameters
    ----------
    targets : sequence of SmileTarget
        Expiries; together at least as many quotes as the model has parameters.
    name : {"heston", "merton", "bates"}
        Merton has a fixed variance and jumps, Heston a moving variance, Bates both.

    Raises
    ------
    InputError
        ``INP-023`` without QuantLib.
    PricingError
        ``PRC-001`` for too few quotes, or quotes that are none.
    """
    quotes = [target.arrays() for target in targets]
    parts = _PARTS[name]
    if sum(k.size for k, _ in quotes) < len(parts):
        raise PricingError(
            f"{name} has {len(parts)} parameters, more than there are quotes",
            code="PRC-001",
            field="strike",
            hint="give more strikes, or more expiries",
        )

    def errors(x: Floats) -> Floats:
        model = _model(x, name)
        parts_of = [
            model_vols(model, t.forward, k, whole_days(t.days)) - v
            for t, (k, v) in zip(targets, quotes)
        ]
        # Where a price holds no volatility the model says nothing: as wrong as a whole volatility.
        return np.nan_to_num(np.concatenate(parts_of), nan=1.0)

    level = float(np.mean([np.interp(t.forward, k, v) ** 2 for t, (k, v) in zip(targets, quotes)]))
    starts = [
        [((level, level, *start)[part]) * (0.6 if part == 0 and name != "heston" else 1.0)
         for part in parts]
        for start in _STARTS
    ]  # fmt: skip
    low, high = [_LOW[part] for part in parts], [_HIGH[part] for part in parts]
    best = _least(errors, starts, low, high)
    error = errors(best)
    names = ("v0", "theta", "kappa", "vol_of_vol", "rho", "jump_intensity", "jump_mean",
             "jump_spread")  # fmt: skip
    edge = [
        names[part]
        for part, x, a, b in zip(parts, best.tolist(), low, high)
        if min(x - a, b - x) < 1e-4 * (b - a)
    ]
    return ModelFit(
        name=name,
        model=_model(best, name),
        rmse=float(np.sqrt(np.mean(error**2))),
        worst=float(np.abs(error).max()),
        at_edge=tuple(edge),
    )


def _model(x: Floats, name: ModelName) -> StochasticModel:
    v = dict(zip(_PARTS[name], x.tolist()))
    if name == "merton":
        return StochasticModel(
            v0=v[0], theta=v[0], jump_intensity=v[5], jump_mean=v[6], jump_spread=v[7]
        )
    jumps = (
        {"jump_intensity": v[5], "jump_mean": v[6], "jump_spread": v[7]} if name == "bates" else {}
    )
    return StochasticModel(v0=v[0], theta=v[1], kappa=v[2], vol_of_vol=v[3], rho=v[4], **jumps)


def _least(
    errors: Callable[[Floats], Floats],
    starts: Sequence[Sequence[float]],
    low: Sequence[float],
    high: Sequence[float],
) -> Floats:
    """Return the best end of a bounded least-squares search from several starts."""
    from scipy.optimize import least_squares

    found = [
        least_squares(
            errors,
            np.clip(start, np.add(low, 1e-6), np.subtract(high, 1e-6)),
            bounds=(low, high),
            x_scale=np.maximum(np.abs(start), 0.1),
            max_nfev=60,
        )
        for start in starts
    ]
    return np.asarray(min(found, key=lambda one: float(one.cost)).x, dtype=np.float64)
