"""Binance: futures accounts (USD-M, COIN-M), portfolio margin, spot wallets.

Source: Binance API documentation, "Account Information V2/V3", "Position Information V2/V3",
"Futures Account Balance V2/V3", "Current All Open Orders", COIN-M "Account Information",
portfolio margin "Account Information", "Account Balance", "UM/CM Account Detail", spot "Account
information" (published). ``isolatedMargin`` contains the profit of the position and
``isolatedWallet`` does not: inferred, and reproduced on recorded replies, where one less the
unrealised profit is the other to the last digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from crossmargin.errors import InputError
from crossmargin.instruments import Instrument
from crossmargin.venues._binance import instrument_of, recognise
from crossmargin.venues._draft import (
    CROSS,
    Draft,
    Figures,
    Held,
    LegName,
    Part,
    entry_from_profit,
    figures_of,
    price_said,
)
from crossmargin.venues._names import size_of
from crossmargin.venues._reply import Node, nodes, plain, venue_error

__all__ = ["VENUE", "read", "recognise"]

VENUE = "Binance"

_WAITING = frozenset(
    {"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"}
)
_LEGS: dict[str, LegName] = {"BOTH": "net", "LONG": "long", "SHORT": "short"}
#: Share of a wallet by which replies taken one after another may differ.
_SLACK = Decimal("1e-6")


def read(parts: Sequence[Part], draft: Draft) -> None:
    """Fill a draft from the replies of one account; see :mod:`crossmargin.venues.accounts`."""
    _Reader(parts, draft).run()


class _Reader:
    def __init__(self, parts: Sequence[Part], draft: Draft) -> None:
        self.draft = draft
        self.parts = parts
        self.listed: dict[str, Node] = {}
        self.settings: dict[str, Node] = {}
        self.rows: dict[tuple[str, str], list[Node]] = {}
        self.wallets: dict[str, tuple[Decimal, Decimal | None, str]] = {}
        self.families: set[str] = set()

    def of(self, *kinds: str) -> list[Part]:
        return [part for part in self.parts if part.kind in kinds]

    def run(self) -> None:
        """Read the kinds in the order in which they need each other."""
        for part in self.of("error"):
            node = Node(part.data)
            raise venue_error(VENUE, node.data.get("code"), node.data.get("msg"))
        for part in self.of("event"):
            raise InputError(
                "an event tells only what changed, not the whole account",
                code="INP-063",
                field=part.source,
                hint="pass the replies for account, positions and balance",
            )
        for part in self.of("exchange information"):
            for row in Node(part.data).rows("symbols"):
                self.listed[row.need_text("symbol")] = row
        for part in self.of("symbol settings"):
            for row in nodes(part.data, ""):
                self.settings[row.need_text("symbol")] = row
        pooled = bool(self.of("portfolio account", "portfolio balance"))
        # The positions reply knows more of a position than the account reply: it comes first.
        for part in self.of("positions"):
            self._rows(nodes(part.data, ""))
        self._accounts(pooled)
        if pooled:
            self._portfolio()
        self._spot(CROSS if pooled else "spot")
        self._positions(pooled)
        self._isolated_rest()
        self._orders()
        self._mode(pooled)

    # ---------------------------------------------------------------- balances

    def _accounts(self, pooled: bool) -> None:
        for part in self.of("account"):
            node = Node(part.data)
            self._rows(node.rows("positions"))
            if pooled:
                self.draft.ignore(
                    f"{part.source}: its balances are part of the portfolio balance already"
                )
                continue
            self._totals(node)
            for row in node.rows("assets"):
                self._wallet(row, "walletBalance")
                self.draft.assets.append(
                    figures_of(
                        row,
                        row.need_text("asset"),
                        equity="marginBalance",
                        wallet="walletBalance",
                        unrealised="unrealizedProfit",
                        im="initialMargin",
                        mm="maintMargin",
                        available="availableBalance",
                    )
                )
        for part in self.of("balance"):
            for row in nodes(part.data, ""):
                self._wallet(row, "balance")

    def _totals(self, node: Node) -> None:
        if "totalWalletBalance" not in node:
            return
        multi = node.flag("multiAssetsMargin")
        if multi is None:
            self.draft.note("the reply does not say whether multi-assets mode is on")
        self.draft.mode = {
            True: "multi-assets mode, one pool of all assets",
            False: "single-asset mode, each settlement asset by itself",
        }.get(multi, "")  # type: ignore[arg-type]
        self.draft.whole = figures_of(
            node,
            # In single-asset mode the totals are those of USDT alone.
            "USDT" if multi is False else "USD",
            equity="totalMarginBalance",
            wallet="totalWalletBalance",
            unrealised="totalUnrealizedProfit",
            im="totalInitialMargin",
            mm="totalMaintMargin",
            available="availableBalance",
        )

    def _wallet(self, row: Node, name: str) -> None:
        asset, whole = row.need_text("asset"), row.need(name)
        cross = row.number("crossWalletBalance")
        known = self.wallets.get(asset)
        if known is not None and known[:2] != (whole, cross):
            raise InputError(
                f"two replies state different balances of {asset}: {plain(known[0])} and "
                f"{plain(whole)}",
                code="INP-062",
                field=row.at(name),
                hint="take the replies at one moment, or pass one of them",
            )
        self.wallets[asset] = (whole, cross, row.at(name))

    def _portfolio(self) -> None:
        for part in self.of("portfolio account"):
            node = Node(part.data)
            self.draft.whole = figures_of(
                node,
                "USD",
                "uniMMR: adjusted equity / maintenance margin",
                equity="accountEquity",
                equity_before_haircuts="actualEquity",
                im="accountInitialMargin",
                mm="accountMaintMargin",
                available="totalAvailableBalance",
                margin_ratio="uniMMR",
            )
        names = ("crossMarginAsset", "umWalletBalance", "cmWalletBalance")
        owed = ("crossMarginBorrowed", "crossMarginInterest")
        for part in self.of("portfolio balance"):
            for row in nodes(part.data, ""):
                asset = row.need_text("asset")
                amount = sum((row.need(name) for name in names), Decimal(0))
                amount -= sum((row.need(name) for name in owed), Decimal(0))
                if asset in self.wallets:
                    raise InputError(
                        f"{asset} is stated twice",
                        code="INP-062",
                        field=row.at("asset"),
                        hint="pass each reply once",
                    )
                self.wallets[asset] = (amount, amount, row.at("totalWalletBalance"))
                self.draft.assets.append(Figures(unit=asset, wallet=row.said("totalWalletBalance")))

    def _spot(self, pool: str) -> None:
        for part in self.of("spot account"):
            if pool == CROSS:
                self.draft.ignore(
                    f"{part.source}: the spot wallet is outside the portfolio margin account"
                )
                continue
            self.draft.pool(pool, "sub_account")
            self.draft.mode = self.draft.mode or "spot wallet"
            for row in Node(part.data).rows("balances"):
                amount = row.need("free") + row.need("locked")
                self.draft.balance(row.need_text("asset"), amount, row.at("free"), pool)

    # ---------------------------------------------------------------- positions

    def _rows(self, rows: Any) -> None:
        seen: set[tuple[str, str]] = set()
        for row in rows:
            row.instrument = symbol = row.need_text("symbol")
            side = row.text("positionSide") or "BOTH"
            if side not in _LEGS:
                row.choice("positionSide", tuple(_LEGS))
            if (symbol, side) in seen:
                raise InputError(
                    f"{symbol} ({side}) is stated twice",
                    code="INP-062",
                    instrument=symbol,
                    field=row.at("symbol"),
                    hint="pass each reply once",
                )
            seen.add((symbol, side))
            self.rows.setdefault((symbol, side), []).append(row)

    def _positions(self, pooled: bool) -> None:
        for (symbol, side), rows in self.rows.items():
            amounts = {row.need("positionAmt") for row in rows}
            if len(amounts) > 1:
                raise InputError(
                    f"two replies state different positions in {symbol}: "
                    + " and ".join(plain(a) for a in sorted(amounts)),
                    code="INP-062",
                    instrument=symbol,
                    field=rows[0].at("positionAmt"),
                    hint="take the replies at one moment, or pass one of them",
                )
            amount = amounts.pop()
            if amount != 0:
                self.draft.hold(self._held(symbol, _LEGS[side], amount, rows, pooled))
        if not pooled and len(self.families) > 1:
            raise InputError(
                "USD-M and COIN-M futures are two wallets that do not share their money",
                code="INP-062",
                field="symbol",
                hint="read them as two accounts, or pass the portfolio margin replies as well",
            )

    def _held(
        self, symbol: str, leg: LegName, amount: Decimal, rows: list[Node], pooled: bool
    ) -> Held:
        field = rows[0].at("positionAmt")
        if (leg == "long" and amount < 0) or (leg == "short" and amount > 0):
            raise InputError(
                f"the {leg} leg of {symbol} has the quantity {plain(amount)}",
                code="INP-006",
                instrument=symbol,
                field=field,
                hint="short legs are negative",
            )
        instrument, size = self._instrument(symbol, rows[0])
        isolated = not pooled and self._isolated(symbol, rows)
        margin = self._pledged(symbol, rows) if isolated else None
        setting = [self.settings[symbol]] if symbol in self.settings else []
        if leg != "net":
            self.draft.note(
                f"{symbol} is held in hedge mode: its legs are kept apart here, and rule-sets "
                "net them"
            )
        return Held(
            symbol=symbol,
            instrument=instrument,
            quantity=amount * size,
            field=field,
            entry=self._entry(symbol, instrument, amount, size, rows),
            leg=leg,
            leverage=_first([row.positive("leverage") for row in rows + setting]),
            margin=margin,
            figures={
                "mark_price": _first([price_said(row, "markPrice") for row in rows]),
                "entry_price": _first([price_said(row, "entryPrice") for row in rows]),
                "notional": _say(rows, "notional", "notionalValue"),
                "unrealised": _say(rows, "unRealizedProfit", "unrealizedProfit"),
                "im": _say(rows, "initialMargin"),
                "mm": _say(rows, "maintMargin"),
                "margin": _say(rows, "isolatedMargin") if isolated else None,
                "liquidation_price": _first([price_said(row, "liquidationPrice") for row in rows]),
            },
        )

    def _instrument(self, symbol: str, row: Node) -> tuple[Instrument, Decimal]:
        """Return the instrument and the units of one contract; note the family."""
        instrument = instrument_of(symbol, row, self.listed.get(symbol))
        self.families.add("COIN-M" if instrument.inverse else "USD-M")
        listed = self.listed.get(symbol)
        stated = {symbol: size} if listed and (size := listed.positive("contractSize")) else {}
        if not instrument.inverse:
            stated = {symbol: Decimal(1)}
        return instrument, size_of(symbol, self.draft.sizes, stated, row.at("symbol"))

    def _isolated(self, symbol: str, rows: list[Node]) -> bool:
        for row in rows:
            flag = row.flag("isolated")
            if flag is not None:
                return flag
            kind = row.text("marginType")
            if kind is not None:
                kinds = ("isolated", "cross", "ISOLATED", "CROSSED", "CROSS")
                return row.choice("marginType", kinds).lower() == "isolated"
        if symbol in self.settings:
            setting = self.settings[symbol]
            return setting.choice("marginType", ("ISOLATED", "CROSSED")) == "ISOLATED"
        # The newest replies say it by what is pledged alone.
        if not any("isolatedWallet" in row for row in rows):
            self.draft.note(f"{symbol}: whether it is isolated is not stated; taken as cross")
        return any(row.number("isolatedWallet") for row in rows)

    def _pledged(self, symbol: str, rows: list[Node]) -> Decimal:
        """Return the margin of an isolated position without its profit."""
        for row in rows:
            wallet = row.number("isolatedWallet")
            if wallet:
                return wallet
        for row in rows:
            margin = row.number("isolatedMargin")
            profit = row.number("unRealizedProfit")
            profit = row.number("unrealizedProfit") if profit is None else profit
            if margin is not None and profit is not None:
                return margin - profit
        raise InputError(
            f"{symbol} is isolated, and no reply says what is pledged to it",
            code="INP-011",
            instrument=symbol,
            field=rows[0].at("isolatedWallet"),
            hint="pass the positions reply as well",
        )

    def _entry(
        self, symbol: str, instrument: Instrument, amount: Decimal, size: Decimal, rows: list[Node]
    ) -> Decimal | None:
        stated: Decimal | None = _first([row.positive("entryPrice") for row in rows])
        if stated is not None:
            return stated
        for row in rows:
            profit = row.number("unRealizedProfit")
            profit = row.number("unrealizedProfit") if profit is None else profit
            mark, notional = row.positive("markPrice"), row.number("notional")
            if mark is None and notional is not None and not instrument.inverse:
                mark = abs(notional / amount)
            if mark is None or profit is None:
                continue
            entry = entry_from_profit(instrument, amount * size, mark, profit)
            if entry is not None:
                self.draft.note(
                    f"{symbol}: no entry price is stated; the one used gives the profit that "
                    "the venue reports"
                )
                return entry
        return None

    def _isolated_rest(self) -> None:
        """Put wallets into pools: what is isolated belongs to its positions, the rest is cross."""
        for asset, (whole, cross, where) in self.wallets.items():
            pledged = sum(
                (
                    amount
                    for (pool, held), amount in self.draft.balances.items()
                    if held == asset and pool.startswith("isolated-")
                ),
                Decimal(0),
            )
            # Where the reply does not part the wallet, what is not pledged is cross.
            cross = whole - pledged if cross is None else cross
            rest = whole - cross - pledged
            slack = _SLACK * max(abs(whole), Decimal(1))
            if rest < -slack:
                raise InputError(
                    f"isolated positions have {plain(pledged)} {asset}, and the wallet of "
                    f"{plain(whole)} has only {plain(whole - cross)} outside cross",
                    code="INP-062",
                    field=where,
                    hint="take the replies at one moment",
                )
            self.draft.balance(asset, cross, where)
            if rest > slack:
                self.draft.note(
                    f"{plain(rest)} {asset} are pledged to isolated positions that no reply shows"
                )
                self.draft.balance(asset, rest, where, self.draft.pool("isolated", "isolated"))

    # ---------------------------------------------------------------- orders, mode

    def _orders(self) -> None:
        for part in self.of("conditional orders"):
            self.draft.ignore(f"{part.source}: conditional orders, which wait for their trigger")
        for part in self.of("orders"):
            data = [part.data] if isinstance(part.data, dict) else part.data
            for row in nodes(data, ""):
                self._order(row)

    def _order(self, row: Node) -> None:
        row.instrument = symbol = row.need_text("symbol")
        name, status = row.label("orderId"), row.text("status")
        if status not in ("NEW", "PARTIALLY_FILLED"):
            self.draft.ignore(f"order {name} in {symbol}: its status is {status}")
            return
        if "positionSide" not in row:
            self.draft.ignore(f"order {name} in {symbol}: an order of the spot market")
            return
        kind = row.text("type")
        if kind in _WAITING:
            self.draft.ignore(f"order {name} in {symbol}: {kind} waits for its trigger")
            return
        left = row.need("origQty") - row.need("executedQty")
        if not self.draft.left(f"order {name} in {symbol}", left, row, "origQty"):
            return
        sign = 1 if row.choice("side", ("BUY", "SELL")) == "BUY" else -1
        leg = _LEGS[row.choice("positionSide", tuple(_LEGS))]
        pool = next(
            (one.pool for one in self.draft.held if one.symbol == symbol and one.leg == leg), CROSS
        )
        instrument, size = self._instrument(symbol, row)
        self.draft.order(
            name, instrument, sign * left * size, row.positive("price"), row.at("origQty"), pool
        )

    def _mode(self, pooled: bool) -> None:
        for part in self.of("position mode"):
            hedge = Node(part.data).flag("dualSidePosition")
            self.draft.note("position mode: " + ("hedge" if hedge else "one-way"))
        family = " and ".join(sorted(self.families, reverse=True))
        words = "portfolio margin" if pooled else self.draft.mode or self.draft.asked_mode
        self.draft.mode = ", ".join(word for word in (family, words) if word) or "futures"


def _first(values: Sequence[Any]) -> Any:
    """Return the first value that is there."""
    return next((value for value in values if value is not None), None)


def _say(rows: list[Node], *names: str) -> str | None:
    found: str | None = _first([row.said(name) for row in rows for name in names])
    return found
