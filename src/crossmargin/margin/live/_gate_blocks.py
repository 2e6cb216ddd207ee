"""The blocks that a compiled check opens, and the numbers that it shares with its caller."""

from __future__ import annotations

from typing import Any

import numba

from crossmargin.margin.live._address import floats, ints, opener

#: Most cells (quote group, segment) that one change of quotes may touch.
CELLS = 512

#: Shares of an order that are looked at (:data:`crossmargin.margin.pretrade.PARTS`).
PARTS = 16

#: One unit of rounding, relative (:data:`crossmargin.margin._standing.UNIT`).
UNIT = 2.0**-52

#: Status of an answer: decided, or to be asked of the reference engine and why.
DECIDED, NOT_HERE, BEYOND = 0, 1, 2

#: Larger than any order (:data:`crossmargin.book._account.ABSURD`).
ABSURD = 1e15

#: Rules, as numbers.
ROOM, REDUCING, REFUSED, DEBT = 0, 1, 2, 3

#: Changes of a book's resting orders after which sums are made afresh, so that rounding does not
#: build up.
EDITS = 512

#: Arrays of a book's block, before the shapes of its records.
WORK = 40

#: Opens :attr:`crossmargin.margin.live._gate_tables.Tables.block`.
market_of = opener("ddddiBiiiiBBqddddqdddqqqdddiiqi")

#: Opens the block of an account's resting orders (`_gate_book.Resting`).
resting_of = opener("qqqBqdddddddddqd")

#: Opens the block of a book's rows and scratch (`_gate_book.Rows`).
work_of = opener(
    "qdqqIBddddddddddddqddddddqqdqddd", {15: (2 * WORK + 1, 2 * WORK), 16: (2 * WORK + 2, 2 * WORK)}
)


@numba.njit(cache=True, inline="always")
def asked_of(address: int) -> Any:
    """Open what is asked: codes, quantities and prices of legs, spans, quote groups, removals."""
    return (
        ints(address, 32), floats(address, 36), floats(address, 37), ints(address, 33),
        ints(address, 34), ints(address, 35),
    )  # fmt: skip
