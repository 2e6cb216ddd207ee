"""The upper half of the report: header, tiles, notes and the four pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crossmargin.analytics import PriceProfile, TailCost
from crossmargin.margin.statement_types import Statement
from crossmargin.reports._bars import COLUMN, MOST, contribution_chart, contributions
from crossmargin.reports._heatmap import scan_charts, unit_of
from crossmargin.reports._price_chart import liquidation_words, price_chart, profile_note
from crossmargin.reports._table import figure
from crossmargin.reports._text import (
    Safe,
    amount,
    count,
    esc,
    health,
    join,
    moment,
    percent,
    scenario,
    signed,
    usd,
)
from crossmargin.reports._waterfall import gauge_chart, waterfall_chart

#: Marks that carry a state without colour.
STATE_MARKS: Mapping[str, str] = {
    "healthy": "●",
    "reduce-only": "◐",
    "liquidation": "▲",
    "bankrupt": "■",
}
STATE_WORDS: Mapping[str, str] = {
    "healthy": "equity covers initial margin",
    "reduce-only": "below initial, above maintenance margin: only risk-reducing trades",
    "liquidation": "equity is below maintenance margin",
    "bankrupt": "equity is below zero",
}


def badge(state: str, venue: str = "") -> Safe:
    """Write a state as a badge: word, mark and colour; the venue's own word beside it."""
    known = state if state in STATE_MARKS else "unknown"
    mark = STATE_MARKS.get(state, "○")
    return Safe(
        f'<span class="badge {known}"><span aria-hidden="true">{mark}</span> {esc(state)}</span>'
        + (f" {esc(venue)}" if venue else "")
    )


def heading(kicker: str, title: str, facts: Sequence[str], warnings: Sequence[str] = ()) -> Safe:
    said = join([Safe(f"<p>{esc(signed(fact))}</p>") for fact in facts])
    warned = join([Safe(f"<p><strong>{esc(warning)}</strong></p>") for warning in warnings])
    return Safe(
        f'<header><p class="kicker">{esc(kicker)}</p><h1>{esc(title)}</h1>{said}{warned}</header>'
    )


def header(made: Statement, title: str) -> Safe:
    """Write the head: who, when, by which rules, and how complete those are."""
    rules = made.ruleset
    facts: list[tuple[str, str]] = [
        ("Market", f"{moment(made.as_of)}, {made.market_source or 'source not stated'}")
    ]
    if made.at != made.as_of:
        facts.append(("Valued at", f"{moment(made.at)}, prices and volatilities unchanged"))
    else:
        facts.append(("Valued at", "the time of the market"))
    facts.append(
        ("Rule-set", f"{rules.id}: {rules.venue}, {rules.title}, from {rules.effective_from}")
    )
    if rules.overrides:
        facts.append(("Set by the user", ", ".join(rules.overrides)))
    said = "".join(f"<div><dt>{esc(k)}</dt><dd>{esc(v)}</dd></div>" for k, v in facts)
    lead = f'<p class="lead">{esc(made.description)}</p>' if made.description else ""
    return Safe(
        f'<header><p class="kicker">{esc(title)}</p><h1>{esc(made.account)}</h1>{lead}'
        f'<dl class="facts">{said}</dl>{_completeness(made)}</header>'
    )


def _completeness(made: Statement) -> Safe:
    rules = made.ruleset
    if rules.complete and not rules.limits:
        return Safe('<p><span class="badge healthy">Every figure has a source</span></p>')
    word = (
        '<span class="badge healthy">Every figure has a source</span>'
        if rules.complete
        else '<span class="badge reduce-only"><span aria-hidden="true">◐</span> '
        f"Rule-set incomplete: {count(len(rules.gaps), 'gap')}</span>"
    )
    gaps = "".join(f"<li>{esc(gap)}</li>" for gap in rules.gaps)
    limits = "".join(f"<li>{esc(limit)}</li>" for limit in rules.limits)
    body = f"<h4>Without a source</h4><ul>{gaps}</ul>" if gaps else ""
    body += f"<h4>Limits of these rules</h4><ul>{limits}</ul>" if limits else ""
    return Safe(f'<details class="gaps"><summary>{word}</summary><div>{body}</div></details>')


