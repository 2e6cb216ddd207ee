"""The engine against a second implementation written apart from it, and against venues' figures.

`tests/oracles/margin_oracle.py` repeats the margin rules in plain scalar Python. Random accounts,
every shipped rule-set and every parameter at its extremes must agree to 1e-10; the venues' own
worked examples hold both.
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path
from typing import Any

import mpmath
import pytest

from crossmargin.margin.ruleset import (
    Ruleset,
    load_ruleset,
    ruleset_from_dict,
    ruleset_ids,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracles.compare import Comparison, compare, engine_result
from oracles.margin_oracle import black76, evaluate
from oracles.random_accounts import account, market

COINS = ("USDC", "BTC", "ETH", "STETH")
KINDS = ("perp", "future", "option", "spot")
#: What each rule-set has parameters for: kinds of instruments, and assets under balances.
COVERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "deribit-sm": ((*KINDS, "sol"), (*COINS, "USDT")),
    "deribit-sm-cross": ((*KINDS, "sol"), COINS),
    "deribit-pm": (KINDS, (*COINS, "USDT")),
    "deribit-pm-cross": (KINDS, COINS),
    # The venue takes USDC only: a coin held as spot has no haircut there and is refused.
    "paradex-pm": ((*(k for k in KINDS if k != "spot"), "sol", "steth"), ("USDC",)),
    "hyperliquid": (("perp", "sol"), ("USDC",)),
    "hyperliquid-isolated": (("perp", "sol"), ("USDC",)),
    "isolated": ((*KINDS, "sol"), (*COINS, "USDT", "SOL")),
    "isolated-whole": ((*KINDS, "sol"), (*COINS, "USDT", "SOL")),
    "okx-pm": (("perp", "usdt", "future", "option", "spot"), ("USDC", "USDT", "BTC", "ETH")),
    "bybit-pm": (("perp", "usdt", "future", "option"), ("USDC", "USDT", "BTC", "ETH")),
    "span": ((*KINDS, "usdt"), (*COINS, "USDT")),
    "occ-tims": ((*KINDS, "sol"), (*COINS, "USDT", "SOL")),
}
#: Rule-sets that another file holds to outside figures or to an oracle of their own.
HELD_ELSEWHERE = {
    "house": "unit/margin/test_house.py",
    "derive-pm1": "golden/test_derive_cases.py",
    "derive-pm2": "golden/test_derive_cases.py",
    "derive-srm": "golden/test_derive_cases.py",
    "aave-v3": "unit/margin/test_weights_of_venues.py",
    "binance-coinm": "unit/margin/test_brackets_of_venues.py",
    "binance-pm": "unit/margin/test_weights_of_venues.py",
    "binance-usdm": "unit/margin/test_brackets_of_venues.py",
    "binance-usdm-multi": "unit/margin/test_brackets_of_venues.py",
    "bybit-uta": "unit/margin/test_brackets_of_venues.py",
    "drift-v2": "unit/margin/test_weights_of_venues.py",
    "dydx-v4": "unit/margin/test_exact_integer.py",
    "hyperliquid-pm": "unit/margin/test_weights_of_venues.py",
    "mango-v4": "unit/margin/test_weights_of_venues.py",
    "okx-multi": "unit/margin/test_options_of_venues.py",
}
SEEDS = range(4)
WORST_FILL = {"orders.method": "worst-fill"}
#: Figures that rule-sets do not have, made up so that everything in them is computed.
VOLS = {
    f"scenarios.underlyings.{coin}.{field}": size
    for coin in ("BTC", "ETH")
    for field, size in (("vol_up", 0.4), ("vol_down", 0.3))
}
SUPPLIED: dict[str, dict[str, Any]] = {
    # The venue has linear perpetuals alone; the random accounts hold inverse ones too.
    "hyperliquid": {"instruments": ["perpetual", "inverse-perpetual"]},
    "hyperliquid-isolated": {"instruments": ["perpetual", "inverse-perpetual"]},
    "okx-pm": {
        **VOLS,
        "collateral.assets.default.haircut": 0.05,
        "collateral.assets.BTC": {"haircut": 0.02},  # the tiers are held in test_collateral.py
        **{f"components.{name}.left_out": True for name in ("mr2", "mr3", "mr5")},
    },
    "bybit-pm": {
        **VOLS,
        "collateral.assets.default.haircut": 0.05,
        "collateral.assets.BTC": {"haircut": 0.02},  # the tiers are held in test_collateral.py
        "components.net_short_options.underlyings.default.index": 0.01,
        "components.futures_contingency.underlyings": {
            "BTC": {"index": 0.002},
            "default": {"index": 0.003, "usd": 0.5},
        },
        "components.stablecoin_spread.levels": [
            {
                "from_price": 0.0,
                "sizes": [{"floor": 0.0, "rate": 0.01}, {"floor": 1e5, "rate": 0.02}],
            }
        ],
        "components.im_factor.value": 1.25,
    },
    "occ-tims": {
        "components.product_credit.products": [{"members": ["BTC", "ETH", "SOL"], "offset": 0.5}]
    },
    "span": {"components.delivery.underlyings.BTC": {"days": 20.0, "index": 0.01, "usd": 3.0}},
}
#: Components for which open orders give an upper bound, with single legs and with combinations.
BOUNDS: dict[str, tuple[str, ...]] = {
    "paradex-pm": ("min_delta",),
    "okx-pm": ("mr9",),
    "bybit-pm": ("delta_spread", "vega_spread", "stablecoin_spread"),
    "span": ("intra",),
}
COMBO_BOUNDS = (
    "roll_shock",
    "min_delta",
    "mr4",
    "mr7",
    "mr9",
    "delta_spread",
    "vega_spread",
    "stablecoin_spread",
    "futures_contingency",
    "net_short_options",
    "intra",
    "delivery",
    "short_option_minimum",
    "minimum",
)
#: Funding nets by group here and by subset there: held to each other in a test of its own.
IGNORED = ("funding_provision",)
QUIET = {"paradex-pm": {"components.funding_provision.hours": 1e-9}}


def some_accounts(
    rules: str,
    seed: int,
    number: int,
    *,
    usd: float = 2_000_000.0,
    orders: str = "",
    coins: tuple[str, ...] | None = None,
    kinds: tuple[str, ...] | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    data, names = market(seed)
    rng = random.Random(f"{seed}/{number}/{orders}")
    own_kinds, own_coins = COVERS[rules]
    return data, [
        account(
            rng,
            f"market{seed}-account{row}",
            data,
            names,
            kinds=kinds or own_kinds,
            coins=coins or own_coins,
            usd=usd,
            orders=orders,
            wallets=load_ruleset(rules).data.pools.by == "position",
        )
        for row in range(number)
    ]


def rules_for(name: str, **more: Any) -> Ruleset:
    """A shipped rule-set with everything it lacks supplied."""
    return load_ruleset(name, overrides={**SUPPLIED.get(name, {}), **more})


def settle(found: Comparison) -> None:
    assert found.values > 0
    assert not found.faults, f"{len(found.faults)} disagree:\n" + "\n".join(found.faults[:20])


# ------------------------------------------------------------------------------ random accounts


def test_every_rule_set_is_held() -> None:
    assert sorted([*COVERS, *HELD_ELSEWHERE]) == sorted(ruleset_ids())
    for file in set(HELD_ELSEWHERE.values()):
        assert (Path(__file__).parents[1] / file).is_file()


@pytest.mark.parametrize("name", sorted(COVERS))
def test_random_accounts_agree(name: str) -> None:
    """320 accounts a rule-set, each market's accounts in one book."""
    found = Comparison()
    for seed in SEEDS:
        data, accounts = some_accounts(name, seed, 80)
        compare(accounts, data, rules_for(name), into=found)
    settle(found)


