"""``liquidate`` on the command line: the trail, its exit codes, wrong input."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout

import pytest

from crossmargin.cli import main
from crossmargin.liquidation import liquidation_rule_ids


def run(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["liquidate", *words])
    return code, out.getvalue(), err.getvalue()


def test_an_account_below_its_line_is_reduced_to_it() -> None:
    code, out, _ = run("short-vol-desk", "--move", "BTC=0.4", "--json")
    made = json.loads(out)
    assert code == 0
    assert made["ended"] == "healthy"
    assert made["steps"][0]["equity_before_usd"] < made["steps"][0]["mm_before_usd"]
    assert made["equity_usd"] == pytest.approx(made["mm_usd"], rel=1e-6)
    for leg in made["legs"]:
        assert 0.0 <= leg["closed_share"] <= 1.0
        assert leg["left"] * leg["held"] >= 0
    paid = sum(step["cost_usd"] for step in made["steps"])
    assert made["cost_usd"] == pytest.approx(paid)


def test_an_account_above_its_line_is_left_alone() -> None:
    code, out, _ = run("basis-trader")
    assert code == 0
    assert "above its line: nothing is done" in out


def test_what_a_backstop_takes_ends_with_code_1() -> None:
    code, out, _ = run("directional", "--move", "BTC=-0.35", "--rules", "hyperliquid", "--json")
    made = json.loads(out)
    assert code == 1
    assert made["ended"] == "taken-over"
    assert {step["rule"] for step in made["steps"]} == {"hyperliquid/backstop-vault"}


def test_a_fifth_first_and_the_rest_at_the_next_look() -> None:
    """Venues.md 5: above 100,000 USD 20 % is sent, then for 30 s orders are whole."""
    words = ("directional", "--move", "BTC=-0.24", "--rules", "hyperliquid", "--json")
    code, out, _ = run(*words, "--every", "5", "--looks", "100")
    made = json.loads(out)
    assert code == 0
    done = [(x["after_s"], x["leg"], x["units"]) for x in made["steps"] if x["action"] == "close"]
    assert done == [
        (0.0, "BTC-PERPETUAL", 240_000.0),
        (0.0, "ETH-PERPETUAL", 70_000.0),
        (5.0, "BTC-PERPETUAL", 960_000.0),
    ]


def test_the_rules_are_listed() -> None:
    code, out, _ = run("short-vol-desk", "--list", "--json")
    assert code == 0
    assert {row["id"] for row in json.loads(out)} == set(liquidation_rule_ids())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rules", "mtgox"), "mtgox"),
        (("--rules", "none.toml"), "none.toml"),
        (("--move", "BTC"), "'BTC' is no figure"),
        (("--move", "BTC=-1.5"), "cannot move by -1.5"),
        (("--move", "DOGE=-0.5"), "DOGE"),
        (("--move", "BTC=1e308"), "cannot move by 1e+308"),
        (("--lot", "NOPE=5"), "NOPE=5 is no figure of a position"),
        (("--impact", "NOPE=5"), "NOPE=5 is no figure of a position"),
        (("--lot", "BTC-PERPETUAL=-1"), "At least 0"),
        (("--every", "0"), "looks every 0 s"),
        (("--looks", "0"), "0 looks"),
        (("--slip", "-1"), "slip_rate is -1"),
        (("--pool", "swamp"), "swamp"),
    ],
)
def test_wrong_input_is_a_sentence(words: tuple[str, ...], said: str) -> None:
    code, _, err = run("short-vol-desk", *words)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_what_the_rules_lack_can_be_supplied() -> None:
    """Drift's ramp: initial share and duration are parameters of the chain."""
    words = ("directional", "--move", "BTC=-0.3", "--rules", "drift-v2", "--json")
    code, _, err = run(*words)
    assert code == 2 and "LIQ-011" in err and "--supply" in err
    figures = ("--supply", "steps.ramp.initial_share=0.2", "--supply", "steps.ramp.duration_s=150")
    code, out, _ = run(*words, *figures)
    made = json.loads(out)
    assert code == 0 and made["ended"] == "healthy"
    assert made["equity_usd"] == pytest.approx(1.02 * made["mm_usd"], rel=1e-6)
    # 20 % at once and the rest over 150 s, a look every 10 s: whole after 120 s.
    assert max(x["after_s"] for x in made["steps"]) == 120.0
    code, _, err = run(*words, "--supply", "steps.ramp.share=0.2")
    assert code == 2 and "LIQ-0" in err
    code, _, err = run(*words, "--supply", "abc")
    assert code == 2 and "'--supply'" in err and "--set" not in err
