"""What an account would be after some trades: priced once, asked about any of them.

The account is arranged and priced with a row for everything that may be traded; a trade then
changes numbers in those rows, and nothing is priced again. Many sets of trades can be asked
about at once: the account is laid out that many times in one book and goes through the engine in
one pass. Answers are those of evaluating the changed account from the start; the tests hold them
to that.

Source: house; the accounting of fills is that of :mod:`crossmargin.margin.pretrade` (average
entry, harmonic for inverse contracts; what a fill closes is realised into the settlement
balance; options and coins are paid for from it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    Leg,
    PositionEntry,
    book_from_accounts,
    repeat_account,
)
from crossmargin.errors import CrossmarginError, MarginError
from crossmargin.instruments import KIND_CODE, Instrument, parse_instrument
from crossmargin.margin._arrange import arrange
from crossmargin.margin._frame import MARKET_COLUMNS, Frame, sum_by
from crossmargin.margin._probe import balance_row, filled_row
from crossmargin.margin.engine import equity, frame_for, requirement
from crossmargin.margin.evaluation import Evaluation
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One fill.

    Attributes
    ----------
    instrument : str
        What is traded.
    quantity : float
        Units, > 0 buys; not 0.
    price : float or None
        As the venue quotes it (inverse options in coin); None fills at the mark.
    pool : str
        Where it is booked.
    leg : {"net", "long", "short"}
        Which position it changes.
    """

    instrument: str
    quantity: float
    price: float | None = None
    pool: str = "cross"
    leg: Leg = "net"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """A trade as it was booked; cash in the settlement asset.

    Attributes
    ----------
    instrument, pool, leg : str
        Where.
    quantity, price : float
        As filled.
    settlement : str
        Asset that pays.
    cash : float
        What the settlement balance received (+) or paid (−): premium or profit realised, less
        the fee.
    fee : float
        Part of it, at least 0.
    before, after : float
        Quantity of the position.
    """

    instrument: str
    pool: str
    leg: str
    quantity: float
    price: float
    settlement: str
    cash: float
    fee: float
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class _Place:
    row: int
    balance: int
    price: float
    valued: bool
    inverse: bool
    size: float
    fee: float


