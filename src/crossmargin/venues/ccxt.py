"""An account from ccxt's unified structures, without importing ccxt.

Source: ccxt manual, "Position structure", "Balance structure", "Order structure", "Contract
naming conventions"; checked against ccxt 4.5.90.

Units
-----
ccxt counts derivatives in contracts, this package in coins (linear contracts, options) or quote
currency (inverse futures), so ``quantity = contracts * contractSize``. Orders do not carry the
contract size, and some venues' positions do not either: it is taken from a position in the same
symbol, or from `contract_sizes`. Deribit's amounts are coins or dollars already although its
markets list another contract size: pass ``contract_sizes=1`` for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    OrderEntry,
    OrderLeg,
    PositionEntry,
)
from crossmargin.errors import InputError
from crossmargin.instruments import Instrument, parse_instrument
from crossmargin.venues._reply import plain

Sizes = Mapping[str, float] | float | None

_BALANCE_TABLES = frozenset({"info", "free", "used", "total", "debt", "timestamp", "datetime"})
_CLOSED = frozenset({"closed", "canceled", "cancelled", "expired", "rejected"})


def account_from_ccxt(
    positions: Sequence[Mapping[str, Any]],
    balance: Mapping[str, Any],
    orders: Sequence[Mapping[str, Any]],
    account_id: str,
    *,
    contract_sizes: Sizes = None,
    collateral_includes_pnl: bool = True,
) -> AccountFile:
    """Put an account together from what ``fetchPositions`` and its like return.

    Parameters
    ----------
    positions : sequence of dict
        ``fetchPositions``. Flat rows are skipped. Where one symbol is held on both sides, the
        rows become the legs ``long`` and ``short``; otherwise the leg is ``net``.
    balance : dict
        ``fetchBalance``: what is counted is ``total - debt`` per currency (a negative total is
        taken to be net of its debt already, as Bybit's unified account states it).
    orders : sequence of dict
        ``fetchOpenOrders``: ``remaining`` of each, else ``amount - filled``. Orders that only
        reduce a position are read like any other, which can only ask for more margin.
    account_id : str
        Name of the account.
    contract_sizes : mapping of str to float, or float, optional
        Units per contract by unified symbol, or one number for all; wins over ``contractSize``.
    collateral_includes_pnl : bool
        Whether the venue's ``collateral`` of an isolated position contains its unrealised
        profit, as ccxt's manual defines it. It is then taken out of the fenced margin, or it
        would count twice.

    Returns
    -------
    AccountFile
        Quantities and amounts as decimal strings; everything in the pool ``cross``, isolated
        positions with their ``fenced_margin``.

    Raises
    ------
    InputError
        ``INP-001`` unknown symbol, ``INP-003`` a structure of another shape, ``INP-004`` not a
        number, ``INP-006`` a side that contradicts the sign, ``INP-007`` a position or order
        twice, ``INP-011`` a missing figure.

    Notes
    -----
    Venues that pay profit into the balance daily keep the original ``entryPrice``: correct it to
    the last settlement price, or to ``"mark"``, before computing margin on such an account.
    """
    try:
        rows = [
            _Position(row, index, contract_sizes) for index, row in _each(positions, "position")
        ]
        held = [row for row in rows if row.quantity != 0]
        sizes = {row.symbol: row.size for row in held}
        return AccountFile(
            format="crossmargin-account/1",
            account=account_id,
            description="read from ccxt's unified structures",
            balances=_balances(balance),
            positions=_positions(held, collateral_includes_pnl),
            orders=_orders(orders, sizes, contract_sizes),
        )
    except InputError as error:
        raise error.located(account=account_id) from None


def _each(rows: Any, what: str) -> Iterable[tuple[int, Mapping[str, Any]]]:
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Sequence):
        raise InputError(
            f"the {what}s are no list",
            code="INP-003",
            field=f"{what}s",
            hint="pass what ccxt returns, decoded",
        )
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InputError(
                f"{what} {index} is no dictionary", code="INP-003", field=f"{what}s[{index}]"
            )
        yield index, row


def _decimal(row: Mapping[str, Any], name: str, field: str) -> Decimal | None:
    """Return a figure exactly as it is written, or None where it is missing."""
    value = row.get(name)
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            raise InvalidOperation
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise InputError(
            f"{value!r} is not a finite number", code="INP-004", field=f"{field}.{name}"
        )
    return number


def _symbol(row: Mapping[str, Any], field: str) -> tuple[str, Instrument]:
    symbol = row.get("symbol")
    if not isinstance(symbol, str):
        raise InputError(f"{field} has no symbol", code="INP-003", field=f"{field}.symbol")
    try:
        return symbol, parse_instrument(symbol)
    except InputError as error:
        raise error.located(field=f"{field}.symbol") from None


def _size(symbol: str, given: Sizes, stated: Decimal | None, field: str) -> Decimal:
    """Return units per contract."""
    if isinstance(given, Mapping):
        chosen = Decimal(str(given[symbol])) if symbol in given else stated
    else:
        chosen = stated if given is None else Decimal(str(given))
    if chosen is None:
        raise InputError(
            f"the contract size of {symbol} is not known",
            code="INP-011",
            instrument=symbol,
            field=f"{field}.contractSize",
            hint="pass contract_sizes with market['contractSize'], or 1 where amounts are units",
        )
    if not (chosen.is_finite() and chosen > 0):
        raise InputError(
            f"the contract size of {symbol} is {chosen}, not a positive number",
            code="INP-004",
            instrument=symbol,
            field=f"{field}.contractSize",
        )
    return chosen


class _Position:
    """One row of ``fetchPositions``, read and checked."""

    def __init__(self, row: Mapping[str, Any], index: int, given: Sizes) -> None:
        self.row = row
        self.field = f"positions[{index}]"
        self.symbol, self.instrument = _symbol(row, self.field)
        contracts = _decimal(row, "contracts", self.field)
        self.side = row.get("side")
        self.quantity = Decimal(0)
        self.size = Decimal(1)
        if contracts == 0 or (contracts is None and self.side is None):
            return
        if contracts is None:
            raise self.missing("contracts")
        self.size = _size(self.symbol, given, _decimal(row, "contractSize", self.field), self.field)
        self.quantity = self._signed(contracts) * self.size

    def missing(self, name: str) -> InputError:
        """Return the error for a figure that is not there."""
        return InputError(
            f"the position in {self.symbol} has no {name}",
            code="INP-011",
            instrument=self.instrument.id,
            field=f"{self.field}.{name}",
            hint="missing is not zero: fill it in, or leave the row out",
        )

    def _signed(self, contracts: Decimal) -> Decimal:
        if self.side is None:
            return contracts
        if self.side not in ("long", "short") or (self.side == "long" and contracts < 0):
            raise InputError(
                f"the position in {self.symbol} has {contracts} contracts on the side "
                f"{self.side!r}",
                code="INP-006",
                instrument=self.instrument.id,
                field=f"{self.field}.side",
                hint="side is long or short, and contracts are positive",
            )
        return abs(contracts) if self.side == "long" else -abs(contracts)


def _positions(held: list[_Position], includes_pnl: bool) -> list[PositionEntry]:
    sides: dict[str, set[bool]] = {}
    for row in held:
        sides.setdefault(row.instrument.id, set()).add(row.quantity > 0)
    entries: list[PositionEntry] = []
    seen: set[tuple[str, bool]] = set()
    for row in held:
        key = (row.instrument.id, row.quantity > 0)
        if key in seen:
            raise InputError(
                f"{row.symbol} is held twice on the same side",
                code="INP-007",
                instrument=row.instrument.id,
                field=row.field,
                hint="add the rows up; read cross and isolated positions as two accounts",
            )
        seen.add(key)
        entries.append(_entry(row, len(sides[row.instrument.id]) == 2, includes_pnl))
    return entries


def _entry(row: _Position, hedged: bool, includes_pnl: bool) -> PositionEntry:
    leg: Literal["net", "long", "short"] = "net"
    if hedged:
        leg = "long" if row.quantity > 0 else "short"
    price = _decimal(row.row, "entryPrice", row.field)
    dated = row.instrument.kind in ("perpetual", "future")
    if dated and (price is None or price <= 0):
        raise row.missing("entryPrice")
    leverage = _decimal(row.row, "leverage", row.field)
    return PositionEntry(
        instrument=row.instrument.id,
        quantity=plain(row.quantity),
        entry_price=None if price is None else plain(price),
        leg=leg,
        leverage=float(leverage) if leverage is not None and leverage > 0 else None,
        fenced_margin=_fence(row, includes_pnl),
    )


def _fence(row: _Position, includes_pnl: bool) -> str | None:
    """Return the margin pledged to an isolated position, without its profit so far."""
    if row.row.get("marginMode") != "isolated":
        return None
    collateral = _decimal(row.row, "collateral", row.field)
    if collateral is None:
        collateral = _decimal(row.row, "initialMargin", row.field)
    elif includes_pnl:
        collateral -= _decimal(row.row, "unrealizedPnl", row.field) or Decimal(0)
    if collateral is None:
        raise row.missing("collateral")
    if collateral < 0:
        raise InputError(
            f"the margin pledged to {row.symbol} comes out as {collateral}",
            code="INP-004",
            instrument=row.instrument.id,
            field=f"{row.field}.collateral",
            hint="pass collateral_includes_pnl=False if the venue leaves the profit out",
        )
    return plain(collateral)


def _balances(balance: Any) -> list[BalanceEntry]:
    if not isinstance(balance, Mapping):
        raise InputError("the balance is no dictionary", code="INP-003", field="balance")
    names = [name for name in balance if name not in _BALANCE_TABLES]
    for table in ("total", "debt"):
        names += [name for name in balance.get(table) or {} if name not in names]
    entries = []
    for name in names:
        account = balance.get(name)
        account = account if isinstance(account, Mapping) else {}
        amount = _net(name, {key: _figure(balance, account, name, key) for key in _FIGURES})
        if amount != 0:
            entries.append(BalanceEntry(asset=name, amount=plain(amount)))
    return entries


_FIGURES = ("total", "debt", "free", "used")


def _figure(
    balance: Mapping[str, Any], account: Mapping[str, Any], name: str, key: str
) -> Decimal | None:
    """Return a figure of a currency, from its own entry or from the table of that figure."""
    own = _decimal(account, key, f"balance.{name}")
    if own is not None:
        return own
    table = balance.get(key)
    return _decimal(table, name, f"balance.{key}") if isinstance(table, Mapping) else None


def _net(name: str, figures: Mapping[str, Decimal | None]) -> Decimal:
    total, debt, free, used = (figures[key] for key in _FIGURES)
    if total is None and free is not None and used is not None:
        total = free + used
    if total is None:
        if all(value is None or value == 0 for value in (debt, free, used)):
            return Decimal(0)
        raise InputError(
            f"the balance of {name} has no total",
            code="INP-011",
            field=f"balance.{name}.total",
            hint="missing is not zero: fill it in, or leave the currency out",
        )
    return total if total < 0 else total - (debt or Decimal(0))


def _orders(
    orders: Sequence[Mapping[str, Any]], held: Mapping[str, Decimal], given: Sizes
) -> list[OrderEntry]:
    entries: list[OrderEntry] = []
    for index, row in _each(orders, "order"):
        entry = _order(row, f"orders[{index}]", index, held, given)
        if entry is None:
            continue
        if any(entry.id == other.id for other in entries):
            raise InputError(
                f"order {entry.id!r} appears twice", code="INP-007", field=f"orders[{index}].id"
            )
        entries.append(entry)
    return entries


def _order(
    row: Mapping[str, Any], field: str, index: int, held: Mapping[str, Decimal], given: Sizes
) -> OrderEntry | None:
    if row.get("status") in _CLOSED:
        return None
    symbol, instrument = _symbol(row, field)
    left = _remaining(row, symbol, field)
    if left == 0:
        return None
    sign = {"buy": 1, "sell": -1}.get(str(row.get("side")))
    if sign is None or left < 0:
        raise InputError(
            f"the order in {symbol} has {left} left on the side {row.get('side')!r}",
            code="INP-006",
            instrument=instrument.id,
            field=f"{field}.side",
            hint="side is buy or sell, and amounts are positive",
        )
    size = Decimal(1)
    if instrument.kind != "spot":
        size = _size(symbol, given, held.get(symbol), field)
    price = _decimal(row, "price", field)
    leg = OrderLeg(
        instrument=instrument.id,
        quantity=plain(sign * left * size),
        price=None if price is None or price == 0 else plain(price),
    )
    name = row.get("id")
    return OrderEntry(id=f"order-{index}" if name is None else str(name), legs=[leg])


def _remaining(row: Mapping[str, Any], symbol: str, field: str) -> Decimal:
    left = _decimal(row, "remaining", field)
    if left is None:
        amount = _decimal(row, "amount", field)
        if amount is None:
            raise InputError(
                f"the order in {symbol} has neither remaining nor amount",
                code="INP-011",
                instrument=symbol,
                field=f"{field}.remaining",
                hint="missing is not zero: fill it in, or leave the order out",
            )
        left = amount - (_decimal(row, "filled", field) or Decimal(0))
    return left
