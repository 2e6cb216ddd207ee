"""The tail of one pot, explained, and held to what delta, gamma and vega would make of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._frame import Frame
from crossmargin.margin._tail import measured
from crossmargin.margin._tail_rows import (
    basis_of,
    group_vectors,
    moves_of,
    require_known,
    spec_of,
    tail_groups,
    tail_rows,
    tail_units,
)
from crossmargin.scenarios import (
    factor_table,
    taylor_check,
)
from crossmargin.stats import (
    shortfall_errors,
    tail_mass,
    tail_quantiles,
    tail_shortfalls,
)

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TailDetail:
    """The tail of one pot, explained; US dollars.

    Attributes
    ----------
    level : float
        Confidence.
    scenarios : int
        Filtered scenarios.
    var, es, es_error : float
        Value at risk and expected shortfall of the filtered past, and the standard error of the
        latter.
    stress, long, broken : float
        Shortfalls of the stressed period, at long volatility, and with dependence broken.
    broken_by : str
        Which broken dependence was worst.
    groups : dict of str to float
        Shortfall of each coin's positions alone.
    worst : list of (str, float)
        Days of the tail with their loss, the worst first.
    stress_from, stress_to : str
        The stressed period.
    """

    level: float
    scenarios: int
    var: float
    es: float
    es_error: float
    stress: float
    long: float
    broken: float
    broken_by: str
    groups: dict[str, float]
    worst: list[tuple[str, float]]
    stress_from: str
    stress_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TailApproximation:
    """The shortfall of a pot by delta, gamma and vega, held to full revaluation; US dollars.

    Attributes
    ----------
    full, approximate : float
        Expected shortfall of the filtered past at the confidence of initial margin.
    used : float
        The approximate one where its error is within the tolerance, else the full one.
    error : float
        Relative to the full one; infinite where that is 0 and the other is not.
    warning : str
        A sentence where the tolerance is exceeded.
    """

    full: float
    approximate: float
    used: float
    error: float
    warning: str


def approximate_tail(frame: Frame, pot: int = 0, *, tolerance: float = 0.05) -> TailApproximation:
    """Measure what delta, gamma and vega would make of a pot's tail (requirements B04).

    Parameters
    ----------
    frame : Frame
        One account.
    pot : int
        Which of its pots.
    tolerance : float
        Relative error of the shortfall that is allowed.
    """
    spec = spec_of(frame.ruleset)
    units, groups = tail_units(frame, spec), tail_groups(frame)
    require_known(frame, units, spec, groups)
    book = frame.book
    move, level = moves_of(frame, units.sets, spec, units.coin)
    basis = basis_of(frame, units.sets, spec, units.coin)
    quick = factor_table(
        book.registry, frame.used, frame.view, move, level, spec.vol, basis=basis, approximate=True
    )
    other = units.rows.copy()
    other[: quick.shape[0]] = quick
    rows = tail_rows(frame, groups, book.position_quantity, book.balance_amount)
    order = np.argsort(rows.group, kind="stable")
    found = []
    for table in (units, replace(units, rows=other)):
        v = group_vectors(table, rows, order, 0, groups.pot.size)
        total = v[groups.pot == pot][:, : units.edges[0]].sum(axis=0)[None, :]
        found.append(max(float(tail_shortfalls(total, spec.level_im)[0]), 0.0))
    check = taylor_check(found[:1], found[1:], tolerance=tolerance)
    warning = ""
    if check.warning:
        warning = (
            f"delta, gamma and vega give a shortfall of {found[1]:,.2f} USD against "
            f"{found[0]:,.2f} USD in full, beyond the {100 * tolerance:.1f} % allowed: "
            "the full one counts."
        )
    return TailApproximation(
        full=found[0],
        approximate=found[1],
        used=float(check.used[0]),
        error=check.worst,
        warning=warning,
    )


def tail_detail(frame: Frame, pot: int = 0) -> TailDetail:
    """Explain the tail of a pot at the confidence of initial margin, without open orders."""
    from crossmargin.margin._stages import Stage

    spec = spec_of(frame.ruleset)
    stage = Stage(frame, frame.book.position_quantity, frame.book.balance_amount, {}, None, False)
    level, _ = measured(stage)
    units, groups = tail_units(frame, spec), tail_groups(frame)
    rows = tail_rows(frame, groups, stage.quantity, stage.amount)
    order = np.argsort(rows.group, kind="stable")
    v = group_vectors(units, rows, order, 0, groups.pot.size)
    mine = groups.pot == pot
    filtered = v[mine][:, : units.edges[0]].sum(axis=0)[None, :]
    worst = np.argsort(filtered[0], kind="stable")[: tail_mass(filtered.size, spec.level_im)[1]]
    s, sets = level.shortfalls, units.sets
    names = frame.book.registry.assets
    own = np.maximum(tail_shortfalls(v[mine][:, : units.edges[0]], spec.level_im), 0.0)
    return TailDetail(
        level=spec.level_im,
        scenarios=sets.filtered.size,
        var=float(tail_quantiles(filtered, spec.level_im)[0]),
        es=float(s.base[pot]),
        es_error=float(shortfall_errors(filtered, spec.level_im)[0]),
        stress=float(s.stress[pot]),
        long=float(s.long[pot]),
        broken=float(s.broken[pot]),
        broken_by=sets.broken[level.binding[pot]] if level.binding[pot] >= 0 else "",
        groups={names[int(g)]: float(x) for g, x in zip(groups.asset[mine], own)},
        worst=[(sets.filtered.labels[k], float(-filtered[0, k])) for k in worst.tolist()],
        stress_from=sets.stress_from,
        stress_to=sets.stress_to,
    )
