"""Unknown figures of a made-up venue, fitted from what its simulator would say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from crossmargin.analytics import OwnCase, Unknown, infer
from crossmargin.analytics.infer import evaluation_figures
from crossmargin.analytics.reconcile import statement_figures
from crossmargin.book import AccountFile, book_from_accounts
from crossmargin.errors import InputError
from crossmargin.margin import Ruleset, evaluate, make_statement, ruleset_from_toml
from crossmargin.market import MarketFile, snapshot_from_file

MADE_UP = """
format = "crossmargin-ruleset/1"
id = "made-up"
venue = "Nowhere Exchange"
title = "Brackets, a fee provision and a haircut"
effective_from = "2026-01-01"

[sources.own]
title = "invented for this test"
date = "2026-11-22"

[pools]
by = "account"

[collateral]
source = "own"
confidence = "house"

[collateral.assets.USDC]
haircut = 0.0

[collateral.assets.BTC]
haircut = 0.1

[orders]
method = "worst-fill"
source = "own"
confidence = "house"

[[components]]
kind = "rate"
name = "perp"
source = "own"
confidence = "house"
scheme = "marginal"

[[components.tiers.default]]
floor = 0.0
im = 0.02
mm = 0.01

[[components.tiers.default]]
floor = 100000.0
im = 0.05
mm = 0.025

[[components]]
kind = "fee-provision"
name = "fees"
source = "own"
confidence = "house"
rate = 0.001

