"""Gauges against the engine's trigger, gaps, and a book in one tick against one by one."""

from __future__ import annotations

import numpy as np
import pytest

from crossmargin.errors import LiquidationError
from crossmargin.liquidation import (
    ClosingCost,
    Line,
    Trial,
    advance,
    begin,
    gap_loss,
    gauges,
    linear_account,
    linear_book,
    liquidation_rules,
    reduce,
    reduce_book,
)


def random_book(seed: int, accounts: int):  # type: ignore[no-untyped-def]
    draw = np.random.default_rng(seed)
    count = draw.integers(1, 6, accounts)
    start = np.concatenate([[0], np.cumsum(count)])
    rows = int(start[-1])
    notional = np.exp(draw.normal(9, 1.5, rows)).round(2)
    rate = draw.choice([0.004, 0.01, 0.025, 0.05], rows)
    mm = np.bincount(np.repeat(np.arange(accounts), count), weights=notional * rate)
    equity = mm * draw.uniform(-0.2, 2.0, accounts)
    return linear_book(start, notional, rate, equity)


def account_of(book, row):  # type: ignore[no-untyped-def]
    mine = slice(int(book.start[row]), int(book.start[row + 1]))
    return linear_account(
        quantity=book.notional[mine] / 100.0,
        mark=100.0,
        rate=book.rate[mine],
        equity=float(book.equity[row]),
    )


# ------------------------------------------------------------------------------- row B06


def test_ten_thousand_accounts_and_their_gauges() -> None:
    """None is liquidated with health above 1, none below 1 survives a tick."""
    book, rules = random_book(11, 10_000), liquidation_rules("hyperliquid")
    tick = reduce_book(book, "proportional")
    mm = np.add.reduceat(book.notional * book.rate, book.start[:-1])
    health = book.equity / mm
    assert ((health < 1) == tick.breached).all() and 0.2 < tick.breached.mean() < 0.8
    for row in range(book.size):
        look = advance(account_of(book, row), rules, begin(), 0)
        assert bool(look.trail) is bool(health[row] < 1)


def test_gauges_by_hand() -> None:
    """Long 1 at 50,000 with 10,000: the line is at 40,000/0.95 = 42,105.26."""
    account = linear_account(quantity=1, mark=50_000, rate=0.05, equity=10_000)
    found = gauges(account, sigma=0.05, funding_usd_h=-2.5)
    assert found.health == 4.0 and found.leverage == 5.0 and found.up is None
    assert found.down == pytest.approx(40_000 / 0.95 / 50_000 - 1, rel=1e-12)
    assert found.sigmas == pytest.approx(-np.log(40_000 / 0.95 / 50_000) / 0.05)
    assert found.funding_hours == 7_500 / 2.5
    short = gauges(linear_account(quantity=-1, mark=50_000, rate=0.05, equity=10_000))
    assert short.up == pytest.approx(60_000 / 1.05 / 50_000 - 1) and short.down is None
    assert short.sigmas is None and short.funding_hours is None


def test_gauges_of_the_breached_and_the_idle() -> None:
    low = gauges(linear_account(quantity=1, mark=50_000, rate=0.05, equity=2_000))
    assert low.health == 0.8 and low.down == low.up == 0.0
    idle = gauges(linear_account(quantity=0, mark=50_000, rate=0.05, equity=-1), line=Line())
    assert idle.health is None and idle.leverage is None


def test_the_engine_acts_just_beyond_the_gauge() -> None:
    account = linear_account(quantity=[1, -4], mark=[50_000, 3_000], rate=0.05, equity=9_000)
    found, rules = gauges(account), liquidation_rules("house")
    assert found.down is not None
    for factor, acts in ((1 - 1e-9, False), (1 + 1e-9, True)):
        ratio = 1 + found.down * factor
        there = account.at([leg.mark * ratio for leg in account.legs])
        assert bool(advance(there, rules, begin(), 0).trail) is acts


# ------------------------------------------------------------------------------- row A13


def test_row_a13() -> None:
    fenced = gap_loss(5_000, 1, 50_000, 25_000, 0.05, forfeit=True)
    cross = gap_loss(20_000, 1, 50_000, 25_000, 0.05)
    assert (fenced.trader[0], fenced.deficit[0]) == (5_000, 20_000)
    assert (cross.trader[0], cross.deficit[0]) == (20_000, 5_000)
    assert fenced.trader + fenced.deficit == cross.trader + cross.deficit == 25_000


@pytest.mark.parametrize(("sigma", "cross"), [(0.03, 3_840), (0.10, 11_700)])
def test_row_a13_worst_of_a_hundred(sigma: float, cross: float) -> None:
    """Forfeiture makes isolated dearer in small gaps, cross in large ones (±2 %)."""
    draw = np.random.default_rng(2_026)
    price = 50_000 * np.exp(draw.normal(0.0, sigma, 200_000))
    worst = lambda loss: float(np.sort(loss)[-2_000:].mean())
    assert worst(gap_loss(20_000, 1, 50_000, price, 0.05).trader) == pytest.approx(cross, rel=0.02)
    fenced = gap_loss(5_000, 1, 50_000, price, 0.05, forfeit=True)
    assert worst(fenced.trader) == pytest.approx(5_000)
    assert (gap_loss(5_000, 1, 50_000, price, 0.05).trader <= fenced.trader).all()


def test_gaps_must_be_possible() -> None:
    with pytest.raises(LiquidationError, match="LIQ-001"):
        gap_loss(1, 1, 1, 0, 0.05)


# ------------------------------------------------------------------------------- a book in a tick


@pytest.mark.parametrize("policy", ["proportional", "riskiest-first"])
@pytest.mark.parametrize("cost_rate", [0.0, 0.003, 0.02])
def test_a_book_is_its_accounts(policy, cost_rate) -> None:  # type: ignore[no-untyped-def]
    book, line = random_book(7, 250), Line(1.1, 5.0)
    tick = reduce_book(book, policy, line=line, cost_rate=cost_rate)
    for row in range(book.size):
        account = account_of(book, row)
        one = reduce(Trial(account, line, ClosingCost(fee_rate=cost_rate)), policy)
        mine = slice(int(book.start[row]), int(book.start[row + 1]))
        share = one.closed / np.abs([leg.quantity for leg in account.legs])
        assert share == pytest.approx(tick.share[mine], rel=1e-8, abs=1e-9), row
        assert bool(tick.sufficient[row]) is one.sufficient
        assert one.after.equity == pytest.approx(tick.equity[row], rel=1e-8, abs=1e-6)
        assert one.after.mm == pytest.approx(tick.mm[row], rel=1e-8, abs=1e-6)


def test_columns_must_fit() -> None:
    with pytest.raises(LiquidationError, match="LIQ-001"):
        linear_book([0, 2], [1.0], [0.05], [1.0])
    with pytest.raises(LiquidationError, match="LIQ-001"):
        linear_book([0, 1], [-1.0], [0.05], [1.0])
