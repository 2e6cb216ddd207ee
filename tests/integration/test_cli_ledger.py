"""The commands of the ledger: what they print, their exit codes, their refusals."""

from __future__ import annotations

import json
import sqlite3

import polars as pl
import pytest

from crossmargin.accounts.store import Entry, TransferRow, open_store
from crossmargin.cli import main


def run(capsys, *tokens: str) -> tuple[int, str, str]:
    code = main(list(tokens))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def ledger(tmp_path) -> str:
    """Thirty entries: deposits with a JSON payload, the last with bytes."""
    path = str(tmp_path / "desk.ledger")
    with open_store(path, writer="test", create=True) as store:
        for i in range(1, 31):
            payload = b"\xff\x00" if i == 30 else b'{"amount": "%d"}' % i
            moved = TransferRow("sys:world", "ann/main/wallet", "USD", 10**20 + i, "deposit")
            store.append(
                [Entry(f"d{i}", 1_770_000_000_000_000_000 + i, "deposit", payload, (moved,))]
            )
    return path


def test_init_makes_a_ledger_once(tmp_path, capsys) -> None:
    path = str(tmp_path / "new")
    code, out, _ = run(capsys, "ledger", "init", path)
    assert code == 0 and "is made, and empty" in out
    code, out, err = run(capsys, "ledger", "init", path)
    assert code == 2 and out == "" and err.startswith("STO-002")
    code, out, _ = run(capsys, "ledger", "log", path)
    assert (code, out) == (0, "no entries\n")
    assert run(capsys, "ledger", "log", path, "--json")[1] == "[]\n"
    code, out, _ = run(capsys, "ledger", "init", str(tmp_path / "other"), "--json")
    assert json.loads(out)["head"].startswith("0:")
    code, out, _ = run(capsys, "ledger", "upgrade", path)
    assert code == 0 and "0 entries" in out


def test_verify_prints_a_head_that_later_proves_the_log(ledger, capsys) -> None:
    code, out, err = run(capsys, "ledger", "verify", ledger, "--quiet")
    assert code == 0 and err == ""
    assert out.splitlines()[0] == "good: 30 entries, all of them what was written"
    head = out.split()[-1]
    with open_store(ledger, writer="test") as store:
        store.append([Entry("d31", 1, "deposit", b"")])
    assert run(capsys, "ledger", "verify", ledger, "--quiet", "--head", head)[0] == 0
    code, out, _ = run(capsys, "ledger", "verify", ledger, "--json", "--head", f"40:{head[3:]}")
    found = json.loads(out)
    assert code == 1 and not found["ok"] and found["first_bad"] == 32 and found["entries"] == 31
    code, _, err = run(capsys, "ledger", "verify", ledger, "--head", "7")
    assert code == 2 and err.startswith("STO-007") and "--head" in err


def test_verify_tells_damage(ledger, capsys) -> None:
    connection = sqlite3.connect(ledger)
    connection.execute("DROP TRIGGER ledger_entries_no_update")
    connection.execute("UPDATE ledger_entries SET payload = x'00' WHERE seq = 12")
    connection.commit()
    connection.close()
    code, out, _ = run(capsys, "ledger", "verify", ledger, "--quiet")
    lines = out.splitlines()
    assert code == 1 and lines[0].startswith("DAMAGED: the content of entry 12 (id 'd12')")
    assert lines[1] == "good before it: entries 1 to 11"
    assert "• trigger ledger_entries_no_update is missing" in lines
    code, _, err = run(capsys, "ledger", "log", ledger, "--first", "1", "--json")
    assert code == 2 and err.startswith("STO-012: entry 12")


def test_log_shows_entries(ledger, capsys) -> None:
    code, out, _ = run(capsys, "ledger", "log", ledger)
    assert code == 0 and [int(line.split()[0]) for line in out.splitlines()] == list(range(11, 31))
    code, out, _ = run(
        capsys, "ledger", "log", ledger, "--first", "2", "--last", "2", "--transfers"
    )
    first, second = out.splitlines()
    assert "deposit" in first and "2026-02-02T02:40:00" in first and first.split()[3] == "d2"
    assert second.split() == [
        "sys:world", "→", "ann/main/wallet", "100000000000000000002", "USD", "deposit",
    ]  # fmt: skip
    code, out, _ = run(capsys, "ledger", "log", ledger, "--first", "29", "--json")
    rows = json.loads(out)
    assert [r["seq"] for r in rows] == [29, 30]
    assert rows[0]["payload"] == {"amount": "29"} and rows[1]["payload"] == {"base64": "/wA="}
    assert rows[0]["transfers"][0]["amount"] == "100000000000000000029"


def test_export_writes_parquet(ledger, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    code, said, _ = run(capsys, "ledger", "export", ledger, str(out))
    assert code == 0 and said.startswith("30 entries and 30 transfers written to")
    assert pl.read_parquet(out / "transfers" / "*.parquet")["amount"].sum() == 30 * 10**20 + 465
    code, _, err = run(capsys, "ledger", "export", ledger, str(out))
    assert code == 2 and err.startswith("STO-015")
    code, said, _ = run(capsys, "ledger", "export", ledger, str(tmp_path / "more"), "--json")
    assert json.loads(said)["entries"] == 30


@pytest.mark.parametrize("command", ["verify", "log", "upgrade", "export"])
def test_a_ledger_that_is_not_there(command, tmp_path, capsys) -> None:
    more = [str(tmp_path / "out")] if command == "export" else []
    code, out, err = run(capsys, "ledger", command, str(tmp_path / "none"), *more)
    assert (code, out) == (2, "") and err.startswith("STO-001") and err.count("\n") == 1
