"""Root finding on plain functions: smooth, with jumps, flat, and not monotone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest

from crossmargin.margin._crossing import close_in, largest_prefix, outward


class TestOutward:
    def test_ends_on_the_limit_on_both_sides(self) -> None:
        for sign, limit in ((-1.0, math.log(0.01)), (1.0, math.log(20.0))):
            points = list(outward(sign, limit))
            assert points[-1] == limit
            assert all(0 < abs(a) < abs(b) for a, b in itertools.pairwise(points))
            assert abs(points[0]) == pytest.approx(0.03)

    def test_no_room_gives_no_points(self) -> None:
        assert list(outward(1.0, 0.0)) == []


CURVES: dict[str, tuple[Callable[[float], float], float]] = {
    "a line": (lambda x: 1.0 - x, 1.0),
    "a steep curve": (lambda x: math.exp(3.0) - math.exp(3.0 * x), 1.0),
    "a jump": (lambda x: 5.0 if x <= 0.7 else -1e9, 0.7),
    "flat, then falling": (lambda x: 0.0 if x <= 0.3 else 0.3 - x, 0.3),
    "minus infinity beyond": (lambda x: 1.0 if x <= 0.9 else -math.inf, 0.9),
}


@pytest.mark.parametrize("name", CURVES)
def test_close_in_holds_the_crossing(name: str) -> None:
    f, root = CURVES[name]
    calls = []

    def counted(x: float) -> float:
        calls.append(x)
        return f(x)

    got = close_in(counted, 0.0, f(0.0), 2.0, f(2.0))
    assert got.dead is not None and got.at_dead is not None
    assert got.at_safe >= 0 > got.at_dead
    assert got.safe <= root + 1e-12 and got.dead >= root - 1e-12
    assert abs(got.dead - got.safe) <= 2e-13
    # The values returned are those of the points, not of the algorithm's weights.
    assert got.at_safe == f(got.safe) and got.at_dead == f(got.dead)
    assert len(calls) < 70


def test_smooth_curves_take_few_evaluations() -> None:
    calls = []

    def f(x: float) -> float:
        calls.append(x)
        return 70_000.0 * math.exp(x) - 40_000.0

    close_in(f, -0.54, f(-0.54), -0.57, f(-0.57))
    assert len(calls) <= 16


class TestLargestPrefix:
    def of(self, f: Callable[[float], float], **more: object) -> object:
        options = {"first": 1.0, "cap": 1e9, "least": 1e-6, **more}
        return largest_prefix(f, **options).bracket  # type: ignore[arg-type]

    def test_a_line(self) -> None:
        got = self.of(lambda x: 123.456 - x)
        assert got.safe == pytest.approx(123.456, rel=1e-12)
        assert got.safe <= 123.456 < got.dead

    def test_far_below_the_first_guess(self) -> None:
        assert self.of(lambda x: 1e-4 - x).safe == pytest.approx(1e-4, rel=1e-12)

    def test_nothing_fits(self) -> None:
        got = self.of(lambda x: -x)
        assert (got.safe, got.dead) == (0.0, 1e-6)

    def test_unbounded(self) -> None:
        got = self.of(lambda x: 1.0)
        assert (got.safe, got.dead, got.at_dead) == (1e9, None, None)

    def test_recovery_beyond_a_gap_is_not_reached(self) -> None:
        # Fails between 10 and 40, passes again up to 1,000: the prefix ends at 10.
        got = self.of(lambda x: -1.0 if 10 < x < 40 or x > 1_000 else 1.0)
        assert got.safe == pytest.approx(10.0, rel=1e-12)

    def test_a_gap_between_the_doublings_is_found_on_the_second_look(self) -> None:
        # 1, 2, 4, ... step over (520, 620); sixteenths of the answer 1,000 do not.
        got = self.of(lambda x: min(abs(x - 570.0) - 50.0, 1_000.0 - x))
        assert got.safe == pytest.approx(520.0, rel=1e-12)

    def test_marks_are_visited(self) -> None:
        spike = lambda x: -1.0 if abs(x - 333.0) < 0.5 else 1_000.0 - x
        assert self.of(spike).safe > 900  # too narrow to be found unasked
        assert self.of(spike, marks=(333.0,)).safe == pytest.approx(332.5, rel=1e-12)
