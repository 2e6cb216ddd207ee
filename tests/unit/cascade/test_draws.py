"""Random numbers by address: known answers, independence of order, moments."""

from __future__ import annotations

import numpy as np
import pytest

from crossmargin.cascade.draws import STREAMS, generator, philox, uniforms
from crossmargin.errors import CascadeError


def words(*values: int) -> tuple[np.ndarray, ...]:
    return tuple(np.array([v], dtype=np.uint64) for v in values)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers_of_the_authors(
    counter: tuple[int, ...], key: tuple[int, int], answer: tuple[int, ...]
) -> None:
    found = philox(words(*counter), key)  # type: ignore[arg-type]
    assert tuple(int(w[0]) for w in found) == answer


def test_a_path_does_not_depend_on_others() -> None:
    alone = generator(7, 5, "returns").standard_normal(10)
    for path in range(5):
        generator(7, path, "returns").standard_normal(1000)
    assert (generator(7, 5, "returns").standard_normal(10) == alone).all()
    seen = {
        tuple(generator(seed, path, stream).standard_normal(3))
        for seed in (0, 1)
        for path in (0, 1)
        for stream in STREAMS
    }
    assert len(seen) == 4 * len(STREAMS)


def test_an_account_does_not_depend_on_its_place() -> None:
    keys = np.arange(1000, dtype=np.uint64) * np.uint64(2**40 + 1)
    whole = uniforms(3, 1, "behaviour", 17, keys)
    turned = np.random.default_rng(0).permutation(1000)
    assert (uniforms(3, 1, "behaviour", 17, keys[turned]) == whole[turned]).all()
    assert (uniforms(3, 1, "behaviour", 17, keys[400:401])[0] == whole[400]).all()
    for other in (
        uniforms(4, 1, "behaviour", 17, keys),
        uniforms(3, 2, "behaviour", 17, keys),
        uniforms(3, 1, "depth", 17, keys),
        uniforms(3, 1, "behaviour", 18, keys),
    ):
        assert (other == whole).mean() < 0.001


def test_they_are_uniform() -> None:
    n = 40_000
    u = uniforms(1, 0, "behaviour", 0, np.arange(n))
    assert (u > 0).all() and (u < 1).all()
    assert np.abs(u.mean(axis=0) - 0.5).max() < 3 / np.sqrt(12 * n)
    # The variance of (u − ½)² is 1/180.
    assert np.abs(((u - 0.5) ** 2).mean(axis=0) - 1 / 12).max() < 3 / np.sqrt(180 * n)


def test_they_are_uncorrelated_across_words_and_steps() -> None:
    """Sum of n·r² over all pairs is χ²: its mean is their number, its variance twice that."""
    n, squares = 4_000, list[float]()
    for seed in range(20):
        now = uniforms(seed, 0, "behaviour", 0, np.arange(n))
        after = uniforms(seed, 0, "behaviour", 1, np.arange(n))
        corr = np.corrcoef([*now.T, after[:, 0]])
        squares += (n * corr[np.triu_indices(5, 1)] ** 2).tolist()
    assert abs(sum(squares) - len(squares)) < 3 * np.sqrt(2 * len(squares))


def test_an_address_out_of_range_is_refused() -> None:
    for seed, path in ((-1, 0), (2**64, 0), (0, -1), (0, 2**32)):
        with pytest.raises(CascadeError, match="CAS-001"):
            generator(seed, path, "returns")
