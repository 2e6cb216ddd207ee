"""The change of the margin, shared by Shapley, against a second implementation by permutations."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.helpers import (
    CALL,
    ETH_PERP,
    EXPIRY,
    PERP,
    account,
    component,
    flat_rate,
    market,
    rules,
    scan_rules,
)

from crossmargin.analytics import CAUSES, Explained, Moment, explain_change, shapley
from crossmargin.book import AccountFile, PositionEntry, book_from_accounts
from crossmargin.cli import main
from crossmargin.errors import CrossmarginError, MarketDataError
from crossmargin.margin import Ruleset, evaluate, load_ruleset
from crossmargin.market import Snapshot
from crossmargin.venues import load_account, load_market

DAYS = ("2026-02-25T08:00:00Z", "2026-02-26T09:30:00Z")
PUTS = "BTC_USDC-27MAR26-45000-P"

#: One column a cause; each world below takes yesterday's or today's of every row.
PRICES = ({"BTC": 50_000.0, "ETH": 3_000.0}, {"BTC": 46_500.0, "ETH": 2_850.0})
DOLLAR = (1.0, 0.985)
VOLS = ({CALL: 0.60, PUTS: 0.66}, {CALL: 0.74, PUTS: 0.81})
MONEY = ({"USDC": 40_000, "BTC": 0.2}, {"USDC": 31_500, "BTC": 0.5, "ETH": 1.0})
BOOKS = (
    [(PERP, 1, 49_000), (CALL, -2), (ETH_PERP, 5, 2_900)],
    [(PERP, 0.4, 49_000), (CALL, -2), (PUTS, 3)],
)
HAIRCUT = {
    "source": "s",
    "confidence": "house",
    "assets": {"default": {"haircut": 0.1, "stress": "both"}, "USDC": {"haircut": 0.0}},
}


def by_rules(up: float) -> Ruleset:
    return scan_rules(
        collateral=HAIRCUT,
        scenarios={
            "blocks": [{"moves": [-0.16, 0.0, 0.16], "vols": ["up", "same", "down"]}],
            "underlyings": {"default": {"price_range": 0.16, "vol_up": up, "vol_down": 0.25}},
        },
    )


RULES = (by_rules(0.5), by_rules(0.65))


def world(price: int, vol: int, time: int, money: int) -> Snapshot:
    coins = PRICES[price]
    return market(
        {**coins, "USDC": DOLLAR[money]},
        marks={PERP: coins["BTC"] * 1.001, ETH_PERP: coins["ETH"]},
        vols=VOLS[vol],
        forwards={("BTC", EXPIRY): coins["BTC"] * 1.004 * (DOLLAR[money] / DOLLAR[price])},
        as_of=DAYS[time],
    )


def holder(p: int, c: int) -> AccountFile:
    return account(*BOOKS[p], balances=MONEY[c])


def slow_im(bits: tuple[int, ...]) -> float:
    p, price, vol, time, parameters, money = bits
    done = evaluate(
        book_from_accounts([holder(p, money)]), world(price, vol, time, money), RULES[parameters]
    )
    return done.im_usd


def moments() -> tuple[Moment, Moment]:
    return tuple(
        Moment(account=holder(k, k), market=world(k, k, k, k), ruleset=RULES[k]) for k in (0, 1)
    )  # type: ignore[return-value]


class TestAgainstPermutations:
    def test_every_order_by_hand(self) -> None:
        """720 orders over 64 markets that are built from plain numbers, not mixed as columns."""
        value = {bits: slow_im(bits) for bits in itertools.product((0, 1), repeat=6)}
        found = dict.fromkeys(range(6), 0.0)
        for order in itertools.permutations(range(6)):
            bits = [0] * 6
            for k in order:
                before = value[tuple(bits)]
                bits[k] = 1
                found[k] += (value[tuple(bits)] - before) / 720
        made = explain_change(*moments())
        assert [part.cause for part in made.parts] == list(CAUSES)
        for k, part in enumerate(made.parts):
            assert part.im_usd == pytest.approx(found[k], rel=1e-9, abs=1e-7)
            assert abs(part.im_usd) > 1.0  # every cause is at work
            alone = tuple(int(j == k) for j in range(6))
            assert part.alone_im_usd == pytest.approx(value[alone] - value[(0,) * 6], abs=1e-7)
            but = tuple(int(j != k) for j in range(6))
            assert part.last_im_usd == pytest.approx(value[(1,) * 6] - value[but], abs=1e-7)
        assert made.im_then_usd == pytest.approx(value[(0,) * 6], rel=1e-12)
        assert made.im_now_usd == pytest.approx(value[(1,) * 6], rel=1e-12)

    def test_shapley_of_a_sum_is_its_terms(self) -> None:
        terms = np.array([3.0, -1.0, 4.0, 1.0, -5.0, 9.0])
        values = np.array([sum(terms[k] for k in range(6) if s >> k & 1) for s in range(64)])
        assert shapley(values) == pytest.approx(terms)

    def test_shapley_shares_a_product_equally(self) -> None:
        values = np.array([12.0 if s & 0b101 == 0b101 else 0.0 for s in range(64)])
        assert shapley(values) == pytest.approx([6.0, 0.0, 6.0, 0.0, 0.0, 0.0])


class TestLaws:
    def adds_up(self, made: Explained) -> None:
        step = made.im_now_usd - made.im_then_usd
        assert abs(made.residual_usd) <= 1e-9
        assert math.fsum(p.im_usd for p in made.parts) == pytest.approx(step, abs=1e-8)
        for name, a, b in (
            ("mm_usd", made.mm_then_usd, made.mm_now_usd),
            ("equity_im_usd", made.equity_then_usd, made.equity_now_usd),
        ):
            assert sum(getattr(p, name) for p in made.parts) == pytest.approx(b - a, abs=1e-7)
        for row in made.components:
            assert sum(row.by_cause_usd.values()) == pytest.approx(
                row.now_usd - row.then_usd, abs=1e-7
            )
        for k, cause in enumerate(CAUSES):
            parts = sum(row.by_cause_usd[cause] for row in made.components)
            assert parts == pytest.approx(made.parts[k].im_usd, abs=1e-6)

    def test_made_up(self) -> None:
        made = explain_change(*moments())
        self.adds_up(made)
        assert made.revaluations == 64 and made.days == pytest.approx(1.0625)
        assert {m.instrument for m in made.positions} == {PERP, PUTS, ETH_PERP}
        assert {p.path for p in made.parameters if not p.text} == {
            "scenarios.underlyings.default.vol_up"
        }

    @pytest.mark.parametrize("name", ["deribit-pm-cross", "derive-pm2", "isolated", "occ-tims"])
    def test_demo_desk_through_the_crash(self, name: str) -> None:
        desk, ruleset = load_account("short-vol-desk"), load_ruleset(name)
        traded = msgspec.structs.replace(
            desk,
            positions=[*desk.positions[1:], PositionEntry(instrument="BTC-27MAR26-70000-P",
                                                          quantity=5.0)],
            balances=[*desk.balances[:2], msgspec.structs.replace(desk.balances[2], amount=4e5)],
        )  # fmt: skip
        calm, crash = load_market("calm-2026-02-03"), load_market("crash-2026-02-05")
        made = explain_change(
            Moment(account=desk, market=calm, ruleset=ruleset),
            Moment(account=traded, market=crash, ruleset=ruleset),
        )
        self.adds_up(made)
        by = {part.cause: part.im_usd for part in made.parts}
        assert by["parameters"] == 0.0 and by["price"] != 0.0 and by["positions"] != 0.0

    def test_nothing_changed(self) -> None:
        then, _ = moments()
        made = explain_change(then, then)
        assert all(part.im_usd == 0.0 for part in made.parts)
        assert made.positions == [] and made.prices == [] and made.parameters == []

    def test_backwards_is_the_negative(self) -> None:
        then, now = moments()
        there, back = explain_change(then, now), explain_change(now, then)
        for a, b in zip(there.parts, back.parts):
            assert a.im_usd == pytest.approx(-b.im_usd, abs=1e-7)

    def test_only_a_deposit(self) -> None:
        then, _ = moments()
        richer = msgspec.structs.replace(
            then.account, balances=account(balances={"USDC": 50_000, "BTC": 0.2}).balances
        )
        made = explain_change(
            then, Moment(account=richer, market=then.market, ruleset=then.ruleset)
        )
        assert [p.equity_im_usd for p in made.parts[:5]] == [0.0] * 5
        assert made.parts[5].equity_im_usd == pytest.approx(10_000.0)
        assert made.parts[5].im_usd == 0.0

    def test_interaction_shows_as_alone_against_last(self) -> None:
        """Rate of a position that is opened while its price doubles: 100 alone, 200 last."""
        ruleset = rules(flat_rate(0.1, 0.05))
        old = market({"BTC": 1_000.0, "USDC": 1.0}, marks={PERP: 1_000.0})
        new = market({"BTC": 2_000.0, "USDC": 1.0}, marks={PERP: 2_000.0})
        made = explain_change(
            Moment(account=account(balances={"USDC": 500}), market=old, ruleset=ruleset),
            Moment(
                account=account((PERP, 1, 1_000), balances={"USDC": 500}),
                market=new,
                ruleset=ruleset,
            ),
        )
        positions, price = made.parts[:2]
        assert (positions.alone_im_usd, positions.last_im_usd) == pytest.approx((100.0, 200.0))
        assert (price.alone_im_usd, price.last_im_usd) == pytest.approx((0.0, 100.0))
        assert (positions.im_usd, price.im_usd) == pytest.approx((150.0, 50.0))


class TestOneMarketOnly:
    def test_new_listing_is_filled_in_and_said(self) -> None:
        then, now = moments()
        quotes = {k: v for k, v in then.market.quotes.items() if k != PUTS}
        thin = replace(then, market=replace(then.market, quotes=quotes))
        made = explain_change(thin, now)
        assert len(made.filled) == 1 and made.filled[0].startswith(PUTS)
        TestLaws().adds_up(made)

    def test_expired_leg_leaves_through_time_and_positions(self) -> None:
        """A leg that was alive yesterday and is not held today, its expiry between the two."""
        late = market(
            {"BTC": 48_000.0, "ETH": 3_000.0, "USDC": 1.0},
            marks={PERP: 48_000.0, ETH_PERP: 3_000.0},
            as_of="2026-03-28T08:00:00Z",
        )
        then, _ = moments()
        after = account((PERP, 1, 49_000), (ETH_PERP, 5, 2_900), balances=MONEY[0])
        made = explain_change(then, Moment(account=after, market=late, ruleset=RULES[0]))
        TestLaws().adds_up(made)
        assert made.filled and made.filled[0].startswith(CALL)
        # Time alone lets the call expire; what is left is yesterday's account without it.
        bare = account((PERP, 1, 49_000), (ETH_PERP, 5, 2_900), balances=MONEY[0])
        left = evaluate(book_from_accounts([bare]), then.market, RULES[0]).im_usd
        assert made.parts[3].alone_im_usd == pytest.approx(left - made.im_then_usd)
        assert made.parts[3].last_im_usd == 0.0 and made.parts[3].im_usd != 0.0

    def test_priced_by_neither_is_refused(self) -> None:
        then, now = moments()
        odd = msgspec.structs.replace(
            now.account,
            positions=[*now.account.positions, PositionEntry(
                instrument="BTC_USDC-27MAR26-99000-C", quantity=1.0)],
        )  # fmt: skip
        with pytest.raises(MarketDataError) as caught:
            explain_change(then, Moment(account=odd, market=now.market, ruleset=now.ruleset))
        assert caught.value.code == "MKT-005"

    def test_a_mixture_that_the_rules_refuse_is_named(self) -> None:
        """Yesterday's rules do not cover today's contracts: the mixture has no number."""
        then, now = moments()
        narrow = rules(component("scan", "scan"), instruments=["perpetual"], collateral=HAIRCUT)
        thin = Moment(
            account=account((PERP, 1, 49_000), balances=MONEY[0]),
            market=then.market,
            ruleset=narrow,
        )
        with pytest.raises(CrossmarginError) as caught:
            explain_change(thin, now)
        assert caught.value.code == "RUL-014" and "cannot be shared" in str(caught.value)


MARKETS = ["--market-then", "calm-2026-02-03", "--market-now", "crash-2026-02-05"]


class TestCommandLine:
    def test_json_and_page(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        page = tmp_path / "bridge.html"
        arguments = ["explain", "short-vol-desk", "short-vol-desk", *MARKETS]
        assert main([*arguments, "--json", "--html", str(page)]) == 0
        made: dict[str, Any] = json.loads(capsys.readouterr().out)
        step = made["im_now_usd"] - made["im_then_usd"]
        assert sum(p["im_usd"] for p in made["parts"]) == pytest.approx(step, abs=1e-8)
        text = page.read_text(encoding="utf-8")
        assert text.startswith("<!DOCTYPE html>") and "collateral and FX" in text
        assert main(arguments) == 0
        shown = capsys.readouterr().out
        assert "Shapley value over 64 revaluations" in shown and "collateral and FX" in shown

    def test_statements_bring_their_own_market_and_rules(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for day, name in (("monday", "calm-2026-02-03"), ("tuesday", "crash-2026-02-05")):
            assert main(["margin", "covered-call", "--market", name, "--json"]) == 0
            (tmp_path / f"{day}.json").write_text(capsys.readouterr().out, encoding="utf-8")
        days = [str(tmp_path / f"{day}.json") for day in ("monday", "tuesday")]
        assert main(["explain", *days, "--json"]) == 0
        ours = json.loads(capsys.readouterr().out)
        assert main(["explain", "covered-call", "covered-call", *MARKETS, "--json"]) == 0
        theirs = json.loads(capsys.readouterr().out)
        for a, b in zip(ours["parts"], theirs["parts"]):
            assert a["im_usd"] == pytest.approx(b["im_usd"], rel=1e-9, abs=1e-6)

    def test_without_a_market(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["explain", "covered-call", "covered-call"]) == 2
        assert "--market-now" in capsys.readouterr().err
