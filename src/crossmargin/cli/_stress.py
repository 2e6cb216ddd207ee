"""``stress``: an account in named scenarios, its coverage ladder and its reverse stress."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._app import (
    AccountArg,
    AtOpt,
    JsonOpt,
    MarketOpt,
    ParamsOpt,
    SetOpt,
    _console,
    _print_json,
    app,
)
from crossmargin.cli._inverse import RulesetOpt, _world
from crossmargin.cli._moves import CorrOpt, SigmaOpt, daily_model, given_moves


@app.command
def stress(
    account: AccountArg,
    *,
    scenario: Annotated[
        list[str] | None, Parameter(help="Scenario by name; default all. Repeatable.")
    ] = None,
    file: Annotated[str | None, Parameter(help="Further scenarios: a TOML file.")] = None,
    reverse: Annotated[
        bool, Parameter(help="The smallest joint move, in σ, that meets the line.", negative="")
    ] = False,
    ladder: Annotated[
        str | None, Parameter(help="Coin of the coverage ladder; * (default) for all together.")
    ] = None,
    sigma: SigmaOpt = None,
    corr: CorrOpt = None,
    close_cost: Annotated[
        float, Parameter(help="Cost of closing by force, of delta notional.")
    ] = 0.01,
    close_vol_points: Annotated[
        float, Parameter(help="Volatility points paid away on options closed by force.")
    ] = 3.0,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    html: Annotated[str | None, io.file_option("Write a page with the pictures here.")] = None,
    json: JsonOpt = False,
) -> None:
    """Put an account through recorded crashes and made-up ones; find where it breaks.

    Losses are of equity at market, everything revalued, US dollars; pots that fall below their
    line are closed at a stated cost. σ are daily standard deviations of relative moves: the
    market's own at-the-money volatilities unless --sigma gives others.

    Example: `crossmargin stress short-vol-desk`

    Example: `crossmargin stress directional --scenario 2020-03-12 --scenario correlation-breaks
    --reverse --html stress.html`

    Example: `crossmargin stress my.json --market now.json --file mine.toml --sigma BTC=0.03
    --reverse --json`
    """
    from crossmargin.analytics import (
        CloseCosts,
        adequacy,
        choose_scenarios,
        collateral_by_location,
        read_scenarios,
        reverse_stress,
        run_stress,
        stress_library,
    )
    from crossmargin.margin import CarriedAccount

    own = [] if file is None else read_scenarios(file)
    chosen = choose_scenarios(scenario or [], [*own, *stress_library()])
    costs = CloseCosts(rate=close_cost, vol_points=close_vol_points)
    given, pairs = given_moves(sigma, corr)
    who, world, rules = _world(account, market, ruleset, set_, params, at)
    carried = CarriedAccount(who, world, rules)
    model = daily_model(world, sorted(set(carried.drivers.values())), given, pairs)
    made = run_stress(who, world, rules, chosen, costs=costs, model=model)
    rungs = adequacy(who, world, rules, coin=ladder or "*", costs=costs)
    places = collateral_by_location(who, world, rules)
    nearest = reverse_stress(carried, model) if reverse else None
    title = f"{who.account} under {rules.id}: stress"
    if html is not None:
        from crossmargin import __version__
        from crossmargin.reports.stress import render_stress

        facts = [f"Rule-set {rules.id}, market {market}"]
        page = render_stress(title, facts, made, rungs, nearest, places, version=__version__)
        io.write_whole(html, page.encode())
    if json:
        _print_json(
            {
                "account": who.account,
                "ruleset": rules.id,
                "stress": made,
                "adequacy": rungs,
                "reverse": nearest,
                "locations": places,
            }
        )
        return
    from crossmargin.reports.stress import print_stress

    console = _console()
    print_stress(console, title, made, rungs, nearest, places)
    if html is not None:
        console.print(f"page written to {html}")
