"""One benchmark module in a process of its own: a clean compiler, its own peak of memory.

Started by `benchmarks.run`: ``python -m benchmarks.child NAME --scale full --out DIR --date D``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.calibration import calibrate, machine
from benchmarks.harness import SCALES, Scale, peak_memory, reset_peak_memory
from benchmarks.results_file import Result, write_result

LIBRARIES = ("torch", "QuantLib", "vollib", "nautilus_trader", "pandas", "polars", "ray")


def libraries() -> dict[str, str]:
    """Return the versions of the rivals' libraries that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def measure(name: str, scale: Scale, date: str) -> Result:
    """Calibrate, run a module and gather what a reader needs to judge its figures."""
    box = machine()
    small = scale.name == "tiny"
    yardstick = calibrate(3 if small else 9, stream_mib=16 if small else 256)
    module = import_module(f"benchmarks.bench_{name}")
    reset_peak_memory()
    start = time.perf_counter()
    measures = module.run(scale)
    return Result(
        name=name,
        date=date,
        scale=scale.name,
        seconds=time.perf_counter() - start,
        peak_rss_mib=peak_memory() / 2**20,
        machine=box,
        calibration=yardstick,
        libraries=libraries(),
        measures=measures,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one module and write its results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--scale", choices=SCALES, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--date", required=True)
    options = parser.parse_args(argv)
    try:
        write_result(measure(options.name, SCALES[options.scale], options.date), options.out)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
