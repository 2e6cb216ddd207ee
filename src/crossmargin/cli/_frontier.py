"""``frontier``: where an account is liquidated when several factors move at once."""

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
from crossmargin.cli._moves import given_moves
from crossmargin.errors import InputError

FactorOpt = Annotated[
    list[str] | None,
    Parameter(
        help="What moves: a coin, * for all, vol or vol:COIN. Repeat; default the first two."
    ),
]
SigmaOpt = Annotated[
    list[str] | None,
    Parameter(help="Standard deviation of a factor's logarithm: BTC=0.03. Repeatable."),
]
CorrOpt = Annotated[
    list[str] | None,
    Parameter(help="Correlation of two factors: BTC,ETH=0.8; default 0. Repeatable."),
]


@app.command
def frontier(
    account: AccountArg,
    *,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    factor: FactorOpt = None,
    sigma: SigmaOpt = None,
    corr: CorrOpt = None,
    low: Annotated[float, Parameter(help="Lower end of the range, × today.")] = 0.2,
    high: Annotated[float, Parameter(help="Upper end of the range, × today.")] = 5.0,
    rays: Annotated[int | None, Parameter(help="Directions looked along.")] = None,
    html: Annotated[str | None, io.file_option("Write a page with the map here.")] = None,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    json: JsonOpt = False,
) -> None:
    """Find where an account is liquidated as several factors move: in price, σ and time.

    Everything is revalued at every step. Distances in σ are Mahalanobis distances in the unit of
    the standard deviations given (daily ones give days' moves).

    Example: `crossmargin frontier short-vol-desk --factor BTC --factor vol`

    Example: `crossmargin frontier short-vol-desk --factor BTC --factor ETH --sigma BTC=0.03
    --sigma ETH=0.04 --corr BTC,ETH=0.8 --html frontier.html`
    """
    from crossmargin.analytics import liquidation_frontier, parse_factor
    from crossmargin.margin import CarriedAccount

    who, world, rules = _world(account, market, ruleset, set_, params, at)
    carried = CarriedAccount(who, world, rules)
    names = factor or _default_factors(carried)
    given, told = given_moves(sigma, corr)
    pairs = {(parse_factor(a).name, parse_factor(b).name): x for (a, b), x in told.items()}
    sigmas = {parse_factor(text).name: x for text, x in given.items()}
    if rays is not None and not 4 <= rays <= 10_000:
        raise InputError(
            f"{rays} directions", code="INP-004", field="--rays", hint="between 4 and 10,000"
        )
    made = liquidation_frontier(
        carried,
        [parse_factor(text) for text in names],
        sigmas=sigmas,
        correlations=pairs,
        low=low,
        high=high,
        rays=rays,
        # The map is only drawn, or read by a program.
        grid=21 if html is not None or json else 0,
    )
    title = f"{who.account} under {rules.id}: liquidation frontier"
    if html is not None:
        from crossmargin import __version__
        from crossmargin.reports.frontier import render_frontier

        facts = [f"Rule-set {rules.id}, market {market}"]
        page = render_frontier(title, facts, made, version=__version__)
        io.write_whole(html, page.encode())
    if json:
        _print_json({"account": who.account, "ruleset": rules.id, "frontier": made})
        return
    from crossmargin.reports.frontier import print_frontier

    print_frontier(_console(), title, made)


def _default_factors(carried: object) -> list[str]:
    """Name the first two coins that the account stands on, or one coin and its volatility."""
    from crossmargin.margin import CarriedAccount

    assert isinstance(carried, CarriedAccount)
    coins = carried.coins
    if len(coins) >= 2:
        return coins[:2]
    return [*coins, "vol"] if carried.option_coins else coins
