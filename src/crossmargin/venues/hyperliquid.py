"""Hyperliquid: perpetual clearinghouses, the spot clearinghouse, and unified accounts.

Source: Hyperliquid documentation, "Info endpoint", ``clearinghouseState``,
``spotClearinghouseState``, ``openOrders``, ``userAbstraction`` (published). The state holds no
cash figure; ``cash = accountValue − unrealised profit`` and, for an isolated position,
``pledged = marginUsed − unrealised profit`` are inferred from ``accountValue = totalRawUsd +
signed position value``. In a unified or portfolio-margin account the money stands in the spot
state and the perpetual states describe no collateral (secondary: open-source clients).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from crossmargin.errors import InputError
from crossmargin.instruments import Instrument
from crossmargin.venues._draft import CROSS, Draft, Figures, Held, Part, price_said, said
from crossmargin.venues._names import named, unreadable
from crossmargin.venues._reply import Node, nodes, plain, wrong_shape

VENUE = "Hyperliquid"
_QUOTE = "USDC"
_UNIFIED = frozenset({"unifiedAccount", "portfolioMargin"})
_WORDS = frozenset({"disabled", "default", "dexAbstraction"}) | _UNIFIED


def recognise(data: Any) -> str | None:
    """Name the reply by its shape, or return None when it is not one of Hyperliquid's."""
    if isinstance(data, str):
        return "abstraction" if data in _WORDS else None
    if isinstance(data, dict):
        if {"assetPositions", "marginSummary"} <= data.keys():
            return "perpetuals"
        inner = data.get("data")
        if isinstance(inner, dict) and "clearinghouseStates" in inner:
            return "all perpetuals"
        rows = data.get("balances")
        first = rows[0] if isinstance(rows, list) and rows else None
        if isinstance(first, dict) and {"coin", "token", "total"} <= first.keys():
            return "spot"
        return None
    first = data[0] if isinstance(data, list) and data else None
    if isinstance(first, dict) and {"coin", "limitPx", "oid", "sz"} <= first.keys():
        return "orders"
    return None


def read(parts: Sequence[Part], draft: Draft) -> None:
    """Fill a draft from the replies of one account; see :mod:`crossmargin.venues.accounts`."""
    words = [str(part.data) for part in parts if part.kind == "abstraction"]
    words += [draft.asked_mode] if draft.asked_mode else []
    unified = any(word in _UNIFIED or word == "unified" for word in words)
    spot = [Node(part.data) for part in parts if part.kind == "spot"]
    states = _states(parts)
    if len(spot) > 1:
        raise InputError(
            "two spot states", code="INP-062", field="balances", hint="pass each reply once"
        )
    if unified and states and not spot:
        raise InputError(
            "the account is unified, and its money stands in the spot state, which is not there",
            code="INP-011",
            field="balances",
            hint="pass the spotClearinghouseState as well",
        )
    draft.mode = (
        "unified account: one pool, whose money is in the spot state"
        if unified
        else "separate perpetual and spot wallets"
    )
    if not words and spot and states:
        draft.note(
            "whether the account is unified is not stated; perpetual and spot money are kept "
            "apart (pass the userAbstraction reply, or the mode unified)"
        )
    for dex, state in states:
        _perpetuals(dex, state, unified, draft)
    for state in spot:
        _spot(state, CROSS if unified or not states else "spot", draft)
    for part in parts:
        if part.kind == "orders":
            for row in nodes(part.data, ""):
                _order(row, draft)


def _states(parts: Sequence[Part]) -> list[tuple[str, Node]]:
    """Return the perpetual states with the name of their dex; the main one has none."""
    found: list[tuple[str, Node]] = []
    for part in parts:
        if part.kind == "perpetuals":
            found.append(("", Node(part.data)))
        elif part.kind == "all perpetuals":
            pairs = Node(part.data).node("data").data["clearinghouseStates"]
            if not isinstance(pairs, list):
                raise wrong_shape("clearinghouseStates is no list", "data.clearinghouseStates")
            for index, pair in enumerate(pairs):
                where = f"data.clearinghouseStates[{index}]"
                if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
                    raise wrong_shape(f"{where} is no pair of a name and a state", where)
                found.append((pair[0], Node(pair[1], where)))
    names = [dex for dex, _ in found]
    if len(set(names)) < len(names):
        raise InputError(
            "two states of one dex",
            code="INP-062",
            field="assetPositions",
            hint="pass the state of each dex once, or the message that holds them all",
        )
    return found