@pytest.mark.parametrize("name", sorted(COVERS))
def test_an_account_alone_is_the_same_as_in_a_book(name: str) -> None:
    found = Comparison()
    for seed in SEEDS:
        data, accounts = some_accounts(name, seed, 6)
        compare(accounts, data, rules_for(name), one_by_one=True, into=found)
    settle(found)


@pytest.mark.parametrize("name", sorted(COVERS))
def test_large_accounts_agree(name: str) -> None:
    """Positions that reach the upper brackets, the offset caps and past the dampeners."""
    overrides = {"components.delta_shock.growth": "linear"} if "deribit-pm" in name else {}
    found = Comparison()
    for seed in SEEDS:
        data, accounts = some_accounts(name, seed, 25, usd=600_000_000.0)
        compare(accounts, data, rules_for(name, **overrides), into=found)
    settle(found)


@pytest.mark.parametrize("name", sorted(COVERS))
def test_open_orders_agree(name: str) -> None:
    """Worst fills by brute force over every subset of orders and quotes.

    The engine's least delta over several instruments with orders is an upper bound.
    """
    found = Comparison(bounds=BOUNDS.get(name, ()), ignore=IGNORED)
    rules = rules_for(name, **WORST_FILL, **QUIET.get(name, {}))
    for seed in SEEDS:
        data, accounts = some_accounts(name, seed, 16, orders="single")
        compare(accounts, data, rules, orders=True, into=found)
        compare(accounts, data, rules, orders=False, into=found)
    settle(found)


@pytest.mark.parametrize("name", sorted(COVERS))
def test_combination_orders_agree(name: str) -> None:
    """Orders of several legs: the scan exactly, basis and least delta as upper bounds."""
    found = Comparison(bounds=COMBO_BOUNDS, ignore=IGNORED)
    rules = rules_for(name, **WORST_FILL, **QUIET.get(name, {}))
    for seed in SEEDS:
        data, accounts = some_accounts(name, seed, 16, orders="combos")
        compare(accounts, data, rules, orders=True, into=found)
    settle(found)


# ------------------------------------------------------------------- parameters at their extremes

