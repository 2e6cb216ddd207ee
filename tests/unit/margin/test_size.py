"""Size add-ons: by hand, against a slow second implementation, and over an owner's accounts."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from tests import helpers as h

from crossmargin.book import book_from_accounts
from crossmargin.errors import CrossmarginError, MarketDataError, RulesetError
from crossmargin.margin import (
    Ruleset,
    evaluate,
    evaluate_book,
    frame_for,
    make_statement,
    recompute,
    requirement,
    shares,
)
from crossmargin.margin.components import Pools
from crossmargin.market import Liquidity, Snapshot

INVERSE = "BTC-PERPETUAL"
ADV, OPEN, SIGMA, SPREAD = 1_000.0, 4_000.0, 0.04, 0.0005
BTC = Liquidity(adv_coins=ADV, sigma_daily=SIGMA, open_interest_coins=OPEN, half_spread=SPREAD)


def market(**liquidity: Liquidity) -> Snapshot:
    eth = Liquidity(adv_coins=20_000.0, sigma_daily=0.05, half_spread=0.001)
    return replace(h.fixture_g(), liquidity={"BTC": BTC, "ETH": eth, **liquidity})


def concentration(measure: str = "adv", name: str = "size", **more: Any) -> dict[str, Any]:
    scale = {"threshold": 0.1, "rate": 0.02, "power": 1.0, **more.pop("scale", {})}
    return h.component("concentration", name, measure=measure, scales={"default": scale}, **more)


def impact(name: str = "exit", **more: Any) -> dict[str, Any]:
    scale = {"y": 1.0, "participation": 0.1, **more.pop("scale", {})}
    return h.component("impact", name, scales={"default": scale}, **more)


def by_account(rules: Ruleset, snapshot: Snapshot, *accounts: Any) -> np.ndarray:
    found = evaluate_book(book_from_accounts(accounts), snapshot, rules)
    assert not found.failures
    return found.im


# ------------------------------------------------------------------------------ one account


def test_concentration_by_hand() -> None:
    """Threshold 10 % of 1,000 = 100 coins; 300 coins are 200 too many, two thresholds: 4 %."""
    rules = h.rules(concentration())
    assert h.im(rules, market(), (h.PERP, 100.0)) == 0.0
    assert h.im(rules, market(), (h.PERP, -300.0)) == pytest.approx(
        0.02 * 2.0 * 200.0 * 50_000.0, rel=1e-14
    )
    capped = h.rules(concentration(scale={"max_rate": 0.03}))
    assert h.im(capped, market(), (h.PERP, 300.0)) == pytest.approx(
        0.03 * 200.0 * 50_000.0, rel=1e-14
    )


def test_measures_agree_where_their_thresholds_do() -> None:
    """100 coins are 10 % of the volume, 2.5 % of the open interest and 5 m dollars."""
    asked = [
        h.im(h.rules(concentration(m, scale={"threshold": t})), market(), (h.PERP, 250.0))
        for m, t in (("adv", 0.1), ("open-interest", 0.025), ("usd", 5e6))
    ]
    assert asked[0] > 0
    assert asked == pytest.approx([asked[0]] * 3, rel=1e-13)


def test_impact_by_hand() -> None:
    """300 coins at 10 % of 1,000 a day: three days, √0.3 of σ, half a spread."""
    rules = h.rules(impact(scale={"risk_multiple": 2.0, "spread_multiple": 3.0}))
    root = math.sqrt(4 * 7 / 18)
    unit = 3.0 * SPREAD + SIGMA * math.sqrt(0.3) + 2.0 * SIGMA * (root - 1.0)
    got = h.need(rules, market(), (h.PERP, 300.0))
    assert got.im.tolist() == got.mm.tolist()
    assert got.im[0] == pytest.approx(unit * 300.0 * 50_000.0, rel=1e-13)


def test_inverse_and_linear_of_one_underlying_net_in_coins() -> None:
    """7.5 m dollars of the inverse are 150 coins at 50,000."""
    rules = h.rules(concentration())
    alone = h.im(rules, market(), (h.PERP, 150.0))
    both = h.im(rules, market(), (h.PERP, 300.0), (INVERSE, -7_500_000.0))
    assert alone > 0
    assert both == pytest.approx(alone, rel=1e-13)
    assert h.im(rules, market(), (h.PERP, 150.0), (INVERSE, -7_500_000.0)) == 0.0


def test_options_count_by_delta_and_kinds_choose() -> None:
    rules = h.rules(concentration(), impact())
    frame = h.frame(h.account((h.CALL, 400.0)), rules, market())
    delta = float(frame.unit_delta[frame.book.position_instrument[0]])
    assert 0.5 < delta < 0.6
    got = requirement(frame).parts["size"].im[0]
    over = 400.0 * delta - 100.0
    assert got == pytest.approx(0.02 * over / 100.0 * over * 50_000.0, rel=1e-12)
    futures = h.rules(concentration(kinds=["perpetual", "future"]))
    assert h.im(futures, market(), (h.CALL, 400.0)) == 0.0


def test_per_instrument_does_not_net_and_reads_its_own_liquidity() -> None:
    own = market(
        **{
            h.PERP: Liquidity(adv_coins=500.0, half_spread=0.001),
            INVERSE: Liquidity(adv_coins=800.0, half_spread=0.002),
        }
    )
    rules = h.rules(concentration(per="instrument"), impact(per="instrument"))
    got = h.need(rules, own, (h.PERP, 150.0), (INVERSE, -7_500_000.0))
    size = 0.02 * (100 / 50) * 100 * 50_000 + 0.02 * (70 / 80) * 70 * 50_000
    assert got.parts["size"].im[0] == pytest.approx(size, rel=1e-12)
    # σ is the underlying's, volume and spread the instrument's.
    exit_ = 150 * 50_000 * (0.001 + SIGMA * math.sqrt(150 / 500))
    exit_ += 150 * 50_000 * (0.002 + SIGMA * math.sqrt(150 / 800))
    assert got.parts["exit"].im[0] == pytest.approx(exit_, rel=1e-12)


def test_expired_contracts_have_no_size() -> None:
    rules = h.rules(concentration("usd", scale={"threshold": 1e5}))
    later = market().at(1_774_684_800_000_000_000)  # 28 March 2026
    assert h.im(rules, later, ("BTC_USDC-27MAR26", 100.0)) == 0.0
    assert h.im(rules, market(), ("BTC_USDC-27MAR26", 100.0)) > 0


# ------------------------------------------------------------------------------ what is missing


@pytest.mark.parametrize(
    ("component", "figure"),
    [
        (concentration("open-interest"), "open_interest_coins"),
        (concentration("adv"), "adv_coins"),
        (impact(), "adv_coins"),
    ],
)
def test_missing_figures_are_refused_by_name(component: dict[str, Any], figure: str) -> None:
    bare = replace(market(), liquidity={"BTC": Liquidity(half_spread=0.1)})
    with pytest.raises(MarketDataError) as caught:
        h.im(h.rules(component), bare, (h.PERP, 1.0))
    assert caught.value.code == "MKT-040"
    assert figure in str(caught.value) and "BTC" in str(caught.value)
    # What is not held needs nothing, and what nets to nothing neither.
    assert h.im(h.rules(component), bare, balances={"BTC": 1.0}) == 0.0
    assert h.im(h.rules(component), bare, (h.PERP, 1.0), ("BTC_USDC-27MAR26", -1.0)) == 0.0


def test_measure_in_dollars_needs_no_liquidity() -> None:
    rules = h.rules(concentration("usd", scale={"threshold": 1e6}))
    assert h.im(rules, h.fixture_g(), (h.PERP, 30.0)) == pytest.approx(0.02 * 0.5 * 5e5)


def test_old_liquidity_is_refused_against_the_markets_own_time() -> None:
    week = 7 * 86_400 * 10**9
    old = market(BTC=replace(BTC, time_ns=h.fixture_g().as_of_ns - week - 1))
    with pytest.raises(MarketDataError) as caught:
        h.im(h.rules(concentration()), old, (h.PERP, 1.0))
    assert caught.value.code == "MKT-002" and "7.0 days old" in str(caught.value)
    just = market(BTC=replace(BTC, time_ns=h.fixture_g().as_of_ns - week))
    assert h.im(h.rules(concentration()), just, (h.PERP, 1.0)) == 0.0
    # A later moment of valuation does not age the market's figures.
    later = market(BTC=replace(BTC, time_ns=h.fixture_g().as_of_ns)).at(1_774_684_800_000_000_000)
    assert h.im(h.rules(concentration()), later, (h.PERP, 1.0)) == 0.0


def test_rules_that_name_no_scale_refuse() -> None:
    spec = concentration()
    spec["scales"] = {"BTC": spec["scales"]["default"]}
    for per, code in (("underlying", "RUL-011"), ("instrument", "RUL-011")):
        with pytest.raises(RulesetError) as caught:
            h.im(h.rules({**spec, "per": per}), market(), (h.ETH_PERP, 1.0))
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (concentration, "threshold", 0.0),
        (concentration, "power", 0.0),
        (concentration, "rate", -0.1),
        (impact, "participation", 0.0),
        (impact, "participation", 1.1),
        (impact, "y", -1.0),
        (impact, "covered_days", -1),
    ],
)
def test_figures_out_of_range_are_refused(kind: Any, field: str, value: float) -> None:
    with pytest.raises(RulesetError) as caught:
        h.rules(kind(scale={field: value}))
    assert caught.value.code == "RUL-001"


# ------------------------------------------------------------------------------ many accounts


def test_splitting_over_sub_accounts_changes_nothing() -> None:
    rules = h.rules(concentration(), impact(scale={"risk_multiple": 2.0}))
    whole = by_account(rules, market(), h.account((h.PERP, 400.0), owner="o"))
    split = by_account(
        rules,
        market(),
        h.account((h.PERP, 100.0), name="a", owner="o"),
        h.account((h.PERP, 60.0), name="b", owner="o"),
        h.account((INVERSE, 12_000_000.0), name="c", owner="o"),
    )
    assert split.sum() == pytest.approx(whole[0], rel=1e-12)
    # Pro rata: 100, 60 and 240 coins of 400.
    assert split == pytest.approx(whole[0] * np.array([0.25, 0.15, 0.6]), rel=1e-12)
    # Two owners of half each are charged less.
    apart = by_account(
        rules, market(), h.account((h.PERP, 200.0), name="a"), h.account((h.PERP, 200.0), name="b")
    )
    assert apart.sum() < 0.8 * whole[0]


def test_aggregation_by_account_is_a_choice_of_the_rules() -> None:
    rules = h.rules(concentration(aggregate="account"))
    halves = [h.account((h.PERP, 200.0), name=n, owner="o") for n in "ab"]
    alone = h.im(rules, market(), (h.PERP, 200.0))
    assert by_account(rules, market(), *halves).tolist() == [alone, alone]
    assert not rules.by_owner and h.rules(concentration()).by_owner


def test_who_makes_the_owner_smaller_pays_nothing() -> None:
    rules = h.rules(concentration())
    got = by_account(
        rules,
        market(),
        h.account((h.PERP, 300.0), name="a", owner="o"),
        h.account((h.PERP, -120.0), name="b", owner="o"),
        h.account((h.PERP, 100.0), name="c", owner="o"),
    )
    total = h.im(rules, market(), (h.PERP, 280.0))
    assert got == pytest.approx(total * np.array([0.75, 0.0, 0.25]), rel=1e-12)


def test_pots_of_one_account_are_one_owner() -> None:
    """Pots by settlement and fenced positions: what nets apart is still one owner's size."""
    for by in ("settlement", "position", "account"):
        rules = h.rules(concentration(), pools={"by": by})
        who = [(h.PERP, 150.0), (INVERSE, 7_500_000.0)]
        got = h.frame(h.account(*who), rules, market())
        need = requirement(got)
        assert float(need.im @ got.pot_usd) == pytest.approx(
            h.im(h.rules(concentration()), market(), (h.PERP, 300.0)), rel=1e-12
        )


