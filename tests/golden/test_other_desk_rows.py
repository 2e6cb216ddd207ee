"""Rows A00, A07, A08, A12, A13, A19, A23, B04 and §3's haircut on other figures, worked by hand."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from tests.helpers import (
    ETH_PERP,
    GRID,
    PERP,
    account,
    black,
    fixture_g,
    flat_rate,
    market,
    rules,
    scan_rules,
)

from crossmargin.analytics import (
    RiskModel,
    StressScenario,
    VenueAccount,
    adequacy,
    capital_ratios,
    gap_losses,
    normal_var_es,
    parametric_risk,
    position_margins,
    return_on_margin,
    simulated_risk,
    venues_plan,
)
from crossmargin.errors import MarginError
from crossmargin.margin import (
    CarriedAccount,
    haircut_spec,
    liquidation_prices,
    make_statement,
    model_haircut,
)
from crossmargin.market import Snapshot
from crossmargin.scenarios import taylor_check

NORMAL = NormalDist()
OTHER = "BTC_USDT-PERPETUAL"
HOUR = 3_600 * 10**9


def world(btc: float = 60_000.0, eth: float = 2_500.0) -> Snapshot:
    return market(
        {"BTC": btc, "ETH": eth, "USDC": 1.0, "USDT": 1.0},
        marks={PERP: btc, ETH_PERP: eth, OTHER: btc},
    )


def cells(kind: str, quantity: float, strike: float = 0.0) -> np.ndarray:
    """Profit of a leg in the 27 cells of Fixture G, by a formula of the tests' own."""
    found = []
    for move in GRID:
        for factor in (1.5, 1.0, 0.75):
            there = 50_000 * (1 + move)
            if kind == "F":
                found.append(there - 50_000)
            else:
                call = kind == "C"
                then = black(there, strike, 30 / 365, 0.6 * factor, call=call)
                found.append(then - black(50_000, strike, 30 / 365, 0.6, call=call))
    return quantity * np.array(found)


def test_a00_and_a12_on_another_book() -> None:
    """Two short puts of 45,000, 0.4 short perpetuals, 1.5 calls of 60,000."""
    legs = [cells("P", -2, 45_000), cells("F", -0.4), cells("C", 1.5, 60_000)]
    who = account(
        ("BTC_USDC-27MAR26-45000-P", -2), (PERP, -0.4), ("BTC_USDC-27MAR26-60000-C", 1.5),
        balances={"USDC": 20_000},
    )  # fmt: skip
    made = make_statement(who, fixture_g(), scan_rules())
    whole = -sum(legs).min()
    alone = [-leg.min() for leg in legs]
    assert made.totals.im == pytest.approx(whole, rel=1e-12)
    assert made.totals.standalone_im == pytest.approx(sum(alone), rel=1e-12)
    rows = position_margins(who, fixture_g(), scan_rules())
    assert [r.standalone_usd for r in rows] == pytest.approx(alone, rel=1e-12)
    without = [max(0.0, -(sum(legs) - leg).min()) for leg in legs]
    assert [r.marginal_usd for r in rows] == pytest.approx([whole - x for x in without], rel=1e-9)
    assert sum(r.allocated_usd for r in rows) == pytest.approx(whole, rel=1e-12)


