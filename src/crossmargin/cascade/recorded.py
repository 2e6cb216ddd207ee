"""A population from recorded positions, with equity implied from stated liquidation prices.

A venue that states a position's liquidation price P says what the account can lose: with the
mark p, the quantity q and the position's own requirement MM(·),

    equity − ΣMM = MM(|q|·P) − MM(|q|·p) − q·(P − p)

All cross positions of an account imply the same number (docs/models/hyperliquid.md), so what two
of them agree on is the account's. Equity recorded beside the positions (a leaderboard's) is used
only where no liquidation price is stated. Every account says which it is.

Source: Hyperliquid documentation, trading/liquidations (published, venues.md §5); agreement and
classes are house.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade.population import Population, population
from crossmargin.errors import CascadeError
from crossmargin.liquidation import Brackets
from crossmargin.units import format_time
from crossmargin.venues import PositionRecords

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Where an account's equity is from; in the order of preference.
BASES = ("agreed", "one price", "largest of several", "recorded value")
#: Positions agree on the available margin within this share of their value plus one cent.
AGREEMENT = 1e-6

#: Older brackets are looked for at whole max leverages up to this.
_MAX_LEVERAGE = 50

_LEFT_OUT = ("no brackets", "no equity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What a recorded population stands on.

    Attributes
    ----------
    moment_ns : int
        Of the snapshot, ns UTC.
    accounts, positions : dict of str to int
        How many, by basis of equity (:data:`BASES`) and reason of leaving out (``no brackets``,
        ``no equity``).
    value : dict of str to float
        Notional, US dollars, likewise.
    isolated : int
        Positions put into a pot of their own.
    implied_share, implied_value_share : float
        Share of positions and of value whose equity is implied from a liquidation price.
    used_value_share : float
        Share of value that the population has at all.
    unobtained : int
        Accounts on the leaderboard whose positions were not obtained; they are not flat.
    market_share : dict of str to float
        By coin: longs of the population over the venue's open interest; empty where it was not
        recorded at the time.
    """

    moment_ns: int
    accounts: dict[str, int]
    positions: dict[str, int]
    value: dict[str, float]
    isolated: int
    implied_share: float
    implied_value_share: float
    used_value_share: float
    unobtained: int = 0
    market_share: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPopulation:
    """A population, and how sure it is.

    Attributes
    ----------
    population : Population
        Ids are addresses; an isolated pot is ``address/coin``.
    coverage : Coverage
    basis : tuple of str [A]
        Of each account's equity.
    liquidation : float64[N]
        Stated liquidation price of each position, US dollars; NaN where none is.
    """

    population: Population
    coverage: Coverage
    basis: tuple[str, ...]
    liquidation: Floats


@dataclass(slots=True)
class _Pot:
    """One pot on its way into the population."""

    name: str
    owner: str
    rows: list[int]
    available: float
    basis: str
    equity: float = 0.0


def snapshot_at(records: PositionRecords, moment_ns: int) -> int:
    """Return the first snapshot at or after a moment.

    Raises
    ------
    CascadeError
        ``CAS-022`` where there is none.
    """
    place = int(np.searchsorted(records.moments_ns, moment_ns))
    if place == records.moments_ns.size:
        last = format_time(int(records.moments_ns[-1]))
        raise CascadeError(
            f"no snapshot was recorded at or after {format_time(moment_ns)}; the last is of {last}",
            code="CAS-022",
            field="at",
        )
    return place


def population_from_records(
    records: PositionRecords,
    snapshot: int,
    brackets: Mapping[str, Brackets],
    *,
    values: Mapping[str, float] | None = None,
    only: frozenset[str] | None = None,
) -> RecordedPopulation:
    """Build the population of one snapshot.

    Parameters
    ----------
    records : PositionRecords
        Of a venue.
    snapshot : int
        Index into its moments.
    brackets : mapping of str to Brackets
        Maintenance by coin. Positions in other coins are left out and counted.
    values : mapping of str to float, optional
        Equity by account, US dollars, for accounts without a liquidation price.
    only : set of str, optional
        Keep these accounts.

    Raises
    ------
    CascadeError
        ``CAS-022`` where nothing is left.
    """
    picked = np.flatnonzero(records.snapshot == snapshot)
    if only is not None:
        keep = np.array([name in only for name in records.accounts], dtype=bool)
        picked = picked[keep[records.account[picked]]]
    known = np.array([coin in brackets for coin in records.coins], dtype=bool)
    rows = picked[known[records.coin[picked]]]
    implied = _implied(records, rows, brackets)
    pots: list[_Pot] = []
    lost = list[int]()
    for account in np.unique(records.account[rows]).tolist():
        mine = np.flatnonzero(records.account[rows] == account)
        made, gone = _pots(records, rows, mine, implied, values or {}, brackets)
        pots += made
        lost += gone
    if not pots:
        raise CascadeError(
            "no account of the snapshot can be used",
            code="CAS-022",
            field="records",
            hint="brackets of its coins, and liquidation prices or values, are needed",
        )
    return _assemble(records, snapshot, brackets, pots, (picked, rows, lost))


