"""Laws of the house model (clearing-practice §6.5)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.house_worlds import (
    FUTURE,
    NO_BASIS,
    OPTION,
    PRICES,
    PUT,
    account,
    history,
    market,
    rules,
)

from crossmargin.book import OrderEntry, OrderLeg, book_from_accounts
from crossmargin.errors import CrossmarginError
from crossmargin.margin import Evaluation, Ruleset, evaluate, evaluate_book, requirement
from crossmargin.market import Snapshot

NAMES = (*(f"{c}_USDC-PERPETUAL" for c in PRICES), OPTION, PUT)
UNIT = (1.0, 15.0, 400.0, 1.0, 1.0)
SIZE = st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3)
BOOK = st.dictionaries(st.integers(0, len(NAMES) - 1), SIZE, min_size=1, max_size=4)
COINS = st.dictionaries(st.sampled_from(["BTC", "ETH", "USDT"]), st.floats(0.01, 2.0), max_size=2)
PEGS = [{"name": "USDC falls", "moves": {"USDC": -0.05, "USDT": -0.05}}]
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def world() -> Snapshot:
    return market(history(vols=True))


@cache
def rule() -> Ruleset:
    return rules()


def done(
    held: dict[int, float], coins: dict[str, float] | None = None, k: float = 1.0
) -> Evaluation:
    owned = {"USD": 10_000.0, **{c: k * v for c, v in (coins or {}).items()}}
    who = account(*((NAMES[i], k * q * UNIT[i]) for i, q in sorted(held.items())), balances=owned)
    return evaluate(book_from_accounts([who]), world(), rule())


def part(found: Evaluation, name: str) -> float:
    return float(found.need.pool_parts[name][0][0])


def tail(found: Evaluation) -> float:
    return sum(float(im[0]) for im, _ in found.need.pool_parts.values())


@FEW
@given(BOOK, COINS, st.floats(0.1, 20))
def test_homogeneous_up_to_liquidity(held, coins, k) -> None:
    one, many = done(held, coins), done(held, coins, k)
    for name in one.need.pool_parts:
        if name != "premium_cap":
            assert part(many, name) == pytest.approx(k * part(one, name), rel=1e-8, abs=1e-5 * k)
    liquid = [float(d.need.parts["liquidity"].im.sum()) for d in (one, many)]
    if k >= 1:
        assert liquid[1] >= k * liquid[0] * (1 - 1e-9)


@FEW
@given(BOOK, BOOK)
def test_merging_never_raises_the_shortfall(one, two) -> None:
    both = {i: one.get(i, 0.0) + two.get(i, 0.0) for i in {*one, *two}}
    apart = [done(x) for x in (one, two)]
    together = done({i: q for i, q in both.items() if q}) if any(both.values()) else None
    if together is None:
        return
    for name in ("base", "stress"):
        total = sum(part(x, name) for x in apart)
        assert part(together, name) <= total * (1 + 1e-9) + 1e-6


@FEW
@given(BOOK, COINS)
def test_shares_add_up_and_nothing_is_negative(held, coins) -> None:
    found = done(held, coins)
    need = found.need
    whole = float(need.share_im.sum() + need.balance_share_im.sum())
    sizes = sum(float(need.parts[n].im.sum()) for n in ("liquidity", "concentration"))
    own = sum(float(need.parts[n].share_im.sum()) for n in ("liquidity", "concentration"))
    # Euler's shares of the tail; size charges have theirs.
    assert whole - own == pytest.approx(float(need.im[0]) - sizes, rel=1e-9, abs=1e-6)
    assert need.im[0] >= 0 and need.mm[0] >= 0
    assert need.im[0] >= need.mm[0] - 1e-9 or part(found, "premium_cap") < 0
    for name in ("base", "stress", "vol_floor", "correlation_break", "offset_cap"):
        assert part(found, name) >= 0


@FEW
@given(st.floats(0.01, 5.0), st.sampled_from([OPTION, PUT]), st.floats(0.0, 5.0))
def test_bought_options_need_no_more_than_they_are_worth(q, name, other) -> None:
    legs = [(name, q)] + ([(PUT if name == OPTION else OPTION, other)] if other else [])
    who = account(*legs)
    found = evaluate(book_from_accounts([who]), world(), rule())
    worth = float(found.have.option_value[0])
    assert 0 <= found.im_usd <= worth * (1 + 1e-9) + 1e-9
    assert found.mm_usd <= worth * (1 + 1e-9) + 1e-9


@FEW
@given(st.sampled_from([0, 1, 2]), st.floats(0.1, 50))
def test_a_hedged_pair_costs_its_spread_alone(coin, q) -> None:
    """A perpetual against the dated future, and against the coin itself, where basis is still."""
    name = tuple(PRICES)[coin]
    pair = account(("BTC_USDC-PERPETUAL", q), (FUTURE, -q))
    carry = account((f"{name}_USDC-PERPETUAL", -q), balances={name: q, "USD": 1.0})
    calm = rules(**NO_BASIS)
    for who in (pair, carry):
        found = evaluate(book_from_accounts([who]), world(), calm)
        assert tail(found) == pytest.approx(0.0, abs=1e-6 * q * 50_000)
    # A coin against a contract in USDC is no hedge of USDC: its hypothetical fall is charged.
    still = {**NO_BASIS, "tail__hypothetical": PEGS}
    found = evaluate(book_from_accounts([carry]), world(), rules(**still))
    usd = q * PRICES[name]
    assert tail(found) == pytest.approx(0.25 * 0.05 * usd, rel=1e-9)
    # Impact and days are charged on the net, which is nothing.
    assert evaluate(book_from_accounts([pair]), world(), calm).im_usd < 1e-6 * q * 50_000


@FEW
@given(st.floats(0.1, 50), st.sampled_from([-1, 1]))
def test_what_a_hedged_pair_costs_is_its_basis(q, side) -> None:
    """Something, far less than either leg, and nothing where both load on the same factor."""
    usd = q * 50_000
    perpetual, other = "BTC_USDC-PERPETUAL", "BTC_USDT-PERPETUAL"
    alone = tail(evaluate(book_from_accounts([account((perpetual, q))]), world(), rule()))
    for leg in (FUTURE, other):
        pair = evaluate(book_from_accounts([account((perpetual, side * q), (leg, -side * q))]),
                        world(), rules(tail__hypothetical=[]))  # fmt: skip
        if leg == FUTURE:
            # 25 days of a rate that moves 0.2 % a year a day, 2.7 deviations of a normal.
            spread = 0.002 * 25 / 365 * usd
            assert 2.0 * spread < tail(pair) < 4.0 * spread < 0.01 * alone
        else:
            assert tail(pair) == pytest.approx(0.0, abs=1e-5 * usd)
    # A future against a call sold and a put bought at one strike: the same forward.
    put = "BTC_USDC-24APR26-50000-P"
    quotes = {**world().quotes, put: world().quotes[OPTION]}
    legs = account((FUTURE, side * q), (OPTION, -side * q), (put, side * q))
    made = evaluate(
        book_from_accounts([legs]), replace(world(), quotes=quotes), rules(tail__hypothetical=[])
    )
    assert tail(made) == pytest.approx(0.0, abs=1e-6 * usd)


@FEW
@given(BOOK, COINS)
def test_offsets_stay_within_the_cap(held, coins) -> None:
    """IM ≥ ΣIM_i − 0.8(ΣIM_i − IM_P), each coin's positions alone in accounts of their own."""
    from crossmargin.margin._stages import Stage
    from crossmargin.margin._tail import measured

    found = done(held, coins)
    f = found.frame
    level, _ = measured(Stage(f, f.book.position_quantity, f.book.balance_amount, {}, None, False))
    s = level.shortfalls
    floor = np.maximum(s.own_long, 0.75 * s.own_base + 0.25 * s.own_stress)
    joint = max(s.long[0], 0.75 * s.base[0] + 0.25 * s.stress[0])
    single = float(floor.sum())
    charged = float(level.legs.total[0])
    assert charged >= single - 0.8 * (single - joint) - 1e-6