class TestA07:
    """12,000; long 2 BTC at 60,000 (2.5 %), short 15 ETH at 2,500 (5 %), ρ 0.7, m 4 %."""

    RATE = rules(flat_rate(0.08, 0.04))
    carried = CarriedAccount(
        account((PERP, 2, 60_000), (ETH_PERP, -15, 2_500), balances={"USDC": 12_000}),
        world(),
        RATE,
    )
    model = RiskModel(sigma={"BTC": 0.025, "ETH": 0.05}, correlation=0.7)
    room = 12_000 - 0.04 * 157_500

    def test_normal_figures_at_another_level(self) -> None:
        risks = np.array([120_000 * 0.025, -37_500 * 0.05])
        rho = np.array([[1, 0.7], [0.7, 1]])
        sigma = math.sqrt(risks @ rho @ risks)
        found = parametric_risk(self.carried, self.model, confidence=0.975)
        z = NORMAL.inv_cdf(0.975)
        assert found.sigma_usd == pytest.approx(sigma, rel=1e-9)
        assert found.var_usd == pytest.approx(z * sigma, rel=1e-9)
        assert found.es_usd == pytest.approx(NORMAL.pdf(z) / 0.025 * sigma, rel=1e-9)
        # A long's margin falls with it, a short's rises against it.
        moving = risks * [0.96, 1.04]
        chance = NORMAL.cdf(-self.room / math.sqrt(moving @ rho @ moving))
        assert found.p_breach == pytest.approx(chance, rel=1e-6)
        assert found.p_breach_frozen == pytest.approx(NORMAL.cdf(-self.room / sigma), rel=1e-6)
        drawn = simulated_risk(self.carried, self.model, draws=40_000, seed=5)
        assert abs(drawn.p_breach - chance) < 3 * drawn.p_breach_error

    def test_distances(self) -> None:
        found = {x.underlying: x for x in liquidation_prices(self.carried.frame)}
        assert found["BTC"].down.price_usd == pytest.approx(60_000 - self.room / (2 * 0.96))
        assert found["ETH"].up.price_usd == pytest.approx(2_500 + self.room / (15 * 1.04))
        assert found["BTC"].up.price_usd is None and found["ETH"].down.price_usd is None

    def test_a_pot_that_dies_where_the_account_gains(self) -> None:
        """A large safe long beside a small thin short, each fenced: the draws that lose most are
        falls, and the short dies in rises. 600 less 480 of margin, over 12,000·1.04·2.5 %."""
        fenced = rules(flat_rate(0.08, 0.04), pools={"by": "position"})
        who = account(
            {"instrument": PERP, "quantity": 2, "entry_price": 60_000, "fenced_margin": 60_000},
            {"instrument": OTHER, "quantity": -0.2, "entry_price": 60_000, "fenced_margin": 600},
            balances={"USDC": 70_000, "USDT": 5_000},
        )
        carried = CarriedAccount(who, world(), fenced)
        model = RiskModel(sigma={"BTC": 0.025})
        exact = NORMAL.cdf(-120 / (12_000 * 1.04 * 0.025))
        assert parametric_risk(carried, model).p_breach == pytest.approx(exact, rel=1e-6)
        drawn = simulated_risk(carried, model, draws=3_000, seed=1)
        assert abs(drawn.p_breach - exact) < 3 * drawn.p_breach_error
        assert drawn.revalued < drawn.draws


def test_a08_with_unlike_sizes() -> None:
    """A long 2 on 9,000, B short 1.5 on 8,000, 60,000, m 5 %."""
    rate = rules(flat_rate(0.10, 0.05))
    venues = [
        VenueAccount(venue="A", account=account((PERP, 2, 60_000), balances={"USDC": 9_000}),
                     ruleset=rate),
        VenueAccount(venue="B", account=account((OTHER, -1.5, 60_000), balances={"USDT": 8_000}),
                     ruleset=rate),
    ]  # fmt: skip

    def plan(move: float):  # type: ignore[no-untyped-def]
        return venues_plan(venues, world(), StressScenario(name="s", moves={"BTC": move}))

    fall, rise = plan(-0.12), plan(0.10)
    assert fall.venues[0].down_usd["BTC"] == pytest.approx(111_000 / 1.9)
    assert fall.venues[1].up_usd["BTC"] == pytest.approx(98_000 / 1.575)
    assert [v.top_up_usd for v in fall.venues] == pytest.approx([5_400 + 5_280, 0.0])
    assert [v.top_up_usd for v in rise.venues] == pytest.approx([0.0, 1_000 + 4_950])
    assert (fall.net_delta, fall.net_delta_after) == ({"BTC": 0.5}, {"BTC": -1.5})
    assert rise.net_delta_after == {"BTC": 2.0}


HAIRCUT = {
    "source": "s",
    "confidence": "house",
    "haircut_levels": ["im", "mm"],
    "assets": {"BTC": {"haircut": 0.15}, "USDC": {}},
}


