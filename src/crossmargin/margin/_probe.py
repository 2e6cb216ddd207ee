"""What an account would be after a fill or with another balance, priced once and asked often.

A probe arranges and prices the account with the rows that a question needs, and then varies the
numbers in them (:meth:`Frame.with_book`). Its answers are those of evaluating the changed account
from the start; the tests hold it to that.

Source: house; the accounting of fills is the usual one (average entry, harmonic for inverse
contracts; what a fill closes is realised into the settlement balance).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    OrderEntry,
    PositionEntry,
    book_from_accounts,
)
from crossmargin.errors import MarginError, RulesetError
from crossmargin.instruments import KIND_CODE, parse_instrument
from crossmargin.margin._frame import Frame
from crossmargin.margin._standing import (
    UNIT,
    Standing,
    asked,
    pot_names,
    rounding_usd,
    standing,
    wallet_of,
)
from crossmargin.margin.engine import frame_for, requirement
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def refuse_unpublished(ruleset: Ruleset) -> None:
    """Refuse a question about an order where the venue's order margin is not published."""
    if ruleset.data.orders.method == "refuse":
        raise RulesetError(
            f"an order is asked about, and the open-order margin of rule-set {ruleset.id!r} is "
            "not published",
            code="RUL-032",
            field="orders.method",
            hint="use --set orders.method=worst-fill for the house formula",
        )


@dataclass(frozen=True, slots=True)
class Landing:
    """Where one leg of the order lands in the rows of the filled account."""

    row: int
    balance: int
    quantity: float
    price: float
    valued: bool
    inverse: bool
    size: float
    fee: float


