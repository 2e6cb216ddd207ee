"""Histories from tables and folders, and the volatility proxy."""

from __future__ import annotations

import gzip
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossmargin.errors import InputError
from crossmargin.pricing import black76
from crossmargin.validation import house_portfolios, index_level, make_history, read_history
from crossmargin.validation.proxy_error import level_of_chain


def table(path: Path, **columns: object) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


def test_a_table_of_hours_becomes_days(tmp_path: Path) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    hours = [start + timedelta(hours=k) for k in range(48)] * 2
    path = table(
        tmp_path / "mine.parquet",
        date=hours,
        symbol=["BTC"] * 48 + ["BTC-PERP"] * 48,
        close=[100.0 + k for k in range(48)] + [101.0 + k for k in range(48)],
        vol=[0.5 + 0.001 * k for k in range(48)] + [None] * 48,
        funding=[0.0] * 48 + [1e-5] * 48,
    )
    made = read_history(path)
    assert made.days == ("2024-01-01", "2024-01-02")
    assert made.symbols == ("BTC", "BTC-PERP")
    assert made.price.tolist() == [[123.0, 124.0], [147.0, 148.0]]
    assert made.carry[:, 1] == pytest.approx([24e-5, 24e-5])
    assert made.vol[:, 0] == pytest.approx([0.523, 0.547])
    assert np.isnan(made.vol[:, 1]).all()
    assert made.source == "mine.parquet"


def test_gaps_of_two_days_are_carried_and_longer_ones_are_not() -> None:
    made = make_history({"A": {"2024-01-01": 1.0, "2024-01-04": 2.0, "2024-01-08": 3.0}})
    assert made.filled == 2
    assert made.price[:4, 0].tolist() == [1.0, 1.0, 1.0, 2.0]
    assert np.isnan(made.price[4:7, 0]).all()
    assert len(made.days) == 8


def test_a_folder_of_recorded_data(tmp_path: Path) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    hours = [start + timedelta(hours=k) for k in range(48)]
    for name in ("binance_spot_1h", "binance_perp_1h"):
        table(
            tmp_path / f"{name}.parquet", symbol=["BTCUSDT"] * 48, date=hours,
            close=[float(k + 1) for k in range(48)],
        )  # fmt: skip
    table(
        tmp_path / "binance_funding.parquet", symbol=["BTCUSDT"] * 3,
        date=[start, start + timedelta(hours=8), start + timedelta(days=1)],
        funding_rate=[1e-4, 2e-4, -1e-4],
    )  # fmt: skip
    with gzip.open(tmp_path / "deribit_dvol_btc_daily.csv.gz", "wt") as stream:
        stream.write("date,dvol\n2024-01-01 00:00:00+00:00,55.5\n")
    made = read_history(tmp_path)
    assert made.symbols == ("BTC", "BTC-PERP")
    assert made.price[:, 0].tolist() == [24.0, 48.0]
    assert made.carry[:, 1] == pytest.approx([3e-4, -1e-4])
    assert made.vol[0, 0] == pytest.approx(0.555)
    assert made.between("2024-01-02", None).days == ("2024-01-02",)
    with pytest.raises(InputError, match="no day"):
        made.between("2025-01-01", None)
    with pytest.raises(InputError, match="no prices of ETH"):
        made.column("ETH")


def test_wrong_histories_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    day = datetime(2024, 1, 1)
    wrong = {
        "folder": (tmp_path / "empty", "INP-005"),
        "nowhere": (tmp_path / "none.parquet", "INP-005"),
        "symbol": (table(tmp_path / "a.parquet", date=[day], close=[1.0]), "INP-003"),
        "price": (
            table(tmp_path / "b.parquet", date=[day], symbol=["A"], close=[-1.0]), "INP-004"
        ),
        "column": (table(tmp_path / "c.parquet", date=[day], symbol=["A"]), "INP-003"),
        "vol": (
            table(tmp_path / "d.parquet", date=[day], symbol=["A"], close=[1.0], vol=["x"]),
            "INP-003",
        ),
        "negative vol": (
            table(tmp_path / "e.parquet", date=[day], symbol=["A"], close=[1.0], vol=[-0.5]),
            "INP-004",
        ),
    }  # fmt: skip
    (tmp_path / "f.parquet").write_bytes(b"PAR1 and no more")
    wrong["bytes"] = (tmp_path / "f.parquet", "INP-005")
    for what, (path, code) in wrong.items():
        with pytest.raises(InputError) as caught:
            read_history(path)
        assert caught.value.code == code, what
    with pytest.raises(InputError):
        make_history({})


def test_index_level_of_a_flat_smile_is_its_volatility() -> None:
    strikes = np.exp(np.linspace(-2.0, 2.0, 801)) * 100.0
    made = index_level(strikes, np.full(801, 0.6), 100.0, 30 / 365)
    assert made == pytest.approx(0.6, rel=2e-3)


def test_level_of_a_chain_interpolates_total_variance() -> None:
    strikes = np.tile(np.exp(np.linspace(-1.5, 1.5, 401)) * 100.0, 2)
    days = np.repeat([20.0, 50.0], 401)
    vols = np.repeat([0.5, 0.7], 401)
    made = level_of_chain(days, strikes, vols, np.full(802, 100.0))
    total = 20 * 0.25 + (50 * 0.49 - 20 * 0.25) * (10 / 30)
    assert made == pytest.approx(math.sqrt(total / 30), rel=3e-3)
    assert level_of_chain(days[:401], strikes[:401], vols[:401], np.full(401, 100.0)) is None


def test_the_held_shape_is_its_formula() -> None:
    shape = house_portfolios().held
    k, years, level = math.log(0.9), 30 / 365, 0.6
    x = k / (level * math.sqrt(years))
    want = level * (shape.level + shape.skew * x + shape.curvature * x * x)
    assert float(shape.vol(level, k, years)) == pytest.approx(want)
    far = float(shape.vol(level, -5.0, years))
    assert far == float(shape.vol(level, -9.0, years))
    price = black76([100.0], [90.0], [years], shape.vol(level, [k], years), [False])
    assert price[0] > 0
