"""Laws that hold for every account, rule-set and market: see requirements, "Invariants"."""

from __future__ import annotations

import itertools
from functools import lru_cache

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossmargin.book import AccountFile, BalanceEntry, PositionEntry, book_from_accounts
from crossmargin.errors import CrossmarginError
from crossmargin.instruments import parse_instrument
from crossmargin.margin import (
    equity,
    evaluate,
    excess_at,
    fenced_margins,
    frame_for,
    liquidation_prices,
    load_ruleset,
    make_statement,
    requirement,
    ruleset_from_dict,
    shares,
    tick_size,
)
from crossmargin.market import AssetPrice, Forward, InstrumentQuote, Snapshot
from crossmargin.units import parse_time

NOW = parse_time("2026-02-25T08:00:00Z")
EXPIRIES = ("26FEB26", "27MAR26", "26JUN26")
SPOT = {"BTC": 50_000.0, "ETH": 3_000.0}
GRID = (0.6, 0.9, 1.0, 1.1, 1.5)


def _names() -> list[str]:
    out = []
    for coin, spot in SPOT.items():
        for stem in (coin, f"{coin}_USDC"):
            out.append(f"{stem}-PERPETUAL")
            for day in EXPIRIES:
                out.append(f"{stem}-{day}")
                for ratio, right in itertools.product(GRID, "CP"):
                    out.append(f"{stem}-{day}-{spot * ratio:g}-{right}")
    return out


NAMES = _names()
OPTIONS = [n for n in NAMES if parse_instrument(n).kind == "option"]
LINEAR_OPTIONS = [n for n in OPTIONS if "_USDC" in n]


@lru_cache(maxsize=1)
def market() -> Snapshot:
    """Two coins, three expiries, linear and inverse, a stablecoin off par."""
    assets = {
        "BTC": AssetPrice(price_usd=50_000.0, time_ns=NOW),
        "ETH": AssetPrice(price_usd=3_000.0, time_ns=NOW),
        "USDC": AssetPrice(price_usd=0.9987, time_ns=NOW),
    }
    forwards, quotes = {}, {}
    for name in NAMES:
        item = parse_instrument(name)
        if item.kind == "option":
            vol = 0.55 + 0.1 * abs(np.log(item.strike / SPOT[item.underlying]))
            quotes[name] = InstrumentQuote(vol=float(vol), time_ns=NOW)
        if item.kind in ("option", "future"):
            days = (item.expiry_ns - NOW) / 86_400e9
            forwards[item.underlying, item.expiry_ns] = Forward(
                price_usd=SPOT[item.underlying] * (1 + 0.0002 * days), time_ns=NOW
            )
        elif item.kind == "perpetual":
            quotes[name] = InstrumentQuote(
                price_mark=SPOT[item.underlying] * 1.0005, funding_rate_8h=1e-4, time_ns=NOW
            )
    return Snapshot(as_of_ns=NOW, assets=assets, forwards=forwards, quotes=quotes)


def account(
    legs: list[tuple[str, float]], usdc: float = 1e6, coins: tuple[float, float] = (0.0, 0.0)
) -> AccountFile:
    """Build an account; quantities are coins (inverse futures: thousands of dollars)."""
    merged: dict[str, float] = {}
    for name, quantity in legs:
        merged[name] = merged.get(name, 0.0) + quantity
    positions = []
    for name, quantity in merged.items():
        item = parse_instrument(name)
        if quantity == 0:
            continue
        size = quantity * 1_000 if item.inverse and item.kind != "option" else quantity
        entry = None if item.kind == "option" else "mark"
        positions.append(PositionEntry(instrument=name, quantity=size, entry_price=entry))
    return AccountFile(
        format="crossmargin-account/1",
        account="p",
        balances=[
            BalanceEntry(asset="USDC", amount=usdc),
            BalanceEntry(asset="BTC", amount=coins[0]),
            BalanceEntry(asset="ETH", amount=coins[1]),
        ],
        positions=positions,
    )


quantities = st.floats(min_value=0.01, max_value=20.0).flatmap(lambda q: st.sampled_from([q, -q]))
legs = st.lists(st.tuples(st.sampled_from(NAMES), quantities), min_size=1, max_size=8)
linear_legs = st.lists(
    st.tuples(
        st.sampled_from([*LINEAR_OPTIONS, "BTC_USDC-PERPETUAL", "ETH_USDC-27MAR26"]), quantities
    ),
    min_size=1,
    max_size=8,
)
RULES = ("deribit-sm", "deribit-sm-cross", "deribit-pm", "deribit-pm-cross", "isolated")
modest = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def grid_rules(**scan: object) -> object:
    """The bare grid: scan only, no tails, no add-ons."""
    base = load_ruleset("paradex-pm").as_dict()
    base["id"] = "grid"
    base["scenarios"]["blocks"] = base["scenarios"]["blocks"][:2]
    base["components"] = [{**base["components"][0], **scan}]
    base["combine"] = {"im": "scan", "mm": "scan"}
    base["collateral"]["assets"]["default"] = {"haircut": 0.0}
    base["orders"] = {"method": "worst-fill", "source": "docs", "confidence": "house"}
    return ruleset_from_dict(base)