def tiles(made: Statement) -> Safe:
    """Write the figures everyone looks for first, and the gauge."""
    t = made.totals
    cut = f"haircut {usd(t.haircut)}" if t.haircut else "no haircut"
    if t.health is None:
        line = "nothing required"
    else:
        line = "equity / MM; 1.0 is the line"
        if len(made.pots) > 1:
            line = "equity / MM of the weakest pot; 1.0 is the line"
    used = percent(t.margin_used) + " of equity" if t.margin_used is not None else ""
    shown: list[tuple[str, str, str]] = [
        ("Equity", usd(t.equity), _equity_words(made)),
        ("Collateral after haircut", usd(t.collateral), cut),
        ("Initial margin (IM)", usd(t.im), _saving_words(made)),
        ("Maintenance margin (MM)", usd(t.mm), used),
        ("Available", usd(t.available), "equity after haircuts − IM"),
        ("Health", health(t.health), line),
    ]
    out = [
        f'<div class="tile"><dt>{esc(k)}</dt><dd>{esc(v)}</dd><dd class="sub">{esc(sub)}</dd></div>'
        for k, v, sub in shown
    ]
    out.append(
        f'<div class="tile"><dt>State</dt><dd>{badge(t.state)}</dd>'
        f'<dd class="sub">{esc(_state_words(made))}</dd></div>'
    )
    gauge = ""
    if t.im or t.mm or t.equity:
        gauge = figure("Equity against the requirements, USD", "", gauge_chart(t), wide=True)
    return Safe(
        f'<section aria-label="Key figures"><dl class="tiles">{"".join(out)}</dl>{gauge}</section>'
    )


def _equity_words(made: Statement) -> str:
    t = made.totals
    parts = [f"balances {amount(t.balances)}"]
    if t.unrealised:
        parts.append(f"unrealised {amount(t.unrealised, sign=True)}")
    if t.option_value:
        parts.append(f"options {amount(t.option_value, sign=True)}")
    return ", ".join(parts)


def _saving_words(made: Statement) -> str:
    t = made.totals
    if t.saving is None:
        return "nothing held that needs margin"
    return f"alone {usd(t.standalone_im)}; pooling saves {percent(t.saving)}"


def _state_words(made: Statement) -> str:
    state = made.totals.state
    words = STATE_WORDS.get(state, "")
    hit = [pot.name for pot in made.pots if pot.state == state]
    if len(made.pots) > 1 and state != "healthy":
        return f"{words} in {', '.join(hit)}"
    return words if len(made.pots) < 2 else f"{words} in every pot"


def notes(made: Statement) -> Safe:
    """Say the notes aloud."""
    if not made.notes:
        return Safe("")
    said = "".join(f"<li>{esc(note)}</li>" for note in made.notes)
    return Safe(
        f'<section class="notes" aria-labelledby="notes"><h2 id="notes">Notes</h2>'
        f"<ul>{said}</ul></section>"
    )


def why(made: Statement, tail: TailCost | None) -> Safe:
    """Write the section that takes the requirement apart: waterfall and contributions."""
    t = made.totals
    if t.saving is None:
        lead = "Nothing held needs margin, so there is nothing to save."
    else:
        lead = (
            "Held one by one the positions and stressed coin balances need "
            f"{usd(t.standalone_im)}, all charges included; "
            f"together they need {usd(t.im)}. Saving = 1 − IM / standalone = {percent(t.saving)}"
            + (", open orders aside." if made.orders else ".")
        )
    moved = any(step.usd for step in made.waterfall)
    parts: list[str] = [waterfall_chart(made.waterfall)] if moved else []
    if tail is not None:
        parts.append(Safe(f'<p class="pair-note">{esc(_tail_words(tail))}</p>'))
    elif t.saving:
        parts.append(
            Safe(
                '<p class="pair-note">The price of the saving: the whole pool stands behind '
                "every position.</p>"
            )
        )
    lines = contributions(made)
    wide = len(lines) > COLUMN
    cards = [figure("From standalone margins to initial margin", lead, *parts, wide=wide)]
    if lines:
        total = sum(line.share for line in lines)
        words = (
            f"Thick bar: share of the initial margin. Thin bar: the margin alone, USD. Hedges "
            f"reach to the left. The shares add up to {usd(total)}."
        )
        if len(lines) > MOST:
            words += f" The {MOST - 1} largest of {len(lines)} are drawn; the table has all."
        chart = contribution_chart(made)
        cards.append(figure("What each position contributes", words, chart, wide=wide))
    return _section("why", "Why this number", cards)


