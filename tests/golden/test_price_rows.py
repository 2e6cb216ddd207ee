"""Requirements rows A18 and B11: figures, and both incidents through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.helpers import account, component, flat_rate, frame, market, rules

from crossmargin.book import book_from_accounts
from crossmargin.cli import main
from crossmargin.margin import evaluate_book, liquidation_prices, make_statement, protect_of
from crossmargin.market import (
    Snapshot,
    allowed_actions,
    decode_market,
    funding_cash,
    funding_rate,
    funding_rule,
    snapshot_from_file,
)

PERP = "BTC_USDC-PERPETUAL"
AS_OF = "2026-11-22T12:00:00Z"
TEN_MINUTES_AGO = "2026-11-22T11:50:00Z"
RULES = rules(
    flat_rate(0.10, 0.05),
    collateral={
        "source": "s",
        "confidence": "house",
        "assets": {"default": {"haircut": 0.05}, "USDC": {"haircut": 0.0}},
    },
)


def market_text(*prices: float, ages: tuple[str, ...] = (AS_OF,) * 3) -> str:
    """A market whose BTC index and perpetual follow from three sources."""
    return json.dumps(
        {
            "format": "crossmargin-market/1",
            "as_of": AS_OF,
            "assets": [
                {
                    "asset": "BTC",
                    "sources": [
                        {"name": name, "price_usd": price, "as_of": age}
                        for name, price, age in zip(("x", "y", "z"), prices, ages, strict=True)
                    ],
                },
                {"asset": "USDC", "price_usd": 1.0},
            ],
            "instruments": [
                {"instrument": PERP, "basis": [{"as_of": TEN_MINUTES_AGO, "basis": 0.0001}]}
            ],
        }
    )


def snapshot(*prices: float, ages: tuple[str, ...] = (AS_OF,) * 3) -> Snapshot:
    return snapshot_from_file(decode_market(market_text(*prices, ages=ages).encode(), "m"))


#: Long 2 BTC from 50,000 on 5,100 of cash and 0.02 BTC: equity 6,100 against 5,000 at 5 %.
THIN = account((PERP, 2, 50_000.0), balances={"USDC": 5_100, "BTC": "0.02"})


class TestA18PerpetualSwapMargin:
    def test_funding_rate_is_premium_and_clamped_interest(self) -> None:
        rule = funding_rule("gate")
        assert funding_rate(rule, 0.0010).rate == pytest.approx(0.0005, abs=1e-15)
        assert funding_rate(rule, 0.0003).rate == pytest.approx(0.0001, abs=1e-15)

    def test_a_long_of_two_pays_ten_and_all_accounts_sum_to_zero(self) -> None:
        paid = funding_cash([2.0, -0.5, -1.5], 50_000.0, 0.0001)
        assert paid[0] == pytest.approx(-10.0, rel=1e-12)
        assert paid.sum() == pytest.approx(0.0, abs=1e-12)

    def test_inverse_long_is_liquidated_where_the_closed_form_says(self) -> None:
        """N(1 + m)/(W + N/E0) with N 50,000 USD, E0 50,000, W 0.1 BTC, m 5 %."""
        inverse = rules(flat_rate(0.10, 0.05), pools={"by": "settlement"})
        held = account(("BTC-PERPETUAL", 50_000, 50_000.0), balances={"BTC": "0.1"})
        world = market({"BTC": 50_000.0}, marks={"BTC-PERPETUAL": 50_000.0})
        solved = liquidation_prices(frame(held, inverse, world))[0].down.price_usd
        assert solved == pytest.approx(50_000 * 1.05 / (0.1 + 1.0), rel=1e-9)
        assert solved == pytest.approx(47_727.27, abs=0.005)

    def test_a_source_printing_45000_leaves_the_median_and_liquidates_nobody(self) -> None:
        world = snapshot(50_000.0, 50_000.0, 45_000.0)
        assert world.assets["BTC"].price_usd == 50_000.0
        made = make_statement(THIN, world, RULES)
        assert made.totals.state != "liquidation" and made.protect is not None
        assert not made.protect.active
        # The same print, believed, would have liquidated.
        fooled = make_statement(THIN, snapshot(45_000.0, 45_000.0, 45_000.0), RULES)
        assert fooled.totals.state in ("liquidation", "bankrupt")


class TestB11OracleDependency:
    def test_one_of_three_off_by_twenty_per_cent(self) -> None:
        """The others agree within 0.05 %: the mark moves by less than that, nothing happens."""
        sound = snapshot(50_000.0, 50_020.0, 50_010.0)
        for honest in (50_000.0, 50_010.0, 50_020.0):
            hit = snapshot(50_000.0, 50_020.0, honest * 0.8)
            before, after = (m.quotes[PERP].price_mark for m in (sound, hit))
            assert before is not None and after is not None
            assert abs(after / before - 1.0) < 0.0005
            made, was = (make_statement(THIN, m, RULES) for m in (hit, sound))
            assert made.totals.state == was.totals.state
            assert made.protect is not None and not made.protect.active
            assert all(a.allowed for a in made.protect.actions)
            assert made.balances[0].haircut == was.balances[0].haircut

    def test_two_of_three_stale_puts_it_in_protect_mode(self) -> None:
        ages = (TEN_MINUTES_AGO, TEN_MINUTES_AGO, AS_OF)
        world = snapshot(50_000.0, 50_010.0, 45_000.0, ages=ages)
        made = make_statement(THIN, world, RULES)
        assert made.protect is not None and made.protect.active
        allowed = {a.action: a.allowed for a in made.protect.actions}
        assert allowed == {
            "new-risk": False,
            "reduce": True,
            "liquidate": False,
            "withdraw": False,
        }
        # By the numbers it is under water; on stale marks it is not liquidated.
        assert made.protect.state_by_numbers in ("liquidation", "bankrupt")
        assert made.totals.state == "reduce-only" == made.pots[0].state
        assert made.notes[0].startswith("PROTECT MODE") and "2 of 3 sources stale" in made.notes[0]
        assert "not liquidated" in made.notes[1]
        # Haircuts: 5 % becomes 2 × 5 % + 10 %; the dollar coin keeps its own.
        cuts = {b.asset: b.haircut for b in made.balances}
        assert cuts == {"BTC": pytest.approx(0.20), "USDC": 0.0}
        assert made.totals.haircut == pytest.approx(0.20 * 0.02 * 45_000.0)

    def test_a_healthy_account_may_only_reduce(self) -> None:
        rich = account((PERP, 2, 50_000.0), balances={"USDC": 90_000})
        ages = (TEN_MINUTES_AGO, TEN_MINUTES_AGO, AS_OF)
        made = make_statement(rich, snapshot(50_000.0, 50_000.0, 50_000.0, ages=ages), RULES)
        assert made.totals.state == "reduce-only"
        assert made.protect is not None and made.protect.state_by_numbers == "healthy"

    def test_who_does_not_touch_the_price_is_left_alone(self) -> None:
        cash = account(balances={"USDC": 1_000}, name="cash")
        ages = (TEN_MINUTES_AGO, TEN_MINUTES_AGO, AS_OF)
        world = snapshot(50_000.0, 50_010.0, 45_000.0, ages=ages)
        made = make_statement(cash, world, RULES)
        assert made.totals.state == "healthy"
        assert made.protect is not None and not made.protect.active
        book = book_from_accounts([cash, THIN])
        assert evaluate_book(book, world, RULES).protected.tolist() == [False, True]

    def test_pots_apart_are_judged_apart(self) -> None:
        """Isolated pots: only the one on the untrusted coin is held back."""
        raw = json.loads(
            market_text(
                50_000.0, 50_010.0, 45_000.0, ages=(TEN_MINUTES_AGO, TEN_MINUTES_AGO, AS_OF)
            )
        )
        raw["assets"].append({"asset": "ETH", "price_usd": 3_000.0})
        raw["instruments"].append({"instrument": "ETH_USDC-PERPETUAL", "price_mark": 2_000.0})
        world = snapshot_from_file(decode_market(json.dumps(raw).encode(), "m"))
        who = account(
            {"instrument": PERP, "quantity": 1, "entry_price": 50_000.0, "fenced_margin": 3_000},
            {
                "instrument": "ETH_USDC-PERPETUAL",
                "quantity": 1,
                "entry_price": 3_000.0,
                "fenced_margin": 500,
            },
            balances={"USDC": 5_000},
        )
        made = make_statement(who, world, rules(flat_rate(0.1, 0.05), pools={"by": "position"}))
        states = {p.name: p.state for p in made.pots}
        eth = next(state for name, state in states.items() if "ETH" in name)
        btc = next(state for name, state in states.items() if "BTC" in name)
        assert btc == "reduce-only" and eth in ("liquidation", "bankrupt")


def test_batch_and_single_agree_on_who_is_protected() -> None:
    ages = (TEN_MINUTES_AGO, TEN_MINUTES_AGO, AS_OF)
    world = snapshot(50_000.0, 50_010.0, 50_005.0, ages=ages)
    people: list[dict[str, Any]] = [
        {"balances": {"BTC": 1}},
        {"balances": {"USDC": 1}},
        {"balances": {"BTC": -1, "USDC": 90_000}},
        {
            "balances": {"USDC": 9_000},
            "orders": [{"id": "o", "legs": [{"instrument": PERP, "quantity": 1}]}],
        },
    ]
    made = [account(name=f"n{i}", **one) for i, one in enumerate(people)]
    rule = rules(flat_rate(0.1, 0.05), component("borrow", "debt", im=0.1, mm=0.05))
    each = [protect_of(frame(who, rule, world)) for who in made]
    assert [s is not None and s.active for s in each] == [True, False, True, True]
    assert [allowed_actions(s).new_risk.allowed for s in each] == [False, True, False, False]
    book = book_from_accounts(made)
    assert evaluate_book(book, world, rule).protected.tolist() == [True, False, True, True]


class TestThroughTheCommandLine:
    ACCOUNT: ClassVar[dict[str, Any]] = {
        "format": "crossmargin-account/1",
        "account": "thin",
        "balances": [{"asset": "USDC", "amount": 2_700}],
        "positions": [{"instrument": PERP, "quantity": 2, "entry_price": 50_000.0}],
    }

    def run(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, *more: str
    ) -> tuple[int, str]:
        (tmp_path / "a.json").write_text(json.dumps(self.ACCOUNT))
        (tmp_path / "m.json").write_text(text)
        capsys.readouterr()
        code = main(
            [
                "margin",
                str(tmp_path / "a.json"),
                "--market",
                str(tmp_path / "m.json"),
                "--ruleset",
                "isolated",
                "--set",
                "pools.by=account",
                *more,
            ]
        )
        return code, capsys.readouterr().out

    def test_the_outlier(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        _, sound = self.run(tmp_path, capsys, market_text(50_000, 50_020, 50_010), "--json")
        code, hit = self.run(tmp_path, capsys, market_text(50_000, 50_020, 40_008), "--json")
        before, after = json.loads(sound), json.loads(hit)
        marks = [s["positions"][0]["mark_price"] for s in (before, after)]
        assert code == 0 and abs(marks[1] / marks[0] - 1.0) < 0.0005
        assert before["totals"]["state"] == after["totals"]["state"] != "liquidation"
        assert not after["protect"]["active"]

    def test_the_stale(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        text = market_text(50_000, 50_020, 40_008, ages=(TEN_MINUTES_AGO, TEN_MINUTES_AGO, AS_OF))
        code, out = self.run(tmp_path, capsys, text)
        assert code == 0 and "PROTECT MODE" in out and "2 of 3 sources stale: x, y" in out
        assert "it is not liquidated" in " ".join(out.split()) and "no new risk" in out
        _, raw = self.run(tmp_path, capsys, text, "--json")
        (tmp_path / "s.json").write_text(raw)
        assert main(["verify", str(tmp_path / "s.json")]) == 0
        assert "the same, byte for byte" in capsys.readouterr().out
        assert json.loads(raw)["totals"]["state"] == "reduce-only"

    def test_prices(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "m.json"
        path.write_text(
            market_text(50_000, 50_020, 40_008, ages=(TEN_MINUTES_AGO, TEN_MINUTES_AGO, AS_OF))
        )
        assert main(["prices", str(path)]) == 0
        out = capsys.readouterr().out
        for words in ("PROTECT MODE", "untrusted", "stale", "forbidden", "no liquidation"):
            assert words in out
        assert main(["prices", str(path), "--json"]) == 0
        panel = json.loads(capsys.readouterr().out)
        assert panel["protect"] and not panel["actions"]["liquidate"]["allowed"]
        assert panel["as_of"] == AS_OF
        index = panel["assets"][0]["index"]
        assert [r["part"] for r in index["readings"]] == ["stale", "stale", "used"]
        assert panel["marks"][0]["instrument"] == PERP

    def test_prices_of_a_market_that_nobody_judges(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["prices", "calm-2026-02-03"]) == 0
        assert "margin does not look at them" in " ".join(capsys.readouterr().out.split())
        assert main(["prices", "calm-2026-02-03", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["own_policy"] is False


def test_maintenance_is_cut_only_where_the_rule_set_cuts_it() -> None:
    """A haircut that touches IM alone is widened there alone; one at MM is widened there too."""
    ages = (TEN_MINUTES_AGO, TEN_MINUTES_AGO, AS_OF)
    world = snapshot(50_000.0, 50_010.0, 50_000.0, ages=ages)
    who = account(balances={"BTC": 1})
    for levels, at_mm in ((["im"], 0.0), (["im", "mm"], 0.20)):
        collateral = {
            "source": "s",
            "confidence": "house",
            "haircut_levels": levels,
            "assets": {"default": {"haircut": 0.05}},
        }
        rule = rules(flat_rate(0.1, 0.05), collateral=collateral)
        line = make_statement(who, world, rule).balances[0]
        assert (line.haircut, line.haircut_mm) == (pytest.approx(0.20), pytest.approx(at_mm))


def test_debts_are_not_made_dearer() -> None:
    ages = (TEN_MINUTES_AGO, TEN_MINUTES_AGO, AS_OF)
    who = account(balances={"BTC": -1, "USDC": 90_000})
    rule = rules(flat_rate(0.1, 0.05), component("borrow", "debt", im=0.1, mm=0.05))
    dark = make_statement(who, snapshot(5e4, 5e4, 5e4, ages=ages), rule).totals
    clear = make_statement(who, snapshot(5e4, 5e4, 5e4), rule).totals
    assert (dark.equity, dark.equity_im, dark.im) == (clear.equity, clear.equity_im, clear.im)
