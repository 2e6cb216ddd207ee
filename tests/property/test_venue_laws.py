"""Laws of OKX, Bybit, SPAN and TIMS: shares, scaling, netting, parameters at extremes."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmargin.book import Book, book_from_accounts, parse_account
from crossmargin.margin import Frame, Ruleset, frame_for, load_ruleset, requirement, shares
from crossmargin.market import Snapshot, decode_market, snapshot_from_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from golden.test_engine_against_oracle import COVERS, SUPPLIED
from oracles.random_accounts import account, market

NAMES = ("okx-pm", "bybit-pm", "span", "occ-tims")


def rules_for(name: str, **more: Any) -> Ruleset:
    return load_ruleset(name, overrides={**SUPPLIED.get(name, {}), **more})


def snapshot(data: dict[str, Any]) -> Snapshot:
    return snapshot_from_file(decode_market(json.dumps(data).encode(), "market"))


def books(name: str, seed: int, number: int, usd: float = 2e6) -> tuple[Snapshot, list[Book]]:
    """One market and some accounts of two positions or more, without debts."""
    data, names = market(seed)
    kinds, coins = COVERS[name]
    rng = random.Random(f"laws/{name}/{seed}")
    made: list[dict[str, Any]] = []
    while len(made) < number:
        who = account(rng, "a", data, names, kinds=kinds, coins=coins[:1], usd=usd, debts=False)
        if len(who["positions"]) > 1:
            made.append(who)
    return snapshot(data), [book_from_accounts([parse_account(json.dumps(w))]) for w in made]


def total(frame: Frame, scale: float = 1.0, level: str = "im") -> float:
    need = requirement(frame, quantity=frame.book.position_quantity * scale)
    return float((need.im if level == "im" else need.mm) @ frame.pot_usd)


@pytest.mark.parametrize("level", ["im", "mm"])
@pytest.mark.parametrize("name", NAMES)
def test_shares_add_up_without_jumps(name: str, level: str) -> None:
    """Every stage gives q·∂/∂q: the shares are the whole, and nothing is left for jumps."""
    rules = rules_for(name)
    for seed in range(4):
        snap, some = books(name, seed, 5)
        for book in some:
            frame = frame_for(book, snap, rules)
            split = shares(frame, level=level)
            whole = float(split.position.sum() + split.balance.sum()) + split.fixed + split.jumps
            assert whole == pytest.approx(total(frame, level=level), rel=1e-9, abs=1e-9)
            assert split.jumps == pytest.approx(0.0, abs=1e-7 * max(1.0, split.total))


@pytest.mark.parametrize("name", NAMES)
def test_shares_are_the_slopes(name: str) -> None:
    """``q·∂M/∂q`` by a small change of each position, where the requirement is smooth there."""
    rules = rules_for(name)
    smooth = checked = 0
    for seed in range(4):
        snap, some = books(name, seed, 4)
        for book in some:
            frame = frame_for(book, snap, rules)
            need = requirement(frame)
            for row in range(book.position_quantity.size):
                ends = []
                for step in (-1e-6, 1e-6):
                    q = book.position_quantity.copy()
                    q[row] *= 1.0 + step
                    ends.append(float(requirement(frame, quantity=q).im.sum()))
                slope = (ends[1] - ends[0]) / 2e-6
                middle = abs(ends[0] + ends[1] - 2.0 * float(need.im.sum()))
                checked += 1
                if middle > 1e-9 * max(1.0, need.im.sum()):
                    continue  # a kink: there is no slope
                smooth += 1
                assert need.share_im[row] == pytest.approx(
                    slope, rel=2e-4, abs=1e-4 * max(1.0, need.im.sum())
                )
    assert smooth > 0.8 * checked


@pytest.mark.parametrize("name", ["bybit-pm", "span", "occ-tims"])
@pytest.mark.parametrize("scale", [0.01, 3.0, 100.0])
def test_requirement_scales_with_the_book(name: str, scale: float) -> None:
    """Positive homogeneity (bybit-pm with one de-peg size): twice the book, twice the margin."""
    more: dict[str, Any] = {}
    if name == "bybit-pm":
        more["components.stablecoin_spread.levels"] = [
            {"from_price": 0.0, "sizes": [{"floor": 0.0, "rate": 0.01}]}
        ]
    rules = rules_for(name, **more)
    for seed in range(2):
        snap, some = books(name, seed, 5)
        for book in some:
            frame = frame_for(book, snap, rules)
            assert total(frame, scale) == pytest.approx(scale * total(frame), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_held_needs_nothing(name: str) -> None:
    rules = rules_for(name)
    snap, some = books(name, 1, 5)
    for book in some:
        assert total(frame_for(book, snap, rules), 0.0) == 0.0


def test_scan_is_subadditive() -> None:
    """Two books together scan no worse than apart (class risk, SPAN scan, MR1 and MR6)."""
    for name, part in (
        ("span", "scan_risk"),
        ("occ-tims", "class_risk"),
        ("okx-pm", "mr1"),
        ("okx-pm", "mr6"),
        ("bybit-pm", "max_loss"),
    ):
        rules = rules_for(name)
        snap, some = books(name, 2, 8)
        for book in some:
            frame = frame_for(book, snap, rules)
            q = book.position_quantity
            first = np.arange(q.size) % 2 == 0
            a, b, both = (
                float(
                    requirement(frame, quantity=w).parts[part].im
                    @ frame.pot_usd[frame.arrangement.group_pot]
                )
                for w in (np.where(first, q, 0.0), np.where(first, 0.0, q), q)
            )
            assert both <= a + b + 1e-9 * (a + b)


def test_credits_never_make_more_than_the_parts() -> None:
    """Inter-commodity credit and product offset give, and never take more than there is."""
    for name, credit, plain in (
        ("span", "inter", "scan_risk"),
        ("occ-tims", "product_credit", "class_risk"),
    ):
        rules = rules_for(name)
        found = 0
        for seed in range(4):
            snap, some = books(name, seed, 8)
            for book in some:
                need = requirement(frame_for(book, snap, rules))
                given, whole = need.parts[credit].im, need.parts[plain].im
                assert (given >= -1e-9).all()
                if name == "occ-tims":
                    assert (given <= whole * (1 + 1e-12) + 1e-9).all()
                found += int((given > 0).sum())
        assert found > 0


EXTREMES: list[tuple[str, dict[str, Any]]] = [
    ("okx-pm", {"components.mr4.underlyings.BTC": {"floor": 0.0, "annual": 0.0}}),
    ("okx-pm", {"components.mr4.underlyings.BTC": {"floor": 1.0, "annual": 10.0}}),
    ("okx-pm", {"components.mr7.underlyings.BTC.rate": 0.0}),
    ("okx-pm", {"components.mr7.underlyings.BTC.rate": 10.0}),
    ("okx-pm", {"components.mr7.underlyings.BTC.bands": [{"floor": 0.0, "multiplier": 0.0}]}),
    (
        "okx-pm",
        {"components.mr9.levels": [{"from_price": 0.0, "sizes": [{"floor": 0.0, "rate": 0.0}]}]},
    ),
    (
        "okx-pm",
        {"components.mr9.levels": [{"from_price": 0.0, "sizes": [{"floor": 0.0, "rate": 10.0}]}]},
    ),
    ("okx-pm", {"scenarios.blocks.1.weight": 0.0}),
    ("okx-pm", {"scenarios.blocks.1.weight": 1.0}),
    (
        "okx-pm",
        {"scenarios.underlyings.BTC.vol_up": 0.0, "scenarios.underlyings.BTC.vol_down": 1.0},
    ),
    ("okx-pm", {"scenarios.underlyings.BTC.moves.extreme": [-0.999, 10.0]}),
    ("okx-pm", {"components.mr8.im": 10.0, "components.mr8.mm": 10.0}),
    ("bybit-pm", {"components.im_factor.value": 1.0}),
    ("bybit-pm", {"components.im_factor.value": 100.0}),
    ("bybit-pm", {"components.vega_spread.factors": {"default": 0.0}}),
    ("bybit-pm", {"components.vega_spread.factors": {"default": 100.0}}),
    ("bybit-pm", {"components.delta_spread.factors": {"default": 0.0}}),
    ("bybit-pm", {"components.delta_spread.factors": {"default": 100.0}}),
    ("bybit-pm", {"components.net_short_options.underlyings.default.index": 10.0}),
    ("bybit-pm", {"components.net_short_options.net": "contract"}),
    ("bybit-pm", {"components.futures_contingency.side": "short"}),
    ("bybit-pm", {"scenarios.underlyings.BTC.price_range": 0.999}),
    ("span", {"scenarios.underlyings.BTC.price_range": 0.499}),
    ("span", {"scenarios.underlyings.BTC.price_range": 1e-6}),
    (
        "span",
        {"scenarios.underlyings.BTC.vol_unit": "points", "scenarios.underlyings.BTC.vol_down": 1.0},
    ),
    ("span", {"scenarios.underlyings.BTC.vol_up": 10.0}),
    ("span", {"scenarios.horizon_days": 0.0}),
    ("span", {"scenarios.horizon_days": 10_000.0}),
    ("span", {"scenarios.blocks.1.weight": 0.0}),
    ("span", {"scenarios.blocks.1.weight": 1.0}),
    ("span", {"components.inter.active": False}),
    ("span", {"components.inter.spreads.0.credit": 1.0}),
    ("span", {"components.inter.spreads.0.legs.1.ratio": 1e-6}),
    ("span", {"components.inter.spreads.0.legs.1.ratio": 1e6}),
    ("span", {"components.inter.spreads.0.legs.1.side": "B"}),
    ("span", {"components.inter.deltas": {"points": [0.0], "weights": [1.0]}}),
    ("span", {"components.intra.underlyings.default.spreads": []}),
    (
        "span",
        {
            "components.intra.underlyings.default.tiers": [{"from_days": 0.0}],
            "components.intra.underlyings.default.spreads": [
                {"first": 1, "second": 1, "index": 10.0, "usd": 1e3}
            ],
        },
    ),
    ("span", {"components.delivery.underlyings.default": {"days": 1000.0, "index": 10.0}}),
    ("span", {"components.short_option_minimum.underlyings.default.index": 0.0}),
    ("span", {"components.short_option_minimum.underlyings.default.index": 10.0}),
    ("occ-tims", {"components.product_credit.products": []}),
    (
        "occ-tims",
        {"components.product_credit.products": [{"members": ["BTC", "ETH"], "offset": 0.0}]},
    ),
    (
        "occ-tims",
        {"components.product_credit.products": [{"members": ["BTC", "ETH"], "offset": 1.0}]},
    ),
    ("occ-tims", {"components.minimum.underlyings.default.usd": 0.0}),
    ("occ-tims", {"components.minimum.underlyings.default.usd": 1e6}),
    (
        "occ-tims",
        {
            "scenarios.underlyings.BTC": {
                "price_range": 0.4,
                "moves": {
                    "points": [-0.4, -0.32, -0.24, -0.16, -0.08, 0.08, 0.16, 0.24, 0.32, 0.4]
                },
            }
        },
    ),
]


@pytest.mark.parametrize(("name", "overrides"), EXTREMES, ids=lambda v: str(v)[:90])
def test_parameters_at_their_extremes_keep_the_laws(name: str, overrides: dict[str, Any]) -> None:
    """IM at least MM, no NaN, nothing negative; and the second implementation agrees."""
    from oracles.compare import Comparison, compare

    rules = rules_for(name, **overrides)
    found = Comparison()
    for seed in range(2):
        data, names = market(seed)
        kinds, coins = COVERS[name]
        rng = random.Random(f"extremes/{seed}")
        some = [account(rng, f"a{n}", data, names, kinds=kinds, coins=coins) for n in range(6)]
        compare(some, data, rules, into=found)
        snap = snapshot(data)
        for who in some:
            book = book_from_accounts([parse_account(json.dumps(who))])
            frame = frame_for(book, snap, rules)
            need = requirement(frame)
            assert np.isfinite(need.im).all() and np.isfinite(need.mm).all()
            assert (need.im >= need.mm * (1 - 1e-12) - 1e-9).all() and (need.mm >= -1e-9).all()
            assert np.isfinite(need.share_im).all()
    assert found.values > 0
    assert not found.faults, "\n".join(found.faults[:10])
