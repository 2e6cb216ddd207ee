"""Plans in the terminal and as a page: hedges, sizes, falls, allocations, weights, correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from crossmargin.instruments import parse_instrument
from crossmargin.planning import (
    Allocation,
    CorrelationLine,
    Drawdown,
    DrawdownFan,
    DrawdownReport,
    HedgePlan,
    MacroStress,
    Rebalance,
    SizePlan,
)
from crossmargin.reports._bars import PairBar, pair_chart
from crossmargin.reports._line_chart import line_chart
from crossmargin.reports._sections import heading
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import Safe, esc
from crossmargin.reports.html import page
from crossmargin.reports.terminal import amount, ratio, table_of, usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A table that is shown alike in the terminal and on the page.

    Attributes
    ----------
    title : str
    heads : tuple of str
    rows : tuple of tuples of str
    words : tuple of int
        Columns that hold words, set to the left; the others hold figures.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines over a common axis; at most five."""

    title: str
    axis: Sequence[str]
    series: Mapping[str, Sequence[float]]
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Bars from zero; `beside` names the thin ones."""

    title: str
    bars: tuple[PairBar, ...]
    unit: str
    beside: str = "before"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """What a plan says: sentences, tables, pictures."""

    title: str
    facts: tuple[str, ...]
    tables: tuple[Shown, ...]
    charts: tuple[Chart | Bars, ...] = ()


def print_plan(console: Console, made: PlanReport) -> None:
    """Print title, tables, and the sentences below them."""
    console.print(Text(made.title, "bold"))
    for shown in made.tables:
        if shown.title:
            console.print(Text(shown.title, "bold"), end="")
        out = table_of(*shown.heads)
        for k, column in enumerate(out.columns):
            column.justify = "left" if k in shown.words else "right"
        for row in shown.rows:
            out.add_row(*row)
        console.print(out)
    for fact in made.facts:
        console.print(Text(fact))


def render_plan(made: PlanReport, *, version: str) -> str:
    """Write the page."""
    body = [heading("Plan", made.title, list(made.facts))]
    for number, chart in enumerate(made.charts):
        if isinstance(chart, Bars):
            drawn = pair_chart(chart.bars, chart.unit, chart.beside)
        else:
            drawn = line_chart(chart.axis, chart.series, chart.unit)
        name = esc(f"{chart.title}, {chart.unit}" if chart.unit else chart.title)
        body.append(
            Safe(
                f'<section aria-labelledby="c{number}"><h2 id="c{number}">{name}</h2>'
                f'<div class="card">{drawn}</div></section>'
            )
        )
    for number, shown in enumerate(made.tables):
        columns = [
            Column(head, text=k in shown.words, wrap=k > 0 and k in shown.words)
            for k, head in enumerate(shown.heads)
        ]
        caption = shown.title or made.title
        grid = table(caption, columns, shown.rows)
        body.append(
            Safe(
                f'<section aria-labelledby="t{number}"><h2 id="t{number}">{esc(caption)}</h2>'
                f"{grid}</section>"
            )
        )
    return page(made.title, body, version=version, skip=("#t0", "Skip to the figures"))


#: Units of :attr:`Band.greek`; the delta is the net transaction delta.
_GREEK_UNITS = {
    "delta": "coins, less options' value in coin",
    "gamma": "coins per 1 % move",
    "vega": "USD per volatility point",
    "theta": "USD per day",
}


def _units(quantity: float, instrument: str) -> str:
    """Write a signed quantity with its unit; eight digits after the point at most."""
    sign = "" if quantity < 0 else "+"
    return f"{sign}{amount(quantity)} {parse_instrument(instrument).quantity_unit}"


def _greek(name: str, value: float) -> str:
    """Write coins to four digits and US dollars to two, so that points stand below points."""
    return usd(value, 4 if name.endswith(("delta", "gamma")) else 2)


def hedge_report(title: str, made: HedgePlan, asked: str, *, rounded: bool) -> PlanReport:
    """Say what to trade and what it does; `rounded` to lots or not."""
    trades = tuple(
        (t.instrument, _units(t.quantity, t.instrument), usd(t.cost_usd)) for t in made.trades
    ) or (("nothing", "", ""),)
    sides = tuple(
        (name, usd(a), usd(b), usd(b - a))
        for name, a, b in (
            ("initial margin (IM)", made.im_before_usd, made.im_after_usd),
            ("maintenance margin (MM)", made.mm_before_usd, made.mm_after_usd),
            ("available (equity − IM)", made.available_before_usd, made.available_after_usd),
        )
    )
    greeks = tuple(
        (
            f"{name}, {_GREEK_UNITS[name.rpartition(' ')[2]]}",
            _greek(name, x),
            _greek(name, made.greeks_after[name]),
        )
        for name, x in made.greeks_before.items()
    )
    facts = [_hedge_verdict(made, asked)]
    if made.best_single is not None:
        one = made.best_single
        facts.append(
            f"The best single trade would be {one.quantity:+,.6g} {one.instrument} for "
            f"{usd(one.cost_usd)} USD, {one.cost_usd / max(made.cost_usd, 1e-12):.2f} times the "
            "cost (on a grid of 201 sizes)."
        )
    elif len(made.trades) > 1:
        facts.append("No single trade among the candidates does as much.")
    facts.append(
        f"{made.evaluations:,} accounts evaluated by the rule-set, {made.rounds} "
        f"program{'' if made.rounds == 1 else 's'} solved. Costs are half-spreads and fees as "
        "given or assumed; available margin is before them."
    )
    if made.trades and not rounded:
        facts.append(
            "Quantities are not rounded to lots; with --lot NAME=0.1 the search keeps to them."
        )
    tables = [
        Shown(title="Trades", heads=("trade", "quantity", "cost, USD"), rows=trades),
        Shown(title="Margin, USD", heads=("", "before", "after", "change"), rows=sides),
    ]
    if greeks:
        tables.append(Shown(title="Greeks", heads=("", "before", "after"), rows=greeks))
    bars = Bars(
        title="Margin after and before",
        bars=(
            PairBar("initial margin", made.im_after_usd, made.im_before_usd),
            PairBar("maintenance margin", made.mm_after_usd, made.mm_before_usd),
            PairBar("available", made.available_after_usd, made.available_before_usd),
            PairBar("cost of trading", made.cost_usd),
        ),
        unit="USD",
    )
    return PlanReport(title=title, facts=tuple(facts), tables=tuple(tables), charts=(bars,))


def _hedge_verdict(made: HedgePlan, asked: str) -> str:
    if made.impossible:
        sure = "no trades among the candidates can do it"
        return f"Asked: {asked}. {sure.capitalize()}."
    if not made.met:
        return f"Asked: {asked}. Nothing was found that does it; name other candidates."
    if not made.trades:
        return f"Asked: {asked}. It holds already: zero orders."
    proof = (
        "No other trades among the candidates are cheaper (requirements were convex wherever the "
        "search looked)."
        if made.proven
        else "It may not be the cheapest: the requirement is not convex, or the search was cut off."
    )
    return f"Asked: {asked}. It costs {usd(made.cost_usd)} USD. {proof}"


def size_report(title: str, made: SizePlan, *, rounded: bool) -> PlanReport:
    """Say how big, and what every rule allows; `rounded` to a lot or not."""
    rows = tuple(
        (
            limit.rule,
            ("≥ " if limit.at_least else "") + amount(limit.quantity),
            limit.why + (": the budget asks for no more" if limit.at_least else ""),
        )
        for limit in made.limits
    )
    unit = parse_instrument(made.instrument).quantity_unit
    facts = [
        f"{made.side.capitalize()} {amount(made.quantity)} {unit} of {made.instrument}, "
        f"{usd(made.notional_usd)} USD of notional; the stop loses "
        f"{usd(made.loss_at_stop_usd)} USD. Bound by: {made.binding}.",
    ]
    if made.liquidated_first:
        facts.append(
            "At the size of the budget the account would be liquidated before the stop: the size "
            "was cut."
        )
    if not rounded:
        facts.append("It is not rounded to the venue's lot: --lot does.")
    return PlanReport(
        title=title,
        facts=tuple(facts),
        tables=(Shown(title="", heads=("rule", f"size, {unit}", "why"), rows=rows, words=(0, 2)),),
        charts=(
            Bars(
                title="What each rule allows",
                bars=tuple(PairBar(limit.rule, limit.quantity) for limit in made.limits),
                unit=f"{unit} of {made.instrument}",
            ),
        ),
    )


def drawdown_plan(
    title: str,
    days: Sequence[str],
    units: Sequence[float],
    fall: Sequence[float],
    made: DrawdownReport,
    worst: Sequence[Drawdown],
    fan: DrawdownFan | None,
    exposure: Sequence[float] | None,
) -> PlanReport:
    """Say how deep a series has fallen, when, and what is ahead."""
    figures = [
        ("deepest fall", ratio(made.worst.depth, 2)),
        ("fall now", ratio(made.now, 2)),
        ("return, whole", ratio(made.total_return, 2)),
        ("return a year", ratio(made.annual_return, 2)),
        ("Calmar", "–" if made.calmar is None else f"{made.calmar:.2f}"),
        ("ulcer index", ratio(made.ulcer, 2)),
        (f"mean of the worst {ratio(1 - made.level, 0)} of falls", ratio(made.at_risk, 2)),
    ]
    if exposure is not None:
        figures.append(("exposure the ladder allows now", ratio(exposure[-1], 0)))
    falls = tuple(
        (
            ratio(d.depth, 2),
            days[d.peak][:10],
            days[d.trough][:10],
            "not yet" if d.recovery is None else days[d.recovery][:10],
        )
        for d in worst[:5]
    )
    tables = [
        Shown(title="", heads=("figure", "value"), rows=tuple(figures)),
        Shown(
            title="Deepest falls",
            heads=("depth", "peak", "trough", "recovered"),
            rows=falls,
            words=(),
        ),
    ]
    charts = [
        Chart(title="Value of a unit", axis=days, series={"unit": list(units)}, unit=""),
        Chart(
            title="Under water",
            axis=days,
            series={"fall": [-100.0 * x for x in fall]},
            unit="% from the peak",
        ),
    ]
    facts = ["Falls are measured on the value of a unit: deposits are no gains."]
    if fan is not None:
        rows = [
            (f"{ratio(level, 0)} quantile", ratio(float(d), 2))
            for level, d in zip(fan.levels, fan.depth)
        ]
        rows += [("mean", ratio(fan.mean, 2)), ("mean of the worst 5 %", ratio(fan.at_risk, 2))]
        rows += [
            (f"chance of {ratio(limit, 0)} or more", ratio(p, 1)) for limit, p in fan.breach.items()
        ]
        tables.append(
            Shown(
                title=f"Deepest fall over the next {int(fan.steps[-1])} periods, simulated",
                heads=("", "fall"),
                rows=tuple(rows),
            )
        )
        charts.append(
            Chart(
                title="Falls ahead, quantiles",
                axis=[str(k) for k in fan.steps.tolist()],
                series={
                    ratio(level, 0): [-100.0 * x for x in line]
                    for level, line in zip(fan.levels, fan.fan.tolist())
                },
                unit="% from the peak",
            )
        )
        facts.append(
            f"{fan.paths:,} paths from blocks of the series' own returns, seed {fan.seed}: the "
            "future is drawn from the past of this series, and what it has not seen is not in it."
        )
    return PlanReport(title=title, facts=tuple(facts), tables=tuple(tables), charts=tuple(charts))


def allocation_report(
    title: str, made: Allocation, frontier: Sequence[Allocation] = ()
) -> PlanReport:
    """Say what each strategy gets."""
    rows = tuple(
        (
            line.name,
            line.venue,
            amount(round(line.units, 6)),
            usd(line.im),
            usd(line.profit),
            usd(line.shortfall),
            "–" if line.return_on_margin is None else ratio(line.return_on_margin, 2),
        )
        for line in made.lines
    )
    total = ("plan", "", "", usd(made.im), usd(made.profit), usd(made.shortfall), "")
    bound = ", ".join(made.binding) or "nothing"
    facts: tuple[str, ...] = (
        f"Bound by: {bound}. The account would be liquidated in {ratio(made.liquidation, 2)} "
        "of scenarios.",
        f"Expected shortfall at {ratio(made.level, 1)}; its parts are Euler's and sum to it. "
        "Margins of strategies are as if alone; the plan's is as its rules count it.",
    )
    if made.venues:
        facts = (
            *facts,
            f"{usd(made.unplaced)} USD need not be at any venue; venues do not net with each "
            "other, and each sees only what is there.",
        )
    charts: tuple[Chart | Bars, ...] = ()
    if made.venues:
        charts = (
            Bars(
                title="Capital that must be at each venue, and the margin of it",
                bars=tuple(PairBar(v.venue or "no venue", v.capital, v.im) for v in made.venues),
                unit="USD",
                beside="margin",
            ),
        )
    if len(frontier) > 1:
        charts = (
            *charts,
            Chart(
                title="Profit against expected shortfall",
                axis=[usd(p.shortfall, 0) for p in frontier],
                series={"profit": [p.profit for p in frontier]},
                unit="USD a period, by USD of shortfall",
            ),
        )
    heads = ("strategy", "venue", "units", "IM, USD", "profit, USD", "ES share, USD", "profit / IM")
    tables = [Shown(title="", heads=heads, rows=(*rows, total))]
    if made.venues:
        tables.append(
            Shown(
                title="Capital by venue, USD",
                heads=("venue", "margin", "kept free", "must be there", "is there"),
                rows=tuple(
                    (v.venue or "no venue", usd(v.im), usd(v.reserve), usd(v.capital),
                     usd(v.balance))
                    for v in made.venues
                ),
            )
        )  # fmt: skip
    if len(frontier) > 1:
        tables.append(
            Shown(
                title="Frontier",
                heads=("ES, USD", "profit, USD", "IM, USD"),
                rows=tuple((usd(p.shortfall), usd(p.profit), usd(p.im)) for p in frontier),
                words=(),
            )
        )
    return PlanReport(title=title, facts=facts, tables=tuple(tables), charts=charts)


def rebalance_report(
    title: str, names: Sequence[str], targets: Sequence[float], made: Rebalance
) -> PlanReport:
    """Say what to buy and sell."""
    rows = tuple(
        (
            name,
            ratio(float(made.weights[k]), 2),
            ratio(targets[k], 2),
            "yes" if made.breached[k] else "",
            usd(float(made.trades[k])),
            ratio(float(made.after[k]), 2),
        )
        for k, name in enumerate(names)
    )
    fact = (
        f"It costs {usd(made.cost)} USD."
        if made.breached.any()
        else "Every weight is inside its band: zero orders."
    )
    heads = ("holding", "weight", "target", "out of band", "trade, USD", "after")
    bars = tuple(
        PairBar(name, 100.0 * float(made.after[k]), 100.0 * float(made.weights[k]))
        for k, name in enumerate(names)
    )
    return PlanReport(
        title=title,
        facts=(fact,),
        tables=(Shown(title="", heads=heads, rows=rows),),
        charts=(Bars(title="Weights after and before", bars=bars, unit="%"),),
    )


def correlation_report(
    title: str,
    lines: Sequence[CorrelationLine],
    stress: MacroStress | None,
    days: Sequence[str],
    moving: Mapping[str, Sequence[float]],
) -> PlanReport:
    """Say how coins move with macro series, now, by regime and in the tails."""
    rows = tuple(
        (
            f"{x.coin} / {x.series}",
            f"{x.count:,}",
            f"{x.full:+.2f} ± {x.error:.2f}",
            f"{x.now:+.2f}",
            f"{x.year_low:+.2f} … {x.year_high:+.2f}",
            f"{x.calm:+.2f}",
            f"{x.stressed:+.2f} ({x.adjusted:+.2f})",
            f"{x.fall:+.2f}",
            f"{x.rise:+.2f}",
            f"{x.beta:+.3g}",
        )
        for x in lines
    )
    heads = (
        "pair", "returns", "whole", "now", "rolling year", "calm", "stressed (adjusted)",
        "both fall", "both rise", "beta now",
    )  # fmt: skip
    tables = [Shown(title="Correlation from close to close", heads=heads, rows=rows)]
    facts = [
        "Coins are sampled at the macro market's close and nothing is filled forward. Stressed: "
        "the tenth of days with the largest moves of the series; adjusted: freed from the rise of "
        "its variance alone (Forbes–Rigobon)."
    ]
    if stress is not None:
        given = ", ".join(f"{name} {move:+g}" for name, move in stress.given.items())
        tables.append(
            Shown(
                title=f"If {given}, over one period",
                heads=("coin", "expected move", "σ that is left"),
                rows=tuple(
                    (coin, f"{100.0 * move:+.2f} %", ratio(stress.residual[coin], 2))
                    for coin, move in stress.moves.items()
                ),
            )
        )
        facts.append(
            "Moves are logarithms, or differences of rates, over one period, from moving "
            "covariances" + (" pushed towards full correlation." if stress.pushed else ".")
        )
    charts = tuple(
        [Chart(title="Moving correlation", axis=days, series=moving, unit="")] if moving else []
    )
    return PlanReport(title=title, facts=tuple(facts), tables=tuple(tables), charts=charts)
