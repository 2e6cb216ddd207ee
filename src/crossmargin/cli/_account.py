"""Turning a venue's recorded replies into an account file."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from crossmargin.cli._io import file_option, write_whole

if TYPE_CHECKING:
    from crossmargin.venues import Figures, VenueReading

_ROWS = ("equity", "equity_before_haircuts", "wallet", "unrealised", "im", "mm", "available")


def account(
    source: Annotated[list[str], Parameter(help="Replies of one account (JSON).")],
    *,
    venue: Annotated[
        str, Parameter(help="binance, bybit, deribit, derive, hyperliquid, okx, or auto.")
    ] = "auto",
    name: Annotated[str | None, Parameter(help="Name of the account.")] = None,
    mode: Annotated[
        str | None, Parameter(help="Account mode, where replies do not tell: unified, isolated.")
    ] = None,
    contract_size: Annotated[
        list[str] | None, Parameter(help="Units of a contract: SYMBOL=0.01. May be repeated.")
    ] = None,
    out: Annotated[str | None, file_option("Account file to write.")] = None,
    json: Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Read a venue's replies as an account, beside the venue's own figures.

    Example: `crossmargin account balance.json positions.json --out account.json`

    Example: `crossmargin account okx-balance.json okx-positions.json
    --contract-size BTC-USDT-SWAP=0.01`
    """
    from crossmargin.book import write_account
    from crossmargin.venues import read_account_files

    reading = read_account_files(
        source,
        venue=venue,
        account=name,
        mode=mode,
        contract_sizes=assigned(contract_size or [], "--contract-size", "BTC-USDT-SWAP=0.01"),
    )
    if out is not None:
        write_whole(out, write_account(reading.account))
    if json:
        import msgspec

        raw = msgspec.json.format(msgspec.json.encode(reading), indent=2)
        sys.stdout.write(raw.decode() + "\n")
        return
    _print(reading, out)


def assigned(assignments: list[str], option: str, example: str) -> dict[str, Decimal]:
    """Read ``NAME=number`` options with positive numbers.

    Raises
    ------
    InputError
        ``INP-013`` when one is something else.
    """
    from decimal import InvalidOperation

    from crossmargin.errors import InputError

    found = {}
    for text in assignments:
        key, sign, raw = text.partition("=")
        try:
            number = Decimal(raw.strip())
        except InvalidOperation:
            number = Decimal("NaN")
        if not (sign and key.strip() and number.is_finite() and number > 0):
            raise InputError(
                f"{text!r} is not a name and a positive number",
                code="INP-013",
                field=option,
                hint=f"write {example}",
            )
        found[key.strip()] = number
    return found


def _print(reading: VenueReading, out: str | None) -> None:
    from rich.text import Text

    from crossmargin.reports._terminal import HouseTable
    from crossmargin.reports.terminal import make_console

    console = make_console()
    made = reading.account
    written = "" if out is None else f", written to {out}"
    console.print(Text(f"account {made.account!r} of {reading.venue}: {reading.mode}{written}"))
    balances = HouseTable()
    for column in ("balance", "pool"):
        balances.add_column(column)
    balances.add_column("amount", justify="right")
    for row in made.balances:
        balances.add_row(Text(row.asset), Text(row.pool), Text(str(row.amount)))
    console.print(balances)
    if made.positions:
        console.print(_positions(reading))
    if made.orders:
        console.print(f"open orders: {len(made.orders)}")
    figures = ([] if reading.reported.account is None else [reading.reported.account]) + [
        *reading.reported.assets
    ]
    if figures:
        console.print(_figures(figures, reading.reported.account is not None))
    for heading, sentences in (
        ("read", reading.read),
        ("ignored", reading.ignored),
        ("notes", reading.notes),
    ):
        if sentences:
            console.print(heading)
        for sentence in sentences:
            console.print(Text(f"• {sentence}", "dim"))


def _positions(reading: VenueReading) -> Any:
    from rich.text import Text

    from crossmargin.reports._terminal import HouseTable

    table = HouseTable()
    for column in ("position", "leg", "pool"):
        table.add_column(column)
    for column in ("quantity", "entry", "leverage", "venue: mark", "MM", "liquidation"):
        table.add_column(column, justify="right")
    for ours, theirs in zip(reading.account.positions, reading.reported.positions):
        leverage = "–" if ours.leverage is None else f"{ours.leverage:g}"
        entry = "–" if ours.entry_price is None else _short(str(ours.entry_price))
        cells = [
            ours.instrument,
            ours.leg,
            ours.pool,
            str(ours.quantity),
            entry,
            leverage,
            *(value or "–" for value in (theirs.mark_price, theirs.mm, theirs.liquidation_price)),
        ]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _short(text: str) -> str:
    """Cut a worked-out price to the digits that can be read."""
    return text if len(text) <= 14 else f"{float(text):.10g}"


def _figures(figures: list[Figures], whole: bool) -> Any:
    from rich.text import Text

    from crossmargin.reports._terminal import HouseTable

    table = HouseTable()
    table.add_column("the venue says")
    for place, one in enumerate(figures):
        head = f"account, {one.unit}" if whole and place == 0 else one.unit
        table.add_column(head, justify="right")
    for field in _ROWS:
        values = [getattr(one, field) for one in figures]
        if any(value is not None for value in values):
            table.add_row(field.replace("_", " "), *(Text(value or "–") for value in values))
    ratios = [one.margin_ratio for one in figures]
    if any(value is not None for value in ratios):
        meaning = next(one.ratio for one in figures if one.margin_ratio is not None)
        table.add_row(f"margin ratio ({meaning})", *(Text(value or "–") for value in ratios))
    return table
