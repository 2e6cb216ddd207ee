"""The risk table: profit and loss of one unit of each instrument in each scenario.

It is computed once for a market and a set of scenarios, and does not know who holds what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError
from crossmargin.instruments import KIND_CODE, Registry
from crossmargin.market import MarketView
from crossmargin.pricing import black76, price_grid
from crossmargin.scenarios._spec import ScenarioSet, Turn, UnderlyingShocks

Kernel = Literal["numpy", "numba"]
Floats = NDArray[np.float64]

#: Rows are padded to a multiple of this many float64 lanes (one AVX-512 register).
LANES = 8


@dataclass(frozen=True, slots=True)
class RiskTable:
    """Profit and loss ``[instrument, scenario]``.

    Attributes
    ----------
    pnl : float64[n, S]
        Profit and loss of one unit (contract size included) in its **settlement asset**;
        > 0 is a gain for a long. A view of rows padded to SIMD lanes.
    base : float64[n]
        Value of one unit now, in its settlement asset. For futures and perpetuals this is the
        notional, not what was paid.
    scenarios : ScenarioSet
        What the columns mean.
    """

    pnl: Floats
    base: Floats
    scenarios: ScenarioSet


def vol_multiplier(
    shock: UnderlyingShocks,
    years: Floats,
    reference_days: float,
    *,
    reference_is_short: bool = False,
) -> Floats:
    """Relative volatility shocks by tenor: the two-segment power law.

    ``x = (reference / max(days, floor)) ^ p`` with ``p = short_power`` below the reference and
    ``long_power`` from it on; up ``1 + vol_up·x``, down ``max(0, 1 − vol_down·x)``.

    Parameters
    ----------
    shock : UnderlyingShocks
        Sizes.
    years : float64[n]
        ACT/365 years to expiry.
    reference_days : float
        Tenor at which the sizes are stated.
    reference_is_short : bool
        Whether the reference tenor itself takes the short power.

    Returns
    -------
    float64[n, 3]
        Multipliers: same, up, down.

    Notes
    -----
    Source: Deribit, portfolio margin parameters ``short_term_vega_power`` and
    ``long_term_vega_power``; Paradex, docs.paradex.trade/risk/portfolio-margin, which states the
    exponents 0.30 below 30 days and 0.13 from 30 days on.
    """
    actual = np.asarray(years, dtype=np.float64) * 365.0
    days = np.maximum(actual, max(shock.days_floor, 1e-9))
    # The floor bounds the ratio and does not choose the power. Whole seconds over a year and back
    # are not whole days in floating point.
    tenor = np.round(actual, 9)
    short = tenor <= reference_days if reference_is_short else tenor < reference_days
    power = np.where(short, shock.short_power, shock.long_power)
    scale = (reference_days / days) ** power
    up = 1.0 + shock.vol_up * scale
    down = np.maximum(0.0, 1.0 - shock.vol_down * scale)
    return np.stack([np.ones_like(scale), up, down], axis=-1)


def turned_multiplier(turn: Turn, strike: Floats, forward: Floats, years: Floats) -> Floats:
    """Relative volatility shocks that turn the surface; see :class:`Turn`.

    Parameters
    ----------
    turn : Turn
        Sizes.
    strike, forward, years : float64[n]
        Of the options; forward and strike in the same currency.

    Returns
    -------
    float64[n, 2]
        Multipliers: skew, smile.
    """
    root = np.sqrt(years)
    width = turn.k_star_width * root * (turn.vol_static + turn.vol_scale * root)
    k_star = np.maximum(turn.k_star_min, width)
    if np.any(k_star == 0):
        raise RulesetError(
            "a surface cannot be turned where the width of the turn is 0",
            code="RUL-012",
            field="scenarios.underlyings.turn.k_star_min",
            hint="raise k_star_min, or the width",
        )
    k = np.log(strike / forward)
    columns = []
    for x, base, tenor in (
        (k, turn.skew_cap, turn.skew_cap_tenor),
        (np.abs(k), turn.smile_cap, turn.smile_cap_tenor),
    ):
        cap = base + tenor * root
        reach = x * cap / k_star
        columns.append(1.0 + np.where(x >= 0, np.minimum(cap, reach), np.maximum(-cap, reach)))
    return np.maximum(0.0, np.stack(columns, axis=-1))


@dataclass(frozen=True, slots=True)
class TablePlan:
    """Which rows take which underlying's scenarios: the part that no price changes.

    Attributes
    ----------
    registry : Registry
        Instruments.
    scenarios : ScenarioSet
        Scenarios.
    linear, options : tuple of int64[m]
        Rows by underlying of the scenario set.
    """

    registry: Registry
    scenarios: ScenarioSet
    linear: tuple[NDArray[np.int64], ...]
    options: tuple[NDArray[np.int64], ...]


def plan_table(
    registry: Registry,
    scenarios: ScenarioSet,
    *,
    rows: NDArray[np.int64] | None = None,
    underlying_alias: dict[str, str] | None = None,
) -> TablePlan:
    """Sort the rows of a risk table by underlying.

    Parameters
    ----------
    registry : Registry
        Instruments.
    scenarios : ScenarioSet
        Covers every underlying among the rows.
    rows : int64[m], optional
        Indices of instruments to compute; default all.
    underlying_alias : dict, optional
        Underlyings that take another's scenarios (``{"STETH": "ETH"}``).
    """
    terms = registry.terms
    chosen = np.arange(len(registry)) if rows is None else np.asarray(rows, dtype=np.int64)
    alias = underlying_alias or {}
    place = {name: u for u, name in enumerate(scenarios.underlyings)}
    home = np.array([place.get(alias.get(a, a), -1) for a in registry.assets], dtype=np.int64)
    of_row = home[terms.underlying[chosen]]
    is_option = terms.kind[chosen] == KIND_CODE["option"]
    count = range(len(scenarios.underlyings))
    return TablePlan(
        registry=registry,
        scenarios=scenarios,
        linear=tuple(chosen[(of_row == u) & ~is_option] for u in count),
        options=tuple(chosen[(of_row == u) & is_option] for u in count),
    )


def build_table(
    plan: TablePlan,
    view: MarketView,
    *,
    kernel: Kernel = "numpy",
    discount: Floats | None = None,
) -> RiskTable:
    """Build the risk table of a plan in one market.

    Parameters
    ----------
    plan : TablePlan
        Instruments and scenarios; rows outside it are left at 0.
    view : MarketView
        The market aligned with the plan's registry.
    kernel : {"numpy", "numba"}
        The reference kernel, or the compiled one (equal to it; worth its start-up time in
        long-running programs).
    discount : float64[n], optional
        Discount factor of each instrument's value; default 1.

    Returns
    -------
    RiskTable
        In settlement assets.

    Notes
    -----
    Linear: ``cs·(P(1+m) − P)`` in the quote. Inverse futures: ``cs·(1/P − 1/(P(1+m)))`` in
    coin, that is ``q_coin·m/(1+m)``. Inverse options: ``V(F')/F' − V(F)/F`` in coin, each
    scenario converted at its own price. Volatility is held per strike (sticky strike).
    """
    registry, scenarios = plan.registry, plan.scenarios
    terms = registry.terms
    size, columns = len(registry), scenarios.size
    padded = np.zeros((size, -(-columns // LANES) * LANES))
    pnl = padded[:, :columns]
    base = np.zeros(size)
    for u, (linear, options) in enumerate(zip(plan.linear, plan.options)):
        if linear.size:
            _linear_rows(terms.inverse[linear], linear, view, scenarios.move_linear[u], pnl, base)
        if options.size:
            _option_rows(registry, options, view, scenarios, u, kernel, pnl, base)
    if discount is not None:
        pnl *= discount[:, None]
        base *= discount
    if np.any(terms.contract_size != 1.0):
        pnl *= terms.contract_size[:, None]
        base *= terms.contract_size
    return RiskTable(pnl=pnl, base=base, scenarios=scenarios)


def _linear_rows(
    inverse: NDArray[np.bool_],
    rows: NDArray[np.int64],
    view: MarketView,
    move: Floats,
    pnl: Floats,
    base: Floats,
) -> None:
    fixed = view.price_fixed[rows][:, None]
    variable = view.price_variable[rows][:, None]
    now = fixed + variable
    then = fixed + variable * (1.0 + move)
    with np.errstate(divide="ignore", invalid="ignore"):
        inv = inverse[:, None]
        pnl[rows] = np.where(inv, 1.0 / now - 1.0 / then, then - now)
        base[rows] = np.where(inverse, 1.0 / now[:, 0], now[:, 0])


def _option_rows(
    registry: Registry,
    rows: NDArray[np.int64],
    view: MarketView,
    scenarios: ScenarioSet,
    u: int,
    kernel: Kernel,
    pnl: Floats,
    base: Floats,
) -> None:
    terms = registry.terms
    shock = scenarios.shocks[u]
    fixed, variable = view.price_fixed[rows], view.price_variable[rows]
    strike, years, sigma = terms.strike[rows], view.years[rows], view.vol[rows]
    multiplier = vol_multiplier(
        shock, years, scenarios.reference_days, reference_is_short=scenarios.reference_is_short
    )
    if scenarios.turned.any() and shock.turn is not None:
        turned = turned_multiplier(shock.turn, strike, fixed + variable, years)
        multiplier = np.concatenate([multiplier, turned], axis=1)
    vols = sigma[:, None] * multiplier
    vols[:, 1] = np.maximum(vols[:, 1], shock.vol_floor_up)
    move = scenarios.move[u]
    then = price_grid(
        fixed,
        variable,
        strike,
        years,
        terms.is_call[rows],
        move,
        vols,
        scenarios.vol_state,
        kernel=kernel,
    )
    forward = fixed + variable
    now = black76(forward, strike, years, sigma, terms.is_call[rows])
    inverse = terms.inverse[rows]
    if inverse.any():
        # One array, in place: this is the largest thing the table touches.
        unit = variable[:, None] * (1.0 + move)
        unit += fixed[:, None]
        if not inverse.all():
            unit[~inverse] = 1.0
        then /= unit
    now = np.where(inverse, now / forward, now)
    then -= now[:, None]
    base[rows] = now
    pnl[rows] = then
