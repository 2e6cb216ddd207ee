"""Reading one snapshot of a recorded chain; the tables are built by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from crossmargin.errors import InputError, MarketDataError
from crossmargin.units import parse_time
from crossmargin.venues import snapshot_from_recorded_chain, snapshot_moments
from crossmargin.venues.recorded import main

FIRST = datetime(2026, 2, 3, 4, 29, 35, 33_992, tzinfo=UTC)
SECOND = datetime(2026, 2, 3, 9, 33, 33, 160_431, tzinfo=UTC)
FIRST_NS = parse_time("2026-02-03T04:29:35.033992Z")
MARCH = parse_time("2026-03-27T08:00:00Z")


def options(moment: datetime, forward: float, level: float = 0.5) -> pl.DataFrame:
    names, vols = [], []
    for strike in range(60_000, 105_000, 5_000):
        for right in "CP":
            names.append(f"BTC-27MAR26-{strike}-{right}")
            vols.append(level + 0.4 * math.log(strike / forward) ** 2)
    size = len(names)
    return pl.DataFrame(
        {
            "timestamp": pl.Series([moment] * size, dtype=pl.Datetime("us", "UTC")),
            "instrument_name": pl.Series(names, dtype=pl.Categorical),
            "underlying": [forward] * (size - 1) + [forward + 2.0],
            "index_price": [78_000.0 + i for i in range(size)],
            "bid_price": [None] + [0.01] * (size - 1),
            "ask_price": [0.02] * size,
            "mark_price": [0.015] * size,
            "implied_volatility": vols,
        }
    )


def perps(moment: datetime) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "obs_datetime": pl.Series([moment], dtype=pl.Datetime("us", "UTC")),
            "instrument_name": ["BTC-PERPETUAL"],
            "candle_close": [78_011.5],
            "candle_close_time_ms": [1_770_093_000_000],
        }
    )


def futures(moment: datetime) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "timestamp": pl.Series([moment], dtype=pl.Datetime("us", "UTC")),
            "futures_instrument_name": ["BTC-26JUN26"],
            "snapshot_term_mark_price": [79_600.0],
        }
    )


@pytest.fixture
def table() -> pl.DataFrame:
    return pl.concat([options(FIRST, 78_800.0), options(SECOND, 79_000.0, 0.6)])


def test_the_first_snapshot_at_or_after_the_moment(table: pl.DataFrame) -> None:
    first, second = snapshot_moments(table)
    assert first == parse_time("2026-02-03T04:29:35.033992Z")
    for asked, got in (
        ("2026-02-03T04:00Z", first),
        (first, first),
        (first + 1, second),
        (second, second),
    ):
        report = snapshot_from_recorded_chain(table, asked, fit=False)
        assert report.snapshot.as_of_ns == got
    with pytest.raises(MarketDataError) as caught:
        snapshot_from_recorded_chain(table, "2026-02-04T00:00Z")
    assert caught.value.code == "MKT-030"
    assert "2026-02-04T00:00:00Z" in str(caught.value)


def test_forwards_vols_index_and_spreads(table: pl.DataFrame) -> None:
    report = snapshot_from_recorded_chain(
        table, "2026-02-03T04:00Z", perps_path=perps(FIRST), futures_path=futures(FIRST)
    )
    market = report.snapshot
    assert report.dropped == ()
    assert market.forwards["BTC", MARCH].price_usd == 78_800.0
    assert market.forwards["BTC", parse_time("2026-06-26T08:00:00Z")].price_usd == 79_600.0
    assert market.asset_usd("BTC") == 78_008.5
    vol = market.quotes["BTC-27MAR26-60000-C"].vol
    assert vol == pytest.approx(0.5 + 0.4 * math.log(60_000 / 78_800) ** 2)
    assert market.quotes["BTC-27MAR26-60000-C"].bid is None
    perp = market.quotes["BTC-PERPETUAL"]
    assert perp.price_mark == 78_011.5
    assert "trade candle" in perp.source
    assert "not a mark price" in perp.source
    assert perp.funding_rate_8h is None
    spreads = {one.what: one for one in report.spreads}
    assert spreads["BTC index"].high == 78_017.0
    assert spreads["BTC forward 2026-03-27T08:00:00Z"].high == 78_802.0
    assert report.fits[0].fit.n == 9


def test_files_and_frames_read_the_same(table: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "options.parquet"
    table.write_parquet(path)
    from_file = snapshot_from_recorded_chain(path, "2026-02-03T09:00Z")
    from_frame = snapshot_from_recorded_chain(table.lazy(), "2026-02-03T09:00Z")
    assert from_file.snapshot.content_hash == from_frame.snapshot.content_hash


def test_bad_rows_are_left_out_with_a_reason(table: pl.DataFrame) -> None:
    bad = table.with_columns(
        implied_volatility=pl.when(pl.col("instrument_name").cast(pl.String).str.ends_with("-P"))
        .then(None)
        .otherwise(pl.col("implied_volatility")),
        bid_price=pl.lit(0.5),
    )
    report = snapshot_from_recorded_chain(bad, FIRST_NS, fit=False)
    assert report.dropped_by_reason() == {"missing_vol": 9, "crossed": 9}


def test_a_price_the_recording_lacks_can_be_given(table: pl.DataFrame) -> None:
    report = snapshot_from_recorded_chain(table, FIRST_NS, index_price={"USDC": 0.9998}, fit=False)
    assert report.snapshot.asset_usd("USDC") == 0.9998
    assert report.fits == ()


def test_files_that_are_none(table: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        snapshot_from_recorded_chain(tmp_path / "no.parquet", FIRST_NS)
    assert caught.value.code == "INP-005"
    assert "no.parquet" in caught.value.message
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError) as caught:
        snapshot_from_recorded_chain(broken, FIRST_NS)
    assert caught.value.code == "INP-005"
    with pytest.raises(InputError) as caught:
        snapshot_from_recorded_chain(table.drop("underlying"), FIRST_NS)
    assert (caught.value.code, caught.value.field) == ("INP-003", "underlying")


def test_the_command_says_how_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "DATA_DIR OUT_DIR" in capsys.readouterr().out
