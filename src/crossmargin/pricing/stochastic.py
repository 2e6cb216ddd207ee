"""Heston, Merton and Bates: prices, volatilities and paths, computed by QuantLib.

The models are QuantLib's, adapted to the house's conventions (forwards, no discounting, ACT/365,
arrays). QuantLib is in the extra ``models``; without it these functions refuse.

Sources: Heston, "A closed-form solution for options with stochastic volatility" (1993); Merton,
"Option pricing when underlying stock returns are discontinuous" (1976); Bates, "Jumps and
stochastic volatility" (1996).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crossmargin.errors import InputError, PricingError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


#: Points of QuantLib's Gauss–Laguerre integral: the most it has.
_ORDER = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class StochasticModel:
    """A forward with a variance that moves, jumps, or both.

    ``dF/F = √v dW + jumps``, ``dv = κ(θ − v)dt + ξ√v dW'``, correlation ρ; jumps come λ times a
    year, their log is normal (mean δ, spread s), and the drift takes their mean out. Without
    ``vol_of_vol`` it is Merton's model at the volatility ``√v₀`` (θ must equal v₀ then), without
    jumps Heston's, with both Bates's.

    Attributes
    ----------
    v0, theta : float
        Variance now and in the long run, per year, > 0.
    kappa : float
        Speed of return, per year, > 0.
    vol_of_vol : float
        ξ, at least 0.
    rho : float
        Between −1 and 1.
    jump_intensity : float
        λ, per year.
    jump_mean, jump_spread : float
        δ and s.
    """

    v0: float
    theta: float
    kappa: float = 1.0
    vol_of_vol: float = 0.0
    rho: float = 0.0
    jump_intensity: float = 0.0
    jump_mean: float = 0.0
    jump_spread: float = 0.0

    def __post_init__(self) -> None:
        """Refuse parameters outside their domain."""
        for name, fine in (
            ("v0", self.v0 > 0),
            ("theta", self.theta > 0 and (self.vol_of_vol > 0 or self.theta == self.v0)),
            ("kappa", self.kappa > 0),
            ("vol_of_vol", self.vol_of_vol >= 0),
            ("rho", -1.0 < self.rho < 1.0),
            ("jump_intensity", self.jump_intensity >= 0),
            ("jump_spread", self.jump_spread >= 0),
        ):
            if not fine:
                raise PricingError(
                    f"{name} is outside the domain of the model",
                    code="PRC-001",
                    field=name,
                    hint="without vol_of_vol theta equals v0",
                )


def _quantlib() -> Any:
    try:
        import QuantLib
    except ImportError:
        raise InputError(
            "Heston, Merton and Bates are computed by QuantLib, which is not installed",
            code="INP-023",
            field="model",
            hint="install crossmargin[models]",
        ) from None
    return QuantLib


def _process(ql: Any, model: StochasticModel, forward: float, today: Any) -> Any:
    """Return QuantLib's process: rates and yields of 0, so that the spot is the forward."""
    flat = ql.YieldTermStructureHandle(ql.FlatForward(today, 0.0, ql.Actual365Fixed()))
    spot = ql.QuoteHandle(ql.SimpleQuote(forward))
    # QuantLib's integrals divide by ξ; at 1e-6 they are those of a fixed variance to 1e-9.
    xi = max(model.vol_of_vol, 1e-6)
    plain = (flat, flat, spot, model.v0, model.kappa, model.theta, xi, model.rho)
    if model.jump_intensity == 0.0:
        return ql.HestonProcess(*plain)
    return ql.BatesProcess(*plain, model.jump_intensity, model.jump_mean, model.jump_spread)


