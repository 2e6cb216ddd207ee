"""The log as Parquet, for whoever reads it with other tools."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmargin.codec import to_disk
from crossmargin.errors import StoreError

if TYPE_CHECKING:
    from crossmargin.accounts.store._store import Store
    from crossmargin.accounts.store.entries import Record

#: Entries of one part: what is held in memory at once.
_PART = 200_000


def export_parquet(store: Store, folder: str | Path) -> tuple[int, int]:
    """Write the log into a new folder, whole or not there.

    The folder holds ``entries/00001.parquet`` … (seq, id, time_ns, kind, payload, transfers,
    hash) and ``transfers/00001.parquet`` … (seq, line, debit, credit, asset, amount, code), a
    part for each 200,000 entries. Amounts are decimals of 38 digits, exactly.

    Parameters
    ----------
    store : Store
        An open ledger; each entry is held to the chain as it is read.
    folder : str or Path
        Where to; must not exist, or be an empty folder.

    Returns
    -------
    tuple of int
        Entries and transfers written.

    Raises
    ------
    StoreError
        ``STO-015`` when the folder is not empty or cannot be written, ``STO-012`` when the log
        is damaged. Nothing is left behind.
    """
    target = Path(folder).absolute()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise StoreError(
            f"cannot export to {str(folder)!r}: there is something already",
            code="STO-015",
            hint="name a new folder",
        )
    made: Path | None = None
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", dir=target.parent))
        made.chmod(0o755)
        count = _write(store, made)
        os.replace(made, target)
        made = None
        return count
    except OSError as error:
        raise _cannot_export(folder, error.strerror or str(error)) from None
    except _polars_error() as error:
        # polars wraps what the operating system says.
        raise _cannot_export(folder, str(error)) from None
    finally:
        if made is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(made)


def _cannot_export(folder: str | Path, why: str) -> StoreError:
    words = " ".join(why.split())
    return StoreError(
        f"cannot export to {str(folder)!r}: {words[:1].lower()}{words[1:]}",
        code="STO-015",
        hint="check that the folder above it exists, may be written and has room",
    )


def _polars_error() -> type[Exception]:
    from polars.exceptions import PolarsError

    return PolarsError


def _write(store: Store, folder: Path) -> tuple[int, int]:
    (folder / "entries").mkdir()
    (folder / "transfers").mkdir()
    records = store.read()
    entries = transfers = 0
    for part, piece in enumerate(_pieces(records), 1):
        name = f"{part:05d}.parquet"
        lines = _transfers_frame(piece)
        for kind, frame in (("entries", _entries_frame(piece)), ("transfers", lines)):
            path = folder / kind / name
            frame.write_parquet(path)
            to_disk(path)
        entries, transfers = entries + len(piece), transfers + lines.height
    return entries, transfers


def _pieces(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Give the records in parts; an empty log is one empty part, which has the columns."""
    piece = list(islice(records, _PART))
    yield piece
    while piece := list(islice(records, _PART)):
        yield piece


def _entries_frame(records: list[Record]) -> Any:
    import polars as pl

    return pl.DataFrame(
        {
            "seq": [r.seq for r in records],
            "id": [r.id for r in records],
            "time_ns": [r.time_ns for r in records],
            "kind": [r.kind for r in records],
            "payload": [r.payload for r in records],
            "transfers": [len(r.transfers) for r in records],
            "hash": [r.hash.hex() for r in records],
        },
        schema={
            "seq": pl.Int64, "id": pl.String, "time_ns": pl.Int64, "kind": pl.String,
            "payload": pl.Binary, "transfers": pl.Int64, "hash": pl.String,
        },
    )  # fmt: skip


def _transfers_frame(records: list[Record]) -> Any:
    import polars as pl

    rows = [(r.seq, line, t) for r in records for line, t in enumerate(r.transfers)]
    return pl.DataFrame(
        {
            "seq": [seq for seq, _, _ in rows],
            "line": [line for _, line, _ in rows],
            "debit": [t.debit for _, _, t in rows],
            "credit": [t.credit for _, _, t in rows],
            "asset": [t.asset for _, _, t in rows],
            "amount": [str(t.amount) for _, _, t in rows],
            "code": [t.code for _, _, t in rows],
        },
        schema={
            "seq": pl.Int64, "line": pl.Int64, "debit": pl.String, "credit": pl.String,
            "asset": pl.String, "amount": pl.String, "code": pl.String,
        },
    ).with_columns(pl.col("amount").str.to_decimal(scale=0).cast(pl.Decimal(38, 0)))  # fmt: skip
