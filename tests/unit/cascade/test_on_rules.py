"""The cascade over a book under a rule-set: against simulate, options by hand, pots, halts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.helpers import (
    CALL,
    ETH_PERP,
    PERP,
    PUT,
    account,
    black,
    fixture_g,
    flat_rate,
    rules,
    scan_rules,
)
from tests.helpers import done as margined

from crossmargin.book import AccountFile, CompactBook, book_from_accounts, compact_book
from crossmargin.cascade.depth import DepthRule, Resilience
from crossmargin.cascade.funding import Funding
from crossmargin.cascade.hooks import LiveBooks, LiveFunding, LiveMarks
from crossmargin.cascade.marks import MarkRule
from crossmargin.cascade.on_rules import BookCascade, BookRules, cascade_on_rules
from crossmargin.cascade.paths import jump, scripted
from crossmargin.cascade.population import population
from crossmargin.cascade.setting import CascadeMarket, CascadeRules
from crossmargin.cascade.simulate import simulate
from crossmargin.errors import CascadeError
from crossmargin.liquidation import breaker, liquidation_rules
from crossmargin.market import funding_rule

SECOND = 1_000_000_000
YEARS = 30 / 365
TIERS = {
    "BTC": [{"floor": 0.0, "im": 0.1, "mm": 0.05}],
    "ETH": [{"floor": 0.0, "im": 0.1, "mm": 0.07}],
}
MARKET_ORDERS = liquidation_rules("hyperliquid")
LINEAR = rules(flat_rate(0.1, 0.05, tiers=TIERS))


def book_of(*accounts: AccountFile) -> CompactBook:
    return compact_book(book_from_accounts(list(accounts)))


def run(
    book: CompactBook, market: CascadeMarket, ruleset: object = LINEAR, **how: object
) -> BookCascade:
    assets = ("BTC", "ETH")[: market.exogenous.shape[-1]]
    return cascade_on_rules(
        book,
        fixture_g(),
        ruleset,
        market,
        BookRules(**how),
        assets=assets,  # type: ignore[arg-type]
    )


def drawn(count: int) -> tuple[list[AccountFile], dict[str, object]]:
    """Return accounts of two perpetuals, and the columns of the same as a population."""
    draw = np.random.default_rng(1)
    files, columns = [], {"cash": [], "start": [0], "contract": [], "quantity": [], "entry": []}
    for a in range(count):
        size = np.array([draw.normal(1.0, 2.0), draw.normal(5.0, 30.0)])
        entry = np.array([50_000.0, 3_000.0]) * draw.uniform(0.97, 1.03, 2)
        gross = float(np.abs(size) @ [50_000.0, 3_000.0])
        cash = gross * float(draw.uniform(0.06, 0.3)) + 5_000
        held = list(zip((PERP, ETH_PERP), size.tolist(), entry.tolist()))
        files.append(account(*held, balances={"USDC": cash}, name=f"a{a}"))
        columns["cash"].append(cash)
        columns["start"].append(2 * a + 2)
        columns["contract"] += [0, 1]
        columns["quantity"] += size.tolist()
        columns["entry"] += entry.tolist()
    return files, columns  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("liquidation", "many", "steps", "halt"),
    [("house", 1000, 5, None), ("hyperliquid", 1, 5, None), ("hyperliquid", 1000, 12, "row-b10")],
)
def test_a_linear_book_is_what_simulate_gives(
    liquidation: str, many: int, steps: int, halt: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same accounts, same steps, same prices: the population's columns and the margin engine.

    Margining everybody at every price, with trigger prices, and with halts and an auction.
    """
    monkeypatch.setattr("crossmargin.cascade._book_view.MANY", many)
    files, columns = drawn(60)
    script = {"BTC": [(0, 1), (300, 0.93), (900, 0.9)], "ETH": [(0, 1), (300, 0.9), (900, 0.85)]}
    market = CascadeMarket(
        exogenous=scripted(script, ("BTC", "ETH"), steps=steps, step_s=60.0),
        depth_usd=[6e7, 3e7] if halt else [3e8, 1e8],
    )
    terms = liquidation_rules(liquidation)
    halts = None if halt is None else breaker(halt)
    ours = run(book_of(*files), market, liquidation=terms, fund_usd=1e9, breaker=halts)
    people = population(
        contracts=("BTC", "ETH"), price=[50_000, 3_000], mm_rate=[0.05, 0.07], **columns
    )
    theirs = simulate(
        people,
        market,
        CascadeRules(liquidation=terms, fund_usd=1e9, absorption=0.0, breaker=halts),
    )
    assert (ours.first_step == theirs.first_step).all() and ours.hit.sum() >= 2
    assert ours.price == pytest.approx(theirs.price, rel=1e-9)
    # How often an account falls anew is not compared: sold down to its line it is above or below
    # it by rounding, and each loop looks at those who wait at moments of its own.
    assert ours.sold == pytest.approx(theirs.sold, rel=1e-9, abs=1e-3)
    assert ours.fund == pytest.approx(theirs.fund, rel=1e-12)
    assert ours.equity == pytest.approx(theirs.equity, rel=1e-9, abs=1e-3)
    assert (ours.price[-1] < ours.exogenous[-1]).all()
    if halt:
        quiet = ours.sold[:, 0] == 0.0
        # News halts it at the end of minute 3, for five minutes; the auction is in minute 8.
        assert quiet[2:7].all() and not quiet[7]


