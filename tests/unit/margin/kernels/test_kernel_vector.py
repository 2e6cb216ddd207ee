"""The vector intrinsics against plain loops, in both precisions and all numbers of vectors."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from crossmargin.margin.kernels import _vector as vec
from crossmargin.margin.kernels import _vector_tail as search


def case(dtype, code_type, nv, rows=7, seed=1):
    rng = np.random.default_rng(seed)
    lanes = vec.lanes_of(dtype) * nv
    stride = lanes + vec.lanes_of(dtype)
    table = vec.aligned_empty(50 * stride, dtype)
    table[:] = rng.normal(0.0, 100.0, table.size)
    codes = rng.integers(0, 50, rows + 4).astype(code_type)
    quantity = rng.normal(0.0, 3.0, rows + 4).astype(dtype)
    return table, stride, codes, quantity, lanes


def rounded_sum(table, stride, column, codes, quantity, first, last, lanes, start):
    """Each step in exact fractions, rounded once: what fused multiply-add must give."""
    out = np.array(start)
    kind = out.dtype.type
    for j in range(lanes):
        total = out[j]
        for k in range(first, last):
            row = table[int(codes[k]) * stride + column + j]
            exact = Fraction(float(quantity[k])) * Fraction(float(row)) + Fraction(float(total))
            # A float of the exact value is correctly rounded; float32 goes through one more
            # rounding, which the test allows for.
            total = kind(float(exact))
        out[j] = total
    return out


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("code_type", [np.uint16, np.uint32])
@pytest.mark.parametrize("nv", [1, 2, 3, 4, 7, 8])
def test_rows_are_summed_in_order_with_one_rounding_a_step(dtype, code_type, nv):
    table, stride, codes, quantity, lanes = case(dtype, code_type, nv)
    column = vec.lanes_of(dtype)

    @njit
    def run(out, added, table, codes, quantity):
        vec.fma_rows(out, table, stride, column, codes, quantity, 2, 9, nv)
        vec.fma_rows_add(added, table, stride, column, codes, quantity, 2, 9, nv)
        return vec.fma_rows_min(table, stride, column, codes, quantity, 2, 9, nv)

    out, added = vec.aligned_empty(lanes, dtype), vec.aligned_empty(lanes, dtype)
    out[:] = np.nan
    added[:] = start = np.arange(lanes, dtype=dtype)
    least = run(out, added, table, codes, quantity)
    zero = np.zeros(lanes, dtype=dtype)
    wanted = rounded_sum(table, stride, column, codes, quantity, 2, 9, lanes, zero)
    shifted = rounded_sum(table, stride, column, codes, quantity, 2, 9, lanes, start)
    if dtype is np.float64:
        assert np.array_equal(out, wanted)
        assert np.array_equal(added, shifted)
    else:
        gross = float(np.abs(quantity).sum()) * float(np.abs(table).max())
        assert np.abs(out - wanted).max() <= 1e-7 * gross
        assert np.abs(added - shifted).max() <= 1e-7 * gross
    assert least == out.min()


def test_an_empty_run_gives_zeros_and_leaves_what_is_added_to():
    table, stride, codes, quantity, lanes = case(np.float64, np.uint16, 4)

    @njit
    def run(out, added, table, codes, quantity, first):
        vec.fma_rows(out, table, stride, 0, codes, quantity, first, first, 4)
        vec.fma_rows_add(added, table, stride, 0, codes, quantity, first, first, 4)
        return vec.fma_rows_min(table, stride, 0, codes, quantity, first, first, 4)

    out, added = np.full(lanes, 5.0), np.full(lanes, 5.0)
    assert run(out, added, table, codes, quantity, 3) == 0.0
    assert (out == 0.0).all() and (added == 5.0).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("nv", [1, 3, 8, 16])
def test_blocks(dtype, nv):
    lanes = vec.lanes_of(dtype) * nv
    rng = np.random.default_rng(nv)
    a, b = (rng.normal(size=lanes + 5).astype(dtype) for _ in range(2))

    @njit
    def run(added, scaled, least, zero, a, b, factor):
        vec.block_add(added, 2, b, 1, nv)
        vec.block_fma(scaled, 2, factor, b, 1, nv)
        vec.block_minimum(least, 2, b, 1, nv)
        vec.block_zero(zero, 2, nv)
        vec.prefetch(a, 0, 2)
        return vec.block_min(a, 2, nv)

    added, scaled, least, zero = a.copy(), a.copy(), a.copy(), a.copy()
    smallest = run(added, scaled, least, zero, a, b, dtype(0.5))
    mine, other = slice(2, 2 + lanes), slice(1, 1 + lanes)
    assert np.array_equal(added[mine], a[mine] + b[other])
    assert np.array_equal(scaled[mine], a[mine] + dtype(0.5) * b[other])  # a half is exact
    assert np.array_equal(least[mine], np.minimum(a[mine], b[other]))
    assert (zero[mine] == 0.0).all()
    assert smallest == a[mine].min()
    for changed in (added, scaled, least, zero):
        assert np.array_equal(changed[:2], a[:2]) and np.array_equal(changed[-3:], a[-3:])


def test_the_smallest_is_found_in_every_lane():
    @njit
    def run(block):
        return vec.block_min(block, 0, 8)

    for j in range(64):
        block = np.arange(64.0)
        block[j] = -1.0
        assert run(block) == -1.0


def test_a_nan_quantity_comes_out_as_nan():
    table, stride, codes, quantity, _ = case(np.float64, np.uint16, 4)
    quantity[3] = np.nan

    @njit
    def run(table, codes, quantity):
        return vec.fma_rows_min(table, stride, 0, codes, quantity, 0, 7, 4)

    assert np.isnan(run(table, codes, quantity))


def test_arrays_of_the_wrong_kind_are_refused_when_compiled():
    table, stride, codes, quantity, _ = case(np.float64, np.uint16, 4)

    @njit
    def run(table, codes, quantity, n):
        return vec.fma_rows_min(table, stride, 0, codes, quantity, 0, 7, 4)

    with pytest.raises(TypingError, match="one type"):
        run(table, codes, quantity.astype(np.float32), 4)
    with pytest.raises(TypingError, match="uint16"):
        run(table, codes.astype(np.int64), quantity, 4)

    @njit
    def variable(table, codes, quantity, n):
        return vec.fma_rows_min(table, stride, 0, codes, quantity, 0, 7, n)

    with pytest.raises(TypingError, match="constant"):
        variable(table, codes, quantity, 4)


def test_scratch_begins_on_a_cache_line():
    for size in (1, 7, 64, 1000):
        for dtype in (np.float32, np.float64, np.uint16):
            array = vec.aligned_empty((size, 3), dtype)
            assert array.ctypes.data % 64 == 0 and array.shape == (size, 3)
            assert array.flags.c_contiguous and array.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("spare", [0, 1, 5])
def test_lanes_below_a_line_are_kept_in_their_order(dtype, spare):
    nv = 3
    table, stride, codes, quantity, lanes = case(dtype, np.uint16, nv)
    real = lanes - spare

    @njit
    def run(full, out, table, codes, quantity, limit):
        vec.fma_rows(full, table, stride, 0, codes, quantity, 0, 7, nv)
        return search.fma_rows_below(out, 2, limit, table, stride, 0, codes, quantity, 0, 7, real)

    full, out = np.empty(lanes, dtype), np.full(2 * lanes + 16, 7.0, dtype)
    run(full, out, table, codes, quantity, dtype(0.0))
    for limit in (np.inf, -np.inf, full[4], np.nextafter(full[4], dtype(-np.inf)), dtype(0.0)):
        end = run(full, out, table, codes, quantity, dtype(limit))
        kept = full[:real][full[:real] <= limit]
        assert end == 2 + kept.size
        assert np.array_equal(out[2:end], kept)
        assert (out[:2] == 7.0).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 8, 13, 16, 40])
def test_searches_among_kept_numbers(dtype, n):
    rng = np.random.default_rng(n)
    kept = np.full(n + 32, np.inf, dtype)
    kept[:n] = rng.integers(-4, 5, n)

    @njit
    def run(values, out, n, limit):
        return (
            search.count_below(values, n, limit),
            search.largest_below(values, n, limit),
            search.smallest_above(values, n, limit),
            search.pack_below(out, 1, values, n, limit),
        )

    mine = kept[:n]
    for limit in np.arange(-5.0, 6.0, 0.5).astype(dtype):
        out = np.zeros(n + 32, dtype)
        count, below, above, end = run(kept, out, n, limit)
        lower, higher = mine[mine < limit], mine[mine > limit]
        assert count == lower.size and end == 1 + lower.size
        assert below == (lower.max() if lower.size else -np.inf)
        assert above == (higher.min() if higher.size else np.inf)
        assert np.array_equal(out[1:end], lower)


def test_a_block_is_filled():
    @njit
    def run(out):
        vec.block_fill(out, 3, 2.5, 2)

    out = np.zeros(24)
    run(out)
    assert (out[3:19] == 2.5).all() and out.sum() == 40.0
