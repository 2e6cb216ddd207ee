"""The tail of a pot: positions × scenarios of all coins together, then expected shortfall.

The two steps of every scenario method, over a pot as a whole: V_g,s is what the positions and
coins of group g gain in scenario s; shortfalls are those of Σ_g V_g and of each V_g. Breaking
dependence is taking the scenarios of each group in another order, so it needs no second table.

Source: clearing-practice §1.6 (filtered historical simulation, published), §6 (house model).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import UnsetType
from numpy.typing import NDArray

from crossmargin.errors import MarketDataError, RulesetError, invariant
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._arrange import unique_rows
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._scan import _stress_bounds, capped_losses
from crossmargin.margin._tail_law import (
    Legs,
    Shortfalls,
    legs_of,
    orders_of,
    shortfalls_of,
    stacked,
)
from crossmargin.margin.components import TailLeg
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import FactorHistory
from crossmargin.scenarios import (
    FactorScenarios,
    TailSets,
    TailSpec,
    factor_table,
    tail_sets,
    taylor_check,
)
from crossmargin.stats import (
    shortfall_errors,
    tail_mass,
    tail_quantiles,
    tail_shortfalls,
    tail_weights,
)
from crossmargin.units import NS_PER_SECOND, parse_time

if TYPE_CHECKING:
    from crossmargin.margin._stages import Stage

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Pots done at a time: what they need in between stays in the processor's cache, nearly.
_POTS = 128


@dataclass(frozen=True, slots=True)
class PotPart:
    """A component of pots with shares.

    Attributes
    ----------
    im, mm : float64[P]
        In the pot's numeraire.
    share_im, share_mm : float64[N]
        ``q·∂/∂q`` by position.
    balance_im, balance_mm : float64[B]
        The same by balance.
    """

    im: Floats
    mm: Floats
    share_im: Floats
    share_mm: Floats
    balance_im: Floats
    balance_mm: Floats


@dataclass(frozen=True, slots=True)
class TailLevel:
    """The tail at one confidence.

    Attributes
    ----------
    shortfalls : Shortfalls
        Of every pot and group.
    legs : Legs
        What they come to.
    cap : float64[P]
        What a pot that owns options and spot only is spared, at most 0.
    binding : int64[P]
        Which broken dependence was worst; -1 for none.
    share, balance_share : float64[N], float64[B]
        By position and balance.
    """

    shortfalls: Shortfalls
    legs: Legs
    cap: Floats
    binding: Ints
    share: Floats
    balance_share: Floats


@dataclass(frozen=True, slots=True)
class _Groups:
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


def _groups(frame: Frame) -> _Groups:
    def make() -> _Groups:
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
        return _Groups(group[:n], group[n : n + m], balance, of_pot, of_asset)

    return frame.once("tail groups", make)


@dataclass(frozen=True, slots=True)
class _Units:
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


def _moves(frame: Frame, sets: TailSets, spec: TailSpec, coin: Ints) -> tuple[Floats, Floats]:
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


def _units(frame: Frame, spec: TailSpec) -> _Units:
    def make() -> _Units:
        sets = tail_sets(_history(frame, spec), spec)
        names = frame.book.registry.assets
        place = {name: k for k, name in enumerate(sets.coins) if sets.known[k]}
        coin = np.array([place.get(names[leader], -1) for leader in frame.follow], dtype=np.int64)
        move, level = _moves(frame, sets, spec, coin)
        table = factor_table(
            frame.book.registry, frame.used, frame.view, move, level, spec.vol, kernel=frame.kernel
        )
        low, high = _stress_bounds(frame, np.arange(len(names)))
        clipped = np.clip(move, low[:, None], high[:, None])
        first, second = sets.filtered.size, sets.filtered.size + sets.long.size
        return _Units(
            np.concatenate([table, move, clipped]),
            coin,
            (first, second, second + sets.stress.size),
            sets,
        )

    return frame.once_here("tail units", make)


def _require_known(frame: Frame, units: _Units, spec: TailSpec, groups: _Groups) -> None:
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
class _Rows:
    """Rows of a pot's scenarios: which unit, how much of it, into which group."""

    unit: Ints
    size: Floats
    group: Ints
    position: Ints
    balance: Ints


