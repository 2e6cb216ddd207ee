"""The ledger: lines, and the one way in which a balance changes.

Double entry. Every transfer takes a positive amount of one asset from one line (the *debit*) and
gives it to another (the *credit*), so that per asset the sum over all lines is 0 for ever; there
is no other way to change a balance. Within an event transfers are carried out as they are found
and undone in reverse when the event is refused: a refused event has changed nothing.

Source: double-entry book-keeping; pending, posted and void as in TigerBeetle's documentation
(house implementation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from crossmargin.accounts.chart import Line, lowest_of
from crossmargin.errors import LedgerError, invariant

#: A transfer is smaller than this: what 38 decimal digits hold, in Parquet and databases.
AMOUNT_END = 10**38


class Transfer(NamedTuple):
    """One transfer: `amount` > 0 quanta of `asset` leave `debit` and enter `credit`."""

    debit: str
    credit: str
    asset: str
    amount: int
    code: str


Move = tuple[Line, Line, int, str]


class Ledger:
    """All lines, and the transfers of the event at hand."""

    __slots__ = ("_bounded", "_lines", "_moves", "_undo", "by_asset")

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], Line] = {}
        #: Lines of each asset, for audits.
        self.by_asset: dict[str, list[Line]] = {}
        self._bounded: list[Line] = []
        self._moves: list[Move] = []
        self._undo: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def line(self, name: str, asset: str) -> Line:
        """Return a line, opening it at 0; an empty line is not part of the state."""
        found = self._lines.get((name, asset))
        if found is None:
            found = self._lines[name, asset] = Line(name, asset, lowest_of(name))
            self.by_asset.setdefault(asset, []).append(found)
            if found.lowest is not None:
                self._bounded.append(found)
        return found

    def balance(self, name: str, asset: str) -> int:
        """Return the balance of a line in quanta; 0 where nothing was ever booked."""
        found = self._lines.get((name, asset))
        return 0 if found is None else found.balance

    def pay(self, debit: Line, credit: Line, amount: int, code: str) -> None:
        """Move `amount` quanta from `debit` to `credit`; a negative amount goes the other way."""
        if amount < 0:
            debit, credit, amount = credit, debit, -amount
        elif amount == 0:
            return
        if debit is credit:
            return
        if debit.asset != credit.asset:
            invariant(False, f"{debit!r} and {credit!r} are of two assets")
        debit.balance -= amount
        credit.balance += amount
        self._moves.append((debit, credit, amount, code))

    def later_undo(self, back: Callable[..., Any], *arguments: Any) -> None:
        """Remember how to take back a change of state that is not a transfer."""
        self._undo.append((back, arguments))

    def check_touched(self) -> None:
        """Refuse the event at hand when it leaves a line below its bound, or moves absurdly much.

        Raises
        ------
        LedgerError
            ``LED-005``; ``LED-001`` for a transfer of :data:`AMOUNT_END` quanta or more.
        """
        for debit, _, amount, _ in self._moves:
            if amount >= AMOUNT_END:
                raise LedgerError(
                    f"{amount} quanta of {debit.asset} are more than exist",
                    code="LED-001",
                    hint="check quantity and price",
                )
            if debit.lowest is not None and debit.balance < debit.lowest:
                raise LedgerError(
                    f"{debit.name} would fall to {debit.balance} quanta of {debit.asset}",
                    code="LED-005",
                    hint="it cannot be overdrawn",
                )

    def touched(self) -> Iterator[Line]:
        """Yield the lines that the event at hand has changed, with repetition."""
        for debit, credit, _, _ in self._moves:
            yield debit
            yield credit

    def commit(self) -> list[Move]:
        """Keep what the event did and return its transfers in order."""
        done, self._moves = self._moves, []
        self._undo.clear()
        return done

    def rollback(self) -> None:
        """Take back everything since the last commit."""
        for debit, credit, amount, _ in reversed(self._moves):
            debit.balance += amount
            credit.balance -= amount
        self._moves = []
        for back, arguments in reversed(self._undo):
            back(*arguments)
        self._undo.clear()

    def audit(self) -> None:
        """Sum every asset over all lines.

        Raises
        ------
        InvariantViolation
            When a sum is not 0, or a line is below its bound: a fault of the code.
        """
        for asset, lines in self.by_asset.items():
            total = sum([line.balance for line in lines])
            if total:
                invariant(False, f"{asset}: the lines sum to {total} quanta, not 0")
        for line in self._bounded:
            if line.balance < line.lowest:  # type: ignore[operator]
                invariant(False, f"{line!r} is below {line.lowest}")

    def lines_ending(self, ending: str, asset: str) -> list[Line]:
        """Return the lines of an asset that are not 0 and end like this, by name."""
        found = [x for x in self.by_asset.get(asset, ()) if x.balance and x.name.endswith(ending)]
        found.sort(key=lambda line: line.name)
        return found

    def open_lines(self) -> list[Line]:
        """Return the lines whose balance is not 0, by name and asset."""
        found = [line for line in self._lines.values() if line.balance]
        found.sort(key=lambda line: (line.name, line.asset))
        return found

    def __len__(self) -> int:
        return sum(1 for line in self._lines.values() if line.balance)


def transfers_of(moves: list[Move]) -> tuple[Transfer, ...]:
    """Return moves as plain transfers, for a store or a journal."""
    return tuple(Transfer(d.name, c.name, d.asset, amount, code) for d, c, amount, code in moves)
