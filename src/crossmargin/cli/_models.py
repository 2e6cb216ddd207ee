"""``smile``: models against the market's smiles; ``tails``: returns against a normal law."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._app import HtmlOpt, JsonOpt, MarketOpt, _console, _print_json, app
from crossmargin.cli._plan_series import _day
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from crossmargin.market import FactorHistory
    from crossmargin.stats import QuantilePlot


@app.command
def smile(
    underlying: Annotated[str, Parameter(help="Coin, such as BTC.")] = "BTC",
    *,
    market: MarketOpt = io.DEFAULT_MARKET,
    model: Annotated[
        list[str] | None,
        Parameter(help="sabr, heston, merton or bates; default sabr and heston. Repeatable."),
    ] = None,
    expiry: Annotated[
        list[str] | None,
        Parameter(help="Date of an expiry; default those nearest to 14, 45, 150 days. Repeatable."),
    ] = None,
    out: Annotated[
        str | None,
        io.file_option("Write a market file whose volatilities are those of the first model."),
    ] = None,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Fit volatility models to a market's smiles and show what they miss.

    Volatilities are per cent per year, errors volatility points. Heston, Merton and Bates are
    fitted to the expiries together, by QuantLib (extra models); SABR to each.

    Example: `crossmargin smile BTC --model sabr --model heston --html smile.html`

    Example: `crossmargin smile ETH --market crash-2026-02-05 --expiry 2026-03-27 --model sabr`

    Example: `crossmargin smile BTC --model bates --out bates.json --json`
    """
    from crossmargin.analytics import compare_smiles, model_market

    world = io.load_market(market)
    models = model or ["sabr", "heston"]
    made = compare_smiles(world, underlying, models=models, expiries=expiry or [])
    if out is not None:
        from crossmargin.market import file_from_snapshot, write_market

        there = model_market(world, underlying, models[0])
        said = f"{underlying} volatilities of {models[0]} fitted to {market}"
        io.write_whole(out, write_market(file_from_snapshot(there.snapshot, description=said)))
    title = f"{underlying} in {market}: models against the market"
    if html is not None:
        from crossmargin import __version__
        from crossmargin.reports.models import render_smiles

        io.write_whole(html, render_smiles(title, made, version=__version__).encode())
    if json:
        _print_json(made)
        return
    from crossmargin.reports.models import print_smiles

    console = _console()
    print_smiles(console, title, made)
    for path, what in ((out, "market"), (html, "page")):
        if path is not None:
            console.print(f"{what} written to {path}")


@app.command
def tails(
    history: Annotated[
        list[str], Parameter(help="Daily closes (Parquet, CSV), or made-up. Repeatable.")
    ],
    *,
    coin: Annotated[list[str] | None, Parameter(help="Coin; default all. Repeatable.")] = None,
    first: Annotated[str | None, Parameter(name="--from", help="First day, ISO-8601.")] = None,
    last: Annotated[str | None, Parameter(name="--to", help="Last day, ISO-8601.")] = None,
    free: Annotated[
        float | None,
        Parameter(help="Free returns of their moving volatility first, with this λ: 0.97."),
    ] = None,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Hold the tails of daily log-returns against a normal and a Student law.

    Figures are standard deviations of the coin's own returns. --html draws the quantile plot.

    Example: `crossmargin tails made-up --coin BTC`

    Example: `crossmargin tails closes.parquet --coin BTC --coin ETH --from 2020-01-01 --free 0.97
    --html tails.html`
    """
    from crossmargin.reports.models import TailLine, print_tails

    for option, text in (("--from", first), ("--to", last)):
        _day(text, option)
    past = io.read_histories(history)
    lines = []
    for name in coin or past.coins:
        plot = _plot(past, name, first, last, free)
        lines.append(TailLine.of(name, plot))
    freed = "" if free is None else f", freed of moving volatility (λ {free:g})"
    title = f"Tails of daily returns{freed}"
    if html is not None:
        from crossmargin import __version__
        from crossmargin.reports.models import render_tails

        io.write_whole(html, render_tails(title, lines, version=__version__).encode())
    if json:
        _print_json({"freed": free, "coins": [line.plain() for line in lines]})
        return
    console = _console()
    print_tails(console, title, lines)
    if html is not None:
        console.print(f"page written to {html}")


def _plot(
    past: FactorHistory, coin: str, first: str | None, last: str | None, free: float | None
) -> QuantilePlot:
    import numpy as np

    from crossmargin.stats import ewma_volatility, quantile_plot

    if coin not in past.coins:
        raise InputError(
            f"the history has no closes of {coin}", code="INP-013", field="--coin",
            hint=f"it has {', '.join(past.coins)}",
        )  # fmt: skip
    if free is not None and not 0.5 <= free < 1.0:
        raise InputError(f"a λ of {free:g}", code="INP-013", field="--free",
                         hint="at least 0.5 and below 1")  # fmt: skip
    r = past.returns[:, past.coins.index(coin)]
    days = np.array(past.days[1:], dtype=str)
    there = np.isfinite(r)
    r, days = r[there], days[there]
    if free is not None and r.size > 30:
        with np.errstate(invalid="ignore", divide="ignore"):
            r = r / ewma_volatility(r, free)[:-1]
    inside = np.isfinite(r) & (days >= (first or "")) & (days <= (last or "9999"))
    r = r[inside]
    if r.size < 60 or not r.std() > 0:
        raise InputError(
            f"{coin} has {r.size} returns there, fewer than 60, or they do not move",
            code="INP-013",
            field="history",
            hint="give a longer history, or more days",
        )
    return quantile_plot(r)