def _rows(frame: Frame, groups: _Groups, quantity: Floats, amount: Floats) -> _Rows:
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
    return _Rows(
        np.concatenate([book.position_instrument, count + settle, count + assets + asset]),
        np.concatenate([quantity * rate, held, amount[b] * usd]),
        np.concatenate([groups.position, groups.position, groups.balance[b]]),
        np.concatenate([np.arange(n), np.arange(n), np.full(b.size, -1)]),
        np.concatenate([np.full(2 * n, -1), b]),
    )


def _order_losses(frame: Frame, units: _Units, groups: _Groups) -> tuple[Floats, Ints, Ints]:
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


def measured(stage: Stage) -> tuple[TailLevel, TailLevel]:
    """Return the tail for initial and for maintenance margin; once for all legs of a stage."""
    if "tail" not in stage.scratch:
        stage.scratch["tail"] = _measure(stage)
    found: tuple[TailLevel, TailLevel] = stage.scratch["tail"]
    return found


def _measure(stage: Stage) -> tuple[TailLevel, TailLevel]:
    frame = stage.frame
    spec = spec_of(frame.ruleset)
    invariant(frame.ruleset.data.numeraire == "USD", "a tail is measured in US dollars")
    units, groups = _units(frame, spec), _groups(frame)
    _require_known(frame, units, spec, groups)
    rows = _rows(frame, groups, stage.quantity, stage.amount)
    pots = frame.arrangement.pots
    worse = None
    if stage.orders and frame.book.leg_order.size:
        loss, order, place = _order_losses(frame, units, groups)
        worse = capped_losses(frame, loss, order, place, groups.pot)
    wanted = frame.shares and worse is None
    found = [
        _Level(spec, groups, pots, level, wanted, stage) for level in (spec.level_im, spec.level_mm)
    ]
    only = None
    if frame.memo.get("large book") and not frame.shares:
        _compiled(frame, spec, units, groups, rows, found)
        if worse is None:
            return found[0].result(frame, rows), found[1].result(frame, rows)
        # Pots with orders need their scenarios one by one.
        only = np.zeros(pots, dtype=np.bool_)
        only[groups.pot[groups.leg]] = True
    edge = np.searchsorted(groups.pot, np.arange(0, pots + _POTS, _POTS))
    by_group = np.argsort(rows.group, kind="stable")
    at = np.searchsorted(rows.group[by_group], edge)
    for k in range(edge.size - 1):
        first, last = int(edge[k]), int(edge[k + 1])
        low, high = k * _POTS, min((k + 1) * _POTS, pots)
        if first == last or (only is not None and not only[low:high].any()):
            continue
        mine = by_group[at[k] : at[k + 1]]
        v = _vectors(units, rows, mine, first, last)
        if worse is not None:
            v -= worse[first:last]
        block = _Block(units, groups, v, slice(first, last), slice(low, high))
        for one, (values, binding) in zip(found, block.shortfalls(spec)):
            one.take(block, values, binding, rows, mine, only)
    return found[0].result(frame, rows), found[1].result(frame, rows)


def _compiled(
    frame: Frame,
    spec: TailSpec,
    units: _Units,
    groups: _Groups,
    rows: _Rows,
    found: list[_Level],
) -> None:
    """Measure all pots by the compiled kernel, without orders and without shares."""
    from crossmargin.margin._tail_compiled import compiled_shortfalls, tail_tables

    tables = frame.once_here(
        "tail tables",
        lambda: tail_tables(
            units.rows,
            units.edges,
            units.sets.order,
            frame.terms.underlying.astype(np.int64),
            units.coin,
        ),
    )
    coin = units.coin[groups.asset[rows.group]]
    done = compiled_shortfalls(
        spec,
        tables,
        tables.codes(rows.unit, coin),
        rows.size,
        rows.group,
        groups.pot,
        frame.arrangement.pots,
    )
    for one, (values, binding) in zip(found, done):
        one.binding[:] = binding
        one.pot[:] = values.base, values.stress, values.long, values.broken
        one.own[:] = values.own_base, values.own_stress, values.own_long


def _vectors(units: _Units, rows: _Rows, mine: Ints, first: int, last: int) -> Floats:
    """Return V of groups `first` to `last`, ``[G, C]``."""
    from scipy.sparse import csr_matrix

    group = rows.group[mine] - first
    start = np.searchsorted(group, np.arange(last - first + 1))
    table = csr_matrix(
        (rows.size[mine], rows.unit[mine], start), shape=(last - first, units.rows.shape[0])
    )
    return np.asarray(table @ units.rows)


