"""What every benchmark shares: scale, measures, targets, and timing that compares fairly.

A benchmark is a module ``benchmarks/bench_NAME.py`` with ``run(scale: Scale) -> list[Measure]``.
``benchmarks/run.py`` runs each in a process of its own. On a shared machine a figure moves by a
factor of two between a quiet and a loaded minute; so what is compared is timed alternately in
one loop (`interleaved`) and quoted as a ratio of the same rounds (`Timing.over`).
"""

from __future__ import annotations

import gc
import math
import statistics
import time
import tomllib
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

TARGETS = Path(__file__).with_name("targets.toml")
STEADY = 1.5
Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes
    ----------
    name : str
        ``tiny`` (tests: does it run), ``quick`` (about a minute in all), ``full`` (what is quoted).
    accounts : int
        Accounts of the book of the headline rows.
    repeats : int
        Rounds of a timing loop, after one warm-up.
    budget_s : float
        A timing loop ends after this many seconds, but not before three rounds.
    growth : int
        Largest number of accounts of the growth plots.
    """

    name: str
    accounts: int
    repeats: int
    budget_s: float
    growth: int

    def at_most(self, accounts: int) -> int:
        """Return this scale's number of accounts, capped where rows are wide."""
        return min(self.accounts, accounts)


SCALES = {
    "tiny": Scale("tiny", 500, 2, 0.3, 1_000),
    "quick": Scale("quick", 100_000, 5, 1.0, 100_000),
    "full": Scale("full", 1_000_000, 15, 20.0, 10_000_000),
}


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a plot: how something grows.

    Attributes
    ----------
    plot : str
        Title of the plot that the line belongs to.
    label : str
        Name of the line.
    x_name, y_name : str
        Axes, with units.
    xs, ys : tuple of float
        Points; both positive.
    expected : float or None
        Slope that theory gives on log-log axes, if it gives one.
    """

    plot: str
    label: str
    x_name: str
    y_name: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    expected: float | None = None

    @property
    def slope(self) -> float:
        """Least-squares slope on log-log axes: 1 is linear; NaN with fewer than two points."""
        return log_slope(self.xs, self.ys)


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the table.

    Attributes
    ----------
    name : str
        What was measured. A row of the targets has the words of ``targets.toml``.
    at_least, aim : float or None
        The line that must be reached, and the one that is aimed at; None: reported only.
    prototype : float or str or None
        What the throw-away prototype gave (another day, the same kind of machine).
    value : float or None
        What was measured; None where it could not be, and `detail` says why.
    unit : str
        ``x`` for ratios, ``%``, ``ms``, ...
    detail : str
        How: sizes, threads, the figures behind a ratio.
    low, high : float or None
        Least and greatest of the repeats.
    better : "higher" or "lower"
        Which way is good.
    key : str
        Key of the target; empty where there is none.
    series : tuple of Series
        Lines for the plots.
    steady : bool
        False where the repeats scattered so much that the figure should not be quoted.
    """

    name: str
    at_least: float | None
    aim: float | None
    prototype: float | str | None
    value: float | None
    unit: str
    detail: str
    low: float | None = None
    high: float | None = None
    better: Better = "higher"
    key: str = ""
    series: tuple[Series, ...] = ()
    steady: bool = True

    @property
    def verdict(self) -> str:
        """Aim met, met, missed, reported, plot, not measured; ``, unsteady`` where it is."""
        if self.value is None:
            return "plot" if self.series else "not measured"
        return self._judged() + ("" if self.steady else ", unsteady")

    def _judged(self) -> str:
        if self.at_least is None and self.aim is None:
            return "reported"
        if self.aim is not None and self._reaches(self.aim):
            return "aim met"
        if self.at_least is not None and self._reaches(self.at_least):
            return "met"
        return "missed"

    def _reaches(self, line: float) -> bool:
        assert self.value is not None
        return self.value >= line if self.better == "higher" else self.value <= line


@cache
def targets() -> dict[str, Measure]:
    """Read the table of targets: a measure without a value by key, in the order of the file."""
    rows = tomllib.loads(TARGETS.read_text(encoding="utf-8"))["target"]
    return {
        row["key"]: Measure(
            name=row["what"],
            at_least=row.get("at_least"),
            aim=row.get("aim"),
            prototype=row.get("prototype"),
            value=None,
            unit=row["unit"],
            detail="",
            better=row.get("better", "higher"),
            key=row["key"],
        )
        for row in rows
    }


def target(
    key: str,
    value: float | None,
    detail: str,
    *,
    low: float | None = None,
    high: float | None = None,
    series: tuple[Series, ...] = (),
    steady: bool = True,
) -> Measure:
    """Fill in a row of the targets.

    Raises
    ------
    KeyError
        When ``targets.toml`` has no such key.
    """
    row = targets()[key]
    return replace(
        row, value=value, detail=detail, low=low, high=high, series=series, steady=steady
    )


def ratio_row(key: str, theirs: Timing, ours: Timing, detail: str) -> Measure:
    """Fill in a row that says how many times faster ours is, in doubt to the rival's favour.

    The value is the median of the rounds' ratios, or the ratio of the best times where that is
    less: a rival whose threads were held up by strangers is not slow.
    """
    ratio, value, note = _in_doubt(theirs, ours)
    return target(
        key,
        value,
        f"{detail}; {note}",
        low=ratio.low,
        high=ratio.high,
        steady=theirs.steady and ours.steady,
    )


