"""Letters to the holder of an account: margin calls, and what was closed by force.

A letter says what the ledger has: a call what the pot had and should have had, how much is lacking,
until when, and what happens otherwise; a closing letter each position that was closed or taken
over, at which price, for which fee, and what is left. Letters are read from the log, so that the
same log gives the same letters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import msgspec

from crossmargin.accounts import events as ev
from crossmargin.accounts.amounts import fixed, text_of
from crossmargin.accounts.events import Event
from crossmargin.accounts.state import State
from crossmargin.accounts.states import AccountState
from crossmargin.units import format_time

if TYPE_CHECKING:
    from crossmargin.accounts.store import Record

#: What follows if nothing is done, by the state that a pot has come to.
OTHERWISE: dict[AccountState, str] = {
    "warning": "If equity falls below the initial margin, only orders that cut risk are accepted.",
    "reduce-only": "Only orders that cut risk are accepted. If equity falls below the maintenance "
    "margin, positions are closed by force.",
    "liquidating": "Positions are being closed by force until the requirement is met.",
}

_CLOSING = ("liquidation_step", "takeover", "adl", "forfeit", "fund_cover", "socialised_loss")


class ClosedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done by force.

    `what` is ``closed``, ``taken over``, ``deleveraged``, ``forfeited``, ``paid by the fund`` or
    ``share of a loss``; amounts in `asset`, positive where the account received them.
    """

    what: str
    instrument: str | None = None
    quantity: str | None = None
    price: str | None = None
    asset: str
    amount: str
    fee: str = "0"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One letter.

    Calls have `equity`, `required` and `lacking` in `asset`; closings have `lines` and `wallet`,
    what the pot's wallets hold afterwards, by asset.
    """

    kind: Literal["margin call", "closing"]
    account: str
    owner: str
    pot: str
    time: str
    entry: int
    state: str
    asset: str = ""
    equity: str = ""
    required: str = ""
    lacking: str = ""
    until: str | None = None
    otherwise: str = ""
    lines: list[ClosedLine] = []
    wallet: dict[str, str] = {}


def letters_of(state: State, account: str, records: Iterable[Record]) -> list[Letter]:
    """Return the letters to the holder of an account, in the order of the log.

    Parameters
    ----------
    state : State
        After the last record.
    account : str
        Whose.
    records : iterable of Record
        The whole log.

    Raises
    ------
    LedgerError
        ``LED-002`` for an unknown account.
    """
    state.trader(account)
    desk = _Writer(state, account)
    for record in records:
        desk.take(record)
    return desk.done()


def _short(price: str) -> str:
    """Return decimal text without zeros at its end."""
    return price.rstrip("0").rstrip(".") if "." in price else price


class _Writer:
    """Goes through the log and writes down what concerns one account."""

    def __init__(self, state: State, account: str) -> None:
        self._state, self._account = state, account
        self._owner = state.accounts[account].owner
        self._pots: dict[str, str] = {}
        self._wallets: dict[tuple[str, str], int] = {}
        self._open: dict[str, tuple[Record, list[ClosedLine]]] = {}
        self._found: list[Letter] = []

    def take(self, record: Record) -> None:
        """Take an entry in."""
        for pot, (first, _) in list(self._open.items()):
            if record.time_ns != first.time_ns:
                self._close(pot)
        mine = self._moved(record)
        if record.kind not in (*_CLOSING, "set_state", "margin_call"):
            return
        event = msgspec.json.decode(record.payload, type=Event)
        if isinstance(event, ev.SetState) and event.account == self._account:
            self._pots[event.pot] = event.state
        elif isinstance(event, ev.MarginCall) and event.account == self._account:
            self._found.append(self._call(record, event))
        else:
            for pot, line in self._lines(event, mine):
                self._open.setdefault(pot, (record, []))[1].append(line)

    def done(self) -> list[Letter]:
        """Return all letters."""
        for pot in list(self._open):
            self._close(pot)
        return sorted(self._found, key=lambda letter: letter.entry)

    def _moved(self, record: Record) -> dict[tuple[str, str], int]:
        """Return what an entry moved in the wallets of the account, by pot and asset."""
        moved: dict[tuple[str, str], int] = {}
        start = f"{self._account}/"
        for debit, credit, asset, amount, code in record.transfers:
            for name, sign in ((debit, -1), (credit, 1)):
                owner, _, kind = name.partition(":")
                if owner.startswith(start) and kind == "wallet":
                    key = (owner.removeprefix(start), asset)
                    self._wallets[key] = self._wallets.get(key, 0) + sign * amount
                    if code != "liquidation_fee":
                        moved[key] = moved.get(key, 0) + sign * amount
        return moved

    def _call(self, record: Record, event: ev.MarginCall) -> Letter:
        decimals = self._state.asset(event.asset).decimals
        lacking = fixed(event.required, name="required") - fixed(event.equity, name="equity")
        quanta = -(-max(0, lacking) // 10 ** (18 - decimals))
        state = self._pots.get(event.pot, "healthy")
        return Letter(
            kind="margin call",
            account=self._account,
            owner=self._owner,
            pot=event.pot,
            time=format_time(record.time_ns),
            entry=record.seq,
            state=state,
            asset=event.asset,
            equity=event.equity,
            required=event.required,
            lacking=text_of(quanta, decimals),
            until=event.until,
            otherwise=OTHERWISE.get(state, ""),  # type: ignore[call-overload]
        )

    def _lines(
        self, event: Event, moved: dict[tuple[str, str], int]
    ) -> list[tuple[str, ClosedLine]]:
        """Return what an event of last resort did to the account, by pot."""
        if isinstance(event, ev.LiquidationStep | ev.Takeover) and event.account == self._account:
            asset = self._state.contracts[event.instrument].settlement
            line = ClosedLine(
                what="closed" if isinstance(event, ev.LiquidationStep) else "taken over",
                instrument=event.instrument,
                quantity=event.quantity,
                price=_short(event.price),
                asset=asset,
                amount=self._text(moved.get((event.pot, asset), 0), asset),
                fee=event.fee if isinstance(event, ev.LiquidationStep) else "0",
            )
            return [(event.pot, line)]
        if isinstance(event, ev.Adl):
            asset = self._state.contracts[event.instrument].settlement
            return [
                (
                    share.pot,
                    ClosedLine(
                        what="deleveraged",
                        instrument=event.instrument,
                        quantity=share.quantity,
                        price=_short(event.price),
                        asset=asset,
                        amount=self._text(moved.get((share.pot, asset), 0), asset),
                    ),
                )
                for share in event.against
                if share.account == self._account
            ]
        said = {
            ev.Forfeit: "forfeited",
            ev.FundCover: "paid by the fund",
            ev.SocialisedLoss: "share of a loss",
        }.get(type(event))
        if said is None:
            return []
        return [
            (pot, ClosedLine(what=said, asset=asset, amount=self._text(quanta, asset)))
            for (pot, asset), quanta in sorted(moved.items())
            if quanta
        ]

    def _close(self, pot: str) -> None:
        """Finish the letter of a pot: all that was done at one moment is one letter."""
        first, lines = self._open.pop(pot)
        wallet = {
            asset: self._text(quanta, asset)
            for (name, asset), quanta in sorted(self._wallets.items())
            if name == pot
        }
        self._found.append(
            Letter(
                kind="closing",
                account=self._account,
                owner=self._owner,
                pot=pot,
                time=format_time(first.time_ns),
                entry=first.seq,
                state=self._pots.get(pot, "healthy"),
                lines=lines,
                wallet=wallet,
            )
        )

    def _text(self, quanta: int, asset: str) -> str:
        return text_of(quanta, self._state.asset(asset).decimals)
