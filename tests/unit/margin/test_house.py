"""The house model: against plain loops, requirements rows, its own path, and what users do."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri
from tests.house_loops import Held, slow_legs
from tests.house_worlds import (
    AS_OF,
    NO_BASIS,
    OPTION,
    PRICES,
    PUT,
    SMALL,
    account,
    history,
    market,
    rules,
)

from crossmargin.book import book_from_accounts, parse_account
from crossmargin.cli import main
from crossmargin.errors import CrossmarginError, MarketDataError, RulesetError
from crossmargin.margin import (
    HouseOption,
    HousePortfolio,
    approximate_tail,
    decode_statement,
    encode_statement,
    evaluate,
    evaluate_book,
    house_margin_path,
    house_tail,
    load_ruleset,
    make_statement,
    market_needs,
    recompute,
    ruleset_from_dict,
    tail_detail,
)
from crossmargin.margin._tail_rows import spec_of
from crossmargin.market import (
    FactorHistory,
    factor_history,
    file_from_snapshot,
    snapshot_from_file,
    write_market,
)
from crossmargin.market.files import decode_market
from crossmargin.scenarios import tail_sets
from crossmargin.stats import (
    copula_uniforms,
    shortfall_errors,
    tail_quantiles,
    tail_shortfalls,
)

BTC, ETH, SOL = (f"{c}_USDC-PERPETUAL" for c in PRICES)
LEGS = ("base", "stress", "buffer", "vol_floor", "correlation_break", "offset_cap", "premium_cap")


def need(who, snapshot=None, **changes):
    done = evaluate(book_from_accounts([who]), snapshot or market(), rules(**changes))
    return {k: float(v[0][0]) for k, v in done.need.pool_parts.items()}, done


# ------------------------------------------------------------------------------- plain loops


@pytest.mark.parametrize("coins", [(1.0, -10.0, 50.0), (1.0, 10.0, 0.0), (-0.5, 2.0, 300.0)])
def test_every_leg_against_plain_loops(coins: tuple[float, float, float]) -> None:
    who = account(*(p for p in zip((BTC, ETH, SOL), coins) if p[1]))
    parts, _ = need(who)
    held = [Held(a, q * p, entry=0) for a, (q, p) in enumerate(zip(coins, PRICES.values()))]
    for name, value in slow_legs(history(), held).items():
        assert parts[name] == pytest.approx(value, rel=1e-9, abs=1e-6), name
    assert parts["buffer"] == parts["premium_cap"] == 0.0


# ------------------------------------------------------------------------- rows of requirements


def flat_vol(rho: float, sigma: tuple[float, float], n: int = 4_000) -> FactorHistory:
    """A past whose volatility and correlation are nearly those stated."""
    rng = np.random.default_rng(8)
    g = rng.standard_normal((n, 2))
    g = (g - g.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(g.T, bias=True))).T
    x = g @ np.linalg.cholesky(np.array([[1, rho], [rho, 1]])).T * np.array(sigma)
    closes = np.exp(np.concatenate([np.zeros((1, 2)), np.cumsum(x, axis=0)]))
    closes = closes / closes[-1] * np.array([50_000.0, 3_000.0])
    first = np.datetime64("2026-03-30") - n
    days = [str(first + k) for k in range(n + 1)]
    return factor_history(days, {"BTC": closes[:, 0], "ETH": closes[:, 1]})


def test_a07_monte_carlo_within_three_standard_errors() -> None:
    """A07's own inputs, 200,000 draws by counter: σ, VaR, ES and the chance of a breach."""
    n = 200_000
    u = copula_uniforms(np.array([[1, 0.5], [0.5, 1]]), n, seed=1)
    pnl = ndtri(u) @ np.array([50_000 * 0.03, 30_000 * 0.04])
    row = pnl[None, :]
    assert abs(pnl.std() - 2_343.07) < 3 * 2_343.07 / math.sqrt(2 * n)
    density = math.exp(-0.5 * 2.3263**2) / math.sqrt(2 * math.pi) / 2_343.07
    assert abs(tail_quantiles(row, 0.99)[0] - 5_450.81) < 3 * math.sqrt(0.0099 / n) / density
    error = shortfall_errors(row, 0.99)[0]
    assert abs(tail_shortfalls(row, 0.99)[0] - 6_244.80) < 3 * error and error < 30
    for rate, chance in ((0.05, 0.00351), (0.0, 0.00522)):
        breach = float((10_000 + pnl < 4_000 + rate * pnl).mean())
        assert abs(breach - chance) < 3 * math.sqrt(chance / n)


