"""The optimiser behind `crossmargin.market.fit`: five SVI parameters under bounds and penalties.

Inside, a smile is a vector: the lowest total variance; the square roots of the put and the call
wing slope, which make every constraint of SVI a plain bound and keep derivatives finite where a
slope is zero; m; and ln(sigma).

Source: De Marco and Martini, "Quasi-explicit calibration of Gatheral's SVI model" (Zeliade Systems
white paper, 2009) for the split into two and three parameters; Gatheral and Jacquier,
"Arbitrage-free SVI volatility surfaces" (2014), equation 2.1 for the butterfly condition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from crossmargin.market.svi import MAX_WING_SLOPE, Floats, SviSlice

_STARTS = 3
_CENTRES, _WIDTHS = 17, 14
_G_MARGIN = 1e-3
_CALENDAR_MARGIN = 1e-4

Found: TypeAlias = tuple[Floats, float, bool]
"""Parameter vector, cost, whether the tolerance was met."""

Penalty: TypeAlias = tuple[float, Floats, Floats | None]
"""Strength, grid, and the total variance to stay above (None: keep Durrleman's g positive)."""


@dataclass(frozen=True, slots=True)
class SmileData:
    """Checked quotes of one expiry, and the bounds of the search."""

    k: Floats
    strike: Floats
    vol: Floats
    root_weight: Floats
    forward: float
    years: float
    lower: Floats
    upper: Floats

    @classmethod
    def of(
        cls, strike: Floats, vol: Floats, forward: float, years: float, weight: Floats
    ) -> SmileData:
        """Set the bounds.

        The vertex may lie one width of the quoted range outside it; sigma is at least a tenth of
        the lowest standard deviation, below which a smile has a kink and not a bottom.
        """
        k = np.log(strike / forward)
        deviation = float(np.min(vol)) * math.sqrt(years)
        span = float(np.ptp(k))
        top = math.sqrt(MAX_WING_SLOPE)
        highest = float(np.max(vol)) ** 2 * years
        narrow, wide = math.log(0.1 * deviation), math.log(5.0 * span + deviation)
        return cls(
            k=k,
            strike=strike,
            vol=vol,
            root_weight=np.sqrt(weight / np.sum(weight)),
            forward=forward,
            years=years,
            lower=np.array([1e-4 * deviation**2, 0.0, 0.0, k.min() - span, narrow]),
            upper=np.array([highest, top, top, k.max() + span, wide]),
        )


def starting_points(data: SmileData) -> list[Floats]:
    """Solve level and wing slopes in closed form on a grid of (m, sigma); return the best."""
    width = np.exp(np.linspace(data.lower[4], data.upper[4], _WIDTHS + 2)[1:-1])
    centre = np.linspace(data.k.min(), data.k.max(), _CENTRES)
    m, sigma = (grid.ravel()[:, None] for grid in np.meshgrid(centre, width))
    x = data.k[None, :] - m
    radius = np.hypot(x, sigma)
    total = data.vol**2 * data.years
    weight = (data.root_weight / (2.0 * data.vol * data.years)) ** 2
    weight = weight / weight.sum()
    put, call = 0.5 * (radius - x), 0.5 * (radius + x)
    put_mean, call_mean, total_mean = put @ weight, call @ weight, total @ weight
    put, call = put - put_mean[:, None], call - call_mean[:, None]
    rest = total - total_mean
    pp, cc, pc = (put**2) @ weight, (call**2) @ weight, (put * call) @ weight
    py, cy = (put * rest) @ weight, (call * rest) @ weight
    # Least squares in two bounded unknowns: the free solution if inside, else the best edge.
    top = MAX_WING_SLOPE
    tiny = np.finfo(float).tiny
    det = np.maximum(pp * cc - pc**2, tiny)
    free = np.stack([(cc * py - pc * cy) / det, (pp * cy - pc * py) / det])
    inside = np.all((free >= 0.0) & (free <= top), axis=0)
    options = [np.where(inside, free, 0.0)]
    for edge in (0.0, top):
        other = np.clip((cy - pc * edge) / np.maximum(cc, tiny), 0.0, top)
        options.append(np.stack([np.full_like(other, edge), other]))
        other = np.clip((py - pc * edge) / np.maximum(pp, tiny), 0.0, top)
        options.append(np.stack([other, np.full_like(other, edge)]))
    slopes = np.stack(options)
    p, c = slopes[:, 0], slopes[:, 1]
    cost = p**2 * pp + c**2 * cc + 2.0 * (p * c * pc - p * py - c * cy)
    which = np.argmin(cost, axis=0)
    row = np.arange(which.size)
    p, c, cost = p[which, row], c[which, row], cost[which, row]
    lowest = total_mean - p * put_mean - c * call_mean + sigma[:, 0] * np.sqrt(p * c)
    starts = np.stack([lowest, np.sqrt(p), np.sqrt(c), m[:, 0], np.log(sigma[:, 0])], axis=1)
    chosen: list[int] = []
    for i in np.argsort(cost, kind="stable"):
        # Neighbours on the grid would only be polished to the same place.
        row_i, column_i = divmod(int(i), _CENTRES)
        if all(abs(row_i - j // _CENTRES) > 2 or abs(column_i - j % _CENTRES) > 2 for j in chosen):
            chosen.append(int(i))
            if len(chosen) == _STARTS:
                break
    inner = 1e-3 * (data.upper - data.lower)
    return [np.clip(starts[i], data.lower + inner, data.upper - inner) for i in chosen]


def _terms(theta: Floats, k: Floats) -> tuple[Floats, Floats]:
    """w, w', w'' of shape (3, n), and their derivatives by the parameters, (3, n, 5)."""
    lowest, u, v, m, log_sigma = theta
    sigma = math.exp(log_sigma)
    x = k - m
    radius = np.hypot(x, sigma)
    wide = radius + np.abs(x)
    rise, fall = np.where(x >= 0.0, wide, sigma**2 / wide), np.where(x < 0.0, wide, sigma**2 / wide)
    q, s = x / radius, sigma / radius
    half = 0.5 * (u * u + v * v)
    value = np.empty((3, k.size))
    value[0] = lowest + 0.5 * (u * np.sqrt(fall) - v * np.sqrt(rise)) ** 2
    value[1] = 0.5 * (v * v * (1.0 + q) - u * u * (1.0 - q))
    value[2] = half * s**3 / sigma
    by = np.zeros((3, k.size, 5))
    by[0, :, 0] = 1.0
    by[0, :, 1] = u * fall - sigma * v
    by[0, :, 2] = v * rise - sigma * u
    by[0, :, 3] = -value[1]
    by[0, :, 4] = sigma * (half * s - u * v)
    by[1, :, 1] = -u * (1.0 - q)
    by[1, :, 2] = v * (1.0 + q)
    by[1, :, 3] = -value[2]
    by[1, :, 4] = -half * q * s * s
    by[2, :, 1] = u * s**3 / sigma
    by[2, :, 2] = v * s**3 / sigma
    by[2, :, 3] = 3.0 * value[2] * q / radius
    by[2, :, 4] = value[2] * (2.0 - 3.0 * s * s)
    return value, by


def _residuals(
    theta: Floats, data: SmileData, penalties: Sequence[Penalty]
) -> tuple[Floats, Floats]:
    (w, _, _), by = _terms(theta, data.k)
    model = np.sqrt(w / data.years)
    values = [data.root_weight * (model - data.vol)]
    jacobians = [(data.root_weight / (2.0 * data.years * model))[:, None] * by[0]]
    for strength, grid, floor in penalties:
        (w, slope, bend), by = _terms(theta, grid)
        if floor is not None:
            scale = 1.0 / (2.0 * np.sqrt(floor * data.years))
            short = (floor * (1.0 + _CALENDAR_MARGIN) - w) * scale
            change = -scale[:, None] * by[0]
        else:
            lean = 1.0 - 0.5 * grid * slope / w
            g = lean**2 - 0.25 * slope**2 * (1.0 / w + 0.25) + 0.5 * bend
            by_w = lean * grid * slope / w**2 + 0.25 * (slope / w) ** 2
            by_slope = -lean * grid / w - 0.5 * slope * (1.0 / w + 0.25)
            short = _G_MARGIN - g
            change = -(by_w[:, None] * by[0] + by_slope[:, None] * by[1] + 0.5 * by[2])
        root = math.sqrt(strength / grid.size)
        values.append(root * np.maximum(short, 0.0))
        jacobians.append(np.where((short > 0.0)[:, None], root * change, 0.0))
    return np.concatenate(values), np.concatenate(jacobians)


def polish(data: SmileData, start: Floats, penalties: Sequence[Penalty]) -> Found:
    """Bounded least squares from `start`, with exact derivatives."""
    from scipy.optimize import least_squares

    cache: dict[bytes, tuple[Floats, Floats]] = {}

    def both(theta: Floats) -> tuple[Floats, Floats]:
        key = theta.tobytes()
        if key not in cache:
            cache.clear()
            cache[key] = _residuals(theta, data, penalties)
        return cache[key]

    found = least_squares(
        lambda theta: both(theta)[0],
        np.clip(start, data.lower, data.upper),
        jac=lambda theta: both(theta)[1],
        bounds=(data.lower, data.upper),
        x_scale="jac",
        ftol=1e-11,
        xtol=1e-12,
        gtol=1e-14,
        max_nfev=400,
    )
    return np.asarray(found.x), float(found.cost), bool(found.status > 0)


def to_vector(smile: SviSlice) -> Floats:
    """Write a slice as the parameter vector."""
    put, call = smile.b * (1.0 - smile.rho), smile.b * (1.0 + smile.rho)
    return np.array(
        [smile.min_total_variance, math.sqrt(put), math.sqrt(call), smile.m, math.log(smile.sigma)]
    )


def to_slice(data: SmileData, vector: Floats) -> SviSlice:
    """Read a parameter vector as a slice."""
    lowest, put, call, m, log_sigma = (float(value) for value in vector)
    sigma = math.exp(log_sigma)
    b = 0.5 * (put * put + call * call)
    return SviSlice(
        a=lowest - sigma * put * call,
        b=b,
        rho=0.5 * (call * call - put * put) / b if b > 0.0 else 0.0,
        m=m,
        sigma=sigma,
        forward_usd=data.forward,
        years=data.years,
        k_min=float(data.k.min()),
        k_max=float(data.k.max()),
    )
