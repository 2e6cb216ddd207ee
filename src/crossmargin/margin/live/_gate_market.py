"""A gate's market in motion: tables for new prices, ready in about a millisecond.

Rows of the compiled table are computed directly (:mod:`crossmargin.margin.live._direct`); the
rows of orders follow from them: they are the same revaluation without the profit so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import Registry
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._layout import POSITION
from crossmargin.margin.fused._program import Program
from crossmargin.margin.fused._segments import padded
from crossmargin.margin.live._direct import DirectRows
from crossmargin.margin.live._gate_tables import Tables, tables_at, tables_of
from crossmargin.margin.live._prices import Dependence, at_prices
from crossmargin.margin.live._refresh import in_market
from crossmargin.margin.live._world import World
from crossmargin.market import MarketView, Snapshot, missing_prices

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


#: Columns of a market by instrument.
_COLUMNS = (
    "price_fixed", "price_variable", "vol", "years", "funding_rate_8h", "settled", "rate",
    "confidence",
)  # fmt: skip


class OrderRows(DirectRows):
    """Rows of all contracts, and of orders in them."""

    def of_orders(self, table: Floats, view: MarketView) -> tuple[Floats, Floats, Floats]:
        """Return what filling a unit gains by scenario, what money counts, and values.

        Parameters
        ----------
        table : float64[C, ...]
            Rows at these prices.
        view : MarketView
            The market.

        Returns
        -------
        row, conv : float64[C, 8·nv]
            As in :func:`crossmargin.margin.live._gate_tables.order_rows`.
        value : float64[C]
            Value of a unit in its settlement asset; NaN where a contract has profit instead.
        """
        p, codes = self._program, self._codes
        wide = LANES * p.nv
        rate = self._per(view, self._settle, self._pot)
        gross = table[codes, wide + self._first[0]]
        linear = self._linear_worth(view) * rate
        gross = np.where(self._option, gross, linear)
        row, conv = np.zeros((p.layout.size, wide)), np.zeros((p.layout.size, wide))
        then = table[codes, :wide].copy()
        if self._shocked:
            then -= gross[:, None] * padded(self._held, p.nv)
        if self._dated.any():
            then -= np.where(self._dated, gross, 0.0)[:, None] * padded(self._weight, p.nv)
        row[codes] = then
        conv[codes] = padded(rate[:, None] * self._counted, p.nv)
        value = np.full(p.layout.size, np.nan)
        valued = self._option | self._spot
        value[codes[valued]] = (gross / rate)[valued]
        return row, conv, value


class GateMarket:
    """The market that a gate's tables are made of.

    Parameters
    ----------
    program : Program
        Compiled in the market of `snapshot`.
    snapshot : Snapshot
        Where it begins.
    """

    def __init__(self, program: Program, snapshot: Snapshot) -> None:
        self._registry, self._epochs = program.registry, count()
        self._begin(program, snapshot)
        self.tables = tables_of(program, lambda: snapshot, next(self._epochs))

    def _begin(self, program: Program, snapshot: Snapshot) -> None:
        self._program, self._snapshot = program, snapshot
        self._world = World(snapshot, self._registry)
        self._view = program.units.frame.view
        self._dependence = Dependence(program)
        self._direct: dict[frozenset[int], DirectRows] = {}
        layout = program.layout
        held = np.flatnonzero(layout.what == POSITION)
        try:
            self._orders: OrderRows | None = OrderRows(program, held) if program.scanned else None
            self._known = True
        except LookupError:
            self._known = False

    def anew(self, snapshot: Snapshot) -> Tables:
        """Return tables in another market of the same instruments: every row anew.

        What it has no price for stays without one: who holds or orders it is not judged here.
        """
        view, missing = self._whole(snapshot)
        program = in_market(self._program, view)
        self._begin(program, snapshot)
        self.tables = tables_of(program, lambda: snapshot, next(self._epochs), missing)
        return self.tables

    def _whole(self, snapshot: Snapshot) -> tuple[MarketView, tuple[Ints, Ints]]:
        """Return a market's columns, what it lacks as it was, and what that is."""
        view, missing = missing_prices(snapshot, self._registry, range(len(self._registry)))
        old = self._view
        items = np.array(sorted(missing), dtype=np.int64)
        assets = np.flatnonzero(np.isnan(view.asset_usd) & ~np.isnan(old.asset_usd))
        changed = {}
        for name in _COLUMNS:
            column = getattr(view, name).copy()
            column[items] = getattr(old, name)[items]
            changed[name] = column
        usd = view.asset_usd.copy()
        usd[assets] = old.asset_usd[assets]
        return replace(view, asset_usd=usd, **changed), (items, assets)

    def at(self, prices_usd: Mapping[str, float]) -> Tables:
        """Return tables with some assets at other prices, the rest as they last were.

        Raises
        ------
        MarketDataError
            ``MKT-001`` for an asset without a price, ``MKT-009`` for a price that is none.
        """
        world = self._world
        world.set_prices(prices_usd)
        prices = dict(world.prices_usd)
        snapshot = partial(_moved, self._snapshot, self._registry, prices)
        if not self._known:
            view, missing = self._whole(snapshot())
            program = in_market(self._program, view)
            self.tables = tables_of(program, snapshot, next(self._epochs), missing)
            return self.tables
        view = world.moved_view(self._view, self._registry.terms)
        moved = frozenset(self._registry.asset(name) for name in prices_usd)
        rows = self._direct.get(moved)
        if rows is None:
            rows = DirectRows(self._program, self._dependence.codes(moved))
            self._direct[moved] = rows
        program = at_prices(self.tables.program, rows, view)
        found = None if self._orders is None else self._orders.of_orders(program.table, view)
        self.tables = tables_at(self.tables, program, snapshot, next(self._epochs), found)
        return self.tables


def _moved(base: Snapshot, registry: Registry, prices: Mapping[str, float]) -> Snapshot:
    world = World(replace(base), registry)
    world.set_prices(prices)
    return world.snapshot()
