"""``liquidate``: what a venue's engine does with an account, step by step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

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
    _moment,
    _print_json,
    app,
)
from crossmargin.cli._inverse import RulesetOpt
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from crossmargin.liquidation import Look, MarginedAccount

#: Looks at most, so that a command ends.
_MOST_LOOKS = 10_000

#: A coin is moved to twenty times its price at most, as far as liquidation prices are looked for.
_FARTHEST = 19.0


@app.command
def liquidate(
    account: AccountArg,
    *,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    rules: Annotated[
        str, Parameter(help="Liquidation rules: an id (see --list), or a TOML file.")
    ] = "house",
    supply: Annotated[
        list[str] | None,
        Parameter(
            help="Supply a figure that the liquidation rules lack, or another: "
            "steps.ramp.initial_share=0.2. Repeatable."
        ),
    ] = None,
    move: Annotated[
        list[str] | None,
        Parameter(help="Move a coin first: BTC=-0.2 is a fall of 20 %. Repeatable."),
    ] = None,
    pool: Annotated[str, Parameter(help="Pool that is liquidated.")] = "cross",
    every: Annotated[float, Parameter(help="Seconds between looks of the engine.")] = 10.0,
    looks: Annotated[int, Parameter(help="Looks at most.")] = 360,
    slip: Annotated[float, Parameter(help="Slippage, as a share of notional.")] = 0.0,
    impact: Annotated[
        list[str] | None,
        Parameter(
            help="US dollars by which a unit's value moves per unit closed: "
            "BTC-PERPETUAL=0.01. Repeatable."
        ),
    ] = None,
    lot: Annotated[
        list[str] | None, Parameter(help="Lot of an instrument: BTC-PERPETUAL=10. Repeatable.")
    ] = None,
    list_: Annotated[
        bool, Parameter(name="--list", help="List the rules that are known.", negative=())
    ] = False,
    ledger: Annotated[
        str | None,
        Parameter(help="Take the account, or '*' for every one, from this ledger."),
    ] = None,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    json: JsonOpt = False,
) -> int:
    """Play out the liquidation of an account: each step, the rule it obeys, when, and what is left.

    In place of an account a whole book may be given, a folder of Parquet or a JSON list of
    accounts: then who is cut and by how much, what is lacking, and the worst of them.

    Prices stand still while the engine works; margin is that of the rule-set at every step. Exit
    code 1 when the account does not end above its line.

    Example: `crossmargin liquidate short-vol-desk --move BTC=0.4 --rules house`

    Example: `crossmargin liquidate directional --move BTC=-0.35 --rules hyperliquid --slip 0.001`

    Example: `crossmargin liquidate mybook --market market.json --ruleset deribit-pm
    --move BTC=-0.2 --json`

    Example: `crossmargin liquidate directional --move BTC=-0.3 --rules drift-v2
    --supply steps.ramp.initial_share=0.2 --supply steps.ramp.duration_s=150`

    Example: `crossmargin liquidate alice --ledger desk.ledger --market market.json`
    """
    from crossmargin.cli import _liquidate_book as books
    from crossmargin.liquidation import ClosingCost, MarginedAccount
    from crossmargin.liquidation import liquidate as play

    if list_:
        return _list(json)
    market = books.default_market(ledger, market)
    engine, moves = _rules(rules, supply), _moves(move)
    if not (math.isfinite(every) and every > 0) or not 1 <= looks <= _MOST_LOOKS:
        raise InputError(
            f"{looks} looks every {every:g} s",
            code="INP-004",
            field="--looks",
            hint=f"1 to {_MOST_LOOKS:,} looks, more than 0 seconds apart",
        )
    lots, impacts = _figures(lot, "--lot"), _figures(impact, "--impact")
    costs = ClosingCost(slip_rate=slip, impact=impacts)
    several: Any = None
    if ledger is not None:
        several = books.from_ledger(ledger, account)
    elif books.is_stored(account):
        several = books.load_stored(account)
    else:
        several = books.several_accounts(account)
    world, under = _market_and_rules(market, ruleset, set_, params, at)
    if several is not None and not (ledger is not None and account != books.EVERY):
        if lots or impacts:
            raise InputError(
                "lots and impacts are those of one account's positions",
                code="INP-013",
                field="--lot" if lots else "--impact",
                hint="leave them out for a book",
            )
        return books.run_book(
            several, account if ledger is None else ledger, world, under, engine, moves, costs,
            pool=pool, every=every, looks=looks, json=json,
        )  # fmt: skip
    who = io.load_account(account) if several is None else several[0]
    held = MarginedAccount(who, world, under, pool=pool, lots=lots)
    _must_be_held(held, lots, "--lot")
    _must_be_held(held, impacts, "--impact")
    for coin, share in moves.items():
        held = held.shocked(coin, share)
    start = held.frame.view.as_of_ns
    found = play(held, engine, (start + round(k * every * 1e9) for k in range(looks)), costs=costs)
    made = _summary(who.account, under.id, engine.id, held, found, start)
    if json:
        _print_json(made)
    else:
        from crossmargin.reports.liquidation import print_liquidation

        print_liquidation(_console(), made)
    return 0 if made["ended"] == "healthy" else 1


def _moves(texts: list[str] | None) -> dict[str, float]:
    """Read how coins move."""
    found = _figures(texts, "--move")
    for coin, share in found.items():
        if not -1 < share <= _FARTHEST:
            raise InputError(
                f"{coin} cannot move by {share:g}",
                code="INP-004",
                field="--move",
                hint=f"a fraction above -1 and at most {_FARTHEST}, for example -0.2",
            )
    return found


def _market_and_rules(
    market: str, ruleset: str, set_: list[str] | None, params: str | None, at: str | None
) -> tuple[Any, Any]:
    world = io.load_market(market)
    under = io.load_rules([ruleset], io.parse_overrides(set_ or [], params), None)[0]
    moment = _moment(at)
    return world if moment is None else world.at(moment), under


def _rules(name: str, supply: list[str] | None) -> Any:
    from pathlib import Path

    from crossmargin.codec import read_bytes
    from crossmargin.liquidation import liquidation_rules, rules_from_toml

    figures = io.parse_overrides(
        supply or [], None, option="--supply", example="steps.ramp.duration_s=150"
    )
    if name.endswith(".toml") or Path(name).is_file():
        text = read_bytes(name, what=name).decode()
        return rules_from_toml(text, overrides=figures, what=name)
    return liquidation_rules(name, overrides=figures)


def _list(json: bool) -> int:
    from crossmargin.liquidation import liquidation_rule_ids, liquidation_rules

    rows = [liquidation_rules(name) for name in liquidation_rule_ids()]
    if json:
        _print_json([{"id": r.id, "venue": r.venue, "title": r.title} for r in rows])
        return 0
    from crossmargin.reports.liquidation import print_rules

    print_rules(_console(), rows)
    return 0


def _figures(texts: list[str] | None, option: str) -> dict[str, float]:
    """Read NAME=FIGURE, repeated."""
    found = {}
    for text in texts or []:
        name, sign, value = text.rpartition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not (sign and name.strip() and math.isfinite(found.get(name.strip(), math.nan))):
            raise InputError(
                f"{text!r} is no figure of a name",
                code="INP-013",
                field=option,
                hint=f"write {'BTC=-0.2' if option == '--move' else 'BTC-PERPETUAL=10'}",
            )
    return found


def _must_be_held(held: MarginedAccount, figures: dict[str, float], option: str) -> None:
    """Refuse figures of what the pool does not hold: they would be passed over in silence."""
    names = [leg.name for leg in held.legs]
    for name, value in figures.items():
        if name not in names or value < 0:
            raise InputError(
                f"{name}={value:g} is no figure of a position of the pool",
                code="INP-013",
                field=option,
                hint=f"at least 0, for one of {', '.join(sorted(set(names)))}",
            )


def _summary(
    account: str, ruleset: str, rules: str, held: MarginedAccount, looks: list[Look], start: int
) -> dict[str, Any]:
    """Return the trail as plain data: seconds since the start, US dollars."""
    last = looks[-1]
    steps = [
        {
            "after_s": (step.time_ns - start) / 1e9,
            "action": step.action,
            "rule": step.rule,
            "leg": step.leg,
            "units": step.units,
            "price": step.price,
            "fee_usd": step.fee,
            "cost_usd": step.cost,
            "equity_before_usd": step.before.equity,
            "mm_before_usd": step.before.mm,
            "equity_usd": step.after.equity,
            "mm_usd": step.after.mm,
            "reason": step.reason,
        }
        for look in looks
        for step in look.trail
    ]
    legs = [
        {
            "instrument": leg.name,
            "held": leg.quantity,
            "left": float(left),
            "closed_share": 1.0 - float(left) / leg.quantity if leg.quantity else 0.0,
        }
        for leg, left in zip(held.legs, last.quantity)
    ]
    return {
        "account": account,
        "ruleset": ruleset,
        "rules": rules,
        "line": {"mm_factor": held.line.factor, "amount_usd": held.line.amount},
        "looks": len(looks),
        "ended": last.progress.state,
        "equity_usd": last.standing.equity,
        "mm_usd": last.standing.mm,
        # What a taker takes on with a leg is no cost of closing.
        "cost_usd": sum(x.cost for look in looks for x in look.trail if x.action != "takeover"),
        "steps": steps,
        "legs": legs,
    }
