"""Maps of cascades: contagion, the phase diagram of leverage and depth, burdens by rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from crossmargin.reports._plane import Axis, Plane, key
from crossmargin.reports._svg import Svg, pc, px, tip
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import DASH, Safe, join, number, percent, short

Floats = NDArray[np.float64]

_ROW, _HEAD = 30.0, 26.0


def contagion_chart(shocked: Sequence[str], closed: Sequence[str], matrix: Floats) -> Safe:
    """Draw a contagion matrix: the shocked asset down, what was closed of each across.

    Parameters
    ----------
    shocked, closed : sequence of str
        Rows and columns.
    matrix : float64[rows, columns]
        Share closed, 0 to 1.
    """
    at = divmod(int(matrix.argmax()), matrix.shape[1]) if matrix.size else (0, 0)
    svg = Svg(
        "heat",
        _HEAD + _ROW * len(shocked),
        f"Share of positions closed by force, by shocked asset. Most: {shocked[at[0]]} closes "
        f"{percent(float(matrix[at]))} of {closed[at[1]]}.",
    )
    left = 0.15
    width = (1.0 - left) / max(len(closed), 1)
    for column, name in enumerate(closed):
        svg.text(left + (column + 0.5) * width, 16, name, anchor="middle", cls="lbl")
    for row, source in enumerate(shocked):
        y = _HEAD + row * _ROW
        svg.text(0, y + 19, source, cls="lbl")
        for column, target in enumerate(closed):
            value = float(matrix[row, column])
            svg.raw(
                f'<g class="mark loss"{tip(f"shock to {source}{chr(10)}closes {percent(value, 2)} of {target}")}>'  # noqa: E501
            )
            x = left + column * width
            svg.rect(x, y + 1, width - 0.006, _ROW - 2, cls="base")
            shade = 0.0 if value == 0 else 0.06 + 0.7 * math.sqrt(value)
            svg.rect(x, y + 1, width - 0.006, _ROW - 2, cls="tint", fill_opacity=px(shade))
            text = percent(value, 1) if value else DASH
            svg.text(x + (width - 0.006) / 2, y + 19.5, text, anchor="middle", cls="num")
            svg.raw("</g>")
    twin = table(
        "Share of positions closed by force",
        [Column("shocked", text=True), *(Column(name) for name in closed)],
        [
            [source, *(percent(float(v), 2) for v in matrix[row])]
            for row, source in enumerate(shocked)
        ],
        hidden=True,
    )
    return join([svg.markup(), twin])


def network_chart(shocked: Sequence[str], closed: Sequence[str], matrix: Floats) -> Safe:
    """Draw contagion as a network: shocked assets on the left, closed positions on the right.

    The thickness of a link is the share that is closed; an asset's own positions are left out.
    """
    rows, columns = len(shocked), len(closed)
    height = 46.0 * max(rows, columns, 1) + 30.0
    links = sorted(
        (
            (float(matrix[r, c]), r, c)
            for r in range(rows)
            for c in range(columns)
            if shocked[r] != closed[c] and matrix[r, c] > 0
        ),
    )
    most = links[-1][0] if links else 0.0
    said = ", ".join(
        f"{shocked[r]} to {closed[c]} {percent(v)}" for v, r, c in reversed(links[-5:])
    )
    svg = Svg(
        "curve plane network", height, f"Contagion between assets: {said or 'none between assets'}."
    )

    def place(k: int, n: int) -> float:
        return 30.0 + (height - 30.0) * (k + 0.5) / n

    svg.text(0.0, 14, "shock to", cls="lbl")
    svg.text(1.0, 14, "closes positions in", anchor="end", cls="lbl")
    for value, r, c in links:
        words = f"shock to {shocked[r]}\ncloses {percent(value, 2)} of {closed[c]}"
        thick = px(1.0 + 9.0 * value / most)
        shade = px(0.15 + 0.75 * value / most)
        svg.raw(f'<g class="mark"{tip(words)}>')
        svg.raw(
            f'<line x1="{pc(0.16)}" y1="{px(place(r, rows))}" x2="{pc(0.84)}" '
            f'y2="{px(place(c, columns))}" class="link" stroke-width="{thick}" '
            f'stroke-opacity="{shade}"/>'
        )
        svg.raw("</g>")
    for names, x, anchor, n in ((shocked, 0.13, "end", rows), (closed, 0.87, "start", columns)):
        for k, name in enumerate(names):
            svg.text(x, place(k, n) + 4, name, anchor=anchor, cls="lbl")
            svg.circle(0.15 if anchor == "end" else 0.85, place(k, n), 6, cls="dot")
    return svg.markup()


def phase_chart(
    leverage: Sequence[float],
    depth: Sequence[float],
    amplification: Floats,
    radius: Floats | None,
    most: float = 5.0,
) -> Safe:
    """Draw simulated amplification over leverage and depth, with the line where ρ(G) = 1.

    Parameters
    ----------
    leverage : sequence of float
        Median leverage of each column, rising.
    depth : sequence of float
        Factor on depth of each row, rising.
    amplification : float64[rows, columns]
        Whole move over the move without forced sales, at least about 1.
    radius : float64[rows, columns] or None
        Spectral radius of the loop gain before the shock.
    most : float
        Amplifications above are drawn alike.
    """
    xs, ys = np.log(np.asarray(leverage)), np.log(np.asarray(depth))
    x_edges, y_edges = _edges(xs), _edges(ys)
    plane = Plane(
        "phase",
        f"Amplification between {float(np.nanmin(amplification)):.2f} and "
        f"{float(np.nanmax(amplification)):.2f} over median leverage {leverage[0]:g} to "
        f"{leverage[-1]:g} and depth {depth[0]:g}× to {depth[-1]:g}×.",
        Axis(x_edges[0], x_edges[-1], "median leverage (logarithmic)",
             lambda v: f"{math.exp(v):.3g}", tuple(xs.tolist())),
        Axis(y_edges[0], y_edges[-1], "depth, × of the scenario's (logarithmic)",
             lambda v: f"{math.exp(v):.3g}×", tuple(ys.tolist())),
        plot=300.0,
    )  # fmt: skip
    plane.axes()
    for r in range(len(depth)):
        for c in range(len(leverage)):
            value = float(amplification[r, c])
            shade = min(math.log(max(value, 1.0)) / math.log(most), 1.0)
            words = f"leverage {leverage[c]:g}, depth {depth[r]:g}×\namplification {value:.2f}"
            if radius is not None:
                words += f"\nρ(G) {float(radius[r, c]):.2f}"
            plane.box(
                (x_edges[c], x_edges[c + 1]), (y_edges[r], y_edges[r + 1]), "loss",
                opacity=0.06 + 0.66 * shade, words=words,
            )  # fmt: skip
            plane.svg.text(
                plane.across(float(xs[c])), plane.down(float(ys[r])) + 4, number(value, 2),
                anchor="middle", cls="num",
            )  # fmt: skip
    legend = [("area", "loss", "amplification: whole move over the move without forced sales")]
    if radius is not None:
        legend.append(("line", "crit", "ρ(G) = 1: beyond it the closed form diverges"))
        for a, b in critical_line(xs, ys, radius):
            plane.line([a[0], b[0]], [a[1], b[1]], "crit")
    twin = table(
        "Amplification by depth (rows) and median leverage (columns)",
        [Column("depth"), *(Column(f"{x:g}") for x in leverage)],
        [
            [f"{depth[r]:g}×", *(number(float(v), 3) for v in amplification[r])]
            for r in range(len(depth))
        ],
        hidden=True,
    )
    return join([key(legend), plane.markup(), twin])


def critical_line(
    xs: Floats, ys: Floats, radius: Floats
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return the pieces of the line ρ = 1 through a grid, by marching over its squares.

    Between neighbours log ρ is taken as linear. Source: marching squares, textbook.
    """
    level = np.log(np.maximum(radius, 1e-12))
    pieces = []
    for r in range(len(ys) - 1):
        for c in range(len(xs) - 1):
            corners = [(r, c), (r, c + 1), (r + 1, c + 1), (r + 1, c)]
            cuts: list[tuple[float, float]] = []
            for (ra, ca), (rb, cb) in zip(corners, corners[1:] + corners[:1]):
                a, b = float(level[ra, ca]), float(level[rb, cb])
                if (a > 0) != (b > 0):
                    t = a / (a - b)
                    cuts.append(
                        (
                            float(xs[ca] + t * (xs[cb] - xs[ca])),
                            float(ys[ra] + t * (ys[rb] - ys[ra])),
                        )
                    )
            pieces += list(zip(cuts[::2], cuts[1::2]))
    return pieces