PM = "deribit-pm-cross"
SEG = "deribit-pm"
BTC = "scenarios.underlyings.BTC"
SCAN = "components.worst_case"
PAIR = {"groups": ["BTC", "ETH"], "value": 0.6}
PME = {"source": "pme_2026"}
LINEAR = {"components.delta_shock.growth": "linear"}

EXTREMES: list[tuple[str, dict[str, Any]]] = [
    (PM, {"scenarios.cap_linear": False}),
    (PM, {"scenarios.reference_days": 1e-3}),
    (PM, {"scenarios.reference_days": 1e4}),
    (PM, {f"{BTC}.price_range": 0.999}),
    (PM, {f"{BTC}.price_range": 1e-4}),
    (PM, {f"{BTC}.vol_up": 0.0, f"{BTC}.vol_floor_up": 0.0}),
    (PM, {f"{BTC}.vol_up": 10.0}),
    (PM, {f"{BTC}.vol_down": 1.0}),
    (PM, {f"{BTC}.vol_down": 0.0}),
    (PM, {f"{BTC}.vol_floor_up": 5.0}),
    (PM, {f"{BTC}.short_power": 0.0, f"{BTC}.long_power": 0.0}),
    (PM, {f"{BTC}.short_power": 2.0, f"{BTC}.long_power": 2.0}),
    (PM, {f"{BTC}.days_floor": 1000.0}),
    (PM, {f"{BTC}.extended_factor": 0.0}),
    (PM, {f"{BTC}.extended_factor": 100.0}),
    (PM, {"scenarios.blocks.1.weight": 0.0}),
    (PM, {"scenarios.blocks.1.weight": [0.24, 0.48, 0.32, 0.16, 0.08, 0.0533, 0.04, 0.032]}),
    (PM, {"scenarios.blocks.1.extended": False}),
    (PM, {"scenarios.blocks.0.extended": True}),
    (PM, {"scenarios.blocks.0.vols": ["down"]}),
    (PM, {"scenarios.blocks.0.moves": [0.0]}),
    (PM, {f"{SCAN}.tail_gains_count": True}),
    (PM, {f"{SCAN}.conversion": "base"}),
    (SEG, {f"{SCAN}.conversion": "shocked"}),
    (SEG, {f"{SCAN}.tail_gains_count": True}),
    (PM, {f"{SCAN}.currencies": {}}),
    (PM, {f"{SCAN}.currencies": {"default": {"pnl_offset": 0.5, "dampener_usd": 1e4}}}),
    (PM, {f"{SCAN}.currencies.USDC": {"pnl_offset": 0.9, "max_offset_usd": 5e3}}),
    (PM, {f"{SCAN}.currencies.BTC": {"pnl_offset": 1.0, "max_offset_usd": 0.0}}),
    (PM, {f"{SCAN}.currencies.BTC": {"pnl_offset": 1.0, "max_offset_usd": 1e-3}}),
    (PM, {f"{SCAN}.currencies.BTC": {"pnl_offset": 1.0}}),
    (PM, {f"{SCAN}.currencies.BTC.dampener_usd": 0.0, f"{SCAN}.currencies.USD.dampener_usd": 0.0}),
    (PM, {f"{SCAN}.currencies.BTC.dampener_usd": 1e12}),
    (SEG, {f"{SCAN}.currencies.ETH.max_offset_usd": 100.0}),
    (PM, {"components.roll_shock.currencies.BTC": {"floor": 0.0, "annual": 0.0}}),
    (PM, {"components.roll_shock.currencies.BTC": {"floor": 10.0, "annual": 0.0}}),
    (PM, {"components.roll_shock.currencies.USD": {"floor": 0.0, "annual": 10.0}}),
    (PM, {**LINEAR, "components.delta_shock.underlyings.BTC.threshold_usd": 0.0}),
    (
        PM,
        {
            **LINEAR,
            "components.delta_shock.underlyings.BTC": {
                "threshold_usd": 1e4,
                "per_coin": 1.0,
                "max_shock": 1.0,
            },
        },
    ),
    (
        SEG,
        {
            **LINEAR,
            "components.delta_shock.underlyings.ETH": {
                "threshold_usd": 0.0,
                "per_coin": 1e-3,
                "max_shock": 0.05,
            },
        },
    ),
    (PM, {**LINEAR, "components.delta_shock.underlyings.ETH.max_shock": 0.0}),
    (PM, {"collateral.assets.BTC.stress": "up"}),
    (PM, {"collateral.assets.BTC.stress": "down"}),
    (PM, {"collateral.assets.BTC.stress": "none"}),
    (
        PM,
        {
            "collateral.assets.USDC.stress": "both",
            "scenarios.underlyings.USDC": {"price_range": 0.02},
        },
    ),
    (SEG, {"collateral.assets.BTC": {"stress": "both", "haircut": 0.5}}),
    (PM, {"collateral.assets.BTC.haircut": 1.0}),
    (PM, {"collateral.assets.USDC.haircut": 0.5, "collateral.haircut_levels": ["im", "mm"]}),
    (PM, {"collateral.assets.ETH.haircut": 0.3, "collateral.haircut_levels": ["mm"]}),
    (PM, {"collateral.assets.ETH.haircut": 0.3, "collateral.haircut_levels": []}),
    (PM, {"combine.im": "max(worst_case, roll_shock) * 1.3", "combine.mm": "worst_case"}),
    (PM, {"offset": {**PME, "method": "pair-credit", "pairs": [PAIR]}}),
    (PM, {"offset": {**PME, "method": "pair-credit", "pairs": [{**PAIR, "value": 1.0}]}}),
    (PM, {"offset": {**PME, "method": "pair-credit", "pairs": [{**PAIR, "max_credit_usd": 1e3}]}}),
    (PM, {"offset": {**PME, "method": "pair-credit", "pairs": [PAIR], "active": False}}),
    (SEG, {"offset": {**PME, "method": "pair-credit", "pairs": [PAIR]}}),
    (PM, {"offset": {**PME, "method": "correlation", "pairs": [{**PAIR, "value": 0.0}]}}),
    (PM, {"offset": {**PME, "method": "correlation", "pairs": [{**PAIR, "value": 0.8}]}}),
    (PM, {"offset": {**PME, "method": "correlation", "pairs": [{**PAIR, "value": 1.0}]}}),
    ("paradex-pm", {"components.min_delta.net_rate": 0.0, "components.min_delta.hedged_rate": 0.0}),
    ("paradex-pm", {"components.min_delta.net_rate": 10.0}),
    ("paradex-pm", {"components.min_delta.hedged_rate": 10.0}),
    ("paradex-pm", {"components.funding_provision.hours": 1e-9}),
    ("paradex-pm", {"components.funding_provision.hours": 8760.0}),
    ("paradex-pm", {"components.fee_provision.rate": 0.0}),
    ("paradex-pm", {"components.fee_provision.rate": 1e-3}),
    ("paradex-pm", {"components.fee_provision.rate": 10.0}),
    ("paradex-pm", {"components.scan.tail_gains_count": False}),
    ("paradex-pm", {"scenarios.underlyings.default.days_floor": 0.0}),
    ("deribit-sm", {"components.futures.price": "mark"}),
    ("deribit-sm", {"components.futures.kinds": ["perpetual"]}),
    ("deribit-sm", {"components.futures.slopes.BTC": {"im": 0.0, "mm": 0.0, "per_coin": 0.0}}),
    ("deribit-sm", {"components.futures.slopes.BTC": {"im": 10.0, "mm": 10.0, "per_coin": 10.0}}),
    (
        "deribit-sm",
        {"components.options.factors.BTC": {"otm_base": 0.0, "otm_floor": 0.0, "mm": 0.0}},
    ),
    (
        "deribit-sm",
        {"components.options.factors.BTC": {"otm_base": 1.0, "otm_floor": 1.0, "mm": 1.0}},
    ),
    (
        "deribit-sm-cross",
        {"components.options.factors.ETH": {"otm_base": 0.0, "otm_floor": 0.0, "mm": 1.0}},
    ),
    ("isolated", {"components.futures.use_leverage": False}),
    ("isolated", {"components.futures.price": "index"}),
    ("isolated", {"components.futures.tiers.default": [{"floor": 0.0, "im": 10.0, "mm": 10.0}]}),
    (
        "isolated",
        {
            "components.futures.tiers.BTC_USDC": [
                {"floor": 0.0, "im": 0.0, "mm": 0.0},
                {"floor": 1e3, "im": 0.1, "mm": 0.05},
                {"floor": 1e5, "im": 1.0, "mm": 0.5},
                {"floor": 1e6, "im": 10.0, "mm": 10.0},
            ]
        },
    ),
    (
        "isolated-whole",
        {
            "components.futures.tiers.BTC": [
                {"floor": 0.0, "im": 0.01, "mm": 0.005},
                {"floor": 1e4, "im": 0.02, "mm": 0.01},
                {"floor": 1e6, "im": 0.5, "mm": 0.4},
            ]
        },
    ),
    ("isolated", {"collateral.assets.default.haircut": 1.0}),
    ("isolated", {"pools.by": "account"}),
    ("isolated-whole", {"pools.by": "account", "collateral.assets.BTC": {"haircut": 0.2}}),
]


