"""Recorded prices as ticks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossmargin.errors import CrossmarginError
from crossmargin.market import coin_of, read_ticks
from crossmargin.units import parse_time

SECOND = 1_000_000_000


def csv(folder: Path, text: str, name: str = "p.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


class TestSymbols:
    @pytest.mark.parametrize(
        ("symbol", "coin", "paid"),
        [
            ("BTC", "BTC", "USD"),
            ("BTCUSDT", "BTC", "USDT"),
            ("BTC/USDT:USDT", "BTC", "USDT"),
            ("BTC-PERPETUAL", "BTC", "USD"),
            ("BTC_USDC-PERPETUAL", "BTC", "USDC"),
            ("ethusd", "ETH", "USD"),
            ("USDC", "USDC", "USD"),
            ("USDCUSDT", "USDC", "USDT"),
            ("1000PEPEUSDT", "1000PEPE", "USDT"),
        ],
    )
    def test_coin_and_quote(self, symbol: str, coin: str, paid: str) -> None:
        assert coin_of(symbol) == (coin, paid)


class TestPrices:
    def test_ticks_in_order_with_what_moved(self, tmp_path: Path) -> None:
        text = (
            "time,asset,price\n2026-02-03T00:00:02Z,BTC,3\n2026-02-03T00:00:01Z,BTC,2\n"
            "2026-02-03T00:00:01Z,ETH,7\n"
        )
        ticks = read_ticks(csv(tmp_path, text))
        start = parse_time("2026-02-03T00:00:01Z")
        assert list(ticks) == [(start, {"BTC": 2.0, "ETH": 7.0}), (start + SECOND, {"BTC": 3.0})]
        assert ticks.paid_in == ("USD", "USD")
        assert list(ticks.only({"ETH"})) == [(start, {"ETH": 7.0})]

    def test_since_and_until_are_included(self, tmp_path: Path) -> None:
        rows = "".join(f"2026-02-03T00:00:0{k}Z,BTC,{k + 1}\n" for k in range(5))
        path = csv(tmp_path, "time,asset,price\n" + rows)
        since, until = (parse_time(f"2026-02-03T00:00:0{k}Z") for k in (1, 3))
        found = [row["BTC"] for _, row in read_ticks(path, since_ns=since, until_ns=until)]
        assert found == [2.0, 3.0, 4.0]

    def test_a_bar_is_known_when_it_ends(self, tmp_path: Path) -> None:
        text = (
            "symbol,date,close\nBTCUSDT,2026-02-03T00:00:00Z,1\nBTCUSDT,2026-02-03T01:00:00Z,2\n"
            "BTCUSDT,2026-02-03T05:00:00Z,3\n"
        )
        ticks = read_ticks(csv(tmp_path, text))
        hours = (ticks.time_ns - parse_time("2026-02-03T00:00:00Z")) // (3600 * SECOND)
        assert hours.tolist() == [1, 2, 6]

    def test_of_bars_that_end_together_the_shortest_counts(self, tmp_path: Path) -> None:
        text = (
            "symbol,interval,date,close\nDOGEUSDT,15m,2026-02-03T00:00:00Z,10\n"
            "DOGEUSDT,5m,2026-02-03T00:10:00Z,11\nDOGEUSDT,5m,2026-02-03T00:05:00Z,9\n"
        )
        assert [row["DOGE"] for _, row in read_ticks(csv(tmp_path, text))] == [9.0, 11.0]


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("asset,price\nBTC,1\n", "INP-003"),
            ("time,price\n2026-01-01,1\n", "INP-003"),
            ("time,asset\n2026-01-01,BTC\n", "INP-003"),
            ("time,asset,price\n2026-01-01,BTC,0\n", "INP-004"),
            ("time,asset,price\n2026-01-01,BTC,-3\n", "INP-004"),
            ("time,asset,price\n2026-01-01,BTC,\n2026-01-02,BTC,1\n", "INP-004"),
            ("time,asset,price\n2026-01-01,BTC,x\n", "INP-003"),
            ("time,asset,price\n2026-01-01,BTC,1e300\n", "INP-004"),
            ("time,asset,price\n2026-01-01,BTC,\n", "INP-003"),
            ("time,asset,price\nsoon,BTC,1\n", "INP-010"),
            ("time,asset,price\n2026-01-01,BTC,1\n2026-01-01,BTC,2\n", "INP-007"),
            ("time,symbol,price\n2026-01-01,BTCUSDT,1\n2026-01-02,BTCUSD,2\n", "INP-007"),
            ("symbol,interval,date,close\nBTC,soon,2026-01-01,1\n", "INP-003"),
            ("time,asset,price\n2026-01-01,,1\n", "INP-003"),
        ],
    )
    def test_bad_tables(self, tmp_path: Path, text: str, code: str) -> None:
        with pytest.raises(CrossmarginError) as caught:
            read_ticks(csv(tmp_path, text))
        assert caught.value.code == code

    def test_nothing_in_the_time_asked_for(self, tmp_path: Path) -> None:
        path = csv(tmp_path, "time,asset,price\n2026-01-01,BTC,1\n")
        with pytest.raises(CrossmarginError, match="INP-011") as caught:
            read_ticks(path, since_ns=parse_time("2027-01-01"))
        assert "2026-01-01T00:00:00Z" in str(caught.value)

    def test_missing_and_broken_files(self, tmp_path: Path) -> None:
        with pytest.raises(CrossmarginError, match="INP-005"):
            read_ticks(tmp_path / "nope.csv")
        (tmp_path / "half.parquet").write_bytes(b"PAR1 and nothing more")
        with pytest.raises(CrossmarginError, match="INP-005"):
            read_ticks(tmp_path / "half.parquet")


DATA = os.environ.get("CROSSMARGIN_DATA")


@pytest.mark.skipif(not DATA, reason="CROSSMARGIN_DATA is not set")
class TestRecorded:
    @pytest.mark.parametrize(
        "name", ["binance_perp_crash_windows", "binance_perp_1h", "binance_perp_mark_1h"]
    )
    def test_every_price_of_the_recording_is_a_tick(self, name: str) -> None:
        path = Path(str(DATA)) / f"{name}.parquet"
        ticks, table = read_ticks(path), pl.read_parquet(path)
        value = "mark_close" if "mark_close" in table.columns else "close"
        assert (np.diff(ticks.time_ns) > 0).all()
        btc = table.filter(pl.col("symbol").cast(pl.String) == "BTCUSDT").sort("date")
        column = ticks.price[:, ticks.coins.index("BTC")]
        assert column[np.isfinite(column)].tolist() == btc[value].to_list()
        length = 15 * 60 if "interval" in table.columns else 3600
        ends = btc["date"].dt.timestamp("ns") + length * SECOND
        assert ticks.time_ns[np.isfinite(column)].tolist() == ends.to_list()

    def test_bars_of_three_lengths_agree(self) -> None:
        """DOGE is recorded in 1, 5 and 15 minutes: what ends together has one close."""
        path = Path(str(DATA)) / "binance_perp_crash_windows.parquet"
        table = pl.read_parquet(path).with_columns(pl.col("symbol", "interval").cast(pl.String))
        doge = table.filter(symbol="DOGEUSDT")
        minutes = doge["interval"].str.strip_suffix("m").cast(pl.Int64)
        ends = doge.with_columns(end=doge["date"].dt.offset_by(minutes.cast(pl.String) + "m"))
        spread = ends.group_by("end").agg(pl.col("close").n_unique(), n=pl.len())
        assert spread.filter(pl.col("n") > 1).height > 1_000
        assert spread["close"].max() == 1
