"""Published schedules: every one loads, says what it is, and equals the reference's figures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.helpers import PERP, done, flat_rate, market, rules_dict

from crossmargin.errors import RulesetError
from crossmargin.margin import (
    collateral_from_haircuts,
    haircut_files,
    read_haircuts,
    ruleset_from_dict,
)
from crossmargin.margin.collateral import haircut_of
from crossmargin.margin.components import Flat, Ltv, PoolScaled, SizeScaled, Tiers

SCHEMES = [
    (name, scheme)
    for name, book in haircut_files().items()
    for scheme in sorted({entry.id for entry in book.entries})
]


def counted(rule: Any, coins: float, usd: float, level: str = "im") -> float:
    cut = haircut_of(rule, level, ("im",), np.array([coins]), np.array([usd]))  # type: ignore[arg-type]
    return float(1.0 - cut[0])


@pytest.mark.parametrize(("venue", "scheme"), SCHEMES)
def test_every_schedule_loads_or_says_why_not(venue: str, scheme: str) -> None:
    table = collateral_from_haircuts(venue, scheme)
    named = {
        "default" if name == "DEFAULT_UNLISTED" else name
        for entry in haircut_files()[venue].entries
        if entry.id == scheme
        for name in entry.assets
    }
    assert set(table.assets) | set(table.refused) == named == set(table.sources)
    assert all("not published" in reason for reason in table.refused.values())
    raw = rules_dict(flat_rate(0.1, 0.05))
    raw["collateral"]["assets"] = table.as_dict()
    made = ruleset_from_dict(raw).data.collateral.assets
    assert made == table.assets
    for rule in made.values():
        for size in (0.5, 1e3, 1e9):
            for level in ("im", "mm"):
                assert 0.0 <= counted(rule, size, 3 * size, level) <= 1.0


class TestDates:
    def test_before_the_first_change_its_own_figure_for_then(self) -> None:
        for day, factor in (("2025-08-18", 0.5), ("2025-08-19", 0.65), (None, 0.65)):
            made = collateral_from_haircuts("binance", "portfolio-margin", on=day)
            assert made.assets["ENA"].schedule == Flat(factor=factor)

    def test_a_coin_named_later_is_not_there_before(self) -> None:
        old = collateral_from_haircuts("binance", "portfolio-margin", on="2022-04-18").assets
        assert old["BTC"].schedule == Flat(factor=0.95)
        assert old["default"].schedule == Flat(factor=0.10)

    def test_newest_of_several_entries(self) -> None:
        widths = {"*": {"widths": [10.0, 10.0, 10.0]}}
        for day, first in (("2025-06-23", 0.80), ("2025-10-13", 0.85)):
            made = collateral_from_haircuts("okx", "discount-rates", on=day, supplied=widths)
            schedule = made.assets["ALGO"].schedule
            assert isinstance(schedule, Tiers) and schedule.tiers[0].factor == first


class TestKinds:
    def test_tier_numbers_need_widths(self) -> None:
        table = collateral_from_haircuts("okx", "discount-rates")
        assert "1INCH" in table.refused and "1INCH" not in table.assets
        given = {"1INCH": {"widths": [100.0, 50.0, 50.0]}}
        rule = collateral_from_haircuts("okx", "discount-rates", supplied=given).assets["1INCH"]
        # 100 at 0.7, 50 at 0.5, 50 at 0.4, then 50 each at 0.3, 0.2, 0.1 and nothing.
        full = 70 + 25 + 20 + 15 + 10 + 5
        assert 1_000 * counted(rule, 1_000.0, 0.0) == pytest.approx(full)
        assert 225 * counted(rule, 225.0, 0.0) == pytest.approx(70 + 25 + 20 + 7.5)

    def test_widths_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(RulesetError, match="3 tiers") as caught:
            collateral_from_haircuts("okx", "discount-rates", supplied={"1INCH": {"widths": [1.0]}})
        assert caught.value.code == "RUL-026"

    def test_same_as_follows_and_marginal_bands_count(self) -> None:
        made = collateral_from_haircuts("binance", "portfolio-margin-pro").assets
        assert made["ORDI"] == made["FIL"]
        # 200k in full, 200k at 0.8, 100k at 0.7.
        assert 5e5 * counted(made["FIL"], 1.0, 5e5) == pytest.approx(430_000)

    def test_loan_to_value_by_level(self) -> None:
        made = collateral_from_haircuts("hyperliquid", "portfolio-margin").assets
        assert isinstance(made["HYPE"].schedule, Ltv)
        assert 400_000 * counted(made["HYPE"], 10_000.0, 4e5) == 200_000
        assert counted(made["BTC"], 40.0, 1.0, "mm") == 0.375

    def test_initial_weight_takes_the_scales_that_are_supplied(self) -> None:
        bare = collateral_from_haircuts("drift-v2", "spot-weights")
        assert bare.assets["SOL"].im == Flat(factor=0.8)
        assert any("SOL" in note for note in bare.notes)
        size = {"SOL": {"imf": 0.003}}
        made = collateral_from_haircuts("drift-v2", "spot-weights", supplied=size).assets["SOL"]
        assert made.im == SizeScaled(factor=0.8, imf=0.003)
        assert made.mm == Flat(factor=0.9)
        pool = {"SOL": {"imf": 0.003, "scale_start_usd": 1e6, "total_usd": 2e6}}
        made = collateral_from_haircuts("drift-v2", "spot-weights", supplied=pool).assets["SOL"]
        assert isinstance(made.im, PoolScaled)
        assert counted(made, 2_000.0, 1.0) == pytest.approx(0.4)

    def test_unknown_names_say_what_is_known(self) -> None:
        with pytest.raises(RulesetError, match="binance"):
            collateral_from_haircuts("nowhere", "x")
        with pytest.raises(RulesetError, match="portfolio-margin-pro"):
            collateral_from_haircuts("binance", "x")


def test_a_rule_set_may_refer_to_a_table() -> None:
    raw = rules_dict(flat_rate(0.1, 0.05))
    raw["collateral"]["haircuts"] = {
        "venue": "binance",
        "scheme": "portfolio-margin",
        "on": "2025-12-01",
    }
    raw["collateral"]["assets"] = {"USDC": {}, "GALA": {"haircut": 0.9}}
    made = ruleset_from_dict(raw)
    assert made.data.collateral.assets["GALA"].haircut == 0.9
    world = market({"VET": 0.02, "USDC": 1.0, "BTC": 50_000}, marks={PERP: 50_000})
    have = done(made, world, balances={"VET": 1e6}).have
    assert have.im[0] == pytest.approx(20_000 * 0.4)
    assert have.mm[0] == pytest.approx(20_000 * 0.4)
    with pytest.raises(RulesetError, match="unknown field") as caught:
        ruleset_from_dict({**raw, "collateral": {**raw["collateral"], "haircuts": {"x": 1}}})
    assert caught.value.code == "RUL-001"


def test_files_that_are_not_right_are_refused() -> None:
    for text, says in (
        ("format =", "not TOML"),
        ('format = "crossmargin-haircuts/1"\nvenue = "v"\nentries = []', "length"),
        (
            'format = "crossmargin-haircuts/1"\nvenue = "v"\n[[entries]]\nid = "a"\nscheme = "s"\n'
            'kind = "live"\nconfidence = "published"\nbanding = "flat"\nsource = ["s"]\n'
            "[entries.assets]\nBTC = { factor = 1.2 }",
            "<= 1",
        ),
    ):
        with pytest.raises(RulesetError, match=says):
            read_haircuts(text)


# ------------------------------------------------------------------ equal to the reference's file

_NAMES = {
    "collateral_factor": "factor",
    "liquidation_threshold": "threshold",
    "user_supply_cap": "cap_coins",
    "global_supply_cap": "pool_cap_coins",
    "user_borrow_cap": "borrow_cap_coins",
    "global_borrow_cap": "pool_borrow_cap_coins",
    "equity_side_impact": "stress",
    "minimum_factor": "minimum",
    "liquidation_penalty_rate": "penalty",
}


def _renamed(node: Any) -> Any:
    if isinstance(node, dict):
        return {_NAMES.get(k, k): _renamed(v) for k, v in node.items() if v is not None}
    return [_renamed(one) for one in node] if isinstance(node, list) else node


def test_figures_are_those_of_the_reference() -> None:
    folder = os.environ.get("CROSSMARGIN_GOLDEN")
    if not folder:
        pytest.skip("CROSSMARGIN_GOLDEN is not set: haircuts are not held to the reference")
    path = Path(folder).parent / "reference" / "haircuts.json"
    if not path.is_file():
        pytest.skip("there is no reference/haircuts.json beside CROSSMARGIN_GOLDEN")
    theirs = json.loads(path.read_text(encoding="utf-8"))["entries"]
    ours = [(book.venue, entry) for book in haircut_files().values() for entry in book.entries]
    assert len(ours) == len(theirs) == 22
    for entry in theirs:
        (mine,) = [
            one
            for venue, one in ours
            if venue == entry["venue"]
            and one.scheme == entry["scheme"]
            and (one.date or "none") == (entry["date"] or "none")[: len(one.date or "none")]
        ]
        assert mine.kind == entry["kind"]
        assert mine.source == entry["source"]
        found = {}
        for name, figures in mine.assets.items():
            plain = msgspec.to_builtins(figures)
            also = plain.pop("also")
            found[name] = _renamed({**plain, **also})
        assert found == _renamed(entry["assets"])
