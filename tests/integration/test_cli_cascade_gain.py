"""``crossmargin cascade gain`` and ``cascade replay`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cascade.test_recorded_population import fall, folder, people

from crossmargin.cli import main


def test_a_made_up_population(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["cascade", "gain", "--generate", "300", "--seed", "2", "--depth", "DOGE=5e6"]
    assert main([*command, "--move", "-0.15"]) == 0
    text = capsys.readouterr().out
    for words in ("ρ(G), gain of a round", "-15 %", "supplied", "does not forecast", "USD"):
        assert words in text
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert found["rho"] == found["gain"]["radius"] == found["critical_depth_scale"]
    assert found["depth_usd"]["DOGE"] == 5e6 and found["depth_basis"]["BTC"] == "panel"
    assert [s["shock"][0] for s in found["shocks"]] == [-0.2, -0.1, 0.1, 0.2]
    assert found["coverage"] is None and found["accounts"] == 300
    assert f"{found['rho']:,.4g}" in text


def test_a_made_up_population_has_no_rule_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cascade", "gain", "--generate", "10", "--ruleset", "hyperliquid"]) == 2
    assert "a made-up population has maintenance rates of its own" in capsys.readouterr().err


def test_moves_by_asset_and_hedgers(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["cascade", "gain", "--generate", "200", "--json"]
    assert main([*command, "--move", "BTC=-0.1,ETH=-0.2", "--move", "-0.3"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["shocks"][0]["shock"] == [-0.1, -0.2, 0.0, 0.0, 0.0]
    assert plain["shocks"][1]["shock"] == [-0.3] * 5
    assert main([*command, "--gamma", "BTC=-0.5"]) == 0
    short = json.loads(capsys.readouterr().out)
    change = short["gain"]["matrix"][0][0] - plain["gain"]["matrix"][0][0]
    assert change == pytest.approx(0.5 * 50_000.0**2 / 2.44e10)


def test_recorded_accounts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = folder(tmp_path, people())
    assert main(["cascade", "gain", str(base), "--top", "2"]) == 0
    text = capsys.readouterr().out
    assert "liquidation prices, two or more agreeing" in text and "81.8 %" in text
    assert main(["cascade", "gain", str(base), "--alone", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["coverage"]["implied_share"] == pytest.approx(9 / 11)
    assert found["coverage"]["moment"].startswith("2026-02-03T12:00:00")


def test_a_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = folder(tmp_path, fall())
    command = ["cascade", "replay", str(base), "--before", "2026-02-03T12:00:00Z"]
    command += ["--during", "2026-02-03T18:00:00Z", "--after", "2026-02-04T00:00:00Z"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "UNIDENTIFIED EVIDENCE" in text and text.count("not identified:") == 5
    assert "the engine would have cut" in text
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["evidence"][0]["count"]["cut"]["gone"] == 1
    assert found["evidence"][0]["between"][0].startswith("2026-02-03T12:00:00")
    assert [m["label"] for m in found["moments"]] == ["before", "during", "after"]
    assert found["moments"][0]["fragility"]["rho"] > 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["gain"], "INP-013"),
        (["gain", "x", "--generate", "5"], "INP-013"),
        (["gain", "nowhere"], "INP-005"),
        (["gain", "--generate", "0"], "INP-013"),
        (["gain", "--generate", "5", "--top", "0"], "INP-013"),
        (["gain", "--generate", "5", "--depth", "BTC"], "INP-013"),
        (["gain", "--generate", "5", "--depth", "BTC=-1"], "CAS-001"),
        (["gain", "--generate", "5", "--depth", "FOO=1e9"], "CAS-003"),
        (["gain", "--generate", "5", "--coin", "FOO"], "CAS-023"),
        (["gain", "--generate", "5", "--move", "-1"], "INP-004"),
        (["gain", "--generate", "5", "--move", "nan"], "INP-004"),
        (["gain", "--generate", "5", "--move", "fast"], "INP-004"),
        (["gain", "--generate", "5", "--move", "FOO=-0.1"], "CAS-003"),
        (["gain", "--generate", "5", "--move", "BTC=-0.1,0.2"], "INP-013"),
        (["gain", "--generate", "5", "--gamma", "FOO=1"], "CAS-003"),
        (["gain", "--generate", "5", "--gamma", "BTC=x"], "INP-013"),
        (["replay", "nowhere"], "INP-005"),
    ],
)
def test_wrong_words_are_one_sentence(
    words: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cascade", *words]) == 2
    seen = capsys.readouterr()
    assert seen.err.startswith(code) and seen.err.count("\n") == 1 and not seen.out


@pytest.mark.parametrize("command", ["gain", "replay"])
def test_what_is_no_folder_is_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = tmp_path / "note.txt"
    note.write_text("x")
    for place in (note, tmp_path / "nowhere"):
        assert main(["cascade", command, str(place)]) == 2
        assert f"{str(place)!r} is no folder" in capsys.readouterr().err


def test_a_seed_below_0_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cascade", "gain", "--generate", "50", "--seed", "-1"]) == 2
    assert "--seed is -1" in capsys.readouterr().err


def test_maps_stand_under_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar that ends in blanks keeps them: its mark stands where the others have theirs."""
    base = folder(tmp_path, people())
    assert main(["cascade", "gain", str(base)]) == 0
    text = capsys.readouterr().out.partition("closed by force, by price")[2]
    rows = [line for line in text.splitlines() if line.count("|") == 3]
    assert len(rows) > 1
    assert len({tuple(k for k, c in enumerate(row) if c == "|") for row in rows}) == 1
