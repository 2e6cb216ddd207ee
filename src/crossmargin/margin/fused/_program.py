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
from crossmargin.margin._frame import Frame
from crossmargin.margin._option_charges import basis_changes, basis_share
from crossmargin.margin._protect import protected_pots
from crossmargin.margin._stages import Stage, run_stage
from crossmargin.margin.batch import evaluate_book
from crossmargin.margin.components import (
    BasisContingency,
    CollateralConfidence,
    Component,
    DeltaConcentration,
    Flat,
    LiabilityWeight,
    NakedShort,
    OracleConfidence,
    Roll,
    Scan,
)
from crossmargin.margin.fused._combine import Combination, combination
from crossmargin.margin.fused._layout import (
    ACCOUNT,
    BALANCE,
    BUCKET,
    CASH_ROW,
    COST,
    POSITION,
    SEGMENT,
    STRIKE,
    Layout,
    lay_out,
)
from crossmargin.margin.fused._shapes import NotFusable, Shaped, shape_of
from crossmargin.margin.fused._units import (
    ScanUnits,
    Units,
    by_account,
    charge_of,
    equities,
    per_unit,
    scan_units,
    unit_book,
    units_for,
)
from crossmargin.margin.kernels._vector import aligned_empty
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import CONFIDENCE_ONE, Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Float64 lanes of one vector.
LANES = 8

#: Lanes of the linear and absolute blocks: equity at the two levels, then components.
EQUITY_IM, EQUITY_MM, FIRST_FREE = 0, 1, 2

