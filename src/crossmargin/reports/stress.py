"""Stress: tables for the terminal, and a page with losses, ladder, map and reverse stress."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from crossmargin.analytics import Adequacy, LocationLine, ReverseStress, StressReport, StressRow
from crossmargin.reports._sections import heading
from crossmargin.reports._svg import Svg, px, span, tip
from crossmargin.reports._table import Column, figure, table
from crossmargin.reports._text import (
    DASH,
    NBSP,
    Safe,
    among,
    amount,
    esc,
    join,
    move,
    percent,
    signed,
    usd,
)
from crossmargin.reports._text import health as health_text
from crossmargin.reports.html import page
from crossmargin.reports.terminal import STATE_STYLE, health, ratio, table_of
from crossmargin.reports.terminal import usd as usd_text

_ROW = 40.0
_CELL, _LEFT = 30.0, 0.13


def print_stress(
    console: Console,
    title: str,
    made: StressReport,
    rungs: Adequacy,
    nearest: ReverseStress | None,
    places: Sequence[LocationLine] = (),
) -> None:
    """Print scenarios by loss, the ladder, where the line is met, and collateral by location."""
    console.print(Text(title, "bold"))
    lines = table_of("scenario, USD", "loss", "closing", "loss after cost", "equity", "IM",
                     "equity/IM", "health", "state", "top-up to MM", "chosen")  # fmt: skip
    for row in [made.now, *_by_loss(made)]:
        if row.error is not None:
            lines.add_row(row.scenario, "refused")
            continue
        lines.add_row(
            row.scenario,
            usd_text(row.loss_usd, 0),
            usd_text(row.closing_cost_usd, 0),
            usd_text(row.loss_after_cost_usd, 0),
            usd_text(row.equity_im_usd, 0),
            usd_text(row.im_usd, 0),
            "–" if row.ratio_im is None else f"{row.ratio_im:,.2f}",
            health(row.health),
            Text(row.state, STATE_STYLE.get(row.state, "")),
            usd_text(row.top_up_mm_usd, 0),
            row.chosen,
        )
    console.print(lines)
    for row in made.rows:
        if row.error is not None:
            console.print(Text(f"{row.scenario}: {row.error}", "dim"))
    ladder = table_of(f"ladder, {_coins(rungs.coin)}", "equity, USD", "IM, USD", "equity/IM",
                      "health", "state", "top-up to IM", "top-up to MM")  # fmt: skip
    for row in rungs.ladder:
        ladder.add_row(
            row.scenario,
            usd_text(row.equity_im_usd, 0),
            usd_text(row.im_usd, 0),
            "–" if row.ratio_im is None else f"{row.ratio_im:,.2f}",
            health(row.health),
            Text(row.state, STATE_STYLE.get(row.state, "")),
            usd_text(row.top_up_im_usd, 0),
            usd_text(row.top_up_mm_usd, 0),
        )
    console.print(ladder)
    meets = table_of("line met when this moves alone", "today, USD", "down to", "move", "up to",
                     "move")  # fmt: skip
    for one in rungs.reverse:
        down = "none" if one.down_move is None else usd_text(one.down_usd)
        up = "none" if one.up_move is None else usd_text(one.up_usd)
        name = "all coins together" if one.coin == "*" else one.coin
        meets.add_row(name, usd_text(one.price_usd), down, ratio(one.down_move, 2), up,
                      ratio(one.up_move, 2))  # fmt: skip
    console.print(meets)
    if any(place.location for place in places):
        _print_places(console, places)
    if nearest is not None:
        console.print(Text(reverse_words(nearest)))
    console.print(Text(worst_words(made), "bold"))
    console.print(Text(model_words(made), "dim"))


def _print_places(console: Console, places: Sequence[LocationLine]) -> None:
    lines = table_of("collateral at", "counts, USD", "share", "does not count", "health without",
                     "state without")  # fmt: skip
    for place in places:
        gone = place.without
        lines.add_row(
            place.location or "(not named)",
            usd_text(place.counted_usd, 0),
            ratio(place.share),
            usd_text(place.uncounted_usd, 0),
            "–" if gone is None else health(gone.health),
            "–" if gone is None else gone.state,
        )
    console.print(lines)


def _coins(name: str) -> str:
    return "all coins" if name == "*" else name


def _by_loss(made: StressReport) -> list[StressRow]:
    """Largest loss first; what was refused last."""
    return sorted(made.rows, key=lambda row: (row.error is not None, -row.loss_after_cost_usd))


def worst_words(made: StressReport) -> str:
    """Say what the worst case is."""
    known = sum(row.error is None for row in made.rows)
    if made.worst_loss_usd <= 0:
        return f"worst case: none of {known} scenarios loses anything"
    row = next(r for r in made.rows if r.scenario == made.worst)
    first = f"worst case of {known} scenarios: {row.scenario} ({row.title}) loses"
    first += f" {usd_text(row.loss_after_cost_usd)} USD"
    if row.closing_cost_usd:
        first += f", {usd_text(row.closing_cost_usd)} USD of it the cost of closing"
    return f"{first}; {made.breaches} of {known} take a pot below its line"


def model_words(made: StressReport) -> str:
    """Say what was assumed."""
    m = made.model
    sigmas = ", ".join(f"{name} {100 * value:.2f} %" for name, value in m.sigma.items())
    return (
        f"daily σ {sigmas or 'none'}, correlation {m.correlation:g}; closing costs "
        f"{100 * made.costs.rate:g} % of delta notional and {made.costs.vol_points:g} volatility "
        "points (house)"
    )


def reverse_words(made: ReverseStress) -> str:
    """Say what the smallest move that meets the line is."""
    if made.sigma is None:
        if made.breached_now:
            return f"reverse stress: {', '.join(made.breached_now)} is below its line today"
        return "reverse stress: no joint move within the range meets the line"
    moves = ", ".join(f"{name} {100 * x:+.2f} %" for name, x in made.moves.items())
    how = (
        "exact: the excess is affine in the moves"
        if made.method == "affine"
        else f"the best of {made.starts} directions"
    )
    return (
        f"reverse stress: the line is met {made.sigma:.2f} σ away, at {moves} (pot {made.pot}; "
        f"{how})"
    )


def render_stress(
    title: str,
    facts: Sequence[str],
    made: StressReport,
    rungs: Adequacy,
    nearest: ReverseStress | None,
    places: Sequence[LocationLine],
    *,
    version: str,
) -> str:
    """Write the stress as a page.

    Parameters
    ----------
    title, facts
        Whose, by which rules.
    made, rungs, nearest, places
        What is shown; `nearest` may be None.
    version : str
        Of this package, for the footer.
    """
    words = worst_words(made)
    said = ""
    if nearest is not None:
        found = reverse_words(nearest)
        said = f'<p class="section-note">{esc(signed(found[:1].upper() + found[1:]))}.</p>'
    body = [
        heading("Stress", title, [*facts, model_words(made)]),
        f'<section id="answer"><h2>{esc(words[:1].upper() + words[1:])}</h2>{said}'
        '<div class="cards">'
        + figure(
            "Loss by scenario",
            "Fall of equity at market; the cost of closing pots that fall below their line is "
            "stacked on it. The line marks today's equity.",
            loss_chart(made),
            wide=True,
        )
        + figure(
            f"Health over moves of {_coins(rungs.coin)} and volatility",
            "Least equity / MM of the pots; 1 is the line.",
            health_map(rungs),
            wide=True,
        )
        + "</div></section>",
        f'<section id="ladder"><h2>Coverage ladder</h2>{_ladder(rungs)}{_meets(rungs)}</section>',
        f'<section id="scenarios"><h2>Scenarios</h2>{_scenarios(made)}</section>',
    ]
    if any(place.location for place in places):
        body.append(
            f'<section id="places"><h2>Collateral by location</h2>{_places(places)}</section>'
        )
    return page(title, body, version=version, skip=("#answer", "Skip to the answer"))


def loss_chart(made: StressReport) -> Safe:
    """Draw losses as bars, the largest first, against today's equity."""
    rows = [row for row in _by_loss(made) if row.error is None]
    equity = made.now.equity_mm_usd
    low, high = span([equity, *(x for r in rows for x in (r.loss_usd, r.loss_after_cost_usd))])
    scale = high - low

    def at(value: float) -> float:
        return (value - low) / scale

    said = ", ".join(f"{row.scenario} {usd(row.loss_after_cost_usd)}" for row in rows)
    svg = Svg("bars", _ROW * len(rows) + 22, f"Loss by scenario: {said}.")
    for k, row in enumerate(rows):
        top = k * _ROW
        kind = "rise" if row.loss_after_cost_usd > 0 else "fall"
        tail = f" · {row.state}" if row.breached else ""
        words = f"{row.title}\nloss {usd(row.loss_usd)}\nclosing {usd(row.closing_cost_usd)}"
        svg.raw(f'<g class="mark {kind}"{tip(words)}>')
        svg.rect(0, top, 1, _ROW - 2, cls="hit")
        svg.text(0, top + 13, row.scenario, cls="lbl")
        figures = among(row.loss_after_cost_usd, high) + " USD" + tail
        svg.text(1, top + 13, figures, anchor="end", cls="num")
        left, end = sorted((at(0.0), at(row.loss_usd)))
        svg.rect(left, top + 19, end - left, 11, cls="bar")
        if row.closing_cost_usd:
            start, stop = at(row.loss_usd), at(row.loss_after_cost_usd)
            svg.rect(start, top + 19, stop - start, 11, cls="alone")
        svg.line(at(0.0), top + 18, at(0.0), top + 31, cls="zero")
        # Only beside the bars: drawn through, it would cross the figures on a narrow page.
        svg.line(at(equity), top + 17, at(equity), top + 32, cls="need")
        svg.raw("</g>")
    bottom = _ROW * len(rows)
    anchor = "start" if at(equity) < 0.3 else "end" if at(equity) > 0.7 else "middle"
    svg.text(at(equity), bottom + 16, f"equity today {amount(equity)}", anchor=anchor, cls="lbl")
    return svg.markup()