def _perpetuals(dex: str, state: Node, unified: bool, draft: Draft) -> None:
    pool = CROSS if not dex or unified else draft.pool(f"dex-{dex}", "sub_account")
    cash = state.node("marginSummary").need("accountValue")
    for row in state.rows("assetPositions"):
        cash -= _position(row.node("position"), pool, unified, draft)
    summary = state.node("marginSummary")
    if not dex and not unified:
        draft.whole = Figures(
            unit="USD",
            equity=summary.said("accountValue"),
            im=summary.said("totalMarginUsed"),
            mm=state.said("crossMaintenanceMarginUsed"),
            available=state.said("withdrawable"),
        )
    if unified:
        draft.ignore(
            "the value of the perpetual state: in a unified account the money is the spot balance"
        )
        return
    draft.balance(_QUOTE, cash, state.at("marginSummary.accountValue"), pool)
    cross = state.node("crossMarginSummary").need("accountValue")
    isolated = summary.need("accountValue") - cross
    pledged = sum((one.margin for one in draft.held if one.margin is not None), Decimal(0)) + sum(
        (Decimal(one.figures["unrealised"] or 0) for one in draft.held if one.margin is not None),
        Decimal(0),
    )
    if not dex and abs(isolated - pledged) > Decimal("1e-4") * max(abs(isolated), Decimal(1)):
        draft.note(
            f"the isolated positions are worth {plain(pledged)} {_QUOTE} by their rows and "
            f"{plain(isolated)} by the summary"
        )


def _position(row: Node, pool: str, unified: bool, draft: Draft) -> Decimal:
    """Add a position and return what it takes of the account value that is not cash in cross."""
    row.instrument = symbol = row.need_text("coin")
    size = row.need("szi")
    if size == 0:
        return Decimal(0)
    instrument = _instrument(symbol, row.at("coin"), draft)
    profit = row.need("unrealizedPnl")
    setting = row.node("leverage")
    isolated = setting.choice("type", ("cross", "isolated")) == "isolated"
    margin = row.need("marginUsed") - profit if isolated else None
    if isolated and unified:
        draft.note(
            f"{symbol}: isolated inside a unified account; its margin is in a pool of its own"
        )
    draft.hold(
        Held(
            symbol=symbol,
            instrument=instrument,
            quantity=size,
            field=row.at("szi"),
            entry=row.positive("entryPx"),
            pool=pool,
            leverage=setting.positive("value"),
            margin=margin,
            figures={
                **said(
                    row,
                    notional="positionValue",
                    unrealised="unrealizedPnl",
                    im="marginUsed",
                    margin="marginUsed",
                ),
                "entry_price": price_said(row, "entryPx"),
                "liquidation_price": price_said(row, "liquidationPx"),
            },
        )
    )
    return profit + (margin or Decimal(0))


def _instrument(symbol: str, field: str, draft: Draft) -> Instrument:
    if ":" in symbol:
        why = "it is a market of another deployer, for which there are no names"
        raise unreadable(symbol, why, field)
    base = symbol
    if symbol[:1] == "k" and symbol[1:].isupper():
        base = symbol.upper()
        draft.note(f"{symbol} (a thousand {symbol[1:]}) is called {base}")
    return named(symbol, field, base, _QUOTE, _QUOTE)


def _spot(state: Node, pool: str, draft: Draft) -> None:
    if pool != CROSS:
        draft.pool(pool, "sub_account")
    seen: set[str] = set()
    for row in state.rows("balances"):
        coin = row.need_text("coin")
        if coin in seen:
            raise InputError(
                f"{coin} is stated twice",
                code="INP-062",
                field=row.at("coin"),
                hint="pass each reply once",
            )
        seen.add(coin)
        # `hold` is the part of `total` that open orders or positions tie up, not on top of it.
        total = row.need("total")
        draft.balance(coin, total, row.at("total"), pool)
        if coin.isalnum():
            draft.assets.append(Figures(unit=coin, wallet=row.said("total")))


def _order(row: Node, draft: Draft) -> None:
    row.instrument = symbol = row.need_text("coin")
    name = row.label("oid")
    if row.flag("isTrigger"):
        draft.ignore(f"order {name} in {symbol}: it waits for its trigger")
        return
    if symbol.startswith("@") or "/" in symbol:
        draft.ignore(f"order {name} in {symbol}: an order of the spot market")
        return
    left = row.need("sz")
    if not draft.left(f"order {name} in {symbol}", left, row, "sz"):
        return
    sign = 1 if row.choice("side", ("A", "B")) == "B" else -1
    instrument = _instrument(symbol, row.at("coin"), draft)
    pool = next((one.pool for one in draft.held if one.symbol == symbol), CROSS)
    draft.order(name, instrument, sign * left, row.positive("limitPx"), row.at("sz"), pool)
