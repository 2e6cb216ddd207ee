"""A margined book as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossmargin.analytics import AccountRow, BookSummary, Concentration, FailureRow
from crossmargin.reports.terminal import STATE_STYLE, health, ratio, table_of, usd

#: What the states of an account of a book mean, in a phrase.
STATE_MEANS = {
    "healthy": "equity covers initial margin",
    "reduce-only": "below IM: only risk-reducing trades",
    "liquidation": "below MM: may be liquidated",
    "bankrupt": "equity below zero",
    "protected": "touches a price that is not trusted",
    "failed": "could not be computed",
}

#: Of what the figures of an account are.
POTS_SAID = "Amounts are sums over an account's pots; health is its weakest pot's."

_STYLES = {**STATE_STYLE, "protected": "bold cyan", "failed": "bold magenta"}

#: Longest list of underlyings or components printed.
_MOST = 15


def name_text(name: str) -> Text:
    """Write a name as it is: no markup, and no sign that would move the cursor."""
    return Text(name if name.isprintable() else repr(name)[1:-1])


def state_text(state: str) -> Text:
    """Write a state in its colour."""
    return Text(state, _STYLES.get(state, ""))


def print_book(console: Console, made: BookSummary, *, shown: int) -> None:
    """Print a margined book.

    Parameters
    ----------
    console : Console
        Where to print.
    made : BookSummary
        What.
    shown : int
        Rows of each list of accounts.
    """
    console.print(_head(made))
    for warning in made.warnings:
        console.print(Text(f"! {warning}", "bold yellow"))
    console.print(_states(made))
    console.print(_totals(made))
    if made.worst_by_excess:
        title = "furthest below (or nearest to) maintenance margin, by excess over MM"
        console.print(_accounts(made.worst_by_excess[:shown], title))
        _more(console, len(made.worst_by_excess), shown)
        title = "weakest by health (equity / MM of the weakest pot; 1.0 is the line)"
        console.print(_accounts(made.worst_by_health[:shown], title))
        _more(console, len(made.worst_by_health), shown)
        console.print(Text(POTS_SAID, "dim"))
    _concentration(console, made, shown)
    if made.underlyings:
        console.print(_underlyings(made))
        _more(console, len(made.underlyings), _MOST, "underlyings")
    if made.unpriced:
        names = ", ".join(made.unpriced[:8]) + (" …" if len(made.unpriced) > 8 else "")
        console.print(Text(f"without a price, left out of the notional: {names}", "yellow"))
    if made.failures:
        console.print(failures_table(made.failures, "accounts that could not be computed"))
    for gap in made.ruleset.gaps:
        console.print(Text(f"• without a source: {gap}", "dim"))


def _head(made: BookSummary) -> Text:
    rules, where = made.ruleset, f"{made.market}, " if made.market else ""
    supplied = f", with {', '.join(rules.overrides)} supplied" if rules.overrides else ""
    text = Text()
    text.append(
        f"{_count(made.accounts, 'account')}, {_count(made.positions, 'position')}\n", "bold"
    )
    text.append(f"rule-set  {rules.id}  {rules.title}, hash {rules.hash[:16]}{supplied}\n")
    text.append(f"market    {where}{made.as_of}")
    if made.at != made.as_of:
        text.append(f", valued at {made.at}")
    return text


def _count(size: int, noun: str) -> str:
    return f"{size:,} {noun}{'' if size == 1 else 's'}"


def _states(made: BookSummary) -> Table:
    table = table_of(
        "accounts by state",
        "accounts",
        "share",
        "equity, USD",
        "IM, USD",
        "MM, USD",
        "MM − equity where lacking, USD",
        "",
    )
    for row in made.states:
        nothing = row.state == "failed" or not row.accounts
        table.add_row(
            state_text(row.state),
            f"{row.accounts:,}",
            ratio(row.share, 2),
            *(
                "–" if nothing else usd(value, 0)
                for value in (row.equity_usd, row.im_usd, row.mm_usd, row.deficit_mm_usd)
            ),
            Text(STATE_MEANS.get(row.state, ""), "dim"),
        )
    table.columns[7].justify = "left"
    return table


def _totals(made: BookSummary) -> Table:
    t = made.totals
    table = table_of("totals of the accounts computed, USD", "IM", "MM")
    for part in made.components:
        table.add_row(
            name_text(part.name.replace("_", " ")), usd(part.im_usd, 0), usd(part.mm_usd, 0)
        )
    if made.components:
        table.add_section()
    table.add_row("requirement, combined", usd(t.im_usd, 0), usd(t.mm_usd, 0))
    table.add_row("equity (after haircut for IM)", usd(t.equity_im_usd, 0), usd(t.equity_usd, 0))
    table.add_row("excess", usd(t.equity_im_usd - t.im_usd, 0), usd(t.equity_usd - t.mm_usd, 0))
    return table


def _accounts(rows: Sequence[AccountRow], title: str) -> Table:
    table = table_of(
        "account",
        "equity, USD",
        "IM, USD",
        "MM, USD",
        "excess over IM, USD",
        "excess over MM, USD",
        "health",
        "state",
        title=title,
    )
    table.columns[7].justify = "left"
    for row in rows:
        table.add_row(
            name_text(row.account),
            usd(row.equity_usd),
            usd(row.im_usd),
            usd(row.mm_usd),
            usd(row.excess_im_usd),
            usd(row.excess_mm_usd),
            health(row.health),
            state_text(row.state),
        )
    return table


def _more(console: Console, there: int, shown: int, what: str = "accounts") -> None:
    if there > shown:
        flag = "--top, --json or --html" if what == "accounts" else "--json or --html"
        console.print(Text(f"{there - shown} more {what} with {flag}", "dim"))


def _concentration(console: Console, made: BookSummary, shown: int) -> None:
    found = made.concentration
    if found.hhi is None or found.equal_accounts is None:
        console.print(Text("no account owes initial margin", "dim"))
        return
    table = table_of("account", "IM, USD", "share of IM", "health", "state")
    table.title = "concentration of initial margin"
    table.columns[4].justify = "left"
    for row in found.largest[:shown]:
        table.add_row(
            name_text(row.account),
            usd(row.im_usd),
            ratio(row.im_share, 2),
            health(row.health),
            state_text(row.state),
        )
    console.print(table)
    console.print(
        Text(
            f"of all initial margin: {share_words(found)}; HHI {found.hhi:.3g}, as concentrated as "
            f"{found.equal_accounts:,.0f} equal accounts",
            "dim",
        )
    )


def share_words(found: Concentration) -> str:
    """Say what the largest accounts owe of all initial margin."""
    return ", ".join(
        f"the largest {'account' if s.accounts == 1 else f'{s.accounts:,}'} {ratio(s.im_share)}"
        for s in found.shares
    )


def _underlyings(made: BookSummary) -> Table:
    table = table_of(
        "underlying", "net notional, USD", "gross notional, USD", "net / gross", "held by"
    )
    for row in made.underlyings[:_MOST]:
        table.add_row(
            row.underlying,
            usd(row.net_usd, 0),
            usd(row.gross_usd, 0),
            ratio(row.net_usd / row.gross_usd),
            f"{row.accounts:,}",
        )
    return table


def failures_table(rows: Sequence[FailureRow], title: str) -> Table:
    """Tabulate failures by code, with an example each."""
    table = table_of("code", "accounts", "for example", "why", title=title)
    for place in (2, 3):
        table.columns[place].justify = "left"
    table.columns[3].overflow = "fold"
    for row in rows:
        why = row.message.removeprefix(f"{row.code}: ")
        table.add_row(row.code, f"{row.accounts:,}", name_text(row.account), name_text(why))
    return table
