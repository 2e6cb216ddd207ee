"""Open interest and leverage of recorded accounts, snapshot by snapshot.

The accounts of a recording come and go (a leaderboard's do), and that is no trade: a step is read
from the accounts that are in both of its snapshots.

Source: requirements rows A09 (leverage and open interest through time) and A21 (quadrants). The
restriction to common accounts is the house's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade._exposure import exposure_of
from crossmargin.cascade.interest_view import InterestView, interest_view
from crossmargin.cascade.open_interest import Quadrant, quadrants
from crossmargin.cascade.population import Population
from crossmargin.cascade.recorded import Coverage
from crossmargin.cascade.recorded_folder import RecordedFolder

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class InterestMoment:
    """One snapshot.

    Attributes
    ----------
    moment_ns : int
    view : InterestView
    coverage : Coverage
    common : int
        Accounts that the snapshot before has as well; 0 in the first.
    reading : dict of str to (str, float, float)
        By contract, of the accounts common with the snapshot before: quadrant, relative change of
        price, relative change of open interest.
    """

    moment_ns: int
    view: InterestView
    coverage: Coverage
    common: int
    reading: dict[str, tuple[Quadrant, float, float]]


def population_view(
    folder: RecordedFolder,
    moment_ns: int,
    *,
    supplied: Mapping[str, float] | None = None,
    moves: Sequence[float] = (-0.2, -0.1, 0.1, 0.2),
    capital: float | None = None,
    limit: float = 1.0,
) -> tuple[InterestView, Population, Coverage]:
    """Take the first snapshot at or after a moment apart; see :func:`interest_view`."""
    found = folder.population(moment_ns)
    people = found.population
    depth = folder.depth(found, dict(supplied or {}))
    exposed = exposure_of(people)
    view = interest_view(
        people.contracts, exposed.notional, exposed.gained, people.equity(), depth.usd,
        moves=moves, capital=capital, limit=limit,
    )  # fmt: skip
    return view, people, found.coverage


def interest_through_time(
    folder: RecordedFolder,
    *,
    until_ns: int | None = None,
    supplied: Mapping[str, float] | None = None,
    moves: Sequence[float] = (-0.1,),
    least: float = 0.001,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[InterestMoment, ...]:
    """Take every snapshot of a recording apart, and read the steps between them.

    Parameters
    ----------
    folder : RecordedFolder
    until_ns : int, optional
        The last moment that counts.
    supplied : mapping of str to float, optional
        Depth by contract; see :func:`crossmargin.cascade.depth_basis.contract_depth`.
    moves : sequence of float
        Of the leverage after a move.
    least : float
        Relative changes up to this are none.
    progress : callable, optional
        Called with snapshots done and in all.
    """
    moments = [
        int(t) for t in folder.records.moments_ns.tolist() if until_ns is None or t <= until_ns
    ]
    found: list[InterestMoment] = []
    before: Population | None = None
    for k, moment in enumerate(moments):
        view, people, coverage = population_view(folder, moment, supplied=supplied, moves=moves)
        common, reading = 0, dict[str, tuple[Quadrant, float, float]]()
        if before is not None:
            common, reading = _read_step(before, people, least)
        found.append(
            InterestMoment(
                moment_ns=moment, view=view, coverage=coverage, common=common, reading=reading
            )
        )
        before = people
        if progress is not None:
            progress(k + 1, len(moments))
    return tuple(found)


def _read_step(
    before: Population, after: Population, least: float
) -> tuple[int, dict[str, tuple[Quadrant, float, float]]]:
    both = _people(before) & _people(after)
    a, b = _interest(before, both), _interest(after, both)
    prices = [dict(zip(p.contracts, p.price.tolist())) for p in (before, after)]
    found = {}
    for name in sorted(set(a) & set(b)):
        if a[name] > 0:
            p = [prices[0][name], prices[1][name]]
            (word,) = quadrants(p, [a[name], b[name]], least=least)
            found[name] = (word, p[1] / p[0] - 1.0, b[name] / a[name] - 1.0)
    return len(both), found


def _people(population: Population) -> set[str]:
    """Return who is there; a pot of its own is its owner's, ``address/coin``."""
    return {name.partition("/")[0] for name in population.ids or ()}


def _interest(population: Population, chosen: set[str]) -> dict[str, float]:
    """Return the larger side of each contract over the chosen accounts, coins."""
    mine = np.array([name.partition("/")[0] in chosen for name in population.ids or ()], dtype=bool)
    q = np.where(mine[population.account], population.quantity, 0.0)
    count = len(population.contracts)
    sides = [
        np.bincount(population.contract, np.maximum(sign * q, 0.0), minlength=count)
        for sign in (1.0, -1.0)
    ]
    return dict(zip(population.contracts, np.maximum(*sides).tolist()))
