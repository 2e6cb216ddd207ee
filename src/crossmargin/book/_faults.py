"""What can be wrong with a row of a book's tables: which rows, and the sentence for each.

The strict reader raises the first; the reader of large books sets the account aside and goes on.
Both say the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crossmargin.book._account import ABSURD
from crossmargin.errors import InputError
from crossmargin.instruments import KIND_CODE, Registry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def wrong_rows(values: Floats, astray: Bools | None, *, needed: bool) -> Ints:
    """Return the rows of numbers that are absurd, astray, or missing where they are needed.

    Parameters
    ----------
    values : float64[n]
        NaN where missing.
    astray : bool[n] or None
        Rows that are wrong in themselves.
    needed : bool
        Whether a missing number is a fault.
    """
    size = np.abs(values)
    wrong = ~(size <= ABSURD) if needed else size > ABSURD
    if astray is not None:
        wrong |= astray
    return np.flatnonzero(wrong)


def astray_quantity(quantity: Floats, side: Ints | None) -> Bools:
    """Mark quantities of zero, and those whose sign is not that of their leg (code of LEGS)."""
    wrong: Bools = quantity == 0
    if side is not None:
        wrong |= ((side == 1) & (quantity < 0)) | ((side == 2) & (quantity > 0))
    return wrong


def astray_entry(entry: Floats, held: Callable[[Ints], Ints], registry: Registry) -> Bools:
    """Mark entry prices below zero, and of zero where the contract is no option.

    `held` returns the instruments of some rows.
    """
    low: Bools = entry <= 0
    rows = np.flatnonzero(low & (entry == 0))
    if rows.size:
        instrument = held(rows)
        option = registry.terms.kind[instrument] == KIND_CODE["option"]
        low[rows[option & (instrument >= 0)]] = False
    return low


def number_error(
    table: str,
    column: str,
    row: int,
    value: float,
    account: str | None,
    instrument: str | None,
    *,
    astray: bool,
) -> InputError:
    """Say that a figure cannot be."""
    says = "missing" if np.isnan(value) else f"{value:g}"
    return InputError(
        f"the {column} of {instrument or table} in account {account!r} is {says}",
        code=number_code(column, astray),
        account=account,
        instrument=instrument,
        field=f"{table}[{row}].{column}",
        hint="correct the row, or remove it",
    )


def number_code(column: str, astray: bool) -> str:
    """Return the code of a figure that cannot be."""
    return "INP-006" if astray and column == "quantity" else "INP-004"


def missing_text(table: str, column: str, row: int) -> InputError:
    """Say that a row has no text where it needs one."""
    return InputError(
        f"row {row} of table {table!r} has no {column}",
        code="INP-003",
        field=f"{table}[{row}].{column}",
    )


def no_such_row(table: str, column: str, row: int, value: int, into: str, size: int) -> InputError:
    """Say that a row refers to one that is not there."""
    says = "no row" if value == -1 else f"row {value}"
    return InputError(
        f"row {row} of table {table!r} refers to {says} of {into!r}, which has {size}",
        code="INP-008",
        field=f"{table}[{row}].{column}",
    )


def account_twice(name: str) -> InputError:
    """Say that two accounts have one name."""
    return InputError(
        f"account {name!r} appears twice", code="INP-007", account=name, field="accounts"
    )


def position_twice(row: int, account: str, instrument: str | None) -> InputError:
    """Say that an account holds a contract in two rows."""
    return InputError(
        f"{instrument} appears twice in account {account!r}",
        code="INP-007",
        account=account,
        instrument=instrument,
        field=f"positions[{row}]",
        hint="net the two rows, or mark them as long and short legs",
    )


def name_of(column: str, text: str, registry: Registry, words: tuple[str, ...]) -> int:
    """Return the code of a text: an instrument, an asset, or one of some words.

    Raises
    ------
    InputError
        ``INP-001`` unknown instrument, ``INP-003`` no asset or none of the words.
    """
    if column == "instrument":
        return registry.resolve(text)
    if column == "asset" and text.isalnum():
        return registry.asset(text)
    if text not in words:
        hint = "it is one of " + ", ".join(words) if words else "write its symbol, such as BTC"
        raise InputError(f"{text!r} is no {column}", code="INP-003", hint=hint)
    return words.index(text)
