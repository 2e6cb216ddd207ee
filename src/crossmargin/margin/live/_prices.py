"""A program at other prices: which codes they decide, and what changes beside the table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.components import PegFactor
from crossmargin.margin.fused._combine import SCAN_COLUMN, combination
from crossmargin.margin.fused._kernel import DISCOUNT
from crossmargin.margin.fused._layout import POSITION
from crossmargin.margin.fused._program import Program
from crossmargin.margin.fused._shapes import shape_of
from crossmargin.margin.fused._units import Units, charge_of
from crossmargin.margin.kernels._vector import aligned_empty
from crossmargin.margin.live._direct import DirectRows, dollars
from crossmargin.market import MarketView

Ints = NDArray[np.int64]


class Dependence:
    """Which codes of a program each asset's price decides."""

    def __init__(self, program: Program) -> None:
        layout, terms = program.layout, program.registry.terms
        assets = len(program.registry.assets)
        touch = np.zeros((assets, layout.size), dtype=bool)
        everyone = np.arange(layout.size)
        held = layout.what == POSITION
        item = layout.item[held]
        for column in (terms.underlying, terms.settlement, terms.quote):
            touch[column[item], everyone[held]] = True
        touch[layout.item[~held], everyone[~held]] = True
        for other in (layout.pot_asset[layout.pot], layout.group_asset[layout.group]):
            known = other >= 0
            touch[other[known], everyone[known]] = True
        self._touch = touch

    def codes(self, assets: Collection[int]) -> Ints:
        """Return the codes whose rows some prices decide; others stay as they are."""
        return np.flatnonzero(self._touch[list(assets)].any(axis=0))


def at_prices(program: Program, rows: DirectRows, view: MarketView) -> Program:
    """Return the program at other prices, `rows` computed anew.

    Parameters
    ----------
    program : Program
        As it was; its own arrays stay.
    rows : DirectRows
        Everything that the prices decide.
    view : MarketView
        The market.
    """
    table = aligned_empty(program.table.shape)
    table[:] = program.table
    rows.fill(table, view)
    layout = program.layout
    usd = np.where(dollars(program), 1.0, view.asset_usd)
    pot_usd = np.where(layout.pot_asset < 0, 1.0, usd[np.maximum(layout.pot_asset, 0)])
    terms = program.segment_terms
    if program.mode != DISCOUNT and not np.array_equal(pot_usd, program.pot_usd):
        # Caps and dampeners are stated in US dollars, and held in the pot's numeraire.
        first = np.searchsorted(layout.segment, np.arange(terms.shape[0]))
        grown = (program.pot_usd / pot_usd)[layout.pot[first]]
        terms = terms.copy()
        terms[:, 1:3] *= grown[:, None]
    units = program.units.in_market(view)
    return replace(
        program,
        table=table,
        segment_terms=terms,
        pot_usd=pot_usd,
        mark=view.price_fixed + view.price_variable,
        units=units,
        **_levels(program, units),
    )


def _levels(program: Program, units: Units) -> dict[str, Any]:
    """Return what changes where a figure that all groups have in common depends on a price."""
    level = dict(program.level)
    for spec in program.ruleset.data.components:
        if isinstance(spec, PegFactor):
            found = charge_of(units, spec, 1.0)
            level[spec.name] = (float(found.im[0]), float(found.mm[0]))
    if level == program.level:
        return {}
    shaped = [shape_of(spec) for spec in program.ruleset.data.components]
    columns = {
        name: part
        for name, part in program.combine.parts.items()
        if part[0][0] > SCAN_COLUMN or part[1][0] > SCAN_COLUMN
    }
    return {"level": level, "combine": combination(program.ruleset, shaped, columns, level)}
