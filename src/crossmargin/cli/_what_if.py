"""``what-if``: the account with legs added, removed or rolled, and the path there."""

from __future__ import annotations

import re
from typing import Annotated, Any

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
from crossmargin.cli._inverse import PoolOpt, RulesetOpt, _world
from crossmargin.errors import InputError

_TRADE = re.compile(
    r"^(?:(?P<side>buy|sell)\s+(?P<size>\S+)\s+(?P<named>\S+)|(?P<name>\S+)\s+(?P<quantity>\S+?))"
    r"(?:\s*@\s*(?P<price>\S+))?$"
)


@app.command(name="what-if")
def what_if(
    account: AccountArg,
    *,
    add: Annotated[
        list[str] | None,
        Parameter(help='Leg to add: "NAME 2", "NAME -2 @ 0.03" or "sell 2 NAME". Repeatable.'),
    ] = None,
    remove: Annotated[
        list[str] | None,
        Parameter(help='Position to close: NAME, or "NAME 2" of it. Repeatable.'),
    ] = None,
    roll: Annotated[
        list[str] | None, Parameter(help='Roll: OLD=NEW, or "OLD=NEW 2" of it. Repeatable.')
    ] = None,
    path: Annotated[
        bool, Parameter(help="The margin after each leg, and the order with the lowest peak.")
    ] = False,
    keep_low: Annotated[
        str, Parameter(help="What the path keeps low: im, or shortfall (IM less equity).")
    ] = "im",
    limit: Annotated[int, Parameter(help="Sets of legs to evaluate, beyond 12 legs.")] = 4_096,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    pool: PoolOpt = "cross",
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    out: Annotated[str | None, io.file_option("Write the account as it would be here.")] = None,
    html: Annotated[str | None, io.file_option("Write a page with the pictures here.")] = None,
    json: JsonOpt = False,
) -> None:
    """Add, remove or roll legs: what becomes of every part of the requirement.

    Legs fill at their price or the mark, all together: removed first, then rolled, then added.
    With --path they are taken one by one, in that order and in the best one. US dollars.

    Example: `crossmargin what-if short-vol-desk --add "BTC-27MAR26-64000-P 10"
    --remove BTC-27FEB26-90000-C`

    Example: `crossmargin what-if covered-call --roll BTC-27FEB26-88000-C=BTC-27MAR26-95000-C
    --path --html path.html`
    """
    from crossmargin.analytics import Add, Remove, Roll, WhatIf, margin_path
    from crossmargin.margin import liquidation_prices

    measure = _measure(keep_low)
    who, world, rules = _world(account, market, ruleset, set_, params, at)
    changes: list[Any] = []
    for text in remove or []:
        name, size = _named(text, "--remove", "NAME or 'NAME 2'")
        changes.append(Remove(instrument=name, quantity=size, pool=pool))
    for text in roll or []:
        pair, size = _named(text, "--roll", "OLD=NEW or 'OLD=NEW 2'")
        old, sign, new = pair.partition("=")
        if not (old and sign and new):
            raise _unreadable(text, "--roll", "OLD=NEW")
        changes.append(Roll(old=old, new=new, quantity=size, pool=pool))
    changes += [Add(pool=pool, **_added(text)) for text in add or []]
    if not changes:
        raise InputError(
            "nothing is changed",
            code="INP-013",
            field="--add",
            hint="give --add 'NAME 2', --remove NAME or --roll OLD=NEW",
        )
    asked = WhatIf(who, world, rules)
    answer = asked.ask(changes)
    traded = asked.traded(changes)
    sides = [liquidation_prices(traded.frame(made)) for made in ([False] * len(answer.fills), None)]
    walked = None
    if path:
        walked = margin_path(who, world, rules, traded.trades, measure=measure, limit=limit)
    if out is not None:
        from crossmargin.book import write_account

        io.write_whole(out, write_account(traded.account_after()))
    title = f"{who.account} under {rules.id}: what if"
    if html is not None:
        from crossmargin import __version__
        from crossmargin.reports.what_if import render_what_if

        facts = [f"Rule-set {rules.id}, market {market}"]
        page = render_what_if(title, facts, answer, walked, version=__version__)
        io.write_whole(html, page.encode())
    if json:
        _print_json({"what_if": answer, "path": walked})
        return
    from crossmargin.reports.what_if import print_path, print_what_if

    console = _console()
    print_what_if(console, title, answer, sides[0], sides[1])
    if walked is not None:
        print_path(console, walked)
    for place, what in ((out, "the account as it would be"), (html, "page")):
        if place is not None:
            console.print(f"{what} written to {place}")


def _measure(text: str) -> Any:
    if text not in ("im", "shortfall"):
        raise InputError(
            f"{text!r} is nothing to keep low",
            code="INP-013",
            field="--keep-low",
            hint="im or shortfall",
        )
    return text


def _unreadable(text: str, option: str, example: str) -> InputError:
    return InputError(
        f"{text!r} is not a leg", code="INP-013", field=option, hint=f"write {example}"
    )


def _number(raw: str, text: str, option: str, example: str) -> float:
    try:
        return float(raw)
    except ValueError:
        raise _unreadable(text, option, example) from None


def _named(text: str, option: str, example: str) -> tuple[str, float | None]:
    """Read a name, and a size behind it where there is one."""
    words = text.split()
    if len(words) == 1:
        return words[0], None
    if len(words) != 2:
        raise _unreadable(text, option, example)
    return words[0], _number(words[1], text, option, example)


def _added(text: str) -> dict[str, Any]:
    example = '"NAME 2", "NAME -2 @ 0.03" or "sell 2 NAME"'
    match = _TRADE.match(" ".join(text.split()))
    if match is None:
        raise _unreadable(text, "--add", example)
    raw = match["size"] or match["quantity"]
    quantity = _number(raw, text, "--add", example)
    if match["side"] is not None:
        if raw[:1] in "+-":
            raise _unreadable(text, "--add", f"{example}; buy and sell say the side")
        quantity = quantity if match["side"] == "buy" else -quantity
    price = None if match["price"] is None else _number(match["price"], text, "--add", example)
    return {"instrument": match["named"] or match["name"], "quantity": quantity, "price": price}
