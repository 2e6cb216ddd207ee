"""A cascade: tables for the terminal, and pages with its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from crossmargin.cascade.contagion import CrowdContagion, largest
from crossmargin.cascade.facts import Judged
from crossmargin.cascade.heat import Heat
from crossmargin.cascade.outcome import Outcome
from crossmargin.cascade.population import Population
from crossmargin.cascade.result import CascadeResult
from crossmargin.cascade.scenario_types import Scenario
from crossmargin.reports._cascade_charts import (
    heat_chart,
    layers_chart,
    lines_chart,
    path_chart,
    stack_chart,
    volume_chart,
)
from crossmargin.reports._cascade_maps import contagion_chart, network_chart
from crossmargin.reports._sections import heading
from crossmargin.reports._table import Column, figure, table
from crossmargin.reports._text import DASH, Safe, amount, esc, join, number, percent, short
from crossmargin.reports.html import page
from crossmargin.reports.terminal import ratio, table_of

Floats = NDArray[np.float64]

#: What no run of this tool can say, printed with every one (cascades.md, honest limits).
LIMITS = (
    "Behaviour (top-ups, stops, new buyers) and φ, the share of forced flow that is filled by "
    "people who close, are not identified by any data: they are assumptions.",
    "Depth is that of one venue.",
    "Where a fall stops is not predictable: in the published test the out-of-sample R² is below 0.",
    "It ranks designs and scenarios. It does not forecast prices.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeView:
    """Everything that is shown of one run.

    Attributes
    ----------
    scenario : Scenario
        What was run.
    people : Population
        Who was there.
    run : CascadeResult
        What happened.
    outcome : Outcome
        In figures.
    radius : float
        ρ(G) of those whom the scripted news reaches.
    heat : Heat
        Of the lead contract.
    inside : CrowdContagion or None
        Contagion inside accounts, other prices held.
    facts : list of Judged
        Empty where the scenario has none.
    """

    scenario: Scenario
    people: Population
    run: CascadeResult
    outcome: Outcome
    radius: float
    heat: Heat
    inside: CrowdContagion | None = None
    facts: Sequence[Judged] = field(default_factory=list)

    @property
    def lead(self) -> str:
        """Name of the asset that leads."""
        return self.scenario.names[self.scenario.lead_row]

    @property
    def minutes(self) -> list[float]:
        """Minutes from the start, T + 1."""
        times = self.run.times_ns
        return [float(x) for x in (times - times[0]) / 60e9]


def seconds(value: float | None) -> str:
    """Write a time in seconds; a dash for none."""
    return DASH if value is None else f"{value:,.0f} s"


def outcome_rows(made: Outcome, lead: str) -> list[tuple[str, str]]:
    """Return what a run came to, in words and figures."""
    times = DASH if made.amplification is None else f"{made.amplification:.2f}×"
    one_sided = DASH if made.one_sided is None else ratio(made.one_sided)
    return [
        (f"lowest price of {lead}", ratio(made.drop)),
        ("  without forced sales", ratio(made.news_drop)),
        ("  amplification", times),
        (f"price of {lead} at the end", ratio(made.end_move)),
        ("open interest (coins at starting prices)", ratio(made.oi_drop)),
        ("closed by force in the market, USD", f"{made.liquidated_usd:,.0f}"),
        ("  of it longs", one_sided),
        ("closed against holders (ADL), USD", f"{made.adl_usd:,.0f}"),
        ("  share of everything closed by force", ratio(made.adl_share)),
        ("  from the first liquidation", seconds(made.adl_lag_s)),
        ("accounts closed in part or whole", f"{made.accounts:,} ({ratio(made.account_share)})"),
        ("loss beyond accounts' own money, USD", f"{made.deficit_usd:,.0f}"),
        ("fund at the end, USD", f"{made.fund_end_usd:,.0f}"),
        ("winners' profit kept", ratio(made.winners_kept)),
        ("least depth, of the start's", ratio(made.depth_low)),
    ]


def print_cascade(console: Console, view: CascadeView) -> None:
    """Print a run: what it came to, who bore the loss, contagion, facts, limits."""
    made = view.outcome
    console.print(Text(f"{view.scenario.title}", "bold"))
    console.print(
        Text(
            f"{view.people.size:,} accounts, {len(view.people.contracts)} contracts, "
            f"{view.run.steps:,} steps of {view.scenario.clock.step_s:g} s, seed {view.run.seed}; "
            f"ρ(G) of those whom the news reaches: {view.radius:.3f}",
            "dim",
        )
    )
    lines = table_of("what", "figure")
    for name, text in outcome_rows(made, view.lead):
        lines.add_row(name, text)
    console.print(lines)
    if made.deficit_usd > 0:
        borne = table_of("who bore the loss", "USD", "share")
        for name, value in layers(made):
            borne.add_row(name, f"{value:,.0f}", ratio(value / made.deficit_usd))
        console.print(borne)
    if view.inside is not None:
        print_contagion(console, view.inside)
    if view.facts:
        print_facts(console, view.facts)
    print_limits(console)


def print_contagion(
    console: Console, found: CrowdContagion, *, through_prices: bool = False
) -> None:
    """Print a contagion matrix."""
    title = (
        "Share of positions closed, sales moving prices"
        if through_prices
        else "Share of positions closed inside accounts, other prices held"
    )
    lines = table_of(
        "shock to", *found.closed, "accounts", "no position in it", "not exposed", title=title
    )
    for row, name in enumerate(found.shocked):
        rest = (found.without_position[row], found.unexposed[row])
        lines.add_row(
            name,
            *(ratio(float(v)) for v in found.matrix[row]),
            f"{int(found.liquidated[row]):,}",
            *(DASH if np.isnan(v) else ratio(float(v)) for v in rest),
        )
    console.print(lines)


def print_scenarios(console: Console, rows: Sequence[Scenario]) -> None:
    """Print scenarios, a line each."""
    lines = table_of("scenario", "what", "accounts", "contracts", left=2)
    for row in rows:
        contracts = ", ".join(a.name for a in row.assets)
        lines.add_row(row.id, Text(row.title, overflow="fold"), f"{row.population.accounts:,}",
                      contracts)  # fmt: skip
    console.print(lines)


def print_basis(console: Console, scenario: Scenario) -> None:
    """Print where the figures of a scenario come from."""
    console.print(Text(scenario.title, "bold"))
    if scenario.note:
        console.print(Text(scenario.note))
    lines = table_of("figures", "confidence", "source", "note", left=4)
    lines.columns[0].no_wrap = False
    for basis in scenario.basis:
        lines.add_row(
            ", ".join(basis.figures),
            basis.confidence,
            scenario.sources[basis.source].title,
            basis.note,
        )
    console.print(lines)


def print_facts(console: Console, facts: Sequence[Judged]) -> None:
    """Print facts beside the run, and how many matched."""
    style = {"matched": "green", "off": "bold red", "not identified": "dim"}
    lines = table_of("fact", "published", "simulated", "band", "verdict", left=2)
    for row in facts:
        band = DASH
        if row.fact.low is not None and row.fact.high is not None:
            low, high = (fact_figure(v, row.fact.unit) for v in (row.fact.low, row.fact.high))
            band = f"{low} to {high}"
        lines.add_row(
            row.fact.title,
            Text(row.fact.observed, overflow="fold"),
            fact_figure(row.simulated, row.fact.unit),
            band,
            Text(row.verdict, style[row.verdict]),
        )
    console.print(lines)
    console.print(Text(fact_words(facts)))


def fact_words(facts: Sequence[Judged]) -> str:
    """Say how many facts a run meets, misses and cannot tell."""
    count = {v: sum(row.verdict == v for row in facts) for v in ("matched", "off")}
    rest = len(facts) - count["matched"] - count["off"]
    return (
        f"{count['matched']} facts matched, {count['off']} off, {rest} not identified: a "
        "calibration that misses some is the honest state of this scenario"
    )


def fact_figure(value: float | None, unit: str) -> str:
    """Write a figure in its fact's unit; a dash for none."""
    if value is None:
        return DASH
    if unit == "share":
        return ratio(value, 2 if abs(value) < 0.02 else 1)
    if unit == "s":
        return f"{value:,.0f} s"
    return f"{value:,.2f}" + ("×" if unit == "x" else "")


