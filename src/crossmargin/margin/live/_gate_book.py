"""The rows of a book that is traded: accounts side by side, with room for what they buy next.

A row is a code, a quantity and an entry price, 24 bytes; the rows of an account lie together, so
that an account that was not looked at for long costs a few waits for memory and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook
from crossmargin.instruments import KIND_CODE
from crossmargin.margin.fused._holdings import _change as level_between
from crossmargin.margin.fused._holdings import level_table
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._program import Program
from crossmargin.margin.kernels._vector import aligned_empty
from crossmargin.margin.live._address import block_of
from crossmargin.margin.live._gate_blocks import CELLS, WORK
from crossmargin.margin.live._gate_tables import cost_codes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Rows that an account has beyond those it uses.
SPARE = 4

#: Legs, and orders that go, in one question.
MOST_LEGS = 256


class Rows:
    """Rows of all accounts, and the scratch of checks.

    Attributes
    ----------
    header : int64[A, 4]
        First row, rows in use (low 32 bits) and had (high), slot of resting orders (0: none).
    rows : float64[N, 3]
        Quantity, entry price (NaN where there is none), and code with level as an integer.
    """

    def __init__(self, program: Program, book: CompactBook, mark: Floats) -> None:
        layout, terms = program.layout, program.registry.terms
        carried = np.isin(terms.kind, [KIND_CODE["perpetual"], KIND_CODE["future"]])
        cost = np.where(carried, cost_codes(layout, program)[terms.settlement], -1)
        self._ids = level_table(layout)
        args = (
            book.position_start, book.position_instrument, book.position_quantity,
            book.position_entry, book.balance_start, book.balance_asset, book.balance_amount,
            layout.of_instrument, layout.of_stressed, cost, terms.inverse, terms.contract_size,
            mark, carried,
        )  # fmt: skip
        size = book.regular
        longest = 2 * int(np.diff(book.position_start).max(initial=0))
        longest += int(np.diff(book.balance_start).max(initial=0))
        self.header = np.zeros((size, 4), dtype=np.int64)
        _fill(*args, self.header, np.empty((0, 3)), np.empty((0, 3), np.int64), self._ids,
              longest, True)  # fmt: skip
        count = self.header[:, 1]
        room = count + SPARE
        self.header[1:, 0] = np.cumsum(room)[:-1]
        self._used = int(room.sum())
        self._own(aligned_empty((self._used + max(1024, self._used // 16), 3)))
        self.rows[:] = 0.0
        _fill(*args, self.header, self.rows, self.keys, self._ids, longest, False)
        self.header[:, 1] |= room << 32
        self.slots: list[Resting | None] = [None]
        self._scratch(program)

    def _own(self, rows: Floats) -> None:
        self.rows, self.keys = rows, rows.view(np.int64)

    @property
    def size(self) -> int:
        """Number of accounts."""
        return int(self.header.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of rows and headers, without resting orders."""
        return self.header.nbytes + self.rows.nbytes

    def _scratch(self, program: Program) -> None:
        layout, steps = program.layout, program.combine.im
        wide = LANES * program.nv
        codes = layout.size + 8
        segments, groups = int(layout.segment[-1]) + 1, layout.group_asset.size
        buckets, pots = int(layout.bucket[-1]) + 1, layout.pot_asset.size
        records, columns = 6 * groups + 8, program.lanes.columns.shape[0]
        # With prices, steps may come that were left out: each part at most once more.
        depth = steps.depth + len(program.ruleset.data.components) + 2
        self._empty = Resting(program)
        self.slot_address = np.zeros(16, dtype=np.int64)
        self.slot_address[0] = self._empty.address
        sizes: dict[int, NDArray[Any]] = {
            4: np.zeros(codes, np.uint32), 5: np.zeros(codes, np.uint8),
            6: np.zeros(codes), 7: np.zeros(codes), 8: np.zeros(codes),
            9: aligned_empty(segments * wide + LANES), 10: aligned_empty(wide + 2 * LANES),
            11: aligned_empty(wide + 2 * LANES), 12: aligned_empty(wide + 2 * LANES),
            13: aligned_empty(wide + LANES), 14: aligned_empty(4 * LANES),
            15: np.zeros(columns * records), 16: np.zeros(depth * records),
            17: np.zeros(records), 18: np.zeros(4 * groups + 4, np.int64),
            19: np.zeros(segments * wide + 1), 20: np.zeros(buckets + 1),
            21: np.zeros(buckets + 1), 22: np.zeros(groups + 1), 23: np.zeros(groups + 1),
            24: aligned_empty(CELLS * max(wide, 1)), 25: np.zeros(CELLS, np.int64),
            26: np.zeros(8 * MOST_LEGS, np.int64), 27: np.zeros(16 * pots),
            28: np.zeros(1, np.int64), 29: np.zeros(codes),
            32: np.zeros(2 * MOST_LEGS, np.int64), 33: np.zeros(2 * MOST_LEGS, np.int64),
            34: np.zeros(MOST_LEGS, np.int64), 35: np.zeros(MOST_LEGS, np.int64),
            36: np.zeros(2 * MOST_LEGS), 37: np.zeros(2 * MOST_LEGS),
            30: aligned_empty(segments * wide + LANES), 31: aligned_empty(segments * wide + LANES),
        }  # fmt: skip
        self._arrays = sizes
        self._shape = (records, columns, depth)
        self.block = np.zeros(2 * WORK + 4, dtype=np.int64)
        self.repoint()

    def repoint(self) -> None:
        """Write the addresses of all arrays anew, after one of them has moved."""
        arrays = {0: self.header.reshape(-1), 1: self.rows.reshape(-1), 2: self.keys.reshape(-1),
                  3: self.slot_address, **self._arrays}  # fmt: skip
        for k, array in arrays.items():
            self.block[2 * k : 2 * k + 2] = block_of([array])
        self.block[2 * WORK : 2 * WORK + 3] = self._shape

    @property
    def address(self) -> int:
        """Address of the block."""
        return int(self.block.ctypes.data)

    # ------------------------------------------------------------------ one account's rows

    def of(self, account: int) -> tuple[Ints, Floats, Floats]:
        """Return codes, quantities and entry prices of an account."""
        first = int(self.header[account, 0])
        last = first + int(self.header[account, 1] & 0xFFFFFFFF)
        return (
            self.keys[first:last, 2] & 0xFFFFFFFF,
            self.rows[first:last, 0].copy(),
            self.rows[first:last, 1].copy(),
        )

    def put(self, account: int, codes: Ints, quantity: Floats, entry: Floats) -> None:
        """Replace the rows of an account; they move when there is no room.

        Parameters
        ----------
        account : int
            Number of the account.
        codes : int64[n]
            Sorted, each once.
        quantity, entry : float64[n]
            As in `rows`.
        """
        n = codes.size
        room = int(self.header[account, 1] >> 32)
        first = int(self.header[account, 0])
        if n > room:
            room = n + SPARE
            if self._used + room > self.rows.shape[0]:
                wider = aligned_empty((self.rows.shape[0] + max(room, self._used // 8), 3))
                wider[: self._used] = self.rows[: self._used]
                # Checks in other threads read the old rows until the block points to the new.
                old = self.rows, self.keys
                self._own(wider)
                self.repoint()
                del old
            first, self._used = self._used, self._used + room
        _write(self.header, self.rows, self.keys, self._ids, account, first, room, codes,
               quantity, entry)  # fmt: skip

    def resting(self, account: int) -> Resting | None:
        """Return the resting orders of an account, if it has any."""
        place = int(self.header[account, 2])
        return self.slots[place] if place > 0 else None

    def open_slot(self, account: int, program: Program) -> Resting:
        """Return the resting orders of an account, made if there are none."""
        known = self.resting(account)
        if known is None:
            known = Resting(program)
            self.slots.append(known)
            place = len(self.slots) - 1
            if place >= self.slot_address.size:
                wider = np.zeros(2 * self.slot_address.size, dtype=np.int64)
                wider[: self.slot_address.size] = self.slot_address
                old = self.slot_address
                self.slot_address = wider
                self.repoint()
                del old
            self.slot_address[place] = known.address
            self.header[account, 2] = place
        return known

    def moved(self, account: int) -> None:
        """Note that the resting orders of an account lie elsewhere."""
        place = int(self.header[account, 2])
        known = self.slots[place]
        assert known is not None
        self.slot_address[place] = known.address
        known.settled()


@dataclass(frozen=True, slots=True)
class QuoteLimit:
    """A quote group: its id and protection limit in US dollars (``inf``: none)."""

    id: str
    limit_usd: float


class Resting:
    """Open orders of one account, and what they add in every scenario.

    Legs of an order lie together. Sums belong to one market (`head[1]`) and are made afresh on
    the first check in another.
    """

    def __init__(self, program: Program) -> None:
        layout = program.layout
        self._bucket, self._worst = layout.bucket, program.ruleset.data.orders.method
        self._wide = LANES * program.nv if self._worst == "worst-fill" else 0
        self._segments = int(layout.segment[-1]) + 1
        self._first = _first_codes(program)
        self.names: dict[str, int] = {}
        self.groups: list[QuoteLimit] = []
        self.head = np.zeros(8, dtype=np.int64)
        self.head[1] = -1
        self.span, self.group = np.zeros(2, np.int64), np.full(1, -1, np.int64)
        self.live = np.zeros(1, np.uint8)
        self.code = np.zeros(1, np.int64)
        self.quantity, self.price = np.zeros(1), np.zeros(1)
        self.losses = aligned_empty(self._segments * self._wide + 1)
        self.up, self.down = (np.zeros(int(layout.bucket[-1]) + 2) for _ in range(2))
        self.more, self.less = (np.zeros(layout.group_asset.size + 1) for _ in range(2))
        self.limit, self.totals = np.full(1, np.inf), np.zeros(0)
        self.phantoms = np.zeros(0, np.int64)
        self.gross = np.zeros(1)
        self._legs = 0
        self._free: dict[int, list[int]] = {}
        self._past: list[object] = []
        self._repoint()

    def _repoint(self) -> None:
        arrays = (
            self.head, self.span, self.group, self.live, self.code, self.quantity, self.price,
            self.losses, self.up, self.down, self.more, self.less, self.limit, self.totals,
            self.phantoms, self.gross,
        )  # fmt: skip
        block = block_of(arrays)
        # Checks in other threads read the old arrays until `settled` is called.
        self._past.append((block, arrays))
        self.address = int(block.ctypes.data)

    def settled(self) -> None:
        """Let go of arrays that nobody points to any more."""
        del self._past[:-1]

    def legs(self, order: int) -> slice:
        """Legs of an order, as a slice of `code`, `quantity` and `price`."""
        return slice(int(self.span[2 * order]), int(self.span[2 * order + 1]))

    def open_group(self, name: str, limit_usd: float) -> int:
        """Return the number of a quote group, made if it is not known."""
        for k, one in enumerate(self.groups):
            if one.id == name:
                return k
        self.groups.append(QuoteLimit(name, limit_usd))
        self.limit = np.array([g.limit_usd for g in self.groups])
        if np.isfinite(self.limit).any():
            self.totals = np.zeros(len(self.groups) * self._segments * self._wide)
        self.head[1] = -1
        self._repoint()
        return len(self.groups) - 1

    def add(self, name: str, codes: Ints, quantity: Floats, price: Floats, group: int) -> int:
        """Store an order, which rests once the compiled ``edit`` has counted it."""
        n = codes.size
        spare = self._free.get(n)
        if spare:
            order = spare.pop()
        else:
            order = int(self.head[0])
            self._grow(order + 1, self._legs + n)
            self.span[2 * order], self.span[2 * order + 1] = self._legs, self._legs + n
            self._legs += n
            self.head[0] = order + 1
        at = self.legs(order)
        self.code[at], self.quantity[at], self.price[at] = codes, quantity, price
        self.group[order] = group
        self.names[name] = order
        self._see(codes)
        return order

    def remove(self, name: str) -> int:
        """Forget an order that is gone by the compiled ``edit``; return its number."""
        order = self.names.pop(name)
        at = self.legs(order)
        self._free.setdefault(at.stop - at.start, []).append(order)
        return order

    def _grow(self, orders: int, legs: int) -> None:
        if orders <= self.group.size and legs <= self.code.size:
            return
        for name, size, fill in (
            ("span", 4 * orders, 0), ("group", 2 * orders, -1), ("live", 2 * orders, 0),
            ("code", 2 * legs, 0), ("quantity", 2 * legs, 0.0), ("price", 2 * legs, 0.0),
        ):  # fmt: skip
            old = getattr(self, name)
            wider = np.full(size, fill, dtype=old.dtype)
            wider[: old.size] = old
            setattr(self, name, wider)
        self._repoint()

    def _see(self, codes: Ints) -> None:
        """Keep one code of every bucket that has an order, so that its group is looked at."""
        mine = np.union1d(self.phantoms, self._first[self._bucket[codes]])
        if mine.size != self.phantoms.size:
            self.phantoms = mine.astype(np.int64)
            self._repoint()


def _first_codes(program: Program) -> Ints:
    """First contract of every bucket."""
    layout = program.layout
    out = np.full(int(layout.bucket[-1]) + 1, -1, dtype=np.int64)
    held = np.flatnonzero(layout.what == 0)[::-1]
    out[layout.bucket[held]] = held
    return out


@numba.njit(cache=True)
def _write(
    header: Any, rows: Any, keys: Any, ids: Any, account: int, first: int, room: int, codes: Any,
    quantity: Any, entry: Any,
) -> None:  # fmt: skip
    """Write the rows of an account: one step for whoever checks meanwhile."""
    for k in range(codes.size):
        level = 6 if k == 0 else level_between(ids, codes[k - 1], codes[k])
        rows[first + k, 0], rows[first + k, 1] = quantity[k], entry[k]
        keys[first + k, 2] = codes[k] | np.int64(level) << 32
    header[account, 0], header[account, 1] = first, codes.size | np.int64(room) << 32


@numba.njit(cache=True)
def _fill(
    p_start: Any, p_item: Any, p_quantity: Any, p_entry: Any, b_start: Any, b_item: Any,
    b_amount: Any, of_instrument: Any, of_balance: Any, cost: Any, inverse: Any, size: Any,
    mark: Any, carried: Any, header: Any, rows: Any, keys: Any, ids: Any, longest: int,
    counting: bool,
) -> None:  # fmt: skip
    """Gather, sort and join the rows of each account; only count them where `counting`."""
    codes = np.empty(longest + 1, dtype=np.int64)
    units = np.empty(longest + 1)
    entries = np.empty(longest + 1)
    for account in range(p_start.size - 1):
        n = 0
        for row in range(p_start[account], p_start[account + 1]):
            item, q = p_item[row], p_quantity[row]
            entry = np.nan
            if carried[item]:
                entry = p_entry[row]
                if np.isnan(entry):
                    entry = mark[item]
            n = _put(codes, units, entries, n, of_instrument[item], q, entry, inverse[item])
            if cost[item] >= 0:
                paid = q * size[item] / entry if inverse[item] else -q * size[item] * entry
                n = _put(codes, units, entries, n, cost[item], paid, np.nan, False)
        for row in range(b_start[account], b_start[account + 1]):
            if b_amount[row] != 0.0:
                held = of_balance[b_item[row]]
                n = _put(codes, units, entries, n, held, b_amount[row], np.nan, False)
        if counting:
            header[account, 1] = n
            continue
        at = header[account, 0]
        for k in range(n):
            level = 6 if k == 0 else level_between(ids, codes[k - 1], codes[k])
            rows[at + k, 0], rows[at + k, 1] = units[k], entries[k]
            keys[at + k, 2] = codes[k] | np.int64(level) << 32


@numba.njit(cache=True, inline="always")
def _put(
    codes: Any, units: Any, entries: Any, n: int, code: int, quantity: float, entry: float,
    inverse: bool,
) -> int:  # fmt: skip
    """Insert a row in order of its code, or add to it; return the number of rows."""
    place = n
    while place > 0 and codes[place - 1] >= code:
        place -= 1
    if place < n and codes[place] == code:
        held = units[place]
        units[place] += quantity
        if not np.isnan(entry) and units[place] != 0.0:
            if inverse:
                entries[place] = units[place] / (held / entries[place] + quantity / entry)
            else:
                entries[place] = (held * entries[place] + quantity * entry) / units[place]
        return n
    for k in range(n, place, -1):
        codes[k], units[k], entries[k] = codes[k - 1], units[k - 1], entries[k - 1]
    codes[place], units[place], entries[place] = code, quantity, entry
    return n + 1
