"""``book``, ``book generate``, ``--watch``, ``rulesets diff`` and ``log`` as a user meets them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from crossmargin.book import book_from_accounts, write_book_parquet
from crossmargin.cli import main
from crossmargin.cli._watch import replay
from crossmargin.cli._watch_output import Replay, latency_summary
from crossmargin.margin import BookWatcher, evaluate_compact, load_ruleset
from crossmargin.venues import load_account, load_market

NAMES = ("covered-call", "basis-trader", "short-vol-desk", "directional")
SRC = Path(__file__).parents[2] / "src"
CRASH = ("--market", "crash-2026-02-05")
RANGE = "scenarios.underlyings.BTC.price_range"
TICKS = (
    "time,asset,price\n2026-02-03T05:00:00Z,BTC,80000\n2026-02-03T05:00:00.2Z,BTC,70000\n"
    "2026-02-03T05:00:00.4Z,BTC,60000\n2026-02-03T05:00:00.5Z,ETH,2000\n"
    "2026-02-03T05:00:00.6Z,BTC,79000\n"
)


def run(capsys: pytest.CaptureFixture[str], *tokens: object) -> tuple[int, str, str]:
    code = main([str(token) for token in tokens])
    seen = capsys.readouterr()
    return code, seen.out, seen.err


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    write_book_parquet(book_from_accounts([load_account(n) for n in NAMES]), tmp_path / "desk")
    return tmp_path / "desk"


def _as_near(one: object, other: object) -> bool:
    """Whether two values of JSON are alike, numbers to rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_as_near(v, other[k]) for k, v in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_as_near, one, other))
    return one == (pytest.approx(other, rel=1e-9, abs=1e-6) if isinstance(one, float) else other)


def touch_rows(folder: Path, table: str, **columns: pl.Expr) -> None:
    path = folder / f"{table}.parquet"
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)


class TestBook:
    def test_results_are_the_library_s(self, desk: Path, tmp_path: Path, capsys) -> None:
        out = tmp_path / "r.parquet"
        code, text, err = run(capsys, "book", desk, *CRASH, "--out", out)
        assert code == 0 and err == "" and "4 accounts, 21 positions" in text
        rows = pl.read_parquet(out)
        assert rows["account_id"].to_list() == list(NAMES)
        from crossmargin.book import read_compact

        columns = evaluate_compact(
            read_compact(desk).book,
            load_market(CRASH[1]),
            load_ruleset("deribit-pm-cross"),
            engine="vectorised",
        )
        assert rows["im_usd"].to_list() == columns.im.tolist()
        assert rows["health"].to_list() == columns.health.tolist()
        assert (rows["excess_mm_usd"] == rows["equity_usd"] - rows["mm_usd"]).all()
        assert rows["state"].to_list() == ["healthy"] * 3 + ["liquidation"]
        assert rows["error_code"].null_count() == 4
        assert sorted(p.name for p in tmp_path.iterdir()) == ["desk", "r.parquet"]

    def test_json_follows_its_schema(self, desk: Path, capsys) -> None:
        jsonschema = pytest.importorskip("jsonschema")
        code, text, _ = run(capsys, "book", desk, *CRASH, "--json", "--top", "2")
        found = json.loads(text)
        jsonschema.validate(found, json.loads(run(capsys, "schema", "book-summary")[1]))
        assert code == 0 and len(found["worst_by_excess"]) == 2
        assert found["worst_by_excess"][0]["account"] == "directional"
        assert {s["state"]: s["accounts"] for s in found["states"]}["liquidation"] == 1

    def test_threads_change_nothing(self, desk: Path, capsys) -> None:
        one = run(capsys, "book", desk, "--json", "--threads", "1")
        assert one == run(capsys, "book", desk, "--json", "--threads", "3")

    def test_engines_agree(self, desk: Path, tmp_path: Path, capsys) -> None:
        seen = []
        for engine in ("fused", "vectorised"):
            out = tmp_path / f"{engine}.parquet"
            assert run(capsys, "book", desk, *CRASH, "--engine", engine, "--out", out)[0] == 0
            seen.append(pl.read_parquet(out))
        for name in ("equity_usd", "im_usd", "mm_usd", "health"):
            assert seen[0][name].to_list() == pytest.approx(seen[1][name].to_list(), rel=1e-12)
        assert seen[0]["state"].to_list() == seen[1]["state"].to_list()

    def test_a_page(self, desk: Path, tmp_path: Path, capsys) -> None:
        page = tmp_path / "b.html"
        assert run(capsys, "book", desk, *CRASH, "--html", page)[0] == 0
        text = page.read_text()
        assert "directional" in text and "71,242" in text and "</html>" in text

    def test_a_name_that_would_be_markup_is_escaped(self, tmp_path: Path, capsys) -> None:
        import msgspec

        odd = msgspec.structs.replace(load_account("directional"), account="<script>[red]x")
        write_book_parquet(book_from_accounts([odd]), tmp_path / "odd")
        page = tmp_path / "b.html"
        code, text, _ = run(capsys, "book", tmp_path / "odd", "--html", page)
        assert code == 0 and "<script>[red]x" in text
        assert "<script>[red]" not in page.read_text()


