"""A recorded fall replayed: fragility before, during and after, and what the engine would have cut.

The comparison of predicted cuts with positions that shrank is **unidentified evidence**; the
reasons are :data:`REASONS` and travel with every result. No precision is claimed or computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade.depth_basis import ContractDepth, contract_depth
from crossmargin.cascade.fragility import Fragility, Move, fragility
from crossmargin.cascade.population import Population
from crossmargin.cascade.recorded import (
    Coverage,
    RecordedPopulation,
    population_from_records,
    snapshot_at,
)
from crossmargin.errors import CascadeError
from crossmargin.liquidation import Brackets
from crossmargin.venues import PositionRecords

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Why the comparison identifies nothing.
REASONS = (
    "the accounts are a leaderboard of profit over a day and a week, not a sample; most that "
    "vanish merely left it, and they are not in the comparison",
    "holders cut, close and top up of their own accord; a smaller position says nothing of who "
    "closed it",
    "an account that the engine cuts was held as it stood before: transfers, orders and trades in "
    "between are not seen",
    "the path of prices between snapshots is another venue's where one is supplied, and a straight "
    "line where none is",
    "whoever was liquidated whole has lost its profit and with it its place on the leaderboard",
)

#: What became of a position, in the order of the table.
FATES = ("gone", "smaller", "as before", "larger", "turned")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathOfPrices:
    """Closes of some coins between snapshots.

    Attributes
    ----------
    time_ns : int64[T]
        Rising.
    close : dict of str to float64[T]
        By coin, US dollars; NaN where a coin has no price at that time.
    reference : str
        Coin whose deviation from a straight line other coins are given.
    """

    time_ns: Ints
    close: Mapping[str, Floats]
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One snapshot of the replay.

    Attributes
    ----------
    label : str
        ``before``, ``during``, ``after``.
    moment_ns : int
    coverage : Coverage
    fragility : Fragility
    depth : ContractDepth
    marks : dict of str to float
    """

    label: str
    moment_ns: int
    coverage: Coverage
    fragility: Fragility
    depth: ContractDepth
    marks: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Predicted cuts against what was seen, for addresses in both snapshots.

    Attributes
    ----------
    between : tuple of int
        Moments of the two snapshots, ns UTC.
    addresses, addresses_before : int
        In both snapshots, and in the first.
    positions : int
        Compared.
    count : dict of str to dict of str to int
        ``cut`` (the engine would have) and ``not cut``, by fate of the position.
    value : dict of str to dict of str to float
        The same in US dollars before the fall.
    accounts_cut : int
        Pots that come below their line on the path.
    steps : int
        Price vectors on the path.
    worst : dict of str to float
        Lowest return of the largest coins on the path.
    reasons : tuple of str
        Why nothing is identified.
    """

    between: tuple[int, int]
    addresses: int
    addresses_before: int
    positions: int
    count: dict[str, dict[str, int]]
    value: dict[str, dict[str, float]]
    accounts_cut: int
    steps: int
    worst: dict[str, float]
    reasons: tuple[str, ...] = REASONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Outcome of :func:`replay_records`.

    Attributes
    ----------
    moments : tuple of Moment
        Everybody recorded at each moment.
    common : tuple of Moment
        The same for the addresses that are in all three: like with like. Empty where none is.
    evidence : tuple of Evidence
        Before to during, during to after, before to after.
    """

    moments: tuple[Moment, ...]
    common: tuple[Moment, ...]
    evidence: tuple[Evidence, ...]


