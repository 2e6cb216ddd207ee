"""Results of a large book as Parquet: whole, or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmargin.codec import draft_of
from crossmargin.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from crossmargin.book import CompactBook, Rejected
    from crossmargin.margin import BookColumns, Ruleset


def check_place(path: str, *, overwrite: bool) -> None:
    """See that a file may be written, before the work of an hour is done for it.

    Raises
    ------
    InputError
        ``INP-070`` when it exists and may not be replaced, ``INP-014`` when its folder is not
        there or may not be written, or it is no regular file.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        raise InputError(
            f"cannot write {path!r}: it is not a regular file",
            code="INP-014",
            hint="name a file",
        )
    if target.exists() and not overwrite:
        raise InputError(
            f"{path!r} exists already",
            code="INP-070",
            field="--out",
            hint="name another file, or add --overwrite",
        )
    folder = target.resolve().parent
    if not folder.is_dir():
        raise InputError(
            f"cannot write {path!r}: there is no folder {str(folder)!r}",
            code="INP-014",
            field="--out",
            hint="make the folder first",
        )
    if not os.access(folder, os.W_OK):
        raise InputError(
            f"cannot write {path!r}: the folder may not be written",
            code="INP-014",
            field="--out",
        )


def write_parquet(frame: pl.DataFrame, path: str, *, overwrite: bool) -> None:
    """Write a table so that a file of that name is never half of one.

    It is written under a hidden name that does not end in ``.parquet``, forced to the disk and
    renamed. An interrupted run leaves the file that was there before, or none.

    Raises
    ------
    InputError
        As :func:`check_place`, and ``INP-014`` when the disk is full.
    """
    _put(path, lambda name: frame.write_parquet(name, compression="zstd"), overwrite=overwrite)


def _put(path: str, write: Callable[[str], Any], *, overwrite: bool) -> None:
    check_place(path, overwrite=overwrite)
    target = Path(path).resolve()
    try:
        with draft_of(target) as draft:
            write(str(draft))
            check_place(path, overwrite=overwrite)
    except OSError as error:
        raise InputError(
            f"cannot write {path!r}: {(error.strerror or 'unknown reason').lower()}",
            code="INP-014",
            field="--out",
            hint="check the folder and the space left",
        ) from None


def account_results(
    book: CompactBook, columns: BookColumns, rules: Ruleset, rejected: Rejected | None = None
) -> pl.DataFrame:
    """Return one row an account, in the book's order.

    Amounts are US dollars. ``health`` is null where nothing is required; every figure of an
    account that failed is null, and ``error_code`` and ``error`` say why. Accounts that were set
    aside when the book was read come last.
    """
    import numpy as np
    import polars as pl

    from crossmargin.margin import ACCOUNT_STATES, account_states

    n = book.size
    ids = [*book.ids[:]] + ([] if book.rest is None else list(book.rest.account_ids))
    codes, errors = np.zeros(n, dtype=np.int64), columns.failures
    words: dict[str, int] = {"": 0}
    text: list[str | None] = [None] * n
    for account, error in errors.items():
        codes[account] = words.setdefault(error.code, len(words))
        text[account] = str(error)
    figures = {
        "equity_usd": columns.equity,
        "equity_im_usd": columns.equity_im,
        "im_usd": columns.im,
        "mm_usd": columns.mm,
        "excess_im_usd": columns.equity_im - columns.im,
        "excess_mm_usd": columns.equity - columns.mm,
        "health": np.where(np.isfinite(columns.health), columns.health, np.nan),
    }
    states = pl.Series(list(ACCOUNT_STATES), dtype=pl.String)
    names = pl.Series([word or None for word in words], dtype=pl.String)
    made = pl.DataFrame(
        {
            "account_id": pl.Series(ids, dtype=pl.String),
            **{k: pl.Series(v, dtype=pl.Float64, nan_to_null=True) for k, v in figures.items()},
            "state": states.gather(account_states(columns, rules).astype(np.int64)),
            "error_code": names.gather(codes),
            "error": pl.Series(text, dtype=pl.String),
        }
    )
    if not rejected:
        return made
    reasons = list(rejected.values())
    aside = {
        "account_id": [error.account for error in reasons],
        "state": ["failed"] * len(reasons),
        "error_code": [error.code for error in reasons],
        "error": [str(error) for error in reasons],
    }
    late = pl.DataFrame(aside, schema=dict.fromkeys(aside, pl.String))
    return pl.concat([made, late], how="diagonal")