GRID_RULES = grid_rules()


def scan(legs_: list[tuple[str, float]], rules: object = GRID_RULES) -> float:
    """Initial margin of an account under the bare grid."""
    book = book_from_accounts([account(legs_)])
    return float(requirement(frame_for(book, market(), rules)).im.sum())  # type: ignore[arg-type]


@modest
@given(linear_legs, linear_legs)
def test_scan_is_subadditive(a: list[tuple[str, float]], b: list[tuple[str, float]]) -> None:
    assert scan(a + b) <= (scan(a) + scan(b)) * (1 + 1e-12) + 1e-9


@modest
@given(legs, st.floats(min_value=0.01, max_value=50.0))
def test_scan_is_homogeneous(a: list[tuple[str, float]], t: float) -> None:
    scaled = [(name, q * t) for name, q in a]
    assert scan(scaled) == pytest.approx(scan(a) * t, rel=1e-10, abs=1e-7)


@modest
@given(legs, st.randoms(use_true_random=False))
def test_order_and_splitting_change_nothing(a: list[tuple[str, float]], rnd: object) -> None:
    shuffled = list(a)
    rnd.shuffle(shuffled)  # type: ignore[attr-defined]
    halves = [(n, q / 2) for n, q in shuffled] * 2
    assert scan(halves) == pytest.approx(scan(a), rel=1e-11, abs=1e-7)


@modest
@given(st.sampled_from(NAMES), quantities)
def test_long_and_short_of_one_instrument_is_exactly_nothing(name: str, q: float) -> None:
    long = PositionEntry(instrument=name, quantity=abs(q), entry_price="mark", leg="long")
    short = PositionEntry(instrument=name, quantity=-abs(q), entry_price="mark", leg="short")
    empty = account([])
    both = msgspec.structs.replace(empty, positions=[long, short])
    need = requirement(frame_for(book_from_accounts([both]), market(), GRID_RULES))  # type: ignore[arg-type]
    assert need.im.sum() == 0.0


@modest
@given(legs, st.sampled_from(("paradex-pm", *RULES)))
def test_one_more_dollar_of_cash_is_one_more_of_excess(
    a: list[tuple[str, float]], name: str
) -> None:
    rules = load_ruleset(name)

    def excess(usdc: float) -> tuple[float, float]:
        done = evaluate(book_from_accounts([account(a, usdc)]), market(), rules)
        usd = done.frame.pot_usd
        return (
            float(((done.have.im - done.need.im) * usd).sum()),
            float(((done.have.mm - done.need.mm) * usd).sum()),
        )

    try:
        before, after = excess(1e6), excess(1e6 + 1)
    except CrossmarginError as error:
        assert error.code.startswith("RUL-")  # an honest refusal, for example no futures rate
        return
    for x, y in zip(before, after):
        assert y - x == pytest.approx(0.9987, abs=1e-6)


@modest
@given(legs, st.sampled_from(("paradex-pm", *RULES)), st.tuples(st.floats(0, 50), st.floats(0, 50)))
def test_initial_at_least_maintenance_at_least_zero(
    a: list[tuple[str, float]], name: str, coins: tuple[float, float]
) -> None:
    overrides = {"collateral.assets.default.haircut": 0.05} if name == "paradex-pm" else {}
    rules = load_ruleset(name, overrides=overrides)
    try:
        done = evaluate(book_from_accounts([account(a, 1e6, coins)]), market(), rules)
    except CrossmarginError as error:
        assert error.code.startswith("RUL-")
        return
    assert np.all(np.isfinite(done.need.im)) and np.all(np.isfinite(done.have.mm))
    assert np.all(done.need.mm >= 0)
    assert np.all(done.need.im >= done.need.mm - 1e-9)


@modest
@given(
    st.sampled_from(EXPIRIES),
    st.sampled_from(("BTC", "ETH")),
    st.floats(0.1, 10),
    st.sampled_from(GRID),
)
def test_covered_call_is_a_short_put_on_the_linear_grid(
    day: str, coin: str, q: float, ratio: float
) -> None:
    strike = SPOT[coin] * ratio
    future = (f"{coin}_USDC-{day}", q)
    call = (f"{coin}_USDC-{day}-{strike:g}-C", -q)
    put = (f"{coin}_USDC-{day}-{strike:g}-P", -q)
    assert scan([future, call]) == pytest.approx(scan([put]), rel=1e-10, abs=1e-7)


