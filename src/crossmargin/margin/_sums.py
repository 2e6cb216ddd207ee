"""Sums and least values by target, in a fixed order: the same bytes every time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def sum_by(values: Floats, index: Ints, size: int) -> Floats:
    """Add rows of `values` by `index`, in the order given: the same bytes every time.

    Parameters
    ----------
    values : float64[N] or float64[N, S]
        Rows.
    index : int64[N]
        Target of each row; negative rows are left out.
    size : int
        Number of targets.
    """
    inside = not index.size or int(index.min()) >= 0
    if values.ndim == 1:
        if not inside:
            keep = index >= 0
            index, values = index[keep], values[keep]
        return np.bincount(index, weights=values, minlength=size).astype(np.float64, copy=False)
    if not inside:
        keep = index >= 0
        index, values = index[keep], values[keep]
    if (index[1:] < index[:-1]).any():
        order = np.argsort(index, kind="stable")
        index, values = index[order], values[order]
    return _sum_sorted(np.ascontiguousarray(values), index, size)


#: Up to so many targets are added up one by one, without loading the sparse library.
_FEW = 64


def _sum_sorted(values: Floats, index: Ints, size: int) -> Floats:
    """Add rows that lie in the order of their targets, one after the other."""
    if values.shape[1] == 1:
        return np.bincount(index, weights=values[:, 0], minlength=size)[:, None].astype(np.float64)
    ends = np.cumsum(np.bincount(index, minlength=size))
    if size <= _FEW:
        out = np.zeros((size, values.shape[1]))
        for target, (first, last) in enumerate(zip([0, *ends.tolist()], ends.tolist())):
            if last == first + 1:
                out[target] = values[first]
            elif last > first:
                np.add.reduce(values[first:last], axis=0, out=out[target])
        return out
    from scipy.sparse import csr_matrix

    every = np.arange(index.size)
    sums = csr_matrix(
        (np.ones(index.size), every, np.concatenate([[0], ends])), shape=(size, index.size)
    )
    return np.asarray(sums @ values)


def in_turns(place: Ints) -> list[Ints]:
    """Split rows so that each turn has at most one row of a place, in the order given.

    Parameters
    ----------
    place : int64[N]
        At least 0.

    Returns
    -------
    list of int64
        The first row of every place, the second of those that have two, and so on.
    """
    if not place.size:
        return []
    order = np.argsort(place, kind="stable")
    ordered = place[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    rank = np.arange(place.size) - np.repeat(starts, np.diff(np.append(starts, place.size)))
    by_rank = np.argsort(rank, kind="stable")
    return np.split(order[by_rank], np.flatnonzero(np.diff(rank[by_rank])) + 1)


def least_by(values: Floats, index: Ints, size: int, start: float) -> Floats:
    """Return the least of the values of each target, at most `start`.

    Parameters
    ----------
    values : float64[N]
    index : int64[N]
        Target of each value, at least 0.
    size : int
        Number of targets.
    start : float
        What a target without values has.
    """
    out = np.full(size, start)
    if not index.size:
        return out
    ordered = index
    if (index[1:] < index[:-1]).any():
        order = np.argsort(index, kind="stable")
        ordered, values = index[order], values[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    targets = ordered[starts]
    out[targets] = np.minimum(start, np.minimum.reduceat(values, starts))
    return out
