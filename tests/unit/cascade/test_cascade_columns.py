"""The compiled default impact of a run against the rule that it stands for."""

import numpy as np
import pytest

from crossmargin.cascade._log_linear import log_linear
from crossmargin.cascade.impact import LogLinear, fill


@pytest.mark.parametrize("start", [None, (40_000.0, 3_500.0, 90.0, 1.0)])
def test_the_compiled_fill_is_the_rules(start):
    draw = np.random.default_rng(3)
    price = np.array([50_000.0, 3_000.0, 100.0, 2.0])
    base = price if start is None else np.array(start)
    for case in range(200):
        depth = np.where(draw.random(4) < 0.2, np.inf, price * draw.lognormal(3.0, 1.0, 4))
        first = np.where(draw.random(4) < 0.3, 0.0, draw.normal(0.0, 5.0, 4))
        more = np.where(draw.random(4) < 0.3, 0.0, draw.normal(0.0, 5.0, 4))
        if case % 4 == 0:
            more *= 1e-13
        there = fill(LogLinear(start=start), first, more, depth, price)
        move, average, filled = np.empty(4), np.empty(4), np.empty(4)
        log_linear(first, more, depth, price, base, move, average, filled)
        assert filled.tobytes() == there.filled.tobytes()
        np.testing.assert_allclose(move, there.move, rtol=1e-13, atol=0.0)
        np.testing.assert_allclose(average, there.price, rtol=1e-12)
