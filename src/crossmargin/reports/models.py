"""Volatility models against smiles, and quantile plots of returns: terminal and pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from crossmargin.analytics import ExpirySmile, SmileFit, SmileReport
from crossmargin.reports._plane import Axis, Plane, key
from crossmargin.reports._sections import heading
from crossmargin.reports._table import Column, figure, table
from crossmargin.reports._text import DASH, Safe, amount, join
from crossmargin.reports.html import page
from crossmargin.reports.terminal import table_of
from crossmargin.stats import QuantilePlot

#: Shares of the distribution that are told.
SHARES = (0.001, 0.01, 0.05, 0.95, 0.99, 0.999)


def print_smiles(console: Console, title: str, made: SmileReport) -> None:
    """Print errors, parameters and each expiry's smile."""
    console.print(Text(title, "bold"))
    fits = table_of("model", "rms error, vol points", "largest", "parameters")
    for fit in made.fits:
        fits.add_row(
            fit.model, f"{100 * fit.rmse:.2f}", f"{100 * fit.worst:.2f}", parameter_words(fit)
        )
    console.print(fits)
    names = [one.model for one in made.fits]
    for one in made.expiries:
        out = table_of(
            f"{one.expiry[:10]}, {one.days:,.1f} d, forward {one.forward_usd:,.2f}",
            "market, %", *(f"{name}, %" for name in names),
        )  # fmt: skip
        for row in _rows(one, names):
            out.add_row(*row)
        console.print(out)
    for words in notes_of(made):
        console.print(Text(words, "dim"))


def _rows(one: ExpirySmile, names: Sequence[str]) -> list[list[str]]:
    return [
        [
            amount(strike),
            f"{100 * one.market[k]:.2f}",
            *(DASH if (x := one.models[name][k]) is None else f"{100 * x:.2f}" for name in names),
        ]
        for k, strike in enumerate(one.strike)
    ]


def parameter_words(one: SmileFit) -> str:
    """Write a fit's parameters; SABR's are in its page and JSON where there are many."""
    if one.model == "sabr":
        return f"α, ρ, ν of {len(one.parameters) // 3} expiries, β 1"
    return ", ".join(f"{name} {value:.4g}" for name, value in one.parameters.items())


def notes_of(made: SmileReport) -> list[str]:
    """Say what is compared and which figures the quotes do not decide."""
    said = [
        "Market: the volatility surface, strikes within two standard deviations. Heston, Merton "
        "and Bates meet all expiries with one set of parameters; SABR has three for each."
    ]
    for one in made.fits:
        if one.at_edge:
            said.append(
                f"{one.model}: {', '.join(one.at_edge)} at the bound of the search; the quotes do "
                "not say where."
            )
    return said


def smile_chart(one: ExpirySmile, names: Sequence[str]) -> Safe:
    """Draw the market's volatilities as points and each model's as a line."""
    there = {
        name: [(k, 100 * x) for k, x in zip(one.strike, one.models[name]) if x is not None]
        for name in names
    }
    market = [100 * x for x in one.market]
    every = [*market, *(v for line in there.values() for _, v in line)]
    room = 0.08 * (max(every) - min(every)) or 1.0
    low, high = min(every) - room, max(every) + room
    plane = Plane(
        "smile",
        f"Volatilities of {one.expiry[:10]}; the figures are in the table.",
        Axis(one.strike[0] * 0.99, one.strike[-1] * 1.01, "strike, US dollars"),
        Axis(low, high, "volatility, % per year", lambda v: f"{v:g}"),
    )
    plane.axes()
    for number, name in enumerate(names):
        if there[name]:
            xs, ys = zip(*there[name])
            plane.line(xs, ys, f"s{number % 4}")
    for strike, vol in zip(one.strike, market):
        plane.svg.circle(plane.across(strike), plane.down(vol), 4.0, cls="dot")
    models = [("line", f"s{number % 4}", name) for number, name in enumerate(names)]
    return join([key([("area", "dot", "market"), *models]), plane.svg.markup()])


