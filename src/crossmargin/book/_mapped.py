"""A large book as mapped columns: opened in milliseconds, shared by all processes of a machine.

==================== ==========================================================================
file                 holds
==================== ==========================================================================
book.json            format, sizes, instruments and assets in order, names when numbered, hashes
positions.arrow      ``instrument`` (uint16 or uint32), ``quantity``, ``entry`` (NaN: settled at
                     the mark)
balances.arrow       ``asset``, ``amount``
starts.arrow         ``position``, ``balance``: row pointers, one more than there are accounts
names.parquet        ``account_id`` and ``owner``, where they are not numbered
rest/                accounts that need more columns: a folder of Parquet files
==================== ==========================================================================

The Arrow files are uncompressed, of one record batch each, and any Arrow reader opens them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.book._arrow import map_columns, write_columns
from crossmargin.book._book import Book, Ints
from crossmargin.book._compact import CompactBook, NumberedIds, narrow
from crossmargin.book._folder import whole_folder
from crossmargin.book._ids import SeriesIds, series_of_ids
from crossmargin.book._parquet import read_book_parquet, write_book_tables
from crossmargin.book._tables import require_told
from crossmargin.codec import decode_json, read_bytes
from crossmargin.errors import InputError
from crossmargin.instruments import Registry

#: The file that says what a folder of mapped columns holds.
MANIFEST = "book.json"
_BLOCK = 1 << 22


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Refuses unknown fields."""


class _Numbered(_Strict, frozen=True, kw_only=True):
    prefix: str


class _Manifest(_Strict, frozen=True, kw_only=True):
    """What a folder of mapped columns holds; `bytes` and `sha256` are by file."""

    format: Literal["crossmargin-book/1"]
    accounts: int
    positions: int
    balances: int
    instruments: list[str]
    assets: list[str]
    registry_sha256: str
    numbered: _Numbered | None
    owners: bool
    rest: bool
    bytes: dict[str, int]
    sha256: dict[str, str]


