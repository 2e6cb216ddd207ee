"""Heston's prices held to two printed sets, far from the limits that other tests look at."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crossmargin.pricing.stochastic import StochasticModel, model_prices

pytest.importorskip("QuantLib")


def test_fang_oosterlee() -> None:
    """Fang and Oosterlee (2008), section 5.2: one year 5.785155450, ten years 22.318945791.

    Reference: SIAM J. Sci. Comput. 31(2). Feller's condition does not hold there.
    """
    model = StochasticModel(v0=0.0175, theta=0.0398, kappa=1.5768, vol_of_vol=0.5751, rho=-0.5711)
    assert model_prices(model, 100.0, [100.0], 365)[0] == pytest.approx(5.785155450, abs=1e-7)
    assert model_prices(model, 100.0, [100.0], 3650)[0] == pytest.approx(22.318945791, abs=1e-7)


def test_lewis() -> None:
    """Lewis (2000), as A. Lewis gave them to 30 digits: r 1 %, dividend 2 %, one year.

    Ours are prices of forwards without discounting, so both rates are taken out.
    """
    model = StochasticModel(v0=0.04, theta=0.25, kappa=4.0, vol_of_vol=1.0, rho=-0.5)
    strikes, later = [80.0, 90.0, 100.0, 110.0, 120.0], math.exp(-0.01)
    calls = later * model_prices(model, 100 * math.exp(-0.01), strikes, 365)
    puts = later * model_prices(model, 100 * math.exp(-0.01), strikes, 365, False)
    assert calls == pytest.approx(
        [26.774758743999, 20.933349000597, 16.070154917029, 12.132211516710, 9.024913483458],
        abs=1e-8,
    )
    assert puts == pytest.approx(
        [7.958878113257, 12.017966707346, 17.055270961270, 23.017825898443, 29.811026202682],
        abs=1e-8,
    )
    parity = later * (100 * math.exp(-0.01) - np.array(strikes))
    assert calls - puts == pytest.approx(parity, abs=1e-10)