def slower_row(name: str, theirs: Timing, ours: Timing, detail: str) -> Measure:
    """Make a row without a target that says how many times slower a rival is, as `ratio_row`."""
    ratio, value, note = _in_doubt(theirs, ours)
    row = report(name, value, "x", f"{detail}; {note}", low=ratio.low, high=ratio.high)
    return replace(row, steady=theirs.steady and ours.steady)


def _in_doubt(theirs: Timing, ours: Timing) -> tuple[Spread, float, str]:
    """Return the ratio by rounds, the lesser of its median and the best times' ratio, and both."""
    ratio, best = theirs.over(ours), theirs.low / ours.low
    note = (
        f"median of the rounds' ratios {number(ratio.median)}×, of the best times {number(best)}×"
    )
    return ratio, min(ratio.median, best), f"{note}: the lesser counts"


def report(
    name: str,
    value: float | None,
    unit: str,
    detail: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    better: Better = "lower",
    series: tuple[Series, ...] = (),
) -> Measure:
    """Make a row without a target."""
    return Measure(
        name, None, None, None, value, unit, detail, low, high, better=better, series=series
    )


# ------------------------------------------------------------------------------------ timing


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall times of one case of a loop, in the order of the rounds, seconds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def low(self) -> float:
        return min(self.seconds)

    @property
    def high(self) -> float:
        return max(self.seconds)

    @property
    def steady(self) -> bool:
        """Whether half of the rounds took less than one and a half times the least."""
        return self.median <= STEADY * self.low

    def over(self, base: Timing, factor: float = 1.0) -> Spread:
        """Return how many times longer this took than `base`, round by round, times `factor`.

        Both must come from one call of `interleaved`: what disturbs a round disturbs both.
        """
        if len(self.seconds) != len(base.seconds):
            raise ValueError("ratios are formed within the rounds of one loop")
        return Spread.of([factor * a / b for a, b in zip(self.seconds, base.seconds, strict=True)])


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of repeats."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


def interleaved(cases: Mapping[str, Callable[[], object]], scale: Scale) -> dict[str, Timing]:
    """Time cases alternately in one loop, after a warm-up of each.

    The order turns round after round, so that none always runs on the caches of another. The
    collector of garbage is off meanwhile.
    """
    for case in cases.values():
        case()
    times: dict[str, list[float]] = {name: [] for name in cases}
    start, rounds, was_on = time.perf_counter(), 0, gc.isenabled()
    gc.disable()
    try:
        while rounds < scale.repeats:
            if rounds >= min(3, scale.repeats) and time.perf_counter() - start > scale.budget_s:
                break
            for name in list(cases) if rounds % 2 == 0 else list(reversed(cases)):
                begin = time.perf_counter()
                cases[name]()
                times[name].append(time.perf_counter() - begin)
            rounds += 1
    finally:
        if was_on:
            gc.enable()
    return {name: Timing(tuple(values)) for name, values in times.items()}


def timed(case: Callable[[], object], scale: Scale) -> Timing:
    """Time one case, as `interleaved` does."""
    return interleaved({"": case}, scale)[""]


def fastest(cases: Mapping[str, Callable[[], object]], tries: int = 2) -> str:
    """Return the case with the best time of a few: for choosing a chunk size before timing."""
    best: dict[str, float] = {}
    for name, case in cases.items():
        case()
        for _ in range(tries):
            begin = time.perf_counter()
            case()
            took = time.perf_counter() - begin
            best[name] = min(took, best.get(name, math.inf))
    return min(best, key=lambda name: best[name])


# ------------------------------------------------------------------------------------ numbers


def log_slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Least-squares slope of log y over log x; NaN with fewer than two different x."""
    if len(set(xs)) < 2:
        return math.nan
    u, v = [math.log(x) for x in xs], [math.log(y) for y in ys]
    return statistics.linear_regression(u, v).slope


def number(value: float | str | None) -> str:
    """Write a number with three significant digits, without an exponent."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def with_unit(value: float | str | None, unit: str) -> str:
    """Write a number with its unit: ``12.3×``, ``55 %``, ``4.1 ms``."""
    text = number(value)
    if value is None or isinstance(value, str) or not unit:
        return text
    return f"{text}×" if unit == "x" else f"{text} {unit}"


def _status(key: str) -> int | None:
    """Return a line of Linux's account of this process, bytes; None on other systems."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(int(x.split()[1]) * 1024 for x in lines if x.startswith(key))
    except (OSError, StopIteration):
        return None


def peak_memory() -> int:
    """Return the greatest resident memory of this process since `reset_peak_memory`, bytes.

    From the kernel's high-water mark of this process's memory; `getrusage` would count what
    the parent held when it started us.
    """
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def reset_peak_memory() -> bool:
    """Set the high-water mark to what is resident now; False where the system cannot."""
    gc.collect()
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return False
    return True


def memory_of(call: Callable[[], object]) -> int:
    """Return the most that a call has allocated at once beyond what was there, bytes.

    NumPy's and Python's allocations, exactly; compiled code's own scratch is not seen.
    """
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
