"""Compiling a rule-set and a market into a table of coefficients and a short program.

Row c of the table says what one unit of code c does: its change in every scenario, what it adds
to equity, and what each component charges for it. The requirement of an account is then one pass
over its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CrossmarginError
from crossmargin.instruments import KIND_CODE, Registry
from crossmargin.margin._cuts import asset_rule
from crossmargin.margin._faults import Faults
from crossmargin.margin._frame import Frame
from crossmargin.margin._option_charges import basis_changes, basis_share
from crossmargin.margin._protect import protected_pots
from crossmargin.margin.components import (
    BasisContingency,
    CollateralConfidence,
    DeltaConcentration,
    Flat,
    LiabilityWeight,
    NakedShort,
    OracleConfidence,
    Roll,
)
from crossmargin.margin.fused._combine import Columns, Combination, combination
from crossmargin.margin.fused._kernel import ALONE, DISCOUNT, Shape
from crossmargin.margin.fused._lanes import LANES, LanePlan, Lanes
from crossmargin.margin.fused._layout import COST, GROUP, POSITION, SEGMENT, Layout, lay_out
from crossmargin.margin.fused._segments import fill_scan, paid_for, segment_parts
from crossmargin.margin.fused._shapes import NotFusable, Shaped, shape_of
from crossmargin.margin.fused._units import (
    Units,
    by_account,
    charge_of,
    equities,
    scan_units,
    units_for,
)
from crossmargin.margin.kernels._vector import aligned, aligned_empty
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import CONFIDENCE_ONE, Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Columns of a record that hold equity at the two levels.
EQUITY_IM, EQUITY_MM = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A rule-set in a market, ready for any number of accounts.

    Attributes
    ----------
    ruleset : Ruleset
        Rules.
    registry : Registry
        Instruments and assets.
    layout : Layout
        Codes.
    nv : int
        Vectors of scenario lanes, at least 1.
    mode : {0, 1, 2}
        What a segment's netted change counts as; see ``kernels.tile_worst``.
    table : float64[C, 8·(nv + lanes.vectors)]
        Scenario lanes (weights included; an option under a static discount with its value
        today), then component lanes.
    weight : float64[groups, 8·nv]
        Scenario weights of each kind of group.
    segment_terms : float64[segments, 4]
        Discount of long and short values (mode 1); or offset, cap, dampener.
    tail, flags : float64[8·nv]
        1.0 on lanes of tail scenarios; on lanes of turned surfaces (mode 1), or whose gains
        offset other segments (mode 2).
    scanned : bool
        Whether the rule-set has a scan.
    lanes : Lanes
        What the other lanes are.
    level : dict of str to (float, float)
        Components that are the same for every group, IM and MM.
    combine : Combination
        How parts add up.
    pot_usd : float64[pots]
        US dollars per unit of each kind of pot's numeraire.
    limits : dict of str to (int, float64[groups])
        Column of a net figure and the largest size of it by kind of group, by component; ``inf``
        without a limit.
    bad : dict of int to CrossmarginError
        Contracts that this market or rule-set cannot value, with the reason; their rows are NaN.
    apart : bool[C]
        Codes whose accounts need the vectorised stages: expired contracts, and balances that
        cannot be valued on one side; their rows are NaN.
    protected : bool[C]
        Codes that touch a price which is not trusted.
    mark : float64[n]
        Price of each instrument, at which positions without an entry price are taken.
    units : Units
        The unit book behind the table.
    """

    ruleset: Ruleset
    registry: Registry
    layout: Layout
    nv: int
    mode: int
    table: Floats
    weight: Floats
    segment_terms: Floats
    tail: Floats
    flags: Floats
    scanned: bool
    lanes: Lanes
    level: dict[str, tuple[float, float]]
    combine: Combination
    pot_usd: Floats
    limits: dict[str, tuple[int, Floats]]
    bad: dict[int, CrossmarginError]
    apart: NDArray[np.bool_]
    protected: NDArray[np.bool_]
    mark: Floats
    units: Units

    @property
    def shape(self) -> Shape:
        """What the compiled kernel is compiled for."""
        lanes = self.lanes
        return Shape(
            nv=self.nv,
            na=lanes.vectors,
            mode=self.mode,
            paired=lanes.paired,
            value=max(lanes.value, 0),
            tails=_vector_bits(self.tail),
            flagged=_vector_bits(self.flags) if self.mode == DISCOUNT else 0,
        )

    def kernel_tables(self) -> tuple[NDArray[Any], ...]:
        """Return what the compiled kernel reads, in the order in which it reads it."""
        layout, lanes = self.layout, self.lanes
        block = LANES * (2 if self.mode == ALONE else self.nv + 2)
        levels = np.arange(8)
        steps = np.stack(
            [(levels >= SEGMENT) * block, (levels >= GROUP) * LANES * (lanes.vectors + 1)], axis=1
        ).astype(np.int64)
        spared = np.where(self.mode == ALONE, self.segment_terms[layout.segment, 2], 0.0)
        figures = (self.segment_terms, self.weight, self.tail, self.flags, lanes.masks,
                   lanes.close, steps, lanes.shape, spared)  # fmt: skip
        small = (aligned(x).reshape(-1) for x in figures)
        return (self.table.reshape(-1), layout.group, layout.segment, *small)

    @property
    def in_group(self) -> NDArray[np.bool_]:
        """Which kinds of group have a requirement: all but plain cash."""
        return self.layout.group_asset >= 0


