"""Scenario lanes of a table, and what the netted change of a segment counts as."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin.components import Scan
from crossmargin.margin.fused._kernel import ALONE, DISCOUNT, OFFSET
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._layout import BALANCE, COST, Layout
from crossmargin.margin.fused._shapes import NotFusable
from crossmargin.margin.fused._units import ScanUnits, Units, equities

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentParts:
    """Parameters of φ; see :class:`~crossmargin.margin.fused._program.Program`."""

    mode: int
    terms: Floats
    weight: Floats
    tail: Floats
    flags: Floats


def segment_parts(
    layout: Layout, scan: ScanUnits | None, units: Units, nv: int, spec: Scan | None
) -> SegmentParts:
    """Return what segments count as, and the weights of scenarios by kind of group.

    Raises
    ------
    NotFusable
        When a static discount stands beside offsets or tails.
    """
    segments = int(layout.segment[-1]) + 1
    groups = layout.group_asset.size
    terms = np.zeros((segments, 4))
    weight = np.ones((groups, LANES * nv))
    tail, turned = np.zeros(LANES * nv), np.zeros(LANES * nv)
    if scan is None or spec is None:
        terms[:, :2] = 1.0
        return SegmentParts(mode=ALONE, terms=np.zeros((segments, 4)), weight=weight, tail=tail,
                            flags=turned)  # fmt: skip
    scenarios = units.frame.table.scenarios
    tail[:] = padded(scenarios.extended.astype(np.float64), nv)
    turned[:] = padded(scenarios.turned.astype(np.float64), nv)
    moving = np.flatnonzero(layout.what[units.codes] != BALANCE)
    codes = units.codes[moving]
    weight[layout.group[codes]] = padded(scan.weight[moving], nv)
    plain = (scan.offset[moving] == 1.0) & np.isinf(scan.cap[moving])
    if scenarios.extended.any():
        plain &= (scan.dampener[moving] == 0.0) & spec.tail_gains_count
    if spec.static_discount is not None or (turned.any() and plain.all()):
        if not plain.all():
            raise NotFusable("a static discount stands beside offsets")
        terms[:, :2] = 1.0
        terms[layout.segment[codes], :2] = np.stack([scan.long, scan.short], axis=1)[moving]
        return SegmentParts(mode=DISCOUNT, terms=terms, weight=weight, tail=tail, flags=turned)
    if turned.any():
        raise NotFusable("turned surfaces stand beside offsets")
    terms[:, 0], terms[:, 1] = 1.0, np.inf
    terms[layout.segment[codes], :3] = np.stack([scan.offset, scan.cap, scan.dampener], 1)[moving]
    flags = np.ones(LANES * nv) if spec.tail_gains_count else 1.0 - tail
    pairs = np.unique(
        np.stack([layout.group, layout.segment], axis=1)[layout.what != BALANCE], axis=0
    )
    scanned = pairs[layout.group_asset[pairs[:, 0]] >= 0]
    alone = np.unique(scanned[:, 0]).size == scanned.shape[0]
    mode = ALONE if alone and _one_allowance(layout, terms) else OFFSET
    return SegmentParts(mode=mode, terms=terms, weight=weight, tail=tail, flags=flags)


def _one_allowance(layout: Layout, terms: Floats) -> bool:
    """Give cash the allowance of its pot's segments, whose records it may end.

    Returns
    -------
    bool
        Whether all segments of every pot have the same allowance, so that this can be done.
    """
    cash = layout.group_asset[layout.group] < 0
    for pot in range(layout.pot_asset.size):
        mine = layout.pot == pot
        own = np.unique(terms[layout.segment[mine & ~cash], 2])
        if own.size > 1:
            return False
        if own.size:
            terms[layout.segment[mine & cash], 2] = own[0]
    return True


def padded(values: Floats, nv: int) -> Floats:
    """Fill the lanes beyond the last scenario with the first one, so that they decide nothing."""
    out = np.empty((*values.shape[:-1], LANES * nv))
    out[..., : values.shape[-1]] = values
    out[..., values.shape[-1] :] = values[..., :1]
    return out


def fill_scan(table: Floats, layout: Layout, units: Units, scan: ScanUnits, nv: int) -> None:
    """Write the scenario lanes of all codes."""
    moving = np.flatnonzero(layout.what[units.codes] != BALANCE)
    codes = units.codes[moving]
    then = scan.row[moving] + scan.value[moving][:, None] * scan.weight[moving]
    table[codes, : LANES * nv] = padded(then, nv)
    for code, row, profit in _paid_in(layout, units):
        if layout.group_asset[layout.group[code]] >= 0:
            table[code, : LANES * nv] = padded(scan.paid[row] / profit, nv)


def paid_for(layout: Layout, units: Units) -> Floats:
    """Return what one unit paid adds to equity at both levels, by code, ``[2, C]``; 0 elsewhere.

    It is read off a contract settled in the asset, entered at nothing and at the mark.
    """
    out = np.zeros((2, layout.size))
    gained = equities(units.sized(1.0)) - equities(units.sized(1.0, at_mark=True))
    for code, row, profit in _paid_in(layout, units):
        out[:, code] = gained[:, row] / profit
    return out


def _paid_in(layout: Layout, units: Units) -> list[tuple[int, int, float]]:
    """Return, for each cost code, a contract paid in it and that contract's profit.

    An open contract, for what was paid for one that has expired no longer moves in scenarios; where
    all have expired, only accounts that are computed apart have such a cost.
    """
    frame = units.sized(1.0)
    terms, index = frame.terms, frame.book.position_instrument
    profit, _ = frame.position_values()
    kinds = [KIND_CODE["perpetual"], KIND_CODE["future"]]
    linear = np.isin(terms.kind[index], kinds) & (frame.book.position_quantity != 0)
    live = ~frame.view.settled[index]
    out = []
    for code in np.flatnonzero(layout.what == COST).tolist():
        mine = linear & (terms.settlement[index] == layout.item[code])
        mine = mine & live if (mine & live).any() else mine
        same = mine & (layout.group[units.codes] == layout.group[code])
        rows = np.flatnonzero(same if same.any() else mine)
        if rows.size:
            out.append((code, int(rows[0]), float(profit[rows[0]])))
    return out
