"""The market file's optional section ``history``."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import MarketDataError
from crossmargin.market.factor_history import FactorHistory, factor_history
from crossmargin.units import format_time


class HistoryEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Daily closes by coin and contract (``BTC-PERP``), US dollars; thirty-day volatilities.

    null where there is none.
    """

    days: list[str]
    prices: dict[str, list[float | None]]
    vols: dict[str, list[float | None]] = {}
    source: str = ""


def read_history(entry: HistoryEntry, as_of_ns: int) -> FactorHistory:
    """Check the section; no day may end after the market's own time.

    Raises
    ------
    MarketDataError
        ``MKT-011`` a day after the market, ``MKT-043`` figures that are none.
    """
    today = format_time(as_of_ns)[:10]
    late = [day for day in entry.days if day > today]
    if late:
        raise MarketDataError(
            f"the history has {late[0]}, after the market's own time {format_time(as_of_ns)}",
            code="MKT-011",
            field="history.days",
        )

    def numbers(table: dict[str, list[float | None]]) -> dict[str, list[float]]:
        return {k: [math.nan if x is None else x for x in row] for k, row in table.items()}

    return factor_history(
        entry.days, numbers(entry.prices), numbers(entry.vols), source=entry.source
    )


def write_history(history: FactorHistory) -> HistoryEntry:
    """Write a history back."""

    def rows(names: tuple[str, ...], table: NDArray[np.float64]) -> dict[str, list[float | None]]:
        return {
            name: [None if math.isnan(x) else x for x in table[:, k].tolist()]
            for k, name in enumerate(names)
        }

    return HistoryEntry(
        days=list(history.days),
        prices=rows(history.coins, history.price) | rows(history.contracts, history.contract),
        vols=rows(history.vol_coins, history.vol),
        source=history.source,
    )
