"""The table of targets for the terminal, and RESULTS.md with its plots."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.harness import Measure, Series, number, targets, with_unit
from benchmarks.plots import Picture
from benchmarks.results_file import Result

HEAD = ("what", "at least", "aim", "prototype", "measured", "min to max", "verdict")


def limit(value: float | None, row: Measure) -> str:
    """Write a target: ``≥ 8×``, ``≤ 3×``."""
    if value is None:
        return "–"
    return f"{'≥' if row.better == 'higher' else '≤'} {with_unit(value, row.unit)}"


def spread(row: Measure) -> str:
    """Write the range of the repeats."""
    if row.low is None and row.high is None:
        return "–"
    return f"{number(row.low)} to {number(row.high)}"


def cells(row: Measure) -> tuple[str, ...]:
    """Return a row of the table of targets as text."""
    return (
        row.name,
        limit(row.at_least, row),
        limit(row.aim, row),
        with_unit(row.prototype, row.unit),
        with_unit(row.value, row.unit),
        spread(row),
        row.verdict.replace("missed", "MISSED"),
    )


def target_rows(results: Iterable[Result]) -> list[Measure]:
    """Return all rows of the targets in their order; those that no module measured say so.

    Where two modules measured one row, the first by name is taken.
    """
    measured: dict[str, Measure] = {}
    for result in results:
        for row in result.measures:
            if row.key:
                measured.setdefault(row.key, row)
    return [measured.get(key, row) for key, row in targets().items()]


def text_table(rows: Sequence[Sequence[str]], head: Sequence[str], first: int = 58) -> str:
    """Lay out a table for the terminal; the first column is folded."""
    widths = [max(len(head[c]), *(len(r[c]) for r in rows), 0) for c in range(1, len(head))]
    out = []
    for row in (head, *rows):
        folded = textwrap.wrap(row[0], first) or [""]
        rest = "  ".join(f"{cell:>{w}}" for cell, w in zip(row[1:], widths))
        out.append(f"{folded[0]:<{first}}  {rest}")
        out += folded[1:]
    return "\n".join(out)


def terminal(results: Sequence[Result], everything: bool = True) -> str:
    """Return what ``make bench`` prints at the end; without `everything`, only rows measured."""
    parts = [f"{heading(r)}" for r in results]
    rows = [row for row in target_rows(results) if everything or row.detail]
    if not rows:
        return "\n".join(parts)
    table = text_table([cells(row) for row in rows], HEAD)
    notes = [f"  {row.name}: {row.detail}" for row in rows if row.detail]
    return "\n".join([*parts, "", table, "", "How the rows were measured:", *notes])


def heading(result: Result) -> str:
    """Say in a line what a module was measured on."""
    c = result.calibration
    return (
        f"{result.name} ({result.scale}, {result.date}): {machine(result)}; load "
        f"{result.machine['load_1m']} at the start; FMA f64 {c['fma_gflops']:.0f} / two threads "
        f"{c['fma_gflops_2']:.0f}, f32 {c['fma32_gflops']:.0f} GFLOP/s; read "
        f"{c['read_gbs']:.0f} / {c['read_gbs_2']:.0f} GB/s; peak memory "
        f"{result.peak_rss_mib:,.0f} MiB; {result.seconds:.0f} s"
    )


def machine(result: Result) -> str:
    """Name the kind of machine."""
    m = result.machine
    return f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['system']}"


# ------------------------------------------------------------------------------------- Markdown


def markdown(results: Sequence[Result], pictures: Sequence[Picture]) -> str:
    """Return the page of results."""
    return "\n".join(
        [
            "# Benchmark results",
            "",
            "Written by `make bench`; `docs/benchmarks.md` says how each row is measured and what "
            "it does not say. Ratios are formed within the rounds of one loop; figures are "
            "medians, with the least and greatest of the repeats. The column *prototype* is from "
            "throw-away prototypes on another day.",
            "",
            *runs(results),
            "## Targets",
            "",
            *warning(results),
            *md_table(HEAD, [cells(row) for row in target_rows(results)]),
            "",
            "How, and the figures behind the ratios:",
            "",
            *(f"- {row.name}: {row.detail}." for row in target_rows(results) if row.detail),
            "",
            *missing(results),
            *reported(results),
            *growth(results),
            *(line for picture in pictures for line in (f"![{picture.title}]({picture.path})", "")),
        ]
    ).rstrip() + "\n"  # fmt: skip


def warning(results: Sequence[Result]) -> list[str]:
    """Say so where the sizes are not those of the targets."""
    short = sorted({r.scale for r in results} - {"full"})
    if not short:
        return []
    return [f"**Measured at scale {', '.join(short)}: smaller than the targets say.**", ""]


def missing(results: Sequence[Result]) -> list[str]:
    """List the targets that nothing measured."""
    gone = [row.name for row in target_rows(results) if not row.detail and row.value is None]
    return [f"Not measured in these runs: {'; '.join(gone)}.", ""] if gone else []


def runs(results: Sequence[Result]) -> list[str]:
    """Say what each module ran on, and the machine's yardsticks in the same process."""
    head = ("module", "date", "scale", "load at start", "FMA f64, 1 / 2 threads", "FMA f32",
            "read, 1 / 2 threads", "peak memory", "time")  # fmt: skip
    rows = []
    for r in results:
        c = r.calibration
        rows.append(
            (
                r.name,
                r.date,
                r.scale,
                str(r.machine["load_1m"]),
                f"{c['fma_gflops']:.0f} / {c['fma_gflops_2']:.0f} GFLOP/s",
                f"{c['fma32_gflops']:.0f} GFLOP/s",
                f"{c['read_gbs']:.0f} / {c['read_gbs_2']:.0f} GB/s",
                f"{r.peak_rss_mib:,.0f} MiB",
                f"{r.seconds:.0f} s",
            )
        )
    boxes = sorted({machine(r) for r in results})
    software = sorted({versions(r) for r in results})
    return [
        "## Machine",
        "",
        *(f"- {box}" for box in boxes),
        *(f"- {line}" for line in software),
        "",
        *md_table(head, rows),
        "",
    ]


