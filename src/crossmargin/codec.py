"""Reading and writing files, and JSON: the one place where faults of bytes become sentences."""

from __future__ import annotations

import math
import os
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from crossmargin.errors import CrossmarginError, InputError

T = TypeVar("T")

#: How well a figure is known; the same words in every file of figures (``docs/conventions.md``).
Certainty = Literal["published", "mirror", "secondary", "inferred", "unconfirmed", "house", "user"]

#: Makes a room's error of a sentence and the field that it is about.
Wrong = Callable[[str, str], CrossmarginError]


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


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """Give a draft beside a file, which takes the file's place when the block has filled it.

    A reader sees the file that was there before or the new one, never half of one: the disk has the
    draft before it gets the name. Whatever stops the block leaves no draft, unless the process is
    killed; what is left then is hidden and ends in ``.part``. Permissions of the old file are kept.

    Parameters
    ----------
    target : Path
        A file, or where one shall be.

    Raises
    ------
    OSError
        As the system gives it: callers say what was being written.
    """
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.name[:40]}.", suffix=".part"
    )
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        to_disk(draft)
        draft.chmod(mode)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    # The file is there; a folder that may be written and not read cannot be told to keep its names.
    with suppress(PermissionError):
        to_disk(target.parent)


def to_disk(path: Path) -> None:
    """Have the disk keep a file, or the names in a folder."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    """Permissions that the user withholds from new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def parse_toml(text: str, what: str, wrong: Wrong) -> dict[str, Any]:
    """Read TOML text; what is none is the error that `wrong` makes."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise wrong(f"{what} is not TOML: {error}", what) from None


def convert_data(raw: Any, kind: type[T], what: str, wrong: Wrong) -> T:
    """Turn plain data into a Struct, strictly and without infinities; faults are sentences.

    Parameters
    ----------
    raw : object
        As TOML gives it.
    kind : type
        What it must be.
    what : str
        Name of the file or table, for messages.
    wrong : callable
        Makes the error from a sentence and the field.
    """
    _require_finite(raw, what, wrong)
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        raise wrong(
            f"{what}: {message[:1].lower()}{message[1:]}", place.rstrip("`").lstrip("$.") or what
        ) from None


def _require_finite(raw: Any, what: str, wrong: Wrong) -> None:
    """Refuse the infinities and NaN that TOML can write."""
    if isinstance(raw, dict):
        for key, value in raw.items():
            _require_finite(value, f"{what}: {key}", wrong)
    elif isinstance(raw, list | tuple):
        for value in raw:
            _require_finite(value, what, wrong)
    elif isinstance(raw, float) and not math.isfinite(raw):
        raise wrong(f"{what} is {raw!r}, not a finite number", what)
