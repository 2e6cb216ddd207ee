"""The table of a program as a function of prices: straight lines, and curves of options.

Entries are those of signed rows (:mod:`~crossmargin.margin.live._signed`), in US dollars. Apart
from options every entry is a straight line in ρ, the price of the underlying over its price when
the rules were compiled; entries of options are sums of curves with fixed factors. Both are held
against tables that the rule-set's own engine fills at other prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin._faults import Faults
from crossmargin.margin._option_charges import basis_share
from crossmargin.margin._scan import _stress_bounds
from crossmargin.margin.components import BasisContingency
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._layout import POSITION
from crossmargin.margin.fused._program import Program, _assemble
from crossmargin.margin.fused._shapes import shape_of
from crossmargin.margin.live._contracts import describe_options
from crossmargin.margin.live._curves import Options
from crossmargin.margin.live._signed import NotBounded, Signed, signed_plan, signed_table
from crossmargin.market import MarketView

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Prices at which the description of the table is held against the engine's own.
PROBES = (1.0, 0.83, 1.19)
#: Largest difference that passes for rounding, relative to the value of the contract's underlying.
_SAME = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """Assets whose prices move the book.

    Attributes
    ----------
    asset : int64[D]
        The leader of each family of assets that move in proportion.
    of_asset : int64[assets]
        Driver of each asset; -1 for one that stands still (a stablecoin).
    of_code, of_group, of_pot : int64[...]
        Driver of each code, group and pot's numeraire; -1 where none.
    """

    asset: Ints
    of_asset: Ints
    of_code: Ints
    of_group: Ints
    of_pot: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionLanes:
    """Factors of curves in the rows of one driver's options.

    Attributes
    ----------
    options : Options
        Contracts.
    first, plus, minus : float64[n, S]
        Scenario lane s counts ``first·V_s + (plus + minus)·V_0``, `plus` at least 0 and `minus`
        at most 0; weights included.
    equity : float64[n, 2]
        Factor of V_0 in equity, for longs and shorts.
    value : float64[n]
        Factor of V_0 in the lane of values under a static discount.
    pair : float64[n]
        Factor of ``V_up − V_0`` and ``V_down − V_0`` in the lanes of a pair of moves.
    net, limit : float64[n]
        Factor of ``unit·F·Δ`` in the lane of net deltas by bucket, and of the limited delta.
    """

    options: Options
    first: Floats
    plus: Floats
    minus: Floats
    equity: Floats
    value: Floats
    pair: Floats
    net: Floats
    limit: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Everything that is known about a table as a function of prices.

    Attributes
    ----------
    signed : Signed
        Where lanes are.
    drivers : Drivers
        What moves.
    fixed, rate : float64[2C, W]
        Straight lines: ``fixed + rate·ρ``; 0 in the lanes that options' curves fill.
    options : list of OptionLanes or None
        By driver.
    gross : float64[C]
        Largest figure of a row, US dollars: what rounding is measured by.
    unknown : bool[C]
        Codes that no bound covers.
    grouped : bool[C]
        Codes that are in a group with a requirement.
    """

    signed: Signed
    drivers: Drivers
    fixed: Floats
    rate: Floats
    options: list[OptionLanes | None]
    gross: Floats
    unknown: NDArray[np.bool_]
    grouped: NDArray[np.bool_]

    @property
    def stuck(self) -> bool:
        """Whether something that has a requirement is moved by no price."""
        return bool(np.any(self.grouped & (self.drivers.of_code < 0)))