def model_prices(
    model: StochasticModel,
    forward: float,
    strike: ArrayLike,
    days: int,
    is_call: ArrayLike = True,
) -> Floats:
    """Return option values in dollars per coin, undiscounted.

    Parameters
    ----------
    model : StochasticModel
        Parameters.
    forward : float
        Dollars, > 0.
    strike : array_like [n]
        Dollars, > 0.
    days : int
        To the expiry, whole days (QuantLib counts days), at least 1.
    is_call : array_like [n] or bool
        Calls or puts.

    Raises
    ------
    InputError
        ``INP-023`` without QuantLib.
    PricingError
        ``PRC-001`` for an impossible forward, strike or expiry.
    """
    ql = _quantlib()
    strikes = np.atleast_1d(np.asarray(strike, dtype=np.float64))
    calls = np.broadcast_to(np.asarray(is_call, dtype=np.bool_), strikes.shape)
    if not (forward > 0 and bool((strikes > 0).all()) and days >= 1):
        raise PricingError(
            "forward and strikes are above 0, an expiry is at least a day away",
            code="PRC-001",
            field="strike",
        )
    # Any date does: only the distance counts.
    today = ql.Date(1, 1, 2020)
    before = ql.Settings.instance().evaluationDate
    ql.Settings.instance().evaluationDate = today
    try:
        process = _process(ql, model, forward, today)
        if model.jump_intensity == 0.0:
            engine = ql.AnalyticHestonEngine(ql.HestonModel(process), _ORDER)
        else:
            engine = ql.BatesEngine(ql.BatesModel(process), _ORDER)
        out = np.empty(strikes.size)
        for row, (k, call) in enumerate(zip(strikes.tolist(), calls.tolist())):
            kind = ql.Option.Call if call else ql.Option.Put
            option = ql.VanillaOption(
                ql.PlainVanillaPayoff(kind, k), ql.EuropeanExercise(today + int(days))
            )
            option.setPricingEngine(engine)
            out[row] = option.NPV()
    finally:
        ql.Settings.instance().evaluationDate = before
    return out


def model_vols(model: StochasticModel, forward: float, strike: ArrayLike, days: int) -> Floats:
    """Return Black-76 volatilities of strikes under a model: a smile to put into a surface.

    Each strike by its option out of the money, where a price says most about volatility.
    """
    from crossmargin.pricing import implied_vol

    strikes = np.atleast_1d(np.asarray(strike, dtype=np.float64))
    calls = strikes >= forward
    price = model_prices(model, forward, strikes, days, calls)
    found = implied_vol(
        price, np.full(strikes.size, forward), strikes, np.full(strikes.size, days / 365.0), calls
    )
    return np.asarray(found.vol)


def model_paths(
    model: StochasticModel,
    forward: float,
    days: float,
    steps: int,
    paths: int,
    *,
    seed: int,
) -> Floats:
    """Simulate the forward, ``[paths, steps + 1]``, the first column today.

    Variance and forward by QuantLib's quadratic-exponential scheme (Andersen 2008); jumps are
    added from a stream of the house's, with their mean taken out.

    Parameters
    ----------
    model : StochasticModel
        Parameters.
    forward : float
        Dollars, > 0.
    days : float
        Length, > 0.
    steps, paths : int
        At least 1.
    seed : int
        Of everything drawn; the same seed gives the same paths.
    """
    from crossmargin.stats import stream

    ql = _quantlib()
    if not (forward > 0 and days > 0 and steps >= 1 and paths >= 1):
        raise PricingError(
            "a path has a forward, a length, steps and a number above 0",
            code="PRC-001",
            field="paths",
        )
    today = ql.Date(1, 1, 2020)
    before = ql.Settings.instance().evaluationDate
    ql.Settings.instance().evaluationDate = today
    years = days / 365.0
    try:
        calm = StochasticModel(
            v0=model.v0,
            theta=model.theta,
            kappa=model.kappa,
            vol_of_vol=model.vol_of_vol,
            rho=model.rho,
        )
        process = _process(ql, calm, forward, today)
        uniform = ql.UniformRandomSequenceGenerator(
            2 * steps, ql.UniformRandomGenerator(seed % (1 << 31) + 1)
        )
        normal = ql.GaussianRandomSequenceGenerator(uniform)
        grid = [years * k / steps for k in range(steps + 1)]
        source = ql.GaussianMultiPathGenerator(process, grid, normal, False)
        out = np.empty((paths, steps + 1))
        for row in range(paths):
            out[row] = np.array(source.next().value()[0])
    finally:
        ql.Settings.instance().evaluationDate = before
    if model.jump_intensity > 0.0:
        rng = stream(seed, 1)
        dt = years / steps
        number = rng.poisson(model.jump_intensity * dt, size=(paths, steps))
        jump = number * model.jump_mean + np.sqrt(number) * model.jump_spread * (
            rng.standard_normal((paths, steps))
        )
        mean = np.expm1(model.jump_mean + 0.5 * model.jump_spread**2)
        out[:, 1:] *= np.exp(np.cumsum(jump - model.jump_intensity * dt * mean, axis=1))
    return out
