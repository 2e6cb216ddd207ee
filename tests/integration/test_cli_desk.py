"""The desk's commands as a user meets them: ``what-if`` and ``efficiency``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossmargin.book import read_account
from crossmargin.cli import main
from crossmargin.margin import load_ruleset, make_statement
from crossmargin.venues import load_market

DESK = "short-vol-desk"
ADD = ["--add", "BTC-27MAR26-64000-P 10"]


class TestWhatIf:
    def test_json_adds_up_and_the_account_is_written(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out, page = tmp_path / "after.json", tmp_path / "page.html"
        words = ["what-if", DESK, *ADD, "--remove", "BTC-27FEB26-90000-C", "--path"]
        assert main([*words, "--out", str(out), "--html", str(page), "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        answer, path = made["what_if"], made["path"]
        assert path["given"]["steps"][-1]["im_usd"] == pytest.approx(answer["after"]["im_usd"])
        assert path["best"]["peak_usd"] <= path["given"]["peak_usd"] <= path["worst_usd"]
        written = read_account(out)
        rules, market = load_ruleset("deribit-pm-cross"), load_market("calm-2026-02-03")
        totals = make_statement(written, market, rules, solve=False).totals
        assert totals.im == pytest.approx(answer["after"]["im_usd"], rel=1e-12)
        assert totals.equity == pytest.approx(answer["after"]["equity_mm_usd"], rel=1e-12)
        text = page.read_text(encoding="utf-8")
        assert "Margin path" in text and "http://" not in text and "https://" not in text

    @pytest.mark.parametrize(
        "text",
        [
            "BTC-PERPETUAL 5",
            "buy 5 BTC-PERPETUAL",
            "BTC-PERPETUAL +5 @ 78000",
            "buy 5 BTC-PERPETUAL @ 78000",
        ],
    )
    def test_ways_to_say_a_leg(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["what-if", DESK, "--add", text, "--json"]) == 0
        (fill,) = json.loads(capsys.readouterr().out)["what_if"]["fills"]
        assert fill["quantity"] == 5.0 and ("@" not in text or fill["price"] == 78_000.0)

    def test_selling_and_rolling_part(self, capsys: pytest.CaptureFixture[str]) -> None:
        roll = "BTC-27FEB26-62000-P=BTC-27MAR26-64000-P 4"
        words = ["what-if", DESK, "--add", "sell 2 BTC-27MAR26-80000-C", "--roll", roll, "--json"]
        assert main(words) == 0
        fills = json.loads(capsys.readouterr().out)["what_if"]["fills"]
        assert [(f["instrument"], f["quantity"], f["after"]) for f in fills] == [
            ("BTC-27FEB26-62000-P", 4.0, -6.0),
            ("BTC-27MAR26-64000-P", -4.0, -34.0),
            ("BTC-27MAR26-80000-C", -2.0, -2.0),
        ]

    @pytest.mark.parametrize(
        "words, said",
        [
            ([], "INP-013"),
            (["--add", "BTC-PERPETUAL"], "INP-013"),
            (["--add", "BTC-PERPETUAL five"], "INP-013"),
            (["--add", "sell -2 BTC-PERPETUAL"], "INP-013"),
            (["--add", "BTC-PERPETUAL 0"], "MRG-022"),
            (["--add", "BTC-31FEB26-1-C 1"], "INP-001"),
            (["--add", "BTC-27MAR30-90000-C 1"], "MKT-004"),
            (["--remove", "SOL-PERPETUAL"], "MRG-023"),
            (["--remove", "BTC-27FEB26-90000-C 11"], "MRG-023"),
            (["--remove", "a b c"], "INP-013"),
            (["--roll", "BTC-27FEB26-90000-C"], "INP-013"),
            ([*ADD, "--path", "--keep-low", "mm"], "INP-013"),
            ([*ADD, "--pool", "elsewhere"], "INP-008"),
        ],
    )
    def test_wrong_words(
        self, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["what-if", DESK, *words]) == 2
        err = capsys.readouterr().err
        assert err.startswith(said) and err.count("\n") == 1


class TestEfficiency:
    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["efficiency", "directional", "--pnl", "BTC-PERPETUAL=900", "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        earned = {row["instrument"]: row["pnl_usd"] for row in made["positions"]}
        assert earned == {"BTC-PERPETUAL": 900.0, "ETH-PERPETUAL": None}
        assert made["release"][0]["released_usd"] > 0 and made["tail"]["seed"] == 20260203

    @pytest.mark.parametrize(
        "words, said", [(["--pnl", "BTC-PERPETUAL"], "INP-013"), (["--most", "0"], "INP-004")]
    )
    def test_wrong_words(
        self, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["efficiency", DESK, *words]) == 2
        assert capsys.readouterr().err.startswith(said)


def test_a_sigma_of_a_stranger_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It would have been passed over in silence."""
    for words in (("--sigma", "XYZ=0.03"), ("--corr", "BTC,XYZ=0.5")):
        assert main(["stress", "directional", *words]) == 2
        assert "'XYZ' moves nothing in this account" in capsys.readouterr().err