class TradedAccount:
    """An account, and trades that may be made in it.

    Parameters
    ----------
    account, snapshot, ruleset
        As it stands.
    trades : sequence of Trade
        Every trade that will be asked about.

    Raises
    ------
    MarginError
        ``MRG-020`` when a contract has expired, ``MRG-022`` for a trade of nothing.
    CrossmarginError
        A price or parameter that the account or a trade needs is missing.
    """

    def __init__(
        self,
        account: AccountFile,
        snapshot: Snapshot,
        ruleset: Ruleset,
        trades: Sequence[Trade],
    ) -> None:
        self.account = account
        self.trades = tuple(trades)
        _check(account, self.trades)
        self._held = len(account.positions)
        whole, rows, cash = _with_rows(account, self.trades)
        self._whole = whole
        self._cash_rows = sum(_amount(b) != 0.0 for b in account.balances)
        try:
            priced = frame_for(book_from_accounts([whole]), snapshot, ruleset)
        except CrossmarginError as error:
            raise error.located(account=account.account) from None
        self._frame = replace(priced, shares=False, closed_rows=True)
        assert priced.entry is not None
        book = priced.book
        quantity, amount = book.position_quantity.copy(), book.balance_amount.copy()
        quantity[self._held :] = 0.0
        amount[self._cash_rows :] = 0.0
        self._start = quantity, priced.entry, amount
        self._places = [self._place(t, row, b) for t, row, b in zip(self.trades, rows, cash)]

    def again(self, trades: Sequence[Trade]) -> TradedAccount | None:
        """Return the same priced account for other trades, or None where a row is missing.

        Nothing is priced: every instrument traded, and what it is paid in, must have a row.
        """
        whole, rows, cash = _with_rows(self._whole, trades)
        same = (len(self._whole.positions), len(self._whole.balances))
        if (len(whole.positions), len(whole.balances)) != same:
            return None
        other = copy(self)
        other.trades = tuple(trades)
        _check(self.account, other.trades)
        other._places = [other._place(t, row, b) for t, row, b in zip(trades, rows, cash)]
        return other

    def _place(self, trade: Trade, row: int, balance: int) -> _Place:
        frame = self._frame
        index = int(frame.book.position_instrument[row])
        if frame.view.settled[index]:
            raise MarginError(
                f"{trade.instrument} has expired and cannot be traded",
                code="MRG-020",
                account=self.account.account,
                instrument=trade.instrument,
                field="quantity",
            )
        kind = int(frame.terms.kind[index])
        valued = kind in (KIND_CODE["option"], KIND_CODE["spot"])
        size = float(frame.terms.contract_size[index])
        mark = float(frame.unit_value[index]) / size if valued else float(frame.view.price[index])
        one = np.array([index]), np.ones(1)
        return _Place(
            row=row,
            balance=balance,
            price=mark if trade.price is None else float(trade.price),
            valued=valued,
            inverse=bool(frame.terms.inverse[index]),
            size=size,
            fee=frame.ruleset.data.orders.fee_rate * float(frame.notional(*one)[0]),
        )

    def _booked(self, made: Sequence[float]) -> tuple[Floats, Floats, Floats, list[Fill]]:
        """Book the trades that are made, or such a share of them, in their order."""
        quantity, entry, amount = (x.copy() for x in self._start)
        fills, registry = [], self._frame.book.registry
        for trade, place, share in zip(self.trades, self._places, made):
            if not share:
                continue
            q, row = trade.quantity * share, place.row
            before = float(quantity[row])
            fee = abs(q) * place.fee
            cash = -fee
            if place.valued:
                cash -= q * place.price * place.size
                quantity[row] += q
            else:
                quantity[row], entry[row], gain = filled_row(
                    before, float(entry[row]), q, place.price, inverse=place.inverse
                )
                cash += gain * place.size
            amount[place.balance] += cash
            item = registry[int(self._frame.book.position_instrument[row])]
            fills.append(
                Fill(
                    instrument=item.id,
                    pool=trade.pool,
                    leg=trade.leg,
                    quantity=q,
                    price=place.price,
                    settlement=item.settlement,
                    cash=cash,
                    fee=fee,
                    before=before,
                    after=float(quantity[row]),
                )
            )
        return quantity, entry, amount, fills

    def fills(self, made: Sequence[float] | None = None) -> list[Fill]:
        """Return the trades as booked; by default all."""
        return self._booked(self._all(made))[3]

    def _all(self, made: Sequence[float] | None) -> Sequence[float]:
        return [1.0] * len(self.trades) if made is None else made

    def frame(self, made: Sequence[float] | None = None) -> Frame:
        """Return the account after the trades that are made (by default all), priced.

        Rows that hold nothing stay, with quantity 0.
        """
        quantity, entry, amount, _ = self._booked(self._all(made))
        book = replace(
            self._frame.book,
            position_quantity=quantity,
            position_entry=entry,
            balance_amount=amount,
        )
        return self._frame.with_book(book, entry)

    def evaluation(self, made: Sequence[float] | None = None) -> Evaluation:
        """Evaluate the account after the trades that are made; by default all."""
        done = evaluation_of(self.frame(made))
        # What depends on the market alone has been worked out on the copy: keep it for the next.
        for name in MARKET_COLUMNS:
            if name in done.frame.__dict__:
                self._frame.__dict__[name] = done.frame.__dict__[name]
        return done

    def many(self, made: ArrayLike) -> Frame:
        """Return the account after each of several sets of trades, as the accounts of one frame.

        Parameters
        ----------
        made : bool or float64[K, T]
            By set and trade: whether it is made, or how many times its quantity (a share below 0
            trades the other way).
        """
        sets = np.atleast_2d(np.asarray(made, dtype=np.float64))
        base = self._frame
        book = repeat_account(base.book, sets.shape[0])
        columns = [self._booked(row.tolist())[:3] for row in sets]
        quantity, entry, amount = (np.concatenate(part) for part in zip(*columns))
        book = replace(
            book, position_quantity=quantity, position_entry=entry, balance_amount=amount
        )
        many = Frame(
            book,
            base.ruleset,
            arrange(book, base.ruleset),
            base.view,
            base.kernel,
            entry,
            shares=False,
            closed_rows=True,
        )
        for name in MARKET_COLUMNS:
            if name in base.__dict__:
                many.__dict__[name] = base.__dict__[name]
        return many

    def account_after(self, made: Sequence[float] | None = None) -> AccountFile:
        """Return the account file after the trades that are made; by default all.

        Positions that are flat and balances of nothing are left out.
        """
        quantity, entry, amount, _ = self._booked(self._all(made))
        positions = []
        for row, held in enumerate(self._whole.positions):
            q = float(quantity[row])
            if row < self._held and q == float(self._start[0][row]):
                positions.append(held)
                continue
            if q == 0.0:
                continue
            kept = row < self._held and float(entry[row]) == float(self._start[1][row])
            index = int(self._frame.book.position_instrument[row])
            valued = not np.isnan(self._frame.unit_value[index])
            price = held.entry_price if kept else None if valued else float(entry[row])
            positions.append(msgspec.structs.replace(held, quantity=q, entry_price=price))
        balances = []
        for row, b in enumerate(self._whole.balances):
            now = float(amount[row])
            if now == float(self._start[2][row]):
                balances += [b] if row < self._cash_rows else []
            elif now != 0.0:
                balances.append(msgspec.structs.replace(b, amount=now))
        return msgspec.structs.replace(self.account, positions=positions, balances=balances)


