"""A margined book, and a change of rules over one, as pages that need nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from crossmargin.analytics import (
    AccountRow,
    BookImpact,
    BookSummary,
    ChangedAccount,
    FailureRow,
    RulesetDiff,
)
from crossmargin.reports._sections import badge, heading
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import (
    DASH,
    Safe,
    amount,
    column_decimals,
    esc,
    health,
    join,
    moment,
    number,
    percent,
)
from crossmargin.reports.book import POTS_SAID, STATE_MEANS, share_words
from crossmargin.reports.html import page
from crossmargin.reports.ruleset_changes import relative_words, source_words, value_words

_ACCOUNT = (
    Column("account", text=True),
    Column("equity, USD"),
    Column("IM, USD"),
    Column("MM, USD"),
    Column("excess over IM, USD"),
    Column("excess over MM, USD"),
    Column("health"),
    Column("share of IM"),
    Column("state", text=True),
)


def render_book(made: BookSummary, *, version: str) -> str:
    """Write a margined book as a page.

    Parameters
    ----------
    made : BookSummary
        What is shown.
    version : str
        Of this package, for the footer.

    Returns
    -------
    str
        A whole HTML document that needs nothing else.
    """
    rules = made.ruleset
    where = f"{made.market}, " if made.market else ""
    facts = [
        f"Rule-set {rules.id}: {rules.title}, hash {rules.hash[:16]}",
        f"Market {where}{moment(made.as_of)}"
        + (f", valued at {moment(made.at)}" if made.at != made.as_of else ""),
    ]
    body = [
        heading("Book", f"{made.accounts:,} accounts under {rules.id}", facts, made.warnings),
        _section("states", "Accounts by state", _state_table(made)),
        _section("totals", "Totals of the accounts computed, USD", _total_table(made)),
        _section(
            "excess",
            "Lowest excess over maintenance margin",
            Safe(
                table("Accounts by excess over MM", _ACCOUNT, _account_rows(made.worst_by_excess))
                + f'<p class="small">{esc(POTS_SAID)}</p>'
            ),
        ),
        _section(
            "health",
            "Lowest health (equity / MM of the weakest pot; 1.0 is the line)",
            table("Accounts by health", _ACCOUNT, _account_rows(made.worst_by_health)),
        ),
        _section("concentration", "Concentration of initial margin", _concentration(made)),
        _section("notional", "Positions by underlying", _notional(made)),
    ]
    if made.failures:
        said = _failures(made.failures, "Accounts that could not be computed")
        body.append(_section("failures", "Accounts that could not be computed", said))
    if rules.gaps:
        gaps = join([Safe(f"<li>{esc(gap)}</li>") for gap in rules.gaps])
        body.append(_section("gaps", "Without a source", Safe(f"<ul>{gaps}</ul>")))
    return page(
        f"Book: {made.accounts:,} accounts under {rules.id}",
        body,
        version=version,
        skip=("#states", "Skip to accounts by state"),
    )


def render_diff(made: RulesetDiff, *, version: str) -> str:
    """Write the difference of two rule-sets as a page; see :func:`render_book`."""
    a, b = made.before, made.after
    facts = [
        f"{name}: {side.id}, {side.title}, in force from {side.effective_from}, hash "
        f"{side.hash[:16]}"
        + (f", with {', '.join(side.overrides)} supplied" if side.overrides else "")
        for name, side in (("A", a), ("B", b))
    ]
    columns = [
        Column("parameter", text=True, wrap=True),
        Column("A", wrap=True),
        Column("B", wrap=True),
        Column("change"),
        Column("source", text=True, wrap=True),
    ]
    rows = [
        [
            c.path,
            value_words(c.before, missing=c.added),
            value_words(c.after, missing=c.removed),
            relative_words(c.before, c.after),
            source_words(c),
        ]
        for c in made.changes
    ]
    changes = table("Parameters that differ", columns, rows) if rows else Safe("<p>None.</p>")
    body: list[str] = [
        heading("Change of rules", f"{a.id} to {b.id}", facts, ()),
        _section(
            "changes",
            f"{len(rows):,} parameter{' differs' if len(rows) == 1 else 's differ'}",
            changes,
        ),
    ]
    if made.impact is not None:
        body += _impact(made.impact)
    return page(
        f"Change of rules: {a.id} to {b.id}",
        body,
        version=version,
        skip=("#changes", "Skip to the parameters"),
    )


def _section(key: str, title: str, inner: Safe) -> Safe:
    return Safe(
        f'<section aria-labelledby="{key}"><h2 id="{key}">{esc(title)}</h2>{inner}</section>'
    )


def _state(state: str) -> Safe:
    return badge(state)


def _state_table(made: BookSummary) -> Safe:
    columns = [
        Column("state", text=True),
        Column("accounts"),
        Column("share"),
        Column("equity, USD"),
        Column("IM, USD"),
        Column("MM, USD"),
        Column("MM − equity where lacking, USD"),
        Column("meaning", text=True, wrap=True),
    ]
    rows = []
    for row in made.states:
        nothing = row.state == "failed" or not row.accounts
        figures = (row.equity_usd, row.im_usd, row.mm_usd, row.deficit_mm_usd)
        rows.append(
            [
                _state(row.state),
                f"{row.accounts:,}",
                percent(row.share, 2),
                *(DASH if nothing else amount(value) for value in figures),
                STATE_MEANS.get(row.state, ""),
            ]
        )
    return table("Accounts by state", columns, rows)


def _total_table(made: BookSummary) -> Safe:
    t = made.totals
    columns = [Column("what", text=True), Column("IM, USD"), Column("MM, USD")]
    rows = [
        [part.name.replace("_", " "), amount(part.im_usd), amount(part.mm_usd)]
        for part in made.components
    ]
    rows.append(["requirement, combined", amount(t.im_usd), amount(t.mm_usd)])
    rows.append(["equity (after haircut for IM)", amount(t.equity_im_usd), amount(t.equity_usd)])
    total = ["excess", amount(t.equity_im_usd - t.im_usd), amount(t.equity_usd - t.mm_usd)]
    return table("Totals by component", columns, rows, total=total)


def _account_rows(rows: Sequence[AccountRow]) -> list[list[str]]:
    figures = [[r.equity_usd, r.im_usd, r.mm_usd, r.excess_im_usd, r.excess_mm_usd] for r in rows]
    digits = [column_decimals(list(column)) for column in zip(*figures, strict=True)]
    return [
        [
            row.account,
            *(number(x, d) for x, d in zip(values, digits, strict=True)),
            health(row.health),
            percent(row.im_share, 2),
            _state(row.state),
        ]
        for row, values in zip(rows, figures, strict=True)
    ]


def _concentration(made: BookSummary) -> Safe:
    found = made.concentration
    if found.hhi is None or found.equal_accounts is None:
        return Safe("<p>No account owes initial margin.</p>")
    said = (
        f"Of all initial margin: {share_words(found)}. HHI {found.hhi:.3g}: as concentrated as "
        f"{found.equal_accounts:,.0f} equal accounts."
    )
    rows = _account_rows(found.largest)
    return Safe(f"<p>{esc(said)}</p>{table('Largest accounts by initial margin', _ACCOUNT, rows)}")


def _notional(made: BookSummary) -> Safe:
    columns = [
        Column("underlying", text=True),
        Column("net notional, USD"),
        Column("gross notional, USD"),
        Column("net / gross"),
        Column("held by"),
    ]
    rows = [
        [
            row.underlying,
            amount(row.net_usd),
            amount(row.gross_usd),
            percent(row.net_usd / row.gross_usd),
            f"{row.accounts:,}",
        ]
        for row in made.underlyings
    ]
    lost = ""
    if made.unpriced:
        lost = f"<p>Without a price, left out: {esc(', '.join(made.unpriced))}.</p>"
    return Safe(table("Notional by underlying", columns, rows) + lost)


def _failures(rows: Sequence[FailureRow], caption: str) -> Safe:
    columns = [
        Column("code", text=True),
        Column("accounts"),
        Column("for example", text=True),
        Column("why", text=True, wrap=True),
    ]
    cells = [[r.code, f"{r.accounts:,}", r.account, r.message] for r in rows]
    return table(caption, columns, cells)


def _impact(made: BookImpact) -> list[Safe]:
    where = f"{made.market}, " if made.market else ""
    said = (
        f"{made.compared:,} of {made.accounts:,} accounts compared in the market of "
        f"{where}{moment(made.as_of)}; {made.lost:,} that A computes B refuses, {made.gained:,} "
        f"that A refuses B computes; {made.rejected:,} set aside when the book was read."
    )
    lines = table(
        "Accounts below a line",
        [Column("below", text=True), *map(Column, ("under A", "under B", "newly", "no longer"))],
        [
            [c.line, f"{c.before:,}", f"{c.after:,}", f"{c.newly:,}", f"{c.no_longer:,}"]
            for c in made.crossings
        ],
    )
    body = [
        _section("impact", "What B would do to the book", Safe(f"<p>{esc(said)}</p>{lines}")),
        _section("amounts", "Requirement, USD", _amounts(made)),
    ]
    if made.quantiles:
        body.append(_section("quantiles", "Change over accounts", _quantiles(made)))
    for key, title, rows in (
        ("worst", "Largest rise of initial margin", made.worst),
        ("liquidated", "Newly below maintenance margin", made.newly_liquidated),
    ):
        if rows:
            body.append(_section(key, title, _changed(rows, title)))
    for key, title, failed in (
        ("failed-a", "Refused under A", made.failed_before),
        ("failed-b", "Refused under B", made.failed_after),
    ):
        if failed:
            body.append(_section(key, title, _failures(failed, title)))
    return body


def _amounts(made: BookImpact) -> Safe:
    a, b = made.totals_before, made.totals_after
    columns = [
        Column("what", text=True),
        *map(Column, ("IM, A", "IM, B", "change", "MM, A", "MM, B", "change")),
    ]
    rows = [
        [
            c.name.replace("_", " "),
            *_step(c.im_before_usd, c.im_after_usd),
            *_step(c.mm_before_usd, c.mm_after_usd),
        ]
        for c in made.components
    ]
    total = ["combined", *_step(a.im_usd, b.im_usd), *_step(a.mm_usd, b.mm_usd)]
    return table("Requirement by component", columns, rows, total=total)


def _step(before: float | None, after: float | None) -> list[str]:
    ends = [DASH if x is None else amount(x) for x in (before, after)]
    if before is None or after is None:
        return [*ends, DASH]
    return [*ends, amount(after - before, sign=True)]


def _quantiles(made: BookImpact) -> Safe:
    columns = [
        Column("share of accounts below", text=True),
        *map(Column, ("change of IM, USD", "of IM under A", "change of MM, USD")),
    ]
    rows = [
        [
            percent(q.share, 0),
            amount(q.im_change_usd, sign=True),
            percent(q.im_change_rel, 2, sign=True),
            amount(q.mm_change_usd, sign=True),
        ]
        for q in made.quantiles
    ]
    said = f"{made.rises:,} accounts owe more initial margin, {made.falls:,} less."
    return Safe(f"<p>{esc(said)}</p>{table('Quantiles of the change', columns, rows)}")


def _changed(rows: Sequence[ChangedAccount], caption: str) -> Safe:
    columns = [
        Column("account", text=True),
        *map(
            Column,
            ("equity, USD", "IM, A", "IM, B", "change, USD", "MM, A", "MM, B", "health, A"),
        ),
        Column("health, B"),
        Column("state", text=True),
    ]
    cells = [
        [
            r.account,
            amount(r.equity_usd),
            amount(r.im_before_usd),
            amount(r.im_after_usd),
            amount(r.im_after_usd - r.im_before_usd, sign=True),
            amount(r.mm_before_usd),
            amount(r.mm_after_usd),
            health(r.health_before),
            health(r.health_after),
            _state(r.state_after)
            if r.state_before == r.state_after
            else Safe(f"{_state(r.state_before)} → {_state(r.state_after)}"),
        ]
        for r in rows
    ]
    return table(caption, columns, cells)
