"""What this machine can do right now: the yardsticks a benchmark prints beside its figures.

Shared machines differ by a factor of two between a loaded and a quiet minute, so figures are
compared with these from the same run, and as ratios among themselves. A yardstick that is too
short flatters what is measured with it: the peak is the *best* of several shapes of loop, each of
which keeps at least eight independent vectors in flight, and the best of its repeats.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numpy as np

# Bytes of vectors and number of accumulators: 16 registers of AVX2, 32 of AVX-512.
_SHAPES = ((32, 8), (32, 12), (64, 8), (64, 12), (64, 16), (64, 24))


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


@cache
def fma_loop(single: bool, width: int, accumulators: int) -> Callable[[int], float]:
    """Compile a loop of independent fused multiply-adds on vectors that stay in registers.

    Parameters
    ----------
    single : bool
        float32 instead of float64.
    width : int
        Bytes of a vector.
    accumulators : int
        Independent vectors. Each waits four or five cycles for itself, so eight or more are
        needed to keep two units busy.

    Returns
    -------
    callable
        ``loop(rounds)``: ``2 * accumulators * lanes * rounds`` operations; the sum is returned
        so that nothing is optimised away.
    """
    from llvmlite import ir
    from numba import njit, types
    from numba.core import cgutils
    from numba.extending import intrinsic

    scalar = ir.FloatType() if single else ir.DoubleType()
    lanes = width // (4 if single else 8)
    vector = ir.VectorType(scalar, lanes)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        rounds = args[0]
        name = f"llvm.fma.v{lanes}f{32 if single else 64}"
        kind = ir.FunctionType(vector, [vector, vector, vector])
        fma = cgutils.get_or_insert_function(builder.module, kind, name)
        keep = ir.Constant(vector, [ir.Constant(scalar, 0.999)] * lanes)
        add = ir.Constant(vector, [ir.Constant(scalar, 1e-3)] * lanes)
        before = builder.block
        loop = builder.append_basic_block("fma.loop")
        done = builder.append_basic_block("fma.done")
        builder.branch(loop)
        builder.position_at_end(loop)
        count = builder.phi(ir.IntType(64))
        count.add_incoming(ir.Constant(ir.IntType(64), 0), before)
        held = []
        for k in range(accumulators):
            phi = builder.phi(vector)
            phi.add_incoming(ir.Constant(vector, [ir.Constant(scalar, 1.0 + k)] * lanes), before)
            held.append(phi)
        after = [builder.call(fma, [phi, keep, add]) for phi in held]
        following = builder.add(count, ir.Constant(ir.IntType(64), 1))
        count.add_incoming(following, loop)
        for phi, value in zip(held, after):
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, rounds), loop, done)
        builder.position_at_end(done)
        total = after[0]
        for value in after[1:]:
            total = builder.fadd(total, value)
        out = builder.extract_element(total, ir.Constant(ir.IntType(32), 0))
        for lane in range(1, lanes):
            out = builder.fadd(
                out, builder.extract_element(total, ir.Constant(ir.IntType(32), lane))
            )
        return builder.fpext(out, ir.DoubleType()) if single else out

    @intrinsic
    def run(typingctx: Any, rounds: Any) -> Any:
        return types.float64(types.int64), generate

    @njit(nogil=True)
    def loop(rounds: int) -> float:
        return run(np.int64(rounds))

    return loop  # type: ignore[no-any-return]


@cache
def best_shape(single: bool) -> tuple[int, int]:
    """Return the (bytes of a vector, accumulators) that reach the highest rate here."""
    rates = {}
    for width, accumulators in _SHAPES:
        loop = fma_loop(single, width, accumulators)
        flops = _flops(single, width, accumulators)
        rounds = 200_000
        loop(10)
        best = min(_seconds(partial(loop, rounds)) for _ in range(5))
        rates[width, accumulators] = flops * rounds / best
    return max(rates, key=lambda shape: rates[shape])


def _flops(single: bool, width: int, accumulators: int) -> int:
    return 2 * accumulators * width // (4 if single else 8)


def _seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def fma_case(single: bool = False, seconds: float = 0.01) -> tuple[Callable[[], object], float]:
    """Return a call of about `seconds` at the peak rate of one core, and its operations.

    For a timing loop: the rate is operations over the least time of the rounds.
    """
    width, accumulators = best_shape(single)
    loop, flops = fma_loop(single, width, accumulators), _flops(single, width, accumulators)
    trial = 100_000
    took = min(_seconds(lambda: loop(trial)) for _ in range(3))
    rounds = max(1_000, int(trial * seconds / took))
    return (lambda: loop(rounds)), float(flops * rounds)


@cache
def _read_loop() -> Callable[..., float]:
    from numba import njit

    @njit(nogil=True, fastmath={"contract", "reassoc", "nsz"})
    def read(x: Any) -> float:
        total = 0.0
        for i in range(x.shape[0]):
            total += x[i]
        return total

    return read  # type: ignore[no-any-return]


@cache
def _chase_loop() -> Callable[..., int]:
    from numba import njit

    @njit(nogil=True)
    def chase(following: Any, steps: int) -> int:
        at = 0
        for _ in range(steps):
            at = following[at]
        return at

    return chase  # type: ignore[no-any-return]


def _both(function: Callable[[int], object]) -> float:
    """Seconds for two threads to finish the call each."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(function, range(2)))
        return min(_seconds(lambda: list(pool.map(function, range(2)))) for _ in range(5))


