"""Equity, initial and maintenance margin over the price of one underlying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from crossmargin.analytics import PriceProfile
from crossmargin.margin.statement_types import LiquidationLine, SideLine
from crossmargin.reports._svg import Svg, pc, px, tidy_ticks, tip
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import (
    NBSP,
    Safe,
    amount,
    esc,
    join,
    percent,
    price,
    round_price,
    short,
    usd,
)

_TOP, _PLOT, _FOOT = 66.0, 250.0, 40.0
_BANDS = 60
_TWIN = 13
#: A line's arrow stands on the far side of today's price.
_FOOT_SIDE = {"start": "end", "end": "start"}


def price_chart(profile: PriceProfile, line: LiquidationLine | None) -> Safe:
    """Draw one profile with today's price, the liquidation lines and the hidden table.

    Parameters
    ----------
    profile : PriceProfile
        With at least two points.
    line : LiquidationLine, optional
        Solved liquidation of this underlying; None when it was not solved.
    """
    xs = profile.price_usd
    low, high = _window(profile)
    x0, x1 = xs[0], xs[-1]

    def at(value: float) -> float:
        return (value - x0) / (x1 - x0)

    svg = Svg(
        "curve",
        _TOP + _PLOT + _FOOT,
        f"Equity and margin over the {profile.underlying} price from {usd(x0)} to {usd(x1)}, "
        f"today {usd(profile.price_now_usd)}. {liquidation_words(line)}",
    )
    ticks = _axes(svg, profile, (x0, x1), (low, high))
    svg.raw(_curves(profile, low, high))
    for y, text in ticks:
        svg.text(0, y, text, cls="tick")
    now = at(profile.price_now_usd)
    flags = [
        _liquidation(at, 0, line, down=False),
        _liquidation(at, 1, line, down=True),
        _today(now, profile.price_now_usd),
    ]
    for flag in flags:
        if flag is not None and flag.line:
            svg.line(flag.x, _TOP - 10, flag.x, _TOP + _PLOT, cls=f"at {flag.cls}")
        if flag is not None and flag.foot:
            side = _FOOT_SIDE[flag.anchor]
            svg.text(flag.x, _TOP + _PLOT - 8, flag.foot, anchor=side, cls="flag liq")
    for flag in flags:
        if flag is not None:
            svg.text(flag.at, flag.y, flag.text, anchor=flag.anchor, cls=f"flag {flag.cls}")
    if 0 <= now <= 1:
        nearest = min(range(len(xs)), key=lambda k: abs(xs[k] - profile.price_now_usd))
        share = (profile.equity_usd[nearest] - low) / (high - low)
        if 0 <= share <= 1:
            svg.circle(now, _TOP + _PLOT * (1 - share), 4.5, cls="dot")
    _bands(svg, profile, at)
    step = max(1, -(-len(xs) // _TWIN))
    keep = sorted({*range(0, len(xs), step), len(xs) - 1})
    twin = table(
        f"Equity and margin over the {profile.underlying} price, US dollars",
        [Column("price"), Column("equity"), Column("initial margin"), Column("maintenance")],
        [
            [price(xs[k]), amount(profile.equity_usd[k])]
            + [amount(profile.im_usd[k]), amount(profile.mm_usd[k])]
            for k in keep
        ],
        hidden=True,
    )
    return join([legend(), svg.markup(), twin])


def legend() -> Safe:
    """Say which line is which: by dash as well as by colour."""
    items = (
        ('<line x1="0" x2="28" y1="7" y2="7" class="equity"/>', "equity"),
        ('<line x1="0" x2="28" y1="7" y2="7" class="im"/>', "initial margin"),
        ('<line x1="0" x2="28" y1="7" y2="7" class="mm"/>', "maintenance margin"),
        (
            '<rect width="28" height="14" class="zone"/>'
            '<rect width="28" height="14" class="zone-hatch"/>',
            "below maintenance margin: liquidation",
        ),
    )
    return Safe(
        '<ul class="legend">'
        + "".join(
            f'<li><svg class="curve" width="28" height="14" aria-hidden="true">{drawn}</svg> '
            f"{text}</li>"
            for drawn, text in items
        )
        + "</ul>"
    )


def liquidation_words(line: LiquidationLine | None) -> str:
    """Say in words where the account is liquidated."""
    if line is None:
        return "Liquidation prices were not solved."
    if line.breached:
        return "Already below maintenance margin at today's price."
    return f"Falling: {side_words(line.down)}. Rising: {side_words(line.up)}."


def side_words(side: SideLine) -> str:
    """Say one side: price and distance, or that there is none."""
    if side.distance is None and side.unknown_beyond is not None:
        return f"not known beyond {percent(side.unknown_beyond, sign=True)}"
    if side.distance is None:
        return "no liquidation found"
    far = percent(side.distance, 2, sign=True)
    if side.price_usd is None:
        return f"liquidation at {far}"
    return f"liquidation at {price(side.price_usd)}{NBSP}USD ({far})"


def _window(profile: PriceProfile) -> tuple[float, float]:
    """Choose the range of amounts: all of it, unless one curve would flatten the others."""
    every = [*profile.equity_usd, *profile.im_usd, *profile.mm_usd, 0.0]
    now = min(
        range(len(profile.price_usd)),
        key=lambda k: abs(profile.price_usd[k] - profile.price_now_usd),
    )
    size = max(abs(profile.equity_usd[now]), profile.im_usd[now], profile.mm_usd[now], 1e-9)
    low = max(min(every), -2.0 * size)
    high = min(max(every), 5.0 * size)
    pad = 0.06 * (high - low or 1.0)
    return low - pad, high + pad


def _axes(
    svg: Svg, profile: PriceProfile, xr: tuple[float, float], yr: tuple[float, float]
) -> list[tuple[float, str]]:
    """Draw grid and axes; return the labels of amounts, to be written over the curves."""
    base = _TOP + _PLOT
    labels = []
    for value in tidy_ticks(*yr, 5):
        y = base - _PLOT * (value - yr[0]) / (yr[1] - yr[0])
        svg.line(0, y, 1, y, cls="zero" if value == 0 else "grid")
        unit = NBSP + "USD" if value == 0 else ""
        labels.append((y - 4, short(value) + unit))
    for value in tidy_ticks(*xr, 5):
        x = (value - xr[0]) / (xr[1] - xr[0])
        anchor = "start" if x < 0.06 else "end" if x > 0.94 else "middle"
        svg.line(x, base, x, base + 5, cls="zero")
        svg.text(x, base + 18, short(value), anchor=anchor, cls="tick")
    svg.line(0, base, 1, base, cls="zero")
    svg.text(0.5, base + 35, f"price of {profile.underlying}, USD", anchor="middle", cls="lbl")
    return labels


def _curves(profile: PriceProfile, low: float, high: float) -> str:
    x0, x1 = profile.price_usd[0], profile.price_usd[-1]

    def points(values: Sequence[float]) -> str:
        return " ".join(
            f"{px(1000 * (x - x0) / (x1 - x0))},"
            f"{px(1000 * min(max(1 - (y - low) / (high - low), -9.0), 9.0))}"
            for x, y in zip(profile.price_usd, values)
        )

    mm = points(profile.mm_usd)
    zone = f"0,9000 {mm} 1000,9000"
    return (
        f'<svg x="0" y="{px(_TOP)}" width="100%" height="{px(_PLOT)}" viewBox="0 0 1000 1000" '
        f'preserveAspectRatio="none"><polygon class="zone" points="{zone}"/></svg>'
        f'<svg x="0" y="{px(_TOP)}" width="100%" height="{px(_PLOT)}" viewBox="0 0 1000 1000" '
        'preserveAspectRatio="none">'
        f'<polyline class="im" points="{points(profile.im_usd)}"/>'
        f'<polyline class="mm" points="{mm}"/>'
        f'<polyline class="equity" points="{points(profile.equity_usd)}"/></svg>'
    )


@dataclass(frozen=True, slots=True)
class _Flag:
    """A label above the plot and its line: each label has a row of its own, so none meet.

    Liquidation labels keep to the edge of their side, for room on a phone; `foot` says at the
    line which is which.
    """

    at: float
    row: int
    text: str
    cls: str
    anchor: str
    x: float = 0.0
    line: bool = False
    foot: str = ""

    @property
    def y(self) -> float:
        return 14.0 + 18.0 * self.row


def _today(x: float, price_usd: float) -> _Flag:
    inside = 0.0 <= x <= 1.0
    anchor = "start" if x < 0.15 else "end" if x > 0.85 else "middle"
    at = min(max(x, 0.0), 1.0)
    return _Flag(at, 2, f"today {price(price_usd)}", "now", anchor, x, inside)


def _liquidation(
    at: Callable[[float], float], row: int, line: LiquidationLine | None, *, down: bool
) -> _Flag | None:
    """Place the label, and where it lies on the chart the line, of one side."""
    anchor, edge, arrow = ("start", 0.0, "↓") if down else ("end", 1.0, "↑")
    if line is None or line.breached:
        text = "liquidation prices not solved" if line is None else "already below MM"
        kind = "soft" if line is None else "liq"
        return _Flag(0.0, row, text, kind, "start") if down else None
    side = line.down if down else line.up
    if side.price_usd is None:
        way = "falls" if down else "rises"
        return _Flag(
            edge, row, f"{arrow} no liquidation if {line.underlying} {way}", "soft", anchor
        )
    text = (
        f"{arrow} liquidation {round_price(side.price_usd)} ({percent(side.distance, sign=True)})"
    )
    x = at(side.price_usd)
    if not 0 <= x <= 1:
        return _Flag(edge, row, text + ", off chart", "liq", anchor)
    # Near the left edge the arrow would meet the amounts of the axis.
    return _Flag(edge, row, text, "liq", anchor, x, True, arrow if x > 0.2 else "")


def _bands(svg: Svg, profile: PriceProfile, at: Callable[[float], float]) -> None:
    """Lay invisible strips over the plot that show the numbers at their price."""
    xs = profile.price_usd
    step = max(1, -(-len(xs) // _BANDS))
    keep = list(range(0, len(xs), step))
    cuts = [0.0]
    cuts += [(at(xs[a]) + at(xs[b])) / 2 for a, b in pairwise(keep)]
    cuts.append(1.0)
    for place, k in enumerate(keep):
        said = (
            f"{profile.underlying} {price(xs[k])} USD "
            f"({percent(xs[k] / profile.price_now_usd - 1, sign=True)})\n"
            f"equity {usd(profile.equity_usd[k])}\nIM {usd(profile.im_usd[k])}\n"
            f"MM {usd(profile.mm_usd[k])}"
        )
        svg.raw(
            f'<rect class="mark band" x="{pc(cuts[place])}" y="{px(_TOP)}" '
            f'width="{pc(cuts[place + 1] - cuts[place])}" height="{px(_PLOT)}"{tip(said)}/>'
        )


def profile_note(pots: int) -> Safe:
    """Warn where the lines are sums over pots that are liquidated one by one."""
    if pots < 2:
        return Safe("")
    return esc(
        f"The lines add up {pots} pots, and each pot is liquidated by itself: the liquidation "
        "lines stand where the first pot breaches, which need not be where the sums cross."
    )