def health_map(rungs: Adequacy) -> Safe:
    """Draw health over price moves (down the page) and volatility (across)."""
    moves, vols = rungs.map_moves, rungs.map_vols
    if not (moves and vols):
        return Safe("")
    width = (1.0 - _LEFT) / len(vols)
    ordered = sorted(range(len(moves)), key=lambda k: -moves[k])
    svg = Svg("heat", 26 + _CELL * len(moves), "Health over price moves and volatility.")
    for c, vol in enumerate(vols):
        name = "vol same" if vol == 0 else f"vol {move(vol)}"
        svg.text(_LEFT + (c + 0.5) * width, 16, name, anchor="middle", cls="lbl")
    for r, m in enumerate(ordered):
        top = 26 + r * _CELL
        label = move(moves[m]) if moves[m] else "0" + NBSP + "%"
        svg.text(_LEFT - 0.012, top + 19, label, anchor="end", cls="lbl")
        for c in range(len(vols)):
            _health_cell(svg, _LEFT + c * width, top, width, rungs.map_health[c][m])
    rows = [
        [move(moves[m]), *(health_text(rungs.map_health[c][m]) for c in range(len(vols)))]
        for m in ordered
    ]
    heads = [Column("price", text=True), *(Column(f"vol {move(v)}") for v in vols)]
    return join([svg.markup(), table("Health over moves", heads, rows, hidden=True)])


