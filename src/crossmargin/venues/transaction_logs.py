"""A venue's transaction log as lines to be matched with our journal.

How each venue writes its rows is data (``transaction_logs.toml``, with source and confidence);
this reads JSON replies as they came, and CSV files with a header. A row that cannot be read is
set aside with its number and the reason; the others are read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec

from crossmargin.accounts.amounts import Scales, to_quanta
from crossmargin.accounts.matching import Class, LogLine
from crossmargin.codec import decode_json, read_bytes
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.units import parse_time
from crossmargin.venues._reply import Node, plain, shown

_NS = {"ms": 1_000_000, "us": 1_000, "ns": 1, "s": 1_000_000_000}


class LogFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a venue's rows keep what is needed.

    Attributes
    ----------
    id, title, source, date, confidence : str
        What it is, and how it is known.
    rows : list of str
        Path to the list of rows in a reply; empty when the reply is the list.
    id_field : list of str
        Fields that together name a row.
    time, asset, change, class_, reference : str
        Fields; `change` is the signed change of the balance.
    time_unit : {"iso", "s", "ms", "us", "ns"}
        Of `time`.
    marks : list of str
        Fields by which rows of this format are recognised.
    classes : dict of str to str
        The venue's words in ours.
    """

    id: str
    title: str
    source: str
    date: str
    confidence: Literal["published", "secondary", "house"]
    rows: list[str]
    id_field: list[str]
    time: str
    time_unit: Literal["iso", "s", "ms", "us", "ns"]
    asset: str
    change: str
    class_: str = msgspec.field(name="class")
    reference: str
    classes: dict[str, Class]
    marks: list[str] = []


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: list[LogFormat]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that could not be read: its number, from 1, and why."""

    row: int
    reason: CrossmarginError


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueLog:
    """A venue's log.

    Attributes
    ----------
    format : LogFormat
        How it was written.
    lines : tuple of LogLine
        In the order of the file; `note` holds the venue's own word for the class.
    bad : tuple of BadRow
        What could not be read.
    """

    format: LogFormat
    lines: tuple[LogLine, ...]
    bad: tuple[BadRow, ...]


@cache
def log_formats() -> dict[str, LogFormat]:
    """Return the formats that can be read, by id."""
    raw = resources.files("crossmargin.venues").joinpath("transaction_logs.toml").read_bytes()
    return {one.id: one for one in msgspec.toml.decode(raw, type=_File).format}


def read_transaction_log(
    path: str | Path, *, format: str | None = None, scales: Scales | None = None
) -> VenueLog:
    """Read a log from a JSON or CSV file.

    Parameters
    ----------
    path : str or Path
        JSON as the venue replied (or only its rows), or CSV with the fields as its header.
    format : str, optional
        Id of the format; recognised by its fields when left out.
    scales : Scales, optional
        Decimals of each asset.

    Raises
    ------
    InputError
        ``INP-005`` when it cannot be read, ``INP-002`` and ``INP-003`` for what is no log,
        ``INP-013`` for an unknown format.
    """
    what = str(path)
    return parse_transaction_log(
        read_bytes(path, what="transaction log"), what=what, format=format, scales=scales
    )


def parse_transaction_log(
    raw: bytes, *, what: str, format: str | None = None, scales: Scales | None = None
) -> VenueLog:
    """Read a log from bytes; see :func:`read_transaction_log`."""
    known = log_formats()
    if format is not None and format not in known:
        raise InputError(
            f"{format!r} is no format of a transaction log",
            code="INP-013",
            field="format",
            hint=f"one of {', '.join(sorted(known))}",
        )
    start = raw.lstrip()[:1]
    data = decode_json(raw, object, what=what) if start in (b"[", b"{") else _csv(raw, what)
    made = known[format] if format is not None else _recognised(data, what)
    rows = _rows(data, made, what)
    lines: list[LogLine] = []
    bad: list[BadRow] = []
    for number, row in enumerate(rows, 1):
        try:
            lines.append(_line(Node(row, f"row {number}"), made, scales or Scales()))
        except CrossmarginError as error:
            bad.append(BadRow(row=number, reason=error))
    return VenueLog(format=made, lines=tuple(lines), bad=tuple(bad))


def _csv(raw: bytes, what: str) -> list[dict[str, Any]]:
    try:
        text = raw.decode("utf-8-sig")
        found = list(csv.DictReader(io.StringIO(text), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{what} is neither JSON nor CSV: {error}",
            code="INP-002",
            hint="pass the venue's reply as it came, or CSV in UTF-8 with a header",
        ) from None
    # A row longer than its header has its rest under None, a shorter one has None as values.
    return [{str(k): v for k, v in row.items() if k is not None} for row in found]


def _rows(data: object, made: LogFormat, what: str) -> Sequence[object]:
    """Return the rows of a reply: at the format's path, or the reply itself."""
    found: object = data
    for step in made.rows:
        if isinstance(found, Mapping) and step in found:
            found = found[step]
    if isinstance(found, list):
        return found
    raise InputError(
        f"{what} has no list of rows where {made.title} has it",
        code="INP-003",
        field=".".join(made.rows) or None,
        hint="pass the venue's reply as it came, or its list of rows",
    )


def _recognised(data: object, what: str) -> LogFormat:
    for made in log_formats().values():
        found: object = data
        for step in made.rows:
            found = found[step] if isinstance(found, Mapping) and step in found else found
        if isinstance(found, list) and found and isinstance(found[0], Mapping):
            marks = made.marks or [made.time, made.asset, made.change, made.class_]
            if all(mark in found[0] for mark in marks):
                return made
    raise InputError(
        f"{what} has the fields of no transaction log that is known",
        code="INP-003",
        field="format",
        hint=f"say which: {', '.join(sorted(log_formats()))}; or write rows with time, asset, "
        "amount, kind, id and reference",
    )


def _line(row: Node, made: LogFormat, scales: Scales) -> LogLine:
    words = [row.label(name) for name in made.id_field if row.data.get(name) not in (None, "")]
    if len(words) < len(made.id_field):
        raise row.missing(made.id_field[len(words)])
    asset = row.need_text(made.asset)
    word = row.label(made.class_) if row.data.get(made.class_) not in (None, "") else ""
    named = row.data.get(made.reference)
    return LogLine(
        id=":".join(words),
        time_ns=_time(row, made),
        asset=asset,
        amount=to_quanta(plain(row.need(made.change)), asset, scales, name=row.at(made.change)),
        kind=made.classes.get(word, "other"),
        reference=row.label(made.reference) if named not in (None, "", 0, "0") else "",
        note=word,
    )


def _time(row: Node, made: LogFormat) -> int:
    if made.time_unit == "iso":
        return parse_time(row.need_text(made.time), field=row.at(made.time))
    value = row.need(made.time)
    if value != value.to_integral_value() or not 0 < value < 10**19:
        raise InputError(
            f"{shown(row.data.get(made.time))} is no time in {made.time_unit}",
            code="INP-010",
            field=row.at(made.time),
        )
    return int(value) * _NS[made.time_unit]
