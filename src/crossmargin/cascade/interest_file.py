"""Recorded open interest: a table of contracts, moments, open interest and prices.

Source: requirements row A21 (open interest by contract, expiry and strike; quadrants of price and
open interest).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade.open_interest import (
    InterestBreakdown,
    Quadrant,
    interest_breakdown,
    quadrants,
)
from crossmargin.errors import CascadeError, InputError
from crossmargin.units import format_time

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What a table has to say, and what else it may; a user's own names stand in for them.
COLUMNS = ("contract", "open_interest", "price", "time")
_NEEDED = COLUMNS[:2]


@dataclass(frozen=True, slots=True, kw_only=True)
class InterestSteps:
    """Open interest of one underlying through time.

    Attributes
    ----------
    underlying : str
    times_ns : int64[T]
    interest : float64[T]
        All contracts together, in the unit of the table.
    price : float64[T]
        Median of the prices of its rows; NaN where the table has none.
    expired : float64[T - 1]
        Open interest that ended with its contract within the step, as last recorded before it.
    traded : float64[T - 1]
        Change of open interest without what expired.
    reading : tuple of str [T - 1]
        Quadrant of each step, from price and `traded`: an expiry closes nobody out. Empty without
        prices.
    """

    underlying: str
    times_ns: Ints
    interest: Floats
    price: Floats
    expired: Floats
    traded: Floats
    reading: tuple[Quadrant, ...]

    def by_quadrant(self) -> dict[str, tuple[int, float]]:
        """Return the number of steps of each quadrant, and what was traded on or off in them."""
        found: dict[str, tuple[int, float]] = {}
        for name, change in zip(self.reading, self.traded.tolist()):
            count, total = found.get(name, (0, 0.0))
            found[name] = (count + 1, total + change)
        return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedInterest:
    """What a table says at one moment, and on the way there.

    Attributes
    ----------
    at_ns : int or None
        Moment of the breakdown; None where the table names none.
    breakdown : tuple of InterestBreakdown
        By underlying.
    price : dict of str to float
        By underlying, at that moment; empty without prices.
    steps : tuple of InterestSteps
        By underlying, up to that moment; empty where the table names no moments.
    """

    at_ns: int | None
    breakdown: tuple[InterestBreakdown, ...]
    price: dict[str, float]
    steps: tuple[InterestSteps, ...]


def read_interest(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    at_ns: int | None = None,
    least: float = 0.0,
) -> RecordedInterest:
    """Read recorded open interest (Parquet or CSV).

    Parameters
    ----------
    path : str or Path
        A row for each contract, or for each contract and moment.
    columns : mapping of str to str, optional
        Name in the table of each of :data:`COLUMNS` that has another there.
    at_ns : int, optional
        The breakdown is of the last moment up to this one; default the last of all.
    least : float
        Relative moves up to this are none, for the quadrants.

    Raises
    ------
    InputError
        ``INP-003`` for a missing column or a figure that cannot be, ``INP-005`` for the file.
    CascadeError
        ``CAS-022`` where nothing was recorded by then.
    """
    table = _table(Path(path), dict(columns or {}))
    if "time" not in table.columns:
        return RecordedInterest(at_ns=None, breakdown=_split(table), price=_prices(table), steps=())
    if at_ns is not None:
        table = table.filter(table["time"] <= at_ns)
    if not table.height:
        assert at_ns is not None
        raise CascadeError(
            f"no open interest was recorded up to {format_time(at_ns)}", code="CAS-022", field="at"
        )
    last = int(table["time"].max())  # type: ignore[arg-type]
    now = table.filter(table["time"] == last)
    return RecordedInterest(
        at_ns=last,
        breakdown=_split(now),
        price=_prices(now),
        steps=tuple(_steps(table, coin, least) for coin in sorted(set(table["underlying"]))),
    )


def _table(path: Path, names: dict[str, str]) -> pl.DataFrame:
    """Return contract, underlying, open interest, and price and moment where they are."""
    import polars as pl

    from crossmargin.instruments import parse_instrument
    from crossmargin.market.history import moments_of, numbers_of, read_table

    if strange := sorted(set(names) - set(COLUMNS)):
        raise InputError(
            f"no column is called {strange[0]!r} here", code="INP-003", field=strange[0],
            hint=f"one of {', '.join(COLUMNS)}",
        )  # fmt: skip
    raw = read_table(path)
    given = {name: names.get(name, name) for name in COLUMNS}
    for name, own in given.items():
        if own not in raw.columns and (name in _NEEDED or name in names):
            raise InputError(
                f"{path.name!r} has no column {own!r} for {name}: it has "
                f"{', '.join(raw.columns[:12])}",
                code="INP-003",
                field=name,
                hint=f"name it, for example {name}={raw.columns[0]}",
            )
    contracts = raw[given["contract"]].cast(pl.String)
    if contracts.null_count() or not raw.height:
        raise InputError(
            f"{path.name!r} has no rows, or a row without a contract", code="INP-003",
            field="contract",
        )  # fmt: skip
    made = {"contract": contracts, "open_interest": pl.Series(numbers_of(raw,
            given["open_interest"]))}  # fmt: skip
    coins = {name: parse_instrument(name).underlying for name in set(contracts)}
    made["underlying"] = contracts.replace_strict(coins, return_dtype=pl.String)
    if given["price"] in raw.columns:
        made["price"] = pl.Series(numbers_of(raw, given["price"]))
    if given["time"] in raw.columns:
        made["time"] = moments_of(raw[given["time"]]).dt.epoch("ns")
    table = pl.DataFrame(made)
    good = table["open_interest"].is_finite() & (table["open_interest"] >= 0)
    if not bool(good.all()):
        row = int((~good).arg_max() or 0)
        raise InputError(
            f"row {row + 1} of {path.name!r} has an open interest of "
            f"{table['open_interest'][row]:g}",
            code="INP-003",
            instrument=table["contract"][row],
            field="open_interest",
            hint="a number, at least 0; leave out rows of contracts without one",
        )
    keys = ["contract", "time"] if "time" in table.columns else ["contract"]
    if bool((twice := table.select(keys).is_duplicated()).any()):
        raise InputError(
            f"{path.name!r} has a contract twice at one moment", code="INP-003",
            instrument=table["contract"][int(twice.arg_max() or 0)], field="contract",
        )  # fmt: skip
    return table


def _split(table: pl.DataFrame) -> tuple[InterestBreakdown, ...]:
    rows = zip(table["contract"].to_list(), table["open_interest"].to_list())
    return interest_breakdown({name: amount for name, amount in rows if amount > 0})


def _prices(table: pl.DataFrame) -> dict[str, float]:
    if "price" not in table.columns:
        return {}
    found = {}
    for coin in sorted(set(table["underlying"])):
        price = table.filter(table["underlying"] == coin)["price"].to_numpy()
        good = price[np.isfinite(price) & (price > 0)]
        if good.size:
            found[coin] = float(np.median(good))
    return found


def _steps(table: pl.DataFrame, coin: str, least: float) -> InterestSteps:
    import polars as pl

    mine = table.filter(table["underlying"] == coin)
    sums = [pl.col("open_interest").sum()]
    if "price" in mine.columns:
        good = pl.col("price").is_finite() & (pl.col("price") > 0)
        sums.append(pl.col("price").filter(good).median())
    out = mine.group_by("time").agg(*sums).sort("time")
    times = out["time"].to_numpy().astype(np.int64)
    interest = out["open_interest"].to_numpy().astype(np.float64)
    price = np.full(times.size, math.nan)
    if "price" in out.columns:
        price = out["price"].cast(pl.Float64).fill_null(math.nan).to_numpy().astype(np.float64)
    expired = _expired(mine, times)
    reading: list[Quadrant] = []
    if bool(np.isfinite(price).all()):
        for k, gone in enumerate(expired.tolist()):
            before = max(float(interest[k]) - gone, 0.0)
            pair = [before, float(interest[k + 1])]
            reading += quadrants(price[k : k + 2], pair, least=least)
    return InterestSteps(
        underlying=coin,
        times_ns=times,
        interest=interest,
        price=price,
        expired=expired,
        traded=np.diff(interest) + expired,
        reading=tuple(reading),
    )


def _expired(table: pl.DataFrame, times: Ints) -> Floats:
    """Open interest whose contract expired within each step, as last recorded before it."""
    import polars as pl

    from crossmargin.instruments import expiry_of, parse_instrument

    out = np.zeros(max(times.size - 1, 0))
    ends = {name: expiry_of(parse_instrument(name)) or 0 for name in set(table["contract"])}
    dated = table.with_columns(
        pl.col("contract").replace_strict(ends, return_dtype=pl.Int64).alias("ends")
    ).filter(pl.col("ends") > 0)
    step = np.searchsorted(times, dated["ends"].to_numpy(), side="left")
    before = np.searchsorted(times, dated["time"].to_numpy())
    # Recorded at the moment before the step in which it ends.
    hit = (step >= 1) & (step < times.size) & (before == step - 1)
    np.add.at(out, step[hit] - 1, dated["open_interest"].to_numpy()[hit])
    return out


def largest_strikes(sides: Sequence[Mapping[float, float]], most: int) -> list[float]:
    """Return the strikes with the most open interest over all sides, by strike."""
    total: dict[float, float] = {}
    for side in sides:
        for strike, amount in side.items():
            total[strike] = total.get(strike, 0.0) + amount
    chosen = sorted(total, key=lambda strike: (-total[strike], strike))[:most]
    return sorted(chosen)