@dataclass(frozen=True, slots=True)
class _Block:
    """Some pots and their groups: profit and loss ``[G, C]`` of the groups."""

    units: _Units
    groups: _Groups
    vectors: Floats
    rows: slice
    pots: slice

    @property
    def pot(self) -> Ints:
        """Pot of each group, from 0."""
        return np.asarray(self.groups.pot[self.rows] - self.pots.start)

    @property
    def coin(self) -> Ints:
        """Row of each group's coin among those of the history, or -1."""
        return self.units.coin[self.groups.asset[self.rows]]

    @property
    def parts(self) -> tuple[Floats, Floats, Floats]:
        """Groups' vectors: filtered, stressed, at long volatility."""
        a, b, c = self.units.edges
        return self.vectors[:, :a], self.vectors[:, b:c], self.vectors[:, a:b]

    def summed(self, part: Floats) -> Floats:
        """Return a part's sums by pot."""
        return sum_by(np.ascontiguousarray(part), self.pot, self.pots.stop - self.pots.start)

    @property
    def sums(self) -> tuple[Floats, Floats, Floats]:
        """Pots' vectors, as `parts`."""
        x, y, z = (self.summed(part) for part in self.parts)
        return x, y, z

    def shortfalls(self, spec: TailSpec) -> list[tuple[Shortfalls, Ints]]:
        """Return the shortfalls of the pots at both confidences."""
        order = self.units.sets.order
        return shortfalls_of(spec, self.parts, self.sums, self.pot, self.coin, order)


