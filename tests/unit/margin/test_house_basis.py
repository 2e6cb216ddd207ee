"""The basis as a factor of the house model: against plain loops, and what histories lack."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.house_loops import Held, Slow, shortfall, slow_legs
from tests.house_worlds import FUTURE, NO_BASIS, PRICES, account, history, market, rules

from crossmargin.book import book_from_accounts
from crossmargin.errors import RulesetError
from crossmargin.margin import HousePortfolio, evaluate, house_margin_path
from crossmargin.margin._tail_rows import spec_of
from crossmargin.market import (
    FactorHistory,
    factor_history,
    file_from_snapshot,
    join_histories,
    read_factor_history,
    snapshot_from_file,
    without_funding,
)
from crossmargin.scenarios import BasisRule, tail_sets

BTC, ETH, SOL = (f"{c}_USDC-PERPETUAL" for c in PRICES)
INVERSE = "BTC-PERPETUAL"
YEARS = (24 + 8 / 24) / 365.0


def need(who, snapshot=None, **changes):
    done = evaluate(book_from_accounts([who]), snapshot or market(), rules(**changes))
    return {k: float(v[0][0]) for k, v in done.need.pool_parts.items()}


def without(past: FactorHistory, *names: str) -> FactorHistory:
    """The same history without some of its contracts."""
    columns = dict(zip(past.coins, past.price.T)) | dict(zip(past.contracts, past.contract.T))
    return factor_history(past.days, {k: v for k, v in columns.items() if k not in names})


# Which series there are: all; the proxy's alone; none.
WORLDS = {
    "own": (),
    "proxy": ("ETH-PERP", "SOL-PERP", "BTC-90D"),
    "nothing": ("BTC-PERP", "ETH-PERP", "SOL-PERP", "BTC-90D"),
}


@pytest.mark.parametrize("lacks", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize(
    "legs",
    [
        [("BTC", -1.0, -1), (BTC, 1.0, 0)],
        [(ETH, 10.0, 0), ("ETH", -10.0, -1), (SOL, 300.0, 0), (FUTURE, -0.4, 1)],
        [(BTC, 1.0, 0), (FUTURE, -1.0, 1), (ETH, 3.0, 0)],
    ],
)
def test_every_leg_against_plain_loops(lacks: tuple[str, ...], legs: list) -> None:
    past = without(history(contracts=True), *lacks)
    places = {BTC: 0, FUTURE: 0, ETH: 1, SOL: 2, "BTC": 0, "ETH": 1}
    prices = list(PRICES.values())
    coins = {name: -q for name, q, entry in legs if entry < 0}
    held = []
    for name, q, entry in legs:
        # Coins are owned, so a short of one is held the other way round with all else.
        sign = -1.0 if coins else 1.0
        a = places[name]
        held.append(Held(a, sign * q * prices[a], entry, YEARS if name == FUTURE else 0.0))
    sign = -1.0 if coins else 1.0
    who = account(
        *((name, sign * q) for name, q, entry in legs if entry >= 0),
        balances={"USD": 1e5, **coins},
    )
    parts = need(who, market(past))
    for name, value in slow_legs(past, held).items():
        assert parts[name] == pytest.approx(value, rel=1e-9, abs=1e-6), name
    assert parts["base"] + parts["stress"] > 0


def test_a_series_of_its_own_tenor_and_the_path() -> None:
    """BTC of 90 days has a series: nothing is drawn, and its own returns are filtered."""
    past = history(contracts=True)
    held = [Held(0, 1e5, 2, 90 / 365), Held(0, -1e5, 0)]
    path = house_margin_path(
        [HousePortfolio(name="calendar", contracts={"BTC-90D": 1e5, "BTC-PERP": -1e5})],
        past, spec_of(rules()), first=past.days[-1], sizes="usd",
    )  # fmt: skip
    for leg, value in zip(
        ("base", "stress", "floor"), slow_legs(past, held, quoted=False).values()
    ):
        assert path.parts[leg][0, 0] == pytest.approx(value, rel=1e-9), leg
    slow = Slow(past, 300, 500, 60)
    assert (0, 2) in slow.own and (1, 0) in slow.own
    assert path.im[0, 0] > 0.5 * shortfall(slow.gains("filtered", held)) > 0


def test_which_factor_an_instrument_loads_on() -> None:
    rule = spec_of(rules()).basis
    assert isinstance(rule, BasisRule)
    assert [rule.place("perpetual", 0.0), rule.place("spot", 0.0)] == [0, -1]
    assert [rule.place("future", d) for d in (0.1, 60.0, 60.1, 135.0, 400.0)] == [1, 1, 2, 2, 3]
    assert rule.place("option", 7.0) == 1


def test_an_inverse_contract_and_its_linear_twin_share_a_basis() -> None:
    past = history(contracts=True)
    who = account((BTC, 1.0), (INVERSE, -50_000.0))
    parts = need(who, market(past), tail__hypothetical=[])
    # What is left is the curvature of the inverse, paid in coin whose price moved by the index.
    assert 0 < parts["base"] < 0.002 * 50_000


def test_without_a_rule_contracts_move_with_their_coins() -> None:
    past = history(contracts=True)
    who = account((BTC, -1.0), balances={"BTC": 1.0, "USD": 1.0})
    bare = replace(market(past), history=without(past, *past.contracts))
    assert need(who, bare, **NO_BASIS)["base"] == pytest.approx(0.0, abs=1e-6)
    assert need(who, market(past), **NO_BASIS)["base"] > 1.0


def test_no_later_price_moves_a_basis() -> None:
    past = history(contracts=True)
    later = {k: v.copy() for k, v in zip(past.contracts, past.contract.T)}
    for column in later.values():
        column[-20:] *= 1.1
    other = factor_history(past.days, dict(zip(past.coins, past.price.T)) | later)
    book = [HousePortfolio(name="x", coins={"BTC": 1e6}, contracts={"BTC-PERP": -1e6})]
    day = past.days[-25]
    made = [
        house_margin_path(book, one, spec_of(rules()), first=day, last=past.days[-1], sizes="usd")
        for one in (past, other)
    ]
    assert np.array_equal(made[0].im[0, :5], made[1].im[0, :5])
    assert made[1].im[0, -1] > 3 * made[0].im[0, -1]
    assert made[1].pnl[0, 4] == pytest.approx(made[0].pnl[0, 4] - 1e5, rel=0.05)


def test_a_coin_without_a_series_follows_the_proxy_in_proportion() -> None:
    past = without(history(contracts=True), "ETH-PERP", "SOL-PERP")
    sets = tail_sets(past, spec_of(rules()))
    btc, eth, sol = sets.filtered.basis.move[:, 0]
    assert np.allclose(eth / btc, sets.sigma_long[1] / sets.sigma_long[0], rtol=1e-12)
    assert np.allclose(sol / btc, sets.sigma_long[2] / sets.sigma_long[0], rtol=1e-12)


def test_figures_that_cannot_be() -> None:
    for changes in ({"least": -0.1}, {"rate": 2.0}, {"contracts": []}):
        with pytest.raises(RulesetError) as info:
            rules(**{f"tail__basis__{key}": value for key, value in changes.items()})
        assert info.value.code == "RUL-001"


# ------------------------------------------------------------------------------------ histories


def test_contracts_of_a_history_are_no_coins(tmp_path: Path) -> None:
    past = history(contracts=True)
    assert past.coins == ("BTC", "ETH", "SOL")
    assert past.contracts == ("BTC-90D", "BTC-PERP", "ETH-PERP", "SOL-PERP")
    assert past.content_hash != without(past, "BTC-90D").content_hash
    cut = past.until(past.days[450])
    assert cut.contract.shape == (451, 4) and np.isfinite(cut.basis_returns[-1]).all()
    expected = np.log(past.contract[5, 1] / past.price[5, 0]) - np.log(
        past.contract[4, 1] / past.price[4, 0]
    )
    assert past.basis_returns[4, 1] == pytest.approx(expected, rel=1e-12)
    back = snapshot_from_file(file_from_snapshot(market(past))).history
    assert back is not None and back.content_hash == past.content_hash
    # A contract whose coin is in another file is one once both are together.
    alone = factor_history(past.days, {"BTC-PERP": past.contract[:, 1]})
    both = join_histories([alone, without(past, *past.contracts)])
    assert alone.coins == ("BTC-PERP",) and both.contracts == ("BTC-PERP",)


def test_tables_with_contracts_and_funding(tmp_path: Path) -> None:
    days = [f"2026-01-{d:02d}" for d in range(1, 6)]
    rows = [["date", "symbol", "close", "funding"]]
    for k, day in enumerate(days):
        rows.append([f"{day}T12:00:00", "BTC", 90 + k, ""])
        rows.append([f"{day}T23:00:00", "BTC", 100 + k, ""])
        rows.append([f"{day}T12:00:00", "BTC-PERP", 95 + k, 0.001])
        rows.append([f"{day}T23:00:00", "BTC-PERP", 101 + k, 0.002])
    long = tmp_path / "long.csv"
    with long.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    made = read_factor_history(long)
    assert made.coins == ("BTC",) and made.contracts == ("BTC-PERP",)
    for t in range(4):
        moved = np.log((102 + t) / (101 + t)) - np.log((101 + t) / (100 + t)) - 0.003
        assert made.basis_returns[t, 0] == pytest.approx(moved, rel=1e-12)
    assert without_funding([1.0, 1.0], [0.0, 0.5])[1] == pytest.approx(np.exp(-0.5))
    wide = tmp_path / "wide.csv"
    wide.write_text("date,BTC,BTC-PERP\n2026-01-01,100,101\n2026-01-02,101,\n")
    found = read_factor_history(wide)
    assert found.contracts == ("BTC-PERP",) and np.isnan(found.contract[1, 0])
