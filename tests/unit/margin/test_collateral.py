"""Schedules of collateral: worked examples, a slow second implementation, and the engine."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import PERP, account, done, flat_rate, market, rules

from crossmargin.errors import RulesetError
from crossmargin.margin import liquidation_prices, make_statement
from crossmargin.margin.collateral import counted_share, haircut_of, liability_haircut
from crossmargin.margin.components import AssetRule, LiabilityWeight, Schedule

MARKET = market({"BTC": 50_000.0, "ETH": 2_500.0, "USDC": 1.0, "SOL": 100.0}, marks={PERP: 50_000})

#: haircuts.json: Bybit's illustration of its BTC ratios (example, 2025-09-18).
BYBIT_BTC = [(0, 10, 0.98), (10, 20, 0.95), (20, 30, 0.9), (30, 40, 0.85), (40, 50, 0.8)]


def schedule(kind: str, **fields: Any) -> Schedule:
    return msgspec.convert({"kind": kind, **fields}, Schedule)


def tiers(rows: list[tuple[float, float | None, float]], **fields: Any) -> dict[str, Any]:
    bands = [{"from": low, "to": high, "factor": f} for low, high, f in rows]
    return {"kind": "tiers", "tiers": bands, "unit": "coins", **fields}


def share(made: Any, coins: float, usd: float = 0.0, level: str = "im") -> float:
    if isinstance(made, dict):
        made = msgspec.convert(made, Schedule)
    return float(counted_share(made, level, np.array([coins]), np.array([usd]))[0])  # type: ignore[arg-type]


def slow_counted(spec: dict[str, Any], size: float) -> float:
    """Walk the balance band by band; generated bands one after the other."""
    bands = [dict(b) for b in spec["tiers"]]
    then = spec.get("then")
    if spec.get("banding", "marginal") == "flat":
        for band in bands:
            if band["to"] is None or size <= band["to"]:
                return size * band["factor"]
        assert then is None
        return 0.0
    left, total = size, 0.0
    factor = 0.0
    for band in bands:
        factor = band["factor"]
        width = math.inf if band["to"] is None else band["to"] - band["from"]
        total += min(left, width) * factor
        left -= min(left, width)
    while left > 0 and then is not None:
        factor = max(factor + then["step"], then["minimum"], 0.0)
        if factor <= then["minimum"] + 1e-12:
            return total + left * then["minimum"]
        total += min(left, then["width"]) * factor
        left -= min(left, then["width"])
    return total


class TestTiers:
    def test_row_a17_five_percent_to_a_million_then_ten(self) -> None:
        spec = tiers([(0, 1e6, 0.95), (1e6, None, 0.9)], unit="usd")
        assert 3e6 * share(spec, 1.0, 3e6) == pytest.approx(2.75e6, rel=1e-12)
        assert 1.0 - share(spec, 1.0, 3e6) == pytest.approx(0.0833, abs=5e-5)

    def test_beyond_a_last_band_with_an_end_nothing_counts(self) -> None:
        spec = tiers(BYBIT_BTC)
        full = 10 * (0.98 + 0.95 + 0.9 + 0.85 + 0.8)
        assert 50 * share(spec, 50) == pytest.approx(full, rel=1e-14)
        assert 80 * share(spec, 80) == pytest.approx(full, rel=1e-14)

    def test_generated_bands_of_the_worked_shape(self) -> None:
        # haircuts.json, OKX announcement of 2025-04-17 (mirror): then 120 m wide, −3 points.
        rows = [(0, 120e6, 0.85), (120e6, 200e6, 0.79), (200e6, 250e6, 0.76), (250e6, 370e6, 0.73)]
        then = {"width": 120e6, "step": -0.03, "minimum": 0.0}
        spec = tiers(rows, then=then)
        size = 370e6 + 120e6 + 60e6
        by_hand = 120e6 * 0.85 + 80e6 * 0.79 + 50e6 * 0.76 + 120e6 * (0.73 + 0.70) + 60e6 * 0.67
        assert size * share(spec, size) == pytest.approx(by_hand, rel=1e-12)

    def test_generated_bands_need_an_end_and_fall(self) -> None:
        for last, minimum, says in ((None, 0.0, "without an end"), (5, 0.9, "above the last")):
            spec = tiers([(0, last, 0.8)], then={"width": 1, "step": -0.1, "minimum": minimum})
            with pytest.raises(msgspec.ValidationError, match=says):
                msgspec.convert(spec, Schedule)

    def test_a_bound_belongs_to_the_lower_band_of_a_flat_schedule(self) -> None:
        spec = tiers([(0, 10, 0.9), (10, None, 0.5)], banding="flat")
        assert share(spec, 10) == 0.9
        assert share(spec, np.nextafter(10, 11)) == 0.5

    @pytest.mark.parametrize(
        ("rows", "says"),
        [
            ([(1, None, 0.5)], "not at 0"),
            ([(0, 5, 0.9), (6, None, 0.5)], "not at 5"),
            ([(0, None, 0.9), (6, None, 0.5)], "no end"),
            ([(0, 0, 0.9)], "before it starts"),
            ([(0, 5, 0.5), (5, None, 0.6)], "rises"),
        ],
    )
    def test_bands_that_make_no_schedule_are_refused(self, rows: Any, says: str) -> None:
        with pytest.raises(RulesetError, match=says) as caught:
            rules(
                flat_rate(0.1, 0.05),
                collateral={
                    "source": "s",
                    "confidence": "house",
                    "assets": {"BTC": {"im": tiers(rows)}},
                },
            )
        assert caught.value.code == "RUL-001"

    @given(
        widths=st.lists(st.floats(0.5, 1e6), min_size=1, max_size=6),
        drops=st.lists(st.floats(0.0, 0.3), min_size=6, max_size=6),
        closed=st.booleans(),
        then=st.none()
        | st.fixed_dictionaries(
            {
                "width": st.floats(1.0, 1e5),
                "step": st.sampled_from([-0.3, -0.05, -0.01]),
                "minimum": st.sampled_from([0.0, 0.1]),
            }
        ),
        size=st.floats(1e-3, 1e8),
    )
    def test_same_as_walking_band_by_band_and_concave(
        self, widths: Any, drops: Any, closed: bool, then: Any, size: float
    ) -> None:
        rows, low, factor = [], 0.0, 1.0
        for k, width in enumerate(widths):
            factor = max(0.0, factor - drops[k])
            last = k == len(widths) - 1 and not closed and then is None
            rows.append((low, None if last else low + width, factor))
            low += width
        if then:
            then = {**then, "minimum": min(then["minimum"], factor)}
        spec = tiers(rows, **({"then": then} if then else {}))
        fast = size * share(spec, size)
        assert fast == pytest.approx(slow_counted(spec, size), rel=1e-9, abs=1e-12)
        # Concave: twice the balance counts at most twice, and never less.
        assert fast - 1e-9 * size <= 2 * size * share(spec, 2 * size) <= 2 * fast * (1 + 1e-12)


class TestOtherForms:
    def test_drift_size_discount_of_its_docs(self) -> None:
        # haircuts.json: imf 0.003 and 2,000 SOL; min(0.8, 1.1/(1 + 0.003·√2000)).
        spec = schedule("size", factor=0.8, imf=0.003)
        assert share(spec, 2_000) == 0.8
        assert share(schedule("size", factor=1.0, imf=0.003), 2_000) == pytest.approx(
            1.1 / (1 + 0.003 * math.sqrt(2_000)), rel=1e-15
        )

    def test_pool_total_scales_the_weight(self) -> None:
        base = {"factor": 0.8, "scale_start_usd": 1e6}
        assert share(schedule("pool", **base, total_usd=5e5), 10) == 0.8
        assert share(schedule("pool", **base, total_usd=4e6), 10) == pytest.approx(0.2)
        assert share(schedule("pool", **base, when_unknown="unscaled"), 10) == 0.8
        with pytest.raises(RulesetError, match="total") as caught:
            share(schedule("pool", **base), 10)
        assert caught.value.code == "RUL-025"

    def test_loan_to_value_and_threshold_with_cap(self) -> None:
        # venues.md §5: HYPE 0.5, threshold 0.5 + 0.5·LTV, 50,000 coins per user.
        spec = schedule("ltv", ltv=0.5, threshold=0.75, cap_coins=50_000)
        assert 10_000 * 40 * share(spec, 10_000) == 200_000
        assert share(spec, 10_000, level="mm") == 0.75
        assert share(spec, 100_000, level="mm") == pytest.approx(0.375)

    def test_limits_leave_the_rest_at_nothing(self) -> None:
        rule = AssetRule(haircut=0.1, limit_coins=10.0, limit_usd=400.0)
        cut = haircut_of(
            rule, "im", ("im",), np.array([5.0, 20.0, 20.0]), np.array([100.0, 400.0, 1_600.0])
        )
        assert np.allclose(1 - cut, [0.9, 0.45, 0.225], rtol=1e-14)

    def test_limits_come_before_the_tiers(self) -> None:
        rule = msgspec.convert({"schedule": tiers(BYBIT_BTC), "limit_coins": 15}, AssetRule)
        cut = haircut_of(rule, "mm", (), np.array([30.0]), np.array([1.0]))
        assert 30 * (1 - cut[0]) == pytest.approx(10 * 0.98 + 5 * 0.95)

    def test_row_a17_a_debt_is_grossed_up_never_cut(self) -> None:
        rule = AssetRule(haircut=0.1, liability_im=1.1)
        assert -100 * (1 - liability_haircut(rule, "im", np.array([100.0]))[0]) == pytest.approx(
            -110.0
        )
        assert liability_haircut(rule, "mm", np.array([100.0]))[0] == 0.0

    def test_liability_weight_grows_with_size_and_pool(self) -> None:
        weight = LiabilityWeight(weight=1.2, imf=0.003, scale_start_usd=1e6, total_usd=2e6)
        rule = AssetRule(liability_im=weight)
        got = 1 - liability_haircut(rule, "im", np.array([1.0, 40_000.0]))
        assert got == pytest.approx([2 * 1.2, 2 * (0.96 + 0.6)])


def coin_rules(assets: dict[str, Any], **fields: Any) -> Any:
    body = {"source": "s", "confidence": "house", **fields}
    return rules(flat_rate(0.1, 0.05), collateral={**body, "assets": assets})


class TestEngine:
    def test_levels_are_valued_apart(self) -> None:
        made = done(
            coin_rules(
                {
                    "BTC": {
                        "im": {"kind": "flat", "factor": 0.8},
                        "mm": {"kind": "flat", "factor": 0.9},
                    }
                }
            ),
            MARKET,
            balances={"BTC": 2.0},
        )
        assert made.have.im[0] == pytest.approx(80_000)
        assert made.have.mm[0] == pytest.approx(90_000)
        assert made.have.haircut_im[0] == pytest.approx(20_000)

    def test_locations_and_spot_share_one_schedule(self) -> None:
        spec = tiers([(0, 1, 1.0), (1, 2, 0.5)])
        rule_set = coin_rules({"BTC": {"schedule": spec}})
        who = account(
            ("BTC/USDC", 1.0),
            balances=[
                {"asset": "BTC", "amount": 2.0, "location": "here"},
                {"asset": "BTC", "amount": 1.0, "location": "there"},
            ],
        )
        world = market({"BTC": 50_000.0, "USDC": 1.0}, marks={"BTC/USDC": 50_000})
        made = make_statement(who, world, rule_set, solve=False)
        # Four coins: the first counts in full, the second by half, the others not.
        assert made.totals.equity_im == pytest.approx(1.5 * 50_000)
        assert [b.collateral_usd for b in made.balances] == pytest.approx(
            [2 / 4 * 75_000, 1 / 4 * 75_000]
        )

    def test_debts_of_another_location_are_not_netted_by_default(self) -> None:
        spec = {"schedule": {"kind": "flat", "factor": 0.9}, "liability_im": 1.2}
        who = account(
            balances=[
                {"asset": "BTC", "amount": 2.0, "location": "here"},
                {"asset": "BTC", "amount": -1.0, "location": "there"},
            ]
        )
        apart = make_statement(who, MARKET, coin_rules({"BTC": spec})).totals
        assert apart.equity_im == pytest.approx(50_000 * (2 * 0.9 - 1.2))
        assert apart.equity == pytest.approx(50_000 * (2 * 0.9 - 1.0))
        net = make_statement(who, MARKET, coin_rules({"BTC": spec}, per="coin")).totals
        assert net.equity_im == pytest.approx(50_000 * 0.9)

    def test_profit_belongs_to_its_coin_under_per_coin(self) -> None:
        # venues.md §3: min((balance − loan + profit)·price·rate, same·price) by asset.
        spec = {"USDC": {"schedule": {"kind": "flat", "factor": 0.5}, "liability_mm": 1.5}}
        rule_set = coin_rules(spec, per="coin")
        for entry, net in ((48_000.0, 1_000 + 2_000.0), (54_000.0, 1_000 - 4_000.0)):
            made = done(rule_set, MARKET, (PERP, 1.0, entry), balances={"USDC": 1_000})
            assert made.have.im[0] == pytest.approx(net * (0.5 if net > 0 else 1.0))
            assert made.have.mm[0] == pytest.approx(net * (0.5 if net > 0 else 1.5))

    def test_par_values_in_the_numeraire_one_to_one(self) -> None:
        rule_set = rules(
            flat_rate(0.1, 0.05),
            pools={"by": "settlement"},
            collateral={
                "source": "s",
                "confidence": "house",
                "assets": {
                    "BTC": {"schedule": {"kind": "flat", "factor": 0.8}, "price": "par"},
                    "USDC": {},
                },
            },
        )
        world = market({"BTC": 50_000.0, "USDC": 0.98}, marks={"BTC/USDC": 50_000 / 0.98})
        made = done(rule_set, world, ("BTC/USDC", 1.0))
        pot = made.frame.arrangement.position_pot[0]
        assert made.have.option_value[pot] == pytest.approx(50_000 / 0.98)
        assert made.have.im[pot] == pytest.approx(50_000 * 0.8)

    def test_liquidation_price_sees_tiers_at_maintenance(self) -> None:
        spec = tiers([(0, 50_000, 1.0), (50_000, None, 0.5)], unit="usd")
        rule_set = coin_rules({"BTC": {"schedule": spec}, "USDC": {}})
        made = done(rule_set, MARKET, (PERP, -4.0), balances={"BTC": 2.0})
        up = liquidation_prices(made.frame)[0].up.price_usd
        assert up is not None
        # 50,000 + (2p − 50,000)/2 − 4(p − 50,000) = 0.05·4p
        assert up == pytest.approx(225_000 / 3.2, rel=1e-9)

    def test_idle_pots_are_stressed_when_the_rules_say_so(self) -> None:
        from tests.helpers import scan_rules

        body = {
            "source": "s",
            "confidence": "house",
            "assets": {"BTC": {"stress": "both"}},
        }
        idle = scan_rules(collateral=body)
        busy = scan_rules(collateral={**body, "stress_idle": True})
        assert done(idle, MARKET, balances={"BTC": 1.0}).need.im.sum() == 0.0
        assert done(busy, MARKET, balances={"BTC": 1.0}).need.im.sum() == pytest.approx(8_000)

    def test_the_balances_table_adds_up(self) -> None:
        spec = {
            "BTC": {"im": tiers(BYBIT_BTC), "liability_im": 1.1},
            "SOL": {"haircut": 0.3, "limit_usd": 1_000, "liability_im": 1.3, "liability_mm": 1.2},
            "USDC": {},
        }
        who = account(balances={"BTC": 30.0, "SOL": -50.0, "USDC": 1_000.0})
        made = make_statement(who, MARKET, coin_rules(spec))
        assert sum(b.collateral_usd for b in made.balances) == pytest.approx(made.totals.collateral)
        assert made.totals.equity_im == pytest.approx(made.totals.collateral)
        assert sum(b.collateral_mm_usd for b in made.balances) == pytest.approx(made.totals.equity)

    def test_a_total_left_out_is_a_gap(self) -> None:
        pool = {"kind": "pool", "factor": 0.8, "scale_start_usd": 1e6, "when_unknown": "unscaled"}
        assert "collateral of SOL" in coin_rules({"SOL": {"im": pool}}).gaps[-1]
        known = coin_rules({"SOL": {"im": {**pool, "total_usd": 1.0}}})
        assert not [gap for gap in known.gaps if "SOL" in gap]


# ------------------------------------------------------------------ engine against plain loops

PRICES = {"BTC": 50_000.0, "SOL": 100.0, "USDC": 1.0}
ORACLE_ASSETS: dict[str, Any] = {
    "BTC": {
        "im": {
            "kind": "tiers",
            "unit": "coins",
            "tiers": [{"from": 0, "to": 2, "factor": 0.95}, {"from": 2, "to": 5, "factor": 0.8}],
            "then": {"width": 1, "step": -0.3, "minimum": 0.1},
        },
        "haircut": 0.05,
        "limit_coins": 9,
        "liability_im": 1.1,
    },
    "SOL": {
        "im": {"kind": "pool", "factor": 0.8, "imf": 0.003, "scale_start_usd": 1, "total_usd": 2},
        "mm": {"kind": "ltv", "ltv": 0.5, "threshold": 0.75, "cap_usd": 30_000},
        "liability_im": {"weight": 1.2, "imf": 0.01},
        "liability_mm": 1.05,
    },
    "USDC": {"haircut": 0.01, "liability_mm": 1.02},
}


def plain_factor(coin: str, level: str, coins: float) -> float:
    """The factor of a total held (or owed, coins < 0), written out coin by coin."""
    size = abs(coins)
    if coins < 0:
        if coin == "SOL":
            return max(1.2, 0.8 * 1.2 + 0.01 * size**0.5) if level == "im" else 1.05
        return {"BTC": {"im": 1.1, "mm": 1.0}, "USDC": {"im": 1.0, "mm": 1.02}}[coin][level]
    if coin == "USDC":
        return 0.99 if level == "im" else 1.0
    if coin == "SOL":
        if level == "im":
            return min(0.8, 1.1 / (1 + 0.003 * size**0.5)) * 0.5
        return 0.75 * min(1.0, 30_000 / (size * 100.0))
    inside = min(size, 9.0)
    counted, left = 0.0, inside
    for width, factor in ((2, 0.95), (3, 0.8), (1, 0.5), (1, 0.2), (math.inf, 0.1)):
        slice_ = min(left, width)
        counted += slice_ * (factor if level == "im" else 1.0)
        left -= slice_
    return counted / size


AMOUNT = st.floats(-12, 12).filter(lambda x: abs(x) > 1e-3)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["BTC", "SOL", "USDC"]), AMOUNT, st.sampled_from("xyz")),
        max_size=6,
        unique_by=lambda row: (row[0], row[2]),
    ),
    spot=st.none() | AMOUNT,
    perp=st.none() | st.tuples(AMOUNT, st.floats(30_000, 70_000)),
    per=st.sampled_from(["balance", "coin"]),
)
def test_the_engine_counts_as_plain_loops_do(rows: Any, spot: Any, perp: Any, per: str) -> None:
    scale = {"BTC": 1.0, "SOL": 100.0, "USDC": 10_000.0}
    held = [(coin, amount * scale[coin]) for coin, amount, _ in rows]
    positions: list[Any] = [] if spot is None else [("BTC/USDC", spot)]
    profit = 0.0
    if perp is not None:
        positions.append((PERP, *perp))
        profit = perp[0] * (50_000 - perp[1])
    if not held and not positions:
        return
    balances = [
        {"asset": coin, "amount": amount, "location": place}
        for (coin, amount), (_, _, place) in zip(held, rows)
    ]
    world = market(PRICES, marks={PERP: 50_000, "BTC/USDC": 50_000})
    have = done(coin_rules(ORACLE_ASSETS, per=per), world, *positions, balances=balances).have
    if spot is not None:
        held.append(("BTC", spot))
    for level, got in (("im", have.im), ("mm", have.mm)):
        expected = profit if per == "balance" else 0.0
        for coin, price in PRICES.items():
            mine = [amount for name, amount in held if name == coin]
            if per == "coin":
                mine.append(profit if coin == "USDC" else 0.0)
                sums = [sum(mine)]
            else:
                sums = [sum(x for x in mine if x > 0), sum(x for x in mine if x < 0)]
            for total in sums:
                if total:
                    expected += total * price * plain_factor(coin, level, total)
        assert float(got.sum()) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(
    low=st.floats(0, 1),
    high=st.floats(0, 1),
    amount=st.floats(1e-3, 1e3),
    share=st.floats(0.01, 0.99),
)
def test_laws_of_haircuts(low: float, high: float, amount: float, share: float) -> None:
    low, high = sorted((low, high))
    less = done(coin_rules({"BTC": {"haircut": low}}), MARKET, balances={"BTC": amount}).have
    more = done(coin_rules({"BTC": {"haircut": high}}), MARKET, balances={"BTC": amount}).have
    assert more.im[0] <= less.im[0] <= less.mm[0] * (1 + 1e-15)
    # Splitting a balance over locations changes nothing.
    rule = coin_rules({"BTC": {"schedule": tiers(BYBIT_BTC)}})
    whole = done(rule, MARKET, balances={"BTC": amount}).have.im[0]
    parts = [
        {"asset": "BTC", "amount": amount * part, "location": place}
        for part, place in ((share, "x"), (1 - share, "y"))
    ]
    assert done(rule, MARKET, balances=parts).have.im[0] == pytest.approx(whole, rel=1e-9)
