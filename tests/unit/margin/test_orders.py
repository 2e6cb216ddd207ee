"""Open orders: the worst combination of fills, held against trying every combination."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import (
    CALL,
    ETH_PERP,
    PERP,
    PUT,
    account,
    component,
    fixture_g,
    flat_rate,
    frame,
    im,
    rules,
    scan_rules,
)

from crossmargin.errors import InputError, RulesetError
from crossmargin.margin import evaluate, load_ruleset, make_statement, requirement

G = scan_rules()
MARKET = fixture_g()
FUTURE = "BTC_USDC-27MAR26"
LINEAR = (PERP, FUTURE)
BTC = (*LINEAR, CALL, PUT)
#: Scenario P&L and mark of one unit, from an account that holds one of each.
_FRAME = frame(account(*[(n, 1) for n in (*BTC, ETH_PERP)]), G, MARKET)
UNIT = {
    _FRAME.book.registry[int(i)].id: _FRAME.table.pnl[i] for i in _FRAME.book.position_instrument
}
MARK = {
    _FRAME.book.registry[int(i)].id: float(
        _FRAME.unit_value[i] if name in (CALL, PUT) else _FRAME.view.price[i]
    )
    for name, i in zip((*BTC, ETH_PERP), _FRAME.book.position_instrument)
}

Legs = list[tuple[str, float, float | None]]


def fill_loss(legs: Legs) -> np.ndarray:
    """Loss by scenario of filling one order: what it leaves in the book, and its price."""
    loss = np.zeros(27)
    for name, quantity, price in legs:
        loss -= quantity * UNIT[name]
        if price is not None:
            loss -= quantity * (MARK[name] - price)
    return loss


def brute_force(
    positions: list[tuple[str, float]], orders: list[Legs], groups: list[tuple[list[Legs], float]]
) -> float:
    """Largest loss over every subset of orders and of each group's quotes, and every scenario.

    Within a group any subset may fill; what the subset loses counts at most the limit.
    """
    held = sum((-q * UNIT[n] for n, q in positions), np.zeros(27))
    subsets = [[np.zeros(27), fill_loss(o)] for o in orders]
    for quotes, limit in groups:
        losses = [fill_loss(q) for q in quotes]
        choices = []
        for size in range(len(losses) + 1):
            for chosen in itertools.combinations(losses, size):
                total = sum(chosen, np.zeros(27))
                choices.append(np.minimum(total, limit))
        subsets.append(choices)
    worst = 0.0
    for fills in itertools.product(*subsets):
        worst = max(worst, float(sum(fills, held).max()))
    return worst


def leg(name: str, quantity: float, price: float | None = None) -> dict[str, Any]:
    row = {"instrument": name, "quantity": quantity}
    return row if price is None else {**row, "price": price}


def order(number: int, legs: Legs) -> dict[str, Any]:
    return {"id": f"o{number}", "legs": [leg(*row) for row in legs]}


def quotes_of(number: int, quotes: list[Legs], limit: float) -> dict[str, Any]:
    rows = []
    for ((name, quantity, price),) in quotes:
        side = "bid" if quantity > 0 else "ask"
        row = {"instrument": name, f"{side}_quantity": abs(quantity)}
        if price is not None:
            row[f"{side}_price"] = price
        rows.append(row)
    group: dict[str, Any] = {"id": f"g{number}", "quotes": rows}
    if np.isfinite(limit):
        group["protection_limit_usd"] = limit
    return group


def engine(
    positions: list[tuple[str, float]],
    orders: list[Legs],
    groups: list[tuple[list[Legs], float]] | None = None,
) -> float:
    who = account(
        *positions,
        balances={"USDC": 1.0},
        orders=[order(n, legs) for n, legs in enumerate(orders)],
        quote_groups=[quotes_of(n, *group) for n, group in enumerate(groups or [])],
    )
    return float(requirement(frame(who, G, MARKET), orders=True).im.sum())


FIXED: dict[str, tuple[list[tuple[str, float]], list[Legs], list[tuple[list[Legs], float]]]] = {
    "nothing held, one buy": ([], [[(PERP, 1.0, None)]], []),
    "a buy beyond the mark": ([(PERP, 1.0)], [[(PERP, 1.0, 51_000.0)]], []),
    "a buy below the mark": ([(PERP, 1.0)], [[(PERP, 1.0, 49_000.0)]], []),
    "a buy and a sell": ([], [[(PERP, 1.0, None)], [(PERP, -1.0, None)]], []),
    "a closing order": ([(PERP, 2.0)], [[(PERP, -2.0, None)]], []),
    "sold options": ([(PERP, 1.0)], [[(CALL, -1.0, None)], [(PUT, -1.0, 2_000.0)]], []),
    "a spread as one order": ([(PERP, 1.0)], [[(CALL, -2.0, None), (PUT, 2.0, None)]], []),
    "a spread as two orders": ([(PERP, 1.0)], [[(CALL, -2.0, None)], [(PUT, 2.0, None)]], []),
    "calendar as one order": ([], [[(PERP, 3.0, None), (FUTURE, -3.0, 49_500.0)]], []),
    "quotes without a limit": (
        [],
        [],
        [([[(CALL, 1.0, 3_300.0)], [(CALL, -1.0, 3_500.0)], [(PUT, -2.0, 3_400.0)]], np.inf)],
    ),
    "quotes under a limit": (
        [(PERP, 1.0)],
        [[(PERP, 0.5, 50_100.0)]],
        [([[(CALL, 1.0, 3_300.0)], [(CALL, -1.0, 3_500.0)], [(PUT, -2.0, 3_400.0)]], 2_500.0)],
    ),
    "two groups, one limit of zero": (
        [(PUT, -1.0)],
        [],
        [([[(PERP, 1.0, None)]], 0.0), ([[(FUTURE, 1.0, None)], [(PERP, 1.0, None)]], 9_000.0)],
    ),
}


@pytest.mark.parametrize("case", FIXED.values(), ids=FIXED.keys())
def test_fixed_cases(case: Any) -> None:
    assert engine(*case) == pytest.approx(brute_force(*case), rel=1e-10, abs=1e-7)


quantities = st.sampled_from([-3.0, -1.0, -0.25, 0.25, 0.5, 1.0, 2.0])
names = st.sampled_from(BTC)
ratios = st.one_of(st.none(), st.floats(0.95, 1.05))


@st.composite
def legs_of(draw: st.DrawFn, most: int = 3) -> Legs:
    out: Legs = []
    for _ in range(draw(st.integers(1, most))):
        name, ratio = draw(names), draw(ratios)
        price = None if ratio is None else MARK[name] * ratio
        out.append((name, draw(quantities), price))
    return out


books = st.dictionaries(names, quantities, max_size=4).map(lambda d: list(d.items()))
some_orders = st.lists(legs_of(), max_size=4)
some_groups = st.lists(
    st.tuples(
        st.lists(legs_of(most=1), min_size=1, max_size=4),
        st.sampled_from([0.0, 500.0, 5_000.0, float("inf")]),
    ),
    max_size=2,
)


@settings(max_examples=150, deadline=None)
@given(books, some_orders, some_groups)
def test_equals_brute_force(
    positions: list[tuple[str, float]], orders: list[Legs], groups: list[tuple[list[Legs], float]]
) -> None:
    wanted = brute_force(positions, orders, groups)
    assert engine(positions, orders, groups) == pytest.approx(wanted, rel=1e-10, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(books, some_orders, some_groups)
def test_orders_never_lower_margin(
    positions: list[tuple[str, float]], orders: list[Legs], groups: list[tuple[list[Legs], float]]
) -> None:
    assert engine(positions, orders, groups) >= engine(positions, []) - 1e-6


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BTC), st.sampled_from([-4.0, -1.0, 1.0, 4.0]), st.floats(0.01, 1.0), ratios)
def test_reducing_costs_no_more_than_its_price(
    name: str, held: float, part: float, ratio: float | None
) -> None:
    """An order that takes part of a position away adds at most what its fill loses."""
    price = None if ratio is None else MARK[name] * ratio
    quantity = -held * part
    loss = 0.0 if price is None else max(0.0, -quantity * (MARK[name] - price))
    before = engine([(name, held)], [])
    assert engine([(name, held)], [[(name, quantity, price)]]) <= before + loss + 1e-6


class TestNeverAllAgainstAll:
    """Sixteen per cent of 50,000 is 8,000 a coin."""

    def test_buys_and_sells_are_not_added(self) -> None:
        both = [[(PERP, 1.0, None)], [(PERP, -1.0, None)]]
        assert engine([], both) == pytest.approx(8_000.0)
        # Nor are they netted to nothing, nor is the smaller side taken.
        uneven = [[(PERP, 3.0, None)], [(PERP, -1.0, None)]]
        assert engine([], uneven) == pytest.approx(24_000.0)

    def test_the_position_decides_the_side(self) -> None:
        both = [[(PERP, 1.0, None)], [(PERP, -1.0, None)]]
        assert engine([(PERP, 2.0)], both) == pytest.approx(24_000.0)

    def test_a_ladder_on_both_sides(self) -> None:
        ladder = [[(PERP, 0.1, 50_000.0 - 100 * k)] for k in range(1, 11)]
        ladder += [[(PERP, -0.1, 50_000.0 + 100 * k)] for k in range(1, 11)]
        # All ten buys: 1 coin falls by 8,000; they bought 550 below the mark on average.
        assert engine([], ladder) == pytest.approx(8_000.0 - 550.0)

    def test_multi_leg_orders_fill_together(self) -> None:
        spread = [(PERP, 1.0, None), (FUTURE, -1.0, None)]
        assert engine([], [spread]) == pytest.approx(0.0, abs=1e-9)
        apart = [[(PERP, 1.0, None)], [(FUTURE, -1.0, None)]]
        assert engine([], apart) == pytest.approx(8_000.0)

    def test_rate_margin_takes_the_worse_side(self) -> None:
        cross = rules(flat_rate(0.10, 0.05))
        both = [order(0, [(PERP, 1.0, None)]), order(1, [(PERP, -1.0, None)])]
        for held, wanted in ((0.0, 5_000.0), (2.0, 15_000.0), (-2.0, 15_000.0)):
            positions = [(PERP, held)] if held else []
            who = account(*positions, balances={"USDC": 1}, orders=both)
            found = requirement(frame(who, cross, MARKET), orders=True)
            assert float(found.im.sum()) == pytest.approx(wanted)

    def test_rate_margin_of_a_reducing_order_is_unchanged(self) -> None:
        cross = rules(flat_rate(0.10, 0.05))
        who = account((PERP, 2), balances={"USDC": 1}, orders=[order(0, [(PERP, -2.0, None)])])
        found = requirement(frame(who, cross, MARKET), orders=True)
        assert float(found.im.sum()) == pytest.approx(10_000.0)

    def test_a_sold_option_under_the_standard_formula(self) -> None:
        # Buying back does not lower, selling one more adds one more short.
        isolated = load_ruleset("isolated")
        alone = im(isolated, MARKET, (CALL, -1))
        for quantity, times in ((1.0, 1), (-1.0, 2)):
            who = account((CALL, -1), orders=[order(0, [(CALL, quantity, None)])])
            found = requirement(frame(who, isolated, MARKET), orders=True)
            assert float(found.im.sum()) == pytest.approx(times * alone, rel=1e-12)


class TestFees:
    def test_a_fill_pays_its_fee(self) -> None:
        # 5 bp of 50,000 = 25 on top of the 8,000; left unfilled it pays none.
        costly = scan_rules(
            orders={"method": "worst-fill", "source": "s", "confidence": "house", "fee_rate": 5e-4}
        )
        who = account(balances={"USDC": 1}, orders=[order(0, [(PERP, 1.0, None)])])
        assert float(requirement(frame(who, costly, MARKET), orders=True).im[0]) == pytest.approx(
            8_025.0
        )
        closing = account((PERP, 1), orders=[order(0, [(PERP, -1.0, None)])])
        found = requirement(frame(closing, costly, MARKET), orders=True)
        assert float(found.im[0]) == pytest.approx(8_000.0)


class TestUnderlyings:
    def test_groups_take_their_own_worst_fill(self) -> None:
        orders = [order(0, [(PERP, 1.0, None)]), order(1, [(ETH_PERP, -10.0, None)])]
        found = requirement(
            frame(account(balances={"USDC": 1}, orders=orders), G, MARKET), orders=True
        )
        # 8,000 and 16 % of 30,000.
        assert sorted(found.group_im.tolist()) == pytest.approx([4_800.0, 8_000.0])

    def test_a_limit_counts_once_over_underlyings(self) -> None:
        """Two quotes of one group in two coins: together at most the limit."""
        group = {
            "id": "g",
            "protection_limit_usd": 3_000.0,
            "quotes": [
                {"instrument": PERP, "bid_quantity": 1},
                {"instrument": ETH_PERP, "bid_quantity": 10},
            ],
        }
        who = account(balances={"USDC": 1}, quote_groups=[group])
        total = float(requirement(frame(who, G, MARKET), orders=True).im.sum())
        # An upper bound is allowed where one group spans several scans, but never more than the
        # limit in each, and never less than the limit itself.
        assert 3_000.0 - 1e-6 <= total <= 6_000.0 + 1e-6


class TestPrices:
    @pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
    def test_an_inverse_contract_is_not_sold_for_nothing(self) -> None:
        bad = {"id": "o", "legs": [{"instrument": "BTC-PERPETUAL", "quantity": -100, "price": 0}]}
        with pytest.raises(InputError):
            requirement(frame(account(balances={"USDC": 1}, orders=[bad]), G, MARKET), orders=True)


class TestFencedPots:
    isolated = load_ruleset("isolated")
    ORDER = order(0, [(PERP, 1.0, 50_000.0)])

    def test_an_order_in_a_new_instrument_is_paid_by_the_wallet(self) -> None:
        who = account(balances={"USDC": 1_250}, orders=[self.ORDER])
        assert make_statement(who, MARKET, self.isolated).totals.state == "healthy"
        who = account(balances={"USDC": "1249.99"}, orders=[self.ORDER])
        assert make_statement(who, MARKET, self.isolated).totals.state == "reduce-only"

    def test_an_order_that_adds_to_a_position_is_paid_by_the_wallet(self) -> None:
        who = account((PERP, 1), balances={"USDC": 1_000_000}, orders=[self.ORDER])
        made = make_statement(who, MARKET, self.isolated)
        assert made.totals.im == pytest.approx(2_500.0)
        assert made.totals.state == "healthy"


class TestExpired:
    def test_an_order_in_what_has_expired_needs_none(self) -> None:
        after = MARKET.at(MARKET.as_of_ns + 31 * 86_400 * 10**9)
        who = account(balances={"USDC": 1}, orders=[order(0, [(FUTURE, 1.0, None)])])
        found = requirement(frame(who, load_ruleset("isolated"), after), orders=True)
        assert float(found.im.sum()) == 0.0

    def test_a_position_in_what_has_expired_needs_none(self) -> None:
        after = MARKET.at(MARKET.as_of_ns + 31 * 86_400 * 10**9)
        for name in ("isolated", "deribit-pm", "paradex-pm"):
            assert im(load_ruleset(name), after, (FUTURE, 1)) == pytest.approx(0.0, abs=1e-9)


class TestRefusal:
    order = order(0, [(PERP, 1.0, None)])

    @pytest.mark.parametrize(
        "name", ["deribit-sm", "deribit-pm", "deribit-sm-cross", "deribit-pm-cross", "paradex-pm"]
    )
    def test_unpublished_formula_is_refused(self, name: str) -> None:
        who = account((PERP, 1), balances={"USDC": 1e5}, orders=[self.order])
        with pytest.raises(RulesetError) as error:
            make_statement(who, MARKET, load_ruleset(name))
        assert error.value.code == "RUL-032"
        assert error.value.account == "a" and error.value.field == "orders.method"
        assert name in str(error.value) and "worst-fill" in str(error.value)

    def test_quotes_are_orders_too(self) -> None:
        group = {"id": "g", "quotes": [{"instrument": PERP, "bid_quantity": 1}]}
        who = account((PERP, 1), balances={"USDC": 1e5}, quote_groups=[group])
        with pytest.raises(RulesetError, match="RUL-032"):
            make_statement(who, MARKET, load_ruleset("deribit-pm"))

    def test_no_orders_no_refusal(self) -> None:
        who = account((PERP, 1), balances={"USDC": 1e5})
        assert make_statement(who, MARKET, load_ruleset("deribit-pm")).orders is None

    def test_the_user_may_choose_the_house_formula(self) -> None:
        chosen = load_ruleset("deribit-pm", overrides={"orders.method": "worst-fill"})
        who = account((PERP, 1), balances={"USDC": 1e5}, orders=[self.order])
        made = make_statement(who, MARKET, chosen)
        # Scan 8,000 and roll 500 a coin, twice after the fill.
        assert made.totals.im == pytest.approx(17_000.0)
        assert made.orders is not None and made.orders.im_usd == pytest.approx(8_500.0)
        # Maintenance margin is for what is held.
        assert made.totals.mm == pytest.approx(0.8 * 8_500.0)
        assert any("orders.method" in note for note in made.notes)


class TestOtherComponents:
    def test_minimum_delta_after_the_worst_fill(self) -> None:
        # Long 1; a buy of 2 makes it 3 coins at 2 %: 3,000; a sell of 2 makes it 1 short.
        ruleset = rules(component("min-delta", "m", net_rate=0.02, hedged_rate=0.01))
        for quantity, wanted in ((2.0, 3_000.0), (-2.0, 1_000.0)):
            who = account((PERP, 1), orders=[order(0, [(PERP, quantity, None)])])
            found = requirement(frame(who, ruleset, MARKET), orders=True)
            assert float(found.im[0]) >= wanted - 1e-9
            if quantity > 0:
                assert float(found.im[0]) == pytest.approx(wanted)

    def test_evaluate_keeps_both(self) -> None:
        from crossmargin.book import book_from_accounts

        who = account((PERP, 1), balances={"USDC": 1e5}, orders=[order(0, [(PERP, 1.0, None)])])
        got = evaluate(book_from_accounts([who]), MARKET, G)
        assert float(got.need.im.sum()) == pytest.approx(8_000.0)
        assert got.im_usd == pytest.approx(16_000.0)
        assert got.mm_usd == pytest.approx(8_000.0)
