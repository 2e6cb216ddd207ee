"""States by data: which band holds, what the loader refuses, where the line is drawn."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from tests.helpers import PERP, account, fixture_g, flat_rate, frame, rules

from crossmargin.errors import RulesetError
from crossmargin.margin import liquidation_prices, load_ruleset, make_statement
from crossmargin.margin.components import StateBand
from crossmargin.reports.rulesets import print_ruleset


def band(state: str, meaning: str, ratio: str, **threshold: float) -> dict[str, Any]:
    return {
        "state": state,
        "meaning": meaning,
        "ratio": ratio,
        "source": "s",
        "confidence": "house",
        **threshold,
    }


def made(*bands: dict[str, Any]) -> Any:
    return rules(flat_rate(0.10, 0.05), states=list(bands))


@pytest.mark.parametrize(
    ("ratio", "threshold", "equity", "expected"),
    [
        ("equity/mm", {"at_most": 1.05}, 105.0, True),
        ("equity/mm", {"below": 1.05}, 105.0, False),
        ("equity/mm", {"below": 1.05}, 104.999, True),
        ("equity/mm", {"below": 1.05}, -1.0, True),
        ("mm/equity", {"above": 0.95}, 100 / 0.95, False),
        ("mm/equity", {"at_least": 0.5}, 200.0, True),
        ("mm/equity", {"above": 0.95}, 0.0, True),
        ("mm/equity", {"above": 0.95}, -5.0, True),
        ("equity-mm", {"below": 0.0}, 100.0, False),
        ("equity-mm", {"below": 10.0}, 109.0, True),
        ("equity", {"below": 0.0}, 0.0, False),
        ("equity", {"at_most": 0.0}, 0.0, True),
    ],
)
def test_bands(ratio: Any, threshold: dict[str, float], equity: float, expected: bool) -> None:
    one = StateBand(
        state="x", meaning="liquidation", ratio=ratio, source="s", confidence="house", **threshold
    )
    assert one.holds(equity, 100.0) is expected


def test_nothing_can_be_called_where_nothing_is_required() -> None:
    one = StateBand(
        state="x",
        meaning="liquidation",
        ratio="equity/mm",
        below=1.0,
        source="s",
        confidence="house",
    )
    assert not one.holds(-10.0, 0.0)


@pytest.mark.parametrize(
    ("bands", "code"),
    [
        ([band("a", "liquidation", "equity/mm")], "RUL-001"),
        ([band("a", "liquidation", "equity/mm", below=1.0, at_most=2.0)], "RUL-001"),
        ([band("a", "liquidation", "equity/mm", above=1.0)], "RUL-001"),
        ([band("a", "liquidation", "mm/equity", below=1.0)], "RUL-001"),
        ([band("a", "liquidation", "equity/mm", below=0.0)], "RUL-001"),
        ([band("a", "gone", "equity/mm", below=1.0)], "RUL-001"),
        ([{**band("a", "healthy", "equity/mm", below=1.0), "source": "hearsay"}], "RUL-005"),
        ([band("a", "healthy", "equity/mm", below=1.0)] * 2, "RUL-005"),
        (
            [
                band("a", "healthy", "equity/mm", below=2.0),
                band("b", "liquidation", "equity/mm", below=1.0),
            ],
            "RUL-005",
        ),
    ],
)
def test_refused(bands: list[dict[str, Any]], code: str) -> None:
    with pytest.raises(RulesetError) as caught:
        made(*bands)
    assert caught.value.code == code


def test_the_line_moves_the_liquidation_price() -> None:
    """Long 1 at 50,000 with 10,000: E = k·MM at (P − 40,000) = k·0.05·P."""
    who = account((PERP, 1.0, 50_000.0), balances={"USDC": 10_000.0})
    for bands, factor in (
        ([], 1.0),
        ([band("a", "liquidation", "equity/mm", at_most=1.2)], 1.2),
        ([band("a", "liquidation", "mm/equity", above=0.8)], 1.25),
        ([band("a", "reduce-only", "equity/mm", at_most=1.2)], 1.0),
    ):
        solved = liquidation_prices(frame(who, made(*bands), fixture_g()))[0]
        assert solved.down.price_usd == pytest.approx(40_000 / (1 - factor * 0.05), rel=1e-9)
    margin = made(band("a", "liquidation", "equity-mm", below=1_000.0))
    solved = liquidation_prices(frame(who, margin, fixture_g()))[0]
    assert solved.down.price_usd == pytest.approx(41_000 / 0.95, rel=1e-9)


def test_statement_says_both_words() -> None:
    """MM is 2,500 and IM 5,000: below 1.2·MM the venue closes, though equity covers MM."""
    ours = made(
        band("closing", "liquidation", "equity/mm", at_most=1.2),
        band("watch", "healthy", "equity/mm", at_most=4.0),
    )
    for balance, state, word in (
        (10_001.0, "healthy", ""),
        (10_000.0, "healthy", "watch"),
        (4_000.0, "reduce-only", "watch"),
        (3_000.0, "liquidation", "closing"),
    ):
        who = account((PERP, 1.0), balances={"USDC": balance})
        t = make_statement(who, fixture_g(), ours, solve=False).totals
        assert (t.state, t.venue_state) == (state, word)


def test_a_looser_line_lets_live() -> None:
    """A venue that closes below 0.5·MM does not close at 0.9, whatever the house would say."""
    ours = made(band("closing", "liquidation", "equity/mm", below=0.5))
    who = account((PERP, 1.0), balances={"USDC": 2_250.0})
    t = make_statement(who, fixture_g(), ours, solve=False).totals
    assert (t.state, t.venue_state) == ("reduce-only", "")


def test_shown() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    print_ruleset(console, load_ruleset("binance-pm"))
    text = console.export_text()
    assert "claim for loss" in text and "equity/MM ≤ 1.05" in text
    assert "traded: perpetual, future, inverse-perpetual, inverse-future" in text
