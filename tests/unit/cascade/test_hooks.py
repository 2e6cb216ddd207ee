"""The rules as a simulation asks for them: state, weather, what comes out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from crossmargin.cascade.behaviour import Entrants, Habits
from crossmargin.cascade.depth import DepthRule, Resilience, stressed_depth
from crossmargin.cascade.funding import Funding
from crossmargin.cascade.hooks import (
    LiveBehaviour,
    LiveBooks,
    LiveFunding,
    LiveMargins,
    LiveMarks,
    wealth_of,
)
from crossmargin.cascade.marks import MarkRule
from crossmargin.cascade.population import population
from crossmargin.cascade.procyclical import Procyclical
from crossmargin.cascade.setting import Weather
from crossmargin.cascade.volatility import Volatility
from crossmargin.errors import CascadeError
from crossmargin.market import funding_rule

MINUTE = 60 * 1_000_000_000


def weather(**changes: object) -> Weather:
    base = {
        "step": 0,
        "steps": 10,
        "time_ns": MINUTE,
        "step_ns": MINUTE,
        "returns": np.zeros(2),
        "exogenous": np.array([100.0, 1.0]),
        "mark": np.array([100.0, 1.0]),
        "book": np.array([100.0, 1.0]),
        "displacement": np.zeros(1),
        "depth_usd": np.ones(1),
        "open_interest": np.ones(1),
    }
    return Weather(**{**base, **changes})  # type: ignore[arg-type]


def test_sales_decay_and_quotes_come_back() -> None:
    """A sale of −0.1, 40 % of it permanent, half-life one step."""
    books = LiveBooks(
        depth=DepthRule(base_usd=[1e9]),
        resilience=Resilience(permanent_share=0.4, half_life_s=60.0),
    )
    state, depth, own, kept = books.next(books.begin(), weather())
    assert depth == 1e9 and own == 0.0 and kept == 1.0
    displacement = np.array([-0.1])
    for expected in (-0.07, -0.055, -0.0475):
        now = weather(
            displacement=displacement, book=np.array([100 * math.exp(displacement[0]), 1])
        )
        state, _, own, _ = books.next(state, now)
        displacement = displacement + own
        assert displacement[0] == pytest.approx(expected, rel=1e-12)
    # More is sold on top.
    displacement = displacement - 0.1
    _, _, own, _ = books.next(state, weather(displacement=displacement))
    assert (displacement + own)[0] == pytest.approx(-0.08 + 0.5 * (-0.0075 - 0.06), rel=1e-12)


def test_books_withdraw_from_sales_as_from_news() -> None:
    rule = stressed_depth(("BTC",), gap_share=0.5)
    books = LiveBooks(depth=rule, volatility=Volatility(start_sigma=[0.001]))
    calm = books.next(books.begin(), weather())[0]
    sold = np.array([-0.01])
    hit = weather(displacement=sold, book=np.array([100 * math.exp(-0.01), 1.0]))
    after, depth, own, _ = books.next(calm, hit)
    # Ten standard deviations: 1/1.75 is left; quotes move the price by half of what left.
    assert depth == pytest.approx(24.4e9 / 1.75)
    assert own == pytest.approx([-0.5 * (1 - 1 / 1.75) * 0.01])
    news = weather(returns=np.array([-0.01, 0.0]), book=np.array([100 * math.exp(-0.01), 1.0]))
    _, same, _, _ = books.next(books.begin(), news)
    assert same == pytest.approx(depth)
    # Next step nothing happens: what the step before did is not counted twice.
    quiet = replace(hit, displacement=sold + own, book=after.book)
    again, depth, own, _ = books.next(after, quiet)
    assert own == pytest.approx([0.0], abs=1e-15) and depth[0] > 24.4e9 / 1.75
    assert again.volatility is not None


def test_scatter_belongs_to_seed_path_and_step() -> None:
    def left(step: int = 0, **changes: int) -> float:
        books = LiveBooks(
            depth=stressed_depth(("BTC",)),
            volatility=Volatility(start_sigma=[0.001]),
            scatter=True,
            **changes,
        )
        now = weather(step=step, returns=np.array([-0.1, 0.0]))
        return float(books.next(books.begin(), now)[1][0])

    assert left() == left() and left(seed=1) != left() and left(path=1) != left()
    assert left(step=1) != left()


def test_a_fall_of_several_steps_draws_once() -> None:
    """While a move stays in its class the scatter stays: the shrink is what fact 4 measured."""
    worst = []
    for path in range(400):
        books = LiveBooks(
            depth=stressed_depth(("BTC",)),
            volatility=Volatility(start_sigma=[0.001], window=5),
            scatter=True,
            path=path,
        )
        state, depths = books.begin(), list[float]()
        for step in range(5):
            fall = -0.1 if step == 0 else 0.0
            book = np.array([100 * math.exp(-0.1), 1.0])
            now = weather(step=step, returns=np.array([fall, 0.0]), book=book)
            state, depth, _, _ = books.next(state, now)
            depths.append(float(depth[0]))
        assert depths == sorted(depths), "it refills, and is not drawn down again"
        worst.append(24.4e9 / depths[0])
    # The share beyond the stated 90th percentile is binomial.
    share = float((np.array(worst) > 34.0).mean())
    assert abs(share - 0.1) < 3 * math.sqrt(0.09 / 400)


def test_newcomers_hold_the_price() -> None:
    books = LiveBooks(depth=DepthRule(base_usd=[1e6]), entrants=Entrants(per_h=60.0, after=0.0))
    low = math.log(0.9)
    now = weather(displacement=np.array([low]), book=np.array([90.0, 1.0]))
    _, _, own, _ = books.next(books.begin(), now)
    # One minute of 60 an hour: the depth times 0.105, which moves the price by 0.105.
    assert own == pytest.approx([-low])


def test_a_local_depeg_and_a_redemption_mark() -> None:
    local = np.zeros((3, 2))
    local[1, 1] = math.log(0.65)
    own = LiveMarks(local=local)
    redeem = LiveMarks(rule=MarkRule(kind="index", sources=(1.0, 0.0, 0.0)), local=local)
    for hook, values in ((own, (1.0, 0.65, 1.0)), (redeem, (1.0, 1.0, 1.0))):
        state = hook.begin()
        for step, value in enumerate(values):
            state, mark = hook.next(state, weather(step=step))
            assert mark == pytest.approx([100.0, value])
    with pytest.raises(CascadeError, match="CAS-001"):
        LiveMarks(local=[0.0])


def test_a_book_below_its_index_makes_shorts_pay() -> None:
    hook = LiveFunding(funding=Funding(rule=funding_rule("gate"), cap_8h=0.004))
    _, rate = hook.next(hook.begin(), weather(book=np.array([95.0, 1.0])))
    assert rate == pytest.approx([-0.004 / 8 / 60])
    _, calm = hook.next(hook.begin(), weather())
    assert calm == pytest.approx([0.0001 / 8 / 60])


def test_margins_rise_with_the_marks_volatility() -> None:
    hook = LiveMargins(
        volatility=Volatility(start_sigma=[0.01, 0.001], decay=0.9),
        haircut=[0.0, 0.1],
        contracts=1,
        margin=Procyclical(reference=[0.01]),
        collateral=Procyclical(reference=[0.01, 0.001]),
        most=0.35,
    )
    state = hook.begin()
    state, factor, cut = hook.next(state, weather())
    assert factor == 1.0 and cut.tolist() == [0.0, 0.1]
    fallen = weather(mark=np.array([90.0, 0.99]), returns=np.zeros(2))
    state, factor, cut = hook.next(state, fallen)
    # σ² was 0.9 of the start's after a step without news.
    sigma = math.sqrt(0.9 * 0.9 * 0.01**2 + 0.1 * math.log(0.9) ** 2)
    assert factor == pytest.approx([sigma / 0.01])
    dollar = math.sqrt(0.9 * 0.9 * 0.001**2 + 0.1 * math.log(0.99) ** 2)
    assert cut == pytest.approx([0.0, min(0.35, 0.1 * dollar / 0.001)])


class Standing:
    """Three accounts at given equities."""

    def __init__(self, equity: list[float]) -> None:
        self._equity = np.array(equity)

    def equity(self) -> np.ndarray:
        return self._equity

    def maintenance(self) -> np.ndarray:
        return np.array([5.0, 5.0, 0.0])

    def quantity(self) -> np.ndarray:
        return np.array([1.0, -1.0, 0.5])


def test_holders_act_on_rows() -> None:
    who = population(
        contracts=("BTC", "USDE"),
        price=[100.0, 1.0],
        mm_rate=[0.05, 0.05],
        cash=[20.0, 20.0, 20.0],
        start=[0, 1, 3, 3],
        contract=[0, 0, 1],
        quantity=[1.0, -1.0, 0.5],
    )
    sure = LiveBehaviour(
        habits=Habits(
            topup_per_h=1e9, topup_below=1.5, topup_to=2.0, stop_share=1.0, stop_loss=0.7
        ),
        population=who,
        wealth=wealth_of(who, stable=1.0),
        seed=1,
    )
    state = sure.begin()
    assert state.first.tolist() == [20.0, 20.0, 20.0]
    after, did = sure.next(state, weather(), Standing([7.0, 5.9, 1.0]))
    assert did is not None
    # The first is topped up to 10; the second has lost more than 70 %: its two rows are closed.
    assert did.account.tolist() == [0] and did.cash_usd == pytest.approx([3.0])
    assert did.row.tolist() == [1, 2] and did.share.tolist() == [1.0, 1.0]
    assert after.wealth.stable == pytest.approx([17.0, 20.0, 20.0])
    assert sure.next(after, weather(), Standing([20.0, 20.0, 1.0]))[1] is None
    idle = replace(sure, habits=Habits())
    assert idle.next(state, weather(), Standing([1.0, 1.0, 1.0])) == (state, None)
