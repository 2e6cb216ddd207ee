"""Leverage of everybody: drift with price, sales back to a target, a systemic score with parts.

Notionals and equity are US dollars; gross notional is Σ|notional|. Source: requirements rows A09
and B18; drift and sale are the rows' algebra, the score is house.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import number, numbers, together
from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def leverage(notional: ArrayLike, equity: ArrayLike) -> float:
    """Leverage ``Λ = Σ|notional| / Σ equity``; infinite where equity is not above 0.

    Parameters
    ----------
    notional : array_like
        Of every position, any shape.
    equity : array_like
        Of every account.
    """
    gross = float(np.abs(numbers("notional", notional)).sum())
    capital = float(numbers("equity", equity).sum())
    return gross / capital if capital > 0 else (math.inf if gross else 0.0)


def drift(start: ArrayLike, move: ArrayLike) -> Floats:
    """Leverage of longs after a move: ``Λ(r) = Λ₀(1 + r)/(1 + Λ₀·r)``.

    Row A09: 5 becomes 9 at −10 %. Infinite where the move eats the equity.

    Parameters
    ----------
    start : array_like
        Λ₀, at least 0; a short book has ``−Λ₀`` in its place and its answer is negative.
    move : array_like
        r, above −1.
    """
    first, r = together(start=numbers("start", start), move=numbers("move", move, above=-1.0))
    capital = 1.0 + first * r
    out = np.where(first >= 0, np.inf, -np.inf)
    np.divide(first * (1.0 + r), capital, out=out, where=capital > 0)
    return np.asarray(out, dtype=np.float64)


def target_sale(start: ArrayLike, move: ArrayLike, target: ArrayLike | None = None) -> Floats:
    """Exposure sold to return to a leverage, over the exposure before the move.

    After the move exposure is ``Λ₀(1 + r)`` and equity ``1 + Λ₀·r`` per unit of equity before;
    ``(Λ₀(1 + r) − target·(1 + Λ₀·r))/Λ₀``, at most all of it. Row A09: 2.0 of 5.0, 40 %, for
    Λ₀ = 5, r = −10 % and a target of 5.

    Parameters
    ----------
    start : array_like
        Λ₀ of longs, above 0.
    move : array_like
        r, above −1.
    target : array_like, optional
        Leverage returned to; default Λ₀.

    Returns
    -------
    float64[...]
        Negative where exposure is bought (gains under a target): one-sided holders do not.
    """
    first, r, goal = together(
        start=numbers("start", start, above=0.0),
        move=numbers("move", move, above=-1.0),
        target=numbers("target", start if target is None else target, least=0.0),
    )
    exposure, capital = first * (1.0 + r), np.maximum(1.0 + first * r, 0.0)
    return np.asarray((exposure - goal * capital) / first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concentration:
    """How few hold how much.

    Attributes
    ----------
    herfindahl : float
        Σ of squared shares, 1/n to 1; 0 where nothing is held.
    effective : float
        ``1/herfindahl``: as many equal holders would be as concentrated.
    top : dict of int to float
        Share of the largest n holders.
    gini : float
        0 where all are alike, towards 1 where one has all.
    curve_holders, curve_share : float64[P]
        Lorenz curve from the largest holder down: fraction of holders, and of the sum.
    """

    herfindahl: float
    effective: float
    top: dict[int, float]
    gini: float
    curve_holders: Floats
    curve_share: Floats


def concentration(
    values: ArrayLike, *, top: tuple[int, ...] = (1, 5, 10, 100), points: int = 101
) -> Concentration:
    """Measure the concentration of non-negative amounts.

    Parameters
    ----------
    values : array_like [A]
        Of each holder, at least 0; gross notional, or open interest.
    top : tuple of int
        Sizes of the leading groups.
    points : int
        Of the curve, at least 2.
    """
    x = np.sort(numbers("values", values, least=0.0).ravel())[::-1]
    whole = float(x.sum())
    count = int(number("points", points, least=2))
    at = np.linspace(0.0, 1.0, count)
    if whole == 0.0:
        return Concentration(
            herfindahl=0.0,
            effective=0.0,
            top=dict.fromkeys(top, 0.0),
            gini=0.0,
            curve_holders=at,
            curve_share=np.zeros(count),
        )
    share = x / whole
    running = np.concatenate([[0.0], np.cumsum(share)])
    running[-1] = 1.0
    square = float((share**2).sum())
    # Twice the area between the curve (trapezoids) and the diagonal.
    area = float((running[1:] + running[:-1]).sum()) / (2.0 * x.size)
    return Concentration(
        herfindahl=square,
        effective=1.0 / square,
        top={n: float(running[min(n, x.size)]) for n in top},
        gini=max(0.0, 2.0 * area - 1.0),
        curve_holders=at,
        curve_share=np.interp(at * x.size, np.arange(x.size + 1), running),
    )


def crowding(notional: Any, depth: ArrayLike | None = None) -> float:
    """Overlap of books: mean cosine of two holders' books, weighted by size; 0 to 1.

    Longs and shorts of one asset are two things: one fall does not close both. Each book is a
    vector of its long and its short notionals, divided by √D where depths are given, so that the
    overlap in thin markets counts more. 1 where all hold the same mix, 0 where no two share
    anything. Through [2K, 2K] products, so a million holders are no matter. House.

    Parameters
    ----------
    notional : array_like or sparse [A, K]
        Signed, US dollars.
    depth : array_like [K], optional
        US dollars, above 0.
    """
    from scipy.sparse import csr_matrix, hstack, issparse

    n = notional.tocsr() if issparse(notional) else csr_matrix(numbers("notional", notional))
    if depth is not None:
        n = n.multiply(1.0 / np.sqrt(numbers("depth", depth, above=0.0))).tocsr()
    sides = hstack([n.maximum(0), (-n).maximum(0)]).tocsr()
    length = np.sqrt(np.asarray(sides.multiply(sides).sum(axis=1))).ravel()
    gross = np.asarray(abs(n).sum(axis=1)).ravel()
    held = length > 0
    if int(held.sum()) < 2:
        return 0.0
    weight = gross / gross.sum()
    unit = np.divide(weight, length, out=np.zeros(length.size), where=held)
    mean = np.asarray(sides.T @ unit).ravel()
    alone = float((weight**2).sum())
    return float(np.clip((float(mean @ mean) - alone) / (1.0 - alone), 0.0, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemicScore:
    """A score between 0 and 1, and what it is made of.

    Attributes
    ----------
    score : float
        ``1 − (1 − l)^w₁·(1 − c)^w₂·(1 − o)^w₃``.
    leverage, concentration, overlap : float
        The three parts, each 0 to 1: share of exposure that is borrowed (``1 − 1/Λ``), Herfindahl
        index, crowding.
    contribution : dict of str to float
        What each part adds to ``−ln(1 − score)``; they sum to it.
    """

    score: float
    leverage: float
    concentration: float
    overlap: float
    contribution: dict[str, float]


def systemic_score(
    leverage: float,
    concentration: float,
    overlap: float,
    *,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> SystemicScore:
    """Score how far one forced sale would spread. It ranks, and has no scale of its own.

    It rises strictly in each part while the others are below 1. House; the parts are those of
    requirements row A09.

    Parameters
    ----------
    leverage : float
        Λ, at least 0; nothing is borrowed up to 1.
    concentration : float
        Herfindahl index, 0 to 1.
    overlap : float
        :func:`crowding`, 0 to 1.
    weights : tuple of three floats
        Above 0; judgement, 1 each.
    """
    lever = number("leverage", leverage, least=0.0, finite=False)
    parts = {
        "leverage": 1.0 - 1.0 / lever if lever > 1.0 else 0.0,
        "concentration": number("concentration", concentration, least=0.0, most=1.0),
        "overlap": number("overlap", overlap, least=0.0, most=1.0),
    }
    w = numbers("weights", weights, above=0.0)
    if w.shape != (3,):
        raise CascadeError("three weights are needed", code="CAS-001", field="weights")
    added = {
        name: math.inf if part == 1.0 else -float(k) * math.log1p(-part)
        for (name, part), k in zip(parts.items(), w)
    }
    return SystemicScore(score=-math.expm1(-sum(added.values())), contribution=added, **parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidityRatio:
    """Open interest against what could absorb its closing, in both directions.

    Attributes
    ----------
    interest_over_depth : float64[...]
        OI / depth: fragile where **high**.
    depth_over_interest : float64[...]
        depth / OI: fragile where **low**. The product of the two is 1.
    alert_high, alert_low : bool[...]
        The alert of each form. They agree, but for the last bit where a ratio is at its limit.
    limit_high, limit_low : float
        ``limit``, and ``1/limit``.
    """

    interest_over_depth: Floats
    depth_over_interest: Floats
    alert_high: Bools
    alert_low: Bools
    limit_high: float
    limit_low: float


def liquidity_ratio(
    open_interest: ArrayLike, absorber: ArrayLike, *, limit: float = 1.0
) -> LiquidityRatio:
    """Hold open interest against depth or settlement capital.

    Source: requirements row B18 (OI 8 m, depth 2 m: 4.0 and 0.25).

    Parameters
    ----------
    open_interest : array_like
        US dollars, at least 0; a history, or by contract.
    absorber : array_like
        Depth or capital, US dollars, at least 0.
    limit : float
        OI per dollar of it above which the market is called fragile; judgement.
    """
    oi, d = together(
        open_interest=numbers("open_interest", open_interest, least=0.0),
        absorber=numbers("absorber", absorber, least=0.0),
    )
    high = number("limit", limit, above=0.0)
    # Nothing to be closed needs no depth: neither form is fragile then, with or without any.
    over, under = np.where(oi > 0, np.inf, 0.0), np.full(oi.shape, np.inf)
    np.divide(oi, d, out=over, where=d > 0)
    np.divide(d, oi, out=under, where=oi > 0)
    return LiquidityRatio(
        interest_over_depth=over,
        depth_over_interest=under,
        alert_high=over > high,
        alert_low=under < 1.0 / high,
        limit_high=high,
        limit_low=1.0 / high,
    )
