"""Maintenance brackets as functions of price, and the liquidation condition solved in them.

All else unmoved, a cross account is liquidated where its equity falls to its maintenance margin.
With the price of one position's coin going from its mark p to P, and MM the position's own
margin, that is

    a = equity − ΣMM today = MM(|q|·P) − MM(|q|·p) − q·(P − p)

The left side is one number for all positions of a cross pool: the *available* margin. Each
liquidation price that a venue states therefore implies it, and it in turn implies every other.

Source: Hyperliquid documentation, trading/liquidations, as compiled in venues.md section 5
(published): P − side·available/|q|/(1 − l·side) with l the maintenance rate at the liquidation
price, to which this comes down within one bracket.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError
from crossmargin.margin import Ruleset
from crossmargin.margin.components import RateMargin, Tier

Floats = NDArray[np.float64]

#: Single brackets that inference tries: one for each whole max leverage up to this.
MAX_LEVERAGE = 50


@dataclass(frozen=True, slots=True)
class TierTable:
    """Brackets of maintenance margin, continuous in the notional.

    Attributes
    ----------
    floors : tuple of float
        USD, from 0 upwards.
    rates : tuple of float
        Of the slice above each floor.
    """

    floors: tuple[float, ...]
    rates: tuple[float, ...]

    @property
    def leverages(self) -> tuple[float, ...]:
        """Max leverage of each bracket: MM is half of 1/max leverage (venues.md section 5)."""
        return tuple(round(0.5 / rate, 9) for rate in self.rates)

    @property
    def words(self) -> str:
        """Write the table: ``10x to 3 m, 5x``."""
        parts = []
        for place, leverage in enumerate(self.leverages):
            upto = self.floors[place + 1 : place + 2]
            parts.append(f"{leverage:g}x" + (f" to {upto[0] / 1e6:g} m" if upto else ""))
        return ", ".join(parts)

    def _arrays(self) -> tuple[Floats, Floats, Floats]:
        floors, rates = np.array(self.floors), np.array(self.rates)
        return floors, rates, np.concatenate([[0.0], np.cumsum(floors[1:] * np.diff(rates))])

    def margin(self, notional: Floats) -> Floats:
        """Maintenance margin in USD: ``notional·rate[n] − deduction[n]``."""
        floors, rates, deduction = self._arrays()
        n = np.maximum(np.searchsorted(floors, notional, side="left") - 1, 0)
        return np.asarray(notional * rates[n] - deduction[n])

    def available(self, quantity: Floats, mark: Floats, price: Floats) -> Floats:
        """Available margin that a liquidation at `price` implies, USD; see the module."""
        size = np.abs(quantity)
        own = self.margin(size * price) - self.margin(size * mark)
        return np.asarray(own - quantity * (price - mark))

    def price(self, quantity: Floats, mark: Floats, available: Floats) -> Floats:
        """Solve the liquidation price for an available margin; NaN where there is none above 0.

        The condition is monotone in the price (rates are below 1), so the bracket of the
        solution is found by comparing with its value where brackets meet.
        """
        floors, rates, deduction = self._arrays()
        size, side = np.abs(quantity), np.sign(quantity)
        n = np.zeros(size.size, dtype=np.int64)
        for floor in floors[1:]:
            # Shorts need more the higher the price, longs the lower.
            met = self.available(quantity, mark, floor / size)
            n += side * (met - available) > 0
        today = self.margin(size * mark)
        top = available + today + deduction[n] - quantity * mark
        solved = top / (rates[n] * size - quantity)
        return np.asarray(np.where(solved > 0, solved, np.nan))


def table_of(tiers: list[Tier]) -> TierTable:
    """Return the maintenance side of a rule-set's brackets."""
    return TierTable(tuple(t.floor for t in tiers), tuple(t.mm for t in tiers))


def bracket_component(ruleset: Ruleset) -> RateMargin:
    """Return the component of marginal brackets that a rule-set's maintenance margin is.

    Raises
    ------
    RulesetError
        ``RUL-011`` when its maintenance margin is anything else.
    """
    rates = [c for c in ruleset.data.components if isinstance(c, RateMargin)]
    good = (
        len(rates) == 1 == len(ruleset.data.components)
        and rates[0].scheme == "marginal"
        and ruleset.data.combine.mm.strip() == rates[0].name
        and all(0.0 < t.mm < 1.0 for tiers in rates[0].tiers.values() for t in tiers)
    )
    if not good:
        raise RulesetError(
            f"the maintenance margin of rule-set {ruleset.id!r} is not one component of marginal "
            "brackets with rates between 0 and 1",
            code="RUL-011",
            field="components",
            hint="liquidation prices are reconciled under a rule-set such as hyperliquid",
        )
    return rates[0]


def listed_tables(ruleset: Ruleset, coins: tuple[str, ...]) -> dict[str, TierTable]:
    """Return the table of each coin that a rule-set lists; coins are matched in upper case."""
    tiers = bracket_component(ruleset).tiers
    found = ((coin, tiers.get(coin.upper()) or tiers.get("default")) for coin in coins)
    return {coin: table_of(known) for coin, known in found if known}


def menu_of(ruleset: Ruleset) -> tuple[TierTable, ...]:
    """Return the tables that inference tries, simplest first.

    Single brackets at every whole max leverage, and every table that the rule-set uses: the venue
    says that its tables have ids and that coins share them (trading/margin-tiers, published).
    """
    single = [TierTable((0.0,), (0.5 / top,)) for top in range(1, MAX_LEVERAGE + 1)]
    used = {table_of(tiers) for tiers in bracket_component(ruleset).tiers.values()}
    shared = sorted(used - set(single), key=lambda t: (len(t.floors), t.floors, t.rates))
    return (*single, *shared)
