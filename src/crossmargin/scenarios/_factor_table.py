"""The risk table of factor scenarios: profit and loss of one unit, all factors moved together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE, Registry
from crossmargin.market import MarketView
from crossmargin.pricing import Kernel, black76, black76_greeks, price_grid
from crossmargin.scenarios._tail_spec import VolShocks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def shocked_vols(
    rule: VolShocks, vol: Floats, level: Floats, ret: Floats, distance: Floats, years: Floats
) -> Floats:
    """Return volatilities of n options in S scenarios; see :class:`VolShocks`.

    Parameters
    ----------
    rule : VolShocks
        Figures.
    vol, distance, years : float64[n]
        Volatility; ``ln(K/F)/(σ√T)``; time to expiry.
    level, ret : float64[n, S]
        Log-change of the thirty-day volatility, and log-return, of each option's coin.
    """
    days = np.maximum(years * 365.0, rule.days_floor)
    tenor = (rule.reference_days / days) ** rule.power
    d = np.clip(distance, -3.0, 3.0)
    change = level * tenor[:, None] + rule.skew * ret * d[:, None]
    return np.asarray(vol[:, None] * np.exp(np.clip(change, -rule.reach, rule.reach)))


def distances(strike: Floats, forward: Floats, vol: Floats, years: Floats) -> Floats:
    """Return ``ln(K/F)/(σ√T)``; 0 where nothing is left to move."""
    spread = vol * np.sqrt(years)
    with np.errstate(divide="ignore", invalid="ignore"):
        d = np.log(strike / forward) / spread
    return np.where(np.isfinite(d), d, 0.0)


def factor_table(
    registry: Registry,
    rows: Ints,
    view: MarketView,
    move: Floats,
    level: Floats,
    rule: VolShocks,
    *,
    basis: Floats | None = None,
    kernel: Kernel = "numpy",
    approximate: bool = False,
) -> Floats:
    """Return profit and loss of one unit of each instrument, ``[n, S]``, in its settlement asset.

    Parameters
    ----------
    registry : Registry
        Instruments.
    rows : int64[m]
        Those to compute; others are left at 0.
    view : MarketView
        The market.
    move, level : float64[A, S]
        Relative move in US dollars, and log-change of volatility, of each asset of the registry.
    rule : VolShocks
        How surfaces move.
    basis : float64[m, S], optional
        Log-change of each row's price against its coin; default none.
    kernel : {"numpy", "numba"}
        Pricing kernel.
    approximate : bool
        Options by delta, gamma and vega instead of revaluation (requirements B04).

    Notes
    -----
    All factors move together: a price in USDT moves by ``(1+m)·exp(Δb)/(1+m_USDT) − 1``, a
    coin-settled contract is valued at its own shocked price, and what is paid is worth
    ``1 + m`` of its settlement asset: the result is ``pnl·(1 + m_settle)``, in settlement units
    at today's price. What is held already (profit, option value) moves with the settlement asset
    and is added by who knows how much it is. Source: house (one joint revaluation,
    clearing-practice §3, "put collateral in the scenario engine").
    """
    terms = registry.terms
    out = np.zeros((len(registry), move.shape[1]))
    alive = ~view.settled[rows]
    live = rows[alive]
    option = terms.kind[live] == KIND_CODE["option"]
    up = move[terms.underlying]
    over = None if basis is None else np.exp(basis[alive])
    for at, is_option in ((~option, False), (option, True)):
        mine = live[at]
        if not mine.size:
            continue
        paid = 1.0 + move[terms.settlement[mine]]
        price = 1.0 + up[mine] if over is None else (1.0 + up[mine]) * over[at]
        relative = price / (1.0 + move[terms.quote[mine]]) - 1.0
        if is_option:
            pnl = _options(
                registry,
                mine,
                view,
                relative,
                up[mine],
                level,
                rule,
                None if approximate else kernel,
            )
        else:
            pnl = _linear(terms.inverse[mine], mine, view, relative)
        out[mine] = pnl * paid * terms.contract_size[mine][:, None]
    return out


def _linear(inverse: NDArray[np.bool_], rows: Ints, view: MarketView, move: Floats) -> Floats:
    variable = view.price_variable[rows][:, None]
    now = view.price_fixed[rows][:, None] + variable
    change = variable * move
    with np.errstate(divide="ignore", invalid="ignore"):
        coin = change / (now * (now + change))
    return np.where(inverse[:, None], coin, change)


def _options(
    registry: Registry,
    rows: Ints,
    view: MarketView,
    move: Floats,
    up: Floats,
    level: Floats,
    rule: VolShocks,
    kernel: Kernel | None,
) -> Floats:
    terms = registry.terms
    fixed, variable = view.price_fixed[rows], view.price_variable[rows]
    strike, years, vol = terms.strike[rows], view.years[rows], view.vol[rows]
    forward = fixed + variable
    vols = shocked_vols(
        rule,
        vol,
        level[terms.underlying[rows]],
        np.log1p(up),
        distances(strike, forward, vol, years),
        years,
    )
    calls = terms.is_call[rows]
    now = black76(forward, strike, years, vol, calls)
    if kernel is None:
        g = black76_greeks(forward, strike, years, vol, calls)
        df = variable[:, None] * move
        then = now[:, None] + g.delta[:, None] * df + 0.5 * g.gamma[:, None] * df * df
        then += g.vega[:, None] * (vols - vol[:, None])
    else:
        states = np.arange(move.shape[1])
        then = price_grid(fixed, variable, strike, years, calls, move, vols, states, kernel=kernel)
    inverse = terms.inverse[rows]
    unit = np.where(inverse[:, None], fixed[:, None] + variable[:, None] * (1.0 + move), 1.0)
    return np.asarray(then / unit - np.where(inverse, now / forward, now)[:, None])