def print_limits(console: Console) -> None:
    """Print what a simulation cannot say."""
    for line in LIMITS:
        console.print(Text(line, "dim"))


def layers(made: Outcome) -> list[tuple[str, float]]:
    """Return who bore a loss, in the order in which they pay."""
    rows = [
        ("Backstop vault", made.backstop_usd),
        ("Insurance fund", made.fund_usd),
        ("Holders closed against (ADL)", made.adl_loss_usd),
        ("Everybody (socialised)", made.socialised_usd),
        ("Nobody: bad debt", made.bad_debt_usd),
    ]
    return [(name, value) for name, value in rows if value > 0]


def render_cascade(view: CascadeView, *, version: str, extra: Sequence[Safe] = ()) -> str:
    """Write the page of one run.

    Parameters
    ----------
    view : CascadeView
        What is shown.
    version : str
        Of this package, for the footer.
    extra : sequence of Safe
        More figures, for example the fan of many runs.
    """
    clock = view.scenario.clock
    facts = [
        f"{view.people.size:,} accounts, {len(view.people.contracts)} contracts; "
        f"{view.run.steps:,} steps of {clock.step_s:g} s from {clock.start}, seed {view.run.seed}",
        view.scenario.note,
    ]
    body = [
        heading("Cascade", view.scenario.title, [f for f in facts if f]),
        _tiles(view),
        limits_section(),
        _price_section(view),
        _loss_section(view),
    ]
    if extra:
        body.append(section("many", "Many runs", extra))
    if view.inside is not None and len(view.inside.shocked):
        body.append(_contagion_section(view.inside))
    if view.facts:
        body.append(facts_section(view.facts))
    body += [figures_section(view), basis_section(view.scenario)]
    return page(
        f"Cascade: {view.scenario.id}", body, version=version, skip=("#price", "Skip to the price")
    )


