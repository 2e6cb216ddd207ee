"""The rows of a book in two streams, laid out once and read at every run.

Quantities stay where they are: a row of a stream has its code, its level, and where in the holdings
it is, four or five bytes in all as a rule. Records in the scan stream are sorted, within their
block, by the numbers of rows in their segments: where loops end can then be guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._directions import APART, Roles
from crossmargin.margin.fused._expression import CLOSES, FRESH, KIND, OPENS
from crossmargin.margin.fused._holdings import Holdings, _change, level_table
from crossmargin.margin.fused._layout import ACCOUNT, GROUP, POT, SEGMENT
from crossmargin.margin.fused._program import Program

Ints = NDArray[np.int64]

#: Accounts whose rows and records are in work at a time: they stay in the second cache, and the
#: number of an account in its block is a byte.
BLOCK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of holdings in two streams.

    Attributes
    ----------
    roles : Roles
        How rows are split.
    main_code, scan_code : uint16[...] or uint32[...]
        Codes of the main and of the scan stream. Every record has a row in the main stream,
        nothing (code C) where it has no other.
    main_step : uint8[...] or uint32[...]
        Rows of the holdings passed on since the row before, from the first row of a block on.
    scan_offset : uint16[...] or uint32[...]
        Rows of the holdings between the first of the block and this one.
    main_level, scan_level : uint8[... + 1]
        As in the holdings, but between rows of the stream.
    mark : uint16[R] or uint32[R]
        See :data:`~crossmargin.margin.fused._expression.FRESH`.
    account : uint8[R]
        Account of each record, from the first of the block on.
    joins : uint16[J] or uint32[J]
        Number in its block of each record that has rows in the scan stream, in their order there.
    empty : int64[...]
        Accounts without rows.
    blocks : int64[blocks + 1, 4]
        First row of both streams, first record and first scan record of each block.
    """

    roles: Roles
    main_code: NDArray[Any]
    main_step: NDArray[Any]
    main_level: NDArray[np.uint8]
    scan_code: NDArray[Any]
    scan_offset: NDArray[Any]
    scan_level: NDArray[np.uint8]
    mark: NDArray[Any]
    account: NDArray[np.uint8]
    joins: NDArray[Any]
    empty: Ints
    blocks: Ints

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return sum(a.nbytes for a in self.columns()) + self.blocks.nbytes

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Return the columns in the order in which the compiled batch reads them."""
        return (
            self.main_code, self.main_step, self.main_level, self.scan_code, self.scan_offset,
            self.scan_level, self.mark, self.account, self.joins,
        )  # fmt: skip


def split_rows(holdings: Holdings, program: Program, roles: Roles) -> Batch:
    """Split the rows of holdings into two streams.

    Parameters
    ----------
    holdings : Holdings
        Laid out for the program.
    program : Program
        Any program over the same layout with the same roles.
    roles : Roles
        See :func:`~crossmargin.margin.fused._batch_tables.batch_tables`.
    """
    layout = program.layout
    blocks = np.zeros((-(-holdings.size // BLOCK) + 1, 4), dtype=np.int64)
    tops = np.zeros(2, dtype=np.int64)
    firsts = holdings.start[np.minimum(np.arange(blocks.shape[0]) * BLOCK, holdings.size)]
    longest = int(np.diff(firsts).max(initial=0))
    args = (holdings.start, holdings.code, holdings.level, roles.role, roles.tied,
            level_table(layout), layout.group, layout.size, longest)  # fmt: skip
    empty, bytes_ = np.empty(0, np.uint32), np.empty(0, np.uint8)
    _split(*args, blocks, tops, empty, empty, bytes_, empty, empty, bytes_, empty, bytes_, empty,
           True)  # fmt: skip
    main, scan, records, joins = (int(x) for x in blocks[-1])

    def of(size: int, greatest: int, narrow: type) -> NDArray[Any]:
        wide = greatest > np.iinfo(narrow).max
        return np.empty(size, dtype=np.uint32 if wide else narrow)

    out = Batch(
        roles=roles,
        main_code=of(main, layout.size, np.uint16),
        main_step=of(main, int(tops[0]), np.uint8),
        main_level=np.full(main + 1, ACCOUNT, dtype=np.uint8),
        scan_code=of(scan, layout.size, np.uint16),
        scan_offset=of(scan, longest, np.uint16),
        scan_level=np.full(scan + 1, ACCOUNT, dtype=np.uint8),
        mark=of(records, (layout.group_asset.size << KIND) + 7, np.uint16),
        account=np.empty(records, dtype=np.uint8),
        joins=of(joins, int(tops[1]), np.uint16),
        empty=np.flatnonzero(np.diff(holdings.start) == 0),
        blocks=blocks,
    )
    fill: Any = _split
    fill(*args, blocks, tops, *out.columns(), False)
    return out


@numba.njit(nogil=True, cache=True)
def _split(
    start: Any, code: Any, level: Any, role: Any, tied: Any, ids: Any, group: Any, nothing: int,
    longest: int, blocks: Any, tops: Any, main_code: Any, main_step: Any, main_level: Any,
    scan_code: Any, scan_offset: Any, scan_level: Any, mark: Any, account: Any, joins: Any,
    counting: bool,
) -> None:  # fmt: skip
    """Split all rows, or only count what comes of it and find the largest numbers (`counting`)."""
    m = s = r = j = 0
    # Scan rows of a block before they are sorted; records among them, each with its make.
    rows, firsts = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    makes, numbers = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    for block in range(blocks.shape[0] - 1):
        first = block * BLOCK
        last = min(first + BLOCK, start.size - 1)
        base = main_at = start[first]
        blocks[block] = (m, s, r, j)
        r0, n, found = r, 0, 0
        for owner in range(first, last):
            a = start[owner]
            while a < start[owner + 1]:
                b = a + 1
                while b < start[owner + 1] and level[b] < GROUP:
                    b += 1
                scans = False
                for k in range(a, b):
                    scans |= role[code[k]] == APART
                here, before, m_first, n_first = level[a], -1, m, n
                for k in range(a, b):
                    c = code[k]
                    if role[c] == APART or (
                        scans and tied[c] and _beside(code, role, ids, a, b, k)
                    ):
                        rows[n] = k
                        n += 1
                        continue
                    tops[0] = max(tops[0], k - main_at)
                    if not counting:
                        main_code[m] = c
                        main_step[m] = k - main_at
                        main_level[m] = here if m == m_first else _change(ids, before, c)
                    before, main_at = c, k
                    m += 1
                if m == m_first:
                    tops[0] = max(tops[0], a - main_at)
                    if not counting:
                        main_code[m] = nothing
                        main_step[m] = a - main_at
                        main_level[m] = here
                    main_at = a
                    m += 1
                if scans:
                    firsts[found], numbers[found] = n_first, r - r0
                    makes[found] = _make(code, ids, rows, n_first, n)
                    found += 1
                if not counting:
                    flags = (FRESH if here >= ACCOUNT else 0) | (OPENS if here >= POT else 0)
                    flags |= CLOSES if level[b] >= POT else 0
                    mark[r] = (group[code[a]] << KIND) | flags
                    account[r] = owner - first
                r += 1
                a = b
        tops[1] = max(tops[1], r - r0)
        if not counting:
            firsts[found] = n
            place = s
            for index, one in enumerate(np.argsort(makes[:found], kind="mergesort")):
                joins[j + index] = numbers[one]
                for k in range(firsts[one], firsts[one + 1]):
                    c = code[rows[k]]
                    scan_code[place] = c
                    scan_offset[place] = rows[k] - base
                    begins = k == firsts[one]
                    scan_level[place] = ACCOUNT if begins else _change(ids, code[rows[k - 1]], c)
                    place += 1
        s += n
        j += found
    blocks[blocks.shape[0] - 1] = (m, s, r, j)


@numba.njit(nogil=True, cache=True, inline="always")
def _make(code: Any, ids: Any, rows: Any, first: int, last: int) -> int:
    """Return a number that is the same for records whose segments have the same sizes."""
    out = segments = 0
    size = 1
    for k in range(first + 1, last + 1):
        if k < last and _change(ids, code[rows[k - 1]], code[rows[k]]) < SEGMENT:
            size += 1
        else:
            # Fifteen segments are told apart, of up to seven rows.
            out = (out << 3 | min(size, 7)) & ((1 << 45) - 1)
            segments += 1
            size = 1
    return min(segments, 1 << 15) << 45 | out


@numba.njit(nogil=True, cache=True, inline="always")
def _beside(code: Any, role: Any, ids: Any, a: int, b: int, k: int) -> bool:
    """Whether a row of the scan stream lies in the bucket of row k of a record."""
    bucket = ids[code[k], 3]
    low = k
    while low > a and ids[code[low - 1], 3] == bucket:
        low -= 1
    found = False
    while low < b and ids[code[low], 3] == bucket:
        found |= role[code[low]] == APART
        low += 1
    return found