def test_a07_by_the_rule_set_with_what_it_estimates() -> None:
    """50,000 paths; the correlation is estimated from 4,000 days made with A07's, error 0.012."""
    past = flat_vol(0.5, (0.03, 0.04))
    law = {"paths": 50_000, "marginal": "normal", "simple": True}
    changes = {
        "tail__monte_carlo": law, "tail__stress_weight": 0.0, "tail__floor": 0.0,
        "tail__break_share": 0.0, "tail__offset_cap": 1.0, "tail__correlation_decay": 0.9999,
        "tail__days": 4000,
    }  # fmt: skip
    parts, done = need(account((BTC, 1), (ETH, 10)), market(past), **changes)
    detail = tail_detail(done.frame)
    sets = tail_sets(past, spec_of(done.frame.ruleset))
    assert detail.scenarios == 50_000 and parts["base"] == pytest.approx(detail.es)
    usd = np.array([50_000 * 0.03, 30_000 * 0.04]) / sets.sigma
    row = (usd @ sets.filtered.move)[None, :]
    # dσ/dρ = 1,500·1,200/2,343: three errors of ρ are 28 dollars of σ, 74 of ES.
    assert abs(row.std() - 2_343.07) < 3 * 2_343.07 / math.sqrt(100_000) + 28
    assert abs(tail_shortfalls(row, 0.99)[0] - 6_244.80) < 3 * shortfall_errors(row, 0.99)[0] + 74


def test_b16_the_break_finds_the_direction_that_hurts() -> None:
    past = flat_vol(0.9, (0.03, 0.04))
    only = {
        "tail__stress_weight": 0.0, "tail__floor": 0.0, "tail__break_share": 1.0,
        "tail__offset_cap": 1.0, "tail__days": 4000,
    }  # fmt: skip
    same, done = need(account((BTC, 1), (ETH, 10)), market(past), **only)
    assert tail_detail(done.frame).broken_by == "all together"
    hedged, done = need(account((BTC, 1), (ETH, -10)), market(past), **only)
    assert tail_detail(done.frame).broken_by in ("BTC against the rest", "ETH against the rest")
    # The hedge loses more than the sum of like positions does: 2,700 against 670.82 of σ.
    assert hedged["correlation_break"] / hedged["base"] > 2.0
    assert same["correlation_break"] / same["base"] < 0.3


def test_b15_a_quarter_of_stress_damps_four_to_two_and_a_bit() -> None:
    """σ 2 % → 8 %: raw ratio 4.00, damped 2.29, at the same peak."""
    spec = house_tail(stress_weight=0.25, floor=0.0)
    calm, wild = 1.0, 4.0
    damped = [(1 - spec.stress_weight) * m + spec.stress_weight * wild for m in (calm, wild)]
    assert wild / calm == 4.0 and damped[1] == wild
    assert damped[1] / damped[0] == pytest.approx(2.29, abs=0.005)
    # And the rule-set blends so: at the peak the stressed leg is the stressed period's own.
    parts, done = need(account((BTC, 1)))
    detail = tail_detail(done.frame)
    assert parts["base"] == pytest.approx(0.75 * detail.es)
    assert parts["stress"] == pytest.approx(0.25 * detail.stress)


def test_b04_the_approximation_is_measured_and_warned_about() -> None:
    done = need(account((OPTION, -1), (PUT, -1)))[1]
    found = approximate_tail(done.frame)
    assert found.error == pytest.approx(abs(found.approximate / found.full - 1))
    wide = approximate_tail(done.frame, tolerance=found.error * 1.01)
    tight = approximate_tail(done.frame, tolerance=found.error * 0.99)
    assert wide.warning == "" and wide.used == wide.approximate
    assert "the full one counts" in tight.warning and tight.used == tight.full
    linear = approximate_tail(need(account((BTC, 1)))[1].frame)
    assert linear.error == 0.0 and linear.warning == ""


# ------------------------------------------------------------------------------------- the path


