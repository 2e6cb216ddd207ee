"""Accounts at several venues: what a scenario does to each, and where positions belong."""

from __future__ import annotations

from crossmargin.analytics import PooledVenues, PoolSide, VenuesPlan, VenuesPool
from crossmargin.instruments import parse_instrument
from crossmargin.planning import Placement
from crossmargin.reports._bars import PairBar
from crossmargin.reports.plans import Bars, PlanReport, Shown
from crossmargin.reports.terminal import amount, health, ratio, usd


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
    keeps = any(v.reserve_usd for v in made.venues)
    transfers = tuple(
        (
            f"{t.source} → {t.target}",
            t.purpose,
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
        "venue", "equity, USD", "free, USD", "equity after", "MM after", "top-up",
        "liquidated after",
    )  # fmt: skip
    tables = [Shown(title="Venues", heads=heads, rows=venues)]
    if transfers:
        tables.append(
            Shown(
                title="Send",
                heads=("from → to", "for", "USD", "lands", "needed by"),
                rows=transfers,
            )
        )
    if keeps:
        tables.append(
            Shown(
                title="Free margin that is to stay, USD",
                heads=("venue", "reserve", "free now", "lacking now"),
                rows=tuple(
                    (v.venue, usd(v.reserve_usd), usd(v.free_usd), usd(v.reserve_short_usd))
                    for v in made.venues
                ),
            )
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
    if keeps:
        kept = sum(v.reserve_usd for v in made.venues)
        facts.append(
            f"{usd(kept)} USD are to stay free at venues: nothing is sent out of a reserve, and "
            "one that lacks something is filled after all top-ups."
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
    moves = tuple(
        (
            m.instrument,
            m.venue,
            f"{'' if m.quantity < 0 else '+'}{amount(m.quantity)} "
            + parse_instrument(m.instrument).quantity_unit,
        )
        for m in made.moves
    )
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
                heads=("instrument", "venue", "change"),
                rows=moves or (("nothing", "", ""),),
            ),
            Shown(
                title="Margin, USD",
                heads=("venue", "IM before", "IM after", "available before", "available after"),
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


def pool_report(made: VenuesPool) -> PlanReport:
    """Say what one account would free, and what it would put at stake."""
    heads = (
        "account", "rule-set", "equity, USD", "IM, USD", "MM, USD", "free, USD", "lacking, USD",
        "health", "liquidated: all coins fall", "rise",
    )  # fmt: skip
    apart = tuple(_pool_row(side.name, side) for side in made.venues)
    together = tuple(_pool_row("one account", one.pooled) for one in made.pooled)
    total = (
        "together", "", usd(sum(s.equity_usd for s in made.venues)), usd(_im(made)),
        usd(sum(s.mm_usd for s in made.venues)), usd(sum(s.free_usd for s in made.venues)),
        usd(sum(s.lacking_usd for s in made.venues)), "", "", "",
    )  # fmt: skip
    steps = tuple(
        (
            one.pooled.ruleset,
            usd(_im(made)),
            usd(one.im_same_rules_usd),
            usd(one.pooled.im_usd),
            ratio(one.saving),
            usd(one.freed_usd),
            usd(one.cvar_separate_usd),
            usd(one.cvar_usd),
            usd(one.cvar_usd - one.cvar_separate_usd),
        )
        for one in made.pooled
    )
    tail = f"CVaR {ratio(made.confidence, 0)}"
    return PlanReport(
        title="One account in place of several",
        facts=_pool_facts(made),
        tables=(
            Shown(title="As they are", heads=heads, rows=(*apart, total)),
            Shown(title="In one account", heads=heads, rows=together),
            Shown(
                title="Initial margin and its price in the tail, USD",
                heads=(
                    "rule-set", "IM as it is", "same rules, apart", "one account",
                    "pooling saves", "free margin gained", f"{tail} apart", f"{tail} in one",
                    "more at stake",
                ),
                rows=steps,
            ),
        ),
        charts=(
            Bars(
                title="Initial margin in one account, and apart under the same rules",
                bars=tuple(
                    PairBar(one.pooled.ruleset, one.pooled.im_usd, one.im_same_rules_usd)
                    for one in made.pooled
                ),
                unit="USD",
                beside="apart",
            ),
            Bars(
                title=f"{tail} of a day in one account, and apart",
                bars=tuple(
                    PairBar(one.pooled.ruleset, one.cvar_usd, one.cvar_separate_usd)
                    for one in made.pooled
                ),
                unit="USD",
                beside="apart",
            ),
        ),
    )  # fmt: skip


def _im(made: VenuesPool) -> float:
    return sum(side.im_usd for side in made.venues)


def _pool_row(name: str, side: PoolSide) -> tuple[str, ...]:
    return (
        name,
        side.ruleset,
        usd(side.equity_usd),
        usd(side.im_usd),
        usd(side.mm_usd),
        usd(side.free_usd),
        usd(side.lacking_usd),
        health(side.health),
        ratio(side.withstands_fall, sign=True),
        ratio(side.withstands_rise, sign=True),
    )


def _pool_facts(made: VenuesPool) -> tuple[str, ...]:
    facts = [_pool_verdict(one) for one in made.pooled]
    facts += [
        f"{name} does not margin the one account: {why}" for name, why in made.refused.items()
    ]
    if made.netted:
        facts.append(
            f"Held at several venues, one position in one account: {', '.join(made.netted)}."
        )
    facts.append(
        "Apart, every account loses at most its own equity; in one account the whole equity stands "
        f"behind every position. {made.scenarios:,} common scenarios of {made.horizon_days:g} day, "
        f"seed {made.seed}. Resting orders are left out on both sides."
    )
    return tuple(facts)


def _pool_verdict(one: PooledVenues) -> str:
    name, saved = one.pooled.ruleset, one.saving
    more = one.freed_usd
    what = f"{'frees' if more >= 0 else 'takes'} {usd(abs(more))} USD of margin"
    if saved is None:
        return f"{name}: one account {what}; these rules refuse one of the accounts alone."
    does = "saves" if saved >= 0 else "costs"
    return (
        f"{name}: one account {what}; pooling itself {does} {ratio(abs(saved))} of the IM that "
        "these rules ask of the accounts apart, the rest is owed to other rules and haircuts."
    )
