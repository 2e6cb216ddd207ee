"""A study of many cascades: tables for the terminal, and a page with fan, phases and burdens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from crossmargin.cascade.outcome import Spread
from crossmargin.cascade.policies import FundAnswer
from crossmargin.cascade.ranking import ranked
from crossmargin.cascade.studies import Study
from crossmargin.reports._cascade_charts import fan_chart
from crossmargin.reports._cascade_maps import bars_chart, lorenz_chart, phase_chart
from crossmargin.reports._sections import heading
from crossmargin.reports._table import Column, figure, table
from crossmargin.reports._text import DASH, Safe, count, esc, number, percent, short
from crossmargin.reports.cascade import limits_section, print_limits, section
from crossmargin.reports.html import page
from crossmargin.reports.terminal import ratio, table_of

_COLUMNS = (
    "median fall", "5 % of runs below", "amplification", "open interest", "LaR 95, USD",
    "VaR 95, USD", "P(fund used up)", "ADL share", "Gini", "profit kept",
)  # fmt: skip


#: Heads of columns where room is short.
_SHORT = {
    "median fall": "fall", "5 % of runs below": "5 % below", "amplification": "ampl.",
    "open interest": "OI", "LaR 95, USD": "LaR 95", "VaR 95, USD": "VaR 95",
    "P(fund used up)": "fund out", "ADL share": "ADL", "profit kept": "kept",
}  # fmt: skip


def shorter(label: str) -> str:
    """Return a variant's label without the sections that its figures stand in."""
    return re.sub(r"\b[a-z]+\.(?=[a-z_.*]+ =)", "", label)


def _cells(made: Spread) -> list[str]:
    middle, mean = made.median, made.mean
    times = f"{middle['amplification']:.2f}×" if "amplification" in middle else DASH
    gini = f"{mean['adl_gini']:.2f}" if "adl_gini" in mean else DASH
    return [
        ratio(middle["drop"]),
        ratio(made.low["drop"]),
        times,
        ratio(middle["oi_drop"]),
        short(made.lar_usd),
        short(made.var_usd),
        ratio(made.p_exhausted),
        ratio(mean["adl_share"]),
        gini,
        ratio(mean["winners_kept"]),
    ]


def print_study(console: Console, title: str, study: Study, funds: FundAnswer | None) -> None:
    """Print variants side by side, differences on common paths, and the fund that is needed."""
    console.print(Text(title, "bold"))
    console.print(
        Text(f"{len(study.seeds)} runs of each, on the same paths; lead {study.lead}", "dim")
    )
    lines = table_of("variant", *_COLUMNS)
    for column in lines.columns[1:]:
        column.no_wrap, column.header = True, _SHORT.get(str(column.header), column.header)
    for variant in study.variants:
        lines.add_row(shorter(variant.label), *_cells(study.spread(variant.label)))
    console.print(lines)
    if len(study.variants) > 1:
        console.print(_differences(study))
    if funds is not None:
        for line in fund_words(funds):
            console.print(Text(line))
    print_limits(console)


def _differences(study: Study) -> Any:
    first = study.variants[0].label
    lines = table_of(
        "against the first, seed by seed", "fall, pp", "± error", "deficit, USD", "± error",
        title=f"Differences from {first!r} on common paths (negative fall: deeper)",
    )  # fmt: skip
    falls, deficits = ranked(study, "drop"), ranked(study, "deficit_usd")
    for fall, loss in zip(falls[1:], deficits[1:]):
        lines.add_row(
            fall.label,
            f"{100 * fall.difference:+.2f}",
            f"{100 * fall.error:.2f}",
            f"{loss.difference:+,.0f}",
            f"{loss.error:,.0f}",
        )
    return lines


def fund_words(made: FundAnswer) -> list[str]:
    """Say how large a fund must be."""
    return [
        f"a fund of {made.by_target:,.0f} USD is used up in at most {ratio(made.target)} of "
        f"the runs; the mean deficit of the runs beyond is {made.by_shortfall:,.0f} USD",
        f"the two largest shortfalls of people under stress (cover 2): {made.two_largest:,.0f} USD",
    ]


