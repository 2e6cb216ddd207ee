"""Letters to the holder of an account, as text and as a page."""

from __future__ import annotations

from collections.abc import Sequence

from crossmargin.accounts.letters import ClosedLine, Letter
from crossmargin.reports._sections import heading
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import DASH, Safe, esc
from crossmargin.reports.html import page

_TITLES = {
    "warning": "your equity is near the initial margin",
    "reduce-only": "your equity is below the initial margin",
    "liquidating": "your equity is below the maintenance margin",
}


def title_of(letter: Letter) -> str:
    """Return what a letter is about, in a line."""
    where = f"{letter.account}/{letter.pot}"
    if letter.kind == "closing":
        return f"Positions of {where} were closed"
    return f"Margin call for {where}: {_TITLES.get(letter.state, letter.state)}"


def letter_text(letter: Letter) -> str:
    """Write a letter as plain text, lines of at most a hundred signs where names allow."""
    head = [
        title_of(letter),
        f"{letter.time}, to {letter.owner} (entry {letter.entry:,} of the ledger)",
        "",
    ]
    return "\n".join([*head, *_body(letter), ""])


def _body(letter: Letter) -> list[str]:
    if letter.kind == "margin call":
        unit = letter.asset
        lines = [
            f"State of the account: {letter.state}.",
            f"You have {letter.equity} {unit}; the requirement is {letter.required} {unit}.",
            f"Lacking: {letter.lacking} {unit}.",
            f"To be mended by: {_until(letter)}.",
        ]
        return [*lines, f"Otherwise: {letter.otherwise}"] if letter.otherwise else lines
    left = ", ".join(f"{amount} {asset}" for asset, amount in letter.wallet.items()) or "nothing"
    return [
        "What was done:",
        *(f"  {_line(line)}" for line in letter.lines),
        f"State of the account: {letter.state}.",
        f"Left in the wallet: {left}.",
    ]


def _until(letter: Letter) -> str:
    return letter.until or "now: no time is given"


def _line(line: ClosedLine) -> str:
    said = line.what
    if line.instrument is not None:
        said += f" {line.quantity} of {line.instrument} at {line.price}"
    said += f", {line.amount} {line.asset}"
    return said if line.fee == "0" else f"{said}, fee {line.fee} {line.asset}"


def render_letters(account: str, letters: Sequence[Letter], *, version: str) -> str:
    """Write all letters of an account as one page, the last first.

    Parameters
    ----------
    account : str
        Whose.
    letters : sequence of Letter
        In the order of the log.
    version : str
        Of this package, for the footer.
    """
    calls = sum(letter.kind == "margin call" for letter in letters)
    facts = [f"{calls:,} margin calls, {len(letters) - calls:,} closings; the last first"]
    parts = [_section(number, letter) for number, letter in reversed(list(enumerate(letters)))]
    body = [heading("letters", account, facts), Safe(f'<main id="main">{"".join(parts)}</main>')]
    return page(
        f"Letters to {account}", body, version=version, skip=("#main", "Skip to the letters")
    )


def _section(number: int, letter: Letter) -> Safe:
    title = f'<h2 id="letter-{number}">{esc(title_of(letter))}</h2>'
    stamp = f"<p>{esc(letter.time)}, to {esc(letter.owner)}; entry {letter.entry:,}</p>"
    if letter.kind == "margin call":
        rows = [
            ["you have", f"{letter.equity} {letter.asset}"],
            ["requirement", f"{letter.required} {letter.asset}"],
            ["lacking", f"{letter.lacking} {letter.asset}"],
            ["state", letter.state],
            ["to be mended by", _until(letter)],
            ["otherwise", letter.otherwise or DASH],
        ]
        inside: str = table(
            "What is asked", [Column("", text=True), Column("figure", text=True, wrap=True)], rows
        )
    else:
        inside = table(
            "What was done",
            [Column("what", text=True), Column("instrument", text=True), Column("quantity"),
             Column("price"), Column("wallet"), Column("fee")],
            [
                [x.what, x.instrument or DASH, x.quantity or DASH, x.price or DASH,
                 f"{x.amount} {x.asset}", DASH if x.fee == "0" else f"{x.fee} {x.asset}"]
                for x in letter.lines
            ],
        )  # fmt: skip
        left = ", ".join(f"{amount} {asset}" for asset, amount in letter.wallet.items())
        inside += (
            f"<p>Left in the wallet: {esc(left or 'nothing')}. State: {esc(letter.state)}.</p>"
        )
    return Safe(
        f'<section class="card" aria-labelledby="letter-{number}">{title}{stamp}{inside}</section>'
    )
