"""``drawdown``, ``rebalance``, ``allocate`` and ``correlate``: plans from series and tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from crossmargin.cli._app import JsonOpt, _print_json, app
from crossmargin.cli._assigned import assignments, unreadable
from crossmargin.cli._plans import HtmlOpt, show
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from crossmargin.planning import Aligned, DynamicCorrelation, Regimes, Rung, Strategy


@app.command
def drawdown(
    series: Annotated[
        str, Parameter(help="Equity curve: Parquet or CSV with time, equity and flow.")
    ],
    *,
    equity: Annotated[str, Parameter(help="Column of equity.")] = "equity",
    flow: Annotated[str, Parameter(help="Column of deposits (+), withdrawals (−).")] = "flow",
    periods_per_year: Annotated[float, Parameter(help="Rows of a year.")] = 365.0,
    limit: Annotated[
        list[float] | None, Parameter(help="Fall whose chance is wanted, e.g. 0.2. Repeatable.")
    ] = None,
    ladder: Annotated[
        list[str] | None,
        Parameter(help="Rung: fall:exposure:rearm, e.g. 0.1:0.5:0.05. Repeatable."),
    ] = None,
    steps: Annotated[int, Parameter(help="Periods ahead to simulate; 0 for none.")] = 90,
    paths: Annotated[int, Parameter(help="Paths simulated.")] = 2_000,
    block: Annotated[int, Parameter(help="Periods that are drawn together.")] = 5,
    seed: Annotated[int, Parameter(help="Same seed, same numbers.")] = 1,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Measure falls from the peak on the value of a unit, and draw those ahead.

    Deposits and withdrawals are no gains and losses. A ladder cuts exposure at each rung and gives
    it back at its reset level.

    Example: `crossmargin drawdown equity.csv --limit 0.2 --ladder 0.1:0.5:0.05
    --ladder 0.2:0:0.1 --html drawdown.html`
    """
    import numpy as np

    from crossmargin.planning import (
        drawdown_report,
        drawdowns,
        ladder_exposure,
        read_equity,
        simulate_drawdowns,
        underwater,
        unit_values,
    )
    from crossmargin.reports.plans import drawdown_plan
    from crossmargin.units import format_time

    when, money, flows = read_equity(series, equity=equity, flow=flow)
    units = unit_values(money, flows)
    made, worst = drawdown_report(units, periods_per_year=periods_per_year), drawdowns(units)
    exposure = None if not ladder else ladder_exposure(units, [_rung(text) for text in ladder])
    fan = None
    if steps:
        fan = simulate_drawdowns(
            np.diff(units) / units[:-1], steps=steps, paths=paths, seed=seed, block=block,
            start_fall=made.now, limits=limit or [],
        )  # fmt: skip
    if json:
        _print_json(
            {
                "report": made,
                "falls": worst,
                "exposure": exposure,
                "ahead": fan,
            }
        )
    days = [format_time(t) for t in when.tolist()]
    report = drawdown_plan(
        f"Falls from the peak: {Path(series).name}", days, units.tolist(),
        underwater(units).tolist(), made,
        worst, fan, None if exposure is None else exposure.tolist(),
    )  # fmt: skip
    show(report, html=html, quiet=json)


def _rung(text: str) -> Rung:
    from crossmargin.planning import Rung

    try:
        at, exposure, rearm = (float(x) for x in text.split(":"))
    except ValueError:
        raise unreadable(text, "--ladder", "0.1:0.5:0.05") from None
    return Rung(at=at, exposure=exposure, rearm=rearm)


