"""``hedge`` and ``size``: what to trade, and how much of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
from crossmargin.cli._assigned import assignments, unreadable
from crossmargin.cli._inverse import RulesetOpt, _world
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from crossmargin.planning import Band, Candidate
    from crossmargin.reports.plans import PlanReport

HtmlOpt = Annotated[str | None, io.file_option("Write a page with tables and pictures here.")]


@app.command
def hedge(
    account: AccountArg,
    *,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    free: Annotated[float | None, Parameter(help="Available margin to gain, US dollars.")] = None,
    im: Annotated[float | None, Parameter(help="Initial margin at most, US dollars.")] = None,
    budget: Annotated[
        float | None, Parameter(help="Cost at most, US dollars: free as much as it buys.")
    ] = None,
    band: Annotated[
        list[str] | None,
        Parameter(help='A Greek\'s band: "BTC delta -0.5..0.5". Repeatable.'),
    ] = None,
    with_: Annotated[
        list[str] | None,
        Parameter(name="--with", help="May be traded: NAME, or NAME=most units. Repeatable."),
    ] = None,
    lot: Annotated[
        list[str] | None, Parameter(help="Lot of an instrument: NAME=0.1. Repeatable.")
    ] = None,
    most_trades: Annotated[int | None, Parameter(help="Instruments traded at most.")] = None,
    fee: Annotated[float, Parameter(help="Fee of futures, share of notional.")] = 0.0005,
    spread: Annotated[
        float, Parameter(help="Half-spread without quotes, share of notional.")
    ] = 0.0005,
    candidates: Annotated[
        int, Parameter(help="How many to choose from, when none are named.")
    ] = 12,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> int:
    """Find the cheapest trades that free margin or bring Greeks into bands.

    Every answer is evaluated under the whole rule-set, and it is said whether it is proven to be
    the cheapest. Without --with, instruments of the market on the account's coins are tried. The
    exit code is 1 where nothing does it.

    Example: `crossmargin hedge short-vol-desk --free 50000`

    Example: `crossmargin hedge short-vol-desk --band "BTC delta -0.5..0.5" --band
    "BTC vega -500..500" --with BTC-PERPETUAL --with BTC-27MAR26-79000-P=40`
    """
    from crossmargin.planning import HedgeDesk
    from crossmargin.reports.plans import hedge_report

    if free is None and im is None and budget is None and not band:
        raise InputError(
            "nothing is asked for", code="INP-013", field="--free",
            hint="give --free, --im, --budget or --band",
        )  # fmt: skip
    bands = [_band(text) for text in band or []]
    who, world, rules = _world(account, market, ruleset, set_, params, at)
    lots = assignments(lot, "--lot", "BTC-PERPETUAL=10")
    chosen = _candidates(who, world, rules, with_, lots, fee, spread, candidates)
    made = HedgeDesk(who, world, rules, chosen).plan(
        free_usd=free, im_limit_usd=im, budget_usd=budget, bands=bands, most_trades=most_trades
    )
    if json:
        _print_json({"account": who.account, "ruleset": rules.id, "hedge": made})
    asked = [f"{free:,.2f} USD more available"] if free is not None else []
    asked += [f"IM at most {im:,.2f} USD"] if im is not None else []
    asked += [f"cost at most {budget:,.2f} USD"] if budget is not None else []
    asked += [f"{b.underlying} {b.greek} in {b.low:g} to {b.high:g}" for b in bands]
    title = f"{who.account} under {rules.id}: cheapest hedge"
    show(hedge_report(title, made, ", ".join(asked), rounded=bool(lots)), html=html, quiet=json)
    return 0 if made.met else 1


def _candidates(
    who: object, world: object, rules: object, named: list[str] | None, lots: dict[str, float],
    fee: float, spread: float, most: int,
) -> list[Candidate]:  # fmt: skip
    from dataclasses import replace

    from crossmargin.book import AccountFile
    from crossmargin.instruments import parse_instrument
    from crossmargin.margin import Ruleset
    from crossmargin.market import Snapshot
    from crossmargin.planning import market_candidates, trading_costs, useful_candidates

    assert isinstance(who, AccountFile) and isinstance(world, Snapshot)
    assert isinstance(rules, Ruleset)
    limits: dict[str, float | None] = {}
    for text in named or []:
        name, sign, _ = text.partition("=")
        limits[parse_instrument(name).id] = (
            assignments([text], "--with", "BTC-PERPETUAL=100000")[name.strip()] if sign else None
        )
    names = list(limits) or market_candidates(who, world)
    step = {parse_instrument(name).id: size for name, size in lots.items()}
    made = trading_costs(world, names, fee_rate=fee, half_spread=spread, lots=step)
    if not limits:
        return useful_candidates(who, world, rules, made, most=most)
    return [c if (x := limits[c.instrument]) is None else replace(c, buy=x, sell=x) for c in made]


def _band(text: str) -> Band:
    from crossmargin.planning import Band

    parts = text.split()
    low, _, high = parts[2].partition("..") if len(parts) == 3 else ("", "", "")
    try:
        return Band(underlying=parts[0], greek=parts[1], low=float(low), high=float(high))
    except (ValueError, IndexError):
        raise unreadable(text, "--band", '"BTC delta -0.5..0.5"') from None


def show(made: PlanReport, *, html: str | None, quiet: bool) -> None:
    """Write the page where one is asked for, and print the tables unless JSON was."""
    from crossmargin.reports.plans import print_plan, render_plan

    if html is not None:
        from crossmargin import __version__

        io.write_whole(html, render_plan(made, version=__version__).encode())
    if not quiet:
        print_plan(_console(), made)


@app.command
def size(
    account: AccountArg,
    instrument: Annotated[str, Parameter(help="A future or perpetual.")],
    *,
    stop: Annotated[float, Parameter(help="Stop price; below the entry buys, above it sells.")],
    entry: Annotated[float | None, Parameter(help="Entry price; default the mark.")] = None,
    risk: Annotated[float, Parameter(help="Share of equity that the stop may lose.")] = 0.01,
    budget: Annotated[
        float | None, Parameter(help="US dollars that the stop may lose, instead of --risk.")
    ] = None,
    fee: Annotated[float, Parameter(help="Fee a side, share of notional.")] = 0.0,
    gap: Annotated[float, Parameter(help="Share by which the exit may be beyond the stop.")] = 0.0,
    atr: Annotated[float | None, Parameter(help="Average true range, quote currency.")] = None,
    atr_multiple: Annotated[float, Parameter(help="True ranges that lose the budget.")] = 2.0,
    vol: Annotated[float | None, Parameter(help="Volatility of the coin, e.g. a year's.")] = None,
    vol_target: Annotated[
        float | None, Parameter(help="The position's volatility over equity, same time.")
    ] = None,
    kelly: Annotated[
        float | None, Parameter(help="Ceiling: notional over equity, e.g. half of Kelly's.")
    ] = None,
    lot: Annotated[float | None, Parameter(help="Round down to a multiple of this.")] = None,
    pool: Annotated[str, Parameter(help="Pool it is held in.")] = "cross",
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Say how big a position may be: from its stop, its volatility, and what margin allows.

    The smallest of all rules is the size. A size that would be liquidated before its stop is cut,
    and that is said.

    Example: `crossmargin size directional BTC-PERPETUAL --stop 74000 --fee 0.0005
    --set orders.method=worst-fill`
    """
    from crossmargin.book import book_from_accounts
    from crossmargin.instruments import parse_instrument
    from crossmargin.margin import evaluate
    from crossmargin.planning import size_position
    from crossmargin.reports.plans import size_report

    if not 0 < risk <= 1:
        raise InputError(
            f"a share of {risk:g} of equity cannot be risked", code="INP-004", field="--risk",
            hint="0.01 is 1 %; at most 1",
        )  # fmt: skip
    who, world, rules = _world(account, market, ruleset, set_, params, at)
    done = evaluate(book_from_accounts([who]), world, rules)
    equity = float(done.have.im @ done.frame.pot_usd)
    if equity <= 0 and budget is None:
        raise InputError(
            f"the account has an equity of {equity:,.2f} USD, of which no share can be risked",
            code="INP-004",
            account=who.account,
            field="--risk",
            hint="give --budget",
        )
    if entry is None:
        quote = world.quotes.get(parse_instrument(instrument).id)
        if quote is None or quote.price_mark is None:
            raise InputError(
                f"the market has no mark for {instrument}", code="INP-013", field="--entry",
                hint="give --entry",
            )  # fmt: skip
        entry = quote.price_mark
    made = size_position(
        who, world, rules, instrument, entry=entry, stop=stop,
        budget_usd=risk * equity if budget is None else budget, equity_usd=max(equity, 1e-9),
        fee_rate=fee, gap=gap, atr=atr, atr_multiple=atr_multiple, vol=vol, vol_target=vol_target,
        kelly=kelly, pool=pool, lot=lot,
    )  # fmt: skip
    if json:
        _print_json({"account": who.account, "ruleset": rules.id, "size": made})
    title = f"{who.account} under {rules.id}: size of {made.instrument}"
    show(size_report(title, made, rounded=lot is not None), html=html, quiet=json)