def drivers_of(program: Program) -> Drivers:
    """Find the assets that move a program's table.

    Raises
    ------
    NotBounded
        Where one figure depends on two of them.
    """
    layout, registry = program.layout, program.registry
    names = registry.assets
    index = {name: k for k, name in enumerate(names)}
    groups = program.ruleset.data.groups
    leader = np.array([index.get(groups.get(a, a), k) for k, a in enumerate(names)], dtype=np.int64)
    terms = registry.terms
    held = layout.item[layout.what == POSITION]
    moving = np.unique(leader[terms.underlying[held]])
    of = np.full(len(names), -1, dtype=np.int64)
    of[moving] = np.arange(moving.size)
    of_asset = of[leader]
    position = layout.what == POSITION
    of_code = np.where(position, -1, of_asset[np.where(position, 0, layout.item)])
    of_code[position] = of_asset[terms.underlying[held]]
    for code in np.flatnonzero(position).tolist():
        i = int(layout.item[code])
        for asset in (int(terms.settlement[i]), int(terms.quote[i])):
            if of_asset[asset] not in (-1, of_code[code]):
                raise NotBounded(f"{registry[i].id} depends on the prices of two assets")
    pot_asset = layout.pot_asset
    of_pot = np.where(pot_asset < 0, -1, of_asset[np.maximum(pot_asset, 0)])
    first = np.searchsorted(layout.group, np.arange(layout.group_asset.size))
    of_group = np.where(layout.group_asset < 0, -1, of_code[first])
    mixed = (of_pot[layout.pot] != -1) & (of_code != of_pot[layout.pot])
    if mixed.any():
        raise NotBounded("a pot in a coin holds what depends on another asset")
    return Drivers(
        asset=moving, of_asset=of_asset, of_code=of_code, of_group=of_group, of_pot=of_pot
    )


def rho_of(view: MarketView, home: MarketView, drivers: Drivers, base: Floats) -> Floats:
    """Return the prices of all drivers in another market, as multiples of their base.

    Parameters
    ----------
    view, home : MarketView
        That market, and the one that the drivers were found in.
    drivers : Drivers
        What moves.
    base : float64[D]
        Prices of the drivers where multiples are 1.

    Raises
    ------
    NotBounded
        Where a price moves that is no driver's, or otherwise than its driver's.
    """
    rho = np.asarray(view.asset_usd[drivers.asset] / base)
    of = drivers.of_asset[: view.asset_usd.size]
    whole = np.where(of >= 0, rho[np.maximum(of, 0)], 1.0)
    with np.errstate(invalid="ignore"):
        wrong = np.abs(view.asset_usd - home.asset_usd * whole) > 1e-14 * np.abs(view.asset_usd)
    wrong |= np.isnan(view.asset_usd) != np.isnan(home.asset_usd)
    if wrong.any():
        raise NotBounded("the price of an asset moves more than lines: compile the rules anew")
    return rho


def price_table(program: Program) -> PriceTable:
    """Describe a program's table as a function of prices, and hold it against the engine.

    Raises
    ------
    NotBounded
        With a sentence, where a figure is neither a straight line nor a sum of known curves.
    """
    drivers = drivers_of(program)
    signed = signed_plan(program)
    probed = [program if rho == 1.0 else program_at(program, drivers, rho) for rho in PROBES]
    for one in probed:
        require_same_lanes(program, one)
    tables = [signed_table(one, signed) for one in probed]
    found = [_option_lanes(program, drivers, signed, d, tables) for d in range(drivers.asset.size)]
    curved = np.zeros_like(tables[0], dtype=bool)
    for lanes in found:
        if lanes is not None:
            _mark_curved(curved, lanes, signed)
    rate = (tables[2] - tables[1]) / (PROBES[2] - PROBES[1])
    fixed = np.where(curved, 0.0, tables[0] - rate * PROBES[0])
    gross = np.abs(np.where(np.isfinite(tables[0]), tables[0], 0.0)).max(axis=1)
    unknown = program.apart.copy()
    unknown[list(program.bad)] = True
    out = PriceTable(
        signed=signed, drivers=drivers, fixed=fixed, rate=np.where(curved, 0.0, rate),
        options=found, gross=gross.reshape(-1, 2).max(axis=1), unknown=unknown,
        grouped=program.in_group[program.layout.group],
    )  # fmt: skip
    _hold(program, out, tables)
    return out


def require_same_lanes(program: Program, other: Program) -> None:
    """See that two programs of one layout keep their parts in the same lanes.

    Parts that are alike, or that keep to one ratio, in a market share a lane there; rounding
    decides it where few contracts are left. A table is then read by the wrong columns.

    Raises
    ------
    NotBounded
        Where they do not.
    """
    mine, theirs = program.lanes, other.lanes
    alike = mine.value == theirs.value and all(
        np.array_equal(getattr(mine, name), getattr(theirs, name)) for name in ("columns", "shape")
    )
    if not alike:
        raise NotBounded("parts of the requirement share a lane at some prices and not at others")


