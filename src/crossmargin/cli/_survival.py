"""``survival``: how likely an account is liquidated, when, and what decides it."""

from __future__ import annotations

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
    _moment,
    _print_json,
    app,
)
from crossmargin.cli._assigned import assignments, unreadable
from crossmargin.cli._moves import CorrOpt, SigmaOpt, daily_model, given_moves
from crossmargin.cli._plans import HtmlOpt, show
from crossmargin.errors import CrossmarginError, InputError

if TYPE_CHECKING:
    from crossmargin.analytics import RiskModel, Survival
    from crossmargin.book import AccountFile
    from crossmargin.margin import Ruleset
    from crossmargin.market import Snapshot

PathOpt = Annotated[
    list[str] | None,
    Parameter(help="A path of one coin's price, gone along as well: BTC=60000,50000. Repeatable."),
]
GapOpt = Annotated[
    list[str] | None,
    Parameter(help="Standard deviation of a coin's gaps, with no price between: BTC=0.1."),
]
JumpOpt = Annotated[
    list[str] | None,
    Parameter(help="Who loses what if a coin's price jumps there: BTC=60000,50000. Repeatable."),
]


@app.command
def survival(
    account: AccountArg,
    *,
    ruleset: Annotated[
        list[str] | None,
        Parameter(help="Rule-set id or TOML file; several go along the same paths. Repeatable."),
    ] = None,
    days: Annotated[float, Parameter(help="Horizon.")] = 30.0,
    step_hours: Annotated[float, Parameter(help="Hours between looks.")] = 24.0,
    paths: Annotated[
        int, Parameter(help="Paths drawn; every step of each is a revaluation.")
    ] = 200,
    seed: Annotated[int, Parameter(help="Same seed, same paths.")] = 20260203,
    sigma: SigmaOpt = None,
    corr: CorrOpt = None,
    leverage: Annotated[
        list[float] | None,
        Parameter(help="Also with positions scaled to this leverage, first rule-set. Repeatable."),
    ] = None,
    path: PathOpt = None,
    gap: GapOpt = None,
    jump: JumpOpt = None,
    market: MarketOpt = io.DEFAULT_MARKET,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Say how likely an account is liquidated over a horizon, and when, on common random paths.

    Joint lognormal paths without drift; everything is revalued at every step, nothing is topped
    up, time and volatilities stand still. Rule-sets see the same paths, so that what differs is
    the mode and not the luck: `--ruleset deribit-pm-cross --ruleset isolated` is cross against
    isolated. Beside it stand the normal risk of one day, and who brings the account down on the
    worst 1 % of days. US dollars.

    Example: `crossmargin survival directional --ruleset deribit-pm-cross --ruleset isolated`

    Example: `crossmargin survival directional --days 7 --leverage 2 --leverage 5 --html alive.html`

    Example: `crossmargin survival directional --path BTC=60000,80000 --gap BTC=0.1 --json`
    """
    from crossmargin.analytics import gap_losses, gap_tail, walk_prices
    from crossmargin.reports.survival import survival_report

    steps = _steps(days, step_hours)
    walks = [_path(text, "--path") for text in path or []]
    jumps = [_path(text, "--jump") for text in jump or []]
    gaps = assignments(gap, "--gap", "BTC=0.1")
    named, pairs = given_moves(sigma, corr)
    who, world = io.load_account(account), io.load_market(market)
    moment = _moment(at)
    world = world if moment is None else world.at(moment)
    asked = ruleset or [io.DEFAULT_RULESET]
    if len(set(asked)) < len(asked):
        raise InputError("a rule-set is given twice", code="INP-013", field="--ruleset",
                         hint="give it once")  # fmt: skip
    every = io.load_rules(asked, io.parse_overrides(set_ or [], params), None)
    rules, refused = _covering(who, world, every)
    day, coins = _model(who, world, rules, named, pairs)
    made, curve = _walked(
        who, world, rules, day, coins, steps=steps, step_hours=step_hours, paths=paths, seed=seed,
        leverage=leverage or [], quiet=json,
    )  # fmt: skip
    risk, ends, days_of = _one_day(who, world, rules[0], day, seed)
    found: dict[str, Any] = {
        "account": who.account,
        "days": days,
        "step_hours": step_hours,
        "seed": seed,
        "daily_sigma": {coin: day.sigma[coin] for coin in coins},
        "survival": [_plain(one) for one in made],
        "refused": refused,
        "leverage": [_plain(one) for one in curve],
        "one_day": {"ruleset": rules[0].id, "normal": risk, "correlation": ends,
                    "worst_days": days_of},
        "walks": [
            {"ruleset": r.id, "coin": coin, "prices_usd": prices,
             "walk": walk_prices(who, world, r, coin, prices)}
            for coin, prices in walks for r in rules
        ],
        "jumps": [
            {"ruleset": r.id, "coin": coin, "prices_usd": prices,
             "loss": gap_losses(who, world, r, coin, prices)}
            for coin, prices in jumps for r in rules
        ],
        "gaps": [
            {"ruleset": r.id, "coin": coin, "tail": gap_tail(who, world, r, coin, s, seed=seed)}
            for coin, s in gaps.items() for r in rules
        ],
    }  # fmt: skip
    if json:
        _print_json(found)
    title = f"{who.account}: survival over {days:g} days"
    show(survival_report(title, found, made, curve), html=html, quiet=json)


def _steps(days: float, step_hours: float) -> int:
    steps = round(days * 24.0 / step_hours) if days > 0 and step_hours > 0 else 0
    if not (steps >= 1 and abs(steps * step_hours - days * 24.0) < 1e-6 and days <= 3_650):
        raise InputError(
            f"{days:g} days in steps of {step_hours:g} hours", code="INP-004", field="--days",
            hint="a whole number of steps, for example --days 30 --step-hours 24",
        )  # fmt: skip
    return steps


def _path(text: str, option: str) -> tuple[str, list[float]]:
    coin, sign, raw = text.partition("=")
    try:
        prices = [float(x) for x in raw.split(",")]
    except ValueError:
        prices = []
    if not (coin.strip() and sign and prices):
        raise unreadable(text, option, "BTC=60000,50000")
    return coin.strip(), prices


def _covering(
    who: AccountFile, world: Snapshot, every: list[Ruleset]
) -> tuple[list[Ruleset], dict[str, str]]:
    """Split rule-sets into those that margin the account and those that refuse, with reasons."""
    from crossmargin.margin import CarriedAccount

    good, refused = [], {}
    for rules in every:
        try:
            CarriedAccount(who, world, rules).excess({})
        except CrossmarginError as error:
            if len(every) == 1:
                raise
            refused[rules.id] = str(error)
            continue
        good.append(rules)
    if not good:
        raise InputError(
            f"no rule-set margins this account; {next(iter(refused.values()))}",
            code="INP-013",
            account=who.account,
            field="--ruleset",
        )
    return good, refused


def _model(
    who: AccountFile, world: Snapshot, rules: list[Ruleset], given: dict[str, float],
    pairs: dict[tuple[str, str], float],
) -> tuple[RiskModel, list[str]]:  # fmt: skip
    """Return daily moves of every coin that moves the account under any of the rule-sets."""
    from crossmargin.margin import CarriedAccount

    coins = sorted({c for r in rules for c in CarriedAccount(who, world, r).drivers.values()})
    if not coins:
        raise InputError(
            "no coin moves this account", code="INP-013", account=who.account, field="account"
        )
    return daily_model(world, coins, given, pairs), coins


def _walked(
    who: AccountFile, world: Snapshot, rules: list[Ruleset], day: RiskModel, coins: list[str], *,
    steps: int, step_hours: float, paths: int, seed: int, leverage: list[float], quiet: bool,
) -> tuple[list[Survival], list[Survival]]:  # fmt: skip
    import math

    from crossmargin.analytics import RiskModel, common_paths, leverage_curve
    from crossmargin.analytics import survival as walk
    from crossmargin.cli._progress import Meter

    scale = math.sqrt(step_hours / 24.0)
    step = RiskModel(
        sigma={coin: s * scale for coin, s in day.sigma.items()},
        correlation=day.correlation,
        pairs=day.pairs,
    )
    drawn = common_paths(step, coins, steps=steps, paths=paths, seed=seed)
    with Meter("paths", quiet=quiet) as meter:
        total = paths * (len(rules) + len(leverage))

        def tick(one: int) -> None:
            meter.step(meter.done + one, total)

        # First, because a leverage that cannot be is refused before anything is walked.
        curve = (
            leverage_curve(who, world, rules[0], drawn, sorted(set(leverage)), progress=tick)
            if leverage
            else []
        )
        made = [walk(who, world, r, drawn, progress=tick) for r in rules]
    return made, curve


def _one_day(
    who: AccountFile, world: Snapshot, rules: Ruleset, day: RiskModel, seed: int
) -> tuple[Any, Any, Any]:
    from crossmargin.analytics import correlation_stress, parametric_risk, worst_days
    from crossmargin.margin import CarriedAccount

    carried = CarriedAccount(who, world, rules)
    risk = parametric_risk(carried, day)
    pair = len(risk.delta_usd) > 1
    ends = correlation_stress(risk.delta_usd, day) if pair else None
    return risk, ends, worst_days(carried, day, seed=seed)


def _plain(one: Survival) -> dict[str, Any]:
    return {
        "name": one.name,
        "p_liquidation": one.p_liquidation,
        "p_error": one.p_error,
        "p_at_most_95": one.p_bound,
        "liquidated": one.liquidated,
        "paths": one.paths,
        "refused": one.refused,
        "steps_to": {f"{share:.0%}": one.step_of(share) for share in (0.05, 0.25, 0.5)},
        "alive": one.alive,
    }
