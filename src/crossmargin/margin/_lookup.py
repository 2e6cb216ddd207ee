"""Parameters of a rule-set as columns: looked up once by key, then laid out over rows.

A book has few distinct instruments, assets and underlyings and many rows of each. What a stage
asks a table of parameters is asked once for each distinct key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CrossmarginError
from crossmargin.margin._frame import Frame

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")
V = TypeVar("V")


def distinct(key: Ints) -> Ints:
    """Return the distinct keys, ascending; keys are small whole numbers of at least 0."""
    return np.flatnonzero(np.bincount(key)) if key.size else np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Rules(Generic[T]):
    """Parameters of rows.

    Attributes
    ----------
    found : list
        The parameters of each distinct key.
    place : int64[N]
        Which of them each row takes; ``len(found)`` for rows that were refused.
    """

    found: list[T]
    place: Ints

    def column(self, figure: Callable[[T], float]) -> Floats:
        """Return one figure by row; NaN for rows that were refused."""
        return np.array([*(figure(rule) for rule in self.found), np.nan])[self.place]

    def flags(self, fact: Callable[[T], bool]) -> NDArray[np.bool_]:
        """Return one fact by row; False for rows that were refused."""
        return np.array([*(fact(rule) for rule in self.found), False])[self.place]


def look_up(
    frame: Frame, key: Ints, pot: Ints, find: Callable[[int], T], *, by_key: bool = False
) -> Rules[T]:
    """Look parameters up by key; rows whose key has none are refused.

    Parameters
    ----------
    frame : Frame
        Refuses accounts.
    key : int64[N]
        What each row is looked up by, at least 0.
    pot : int64[N]
        Pot of each row.
    find : callable
        Gives the parameters of a key, or raises what an account that needs them is refused with.
    by_key : bool
        Whether of an account's rows the one of the lowest key is named, instead of the first.
    """
    keys = distinct(key)
    place = np.zeros(int(keys[-1]) + 1 if keys.size else 1, dtype=np.int64)
    found: list[T] = []
    missing: dict[int, CrossmarginError] = {}
    for one in keys.tolist():
        try:
            rule = find(one)
        except CrossmarginError as error:
            missing[one] = error
            place[one] = -1
            continue
        place[one] = len(found)
        found.append(rule)
    if missing:
        lacks = np.zeros(place.size, dtype=np.bool_)
        lacks[list(missing)] = True
        rows = np.flatnonzero(lacks[key])
        if by_key:
            rows = rows[np.argsort(key[rows], kind="stable")]
        frame.refuse(pot[rows], lambda row: again(missing[int(key[rows[row]])]))
        place[place < 0] = len(found)
    return Rules(found, place[key])


def attempt(frame: Frame, pot: Ints, make: Callable[[], V], instead: V) -> V:
    """Compute something for rows that share one cause; where it is refused, so are they all.

    Parameters
    ----------
    frame : Frame
        Refuses accounts.
    pot : int64[K]
        Pot of each row.
    make : callable
        Gives the value, or raises what every account among the rows is refused with.
    instead
        What stands in its place then.
    """
    try:
        return make()
    except CrossmarginError as error:
        if frame.faults is None:
            raise
        reason = error
        frame.refuse(pot, lambda row: again(reason))
        return instead


def refuse_each(frame: Frame, refused: list[tuple[Ints, CrossmarginError]]) -> None:
    """Refuse groups for several causes: of an account's groups the first one is named.

    Parameters
    ----------
    frame : Frame
        Refuses accounts.
    refused : list of (int64[k], CrossmarginError)
        Groups, and what they are refused with.
    """
    if not refused:
        return
    groups = np.concatenate([groups for groups, _ in refused])
    cause = np.repeat(np.arange(len(refused)), [groups.size for groups, _ in refused])
    order = np.argsort(groups, kind="stable")
    pot = frame.arrangement.group_pot[groups[order]]
    frame.refuse(pot, lambda row: again(refused[int(cause[order[row]])][1]))


def again(error: CrossmarginError) -> CrossmarginError:
    """Return the same error for another account: where it lies is written into each."""
    return type(error)(
        error.message,
        code=error.code,
        account=error.account,
        instrument=error.instrument,
        field=error.field,
        hint=error.hint,
    )
