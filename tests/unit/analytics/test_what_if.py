"""What-if answers are those of the changed account, evaluated from the start."""

from __future__ import annotations

import itertools
import json
import math
import time
from typing import ClassVar

import msgspec
import numpy as np
import pytest
from tests.helpers import (
    CALL,
    ETH_PERP,
    PERP,
    PUT,
    account,
    fixture_g,
    flat_rate,
    rules,
    scan_rules,
)

from crossmargin.analytics import Add, Remove, Roll, WhatIf, margin_path, trades_of, what_if
from crossmargin.analytics.margin_path import least_peak
from crossmargin.book import AccountFile, PositionEntry, parse_account, write_account
from crossmargin.errors import MarginError
from crossmargin.margin import Ruleset, Trade, TradedAccount, load_ruleset, make_statement
from crossmargin.market import Snapshot
from crossmargin.venues import load_account, load_market

G, MARKET = scan_rules(), fixture_g()
CALM = load_market("calm-2026-02-03")
DESK = load_account("short-vol-desk")
DERIBIT = load_ruleset("deribit-pm-cross")


def close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-10, abs_tol=1e-6)


def by_hand(
    who: AccountFile, cash: dict[str, float], *moved: tuple[str, float, float | str | None]
):
    """Write the changed account out: quantities and entries given, cash added."""
    positions = {p.instrument: p for p in who.positions}
    for name, quantity, entry in moved:
        positions[name] = PositionEntry(instrument=name, quantity=quantity, entry_price=entry)
    balances = []
    for b in who.balances:
        amount = float(b.amount) + cash.get(b.asset, 0.0)
        balances.append(msgspec.structs.replace(b, amount=amount))
    kept = [p for p in positions.values() if float(p.quantity) != 0.0]
    return msgspec.structs.replace(who, positions=kept, balances=balances)