@pytest.mark.parametrize(("name", "overrides"), EXTREMES, ids=lambda v: str(v)[:90])
def test_parameters_at_their_extremes(name: str, overrides: dict[str, Any]) -> None:
    found = Comparison()
    rules = load_ruleset(name, overrides=overrides)
    for seed in SEEDS:
        data, accounts = some_accounts(name, seed, 8)
        compare(accounts, data, rules, into=found)
    settle(found)


@pytest.mark.parametrize("fee_rate", [0.0, 5e-4, 10.0])
@pytest.mark.parametrize("name", [PM, SEG, "isolated", "deribit-sm"])
def test_fees_of_fills_agree(name: str, fee_rate: float) -> None:
    found = Comparison()
    rules = load_ruleset(name, overrides={**WORST_FILL, "orders.fee_rate": fee_rate})
    for seed in SEEDS:
        data, accounts = some_accounts(name, seed, 5, orders="single")
        compare(accounts, data, rules, orders=True, into=found)
    settle(found)


@pytest.mark.parametrize(("im", "mm"), [(0.0, 0.0), (0.1, 0.02), (10.0, 10.0)])
@pytest.mark.parametrize("name", [PM, SEG, "isolated"])
def test_margin_on_debt_agrees(name: str, im: float, mm: float) -> None:
    """Venue figure: 10 % IM and 2 % MM of the borrowed value (OKX's documentation example)."""
    base = load_ruleset(name).as_dict()
    borrow = {
        "kind": "borrow", "name": "debt", "source": next(iter(base["sources"])),
        "confidence": "house", "im": im, "mm": mm,
    }  # fmt: skip
    base["components"].append(borrow)
    base.pop("extends")
    rules = ruleset_from_dict(base)
    found = Comparison()
    for seed in SEEDS:
        data, accounts = some_accounts(name, seed, 15)
        compare(accounts, data, rules, into=found)
    settle(found)


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("flagged", [["BTC"], ["BTC", "ETH"]])
def test_correlation_contingency_agrees(rate: float, flagged: list[str]) -> None:
    overrides = {
        "components.correlation.flagged": flagged,
        "components.correlation.rate": rate,
    }
    found = Comparison()
    for seed in SEEDS:
        data, accounts = some_accounts(PM, seed, 8)
        compare(accounts, data, load_ruleset(PM, overrides=overrides), into=found)
    settle(found)