def compile_program(
    registry: Registry, snapshot: Snapshot, ruleset: Ruleset, instruments: Ints, assets: Ints
) -> Program:
    """Compile a rule-set for what a book holds.

    Parameters
    ----------
    registry : Registry
        Instruments and assets.
    snapshot : Snapshot
        The market.
    ruleset : Ruleset
        The rules.
    instruments, assets : int64[...]
        Held as positions; held as balances.

    Raises
    ------
    NotFusable
        With a sentence, when the rule-set or the market needs the vectorised stages.
    """
    shaped = [shape_of(spec) for spec in ruleset.data.components]
    _require_plain(ruleset, registry, instruments, assets)
    layout = lay_out(registry, ruleset, instruments, assets)
    if not (layout.what == POSITION).any():
        raise NotFusable("the book holds nothing but balances")
    units, bad, faults = units_for(registry, layout, snapshot, ruleset)
    if units is None:
        raise NotFusable("none of the contracts that the book holds can be valued")
    _require_trusted(units.frame, shaped)
    with np.errstate(all="ignore"):
        return _assemble(layout, shaped, units, bad, faults)


def _require_plain(ruleset: Ruleset, registry: Registry, instruments: Ints, assets: Ints) -> None:
    """See that collateral counts coin by coin at factors that do not depend on size."""
    data = ruleset.data
    rules = data.collateral
    for reason, met in (
        ("positions are margined one by one", data.pools.by == "position"),
        ("what a coin counts depends on everything paid in it", rules.per == "coin"),
        ("collateral has a joint cap", rules.joint_cap is not None),
        ("profit counts in part", bool(rules.profit)),
        ("the value of options counts in part", rules.option_value != "all"),
        ("groups earn credit from each other", data.offset.method != "none"),
        ("an owner is charged for all accounts together", ruleset.by_owner),
    ):
        if met:
            raise NotFusable(reason)
    terms = registry.terms
    spot = instruments[terms.kind[instruments] == KIND_CODE["spot"]]
    for asset in np.union1d(assets, terms.underlying[spot]).tolist():
        rule = asset_rule(ruleset, registry.assets[asset])
        if rule is None:
            continue
        sized = rule.limit_coins is not None or rule.limit_usd is not None
        sized |= any(not isinstance(rule.at(x), Flat | None) for x in ("im", "mm"))
        sized |= any(
            isinstance(w, LiabilityWeight) and w.imf > 0
            for w in (rule.liability_im, rule.liability_mm)
        )
        if sized:
            raise NotFusable(f"what {registry.assets[asset]} counts depends on how much there is")


def _require_trusted(frame: Frame, shaped: list[Shaped]) -> None:
    """See that no feed's confidence is low enough to be charged for."""
    view = frame.view
    for part in shaped:
        if isinstance(part.spec, OracleConfidence):
            rules = [*part.spec.perpetuals.values(), *part.spec.options.values()]
        elif isinstance(part.spec, CollateralConfidence):
            rules = list(part.spec.assets.values())
        else:
            continue
        line = max((float(rule.threshold) for rule in rules), default=0.0) * CONFIDENCE_ONE
        used = view.confidence[frame.used]
        if (view.asset_confidence < line).any() or (used < line).any():
            raise NotFusable("a feed is trusted so little that it is charged for")


