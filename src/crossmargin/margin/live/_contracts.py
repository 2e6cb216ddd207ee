"""Options of a program as curves: growth of the forward, volatility and time of every scenario."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.components import BasisContingency
from crossmargin.margin.fused._program import Program
from crossmargin.margin.live._curves import Options
from crossmargin.margin.live._signed import NotBounded
from crossmargin.scenarios._spec import VOL_STATES
from crossmargin.scenarios._table import vol_multiplier

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def describe_options(program: Program, code: Ints, vol: Floats | None = None) -> Options:
    """Gather contracts and the growth and volatility of each of their curves.

    Parameters
    ----------
    program : Program
        Compiled.
    code : int64[n]
        Codes of options of one underlying.
    vol : float64[n], optional
        Volatilities; default those of the program's market.
    """
    item = program.layout.item[code]
    frame = program.units.frame
    terms, view = frame.terms, frame.view
    years = view.years[item]
    vol = view.vol[item] if vol is None else vol
    forward, strike = view.price[item], terms.strike[item]
    root = np.sqrt(years)
    growth, states = [], np.zeros(0, dtype=np.int64)
    deviation = np.zeros((code.size, 0))
    turned = np.zeros(0, dtype=np.int64)
    tail = np.zeros((code.size, 0))
    turn: tuple[Any, ...] = (tail, tail, tail, np.zeros(0, dtype=bool), tail)
    rest, power = years, 0.0
    if program.scanned:
        s = frame.table.scenarios
        u = s.underlyings.index(
            program.registry.assets[program.layout.group_asset[program.layout.group[code[0]]]]
        )
        growth = list(1.0 + s.move[u])
        states = s.vol_state
        shock = s.shocks[u]
        up, down = shock.vols(s.underlyings[u])
        m = vol_multiplier(shock, years, s.reference_days, reference_is_short=s.reference_is_short)
        vols = np.concatenate([vol[:, None] * m, np.zeros((code.size, 2))], axis=1)
        if shock.vol_unit == "points":
            vols[:, 1], vols[:, 2] = vol + up, np.maximum(0.0, vol - down)
        vols[:, 1] = np.maximum(vols[:, 1], shock.vol_floor_up)
        rest = np.maximum(years - s.horizon_days / 365.0, 0.0)
        then = np.sqrt(rest)
        if shock.vol_unit != "points":
            power = max(shock.short_power, shock.long_power)
        deviation = vols[:, states] * then[:, None]
        turned = np.flatnonzero(s.turned)
        if turned.size:
            turn = _turn(shock.turn, years, vol * then, states[turned])
    moves = [0.0]
    for spec in program.ruleset.data.components:
        if isinstance(spec, BasisContingency):
            moves += [spec.up, spec.down]
    deviation = np.concatenate([deviation] + [(vol * root)[:, None]] * len(moves), axis=1)
    inverse = terms.inverse[item]
    usd = view.asset_usd[terms.settlement[item]]
    rates = frame.rate[item] if program.ruleset.data.discounting == "rate" else np.zeros(item.size)
    unit = terms.contract_size[item] * frame.discount[item] * usd / np.where(inverse, forward, 1.0)
    return Options(
        code=code, forward=forward, strike=strike, years=years, vol=vol, call=terms.is_call[item],
        unit=unit, growth=np.array(growth + [1.0 + m for m in moves]), deviation=deviation,
        today=len(growth),
        turned=turned, turn_slope=turn[0], turn_cap=turn[1], turn_base=turn[2], turn_even=turn[3],
        turn_drift=turn[4], rest=rest, power=power, rate=rates,
    )  # fmt: skip


def _turn(turn: Any, years: Floats, base: Floats, states: Ints) -> tuple[Any, ...]:
    """Terms of the turned surfaces: slope, cap, what is multiplied, whether even, and drift.

    The multiplier is ``1 + clip(x·cap/k*, −cap, cap)``. Where x is within k* its change with time
    is at most ``|cap'| + cap·|k*'|/k*``, beyond it ``|cap'|``.
    """
    root = np.sqrt(years)
    width = turn.k_star_width * root * (turn.vol_static + turn.vol_scale * root)
    k_star = np.maximum(turn.k_star_min, width)
    widening = turn.k_star_width * (turn.vol_static / (2.0 * root) + abs(turn.vol_scale))
    widening = np.where(width >= turn.k_star_min, widening, 0.0)
    cap, drift = [], []
    for state in states.tolist():
        skew = VOL_STATES[state] == "skew"
        at, tenor = (turn.skew_cap, turn.skew_cap_tenor) if skew else (
            turn.smile_cap, turn.smile_cap_tenor
        )  # fmt: skip
        cap.append(at + tenor * root)
        drift.append(abs(tenor) / (2.0 * root) + cap[-1] * widening / k_star)
    caps = np.stack(cap, axis=1)
    if np.any(caps < 0) or np.any(k_star <= 0):
        raise NotBounded("a surface turns by a cap below 0")
    even = np.array([VOL_STATES[state] != "skew" for state in states.tolist()])
    moving = np.repeat(base[:, None], states.size, axis=1)
    return caps / k_star[:, None], caps, moving, even, np.stack(drift, axis=1)
