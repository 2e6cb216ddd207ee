"""What each position costs in margin, ratios by name and the release list, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from crossmargin.analytics import MarginReturn, NamedRatio, PositionMargin, Release, TailCost
from crossmargin.reports._bars import PairBar
from crossmargin.reports.plans import Bars, Chart, PlanReport, Shown
from crossmargin.reports.terminal import amount, ratio, table_of, usd

#: What is compared over rule-sets; the rest stands in ``--json``.
_COMPARED = (
    "notional per collateral",
    "initial margin used",
    "return on margin",
    "tail per collateral",
    "buffer",
    "margin saved",
    "idle collateral",
    "cost of margin",
)


def print_efficiency(
    console: Console,
    title: str,
    saving: float | None,
    tail: TailCost,
    rows: Sequence[PositionMargin],
    ratios: Sequence[NamedRatio],
    listed: Sequence[Release],
    *,
    back: MarginReturn | None = None,
    beside: Mapping[str, Sequence[NamedRatio]] | None = None,
    refused: Mapping[str, str] | None = None,
) -> None:
    """Print the pair of saving and tail cost, positions, ratios and the release list.

    `beside` has the ratios of several rule-sets, which then stand in columns of their own.
    """
    console.print(Text(title, "bold"))
    earned = any(row.pnl_usd is not None for row in rows)
    heads = ["position", "held", "notional", "alone", "marginal", "allocated", "released"]
    lines = table_of(*heads, *(["earned", "on marginal"] if earned else []))
    for row in sorted(rows, key=lambda r: -r.marginal_usd):
        cells = [
            row.instrument + ("" if row.leg == "net" else f" {row.leg}"),
            amount(row.quantity),
            usd(row.notional_usd, 0),
            usd(row.standalone_usd),
            usd(row.marginal_usd),
            usd(row.allocated_usd),
            usd(row.released_usd),
        ]
        if earned:
            cells += [usd(row.pnl_usd), ratio(row.return_on_marginal)]
        lines.add_row(*cells)
    console.print(lines)
    if beside:
        shown = _side_by_side(beside)
        compared = table_of(*shown.heads)
        for line in shown.rows:
            compared.add_row(*line)
        console.print(compared)
    else:
        named = table_of("ratio", "value", "unit", "formula")
        for one in ratios:
            named.add_row(one.name, _value(one), one.unit, one.formula)
        console.print(named)
    first = table_of("close, in this order", "held", "releases", "together")
    for step in listed:
        first.add_row(
            step.instrument, amount(step.quantity), usd(step.released_usd), usd(step.together_usd)
        )
    console.print(first if listed else Text("closing any position releases nothing"))
    console.print(Text(_pair(saving, tail), "bold"))
    if back is not None:
        console.print(Text(_return(back), "bold"))
    for name, why in (refused or {}).items():
        console.print(Text(f"{name} does not margin this account: {why}"))
    console.print(
        Text(
            "amounts in US dollars; allocated margins add up to IM with those of coin balances, "
            "the others do not; released: rise of equity − IM when closed at the mark, no cost",
            "dim",
        )
    )


def _pair(saving: float | None, tail: TailCost) -> str:
    return (
        f"pooling saves {ratio(saving)} of the margin and puts {usd(tail.rise)} USD more at "
        f"stake in the tail (CVaR {100 * tail.confidence:g} % over {tail.horizon_days:g} day: "
        f"{usd(tail.cvar_pooled)} pooled, {usd(tail.cvar_separate)} in separate pots)"
    )


def _return(back: MarginReturn) -> str:
    return (
        f"{usd(back.pnl_usd)} USD on a time-weighted margin of {usd(back.margin_usd)} USD over "
        f"{back.days:,.2f} days: {ratio(back.period, 2)}, {ratio(back.annual, 2)} a year, simple"
    )


def _side_by_side(beside: Mapping[str, Sequence[NamedRatio]]) -> Shown:
    """Return the ratios of several rule-sets: a row each, in columns by ratio."""
    first = next(iter(beside.values()))
    kept = [one for one in first if one.name in _COMPARED]
    rows = []
    for name, ratios in beside.items():
        by = {one.name: one for one in ratios}
        rows.append((name, *(_value(by[one.name]) if one.name in by else "–" for one in kept)))
    heads = ("rule-set", *(f"{one.name}, {one.unit}" for one in kept))
    return Shown(title="Ratios by rule-set", heads=heads, rows=tuple(rows))


def efficiency_report(
    title: str,
    saving: float | None,
    tail: TailCost,
    rows: Sequence[PositionMargin],
    ratios: Sequence[NamedRatio],
    listed: Sequence[Release],
    back: MarginReturn | None,
    beside: Mapping[str, Sequence[NamedRatio]],
) -> PlanReport:
    """Return the same as a page, with pictures of margins and of the pair."""
    ordered = sorted(rows, key=lambda r: -r.marginal_usd)
    positions = Shown(
        title="Positions, USD",
        heads=("position", "held", "notional", "alone", "marginal", "allocated", "released"),
        rows=tuple(
            (
                row.instrument + ("" if row.leg == "net" else f" {row.leg}"),
                amount(row.quantity),
                usd(row.notional_usd, 0),
                usd(row.standalone_usd),
                usd(row.marginal_usd),
                usd(row.allocated_usd),
                usd(row.released_usd),
            )
            for row in ordered
        ),
    )
    named = Shown(
        title="Ratios",
        heads=("ratio", "value", "unit", "formula"),
        rows=tuple((one.name, _value(one), one.unit, one.formula) for one in ratios),
    )
    tables = [positions, named]
    if len(beside) > 1:
        tables.append(_side_by_side(beside))
    if listed:
        tables.append(
            Shown(
                title="Close, in this order, USD",
                heads=("position", "held", "releases", "together"),
                rows=tuple(
                    (x.instrument, amount(x.quantity), usd(x.released_usd), usd(x.together_usd))
                    for x in listed
                ),
            )
        )
    facts = [_pair(saving, tail)[:1].upper() + _pair(saving, tail)[1:] + "."]
    if back is not None:
        facts.append(_return(back) + ".")
    charts: list[Chart | Bars] = [
        Bars(
            title="Marginal margin of each position, and alone",
            bars=tuple(
                PairBar(row.instrument, row.marginal_usd, row.standalone_usd) for row in ordered
            ),
            unit="USD",
            beside="alone",
        ),
        Bars(
            title="The price of pooling: CVaR of a day, pooled and in separate pots",
            bars=(PairBar("loss in the tail", tail.cvar_pooled, tail.cvar_separate),),
            unit="USD",
            beside="separate",
        ),
    ]
    return PlanReport(title=title, facts=tuple(facts), tables=tuple(tables), charts=tuple(charts))


def _value(one: NamedRatio) -> str:
    if one.value is None:
        return "–"
    if one.unit == "share":
        return ratio(one.value, 2)
    return usd(one.value) if one.unit.startswith("USD") else f"{one.value:,.3f}"
