"""The demo markets inside the package."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from crossmargin.errors import InputError
from crossmargin.market import Snapshot, decode_market, snapshot_from_file


def _folder() -> Traversable:
    return files("crossmargin._data").joinpath("markets")


def market_names() -> list[str]:
    """Return the names of the markets that the package ships, sorted."""
    return sorted(
        entry.name.removesuffix(".json")
        for entry in _folder().iterdir()
        if entry.name.endswith(".json")
    )


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
    known = market_names()
    if name not in known:
        raise InputError(
            f"there is no market called {name!r} in the package",
            code="INP-030",
            field="market",
            hint="choose one of " + ", ".join(known),
        )
    raw = _folder().joinpath(f"{name}.json").read_bytes()
    return snapshot_from_file(decode_market(raw, name))