def _health_cell(svg: Svg, left: float, top: float, width: float, value: float | None) -> None:
    below = value is not None and value < 1.0
    # Distance from the line on a logarithm: 0.5 and 2 are as dark.
    far = 0.0 if value is None else min(1.0, abs(math.log2(max(value, 0.05))) / 3.0)
    shade = px(round(0.06 + 0.5 * far, 2)) if value is not None else "0"
    svg.raw(f'<g class="mark {"loss" if below else "gain"}">')
    svg.rect(left + 0.002, top, width - 0.004, _CELL - 2, cls="base")
    svg.rect(left + 0.002, top, width - 0.004, _CELL - 2, cls="tint", fill_opacity=shade)
    text = DASH if value is None else health_text(value)
    svg.text(left + 0.5 * width, top + 19, text, anchor="middle", cls="num")
    svg.raw("</g>")


def _ladder(rungs: Adequacy) -> Safe:
    rows = [
        [
            row.scenario,
            amount(row.equity_im_usd),
            amount(row.im_usd),
            DASH if row.ratio_im is None else f"{row.ratio_im:,.2f}",
            health_text(row.health),
            row.state,
            amount(row.top_up_im_usd),
            amount(row.top_up_mm_usd),
        ]
        if row.error is None
        else [row.scenario, *([DASH] * 7)]
        for row in rungs.ladder
    ]
    heads = ("equity, USD", "IM, USD", "equity / IM", "health", "state", "top-up to IM, USD",
             "top-up to MM, USD")  # fmt: skip
    columns = [Column(f"move of {_coins(rungs.coin)}", text=True), *map(Column, heads)]
    return table("Coverage by move", columns, rows)


