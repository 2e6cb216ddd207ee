"""Bybit: the unified trading account (cross, portfolio, isolated) and its positions.

Source: Bybit API v5, "Get Wallet Balance", "Get Position Info", "Get Account Info", "Get
Instruments Info", "Get Open Orders" (published); Glossary of the Unified Trading Account:
``equity = wallet + unrealised profit + option value − spot borrow``. That the wallet contains the
margin pledged in isolated mode, without profit, is unconfirmed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from crossmargin.errors import InputError
from crossmargin.instruments import Instrument
from crossmargin.venues._draft import (
    CROSS,
    Draft,
    Held,
    LegName,
    Part,
    entry_from_profit,
    figures_of,
    price_said,
)
from crossmargin.venues._names import day_from_ms, day_from_name, named, unreadable
from crossmargin.venues._reply import Node, nodes, plain, venue_error

VENUE = "Bybit"

_PERP = re.compile(r"(?P<base>[A-Z0-9]+?)(?P<quote>USDT|PERP|USD)")
_DATED = re.compile(
    r"(?P<base>[A-Z0-9]+?)(?P<quote>USDT)?-(?P<day>[0-9]{1,2}[A-Z]{3}[0-9]{2})"
    r"(?:-(?P<strike>[0-9]+(?:\.[0-9]+)?)-(?P<right>[CP])(?:-(?P<settle>USDT|USDC))?)?"
)
_INVERSE_DATED = re.compile(r"(?P<base>[A-Z0-9]+?)USD[HMUZ][0-9]{2}")
_MODES = {
    "REGULAR_MARGIN": "unified account, cross margin",
    "PORTFOLIO_MARGIN": "unified account, portfolio margin",
    "ISOLATED_MARGIN": "unified account, isolated margin",
}
_LEGS: dict[str, LegName] = {"0": "net", "1": "long", "2": "short"}


def recognise(data: Any) -> str | None:
    """Name the reply by its shape, or return None when it is not one of Bybit's."""
    if not isinstance(data, dict):
        return None
    rows: Any = None
    if "retCode" in data and "result" in data:
        if data["retCode"] not in (0, "0"):
            return "error"
        result = data["result"]
        if not isinstance(result, dict):
            return None
        if {"marginMode", "unifiedMarginStatus"} <= result.keys():
            return "account info"
        rows = result.get("list")
    elif data.get("topic") in ("wallet", "position"):
        rows = data.get("data")
    if not isinstance(rows, list):
        return None
    first = rows[0] if rows else {}
    if not isinstance(first, dict):
        return None
    for keys, kind in (
        (("coin", "totalEquity"), "wallet"),
        (("coin", "accountType"), "wallet"),
        (("positionIdx", "symbol", "size"), "positions"),
        (("orderId", "symbol", "qty"), "orders"),
        (("symbol", "contractType", "settleCoin"), "instruments"),
        (("symbol", "optionsType", "settleCoin"), "instruments"),
    ):
        if all(key in first for key in keys):
            return kind
    return "nothing" if not rows else None


def read(parts: Sequence[Part], draft: Draft) -> None:
    """Fill a draft from the replies of one account; see :mod:`crossmargin.venues.accounts`."""
    _Reader(parts, draft).run()