# ------------------------------------------------------------------------- where the two disagree
# Not strict: each goes green when the engine (or the reading) changes; then remove the mark.


@pytest.mark.parametrize("name", ["deribit-pm", "deribit-pm-cross"])
def test_aliased_underlyings_agree(name: str) -> None:
    """stETH contracts stand in the ETH group, each valued at its own price."""
    found = Comparison()
    for seed in SEEDS:
        data, accounts = some_accounts(name, seed, 20, kinds=("perp", "steth", "future"))
        compare(accounts, data, rules_for(name), into=found)
    settle(found)


def test_row_order_does_not_change_the_roll_charge() -> None:
    data, _ = market(0)
    rows = [("ETH_USDC-PERPETUAL", 5.0), ("STETH_USDC-PERPETUAL", 10.0)]
    group = (("cross", "USDC", None), "ETH")
    charges = [
        both(order, data, load_ruleset("deribit-pm"))[0]["groups"][group]["parts"]["roll_shock"][0]
        for order in (rows, rows[::-1])
    ]
    assert near(charges[0], charges[1], 1e-9)


@pytest.mark.parametrize("part", ["funding_provision", "fee_provision"])
def test_provisions_take_fills(part: str) -> None:
    data, _ = market(0)
    file = {
        "format": "crossmargin-account/1",
        "account": "one order",
        "balances": [{"asset": "USDC", "amount": 1_000_000}],
        "positions": [{"instrument": PERP, "quantity": 3.0, **MARK}],
        "orders": [{"id": "o", "legs": [{"instrument": PERP, "quantity": 1.0}]}],
    }
    rules = load_ruleset(
        "paradex-pm", overrides={**WORST_FILL, "components.fee_provision.rate": 1e-3}
    )
    found = Comparison()
    compare([file], data, rules, orders=True, into=found)
    assert not [f for f in found.faults if part in f]


def test_fences_come_out_of_a_wallet() -> None:
    """An account that owns nothing has no equity, however large its position."""
    data, _ = market(0)
    file = {
        "format": "crossmargin-account/1",
        "account": "penniless",
        "positions": [{"instrument": PERP, "quantity": 1.0, **MARK}],
    }
    rules = load_ruleset("isolated")
    for result in (evaluate(file, data, rules.as_dict()), engine_result([file], data, rules)[0]):
        assert near(sum(pot["equity_im"] for pot in result["pots"].values()), 0.0, 1e-9)


def test_leverage_with_slopes() -> None:
    found = Comparison()
    rules = load_ruleset("deribit-sm", overrides={"components.futures.use_leverage": True})
    for seed in SEEDS:
        data, accounts = some_accounts("deribit-sm", seed, 8)
        compare(accounts, data, rules, into=found)
    settle(found)


@pytest.mark.parametrize("name", ["deribit-pm", "paradex-pm"])
def test_legs_of_one_order_fill_together(name: str) -> None:
    """Selling spot and buying the perpetual in one order moves no delta."""
    data, _ = market(0)
    file = {
        "format": "crossmargin-account/1",
        "account": "combination",
        "balances": [{"asset": "USDC", "amount": 1_000_000}],
        "positions": [{"instrument": PERP, "quantity": 3.0, **MARK}],
        "orders": [
            {
                "id": "o",
                "legs": [
                    {"instrument": PERP, "quantity": 1.0},
                    {"instrument": "BTC_USDC", "quantity": -1.0},
                ],
            }
        ],
    }
    found = Comparison(ignore=IGNORED)
    rules = load_ruleset(name, overrides=WORST_FILL)
    compare([file], data, rules, orders=True, into=found)
    # The least delta takes the legs apart: an upper bound, never below the worst fill.
    assert not [f for f in found.faults if "roll_shock" in f]


