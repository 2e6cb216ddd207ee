"""The state of all accounts: a fold of events.

It is made by :func:`crossmargin.accounts.replay.apply` alone. Same events, same state, same
digest; a snapshot of it is only a cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from crossmargin.accounts.amounts import Scales, scaled
from crossmargin.accounts.chart import LIQUIDATOR_POT, SYSTEM, VENUE_POT, Line, check_name
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.interest import Curve
from crossmargin.accounts.ledger import Ledger
from crossmargin.accounts.pots import Account, Leg, Position, Pot
from crossmargin.errors import LedgerError, invariant

#: Head of the chain before the first event.
GENESIS = bytes(32)

NO_CURVE = Curve(0, 0, 0, 0)


@dataclass(slots=True, eq=False)
class Asset:
    """An asset as the ledger knows it.

    Attributes
    ----------
    id : str
        Name.
    decimals : int
        Of a quantum.
    curve : Curve
        Borrow rate by utilisation; all 0 until a parameter sets it.
    fund_share : int
        Share of suppliers' interest that goes to the fund `fund_group`, 1e-18.
    """

    id: str
    decimals: int
    curve: Curve = NO_CURVE
    fund_share: int = 0
    fund_group: str = "main"


@dataclass(frozen=True, slots=True)
class Pending:
    """Money under way: where it waits, where it goes when posted and when voided."""

    waiting: Line
    posted: Line
    voided: Line
    amount: int
    code: Literal["deposit", "withdrawal", "transfer", "reserve"]
    pot: Pot


class State:
    """Everything the events so far have made.

    Attributes
    ----------
    ledger : Ledger
        All balances.
    accounts, contracts, assets : dict
        By id.
    system : dict
        Pots of the house: ``venue`` and ``liquidator``.
    pendings : dict
        Money under way, by the id of the event that sent it.
    proofs : dict
        Time of the last proof of a location, ns.
    count : int
        Events applied.
    head : bytes
        Chain over the fingerprints of the events applied.
    """

    def __init__(self, scales: Scales | None = None) -> None:
        self.scales = scales or Scales()
        self.ledger = Ledger()
        self.accounts: dict[str, Account] = {}
        self.contracts: dict[str, Contract] = {}
        self.assets: dict[str, Asset] = {}
        self.pendings: dict[str, Pending] = {}
        self.proofs: dict[str, int] = {}
        self.seen: dict[str, bytes] = {}
        self.busted: set[str] = set()
        self.count = 0
        self.head = GENESIS
        self.system = {
            pot: Pot(self.ledger, None, pot, f"{SYSTEM}:{pot}")
            for pot in (VENUE_POT, LIQUIDATOR_POT)
        }

    # --- finding -------------------------------------------------------------------------------

    def pot(self, account: str, pot: str = "cross") -> Pot:
        """Return a pot.

        Raises
        ------
        LedgerError
            ``LED-002``.
        """
        found = self.accounts.get(account)
        if found is not None:
            there = found.pots.get(pot)
            if there is not None:
                return there
            raise LedgerError(
                f"account {account!r} has no pot {pot!r}",
                code="LED-002",
                account=account,
                field="pot",
                hint="open it first",
            )
        if account == SYSTEM and pot in self.system:
            return self.system[pot]
        raise LedgerError(
            f"there is no account {account!r}",
            code="LED-002",
            account=account,
            field="account",
            hint="open it first",
        )

    def trader(self, account: str, pot: str = "cross") -> Pot:
        """Return a pot of a trader, not one of the house."""
        found = self.pot(account, pot)
        if found.account is None:
            raise LedgerError(
                "the house has no such event", code="LED-002", account=account, field="account"
            )
        return found

    def contract(self, instrument: str) -> Contract:
        """Return a contract that is listed and open.

        Raises
        ------
        LedgerError
            ``LED-003``.
        """
        found = self.contracts.get(instrument)
        if found is None or not found.open:
            raise LedgerError(
                f"{instrument!r} is {'not listed' if found is None else 'closed'}",
                code="LED-003",
                instrument=instrument,
                field="instrument",
                hint="list it first" if found is None else None,
            )
        return found

    def asset(self, name: str) -> Asset:
        """Return an asset, known from now on if it was not."""
        found = self.assets.get(name)
        if found is None:
            check_name(name, "asset")
            found = Asset(name, self.scales.of(name))
            self.put(self.assets, name, found)
        return found

    def amount(self, text: str, asset: str, name: str = "amount") -> int:
        """Read a positive amount of an asset."""
        return scaled(text, self.asset(asset).decimals, name=name, sign="positive")

    def position(self, pot: Pot, contract: Contract, leg: Leg) -> Position:
        """Return a position, opening its lines where there is none."""
        found = pot.positions.get((contract.id, leg))
        if found is None:
            found = pot.positions[contract.id, leg] = Position(pot, contract, leg, self.ledger)
            contract.holders[f"{pot.name}:{leg}"] = found
        return found

    def pots(self) -> Iterator[Pot]:
        """Yield the pots of all traders, by account and pot."""
        for _, account in sorted(self.accounts.items()):
            for _, pot in sorted(account.pots.items()):
                yield pot

    def was_applied(self, id: str, fingerprint: bytes) -> bool:
        """Whether an event of this id and content has been applied."""
        found = self.seen.get(id)
        return found is not None and found[:16] == fingerprint

    def seq_of(self, id: str) -> int:
        """Return the place of an applied event among all, from 1."""
        return int.from_bytes(self.seen[id][16:], "big")

    # --- changing what is not money ------------------------------------------------------------

    def put(self, where: dict[Any, Any], key: Any, value: Any) -> None:
        """Set a key of a dictionary; taken back when the event is refused."""
        if key in where:
            self.ledger.later_undo(where.__setitem__, key, where[key])
        else:
            self.ledger.later_undo(where.pop, key)
        where[key] = value

    def drop(self, where: dict[Any, Any], key: Any) -> None:
        """Remove a key; put back when the event is refused (order in the dictionary may change)."""
        self.ledger.later_undo(where.__setitem__, key, where[key])
        del where[key]

    def set(self, target: Any, name: str, value: Any) -> None:
        """Set an attribute; taken back when the event is refused."""
        self.ledger.later_undo(setattr, target, name, getattr(target, name))
        setattr(target, name, value)

    # --- the whole -----------------------------------------------------------------------------

    def audit(self) -> None:
        """Check every law over the whole state.

        Per asset (contracts among them) the lines sum to 0; per contract costs and realised
        profit sum to 0, so that over all holders profit made and unmade is 0 at any mark; a flat
        position cost nothing; hedge legs keep their sign.

        Raises
        ------
        InvariantViolation
            A fault of the code.
        """
        self.ledger.audit()
        for contract in self.contracts.values():
            cost = 0
            for position in contract.holders.values():
                held, paid = position.held.balance, position.cost.balance
                cost += paid
                if held == 0 and paid:
                    invariant(False, f"{position.cost!r} of a flat position")
                if (held < 0 and position.leg == "long") or (held > 0 and position.leg == "short"):
                    invariant(False, f"{position.held!r} has the sign of the other leg")
            if cost + contract.realised:
                invariant(
                    False,
                    f"{contract.id}: cost {cost} and realised profit {contract.realised} "
                    "do not cancel",
                )

    def canonical(self) -> Iterator[str]:
        """Yield the state line by line, in an order that does not depend on how it came about."""
        yield f"events\t{self.count}\t{self.head.hex()}"
        for line in self.ledger.open_lines():
            yield f"line\t{line.name}\t{line.asset}\t{line.balance}"
        for name, asset in sorted(self.assets.items()):
            yield f"asset\t{name}\t{asset.decimals}\t{asset.curve}\t{asset.fund_share}"
            yield f"\t{asset.fund_group}"
        for name, c in sorted(self.contracts.items()):
            terms = (c.size, c.quantity_decimals, c.expiry_ns, c.strike, c.right, c.group)
            lasting = (c.terms_since, c.premium_at_once, c.session, c.mark, c.realised, c.open)
            yield f"contract\t{name}\t{c.kind}\t{c.underlying}\t{c.quote}\t{c.settlement}"
            yield f"\t{terms}\t{lasting}"
        for name, a in sorted(self.accounts.items()):
            rights = (a.owner, a.parent, a.ring_fenced, a.legs, a.borrowing)
            yield f"account\t{name}\t{rights}"
            for _, pot in sorted(a.pots.items()):
                yield f"pot\t{pot.name}\t{pot.mode}\t{pot.state}"
        for name, p in sorted(self.pendings.items()):
            yield f"pending\t{name}\t{p.waiting.name}\t{p.posted.name}\t{p.voided.name}\t{p.amount}"
        for place, time_ns in sorted(self.proofs.items()):
            yield f"proof\t{place}\t{time_ns}"
        for event in sorted(self.busted):
            yield f"busted\t{event}"

    def digest(self) -> str:
        """Return the SHA-256 of the canonical state, hexadecimal."""
        made = hashlib.sha256()
        for line in self.canonical():
            made.update(line.encode())
            made.update(b"\n")
        return made.hexdigest()
