"""Delta, gamma and vega against full revaluation (requirements B04)."""

from __future__ import annotations

import numpy as np
import pytest

from crossmargin.errors import PricingError
from crossmargin.scenarios import full_pnl, taylor_check, taylor_pnl

#: Fixture G: a short straddle at 50,000, thirty days, volatility 60 %.
STRADDLE = (
    np.full(2, 50_000.0), np.full(2, 50_000.0), np.full(2, 30 / 365), np.full(2, 0.6),
    np.array([True, False]), np.array([-1.0, -1.0]),
)  # fmt: skip


def test_b04_errors_of_the_straddle() -> None:
    move = np.array([0.01, 0.16])
    full, quick = full_pnl(*STRADDLE, move), taylor_pnl(*STRADDLE, move)
    found = taylor_check(full, quick, tolerance=0.05)
    assert 100 * found.error[0] == pytest.approx(0.13, abs=0.005)
    assert 100 * found.error[1] == pytest.approx(11.9, abs=0.05)
    assert found.used[0] == quick[0] and found.used[1] == full[1]
    assert "11.9 %" in found.warning and "1 of 2" in found.warning
    assert taylor_check(full, quick, tolerance=0.12).warning == ""


def test_small_moves_of_price_volatility_and_time() -> None:
    h = 1e-4
    for more in ({"move": [h]}, {"move": [0.0], "vol_change": [h]},
                 {"move": [0.0], "passed_years": h / 10}):  # fmt: skip
        full, quick = full_pnl(*STRADDLE, **more), taylor_pnl(*STRADDLE, **more)
        assert quick == pytest.approx(full, rel=1e-2)


def test_nothing_gained_is_no_error_and_shapes_must_fit() -> None:
    found = taylor_check([0.0, 1.0], [0.0, 1.0], tolerance=0.01)
    assert found.worst == 0.0 and found.warning == ""
    assert taylor_check([0.0], [1.0], tolerance=0.01).worst == np.inf
    with pytest.raises(PricingError, match="PRC-002"):
        taylor_check([0.0], [1.0, 2.0], tolerance=0.01)
