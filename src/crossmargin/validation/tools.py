"""A margin path with and without each anti-procyclicality tool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossmargin.validation._result import Floats
from crossmargin.validation.procyclicality import (
    Procyclicality,
    procyclicality,
    with_buffer,
    with_floor,
    with_stress_weight,
)

#: Losses within this share of a book's size beyond its margin are rounding.
_ZERO = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLine:
    """A margin path with one anti-procyclicality tool.

    Attributes
    ----------
    tool : str
        ``none``, ``stress weight``, ``floor`` or ``buffer``.
    cycle : Procyclicality
        Of the path; its cost is against ``none``.
    breaches : int
        With the tool.
    observations : int
        Tested.
    """

    tool: str
    cycle: Procyclicality
    breaches: int
    observations: int


def tool_paths(margin: Floats, weight: float = 0.25) -> dict[str, Floats]:
    """Return a margin path as it is and with each tool of EMIR art. 28, without hindsight.

    The stress level is the worst margin of the book so far and the floor the root mean square of
    its margins so far, in a path that begins with the margins of the start-up; so the tools know
    only what was known (house; the regulation leaves the levels to the clearing house).
    """
    worst = np.maximum.accumulate(margin)
    mean = np.sqrt(np.cumsum(margin**2) / np.arange(1, margin.size + 1))
    return {
        "none": margin,
        "stress weight": with_stress_weight(margin, worst, weight),
        "floor": with_floor(margin, mean),
        "buffer": with_buffer(margin, worst, weight),
    }


def tool_table(forecast: Floats, loss: Floats, first: int, gross_usd: float) -> list[ToolLine]:
    """Measure each tool on one book, from its first tested day on.

    Parameters
    ----------
    forecast : float64[D]
        Unmitigated margin by day; what comes before `first` is what the tools learn from.
    loss : float64[D]
        Loss over the horizon after each day.
    first : int
        First tested day.
    gross_usd : float
        Size of the book.

    Returns
    -------
    list of ToolLine
        Empty where a margin is not positive.
    """
    known = np.flatnonzero(np.isfinite(forecast))
    if not known.size or not bool((forecast[known] > 0).all()):
        return []
    paths = tool_paths(forecast[known])
    keep = (known >= first) & np.isfinite(loss[known])
    if not keep.any():
        return []
    kept = {tool: path[keep] for tool, path in paths.items()}
    return tool_lines(kept, loss[known][keep], gross_usd)


def tool_lines(paths: dict[str, Floats], loss: Floats, gross_usd: float) -> list[ToolLine]:
    """Measure margin paths with and without tools; empty where a margin is not positive.

    Parameters
    ----------
    paths : dict of str to float64[n]
        By tool; ``none`` is what costs are measured against.
    loss : float64[n]
        Loss over the horizon after each day.
    gross_usd : float
        Size of the book.
    """
    if any(not bool((np.isfinite(path) & (path > 0)).all()) for path in paths.values()):
        return []
    return [
        ToolLine(
            tool=tool,
            cycle=procyclicality(path, paths["none"]),
            breaches=int((loss > path + _ZERO * gross_usd).sum()),
            observations=loss.size,
        )
        for tool, path in paths.items()
    ]
