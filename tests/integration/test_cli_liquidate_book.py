"""``liquidate`` on books and ledgers: each account as if it had been asked for by itself."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.helpers import PERP, fixture_g

from crossmargin.accounts import events as ev
from crossmargin.accounts import project_account
from crossmargin.accounts.journal import open_journal
from crossmargin.accounts.store import create_store
from crossmargin.book import account_file, book_from_accounts, write_account, write_book_parquet
from crossmargin.cli import main
from crossmargin.market import file_from_snapshot, write_market
from crossmargin.venues import load_account

NAMES = ("short-vol-desk", "directional", "basis-trader")
HOW = ("--move", "BTC=-0.35", "--rules", "hyperliquid", "--slip", "0.001")


def run(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["liquidate", *words])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, Any]]:
    found = {}
    for name in NAMES:
        made = json.loads(run(name, *HOW, "--json")[1])
        if made["steps"]:
            found[name] = made
    assert 0 < len(found) < len(NAMES)
    return found


def agree(made: dict[str, Any], alone: dict[str, dict[str, Any]]) -> None:
    assert made["accounts"] == len(NAMES) and made["failures"] == {}
    assert {row["account"] for row in made["worst"]} == set(alone)
    assert made["below_line"] == len(alone)
    for row in made["worst"]:
        one = alone[row["account"]]
        assert row["ended"] == one["ended"]
        assert row["equity_usd"] == pytest.approx(one["equity_usd"], abs=1e-6)
        assert row["mm_usd"] == pytest.approx(one["mm_usd"], abs=1e-6)
        assert row["cost_usd"] == pytest.approx(one["cost_usd"], abs=1e-6)
        first = one["steps"][0]
        assert row["equity_before_usd"] == pytest.approx(first["equity_before_usd"], rel=1e-9)
        owed = sum(s["cost_usd"] for s in one["steps"] if s["action"] == "takeover")
        lacking = max(0.0, -owed) if row["ended"] == "taken-over" else max(0.0, -row["equity_usd"])
        assert row["deficit_usd"] == pytest.approx(lacking, abs=1e-6)
    assert made["deficit_usd"] == pytest.approx(sum(r["deficit_usd"] for r in made["worst"]))


def test_a_json_list_is_a_book(tmp_path: Path, alone: dict[str, Any]) -> None:
    path = tmp_path / "book.json"
    path.write_bytes(b"[" + b",".join(write_account(load_account(n)) for n in NAMES) + b"]")
    code, out, _ = run(str(path), *HOW, "--json")
    assert code == 0
    agree(json.loads(out), alone)
    code, out, _ = run(str(path), *HOW)
    assert code == 0 and "below their line" in out and "lacking" in out


def test_a_stored_book_is_margined_in_one_pass(tmp_path: Path, alone: dict[str, Any]) -> None:
    write_book_parquet(book_from_accounts([load_account(n) for n in NAMES]), tmp_path / "book")
    code, out, _ = run(str(tmp_path / "book"), *HOW, "--json")
    assert code == 0
    agree(json.loads(out), alone)


def test_an_account_comes_back_from_the_columns_of_a_book() -> None:
    files = [load_account(name) for name in NAMES]
    book = book_from_accounts(files)
    for row, file in enumerate(files):
        again = book_from_accounts([account_file(book, row)])
        once = book_from_accounts([file])
        for name in ("balance_amount", "position_quantity", "leg_quantity", "leg_price"):
            left, right = getattr(again, name), getattr(once, name)
            assert left == pytest.approx(right, nan_ok=True)
        entries = zip(again.position_entry.tolist(), once.position_entry.tolist())
        assert all(a == b or (a != a and b != b) for a, b in entries)


def made_ledger(path: Path) -> None:
    create_store(str(path))
    head = {"time": "2026-02-25T08:00:00Z"}
    events: list[Any] = [
        ev.ListContract(
            id="list", **head, instrument=PERP, type="perpetual", underlying="BTC", quote="USDC",
            settlement="USDC",
        )
    ]  # fmt: skip
    for name, money in (("alice", "4000"), ("bob", "90000")):
        events.append(ev.OpenAccount(id=name, **head, account=name))
        events.append(ev.Deposit(id=f"d {name}", **head, account=name, asset="USDC", amount=money))
    trade = ev.Trade(
        instrument=PERP, quantity="1", price="50000",
        buyer=ev.Side(account="alice"), seller=ev.Side(account="bob"),
    )  # fmt: skip
    events.append(ev.Fill(id="fill", **head, trade=trade))
    with open_journal(str(path), writer="test") as journal:
        journal.post(events)


def test_accounts_of_a_ledger(tmp_path: Path) -> None:
    ledger, market = tmp_path / "desk.ledger", tmp_path / "market.json"
    made_ledger(ledger)
    market.write_bytes(write_market(file_from_snapshot(fixture_g())))
    how = ("--market", str(market), "--move", "BTC=-0.07")
    with open_journal(str(ledger)) as journal:
        file = tmp_path / "alice.json"
        file.write_bytes(write_account(project_account(journal.state, "alice")))
    code, out, _ = run("alice", "--ledger", str(ledger), *how, "--json")
    assert json.loads(out)["steps"]
    assert (code, out) == run(str(file), *how, "--json")[:2]
    code, out, _ = run("*", "--ledger", str(ledger), *how, "--json")
    made = json.loads(out)
    assert (made["accounts"], made["below_line"]) == (2, 1)
    assert made["worst"][0]["account"] == "alice"
    code, _, err = run("carol", "--ledger", str(ledger), *how)
    assert code == 2 and "no account 'carol'" in err and "alice, bob" in err
    code, _, err = run("alice", "--ledger", str(ledger))
    assert code == 2 and "--market" in err


def test_wrong_books_are_refused_in_words(tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text("[]")
    assert "has no accounts" in run(str(empty))[2]
    broken = tmp_path / "broken.json"
    broken.write_text('[{"format": "crossmargin-account/1"}]')
    assert "account" in run(str(broken))[2]
    two = [msgspec.to_builtins(load_account(name)) for name in NAMES[:2]]
    path = tmp_path / "two.json"
    path.write_text(json.dumps(two))
    assert "Leave them out for a book" in run(str(path), "--lot", "BTC-PERPETUAL=10")[2]
    assert "no price for NOPE" in run(str(path), "--move", "NOPE=-0.1")[2]
