"""``correlation-stress``: what an account's risk owes to the correlation that is believed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._app import (
    AccountArg,
    AtOpt,
    HistoryOpt,
    HtmlOpt,
    JsonOpt,
    MarketOpt,
    ParamsOpt,
    SetOpt,
    _console,
    _print_json,
    app,
)
from crossmargin.cli._assigned import assignments
from crossmargin.cli._inverse import RulesetOpt, _world
from crossmargin.cli._moves import CorrOpt, SigmaOpt, given_moves, must_move

if TYPE_CHECKING:
    from crossmargin.analytics import Dependence


@app.command(name="correlation-stress")
def correlation_stress_(
    account: AccountArg,
    *,
    history: HistoryOpt = None,
    low: Annotated[float, Parameter(help="Stressed correlation of what hedges.")] = 0.3,
    high: Annotated[float, Parameter(help="Stressed correlation of what leans one way.")] = 1.0,
    level: Annotated[float, Parameter(help="Confidence of the risk margin.")] = 0.99,
    days: Annotated[float, Parameter(help="Horizon, days.")] = 1.0,
    degrees: Annotated[
        str | None,
        Parameter(
            help="Degrees of freedom of the t copula; inf for a Gaussian one. Default: fitted to "
            "the history, 4 without one."
        ),
    ] = None,
    sigma: SigmaOpt = None,
    corr: CorrOpt = None,
    decay: Annotated[
        float, Parameter(help="λ of volatility and correlation in the history.")
    ] = 0.97,
    sigmas: Annotated[float, Parameter(help="Size of the joint shock, in σ.")] = 3.0,
    draws: Annotated[int, Parameter(help="Joint moves drawn.")] = 10_000,
    seed: Annotated[int, Parameter(help="Same seed, same numbers.")] = 20260203,
    points: Annotated[int, Parameter(help="Points of the curve.")] = 15,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Break the correlation behind an account's risk, in the direction that hurts it.

    What leans one way is pushed together, what hedges apart; the account's own losses choose. Risk
    margin is the expected shortfall of the loss at market in joint moves with a t copula, US
    dollars, everything revalued, volatility held. Collateral that falls with the positions it
    secures is named. Base: from --history (EWMA), else the market's volatilities and 0.8.

    Example: `crossmargin correlation-stress directional --history made-up`

    Example: `crossmargin correlation-stress my.json --market now.json --history closes.parquet
    --ruleset house --html break.html`

    Example: `crossmargin correlation-stress short-vol-desk --sigma BTC=0.03 --sigma ETH=0.04
    --corr BTC,ETH=0.9 --degrees inf --json`
    """
    from crossmargin.analytics import BreakSpec, correlation_break
    from crossmargin.margin import CarriedAccount

    asked = BreakSpec(
        low=low, high=high, level=level, days=days, sigmas=sigmas, draws=draws, seed=seed,
        points=points,
    )  # fmt: skip
    given, pairs = given_moves(sigma, corr)
    freedom = _degrees(degrees)
    who, world, rules = _world(account, market, ruleset, set_, params, at)
    world = io.with_history(world, history or [])
    coins = sorted(set(CarriedAccount(who, world, rules).drivers.values()))
    base = _base(world, coins, given, pairs, days, freedom, decay)
    made = correlation_break(who, world, rules, base, asked)
    title = f"{who.account} under {rules.id}: correlation stress"
    if html is not None:
        from crossmargin import __version__
        from crossmargin.reports.correlation_break import render_break

        page = render_break(title, made, version=__version__)
        io.write_whole(html, page.encode())
    if json:
        _print_json(made)
        return
    from crossmargin.reports.correlation_break import print_break

    console = _console()
    print_break(console, title, made)
    if html is not None:
        console.print(f"page written to {html}")


def _base(
    world: Any,
    coins: list[str],
    given: dict[str, float],
    pairs: dict[tuple[str, str], float],
    days: float,
    degrees: float | None,
    decay: float,
) -> Dependence:
    """Return past moves where there is a past, else the market's, with what is given instead."""
    from crossmargin.analytics import (
        assumed_dependence,
        default_risk_model,
        past_dependence,
        with_given,
    )

    must_move(given, pairs, coins)
    if world.history is not None and world.history.days:
        base = past_dependence(world.history, coins, days=days, degrees=degrees, decay=decay)
    else:
        base = assumed_dependence(
            coins, default_risk_model(world, coins), days=days, degrees=degrees
        )
    return with_given(base, given, pairs, days=days)


def _degrees(text: str | None) -> float | None:
    if text is None:
        return None
    if text in ("inf", "∞"):
        return math.inf
    return assignments([f"degrees={text}"], "--degrees", "4")["degrees"]
