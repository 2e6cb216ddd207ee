"""``efficiency``: what each position costs in margin, named ratios, and what to release."""

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
from crossmargin.cli._assigned import assignments
from crossmargin.cli._inverse import RulesetOpt, _world


@app.command
def efficiency(
    account: AccountArg,
    *,
    pnl: Annotated[
        list[str] | None,
        Parameter(help="What an instrument earned: NAME=1200, US dollars. Repeatable."),
    ] = None,
    most: Annotated[int, Parameter(help="Positions of the release list at most.")] = 10,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    json: JsonOpt = False,
) -> None:
    """Say what each position costs in margin, what capital is used for, and what to release.

    Three margins of each position: alone, marginal (with − without) and allocated (which adds up);
    ratios by name, thrift beside the tail it costs; the positions whose closing at the mark
    releases most, one after the other. US dollars. `compare` puts an account under all rule-sets.

    Example: `crossmargin efficiency short-vol-desk`

    Example: `crossmargin efficiency my.json --market now.json --pnl BTC-PERPETUAL=1200 --json`
    """
    from crossmargin.analytics import (
        position_margins,
        release_list,
        statement_ratios,
        tail_cost,
    )
    from crossmargin.book import book_from_accounts
    from crossmargin.errors import InputError
    from crossmargin.instruments import parse_instrument
    from crossmargin.margin import evaluate, make_statement

    if not 1 <= most <= 1_000:
        raise InputError(
            f"a list of {most} positions", code="INP-004", field="--most", hint="1 to 1,000"
        )
    earned = {
        parse_instrument(name).id: value
        for name, value in assignments(pnl, "--pnl", "BTC-PERPETUAL=1200").items()
    }
    who, world, rules = _world(account, market, ruleset, set_, params, at)
    made = make_statement(who, world, rules, solve=False)
    rows = position_margins(who, world, rules, pnl_usd=earned or None)
    listed = release_list(who, world, rules, most=most)
    tail = tail_cost(evaluate(book_from_accounts([who]), world, rules), world)
    ratios = statement_ratios(
        made, es_day_usd=tail.cvar_pooled, pnl_usd=sum(earned.values()) if earned else None
    )
    if json:
        _print_json(
            {
                "account": who.account,
                "ruleset": rules.id,
                "positions": rows,
                "ratios": ratios,
                "release": listed,
                "saving": made.totals.saving,
                "tail": tail,
            }
        )
        return
    from crossmargin.reports.efficiency import print_efficiency

    title = f"{who.account} under {rules.id}: margin efficiency"
    print_efficiency(_console(), title, made.totals.saving, tail, rows, ratios, listed)
