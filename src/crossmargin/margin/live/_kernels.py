"""Compiled loops of the live book: splitting rows by group, patching parts, totals of accounts."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from crossmargin.margin.fused._kernel import ACCOUNT_AT, LANES
from crossmargin.margin.fused._layout import ACCOUNT
from crossmargin.margin.fused._program import EQUITY_IM, EQUITY_MM
from crossmargin.margin.kernels._vector import prefetch

#: An unsigned place.
U = np.uint64

#: Bits of an account's state.
BELOW_MM, BELOW_IM, FAILED, OVER, APART = 1, 2, 4, 8, 16

#: Bits that are the outcome of numbers, as opposed to how the account is computed.
OUTCOME = BELOW_MM | BELOW_IM | FAILED
BITS = 3

#: Columns of an account's head: where its slots and its cash rows are.
SLOT, SLOTS, CASH, CASHES = 0, 1, 2, 3

#: How far ahead memory is asked for, in accounts: their heads, then what heads point at.
_FAR, _NEAR = 48, 16


@numba.njit(nogil=True, cache=True)
def count_runs(
    start: Any, code: Any, group_of: Any, scanned: Any, records: Any, rows: Any, slots: Any,
    cash: Any,
) -> None:  # fmt: skip
    """Count records and rows of each group, and slots and cash rows of each account."""
    for a in range(start.size - 1):
        before = -1
        for k in range(start[a], start[a + 1]):
            g = group_of[code[k]]
            if not scanned[g]:
                cash[a] += 1
                continue
            rows[g] += 1
            if g != before:
                records[g] += 1
                slots[a] += 1
                before = g


@numba.njit(nogil=True, cache=True)
def split_runs(
    start: Any, code: Any, quantity: Any, level: Any, group_of: Any, scanned: Any, row_at: Any,
    record_at: Any, out_start: Any, out_code: Any, out_quantity: Any, out_level: Any,
    out_account: Any, out_slot: Any, first: Any, slot_group: Any, slot_record: Any, cash_first: Any,
    cash_code: Any, cash_quantity: Any, top: int,
) -> None:  # fmt: skip
    """Write every run of rows to its group, and every cash row to its account.

    `row_at` and `record_at` are where each group's next row and record go in the flat arrays;
    they are moved along. Starts are relative to the first row of a group.
    """
    origin_row = row_at.copy()
    origin_record = record_at.copy()
    for a in range(start.size - 1):
        before = -1
        slot = first[a]
        cash = cash_first[a]
        for k in range(start[a], start[a + 1]):
            c = code[k]
            g = group_of[c]
            if not scanned[g]:
                cash_code[cash] = c
                cash_quantity[cash] = quantity[k]
                cash += 1
                continue
            fresh = g != before
            if fresh:
                r = record_at[g]
                record_at[g] += 1
                out_account[r] = a
                out_slot[r] = slot
                # The row pointers of group g lie g places further: each has one more than records.
                out_start[r + g] = row_at[g] - origin_row[g]
                slot_group[slot] = g
                slot_record[slot] = r - origin_record[g]
                slot += 1
                before = g
            at = row_at[g]
            row_at[g] += 1
            out_code[at] = c
            out_quantity[at] = quantity[k]
            out_level[at] = top if fresh else level[k]
            # What follows the last row of a group begins another record.
            out_level[at + 1] = top
    for g in range(record_at.size):
        out_start[record_at[g] + g] = row_at[g] - origin_row[g]


# Places in memory are unsigned below: numba lets a signed index count from the end, and asks
# every time whether it does, which costs more than the sums.


@numba.njit(nogil=True, cache=True, boundscheck=False, error_model="numpy")
def patch_parts(
    count: int, records: Any, width: int, columns: Any, im: Any, mm: Any, slot: Any, part: Any
) -> None:
    """Put new records in their slots.

    Parameters
    ----------
    count, records, width, columns
        See :func:`crossmargin.margin.fused._records.reduce_records`.
    im, mm : float64[n]
        Requirement of each record.
    slot : int32[...]
        Slot of each record of the group; negative for none.
    part : float64[4 S]
        Parts, as a line: four numbers to a slot.
    """
    words = records.view(np.int64)
    origin = U(width - LANES + ACCOUNT_AT)
    i1, i2, i3 = columns[EQUITY_IM, 0], columns[EQUITY_IM, 1], columns[EQUITY_IM, 2]
    m1, m2, m3 = columns[EQUITY_MM, 0], columns[EQUITY_MM, 1], columns[EQUITY_MM, 2]
    i2, i3 = (i1, 0) if i2 < 0 else (i2, i3)
    m2, m3 = (m1, 0) if m2 < 0 else (m2, m3)
    wide, last = U(width), count - 1
    for r in range(count):
        ahead = slot[U(words[U(min(r + _NEAR, last)) * wide + origin])]
        prefetch(part, U(ahead) * U(4), 1)
        i = U(r) * wide
        s = slot[U(words[i + origin])]
        if s < 0:
            continue
        at = U(s) * U(4)
        part[at] = im[U(r)]
        part[at + U(1)] = mm[U(r)]
        part[at + U(2)] = records[i + U(i1)] + i3 * records[i + U(i2)]
        part[at + U(3)] = records[i + U(m1)] + m3 * records[i + U(m2)]


@numba.njit(nogil=True, cache=True)
def mark_beyond(
    count: int, records: Any, width: int, place: int, limit: float, slot: Any, over: Any, bit: int
) -> int:
    """Note in each slot whether a figure is beyond its limit; return how many are."""
    words = records.view(np.int64)
    many = 0
    for r in range(count):
        s = slot[words[r * width + width - LANES + ACCOUNT_AT]]
        if s < 0:
            continue
        if abs(records[r * width + place]) <= limit:
            over[s] &= 255 - bit
        else:
            over[s] |= bit
            many += 1
    return many


@numba.njit(nogil=True, cache=True)
def count_rows(start: Any, record: Any, out: Any) -> None:
    """Write the row pointers of some records as they will lie one after another."""
    for r in range(record.size):
        out[r + 1] = out[r] + start[record[r] + 1] - start[record[r]]


@numba.njit(nogil=True, cache=True)
def gather_rows(
    start: Any, code: Any, quantity: Any, level: Any, record: Any, out_start: Any, out_code: Any,
    out_quantity: Any, out_level: Any,
) -> None:  # fmt: skip
    """Copy the rows of some records one after another."""
    for r in range(record.size):
        at = out_start[r]
        for k in range(start[record[r]], start[record[r] + 1]):
            out_code[at] = code[k]
            out_quantity[at] = quantity[k]
            out_level[at] = level[k]
            at += 1
    out_level[out_start[record.size]] = ACCOUNT


@numba.njit(nogil=True, cache=True, boundscheck=False, error_model="numpy")
def total_accounts(
    accounts: Any, first: int, last: int, head: Any, slot_pot: Any, part: Any, over: Any,
    limited: bool, cash_code: Any, cash_quantity: Any, code_pot: Any, per: Any, pot_usd: Any,
    columns: Any, state: Any, asked: Any, changed: Any, due: Any,
) -> tuple[int, int]:  # fmt: skip
    """Sum the parts of accounts by pot, anew, and compare with where they stood.

    Parameters
    ----------
    accounts : int32[n]
        Which; negative ones are left out.
    first, last : int
        Part of `accounts`.
    head : int32[4 A]
        See :class:`~crossmargin.margin.live._store.Store`, as a line.
    slot_pot : int32[S]
        Kind of pot of each slot.
    part : float64[4 S]
        Parts, as a line.
    limited : bool
        Whether any slot's figure may be beyond a limit.
    per : float64[4 C]
        Equity of a unit of each code at the initial and the maintenance level, long; then short.
    columns : float64[5 A]
        Equity, equity at the initial level, IM, MM (US dollars) and health; written.
    state : uint8[A]
        Bits; written.
    asked : tuple
        Heads and cash codes as lines of floats, which is how memory is asked for ahead.
    changed, due : int64[last - first]
        Accounts whose outcome changed; accounts that must be computed apart. Each as
        ``account << BITS | outcome before``.

    Returns
    -------
    int, int
        How many of each.
    """
    far_head, near_code = asked
    moved = waiting = 0
    single = pot_usd.size == 1
    for row in range(first, last):
        far = accounts[U(min(row + _FAR, last - 1))]
        if far >= 0:
            prefetch(far_head, U(far) * U(4), 1)
            prefetch(columns, U(far) * U(5), 1)
        near = accounts[U(min(row + _NEAR, last - 1))]
        if near >= 0:
            ahead = U(near) * U(4)
            prefetch(part, U(head[ahead]) * U(4), 3)
            prefetch(cash_quantity, U(head[ahead + U(CASH)]), 1)
            prefetch(near_code, U(head[ahead + U(CASH)]), 1)
        a = accounts[U(row)]
        if a < 0:
            continue
        was = state[U(a)]
        h = U(a) * U(4)
        s, c = U(head[h]), U(head[h + U(CASH)])
        s_end, c_end = s + U(head[h + U(SLOTS)]), c + U(head[h + U(CASHES)])
        apart = (was & APART) != 0
        if limited:
            for k in range(s, s_end):
                apart |= over[k] != 0
        if apart:
            due[U(waiting)] = np.int64(a) << BITS | was & OUTCOME
            waiting += 1
            if (was & APART) == 0:
                state[U(a)] = was | OVER
            continue
        sum_eq = sum_eq_im = sum_im = sum_mm = 0.0
        least = np.inf
        now = 0
        while s < s_end or c < c_end:
            pot = 0
            if not single:
                pot = 1 << 30
                if s < s_end:
                    pot = slot_pot[s]
                if c < c_end:
                    pot = min(pot, code_pot[U(cash_code[c])])
            eq = eq_im = im = mm = 0.0
            while s < s_end and (single or slot_pot[s] == pot):
                at = s * U(4)
                im += part[at]
                mm += part[at + U(1)]
                eq_im += part[at + U(2)]
                eq += part[at + U(3)]
                s += U(1)
            while c < c_end and (single or code_pot[U(cash_code[c])] == pot):
                q = cash_quantity[c]
                at = U(cash_code[c]) * U(4)
                if q < 0.0:
                    at += U(2)
                eq_im += q * per[at]
                eq += q * per[at + U(1)]
                c += U(1)
            usd = pot_usd[U(pot)]
            sum_eq += eq * usd
            sum_eq_im += eq_im * usd
            sum_im += im * usd
            sum_mm += mm * usd
            ratio = np.inf
            if mm > 0.0:
                ratio = eq / mm
            elif eq < 0.0:
                ratio = -np.inf
            if ratio < least:
                least = ratio
            if eq_im < im:
                now |= BELOW_IM
        if least < 1.0:
            now |= BELOW_MM
        if not np.isfinite(sum_eq + sum_eq_im + sum_im + sum_mm):
            sum_eq = sum_eq_im = sum_im = sum_mm = least = np.nan
            now = FAILED
        at = U(a) * U(5)
        columns[at] = sum_eq
        columns[at + U(1)] = sum_eq_im
        columns[at + U(2)] = sum_im
        columns[at + U(3)] = sum_mm
        columns[at + U(4)] = least
        if now != was:
            state[U(a)] = now
            if now != was & OUTCOME:
                changed[U(moved)] = np.int64(a) << BITS | was & OUTCOME
                moved += 1
    return moved, waiting


@numba.njit(nogil=True, cache=True)
def accounts_of_codes(head: Any, cash_code: Any, hit: Any, out: Any) -> None:
    """Mark the accounts that have a cash row of one of some codes."""
    for a in range(head.shape[0]):
        for k in range(head[a, CASH], head[a, CASH] + head[a, CASHES]):
            if hit[cash_code[k]]:
                out[a] = 1
                break


@numba.njit(nogil=True, cache=True)
def mark_accounts(accounts: Any, out: Any) -> None:
    """Mark accounts, negative ones left out."""
    for row in range(accounts.size):
        if accounts[row] >= 0:
            out[accounts[row]] = 1


@numba.njit(nogil=True, cache=True)
def records_with(start: Any, code: Any, account: Any, hit: Any, out: Any) -> None:
    """Mark the accounts of records that hold one of some codes, at whatever quantity."""
    for r in range(account.size):
        if account[r] < 0:
            continue
        for k in range(start[r], start[r + 1]):
            if hit[code[k]]:
                out[account[r]] = 1
                break
