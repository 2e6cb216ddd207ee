"""Made-up accounts of a venue with marginal brackets, and the liquidation prices it would state.

Everything here is plain Python, apart from the package: slices added up one by one, and the price
found by halving an interval.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

#: Floors in USD and max leverage from there on.
Brackets = Sequence[tuple[float, float]]

START = datetime(2026, 2, 3, 12, tzinfo=UTC)


def slices(brackets: Brackets, notional: float) -> float:
    """Maintenance margin: half of the initial rate of each slice."""
    total = 0.0
    for place, (floor, leverage) in enumerate(brackets):
        top = brackets[place + 1][0] if place + 1 < len(brackets) else float("inf")
        if notional > floor:
            total += (min(notional, top) - floor) / leverage / 2.0
    return total


def liquidation_price(
    brackets: Brackets, quantity: float, mark: float, available: float
) -> float | None:
    """Find where equity meets maintenance margin by halving, or None where it does nowhere."""

    def excess(price: float) -> float:
        own = slices(brackets, abs(quantity) * price) - slices(brackets, abs(quantity) * mark)
        return available + quantity * (price - mark) - own

    if quantity > 0:
        low, high = 0.0, mark
        if excess(0.0) >= 0.0:
            return None
    else:
        low, high = mark, 2.0 * mark
        while excess(high) > 0.0:
            high *= 2.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if (excess(middle) > 0.0) == (quantity > 0):
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


def row(
    snapshot: int, address: str, coin: str, quantity: float, mark: float, price: float | None
) -> dict[str, Any]:
    """One recorded position, printed as the venue prints it."""
    size = abs(quantity)
    return {
        "snapshot_ts": START + timedelta(hours=6 * snapshot),
        "address": address,
        "coin": coin,
        "direction": "Long" if quantity > 0 else "Short",
        "size": size,
        "entryPx": mark,
        "leverage": 5.0,
        "leverageType": None,
        "positionValue": round(size * mark, 6),
        "liquidationPx": None if price is None else round(price, 10),
    }


def cross_rows(
    snapshot: int,
    address: str,
    held: Mapping[str, tuple[float, float]],
    brackets: Mapping[str, Brackets],
    available: float,
) -> list[dict[str, Any]]:
    """Positions (quantity and mark by coin) that share one available margin."""
    return [
        row(snapshot, address, coin, q, mark, liquidation_price(brackets[coin], q, mark, available))
        for coin, (q, mark) in held.items()
    ]


def population(
    brackets: Mapping[str, Brackets],
    *,
    accounts: int = 12,
    snapshots: int = 6,
    older: Mapping[tuple[str, str], Brackets] | None = None,
    fenced: Mapping[tuple[str, str], float] | None = None,
    seed: int = 7,
) -> list[dict[str, Any]]:
    """Accounts that hold every coin at every snapshot while marks move.

    `older` gives the brackets of single positions by (address, coin); `fenced` the liquidation
    price, which stands still, of isolated ones.
    """
    rng = random.Random(seed)
    base = {coin: round(rng.uniform(1.0, 2_000.0), 2) for coin in brackets}
    lots = {
        (f"0x{a:02d}", coin): rng.choice((-1.0, 1.0)) * round(rng.uniform(1.0, 900.0), 2)
        for a in range(accounts)
        for coin in brackets
    }
    rows = []
    for snapshot in range(snapshots):
        marks = {c: round(p * rng.uniform(0.8, 1.2), 2) for c, p in base.items()}
        for a in range(accounts):
            address = f"0x{a:02d}"
            available = round(rng.uniform(2e4, 4e5), 6)
            for coin in brackets:
                q, fence = lots[address, coin], (fenced or {}).get((address, coin))
                table = (older or {}).get((address, coin), brackets[coin])
                found = fence or liquidation_price(table, q, marks[coin], available)
                rows.append(row(snapshot, address, coin, q, marks[coin], found))
    return rows


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as the recorded file has them."""
    return pl.DataFrame(
        rows,
        schema={
            "snapshot_ts": pl.Datetime("us", "UTC"),
            "address": pl.String,
            "coin": pl.String,
            "direction": pl.String,
            "size": pl.Float64,
            "entryPx": pl.Float64,
            "leverage": pl.Float64,
            "leverageType": pl.String,
            "positionValue": pl.Float64,
            "liquidationPx": pl.Float64,
        },
    ).with_columns(pl.col("address", "coin", "direction", "leverageType").cast(pl.Categorical))


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as a recorded file."""
    frame(rows).write_parquet(path)
    return path
