"""Where a live book lies: rows by group, parts by account, cash rows by account.

Three stores, each an array that grows at its end:

* a *group* has the rows of everybody who holds something of it, account after account (the
  underlying-major copy): the records that a price tick computes anew lie in one run;
* *slots* hold what each record came to (IM, MM, equity at both levels), the slots of an account
  side by side, so that its pots are summed from a cache line or two;
* *cash* holds rows that no scenario moves, by account; they are valued when they are summed.

A row's quantity is changed where it stands. Where rows come or go, the record is written again at
the end of its group and the old one is dead; likewise the slots and cash rows of an account. A
store with too many dead entries is rewritten (`compact`). So an edit costs what the account
holds, and never what the book holds, but for a rewriting now and then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._layout import ACCOUNT
from crossmargin.margin.fused._program import Program
from crossmargin.margin.live._kernels import CASH, CASHES, SLOT, SLOTS, count_runs, split_runs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Room for what is to come: a share of what is there, and at least so many entries.
_ROOM, _LEAST_ROOM = 32, 64
#: A store is rewritten when one entry in so many is dead, and at least so many are.
_DEAD_SHARE, _LEAST_DEAD = 8, 256


def _roomy(size: int) -> int:
    return size + size // _ROOM + _LEAST_ROOM


def _grown(values: NDArray[Any], used: int, more: int) -> NDArray[Any]:
    """Return an array with room for `more` entries behind those in use."""
    if used + more <= values.shape[0]:
        return values
    out = np.empty((max(used + more, used + used // 4) + _LEAST_ROOM, *values.shape[1:]),
                   values.dtype)  # fmt: skip
    out[:used] = values[:used]
    return out


def _too_many(dead: int, used: int) -> bool:
    return dead > _LEAST_DEAD and dead * _DEAD_SHARE > used


@dataclass(slots=True)
class Group:
    """Rows of one group, record after record.

    Attributes
    ----------
    start : int64[room + 1]
        Row pointers of the records.
    code, quantity, level
        Rows, as in :class:`~crossmargin.margin.fused._holdings.Holdings`: one level more than
        rows, which ends the last record.
    account, slot : int32[room]
        Account and slot of each record; -1 of a dead one.
    records : int
        Records in use, dead ones too.
    dead : int
        Dead records.
    """

    start: Ints
    code: NDArray[Any]
    quantity: Floats
    level: NDArray[np.uint8]
    account: NDArray[np.int32]
    slot: NDArray[np.int32]
    records: int
    dead: int = 0

    @property
    def rows(self) -> int:
        """Rows in use."""
        return int(self.start[self.records])

    def rows_of(self, record: int) -> slice:
        """Where the rows of a record are."""
        return slice(int(self.start[record]), int(self.start[record + 1]))

    def append(
        self, code: Any, quantity: Floats, level: NDArray[np.uint8], account: int, slot: int
    ) -> int:
        """Write a record at the end; return its number."""
        n, at, width = self.records, self.rows, code.size
        self.code = _grown(self.code, at, width)
        self.quantity = _grown(self.quantity, at, width)
        self.level = _grown(self.level, at + 1, width)
        self.start = _grown(self.start, n + 1, 1)
        self.account = _grown(self.account, n, 1)
        self.slot = _grown(self.slot, n, 1)
        end = at + width
        self.code[at:end], self.quantity[at:end], self.level[at:end] = code, quantity, level
        self.level[end] = ACCOUNT
        self.start[n + 1] = end
        self.account[n], self.slot[n] = account, slot
        self.records = n + 1
        return n

    def kill(self, record: int) -> None:
        """Take a record out; its rows stay until the group is rewritten."""
        self.account[record] = self.slot[record] = -1
        self.quantity[self.rows_of(record)] = 0.0
        self.dead += 1

    @property
    def nbytes(self) -> int:
        """Bytes of what is in use."""
        row = self.code.itemsize + self.quantity.itemsize + self.level.itemsize
        record = self.start.itemsize + self.account.itemsize + self.slot.itemsize
        return row * self.rows + record * self.records


@dataclass(slots=True)
class Store:
    """All accounts of a live book; see the module.

    Attributes
    ----------
    groups : list of Group
        By group of the layout; None where nothing is scanned.
    head : int32[A, 4]
        Of each account: its first slot and their number, its first cash row and their number.
        Slots are in the order of groups, cash rows in that of codes.
    slot_group, slot_record : int32[room]
        Group of each slot, and the number of its record there.
    slot_pot : int32[room]
        Kind of pot of each slot.
    part : float64[room, 4]
        What each record came to, in its pot's numeraire: IM, MM, equity at both levels.
    over : uint8[room]
        Whether a figure of it is beyond the limit of a component, a bit for each.
    group_pot : int32[groups]
        Kind of pot of each group.
    limited : bool
        Whether any slot may be beyond a limit.
    cash_code, cash_quantity
        Cash rows.
    """

    groups: list[Group | None]
    head: NDArray[np.int32]
    slot_group: NDArray[np.int32]
    slot_record: NDArray[np.int32]
    slot_pot: NDArray[np.int32]
    part: Floats
    over: NDArray[np.uint8]
    group_pot: NDArray[np.int32]
    cash_code: NDArray[np.int32]
    cash_quantity: Floats
    slots: int
    cash: int
    dead_slots: int = 0
    dead_cash: int = 0
    limited: bool = False

    def group(self, number: int) -> Group:
        """Return a scanned group."""
        found = self.groups[number]
        assert found is not None
        return found

    def slots_of(self, account: int) -> range:
        """Slots of an account."""
        first, count = self.head[account, SLOT:CASH].tolist()
        return range(first, first + count)

    def rows_of(self, account: int) -> tuple[NDArray[Any], Floats, NDArray[np.uint8]]:
        """Return codes, quantities and levels of what an account has in scanned groups.

        The rows are laid out as :class:`Holdings` has them, group after group.
        """
        parts = [
            (g, self.group(g).rows_of(int(self.slot_record[s])))
            for s in self.slots_of(account)
            for g in [int(self.slot_group[s])]
        ]
        if not parts:
            return self.cash_code[:0], np.empty(0), np.empty(0, dtype=np.uint8)
        return (
            np.concatenate([self.group(g).code[at] for g, at in parts]),
            np.concatenate([self.group(g).quantity[at] for g, at in parts]),
            np.concatenate([self.group(g).level[at] for g, at in parts]),
        )

    def cash_of(self, account: int) -> tuple[NDArray[Any], Floats]:
        """Return codes and quantities of an account's cash rows."""
        first, count = self.head[account, CASH:].tolist()
        at = slice(first, first + count)
        return self.cash_code[at], self.cash_quantity[at]

    def replace(
        self,
        account: int,
        code: NDArray[Any],
        quantity: Floats,
        level: NDArray[np.uint8],
        group_of: NDArray[np.int32],
        scanned: NDArray[np.bool_],
    ) -> list[int]:
        """Give an account other rows; return the groups in which its record changed.

        Parameters
        ----------
        account : int
            Account.
        code, quantity, level
            All its rows in the order of codes, cash too.
        group_of, scanned
            Group of each code; whether a group has scenarios.
        """
        kinds = group_of[code]
        moves = scanned[kinds]
        self._replace_cash(account, code[~moves], quantity[~moves])
        rows = np.flatnonzero(moves)
        ends = np.append(np.flatnonzero(np.diff(kinds[rows])) + 1, rows.size)
        runs = {
            int(kinds[rows[first]]): rows[first:last]
            for first, last in zip(np.append(0, ends[:-1]), ends)
            if last > first
        }
        old = {int(self.slot_group[s]): s for s in self.slots_of(account)}
        place = self._place_slots(account, list(runs), old)
        changed = []
        for g, mine in runs.items():
            slot, group = place[g], self.group(g)
            if g in old:
                record = int(self.slot_record[slot])
                at = group.rows_of(record)
                if np.array_equal(group.code[at], code[mine]):
                    if not np.array_equal(group.quantity[at], quantity[mine]):
                        group.quantity[at] = quantity[mine]
                        changed.append(g)
                    continue
                group.kill(record)
            fresh = level[mine].copy()
            fresh[0] = ACCOUNT
            number = group.append(code[mine], quantity[mine], fresh, account, slot)
            self.slot_record[slot] = number
            changed.append(g)
        gone = set(old) - set(runs)
        for g in gone:
            self.group(g).kill(int(self.slot_record[old[g]]))
        self._compact_if_due([*changed, *gone])
        return changed

    def _place_slots(self, account: int, wanted: list[int], old: dict[int, int]) -> dict[int, int]:
        """Give every group of an account a slot; they move to the end where there are others."""
        if wanted == list(old):
            return old
        n, at = len(wanted), self.slots
        for name in ("slot_group", "slot_record", "slot_pot", "part", "over"):
            setattr(self, name, _grown(getattr(self, name), at, n))
        self.over[at : at + n] = 0
        place = {}
        for k, g in enumerate(wanted):
            slot = place[g] = at + k
            self.slot_group[slot] = g
            self.slot_pot[slot] = self.group_pot[g]
            if g in old:
                self.slot_record[slot] = record = self.slot_record[old[g]]
                self.part[slot], self.over[slot] = self.part[old[g]], self.over[old[g]]
                self.group(g).slot[record] = slot
        self.dead_slots += len(old)
        self.slots += n
        self.head[account, SLOT:CASH] = at, n
        return place

    def _replace_cash(self, account: int, code: NDArray[Any], quantity: Floats) -> None:
        have, _ = self.cash_of(account)
        if np.array_equal(have, code):
            first = int(self.head[account, CASH])
            self.cash_quantity[first : first + code.size] = quantity
            return
        at = self.cash
        self.cash_code = _grown(self.cash_code, at, code.size)
        self.cash_quantity = _grown(self.cash_quantity, at, code.size)
        self.cash_code[at : at + code.size] = code
        self.cash_quantity[at : at + code.size] = quantity
        self.dead_cash += int(self.head[account, CASHES])
        self.cash += code.size
        self.head[account, CASH:] = at, code.size

    def _compact_if_due(self, touched: list[int]) -> None:
        for g in touched:
            group = self.group(g)
            if _too_many(group.dead, group.records):
                self.groups[g] = self._rewritten_group(group)
        if _too_many(self.dead_slots, self.slots):
            self._rewrite_slots()
        if _too_many(self.dead_cash, self.cash):
            self._rewrite_cash()

    def _rewritten_group(self, group: Group) -> Group:
        """Write a group without its dead records, in the order of accounts."""
        n = group.records
        alive = np.flatnonzero(group.account[:n] >= 0)
        alive = alive[np.argsort(group.account[alive], kind="stable")]
        take, count = _rows_of_runs(group.start[alive], np.diff(group.start[: n + 1])[alive])
        out = Group(
            start=_with_room(np.concatenate([[0], np.cumsum(count)])),
            code=_with_room(group.code[take]),
            quantity=_with_room(group.quantity[take]),
            level=_with_room(np.append(group.level[take], np.uint8(ACCOUNT))),
            account=_with_room(group.account[alive]),
            slot=_with_room(group.slot[alive]),
            records=alive.size,
        )
        self.slot_record[out.slot[: alive.size]] = np.arange(alive.size)
        return out

    def _rewrite_slots(self) -> None:
        take, count = _rows_of_runs(self.head[:, SLOT], self.head[:, SLOTS])
        for name in ("slot_group", "slot_record", "slot_pot", "part", "over"):
            setattr(self, name, _with_room(getattr(self, name)[take]))
        self.head[:, SLOT] = np.cumsum(count) - count
        self.slots, self.dead_slots = take.size, 0
        kinds, records = self.slot_group[: self.slots], self.slot_record[: self.slots]
        order = np.argsort(kinds, kind="stable")
        for mine in np.split(order, np.flatnonzero(np.diff(kinds[order])) + 1):
            if mine.size:
                self.group(int(kinds[mine[0]])).slot[records[mine]] = mine

    def _rewrite_cash(self) -> None:
        take, count = _rows_of_runs(self.head[:, CASH], self.head[:, CASHES])
        self.cash_code = _with_room(self.cash_code[take])
        self.cash_quantity = _with_room(self.cash_quantity[take])
        self.head[:, CASH] = np.cumsum(count) - count
        self.cash, self.dead_cash = take.size, 0

    def asked(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return heads and cash codes as lines of floats, for compiled code to ask ahead for."""
        return self.head.reshape(-1).view(np.float32), self.cash_code.view(np.float32)

    def nbytes(self) -> dict[str, int]:
        """Bytes in use: rows by group, and the caches beside them."""
        rows = sum(g.nbytes for g in self.groups if g is not None)
        cash = (self.cash_code.itemsize + self.cash_quantity.itemsize) * self.cash
        cash += self.head.nbytes // 2
        slot = 3 * self.slot_group.itemsize + self.over.itemsize
        slots = (slot + self.part.itemsize * self.part.shape[1]) * self.slots
        slots += self.head.nbytes // 2
        return {"rows": rows, "cash": cash, "parts": slots}


def _with_room(values: NDArray[Any]) -> NDArray[Any]:
    out = np.empty((_roomy(values.shape[0]), *values.shape[1:]), dtype=values.dtype)
    out[: values.shape[0]] = values
    return out


def _rows_of_runs(first: NDArray[Any], count: NDArray[Any]) -> tuple[Ints, Ints]:
    """Return the entries of some runs, one run after another, and the length of each."""
    many = count.astype(np.int64)
    ends = np.cumsum(many)
    inside = np.arange(int(ends[-1]) if ends.size else 0) - np.repeat(ends - many, many)
    return np.repeat(first.astype(np.int64), many) + inside, many


def store_of(holdings: Holdings, program: Program) -> Store:
    """Split holdings by group."""
    layout, scanned = program.layout, program.in_group
    size, groups = holdings.size, layout.group_asset.size
    records, rows = np.zeros(groups, dtype=np.int64), np.zeros(groups, dtype=np.int64)
    slots, cash = np.zeros(size, dtype=np.int32), np.zeros(size, dtype=np.int32)
    args = (holdings.start, holdings.code)
    count_runs(*args, layout.group, scanned, records, rows, slots, cash)
    row_base = np.concatenate([[0], np.cumsum([_roomy(int(n)) if n else 0 for n in rows])])
    rec_base = np.concatenate([[0], np.cumsum([_roomy(int(n)) if n else 0 for n in records])])
    row_base, rec_base = row_base.astype(np.int64), rec_base.astype(np.int64)
    total, wide = int(rec_base[-1]), int(row_base[-1])
    start = np.zeros(total + groups, dtype=np.int64)
    code = np.empty(wide, dtype=holdings.code.dtype)
    quantity, level = np.empty(wide), np.empty(wide, dtype=np.uint8)
    account, slot = np.empty(total, dtype=np.int32), np.empty(total, dtype=np.int32)
    slot_first = np.cumsum(slots, dtype=np.int64) - slots
    cash_first = np.cumsum(cash, dtype=np.int64) - cash
    n_slots, n_cash = int(slots.sum()), int(cash.sum())
    slot_group = np.empty(_roomy(n_slots), dtype=np.int32)
    slot_record = np.empty(_roomy(n_slots), dtype=np.int32)
    cash_code = np.empty(_roomy(n_cash), dtype=np.int32)
    cash_quantity = np.empty(_roomy(n_cash))
    split_runs(
        *args, holdings.quantity, holdings.level, layout.group, scanned, row_base[:-1].copy(),
        rec_base[:-1].copy(), start, code, quantity, level, account, slot, slot_first, slot_group,
        slot_record, cash_first, cash_code, cash_quantity, ACCOUNT,
    )  # fmt: skip
    parts: list[Group | None] = []
    for g in range(groups):
        if not scanned[g]:
            parts.append(None)
            continue
        at, rec = slice(row_base[g], row_base[g + 1]), slice(rec_base[g], rec_base[g + 1])
        parts.append(
            Group(
                start=start[rec_base[g] + g : rec_base[g + 1] + g + 1],
                code=code[at],
                quantity=quantity[at],
                level=level[at],
                account=account[rec],
                slot=slot[rec],
                records=int(records[g]),
            )
        )
    return Store(
        groups=parts,
        head=np.stack([slot_first, slots, cash_first, cash], axis=1).astype(np.int32),
        slot_group=slot_group,
        slot_record=slot_record,
        slot_pot=_with_room(layout.group_pot[slot_group[:n_slots]].astype(np.int32)),
        part=np.zeros((_roomy(n_slots), 4)),
        over=np.zeros(_roomy(n_slots), dtype=np.uint8),
        group_pot=layout.group_pot,
        cash_code=cash_code,
        cash_quantity=cash_quantity,
        slots=n_slots,
        cash=n_cash,
    )
