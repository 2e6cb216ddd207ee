"""Books as folders of Parquet files: round trips, and every kind of broken folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.books import BAD_ROWS, TABLES, accounts, assert_equal, by_name, edit

from crossmargin.book import (
    AccountFile,
    Book,
    PositionEntry,
    book_from_accounts,
)
from crossmargin.book._parquet import read_book_parquet, write_book_parquet
from crossmargin.errors import InputError
from crossmargin.instruments import Perpetual, Registry


@pytest.fixture
def book() -> Book:
    return book_from_accounts(accounts())


@pytest.fixture
def folder(book: Book, tmp_path: Path) -> Path:
    target = tmp_path / "book"
    write_book_parquet(book, target)
    return target


def test_round_trip_with_the_same_registry_is_exact(book: Book, folder: Path) -> None:
    assert_equal(book, read_book_parquet(folder, book.registry))


def test_round_trip_with_a_new_registry_is_equal_by_name(book: Book, folder: Path) -> None:
    again = read_book_parquet(folder)
    assert again.registry is not book.registry
    assert_equal(by_name(book), by_name(again))
    assert again.position_quantity.tolist() == [3.0, -0.5, 100.0, -40.0, 2.0]
    assert again.group_limit_usd.tolist() == [1_000.0, np.inf]
    assert again.order_group.tolist() == [-1, 0, 0, 1]


def test_locations_proofs_and_transfers_come_back(book: Book, folder: Path) -> None:
    again = read_book_parquet(folder)
    assert again.locations == book.locations == ["cold", "chain"]
    assert again.balance_location.tolist() == [-1, -1, 0, 1, -1]
    assert again.balance_proof_ns.tolist() == [-1, -1, 1_772_006_400 * 10**9, -1, -1]
    assert again.balance_pending.tolist() == [False, False, False, True, False]


def test_a_folder_without_locations_is_read(book: Book, folder: Path) -> None:
    path = folder / "balances.parquet"
    pl.read_parquet(path).drop("location", "proof_ns", "pending").write_parquet(path)
    again = read_book_parquet(folder)
    assert again.locations == []
    assert again.balance_location.tolist() == again.balance_proof_ns.tolist() == [-1] * 5
    assert not again.balance_pending.any()


def test_a_pending_debt_is_refused(book: Book, folder: Path) -> None:
    path = folder / "balances.parquet"
    pl.read_parquet(path).with_columns(pending=True).write_parquet(path)
    with pytest.raises(InputError) as caught:
        read_book_parquet(folder)
    assert caught.value.account == "alice" and caught.value.field == "balances[0].amount"


def test_empty_tables_round_trip(tmp_path: Path) -> None:
    book = book_from_accounts([accounts()[1]])
    write_book_parquet(book, tmp_path / "book")
    again = read_book_parquet(tmp_path / "book")
    assert_equal(by_name(book), by_name(again))
    nobody = book_from_accounts([])
    write_book_parquet(nobody, tmp_path / "nobody")
    assert_equal(nobody, read_book_parquet(tmp_path / "nobody"))


def test_the_folder_has_the_documented_tables(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}.parquet" for name in TABLES
    )
    positions = pl.read_parquet(folder / "positions.parquet")
    assert positions.columns == [
        "pool",
        "instrument",
        "leg",
        "quantity",
        "entry",
        "leverage",
        "fence",
    ]
    assert positions["instrument"].dtype == pl.Categorical
    assert positions["entry"].to_list() == [2_000.0, None, None, 70_000.0, 0.0]
    assert pl.read_parquet(folder / "quote_groups.parquet")["limit_usd"].to_list() == [1_000, None]


def test_a_folder_that_exists_is_not_overwritten_unasked(book: Book, folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_book_parquet(book, folder)
    assert caught.value.code == "INP-040"
    (folder / "old").write_text("left from before")
    write_book_parquet(book, folder, overwrite=True)
    assert not (folder / "old").exists()
    assert_equal(book, read_book_parquet(folder, book.registry))
    assert [path.name for path in folder.parent.iterdir()] == ["book"]


def test_a_write_that_fails_leaves_nothing(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = pl.DataFrame.write_parquet

    def fail(self: pl.DataFrame, path: Path, **options: Any) -> None:
        if path.name == "orders.parquet":
            raise OSError(28, "No space left on device")
        written(self, path, **options)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(InputError, match="no space left") as caught:
        write_book_parquet(book, tmp_path / "book")
    assert caught.value.code == "INP-005"
    assert list(tmp_path.iterdir()) == []


def test_terms_that_a_name_does_not_tell_are_refused(tmp_path: Path) -> None:
    odd = Perpetual(
        id="BTC-PERPETUAL", underlying="BTC", quote="USD", settlement="BTC", contract_size=10.0
    )
    entry = PositionEntry(instrument="BTC-PERPETUAL", quantity=1.0, entry_price=1.0)
    account = AccountFile(format="crossmargin-account/1", account="a", positions=[entry])
    book = book_from_accounts([account], Registry([odd]))
    with pytest.raises(InputError) as caught:
        write_book_parquet(book, tmp_path / "book")
    assert (caught.value.code, caught.value.instrument) == ("INP-041", "BTC-PERPETUAL")


@pytest.mark.parametrize("table", TABLES)
def test_every_table_must_be_there_and_whole(folder: Path, table: str) -> None:
    path = folder / f"{table}.parquet"
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match="not a whole Parquet file") as caught:
        read_book_parquet(folder)
    assert caught.value.code == "INP-005"
    path.unlink()
    with pytest.raises(InputError, match=f"no table '{table}.parquet'"):
        read_book_parquet(folder)


@pytest.mark.parametrize(
    ("table", "values", "code", "words"),
    BAD_ROWS,
)
def test_bad_rows_are_named(
    folder: Path, table: str, values: dict[str, Any], code: str, words: str
) -> None:
    edit(folder, table, **values)
    with pytest.raises(InputError) as caught:
        read_book_parquet(folder)
    assert caught.value.code == code
    assert words in str(caught.value)


def test_a_missing_quantity_names_account_and_instrument(folder: Path) -> None:
    edit(folder, "positions", quantity={4: float("nan")})
    with pytest.raises(InputError) as caught:
        read_book_parquet(folder)
    error = caught.value
    assert (error.account, error.instrument) == ("carol", "XRP_USDC-30JUN26-0d625-C")
    assert error.field == "positions[4].quantity"


def test_missing_columns_and_wrong_types(folder: Path) -> None:
    path = folder / "balances.parquet"
    frame = pl.read_parquet(path)
    frame.drop("amount").write_parquet(path)
    with pytest.raises(InputError, match="no column 'amount'") as caught:
        read_book_parquet(folder)
    assert caught.value.code == "INP-003"
    frame.with_columns(pl.col("amount").cast(pl.String)).write_parquet(path)
    with pytest.raises(InputError, match="holds String"):
        read_book_parquet(folder)
    frame.with_columns(pl.col("pool").cast(pl.Float64)).write_parquet(path)
    with pytest.raises(InputError, match="holds Float64"):
        read_book_parquet(folder)


def test_tables_written_by_others_need_no_dictionary(book: Book, folder: Path) -> None:
    path = folder / "positions.parquet"
    frame = pl.read_parquet(path).with_columns(
        pl.col("instrument", "leg").cast(pl.String), pl.col("pool").cast(pl.Int32)
    )
    frame = frame.with_columns(pl.col("quantity").cast(pl.Float64), extra=pl.lit(1))
    frame.write_parquet(path)
    assert_equal(book, read_book_parquet(folder, book.registry))
