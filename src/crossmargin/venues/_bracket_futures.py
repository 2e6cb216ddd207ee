"""Margin tables of Kraken Futures and BitMEX, which state them with their instruments.

Sources: Kraken Futures ``instruments`` (``marginLevels``; that the whole position takes its
level's rate is unconfirmed); BitMEX ``instrument`` and its page of risk limit examples
(published: each step above the base limit raises both rates by the base maintenance rate).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

from crossmargin.venues._bracket_tables import Skipped, stem_of, table_of
from crossmargin.venues._reply import Node, nodes, plain
from crossmargin.venues.brackets import Bracket, BracketTable, refused

_KRAKEN = re.compile(r"(pi|pf|fi|ff)_([a-z0-9]+?)(usd)(?:_[0-9]{6})?", re.IGNORECASE)
_ALIASES = {"XBT": "BTC", "XDG": "DOGE"}
#: More steps than any venue has; an end for tables that would never reach 1.
_OVER_GROSS = 400


# ------------------------------------------------------------------------------ Kraken Futures


def is_kraken(data: Any) -> bool:
    rows = data.get("instruments") if isinstance(data, dict) else None
    return isinstance(rows, list) and any(
        isinstance(row, dict) and "marginLevels" in row for row in rows
    )


def kraken(data: Any, notes: list[str]) -> Iterator[Callable[[], BracketTable]]:
    notes.append("that the whole position takes the rate of its level is unconfirmed")
    for row in Node(data).rows("instruments"):
        if "marginLevels" in row:
            yield partial(_kraken_table, row)


def _kraken_table(row: Node) -> BracketTable:
    row.instrument = symbol = row.need_text("symbol")
    found = _KRAKEN.fullmatch(symbol)
    if found is None:
        raise Skipped(f"{symbol[:60]} is left out: no contract against US dollars")
    base = _ALIASES.get(found[2].upper(), found[2].upper())
    inverse = found[1].lower() in ("pi", "fi")
    size = row.need("contractSize")
    levels = []
    for level in row.rows("marginLevels"):
        level.instrument = symbol
        count = level.number("contracts")
        # Linear contracts state their levels in the quote currency, not in contracts.
        start = level.need("numNonContractUnits") if count is None else count * size
        levels.append((start, level.need("initialMargin"), level.need("maintenanceMargin")))
    levels.sort(key=lambda one: one[0])
    # Two levels from the same size on say the same thing twice; the later one counts.
    merged = {start: (im, mm) for start, im, mm in levels}
    starts = list(merged)
    brackets = [
        Bracket(floor=start, cap=end, im=merged[start][0], mm=merged[start][1])
        for start, end in zip(starts, [*starts[1:], None])
    ]
    key = stem_of(base, "USD", base if inverse else "USD", symbol)
    dated = found[1].lower() in ("fi", "ff")
    return table_of(symbol, key, "USD", "whole", brackets, row.at("marginLevels"), dated=dated)


# ------------------------------------------------------------------------------ BitMEX


def is_bitmex(data: Any) -> bool:
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and {"rootSymbol", "riskLimit", "initMargin"} <= first.keys()


def bitmex(data: Any, notes: list[str]) -> Iterator[Callable[[], BracketTable]]:
    notes.append("steps above the base limit are written until the initial rate reaches 1")
    for row in nodes(data, ""):
        yield partial(_bitmex_table, row)


def _bitmex_table(row: Node) -> BracketTable:
    row.instrument = symbol = row.need_text("symbol")
    if row.flag("isQuanto"):
        raise Skipped(f"{symbol} is left out: a quanto contract, for which there are no names")
    limit, step = row.positive("riskLimit"), row.positive("riskStep")
    if limit is None or step is None or row.text("settlCurrency") not in ("XBt", "USDt"):
        raise Skipped(f"{symbol} is left out: it states no risk limit in bitcoin or tether")
    base, quote = (
        _ALIASES.get(name, name)
        for name in (row.need_text("underlying"), row.need_text("quoteCurrency"))
    )
    bitcoin = row.text("settlCurrency") == "XBt"
    settle, scale = ("BTC", Decimal("1e-8")) if bitcoin else ("USDT", Decimal("1e-6"))
    key = stem_of(base, quote, settle, symbol)
    im, mm = row.need("initMargin"), row.need("maintMargin")
    if not 0 < mm <= im <= 1:
        raise refused(symbol, f"have the rates {plain(im)} and {plain(mm)}", row.at("initMargin"))
    brackets: list[Bracket] = []
    floor, cap = Decimal(0), limit * scale
    base_mm = mm
    while im <= 1 and len(brackets) < _OVER_GROSS:
        brackets.append(Bracket(floor=floor, cap=cap, im=im, mm=mm))
        floor, cap, im, mm = cap, cap + step * scale, im + base_mm, mm + base_mm
    dated = not row.text("typ") or not str(row.text("typ")).startswith("FFW")
    return table_of(symbol, key, settle, "whole", brackets, row.at("riskLimit"), dated=dated)