class TestA23:
    RATE = rules(flat_rate(0.10, 0.05), collateral=HAIRCUT)

    def test_a_short_covered_by_its_coin_has_no_line(self) -> None:
        """5,000 and 1.2 BTC at 15 % against 0.8 short: 37,000 + 0.22·P over 0.04·P, everywhere."""
        who = account((PERP, -0.8, 40_000), balances={"USDC": 5_000, "BTC": 1.2})
        made = adequacy(who, world(40_000), self.RATE, moves=(-0.5, 0.0, 0.5), map_moves=())
        assert [r.equity_im_usd for r in made.ladder] == pytest.approx([41_400, 45_800, 50_200])
        assert [r.ratio_im for r in made.ladder] == pytest.approx(
            [41_400 / 1_600, 45_800 / 3_200, 50_200 / 4_800]
        )
        (line,) = [x for x in made.reverse if x.coin == "BTC"]
        assert line.down_usd is None and line.up_usd is None

    def test_line_of_a_long_on_its_own_coin(self) -> None:
        """2,000 + 0.765·P + 1.5·(P − 40,000) = 0.075·P at 58,000/2.19."""
        who = account((PERP, 1.5, 40_000), balances={"USDC": 2_000, "BTC": 0.9})
        made = adequacy(who, world(40_000), self.RATE, moves=(), map_moves=())
        (line,) = [x for x in made.reverse if x.coin == "BTC"]
        assert line.down_usd == pytest.approx(58_000 / 2.19, rel=1e-9)


def test_a13_for_a_short() -> None:
    """Wallet 14,000, 2 short at 60,000, fenced 12,000: a gap to 75,000 loses 30,000."""
    who = account(
        {"instrument": PERP, "quantity": -2, "entry_price": 60_000, "fenced_margin": 12_000},
        balances={"USDC": 14_000},
    )
    for pools, trader in (({"by": "position"}, 12_000), ({"by": "account"}, 14_000)):
        rate = rules(flat_rate(0.10, 0.05), pools=pools)
        found = gap_losses(who, world(), rate, "BTC", [75_000.0, 60_000.0, 62_000.0])
        assert found.trader == pytest.approx([trader, 0.0, 4_000.0], abs=1e-6)
        assert found.deficit == pytest.approx([30_000 - trader, 0.0, 0.0], abs=1e-6)


def test_a12_in_unlike_spans_and_a_loss() -> None:
    """10,000 for 36 hours and 30,000 for 12 are 15,000; −500 on it in two days."""
    found = return_on_margin(-500, [0, 36 * HOUR], [10_000, 30_000], 48 * HOUR)
    assert (found.margin_usd, found.days) == (15_000.0, 2.0)
    assert found.period == pytest.approx(-1 / 30)
    assert found.annual == pytest.approx(-365 / 60)


def test_ratios_over_nothing_have_no_value() -> None:
    rows = capital_ratios(
        collateral_usd=0.0, notional_usd=0.0, im_usd=0.0, pnl_usd=1.0, es_day_usd=0.0,
        standalone_im_usd=0.0,
    )  # fmt: skip
    assert {r.value for r in rows if r.name != "idle collateral"} == {None}


def test_figures_that_are_none_have_no_ratio() -> None:
    with pytest.raises(MarginError, match="MRG-025"):
        capital_ratios(collateral_usd=math.nan, notional_usd=1.0, im_usd=1.0)
    for level in (0.0, 1.0, math.nan):
        with pytest.raises(MarginError, match="MRG-025"):
            normal_var_es(1.0, level)


def test_b04_no_number_is_no_approximation() -> None:
    made = taylor_check([-1.0, -2.0, 0.0], [-1.0, math.nan, 0.0], tolerance=0.05)
    assert made.used.tolist() == [-1.0, -2.0, 0.0] and "1 of 3" in made.warning


class TestHaircut:
    def test_by_hand(self) -> None:
        """A quarter of the volume, a tenth of it a day: three days; ES 97.5 %, impact σ/2."""
        spec = haircut_spec(
            method="normal", measure="es", form="log", level=0.975, horizon_days=1, impact=1.0,
            spread_stress=3.0, half_spread=0.0005, participation=0.1,
        )  # fmt: skip
        (found,) = model_haircut(spec, sigma=0.04, usd=5e6, adv_usd=2e7)
        z = NORMAL.inv_cdf(0.975)
        tail = NORMAL.pdf(z) / 0.025
        lost = 1 - math.exp(-tail * 0.04 * math.sqrt(3))
        assert found.days == 3.0
        assert found.haircut == pytest.approx(lost + 0.0015 + 0.04 * 0.5, rel=1e-9)

    @pytest.mark.parametrize(("sigma", "usd"), [(math.nan, 0.0), (-0.1, 0.0), (0.1, -5.0)])
    def test_figures_that_are_none(self, sigma: float, usd: float) -> None:
        with pytest.raises(MarginError, match="MRG-012"):
            model_haircut(haircut_spec(method="normal"), sigma=sigma, usd=usd, adv_usd=1e6)
