"""Reading the log, the same in every database: the statements of one schema."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from crossmargin.accounts.store._backend import EntryRow, TransferLine


class Reads(ABC):
    """What a backend reads once it can run a statement; see `Backend` for what each gives."""

    #: Compiled statements by name.
    _sql: Mapping[str, str]

    @abstractmethod
    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement and return its rows."""

    @abstractmethod
    def _said(self, doing: str) -> AbstractContextManager[None]:
        """Turn the driver's errors into a `StoreError`."""

    def head(self) -> tuple[int, bytes] | None:
        """Return number and hash of the last entry."""
        with self._said("read"):
            rows = self._rows(self._sql["head"])
        return rows[0] if rows else None

    def hash_at(self, seq: int) -> bytes | None:
        """Return the stored hash of an entry."""
        with self._said("read"):
            rows = self._rows(self._sql["hash_at"], (seq,))
        return rows[0][0] if rows else None

    def entries(self, first: int, last: int) -> list[EntryRow]:
        """Return rows in the order of the log."""
        with self._said("read"):
            return self._rows(self._sql["entries"], (first, last))

    def transfers(self, first: int, last: int) -> list[TransferLine]:
        """Return the transfers of entries."""
        with self._said("read"):
            return self._rows(self._sql["transfers"], (first, last))

    def next_entry(self, seq: int) -> int | None:
        """Return the least number of an entry from `seq` on."""
        with self._said("read"):
            (found,) = self._rows(self._sql["next_entry"], (seq,))[0]
        return found if isinstance(found, int) else None

    def stray(self) -> tuple[int, int]:
        """Return how many transfers lie below and above the entries."""
        with self._said("read"):
            below = self._rows(self._sql["transfers_below"])[0][0]
            above = self._rows(self._sql["transfers_above"])[0][0]
        return below, above