def slow(accounts: list[tuple[str, dict[str, float]]], spec: dict[str, Any]) -> list[float]:
    """The same add-on in plain loops: owner, net coins, law, pro rata on the net side."""
    price, coins = 50_000.0, {h.PERP: 1.0, INVERSE: 1.0 / 50_000.0}
    scale = spec["scales"]["default"]
    held = [sum(q * coins[i] for i, q in rows.items()) for _, rows in accounts]
    out = [0.0] * len(accounts)
    for owner in {name for name, _ in accounts}:
        mine = [k for k, (name, _) in enumerate(accounts) if name == owner]
        net = sum(held[k] for k in mine)
        threshold = scale["threshold"] * ADV
        if abs(net) <= threshold:
            continue
        over = abs(net) - threshold
        charge = scale["rate"] * (over / threshold) ** scale["power"] * over * price
        side = [max(0.0, held[k] * (1 if net > 0 else -1)) for k in mine]
        for k, part in zip(mine, side):
            out[k] = charge * part / sum(side)
    return out


@pytest.mark.parametrize("seed", range(20))
def test_random_books_against_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = concentration(scale={"power": float(rng.uniform(0.2, 3.0))})
    accounts = []
    for _ in range(12):
        rows = {h.PERP: float(rng.normal(0, 150))}
        if rng.random() < 0.5:
            rows[INVERSE] = float(rng.normal(0, 5e6))
        accounts.append((f"o{rng.integers(4)}", rows))
    files = [
        h.account(*rows.items(), name=f"a{k}", owner=owner)
        for k, (owner, rows) in enumerate(accounts)
    ]
    got = by_account(h.rules(spec), market(), *files)
    assert got == pytest.approx(slow(accounts, spec), rel=1e-11, abs=1e-6)