def _mm(table: Brackets, notional: Floats) -> Floats:
    floors, rates = np.array(table.floors), np.array(table.rates)
    less = np.concatenate([[0.0], np.cumsum(floors[1:] * np.diff(rates))])
    place = np.maximum(np.searchsorted(floors, notional, side="left") - 1, 0)
    return np.asarray(rates[place] * notional - less[place])


def _implied(records: PositionRecords, rows: Ints, brackets: Mapping[str, Brackets]) -> Floats:
    """Available margin that each row's liquidation price implies; NaN where none is stated."""
    out = np.full(rows.size, np.nan)
    for coin in np.unique(records.coin[rows]).tolist():
        at = np.flatnonzero(records.coin[rows] == coin)
        mine, table = rows[at], brackets[records.coins[coin]]
        q, p, stop = records.quantity[mine], records.mark[mine], records.liquidation[mine]
        size = np.abs(q)
        own = _mm(table, size * np.nan_to_num(stop)) - _mm(table, size * p)
        out[at] = own - q * (stop - p)
    return out


def _pots(
    records: PositionRecords,
    rows: Ints,
    mine: Ints,
    implied: Floats,
    values: Mapping[str, float],
    brackets: Mapping[str, Brackets],
) -> tuple[list[_Pot], list[int]]:
    """Split one account into its cross pot and isolated ones; say which rows have no equity."""
    name = records.accounts[int(records.account[rows[mine[0]]])]
    fenced = [m for m in mine.tolist() if records.isolated[rows[m]] == 1]
    cross = [m for m in mine.tolist() if records.isolated[rows[m]] != 1]
    priced = [m for m in cross if np.isfinite(implied[m])]
    pots, lost = list[_Pot](), list[int]()
    agreed, others = _agreement(records, rows, priced, implied)
    if agreed is not None and len(priced) > len(others) > 0:
        # The mode is not recorded everywhere: who shares no margin with the rest is isolated.
        unknown = [
            m
            for m in others
            if records.isolated[rows[m]] == -1 and not _older(records, int(rows[m]), agreed)
        ]
        fenced += unknown
        cross = [m for m in cross if m not in set(unknown)]
    if cross:
        basis, available = _basis(records, rows, cross, priced, agreed, implied)
        if basis == "recorded value":
            need = _need(records, rows[cross], brackets)
            value = values.get(name)
            if value is None or value <= need:
                # Below its requirement it would not be alive: the value is another wallet's.
                lost += [int(rows[m]) for m in cross]
                cross = []
            else:
                available = value - need
        if cross:
            pots.append(_Pot(name, name, [int(rows[m]) for m in cross], available, basis))
    for m in fenced:
        if np.isfinite(implied[m]):
            label = f"{name}/{records.coins[int(records.coin[rows[m]])]}"
            pots.append(_Pot(label, name, [int(rows[m])], float(implied[m]), "one price"))
        else:
            lost.append(int(rows[m]))
    return pots, lost


def _need(records: PositionRecords, rows: Ints, brackets: Mapping[str, Brackets]) -> float:
    return sum(
        brackets[records.coins[int(records.coin[r])]].mm(
            abs(float(records.quantity[r])) * float(records.mark[r])
        )
        for r in rows.tolist()
    )


def _agreement(
    records: PositionRecords, rows: Ints, priced: list[int], implied: Floats
) -> tuple[float | None, list[int]]:
    """Return the margin that most positions agree on (two at least), and who does not."""
    if len(priced) < 2:
        return None, []
    a = implied[priced]
    value = np.abs(records.quantity[rows[priced]]) * records.mark[rows[priced]]
    room = AGREEMENT * (value[:, None] + value[None, :]) + 0.01
    same = np.abs(a[:, None] - a[None, :]) <= room
    # Most voices; of equally many, the most value.
    voices = same.sum(axis=1)
    best = max(range(len(priced)), key=lambda i: (int(voices[i]), float((same[i] * value).sum())))
    if voices[best] < 2:
        return None, []
    # The smallest position has the least rounding in it.
    inside = np.flatnonzero(same[best])
    pick = inside[int(np.argmin(value[inside]))]
    return float(a[pick]), [m for m, ok in zip(priced, same[best]) if not ok]