def replay_records(
    records: PositionRecords,
    brackets: Mapping[str, Brackets],
    times_ns: Sequence[int],
    *,
    values: Mapping[int, Mapping[str, float]] | None = None,
    depth: Mapping[str, float] | None = None,
    volume: Mapping[str, float] | None = None,
    path: PathOfPrices | None = None,
    moves: Sequence[Move] = (-0.2, -0.1, 0.1, 0.2),
    contracts: int = 5,
) -> Replay:
    """Replay a recorded fall.

    Parameters
    ----------
    records : PositionRecords
    brackets : mapping of str to Brackets
        Maintenance by coin.
    times_ns : sequence of int
        Before, during and after: the first snapshot at or after each is taken.
    values : mapping of int to mapping, optional
        Recorded equity by moment (ns) and account.
    depth, volume : mapping of str to float, optional
        As of :func:`crossmargin.cascade.depth_basis.contract_depth`.
    path : PathOfPrices, optional
        Prices between the snapshots.
    moves, contracts
        As of :func:`crossmargin.cascade.fragility.fragility`.

    Raises
    ------
    CascadeError
        ``CAS-022`` where a snapshot is not there, or the three are not in order of time.
    """
    places = [snapshot_at(records, t) for t in times_ns]
    if len(places) != 3 or not places[0] < places[1] < places[2]:
        raise CascadeError(
            "before, during and after must be three snapshots in order of time",
            code="CAS-022",
            field="times",
        )
    known = values or {}

    def moment(label: str, place: int, only: frozenset[str] | None) -> tuple[Moment, Population]:
        when = int(records.moments_ns[place])
        made = population_from_records(records, place, brackets, values=known.get(when), only=only)
        return _moment(label, made, depth, volume, moves, contracts), made.population

    labels = ("before", "during", "after")
    whole = [moment(label, place, None) for label, place in zip(labels, places)]
    three = frozenset.intersection(*(_addresses(records, place) for place in places))
    common = [moment(label, place, three)[0] for label, place in zip(labels, places) if three]
    return Replay(
        moments=tuple(one for one, _ in whole),
        common=tuple(common),
        evidence=tuple(
            evidence_between(records, (places[a], places[b]), whole[a][1], path)
            for a, b in ((0, 1), (1, 2), (0, 2))
        ),
    )


def _addresses(records: PositionRecords, place: int) -> frozenset[str]:
    found = np.unique(records.account[records.snapshot == place])
    return frozenset(records.accounts[a] for a in found.tolist())


def _moment(
    label: str,
    made: RecordedPopulation,
    depth: Mapping[str, float] | None,
    volume: Mapping[str, float] | None,
    moves: Sequence[Move],
    contracts: int,
) -> Moment:
    p = made.population
    given = {c: x for c, x in (depth or {}).items() if c == "*" or c in p.contracts}
    found = contract_depth(p.contracts, supplied=given, volume=volume)
    return Moment(
        label=label,
        moment_ns=made.coverage.moment_ns,
        coverage=made.coverage,
        fragility=fragility(p, found.usd, moves=moves, contracts=contracts),
        depth=found,
        marks=dict(zip(p.contracts, p.price.tolist())),
    )


def price_path(
    records: PositionRecords, first: int, last: int, coins: Sequence[str], path: PathOfPrices | None
) -> Floats:
    """Prices of coins between two snapshots, float64[T, K].

    Between recorded snapshots the logarithm of a mark goes in a straight line. A coin with prices
    of its own on the path departs from its line as those depart from theirs; any other coin
    departs as the reference does (a beta of 1: house).

    Parameters
    ----------
    records : PositionRecords
    first, last : int
        Snapshots.
    coins : sequence of str
    path : PathOfPrices, optional
        Without it only the snapshots themselves are steps.
    """
    knots = np.arange(first, last + 1)
    at = records.moments_ns[knots].astype(np.float64)
    marks = np.array([_marks(records, int(s), coins) for s in knots])
    logs = np.log(_filled(marks))
    if path is None:
        return np.exp(logs)
    # The steps of the reference: the finest grid of any coin would only repeat the others.
    inside = (path.time_ns > at[0]) & (path.time_ns < at[-1])
    inside &= np.isfinite(path.close[path.reference])
    steps = np.unique(np.concatenate([at, path.time_ns[inside].astype(np.float64)]))
    own = {coin: _departure(path, close, at, steps) for coin, close in path.close.items()}
    shared = own.get(path.reference, np.zeros(steps.size))
    columns = [
        np.interp(steps, at, logs[:, k]) + own.get(coin, shared) for k, coin in enumerate(coins)
    ]
    return np.asarray(np.exp(np.stack(columns, axis=1)))