class TestAgainstTheChangedAccount:
    def check(self, answer, changed: AccountFile, snapshot: Snapshot, ruleset: Ruleset) -> None:
        made = make_statement(changed, snapshot, ruleset, solve=False)
        t = made.totals
        after = answer.after
        assert close(after.im_usd, t.im) and close(after.mm_usd, t.mm)
        assert close(after.equity_im_usd, t.equity_im) and close(after.equity_mm_usd, t.equity)
        assert (after.health is None) == (t.health is None)
        assert after.health is None or close(after.health, t.health)
        assert after.state == t.state
        ours = {(c.pot, c.group, c.name): c for c in answer.components}
        for line in made.components:
            mine = ours.pop((line.pot, line.group, line.name), None)
            assert close(line.im_usd, 0.0 if mine is None else mine.im_after_usd)
            assert close(line.mm_usd, 0.0 if mine is None else mine.mm_after_usd)
        assert all(c.im_after_usd == 0.0 for c in ours.values())
        greeks = {(g.pot, g.group): g for g in answer.groups}
        for line in made.groups:
            mine = greeks[line.pot, line.group]
            assert close(line.delta, mine.delta[1]) and close(line.vega_usd, mine.vega_usd[1])
            assert line.binding == mine.binding[1]

    @pytest.mark.parametrize(
        "name",
        ["deribit-pm-cross", "deribit-sm-cross", "isolated", "deribit-pm", "span", "derive-pm2"],
    )
    def test_desk_under_several_rule_sets(self, name: str) -> None:
        ruleset = load_ruleset(name)
        changes = [
            Remove(instrument="BTC-27MAR26-64000-P", quantity=10),
            Remove(instrument="BTC-27FEB26-90000-C"),
            Add(instrument="BTC-27MAR26-70000-P", quantity=4, price=0.02),
            Add(instrument="BTC-PERPETUAL", quantity=-50_000, price=79_000.0),
        ]
        asked = WhatIf(DESK, CALM, ruleset)
        answer = asked.ask(changes)
        statement = make_statement(DESK, CALM, ruleset, solve=False)
        mark = {p.instrument: p.mark_price for p in statement.positions}
        cash = -10 * mark["BTC-27MAR26-64000-P"] - 10 * mark["BTC-27FEB26-90000-C"] - 4 * 0.02
        fee = sum(f.fee for f in answer.fills if f.settlement == "BTC")
        entry = 150_000 / (100_000 / 78_610.0 + 50_000 / 79_000.0)
        changed = by_hand(
            DESK,
            {"BTC": cash - fee},
            ("BTC-27MAR26-64000-P", -20, None),
            ("BTC-27FEB26-90000-C", 0, None),
            ("BTC-27MAR26-70000-P", 4, None),
            ("BTC-PERPETUAL", -150_000, entry),
        )
        self.check(answer, changed, CALM, ruleset)
        assert close(answer.before.im_usd, statement.totals.im)
        # The account that is written is the same one.
        written = parse_account(write_account(asked.traded(changes).account_after()))
        self.check(answer, written, CALM, ruleset)

    def test_profit_of_what_is_closed_is_paid_in(self) -> None:
        who = account((PERP, 2, 40_000), (CALL, -1), balances={"USDC": 30_000})
        answer = what_if(who, MARKET, G, [Remove(instrument=PERP, quantity=0.5, price=52_000.0)])
        (fill,) = answer.fills
        assert fill.cash == 0.5 * 12_000 and (fill.before, fill.after) == (2.0, 1.5)
        changed = account((PERP, 1.5, 40_000), (CALL, -1), balances={"USDC": 36_000})
        self.check(answer, changed, MARKET, G)

    def test_through_zero_takes_the_price_as_entry(self) -> None:
        who = account((PERP, 1, 49_000), balances={"USDC": 30_000})
        answer = what_if(who, MARKET, G, [Add(instrument=PERP, quantity=-3, price=51_000.0)])
        changed = account((PERP, -2, 51_000), balances={"USDC": 32_000})
        self.check(answer, changed, MARKET, G)

    def test_a_leg_removed_and_added_back_restores_everything(self) -> None:
        asked = WhatIf(DESK, CALM, DERIBIT)
        for row in DESK.positions[:4]:
            name = row.instrument
            answer = asked.ask(
                [Remove(instrument=name), Add(instrument=name, quantity=float(row.quantity))]
            )
            assert answer.after == answer.before

    @pytest.mark.parametrize("name", ["deribit-pm-cross", "deribit-pm", "derive-pm2"])
    def test_closing_everything_leaves_idle_coins(self, name: str) -> None:
        """Coins are stressed beside positions; once there are none they ask for nothing."""
        who, ruleset = load_account("directional"), load_ruleset(name)
        answer = what_if(
            who, CALM, ruleset, [Remove(instrument=p.instrument) for p in who.positions]
        )
        asked = WhatIf(who, CALM, ruleset)
        made = asked.traded([Remove(instrument=p.instrument) for p in who.positions])
        self.check(answer, made.account_after(), CALM, ruleset)
        assert answer.after.im_usd == 0.0 or ruleset.data.collateral.stress_idle

    def test_dollars_alone(self) -> None:
        empty = account(balances={"USDC": 60_000})
        answer = what_if(empty, CALM, DERIBIT, [Add(instrument="BTC-PERPETUAL", quantity=1_000)])
        assert answer.before.im_usd == 0.0 and answer.after.im_usd > 0.0

    def test_roll_is_remove_and_add(self) -> None:
        old, new = "BTC-27FEB26-90000-C", "BTC-27MAR26-105000-C"
        rolled = what_if(DESK, CALM, DERIBIT, [Roll(old=old, new=new)])
        both = what_if(
            DESK, CALM, DERIBIT, [Remove(instrument=old), Add(instrument=new, quantity=-10)]
        )
        assert rolled == both
        part = trades_of(DESK, [Roll(old=old, new=new, quantity=4)])
        assert [(t.instrument, t.quantity) for t in part] == [(old, 4.0), (new, -4.0)]

    def test_kept_account_answers_as_a_fresh_one(self) -> None:
        asked = WhatIf(DESK, CALM, DERIBIT, ["BTC-27MAR26-80000-C"])
        for changes in (
            [Add(instrument="BTC-27MAR26-80000-C", quantity=3)],
            [Add(instrument="BTC-27MAR26-71000-C", quantity=-3)],
            [Remove(instrument="ETH-PERPETUAL")],
            [Add(instrument="BTC-27MAR26-71000-C", quantity=-3)],
        ):
            assert asked.ask(changes) == what_if(DESK, CALM, DERIBIT, changes)

    def test_hedged_legs_and_pools(self) -> None:
        who = account(
            {"instrument": PERP, "quantity": 2, "entry_price": 50_000, "leg": "long"},
            {"instrument": PERP, "quantity": -1, "entry_price": 50_000, "leg": "short"},
            balances={"USDC": 20_000},
        )
        answer = what_if(who, MARKET, G, [Remove(instrument=PERP, leg="short")])
        self.check(
            answer,
            account(
                {"instrument": PERP, "quantity": 2, "entry_price": 50_000, "leg": "long"},
                balances={"USDC": 20_000},
            ),
            MARKET,
            G,
        )

    def test_open_orders_stay_at_their_worst(self) -> None:
        order = {"id": "o", "legs": [{"instrument": PERP, "quantity": -1}]}
        who = account((PERP, 1, "mark"), balances={"USDC": 30_000}, orders=[order])
        answer = what_if(who, MARKET, G, [Remove(instrument=PERP)])
        changed = account(balances={"USDC": 30_000}, orders=[order])
        assert close(answer.after.im_usd, make_statement(changed, MARKET, G, solve=False).totals.im)
        assert answer.after.im_usd == pytest.approx(8_000.0)


