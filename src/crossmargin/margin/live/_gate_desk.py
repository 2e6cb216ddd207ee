"""The desk behind a gate: names, the market in use, and what changes the accounts of a book."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile, CompactBook, QuoteGroup
from crossmargin.errors import CrossmarginError, InputError, MarginError
from crossmargin.instruments import parse_instrument
from crossmargin.margin._probe import refuse_unpublished
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._program import Program, compile_program
from crossmargin.margin.fused._shapes import NotFusable
from crossmargin.margin.live._gate_blocks import ABSURD
from crossmargin.margin.live._gate_book import MOST_LEGS, Resting, Rows
from crossmargin.margin.live._gate_edits import edit_kernels, freshen_kernel
from crossmargin.margin.live._gate_file import account_entries
from crossmargin.margin.live._gate_fills import Held, book_fill
from crossmargin.margin.live._gate_market import GateMarket
from crossmargin.margin.live._gate_rest import account_of, with_orders
from crossmargin.margin.live._gate_tables import GROSS, MARK, UNIT_ROWS, Tables, orders_fused
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NAN = math.nan

Leg = tuple[str, float, float | None] | tuple[int, float, float | None]


class Desk:
    """Accounts that trade: names, prices, resting orders, fills and deposits.

    Parameters
    ----------
    book, snapshot, ruleset
        As for :class:`crossmargin.margin.live.gate.Gate`.
    """

    def __init__(self, book: CompactBook, snapshot: Snapshot, ruleset: Ruleset) -> None:
        refuse_unpublished(ruleset)
        self.ruleset, self.registry = ruleset, book.registry
        program = self._compile(book, snapshot)
        self._market = GateMarket(program, snapshot)
        self._tables = self._market.tables
        whole, ordered, self._irregular = with_orders(book)
        self.ids = whole.ids
        self._number: dict[str, int] | None = None
        self._rows = Rows(program, whole, program.mark)
        self._work = self._rows.address
        self._codes: dict[str | int, int] = {}
        self._name_codes(program)
        self._kernels()
        for number, one in ordered.items():
            try:
                self._rest_all(number, account_of(one))
            except CrossmarginError:
                # Asked about, the reference engine says what is wrong with its orders.
                self._irregular[number] = one
        for number in self._irregular:
            self._rows.header[number, 2] = -1

    def _rest_all(self, number: int, file: AccountFile) -> None:
        for order in file.orders:
            legs = [(x.instrument, float(x.quantity), _price(x.price)) for x in order.legs]
            self._rest(number, order.id, legs, -1)
        for group in file.quote_groups:
            self.quote(number, group)

    def _compile(self, book: CompactBook, snapshot: Snapshot) -> Program:
        items = np.arange(len(self.registry))
        assets = np.union1d(book.assets_used(), self.registry.terms.settlement)
        try:
            if self.ruleset.by_owner:
                raise NotFusable("an owner is charged for all accounts together")
            program = compile_program(self.registry, snapshot, self.ruleset, items, assets)
            reason = orders_fused(program)
        except NotFusable as error:
            reason = str(error)
        if reason:
            raise MarginError(
                f"rule-set {self.ruleset.id!r} has no fast pre-trade check here: {reason}",
                code="MRG-030",
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

    def code(self, instrument: str | int) -> int:
        """Return the code of an instrument, which checks take instead of its name.

        Raises
        ------
        InputError
            ``INP-001`` when the name cannot be read, ``INP-051`` when the gate's market does not
            have it.
        """
        known = self._codes.get(instrument) if isinstance(instrument, str | int) else None
        if known is not None:
            return known
        name = parse_instrument(instrument).id if isinstance(instrument, str) else repr(instrument)
        known = self._codes.get(name)
        if known is None:
            raise InputError(
                f"instrument {name!r} is not among those of the book's registry",
                code="INP-051",
                instrument=name,
                hint="add it to the registry and make the gate anew",
            )
        self._codes[instrument] = known
        return known

    def number(self, account: str | int) -> int:
        """Return the number of an account, by its name or number.

        Raises
        ------
        InputError
            ``INP-052`` when the book has no such account.
        """
        if isinstance(account, str):
            if self._number is None:
                self._number = {name: k for k, name in enumerate(self.ids)}
            known = self._number.get(account)
            if known is not None:
                return known
        elif isinstance(account, int | np.integer) and 0 <= account < self.size:
            return int(account)
        raise InputError(
            f"the book has no account {account!r}",
            code="INP-052",
            account=str(account),
            hint=f"accounts are numbered from 0 to {self.size - 1}, or called by name",
        )

    def mark(self, instrument: str | int) -> tuple[float, float]:
        """Return an instrument's mark and the notional of one unit of it in US dollars."""
        code = self.code(instrument)
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

    def _require_leg(self, number: int, code: int, quantity: float, price: float | None) -> None:
        name = self._named(code)
        where = {"account": self.ids[number], "instrument": name}
        if not _number(quantity) or abs(quantity) > ABSURD:
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
        if not _number(price) or price < 0 or (price == 0 and not option):
            raise InputError(
                f"an order price of {price!r}, which is no price",
                code="INP-004", field="price", **where,
            )  # fmt: skip

    def _item(self, code: int) -> int:
        return int(self._tables.program.layout.item[code])

    def _named(self, code: int) -> str:
        return self.registry[self._item(code)].id

    def _order(self, resting: Resting | None, account: int, name: str) -> int:
        order = None if resting is None else resting.names.get(name)
        if order is None:
            raise InputError(
                f"the account has no order {name!r}",
                code="INP-052",
                account=self.ids[self.number(account)],
                field="orders",
            )
        return order

    # ------------------------------------------------------------------ the market

    def prepare(self, prices_usd: Mapping[str, float]) -> Tables:
        """Lay out the market with some assets at other prices; nothing changes yet.

        Forwards, futures, perpetuals and spot of an asset move in proportion, volatilities stay
        with their strikes (:class:`crossmargin.market.moved.MovedMarket`). Takes a millisecond or
        two; may run in another thread, one at a time. What is returned may be put in use, taken
        out and put in again.

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
        """Put another market of the same instruments in use: every row anew.

        Who holds or orders what it has no price for is answered ``invalid``, with the reason.
        """
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
                    leg = (one.instrument, sign * float(quantity), _price(price))
                    self._rest(account, f"{group.id}/{k}/{side}", [leg], number)

    def _rest(self, account: int, name: str, legs: Sequence[Leg], group: int) -> None:
        self.number(account)
        self._regular(account)
        mine = []
        for instrument, quantity, price in legs:
            code = self.code(instrument)
            price = None if price is None else float(price)
            self._require_leg(account, code, float(quantity), price)
            mine.append((code, float(quantity), NAN if price is None else price))
        if not 0 < len(mine) <= MOST_LEGS:
            raise InputError("an order without legs", code="INP-053", field="legs")
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
            ``INP-052`` when the account has no such order.
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
        self._require_change(account, resting, order, quantity, price)
        figure = NAN if price is None else float(price)
        self._amend(self._tables.address, self._work, account, order, float(quantity), figure)

    def _require_change(
        self, account: int, resting: Resting, order: int, quantity: float, price: float | None
    ) -> int:
        """Refuse what an order cannot become; return its instrument's code."""
        at = resting.legs(order)
        code = int(resting.code[at.start])
        if at.stop - at.start > 1:
            raise InputError(
                "an order of several legs is withdrawn and placed anew, not changed",
                code="INP-053", account=self.ids[account], field="legs",
            )  # fmt: skip
        self._require_leg(account, code, quantity, price)
        if resting.group[order] >= 0 and quantity * resting.quantity[at.start] < 0:
            raise InputError(
                "a quote that changes its side",
                code="INP-006", account=self.ids[account], instrument=self._named(code),
                field="quantity",
            )  # fmt: skip
        return code

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
        held = Held(*self._rows.of(account))
        coded = []
        for instrument, quantity, price in legs:
            code = self.code(instrument)
            self._require_leg(account, code, quantity, price)
            coded.append((code, float(quantity), price))
        book_fill(self._tables, held, coded)
        self._rows.put(account, *held.sorted())

    def deposit(self, account: int, asset: str, amount: float) -> None:
        """Book a deposit (> 0) or withdrawal of an asset.

        Raises
        ------
        InputError
            ``INP-054`` when the gate has no such asset.
        """
        self.number(account)
        self._regular(account)
        layout, names = self._tables.program.layout, self.registry.assets
        code = int(layout.of_stressed[names.index(asset)]) if asset in names else -1
        if code < 0 or not _number(amount):
            raise InputError(
                f"{amount!r} of {asset!r} cannot be paid in",
                code="INP-054", account=self.ids[account], field="balances",
                hint="an asset that the book holds or settles in, and a finite amount",
            )  # fmt: skip
        held = Held(*self._rows.of(account))
        held.add(code, amount)
        self._rows.put(account, *held.sorted())

    def account_file(self, account: int | str) -> AccountFile:
        """Write an account as an account file, with its resting orders."""
        number = self.number(account)
        if number in self._irregular:
            return account_of(self._irregular[number])
        rows, resting = self._rows.of(number), self._rows.resting(number)
        return account_entries(self._tables, self.ids[number], rows, resting)


def _price(value: Any) -> float | None:
    return None if value is None else float(value)


def _number(value: object) -> bool:
    return isinstance(value, float | int | np.floating | np.integer) and math.isfinite(value)
