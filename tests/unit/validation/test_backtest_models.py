"""Models, books and the back-test: no look-ahead, plain second implementations, planted tails."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import pytest

from crossmargin.errors import InputError
from crossmargin.margin import load_ruleset
from crossmargin.pricing import black76
from crossmargin.stats import expected_shortfall, normal_quantile, value_at_risk
from crossmargin.validation import (
    FilteredEs,
    HistoricalEs,
    Leg,
    MarketHistory,
    NormalVar,
    OfLosses,
    OfRuleset,
    Pledge,
    Portfolio,
    Step,
    adversary,
    challengers,
    choose,
    holm,
    house_portfolios,
    impulse_response,
    kupiec,
    losses,
    make_history,
    make_setting,
    portfolios_from_toml,
    quantile_score,
    rolling_tail,
    run_backtest,
    sensitivity,
    shortfall_test,
    validate,
)
from crossmargin.validation.plain import plain_validation

SHAPE = house_portfolios().held
DAY0 = date(2022, 1, 1)


def made_history(days: int = 900, seed: int = 0, tail: float = 4.0) -> MarketHistory:
    """Make two coins, a perpetual with funding, and a volatility level up."""
    rng = np.random.default_rng(seed)
    names = [(DAY0 + timedelta(days=k)).isoformat() for k in range(days)]
    common = 0.03 * rng.standard_t(tail, size=days) / math.sqrt(tail / (tail - 2))
    btc = 20_000 * np.exp(np.cumsum(common))
    eth = 1_500 * np.exp(np.cumsum(1.2 * common + 0.015 * rng.standard_normal(days)))
    own = btc * (1 + 0.001 * rng.standard_normal(days))
    level = 0.6 * np.exp(0.3 * np.sin(np.arange(days) / 40))

    def series(values: np.ndarray) -> dict[str, float]:
        return dict(zip(names, values.tolist(), strict=True))

    return make_history(
        {"BTC": series(btc), "ETH": series(eth), "BTC-PERP": series(own)},
        carry={"BTC-PERP": series(np.full(days, 3e-4))},
        vol={"BTC": series(level)},
        source="made up",
    )


BOOKS = [
    Portfolio(name="long", group="a", legs=[Leg(kind="perpetual", asset="BTC", usd=1e6)]),
    Portfolio(
        name="pair",
        group="b",
        legs=[
            Leg(kind="perpetual", asset="BTC", usd=1e6),
            Leg(kind="perpetual", asset="ETH", usd=-5e5),
        ],
        collateral=[Pledge(asset="ETH", usd=2e5)],
    ),
    Portfolio(
        name="basis",
        group="b",
        legs=[Leg(kind="perpetual", asset="BTC", usd=-1e6, price="perpetual")],
        collateral=[Pledge(asset="BTC", usd=1e6)],
    ),
    Portfolio(
        name="straddle",
        group="c",
        legs=[
            Leg(kind="call", asset="BTC", usd=-1e6, strike=1.0, days=30),
            Leg(kind="put", asset="BTC", usd=-1e6, strike=0.9, days=30),
        ],
    ),
]


def test_losses_against_a_loop_over_days() -> None:
    history = made_history(60)
    btc, eth, own = (history.price[:, history.column(x)] for x in ("BTC", "ETH", "BTC-PERP"))
    level = history.vol[:, history.column("BTC")]
    for horizon in (1, 3):
        made = [losses(book, history, SHAPE, horizon) for book in BOOKS]
        for t in range(60 - horizon):
            u = t + horizon
            up, ether = btc[u] / btc[t] - 1, eth[u] / eth[t] - 1
            paid = sum(3e-4 for _ in range(horizon))
            want = [-1e6 * up, -(1e6 * up - 5e5 * ether + 2e5 * ether)]
            want.append(1e6 * (own[u] / own[t] - 1 - paid) - 1e6 * up)
            gain = 0.0
            for strike, call in ((1.0, True), (0.9, False)):
                k = strike * btc[t]
                values = []
                for when, days in ((t, 30), (u, 30 - horizon)):
                    years = days / 365.0
                    vol = SHAPE.vol(level[when], math.log(k / btc[when]), years)
                    values.append(float(black76(btc[when], k, years, vol, call)))
                gain += -1e6 / btc[t] * (values[1] - values[0])
            want.append(-gain)
            assert [one[t] for one in made] == pytest.approx(want, rel=1e-9, abs=1e-6)
        assert all(np.isnan(one[60 - horizon :]).all() for one in made)


def test_rolling_tail_is_that_of_stats_on_every_window() -> None:
    rng = np.random.default_rng(1)
    known = rng.standard_t(3.0, size=420)
    known[[0, 1, 50, 51, 300]] = np.nan
    for window, level in ((100, 0.99), (120, 0.975), (50, 0.99)):
        var, es = rolling_tail(known, level, window, 40)
        for t in range(known.size):
            past = known[: t + 1]
            past = past[np.isfinite(past)][-window:]
            if past.size < 40:
                assert math.isnan(es[t])
            else:
                assert es[t] == pytest.approx(expected_shortfall(past, level), rel=1e-12)
                assert var[t] == pytest.approx(value_at_risk(past, level), rel=1e-12)


@pytest.mark.parametrize("model", challengers(), ids=lambda one: one.name)
@pytest.mark.parametrize("horizon", [1, 5])
def test_no_model_sees_the_future(model: object, horizon: int) -> None:
    """What is held at a close does not change when everything after it does."""
    history = made_history(700)
    cut = 600
    later = history.price.copy()
    later[cut + 1 :] *= 0.3
    other = MarketHistory(
        days=history.days, symbols=history.symbols, price=later, carry=history.carry,
        vol=history.vol, source="",
    )  # fmt: skip
    for book in BOOKS[:2]:
        paths = []
        for world in (history, other):
            daily = losses(book, world, SHAPE, 1)
            over = losses(book, world, SHAPE, horizon)
            paths.append(model.forecast(daily, over, horizon).margin)  # type: ignore[attr-defined]
        assert np.isfinite(paths[0][cut])
        assert np.array_equal(paths[0][: cut + 1], paths[1][: cut + 1], equal_nan=True)
        assert not np.allclose(paths[0][cut + horizon + 1 :], paths[1][cut + horizon + 1 :])


def test_normal_var_against_a_loop() -> None:
    rng = np.random.default_rng(2)
    daily = rng.standard_normal(200)
    made = NormalVar(decay=0.94).forecast(daily, daily, 1).margin
    variance = float(np.mean(daily[:30] ** 2))
    for t in range(200):
        if t >= 30:
            assert made[t] == pytest.approx(normal_quantile(0.99) * math.sqrt(variance))
        variance = 0.94 * variance + 0.06 * daily[t] ** 2


def test_planted_fat_tail_fails_normal_var_and_passes_historical_es() -> None:
    """Requirements B14: Student-t losses, the same on all days; both models see the same."""
    rng = np.random.default_rng(7)
    loss = rng.standard_t(2.5, size=3_500)
    normal = NormalVar(decay=0.99).forecast(loss, loss, 1)
    plain = HistoricalEs(window=1000).forecast(loss, loss, 1)
    days = slice(1000, None)
    n = loss[days].size
    many, few = (int((loss[days] > one.margin[days]).sum()) for one in (normal, plain))
    assert kupiec(many, n, 0.99).rejects() and many > 0.01 * n
    assert few <= 0.01 * n
    assert normal.var is not None and normal.es is not None
    assert plain.var is not None and plain.es is not None
    deep = shortfall_test("z2", loss[days], normal.var[days], normal.es[days], 0.99)
    own = shortfall_test("z2", loss[days], plain.var[days], plain.es[days], 0.99)
    assert deep.rejects(0.01)
    assert not own.rejects()


def test_ruleset_path_is_the_engine_and_counts_haircuts() -> None:
    """Fixed brackets on a position are a share of it; a coin's haircut covers its own fall."""
    history = made_history(40)
    rules = load_ruleset("derive-pm2")
    setting = make_setting(BOOKS[:3], history, SHAPE, start_up=5)
    made = OfRuleset(ruleset=rules).forecasts(setting)
    assert not any(isinstance(one, str) for one in made)
    long = made[0].margin[5:39]  # type: ignore[union-attr]
    assert np.allclose(long, long[0], rtol=1e-6)
    assert np.isnan(made[0].margin[:5]).all()  # type: ignore[union-attr]
    held = Portfolio(
        name="held", group="x", legs=BOOKS[0].legs, collateral=[Pledge(asset="BTC", usd=5e5)]
    )
    more = OfRuleset(ruleset=rules).forecasts(make_setting([held], history, SHAPE, start_up=5))
    assert more[0].margin[10] > long[5]  # type: ignore[union-attr]


