"""The ledger for the terminal: an account's statement, and a venue's log beside our journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from crossmargin.accounts.amounts import Scales, from_quanta
from crossmargin.accounts.history import HistoryPoint
from crossmargin.accounts.kept_statement import KeptStatement
from crossmargin.accounts.matching import AGES, Break, Reconciliation, correction_of
from crossmargin.accounts.trial_balance import TrialBalance
from crossmargin.reports._line_chart import line_chart
from crossmargin.reports._sections import heading
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import DASH, Safe
from crossmargin.reports.html import page
from crossmargin.reports.terminal import table_of, usd
from crossmargin.units import format_time
from crossmargin.venues.transaction_logs import VenueLog

#: Breaks that are shown; all are in ``--json``.
_SHOWN = 40


def print_kept(console: Console, made: KeptStatement) -> None:
    """Print what the ledger says of one account."""
    whose = "" if made.owner == made.account else f" of {made.owner}"
    console.print(Text(f"{made.account}{whose}: {made.entries:,} entries of the ledger", "bold"))
    if made.money:
        money = table_of("pot", "asset", "wallet", "unrealised", "equity", "held", "free", left=2)
        for m in made.money:
            figures = (m.wallet, m.unrealised, m.equity, m.held, m.free)
            money.add_row(f"{m.pot} ({m.state})", m.asset, *figures)
        console.print(money)
        _causes(console, made)
    else:
        console.print(Text("no money was ever booked", "dim"))
    if made.positions:
        shown = table_of("position", "leg", "quantity", "entry", "mark", "unrealised", left=2)
        for p in made.positions:
            paper = "not marked" if p.unrealised is None else f"{p.unrealised} {p.settlement}"
            shown.add_row(p.instrument, p.leg, p.quantity, p.entry_price or "", p.mark or "", paper)
        console.print(shown)
    if made.margin:
        shown = table_of("margin of pot", "equity", "IM", "MM", "available", "health")
        for g in made.margin:
            health = "none needed" if g.health is None else f"{g.health:.3f}"
            held = (usd(g.equity), usd(g.im), usd(g.mm), usd(g.available))
            shown.add_row(f"{g.pot}, {g.numeraire}", *held, health)
        console.print(shown)
        console.print(Text(f"under {made.ruleset}", "dim"))
    if made.journal:
        shown = table_of("entry", "time", "kind", "id", "moved", left=5)
        for e in made.journal:
            moved = ", ".join(f"{amount} {asset}" for asset, amount in e.moved.items())
            shown.add_row(f"{e.seq:,}", e.time, e.kind, e.id, moved)
        console.print(shown)


def print_balance(console: Console, made: TrialBalance) -> None:
    """Print a trial balance, and what is left over by rounding."""
    shown = table_of("asset", "line", "balance", left=2)
    for row in made.rows:
        shown.add_row(row.asset, row.line, row.balance)
    console.print(shown)
    left = ", ".join(f"{amount} {asset}" for asset, amount in made.rounding.items())
    said = f"{made.events:,} events; each of {len(made.sums)} assets sums to 0 over all its lines"
    console.print(Text(f"{said}; left over by rounding: {left or 'nothing'}"))


def _causes(console: Console, made: KeptStatement) -> None:
    names = list(dict.fromkeys(cause for m in made.money for cause in m.causes))
    if not names:
        return
    shown = table_of("equity came from", *(f"{m.asset} in {m.pot}" for m in made.money))
    for name in names:
        shown.add_row(name, *(m.causes.get(name, "") for m in made.money))
    shown.add_row("equity", *(m.equity for m in made.money))
    console.print(shown)


def render_kept(made: KeptStatement, history: Sequence[HistoryPoint], *, version: str) -> str:
    """Write an account's statement as a page, with equity against IM and MM over time.

    Parameters
    ----------
    made : KeptStatement
        What the ledger says.
    history : sequence of HistoryPoint
        One or more.
    version : str
        Of this package, for the footer.
    """
    times = [format_time(p.time_ns) for p in history]
    said = {k: ", ".join(_counted(p.events)) for k, p in enumerate(history) if p.events}
    chart = line_chart(
        times,
        {
            "equity": [p.equity for p in history],
            "initial margin": [p.im for p in history],
            "maintenance": [p.mm for p in history],
        },
        "US dollars",
        said,
    )
    money = table(
        "Money and where equity came from",
        [Column("pot", text=True), Column("asset", text=True), Column("wallet"),
         Column("unrealised"), Column("equity"), Column("came from", text=True)],
        [
            [m.pot, m.asset, m.wallet, m.unrealised, m.equity,
             ", ".join(f"{cause} {x}" for cause, x in m.causes.items())]
            for m in made.money
        ],
    )  # fmt: skip
    positions = table(
        "Positions",
        [Column("instrument", text=True), Column("leg", text=True), Column("quantity"),
         Column("entry"), Column("mark"), Column("unrealised")],
        [
            [p.instrument, p.leg, p.quantity, p.entry_price or DASH, p.mark or DASH,
             DASH if p.unrealised is None else f"{p.unrealised} {p.settlement}"]
            for p in made.positions
        ],
    )  # fmt: skip
    facts = [f"{made.entries:,} entries of the ledger, state {made.state[:16]}"]
    if made.ruleset is not None:
        facts.append(f"Rule-set {made.ruleset}; the market is carried to each mark")
    body = [heading("Account statement", made.account, facts)]
    for key, title, inner in (
        (
            "life",
            "Equity against requirement, US dollars",
            Safe(f'<div class="card">{chart}</div>'),
        ),
        ("money", "Money", money),
        ("positions", "Positions", positions),
    ):
        body.append(
            Safe(f'<section aria-labelledby="{key}"><h2 id="{key}">{title}</h2>{inner}</section>')
        )
    return page(made.account, body, version=version, skip=("#life", "Skip to the picture"))


def _counted(kinds: Sequence[str]) -> list[str]:
    return [f"{n} × {kind}" if n > 1 else kind for kind, n in Counter(kinds).items()]


def print_reconciled(
    console: Console, account: str, theirs: VenueLog, found: Reconciliation, scales: Scales
) -> None:
    """Print what of two logs agrees, what does not, and what would mend it."""
    title = f"{account} beside {theirs.format.title}"
    console.print(Text(title, "bold"))
    ours = sum(len(m.ours) for m in found.matched)
    rows = sum(len(m.theirs) for m in found.matched)
    console.print(
        f"{len(found.matched):,} matched ({ours:,} of our lines, {rows:,} of theirs), "
        f"{len(found.breaks):,} broken, {len(theirs.bad):,} of their rows not read"
    )
    if found.breaks:
        _by_class(console, found)
        shown = table_of("time", "what", "asset", "difference", "age", "mend it", left=2)
        shown.columns[5].justify = "left"
        for b in found.breaks[:_SHOWN]:
            shown.add_row(
                _when(b),
                b.kind,
                b.asset,
                from_quanta(b.difference, b.asset, scales),
                b.age,
                correction_of(b).words,
            )
        console.print(shown)
        if len(found.breaks) > _SHOWN:
            console.print(Text(f"and {len(found.breaks) - _SHOWN:,} more; --json shows all", "dim"))
    for asset, gap in found.differences.items():
        console.print(f"the venue's log less ours: {from_quanta(gap, asset, scales)} {asset}")
    for bad in theirs.bad[:_SHOWN]:
        console.print(Text(f"row {bad.row}: {bad.reason}", "yellow"))


def _by_class(console: Console, found: Reconciliation) -> None:
    counts = Counter((b.kind, b.age) for b in found.breaks)
    kinds = list(dict.fromkeys(b.kind for b in found.breaks))
    shown = table_of("broken", *(name for name, _ in AGES))
    for kind in kinds:
        shown.add_row(kind, *(f"{counts[kind, name] or ''}" for name, _ in AGES))
    console.print(shown)


def _when(b: Break) -> str:
    return format_time(min(x.time_ns for x in (*b.ours, *b.theirs)))


def reconciled_data(
    account: str, theirs: VenueLog, found: Reconciliation, scales: Scales
) -> dict[str, Any]:
    """Return the reconciliation as plain data: amounts as exact decimal text."""

    def lines(some: Any) -> list[dict[str, str]]:
        return [
            {
                "id": x.id, "time": format_time(x.time_ns), "kind": x.kind,
                "reference": x.reference, "note": x.note,
                "amount": from_quanta(x.amount, x.asset, scales),
            }
            for x in some
        ]  # fmt: skip

    breaks = []
    for b in found.breaks:
        mend = correction_of(b)
        breaks.append(
            {
                "kind": b.kind, "asset": b.asset, "age": b.age,
                "difference": from_quanta(b.difference, b.asset, scales),
                "ours": lines(b.ours), "theirs": lines(b.theirs),
                "correction": {
                    "what": mend.what, "kind": mend.kind, "words": mend.words,
                    "amount": from_quanta(mend.amount, mend.asset, scales),
                },
            }
        )  # fmt: skip
    return {
        "account": account,
        "format": theirs.format.id,
        "matched": len(found.matched),
        "breaks": breaks,
        "differences": {a: from_quanta(x, a, scales) for a, x in found.differences.items()},
        "bad_rows": [{"row": b.row, "error": b.reason.as_dict()} for b in theirs.bad],
    }
