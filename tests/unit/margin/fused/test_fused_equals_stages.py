"""One pass over an account's rows against the engine's stages, which know nothing of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossmargin.book import CompactBook, generate_book
from crossmargin.errors import MarginError
from crossmargin.margin import load_ruleset
from crossmargin.margin.at_scale import BookColumns, evaluate_compact
from crossmargin.market import generated_market

FUSED = {
    "deribit-pm": ("mixed", ["BTC", "ETH"]),
    "deribit-pm-cross": ("mixed", ["BTC", "ETH"]),
    "derive-pm2": ("linear", None),
}


def made(name: str, accounts: int, seed: int = 3):
    kind, underlyings = FUSED[name]
    registry, snapshot = generated_market(seed=1, venue_kind=kind, underlyings=underlyings)
    book = generate_book(accounts, seed=seed, registry=registry, snapshot=snapshot)
    return book, snapshot, load_ruleset(name)


def scale_of(columns: BookColumns, book: CompactBook, snapshot) -> np.ndarray:
    """The larger of requirement, equity and gross notional, US dollars, by account."""
    view = snapshot.view(book.registry)
    terms = book.registry.terms
    names = book.registry.assets
    usd = np.array([snapshot.assets[n].price_usd if n in snapshot.assets else 1.0 for n in names])
    coins = np.abs(book.position_quantity) * terms.contract_size[book.position_instrument]
    held = book.position_instrument
    dollars = terms.inverse[held] & (terms.kind[held] != 3)
    notional = np.where(dollars, coins, coins * usd[terms.underlying[held]])
    owner = np.repeat(np.arange(book.regular), np.diff(book.position_start))
    gross = np.bincount(owner, weights=notional, minlength=book.regular)
    owned = np.abs(book.balance_amount) * usd[book.balance_asset]
    owner = np.repeat(np.arange(book.regular), np.diff(book.balance_start))
    gross += np.bincount(owner, weights=owned, minlength=book.regular)
    del view
    return np.maximum(gross, np.nan_to_num(np.maximum(np.abs(columns.equity), columns.im)))


def assert_same(ours: BookColumns, theirs: BookColumns, scale: np.ndarray) -> float:
    worst = 0.0
    for name in ("equity", "equity_im", "im", "mm"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert np.array_equal(np.isnan(a), np.isnan(b)), name
        fine = ~np.isnan(b)
        worst = max(worst, float(np.max(np.abs(a - b)[fine] / scale[fine], initial=0.0)))
    assert np.array_equal(np.isinf(ours.health), np.isinf(theirs.health))
    assert {k: e.code for k, e in ours.failures.items()} == {
        k: e.code for k, e in theirs.failures.items()
    }
    return worst


@pytest.mark.parametrize("name", FUSED)
def test_generated_books(name: str) -> None:
    book, snapshot, rules = made(name, 3_000)
    ours = evaluate_compact(book, snapshot, rules, engine="fused")
    theirs = evaluate_compact(book, snapshot, rules, engine="vectorised")
    assert ours.engine == "fused" and theirs.engine == "vectorised"
    assert assert_same(ours, theirs, scale_of(theirs, book, snapshot)) <= 1e-12
    assert set(ours.components) == set(theirs.components)
    for part, (im, mm) in theirs.components.items():
        assert ours.components[part] == pytest.approx((im, mm), rel=1e-11, abs=1e-6), part


@pytest.mark.parametrize("name", FUSED)
def test_any_number_of_threads_gives_the_same_bytes(name: str) -> None:
    book, snapshot, rules = made(name, 20_000)
    one, two = (evaluate_compact(book, snapshot, rules, threads=t) for t in (1, 3))
    for column in ("equity", "equity_im", "im", "mm", "health", "protected"):
        assert getattr(one, column).tobytes() == getattr(two, column).tobytes(), column
    assert one.components == two.components


@pytest.mark.parametrize("name", FUSED)
def test_part_of_a_book_has_the_same_bytes(name: str) -> None:
    whole, snapshot, rules = made(name, 3_000)
    part, _, _ = made(name, 1_111)
    a, b = (evaluate_compact(x, snapshot, rules, engine="fused") for x in (whole, part))
    assert a.im[:1_111].tobytes() == b.im.tobytes()
    assert a.equity[:1_111].tobytes() == b.equity.tobytes()


@pytest.mark.parametrize("name", FUSED)
def test_accounts_that_cannot_be_computed_have_the_reason_of_the_stages(name: str) -> None:
    book, snapshot, rules = made(name, 2_000)
    # A perpetual without a price, an expiry without a forward, a quantity that is no number.
    quotes = dict(snapshot.quotes)
    perpetual = next(k for k in quotes if "PERPETUAL" in k and k.startswith("ETH"))
    del quotes[perpetual]
    forwards = dict(snapshot.forwards)
    del forwards[next(iter(forwards))]
    holed = replace(snapshot, quotes=quotes, forwards=forwards)
    quantity = book.position_quantity.copy()
    quantity[book.position_start[10]] = np.nan
    broken = replace(book, position_quantity=quantity)
    ours = evaluate_compact(broken, holed, rules, engine="fused")
    theirs = evaluate_compact(book, holed, rules, engine="vectorised")
    assert len(ours.failures) > 100
    assert ours.failures[10].account == book.name(10)
    assert np.isnan(ours.im[10])
    for account, error in theirs.failures.items():
        if account == 10:
            continue
        mine = ours.failures[account]
        assert (mine.code, mine.account, mine.field) == (error.code, error.account, error.field)
    assert set(ours.failures) == set(theirs.failures) | {10}
    fine = np.setdiff1d(np.arange(book.size), list(ours.failures))
    scale = scale_of(theirs, book, snapshot)
    assert np.max(np.abs(ours.im - theirs.im)[fine] / scale[fine]) <= 1e-12


def test_a_position_beyond_a_limit_is_refused_as_by_the_stages() -> None:
    book, snapshot, rules = made("deribit-pm", 500)
    quantity = book.position_quantity * 3e5
    huge = replace(book, position_quantity=quantity)
    ours = evaluate_compact(huge, snapshot, rules, engine="fused")
    theirs = evaluate_compact(huge, snapshot, rules, engine="vectorised")
    assert {"RUL-030"} == {e.code for e in theirs.failures.values()}
    assert assert_same(ours, theirs, scale_of(theirs, huge, snapshot)) <= 1e-12


def test_a_rule_set_without_a_shape_says_so() -> None:
    registry, snapshot = generated_market(venue_kind="linear", kinds=("perpetual",))
    book = generate_book(50, seed=1, registry=registry, snapshot=snapshot)
    rules = load_ruleset("paradex-pm")
    with pytest.raises(MarginError, match="min_delta has no shape") as caught:
        evaluate_compact(book, snapshot, rules, engine="fused")
    assert caught.value.code == "MRG-030"
    assert evaluate_compact(book, snapshot, rules).engine == "vectorised"


def test_coins_are_stressed_when_the_first_contract_has_expired():
    """One unit of a balance is asked about beside an open contract, whatever has expired."""
    registry, snapshot = generated_market(
        seed=1, venue_kind="mixed", underlyings=["BTC", "ETH"], instruments=60
    )
    book = generate_book(200, seed=3, registry=registry, snapshot=snapshot)
    rules = load_ruleset("deribit-pm-cross")
    second = sorted({i.expiry_ns for i in registry if i.kind == "option"})[1]
    later = snapshot.at(second + 3_600_000_000_000)
    one = evaluate_compact(book, later, rules, engine="fused")
    other = evaluate_compact(book, later, rules, engine="vectorised")
    np.testing.assert_allclose(one.im, other.im, rtol=1e-9)


@pytest.mark.parametrize("name", FUSED)
def test_what_was_paid_is_stressed_after_each_expiry(name: str) -> None:
    """One unit paid is read off an open contract: those that have expired move no more."""
    registry, snapshot = generated_market(
        seed=1, venue_kind=FUSED[name][0], underlyings=["BTC", "ETH"], instruments=60
    )
    book = generate_book(300, seed=3, registry=registry, snapshot=snapshot)
    rules = load_ruleset(name)
    open_to_the_end = np.ones(book.regular, dtype=bool)
    owner = np.repeat(np.arange(book.regular), np.diff(book.position_start))
    expiry = registry.terms.expiry_ns[book.position_instrument]
    expiries = sorted({i.expiry_ns for i in registry if i.kind != "perpetual"})
    for moment in expiries[:-1]:
        later = snapshot.at(moment + 3_600_000_000_000)
        open_to_the_end[owner[(expiry > 0) & (expiry <= moment)]] = False
        # Somebody is left whom the one pass computes, or nothing would be compared.
        assert open_to_the_end.any()
        ours = evaluate_compact(book, later, rules, engine="fused")
        theirs = evaluate_compact(book, later, rules, engine="vectorised")
        np.testing.assert_allclose(ours.im, theirs.im, rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(ours.mm, theirs.mm, rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(ours.equity, theirs.equity, rtol=1e-9, atol=1e-6)