def test_a_refused_book_is_left_out_with_its_reason() -> None:
    history = made_history(320)
    setting = make_setting(BOOKS, history, SHAPE, start_up=300)
    made = run_backtest([OfRuleset(ruleset=load_ruleset("hyperliquid"))], setting)
    assert "straddle" in made.models[0].refusals
    assert {one.book.name for one in made.models[0].tests} >= {"long"}


def test_backtest_counts_on_common_days_and_without_overlap() -> None:
    setting = make_setting(BOOKS[:2], made_history(), SHAPE, horizon=5, start_up=400)
    made = run_backtest([OfLosses(HistoricalEs()), OfLosses(NormalVar())], setting)
    one, two = (model.tests[0] for model in made.models)
    assert one.days == two.days
    gaps = {
        (date.fromisoformat(b) - date.fromisoformat(a)).days
        for a, b in zip(one.days[:-1], one.days[1:], strict=True)
    }
    assert gaps == {5}
    assert one.overlapping is not None and 0 <= one.overlapping.rate <= 1
    assert one.breaches == int((one.loss > one.margin).sum())
    assert one.score == pytest.approx(
        np.mean([max(0.99 * g, -0.01 * g) for g in one.loss - one.margin])
    )


def test_quantile_score_is_least_at_the_quantile() -> None:
    loss = np.random.default_rng(0).standard_normal(50_000)
    at = np.quantile(loss, 0.99)
    scores = [quantile_score(loss, np.full(loss.size, k * at), 0.99) for k in (0.8, 1.0, 1.2)]
    assert scores[1] == min(scores)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, math.nan, 0.03])[:2] == pytest.approx([0.03, 0.06])
    assert holm([0.01, 0.04, math.nan, 0.03])[3] == pytest.approx(0.06)


