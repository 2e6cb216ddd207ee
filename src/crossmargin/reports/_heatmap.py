"""Scenario heat map of one group: price moves down the page, volatility across, tails apart.

Prices run down the page because a phone, and three volatility states, then leave every cell
room for its whole number. Losses and gains differ in hue (orange and blue, told apart with any
colour vision), in sign, and on paper by hatching; the binding cell is ringed.
"""

from __future__ import annotations

from dataclasses import dataclass

from crossmargin.margin.statement_types import GroupLine
from crossmargin.reports._svg import Svg, px, tip
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import NBSP, Safe, join, move, number, percent, scenario, usd

_ROW = 28.0
_HEAD = 24.0
_GAP = 0.006
_VOLS = {"down": "vol down", "same": "vol same", "up": "vol up", "none": "any vol"}


@dataclass(frozen=True, slots=True)
class _Scale:
    """Units and colour of one group's numbers."""

    largest: float
    divisor: float
    decimals: int
    unit: str

    def text(self, value: float) -> str:
        return number(value / self.divisor, self.decimals)

    def shade(self, value: float) -> str:
        """Opacity of a cell: the square root keeps small numbers apart from none."""
        if value == 0 or self.largest == 0:
            return "0"
        return px(round(0.06 + 0.66 * (abs(value) / self.largest) ** 0.6, 2))


def _scale(values: list[float]) -> _Scale:
    largest = max((abs(v) for v in values), default=0.0)
    if largest >= 1e8:
        return _Scale(largest, 1e3, 0, "thousand USD")
    return _Scale(largest, 1.0, 2 if largest < 100 else 0, "USD")


def scan_charts(group: GroupLine, price_usd: float | None) -> Safe:
    """Draw a group's scan: the grid, the strip of tails, and their hidden table.

    Parameters
    ----------
    group : GroupLine
        With at least one scenario.
    price_usd : float, optional
        Today's price of the underlying, to say where a move leads.
    """
    scale = _scale(group.pnl_usd)
    binding = group.scenarios.index(group.binding) if group.binding in group.scenarios else -1
    near = [k for k, tail in enumerate(group.tails) if not tail]
    far = [k for k, tail in enumerate(group.tails) if tail]
    parts: list[str] = []
    if near:
        parts.append(_grid(group, near, binding, scale, price_usd))
    if far:
        parts.append(_strip(group, far, binding, scale, price_usd))
    twin = table(
        f"Scenarios of {group.group} in {group.pot}",
        [
            Column("scenario", text=True),
            Column("counts"),
            Column("before weights, offsets and dampeners"),
            Column("weight"),
        ],
        [
            [
                scenario(name) + (" (binding)" if k == binding else ""),
                usd(group.pnl_usd[k], sign=True),
                usd(group.raw_usd[k], sign=True),
                percent(group.weights[k], 2),
            ]
            for k, name in enumerate(group.scenarios)
        ],
        hidden=True,
    )
    pair = f'<div class="{"pair" if len(parts) > 1 else "single"}">{"".join(parts)}</div>'
    return join([Safe(pair), twin])


def unit_of(group: GroupLine) -> str:
    """Return the unit of the numbers in the group's cells."""
    return _scale(group.pnl_usd).unit


