"""Bracket tables from venues' replies: shapes of Binance, Bybit, OKX, Kraken, BitMEX and ccxt.

Sources: Binance ``leverageBracket`` of USD-M and COIN-M (published); Bybit v5 ``risk-limit``
(published); OKX ``public/position-tiers`` (published; the whole position at its tier's rate);
Kraken Futures ``instruments`` (``marginLevels``; that the whole position takes its level's rate
is unconfirmed); BitMEX ``instrument`` and its page of risk limit examples (published: each step
above the base limit raises both rates by the base maintenance rate); ccxt manual,
"Leverage tiers structure".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from crossmargin.codec import decode_json, read_bytes
from crossmargin.errors import InputError
from crossmargin.instruments import deribit_name, parse_instrument
from crossmargin.venues._bracket_futures import bitmex, is_bitmex, is_kraken, kraken
from crossmargin.venues._bracket_tables import Skipped, rate_of, stem_of, table_of
from crossmargin.venues._reply import Node, decimal_of, nodes, plain, shown, venue_error
from crossmargin.venues.brackets import (
    Bracket,
    BracketReading,
    BracketTable,
    agreement,
    refused,
)

_COIN_M = re.compile(r"([A-Z0-9]+?)USD(?:_(PERP|[0-9]{6}))?")
_USD_M = re.compile(r"([A-Z0-9]+?)(USDT|USDC|FDUSD|TUSD|BUSD|USD1|BTC)(?:_([0-9]{6}))?")
_BYBIT = re.compile(r"([A-Z0-9]+?)(USDT|PERP|USD)(-[0-9]{1,2}[A-Z]{3}[0-9]{2}|[HMUZ][0-9]{2})?")
_OKX = re.compile(r"([A-Z0-9]+)-([A-Z0-9]+)(?:-(SWAP|[0-9]{6}))?")


# ------------------------------------------------------------------------------ ccxt


def _is_ccxt(data: Any) -> bool:
    first = next(iter(data.values()), None) if isinstance(data, dict) else None
    row = first[0] if isinstance(first, list) and first else None
    return isinstance(row, dict) and {"maintenanceMarginRate", "maxLeverage"} <= row.keys()


def _ccxt(data: Any, notes: list[str]) -> Iterator[Callable[[], BracketTable]]:
    for symbol, rows in data.items():
        yield partial(_ccxt_table, symbol, rows)


def _ccxt_table(symbol: str, rows: Any) -> BracketTable:
    if not symbol.isprintable():
        raise Skipped(f"{shown(symbol)} is left out: its name cannot be printed")
    try:
        instrument = parse_instrument(symbol)
    except InputError as error:
        raise Skipped(f"{symbol[:60]} is left out: {error.message}") from None
    brackets = []
    for row in nodes(rows, symbol):
        row.instrument = symbol
        info = row.data.get("info")
        published = info.get("cum") if isinstance(info, dict) else None
        brackets.append(
            Bracket(
                floor=row.number("minNotional") or Decimal(0),
                cap=row.number("maxNotional"),
                im=rate_of(row, "maxLeverage"),
                mm=row.need("maintenanceMarginRate"),
                deduction=decimal_of(published, row.at("info.cum"), symbol),
            )
        )
    units = {row.text("currency") or instrument.quote for row in nodes(rows, symbol)}
    if len(units) != 1:
        raise refused(symbol, f"are in several currencies: {', '.join(sorted(units))}", symbol)
    marginal = any(bracket.deduction is not None for bracket in brackets)
    return table_of(
        symbol,
        (deribit_name(instrument) or instrument.id).split("-")[0],
        units.pop(),
        "marginal" if marginal else "whole",
        brackets,
        symbol,
        dated=instrument.kind == "future",
    )


# ------------------------------------------------------------------------------ Binance


def _is_binance(data: Any) -> bool:
    first = data[0] if isinstance(data, list) and data else data
    return isinstance(first, dict) and isinstance(first.get("brackets"), list)


def _binance(data: Any, notes: list[str]) -> Iterator[Callable[[], BracketTable]]:
    for row in nodes(data if isinstance(data, list) else [data], ""):
        yield partial(_binance_table, row, notes)


def _binance_table(row: Node, notes: list[str]) -> BracketTable:
    symbol = row.text("symbol") or row.need_text("pair")
    coefficient = row.number("notionalCoef")
    if coefficient not in (None, Decimal(1)):
        notes.append(
            f"{symbol}: the account's bracket multiplier is {plain(coefficient or Decimal(0))}; "
            "brackets are taken as listed"
        )
    levels = row.rows("brackets")
    in_coins = any("qtyCap" in level for level in levels)
    low, high = ("qtyFloor", "qtyCap") if in_coins else ("notionalFloor", "notionalCap")
    if in_coins:
        found = _COIN_M.fullmatch(symbol)
        if found is None:
            raise Skipped(f"{symbol[:60]} is left out: its name is not one of COIN-M")
        key, unit = stem_of(found[1], "USD", found[1], symbol), found[1]
        dated = found[2] not in (None, "PERP")
    else:
        found = _USD_M.fullmatch(symbol)
        if found is None:
            raise Skipped(f"{symbol[:60]} is left out: it ends in no quote currency known here")
        key, unit = stem_of(found[1], found[2], found[2], symbol), found[2]
        dated = found[3] is not None
    brackets = []
    for level in levels:
        level.instrument = symbol
        brackets.append(
            Bracket(
                floor=level.need(low),
                cap=level.need(high),
                im=rate_of(level, "initialLeverage"),
                mm=level.need("maintMarginRatio"),
                deduction=level.number("cum"),
            )
        )
    return table_of(symbol, key, unit, "marginal", brackets, row.at("brackets"), dated=dated)


# ------------------------------------------------------------------------------ Bybit


def _is_bybit(data: Any) -> bool:
    result = data.get("result") if isinstance(data, dict) else None
    rows = result.get("list") if isinstance(result, dict) else None
    first = rows[0] if isinstance(rows, list) and rows else None
    return isinstance(first, dict) and {"riskLimitValue", "maintenanceMargin"} <= first.keys()


def _bybit(data: Any, notes: list[str]) -> Iterator[Callable[[], BracketTable]]:
    groups: dict[str, list[Node]] = {}
    for row in Node(data).node("result").rows("list"):
        row.instrument = row.need_text("symbol")
        groups.setdefault(row.instrument, []).append(row)
    for symbol, rows in groups.items():
        yield partial(_bybit_table, symbol, rows)


def _bybit_table(symbol: str, rows: list[Node]) -> BracketTable:
    found = _BYBIT.fullmatch(symbol)
    if found is None:
        raise Skipped(f"{symbol[:60]} is left out: it fits no naming grammar")
    base, quote = found[1], {"PERP": "USDC"}.get(found[2], found[2])
    inverse = quote == "USD"
    rows = sorted(rows, key=lambda row: row.need("riskLimitValue"))
    brackets, floor = [], Decimal(0)
    for row in rows:
        cap = row.need("riskLimitValue")
        im = rate_of(row, "maxLeverage")
        scale = _fractions(row, symbol)
        brackets.append(
            Bracket(
                floor=floor,
                cap=cap,
                im=im,
                mm=row.need("maintenanceMargin") * scale,
                deduction=row.number("mmDeduction"),
            )
        )
        floor = cap
    unit = base if inverse else quote
    key = stem_of(base, quote, unit, symbol)
    return table_of(
        symbol, key, unit, "marginal", brackets, "result.list", dated=found[3] is not None
    )


def _fractions(row: Node, symbol: str) -> Decimal:
    """Tell whether rates are fractions or percent: initial rate × leverage is 1 or 100."""
    product = row.need("initialMargin") * row.need("maxLeverage")
    for scale in (Decimal(1), Decimal("0.01")):
        if abs(product * scale - 1) < Decimal("0.05"):
            return scale
    raise refused(
        symbol,
        f"state the initial rate {shown(row.data['initialMargin'])} and the leverage "
        f"{shown(row.data['maxLeverage'])}, which fit neither as fraction nor as percent",
        row.at("initialMargin"),
    )


# ------------------------------------------------------------------------------ OKX


def _is_okx(data: Any) -> bool:
    rows = data.get("data") if isinstance(data, dict) else None
    first = rows[0] if isinstance(rows, list) and rows else None
    return isinstance(first, dict) and {"tier", "maxSz", "mmr", "maxLever"} <= first.keys()


def _okx(data: Any, notes: list[str]) -> Iterator[Callable[[], BracketTable]]:
    groups: dict[str, list[Node]] = {}
    for row in Node(data).rows("data"):
        symbol = row.text("instId") or row.text("instFamily") or row.need_text("uly")
        row.instrument = symbol
        groups.setdefault(symbol, []).append(row)
    for symbol, rows in groups.items():
        yield partial(_okx_table, symbol, rows)


def _okx_table(symbol: str, rows: list[Node]) -> BracketTable:
    found = _OKX.fullmatch(symbol)
    if found is None:
        raise Skipped(f"{symbol[:60]} is left out: it fits no naming grammar")
    base, quote = found[1], found[2]
    if found[3] is None and any(row.number("baseMaxLoan") for row in rows):
        raise Skipped(f"{symbol} is left out: these are tiers of spot margin, not of futures")
    if any(row.number("optMgnFactor") for row in rows):
        raise Skipped(f"{symbol} is left out: these are tiers of options")
    inverse = quote == "USD"
    rows = sorted(rows, key=lambda row: row.need("maxSz"))
    brackets, floor = [], Decimal(0)
    for row in rows:
        cap = row.need("maxSz")
        # A tier begins above the last size of the one before; `minSz` names the next lot.
        brackets.append(
            Bracket(floor=floor, cap=cap, im=rate_of(row, "maxLever"), mm=row.need("mmr"))
        )
        floor = cap
    return table_of(
        symbol,
        stem_of(base, quote, base if inverse else quote, symbol),
        "contracts",
        "whole",
        brackets,
        "data",
        dated=found[3] not in (None, "SWAP"),
        contract=(None, "USD" if inverse else base),
    )


# ------------------------------------------------------------------------------ all of them

_SHAPES: dict[
    str,
    tuple[Callable[[Any], bool], Callable[[Any, list[str]], Iterator[Callable[[], BracketTable]]]],
] = {
    "ccxt": (_is_ccxt, _ccxt),
    "binance": (_is_binance, _binance),
    "bybit": (_is_bybit, _bybit),
    "okx": (_is_okx, _okx),
    "kraken": (is_kraken, kraken),
    "bitmex": (is_bitmex, bitmex),
}


def bracket_venues() -> list[str]:
    """Return the names of the shapes that can be read, sorted."""
    return sorted(_SHAPES)


def read_brackets(reply: Any, *, venue: str = "auto", what: str = "the reply") -> BracketReading:
    """Read a reply of brackets.

    Parameters
    ----------
    reply : object
        Decoded JSON.
    venue : str
        One of :func:`bracket_venues`, or ``auto``: from the shape.
    what : str
        Name of the reply in messages.

    Returns
    -------
    BracketReading
        Markets that names cannot express are left out and listed in the notes.

    Raises
    ------
    InputError
        ``INP-060`` an unknown reply or venue, ``INP-032`` the venue's own error, ``INP-064``
        brackets that cannot be ones, and as for account replies.
    """
    if venue != "auto" and venue not in _SHAPES:
        raise InputError(
            f"there is no reader of brackets for {venue[:60]!r}",
            code="INP-060",
            field="venue",
            hint="choose one of " + ", ".join(["auto", *bracket_venues()]),
        )
    _raise_venue_error(reply)
    names = list(_SHAPES) if venue == "auto" else [venue]
    fitting = [name for name in names if _SHAPES[name][0](reply)]
    if not fitting:
        raise InputError(
            f"{what} has the shape of no reply of brackets",
            code="INP-060",
            field="brackets",
            hint="known are the shapes of " + ", ".join(bracket_venues()),
        )
    notes: list[str] = []
    tables: list[BracketTable] = []
    for make in _SHAPES[fitting[0]][1](reply, notes):
        try:
            tables.append(make())
        except Skipped as skipped:
            notes.append(str(skipped))
    count, worst = agreement(tables)
    return BracketReading(
        venue=fitting[0], tables=tuple(tables), checked=count, worst=worst, notes=tuple(notes)
    )


def _raise_venue_error(reply: Any) -> None:
    if not isinstance(reply, dict):
        return
    code = reply.get("code", reply.get("retCode", 0))
    if isinstance(code, int | str) and code not in (0, "0", ""):
        raise venue_error("the venue", code, reply.get("msg", reply.get("retMsg")))


def read_bracket_file(path: str | Path, *, venue: str = "auto") -> BracketReading:
    """Read a recorded reply of brackets; see :func:`read_brackets`. ``.gz`` is unpacked."""
    raw = read_bytes(path, what="bracket file")
    if str(path).endswith(".gz"):
        raw = _unpacked(raw, str(path))
    data = decode_json(raw, Any, what=f"bracket file {str(path)!r}")
    return read_brackets(data, venue=venue, what=str(path))


def _unpacked(raw: bytes, name: str) -> bytes:
    import gzip
    import zlib

    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error):
        raise InputError(
            f"bracket file {name!r} is no whole gzip file", code="INP-002", field="source"
        ) from None
