"""Random numbers that do not depend on who else draws: every number has an address.

A path's generator is keyed by the seed, the number of the path and the stream (returns, jumps,
scatter of depth, behaviour), so that path i is the same whether it is drawn alone, last or on
another thread. What belongs to an account is addressed by the account's key and the step, so
that the order of accounts changes nothing.

Source: Philox 4×32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1,
2, 3" (2011), published, with the known answers of its authors as test; the generator of a path
is numpy's Philox 4×64-10 (published).
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

Stream = Literal["returns", "jumps", "depth", "behaviour", "population", "deleveraging"]

#: Numbers of the streams. They are part of what a seed means: never renumber, only add.
STREAMS: Final[dict[Stream, int]] = {
    "returns": 1,
    "jumps": 2,
    "depth": 3,
    "behaviour": 4,
    "population": 5,
    "deleveraging": 6,
}

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_MULTIPLY = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_BUMP = (0x9E3779B9, 0xBB67AE85)


def _address(name: str, value: int, bits: int) -> int:
    if not 0 <= value < 2**bits:
        raise CascadeError(
            f"{name} is {value}, not a whole number from 0 to 2^{bits} − 1",
            code="CAS-001",
            field=name,
        )
    return int(value)


def generator(seed: int, path: int, stream: Stream) -> np.random.Generator:
    """Return the generator of one stream of one path.

    Parameters
    ----------
    seed : int
        Of the study, 0 to 2^64 − 1.
    path : int
        Number of the path, 0 to 2^32 − 1.
    stream : Stream
        What the numbers are for; streams are independent.

    Raises
    ------
    CascadeError
        ``CAS-001`` for a seed or path out of range.
    """
    place = (_address("path", path, 32) << 32) | STREAMS[stream]
    key = np.array([_address("seed", seed, 64), place], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, ...]:
    """Return Philox 4×32-10 of counters, as four arrays of 32-bit words held in uint64.

    Parameters
    ----------
    counter : four arrays of uint64
        Words below 2^32, of one shape.
    key : (int, int)
        Words below 2^32.
    """
    a, b, c, d = counter
    first, second = key
    for turn in range(10):
        if turn:
            first, second = (first + _BUMP[0]) & 0xFFFFFFFF, (second + _BUMP[1]) & 0xFFFFFFFF
        # Words are below 2^32, so that no product overflows 64 bits.
        high, low = a * _MULTIPLY[0], c * _MULTIPLY[1]
        a, b, c, d = (
            (low >> _32) ^ b ^ np.uint64(first),
            low & _LOW,
            (high >> _32) ^ d ^ np.uint64(second),
            high & _LOW,
        )
    return a, b, c, d


def uniforms(seed: int, path: int, stream: Stream, step: int, keys: ArrayLike) -> Floats:
    """Return four uniform numbers for each key at a step.

    Parameters
    ----------
    seed, path, stream
        As for :func:`generator`; the two families of numbers have nothing to do with each other.
    step : int
        Number of the step, 0 to 2^32 − 1.
    keys : array-like of int [A]
        Of the accounts, 0 to 2^64 − 1. An account keeps its key wherever it stands in a book.

    Returns
    -------
    float64[A, 4]
        In (0, 1), 32 bits each: never 0 and never 1.
    """
    key = np.asarray(keys).astype(np.uint64)
    number = (_address("path", path, 32), _address("step", step, 32))
    # Ten rounds twice: the address has more bits (seed, path, stream, step, key) than one
    # counter and key can take, so the first turns seed, stream and path into a key.
    seeds = _address("seed", seed, 64)
    words = tuple(np.array([w], dtype=np.uint64) for w in (number[0], STREAMS[stream], 0, 0))
    mixed = philox((words[0], words[1], words[2], words[3]), (seeds & 0xFFFFFFFF, seeds >> 32))
    counter = (
        key & _LOW,
        key >> _32,
        np.full(key.shape, number[1], dtype=np.uint64),
        np.zeros(key.shape, dtype=np.uint64),
    )
    drawn = philox(counter, (int(mixed[0][0]), int(mixed[1][0])))
    return np.stack([(w.astype(np.float64) + 0.5) / 2.0**32 for w in drawn], axis=-1)
