"""Accounts that the fused kernel leaves: which, why, and reasons made only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CrossmarginError
from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._program import Program

Ints = NDArray[np.int64]


class Reasons(Mapping[int, CrossmarginError]):
    """Why accounts could not be computed, by account in ascending order.

    A hundred thousand accounts may hold one contract without a price. Their reasons are kept as
    two columns and written out one by one when somebody looks.

    Parameters
    ----------
    name : callable
        Gives the name of an account.
    account, cause : int64[K]
        Accounts, and the cause of each.
    errors : dict of int to CrossmarginError
        By cause.
    more : dict of int to CrossmarginError
        Accounts with a reason of their own.
    """

    def __init__(
        self,
        name: Callable[[int], str],
        account: Ints,
        cause: Ints,
        errors: dict[int, CrossmarginError],
        more: dict[int, CrossmarginError],
    ) -> None:
        self._name, self._errors, self._more = name, errors, more
        keep = ~np.isin(account, list(more)) if more else np.ones(account.size, dtype=bool)
        order = np.argsort(account[keep], kind="stable")
        self._account, self._cause = account[keep][order], cause[keep][order]

    def __len__(self) -> int:
        return self._account.size + len(self._more)

    def __iter__(self) -> Iterator[int]:
        every = np.concatenate([self._account, np.array(list(self._more), dtype=np.int64)])
        every.sort()
        return iter(every.tolist())

    def __getitem__(self, account: int) -> CrossmarginError:
        if account in self._more:
            return self._more[account]
        place = int(np.searchsorted(self._account, account))
        if place == self._account.size or self._account[place] != account:
            raise KeyError(account)
        return self._errors[int(self._cause[place])].copy().located(account=self._name(account))

    def columns(
        self,
    ) -> tuple[Ints, Ints, dict[int, CrossmarginError], dict[int, CrossmarginError]]:
        """Return accounts, causes, errors by cause, and accounts with reasons of their own."""
        return self._account, self._cause, self._errors, self._more


def left_out(
    program: Program, holdings: Holdings, bad: NDArray[np.bool_]
) -> tuple[Ints, Ints, Ints]:
    """Sort accounts without a result by what is the matter with them.

    Parameters
    ----------
    program : Program
        Rules and market.
    holdings : Holdings
        Rows.
    bad : bool[A]
        Accounts whose result is not a number, or that are beyond a limit.

    Returns
    -------
    account, code : int64[K]
        Accounts with one code that cannot be valued, and that code.
    apart : int64[M]
        The others, to be computed by the stages of the engine.
    """
    accounts = np.flatnonzero(bad)
    if not accounts.size:
        return accounts, accounts, accounts
    count = holdings.start[accounts + 1] - holdings.start[accounts]
    owner = np.repeat(accounts, count)
    offset = np.concatenate([[0], np.cumsum(count)[:-1]])
    rows = np.repeat(holdings.start[accounts] - offset, count) + np.arange(owner.size)
    code = holdings.code[rows].astype(np.int64)
    known = np.zeros(program.layout.size, dtype=bool)
    known[list(program.bad)] = True
    faulty = np.flatnonzero(known[code])
    odd = program.apart[code] | ~np.isfinite(holdings.quantity[rows])
    times = np.bincount(owner[faulty], minlength=holdings.size)
    strange = np.bincount(owner[odd], minlength=holdings.size)
    plain = accounts[(times[accounts] == 1) & (strange[accounts] == 0)]
    single = faulty[np.isin(owner[faulty], plain)]
    return owner[single], code[single], np.setdiff1d(accounts, plain, assume_unique=True)
