"""Derive: one subaccount with its collaterals, positions and open orders.

Source: Derive API documentation, ``private/get_subaccount``, ``get_positions``,
``get_open_orders`` (published). A perpetual's profit is paid into the cash now and then, so what
it has earned and not been paid is ``realised + unrealised + pending funding − net settlements``;
that sum is inferred from the descriptions of the fields, not reproduced. The venue's margins are
net: equity less requirement, so a figure below 0 is a shortfall.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from crossmargin.errors import InputError
from crossmargin.instruments import Instrument
from crossmargin.venues._draft import (
    Draft,
    Figures,
    Held,
    Part,
    entry_from_profit,
    figures_of,
    price_said,
    said,
)
from crossmargin.venues._names import named, unreadable
from crossmargin.venues._reply import Node, plain, venue_error

VENUE = "Derive"
_CASH = "USDC"
_SYMBOL = re.compile(
    r"(?P<base>[A-Z0-9]+)-(?:(?P<perp>PERP)|20(?P<day>[0-9]{6})-(?P<strike>[0-9_.]+)-(?P<right>[CP])"
    r"|(?P<quote>[A-Z0-9]+))"
)
_MODES = {
    "SM": "standard margin (SRM)",
    "PM": "portfolio margin (PM1)",
    "PM2": "portfolio margin (PM2)",
}


def recognise(data: Any) -> str | None:
    """Name the reply by its shape, or return None when it is not one of Derive's."""
    if not isinstance(data, dict):
        return None
    if "id" in data and "jsonrpc" not in data and isinstance(data.get("error"), dict):
        return "error"
    inner = data.get("result", data)
    if not isinstance(inner, dict):
        return None
    for keys, kind in (
        (("collaterals", "subaccount_id", "positions"), "subaccount"),
        (("positions", "subaccount_id"), "positions"),
        (("open_orders", "subaccount_id"), "orders"),
        (("orders", "subaccount_id"), "orders"),
        (("instrument_name", "amount", "average_price", "unrealized_pnl"), "position"),
    ):
        if all(key in inner for key in keys):
            return kind
    return None


def read(parts: Sequence[Part], draft: Draft) -> None:
    """Fill a draft from the replies of one account; see :mod:`crossmargin.venues.accounts`."""
    tops: list[tuple[str, Node]] = []
    for part in parts:
        node = Node(part.data)
        if part.kind == "error":
            error = node.node("error")
            raise venue_error(VENUE, error.data.get("code"), error.data.get("message"))
        inner = node.data.get("result", node.data)
        tops.append((part.kind, Node(inner, "result" if "result" in node else "")))
    numbers = {node.label("subaccount_id") for _, node in tops if "subaccount_id" in node}
    if len(numbers) > 1 or sum(kind == "subaccount" for kind, _ in tops) > 1:
        raise InputError(
            f"the replies are of several subaccounts: {', '.join(sorted(numbers))}",
            code="INP-062",
            field="subaccount_id",
            hint="each is an account of its own: read one at a time",
        )
    draft.name = f"derive-{numbers.pop()}" if numbers else None
    draft.mode = draft.asked_mode or "margin type not stated"
    whole = [node for kind, node in tops if kind == "subaccount"]
    for node in whole:
        _subaccount(node, draft)
    # The subaccount holds its positions; a positions reply beside it says the same again.
    lists = whole or [node for kind, node in tops if kind == "positions"]
    rows = [row for node in lists for row in node.rows("positions")]
    rows += [] if lists else [node for kind, node in tops if kind == "position"]
    for row in rows:
        _position(row, draft)
    if whole:
        again = [
            row for kind, node in tops if kind == "positions" for row in node.rows("positions")
        ]
        again += [node for kind, node in tops if kind == "position"]
        _check_again(rows, again, draft)
    for kind, node in tops:
        if kind in ("orders", "subaccount"):
            for row in node.rows("open_orders") + node.rows("orders"):
                _order(row, draft)


def _check_again(rows: list[Node], again: list[Node], draft: Draft) -> None:
    """See that a positions reply beside the subaccount says the same."""
    known = {row.need_text("instrument_name"): row.need("amount") for row in rows}
    for row in again:
        symbol = row.need_text("instrument_name")
        amount = row.need("amount")
        if amount != known.get(symbol, Decimal(0)):
            raise InputError(
                f"the positions reply states {plain(amount)} {symbol} and the subaccount "
                f"{plain(known.get(symbol, Decimal(0)))}",
                code="INP-062",
                instrument=symbol,
                field=row.at("amount"),
                hint="take the replies at one moment, or pass the subaccount alone",
            )
    if again:
        draft.ignore("the positions reply: the subaccount states the same positions")


