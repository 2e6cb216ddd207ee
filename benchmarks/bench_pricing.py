"""Black-76 pricers side by side on one core, in one loop.

Loops over libraries are timed on fewer options (their cost an option does not depend on the
number).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import Measure, Scale, interleaved, number, report

LOOP_OPTIONS = 2_000

Inputs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def sample(n: int, seed: int = 1) -> Inputs:
    """Draw options like a listed chain: an hour to two years, 20 % to 150 %."""
    rng = np.random.default_rng(seed)
    return (
        50_000.0 * np.exp(rng.normal(0.0, 0.1, n)),
        50_000.0 * np.exp(rng.normal(0.0, 0.3, n)),
        rng.uniform(1 / 8760, 2.0, n),
        rng.uniform(0.2, 1.5, n),
        rng.random(n) < 0.5,
    )


def scipy_straightforward(
    f: np.ndarray, k: np.ndarray, t: np.ndarray, v: np.ndarray, c: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Price, delta and vega as one would write them first, with NumPy and scipy's ndtr."""
    from scipy.special import ndtr

    root = np.sqrt(t)
    s = v * root
    d1 = np.log(f / k) / s + 0.5 * s
    n1, n2 = ndtr(d1), ndtr(d1 - s)
    call = f * n1 - k * n2
    price = np.where(c, call, call - f + k)
    delta = np.where(c, n1, n1 - 1.0)
    vega = f * root * np.exp(-0.5 * d1 * d1) / math.sqrt(2.0 * math.pi)
    return price, delta, vega


def library_loops(inputs: Inputs) -> list[tuple[str, str, int, Callable[[], object]]]:
    """Loops over the libraries that are installed; a missing one is left out and said so."""
    lists = [array[:LOOP_OPTIONS].tolist() for array in inputs]
    rows = list(zip(*lists))
    loops: list[tuple[str, str, int, Callable[[], object]]] = []
    try:
        import QuantLib as ql
    except ImportError:
        print("QuantLib is not installed: its rows are left out", file=sys.stderr)
    else:
        call, put = ql.Option.Call, ql.Option.Put

        def formula() -> object:
            return [
                ql.blackFormula(call if c else put, k, f, v * math.sqrt(t))
                for f, k, t, v, c in rows
            ]

        def calculator() -> object:
            out = []
            for f, k, t, v, c in rows:
                payoff = ql.PlainVanillaPayoff(call if c else put, k)
                one = ql.BlackCalculator(payoff, f, v * math.sqrt(t), 1.0)
                out.append((one.value(), one.deltaForward(), one.vega(t)))
            return out

        loops.append(("QuantLib BlackCalculator loop", "price delta vega", len(rows), calculator))
        loops.append(("QuantLib blackFormula loop", "price", len(rows), formula))
    try:
        from vollib.black import undiscounted_black
    except ImportError:
        print("vollib is not installed: its row is left out", file=sys.stderr)
    else:

        def vollib() -> object:
            return [undiscounted_black(f, k, v, t, "c" if c else "p") for f, k, t, v, c in rows]

        loops.append(("vollib loop", "price", len(rows), vollib))
    return loops


def cases(n: int) -> list[tuple[str, str, int, Callable[[], object]]]:
    """List (name, what it computes, options a call, the call)."""
    from crossmargin.pricing import _numba as compiled
    from crossmargin.pricing import black76, black76_price_delta_vega, implied_vol, price_grid

    inputs = sample(n)
    outs = tuple(np.empty(n) for _ in range(3))
    f, k, t, v, c = inputs
    prices = black76(f, k, t, v, c)

    chain = sample(1_500, seed=2)
    scenarios = 35
    grid: dict[str, Any] = {
        "forward_fixed": 0.0,
        "forward_variable": chain[0],
        "strike": chain[1],
        "years": chain[2],
        "is_call": chain[4],
        "move": np.linspace(-0.16, 0.16, scenarios),
        "vol": chain[3][:, None] * np.array([0.75, 1.0, 1.5]),
        "vol_state": np.arange(scenarios) % 3,
        "out": np.empty((1_500, scenarios)),
    }
    cells = 1_500 * scenarios
    three = "price delta vega"
    fused, alone = compiled._price_delta_vega_loop, compiled._price_loop
    return [
        ("own numba, kernel alone", three, n, lambda: fused(*inputs, *outs)),
        ("own numba, checked", three, n, lambda: black76_price_delta_vega(*inputs, kernel="numba")),
        ("own numba, kernel alone", "price", n, lambda: alone(*inputs, outs[0])),
        ("own numba, checked", "price", n, lambda: black76(*inputs, kernel="numba")),
        ("own numpy reference", three, n, lambda: black76_price_delta_vega(*inputs)),
        ("numpy + scipy ndtr", three, n, lambda: scipy_straightforward(*inputs)),
        ("own numba grid 1500 x 35", "grid", cells, lambda: price_grid(**grid, kernel="numba")),
        ("own numpy grid 1500 x 35", "grid", cells, lambda: price_grid(**grid)),
        ("own implied vol", "implied vol", n, lambda: implied_vol(prices, f, k, t, c)),
        *library_loops(inputs),
    ]


def run(scale: Scale) -> list[Measure]:
    """Time all pricers; those that compute the same are compared with the first of them."""
    size = 2_000 if scale.name == "tiny" else 48_000
    rows: list[Measure] = []
    listed = cases(size)
    for computes in dict.fromkeys(case[1] for case in listed):
        mine = [case for case in listed if case[1] == computes]
        times = interleaved({name: call for name, _, _, call in mine}, scale)
        first = mine[0][0]
        options = {name: n for name, _, n, _ in mine}
        for name, _, n, _ in mine:
            ratio = times[name].over(times[first], options[first] / n)
            each = 1e9 / n
            rate = n / times[name].median / 1e6
            rows.append(
                report(
                    f"Black-76, {computes}: {name}",
                    times[name].median * each,
                    "ns/option",
                    f"{number(rate)} M options/s; {ratio}× the time of {first}; {n:,} options",
                    low=times[name].low * each,
                    high=times[name].high * each,
                )
            )
    return rows
