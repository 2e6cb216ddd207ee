"""Accounts under a rule-set: standings against a second way, and hedges that are left alone."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from tests.helpers import (
    CALL,
    PERP,
    PUT,
    account,
    fixture_g,
    flat_rate,
    market,
    rules,
    scan_rules,
)

from crossmargin.book import BalanceEntry, book_from_accounts
from crossmargin.errors import LiquidationError
from crossmargin.liquidation import (
    POLICIES,
    ClosingCost,
    Line,
    MarginedAccount,
    Trial,
    advance,
    bankruptcy_legs,
    begin,
    liquidation_rules,
    reduce,
    start_of,
)
from crossmargin.margin import evaluate, load_ruleset
from crossmargin.venues import load_account, load_market

FUTURE, INVERSE, SPOT = "BTC_USDC-27MAR26", "BTC-PERPETUAL", "BTC_USDC"


def zeros(held: MarginedAccount) -> np.ndarray:
    return np.zeros(len(held.legs))


# ------------------------------------------------------------------------- a second way


def test_closing_is_as_if_it_had_been_posted() -> None:
    """Scale the positions, book what they were worth, evaluate the new account from scratch."""
    desk, market = load_account("short-vol-desk"), load_market("crash-2026-02-05")
    ruleset = load_ruleset("deribit-pm-cross")
    held = MarginedAccount(desk, market, ruleset)
    before = evaluate(book_from_accounts([desk]), market, ruleset)
    worth = before.have.position_unrealised + before.have.position_value
    left = np.linspace(0.1, 0.9, len(desk.positions))
    cost = np.linspace(0.0, 200.0, len(desk.positions))
    amounts = {row.asset: float(row.amount) for row in desk.balances}
    for row, part in enumerate(left.tolist()):
        item = before.frame.book.registry[int(before.frame.book.position_instrument[row])]
        usd = 1.0 if item.settlement in ("USD",) else market.asset_usd(item.settlement)
        amounts[item.settlement] += float(worth[row]) * (1 - part) - float(cost[row]) / usd
    posted = msgspec.structs.replace(
        desk,
        positions=[
            msgspec.structs.replace(p, quantity=float(p.quantity) * x)
            for p, x in zip(desk.positions, left.tolist())
        ],
        balances=[BalanceEntry(asset=a, amount=x) for a, x in amounts.items()],
    )
    again = evaluate(book_from_accounts([posted]), market, ruleset)
    found = held.standing(start_of(held) * left, cost)
    assert found.mm == pytest.approx(again.mm_usd, rel=1e-10)
    assert found.equity == pytest.approx(float(again.have.mm @ again.frame.pot_usd), rel=1e-10)


def test_nothing_closed_is_the_account() -> None:
    desk, market = load_account("basis-trader"), load_market("calm-2026-02-03")
    ruleset = load_ruleset("deribit-pm-cross")
    held = MarginedAccount(desk, market, ruleset)
    done = evaluate(book_from_accounts([desk]), market, ruleset)
    at = held.standing(start_of(held), zeros(held))
    assert at.mm == pytest.approx(done.mm_usd)
    assert at.equity == pytest.approx(float(done.have.mm @ done.frame.pot_usd))


def test_row_a05_by_the_engine() -> None:
    """The same fractions, from positions and marks instead of rates."""
    who = account((PERP, 2, 54_000), ("ETH_USDC-PERPETUAL", 20, 3_000), balances={"USDC": 10_500})
    held = MarginedAccount(who, fixture_g(), rules(flat_rate(0.1, 0.05)))
    at = held.standing(start_of(held), zeros(held))
    assert (at.equity, at.mm) == (2_500.0, 8_000.0)
    found = reduce(Trial(held, Line(), ClosingCost()), "riskiest-first")
    assert found.closed.tolist() == pytest.approx([2.0, 20 / 6])
    found = reduce(Trial(held, Line(), ClosingCost()), "proportional")
    assert found.closed / [2, 20] == pytest.approx([11 / 16, 11 / 16])
    assert held.legs[0].profit_usd == -8_000


def test_legs_of_every_kind() -> None:
    who = account(
        (PERP, -1, 50_000),
        (INVERSE, 10_000, 40_000),
        (CALL, 2),
        (PUT, -1),
        balances={"USDC": 50_000, "BTC": 1},
    )
    held = MarginedAccount(who, fixture_g(), scan_rules())
    perp, inverse, call, put = held.legs
    assert (perp.mark, perp.unit_usd, perp.point, perp.delta) == (50_000, 50_000, 1, 50_000)
    assert inverse.inverse and inverse.unit_usd == pytest.approx(1)
    assert inverse.profit_usd == pytest.approx(10_000 * (1 / 40_000 - 1 / 50_000) * 50_000)
    assert call.point == put.point == 1.0 and call.delta > 0 > put.delta
    at = held.standing(start_of(held), zeros(held))
    legs = bankruptcy_legs(held, start_of(held), at.equity)
    assert math.fsum(x.allocated_usd for x in legs) == pytest.approx(at.equity)
    for found, leg in zip(legs, held.legs):
        if found.price is not None and not leg.inverse:
            gone = leg.quantity * leg.point * (leg.mark - found.price)
            assert gone == pytest.approx(found.allocated_usd, abs=1e-6)


# ------------------------------------------------------------------------- hedges


def hedged(cash: float = 4_000.0) -> MarginedAccount:
    """Long 3, short 2 of one coin under a scan: the short is a hedge."""
    who = account((PERP, 3, 50_000), (FUTURE, -2, 50_000), balances={"USDC": cash})
    return MarginedAccount(who, fixture_g(), scan_rules())


@pytest.mark.parametrize("policy", POLICIES)
def test_a_hedge_is_not_closed_where_that_raises_the_requirement(policy: str) -> None:
    """Requirement 16 % of one net coin, 8,000; equity 4,000: half a coin of the long goes."""
    held = hedged()
    assert held.standing(start_of(held), zeros(held)).mm == pytest.approx(8_000)
    found = reduce(Trial(held, Line(), ClosingCost()), policy)  # type: ignore[arg-type]
    assert found.sufficient and found.after.mm <= found.before.mm
    if policy == "proportional":
        assert found.closed / [3, 2] == pytest.approx([0.5, 0.5])
    else:
        assert found.closed.tolist() == pytest.approx([0.5, 0.0])


def test_a_long_is_closed_only_as_far_as_it_exceeds_its_hedge() -> None:
    """Equity of 100 asks for nearly all of the open coin; the pair behind it stays."""
    found = reduce(Trial(hedged(100.0), Line(), ClosingCost()), "riskiest-first")
    assert found.sufficient and found.closed[1] == 0.0
    assert found.closed[0] == pytest.approx(1 - 100 / 8_000, abs=1e-9)


def test_pairs_go_together_where_nothing_else_suffices() -> None:
    """Costs of 2 % on a pair that needs no margin: closing it only burns money."""
    low = hedged(-50.0)
    found = reduce(Trial(low, Line(), ClosingCost()), "riskiest-first")
    assert not found.sufficient and found.quantity.tolist() == [0.0, 0.0]


def test_lots_by_instrument() -> None:
    who = account((PERP, 3, 50_000), (FUTURE, -2, 50_000), balances={"USDC": 4_010.0})
    held = MarginedAccount(who, fixture_g(), scan_rules(), lots={PERP: 0.25})
    found = reduce(Trial(held, Line(), ClosingCost()), "riskiest-first")
    assert found.closed.tolist() == [0.5, 0.0]


# ------------------------------------------------------------------------- orders, engine, limits


def test_orders_that_bind_maintenance_are_cancelled_first() -> None:
    order = {
        "id": "o",
        "pool": "cross",
        "legs": [{"instrument": PERP, "quantity": 1, "price": 50_000}],
    }
    who = account((PERP, 1, 50_000), balances={"USDC": 3_000}, orders=[order])
    ruleset = rules(
        flat_rate(0.1, 0.05),
        orders={
            "method": "worst-fill",
            "levels": ["im", "mm"],
            "source": "s",
            "confidence": "house",
        },
    )
    held = MarginedAccount(who, fixture_g(), ruleset)
    assert held.has_orders
    assert held.standing(start_of(held), zeros(held), orders=True).mm == pytest.approx(5_000)
    look = advance(held, liquidation_rules("house"), begin(), 0)
    assert [s.action for s in look.trail] == ["cancel-orders", "restored"]
    assert look.quantity.tolist() == [1.0]


def test_a_desk_is_liquidated_under_portfolio_margin() -> None:
    held = MarginedAccount(
        load_account("short-vol-desk"),
        load_market("crash-2026-02-05"),
        load_ruleset("deribit-pm-cross"),
    )
    at = held.standing(start_of(held), zeros(held))
    factor = at.equity / at.mm * 1.2
    rules_ = liquidation_rules("house", overrides={"trigger.factor": factor})
    look = advance(held, rules_, begin(), 0)
    assert look.trail[-1].action == "restored"
    assert all(s.after.mm <= s.before.mm * (1 + 1e-9) for s in look.trail)
    assert rules_.target.holds(look.standing)


def test_what_one_account_cannot_be() -> None:
    who = account((PERP, 1, 50_000), balances={"USDC": 3_000})
    with pytest.raises(LiquidationError, match="fences every position"):
        MarginedAccount(who, fixture_g(), load_ruleset("isolated"))
    with pytest.raises(LiquidationError, match="no pot"):
        MarginedAccount(who, fixture_g(), scan_rules(), pool="elsewhere")


def test_net_margin_is_what_an_auction_looks_at() -> None:
    """Short one call under a scan: value is cash less the call, margin that less the scan."""
    who = account((CALL, -1), balances={"USDC": 9_000})
    held = MarginedAccount(who, fixture_g(), scan_rules())
    net, at = held.net_margin(), held.standing(start_of(held), zeros(held))
    assert net.mtm == pytest.approx(9_000 - held.legs[0].mark) == pytest.approx(at.equity)
    assert net.mm == pytest.approx(at.equity - at.mm) and net.mm < net.mtm


def test_cash_arrives_where_there_was_no_balance() -> None:
    who = account((PERP, 1, 40_000), balances={"BTC": 1})
    held = MarginedAccount(who, fixture_g(), rules(flat_rate(0.1, 0.05)))
    full = held.standing(start_of(held), zeros(held))
    none = held.standing(start_of(held) * 0, zeros(held))
    assert full.equity == none.equity == pytest.approx(60_000) and none.mm == 0
    assert held.line == Line()


def test_tier_steps_find_the_brackets_of_the_rule_set() -> None:
    """OKX cuts two tiers at a time from tier 3: 900,000 to 100,000, then whole if need be."""
    tiers = [
        {"floor": floor, "im": 2 * mm, "mm": mm}
        for floor, mm in ((0.0, 0.01), (1e5, 0.02), (3e5, 0.05), (6e5, 0.10))
    ]
    ruleset = rules(flat_rate(0.1, 0.05, scheme="whole", tiers={"BTC": tiers}))
    world = market({"BTC": 50_000.0, "USDC": 1.0}, marks={PERP: 50_000.0})
    # 900,000 at 10 % against 80,000: to tier 2 (300,000 at 2 %) it keeps its line.
    for cash, left, action in ((80_000, 6.0, "restored"), (5_000, 0.0, "takeover")):
        held = MarginedAccount(
            account((PERP, 18.0, 50_000.0), balances={"USDC": cash}), world, ruleset
        )
        assert held.brackets is not None and held.brackets[0].floors == (0.0, 1e5, 3e5, 6e5)
        look = advance(held, liquidation_rules("okx"), begin(), 0)
        assert look.trail[0].reason == "from tier 4 to tier 2"
        assert look.trail[0].units == pytest.approx(12.0)
        assert look.quantity[0] == pytest.approx(left) and look.trail[-1].action == action
    desk, crash = load_account("short-vol-desk"), load_market("crash-2026-02-05")
    assert MarginedAccount(desk, crash, load_ruleset("deribit-pm-cross")).brackets is None
