"""Circuit breakers: row B10, tiers, pauses, hysteresis."""

from __future__ import annotations

import pytest

from crossmargin.errors import LiquidationError
from crossmargin.liquidation import (
    Breaker,
    BreakerState,
    breaker,
    breaker_at_rest,
    breakers_from_toml,
    observe,
)

SECOND = 1_000_000_000


def cascade(
    terms: Breaker | None, *, rho: float = 1.8, impact: float = 0.5
) -> tuple[float, list[str]]:
    """Row A02 in small steps: a shock of 1,000, ρ units become liquidatable per unit of fall.

    What is not yet sold is sold a little at a time; each sale moves the price by the impact.
    Returns the total fall and the breaker's phases.
    """
    start, step = 100_000.0, 0.5
    fall, sold, now = 1_000.0, 0.0, 0
    state = breaker_at_rest(now, start)
    phases = ["open"]
    for _ in range(10_000_000):
        if terms is not None:
            now += SECOND // 100
            state, changes = observe(terms, state, now, start - fall)
            phases += [c.phase for c in changes]
            if state.phase == "reopening":
                impact = 0.5 * terms.impact_factor
            if state.phase == "halted":
                # No fills during a halt; the clock, and all that accrues with it, goes on.
                assert state.until_ns is not None
                now = state.until_ns
                continue
        due = rho * fall - sold
        if due < 1e-9:
            break
        sale = min(step, due)
        sold += sale
        fall += impact * sale
    return fall, phases


def test_row_b10_without() -> None:
    fall, _ = cascade(None)
    assert fall == pytest.approx(10_000, rel=1e-6)


def test_row_b10_with_a_breaker() -> None:
    """Halt at 1,500, reopen with impact halved: 2,272.73."""
    fall, phases = cascade(breaker("row-b10"))
    assert fall == pytest.approx(1_250 / 0.55, rel=1e-4)
    assert round(1_250 / 0.55, 2) == 2272.73
    assert phases[:3] == ["open", "halted", "reopening"] and phases.count("halted") == 1


def run(terms: Breaker, prices: list[tuple[float, float]]) -> tuple[BreakerState, list[str]]:
    state = breaker_at_rest(0, prices[0][1])
    said: list[str] = []
    for seconds, price in prices:
        state, changes = observe(terms, state, round(seconds * SECOND), price)
        said += [f"{c.time_ns / SECOND:g} {c.phase}" for c in changes]
    return state, said


def test_tiers_pause_and_reopen() -> None:
    terms = breaker("three-tiers")
    state, said = run(terms, [(0, 100), (10, 94), (20, 93)])
    assert said == ["20 halted"] and state.tier == 1 and state.margin_factor == 1.1
    assert not state.fills and state.until_ns == 920 * SECOND
    # A gap through two tiers at once takes the longer.
    state, _ = run(terms, [(0, 100), (10, 86)])
    assert state.tier == 2 and state.margin_factor == 1.25
    # Half a minute late, and both the pause and the auction ended at their own moments.
    state, said = run(terms, [(0, 100), (10, 93), (1_300, 93)])
    assert said == ["10 halted", "910 reopening", "1210 open"] and state.fills


def test_no_immediate_retrigger() -> None:
    terms = breaker("three-tiers")
    _, said = run(terms, [(0, 100), (10, 93), (1_211, 92), (1_212, 80)])
    assert said[-1] == "1210 open", "within the time to cool off nothing trips"
    # Afterwards falls count from where it halted: 93, not 100.
    _, said = run(terms, [(0, 100), (10, 93), (1_211, 92), (2_111, 87)])
    assert said[-1] == "1210 open"
    _, said = run(terms, [(0, 100), (10, 93), (1_211, 92), (2_111, 86)])
    assert said[-1] == "2111 halted"


def test_margins_stay_up_until_half_is_made_good() -> None:
    terms = breaker("three-tiers")
    state, _ = run(terms, [(0, 100), (10, 92), (1_211, 95.9)])
    assert state.margin_factor == 1.1
    state, _ = run(terms, [(0, 100), (10, 92), (1_211, 95.9), (1_212, 96)])
    assert state.margin_factor == 1.0 and state.tier == 0


def test_the_reference_leaves_the_window() -> None:
    terms = breaker("row-b10")
    day = 86_400
    _, said = run(terms, [(0, 10_000), (10, 9_000), (day + 1, 8_400)])
    assert said == []
    _, said = run(terms, [(0, 10_000), (10, 9_000), (day, 8_500)])
    assert said == [f"{day} halted"]


def test_bad_questions() -> None:
    terms, state = breaker("row-b10"), breaker_at_rest(10, 100)
    with pytest.raises(LiquidationError, match="LIQ-010"):
        observe(terms, state, 5, 100)
    with pytest.raises(LiquidationError, match="LIQ-001"):
        observe(terms, state, 15, 0)
    with pytest.raises(LiquidationError, match="LIQ-003"):
        breaker("nobody")
    text = """
format = "crossmargin-breakers/1"
[sources.a]
title = "t"
date = "d"
[[breakers]]
id = "x"
title = "x"
source = "a"
confidence = "house"
window_s = 1.0
[[breakers.tiers]]
pause_s = 1.0
"""
    with pytest.raises(LiquidationError, match="fall_rel or fall_abs"):
        breakers_from_toml(text)
    twice = text + "fall_abs = 1.0\n"
    twice += twice[twice.index("[[breakers]]") :]
    with pytest.raises(LiquidationError, match="twice"):
        breakers_from_toml(twice)
