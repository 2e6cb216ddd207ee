"""Open interest from accounts and tables: rows A09, A21, B18, and plain loops beside them."""

from __future__ import annotations

import datetime
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from crossmargin.cascade.interest_file import read_interest
from crossmargin.cascade.interest_history import interest_through_time
from crossmargin.cascade.interest_view import interest_view, leverage_after
from crossmargin.cascade.recorded_folder import read_recorded_folder
from crossmargin.cli import main
from crossmargin.errors import CascadeError, InputError
from crossmargin.margin import load_ruleset
from crossmargin.units import parse_time


@pytest.fixture(scope="module")
def data_folder() -> Path:
    name = os.environ.get("CROSSMARGIN_DATA")
    if not name:
        pytest.skip("CROSSMARGIN_DATA is not set: recorded open interest is not tested")
    return Path(name)


class TestLeverage:
    def test_row_a09(self) -> None:
        """Λ₀ = 5, −10 %: 9, and 2.0 of 5.0 are sold to come back to 5."""
        made = leverage_after([5.0], [5.0], [1.0], -0.1)
        assert made.leverage == pytest.approx(9.0)
        assert made.sold == pytest.approx(2.0) and made.sold_share == pytest.approx(0.4)

    def test_by_plain_loops(self) -> None:
        rng = np.random.default_rng(3)
        notional = rng.normal(0, 100, (40, 3)) * (rng.random((40, 3)) < 0.6)
        gross, slope = np.abs(notional).sum(axis=1), notional.sum(axis=1)
        equity = rng.uniform(-5, 120, 40)
        for move in (-0.5, -0.1, 0.0, 0.3):
            made = leverage_after(gross, slope, equity, move)
            sold = under = 0.0
            for g, s, e in zip(gross, slope, equity):
                if e <= 0 or g == 0:
                    continue
                left = e + s * move
                if left <= 0:
                    under += 1
                    sold += g * (1 + move)
                elif g * (1 + move) / left > g / e:
                    sold += g * (1 + move) - g / e * left
            assert made.sold == pytest.approx(sold) and made.under_water == under
            left = equity.sum() + slope.sum() * move
            assert made.leverage == pytest.approx(gross.sum() * (1 + move) / left)
        assert leverage_after(gross, slope, equity, 0.0).sold == pytest.approx(0.0, abs=1e-9)


class TestView:
    def test_row_b18_and_its_two_directions(self) -> None:
        made = interest_view(["X"], [[8e6], [-8e6]], [[8e6], [-8e6]], [1e6, 1e6], [2e6],
                             capital=2e6)  # fmt: skip
        (line,) = made.contracts
        assert (line.interest_over_depth, line.depth_over_interest) == (4.0, 0.25)
        assert line.fragile and made.interest_over_capital == 4.0
        assert made.capital_over_interest == 0.25 and made.leverage == 8.0

    def test_by_plain_loops(self) -> None:
        rng = np.random.default_rng(9)
        n = rng.normal(0, 1e5, (30, 4)) * (rng.random((30, 4)) < 0.4)
        names = ["a", "b", "c", "d"]
        made = interest_view(names, n, n, np.full(30, 1e5), [1e6, 2e6, math.inf, 1e300])
        found = {line.contract: line for line in made.contracts}
        for k, name in enumerate(names):
            longs, shorts = [x for x in n[:, k] if x > 0], [-x for x in n[:, k] if x < 0]
            line = found[name]
            assert line.longs == pytest.approx(sum(longs))
            assert line.shorts == pytest.approx(sum(shorts))
            assert line.interest == max(line.longs, line.shorts)
            assert (line.holders_long, line.holders_short) == (len(longs), len(shorts))
            assert line.top_long == pytest.approx(max(longs) / sum(longs))
            assert line.top_short == pytest.approx(max(shorts) / sum(shorts))
        assert [x.interest for x in made.contracts] == sorted(
            (x.interest for x in made.contracts), reverse=True
        )
        gross = np.abs(n).sum(axis=1)
        assert made.concentration.herfindahl == pytest.approx(((gross / gross.sum()) ** 2).sum())
        assert made.leverage == pytest.approx(gross.sum() / 3e6)
        assert made.depth == 3e6 and not found["c"].fragile and not found["d"].fragile
        assert made.accounts == int((gross > 0).sum())

    def test_score_rises_with_each_part_alone(self) -> None:
        """The row's law, on accounts and not on the parts: thinner equity, like books."""
        n = np.array([[3e5, 0.0], [0.0, 3e5], [1e5, 1e5]])
        base = interest_view(["a", "b"], n, n, [2e5] * 3, [1e9, 1e9])
        thin = interest_view(["a", "b"], n, n, [1e5] * 3, [1e9, 1e9])
        assert thin.score.score > base.score.score and thin.overlap == base.overlap
        alike = np.array([[3e5, 0.0], [3e5, 0.0], [2e5, 0.0]])
        same = interest_view(["a", "b"], alike, alike, [2e5] * 3, [1e9, 1e9])
        assert same.concentration.herfindahl == base.concentration.herfindahl
        assert same.overlap > base.overlap and same.score.score > base.score.score

    def test_what_cannot_be(self) -> None:
        for more in ({"capital": 0.0}, {"limit": -1.0}, {"moves": [-1.0]}):
            with pytest.raises(CascadeError):
                interest_view(["a"], [[1.0]], [[1.0]], [1.0], [1.0], **more)
        with pytest.raises(CascadeError):
            interest_view(["a"], [[1.0]], [[1.0]], [1.0], [0.0])