class _Reader:
    def __init__(self, parts: Sequence[Part], draft: Draft) -> None:
        self.parts = parts
        self.draft = draft
        self.listed: dict[str, Node] = {}
        self.isolated = False

    def rows(self, kind: str) -> list[tuple[Node, str | None]]:
        """Return the rows of all replies of a kind, each with the category of its reply."""
        found = []
        for part in self.parts:
            if part.kind != kind:
                continue
            top = Node(part.data)
            place = top if "topic" in top else top.node("result")
            name = "data" if "topic" in top else "list"
            category = None if "topic" in top else place.text("category")
            found += [(row, category) for row in nodes(place.data[name], place.at(name))]
        return found

    def run(self) -> None:
        """Read the kinds in the order in which they need each other."""
        mode = self.draft.asked_mode
        for part in self.parts:
            node = Node(part.data)
            if part.kind == "error":
                raise venue_error(VENUE, node.data.get("retCode"), node.data.get("retMsg"))
            if part.kind == "account info":
                result = node.node("result")
                word = result.choice("marginMode", tuple(_MODES))
                self.isolated = word == "ISOLATED_MARGIN"
                mode = _MODES[word]
        if mode == "isolated":
            self.isolated, mode = True, _MODES["ISOLATED_MARGIN"]
        self.draft.mode = mode or "unified account, margin mode not stated (taken as cross)"
        for row, _ in self.rows("instruments"):
            self.listed[row.need_text("symbol")] = row
        self._wallet()
        for row, category in self.rows("positions"):
            self._position(row, category)
        self._fenced_from_wallet()
        for row, category in self.rows("orders"):
            self._order(row, category)

    # ---------------------------------------------------------------- balances

    def _wallet(self) -> None:
        accounts = self.rows("wallet")
        if len(accounts) > 1:
            raise InputError(
                "the replies hold several wallets",
                code="INP-062",
                field="result.list",
                hint="read each as an account of its own",
            )
        for row, _ in accounts:
            upper = "totalPerpUPL" if "totalPerpUPL" in row else "totalPerpUpl"
            self.draft.whole = figures_of(
                row,
                "USD",
                "maintenance margin / margin balance",
                equity="totalEquity",
                wallet="totalWalletBalance",
                unrealised=upper,
                im="totalInitialMargin",
                mm="totalMaintenanceMargin",
                available="totalAvailableBalance",
                margin_ratio="accountMMRate",
            )
            for coin in row.rows("coin"):
                self._coin(coin)

    def _coin(self, row: Node) -> None:
        asset = row.need_text("coin")
        if any(one.unit == asset for one in self.draft.assets):
            raise InputError(
                f"{asset} is stated twice",
                code="INP-062",
                field=row.at("coin"),
                hint="pass each reply once",
            )
        wallet, borrowed = row.need("walletBalance"), row.number("spotBorrow")
        if borrowed is None:
            if row.number("borrowAmount"):
                raise InputError(
                    f"{asset} is borrowed, and the reply does not say how much of it on spot",
                    code="INP-011",
                    field=row.at("spotBorrow"),
                    hint="take the reply again: newer ones state spotBorrow",
                )
            borrowed = Decimal(0)
        amount = wallet - borrowed
        self.draft.balance(asset, amount, row.at("walletBalance"))
        self._check_equity(row, asset, amount)
        interest = row.number("accruedInterest")
        if interest:
            self.draft.note(
                f"{plain(interest)} {asset} of accrued interest are stated and not yet charged"
            )
        self.draft.assets.append(
            figures_of(
                row,
                asset,
                equity="equity",
                wallet="walletBalance",
                unrealised="unrealisedPnl",
                im="totalPositionIM",
                mm="totalPositionMM",
            )
        )

    def _check_equity(self, row: Node, asset: str, amount: Decimal) -> None:
        """Say when the venue's equity is not the sum of its parts."""
        equity, profit = row.number("equity"), row.number("unrealisedPnl")
        options = any(category == "option" for _, category in self.rows("positions"))
        if equity is None or profit is None or options:
            return
        if abs(equity - amount - profit) > Decimal("1e-6") * max(abs(equity), Decimal(1)):
            self.draft.note(
                f"{asset}: the venue says the equity is {plain(equity)}, and wallet, borrowing "
                f"and profit give {plain(amount + profit)}"
            )

    def _fenced_from_wallet(self) -> None:
        """Take what is pledged in isolated mode out of the pool it came from."""
        pledged: dict[str, Decimal] = {}
        for (pool, asset), amount in self.draft.balances.items():
            if pool != CROSS:
                pledged[asset] = pledged.get(asset, Decimal(0)) + amount
        for asset, amount in pledged.items():
            if (CROSS, asset) not in self.draft.balances:
                continue
            left = self.draft.balances[CROSS, asset] - amount
            if left < 0:
                raise InputError(
                    f"isolated positions have {plain(amount)} {asset} pledged, more than the "
                    "wallet holds",
                    code="INP-062",
                    field="positionBalance",
                    hint="take the replies at one moment",
                )
            self.draft.balances[CROSS, asset] = left

    # ---------------------------------------------------------------- positions

    def _position(self, row: Node, category: str | None) -> None:
        row.instrument = symbol = row.need_text("symbol")
        size = row.need("size")
        if size == 0:
            return
        side = row.choice("side", ("Buy", "Sell"))
        quantity = abs(size) if side == "Buy" else -abs(size)
        index = row.label("positionIdx") if "positionIdx" in row else "0"
        if index not in _LEGS:
            raise InputError(
                f"the position index {index!r} is none of 0, 1, 2",
                code="INP-003",
                instrument=symbol,
                field=row.at("positionIdx"),
            )
        leg = _LEGS[index]
        if (leg == "long" and side == "Sell") or (leg == "short" and side == "Buy"):
            raise InputError(
                f"the {leg} leg of {symbol} is on the side {side}",
                code="INP-006",
                instrument=symbol,
                field=row.at("side"),
            )
        instrument = self._instrument(symbol, row, category or row.text("category"))
        isolated = self.isolated or row.data.get("tradeMode") in (1, "1")
        self.draft.hold(
            Held(
                symbol=symbol,
                instrument=instrument,
                quantity=quantity * self.draft.sizes.get(symbol, Decimal(1)),
                field=row.at("size"),
                entry=self._entry(row, symbol, instrument, quantity),
                leg=leg,
                leverage=row.positive("leverage"),
                margin=row.need("positionBalance") if isolated else None,
                figures={
                    "mark_price": price_said(row, "markPrice"),
                    "entry_price": price_said(row, "avgPrice") or price_said(row, "entryPrice"),
                    "notional": row.said("positionValue"),
                    "unrealised": row.said("unrealisedPnl"),
                    "im": row.said("positionIM"),
                    "mm": row.said("positionMM"),
                    "margin": row.said("positionBalance") if isolated else None,
                    "liquidation_price": price_said(row, "liqPrice"),
                },
            )
        )

    def _entry(
        self, row: Node, symbol: str, instrument: Instrument, quantity: Decimal
    ) -> Decimal | None:
        # USDC contracts pay their profit into the wallet every session: the session's price counts.
        session = row.positive("sessionAvgPrice")
        if session is not None and session != row.positive("avgPrice"):
            self.draft.note(f"{symbol}: the entry price is that of the session, as profit counts")
        stated = session or row.positive("avgPrice") or row.positive("entryPrice")
        mark, profit = row.positive("markPrice"), row.number("unrealisedPnl")
        if stated is not None or mark is None or profit is None or instrument.kind == "option":
            return stated
        self.draft.note(
            f"{symbol}: no entry price is stated; the one used gives the profit that the venue "
            "reports"
        )
        return entry_from_profit(instrument, quantity, mark, profit)

    def _instrument(self, symbol: str, row: Node, category: str | None) -> Instrument:
        field = row.at("symbol")
        if category == "spot":
            listed = self.listed.get(symbol)
            if listed is None:
                why = "a spot pair needs the list of instruments; pass that reply as well"
                raise unreadable(symbol, why, field)
            base, quote = listed.need_text("baseCoin"), listed.need_text("quoteCoin")
            return named(symbol, field, base, quote, None)
        if (found := _DATED.fullmatch(symbol)) is not None:
            day = day_from_name(found["day"])
            if day is None:
                raise unreadable(symbol, "its date does not exist", field)
            settle = found["settle"] or found["quote"] or "USDC"
            return named(
                symbol,
                field,
                found["base"],
                settle,
                settle,
                day=day,
                strike=found["strike"],
                right=found["right"],
            )
        if (found := _INVERSE_DATED.fullmatch(symbol)) is not None:
            listed = self.listed.get(symbol)
            if listed is None:
                why = "its name does not say the day; pass the list of instruments as well"
                raise unreadable(symbol, why, field)
            day = day_from_ms(listed.need("deliveryTime"), symbol, listed.at("deliveryTime"))
            return named(symbol, field, found["base"], "USD", found["base"], day=day)
        if (found := _PERP.fullmatch(symbol)) is not None:
            base, quote = found["base"], found["quote"]
            if quote == "USD":
                return named(symbol, field, base, "USD", base)
            settle = "USDC" if quote == "PERP" else quote
            return named(symbol, field, base, settle, settle)
        raise unreadable(symbol, "it fits no naming grammar", field)

    # ---------------------------------------------------------------- orders

    def _order(self, row: Node, category: str | None) -> None:
        row.instrument = symbol = row.need_text("symbol")
        status = row.text("orderStatus")
        name = row.need_text("orderId")
        if status not in ("New", "PartiallyFilled"):
            self.draft.ignore(f"order {name} in {symbol}: its status is {status}")
            return
        left = row.number("leavesQty")
        left = row.need("qty") - row.need("cumExecQty") if left is None else left
        if not self.draft.left(f"order {name} in {symbol}", left, row, "qty"):
            return
        sign = 1 if row.choice("side", ("Buy", "Sell")) == "Buy" else -1
        instrument = self._instrument(symbol, row, category)
        pool = next((one.pool for one in self.draft.held if one.symbol == symbol), CROSS)
        size = self.draft.sizes.get(symbol, Decimal(1))
        price = row.positive("price")
        self.draft.order(name, instrument, sign * left * size, price, row.at("qty"), pool)
