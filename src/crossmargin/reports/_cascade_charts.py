"""Pictures of a cascade in time: its path, where it liquidates, open interest, the fan of paths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from crossmargin.reports._plane import Axis, Plane, key, thinned
from crossmargin.reports._svg import Svg, tip
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import Safe, amount, join, number, percent, price, short, usd

Floats = NDArray[np.float64]

#: Areas that are told apart by colour and shade; more contracts are added up in the last.
SERIES = 6


def span_of(*series: Sequence[float] | Floats, zero: bool = False) -> tuple[float, float]:
    """Return the extent of some series with a little room, never empty."""
    values = [float(v) for line in series for v in line if math.isfinite(v)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    pad = 0.05 * (high - low) or max(0.05 * abs(high), 0.5)
    return (low - (0.0 if zero and low == 0 else pad)), high + (0.0 if zero and high == 0 else pad)


def minutes_axis(minutes: Sequence[float]) -> Axis:
    """Return the axis of time since the start."""
    return Axis(minutes[0], max(minutes[-1], minutes[0] + 1e-9), "minutes from the start")


def path_chart(name: str, minutes: Sequence[float], here: Floats, without: Floats) -> Safe:
    """Draw a price as it went beside what it would have been without forced sales.

    Parameters
    ----------
    name : str
        Of the asset.
    minutes : sequence of float
        From the start, T + 1.
    here, without : float64[T + 1]
        Prices, US dollars.
    """
    moved, news = 100.0 * (here / here[0] - 1.0), 100.0 * (without / without[0] - 1.0)
    low, high = span_of(moved, news, zero=True)
    plane = Plane(
        "path",
        f"{name}: lowest {moved.min():+.1f} %, without forced sales {news.min():+.1f} %; ends at "
        f"{moved[-1]:+.1f} % and {news[-1]:+.1f} %.",
        minutes_axis(minutes),
        Axis(low, high, "% from the start", lambda v: number(v, 0 if high - low > 8 else 1)),
    )
    plane.axes()
    plane.area(minutes, moved.tolist(), news.tolist(), "gap")
    plane.line(minutes, news.tolist(), "s1")
    plane.line(minutes, moved.tolist(), "s0")
    plane.bands(
        minutes,
        [
            f"{m:.0f} min\n{name} {price(p)} USD ({a:+.2f} %)\nwithout forced sales {b:+.2f} %"
            for m, p, a, b in zip(minutes, here.tolist(), moved.tolist(), news.tolist())
        ],
    )
    twin = table(
        f"Price of {name}",
        [Column("minutes"), Column("price"), Column("from the start, %"),
         Column("without forced sales, %")],
        [
            [number(minutes[k], 1), price(here[k]), number(moved[k], 2), number(news[k], 2)]
            for k in thinned(len(minutes))
        ],
        hidden=True,
    )  # fmt: skip
    legend = key(
        [
            ("line", "s0", f"{name} as it went"),
            ("line", "s1", "without forced sales"),
            ("area", "gap", "what the cascade added"),
        ]
    )
    return join([legend, plane.markup(), twin])


def volume_chart(minutes: Sequence[float], parts: Mapping[str, Floats], unit: str = "USD") -> Safe:
    """Draw what each step closed by force, kind upon kind.

    Parameters
    ----------
    minutes : sequence of float
        End of each step, T.
    parts : mapping of str to float64[T]
        By kind: at most six, at least 0.
    unit : str
        Of the figures.
    """
    names = list(parts)
    heights = np.array([parts[n] for n in names]).reshape(len(names), -1)
    tops = np.cumsum(heights, axis=0)
    most = float(tops[-1].max()) if tops.size else 0.0
    step = minutes[1] - minutes[0] if len(minutes) > 1 else 1.0
    total = float(heights.sum())
    plane = Plane(
        "volume",
        f"Closed by force: {amount(total)} {unit} in all; the largest step {amount(most)}.",
        Axis(minutes[0] - step, minutes[-1], "minutes from the start"),
        Axis(0.0, most * 1.05 or 1.0, f"{unit} a step"),
        plot=150.0,
    )
    plane.axes()
    base = np.zeros(heights.shape[1])
    for row in range(len(names)):
        for k in np.flatnonzero(heights[row] > 0).tolist():
            plane.box(
                (minutes[k] - step, minutes[k]),
                (float(base[k]), float(base[k] + heights[row, k])),
                f"k{row % SERIES}",
                opacity=0.9,
                words=f"{minutes[k]:.0f} min\n{names[row]} {amount(float(heights[row, k]))} {unit}",
            )
        base = base + heights[row]
    twin = table(
        f"Closed by force, {unit}",
        [Column("minutes"), *(Column(n) for n in names)],
        [
            [number(minutes[k], 1), *(amount(float(heights[r, k])) for r in range(len(names)))]
            for k in np.flatnonzero(heights.sum(axis=0) > 0).tolist()[:200]
        ],
        hidden=True,
    )
    legend = key([("area", f"k{r % SERIES}", n) for r, n in enumerate(names)])
    return join([legend, plane.markup(), twin])


def heat_chart(
    name: str,
    minutes: Sequence[float],
    path: Floats,
    edges: Floats,
    closed: Floats,
    standing: Floats,
    gain: Floats | None,
) -> Safe:
    """Draw where and when positions were liquidated, over where they stood in wait.

    Parameters
    ----------
    name : str
        Of the contract.
    minutes : sequence of float
        Edges of the columns, C + 1, or every step's end; the path has as many points.
    path : float64[len(minutes)]
        Price, US dollars.
    edges : float64[R + 1]
        Prices between the rows, rising.
    closed : float64[R, C]
        US dollars closed at a price in a span of time; C = len(minutes) − 1.
    standing : float64[R]
        US dollars that waited there at the start, by liquidation price.
    gain : float64[R] or None
        Local loop gain ``λ·ℓ(p)`` of each row; rows above 1 are shaded across.
    """
    low, high = float(edges[0]), float(edges[-1])
    hot = gain is not None and bool((gain > 1.0).any())
    said = f"{usd(float(closed.sum()))} closed between {price(low)} and {price(high)} USD."
    if gain is not None:
        said += f" Local gain at most {float(gain.max()):.2f}."
    plane = Plane(
        "heatmap", f"Liquidations of {name} by price and time. {said}", minutes_axis(minutes),
        Axis(low, high, f"price of {name}, USD", short), plot=300.0, right=0.17,
    )  # fmt: skip
    plane.axes()
    if gain is not None:
        for row in np.flatnonzero(gain > 1.0).tolist():
            plane.box(
                (minutes[0], minutes[-1]), (float(edges[row]), float(edges[row + 1])), "hot",
                opacity=0.16,
                words=f"{price(float(edges[row]))} to {price(float(edges[row + 1]))} USD\n"
                f"local gain {float(gain[row]):.2f}: run through without further news",
            )  # fmt: skip
    most = float(closed.max()) if closed.size else 0.0
    for row, column in np.argwhere(closed > 0).tolist():
        value = float(closed[row, column])
        plane.box(
            (minutes[column], minutes[column + 1]), (float(edges[row]), float(edges[row + 1])),
            "loss", opacity=0.15 + 0.8 * math.sqrt(value / most),
            words=f"{minutes[column]:.0f} to {minutes[column + 1]:.0f} min, near "
            f"{price(float(edges[row]))} USD\nclosed {usd(value)}",
        )  # fmt: skip
    plane.line(minutes, path.tolist(), "s0")
    _standing(plane, edges, standing, gain)
    twin = table(
        f"Liquidations of {name} by price, US dollars",
        [Column("from"), Column("to"), Column("waited there at the start"),
         Column("closed there"), Column("local gain")],
        [
            [price(float(edges[r])), price(float(edges[r + 1])), amount(float(standing[r])),
             amount(float(closed[r].sum())), number(float(gain[r]), 2) if gain is not None else "–"]
            for r in range(standing.size)
        ],
        hidden=True,
    )  # fmt: skip
    legend = [
        ("area", "loss", "closed at that price and time"),
        ("line", "s0", f"price of {name}"),
        ("area", "k0", "waited at the start (right)"),
    ]
    if hot:
        legend.append(("area", "hot", "gain band: local gain above 1"))
    return join([key(legend), plane.markup(), twin])


def _standing(plane: Plane, edges: Floats, standing: Floats, gain: Floats | None) -> None:
    """Draw the liquidations in wait as bars on the right, one a row."""
    most = float(standing.max()) if standing.size else 0.0
    start = 1.0 - plane.right + 0.012
    for row in range(standing.size):
        value = float(standing[row])
        if value <= 0 or most <= 0:
            continue
        top, base = plane.down(float(edges[row + 1])), plane.down(float(edges[row]))
        words = f"{price(float(edges[row]))} USD\nwaited there: {usd(value)}"
        if gain is not None:
            words += f"\nlocal gain {float(gain[row]):.2f}"
        plane.svg.raw(f'<g class="mark k0"{tip(words)}>')
        plane.svg.rect(
            start, top + 0.5, (1.0 - start) * value / most, max(base - top - 1, 0.5), cls="tint"
        )
        plane.svg.raw("</g>")
    plane.svg.text(1.0, 12, "in wait at the start", anchor="end", cls="lbl")


def stack_chart(minutes: Sequence[float], interest: Mapping[str, Floats], what: str) -> Safe:
    """Draw amounts of several contracts one upon another.

    Parameters
    ----------
    minutes : sequence of float
        T + 1.
    interest : mapping of str to float64[T + 1]
        US dollars by contract; the smallest are added up where there are more than six.
    what : str
        What is drawn.
    """
    lines = sorted(interest.items(), key=lambda item: -float(item[1][0]))
    if len(lines) > SERIES:
        rest = np.sum([line for _, line in lines[SERIES - 1 :]], axis=0)
        lines = [*lines[: SERIES - 1], (f"{len(lines) - SERIES + 1} others", rest)]
    total = np.sum([line for _, line in lines], axis=0)
    change = total[-1] / total[0] - 1.0 if total[0] > 0 else 0.0
    plane = Plane(
        "stack",
        f"{what}: {usd(float(total[0]))} at the start, {usd(float(total[-1]))} at the end "
        f"({percent(float(change), sign=True)}).",
        minutes_axis(minutes),
        Axis(0.0, float(total.max()) * 1.05 or 1.0, f"{what}, USD"),
    )
    plane.axes()
    base = np.zeros(len(minutes))
    for row, (_, line) in enumerate(lines):
        top = base + line
        plane.area(minutes, base.tolist(), top.tolist(), f"k{row}")
        base = top
    plane.bands(
        minutes,
        [
            f"{m:.0f} min\n" + "\n".join(f"{n} {short(float(line[k]))}" for n, line in lines)
            for k, m in enumerate(minutes)
        ],
    )
    twin = table(
        f"{what}, US dollars",
        [Column("minutes"), *(Column(n) for n, _ in lines)],
        [
            [number(minutes[k], 1), *(amount(float(line[k])) for _, line in lines)]
            for k in thinned(len(minutes))
        ],
        hidden=True,
    )
    legend = key([("area", f"k{r}", n) for r, (n, _) in enumerate(lines)])
    return join([legend, plane.markup(), twin])


def lines_chart(
    minutes: Sequence[float],
    series: Mapping[str, Floats],
    unit: str,
    text: str = "",
    *,
    zero: bool = True,
) -> Safe:
    """Draw up to five lines over time."""
    low, high = span_of(*series.values(), zero=zero)
    said = ", ".join(f"{n} ends at {number(float(v[-1]), 2)}" for n, v in series.items())
    axis = Axis(low, high, unit, lambda v: short(v) + text)
    plane = Plane("lines", f"{said} {unit}.", minutes_axis(minutes), axis, plot=150.0)
    plane.axes()
    for row, line in enumerate(series.values()):
        plane.line(minutes, line.tolist(), f"s{row % 5}")
    plane.bands(
        minutes,
        [
            f"{m:.0f} min\n" + "\n".join(f"{n} {float(v[k]):,.4g}{text}" for n, v in series.items())
            for k, m in enumerate(minutes)
        ],
    )
    twin = table(
        unit,
        [Column("minutes"), *(Column(n) for n in series)],
        [
            [number(minutes[k], 1), *(f"{float(v[k]):,.6g}" for v in series.values())]
            for k in thinned(len(minutes))
        ],
        hidden=True,
    )
    legend = key([("line", f"s{r % 5}", n) for r, n in enumerate(series)])
    return join([legend, plane.markup(), twin])


def fan_chart(
    minutes: Sequence[float], quantiles: Mapping[float, Floats], what: str, unit: str = "%"
) -> Safe:
    """Draw the fan of many paths: pairs of quantiles as bands, the median as a line.

    Parameters
    ----------
    minutes : sequence of float
        T + 1.
    quantiles : mapping of float to float64[T + 1]
        By level; symmetric pairs and 0.5.
    what : str
        What is drawn.
    unit : str
        Of the figures.
    """
    levels = sorted(quantiles)
    low, high = span_of(*quantiles.values(), zero=True)
    last = {q: float(quantiles[q][-1]) for q in levels}
    plane = Plane(
        "fan",
        f"{what} at the end: median {last[0.5]:+.1f} {unit}, "
        f"from {last[levels[0]]:+.1f} ({percent(levels[0], 0)}) to {last[levels[-1]]:+.1f} "
        f"({percent(levels[-1], 0)}).",
        minutes_axis(minutes),
        Axis(low, high, f"{what}, {unit}", lambda v: number(v, 0 if high - low > 8 else 1)),
    )
    plane.axes()
    pairs = [(q, 1.0 - q) for q in levels if q < 0.5]
    legend = []
    for row, (a, b) in enumerate(pairs):
        top = next(q for q in levels if abs(q - b) < 1e-9)
        plane.area(minutes, quantiles[a].tolist(), quantiles[top].tolist(), f"fan{min(row, 2)}")
        legend.append(
            ("area", f"fan{min(row, 2)}", f"{percent(a, 0)} to {percent(b, 0)} of the runs")
        )
    plane.line(minutes, quantiles[0.5].tolist(), "s0")
    legend.append(("line", "s0", "median"))
    plane.bands(
        minutes,
        [
            f"{m:.0f} min\n"
            + "\n".join(f"{percent(q, 0)} {float(quantiles[q][k]):+.2f}" for q in levels)
            for k, m in enumerate(minutes)
        ],
    )
    twin = table(
        f"{what}, {unit}",
        [Column("minutes"), *(Column(percent(q, 0)) for q in levels)],
        [
            [number(minutes[k], 1), *(number(float(quantiles[q][k]), 2) for q in levels)]
            for k in thinned(len(minutes))
        ],
        hidden=True,
    )
    return join([key(legend), plane.markup(), twin])


def layers_chart(deficit: float, layers: Sequence[tuple[str, float]]) -> Safe:
    """Draw who bore a loss, layer after layer, until nothing of it is left.

    Parameters
    ----------
    deficit : float
        Whole loss beyond accounts' own money, US dollars.
    layers : sequence of (str, float)
        In the order in which they pay; together the deficit.
    """
    rows: list[tuple[str, float, float, float, str]] = [
        ("Loss beyond accounts' own money", deficit, 0.0, deficit, "total")
    ]
    left = deficit
    for name, paid in layers:
        rows.append((name, paid, left - paid, left, "fall"))
        left -= paid
    said = ", ".join(f"{name} {usd(value)}" for name, value, _, _, _ in rows)
    svg = Svg("waterfall", 46.0 * len(rows), f"Who bore the loss: {said}.")
    scale = deficit or 1.0
    for row, (name, value, start, end, kind) in enumerate(rows):
        top = row * 46.0
        share = f" · {percent(value / deficit)}" if deficit > 0 and kind != "total" else ""
        words = f"{name}\n{usd(value)}{share}"
        svg.raw(f'<g class="mark {kind}"{tip(words)}>')
        svg.rect(0, top, 1, 44, cls="hit")
        svg.text(0, top + 13, name, cls="lbl")
        svg.text(1, top + 13, usd(value) + share, anchor="end", cls="num")
        svg.rect(start / scale, top + 20, max(end - start, 0.0) / scale, 16, cls="bar")
        svg.raw("</g>")
        if row + 1 < len(rows):
            svg.line(start / scale if row else 1.0, top + 20, start / scale if row else 1.0,
                     top + 82, cls="join")  # fmt: skip
    twin = table(
        "Who bore the loss, US dollars",
        [Column("layer", text=True), Column("paid"), Column("share")],
        [
            [name, amount(value), percent(value / deficit) if deficit > 0 else "–"]
            for name, value, _, _, _ in rows
        ],
        hidden=True,
    )
    return join([svg.markup(), twin])
