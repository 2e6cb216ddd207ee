"""What this machine can do right now: the yardsticks a benchmark prints beside its figures.

Shared machines differ by a factor of two between a loaded and a quiet minute, so figures are
compared with these from the same run, and as ratios among themselves.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def median_seconds(function: Callable[[], object], repeats: int, budget_s: float = 2.0) -> float:
    """Time a call: median of `repeats`, fewer when they would exceed the budget; one warm-up."""
    start = time.perf_counter()
    function()
    times: list[float] = []
    while len(times) < repeats and (len(times) < 3 or time.perf_counter() - start < budget_s):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def calibrate(repeats: int = 9) -> dict[str, float]:
    """Measure one core: fused multiply-adds in registers and a streaming read.

    Returns
    -------
    dict
        ``fma_gflops`` (2 operations each) and ``read_gbs`` (256 MiB, in 1e9 bytes a second).
    """
    from numba import njit

    @njit(nogil=True, fastmath={"contract", "reassoc", "nsz"})
    def fma(x: Any, rounds: int) -> None:
        # A block of 128 numbers stays in vector registers or L1; each round multiplies and adds.
        for i in range(x.shape[0]):
            a = x[i]
            b, c, d = a + 1.0, a + 2.0, a + 3.0
            for _ in range(rounds):
                a = a * 0.999999 + 1e-6
                b = b * 0.999998 + 2e-6
                c = c * 0.999997 + 3e-6
                d = d * 0.999996 + 4e-6
            x[i] = a + b + c + d

    @njit(nogil=True, fastmath={"contract", "reassoc", "nsz"})
    def read(x: Any) -> float:
        total = 0.0
        for i in range(x.shape[0]):
            total += x[i]
        return total

    block = np.ones(128)
    rounds = 20_000
    fma_s = median_seconds(lambda: fma(block, rounds), repeats)
    stream = np.ones(32 * 1024 * 1024)
    read_s = median_seconds(lambda: read(stream), repeats)
    return {
        "fma_gflops": 8.0 * block.size * rounds / fma_s / 1e9,
        "read_gbs": stream.nbytes / read_s / 1e9,
    }


def machine() -> dict[str, Any]:
    """Say what was measured on: processor, cores, load and versions."""
    import numba
    import scipy

    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    model = line.split(":", 1)[1].strip()
                    break
    except OSError:
        pass
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_1m": round(load, 2),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "numba": numba.__version__,
    }
