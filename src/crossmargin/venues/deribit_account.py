"""Deribit: account summaries, portfolio messages, positions and open orders.

Source: Deribit API documentation, ``private/get_account_summary``, ``get_account_summaries``,
``user.portfolio``, ``get_positions``, ``get_open_orders`` (published). Profit is settled into the
balance once a session, so ``balance`` alone misses the profit that this session has realised:
``equity = balance + session profit, realised and not + options value`` is inferred, and
reproduced on a recorded reply to the last digit that it states.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from crossmargin.errors import InputError
from crossmargin.instruments import Instrument, parse_instrument
from crossmargin.venues._draft import (
    Draft,
    Held,
    Part,
    entry_from_profit,
    figures_of,
    price_said,
)
from crossmargin.venues._names import unreadable
from crossmargin.venues._reply import Node, nodes, plain, venue_error

VENUE = "Deribit"

_MODELS = {
    "segregated_sm": "segregated standard margin, each currency by itself",
    "segregated_pm": "segregated portfolio margin, each currency by itself",
    "cross_sm": "cross-collateral standard margin, one pool of all currencies",
    "cross_pm": "cross-collateral portfolio margin, one pool of all currencies",
}


def recognise(data: Any) -> str | None:
    """Name the reply by its shape, or return None when it is not one of Deribit's."""
    if not isinstance(data, dict):
        return None
    envelope = "jsonrpc" in data
    if envelope and isinstance(data.get("error"), dict):
        return "error"
    if envelope and data.get("method") == "subscription":
        params = data.get("params")
        inner = params.get("data") if isinstance(params, dict) else None
        return _kind(inner)
    return _kind(data["result"]) if "result" in data else _kind(data)


def _kind(inner: Any) -> str | None:
    if isinstance(inner, dict):
        if "summaries" in inner:
            return "summaries"
        if {"currency", "balance", "equity", "margin_balance"} <= inner.keys():
            return "summary"
        return None
    first = inner[0] if isinstance(inner, list) and inner else None
    if not isinstance(first, dict):
        return None
    if {"instrument_name", "size", "floating_profit_loss"} <= first.keys():
        return "positions"
    if {"instrument_name", "order_id", "order_state", "amount"} <= first.keys():
        return "orders"
    if {"currency", "balance", "equity", "margin_balance"} <= first.keys():
        return "summary list"
    return None


def _inner(data: Any) -> Any:
    if isinstance(data, dict):
        if data.get("method") == "subscription":
            return data["params"]["data"]
        return data.get("result", data)
    return data


def read(parts: Sequence[Part], draft: Draft) -> None:
    """Fill a draft from the replies of one account; see :mod:`crossmargin.venues.accounts`."""
    for part in parts:
        if part.kind == "error":
            error = Node(part.data).node("error")
            raise venue_error(VENUE, error.data.get("code"), error.data.get("message"))
    summaries: list[Node] = []
    for part in parts:
        inner = _inner(part.data)
        if part.kind == "summaries":
            summaries += Node(inner, "result").rows("summaries")
        elif part.kind == "summary":
            summaries.append(Node(inner, "result"))
        elif part.kind == "summary list":
            summaries += nodes(inner, "result")
    _summaries(summaries, draft)
    for part in parts:
        if part.kind == "positions":
            for row in nodes(_inner(part.data), "result"):
                _position(row, draft)
    for part in parts:
        if part.kind == "orders":
            for row in nodes(_inner(part.data), "result"):
                _order(row, draft)
    _check_positions(summaries, draft)


def _summaries(rows: list[Node], draft: Draft) -> None:
    models = {row.text("margin_model") for row in rows} - {None}
    if len(models) > 1:
        raise InputError(
            f"the summaries are of two margin models: {', '.join(sorted(map(str, models)))}",
            code="INP-062",
            field="margin_model",
            hint="take them at one moment, of one account",
        )
    model = next(iter(models), None)
    cross = any(row.flag("cross_collateral_enabled") for row in rows)
    draft.mode = (
        _MODELS.get(str(model), str(model))
        if model is not None
        else draft.asked_mode or "margin model not stated"
    )
    for row in rows:
        currency = row.need_text("currency")
        if any(one.unit == currency for one in draft.assets):
            raise InputError(
                f"{currency} is stated twice",
                code="INP-062",
                field=row.at("currency"),
                hint="pass each reply once",
            )
        draft.balance(currency, _cash(row, draft, currency), row.at("balance"))
        # In cross collateral the margins of a currency's row are those of the whole pool, written
        # in that currency: they stand once, at the account.
        margins = {
            "im": "initial_margin",
            "mm": "maintenance_margin",
            "available": "available_funds",
        }
        draft.assets.append(
            figures_of(
                row,
                currency,
                equity="equity",
                wallet="balance",
                unrealised="session_upl",
                **({} if cross else margins),
            )
        )
        if cross:
            _whole(row, draft)


