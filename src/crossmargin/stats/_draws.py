"""Random numbers by counter: the same seed and place give the same number on any machine.

Philox 4×64 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) as NumPy ships it.
The key is the seed; the counter begins at a stream's own place, so that streams do not overlap and
one can be drawn without the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError, invariant
from crossmargin.stats._dependence import root

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
N = TypeVar("N", bound=np.generic)


def generator(seed: int) -> np.random.Generator:
    """Return NumPy's default generator for a seed that a user gave.

    Raises
    ------
    InputError
        ``INP-004`` for a seed below 0.
    """
    if seed < 0:
        raise InputError(
            f"a seed of {seed}", code="INP-004", field="seed", hint="a whole number from 0 on"
        )
    return np.random.default_rng(seed)


def stream(seed: int, place: int = 0) -> np.random.Generator:
    """Return a generator of its own for each (seed, place), 2¹⁹² numbers apart.

    Parameters
    ----------
    seed, place : int
        At least 0, below 2⁶³.
    """
    invariant(0 <= seed < 1 << 63 and 0 <= place < 1 << 63, "seed and place are whole numbers")
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, place]))


#: Draws of up to so many numbers are kept: a path over a history asks for the same every day.
_KEPT_SIZE = 200_000


def shuffles(size: int, count: int, seed: int) -> Ints:
    """Return `count` permutations of ``0 … size − 1``, one a row, each from its own stream.

    They are not to be written to.
    """
    return _kept(_shuffled, seed, 0, (size, count))


def normals(seed: int, place: int, shape: tuple[int, ...]) -> Floats:
    """Return the first standard normals of a stream; they are not to be written to.

    Parameters
    ----------
    seed, place : int
        See :func:`stream`.
    shape : tuple of int
        Of the result.
    """
    return _kept(_normals, seed, place, shape)


def whole_numbers(seed: int, place: int, size: int, below: int) -> Ints:
    """Return the first equally likely numbers from 0 to `below` − 1; not to be written to."""
    return _kept(_whole, seed, place, (size, below))


def _shuffled(seed: int, place: int, shape: tuple[int, ...]) -> Ints:
    size, count = shape
    return np.array([stream(seed, k).permutation(size) for k in range(count)], dtype=np.int64)


def _normals(seed: int, place: int, shape: tuple[int, ...]) -> Floats:
    return stream(seed, place).standard_normal(shape)


def _whole(seed: int, place: int, shape: tuple[int, ...]) -> Ints:
    size, below = shape
    return stream(seed, place).integers(0, below, size=size)


Draw = Callable[[int, int, tuple[int, ...]], NDArray[N]]


def _kept(draw: Draw[N], seed: int, place: int, shape: tuple[int, ...]) -> NDArray[N]:
    """Return a draw, from the last few where it is small."""
    found: NDArray[N] = (
        _remembered(draw, seed, place, shape)
        if math.prod(shape[:1] if draw is _whole else shape) <= _KEPT_SIZE
        else draw(seed, place, shape)
    )
    return found


@lru_cache(maxsize=32)
def _remembered(draw: Any, seed: int, place: int, shape: tuple[int, ...]) -> NDArray[Any]:
    made: NDArray[Any] = draw(seed, place, shape)
    made.setflags(write=False)
    return made


def copula_uniforms(
    correlation: ArrayLike, paths: int, *, degrees: float = math.inf, seed: int, place: int = 0
) -> Floats:
    """Draw uniforms with the dependence of a multivariate t (or normal) law, ``[paths, A]``.

    ``g ~ N(0, R)``, ``t = g/√(χ²_ν/ν)``, ``u = T_ν(t)``; one χ² for all columns, which is what
    makes extremes come together. Infinite degrees of freedom give the Gaussian copula.

    Parameters
    ----------
    correlation : array_like [A, A]
        R; repaired where it is not positive definite.
    paths : int
        Rows.
    degrees : float
        ν > 2, or infinite.
    seed, place : int
        See :func:`stream`.

    Notes
    -----
    Source: Demarta and McNeil, "The t copula and related copulas" (2005).
    """
    from scipy.special import ndtr, stdtr

    invariant(degrees > 2.0, "a t copula needs more than two degrees of freedom")
    lower = root(correlation)
    rng = stream(seed, place)
    g = rng.standard_normal((paths, lower.shape[0])) @ lower.T
    if math.isinf(degrees):
        return np.asarray(ndtr(g))
    chi = rng.chisquare(degrees, size=paths)
    return np.asarray(stdtr(degrees, g / np.sqrt(chi / degrees)[:, None]))


def jump_sums(
    paths: int, intensity: float, mean: float, spread: float, *, seed: int, place: int = 0
) -> Floats:
    """Draw the sum of a Poisson number of normal jumps, ``[paths]``, in log-return.

    Parameters
    ----------
    paths : int
        Rows.
    intensity : float
        Expected number of jumps, at least 0.
    mean, spread : float
        Of one jump.

    Notes
    -----
    Source: Merton, "Option pricing when underlying stock returns are discontinuous" (1976).
    """
    rng = stream(seed, place)
    number = rng.poisson(intensity, size=paths)
    return np.asarray(number * mean + np.sqrt(number) * spread * rng.standard_normal(paths))
