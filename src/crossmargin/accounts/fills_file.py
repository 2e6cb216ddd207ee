"""Fills of one account from a CSV or Parquet file, as events.

Columns: ``id``, ``time`` (ISO-8601 with zone), ``instrument``, ``side`` (buy or sell),
``quantity``, ``price``; and where there are any ``fee``, ``fee_asset``, ``pot``, ``leg``. Figures
are read as text: a Parquet file of floats is refused, because a float has lost what the venue
booked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmargin.accounts.events import Fill, Side, Trade
from crossmargin.accounts.pots import Leg
from crossmargin.accounts.replay import BadLine
from crossmargin.errors import CrossmarginError, InputError, LedgerError
from crossmargin.units import parse_time

if TYPE_CHECKING:
    import polars as pl

NEEDED = ("id", "time", "instrument", "side", "quantity", "price")
FURTHER = ("fee", "fee_asset", "pot", "leg")
_LEGS: dict[str, Leg] = {"net": "net", "long": "long", "short": "short"}
_SIDES = {"buy": True, "sell": False, "b": True, "s": False}


def read_fills(path: str | Path, account: str) -> Iterator[tuple[int, Fill | BadLine]]:
    """Read fills as one-sided events: the venue is the other side.

    Parameters
    ----------
    path : str or Path
        ``.parquet``, else CSV with a header.
    account : str
        Whose fills they are.

    Yields
    ------
    tuple of (row number, event or what is wrong)
        Ids of events are ``fill:`` and the file's id, so that a fill imported twice counts once.

    Raises
    ------
    InputError
        ``INP-005`` when it cannot be read, ``INP-003`` for missing columns or columns of floats.
    """
    table = _table(Path(path))
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(missing)}",
            code="INP-003",
            field=missing[0],
            hint=f"columns are {', '.join(NEEDED)}; may be {', '.join(FURTHER)}",
        )
    names = [name for name in (*NEEDED, *FURTHER) if name in table.columns]
    for number, row in enumerate(table.select(names).iter_rows(named=True), 1):
        try:
            yield number, _fill(row, account)
        except CrossmarginError as error:
            reason = LedgerError(
                f"row {number}: {error.message}",
                code="LED-017",
                account=account,
                field=error.field,
                hint=error.hint,
            )
            yield number, BadLine(number, reason)


def _table(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        if path.suffix.lower() == ".parquet":
            table = pl.read_parquet(path)
        else:
            # As text: what a parser takes for a float is no longer what was written.
            return pl.read_csv(path, infer_schema=False)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}", code="INP-005", hint=None
        ) from None
    except pl.exceptions.PolarsError as error:
        said = str(error).splitlines()[0]
        raise InputError(f"{path} is no table of fills: {said}", code="INP-002") from None
    floats = [name for name in NEEDED if name in table.columns and table[name].dtype.is_float()]
    if floats:
        raise InputError(
            f"column {floats[0]} of {path} is of floats",
            code="INP-003",
            field=floats[0],
            hint="write figures as text or decimals: a float has lost what the venue booked",
        )
    return table.cast(dict.fromkeys(table.columns, pl.String))


def _fill(row: dict[str, Any], account: str) -> Fill:
    found = {name: (value or "").strip() for name, value in row.items()}
    for name in NEEDED:
        if not found[name]:
            raise InputError("it is empty", code="INP-003", field=name)
    buys = _SIDES.get(found["side"].lower())
    if buys is None:
        raise InputError(
            f"{found['side']!r} is no side", code="INP-003", field="side", hint="buy or sell"
        )
    parse_time(found["time"])
    leg = _LEGS.get(found.get("leg") or "net")
    if leg is None:
        raise InputError(
            f"{found['leg']!r} is no leg", code="INP-003", field="leg", hint="net, long or short"
        )
    side = Side(
        account=account,
        pot=found.get("pot") or "cross",
        leg=leg,
        fee=found.get("fee") or "0",
        fee_asset=found.get("fee_asset") or None,
    )
    trade = Trade(
        instrument=found["instrument"],
        quantity=found["quantity"],
        price=found["price"],
        buyer=side if buys else None,
        seller=None if buys else side,
    )
    return Fill(id=f"fill:{found['id']}", time=found["time"], trade=trade)