CALL, PUT, PERP = "BTC-13FEB26-90000-C", "BTC-27FEB26-60000-P", "BTC_USDC-PERPETUAL"
ROWS = [
    ("2026-02-12T08:00:00Z", CALL, 40, 70_000), ("2026-02-12T08:00:00Z", PUT, 10, 70_000),
    ("2026-02-12T20:00:00Z", CALL, 50, 71_000), ("2026-02-12T20:00:00Z", PUT, 12, 71_000),
    ("2026-02-13T09:00:00Z", PUT, 15, 69_000), ("2026-02-13T09:00:00Z", PERP, 1, 69_000),
    ("2026-02-13T21:00:00Z", PUT, 9, 70_500), ("2026-02-13T21:00:00Z", PERP, 1, 70_500),
]  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "oi.csv"
    lines = [f"{when},{name},{amount},{price}" for when, name, amount, price in ROWS]
    path.write_text("time,contract,open_interest,price\n" + "\n".join(lines) + "\n")
    return path


class TestTable:
    def test_an_expiry_closes_nobody_out(self, table: Path) -> None:
        """Of 62 coins 50 expire and 4 are opened: with the price down that is new shorts."""
        (steps,) = read_interest(table).steps
        assert steps.interest.tolist() == [50, 62, 16, 10]
        assert steps.expired.tolist() == [0, 50, 0] and steps.traded.tolist() == [12, 4, -6]
        assert steps.reading == ("new longs", "new shorts", "short covering")
        assert steps.by_quadrant()["new shorts"] == (1, 4.0)

    def test_split_at_a_moment(self, table: Path) -> None:
        found = read_interest(table, at_ns=parse_time("2026-02-12T23:00:00Z"))
        (one,) = found.breakdown
        assert one.by_contract == {CALL: 50, PUT: 12} and one.put_call == 0.24
        assert sorted(one.by_expiry.values()) == [12, 50]
        assert one.calls == {90_000: 50} and one.puts == {60_000: 12}
        assert found.price == {"BTC": 71_000} and len(found.steps[0].times_ns) == 2

    def test_one_moment_without_prices(self, tmp_path: Path) -> None:
        path = tmp_path / "now.csv"
        path.write_text(f"name,oi\n{CALL},3\n{PUT},0\n")
        found = read_interest(path, columns={"contract": "name", "open_interest": "oi"})
        assert found.at_ns is None and found.steps == () and found.price == {}
        assert found.breakdown[0].by_contract == {CALL: 3}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("contract,open_interest\nBTC-13FEB26-90000-C,-1\n", "open interest of -1"),
            ("contract,open_interest\nBTC-13FEB26-90000-C,1\nBTC_USDC-PERPETUAL,\n", "of nan"),
            ("contract,open_interest\nBTC-13FEB26-90000-C,x\n", "not numbers"),
            ("contract,oi\nBTC-13FEB26-90000-C,1\n", "no column 'open_interest'"),
            ("contract,open_interest\nNOTHING,1\n", "NOTHING"),
            ("contract,open_interest\n,1\n", "without a contract"),
            (
                "contract,open_interest\nBTC-13FEB26-90000-C,1\nBTC-13FEB26-90000-C,2\n",
                "twice at one moment",
            ),
        ],
    )
    def test_wrong_tables(self, text: str, said: str, tmp_path: Path) -> None:
        path = tmp_path / "oi.csv"
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            read_interest(path)
        assert said in str(caught.value)

    def test_nothing_by_then(self, table: Path) -> None:
        with pytest.raises(CascadeError) as caught:
            read_interest(table, at_ns=parse_time("2020-01-01T00:00:00Z"))
        assert caught.value.code == "CAS-022"

    def test_recorded_chain_by_plain_loops(self, data_folder: Path, tmp_path: Path) -> None:
        import polars as pl

        raw = pl.read_parquet(data_folder / "deribit_options_2026q1.parquet").filter(
            pl.col("currency").cast(pl.String) == "ETH"
        )
        # Eight snapshots over a Friday's expiry, 6 February 08:00.
        days = (datetime.datetime(2026, 2, d, tzinfo=datetime.UTC) for d in (5, 7))
        raw = raw.filter(pl.col("timestamp").is_between(*days))
        columns = {"contract": "instrument_name", "price": "underlying", "time": "timestamp"}
        path = tmp_path / "chain.parquet"
        raw.write_parquet(path)
        (steps,) = read_interest(path, columns=columns).steps
        times = sorted(set(raw["timestamp"]))
        totals, gone = [], []
        for k, when in enumerate(times):
            rows = raw.filter(pl.col("timestamp") == when)
            totals.append(sum(rows["open_interest"]))
            if k + 1 < len(times):
                ends = zip(rows["expiry_datetime"], rows["open_interest"])
                gone.append(sum(oi for end, oi in ends if when < end <= times[k + 1]))
        assert steps.interest.tolist() == pytest.approx(totals)
        assert steps.expired.tolist() == pytest.approx(gone) and max(gone) > 0


