"""Holdings: what every account has, as codes and quantities in the order of a layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook
from crossmargin.instruments import KIND_CODE
from crossmargin.margin.fused._layout import ACCOUNT, BUCKET, POT, Layout
from crossmargin.margin.fused._program import Program

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Accounts in compressed sparse rows of codes.

    Attributes
    ----------
    start : int64[A + 1]
        Row pointers.
    code : uint16[N] or uint32[N]
        Sorted within an account; each at most once.
    quantity : float64[N]
        Units of a contract, of an asset, or of the settlement asset paid (costs).
    level : uint8[N + 1]
        Coarsest level at which a row differs from the one before it; ``ACCOUNT`` after the last.
    kept : dict
        What readers have worked out from the rows and want again.
    """

    start: Ints
    code: NDArray[Any]
    quantity: Floats
    level: NDArray[np.uint8]
    kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Number of accounts."""
        return int(self.start.size) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return sum(a.nbytes for a in (self.start, self.code, self.quantity, self.level))


def level_table(layout: Layout) -> NDArray[np.int32]:
    """Level ids of each code, coarse to fine, and whether it is cash, shape ``[C, 6]``."""
    cash = (layout.group_asset[layout.group] < 0).astype(np.int32)
    columns = [layout.pot, layout.group, layout.segment, layout.bucket, layout.strike, cash]
    return np.ascontiguousarray(np.stack(columns, axis=1))


def holdings_of(book: CompactBook, program: Program) -> Holdings:
    """Lay the regular accounts of a book out for a program.

    A contract of one account that appears twice is added up; contracts without an entry price
    are taken as entered at the program's mark.

    Parameters
    ----------
    book : CompactBook
        Accounts.
    program : Program
        Compiled for everything the book holds.
    """
    layout, terms = program.layout, program.registry.terms
    size = terms.contract_size
    linear = np.isin(terms.kind, [KIND_CODE["perpetual"], KIND_CODE["future"]])
    cost = np.where(linear, layout.of_cost[terms.settlement], -1).astype(np.int64)
    width = np.diff(book.position_start) * 2 + np.diff(book.balance_start)
    start = np.zeros(book.regular + 1, dtype=np.int64)
    longest = int(width.max(initial=0))
    args = (
        book.position_start, book.position_instrument, book.position_quantity,
        book.position_entry, book.balance_start, book.balance_asset, book.balance_amount,
        layout.of_instrument, layout.of_balance, layout.of_stressed, cost,
        terms.inverse, size, program.mark, program.ruleset.data.collateral.stress_idle,
    )  # fmt: skip
    _fill(*args, start, np.empty(0, np.uint32), np.empty(0), np.empty(0, np.uint8),
          level_table(layout), longest, True)  # fmt: skip
    np.cumsum(start, out=start)
    rows = int(start[-1])
    narrow = np.uint16 if layout.size <= np.iinfo(np.uint16).max else np.uint32
    code = np.empty(rows, dtype=narrow)
    quantity = np.empty(rows)
    level = np.full(rows + 1, ACCOUNT, dtype=np.uint8)
    _fill(*args, start, code, quantity, level, level_table(layout), longest, False)
    return Holdings(start=start, code=code, quantity=quantity, level=level)


def protected_accounts(program: Program, holdings: Holdings) -> NDArray[np.bool_]:
    """Return which accounts hold anything whose price is not trusted."""
    out = np.zeros(holdings.size, dtype=bool)
    if program.protected.any():
        rows = np.flatnonzero(program.protected[holdings.code])
        out[np.searchsorted(holdings.start, rows, side="right") - 1] = True
    return out


@numba.njit(nogil=True, cache=True)
def _fill(
    p_start: Any, p_item: Any, p_quantity: Any, p_entry: Any, b_start: Any, b_item: Any,
    b_amount: Any, of_instrument: Any, of_balance: Any, of_stressed: Any, cost: Any,
    inverse: Any, size: Any, mark: Any, idle: bool, start: Any, code: Any, quantity: Any,
    level: Any, ids: Any, longest: int, counting: bool,
) -> None:  # fmt: skip
    """Gather, sort and join the rows of each account; only count them where `counting`."""
    keys = np.empty(longest + 1, dtype=np.int64)
    units = np.empty(longest + 1)
    for account in range(p_start.size - 1):
        n = 0
        live = idle or p_start[account] < p_start[account + 1]
        for row in range(b_start[account], b_start[account + 1]):
            live = live or b_amount[row] < 0
        for row in range(p_start[account], p_start[account + 1]):
            item, q = p_item[row], p_quantity[row]
            n = _put(keys, units, n, of_instrument[item], q)
            if cost[item] >= 0:
                entry = p_entry[row]
                if np.isnan(entry):
                    entry = mark[item]
                paid = q * size[item] / entry if inverse[item] else -q * size[item] * entry
                n = _put(keys, units, n, cost[item], paid)
        for row in range(b_start[account], b_start[account + 1]):
            if b_amount[row] != 0.0:
                item = b_item[row]
                held = of_stressed[item] if live else of_balance[item]
                n = _put(keys, units, n, held, b_amount[row])
        if counting:
            start[account + 1] = n
            continue
        at = start[account]
        for k in range(n):
            code[at + k] = keys[k]
            quantity[at + k] = units[k]
            level[at + k] = ACCOUNT if k == 0 else _change(ids, keys[k - 1], keys[k])


@numba.njit(nogil=True, cache=True, inline="always")
def _put(keys: Any, units: Any, n: int, key: int, quantity: float) -> int:
    """Insert a row in order of its key, or add to it; return the number of rows."""
    place = n
    while place > 0 and keys[place - 1] >= key:
        place -= 1
    if place < n and keys[place] == key:
        units[place] += quantity
        return n
    for k in range(n, place, -1):
        keys[k] = keys[k - 1]
        units[k] = units[k - 1]
    keys[place] = key
    units[place] = quantity
    return n + 1


@numba.njit(nogil=True, cache=True, inline="always")
def _change(ids: Any, before: int, after: int) -> int:
    """Return the coarsest level at which two codes differ."""
    if ids[before, 0] != ids[after, 0]:
        return POT
    if ids[after, 5] == 1:
        # What only counts as money joins the record before it.
        return BUCKET
    for column in range(5):
        if ids[before, column] != ids[after, column]:
            return 5 - column
    return 0
