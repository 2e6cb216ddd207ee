"""Made-up books: same seed, same bytes; what they hold; that rule-sets take them."""

from __future__ import annotations

import hashlib
from dataclasses import fields

import numpy as np
import pytest

from crossmargin.book import BookShape, CompactBook, generate_book
from crossmargin.errors import InputError
from crossmargin.instruments import KIND_CODE, Registry
from crossmargin.margin import evaluate_book, load_ruleset
from crossmargin.market import Snapshot, generated_market

Market = tuple[Registry, Snapshot]


@pytest.fixture(scope="module")
def market() -> Market:
    return generated_market(seed=3)


@pytest.fixture(scope="module")
def book(market: Market) -> CompactBook:
    return generate_book(20_000, seed=4, registry=market[0], snapshot=market[1])


def digest(book: CompactBook) -> str:
    out = hashlib.sha256()
    for field in fields(book):
        value = getattr(book, field.name)
        if isinstance(value, np.ndarray):
            out.update(np.ascontiguousarray(value).tobytes())
    return out.hexdigest()


def test_the_same_seed_gives_the_same_bytes(market: Market, book: CompactBook) -> None:
    registry, snapshot = generated_market(seed=3)
    np.random.seed(7)  # noqa: NPY002
    again = generate_book(20_000, seed=4, registry=registry, snapshot=snapshot)
    assert digest(again) == digest(book)
    other = generate_book(20_000, seed=5, registry=registry, snapshot=snapshot)
    assert digest(other) != digest(book)


@pytest.mark.parametrize("count", [1, 100, 8_192, 8_193])
def test_a_small_book_is_the_beginning_of_a_large_one(
    market: Market, book: CompactBook, count: int
) -> None:
    small = generate_book(count, seed=4, registry=market[0], snapshot=market[1])
    n, b = small.positions, small.balance_amount.size
    np.testing.assert_array_equal(small.position_start, book.position_start[: count + 1])
    np.testing.assert_array_equal(small.position_instrument, book.position_instrument[:n])
    np.testing.assert_array_equal(small.position_quantity, book.position_quantity[:n])
    np.testing.assert_array_equal(small.position_entry, book.position_entry[:n])
    np.testing.assert_array_equal(small.balance_amount, book.balance_amount[:b])


def test_rows_are_as_a_compact_book_wants_them(book: CompactBook) -> None:
    start, held = book.position_start, book.position_instrument.astype(np.int64)
    owner = np.repeat(np.arange(book.size), np.diff(start))
    key = owner * len(book.registry) + held
    assert (np.diff(key) > 0).all()
    assert (book.position_quantity != 0).all() and np.isfinite(book.position_quantity).all()
    assert (book.balance_amount > 0).all() and np.isfinite(book.balance_amount).all()
    option = book.registry.terms.kind[held] == KIND_CODE["option"]
    entry = book.position_entry
    assert (np.isnan(entry) | (entry > 0) | (option & (entry == 0))).all()
    assert 0.04 < np.isnan(entry).mean() < 0.06