@pytest.mark.parametrize("day", ["2026-03-30", "2025-12-14"])
def test_the_path_is_the_rule_set_on_a_single_day(day: str) -> None:
    past = history(vols=True, contracts=True)
    options = (HouseOption(underlying="BTC", quantity=-2.0, days=24 + 8 / 24, moneyness=0.9,
                           is_call=False, forward="own"),)  # fmt: skip
    portfolios = [
        HousePortfolio(name="hedged", contracts={"BTC-PERP": 1.0, "ETH-PERP": -12.0}),
        HousePortfolio(name="coin", coins={"BTC": 0.5}, contracts={"SOL-PERP": 40.0}),
        HousePortfolio(name="short vol", contracts={"BTC-PERP": 0.3}, options=options),
    ]
    spec = spec_of(rules())
    path = house_margin_path(portfolios, past, spec, first=day, last=day)
    cut = past.until(day)
    price = dict(zip(cut.coins, cut.price[-1].tolist()))
    world = market(cut)
    accounts = [
        account((BTC, 1.0), (ETH, -12.0)),
        account((SOL, 40.0), balances={"BTC": 0.5, "USD": 1.0}),
    ]
    for row, who in enumerate(accounts):
        parts, done = need(who, world)
        legs = ("base", "stress", "buffer", "vol_floor", "correlation_break", "offset_cap")
        for leg, name in zip(legs, ("base", "stress", "buffer", "floor", "break", "offset")):
            assert path.parts[name][row, 0] == pytest.approx(parts[leg], rel=1e-9, abs=1e-6)
        assert path.im[row, 0] == pytest.approx(sum(parts.values()), rel=1e-9)
        mm = sum(float(v[1][0]) for v in done.need.pool_parts.values())
        assert path.mm[row, 0] == pytest.approx(mm, rel=1e-9)
        detail = tail_detail(done.frame)
        assert path.var[row, 0] == pytest.approx(detail.var, rel=1e-9)
        assert path.es_error[row, 0] == pytest.approx(detail.es_error, rel=1e-6, nan_ok=True)
    if day == "2026-03-30":
        # The option of the path, as a listed one at the history's volatility.
        strike = price["BTC"] * 0.9
        assert strike == pytest.approx(45_000)
        quotes = {**world.quotes, PUT: replace(world.quotes[PUT], vol=float(cut.vol[-1, 0]))}
        parts, _ = need(account((PUT, -2.0), (BTC, 0.3)), replace(world, quotes=quotes))
        assert path.im[2, 0] == pytest.approx(sum(parts.values()), rel=1e-9)


def test_the_path_looks_at_no_later_day_and_gives_what_was_gained() -> None:
    past = history()
    one = [HousePortfolio(name="x", coins={"BTC": 1.0, "ETH": 3.0})]
    spec = spec_of(rules())
    whole = house_margin_path(one, past, spec, first="2025-11-01", last="2025-11-10")
    cut = house_margin_path(one, past.until("2025-11-10"), spec, first="2025-11-01")
    assert whole.days == cut.days and np.array_equal(whole.im, cut.im)
    at = past.days.index("2025-11-04")
    gained = (past.price[at + 1] - past.price[at]) @ np.array([1.0, 3.0, 0.0])
    assert whole.pnl[0, 3] == pytest.approx(gained)
    assert math.isnan(cut.pnl[0, -1]) and not math.isnan(whole.pnl[0, -1])


def test_the_path_leaves_days_out_that_a_coin_has_not_seen() -> None:
    past = history(late=250)
    rows = [HousePortfolio(name="old", coins={"BTC": 1.0}),
            HousePortfolio(name="new", coins={"SOL": 1.0})]  # fmt: skip
    path = house_margin_path(rows, past, spec_of(rules()))
    assert np.isfinite(path.im[0]).all()
    first = int(np.argmax(np.isfinite(path.im[1])))
    # Warm-up and fewest after it began: 30 + 100 returns.
    assert path.days[first] == past.days[250 + 130]
    assert np.isfinite(path.im[1, first:]).all()


def test_path_refusals() -> None:
    past, spec = history(), spec_of(rules())
    with pytest.raises(MarketDataError, match="MKT-044"):
        house_margin_path([HousePortfolio(name="x", coins={"DOGE": 1.0})], past, spec)
    with pytest.raises(RulesetError, match="RUL-036"):
        house_margin_path([HousePortfolio(name="x")], past, house_tail(volatility="garch"))
    with pytest.raises(RulesetError, match="RUL-001"):
        house_tail(decay=2.0)
    with pytest.raises(CrossmarginError, match="INP-004"):
        house_margin_path([HousePortfolio(name="x")], past, spec, first="2030-01-01")


# ------------------------------------------------------------------------------------ statement


def mixed():
    return account(
        (BTC, 0.7), (ETH, -9.0), (OPTION, -1.0), (PUT, 2.0), ("BTC-PERPETUAL", 20_000.0),
        ("SOL_USDT-PERPETUAL", 80.0), balances={"USDC": 9_000.0, "USDT": 8_000.0, "BTC": 0.3,
                                                "SOL": -5.0},
    )  # fmt: skip


