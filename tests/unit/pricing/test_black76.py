"""Black-76 in quote and in coin: limits, laws, greeks by differences, and the front door."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.errors import PricingError
from crossmargin.pricing import (
    Kernel,
    black76,
    black76_greeks,
    black76_inverse,
    black76_inverse_greeks,
    black76_price_delta_vega,
)

KERNELS: tuple[Kernel, ...] = ("numpy", "numba")

forwards = st.floats(1e-3, 1e6)
log_strikes = st.floats(-3.0, 3.0)
times = st.floats(1 / 8760, 3.0)
vols = st.floats(0.01, 5.0)
law = settings(max_examples=150, deadline=None)


def test_room_loads_numpy_only() -> None:
    code = (
        "import sys, crossmargin.pricing as p;"
        "assert not {'scipy', 'numba', 'llvmlite'} & set(sys.modules);"
        "p.black76(1.0, 1.0, 1.0, 0.5, True);"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------- limits


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("years", "vol"), [(0.0, 0.6), (0.5, 0.0), (0.0, 0.0)])
def test_no_deviation_gives_intrinsic(kernel: Kernel, years: float, vol: float) -> None:
    strikes = np.array([40_000.0, 50_000.0, 60_000.0])
    price, delta, vega = black76_price_delta_vega(
        50_000.0, strikes, years, vol, [[True], [False]], kernel=kernel
    )
    assert price.tolist() == [[10_000.0, 0.0, 0.0], [0.0, 0.0, 10_000.0]]
    assert delta == pytest.approx(np.array([[1.0, 0.5, 0.0], [0.0, -0.5, -1.0]]), abs=1e-15)
    # Only the kink itself still feels volatility.
    kink = 50_000.0 * np.sqrt(years / (2 * np.pi))
    assert vega[:, 1] == pytest.approx(kink)
    assert not vega[:, [0, 2]].any()


@pytest.mark.parametrize("kernel", KERNELS)
def test_huge_deviation_gives_forward_and_strike(kernel: Kernel) -> None:
    for vol in (24.0, 1e3, 1e200):
        strikes = np.array([1.0, 50_000.0, 1e6])
        call, delta, vega = black76_price_delta_vega(
            50_000.0, strikes, 1.0, vol, True, kernel=kernel
        )
        put = black76(50_000.0, strikes, 1.0, vol, False, kernel=kernel)
        assert call == pytest.approx(np.full(3, 50_000.0), rel=1e-12)
        assert put == pytest.approx(strikes, rel=1e-12)
        assert delta == pytest.approx(np.ones(3), abs=1e-12)
        assert np.all(vega < 1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
def test_extremes_are_finite(kernel: Kernel) -> None:
    f, k, t, v = np.meshgrid(
        [1e-12, 1.0, 5e4, 1e12],
        [1e-12, 1.0, 5e4, 1e12],
        [0.0, 1e-12, 1e-4, 100.0],
        [0.0, 1e-12, 0.5, 1e6],
    )
    for is_call in (True, False):
        price, delta, vega = black76_price_delta_vega(f, k, t, v, is_call, kernel=kernel)
        top = f if is_call else k
        for array in (price, delta, vega):
            assert np.all(np.isfinite(array))
        assert np.all((price >= 0.0) & (price <= top * (1 + 1e-15) + np.maximum(f, k) * 1e-15))
        assert np.all(np.abs(delta) <= 1.0)
        assert np.all(vega >= 0.0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_shapes(kernel: Kernel) -> None:
    assert black76(1.0, 1.0, 1.0, 0.5, True, kernel=kernel).shape == ()
    assert black76([], 1.0, 1.0, 0.5, True, kernel=kernel).shape == (0,)
    assert black76([[1.0], [2.0]], [1.0, 2.0, 3.0], 1.0, 0.5, True, kernel=kernel).shape == (2, 3)
    column_major = np.asfortranarray(np.arange(1.0, 7.0).reshape(2, 3))
    got = black76(column_major, 2.0, 1.0, 0.5, True, kernel=kernel)
    expected = black76(np.ascontiguousarray(column_major), 2.0, 1.0, 0.5, True)
    assert got == pytest.approx(expected, rel=1e-14)


# ------------------------------------------------------------------------------ laws


@given(forwards, log_strikes, times, vols)
@law
def test_parity_bounds_and_kernels(f: float, x: float, t: float, v: float) -> None:
    k = f * np.exp(x)
    call, put = black76(f, k, t, v, [True, False])
    assert abs(call - put - (f - k)) <= 1e-12 * max(f, k)
    assert max(f - k, 0.0) <= call <= f * (1 + 1e-15)
    assert max(k - f, 0.0) <= put <= k * (1 + 1e-15)
    fast = black76(f, k, t, v, [True, False], kernel="numba")
    assert np.max(np.abs(fast - [call, put])) <= 1e-13 * f


@given(forwards, log_strikes, times, vols, st.floats(1e-3, 1e3), st.booleans())
@law
def test_homogeneous_in_price(
    f: float, x: float, t: float, v: float, scale: float, call: bool
) -> None:
    k = f * np.exp(x)
    one, many = black76(f, k, t, v, call), black76(scale * f, scale * k, t, v, call)
    assert abs(many - scale * one) <= 1e-12 * scale * max(f, k)


@given(forwards, log_strikes, times, vols, st.floats(1.001, 2.0), st.booleans())
@law
def test_rises_with_volatility_and_time(
    f: float, x: float, t: float, v: float, up: float, call: bool
) -> None:
    k = f * np.exp(x)
    base = black76(f, k, t, v, call)
    slack = 1e-14 * max(f, k)
    assert black76(f, k, t, v * up, call) >= base - slack
    assert black76(f, k, t * up, v, call) >= base - slack
    # Only vol² · T matters.
    assert abs(black76(f, k, t * up * up, v / up, call) - base) <= 1e-12 * max(f, k)


@given(forwards, log_strikes, times, vols, st.floats(0.001, 0.5))
@law
def test_convex_in_strike(f: float, x: float, t: float, v: float, width: float) -> None:
    k = f * np.exp(x)
    low, mid, high = black76(f, [k * (1 - width), k, k * (1 + width)], t, v, True)
    assert low - 2 * mid + high >= -1e-14 * max(f, k)
    assert low >= mid >= high


# ---------------------------------------------------------------------------- greeks


def _sample() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(5)
    n = 200
    f = np.full(n, 50_000.0)
    t = rng.uniform(0.02, 2.0, n)
    v = rng.uniform(0.2, 2.0, n)
    k = f * np.exp(v * np.sqrt(t) * rng.uniform(-2.0, 2.0, n))
    return f, k, t, v, rng.random(n) < 0.5


def _close(got: np.ndarray, by_difference: np.ndarray) -> None:
    """Hold two arrays equal to 1e-5 of the largest magnitude."""
    assert np.max(np.abs(got - by_difference)) <= 1e-5 * np.max(np.abs(got))


def test_greeks_equal_central_differences() -> None:
    f, k, t, v, c = _sample()
    got = black76_greeks(f, k, t, v, c)
    h = 1e-4
    up, down = black76(f * (1 + h), k, t, v, c), black76(f * (1 - h), k, t, v, c)
    _close(got.delta, (up - down) / (2 * f * h))
    delta_up = black76_greeks(f * (1 + h), k, t, v, c).delta
    delta_down = black76_greeks(f * (1 - h), k, t, v, c).delta
    _close(got.gamma, (delta_up - delta_down) / (2 * f * h))
    _close(got.vega, (black76(f, k, t, v + h, c) - black76(f, k, t, v - h, c)) / (2 * h))
    e = 1e-4 * t
    _close(got.theta, (black76(f, k, t - e, v, c) - black76(f, k, t + e, v, c)) / (2 * e))
    assert np.array_equal(got.price, black76(f, k, t, v, c))
    for ours, same in zip(
        (got.price, got.delta, got.vega), black76_price_delta_vega(f, k, t, v, c)
    ):
        assert np.array_equal(ours, same)


def test_theta_and_gamma_obey_the_equation() -> None:
    """Undiscounted: θ + F² σ² Γ / 2 = 0."""
    f, k, t, v, c = _sample()
    got = black76_greeks(f, k, t, v, c)
    assert got.theta == pytest.approx(-0.5 * f**2 * v**2 * got.gamma, rel=1e-12)


def test_inverse_greeks_equal_central_differences_of_the_coin_value() -> None:
    f, k, t, v, c = _sample()
    got = black76_inverse_greeks(f, k, t, v, c)
    h = 1e-4

    def coin(factor: float = 1.0, years: np.ndarray = t, vol: np.ndarray = v) -> np.ndarray:
        return black76_inverse(f * factor, k, years, vol, c)

    assert np.array_equal(got.price, coin())
    _close(got.delta, (coin(1 + h) - coin(1 - h)) / (2 * h))
    delta_up = black76_inverse_greeks(f * (1 + h), k, t, v, c).delta
    delta_down = black76_inverse_greeks(f * (1 - h), k, t, v, c).delta
    _close(got.gamma, (delta_up - delta_down) / (2 * f * h))
    _close(got.vega, (coin(vol=v + h) - coin(vol=v - h)) / (2 * h))
    e = 1e-4 * t
    _close(got.theta, (coin(years=t - e) - coin(years=t + e)) / (2 * e))


def test_inverse_call_and_put_sum_to_a_future() -> None:
    """C/F − P/F = 1 − K/F, and the net delta of the pair is K/F coin."""
    f, k, t, v, _ = _sample()
    call, put = black76_inverse_greeks(f, k, t, v, True), black76_inverse_greeks(f, k, t, v, False)
    assert call.price - put.price == pytest.approx(1 - k / f, abs=1e-14)
    assert call.delta - put.delta == pytest.approx(k / f, abs=1e-14)


# ------------------------------------------------------------------------ front door


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("forward", 0.0),
        ("forward", -1.0),
        ("forward", np.nan),
        ("forward", np.inf),
        ("strike", 0.0),
        ("strike", np.nan),
        ("years", -1e-9),
        ("years", np.nan),
        ("vol", -0.1),
        ("vol", np.nan),
        ("vol", np.inf),
    ],
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_bad_value_is_named_with_its_first_index(field: str, bad: float, kernel: Kernel) -> None:
    inputs = {
        "forward": np.full(6, 5e4),
        "strike": np.full(6, 5e4),
        "years": np.full(6, 0.1),
        "vol": np.full(6, 0.6),
    }
    inputs[field][[3, 5]] = bad
    with pytest.raises(PricingError) as caught:
        black76(**inputs, is_call=True, kernel=kernel)
    assert caught.value.code == "PRC-001"
    assert caught.value.field == field
    assert f"{field}[3]" in caught.value.message
    with pytest.raises(PricingError, match=field):
        black76_greeks(**inputs, is_call=True)
    with pytest.raises(PricingError, match=field):
        black76_price_delta_vega(**inputs, is_call=True, kernel=kernel)
    with pytest.raises(PricingError, match=field):
        black76_inverse(**inputs, is_call=True, kernel=kernel)
    with pytest.raises(PricingError, match=field):
        black76_inverse_greeks(**inputs, is_call=True)


def test_index_of_a_matrix_and_of_a_scalar() -> None:
    vol = np.full((2, 3), 0.5)
    vol[1, 2] = np.nan
    with pytest.raises(PricingError, match=r"vol\[1, 2\] is nan"):
        black76(1.0, 1.0, 1.0, vol, True)
    with pytest.raises(PricingError, match=r"vol is nan"):
        black76(1.0, 1.0, 1.0, np.nan, True)


def test_other_refusals() -> None:
    with pytest.raises(PricingError) as shapes:
        black76([1.0, 2.0], [1.0, 2.0, 3.0], 1.0, 0.5, True)
    assert shapes.value.code == "PRC-002"
    with pytest.raises(PricingError) as kernel:
        black76(1.0, 1.0, 1.0, 0.5, True, kernel="fortran")  # type: ignore[arg-type]
    assert kernel.value.code == "PRC-003"
    with pytest.raises(PricingError, match="not numeric"):
        black76("spot", 1.0, 1.0, 0.5, True)  # type: ignore[arg-type]
    # Some libraries write −1 for a put: it must not turn into a call.
    with pytest.raises(PricingError, match="is_call"):
        black76(1.0, 1.0, 1.0, 0.5, [1, -1])
    with pytest.raises(PricingError, match="is_call"):
        black76(1.0, 1.0, 1.0, 0.5, "c")  # type: ignore[arg-type]
    assert black76(1.0, 2.0, 0.0, 0.5, [0, 1]).tolist() == [1.0, 0.0]
