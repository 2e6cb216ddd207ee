"""The gate: pre-trade checks against any account of a large book, in microseconds.

The rule is that of :mod:`crossmargin.margin.pretrade` (requirements rows A11 and A26): room, or
no harm. A gate holds the book's rows and one compiled market; a check merges the order into a
copy of the account's rows and evaluates the whole rule-set before, resting and filled. A new
market is laid out beside the old one and takes its place with one assignment, so that every
check sees one consistent market.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

from crossmargin.book import CompactBook
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.margin.live._gate_answer import RULES, Fault, GateCheck, invalid
from crossmargin.margin.live._gate_blocks import DECIDED
from crossmargin.margin.live._gate_book import MOST_LEGS
from crossmargin.margin.live._gate_check import decide_kernel
from crossmargin.margin.live._gate_desk import Desk, Leg
from crossmargin.margin.live._gate_file import file_ids
from crossmargin.margin.live._gate_slow import slow_check
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

__all__ = ["Fault", "Gate", "GateCheck"]

NAN = math.nan

#: Code, quantity, price.
CodedLeg = tuple[int, float, float | None]


class Gate(Desk):
    """Pre-trade checks on a book.

    Checks, edits and swaps may come from several threads: each keeps the interpreter's lock
    while it works on the book's rows. A check never raises for what it is asked: a question
    without an answer is answered with the rule ``invalid`` and a fault.

    Parameters
    ----------
    book : CompactBook
        Accounts; of a live book, its :meth:`~crossmargin.margin.live.LiveBook.book`. Those of its
        `rest` that only have orders are taken into the rows; the others are answered by the
        reference engine.
    snapshot : Snapshot
        The market.
    ruleset : Ruleset
        The rules; its order margin must be known.

    Raises
    ------
    RulesetError
        ``RUL-032`` when the rule-set's open-order margin is not published.
    MarginError
        ``MRG-030`` when the rule-set cannot be computed in one pass.
    """

    def __init__(self, book: CompactBook, snapshot: Snapshot, ruleset: Ruleset) -> None:
        super().__init__(book, snapshot, ruleset)
        self._decide = decide_kernel(*self._tables.key)

    def check(
        self,
        account: int | str,
        instrument: str | int,
        quantity: float,
        price: float | None = None,
        *,
        allow_debt: bool = True,
    ) -> GateCheck:
        """Check an order of one leg.

        Parameters
        ----------
        account : int or str
            Number of the account, or its name (which takes longer).
        instrument : str or int
            Name or code.
        quantity : float
            Units of the contract, > 0 buys.
        price : float, optional
            Quote units; without one the order fills at the mark.
        allow_debt : bool
            False refuses an order whose fill leaves or deepens a debt in the asset it is paid in.
        """
        tables = self._tables
        try:
            code = self._codes[instrument]
            found = self._decide(
                tables.address, self._work, account, 0, code, quantity,
                NAN if price is None else price, 1, 0, not allow_debt,
            )  # fmt: skip
        except (KeyError, TypeError, OverflowError):
            # A name that is written in another way, or a value of a type that is none.
            leg: Any = (instrument, quantity, price)
            return self.check_order(account, [leg], allow_debt=allow_debt)
        if found[0] != DECIDED or price != price:
            return self._otherwise(account, instrument, [(code, quantity, price)], [], allow_debt)
        rule = found[1]
        return GateCheck(
            account, instrument, rule < 2, RULES[rule], tables.pot_names[found[8]], found[4],
            found[2], found[3], found[5], found[6], found[7], "fused",
        )  # fmt: skip

    def check_order(
        self, account: int | str, legs: Sequence[Leg], *, allow_debt: bool = True
    ) -> GateCheck:
        """Check an order whose legs fill together; parameters as for :meth:`check`.

        Parameters
        ----------
        account : int or str
            Number of the account, or its name.
        legs : sequence of (instrument, quantity, price or None)
            At least one.
        allow_debt : bool
            As for :meth:`check`.
        """
        first: object = ""
        try:
            first = legs[0][0] if legs else ""
            number = self.number(account)
            figures = [float(len(legs)), -1.0]
            mine: list[CodedLeg] = []
            for name, quantity, price in legs:
                code = self.code(name)
                self._require_leg(number, code, quantity, price)
                mine.append((code, float(quantity), price))
                figures += (code, quantity, NAN if price is None else price)
            return self._ask(number, first, mine, [], figures, allow_debt)
        except CrossmarginError as error:
            return invalid(account, first, error)

    def check_quotes(
        self,
        account: int | str,
        changes: Sequence[tuple[str, float, float | None]],
        *,
        allow_debt: bool = True,
    ) -> GateCheck:
        """Check a change of resting orders or quotes, each of one leg.

        All changed orders rest beside the others that stay; then each is taken as filled, the
        others resting. *Now* is the account with the orders that it has.

        Parameters
        ----------
        account : int or str
            Number of the account, or its name.
        changes : sequence of (order id, quantity, price or None)
            What the orders become; a quote keeps its side. Withdrawing an order needs no check.
        allow_debt : bool
            As for :meth:`check`.
        """
        first: object = ""
        try:
            number = self.number(account)
            resting = self._rows.resting(number)
            figures: list[float] = []
            legs: list[CodedLeg] = []
            removed: list[int] = []
            for name, quantity, price in changes:
                order = self._order(resting, number, name)
                assert resting is not None
                if order in removed:
                    raise InputError(
                        f"order {name!r} is changed twice",
                        code="INP-053", account=self.ids[number], field="orders",
                    )  # fmt: skip
                code = self._require_change(number, resting, order, quantity, price)
                first = first or self._named(code)
                at = NAN if price is None else price
                figures += (1.0, int(resting.group[order]), code, quantity, at)
                legs.append((code, float(quantity), price))
                removed.append(order)
            return self._ask(number, first, legs, removed, [*figures, *removed], allow_debt)
        except CrossmarginError as error:
            return invalid(account, first, error)

    def _ask(
        self,
        number: int,
        instrument: Any,
        legs: list[CodedLeg],
        removed: list[int],
        figures: list[float],
        allow_debt: bool,
    ) -> GateCheck:
        if not 0 < len(legs) <= MOST_LEGS:
            raise InputError(
                f"a question has at least one leg and at most {MOST_LEGS}",
                code="INP-053", account=self.ids[number], field="legs",
            )  # fmt: skip
        tables = self._tables
        packed = array("d", figures)
        found = self._decide(
            tables.address, self._work, number, packed.buffer_info()[0], 0, 0.0, 0.0,
            len(removed) or 1, len(removed), not allow_debt,
        )  # fmt: skip
        if found[0] != DECIDED:
            return self._otherwise(number, instrument, legs, removed, allow_debt)
        rule = found[1]
        return GateCheck(
            number, instrument, rule < 2, RULES[rule], tables.pot_names[found[8]], found[4],
            found[2], found[3], found[5], found[6], found[7], "fused",
        )  # fmt: skip

    def _otherwise(
        self,
        account: int | str,
        instrument: Any,
        legs: list[CodedLeg],
        removed: list[int],
        allow_debt: bool,
    ) -> GateCheck:
        """Say what is wrong with a question, or ask the reference engine."""
        try:
            number = self.number(account)
            for code, quantity, price in legs:
                self._require_leg(number, code, quantity, price)
            slow = slow_check(
                self.account_file(number), self._tables.snapshot(), self.ruleset,
                [(self._named(code), float(quantity), price) for code, quantity, price in legs],
                file_ids(self._rows.resting(number), removed), allow_debt=allow_debt,
            )  # fmt: skip
        except CrossmarginError as error:
            return invalid(account, instrument, error)
        return GateCheck(
            number, instrument, slow.accepted, slow.rule, slow.pot, slow.equity_usd,
            slow.im_before_usd, slow.im_after_usd, slow.excess_usd, slow.rounding_usd,
            slow.debt_usd, "reference",
        )  # fmt: skip
