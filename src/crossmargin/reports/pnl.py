"""Profit by Greek and cause, from two marks or from a ledger, for the terminal and as a page."""

from __future__ import annotations

from collections.abc import Sequence

from crossmargin.accounts.pnl_report import AssetPnl, LedgerPnl
from crossmargin.analytics import MarginReturn, PnlExplained
from crossmargin.reports._bars import PairBar
from crossmargin.reports.plans import Bars, PlanReport, Shown
from crossmargin.reports.terminal import amount, ratio, usd
from crossmargin.units import format_time

_GREEKS = ("delta", "gamma", "vega", "theta", "residual")


def pnl_report(title: str, made: PnlExplained) -> PlanReport:
    """Say what each Greek, each coin and each change made, US dollars."""
    coins = sum(made.coins.values())
    parts = [
        ("price, first order (delta)", made.delta),
        ("price, second order (gamma)", made.gamma),
        ("volatility (vega)", made.vega),
        ("time (theta)", made.theta),
        ("residual: what the expansion leaves", made.residual),
        ("coins held, at the change of their price", coins),
        ("changed: trades, funding, fees, transfers", made.changed),
    ]
    causes = Shown(
        title="Where it came from, USD",
        heads=("cause", "USD"),
        rows=(*((name, _signed(x)) for name, x in parts), ("together", _signed(made.total))),
    )
    lines = Shown(
        title="By position, USD",
        heads=(
            "position", "held", "price then → now", "vol then → now", *_GREEKS, "together",
        ),
        rows=tuple(
            (
                line.instrument + ("" if line.leg == "net" else f" {line.leg}"),
                amount(line.quantity),
                f"{usd(line.forward_then)} → {usd(line.forward_now)}",
                _vols(line.vol_then, line.vol_now),
                *(_signed(getattr(line, name)) for name in _GREEKS),
                _signed(line.total),
            )
            for line in made.lines
        ),
    )  # fmt: skip
    held = tuple((asset, _signed(x)) for asset, x in made.coins.items() if x)
    tables = [causes, lines]
    if held:
        tables.append(Shown(title="Coins, USD", heads=("asset", "gain"), rows=held))
    return PlanReport(
        title=title,
        facts=(
            f"Worth {usd(made.worth_then)} USD then, {usd(made.worth_now)} USD {made.hours:,.1f} "
            "hours later, before haircuts. Greeks are those of the first mark; positions' parts "
            "are at the second mark's price of their settlement asset.",
            f"Residuals of single positions are {usd(sum(abs(x.residual) for x in made.lines))} "
            "USD without their signs: after a large move the expansion is coarse, and legs' "
            "residuals only cancel where the legs are alike.",
            _funding(made),
        ),
        tables=tuple(tables),
        charts=(
            Bars(
                title="Profit by cause",
                bars=tuple(PairBar(name, x) for name, x in parts),
                unit="USD",
            ),
        ),
    )


def _funding(made: PnlExplained) -> str:
    text = (
        f"Funding at the first mark's rates would have been {_signed(made.funding_estimate)} USD; "
        "where it was booked it is within what changed. A ledger tells trades, funding and fees "
        "apart: crossmargin ledger pnl."
    )
    if made.without_rate:
        text += f" Without a rate, and not counted: {', '.join(made.without_rate)}."
    return text


def _signed(x: float) -> str:
    text = f"{x:+,.2f}"
    return "0.00" if float(text.replace(",", "")) == 0 else text


def _vols(then: float | None, now: float | None) -> str:
    if then is None:
        return ""
    return f"{ratio(then)} → {'settled' if now is None else ratio(now)}"


def ledger_report(title: str, made: LedgerPnl, back: MarginReturn | None = None) -> PlanReport:
    """Say what the ledger booked by cause, and the price's part by Greek, in every asset."""
    tables = [_causes(made), *(_greeks(one) for one in made.assets if any(one.greeks.values()))]
    if made.steps > 1:
        facts = [f"Greeks are taken anew at each of {made.steps} steps between the markets given."]
    else:
        facts = ["Greeks are those of the first market; a market in between makes them closer."]
    facts.append(
        "The causes add up to the change of equity exactly. Price is what marks, trades and "
        "settlement made; its residual is what the expansion leaves."
    )
    if back is not None:
        facts.append(
            f"{usd(back.pnl_usd)} USD without transfers, on a time-weighted margin of "
            f"{usd(back.margin_usd)} USD over {back.days:,.2f} days: {ratio(back.period, 2)}, "
            f"{ratio(back.annual, 2)} a year, simple."
        )
    return PlanReport(
        title=title,
        facts=(
            f"From {format_time(made.start_ns)} to {format_time(made.end_ns)}, "
            f"{made.entries:,} entries of the ledger.",
            *facts,
        ),
        tables=tuple(tables),
        charts=tuple(_bars(one) for one in made.assets),
    )


def _causes(made: LedgerPnl) -> Shown:
    names = [name for name in made.causes if any(one.causes[name] for one in made.assets)]
    rows = []
    for one in made.assets:
        worth = "–" if one.usd is None else _signed(one.total * one.usd)
        rows.append(
            (one.asset, *(_units(one.causes[name]) for name in names), _units(one.total), worth)
        )
    return Shown(
        title="By cause, in each asset",
        heads=("asset", *names, "together", "USD at the last price"),
        rows=tuple(rows),
    )


def _greeks(one: AssetPnl) -> Shown:
    rows = tuple((name, _units(x)) for name, x in one.greeks.items())
    return Shown(
        title=f"Price's part by Greek, {one.asset}",
        heads=("part", one.asset),
        rows=(*rows, ("together", _units(sum(one.greeks.values())))),
    )


def _units(x: float) -> str:
    text = f"{x:+,.8f}".rstrip("0").rstrip(".")
    return "0" if text in ("+0", "-0") else text


def _bars(one: AssetPnl) -> Bars:
    rows: Sequence[tuple[str, float]] = [
        *((name, x) for name, x in one.causes.items() if name != "price" and x),
        *((f"price: {name}", x) for name, x in one.greeks.items() if x),
    ]
    return Bars(
        title=f"Profit in {one.asset} by cause",
        bars=tuple(PairBar(name, x) for name, x in rows),
        unit=one.asset,
    )