def test_a_broken_account_takes_its_owner_with_it_and_nobody_else() -> None:
    rules = h.rules(concentration())
    accounts = [
        h.account((h.PERP, 200.0), name="good", owner="o"),
        h.account((h.PERP, 250.0), name="other"),
        h.account(("SOL_USDC-PERPETUAL", 1.0), name="bad", owner="o"),
        h.account((h.PERP, 200.0), name="third", owner="p"),
        h.account((h.PERP, 100.0), name="fourth", owner="p"),
    ]
    found = evaluate_book(book_from_accounts(accounts), market(), rules)
    reasons = {found.account_ids[k]: e for k, e in found.failures.items()}
    assert set(reasons) == {"good", "bad"}
    assert reasons["bad"].code == "MKT-001"
    assert reasons["good"].code == "RUL-034" and "'bad'" in str(reasons["good"])
    assert found.im[3] + found.im[4] == pytest.approx(h.im(rules, market(), (h.PERP, 300.0)))
    # Where the rules look at accounts one by one, the other goes on.
    apart = evaluate_book(
        book_from_accounts(accounts), market(), h.rules(concentration(aggregate="account"))
    )
    assert [apart.account_ids[k] for k in apart.failures] == ["bad"]


def test_accounts_that_fail_only_together_share_the_reason() -> None:
    rules = h.rules(concentration(), combine={"im": "100000 - size", "mm": "0 * size"})
    halves = [h.account((h.PERP, 150.0), name=n, owner="o") for n in "ab"]
    alone = [evaluate_book(book_from_accounts([one]), market(), rules) for one in halves]
    assert not any(one.failures for one in alone)
    found = evaluate_book(book_from_accounts(halves), market(), rules)
    assert {k: e.code for k, e in found.failures.items()} == {0: "RUL-033", 1: "RUL-033"}


