"""The compiled kernel: one exponential and two erfcx polynomials an option, no branches.

Every step is arithmetic or a select, so LLVM turns the loops into vector code: the logarithm
and the exponential are written out here because a call into libm would stop it. fastmath is
off except for contraction (fused multiply-add rounds once instead of twice); no reordering is
allowed, so results do not depend on where a loop is split by more than that one rounding.

Same formulas as the reference module; inputs are not checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from crossmargin.pricing._coefficients import (
    ATANH_REST,
    ERFCX_CENTRE,
    EXP_REST,
    HALF_ERFCX,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

F = TypeVar("F", bound=Callable[..., Any])


def _compile(function: F, **options: Any) -> F:
    """Compile with the options of this module, keeping the type for the checker."""
    options |= {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        compiled = njit(cache=True, **options)(function)
    except RuntimeError:
        # numba found nowhere to keep its cache (a read-only installation without a home).
        compiled = njit(**options)(function)
    return cast("F", compiled)


def _jit(function: F) -> F:
    """Compile a loop."""
    return _compile(function)


def _inline(function: F) -> F:
    """Compile a helper that LLVM must inline: a call left in a loop would keep it scalar."""
    return _compile(function, forceinline=True)


def _emit_bits(typingctx: Any, value: Any) -> Any:
    """Reinterpret a float64 as int64: a plain bitcast, which LLVM can vectorise."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


def _emit_from_bits(typingctx: Any, value: Any) -> Any:
    """Reinterpret an int64 as float64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


def _emit_sqrt(typingctx: Any, value: Any) -> Any:
    """Square root as an LLVM intrinsic; math.sqrt would be a call into libm."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        double = ir.DoubleType()
        declared = builder.module.declare_intrinsic("llvm.sqrt", [double])
        return builder.call(declared, [args[0]])

    return types.float64(types.float64), codegen


_bits = cast("Callable[[float], int]", intrinsic(_emit_bits))
_from_bits = cast("Callable[[int], float]", intrinsic(_emit_from_bits))
_sqrt = cast("Callable[[float], float]", intrinsic(_emit_sqrt))

_INV_SQRT_2 = math.sqrt(0.5)
_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_LOG2_E = 1.0 / math.log(2.0)
# ln 2 in two pieces; the high one has 21 trailing zero bits, so n·hi is exact.
_LN2_HI = 6.93147180369123816490e-01
_LN2_LO = 1.90821492927058770002e-10
# Adding 1.5·2⁵² leaves the nearest integer in the low bits of the mantissa.
_ROUNDER = 6755399441055744.0
_EXP_FLOOR = -708.0
# Beyond 100 deviations, or for a deviation beyond 200, nothing of the answer is left to move;
# the clamp keeps inf · 0 out of the arithmetic.
_FAR = 100.0
_TINY = 1e-300

_E0, _E1, _E2, _E3, _E4, _E5, _E6, _E7, _E8, _E9 = EXP_REST
_A0, _A1, _A2, _A3, _A4, _A5, _A6, _A7 = ATANH_REST
(
    _C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12,
    _C13, _C14, _C15, _C16, _C17, _C18, _C19, _C20, _C21, _C22, _C23, _C24,
) = HALF_ERFCX  # fmt: skip


@_inline
def _exp(x: float) -> float:
    """Return exp(x) for x ≤ 0; 0 below −708."""
    y = x if x > _EXP_FLOOR else _EXP_FLOOR
    shifted = y * _LOG2_E + _ROUNDER
    n = shifted - _ROUNDER
    r = (y - n * _LN2_HI) - n * _LN2_LO
    q = r * r
    even = _E0 + q * (_E2 + q * (_E4 + q * (_E6 + q * _E8)))
    odd = _E1 + q * (_E3 + q * (_E5 + q * (_E7 + q * _E9)))
    p = 1.0 + (r + q * (even + r * odd))
    scaled = _from_bits(_bits(p) + (_bits(shifted) << 52))
    return scaled if x > _EXP_FLOOR else 0.0


@_inline
def _half_erfcx(t: float) -> float:
    """Return (a + 3.75) erfcx(a) / 2 at ``t = (a − 3.75)/(a + 3.75)``.

    Two interleaved Horner chains in t² halve the latency of one chain of 24.
    """
    q = t * t
    even = _C20 + q * (_C22 + q * _C24)
    even = _C12 + q * (_C14 + q * (_C16 + q * (_C18 + q * even)))
    even = _C0 + q * (_C2 + q * (_C4 + q * (_C6 + q * (_C8 + q * (_C10 + q * even)))))
    odd = _C17 + q * (_C19 + q * (_C21 + q * _C23))
    odd = _C9 + q * (_C11 + q * (_C13 + q * (_C15 + q * odd)))
    odd = _C1 + q * (_C3 + q * (_C5 + q * (_C7 + q * odd)))
    return even + t * odd


