"""Accounts at several venues: what a scenario does to each, and where positions belong."""

from __future__ import annotations

from crossmargin.analytics import VenuesPlan
from crossmargin.planning import Placement
from crossmargin.reports._bars import PairBar
from crossmargin.reports.plans import Bars, PlanReport, Shown
from crossmargin.reports.terminal import amount, usd


def plan_report(made: VenuesPlan) -> PlanReport:
    """Say who falls short, what to send by when, and what hedges are lost."""
    venues = tuple(
        (
            v.venue,
            usd(v.equity_usd),
            usd(v.free_usd),
            usd(v.equity_after_usd),
            usd(v.mm_after_usd),
            usd(v.top_up_usd),
            "–" if v.liquidated_at_hours is None else f"{v.liquidated_at_hours:.1f} h",
        )
        for v in made.venues
    )
    transfers = tuple(
        (
            f"{t.source} → {t.target}",
            usd(t.usd),
            f"{t.lands_hours:.1f} h",
            f"{t.needed_by_hours:.1f} h",
        )
        for t in made.transfers
    )
    deltas = tuple(
        (coin, amount(round(now, 6)), amount(round(made.net_delta_after.get(coin, 0.0), 6)))
        for coin, now in made.net_delta.items()
    )
    heads = (
        "venue", "equity, USD", "free, USD", "equity after", "MM after", "top-up", "liquidated",
    )  # fmt: skip
    tables = [Shown(title="Venues", heads=heads, rows=venues)]
    if transfers:
        tables.append(
            Shown(title="Send", heads=("from → to", "USD", "lands", "needed by"), rows=transfers)
        )
    if made.prefund_usd:
        tables.append(
            Shown(
                title="Must be there beforehand",
                heads=("venue", "USD"),
                rows=tuple((name, usd(x)) for name, x in made.prefund_usd.items()),
            )
        )
    tables.append(
        Shown(title="Net delta, coins", heads=("coin", "now", "after liquidations"), rows=deltas)
    )
    facts = [
        f"Free margin of all venues adds up to {usd(made.apparent_free_usd)} USD; less the top-ups "
        f"of the scenario it is {usd(made.true_free_usd)} USD.",
    ]
    if made.naked:
        facts.append(
            f"Hedged over venues now and naked after the liquidations: {', '.join(made.naked)}."
        )
    facts.append("Each venue sees only its own account; a transfer counts once it has landed.")
    return PlanReport(
        title=f"Venues in {made.scenario}, over {made.hours:g} hours",
        facts=tuple(facts),
        tables=tuple(tables),
        charts=(
            Bars(
                title="Equity in the scenario, and maintenance margin",
                bars=tuple(
                    PairBar(v.venue, v.equity_after_usd, v.mm_after_usd) for v in made.venues
                ),
                unit="USD",
                beside="MM",
            ),
        ),
    )


def placement_report(made: Placement) -> PlanReport:
    """Say what to move."""
    moves = tuple((m.instrument, m.venue, f"{m.quantity:+,.8g}") for m in made.moves)
    venues = [
        (
            v.venue,
            usd(v.im_before_usd),
            usd(v.im_after_usd),
            usd(v.available_before_usd),
            usd(v.available_after_usd),
        )
        for v in made.venues
    ]
    venues.append(("together", usd(made.im_before_usd), usd(made.im_after_usd), "", ""))
    saved = made.im_before_usd - made.im_after_usd
    facts = [
        f"Initial margin falls by {usd(saved)} USD; moving costs {usd(made.cost_usd)} USD."
        if made.moves
        else "It cannot be placed better within that budget: nothing is moved.",
        "No placement within the budget needs less (requirements were convex wherever the search "
        "looked)."
        if made.proven
        else "There may be a better one: a requirement is not convex, or the search was cut off.",
        f"Worst shortfall in the scenarios: {usd(made.shortfall_before_usd)} USD before, "
        f"{usd(made.shortfall_after_usd)} USD after.",
    ]
    facts += [f"{name} cannot be held at {venue} under its rules." for name, venue in made.refused]
    return PlanReport(
        title="Where to hold which position",
        facts=tuple(facts),
        tables=(
            Shown(
                title="Moves",
                heads=("instrument", "venue", "change, units"),
                rows=moves or (("nothing", "", ""),),
            ),
            Shown(
                title="Margin, USD",
                heads=("venue", "IM before", "IM after", "available before", "after"),
                rows=tuple(venues),
            ),
        ),
        charts=(
            Bars(
                title="Initial margin after and before",
                bars=tuple(PairBar(v.venue, v.im_after_usd, v.im_before_usd) for v in made.venues),
                unit="USD",
            ),
        ),
    )
