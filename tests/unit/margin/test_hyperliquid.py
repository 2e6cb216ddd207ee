"""Hyperliquid's brackets: the figures of venues.md section 5, and what is refused."""

from __future__ import annotations

import pytest
from tests.helpers import account, frame, market
from tests.recorded_positions import liquidation_price, slices

from crossmargin.book import book_from_accounts
from crossmargin.errors import CrossmarginError
from crossmargin.margin import (
    Evaluation,
    evaluate,
    liquidation_prices,
    load_ruleset,
    make_statement,
    requirement,
)

#: Floors in USD and max leverage, as published.
PUBLISHED = {
    "BTC": [(0.0, 40), (150e6, 20)],
    "ETH": [(0.0, 25), (100e6, 15)],
    "SOL": [(0.0, 20), (70e6, 10)],
    "XRP": [(0.0, 20), (40e6, 10)],
    **{c: [(0.0, 10), (20e6, 5)] for c in ("DOGE", "KPEPE", "SUI", "HYPE", "WIF")},
    **{c: [(0.0, 10), (3e6, 5)] for c in ("OP", "ARB", "LDO", "BNB", "TON")},
}
PRICES = dict.fromkeys(PUBLISHED, 100.0) | {"USDC": 1.0}
RULES = load_ruleset("hyperliquid")
FENCED = load_ruleset("hyperliquid-isolated")


def perp(coin: str) -> str:
    return f"{coin}_USDC-PERPETUAL"


def world(**prices: float):
    marks = {**PRICES, **prices}
    return market(marks, marks={perp(c): p for c, p in marks.items() if c != "USDC"})


def evaluated(positions, usdc: float = 1e9, rules=RULES) -> Evaluation:
    who = account(*positions, balances={"USDC": usdc})
    return evaluate(book_from_accounts([who]), world(), rules)


@pytest.mark.parametrize("coin", sorted(PUBLISHED))
def test_maintenance_by_slices(coin: str) -> None:
    floor = PUBLISHED[coin][1][0]
    for notional in (1_000.0, floor - 1.0, floor, floor + 1.0, 1.7 * floor, 20.0 * floor):
        done = evaluated([(perp(coin), -notional / 100.0)])
        assert done.mm_usd == pytest.approx(slices(PUBLISHED[coin], notional), rel=1e-12)
        assert done.im_usd == pytest.approx(2.0 * slices(PUBLISHED[coin], notional), rel=1e-12)


def test_worked_figures() -> None:
    """BTC: 1.25 % to 150 m, 2.5 % beyond with a deduction of 1,875,000."""
    assert evaluated([(perp("BTC"), 1e6)]).mm_usd == pytest.approx(1_250_000.0, rel=1e-14)
    assert evaluated([(perp("BTC"), 2e6)]).mm_usd == pytest.approx(
        200e6 * 0.025 - 150e6 * 0.0125, rel=1e-14
    )
    # ETH beyond 100 m: 1/30 with 100 m·(1/30 − 1/50).
    assert evaluated([(perp("ETH"), -2e6)]).mm_usd == pytest.approx(
        200e6 / 30 - 100e6 * (1 / 30 - 1 / 50), rel=1e-12
    )


@pytest.mark.parametrize("leverage", [1, 3, 10, 40])
def test_initial_margin_is_notional_over_leverage(leverage: int) -> None:
    held = {"instrument": perp("BTC"), "quantity": 7, "entry_price": "mark", "leverage": leverage}
    assert evaluated([held]).im_usd == pytest.approx(700.0 / leverage, rel=1e-12)
    assert evaluated([held]).mm_usd == pytest.approx(700.0 / 80.0, rel=1e-12)


def test_a_leverage_beyond_the_maximum_does_not_lower_it() -> None:
    held = {"instrument": perp("OP"), "quantity": 7, "entry_price": "mark", "leverage": 50}
    assert evaluated([held]).im_usd == pytest.approx(70.0, rel=1e-12)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_liquidation_price_formula(side: float) -> None:
    """P − side·available/|q|/(1 − l·side), l = half of 1/max leverage, within one bracket."""
    size, usdc = 50.0, 3_000.0
    done = evaluated(
        [(perp("BTC"), side * size), (perp("OP"), -20.0), (perp("ETH"), 10.0)], usdc=usdc
    )
    available = usdc - done.mm_usd
    rate = 1.0 / 80.0
    wanted = 100.0 - side * available / size / (1.0 - rate * side)
    found = {x.underlying: x for x in liquidation_prices(done.frame, together=False)}["BTC"]
    price = (found.down if side > 0 else found.up).price_usd
    assert price == pytest.approx(wanted, rel=1e-11)


