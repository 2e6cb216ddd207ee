"""``efficiency``: what each position costs in margin, named ratios, and what to release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._app import (
    AccountArg,
    AtOpt,
    HtmlOpt,
    JsonOpt,
    MarketOpt,
    ParamsOpt,
    SetOpt,
    _console,
    _print_json,
    app,
)
from crossmargin.cli._assigned import above_zero, assignments
from crossmargin.cli._inverse import RulesetOpt, _world
from crossmargin.errors import CrossmarginError, InputError

if TYPE_CHECKING:
    from crossmargin.analytics import NamedRatio


@app.command
def efficiency(
    account: AccountArg,
    *,
    pnl: Annotated[
        list[str] | None,
        Parameter(help="What an instrument earned: NAME=1200, US dollars. Repeatable."),
    ] = None,
    margins: Annotated[
        str | None,
        Parameter(help="Margin through time (time, im): the return is on its mean over time."),
    ] = None,
    most: Annotated[int, Parameter(help="Positions of the release list at most.")] = 10,
    against: Annotated[
        list[str] | None,
        Parameter(help="Rule-set whose ratios stand beside; all for every one. Repeatable."),
    ] = None,
    volume_day: Annotated[float | None, Parameter(help="Volume traded a day, US dollars.")] = None,
    open_interest: Annotated[
        float | None, Parameter(help="Open interest that the collateral carries, US dollars.")
    ] = None,
    money_rate: Annotated[
        float | None, Parameter(help="What money costs a year: 0.08 is 8 %.")
    ] = None,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Say what each position costs in margin, what capital is used for, and what to release.

    Three margins of each position: alone, marginal (with − without) and allocated (which adds up);
    ratios by name, thrift beside the tail it costs; the positions whose closing at the mark
    releases most, one after the other. US dollars. `compare` puts an account under all rule-sets,
    `venues pool` several accounts into one, `survival` leverage against the chance of liquidation.

    Example: `crossmargin efficiency short-vol-desk`

    Example: `crossmargin efficiency my.json --market now.json --pnl BTC-PERPETUAL=1200
    --margins im.csv --json`

    Example: `crossmargin efficiency short-vol-desk --against isolated --against derive-pm2
    --money-rate 0.08 --html efficiency.html`
    """
    from crossmargin.analytics import (
        position_margins,
        read_margins,
        release_list,
        return_on_margin,
    )
    from crossmargin.instruments import parse_instrument

    if not 1 <= most <= 1_000:
        raise InputError(
            f"a list of {most} positions", code="INP-004", field="--most", hint="1 to 1,000"
        )
    earned = {
        parse_instrument(name).id: value
        for name, value in assignments(pnl, "--pnl", "BTC-PERPETUAL=1200").items()
    }
    given = {
        "open_interest_usd": above_zero(open_interest, "--open-interest"),
        "volume_day_usd": above_zero(volume_day, "--volume-day"),
        "funding_rate_year": above_zero(money_rate, "--money-rate"),
    }
    if margins is not None and not earned:
        raise InputError(
            "a return needs what was earned", code="INP-013", field="--margins",
            hint="add --pnl NAME=1200 for every instrument that earned something",
        )  # fmt: skip
    back = None
    if margins is not None:
        times, held = read_margins(margins)
        back = return_on_margin(sum(earned.values()), times[:-1], held[:-1], times[-1])
    who, world, rules = _world(account, market, ruleset, set_, params, at)
    total = sum(earned.values()) if earned else None
    made, tail, ratios = _ratios(who, world, rules, total, given)
    beside, refused = _beside(who, world, against or [], rules.id, total, given)
    rows = position_margins(who, world, rules, pnl_usd=earned or None)
    listed = release_list(who, world, rules, most=most)
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
                "return_on_margin": back,
                "against": beside,
                "refused": refused,
            }
        )
    from crossmargin.reports.efficiency import efficiency_report, print_efficiency

    title = f"{who.account} under {rules.id}: margin efficiency"
    if html is not None:
        from crossmargin import __version__
        from crossmargin.reports.plans import render_plan

        page = efficiency_report(
            title,
            made.totals.saving,
            tail,
            rows,
            ratios,
            listed,
            back,
            {rules.id: ratios, **beside},
        )
        io.write_whole(html, render_plan(page, version=__version__).encode())
    if not json:
        print_efficiency(
            _console(), title, made.totals.saving, tail, rows, ratios, listed, back=back,
            beside={rules.id: ratios, **beside} if beside else {}, refused=refused,
        )  # fmt: skip


def _ratios(
    who: Any, world: Any, rules: Any, earned: float | None, given: dict[str, float | None]
) -> tuple[Any, Any, list[NamedRatio]]:
    """Return the statement, the tail's cost and the ratios under one rule-set."""
    from crossmargin.analytics import statement_ratios, tail_cost
    from crossmargin.book import book_from_accounts
    from crossmargin.margin import evaluate, make_statement

    made = make_statement(who, world, rules, solve=False)
    tail = tail_cost(evaluate(book_from_accounts([who]), world, rules), world)
    ratios = statement_ratios(made, es_day_usd=tail.cvar_pooled, pnl_usd=earned, **given)
    return made, tail, ratios


def _beside(
    who: Any, world: Any, names: list[str], first: str, earned: float | None,
    given: dict[str, float | None],
) -> tuple[dict[str, list[NamedRatio]], dict[str, str]]:  # fmt: skip
    """Return the ratios under other rule-sets, and the reasons of those that refuse."""
    from crossmargin.margin import ruleset_ids

    if "all" in names:
        names = [name for name in ruleset_ids() if name != first]
    found, refused = {}, {}
    for rules in io.load_rules(list(dict.fromkeys(names)), {}, None):
        try:
            found[rules.id] = _ratios(who, world, rules, earned, given)[2]
        except CrossmarginError as error:
            refused[rules.id] = str(error)
    return found, refused
