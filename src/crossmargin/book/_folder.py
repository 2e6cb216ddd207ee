"""Folders that are either whole or not there."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossmargin.codec import to_disk
from crossmargin.errors import InputError


@contextmanager
def whole_folder(folder: str | Path, *, overwrite: bool, what: str) -> Iterator[Path]:
    """Give a hidden folder beside `folder` to write to; it takes its name when all is written.

    Everything is flushed to the disk before the one rename, so that a process that is killed, or
    a machine that goes down, leaves the old folder, the new one or none: never a part of one.

    Parameters
    ----------
    folder : str or Path
        Must not exist unless `overwrite`; its parent must.
    overwrite : bool
        Replace a folder that exists.
    what : str
        What is written, for the sentence of an error.

    Raises
    ------
    InputError
        ``INP-040`` when the folder exists, ``INP-005`` when it cannot be written.
    """
    target = Path(folder)
    if target.exists() and not overwrite:
        raise InputError(
            f"{target.name!r} exists already", code="INP-040", hint="choose another folder"
        )
    draft = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}"
    try:
        draft.mkdir()
        yield draft
        for path in sorted(draft.rglob("*")):
            to_disk(path)
        to_disk(draft)
        _put(draft, target)
        to_disk(target.parent)
    except OSError as error:
        raise InputError(
            f"cannot write {what} {target.name!r}: {(error.strerror or 'unknown').lower()}",
            code="INP-005",
            hint="check the folder above it and the space left",
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put(draft: Path, target: Path) -> None:
    old = target.parent / f"{draft.name}.old"
    if target.exists():
        target.rename(old)
    try:
        draft.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