def section(name: str, title: str, cards: Sequence[str]) -> Safe:
    """Write a section of cards."""
    return Safe(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{esc(title)}</h2>'
        f'<div class="cards">{join(list(cards))}</div></section>'
    )


def limits_section() -> Safe:
    """Write what a simulation cannot say, near the top of every page."""
    items = "".join(f"<li>{esc(line)}</li>" for line in LIMITS)
    return Safe(
        '<section class="notes" aria-labelledby="limits"><h2 id="limits">What this cannot say</h2>'
        f"<ul>{items}</ul></section>"
    )


def tiles(items: Sequence[tuple[str, str, str]]) -> Safe:
    """Write large figures: name, figure, line below."""
    drawn = "".join(
        f'<div class="tile"><dt>{esc(name)}</dt><dd>{esc(value)}</dd>'
        f'<dd class="sub">{esc(sub)}</dd></div>'
        for name, value, sub in items
    )
    return Safe(f'<dl class="tiles">{drawn}</dl>')


def _tiles(view: CascadeView) -> Safe:
    made = view.outcome
    times = DASH if made.amplification is None else number(made.amplification, 2) + "×"
    return tiles(
        [
            (f"Lowest {view.lead}", percent(made.drop), f"{percent(made.news_drop)} without sales"),
            ("Amplification", times, f"ρ(G) of those reached {view.radius:.2f}"),
            ("Open interest", percent(made.oi_drop), "coins, at starting prices"),
            ("Closed by force", short(made.liquidated_usd) + " USD",
             f"{made.accounts:,} accounts, {percent(made.account_share)}"),
            ("Closed against holders", short(made.adl_usd) + " USD",
             f"{percent(made.adl_share)} of all that was closed by force"),
            ("Loss beyond own money", short(made.deficit_usd) + " USD",
             f"fund at the end {short(made.fund_end_usd)} USD"),
            ("Winners kept", percent(made.winners_kept), "of their profit, after deleveraging"),
        ]
    )  # fmt: skip


def _price_section(view: CascadeView) -> Safe:
    run, lead = view.run, view.scenario.lead_row
    minutes = view.minutes
    depth = run.depth[:, min(lead, len(view.people.contracts) - 1)]
    sold = {
        "longs closed": run.sold.sum(axis=1),
        "shorts closed": run.bought.sum(axis=1),
        "closed against holders": run.adl.sum(axis=1),
    }
    interest = {
        name: run.open_interest[:, c] * run.price[0, c]
        for c, name in enumerate(view.people.contracts)
    }
    map_ = view.heat
    band = map_.band
    said = (
        "No price has a local gain above 1 in the calm book."
        if band is None
        else f"Local gain above 1 between {amount(band[0])} and {amount(band[1])} USD in the calm "
        "book: once there, price runs through without further news."
    )
    cards = [
        figure(
            f"{view.lead}: as it went, and without forced sales",
            "The area between is what the cascade added.",
            path_chart(view.lead, minutes, run.price[:, lead], run.exogenous[:, lead]),
            wide=True,
        ),
        figure("Closed by force, step by step", "",
               volume_chart(minutes[1:], sold), wide=True),
        figure(f"Where {map_.contract} was liquidated", said,
               heat_chart(map_.contract, map_.minutes.tolist(), map_.path, map_.edges,
                          map_.closed, map_.standing, map_.gain), wide=True),
        figure("Open interest", f"Coins at starting prices. {percent(view.outcome.oi_drop)} over "
               "the run: forced closes filled by people who close, and deleveraging.",
               stack_chart(minutes, interest, "open interest")),
        figure("Leverage of everybody", "Gross notional over equity.",
               lines_chart(minutes, {"leverage": run.leverage}, "gross notional over equity", "×")),
        figure("Liquidation rounds", "Within each step sales move prices and prices bring sales, "
               "until nobody is below the line or the rounds end.",
               lines_chart(minutes[1:], {"rounds": run.rounds.astype(np.float64)}, "a step")),
        figure("Depth", "Depth of the lead contract, % of the start's.",
               lines_chart(
                   minutes,
                   {"depth": 100.0 * depth / depth[0]}, "% of the depth at the start")),
    ]  # fmt: skip
    return section("price", "Price, volume, open interest", cards)


