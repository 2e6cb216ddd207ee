"""Every figure of every venue's rule-set at its ends: no NaN, no silent nonsense, the laws hold."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from tests.helpers import EXPIRY, account, frame, market

from crossmargin.book import book_from_accounts
from crossmargin.errors import CrossmarginError
from crossmargin.margin import (
    decode_statement,
    encode_statement,
    evaluate,
    load_ruleset,
    make_statement,
    recompute,
    ruleset_ids,
    shares,
)

#: What a figure is tried at: the loader refuses what is out of its range.
ENDS = (0.0, 1e-9, 0.5, 1.0, 10.0, 1e12)

PERP_WEIGHTS = {"asset_im": 0.8, "asset_mm": 0.9, "liability_im": 1.2, "liability_mm": 1.1}
#: Figures that a venue's rule-set leaves to the user, so that there is something to try.
SUPPLIED: dict[str, dict[str, Any]] = {
    "aave-v3": {},
    "binance-coinm": {},
    "binance-pm": {
        "collateral.assets.USDT.haircut": 0.01,
        "components.margin_loans.im": 0.2,
        "components.margin_loans.mm": 0.05,
    },
    "binance-usdm": {},
    "binance-usdm-multi": {
        "collateral.assets.USDT.haircut": 0.01,
        "collateral.assets.BTC.haircut": 0.05,
    },
    "bybit-uta": {"components.spot_borrow.im": 0.2, "components.spot_borrow.mm": 0.04},
    "drift-v2": {
        "components.perpetuals.markets": {"SOL": {"im": 0.1, "mm": 0.05, "per_root_coin": 5e-4}},
        "components.borrows.assets": ["USDC", "SOL"],
        "collateral.assets.SOL.liability_im": 1.2,
        "collateral.assets.SOL.liability_mm": 1.1,
    },
    "dydx-v4": {
        "components.perpetuals.markets.SOL": "mid-cap",
        "components.perpetuals.open_interest_coins.SOL": 700_000.0,
    },
    "hyperliquid-pm": {},
    "mango-v4": {
        "components.perpetuals.markets": {"SOL": {**PERP_WEIGHTS, "stable_usd": 95.0}},
        "components.borrows.assets": ["USDC", "SOL"],
        "collateral.assets": {"USDC": {}, "SOL": {"haircut": 0.2, "liability_im": 1.2}},
        "collateral.stable_usd": {"SOL": 105.0},
        "collateral.profit.default": {"im": 0.5, "mm": 0.6, "after": "perpetuals"},
    },
    "okx-multi": {
        "components.futures.tiers": {
            "BTC": [
                {"floor": 0.0, "im": 0.01, "mm": 0.004},
                {"floor": 50.0, "im": 0.02, "mm": 0.01},
            ]
        },
        "components.borrowing.im": 0.1,
        "components.borrowing.mm": 0.02,
    },
}
CALL, PUT = "BTC-27MAR26-60000-C", "BTC-27MAR26-40000-P"
_USDT, _SOL, _COIN = "BTC_USDT-PERPETUAL", "SOL_USDC-PERPETUAL", "BTC-PERPETUAL"
HELD: dict[str, tuple[list[Any], dict[str, float]]] = {
    "aave-v3": ([], {"WETH": 20, "WBTC": 1, "USDC": -30_000}),
    "binance-coinm": ([(_COIN, 1.3e6, 45_000.0)], {"BTC": 3}),
    "binance-pm": ([(_USDT, 7.0, 49_000.0), (_COIN, -9e5, 52_000.0)], {"USDT": 5e4, "BTC": -0.5}),
    "binance-usdm": ([(_USDT, 17.0, 49_000.0)], {"USDT": 1e5}),
    "binance-usdm-multi": ([(_USDT, -17.0, 49_000.0)], {"USDT": 1e5, "BTC": 2}),
    "bybit-uta": ([(_USDT, 77.0, 49_000.0)], {"USDT": -1e5, "BTC": 24}),
    "drift-v2": ([(_SOL, 4_000.0, 90.0)], {"USDC": 5e4, "SOL": -700}),
    "dydx-v4": ([("SOL/USD:USDC", 4_000.0, 90.0)], {"USDC": 5e4}),
    "hyperliquid-pm": ([(_SOL, -4_000.0, 120.0)], {"USDC": -5e4, "BTC": 22, "HYPE": 60_000}),
    "mango-v4": ([(_SOL, 4_000.0, 90.0)], {"USDC": -5e4, "SOL": 800}),
    "okx-multi": (
        [(_COIN, 3e6, 49_000.0), (CALL, -8.0), (PUT, -8.0), ("BTC-27MAR26-50000-C", 5.0)],
        {"BTC": 23},
    ),
}
VENUES = sorted(HELD)


@cache
def world() -> Any:
    prices = {"BTC": 50_000.0, "SOL": 100.0, "HYPE": 40.0, "WETH": 3_000.0, "WBTC": 50_000.0}
    return market(
        {**prices, "USDC": 0.999, "USDT": 1.001},
        marks={_USDT: 50_010.0, _COIN: 50_020.0, _SOL: 100.2, "SOL/USD:USDC": 100.1},
        vols=dict.fromkeys((CALL, PUT, "BTC-27MAR26-50000-C"), 0.6),
        forwards={("BTC", EXPIRY): 50_300.0},
    )


def who(name: str) -> Any:
    positions, balances = HELD[name]
    return account(*positions, balances=balances)


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a rule-set's components, collateral and states, with its dotted path."""
    if isinstance(node, bool):
        return
    if isinstance(node, int | float):
        yield path, float(node)
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        ends = (0, 1, len(node) - 1)  # of a long table the first rows and the last
        for place, value in enumerate(node):
            if path.count(".") > 1 and place not in ends:
                continue
            key = value.get("name", place) if path == "components" else place
            yield from leaves(value, f"{path}.{key}")