class TestRefusals:
    @pytest.mark.parametrize(
        "change, code",
        [
            (Remove(instrument=CALL), "MRG-023"),
            (Remove(instrument=PERP, quantity=3), "MRG-023"),
            (Remove(instrument=PERP, quantity=-1), "MRG-023"),
            (Add(instrument=PERP, quantity=0), "MRG-022"),
            (Add(instrument=PERP, quantity=float("nan")), "MRG-022"),
            (Add(instrument=PERP, quantity=1, price=-5.0), "MRG-022"),
            (Roll(old=PUT, new=CALL), "MRG-023"),
        ],
    )
    def test_in_words(self, change: object, code: str) -> None:
        who = account((PERP, 1, 50_000), balances={"USDC": 30_000})
        with pytest.raises(MarginError) as caught:
            what_if(who, MARKET, G, [change])
        assert caught.value.code == code and caught.value.account == "a"

    def test_expired(self) -> None:
        late = MARKET.at(MARKET.as_of_ns + 40 * 86_400 * 10**9)
        who = account((PERP, 1, 50_000), balances={"USDC": 30_000})
        with pytest.raises(MarginError, match="expired"):
            what_if(who, late, G, [Add(instrument=CALL, quantity=1)])


class TestMarginPath:
    LEGS = (
        Trade(instrument=CALL, quantity=-2),
        Trade(instrument="BTC_USDC-27MAR26-60000-C", quantity=2),
        Trade(instrument=PUT, quantity=-2),
        Trade(instrument="BTC_USDC-27MAR26-40000-P", quantity=2),
        Trade(instrument=PERP, quantity=0.3),
    )
    WHO = account(balances={"USDC": 60_000})
    known: ClassVar[dict[frozenset[int], float]] = {}

    def peak(self, order: tuple[int, ...]) -> float:
        """The slow way: an account file for every step, evaluated from the start."""
        found = [0.0]
        for size in range(1, len(order) + 1):
            done = frozenset(order[:size])
            if done not in self.known:
                legs = [(self.LEGS[k].instrument, self.LEGS[k].quantity) for k in order[:size]]
                who = account(*legs, balances={"USDC": 60_000})
                self.known[done] = make_statement(who, MARKET, G, solve=False).totals.im
            found.append(self.known[done])
        return max(found)

    def test_every_order_by_brute_force(self) -> None:
        peaks = {order: self.peak(order) for order in itertools.permutations(range(5))}
        made = margin_path(self.WHO, MARKET, G, self.LEGS)
        assert made.best.peak_usd == pytest.approx(min(peaks.values()), rel=1e-12)
        assert made.worst_usd == pytest.approx(max(peaks.values()), rel=1e-12)
        assert made.given.peak_usd == pytest.approx(peaks[0, 1, 2, 3, 4], rel=1e-12)
        assert peaks[tuple(made.best.order)] == pytest.approx(made.best.peak_usd, rel=1e-12)
        assert made.exact and made.evaluated == 32
        # The point of it: buying the wings first needs much less than selling first.
        assert made.best.peak_usd < 0.75 * made.given.peak_usd

    def test_of_equal_peaks_the_least_on_the_way(self) -> None:
        values = {0: 0.0, 1: 5.0, 2: 3.0, 4: 1.0, 3: 5.0, 5: 5.0, 6: 2.0, 7: 5.0}
        assert least_peak(values.__getitem__, 3) == [2, 1, 0]
        flat = dict.fromkeys(range(8), 1.0)
        assert least_peak(flat.__getitem__, 3) == [0, 1, 2]

    def test_search_beyond_twelve_legs_is_proved_and_equal(self) -> None:
        """Fourteen legs: best-first search against dynamic programming over all 16,384 sets."""
        empty = msgspec.structs.replace(DESK, positions=[])
        legs = [Trade(instrument=p.instrument, quantity=float(p.quantity)) for p in DESK.positions]
        assert len(legs) == 14
        made = margin_path(empty, CALM, DERIBIT, legs)
        assert made.exact and made.evaluated < 4_096 and made.worst_usd is None
        traded = TradedAccount(empty, CALM, DERIBIT, legs)
        from crossmargin.analytics.margin_path import _Nodes

        nodes = _Nodes(traded, "im")
        nodes.want(range(1 << 14))
        order = least_peak(nodes.value, 14)
        assert nodes.path(order).peak_usd == pytest.approx(made.best.peak_usd, rel=1e-12)
        assert made.best.peak_usd < made.given.peak_usd

    def test_a_search_cut_short_says_so(self) -> None:
        names = [f"BTC_USDC-27MAR26-{k}-{r}" for k in (40_000, 45_000, 50_000, 55_000, 60_000)
                 for r in "CP"]  # fmt: skip
        rng = np.random.default_rng(5)
        legs = [Trade(instrument=n, quantity=float(q)) for n, q in
                zip(names, rng.choice([-3.0, -2.0, 2.0, 3.0], 10))]  # fmt: skip
        legs += [Trade(instrument=PERP, quantity=q) for q in (0.5, -1.5, 1.0, 0.7)]
        short = margin_path(self.WHO, MARKET, G, legs, limit=16)
        whole = margin_path(self.WHO, MARKET, G, legs, limit=100_000)
        assert whole.exact
        assert short.lower_bound_usd <= whole.best.peak_usd * (1 + 1e-12)
        assert short.best.peak_usd >= whole.best.peak_usd * (1 - 1e-12)
        if not short.exact:
            assert short.lower_bound_usd < short.best.peak_usd

    def test_premiums_count_in_the_shortfall(self) -> None:
        who = account(balances={"USDC": 1_000})
        made = margin_path(who, MARKET, G, self.LEGS, measure="shortfall")
        for one in (made.best, made.given):
            lacking = [max(0.0, s.im_usd - s.equity_im_usd) for s in one.steps]
            assert one.peak_usd == pytest.approx(max(lacking)) and one.peak_usd > 0

    def test_pots_do_not_help_each_other(self) -> None:
        """One pot a currency: what USDC has to spare is not there for coin-settled legs."""
        who = account(balances={"USDC": 500_000, "BTC": 0.001})
        by_currency = load_ruleset("deribit-pm")
        legs = [Trade(instrument="BTC-PERPETUAL", quantity=100_000)]
        made = margin_path(who, CALM, by_currency, legs, measure="shortfall")
        assert made.best.steps[-1].available_usd > 0
        assert made.best.peak_usd > 1_000

    def test_too_many(self) -> None:
        with pytest.raises(MarginError) as caught:
            margin_path(self.WHO, MARKET, G, [])
        assert caught.value.code == "MRG-024"


