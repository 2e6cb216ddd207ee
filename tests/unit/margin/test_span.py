"""SPAN: figures of text-books and clearing houses, each step by hand, arrays against the engine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tests.helpers import account, black, frame, im, market, need, normal_cdf

from crossmargin.errors import InputError, RulesetError
from crossmargin.margin import (
    ArrayCommodity,
    ArrayContract,
    RiskArrays,
    load_ruleset,
    requirement,
    ruleset_from_dict,
    shares,
    span_from_arrays,
)
from crossmargin.margin._span import STANDARD_PAIRS, STANDARD_STILL, price_risk, scenario_pairs
from crossmargin.margin.components import (
    Calendar,
    CreditLeg,
    CreditSpread,
    DeliveryRule,
    ExpiryTier,
    TierSpread,
)

#: McMillan, Options as a Strategic Investment, ch. 34: profit of one long contract, 16 scenarios.
FUTURE = [0, 0, 3330, 3330, -3330, -3330, 6670, 6670, -6670, -6670, 10000, 10000, -10000, -10000,
          7000, -7000]  # fmt: skip
CALL_410 = [460, -610, 2640, 1730, -1270, -2340, 5210, 4540, -2540, -3430, 8060, 7640, -3380, -3990,
            3130, -1500]  # fmt: skip


def contract(name: str, profit: list[float], **more: Any) -> ArrayContract:
    fields: dict[str, Any] = {
        "commodity": "SP", "kind": "future", "days": 30.0, "price": 0.0, "multiplier": 500.0,
        "delta": 1.0, **more,
    }  # fmt: skip
    return ArrayContract(id=name, loss=-np.array(profit, dtype=np.float64), **fields)


def arrays(*contracts: ArrayContract, **more: Any) -> RiskArrays:
    codes = {c.commodity for c in contracts}
    commodities = more.pop(
        "commodities", {code: ArrayCommodity(code=code, currency="USD") for code in sorted(codes)}
    )
    return RiskArrays(
        as_of="2026-02-25",
        source="test",
        commodities=commodities,
        contracts={c.id: c for c in contracts},
        **more,
    )


SP = arrays(
    contract("future", FUTURE),
    contract("call", CALL_410, kind="option", delta=0.55, price=8.0),
)


class TestTextbook:
    """McMillan ch. 34, S&P 500 future at 500 dollars a point, maintenance margin 10,000."""

    @pytest.mark.parametrize(
        "positions, scan, active",
        [
            ({"future": 1}, 10_000.0, 13),
            ({"future": -1}, 10_000.0, 11),
            ({"call": 1}, 3_990.0, 14),
            ({"future": 1, "call": -1}, 6_620.0, 13),
            # Ratio write of 3 futures and 5 calls: 3·10,000 − 5·3,380 at scenario 13 is 13,100;
            # the extreme fall loses 3·7,000 − 5·1,500.
            ({"future": 3, "call": -5}, 13_500.0, 16),
        ],
    )
    def test_scan_risk(self, positions: dict[str, float], scan: float, active: int) -> None:
        (line,) = span_from_arrays(SP, positions).commodities
        assert (line.scan, line.active) == (scan, active)

    def test_covered_write_by_every_line(self) -> None:
        (line,) = span_from_arrays(SP, {"future": 1, "call": -1}).commodities
        book = [-460, 610, 690, 1600, -2060, -990, 1460, 2130, -4130, -3240, 1940, 2360, -6620,
                -6010, 3870, -5500]  # fmt: skip
        np.testing.assert_array_equal(-line.vector, book)

    def test_extreme_move_is_fourteen_points(self) -> None:
        # Twice the range of 20 points counts 35 %: 14 points, 7,000 at 500 dollars.
        points = 2 * 20 * 0.35
        assert points == pytest.approx(14.0)
        assert points * 500 == pytest.approx(max(FUTURE[14:]))

    def test_cme_slide(self) -> None:
        # Price scan range 30,000 dollars at 250 dollars a point: 120 points.
        assert 30_000 / 250 == 120
        # Our own table with that range: a future at 2,790 needs 30,000 for one contract of 250.
        rules = span_rules(price_range=120 / 2790)
        snap = market({"BTC": 2790, "USDC": 1}, marks={PERP: 2790})
        assert im(rules, snap, (PERP, 250)) == pytest.approx(30_000, rel=1e-12)

    def test_requirement_is_risk_less_option_value(self) -> None:
        # Short call of 8 points: worth −4,000; risk 8,060 at scenario 11; cash must cover 12,060.
        result = span_from_arrays(SP, {"call": -1})
        assert (result.risk, result.option_value, result.requirement) == (8_060, -4_000, 12_060)

    def test_long_options_are_not_charged_beyond_their_value(self) -> None:
        # One long call loses 3,990 and is worth 4,000; at 6 points it would be worth 3,000.
        assert span_from_arrays(SP, {"call": 1}).requirement == -10.0
        cheap = arrays(contract("call", CALL_410, kind="option", price=6.0))
        result = span_from_arrays(cheap, {"call": 1})
        assert (result.risk, result.requirement) == (3_000.0, 0.0)
        assert result.commodities[0].capped == 990.0


# ------------------------------------------------------------------------------- step by step

PERP = "BTC_USDC-PERPETUAL"
ETH_PERP = "ETH_USDC-PERPETUAL"
NEAR, NEXT, FAR = "BTC_USDC-27MAR26", "BTC_USDC-24APR26", "BTC_USDC-25SEP26"
S = 50_000.0
AHEAD = {NEAR: 30.0, NEXT: 58.0, FAR: 212.0}


def span_rules(price_range: float = 0.15, **overrides: Any):
    more = {
        "scenarios.underlyings.BTC.price_range": price_range,
        "scenarios.underlyings.ETH.price_range": price_range,
        **overrides,
    }
    return load_ruleset("span", overrides=more)


def snapshot(vols: dict[str, float] | None = None, eth: float = 2_000.0):
    return market(
        {"BTC": S, "ETH": eth, "USDC": 1.0},
        marks={PERP: S, ETH_PERP: eth, NEAR: S, NEXT: S, FAR: S},
        vols=vols,
        forwards={
            ("BTC", "2026-03-27T08:00:00Z"): S,
            ("BTC", "2026-04-24T08:00:00Z"): S,
            ("BTC", "2026-09-25T08:00:00Z"): S,
        },
    )


class TestPriceRisk:
    def test_volatility_averaged_and_time_taken_off(self) -> None:
        # The covered write: scenarios 13 and 14 average 6,315; time risk (460 − 610)/2 = −75.
        loss = -(np.array(FUTURE) - np.array(CALL_410)).astype(float)
        assert price_risk(loss, STANDARD_PAIRS, STANDARD_STILL) == pytest.approx(6_315 + 75)

    def test_extremes_are_their_own_partner(self) -> None:
        loss = np.zeros(16)
        loss[14] = 100.0
        assert price_risk(loss, STANDARD_PAIRS, STANDARD_STILL) == 100.0

    def test_nothing_that_loses_has_no_risk(self) -> None:
        assert price_risk(-np.ones(16), STANDARD_PAIRS, STANDARD_STILL) == 0.0

    def test_partners_of_the_shipped_scenarios_are_the_standard_ones(self) -> None:
        found = frame(account((PERP, 1)), span_rules(), snapshot()).table.scenarios
        pair, still = scenario_pairs(found.move[0], found.vol_state, found.weight[0])
        assert found.size == 16
        assert tuple(pair) == STANDARD_PAIRS and tuple(still) == STANDARD_STILL


class TestSixteenScenarios:
    def test_moves_and_weights(self) -> None:
        found = frame(account((PERP, 1)), span_rules(0.15), snapshot()).table.scenarios
        thirds = [0, 0, 1, 1, -1, -1, 2, 2, -2, -2, 3, 3, -3, -3, 6, -6]
        np.testing.assert_allclose(found.move[0], np.array(thirds) * 0.05, rtol=1e-12)
        np.testing.assert_array_equal(found.weight[0], [1.0] * 14 + [0.35] * 2)

    def test_one_option_by_hand(self) -> None:
        """A short call, revalued one day on, in a loop of its own."""
        name = "BTC_USDC-27MAR26-50000-C"
        snap = snapshot({name: 0.6})
        found = need(span_rules(), snap, (name, -1))
        now = black(S, S, 30 / 365, 0.6, call=True)
        worst = 0.0
        for k in (0, 1, -1, 2, -2, 3, -3):
            for vol in (0.6 * 1.35, 0.6 * 0.65):
                then = black(S * (1 + 0.05 * k), S, 29 / 365, vol, call=True)
                worst = max(worst, then - now)
        for k in (2, -2):
            worst = max(
                worst, 0.35 * (black(S * (1 + 0.15 * k), S, 29 / 365, 0.6, call=True) - now)
            )
        assert float(found.parts["scan_risk"].im.sum()) == pytest.approx(worst, rel=1e-10)

    def test_volatility_range_in_points(self) -> None:
        # NSE states its range in points: 4 % is added to and taken from the volatility.
        name = "BTC_USDC-27MAR26-50000-C"
        rules = span_rules(
            1e-9,
            **{
                "scenarios.underlyings.BTC.vol_unit": "points",
                "scenarios.underlyings.BTC.vol_up": 0.04,
                "scenarios.underlyings.BTC.vol_down": 0.04,
                "scenarios.horizon_days": 0.0,
            },
        )
        got = float(need(rules, snapshot({name: 0.6}), (name, -1)).parts["scan_risk"].im.sum())
        up = black(S, S, 30 / 365, 0.64, call=True) - black(S, S, 30 / 365, 0.60, call=True)
        assert got == pytest.approx(up, rel=1e-6)


class TestCalendar:
    """Tiers 0–35, 35–100, 100+ days; lines 1-1, 2-2, 3-3, 1-2, 2-3, 1-3 of the shipped table."""

    def charge(self, *positions: Any) -> float:
        return float(need(span_rules(), snapshot(), *positions).parts["intra"].im.sum())

    def test_one_side_is_free(self) -> None:
        assert self.charge((NEAR, 1), (FAR, 2)) == 0.0

    @pytest.mark.parametrize(
        "near, far, rate", [(NEAR, NEXT, 0.008), (NEXT, FAR, 0.010), (NEAR, FAR, 0.015)]
    )
    def test_two_tiers(self, near: str, far: str, rate: float) -> None:
        assert self.charge((near, 2), (far, -3)) == pytest.approx(2 * rate * S)
        assert self.charge((near, -2), (far, 3)) == pytest.approx(2 * rate * S)

    def test_inside_a_tier(self) -> None:
        assert self.charge((PERP, 2), (NEAR, -1)) == pytest.approx(0.004 * S)

    def test_priority_decides_what_is_taken_first(self) -> None:
        # Long 3 near against short 2 next and 2 far: 2 at 1-2, then 1 at 1-3.
        got = self.charge((NEAR, 3), (NEXT, -2), (FAR, -2))
        assert got == pytest.approx((2 * 0.008 + 1 * 0.015) * S)

    def test_composite_delta_of_an_option(self) -> None:
        # Seven points of the range, weighted as recalled: against a perpetual of that many coins.
        name = "BTC_USDC-27MAR26-50000-C"
        weights = {-3: 0.037, -2: 0.110, -1: 0.217, 0: 0.270, 1: 0.217, 2: 0.110, 3: 0.037}
        s = 0.6 * math.sqrt(30 / 365)
        delta = sum(
            w * normal_cdf(math.log(1 + 0.05 * k) / s + 0.5 * s) for k, w in weights.items()
        ) / sum(weights.values())
        found = need(span_rules(), snapshot({name: 0.6}), (name, 1), (PERP, -5))
        assert float(found.parts["intra"].im.sum()) == pytest.approx(delta * 0.004 * S, rel=1e-10)


class TestCredit:
    def test_requirement_row_a24(self) -> None:
        """Long 50,000 USD of BTC, short 48,000 USD of ETH, 15 %: 14,700 and with 60 % 6,060."""
        # One spread is 1 BTC against 25 ETH: the same dollars at 50,000 and 2,000.
        book = [(PERP, 1.0), (ETH_PERP, -24.0)]
        off = span_rules(**{"components.inter.active": False})
        assert im(off, snapshot(), *book) == pytest.approx(14_700.0, rel=1e-12)
        assert im(span_rules(), snapshot(), *book) == pytest.approx(6_060.0, rel=1e-12)

    def test_one_side_of_the_market_earns_none(self) -> None:
        both = need(span_rules(), snapshot(), (PERP, 1), (ETH_PERP, 24))
        np.testing.assert_array_equal(both.parts["inter"].im, [0.0, 0.0])

    def test_shares_reach_across_the_groups(self) -> None:
        made = frame(account((PERP, 1), (ETH_PERP, -24)), span_rules(), snapshot())
        split = shares(made)
        assert split.total == pytest.approx(6_060.0)
        # BTC: 7,500 less its credit of 4,320, which ETH alone limits: ETH bears less than nothing.
        assert split.position == pytest.approx([7_500.0, 7_200.0 - 8_640.0], rel=1e-9)
        assert split.jumps == 0.0


class TestMinimumAndCap:
    def test_far_out_of_the_money_shorts_need_the_minimum(self) -> None:
        name = "BTC_USDC-27MAR26-200000-C"
        found = need(span_rules(), snapshot({name: 0.4}), (name, -10))
        assert float(found.parts["scan_risk"].im.sum()) < 1.0
        assert float(found.im.sum()) == pytest.approx(10 * 0.03 * S)

    def test_long_options_alone(self) -> None:
        # Long a near and a far put strike spread over expiries would pay a calendar charge.
        names = ("BTC_USDC-27MAR26-30000-P", "BTC_USDC-25SEP26-90000-C")
        made = frame(
            account(*((n, 1) for n in names)), span_rules(), snapshot(dict.fromkeys(names, 0.3))
        )
        found = requirement(made)
        _, worth = made.position_values()
        assert float(found.parts["risk_cap"].im.sum()) > 0.0
        assert float(found.im.sum()) == pytest.approx(float(worth.sum()), rel=1e-12)

    def test_a_short_leg_lifts_the_cap(self) -> None:
        names = ("BTC_USDC-27MAR26-30000-P", "BTC_USDC-25SEP26-90000-C")
        snap = snapshot(dict.fromkeys(names, 0.3))
        found = need(span_rules(), snap, (names[0], 1), (names[1], 1), (PERP, -0.01))
        assert float(found.parts["risk_cap"].im.sum()) == 0.0

    def test_delivery_charge_falls_on_what_is_near(self) -> None:
        rule = {"days": 40.0, "index": 0.01, "usd": 5.0}
        rules = span_rules(**{"components.delivery.underlyings.BTC": rule})
        found = need(rules, snapshot(), (NEAR, -3), (FAR, 1), (PERP, 1))
        assert float(found.parts["delivery"].im.sum()) == pytest.approx(3 * (0.01 * S + 5.0))


# ------------------------------------------------------------------- arrays against the engine


def published(rules: Any, snap: Any, names: list[str]) -> RiskArrays:
    """The arrays that a clearing house with these rules would publish."""
    contracts = []
    for name in names:
        one = frame(account((name, 1)), rules, snap)
        vector = requirement(one).scan.vector[0]
        item = one.book.registry[0]
        years = float(one.view.years[0])
        from crossmargin.margin._span_stages import composite_deltas

        intra = next(c for c in rules.data.components if c.name == "intra")
        contracts.append(
            ArrayContract(
                id=name,
                commodity=item.underlying,
                kind="option" if item.kind == "option" else "future",
                days=0.0 if math.isinf(years) else years * 365.0,
                price=float(one.unit_value[0]) if item.kind == "option" else 0.0,
                multiplier=1.0,
                delta=float(composite_deltas(one, intra.deltas)[0]),
                loss=-vector,
            )
        )
    commodities = {}
    for code, spot in (("BTC", S), ("ETH", 2_000.0)):
        lines = [
            TierSpread(first=s.first, second=s.second, usd=s.index * spot)
            for s in intra.underlyings["default"].spreads
        ]
        commodities[code] = ArrayCommodity(
            code=code,
            currency="USD",
            calendar=Calendar(tiers=intra.underlyings["default"].tiers, spreads=lines),
            short_option_minimum=0.03 * spot,
        )
    inter = next(c for c in rules.data.components if c.name == "inter")
    return RiskArrays(
        as_of="2026-02-25",
        source="our own table",
        commodities=commodities,
        contracts={c.id: c for c in contracts},
        credits=tuple(inter.spreads),
    )


def test_a_file_of_our_own_arrays_gives_the_engine_again() -> None:
    """The same portfolio over the risk table and over published arrays: the same SPAN."""
    options = {
        "BTC_USDC-27MAR26-45000-P": 0.7,
        "BTC_USDC-27MAR26-60000-C": 0.55,
        "BTC_USDC-25SEP26-50000-C": 0.6,
    }
    snap, rules = snapshot(options), span_rules()
    names = [PERP, ETH_PERP, NEAR, NEXT, FAR, *options]
    file = published(rules, snap, names)
    rng = np.random.default_rng(5)
    for _ in range(60):
        q = np.where(rng.random(len(names)) < 0.6, np.round(rng.normal(0, 5, len(names)), 2), 0.0)
        held = [(n, float(x)) for n, x in zip(names, q) if x]
        if not held:
            continue
        made = need(rules, snap, *held)
        result = span_from_arrays(file, dict(held))
        assert result.risk == pytest.approx(float(made.im.sum()), rel=1e-9, abs=1e-9)


# ------------------------------------------------------------------------ a slow second opinion


def by_hand(file: RiskArrays, positions: dict[str, float]) -> float:
    """SPAN of one commodity with plain loops: scan, spreads unit by unit, minimum."""
    rows = [(file.contracts[n], q) for n, q in positions.items()]
    rules = file.commodities[rows[0][0].commodity]
    worst = 0.0
    for s in range(16):
        worst = max(worst, sum(q * float(c.loss[s]) for c, q in rows))
    charge = 0.0
    if rules.calendar is not None:
        sides = [[0.0, 0.0] for _ in rules.calendar.tiers]
        for days in {c.days for c, _ in rows}:
            net = sum(q * c.delta for c, q in rows if c.days == days)
            for k, tier in enumerate(rules.calendar.tiers):
                if tier.from_days <= days < (math.inf if tier.to_days is None else tier.to_days):
                    sides[k][0 if net > 0 else 1] += abs(net)
        step = 1 / 64
        for line in rules.calendar.spreads:
            for a, b in ((line.first - 1, line.second - 1), (line.second - 1, line.first - 1)):
                while sides[a][0] >= step and sides[b][1] >= step:
                    sides[a][0] -= step
                    sides[b][1] -= step
                    charge += step * line.usd
    minimum = sum(-q * rules.short_option_minimum for c, q in rows if c.kind == "option" and q < 0)
    return max(worst + charge, minimum)


def test_portfolios_by_hand() -> None:
    rng = np.random.default_rng(11)
    calendar = Calendar(
        tiers=[
            ExpiryTier(from_days=0.0, to_days=40.0),
            ExpiryTier(from_days=40.0, to_days=100.0),
            ExpiryTier(from_days=100.0),
        ],
        spreads=[
            TierSpread(first=1, second=2, usd=300.0),
            TierSpread(first=1, second=1, usd=100.0),
            TierSpread(first=2, second=3, usd=450.0),
            TierSpread(first=1, second=3, usd=700.0),
        ],
    )
    commodity = ArrayCommodity(
        code="SP", currency="USD", calendar=calendar, short_option_minimum=250.0
    )
    for _ in range(40):
        contracts = [
            contract(
                f"c{k}",
                rng.normal(0, 5_000, 16).tolist(),
                days=float(rng.choice([10, 30, 60, 90, 200])),
                kind=str(rng.choice(["future", "option"])),
                delta=float(rng.integers(1, 64)) / 64,
            )
            for k in range(6)
        ]
        file = arrays(*contracts, commodities={"SP": commodity})
        q = {c.id: float(rng.integers(-5, 6)) for c in contracts}
        q["c0"] = -1.0  # never long options alone
        assert span_from_arrays(file, q).risk == pytest.approx(by_hand(file, q), rel=1e-12)


class TestRefusals:
    def test_unknown_contract(self) -> None:
        with pytest.raises(InputError) as error:
            span_from_arrays(SP, {"put": 1})
        assert error.value.code == "INP-001"

    def test_quantity_that_is_no_number(self) -> None:
        with pytest.raises(InputError):
            span_from_arrays(SP, {"call": math.nan})

    def test_currencies_are_not_added_up(self) -> None:
        two = arrays(
            contract("a", FUTURE),
            contract("b", FUTURE, commodity="EX"),
            commodities={
                "SP": ArrayCommodity(code="SP", currency="USD"),
                "EX": ArrayCommodity(code="EX", currency="EUR"),
            },
        )
        with pytest.raises(InputError):
            span_from_arrays(two, {"a": 1, "b": 1})

    def test_array_of_another_length(self) -> None:
        with pytest.raises(InputError):
            contract("a", FUTURE[:15])

    def test_credit_without_two_sides(self) -> None:
        legs = [CreditLeg(group="A", side="A"), CreditLeg(group="B", side="A")]
        with pytest.raises(ValueError, match="both sides"):
            CreditSpread(legs=legs, credit=0.5)

    def test_parts_that_are_not_there(self) -> None:
        raw = load_ruleset("span").as_dict()
        raw["components"][-1]["of"] = ["nothing"]
        with pytest.raises(RulesetError) as error:
            ruleset_from_dict(raw)
        assert error.value.code == "RUL-005"

    def test_scan_readers_need_a_scan(self) -> None:
        raw = load_ruleset("span").as_dict()
        raw["components"] = [c for c in raw["components"] if c["kind"] == "spread-credit"]
        raw["combine"] = {"im": "inter", "mm": "inter"}
        with pytest.raises(RulesetError) as error:
            ruleset_from_dict(raw)
        assert error.value.code == "RUL-005"

    def test_delivery_rule_by_arrays(self) -> None:
        commodity = ArrayCommodity(
            code="SP", currency="USD", delivery=DeliveryRule(days=40.0, usd=200.0)
        )
        file = arrays(
            contract("near", FUTURE), contract("far", FUTURE, days=90.0),
            commodities={"SP": commodity},
        )  # fmt: skip
        (line,) = span_from_arrays(file, {"near": -3, "far": 1}).commodities
        assert line.delivery == 600.0
