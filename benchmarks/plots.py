"""Pictures of the results: how far from the targets, and how things grow. Needs matplotlib."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import Measure, Series, number, with_unit

WIDTH = 8.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the page: its title, and its path relative to the page."""

    title: str
    path: str


def available() -> bool:
    """Say whether matplotlib is there."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def draw_all(
    rows: Sequence[Measure], lines: Sequence[Series], folder: Path, prefix: str
) -> list[Picture]:
    """Draw the targets and every plot of lines; return them in the page's order.

    Parameters
    ----------
    rows : sequence of Measure
        The table of targets.
    lines : sequence of Series
        Lines; those with one `plot` share a picture.
    folder : Path
        Where the pictures are written.
    prefix : str
        Path of the folder as seen from the page.
    """
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    if any(_shown(row) for row in rows):
        out.append(_save(targets_figure(rows), "Targets", folder, prefix))
    for plot in dict.fromkeys(line.plot for line in lines):
        mine = [line for line in lines if line.plot == plot]
        out.append(_save(growth_figure(mine), plot, folder, prefix))
    return out


def _save(figure: Any, title: str, folder: Path, prefix: str) -> Picture:
    import matplotlib.pyplot as plt

    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") + ".png"
    # Without the program's version in the file, same figures give the same bytes.
    figure.savefig(folder / name, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return Picture(title, f"{prefix}/{name}")


def _shown(row: Measure) -> bool:
    """Say whether a row is a ratio to a line above zero."""
    return bool(row.value and row.at_least and row.value > 0)


def targets_figure(rows: Sequence[Measure]) -> Any:
    """Bars of how many times each row is past the line that it must reach; marks at the aims."""
    import matplotlib.pyplot as plt

    shown = [row for row in rows if _shown(row)][::-1]
    figure, axes = plt.subplots(figsize=(WIDTH + 2, 1.2 + 0.42 * len(shown)), layout="constrained")
    for y, row in enumerate(shown):
        assert row.value is not None and row.at_least is not None
        good = not row.verdict.startswith("missed")
        past = _past(row, row.value)
        colour = (
            "#2a7f62" if row.verdict.startswith("aim met") else "#7fb3a0" if good else "#c0573e"
        )
        axes.barh(y, math.log2(past), color=colour, height=0.6)
        if row.aim:
            axes.plot([math.log2(_past(row, row.aim))] * 2, [y - 0.4, y + 0.4], "k-", lw=2)
        axes.annotate(
            with_unit(row.value, row.unit),
            (math.log2(past), y),
            xytext=(4 if past >= 1 else -4, 0),
            textcoords="offset points",
            va="center",
            ha="left" if past >= 1 else "right",
            fontsize=8,
        )
    axes.axvline(0, color="black", lw=1)
    axes.set_yticks(range(len(shown)), [_folded(row.name) for row in shown], fontsize=7)
    low, high = axes.get_xlim()
    ticks = range(math.floor(low), math.ceil(high) + 1)
    axes.set_xticks(list(ticks), [f"{2.0**t:g}×" for t in ticks])
    axes.set_xlim(low - 0.3, high + 0.5)
    axes.set_xlabel("times better than the line it must reach (black marks: the aim)")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _past(row: Measure, value: float) -> float:
    assert row.at_least is not None
    return value / row.at_least if row.better == "higher" else row.at_least / value


def _folded(text: str, width: int = 58) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width)[:2])


def growth_figure(lines: Sequence[Series]) -> Any:
    """Draw lines on log-log axes, slopes in the legend, and a dotted line of the expected slope."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(WIDTH, 4.8), layout="constrained")
    for line in lines:
        label = f"{line.label}: slope {number(line.slope)}"
        axes.loglog(line.xs, line.ys, "o-", label=label, lw=1.5, ms=4)
    first = lines[0]
    if first.expected is not None:
        scale = first.ys[-1] / first.xs[-1] ** first.expected
        guide = [scale * x**first.expected for x in first.xs]
        axes.loglog(first.xs, guide, ":", color="grey", label=f"slope {number(first.expected)}")
    axes.set_xlabel(first.x_name)
    axes.set_ylabel(first.y_name)
    axes.set_title(first.plot)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=8)
    return figure
