"""dYdX v4: exact integers against rationals, and the float engine against the integers."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest
from tests.helpers import account, done, market
from tests.oracles.weight_oracle import dydx_fraction, dydx_risk

from crossmargin.errors import InputError, RulesetError
from crossmargin.margin import load_ruleset
from crossmargin.margin.components import OpenInterestRate
from crossmargin.margin.exact_integer import (
    MILLION,
    ExactPosition,
    ExactRisk,
    ExactTier,
    exact_risk,
    quote_quanta,
    scaled_imf_ppm,
)

LARGE = ExactTier(imf_ppm=20_000, maintenance_ppm=600_000)
MID = ExactTier(
    imf_ppm=50_000, maintenance_ppm=600_000, oi_lower=40 * 10**12, oi_upper=100 * 10**12
)
#: base IMF, maintenance fraction, open-interest bounds in millions (reference/venues.md §6).
GENESIS = {
    "large-cap": (0.02, 0.6, 0, 0),
    "mid-cap": (0.05, 0.6, 40, 100),
    "small-cap": (0.10, 0.5, 20, 50),
    "long-tail": (0.20, 0.5, 5, 10),
    "isolated": (0.05, 0.6, 0.5, 1),
    "safety": (1.0, 0.2, 2, 5),
    "fx": (0.01, 0.5, 0.5, 1),
}


def one(quanta: int, tier: ExactTier = LARGE, **more: int) -> ExactPosition:
    """A position of `quanta` of 10⁻¹⁰ BTC at 50,000."""
    return ExactPosition(
        base_quanta=quanta,
        base_resolution=-10,
        price=5_000_000_000,
        price_exponent=-5,
        tier=tier,
        **more,
    )


class TestIntegers:
    def test_a_coin(self) -> None:
        risk = exact_risk(-45_000 * MILLION, [one(10**10)])
        assert risk.net_collateral == 5_000 * MILLION
        assert risk.initial == 1_000 * MILLION
        assert risk.maintenance == 600 * MILLION
        assert not risk.liquidatable

    def test_both_ceilings(self) -> None:
        """Notional 51: 51·2 % = 1.02 → 2; 2·60 % = 1.2 → 2. One ceiling alone would give 1."""
        tiny = ExactPosition(
            base_quanta=51, base_resolution=-6, price=1, price_exponent=0, tier=LARGE
        )
        assert tiny.notional == 51
        risk = exact_risk(0, [tiny])
        assert (risk.initial, risk.maintenance) == (2, 2)
        assert -(-51 * 20_000 * 600_000 // MILLION**2) == 1

    def test_truncation_toward_zero(self) -> None:
        assert quote_quanta(19_999, -10, 5_000_000_000, -5) == 99_995
        assert quote_quanta(1, -10, 19, -5) == 0 == quote_quanta(-1, -10, 19, -5)
        assert quote_quanta(-3, -7, 5, 0) == -1  # −1.5 quanta
        assert quote_quanta(3, -6, 5, 2) == 1_500

    def test_equality_is_safe(self) -> None:
        assert not ExactRisk(600, 1_000, 600).liquidatable
        assert ExactRisk(599, 1_000, 600).liquidatable
        assert not ExactRisk(-1, 0, 0).liquidatable  # MMR must be above 0

    def test_order_of_accounts(self) -> None:
        """NC/MMR compared cross-multiplied, ties by the larger MMR."""
        a, b, c = ExactRisk(100, 0, 200), ExactRisk(40, 0, 100), ExactRisk(200, 0, 400)
        assert b.riskier_than(a) and not a.riskier_than(b)
        assert c.riskier_than(a) and not a.riskier_than(c)

    @pytest.mark.parametrize(
        ("interest", "expected"),
        [
            (0, 50_000),
            (40 * 10**12, 50_000),
            (70 * 10**12, 525_000),
            (40 * 10**12 + 1, 50_000),
            (100 * 10**12 - 1, 999_999),
            (100 * 10**12, MILLION),
            (10**18, MILLION),
        ],
    )
    def test_scaling(self, interest: int, expected: int) -> None:
        assert scaled_imf_ppm(50_000, interest, 40 * 10**12, 100 * 10**12) == expected

    def test_scaling_off(self) -> None:
        assert scaled_imf_ppm(20_000, 10**18, 0, 0) == 20_000
        assert scaled_imf_ppm(20_000, 5, 5, 5) == MILLION
        assert scaled_imf_ppm(20_000, 4, 5, 5) == 20_000

    def test_open_interest_touches_the_initial_margin_only(self) -> None:
        base = exact_risk(0, [one(10**10, MID)])
        scaled = exact_risk(0, [one(10**10, MID, open_interest=70 * 10**12)])
        assert scaled.maintenance == base.maintenance == 1_500 * MILLION
        assert scaled.initial == 26_250 * MILLION > base.initial == 2_500 * MILLION

    def test_user_fraction_by_max(self) -> None:
        assert exact_risk(0, [one(10**10, user_imf_ppm=10_000)]).initial == 1_000 * MILLION
        assert exact_risk(0, [one(10**10, user_imf_ppm=100_000)]).initial == 5_000 * MILLION

    def test_bad_input(self) -> None:
        wrong = ExactPosition(
            base_quanta=1, base_resolution=-6, price=0, price_exponent=0, tier=LARGE
        )
        with pytest.raises(InputError, match="INP-043"):
            exact_risk(0, [wrong])

    def test_against_rationals(self) -> None:
        rng = random.Random(61)
        for _ in range(400):
            positions, plain = [], []
            for _ in range(rng.randint(0, 4)):
                base = rng.choice([0, 10_000, 20_000, 50_000, 200_000, MILLION])
                keep = rng.choice([0, 200_000, 500_000, 600_000, MILLION])
                upper = rng.choice([0, 10**12, 5 * 10**13 + 7])
                lower = rng.randint(0, upper) if upper else 0
                interest = rng.randint(0, 10**14)
                quanta = rng.randint(-(10**12), 10**12)
                resolution, exponent = rng.choice([(-10, -5), (-9, -6), (-6, -9), (-4, 2)])
                price = rng.randint(1, 10**10)
                user = rng.choice([0, rng.randint(0, MILLION)])
                positions.append(
                    ExactPosition(
                        base_quanta=quanta,
                        base_resolution=resolution,
                        price=price,
                        price_exponent=exponent,
                        tier=ExactTier(
                            imf_ppm=base, maintenance_ppm=keep, oi_lower=lower, oi_upper=upper
                        ),
                        open_interest=interest,
                        user_imf_ppm=user,
                    )
                )
                ppm = Fraction(1, MILLION)
                plain.append(
                    {
                        "coins": quanta * Fraction(10) ** resolution,
                        "price": price * Fraction(10) ** exponent,
                        "base": base * ppm,
                        "fraction": keep * ppm,
                        "oi": interest * ppm,
                        "lower": lower * ppm,
                        "upper": upper * ppm,
                        "user": user * ppm,
                    }
                )
            quote = rng.randint(-(10**13), 10**13)
            risk = exact_risk(quote, positions)
            assert (risk.net_collateral, risk.initial, risk.maintenance) == dydx_risk(quote, plain)


class TestEngine:
    """The float path: the chain's fractions, amounts to the rounding of a few quanta."""

    def test_genesis_tiers(self) -> None:
        spec = load_ruleset("dydx-v4").data.components[0]
        assert isinstance(spec, OpenInterestRate)
        found = {
            name: (t.base_im, t.maintenance_fraction, t.oi_lower_usd / 1e6, t.oi_upper_usd / 1e6)
            for name, t in spec.tiers.items()
        }
        assert found == GENESIS

    @staticmethod
    def world(btc: float, sol: float) -> Any:
        """Marks stand elsewhere: the chain values at its oracle."""
        return market(
            {"BTC": btc, "SOL": sol, "USDC": 1.0},
            marks={"BTC/USD:USDC": btc * 1.01, "SOL/USD:USDC": sol * 0.98},
        )

    def test_random_accounts(self) -> None:
        rng = random.Random(62)
        for _ in range(40):
            btc_price, sol_price = rng.randint(3 * 10**9, 10**10), rng.randint(10**7, 3 * 10**7)
            btc, sol = rng.randint(-(10**11), 10**11), rng.randint(-(10**12), 10**12)
            quote = rng.randint(0, 10**13)
            interest = rng.uniform(0.0, 1_500_000.0)
            leverage = rng.choice([None, 1.0, 5.0, 40.0])
            world = self.world(btc_price * 1e-5, sol_price * 1e-5)
            rules = load_ruleset(
                "dydx-v4",
                overrides={
                    "components.perpetuals.markets.SOL": "mid-cap",
                    "components.perpetuals.open_interest_coins.SOL": interest,
                },
            )
            more = {} if leverage is None else {"leverage": leverage}
            positions = [
                {"instrument": "BTC/USD:USDC", "quantity": btc / 1e10, "entry_price": "mark"},
                {
                    "instrument": "SOL/USD:USDC",
                    "quantity": sol / 1e7,
                    "entry_price": "mark",
                    **more,
                },
            ]
            held = done(rules, world, *positions, balances={"USDC": quote / 1e6})
            user = 0 if leverage is None else round(MILLION / leverage)
            exact = exact_risk(
                quote,
                [
                    ExactPosition(
                        base_quanta=btc,
                        base_resolution=-10,
                        price=btc_price,
                        price_exponent=-5,
                        tier=LARGE,
                    ),
                    ExactPosition(
                        base_quanta=sol,
                        base_resolution=-7,
                        price=sol_price,
                        price_exponent=-5,
                        tier=MID,
                        open_interest=round(interest * sol_price * 1e-5 * MILLION),
                        user_imf_ppm=user,
                    ),
                ],
            )
            assert held.mm[0] == pytest.approx(exact.maintenance / 1e6, abs=5e-6, rel=1e-11)
            assert held.need.im[0] == pytest.approx(exact.initial / 1e6, abs=5e-6, rel=1e-11)
            assert held.have.mm[0] == pytest.approx(quote / 1e6, rel=1e-12)

    def test_profit_is_implicit(self) -> None:
        """Net collateral: what was paid has left the balance, what is held stands at the oracle."""
        rules, world = load_ruleset("dydx-v4"), self.world(50_000.0, 100.0)
        held = done(rules, world, ("BTC/USD:USDC", 1.0, 45_000.0), balances={"USDC": 1_000.0})
        exact = exact_risk((1_000 - 45_000) * MILLION, [one(10**10)])
        assert held.have.mm[0] == exact.net_collateral / MILLION == 6_000.0
        assert held.need.im[0] == exact.initial / MILLION

    def test_open_interest_must_be_given(self) -> None:
        rules = load_ruleset("dydx-v4", overrides={"components.perpetuals.markets.SOL": "mid-cap"})
        with pytest.raises(RulesetError, match=r"RUL-016: .* SOL depends on its open interest"):
            done(rules, self.world(5e4, 100.0), ("SOL/USD:USDC", 1.0), balances={"USDC": 1.0})
        done(rules, self.world(5e4, 100.0), ("BTC/USD:USDC", 1.0), balances={"USDC": 1.0})

    def test_fraction_oracle(self) -> None:
        base, lower, upper = Fraction(1, 20), Fraction(40), Fraction(100)
        assert dydx_fraction(base, Fraction(70), lower, upper) == Fraction(525, 1000)

    def test_unlisted_tier_is_refused(self) -> None:
        with pytest.raises(RulesetError, match=r"RUL-001.*not listed"):
            load_ruleset("dydx-v4", overrides={"components.perpetuals.markets.SOL": "mega"})

    def test_state(self) -> None:
        from crossmargin.margin import make_statement

        rules, world = load_ruleset("dydx-v4"), self.world(50_000.0, 100.0)
        for balance, state in ((600.0, ""), (599.99, "liquidatable")):
            who = account(("BTC/USD:USDC", 1.0), balances={"USDC": balance})
            made = make_statement(who, world, rules, solve=False)
            assert made.pots[0].venue_state == state
            assert (made.totals.state == "liquidation") == bool(state)
