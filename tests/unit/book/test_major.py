"""Positions by underlying, held to plain loops."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from crossmargin.book import (
    CompactBook,
    book_from_accounts,
    compact_book,
    generate_book,
    underlying_major,
)
from crossmargin.errors import InputError
from crossmargin.market import generated_market


@pytest.fixture(scope="module")
def book() -> CompactBook:
    registry, snapshot = generated_market(instruments=300)
    return generate_book(500, seed=2, registry=registry, snapshot=snapshot)


def by_loops(book: CompactBook, follow: list[int]) -> dict[int, list[tuple[int, int]]]:
    out: dict[int, list[tuple[int, int]]] = defaultdict(list)
    under = book.registry.terms.underlying
    for account in range(book.regular):
        for row in range(int(book.position_start[account]), int(book.position_start[account + 1])):
            out[follow[int(under[book.position_instrument[row]])]].append((account, row))
    return out


@pytest.mark.parametrize("joined", [False, True])
def test_rows_of_each_underlying_lie_together(book: CompactBook, joined: bool) -> None:
    assets = len(book.registry.assets)
    follow = list(range(assets))
    if joined:
        follow[book.registry.asset("SOL")] = book.registry.asset("ETH")
    major = underlying_major(book, follow=follow if joined else None)
    wanted = by_loops(book, follow)
    assert sum(map(len, wanted.values())) == book.positions == major.row.size
    for underlying in range(assets):
        rows, segments = major.rows(underlying), major.segments(underlying)
        pairs = list(zip(major.accounts(underlying).tolist(), major.row[rows].tolist()))
        assert pairs == wanted.get(underlying, [])
        holders = sorted({account for account, _ in wanted.get(underlying, [])})
        assert major.segment_account[segments].tolist() == holders
        for account in (*holders[:5], book.regular + 1):
            mine = major.held_by(underlying, account)
            expected = [row for owner, row in wanted.get(underlying, []) if owner == account]
            assert major.row[mine].tolist() == expected
    np.testing.assert_array_equal(major.quantity, book.position_quantity[major.row])
    np.testing.assert_array_equal(major.instrument, book.position_instrument[major.row])


def test_memory_is_what_is_said(book: CompactBook) -> None:
    major = underlying_major(book)
    rows, segments = major.row.size, major.segment_account.size
    said = 14 * rows + 12 * segments + 8 + 16 * (len(book.registry.assets) + 1)
    assert major.nbytes == said


def test_an_empty_book_and_a_wrong_column(book: CompactBook) -> None:
    nobody = underlying_major(compact_book(book_from_accounts([])))
    assert nobody.row.size == nobody.segment_account.size == 0
    with pytest.raises(InputError) as caught:
        underlying_major(book, follow=[0])
    assert caught.value.code == "INP-046"
