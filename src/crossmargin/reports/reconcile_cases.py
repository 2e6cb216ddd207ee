"""Reconciled cases and fitted parameters as tables for the terminal."""

from __future__ import annotations

import math

from rich.console import Console
from rich.text import Text

from crossmargin.analytics import CaseResult, Inference, Line, Reconciliation
from crossmargin.reports._terminal import HouseTable

#: Cases shown figure by figure when there are no more than this.
_OPEN = 3
_VERDICTS = {"identified": "green", "only in combination": "yellow", "not seen": "red"}


def print_reconciliation(console: Console, done: Reconciliation, *, every: bool = False) -> None:
    """Print theirs, ours and the difference: all figures of a few cases, else the worst of each.

    Parameters
    ----------
    console : Console
        Where to print.
    done : Reconciliation
        What was compared.
    every : bool
        Whether every figure of every case is printed.
    """
    if every or len(done.cases) <= _OPEN:
        for case in done.cases:
            _print_case(console, case)
    else:
        _print_overview(console, done)
        for case in done.cases:
            if case.failed and case.lines:
                _print_case(console, case, only_wrong=True)
    summary = done.as_dict()
    wrong = len(summary["failed"])
    text = (
        f"{summary['cases']} cases, {summary['figures']:,} figures: {summary['passed']} agree, "
        f"{len(summary['refused'])} refused, {wrong} disagree; worst relative error "
        f"{_error(done.worst)}"
    )
    console.print(Text(text, "bold red" if wrong else "bold green"))


def _error(value: float) -> str:
    return "not computed" if math.isinf(value) else f"{value:.1e}"


def _state(case: CaseResult) -> Text:
    if case.refused is not None:
        return Text("refused" + (", as theirs" if case.agreed_refusal else ""), "yellow")
    return Text("disagrees", "bold red") if case.failed else Text("agrees", "green")


def _print_overview(console: Console, done: Reconciliation) -> None:
    table = HouseTable()
    table.add_column("case", overflow="fold")
    table.add_column("model")
    table.add_column("figures", justify="right")
    table.add_column("worst figure", overflow="fold")
    table.add_column("relative error", justify="right")
    table.add_column("")
    for case in done.cases:
        worst = max(case.lines, key=lambda line: line.error, default=None)
        table.add_row(
            case.name,
            case.model,
            str(len(case.lines)),
            worst.name if worst is not None else "–",
            _error(worst.error) if worst is not None else "–",
            _state(case),
        )
    console.print(table)
    for case in done.cases:
        if case.refused is not None:
            console.print(Text(f"{case.name}: {case.refused}", "yellow"))


def _print_case(console: Console, case: CaseResult, *, only_wrong: bool = False) -> None:
    title = f"{case.name} ({case.model}); their figures: {case.basis.replace('_', ' ')}, US dollars"
    table = HouseTable(title=title)
    table.add_column("figure", overflow="fold")
    for name in ("theirs", "ours", "difference", "relative error"):
        table.add_column(name, justify="right")
    for line in case.lines:
        if not only_wrong or line.error > case.tolerance:
            table.add_row(*_line(line), style="red" if line.error > case.tolerance else "")
    if case.lines:
        console.print(table)
    if case.refused is not None:
        console.print(Text(f"{case.name}: {case.refused}", "yellow"))
    if case.uncompared:
        names = ", ".join(case.uncompared[:8]) + (" ..." if len(case.uncompared) > 8 else "")
        console.print(Text(f"not compared, no such figure here: {names}", "dim"))


def _line(line: Line) -> tuple[str, str, str, str, str]:
    return (
        line.name,
        f"{line.theirs:,.6f}",
        f"{line.ours:,.6f}",
        f"{line.ours - line.theirs:+.2e}",
        _error(line.error),
    )


def print_inference(console: Console, done: Inference) -> None:
    """Print fitted parameters: value, what the figures say of it, and what stays open."""
    table = HouseTable()
    table.add_column("parameter", overflow="fold")
    table.add_column("value", justify="right")
    table.add_column("verdict")
    table.add_column("USD per 1 % of its range", justify="right")
    table.add_column("traded against", overflow="fold")
    for p in done.parameters:
        value = f"{p.value:.10g}" if p.verdict == "identified" else f"({p.value:.4g})"
        table.add_row(
            p.path + (" (at its bound)" if p.at_bound else ""),
            value,
            Text(p.verdict, _VERDICTS[p.verdict]),
            f"{p.sensitivity:,.2f}",
            ", ".join(p.with_) or "–",
        )
    console.print(table)
    console.print(
        f"{done.figures} figures of {done.cases} cases; worst relative error after the fit "
        f"{_error(done.worst_relative_error)}"
    )
    open_ = [p.path for p in done.parameters if p.verdict != "identified"]
    if open_:
        console.print(
            Text(
                f"not pinned down by these figures: {', '.join(open_)}. Values in brackets are "
                "one of many.",
                "yellow",
            )
        )