def _grid(
    group: GroupLine, near: list[int], binding: int, scale: _Scale, price_usd: float | None
) -> str:
    moves = sorted({group.moves[k] for k in near}, reverse=True)
    vols = [v for v in _VOLS if any(group.vol_states[k] == v for k in near)]
    vols += sorted({group.vol_states[k] for k in near} - set(vols))
    worst = min(near, key=lambda k: group.pnl_usd[k])
    svg = Svg(
        "heat",
        _HEAD + _ROW * len(moves),
        f"Profit and loss of {group.group} in {group.pot} over {len(moves)} prices and "
        f"{len(vols)} volatilities. Worst cell: {scenario(group.scenarios[worst])}, "
        f"{usd(group.pnl_usd[worst])}."
        + (f" Binding: {scenario(group.scenarios[binding])}." if binding >= 0 else ""),
    )
    left = 0.17
    width = (1.0 - left) / len(vols)
    for column, vol in enumerate(vols):
        svg.text(left + (column + 0.5) * width, 15, _VOLS.get(vol, vol), anchor="middle", cls="lbl")
    place = {m: row for row, m in enumerate(moves)}
    for m, row in place.items():
        today = " today" if m == 0 else ""
        svg.text(0, _HEAD + row * _ROW + 18, move(m) if m else "0" + NBSP + "%", cls="lbl" + today)
    ring: tuple[float, float] | None = None
    taken: set[tuple[float, str]] = set()
    for k in near:
        key = (group.moves[k], group.vol_states[k])
        if key in taken and k != binding:
            continue
        taken.add(key)
        x = left + vols.index(key[1]) * width
        y = _HEAD + place[key[0]] * _ROW
        _cell(svg, group, k, (x, y, width - _GAP), scale, price_usd)
        if k == binding:
            ring = (x, y)
    if ring is not None:
        _ring(svg, ring[0], ring[1], width - _GAP)
    return svg.markup()


def _strip(
    group: GroupLine, far: list[int], binding: int, scale: _Scale, price_usd: float | None
) -> str:
    order = sorted(far, key=lambda k: (-group.moves[k], k))
    worst = min(far, key=lambda k: group.pnl_usd[k])
    svg = Svg(
        "heat tails",
        _HEAD + _ROW * len(order),
        f"Tail scenarios of {group.group} in {group.pot}: {len(order)} far moves, of which a "
        f"fraction counts. Worst: {scenario(group.scenarios[worst])}, "
        f"{usd(group.pnl_usd[worst])} counts.",
    )
    for x, text, anchor in (
        (0.0, "tail move", "start"),
        (0.40, "weight", "end"),
        (0.69, "full P&L", "end"),
        (0.86, "counts", "middle"),
    ):
        svg.text(x, 15, text, anchor=anchor, cls="lbl")
    for row, k in enumerate(order):
        y = _HEAD + row * _ROW
        svg.text(0, y + 18, move(group.moves[k]), cls="lbl")
        svg.text(0.40, y + 18, "×" + percent(group.weights[k], 2), anchor="end", cls="lbl")
        svg.text(0.69, y + 18, scale.text(group.raw_usd[k]), anchor="end", cls="num soft")
        _cell(svg, group, k, (0.72, y, 0.28), scale, price_usd)
    if binding in far:
        _ring(svg, 0.72, _HEAD + order.index(binding) * _ROW, 0.28)
    return svg.markup()


def _cell(
    svg: Svg,
    group: GroupLine,
    k: int,
    box: tuple[float, float, float],
    scale: _Scale,
    price_usd: float | None,
) -> None:
    x, y, width = box
    value, raw = group.pnl_usd[k], group.raw_usd[k]
    kind = "loss" if value < 0 else "gain"
    said = [scenario(group.scenarios[k]), f"counts {usd(value, sign=True)}"]
    if raw != value:
        said.append(f"full P&L {usd(raw, sign=True)}")
    if group.weights[k] != 1.0:
        said.append(f"weight {percent(group.weights[k], 2)}")
    if price_usd is not None:
        said.append(f"{group.group} at {usd(price_usd * (1.0 + group.moves[k]))}")
    words = "\n".join(said)
    svg.raw(f'<g class="mark {kind}"{tip(words)}>')
    svg.rect(x, y + 1, width, _ROW - 2, cls="base")
    svg.rect(x, y + 1, width, _ROW - 2, cls="tint", fill_opacity=scale.shade(value))
    if value < 0:
        svg.rect(x, y + 1, width, _ROW - 2, cls="ink-hatch", fill_opacity=scale.shade(value))
    svg.text(x + width / 2, y + 18.5, scale.text(value), anchor="middle", cls="num")
    svg.raw("</g>")


def _ring(svg: Svg, x: float, y: float, width: float) -> None:
    svg.rect(x, y + 1, width, _ROW - 2, cls="halo")
    svg.rect(x, y + 1, width, _ROW - 2, cls="ring")
