"""Recorded Deribit option marks reproduced from the recorded volatility and forward."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from crossmargin.pricing import Kernel, black76_inverse, implied_vol

FILE = "deribit_options_2026q1.parquet"
CRASH = datetime(2026, 2, 5, 21, 29, tzinfo=UTC)
NS_PER_YEAR = 365 * 86_400 * 1_000_000_000


@pytest.fixture(scope="module")
def marks() -> pl.DataFrame:
    folder = os.environ.get("CROSSMARGIN_DATA")
    if not folder:
        pytest.skip("CROSSMARGIN_DATA is not set: recorded Deribit marks are not checked")
    path = Path(folder) / FILE
    if not path.is_file():
        pytest.skip(f"{FILE} is not in CROSSMARGIN_DATA: recorded Deribit marks are not checked")
    frame = pl.read_parquet(
        path,
        columns=[
            "timestamp",
            "option_type",
            "strike",
            "expiry_datetime",
            "underlying",
            "mark_price",
            "implied_volatility",
        ],
    )
    return frame.with_columns(
        years=(pl.col("expiry_datetime") - pl.col("timestamp"))
        .dt.total_nanoseconds()
        .clip(lower_bound=0)
        / NS_PER_YEAR
    )


def _errors(frame: pl.DataFrame, kernel: Kernel = "numpy") -> NDArray[np.float64]:
    """|our mark − theirs| in coin."""
    model = black76_inverse(
        frame["underlying"].to_numpy(),
        frame["strike"].to_numpy(),
        frame["years"].to_numpy(),
        frame["implied_volatility"].to_numpy(),
        (frame["option_type"] == "call").to_numpy(),
        kernel=kernel,
    )
    return np.abs(model - frame["mark_price"].to_numpy())


def test_every_snapshot(marks: pl.DataFrame) -> None:
    assert marks["timestamp"].n_unique() == 359
    errors = _errors(marks, "numba")
    assert errors.size > 560_000
    assert np.median(errors) <= 1e-5
    assert np.quantile(errors, 0.99) <= 6e-4


def test_crash_snapshot(marks: pl.DataFrame) -> None:
    minute = pl.col("timestamp").dt.truncate("1m")
    crash = marks.filter(minute.dt.strftime("%Y-%m-%dT%H:%M") == CRASH.strftime("%Y-%m-%dT%H:%M"))
    assert crash.height > 1_000
    errors = _errors(crash)
    assert np.median(errors) <= 3e-5
    assert np.quantile(errors, 0.99) <= 1.1e-3


def test_recorded_volatility_is_recovered_from_our_price(marks: pl.DataFrame) -> None:
    """The round trip on real strikes and maturities: what is not refused is right to 1e-8."""
    part = marks.gather_every(29)
    forward, strike = part["underlying"].to_numpy(), part["strike"].to_numpy()
    years, vol = part["years"].to_numpy(), part["implied_volatility"].to_numpy()
    is_call = (part["option_type"] == "call").to_numpy()
    price = black76_inverse(forward, strike, years, vol, is_call) * forward
    solved = implied_vol(price, forward, strike, years, is_call)
    assert solved.ok.mean() > 0.95
    assert np.max(np.abs(solved.vol - vol)[solved.ok]) <= 1e-8
