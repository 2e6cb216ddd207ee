"""Accounts, their pots and positions, as handles on the lines of the ledger.

A handle holds no money: every amount is the balance of a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from crossmargin.accounts.chart import Line
from crossmargin.accounts.states import AccountState

if TYPE_CHECKING:
    from crossmargin.accounts.contract import Contract
    from crossmargin.accounts.ledger import Ledger

Leg = Literal["net", "long", "short"]
LegMode = Literal["net", "hedge"]
PotMode = Literal["cross", "isolated", "sub_account"]


class Position:
    """A position: the lines of its contracts and of its cost.

    Attributes
    ----------
    pot, contract, leg
        Its key.
    held : Line
        Contract quanta, > 0 long.
    cost : Line
        Settlement quanta: minus the value at which what is open was opened. Stays 0 for an option
        whose premium was paid at once.
    """

    __slots__ = ("contract", "cost", "held", "leg", "pot")

    def __init__(self, pot: Pot, contract: Contract, leg: Leg, ledger: Ledger) -> None:
        self.pot = pot
        self.contract = contract
        self.leg: Leg = leg
        self.held = ledger.line(f"{pot.name}:position:{leg}", contract.asset)
        self.cost = ledger.line(f"{pot.name}:cost:{contract.id}:{leg}", contract.settlement)


class Pot:
    """One pot of an account: money and positions that stand for each other.

    Attributes
    ----------
    account : Account or None
        None for a pot of the house.
    id, name : str
        ``cross`` and ``alice/cross``.
    mode : {"cross", "isolated", "sub_account"}
        As in the account file.
    state : str
        Its state in the ladder of :mod:`crossmargin.accounts.states`.
    positions : dict
        By instrument and leg.
    """

    __slots__ = ("_ledger", "_lines", "account", "id", "mode", "name", "positions", "state")

    def __init__(
        self, ledger: Ledger, account: Account | None, id: str, name: str, mode: PotMode = "cross"
    ) -> None:
        self._ledger = ledger
        self._lines: dict[tuple[str, str], Line] = {}
        self.account = account
        self.id = id
        self.name = name
        self.mode: PotMode = mode
        self.state: AccountState = "healthy"
        self.positions: dict[tuple[str, Leg], Position] = {}

    def line(self, kind: str, asset: str, location: str = "") -> Line:
        """Return a line of money of this pot; `location` for what is kept elsewhere."""
        key = (kind + "@" + location if location else kind, asset)
        found = self._lines.get(key)
        if found is None:
            found = self._lines[key] = self._ledger.line(f"{self.name}:{key[0]}", asset)
        return found

    def wallet(self, asset: str) -> Line:
        """Return the wallet of an asset, at home."""
        found = self._lines.get(("wallet", asset))
        return self.line("wallet", asset) if found is None else found

    def money(self) -> list[tuple[str, str, Line]]:
        """Return the lines of money that are not 0 as (kind, location, line), by name."""
        rows = []
        for (kind, _), line in self._lines.items():
            if line.balance:
                name, _, location = kind.partition("@")
                rows.append((name, location, line))
        rows.sort(key=lambda row: (row[2].name, row[2].asset))
        return rows

    def open_positions(self) -> list[Position]:
        """Return positions that are not flat, by instrument and leg."""
        return [p for _, p in sorted(self.positions.items()) if p.held.balance]

    def empty(self) -> bool:
        """Whether nothing is left in it."""
        return not any(line.balance for line in self._lines.values()) and not any(
            p.held.balance or p.cost.balance for p in self.positions.values()
        )


class Account:
    """One account (or sub-account) of an owner.

    Attributes
    ----------
    id, owner : str
        Names.
    parent : str or None
        The account that it is a sub-account of.
    ring_fenced : bool
        Whether its money stays out of the losses of its relatives; else a relative's deficit may
        be covered from it.
    legs : {"net", "hedge"}
        Whether long and short of one contract net.
    borrowing : bool
        Whether a coin trade may leave a wallet negative.
    pots : dict
        By id; ``cross`` is always there.
    """

    __slots__ = ("borrowing", "id", "legs", "owner", "parent", "pots", "ring_fenced")

    def __init__(
        self,
        id: str,
        owner: str,
        *,
        parent: str | None = None,
        ring_fenced: bool = True,
        legs: LegMode = "net",
        borrowing: bool = False,
    ) -> None:
        self.id = id
        self.owner = owner
        self.parent = parent
        self.ring_fenced = ring_fenced
        self.legs: LegMode = legs
        self.borrowing = borrowing
        self.pots: dict[str, Pot] = {}
