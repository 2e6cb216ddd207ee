"""Books as folders of Parquet files: round trips, and every kind of broken folder."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    Book,
    OrderEntry,
    OrderLeg,
    PoolEntry,
    PositionEntry,
    Quote,
    QuoteGroup,
    book_from_accounts,
)
from crossmargin.book._parquet import read_book_parquet, write_book_parquet
from crossmargin.errors import InputError
from crossmargin.instruments import Perpetual, Registry

TABLES = (
    "accounts",
    "pools",
    "balances",
    "positions",
    "orders",
    "order_legs",
    "quote_groups",
)


def accounts() -> list[AccountFile]:
    alice = AccountFile(
        format="crossmargin-account/1",
        account="alice",
        owner="family",
        pools=[PoolEntry(id="cross"), PoolEntry(id="fenced", mode="isolated")],
        balances=[
            BalanceEntry(asset="USDC", amount="-12.5"),
            BalanceEntry(asset="BTC", amount=1.25),
            BalanceEntry(
                asset="BTC", amount=0.25, location="cold", proof_time="2026-02-25T08:00:00Z"
            ),
            BalanceEntry(asset="BTC", amount=0.5, location="chain", pending=True),
        ],
        positions=[
            PositionEntry(
                instrument="ETH_USDC-PERPETUAL",
                quantity=3.0,
                entry_price=2_000.0,
                leverage=5.0,
                fenced_margin=600.0,
                pool="fenced",
            ),
            PositionEntry(instrument="BTC-27MAR26-90000-C", quantity=-0.5),
            PositionEntry(
                instrument="BTC-PERPETUAL", quantity=100.0, entry_price="mark", leg="long"
            ),
            PositionEntry(
                instrument="BTC-PERPETUAL", quantity=-40.0, entry_price=70_000.0, leg="short"
            ),
        ],
        orders=[
            OrderEntry(
                id="combo",
                legs=[
                    OrderLeg(instrument="BTC-27MAR26-80000-P", quantity=1.0, price=0.02),
                    OrderLeg(instrument="BTC-27MAR26-70000-P", quantity=-1.0),
                ],
            )
        ],
        quote_groups=[
            QuoteGroup(
                id="mm",
                protection_limit_usd=1_000.0,
                quotes=[
                    Quote(
                        instrument="BTC-PERPETUAL",
                        bid_quantity=10.0,
                        bid_price=69_000.0,
                        ask_quantity=10.0,
                        ask_price=69_100.0,
                    )
                ],
            ),
            QuoteGroup(id="free", quotes=[Quote(instrument="BTC-PERPETUAL", bid_quantity=1.0)]),
        ],
    )
    bob = AccountFile(
        format="crossmargin-account/1",
        account="bob",
        balances=[BalanceEntry(asset="USDT", amount=7.0)],
    )
    carol = AccountFile(
        format="crossmargin-account/1",
        account="carol",
        positions=[
            PositionEntry(instrument="XRP_USDC-30JUN26-0.625-C", quantity=2.0, entry_price=0.0)
        ],
    )
    return [alice, bob, carol]


@pytest.fixture
def book() -> Book:
    return book_from_accounts(accounts())


@pytest.fixture
def folder(book: Book, tmp_path: Path) -> Path:
    target = tmp_path / "book"
    write_book_parquet(book, target)
    return target


def columns(book: Book) -> dict[str, Any]:
    return {one.name: getattr(book, one.name) for one in fields(book) if one.name != "registry"}


def assert_equal(left: Book, right: Book) -> None:
    for name, value in columns(left).items():
        if isinstance(value, np.ndarray):
            other = getattr(right, name)
            assert other.dtype == value.dtype, name
            np.testing.assert_array_equal(other, value, err_msg=name)
        else:
            assert getattr(right, name) == value, name


def by_name(book: Book) -> Book:
    """The same book over a registry in sorted order, so that two can be compared."""
    order = sorted({book.registry[int(i)].id for i in book.instruments_used()})
    registry = Registry()
    for name in sorted({book.registry.assets[int(i)] for i in book.balance_asset}):
        registry.asset(name)
    for name in order:
        registry.resolve(name)

    def again(index: np.ndarray) -> np.ndarray:
        found = [registry.resolve(book.registry[int(i)].id) for i in index]
        return np.array(found, dtype=np.int64)

    assets = [registry.asset(book.registry.assets[int(i)]) for i in book.balance_asset]
    return replace(
        book,
        registry=registry,
        balance_asset=np.array(assets, dtype=np.int64),
        position_instrument=again(book.position_instrument),
        leg_instrument=again(book.leg_instrument),
    )


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


def edit(folder: Path, table: str, **values: Any) -> None:
    path = folder / f"{table}.parquet"
    frame = pl.read_parquet(path)
    for column, changes in values.items():
        cells = frame[column].to_list()
        for row, value in changes.items():
            cells[row] = value
        kind = frame[column].dtype
        frame = frame.with_columns(pl.Series(column, cells, dtype=kind, strict=False))
    frame.write_parquet(path)


@pytest.mark.parametrize(
    ("table", "values", "code", "words"),
    [
        ("positions", {"quantity": {1: float("nan")}}, "INP-004", "BTC-27MAR26-90000-C"),
        ("positions", {"quantity": {1: None}}, "INP-004", "missing"),
        ("positions", {"quantity": {1: float("inf")}}, "INP-004", "inf"),
        ("positions", {"quantity": {1: 1e16}}, "INP-004", "1e+16"),
        ("positions", {"quantity": {1: 0.0}}, "INP-006", "is 0"),
        ("positions", {"quantity": {2: -1.0}}, "INP-006", "BTC-PERPETUAL"),
        ("positions", {"entry": {3: -1.0}}, "INP-004", "the entry of BTC-PERPETUAL"),
        ("positions", {"entry": {3: 0.0}}, "INP-004", "the entry of BTC-PERPETUAL"),
        ("positions", {"leverage": {0: 0.0}}, "INP-004", "leverage"),
        ("positions", {"fence": {0: -1.0}}, "INP-004", "fence"),
        ("positions", {"instrument": {0: "WHAT?"}}, "INP-001", "positions[0].instrument"),
        ("positions", {"instrument": {0: None}}, "INP-003", "no instrument"),
        ("positions", {"leg": {0: "up"}}, "INP-003", "net, long, short"),
        ("positions", {"pool": {0: 99}}, "INP-008", "refers to row 99 of 'pools'"),
        ("positions", {"pool": {0: None}}, "INP-008", "refers to no row of 'pools'"),
        ("positions", {"pool": {0: 3}}, "INP-042", "sort the rows by account".capitalize()),
        ("positions", {"leg": {3: "long"}, "quantity": {3: 1.0}}, "INP-007", "appears twice"),
        ("balances", {"amount": {0: float("nan")}}, "INP-004", "account 'alice'"),
        ("balances", {"asset": {0: "U S"}}, "INP-003", "is no asset"),
        ("balances", {"pool": {0: -2}}, "INP-008", "balances"),
        ("pools", {"account": {0: 3}}, "INP-008", "of 'accounts'"),
        ("pools", {"mode": {0: "half"}}, "INP-003", "cross, isolated"),
        ("accounts", {"account_id": {1: "alice"}}, "INP-007", "'alice' appears twice"),
        ("accounts", {"owner": {0: None}}, "INP-003", "no owner"),
        ("orders", {"pool": {0: 50}}, "INP-008", "orders"),
        ("orders", {"group": {1: 2}}, "INP-008", "quote_groups"),
        ("orders", {"id": {0: ""}}, "INP-003", "no id"),
        ("order_legs", {"order": {0: 4}}, "INP-008", "of 'orders'"),
        ("order_legs", {"quantity": {0: 0.0}}, "INP-006", "BTC-27MAR26-80000-P"),
        ("order_legs", {"quantity": {0: None}}, "INP-004", "BTC-27MAR26-80000-P"),
        ("order_legs", {"price": {0: -1.0}}, "INP-004", "price"),
        ("quote_groups", {"limit_usd": {0: -1.0}}, "INP-004", "limit_usd"),
        ("quote_groups", {"pool": {0: 7}}, "INP-008", "quote_groups"),
    ],
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