def _edges(at: Floats) -> list[float]:
    """Return edges half-way between neighbours."""
    if at.size < 2:
        return [float(at[0]) - 0.5, float(at[0]) + 0.5]
    middle = (0.5 * (at[1:] + at[:-1])).tolist()
    return [float(1.5 * at[0] - 0.5 * at[1]), *middle, float(1.5 * at[-1] - 0.5 * at[-2])]


def lorenz_points(burden: Floats) -> tuple[Floats, Floats]:
    """Return the Lorenz curve of burdens: share of holders, share of what they bear.

    Parameters
    ----------
    burden : float64[n]
        At least 0 each; holders who bear nothing count.

    Returns
    -------
    tuple of float64[n + 1]
        From (0, 0) to (1, 1), convex; the diagonal where nothing is borne.
    """
    values = np.sort(np.asarray(burden, dtype=np.float64))
    share = np.linspace(0.0, 1.0, values.size + 1)
    whole = float(values.sum())
    if whole <= 0.0:
        return share, share.copy()
    return share, np.concatenate([[0.0], np.cumsum(values) / whole])


def lorenz_chart(curves: Mapping[str, tuple[Floats, Floats]], unit: str) -> Safe:
    """Draw Lorenz curves of several rules against the diagonal of equal burdens.

    Parameters
    ----------
    curves : mapping of str to (float64, float64)
        By rule, as :func:`lorenz_points` gives them.
    unit : str
        Who the holders are.
    """
    halves = {
        name: float(np.interp(0.9, share, burden)) for name, (share, burden) in curves.items()
    }
    said = ", ".join(
        f"{name}: the last tenth bears {percent(1 - v, 0)}" for name, v in halves.items()
    )
    plane = Plane(
        "lorenz", f"Lorenz curves of the burden of deleveraging. {said}.",
        Axis(0.0, 1.0, f"share of {unit}, least burdened first", lambda v: percent(v, 0)),
        Axis(0.0, 1.0, "share of the burden", lambda v: percent(v, 0)),
    )  # fmt: skip
    plane.axes()
    plane.line([0.0, 1.0], [0.0, 1.0], "even")
    for row, (share, burden) in enumerate(curves.values()):
        keep = np.unique(np.linspace(0, share.size - 1, min(share.size, 120)).astype(np.int64))
        plane.line(share[keep].tolist(), burden[keep].tolist(), f"s{row % 5}")
    twin = table(
        "Burden of deleveraging by rule",
        [Column("rule", text=True), Column("borne by the last tenth"), Column("Gini")],
        [
            [name, percent(1.0 - halves[name]), number(_gini(*curves[name]), 3)]
            for name in curves
        ],
        hidden=True,
    )  # fmt: skip
    legend = key(
        [("line", "even", "equal burdens")]
        + [
            ("line", f"s{r % 5}", f"{n}, Gini {_gini(*curves[n]):.2f}")
            for r, n in enumerate(curves)
        ]
    )
    return join([legend, plane.markup(), twin])


def _gini(share: Floats, burden: Floats) -> float:
    """Return one less twice the area under a Lorenz curve."""
    return float(1.0 - np.sum((burden[1:] + burden[:-1]) * np.diff(share)))


def bars_chart(values: Mapping[str, float], unit: str, summary: str) -> Safe:
    """Draw one bar for each name, on one scale."""
    most = max((abs(v) for v in values.values()), default=1.0) or 1.0
    svg = Svg("bars", 40.0 * len(values), summary)
    for row, (name, value) in enumerate(values.items()):
        top = row * 40.0
        svg.raw(f'<g class="mark total"{tip(f"{name}{chr(10)}{value:,.4g} {unit}")}>')
        svg.rect(0, top, 1, 38, cls="hit")
        svg.text(0, top + 13, name, cls="lbl")
        svg.text(1, top + 13, f"{short(value)} {unit}", anchor="end", cls="num")
        svg.rect(0, top + 19, abs(value) / most, 11, cls="bar")
        svg.raw("</g>")
    return svg.markup()
