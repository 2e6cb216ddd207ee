"""Large books in files: round trips of both forms, bad rows, and writes that are cut short."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.books import BAD_ROWS, accounts, by_name, compact_facts, edit, facts

from crossmargin.book import (
    AccountFile,
    Book,
    CompactBook,
    NumberedIds,
    book_from_accounts,
    compact_book,
    generate_book,
    read_book_parquet,
    read_compact,
    write_book_parquet,
    write_compact,
    write_compact_parquet,
)
from crossmargin.book._arrow import map_columns, write_columns
from crossmargin.errors import InputError
from crossmargin.instruments import Registry, parse_instrument
from crossmargin.market import generated_market

Write = Callable[..., None]
WRITERS = pytest.mark.parametrize("write", [write_compact, write_compact_parquet])


@pytest.fixture
def book() -> Book:
    return book_from_accounts(accounts())


@pytest.fixture
def folder(book: Book, tmp_path: Path) -> Path:
    write_book_parquet(book, tmp_path / "book")
    return tmp_path / "book"


@pytest.fixture(scope="module")
def large() -> CompactBook:
    registry, snapshot = generated_market(seed=1, instruments=400)
    return generate_book(3_000, seed=5, registry=registry, snapshot=snapshot)


def assert_same(left: CompactBook, right: CompactBook) -> None:
    """Equal to the bit, by the names of instruments and assets."""
    for name in ("position_start", "position_quantity", "position_entry"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), name)
    for name in ("balance_start", "balance_amount"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), name)
    held = [[one.id for one in book.registry] for book in (left, right)]
    owned = [book.registry.assets for book in (left, right)]
    np.testing.assert_array_equal(
        np.array(held[0])[left.position_instrument], np.array(held[1])[right.position_instrument]
    )
    np.testing.assert_array_equal(
        np.array(owned[0])[left.balance_asset], np.array(owned[1])[right.balance_asset]
    )
    assert list(left.ids) == list(right.ids)
    assert (left.owners is None) == (right.owners is None)


@WRITERS
def test_a_small_book_comes_back_with_its_rest(book: Book, write: Write, tmp_path: Path) -> None:
    compact = compact_book(book)
    assert compact.rest is not None and compact.regular == 2
    write(compact, tmp_path / "out")
    read = read_compact(tmp_path / "out")
    assert not read.rejected and len(read.rejected) == 0
    assert compact_facts(read.book) == facts(book)
    assert [read.book.name(k) for k in range(3)] == ["bob", "carol", "alice"]
    assert read.book.owners is None and read.book.rest is not None
    assert read.book.rest.owners == ["family"]


@WRITERS
@pytest.mark.parametrize("given", [False, True])
def test_a_large_book_comes_back(
    large: CompactBook, write: Write, given: bool, tmp_path: Path
) -> None:
    write(large, tmp_path / "out")
    again = read_compact(tmp_path / "out", large.registry if given else None).book
    assert isinstance(again.ids, NumberedIds)
    if given:
        assert_same(large, again)
        np.testing.assert_array_equal(large.position_instrument, again.position_instrument)
    assert compact_facts(again) == compact_facts(large)
    start, held = again.position_start, again.position_instrument.astype(np.int64)
    inside = np.ones(held.size, dtype=bool)
    inside[start[:-1][np.diff(start) > 0]] = False
    assert (np.diff(held)[inside[1:]] > 0).all()


def test_one_format_for_both_readers(large: CompactBook, book: Book, tmp_path: Path) -> None:
    write_compact_parquet(large, tmp_path / "large")
    assert facts(read_book_parquet(tmp_path / "large")) == compact_facts(large)
    write_book_parquet(book, tmp_path / "book")
    assert compact_facts(read_compact(tmp_path / "book").book) == facts(book)
    names = [sorted(p.name for p in (tmp_path / one).iterdir()) for one in ("large", "book")]
    assert names[0] == names[1]
    for name in names[0]:
        schemas = [pl.read_parquet_schema(tmp_path / one / name) for one in ("large", "book")]
        assert schemas[0] == schemas[1], name


def test_a_given_registry_with_other_indices_is_followed(
    large: CompactBook, tmp_path: Path
) -> None:
    other = Registry()
    for item in reversed(list(large.registry)):
        other.add(item)
    for write, name in ((write_compact, "mapped"), (write_compact_parquet, "tables")):
        write(large, tmp_path / name)
        again = read_compact(tmp_path / name, other).book
        assert again.registry is other
        assert compact_facts(again) == compact_facts(large)
        first = again.accounts(0, 50)
        same = np.diff(first.position_pool) == 0
        assert (np.diff(first.position_instrument)[same] > 0).all()


def test_owners_and_names_come_back(tmp_path: Path) -> None:
    people = [
        AccountFile(
            format="crossmargin-account/1",
            account=f"name {k}é",
            owner=f"owner {k // 2}",
            balances=accounts()[1].balances,
        )
        for k in range(5)
    ]
    compact = compact_book(book_from_accounts(people))
    for write in (write_compact, write_compact_parquet):
        write(compact, tmp_path / write.__name__)
        again = read_compact(tmp_path / write.__name__).book
        assert list(again.ids) == [f"name {k}é" for k in range(5)]
        assert again.owners is not None and again.owners[3] == "owner 1"
        assert again.ids[1:3] == ["name 1é", "name 2é"] and again.ids[-1] == "name 4é"
        with pytest.raises(IndexError):
            again.ids[5]


@pytest.mark.parametrize("count", [0, 1])
def test_books_of_nobody_and_of_one(count: int, tmp_path: Path) -> None:
    compact = compact_book(book_from_accounts(accounts()[1 : 1 + count]))
    for write in (write_compact, write_compact_parquet):
        write(compact, tmp_path / write.__name__)
        again = read_compact(tmp_path / write.__name__)
        assert again.book.size == count and not again.rejected
        assert compact_facts(again.book) == compact_facts(compact)


def test_mapped_columns_are_views_of_the_file(large: CompactBook, tmp_path: Path) -> None:
    write_compact(large, tmp_path / "out")
    again = read_compact(tmp_path / "out").book
    for name in ("position_start", "position_instrument", "position_quantity", "balance_amount"):
        column = getattr(again, name)
        assert not column.flags.writeable and not column.flags.owndata, name
        assert column.dtype == getattr(large, name).dtype
    # Any Arrow reader opens the files.
    frame = pl.read_ipc(tmp_path / "out" / "positions.arrow")
    np.testing.assert_array_equal(frame["entry"].to_numpy(), large.position_entry)
    # A book that is written again leaves the columns that are mapped as they were.
    quantity = again.position_quantity.copy()
    write_compact(compact_book(again.accounts(0, 10)), tmp_path / "out", overwrite=True)
    np.testing.assert_array_equal(again.position_quantity, quantity)
    assert read_compact(tmp_path / "out").book.size == 10


@pytest.mark.parametrize("dtype", ["u1", "i4", "u2", "u8", "f4", "f8"])
@pytest.mark.parametrize("rows", [0, 1, 7, 300_000])
def test_arrow_columns_are_found(dtype: str, rows: int, tmp_path: Path) -> None:
    values = np.random.default_rng(rows).integers(0, 100, rows).astype(dtype)
    write_columns(tmp_path / "x.arrow", {"a": values, "b": values[::-1]})
    found = map_columns(tmp_path / "x.arrow")
    np.testing.assert_array_equal(found["a"], values)
    np.testing.assert_array_equal(found["b"], values[::-1])
    assert found["a"].dtype == values.dtype


@pytest.mark.parametrize("cut", [0, 5, 100, -1, -200])
def test_a_torn_arrow_file_is_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    write_columns(path, {"a": np.arange(1_000)})
    raw = path.read_bytes()
    path.write_bytes(raw[:cut])
    with pytest.raises(InputError) as caught:
        map_columns(path)
    assert caught.value.code == "INP-005"
    for bad in (pl.DataFrame({"a": ["x"]}), pl.DataFrame({"a": [1, None]})):
        bad.write_ipc(path)
        with pytest.raises(InputError, match="is not a whole Arrow file"):
            map_columns(path)


def test_an_altered_book_is_refused(large: CompactBook, tmp_path: Path) -> None:
    def fresh() -> Path:
        write_compact(large, tmp_path / "out", overwrite=True)
        return tmp_path / "out"

    folder = fresh()
    path = folder / "positions.arrow"
    raw = path.read_bytes()
    path.write_bytes(raw[:-1])
    with pytest.raises(InputError, match="is not what was written") as caught:
        read_compact(folder)
    assert (caught.value.code, caught.value.field) == ("INP-005", "positions.arrow")
    # A figure that changed is found when asked; a code past the end always.
    place = raw.index(np.float64(large.position_quantity[0]).tobytes())
    path.write_bytes(raw[:place] + b"\x01" + raw[place + 1 :])
    read_compact(folder)
    with pytest.raises(InputError, match=r"positions\.arrow"):
        read_compact(folder, verify=True)
    head = large.position_instrument[:64].tobytes()
    place = raw.index(head)
    path.write_bytes(raw[:place] + b"\xff\xff" + raw[place + 2 :])
    with pytest.raises(InputError, match=r"positions\.arrow"):
        read_compact(folder)
    folder = fresh()
    (folder / "balances.arrow").unlink()
    with pytest.raises(InputError, match=r"balances\.arrow"):
        read_compact(folder)
    folder = fresh()
    (folder / "book.json").write_text('{"format": "crossmargin-book/2"}')
    with pytest.raises(InputError) as caught:
        read_compact(folder)
    assert caught.value.code == "INP-003"


# Bad rows


@pytest.mark.parametrize(("table", "values", "code", "words"), BAD_ROWS)
def test_bad_rows_set_their_account_aside(
    book: Book, folder: Path, table: str, values: dict[str, Any], code: str, words: str
) -> None:
    edit(folder, table, **values)
    read = read_compact(folder)
    if code == "INP-042":
        # Out of order is no fault here: the row goes to the account that it names.
        assert not read.rejected
        assert len(compact_facts(read.book)["carol"]["positions"]) == 2
        return
    with pytest.raises(InputError) as caught:
        read_book_parquet(folder)
    strict = caught.value
    errors = dict(read.rejected)
    if table == "quote_groups" and "pool" in values:
        # The order that stands in a group of nobody goes too.
        assert errors.pop("alice").field == "orders[1].group"
    ((name, error),) = errors.items()
    assert type(error) is InputError
    assert (error.code, error.message, error.hint) == (strict.code, strict.message, strict.hint)
    assert (error.field, error.instrument) == (strict.field, strict.instrument)
    counts = read.rejected.by_code()
    assert counts == {code: 2 if "account_id" in values else len(read.rejected)}
    found, whole = compact_facts(read.book), facts(book)
    homeless = name.startswith(table)
    assert error.account == (None if homeless else name)
    for other in whole:
        if other != name and not (homeless and other == "alice") and "account_id" not in values:
            assert found[other] == whole[other]
    assert name not in found


def test_of_two_accounts_of_one_name_neither_is_read(folder: Path) -> None:
    edit(folder, "accounts", account_id={1: "alice"})
    read = read_compact(folder)
    assert list(read.rejected) == ["alice"] and read.book.size == 1
    assert read.rejected.rows.tolist() == [0, 1]


def broken(large: CompactBook, folder: Path) -> dict[str, str]:
    """Break accounts of a written book in every way; return the code that each one gets."""
    path = folder / "positions.parquet"
    frame = pl.read_parquet(path)
    first = large.position_start[:-1]
    held = np.diff(large.position_start) > 1
    chosen = np.flatnonzero(held)[::7][:300]
    wanted: dict[str, str] = {}
    quantity = frame["quantity"].to_numpy().copy()
    entry = frame["entry"].to_numpy().copy()
    pool = frame["pool"].to_numpy().copy()
    names = frame["instrument"].cast(pl.String).to_list()
    twice = []
    for number, account in enumerate(chosen.tolist()):
        row = int(first[account])
        kind = number % 6
        if kind == 0:
            quantity[row] = np.nan
        elif kind == 1:
            quantity[row] = 0.0
        elif kind == 2:
            quantity[row + 1] = 1e300
        elif kind == 3:
            names[row] = f"NOBODY-{number % 4}"
        elif kind == 4:
            entry[row] = -5.0
        else:
            twice.append(row)
        code = ["INP-004", "INP-006", "INP-004", "INP-001", "INP-004", "INP-007"][kind]
        wanted[large.name(account)] = code
    frame = frame.with_columns(
        pool=pl.Series(pool),
        quantity=pl.Series(quantity),
        entry=pl.Series(entry),
        instrument=pl.Series(names).cast(pl.Categorical),
    )
    frame = pl.concat([frame, frame[twice]])
    mixed = np.random.default_rng(3).permutation(len(frame))
    frame[mixed].write_parquet(path)
    balances = pl.read_parquet(folder / "balances.parquet")
    balances[::-1].write_parquet(folder / "balances.parquet")
    return wanted


def test_a_tenth_of_broken_accounts_leaves_the_others(large: CompactBook, tmp_path: Path) -> None:
    write_compact_parquet(large, tmp_path / "out")
    wanted = broken(large, tmp_path / "out")
    read = read_compact(tmp_path / "out", large.registry)
    assert {name: error.code for name, error in read.rejected.items()} == wanted
    assert sum(read.rejected.by_code().values()) == len(wanted) == 300
    whole = compact_facts(large)
    assert compact_facts(read.book) == {k: v for k, v in whole.items() if k not in wanted}
    assert list(read.book.ids) == [name for name in large.ids if name not in wanted]
    name = next(name for name, code in wanted.items() if code == "INP-001")
    sentence = str(read.rejected[name])
    assert "NOBODY-3" in sentence and f"account {name!r}" in sentence
    assert parse_instrument("BTC-PERPETUAL").id in read.book.registry
    assert not any(one.id.startswith("NOBODY") for one in read.book.registry)


def test_a_quote_group_that_is_gone_takes_its_orders(book: Book, folder: Path) -> None:
    # Bob's order stands in a group of alice, whose account is set aside.
    edit(folder, "orders", pool={1: 2})
    edit(folder, "balances", amount={0: None})
    read = read_compact(folder)
    assert {name: error.code for name, error in read.rejected.items()} == {
        "alice": "INP-004",
        "bob": "INP-008",
    }
    assert list(compact_facts(read.book)) == ["carol"]


def test_what_concerns_no_account_stops_the_reader(folder: Path) -> None:
    path = folder / "positions.parquet"
    frame = pl.read_parquet(path)
    frame.drop("quantity").write_parquet(path)
    with pytest.raises(InputError, match="no column 'quantity'"):
        read_compact(folder)
    frame.with_columns(pl.col("instrument").to_physical()).write_parquet(path)
    with pytest.raises(InputError, match="holds UInt32"):
        read_compact(folder)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="not a whole Parquet file"):
        read_compact(folder)
    with pytest.raises(InputError, match="no table"):
        read_compact(folder.parent / "nowhere")


def test_tables_written_by_others_are_read(book: Book, folder: Path) -> None:
    path = folder / "positions.parquet"
    frame = pl.read_parquet(path).with_columns(
        pl.col("instrument", "leg").cast(pl.String), pl.col("pool").cast(pl.Int32)
    )
    frame.write_parquet(path, row_group_size=2)
    assert compact_facts(read_compact(folder).book) == facts(book)
    assert by_name(read_book_parquet(folder)).size == 3


# Writes that are cut short

KILLED = """
import os, sys, time
from crossmargin.book import *
from crossmargin.market import generated_market
registry, snapshot = generated_market(instruments=300)
book = generate_book(2_000, seed=1, registry=registry, snapshot=snapshot)
steps, real = [0], os.fsync
def stop(handle):
    steps[0] += 1
    if steps[0] == int(sys.argv[3]):
        print("written", flush=True)
        time.sleep(60)
    real(handle)
