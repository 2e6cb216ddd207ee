"""Table rows of some codes at other prices, computed directly.

Compiling asks the reference engine about a unit of every code, which takes tens of milliseconds;
between two ticks only prices differ. What they do not change (scenario moves and weights, rates,
discounts, volatilities by scenario) is read off the compiled program once; what they do change is
computed here by the same formulas, for the touched codes alone. A test holds every row to what
compiling in that market gives.

Source: the stages named in each function; figures are those of the rule-set.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin._option_charges import basis_share
from crossmargin.margin._phi import settlement_rule
from crossmargin.margin._scan import _stress_bounds
from crossmargin.margin.components import (
    BasisContingency,
    CollateralConfidence,
    CorrelationContingency,
    DeltaConcentration,
    NakedShort,
    OracleConfidence,
    PegFactor,
    RateMargin,
    Roll,
    Scan,
)
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._layout import POSITION
from crossmargin.margin.fused._program import EQUITY_IM, EQUITY_MM, Program
from crossmargin.market import MarketView
from crossmargin.pricing._numba import grid_arrays, price_delta_vega_arrays
from crossmargin.scenarios._table import turned_multiplier, vol_multiplier

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_KNOWN = (
    Scan,
    Roll,
    DeltaConcentration,
    RateMargin,
    BasisContingency,
    NakedShort,
    PegFactor,
    OracleConfidence,
    CollateralConfidence,
    CorrelationContingency,
)


@numba.njit(nogil=True, cache=True)
def _scenario_rows(
    option: Any, inverse: Any, fixed: Any, variable: Any, unit: Any, now: Any, grid: Any, move: Any,
    rate: Any, gross: Any, counted: Any, held: Any, worth: Any, dated: Any, weight: Any,
    shocked: bool, row: Any, out: Any,
) -> None:  # fmt: skip
    """Write the scenario lanes of positions; see `DirectRows._positions`."""
    columns, lanes = move.shape[1], out.shape[1]
    at = 0
    for k in range(option.size):
        price = fixed[k] + variable[k]
        for s in range(columns):
            then_price = fixed[k] + variable[k] * (1.0 + move[k, s])
            if option[k]:
                then = grid[at, s]
                if inverse[k]:
                    then /= then_price
                change = then - now[k]
            elif inverse[k]:
                change = 1.0 / price - 1.0 / then_price
            else:
                change = then_price - price
            x = change * unit[k] * rate[k] * counted[k, s]
            if shocked:
                x += gross[k] * held[k, s]
            if dated[k]:
                x += worth[k] * weight[k, s]
            out[row[k], s] = x
        for s in range(columns, lanes):
            out[row[k], s] = out[row[k], 0]
        if option[k]:
            at += 1


class DirectRows:
    """Rows of some codes of a program, as functions of prices.

    Parameters
    ----------
    program : Program
        Compiled in a market that differs from those asked about in prices and volatilities only.
    codes : int64[K]
        Which; all of them valued.

    Raises
    ------
    LookupError
        Where a component or a haircut has no direct formula; the program must be assembled anew.
    """

    def __init__(self, program: Program, codes: Ints) -> None:
        if not all(isinstance(spec, _KNOWN) for spec in program.ruleset.data.components):
            raise LookupError("a component without a direct formula")
        self._program = program
        layout = program.layout
        # What the kernel does not compute has no row.
        known = codes[~program.apart[codes] & ~np.isin(codes, list(program.bad))]
        held = layout.what[known] == POSITION
        self._codes, self._others = known[held], known[~held]
        self._bind_others()
        self._bind_positions()
        if program.scanned:
            self._bind_scan()
        self._bind_components()
        self._vol: Floats | None = None

    @property
    def codes(self) -> Ints:
        """Codes of the rows."""
        return np.concatenate([self._codes, self._others])

    # ---- what prices do not change -------------------------------------------------------

    def _bind_others(self) -> None:
        """Balances and costs: a row is worth what a unit of its asset is worth in its pot."""
        p, layout = self._program, self._program.layout
        frame = p.units.frame
        self._asset = layout.item[self._others]
        self._other_pot = layout.pot_asset[layout.pot[self._others]]
        data = p.ruleset.data.collateral
        names = p.registry.assets
        for asset in self._asset.tolist():
            rule = data.assets.get(names[asset]) or data.assets.get("default")
            if (rule is not None and rule.price == "par") or names[asset] in data.stable_usd:
                raise LookupError("a haircut that depends on the price")
        self._other_rows = (
            p.table[self._others] / self._per(frame.view, self._asset, self._other_pot)[:, None]
        )

    def _per(self, view: MarketView, asset: Ints, pot: Ints) -> Floats:
        """Numeraire units per unit of some assets."""
        usd = np.where(self._is_dollar, 1.0, view.asset_usd)
        return np.where(asset == pot, 1.0, usd[asset] / np.where(pot < 0, 1.0, usd[pot]))

    @property
    def _is_dollar(self) -> NDArray[np.bool_]:
        return dollars(self._program)

    def _bind_positions(self) -> None:
        p, layout = self._program, self._program.layout
        frame = p.units.frame
        terms, view = frame.terms, frame.view
        item = self._item = layout.item[self._codes]
        self._settle = terms.settlement[item].astype(np.int64)
        self._pot = layout.pot_asset[layout.pot[self._codes]]
        self._option = terms.kind[item] == KIND_CODE["option"]
        self._spot = terms.kind[item] == KIND_CODE["spot"]
        self._inverse = terms.inverse[item]
        self._unit = terms.contract_size[item] * frame.discount[item]
        self._settled = view.settled[item]
        self._index = terms.underlying[item], terms.quote[item]
        self._options = np.flatnonzero(self._option)
        at = item[self._options]
        self._strike, self._call = terms.strike[at], terms.is_call[at]
        self._years = view.years[at]
        # Where each position's unit is in the unit book.
        self._unit_row = np.searchsorted(p.units.codes, self._codes)

    def _bind_scan(self) -> None:
        p = self._program
        spec, frame = p.ruleset.scan, p.units.frame
        assert spec is not None
        a, table = frame.arrangement, frame.table
        self._scenarios = s = table.scenarios
        segment = a.position_segment[self._unit_row]
        group = a.segment_group[segment]
        self._home = frame.group_scenario_row[group]
        option = self._option[:, None]
        shock = np.where(option, s.move[self._home], s.move_linear[self._home])
        self._move = np.ascontiguousarray(shock)
        self._weight = np.ascontiguousarray(s.weight[self._home])
        moves = frame.follow[self._settle] == a.group_underlying[group]
        moves &= (self._settle != self._pot) & (spec.conversion == "shocked")
        self._counted = self._weight * np.where(moves[:, None], 1.0 + shock, 1.0)
        low, high = _stress_bounds(frame, self._settle)
        moves &= ~self._settled | p.ruleset.data.collateral.stress_idle
        clipped = np.clip(shock, low[:, None], high[:, None])
        self._held = self._weight * np.where(moves[:, None], clipped, 0.0)
        self._shocked = bool(self._held.any())
        dated = a.segment_expiry[segment] >= 0
        self._dated = dated & (spec.static_discount is not None)

    def _bind_components(self) -> None:
        """Figures of the rule-set by code: rates of rolls and of notionals, shares of losses."""
        p, layout = self._program, self._program.layout
        frame = p.units.frame
        view = frame.view
        rate = self._per(view, self._settle, self._pot)
        self._bind_lanes()
        part = p.table[self._codes, LANES * p.nv :]
        # Spot counts at its haircuts, which prices do not change.
        self._spot_at = np.flatnonzero(self._spot)
        worth = (self._linear_worth(view) * rate)[self._spot_at]
        self._spot_rows = part[self._spot_at][:, self._equity_lanes] / worth[:, None]
        self._roll: dict[str, Floats] = {}
        self._rates: dict[str, Floats] = {}
        for spec in p.ruleset.data.components:
            if isinstance(spec, Roll):
                self._roll[spec.name] = self._roll_rates(spec)
            elif isinstance(spec, RateMargin):
                notional = (self._notional(spec, view) * rate)[:, None]
                charged = part[:, self._lane[spec.name]]
                self._rates[spec.name] = np.divide(
                    charged, notional, where=notional > 0, out=np.zeros_like(charged)
                )
        leader = layout.group_asset[layout.group[self._codes]]
        self._leader = np.maximum(leader, 0)

    def _bind_lanes(self) -> None:
        """Find the lanes of each part, by what combines them.

        Raises
        ------
        LookupError
            Where two parts happen to share a lane, because they were alike when it was compiled.
        """
        p = self._program
        columns = p.lanes.columns
        equity = [columns[c].tolist() for c in (EQUITY_IM, EQUITY_MM)]
        self._first = sorted({row[0] for row in equity})
        self._equity_lanes = sorted({lane for row in equity for lane in row[:2] if lane >= 0})
        self._lane: dict[str, list[int]] = {}
        for spec in p.ruleset.data.components:
            if isinstance(spec, Scan | PegFactor) or spec.name not in p.combine.parts:
                continue
            used = {column for column, _ in p.combine.parts[spec.name] if column > 0}
            if isinstance(spec, DeltaConcentration):
                used = {p.limits[spec.name][0]}
            self._lane[spec.name] = sorted({int(columns[c, 0]) for c in used})
        taken = [self._equity_lanes, *self._lane.values()]
        if p.lanes.value >= 0:
            taken.append([p.lanes.value])
        every = [lane for lanes in taken for lane in lanes]
        if len(every) != len(set(every)):
            raise LookupError("two parts share a lane")

    def _roll_rates(self, spec: Roll) -> Floats:
        """Rate of each position's expiry (:func:`crossmargin.margin._charges.run_roll`)."""
        frame = self._program.units.frame
        years = frame.view.years[self._item]
        years = np.where(np.isinf(years), 0.0, years)
        out = np.zeros(self._codes.size)
        for k, asset in enumerate(self._settle.tolist()):
            rule = settlement_rule(spec.currencies, frame, asset)
            assert rule is not None
            out[k] = max(rule.floor, rule.annual * years[k])
        # Spot has no basis to roll.
        return np.where(self._spot, 0.0, out)

    # ---- what they change ----------------------------------------------------------------

    def _linear_worth(self, view: MarketView) -> Floats:
        """Profit of one unit entered at nothing, or the value of spot, in settlement assets."""
        price = view.price_fixed[self._item] + view.price_variable[self._item]
        with np.errstate(divide="ignore"):
            return np.asarray(np.where(self._inverse, -self._unit / price, self._unit * price))

    def _notional(self, spec: RateMargin, view: MarketView) -> Floats:
        """Notional of one unit in its settlement asset (``_formula._contract_values``)."""
        price = view.price_fixed[self._item] + view.price_variable[self._item]
        coins = np.where(self._inverse & ~self._option, self._unit / price, self._unit)
        quoted = self._index_price(view) if spec.price == "index" else price
        return np.asarray(coins * np.where(self._inverse, 1.0, quoted))

    def _index_price(self, view: MarketView) -> Floats:
        usd = np.where(self._is_dollar, 1.0, view.asset_usd)
        return np.asarray(usd[self._index[0]] / usd[self._index[1]])

    def _vols(self, view: MarketView, forward: Floats) -> list[tuple[Ints, int, Floats]]:
        """Volatility of each option in each state, by underlying of the scenario set.

        As :func:`crossmargin.scenarios._table._option_rows`; only turned surfaces depend on the
        price.
        """
        if self._vol is not view.vol:
            self._vol = view.vol
            self._base_vols = []
            s = self._scenarios
            for u in np.unique(self._home[self._options]).tolist():
                mine = np.flatnonzero(self._home[self._options] == u)
                shock, sigma = s.shocks[u], view.vol[self._item[self._options[mine]]]
                up, down = shock.vols(s.underlyings[u])
                multiplier = vol_multiplier(
                    shock, self._years[mine], s.reference_days,
                    reference_is_short=s.reference_is_short,
                )  # fmt: skip
                vols = sigma[:, None] * multiplier
                if shock.vol_unit == "points":
                    vols[:, 1], vols[:, 2] = sigma + up, np.maximum(0.0, sigma - down)
                vols[:, 1] = np.maximum(vols[:, 1], shock.vol_floor_up)
                self._base_vols.append((mine, u, sigma, vols))
        out = []
        for mine, u, sigma, vols in self._base_vols:
            turn = self._scenarios.shocks[u].turn
            if self._scenarios.turned.any() and turn is not None:
                turned = turned_multiplier(
                    turn, self._strike[mine], forward[mine], self._years[mine]
                )
                vols = np.concatenate([vols, sigma[:, None] * turned], axis=1)
            out.append((mine, u, vols))
        return out

    def fill(self, table: Floats, view: MarketView) -> None:
        """Write the rows in a market into a table of the program's shape."""
        if self._others.size:
            per = self._per(view, self._asset, self._other_pot)
            table[self._others] = self._other_rows * per[:, None]
        if self._codes.size:
            self._positions(table, view)

    def _positions(self, table: Floats, view: MarketView) -> None:
        p, codes, item, o = self._program, self._codes, self._item, self._options
        wide = LANES * p.nv
        fixed, variable = view.price_fixed[item], view.price_variable[item]
        rate = self._per(view, self._settle, self._pot)
        price = fixed + variable
        now, delta = np.zeros(codes.size), np.zeros(codes.size)
        forward = price[o]
        if o.size:
            now[o], slope, _ = price_delta_vega_arrays(
                forward, self._strike, self._years, view.vol[item[o]], self._call
            )
            delta[o] = slope * (variable[o] / forward) * self._unit[o]
        now = np.where(self._inverse, now / price, now)
        worth = np.where(self._option, now * self._unit, self._linear_worth(view))
        gross = worth * rate
        part = table[:, wide:]
        part[np.ix_(codes, self._equity_lanes)] = 0.0
        for lane in self._first:
            part[codes, lane] = gross
        if self._spot_at.size:
            part[np.ix_(codes[self._spot_at], self._equity_lanes)] = (
                self._spot_rows * gross[self._spot_at, None]
            )
        if p.scanned:
            grid = self._grid(view, forward, fixed[o], variable[o])
            today = np.where(self._dated, gross, 0.0)
            _scenario_rows(
                self._option, self._inverse, fixed, variable, self._unit, now, grid, self._move,
                rate, gross, self._counted, self._held, today, self._dated, self._weight,
                self._shocked, codes, table[:, :wide],
            )  # fmt: skip
            if p.lanes.value >= 0:
                part[codes, p.lanes.value] = today
        coins = np.where(self._inverse, self._unit / price, self._unit)
        delta = np.where(self._settled, 0.0, np.where(self._option, delta, coins))
        self._components(part, view, delta, rate, worth)

    def _grid(self, view: MarketView, forward: Floats, fixed: Floats, variable: Floats) -> Floats:
        s = self._scenarios
        out = np.empty((self._options.size, s.size))
        years = np.maximum(self._years - s.horizon_days / 365.0, 0.0)
        for mine, u, vols in self._vols(view, forward):
            whole = mine.size == out.shape[0]
            block = out if whole else np.empty((mine.size, s.size))
            grid_arrays(
                fixed[mine], variable[mine], self._strike[mine], years[mine], self._call[mine],
                s.move[u], vols, s.vol_state, block,
            )  # fmt: skip
            if not whole:
                out[mine] = block
        return out

    def _components(
        self, part: Floats, view: MarketView, delta: Floats, rate: Floats, worth: Floats
    ) -> None:
        p, codes = self._program, self._codes
        quoted = np.where(self._inverse, 1.0, self._index_price(view))
        for spec in p.ruleset.data.components:
            lanes = self._lane.get(spec.name, [])
            if isinstance(spec, Roll):
                part[codes, lanes[0]] = self._roll[spec.name] * rate * delta * quoted
            elif isinstance(spec, DeltaConcentration):
                usd = np.where(self._is_dollar, 1.0, view.asset_usd)[self._leader]
                part[codes, lanes[0]] = np.nan_to_num(delta * usd)
            elif isinstance(spec, RateMargin):
                notional = self._notional(spec, view) * rate
                part[np.ix_(codes, lanes)] = self._rates[spec.name] * notional[:, None]
            elif isinstance(spec, NakedShort):
                live = self._option & ~self._settled & bool(spec.im or spec.mm)
                size = p.units.frame.terms.contract_size[self._item]
                part[codes, lanes[0]] = np.where(live, size * quoted * rate, 0.0)
            elif isinstance(spec, BasisContingency):
                self._basis(spec, part, lanes[0], view, rate, worth)

    def _basis(
        self, spec: BasisContingency, part: Floats, slot: int, view: MarketView, rate: Floats,
        worth: Floats,
    ) -> None:  # fmt: skip
        """As :func:`crossmargin.margin._option_charges.basis_changes`."""
        o = self._options
        if not o.size:
            return
        item = self._item[o]
        move = np.array([spec.up, spec.down])
        fixed, variable = view.price_fixed[item], view.price_variable[item]
        then = np.empty((o.size, 2))
        grid_arrays(
            fixed, variable, self._strike, self._years, self._call, move,
            np.ascontiguousarray(view.vol[item])[:, None], np.zeros(2, dtype=np.int64), then,
        )  # fmt: skip
        inverse = self._inverse[o]
        if inverse.any():
            forward = fixed[:, None] + variable[:, None] * (1.0 + move)
            then = np.where(inverse[:, None], then / forward, then)
        moved = then * self._unit[o][:, None] - worth[o][:, None]
        share = basis_share(spec, self._program.units.frame, item) * rate[o]
        share = np.where(self._settled[o], 0.0, share)
        part[self._codes[o], slot : slot + 2] = moved * share[:, None]


def dollars(program: Program) -> NDArray[np.bool_]:
    """Which assets are US dollars, of those that the program's market knows."""
    names = program.registry.assets[: program.units.frame.view.asset_usd.size]
    return np.array([name == "USD" for name in names], dtype=bool)
