"""Correlation stress: the end that hurts, tails that come together, collateral that falls (B16)."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats
from tests import house_worlds as house
from tests.helpers import ETH_PERP, PERP, account, flat_rate, market, rules

from crossmargin.analytics import (
    BreakSpec,
    CorrelationBreak,
    Dependence,
    RiskModel,
    StressDesk,
    StressScenario,
    assumed_dependence,
    chosen_words,
    correlation_break,
    hidden_exposures,
    past_dependence,
    with_given,
)
from crossmargin.cli import main
from crossmargin.errors import MarginError, MarketDataError, RulesetError
from crossmargin.margin import evaluate, load_ruleset
from crossmargin.market import Snapshot
from crossmargin.scenarios import tail_sets
from crossmargin.stats import ewma_volatility, sample_correlation, weighted_correlation

RATE = rules(flat_rate(0.10, 0.05))
SOL_PERP = "SOL_USDC-PERPETUAL"
SIGMA = {"BTC": 0.03, "ETH": 0.04}
MODEL = RiskModel(sigma=SIGMA, correlation=0.5)
CENT = 0.005


def world() -> Snapshot:
    return market(
        {"BTC": 50_000.0, "ETH": 3_000.0, "SOL": 100.0, "USDC": 1.0},
        marks={PERP: 50_000.0, ETH_PERP: 3_000.0, SOL_PERP: 100.0},
    )


def base(rho: float = 0.5, **more: object) -> Dependence:
    model = RiskModel(sigma=SIGMA, correlation=rho)
    return assumed_dependence(["BTC", "ETH"], model, **more)  # type: ignore[arg-type]


def made(eth: float, dependence: Dependence, **asked: object) -> CorrelationBreak:
    who = account((PERP, 1, 50_000), (ETH_PERP, eth, 3_000), balances={"USDC": 10_000})
    return correlation_break(who, world(), RATE, dependence, BreakSpec(**asked))  # type: ignore[arg-type]


class TestB16:
    def test_hedged_book(self) -> None:
        found = made(-10, base(0.9), draws=4_000)
        assert found.line("base").sigma_usd == pytest.approx(670.82, abs=CENT)
        assert found.line("low").sigma_usd == pytest.approx(1_615.55, abs=CENT)
        assert found.line("pairs").correlation == found.line("low").correlation
        assert found.worst == "low"
        assert found.line("low").es_usd > 2.0 * found.line("base").es_usd
        assert found.line("low").shock_usd == pytest.approx(3 * 1_615.55, abs=3 * CENT)

    def test_same_direction_book(self) -> None:
        found = made(10, base(0.5), draws=4_000)
        assert found.line("base").sigma_usd == pytest.approx(2_343.07, abs=CENT)
        assert found.line("high").sigma_usd == pytest.approx(2_700.00, abs=CENT)
        assert found.line("base").es_normal_usd == pytest.approx(6_244.80, abs=CENT)
        assert found.worst == "high"
        assert found.line("high").shock == pytest.approx({"BTC": -0.09, "ETH": -0.12})

    def test_curve_runs_between_the_ends_in_the_sense_of_the_book(self) -> None:
        for eth, rising in ((10, True), (-10, False)):
            curve = made(eth, base(0.7), draws=4_000, points=8, low=-0.5).curve
            assert [p.correlation for p in curve] == pytest.approx(np.linspace(-0.5, 1.0, 8))
            for p in curve:
                by_hand = math.sqrt(
                    1_500.0**2
                    + 1_200.0**2
                    + 2 * p.correlation * 1_500.0 * 1_200.0 * math.copysign(1, eth)
                )
                assert p.sigma_usd == pytest.approx(by_hand, rel=1e-9)
                assert p.im_usd is None
            steps = np.diff([p.es_usd for p in curve])
            assert (steps > 0).all() if rising else (steps < 0).all()


class TestRiskMargin:
    def test_is_the_mean_of_the_worst_losses_counted_one_by_one(self) -> None:
        dependence = base(0.5)
        found = made(10, dependence, draws=4_000, level=0.975, seed=3)
        rho = np.array([[1.0, 0.5], [0.5, 1.0]])
        for degrees, ours in ((4.0, "es_usd"), (math.inf, "es_gauss_usd")):
            move = dependence.draw(rho, degrees, 4_000, seed=3)
            losses = sorted(
                (-(50_000 * b + 10 * 3_000 * e) for b, e in move.T.tolist()), reverse=True
            )
            assert getattr(found.line("base"), ours) == pytest.approx(sum(losses[:100]) / 100)

    def test_gaussian_draws_meet_the_normal_figure(self) -> None:
        found = made(10, base(0.5, degrees=math.inf), draws=100_000, points=2)
        for line in found.lines:
            assert abs(line.es_usd - line.es_normal_usd) < 3 * line.es_error_usd
            assert line.es_gauss_usd == line.es_usd
        assert found.degrees is None

    def test_tail_dependence_costs_a_book_that_leans_and_not_one_coin(self) -> None:
        """With one law for each coin only the joint extremes differ; ν 2.5 against a Gaussian."""
        found = made(10, base(0.0, degrees=2.5), draws=40_000, low=0.0, points=2)
        line = found.line("base")
        assert line.es_usd - line.es_gauss_usd > 3 * line.es_error_usd
        one = assumed_dependence(["BTC"], MODEL, degrees=2.5)
        who = account((PERP, 1, 50_000), balances={"USDC": 10_000})
        alone = correlation_break(who, world(), RATE, one, BreakSpec(draws=40_000))
        row = alone.line("base")
        assert abs(row.es_usd - row.es_gauss_usd) < 3 * math.hypot(
            row.es_error_usd, row.es_error_usd
        )
        assert len(alone.lines) == 1 and alone.curve == []
        assert "one coin" in chosen_words(alone)

    def test_margins_are_the_coins_own_whatever_the_copula(self) -> None:
        past = past_dependence(house.history(), ["BTC", "ETH"], degrees=3.0)
        for rho in (0.0, 0.9):
            move = past.draw(np.array([[1.0, rho], [rho, 1.0]]), 3.0, 40_000, seed=1)
            for a in range(2):
                own = np.quantile(past.margins[:, a], [0.1, 0.5, 0.9]) * past.sigma[a]
                assert np.quantile(np.log1p(move[a]), [0.1, 0.5, 0.9]) == pytest.approx(
                    own, abs=0.05 * past.sigma[a]
                )

    def test_same_seed_same_bytes(self) -> None:
        import msgspec

        first, again, other = (made(5, base(), draws=2_000, seed=s) for s in (7, 7, 8))
        assert msgspec.json.encode(first) == msgspec.json.encode(again)
        assert first.line("base").es_usd != other.line("base").es_usd


class TestThreeCoins:
    """Two coins one way, a third against them: neither end of one correlation is the worst."""

    WHO = account(
        (PERP, 1, 50_000), (ETH_PERP, 15, 3_000), (SOL_PERP, -900, 100), balances={"USDC": 90_000}
    )
    MODEL = RiskModel(sigma={**SIGMA, "SOL": 0.05}, correlation=0.8)

    def by_brute_force(self) -> float:
        """Largest σ over all matrices whose pairs are at one end or the other."""
        risk = np.array([50_000 * 0.03, 45_000 * 0.04, -90_000 * 0.05])
        best = 0.0
        for ends in itertools.product((0.3, 1.0), repeat=3):
            rho = np.eye(3)
            for (i, j), value in zip(((0, 1), (0, 2), (1, 2)), ends):
                rho[i, j] = rho[j, i] = value
            if np.linalg.eigvalsh(rho)[0] > -1e-9:
                best = max(best, float(risk @ rho @ risk))
        return math.sqrt(best)

    def test_each_pair_goes_where_it_hurts(self) -> None:
        dependence = assumed_dependence(["BTC", "ETH", "SOL"], self.MODEL)
        found = correlation_break(self.WHO, world(), RATE, dependence, BreakSpec(draws=4_000))
        pairs = found.line("pairs")
        assert pairs.correlation == [[1.0, 1.0, 0.3], [1.0, 1.0, 0.3], [0.3, 0.3, 1.0]]
        assert pairs.sigma_usd == pytest.approx(self.by_brute_force(), rel=1e-9)
        assert found.worst == "pairs"
        assert pairs.es_usd > max(found.line(name).es_usd for name in ("base", "low", "high"))

    def test_the_named_scenario_does_so_too(self) -> None:
        one = StressScenario(name="b", kind="correlation", sigmas=1.0)
        row = StressDesk(self.WHO, world(), RATE, model=self.MODEL).row(one)
        assert row.chosen == "correlation pair by pair"
        assert row.loss_usd == pytest.approx(self.by_brute_force(), rel=1e-6)

    def test_pairs_that_cannot_all_be_become_the_nearest_that_can(self) -> None:
        model = RiskModel(sigma=self.MODEL.sigma, correlation=0.0, pairs={("BTC", "SOL"): -0.9})
        dependence = assumed_dependence(["BTC", "ETH", "SOL"], model)
        spec = BreakSpec(draws=2_000, points=2, low=0.2)
        found = correlation_break(self.WHO, world(), RATE, dependence, spec)
        for line in found.lines:
            matrix = np.array(line.correlation)
            assert np.linalg.eigvalsh(matrix)[0] > -1e-9
            assert np.diag(matrix) == pytest.approx(1.0)


class TestWrongWay:
    def share(self, quantity: float, rho: float, coin: str = "BTC") -> float | None:
        amount = {"BTC": 1.0, "ETH": 15.0}[coin]
        who = account((PERP, quantity, 50_000), balances={coin: amount, "USDC": 20_000})
        coins = sorted({"BTC", coin})
        dependence = assumed_dependence(coins, RiskModel(sigma=SIGMA, correlation=rho),
                                        degrees=math.inf)  # fmt: skip
        asked = BreakSpec(draws=40_000, low=min(rho, 0.3), high=max(rho, 0.3), points=2)
        found = correlation_break(who, world(), RATE, dependence, asked)
        rows = {one.asset: one for one in found.collateral}
        assert rows["USDC"].share is None and rows["USDC"].value_usd == pytest.approx(20_000)
        assert rows[coin].base_usd == pytest.approx(found.line("base").collateral_usd)
        alone = rows[coin].alone_usd
        assert alone > 0
        return rows[coin].base_usd / alone

    def test_collateral_in_the_coin_itself(self) -> None:
        assert self.share(1, 0.5) == pytest.approx(1.0, abs=1e-9)
        against = self.share(-1, 0.5)
        # It rises by as much as it falls at worst; the two tails differ by sampling alone.
        assert against == pytest.approx(-1.0, abs=0.05)

    @pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
    def test_another_coin_falls_with_its_correlation(self, rho: float) -> None:
        """E[y | x in its worst] = ρ·E[x | x in its worst] for normals, and both have one scale."""
        assert self.share(1, rho, "ETH") == pytest.approx(rho, abs=0.03)

    def test_it_is_named(self) -> None:
        who = account((PERP, 1, 50_000), balances={"BTC": 1.0})
        found = correlation_break(who, world(), RATE, assumed_dependence(["BTC"], MODEL))
        assert [one.asset for one in hidden_exposures(found)] == ["BTC"]
        assert found.line("base").collateral_usd > 0

    def test_what_is_owed_is_no_collateral(self) -> None:
        who = account((PERP, 1, 50_000), balances={"ETH": -5.0, "USDC": 90_000})
        found = correlation_break(who, world(), RATE, base(), BreakSpec(draws=2_000, points=2))
        assert [one.asset for one in found.collateral] == ["USDC"]


class TestPast:
    def test_measured_figures(self) -> None:
        past = house.history()
        found = past_dependence(past, ["BTC", "ETH"], days=4.0)
        r = past.returns[:, :2]
        for a in range(2):
            assert found.sigma[a] == pytest.approx(2.0 * ewma_volatility(r[:, a], 0.97)[-1])
        assert np.array_equal(found.correlation, weighted_correlation(found.margins, 0.97))
        assert found.fit is not None and found.degrees == found.fit.degrees
        # What was drawn there: two t(4) each, one shared by all coins; far from a Gaussian copula.
        assert not found.fit.gaussian
        assert past_dependence(past, ["BTC"]).fit is None

    def test_a_coin_or_days_that_are_missing(self) -> None:
        with pytest.raises(MarketDataError, match=r"MKT-044.*DOGE"):
            past_dependence(house.history(), ["BTC", "DOGE"])
        with pytest.raises(MarketDataError, match=r"MKT-044.*in common"):
            past_dependence(house.history(late=500), ["BTC", "SOL"])
        with pytest.raises(MarginError, match="MRG-025"):
            past_dependence(house.history(), ["BTC"], decay=1.5)

    def test_given_figures_replace_measured_ones(self) -> None:
        found = with_given(past_dependence(house.history(), ["BTC", "ETH"], days=4.0),
                           {"BTC": 0.05}, {("ETH", "BTC"): 0.25}, days=4.0)  # fmt: skip
        assert found.sigma[0] == pytest.approx(0.10)
        assert found.correlation[0, 1] == found.correlation[1, 0] == 0.25
        for bad in (({"SOL": 0.1}, {}), ({"BTC": -1.0}, {}), ({}, {("BTC", "ETH"): 2.0})):
            with pytest.raises(MarginError, match="MRG-025"):
                with_given(base(), *bad)  # type: ignore[arg-type]


class TestForcedCorrelation:
    """`tail.correlation`: the house model's scenarios brought to one correlation."""

    @pytest.mark.parametrize("rho", [-0.2, 0.3, 0.95])
    def test_scenarios_have_it(self, rho: float) -> None:
        spec = load_ruleset("house", overrides={**house.SMALL, "tail.correlation": rho}).data.tail
        moves = tail_sets(house.history(), spec).filtered.move  # type: ignore[arg-type]
        found = sample_correlation(np.log1p(moves).T)
        off = found[~np.eye(3, dtype=bool)]
        assert off == pytest.approx(rho, abs=1e-9)

    def test_the_curve_is_the_margin_with_it(self) -> None:
        who = house.account(("BTC_USDC-PERPETUAL", 1.0), ("ETH_USDC-PERPETUAL", -14.0))
        plain = load_ruleset("house", overrides=house.SMALL)
        dependence = past_dependence(house.history(), ["BTC", "ETH"], degrees=4.0)
        asked = BreakSpec(draws=2_000, points=3)
        found = correlation_break(who, house.market(), plain, dependence, asked)
        from crossmargin.book import book_from_accounts

        for point in found.curve:
            forced = load_ruleset(
                "house", overrides={**house.SMALL, "tail.correlation": point.correlation}
            )
            again = evaluate(book_from_accounts([who]), house.market(), forced)
            assert point.im_usd == pytest.approx(float(again.need.im.sum()), rel=1e-12)
        margins = [p.im_usd or 0.0 for p in found.curve]
        assert margins[0] > margins[1] > margins[2]  # hedged: the looser the dearer

    def test_it_needs_a_rescaling(self) -> None:
        with pytest.raises(RulesetError, match="rescale"):
            load_ruleset("house", overrides={"tail.correlation": 0.3, "tail.rescale": "none"})