def test_liquidation_price_across_a_bracket() -> None:
    """A short of 2 m USD of OP rises through 3 m: the margin is re-tiered on the way."""
    usdc = 2e6
    done = evaluated([(perp("OP"), -20_000.0), (perp("BTC"), 5_000.0)], usdc=usdc)
    available = usdc - done.mm_usd
    wanted = liquidation_price(PUBLISHED["OP"], -20_000.0, 100.0, available)
    found = {x.underlying: x for x in liquidation_prices(done.frame, together=False)}["OP"]
    assert wanted is not None and wanted * 20_000.0 > 3e6
    assert found.up.price_usd == pytest.approx(wanted, rel=1e-11)
    one_rate = 100.0 + available / 20_000.0 / 1.05
    assert abs(found.up.price_usd / one_rate - 1.0) > 1e-3


def test_isolated_positions_have_pots() -> None:
    held = [
        {"instrument": perp(c), "quantity": 50, "entry_price": "mark", "leverage": 10}
        for c in ("BTC", "OP")
    ]
    made = make_statement(account(*held, balances={"USDC": 4_000}), world(), FENCED)
    pots = {pot.name: (pot.equity_mm, pot.mm) for pot in made.pots}
    assert pots[f"cross/{perp('BTC')}"] == pytest.approx((500.0, 62.5))
    assert pots[f"cross/{perp('OP')}"] == pytest.approx((500.0, 250.0))
    assert pots["cross/wallet"][0] == pytest.approx(3_000.0)
    assert FENCED.data.components == RULES.data.components


REFUSED = {
    "a coin that is not listed": ((perp("ZEC"), 1.0), {"USDC": 1}, "RUL-011", "ZEC"),
    "an option": (("BTC-27MAR26-90000-C", 1.0), {"USDC": 1}, "RUL-014", "option"),
    "a dated future": (("BTC_USDC-27MAR26", 1.0), {"USDC": 1}, "RUL-014", "future"),
    "another collateral": ((perp("BTC"), 1.0), {"SOL": 1}, "RUL-020", "SOL"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_by_name(name: str) -> None:
    position, balances, code, says = REFUSED[name]
    snapshot = market(
        {**PRICES, "ZEC": 300.0},
        marks={perp("BTC"): 100.0, perp("ZEC"): 300.0, "BTC_USDC-27MAR26": 100.0},
        vols={"BTC-27MAR26-90000-C": 0.5},
        forwards={("BTC", "2026-03-27T08:00:00Z"): 100.0},
    )
    with pytest.raises(CrossmarginError) as caught:
        evaluate(book_from_accounts([account(position, balances=balances)]), snapshot, RULES)
    assert caught.value.code == code and says in str(caught.value)


def test_a_coin_may_be_supplied() -> None:
    tiers = [{"floor": 0.0, "im": 0.2, "mm": 0.1}]
    rules = load_ruleset("hyperliquid", overrides={"components.perpetuals.tiers.ZEC": tiers})
    snapshot = market({"ZEC": 300.0, "USDC": 1.0}, marks={perp("ZEC"): 300.0})
    who = frame(account((perp("ZEC"), 1.0), balances={"USDC": 1}), rules, snapshot)
    assert float(requirement(who).mm.sum()) == pytest.approx(30.0)


def test_every_table_halves_the_initial_rate_at_max_leverage() -> None:
    (rates,) = RULES.data.components
    for coin, tiers in rates.tiers.items():
        for tier in tiers:
            assert tier.mm == pytest.approx(tier.im / 2.0, rel=1e-15), coin
            assert (1.0 / tier.im) == pytest.approx(round(1.0 / tier.im), rel=1e-12), coin


def test_an_order_for_another_kind_is_refused() -> None:
    leg = {"instrument": "BTC_USDC-27MAR26", "quantity": 1, "price": 100.0}
    who = account((perp("BTC"), 1.0), balances={"USDC": 1}, orders=[{"id": "o", "legs": [leg]}])
    with pytest.raises(CrossmarginError) as caught:
        evaluate(book_from_accounts([who]), world(), RULES)
    assert (caught.value.code, caught.value.field) == ("RUL-014", "instruments")
    assert caught.value.instrument is not None and "27MAR26" in caught.value.instrument
