"""A rule-set with a tail on trial: the same figures as its own path, no look-ahead."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from tests.unit.validation.test_backtest_models import BOOKS, made_history

from crossmargin.margin import HousePortfolio, house_margin_path, load_ruleset
from crossmargin.market import factor_history
from crossmargin.validation import (
    Leg,
    OfTail,
    Pledge,
    Portfolio,
    house_portfolios,
    make_setting,
    run_backtest,
    tail_of,
    validate,
)

SHAPE = house_portfolios().held
RULES = load_ruleset("house")


def contender(**changes: float) -> OfTail:
    spec = tail_of(RULES)
    assert spec is not None
    small = {"days": 120, "fewest": 60, "stress_days": 60, "long_days": 200, **changes}
    return OfTail(ruleset=RULES, spec=msgspec.structs.replace(spec, **small))


def test_sizes_in_dollars_are_coins_at_each_close() -> None:
    """On any one day a book of dollars is the book of coins that it is worth."""
    history = made_history(200)
    prices = {name: history.price[:, history.column(name)] for name in ("BTC", "ETH")}
    past = factor_history(history.days, prices)
    spec = contender().spec
    day = history.days[150]
    coins = {name: usd / prices[name][150] for name, usd in (("BTC", 1e6), ("ETH", -4e5))}
    in_usd = house_margin_path(
        [HousePortfolio(name="x", coins={"BTC": 1e6, "ETH": -4e5})], past, spec,
        first=day, last=day, sizes="usd",
    )  # fmt: skip
    in_coins = house_margin_path(
        [HousePortfolio(name="x", coins=coins)], past, spec, first=day, last=day
    )
    assert in_usd.im == pytest.approx(in_coins.im)
    assert in_usd.pnl == pytest.approx(in_coins.pnl)


def test_the_contender_is_the_path_and_nets_collateral() -> None:
    history = made_history(220)
    held = Portfolio(
        name="covered", group="x",
        legs=[Leg(kind="perpetual", asset="BTC", usd=-1e6)],
        collateral=[Pledge(asset="BTC", usd=1e6)],
    )  # fmt: skip
    setting = make_setting([BOOKS[0], held, BOOKS[3]], history, SHAPE, start_up=150)
    made = contender().forecasts(setting)
    assert not any(isinstance(one, str) for one in made)
    long, covered, straddle = (one.margin[150:219] for one in made)  # type: ignore[union-attr]
    assert (long > 0).all() and (straddle > 0).all()
    assert np.allclose(covered, 0.0)
    assert np.isnan(made[0].margin[:150]).all()  # type: ignore[union-attr]
    es, var = made[0].es, made[0].var  # type: ignore[union-attr]
    assert es is not None and var is not None
    assert (es[150:219] >= var[150:219]).all()


def test_no_later_price_changes_a_margin() -> None:
    history = made_history(240)
    later = history.price.copy()
    later[201:] *= 0.5
    other = type(history)(
        days=history.days, symbols=history.symbols, price=later, carry=history.carry,
        vol=history.vol, source="",
    )  # fmt: skip
    paths = [
        contender().forecasts(make_setting([BOOKS[0]], world, SHAPE, start_up=150))[0]
        for world in (history, other)
    ]
    first, second = (one.margin for one in paths)  # type: ignore[union-attr]
    assert np.allclose(first[150:201], second[150:201])
    assert not np.allclose(first[203:239], second[203:239])


def test_own_tools_are_run_apart() -> None:
    setting = make_setting([BOOKS[0]], made_history(260), SHAPE, start_up=150)
    made = validate([contender()], setting, steps=False, own_tools=True)
    tools = {line.tool: line for line in made.tools["long"]}
    assert list(tools) == ["none", "stress weight", "floor", "buffer"]
    assert tools["none"].cycle.cost == 0.0
    assert all((tools[name].cycle.cost or 0.0) >= -1e-9 for name in ("floor", "buffer"))
    test = run_backtest([contender()], setting).models[0].tests[0]
    assert test.cycle is not None
    assert test.cycle.mean >= tools["none"].cycle.mean


def test_a_rule_set_without_a_tail_has_none() -> None:
    assert tail_of(load_ruleset("deribit-pm")) is None
