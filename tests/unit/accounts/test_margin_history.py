"""Equity against requirement at each mark: by hand, with a basis, and bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers import PERP, flat_rate, market, rules
from tests.unit.accounts.test_journal import TIME, a22, made

from crossmargin.accounts import events as ev
from crossmargin.accounts.history import margin_history
from crossmargin.accounts.journal import open_journal
from crossmargin.accounts.kept_statement import kept_statement
from crossmargin.errors import LedgerError
from crossmargin.reports.ledger import render_kept

RULES = rules(flat_rate(0.10, 0.05))
WORLD = market({"BTC": 50_000.0, "USDC": 1.0}, marks={PERP: 50_000.0})


def test_a22_at_its_marks(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ledger")
    with open_journal(path, writer="test") as journal:
        journal.post([ev.Mark(id="m2", time=TIME, prices={PERP: "49000"})])
        first, second = margin_history(journal.records(), "a", WORLD, RULES)
        # 10,000 − 25 + 1,000 at 51,000; then 10,359.70 and 0.6 × −1,000 at 49,000.
        assert first.equity == pytest.approx(10_975.0, rel=1e-12)
        assert (first.im, first.mm) == pytest.approx((5_100.0, 2_550.0))
        assert first.events == ["deposit", "fill"]
        assert second.equity == pytest.approx(10_359.70 - 600.0, rel=1e-12)
        assert (second.im, second.mm) == pytest.approx((2_940.0, 1_470.0))
        assert second.events == ["funding", "fill"]
        (only,) = margin_history(journal.records(), "a", WORLD, RULES, most=1)
        assert (only.equity, only.time_ns) == (second.equity, second.time_ns)


def test_a_contract_stands_at_its_mark_whatever_its_basis(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ledger")
    odd = market({"BTC": 48_000.0, "USDC": 1.0}, marks={PERP: 60_000.0})
    with open_journal(path) as journal:
        (point,) = margin_history(journal.records(), "a", odd, RULES)
    assert point.equity == pytest.approx(10_975.0, rel=1e-12)


def test_the_page_draws_it(tmp_path: Path) -> None:
    with open_journal(made(tmp_path / "a.ledger")) as journal:
        kept = kept_statement(journal.state, "a", journal.records(), WORLD, RULES)
        lived = margin_history(journal.records(), "a", WORLD, RULES)
    page = render_kept(kept, lived, version="0")
    assert "Equity against requirement" in page
    assert "deposit, fill" in page
    assert "10959.7" in page


def test_nobody_and_nothing_marked(tmp_path: Path) -> None:
    with open_journal(made(tmp_path / "a.ledger")) as journal:
        with pytest.raises(LedgerError, match="no account 'b'"):
            margin_history(journal.records(), "b", WORLD, RULES)
        unmarked = [r for r in journal.records() if r.kind in ("open_account", "deposit")]
        with pytest.raises(LedgerError, match="nothing was marked"):
            margin_history(unmarked, "a", WORLD, RULES)
    assert len(a22()) == 7