def render_study(
    title: str,
    study: Study,
    *,
    version: str,
    funds: FundAnswer | None = None,
    phase: tuple[Sequence[float], Sequence[float]] | None = None,
) -> str:
    """Write the page of a study.

    Parameters
    ----------
    title : str
        Of the page.
    study : Study
        What was run.
    version : str
        Of this package, for the footer.
    funds : FundAnswer, optional
        How large a fund must be.
    phase : tuple of (leverages, depth factors), optional
        Where the variants are that grid, depths outside and leverages inside.
    """
    facts = [
        f"{count(len(study.variants), 'variant')}, {count(len(study.seeds), 'seed')} each, on the "
        "same paths; "
        f"lead {study.lead}"
    ]
    body = [heading("Cascade study", title, facts), limits_section()]
    sides = _side_by_side(study, differences=phase is None)
    cards: list[Safe] = []
    if phase is not None:
        cards.append(_phase(study, *phase))
    else:
        cards += fan_cards(study)
    curves = {
        v.label: (np.linspace(0.0, 1.0, len(c)), np.array(c))
        for v in study.variants[:5]
        if (c := study.lorenz(v.label))
    }
    if curves and phase is None:
        cards.append(
            figure("Burden of deleveraging", "Notional closed against holders, over accounts that "
                   "had won; mean of the runs with deleveraging.",
                   lorenz_chart(curves, "winners"))
        )  # fmt: skip
    if funds is not None:
        cards.append(_fund(funds))
    pictures = [section("pictures", "Pictures", cards)] if cards else []
    body += [*pictures, sides] if phase is not None else [sides, *pictures]
    return page(title, body, version=version, skip=("#sides", "Skip to the comparison"))


def _side_by_side(study: Study, *, differences: bool) -> Safe:
    rows = [[v.label, *_cells(study.spread(v.label))] for v in study.variants]
    shown = table(
        "Variants side by side",
        [Column("variant", text=True), *(Column(name) for name in _COLUMNS)],
        rows,
    )
    parts = [shown]
    if differences and len(study.variants) > 1:
        falls, losses = ranked(study, "drop"), ranked(study, "deficit_usd")
        parts.append(
            table(
                "Differences from the first on common paths",
                [Column("against the first", text=True), Column("fall, pp"), Column("± error"),
                 Column("deficit, USD"), Column("± error"), Column("falls deeper on")],
                [
                    [a.label, number(100 * a.difference, 2, sign=True), number(100 * a.error, 2),
                     number(b.difference, 0, sign=True), number(b.error, 0),
                     percent(a.better) + " of seeds"]
                    for a, b in zip(falls[1:], losses[1:])
                ],
            )
        )  # fmt: skip
    return Safe(
        '<section aria-labelledby="sides"><h2 id="sides">Side by side</h2>' + "".join(parts)
        + "</section>"
    )  # fmt: skip


def fan_cards(study: Study) -> list[Safe]:
    """Draw the fan of each of the first variants; nothing of fewer than five runs."""
    if len(study.seeds) < 5:
        return []
    cards = []
    for variant in study.variants[:6]:
        minutes, levels = study.fan(variant.label)
        cards.append(
            figure(f"{study.lead}: {variant.label}",
                   f"{len(study.seeds)} runs; a fan of assumptions, not a forecast.",
                   fan_chart(minutes, levels, f"price of {study.lead}"),
                   wide=len(study.variants) == 1)
        )  # fmt: skip
    return cards


def _phase(study: Study, leverage: Sequence[float], depth: Sequence[float]) -> Safe:
    shape = (len(depth), len(leverage))
    middle = [study.spread(v.label).median for v in study.variants]
    amplification = np.array([m.get("amplification", np.nan) for m in middle]).reshape(shape)
    by_label = {r.variant: r.radius for r in study.records}
    radius = np.array([by_label[v.label] for v in study.variants]).reshape(shape)
    return figure(
        "Leverage against depth",
        "Median amplification of the runs, books not thinning out, impact staying, everything sold "
        "in the market: what the closed form assumes. The line is ρ(G) = 1 of those whom the "
        "scripted news reaches; beyond it the closed form diverges, and the simulation ends where "
        "nobody is left to be closed.",
        phase_chart(leverage, depth, amplification, radius),
        wide=True,
    )


def _fund(made: FundAnswer) -> Safe:
    picks = range(0, len(made.sizes), 5)
    bars = {f"fund of {short(made.sizes[k])} USD": 100.0 * made.exhausted[k] for k in picks}
    said = " ".join(f"{line[0].upper()}{line[1:]}." for line in fund_words(made))
    return figure(
        "How large a fund",
        said,
        bars_chart(bars, "%", "Chance that a fund of each size is used up: " + esc(said)),
    )