def _loss_section(view: CascadeView) -> Safe:
    made = view.outcome
    if made.deficit_usd > 0:
        lead = "Each layer pays only when the one above is used up."
        card = figure("Who bore the loss", lead, layers_chart(made.deficit_usd, layers(made)))
    else:
        card = figure("Who bore the loss", "Nobody: every account was closed above zero.")
    money = {"fund": view.run.fund, "backstop": view.run.backstop}
    paths = figure("Fund and backstop", "US dollars.", lines_chart(view.minutes, money, "USD"))
    return section("loss", "Losses", [card, paths])


def _contagion_section(found: CrowdContagion) -> Safe:
    source, target, share = largest(found)
    most = f"Most: {source} closes {percent(share)} of {target}." if source else "Nothing crosses."
    rows = [
        [
            name,
            f"{int(found.liquidated[k]):,}",
            DASH if np.isnan(found.without_position[k]) else percent(found.without_position[k]),
            DASH if np.isnan(found.unexposed[k]) else percent(found.unexposed[k]),
        ]
        for k, name in enumerate(found.shocked)
    ]
    shown = table(
        "Who is closed by a shock to one asset",
        [Column("shock to", text=True), Column("accounts closed"),
         Column("without a position in it"), Column("not exposed at all")],
        rows,
    )  # fmt: skip
    cards = [
        figure("Contagion matrix", "Share of each contract's notional closed by force after a "
               "shock to one asset alone, all other prices held: what pots carry across.",
               contagion_chart(found.shocked, found.closed, found.matrix)),
        figure("Contagion between assets", most,
               network_chart(found.shocked, found.closed, found.matrix)),
        figure("Who is closed",
               "Through prices it reaches further: cascade contagion --prices says how far.",
               shown, wide=True),
    ]  # fmt: skip
    return section("contagion", "Contagion inside accounts", cards)


def facts_section(facts: Sequence[Judged]) -> Safe:
    """Write facts beside the run, each with its verdict and its reason."""
    badge = {"matched": "healthy", "off": "liquidation", "not identified": "unknown"}
    rows = []
    for row in facts:
        fact = row.fact
        band = DASH
        if fact.low is not None and fact.high is not None:
            band = f"{fact_figure(fact.low, fact.unit)} to {fact_figure(fact.high, fact.unit)}"
        mark = Safe(f'<span class="badge {badge[row.verdict]}">{esc(row.verdict)}</span>')
        rows.append(
            [fact.title, fact.observed, fact_figure(row.simulated, fact.unit), band, mark,
             fact.reason or fact.note or DASH]
        )  # fmt: skip
    shown = table(
        "Stylised facts beside the run",
        [Column("fact", text=True), Column("published", text=True, wrap=True),
         Column("simulated"), Column("band"), Column("verdict", text=True),
         Column("reason, or what to know", text=True, wrap=True)],
        rows,
    )  # fmt: skip
    return Safe(
        '<section aria-labelledby="facts"><h2 id="facts">Published facts beside the run</h2>'
        f'<p class="section-note">{esc(fact_words(facts))}.</p>{shown}</section>'
    )


def figures_section(view: CascadeView) -> Safe:
    """Write all figures of the run as a table."""
    rows = [[name.strip(), text] for name, text in outcome_rows(view.outcome, view.lead)]
    rows.append(["largest relative error of a law of conservation", f"{view.run.conservation:.1e}"])
    shown = table("The run in figures", [Column("what", text=True), Column("figure")], rows)
    return Safe(f'<section aria-labelledby="all"><h2 id="all">In figures</h2>{shown}</section>')


def basis_section(scenario: Scenario) -> Safe:
    """Write where the scenario's figures come from, and how sure they are."""
    rows = [
        [", ".join(b.figures), scenario.sources[b.source].title, b.confidence, b.note or DASH]
        for b in scenario.basis
    ]
    shown = table(
        "Where the figures come from",
        [Column("figures", text=True, wrap=True), Column("source", text=True, wrap=True),
         Column("confidence", text=True), Column("note", text=True, wrap=True)],
        rows,
    )  # fmt: skip
    return Safe(
        '<section aria-labelledby="basis"><h2 id="basis">Where the scenario\'s figures come from'
        f"</h2>{shown}</section>"
    )
