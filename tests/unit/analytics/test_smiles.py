"""Models against a market's smiles, a market that is a model's, and the two commands."""

from __future__ import annotations

import json

import numpy as np
import pytest

from crossmargin.analytics import compare_smiles, model_market
from crossmargin.cli import main
from crossmargin.errors import InputError, MarketDataError
from crossmargin.margin import load_ruleset, make_statement
from crossmargin.market import SviSlice, butterfly_violations, with_model_surface
from crossmargin.pricing import SmileTarget, fit_sabr, sabr_vol
from crossmargin.units import parse_time
from crossmargin.venues import load_account, load_market

CALM = load_market("calm-2026-02-03")
MARCH = parse_time("2026-03-27T08:00:00Z")


def test_sabr_against_the_market() -> None:
    made = compare_smiles(CALM, "BTC", models=["sabr"])
    assert [one.expiry[:10] for one in made.expiries] == ["2026-02-20", "2026-03-27", "2026-06-26"]
    worst = 0.0
    for one in made.expiries:
        smile = CALM.surfaces["BTC", parse_time(one.expiry)]
        assert one.market == pytest.approx(smile.vol(one.strike))
        fit = fit_sabr(SmileTarget(forward=one.forward_usd, days=one.days, strike=one.strike,
                                   vol=one.market))  # fmt: skip
        assert one.models["sabr"] == pytest.approx(fit.vol(one.forward_usd, one.strike, one.days))
        gaps = np.abs(np.array(one.models["sabr"], dtype=float) - one.market)
        worst = max(worst, float(gaps.max()))
    (fit_row,) = made.fits
    assert fit_row.worst == pytest.approx(worst) and fit_row.rmse < fit_row.worst
    # Two standard deviations of a calm market: within half a volatility point.
    assert worst < 0.005


def test_jumps_and_moving_variance_meet_more_than_jumps_alone() -> None:
    pytest.importorskip("QuantLib")
    made = compare_smiles(CALM, "BTC", models=["merton", "heston"], expiries=["2026-03-27"])
    errors = {one.model: one.rmse for one in made.fits}
    assert errors["heston"] < 0.01 and errors["merton"] < 0.01
    flat = np.std(made.expiries[0].market)
    assert max(errors.values()) < 0.5 * flat  # a flat volatility would leave all of it


class TestModelMarket:
    def test_a_surface_of_sabr_is_sabrs(self) -> None:
        made = model_market(CALM, "BTC", "sabr")
        there = made.snapshot.surfaces["BTC", MARCH]
        known = CALM.surfaces["BTC", MARCH]
        strike = known.forward_usd * np.array([0.8, 1.0, 1.2])
        # Of the whole market: the errors are those of SABR against SVI, and of SVI against SABR.
        assert there.vol(strike) == pytest.approx(known.vol(strike), abs=0.01)
        assert set(made.errors) == {e for c, e in CALM.surfaces if c == "BTC"}
        fit = fit_sabr(
            SmileTarget(
                forward=known.forward_usd,
                days=known.years * 365.0,
                strike=(near := self.within(known, 2.0, 13)),
                vol=known.vol(near),
            )
        )
        far = self.within(known, 6.0, 25)
        apart = np.abs(there.vol(far) - fit.vol(known.forward_usd, far, known.years * 365.0))
        assert made.errors[MARCH] == pytest.approx(float(apart.max()))
        assert butterfly_violations(there) == []
        eth = {k: v for k, v in CALM.surfaces.items() if k[0] == "ETH"}
        assert all(made.snapshot.surfaces[k] == v for k, v in eth.items())

    @staticmethod
    def within(smile: SviSlice, deviations: float, count: int) -> np.ndarray:
        reach = deviations * smile.atm_vol * np.sqrt(smile.years)
        k = np.linspace(max(smile.k_min, -reach), min(smile.k_max, reach), count)
        return np.asarray(smile.forward_usd * np.exp(k))

    def test_margin_reads_it(self) -> None:
        """A model at twice the volatility is a market at twice the volatility."""

        def doubled(expiry: int, _: float, __: float, strike: np.ndarray) -> np.ndarray:
            return 2.0 * CALM.surfaces["BTC", expiry].vol(strike)

        made = with_model_surface(CALM, "BTC", doubled)
        who, rules = load_account("covered-call"), load_ruleset("deribit-pm-cross")
        before, after = (make_statement(who, m, rules) for m in (CALM, made.snapshot))
        vols = [
            {p.instrument: p.vol for p in one.positions if p.vol is not None}
            for one in (before, after)
        ]
        assert vols[0]
        for name, vol in vols[0].items():
            assert vols[1][name] == pytest.approx(2.0 * vol, rel=2e-3)

    def test_a_coin_without_a_surface(self) -> None:
        with pytest.raises(MarketDataError, match=r"MKT-101.*SOL"):
            model_market(CALM, "SOL", "sabr")
        with pytest.raises(MarketDataError, match=r"MKT-101.*2026"):
            with_model_surface(CALM, "BTC", lambda *a: np.full(a[3].shape, np.nan))


