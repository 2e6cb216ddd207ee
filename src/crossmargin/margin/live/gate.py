"""The gate: pre-trade checks against any account of a large book, in microseconds.

The rule is that of :mod:`crossmargin.margin.pretrade` (requirements rows A11 and A26): room, or
no harm. A gate holds the book's rows and one compiled market; a check merges the order into a
copy of the account's rows and evaluates the whole rule-set before, resting and filled. A new
market is laid out beside the old one and takes its place with one assignment, so that every
check sees one consistent market.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    CompactBook,
    OrderEntry,
    OrderLeg,
    PositionEntry,
    Quote,
    QuoteGroup,
)
from crossmargin.errors import InputError, MarginError
from crossmargin.instruments import parse_instrument
from crossmargin.margin._probe import filled_row, refuse_unpublished
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._layout import COST, POSITION
from crossmargin.margin.fused._program import Program, compile_program
from crossmargin.margin.fused._shapes import NotFusable
from crossmargin.margin.live._gate_book import MOST_LEGS, Resting, Rows
from crossmargin.margin.live._gate_check import check_kernel, check_many_kernel, edit_kernels, freshen_kernel
from crossmargin.margin.live._gate_kernel import DECIDED
from crossmargin.margin.live._gate_rest import account_of, quote, with_orders
from crossmargin.margin.live._gate_slow import SlowCheck, slow_check
from crossmargin.margin.live._gate_market import GateMarket
from crossmargin.margin.live._gate_tables import GROSS, MARK, UNIT_ROWS, Tables, orders_fused
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NAN = math.nan

#: Names of the rules, by the compiled decision's numbers.
RULES = ("room", "reducing", "refused", "debt")

#: Largest quantity that is taken (:data:`crossmargin.book._account.ABSURD`).
ABSURD = 1e15

Leg = tuple[str | int, float, float | None]


class GateCheck(msgspec.Struct, frozen=True, gc=False):
    """Whether an order may be placed, US dollars.

    A msgspec struct that the garbage collector does not follow: it costs a tenth of a
    microsecond to make, and a million of them start no collection.

    Attributes
    ----------
    account : int
        Number of the account.
    accepted : bool
    rule : str
        What decided, as in :class:`crossmargin.margin.pretrade.OrderCheck`: ``room``,
        ``reducing``, ``refused``, ``protect`` or ``debt``.
    pot : str
        The pot with the least excess, among those that the order touches.
    equity_usd, im_before_usd, im_after_usd : float
        Sums over the touched pots: equity now, initial margin now and with the order resting.
    excess_usd : float
        Least excess of a touched pot, resting or at a share of the fill.
    rounding_usd : float
        Bound on rounding, below which a negative excess is read as 0.
    debt_usd : float
        Largest rise of a debt by the fill; 0 where debts are allowed.
    engine : str
        ``fused``, or ``reference`` where :mod:`crossmargin.margin.pretrade` was asked.
    """

    account: int
    accepted: bool
    rule: str
    pot: str
    equity_usd: float
    im_before_usd: float
    im_after_usd: float
    excess_usd: float
    rounding_usd: float
    debt_usd: float
    engine: str

    @property
    def reason(self) -> str:
        """One sentence, made when it is asked for."""
        excess = f"{abs(self.excess_usd):,.2f} USD"
        if self.rule == "room":
            return (
                f"initial margin after the worst fills is covered: {self.pot} keeps an excess of "
                f"{excess}"
            )
        if self.rule == "reducing":
            lacks = f", so it passes although {self.pot} lacks {excess} of initial margin"
            none = "no fill of it raises the initial margin or lowers the excess"
            return none if self.excess_usd >= 0 else none + lacks
        if self.rule == "protect":
            return "no new risk is allowed now, and a fill can leave the account worse off"
        if self.rule == "debt":
            return (
                f"its fill would leave or deepen a debt of {self.debt_usd:,.2f} USD, which is not "
                "allowed"
            )
        return (
            f"after the worst fills {self.pot} would lack {max(-self.excess_usd, 0.0):,.6g} USD of "
            "initial margin, and the order does not only reduce risk"
        )


class Gate:
    """Pre-trade checks on a book.

    Checks, edits and swaps may come from several threads: each keeps the interpreter's lock
    while it works on the book's rows.

    Parameters
    ----------
    book : CompactBook
        Accounts. Those of its `rest` that only have orders are taken into the rows; the others
        are answered by the reference engine.
    snapshot : Snapshot
        The market.
    ruleset : Ruleset
        The rules; its order margin must be known.

    Raises
    ------
    RulesetError
        ``RUL-032`` when the rule-set's open-order margin is not published.
    MarginError
        ``MRG-040`` when the rule-set cannot be computed in one pass.
    """

    def __init__(self, book: CompactBook, snapshot: Snapshot, ruleset: Ruleset) -> None:
        refuse_unpublished(ruleset)
        self.ruleset, self.registry = ruleset, book.registry
        program = self._compile(book, snapshot)
        self._market = GateMarket(program, snapshot, book.registry)
        self._tables = self._market.tables
        whole, ordered, self._irregular = with_orders(book)
        self.ids = whole.ids
        self._number: dict[str, int] | None = None
        self._rows = Rows(program, whole, program.mark)
        self._work = self._rows.address
        self._codes: dict[str | int, int] = {}
        self._name_codes(program)
        self._kernels()
        for number in self._irregular:
            self._rows.header[number, 2] = -1
        for number, one in ordered.items():
            file = account_of(one)
            for order in file.orders:
                self.place(
                    number, order.id, [(x.instrument, x.quantity, x.price) for x in order.legs]
                )
            for group in file.quote_groups:
                self.quote(number, group)

    def _compile(self, book: CompactBook, snapshot: Snapshot) -> Program:
        terms = self.registry.terms
        items = np.arange(len(self.registry))
        assets = np.union1d(book.assets_used(), terms.settlement)
        try:
            program = compile_program(self.registry, snapshot, self.ruleset, items, assets)
            reason = orders_fused(program)
        except NotFusable as error:
            reason = str(error)
        if reason:
            raise MarginError(
                f"rule-set {self.ruleset.id!r} has no fast pre-trade check here: {reason}",
                code="MRG-040",
                hint="use margin.pretrade.check_order, account by account",
            )
        return program

    def _name_codes(self, program: Program) -> None:
        for index, item in enumerate(self.registry):
            code = int(program.layout.of_instrument[index])
            if code >= 0:
                self._codes[item.id] = code
                self._codes[code] = code

    def _kernels(self) -> None:
        key = self._tables.key
        self._check, self._check_many = check_kernel(*key), check_many_kernel(*key)
        shape = (key[0], key[1], key[2], key[4])
        self._edit, self._amend = edit_kernels(*shape)
        self._freshen = freshen_kernel(*shape)

    # ------------------------------------------------------------------ names

    @property
    def size(self) -> int:
        """Number of accounts."""
        return self._rows.size

    @property
    def nbytes(self) -> int:
        """Bytes of rows and headers."""
        return self._rows.nbytes

    def code(self, instrument: str) -> int:
        """Return the code of an instrument, which checks take instead of its name.

        Raises
        ------
        InputError
            ``INP-001`` when the name cannot be read, ``INP-090`` when the gate's market does not
            have it.
        """
        known = self._codes.get(instrument)
        if known is not None:
            return known
        name = parse_instrument(instrument).id if isinstance(instrument, str) else str(instrument)
        known = self._codes.get(name)
        if known is None:
            raise InputError(
                f"instrument {name!r} is not among those of the book's registry",
                code="INP-090",
                instrument=name,
                hint="add it to the registry and make the gate anew",
            )
        self._codes[instrument] = known
        return known

    def number(self, account: str | int) -> int:
        """Return the number of an account.

        Raises
        ------
        InputError
            ``INP-091`` when the book has no such account.
        """
        if isinstance(account, str):
            if self._number is None:
                self._number = {name: k for k, name in enumerate(self.ids)}
            known = self._number.get(account)
            if known is not None:
                return known
        elif 0 <= account < self.size:
            return account
        raise InputError(
            f"the book has no account {account!r}",
            code="INP-091",
            account=str(account),
            hint=f"accounts are numbered from 0 to {self.size - 1}, or called by name",
        )

    def mark(self, instrument: str | int) -> tuple[float, float]:
        """Return an instrument's mark and the notional of one unit of it in US dollars."""
        code = self._codes.get(instrument)
        code = self.code(instrument) if code is None else code  # type: ignore[arg-type]
        unit = self._tables.arrays[UNIT_ROWS].reshape(-1, LANES)
        return float(unit[code, MARK]), float(unit[code, GROSS])

    def market(self) -> Snapshot:
        """Return the market in use."""
        return self._tables.snapshot()

    def rows_of(self, account: int) -> tuple[Ints, Floats]:
        """Return codes and quantities of an account: contracts, balances and what was paid."""
        codes, quantity, _ = self._rows.of(self.number(account))
        return codes, quantity

    def scenario_table(self) -> Floats:
        """Return what one unit of each code gains in each scenario, ``[C, 8·vectors]``."""
        program = self._tables.program
        return program.table[:, : LANES * program.nv]

    # ------------------------------------------------------------------ checks

    def check(
        self,
        account: int,
        instrument: str | int,
        quantity: float,
        price: float | None = None,
        *,
        allow_debt: bool = True,
    ) -> GateCheck:
        """Check an order of one leg.

        Parameters
        ----------
        account : int
            Number of the account (:meth:`number` finds it by name).
        instrument : str or int
            Name or code.
        quantity : float
            Units of the contract, > 0 buys.
        price : float, optional
            Quote units; without one the order fills at the mark.
        allow_debt : bool
            False refuses an order whose fill leaves or deepens a debt in the asset it is paid in.

        Raises
        ------
        InputError
            For an account, instrument, quantity or price that cannot be.
        CrossmarginError
            What the reference engine raises where the account cannot be valued.
        """
        tables = self._tables
        code = self._codes.get(instrument)
        if code is None:
            code = self.code(instrument)  # type: ignore[arg-type]
        found = self._check(
            tables.address,
            self._work,
            account,
            code,
            quantity,
            NAN if price is None else price,
            not allow_debt,
        )
        if found[0] != DECIDED or price != price:
            return self._otherwise(found, account, [(code, quantity, price)], [], [], allow_debt)
        rule = found[1]
        return GateCheck(
            account,
            rule < 2,
            RULES[rule],
            tables.pot_names[found[8]],
            found[4],
            found[2],
            found[3],
            found[5],
            found[6],
            found[7],
            "fused",
        )

    def check_order(
        self, account: int, legs: Sequence[Leg], *, allow_debt: bool = True
    ) -> GateCheck:
        """Check an order whose legs fill together; parameters as for :meth:`check`.

        Parameters
        ----------
        account : int
            Number of the account.
        legs : sequence of (instrument, quantity, price or None)
            At least one.
        allow_debt : bool
            As for :meth:`check`.
        """
        codes = self._codes
        figures = [len(legs), -1.0]
        mine = []
        for name, quantity, price in legs:
            code = codes.get(name)
            if code is None:
                code = self.code(name)  # type: ignore[arg-type]
            mine.append((code, quantity, price))
            figures += (code, quantity, NAN if price is None else price)
        return self._ask(account, mine, [], [-1], figures, 1, 0, allow_debt)

    def check_quotes(
        self,
        account: int,
        changes: Sequence[tuple[str, float, float | None]],
        *,
        allow_debt: bool = True,
    ) -> GateCheck:
        """Check a change of resting orders or quotes, each of one leg.

        All changed orders rest beside the others that stay; then each is taken as filled, the
        others resting. *Now* is the account with the orders that it has.

        Parameters
        ----------
        account : int
            Number of the account.
        changes : sequence of (order id, quantity, price or None)
            What the orders become; the side may not change for a quote. Withdrawing an order
            needs no check.
        allow_debt : bool
            As for :meth:`check`.

        Raises
        ------
        InputError
            ``INP-092`` when the account has no such order.
        """
        resting = self._rows.resting(self.number(account))
        figures: list[float] = []
        legs, removed, groups = [], [], []
        for name, quantity, price in changes:
            order = self._order(resting, account, name)
            at = resting.legs(order)  # type: ignore[union-attr]
            code = int(resting.code[at.start])  # type: ignore[union-attr]
            group = int(resting.group[order])  # type: ignore[union-attr]
            figures += (1, group, code, quantity, NAN if price is None else price)
            legs.append((code, quantity, price))
            removed.append(order)
            groups.append(group)
        return self._ask(
            account, legs, removed, groups, figures + removed, len(legs), len(removed), allow_debt
        )

    def _ask(
        self,
        account: int,
        legs: list[tuple[int, float, float | None]],
        removed: list[int],
        groups: list[int],
        figures: list[float],
        alternatives: int,
        removals: int,
        allow_debt: bool,
    ) -> GateCheck:
        if not legs or len(legs) > MOST_LEGS:
            raise InputError(
                f"an order has at least one leg and at most {MOST_LEGS}",
                code="INP-093",
                account=self.ids[self.number(account)],
                field="legs",
            )
        tables = self._tables
        packed = struct.pack(f"{len(figures)}d", *figures)
        found = self._check_many(
            tables.address, self._work, account, packed, alternatives, removals, not allow_debt
        )
        if found[0] != DECIDED or any(p != p for _, _, p in legs):
            return self._otherwise(found, account, legs, removed, groups, allow_debt)
        rule = found[1]
        return GateCheck(
            account, rule < 2, RULES[rule], tables.pot_names[found[8]], found[4], found[2],
            found[3], found[5], found[6], found[7], "fused",
        )  # fmt: skip

    def _otherwise(
        self,
        found: tuple[Any, ...],
        account: int,
        legs: list[tuple[int, float, float | None]],
        removed: list[int],
        groups: list[int],
        allow_debt: bool,
    ) -> GateCheck:
        """Say what is wrong with a question, or ask the reference engine."""
        number = self.number(account)
        for code, quantity, price in legs:
            self._require_leg(number, code, quantity, price)
        resting = self._rows.resting(number)
        file = self.account_file(number)
        orders = [
            (self._named(code), float(quantity), price) for code, quantity, price in legs
        ]  # fmt: skip
        ids = self._file_ids(resting, removed)
        slow: SlowCheck = slow_check(
            file, self._tables.snapshot(), self.ruleset, orders, ids, allow_debt=allow_debt
        )
        return GateCheck(
            number, slow.accepted, slow.rule, slow.pot, slow.equity_usd, slow.im_before_usd,
            slow.im_after_usd, slow.excess_usd, slow.rounding_usd, slow.debt_usd, "reference",
        )  # fmt: skip

    def _require_leg(self, number: int, code: int, quantity: float, price: float | None) -> None:
        name = self._named(code)
        where = {"account": self.ids[number], "instrument": name}
        if not math.isfinite(quantity) or abs(quantity) > ABSURD:
            raise InputError(
                f"{quantity!r} is not a finite number of sane size",
                code="INP-004", field="quantity", **where,
            )  # fmt: skip
        if quantity == 0:
            raise InputError(
                "an order for a quantity of zero", code="INP-006", field="quantity", **where
            )
        if price is None:
            return
        option = self.registry[self._item(code)].kind == "option"
        if not math.isfinite(price) or price < 0 or (price == 0 and not option):
            raise InputError(
                f"an order price of {price:g}, which is no price",
                code="INP-004", field="price", **where,
            )  # fmt: skip

    def _item(self, code: int) -> int:
        return int(self._tables.program.layout.item[code])

    def _named(self, code: int) -> str:
        return self.registry[self._item(code)].id

    @staticmethod
    def _file_ids(resting: Resting | None, orders: Sequence[int]) -> list[str]:
        """Names of orders as :meth:`account_file` writes them: a quote for every side."""
        if resting is None:
            return []
        seen: dict[int, int] = {}
        names = {}
        for name, order in resting.names.items():
            group = int(resting.group[order])
            if group >= 0:
                place = seen.get(group, 0)
                seen[group] = place + 1
                side = "bid" if resting.quantity[resting.legs(order).start] > 0 else "ask"
                name = f"{resting.groups[group].id}/{place}/{side}"
            names[order] = name
        return [names[order] for order in orders]

    def _order(self, resting: Resting | None, account: int, name: str) -> int:
        order = None if resting is None else resting.names.get(name)
        if order is None:
            raise InputError(
                f"the account has no order {name!r}",
                code="INP-092",
                account=self.ids[self.number(account)],
                field="orders",
            )
        return order

    # ------------------------------------------------------------------ the market

    def prepare(self, prices_usd: Mapping[str, float]) -> Tables:
        """Lay out the market with some assets at other prices; nothing changes yet.

        Forwards, futures, perpetuals and spot of an asset move in proportion, volatilities stay
        with their strikes (:class:`crossmargin.market.moved.MovedMarket`). Takes about a
        millisecond; may run in another thread, one at a time. What is returned may be put in use,
        taken out and put in again.

        Parameters
        ----------
        prices_usd : mapping of str to float
            Assets and their prices; others stay where they were last prepared.

        Raises
        ------
        MarketDataError
            ``MKT-001`` for an asset without a price in the market, ``MKT-009`` for a price that
            is not positive.
        """
        return self._market.at(prices_usd)

    def swap(self, tables: Tables) -> None:
        """Put a prepared market in use: one assignment, seen whole by the next check."""
        self._tables = tables

    def tick(self, prices_usd: Mapping[str, float]) -> None:
        """Lay out the market with some assets at other prices, and put it in use."""
        self.swap(self.prepare(prices_usd))

    def revalue(self, snapshot: Snapshot) -> None:
        """Put another market of the same instruments in use: every row anew."""
        self.swap(self._market.anew(snapshot))

    def freshen(self, accounts: Iterable[int]) -> None:
        """Sum the resting orders of accounts in the market in use, off the path of checks.

        Sums belong to one market. The first check of an account in another makes them afresh,
        which takes some tens of microseconds where 1,600 quotes rest.
        """
        for account in accounts:
            if self._rows.resting(account) is not None:
                self._freshen(self._tables.address, self._work, account)

    # ------------------------------------------------------------------ orders

    def place(self, account: int, name: str, legs: Sequence[Leg]) -> None:
        """Let an order rest; nothing is checked but its form.

        Parameters
        ----------
        account : int
            Number of the account.
        name : str
            Its id, unique within the account.
        legs : sequence of (instrument, quantity, price or None)
            One leg, or several that fill together.

        Raises
        ------
        InputError
            ``INP-007`` when the id is taken, or as for :meth:`check`.
        """
        self._rest(account, name, legs, -1)

    def quote(self, account: int, group: QuoteGroup) -> None:
        """Let quotes rest under one protection limit.

        Sides are called ``group/k/bid`` and ``group/k/ask``, as in account files.
        """
        limit = group.protection_limit_usd
        self.number(account)
        self._regular(account)
        resting = self._rows.open_slot(account, self._tables.program)
        number = resting.open_group(group.id, math.inf if limit is None else float(limit))
        self._rows.moved(account)
        for k, one in enumerate(group.quotes):
            for side, sign, quantity, price in (
                ("bid", 1.0, one.bid_quantity, one.bid_price),
                ("ask", -1.0, one.ask_quantity, one.ask_price),
            ):
                if float(quantity):
                    leg = (one.instrument, sign * float(quantity), price)
                    self._rest(account, f"{group.id}/{k}/{side}", [leg], number)

    def _rest(self, account: int, name: str, legs: Sequence[Leg], group: int) -> None:
        self.number(account)
        self._regular(account)
        mine = []
        for instrument, quantity, price in legs:
            code = self._codes.get(instrument)
            code = self.code(instrument) if code is None else code  # type: ignore[arg-type]
            price = None if price is None else float(price)
            self._require_leg(account, code, float(quantity), price)
            mine.append((code, float(quantity), NAN if price is None else price))
        if not 0 < len(mine) <= MOST_LEGS:
            raise InputError("an order without legs", code="INP-093", field="legs")
        resting = self._rows.open_slot(account, self._tables.program)
        if name in resting.names:
            raise InputError(
                f"order {name!r} appears twice",
                code="INP-007", account=self.ids[account], field="orders",
            )  # fmt: skip
        columns = np.array(mine)
        order = resting.add(
            name, columns[:, 0].astype(np.int64), columns[:, 1], columns[:, 2], group
        )
        self._rows.moved(account)
        self._edit(self._tables.address, self._work, account, order, 1)

    def cancel(self, account: int, name: str) -> None:
        """Withdraw a resting order or quote.

        Raises
        ------
        InputError
            ``INP-092`` when the account has no such order.
        """
        resting = self._rows.resting(self.number(account))
        order = self._order(resting, account, name)
        assert resting is not None
        self._edit(self._tables.address, self._work, account, order, -1)
        resting.remove(name)

    def amend(self, account: int, name: str, quantity: float, price: float | None) -> None:
        """Change quantity and price of a resting order or quote of one leg."""
        resting = self._rows.resting(self.number(account))
        order = self._order(resting, account, name)
        assert resting is not None
        at = resting.legs(order).start
        self._require_leg(account, int(resting.code[at]), quantity, price)
        figure = NAN if price is None else price
        self._amend(self._tables.address, self._work, account, order, quantity, figure)

    def _regular(self, account: int) -> None:
        if account in self._irregular:
            raise InputError(
                "an account with several pools, fences, hedge legs or located balances cannot be "
                "edited here",
                code="INP-080",
                account=self.ids[account],
            )

    # ------------------------------------------------------------------ fills and deposits

    def fill(self, account: int, legs: Sequence[Leg]) -> None:
        """Book a fill: positions, what was paid for them, and cash; fees as the rules state."""
        self.number(account)
        self._regular(account)
        tables = self._tables
        layout, unit = tables.program.layout, tables.arrays[UNIT_ROWS].reshape(-1, LANES)
        cash = tables.arrays[27].reshape(-1, 2)
        held = _Held(*self._rows.of(account))
        for instrument, quantity, price in legs:
            code = self._codes.get(instrument)
            code = self.code(instrument) if code is None else code  # type: ignore[arg-type]
            self._require_leg(account, code, quantity, price)
            size, mark, valued, inverse, fee = unit[code, :5].tolist()
            p = mark if price is None else price
            paid = -abs(quantity) * fee
            before, entry = held.rows.get(code, (0.0, NAN))
            if valued:
                paid -= quantity * p * size
                held.rows[code] = (before + quantity, NAN)
            else:
                after, then, gain = filled_row(before, entry, quantity, p, inverse=bool(inverse))
                held.rows[code] = (after, then)
                paid += gain * size
            held.add(int(cash[code, 0]), paid)
        for cost in np.flatnonzero(layout.what == COST).tolist():
            mine = [c for c in held.rows if cash[c, 1] == cost]
            total = sum(_paid(unit[c], *held.rows[c]) for c in mine if held.rows[c][0])
            held.rows[cost] = (total, NAN)
        self._rows.put(account, *held.sorted())

    def deposit(self, account: int, asset: str, amount: float) -> None:
        """Book a deposit (> 0) or withdrawal of an asset.

        Raises
        ------
        InputError
            ``INP-094`` when the gate has no such asset.
        """
        self.number(account)
        self._regular(account)
        layout, names = self._tables.program.layout, self.registry.assets
        code = int(layout.of_stressed[names.index(asset)]) if asset in names else -1
        if code < 0 or not math.isfinite(amount):
            raise InputError(
                f"{amount!r} of {asset!r} cannot be paid in",
                code="INP-094", account=self.ids[account], field="balances",
                hint="an asset that the book holds or settles in, and a finite amount",
            )  # fmt: skip
        held = _Held(*self._rows.of(account))
        held.add(code, amount)
        self._rows.put(account, *held.sorted())

    def account_file(self, account: int) -> AccountFile:
        """Write an account as an account file, with its resting orders."""
        number = self.number(account)
        if number in self._irregular:
            return account_of(self._irregular[number])
        layout, names = self._tables.program.layout, self.registry.assets
        unit = self._tables.arrays[UNIT_ROWS].reshape(-1, LANES)
        balances, positions = [], []
        for code, quantity, entry in zip(*(x.tolist() for x in self._rows.of(number))):
            item = int(layout.item[code])
            if layout.what[code] == POSITION:
                valued = bool(unit[code, 2])
                positions.append(
                    PositionEntry(
                        instrument=self.registry[item].id,
                        quantity=quantity,
                        entry_price=None if valued or np.isnan(entry) else entry,
                    )
                )
            elif layout.what[code] != COST:
                balances.append(BalanceEntry(asset=names[item], amount=quantity))
        orders, groups = self._resting_entries(number)
        return AccountFile(
            format="crossmargin-account/1", account=self.ids[number], balances=balances,
            positions=positions, orders=orders, quote_groups=groups,
        )  # fmt: skip

    def _resting_entries(self, number: int) -> tuple[list[OrderEntry], list[QuoteGroup]]:
        resting = self._rows.resting(number)
        orders: list[OrderEntry] = []
        quotes: dict[int, list[Quote]] = {}
        for name, order in ({} if resting is None else resting.names).items():
            assert resting is not None
            at = resting.legs(order)
            legs = [
                (self._named(int(c)), float(q), None if np.isnan(p) else float(p))
                for c, q, p in zip(resting.code[at], resting.quantity[at], resting.price[at])
            ]
            if resting.group[order] < 0:
                entries = [OrderLeg(instrument=i, quantity=q, price=p) for i, q, p in legs]
                orders.append(OrderEntry(id=name, legs=entries))
            else:
                quotes.setdefault(int(resting.group[order]), []).append(quote(*legs[0]))
        groups = [
            QuoteGroup(
                id=resting.groups[g].id,  # type: ignore[union-attr]
                quotes=quotes[g],
                protection_limit_usd=(
                    limit
                    if math.isfinite(limit := resting.groups[g].limit_usd)  # type: ignore[union-attr]
                    else None
                ),
            )
            for g in sorted(quotes)
        ]
        return orders, groups


def _paid(unit: Any, quantity: float, entry: float) -> float:
    """What a position cost, as its row counts it: of contracts with profit."""
    return float(quantity * unit[0] / entry if unit[3] else -quantity * unit[0] * entry)


class _Held:
    """Rows of one account by code."""

    def __init__(self, codes: Any, quantity: Any, entry: Any) -> None:
        self.rows: dict[int, tuple[float, float]] = {
            c: (q, e) for c, q, e in zip(codes.tolist(), quantity.tolist(), entry.tolist())
        }

    def add(self, code: int, amount: float) -> None:
        self.rows[code] = (self.rows.get(code, (0.0, NAN))[0] + amount, NAN)

    def sorted(self) -> tuple[Any, Any, Any]:
        """Codes, quantities and entries in order, without what is nothing."""
        codes = sorted(c for c, (q, _) in self.rows.items() if q != 0.0)
        quantity = np.array([self.rows[c][0] for c in codes])
        entry = np.array([self.rows[c][1] for c in codes])
        return np.array(codes, dtype=np.int64), quantity, entry
