"""Shapes of Binance's replies and the grammar of its symbols.

Source: Binance API documentation (published). USD-M: ``BTCUSDT``, ``BTCUSDT_260327``; COIN-M:
``BTCUSD_PERP``, ``BTCUSD_260327``. USD-M symbols do not part coin and quote currency, so the
quote currencies are listed here; the exchange information, where it is passed, wins.
"""

from __future__ import annotations

import re
from typing import Any

from crossmargin.instruments import Instrument
from crossmargin.venues._names import day_from_ms, named, unreadable
from crossmargin.venues._reply import Node

COIN_M = re.compile(r"([A-Z0-9]+?)USD_(PERP|[0-9]{6})")
USD_M = re.compile(r"([A-Z0-9]+?)(USDT|USDC|FDUSD|TUSD|BUSD|USD1|BTC)(?:_([0-9]{6}))?")
_OBJECTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("uniMMR",), "portfolio account"),
    (("assets", "positions"), "account"),
    (("e", "a"), "event"),
    (("balances", "makerCommission"), "spot account"),
    (("dualSidePosition",), "position mode"),
    (("symbols", "rateLimits"), "exchange information"),
    (("symbols", "exchangeFilters"), "exchange information"),
    (("orderId", "origQty"), "orders"),
    (("code", "msg"), "error"),
)
_LISTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("symbol", "positionAmt"), "positions"),
    (("asset", "totalWalletBalance"), "portfolio balance"),
    (("asset", "balance", "crossWalletBalance"), "balance"),
    (("orderId", "origQty"), "orders"),
    (("algoId", "algoType"), "conditional orders"),
    (("symbol", "marginType", "leverage"), "symbol settings"),
)


def recognise(data: Any) -> str | None:
    """Name the reply by its shape, or return None when it is not one of Binance's."""
    if isinstance(data, dict):
        for keys, kind in _OBJECTS:
            if all(key in data for key in keys) and not ("data" in data and kind == "error"):
                return kind
        return None
    first = data[0] if isinstance(data, list) and data else None
    if not isinstance(first, dict):
        return None
    for keys, kind in _LISTS:
        if all(key in first for key in keys):
            return kind
    return None


def instrument_of(symbol: str, row: Node, listed: Node | None) -> Instrument:
    """Read a symbol, by the exchange information where there is one, else by its grammar.

    Raises
    ------
    InputError
        ``INP-001`` when it cannot be read, ``INP-020`` when it expires at another hour.
    """
    if listed is not None:
        base, quote = listed.need_text("baseAsset"), listed.need_text("quoteAsset")
        settle = listed.text("marginAsset") or quote
        day = None
        if listed.text("contractType") != "PERPETUAL":
            day = day_from_ms(listed.need("deliveryDate"), symbol, listed.at("deliveryDate"))
        return named(symbol, row.at("symbol"), base, quote, settle, day=day)
    if (found := COIN_M.fullmatch(symbol)) is not None:
        day = None if found[2] == "PERP" else found[2]
        return named(symbol, row.at("symbol"), found[1], "USD", found[1], day=day)
    if (found := USD_M.fullmatch(symbol)) is not None:
        settle = row.text("marginAsset") or found[2]
        return named(symbol, row.at("symbol"), found[1], found[2], settle, day=found[3])
    why = "it ends in no quote currency known here; pass the exchange information as well"
    raise unreadable(symbol, why, row.at("symbol"))
