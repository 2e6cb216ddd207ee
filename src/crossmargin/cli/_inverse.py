"""Inverse questions on the command line: ``limits``, ``check``, ``when``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

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
from crossmargin.cli._orders import parse_orders
from crossmargin.errors import CrossmarginError, InputError

T = TypeVar("T")

#: Without --instrument, at most this many held instruments are gone through.
_MOST_INSTRUMENTS = 12

RulesetOpt = Annotated[str, Parameter(help="Rule-set id or TOML file.")]
PoolOpt = Annotated[str, Parameter(help="Pool the order is placed in.")]
NoDebtOpt = Annotated[bool, Parameter(help="Refuse fills that leave a debt.", negative="")]
AllowedOpt = Annotated[
    str | None,
    Parameter(
        help="Actions that protect mode leaves, by commas (new-risk, withdraw); default all."
    ),
]


def _world(
    account: str,
    market: str,
    ruleset: str,
    set_: list[str] | None,
    params: str | None,
    at: str | None,
) -> tuple[Any, Any, Any]:
    who, world = io.load_account(account), io.load_market(market)
    rules = io.load_rules([ruleset], io.parse_overrides(set_ or [], params), None)[0]
    moment = _moment(at)
    return who, world if moment is None else world.at(moment), rules


def _allowed(text: str | None) -> list[str] | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = sorted(set(words) - {"new-risk", "withdraw"})
    if unknown:
        raise InputError(
            f"there is no action called {unknown[0]!r}",
            code="INP-013",
            field="--allowed",
            hint="new-risk, withdraw, or nothing",
        )
    return words


@app.command
def limits(
    account: AccountArg,
    *,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    instrument: Annotated[
        list[str] | None, Parameter(help="Instrument to order; default those held. Repeatable.")
    ] = None,
    price: Annotated[float | None, Parameter(help="Limit price; default the mark.")] = None,
    lot: Annotated[float | None, Parameter(help="Round orders down to this step.")] = None,
    pool: PoolOpt = "cross",
    no_debt: NoDebtOpt = False,
    withdraw_into_debt: Annotated[
        bool, Parameter(help="More may leave than is there.", negative="")
    ] = False,
    target: Annotated[str, Parameter(help="Top-up to reach: im, mm, or a health.")] = "im",
    allowed: AllowedOpt = None,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    json: JsonOpt = False,
) -> None:
    """Say how far an account can go: largest orders, largest withdrawals, top-up needed.

    Orders are the largest that pass the pre-trade check, resting orders at their worst fills. A
    question that the rule-set cannot answer is listed with its reason; the others are answered.

    Example: `crossmargin limits covered-call --set orders.method=worst-fill --lot 10`

    Example: `crossmargin limits my.json --instrument BTC_USDC-PERPETUAL --price 78000`

    Example: `crossmargin limits my.json --target 1.5 --withdraw-into-debt --json`
    """
    from crossmargin.margin import largest_order, largest_withdrawal, top_up

    who, world, rules = _world(account, market, ruleset, set_, params, at)
    actions, goal = _allowed(allowed), _target(target)
    refused: list[tuple[str, str]] = []
    names = instrument or _held(who, refused)
    if len(names) > 1 and price is not None:
        raise InputError(
            "one limit price is given for several instruments",
            code="INP-013",
            field="--price",
            hint="name one --instrument",
        )
    orders = [
        _answer(
            refused,
            f"{side} {name}",
            lambda name=name, side=side: largest_order(  # type: ignore[misc]
                who,
                world,
                rules,
                name,
                side,
                price=price,
                pool=pool,
                lot=lot,
                allowed=actions,
                allow_debt=not no_debt,
            ),
        )
        for name in names
        for side in ("buy", "sell")
    ]
    places = list(dict.fromkeys((b.asset, b.pool) for b in who.balances))
    outs = [
        _answer(
            refused,
            f"withdrawal of {asset} from {place}",
            lambda asset=asset, place=place: largest_withdrawal(  # type: ignore[misc]
                who, world, rules, asset, pool=place, debt=withdraw_into_debt, allowed=actions
            ),
        )
        for asset, place in places
    ]
    ins = [
        _answer(
            refused,
            f"top-up of {asset} into {place}",
            lambda asset=asset, place=place: top_up(  # type: ignore[misc]
                who, world, rules, asset, pool=place, target=goal
            ),
        )
        for asset, place in places
    ]
    sizes, leaves, needs = _there(orders), _there(outs), _there(ins)
    if not (sizes or leaves or needs) and refused:
        raise InputError(f"no question has an answer; the first: {refused[0][1]}", code="INP-050")
    if json:
        _print_json(
            {
                "account": who.account,
                "ruleset": rules.id,
                "orders": sizes,
                "withdrawals": leaves,
                "top_ups": needs,
                "refused": [{"question": what, "reason": why} for what, why in _grouped(refused)],
            }
        )
        return
    from crossmargin.reports.inverse import print_limits

    title = f"{who.account} under {rules.id}: how far it can go"
    print_limits(_console(), title, sizes, leaves, needs, _grouped(refused))


def _target(text: str) -> Any:
    if text in ("im", "mm"):
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"{text!r} is no line to reach",
            code="INP-013",
            field="--target",
            hint="im, mm, or a health such as 1.5",
        ) from None


def _held(who: Any, refused: list[tuple[str, str]]) -> list[str]:
    names = list(dict.fromkeys(position.instrument for position in who.positions))
    if len(names) > _MOST_INSTRUMENTS:
        left = len(names) - _MOST_INSTRUMENTS
        refused.append(
            (
                f"{left} more instruments",
                f"only the first {_MOST_INSTRUMENTS} held are gone through; name others with "
                "--instrument",
            )
        )
    return names[:_MOST_INSTRUMENTS]


def _answer(refused: list[tuple[str, str]], what: str, ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except CrossmarginError as error:
        refused.append((what, str(error)))
        return None


def _there(rows: Sequence[T | None]) -> list[T]:
    return [row for row in rows if row is not None]


def _grouped(refused: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Say each reason once, with all the questions it answers."""
    reasons: dict[str, list[str]] = {}
    for what, why in refused:
        reasons.setdefault(why, []).append(what)
    return [(", ".join(whats), why) for why, whats in reasons.items()]


