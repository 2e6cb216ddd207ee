"""The gauges of an account: health, distance to liquidation in price and σ, time from funding."""

from __future__ import annotations

from crossmargin.analytics import Distance, WatchGauges
from crossmargin.margin import Statement
from crossmargin.reports._svg import Svg, tip
from crossmargin.reports._table import figure
from crossmargin.reports._text import Safe, health, join, percent, usd

#: Health is drawn up to it, and funding up to so many days.
_HEALTH_END, _DAYS_END = 3.0, 30.0


def gauge_cards(made: Statement, found: WatchGauges) -> Safe:
    """Write the section of gauges; distances only where one pot is margined, as sums hide others.

    Source: requirements row B06.
    """
    cards = [figure("Health", _health_words(made), _health_chart(made))]
    margined = [pot for pot in made.pots if pot.mm > 0]
    if len(margined) == 1:
        cards += [
            figure(f"Distance in {one.underlying}", _distance_words(one), _distance_chart(one))
            for one in found.distances
        ]
    cards.append(figure("Funding alone", _funding_words(found), _funding_chart(found)))
    return Safe(
        '<section aria-labelledby="gauges"><h2 id="gauges">How far to liquidation</h2>'
        f'<div class="cards">{join(list(cards))}</div></section>'
    )


def _health_words(made: Statement) -> str:
    if made.totals.health is None:
        return "Nothing is required."
    return f"Equity over maintenance margin is {health(made.totals.health)}; liquidation below 1."


def _health_chart(made: Statement) -> Safe:
    value = made.totals.health
    svg = Svg("gauge", 56, _health_words(made))
    svg.rect(0, 20, 1, 16, cls="track")
    if value is not None:
        kind = "short" if value < 1 else "total"
        svg.raw(f'<g class="mark {kind}"' + tip(f"health\n{health(value)}") + ">")
        svg.rect(0, 20, min(max(value, 0.0), _HEALTH_END) / _HEALTH_END, 16, cls="bar")
        svg.raw("</g>")
    svg.line(1 / _HEALTH_END, 14, 1 / _HEALTH_END, 42, cls="need")
    svg.text(1 / _HEALTH_END, 12, "1: liquidation", anchor="middle", cls="lbl")
    svg.text(1, 52, f"{_HEALTH_END:g} and more", anchor="end", cls="lbl")
    return svg.markup()


def _side(one: Distance, move: float | None, end: float) -> str:
    if move is None:
        return f"no breach to {percent(end, 0, sign=True)}"
    sigmas = one.days_moves(move)
    said = percent(move, 1, sign=True)
    return said if sigmas is None else f"{said}, {sigmas:.1f} σ of a day"


def _distance_words(one: Distance) -> str:
    now = f"{one.underlying} at {usd(one.price_now_usd)}"
    return f"{now}: down {_side(one, one.down, one.low)}; up {_side(one, one.up, one.high)}."


def _distance_chart(one: Distance) -> Safe:
    svg = Svg("gauge", 56, _distance_words(one))
    wide = one.high - one.low

    def at(move: float) -> float:
        return (move - one.low) / wide

    left = at(one.low if one.down is None else one.down)
    right = at(one.high if one.up is None else one.up)
    svg.rect(0, 20, 1, 16, cls="track")
    svg.raw('<g class="mark total"' + tip(f"safe\n{_distance_words(one)}") + ">")
    svg.rect(left, 20, right - left, 16, cls="bar")
    svg.raw("</g>")
    svg.line(at(0.0), 14, at(0.0), 42, cls="need")
    svg.text(at(0.0), 12, "today", anchor="middle", cls="lbl")
    svg.text(0, 52, percent(one.low, 0, sign=True), cls="lbl")
    svg.text(1, 52, percent(one.high, 0, sign=True), anchor="end", cls="lbl")
    return svg.markup()


def _funding_words(found: WatchGauges) -> str:
    way = found.runway
    left = f" Without a rate: {', '.join(way.without_rate)}." if way.without_rate else ""
    if way.hours is None:
        got = f"Funding brings {usd(way.usd_per_hour)} an hour" if way.usd_per_hour > 0 else ""
        return f"{got or 'Funding costs nothing'}: no end from it.{left}"
    return (
        f"Funding costs {usd(-way.usd_per_hour)} an hour at today's rates: the line is met in "
        f"{way.hours / 24:,.1f} days.{left}"
    )


def _funding_chart(found: WatchGauges) -> Safe:
    hours = found.runway.hours
    share = 1.0 if hours is None else min(hours / 24.0 / _DAYS_END, 1.0)
    svg = Svg("gauge", 56, _funding_words(found))
    svg.rect(0, 20, 1, 16, cls="track")
    svg.raw('<g class="mark total"' + tip(f"funding\n{_funding_words(found)}") + ">")
    svg.rect(0, 20, share, 16, cls="bar")
    svg.raw("</g>")
    svg.text(0, 52, "today", cls="lbl")
    svg.text(1, 52, f"{_DAYS_END:g} days and more", anchor="end", cls="lbl")
    return svg.markup()
