"""The margin report: one HTML file that needs nothing else.

The charts are SVG written by this package, not plotly: plotly's script alone is several
megabytes in every file, draws nothing until it has run, and prints a screenshot of itself. Here
a report is a tenth of that or less, is complete without a script, keeps its type size from a
phone to paper, prints sharply in black and white, and is the same bytes for the same statement.
The one small script adds tooltips, the light and dark switch and the "save" button.

The page forbids itself every connection (``Content-Security-Policy: default-src 'none'``), and
allows exactly its own style and script by their SHA-256, so that nothing in an account file can
run even if it were to slip through the escaping.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

import msgspec

from crossmargin.analytics import ComparisonRow, PriceProfile, TailCost, WatchGauges
from crossmargin.margin import Statement
from crossmargin.reports import _detail as detail
from crossmargin.reports import _sections as sections
from crossmargin.reports._gauges import gauge_cards
from crossmargin.reports._text import Safe, esc

_PATTERNS = (
    '<svg class="patterns" width="0" height="0" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="6" class="hatch"/></pattern>'
    "</defs></svg>"
)


def render_report(
    statement: Statement,
    profiles: Sequence[PriceProfile],
    *,
    comparison: Sequence[Statement | ComparisonRow] = (),
    title: str | None = None,
    gauges: WatchGauges | None = None,
) -> str:
    """Write the margin report of one account.

    Parameters
    ----------
    statement : Statement
        What is reported.
    profiles : sequence of PriceProfile
        Equity and margin over the price, one per underlying; may be empty.
    comparison : sequence of Statement or ComparisonRow
        The same account under other rule-sets. Rows may carry the tail cost that belongs beside
        a saving, and the reason for a refusal.
    title : str, optional
        Line above the account's name; default ``Margin report``.
    gauges : WatchGauges, optional
        Distance to liquidation and funding, drawn as gauges.

    Returns
    -------
    str
        A whole HTML document: no link, no request, no storage; the same input gives the same
        text. It contains the statement as JSON, for whoever wants to compute it again.
    """
    head = title if title is not None else "Margin report"
    tail = _own_tail(statement, comparison)
    body = [
        sections.header(statement, head),
        sections.tiles(statement),
        sections.notes(statement),
        sections.why(statement, tail),
        Safe("") if gauges is None else gauge_cards(statement, gauges),
        sections.scenarios(statement),
        sections.prices(statement, profiles),
        detail.comparison(statement, comparison) if comparison else Safe(""),
        detail.all_tables(statement),
    ]
    return page(
        f"{head}: {statement.account}, {statement.ruleset.id}",
        body,
        version=statement.hashes.code_version,
        skip=("#why", "Skip to why"),
        data=f'<script type="application/json" id="statement">{_embedded(statement)}</script>\n',
    )


def page(
    title: str,
    body: Sequence[str],
    *,
    version: str,
    skip: tuple[str, str],
    data: str = "",
) -> str:
    """Write a whole document around some sections: style, script, policy and nothing from outside.

    Parameters
    ----------
    title : str
        Of the document.
    body : sequence of str
        Sections, as HTML.
    version : str
        Of this package, for the footer.
    skip : tuple of (str, str)
        Target and text of the first link.
    data : str
        Element with the data behind the page.
    """
    style, script = _asset("report.css"), _asset("report.js")
    policy = (
        f"default-src 'none'; style-src '{_sha256(style)}'; script-src '{_sha256(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{esc(title)}</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="{skip[0]}">{esc(skip[1])}</a>\n'
        '<button type="button" id="theme" hidden>Dark</button>\n'
        f"{_PATTERNS}\n<main>\n" + "\n".join(body) + "\n</main>\n"
        f"<footer>crossmargin {esc(version)}. Amounts in US dollars unless "
        "they say otherwise.</footer>\n"
        '<div id="tip" role="status" hidden></div>\n'
        f"{data}<script>{script}</script>\n</body>\n</html>\n"
    )


def _own_tail(
    statement: Statement, comparison: Sequence[Statement | ComparisonRow]
) -> TailCost | None:
    """Find the tail cost of the statement's own rule-set among the rows."""
    for row in comparison:
        if isinstance(row, ComparisonRow) and row.ruleset == statement.ruleset.id:
            return row.tail
    return None


def _embedded(statement: Statement) -> str:
    """Encode the statement so that nothing in it can end the element it stands in."""
    text = msgspec.json.encode(statement).decode()
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
