"""Orders as words on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossmargin.errors import InputError

_LEG = re.compile(
    r"^(?P<side>buy|sell)\s+(?P<quantity>\S+)\s+(?P<name>\S+?)"
    r"(?:\s*@\s*(?P<price>\S+)|\s+at\s+(?P<word>\S+))?$"
)


def parse_orders(words: Sequence[str]) -> list[Any]:
    """Read orders: ``buy 0.5 NAME @ PRICE``, legs of one order joined by commas, or JSON files.

    Raises
    ------
    InputError
        ``INP-013`` when the words are no order.
    """
    from crossmargin.book import OrderEntry, OrderLeg
    from crossmargin.codec import decode_json, read_bytes

    found: list[Any] = []
    text: list[str] = []
    for word in words:
        if word.endswith(".json") or Path(word).is_file():
            raw = read_bytes(word, what="order file")
            many = raw.lstrip()[:1] == b"["
            rows = (
                decode_json(raw, list[OrderEntry], what="order file")
                if many
                else [decode_json(raw, OrderEntry, what="order file")]
            )
            found += rows
        else:
            text.append(word)
    # An order begins at "buy" or "sell" unless a comma before it continues the last one.
    parts = re.split(r"(?<!,)\s+(?=(?:buy|sell)\s)", " ".join(" ".join(text).split()))
    for part in filter(None, parts):
        legs = []
        for leg in part.split(","):
            match = _LEG.match(leg.strip())
            if match is None or (match["word"] not in (None, "mark")):
                raise InputError(
                    f"{leg.strip()!r} is not an order",
                    code="INP-013",
                    field="ORDER",
                    hint='write "buy 0.5 BTC_USDC-PERPETUAL @ 50000", without a price for the mark',
                )
            sign = "-" if match["side"] == "sell" else ""
            if match["quantity"][:1] in "+-":
                raise InputError(
                    f"the quantity in {leg.strip()!r} has a sign",
                    code="INP-013",
                    field="ORDER",
                    hint="buy and sell say the side",
                )
            legs.append(
                OrderLeg(
                    instrument=match["name"],
                    quantity=sign + match["quantity"],
                    price=match["price"],
                )
            )
        found.append(OrderEntry(id=part, legs=legs))
    if not found:
        raise InputError("no order is given", code="INP-013", field="ORDER")
    return found
