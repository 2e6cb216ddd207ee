"""The compiled kernel's own parts: coefficients fitted again, helpers, vector code."""

from __future__ import annotations

import re
from collections.abc import Callable

import mpmath
import numpy as np
from mpmath import mpf
from numba import njit

from crossmargin.pricing import _coefficients as stored
from crossmargin.pricing import _numba as compiled


def chebyshev_fit(
    function: Callable[[mpf], mpf], low: mpf, high: mpf, degree: int
) -> tuple[float, ...]:
    """Fit `function` at Chebyshev nodes; return the coefficients by power, lowest first."""
    n = degree + 1
    middle, half = (high + low) / 2, (high - low) / 2
    angles = [mpmath.pi * (2 * j + 1) / (2 * n) for j in range(n)]
    values = [function(middle + half * mpmath.cos(angle)) for angle in angles]
    series = [
        2 * mpmath.fsum(value * mpmath.cos(i * angle) for value, angle in zip(values, angles)) / n
        for i in range(n)
    ]
    series[0] /= 2
    # T_{i+1} = 2x T_i − T_{i−1}, with x = (t − middle)/half multiplied out in powers of t.
    x = [-middle / half, 1 / half]
    previous, current = [mpf(1)], x
    total = [mpf(0)] * n
    for i in range(n):
        polynomial = previous if i == 0 else current
        for power, coefficient in enumerate(polynomial):
            total[power] += series[i] * coefficient
        if i > 0:
            following = [mpf(0)] * (len(current) + 1)
            for power, coefficient in enumerate(current):
                following[power] += 2 * x[0] * coefficient
                following[power + 1] += 2 * x[1] * coefficient
            for power, coefficient in enumerate(previous):
                following[power] -= coefficient
            previous, current = current, following
    return tuple(float(coefficient) for coefficient in total)


def half_erfcx(t: mpf) -> mpf:
    centre = mpf(stored.ERFCX_CENTRE)
    a = centre * (1 + t) / (1 - t)
    return (a + centre) * mpmath.exp(a * a) * mpmath.erfc(a) / 2


def exp_rest(r: mpf) -> mpf:
    return (mpmath.exp(r) - 1 - r) / r**2 if r else mpf(1) / 2


def atanh_rest(w: mpf) -> mpf:
    z = mpmath.sqrt(w)
    return (2 * mpmath.atanh(z) - 2 * z) / z**3


def test_stored_coefficients_are_what_the_generator_gives() -> None:
    with mpmath.workdps(60):
        assert chebyshev_fit(half_erfcx, mpf(-1), mpf(1), 24) == stored.HALF_ERFCX
        bound = mpmath.log(2) / 2
        # Odd degree and symmetric nodes never meet r = 0, where the quotient is 0/0.
        assert chebyshev_fit(exp_rest, -bound, bound, 9) == stored.EXP_REST
        limit = mpf("0.042")
        assert float(limit) == stored.ATANH_REST_LIMIT
        assert chebyshev_fit(atanh_rest, mpf(0), limit, 7) == stored.ATANH_REST


@njit
def _each(kind: int, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    for i in range(x.size):
        if kind == 0:
            out[i] = compiled._exp(x[i])
        elif kind == 1:
            out[i] = compiled._log_ratio(x[i], y[i])
        else:
            out[i] = compiled._half_erfcx(x[i])


def _run(kind: int, x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    out = np.empty_like(x)
    _each(kind, x, x if y is None else y, out)
    return out


def test_exponential() -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([-rng.uniform(0, 700, 4000), -np.exp(rng.uniform(-40, 0, 1000)), [0.0]])
    with mpmath.workdps(40):
        exact = np.array([float(mpmath.exp(mpf(float(v)))) for v in x])
    assert np.max(np.abs(_run(0, x) / exact - 1.0)) <= 4e-16
    assert _run(0, np.array([-709.0, -1e9, -np.inf])).tolist() == [0.0, 0.0, 0.0]


def test_logarithm_of_a_ratio() -> None:
    rng = np.random.default_rng(2)
    x = np.exp(rng.uniform(-20, 20, 4000))
    y = x * np.exp(rng.uniform(-1, 1, 4000) * 10.0 ** rng.uniform(-15, 1.2, 4000))
    with mpmath.workdps(40):
        exact = np.array([float(mpmath.log(mpf(float(a)) / mpf(float(b)))) for a, b in zip(x, y)])
    got = _run(1, x, y)
    told = exact != 0.0
    assert np.max(np.abs(got[told] / exact[told] - 1.0)) <= 1e-15
    assert not got[~told].any()


def test_scaled_complement() -> None:
    a = np.concatenate([np.linspace(0.0, 40.0, 4001), np.exp(np.linspace(4.0, 14.0, 200))])
    c = stored.ERFCX_CENTRE
    with mpmath.workdps(60):
        exact = np.array([float(mpmath.exp(mpf(v) ** 2) * mpmath.erfc(mpf(v))) for v in a[:4001]])
        # Beyond 50 the asymptotic series is exact to 1e-16 in five terms.
        tail = [
            float(
                (1 - 1 / (2 * v**2) + 3 / (4 * v**4) - 15 / (8 * v**6) + 105 / (16 * v**8))
                / (v * mpmath.sqrt(mpmath.pi))
            )
            for v in map(mpf, a[4001:])
        ]
    got = 2.0 * _run(2, 1.0 - 2.0 * c / (a + c)) / (a + c)
    assert np.max(np.abs(got / np.concatenate([exact, tail]) - 1.0)) <= 2e-15


def test_loops_become_vector_code() -> None:
    """A libm call or a branch left in a loop would cost a factor of five, silently."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    for loop, arrays in ((compiled._price_loop, 1), (compiled._price_delta_vega_loop, 3)):
        fresh = njit(**options)(loop.py_func)
        x = np.ones(3)
        fresh(x, x, x, x, x > 0.0, *(np.empty(3) for _ in range(arrays)))
        (code,) = fresh.inspect_llvm().values()
        assert re.search(r"call[^\n]*<\d+ x double> @llvm\.sqrt", code)
        assert not re.search(r"call[^\n]* @(exp|log|sqrt|erf|erfc)\(", code)


def test_result_does_not_depend_on_place_or_length() -> None:
    """The scalar remainder of a vector loop gives the same bits as its body."""
    rng = np.random.default_rng(3)
    n = 103
    f, k = np.full(n, 5e4), 5e4 * np.exp(rng.normal(0, 0.4, n))
    t, v, c = rng.uniform(0.001, 2, n), rng.uniform(0.1, 3, n), rng.random(n) < 0.5
    whole = compiled.price_delta_vega_arrays(f, k, t, v, c)
    for i in range(n):
        one = slice(i, i + 1)
        single = compiled.price_delta_vega_arrays(f[one], k[one], t[one], v[one], c[one])
        for a, b in zip(whole, single):
            assert a[i] == b[0]
