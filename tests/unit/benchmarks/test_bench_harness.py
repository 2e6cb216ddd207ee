"""Arithmetic of the harness: ratios, slopes, verdicts, and a loop that turns its order."""

from __future__ import annotations

import math

import pytest
from benchmarks.calibration import fma_case, fma_loop, latency_ns
from benchmarks.harness import (
    SCALES,
    Measure,
    Series,
    Timing,
    fastest,
    interleaved,
    log_slope,
    memory_of,
    number,
    peak_memory,
    ratio_row,
    report,
    target,
    targets,
    with_unit,
)

TINY = SCALES["tiny"]


@pytest.mark.parametrize(
    ("better", "value", "verdict"),
    [
        ("higher", 12.0, "aim met"),
        ("higher", 11.9, "met"),
        ("higher", 5.0, "met"),
        ("higher", 4.99, "missed"),
        ("lower", 1.0, "aim met"),
        ("lower", 2.0, "missed"),
        ("higher", None, "not measured"),
    ],
)
def test_verdicts(better: str, value: float | None, verdict: str) -> None:
    lines = (5.0, 12.0) if better == "higher" else (1.5, 1.0)
    row = Measure("x", *lines, None, value, "x", "", better=better)  # type: ignore[arg-type]
    assert row.verdict == verdict


def test_a_row_without_lines_is_reported_and_scatter_is_said() -> None:
    assert report("x", 3.0, "ms").verdict == "reported"
    assert Measure("x", 5.0, None, None, 6.0, "x", "", steady=False).verdict == "met, unsteady"


def test_zero_can_be_a_line() -> None:
    assert target("screen", 0.0, "all").verdict == "aim met"
    assert target("screen", 1.0, "all").verdict == "missed"


def test_ratios_are_formed_within_rounds() -> None:
    slow, fast = Timing((2.0, 9.0, 4.0)), Timing((1.0, 3.0, 4.0))
    ratio = slow.over(fast)
    assert (ratio.median, ratio.low, ratio.high) == (2.0, 1.0, 3.0)
    assert slow.over(fast, 0.5).median == 1.0
    with pytest.raises(ValueError, match="one loop"):
        slow.over(Timing((1.0,)))


def test_in_doubt_the_rival_is_favoured() -> None:
    """A rival held up in most rounds counts with its best time."""
    held_up, ours = Timing((1.0, 50.0, 60.0)), Timing((0.5, 0.5, 0.5))
    row = ratio_row("grid-torch-32", held_up, ours, "")
    assert row.value == 2.0
    assert row.verdict == "met, unsteady"
    even = ratio_row("grid-torch-32", Timing((1.0, 1.1, 1.2)), Timing((0.5, 0.5, 0.5)), "")
    assert even.value == 2.0 and even.steady


def test_the_loop_turns_its_order_and_warms_up() -> None:
    seen: list[str] = []
    times = interleaved({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, TINY)
    assert "".join(seen) == "ab" + "ab" + "ba"
    assert {name: len(t.seconds) for name, t in times.items()} == {"a": 2, "b": 2}


def test_fastest_is_by_best_time() -> None:
    import time

    assert fastest({"slow": lambda: time.sleep(0.005), "quick": lambda: None}) == "quick"


@pytest.mark.parametrize("power", [0.0, 1.0, 1.7])
def test_slope_of_a_power_law(power: float) -> None:
    xs = [10.0, 30.0, 1000.0]
    assert log_slope(xs, [3 * x**power for x in xs]) == pytest.approx(power, abs=1e-12)
    assert math.isnan(log_slope([5.0], [1.0]))
    assert Series("p", "l", "x", "y", (1.0, 2.0), (5.0, 10.0)).slope == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123456, "0.0123"), (1.0, "1"), (12.34, "12.3"), (1234567.0, "1,234,567"), (0, "0"),
     (None, "–"), ("as it was", "as it was"), (0.999999, "1"), (-4.0, "-4")],
)  # fmt: skip
def test_numbers(value: float | str | None, text: str) -> None:
    assert number(value) == text


def test_units() -> None:
    assert with_unit(8.4, "x") == "8.4×"
    assert with_unit(40.0, "%") == "40 %"
    assert with_unit(None, "ms") == "–"


def test_every_row_of_the_issue_has_a_target() -> None:
    wanted = {
        "grid-peak": (40, 70), "grid-scipy-1": (8, 15), "grid-scipy-2": (13, 30),
        "grid-torch-32": (2, 4), "grid-torch-256": (7, 12), "grid-torch-1000": (8, 12),
        "full-deribit-pm": (3, 1.5), "full-derive-pm2": (3, 1.5), "es-tail": (5, 12),
        "es-tail-32": (5, 12),
        "tick-most": (4, 50), "tick-few": (30, 50), "path": (6, 40),
        "tick-flag-p50": (5, 1), "tick-flag-p99": (25, 5),
        "pretrade-p50": (5, 2), "pretrade-p99": (50, 10), "threads": (1.7, 1.9),
        "memory": (200, None), "memory-caches": (None, None), "screen": (0, 0),
        "bad-rows": (1.2, None), "validation": (60, None),
        "cascade-brute": (6, 40), "cascade-run": (15, 5), "cascade-memory": (500, 300),
        "cascade-paths": (5, 2),
    }  # fmt: skip
    assert {key: (row.at_least, row.aim) for key, row in targets().items()} == wanted
    with pytest.raises(KeyError):
        target("nonsense", 1.0, "")


@pytest.mark.parametrize(("single", "width"), [(False, 32), (True, 32), (False, 64)])
def test_the_peak_loop_does_what_is_counted(single: bool, width: int) -> None:
    """Its sum is that of the recurrence x ← 0.999 x + 0.001 in every lane of every vector."""
    rounds, accumulators = 50, 8
    lanes = width // (4 if single else 8)
    wanted = 0.0
    for k in range(accumulators):
        x = 1.0 + k
        for _ in range(rounds):
            x = 0.999 * x + 1e-3
        wanted += lanes * x
    assert fma_loop(single, width, accumulators)(rounds) == pytest.approx(
        wanted, rel=1e-5 if single else 1e-12
    )


def test_calibration_is_of_the_size_of_a_machine() -> None:
    call, flops = fma_case(seconds=0.001)
    call()
    assert flops >= 2 * 8 * 4 * 1_000
    assert 0.1 < latency_ns(1 << 15, 20_000) < 1_000


def test_memory_of_a_call() -> None:
    import numpy as np

    assert peak_memory() > 10 << 20
    grown = memory_of(lambda: np.ones(8 << 20).sum())
    assert 64 << 20 <= grown < 65 << 20
