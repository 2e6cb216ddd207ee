"""The frontier against closed forms, a dense scan, the solvers of one factor, and bad input."""

from __future__ import annotations

import math

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
    market,
    rules,
    scan_rules,
)

from crossmargin.analytics import Factor, Frontier, liquidation_frontier, parse_factor
from crossmargin.errors import InputError, MarginError
from crossmargin.margin import CarriedAccount, liquidation_prices, vol_changes
from crossmargin.reports.frontier import frontier_chart, nearest_words, render_frontier
from crossmargin.reports.frontier import runway_words as words_of

FLAT = market({"BTC": 50_000.0, "ETH": 3_000.0, "USDC": 1.0}, marks={PERP: 5e4, ETH_PERP: 3e3})
CROSS = rules(flat_rate(0.10, 0.05))
PAIR = account((PERP, 1, 50_000), (ETH_PERP, -10, 3_000), balances={"USDC": 20_000})
BTC, ETH, VOL = Factor("price", "BTC"), Factor("price", "ETH"), Factor("vol", "*")

#: Of `PAIR`: 20,000 + (b − 50,000) − 10 (e − 3,000) = 5 % (b + 10 e), so 0.95 b = 10.5 e: in
#: logarithms a straight line, at this far from today along (1, −1).
GAP = math.log(50_000 / 3_000) - math.log(10.5 / 0.95)


def pair(**more: object) -> Frontier:
    return liquidation_frontier(CarriedAccount(PAIR, FLAT, CROSS), [BTC, ETH], **more)  # type: ignore[arg-type]


class TestClosedForm:
    def test_every_breach_lies_on_the_line(self) -> None:
        made = pair(rays=40)
        points = [ray.point for ray in made.rays if ray.point is not None]
        assert len(points) > 10
        for point in points:
            b, e = 50_000 * point.ratios[0], 3_000 * point.ratios[1]
            assert 0.95 * b == pytest.approx(10.5 * e, rel=1e-8)
            assert point.dead_usd < 0 <= point.safe_usd

    def test_rays_that_do_not_point_at_the_line_breach_nothing(self) -> None:
        for ray in pair(rays=40).rays:
            toward = ray.direction[1] - ray.direction[0]
            # Log-distance to the line shrinks by `toward` a unit; the range ends at ln 5.
            meets = toward > 0 and GAP / toward < math.log(5.0) - 1e-9
            assert (ray.point is not None) == meets

    @pytest.mark.parametrize("rho", [-0.5, 0.0, 0.8, 0.99])
    def test_nearest_is_the_distance_of_a_line(self, rho: float) -> None:
        made = pair(
            sigmas={"BTC": 0.03, "ETH": 0.05}, correlations={("BTC", "ETH"): rho}, rays=12, grid=0
        )
        spread = math.sqrt(0.03**2 + 0.05**2 - 2 * rho * 0.03 * 0.05)
        assert made.nearest is not None
        assert made.nearest.sigma is not None
        # The last turn is a thousandth of a radian: the distance is off by its square.
        assert made.nearest.sigma == pytest.approx(GAP / spread, rel=2e-6)

    def test_three_factors_find_the_same_line(self) -> None:
        who = CarriedAccount(PAIR, FLAT, CROSS)
        three = [BTC, ETH, Factor("vol", "*")]
        made = liquidation_frontier(
            who, three, sigmas={"BTC": 0.03, "ETH": 0.05, "vol": 0.1}, rays=30
        )
        assert made.nearest is not None
        assert made.nearest.sigma == pytest.approx(GAP / math.hypot(0.03, 0.05), rel=1e-5)
        # No options: volatility moves nothing, so the worst move leaves it where it is.
        assert made.nearest.ratios[2] == pytest.approx(1.0, abs=2e-3)
        assert made.grid_excess_usd == ()

    def test_axes_are_the_liquidation_prices(self) -> None:
        from crossmargin.book import book_from_accounts
        from crossmargin.margin import frame_for

        frame = frame_for(book_from_accounts([PAIR]), FLAT, CROSS)
        solved = {line.underlying: line for line in liquidation_prices(frame)}
        for axis in pair(grid=0).axes:
            for ray, side in ((axis.down, "down"), (axis.up, "up")):
                there = getattr(solved[axis.factor], side)
                ratio = (
                    None
                    if ray.point is None
                    else ray.point.ratios[0 if axis.factor == "BTC" else 1]
                )
                if there.price_usd is None:
                    # The solver of one price looks farther than the frontier's range.
                    assert ratio is None
                elif ratio is not None:
                    assert axis.today_usd is not None
                    assert axis.today_usd * ratio == pytest.approx(there.price_usd, rel=1e-7)

    def test_map_holds_today_and_the_sign_of_the_line(self) -> None:
        made = pair(grid=9)
        across, up = made.grid_ratios
        assert 1.0 in across
        assert 1.0 in up
        for j, e in enumerate(up):
            for i, b in enumerate(across):
                value = made.grid_excess_usd[j][i]
                assert value == pytest.approx(0.95 * 5e4 * b - 10.5 * 3e3 * e, abs=1e-6)


