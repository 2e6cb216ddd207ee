"""Survival of an account: probability of liquidation, when, by mode, leverage, path and gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crossmargin.analytics import ParametricRisk, Survival, WorstDays
from crossmargin.reports._bars import PairBar
from crossmargin.reports.plans import Bars, Chart, PlanReport, Shown
from crossmargin.reports.terminal import amount, ratio, usd

_SHARES = (0.05, 0.25, 0.5)
#: Lines that a chart can tell apart.
_LINES = 5
#: Positions that a chart shows.
_BARS = 12


def survival_report(
    title: str, found: Mapping[str, Any], made: Sequence[Survival], curve: Sequence[Survival]
) -> PlanReport:
    """Say how likely a liquidation is, and by when.

    Parameters
    ----------
    title : str
    found : mapping
        What the command prints as JSON: horizon, model, walks and gaps.
    made, curve : sequence of Survival
        By rule-set, and by leverage under the first.
    """
    hours = float(found["step_hours"])
    worst = max(made, key=lambda one: one.liquidated)
    tables = [_modes(made, worst, hours)]
    charts: list[Chart | Bars] = [_curve(made, hours, "Share of paths not liquidated")]
    if curve:
        tables.append(_leverages(curve, hours))
        charts.append(_curve(curve, hours, "Share of paths not liquidated, by leverage"))
        charts.append(
            Bars(
                title="P(liquidation) by leverage",
                bars=tuple(PairBar(one.name, 100.0 * one.p_liquidation) for one in curve),
                unit="%",
            )
        )
    tables += [_day(found["one_day"]), *_worst(found["one_day"]["worst_days"])]
    charts.append(_culprits(found["one_day"]["worst_days"]))
    if found["walks"]:
        tables.append(_walks(found["walks"]))
    if found["jumps"]:
        tables.append(_jumps(found["jumps"]))
    if found["gaps"]:
        tables.append(_gaps(found["gaps"]))
    return PlanReport(
        title=title,
        facts=_facts(found, made, worst, curve),
        tables=tuple(tables),
        charts=tuple(charts),
    )


def _chance(one: Survival) -> str:
    if one.liquidated in (0, one.paths):
        none = "0 %" if one.liquidated == 0 else "100 %"
        return f"{none} (at most {ratio(one.p_bound)})" if one.liquidated == 0 else none
    return f"{ratio(one.p_liquidation)} ± {ratio(one.p_error)}"


def _when(one: Survival, share: float, hours: float) -> str:
    step = one.step_of(share)
    return "–" if step is None else f"{step * hours / 24.0:g} d"


def _modes(made: Sequence[Survival], worst: Survival, hours: float) -> Shown:
    heads = ["rule-set", "P(liquidation)", "5 % by", "25 % by", "50 % by"]
    compared = len(made) > 1
    rows = []
    for one in made:
        row = [one.name, _chance(one), *(_when(one, s, hours) for s in _SHARES)]
        if compared:
            row.append(f"{worst.liquidated - one.liquidated:,} of {one.paths:,}")
        rows.append(tuple(row))
    if compared:
        heads.append(f"avoided against {worst.name}")
    return Shown(title="Chance of a liquidation", heads=tuple(heads), rows=tuple(rows))


def _leverages(curve: Sequence[Survival], hours: float) -> Shown:
    return Shown(
        title="By leverage (gross notional over equity), same paths",
        heads=("leverage", "P(liquidation)", "5 % by", "25 % by", "50 % by"),
        rows=tuple(
            (one.name, _chance(one), *(_when(one, s, hours) for s in _SHARES)) for one in curve
        ),
    )


def _curve(made: Sequence[Survival], hours: float, title: str) -> Chart:
    count = len(made[0].alive)
    stride = -(-count // 200)
    picked = sorted({*range(0, count, stride), count - 1})
    return Chart(
        title=title,
        axis=[f"{k * hours / 24.0:g} d" for k in picked],
        series={one.name: [100.0 * one.alive[k] for k in picked] for one in made[:_LINES]},
        unit="%",
    )


def _day(day: Mapping[str, Any]) -> Shown:
    risk: ParametricRisk = day["normal"]
    ends = day["correlation"]
    rows = [
        ("standard deviation, USD", usd(risk.sigma_usd)),
        (f"VaR {ratio(risk.confidence, 0)}, USD", usd(risk.var_usd)),
        (f"expected shortfall {ratio(risk.confidence, 0)}, USD", usd(risk.es_usd)),
        *(
            (f"gain if {coin} rises 1 %, others moving along, USD", usd(slope / 100.0))
            for coin, slope in day["worst_days"].beta_usd.items()
        ),
        ("P(below its line after the day)", ratio(risk.p_breach, 3)),
        ("the same with MM wrongly held as now", ratio(risk.p_breach_frozen, 3)),
    ]
    if ends is not None:
        side = "low" if ends.worst == ends.low else "high"
        rows.append(
            (
                f"standard deviation at correlation {ends.worst:g} (the {side} end hurts), USD",
                usd(ends.sigma_worst_usd),
            )
        )
    return Shown(
        title=f"One day under {day['ruleset']}, normal, from today's deltas",
        heads=("figure", "value"),
        rows=tuple(rows),
    )


def _worst(days: WorstDays) -> tuple[Shown, Shown]:
    """Return who brings the account down, and the worst days one by one."""
    share = ratio(days.share, 0)
    who = Shown(
        title=f"The worst {share} of days: who brings the account down, everything revalued",
        heads=("position", "mean loss, USD", "share", "days it lost most"),
        rows=(
            *(
                (one.name, usd(one.mean_usd), ratio(one.share), f"{one.worst:,}")
                for one in days.culprits
            ),
            ("together", usd(days.mean_usd), "", f"{days.days:,}"),
        ),
    )
    told = Shown(
        title=f"The worst days of {days.draws:,} drawn",
        heads=("loss, USD", "moves", "culprit", "of it, USD"),
        rows=tuple(
            (
                usd(one.loss_usd),
                ", ".join(f"{coin} {ratio(x, sign=True)}" for coin, x in one.moves.items()),
                one.culprit,
                usd(one.culprit_usd),
            )
            for one in days.worst
        ),
    )
    return who, told


def _culprits(days: WorstDays) -> Bars:
    return Bars(
        title=f"Mean loss on the worst {ratio(days.share, 0)} of days, by position",
        bars=tuple(PairBar(one.name, one.mean_usd) for one in days.culprits[:_BARS]),
        unit="USD",
    )


def _walks(walks: Sequence[Mapping[str, Any]]) -> Shown:
    rows = []
    for one in walks:
        walk = one["walk"]
        closed = "; ".join(
            f"{c.pot} at {usd(c.coin_usd)}, {usd(c.left_usd)} left" for c in walk.closed
        )
        way = " → ".join(amount(x) for x in one["prices_usd"])
        rows.append(
            (
                f"{one['coin']} → {way}",
                one["ruleset"],
                usd(walk.start_usd),
                usd(walk.end_usd),
                closed or "nothing",
            )
        )
    heads = ("path", "rule-set", "equity now, USD", "at the end", "closed on the way")
    return Shown(title="Along a path; what is left is returned", heads=heads, rows=tuple(rows))


def _jumps(jumps: Sequence[Mapping[str, Any]]) -> Shown:
    heads = ("jump to", "rule-set", "trader loses, USD", "venue loses, USD")
    return Shown(
        title="A jump, no price in between; what is left of a pot is forfeited",
        heads=heads,
        rows=tuple(
            (f"{one['coin']} {usd(price)}", one["ruleset"], usd(trader), usd(deficit))
            for one in jumps
            for price, trader, deficit in zip(
                one["prices_usd"], one["loss"].trader, one["loss"].deficit
            )
        ),
    )


def _gaps(gaps: Sequence[Mapping[str, Any]]) -> Shown:
    heads = ("gaps of", "rule-set", "P(liquidated)", "trader's CVaR, USD", "venue's mean loss")
    return Shown(
        title="One gap, no price in between; what is left of a pot is forfeited",
        heads=heads,
        rows=tuple(
            (
                f"{one['coin']} σ {ratio(one['tail'].sigma)}",
                one["ruleset"],
                ratio(one["tail"].p_liquidated, 2),
                usd(one["tail"].cvar_usd),
                usd(one["tail"].mean_deficit_usd),
            )
            for one in gaps
        ),
    )


def _facts(
    found: Mapping[str, Any],
    made: Sequence[Survival],
    worst: Survival,
    curve: Sequence[Survival],
) -> tuple[str, ...]:
    sigmas = ", ".join(f"{coin} {ratio(s, 2)}" for coin, s in found["daily_sigma"].items())
    facts = [
        f"{worst.paths:,} paths of {worst.steps} steps of {found['step_hours']:g} hours, seed "
        f"{found['seed']}; daily σ: {sigmas}.",
        "Lognormal, no drift and no jumps; volatilities, time and funding stand still, nobody "
        "looks between steps, and no margin is added: fat tails make the chance larger, top-ups "
        "smaller.",
    ]
    facts += [
        f"{one.name}: {one.refused} paths ended where the rule-set has no figure, counted as "
        "liquidated."
        for one in made
        if one.refused
    ]
    if len(curve) > 1 and curve[0].liquidated == curve[-1].liquidated > 0:
        facts.append(
            "Leverage changes nothing here: each position stands on margin of its own, which is "
            "scaled with it."
        )
    facts += [
        f"{name} does not margin this account: {why}" for name, why in found["refused"].items()
    ]
    return tuple(facts)