@_inline
def _log_ratio(x: float, y: float) -> float:
    """Return ln(x/y) for positive normal x and y, with full relative accuracy near x = y."""
    bits = _bits(y)
    # The difference of bit patterns is 2⁵²·log2(x/y) within 0.09: enough to pick the power.
    power = (_bits(x) - bits + (1 << 51)) >> 52
    scaled = _from_bits(bits + (power << 52))
    z = (x - scaled) / (x + scaled)
    w = z * z
    v = w * w
    even = _A0 + v * (_A2 + v * (_A4 + v * _A6))
    odd = _A1 + v * (_A3 + v * (_A5 + v * _A7))
    rest = z * w * (even + w * odd)
    n = float(power)
    return n * _LN2_HI + (2.0 * z + (n * _LN2_LO + rest))


@_inline
def _otm(distance: float, half: float) -> tuple[float, float, float]:
    """Density, inner and outer terms per unit of min(F, K); see the reference module.

    `distance` is |ln(F/K)|/s and `half` is s/2, both finite and not above 100.
    """
    u = distance - half
    density = _exp(-0.5 * u * u)
    a = abs(u) * _INV_SQRT_2 + ERFCX_CENTRE
    b = (distance + half) * _INV_SQRT_2 + ERFCX_CENTRE
    # One division serves both reciprocals.
    joint = 1.0 / (a * b)
    r_a = b * joint
    r_b = a * joint
    tail = density * (r_a * _half_erfcx(1.0 - (2.0 * ERFCX_CENTRE) * r_a))
    outer = density * (r_b * _half_erfcx(1.0 - (2.0 * ERFCX_CENTRE) * r_b))
    inner = tail if u >= 0.0 else 1.0 - tail
    return density, inner, outer


@_inline
def _standard(forward: float, strike: float, deviation: float) -> tuple[float, float]:
    """Distance |ln(F/K)|/s and half deviation, clamped."""
    distance = abs(_log_ratio(forward, strike)) / max(deviation, _TINY)
    half = 0.5 * deviation
    return min(distance, _FAR), min(half, _FAR)


@_jit
def _price_loop(
    forward: Floats,
    strike: Floats,
    years: Floats,
    vol: Floats,
    is_call: NDArray[np.bool_],
    out: Floats,
) -> None:
    for i in range(out.shape[0]):
        f = forward[i]
        k = strike[i]
        distance, half = _standard(f, k, vol[i] * _sqrt(years[i]))
        _, inner, outer = _otm(distance, half)
        gap = f - k if is_call[i] else k - f
        out[i] = max(gap, 0.0) + min(f, k) * max(inner - outer, 0.0)


@_jit
def _price_delta_vega_loop(
    forward: Floats,
    strike: Floats,
    years: Floats,
    vol: Floats,
    is_call: NDArray[np.bool_],
    price: Floats,
    delta: Floats,
    vega: Floats,
) -> None:
    for i in range(price.shape[0]):
        f = forward[i]
        k = strike[i]
        root = _sqrt(years[i])
        distance, half = _standard(f, k, vol[i] * root)
        density, inner, outer = _otm(distance, half)
        smaller = min(f, k)
        gap = f - k
        gap = gap if is_call[i] else -gap
        price[i] = max(gap, 0.0) + smaller * max(inner - outer, 0.0)
        far = outer * (k / f)
        call = inner if f <= k else 1.0 - far
        put = inner - 1.0 if f <= k else -far
        delta[i] = call if is_call[i] else put
        vega[i] = smaller * density * (root * _INV_SQRT_2PI)


_BLOCK = 512
"""Least number of cells that a tile of the grid holds: 16 KiB of buffers, within L1."""