def _older(records: PositionRecords, row: int, agreed: float) -> bool:
    """Whether some single bracket makes a position agree: it is cross, under older brackets.

    The venue leaves open positions under the brackets they were opened in; its rates are half of
    one over a whole max leverage (docs/models/hyperliquid.md).
    """
    q, p, stop = (float(x[row]) for x in (records.quantity, records.mark, records.liquidation))
    rates = 0.5 / np.arange(1, _MAX_LEVERAGE + 1)
    found = (rates * abs(q) - q) * (stop - p)
    return bool((np.abs(found - agreed) <= AGREEMENT * abs(q) * p + 0.01).any())


def _basis(
    records: PositionRecords,
    rows: Ints,
    cross: list[int],
    priced: list[int],
    agreed: float | None,
    implied: Floats,
) -> tuple[str, float]:
    if agreed is not None:
        return "agreed", agreed
    if not priced:
        return "recorded value", np.nan
    value = [abs(float(records.quantity[rows[m]] * records.mark[rows[m]])) for m in priced]
    largest = priced[int(np.argmax(value))]
    return ("one price" if len(priced) == 1 else "largest of several"), float(implied[largest])


def _assemble(
    records: PositionRecords,
    snapshot: int,
    brackets: Mapping[str, Brackets],
    pots: list[_Pot],
    counts: tuple[Ints, Ints, list[int]],
) -> RecordedPopulation:
    picked, rows, lost = counts
    used = np.array([r for pot in pots for r in pot.rows], dtype=np.int64)
    value = np.abs(records.quantity) * records.mark
    coins, price = _coins(records, used, value)
    place = {coin: k for k, coin in enumerate(coins)}
    first = {pot.owner: at for at, pot in reversed(list(enumerate(pots)))}
    tables = tuple(brackets[records.coins[c]] for c in coins)
    cash = np.empty(len(pots))
    for at, pot in enumerate(pots):
        mine = np.array(pot.rows)
        pot.equity = pot.available + _need(records, mine, brackets)
        gain = records.quantity[mine] * (records.mark[mine] - records.entry[mine])
        cash[at] = pot.equity - float(gain.sum())
    made = population(
        contracts=[records.coins[c] for c in coins],
        price=price,
        mm_rate=[table.rates[0] for table in tables],
        brackets=tables,
        cash=cash,
        start=np.concatenate([[0], np.cumsum([len(pot.rows) for pot in pots])]),
        contract=[place[int(c)] for c in records.coin[used]],
        quantity=records.quantity[used],
        entry=records.entry[used],
        isolated=["/" in pot.name for pot in pots],
        owner=[first[pot.owner] for pot in pots],
        ids=[pot.name for pot in pots],
    )
    return RecordedPopulation(
        population=made,
        coverage=_coverage(records, snapshot, pots, value, (picked, rows, lost)),
        basis=tuple(pot.basis for pot in pots),
        liquidation=records.liquidation[used],
    )


def _coins(records: PositionRecords, used: Ints, value: Floats) -> tuple[list[int], Floats]:
    """Coins by falling value, and the mark of each: the middle one of its positions."""
    total = np.bincount(records.coin[used], value[used], minlength=len(records.coins))
    coins = [int(c) for c in np.argsort(-total, kind="stable") if total[c] > 0]
    marks = [float(np.median(records.mark[used][records.coin[used] == c])) for c in coins]
    return coins, np.array(marks)


def _coverage(
    records: PositionRecords,
    snapshot: int,
    pots: list[_Pot],
    value: Floats,
    counts: tuple[Ints, Ints, list[int]],
) -> Coverage:
    picked, rows, lost = counts
    groups: dict[str, list[list[int]]] = {name: [] for name in (*BASES, *_LEFT_OUT)}
    for pot in pots:
        groups[pot.basis].append(pot.rows)
    without = np.setdiff1d(picked, rows)
    for reason, gone in (("no brackets", without.tolist()), ("no equity", lost)):
        by_account: dict[int, list[int]] = {}
        for r in gone:
            by_account.setdefault(int(records.account[r]), []).append(r)
        groups[reason] = list(by_account.values())
    sums = {
        name: float(sum(value[np.array(part)].sum() for part in parts if part))
        for name, parts in groups.items()
    }
    count = {name: sum(len(part) for part in parts) for name, parts in groups.items()}
    whole, every = sum(sums.values()), sum(count.values())
    implied = BASES[:3]
    return Coverage(
        moment_ns=int(records.moments_ns[snapshot]),
        accounts={name: len(parts) for name, parts in groups.items()},
        positions=count,
        value=sums,
        isolated=sum("/" in pot.name for pot in pots),
        implied_share=sum(count[b] for b in implied) / every,
        implied_value_share=sum(sums[b] for b in implied) / whole,
        used_value_share=1.0 - sum(sums[r] for r in _LEFT_OUT) / whole,
    )