def test_surface_is_read_at_the_strike_in_dollars() -> None:
    """With USDC at 0.90, a strike of 50,000 USDC is one of 45,000 dollars."""
    data = fixture_g()
    expiry = data["forwards"][0]["expiry"]
    data["assets"][2]["price_usd"] = 0.90
    data["instruments"] = [{"instrument": "BTC-13MAR26-45000-C", "vol": 0.8}]
    svi = {"a": 0.01, "b": 0.1, "rho": -0.5, "m": 0.0, "sigma": 0.2, "k_min": -1, "k_max": 1}
    data["surfaces"] = [{"underlying": "BTC", "expiry": expiry, "forward_usd": 50_000, **svi}]
    x = math.log(45_000 / 50_000)
    w = 0.01 + 0.1 * (-0.5 * x + math.sqrt(x * x + 0.04))
    years = 30 / 365
    expected = 0.90 * black76(50_000 / 0.90, 50_000.0, math.sqrt(w / years), years, True)
    result = both([(CALL, 1.0)], data, load_ruleset("paradex-pm"))[0]
    assert near(result["pots"]["cross", "USD", None]["equity_mm"] - 900_000, expected, 1e-8)


def test_dust_does_not_lower_the_requirement() -> None:
    """10 stETH against a debt of 9 ETH; then the same with 1e-9 BTC of a perpetual."""
    data, _ = market(0)
    file: dict[str, Any] = {
        "format": "crossmargin-account/1",
        "account": "idle",
        "balances": [{"asset": "STETH", "amount": 10.0}, {"asset": "ETH", "amount": -9.0}],
    }
    rules = load_ruleset("deribit-pm-cross")
    idle = engine_result([file], data, rules)[0]["pots"]["cross", "USD", None]["im"]
    file["positions"] = [{"instrument": PERP, "quantity": 1e-9, **MARK}]
    busy = engine_result([file], data, rules)[0]["pots"]["cross", "USD", None]["im"]
    assert busy > idle - 0.01


# --------------------------------------------------------------------------- the oracle's own sums


def test_the_oracle_prices_wings_to_high_precision() -> None:
    rng = random.Random(3)
    with mpmath.workdps(60):
        for _ in range(400):
            forward = rng.uniform(100, 100_000)
            strike = forward * 10 ** rng.uniform(-1.2, 1.2)
            vol, years = rng.uniform(0.02, 4.0), 10 ** rng.uniform(-5, 0.5)
            deviation = mpmath.mpf(vol) * mpmath.sqrt(years)
            d1 = mpmath.log(mpmath.mpf(forward) / strike) / deviation + deviation / 2
            d2 = d1 - deviation
            call = forward * mpmath.ncdf(d1) - strike * mpmath.ncdf(d2)
            put = strike * mpmath.ncdf(-d2) - forward * mpmath.ncdf(-d1)
            tolerance = 3e-15 * max(forward, strike)
            assert abs(black76(forward, strike, vol, years, True) - call) < tolerance
            assert abs(black76(forward, strike, vol, years, False) - put) < tolerance


# ------------------------------------------------------------------------------- venues' examples


def both(
    positions: list[tuple[str, float]], data: dict[str, Any], rules: Ruleset, asset: str = "USDC"
) -> list[dict[str, Any]]:
    """Engine's and oracle's results for positions settled at the mark."""
    file = {
        "format": "crossmargin-account/1",
        "account": "example",
        "balances": [{"asset": asset, "amount": 1_000_000}],
        "positions": [
            {"instrument": name, "quantity": q, **({} if name[-2:] in ("-C", "-P") else MARK)}
            for name, q in positions
        ],
    }
    return [engine_result([file], data, rules)[0], evaluate(file, data, rules.as_dict())]


MARK = {"entry_price": "mark"}


def near(value: float, figure: float, tolerance: float = 1e-12) -> bool:
    return abs(value - figure) <= tolerance


