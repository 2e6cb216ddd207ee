"""Compiled loops of the live book: splitting rows by group, patching parts, totals of accounts."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from crossmargin.margin.fused._program import EQUITY_IM, EQUITY_MM

#: Parts of a record (one group of one account) in the numeraire of its pot.
IM, MM, HELD_IM, HELD_MM = 0, 1, 2, 3

#: Bits of an account's state.
BELOW_MM, BELOW_IM, FAILED, OVER, APART = 1, 2, 4, 8, 16

#: Bits that are the outcome of numbers, as opposed to how the account is computed.
OUTCOME = BELOW_MM | BELOW_IM | FAILED
BITS = 3


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


@numba.njit(nogil=True, cache=True)
def patch_parts(
    count: int, origin: Any, columns: Any, im: Any, mm: Any, slot: Any, part: Any
) -> None:
    """Put new records in their slots; `origin` is the record of its group that each came from."""
    for r in range(count):
        s = slot[origin[r]]
        if s < 0:
            continue
        part[s, IM] = im[r]
        part[s, MM] = mm[r]
        part[s, HELD_IM] = columns[EQUITY_IM, r]
        part[s, HELD_MM] = columns[EQUITY_MM, r]


@numba.njit(nogil=True, cache=True)
def mark_beyond(
    count: int, origin: Any, column: Any, limit: float, slot: Any, over: Any, bit: int
) -> None:
    """Note in each slot whether a figure is beyond its limit."""
    for r in range(count):
        s = slot[origin[r]]
        if s < 0:
            continue
        if abs(column[r]) <= limit:
            over[s] &= 255 - bit
        else:
            over[s] |= bit


@numba.njit(nogil=True, cache=True)
def total_accounts(
    accounts: Any, first: int, last: int, slot_first: Any, slot_count: Any, slot_group: Any,
    part: Any, over: Any, cash_first: Any, cash_count: Any, cash_code: Any, cash_quantity: Any,
    group_pot: Any, code_pot: Any, per_long: Any, per_short: Any, pot_usd: Any, columns: Any,
    state: Any, changed: Any, due: Any,
) -> tuple[int, int]:  # fmt: skip
    """Sum the parts of accounts by pot, anew, and compare with where they stood.

    Parameters
    ----------
    accounts : int32[n]
        Which; negative ones are left out.
    first, last : int
        Part of `accounts`.
    columns : float64[A, 5]
        Equity, equity at the initial level, IM, MM (US dollars) and health; written.
    state : uint8[A]
        Bits; written.
    changed, due : int64[last - first]
        Accounts whose outcome changed; accounts that must be computed apart. Each as
        ``account << BITS | outcome before``.

    Returns
    -------
    int, int
        How many of each.
    """
    moved = waiting = 0
    for row in range(first, last):
        a = np.int64(accounts[row])
        if a < 0:
            continue
        was = np.int64(state[a])
        k, k_end = slot_first[a], slot_first[a] + slot_count[a]
        c, c_end = cash_first[a], cash_first[a] + cash_count[a]
        apart = (was & APART) != 0
        for s in range(k, k_end):
            if over[s] != 0:
                apart = True
        if apart:
            due[waiting] = a << BITS | was & OUTCOME
            waiting += 1
            if (was & APART) == 0:
                state[a] = was | OVER
            continue
        sum_eq = sum_eq_im = sum_im = sum_mm = 0.0
        least = np.inf
        short = unknown = False
        while k < k_end or c < c_end:
            pot = 1 << 30
            if k < k_end:
                pot = group_pot[slot_group[k]]
            if c < c_end:
                pot = min(pot, code_pot[cash_code[c]])
            eq = eq_im = need_im = need_mm = 0.0
            while k < k_end and group_pot[slot_group[k]] == pot:
                need_im += part[k, IM]
                need_mm += part[k, MM]
                eq_im += part[k, HELD_IM]
                eq += part[k, HELD_MM]
                k += 1
            while c < c_end and code_pot[cash_code[c]] == pot:
                q = cash_quantity[c]
                at = cash_code[c]
                if q >= 0:
                    eq_im += q * per_long[at, 0]
                    eq += q * per_long[at, 1]
                else:
                    eq_im += q * per_short[at, 0]
                    eq += q * per_short[at, 1]
                c += 1
            usd = pot_usd[pot]
            sum_eq += eq * usd
            sum_eq_im += eq_im * usd
            sum_im += need_im * usd
            sum_mm += need_mm * usd
            if need_mm > 0:
                ratio = eq / need_mm
            elif eq < 0:
                ratio = -np.inf
            else:
                ratio = np.inf
            unknown |= np.isnan(eq) or np.isnan(need_mm) or np.isnan(eq_im) or np.isnan(need_im)
            least = min(least, ratio)
            short |= eq_im < need_im
        if unknown:
            sum_eq = sum_eq_im = sum_im = sum_mm = least = np.nan
        columns[a, 0] = sum_eq
        columns[a, 1] = sum_eq_im
        columns[a, 2] = sum_im
        columns[a, 3] = sum_mm
        columns[a, 4] = least
        now = 0
        if unknown:
            now = FAILED
        else:
            if least < 1.0:
                now |= BELOW_MM
            if short:
                now |= BELOW_IM
        if now != was & OUTCOME:
            changed[moved] = a << BITS | was & OUTCOME
            moved += 1
        state[a] = now
    return moved, waiting


@numba.njit(nogil=True, cache=True)
def accounts_of_codes(cash_first: Any, cash_count: Any, cash_code: Any, hit: Any, out: Any) -> None:
    """Mark the accounts that have a cash row of one of some codes."""
    for a in range(cash_first.size):
        for k in range(cash_first[a], cash_first[a] + cash_count[a]):
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
