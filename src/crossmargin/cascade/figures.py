"""Figures of this room with their sources: strict TOML tables, checks of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin import codec
from crossmargin.errors import CascadeError
from crossmargin.figures import FigureTable, figure_table

T = TypeVar("T")
Floats = NDArray[np.float64]


def wrong_rule(message: str, field: str) -> CascadeError:
    """Return the error for a file of this room that is malformed or out of range."""
    return CascadeError(
        message, code="CAS-002", field=field, hint="see docs/models/cascade-market.md"
    )


def convert(raw: Any, kind: type[T], what: str) -> T:
    """Turn plain data into a Struct; faults become one sentence.

    Raises
    ------
    CascadeError
        ``CAS-002`` for an unknown key, a wrong type or a figure out of range.
    """
    return codec.convert_data(raw, kind, what, wrong_rule)


def parse_toml(text: str, what: str) -> dict[str, Any]:
    """Read TOML text.

    Raises
    ------
    CascadeError
        ``CAS-002`` when it is not TOML.
    """
    return codec.parse_toml(text, what, wrong_rule)


def table_from_toml(text: str, what: str) -> FigureTable:
    """Read and check a table of figures: each must name a listed source.

    Raises
    ------
    CascadeError
        ``CAS-002``.
    """
    return figure_table(text, what, wrong_rule)


@lru_cache(maxsize=8)
def shipped_table(name: str) -> FigureTable:
    """Return a checked table of figures that ships with this room, ``depth.toml`` for example."""
    text = (files("crossmargin.cascade") / name).read_text(encoding="utf-8")
    return table_from_toml(text, name)


def value_of(table: str, figure: str) -> Any:
    """Return one value of a shipped table.

    Raises
    ------
    CascadeError
        ``CAS-003`` where the table has no such figure.
    """
    found = shipped_table(table).figures
    if figure not in found:
        raise unknown("figure", figure, found)
    return found[figure].value


def unknown(kind: str, name: str, known: Iterable[str]) -> CascadeError:
    """Return the error for a name that is not in a catalogue."""
    return CascadeError(
        f"there is no {kind} called {name!r}",
        code="CAS-003",
        field=kind,
        hint="one of " + ", ".join(sorted(known)),
    )


def numbers(
    name: str,
    values: ArrayLike,
    *,
    least: float = -np.inf,
    above: float = -np.inf,
    most: float = np.inf,
    finite: bool = True,
) -> Floats:
    """Return an array of float64 whose numbers lie in a range, or refuse it.

    Parameters
    ----------
    name : str
        Of the parameter, for the message.
    values : array-like
        Any shape.
    least, most : float
        Smallest and largest that are allowed.
    above : float
        Every value must be greater.
    finite : bool
        Whether infinities are refused; NaN always is.

    Raises
    ------
    CascadeError
        ``CAS-001``.
    """
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise CascadeError(f"{name} is no array of numbers", code="CAS-001", field=name) from None
    # Asked in every round of a cascade: a bound that is none costs nothing.
    good = np.isfinite(found) if finite else ~np.isnan(found)
    if least > -np.inf:
        good &= found >= least
    if above > -np.inf:
        good &= found > above
    if most < np.inf:
        good &= found <= most
    if not good.all():
        bad = found[~good].ravel()[0]
        asked = [
            text
            for text, given in (
                (f"at least {least:g}", least > -np.inf),
                (f"above {above:g}", above > -np.inf),
                (f"at most {most:g}", most < np.inf),
            )
            if given
        ]
        raise CascadeError(
            f"{name} is {bad:g}, not a number" + (" " + " and ".join(asked) if asked else ""),
            code="CAS-001",
            field=name,
        )
    return found


def number(
    name: str,
    value: float,
    *,
    least: float = -np.inf,
    above: float = -np.inf,
    most: float = np.inf,
    finite: bool = True,
) -> float:
    """Return a number that lies in a range; see :func:`numbers`."""
    return float(numbers(name, value, least=least, above=above, most=most, finite=finite))


def together(**arrays: Floats) -> tuple[Floats, ...]:
    """Broadcast arrays against each other, or say which do not fit.

    Raises
    ------
    CascadeError
        ``CAS-001``.
    """
    try:
        return tuple(np.broadcast_arrays(*arrays.values()))
    except ValueError:
        same_shape(**arrays)
        raise


def spread_over(name: str, values: Floats, shape: tuple[int, ...]) -> Floats:
    """Return values spread over a shape, or say that they are as many as nobody asked for.

    Raises
    ------
    CascadeError
        ``CAS-001``.
    """
    try:
        return np.broadcast_to(values, shape)
    except ValueError:
        raise CascadeError(
            f"{name} has the shape {values.shape} where {shape} is needed",
            code="CAS-001",
            field=name,
        ) from None


def same_shape(**arrays: NDArray[Any]) -> None:
    """Refuse arrays of different shapes.

    Raises
    ------
    CascadeError
        ``CAS-001``.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise CascadeError(
            f"arrays do not fit together: {said}", code="CAS-001", field=next(iter(arrays))
        )