def latency_ns(size: int, steps: int = 400_000) -> float:
    """Time of one dependent load from memory of `size` bytes, in nanoseconds.

    A cycle through all cache lines in random order (64 bytes each, one word used of each).
    """
    lines = size // 64
    order = np.random.default_rng(5).permutation(lines)
    following = np.zeros(lines * 8, dtype=np.int64)
    following[order * 8] = np.roll(order, -1) * 8
    chase = _chase_loop()
    chase(following, min(steps, lines))
    return min(_seconds(lambda: chase(following, steps)) for _ in range(3)) / steps * 1e9


@cache
def peak_rate(single: bool, repeats: int = 50) -> float:
    """Return the operations a second that one core reaches at its best; measured once."""
    call, flops = fma_case(single)
    return flops / min(_seconds(call) for _ in range(repeats))


def calibrate(
    repeats: int = 9, *, stream_mib: int = 256, latency: bool = False
) -> dict[str, float]:
    """Measure what bounds a kernel here: multiply-adds in registers and a streaming read.

    Parameters
    ----------
    repeats : int
        Runs of each; the best counts.
    stream_mib : int
        Memory of the streaming read; well past the last-level cache.
    latency : bool
        Also the time of a dependent load, from 512 KiB, 8 MiB and 128 MiB.

    Returns
    -------
    dict
        ``fma_gflops`` (float64, one core, 2 operations each), ``fma_gflops_2`` (two threads),
        ``fma32_gflops``, ``read_gbs``, ``read_gbs_2`` (1e9 bytes a second); ``latency_*_ns``.
    """
    out: dict[str, float] = {}
    for single, name in ((False, "fma_gflops"), (True, "fma32_gflops")):
        out[name] = peak_rate(single) / 1e9
    call, flops = fma_case()
    out["fma_gflops_2"] = 2 * flops / _both(lambda _: call()) / 1e9
    stream = np.ones(stream_mib * 1024 * 128)
    read, half = _read_loop(), stream.size // 2
    read(stream)
    out["read_gbs"] = (
        stream.nbytes / min(_seconds(lambda: read(stream)) for _ in range(repeats)) / 1e9
    )
    parts = (stream[:half], stream[half:])
    out["read_gbs_2"] = stream.nbytes / _both(lambda i: read(parts[i])) / 1e9
    if latency:
        for label, size in (("512k", 1 << 19), ("8m", 1 << 23), ("128m", 1 << 27)):
            out[f"latency_{label}_ns"] = latency_ns(size)
    return out


def machine() -> dict[str, Any]:
    """Say what was measured on: processor, cores, memory, load and versions; no names of hosts."""
    import llvmlite
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
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        memory = float("nan")
    from llvmlite.binding import get_host_cpu_name

    return {
        "cpu": f"{model} ({get_host_cpu_name()})",
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_1m": round(load, 2),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
    }
