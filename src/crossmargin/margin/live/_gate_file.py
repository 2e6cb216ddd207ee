"""An account of a gate, written as an account file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    OrderEntry,
    OrderLeg,
    PositionEntry,
    Quote,
    QuoteGroup,
)
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._layout import COST, POSITION
from crossmargin.margin.live._gate_book import Resting
from crossmargin.margin.live._gate_rest import quote
from crossmargin.margin.live._gate_tables import UNIT_ROWS, VALUED, Tables

Rows = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


def account_entries(tables: Tables, name: str, rows: Rows, resting: Resting | None) -> AccountFile:
    """Return an account file of rows (codes, quantities, entry prices) and resting orders."""
    layout, registry = tables.program.layout, tables.program.registry
    unit = tables.arrays[UNIT_ROWS].reshape(-1, LANES)
    balances, positions = [], []
    for code, quantity, entry in zip(*(x.tolist() for x in rows)):
        item = int(layout.item[code])
        if layout.what[code] == POSITION:
            unpaid = bool(unit[code, VALUED]) or math.isnan(entry)
            positions.append(
                PositionEntry(
                    instrument=registry[item].id,
                    quantity=quantity,
                    entry_price=None if unpaid else entry,
                )
            )
        elif layout.what[code] != COST:
            balances.append(BalanceEntry(asset=registry.assets[item], amount=quantity))
    orders, groups = _resting_entries(tables, resting) if resting is not None else ([], [])
    return AccountFile(
        format="crossmargin-account/1", account=name, balances=balances, positions=positions,
        orders=orders, quote_groups=groups,
    )  # fmt: skip


def _resting_entries(tables: Tables, resting: Resting) -> tuple[list[OrderEntry], list[QuoteGroup]]:
    layout, registry = tables.program.layout, tables.program.registry
    orders: list[OrderEntry] = []
    quotes: dict[int, list[Quote]] = {}
    for name, order in resting.names.items():
        at = resting.legs(order)
        columns: Any = (resting.code[at], resting.quantity[at], resting.price[at])
        legs = [
            (registry[int(layout.item[c])].id, q, None if math.isnan(p) else p)
            for c, q, p in zip(*(x.tolist() for x in columns))
        ]
        if resting.group[order] < 0:
            entries = [OrderLeg(instrument=i, quantity=q, price=p) for i, q, p in legs]
            orders.append(OrderEntry(id=name, legs=entries))
        else:
            quotes.setdefault(int(resting.group[order]), []).append(quote(*legs[0]))
    groups = []
    for g in sorted(quotes):
        limit = resting.groups[g].limit_usd
        groups.append(
            QuoteGroup(
                id=resting.groups[g].id,
                quotes=quotes[g],
                protection_limit_usd=limit if math.isfinite(limit) else None,
            )
        )
    return orders, groups


def file_ids(resting: Resting | None, orders: Sequence[int]) -> list[str]:
    """Return names of orders as :func:`account_entries` writes them: a quote for every side."""
    if resting is None:
        return []
    seen: dict[int, int] = {}
    names = {}
    for name, order in resting.names.items():
        group = int(resting.group[order])
        if group >= 0:
            place = seen.get(group, 0)
            seen[group] = place + 1
            side = "bid" if resting.quantity[resting.legs(order).start] > 0 else "ask"
            name = f"{resting.groups[group].id}/{place}/{side}"
        names[order] = name
    return [names[order] for order in orders]