def test_a_whole_validation_and_its_json() -> None:
    import json

    setting = make_setting(BOOKS, made_history(), SHAPE, start_up=300)
    made = validate(
        [OfLosses(one) for one in challengers()[:3]],
        setting,
        crashes=house_portfolios().crashes,
        adversarial=8,
        steps=False,
    )
    again = validate(
        [OfLosses(one) for one in challengers()[:3]],
        setting,
        crashes=house_portfolios().crashes,
        adversarial=8,
        steps=False,
    )
    text = json.dumps(plain_validation(made), allow_nan=False)
    assert text == json.dumps(plain_validation(again), allow_nan=False)
    assert made.trial.model == "ewma-normal-var"
    assert {line.model for line in made.league} == {one.name for one in challengers()[:3]}
    assert {line.name for line in made.by_product} == {
        "BTC perpetual", "ETH perpetual", "BTC option", "ETH collateral", "BTC collateral",
    }  # fmt: skip
    none = made.tools["long"][0]
    assert none.cycle.cost == 0.0
    for line in made.tools["long"][1:]:
        assert line.cycle.cost is not None and line.cycle.cost >= 0
        assert line.cycle.peak_to_trough <= none.cycle.peak_to_trough
        assert line.breaches <= none.breaches


def test_step_in_volatility_doubles_margins_and_filtering_overshoots() -> None:
    step = Step(calm_days=300, days=500, paths=12)
    plain = impulse_response(OfLosses(NormalVar()), step, SHAPE)
    filtered = impulse_response(OfLosses(FilteredEs(window=250, shortest=100)), step, SHAPE)
    assert plain.moved == pytest.approx(2.0, rel=0.05)
    assert filtered.overshoot > 2 * filtered.noise > 0
    assert filtered.overshoot > plain.overshoot
    assert 1 <= plain.days_to_half <= 40  # type: ignore[operator]
    again = impulse_response(OfLosses(NormalVar()), step, SHAPE)
    assert np.array_equal(plain.margin, again.margin, equal_nan=True)
    fixed = OfRuleset(ruleset=load_ruleset("derive-pm2"))
    flat = impulse_response(fixed, Step(calm_days=5, days=20, paths=1), SHAPE)
    assert flat.moved == pytest.approx(1.0) and flat.days_to_half is None


