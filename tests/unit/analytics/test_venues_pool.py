"""One account in place of several: netting by hand, the steps of the saving, the tail."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from tests.helpers import (
    CALL,
    ETH_PERP,
    PERP,
    account,
    fixture_g,
    flat_rate,
    market,
    rules,
    scan_rules,
)

from crossmargin.analytics import (
    TailModel,
    VenueAccount,
    pool_venues,
    unified_account,
)
from crossmargin.analytics.efficiency import joint_moves
from crossmargin.book import AccountFile, book_from_accounts
from crossmargin.cli import main
from crossmargin.errors import InputError
from crossmargin.margin import Ruleset, evaluate
from crossmargin.market import Snapshot
from crossmargin.stats import expected_shortfall

INVERSE = "BTC-PERPETUAL"
RATE = rules(flat_rate(0.10, 0.05))
G, OPTIONS = scan_rules(), fixture_g()


def world(btc: float = 50_000.0) -> Snapshot:
    return market(
        {"BTC": btc, "ETH": 3_000.0, "USDC": 1.0},
        marks={PERP: btc, INVERSE: btc, ETH_PERP: 3_000.0},
    )


def at(*held: AccountFile, ruleset: Ruleset = RATE) -> list[VenueAccount]:
    return [VenueAccount(venue="AB C"[k], account=a, ruleset=ruleset) for k, a in enumerate(held)]


def equity(who: AccountFile, btc: float) -> float:
    done = evaluate(book_from_accounts([who]), world(btc), RATE)
    return float(done.have.mm @ done.frame.pot_usd)


class TestOneAccount:
    @pytest.mark.parametrize("a, b", [(2, -0.5), (0.5, -2), (1, -1), (2, 3), (-1, -2)])
    @pytest.mark.parametrize("name", [PERP, INVERSE])
    def test_is_worth_the_sum_at_any_price(self, name: str, a: float, b: float) -> None:
        size = 50_000 if name == INVERSE else 1
        first = account((name, a * size, 48_000), balances={"USDC": 9_000, "BTC": 1})
        second = account((name, b * size, 53_000), balances={"USDC": 4_000, "BTC": 2})
        one = unified_account(at(first, second))
        held = [float(p.quantity) for p in one.positions]
        assert held == ([] if a + b == 0 else [pytest.approx((a + b) * size)])
        for btc in (31_000.0, 50_000.0, 77_000.0):
            assert equity(one, btc) == pytest.approx(equity(first, btc) + equity(second, btc))

    def test_hedged_legs_and_options(self) -> None:
        legs = account(
            {"instrument": PERP, "quantity": 2, "entry_price": 50_000, "leg": "long"},
            {"instrument": PERP, "quantity": -1, "entry_price": 51_000, "leg": "short"},
        )
        kept = unified_account(at(legs, account((ETH_PERP, 1, 3_000))))
        assert {(p.instrument, p.leg, p.quantity) for p in kept.positions} == {
            (PERP, "long", 2), (PERP, "short", -1), (ETH_PERP, "net", 1)
        }  # fmt: skip
        both = unified_account(at(legs, legs))
        assert {(p.leg, p.quantity) for p in both.positions} == {("long", 4), ("short", -2)}
        mixed = unified_account(at(legs, account((PERP, -1, 52_000))))
        assert mixed.positions == [] and mixed.balances[0].asset == "USDC"
        calls = unified_account(at(account((CALL, 3)), account((CALL, -1))))
        assert [(p.instrument, p.quantity) for p in calls.positions] == [(CALL, 2)]


class TestPool:
    def test_row_a08_needs_nothing_in_one_account(self) -> None:
        """Long 1 at A, short 1 at B, 5,000 each, 10 % and 5 %: apart 10,000, together nothing."""
        venues = at(
            account((PERP, 1, 50_000), balances={"USDC": 5_000}),
            account((PERP, -1, 50_000), balances={"USDC": 5_000}),
        )
        made = pool_venues(venues, world(), [RATE])
        a, b = made.venues
        assert (a.im_usd, b.im_usd) == (pytest.approx(5_000), pytest.approx(5_000))
        assert a.withstands_fall == pytest.approx(47_368.42 / 50_000 - 1, abs=1e-7)
        assert b.withstands_rise == pytest.approx(52_380.95 / 50_000 - 1, abs=1e-7)
        (one,) = made.pooled
        assert one.im_same_rules_usd == pytest.approx(10_000) and one.pooled.im_usd == 0
        assert one.saving == pytest.approx(1.0) and one.freed_usd == pytest.approx(10_000)
        assert one.pooled.withstands_fall is None and one.pooled.withstands_rise is None
        assert made.netted == [PERP]
        # Apart, one leg gains what the other loses, and keeps what that cannot pay.
        assert one.cvar_usd == pytest.approx(0, abs=1e-6) == one.cvar_separate_usd

    def test_a_debtor_is_carried_by_the_others(self) -> None:
        venues = at(
            account((PERP, 1, 50_000), balances={"USDC": 3_000}),
            account(balances={"USDC": 20_000}),
        )
        made = pool_venues(venues, world(), [RATE])
        assert [s.lacking_usd for s in made.venues] == [pytest.approx(2_000), 0.0]
        assert made.pooled[0].pooled.free_usd == pytest.approx(18_000)
        assert made.pooled[0].freed_usd == pytest.approx(0.0, abs=1e-6)  # nothing nets

    def test_other_rules_and_pooling_are_told_apart(self) -> None:
        """Venues on flat rates; the scan of Fixture G sees the hedge only in one account."""
        venues = at(
            account((CALL, 1), balances={"USDC": 10_000}),
            account((PERP, -0.5, 50_000), balances={"USDC": 10_000}),
            ruleset=G,
        )
        (one,) = pool_venues(venues, OPTIONS, [G]).pooled
        assert one.im_same_rules_usd == pytest.approx(7_186.30, abs=0.005)
        assert one.pooled.im_usd == pytest.approx(855.36, abs=0.005)
        assert one.saving == pytest.approx(0.8810, abs=5e-5)
        assert one.freed_usd == pytest.approx(7_186.30 - 855.36, abs=0.02)

    def test_the_tail_by_plain_loops(self) -> None:
        """Linear legs and cash: loss = −Σ q·S·move, cut off at each account's equity."""
        model = TailModel(scenarios=600, horizon_days=9.0)
        cash, legs = (6_000.0, 9_000.0), ({"BTC": 1.0}, {"BTC": -0.4, "ETH": 8.0})
        names = {"BTC": PERP, "ETH": ETH_PERP}
        spot = {"BTC": 50_000.0, "ETH": 3_000.0}
        held = [
            account(*[(names[c], q, spot[c]) for c, q in mine.items()], balances={"USDC": usdc})
            for mine, usdc in zip(legs, cash)
        ]
        (one,) = pool_venues(at(*held), world(), [RATE], model=model).pooled
        moves = joint_moves(["BTC", "ETH"], [0.6, 0.6], model)
        apart, whole = [], []
        for s in range(model.scenarios):
            each = [
                -sum(mine.get(c, 0.0) * spot[c] * moves[k][s] for k, c in enumerate(spot))
                for mine in legs
            ]
            apart.append(sum(min(loss, usdc) for loss, usdc in zip(each, cash)))
            whole.append(min(sum(each), sum(cash)))
        assert one.cvar_separate_usd == pytest.approx(expected_shortfall(np.array(apart), 0.99))
        assert one.cvar_usd == pytest.approx(expected_shortfall(np.array(whole), 0.99))
        assert math.isfinite(one.cvar_usd) and one.cvar_usd > one.cvar_separate_usd * 0.2

    def test_what_cannot_be(self) -> None:
        who = account((PERP, 1, 50_000), balances={"USDC": 9_000})
        twice = VenueAccount(venue="A", account=who, ruleset=RATE)
        for venues in ([], [twice], [twice, twice]):
            with pytest.raises(InputError) as caught:
                pool_venues(venues, world(), [RATE])
            assert caught.value.code == "INP-112"


