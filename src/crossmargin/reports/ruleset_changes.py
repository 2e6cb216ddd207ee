"""Changes of rule-sets, recorded and intended, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossmargin.analytics import BookImpact, ChangedAccount, RulesetDiff
from crossmargin.margin import ChangeRecord, ParameterChange
from crossmargin.reports.book import failures_table, name_text, state_text
from crossmargin.reports.terminal import health, ratio, table_of, usd

#: Parameters printed at most; all of them are in --json and --html.
_MOST = 60


def value_words(value: object, *, missing: bool = False) -> str:
    """Write a parameter for a table; what a rule-set does not have is a dash."""
    if missing:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | int):
        return f"{value:,.10g}"
    if isinstance(value, list):
        return ", ".join(value_words(one) for one in value) or "none"
    return "none" if value is None else str(value)


def expired_words(record: ChangeRecord, paths: Sequence[str]) -> str:
    """Say that a temporary change is past its expiry and still in force."""
    named = ", ".join(paths[:4]) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")
    return (
        f"the temporary change of {named} by {record.author} expired on {record.expires} and is "
        f"still in force ({record.reason})"
    )


def print_changes(console: Console, log: Sequence[ChangeRecord], expired: Sequence[str]) -> None:
    """Print recorded changes, oldest first, and what is past its expiry."""
    table = table_of("changed", "parameter", "before", "after", "by", "approved by", "until", "why")
    for place in range(1, 8):
        table.columns[place].justify = "right" if place in (2, 3) else "left"
        table.columns[place].no_wrap = place == 1
    for record in log:
        for row, change in enumerate(record.changes):
            about = (record.author, record.approver, record.expires or "lasting", record.reason)
            table.add_row(
                record.time if row == 0 else "",
                name_text(change.path),
                name_text(value_words(change.before, missing=change.added)),
                name_text(value_words(change.after, missing=change.removed)),
                *(map(name_text, about) if row == 0 else ("", "", "", "")),
            )
    console.print(table)
    for said in expired:
        console.print(Text(f"! {said}", "bold yellow"))


def print_diff(console: Console, made: RulesetDiff, *, shown: int) -> None:
    """Print what differs between two rule-sets, and what that does to a book."""
    a, b = made.before, made.after
    for name, side in (("A", a), ("B", b)):
        until = "" if side.effective_to is None else f" to {side.effective_to}"
        supplied = f", with {', '.join(side.overrides)} supplied" if side.overrides else ""
        console.print(
            Text.assemble(
                f"{name}  ",
                (side.id, "bold"),
                f"  {side.title}, in force from {side.effective_from}{until}, hash "
                f"{side.hash[:16]}{supplied}",
            )
        )
    figures = [c for c in made.changes if not c.text]
    if figures:
        console.print(_parameters(figures))
    else:
        console.print("no figure differs")
    if len(figures) > _MOST:
        console.print(Text(f"{len(figures) - _MOST} more with --json or --html", "dim"))
    texts = [c.path for c in made.changes if c.text]
    if texts:
        named = ", ".join(texts[:6]) + (f" and {len(texts) - 6} more" if len(texts) > 6 else "")
        console.print(Text(f"titles, dates, notes and sources that differ: {named}", "dim"))
    if made.impact is not None:
        _print_impact(console, made.impact, shown)


def _parameters(figures: Sequence[ParameterChange]) -> Table:
    table = table_of("parameter", "A", "B", "change", "source")
    n = len(figures)
    table.title = "1 figure differs" if n == 1 else f"{n:,} figures differ"
    table.columns[4].justify = "left"
    for column in table.columns[1:]:
        column.overflow = "fold"
    for c in figures[:_MOST]:
        table.add_row(
            name_text(c.path),
            name_text(value_words(c.before, missing=c.added)),
            name_text(value_words(c.after, missing=c.removed)),
            relative_words(c.before, c.after),
            name_text(source_words(c)),
        )
    return table


def source_words(change: ParameterChange) -> str:
    """Name the source of a figure: one where both sides cite the same."""
    a, b = change.source_before, change.source_after
    return (a or b or "–") if a == b or not (a and b) else f"A {a}; B {b}"


def relative_words(before: object, after: object) -> str:
    """Write the relative change of two numbers; nothing where there is none."""
    numbers = all(isinstance(x, float | int) and not isinstance(x, bool) for x in (before, after))
    if not numbers or not before:
        return ""
    return f"{(after / before - 1.0) * 100:+.4g} %"  # type: ignore[operator]


def _print_impact(console: Console, made: BookImpact, shown: int) -> None:
    where = f"{made.market}, " if made.market else ""
    later = f", valued at {made.at}" if made.at != made.as_of else ""
    console.print(
        Text(
            f"what B would do to {made.accounts:,} accounts in the market of {where}{made.as_of}"
            f"{later}",
            "bold",
        )
    )
    lost = f"{made.compared:,} accounts compared"
    if made.lost or made.gained:
        lost += (
            f"; {made.lost:,} that A computes B refuses, {made.gained:,} that A refuses B computes"
        )
    if made.rejected:
        lost += f"; {made.rejected:,} set aside when the book was read"
    console.print(lost)
    console.print(_amounts(made))
    console.print(_crossings(made))
    if made.quantiles:
        console.print(_quantiles(made))
    if made.worst:
        console.print(changed_accounts(made.worst[:shown], "largest rise of initial margin"))
        if len(made.worst) > shown:
            console.print(Text(f"{len(made.worst) - shown} more with --top or --json", "dim"))
    if made.newly_liquidated:
        title = "newly below MM, the weakest first"
        console.print(changed_accounts(made.newly_liquidated[:shown], title))
    for rows, title in ((made.failed_before, "refused under A"), (made.failed_after, "under B")):
        if rows:
            console.print(failures_table(rows, title.replace("under B", "refused under B")))


def _amounts(made: BookImpact) -> Table:
    table = table_of("USD", "IM, A", "IM, B", "change", "", "MM, A", "MM, B", "change", "")
    a, b = made.totals_before, made.totals_after
    for part in made.components:
        table.add_row(
            name_text(part.name.replace("_", " ")),
            *_step(part.im_before_usd, part.im_after_usd),
            *_step(part.mm_before_usd, part.mm_after_usd),
        )
    if made.components:
        table.add_section()
    table.add_row("requirement, combined", *_step(a.im_usd, b.im_usd), *_step(a.mm_usd, b.mm_usd))
    table.add_row(
        "equity (after haircut for IM)",
        *_step(a.equity_im_usd, b.equity_im_usd),
        *_step(a.equity_usd, b.equity_usd),
    )
    return table


def _step(before: float | None, after: float | None) -> tuple[str, str, str, str]:
    if before is None or after is None:
        only = [usd(x, 0) for x in (before, after)]
        return only[0], only[1], "–", ""
    relative = signed_ratio((after - before) / before) if before else ""
    return usd(before, 0), usd(after, 0), signed_usd(after - before), relative


def signed_usd(value: float) -> str:
    """Write whole US dollars with their sign."""
    return f"{value:+,.0f}" if round(value) else "0"


def signed_ratio(value: float | None) -> str:
    """Write a share as a percentage with its sign."""
    if value is None:
        return "–"
    return f"{value * 100:+.2f} %" if round(value, 4) else "0 %"


def _crossings(made: BookImpact) -> Table:
    table = table_of("accounts", "below under A", "below under B", "newly", "no longer")
    for line in made.crossings:
        name = "below IM" if line.line == "IM" else "below MM (may be liquidated)"
        newly = Text(f"{line.newly:,}", "bold red" if line.newly else "")
        table.add_row(name, f"{line.before:,}", f"{line.after:,}", newly, f"{line.no_longer:,}")
    return table


def _quantiles(made: BookImpact) -> Table:
    table = table_of(
        f"change over accounts ({made.rises:,} rise, {made.falls:,} fall)",
        *(_quantile_name(q.share) for q in made.quantiles),
    )
    table.add_row("IM, USD", *(signed_usd(q.im_change_usd) for q in made.quantiles))
    table.add_row("IM, of IM under A", *(signed_ratio(q.im_change_rel) for q in made.quantiles))
    table.add_row("MM, USD", *(signed_usd(q.mm_change_usd) for q in made.quantiles))
    return table


def _quantile_name(share: float) -> str:
    return {0.0: "least", 0.5: "median", 1.0: "most"}.get(share, ratio(share, 0))


def changed_accounts(rows: Sequence[ChangedAccount], title: str) -> Table:
    """Tabulate accounts before and after."""
    table = table_of(
        "account",
        "equity, USD",
        "IM, A",
        "IM, B",
        "change, USD",
        "MM, A",
        "MM, B",
        "health, A",
        "health, B",
        "state",
        title=title,
    )
    table.columns[9].justify = "left"
    for row in rows:
        step = Text.assemble(state_text(row.state_before), " → ", state_text(row.state_after))
        table.add_row(
            name_text(row.account),
            usd(row.equity_usd),
            usd(row.im_before_usd),
            usd(row.im_after_usd),
            signed_usd(row.im_after_usd - row.im_before_usd),
            usd(row.mm_before_usd),
            usd(row.mm_after_usd),
            health(row.health_before),
            health(row.health_after),
            state_text(row.state_after) if row.state_before == row.state_after else step,
        )
    return table