def test_a_statement_adds_up_and_gives_itself_again() -> None:
    made = make_statement(mixed(), market(history(vols=True)), rules(), solve=False)
    total = (
        sum(p.share_im_usd for p in made.positions)
        + sum(b.share_im_usd for b in made.balances)
        + made.share_fixed_usd
        + made.share_jumps_usd
    )
    assert total == pytest.approx(made.totals.im, rel=1e-9, abs=1e-9)
    assert made.share_fixed_usd == 0.0
    lines = {c.name: c.im_usd for c in made.components if c.group == "*"}
    assert list(lines) == list(LEGS)
    grouped = sum(c.im_usd for c in made.components if c.group != "*")
    assert sum(lines.values()) + grouped == pytest.approx(made.totals.im, rel=1e-12)
    steps = sum(s.usd for s in made.waterfall[1:-1]) + made.waterfall[0].usd
    assert steps == pytest.approx(made.totals.im, rel=1e-9)
    assert {b.asset: b.stress for b in made.balances} == {
        "USDC": "both", "USDT": "both", "BTC": "both", "SOL": "both",
    }  # fmt: skip
    raw = encode_statement(made)
    assert encode_statement(recompute(decode_statement(raw))) == raw


def test_shares_are_the_slope_of_the_requirement() -> None:
    """q·∂IM/∂q by central differences of the whole requirement, position by position."""
    who, world = mixed(), market(history(vols=True))
    # A consumable buffer and the cap on offsets bind too.
    rule = rules(tail__buffer=0.25, tail__break_share=0.05)
    done = evaluate(book_from_accounts([who]), world, rule)
    from crossmargin.margin import requirement

    q, b = done.frame.book.position_quantity, done.frame.book.balance_amount
    h = 1e-6
    for row in range(q.size):
        up, down = (q * np.where(np.arange(q.size) == row, 1 + s * h, 1.0) for s in (1, -1))
        rise = [requirement(done.frame, quantity=x).im[0] for x in (up, down)]
        slope = (rise[0] - rise[1]) / (2 * h)
        assert done.need.share_im[row] == pytest.approx(slope, rel=1e-4, abs=1.0)
    for row in range(b.size):
        up, down = (b * np.where(np.arange(b.size) == row, 1 + s * h, 1.0) for s in (1, -1))
        rise = [requirement(done.frame, amount=x).im[0] for x in (up, down)]
        slope = (rise[0] - rise[1]) / (2 * h)
        assert done.need.balance_share_im[row] == pytest.approx(slope, rel=1e-4, abs=1.0)


def test_joint_collateral_is_right_way_and_wrong_way() -> None:
    none = need(account((BTC, -1.0), balances={"USDC": 60_000.0}))[0]["base"]
    right = need(account((BTC, -1.0), balances={"BTC": 1.0, "USDC": 10_000.0}))[0]["base"]
    wrong = need(account((BTC, 1.0), balances={"BTC": 1.0, "USDC": 10_000.0}))[0]["base"]
    alone = need(account((BTC, 1.0)))[0]["base"]
    # What is left is the basis: 0.05 % a day of a normal, of 50,000 at 75 %.
    assert 0.8 * 2.665 < right / (0.75 * 0.0005 * 50_000) < 1.2 * 2.9 and none > 50 * right
    assert wrong == pytest.approx(2 * alone, rel=0.02)
    still = need(account((BTC, -1.0), balances={"BTC": 1.0, "USD": 1.0}), **NO_BASIS)[0]["base"]
    assert still == pytest.approx(0.0, abs=1e-6)


def test_a_peg_moves_in_hypothetical_scenarios_alone() -> None:
    """100,000 USDT against a small position: 5 % of it is in the stressed tail, not the base."""
    few = need(account((BTC, 0.001), balances={"USD": 1.0}))[0]
    many = need(account((BTC, 0.001), balances={"USDT": 100_000.0}))[0]
    assert many["base"] == pytest.approx(few["base"], rel=1e-9)
    # 63 stressed scenarios: the worst is the whole of a tail of 0.63.
    assert many["stress"] == pytest.approx(0.25 * 0.05 * 0.999 * 100_000, rel=1e-3)


