"""``crossmargin validate`` as a user runs it: table, JSON, page, and wrong input."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossmargin.cli import main


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 700 days of BTC and ETH, and a level of implied volatility, up from a seed."""
    rng = np.random.default_rng(5)
    n = 700
    days = [datetime(2022, 1, 1) + timedelta(days=k) for k in range(n)]
    move = 0.03 * rng.standard_t(4, size=n)
    btc = 30_000 * np.exp(np.cumsum(move))
    eth = 2_000 * np.exp(np.cumsum(1.2 * move + 0.02 * rng.standard_normal(n)))
    path = tmp_path_factory.mktemp("prices") / "made.parquet"
    pl.DataFrame(
        {
            "date": days * 2,
            "symbol": ["BTC"] * n + ["ETH"] * n,
            "close": [*btc.tolist(), *eth.tolist()],
            "vol": [0.6] * n + [None] * n,
        }
    ).write_parquet(path)
    return path


BASIC = ["--start-up", "300", "--no-steps", "--adversarial", "0"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["validate", *arguments])
    seen = capsys.readouterr()
    return code, seen.out, seen.err


def test_table_and_page(prices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "report.html"
    code, out, _ = run(
        capsys, "ewma-normal-var", "--data", str(prices), "--html", str(page), *BASIC
    )
    assert code == 0
    assert "long-btc" in out and "power" in out and "league" in out
    assert "long-ltc not tested: the history has no prices of LTC" in out
    text = page.read_text(encoding="utf-8")
    for word in ("Verdict", "Power of the count test", "League", "Breaches", "Coverage",
                 "Procyclicality", "Limits", "short-straddle"):  # fmt: skip
        assert word in text
    assert text.count("<svg") > 5
    assert "http" not in text.replace("http-equiv", "")


def test_json_of_a_rule_set_against_a_benchmark(
    prices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["derive-pm2", "--against", "historical-es", "--data", str(prices), "--json",
                 "--book", "long-btc", "--book", "short-straddle", "--start-up", "640",
                 "--no-steps", "--adversarial", "0"]  # fmt: skip
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    made = json.loads(out)
    assert made["format"] == "crossmargin-validation/1"
    assert [one["model"] for one in made["models"]] == ["derive-pm2", "historical-es"]
    books = {one["book"]: one for one in made["models"][0]["books"]}
    assert set(books) == {"long-btc", "short-straddle"}
    assert books["short-straddle"]["synthetic"] is True
    assert books["long-btc"]["observations"] == 59
    assert run(capsys, *arguments)[1] == out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--level", "1.5"], "level"),
        (["--seed", "-1"], "a seed of -1"),
        (["--html", "/nowhere/x.html"], "cannot write '/nowhere/x.html'"),
        (["--horizon", "0"], "horizon"),
        (["--since", "yesterday"], "not a date"),
        (["--book", "nothing"], "no portfolio"),
        (["--portfolios", "nowhere.toml"], "cannot read"),
        (["--start-up", "5000"], "nothing can be tested"),
        (["--start-up", "-1"], "start-up"),
        (["--set", "a=1"], "no figure 'a'"),
        (["--vary", "window"], "varies nothing"),
        (["--vary", "a=1,2"], "no figure 'a'"),
        (["--against", "no-such-rules"], "no-such-rules"),
        (["--since", "2030-01-01"], "no day"),
        (["--book", "long-ltc"], "no prices of LTC"),
    ],
)
def test_wrong_input_is_a_sentence(
    prices: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    code, _, err = run(capsys, "historical-es", "--data", str(prices), *arguments)
    assert code == 2
    assert says in err and "Traceback" not in err


def test_no_data_says_how_to_name_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CROSSMARGIN_DATA", raising=False)
    code, _, err = run(capsys, "historical-es")
    assert code == 2
    assert "CROSSMARGIN_DATA" in err
