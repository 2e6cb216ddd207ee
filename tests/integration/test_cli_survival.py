"""``survival``: the chance of a liquidation in words, JSON and pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from crossmargin.cli import main

#: Row A07's rule (5 % of the mark) is not among the shipped ones; these accounts are simple.
ACCOUNT = {
    "format": "crossmargin-account/1",
    "account": "one-perp",
    "balances": [{"asset": "USDC", "amount": 10_000}],
    "positions": [
        {"instrument": "BTC_USDC-PERPETUAL", "quantity": 1, "entry_price": "mark"}
    ],
}  # fmt: skip
FEW = ("--days", "2", "--paths", "40")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    seen = capsys.readouterr()
    return code, seen.out, seen.err


@pytest.fixture
def perp(tmp_path: Path) -> str:
    path = tmp_path / "perp.json"
    path.write_text(json.dumps(ACCOUNT))
    return str(path)


def test_the_chance_is_that_of_a_path_of_its_own(
    perp: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(
        capsys, "survival", perp, "--ruleset", "deribit-sm", "--days", "1", "--step-hours", "24",
        "--paths", "1500", "--sigma", "BTC=0.1", "--json",
    )  # fmt: skip
    made = json.loads(out)
    one = made["survival"][0]
    # One step of a lognormal price, and one price below which the account is liquidated.
    down = _line(perp, capsys)
    z = (math.log(down / 78_494.54) + 0.5 * 0.01) / 0.1
    exact = 0.5 * math.erfc(-z / math.sqrt(2.0))
    assert code == 0 and one["paths"] == 1_500 and one["refused"] == 0
    assert abs(one["p_liquidation"] - exact) < 4.0 * math.sqrt(exact * (1 - exact) / 1_500)
    assert one["alive"] == [1.0, pytest.approx(1.0 - one["p_liquidation"])]


def _line(perp: str, capsys: pytest.CaptureFixture[str]) -> float:
    _, out, _ = run(capsys, "margin", perp, "--ruleset", "deribit-sm", "--json")
    return float(json.loads(out)["liquidation"][0]["down"]["price_usd"])


def test_cross_against_isolated_on_the_same_paths(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "alive.html"
    code, out, _ = run(
        capsys, "survival", "directional", "--ruleset", "isolated", "--ruleset",
        "deribit-pm-cross", *FEW, "--path", "BTC=60000", "--gap", "BTC=0.1", "--html", str(page),
    )  # fmt: skip
    assert code == 0 and "avoided against isolated" in out and "seed 20260203" in out
    assert "cross at 63,471.14" in out  # between today's price and 60,000
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>") and text.count("<svg") >= 1


def test_leverage_never_makes_a_pot_safer(perp: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(
        capsys, "survival", perp, "--ruleset", "deribit-sm", *FEW, "--json",
        "--leverage", "2", "--leverage", "8", "--leverage", "20", "--leverage", "30",
    )  # fmt: skip
    chance = [one["p_liquidation"] for one in json.loads(out)["leverage"]]
    assert chance == sorted(chance) and chance[0] < chance[-1]


def test_row_a13_who_pays_for_a_jump(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """20,000 in the wallet, long 1 BTC, straight down to 25,000: 25,000 are lost by two parties."""
    market, path = tmp_path / "market.json", tmp_path / "who.json"
    market.write_text(json.dumps({
        "format": "crossmargin-market/1", "as_of": "2026-02-25T08:00:00Z",
        "assets": [{"asset": "BTC", "price_usd": 50_000}, {"asset": "USDC", "price_usd": 1}],
        "instruments": [{"instrument": "BTC_USDC-PERPETUAL", "price_mark": 50_000}],
    }))  # fmt: skip
    held = {**ACCOUNT["positions"][0], "fenced_margin": 5_000}
    cash = [{"asset": "USDC", "amount": 20_000}]
    path.write_text(json.dumps({**ACCOUNT, "balances": cash, "positions": [held]}))
    for pools, trader, venue in (("position", 5_000, 20_000), ("account", 20_000, 5_000)):
        code, out, _ = run(
            capsys, "survival", str(path), "--market", str(market), "--ruleset", "isolated", *FEW,
            "--jump", "BTC=25000", "--set", f"pools.by={pools}", "--json",
        )  # fmt: skip
        (one,) = json.loads(out)["jumps"]
        assert code == 0 and one["loss"]["trader"] == pytest.approx([trader])
        assert one["loss"]["deficit"] == pytest.approx([venue])


def test_same_seed_same_bytes(perp: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("survival", perp, "--ruleset", "deribit-sm", *FEW, "--json")
    assert run(capsys, *asked)[1] == run(capsys, *asked)[1]
    assert run(capsys, *asked)[1] != run(capsys, *asked, "--seed", "2")[1]


def test_a_rule_set_that_refuses_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "survival", "directional", "--ruleset", "isolated", "--ruleset", "aave-v3", *FEW
    )
    assert code == 0 and "aave-v3 does not margin this account" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--days", "1", "--step-hours", "7"), "whole number of steps"),
        (("--days", "-1"), "days in steps of"),
        (("--paths", "0"), "0 paths"),
        (("--seed", "-1"), "a seed of -1"),
        (("--sigma", "DOGE=0.1"), "moves nothing"),
        (("--sigma", "BTC=-0.1"), "standard deviation of BTC"),
        (("--corr", "BTC=0.5"), "BTC,ETH=0.8"),
        (("--path", "BTC=up"), "BTC=60000,50000"),
        (("--path", "BTC=-5"), "is no price"),
        (("--path", "DOGE=5"), "no exposure to DOGE"),
        (("--gap", "BTC"), "BTC=0.1"),
        (("--jump", "BTC="), "BTC=60000,50000"),
        (("--jump", "BTC=0"), "is no price"),
        (("--leverage", "0"), "a leverage of 0"),
        (("--leverage", "nan"), "a leverage of nan"),
        (("--ruleset", "aave-v3"), "RUL"),
        (("--ruleset", "isolated", "--ruleset", "isolated"), "given twice"),
    ],
)
def test_wrong_input(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {"--ruleset": "isolated", "--days": "1", "--paths": "2"}
    asked = [word for pair in few.items() if pair[0] not in arguments for word in pair]
    code, _, err = run(capsys, "survival", "directional", *asked, *arguments)
    assert code == 2 and said in err and "Traceback" not in err