# ------------------------------------------------------------------------------ options


def put(spot: float) -> tuple[float, float]:
    """Value and delta of the put at 50,000, by the textbook and a difference."""
    value = black(spot, 50_000.0, YEARS, 0.6, call=False)
    up, down = (black(spot + h, 50_000.0, YEARS, 0.6, call=False) for h in (1.0, -1.0))
    return value, (up - down) / 2.0


def test_short_puts_by_hand() -> None:
    """Ten puts short, a fall of 6 %: two are bought back, and their hedge and all others' traded.

    A fifth goes first (above 100,000 US dollars); hedgers of the other eight follow the delta.
    """
    scan, low, depth = scan_rules(), 47_000.0, 4e8
    cash = 105_000.0
    who = account((PUT, -10.0), balances={"USDC": cash})
    at_low = margined(scan, fixture_g(spot=low), (PUT, -10.0), balances={"USDC": cash})
    health = float(at_low.have.mm @ at_low.frame.pot_usd) / at_low.mm_usd
    assert 2 / 3 < health < 1, "liquidated, and not by the backstop"
    market = CascadeMarket(exogenous=jump([low / 50_000 - 1], at=0, steps=1), depth_usd=[depth])
    found = run(book_of(who), market, scan, liquidation=liquidation_rules("hyperliquid"), rounds=1)
    # Counterparties are long ten puts and hold their delta in coins: they sold none yet.
    before = 10 * -put(50_000.0)[1]
    after = 8 * -put(low)[1]
    flow = after - before
    move = flow * low / depth
    fills = low * math.expm1(move) / move
    assert found.closed == pytest.approx({(0, PUT): 2.0})
    assert found.price[1, 0] == pytest.approx(low * math.exp(move), rel=1e-7)
    assert found.hedging[0, 0] == pytest.approx(flow * fills, rel=1e-6)
    assert found.sold[0, 0] == found.bought[0, 0] == 0.0
    # What two puts cost where the coin filled, and the other eight at the last price.
    end = low * math.exp(move)
    assert found.equity[0] == pytest.approx(cash - 2 * put(fills)[0] - 8 * put(end)[0], rel=1e-7)
    assert found.gamma[0, 0] < 0, "accounts are short gamma, their counterparties long"


@pytest.mark.parametrize(("quantity", "hedged"), [(40.0, 1.0), (-40.0, 1.0), (40.0, 0.5)])
def test_gamma_is_a_term_of_the_loop_gain(quantity: float, hedged: float) -> None:
    """For small shocks the move is r₀/(1 − g), g = Γ·S²/D of what accounts hold."""
    depth, shock = 2e7, 1e-6
    who = account((CALL, quantity), balances={"USDC": 1e7})
    market = CascadeMarket(exogenous=jump([-shock], at=0, steps=1), depth_usd=[depth])
    found = run(book_of(who), market, scan_rules(), hedged=hedged, rounds=200)
    value, spot, s = 0.0, 50_000.0, 0.6 * math.sqrt(YEARS)
    density = math.exp(-0.5 * (0.5 * s) ** 2) / math.sqrt(2 * math.pi)
    value = quantity * density / (spot * s) * spot**2
    assert found.gamma[0, 0] == pytest.approx(value, rel=1e-4)
    gain = hedged * value / depth
    assert abs(gain) > 0.1
    move = math.log(found.price[1, 0] / spot)
    assert move / math.log1p(-shock) == pytest.approx(1 / (1 - gain), rel=1e-4)
    assert not found.hit.any()


def test_without_hedgers_options_move_nothing() -> None:
    who = account((CALL, -5.0), balances={"USDC": 1e6})
    market = CascadeMarket(exogenous=jump([0.2], at=0, steps=2), depth_usd=[1e6])
    found = run(book_of(who), market, scan_rules(), hedged=0.0)
    assert found.price[-1, 0] == pytest.approx(60_000.0) and not found.hedging.any()


