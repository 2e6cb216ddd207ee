"""Models against the market's smiles: parameters, errors, and a market that is the model's.

Source: requirements A10 (model-against-market smile, calibration error). Which expiries and strikes
are compared is the house's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import InputError, MarketDataError
from crossmargin.market import ModelSurface, Snapshot, with_model_surface
from crossmargin.pricing import (
    ModelFit,
    SabrFit,
    SmileTarget,
    fit_model,
    fit_sabr,
    model_vols,
    whole_days,
)
from crossmargin.units import format_time, parse_time

Floats = NDArray[np.float64]
SmileModel = Literal["sabr", "heston", "merton", "bates"]

SMILE_MODELS: tuple[SmileModel, ...] = ("sabr", "heston", "merton", "bates")

#: Strikes are compared within so many standard deviations of the forward.
REACH = 2.0
POINTS = 13
#: Expiries nearer than this are not chosen by themselves: whole days misstate them.
LEAST_DAYS = 7.0
_WANTED_DAYS = (14.0, 45.0, 150.0)


class SmileFit(msgspec.Struct, frozen=True, kw_only=True):
    """A model fitted to the smiles compared.

    Attributes
    ----------
    model : str
        Which; SABR is fitted expiry by expiry, the others to all together.
    parameters : dict of str to float
        By name; SABR's with the expiry's date before it.
    rmse, worst : float
        Errors in volatility, decimals.
    at_edge : list of str
        Parameters at the bound of the search.
    """

    model: str
    parameters: dict[str, float]
    rmse: float
    worst: float
    at_edge: list[str] = []


class ExpirySmile(msgspec.Struct, frozen=True, kw_only=True):
    """One expiry: volatilities on common strikes, decimals per year.

    Attributes
    ----------
    expiry : str
        ISO-8601.
    days, forward_usd : float
        To it; its forward.
    strike, market : list of float
        US dollars; the market's surface.
    models : dict of str to list of float
        By model; None where a price holds no volatility.
    """

    expiry: str
    days: float
    forward_usd: float
    strike: list[float]
    market: list[float]
    models: dict[str, list[float | None]]


class SmileReport(msgspec.Struct, frozen=True, kw_only=True):
    """Models against the smiles of an underlying."""

    underlying: str
    as_of: str
    expiries: list[ExpirySmile]
    fits: list[SmileFit]


def compare_smiles(
    snapshot: Snapshot,
    underlying: str,
    *,
    models: Sequence[str] = ("sabr", "heston"),
    expiries: Sequence[str] = (),
) -> SmileReport:
    """Fit models to a market's smiles and show what they miss.

    Parameters
    ----------
    snapshot : Snapshot
        With surfaces of the underlying.
    underlying : str
        Coin.
    models : sequence of {"sabr", "heston", "merton", "bates"}
        All but SABR need QuantLib.
    expiries : sequence of str
        ISO-8601 moments, or dates of one; default the three nearest to 14, 45 and 150 days.

    Raises
    ------
    InputError
        ``INP-013`` for a model or an expiry that is not there, ``INP-023`` without QuantLib.
    MarketDataError
        ``MKT-101`` without a surface.
    """
    for name in models:
        if name not in SMILE_MODELS:
            raise InputError(
                f"there is no model {name!r}", code="INP-013", field="model",
                hint=f"one of {', '.join(SMILE_MODELS)}",
            )  # fmt: skip
    chosen = _expiries(snapshot, underlying, expiries)
    targets = {expiry: _target(snapshot, underlying, expiry) for expiry in chosen}
    found: dict[str, dict[int, SabrFit] | ModelFit] = {}
    for name in dict.fromkeys(models):
        found[name] = (
            {expiry: fit_sabr(target) for expiry, target in targets.items()}
            if name == "sabr"
            else fit_model(list(targets.values()), name)  # type: ignore[arg-type]
        )
    rows = []
    for expiry, target in targets.items():
        strike, market = target.arrays()
        shown = {name: _vols(fit, expiry, target, strike) for name, fit in found.items()}
        rows.append(
            ExpirySmile(
                expiry=format_time(expiry),
                days=target.days,
                forward_usd=target.forward,
                strike=strike.tolist(),
                market=market.tolist(),
                models={
                    name: [x if np.isfinite(x) else None for x in vols.tolist()]
                    for name, vols in shown.items()
                },
            )
        )
    return SmileReport(
        underlying=underlying,
        as_of=format_time(snapshot.as_of_ns),
        expiries=rows,
        fits=[_said(name, fit) for name, fit in found.items()],
    )


def model_market(snapshot: Snapshot, underlying: str, model: str) -> ModelSurface:
    """Return the market with an underlying's surfaces replaced by a fitted model's.

    SABR is fitted to each expiry; the others to those of :func:`compare_smiles`, and then give all.
    """
    if model == "sabr":

        def sabr(expiry: int, forward: float, days: float, strike: Floats) -> Floats:
            fit = fit_sabr(_target(snapshot, underlying, expiry))
            return fit.vol(forward, strike, days)

        return with_model_surface(snapshot, underlying, sabr)
    chosen = _expiries(snapshot, underlying, ())
    fit = fit_model([_target(snapshot, underlying, e) for e in chosen], model)  # type: ignore[arg-type]

    def other(_: int, forward: float, days: float, strike: Floats) -> Floats:
        return model_vols(fit.model, forward, strike, whole_days(days))

    return with_model_surface(snapshot, underlying, other)


def _expiries(snapshot: Snapshot, underlying: str, named: Sequence[str]) -> list[int]:
    known = sorted(expiry for name, expiry in snapshot.surfaces if name == underlying)
    if not known:
        raise MarketDataError(
            f"the market has no volatility surface of {underlying}", code="MKT-101",
            field="surfaces", hint="give a market with surfaces, or another underlying",
        )  # fmt: skip
    if named:
        return sorted({_named(text, known) for text in named})
    days = {expiry: _days(snapshot, underlying, expiry) for expiry in known}
    far = [expiry for expiry in known if days[expiry] >= LEAST_DAYS] or known
    return sorted({min(far, key=lambda e: abs(days[e] - wanted)) for wanted in _WANTED_DAYS})


def _named(text: str, known: Sequence[int]) -> int:
    for expiry in known:
        if format_time(expiry)[:10] == text:
            return expiry
    if "T" in text and (moment := parse_time(text, field="expiry")) in known:
        return moment
    raise InputError(
        f"there is no expiry {text!r}", code="INP-013", field="expiry",
        hint=f"one of {', '.join(format_time(e)[:10] for e in known)}",
    )  # fmt: skip


def _days(snapshot: Snapshot, underlying: str, expiry: int) -> float:
    return snapshot.surfaces[underlying, expiry].years * 365.0


def _target(snapshot: Snapshot, underlying: str, expiry: int) -> SmileTarget:
    smile = snapshot.surfaces[underlying, expiry]
    reach = REACH * smile.atm_vol * np.sqrt(smile.years)
    low, high = max(smile.k_min, -reach), min(smile.k_max, reach)
    strike = smile.forward_usd * np.exp(np.linspace(low, high, POINTS))
    return SmileTarget(
        forward=smile.forward_usd, days=smile.years * 365.0, strike=strike, vol=smile.vol(strike)
    )


def _vols(
    fit: dict[int, SabrFit] | ModelFit, expiry: int, target: SmileTarget, strike: Floats
) -> Floats:
    if isinstance(fit, ModelFit):
        return model_vols(fit.model, target.forward, strike, whole_days(target.days))
    return fit[expiry].vol(target.forward, strike, target.days)


def _said(name: str, fit: dict[int, SabrFit] | ModelFit) -> SmileFit:
    if isinstance(fit, ModelFit):
        m = fit.model
        moving = {"theta": m.theta, "kappa": m.kappa, "vol_of_vol": m.vol_of_vol, "rho": m.rho}
        jumps = {
            "jump_intensity": m.jump_intensity,
            "jump_mean": m.jump_mean,
            "jump_spread": m.jump_spread,
        }
        parts = {"v0": m.v0, **(moving if name != "merton" else {})}
        return SmileFit(
            model=name,
            parameters={**parts, **(jumps if name != "heston" else {})},
            rmse=fit.rmse,
            worst=fit.worst,
            at_edge=list(fit.at_edge),
        )
    each = list(fit.values())
    return SmileFit(
        model=name,
        parameters={
            f"{format_time(expiry)[:10]} {part}": getattr(one, part)
            for expiry, one in fit.items()
            for part in ("alpha", "rho", "nu")
        },
        rmse=float(np.sqrt(np.mean([one.rmse**2 for one in each]))),
        worst=max(one.worst for one in each),
    )
