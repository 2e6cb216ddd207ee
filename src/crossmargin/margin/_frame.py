"""The priced frame: a book, arranged for a rule-set, in one market."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import Book
from crossmargin.errors import CrossmarginError, MarketDataError, RulesetError
from crossmargin.instruments import KIND_CODE, Terms
from crossmargin.margin._arrange import USD, Arrangement, underlying_aliases
from crossmargin.margin._faults import Faults
from crossmargin.margin._location import LeftOut
from crossmargin.margin._sums import in_turns as in_turns
from crossmargin.margin._sums import least_by as least_by
from crossmargin.margin._sums import sum_by as sum_by
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import MarketView
from crossmargin.pricing import black76, black76_price_delta_vega
from crossmargin.scenarios import (
    Kernel,
    RiskTable,
    TablePlan,
    build_scenarios,
    build_table,
    plan_table,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


def _numbered(values: Ints | Floats) -> Ints:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


#: Columns by instrument or asset: what the market alone decides.
MARKET_COLUMNS = (
    "unit_coins",
    "unit_delta",
    "index_quote",
    "asset_usd_or_one",
    "rate",
    "discount",
    "table",
    "unit_value",
)

#: What a frame keeps when only the numbers in its rows change.
_OF_MARKET_AND_ROWS = ("pot_usd", "segment_rate", "position_rate", *MARKET_COLUMNS)


def missing_rate(instrument: str, ruleset: str) -> MarketDataError:
    """Return the refusal of an instrument for whose expiry the market has no interest rate."""
    return MarketDataError(
        f"the market has no interest rate for the expiry of {instrument}, which rule-set "
        f"{ruleset!r} needs",
        code="MKT-016",
        instrument=instrument,
        field="forwards.rate",
        hint="add rate to the forward of that expiry in the market (0 is a rate)",
    )


@dataclass(frozen=True)
class Frame:
    """Everything a component may read.

    Parameters
    ----------
    book, ruleset, arrangement
        Who holds what, by which rules, arranged.
    view : MarketView
        The market aligned with the book's registry.
    kernel : {"numpy", "numba"}
        Pricing kernel of the risk table.
    entry : float64[N]
        Entry price of each position, "mark" resolved to the mark of the account's own market:
        in a shocked market it stays what it was.
    memo : dict
        What depends on the arrangement alone, worked out once and shared by every market the
        book is looked at in.
    left_out : LeftOut, optional
        Balances that do not count by where they are; `book` has 0 in their place.
    faults : Faults, optional
        Where accounts that must be refused are noted; without it the first one is raised.
    shares : bool
        Whether the shares of positions and balances are wanted. Without them stages may leave
        them at 0, which is quicker.
    closed_rows : bool
        Whether rows of quantity 0 are legs that a question has closed or not yet opened; else
        they are units that somebody measures, and count as held.
    """

    book: Book
    ruleset: Ruleset
    arrangement: Arrangement
    view: MarketView
    kernel: Kernel = "numpy"
    entry: Floats | None = None
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    left_out: LeftOut | None = None
    faults: Faults | None = field(default=None, compare=False, repr=False)
    shares: bool = True
    closed_rows: bool = False

    def refuse(self, pot: Ints, make: Callable[[int], CrossmarginError]) -> None:
        """Refuse the accounts of some rows: raise the first reason, or note all of them.

        Parameters
        ----------
        pot : int64[K]
            Pot of each row at fault, in the order of the stage; may be empty.
        make : callable
            Gives the reason of the k-th row.
        """
        if not pot.size:
            return
        if self.faults is None:
            raise make(0)
        self.faults.note(self.book.pool_account[self.arrangement.pot_pool[pot]], make)

    def refused_pots(self) -> NDArray[np.bool_]:
        """Pots of accounts that were refused; none where refusing raises."""
        if self.faults is None:
            return np.zeros(self.arrangement.pots, dtype=np.bool_)
        return self.faults.bad[self.book.pool_account[self.arrangement.pot_pool]]

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Return what `make` gave the first time; for what no price changes."""
        if key not in self.memo:
            self.memo[key] = make()
        value: T = self.memo[key]
        return value

    @cached_property
    def _here(self) -> dict[str, Any]:
        return {}

    def once_here(self, key: str, make: Callable[[], T]) -> T:
        """Return what `make` gave the first time in this market; for what prices change."""
        if key not in self._here:
            self._here[key] = make()
        value: T = self._here[key]
        return value

    def in_market(self, view: MarketView) -> Frame:
        """Return the same arranged book in another market."""
        return replace(self, view=view)

    def with_book(self, book: Book, entry: Floats | None = None) -> Frame:
        """Return the frame with other numbers in the same rows.

        Only quantities, entry prices, amounts and order legs may differ: rows, instruments,
        assets and pools must be those of this frame's book. What depends on the market and the
        rows alone (prices per unit, the risk table) is shared, so that asking about many sizes
        prices the market once.

        Parameters
        ----------
        book : Book
            The same rows.
        entry : float64[N], optional
            Entry prices without gaps; default those of this frame.
        """
        other = replace(self, book=book, entry=self.entry if entry is None else entry)
        for name in _OF_MARKET_AND_ROWS:
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    @property
    def terms(self) -> Terms:
        """Terms of the instruments as they were when the frame was made."""
        return self.once("terms", lambda: self.book.registry.terms)

    @property
    def leg_quantity(self) -> Floats:
        """Quantities of order legs; what has expired can no longer fill."""
        book = self.book
        return np.where(self.view.settled[book.leg_instrument], 0.0, book.leg_quantity)

    @cached_property
    def live_pot(self) -> NDArray[np.bool_]:
        """Pots with a position or order that has not expired, or with debt.

        All pots where the rule-set stresses idle ones. With `closed_rows` a row that holds
        nothing makes no pot live.
        """
        book, a = self.book, self.arrangement
        live = np.full(a.pots, self.ruleset.data.collateral.stress_idle)
        held = ~self.view.settled[book.position_instrument]
        if self.closed_rows:
            held &= book.position_quantity != 0.0
        live[a.position_pot[held]] = True
        live[a.group_pot[a.leg_group[~self.view.settled[book.leg_instrument]]]] = True
        live[a.balance_pot[book.balance_amount < 0]] = True
        return live

    def shocked(self, ratio: Floats) -> Frame:
        """Return the frame with each asset's price multiplied by a ratio."""
        return self.in_market(self.view.shocked(ratio, self.terms))

    # ---- assets ------------------------------------------------------------------------

    @property
    def follow(self) -> Ints:
        """Asset whose scenarios each asset takes."""
        return self.once("follow", lambda: underlying_aliases(self.book, self.ruleset))

    @cached_property
    def pot_usd(self) -> Floats:
        """US dollars per unit of each pot's numeraire."""
        asset = self.arrangement.pot_asset
        return np.where(asset == USD, 1.0, self.view.asset_usd[np.maximum(asset, 0)])

    @cached_property
    def segment_rate(self) -> Floats:
        """Numeraire units per unit of each segment's settlement asset."""
        a = self.arrangement
        pot = a.group_pot[a.segment_group]
        rate = self.view.asset_usd[a.segment_asset] / self.pot_usd[pot]
        return np.where(a.segment_asset == a.pot_asset[pot], 1.0, rate)

    @cached_property
    def position_rate(self) -> Floats:
        """Numeraire units per unit of each position's settlement asset."""
        return self.segment_rate[self.arrangement.position_segment]

    @property
    def expiry_number(self) -> Ints:
        """Number of each instrument's expiry, in order of time."""
        return self.once("expiry_number", lambda: _numbered(self.terms.expiry_ns))

    @property
    def strike_number(self) -> Ints:
        """Number of each instrument's strike, in ascending order; the last where there is none."""
        return self.once("strike_number", lambda: _numbered(self.terms.strike))

    # ---- instruments -------------------------------------------------------------------

    @property
    def used(self) -> Ints:
        """Instruments held or ordered."""
        return self.once("used", self.book.instruments_used)

    @cached_property
    def unit_coins(self) -> Floats:
        """Coins per unit of quantity, by instrument (inverse futures: at the mark)."""
        terms = self.terms
        usd_units = terms.inverse & (terms.kind != KIND_CODE["option"])
        with np.errstate(invalid="ignore", divide="ignore"):
            coins: Floats = np.where(
                usd_units, terms.contract_size / self.view.price, terms.contract_size
            )
        return coins

    @cached_property
    def unit_delta(self) -> Floats:
        """Delta in coins per unit of quantity, by instrument (options: Black-76, forward)."""
        terms = self.terms
        delta = self.unit_coins.copy()
        used = self.used
        opt = used[terms.kind[used] == KIND_CODE["option"]]
        if opt.size:
            forward = self.view.price[opt]
            _, slope, _ = black76_price_delta_vega(
                forward,
                terms.strike[opt],
                self.view.years[opt],
                self.view.vol[opt],
                terms.is_call[opt],
            )
            # Only the part of the forward that still moves carries delta.
            moving = self.view.price_variable[opt] / forward
            delta[opt] = slope * moving * terms.contract_size[opt] * self.discount[opt]
        return np.where(self.view.settled, 0.0, delta)

    @cached_property
    def index_quote(self) -> Floats:
        """Index price of each instrument's underlying, in its quote currency."""
        usd = self.asset_usd_or_one
        return np.asarray(usd[self.terms.underlying] / usd[self.terms.quote], dtype=np.float64)

    @cached_property
    def asset_usd_or_one(self) -> Floats:
        """Prices of assets with US dollars at 1."""
        prices = self.view.asset_usd
        names = self.book.registry.assets[: prices.size]
        return np.where([name == "USD" for name in names], 1.0, prices)

    @property
    def plan(self) -> TablePlan:
        """Plan of the risk table over the instruments used."""
        return self.once("plan", self._plan)

    def _plan(self) -> TablePlan:
        spec = self.ruleset.data.scenarios
        if spec is None:
            raise RulesetError(
                f"rule-set {self.ruleset.id!r} has no scenarios", code="RUL-005", field="scenarios"
            )
        names = self.book.registry.assets
        groups = np.unique(self.arrangement.group_underlying)
        return plan_table(
            self.book.registry,
            build_scenarios(spec, [names[g] for g in groups]),
            rows=self.used,
            underlying_alias=self.ruleset.data.groups,
        )

    @cached_property
    def table(self) -> RiskTable:
        """The risk table over the instruments used."""
        return build_table(self.plan, self.view, kernel=self.kernel, discount=self.discount)

    @cached_property
    def rate(self) -> Floats:
        """Interest rate to each instrument's expiry, at least 0; NaN where there is none."""
        return np.maximum(self.view.rate, 0.0)

    @cached_property
    def discount(self) -> Floats:
        """Discount factor of each instrument's value: 1 unless the rule-set discounts options.

        Raises
        ------
        MarketDataError
            ``MKT-016`` when the rule-set discounts and the market has no rate for an option.
        """
        factor = np.ones(len(self.book.registry))
        if self.ruleset.data.discounting == "none":
            return factor
        opt = self.used[self.terms.kind[self.used] == KIND_CODE["option"]]
        self.require_rate(opt)
        factor[opt] = np.exp(-self.rate[opt] * self.view.years[opt])
        return factor

    def require_rate(self, instrument: Ints) -> None:
        """Refuse, by name, an instrument for whose expiry the market has no interest rate."""
        missing = instrument[np.isnan(self.view.rate[instrument])]
        if missing.size:
            raise missing_rate(self.book.registry[int(missing[0])].id, self.ruleset.id)

    @property
    def group_scenario_row(self) -> Ints:
        """Row of each group's underlying in the scenario arrays."""
        return self.once("group_scenario_row", self._group_scenario_row)

    def _group_scenario_row(self) -> Ints:
        names = self.book.registry.assets
        place = {name: row for row, name in enumerate(self.plan.scenarios.underlyings)}
        # An underlying without scenarios is refused before; 0 only stands where it was noted.
        rows = np.array([place.get(name, 0) for name in names], dtype=np.int64)
        return rows[self.arrangement.group_underlying]

    @cached_property
    def unit_value(self) -> Floats:
        """Value of one unit of quantity in its settlement asset: options and spot; else NaN."""
        terms = self.terms
        value = np.full(len(self.book.registry), np.nan)
        used = self.used
        opt = used[terms.kind[used] == KIND_CODE["option"]]
        if opt.size:
            forward = self.view.price[opt]
            price = black76(
                forward,
                terms.strike[opt],
                self.view.years[opt],
                self.view.vol[opt],
                terms.is_call[opt],
            )
            value[opt] = np.where(terms.inverse[opt], price / forward, price) * self.discount[opt]
        spot = used[terms.kind[used] == KIND_CODE["spot"]]
        value[spot] = self.view.price[spot]
        return value * terms.contract_size

    def fill_gain(self, instrument: Ints, quantity: Floats, price: Floats) -> Floats:
        """Profit in the settlement asset from having filled at `price` (NaN: at the mark)."""
        terms = self.terms
        size = terms.contract_size[instrument]
        mark = self.view.price[instrument]
        has_value = (terms.kind[instrument] == KIND_CODE["option"]) | (
            terms.kind[instrument] == KIND_CODE["spot"]
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(
                has_value,
                self.unit_value[instrument] - price * size,
                np.where(
                    terms.inverse[instrument],
                    size * (1.0 / price - 1.0 / mark),
                    size * (mark - price),
                ),
            )
        return np.where(np.isnan(price), 0.0, quantity * gain)

    def position_values(self, quantity: Floats | None = None) -> tuple[Floats, Floats]:
        """Return unrealised profit and market value of each position in its settlement asset.

        Futures and perpetuals have profit and no value; options and spot have value and no
        profit (their premium has left the balance).

        Parameters
        ----------
        quantity : float64[N], optional
            Quantities to use instead of the book's; both results are linear in them.
        """
        index = self.book.position_instrument
        q = self.book.position_quantity if quantity is None else quantity
        entry = self.book.position_entry if self.entry is None else self.entry
        valued = np.isin(self.terms.kind[index], [KIND_CODE["option"], KIND_CODE["spot"]])
        value = np.where(valued, q * self.unit_value[index], 0.0)
        profit = np.where(valued, 0.0, self.fill_gain(index, q, entry))
        return profit, value

    def notional(self, instrument: Ints, quantity: Floats) -> Floats:
        """Absolute notional in the settlement asset, by row."""
        terms = self.terms
        coins = np.abs(quantity) * self.unit_coins[instrument]
        return np.where(terms.inverse[instrument], coins, coins * self.view.price[instrument])