def test_questions_that_are_none() -> None:
    with pytest.raises(InputError, match=r"INP-013.*svi"):
        compare_smiles(CALM, "BTC", models=["svi"])
    with pytest.raises(InputError, match=r"INP-013.*2026-03-27"):
        compare_smiles(CALM, "BTC", models=["sabr"], expiries=["2027-01-01"])
    with pytest.raises(MarketDataError, match="MKT-101"):
        compare_smiles(CALM, "DOGE", models=["sabr"])


class TestCommands:
    def test_smile(self, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
        page, market = tmp_path / "s.html", tmp_path / "m.json"
        options = ["--model", "sabr", "--html", str(page), "--out", str(market)]
        assert main(["smile", "BTC", *options]) == 0
        assert "α, ρ, ν of 3 expiries" in capsys.readouterr().out
        assert page.read_text().count("<polyline") == 3
        assert main(["margin", "covered-call", "--market", str(market), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["totals"]["im"] > 0
        assert main(["smile", "ETH", "--model", "sabr", "--expiry", "2026-03-27", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["expiries"][0]["expiry"].startswith("2026-03-27")

    def test_tails(self, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
        page = tmp_path / "t.html"
        assert main(["tails", "made-up", "--html", str(page), "--json"]) == 0
        coins = json.loads(capsys.readouterr().out)["coins"]
        assert [one["coin"] for one in coins] == ["BTC", "ETH"]
        assert all(one["count"] == 1_499 and 2 < one["student_degrees"] < 8 for one in coins)
        assert page.read_text().count("quantile of the normal law") >= 2
        assert main(["tails", "made-up", "--coin", "BTC", "--free", "0.97"]) == 0
        text = capsys.readouterr().out
        assert "BTC 0.1 %" in text and "freed of moving volatility" in text

    @pytest.mark.parametrize(
        "words, wanted",
        [
            (["tails", "made-up", "--coin", "SOL"], "INP-013"),
            (["tails", "made-up", "--free", "2"], "--free"),
            (["tails", "made-up", "--from", "2026-01-01"], "fewer than 60"),
            (["tails", "made-up", "--from", "January"], "--from"),
            (["tails", "nothing.csv"], "INP-005"),
            (["smile", "BTC", "--model", "sabr2"], "INP-013"),
            (["smile", "XRP"], "MKT-101"),
        ],
    )
    def test_wrong_input_is_a_sentence(
        self, words: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(words) == 2
        assert wanted in capsys.readouterr().err

    def test_a_history_of_one_day(self, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
        short = tmp_path / "one.csv"
        short.write_text("date,BTC\n2026-01-01,90000\n")
        assert main(["tails", str(short)]) == 2
        assert "fewer than 60" in capsys.readouterr().err


def test_sabr_vol_of_the_fit_is_hagans() -> None:
    fit = fit_sabr(SmileTarget(forward=100.0, days=30.0, strike=[80.0, 90, 100, 110, 130],
                               vol=[0.62, 0.55, 0.5, 0.52, 0.6]))  # fmt: skip
    again = sabr_vol(100.0, 95.0, 30 / 365, alpha=fit.alpha, beta=1.0, rho=fit.rho, nu=fit.nu)
    assert float(fit.vol(100.0, 95.0, 30.0)) == pytest.approx(float(again))
