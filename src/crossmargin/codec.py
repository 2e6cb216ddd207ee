"""Reading files and JSON: the one place where faults of bytes become sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from crossmargin.errors import InputError

T = TypeVar("T")


def _lower(text: str) -> str:
    """Lower the first letter of a sentence, unless it begins an abbreviation."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def decode_json(raw: bytes, kind: type[T], *, what: str) -> T:
    """Decode JSON into a Struct, turning decoder messages into sentences.

    Raises
    ------
    InputError
        ``INP-002`` for bytes that are not (whole) JSON, ``INP-003`` for a wrong shape.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        text = str(error)
        message, _, path = text.partition(" - at `")
        raise InputError(
            f"{what}: {_lower(message)}",
            code="INP-003",
            field=path.rstrip("`").removeprefix("$").lstrip(".") or None,
            hint="see docs/files.md, or crossmargin schema account (market, statement)",
        ) from None
    except RecursionError:
        raise InputError(
            f"{what} is nested too deeply to be read",
            code="INP-002",
            hint="no file of ours or of a venue is",
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{what} is not complete JSON: {_lower(str(error))}",
            code="INP-002",
            hint="check that the file was written to the end; NaN is not a JSON number",
        ) from None


def read_bytes(path: str | Path, *, what: str) -> bytes:
    """Read a file, turning the operating system's errors into sentences.

    Raises
    ------
    InputError
        ``INP-005`` when it cannot be read, ``INP-002`` when it is empty.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {what} {str(path)!r}: {(error.strerror or 'unknown reason').lower()}",
            code="INP-005",
            hint="check the path",
        ) from None
    if not raw.strip():
        raise InputError(f"{what} {str(path)!r} is empty", code="INP-002")
    return raw
