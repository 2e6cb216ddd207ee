"""OKX: one trading account in its four modes (spot, futures, multi-currency, portfolio margin).

Source: OKX API guide v5, "Get balance", "Get positions", "Get account configuration", "Get
instruments", "Order list" (published); help article 11951498951821 for
``equity = balance + cross profit + isolated margin and profit + option value − interest``. That
``cashBal`` leaves out what is pledged to isolated positions, and ``isoEq`` contains their profit,
is inferred and reproduced on a recorded reply (``eq = cashBal + isoEq`` to the last digit).
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
from crossmargin.venues._names import named, size_of, unreadable
from crossmargin.venues._reply import Node, nodes, plain, venue_error

VENUE = "OKX"

_SYMBOL = re.compile(
    r"(?P<base>[A-Z0-9]+)-(?P<quote>[A-Z0-9]+)"
    r"(?:-(?:SWAP|(?P<day>[0-9]{6})(?:-(?P<strike>[0-9]+(?:\.[0-9]+)?)-(?P<right>[CP]))?))?"
)
_MODES = {
    "1": "spot mode",
    "2": "futures mode, each settlement asset by itself",
    "3": "multi-currency margin, one pool of all assets",
    "4": "portfolio margin, one pool of all assets",
}


def recognise(data: Any) -> str | None:
    """Name the reply by its shape, or return None when it is not one of OKX's."""
    if not isinstance(data, dict):
        return None
    if {"ccy", "cashBal", "eq"} <= data.keys():
        return "balance detail"
    code = data.get("code")
    if isinstance(code, str) and code != "0" and "data" in data:
        return "error"
    rows = data.get("data")
    if not isinstance(rows, list) or not (code == "0" or "arg" in data):
        return None
    first = rows[0] if rows else {}
    if not isinstance(first, dict):
        return None
    for keys, kind in (
        (("details", "totalEq"), "balance"),
        (("posId", "instId", "pos"), "positions"),
        (("instId", "posSide", "pos", "mgnMode"), "positions"),
        (("acctLv", "posMode"), "configuration"),
        (("instId", "ctVal", "instType"), "instruments"),
        (("ordId", "instId", "accFillSz"), "orders"),
        (("algoId", "instId"), "conditional orders"),
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
        self.isolated_cash: dict[str, tuple[Decimal, str]] = {}
        self.level: str | None = None

    def rows(self, *kinds: str) -> list[Node]:
        """Return the rows of all replies of some kinds."""
        return [
            row
            for part in self.parts
            if part.kind in kinds
            for row in nodes(Node(part.data).data["data"], "data")
        ]

    def run(self) -> None:
        """Read the kinds in the order in which they need each other."""
        for part in self.parts:
            if part.kind == "error":
                node = Node(part.data)
                raise venue_error(VENUE, node.data.get("code"), node.data.get("msg"))
            if part.kind == "conditional orders":
                self.draft.ignore(
                    f"{part.source}: conditional orders, which wait for their trigger"
                )
        for row in self.rows("instruments"):
            self.listed[row.need_text("instId")] = row
        for row in self.rows("configuration"):
            self.level = row.choice("acctLv", tuple(_MODES))
            self.draft.note(f"position mode: {row.text('posMode')}")
        self._balances()
        for row in self.rows("positions"):
            self._position(row)
        self._isolated_rest()
        for row in self.rows("orders"):
            self._order(row)
        self.draft.mode = (
            _MODES[self.level]
            if self.level is not None
            else self.draft.asked_mode or self.draft.mode or "mode not stated"
        )

    # ---------------------------------------------------------------- balances

    def _balances(self) -> None:
        accounts = self.rows("balance")
        if len(accounts) > 1:
            raise InputError(
                "two balance replies", code="INP-062", field="data", hint="pass each reply once"
            )
        for row in accounts:
            pooled = row.number("adjEq") is not None
            self.draft.mode = (
                "one pool of all assets (adjEq is stated)"
                if pooled
                else "spot or futures mode, each settlement asset by itself (adjEq is empty)"
            )
            self.draft.whole = figures_of(
                row,
                "USD",
                "adjusted equity / (maintenance margin + liquidation fees)",
                # Where assets are not pooled there is no equity of the account to compare.
                equity="adjEq",
                equity_before_haircuts="totalEq",
                unrealised="upl",
                im="imr",
                mm="mmr",
                available="availEq",
                margin_ratio="mgnRatio",
            )
            for detail in row.rows("details"):
                self._detail(detail)
        for part in self.parts:
            if part.kind == "balance detail":
                self._detail(Node(part.data))

    def _detail(self, row: Node) -> None:
        asset = row.need_text("ccy")
        if any(one.unit == asset for one in self.draft.assets):
            raise InputError(
                f"{asset} is stated twice",
                code="INP-062",
                field=row.at("ccy"),
                hint="pass each reply once",
            )
        zero = Decimal(0)
        cash, interest = row.need("cashBal"), abs(row.number("interest") or zero)
        iso_equity, iso_profit = row.number("isoEq") or zero, row.number("isoUpl") or zero
        self.draft.balance(asset, cash - interest, row.at("cashBal"))
        if interest:
            self.draft.note(f"{plain(interest)} {asset} of accrued interest are taken off")
        self.isolated_cash[asset] = (iso_equity - iso_profit, row.at("isoEq"))
        self.draft.assets.append(
            figures_of(
                row,
                asset,
                "as for the account",
                equity="eq",
                wallet="cashBal",
                unrealised="upl",
                im="imr",
                mm="mmr",
                available="availEq",
                margin_ratio="mgnRatio",
            )
        )
        hedging = row.number("spotInUseAmt")
        if hedging:
            self.draft.note(f"{plain(hedging)} {asset} of spot are in use as a hedge")

    def _isolated_rest(self) -> None:
        """Account for money in isolated positions that no reply shows."""
        for asset, (whole, where) in self.isolated_cash.items():
            shown = sum(
                (
                    amount
                    for (pool, held), amount in self.draft.balances.items()
                    if held == asset and pool != CROSS
                ),
                Decimal(0),
            )
            rest = whole - shown
            if abs(rest) <= Decimal("1e-6") * max(abs(whole), abs(shown), Decimal("1e-6")):
                continue
            if shown:
                self.draft.note(
                    f"isolated positions have {plain(shown)} {asset} pledged, and the balance "
                    f"says {plain(whole)}: the replies are of different moments"
                )
            elif whole > 0:
                pool = self.draft.pool("isolated", "isolated")
                self.draft.balance(asset, whole, where, pool)
                self.draft.note(
                    f"{plain(whole)} {asset} are pledged to isolated positions that no reply shows"
                )

    # ---------------------------------------------------------------- positions

    def _position(self, row: Node) -> None:
        row.instrument = symbol = row.need_text("instId")
        kind = row.choice("instType", ("MARGIN", "SWAP", "FUTURES", "OPTION"))
        count = row.need("pos")
        if count == 0:
            return
        isolated = row.choice("mgnMode", ("cross", "isolated")) == "isolated"
        if kind == "MARGIN":
            if isolated:
                raise InputError(
                    f"{symbol} is an isolated spot margin position, whose coins and loan stand "
                    "apart from the balances",
                    code="INP-063",
                    instrument=symbol,
                    field=row.at("instType"),
                    hint="write its coins and its debt into a pool of their own by hand",
                )
            self.draft.ignore(
                f"{symbol}: a spot margin position in cross; its coins and its debt are in the "
                "balances already"
            )
            return
        instrument, size = self._instrument(symbol, row, "pos")
        leg, count = _sided(row, count)
        asset = row.text("ccy")
        if isolated and asset is not None and asset != instrument.settlement:
            self.draft.note(
                f"{symbol} settles in {instrument.settlement}, and its margin is said to be in "
                f"{asset}: kept as said"
            )
        self.draft.hold(
            Held(
                symbol=symbol,
                instrument=instrument,
                quantity=count * size,
                field=row.at("pos"),
                entry=self._entry(row, symbol, instrument, count * size),
                leg=leg,
                leverage=row.positive("lever"),
                margin=row.need("margin") if isolated else None,
                margin_asset=asset if isolated else None,
                figures={
                    "mark_price": price_said(row, "markPx"),
                    "entry_price": price_said(row, "avgPx"),
                    "notional": row.said("notionalUsd"),
                    "unrealised": row.said("upl"),
                    "im": row.said("imr"),
                    "mm": row.said("mmr"),
                    "margin": row.said("margin"),
                    "margin_ratio": row.said("mgnRatio"),
                    "liquidation_price": price_said(row, "liqPx"),
                },
            )
        )

    def _entry(
        self, row: Node, symbol: str, instrument: Instrument, quantity: Decimal
    ) -> Decimal | None:
        stated = row.positive("avgPx")
        mark, profit = row.positive("markPx"), row.number("upl")
        if stated is not None or mark is None or profit is None:
            return stated
        if instrument.kind == "option":
            return None
        self.draft.note(
            f"{symbol}: no entry price is stated; the one used gives the profit that the venue "
            "reports"
        )
        return entry_from_profit(instrument, quantity, mark, profit)

    def _instrument(self, symbol: str, row: Node, counted: str) -> tuple[Instrument, Decimal]:
        """Return the instrument and the units of one contract."""
        found = _SYMBOL.fullmatch(symbol)
        if found is None:
            raise unreadable(symbol, "it fits no naming grammar", row.at("instId"))
        base, quote = found["base"], found["quote"]
        spot = not symbol.endswith("-SWAP") and found["day"] is None
        # Contracts on BTC-USD are settled in the coin, on BTC-USDT in the quote currency.
        settle = base if quote == "USD" else quote
        instrument = named(
            symbol,
            row.at("instId"),
            base,
            quote,
            None if spot else settle,
            day=found["day"],
            strike=found["strike"],
            right=found["right"],
        )
        if spot:
            return instrument, Decimal(1)
        listed: dict[str, Decimal] = {}
        if symbol in self.listed:
            terms = self.listed[symbol]
            terms.instrument = symbol
            if terms.text("settleCcy") not in (None, settle):
                why = f"it settles in {terms.text('settleCcy')}, not in {settle}"
                raise unreadable(symbol, why, terms.at("settleCcy"))
            multiplier = terms.positive("ctMult") or Decimal(1)
            listed[symbol] = (terms.positive("ctVal") or terms.need("ctVal")) * multiplier
        return instrument, size_of(symbol, self.draft.sizes, listed, row.at(counted))

    # ---------------------------------------------------------------- orders

    def _order(self, row: Node) -> None:
        row.instrument = symbol = row.need_text("instId")
        name = row.need_text("ordId")
        state = row.text("state")
        if state not in ("live", "partially_filled"):
            self.draft.ignore(f"order {name} in {symbol}: its state is {state}")
            return
        left = row.need("sz") - row.need("accFillSz")
        if not self.draft.left(f"order {name} in {symbol}", left, row, "sz"):
            return
        if row.text("tgtCcy") == "quote_ccy":
            self.draft.ignore(f"order {name} in {symbol}: its size is in the quote currency")
            return
        instrument, size = self._instrument(symbol, row, "sz")
        sign = 1 if row.choice("side", ("buy", "sell")) == "buy" else -1
        leg = row.text("posSide")
        pool = CROSS
        if row.text("tdMode") == "isolated":
            side = f"-{leg}" if leg in ("long", "short") else ""
            pool = self.draft.pool(f"isolated-{symbol}{side}", "isolated")
        self.draft.order(
            name, instrument, sign * left * size, row.positive("px"), row.at("sz"), pool
        )


def _sided(row: Node, count: Decimal) -> tuple[LegName, Decimal]:
    """Return the leg and the signed number of contracts.

    In long/short mode sizes are unsigned and the side says the sign; in net mode the sign does.
    """
    side = row.choice("posSide", ("net", "long", "short"))
    if side == "net":
        return "net", count
    if count < 0 and side == "long":
        raise InputError(
            f"the long leg has the size {plain(count)}",
            code="INP-006",
            instrument=row.instrument,
            field=row.at("pos"),
            hint="long legs are positive",
        )
    return ("long", count) if side == "long" else ("short", -abs(count))