def _assemble(
    layout: Layout,
    shaped: list[Shaped],
    units: Units,
    bad: dict[int, CrossmarginError],
    faults: Faults,
) -> Program:
    """Fill the table from the unit book."""
    frame = units.frame
    ruleset, spec = frame.ruleset, frame.ruleset.scan
    scan = None if spec is None else scan_units(units, spec)
    nv = 1 if scan is None else -(-scan.row.shape[1] // LANES)
    plan = LanePlan(layout.size)
    segments = segment_parts(layout, scan, units, nv, spec)
    if segments.mode == DISCOUNT:
        value = np.zeros(layout.size)
        if scan is not None:
            value[units.codes] = scan.value
        plan.value(value)
    found, limits = _part_lanes(plan, layout, shaped, units)
    levels = {p.spec.name: _level(units, p) for p in shaped if p.shape in ("level", "none")}
    lanes = plan.done()
    table = aligned_empty((layout.size, LANES * (nv + lanes.vectors)))
    table[:] = 0.0
    if scan is not None:
        fill_scan(table, layout, units, scan, nv)
    table[:, LANES * nv :] = lanes.coefficient
    _join_costs(layout, table)
    bad = bad | {int(units.codes[row]): error for row, error in faults.reasons.items()}
    apart = _expired(layout, frame)
    # Whether a coin can be valued may depend on which side it is held.
    sided = [code for code in bad if layout.what[code] != POSITION]
    apart[sided] = True
    apart |= ~np.isfinite(table).all(axis=1)
    table[apart] = np.nan
    table[list(bad)] = np.nan
    usd = frame.asset_usd_or_one
    return Program(
        ruleset=ruleset,
        registry=frame.book.registry,
        layout=layout,
        nv=nv,
        mode=segments.mode,
        table=table,
        weight=segments.weight,
        segment_terms=segments.terms,
        tail=segments.tail,
        flags=segments.flags,
        scanned=scan is not None,
        lanes=lanes,
        level=levels,
        combine=combination(ruleset, shaped, found, levels),
        pot_usd=np.where(layout.pot_asset < 0, 1.0, usd[np.maximum(layout.pot_asset, 0)]),
        limits=limits,
        bad={code: error for code, error in bad.items() if layout.what[code] == POSITION},
        apart=apart,
        protected=_protected(layout, units),
        mark=frame.view.price,
        units=units,
    )


def _join_costs(layout: Layout, table: Floats) -> None:
    """Let what was paid in an asset stand in the row of its balance where the two are worth alike.

    That is so wherever a coin has no haircut and no weight as a debt.
    """
    for code in np.flatnonzero(layout.what == COST).tolist():
        balance = int(layout.of_balance[layout.item[code]])
        if balance >= 0 and np.array_equal(table[code], table[balance]):
            layout.of_cost[layout.item[code]] = balance


def _part_lanes(
    plan: LanePlan, layout: Layout, shaped: list[Shaped], units: Units
) -> tuple[dict[str, Columns], dict[str, tuple[int, Floats]]]:
    """Give equity and every component its lanes; return their columns, and limits."""
    codes = units.codes

    def spread(values: Floats) -> Floats:
        out = np.zeros(layout.size)
        out[codes] = values
        return out

    up, down = equities(units.sized(1.0)), equities(units.sized(-1.0))
    paid = paid_for(layout, units)
    sides = [plan.by_side(spread(up[k]) + paid[k], spread(down[k]) - paid[k]) for k in range(2)]
    if sides == [1, 1]:
        sides = [1, plan.repeat(1)]
    if sides != [EQUITY_IM, EQUITY_MM]:
        raise NotFusable("equity is not in its columns")
    found: dict[str, Columns] = {}
    limits: dict[str, tuple[int, Floats]] = {}
    for part in shaped:
        spec = part.spec
        if part.shape == "row":
            charge = charge_of(units, spec, 1.0)
            found[spec.name] = plan.levels(
                spread(by_account(units.frame, charge.im)),
                spread(by_account(units.frame, charge.mm)),
            )
        elif part.shape == "limit":
            column = plan.column(plan.lane("sum", spread(_net_usd(units))))
            limits[spec.name] = (column, _limits(layout, units.frame, spec))
        elif isinstance(spec, Roll):
            column = plan.column(plan.lane("net", spread(_signed(units, spec))))
            found[spec.name] = ((column, 1.0), (column, 1.0))
        elif isinstance(spec, NakedShort):
            column = plan.column(plan.lane("short", spread(_sold(units, spec))))
            found[spec.name] = ((column, spec.im), (column, spec.mm))
        elif isinstance(spec, BasisContingency):
            moved = _moved(units, spec)
            column = plan.pair(spread(moved[:, 0]), spread(moved[:, 1]))
            found[spec.name] = ((column, 1.0), (column, 1.0))
    return found, limits


def _signed(units: Units, spec: Roll) -> Floats:
    """Return what one unit is charged where it stands alone, with the sign of its delta."""
    frame = units.sized(1.0)
    side = frame.unit_delta[frame.book.position_instrument] * frame.book.position_quantity
    return by_account(frame, charge_of(units, spec, 1.0).im) * np.sign(side)


def _sold(units: Units, spec: NakedShort) -> Floats:
    """Return what one unit sold is charged, before the rates of the two levels."""
    charge = charge_of(units, spec, -1.0)
    rate, part = (spec.im, charge.im) if spec.im else (spec.mm, charge.mm)
    return by_account(units.frame, part) / rate if rate else np.zeros(units.codes.size)


def _moved(units: Units, spec: BasisContingency) -> Floats:
    """Return the change of one unit in both moves of the forward, as far as it is charged."""
    frame = units.sized(1.0)
    index = frame.book.position_instrument
    live = (frame.terms.kind[index] == KIND_CODE["option"]) & ~frame.view.settled[index]
    rows = np.flatnonzero(live & (frame.book.position_quantity != 0))
    out = np.zeros((index.size, 2))
    moved = basis_changes(spec, frame, index[rows]) * frame.position_rate[rows][:, None]
    out[rows] = moved * basis_share(spec, frame, index[rows])[:, None]
    return out


def _net_usd(units: Units) -> Floats:
    """Net delta of one unit in US dollars of its group's leader, as thresholds see it."""
    frame = units.sized(1.0)
    a, book = frame.arrangement, frame.book
    usd = frame.view.asset_usd[a.group_underlying]
    delta = book.position_quantity * frame.unit_delta[book.position_instrument]
    return np.asarray(np.nan_to_num(delta * usd[a.position_group]))


def _limits(layout: Layout, frame: Frame, spec: DeltaConcentration) -> Floats:
    names = frame.book.registry.assets
    out = np.full(layout.group_asset.size, np.inf)
    for g, asset in enumerate(layout.group_asset.tolist()):
        rule = None if asset < 0 else spec.underlyings.get(names[asset])
        rule = rule or (None if asset < 0 else spec.underlyings.get("default"))
        if rule is not None:
            out[g] = rule.threshold_usd
    return out


def _level(units: Units, part: Shaped) -> tuple[float, float]:
    """Return the figure of a component that does not depend on what a group holds."""
    if part.shape == "none":
        return 0.0, 0.0
    found = charge_of(units, part.spec, 1.0)
    return float(found.im[0]), float(found.mm[0])


def _vector_bits(lanes: Floats) -> int:
    """Return the bits of the vectors that have a lane other than 0."""
    some = np.any(lanes.reshape(-1, LANES) != 0.0, axis=1)
    return int(sum(1 << k for k in np.flatnonzero(some).tolist()))


def _expired(layout: Layout, frame: Frame) -> NDArray[np.bool_]:
    held = layout.what == POSITION
    out = np.zeros(layout.size, dtype=bool)
    out[held] = frame.view.settled[layout.item[held]]
    return out


def _protected(layout: Layout, units: Units) -> NDArray[np.bool_]:
    out = np.zeros(layout.size, dtype=bool)
    frame = units.sized(1.0)
    account = frame.book.pool_account[frame.arrangement.pot_pool]
    hit = np.zeros(units.codes.size, dtype=bool)
    hit[account[protected_pots(frame)]] = True
    out[units.codes] = hit
    return out