def render_smiles(title: str, made: SmileReport, *, version: str) -> str:
    """Write the smiles as a page."""
    names = [one.model for one in made.fits]
    cards: list[str] = []
    for one in made.expiries:
        twin = table(
            f"Smile of {one.expiry[:10]}",
            [Column("strike, USD", text=True), Column("market, %"),
             *(Column(f"{name}, %") for name in names)],
            _rows(one, names),
            hidden=True,
        )  # fmt: skip
        cards.append(
            figure(
                f"{one.expiry[:10]}, {one.days:,.1f} days",
                "Volatility, per cent per year, over strikes in US dollars.",
                smile_chart(one, names),
                twin,
                wide=True,
            )
        )
    rows = [
        [one.model, f"{100 * one.rmse:.3f}", f"{100 * one.worst:.3f}",
         ", ".join(f"{name} {value:.5g}" for name, value in one.parameters.items())]
        for one in made.fits
    ]  # fmt: skip
    columns = [Column("model", text=True), Column("rms error, vol points"), Column("largest"),
               Column("parameters", text=True, wrap=True)]  # fmt: skip
    fitted = table("Models", columns, rows)
    body = [
        heading("Volatility models", title, [f"As of {made.as_of}", *notes_of(made)]),
        f'<section id="smiles"><h2>Smiles</h2><div class="cards">{join(cards)}</div></section>',
        f'<section id="fits"><h2>Fits</h2>{fitted}</section>',
    ]
    return page(title, body, version=version, skip=("#smiles", "Skip to the smiles"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TailLine:
    """A coin's quantile plot."""

    coin: str
    plot: QuantilePlot

    @classmethod
    def of(cls, coin: str, plot: QuantilePlot) -> TailLine:
        """Name a plot."""
        return cls(coin=coin, plot=plot)

    def plain(self) -> dict[str, Any]:
        """Return what JSON shows."""
        p = self.plot
        rows = [
            {"share": share, **dict(zip(("observed", "normal", "student"), p.at(share)))}
            for share in SHARES
        ]
        return {
            "coin": self.coin,
            "count": p.observed.size,
            "mean": p.mean,
            "deviation": p.deviation,
            "kurtosis": p.kurtosis,
            "student_degrees": p.degrees,
            "student_scale": p.scale,
            "quantiles": rows,
        }


def _tail_cells(line: TailLine) -> list[list[str]]:
    p = line.plot
    return [
        [f"{line.coin} {100 * share:g} %", *(f"{x:+.2f}" for x in p.at(share))] for share in SHARES
    ]


def tail_words(line: TailLine) -> str:
    """Sum a coin's tails up."""
    p = line.plot
    return (
        f"{line.coin}: {p.observed.size:,} returns, kurtosis {p.kurtosis:.1f} (normal 3), "
        f"Student law with ν {p.degrees:.2f}; σ {p.deviation:.4g}"
    )


def print_tails(console: Console, title: str, lines: Sequence[TailLine]) -> None:
    """Print quantiles beside those of the two laws."""
    console.print(Text(title, "bold"))
    out = table_of("quantile, in σ", "observed", "normal", "Student")
    for line in lines:
        for row in _tail_cells(line):
            out.add_row(*row)
    console.print(out)
    for line in lines:
        console.print(Text(tail_words(line), "dim"))


def render_tails(title: str, lines: Sequence[TailLine], *, version: str) -> str:
    """Write the quantile plots as a page."""
    cards = [
        figure(
            line.coin,
            tail_words(line) + ". On the straight line a normal law holds; below it on the left "
            "falls are larger than that law says.",
            quantile_chart(line),
            wide=True,
        )
        for line in lines
    ]
    heads = [Column("quantile, in σ", text=True), *map(Column, ("observed", "normal", "Student"))]
    rows = [row for line in lines for row in _tail_cells(line)]
    body = [
        heading("Tails", title, ["Quantiles of returns against a normal and a Student law."]),
        f'<section id="plots"><h2>Quantile plots</h2><div class="cards">{join(list(cards))}</div>'
        "</section>",
        f'<section id="figures"><h2>Figures</h2>{table("Quantiles", heads, rows)}</section>',
    ]
    return page(title, body, version=version, skip=("#plots", "Skip to the plots"))


def quantile_chart(line: TailLine) -> Safe:
    """Draw observed quantiles over normal ones, with the straight line and the Student law."""
    p = line.plot
    # Points nearer than this cannot be told apart: all of both ends are kept, few of the middle.
    shown, last = [], -math.inf
    for k, x in enumerate(p.normal.tolist()):
        if x - last >= 0.07 or k == p.normal.size - 1:
            shown.append(k)
            last = x
    xs = [float(p.normal[k]) for k in shown]
    seen = [float(p.observed[k]) for k in shown]
    fat = [float(p.student[k]) for k in shown]
    reach = max(abs(v) for v in (*seen, *xs)) * 1.04
    low, high = min(xs) * 1.05, max(xs) * 1.05
    plane = Plane(
        "tails",
        tail_words(line),
        Axis(low, high, "quantile of the normal law, σ"),
        Axis(-reach, reach, "quantile of the returns, σ"),
        plot=300.0,
    )
    plane.axes()
    plane.line([low, high], [low, high], "s2")
    plane.line(xs, [max(-reach, min(reach, v)) for v in fat], "s1")
    for x, y in zip(xs, seen):
        plane.svg.circle(plane.across(x), plane.down(y), 3.0, cls="dot")
    legend = key(
        [("line", "s2", "normal law"), ("line", "s1", "Student law"), ("area", "dot", "returns")]
    )
    return join([legend, plane.svg.markup()])
