"""What a pot's tail is made of: groups that net apart, units of every instrument, rows.

V of a group is its rows' sizes times the scenarios of their units.

Source: clearing-practice §1.6 (filtered historical simulation, published), §6 (house model).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import UnsetType
from numpy.typing import NDArray

from crossmargin.errors import MarketDataError, RulesetError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._arrange import unique_rows
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._scan import _stress_bounds
from crossmargin.margin.components import TailLeg
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import FactorHistory
from crossmargin.scenarios import (
    FactorScenarios,
    TailSets,
    TailSpec,
    factor_table,
    tail_sets,
)
from crossmargin.units import NS_PER_SECOND, parse_time

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TailGroups:
    """What may net apart: the positions and coins of one coin in one pot.

    Attributes
    ----------
    position, leg, balance : int64
        Group of each row; balances that take no part have -1.
    pot, asset : int64[G]
        Of each group, pots ascending.
    """

    position: Ints
    leg: Ints
    balance: Ints
    pot: Ints
    asset: Ints


def spec_of(ruleset: Ruleset) -> TailSpec:
    """Return the section ``tail``, with the figures of legs that are not charged at none."""
    spec = ruleset.data.tail
    if isinstance(spec, UnsetType):
        raise RulesetError(
            f"rule-set {ruleset.id!r} charges a tail and has no section of that name",
            code="RUL-005",
            field="tail",
        )
    there = {c.leg for c in ruleset.data.components if isinstance(c, TailLeg)}
    none = {"stress": "stress_weight", "buffer": "buffer", "floor": "floor", "break": "break_share"}
    changes: dict[str, float] = {key: 0.0 for leg, key in none.items() if leg not in there}
    if "offset" not in there:
        changes["offset_cap"] = 1.0
    return msgspec.structs.replace(spec, **changes) if changes else spec


def _history(frame: Frame, spec: TailSpec) -> FactorHistory:
    history = frame.view.history
    if history is None:
        raise MarketDataError(
            f"rule-set {frame.ruleset.id!r} looks back, and the market has no price history",
            code="MKT-044",
            field="history",
            hint="give daily closes with --history, or in the market's section history",
        )
    if not history.days:
        raise MarketDataError("the history has no days", code="MKT-044", field="history")
    end_ns = parse_time(f"{history.days[-1]}T00:00:00Z", field="history.days")
    age = (frame.view.as_of_ns - end_ns) / (86_400 * NS_PER_SECOND) - 1.0
    if age > spec.max_age_days:
        raise MarketDataError(
            f"the history ends on {history.days[-1]}, {age:,.0f} days before the market",
            code="MKT-044",
            field="history.days",
            hint="give a newer history, or raise tail.max_age_days",
        )
    return history


def tail_groups(frame: Frame) -> TailGroups:
    def make() -> TailGroups:
        a, book, follow = frame.arrangement, frame.book, frame.follow
        names = book.registry.assets
        rules = frame.ruleset.data.collateral.assets
        stressed = np.array(
            [
                rule is not None and rule.stress != "none" and name != "USD"
                for name in names
                for rule in [rules.get(name) or rules.get("default")]
            ],
            dtype=np.bool_,
        )
        some = np.flatnonzero(
            stressed[book.balance_asset] & (book.balance_asset != a.pot_asset[a.balance_pot])
            if names
            else np.zeros(0, dtype=np.bool_)
        )
        pot = np.concatenate(
            [a.group_pot[a.position_group], a.group_pot[a.leg_group], a.balance_pot[some]]
        )
        asset = np.concatenate(
            [
                a.group_underlying[a.position_group],
                a.group_underlying[a.leg_group],
                follow[book.balance_asset[some]],
            ]
        )
        (of_pot, of_asset), group = unique_rows(pot, asset)
        n, m = a.position_group.size, a.leg_group.size
        balance = np.full(book.balance_asset.size, -1, dtype=np.int64)
        balance[some] = group[n + m :]
        return TailGroups(group[:n], group[n : n + m], balance, of_pot, of_asset)

    return frame.once("tail groups", make)


@dataclass(frozen=True, slots=True)
class TailUnits:
    """What one unit of everything gains: columns filtered, then long, then stressed.

    Attributes
    ----------
    rows : float64[n + 2A, C]
        Instruments, in settlement units; the move of each asset; the move of its balances.
    coin : int64[A]
        Row of each asset among the coins of the history, or -1.
    edges : (int, int, int)
        Where filtered, long and stressed columns end.
    sets : TailSets
        The scenarios.
    """

    rows: Floats
    coin: Ints
    edges: tuple[int, int, int]
    sets: TailSets


def moves_of(frame: Frame, sets: TailSets, spec: TailSpec, coin: Ints) -> tuple[Floats, Floats]:
    """Return move and change of volatility of every asset of the registry, all columns."""
    parts = (sets.filtered, sets.long, sets.stress)
    names = frame.book.registry.assets

    def spread(pick: str) -> Floats:
        columns = []
        for part in parts:
            table: Floats = getattr(part, pick)
            rows = np.zeros((len(names), part.size))
            rows[coin >= 0] = table[coin[coin >= 0]]
            if part is sets.stress and pick == "move":
                _judged(rows, part, spec, names, coin)
            columns.append(rows)
        return np.concatenate(columns, axis=1)

    return spread("move"), spread("level")


def _judged(
    rows: Floats, part: FactorScenarios, spec: TailSpec, names: list[str], coin: Ints
) -> None:
    """Write hypothetical moves of assets that need no history into the last columns."""
    first = part.size - len(spec.hypothetical)
    for k, one in enumerate(spec.hypothetical):
        for asset, name in enumerate(names):
            if coin[asset] < 0 and name != "USD":
                rows[asset, first + k] = one.moves.get(name, one.moves.get("default", 0.0))


def basis_of(frame: Frame, sets: TailSets, spec: TailSpec, coin: Ints) -> Floats | None:
    """Return the log-change of price over coin of the instruments in use, all columns.

    Which factor an instrument loads on is said by the rule-set: its kind and its days to expiry.
    """
    rule = spec.basis
    if rule is None:
        return None
    terms, used = frame.terms, frame.used
    kinds = {code: kind for kind, code in KIND_CODE.items()}
    years = np.nan_to_num(frame.view.years[used], nan=0.0, posinf=0.0)
    entry = np.array(
        [
            rule.place(kinds[code], 365.0 * t)
            for code, t in zip(terms.kind[used].tolist(), years.tolist())
        ],
        dtype=np.int64,
    )
    of = coin[terms.underlying[used]]
    parts = (sets.filtered, sets.long, sets.stress)
    return np.concatenate([part.basis.of(of, entry, years) for part in parts], axis=1)


def tail_units(frame: Frame, spec: TailSpec) -> TailUnits:
    def make() -> TailUnits:
        sets = tail_sets(_history(frame, spec), spec)
        names = frame.book.registry.assets
        place = {name: k for k, name in enumerate(sets.coins) if sets.known[k]}
        coin = np.array([place.get(names[leader], -1) for leader in frame.follow], dtype=np.int64)
        move, level = moves_of(frame, sets, spec, coin)
        table = factor_table(
            frame.book.registry,
            frame.used,
            frame.view,
            move,
            level,
            spec.vol,
            basis=basis_of(frame, sets, spec, coin),
            kernel=frame.kernel,
        )
        low, high = _stress_bounds(frame, np.arange(len(names)))
        clipped = np.clip(move, low[:, None], high[:, None])
        first, second = sets.filtered.size, sets.filtered.size + sets.long.size
        return TailUnits(
            np.concatenate([table, move, clipped]),
            coin,
            (first, second, second + sets.stress.size),
            sets,
        )

    return frame.once_here("tail units", make)


def require_known(frame: Frame, units: TailUnits, spec: TailSpec, groups: TailGroups) -> None:
    """Refuse accounts that hold a coin whose past is not known."""
    names = frame.book.registry.assets
    free = {"USD", *spec.stable}
    missing = np.array([c < 0 and n not in free for c, n in zip(units.coin, names)], dtype=np.bool_)
    if not missing.any():
        return
    terms, book = frame.terms, frame.book
    index = np.concatenate([book.position_instrument, book.leg_instrument])
    pot = np.concatenate([groups.pot[groups.position], groups.pot[groups.leg]])
    asset = np.concatenate(
        [
            frame.follow[terms.underlying[index]],
            frame.follow[terms.settlement[index].astype(np.int64)],
            frame.follow[terms.quote[index].astype(np.int64)],
        ]
    )
    held = np.flatnonzero((groups.balance >= 0) & (book.balance_amount != 0.0))
    asset = np.concatenate([asset, frame.follow[book.balance_asset[held]]])
    pot = np.concatenate([pot, pot, pot, frame.arrangement.balance_pot[held]])
    rows = np.flatnonzero(missing[asset])

    def reason(row: int) -> MarketDataError:
        name = names[int(asset[rows[row]])]
        return MarketDataError(
            f"the history has no {spec.fewest} daily returns of {name}",
            code="MKT-044",
            field=f"history.prices.{name}",
            hint=f"add {name} to the history, or name it among tail.stable if it is a peg",
        )

    frame.refuse(pot[rows], reason)


@dataclass(frozen=True, slots=True)
class TailRows:
    """Rows of a pot's scenarios: which unit, how much of it, into which group."""

    unit: Ints
    size: Floats
    group: Ints
    position: Ints
    balance: Ints


