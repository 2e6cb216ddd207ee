"""The option formula of OKX: published examples, orders one by one, random options."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.helpers import EXPIRY, account, black, done, frame, market
from tests.oracles.weight_oracle import okx_option

from crossmargin.margin import load_ruleset, requirement
from crossmargin.units import parse_time

RULES = "okx-multi"
YEARS = 30 / 365


def name(strike: float, right: str, coin: str = "BTC") -> str:
    return f"{coin}-27MAR26-{strike:g}-{right}"


def world(spot: float, forward: float, options: dict[str, float], coin: str = "BTC") -> Any:
    return market(
        {coin: spot, "USDC": 1.0},
        marks={f"{coin}-PERPETUAL": spot},
        vols=options,
        forwards={(coin, EXPIRY): forward},
    )


def vol_of(price: float, forward: float, strike: float, *, call: bool) -> float:
    """Volatility at which an option is worth `price`, by bisection."""
    low, high = 1e-4, 20.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        below = black(forward, strike, YEARS, middle, call=call) < price
        low, high = (middle, high) if below else (low, middle)
    return low


class TestPublishedExample:
    """Second tier, factor 1.02; mark 0.0575 BTC, 100 USD out of the money at 5,900 (secondary:
    365shuku.com/13503, which copies the venue's example)."""

    forward, strike, mark = 5_900.0, 6_000.0, 0.0575

    def setup(self) -> tuple[Any, Any]:
        vol = vol_of(self.mark * self.forward, self.forward, self.strike, call=True)
        rules = load_ruleset(RULES, overrides={"components.options.factors.BTC.size_factor": 1.02})
        return rules, world(self.forward, self.forward, {name(self.strike, "C"): vol})

    def test_position(self) -> None:
        rules, snapshot = self.setup()
        held = done(rules, snapshot, (name(self.strike, "C"), -10.0), balances={"BTC": 5})
        im = (0.15 - 100 / 5_900) * 1.02 + 0.0575
        assert im * 0.1 == pytest.approx(0.01932, abs=5e-6)  # printed, per contract of 0.1 BTC
        assert held.need.im[0] == pytest.approx(10 * im * self.forward, rel=1e-9)
        mm = 0.03 * 1.02 + 0.0575
        assert held.mm[0] == pytest.approx(10 * mm * self.forward, rel=1e-9)

    def test_sell_to_open(self) -> None:
        """100 contracts at 0.06: max(0.01932 − 0.006, 0.01) × 100 = 1.332 BTC before fees."""
        rules, snapshot = self.setup()
        leg = {"instrument": name(self.strike, "C"), "quantity": -10.0, "price": 0.06}
        who = account(balances={"BTC": 5}, orders=[{"id": "o", "legs": [leg]}])
        need = requirement(frame(who, rules, snapshot), orders=True)
        added = need.im[0] / self.forward
        # Printed with a fee of 0.00002 a contract: 1.334.
        assert added + 100 * 0.00002 == pytest.approx(1.334, abs=5e-4)

    def test_buy_to_close(self) -> None:
        """At 0.05 the order costs less than the margin it frees: max(0.05 − 0.1932, 0) = 0."""
        rules, snapshot = self.setup()
        option = name(self.strike, "C")
        alone = done(rules, snapshot, (option, -10.0), balances={"BTC": 5})
        for price, added in ((0.05, 0.0), (0.25, 10 * (0.25 - alone.need.im[0] / 59_000))):
            leg = {"instrument": option, "quantity": 10.0, "price": price}
            who = account((option, -10.0), balances={"BTC": 5}, orders=[{"id": "o", "legs": [leg]}])
            need = requirement(frame(who, rules, snapshot), orders=True)
            assert need.im[0] - alone.need.im[0] == pytest.approx(added * self.forward, abs=1e-6)

    def test_the_floor_and_the_premium(self) -> None:
        rules, snapshot = self.setup()
        option = name(self.strike, "C")
        cases = [
            (-1.0, 0.15, 0.10),  # 0.1932 − 0.15 is below the floor of 0.10
            (2.0, 0.06, 2 * 0.06),  # a buy that opens pays its premium
        ]
        for quantity, price, coins in cases:
            leg = {"instrument": option, "quantity": quantity, "price": price}
            who = account(balances={"BTC": 5}, orders=[{"id": "o", "legs": [leg]}])
            need = requirement(frame(who, rules, snapshot), orders=True)
            assert need.im[0] == pytest.approx(coins * self.forward, rel=1e-9)

    def test_an_order_that_closes_and_opens(self) -> None:
        """Long 3, two sells of 2: the first closes 2, the second closes 1 and opens 1."""
        rules, snapshot = self.setup()
        option = name(self.strike, "C")
        orders = [
            {"id": i, "legs": [{"instrument": option, "quantity": -2.0, "price": 0.0575}]}
            for i in "ab"
        ]
        who = account((option, 3.0), balances={"BTC": 5}, orders=orders)
        need = requirement(frame(who, rules, snapshot), orders=True)
        opened = (0.15 - 100 / 5_900) * 1.02  # position IM less the mark it is sold at
        assert need.im[0] == pytest.approx(opened * self.forward, rel=1e-9)


@pytest.mark.parametrize(("coin", "c", "spot"), [("BTC", 0.03, 60_000.0), ("ETH", 0.05, 3_000.0)])
def test_random_options(coin: str, c: float, spot: float) -> None:
    rng = random.Random(coin)
    rules = load_ruleset(RULES)
    assert parse_time(EXPIRY) > 0
    for _ in range(60):
        forward = spot * rng.uniform(0.97, 1.03)
        strike = round(spot * rng.choice([rng.uniform(0.3, 4.0), rng.uniform(0.85, 1.15)]), 0)
        right, vol = rng.choice("CP"), rng.uniform(0.2, 1.5)
        option, quantity = name(strike, right, coin), rng.uniform(-50, 50)
        held = (
            done(
                rules,
                world(spot, forward, {option: vol}, coin),
                (option, quantity),
                balances={"USDC": 0.0},
            )
            if coin == "ETH"
            else done(
                rules, world(spot, forward, {option: vol}), (option, quantity), balances={"BTC": 1}
            )
        )
        mark = black(forward, strike, YEARS, vol, call=right == "C") / forward
        im, mm = okx_option(mark, strike, forward, call=right == "C", c=c)
        short = max(-quantity, 0.0)
        assert held.need.im[0] == pytest.approx(short * im * spot, rel=1e-7, abs=1e-9)
        assert held.mm[0] == pytest.approx(short * mm * spot, rel=1e-7, abs=1e-9)


def test_only_short_value_enters_equity() -> None:
    rules = load_ruleset(RULES, overrides={"collateral.assets.BTC.schedule": None})
    option = name(60_000, "C")
    snapshot = world(60_000.0, 60_000.0, {option: 0.6})
    plain = done(rules, snapshot, balances={"BTC": 2}).have.mm[0]
    bought = done(rules, snapshot, (option, 3.0), balances={"BTC": 2}).have.mm[0]
    sold = done(rules, snapshot, (option, -3.0), balances={"BTC": 2}).have.mm[0]
    value = 3 * black(60_000.0, 60_000.0, YEARS, 0.6, call=True)
    assert bought == plain
    assert plain - sold == pytest.approx(value, rel=1e-9)
