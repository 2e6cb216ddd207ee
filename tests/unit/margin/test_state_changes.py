"""Where states change: the worked rows, several crossings, volatilities, and what is not known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from tests.helpers import (
    CALL,
    ETH_PERP,
    PERP,
    PUT,
    account,
    component,
    fixture_g,
    flat_rate,
    frame,
    market,
    rules,
    scan_rules,
)

from crossmargin.book import AccountFile
from crossmargin.errors import InputError, MarginError
from crossmargin.margin import (
    Change,
    Ruleset,
    StateChanges,
    equity,
    liquidation_prices,
    load_ruleset,
    moving_underlyings,
    requirement,
    state_changes,
    vol_changes,
)

MARKET = fixture_g()
FLAT = market({"BTC": 50_000.0, "ETH": 3_000.0, "USDC": 1.0}, marks={PERP: 5e4, ETH_PERP: 3e3})
CENT = 0.005
HAIRCUT = {
    "source": "s",
    "confidence": "house",
    "haircut_levels": ["im", "mm"],
    "assets": {"BTC": {"haircut": 0.1}, "USDC": {}},
}
A23 = rules(flat_rate(0.10, 0.05), collateral=HAIRCUT)
A23_ACCOUNT = account((PERP, 1, 50_000), balances={"USDC": 10_000, "BTC": 0.5})
CROSS = rules(flat_rate(0.10, 0.05))


def only(found: StateChanges, line: str) -> Change:
    (change,) = [c for c in found.changes if c.line == line]
    return change


def by_hand(who: AccountFile, ruleset: Ruleset, ratio: float) -> tuple[float, float, float]:
    """Equity (maintenance level), IM and MM with BTC at a ratio of its price, from the engine."""
    made = frame(who, ruleset, MARKET)
    moved = np.where(made.follow == made.book.registry.asset("BTC"), ratio, 1.0)
    there = made.shocked(moved)
    need = requirement(there)
    return float(equity(there, need).mm.sum()), float(need.im.sum()), float(need.mm.sum())


class TestA23ReverseStress:
    def test_ratios_now_and_shocked(self) -> None:
        have, im, _ = by_hand(A23_ACCOUNT, A23, 1.0)
        assert have / im == pytest.approx(6.50, abs=1e-12)
        have, im, _ = by_hand(A23_ACCOUNT, A23, 0.7)
        assert have == pytest.approx(10_750) and have / im == pytest.approx(3.07, abs=5e-3)
        assert by_hand(A23_ACCOUNT, A23, 0.5)[0] == pytest.approx(-3_750)

    def test_maintenance_margin_is_reached_at_28_571_43(self) -> None:
        found = state_changes(A23_ACCOUNT, MARKET, A23, "BTC")
        change = only(found, "mm")
        assert change.price_usd == pytest.approx(28_571.43, abs=CENT)
        assert change.at - 1 == pytest.approx(-0.4286, abs=5e-5)
        assert change.falls and change.pot == "cross" and found.below_now == ()

    def test_every_line_in_closed_form(self) -> None:
        # Equity is 1.45·P − 40,000; the lines are 10 %, 5 %, 7.5 % of P, and 0.
        found = state_changes(A23_ACCOUNT, MARKET, A23, "BTC", healths=(1.5,))
        for line, rate in (("im", 0.1), ("mm", 0.05), ("bankruptcy", 0.0), ("health 1.5", 0.075)):
            change = only(found, line)
            assert change.price_usd == pytest.approx(40_000 / (1.45 - rate), rel=1e-12)

    def test_each_is_certified_on_both_sides(self) -> None:
        for change in state_changes(A23_ACCOUNT, MARKET, A23, "BTC").changes:
            assert change.safe_usd >= 0 > change.dead_usd
            assert abs(change.safe / change.dead - 1) < 3e-13
            again = {
                "im": lambda e, i, m: e - i,
                "mm": lambda e, i, m: e - m,
                "bankruptcy": lambda e, i, m: e,
            }[change.line]
            assert again(*by_hand(A23_ACCOUNT, A23, change.dead)) < 0
            assert again(*by_hand(A23_ACCOUNT, A23, change.safe)) >= 0


class TestA26MarginAccount:
    """1 BTC at a 10 % haircut against a debt of 20,000, liquidated at 105 % of it."""

    lender = rules(
        component("borrow", "loan", im=0.2, mm=0.05),
        collateral=HAIRCUT,
        combine={"im": "0", "mm": "0"},
    )
    who = account(balances={"BTC": 1, "USDC": -20_000})

    def test_liquidation_at_23_333_33(self) -> None:
        found = state_changes(self.who, MARKET, self.lender, "BTC")
        assert only(found, "mm").price_usd == pytest.approx(23_333.33, abs=CENT)
        assert only(found, "bankruptcy").price_usd == pytest.approx(20_000 / 0.9, rel=1e-12)
        assert only(found, "im").price_usd == pytest.approx(24_000 / 0.9, rel=1e-12)

    def test_each_state_changes_at_its_threshold_in_both_directions(self) -> None:
        low = market({"BTC": 23_000.0, "USDC": 1.0})
        found = state_changes(self.who, low, self.lender, "BTC")
        assert found.below_now == ("im", "mm")
        mm = only(found, "mm")
        assert not mm.falls and mm.price_usd == pytest.approx(23_333.33, abs=CENT)
        assert not only(found, "im").falls and only(found, "bankruptcy").falls


class TestA01BothModes:
    cross = rules(flat_rate(0.10, 0.05))
    isolated = rules(flat_rate(0.10, 0.05), pools={"by": "position"})

    def test_isolated_and_cross(self) -> None:
        raw = {"instrument": PERP, "quantity": 1, "entry_price": 50_000, "fenced_margin": 5_000}
        who = account(raw, balances={"USDC": 20_000})
        mm = only(state_changes(who, FLAT, self.isolated, "BTC"), "mm")
        assert mm.price_usd == pytest.approx(47_368.42, abs=CENT)
        assert mm.pot == f"cross/{PERP}"
        mm = only(state_changes(who, FLAT, self.cross, "BTC"), "mm")
        assert mm.price_usd == pytest.approx(31_578.95, abs=CENT)

    def test_beside_a_short_in_another_coin(self) -> None:
        who = account((PERP, 1, 50_000), (ETH_PERP, -10, 3_000), balances={"USDC": 20_000})
        mm = only(state_changes(who, FLAT, self.cross, "BTC"), "mm")
        assert mm.price_usd == pytest.approx(33_157.89, abs=CENT)
        dear = market(
            {"BTC": 50_000.0, "ETH": 3_500.0, "USDC": 1.0}, marks={PERP: 5e4, ETH_PERP: 3.5e3}
        )
        mm = only(state_changes(who, dear, self.cross, "BTC"), "mm")
        assert mm.price_usd == pytest.approx(38_684.21, abs=CENT)

    def test_equals_the_liquidation_price(self) -> None:
        who = account((PERP, 1, 50_000), (CALL, -2), (PUT, 1), balances={"USDC": 20_000})
        for ruleset in (self.cross, scan_rules()):
            (line,) = liquidation_prices(frame(who, ruleset, MARKET))
            found = [c for c in state_changes(who, MARKET, ruleset, "BTC").changes if c.falls]
            for crossing, side in ((line.down, -1), (line.up, 1)):
                mine = [c.price_usd for c in found if c.line == "mm" and side * (c.at - 1) > 0]
                if crossing.price_usd is None:
                    assert mine == []
                else:
                    nearest = min(mine, key=lambda p: abs(p - 50_000))
                    assert nearest == pytest.approx(crossing.price_usd, rel=1e-12)


class TestSeveralCoins:
    who = account((PERP, 1, 50_000), (ETH_PERP, 10, 3_000), balances={"USDC": 20_000})

    def test_all_together(self) -> None:
        # 20,000 − 80,000·(1 − r) = 5 % of 80,000·r
        found = state_changes(self.who, FLAT, CROSS)
        assert found.path == "*" and found.today_usd is None
        mm = only(found, "mm")
        assert mm.at == pytest.approx(60_000 / (0.95 * 80_000), rel=1e-12)
        assert mm.price_usd is None

    def test_betas(self) -> None:
        # ETH moves by the square: equity − MM = 0.95·(50,000 r + 30,000 r²) − 60,000.
        a, b, c = 0.95 * 30_000, 0.95 * 50_000, -60_000.0
        root = (-b + math.sqrt(b * b - 4 * a * c)) / (2 * a)
        found = state_changes(self.who, FLAT, CROSS, betas={"BTC": 1.0, "ETH": 2.0})
        assert only(found, "mm").at == pytest.approx(root, rel=1e-12)
        # One coin drives, the other follows: the same, with a price.
        found = state_changes(self.who, FLAT, CROSS, "BTC", betas={"ETH": 2.0})
        assert only(found, "mm").price_usd == pytest.approx(50_000 * root, rel=1e-12)

    def test_a_beta_of_nothing_stays(self) -> None:
        alone = state_changes(self.who, FLAT, CROSS, "BTC").changes
        named = state_changes(self.who, FLAT, CROSS, betas={"BTC": 1.0, "ETH": 0.0}).changes
        assert [c.at for c in alone] == [c.at for c in named]

    def test_what_an_account_stands_on(self) -> None:
        assert moving_underlyings(self.who, FLAT, CROSS) == ["BTC", "ETH"]
        assert moving_underlyings(account(balances={"USDC": 1}), FLAT, CROSS) == []


class TestManyCrossings:
    def test_a_strangle_with_wings_dies_and_recovers(self) -> None:
        """A short butterfly loses in the middle of each wing only: several crossings a side."""
        legs = [
            ("BTC_USDC-27MAR26-55000-C", 1),
            ("BTC_USDC-27MAR26-60000-C", -3),
            ("BTC_USDC-27MAR26-100000-C", 4),
        ]
        who = account(*legs, balances={"USDC": 14_000})
        found = state_changes(who, MARKET, scan_rules(), "BTC", low=0.5, high=4.0)
        ups = [c for c in found.changes if c.at > 1]
        ways = [c.falls for c in ups if c.line == "mm"]
        assert ways == [True, False]

        def dead(ratio: float) -> bool:
            have, _, mm = by_hand(who, scan_rules(), ratio)
            return have < mm

        # A brute-force walk sees the same changes of sign, no more.
        ratios = np.exp(np.linspace(0.0, math.log(4.0), 400)).tolist()
        signs = [dead(r) for r in ratios]
        flips = []
        for k in np.flatnonzero(np.diff(signs)):
            low, high = ratios[k], ratios[k + 1]
            while high / low > 1.0 + 1e-6:
                middle = math.sqrt(low * high)
                low, high = (middle, high) if dead(middle) == signs[k] else (low, middle)
            flips.append(high)
        assert flips == pytest.approx([c.at for c in ups if c.line == "mm"], rel=1e-5)

    def test_they_ascend_and_alternate(self) -> None:
        who = account((PERP, 1, 50_000), (CALL, -3), balances={"USDC": 20_000})
        found = state_changes(who, MARKET, scan_rules(), "BTC")
        assert [c.at for c in found.changes] == sorted(c.at for c in found.changes)
        for line in ("im", "mm", "bankruptcy"):
            for side in (-1, 1):
                ways = [c.falls for c in found.changes if c.line == line and side * (c.at - 1) > 0]
                outward = ways if side > 0 else ways[::-1]
                assert all(a != b for a, b in itertools.pairwise(outward))


class TestVolatility:
    who = account((CALL, -1), (PUT, -1), balances={"USDC": 25_000})

    def mm_excess(self, vol: float) -> float:
        made = frame(self.who, scan_rules(), fixture_g(vol=vol))
        need = requirement(made)
        return float((equity(made, need).mm - need.mm).sum())

    @pytest.mark.parametrize("shift", ["relative", "absolute"])
    def test_a_short_straddle_dies_when_volatility_rises(self, shift: str) -> None:
        found = vol_changes(self.who, MARKET, scan_rules(), "BTC", shift=shift)  # type: ignore[arg-type]
        mm = only(found, "mm")
        # A market quoted at that volatility says the same.
        vol = 0.6 * mm.at if shift == "relative" else 0.6 + mm.at
        assert mm.falls and vol > 0.6
        assert self.mm_excess(vol * (1 - 1e-9)) > 0 > self.mm_excess(vol * (1 + 1e-9))
        assert mm.price_usd is None and mm.safe_usd >= 0 > mm.dead_usd

    def test_both_ways_of_moving_agree(self) -> None:
        a = only(vol_changes(self.who, MARKET, scan_rules()), "mm").at
        b = only(vol_changes(self.who, MARKET, scan_rules(), shift="absolute"), "mm").at
        assert 0.6 * a == pytest.approx(0.6 + b, rel=1e-10)

    def test_no_options_no_crossing(self) -> None:
        found = vol_changes(A23_ACCOUNT, MARKET, A23)
        assert found.changes == () and found.path == "volatility of all options"

    def test_other_underlyings_stay(self) -> None:
        assert vol_changes(self.who, MARKET, scan_rules(), "USDC").changes == ()


class TestBounds:
    def test_where_the_rules_end_nothing_is_claimed(self) -> None:
        pm = load_ruleset("deribit-pm-cross")
        who = account((PERP, 300), balances={"USDC": 1e9})
        found = state_changes(who, MARKET, pm, "BTC")
        # 300 coins pass 20 m USD of delta at 66,667.
        assert found.unknown_above == pytest.approx(66_667 / 50_000, rel=0.04)
        assert found.unknown_above <= 20e6 / 300 / 50_000 and found.unknown_below is None

    def test_range_and_names_are_checked(self) -> None:
        for bad in ({"low": 1.5}, {"high": 0.5}, {"low": 0.0}, {"high": math.inf}):
            with pytest.raises(InputError, match="INP-004"):
                state_changes(A23_ACCOUNT, MARKET, A23, "BTC", **bad)
        with pytest.raises(InputError, match="INP-004"):
            vol_changes(A23_ACCOUNT, MARKET, A23, low=1.2)
        with pytest.raises(MarginError, match="MRG-001"):
            state_changes(A23_ACCOUNT, MARKET, A23, "DOGE")
        with pytest.raises(InputError, match="INP-004"):
            state_changes(A23_ACCOUNT, MARKET, A23, betas={"BTC": math.nan})

    def test_lines_that_are_crossed_already_are_said(self) -> None:
        who = account((PERP, 10), balances={"USDC": 1_000})
        found = state_changes(who, MARKET, CROSS, "BTC")
        assert found.below_now == ("im", "mm")
        # Marked today it recovers on the way up: 1,000 + 10·x = 5 % of 10·(50,000 + x).
        mm = only(found, "mm")
        assert not mm.falls and mm.price_usd == pytest.approx(50_000 + 24_000 / 9.5, rel=1e-10)
