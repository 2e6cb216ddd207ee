"""Derive's recorded portfolios: every figure the contracts returned, by the engine."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from crossmargin.analytics.reconcile import cases_from, reconcile
from crossmargin.errors import InputError

GOLDEN = os.environ.get("CROSSMARGIN_GOLDEN")
needs_golden = pytest.mark.skipif(GOLDEN is None, reason="CROSSMARGIN_GOLDEN is not set")
FILES = {
    "upstream-pm2-portfolios.json": (139, 11_758),
    "upstream-pm1-verify.json": (21, 864),
    "upstream-pm1-portfolios.json": (44, 1_720),
    "upstream-srm-portfolios.json": (42, 339),
    "upstream-srm-cases.json": (28, 384),
}


def folder() -> Path:
    return Path(GOLDEN or "") / "derive"


@needs_golden
@pytest.mark.parametrize("name", sorted(FILES))
def test_every_figure_agrees(name: str) -> None:
    """IM, MM, market value, every scenario, every component: 1e-10, and none left out."""
    found = reconcile([folder() / name])
    summary = found.as_dict()
    assert (summary["cases"], summary["figures"]) == FILES[name]
    assert summary["failed"] == []
    assert found.worst <= 1e-10
    for case in found.cases:
        assert case.uncompared == ()
        assert case.refused is not None or {"im", "mm", "mtm"} <= {x.name for x in case.lines}


@needs_golden
def test_what_the_contracts_refuse_is_refused() -> None:
    summary = reconcile([folder() / "upstream-pm2-portfolios.json"]).as_dict()
    assert [x["case"] for x in summary["refused"]] == ["test_67_misc_skew_scenario_with_spot_move"]
    assert "turns the surface and moves the price" in summary["refused"][0]["reason"]


@needs_golden
def test_no_formula_looks_at_a_name(tmp_path: Path) -> None:
    data = json.loads((folder() / "upstream-pm2-portfolios.json").read_text())
    cases = data["cases"][:30]
    for row, case in enumerate(cases):
        case["name"] = f"case {row}"
        case.pop("source")
    path = tmp_path / "renamed.json"
    path.write_text(json.dumps({**data, "cases": cases}))
    assert reconcile([path]).as_dict()["failed"] == []


@needs_golden
def test_a_changed_figure_is_found(tmp_path: Path) -> None:
    data = json.loads((folder() / "upstream-srm-cases.json").read_text())
    case = data["cases"][3]
    case["oracle_run"]["im"] = str(float(case["oracle_run"]["im"]) * (1 + 1e-9))
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(case))
    (failed,) = reconcile([path]).as_dict()["failed"]
    assert [x["figure"] for x in failed["figures"]] == ["im"]


@needs_golden
def test_expected_whole_dollars() -> None:
    """Without an execution the stored whole dollars count: truncated, off by less than 1."""
    data = json.loads((folder() / "upstream-srm-portfolios.json").read_text())
    cases = [{k: v for k, v in case.items() if k != "oracle_run"} for case in data["cases"]]
    found = cases_from({**data, "cases": cases}, "test")
    assert len(found) == 42
    from crossmargin.analytics.reconcile import reconcile_cases

    result = reconcile_cases(found)
    assert result.as_dict()["failed"] == []
    assert {case.basis for case in result.cases} == {"expected"}


def broken(case: dict[str, Any], *path: str | int, value: Any) -> dict[str, Any]:
    out = copy.deepcopy(case)
    node: Any = out
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return out


@needs_golden
@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("market", "stable_price"), "0", "not a positive price"),
        (("market", "stable_price"), "NaN", "not a number"),
        (("market", "underlyings", "BTC", "spot"), "-5", "not a positive price"),
        (("portfolio", "cash"), "ten", "not a number"),
        (("params", "margin", "im_factor"), "0.4", "outside 0.5 to 10"),
        (("params", "scenarios"), [], "scenarios is missing"),
        (("params", "vol_shock"), None, "vol_shock is missing"),
        (("market", "underlyings", "BTC", "spot_confidence"), "1.5", "not a decimal from 0 to 1"),
    ],
)
def test_bad_cases_are_refused_in_a_sentence(
    path: tuple[str, ...], value: Any, words: str, tmp_path: Path
) -> None:
    data = json.loads((folder() / "upstream-pm2-portfolios.json").read_text())
    case = next(c for c in data["cases"] if c["portfolio"]["options"])
    file = tmp_path / "case.json"
    file.write_text(json.dumps(broken(case, *path, value=value)))
    (result,) = reconcile([file]).cases
    assert result.refused is not None and words in result.refused
    assert result.failed, "what the contracts computed must not pass by being refused"


def test_a_file_of_another_schema_is_refused() -> None:
    with pytest.raises(InputError, match="schema"):
        cases_from({"schema": "other/1", "cases": [{}]}, "test")
    with pytest.raises(InputError, match="no cases"):
        cases_from([], "test")
    with pytest.raises(InputError, match="model"):
        cases_from([{"name": "x"}], "test")
