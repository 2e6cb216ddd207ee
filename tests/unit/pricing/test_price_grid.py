"""The scenario grid: both kernels against the plain formula, edges, shapes, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.errors import PricingError
from crossmargin.pricing import Kernel, black76, price_grid

KERNELS: tuple[Kernel, ...] = ("numpy", "numba")


def _book(n: int = 37, states: int = 3, seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    moves = np.linspace(-0.16, 0.16, 9)
    vol = rng.uniform(0.2, 1.5, n)
    return {
        "forward_fixed": np.zeros(n),
        "forward_variable": 50_000.0 * np.exp(rng.normal(0, 0.2, n)),
        "strike": 50_000.0 * np.exp(rng.normal(0, 0.4, n)),
        "years": rng.uniform(1 / 8760, 2.0, n),
        "is_call": rng.random(n) < 0.5,
        "move": np.repeat(moves, states),
        "vol": vol[:, None] * np.linspace(0.75, 1.5, states),
        "vol_state": np.tile(np.arange(states), moves.size),
    }


def _by_formula(book: dict[str, Any]) -> np.ndarray:
    """One call of `black76` a cell; a forward of 0 or less is worth its limit."""
    n, width = book["strike"].size, book["vol_state"].size
    growth = 1.0 + np.broadcast_to(book["move"], (n, width))
    forward = book["forward_fixed"][:, None] + book["forward_variable"][:, None] * growth
    alive = forward > 0.0
    strike = np.broadcast_to(book["strike"][:, None], forward.shape)
    value = black76(
        np.where(alive, forward, 1.0),
        strike,
        book["years"][:, None],
        book["vol"][:, book["vol_state"]],
        book["is_call"][:, None],
    )
    dead = np.where(book["is_call"][:, None], 0.0, strike - forward)
    return np.where(alive, value, dead)


def _hold(book: dict[str, Any], kernel: Kernel) -> None:
    got = price_grid(**book, kernel=kernel)
    scale = (book["forward_fixed"] + book["forward_variable"] + book["strike"])[:, None]
    assert np.max(np.abs(got - _by_formula(book)) / scale) <= 1e-14
    assert np.all(got >= 0.0)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n", [1, 2, 37, 700])
@pytest.mark.parametrize("states", [1, 3])
def test_equals_the_formula(kernel: Kernel, n: int, states: int) -> None:
    _hold(_book(n, states), kernel)


@pytest.mark.parametrize("kernel", KERNELS)
def test_settlement_window_and_own_moves(kernel: Kernel) -> None:
    """Some rows partly or wholly fixed; every option with its own moves, down to a dead price."""
    book = _book(60)
    book["forward_fixed"] = np.where(np.arange(60) % 3 == 0, 0.0, 20_000.0)
    book["forward_variable"][::6] = 0.0
    book["forward_fixed"][::6] = 45_000.0
    _hold(book, kernel)
    moves = np.random.default_rng(2).uniform(-1.3, 5.0, (60, 27))
    moves[:, 0], moves[:, 1] = -1.0, -1.5
    book["move"] = moves
    _hold(book, kernel)


@pytest.mark.parametrize("kernel", KERNELS)
def test_dead_forward(kernel: Kernel) -> None:
    got = price_grid(
        [0.0, 0.0],
        [100.0, 100.0],
        [80.0, 80.0],
        [0.5, 0.5],
        [True, False],
        [-1.0, -1.5],
        [[0.6], [0.6]],
        [0, 0],
        kernel=kernel,
    )
    assert got.tolist() == [[0.0, 0.0], [80.0, 130.0]]


@pytest.mark.parametrize("kernel", KERNELS)
def test_expired_or_calm_options_are_worth_intrinsic(kernel: Kernel) -> None:
    book = _book(20)
    book["years"][::2] = 0.0
    book["vol"][1::4] = 0.0
    got = price_grid(**book, kernel=kernel)
    forward = book["forward_variable"][:, None] * (1.0 + book["move"])
    gap = (forward - book["strike"][:, None]) * np.where(book["is_call"], 1.0, -1.0)[:, None]
    still = (book["years"] == 0.0) | (book["vol"] == 0.0).all(axis=1)
    assert np.array_equal(got[still], np.maximum(gap, 0.0)[still])
    _hold(book, kernel)


@pytest.mark.parametrize("kernel", KERNELS)
def test_scalars_are_spread_and_out_is_used(kernel: Kernel) -> None:
    out = np.full((2, 3), np.nan)
    got = price_grid(
        0.0, 100.0, [90.0, 110.0], 0.5, True, [-0.1, 0.0, 0.1], [[0.5], [0.6]], [0, 0, 0],
        kernel=kernel, out=out,
    )  # fmt: skip
    assert got is out
    expected = black76([90.0, 100.0, 110.0], [[90.0], [110.0]], 0.5, [[0.5], [0.6]], True)
    assert out == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
def test_empty(kernel: Kernel) -> None:
    assert price_grid(0, 1, [], 1, True, [0.0], np.empty((0, 1)), [0], kernel=kernel).shape == (
        0,
        1,
    )
    none = np.zeros(0, dtype=np.int64)
    assert price_grid(0, [1.0], [1.0], 1, True, [], [[0.5]], none, kernel=kernel).shape == (1, 0)


@given(
    st.integers(1, 8),
    st.integers(1, 11),
    st.integers(1, 3),
    st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_kernels_are_equal(n: int, width: int, states: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fixed = rng.uniform(0, 100, n) * (rng.random(n) < 0.5)
    inputs = (
        fixed,
        rng.uniform(0, 100, n),
        rng.uniform(1, 200, n),
        rng.uniform(0, 2, n) * (rng.random(n) < 0.9),
        rng.random(n) < 0.5,
        rng.uniform(-1.2, 4, width if seed % 2 else (n, width)),
        rng.uniform(0, 4, (n, states)),
        rng.integers(0, states, width),
    )
    plain, fast = (price_grid(*inputs, kernel=kernel) for kernel in KERNELS)
    scale = (fixed + inputs[1] + inputs[2])[:, None] * 5.0
    assert np.max(np.abs(plain - fast) / scale) <= 1e-14


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("forward_fixed", np.full(37, -1.0), "PRC-001"),
        ("forward_variable", np.full(37, np.nan), "PRC-001"),
        ("strike", np.zeros(37), "PRC-001"),
        ("years", np.full(37, -1.0), "PRC-001"),
        ("vol", np.full((37, 3), np.nan), "PRC-001"),
        ("move", np.full(27, np.nan), "PRC-001"),
        ("strike", np.ones(36), "PRC-002"),
        ("is_call", np.ones(36, dtype=bool), "PRC-002"),
        ("vol", np.ones(37), "PRC-002"),
        ("move", np.zeros(26), "PRC-002"),
        ("vol_state", np.zeros(27), "PRC-002"),
        ("out", np.empty((27, 37)), "PRC-002"),
        ("out", np.empty((27, 37)).T, "PRC-002"),
        ("vol_state", np.full(27, 3), "PRC-004"),
        ("vol_state", np.full(27, -1), "PRC-004"),
    ],
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_refusals(field: str, value: np.ndarray, code: str, kernel: Kernel) -> None:
    with pytest.raises(PricingError) as caught:
        price_grid(**(_book() | {field: value}), kernel=kernel)
    assert caught.value.code == code
    assert caught.value.field == field