def _subaccount(node: Node, draft: Draft) -> None:
    kind = node.text("margin_type")
    if kind is not None:
        draft.mode = _MODES.get(kind, kind)
    draft.whole = figures_of(
        node,
        "USD",
        equity="subaccount_value",
        wallet="collaterals_value",
        im="initial_margin",
        mm="maintenance_margin",
    )
    draft.note("the venue's margins are net: equity less requirement")
    if node.flag("is_under_liquidation"):
        draft.note("the subaccount is being liquidated")
    for row in node.rows("collaterals"):
        asset = row.need_text("asset_name")
        if any(one.unit == asset for one in draft.assets):
            raise InputError(
                f"{asset} is stated twice",
                code="INP-062",
                field=row.at("asset_name"),
                hint="pass each reply once",
            )
        pending = row.need("pending_interest")
        if pending:
            draft.note(f"{plain(pending)} {asset} of interest are pending and counted")
        draft.balance(asset, row.need("amount") + pending, row.at("amount"))
        draft.assets.append(
            Figures(
                unit=asset,
                wallet=row.said("amount"),
                im=row.said("initial_margin"),
                mm=row.said("maintenance_margin"),
            )
        )


def _instrument(row: Node) -> tuple[str, Instrument]:
    row.instrument = symbol = row.need_text("instrument_name")
    found = _SYMBOL.fullmatch(symbol)
    if found is None:
        raise unreadable(symbol, "it fits no naming grammar", row.at("instrument_name"))
    settle = None if found["quote"] else _CASH
    strike = found["strike"].replace("_", ".") if found["strike"] else None
    instrument = named(
        symbol,
        row.at("instrument_name"),
        found["base"],
        found["quote"] or _CASH,
        settle,
        day=found["day"],
        strike=strike,
        right=found["right"],
    )
    return symbol, instrument


def _position(row: Node, draft: Draft) -> None:
    symbol, instrument = _instrument(row)
    amount = row.need("amount")
    if amount == 0:
        return
    entry = row.positive("average_price")
    mark, profit = row.positive("mark_price"), row.number("unrealized_pnl")
    if entry is None and mark is not None and profit is not None and instrument.kind != "option":
        entry = entry_from_profit(instrument, amount, mark, profit)
        draft.note(
            f"{symbol}: no entry price is stated; the one used gives the profit that the venue "
            "reports"
        )
    draft.hold(
        Held(
            symbol=symbol,
            instrument=instrument,
            quantity=amount,
            field=row.at("amount"),
            entry=entry,
            leverage=row.positive("leverage"),
            figures={
                "mark_price": price_said(row, "mark_price"),
                "entry_price": price_said(row, "average_price"),
                **said(
                    row,
                    notional="mark_value",
                    unrealised="unrealized_pnl",
                    im="initial_margin",
                    mm="maintenance_margin",
                ),
                "liquidation_price": price_said(row, "liquidation_price"),
            },
        )
    )
    if instrument.kind == "perpetual":
        _unpaid(row, symbol, draft)


def _unpaid(row: Node, symbol: str, draft: Draft) -> None:
    """Count what a perpetual has earned and not been paid."""
    unpaid = row.need("realized_pnl") + row.need("pending_funding") - row.need("net_settlements")
    if unpaid:
        draft.balance(_CASH, unpaid, row.at("pending_funding"))
        draft.note(
            f"{symbol}: {plain(unpaid)} {_CASH} realised or of funding, not yet paid, are counted"
        )


def _order(row: Node, draft: Draft) -> None:
    symbol, instrument = _instrument(row)
    name = row.need_text("order_id")
    status = row.text("order_status")
    if status != "open":
        draft.ignore(f"order {name} in {symbol}: its status is {status}")
        return
    left = row.need("amount") - (row.number("filled_amount") or Decimal(0))
    if not draft.left(f"order {name} in {symbol}", left, row, "amount"):
        return
    sign = 1 if row.choice("direction", ("buy", "sell")) == "buy" else -1
    draft.order(name, instrument, sign * left, row.positive("limit_price"), row.at("amount"))
