"""``cascade run``, ``sweep``, ``contagion`` and ``scenarios`` on the command line."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from crossmargin.cascade.scenario_file import scenario_ids
from crossmargin.cli import main
from crossmargin.reports.cascade import LIMITS

SMALL = (
    "--set", "population.accounts=300", "--set", "clock.steps=40", "--set", "clock.step_s=90.0",
)  # fmt: skip


def run(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["cascade", *words])
    return code, out.getvalue(), err.getvalue()


def test_a_run_prints_its_limits_and_repeats_itself() -> None:
    code, out, _ = run("run", "crash", *SMALL, "--quiet")
    assert code == 0
    said = " ".join(out.split())
    for line in LIMITS:
        assert " ".join(line.split()) in said
    assert run("run", "crash", *SMALL, "--quiet")[1] == out


def test_a_run_as_json_adds_up() -> None:
    code, out, err = run("run", "crash", *SMALL, "--json", "--seed", "4")
    made = json.loads(out)
    assert code == 0 and err == ""
    outcome, paths = made["outcome"], made["paths"]
    lead = [row[0] for row in paths["price_usd"]]
    assert outcome["drop"] == pytest.approx(min(lead) / lead[0] - 1)
    assert outcome["liquidated_usd"] == pytest.approx(
        sum(map(sum, paths["sold_usd"])) + sum(map(sum, paths["bought_usd"]))
    )
    assert made["seed"] == 4 and made["limits"] == list(LIMITS)
    assert run("run", "crash", *SMALL, "--json", "--seed", "5")[1] != out


def test_facts_stand_beside_the_calibrated_scenario() -> None:
    _, out, _ = run("run", "2025-10-10", *SMALL, "--json")
    verdicts = {row["verdict"] for row in json.loads(out)["facts"]}
    assert verdicts <= {"matched", "off", "not identified"} and "not identified" in verdicts


def test_a_page_with_the_fan_of_many_runs(tmp_path: Path) -> None:
    page = tmp_path / "x.html"
    code, out, _ = run("run", "crash", *SMALL, "--runs", "5", "--quiet", "--html", str(page))
    assert code == 0 and "5 runs from seed 1 on" in out
    assert "of the runs" in page.read_text()


def test_a_sweep_goes_on_where_it_stood(tmp_path: Path) -> None:
    words = ("sweep", "crash", *SMALL, "--vary", "rules.fund_share=0,0.05", "--seeds", "2",
             "--folder", str(tmp_path / "kept"), "--json")  # fmt: skip
    code, out, _ = run(*words)
    assert code == 0
    files = sorted((tmp_path / "kept").glob("run-*.json"))
    assert len(files) == 4
    files[0].unlink()
    assert run(*words)[1] == out
    labels = [v["label"] for v in json.loads(out)["study"]["variants"]]
    assert labels == ["rules.fund_share = 0", "rules.fund_share = 0.05"]


def test_a_sweep_that_is_killed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    words = ("sweep", "crash", *SMALL, "--seeds", "24", "--json", "--folder")
    command = [sys.executable, "-m", "crossmargin", "cascade", *words, str(tmp_path / "killed")]
    work = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kept = tmp_path / "killed"
    for _ in range(1200):
        if len(list(kept.glob("run-*.json"))) >= 2 or work.poll() is not None:
            break
        time.sleep(0.05)
    work.kill()
    work.wait()
    assert len(list(kept.glob("run-*.json"))) >= 2
    code, out, _ = run(*words, str(kept))
    assert code == 0
    assert out == run(*words, str(tmp_path / "whole"))[1]


def test_designs_side_by_side_and_a_fund(tmp_path: Path) -> None:
    page = tmp_path / "adl.html"
    code, out, _ = run("sweep", "crash", *SMALL, "--policy", "breakers", "--seeds", "4",
                       "--target", "0.25", "--quiet", "--html", str(page))  # fmt: skip
    assert code == 0
    assert "three tiers" in out and "on common paths" in out and "cover 2" in out
    assert "How large a fund" in page.read_text()


def test_a_shock_closes_what_did_not_move() -> None:
    _, out, _ = run("contagion", "crash", *SMALL, "--shock", "BTC=-0.2", "--json")
    made = json.loads(out)
    assert made["shocked"] == ["BTC"] and made["closed"][0] == "BTC"
    assert made["without_position"] == [0.0] and not made["through_prices"]
    assert made["matrix"][0][1] > 0
    walls = ("--set", "population.walls=isolated")
    _, out, _ = run("contagion", "crash", *SMALL, *walls, "--shock", "BTC=-0.2", "--json")
    assert json.loads(out)["matrix"][0][1:] == [0.0, 0.0, 0.0]


def test_scenarios_are_listed_with_the_basis_of_their_figures() -> None:
    _, out, _ = run("scenarios")
    assert all(name in out for name in scenario_ids())
    _, out, _ = run("scenarios", "2025-10-10")
    assert "unconfirmed" in out and "recalled" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "1929"), "There is no scenario called '1929'"),
        (("run", "crash", "--set", "x"), "INP-013"),
        (("run", "crash", "--set", "rules.fund_share=7"), "CAS-002"),
        (("run", "crash", "--set", "rules.liquidation=kind"), "LIQ-003"),
        (("run", "crash", "--seed", "-1"), "CAS-001"),
        (("run", "nowhere.toml"), "INP-005"),
        (("sweep", "crash", "--policy", "luck"), "breakers, closing"),
        (("sweep", "crash", "--phase", "--policy", "adl"), "INP-004"),
        (("sweep", "crash", "--workers", "0"), "INP-004"),
        (("sweep", "crash", "--seeds", "0"), "CAS-001"),
        (("sweep", "crash", "--vary", "rules.fund_share"), "INP-013"),
        (("contagion", "crash", "--shock", "BTC=low"), "INP-013"),
        (("contagion", "crash", "--shock", "DOGE=-0.1"), "CAS-003"),
        (("contagion", "crash", "--shock", "BTC=-1.5"), "CAS-001"),
        (("contagion", "crash", "--policy", "luck"), "CAS-003"),
        (("scenarios", "1929"), "CAS-003"),
    ],
)
def test_wrong_input_is_answered_in_a_sentence(words: tuple[str, ...], said: str) -> None:
    code, out, err = run(*words)
    assert code == 2 and out == ""
    assert said.lower() in err.lower() and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "crash", "--runs", "0"), "0 runs"),
        (("run", "crash", "--workers", "0"), "0 processes"),
        (("run", "crash", "--html", "/nowhere/x.html"), "cannot write '/nowhere/x.html'"),
        (("sweep", "crash", "--html", "/nowhere/x.html"), "cannot write '/nowhere/x.html'"),
        (("sweep", "crash", "--target", "nan"), "nan is no chance"),
        (("sweep", "crash", "--target", "1"), "1 is no chance"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ran(*_: object, **__: object) -> None:
        raise AssertionError("it ran")

    monkeypatch.setattr("crossmargin.cascade.build.run_scenario", ran)
    monkeypatch.setattr("crossmargin.cascade.studies.run_study", ran)
    code, out, err = run(*words)
    assert code == 2 and said in err and not out
