"""What closing a position costs and how long it takes: impact, spread, days, risk on the way.

All functions work on whole arrays. Sizes are coins, prices US dollars, costs fractions of the
notional unless said otherwise.

Source
------
clearing-practice-and-validation §1.7 (read there from clearing houses' practice: confidence as
marked in that section) and requirements row B13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import MarketDataError
from crossmargin.market.depth import OrderBook

Floats = NDArray[np.float64]


def impact_fraction(
    coins: ArrayLike,
    adv_coins: ArrayLike,
    sigma_daily: ArrayLike,
    *,
    y: ArrayLike = 1.0,
    power: ArrayLike = 0.5,
) -> Floats:
    """Average impact of closing a size: ``Y·σ·(Q/ADV)^power``, a fraction of the notional.

    Parameters
    ----------
    coins : array_like
        Size Q, at least 0.
    adv_coins : array_like
        Average daily volume, > 0.
    sigma_daily : array_like
        Volatility of one day, a decimal.
    y : array_like
        About 1 for the square root (clearing-practice §1.7).
    power : array_like
        0.5 is the square-root law; a fit may say otherwise.

    Notes
    -----
    Taken as the average over the whole size and not as the price of the last unit: the cost is
    this fraction times the notional, as requirements row A17 counts it (Q/ADV = 4 %, σ = 4 %,
    Y = 1: 0.8 %).
    """
    ratio = np.asarray(coins, dtype=np.float64) / np.asarray(adv_coins, dtype=np.float64)
    return np.asarray(np.asarray(y) * np.asarray(sigma_daily) * ratio ** np.asarray(power))


def unwind_days(
    coins: ArrayLike, adv_coins: ArrayLike, participation: ArrayLike, *, whole: bool = True
) -> Floats:
    """Return the days to close a size while being `participation` of the volume.

    ``n = ⌈|Q|/(ρ·ADV)⌉`` (clearing-practice §1.7, ρ of 5 to 20 %); at least 1, and where `whole`
    is false ``max(1, |Q|/(ρ·ADV))``.
    """
    pace = np.asarray(participation, dtype=np.float64) * np.asarray(adv_coins, dtype=np.float64)
    days = np.abs(np.asarray(coins, dtype=np.float64)) / pace
    # A size that is a whole number of days must not become one more by the rounding of a sum.
    return np.maximum(np.ceil(days * (1.0 - 1e-12)) if whole else days, 1.0)


def unwind_sigmas(days: ArrayLike) -> Floats:
    """Return the standard deviation of closing in equal parts over n days, in daily σ of the whole.

    ``√((n+1)(2n+1)/(6n))``: the position falls by 1/n a day and the first part is sold at the end
    of the first day. 1 for n = 1, 1.483 for n = 5 (holding it all for five days: √5 = 2.236),
    towards √(n/3) for many days. Source: clearing-practice §1.7 (derived there).

    Parameters
    ----------
    days : array_like
        At least 1; need not be whole.
    """
    n = np.asarray(days, dtype=np.float64)
    return np.sqrt((n + 1.0) * (2.0 * n + 1.0) / (6.0 * n))


@dataclass(frozen=True, slots=True)
class LiquidationCost:
    """Cost of closing sizes, fractions of the notional; arrays of one shape.

    Attributes
    ----------
    days : float64[...]
        Days it takes.
    spread, impact : float64[...]
        Half-spread paid, and the price pushed away.
    risk : float64[...]
        Risk while closing beyond what is covered elsewhere.
    slope : float64[...]
        ``1 + d ln(total)/d ln(Q)`` times total: ``Q·∂/∂Q`` of the cost in money per notional. At a
        whole number of days the step is not in it.
    """

    days: Floats
    spread: Floats
    impact: Floats
    risk: Floats
    slope: Floats

    @property
    def total(self) -> Floats:
        """All three together."""
        return self.spread + self.impact + self.risk


def liquidation_cost(
    coins: ArrayLike,
    *,
    adv_coins: ArrayLike,
    sigma_daily: ArrayLike,
    half_spread: ArrayLike,
    participation: ArrayLike,
    y: ArrayLike = 1.0,
    power: ArrayLike = 0.5,
    spread_multiple: ArrayLike = 1.0,
    risk_multiple: ArrayLike = 0.0,
    covered_days: ArrayLike = 1.0,
    whole_days: bool = True,
) -> LiquidationCost:
    """Cost of closing sizes: spread + impact + risk over the days it takes.

    Source: clearing-practice §1.7, ``LVaR = risk over n + spread + impact``.

    Parameters
    ----------
    coins : array_like
        Sizes, at least 0.
    adv_coins, sigma_daily, half_spread : array_like
        The market's liquidity: coins a day, decimal a day, fraction of the price.
    participation : array_like
        Share ρ of the volume that the closing may be.
    y, power : array_like
        Law of impact.
    spread_multiple : array_like
        Half-spread in stress against today's.
    risk_multiple : array_like
        Daily σ that count as the risk of one day (2.33 for 99 % normal); 0 leaves the risk out.
    covered_days : array_like
        Days of closing whose risk another component holds already (a scan of one day: 1); 0 when
        none does.
    whole_days : bool
        Whether days are rounded up.
    """
    q = np.abs(np.asarray(coins, dtype=np.float64))
    impact = impact_fraction(q, adv_coins, sigma_daily, y=y, power=power)
    spread = np.asarray(spread_multiple, dtype=np.float64) * np.asarray(half_spread) + 0.0 * q
    days = unwind_days(q, adv_coins, participation, whole=whole_days)
    covered = np.asarray(covered_days, dtype=np.float64)
    free = np.where(covered >= 1.0, unwind_sigmas(np.maximum(covered, 1.0)), 0.0)
    unit = np.asarray(risk_multiple, dtype=np.float64) * np.asarray(sigma_daily)
    sigmas = unwind_sigmas(days)
    risk = unit * np.maximum(sigmas - free, 0.0)
    slope = spread + (1.0 + np.asarray(power)) * impact + risk
    if not whole_days:
        # d/dn of the square root is (1/3 − 1/(6n²))/(2·root), and n grows in proportion to Q.
        grows = (days > 1.0) & (sigmas > free)
        steep = days * (1.0 / 3.0 - 1.0 / (6.0 * days**2)) / (2.0 * sigmas)
        slope = slope + np.where(grows, unit * steep, 0.0)
    return LiquidationCost(days, spread, impact, risk, slope)


@dataclass(frozen=True, slots=True)
class ImpactFit:
    """A law of impact fitted to one side of a book: ``c·Q^power``, a fraction of the middle.

    Attributes
    ----------
    coefficient : float
        c, for Q in coins.
    power : float
        As fitted, or as given.
    rmse_log : float
        Root mean square error of ln(impact): 0.1 is about 10 %.
    worst_log : float
        Largest |error| of ln(impact).
    points : int
        Sizes that the fit rests on.
    largest_coins : float
        Largest of them: beyond it the law is a guess.
    """

    coefficient: float
    power: float
    rmse_log: float
    worst_log: float
    points: int
    largest_coins: float

    def fraction(self, coins: ArrayLike) -> Floats:
        """Return the fitted impact of sizes (coins, at least 0)."""
        law = self.coefficient * np.asarray(coins, dtype=np.float64) ** self.power
        return np.asarray(law, dtype=np.float64)

    def y(self, adv_coins: float, sigma_daily: float) -> float:
        """Return Y of ``Y·σ·(Q/ADV)^power`` that is the same law."""
        return float(self.coefficient * adv_coins**self.power / sigma_daily)


#: Sizes probed between the best level and the end of the book.
_PROBES = 60


def fit_impact(
    book: OrderBook,
    side: Literal["buy", "sell"] = "sell",
    *,
    power: float | None = None,
    within: float = 0.02,
    start: float = 0.01,
) -> ImpactFit:
    """Fit a power law of impact to what a book holds.

    The average price of an order against the middle, less the half-spread, is fitted by least
    squares in logarithms, at sizes evenly spaced in logarithm between the first size that leaves
    the best level, but at least `start` times the depth, and the whole depth that lies `within` a
    distance of the middle. Close to the best level the price has hardly begun to move, and
    logarithms of nearly nothing would rule the fit; far away rest orders that wait for a crash.

    Parameters
    ----------
    book : OrderBook
        Sizes in coins.
    side : {"sell", "buy"}
        ``sell`` walks the bids.
    power : float, optional
        Exponent to keep fixed (0.5: square root); default fitted too.
    within : float
        Distance from the middle, as a fraction of it, of the last level used; > 0.
    start : float
        Share of that depth where the fit begins, in (0, 1).

    Raises
    ------
    MarketDataError
        ``MKT-042`` when fewer than three levels lie within the distance.

    Notes
    -----
    A book shows what rests at one moment: it says what an order costs at once and nothing of how
    the book refills. Y from it is a fit of depth, not a forecast. House method.
    """
    price, size = book.levels(side)
    near = int(np.count_nonzero(np.abs(price / book.mid - 1.0) <= within)) if price.size else 0
    if near < 3 or not 0 < start < 1:
        raise MarketDataError(
            f"a fit of impact needs three levels within {within:g} of the middle and a start in "
            f"(0, 1); the book has {near} such levels, and the start is {start:g}",
            code="MKT-042",
            field="depth",
            hint="widen the distance, or use a deeper book",
        )
    depth = float(size[:near].sum())
    first = max(float(size[0]) * 1.01, depth * start)
    probe = np.geomspace(min(first, depth), depth, _PROBES)
    signed = -probe if side == "buy" else probe
    walk, cost = book.closing(signed)
    impact = cost / (book.mid * walk.filled) - book.half_spread
    kept = impact > 1e-12
    if int(kept.sum()) < 3:
        raise MarketDataError(
            "the book's prices do not move within the reach of the fit",
            code="MKT-042",
            field="depth",
            hint="widen the distance",
        )
    x, y = np.log(probe[kept]), np.log(impact[kept])
    if power is None:
        slope, level = np.polyfit(x, y, 1)
    else:
        slope, level = power, float(np.mean(y - power * x))
    error = y - (level + slope * x)
    return ImpactFit(
        coefficient=float(np.exp(level)),
        power=float(slope),
        rmse_log=float(np.sqrt(np.mean(error**2))),
        worst_log=float(np.abs(error).max()),
        points=int(kept.sum()),
        largest_coins=depth,
    )
