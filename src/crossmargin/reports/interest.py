"""Open interest and leverage: by contract, expiry and strike, through time, against depth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from crossmargin.cascade.interest_file import InterestSteps, RecordedInterest, largest_strikes
from crossmargin.cascade.interest_history import InterestMoment
from crossmargin.cascade.interest_view import InterestView
from crossmargin.cascade.open_interest import InterestBreakdown
from crossmargin.reports._bars import PairBar
from crossmargin.reports.plans import Bars, Chart, PlanReport, Shown
from crossmargin.reports.terminal import ratio, usd
from crossmargin.units import format_time

#: Points of a line at most.
_POINTS = 300


def records_report(title: str, found: RecordedInterest, *, unit: str, top: int) -> PlanReport:
    """Say what a table of open interest says.

    Parameters
    ----------
    title : str
    found : RecordedInterest
    unit : str
        Of the open interest, for people.
    top : int
        Strikes, contracts and steps that are shown.
    """
    tables = [_totals(found, unit)]
    charts: list[Chart | Bars] = []
    for one in found.breakdown:
        tables += _expiries(one, unit)
        if one.calls or one.puts:
            tables.append(_strikes(one, unit, top))
            charts.append(_walls(one, unit))
        else:
            tables.append(_biggest(one, unit, top))
    for steps in found.steps:
        if len(steps.times_ns) > 1:
            charts.append(_line(steps, unit))
        if steps.reading:
            tables += [_quadrants(steps, unit), _last(steps, unit, top)]
            charts.append(_price(steps))
    return PlanReport(
        title=title,
        facts=(
            "Every contract has a long and a short: a quadrant says who is thought to press, no "
            "more. What expired within a step is left out of its reading.",
        ),
        tables=tuple(tables),
        charts=tuple(charts),
    )


def _total(one: InterestBreakdown) -> float:
    return math.fsum(one.by_contract.values())


def _totals(found: RecordedInterest, unit: str) -> Shown:
    rows = []
    for one in found.breakdown:
        price = found.price.get(one.underlying)
        total = _total(one)
        rows.append(
            (
                one.underlying,
                usd(total),
                "–" if price is None else usd(price),
                "–" if price is None else usd(total * price, 0),
                f"{len(one.by_contract):,}",
                "–" if math.isnan(one.put_call) else f"{one.put_call:.3f}",
            )
        )
    when = "" if found.at_ns is None else f" at {format_time(found.at_ns)}"
    heads = (
        "underlying", f"open interest, {unit}", "price, USD", "at that price, USD", "contracts",
        "puts / calls",
    )  # fmt: skip
    return Shown(title=f"Open interest{when}", heads=heads, rows=tuple(rows))


def _expiries(one: InterestBreakdown, unit: str) -> list[Shown]:
    total = _total(one)
    rows = tuple(
        (
            "none" if when == 0 else format_time(when)[:10],
            usd(amount),
            ratio(amount / total) if total else "–",
            "–" if when not in one.walls else f"{one.walls[when]:,g}",
        )
        for when, amount in one.by_expiry.items()
    )
    if set(one.by_expiry) <= {0}:
        return []
    heads = ("expiry", f"open interest, {unit}", "share", "largest strike, USD")
    return [Shown(title=f"{one.underlying} by expiry", heads=heads, rows=rows)]


def _strikes(one: InterestBreakdown, unit: str, top: int) -> Shown:
    rows = tuple(
        (f"{k:,g}", usd(one.calls.get(k, 0.0)), usd(one.puts.get(k, 0.0)))
        for k in largest_strikes((one.calls, one.puts), top)
    )
    return Shown(
        title=f"{one.underlying} options, the {len(rows)} largest strikes",
        heads=("strike, USD", f"calls, {unit}", f"puts, {unit}"),
        rows=rows,
    )


def _biggest(one: InterestBreakdown, unit: str, top: int) -> Shown:
    chosen = sorted(one.by_contract.items(), key=lambda item: (-item[1], item[0]))[:top]
    return Shown(
        title=f"{one.underlying} by contract",
        heads=("contract", f"open interest, {unit}"),
        rows=tuple((name, usd(amount)) for name, amount in chosen),
    )


def _walls(one: InterestBreakdown, unit: str) -> Bars:
    return Bars(
        title=f"{one.underlying}: open interest by strike, calls and puts",
        bars=tuple(
            PairBar(f"{k:,g}", one.calls.get(k, 0.0), one.puts.get(k, 0.0))
            for k in largest_strikes((one.calls, one.puts), 24)
        ),
        unit=unit,
        beside="puts",
    )


def _picked(count: int) -> list[int]:
    stride = max(1, -(-count // _POINTS))
    return sorted({*range(0, count, stride), count - 1})


def _line(steps: InterestSteps, unit: str) -> Chart:
    at = _picked(len(steps.times_ns))
    return Chart(
        title=f"{steps.underlying}: open interest through time",
        axis=[format_time(int(steps.times_ns[k])) for k in at],
        series={"open interest": [float(steps.interest[k]) for k in at]},
        unit=unit,
    )


def _price(steps: InterestSteps) -> Chart:
    at = _picked(len(steps.times_ns))
    first = float(steps.price[0])
    return Chart(
        title=f"{steps.underlying}: price beside it, the first moment 100",
        axis=[format_time(int(steps.times_ns[k])) for k in at],
        series={"price": [100.0 * float(steps.price[k]) / first for k in at]},
        unit="",
    )


def _quadrants(steps: InterestSteps, unit: str) -> Shown:
    count = len(steps.reading)
    return Shown(
        title=f"{steps.underlying}: price against open interest over {count:,} steps",
        heads=("reading", "steps", "share", f"traded on or off, {unit}"),
        rows=tuple(
            (name, f"{n:,}", ratio(n / count), f"{change:+,.2f}")
            for name, (n, change) in steps.by_quadrant().items()
        ),
    )


def _last(steps: InterestSteps, unit: str, top: int) -> Shown:
    rows = []
    for k in range(max(0, len(steps.reading) - top), len(steps.reading)):
        rows.append(
            (
                format_time(int(steps.times_ns[k + 1]))[:19],
                ratio(steps.price[k + 1] / steps.price[k] - 1, 2, sign=True),
                f"{steps.traded[k]:+,.2f}",
                usd(float(steps.expired[k])),
                steps.reading[k],
            )
        )
    heads = ("until", "price", f"traded, {unit}", "expired", "reading")
    return Shown(title=f"{steps.underlying}: the last steps", heads=heads, rows=tuple(rows))


def accounts_report(
    title: str,
    view: InterestView,
    *,
    top: int,
    limit: float,
    facts: Sequence[str] = (),
    through: Sequence[InterestMoment] = (),
    breakdown: Sequence[InterestBreakdown] = (),
) -> PlanReport:
    """Say who holds what, how levered they are, and what could absorb it."""
    tables = [_everybody(view), _score(view), _contracts(view, top), _drift(view)]
    for one in breakdown:
        tables += _expiries(one, "coins")
        if one.calls or one.puts:
            tables.append(_strikes(one, "coins", top))
    if through:
        tables += [_moments(through, top), _readings(through, view, top)]
    return PlanReport(
        title=title,
        facts=(
            *facts,
            f"Fragile: open interest above {limit:g} times D, the notional whose sale moves the "
            "price by 100 %; the limit is a judgement, and so are the weights of the score, "
            "which ranks and has no scale of its own.",
        ),
        tables=tuple(tables),
        charts=_charts(view, through, top),
    )


def _level(value: float) -> str:
    return "–" if not math.isfinite(value) else f"{value:,.3f}"


def _everybody(view: InterestView) -> Shown:
    c = view.concentration
    rows = [
        ("open interest, USD", usd(view.interest, 0)),
        ("gross notional, longs and shorts, USD", usd(view.gross, 0)),
        ("equity, USD", usd(view.equity, 0)),
        ("leverage, gross notional / equity", _level(view.leverage)),
        ("accounts with a position", f"{view.accounts:,}"),
        ("largest account holds", ratio(c.top.get(1, 0.0))),
        ("largest ten hold", ratio(c.top.get(10, 0.0))),
        ("as concentrated as so many equal holders", f"{c.effective:,.1f}"),
        ("Gini of gross notional", _level(c.gini)),
        ("open interest / D, where D is known (fragile where high)",
         _level(view.interest_with_depth / view.depth) if view.depth else "–"),
        ("D / open interest (fragile where low)",
         _level(view.depth / view.interest_with_depth) if view.interest_with_depth else "–"),
    ]  # fmt: skip
    if view.interest_over_capital is not None and view.capital_over_interest is not None:
        rows += [
            ("open interest / capital (fragile where high)", _level(view.interest_over_capital)),
            ("capital / open interest (fragile where low)", _level(view.capital_over_interest)),
        ]
    return Shown(title="Everybody", heads=("figure", "value"), rows=tuple(rows))


def _score(view: InterestView) -> Shown:
    s = view.score
    rows = (
        ("leverage, 1 − 1/Λ", s.leverage, s.contribution["leverage"]),
        ("concentration, Herfindahl", s.concentration, s.contribution["concentration"]),
        ("overlap of books", s.overlap, s.contribution["overlap"]),
    )
    return Shown(
        title=f"Systemic score {s.score:.3f} of 1, and its parts",
        heads=("part", "0 to 1", "adds to −ln(1 − score)"),
        rows=tuple((name, f"{part:.3f}", _level(adds)) for name, part, adds in rows),
    )


def _contracts(view: InterestView, top: int) -> Shown:
    heads = (
        "contract", "longs, USD", "shorts, USD", "long / short holders", "largest long", "short",
        "OI / D", "D / OI", "",
    )  # fmt: skip
    return Shown(
        title=f"The {min(top, len(view.contracts))} largest of {len(view.contracts)} contracts",
        heads=heads,
        rows=tuple(
            (
                line.contract,
                usd(line.longs, 0),
                usd(line.shorts, 0),
                f"{line.holders_long:,} / {line.holders_short:,}",
                ratio(line.top_long),
                ratio(line.top_short),
                "–" if math.isinf(line.depth) else f"{line.interest_over_depth:,.4f}",
                "–" if math.isinf(line.depth) else f"{line.depth_over_interest:,.4g}",
                "fragile" if line.fragile else "",
            )
            for line in view.contracts[:top]
        ),
    )


def _drift(view: InterestView) -> Shown:
    rows = tuple(
        (
            ratio(one.move, 0, sign=True),
            _level(one.leverage),
            usd(one.sold, 0),
            ratio(one.sold_share, 2),
            f"{one.under_water:,}",
        )
        for one in view.drift
    )
    heads = (
        "all assets", "leverage then", "closed to return to one's own, USD", "of gross",
        "accounts without equity",
    )  # fmt: skip
    return Shown(title="Leverage after a move", heads=heads, rows=rows)


def _moments(through: Sequence[InterestMoment], top: int) -> Shown:
    rows = []
    for one in through[-top:]:
        v = one.view
        rows.append(
            (
                format_time(one.moment_ns)[:16] + "Z",
                f"{v.accounts:,}",
                f"{one.common:,}",
                usd(v.interest, 0),
                usd(v.equity, 0),
                _level(v.leverage),
                f"{v.concentration.herfindahl:.3f}",
                f"{v.overlap:.3f}",
                f"{v.score.score:.3f}",
            )
        )
    heads = (
        "snapshot", "accounts", "in both", "open interest, USD", "equity, USD", "leverage", "HHI",
        "overlap", "score",
    )  # fmt: skip
    return Shown(title="Through time", heads=heads, rows=tuple(rows))


def _readings(through: Sequence[InterestMoment], view: InterestView, top: int) -> Shown:
    words = ("new longs", "new shorts", "short covering", "long liquidation", "unchanged")
    rows = []
    for line in view.contracts[:top]:
        counts = dict.fromkeys(words, 0)
        for one in through:
            if line.contract in one.reading:
                counts[one.reading[line.contract][0]] += 1
        last = through[-1].reading.get(line.contract)
        said = (
            "–"
            if last is None
            else f"{last[0]} ({ratio(last[1], sign=True)}, OI {ratio(last[2], sign=True)})"
        )
        rows.append((line.contract, *(str(counts[word]) for word in words), said))
    return Shown(
        title="Steps by price and open interest, of accounts in both snapshots",
        heads=("contract", *words, "the last step (price, open interest)"),
        rows=tuple(rows),
    )


def _charts(
    view: InterestView, through: Sequence[InterestMoment], top: int
) -> tuple[Chart | Bars, ...]:
    charts: list[Chart | Bars] = [
        Bars(
            title="Open interest by contract: longs, and shorts beside them",
            bars=tuple(
                PairBar(line.contract, line.longs, line.shorts) for line in view.contracts[:24]
            ),
            unit="USD",
            beside="shorts",
        ),
        Chart(
            title="Concentration: share held by the largest",
            axis=[f"{100 * x:.0f} %" for x in view.concentration.curve_holders.tolist()],
            series={
                "share of gross notional": [
                    100.0 * x for x in view.concentration.curve_share.tolist()
                ]
            },
            unit="%, by share of holders",
        ),
    ]
    if len(through) > 1:
        axis = [format_time(one.moment_ns) for one in through]
        lines: Mapping[str, list[float]] = {
            "open interest": [one.view.interest for one in through],
            "equity": [one.view.equity for one in through],
        }
        charts += [
            Chart(title="Open interest and equity", axis=axis, series=lines, unit="USD"),
            Chart(
                title="Leverage of everybody",
                axis=axis,
                series={"leverage": [one.view.leverage for one in through]},
                unit="×",
            ),
            Chart(
                title="Systemic score",
                axis=axis,
                series={
                    "score": [one.view.score.score for one in through],
                    "overlap": [one.view.overlap for one in through],
                    "concentration": [one.view.concentration.herfindahl for one in through],
                },
                unit="0 to 1",
            ),
        ]
    return tuple(charts)
