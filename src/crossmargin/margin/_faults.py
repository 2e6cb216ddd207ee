"""Accounts that cannot be computed, noted as a book goes through the stages.

One account alone is refused by raising. In a large book the accounts that a stage must refuse are
noted with their reasons, and the stage goes on for the rest; what it then computes for the noted
ones is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CrossmarginError, InputError

Ints = NDArray[np.int64]


class Faults:
    """The first reason of each account that was refused.

    Stages run in the same order for one account as for a book, so the first reason noted is the
    one that the account alone would be refused with.

    Parameters
    ----------
    accounts : int
        Size of the book.
    """

    def __init__(self, accounts: int) -> None:
        self.bad = np.zeros(accounts, dtype=np.bool_)
        self.reasons: dict[int, CrossmarginError] = {}

    def note(self, accounts: Ints, make: Callable[[int], CrossmarginError]) -> None:
        """Note accounts that are refused.

        Parameters
        ----------
        accounts : int64[K]
            Account of each row at fault, in the order in which the rows would be raised.
        make : callable
            Gives the reason of the k-th row.
        """
        rows = np.flatnonzero(~self.bad[accounts])
        found, first = np.unique(accounts[rows], return_index=True)
        for account, row in zip(found.tolist(), rows[first].tolist()):
            self.reasons[account] = make(row)
        self.bad[found] = True


def not_a_number(account: str | None = None) -> InputError:
    """Return the refusal of an account with a quantity or amount that is not a number."""
    return InputError(
        "a quantity, amount or entry price is not a number",
        code="INP-004",
        account=account,
        field="positions.quantity",
        hint="correct the row, or remove it",
    )