def test_the_mix_is_what_is_said(book: CompactBook, market: Market) -> None:
    shape = BookShape()
    counts = np.diff(book.position_start)
    assert counts.mean() == pytest.approx(shape.positions, rel=0.05)
    assert (counts > 50).mean() == pytest.approx(shape.maker, rel=0.35)
    terms = book.registry.terms
    under = terms.underlying[book.position_instrument]
    held = np.sort(np.bincount(under, minlength=len(book.registry.assets)))[::-1]
    assert (np.diff(held[:10]) <= 0).all() and held[0] > 3 * held[5]
    # Pareto: of the accounts of one kind, the largest tenth holds most of the notional.
    usd = market[1].view(book.registry).asset_usd[terms.underlying]
    unit = np.where(terms.inverse & (terms.kind != KIND_CODE["option"]), 1.0, usd)
    gross = np.abs(book.position_quantity) * unit[book.position_instrument]
    owner = np.repeat(np.arange(book.size), counts)
    total = np.sort(np.bincount(owner, weights=gross, minlength=book.size))[::-1]
    assert total[: book.size // 10].sum() > 0.6 * total.sum()


def test_one_kind_alone(market: Market) -> None:
    def only(kind: str) -> CompactBook:
        weights = {"directional": 0.0, "hedged": 0.0, "overlay": 0.0, "maker": 0.0, "coin": 0.0}
        shape = BookShape(**{**weights, kind: 1.0})
        return generate_book(300, seed=1, registry=market[0], snapshot=market[1], shape=shape)

    terms = market[0].terms
    option = terms.kind == KIND_CODE["option"]
    makers = only("maker")
    assert np.diff(makers.position_start).mean() > 60
    share = option[makers.position_instrument].mean()
    # The rest are hedges: at most one for each underlying and settlement asset.
    assert share > 0.85
    assert not option[only("coin").position_instrument].any()
    dollars = {market[0].asset(name) for name in ("USDC", "USDT") if name in market[0].assets}
    assert not dollars & set(only("coin").balance_asset.tolist())
    hedged = only("hedged")
    account = np.repeat(np.arange(hedged.size), np.diff(hedged.position_start))
    # Against a coin the contract is sold, against another contract deltas cancel: what is long
    # over all is what lots leave over.
    price = market[1].view(market[0]).asset_usd[terms.underlying]
    unit = np.where(terms.inverse, 1.0, price)[hedged.position_instrument]
    usd = hedged.position_quantity * unit
    net = np.bincount(account, weights=usd, minlength=300)
    counts = np.diff(hedged.position_start)
    assert (net <= 50.0 * counts + 0.01 * np.abs(usd).max()).all()
    assert (net < -100.0).mean() > 0.3


def test_more_positions_on_demand(market: Market) -> None:
    for wanted in (3.0, 30.0):
        shape = BookShape(positions=wanted)
        one = generate_book(4_000, seed=1, registry=market[0], snapshot=market[1], shape=shape)
        assert one.positions / one.size == pytest.approx(wanted, rel=0.3)


LISTED = ("perpetual", "future")
PERPETUAL = ("perpetual",)
COINS = ("BTC", "ETH")


@pytest.mark.parametrize(
    ("ruleset", "kind", "options"),
    [
        ("deribit-pm", "mixed", {"underlyings": COINS}),
        ("deribit-pm", "inverse", {"underlyings": COINS}),
        ("deribit-pm-cross", "mixed", {"underlyings": COINS}),
        ("deribit-sm", "linear", {"underlyings": COINS}),
        ("derive-pm2", "linear", {}),
        ("derive-pm2", "mixed", {"underlyings": COINS}),
        ("derive-pm1", "linear", {"underlyings": COINS}),
        ("derive-srm", "linear", {"underlyings": COINS}),
        ("binance-coinm", "inverse", {"underlyings": ["BTC"], "kinds": LISTED}),
        ("binance-usdm", "linear", {"underlyings": ["BTC"], "kinds": LISTED, "dollar": "USDT"}),
        ("dydx-v4", "linear", {"underlyings": COINS, "kinds": PERPETUAL}),
        ("hyperliquid", "linear", {"kinds": PERPETUAL}),
        ("isolated", "linear", {"underlyings": COINS}),
        ("occ-tims", "linear", {}),
        ("span", "mixed", {"underlyings": COINS}),
    ],
)
def test_rule_sets_take_a_book_made_for_them(
    ruleset: str, kind: str, options: dict[str, object]
) -> None:
    registry, snapshot = generated_market(seed=1, venue_kind=kind, **options)  # type: ignore[arg-type]
    coins = () if ruleset in ("dydx-v4", "hyperliquid", "binance-usdm") else None
    book = generate_book(400, seed=1, registry=registry, snapshot=snapshot, coins=coins)
    result = evaluate_book(book.accounts(0, 400), snapshot, load_ruleset(ruleset))
    assert not result.failures
    assert np.isfinite(result.im).all() and (result.equity >= 0).all()


def test_some_accounts_are_near_their_line() -> None:
    registry, snapshot = generated_market(seed=1, underlyings=COINS)
    for under in (0.01, 0.2):
        shape = BookShape(under=under)
        book = generate_book(3_000, seed=1, registry=registry, snapshot=snapshot, shape=shape)
        result = evaluate_book(book.accounts(0, 3_000), snapshot, load_ruleset("deribit-pm"))
        below = (result.health < 1.0).mean()
        # The rule-set's stress is not the house's: the share is of that order, no more.
        assert under / 2 < below < 2.5 * under


def test_what_cannot_be_made_is_refused(market: Market) -> None:
    registry, snapshot = market
    for accounts, seed in ((0, 1), (10**14, 1), (10, -1)):
        with pytest.raises(InputError) as caught:
            generate_book(accounts, seed=seed, registry=registry, snapshot=snapshot)
        assert caught.value.code == "INP-044"
    for bad in (
        {"under": 0.0},
        {"positions": 0.0},
        {"home": 2.0},
        {"maker": -1.0},
        {"size_max_usd": 1.0},
        {"settled": float("nan")},
    ):
        with pytest.raises(InputError, match="made-up book") as caught:
            BookShape(**bad)
        assert caught.value.field == next(iter(bad))
    with pytest.raises(InputError) as caught:
        generate_book(1, seed=1, registry=Registry(), snapshot=snapshot)
    assert caught.value.code == "INP-045"
    with pytest.raises(InputError, match="no asset 'PEPE'"):
        generate_book(1, seed=1, registry=registry, snapshot=snapshot, coins=("PEPE",))


def test_options_alone_and_spot_beside() -> None:
    registry, snapshot = generated_market(kinds=("option",), instruments=200)
    book = generate_book(200, seed=1, registry=registry, snapshot=snapshot)
    assert book.positions > 0
    registry, snapshot = generated_market(kinds=("spot", "perpetual"), venue_kind="linear")
    book = generate_book(200, seed=1, registry=registry, snapshot=snapshot)
    spot = registry.terms.kind == KIND_CODE["spot"]
    assert spot.any() and not spot[book.position_instrument].any()