# ------------------------------------------------------------------------------ limits and laws


def test_no_news_no_move_and_infinite_depth_is_the_static_answer() -> None:
    files, _ = drawn(30)
    book = book_of(*files)
    still = run(book, CascadeMarket(exogenous=np.zeros((2, 2)), depth_usd=[1e6, 1e6]))
    assert (still.price == still.price[0]).all() and not still.hit.any() and not still.rounds.any()
    deep = run(book, CascadeMarket(exogenous=jump([-0.1, -0.1], at=0, steps=1)))
    assert deep.price[1] == pytest.approx([45_000, 2_700], rel=1e-15)
    for a, who in enumerate(files):
        held = {p.instrument: float(p.quantity) for p in who.positions}
        entry = {p.instrument: float(p.entry_price) for p in who.positions}
        cash = float(who.balances[0].amount)
        mm = 0.05 * abs(held[PERP]) * 45_000 + 0.07 * abs(held[ETH_PERP]) * 2_700
        profit = held[PERP] * (45_000 - entry[PERP]) + held[ETH_PERP] * (2_700 - entry[ETH_PERP])
        assert deep.hit[a] == (cash + profit < mm)
    assert 0 < deep.hit.sum() < 30


def test_money_is_neither_made_nor_lost() -> None:
    """Cash, what contracts were worth, what they were sold for: accounts, fund and bad debt."""
    files, columns = drawn(30)
    market = CascadeMarket(exogenous=jump([-0.2, -0.3], at=0, steps=3), depth_usd=[6e7, 2e7])
    found = run(book_of(*files), market, fund_usd=1e4)
    size = np.array(columns["quantity"]).reshape(-1, 2)
    entry = np.array(columns["entry"]).reshape(-1, 2)
    left = size.copy()
    for (a, name), units in found.closed.items():
        k = (PERP, ETH_PERP).index(name)
        left[a, k] -= math.copysign(units, size[a, k])
    assert (left * size >= 0).all() and (np.abs(left) <= np.abs(size)).all(), "none is turned round"
    worth = sum(columns["cash"]) + (left @ found.price[-1]).sum() - (size * entry).sum()
    worth += found.sold.sum() - found.bought.sum()
    has = found.equity.sum() + found.fund[-1] - 1e4 - found.bad_debt.sum()
    assert has == pytest.approx(worth, rel=1e-12)
    assert found.bad_debt.sum() > 0 and found.fund.min() >= 0 and found.bought.sum() >= 0


def test_a_bankrupt_account_is_taken_over_and_the_fund_pays() -> None:
    """Long 10 at 50,000 with 30,000: at 45,000 it owes 20,000; sold on at the fills."""
    who = account((PERP, 10.0, 50_000.0), balances={"USDC": 30_000.0})
    market = CascadeMarket(exogenous=jump([-0.1], at=0, steps=1), depth_usd=[4.5e7])
    move = -10 * 45_000 / 4.5e7
    fills = 45_000 * math.expm1(move) / move
    lost = 10 * (50_000 - fills) - 30_000
    for fund, debt in ((1e6, 0.0), (5_000.0, lost - 5_000.0)):
        found = run(book_of(who), market, fund_usd=fund)
        assert found.price[1, 0] == pytest.approx(45_000 * math.exp(move))
        assert found.fund[1] == pytest.approx(max(fund - lost, 0.0), abs=1e-6)
        assert found.bad_debt[0] == pytest.approx(debt, abs=1e-6)
        assert found.equity[0] == pytest.approx(0.0, abs=1e-9)
        assert found.closed == {(0, PERP): 10.0}


def test_pots_by_settlement_coin_are_liquidated_apart() -> None:
    """Under deribit-pm bitcoin's pot falls and ether's does not: only bitcoin's is closed."""
    from crossmargin.margin import load_ruleset
    from crossmargin.venues import load_market

    market = load_market("calm-2026-02-03")
    spot = market.assets["BTC"].price_usd
    who = account(
        ("BTC-PERPETUAL", 500_000.0, spot),
        ("ETH-PERPETUAL", 10_000.0, market.assets["ETH"].price_usd),
        balances={"BTC": 1.0, "ETH": 20.0},
    )
    found = cascade_on_rules(
        book_of(who),
        market,
        load_ruleset("deribit-pm"),
        CascadeMarket(exogenous=jump([-0.08, 0.0], at=0, steps=1), depth_usd=[1e9, 1e9]),
        BookRules(liquidation=liquidation_rules("house"), fund_usd=1e6, rounds=3),
        assets=("BTC", "ETH"),
    )
    assert {name for _, name in found.closed} == {"BTC-PERPETUAL"}
    assert found.price[1, 1] == found.price[0, 1] and found.price[1, 0] < 0.92 * spot


