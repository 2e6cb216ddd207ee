"""The demo markets, accounts and price history inside the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

from crossmargin.book import AccountFile, parse_account
from crossmargin.errors import InputError
from crossmargin.market import Snapshot, decode_market, snapshot_from_file


def shipped_files(kind: Literal["accounts", "markets"]) -> dict[str, bytes]:
    """Return the shipped files of a kind by name, sorted."""
    folder = files("crossmargin._data").joinpath(kind)
    return {
        entry.name.removesuffix(".json"): entry.read_bytes()
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".json")
    }


def _pick(kind: Literal["accounts", "markets"], name: str) -> bytes:
    known = shipped_files(kind)
    if name not in known:
        raise InputError(
            f"there is no {kind[:-1]} called {name!r} in the package",
            code="INP-030",
            field=kind[:-1],
            hint="choose one of " + ", ".join(known),
        )
    return known[name]


def market_names() -> list[str]:
    """Return the names of the markets that the package ships, sorted."""
    return list(shipped_files("markets"))


def account_names() -> list[str]:
    """Return the names of the accounts that the package ships, sorted."""
    return list(shipped_files("accounts"))


def load_market(name: str) -> Snapshot:
    """Read a shipped market.

    Parameters
    ----------
    name : str
        One of :func:`market_names`.

    Raises
    ------
    InputError
        ``INP-030`` when there is none of that name.
    """
    return snapshot_from_file(decode_market(_pick("markets", name), name))


def load_account(name: str) -> AccountFile:
    """Read a shipped account.

    Parameters
    ----------
    name : str
        One of :func:`account_names`.

    Raises
    ------
    InputError
        ``INP-030`` when there is none of that name.
    """
    return parse_account(_pick("accounts", name), name)


def history_names() -> list[str]:
    """Return the names of the price histories that the package ships, sorted."""
    folder = files("crossmargin._data").joinpath("histories")
    return sorted(entry.name.removesuffix(".csv") for entry in folder.iterdir())


@contextmanager
def shipped_history(name: str) -> Iterator[Path]:
    """Give the file of a shipped price history, for as long as it is read.

    Parameters
    ----------
    name : str
        One of :func:`history_names`. ``made-up`` was drawn and not recorded.

    Raises
    ------
    InputError
        ``INP-030`` when there is none of that name.
    """
    if name not in history_names():
        raise InputError(
            f"there is no history called {name!r} in the package",
            code="INP-030",
            field="history",
            hint="choose one of " + ", ".join(history_names()),
        )
    with as_file(files("crossmargin._data").joinpath("histories", f"{name}.csv")) as path:
        yield path
