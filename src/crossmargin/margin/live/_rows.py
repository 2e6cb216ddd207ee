"""Rows and exposures that grow at their end, as accounts are given other holdings.

What an account held before stays where it was and is dead; its number of pots or rows may be
another now. Room is made for many at once, so that an edit costs what the account holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.live import _exposures as ex
from crossmargin.margin.live._store import _grown

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Columns of exposures by exposure; `cash` and all others are written.
_BY_EXPOSURE = ("first", "last", "driver", "pot", "place", "cash", "figures", "level", "side",
                "wish")  # fmt: skip
_BY_POT = ("pot_account", "sums", "state", "version")


class Rows:
    """Rows of a book: codes with their side, quantities, levels.

    Parameters
    ----------
    holdings : Holdings
        Laid out for a program; shared until the first row is added.
    codes : int
        How many signed codes there are.
    """

    def __init__(self, holdings: Holdings, codes: int) -> None:
        narrow = np.uint16 if codes <= np.iinfo(np.uint16).max else np.uint32
        self.size = holdings.code.size
        self.code: NDArray[Any] = np.empty(self.size, dtype=narrow)
        ex.signed_codes(holdings.code, holdings.quantity, self.code)
        self.quantity, self.level = holdings.quantity, holdings.level

    @property
    def columns(self) -> tuple[NDArray[Any], Floats, NDArray[np.uint8]]:
        """Codes, quantities, levels."""
        return self.code, self.quantity, self.level

    def signed(self, rows: Holdings) -> NDArray[Any]:
        """Return the signed codes of other rows."""
        out = np.empty(rows.code.size, dtype=self.code.dtype)
        ex.signed_codes(rows.code, rows.quantity, out)
        return out

    def append(self, rows: Holdings, code: NDArray[Any]) -> None:
        """Add rows at the end."""
        at, width = self.size, code.size
        if at + width > self.code.size:
            # The first time these are the holdings' own, which stay as they are.
            self.code = _grown(self.code[:at], at, width)
            self.quantity = _grown(self.quantity[:at], at, width)
            self.level = _grown(self.level[:at], at, width)
        self.code[at : at + width] = code
        self.quantity[at : at + width] = rows.quantity
        self.level[at : at + width] = rows.level[:width]
        self.size = at + width


def append(
    pots: ex.Exposures, one: ex.Exposures, account: int, still: Floats, version: int
) -> Ints:
    """Add the pots of one account at the end, to be looked at.

    Parameters
    ----------
    pots : Exposures
        All; room is made where there is none.
    one : Exposures
        The account's, their rows numbered as in all rows.
    account : int
        Its number.
    still : float64[pots of the account]
        What no price moves, US dollars.
    version : int
        Market of now.

    Returns
    -------
    int64[...]
        Numbers of its pots.
    """
    count, width = one.pot_account.size, one.first.size
    p, e = pots.used, int(pots.pot_first[pots.used])
    _make_room(pots, p, e, count, width)
    new, mine = slice(p, p + count), slice(e, e + width)
    for name in _BY_EXPOSURE:
        getattr(pots, name)[mine] = getattr(one, name)
    pots.pot[mine] += p
    # No price is that of the last visit: all are looked at.
    pots.figures[mine, ex.RHO] = np.nan
    if pots.more.shape[0]:
        pots.more[mine] = np.inf
    pots.pot_account[new] = account
    pots.sums[new] = one.sums
    pots.sums[new, ex.STILL] = still
    pots.state[new] = one.state
    pots.version[new] = version
    pots.pot_first[p + 1 : p + count + 1] = one.pot_first[1:] + e
    pots.used = p + count
    return np.arange(p, p + count)


def _make_room(pots: ex.Exposures, used: int, exposures: int, count: int, width: int) -> None:
    """Lengthen columns where they are full."""
    for name in _BY_EXPOSURE:
        setattr(pots, name, _grown(getattr(pots, name), exposures, width))
    for name in _BY_POT:
        setattr(pots, name, _grown(getattr(pots, name), used, count))
    if pots.more.shape[0]:
        pots.more = _grown(pots.more, exposures, width)
    pots.pot_first = _grown(pots.pot_first, used + 1, count)
