"""What all readers of brackets share: keys, rates, tables, and leaving one out aloud."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from crossmargin.errors import InputError
from crossmargin.instruments import Instrument, deribit_name, parse_instrument
from crossmargin.venues._reply import Node, shown
from crossmargin.venues.brackets import Bracket, BracketTable, Scheme, checked_brackets, refused


class Skipped(Exception):
    """A table that cannot be used, with the sentence that says so."""


def stem_of(base: str, quote: str, settle: str, symbol: str) -> str:
    """Return the key under which rule-sets look a market up."""
    try:
        instrument: Instrument = parse_instrument(f"{base}/{quote}:{settle}")
    except InputError as error:
        raise Skipped(f"{symbol[:60]} is left out: {error.message}") from None
    return (deribit_name(instrument) or instrument.id).split("-")[0]


def _ratio(one: Decimal, other: Decimal) -> Decimal:
    """Divide to 28 digits whatever context the caller has set."""
    with localcontext(prec=28, rounding=ROUND_HALF_EVEN):
        return one / other


def rate_of(row: Node, name: str) -> Decimal:
    leverage = row.positive(name)
    if leverage is None or leverage < 1:
        raise refused(
            str(row.instrument), f"have the leverage {shown(row.data.get(name))}", row.at(name)
        )
    return _ratio(Decimal(1), leverage)


def table_of(
    symbol: str,
    key: str,
    unit: str,
    scheme: Scheme,
    rows: list[Bracket],
    field: str,
    *,
    dated: bool = False,
    contract: tuple[Decimal | None, str] = (None, ""),
) -> BracketTable:
    return BracketTable(
        symbol=symbol,
        key=key,
        unit=unit,
        scheme=scheme,
        brackets=checked_brackets(symbol, rows, field),
        dated=dated,
        contract=contract,
    )
