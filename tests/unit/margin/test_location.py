"""Balances by where they are: bridges, proofs, transfers on their way, and a chain that stops."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers import AS_OF, PERP, account, done, flat_rate, market, rules

from crossmargin.book import (
    account_without_location,
    book_from_accounts,
    book_without_location,
    select_accounts,
)
from crossmargin.errors import InputError, RulesetError
from crossmargin.margin import evaluate_book, location_stress, make_statement, recompute

MARKET = market({"BTC": 50_000.0, "USDC": 1.0}, marks={PERP: 50_000})
BRIDGE = {"chain-x": {"haircut": 0.1, "max_proof_age_s": 600.0}, "venue": {}}


def located(locations: dict[str, Any] | None = None, **assets: Any) -> Any:
    return rules(
        flat_rate(0.1, 0.05),
        collateral={
            "source": "s",
            "confidence": "house",
            "haircut_levels": ["im", "mm"],
            "assets": {"USDC": {}, "BTC": {}, **assets},
            "locations": BRIDGE if locations is None else locations,
        },
    )


def cash(amount: float = 100_000.0, *, minutes: int | None = 5, **more: Any) -> dict[str, Any]:
    """Cash at chain-x proved so many minutes before the market's moment (08:00)."""
    row: dict[str, Any] = {"asset": "USDC", "amount": amount, "location": "chain-x", **more}
    if minutes is not None:
        row["proof_time"] = f"2026-02-25T07:{60 - minutes:02d}:00Z"
    return row


def counted(*balances: dict[str, Any], rule_set: Any = None) -> tuple[float, float]:
    have = done(rule_set or located(), MARKET, balances=list(balances)).have
    return float(have.im.sum()), float(have.mm.sum())


class TestRowB19:
    def test_fresh_proof_counts_less_the_bridge(self) -> None:
        assert AS_OF == "2026-02-25T08:00:00Z"
        assert counted(cash()) == (90_000.0, 90_000.0)

    def test_stale_or_missing_proof_counts_nothing(self) -> None:
        assert counted(cash(minutes=10)) == (90_000.0, 90_000.0)
        assert counted(cash(minutes=11)) == (0.0, 0.0)
        assert counted(cash(minutes=None)) == (0.0, 0.0)

    def test_a_proof_of_later_proves_nothing_now(self) -> None:
        later = {**cash(), "proof_time": "2026-02-25T08:00:01Z"}
        assert counted(later) == (0.0, 0.0)

    def test_asset_and_bridge_haircuts_multiply(self) -> None:
        rule_set = located(USDC={"haircut": 0.2})
        assert counted(cash(), rule_set=rule_set)[0] == pytest.approx(100_000 * 0.8 * 0.9)

    def test_in_flight_counts_nothing_and_never_twice(self) -> None:
        assert counted(cash(pending=True)) == (0.0, 0.0)
        # While it is on its way it may stand at both ends: only what has arrived counts.
        here = {"asset": "USDC", "amount": 40_000.0, "location": "venue"}
        assert counted(cash(pending=True), here) == (40_000.0, 40_000.0)
        assert counted(cash(), cash(pending=True)) == (90_000.0, 90_000.0)

    def test_pending_counts_nothing_without_rules_for_locations_too(self) -> None:
        assert counted(cash(pending=True), rule_set=located({})) == (0.0, 0.0)

    def test_chain_down_runs_the_health_of_all_accounts_again(self) -> None:
        far = account((PERP, 2.0), balances=[cash(9_000.0)], name="far")
        near = account(
            (PERP, 2.0),
            balances=[cash(9_000.0), {"asset": "USDC", "amount": 6_000.0, "location": "venue"}],
            name="near",
        )
        home = account((PERP, 2.0), balances={"USDC": 9_000.0}, name="home")
        book = book_from_accounts([far, near, home])
        made = location_stress(book, MARKET, located(), "chain-x")
        assert made.before.health == pytest.approx([8_100 / 5_000, 14_100 / 5_000, 9_000 / 5_000])
        assert made.after.health == pytest.approx([0.0, 6_000 / 5_000, 9_000 / 5_000])
        assert made.held.tolist() == [True, True, False]
        assert made.breached.tolist() == [True, False, False]