def _tail_words(tail: TailCost) -> str:
    vols = ", ".join(f"{name} {percent(vol, 0)}" for name, vol in tail.vol.items())
    return (
        f"The price of the saving: mean loss of the worst {percent(1 - tail.confidence, 0)} of "
        f"{tail.scenarios:,} scenarios over {tail.horizon_days:g} day is "
        f"{usd(tail.cvar_pooled)} pooled against {usd(tail.cvar_separate)} in separate pots, "
        f"{usd(tail.rise, sign=True)} (Student-t moves, vol {vols}, correlation "
        f"{tail.correlation:g}, seed {tail.seed})."
    )


def scenarios(made: Statement) -> Safe:
    """Write the section of scenario heat maps."""
    scanned = [g for g in made.groups if g.scenarios]
    if not scanned:
        words = (
            "There are no groups to scan."
            if not made.groups
            else f"{made.ruleset.id} charges each position by formula and scans no scenarios."
        )
        return _section("scenarios", "Scenarios", [Safe(f'<p class="none">{esc(words)}</p>')])
    prices = {a.asset: a.price_usd for a in made.inputs.market.assets}
    several = len({g.pot for g in made.groups}) > 1
    cards = []
    for group in scanned:
        name = f"{group.group} in {group.pot}" if several else group.group
        if group.binding is None:
            bound = "No scenario loses, so none binds."
        else:
            bound = f"Binding: {scenario(group.binding)}, ringed."
        lead = (
            f"Profit and loss that counts, of the whole group, {unit_of(group)}. {bound} "
            f"Group requirement: IM {usd(group.im_usd)}, MM {usd(group.mm_usd)}."
        )
        cards.append(figure(name, lead, scan_charts(group, prices.get(group.group)), wide=True))
    said = (
        "Losses are negative and orange, gains blue; the larger the stronger. Prices run down the "
        "page, volatility across."
    )
    if any(any(g.tails) for g in scanned):
        said += " Tails are far moves of which a fraction, the weight, counts."
    note = Safe(f'<p class="section-note">{esc(said)}</p>')
    return _section("scenarios", "Scenarios", cards, note)


def prices(made: Statement, profiles: Sequence[PriceProfile]) -> Safe:
    """Write the section of price charts."""
    lines = {line.underlying: line for line in made.liquidation}
    cards = []
    for profile in profiles:
        line = lines.get(profile.underlying)
        if len(profile.price_usd) < 2:
            said = "The rules cover fewer than two prices, so there is no curve. "
            cards.append(figure(profile.underlying, said + liquidation_words(line)))
            continue
        lead = "All else unmoved. " + liquidation_words(line)
        cards.append(figure(profile.underlying, lead, price_chart(profile, line)))
    if not cards:
        text = "No curve over a price was asked for, or nothing held depends on one."
        return _section("price", "Over the price", [Safe(f'<p class="none">{esc(text)}</p>')])
    said = profile_note(len(made.pots))
    note = Safe(f'<p class="section-note">{said}</p>') if said else Safe("")
    return _section("price", "Equity and margin over the price", cards, note)


def _section(anchor: str, title: str, cards: list[Safe], note: str = "") -> Safe:
    return Safe(
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{esc(title)}</h2>{note}'
        f'<div class="cards">{join(list(cards))}</div></section>'
    )