def test_production_response_of_2026_02_15() -> None:
    """Deribit private/pme/simulate, one ETH-PERPETUAL, portfolio margin."""
    data = {
        "format": "crossmargin-market/1",
        "as_of": "2026-02-15T12:00:00Z",
        "assets": [{"asset": "ETH", "price_usd": 1949.34}],
        "instruments": [{"instrument": "ETH-PERPETUAL", "price_mark": 1949.49}],
    }
    position = [("ETH-PERPETUAL", -0.999487053 * 1949.49)]
    for result in both(position, data, load_ruleset("deribit-pm"), "ETH"):
        group = result["groups"][("cross", "ETH", None), "ETH"]
        pot = result["pots"]["cross", "ETH", None]
        # 27 cells from −18 % to +18 % in steps of 4.5 %, three volatility states each.
        for cell in range(3):
            assert near(group["raw"][24 + cell], -0.15246412672881357)
            assert near(group["vector"][24 + cell], -0.15246412672881357)
            assert near(group["vector"][21 + cell], -0.11888171996035243)
            assert near(group["raw"][cell], 0.21939959699999997)
            assert near(group["vector"][cell], 0.13163975819999998)
            assert near(group["vector"][9 + cell], 0.028257749142408375)
        assert list(group["vector"][27:]) == [0.0] * 8
        assert near(group["parts"]["worst_case"][0], 0.15246412672881357)
        shock = group["parts"]["roll_shock"][0]
        assert near(shock, 0.004997435265)
        # The venue rounds the worst case to nine decimals before it adds: 0.152464127.
        assert near(round(group["parts"]["worst_case"][0], 9) + shock, 0.157461562265)
        assert near(0.8 * (round(group["parts"]["worst_case"][0], 9) + shock), 0.125969249812)
        assert near(pot["im"], 0.15246412672881357 + 0.004997435265)
        assert near(pot["mm"], 0.8 * (0.15246412672881357 + 0.004997435265))


def test_documentation_example_of_2024_06_17() -> None:
    """Deribit API documentation, private/pme/simulate: BTC perpetual and a dated future."""
    data = {
        "format": "crossmargin-market/1",
        "as_of": "2024-06-17T10:22:20.501Z",
        "assets": [{"asset": "BTC", "price_usd": 65666.19}],
        "instruments": [
            {"instrument": "BTC-PERPETUAL", "price_mark": 65910.57},
            {"instrument": "BTC-28JUN24", "price_mark": 67371.75},
        ],
    }
    positions = [
        ("BTC-PERPETUAL", 0.314538364 * 65910.57),
        ("BTC-28JUN24", -0.001187534 * 67371.75),
    ]
    for result in both(positions, data, load_ruleset("deribit-pm"), "BTC"):
        group = result["groups"][("cross", "BTC", None), "BTC"]
        pot = result["pots"]["cross", "BTC", None]
        assert near(group["parts"]["worst_case"][0], 0.05968587238095239)
        shock = group["parts"]["roll_shock"][0]
        assert near(shock, 0.00315725898)
        # Rounded to nine decimals before the sum, as above: 0.059685872.
        assert near(round(group["parts"]["worst_case"][0], 9) + shock, 0.06284313098)
        assert near(0.8 * (round(group["parts"]["worst_case"][0], 9) + shock), 0.050274504784)
        assert near(pot["im"], 0.05968587238095239 + 0.00315725898)
        assert near(pot["mm"], 0.8 * (0.05968587238095239 + 0.00315725898))
        assert max(group["vector"]) == 0.0
        assert max(group["raw"]) > 0.0


GRID = {
    "scenarios.blocks": [
        {
            "moves": [-0.16, -0.12, -0.08, -0.04, 0.0, 0.04, 0.08, 0.12, 0.16],
            "vols": ["up", "same", "down"],
        }
    ],
    "scenarios.underlyings.default": {"price_range": 0.16, "vol_up": 0.5, "vol_down": 0.25},
    "components.min_delta.net_rate": 0.0,
    "components.min_delta.hedged_rate": 0.0,
}


def fixture_g() -> dict[str, Any]:
    """Spot and forward 50,000, options of exactly 30 days, 60 %, a stablecoin at 1."""
    expiry = "2026-03-13T08:00:00Z"
    strikes = ("45000-P", "50000-C", "50000-P", "55000-C", "100000-C")
    return {
        "format": "crossmargin-market/1",
        "as_of": "2026-02-11T08:00:00Z",
        "assets": [
            {"asset": "BTC", "price_usd": 50_000},
            {"asset": "ETH", "price_usd": 3_000},
            {"asset": "USDC", "price_usd": 1.0},
        ],
        "forwards": [{"underlying": "BTC", "expiry": expiry, "price_usd": 50_000}],
        "instruments": [
            {"instrument": "BTC_USDC-PERPETUAL", "price_mark": 50_000, "funding_rate_8h": 0.0},
            {"instrument": "ETH_USDC-PERPETUAL", "price_mark": 3_000, "funding_rate_8h": 0.0},
            *({"instrument": f"BTC_USDC-13MAR26-{s}", "vol": 0.6} for s in strikes),
        ],
    }


PERP = "BTC_USDC-PERPETUAL"
CALL = "BTC_USDC-13MAR26-50000-C"
PUT = "BTC_USDC-13MAR26-50000-P"


