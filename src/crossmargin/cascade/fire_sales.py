"""Fire sales: what holders over a leverage threshold sell, and what that costs the others.

Notionals are US dollars, [holders, assets]. Depth D is the notional whose sale moves price by
100 % under linear impact.

Source: reference cascades.md §1.3. What is marked **[M]** there was recalled from the primary
paper, whose full text could not be opened: the formula is **unconfirmed** until it is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import number, numbers, same_shape, spread_over, value_of
from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vulnerability:
    """Losses by fire sales, as fractions of equity; a loss is negative like the shock.

    Attributes
    ----------
    aggregate : float
        AV: all losses of the sales over all equity.
    systemicness : float64[A]
        What each holder's sales contribute; they sum to `aggregate`.
    indirect : float64[A]
        Each holder's own loss over its equity.
    returns : float64[J]
        Return of each asset caused by the sales.
    """

    aggregate: float
    systemicness: Floats
    indirect: Floats
    returns: Floats


def aggregate_vulnerability(
    weights: ArrayLike,
    assets: ArrayLike,
    debt_to_equity: ArrayLike,
    shock: ArrayLike,
    impact: ArrayLike | None = None,
) -> Vulnerability:
    """Aggregate vulnerability of leverage targeters: ``R₂ = M·L·Mᵀ·B·A·R₁``, ``AV = 1ᵀAR₂/E``.

    Source: Greenwood, Landier and Thesmar 2015 (JFE 115:471), **[M]** in cascades.md §1.3:
    unconfirmed. Sales keep the weights; everybody repays to the old leverage whatever the loss.

    Parameters
    ----------
    weights : array_like [A, J]
        M, shares of each holder's assets; rows sum to 1.
    assets : array_like [A]
        A, US dollars, above 0.
    debt_to_equity : array_like [A]
        B, leverage minus 1, at least 0.
    shock : array_like [J]
        First returns of the assets; ``R₁ = M·shock``.
    impact : array_like [J], optional
        L, return per US dollar sold; default the paper's 10 basis points per 10 bn.
    """
    m, a = numbers("weights", weights, least=0.0), numbers("assets", assets, above=0.0)
    b, f = numbers("debt_to_equity", debt_to_equity, least=0.0), numbers("shock", shock)
    scale = value_of("gain.toml", "impact_per_usd") if impact is None else impact
    law = spread_over("impact", numbers("impact", scale, least=0.0), f.shape)
    if m.shape != (a.size, f.size) or np.abs(m.sum(axis=1) - 1.0).max() > 1e-9:
        raise CascadeError(
            "weights must have a row for each holder that sums to 1, and a column for each asset",
            code="CAS-001",
            field="weights",
        )
    same_shape(assets=a, debt_to_equity=b)
    equity = a / (1.0 + b)
    trade = b * a * (m @ f)
    returns = law * (m.T @ trade)
    loss = a * (m @ returns)
    # A dollar sold by holder i costs everybody 1ᵀA·M·L·Mᵀe_i.
    cost = m @ (law * (m.T @ a))
    return Vulnerability(
        aggregate=float(loss.sum() / equity.sum()),
        systemicness=cost * trade / equity.sum(),
        indirect=loss / equity,
        returns=returns,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleveraging:
    """Outcome of :func:`sold_share`.

    Attributes
    ----------
    share : float64[A]
        Fraction of the marketable assets that is sold.
    insolvent : bool[A]
        Capital below 0: kept apart from those who are merely illiquid.
    """

    share: Floats
    insolvent: Bools


def sold_share(
    assets: ArrayLike,
    capital: ArrayLike,
    marketable: ArrayLike,
    *,
    most: float,
    buffer: float,
) -> Deleveraging:
    """Sale of holders over a leverage threshold, pro rata back to a buffer.

    ``Γ = min{1, (assets − λ_b·capital)/marketable}·1{λ > λ_max}``.

    Source: Cont and Schaanning 2017 (Norges Bank WP 2/2017), **[M]** in cascades.md §1.3:
    unconfirmed.

    Parameters
    ----------
    assets, capital, marketable : array_like [A]
        US dollars; capital may be negative.
    most, buffer : float
        λ_max, and λ_b below it; both above 0.

    Returns
    -------
    Deleveraging
        The insolvent sell all that can be sold, and are marked.
    """
    a = numbers("assets", assets, least=0.0)
    c, x = numbers("capital", capital), numbers("marketable", marketable, least=0.0)
    same_shape(assets=a, capital=c, marketable=x)
    top = number("most", most, above=0.0)
    target = number("buffer", buffer, above=0.0, most=top)
    over = (a > top * c) & (x > 0)
    share = np.zeros(a.shape)
    np.divide(a - target * np.maximum(c, 0.0), x, out=share, where=over)
    return Deleveraging(share=np.minimum(share, 1.0), insolvent=c < 0.0)


def floor_impact(
    sold: ArrayLike, price: ArrayLike, start: ArrayLike, floor: ArrayLike, depth: ArrayLike
) -> Floats:
    """Relative fall of price with a floor: ``Ψ(x, S) = (1 − B/S)·(1 − e^(−x/δ))``.

    ``δ = D·(1 − B/S₀)``, so that the first dollar moves price by 1/D and no sale takes it below B.

    Source: Cont and Schaanning 2017, **[M]** in cascades.md §1.3: unconfirmed.

    Parameters
    ----------
    sold : array_like
        x, US dollars, at least 0.
    price, start : array_like
        S now and S₀ at the beginning, above the floor.
    floor : array_like
        B, at least 0 (the paper: half of S₀).
    depth : array_like
        D, US dollars, above 0.
    """
    b, s = numbers("floor", floor, least=0.0), numbers("price", price, above=0.0)
    s0 = numbers("start", start, above=0.0)
    if (b >= s0).any() or (b > s).any():
        raise CascadeError(
            "a floor lies below the prices it is a floor of", code="CAS-001", field="floor"
        )
    scale = numbers("depth", depth, above=0.0) * (1.0 - b / s0)
    return np.asarray((1.0 - b / s) * -np.expm1(-numbers("sold", sold, least=0.0) / scale))


def market_depth(
    adv: ArrayLike, sigma_daily: ArrayLike, days: ArrayLike = 1.0, coefficient: float | None = None
) -> Floats:
    """Depth over a time: ``D(τ) = c·(ADV/σ)·√τ``, US dollars.

    Source: Cont and Schaanning 2017, c of 0.25 to 0.4, **[M]** in cascades.md §1.3: unconfirmed.

    Parameters
    ----------
    adv : array_like
        US dollars traded in a day, above 0.
    sigma_daily : array_like
        Decimal, above 0.
    days : array_like
        τ, above 0.
    coefficient : float, optional
        c; default the middle of the range.
    """
    c = value_of("gain.toml", "depth_coefficient") if coefficient is None else coefficient
    ratio = numbers("adv", adv, above=0.0) / numbers("sigma_daily", sigma_daily, above=0.0)
    return np.asarray(
        number("coefficient", c, above=0.0) * ratio * np.sqrt(numbers("days", days, above=0.0))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FireSale:
    """Rounds of selling over a leverage threshold.

    Attributes
    ----------
    price : float64[R + 1, J]
        Prices relative to the start, after the shock and after each round.
    sold : float64[R, J]
        US dollars.
    capital : float64[A]
        At the end.
    insolvent, illiquid : bool[A]
        Capital below 0; sold something and stayed solvent.
    settled : bool
        Whether nobody is left who would sell.
    """

    price: Floats
    sold: Floats
    capital: Floats
    insolvent: Bools
    illiquid: Bools
    settled: bool


def threshold_fire_sale(
    holdings: ArrayLike,
    other_assets: ArrayLike,
    capital: ArrayLike,
    depth: ArrayLike,
    shock: ArrayLike,
    *,
    most: float,
    buffer: float,
    floor: float = 0.5,
    paid: float = 0.5,
    rounds: int = 20,
) -> FireSale:
    """Play rounds of :func:`sold_share` and :func:`floor_impact` after a shock to prices.

    Proceeds repay debt. Source: as those two; that what is sold bears the part `paid` of its
    round's fall is house (½: the middle of old and new price, as in the Oxford code, cascades.md
    §1.3).

    Parameters
    ----------
    holdings : array_like [A, J]
        Marketable, US dollars, at least 0.
    other_assets, capital : array_like [A]
        What cannot be sold, and capital before the shock.
    depth : array_like [J]
        US dollars.
    shock : array_like [J]
        Fraction of price lost at first, in [0, 1).
    most, buffer : float
        Leverage that is tolerated, and the one returned to.
    floor : float
        B over the price before the shock, in [0, 1).
    paid : float
        In [0, 1].
    rounds : int
        At most so many.
    """
    pi = numbers("holdings", holdings, least=0.0).copy()
    rest, c = numbers("other_assets", other_assets, least=0.0), numbers("capital", capital).copy()
    d, fall = numbers("depth", depth, above=0.0), numbers("shock", shock, least=0.0)
    if pi.shape != (rest.size, d.size) or c.shape != rest.shape or fall.shape != d.shape:
        raise CascadeError(
            "holdings, capital, depth and shock do not fit together", code="CAS-001", field="shock"
        )
    bears, low = number("paid", paid, least=0.0, most=1.0), number("floor", floor, least=0.0)
    price = np.maximum(1.0 - fall, low)
    c -= pi @ (1.0 - price)
    pi *= price
    path, sales = [price], list[Floats]()
    sellers, settled = np.zeros(c.shape, dtype=bool), False
    for _ in range(int(number("rounds", rounds, least=0))):
        held = pi.sum(axis=1)
        share = sold_share(held + rest, c, held, most=most, buffer=buffer).share
        if not share.any():
            settled = True
            break
        sellers |= share > 0
        sold = pi * share[:, None]
        flow = sold.sum(axis=0)
        drop = floor_impact(flow, price, 1.0, low, d)
        c -= (pi - sold) @ drop + bears * (sold @ drop)
        pi = (pi - sold) * (1.0 - drop)
        price = price * (1.0 - drop)
        path.append(price)
        sales.append(flow)
    gone = c < 0.0
    return FireSale(
        price=np.array(path),
        sold=np.array(sales).reshape(len(sales), d.size),
        capital=c,
        insolvent=gone,
        illiquid=sellers & ~gone,
        settled=settled,
    )