[combine]
im = "perp + fees"
mm = "perp + fees"
"""
FLOOR = "components.perp.tiers.default.1.floor"
LOW_IM = "components.perp.tiers.default.0.im"
HIGH_IM = "components.perp.tiers.default.1.im"
LOW_MM = "components.perp.tiers.default.0.mm"
HIGH_MM = "components.perp.tiers.default.1.mm"
FEE = "components.fees.rate"
HAIRCUT = "collateral.assets.BTC.haircut"
TRUTH = {LOW_IM: 0.02, HIGH_IM: 0.05, LOW_MM: 0.01, FLOOR: 100_000.0, FEE: 0.001, HAIRCUT: 0.1}
RANGES = {
    LOW_IM: (0.0, 0.1),
    HIGH_IM: (0.0, 0.2),
    LOW_MM: (0.0, 0.1),
    HIGH_MM: (0.0, 0.1),
    FLOOR: (50_000.0, 300_000.0),
    FEE: (0.0, 0.01),
    HAIRCUT: (0.0, 0.5),
}


@pytest.fixture(scope="module")
def rules() -> Ruleset:
    return ruleset_from_toml(MADE_UP)


def market(price: float = 50_000.0) -> MarketFile:
    return msgspec.convert(
        {
            "format": "crossmargin-market/1",
            "as_of": "2026-01-01T00:00:00Z",
            "assets": [{"asset": "BTC", "price_usd": price}, {"asset": "USDC", "price_usd": 1.0}],
            "instruments": [{"instrument": "BTC_USDC-PERPETUAL", "price_mark": price + 10.0}],
        },
        MarketFile,
    )


def simulator(rules: Ruleset, quantity: float, coins: float, *figures: str) -> OwnCase:
    """Answer as the venue would: margins of a portfolio under its true parameters."""
    balances = [{"asset": "USDC", "amount": 10_000}]
    if coins:
        balances.append({"asset": "BTC", "amount": coins})
    position = {"instrument": "BTC_USDC-PERPETUAL", "quantity": quantity, "entry_price": 50_000}
    account = msgspec.convert(
        {
            "format": "crossmargin-account/1",
            "account": f"{quantity} and {coins}",
            "balances": balances,
            "positions": [position],
        },
        AccountFile,
    )
    done = evaluate(book_from_accounts([account]), snapshot_from_file(market()), rules)
    known = evaluation_figures(done)
    return OwnCase(
        format="crossmargin-case/1",
        name=account.account,
        ruleset="made-up",
        account=account,
        market=market(),
        expected={name: known[name] for name in figures or ("im", "mm", "equity_im")},
    )


def asked(*paths: str) -> list[Unknown]:
    return [Unknown(path=p, low=RANGES[p][0], high=RANGES[p][1]) for p in paths]


def test_every_figure_of_the_venue_is_found(rules: Ruleset) -> None:
    cases = [simulator(rules, q, c) for q, c in ((1, 0), (3, 0.5), (-7, 1), (0.5, 2))]
    done = infer(rules, asked(*TRUTH), cases)
    assert done.worst_relative_error < 1e-9
    for p in done.parameters:
        assert p.verdict == "identified" and not p.with_
        assert p.value == pytest.approx(TRUTH[p.path], rel=1e-8)
    # The fitted rule-set says which figures are not the file's own.
    assert set(done.ruleset.overrides) == set(TRUTH)


def test_what_no_figure_sees_is_named(rules: Ruleset) -> None:
    """Positions below the second bracket say nothing of it; without coins, nothing of haircuts."""
    cases = [simulator(rules, q, 0) for q in (0.5, 1.0, -1.5)]
    done = infer(rules, asked(LOW_IM, HIGH_IM, HAIRCUT), cases)
    verdicts = {p.path: p.verdict for p in done.parameters}
    assert verdicts == {LOW_IM: "identified", HIGH_IM: "not seen", HAIRCUT: "not seen"}


def test_what_only_the_sum_shows_is_named(rules: Ruleset) -> None:
    """Initial margins of small positions show the sum of rate and fee, and neither alone."""
    cases = [simulator(rules, q, 0, "im") for q in (0.5, 1.0, -1.5)]
    done = infer(rules, asked(LOW_IM, FEE), cases)
    assert done.worst_relative_error < 1e-9
    first, second = done.parameters
    assert first.verdict == second.verdict == "only in combination"
    assert (first.with_, second.with_) == ((FEE,), (LOW_IM,))
    assert first.value + second.value == pytest.approx(0.021, rel=1e-8)


def test_components_part_what_the_sum_hides(rules: Ruleset) -> None:
    cases = [simulator(rules, q, 0, "im", "components.fees.im") for q in (0.5, 1.0)]
    done = infer(rules, asked(LOW_IM, FEE), cases)
    assert [p.verdict for p in done.parameters] == ["identified", "identified"]


def test_a_range_that_excludes_the_truth_shows(rules: Ruleset) -> None:
    cases = [simulator(rules, q, 0, "im") for q in (0.5, 1.0)]
    (found,) = infer(rules, [Unknown(path=LOW_IM, low=0.03, high=0.1)], cases).parameters
    assert found.at_bound and found.value == pytest.approx(0.03)


def test_the_same_seed_gives_the_same_fit(rules: Ruleset) -> None:
    cases = [simulator(rules, q, 1) for q in (1, 3)]
    one, two = (infer(rules, asked(LOW_IM, FLOOR), cases, seed=7).as_dict() for _ in range(2))
    assert one == two


def test_refusals_are_sentences(rules: Ruleset) -> None:
    case = simulator(rules, 1, 0)
    with pytest.raises(InputError, match="a range is needed"):
        Unknown(path=FEE, low=0.1, high=0.1)
    with pytest.raises(InputError, match="nothing to fit"):
        infer(rules, [], [case])
    odd = msgspec.structs.replace(case, expected={"luck": 1.0})
    with pytest.raises(InputError, match="no figure that can be fitted"):
        infer(rules, asked(FEE), [odd])


def test_cheap_figures_are_the_statements_own(rules: Ruleset) -> None:
    case = simulator(rules, -7, 1)
    snapshot = snapshot_from_file(case.market)
    cheap = evaluation_figures(evaluate(book_from_accounts([case.account]), snapshot, rules))
    whole = statement_figures(make_statement(case.account, snapshot, rules))
    assert {name: whole[name] for name in cheap} == pytest.approx(cheap, rel=1e-12)


def test_a_venue_needs_a_file_and_no_code(tmp_path: Path, rules: Ruleset) -> None:
    """The made-up venue above is one string; its numbers follow by hand."""
    account = simulator(rules, 3, 1).account
    done = evaluate(book_from_accounts([account]), snapshot_from_file(market()), rules)
    notional = 3 * 50_010.0
    fee = 0.001 * notional
    assert done.im_usd == pytest.approx(0.02 * 100_000 + 0.05 * (notional - 100_000) + fee)
    assert done.mm_usd == pytest.approx(0.01 * 100_000 + 0.025 * (notional - 100_000) + fee)
    assert float(done.have.im.sum()) == pytest.approx(10_000 + 45_000 + 30.0)
