"""States of many accounts are those of their statements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossmargin.book import book_from_accounts, compact_book
from crossmargin.errors import InputError
from crossmargin.margin import (
    ACCOUNT_STATES,
    BookColumns,
    account_states,
    below_line,
    evaluate_compact,
    load_ruleset,
    make_statement,
    states_by_numbers,
)
from crossmargin.margin._exact_sum import ExactSums
from crossmargin.market import MovedMarket
from crossmargin.venues import load_account, load_market

NAMES = ("covered-call", "basis-trader", "short-vol-desk", "directional")


def columns(**changes: object) -> BookColumns:
    one = np.array([1.0])
    made = BookColumns(
        equity=one * 100,
        equity_im=one * 90,
        im=one * 80,
        mm=one * 50,
        health=one * 2.0,
        protected=np.array([False]),
        failures={},
        components={},
        engine="made",
        sums=ExactSums(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("ruleset", ["deribit-pm-cross", "derive-pm2", "deribit-sm-cross"])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8, 1.0, 1.25, 1.6])
def test_as_the_statement_says(ruleset: str, share: float) -> None:
    """Accounts of one pot, in markets from calm to ruin."""
    accounts = [load_account(name) for name in NAMES]
    book = compact_book(book_from_accounts(accounts))
    calm, rules = load_market("calm-2026-02-03"), load_ruleset(ruleset)
    prices = {coin: calm.assets[coin].price_usd * share for coin in ("BTC", "ETH")}
    world = MovedMarket(calm, book.registry).at(prices)
    found = account_states(evaluate_compact(book, world, rules, engine="vectorised"), rules)
    seen = {}
    for account in accounts:
        try:
            seen[account.account] = make_statement(account, world, rules, solve=False).totals.state
        except Exception as error:
            assert isinstance(error.code, str)  # type: ignore[attr-defined]
            seen[account.account] = "failed"
    ours = {book.name(k): ACCOUNT_STATES[found[k]] for k in range(book.size)}
    assert ours == seen


def test_every_state_is_met_in_those_markets() -> None:
    """The test above would prove nothing if all accounts were healthy."""
    accounts = [load_account(name) for name in NAMES]
    book = compact_book(book_from_accounts(accounts))
    calm, rules = load_market("calm-2026-02-03"), load_ruleset("deribit-pm-cross")
    seen = set()
    for share in np.linspace(0.3, 1.8, 31):
        prices = {coin: calm.assets[coin].price_usd * share for coin in ("BTC", "ETH")}
        world = MovedMarket(calm, book.registry).at(prices)
        found = account_states(evaluate_compact(book, world, rules, engine="vectorised"), rules)
        seen |= {ACCOUNT_STATES[k] for k in found}
    assert seen >= {"healthy", "reduce-only", "liquidation", "bankrupt"}


class TestNumbers:
    RULES = load_ruleset("isolated")

    def state(self, **changes: object) -> str:
        found = columns(**{k: np.array([v]) for k, v in changes.items()})
        return ACCOUNT_STATES[account_states(found, self.RULES)[0]]

    def test_lines(self) -> None:
        assert self.state() == "healthy"
        assert self.state(equity_im=79.0) == "reduce-only"
        assert self.state(equity_im=80.0) == "healthy"
        assert self.state(health=1.0) == "healthy"
        assert self.state(health=np.nextafter(1.0, 0)) == "liquidation"
        assert self.state(health=-0.1) == "bankrupt"
        assert self.state(health=-np.inf, mm=0.0) == "bankrupt"
        assert self.state(health=np.inf, mm=0.0) == "healthy"
        assert self.state(health=0.0) == "liquidation"

    def test_protected_and_failed(self) -> None:
        assert self.state(health=0.5, protected=True) == "protected"
        assert self.state(health=np.nan, equity=np.nan, protected=True) == "failed"
        low = columns(health=np.array([0.5]), protected=np.array([True]))
        assert not below_line(low, self.RULES).any()
        assert ACCOUNT_STATES[states_by_numbers(low, self.RULES)[0]] == "liquidation"

    def test_a_line_of_the_venue_decides_over_mm(self) -> None:
        """Whatever line a rule-set draws, the state is the statement's."""
        for name in ("drift-v2", "okx-multi", "binance-pm", "mango-v4"):
            rules = load_ruleset(name)
            bands = [b for b in rules.data.states if b.meaning == "liquidation"]
            for band in bands:
                k, amount = band.line
                for health in (0.2, 0.9, 0.999, 1.0, 1.04, 1.2, 2.0):
                    mm = 50.0
                    equity = health * mm
                    made = columns(
                        equity=np.array([equity]),
                        equity_im=np.array([1e9]),
                        mm=np.array([mm]),
                        health=np.array([health]),
                    )
                    from crossmargin.margin.states import pot_state

                    expected = pot_state(rules, 1e9, equity, 80.0, mm).state
                    found = ACCOUNT_STATES[states_by_numbers(made, rules)[0]]
                    assert found == expected, (name, k, amount, health)


def test_an_account_that_cannot_be_computed_is_below_no_line() -> None:
    failures = {0: InputError("no", code="INP-001")}
    made = columns(health=np.array([np.nan]), failures=failures)
    assert not below_line(made, load_ruleset("isolated")).any()
