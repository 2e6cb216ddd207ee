"""Rule-sets: what is refused on loading, how they extend each other, and what overrides do."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import PERP, component, fixture_g, flat_rate, need, rules_dict

from crossmargin.errors import CrossmarginError, RulesetError
from crossmargin.margin import (
    load_ruleset,
    ruleset,
    ruleset_from_dict,
    ruleset_from_toml,
    ruleset_ids,
)

SHIPPED = [
    "aave-v3",
    "binance-coinm",
    "binance-pm",
    "binance-usdm",
    "binance-usdm-multi",
    "bybit-pm",
    "bybit-uta",
    "deribit-pm",
    "deribit-pm-cross",
    "deribit-sm",
    "deribit-sm-cross",
    "derive-pm1",
    "derive-pm2",
    "derive-srm",
    "drift-v2",
    "dydx-v4",
    "house",
    "hyperliquid",
    "hyperliquid-isolated",
    "hyperliquid-pm",
    "isolated",
    "isolated-whole",
    "mango-v4",
    "occ-tims",
    "okx-multi",
    "okx-pm",
    "paradex-pm",
    "span",
]


def base(**sections: Any) -> dict[str, Any]:
    return rules_dict(component("scan", "scan"), **sections)


def refused(raw: Any, code: str, **overrides: Any) -> RulesetError:
    with pytest.raises(RulesetError) as caught:
        ruleset_from_dict(raw, overrides=overrides or None)
    assert caught.value.code == code
    sentence = str(caught.value)
    assert sentence.startswith(f"{code}: ") and "\n" not in sentence
    return caught.value


class TestShipped:
    def test_catalogue(self) -> None:
        assert ruleset_ids() == SHIPPED

    @pytest.mark.parametrize("name", SHIPPED)
    def test_loads_and_reads_back(self, name: str) -> None:
        made = load_ruleset(name)
        assert made.id == name
        again = ruleset_from_dict({**made.as_dict(), "extends": None})
        assert again.data.components == made.data.components
        assert again.data.combine == made.data.combine

    @pytest.mark.parametrize("name", SHIPPED)
    def test_every_figure_has_a_listed_source(self, name: str) -> None:
        data = load_ruleset(name).data
        for c in data.components:
            assert data.sources[c.source].title and data.sources[c.source].date

    def test_gaps_are_named(self) -> None:
        made = load_ruleset("deribit-pm")
        assert not made.complete
        joined = " ".join(made.gaps)
        assert all(word in joined for word in ("delta_shock", "correlation", "open_orders"))

    def test_hash_follows_the_content(self) -> None:
        one = load_ruleset("paradex-pm")
        same = load_ruleset("paradex-pm")
        other = load_ruleset("paradex-pm", overrides={"components.min_delta.net_rate": 0.021})
        assert one.content_hash == same.content_hash != other.content_hash

    def test_unknown_id(self) -> None:
        with pytest.raises(RulesetError) as caught:
            load_ruleset("deribit")
        assert caught.value.code == "RUL-002"
        assert "paradex-pm" in str(caught.value)


class TestFiles:
    def test_path(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        path.write_text('id = "mine"\nextends = "isolated"\n', encoding="utf-8")
        made = load_ruleset(str(path))
        assert made.id == "mine" and made.data.pools.by == "position"

    def test_missing(self) -> None:
        with pytest.raises(RulesetError, match="RUL-002: cannot read rule-set"):
            load_ruleset("/nowhere/rules.toml")

    def test_folder(self, tmp_path: Path) -> None:
        folder = tmp_path / "x.toml"
        folder.mkdir()
        with pytest.raises(RulesetError, match="RUL-002"):
            load_ruleset(str(folder))

    def test_not_text(self, tmp_path: Path) -> None:
        path = tmp_path / "x.toml"
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(RulesetError, match="RUL-002"):
            load_ruleset(str(path))

    @pytest.mark.parametrize("text", ["x = ", "[a", "a = 1\na = 2", '"'])
    def test_not_toml(self, text: str) -> None:
        with pytest.raises(RulesetError, match="RUL-001: rule-set is not TOML"):
            ruleset_from_toml(text)

    def test_empty(self) -> None:
        with pytest.raises(RulesetError, match="RUL-001"):
            ruleset_from_toml("")


class TestUnknownKeys:
    @pytest.mark.parametrize(
        "where",
        [
            (),
            ("pools",),
            ("collateral",),
            ("collateral", "assets", "default"),
            ("orders",),
            ("combine",),
            ("scenarios",),
            ("scenarios", "underlyings", "default"),
            ("scenarios", "blocks", 0),
            ("components", 0),
            ("sources", "s"),
        ],
    )
    def test_refused(self, where: tuple[Any, ...]) -> None:
        raw = copy.deepcopy(base())
        node: Any = raw
        for step in where:
            node = node[step]
        node["hiarcut"] = 0.1
        error = refused(raw, "RUL-001")
        assert "hiarcut" in str(error)
        if where:
            assert error.field is not None and error.field.startswith(where[0])

    def test_unknown_kind_of_component(self) -> None:
        error = refused(rules_dict(component("magic", "x")), "RUL-001")
        assert "magic" in str(error)

    @pytest.mark.parametrize("key", ["id", "venue", "sources", "pools", "collateral", "orders"])
    def test_required(self, key: str) -> None:
        raw = base()
        del raw[key]
        assert key in str(refused(raw, "RUL-001"))


class TestRanges:
    @pytest.mark.parametrize(
        "path, value",
        [
            ("collateral.assets.default.haircut", 1.01),
            ("collateral.assets.default.haircut", -0.01),
            ("collateral.assets.default.haircut", float("nan")),
            ("collateral.assets.default.haircut", "0.1"),
            ("collateral.assets.default.stress", "sideways"),
            ("collateral.haircut_levels", ["mm", "xx"]),
            ("scenarios.underlyings.default.price_range", 0.0),
            ("scenarios.underlyings.default.price_range", 1.0),
            ("scenarios.underlyings.default.vol_up", -0.1),
            ("scenarios.underlyings.default.vol_down", 10.5),
            ("scenarios.reference_days", 0.0),
            ("orders.method", "maybe"),
            ("orders.fee_rate", 11.0),
            ("pools.by", "colour"),
            ("numeraire", "E U R"),
            ("effective_from", "1 May"),
            ("id", "Has Capitals"),
            ("format", "crossmargin-ruleset/2"),
            ("components", []),
            ("components.scan.conversion", "later"),
            ("components.scan.confidence", "certain"),
            ("components.scan.currencies", {"USD": {"pnl_offset": 1.1}}),
            ("components.scan.currencies", {"USD": {"dampener_usd": -1.0}}),
        ],
    )
    def test_refused(self, path: str, value: Any) -> None:
        refused(base(), "RUL-001", **{path: value})

    def test_the_place_is_named(self) -> None:
        error = refused(base(), "RUL-001", **{"scenarios.reference_days": -1.0})
        assert error.field == "scenarios.reference_days"

    @pytest.mark.parametrize(
        "block",
        [
            {"moves": [], "vols": ["same"]},
            {"moves": [0.1], "vols": []},
            {"moves": [-1.0], "vols": ["same"]},
            {"moves": [0.1, 0.2], "vols": ["same"], "weight": [1.0]},
            {"moves": [0.1], "vols": ["sideways"]},
            {"moves": [0.1], "vols": ["same"], "weight": "half"},
        ],
    )
    def test_blocks(self, block: dict[str, Any]) -> None:
        refused(base(), "RUL-001", **{"scenarios.blocks": [block]})

    @pytest.mark.parametrize(
        "block",
        [
            {"moves": [float("nan")], "vols": ["same"]},
            {"moves": [float("inf")], "vols": ["same"]},
            {"moves": [0.1], "vols": ["same"], "weight": -1.0},
            {"moves": [0.1], "vols": ["same"], "weight": float("nan")},
            # −10 × a range of 16 % is a fall of 160 %.
            {"moves": [-10.0], "vols": ["same"], "unit": "range"},
        ],
    )
    def test_impossible_blocks(self, block: dict[str, Any]) -> None:
        with pytest.raises(RulesetError):
            ruleset_from_dict(base(), overrides={"scenarios.blocks": [block]})

    def test_offset_method(self) -> None:
        refused(base(offset={"method": "hope"}), "RUL-001")

    def test_no_scenarios_at_all(self) -> None:
        with pytest.raises(RulesetError):
            ruleset_from_dict(base(), overrides={"scenarios.blocks": []})

    def test_infinite_figures(self) -> None:
        refused(base(), "RUL-001", **{"scenarios.underlyings.default.vol_up": float("inf")})

    @pytest.mark.parametrize(
        "tiers",
        [
            [],
            [{"floor": 10.0, "im": 0.1, "mm": 0.1}],
            [{"floor": 0.0, "im": 0.1, "mm": 0.1}, {"floor": 0.0, "im": 0.2, "mm": 0.2}],
            [
                {"floor": 0.0, "im": 0.1, "mm": 0.1},
                {"floor": 2e6, "im": 0.2, "mm": 0.2},
                {"floor": 1e6, "im": 0.3, "mm": 0.3},
            ],
        ],
        ids=["empty", "first floor not 0", "a floor twice", "descending"],
    )
    def test_brackets(self, tiers: list[dict[str, float]]) -> None:
        bad = component("rate", "futures", scheme="marginal", tiers={"default": tiers})
        with pytest.raises(RulesetError):
            ruleset_from_dict(rules_dict(bad))


class TestNamesAndSources:
    def test_unlisted_source_of_a_component(self) -> None:
        odd = component("scan", "scan") | {"source": "hearsay"}
        error = refused(rules_dict(odd), "RUL-005")
        assert "'hearsay'" in str(error) and error.field == "sources"

    @pytest.mark.parametrize("section", ["collateral", "orders"])
    def test_unlisted_source_of_a_section(self, section: str) -> None:
        raw = base()
        raw[section] = {**raw[section], "source": "hearsay"}
        assert "'hearsay'" in str(refused(raw, "RUL-005"))

    def test_unlisted_source_of_the_offset(self) -> None:
        raw = base(offset={"method": "correlation", "source": "hearsay", "pairs": []})
        assert "'hearsay'" in str(refused(raw, "RUL-005"))
        # An offset that is not used needs none.
        assert ruleset_from_dict(base(offset={"method": "none"})).id == "made-for-a-test"

    def test_name_twice(self) -> None:
        raw = rules_dict(flat_rate(0.1, 0.05), flat_rate(0.2, 0.1))
        error = refused(raw, "RUL-005")
        assert "'futures'" in str(error) and error.field == "components"

    def test_step_named_like_a_component(self) -> None:
        raw = base(combine={"im": "scan", "mm": "scan", "steps": {"scan": "2 * scan"}})
        refused(raw, "RUL-005")

    def test_second_scan(self) -> None:
        raw = rules_dict(
            component("scan", "scan"), component("scan", "other", tail_gains_count=True)
        )
        refused(raw, "RUL-005")

    def test_component_never_combined(self) -> None:
        raw = rules_dict(component("scan", "scan"), flat_rate(0.1, 0.05))
        raw["combine"] = {"im": "scan", "mm": "scan"}
        error = refused(raw, "RUL-005")
        assert "'futures'" in str(error) and error.field == "combine"

    def test_debt_is_added_by_itself(self) -> None:
        raw = rules_dict(component("scan", "scan"), component("borrow", "debt", im=0.1, mm=0.1))
        assert "debt" not in raw["combine"]["im"]
        assert ruleset_from_dict(raw).id == "made-for-a-test"

    def test_debt_in_the_combination(self) -> None:
        raw = rules_dict(component("scan", "scan"), component("borrow", "debt", im=0.1, mm=0.1))
        raw["combine"] = {"im": "scan + debt", "mm": "scan + debt"}
        with pytest.raises(RulesetError):
            ruleset_from_dict(raw)

    def test_scan_without_scenarios(self) -> None:
        raw = base()
        del raw["scenarios"]
        assert refused(raw, "RUL-005").field == "scenarios"


class TestCombination:
    @pytest.mark.parametrize(
        "text",
        [
            "scan +",
            "scan.im",
            "scan[0]",
            "abs(scan)",
            "scan ** 2",
            "scan if scan else 0",
            "",
            "'x'",
        ],
    )
    def test_bad_expression(self, text: str) -> None:
        error = refused(base(combine={"im": text, "mm": "scan"}), "RUL-004")
        assert error.field is not None and error.field.startswith("combine")

    def test_unknown_name(self) -> None:
        error = refused(base(combine={"im": "scan + roll", "mm": "scan"}), "RUL-004")
        assert "'roll'" in str(error) and error.field == "combine.im"

    def test_steps_are_read_in_order(self) -> None:
        steps = {"a": "scan", "b": "a + scan"}
        assert ruleset_from_dict(base(combine={"im": "b", "mm": "a", "steps": steps})).id
        backwards = {"b": "a + scan", "a": "scan"}
        error = refused(base(combine={"im": "b", "mm": "a", "steps": backwards}), "RUL-004")
        assert error.field == "combine.b"

    def test_maintenance_as_a_share_of_the_initial_margin_needs_a_step(self) -> None:
        with pytest.raises(RulesetError, match="RUL-004"):
            ruleset_from_dict(base(combine={"im": "scan", "mm": "0.8 * im"}))
        steps = {"whole": "scan"}
        made = ruleset_from_dict(base(combine={"im": "whole", "mm": "0.8 * whole", "steps": steps}))
        found = need(made, fixture_g(), (PERP, 1))
        assert float(found.mm[0]) == pytest.approx(6_400.0)

    @pytest.mark.filterwarnings("ignore:.*encountered.*:RuntimeWarning")
    @pytest.mark.parametrize("text", ["scan / (scan - scan)", "sqrt(0 - scan)", "scan - 10000"])
    def test_nothing_but_a_requirement_leaves_margin(self, text: str) -> None:
        made = ruleset_from_dict(base(combine={"im": text, "mm": "scan"}))
        try:
            got = float(need(made, fixture_g(), (PERP, 1)).im[0])
        except CrossmarginError:
            return
        assert np.isfinite(got) and got >= 0.0


class TestExtending:
    def test_tables_merge_and_the_rest_is_replaced(self) -> None:
        parent, child = load_ruleset("deribit-pm"), load_ruleset("deribit-pm-cross")
        assert child.data.pools.by == "account" and parent.data.pools.by == "settlement"
        assert child.data.scenarios == parent.data.scenarios
        assert set(child.data.sources) == set(parent.data.sources) | {"haircuts"}
        assert child.data.limits != parent.data.limits

    def test_components_merge_by_name(self) -> None:
        parent, child = load_ruleset("deribit-pm").scan, load_ruleset("deribit-pm-cross").scan
        assert parent is not None and child is not None
        assert (parent.conversion, child.conversion) == ("base", "shocked")
        assert parent.currencies == child.currencies
        whole = load_ruleset("isolated-whole").data.components
        marginal = load_ruleset("isolated").data.components
        assert [c.name for c in whole] == [c.name for c in marginal]

    def test_a_new_component_is_appended(self) -> None:
        raw = {
            "id": "mine",
            "extends": "isolated",
            "components": [
                {
                    "kind": "fee-provision",
                    "name": "fees",
                    "source": "house",
                    "confidence": "house",
                    "rate": 0.001,
                }
            ],
            "combine": {"im": "futures + options + fees"},
        }
        made = ruleset_from_dict(raw)
        assert [c.name for c in made.data.components] == ["futures", "options", "fees"]
        assert made.data.combine.mm == "futures + options"

    def test_the_base_is_left_alone(self) -> None:
        before = load_ruleset("isolated").content_hash
        ruleset_from_dict({"id": "mine", "extends": "isolated", "numeraire": "settlement"})
        assert load_ruleset("isolated").content_hash == before

    def test_two_levels(self) -> None:
        made = ruleset_from_dict({"id": "mine", "extends": "deribit-pm-cross"})
        assert made.data.scenarios == load_ruleset("deribit-pm").data.scenarios

    @pytest.mark.parametrize("name", ["nobody", 3])
    def test_unknown_base(self, name: object) -> None:
        refused({"id": "mine", "extends": name}, "RUL-002")

    def test_circle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        files = {"a": 'id = "a"\nextends = "b"\n', "b": 'id = "b"\nextends = "a"\n'}
        monkeypatch.setattr(ruleset, "_shipped", lambda: files)
        with pytest.raises(RulesetError) as caught:
            load_ruleset("a")
        assert caught.value.code == "RUL-002" and caught.value.field == "extends"

    @pytest.mark.parametrize("components", ["futures", 3, ["futures"]])
    def test_components_of_the_wrong_shape(self, components: object) -> None:
        refused({"id": "mine", "extends": "isolated", "components": components}, "RUL-001")


class TestOverrides:
    def test_by_name_of_the_component(self) -> None:
        made = load_ruleset("paradex-pm", overrides={"components.fee_provision.rate": 0.0005})
        (fees,) = [c for c in made.data.components if c.name == "fee_provision"]
        assert fees.rate == 0.0005  # type: ignore[union-attr]
        assert made.overrides == ("components.fee_provision.rate",)

    def test_by_number(self) -> None:
        made = load_ruleset("isolated", overrides={"components.futures.tiers.BTC.0.im": 0.2})
        assert made.data.components[0].tiers["BTC"][0].im == 0.2  # type: ignore[union-attr]

    def test_new_key_of_a_table(self) -> None:
        made = load_ruleset("deribit-sm-cross", overrides={"collateral.assets.SOL.haircut": 0.1})
        assert made.data.collateral.assets["SOL"].haircut == 0.1

    def test_several_sorted(self) -> None:
        made = load_ruleset(
            "deribit-pm", overrides={"orders.method": "worst-fill", "numeraire": "USD"}
        )
        assert made.overrides == ("numeraire", "orders.method")

    def test_beats_the_base(self) -> None:
        path = "scenarios.underlyings.BTC.price_range"
        made = load_ruleset("deribit-pm-cross", overrides={path: 0.2})
        assert made.data.scenarios is not None
        assert made.data.scenarios.underlyings["BTC"].price_range == 0.2
        assert load_ruleset("deribit-pm").data.scenarios.underlyings["BTC"].price_range == 0.16  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "path",
        [
            "components.nobody.rate",
            "components.99.rate",
            "components.scan",
            "nowhere.at.all",
            "id.more",
            "numeraire.x.y",
        ],
    )
    def test_unknown_path(self, path: str) -> None:
        with pytest.raises(RulesetError) as caught:
            load_ruleset("paradex-pm", overrides={path: 1})
        assert caught.value.code == "RUL-002"

    @pytest.mark.parametrize("path", ["components.scan.unheard_of", "unheard_of", "pools.x", ""])
    def test_unknown_last_key(self, path: str) -> None:
        with pytest.raises(RulesetError) as caught:
            load_ruleset("paradex-pm", overrides={path: 1})
        assert caught.value.code in ("RUL-001", "RUL-002")

    def test_out_of_range(self) -> None:
        with pytest.raises(RulesetError, match="RUL-001"):
            load_ruleset("paradex-pm", overrides={"components.min_delta.net_rate": -1})

    @pytest.mark.parametrize(
        "name, path, value",
        [
            ("deribit-pm", "offset.method", "none"),
            ("paradex-pm", "groups.STETH", "ETH"),
        ],
    )
    def test_section_that_the_file_leaves_out(self, name: str, path: str, value: str) -> None:
        assert load_ruleset(name, overrides={path: value}).overrides == (path,)

    def test_superscript(self) -> None:
        with pytest.raises(RulesetError):
            load_ruleset("isolated", overrides={"components.².x": 1})


class TestDatedVersions:
    @pytest.fixture(autouse=True)
    def versions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = '{}extends = "isolated"\nid = "v"\neffective_from = "{}"\ntitle = "{}"\n'
        files = dict(ruleset._shipped())
        for day, title in (
            ("2025-06-01", "second"),
            ("2024-01-01", "first"),
            ("2026-01-01", "third"),
        ):
            files[f"v-{day}"] = text.format("", day, title)
        monkeypatch.setattr(ruleset, "_shipped", lambda: files)

    @pytest.mark.parametrize(
        "on, title",
        [
            (None, "third"),
            ("2026-01-01", "third"),
            ("2025-12-31", "second"),
            ("2025-06-01", "second"),
            ("2025-05-31", "first"),
            ("2030-01-01", "third"),
        ],
    )
    def test_the_one_in_force(self, on: str | None, title: str) -> None:
        assert load_ruleset("v", on=on).data.title == title

    def test_listed_once(self) -> None:
        assert ruleset_ids().count("v") == 1

    def test_before_the_first(self) -> None:
        # Nothing was in force; the oldest is what comes nearest.
        assert load_ruleset("v", on="2023-01-01").data.title == "first"