#: Bucket lanes of a component that looks at two moves.
PAIR = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """Which lane carries which part, and how buckets end.

    Attributes
    ----------
    row : dict of str to (int, int)
        Lanes of IM and MM of components that are sums over rows.
    limit : dict of str to int
        Lane of the net figure that must stay within a limit.
    bucket : dict of str to int
        Lane of components that are sums over buckets (block of its own).
    per_level : dict of str to (float, float)
        Factors of IM and MM on the bucket's sum.
    keep, close : float64[64]
        By level and bucket lane: whether a running sum goes on, and whether it ends.
    shape : float64[16]
        What the sum of a bucket counts as: ``shape[j]·x + shape[8 + j]·|x|``.
    paired : bool
        Whether the last two bucket lanes are two moves of which the worse counts.
    columns : int64[n]
        Lanes that records take: linear lanes below 8, bucket lanes from 8 on.
    """

    row: dict[str, tuple[int, int]]
    limit: dict[str, int]
    bucket: dict[str, int]
    per_level: dict[str, tuple[float, float]]
    keep: Floats
    close: Floats
    shape: Floats
    paired: bool
    columns: Ints

    def column(self, lane: int) -> int:
        """Return the column of a record that holds a lane."""
        return 1 + int(np.flatnonzero(self.columns == lane)[0])


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
        Vectors of scenario lanes; 0 without a scan.
    table : float64[C, 8·(nv + 3)]
        Scenario lanes (weights included; an option under a static discount with its value
        today), then linear, absolute and bucket lanes.
    weight : float64[groups, 8·nv]
        Scenario weights of each kind of group.
    segment_kind : int8[segments]
        0: the netted change counts as it is; 1: static discount; 2: offset and dampener.
    segment_terms : float64[segments, 4]
        Discount of long and short values; or offset, cap, dampener.
    tail, turned : float64[8·nv]
        1.0 on lanes of tail scenarios, and of turned surfaces.
    tail_gains : bool
        Whether gains in tails offset other segments.
    scanned : bool[groups]
        Groups that have scenarios.
    lanes : Lanes
        What the other lanes are.
    level : dict of str to (float, float)
        Components that are the same for every group, IM and MM.
    combine : Combination
        How parts add up.
    pot_usd : float64[pots]
        US dollars per unit of each kind of pot's numeraire.
    limits : dict of str to float64[groups]
        Largest |net figure| of a group, by component; ``inf`` without a limit.
    bad : dict of int to CrossmarginError
        Codes that this market or rule-set cannot value, with the reason.
    apart : bool[C]
        Codes whose accounts need the vectorised stages (expired contracts).
    protected : bool[C]
        Codes that touch a price which is not trusted.
    mark : float64[n]
        Price of each instrument, at which positions without an entry price are taken.
    has_absolute, has_buckets : bool
        Whether anything counts by its size whatever its side, and whether anything looks at
        buckets.
    units : Units
        The unit book behind the table.
    """

    ruleset: Ruleset
    registry: Registry
    layout: Layout
    nv: int
    table: Floats
    weight: Floats
    segment_kind: NDArray[np.int8]
    segment_terms: Floats
    tail: Floats
    turned: Floats
    tail_gains: bool
    scanned: NDArray[np.bool_]
    lanes: Lanes
    level: dict[str, tuple[float, float]]
    combine: Combination
    pot_usd: Floats
    limits: dict[str, Floats]
    bad: dict[int, CrossmarginError]
    apart: NDArray[np.bool_]
    protected: NDArray[np.bool_]
    mark: Floats
    has_absolute: bool
    has_buckets: bool
    units: Units

    @property
    def flat_table(self) -> Floats:
        """The table as one line of numbers, as compiled code takes it."""
        return self.table.reshape(-1)

    def kernel_tables(self) -> tuple[NDArray[Any], ...]:
        """Return what the compiled kernel reads, in the order in which it reads it."""
        return (
            self.flat_table, self.layout.group, self.layout.segment, self.scanned,
            self.segment_kind, self.segment_terms, self.weight.reshape(-1), self.tail,
            self.turned, self.counted, self.lanes.keep, self.lanes.close, self.lanes.shape,
            self.lanes.columns,
        )  # fmt: skip

    @property
    def counted(self) -> Floats:
        """1.0 on lanes whose gains offset other segments."""
        return np.ones_like(self.tail) if self.tail_gains else 1.0 - self.tail

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
    valued = np.flatnonzero(layout.what != COST)
    if not (layout.what == POSITION).any():
        raise NotFusable("the book holds nothing but balances")
    bad = _unvalued(registry, snapshot, ruleset, layout, valued)
    good = np.array([c for c in valued.tolist() if c not in bad], dtype=np.int64)
    if not (layout.what[good] == POSITION).any():
        raise NotFusable("none of the contracts of the book can be valued")
    units = units_for(registry, layout, good, snapshot, ruleset)
    _require_trusted(units.frame, shaped)
    return _assemble(layout, shaped, units, bad)


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


def _unvalued(
    registry: Registry, snapshot: Snapshot, ruleset: Ruleset, layout: Layout, codes: Ints
) -> dict[int, CrossmarginError]:
    """Return why some codes cannot be valued: the reasons of accounts that hold one unit."""
    positions = np.flatnonzero(layout.what == POSITION)
    found: dict[int, CrossmarginError] = {}
    held = codes[layout.what[codes] == POSITION]
    book = unit_book(registry, layout, held, int(layout.item[held[0]]))
    for row, error in evaluate_book(book, snapshot, ruleset, kernel="numba").failures.items():
        found[int(held[row])] = error
    carrier = next((int(layout.item[p]) for p in positions if int(p) not in found), None)
    owned = codes[layout.what[codes] != POSITION]
    if carrier is None or not owned.size:
        return found
    book = unit_book(registry, layout, owned, carrier)
    for row, error in evaluate_book(book, snapshot, ruleset, kernel="numba").failures.items():
        found[int(owned[row])] = error
    return found


def _assemble(
    layout: Layout, shaped: list[Shaped], units: Units, bad: dict[int, CrossmarginError]
) -> Program:
    """Fill the table from the unit book."""
    frame = units.frame
    ruleset = frame.ruleset
    spec = ruleset.scan
    scan = None if spec is None else scan_units(units, spec)
    nv = 0 if scan is None else -(-scan.row.shape[1] // LANES)
    table = aligned_empty((layout.size, LANES * (nv + 3)))
    table[:] = 0.0
    table[list(bad)] = np.nan
    lanes = _lanes(shaped)
    linear, absolute, bucket = (table[:, LANES * (nv + k) : LANES * (nv + k + 1)] for k in range(3))
    codes = units.codes
    for lane, row in ((EQUITY_IM, 0), (EQUITY_MM, 1)):
        linear[codes, lane], absolute[codes, lane] = per_unit(
            units, lambda f, row=row: equities(f)[row]
        )
    for part in shaped:
        if part.shape == "row":
            for lane, level in zip(lanes.row[part.spec.name], ("im", "mm")):
                linear[codes, lane], absolute[codes, lane] = per_unit(
                    units, lambda f, p=part.spec, v=level: _charged(units, p, f, v)
                )
        elif part.shape == "limit":
            linear[codes, lanes.limit[part.spec.name]] = _net_usd(units)
        elif part.shape in ("net", "short", "worst"):
            _fill_bucket(bucket, lanes, part, units)
    levels = {
        part.spec.name: _level(units, part) for part in shaped if part.shape in ("level", "none")
    }
    limits = {p.spec.name: _limits(layout, frame, p.spec) for p in shaped if p.shape == "limit"}
    kind, seg_terms, weight, tail, turned, gains = _segments(layout, scan, units, nv, spec)
    if scan is not None:
        _fill_scan(table, layout, units, scan, nv)
    _fill_costs(table, layout, units, scan, nv)
    usd = frame.asset_usd_or_one
    pot_usd = np.where(layout.pot_asset < 0, 1.0, usd[np.maximum(layout.pot_asset, 0)])
    return Program(
        ruleset=ruleset,
        registry=frame.book.registry,
        layout=layout,
        nv=nv,
        table=table,
        weight=weight,
        segment_kind=kind,
        segment_terms=seg_terms,
        tail=tail,
        turned=turned,
        tail_gains=gains,
        scanned=layout.group_asset >= 0 if nv else np.zeros(layout.group_asset.size, dtype=bool),
        lanes=lanes,
        level=levels,
        combine=combination(ruleset, shaped, lanes, levels),
        pot_usd=pot_usd,
        limits=limits,
        bad=bad,
        apart=_expired(layout, frame),
        protected=_protected(layout, units),
        mark=frame.view.price,
        has_absolute=bool(np.any(np.nan_to_num(absolute) != 0.0)),
        has_buckets=bool(np.any(np.nan_to_num(bucket) != 0.0)),
        units=units,
    )


def _lanes(shaped: list[Shaped]) -> Lanes:
    """Hand out lanes."""
    row: dict[str, tuple[int, int]] = {}
    limit: dict[str, int] = {}
    bucket: dict[str, int] = {}
    factors: dict[str, tuple[float, float]] = {}
    # Bucket lane 0 carries today's value of a segment; it adds up as it is.
    edge = [SEGMENT] + [BUCKET] * (LANES - 1)
    form = np.zeros((2, LANES))
    form[0, 0] = 1.0
    paired = False
    free, slot = FIRST_FREE, 1
    for part in shaped:
        name = part.spec.name
        if part.shape == "row":
            row[name], free = (free, free + 1), free + 2
        elif part.shape == "limit":
            limit[name], free = free, free + 1
        elif part.shape == "net":
            bucket[name], form[1, slot], slot = slot, 1.0, slot + 1
        elif part.shape == "short":
            bucket[name], form[:, slot], edge[slot] = slot, (-0.5, 0.5), STRIKE
            factors[name] = (part.spec.im, part.spec.mm)
            slot += 1
        elif part.shape == "worst":
            if paired:
                raise NotFusable("two components look at a pair of moves")
            bucket[name], paired = PAIR, True
            form[:, PAIR:] = [[-0.5], [0.5]]
    if free > LANES or slot > PAIR:
        raise NotFusable("there are more components than lanes")
    levels = np.arange(8)
    # A row of cash ends whatever came before it.
    begins = np.where(levels == CASH_ROW, ACCOUNT, levels)[:, None] >= np.array(edge)
    close = begins.astype(np.float64)
    if paired:
        close[:, PAIR + 1] = 0.0
    lanes = {lane for pair in row.values() for lane in pair} | set(limit.values())
    used = [EQUITY_IM, EQUITY_MM, *sorted(lanes), *sorted(LANES + b for b in bucket.values())]
    return Lanes(
        row=row,
        limit=limit,
        bucket=bucket,
        per_level=factors,
        keep=(~begins).astype(np.float64).reshape(-1),
        close=close.reshape(-1),
        shape=form.reshape(-1),
        paired=paired,
        columns=np.array(used, dtype=np.int64),
    )


def _charged(units: Units, spec: Component, frame: Frame, level: str) -> Floats:
    book = frame.book
    stage = Stage(frame, book.position_quantity, book.balance_amount, {}, None, False)
    part = run_stage(spec, stage)
    return by_account(frame, part.im if level == "im" else part.mm)


def _fill_bucket(bucket: Floats, lanes: Lanes, part: Shaped, units: Units) -> None:
    """Signed coefficients of components by bucket."""
    frame, codes = units.sized(1.0), units.codes
    index = frame.book.position_instrument
    slot = lanes.bucket[part.spec.name]
    if isinstance(part.spec, Roll):
        size = _charged(units, part.spec, frame, "im")
        bucket[codes, slot] = size * np.sign(
            frame.unit_delta[index] * (frame.book.position_quantity)
        )
    elif isinstance(part.spec, NakedShort):
        # What one unit sold is charged, before the rates of the two levels.
        rate = part.spec.im or part.spec.mm
        level = "im" if part.spec.im else "mm"
        charge = _charged(units, part.spec, units.sized(-1.0), level)
        bucket[codes, slot] = charge / rate if rate else 0.0
    elif isinstance(part.spec, BasisContingency):
        live = (frame.terms.kind[index] == KIND_CODE["option"]) & ~frame.view.settled[index]
        live &= frame.book.position_quantity != 0
        rows = np.flatnonzero(live)
        moved = basis_changes(part.spec, frame, index[rows]) * frame.position_rate[rows][:, None]
        bucket[codes[rows], slot : slot + 2] = (
            moved * basis_share(part.spec, frame, index[rows])[:, None]
        )


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


def _segments(
    layout: Layout, scan: ScanUnits | None, units: Units, nv: int, spec: Scan | None
) -> tuple[NDArray[np.int8], Floats, Floats, Floats, Floats, bool]:
    """Parameters of φ by kind of segment, and weights by kind of group."""
    segments = int(layout.segment[-1]) + 1
    groups = layout.group_asset.size
    kind = np.zeros(segments, dtype=np.int8)
    terms = np.zeros((segments, 4))
    terms[:, :2] = 1.0
    weight = np.ones((groups, LANES * nv))
    tail, turned = np.zeros(LANES * nv), np.zeros(LANES * nv)
    if scan is None or spec is None:
        return kind, terms, weight, tail, turned, True
    scenarios = units.frame.table.scenarios
    tail[:] = padded(scenarios.extended.astype(np.float64), nv)
    turned[:] = padded(scenarios.turned.astype(np.float64), nv)
    moving = layout.what[units.codes] != BALANCE
    for row in np.flatnonzero(moving).tolist():
        code = int(units.codes[row])
        s, g = int(layout.segment[code]), int(layout.group[code])
        weight[g] = padded(scan.weight[row], nv)
        plain = scan.offset[row] == 1.0 and np.isinf(scan.cap[row])
        plain &= not scenarios.extended.any() or (scan.dampener[row] == 0 and spec.tail_gains_count)
        if scan.long[row] != 1.0 or scan.short[row] != 1.0:
            if not plain:
                raise NotFusable("a static discount stands beside offsets")
            kind[s], terms[s, :2] = 1, (scan.long[row], scan.short[row])
        elif not plain:
            kind[s], terms[s, :3] = 2, (scan.offset[row], scan.cap[row], scan.dampener[row])
        elif turned.any() and np.any(scan.row[row][scenarios.turned] != 0.0):
            kind[s], terms[s, :2] = 1, (1.0, 1.0)
    return kind, terms, weight, tail, turned, spec.tail_gains_count


def padded(values: Floats, nv: int) -> Floats:
    """Fill the lanes beyond the last scenario with the first one, so that they decide nothing."""
    out = np.empty((*values.shape[:-1], LANES * nv))
    out[..., : values.shape[-1]] = values
    out[..., values.shape[-1] :] = values[..., :1]
    return out


def _fill_scan(table: Floats, layout: Layout, units: Units, scan: ScanUnits, nv: int) -> None:
    moving = np.flatnonzero(layout.what[units.codes] != BALANCE)
    codes = units.codes[moving]
    then = scan.row[moving] + scan.value[moving][:, None] * scan.weight[moving]
    table[codes, : LANES * nv] = padded(then, nv)
    # The value itself, to be taken off again once the segment is netted and discounted.
    table[codes, LANES * (nv + 2)] = scan.value[moving]


def _fill_costs(
    table: Floats, layout: Layout, units: Units, scan: ScanUnits | None, nv: int
) -> None:
    """Rows of what was paid: less equity, and what that is revalued by in a scenario.

    Both are read off a contract settled in the asset, entered at nothing and at the mark.
    """
    frame, one = units.sized(1.0, at_mark=True), units.sized(1.0)
    terms = frame.terms
    profit, _ = one.position_values()
    gained = equities(one) - equities(frame)
    for code in np.flatnonzero(layout.what == COST).tolist():
        asset = int(layout.item[code])
        index = frame.book.position_instrument
        of_asset = (terms.settlement[index] == asset) & (frame.book.position_quantity != 0)
        of_asset &= np.isin(terms.kind[index], [KIND_CODE["perpetual"], KIND_CODE["future"]])
        same = of_asset & (layout.group[units.codes] == layout.group[code])
        rows = np.flatnonzero(same if same.any() else of_asset)
        if not rows.size:
            continue
        row = int(rows[0])
        table[code, LANES * nv + EQUITY_IM] = gained[0, row] / profit[row]
        table[code, LANES * nv + EQUITY_MM] = gained[1, row] / profit[row]
        if scan is not None and layout.group_asset[layout.group[code]] >= 0:
            table[code, : LANES * nv] = padded(scan.paid[row] / profit[row], nv)


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