class TestRecordedAccounts:
    def test_steps_are_of_accounts_in_both_snapshots(self, data_folder: Path) -> None:
        folder = read_recorded_folder(data_folder, load_ruleset("hyperliquid"))
        moments = folder.records.moments_ns
        made = interest_through_time(folder, until_ns=int(moments[2]))
        assert len(made) == 3 and made[0].common == 0 and made[0].reading == {}
        a, b = (folder.population(int(t)).population for t in moments[1:3])
        both = {x.partition("/")[0] for x in a.ids} & {x.partition("/")[0] for x in b.ids}
        assert made[2].common == len(both)
        for name in ("BTC", "ETH"):
            sums = []
            for p in (a, b):
                k, longs, shorts = p.contracts.index(name), 0.0, 0.0
                for row in np.flatnonzero(p.contract == k):
                    if p.ids[p.account[row]].partition("/")[0] in both:
                        longs += max(p.quantity[row], 0.0)
                        shorts += max(-p.quantity[row], 0.0)
                sums.append((max(longs, shorts), p.price[k]))
            word, price, interest = made[2].reading[name]
            assert interest == pytest.approx(sums[1][0] / sums[0][0] - 1)
            assert price == pytest.approx(sums[1][1] / sums[0][1] - 1)
            up, more = price > 0, interest > 0
            if min(abs(price), abs(interest)) > 0.001:
                assert word == {
                    (True, True): "new longs", (False, True): "new shorts",
                    (True, False): "short covering", (False, False): "long liquidation",
                }[up, more]  # fmt: skip


class TestCommandLine:
    def run(self, *words: str) -> int:
        return main(["cascade", "interest", *words])

    def test_a_table(self, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        page = tmp_path / "oi.html"
        assert self.run(str(table), "--html", str(page)) == 0
        out = capsys.readouterr().out
        assert "short covering" in out and "coins" in out and "puts / calls" in out
        assert page.read_text().count("<svg") >= 3
        assert self.run(str(table), "--json") == 0
        made = json.loads(capsys.readouterr().out)
        assert made["steps"][0]["traded"] == [12, 4, -6]
        assert made["breakdown"][0]["by_expiry"]["none"] == 1

    def test_a_book(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        book, market = str(tmp_path / "book"), str(tmp_path / "market.json")
        made = main(["book", "generate", "--accounts", "40", "--seed", "1", "--out", book,
                     "--market-out", market])  # fmt: skip
        assert made == 0 and capsys.readouterr()
        words = (book, "--market", market, "--ruleset", "derive-pm2", "--capital", "1e6")
        assert self.run(*words, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        view = found["view"]
        assert view["interest_over_capital"] == pytest.approx(view["interest"] / 1e6)
        coins = sum(max(s.values()) for n, s in found["by_instrument"].items() if "BTC" in n)
        btc = next(one for one in found["breakdown"] if one["underlying"] == "BTC")
        assert sum(btc["by_contract"].values()) == pytest.approx(coins)
        assert sum(btc["by_expiry"].values()) == pytest.approx(coins)
        assert self.run(*words) == 0 and "Systemic score" in capsys.readouterr().out

    def test_recorded_accounts(
        self, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = tmp_path / "oi.html"
        code = self.run(
            str(data_folder), "--at", "2026-02-04T00:00:00Z", "--history", "--move", "-0.1",
            "--html", str(page),
        )  # fmt: skip
        out = capsys.readouterr().out
        assert code == 0 and "part of the venue" in out.replace("\n", " ")
        assert "Through time" in out and page.read_text().count("<svg") >= 5

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("nowhere",), "no folder"),
            (("{t}", "--column", "price"), "NAME=COLUMN"),
            (("{t}", "--column", "colour=x"), "no column is called 'colour'"),
            (("{t}", "--column", "price=x"), "no column 'x' for price"),
            (("{t}", "--at", "noon"), "--at"),
            (("{t}", "--least", "-1"), "--least"),
            (("{t}", "--top", "0"), "--top"),
            (("{d}",), "give the market"),
            (("{d}", "--market", "calm-2026-02-03"), "book"),
            (("{d}", "--column", "price=x"), "this is a folder"),
            (("{d}", "--move", "-2"), "a move of -2"),
            (("{d}", "--capital", "0"), "--capital is 0"),
            (("{d}", "--depth", "BTC"), "COIN=FIGURE"),
        ],
    )
    def test_wrong_words(
        self, words: tuple[str, ...], said: str, table: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        (empty := tmp_path / "empty").mkdir()
        assert self.run(*(w.format(t=table, d=empty) for w in words)) == 2
        err = capsys.readouterr().err
        assert said in err and "Traceback" not in err