def _meets(rungs: Adequacy) -> Safe:
    rows = [
        [
            "all coins together" if one.coin == "*" else one.coin,
            DASH if one.price_usd is None else amount(one.price_usd),
            "none" if one.down_move is None else percent(one.down_move, 2, sign=True),
            DASH if one.down_usd is None else amount(one.down_usd),
            "none" if one.up_move is None else percent(one.up_move, 2, sign=True),
            DASH if one.up_usd is None else amount(one.up_usd),
        ]
        for one in rungs.reverse
    ]
    heads = ("today, USD", "down by", "to, USD", "up by", "to, USD")
    columns = [Column("line met when this moves alone", text=True), *map(Column, heads)]
    return table("Reverse stress in one factor", columns, rows)


def _scenarios(made: StressReport) -> Safe:
    rows = []
    for row in _by_loss(made):
        if row.error is not None:
            rows.append([row.scenario, row.error, *([DASH] * 7)])
            continue
        moves = ", ".join(f"{k} {move(v)}" for k, v in row.moves.items())
        rows.append(
            [
                row.scenario,
                row.title,
                "; ".join(x for x in (row.chosen, moves) if x) or DASH,
                amount(row.loss_usd),
                amount(row.closing_cost_usd),
                amount(row.equity_im_usd),
                amount(row.im_usd),
                health_text(row.health),
                row.state,
            ]
        )
    columns = [
        Column("scenario", text=True),
        Column("what", text=True, wrap=True),
        Column("moves", text=True, wrap=True),
        *map(Column, ("loss, USD", "closing, USD", "equity, USD", "IM, USD", "health", "state")),
    ]
    return table("Scenarios, the largest loss first", columns, rows)


def _places(places: Sequence[LocationLine]) -> Safe:
    rows = [
        [
            place.location or "not named",
            ", ".join(place.assets),
            amount(place.counted_usd),
            percent(place.share),
            amount(place.uncounted_usd),
            DASH if place.without is None else health_text(place.without.health),
            DASH if place.without is None else place.without.state,
        ]
        for place in places
    ]
    columns = [
        Column("location", text=True),
        Column("assets", text=True, wrap=True),
        *map(Column, ("counts, USD", "share", "does not count, USD", "health without",
                      "state without")),
    ]  # fmt: skip
    return table("Collateral by location", columns, rows)