@app.command
def check(
    account: AccountArg,
    order: Annotated[
        list[str],
        Parameter(help='"buy 0.5 NAME @ PRICE", legs by commas; or a JSON file of orders.'),
    ],
    *,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    pool: PoolOpt = "cross",
    no_debt: NoDebtOpt = False,
    allowed: AllowedOpt = None,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    json: JsonOpt = False,
) -> int:
    """Check orders before they are placed: exit code 0 accepted, 1 refused, 2 bad input.

    Several orders are checked one after the other; an accepted one rests beside the next.

    Example: `crossmargin check directional buy 0.5 BTC_USDC-PERPETUAL @ 78000 --ruleset isolated`

    Example: `crossmargin check my.json "sell 1 BTC-27MAR26-92000-C, buy 1 BTC-PERPETUAL" --json`

    Example: `crossmargin check my.json orders.json --set orders.method=worst-fill --allowed ""`
    """
    import msgspec

    from crossmargin.margin import check_order

    who, world, rules = _world(account, market, ruleset, set_, params, at)
    actions = _allowed(allowed)
    made = []
    for one in parse_orders(order):
        entry = one if one.pool != "cross" else msgspec.structs.replace(one, pool=pool)
        while any(entry.id == other.id for other in who.orders):
            entry = msgspec.structs.replace(entry, id=f"{entry.id} (again)")
        done = check_order(who, world, rules, entry, allowed=actions, allow_debt=not no_debt)
        made.append(done)
        if done.accepted:
            who = msgspec.structs.replace(who, orders=[*who.orders, entry])
    if json:
        _print_json({"account": who.account, "ruleset": rules.id, "checks": made})
    else:
        from crossmargin.reports.inverse import print_checks

        print_checks(_console(), f"{who.account} under {rules.id}: pre-trade check", made)
    return 0 if all(done.accepted for done in made) else 1


@app.command
def when(
    account: AccountArg,
    *,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    underlying: Annotated[
        list[str] | None, Parameter(help="Coin that moves; default each, then all. Repeatable.")
    ] = None,
    beta: Annotated[
        list[str] | None,
        Parameter(help="Move coins together: BTC=1, ETH=1.3. Repeatable."),
    ] = None,
    vol: Annotated[
        str | None, Parameter(help="Move volatilities instead: relative or absolute.")
    ] = None,
    health: Annotated[
        list[float] | None, Parameter(help="Further line: equity = HEALTH × MM. Repeatable.")
    ] = None,
    low: Annotated[float | None, Parameter(help="Lower end of the range.")] = None,
    high: Annotated[float | None, Parameter(help="Upper end of the range.")] = None,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    json: JsonOpt = False,
) -> None:
    """Say at which prices or volatilities an account's state changes, in both directions.

    Everything is revalued and brackets are chosen again at every step; each line crossed is
    evaluated on both sides.

    Example: `crossmargin when short-vol-desk`

    Example: `crossmargin when short-vol-desk --beta BTC=1 --beta ETH=1.3 --low 0.5 --high 2`

    Example: `crossmargin when short-vol-desk --vol absolute --underlying BTC --health 1.5`
    """
    from crossmargin.margin import state_changes, vol_changes

    who, world, rules = _world(account, market, ruleset, set_, params, at)
    lines = tuple(health or ())
    span: dict[str, Any] = {k: v for k, v in (("low", low), ("high", high)) if v is not None}
    paths = []
    if vol is not None:
        if vol not in ("relative", "absolute"):
            raise InputError(
                f"{vol!r} is no way to move volatilities",
                code="INP-013",
                field="--vol",
                hint="relative or absolute",
            )
        shift: Any = vol
        whose: list[str | None] = [*(underlying or [])] or [None]
        for name in whose:
            paths.append(vol_changes(who, world, rules, name, shift=shift, healths=lines, **span))
    elif beta:
        paths.append(state_changes(who, world, rules, betas=_betas(beta), healths=lines, **span))
    for name in [] if vol else underlying or ([] if beta else _coins(who, world, rules)):
        paths.append(state_changes(who, world, rules, name, healths=lines, **span))
    if json:
        _print_json({"account": who.account, "ruleset": rules.id, "paths": paths})
        return
    from crossmargin.reports.inverse import print_changes

    print_changes(_console(), f"{who.account} under {rules.id}: when its state changes", paths)


def _coins(who: Any, world: Any, rules: Any) -> list[Any]:
    """Every coin the account stands on, then all together when there are several."""
    from crossmargin.margin import moving_underlyings

    names: list[Any] = list(moving_underlyings(who, world, rules))
    return [*names, None] if len(names) > 1 else names or [None]


def _betas(texts: Sequence[str]) -> dict[str, float]:
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not sign:
            raise InputError(
                f"{text!r} is no beta", code="INP-013", field="--beta", hint="write ETH=1.3"
            )
    return found