def _whole(row: Node, draft: Draft) -> None:
    """Take the figures of the pool from the first currency that states them; all repeat them."""
    if draft.whole is not None or row.number("total_equity_usd") is None:
        return
    draft.whole = figures_of(
        row,
        "USD",
        equity="total_margin_balance_usd",
        equity_before_haircuts="total_equity_usd",
        im="total_initial_margin_usd",
        mm="total_maintenance_margin_usd",
    )
    draft.note("the pool's margins are stated in every currency's row and counted once")


def _cash(row: Node, draft: Draft, currency: str) -> Decimal:
    """Return the balance with the session's realised profit, without what positions are worth."""
    zero = Decimal(0)
    balance, equity = row.need("balance"), row.need("equity")
    upl, value = row.number("futures_session_upl"), row.number("options_value")
    if upl is None or value is None:
        draft.note(f"{currency}: the session's profit is not stated in parts; the balance is used")
        return balance + (row.number("session_rpl") or zero)
    cash = equity - upl - value
    realised = cash - balance
    if realised:
        draft.note(
            f"{currency}: {plain(realised)} realised in this session are added to the balance"
        )
    return cash


def _check_positions(rows: list[Node], draft: Draft) -> None:
    """Say when a summary speaks of positions and none were passed."""
    if draft.held:
        return
    for row in rows:
        if row.number("maintenance_margin") and (
            row.number("delta_total") or row.number("total_pl")
        ):
            draft.note(
                f"{row.text('currency')}: the venue margins positions that no reply shows; pass "
                "get_positions as well"
            )


def _instrument(row: Node) -> tuple[str, Instrument]:
    row.instrument = symbol = row.need_text("instrument_name")
    try:
        return symbol, parse_instrument(symbol)
    except InputError as error:
        why = error.message.partition(": ")[2] or error.message
        raise unreadable(symbol, why, row.at("instrument_name")) from None


def _position(row: Node, draft: Draft) -> None:
    symbol, instrument = _instrument(row)
    size = row.need("size")
    if size == 0:
        return
    side = row.choice("direction", ("buy", "sell"))
    if (side == "buy") != (size > 0):
        raise InputError(
            f"the position in {symbol} has the size {plain(size)} on the side {side}",
            code="INP-006",
            instrument=symbol,
            field=row.at("size"),
            hint="short sizes are negative",
        )
    draft.hold(
        Held(
            symbol=symbol,
            instrument=instrument,
            quantity=size,
            field=row.at("size"),
            entry=_entry(row, symbol, instrument, size, draft),
            leverage=row.positive("leverage"),
            figures={
                "mark_price": price_said(row, "mark_price"),
                "entry_price": price_said(row, "average_price"),
                "unrealised": row.said("floating_profit_loss"),
                "im": row.said("initial_margin"),
                "mm": row.said("maintenance_margin"),
                "liquidation_price": price_said(row, "estimated_liquidation_price"),
            },
        )
    )


def _entry(
    row: Node, symbol: str, instrument: Instrument, size: Decimal, draft: Draft
) -> Decimal | None:
    """Return the price from which profit counts: that of this session, not of the first trade.

    The profit up to the last settlement is in the balance already; counting it from
    ``average_price`` would count it twice.
    """
    stated = row.positive("average_price")
    if instrument.kind == "option":
        return stated
    mark, profit = row.positive("mark_price"), row.number("floating_profit_loss")
    if mark is not None and profit is not None:
        entry = entry_from_profit(instrument, size, mark, profit)
        if entry is not None:
            draft.note(
                f"{symbol}: the entry price is the one that gives the session's profit, because "
                "earlier profit has been settled into the balance"
            )
            return entry
    return row.positive("settlement_price") or stated


def _order(row: Node, draft: Draft) -> None:
    symbol, instrument = _instrument(row)
    name = row.need_text("order_id")
    state = row.text("order_state")
    if state != "open":
        draft.ignore(f"order {name} in {symbol}: its state is {state}")
        return
    left = row.need("amount") - (row.number("filled_amount") or Decimal(0))
    if not draft.left(f"order {name} in {symbol}", left, row, "amount"):
        return
    sign = 1 if row.choice("direction", ("buy", "sell")) == "buy" else -1
    market = row.data.get("price") == "market_price"
    price = None if market else row.positive("price")
    draft.order(name, instrument, sign * left, price, row.at("amount"))