class OrderProbe:
    """An account and one order of any size.

    Parameters
    ----------
    account : AccountFile
        As it stands, with its resting orders.
    snapshot : Snapshot
        The market.
    ruleset : Ruleset
        The rules; its order margin must be known.
    order : OrderEntry
        At size 1; other sizes multiply every leg.

    Raises
    ------
    RulesetError
        ``RUL-032`` when the order margin is not published.
    MarginError
        ``MRG-020`` when a leg has expired.
    """

    def __init__(
        self, account: AccountFile, snapshot: Snapshot, ruleset: Ruleset, order: OrderEntry
    ) -> None:
        refuse_unpublished(ruleset)
        self.now = frame_for(book_from_accounts([account]), snapshot, ruleset)
        orders = [*account.orders, order]
        self.resting = frame_for(
            book_from_accounts([msgspec.structs.replace(account, orders=orders)]),
            snapshot,
            ruleset,
        )
        self._mine = np.flatnonzero(self.resting.book.leg_order == len(account.orders))
        filled, rows, balances = _with_rows(account, order)
        self.filled = frame_for(book_from_accounts([filled]), snapshot, ruleset)
        self.legs = self._land(order, rows, balances)
        self._before = standing(self.now)
        self._held = requirement(self.resting, levels=("im",)).im
        self._start = self._starting_numbers()
        self._rounding = rounding_usd(self.resting)
        self._align()

    def _land(self, order: OrderEntry, rows: list[int], balances: list[int]) -> list[Landing]:
        frame, terms = self.filled, self.filled.terms
        fee = frame.ruleset.data.orders.fee_rate
        book = self.resting.book
        legs = []
        for leg, row, balance in zip(self._mine, rows, balances):
            index = int(frame.book.position_instrument[row])
            name = frame.book.registry[index].id
            if frame.view.settled[index]:
                raise MarginError(
                    f"{name} has expired and cannot be ordered",
                    code="MRG-020",
                    instrument=name,
                    field=f"order {order.id}",
                )
            valued = int(terms.kind[index]) in (KIND_CODE["option"], KIND_CODE["spot"])
            size = float(terms.contract_size[index])
            mark = float(frame.unit_value[index]) / size if valued else frame.view.price[index]
            price = float(book.leg_price[leg])
            one = np.array([index]), np.ones(1)
            legs.append(
                Landing(
                    row=row,
                    balance=balance,
                    quantity=float(book.leg_quantity[leg]),
                    price=float(mark) if np.isnan(price) else price,
                    valued=valued,
                    inverse=bool(terms.inverse[index]),
                    size=size,
                    fee=fee * float(frame.notional(*one)[0]),
                )
            )
        return legs

    def _starting_numbers(self) -> tuple[Floats, Floats, Floats]:
        """Quantities, entries and amounts before the fill, in the rows of the filled frame."""
        now, book = self.now.book, self.filled.book
        quantity, amount = book.position_quantity.copy(), book.balance_amount.copy()
        held = now.position_quantity.size
        quantity[held:] = 0.0
        amount[now.balance_amount.size :] = 0.0
        assert self.filled.entry is not None
        return quantity, self.filled.entry.copy(), amount

    def _align(self) -> None:
        """Find the pots that the order touches, and where each frame has them."""
        names: list[str] = []
        f, r = self.filled, self.resting
        touched = {int(f.arrangement.position_pot[leg.row]) for leg in self.legs}
        touched |= {int(f.arrangement.balance_pot[leg.balance]) for leg in self.legs}
        names += [pot_names(f)[pot] for pot in sorted(touched)]
        groups = r.arrangement.leg_group[self._mine]
        touched = {int(p) for p in r.arrangement.group_pot[groups]}
        touched |= {int(w) for w in wallet_of(r)[sorted(touched)] if w >= 0}
        names += [pot_names(r)[pot] for pot in sorted(touched)]
        self.names = tuple(dict.fromkeys(names))
        fenced = f.arrangement.pot_position >= 0
        mine = {name for name, is_one in zip(pot_names(f), fenced) if is_one}
        self.fenced = np.array([name in mine for name in self.names], dtype=bool)

        def place(found: tuple[str, ...]) -> Ints:
            return np.array(
                [found.index(n) if n in found else -1 for n in self.names], dtype=np.int64
            )

        self._at = {"resting": place(pot_names(r)), "filled": place(pot_names(f))}
        at = place(self._before.names)
        self.before = Standing(
            self.names, _taken(self._before.equity, at), _taken(self._before.im, at)
        )

    # ------------------------------------------------------------------------ by size

    def resting_at(self, size: float) -> Standing:
        """Return the touched pots with the order resting, all orders at their worst fills."""
        book = self.resting.book
        quantity = book.leg_quantity.copy()
        quantity[self._mine] *= size
        frame = self.resting.with_book(replace(book, leg_quantity=quantity))
        worst = requirement(frame, orders=True, levels=("im",)).im
        im = asked(frame, self._held, worst) * frame.pot_usd
        at = self._at["resting"]
        return Standing(self.names, self.before.equity, _taken(im, at))

    @property
    def filled_names(self) -> tuple[str, ...]:
        """Names of all pots once the order has filled."""
        return pot_names(self.filled)

    def frame_filled(self, size: float) -> Frame:
        """Return the account once the order has filled, priced."""
        quantity, entry, amount = (x.copy() for x in self._start)
        for leg in self.legs:
            q = leg.quantity * size
            cash = -abs(q) * leg.fee
            if leg.valued:
                cash -= q * leg.price * leg.size
                quantity[leg.row] += q
            else:
                row = leg.row
                quantity[row], entry[row], gain = filled_row(
                    float(quantity[row]), float(entry[row]), q, leg.price, inverse=leg.inverse
                )
                cash += gain * leg.size
            amount[leg.balance] += cash
        book = replace(
            self.filled.book,
            position_quantity=quantity,
            position_entry=entry,
            balance_amount=amount,
        )
        return self.filled.with_book(book, entry)

    def filled_at(self, size: float) -> tuple[Standing, float]:
        """Return the touched pots once the order has filled, and its worst debt.

        Returns
        -------
        standing : Standing
            Resting orders at their worst fills.
        debt : float
            The largest rise of debt in one asset, US dollars, at least 0.
        """
        frame = self.frame_filled(size)
        found = standing(frame)
        at = self._at["filled"]
        rows = sorted({leg.balance for leg in self.legs})
        before, after = self._start[2][rows], frame.book.balance_amount[rows]
        rise = np.minimum(before, 0.0) - np.minimum(after, 0.0)
        usd = frame.asset_usd_or_one[frame.book.balance_asset[rows]]
        debt = float(np.max(rise * usd, initial=0.0))
        return Standing(self.names, _taken(found.equity, at), _taken(found.im, at)), debt

    def rounding(self, size: float) -> float:
        """Bound on rounding for an order of this size; see :func:`rounding_usd`."""
        book = self.resting.book
        rows = book.position_quantity.size + book.leg_quantity.size + book.balance_amount.size
        own = (rows + 20) * UNIT * self.notional_usd * size
        return 2.0 * (self._rounding + own)

    @property
    def notional_usd(self) -> float:
        """Gross notional of the order at size 1, US dollars."""
        book, terms = self.resting.book, self.resting.terms
        index = book.leg_instrument[self._mine]
        notional = self.resting.notional(index, book.leg_quantity[self._mine])
        return float(notional @ self.resting.asset_usd_or_one[terms.settlement[index]])

    def flat_sizes(self) -> list[float]:
        """Sizes at which a leg takes its position to nothing."""
        held = self._start[0]
        sizes = [-float(held[leg.row]) / leg.quantity for leg in self.legs]
        return sorted({s for s in sizes if s > 0})