class TestBadInput:
    @pytest.mark.parametrize(
        ("tokens", "code"),
        [
            (("nowhere",), "INP-005"),
            (("DESK", "--ruleset", "nope"), "RUL-002"),
            (("DESK", "--market", "nope"), "INP-005"),
            (("DESK", "--out", "no/such/folder.parquet"), "INP-014"),
            (("DESK", "--out", "."), "INP-014"),
            (("DESK", "--threads", "0"), "INP-013"),
            (("DESK", "--top", "-1"), "INP-013"),
            (("DESK", "--speed", "2"), "INP-013"),
            (("DESK", "--watch", "nope.csv"), "INP-005"),
            (("DESK", "--ruleset", "deribit-pm@soon"), "INP-010"),
            (("DESK", "--at", "2020-01-01"), "MKT-006"),
            (("DESK", "--prices-as", "x"), "CLI-001"),
            ((), "CLI-001"),
        ],
    )
    def test_one_sentence(self, desk, tmp_path, monkeypatch, capsys, tokens, code) -> None:
        monkeypatch.chdir(tmp_path)
        found = run(capsys, "book", *(desk if t == "DESK" else t for t in tokens))
        if tokens:
            assert found[0] == 2 and found[1] == "" and found[2].startswith(code), found
            assert found[2].count("\n") == 1

    def test_half_written_folder(self, desk: Path, capsys) -> None:
        whole = (desk / "positions.parquet").read_bytes()
        (desk / "positions.parquet").write_bytes(whole[: len(whole) // 2])
        code, _, err = run(capsys, "book", desk)
        assert code == 2 and err.startswith("INP-005") and "positions" in err
        (desk / "positions.parquet").unlink()
        assert run(capsys, "book", desk)[2].startswith("INP-005")

    def test_an_empty_book(self, desk: Path, capsys) -> None:
        for table in desk.iterdir():
            pl.read_parquet(table).clear().write_parquet(table)
        code, _, err = run(capsys, "book", desk)
        assert code == 2 and err.startswith("INP-072")

    def test_an_asset_that_the_market_lacks_fails_its_holders_only(
        self, desk: Path, tmp_path: Path, capsys
    ) -> None:
        name = pl.col("instrument").cast(pl.String)
        other = pl.when(pl.int_range(pl.len()) == pl.len() - 1).then(pl.lit("XMR_USDC-PERPETUAL"))
        touch_rows(desk, "positions", instrument=other.otherwise(name))
        out = tmp_path / "r.parquet"
        code, text, _ = run(capsys, "book", desk, "--out", out)
        rows = pl.read_parquet(out)
        assert code == 0 and rows["state"].to_list().count("failed") == 1
        (failed,) = rows.filter(state="failed").to_dicts()
        assert failed["account_id"] == "directional" and failed["error_code"][:3] in ("MKT", "RUL")
        assert "XMR" in failed["error"] and failed["im_usd"] is None and failed["health"] is None
        assert "accounts that could not be computed" in text

    def test_rows_that_cannot_be_read_fail_their_account_only(
        self, desk: Path, tmp_path: Path, capsys
    ) -> None:
        odd = pl.when(pl.int_range(pl.len()) == 0).then(None).otherwise(pl.col("quantity"))
        touch_rows(desk, "positions", quantity=odd)
        out = tmp_path / "r.parquet"
        code, text, _ = run(capsys, "book", desk, "--out", out, "--json")
        found, rows = json.loads(text), pl.read_parquet(out)
        assert code == 0 and found["accounts"] == 4 and found["rejected"] == 1
        (failed,) = rows.filter(state="failed").to_dicts()
        assert failed["account_id"] == "covered-call" and failed["error_code"] == "INP-004"
        assert found["failures"][0]["account"] == "covered-call"
        tokens = ("deribit-pm-cross", "deribit-pm-cross", "--book", desk)
        impact = json.loads(run(capsys, "rulesets", "diff", *tokens, "--json")[1])["impact"]
        assert impact["accounts"] == 4 and impact["rejected"] == 1 and impact["compared"] == 3
        assert "1 set aside" in run(capsys, "rulesets", "diff", *tokens)[1]
        (tmp_path / "p.csv").write_text(TICKS)
        text = run(capsys, "book", desk, "--watch", tmp_path / "p.csv", "--json")[1]
        assert "set aside" in json.loads(text.splitlines()[0])["warnings"][0]

    def test_all_accounts_failing(self, desk: Path, capsys) -> None:
        code, text, _ = run(capsys, "book", desk, "--ruleset", "dydx-v4")
        assert code == 1 and "could not be computed" in text and "RUL-014" in text
        found = json.loads(run(capsys, "book", desk, "--ruleset", "dydx-v4", "--json")[1])
        assert found["computed"] == 0 and found["concentration"]["hhi"] is None

    def test_results_are_not_overwritten_unasked(self, desk: Path, tmp_path: Path, capsys) -> None:
        out = tmp_path / "r.parquet"
        out.write_bytes(b"mine")
        code, _, err = run(capsys, "book", desk, "--out", out)
        assert code == 2 and err.startswith("INP-070") and out.read_bytes() == b"mine"
        assert run(capsys, "book", desk, "--out", out, "--overwrite")[0] == 0
        assert pl.read_parquet(out).height == 4


class TestGenerate:
    def test_make_one_and_margin_it(self, tmp_path: Path, capsys) -> None:
        made, market = tmp_path / "g", tmp_path / "m.json"
        arguments = ("--accounts", "60", "--seed", "3", "--market-out", market)
        code, text, _ = run(capsys, "book", "generate", "--out", made, *arguments)
        assert code == 0 and "60 accounts" in text and "next: crossmargin book" in text
        code, text, _ = run(
            capsys, "book", made, "--market", market, "--ruleset", "derive-pm2", "--json"
        )
        assert code == 0 and json.loads(text)["computed"] == 60
        again = run(capsys, "book", "generate", "--out", made, *arguments)
        assert again[0] == 2 and again[2].startswith("INP-040")

    def test_what_cannot_be_made_leaves_nothing(self, tmp_path: Path, capsys) -> None:
        made = tmp_path / "g"
        base = ("book", "generate", "--out", made, "--accounts", "5")
        code, _, err = run(capsys, *base, "--seed", "-1")
        assert code == 2 and err.startswith("INP-004") and "seed of -1" in err
        code, _, err = run(capsys, *base, "--market-out", tmp_path / "nowhere" / "m.json")
        assert code == 2 and err.startswith("INP-014") and not made.exists()

    def test_the_same_seed_gives_the_same_numbers(self, tmp_path: Path, capsys) -> None:
        seen = []
        for name, flag in (("a", ()), ("b", ()), ("c", ("--mapped",))):
            made, market = tmp_path / name, tmp_path / f"{name}.json"
            base = ("--accounts", "40", "--seed", "9", "--market-out", market, *flag)
            assert run(capsys, "book", "generate", "--out", made, *base)[0] == 0
            rules = ("--ruleset", "derive-pm2", "--json")
            code, text, _ = run(capsys, "book", made, "--market", market, *rules)
            assert code == 0
            seen.append({**json.loads(text), "market": ""})
        assert seen[0] == seen[1]
        # The order of instruments differs, and with it the last bit of sums.
        a, c = (found["totals"] for found in (seen[0], seen[2]))
        assert a == pytest.approx(c, rel=1e-14)


def start(tmp_path: Path, patch: str, *tokens: object) -> subprocess.Popen[str]:
    """Run the command line in a process of its own after a patch of one of its modules."""
    script = f"import sys\n{patch}\nfrom crossmargin.cli import main\nmain()\n"
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, tokens)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"{word!r} was never said")