def evaluation_of(frame: Frame) -> Evaluation:
    """Evaluate a frame: requirement without and with open orders, and equity."""
    need = requirement(frame)
    orders = bool(frame.book.leg_order.size)
    with_orders = requirement(frame, orders=True) if orders else need
    return Evaluation(
        frame=frame, need=need, need_orders=with_orders, have=equity(frame, with_orders)
    )


def account_totals(frame: Frame) -> dict[str, Floats]:
    """Evaluate every account of a frame: equity and requirement at both levels, US dollars.

    Returns
    -------
    dict of str to float64[A]
        ``im``, ``mm`` (open orders as the rules say), ``equity_im``, ``equity_mm``; ``lacking``
        is what pots lack of their initial margin, added up (what one has to spare helps no
        other).
    """
    done = evaluation_of(frame)
    account = frame.book.pool_account[frame.arrangement.pot_pool]
    usd, size = frame.pot_usd, frame.book.size
    columns = {
        "im": done.need_orders.im,
        "mm": done.mm,
        "equity_im": done.have.im,
        "equity_mm": done.have.mm,
        "lacking": np.maximum(done.need_orders.im - done.have.im, 0.0),
    }
    return {name: sum_by(column * usd, account, size) for name, column in columns.items()}


@lru_cache(maxsize=4096)
def _parsed(name: str) -> Instrument:
    return parse_instrument(name)


def _amount(balance: BalanceEntry) -> float:
    # What is no number is refused by name when the account is read.
    try:
        return float(balance.amount)
    except ValueError:
        return 1.0


def _check(account: AccountFile, trades: Sequence[Trade]) -> None:
    for trade in trades:
        price = 1.0 if trade.price is None else trade.price
        if not (math.isfinite(trade.quantity) and trade.quantity != 0.0):
            what, hint = f"a trade of {trade.quantity:g}", "give a quantity; > 0 buys, < 0 sells"
        elif not (math.isfinite(price) and price > 0.0):
            what, hint = f"a price of {price:g}", "leave the price out for the mark"
        else:
            continue
        raise MarginError(
            f"{what} is none",
            code="MRG-022",
            account=account.account,
            instrument=trade.instrument,
            field="trade",
            hint=hint,
        )


def _with_rows(
    account: AccountFile, trades: Sequence[Trade]
) -> tuple[AccountFile, list[int], list[int]]:
    """Give the account a row for every trade and for the cash it moves; numbers come later."""
    positions = list(account.positions)
    balances = [b for b in account.balances if _amount(b) != 0.0]
    held: dict[tuple[str, str, str], int] = {}
    for row, entry in enumerate(positions):
        held.setdefault((_parsed(entry.instrument).id, entry.pool, entry.leg), row)
    rows, cash = [], []
    for trade in trades:
        item = _parsed(trade.instrument)
        key = (item.id, trade.pool, trade.leg)
        if key not in held:
            held[key] = len(positions)
            positions.append(
                PositionEntry(
                    instrument=item.id,
                    # Its sign says the side where legs are kept apart; the number comes later.
                    quantity=-1.0 if trade.leg == "short" else 1.0,
                    entry_price="mark",
                    leg=trade.leg,
                    pool=trade.pool,
                )
            )
        rows.append(held[key])
        cash.append(balance_row(balances, item.settlement, trade.pool))
    return msgspec.structs.replace(account, positions=positions, balances=balances), rows, cash