def test_many_sets_at_once_are_each_alone() -> None:
    legs = [Trade(instrument=CALL, quantity=-2), Trade(instrument=ETH_PERP, quantity=5)]
    who = account((PERP, 1, 49_000), balances={"USDC": 60_000})
    rate = rules(flat_rate(0.10, 0.05), pools={"by": "position"})
    for ruleset, trades in ((G, legs[:1]), (rate, legs[1:])):
        traded = TradedAccount(who, MARKET, ruleset, trades)
        from crossmargin.margin import account_totals

        totals = account_totals(traded.many([[False], [True], [False]]))
        for row, made in enumerate(([False], [True], [False])):
            one = traded.evaluation(made)
            assert close(totals["im"][row], one.im_usd)
            assert close(totals["equity_im"][row], float(one.have.im @ one.frame.pot_usd))


def test_two_hundred_positions_answer_within_twenty_milliseconds() -> None:
    """Best of several asks: what the work takes, whatever else the machine does meanwhile."""
    names = [f"BTC-27MAR26-{k}-{r}" for k in range(50_000, 100_000, 500) for r in "CP"]
    held = [PositionEntry(instrument=n, quantity=(-1) ** i * 2.0) for i, n in enumerate(names)]
    who = AccountFile(
        format="crossmargin-account/1", account="wide", balances=DESK.balances, positions=held
    )
    assert len(held) == 200
    asked = WhatIf(who, CALM, DERIBIT)
    asked.ask([Remove(instrument=names[0])])
    took = []
    for k in range(8):
        changes = [Remove(instrument=names[k]), Add(instrument=names[-k - 1], quantity=1.0)]
        start = time.perf_counter()
        asked.ask(changes)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.020


def test_answer_is_plain_json() -> None:
    answer = what_if(DESK, CALM, DERIBIT, [Remove(instrument="ETH-PERPETUAL")])
    assert json.loads(msgspec.json.encode(answer))["after"]["im_usd"] == answer.after.im_usd