@FEW
@given(BOOK, st.integers(0, len(NAMES) - 1), SIZE)
def test_orders_never_lower_the_requirement_and_cover_their_fill(held, index, q) -> None:
    before = done(held)
    who = account(*((NAMES[i], x * UNIT[i]) for i, x in sorted(held.items())),
                  balances={"USD": 10_000.0})  # fmt: skip

    order = OrderEntry(id="o", legs=[OrderLeg(instrument=NAMES[index], quantity=q * UNIT[index])])
    resting = msgspec.structs.replace(who, orders=[order])
    book = book_from_accounts([resting])
    found = evaluate(book, world(), rule())
    assert found.need_orders.im[0] >= found.need.im[0] - 1e-6
    assert found.need.im[0] == pytest.approx(before.need.im[0], rel=1e-9)
    filled = done({**held, index: held.get(index, 0.0) + q}) if held.get(index, 0.0) + q else None
    if filled is not None:
        for name in ("base", "stress"):
            after = float(found.need_orders.pool_parts[name][0][0])
            assert after >= part(filled, name) * (1 - 1e-9) - 1e-6


@FEW
@given(st.lists(BOOK, min_size=2, max_size=5))
def test_a_book_is_its_accounts(books) -> None:
    """In one book with others, each account has what it has alone."""
    people = [
        account(*((NAMES[i], q * UNIT[i]) for i, q in sorted(held.items())), name=f"a{k}",
                balances={"USD": 10_000.0})
        for k, held in enumerate(books)
    ]  # fmt: skip
    found = evaluate_book(book_from_accounts(people), world(), rule())
    for k, held in enumerate(books):
        assert found.im[k] == pytest.approx(done(held).im_usd, rel=1e-10, abs=1e-7)


