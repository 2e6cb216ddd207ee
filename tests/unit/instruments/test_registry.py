"""The registry: dense indices, aliases, columns, and the hash that identifies them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.errors import InputError
from crossmargin.instruments import KIND_CODE, NO_EXPIRY_NS, Registry, parse_instrument

NAMES = [
    "BTC-PERPETUAL",
    "BTC_USDC-PERPETUAL",
    "BTC-27MAR26",
    "BTC-27MAR26-90000-C",
    "ETH_USDC-27MAR26-2000-P",
    "BTC_USDC",
]


def registry(*names: str) -> Registry:
    return Registry(parse_instrument(name) for name in names)


def test_indices_are_dense_and_in_order() -> None:
    made = registry(*NAMES)
    assert len(made) == len(NAMES)
    assert [item.id for item in made] == NAMES
    for index, name in enumerate(NAMES):
        assert made[index].id == name and name in made
        assert made.resolve(name) == index
    assert "BTC" not in made


def test_adding_again_returns_the_same_index() -> None:
    made = registry(*NAMES)
    assert made.add(parse_instrument(NAMES[2])) == 2
    assert len(made) == len(NAMES)


def test_aliases_resolve_to_one_index() -> None:
    made = Registry()
    first = made.resolve("BTC/USD:BTC-260327-90000-C")
    assert made.resolve("BTC-27MAR26-90000-C") == first
    assert made.resolve(" BTC-27MAR26-90000-C ") == first
    assert made.resolve("BTC/USD:BTC-260327-90000-C") == first
    assert len(made) == 1 and made[first].id == "BTC-27MAR26-90000-C"


def test_resolving_adds_what_is_new() -> None:
    made = registry(*NAMES)
    assert made.resolve("SOL_USDC-PERPETUAL") == len(NAMES)


def test_bad_names_add_nothing() -> None:
    made = registry(*NAMES)
    before = made.content_hash
    with pytest.raises(InputError, match="INP-001"):
        made.resolve("BTC-31FEB26")
    assert len(made) == len(NAMES) and made.content_hash == before


def test_conflicting_terms_are_refused() -> None:
    made = registry(*NAMES)
    before = made.content_hash
    other = replace(parse_instrument("BTC-PERPETUAL"), contract_size=10.0)
    with pytest.raises(InputError) as caught:
        made.add(other)
    assert caught.value.code == "INP-021" and caught.value.instrument == "BTC-PERPETUAL"
    assert len(made) == len(NAMES) and made.content_hash == before


class TestTerms:
    terms = registry(*NAMES).terms

    def test_columns(self) -> None:
        made = registry(*NAMES)
        t = made.terms
        codes = ["perpetual", "perpetual", "future", "option", "option", "spot"]
        assert t.kind.tolist() == [KIND_CODE[k] for k in codes]  # type: ignore[index]
        assert [made.assets[a] for a in t.underlying] == ["BTC", "BTC", "BTC", "BTC", "ETH", "BTC"]
        settled = ["BTC", "USDC", "BTC", "BTC", "USDC", "USDC"]
        assert [made.assets[a] for a in t.settlement] == settled
        assert t.inverse.tolist() == [True, False, True, True, False, False]
        assert t.is_call.tolist() == [False, False, False, True, False, False]
        np.testing.assert_array_equal(t.strike, [np.nan, np.nan, np.nan, 90_000, 2_000, np.nan])
        dated = t.expiry_ns != NO_EXPIRY_NS
        assert dated.tolist() == [False, False, True, True, True, False]

    def test_types(self) -> None:
        t = self.terms
        assert t.kind.dtype == np.int8
        assert t.underlying.dtype == t.settlement.dtype == np.int32
        assert t.expiry_ns.dtype == np.int64
        assert t.strike.dtype == t.contract_size.dtype == np.float64

    def test_rebuilt_when_something_is_added(self) -> None:
        made = registry(*NAMES)
        assert made.terms is made.terms
        made.resolve("SOL_USDC-PERPETUAL")
        assert made.terms.kind.size == len(NAMES) + 1

    def test_empty(self) -> None:
        made = Registry()
        assert len(made) == 0 and made.assets == [] and made.terms.kind.size == 0


class TestAssets:
    def test_in_order_of_appearance(self) -> None:
        assert registry("ETH_USDC-PERPETUAL", "BTC-PERPETUAL").assets == [
            "ETH",
            "USDC",
            "BTC",
            "USD",
        ]

    def test_an_asset_alone(self) -> None:
        made = registry("BTC-PERPETUAL")
        assert made.asset("STETH") == 2 == made.asset("STETH")


class TestHash:
    def test_same_content_same_hash(self) -> None:
        assert registry(*NAMES).content_hash == registry(*NAMES).content_hash

    def test_order_matters(self) -> None:
        assert registry(*NAMES).content_hash != registry(*NAMES[::-1]).content_hash

    def test_terms_matter(self) -> None:
        sized = Registry([replace(parse_instrument(NAMES[0]), contract_size=10.0)])
        assert sized.content_hash != registry(NAMES[0]).content_hash

    def test_adding_changes_it(self) -> None:
        made = registry(*NAMES)
        before = made.content_hash
        made.resolve(NAMES[0])
        assert made.content_hash == before
        made.resolve("SOL_USDC-PERPETUAL")
        assert made.content_hash != before


@given(st.permutations(NAMES))
def test_any_order_is_dense(names: list[str]) -> None:
    made = registry(*names)
    assert sorted(made.resolve(n) for n in NAMES) == list(range(len(NAMES)))
