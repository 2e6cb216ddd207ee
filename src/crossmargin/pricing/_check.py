"""The front door of the room: array-likes become float64 arrays, and bad values stop here.

The kernels behind it do not look at their inputs again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from crossmargin.errors import PricingError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

CODE_DOMAIN = "PRC-001"
CODE_SHAPE = "PRC-002"
CODE_KERNEL = "PRC-003"
CODE_INDEX = "PRC-004"

KERNELS = ("numpy", "numba")

_RULE = {
    "positive": "must be a finite number above 0",
    "non_negative": "must be a finite number, 0 or more",
    "finite": "must be a finite number",
}
_HINT = {
    "positive": "leave the option out, or supply the missing market data",
    "non_negative": "a missing value must not reach the pricer as NaN or as a negative number",
    "finite": "a missing value must not reach the pricer as NaN",
}


def _first_bad(values: NDArray[np.float64], rule: str) -> str:
    """Describe the first element that breaks `rule`: its index and its value."""
    good = np.isfinite(values)
    if rule == "positive":
        good &= values > 0.0
    elif rule == "non_negative":
        good &= values >= 0.0
    where = np.unravel_index(int(np.argmin(good)), values.shape)
    index = ", ".join(str(int(i)) for i in where)
    place = f"[{index}]" if index else ""
    return f"{place} is {float(values[where])!r}"


def as_float(field: str, values: ArrayLike) -> NDArray[np.float64]:
    """Convert an array-like to float64 once; anything that is not a number is refused.

    Raises
    ------
    PricingError
        ``PRC-001``, naming `field`.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as fault:
        raise PricingError(
            f"{field} is not numeric: {fault}", code=CODE_DOMAIN, field=field
        ) from fault


def checked(field: str, values: ArrayLike, rule: str) -> NDArray[np.float64]:
    """Convert `values` to float64 and hold them to a domain.

    Parameters
    ----------
    field : str
        Name used in the error.
    values : array_like
        Any shape, also empty.
    rule : {"positive", "non_negative", "finite"}
        The domain.

    Returns
    -------
    ndarray of float64
        The same shape; not copied when it already is float64.

    Raises
    ------
    PricingError
        ``PRC-001`` with the index and value of the first element outside the domain.
    """
    array = as_float(field, values)
    if array.size == 0:
        return array
    # Two reductions and no temporary: NaN propagates through min and max.
    low, high = float(array.min()), float(array.max())
    if rule == "positive":
        good = low > 0.0 and high < math.inf
    elif rule == "non_negative":
        good = low >= 0.0 and high < math.inf
    else:
        good = low > -math.inf and high < math.inf
    if not good:
        raise PricingError(
            f"{field}{_first_bad(array, rule)}; it {_RULE[rule]}",
            code=CODE_DOMAIN,
            field=field,
            hint=_HINT[rule],
        )
    return array


def as_flag(field: str, values: ArrayLike) -> NDArray[np.bool_]:
    """Convert a call flag to bool; only booleans, and numbers that are 0 or 1, are taken.

    Raises
    ------
    PricingError
        ``PRC-001``: a flag of -1 (put, in some conventions) must not silently mean call.
    """
    array = np.asarray(values)
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iuf" or not bool(np.all((array == 0) | (array == 1))):
        raise PricingError(
            f"{field} must be true (call) or false (put)", code=CODE_DOMAIN, field=field
        )
    return array.astype(np.bool_)


def check_option(
    forward: ArrayLike, strike: ArrayLike, years: ArrayLike, vol: ArrayLike, is_call: ArrayLike
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.bool_],
]:
    """Check the five inputs of an option formula and see that their shapes broadcast.

    Parameters
    ----------
    forward, strike : array_like
        USD per unit, above 0.
    years : array_like
        Time to expiry in years (ACT/365), 0 or more.
    vol : array_like
        Volatility per year as a decimal, 0 or more.
    is_call : array_like of bool
        True for a call, False for a put.

    Returns
    -------
    tuple of ndarray
        The same five as arrays, not yet broadcast.

    Raises
    ------
    PricingError
        ``PRC-001`` for a value outside its domain, ``PRC-002`` when the shapes do not broadcast.
    """
    checked_five = (
        checked("forward", forward, "positive"),
        checked("strike", strike, "positive"),
        checked("years", years, "non_negative"),
        checked("vol", vol, "non_negative"),
        as_flag("is_call", is_call),
    )
    common_shape(
        {
            name: array.shape
            for name, array in zip(("forward", "strike", "years", "vol", "is_call"), checked_five)
        }
    )
    return checked_five


def common_shape(shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the broadcast shape of named arrays.

    Raises
    ------
    PricingError
        ``PRC-002``, listing every shape.
    """
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise PricingError(f"shapes do not broadcast: {listed}", code=CODE_SHAPE) from None


def check_kernel(kernel: str) -> str:
    """Return `kernel` if it is one of the two, else raise ``PRC-003``."""
    if kernel not in KERNELS:
        raise PricingError(
            f"{kernel!r} is not a kernel",
            code=CODE_KERNEL,
            field="kernel",
            hint='use "numpy" or "numba"',
        )
    return kernel


def check_out(out: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return `out`, or a new array when it is None; a wrong `out` raises ``PRC-002``."""
    if out is None:
        return np.empty(shape, dtype=np.float64)
    if not isinstance(out, np.ndarray) or out.dtype != np.float64 or out.shape != shape:
        raise PricingError(
            f"out must be a float64 array of shape {shape}", code=CODE_SHAPE, field="out"
        )
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise PricingError("out must be C-contiguous and writeable", code=CODE_SHAPE, field="out")
    return out
