"""The scenario grid: every option revalued at every shock of price and volatility."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossmargin.errors import PricingError
from crossmargin.pricing import _reference as ref
from crossmargin.pricing._check import (
    CODE_INDEX,
    CODE_SHAPE,
    as_flag,
    check_kernel,
    check_out,
    checked,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from crossmargin.pricing._black76 import Kernel

    Floats = NDArray[np.float64]

_BLOCK_CELLS = 8192
"""Cells that the NumPy grid works on at a time: 64 KiB a temporary."""


def price_grid(
    forward_fixed: ArrayLike,
    forward_variable: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    is_call: ArrayLike,
    move: ArrayLike,
    vol: ArrayLike,
    vol_state: ArrayLike,
    *,
    kernel: Kernel = "numpy",
    out: Floats | None = None,
) -> Floats:
    """Value n options in S scenarios of price move and volatility state.

    Parameters
    ----------
    forward_fixed, forward_variable : array_like, shape (n,)
        Parts of the forward in USD, each 0 or more: the scenario forward is
        ``fixed + variable · (1 + move)``. Scalars are spread over the n options.
    strike : array_like, shape (n,)
        USD, above 0.
    years : array_like, shape (n,)
        Time to expiry, years (ACT/365), 0 or more.
    is_call : array_like of bool, shape (n,)
        True for a call.
    move : array_like, shape (S,) or (n, S)
        Relative move of the variable part (−0.16 = down 16 %). Below −1 is allowed: where the
        forward is 0 or less a call is worth 0 and a put ``K − F``.
    vol : array_like, shape (n, V)
        Volatility of each option in each of V states, decimals per year, 0 or more.
    vol_state : array_like of int, shape (S,)
        Which column of `vol` a scenario uses, from 0 to V − 1.
    kernel : {"numpy", "numba"}
        The reference, or the compiled kernel.
    out : ndarray of float64, shape (n, S), optional
        Where to write; C-contiguous.

    Returns
    -------
    ndarray of float64, shape (n, S)
        USD value per unit of underlying, undiscounted, 0 or more; `out` when it was given.

    Raises
    ------
    PricingError
        ``PRC-001`` for a value outside its domain, ``PRC-002`` for a wrong shape, ``PRC-003``
        for an unknown kernel, ``PRC-004`` for a `vol_state` outside `vol`.

    Notes
    -----
    A product grid is laid out by the caller: P moves by V states are S = P·V scenarios with
    ``move = repeat(moves, V)`` and ``vol_state = tile(arange(V), P)``. Volatility is held per
    option while the forward moves (sticky strike) unless the caller's states say otherwise.
    """
    check_kernel(kernel)
    vol_by_state = checked("vol", vol, "non_negative")
    if vol_by_state.ndim != 2:
        raise PricingError(
            f"vol must have shape (options, states), not {vol_by_state.shape}",
            code=CODE_SHAPE,
            field="vol",
        )
    n, states = vol_by_state.shape
    fixed = _per_option("forward_fixed", checked("forward_fixed", forward_fixed, "non_negative"), n)
    variable = _per_option(
        "forward_variable", checked("forward_variable", forward_variable, "non_negative"), n
    )
    strikes = _per_option("strike", checked("strike", strike, "positive"), n)
    times = _per_option("years", checked("years", years, "non_negative"), n)
    flags = as_flag("is_call", is_call)
    if flags.shape not in ((), (n,)):
        _wrong_length("is_call", flags.shape, n)
    calls = np.ascontiguousarray(np.broadcast_to(flags, (n,)))

    state = np.asarray(vol_state)
    if state.ndim != 1 or state.dtype.kind not in "iu":
        raise PricingError(
            "vol_state must be a one-dimensional array of integers",
            code=CODE_SHAPE,
            field="vol_state",
        )
    scenarios = state.shape[0]
    # The compiled kernel reads without bounds checks: this is the only guard.
    if scenarios and (int(state.min()) < 0 or int(state.max()) >= states):
        raise PricingError(
            f"vol_state must lie in 0..{states - 1}", code=CODE_INDEX, field="vol_state"
        )
    moves = checked("move", move, "finite")
    if moves.shape not in ((scenarios,), (n, scenarios)):
        raise PricingError(
            f"move must have shape ({scenarios},) or ({n}, {scenarios}), not {moves.shape}",
            code=CODE_SHAPE,
            field="move",
        )
    result = check_out(out, (n, scenarios))
    if kernel == "numba":
        from crossmargin.pricing._numba import grid_arrays

        grid_arrays(fixed, variable, strikes, times, calls, moves, vol_by_state, state, result)
    else:
        _grid_numpy(fixed, variable, strikes, times, calls, moves, vol_by_state, state, result)
    return result


def _wrong_length(field: str, shape: tuple[int, ...], n: int) -> None:
    raise PricingError(
        f"{field} must have shape ({n},), one value an option, not {shape}",
        code=CODE_SHAPE,
        field=field,
    )


def _per_option(field: str, values: Floats, n: int) -> Floats:
    if values.shape not in ((), (n,)):
        _wrong_length(field, values.shape, n)
    return np.ascontiguousarray(np.broadcast_to(values, (n,)))


def _grid_numpy(
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
    """Fill `out` with array operations, some rows at a time; the reference for the fast grid.

    Blocks keep the dozen temporaries in cache: twice as fast as whole arrays, and the memory
    needed does not grow with the number of options.
    """
    if out.size == 0:
        return
    growth = np.atleast_2d(1.0 + move)
    deviation = vol * np.sqrt(years)[:, None]
    shared = move.ndim == 1 and not fixed.any() and bool(variable.all() and growth.min() > 0.0)
    log_growth = np.log1p(move) if shared else None
    rows = max(1, _BLOCK_CELLS // out.shape[1])
    for first in range(0, out.shape[0], rows):
        part = slice(first, first + rows)
        column = strike[part, None]
        moved = growth if growth.shape[0] == 1 else growth[part]
        forward = fixed[part, None] + variable[part, None] * moved
        smaller = np.minimum(forward, column)
        if log_growth is not None:
            # ln F is a sum here: one logarithm an option and one a scenario.
            distance = ref.log_moneyness(variable[part], strike[part])[:, None] + log_growth
        else:
            # A forward of 0 or less leaves no time value: a weight of 0.
            np.maximum(smaller, 0.0, out=smaller)
            distance = ref.log_moneyness(np.where(forward > 0.0, forward, column), column)
        np.abs(distance, out=distance)
        spread = np.take(deviation[part], vol_state, axis=1)
        gap = forward - column
        np.negative(gap, out=gap, where=~is_call[part, None])
        np.maximum(gap, 0.0, out=gap)
        np.multiply(smaller, ref.otm_parts(distance, spread).value, out=out[part])
        out[part] += gap