# ------------------------------------------------------------------------------ orders


def test_orders_take_the_worse_side_over_all_accounts() -> None:
    rules = h.rules(concentration())
    buy = {"id": "1", "legs": [{"instrument": h.PERP, "quantity": 150.0}]}
    sell = {"id": "2", "legs": [{"instrument": h.PERP, "quantity": -900.0}]}
    accounts = [
        h.account((h.PERP, 200.0), name="a", owner="o", orders=[buy]),
        h.account((h.PERP, 50.0), name="b", owner="o", orders=[sell]),
    ]
    frame = frame_for(book_from_accounts(accounts), market(), rules)
    plain, after = requirement(frame), requirement(frame, orders=True)
    short = h.im(rules, market(), (h.PERP, -650.0))  # 250 − 900, worse than 250 + 150
    assert float(plain.im.sum()) == pytest.approx(h.im(rules, market(), (h.PERP, 250.0)))
    assert float(after.parts["size"].im.sum()) == pytest.approx(short, rel=1e-12)
    # All of it is on the account whose fills make the owner short.
    assert after.parts["size"].im.tolist() == pytest.approx([0.0, short])


@pytest.mark.parametrize("seed", range(8))
def test_orders_against_every_combination_of_fills(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rules = h.rules(impact(scale={"risk_multiple": 1.0}))
    held = float(rng.normal(0, 200))
    fills = rng.normal(0, 150, size=4).tolist()
    orders = [
        {"id": str(k), "legs": [{"instrument": h.PERP, "quantity": q}]} for k, q in enumerate(fills)
    ]
    got = h.need(rules, market(), (h.PERP, held), orders=True, name="x")
    assert got is not None
    frame = h.frame(h.account((h.PERP, held), orders=orders), rules, market())
    best = 0.0
    for chosen in itertools.product([0.0, 1.0], repeat=4):
        total = held + sum(c * q for c, q in zip(chosen, fills))
        best = max(best, h.im(rules, market(), (h.PERP, total)))
    assert float(requirement(frame, orders=True).parts["exit"].im[0]) == pytest.approx(
        best, rel=1e-12
    )


@pytest.mark.parametrize("seed", range(8))
def test_orders_of_several_legs_fill_whole(seed: int) -> None:
    """Two accounts, orders with legs in both contracts: every combination, whole orders only."""
    rng = np.random.default_rng(seed)
    rules = h.rules(concentration(), impact(scale={"risk_multiple": 1.0}))
    fills = rng.normal(0, 200, size=(6, 2))
    orders = [
        {
            "id": str(k),
            "legs": [
                {"instrument": h.PERP, "quantity": float(a)},
                {"instrument": INVERSE, "quantity": float(b) * 50_000.0},
            ],
        }
        for k, (a, b) in enumerate(fills)
    ]
    accounts = [
        h.account((h.PERP, 120.0), name="a", owner="o", orders=orders[:3]),
        h.account((INVERSE, -4e6), name="b", owner="o", orders=orders[3:]),
    ]
    best = 0.0
    for chosen in itertools.product([0.0, 1.0], repeat=6):
        total = 120.0 - 80.0 + float(np.array(chosen) @ fills.sum(axis=1))
        best = max(best, h.im(rules, market(), (h.PERP, total)))
    for by in ("account", "settlement"):
        made = Ruleset(msgspec.structs.replace(rules.data, pools=Pools(by=by)))
        frame = frame_for(book_from_accounts(accounts), market(), made)
        need = requirement(frame, orders=True)
        total = need.im @ frame.pot_usd
        lost = float(total) - best
        assert lost == pytest.approx(0.0, abs=1e-9 * best)


# ------------------------------------------------------------------------------ shares, statement


@pytest.mark.parametrize("horizon", ["whole-days", "smooth"])
@pytest.mark.parametrize("per", ["underlying", "instrument"])
def test_shares_add_up(horizon: str, per: str) -> None:
    own = market(**{h.PERP: BTC, INVERSE: BTC, h.CALL: BTC, h.ETH_PERP: BTC})
    rules = h.rules(
        h.flat_rate(0.05, 0.02),
        concentration(per=per, scale={"power": 1.7, "max_rate": 0.05}),
        impact(per=per, horizon=horizon, scale={"risk_multiple": 2.0}),
        combine={"im": "futures + max(size, 0.5 * exit) + exit", "mm": "futures"},
    )
    who = h.account(
        (h.PERP, 380.0), (INVERSE, -3e6), (h.CALL, -60.0), (h.ETH_PERP, 9_000.0), owner="o"
    )
    frame = h.frame(who, rules, own)
    found = shares(frame)
    assert found.total == pytest.approx(float(requirement(frame).im.sum()), rel=1e-14)
    lines = float(found.position.sum()) + found.fixed + found.jumps
    assert lines == pytest.approx(found.total, rel=1e-9)
    # Days that are rounded up are steps; without rounding there is none.
    assert (found.jumps == 0.0) == (horizon == "smooth")
    assert found.position[1] < 0 or per == "instrument"


def test_shares_of_an_owners_accounts_add_up_account_by_account() -> None:
    """Also under an expression that treats the accounts differently."""
    rules = h.rules(
        h.flat_rate(0.05, 0.02),
        concentration(scale={"power": 1.3}),
        combine={"im": "max(futures, 2 * size)", "mm": "futures"},
    )
    accounts = [
        h.account((h.PERP, 500.0), (INVERSE, -2e6), name="a", owner="o"),
        h.account((h.PERP, 20.0), name="b", owner="o"),
        h.account((h.PERP, -60.0), name="c", owner="o"),
    ]
    frame = frame_for(book_from_accounts(accounts), market(), rules)
    found = shares(frame)
    assert float(found.position.sum()) + found.jumps == pytest.approx(found.total, rel=1e-9)
    assert found.jumps == 0.0
    by_pot = np.bincount(frame.arrangement.position_pot, weights=found.position)
    assert by_pot == pytest.approx(requirement(frame).im, rel=1e-9)


def test_shares_of_a_book_that_nearly_cancels() -> None:
    """3.5 coins of 728: rounding of the net must not use up the panels and look like a jump."""
    rules = h.rules(
        concentration(scale={"power": 2.727252648882512}),
        impact(horizon="smooth", scale={"risk_multiple": 1.0}),
    )
    held = [
        (h.PERP, -136.1472729550484),
        (INVERSE, -32.41875029367587 * 50_000.0),
        (h.PERP, 188.20276228425317),
        (h.PERP, -197.03074122673087),
        (h.PERP, 51.597116957735295),
        (h.PERP, 122.3208635070469),
    ]
    accounts = [h.account(row, name=f"a{k}", owner="o") for k, row in enumerate(held)]
    frame = frame_for(book_from_accounts(accounts), market(), rules)
    found = shares(frame)
    assert found.jumps == 0.0
    assert float(found.position.sum()) == pytest.approx(found.total, rel=1e-9)
    # One law, all on one side: spread and impact are shared in proportion to size.
    short = np.array([q for _, q in held])
    short[1] /= 50_000.0
    weight = np.maximum(-short, 0.0) / np.maximum(-short, 0.0).sum()
    assert found.position == pytest.approx(found.total * weight, rel=1e-8)


def test_statement_shows_the_add_on_and_can_be_computed_again() -> None:
    rules = h.rules(h.flat_rate(0.05, 0.02), concentration(), impact())
    who = h.account((h.PERP, 300.0), balances={"USDC": 5e6}, owner="house")
    made = make_statement(who, market(), rules)
    lines = {line.name: line.im_usd for line in made.components}
    assert lines["size"] == pytest.approx(400_000.0)
    assert lines["exit"] > 0
    assert made.totals.im == pytest.approx(sum(lines.values()))
    assert any("'house'" in note and "only this account" in note for note in made.notes)
    assert recompute(made) == made
    assert [entry.underlying for entry in made.inputs.market.liquidity] == ["BTC"]
    alone = make_statement(h.account((h.PERP, 300.0)), market(), rules)
    assert not any("only this account" in note for note in alone.notes)


def test_standalone_margins_see_each_position_alone() -> None:
    rules = h.rules(concentration())
    made = make_statement(h.account((h.PERP, 150.0), (INVERSE, 7_500_000.0)), market(), rules)
    alone = [p.standalone_im_usd for p in made.positions]
    assert alone == pytest.approx([h.im(rules, market(), (h.PERP, 150.0))] * 2, rel=1e-12)
    assert made.totals.im > sum(alone)


def test_liquidation_price_sees_the_add_on() -> None:
    plain, dear = h.rules(h.flat_rate(0.05, 0.02)), h.rules(h.flat_rate(0.05, 0.02), impact())
    who = h.account((h.PERP, 300.0, 50_000.0), balances={"USDC": 3e6})
    found = [make_statement(who, market(), r).liquidation[0].down.price_usd for r in (plain, dear)]
    price, unit = found[1], SPREAD + SIGMA * math.sqrt(0.3)
    assert found[0] < price
    # 3 m + 300·(P − 50,000) = (2 % + unit)·300·P
    assert price == pytest.approx((50_000 * 300 - 3e6) / (300 * (1 - 0.02 - unit)), rel=1e-9)


def test_one_account_alone_equals_its_place_in_a_book_of_owners() -> None:
    rules = h.rules(concentration(), impact())
    accounts = [h.account((h.PERP, 90.0 * k), name=f"a{k}") for k in range(1, 5)]
    together = by_account(rules, market(), *accounts)
    alone = [evaluate(book_from_accounts([a]), market(), rules).im_usd for a in accounts]
    assert together == pytest.approx(alone, rel=1e-13)


def test_errors_name_the_account() -> None:
    with pytest.raises(CrossmarginError) as caught:
        evaluate(
            book_from_accounts([h.account((h.PERP, 1.0), name="who")]),
            h.fixture_g(),
            h.rules(concentration()),
        )
    assert caught.value.account == "who"
