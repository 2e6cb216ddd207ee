"""The ways back to target: by time, by threshold, by risk, by Greek; and when to leave it alone.

Weights are shares of the whole; trades are US dollars, > 0 buys. Costs are fractions of what is
traded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import PlanningError
from crossmargin.planning._checks import finite, positive, series, within
from crossmargin.stats import generator

Floats = NDArray[np.float64]

#: A weight counts as at its band's edge within this.
ROUNDING = 1e-12

Aim = Literal["target", "edge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebalance:
    """Trades that bring weights back.

    Attributes
    ----------
    weights : float64[K]
        Now.
    trades : float64[K]
        US dollars; zeros where nothing has to be done.
    after : float64[K]
        Weights afterwards, costs paid.
    cost : float
        US dollars.
    breached : bool[K]
        Outside their bands before.
    """

    weights: Floats
    trades: Floats
    after: Floats
    cost: float
    breached: NDArray[np.bool_]


def rebalance(
    values: ArrayLike,
    targets: ArrayLike,
    *,
    band: float | ArrayLike = 0.0,
    to: Aim = "target",
    cost_rate: float = 0.0,
) -> Rebalance:
    """Bring weights back when one of them has left its band.

    Source: requirements row A27 (50/50 of 100, coin +30 %: 56.52 % breaches a band of 5 points,
    and 7.50 are sold). Costs are paid out of the whole; trades sum to minus what they cost, so
    that nothing is lent.

    Parameters
    ----------
    values : array_like
        US dollars held of each, their sum above 0.
    targets : array_like
        Weights that sum to 1.
    band : float or array_like
        Half-width around each target, in weight. With 0 every call trades (calendar).
    to : {"target", "edge"}
        Back to the target, or only to the edge of the band, which costs less where costs are
        proportional (clearing-practice §4.2); what the edges do not balance goes, in proportion to
        the room they have, to the other assets.
    cost_rate : float
        Fraction of what is traded.
    """
    v, w = series(values, "values"), series(targets, "targets")
    whole = float(v.sum())
    if v.size != w.size or whole <= 0 or abs(float(w.sum()) - 1.0) > 1e-9:
        raise PlanningError(
            "values are worth something together, and there is a target for each, summing to 1",
            code="PLN-001",
            field="targets",
        )
    within(0.0, 0.1, cost_rate=cost_rate)
    half = np.broadcast_to(np.asarray(band, dtype=np.float64), w.shape)
    if not ((half >= 0) & np.isfinite(half)).all():
        raise PlanningError("a band is at least 0", code="PLN-003", field="band")
    now = v / whole
    breached = np.abs(now - w) > half + ROUNDING
    if not breached.any():
        return Rebalance(
            weights=now, trades=np.zeros_like(v), after=now, cost=0.0, breached=breached
        )
    goal = w if to == "target" else _edges(now, w, half)
    # The whole shrinks by what trading costs: a few rounds of the fixed point are exact to 1e-12.
    left = whole
    for _ in range(60):
        trades = goal * left - v
        last, left = left, whole - cost_rate * float(np.abs(trades).sum())
        if abs(last - left) <= 1e-15 * whole:
            break
    trades = goal * left - v
    return Rebalance(
        weights=now,
        trades=trades,
        after=np.asarray((v + trades) / float((v + trades).sum())),
        cost=whole - left,
        breached=breached,
    )


def _edges(now: Floats, w: Floats, half: Floats) -> Floats:
    """Clip weights to their bands, and give what is left over to those that have room for it."""
    low, high = w - half, w + half
    # A band that reaches below 0 sells nothing short where neither is: holding or target.
    low = np.where((w >= 0) & (now >= 0), np.maximum(low, 0.0), low)
    goal = np.clip(now, low, high)
    extra = 1.0 - float(goal.sum())
    room = high - goal if extra > 0 else goal - low
    total = float(room.sum())
    if total > 0:
        goal = goal + extra * room / total
    return np.asarray(goal)


def no_trade_half_width(weight: float, aversion: float, spread: float) -> float:
    """Return how far a weight may drift before trading pays: ``(3/(4γ)·π²(1−π)²)^⅓ · ε^⅓``.

    First order in the spread; trade to the edge, not to the target. Source: Davis and Norman
    (1990), Gerhold et al. (2014) as given in clearing-practice §4.2 (γ 5, μ 8 %, σ 16 %, ε 1 %:
    62.5 % ± 4.35 %).

    Parameters
    ----------
    weight : float
        π of the risky asset without costs; see :func:`merton_weight`.
    aversion : float
        γ, relative risk aversion.
    spread : float
        ε, full bid–ask spread as a fraction of the price.
    """
    positive(aversion=aversion)
    within(0.0, 1.0, spread=spread)
    finite(weight=weight)
    return math.cbrt(0.75 / aversion * (weight * (1.0 - weight)) ** 2 * spread)


def merton_weight(drift: float, vol: float, aversion: float) -> float:
    """Return ``μ/(γσ²)``: the risky weight without costs; `drift` is the excess return."""
    positive(vol=vol, aversion=aversion)
    finite(drift=drift)
    return drift / (aversion * vol * vol)


def hedge_band(
    price: float, gamma: float, cost_rate: float, aversion: float, *, rate: float = 0.0,
    years: float = 0.0,
) -> float:  # fmt: skip
    """Return the half-width of the band of delta inside which a hedge is left alone.

    ``(3/2 · e^{−rτ} κ S Γ² / γ)^⅓``. Source: Whalley and Wilmott (1997), as given in
    clearing-practice §4.2.

    Parameters
    ----------
    price : float
        S.
    gamma : float
        Coins of delta per dollar of price.
    cost_rate : float
        κ, of what is traded.
    aversion : float
        γ, absolute: per dollar.
    rate, years : float
        Discounting to the expiry.
    """
    positive(price=price, aversion=aversion)
    within(0.0, 1.0, cost_rate=cost_rate)
    finite(gamma=gamma, rate=rate, years=years)
    return math.cbrt(1.5 * math.exp(-rate * years) * cost_rate * price * gamma * gamma / aversion)


def hedge_trade(delta: float, *, band: float = 0.0, lot: float | None = None) -> float:
    """Return what to trade in the hedge so that delta is back: to the edge of the band, in lots.

    Within the band, or within half a lot, nothing is traded; with lots the residual is below one.
    Source: requirements row A27 (absolute residual delta below one lot).

    Parameters
    ----------
    delta : float
        Of book and hedge together, coins.
    band : float
        Half-width, at least 0.
    lot : float, optional
        Smallest step of the hedge, coins of delta.
    """
    positive(lot=lot)
    if not (math.isfinite(delta) and band >= 0):
        raise PlanningError("delta is finite and a band at least 0", code="PLN-003", field="delta")
    over = abs(delta) - band
    if over <= ROUNDING:
        return 0.0
    units = over if lot is None else math.floor(over / lot + 0.5) * lot
    if lot is not None and band > 0 and over - units > ROUNDING:
        # What rounding leaves must be inside the band, where a whole lot can do that.
        units = math.ceil(over / lot - 1e-9) * lot
    return -math.copysign(units, delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeError:
    """What hedging in steps leaves.

    Attributes
    ----------
    error : float
        Standard deviation of the result, in the option's currency.
    cost : float
        Mean cost of trading.
    trades : float
        Mean number of trades.
    """

    error: float
    cost: float
    trades: float


def hedging_error(
    *,
    price: float,
    strike: float,
    vol: float,
    years: float,
    steps: int,
    paths: int,
    seed: int,
    cost_rate: float = 0.0,
    aversion: float | None = None,
) -> HedgeError:
    """Simulate the delta hedge of one short call, Black-76 at no rate, in equal steps.

    Without costs the error falls like 1/√steps (requirements row A27: four times the steps halve
    it, ratio 2.0 ± 0.15 on 20,000 paths).

    Parameters
    ----------
    price, strike, vol, years
        Of the call; the path has the same volatility and no drift.
    steps, paths, seed : int
        What is drawn.
    cost_rate : float
        Of what is traded.
    aversion : float, optional
        With it the hedge is left alone inside :func:`hedge_band` and traded to its edge.
    """
    from scipy.special import ndtr

    positive(price=price, strike=strike, vol=vol, years=years, aversion=aversion)
    if steps < 1 or paths < 2:
        raise PlanningError("at least a step and two paths", code="PLN-003", field="steps")
    rng, dt = generator(seed), years / steps
    s = np.full(paths, price)
    held, cash, trades = np.zeros(paths), np.zeros(paths), np.zeros(paths)
    cost = np.zeros(paths)
    for k in range(steps):
        root = vol * math.sqrt(years - k * dt)
        d1 = np.log(s / strike) / root + 0.5 * root
        delta = ndtr(d1)
        trade = delta - held
        if aversion is not None and k:
            gamma = np.exp(-0.5 * d1 * d1) / math.sqrt(2 * math.pi) / (s * root)
            band = np.cbrt(1.5 * cost_rate * s * gamma**2 / aversion)
            trade = np.sign(trade) * np.maximum(np.abs(trade) - band, 0.0)
        cash -= trade * s
        cost += cost_rate * np.abs(trade) * s
        trades += trade != 0.0
        held += trade
        z = rng.standard_normal(paths)
        s = s * np.exp(-0.5 * vol * vol * dt + vol * math.sqrt(dt) * z)
    result = cash + held * s - np.maximum(s - strike, 0.0)
    return HedgeError(
        error=float(result.std(ddof=1)), cost=float(cost.mean()), trades=float(trades.mean())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskTarget:
    """What a moving estimate of volatility makes of exposure.

    Attributes
    ----------
    vol : float
        The new estimate, per period.
    weight : float
        Exposure over what gives the target at that volatility, at most the cap.
    trade : bool
        Whether the band around the held weight is left.
    """

    vol: float
    weight: float
    trade: bool


def risk_target(
    vol: float,
    move: float,
    *,
    target: float,
    decay: float = 0.94,
    held: float | None = None,
    band: float = 0.0,
    cap: float = 1.0,
) -> RiskTarget:
    """Update a volatility by one return, and say what exposure it allows.

    ``σ² = λσ² + (1−λ)r²`` and ``w = min(cap, σ*/σ)``. Source: RiskMetrics (1996), requirements row
    A14 (σ 2 %, λ 0.94, return −5 %: 2.2935 %, weight 0.8720).

    Parameters
    ----------
    vol, move, target : float
        Volatility before, return, and volatility meant, over the same period.
    decay : float
        λ.
    held : float, optional
        Weight held; without it every change is a trade.
    band : float
        The held weight may differ from the new one by this fraction of it before it is traded.
    cap : float
        Largest weight.
    """
    positive(vol=vol, target=target, cap=cap)
    within(0.0, 1.0, decay=decay)
    within(0.0, 10.0, band=band)
    finite(move=move, held=held)
    new = math.sqrt(decay * vol * vol + (1.0 - decay) * move * move)
    weight = min(cap, target / new) if new > 0 else cap
    trade = held is None or abs(held - weight) > band * weight + ROUNDING
    return RiskTarget(vol=new, weight=weight, trade=trade)