# ------------------------------------------------------------------------------ what surrounds it


def test_nothing_fills_in_a_halt_and_the_auction_has_less_impact() -> None:
    """Row B10's breaker: a jump of 2,000 halts before anything sells; the auction sells it all."""
    who = account((PERP, 10.0, 50_000.0), balances={"USDC": 40_000.0})
    path = jump([-0.04], at=0, steps=8)
    base = {"exogenous": path, "depth_usd": [1e8], "step_ns": 60 * SECOND}
    plain = run(book_of(who), CascadeMarket(**base), fund_usd=1e6)  # type: ignore[arg-type]
    terms = breaker("row-b10")
    halted = run(book_of(who), CascadeMarket(**base), fund_usd=1e6, breaker=terms)  # type: ignore[arg-type]
    assert plain.rounds[0] > 0 and plain.first_step[0] == 0
    # Looks at the end of each step: the halt of five minutes begins at the first.
    assert halted.rounds[:5].tolist() == [0] * 5 and halted.first_step[0] == 5
    first = math.log(plain.price[1, 0] / 48_000)
    eased = math.log(halted.price[6, 0] / 48_000)
    assert 1.5 < first / eased < 2.5


def test_funding_goes_from_longs_to_shorts() -> None:
    """An hour at the interest rate of 0.01 % per eight hours on 2 BTC at 50,000: 1.25."""
    long = account((PERP, 2.0, 50_000.0), balances={"USDC": 50_000.0}, name="long")
    short = account((PERP, -2.0, 50_000.0), balances={"USDC": 50_000.0}, name="short")
    market = CascadeMarket(
        exogenous=np.zeros((60, 1)),
        funding=LiveFunding(funding=Funding(rule=funding_rule("gate"))),
    )
    found = run(book_of(long, short), market)
    assert found.equity == pytest.approx([50_000 - 1.25, 50_000 + 1.25])


def test_books_and_marks_of_the_hooks() -> None:
    """What is sold comes back with its half-life; an index mark does not see the venue's book."""
    who = account((PERP, 10.0, 50_000.0), balances={"USDC": 40_000.0})
    path = jump([-0.05], at=0, steps=3)
    books = LiveBooks(
        depth=DepthRule(base_usd=[1e8]),
        resilience=Resilience(permanent_share=0.0, half_life_s=60.0),
    )
    found = run(
        book_of(who), CascadeMarket(exogenous=path, depth_usd=[1e8], books=books), fund_usd=1e6
    )
    away = np.log(found.price[1:, 0] / found.exogenous[1:, 0])
    assert away[0] < -1e-3 and away[1] == pytest.approx(away[0] / 2)
    assert away[2] == pytest.approx(away[0] / 4)
    index = LiveMarks(rule=MarkRule(kind="index", sources=(0.0,)))
    marked = run(
        book_of(who), CascadeMarket(exogenous=path, depth_usd=[1e8], marks=index), fund_usd=1e6
    )
    assert marked.price == pytest.approx(marked.exogenous)


def test_what_does_not_fit_is_refused() -> None:
    book = book_of(account((PERP, 1.0, 50_000.0), balances={"USDC": 1e6}))
    with pytest.raises(CascadeError, match="CAS-001"):
        run(book, CascadeMarket(exogenous=np.zeros(1)))
    with pytest.raises(CascadeError, match="CAS-003"):
        cascade_on_rules(
            book, fixture_g(), LINEAR, CascadeMarket(exogenous=np.zeros((1, 1))), assets=("XRP",)
        )
    with pytest.raises(CascadeError, match="2 depths for 2 of 1"):
        run(book, CascadeMarket(exogenous=np.zeros((1, 1)), depth_usd=[1e8, 1e8]))
    with pytest.raises(CascadeError, match="auction"):
        run(
            book,
            CascadeMarket(exogenous=np.zeros((1, 1))),
            liquidation=liquidation_rules("derive-v2"),
        )
    with pytest.raises(CascadeError, match="orders, pools"):
        fenced = account(
            {"instrument": PERP, "quantity": 1.0, "entry_price": 5e4, "fenced_margin": 1e4},
            balances={"USDC": 1e6},
        )
        run(book_of(fenced), CascadeMarket(exogenous=np.zeros((1, 1))))
    for wrong in ({"rounds": 0}, {"hedged": -1.0}, {"option_spread": 1.0}, {"fund_usd": -1.0}):
        with pytest.raises(CascadeError, match="CAS-001"):
            BookRules(**wrong)  # type: ignore[arg-type]
