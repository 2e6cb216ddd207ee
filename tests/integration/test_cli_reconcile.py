"""``crossmargin reconcile``: output, exit codes, sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.recorded_positions import cross_rows, frame, population, write

from crossmargin.cli import main

BRACKETS = {
    "BTC": [(0.0, 40.0), (150e6, 20.0)],
    "SOL": [(0.0, 20.0), (70e6, 10.0)],
    "AAA": [(0.0, 3.0)],
    "BBB": [(0.0, 5.0)],
    "OP": [(0.0, 4.0)],
}


def run(capsys: pytest.CaptureFixture[str], *tokens: str) -> tuple[int, str, str]:
    code = main(["reconcile", "hyperliquid", *tokens])
    seen = capsys.readouterr()
    return code, seen.out, seen.err


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    older = {("0x03", "AAA"): [(0.0, 10.0)]}
    fenced = {("0x01", "BBB"): 4_321.5}
    rows = population(BRACKETS, accounts=9, older=older, fenced=fenced)
    return str(write(tmp_path / "positions.parquet", rows))


def test_json(capsys: pytest.CaptureFixture[str], recorded: str) -> None:
    code, out, err = run(capsys, recorded, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert list(told)[:2] == ["cases", "share_within_1e-9"]
    assert told["cases"] == told["scoring"]["cases"] > 60
    assert told["share_within_1e-9"] == told["scoring"]["share"] > 0.9
    assert told["scoring"]["listed"] < told["scoring"]["by_coin"] < told["scoring"]["share"]
    missed = round(told["cases"] * (1.0 - told["share_within_1e-9"]))
    assert told["classes"]["isolated"] == missed == sum(told["classes"].values()) > 0
    assert {t["coin"]: t["brackets"] for t in told["tables"]} == {
        "AAA": "3x",
        "BBB": "5x",
        "OP": "4x",
    }
    assert told["holdings"] == {"10x": 1}


def test_tables(capsys: pytest.CaptureFixture[str], recorded: str) -> None:
    code, out, _ = run(capsys, recorded)
    assert code == 0
    for words in ("scored half", "learned half", "why ", "isolated", "AAA ", "OP: the rule-set"):
        assert words in out
    assert "…" not in out


def test_another_rule_set(
    capsys: pytest.CaptureFixture[str], recorded: str, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'format = "crossmargin-ruleset/1"\nid = "own"\nextends = "hyperliquid"\n'
        "[[components]]\nname = 'perpetuals'\n[components.tiers]\n"
        "AAA = [{floor = 0.0, im = 0.3333333333333333, mm = 0.16666666666666666}]\n"
    )
    code, out, _ = run(capsys, recorded, "--ruleset", str(own), "--json")
    assert code == 0
    told = json.loads(out)
    assert told["ruleset"] == "own" and "AAA" not in {t["coin"] for t in told["tables"]}
    code, _, err = run(capsys, recorded, "--ruleset", "deribit-pm")
    assert code == 2 and err.startswith("RUL-011: ")


def test_refused_in_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = cross_rows(0, "0xa", {"BTC": (1.0, 5e4), "SOL": (1.0, 1e2)}, BRACKETS, 1e3)
    good = frame(rows)
    files = {
        "text.parquet": (b"no parquet", "INP-005"),
        "none.parquet": (None, "INP-005"),
        "column.parquet": (good.drop("size"), "INP-003"),
        "empty.parquet": (good.clear(), "INP-002"),
        "nan.parquet": (good.with_columns(size=float("nan")), "INP-004"),
        "one.parquet": (good, "INP-034"),
    }
    for name, (content, code) in files.items():
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            content.write_parquet(path)
        exit_code, out, err = run(capsys, str(path))
        assert (exit_code, out) == (2, ""), name
        assert err.startswith(f"{code}: ") and err.count("\n") == 1, err


def _own_case(im: float) -> dict[str, object]:
    return {
        "format": "crossmargin-case/1",
        "name": "one coin",
        "ruleset": "isolated",
        "account": {
            "format": "crossmargin-account/1",
            "account": "one",
            "balances": [{"asset": "USDC", "amount": 20000}],
            "positions": [
                {"instrument": "BTC_USDC-PERPETUAL", "quantity": 1, "entry_price": 50000}
            ],
        },
        "market": {
            "format": "crossmargin-market/1",
            "as_of": "2026-01-01T00:00:00Z",
            "assets": [{"asset": "BTC", "price_usd": 50000}, {"asset": "USDC", "price_usd": 1}],
            "instruments": [{"instrument": "BTC_USDC-PERPETUAL", "price_mark": 50000}],
        },
        "expected": {"im": im},
    }


@pytest.mark.parametrize(("im", "wanted"), [(1250.0, 2), (1251.0, 1)])
def test_one_unreadable_file_does_not_silence_the_others(im, wanted, tmp_path, capsys) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(_own_case(im)))
    bad.write_text(json.dumps({"schema": "another/1"}))
    code = main(["reconcile", str(bad), str(good), "--json"])
    seen = capsys.readouterr()
    assert code == wanted
    assert json.loads(seen.out)["cases"] == 1
    assert seen.err.startswith("INP-003") and "bad.json" in seen.err
    # Alone it is refused as before, and nothing is printed.
    assert main(["reconcile", str(bad)]) == 2
    assert not capsys.readouterr().out