def write_compact(book: CompactBook, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write a large book as columns that can be mapped (Arrow IPC, uncompressed).

    Parameters
    ----------
    book : CompactBook
        To write; `rest` becomes a folder of Parquet files inside.
    folder : str or Path
        Must not exist unless `overwrite`; its parent must. It is either whole or not there.
    overwrite : bool
        Replace a folder that exists. Who has mapped the old one keeps its columns.

    Raises
    ------
    InputError
        ``INP-040`` when the folder exists, ``INP-005`` when it cannot be written, ``INP-041``
        for an instrument that its name does not describe.
    """
    require_told(book.registry, np.arange(len(book.registry)))
    numbered = _Numbered(prefix=book.ids.prefix) if isinstance(book.ids, NumberedIds) else None
    with whole_folder(folder, overwrite=overwrite, what="the book") as draft:
        write_columns(
            draft / "positions.arrow",
            {
                "instrument": book.position_instrument,
                "quantity": book.position_quantity,
                "entry": book.position_entry,
            },
        )
        balances = {"asset": book.balance_asset, "amount": book.balance_amount}
        write_columns(draft / "balances.arrow", balances)
        starts = {"position": book.position_start, "balance": book.balance_start}
        write_columns(draft / "starts.arrow", starts)
        _write_names(book, draft, numbered=numbered is not None)
        if book.rest is not None:
            (draft / "rest").mkdir()
            write_book_tables(book.rest, draft / "rest")
        files = sorted(p for p in draft.rglob("*") if p.is_file())
        names = [p.relative_to(draft).as_posix() for p in files]
        manifest = _Manifest(
            format="crossmargin-book/1",
            accounts=book.regular,
            positions=book.positions,
            balances=int(book.balance_amount.size),
            instruments=[one.id for one in book.registry],
            assets=list(book.registry.assets),
            registry_sha256=book.registry.content_hash,
            numbered=numbered,
            owners=book.owners is not None,
            rest=book.rest is not None,
            bytes={name: path.stat().st_size for name, path in zip(names, files)},
            sha256={name: _sha256(path) for name, path in zip(names, files)},
        )
        (draft / MANIFEST).write_bytes(msgspec.json.encode(manifest))


def _write_names(book: CompactBook, draft: Path, *, numbered: bool) -> None:
    import polars as pl

    columns = {}
    if not numbered:
        columns["account_id"] = series_of_ids(book.ids)
    if book.owners is not None:
        columns["owner"] = series_of_ids(book.owners)
    if columns:
        pl.DataFrame(columns).write_parquet(draft / "names.parquet", compression="zstd")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def is_mapped(folder: Path) -> bool:
    """Whether a folder holds mapped columns."""
    return (folder / MANIFEST).is_file()


def open_compact(
    folder: Path, registry: Registry | None = None, *, verify: bool = False
) -> CompactBook:
    """Map a folder that :func:`write_compact` wrote.

    Row pointers and codes are checked, because numbers out of range would be read past the end;
    the figures themselves only with `verify`.

    Parameters
    ----------
    folder : Path
        With a ``book.json``.
    registry : Registry, optional
        Instruments known so far. Where the book's have other indices in it, their column is
        copied and each account's rows are put in the new order; without it nothing is copied.
    verify : bool
        Compare the hash of every file too.

    Returns
    -------
    CompactBook
        Its columns are read-only.

    Raises
    ------
    InputError
        ``INP-005`` when a file is missing, torn or altered, ``INP-001`` and ``INP-021`` for
        instruments that cannot be had.
    """
    what = f"book {folder.name!r}"
    manifest = decode_json(read_bytes(folder / MANIFEST, what=what), _Manifest, what=what)
    for name, size in manifest.bytes.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise _altered(folder, name)
        if verify and _sha256(path) != manifest.sha256[name]:
            raise _altered(folder, name)
    held = map_columns(folder / "positions.arrow")
    owned = map_columns(folder / "balances.arrow")
    starts = map_columns(folder / "starts.arrow")
    _check(folder, manifest, held, owned, starts)
    known = registry if registry is not None else Registry()
    instruments, assets = _codes(manifest, known)
    if registry is None and known.content_hash != manifest.registry_sha256:
        raise _altered(folder, MANIFEST)
    position_start, instrument = starts["position"], held["instrument"]
    quantity, entry = held["quantity"], held["entry"]
    if not np.array_equal(instruments, np.arange(instruments.size)):
        instrument = instruments[instrument].astype(narrow(len(known)))
        order = _order(position_start, instrument)
        instrument, quantity, entry = instrument[order], quantity[order], entry[order]
    asset = owned["asset"]
    if not np.array_equal(assets, np.arange(assets.size)):
        asset = assets[asset].astype(narrow(len(known.assets)))
    return CompactBook(
        registry=known,
        ids=_ids(folder, manifest),
        owners=_names(folder, manifest.accounts, "owner") if manifest.owners else None,
        position_start=position_start,
        position_instrument=instrument,
        position_quantity=quantity,
        position_entry=entry,
        balance_start=starts["balance"],
        balance_asset=asset,
        balance_amount=owned["amount"],
        rest=_rest(folder, known) if manifest.rest else None,
    )


def _altered(folder: Path, name: str) -> InputError:
    return InputError(
        f"{name!r} of the book {folder.name!r} is not what was written",
        code="INP-005",
        field=name,
        hint="write the book again",
    )


def _check(
    folder: Path,
    manifest: _Manifest,
    held: dict[str, NDArray[Any]],
    owned: dict[str, NDArray[Any]],
    starts: dict[str, NDArray[Any]],
) -> None:
    """See that columns have their types and sizes, and that no number leads past an end."""
    rows = {"positions": manifest.positions, "balances": manifest.balances}
    forms = (
        (held, "positions", {"instrument": "u", "quantity": "f", "entry": "f"}),
        (owned, "balances", {"asset": "u", "amount": "f"}),
    )
    for columns, table, kinds in forms:
        for name, kind in kinds.items():
            found = columns.get(name)
            if found is None or found.dtype.kind != kind or found.size != rows[table]:
                raise _altered(folder, f"{table}.arrow")
    counts = (("position", manifest.positions), ("balance", manifest.balances))
    for name, size in counts:
        start = starts.get(name)
        if start is None or start.dtype != np.int64 or start.size != manifest.accounts + 1:
            raise _altered(folder, "starts.arrow")
        if start[0] != 0 or start[-1] != size or (start[1:] < start[:-1]).any():
            raise _altered(folder, "starts.arrow")
    for column, count, name in (
        (held["instrument"], len(manifest.instruments), "positions.arrow"),
        (owned["asset"], len(manifest.assets), "balances.arrow"),
    ):
        if column.size and int(column.max()) >= count:
            raise _altered(folder, name)


def _codes(manifest: _Manifest, known: Registry) -> tuple[Ints, Ints]:
    """Return the index of each instrument and asset of the book in a registry."""
    assets = [known.asset(name) for name in manifest.assets]
    instruments = [known.resolve(name) for name in manifest.instruments]
    return np.array(instruments, dtype=np.int64), np.array(assets, dtype=np.int64)


def _order(start: Ints, instrument: NDArray[Any]) -> Ints:
    owner = np.repeat(np.arange(start.size - 1), np.diff(start))
    return np.lexsort([instrument, owner])


def _ids(folder: Path, manifest: _Manifest) -> Sequence[str]:
    if manifest.numbered is not None:
        return NumberedIds(manifest.accounts, manifest.numbered.prefix)
    return _names(folder, manifest.accounts, "account_id")


def _names(folder: Path, count: int, column: str) -> SeriesIds:
    import polars as pl

    path = folder / "names.parquet"

    def load() -> pl.Series:
        series = pl.read_parquet(path, columns=[column]).to_series()
        if len(series) != count or series.dtype != pl.String or series.null_count():
            raise _altered(folder, path.name)
        return series

    return SeriesIds(count, load)


def _rest(folder: Path, known: Registry) -> Book:
    return read_book_parquet(folder / "rest", known)