class TestRules:
    def test_debt_is_owed_wherever_it_is(self) -> None:
        assert counted(cash(-1_000.0, minutes=None)) == (-1_000.0, -1_000.0)
        debtor = account(balances=[cash(-1_000.0), cash(5.0, pending=True)])
        down = account_without_location(debtor, "chain-x")
        assert [b.amount for b in down.balances] == [-1_000.0, 0.0]

    def test_a_location_that_is_not_named_is_refused(self) -> None:
        elsewhere = {"asset": "USDC", "amount": 1.0, "location": "elsewhere"}
        with pytest.raises(RulesetError) as caught:
            counted(elsewhere)
        assert caught.value.code == "RUL-027"
        rest = {**BRIDGE, "default": {"haircut": 0.5}}
        assert counted(elsewhere, rule_set=located(rest)) == (0.5, 0.5)
        assert counted(elsewhere, rule_set=located({})) == (1.0, 1.0)

    def test_the_bridge_touches_a_pots_own_currency_too(self) -> None:
        rule_set = rules(
            flat_rate(0.1, 0.05),
            pools={"by": "settlement"},
            collateral={"source": "s", "confidence": "house", "locations": BRIDGE},
        )
        assert counted(cash(), rule_set=rule_set) == (90_000.0, 90_000.0)

    def test_unproved_coins_are_not_stressed_either(self) -> None:
        from tests.helpers import scan_rules

        body = {"source": "s", "confidence": "house", "locations": BRIDGE}
        rule_set = scan_rules(
            collateral={**body, "assets": {"BTC": {"stress": "both"}, "USDC": {}}}
        )
        coin = {"asset": "BTC", "amount": 1.0, "location": "chain-x"}
        short = done(rule_set, MARKET, (PERP, -1.0), balances=[coin])
        # The coin would hedge the short; without a proof it does not.
        assert short.need.im.sum() == pytest.approx(8_000)
        proved = done(rule_set, MARKET, (PERP, -1.0), balances=[{**coin, "proof_time": AS_OF}])
        assert proved.need.im.sum() == pytest.approx(0.0, abs=1e-9)

    def test_statement_says_it_and_verifies(self) -> None:
        who = account((PERP, 1.0), balances=[cash(minutes=None), cash(50.0, pending=True)])
        made = make_statement(who, MARKET, located())
        assert [b.status for b in made.balances] == ["stale", "pending"]
        assert [b.location for b in made.balances] == ["chain-x", "chain-x"]
        assert [b.amount for b in made.balances] == [100_000.0, 50.0]
        assert sum(b.collateral_usd for b in made.balances) == made.totals.collateral == 0.0
        assert any("100,000 USDC at chain-x (its proof" in note for note in made.notes)
        assert recompute(made) == made

    def test_later_valuation_makes_a_proof_stale(self) -> None:
        who = account(balances=[cash(minutes=1)])
        later = MARKET.at(MARKET.as_of_ns + 10 * 60 * 10**9)
        rule_set = located()
        assert make_statement(who, MARKET, rule_set).totals.equity == 90_000.0
        assert make_statement(who, later, rule_set).totals.equity == 0.0


class TestBook:
    def test_columns(self) -> None:
        who = account(
            balances=[
                cash(7.0, minutes=None),
                {"asset": "USDC", "amount": 1.0},
                cash(8.0, pending=True),
                {"asset": "BTC", "amount": 2.0, "location": "venue", "proof_time": AS_OF},
            ]
        )
        book = book_from_accounts([who])
        assert book.locations == ["chain-x", "venue"]
        assert book.balance_location.tolist() == [0, -1, 0, 1]
        assert book.balance_pending.tolist() == [False, False, True, False]
        assert book.balance_proof_ns.tolist()[:2] == [-1, -1]
        assert book.balance_proof_ns[3] == MARKET.as_of_ns
        other = account(balances=[{"asset": "USDC", "amount": 1.0, "location": "venue"}], name="b")
        both = book_from_accounts([who, other])
        kept = select_accounts(both, [1])
        assert kept.balance_location.tolist() == [1] and kept.locations == book.locations

    def test_bad_entries_are_refused(self) -> None:
        for row, code in (
            (cash(-1.0, pending=True), "INP-006"),
            ({**cash(), "proof_time": "yesterday"}, "INP-010"),
        ):
            with pytest.raises(InputError) as caught:
                book_from_accounts([account(balances=[row])])
            assert caught.value.code == code

    def test_a_location_where_nothing_is_cannot_be_down(self) -> None:
        who = account(balances=[cash()])
        for ask in (
            lambda: account_without_location(who, "nowhere"),
            lambda: book_without_location(book_from_accounts([who]), "nowhere"),
        ):
            with pytest.raises(InputError, match="chain-x") as caught:
                ask()
            assert caught.value.code == "INP-016"

    def test_account_and_book_agree_on_what_is_gone(self) -> None:
        who = account((PERP, 1.0), balances=[cash(), {"asset": "USDC", "amount": 3e3}])
        one = evaluate_book(
            book_from_accounts([account_without_location(who, "chain-x")]), MARKET, located()
        )
        book = book_without_location(book_from_accounts([who]), "chain-x")
        two = evaluate_book(book, MARKET, located())
        assert one.equity.tolist() == two.equity.tolist() == [3_000.0]


def test_a_rule_set_says_how_locations_count() -> None:
    from crossmargin.reports.rulesets import asset_words, collateral_words

    said = " ".join(collateral_words(located().data.collateral))
    assert "chain-x: bridge haircut 10 %, nothing without a proof of the last 600 s" in said
    rule = located(BTC={"im": {"kind": "flat", "factor": 0.9}, "liability_im": 1.1}).data
    assert asset_words(rule.collateral.assets["BTC"]) == (
        "IM: 0.9 of value; MM: haircut 0 %; debt × 1.1 at IM"
    )
