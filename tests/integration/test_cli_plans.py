"""Plans from the command line: tables, JSON, pages, and wrong input in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crossmargin.cli import main

ROWS = "\n".join(
    f"2025-{1 + k // 28:02d}-{1 + k % 28:02d},{value}"
    for k, value in enumerate([100, 120, 90, 110, 80, 130, 125, 128])
)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    seen = capsys.readouterr()
    return code, seen.out, seen.err


class TestHedge:
    NAMED = ("--with", "BTC-PERPETUAL", "--with", "BTC-27MAR26-79000-P=40")

    def test_bands(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        page = tmp_path / "hedge.html"
        code, out, _ = run(
            capsys, "hedge", "short-vol-desk", "--band", "BTC delta -0.5..0.5", *self.NAMED,
            "--html", str(page),
        )  # fmt: skip
        assert code == 0 and "zero orders" in out  # its delta is 0.19 already
        assert page.read_text().startswith("<!DOCTYPE html>")

    def test_json_is_the_plan(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = run(
            capsys, "hedge", "short-vol-desk", "--free", "20000", *self.NAMED,
            "--lot", "BTC-PERPETUAL=10", "--lot", "BTC-27MAR26-79000-P=0.1", "--json",
        )  # fmt: skip
        made = json.loads(out)["hedge"]
        assert code == 0 and made["met"]
        assert made["available_after_usd"] - made["available_before_usd"] >= 20_000 - 1e-6
        for trade in made["trades"]:
            lot = 10 if trade["instrument"] == "BTC-PERPETUAL" else 0.1
            assert trade["quantity"] / lot == pytest.approx(round(trade["quantity"] / lot))

    def test_what_cannot_be_done_exits_with_1(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = run(
            capsys, "hedge", "short-vol-desk", "--free", "10000000", "--with", "BTC-PERPETUAL"
        )
        assert code == 1 and "No trades among the candidates can do it" in out

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((), "nothing is asked for"),
            (("--band", "delta 1"), "cannot be read"),
            (("--band", "BTC delta 1..x"), "cannot be read"),
            (("--free", "-5"), "free_usd is -5"),
            (("--free", "5", "--with", "BTC-PERPETUAL=x"), "cannot be read"),
            (("--free", "5", "--with", "NOTHING"), "NOTHING"),
        ],
    )
    def test_wrong_input(
        self, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, _, err = run(capsys, "hedge", "short-vol-desk", *arguments)
        assert code == 2 and said in err and "Traceback" not in err


class TestSize:
    def test_row_by_row(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = run(
            capsys, "size", "directional", "BTC-PERPETUAL", "--stop", "74000", "--budget", "1000",
            "--set", "orders.method=worst-fill", "--kelly", "0.001",
        )  # fmt: skip
        assert code == 0 and "Bound by: Kelly ceiling" in out and "≥" in out

    def test_wrong_input(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, _, err = run(
            capsys, "size", "directional", "BTC-26JUN26", "--stop", "1",
            "--set", "orders.method=worst-fill",
        )  # fmt: skip
        assert code == 2 and "no mark for BTC-26JUN26" in err


class TestSeries:
    def test_drawdown(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        curve = tmp_path / "equity.csv"
        curve.write_text("date,equity\n" + ROWS)
        page = tmp_path / "d.html"
        code, out, _ = run(
            capsys, "drawdown", str(curve), "--limit", "0.2", "--ladder", "0.1:0.5:0.05",
            "--paths", "200", "--html", str(page),
        )  # fmt: skip
        assert code == 0 and "33.33 %" in out and "2025-01-05" in out
        assert "Under water" in page.read_text()
        one = run(capsys, "drawdown", str(curve), "--paths", "50", "--json")[1]
        assert one == run(capsys, "drawdown", str(curve), "--paths", "50", "--json")[1]
        assert json.loads(one)["report"]["worst"]["depth"] == pytest.approx(1 / 3)

    def test_drawdown_of_wrong_files(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        assert "no file" in run(capsys, "drawdown", str(tmp_path / "none.csv"))[2]
        curve = tmp_path / "equity.csv"
        curve.write_text("date,money\n2025-01-01,1\n")
        assert "no column 'equity'" in run(capsys, "drawdown", str(curve))[2]
        curve.write_text("date,equity\n2025-01-01,100\n2025-01-02,0\n2025-01-03,5\n")
        assert "PLN-002" in run(capsys, "drawdown", str(curve))[2]
        curve.write_text("date,equity\n" + ROWS)
        assert "cannot be read" in run(capsys, "drawdown", str(curve), "--ladder", "0.1")[2]

    def test_rebalance(self, capsys: pytest.CaptureFixture[str]) -> None:
        held = (
            "--hold",
            "BTC=65",
            "--hold",
            "USD=50",
            "--target",
            "BTC=0.5",
            "--target",
            "USD=0.5",
        )
        code, out, _ = run(capsys, "rebalance", *held)
        assert code == 0 and "56.52 %" in out and "-7.50" in out
        made = json.loads(run(capsys, "rebalance", *held, "--to", "edge", "--json")[1])
        assert made["after"][0] == pytest.approx(0.55)
        assert "neither target nor edge" in run(capsys, "rebalance", *held, "--to", "x")[2]

    def test_allocate(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        strategies, profits = tmp_path / "s.toml", tmp_path / "p.csv"
        strategies.write_text(
            '[[strategy]]\nname = "basis"\nim = 10\nmost = 8\n'
            '[[strategy]]\nname = "carry"\nim = 20\nmost = 6\nvenue = "B"\n'
        )
        draw = np.random.default_rng(1).normal([3, 8], [2, 12], (200, 2))
        profits.write_text("basis,carry\n" + "\n".join(f"{a:.6f},{b:.6f}" for a, b in draw))
        page = tmp_path / "a.html"
        code, out, _ = run(
            capsys, "allocate", str(strategies), str(profits), "--equity", "200",
            "--frontier", "5", "--html", str(page), "--venue", "B=60",
        )  # fmt: skip
        assert code == 0 and "venue B" in out and "Frontier" in out
        assert "Profit against expected shortfall" in page.read_text()
        strategies.write_text('[[strategy]]\nname = "basis"\n')
        err = run(capsys, "allocate", str(strategies), str(profits), "--equity", "200")[2]
        assert "im" in err and "INP-003" in err

    def test_correlate(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        import polars as pl

        rng = np.random.default_rng(4)
        hours = 24 * 200
        coin = pl.DataFrame(
            {
                "symbol": ["BTCUSDT"] * hours,
                "date": np.datetime64("2025-01-01", "us")
                + np.arange(hours) * np.timedelta64(1, "h"),
                "close": 1e5 * np.exp(np.cumsum(rng.normal(0, 0.005, hours))),
            }
        )
        macro = pl.DataFrame(
            {
                "series": ["SPY"] * 200,
                "date": np.datetime64("2025-01-01", "us") + np.arange(200) * np.timedelta64(1, "D"),
                "value": 600 * np.exp(np.cumsum(rng.normal(0, 0.01, 200))),
            }
        )
        a, b = tmp_path / "coin.parquet", tmp_path / "macro.parquet"
        coin.write_parquet(a)
        macro.write_parquet(b)
        code, out, _ = run(capsys, "correlate", str(a), str(b), "--given", "SPY=-0.05")
        assert code == 0 and "BTC / SPY" in out and "expected move" in out
        assert "no series 'QQQ'" in run(capsys, "correlate", str(a), str(b), "--series", "QQQ")[2]
        code, _, err = run(capsys, "correlate", str(a), str(b), "--regimes")
        assert code == 2 and "need 250 returns, not 169" in err
        assert "cannot be read" in run(capsys, "correlate", str(a), str(b), "--from", "May")[2]


class TestVenues:
    TWO = (
        "--venue", "A=covered-call:deribit-pm", "--venue", "B=basis-trader:deribit-sm",
    )  # fmt: skip

    def test_plan(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = run(capsys, "venues", "plan", *self.TWO, "--shock", "BTC=-0.5")
        assert code == 0 and "Net delta" in out and "Free margin of all venues" in out
        made = json.loads(run(capsys, "venues", "plan", *self.TWO, "--json")[1])
        assert [v["venue"] for v in made["venues"]] == ["A", "B"]

    def test_place(self, capsys: pytest.CaptureFixture[str]) -> None:
        made = json.loads(
            run(capsys, "venues", "place", *self.TWO, "--budget", "2000", "--json")[1]
        )
        before = sum(v["im_before_usd"] for v in made["venues"])
        assert sum(v["im_after_usd"] for v in made["venues"]) < 0.8 * before
        by_name: dict[str, float] = {}
        for move in made["moves"]:
            by_name[move["instrument"]] = by_name.get(move["instrument"], 0.0) + move["quantity"]
        assert all(abs(x) < 1e-3 for x in by_name.values())

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--venue", "covered-call"), "cannot be read"),
            (("--venue", "A=covered-call:nothing"), "nothing"),
            ((*TWO, "--scenario", "nothing"), "nothing"),
            ((*TWO, "--scenario", "fall-30", "--shock", "BTC=-0.1"), "two scenarios"),
        ],
    )
    def test_wrong_input(
        self, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, _, err = run(capsys, "venues", "plan", *arguments)
        assert code == 2 and said in err


class TestFiguresThatAreNone:
    """Each is one sentence and exit code 2; each once was a traceback, or passed in silence."""

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--seed", "-1", "--limit", "0.2"), "a seed of -1"),
            (("--limit", "2"), "a fall of 2 is none"),
            (("--limit", "nan"), "a fall of nan is none"),
            (("--periods-per-year", "0"), "periods_per_year is 0"),
        ],
    )
    def test_drawdown(
        self,
        arguments: tuple[str, ...],
        said: str,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
    ) -> None:
        curve = tmp_path / "equity.csv"
        curve.write_text("date,equity\n" + ROWS)
        code, out, err = run(capsys, "drawdown", str(curve), *arguments)
        assert code == 2 and said in err and not out and err.count("\n") == 1

    def test_a_column_of_words(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        curve = tmp_path / "equity.csv"
        curve.write_text("date,equity\n2025-01-01,100\n2025-01-02,none\n")
        code, _, err = run(capsys, "drawdown", str(curve))
        assert code == 2 and "not numbers" in err and "leave a cell empty" in err

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--lot", "0"), "lot is 0"),
            (("--lot", "nan"), "lot is nan"),
            (("--risk", "-1"), "a share of -1 of equity"),
            (("--risk", "nan"), "a share of nan of equity"),
        ],
    )
    def test_size(
        self, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, err = run(
            capsys, "size", "directional", "BTC-PERPETUAL", "--stop", "74000",
            "--set", "orders.method=worst-fill", *arguments,
        )  # fmt: skip
        assert code == 2 and said in err and not out

    def test_a_holding_is_given_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("rebalance", "--target", "BTC=0.5", "--target", "USD=0.5", "--hold", "BTC=65")
        code, _, err = run(capsys, *words, "--hold", "BTC=50")
        assert code == 2 and "'BTC' is given twice" in err
        code, _, err = run(capsys, *words, "--hold", "USD=nan")
        assert code == 2 and "'USD=nan' cannot be read" in err

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--decay", "1.5"), "decay is 1.5"),
            (("--close", "99:99"), "'99:99' is no time of day"),
            (("--close", "noon"), "'noon' is no time of day"),
            (("--zone", "Mars/Base"), "there is no time zone 'Mars/Base'"),
            (("--zone", "../etc"), "there is no time zone '../etc'"),
            (("--given", "SPY=nan"), "'SPY=nan' cannot be read"),
        ],
    )
    def test_correlate(
        self,
        arguments: tuple[str, ...],
        said: str,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
    ) -> None:
        days = np.datetime64("2025-01-01") + np.arange(120)
        waves = np.exp(np.sin(np.arange(120) * 0.7) / 20)
        hours = [f"{day}T{hour:02d}:00:00" for day in days for hour in range(24)]
        coins, macro = tmp_path / "coins.csv", tmp_path / "macro.csv"
        coins.write_text(
            "symbol,date,close\n"
            + "".join(f"BTCUSDT,{h},{100 * waves[k // 24]:.6f}\n" for k, h in enumerate(hours))
        )
        macro.write_text(
            "series,date,value\n" + "".join(f"SPY,{d},{50 * w:.6f}\n" for d, w in zip(days, waves))
        )
        words = ("correlate", str(coins), str(macro))
        assert run(capsys, *words)[0] == 0
        code, _, err = run(capsys, *words, *arguments)
        assert code == 2 and said in err and "Traceback" not in err


def test_greeks_of_a_hedge_name_their_units(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "hedge", "short-vol-desk", "--band", "BTC delta -0.5..0.5", "--with",
        "BTC-PERPETUAL",
    )  # fmt: skip
    assert code == 0
    assert "BTC delta, coins, less options' value in coin" in out
    assert "BTC vega, USD per volatility point" in out
