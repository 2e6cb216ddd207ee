"""Several accounts under several rule-sets: one number a cell, and the parts behind each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crossmargin.book import AccountFile, book_from_accounts
from crossmargin.errors import CrossmarginError
from crossmargin.margin import (
    ComponentLine,
    Ruleset,
    component_lines,
    evaluate,
    gaps_here,
    pot_lines,
    worst_state,
)
from crossmargin.market import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One account under one rule-set; US dollars.

    Attributes
    ----------
    account, ruleset : str
        Names.
    im, mm, equity : float
        Requirement with open orders, maintenance requirement, equity at the initial level; NaN
        where the rule-set refuses.
    health : float or None
        Least health of the pots.
    state : str
        Worst state of the pots.
    gaps : tuple of str
        What is unknown and touches this account; empty where the cell is complete.
    components : tuple of ComponentLine
        The parts that add up to the requirement, by group.
    error : str or None
        Why the rule-set refuses.
    """

    account: str
    ruleset: str
    im: float = float("nan")
    mm: float = float("nan")
    equity: float = float("nan")
    health: float | None = None
    state: str = "refused"
    gaps: tuple[str, ...] = ()
    components: tuple[ComponentLine, ...] = ()
    error: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the number rests on sources alone."""
        return self.error is None and not self.gaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Accounts against rule-sets.

    Attributes
    ----------
    accounts, rulesets : tuple of str
        Columns and rows.
    cells : dict of (str, str) to Cell
        By rule-set and account.
    """

    accounts: tuple[str, ...]
    rulesets: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]

    @property
    def complete_rulesets(self) -> list[str]:
        """Rule-sets that are complete for every account."""
        return [
            rules
            for rules in self.rulesets
            if all(self.cells[rules, account].complete for account in self.accounts)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: rule-set, then account, then the cell with its components."""
        return {
            rules: {account: _plain(self.cells[rules, account]) for account in self.accounts}
            for rules in self.rulesets
        }


def _plain(cell: Cell) -> dict[str, Any]:
    if cell.error is not None:
        return {"refused": cell.error}
    return {
        "im_usd": cell.im,
        "mm_usd": cell.mm,
        "equity_usd": cell.equity,
        "health": cell.health,
        "state": cell.state,
        "complete": cell.complete,
        "gaps": list(cell.gaps),
        "components": list(cell.components),
    }


def compare_accounts(
    accounts: Sequence[AccountFile], snapshot: Snapshot, rulesets: Sequence[Ruleset]
) -> Matrix:
    """Evaluate every account under every rule-set; a refusal is an answer.

    Parameters
    ----------
    accounts : sequence of AccountFile
        With different names.
    snapshot : Snapshot
        One market for all.
    rulesets : sequence of Ruleset
        Rows.
    """
    books = {account.account: book_from_accounts([account]) for account in accounts}
    cells = {}
    for rules in rulesets:
        for name, book in books.items():
            try:
                done = evaluate(book, snapshot, rules)
            except CrossmarginError as error:
                cells[rules.id, name] = Cell(account=name, ruleset=rules.id, error=str(error))
                continue
            states = pot_lines(done)
            ratios = [s.health for s in states if s.health is not None]
            cells[rules.id, name] = Cell(
                account=name,
                ruleset=rules.id,
                im=done.im_usd,
                mm=done.mm_usd,
                equity=float(done.have.im @ done.frame.pot_usd),
                health=min(ratios, default=None),
                state=worst_state(s.state for s in states),
                gaps=tuple(gaps_here(done.frame)),
                components=tuple(component_lines(done.frame, done.need)),
            )
    return Matrix(
        accounts=tuple(books), rulesets=tuple(rules.id for rules in rulesets), cells=cells
    )
