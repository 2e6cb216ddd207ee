"""A fill in the rows of an account: positions, what was paid for them, and cash."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._probe import filled_row
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._layout import COST
from crossmargin.margin.live._gate_tables import CASH, UNIT_ROWS, Tables

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Held:
    """Rows of one account by code: quantity and entry price."""

    def __init__(self, codes: Ints, quantity: Floats, entry: Floats) -> None:
        columns = zip(codes.tolist(), quantity.tolist(), entry.tolist())
        self.rows: dict[int, tuple[float, float]] = {c: (q, e) for c, q, e in columns}

    def add(self, code: int, amount: float) -> None:
        """Add an amount to a row that has no entry price."""
        self.rows[code] = (self.rows.get(code, (0.0, math.nan))[0] + amount, math.nan)

    def sorted(self) -> tuple[Ints, Floats, Floats]:
        """Return codes, quantities and entries in order, without what is nothing."""
        codes = sorted(c for c, (q, _) in self.rows.items() if q != 0.0)
        quantity = np.array([self.rows[c][0] for c in codes])
        entry = np.array([self.rows[c][1] for c in codes])
        return np.array(codes, dtype=np.int64), quantity, entry


def book_fill(tables: Tables, held: Held, legs: Sequence[tuple[int, float, float | None]]) -> None:
    """Book legs that fill together, at a price each or at the mark; fees as the rules state.

    The accounting is that of :class:`crossmargin.margin._probe.OrderProbe`.
    """
    layout, unit = tables.program.layout, tables.arrays[UNIT_ROWS].reshape(-1, LANES)
    cash = tables.arrays[CASH].reshape(-1, 2)
    for code, quantity, price in legs:
        size, mark, valued, inverse, fee = unit[code, :5].tolist()
        p = mark if price is None else float(price)
        paid = -abs(quantity) * fee
        before, entry = held.rows.get(code, (0.0, math.nan))
        if valued:
            paid -= quantity * p * size
            held.rows[code] = (before + quantity, math.nan)
        else:
            after, then, gain = filled_row(before, entry, quantity, p, inverse=bool(inverse))
            held.rows[code] = (after, then)
            paid += gain * size
        held.add(int(cash[code, 0]), paid)
    for cost in np.flatnonzero(layout.what == COST).tolist():
        mine = [c for c in held.rows if cash[c, 1] == cost]
        total = sum(_paid(unit[c], *held.rows[c]) for c in mine if held.rows[c][0])
        held.rows[cost] = (total, math.nan)


def _paid(unit: Any, quantity: float, entry: float) -> float:
    """Return what a position cost, as its row counts it: of contracts with profit."""
    return float(quantity * unit[0] / entry if unit[3] else -quantity * unit[0] * entry)