@pytest.mark.parametrize(
    "asked",
    [
        {"low": 0.8, "high": 0.3}, {"level": 0.4}, {"days": 0.0}, {"draws": 100},
        {"points": 1}, {"sigmas": -1.0}, {"seed": -1}, {"high": 1.5},
    ],
)  # fmt: skip
def test_questions_that_are_none(asked: dict[str, float]) -> None:
    with pytest.raises(MarginError, match="MRG-025"):
        BreakSpec(**asked)  # type: ignore[arg-type]


def test_accounts_and_ends_that_cannot_be() -> None:
    cash = account(balances={"USDC": 1_000})
    nothing = assumed_dependence([], RiskModel(sigma={}))
    with pytest.raises(MarginError, match="no coin moves"):
        correlation_break(cash, world(), RATE, nothing)
    with pytest.raises(MarginError, match=r"At least -0\.5"):
        three = assumed_dependence(["BTC", "ETH", "SOL"], TestThreeCoins.MODEL)
        correlation_break(TestThreeCoins.WHO, world(), RATE, three, BreakSpec(low=-0.8))
    with pytest.raises(MarginError, match="ETH"):
        made(10, assumed_dependence(["BTC"], MODEL))
    with pytest.raises(MarginError, match="degrees"):
        base(degrees=1.5)