@_jit
def _grid_loop(
    fixed: Floats,
    variable: Floats,
    strike: Floats,
    years: Floats,
    is_call: NDArray[np.bool_],
    growth: Floats,
    log_growth: Floats,
    simple: bool,
    vol: Floats,
    state: NDArray[np.int64],
    out: Floats,
) -> None:
    """Fill `out` (n·S, flat) tile by tile.

    Scenario rows are rarely a multiple of the vector width, so a loop along each row would
    spend much of its time in the scalar remainder. Instead several options fill flat buffers
    cheaply, and the dear arithmetic runs over the whole tile at once.

    `growth` is 1 + move, with one row, or one row an option; `simple` says that there is one
    row, that it is above 0 throughout and that `log_growth` holds its logarithms.
    """
    n = strike.shape[0]
    width = state.shape[0]
    states = vol.shape[1]
    rows = max(1, (_BLOCK + width - 1) // width)
    distance = np.empty(rows * width)
    half = np.empty(rows * width)
    smaller = np.empty(rows * width)
    intrinsic_value = np.empty(rows * width)
    inverse = np.empty(states)
    halves = np.empty(states)
    step = 1 if growth.shape[0] > 1 else 0
    for first in range(0, n, rows):
        count = min(rows, n - first)
        for row in range(count):
            i = first + row
            k = strike[i]
            sign = 1.0 if is_call[i] else -1.0
            root = _sqrt(years[i])
            for v in range(states):
                deviation = vol[i, v] * root
                inverse[v] = 1.0 / max(deviation, _TINY)
                halves[v] = min(0.5 * deviation, _FAR)
            base = variable[i]
            known = fixed[i]
            at = row * width
            if simple and known == 0.0 and base > 0.0:
                log_base = _log_ratio(base, k)
                for j in range(width):
                    f = base * growth[0, j]
                    distance[at + j] = abs(log_base + log_growth[j])
                    smaller[at + j] = min(f, k)
                    intrinsic_value[at + j] = max(sign * (f - k), 0.0)
            else:
                for j in range(width):
                    f = known + base * growth[i * step, j]
                    distance[at + j] = abs(_log_ratio(f if f > 0.0 else k, k))
                    # A forward of 0 or less leaves no time value: a weight of 0.
                    smaller[at + j] = max(min(f, k), 0.0)
                    intrinsic_value[at + j] = max(sign * (f - k), 0.0)
            for j in range(width):
                v = state[j]
                distance[at + j] = min(distance[at + j] * inverse[v], _FAR)
                half[at + j] = halves[v]
        start = first * width
        for cell in range(count * width):
            _, inner, outer = _otm(distance[cell], half[cell])
            time_value = smaller[cell] * max(inner - outer, 0.0)
            out[start + cell] = intrinsic_value[cell] + time_value


def _flat(shape: tuple[int, ...], array: NDArray[Any]) -> NDArray[Any]:
    """Broadcast an array and lay it out flat; nothing is copied when it already is."""
    return np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1)


def price_arrays(
    forward: Floats, strike: Floats, years: Floats, vol: Floats, is_call: NDArray[np.bool_]
) -> Floats:
    """Undiscounted Black-76 price, unchecked; broadcasts."""
    shape = np.broadcast_shapes(forward.shape, strike.shape, years.shape, vol.shape, is_call.shape)
    out = np.empty(shape)
    _price_loop(
        _flat(shape, forward),
        _flat(shape, strike),
        _flat(shape, years),
        _flat(shape, vol),
        _flat(shape, is_call),
        out.reshape(-1),
    )
    return out


def price_delta_vega_arrays(
    forward: Floats, strike: Floats, years: Floats, vol: Floats, is_call: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats]:
    """Price, delta and vega per 1.00 of volatility, unchecked; broadcasts."""
    shape = np.broadcast_shapes(forward.shape, strike.shape, years.shape, vol.shape, is_call.shape)
    price, delta, vega = np.empty(shape), np.empty(shape), np.empty(shape)
    _price_delta_vega_loop(
        _flat(shape, forward),
        _flat(shape, strike),
        _flat(shape, years),
        _flat(shape, vol),
        _flat(shape, is_call),
        price.reshape(-1),
        delta.reshape(-1),
        vega.reshape(-1),
    )
    return price, delta, vega


def grid_arrays(
    fixed: Floats,
    variable: Floats,
    strike: Floats,
    years: Floats,
    is_call: NDArray[np.bool_],
    move: Floats,
    vol: Floats,
    vol_state: NDArray[np.integer],
    out: Floats,
) -> None:
    """Fill `out` [n, S] with option values; shapes are those of `price_grid`, unchecked."""
    if out.size == 0:
        return
    growth = np.ascontiguousarray(np.atleast_2d(1.0 + move))
    simple = move.ndim == 1 and float(growth.min()) > 0.0
    log_growth = np.log1p(move) if simple else np.zeros(0)
    _grid_loop(
        fixed,
        variable,
        strike,
        years,
        is_call,
        growth,
        log_growth,
        simple,
        np.ascontiguousarray(vol),
        np.ascontiguousarray(vol_state, dtype=np.int64),
        out.reshape(-1),
    )