@pytest.mark.parametrize(
    ("positions", "margin"),
    [
        ([(CALL, 1.0)], 3_186.30),
        ([(PERP, -0.5)], 4_000.00),
        ([(CALL, 1.0), (PERP, -0.5)], 855.36),
        ([(PERP, 1.0), (CALL, -1.0)], 6_324.81),
        ([(PUT, -1.0)], 6_324.81),
        ([(CALL, -1.0)], 7_001.81),
        ([(PERP, 1.0)], 8_000.00),
        ([(PERP, 1.0), ("BTC_USDC-13MAR26-45000-P", 1.0)], 5_296.55),
        ([("BTC_USDC-13MAR26-45000-P", 1.0)], 1_284.80),
        ([(CALL, -1.0), (PUT, -1.0)], 6_003.61),
    ],
)
def test_fixture_g(positions: list[tuple[str, float]], margin: float) -> None:
    """Requirements A00, A12, B04: scan over the 27 cells, no add-ons."""
    for result in both(positions, fixture_g(), load_ruleset("paradex-pm", overrides=GRID)):
        assert near(result["pots"]["cross", "USD", None]["im"], margin, 0.005)


def test_paradex_tail_row_binds() -> None:
    """Requirement B03: short call K = 100,000; the +500 % row at 3.2 % binds with 6,400."""
    position = [("BTC_USDC-13MAR26-100000-C", -1.0)]
    for result in both(position, fixture_g(), load_ruleset("paradex-pm")):
        vector = result["groups"][("cross", "USD", None), "BTC"]["vector"]
        assert len(vector) == 24
        assert near(-min(vector[:16]), 74.51, 0.005)
        assert min(range(24), key=lambda s: vector[s]) == 23
        assert near(-vector[23], 6_400.00, 0.005)


def test_paradex_minimum_delta() -> None:
    """Requirement B03: net 0.5 and hedged 1.0 at 70,000 give 1,400."""
    data = fixture_g()
    data["assets"][0]["price_usd"] = 70_000
    data["forwards"][0]["price_usd"] = 70_000
    data["instruments"][0]["price_mark"] = 70_000
    data["instruments"].append({"instrument": "BTC_USDC-13MAR26", "price_mark": 70_000})
    position = [(PERP, 1.5), ("BTC_USDC-13MAR26", -1.0)]
    for result in both(position, data, load_ruleset("paradex-pm")):
        parts = result["groups"][("cross", "USD", None), "BTC"]["parts"]
        assert near(parts["min_delta"][0], 1_400.0, 1e-9)


def test_standard_short_call() -> None:
    """Requirement A11: S = 50,000, K = 55,000, mark m: max(0.15 − OTM/S, 0.10)·S + m."""
    position = [("BTC_USDC-13MAR26-55000-C", -1.0)]
    mark = black76(50_000.0, 55_000.0, 0.6, 30 / 365, True)
    for result in both(position, fixture_g(), load_ruleset("deribit-sm")):
        pot = result["pots"]["cross", "USDC", None]
        assert near(pot["im"], 5_000.0 + mark, 1e-8)
        assert near(pot["mm"], 3_750.0 + mark, 1e-8)


@pytest.mark.parametrize(("name", "margin"), [("isolated", 50_000.0), ("isolated-whole", 60_000.0)])
def test_tiers_marginal_and_whole(name: str, margin: float) -> None:
    """Requirement A11: 1 % to 1 m, then 2 %, on a notional of 3 m."""
    tiers = [{"floor": 0.0, "im": 0.01, "mm": 0.01}, {"floor": 1e6, "im": 0.02, "mm": 0.02}]
    rules = load_ruleset(name, overrides={"components.futures.tiers.BTC": tiers})
    for result in both([(PERP, 60.0)], fixture_g(), rules):
        assert near(result["pots"]["cross", "USD", 0]["im"], margin, 1e-8)
    for result in both([(PERP, 20.0)], fixture_g(), rules):  # exactly at the edge: lower bracket
        assert near(result["pots"]["cross", "USD", 0]["im"], 10_000.0, 1e-8)


@pytest.mark.parametrize(
    ("offset", "margin"),
    [
        ({"method": "none"}, 14_700.0),
        ({"method": "pair-credit", "pairs": [{**PAIR, "value": 0.0}]}, 14_700.0),
        ({"method": "pair-credit", "pairs": [PAIR]}, 6_060.0),
        ({"method": "pair-credit", "pairs": [PAIR], "active": False}, 14_700.0),
        ({"method": "correlation", "pairs": [{**PAIR, "value": 0.8}]}, 4_657.25),
    ],
)
def test_offset_between_groups(offset: dict[str, Any], margin: float) -> None:
    """Requirement A24: long 50,000 BTC, short 48,000 ETH, a 15 % scan."""
    rules = load_ruleset(
        "paradex-pm",
        overrides={
            **GRID,
            "scenarios.blocks": [{"moves": [-0.15, 0.15], "vols": ["same"]}],
            "offset": {"source": "docs", **offset},
        },
    )
    positions = [(PERP, 1.0), ("ETH_USDC-PERPETUAL", -16.0)]
    for result in both(positions, fixture_g(), rules):
        assert near(result["pots"]["cross", "USD", None]["im"], margin, 0.005)