def test_volatility_history_moves_options() -> None:
    who = account((OPTION, -1.0), (BTC, 0.5))
    own = need(who, market(history(vols=True)))[0]["base"]
    stated = need(who, market(history()))[0]["base"]
    assert own != pytest.approx(stated, rel=1e-3) and own > 0 and stated > 0
    flat = need(who, market(history()), tail__vol={"down": 0.0, "up": 0.0})[0]["base"]
    assert flat < stated


@pytest.mark.parametrize(
    "changes",
    [
        {"tail__horizon_days": 3},
        {"tail__horizon_days": 3, "tail__multi_day": "blocks"},
        {"tail__horizon_days": 4, "tail__multi_day": "root"},
        {"tail__filter": "half"},
        {"tail__filter": "none", "tail__rescale": "none"},
        {"tail__rescale": "symmetric"},
        {"tail__buffer": 0.25},
        {"tail__monte_carlo": {"paths": 2000, "degrees": 4.0,
                               "jumps": {"intensity": 0.02, "mean": -0.1, "spread": 0.05}}},
        {"tail__monte_carlo": {"paths": 500, "degrees": 4.0}, "tail__horizon_days": 2},
    ],
)  # fmt: skip
def test_variants_compute_and_replay(changes) -> None:
    first, _ = need(mixed(), **changes)
    again, _ = need(mixed(), market(factor_history(
        history().days, dict(zip(history().coins, history().price.T)), source="made up"
    )), **changes)  # fmt: skip
    assert first == again
    assert all(math.isfinite(v) for v in first.values()) and first["base"] > 0


def test_four_days_by_root_are_twice_one() -> None:
    one = tail_sets(history(), spec_of(rules())).filtered.move
    four = tail_sets(
        history(), spec_of(rules(tail__horizon_days=4, tail__multi_day="root"))
    ).filtered.move
    assert np.log1p(four) == pytest.approx(2 * np.log1p(one), rel=1e-12)


def test_blocks_do_not_overlap() -> None:
    spec = spec_of(rules())
    one = np.log1p(tail_sets(history(), spec).filtered.move)
    sets = tail_sets(history(), spec_of(rules(tail__horizon_days=3, tail__multi_day="blocks")))
    three = np.log1p(sets.filtered.move)
    assert three.shape[1] == 100 and len(sets.filtered.labels) == 100
    assert three == pytest.approx(one.reshape(3, 100, 3).sum(axis=2), rel=1e-9)


def test_garch_and_gjr_filters() -> None:
    pytest.importorskip("arch")
    base = [need(mixed(), tail__volatility=kind)[0]["base"] for kind in ("ewma", "garch", "gjr")]
    assert len(set(base)) == 3 and min(base) > 0.3 * max(base)


def test_the_buffer_is_used_up_as_volatility_rises() -> None:
    """At low volatility 25 %; at high none; in between the margin stands still."""
    from crossmargin.margin._tail_law import legs_of, stacked

    spec = house_tail(buffer=0.25, stress_weight=0.0, floor=0.0, break_share=0.0, offset_cap=1.0)
    b = np.array([0.8, 1.0, 1.1, 1.25, 1.8])
    one, none = np.ones(5), np.zeros(5)
    found = legs_of(spec, stacked(np.array([b, none, one, none]), np.zeros((3, 5)), np.arange(5)))
    assert found.total == pytest.approx([1.0, 1.25, 1.25, 1.25, 1.8])
    # The worked case of the reference: raw 1.80, with the buffer 1.44.
    assert found.total[4] / found.total[1] == pytest.approx(1.44)


# -------------------------------------------------------------------------------------- refusals


def test_without_a_history_it_refuses_in_a_sentence() -> None:
    with pytest.raises(MarketDataError, match=r"MKT-044.*no price history"):
        need(account((BTC, 1)), replace(market(), history=None))


def test_a_coin_without_a_past_is_named() -> None:
    past = history()
    short = factor_history(past.days, {"BTC": past.price[:, 0]})
    with pytest.raises(MarketDataError, match=r"MKT-044.*ETH"):
        need(account((BTC, 1), (ETH, 1)), replace(market(), history=short))
    books = [account((BTC, 1), name="fine"), account((ETH, 1), name="not")]
    done = evaluate_book(book_from_accounts(books), replace(market(), history=short), rules())
    assert list(done.failures) == [1] and done.im[0] > 0