class TestCommandLine:
    BOTH = ("--venue", "A=covered-call:deribit-pm", "--venue", "B=short-vol-desk:deribit-pm")

    def test_table_json_and_page(self, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
        page = tmp_path / "pool.html"
        assert main(["venues", "pool", *self.BOTH, "--html", str(page)]) == 0
        out = capsys.readouterr().out
        assert "pooling itself" in out and "more at stake" in out and "USD" in out
        assert page.read_text().count("<svg") >= 2
        assert main(["venues", "pool", *self.BOTH, "--ruleset", "deribit-pm-cross", "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        (one,) = made["pooled"]
        before = sum(v["free_usd"] - v["lacking_usd"] for v in made["venues"])
        after = one["pooled"]["free_usd"] - one["pooled"]["lacking_usd"]
        assert one["freed_usd"] == pytest.approx(after - before)

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--venue", "A=covered-call:deribit-pm"), "two at least"),
            (("--venue", "A=covered-call"), "cannot be read"),
            ((*BOTH, "--ruleset", "nope"), "nope"),
            ((*BOTH, "--ruleset", "aave-v3"), "no rule-set margins the one account"),
        ],
    )
    def test_wrong_words(
        self, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["venues", "pool", *words]) == 2
        err = capsys.readouterr().err
        assert said in err and "Traceback" not in err
