"""Correlation stress: tables and heat maps for the terminal, and a page with the curve."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from crossmargin.analytics import (
    BreakLine,
    CorrelationBreak,
    WrongWay,
    chosen_words,
    hidden_exposures,
)
from crossmargin.reports._line_chart import line_chart
from crossmargin.reports._sections import heading
from crossmargin.reports._svg import Svg, px
from crossmargin.reports._table import Column, figure, table
from crossmargin.reports._text import DASH, Safe, amount, esc, join, move, percent
from crossmargin.reports.html import page
from crossmargin.reports.terminal import ratio, table_of
from crossmargin.reports.terminal import usd as usd_text

_CELL, _LEFT = 34.0, 0.16
#: Shades of the terminal's cells, weakest first, for a correlation of either sign.
_POSITIVE = ("grey19", "navy_blue", "dark_blue", "blue3", "blue1")
_NEGATIVE = ("grey19", "grey23", "dark_red", "red3", "red1")


def print_break(console: Console, title: str, made: CorrelationBreak) -> None:
    """Print the stresses, the matrices, the curve, collateral and what was assumed."""
    console.print(Text(title, "bold"))
    lines = table_of("correlation", "what", "σ, USD", "normal ES", "ES, Gauss copula",
                     "ES, t copula", "± s.e.", f"{made.sigmas:g} σ shock",
                     "collateral falls", left=2)  # fmt: skip
    for one in made.lines:
        style = "bold yellow" if one.name == made.worst and one.name != "base" else ""
        lines.add_row(
            one.name,
            one.title,
            *(
                Text(usd_text(x, 0), style)
                for x in (
                    one.sigma_usd,
                    one.es_normal_usd,
                    one.es_gauss_usd,
                    one.es_usd,
                    one.es_error_usd,
                    one.shock_usd,
                    one.collateral_usd,
                )
            ),
        )
    console.print(lines)
    if len(made.coins) > 1:
        for name, matrix in _maps(made):
            _print_map(console, name, made.coins, matrix)
        _print_curve(console, made)
    if made.collateral:
        _print_collateral(console, made.collateral)
    words = chosen_words(made)
    console.print(Text(words[:1].upper() + words[1:] + ".", "bold"))
    for fact in facts_of(made):
        console.print(Text(fact, "dim"))


def _maps(made: CorrelationBreak) -> list[tuple[str, list[list[float]]]]:
    """Return the matrices that are drawn: base, what was chosen, tail dependence."""
    worst = made.line(made.worst)
    found = [("correlation, base", made.line("base").correlation)]
    if worst.name != "base":
        found.append((f"correlation, stress: {worst.title}", worst.correlation))
    if made.degrees is not None:
        found.append(("tail dependence λ, base", made.tail_dependence))
    return found


def _print_map(
    console: Console, name: str, coins: Sequence[str], matrix: Sequence[Sequence[float]]
) -> None:
    out = table_of(name, *coins)
    for coin, row in zip(coins, matrix):
        cells = []
        for value in row:
            shades = _POSITIVE if value >= 0 else _NEGATIVE
            shade = shades[min(int(abs(value) * len(shades)), len(shades) - 1)]
            cells.append(Text(f" {value:.2f} ", f"white on {shade}"))
        out.add_row(coin, *cells)
    console.print(out)


def _print_curve(console: Console, made: CorrelationBreak) -> None:
    own = made.curve[0].im_usd is not None
    heads = ["ES, t copula", "ES, Gauss copula", "normal ES", "σ"]
    out = table_of("correlation of all pairs, USD", *heads, *(["IM by scenarios"] if own else []))
    step = max(1, (len(made.curve) - 1) // 7)
    rows = made.curve[::step]
    rows = rows if rows[-1] is made.curve[-1] else [*rows, made.curve[-1]]
    for one in rows:
        figures = [one.es_usd, one.es_gauss_usd, one.es_normal_usd, one.sigma_usd]
        figures += [one.im_usd] if one.im_usd is not None else []
        out.add_row(f"{one.correlation:.2f}", *(usd_text(x, 0) for x in figures))
    console.print(out)


def _print_collateral(console: Console, rows: Sequence[WrongWay]) -> None:
    out = table_of("collateral, USD", "value", "ES alone", "falls with the rest, base",
                   "in the stress", "share of its worst")  # fmt: skip
    for one in rows:
        wrong = "bold red" if (one.share or 0.0) >= 0.5 else ""
        out.add_row(
            one.asset,
            usd_text(one.value_usd, 0),
            usd_text(one.alone_usd, 0),
            usd_text(one.base_usd, 0),
            usd_text(one.worst_usd, 0),
            Text(ratio(one.share), wrong),
        )
    console.print(out)


def facts_of(made: CorrelationBreak) -> list[str]:
    """Say what collateral is wrong-way, what the rule-set asks for, and what was assumed."""
    facts = []
    bad = hidden_exposures(made)
    if bad:
        names = ", ".join(one.asset for one in bad)
        lost = sum(one.worst_usd for one in bad)
        verb = "loses" if len(bad) == 1 else "lose"
        facts.append(
            f"Wrong-way collateral: {names} {verb} {usd_text(lost)} USD where positions lose their "
            f"worst {ratio(1.0 - made.level)}; market value overstates what secures them."
        )
    worst = made.line(made.worst)
    verdict = "covers" if made.im_usd >= worst.es_usd else "does not cover"
    facts.append(
        f"The rule-set's initial margin, {usd_text(made.im_usd)} USD, {verdict} the risk margin of "
        f"that correlation ({ratio(made.level)} expected shortfall, {made.days:g} d)."
    )
    facts.append(_copula_words(made))
    sigmas = ", ".join(f"{name} {100 * value:.2f} %" for name, value in made.sigma.items())
    facts.append(
        f"σ over {made.days:g} d: {sigmas}; {made.source}. {made.draws:,} draws, seed {made.seed}; "
        "volatility held."
    )
    return facts


def _copula_words(made: CorrelationBreak) -> str:
    if len(made.coins) < 2:
        return "One coin: the copula has nothing to join."
    if made.degrees is None:
        return "Gaussian copula, as given: extremes part in the end, λ = 0."
    told = f"t copula with ν = {made.degrees:.3g}"
    if made.degrees_low is None or made.degrees_high is None:
        return f"{told}, given or assumed."
    how = "refused" if made.gaussian_refused else "not refused"
    return (
        f"{told}, by maximum likelihood (95 %: {made.degrees_low:.3g} to "
        f"{made.degrees_high:.3g}); a Gaussian copula is {how} at 5 %."
    )


def render_break(title: str, made: CorrelationBreak, *, version: str) -> str:
    """Write the page.

    Parameters
    ----------
    title : str
        Whose, by which rules.
    made : CorrelationBreak
        What is shown.
    version : str
        Of this package, for the footer.
    """
    words = chosen_words(made)
    maps = _maps(made) if len(made.coins) > 1 else []
    cards: list[str] = [
        figure(name[:1].upper() + name[1:], "", heat(made.coins, m)) for name, m in maps
    ]
    if made.curve:
        cards.insert(0, _curve_card(made))
    body = [
        heading("Correlation stress", title, facts_of(made)),
        f'<section id="answer"><h2>{esc(words[:1].upper() + words[1:])}</h2>'
        f'<div class="cards">{join(cards)}</div></section>',
        f'<section id="lines"><h2>Stresses</h2>{_lines(made.lines, made.sigmas)}</section>',
    ]
    if made.collateral:
        body.append(
            '<section id="collateral"><h2>Collateral when it is needed</h2>'
            f"{_collateral(made.collateral)}</section>"
        )
    return page(title, body, version=version, skip=("#answer", "Skip to the answer"))


def _curve_card(made: CorrelationBreak) -> Safe:
    own = made.curve[0].im_usd is not None
    series = {
        "risk margin, t copula": [one.es_usd for one in made.curve],
        "Gaussian copula": [one.es_gauss_usd for one in made.curve],
        "normal, from deltas": [one.es_normal_usd for one in made.curve],
        f"initial margin, {made.ruleset}": [
            one.im_usd if one.im_usd is not None else made.im_usd for one in made.curve
        ],
    }
    said = (
        "The rule-set's scenarios brought to each correlation."
        if own
        else "The rule-set's margin knows no correlation: a flat line."
    )
    axis = [f"{one.correlation:.2f}" for one in made.curve]
    return figure(
        "Margin against the correlation of all pairs",
        f"US dollars. {said}",
        line_chart(axis, series, "US dollars over the correlation"),
        wide=True,
    )


def heat(coins: Sequence[str], matrix: Sequence[Sequence[float]]) -> Safe:
    """Draw a matrix of correlations: the darker the stronger, the hue by sign; with its table."""
    width = (1.0 - _LEFT) / len(coins)
    svg = Svg("heat", 26 + _CELL * len(coins), "Matrix of coins; its figures are in the table.")
    for c, name in enumerate(coins):
        svg.text(_LEFT + (c + 0.5) * width, 16, name, anchor="middle", cls="lbl")
    for r, row in enumerate(matrix):
        top = 26 + r * _CELL
        svg.text(_LEFT - 0.012, top + 21, coins[r], anchor="end", cls="lbl")
        for c, value in enumerate(row):
            left = _LEFT + c * width
            shade = px(round(0.04 + 0.66 * abs(value), 2))
            svg.raw(f'<g class="mark {"gain" if value >= 0 else "loss"}">')
            svg.rect(left + 0.002, top, width - 0.004, _CELL - 2, cls="base")
            svg.rect(left + 0.002, top, width - 0.004, _CELL - 2, cls="tint", fill_opacity=shade)
            svg.text(left + 0.5 * width, top + 21, f"{value:.2f}", anchor="middle", cls="num")
            svg.raw("</g>")
    rows = [[name, *(f"{x:.4f}" for x in row)] for name, row in zip(coins, matrix)]
    heads = [Column("coin", text=True), *(Column(name) for name in coins)]
    return join([svg.markup(), table("Matrix of coins", heads, rows, hidden=True)])


def _lines(lines: Sequence[BreakLine], sigmas: float) -> Safe:
    rows = [
        [
            one.name,
            one.title,
            amount(one.sigma_usd),
            amount(one.es_normal_usd),
            amount(one.es_gauss_usd),
            amount(one.es_usd),
            amount(one.es_error_usd),
            amount(one.shock_usd),
            ", ".join(f"{name} {move(x)}" for name, x in one.shock.items()),
            amount(one.collateral_usd),
        ]
        for one in lines
    ]
    columns = [
        Column("correlation", text=True),
        Column("what", text=True, wrap=True),
        *map(Column, ("σ, USD", "normal ES, USD", "ES Gauss, USD", "ES t, USD", "± s.e.",
                      f"{sigmas:g} σ shock, USD")),
        Column("moves of the shock", text=True, wrap=True),
        Column("collateral falls, USD"),
    ]  # fmt: skip
    return table("Account under each correlation", columns, rows)


def _collateral(lines: Sequence[WrongWay]) -> Safe:
    rows = [
        [
            one.asset,
            amount(one.value_usd),
            amount(one.alone_usd),
            amount(one.base_usd),
            amount(one.worst_usd),
            DASH if one.share is None else percent(one.share),
        ]
        for one in lines
    ]
    heads = ("value, USD", "ES alone, USD", "falls with the rest: base, USD",
             "in the stress, USD", "share of its own worst")  # fmt: skip
    return table("Collateral", [Column("asset", text=True), *map(Column, heads)], rows)
