"""``venues``: accounts at several venues that cannot see each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._app import AtOpt, JsonOpt, MarketOpt, _print_json, app
from crossmargin.cli._assigned import assignments, unreadable
from crossmargin.cli._plans import HtmlOpt, show

if TYPE_CHECKING:
    from crossmargin.analytics import StressScenario, VenueAccount
    from crossmargin.market import Snapshot

venues_app = App(
    name="venues",
    help="""Accounts at several venues that cannot see each other.

    Example: `crossmargin venues plan --venue A=covered-call:deribit-pm
    --venue B=basis-trader:deribit-sm --scenario fall-30`
    """,
)
app.command(venues_app)

VenueOpt = Annotated[
    list[str],
    Parameter(name="--venue", help="A venue: NAME=account:ruleset. Repeat for each venue."),
]


@venues_app.command
def plan(
    *,
    venue: VenueOpt,
    scenario: Annotated[
        str | None, Parameter(help="Scenario of the library; default fall-30.")
    ] = None,
    shock: Annotated[
        list[str] | None, Parameter(help="Moves of your own instead: BTC=-0.2. Repeatable.")
    ] = None,
    hours: Annotated[float, Parameter(help="Over which the scenario comes.")] = 24.0,
    latency: Annotated[float, Parameter(help="Hours until a transfer counts.")] = 1.0,
    vol: Annotated[
        list[str] | None, Parameter(help="Annual volatility of a coin: BTC=0.6. Repeatable.")
    ] = None,
    reserve: Annotated[
        list[str] | None,
        Parameter(help="Free margin that stays at a venue, US dollars: A=20000. Repeatable."),
    ] = None,
    market: MarketOpt = io.DEFAULT_MARKET,
    at: AtOpt = None,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Put all venues through one scenario: who falls short, what to send, what is left naked.

    Example: `crossmargin venues plan --venue A=covered-call:deribit-pm
    --venue B=basis-trader:deribit-sm --scenario fall-30 --latency 2`

    Example: `crossmargin venues plan --venue A=directional:deribit-sm
    --venue B=basis-trader:deribit-sm --shock BTC=-0.3 --reserve A=50000 --reserve B=200000`
    """
    from crossmargin.analytics import venues_plan
    from crossmargin.reports.venues import plan_report

    world = _market(market, at)
    made = venues_plan(
        _venues(venue), world, _scenario(scenario, shock), hours=hours, latency_hours=latency,
        annual_vol=assignments(vol, "--vol", "BTC=0.6"),
        reserves=assignments(reserve, "--reserve", "A=20000"),
    )  # fmt: skip
    if json:
        _print_json(made)
    show(plan_report(made), html=html, quiet=json)


@venues_app.command(name="place")
def place_(
    *,
    venue: VenueOpt,
    budget: Annotated[float, Parameter(help="What moving may cost, US dollars.")],
    move: Annotated[
        list[str] | None, Parameter(help="Instrument that may be moved; default all. Repeatable.")
    ] = None,
    cost: Annotated[float, Parameter(help="Of the notional traded at each end.")] = 0.001,
    shock: Annotated[
        list[str] | None,
        Parameter(help="A scenario in which nothing more may fall short: BTC=-0.2. Repeatable."),
    ] = None,
    market: MarketOpt = io.DEFAULT_MARKET,
    at: AtOpt = None,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Find where to hold which position: the least initial margin of all venues together.

    Every --shock is a scenario of its own; positions are closed at one venue and opened at another
    at the mark.

    Example: `crossmargin venues place --venue A=covered-call:deribit-pm
    --venue B=basis-trader:deribit-sm --budget 2000 --shock BTC=-0.2 --shock BTC=0.2`
    """
    from crossmargin.planning import place
    from crossmargin.reports.venues import placement_report

    world = _market(market, at)
    scenarios = [assignments([text], "--shock", "BTC=-0.2") for text in shock or []]
    made = place(
        _venues(venue), world, budget_usd=budget, instruments=move, cost_rate=cost,
        scenarios=scenarios,
    )  # fmt: skip
    if json:
        _print_json(made)
    show(placement_report(made), html=html, quiet=json)


@venues_app.command
def pool(
    *,
    venue: VenueOpt,
    ruleset: Annotated[
        list[str] | None,
        Parameter(help="Rule-set of the one account; default the venues' own. Repeatable."),
    ] = None,
    market: MarketOpt = io.DEFAULT_MARKET,
    at: AtOpt = None,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Say what one cross-margin account in place of several would free, and put at stake.

    What other rules do and what pooling does are told apart: every venue's account is margined
    under its own rules, then under those of the one account, then all of it in one. The saving
    stands beside its price in the tail. US dollars.

    Example: `crossmargin venues pool --venue A=basis-trader:deribit-sm
    --venue B=directional:deribit-sm --ruleset deribit-sm --ruleset deribit-pm-cross`
    """
    from crossmargin.analytics import pool_venues
    from crossmargin.reports.venues import pool_report

    world, held = _market(market, at), _venues(venue)
    rules = (
        io.load_rules(list(dict.fromkeys(ruleset)), {}, None)
        if ruleset
        else list({one.ruleset.id: one.ruleset for one in held}.values())
    )
    made = pool_venues(held, world, rules)
    if not made.pooled:
        from crossmargin.errors import InputError

        raise InputError(
            f"no rule-set margins the one account; {next(iter(made.refused.values()))}",
            code="INP-013", field="--ruleset", hint="name another with --ruleset",
        )  # fmt: skip
    if json:
        _print_json(made)
    show(pool_report(made), html=html, quiet=json)


def _market(name: str, at: str | None) -> Snapshot:
    from crossmargin.cli._app import _moment

    world, moment = io.load_market(name), _moment(at)
    return world if moment is None else world.at(moment)


def _venues(texts: list[str]) -> list[VenueAccount]:
    from crossmargin.analytics import VenueAccount

    found = []
    for text in texts:
        name, sign, rest = text.partition("=")
        account, colon, ruleset = rest.rpartition(":")
        if not (name and sign and account and colon and ruleset):
            raise unreadable(text, "--venue", "A=account.json:deribit-pm")
        rules = io.load_rules([ruleset], {}, None)[0]
        found.append(VenueAccount(venue=name, account=io.load_account(account), ruleset=rules))
    return found


def _scenario(name: str | None, shock: list[str] | None) -> StressScenario:
    from crossmargin.analytics import StressScenario, choose_scenarios, stress_library
    from crossmargin.errors import InputError

    if shock and name:
        raise InputError(
            "a scenario by name and moves of your own are two scenarios", code="INP-013",
            field="--shock", hint="give one of them",
        )  # fmt: skip
    if not shock:
        return choose_scenarios([name or "fall-30"], stress_library())[0]
    return StressScenario(
        name="own moves", title=", ".join(shock), kind="hypothetical",
        moves=assignments(shock, "--shock", "BTC=-0.2"),
    )  # fmt: skip