SLOW = """
import time
from crossmargin.cli._progress import Meter
plain = Meter.step
def step(self, done, total):
    plain(self, done, total)
    sys.stderr.write("CHUNK\\n"); sys.stderr.flush()
    time.sleep(60)
Meter.step = step
"""
STUCK = """
import time
import crossmargin.cli._results as results
def sync(handle):
    sys.stderr.write("HALF\\n"); sys.stderr.flush()
    time.sleep(60)
results.os.fsync = sync
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
class TestInterrupted:
    def test_ctrl_c_says_how_far_and_leaves_nothing(self, desk: Path, tmp_path: Path) -> None:
        process = start(tmp_path, SLOW, "book", "desk", "--out", "r.parquet")
        wait_for(process, "CHUNK")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130
        assert "of 4 accounts" in err and "nothing was written" in err and "Traceback" not in err
        assert [p.name for p in tmp_path.iterdir()] == ["desk"]

    @pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
    def test_stopped_while_writing(self, desk: Path, tmp_path: Path, sign: signal.Signals) -> None:
        out = tmp_path / "r.parquet"
        for before in (None, b"what was there"):
            if before is not None:
                out.write_bytes(before)
            process = start(tmp_path, STUCK, "book", "desk", "--out", "r.parquet", "--overwrite")
            wait_for(process, "HALF")
            process.send_signal(sign)
            process.communicate(timeout=120)
            assert process.returncode != 0
            assert (out.read_bytes() if out.exists() else None) == before
            others = {p.name for p in tmp_path.iterdir()} - {"desk", "r.parquet"}
            assert all(name.startswith(".") and name.endswith(".part") for name in others)
            assert sign == signal.SIGKILL or not others
        found = subprocess.run(
            [sys.executable, "-m", "crossmargin", "book", "desk", "--out", "r.parquet"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(SRC)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert found.stderr.startswith("INP-070")

    def test_ctrl_c_during_a_replay(self, desk: Path, tmp_path: Path) -> None:
        (tmp_path / "p.csv").write_text(
            "time,asset,price\n2026-02-03T05:00:00Z,BTC,8\n2026-02-03T05:10:00Z,BTC,9\n"
        )
        tokens = (
            "book",
            "desk",
            "--watch",
            "p.csv",
            "--speed",
            "1",
            "--out",
            "e.parquet",
            "--json",
        )
        process = start(tmp_path, "", *tokens)
        assert process.stdout is not None
        for line in process.stdout:
            if '"start"' in line:
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130 and "of 2 ticks" in err
        assert not (tmp_path / "e.parquet").exists()


class TestWatch:
    @pytest.fixture
    def ticks(self, tmp_path: Path) -> Path:
        path = tmp_path / "ticks.csv"
        path.write_text(TICKS)
        return path

    def test_lines_and_events(self, desk: Path, ticks: Path, tmp_path: Path, capsys) -> None:
        out = tmp_path / "e.parquet"
        code, text, _ = run(capsys, "book", desk, "--watch", ticks, "--out", out)
        assert code == 0 and "1 newly below (directional" in text and "1 recovered" in text
        assert "tick in to last breached account flagged: p50" in text
        rows = pl.read_parquet(out).to_dicts()
        assert [(r["account_id"], r["event"]) for r in rows] == [
            ("directional", "below"),
            ("directional", "recovered"),
        ]
        assert rows[0]["equity_usd"] < rows[0]["mm_usd"] and rows[0]["health"] < 1

    def test_replay_at_two_speeds_triggers_at_the_same_times(
        self, desk: Path, ticks: Path, capsys
    ) -> None:
        """Requirement B05: a recorded tick file gives the same trigger times at 1x and 100x."""
        seen = []
        for speed in ("1", "100"):
            begun = time.monotonic()
            code, text, _ = run(capsys, "book", desk, "--watch", ticks, "--json", "--speed", speed)
            took = time.monotonic() - begun
            assert code == 0
            lines = [json.loads(line) for line in text.splitlines()]
            assert [line["kind"] for line in lines] == [
                "replay",
                "start",
                "tick",
                "tick",
                "summary",
            ]
            assert lines[-1]["latency"]["ticks"] == 5
            for name in ("latency", "late_s"):
                del lines[-1][name]
            seen.append(lines)
            assert took >= (0.6 if speed == "1" else 0.0)
        assert seen[0] == seen[1]
        assert seen[0][2]["time"] == "2026-02-03T05:00:00.4Z"

    @pytest.mark.skipif("CROSSMARGIN_DATA" not in os.environ, reason="CROSSMARGIN_DATA is not set")
    @pytest.mark.parametrize("name", ["binance_perp_crash_windows", "binance_perp_1h"])
    def test_recorded_crash(self, desk: Path, capsys, name: str) -> None:
        path = Path(os.environ["CROSSMARGIN_DATA"]) / f"{name}.parquet"
        span = ("--since", "2026-02-05T00:00:00Z", "--until", "2026-02-06T02:00:00Z")
        code, text, _ = run(capsys, "book", desk, "--watch", path, *span, "--json")
        lines = [json.loads(line) for line in text.splitlines()]
        assert code == 0 and lines[-1]["kind"] == "summary"
        assert lines[-1]["ticks"] == (27 if name.endswith("1h") else 105)
        assert "SOL" in lines[0]["not_held"] and lines[0]["coins"] == ["BTC", "ETH"]

    def test_levels_need_the_price_of_what_they_are_paid_in(
        self, desk: Path, tmp_path: Path, capsys
    ) -> None:
        path = tmp_path / "p.csv"
        path.write_text("time,symbol,price\n2026-02-03,BTCUSDT,60000\n2026-02-04,BTCUSDT,61000\n")
        code, _, err = run(capsys, "book", desk, "--watch", path, "--prices-as", "levels")
        assert code == 2 and err.startswith("MKT-001") and "USDT" in err
        path.write_text("time,symbol,price\n2026-02-03,BTC_USDC,60000\n")
        code, text, _ = run(
            capsys, "book", desk, "--watch", path, "--prices-as", "levels", "--json"
        )
        usdc = load_market("calm-2026-02-03").asset_usd("USDC")
        prices = [json.loads(line) for line in text.splitlines()][2]["prices_usd"]
        assert code == 0 and prices == {"BTC": 60_000 * usdc}

    def test_trigger_prices_tell_the_same(self, tmp_path: Path, capsys) -> None:
        """Computing whom a tick makes due, and everybody at every tick: the same lines."""
        code, _, err = run(
            capsys, "book", "generate", "--accounts", 60, "--seed", 3, "--settled", "linear",
            "--underlying", "BTC", "--instruments", 40, "--out", tmp_path / "made",
            "--market-out", tmp_path / "m.json",
        )  # fmt: skip
        assert code == 0, err
        prices = [80_000.0 * (1.0 - 0.004 * k if k < 50 else 0.8 + 0.01 * (k - 50))
                  for k in range(75)]  # fmt: skip
        path = tmp_path / "p.csv"
        path.write_text(
            "time,asset,price\n"
            + "".join(
                f"2026-03-02T00:{k // 60:02}:{k % 60:02}Z,BTC,{p}\n" for k, p in enumerate(prices)
            )
        )
        told = []
        for engine in ("vectorised", "fused"):
            code, text, err = run(
                capsys, "book", tmp_path / "made", "--ruleset", "derive-pm2", "--market",
                tmp_path / "m.json", "--watch", path, "--json", "--engine", engine,
            )  # fmt: skip
            assert code == 0, err
            told.append([json.loads(line) for line in text.splitlines()])
        one, other = told
        assert [line["kind"] for line in one] == [line["kind"] for line in other]
        assert sum(line["kind"] == "tick" for line in one) > 5
        for mine, theirs in zip(one[1:-1], other[1:-1], strict=True):
            for key, value in mine.items():
                assert _as_near(value, theirs[key]), key

    def test_a_recording_of_other_coins(self, desk: Path, tmp_path: Path, capsys) -> None:
        path = tmp_path / "p.csv"
        path.write_text("time,asset,price\n2026-02-03,XMR,1\n")
        assert run(capsys, "book", desk, "--watch", path)[2].startswith("INP-071")
        code, _, err = run(capsys, "book", desk, "--watch", path, "--html", "x.html")
        assert code == 2 and err.startswith("INP-013")

    def test_a_late_watcher_drops_nothing(self, desk: Path) -> None:
        """Pace by a clock of the test: the watcher takes longer than the ticks are apart."""
        from crossmargin.book import read_compact

        now = [0.0]

        class Slow(BookWatcher):
            def tick(self, time_ns, prices_usd):  # type: ignore[no-untyped-def]
                now[0] += 0.5
                return super().tick(time_ns, prices_usd)

        def sleep(seconds: float) -> None:
            now[0] += seconds

        world, rules = load_market("calm-2026-02-03"), load_ruleset("deribit-pm-cross")
        watcher = Slow(read_compact(desk).book, world, rules)
        moves = iter([(k * 250_000_000, {"BTC": 70_000.0 - k}) for k in range(6)])
        kept = Replay()
        done = list(replay(watcher, moves, kept, speed=1.0, clock=lambda: now[0], sleep=sleep))
        assert len(done) == kept.ticks == 6
        assert kept.late_s == pytest.approx(5 * 0.25)
        assert kept.latencies_s == pytest.approx([0.5] * 6)

    def test_latency_histogram_counts_every_tick(self) -> None:
        found = latency_summary([0.001, 0.0011, 0.5, 0.002, 0.0000001])
        assert sum(row["ticks"] for row in found["histogram"]) == 5
        assert found["p50_ms"] == pytest.approx(1.1) and found["max_ms"] == 500.0
        assert latency_summary([])["p50_ms"] is None


OLD = (
    'format = "crossmargin-ruleset/1"\nid = "ours"\nvenue = "Ours"\ntitle = "Ours"\n'
    'effective_from = "2026-02-01"\nextends = "deribit-pm-cross"\n'
)
NEW = OLD + "[scenarios.underlyings.BTC]\nprice_range = 0.14\n"
WHO = ("--author", "A. Ito", "--approver", "B. Okoro", "--reason", "calmer market")


class TestDiff:
    def test_figures_and_book(self, desk: Path, tmp_path: Path, capsys) -> None:
        jsonschema = pytest.importorskip("jsonschema")
        page = tmp_path / "d.html"
        tokens = ("deribit-pm-cross", "deribit-pm-cross", "--set", f"{RANGE}=0.2", "--book", desk)
        code, text, _ = run(capsys, "rulesets", "diff", *tokens, *CRASH, "--json", "--html", page)
        found = json.loads(text)
        jsonschema.validate(found, json.loads(run(capsys, "schema", "ruleset-diff")[1]))
        assert code == 0 and [c["path"] for c in found["changes"]] == [RANGE]
        impact = found["impact"]
        assert impact["compared"] == 4 and impact["totals_after"]["im_usd"] > 680_000
        assert RANGE in page.read_text()
        code, text, _ = run(capsys, "rulesets", "diff", *tokens, *CRASH)
        assert code == 0 and "1 figure differs" in text and "below MM" in text

    def test_one_side_refuses(self, desk: Path, capsys) -> None:
        tokens = ("deribit-pm-cross", "dydx-v4", "--book", desk, "--json")
        code, text, _ = run(capsys, "rulesets", "diff", *tokens)
        impact = json.loads(text)["impact"]
        assert code == 0 and impact["compared"] == 0 and impact["lost"] == 4
        assert impact["failed_after"][0]["code"] == "RUL-014" and impact["quantiles"] == []
        assert run(capsys, "rulesets", "diff", *tokens[:-1])[0] == 0

    @pytest.mark.parametrize(
        ("tokens", "code"),
        [
            (("deribit-pm", "nope"), "RUL-002"),
            (("deribit-pm", "deribit-pm", "--author", "x"), "INP-013"),
            (("deribit-pm", "deribit-pm", "--record", *WHO, "--at", "2026-01-01"), "INP-013"),
            (("old.toml", "new.toml", "--record", *WHO), "INP-013"),
            (("old.toml", "new.toml", "--record", *WHO[2:], "--at", "2026-01-01"), "INP-013"),
            (("old.toml", "old.toml", "--record", *WHO, "--at", "2026-01-01"), "RUL-040"),
            (
                ("old.toml", "new.toml", "--record", *WHO, "--at", "2026-01-01", "--set", "a.b=1"),
                "RUL-",
            ),
            (("deribit-pm", "deribit-pm", "--book", "nowhere"), "INP-005"),
        ],
    )
    def test_bad_input(self, tmp_path, monkeypatch, capsys, tokens, code) -> None:
        monkeypatch.chdir(tmp_path)
        Path("old.toml").write_text(OLD)
        Path("new.toml").write_text(NEW)
        found = run(capsys, "rulesets", "diff", *tokens)
        assert found[0] == 2 and found[2].startswith(code), found
        assert not list(tmp_path.glob("*.jsonl"))

    def test_record_show_log_and_warn(self, desk, tmp_path, monkeypatch, capsys) -> None:
        monkeypatch.chdir(tmp_path)
        Path("old.toml").write_text(OLD)
        Path("ours.toml").write_text(NEW)
        when = ("--at", "2026-01-20T12:00:00Z", "--expires", "2026-02-04")
        code, text, _ = run(
            capsys, "rulesets", "diff", "old.toml", "ours.toml", "--record", *WHO, *when
        )
        assert code == 0 and "change recorded in ours.changes.jsonl" in text
        code, text, _ = run(capsys, "rulesets", "log", "ours.toml", "--json")
        found = json.loads(text)
        assert code == 0 and found["whole"] and found["expired"] == []
        jsonschema = pytest.importorskip("jsonschema")
        schema = json.loads(run(capsys, "schema", "change")[1])
        jsonschema.validate(found["records"][0], schema)
        assert "B. Okoro" in run(capsys, "rulesets", "show", "ours.toml")[1]
        before = run(capsys, "book", desk, "--ruleset", "ours.toml", "--json")
        assert json.loads(before[1])["warnings"] == []
        after = run(capsys, "book", desk, "--ruleset", "ours.toml", *CRASH, "--json")
        (warning,) = json.loads(after[1])["warnings"]
        assert "expired on 2026-02-04" in warning and RANGE in warning
        again = run(capsys, "rulesets", "diff", "old.toml", "ours.toml", "--record", *WHO, *when)
        assert again[0] == 2 and again[2].startswith("RUL-041")
        Path("ours.toml").write_text(NEW.replace("0.14", "0.12"))
        code, _, err = run(capsys, "rulesets", "log", "ours.toml")
        assert code == 1 and err.startswith("RUL-043")
        log = Path("ours.changes.jsonl")
        log.write_text(log.read_text().replace("calmer", "wilder"))
        code, _, err = run(capsys, "rulesets", "log", "ours.toml")
        assert code == 1 and err.startswith("RUL-042")
        found = run(capsys, "book", desk, "--ruleset", "ours.toml", "--json")
        assert found[0] == 0 and json.loads(found[1])["warnings"][0].startswith("RUL-042")

    def test_a_shipped_rule_set_has_no_log(self, capsys) -> None:
        assert run(capsys, "rulesets", "log", "deribit-pm")[2].startswith("INP-013")

    def test_no_change_recorded(self, tmp_path: Path, capsys) -> None:
        path = tmp_path / "ours.toml"
        path.write_text(OLD)
        assert run(capsys, "rulesets", "log", path)[:2] == (0, "no change is recorded\n")


def test_progress_at_no_terminal_is_a_line_now_and_then(capsys) -> None:
    from crossmargin.cli._progress import Meter

    now = iter([0.0, 1.0, 6.0, 7.0, 12.0])
    with Meter("accounts", clock=lambda: next(now)) as meter:
        for done in (10, 20, 30, 40):
            meter.step(done, 40)
    assert capsys.readouterr().err == (
        "20 of 40 accounts (50 %) after 6 s\n40 of 40 accounts (100 %) after 12 s\n"
    )
    with Meter("accounts", quiet=True) as meter:
        meter.step(1, 2)
    assert capsys.readouterr().err == "" and meter.words == "1 of 2 accounts (50 %)"


def test_start_is_quick() -> None:
    """Nothing heavy is imported by asking for the version."""
    script = (
        "import sys\nfrom crossmargin.cli._app import app\n"
        "heavy = {'numpy', 'polars', 'rich', 'numba', 'scipy'} & set(sys.modules)\n"
        "assert not heavy - {'rich'}, heavy\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    assert shutil.which(sys.executable)
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