@app.command(name="rebalance")
def rebalance_(
    *,
    hold: Annotated[
        list[str], Parameter(help="US dollars held: BTC=65000. Repeat for each holding.")
    ],
    target: Annotated[list[str], Parameter(help="Target weight: BTC=0.5. Repeat.")],
    band: Annotated[float, Parameter(help="Half-width of each band, in weight.")] = 0.05,
    to: Annotated[str, Parameter(help="Trade to the target, or only to the edge.")] = "target",
    cost: Annotated[float, Parameter(help="Cost, share of what is traded.")] = 0.0,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Bring weights back to target when one has left its band.

    Example: `crossmargin rebalance --hold BTC=65 --hold USD=50 --target BTC=0.5 --target USD=0.5
    --band 0.05`
    """
    from crossmargin.planning import rebalance
    from crossmargin.reports.plans import rebalance_report

    held = assignments(hold, "--hold", "BTC=65000")
    wanted = assignments(target, "--target", "BTC=0.5")
    names = list(dict.fromkeys([*held, *wanted]))
    if to not in ("target", "edge"):
        raise InputError(f"{to!r} is neither target nor edge", code="INP-013", field="--to")
    weights = [wanted.get(name, 0.0) for name in names]
    made = rebalance(
        [held.get(name, 0.0) for name in names],
        weights,
        band=band,
        to="edge" if to == "edge" else "target",
        cost_rate=cost,
    )
    if json:
        _print_json(
            {
                "holdings": names,
                "weights": made.weights.tolist(),
                "trades_usd": made.trades.tolist(),
                "after": made.after.tolist(),
                "cost_usd": made.cost,
            }
        )
    show(rebalance_report("Rebalancing", names, weights, made), html=html, quiet=json)


@app.command(name="allocate")
def allocate_(
    strategies: Annotated[
        str, Parameter(help="TOML: [[strategy]] with name, im, most, venue, profit.")
    ],
    profits: Annotated[
        str, Parameter(help="Profit of a unit by scenario: a column each. Parquet or CSV.")
    ],
    *,
    equity: Annotated[float, Parameter(help="US dollars.")],
    im_share: Annotated[float, Parameter(help="Share of equity that may be margin.")] = 1.0,
    shortfall: Annotated[
        float | None, Parameter(help="Expected shortfall at most, US dollars.")
    ] = None,
    level: Annotated[float, Parameter(help="Confidence of the shortfall.")] = 0.99,
    liquidation: Annotated[
        float | None, Parameter(help="Chance of liquidation at most, e.g. 0.01.")
    ] = None,
    mm_share: Annotated[float, Parameter(help="Maintenance over initial margin.")] = 0.5,
    venue: Annotated[
        list[str] | None, Parameter(help="Margin a venue may hold: NAME=50000. Repeatable.")
    ] = None,
    reserve: Annotated[
        list[str] | None,
        Parameter(help="Stays free at a venue while anything is held there: NAME=20000."),
    ] = None,
    balance: Annotated[
        list[str] | None,
        Parameter(help="Is at a venue and cannot be moved: NAME=100000. Repeatable."),
    ] = None,
    scan: Annotated[
        str | None,
        Parameter(help="Scenarios of the margin, in which hedges net: a table as PROFITS."),
    ] = None,
    frontier: Annotated[int, Parameter(help="Points of a frontier; 0 for none.")] = 0,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Give capital to strategies: most profit inside margin, shortfall and liquidation limits.

    A strategy without a profit of its own is expected to earn the mean of its scenarios.

    Example: `crossmargin allocate strategies.toml profits.csv --equity 1000000
    --shortfall 60000 --frontier 11 --html plan.html`

    Example: `crossmargin allocate strategies.toml profits.csv --equity 1000000
    --reserve deribit=50000 --reserve okx=50000 --balance okx=200000`
    """
    from crossmargin.planning import allocate, margin_frontier, read_profits
    from crossmargin.reports.plans import allocation_report

    made_of = _strategies(strategies)
    table = read_profits(profits, [s.name for s in made_of])
    named = _with_means(made_of, table.mean(axis=0).tolist())
    cells = None if scan is None else read_profits(scan, [s.name for s in made_of])
    limits = assignments(venue, "--venue", "NAME=50000")
    kept = assignments(reserve, "--reserve", "NAME=20000")
    there = assignments(balance, "--balance", "NAME=100000")
    made = allocate(
        named, table, equity=equity, im_share=im_share, shortfall=shortfall, level=level,
        liquidation=liquidation, mm_share=mm_share, scan=cells, venue_im=limits, reserves=kept,
        balances=there,
    )  # fmt: skip
    points = (
        margin_frontier(
            named, table, equity=equity, points=frontier, level=level, im_share=im_share,
            scan=cells, venue_im=limits, reserves=kept, balances=there,
        )
        if frontier
        else []
    )  # fmt: skip
    if json:
        _print_json({"plan": made, "frontier": points})
    show(allocation_report("Allocation", made, points), html=html, quiet=json)


def _strategies(path: str) -> list[Strategy]:
    import math

    from crossmargin.codec import convert_data, parse_toml, read_bytes
    from crossmargin.planning import Strategy
    from crossmargin.planning.strategy_file import StrategyFile

    def wrong(message: str, field: str) -> InputError:
        return InputError(
            message, code="INP-003", field=field,
            hint="[[strategy]] has name, im, and where wanted profit, most and venue",
        )  # fmt: skip

    raw = parse_toml(read_bytes(path, what="strategy file").decode("utf-8", "replace"), path, wrong)
    found = convert_data(raw, StrategyFile, path, wrong)
    return [
        Strategy(
            name=s.name,
            profit=math.nan if s.profit is None else s.profit,
            im=s.im,
            most=math.inf if s.most is None else s.most,
            venue=s.venue,
        )
        for s in found.strategy
    ]


def _with_means(strategies: list[Strategy], means: list[float]) -> list[Strategy]:
    from dataclasses import replace

    return [
        replace(s, profit=mean) if s.profit != s.profit else s for s, mean in zip(strategies, means)
    ]


@app.command(name="correlate")
def correlate_(
    coins: Annotated[
        str, Parameter(help="Bars of coins: symbol, date (start), close. Parquet or CSV.")
    ],
    macro: Annotated[str, Parameter(help="Macro series: series, date, value. Parquet or CSV.")],
    *,
    coin: Annotated[list[str] | None, Parameter(help="Coin; default BTC. Repeatable.")] = None,
    series: Annotated[
        list[str] | None, Parameter(help="Macro series; default SPY. Repeatable.")
    ] = None,
    first: Annotated[str | None, Parameter(name="--from", help="First day, ISO-8601.")] = None,
    last: Annotated[str | None, Parameter(name="--to", help="Last day, ISO-8601.")] = None,
    decay: Annotated[float, Parameter(help="λ of the moving averages.")] = 0.97,
    given: Annotated[
        list[str] | None, Parameter(help="What if the series moved: SPY=-0.05. Repeatable.")
    ] = None,
    push: Annotated[
        float, Parameter(help="Push correlations towards 1 in the sense that hurts: 0 to 1.")
    ] = 0.0,
    close: Annotated[str, Parameter(help="Close of the macro market, HH:MM.")] = "16:00",
    zone: Annotated[str, Parameter(help="Its time zone.")] = "America/New_York",
    regimes: Annotated[
        bool, Parameter(help="Also fit DCC and two regimes: some seconds a pair.")
    ] = False,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Say how coins move with macro series: now, by regime, in the tails, and what a move implies.

    Coins are sampled at the macro market's close; nothing is filled forward.

    Example: `crossmargin correlate spot_1h.parquet macro_daily.parquet --coin BTC --coin ETH
    --series SPY --series DGS10 --given SPY=-0.05 --html macro.html`
    """
    from crossmargin.planning import align, correlation_line, macro_stress, read_coin, read_macro
    from crossmargin.reports.plans import correlation_report
    from crossmargin.reports.regimes import with_regimes
    from crossmargin.stats import ewma_correlation
    from crossmargin.units import format_time

    made = align(
        [read_coin(coins, name) for name in coin or ["BTC"]],
        [read_macro(macro, name) for name in series or ["SPY"]],
        close=close, zone=zone, first_day=_day(first, "--from"), last_day=_day(last, "--to"),
    )  # fmt: skip
    lines = [correlation_line(made, c, s, decay=decay) for c in made.coins for s in made.macro]
    moves = assignments(given, "--given", "SPY=-0.05")
    stress = macro_stress(made, moves, decay=decay, push=push) if moves else None
    fitted = _fitted(made, decay) if regimes else []
    if json:
        _print_json(
            {
                "pairs": lines,
                "fitted": [{"dcc": moves_, "regimes": states} for moves_, states in fitted],
                "stress": None
                if stress is None
                else {"given": stress.given, "moves": stress.moves, "residual": stress.residual},
            }
        )
    pairs = [(x.coin, x.series) for x in lines][:5]
    # A page is as wide as some hundred points.
    step = -(-made.days.size // 700)
    moving = {
        f"{c} / {s}": ewma_correlation(made.column(c), made.column(s), decay)[1::step].tolist()
        for c, s in pairs
    }
    days = [format_time(d * 86_400 * 10**9)[:10] for d in made.days[::step].tolist()]
    title = f"{', '.join(made.coins)} against {', '.join(made.macro)}"
    report = correlation_report(title, lines, stress, days, moving)
    show(with_regimes(report, fitted, days, step), html=html, quiet=json)


def _fitted(made: Aligned, decay: float) -> list[tuple[DynamicCorrelation, Regimes]]:
    """Fit both models to every pair, with a line of progress each."""
    from crossmargin.cli._progress import Meter
    from crossmargin.planning import dynamic_correlation, regimes

    pairs = [(c, s) for c in made.coins for s in made.macro]
    found = []
    with Meter("pairs") as meter:
        for k, (c, s) in enumerate(pairs):
            found.append((dynamic_correlation(made, c, s, decay=decay), regimes(made, c, s)))
            meter.step(k + 1, len(pairs))
    return found


def _day(text: str | None, option: str) -> int | None:
    import datetime

    if text is None:
        return None
    try:
        return (datetime.date.fromisoformat(text) - datetime.date(1970, 1, 1)).days
    except ValueError:
        raise unreadable(text, option, "2020-01-01") from None
