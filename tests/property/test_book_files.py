"""Laws of a book's files: what is written comes back, whatever the form."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.books import compact_facts, facts

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    OrderEntry,
    OrderLeg,
    PoolEntry,
    PositionEntry,
    book_from_accounts,
    compact_book,
    read_book_parquet,
    read_compact,
    write_book_parquet,
    write_compact,
    write_compact_parquet,
)

NAMES = ["BTC-PERPETUAL", "ETH_USDC-PERPETUAL", "BTC-27MAR26", "BTC-27MAR26-90000-C", "SOL_USDC"]
quantity = st.floats(-1e9, 1e9).filter(lambda q: q != 0)
price = st.one_of(st.just("mark"), st.floats(1e-9, 1e9))


@st.composite
def account(draw: st.DrawFn) -> AccountFile:
    wide = draw(st.integers(0, 3)) == 0
    pools = ["cross", "other"] if wide and draw(st.booleans()) else ["cross"]
    held = draw(st.lists(st.tuples(st.sampled_from(pools), st.sampled_from(NAMES)), unique=True))
    owned = draw(
        st.lists(
            st.tuples(st.sampled_from(pools), st.sampled_from(["USDC", "BTC", "USDT"])),
            unique=True,
            min_size=1,
        )
    )
    orders = []
    if wide and draw(st.booleans()):
        legs = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3))
        size = draw(quantity)
        orders = [OrderEntry(id="o", legs=[OrderLeg(instrument=n, quantity=size) for n in legs])]
    return AccountFile(
        format="crossmargin-account/1",
        account="?",
        owner=draw(st.sampled_from([None, "ann", "bob"])),
        pools=[PoolEntry(id="other", mode="isolated")] if "other" in pools else [],
        balances=[BalanceEntry(asset=a, amount=draw(quantity), pool=p) for p, a in owned],
        positions=[
            PositionEntry(
                instrument=name,
                quantity=draw(quantity),
                entry_price=draw(price),
                pool=pool,
                leverage=draw(st.floats(0.5, 100)) if wide else None,
            )
            for pool, name in held
        ],
        orders=orders,
    )


NUMBER = count()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("books")


@settings(max_examples=60, deadline=None)
@given(people=st.lists(account(), max_size=8))
def test_what_is_written_comes_back(people: list[AccountFile], place: Path) -> None:

    people = [
        msgspec.structs.replace(one, account=f"account {number * 7 % 11}")
        for number, one in enumerate(people)
    ]
    book = book_from_accounts(people)
    wanted = facts(book)
    compact = compact_book(book)
    assert compact_facts(compact) == wanted
    folder = place / str(next(NUMBER))
    folder.mkdir()
    write_book_parquet(book, folder / "book")
    write_compact_parquet(compact, folder / "tables")
    write_compact(compact, folder / "mapped")
    assert facts(read_book_parquet(folder / "tables")) == wanted
    for form in ("book", "tables", "mapped"):
        for registry in (None, book.registry):
            read = read_compact(folder / form, registry)
            assert not read.rejected
            assert compact_facts(read.book) == wanted
            assert read.book.regular == compact.regular
