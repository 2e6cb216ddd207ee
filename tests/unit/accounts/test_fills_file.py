"""Fills from CSV and Parquet: exact figures, faults by row."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from crossmargin.accounts import BadLine
from crossmargin.accounts.events import Fill
from crossmargin.accounts.fills_file import read_fills
from crossmargin.errors import InputError

GOOD = {
    "id": "T1", "time": "2026-02-05T01:00:00Z", "instrument": "BTC_USDC-PERPETUAL",
    "side": "buy", "quantity": "0.10000001", "price": "50000.5",
}  # fmt: skip


def csv_of(path: Path, *rows: dict[str, str]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names), *(",".join(row.get(n, "") for n in names) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_sides_fees_legs_and_exact_figures(tmp_path: Path) -> None:
    sold = GOOD | {"id": "T2", "side": "SELL", "fee": "-0.5", "fee_asset": "USDC", "leg": "short"}
    rows = [x for _, x in read_fills(csv_of(tmp_path / "f.csv", GOOD, sold), "desk")]
    bought, short = rows
    assert isinstance(bought, Fill)
    assert isinstance(short, Fill)
    assert (bought.id, bought.trade.quantity, bought.trade.price) == (
        "fill:T1", "0.10000001", "50000.5",
    )  # fmt: skip
    assert bought.trade.buyer is not None
    assert bought.trade.seller is None
    assert (bought.trade.buyer.account, bought.trade.buyer.fee) == ("desk", "0")
    assert short.trade.seller is not None
    assert (short.trade.seller.fee, short.trade.seller.leg) == ("-0.5", "short")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"side": "hold"}, "no side"),
        ({"price": ""}, "empty"),
        ({"time": "2026-02-05 01:00"}, "time zone"),
        ({"leg": "both"}, "no leg"),
    ],
)
def test_a_bad_row_is_a_reason_and_the_others_are_read(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    path = csv_of(tmp_path / "f.csv", GOOD, GOOD | {"id": "T2"} | change, GOOD | {"id": "T3"})
    found = list(read_fills(path, "desk"))
    assert [number for number, _ in found] == [1, 2, 3]
    bad = found[1][1]
    assert isinstance(bad, BadLine)
    assert bad.line == 2
    assert said in str(bad.error)
    assert "row 2" in str(bad.error)


def test_parquet_of_text_and_decimals_is_read_and_of_floats_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    row = GOOD | {"quantity": Decimal("0.10"), "price": Decimal("50000.50")}
    pl.DataFrame([row]).write_parquet(path)
    ((_, fill),) = read_fills(path, "desk")
    assert isinstance(fill, Fill)
    assert Decimal(fill.trade.price) == Decimal("50000.5")
    pl.DataFrame([GOOD | {"price": 50000.5}]).write_parquet(path)
    with pytest.raises(InputError, match=r"column price of .* is of floats"):
        list(read_fills(path, "desk"))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "no table of fills"), (b"a,b\n1,2\n", "no column id, time"), (b"\xff\xfe", "no ")],
)
def test_what_is_no_file_of_fills(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        list(read_fills(path, "desk"))
    with pytest.raises(InputError, match="cannot be read"):
        list(read_fills(tmp_path / "none.csv", "desk"))
