"""Accounts against rule-sets: one table for the terminal, and a page whose cells open."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from crossmargin.analytics import Cell, Matrix
from crossmargin.margin import ComponentLine
from crossmargin.reports._sections import badge
from crossmargin.reports._table import Column, table
from crossmargin.reports._terminal import HouseTable
from crossmargin.reports._text import NBSP, Safe, amount, count, esc, health
from crossmargin.reports.html import page
from crossmargin.reports.terminal import NOT_COVERED, STATE_STYLE, print_refusals, usd


def _mark(cell: Cell) -> str:
    return "" if cell.complete else " *"


def print_matrix(console: Console, matrix: Matrix) -> None:
    """Print initial margins: rule-sets as rows, accounts as columns."""
    title = (
        f"initial margin, USD: {count(len(matrix.accounts), 'account')}, "
        f"{count(len(matrix.rulesets), 'rule-set')}".replace(NBSP, " ")
    )
    out = HouseTable(title=title)
    out.add_column("rule-set", no_wrap=True)
    for account in matrix.accounts:
        out.add_column(account, justify="right", overflow="fold")
    nowhere = []
    for rules in matrix.rulesets:
        cells = [matrix.cells[rules, account] for account in matrix.accounts]
        if all(cell.error is not None for cell in cells):
            nowhere.append((rules, cells[0].error or ""))
            continue
        out.add_row(rules, *[_cell_text(cell) for cell in cells])
    console.print(out)
    complete = matrix.complete_rulesets
    console.print(
        Text(
            f"{len(complete)} rule-sets are complete for every account: {', '.join(complete)}. "
            "* something that touches the account has no source. Colour is the account's state. "
            "Components of each cell: --json, or open them in --html.",
            "dim",
        )
    )
    print_refusals(console, nowhere, "any account's")
    for rules in matrix.rulesets:
        refused = [c for a in matrix.accounts if (c := matrix.cells[rules, a]).error is not None]
        why = [c for c in refused if not str(c.error).startswith(NOT_COVERED)]
        if why and len(refused) < len(matrix.accounts):
            more = f" (and {len(why) - 1} more)" if len(why) > 1 else ""
            console.print(Text(f"{rules}{more}: {why[0].error}", "yellow"))


def _cell_text(cell: Cell) -> Text:
    if cell.error is not None:
        return Text("refused", "yellow")
    return Text(usd(cell.im) + _mark(cell), STATE_STYLE[cell.state])


def render_matrix(matrix: Matrix, *, version: str) -> str:
    """Write the table as a page: each cell opens to its components.

    Parameters
    ----------
    matrix : Matrix
        What is shown.
    version : str
        Of this package, for the footer.

    Returns
    -------
    str
        A whole HTML document that needs nothing else.
    """
    columns = [Column("rule-set", text=True), *(Column(a) for a in matrix.accounts)]
    rows = [
        [rules, *(_cell_html(matrix.cells[rules, a]) for a in matrix.accounts)]
        for rules in matrix.rulesets
    ]
    said = "* something that touches the account has no source."
    body = [
        f'<header><p class="kicker">Comparison</p><h1>'
        f"{count(len(matrix.accounts), 'account')} under "
        f"{count(len(matrix.rulesets), 'rule-set')}</h1></header>",
        '<section aria-labelledby="cells"><h2 id="cells">Initial margin, USD</h2>'
        "<p>Open a cell to see the parts of its number.</p>"
        f"{table('Initial margin by rule-set and account', columns, rows)}"
        f'<p class="small">{esc(said)}</p></section>',
    ]
    return page(
        "Accounts under rule-sets", body, version=version, skip=("#cells", "Skip to the table")
    )


def _amounts(line: ComponentLine) -> tuple[str, str]:
    if line.factor_im is not None and line.factor_mm is not None:
        return f"factor {line.factor_im:.6g}", f"factor {line.factor_mm:.6g}"
    return amount(line.im_usd), amount(line.mm_usd)


def _cell_html(cell: Cell) -> Safe:
    if cell.error is not None:
        return Safe(f"<details><summary>refused</summary><p>{esc(cell.error)}</p></details>")
    parts = [[line.name.replace("_", " "), line.group, *_amounts(line)] for line in cell.components]
    columns = [
        Column("component", text=True),
        Column("group", text=True),
        Column("IM, USD"),
        Column("MM, USD"),
    ]
    inner = table(f"{cell.ruleset}, {cell.account}", columns, parts)
    gaps = "".join(f"<li>{esc(gap)}</li>" for gap in cell.gaps)
    said = f"<p>Without a source:</p><ul>{gaps}</ul>" if gaps else ""
    return Safe(
        f"<details><summary>{amount(cell.im)}{_mark(cell)}</summary>"
        f"<p>{badge(cell.state)} MM {amount(cell.mm)}, equity {amount(cell.equity)}, health "
        f"{health(cell.health)}</p>{inner}{said}</details>"
    )