def test_more_of_a_figure_never_gives_less() -> None:
    """Shares, floors and weights of add-ons: monotone in each."""
    who = account((NAMES[0], 1.0), (NAMES[1], -12.0), (OPTION, -1.0))
    book = book_from_accounts([who])
    for path, values in (
        ("tail__floor", (0.0, 0.5, 1.0, 1.5)),
        ("tail__break_share", (0.0, 0.25, 1.0)),
        ("tail__buffer", (0.0, 0.1, 0.25)),
        ("tail__level_im", (0.98, 0.99, 0.995)),
    ):
        last = 0.0
        for value in values:
            now = evaluate(book, world(), rules(**{path: value})).im_usd
            assert now >= last - 1e-6, (path, value)
            last = now
    caps = [evaluate(book, world(), rules(tail__offset_cap=c)).im_usd for c in (1.0, 0.8, 0.0)]
    assert caps == sorted(caps)


def ends(node: object, path: str = "tail") -> list[str]:
    if isinstance(node, dict):
        return [p for k, v in node.items() for p in ends(v, f"{path}.{k}")]
    return [path] if isinstance(node, int | float) else []


def test_each_figure_of_the_section_at_its_ends() -> None:
    """Refused in a sentence, or computed: finite and not negative."""
    who = account((NAMES[0], 1.0), (NAMES[1], -12.0), (OPTION, -1.0), (NAMES[2], 100.0))
    book = book_from_accounts([who])
    counted = refused = 0
    for path in ends(rule().as_dict()["tail"]):
        for value in (0.0, 1e-9, 1.0, 10.0, 1e12):
            whole = int(value) if path.rsplit(".", 1)[-1] in _WHOLE else value
            try:
                found = evaluate(book, world(), rules(**{path.replace(".", "__"): whole}))
            except CrossmarginError as error:
                refused += 1
                assert "\n" not in str(error) and len(error.code) == 7
                continue
            counted += 1
            assert np.isfinite(found.need.im).all() and (found.need.im >= 0).all(), (path, value)
    assert counted > 30 and refused > 30


_WHOLE = {"days", "fewest", "horizon_days", "warm_up", "long_days", "stress_days", "seed"}


def test_requirement_of_nothing_is_nothing() -> None:
    found = done({0: 1.0, 3: -1.0}, {"BTC": 1.0})
    none = requirement(
        found.frame,
        quantity=np.zeros(found.frame.book.position_quantity.size),
        amount=np.zeros(found.frame.book.balance_amount.size),
    )
    assert none.im[0] == none.mm[0] == 0.0