def figures(name: str) -> list[tuple[str, float]]:
    data = load_ruleset(name, overrides=SUPPLIED[name]).as_dict()
    return [
        (path, value)
        for section in ("components", "collateral", "states")
        for path, value in leaves({section: data[section]})
    ]


def promised(node: Any) -> bool:
    """Whether the figures themselves put every initial one at or above its maintenance one."""
    if isinstance(node, list):
        return all(promised(item) for item in node)
    if not isinstance(node, dict):
        return True
    pairs = [("im", "mm"), ("im_usd", "mm_usd"), ("liability_im", "liability_mm")]
    pairs += [("otm_floor", "mm"), ("unpaired_im", "unpaired_mm")]
    pairs += [("min_spot", "mm_call"), ("min_spot", "mm_put")]
    for im, mm in pairs:
        both = (node.get(im), node.get(mm))
        if all(isinstance(value, int | float) for value in both) and node[im] < node[mm]:
            return False
    if node.get("asset_im", 0) > node.get("asset_mm", 1):
        return False
    return all(promised(value) for value in node.values())


def test_every_rule_set_of_these_venues_is_there() -> None:
    assert set(VENUES) == set(SUPPLIED) <= set(ruleset_ids())


@pytest.mark.parametrize("name", VENUES)
def test_as_shipped(name: str) -> None:
    rules = load_ruleset(name, overrides=SUPPLIED[name])
    held = evaluate(book_from_accounts([who(name)]), world(), rules)
    assert held.im_usd >= held.mm_usd > 0
    for level in ("im", "mm"):
        split = shares(frame(who(name), rules, world()), level=level)
        parts = float(split.position.sum() + split.balance.sum()) + split.fixed + split.jumps
        total = held.need.im if level == "im" else held.need.mm
        assert parts == pytest.approx(float(total @ held.frame.pot_usd), rel=1e-9)


@pytest.mark.parametrize("name", VENUES)
def test_statements_add_up_and_are_computed_again(name: str) -> None:
    rules = load_ruleset(name, overrides=SUPPLIED[name])
    made = make_statement(who(name), world(), rules)
    t = made.totals
    steps = sum(step.usd for step in made.waterfall[1:-1]) + made.waterfall[0].usd
    assert steps == pytest.approx(t.im, rel=1e-9)
    split = sum(p.share_im_usd for p in made.positions) + sum(b.share_im_usd for b in made.balances)
    assert split + made.share_fixed_usd + made.share_jumps_usd == pytest.approx(t.im, rel=1e-9)
    assert t.available == pytest.approx(t.equity_im - t.im)
    raw = encode_statement(made)
    assert encode_statement(recompute(decode_statement(raw))) == raw


@pytest.mark.parametrize("name", VENUES)
def test_each_figure_at_its_ends(name: str) -> None:
    """Refused in a sentence, or computed: finite, not negative, and IM ≥ MM where figures are."""
    computed = refused = 0
    for path, _ in figures(name):
        for value in ENDS:
            try:
                rules = load_ruleset(name, overrides={**SUPPLIED[name], path: value})
                held = evaluate(book_from_accounts([who(name)]), world(), rules)
            except CrossmarginError as error:
                refused += 1
                assert "\n" not in str(error) and len(error.code) == 7
                continue
            computed += 1
            found = [held.need.im, held.mm, held.have.im, held.have.mm]
            assert all(np.isfinite(row).all() for row in found), (path, value)
            assert (held.need.im >= 0).all() and (held.mm >= 0).all(), (path, value)
            if promised(rules.as_dict()["components"]) and promised(rules.as_dict()["collateral"]):
                ok = held.need.im >= held.mm * (1 - 1e-12)
                assert ok.all(), (path, value, held.need.im, held.mm)
    assert computed > 20 and refused > 0


@pytest.mark.parametrize("name", VENUES)
def test_monotone_in_haircuts_and_weights(name: str) -> None:
    """A larger haircut never adds to equity; a larger weight never takes any away."""
    wanted = ("haircut", "factor", "ltv", "threshold")
    tried = 0
    for path, now in figures(name):
        kind = path.rsplit(".", 1)[-1]
        if not path.startswith("collateral.assets") or kind not in wanted:
            continue
        seen: list[tuple[float, float, float]] = []
        for value in sorted({0.0, 0.3, now, 0.77, 1.0}):
            try:
                rules = load_ruleset(name, overrides={**SUPPLIED[name], path: value})
                held = evaluate(book_from_accounts([who(name)]), world(), rules)
            except CrossmarginError:
                continue
            usd = held.frame.pot_usd
            seen.append((value, float(held.have.im @ usd), float(held.have.mm @ usd)))
        tried += 1
        sign = -1.0 if kind == "haircut" else 1.0
        for before, after in itertools.pairwise(seen):
            for level in (1, 2):
                assert sign * (after[level] - before[level]) >= -1e-6, (path, before, after)
    assert tried > 0 or not load_ruleset(name).data.collateral.assets


@pytest.mark.parametrize("name", VENUES)
def test_more_of_the_settlement_asset_never_hurts(name: str) -> None:
    rules = load_ruleset(name, overrides=SUPPLIED[name])
    positions, balances = HELD[name]
    cash = next(iter(balances))
    excess = -math.inf
    for step in (0.0, 0.1, 1.0, 10.0):
        more = {**balances, cash: balances[cash] + step * abs(balances[cash])}
        book = book_from_accounts([account(*positions, balances=more)])
        held = evaluate(book, world(), rules)
        now = float((held.have.mm - held.mm) @ held.frame.pot_usd)
        assert now >= excess - 1e-6
        excess = now