def tail_rows(frame: Frame, groups: TailGroups, quantity: Floats, amount: Floats) -> TailRows:
    """List positions, what they hold in their settlement asset, and balances."""
    book, a, count = frame.book, frame.arrangement, len(frame.book.registry)
    assets = len(frame.book.registry.assets)
    profit, value = frame.position_values(quantity)
    rate = frame.position_rate
    settle = frame.terms.settlement[book.position_instrument].astype(np.int64)
    n = quantity.size
    b = np.flatnonzero((groups.balance >= 0) & frame.live_pot[a.balance_pot])
    asset = book.balance_asset[b]
    usd = frame.asset_usd_or_one[asset] / frame.pot_usd[a.balance_pot[b]]
    held = (profit + value) * rate
    return TailRows(
        np.concatenate([book.position_instrument, count + settle, count + assets + asset]),
        np.concatenate([quantity * rate, held, amount[b] * usd]),
        np.concatenate([groups.position, groups.position, groups.balance[b]]),
        np.concatenate([np.arange(n), np.arange(n), np.full(b.size, -1)]),
        np.concatenate([np.full(2 * n, -1), b]),
    )


def order_losses(frame: Frame, units: TailUnits, groups: TailGroups) -> tuple[Floats, Ints, Ints]:
    """Return what fills can lose by (order, group), their orders and groups.

    ``max(0, ℓ)``: an order fills where that hurts and rests where it helps; of an order over
    several coins each part by itself, which is never less.
    """
    book, a = frame.book, frame.arrangement
    rate = frame.segment_rate[a.leg_segment]
    gain = frame.fill_gain(book.leg_instrument, frame.leg_quantity, book.leg_price)
    fee = frame.ruleset.data.orders.fee_rate * frame.notional(
        book.leg_instrument, frame.leg_quantity
    )
    pnl = (frame.leg_quantity * rate)[:, None] * units.rows[book.leg_instrument]
    pnl += ((gain - fee) * rate)[:, None]
    pair, row = np.unique(book.leg_order * groups.pot.size + groups.leg, return_inverse=True)
    loss = np.maximum(0.0, -sum_by(pnl, row, pair.size))
    return loss, pair // groups.pot.size, pair % groups.pot.size


def group_vectors(units: TailUnits, rows: TailRows, mine: Ints, first: int, last: int) -> Floats:
    """Return V of groups `first` to `last`, ``[G, C]``."""
    from scipy.sparse import csr_matrix

    group = rows.group[mine] - first
    start = np.searchsorted(group, np.arange(last - first + 1))
    table = csr_matrix(
        (rows.size[mine], rows.unit[mine], start), shape=(last - first, units.rows.shape[0])
    )
    return np.asarray(table @ units.rows)