def program_at(
    program: Program, drivers: Drivers, rho: float | Floats, view: MarketView | None = None
) -> Program:
    """Fill the program's table anew in a market in which the drivers have moved.

    Parameters
    ----------
    program : Program
        Compiled.
    drivers : Drivers
        What moves.
    rho : float or float64[D]
        Price of each driver over its price in that market.
    view : MarketView, optional
        The market from which they have moved; default that of the program.
    """
    ratio = np.ones(len(program.registry.assets))
    moved = np.broadcast_to(np.asarray(rho, dtype=np.float64), drivers.asset.shape)
    inside = drivers.of_asset >= 0
    ratio[inside] = moved[drivers.of_asset[inside]]
    units = program.units
    home = units.frame.view if view is None else view
    moved_view = home.shocked(ratio[: home.asset_usd.size], program.registry.terms)
    shaped = [shape_of(spec) for spec in program.ruleset.data.components]
    with np.errstate(all="ignore"):
        return _assemble(program.layout, shaped, units.in_market(moved_view), program.bad,
                         Faults(units.codes.size))  # fmt: skip


def _option_lanes(
    program: Program, drivers: Drivers, signed: Signed, driver: int, tables: list[Floats]
) -> OptionLanes | None:
    """Describe the options of a driver; None where there are none."""
    layout, frame = program.layout, program.units.frame
    terms, view = frame.terms, frame.view
    good = (layout.what == POSITION) & (drivers.of_code == driver) & ~program.apart
    good[list(program.bad)] = False
    code = np.flatnonzero(good)
    code = code[terms.kind[layout.item[code]] == KIND_CODE["option"]]
    if not code.size:
        return None
    item = layout.item[code]
    if np.any(view.price_fixed[item] != 0.0) or np.any(view.years[item] <= 0.0):
        raise NotBounded("an option's settlement has begun to be averaged")
    options = describe_options(program, code)
    first, second, value = _scenario_factors(program, options, item)
    basis = np.zeros(code.size)
    for spec in program.ruleset.data.components:
        if isinstance(spec, BasisContingency):
            basis = basis_share(spec, frame, item)
    scale = options.unit * options.forward
    kind = np.stack([terms.expiry_ns[item], terms.settlement[item].astype(np.int64)], axis=1)
    expiry = np.unique(kind, axis=0, return_inverse=True)[1].reshape(-1)
    net = signed.pair if signed.net else -1
    return OptionLanes(
        options=options, first=first, plus=np.maximum(second, 0.0),
        minus=np.minimum(second, 0.0), value=value, pair=basis,
        equity=_fitted_equity(options, code, tables, signed.equity),
        net=_fitted_delta(options, code, expiry, scale, tables[0], net),
        limit=_fitted_delta(options, code, expiry, scale, tables[0], signed.limit),
    )  # fmt: skip


def _scenario_factors(
    program: Program, options: Options, item: Ints
) -> tuple[Floats, Floats, Floats]:
    """Factors of V_s and V_0 in scenario lanes, and of V_0 in the lane of values."""
    n = item.size
    spec = program.ruleset.scan
    if spec is None:
        return np.zeros((n, 0)), np.zeros((n, 0)), np.zeros(n)
    frame, layout = program.units.frame, program.layout
    terms = frame.terms
    s = frame.table.scenarios
    names = program.registry.assets
    u = s.underlyings.index(names[layout.group_asset[layout.group[options.code[0]]]])
    weight, move = s.weight[u], s.move[u]
    settle = terms.settlement[item]
    pot = layout.pot_asset[layout.pot[options.code]]
    leader = {name: program.ruleset.data.groups.get(name, name) for name in names}
    home = np.array([leader[names[a]] == s.underlyings[u] for a in settle])
    moves = home & (settle != pot) & (spec.conversion == "shocked")
    inverse = terms.inverse[item]
    first = np.where(inverse[:, None], 1.0 / (1.0 + move), 1.0)
    first = first * np.where(moves[:, None], 1.0 + move, 1.0)
    second = np.where(moves[:, None], -(1.0 + move), -1.0)
    if any(rule.stress != "none" for rule in program.ruleset.data.collateral.assets.values()):
        low, high = _stress_bounds(frame, settle.astype(np.int64))
        held = np.clip(move[None, :], low[:, None], high[:, None])
        second = second + np.where(moves[:, None], held, 0.0)
    dated = spec.static_discount is not None
    second = second + (1.0 if dated else 0.0)
    return first * weight, second * weight, np.full(n, 1.0 if dated else 0.0)


