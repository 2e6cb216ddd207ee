"""Number columns in Arrow IPC files, mapped instead of read.

An uncompressed Arrow file holds each column of a record batch as plain bytes at a 64-byte
boundary. `write_columns` writes one batch, so that a column is one run of bytes; `map_columns`
finds where it lies from the file's own footer and gives it as a read-only view of the file, at no
cost per row. Any Arrow reader opens the same file.

Source: Apache Arrow, "Arrow Columnar Format" 1.5, sections "IPC File Format" and "Encapsulated
message format", and its schemas ``File.fbs``, ``Message.fbs``, ``Schema.fbs`` (published);
"FlatBuffers Internals" for tables and vectors (published).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import InputError

_MAGIC = b"ARROW1"
_MARK = 0xFFFFFFFF
#: Members of the unions ``Type`` and ``MessageHeader``.
_INT, _FLOAT, _BATCH = 2, 3, 3
_FLOATS = {1: "f4", 2: "f8"}


class _Run(NamedTuple):
    dtype: np.dtype[Any]
    offset: int
    rows: int


def write_columns(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write number columns of one length as an uncompressed Arrow file of one record batch."""
    import polars as pl

    frame = pl.DataFrame({name: np.ascontiguousarray(one) for name, one in columns.items()})
    frame = frame.rechunk()
    try:
        frame.write_ipc(path, compression="uncompressed", record_batch_size=max(1, len(frame)))
    except TypeError:
        # Older versions have no such option and write a chunk as one batch.
        frame.write_ipc(path, compression="uncompressed")


def map_columns(path: Path) -> dict[str, NDArray[Any]]:
    """Map the columns of a file that :func:`write_columns` wrote.

    Returns
    -------
    dict of str to ndarray
        Read-only views of the file, which stays mapped while one of them lives.

    Raises
    ------
    InputError
        ``INP-005`` when the file is missing, torn, or no Arrow file of plain numbers.
    """
    try:
        with path.open("rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):
        raise _torn(path) from None
    try:
        runs = _runs(view)
    except (struct.error, IndexError, ValueError, KeyError, TypeError):
        raise _torn(path) from None
    out = {}
    for name, run in runs.items():
        if run.offset < 0 or run.offset + run.rows * run.dtype.itemsize > len(view):
            raise _torn(path)
        out[name] = np.frombuffer(view, dtype=run.dtype, count=run.rows, offset=run.offset)
    return out


def _torn(path: Path) -> InputError:
    return InputError(
        f"{path.name!r} of the book {path.parent.name!r} is not a whole Arrow file of ours",
        code="INP-005",
        field=path.stem,
        hint="write the book again",
    )


class _Table:
    """A FlatBuffers table: its fields by number."""

    def __init__(self, data: memoryview, at: int) -> None:
        self.data, self.at = data, at
        self.fields = at - _get("<i", data, at)
        self.size = _get("<H", data, self.fields)

    def place(self, field: int) -> int:
        """Return where a field lies, 0 when it is left at its default."""
        entry = 4 + 2 * field
        if entry >= self.size:
            return 0
        offset = _get("<H", self.data, self.fields + entry)
        return self.at + offset if offset else 0

    def number(self, field: int, form: str, default: int = 0) -> int:
        """Return a scalar."""
        place = self.place(field)
        return _get(form, self.data, place) if place else default

    def table(self, field: int) -> _Table:
        """Return a table that a field points at."""
        return _Table(self.data, self._target(field))

    def vector(self, field: int) -> tuple[int, int]:
        """Return the place of the first item of a vector, and how many there are."""
        if not self.place(field):
            return 0, 0
        at = self._target(field)
        return at + 4, _get("<I", self.data, at)

    def tables(self, field: int) -> list[_Table]:
        """Return the tables of a vector."""
        at, count = self.vector(field)
        places = [at + 4 * i for i in range(count)]
        return [_Table(self.data, place + _get("<I", self.data, place)) for place in places]

    def text(self, field: int) -> str:
        """Return a string."""
        at, count = self.vector(field)
        return bytes(self.data[at : at + count]).decode()

    def _target(self, field: int) -> int:
        place = self.place(field)
        if not place:
            raise ValueError("a field that is needed is missing")
        return place + _get("<I", self.data, place)


def _get(form: str, data: memoryview, at: int) -> int:
    if at < 0:
        raise ValueError("an offset before the file")
    (value,) = struct.unpack_from(form, data, at)
    return int(value)


def _runs(view: memoryview) -> dict[str, _Run]:
    """Find each column: its type from the schema, its bytes from the one record batch."""
    if bytes(view[:6]) != _MAGIC or bytes(view[-6:]) != _MAGIC:
        raise ValueError("no Arrow file")
    length = _get("<i", view, len(view) - 10)
    start = len(view) - 10 - length
    footer = _Table(view, start + _get("<I", view, start))
    fields = [(one.text(0), _dtype(one)) for one in footer.table(1).tables(1)]
    block, batches = footer.vector(3)
    if not batches:
        return {name: _Run(dtype, 0, 0) for name, dtype in fields}
    if batches != 1:
        raise ValueError("more than one record batch")
    at, metadata = _get("<q", view, block), _get("<i", view, block + 8)
    body = at + metadata
    at += 8 if _get("<I", view, at) == _MARK else 4
    message = _Table(view, at + _get("<I", view, at))
    if message.number(1, "<B") != _BATCH:
        raise ValueError("no record batch")
    batch = message.table(2)
    if batch.place(3):
        raise ValueError("compressed")
    rows = batch.number(0, "<q")
    nodes, columns = batch.vector(1)
    buffers, count = batch.vector(2)
    # A column of numbers has two buffers: which rows are there, and the values.
    if columns != len(fields) or count != 2 * columns:
        raise ValueError("other columns than the schema's")
    found = {}
    for number, (name, dtype) in enumerate(fields):
        if _get("<q", view, nodes + 16 * number + 8):
            raise ValueError("missing values")
        values = buffers + 16 * (2 * number + 1)
        offset, size = _get("<q", view, values), _get("<q", view, values + 8)
        if size < rows * dtype.itemsize:
            raise ValueError("a column is cut off")
        found[name] = _Run(dtype, body + offset, rows)
    return found


def _dtype(field: _Table) -> np.dtype[Any]:
    kind, terms = field.number(2, "<B"), field.table(3)
    if kind == _FLOAT:
        return np.dtype("<" + _FLOATS[terms.number(0, "<h")])
    if kind != _INT:
        raise ValueError("not a number")
    sign = "i" if terms.number(1, "<B") else "u"
    return np.dtype(f"<{sign}{terms.number(0, '<i') // 8}")