@modest
@given(legs, st.sampled_from(("paradex-pm", "isolated-whole", *RULES)))
def test_shares_and_the_named_rest_sum_to_the_total(a: list[tuple[str, float]], name: str) -> None:
    overrides = {"collateral.assets.default.haircut": 0.0} if name == "paradex-pm" else {}
    rules = load_ruleset(name, overrides=overrides)
    try:
        frame = frame_for(book_from_accounts([account(a, 1e5, (2.0, 10.0))]), market(), rules)
        split = shares(frame)
    except CrossmarginError as error:
        assert error.code.startswith("RUL-")
        return
    total = float(split.position.sum() + split.balance.sum()) + split.fixed + split.jumps
    assert total == pytest.approx(split.total, rel=1e-9, abs=1e-9)
    if rules.id != "isolated-whole":
        assert split.jumps == pytest.approx(0.0, abs=1e-6 * max(1.0, split.total))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    legs,
    st.sampled_from(("paradex-pm", "deribit-sm-cross", "deribit-pm-cross", "isolated")),
    st.floats(1_000, 400_000),
)
def test_the_solved_liquidation_price_changes_the_sign_within_one_tick(
    a: list[tuple[str, float]], name: str, cash: float
) -> None:
    overrides = {"collateral.assets.default.haircut": 0.0} if name == "paradex-pm" else {}
    rules = load_ruleset(name, overrides=overrides)
    try:
        frame = frame_for(book_from_accounts([account(a, cash, (1.0, 5.0))]), market(), rules)
        solved = liquidation_prices(frame, together=False)
    except CrossmarginError as error:
        assert error.code.startswith("RUL-")
        return
    fences = fenced_margins(frame, requirement(frame))
    for line in solved:
        if line.breached:
            continue
        moves = frame.follow == frame.book.registry.assets.index(line.underlying)
        for side, sign in ((line.down, -1.0), (line.up, 1.0)):
            if side.price_usd is None:
                continue
            tick = tick_size(side.price_usd)
            ratio, step = side.price_usd / line.price_usd, tick / line.price_usd
            before = excess_at(frame, moves, fences, ratio - sign * step).min()
            after = excess_at(frame, moves, fences, ratio + sign * step).min()
            assert before >= 0 > after or (before > 0 and after == pytest.approx(0, abs=1e-6))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(legs, st.integers(0, 7))
def test_removing_a_leg_and_adding_it_back_restores_everything(
    a: list[tuple[str, float]], place: int
) -> None:
    rules = load_ruleset("deribit-pm-cross")
    whole = account(a, 1e6, (3.0, 20.0))
    first = make_statement(whole, market(), rules, solve=False)
    k = place % len(whole.positions) if whole.positions else 0
    without = msgspec.structs.replace(
        whole, positions=whole.positions[:k] + whole.positions[k + 1 :]
    )
    make_statement(without, market(), rules, solve=False)
    again = make_statement(whole, market(), rules, solve=False)
    assert msgspec.json.encode(again) == msgspec.json.encode(first)


@modest
@given(legs)
def test_a_wider_scenario_set_never_lowers_margin(a: list[tuple[str, float]]) -> None:
    base = load_ruleset("paradex-pm").as_dict()
    base["collateral"]["assets"]["default"] = {"haircut": 0.0}
    wide = ruleset_from_dict(base)
    base["scenarios"]["blocks"] = base["scenarios"]["blocks"][:2]
    narrow = ruleset_from_dict(base)

    def need(rules: object) -> float:
        book = book_from_accounts([account(a)])
        return float(requirement(frame_for(book, market(), rules)).im.sum())  # type: ignore[arg-type]

    assert need(wide) >= need(narrow) - 1e-9


@modest
@given(legs, st.floats(0, 1), st.floats(0, 1))
def test_haircuts_never_help_and_never_touch_a_debtor(
    a: list[tuple[str, float]], low: float, high: float
) -> None:
    low, high = sorted((low, high))

    def equity_of(cut: float, coins: tuple[float, float]) -> float:
        rules = load_ruleset("isolated", overrides={"collateral.assets.default.haircut": cut})
        frame = frame_for(book_from_accounts([account(a, 1e6, coins)]), market(), rules)
        return float(equity(frame, requirement(frame)).im.sum())

    try:
        assert equity_of(high, (2.0, 3.0)) <= equity_of(low, (2.0, 3.0)) + 1e-9
        # The only positive balance is the cash: its haircut is all that may differ.
        debt_low, debt_high = equity_of(0.0, (-2.0, 0.0)), equity_of(high, (-2.0, 0.0))
        assert debt_high == pytest.approx(debt_low - high * 1e6 * 0.9987, rel=1e-9)
    except CrossmarginError as error:
        assert error.code.startswith("RUL-")
