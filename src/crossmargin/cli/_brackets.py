"""Turning a venue's brackets into parameters of a rule-set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from crossmargin.cli._account import assigned
from crossmargin.cli._io import file_option, write_whole
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from crossmargin.venues import BracketReading, BracketTable


def brackets(
    source: Annotated[str, Parameter(help="Reply of brackets (JSON, also .json.gz).")],
    *,
    venue: Annotated[
        str, Parameter(help="binance, bitmex, bybit, ccxt, kraken, okx, or auto.")
    ] = "auto",
    symbol: Annotated[
        list[str] | None, Parameter(help="Market: venue symbol or stem. Default all.")
    ] = None,
    price: Annotated[
        list[str] | None, Parameter(help="US dollars per unit, for brackets in coins: BTC=60000.")
    ] = None,
    contract_size: Annotated[
        list[str] | None, Parameter(help="Units of a contract: SYMBOL=0.01. May be repeated.")
    ] = None,
    component: Annotated[
        str, Parameter(help="Name of the rule-set's component of rates.")
    ] = "futures",
    out: Annotated[str | None, file_option("Parameter file (TOML) to write.")] = None,
    json: Annotated[bool, Parameter(name="--json", help="Print JSON instead.")] = False,
) -> None:
    """Write a venue's margin brackets as parameters for ``margin --params``.

    Example: `crossmargin brackets tiers.json --symbol BTC/USDT:USDT --out params.toml`
    """
    from crossmargin.venues import choose_brackets, parameters_toml, read_bracket_file
    from crossmargin.venues.brackets import with_prices

    reading = read_bracket_file(source, venue=venue)
    prices = assigned(price or [], "--price", "BTC=60000")
    sizes = assigned(contract_size or [], "--contract-size", "BTC-USDT-SWAP=0.01")
    tables, notes = choose_brackets(reading, symbol or [])
    if not symbol:
        tables, unpriced = with_prices(tables, prices, sizes)
        notes = [*reading.notes, *notes, *unpriced]
    if not tables:
        raise InputError(
            f"no bracket of {Path(source).name!r} can be used",
            code="INP-064",
            field="brackets",
            hint="; ".join(notes[:3]) or "choose markets with --symbol",
        )
    text = parameters_toml(
        reading,
        tables,
        source=Path(source).name,
        component=component,
        prices=prices,
        contract_sizes=sizes,
        notes=notes,
    )
    if out is not None:
        write_whole(out, text.encode())
    if json:
        import msgspec

        raw = msgspec.json.format(msgspec.json.encode(_plain(reading, tables, notes)), indent=2)
        sys.stdout.write(raw.decode() + "\n")
    elif out is None:
        sys.stdout.write(text)
    else:
        _print(reading, tables, notes, out)


def _plain(reading: BracketReading, tables: list[BracketTable], notes: list[str]) -> dict[str, Any]:
    return {
        "venue": reading.venue,
        "deductions_compared": reading.checked,
        "worst_difference": str(reading.worst),
        "notes": notes,
        "tables": [
            {
                "symbol": table.symbol,
                "key": table.key,
                "unit": table.unit,
                "scheme": table.scheme,
                "brackets": [
                    {
                        "floor": str(row.floor),
                        "cap": None if row.cap is None else str(row.cap),
                        "im": float(row.im),
                        "mm": float(row.mm),
                        "deduction": float(ours) if table.scheme == "marginal" else None,
                    }
                    for row, ours in zip(table.brackets, table.deductions())
                ],
            }
            for table in tables
        ],
    }


def _print(reading: BracketReading, tables: list[BracketTable], notes: list[str], out: str) -> None:
    from rich.text import Text

    from crossmargin.reports.terminal import make_console

    console = make_console()
    count = sum(len(table.brackets) for table in tables)
    console.print(
        Text(f"{len(tables)} markets, {count} brackets ({reading.venue}) written to {out}")
    )
    if reading.checked:
        console.print(
            f"deductions: {reading.checked} published ones compared with ours, largest "
            f"difference {reading.worst}"
        )
    for note in notes:
        console.print(Text(f"• {note}", "dim"))