os.fsync = stop
{"mapped": write_compact, "tables": write_compact_parquet}[sys.argv[1]](
    book, sys.argv[2], overwrite=True
)
"""


@pytest.mark.parametrize("form", ["mapped", "tables"])
@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize("old", [False, True])
def test_a_killed_write_leaves_no_book(
    form: str, step: int, old: bool, book: Book, tmp_path: Path
) -> None:
    target = tmp_path / "book"
    if old:
        write_compact_parquet(compact_book(book), target)
    command = [sys.executable, "-c", KILLED, form, str(target), str(step)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    if old:
        assert compact_facts(read_compact(target).book) == facts(book)
    else:
        assert not target.exists()
        with pytest.raises(InputError, match="no table"):
            read_compact(target)
    # What is left is hidden, and the next write does not mind it.
    left = [path for path in tmp_path.iterdir() if path != target]
    assert left and all(path.name.startswith(".book.") for path in left)
    write_compact(compact_book(book), target, overwrite=True)
    assert read_compact(target).book.size == 3


@WRITERS
def test_a_write_that_fails_leaves_nothing(
    large: CompactBook, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="no space left") as caught:
        write(large, tmp_path / "out")
    assert caught.value.code == "INP-005"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    write(large, tmp_path / "out")
    with pytest.raises(InputError) as caught:
        write(large, tmp_path / "out")
    assert caught.value.code == "INP-040"


@WRITERS
def test_an_interrupted_write_leaves_nothing(
    large: CompactBook, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(large, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
