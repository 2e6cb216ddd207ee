"""The tables of models/prices.md are what the shipped figures say."""

from __future__ import annotations

import re
from pathlib import Path

from crossmargin.market import default_policy, funding_rule, funding_rule_ids

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "models" / "prices.md").read_text("utf-8")


def row(name: str) -> str:
    found = re.search(rf"^\|[^|]*`{name}`[^|]*\| ([^|]+) \|", PAGE, re.M)
    assert found, f"{name} is not in the table"
    return found[1]


def test_policy_figures() -> None:
    policy = default_policy()
    for name in policy.__struct_fields__:
        value, shown = getattr(policy, name), row(name)
        if isinstance(value, tuple):
            assert shown == ", ".join(value)
        else:
            assert float(value) in [float(x.replace(",", "")) for x in shown.split(", ")], name


def test_funding_rules() -> None:
    for name in funding_rule_ids():
        rule = funding_rule(name)
        line = next(x for x in PAGE.splitlines() if x.startswith(f"| `{name}` |"))
        cells = [c.strip() for c in line.strip("|").split("|")]
        assert cells[1] == rule.__struct_config__.tag and cells[3] == rule.confidence
