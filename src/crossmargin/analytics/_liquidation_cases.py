"""Predictions of liquidation prices from the largest position of each account."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossmargin.analytics._tier_inference import Bools, Floats, Ints, Observed
from crossmargin.analytics._tier_tables import TierTable
from crossmargin.venues.hyperliquid_recorded import PositionRecords

#: A predicted price is right within this, relative to the stated one.
TOLERANCE = 1e-9
#: Decimals to which the venue prints prices at most, and money (USD); seen in the data.
PRICE_DECIMALS, MONEY_DECIMALS = 10, 6


def slack_usd(quantity: Floats, mark: Floats, price: Floats) -> Floats:
    """Return how far printed digits leave the implied available margin open, USD.

    Half a unit of the price's last digit (or of its float) on the quantity, with the margin on
    it, half a unit of money at either end, and the arithmetic's own rounding.
    """
    unit = np.maximum(0.5 * 10.0**-PRICE_DECIMALS, np.spacing(price))
    size = np.abs(quantity)
    money = 2.0 * 0.5 * 10.0**-MONEY_DECIMALS
    return np.asarray(1.5 * size * unit + 1.5 * money + 4.0 * np.spacing(size * (price + mark)))


@dataclass(frozen=True, slots=True)
class Cases:
    """Rows with a liquidation price and, for each, the largest such position of its pool."""

    rows: Ints
    seen: Observed
    reference: Ints
    snapshot: Ints
    quantity: Floats
    mark: Floats
    price: Floats

    @property
    def asked(self) -> Bools:
        """Rows that are predicted: all but the references themselves."""
        return np.asarray(self.reference != np.arange(self.reference.size))


def cases_of(records: PositionRecords, menu: tuple[TierTable, ...]) -> Cases:
    """Pick the rows with a liquidation price and the reference of each."""
    rows = np.flatnonzero(~np.isnan(records.liquidation))
    q, mark = records.quantity[rows], records.mark[rows]
    price, account = records.liquidation[rows], records.account[rows]
    key = records.snapshot[rows] * len(records.accounts) + account
    # Rows are sorted by falling value within a pool: the first is the largest.
    _, first, pool = np.unique(key, return_index=True, return_inverse=True)
    seen = Observed(
        pool=pool.astype(np.int64),
        coin=records.coin[rows],
        holding=account * len(records.coins) + records.coin[rows],
        implied=np.stack([t.available(q, mark, price) for t in menu], axis=1),
        slack=slack_usd(q, mark, price),
    )
    return Cases(rows, seen, first[pool], records.snapshot[rows], q, mark, price)


def predict(
    menu: tuple[TierTable, ...], table: Ints, quantity: Floats, mark: Floats, available: Floats
) -> Floats:
    """Liquidation prices under each position's own table; NaN where there is none."""
    out = np.full(table.size, np.nan)
    for place in np.unique(table[table >= 0]).tolist():
        mine = table == place
        out[mine] = menu[place].price(quantity[mine], mark[mine], available[mine])
    return out


def errors_of(cases: Cases, menu: tuple[TierTable, ...], table: Ints) -> Floats:
    """Relative error of every prediction; infinite where none can be made."""
    available = cases.seen.under(table)[cases.reference]
    made = predict(menu, table, cases.quantity, cases.mark, available)
    return np.nan_to_num(np.abs(made / cases.price - 1.0), nan=np.inf)