def _fitted_equity(options: Options, code: Ints, tables: list[Floats], lane: int) -> Floats:
    """Factor of an option's value in equity, read off the contracts that are worth something."""
    out = np.empty((code.size, 2))
    scale = options.unit * options.forward
    values = np.stack(
        [options.curves(r, options.deviation)[0][:, options.today] / scale for r in PROBES]
    )
    for sign in range(2):
        seen = np.stack([t[2 * code + sign, lane] / scale for t in tables])
        best = np.argmax(values, axis=0)
        pick = np.take_along_axis(values, best[None], axis=0)[0]
        ratio = np.take_along_axis(seen, best[None], axis=0)[0] / np.maximum(pick, 1e-300)
        sure = pick > 1e-3
        if not sure.any():
            raise NotBounded("no option is worth enough to see how its value counts")
        # One rule for all options: those worth nothing take the factor of the dearest.
        out[:, sign] = np.where(sure, ratio, ratio[np.argmax(pick)])
    return out


def _fitted_delta(
    options: Options, code: Ints, expiry: Ints, scale: Floats, table: Floats, lane: int
) -> Floats:
    """Factor of a net delta by expiry and settlement, read off the contract with the largest."""
    out = np.zeros(code.size)
    if lane < 0:
        return out
    delta = options.curves(1.0, options.deviation)[1][:, options.today]
    for when in np.unique(expiry):
        rows = np.flatnonzero(expiry == when)
        best = rows[np.argmax(np.abs(delta[rows]) / scale[rows])]
        if abs(delta[best]) < 1e-3 * scale[best]:
            raise NotBounded("no option has delta enough to see how it counts")
        out[rows] = table[2 * code[best], lane] / delta[best]
    return out


def _mark_curved(curved: NDArray[np.bool_], lanes: OptionLanes, signed: Signed) -> None:
    """Mark the entries that curves fill."""
    rows = np.concatenate([2 * lanes.options.code, 2 * lanes.options.code + 1])
    mine = np.zeros(curved.shape[1], dtype=bool)
    mine[: LANES * signed.nv] = True
    mine[signed.equity] = True
    if signed.value >= 0:
        mine[signed.value] = True
    for pair in (signed.limit, signed.pair):
        if pair >= 0:
            mine[pair : pair + 2] = True
    curved[rows] = mine


def _hold(program: Program, prices: PriceTable, tables: list[Floats]) -> None:
    """Hold the description against the engine's tables."""
    from crossmargin.margin.live._tables import Filler

    known = np.repeat(~prices.unknown, 2)
    scale = np.repeat(np.maximum(prices.gross, 1e-300), 2)[:, None]
    for lanes in prices.options:
        if lanes is not None:
            # Values of options are measured by their underlying's.
            code = lanes.options.code
            size = np.maximum(scale[2 * code, 0], lanes.options.unit * lanes.options.forward)
            scale[2 * code, 0] = scale[2 * code + 1, 0] = size
    filler = Filler(program, prices)
    for rho, table in zip(PROBES, tables):
        mine = filler.exact(np.full(prices.drivers.asset.size, rho))
        error = np.where(known[:, None], np.abs(mine - table) / scale, 0.0)
        worst = error.max(initial=0.0)
        if not worst <= _SAME:
            row, lane = np.unravel_index(int(np.argmax(error)), error.shape)
            raise NotBounded(
                f"lane {lane} of {_name(program, int(row) // 2)} is neither a straight line nor a "
                f"known curve of the price (off by {worst:.1e})"
            )


def _name(program: Program, code: int) -> str:
    layout, item = program.layout, int(program.layout.item[code])
    if layout.what[code] == POSITION:
        return program.registry[item].id
    return program.registry.assets[item]
