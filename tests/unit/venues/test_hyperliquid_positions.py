"""Reading recorded positions: what comes out, and what is refused in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.recorded_positions import frame, row, write

from crossmargin.errors import InputError
from crossmargin.venues import read_hyperliquid_positions


def rows() -> list[dict[str, Any]]:
    found = [
        row(1, "0xb", "ETH", -2.0, 2_000.0, 3_000.5),
        row(0, "0xb", "kPEPE", 1_000.0, 0.004, None),
        row(0, "0xb", "BTC", 0.5, 70_000.0, 40_000.0),
        row(0, "0xa", "BTC", -0.1, 70_000.0, 90_000.0),
    ]
    found[0]["leverageType"], found[2]["leverageType"] = "isolated", "cross"
    return found


def refused(path: Path, code: str) -> InputError:
    with pytest.raises(InputError) as caught:
        read_hyperliquid_positions(path)
    assert caught.value.code == code
    sentence = str(caught.value)
    assert sentence.startswith(f"{code}: ") and "\n" not in sentence
    return caught.value


def test_columns_by_snapshot_account_and_falling_value(tmp_path: Path) -> None:
    made = read_hyperliquid_positions(write(tmp_path / "p.parquet", rows()))
    assert made.accounts == ("0xa", "0xb") and made.coins == ("BTC", "ETH", "kPEPE")
    assert made.snapshot.tolist() == [0, 0, 0, 1] and made.account.tolist() == [0, 1, 1, 1]
    assert [made.coins[c] for c in made.coin] == ["BTC", "BTC", "kPEPE", "ETH"]
    assert made.quantity.tolist() == [-0.1, 0.5, 1_000.0, -2.0]
    assert made.mark.tolist() == pytest.approx([70_000.0, 70_000.0, 0.004, 2_000.0], rel=1e-15)
    assert made.isolated.tolist() == [-1, 0, -1, 1]
    assert np.isnan(made.liquidation[2])
    assert made.liquidation[[0, 1, 3]].tolist() == [90_000.0, 40_000.0, 3_000.5]
    first = datetime(2026, 2, 3, 12, tzinfo=UTC).timestamp()
    assert made.moments_ns.tolist() == [int(first) * 10**9, (int(first) + 21_600) * 10**9]


def test_a_mode_that_was_never_recorded(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    frame(rows()).with_columns(pl.lit(None).alias("leverageType")).write_parquet(path)
    assert read_hyperliquid_positions(path).isolated.tolist() == [-1, -1, -1, -1]


@pytest.mark.parametrize("field", ["size", "entryPx", "leverage", "positionValue", "liquidationPx"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_impossible_figures(tmp_path: Path, field: str, value: float) -> None:
    bad = rows()
    bad[2][field] = value
    error = refused(write(tmp_path / "p.parquet", bad), "INP-004")
    assert (error.account, error.instrument, error.field) == ("0xb", "BTC", field)


@pytest.mark.parametrize("field", ["size", "address", "coin", "direction", "snapshot_ts"])
def test_missing_values(tmp_path: Path, field: str) -> None:
    bad = rows()
    bad[1][field] = None
    assert refused(write(tmp_path / "p.parquet", bad), "INP-011").field == field


@pytest.mark.parametrize(("field", "value"), [("direction", "long"), ("leverageType", "portfolio")])
def test_unknown_words(tmp_path: Path, field: str, value: str) -> None:
    bad = rows()
    bad[3][field] = value
    error = refused(write(tmp_path / "p.parquet", bad), "INP-013")
    assert error.field == field and repr(value) in str(error)


def test_a_position_stated_twice(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "p.parquet", [*rows(), rows()[3]]), "INP-007")
    assert (error.account, error.instrument) == ("0xa", "BTC")


def test_missing_column(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    frame(rows()).drop("liquidationPx").write_parquet(path)
    assert refused(path, "INP-003").field == "liquidationPx"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("size", ["1", "2", "3", "4"]),
        ("snapshot_ts", ["2026"] * 4),
        ("coin", [1, 2, 3, 4]),
        ("liquidationPx", [True, False, True, False]),
    ],
)
def test_wrong_types(tmp_path: Path, field: str, values: list[Any]) -> None:
    path = tmp_path / "p.parquet"
    frame(rows()).with_columns(pl.Series(field, values)).write_parquet(path)
    assert refused(path, "INP-003").field == field


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_times_that_cannot_be_read(tmp_path: Path, zone: str | None) -> None:
    path = tmp_path / "p.parquet"
    times = pl.Series("snapshot_ts", [0, 0, 0, 2**62 if zone else 0]).cast(pl.Datetime("us", zone))
    frame(rows()).with_columns(times).write_parquet(path)
    assert refused(path, "INP-010").field == "snapshot_ts"


def test_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    frame(rows()).clear().write_parquet(path)
    refused(path, "INP-002")


@pytest.mark.parametrize("content", [b"", b"not parquet", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_not_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.parquet"
    path.write_bytes(content)
    refused(path, "INP-005")


def test_cut_short(tmp_path: Path) -> None:
    path = write(tmp_path / "p.parquet", rows())
    path.write_bytes(path.read_bytes()[:-60])
    refused(path, "INP-005")


def test_a_decoder_that_panics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damaged pages make the decoder panic, which is no Exception."""

    def panic(*_: Any, **__: Any) -> None:
        raise pl.exceptions.PanicException("called `Option::unwrap()` on a `None` value")

    path = write(tmp_path / "p.parquet", rows())
    monkeypatch.setattr(pl, "scan_parquet", panic)
    refused(path, "INP-005")


def test_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "none.parquet", "INP-005")
    refused(tmp_path, "INP-005")