def test_explain_says_first_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "covered-call", "nosuch"]) == 2
    assert "no account file and no demo account 'nosuch'" in capsys.readouterr().err


class TestEfficiencyOverTimeAndRules:
    """Row A12's return on a time-weighted margin, and ratios of several rule-sets."""

    MARGINS = "time,im\n2026-01-14,10000\n2026-01-04,40000\n2026-02-03,0\n"

    def test_row_a12(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path, page = tmp_path / "im.csv", tmp_path / "page.html"
        path.write_text(self.MARGINS)
        words = [
            "efficiency",
            "basis-trader",
            "--pnl",
            "BTC-PERPETUAL=1000",
            "--margins",
            str(path),
        ]
        assert main([*words, "--html", str(page)]) == 0
        out = capsys.readouterr().out
        assert "20,000.00 USD over 30.00 days: 5.00 %, 60.83 % a year" in out
        assert page.read_text().count("<svg") >= 2

    def test_ratios_beside_each_other(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["efficiency", DESK, "--against", "isolated", "--against", "aave-v3"]
        words += ["--money-rate", "0.08", "--volume-day", "1e6", "--open-interest", "2e6"]
        assert main([*words, "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        own = {one["name"]: one["value"] for one in made["ratios"]}
        other = {one["name"]: one["value"] for one in made["against"]["isolated"]}
        assert own["margin saved"] > 0.7 and other["margin saved"] == 0
        assert own["turnover"] == pytest.approx(1e6 / (own["idle collateral"] + _im(own)))
        assert own["cost of margin"] == pytest.approx(0.08 * _im(own))
        assert list(made["refused"]) == ["aave-v3"]
        assert main(words) == 0
        out = capsys.readouterr().out
        assert "aave-v3 does not margin this account" in out and "isolated" in out

    @pytest.mark.parametrize(
        ("text", "words", "said"),
        [
            (MARGINS, (), "needs what was earned"),
            ("time,margin\n2026-01-04,1\n", ("--pnl", "BTC-PERPETUAL=1"), "no column 'im'"),
            ("time,im\n2026-01-04,1\n", ("--pnl", "BTC-PERPETUAL=1"), "no margins through time"),
            ("time,im\nx,1\ny,2\n", ("--pnl", "BTC-PERPETUAL=1"), "INP-010"),
            (
                "time,im\n2026-01-04,0\n2026-01-05,0\n",
                ("--pnl", "BTC-PERPETUAL=1"),
                "margin above 0",
            ),
            (MARGINS, ("--pnl", "BTC-PERPETUAL=1", "--money-rate", "-1"), "--money-rate is -1"),
        ],
    )
    def test_wrong_words(
        self, text: str, words: tuple[str, ...], said: str, tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        path = tmp_path / "im.csv"
        path.write_text(text)
        assert main(["efficiency", "basis-trader", "--margins", str(path), *words]) == 2
        err = capsys.readouterr().err
        assert said in err and "Traceback" not in err


def _im(ratios: dict[str, float]) -> float:
    """IM out of what is idle and the share that is used."""
    used = ratios["initial margin used"]
    return float(ratios["idle collateral"] / (1.0 - used) * used)
