"""What two fitted models say of coins and macro series, added to the page of correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from crossmargin.planning import DynamicCorrelation, Regimes
from crossmargin.reports.plans import Chart, PlanReport, Shown
from crossmargin.reports.terminal import ratio


def with_regimes(
    report: PlanReport,
    fitted: Sequence[tuple[DynamicCorrelation, Regimes]],
    days: Sequence[str],
    step: int = 1,
) -> PlanReport:
    """Return the report with tables and pictures of dynamic correlation and regimes.

    Parameters
    ----------
    report : PlanReport
        Of correlations.
    fitted : sequence
        Of every pair; nothing is added for none.
    days : sequence of str
        Axis of the pictures.
    step : int
        Every how many returns a day of the axis stands.
    """
    if not fitted:
        return report
    states = Shown(
        title="Two regimes of correlation (Hamilton)",
        heads=("pair", "state", "correlation", "of the time", "spell, periods", "now", "gain"),
        rows=tuple(
            (
                f"{made.coin} / {made.series}",
                ("lower", "higher")[s],
                f"{made.correlation[s]:+.2f}",
                ratio(made.share[s], 0),
                f"{made.spell[s]:,.0f}",
                ratio((1.0 - made.now, made.now)[s], 0),
                f"{made.gain:.1f}",
            )
            for _, made in fitted
            for s in (0, 1)
        ),
    )
    moving = Shown(
        title="Dynamic correlation (Engle)",
        heads=("pair", "a", "b", "returns to", "now"),
        rows=tuple(
            (
                f"{x.coin} / {x.series}",
                f"{x.a:.3f}",
                f"{x.b:.3f}",
                f"{x.mean:+.2f}",
                f"{x.now:+.2f}",
            )
            for x, _ in fitted
        ),
    )
    shown = fitted[:5]
    charts = (
        Chart(
            title="Probability of the state of higher correlation",
            axis=days,
            series={
                f"{x.coin} / {x.series}": [
                    100.0 * (x.share[1] if math.isnan(p) else p)
                    for p in x.probability[::step].tolist()
                ]
                for _, x in shown
            },
            unit="%",
        ),
        Chart(
            title="Dynamic correlation",
            axis=days,
            series={
                f"{x.coin} / {x.series}": [
                    x.mean if math.isnan(v) else v for v in x.path[1::step].tolist()
                ]
                for x, _ in shown
            },
            unit="",
        ),
    )
    return replace(
        report,
        facts=(
            *report.facts,
            "Regimes: returns freed of moving volatility, by rank; their correlation switches "
            "between two states; probabilities of the past are seen from the end of the sample, "
            "that of now is not. Gain: rise of the log-likelihood over one correlation; below "
            "about 4 there is little to speak of two states for. The first thirty periods, which "
            "start the volatilities, are drawn at the mean.",
        ),
        tables=(*report.tables, states, moving),
        charts=(*report.charts, *charts),
    )