def _departure(path: PathOfPrices, close: Floats, at: Floats, steps: Floats) -> Floats:
    """How a coin's closes depart from straight lines between the snapshots, in logarithms."""
    good = np.isfinite(close) & (close > 0)
    if good.sum() < 2:
        return np.zeros(steps.size)
    times, logs = path.time_ns[good].astype(np.float64), np.log(close[good])
    here = np.interp(steps, times, logs)
    line = np.interp(steps, at, np.interp(at, times, logs))
    # Where the series has ended there is nothing to depart from.
    return np.where((steps >= times[0]) & (steps <= times[-1]), here - line, 0.0)


def _marks(records: PositionRecords, place: int, coins: Sequence[str]) -> list[float]:
    rows = records.snapshot == place
    index = {name: c for c, name in enumerate(records.coins)}
    out = []
    for coin in coins:
        mine = records.mark[rows & (records.coin == index[coin])]
        out.append(float(np.median(mine)) if mine.size else np.nan)
    return out


def _filled(marks: Floats) -> Floats:
    """Fill marks that a snapshot lacks: the last one seen, before the first the first."""
    out = marks.copy()
    for k in range(out.shape[1]):
        seen = np.flatnonzero(np.isfinite(out[:, k]))
        if seen.size:
            place = np.maximum(np.searchsorted(seen, np.arange(out.shape[0]), side="right") - 1, 0)
            out[:, k] = out[seen[place], k]
    return out


def evidence_between(
    records: PositionRecords,
    places: tuple[int, int],
    before: Population,
    path: PathOfPrices | None = None,
) -> Evidence:
    """Hold predicted cuts against what became of positions between two snapshots.

    An account is predicted to be cut where it comes below its line at any price vector of the
    path, its positions and cash held as they stood before.

    Parameters
    ----------
    records : PositionRecords
    places : tuple of int
        Two snapshots, in order of time.
    before : Population
        Of the first.
    path : PathOfPrices, optional
        Prices between them.
    """
    first, last = places
    both = _addresses(records, first) & _addresses(records, last)
    prices = price_path(records, first, last, before.contracts, path)
    breached = np.zeros(before.size, dtype=bool)
    for vector in prices:
        breached |= before.equity(vector) < before.maintenance(vector)
    after = {
        (records.accounts[int(a)], records.coins[int(c)]): float(q)
        for a, c, q, s in zip(
            records.account, records.coin, records.quantity, records.snapshot, strict=True
        )
        if s == last
    }
    empty = dict.fromkeys(FATES, 0)
    count = {"cut": dict(empty), "not cut": dict(empty)}
    value = {key: dict.fromkeys(FATES, 0.0) for key in count}
    usd = np.abs(before.quantity) * before.price[before.contract]
    compared = 0
    for n, account in enumerate(before.account.tolist()):
        address = before.name(account).partition("/")[0]
        if address not in both:
            continue
        key = "cut" if breached[account] else "not cut"
        held = float(before.quantity[n])
        fate = _fate(held, after.get((address, before.contracts[int(before.contract[n])]), 0.0))
        count[key][fate] += 1
        value[key][fate] += float(usd[n])
        compared += 1
    drops = prices.min(axis=0) / prices[0] - 1.0
    return Evidence(
        between=(int(records.moments_ns[first]), int(records.moments_ns[last])),
        addresses=len(both),
        addresses_before=len(_addresses(records, first)),
        positions=compared,
        count=count,
        value=value,
        accounts_cut=int(breached.sum()),
        steps=int(prices.shape[0]),
        worst=dict(zip(before.contracts[:5], drops[:5].tolist())),
    )


def _fate(held: float, now: float) -> str:
    if now == 0.0:
        return "gone"
    if now * held < 0.0:
        return "turned"
    ratio = now / held
    return "smaller" if ratio < 1.0 - 1e-9 else "larger" if ratio > 1.0 + 1e-9 else "as before"