def versions(result: Result) -> str:
    """List the versions of what was measured."""
    own = {k: result.machine[k] for k in ("python", "numpy", "scipy", "numba", "llvmlite")}
    return ", ".join(f"{name} {value}" for name, value in (own | result.libraries).items())


def reported(results: Sequence[Result]) -> list[str]:
    """Return the rows without a target of the table above, by module."""
    out: list[str] = []
    for result in results:
        rows = [row for row in result.measures if not row.key]
        if not rows:
            continue
        lined = any(row.at_least is not None for row in rows)
        head = ("what", "at least", "measured", "min to max", "verdict", "how")
        full = [
            (row.name, limit(row.at_least, row), with_unit(row.value, row.unit), spread(row),
             row.verdict, row.detail)
            for row in rows
        ]  # fmt: skip
        keep = (0, 1, 2, 3, 4, 5) if lined else (0, 2, 3, 5)
        out += [f"## {result.name.capitalize()}", ""]
        out += md_table([head[c] for c in keep], [[row[c] for c in keep] for row in full])
        out.append("")
    return out


def growth(results: Sequence[Result]) -> list[str]:
    """Return the slopes and points of all lines."""
    lines = [s for r in results for row in r.measures for s in row.series]
    if not lines:
        return []
    head = ("plot", "line", "from", "to", "slope (log-log)", "expected")
    return ["## Growth", "", *md_table(head, [growth_row(s) for s in lines]), ""]


def growth_row(s: Series) -> tuple[str, ...]:
    """Return a line of a plot as a row."""
    ends = [f"{number(s.xs[i])}: {number(s.ys[i])} {s.y_name}" for i in (0, -1)]
    return (s.plot, s.label, *ends, number(s.slope), number(s.expected))


def md_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(cell.replace('|', '¦') for cell in row)} |" for row in rows),
    ]


def write_page(results: Sequence[Result], path: Path, pictures: Sequence[Picture]) -> None:
    """Write the page whole."""
    from benchmarks.results_file import write_whole

    write_whole(path, markdown(results, pictures).encode())
