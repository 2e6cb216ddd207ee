"""Where the ledger is kept: an append-only, hash-chained log in SQLite or PostgreSQL.

The store knows nothing of what an event means. It keeps entries with their transfers in the order
they were given, acknowledges them when they are on the disk, and says exactly what is damaged.
Importing this package loads no database library; the names below load what they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossmargin.accounts.store._lock import Holder
    from crossmargin.accounts.store._open import create_store, open_store
    from crossmargin.accounts.store._store import Store
    from crossmargin.accounts.store.entries import (
        Appended,
        Entry,
        Head,
        Record,
        TransferRow,
        parse_head,
    )
    from crossmargin.accounts.store.verification import Problem, Verification, verify_store

__all__ = [
    "Appended",
    "Entry",
    "Head",
    "Holder",
    "Problem",
    "Record",
    "Store",
    "TransferRow",
    "Verification",
    "create_store",
    "open_store",
    "parse_head",
    "verify_store",
]

_HOMES = {
    "_lock": ("Holder",),
    "_open": ("create_store", "open_store"),
    "_store": ("Store",),
    "entries": ("Appended", "Entry", "Head", "Record", "TransferRow", "parse_head"),
    "verification": ("Problem", "Verification", "verify_store"),
}


def __getattr__(name: str) -> Any:
    """Load the module that a name lives in when it is first asked for."""
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