class TestCommand:
    SMALL = ("--draws", "2000", "--points", "3")

    def test_json_and_page(self, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
        page = tmp_path / "break.html"
        options = ["--history", "made-up", *self.SMALL, "--json", "--html", str(page)]
        assert main(["correlation-stress", "directional", *options]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [one["name"] for one in found["lines"]] == ["base", "low", "high", "pairs"]
        assert found["worst"] == "high" and 2.0 < found["degrees"] < 10.0
        assert found["degrees_low"] < found["degrees"] < found["degrees_high"]
        text = page.read_text()
        assert (
            text.count(" heat") + text.count('"heat') >= 3
            and "Margin against the correlation" in text
        )
        assert "Wrong-way collateral: " in text

    def test_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["correlation-stress", "directional", *self.SMALL, "--corr", "BTC,ETH=0.6",
                     "--sigma", "BTC=0.03", "--degrees", "inf"]) == 0  # fmt: skip
        text = capsys.readouterr().out
        assert "correlation, stress: all pairs at 1" in text and "0.60" in text
        assert "Gaussian copula, as given" in text and "BTC 3.00 %" in text

    @pytest.mark.parametrize(
        "options, words",
        [
            (["--low", "2"], "MRG-025"),
            (["--sigma", "XRP=0.03"], "XRP"),
            (["--corr", "BTC=0.3"], "BTC,ETH=0.8"),
            (["--degrees", "two"], "INP-013"),
            (["--degrees", "2"], "More than 2"),
            (["--draws", "10"], "ten draws"),
            (["--history", "nope.csv"], "INP-005"),
        ],
    )
    def test_wrong_input_is_a_sentence(
        self, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["correlation-stress", "directional", *options]) == 2
        assert words in capsys.readouterr().err


def test_normal_shortfall_is_scipys() -> None:
    found = made(10, base(0.5), draws=1_100)
    line = found.line("base")
    z = stats.norm.ppf(0.99)
    assert line.es_normal_usd == pytest.approx(stats.norm.pdf(z) / 0.01 * line.sigma_usd)