def test_adversary_is_repeatable_and_finds_worse_than_the_average() -> None:
    history = made_history()
    found = adversary(OfLosses(NormalVar()), history, SHAPE, seed=3, count=12)
    again = adversary(OfLosses(NormalVar()), history, SHAPE, seed=3, count=12)
    assert [one.book for one in found.worst] == [one.book for one in again.worst]
    assert found.worst[0].upper.p_value <= found.worst[-1].upper.p_value
    assert set(found.families) == {"spread", "wrong-way", "basis", "straddle", "calendar"}


def test_sensitivity_tries_each_and_the_worst_pair() -> None:
    setting = make_setting(BOOKS[:2], made_history(), SHAPE, start_up=300)
    made = sensitivity(
        lambda p: OfLosses(NormalVar(level=p["level"], decay=p["decay"])),
        {"level": 0.99, "decay": 0.97},
        {"level": [0.95, 0.98], "decay": [0.9, 0.99]},
        setting,
    )
    assert [one.changed for one in made.single] == [
        {"level": 0.95}, {"level": 0.98}, {"decay": 0.9}, {"decay": 0.99},
    ]  # fmt: skip
    assert made.pairs == 4 and made.worst_pair is not None
    assert made.worst_pair.changed["level"] == 0.95
    assert made.worst_pair.coverage < made.base.coverage
    with pytest.raises(InputError, match="no parameter"):
        sensitivity(lambda p: OfLosses(NormalVar()), {}, {"x": [1.0]}, setting)


def test_shipped_books_are_at_least_twenty_in_every_group() -> None:
    file = house_portfolios()
    assert len(file.portfolios) >= 20
    assert {one.group for one in file.portfolios} >= {
        "directional", "hedged", "wrong-way", "short-vol", "basis",
    }  # fmt: skip
    assert [crash.name for crash in file.crashes] == [
        "March 2020", "May 2021", "November 2022", "August 2024", "October 2025", "February 2026",
    ]  # fmt: skip
    assert {one.name for one in choose(file, ["hedged", "long-btc"])} >= {"long-btc"}
    with pytest.raises(InputError, match="no portfolio"):
        choose(file, ["nothing"])


HEAD = """format = "crossmargin-portfolios/1"
[source]
title = "t"
date = "2026-11-23"
confidence = "house"
[[portfolios]]
name = "x"
group = "g"
"""


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "legs = []",
        HEAD + 'legs = [{ kind = "perpetual", asset = "BTC", usd = 0 }]',
        HEAD + 'legs = [{ kind = "call", asset = "BTC", usd = 1.0, days = 1 }]',
        HEAD + 'legs = [{ kind = "call", asset = "BTC", usd = 1.0, strike = -1, days = 9 }]',
        HEAD + 'legs = [{ kind = "swap", asset = "BTC", usd = 1.0 }]',
        HEAD + 'legs = [{ kind = "perpetual", asset = "BTC", usd = 1.0, size = 2 }]',
        HEAD
        + 'legs = [{ kind = "perpetual", asset = "BTC", usd = 1.0 }]\n[[portfolios]]\nname = "x"\n'
        'group = "g"\nlegs = [{ kind = "perpetual", asset = "BTC", usd = 1.0 }]',
        "format = 3",
        "not toml",
    ],
)
def test_wrong_files_of_portfolios_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        portfolios_from_toml(text, "books.toml")


def test_horizon_must_be_shorter_than_options() -> None:
    with pytest.raises(InputError, match="horizon"):
        losses(BOOKS[3], made_history(60), SHAPE, 30)
