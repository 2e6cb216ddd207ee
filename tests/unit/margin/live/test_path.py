"""Replays of prices: trigger prices and computing everybody tell the same story."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from tests.live_books import FUSED, made

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    PositionEntry,
    book_from_accounts,
    compact_book,
)
from crossmargin.errors import InputError
from crossmargin.margin import load_ruleset
from crossmargin.margin.fused import Holdings, Program, compile_program, holdings_of
from crossmargin.margin.live.path import (
    Crossings,
    bad_debt_by_delay,
    paced,
    replay,
    replay_every_step,
    steps_of,
)
from crossmargin.venues import load_market

STEPS = 40


@cache
def case(name: str) -> tuple[Program, Holdings]:
    book, snapshot = made(name, 500, instruments=80)
    program = compile_program(
        book.registry, snapshot, load_ruleset(name), book.instruments_used(), book.assets_used()
    )
    return program, holdings_of(book, program)


def base(program: Program, asset: str) -> float:
    view = program.units.frame.view
    return float(view.asset_usd[program.registry.assets.index(asset)])


def paths(program: Program) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(6)
    btc, eth = base(program, "BTC"), base(program, "ETH")
    down = btc * np.exp(np.linspace(0.0, np.log(0.65), STEPS))
    noise = np.exp(np.cumsum(rng.normal(size=(2, STEPS)) * 0.012, axis=1))
    there = np.exp(np.concatenate([np.linspace(0, -0.2, STEPS // 2), np.linspace(-0.2, 0.1, 20)]))
    return {
        "down": {"BTC": down},
        "both": {"BTC": btc * noise[0], "ETH": eth * noise[1]},
        "there and back": {"BTC": btc * there, "ETH": eth / there},
    }


def assert_same(a: Crossings, b: Crossings) -> None:
    np.testing.assert_array_equal(a.start, b.start)
    np.testing.assert_array_equal(a.step, b.step)
    np.testing.assert_array_equal(a.account, b.account)
    np.testing.assert_array_equal(a.below, b.below)


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("path", ["down", "both", "there and back"])
def test_replay_equals_computing_everybody_at_every_step(name, path):
    program, holdings = case(name)
    prices = paths(program)[path]
    mine = replay(program, holdings, prices)
    theirs = replay_every_step(program, holdings, prices)
    assert theirs.step.size > 20
    assert_same(mine, theirs)
    assert mine.visited.sum() < 0.2 * theirs.visited.sum()


def test_crossings_tell_the_same_in_all_their_forms():
    program, holdings = case("derive-pm2")
    prices = paths(program)["there and back"]
    found = replay(program, holdings, prices)
    assert (~found.below).any()
    below = found.start.copy()
    first = np.where(below, 0, -1)
    story = {step: (fell, rose) for step, fell, rose in steps_of(found)}
    for step in range(STEPS):
        fell, rose = story.get(step, (np.empty(0, int), np.empty(0, int)))
        below[fell], below[rose] = True, False
        np.testing.assert_array_equal(found.at(step), below)
        first[fell] = np.where(first[fell] < 0, step, first[fell])
    np.testing.assert_array_equal(found.first(), first)


def test_steps_may_be_computed_here_and_there():
    program, holdings = case("derive-pm2")
    prices = paths(program)["down"]
    whole = replay_every_step(program, holdings, prices)
    some = replay_every_step(program, holdings, prices, at=[10, 20])
    np.testing.assert_array_equal(some.at(10), whole.at(10))
    np.testing.assert_array_equal(some.at(20), whole.at(20))


def test_speed_changes_no_crossing():
    """A recording replayed at 1x and at 100x crosses at the same times (B05)."""
    program, holdings = case("derive-pm2")
    prices = paths(program)["both"]
    times = np.cumsum(np.linspace(1.0, 2.0, STEPS))
    found = []
    for speed in (1.0, 100.0):
        slept: list[float] = []
        found.append(replay(program, holdings, prices, wait=paced(times, speed, slept.append)))
        assert sum(slept) == pytest.approx((times[-1] - times[0]) / speed)
    assert_same(*found)
    np.testing.assert_array_equal(found[0].visited, found[1].visited)


@pytest.mark.parametrize(
    "path",
    [
        {"BTC": [1.0, np.nan]},
        {"BTC": [[1.0]]},
        {"BTC": [1.0, 0.0]},
        {"BTC": [1.0], "ETH": [1.0, 2.0]},
        {"DOGE": [1.0]},
        {"USDC": [1.0]},
    ],
)
def test_paths_that_are_none_are_refused(path):
    program, holdings = case("derive-pm2")
    with pytest.raises(InputError, match="INP-082"):
        replay(program, holdings, path)


# ---- what delay costs ----------------------------------------------------------------------


def longs(leverages: list[float]) -> tuple[Program, Holdings, float]:
    """One coin long each, at leverages, on a perpetual."""
    market = load_market("calm-2026-02-03")
    price = market.assets["BTC"].price_usd
    files = [
        AccountFile(
            format="crossmargin-account/1",
            account=f"x{k}",
            balances=[BalanceEntry(asset="USDC", amount=price / leverage)],
            positions=[
                PositionEntry(instrument="BTC_USDC-PERPETUAL", quantity=1.0, entry_price="mark")
            ],
        )
        for k, leverage in enumerate(leverages)
    ]
    book = compact_book(book_from_accounts(files))
    program = compile_program(
        book.registry, market, load_ruleset("derive-pm2"), book.instruments_used(),
        book.assets_used(),
    )  # fmt: skip
    return program, holdings_of(book, program), price


def test_delay_costs_nothing_at_first_and_never_less_later():
    """−0.1 % a step: MM covers one step and the fee, so closing at once leaves no debt (B05)."""
    program, holdings, price = longs([2.0, 3.0, 4.0, 5.0, 6.0, 8.0])
    path = {"BTC": price * 0.999 ** np.arange(1, 600)}
    found = replay(program, holdings, path)
    assert found.step.size >= 4
    delays = [0, 1, 5, 50, 150, 200, 300, 400]
    lost = bad_debt_by_delay(program, holdings, path, found, delays, fee_rate=0.0005)
    assert lost[0] == 0.0
    assert (np.diff(lost) >= 0.0).all()
    assert lost[-1] > 0.0


def test_delay_costs_what_an_account_owes():
    program, holdings, price = longs([5.0])
    path = {"BTC": price * 0.99 ** np.arange(1, 60)}
    found = replay(program, holdings, path)
    (step,) = found.step.tolist()
    usdc = base(program, "USDC")
    view = program.units.frame.view
    mark = float(view.price[0])
    for delay in (0, 10, 20, 30, 100):
        at = min(step + delay, 58)
        fall = 1.0 - 0.99 ** (at + 1)
        owed = -(price / 5.0 - mark * fall) * usdc + 0.001 * price * (1.0 - fall)
        (lost,) = bad_debt_by_delay(program, holdings, path, found, [delay], fee_rate=0.001)
        assert lost == pytest.approx(max(0.0, owed), rel=1e-9, abs=1e-6)