class _Level:
    """The tail at one confidence, gathered block by block."""

    def __init__(
        self,
        spec: TailSpec,
        groups: _Groups,
        pots: int,
        level: float,
        shares: bool,
        stage: Stage,
    ) -> None:
        self.spec, self.groups, self.level = spec, groups, level
        self.shares, self.stage = shares, stage
        self.pot = np.zeros((4, pots))
        self.own = np.zeros((3, groups.pot.size))
        self.binding = np.full(pots, -1, dtype=np.int64)
        size = stage.quantity.size, stage.amount.size
        self.share, self.balance_share = np.zeros(size[0]), np.zeros(size[1])

    def take(
        self,
        block: _Block,
        found: Shortfalls,
        binding: Ints,
        rows: _Rows,
        mine: Ints,
        only: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take the shortfalls of some pots (of `only` some), and share them out where wanted."""
        whole = np.stack([found.base, found.stress, found.long, found.broken])
        own = np.stack([found.own_base, found.own_stress, found.own_long])
        if only is not None:
            pots, groups = only[block.pots], only[self.groups.pot[block.rows]]
            binding = np.where(pots, binding, self.binding[block.pots])
            whole = np.where(pots, whole, self.pot[:, block.pots])
            own = np.where(groups, own, self.own[:, block.rows])
        self.binding[block.pots] = binding
        self.pot[:, block.pots], self.own[:, block.rows] = whole, own
        if self.shares:
            self._share(block, found, binding, rows, mine)

    def _share(
        self, block: _Block, found: Shortfalls, binding: Ints, rows: _Rows, mine: Ints
    ) -> None:
        """Add ``−Σ_c ω_g,c·row_c`` for every row: ω is the weight of each column by group."""
        legs = legs_of(self.spec, found)
        of, parts = block.pot, block.parts
        whole = (found.base, found.stress, found.long)
        own = (found.own_base, found.own_stress, found.own_long)
        weight = []
        for k, (part, total) in enumerate(zip(parts, block.sums)):
            live = np.where(whole[k] > 0, legs.slope[k], 0.0)
            w = (live[:, None] * tail_weights(total, self.level))[of]
            alone = np.where(own[k] > 0, legs.own_slope[k], 0.0)
            if alone.any():
                w = w + alone[:, None] * tail_weights(part, self.level)
            weight.append(w)
        for k in np.unique(binding).tolist():
            here = (binding == k) * legs.slope[3]
            if k < 0 or not here.any():
                continue
            order = orders_of(parts[0], block.coin, block.units.sets.order[k])
            total = block.summed(np.take_along_axis(parts[0], order, axis=1))
            back = np.zeros_like(parts[0])
            w = (here[:, None] * tail_weights(total, self.level))[of]
            np.put_along_axis(back, order, w, axis=1)
            weight[0] = weight[0] + back
        every = np.concatenate([weight[0], weight[2], weight[1]], axis=1)
        group = rows.group[mine] - block.rows.start
        part_of = -rows.size[mine] * np.einsum(
            "ij,ij->i", block.units.rows[rows.unit[mine]], every[group]
        )
        held = rows.position[mine] >= 0
        np.add.at(self.share, rows.position[mine[held]], part_of[held])
        np.add.at(self.balance_share, rows.balance[mine[~held]], part_of[~held])

    def result(self, frame: Frame, rows: _Rows) -> TailLevel:
        """Return the whole, with the cap on pots that own options and spot only."""
        found = stacked(self.pot, self.own, self.groups.pot)
        legs = legs_of(self.spec, found)
        there = {c.leg for c in frame.ruleset.data.components if isinstance(c, TailLeg)}
        cap = np.zeros(legs.total.size)
        if "cap" in there:
            cap = self._cap(frame, rows, legs.total)
        return TailLevel(found, legs, cap, self.binding, self.share, self.balance_share)

    def _cap(self, frame: Frame, rows: _Rows, total: Floats) -> Floats:
        """Return what pots that can lose no more than they own would be charged beyond it."""
        stage, book, a = self.stage, frame.book, frame.arrangement
        live = ~frame.view.settled[book.position_instrument] & (stage.quantity != 0.0)
        kinds = [KIND_CODE["option"], KIND_CODE["spot"]]
        owned = np.isin(frame.terms.kind[book.position_instrument], kinds) & (stage.quantity > 0)
        free = np.ones(a.pots, dtype=np.bool_)
        free[a.position_pot[live & ~owned]] = False
        free[a.balance_pot[stage.amount < 0]] = False
        if stage.orders:
            free[a.group_pot[a.leg_group]] = False
        _, value = frame.position_values(stage.quantity)
        of_position = value * frame.position_rate
        n = stage.quantity.size
        coins = rows.size[2 * n :]
        pot = self.groups.pot[rows.group[2 * n :]]
        most = sum_by(of_position, a.position_pot, a.pots) + sum_by(coins, pot, a.pots)
        level = "im" if self.level == self.spec.level_im else "mm"
        plain = [c.name for c in frame.ruleset.data.components if not c.dimensionless]
        parts = [stage.parts[name] for name in plain if name in stage.parts]
        charges = sum_by(
            np.asarray(sum((getattr(p, level) for p in parts), np.zeros(a.groups))),
            a.group_pot,
            a.pots,
        )
        cap = np.where(free, np.minimum(most - (total + charges), 0.0), 0.0)
        hit = np.flatnonzero(cap < 0)
        if self.shares and hit.size:
            at = np.zeros(a.pots, dtype=np.bool_)
            at[hit] = True
            mine = at[a.position_pot]
            taken = np.zeros(n)
            for p in parts:
                taken = taken + getattr(p, f"share_{level}")
            self.share[mine] = of_position[mine] - taken[mine]
            b = rows.balance[2 * n :]
            own = at[a.balance_pot[b]]
            self.balance_share[b[own]] = coins[own]
        return cap


def run_tail(spec: TailLeg, stage: Stage) -> PotPart:
    """One leg; the shares of all of them stand with the base."""
    im, mm = measured(stage)
    n, b = stage.quantity.size, stage.amount.size

    def value(level: TailLevel) -> Floats:
        return level.cap if spec.leg == "cap" else level.legs.value[spec.leg]

    if spec.leg != "base":
        none, nothing = np.zeros(n), np.zeros(b)
        return PotPart(value(im), value(mm), none, none, nothing, nothing)
    return PotPart(value(im), value(mm), im.share, mm.share, im.balance_share, mm.balance_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class TailDetail:
    """The tail of one pot, explained; US dollars.

    Attributes
    ----------
    level : float
        Confidence.
    scenarios : int
        Filtered scenarios.
    var, es, es_error : float
        Value at risk and expected shortfall of the filtered past, and the standard error of the
        latter.
    stress, long, broken : float
        Shortfalls of the stressed period, at long volatility, and with dependence broken.
    broken_by : str
        Which broken dependence was worst.
    groups : dict of str to float
        Shortfall of each coin's positions alone.
    worst : list of (str, float)
        Days of the tail with their loss, the worst first.
    stress_from, stress_to : str
        The stressed period.
    """

    level: float
    scenarios: int
    var: float
    es: float
    es_error: float
    stress: float
    long: float
    broken: float
    broken_by: str
    groups: dict[str, float]
    worst: list[tuple[str, float]]
    stress_from: str
    stress_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TailApproximation:
    """The shortfall of a pot by delta, gamma and vega, held to full revaluation; US dollars.

    Attributes
    ----------
    full, approximate : float
        Expected shortfall of the filtered past at the confidence of initial margin.
    used : float
        The approximate one where its error is within the tolerance, else the full one.
    error : float
        Relative to the full one; infinite where that is 0 and the other is not.
    warning : str
        A sentence where the tolerance is exceeded.
    """

    full: float
    approximate: float
    used: float
    error: float
    warning: str


def approximate_tail(frame: Frame, pot: int = 0, *, tolerance: float = 0.05) -> TailApproximation:
    """Measure what delta, gamma and vega would make of a pot's tail (requirements B04).

    Parameters
    ----------
    frame : Frame
        One account.
    pot : int
        Which of its pots.
    tolerance : float
        Relative error of the shortfall that is allowed.
    """
    spec = spec_of(frame.ruleset)
    units, groups = _units(frame, spec), _groups(frame)
    _require_known(frame, units, spec, groups)
    book = frame.book
    move, level = _moves(frame, units.sets, spec, units.coin)
    quick = factor_table(
        book.registry, frame.used, frame.view, move, level, spec.vol, approximate=True
    )
    other = units.rows.copy()
    other[: quick.shape[0]] = quick
    rows = _rows(frame, groups, book.position_quantity, book.balance_amount)
    order = np.argsort(rows.group, kind="stable")
    found = []
    for table in (units, replace(units, rows=other)):
        v = _vectors(table, rows, order, 0, groups.pot.size)
        total = v[groups.pot == pot][:, : units.edges[0]].sum(axis=0)[None, :]
        found.append(max(float(tail_shortfalls(total, spec.level_im)[0]), 0.0))
    check = taylor_check(found[:1], found[1:], tolerance=tolerance)
    warning = ""
    if check.warning:
        warning = (
            f"delta, gamma and vega give a shortfall of {found[1]:,.2f} USD against "
            f"{found[0]:,.2f} USD in full, beyond the {tolerance:.1%} allowed: the full one counts."
        )
    return TailApproximation(
        full=found[0],
        approximate=found[1],
        used=float(check.used[0]),
        error=check.worst,
        warning=warning,
    )


def tail_detail(frame: Frame, pot: int = 0) -> TailDetail:
    """Explain the tail of a pot at the confidence of initial margin, without open orders."""
    from crossmargin.margin._stages import Stage

    spec = spec_of(frame.ruleset)
    stage = Stage(frame, frame.book.position_quantity, frame.book.balance_amount, {}, None, False)
    level, _ = measured(stage)
    units, groups = _units(frame, spec), _groups(frame)
    rows = _rows(frame, groups, stage.quantity, stage.amount)
    order = np.argsort(rows.group, kind="stable")
    v = _vectors(units, rows, order, 0, groups.pot.size)
    mine = groups.pot == pot
    filtered = v[mine][:, : units.edges[0]].sum(axis=0)[None, :]
    worst = np.argsort(filtered[0], kind="stable")[: tail_mass(filtered.size, spec.level_im)[1]]
    s, sets = level.shortfalls, units.sets
    names = frame.book.registry.assets
    own = np.maximum(tail_shortfalls(v[mine][:, : units.edges[0]], spec.level_im), 0.0)
    return TailDetail(
        level=spec.level_im,
        scenarios=sets.filtered.size,
        var=float(tail_quantiles(filtered, spec.level_im)[0]),
        es=float(s.base[pot]),
        es_error=float(shortfall_errors(filtered, spec.level_im)[0]),
        stress=float(s.stress[pot]),
        long=float(s.long[pot]),
        broken=float(s.broken[pot]),
        broken_by=sets.broken[level.binding[pot]] if level.binding[pot] >= 0 else "",
        groups={names[int(g)]: float(x) for g, x in zip(groups.asset[mine], own)},
        worst=[(sets.filtered.labels[k], float(-filtered[0, k])) for k in worst.tolist()],
        stress_from=sets.stress_from,
        stress_to=sets.stress_to,
    )
