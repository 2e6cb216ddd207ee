"""Chart of accounts: what lines the ledger has, how they are named, which may be negative.

A line is one ledger account in one asset. Names: ``alice/cross:wallet`` is the wallet of the pot
*cross* of account *alice*; ``alice/cross:cost:BTC_USDC-PERPETUAL:net`` what its position cost;
``sys:fees`` a line of the house. Contracts are an asset too (``contract:BTC_USDC-PERPETUAL``), so
that longs equal shorts by the same law by which money adds up.
"""

from __future__ import annotations

import re
from typing import Literal

from crossmargin.errors import LedgerError

Kind = Literal["wallet", "session", "held", "arriving", "loan", "owed", "position", "cost"]

#: Kinds of a trader's money that count as equity: neither what is held for its way out nor what
#: has not arrived, so that nothing in flight is counted twice (row B19).
COUNTED = ("wallet", "session", "loan", "owed")

WORLD = "sys:world"
FEES = "sys:fees"
FUNDING = "sys:funding"
INTEREST = "sys:interest"
CONVERSION = "sys:conversion"
CLEARING = "sys:clearing"
SOCIALISED = "sys:socialised"
ROUNDING = "sys:rounding"
FUND = "sys:fund"

#: System pots, which hold positions like a trader: the other side of one-sided fills, and what
#: the liquidator took over.
SYSTEM = "sys"
VENUE_POT = "venue"
LIQUIDATOR_POT = "liquidator"

CONTRACT = "contract:"

_NAME = re.compile(r"[^\x00-\x1f/:\x7f]{1,80}")


class Line:
    """One ledger account in one asset.

    Attributes
    ----------
    name, asset : str
        Together its key.
    balance : int
        Quanta; changed by :meth:`Ledger.pay` alone.
    lowest : int or None
        No event may leave the balance below it; None for no bound.
    """

    __slots__ = ("asset", "balance", "lowest", "name")

    def __init__(self, name: str, asset: str, lowest: int | None) -> None:
        self.name = name
        self.asset = asset
        self.balance = 0
        self.lowest = lowest

    def __repr__(self) -> str:
        return f"Line({self.name!r}, {self.asset!r}, {self.balance})"


def lowest_of(name: str) -> int | None:
    """Return the bound of a line by its name.

    A fund, what is held or arriving and what is kept at another place is never negative; a wallet
    at home may be, which is a debt.
    """
    if name.startswith(FUND + "/"):
        return 0
    kind = name.partition(":")[2]
    return 0 if kind.startswith(("held", "arriving", "wallet@")) else None


def contract_asset(instrument: str) -> str:
    """Return the asset under which the contracts of an instrument are counted."""
    return CONTRACT + instrument


def fund_line(group: str) -> str:
    """Return the line of the insurance fund of a contract group."""
    return f"{FUND}/{group}"


def check_name(text: str, what: str) -> str:
    """Return a name of an account, pot, asset or group, or refuse it.

    Raises
    ------
    LedgerError
        ``LED-004`` for an empty or long name, or one with ``/``, ``:`` or signs that cannot be
        printed, by which two lines could become one.
    """
    if _NAME.fullmatch(text) is None or not text.isprintable():
        raise LedgerError(
            f"{text!r} cannot name {what}",
            code="LED-004",
            field=what,
            hint="use 1 to 80 characters without '/', ':' and what cannot be printed",
        )
    return text
