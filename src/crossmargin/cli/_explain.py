"""``explain``: why the margin is not what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._app import JsonOpt, ParamsOpt, SetOpt, _console, _print_json, app
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from crossmargin.analytics import Moment


@app.command
def explain(
    then: Annotated[str, Parameter(help="Yesterday: account file, demo account or statement.")],
    now: Annotated[str, Parameter(help="Today: the same.")],
    *,
    market_then: Annotated[
        str | None, Parameter(help="Market of yesterday; a statement brings its own.")
    ] = None,
    market_now: Annotated[str | None, Parameter(help="Market of today.")] = None,
    ruleset: Annotated[
        str | None, Parameter(help="Rule-set id or TOML file of today; default deribit-pm-cross.")
    ] = None,
    ruleset_then: Annotated[
        str | None, Parameter(help="Rule-set of yesterday; default that of today.")
    ] = None,
    set_: SetOpt = None,
    set_then: Annotated[
        list[str] | None,
        Parameter(name="--set-then", help="Parameter of yesterday: path=value; default as today."),
    ] = None,
    params: ParamsOpt = None,
    pnl: Annotated[
        bool, Parameter(help="Explain the profit instead, by Greek and cause.", negative="")
    ] = False,
    html: Annotated[str | None, io.file_option("Write a page with the bridge here.")] = None,
    json: JsonOpt = False,
) -> None:
    """Share the change of the requirement among its causes; they add up to it.

    Positions, price, vol, time, parameters, collateral and FX: the requirement is computed in all
    64 mixtures of yesterday and today, and shared by the Shapley value. US dollars.

    With `--pnl` it is the change of what the account is worth that is explained: delta, gamma,
    vega and theta of every position, the residual, coins held, and what was done to the account.

    Example: `crossmargin explain short-vol-desk short-vol-desk --market-then calm-2026-02-03
    --market-now crash-2026-02-05`

    Example: `crossmargin explain monday.json tuesday.json --html bridge.html` (statements as
    `margin --json` writes them)

    Example: `crossmargin explain monday.json tuesday.json --pnl`
    """
    from crossmargin.analytics import explain_change

    today = _moment(now, market_now, ruleset, set_, params, "--market-now")
    before = _moment(
        then,
        market_then,
        ruleset_then or ruleset,
        set_ if set_then is None and ruleset_then is None else set_then,
        params if ruleset_then is None else None,
        "--market-then",
    )
    if pnl:
        from crossmargin.analytics import explain_pnl
        from crossmargin.cli._plans import show
        from crossmargin.reports.pnl import pnl_report

        profit = explain_pnl(before, today)
        if json:
            _print_json(profit)
        title = f"{profit.account}: why its worth changed"
        show(pnl_report(title, profit), html=html, quiet=json)
        return
    made = explain_change(before, today)
    title = f"{made.account}: why the margin changed"
    if html is not None:
        from crossmargin import __version__
        from crossmargin.reports.explain import render_explained

        io.write_whole(html, render_explained(title, made, version=__version__).encode())
    if json:
        _print_json(made)
        return
    from crossmargin.reports.explain import print_explained

    console = _console()
    print_explained(console, title, made)
    if html is not None:
        console.print(f"page written to {html}")


def _moment(
    name: str,
    market: str | None,
    ruleset: str | None,
    set_: list[str] | None,
    params: str | None,
    option: str,
) -> Moment:
    """Read one side: a statement with its own inputs, or an account beside a market."""
    from crossmargin.analytics import Moment

    found = _statement(name)
    rules: Any = None
    if found is not None and ruleset is None and not set_ and params is None:
        from crossmargin.margin import ruleset_from_dict

        rules = ruleset_from_dict({**found.inputs.ruleset, "extends": None})
    else:
        overrides = io.parse_overrides(set_ or [], params)
        rules = io.load_rules([ruleset or io.DEFAULT_RULESET], overrides, None)[0]
    if market is not None:
        world = io.load_market(market)
    elif found is not None:
        from crossmargin.market import snapshot_from_file
        from crossmargin.units import parse_time

        world = snapshot_from_file(found.inputs.market)
        world = world.at(parse_time(found.inputs.at, field="inputs.at"))
    else:
        io.load_account(name)  # what is not there at all is said first
        raise InputError(
            f"no market is given for {name!r}",
            code="INP-013",
            field=option,
            hint=f"add {option} FILE, or give a statement that margin --json wrote",
        )
    who = io.load_account(name) if found is None else found.inputs.account
    return Moment(account=who, market=world, ruleset=rules)


def _statement(name: str) -> Any:
    """Return the statement in a file, or None where it is something else."""
    from pathlib import Path

    from crossmargin.codec import read_bytes

    if not Path(name).is_file():
        return None
    raw = read_bytes(name, what="account file")
    if b'"crossmargin-statement/' not in raw[:4096]:
        return None
    from crossmargin.margin import decode_statement

    return decode_statement(io.statements_in(raw)[0])