def _taken(values: Floats, at: Ints) -> Floats:
    """Take by index; 0 where a pot is not there."""
    return np.where(at >= 0, values[np.maximum(at, 0)], 0.0) if values.size else np.zeros(at.size)


def filled_row(
    held: float, entry: float, quantity: float, price: float, *, inverse: bool
) -> tuple[float, float, float]:
    """Fill part of a future or perpetual.

    Parameters
    ----------
    held, entry : float
        Position before (units, > 0 long) and its entry price.
    quantity, price : float
        The fill; > 0 buys.
    inverse : bool
        Entries of inverse contracts average harmonically.

    Returns
    -------
    quantity, entry, gain : float
        Position after, its entry price, and what the closed part earned per contract size, in
        the settlement asset.
    """
    after = held + quantity
    if held == 0.0 or held * quantity > 0:
        if after == 0.0:
            return 0.0, price, 0.0
        if inverse:
            return after, after / (held / entry + quantity / price), 0.0
        return after, (held * entry + quantity * price) / after, 0.0
    closed = -quantity if abs(quantity) <= abs(held) else held
    gain = closed * (1.0 / entry - 1.0 / price if inverse else price - entry)
    return after, entry if abs(quantity) <= abs(held) else price, gain


def _with_rows(account: AccountFile, order: OrderEntry) -> tuple[AccountFile, list[int], list[int]]:
    """Give the account a row for every leg and for the cash it moves; numbers come later."""
    positions, balances = list(account.positions), [b for b in account.balances if float(b.amount)]
    rows, cash = [], []
    for leg in order.legs:
        # Read apart from the book's registry, which must not grow under a priced frame.
        item = parse_instrument(leg.instrument)
        row = next(
            (
                place
                for place, entry in enumerate(positions)
                if entry.pool == order.pool
                and entry.leg == "net"
                and parse_instrument(entry.instrument) == item
            ),
            None,
        )
        if row is None:
            row = len(positions)
            positions.append(
                PositionEntry(
                    instrument=leg.instrument,
                    quantity=leg.quantity,
                    entry_price="mark",
                    pool=order.pool,
                )
            )
        rows.append(row)
        cash.append(balance_row(balances, item.settlement, order.pool))
    changed = msgspec.structs.replace(account, positions=positions, balances=balances)
    return changed, rows, cash


def balance_row(balances: list[BalanceEntry], asset: str, pool: str) -> int:
    """Find the row of an asset that stands at the venue itself; add one where there is none.

    What is elsewhere, or on its way, cannot pay or receive at once.
    """
    for place, row in enumerate(balances):
        here = row.location is None and not row.pending
        if here and row.asset == asset and row.pool == pool:
            return place
    balances.append(BalanceEntry(asset=asset, amount=1.0, pool=pool))
    return len(balances) - 1
