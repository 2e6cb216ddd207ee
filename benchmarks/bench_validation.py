"""A whole back-test: twenty static books held against every day of a history, model by model.

The history is made up from a seed (six coins that move together, a level of implied volatility), of
the length of the recorded one. Each model is timed once from prices to verdict; the rule-set goes
through the engine on every day, the house model through its quick path.
"""

from __future__ import annotations

import math
import time
from datetime import date, timedelta

import numpy as np

from benchmarks.harness import Measure, Scale, number, report, target
from crossmargin.margin import load_ruleset
from crossmargin.validation import (
    Backtest,
    Contender,
    MarketHistory,
    OfLosses,
    OfRuleset,
    OfTail,
    Setting,
    challengers,
    house_portfolios,
    make_history,
    make_setting,
    run_backtest,
    tail_of,
    verdict,
)

COINS = {"BTC": 1.0, "ETH": 1.2, "LTC": 1.1, "XRP": 1.1, "ADA": 1.2, "SOL": 1.4}
#: Days tested at each scale, after the start-up of 500.
DAYS = {"tiny": 12, "quick": 250, "full": 2_500}
START_UP, BOOKS = 500, 20


def made_history(days: int, seed: int = 1) -> MarketHistory:
    """Draw coins with a common Student-t factor, and perpetuals close to them."""
    rng = np.random.default_rng(seed)
    names = [(date(2015, 1, 1) + timedelta(days=k)).isoformat() for k in range(days)]
    common = 0.03 * rng.standard_t(4.0, days) / math.sqrt(2.0)
    closes = {}
    for coin, beta in COINS.items():
        own = 0.02 * rng.standard_t(4.0, days) / math.sqrt(2.0)
        closes[coin] = 1_000.0 * np.exp(np.cumsum(beta * common + own))
    for coin in ("BTC", "ETH"):
        closes[f"{coin}-PERP"] = closes[coin] * (1.0 + 0.0005 * rng.standard_normal(days))
    level = 0.6 * np.exp(0.3 * np.sin(np.arange(days) / 40.0))

    def series(values: np.ndarray) -> dict[str, float]:
        return dict(zip(names, values.tolist(), strict=True))

    return make_history(
        {name: series(values) for name, values in closes.items()},
        vol={"BTC": series(level)},
        source="made up",
    )


def setting_of(days: int) -> Setting:
    """Value twenty of the shipped books, options among them, on the history."""
    file = house_portfolios()
    linear = [one for one in file.portfolios if not one.synthetic]
    books = [*linear[: BOOKS - 4], *[one for one in file.portfolios if one.synthetic][:4]]
    history = made_history(START_UP + days + 1)
    return make_setting(books, history, file.held, start_up=START_UP)


def timed(contenders: list[Contender], setting: Setting) -> tuple[float, Backtest]:
    """Return seconds from prices to verdicts, and what came out."""
    begin = time.perf_counter()
    made = run_backtest(contenders, setting)
    for model in made.models:
        verdict(model, setting.level)
    return time.perf_counter() - begin, made


def run(scale: Scale) -> list[Measure]:
    """Time the benchmarks, a rule-set and the house model on the same books."""
    days = DAYS[scale.name]
    setting = setting_of(days)
    rules, house = load_ruleset("derive-pm2"), load_ruleset("house")
    spec = tail_of(house)
    assert spec is not None
    cases: dict[str, list[Contender]] = {
        "four benchmarks": [OfLosses(one) for one in challengers()],
        "rule-set through the engine (derive-pm2)": [OfRuleset(ruleset=rules)],
        "house model by its quick path": [OfTail(ruleset=house, spec=spec)],
    }
    rows, slowest = [], 0.0
    for name, contenders in cases.items():
        seconds, made = timed(contenders, setting)
        books = len(made.models[0].tests)
        assert books == BOOKS, f"{name}: {books} books of {BOOKS}"
        slowest = max(slowest, seconds)
        rows.append(
            report(f"back-test, {name}", seconds, "s", f"{books} books × {days:,} days, one run")
        )
    whole = slowest if scale.name == "full" else None
    said = f"slowest of three models, {number(slowest)} s for {days:,} days, one run"
    return [target("validation", whole, said), *rows]