def test_what_is_needed_is_named_before_anything_is_computed() -> None:
    book = book_from_accounts([mixed()])
    needs = market_needs(book, rules())
    assert needs.history == needs.liquidity == ("BTC", "ETH", "SOL")
    assert needs.assets == ("BTC", "ETH", "SOL", "USDC", "USDT")
    assert set(needs.options) == {"BTC_USDC-24APR26-50000-C", "BTC_USDC-24APR26-45000-P"}
    past = history()
    short = factor_history(past.days, {"BTC": past.price[:, 0]})
    assert needs.without_history(replace(market(), history=short)) == ("ETH", "SOL")
    assert needs.without_history(market()) == ()
    assert market_needs(book, load_ruleset("deribit-pm")).history == ()


def test_an_old_history_is_refused() -> None:
    with pytest.raises(MarketDataError, match=r"MKT-044.*days before the market"):
        need(account((BTC, 1)), replace(market(), history=history().until("2026-03-01")))


@pytest.mark.parametrize(
    ("days", "prices"),
    [
        (["2026-01-02", "2026-01-01"], {"BTC": [1.0, 2.0]}),
        (["2026-01-01", "2026-01-02"], {"BTC": [1.0]}),
        (["2026-01-01", "2026-01-02"], {"BTC": [1.0, -2.0]}),
        (["2026-01-01", "yesterday"], {"BTC": [1.0, 2.0]}),
    ],
)
def test_a_history_that_is_none(days, prices) -> None:
    with pytest.raises(MarketDataError, match="MKT-043"):
        factor_history(days, prices)


def test_rule_sets_whose_tail_does_not_fit() -> None:
    raw = load_ruleset("house").as_dict()
    for change in (
        {"tail": None},
        {"components": [c for c in raw["components"] if c["name"] != "base"]},
        {"components": [*raw["components"], {**raw["components"][2], "name": "again"}]},
        {"numeraire": "settlement", "pools": {"by": "settlement"}},
    ):
        data = {**raw, **change}
        if change.get("tail", 0) is None:
            del data["tail"]
        with pytest.raises(RulesetError, match="RUL-005"):
            ruleset_from_dict(data)


# ------------------------------------------------------------------------------- files, commands


def test_a_market_file_keeps_its_history() -> None:
    past = history(late=30, vols=True)
    raw = write_market(file_from_snapshot(market(past)))
    again = snapshot_from_file(decode_market(raw, "again"))
    assert again.history is not None
    assert again.history.content_hash == past.content_hash
    assert again.content_hash == market(past).content_hash
    data = json.loads(raw)
    data["history"]["days"][-1] = "2026-04-30"
    with pytest.raises(MarketDataError, match="MKT-011"):
        snapshot_from_file(decode_market(json.dumps(data).encode(), "late"))


def test_command_line_reads_closes_up_to_the_market(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    past = history()
    bare = replace(market(), history=None)
    (tmp_path / "m.json").write_bytes(write_market(file_from_snapshot(bare)))
    who = {"format": "crossmargin-account/1", "account": "a",
           "balances": [{"asset": "USDC", "amount": 50000}],
           "positions": [{"instrument": BTC, "quantity": 1, "entry_price": "mark"}]}  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(who))
    # A day that is not over at the market's time is not known yet.
    rows = ["date,symbol,close"]
    for k, coin in enumerate(past.coins):
        rows += [f"{d},{coin}USDT,{p!r}" for d, p in zip(past.days, past.price[:, k].tolist())]
        rows.append(f"2026-03-31,{coin}USDT,1.0")
    (tmp_path / "closes.csv").write_text("\n".join(rows))
    wide = ["date,BTC,BTC.vol"] + [f"{d},{p!r},0.5" for d, p in zip(past.days, past.price[:, 0])]
    wide = [line.replace("np.float64(", "").replace(")", "") for line in wide]
    (tmp_path / "wide.csv").write_text("\n".join(wide))
    sets = [x for key, value in SMALL.items() for x in ("--set", f"{key}={value}")]
    command = ["margin", "a.json", "--market", "m.json", "--ruleset", "house", *sets]
    assert main([*command, "--json", "--history", "closes.csv"]) == 0
    made = json.loads(capsys.readouterr().out)
    direct = make_statement(
        parse_account(json.dumps(who).encode(), "a"), market(), rules(), solve=False
    )
    assert made["totals"]["im"] == pytest.approx(direct.totals.im, rel=1e-9)
    assert made["inputs"]["market"]["history"]["days"][-1] == "2026-03-30"
    assert main([*command, "--history", "wide.csv"]) == 0
    assert "house" in capsys.readouterr().out
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.startswith("MKT-044") and "--history" in said
    assert AS_OF.startswith("2026-03-31")
