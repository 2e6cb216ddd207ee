"""Reading price histories and single order books, and refusing what is none."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from crossmargin.errors import CrossmarginError, MarketDataError
from crossmargin.market import bid_side, read_bid_side, read_price_history


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prices.csv"
    path.write_text(text)
    return path


def test_bars_become_days(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "date,close,volume\n2026-01-02T12:00:00Z,3,1\n2026-01-01 00:00:00,1,2\n"
        "2026-01-01T23:00:00+00:00,2,4\n2026-01-04,5,8\n",
    )
    made = read_price_history(path)
    assert made.days == ["2026-01-01", "2026-01-02", "2026-01-04"]
    assert made.close.tolist() == [2.0, 3.0, 5.0]
    assert made.volume is not None and made.volume.tolist() == [6.0, 1.0, 8.0]
    assert made.missing_days == 1 and made.symbol == ""


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_parquet_times_of_any_unit_and_zone(tmp_path: Path, unit: str) -> None:
    moments = pl.Series(["2026-01-01 23:30:00", "2026-01-02 01:00:00"]).str.to_datetime()
    here = moments.dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
    for dates in (moments.dt.cast_time_unit(unit), here.dt.cast_time_unit(unit)):  # type: ignore[arg-type]
        path = tmp_path / "p.parquet"
        pl.DataFrame({"date": dates, "close": [1, 2]}).write_parquet(path)
        assert read_price_history(path).days == ["2026-01-01", "2026-01-02"]


def test_a_coin_stands_for_its_symbol_in_dollars(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "symbol,date,close\nBTCUSDT,2026-01-01,1\nETH-USD,2026-01-01,2\nETHBTC,2026-01-01,3\n",
    )
    assert read_price_history(path, "ETH").close.tolist() == [2.0]
    assert read_price_history(path, "ETHBTC").symbol == "ETHBTC"
    for symbol in (None, "SOL", "BT"):
        with pytest.raises(CrossmarginError, match="BTCUSDT") as caught:
            read_price_history(path, symbol)
        assert caught.value.code == "INP-003"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "INP-005"),
        ("when,close\n2026-01-01,1\n", "INP-003"),
        ("date,close\n2026-01-01,\n2026-01-02,1\n", "INP-004"),
        ("date,close\n2026-01-01,0\n", "INP-004"),
        ("date,close\n2026-01-01,one\n", "INP-003"),
        ("date,close\nyesterday,1\n", "INP-010"),
        ("date,close\n17,1\n", "INP-003"),
        ("date,close\n,1\n2026-01-01,2\n", "INP-003"),
        ("date,close\n2026-01-01,1\n2026-01-01,2\n", "INP-007"),
        ("date,close\n2026-01-01,1,2,3\n", "INP-005"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(CrossmarginError) as caught:
        read_price_history(csv(tmp_path, text))
    assert caught.value.code == code


def test_missing_and_broken_files(tmp_path: Path) -> None:
    broken = tmp_path / "p.parquet"
    broken.write_bytes(b"PAR1 not really")
    for path in (tmp_path / "none.csv", broken, tmp_path):
        with pytest.raises(CrossmarginError) as caught:
            read_price_history(path)
        assert caught.value.code == "INP-005"


def test_order_book_of_a_table(tmp_path: Path) -> None:
    path = csv(tmp_path, "side,price,size\nask,101,1\nbid,98,2\nBID,99,1\n")
    made = read_bid_side(path)
    assert made.price.tolist() == [99.0, 98.0] and made.size.tolist() == [1.0, 2.0]
    assert made.mid == 100.0 and made.half_spread == pytest.approx(0.01)
    assert made.usd == 295.0
    # Two coins: one at 99, one at 98; 1.5 % below the middle, of which 1 % is the spread.
    assert made.sell_cost(200.0) == pytest.approx(0.005)
    with pytest.raises(CrossmarginError, match="side"):
        read_bid_side(csv(tmp_path, "price,size\n1,1\n"))


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        ([], [(1, 1)]),
        ([(1, 1)], []),
        ([(2, 1)], [(1, 1)]),
        ([(1, 0)], [(2, 1)]),
        ([(1, 1)], [(2, float("nan"))]),
    ],
)
def test_what_is_no_book_is_refused(bids: list, asks: list) -> None:
    with pytest.raises(MarketDataError) as caught:
        bid_side(bids, asks)
    assert caught.value.code == "MKT-020"