class TestOptions:
    RULES = scan_rules()
    MARKET = fixture_g()
    WHO = account((CALL, -2), (PUT, -2), balances={"USDC": 26_000}, name="straddle")

    def test_volatility_alone_is_the_solver_of_volatility(self) -> None:
        who = CarriedAccount(self.WHO, self.MARKET, self.RULES)
        made = liquidation_frontier(who, [BTC, VOL], rays=8, grid=0)
        (change,) = [
            c
            for c in vol_changes(self.WHO, self.MARKET, self.RULES).changes
            if c.line == "mm" and c.at > 1
        ]
        point = made.axes[1].up.point
        assert point is not None
        assert point.ratios[1] == pytest.approx(change.at, rel=1e-6)

    def test_nearest_is_no_farther_than_a_dense_scan(self) -> None:
        who = CarriedAccount(self.WHO, self.MARKET, self.RULES)
        sigmas = {"BTC": 0.03, "vol": 0.06}
        made = liquidation_frontier(
            who, [BTC, VOL], sigmas=sigmas, correlations={("BTC", "vol"): -0.4}, grid=0
        )
        assert made.nearest is not None
        assert made.nearest.sigma is not None
        root = np.linalg.cholesky(
            np.array([[0.03**2, -0.4 * 0.03 * 0.06], [-0.4 * 0.03 * 0.06, 0.06**2]])
        )
        inside = 0.999 * made.nearest.sigma
        for angle in np.linspace(0.0, 2 * math.pi, 120):
            for radius in (0.5 * inside, inside):
                x = root @ (radius * np.array([math.cos(angle), math.sin(angle)]))
                assert who.excess({"BTC": x[0]}, {"*": x[1]}).min() >= 0
        a, b = made.nearest.ratios
        assert who.excess({"BTC": math.log(a)}, {"*": math.log(b)}).min() >= 0


class TestFunding:
    def test_time_from_funding_alone(self) -> None:
        world = market(
            {"BTC": 50_000.0, "ETH": 3_000.0, "USDC": 1.0},
            marks={PERP: 5e4, ETH_PERP: 3e3},
            funding={PERP: 0.0008, ETH_PERP: 0.0004},
        )
        made = liquidation_frontier(CarriedAccount(PAIR, world, CROSS), [BTC, ETH], grid=0)
        # 50,000 × 0.01 % an hour paid, 30,000 × 0.005 % an hour received.
        assert made.runway.usd_per_hour == pytest.approx(-5.0 + 1.5, rel=1e-12)
        assert made.runway.hours == pytest.approx((20_000 - 4_000) / 3.5, rel=1e-12)
        assert made.runway.without_rate == ()
        assert "190.5 days" in words_of(made)

    def test_a_missing_rate_is_named_and_none_paid_never_ends(self) -> None:
        made = pair(grid=0)
        assert made.runway.hours is None
        assert made.runway.without_rate == (PERP, ETH_PERP)
        assert f"no rate known for {PERP}" in words_of(made)


class TestBadInput:
    @pytest.mark.parametrize("text", ["", "vol:", "price:BTC", ":BTC"])
    def test_what_is_no_factor(self, text: str) -> None:
        with pytest.raises(InputError, match="is no factor"):
            parse_factor(text)

    def test_factors_are_read(self) -> None:
        assert [parse_factor(t).name for t in ("BTC", "*", "vol", "vol:ETH")] == [
            "BTC", "*", "vol", "vol:ETH",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"low": 1.2}, "does not hold today"),
            ({"high": math.inf}, "does not hold today"),
            ({"low": 1e-300, "high": 1e300}, "too wide"),
            ({"sigmas": {"BTC": 1e-300, "ETH": 0.1}}, "standard deviation of BTC is 1e-300"),
            ({"sigmas": {"BTC": 0.03}}, "ETH has no standard deviation"),
            ({"sigmas": {"BTC": 0.03, "ETH": -1.0}}, "standard deviation of ETH is -1"),
            ({"sigmas": {"SOL": 0.03}}, "SOL is not one of the factors"),
            (
                {"sigmas": {"BTC": 0.03, "ETH": 0.03}, "correlations": {("BTC", "ETH"): 1.0}},
                "correlation of BTC and ETH is 1",
            ),
        ],
    )
    def test_figures_that_cannot_be(self, more: dict[str, object], said: str) -> None:
        with pytest.raises(InputError, match=said):
            pair(**more)

    def test_one_factor_is_too_few_and_twice_one_as_well(self) -> None:
        who = CarriedAccount(PAIR, FLAT, CROSS)
        for factors in ([BTC], [BTC, BTC]):
            with pytest.raises(InputError, match="two or more"):
                liquidation_frontier(who, factors)

    def test_a_coin_that_the_account_has_nothing_of(self) -> None:
        with pytest.raises(MarginError, match="no exposure to SOL"):
            liquidation_frontier(CarriedAccount(PAIR, FLAT, CROSS), [BTC, Factor("price", "SOL")])

    def test_an_account_below_its_line_says_so(self) -> None:
        poor = account((PERP, 1, 50_000), balances={"USDC": 1_000})
        who = CarriedAccount(poor, FLAT, CROSS)
        made = liquidation_frontier(who, [BTC, Factor("vol", "*")], sigmas={"BTC": 0.1, "vol": 0.1})
        assert made.breached_now == ("cross",)
        assert made.excess_now_usd == pytest.approx(1_000 - 2_500)
        assert made.nearest is None
        assert all(ray.point is None for ray in made.rays)


def test_the_page_draws_the_map_and_says_the_answer() -> None:
    made = pair(sigmas={"BTC": 0.03, "ETH": 0.05}, grid=7, rays=16)
    text = render_frontier("a: frontier", ["rules"], made, version="0")
    assert frontier_chart(made) in text
    assert nearest_words(made) in text
    assert text.count('class="edge"') > 3
    assert "http://" not in text.replace("http://www.w3.org", "")
