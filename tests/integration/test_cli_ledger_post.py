"""The ledger on the command line, as a desk uses it: post, import, statement, reconcile."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crossmargin.cli import main

TIME = "2026-02-05T00:00:00Z"
PERP = "BTC_USDC-PERPETUAL"
EVENTS: list[dict[str, Any]] = [
    {
        "kind": "list_contract", "id": "list", "time": TIME, "instrument": PERP,
        "type": "perpetual", "underlying": "BTC", "quote": "USDC", "settlement": "USDC",
    },
    {"kind": "open_account", "id": "open", "time": TIME, "account": "desk"},
    {
        "kind": "deposit", "id": "deposit:1", "time": TIME, "account": "desk", "asset": "USDC",
        "amount": "10000",
    },
]  # fmt: skip
MARKS: list[dict[str, Any]] = [
    {"kind": "mark", "id": "mark", "time": "2026-02-05T02:00:00Z", "prices": {PERP: "51000"}},
    {
        "kind": "funding", "id": "funding:1", "time": "2026-02-05T02:00:00Z", "instrument": PERP,
        "rate": "0.0001",
    },
]  # fmt: skip


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str


def run(*words: str) -> Run:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(list(words))
    return Run(code, out.getvalue(), err.getvalue())


def lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Requirements row A22 as a ledger: deposit, buy, funding at 51,000, sell."""
    ledger = str(tmp_path / "desk.ledger")
    fills = tmp_path / "fills.csv"
    head = "id,time,instrument,side,quantity,price,fee\n"
    fills.write_text(f"{head}T1,2026-02-05T01:00:00Z,{PERP},buy,1,50000,25\n")
    assert run("ledger", "init", ledger).code == 0
    assert run("ledger", "post", ledger, lines(tmp_path / "a.jsonl", EVENTS)).code == 0
    assert run("ledger", "import", ledger, str(fills), "--account", "desk").code == 0
    assert run("ledger", "post", ledger, lines(tmp_path / "b.jsonl", MARKS)).code == 0
    fills.write_text(f"{head}T2,2026-02-05T03:00:00Z,{PERP},sell,0.4,51000,10.2\n")
    assert run("ledger", "import", ledger, str(fills), "--account", "desk").code == 0
    return tmp_path


def data(*words: str) -> Any:
    return json.loads(run(*words, "--json").out)


def test_the_statement_has_the_figures_of_the_row(desk: Path) -> None:
    made = data("ledger", "statement", str(desk / "desk.ledger"), "desk")
    (money,) = made["money"]
    assert (money["wallet"], money["equity"]) == ("10359.7", "10959.7")
    assert money["causes"] == {
        "price": "1000", "funding": "-5.1", "fees": "-35.2", "transfers": "10000",
    }  # fmt: skip
    (position,) = made["positions"]
    assert (position["quantity"], position["entry_price"], position["unrealised"]) == (
        "0.6", "50000", "600",
    )  # fmt: skip
    shown = run("ledger", "statement", str(desk / "desk.ledger"), "desk")
    assert shown.code == 0
    assert "10959.7" in shown.out
    margined = data(
        "ledger", "statement", str(desk / "desk.ledger"), "desk", "--market", "calm-2026-02-03",
        "--ruleset", "deribit-pm-cross",
    )  # fmt: skip
    assert margined["margin"][0]["mm"] > 0


def test_posting_again_changes_nothing_and_refusals_are_named(desk: Path) -> None:
    ledger = str(desk / "desk.ledger")
    before = data("ledger", "post", ledger, str(desk / "a.jsonl"))
    assert (before["applied"], before["duplicates"], before["refused"]) == (0, 3, [])
    bad = [
        EVENTS[2] | {"id": "x", "account": "nobody"},
        EVENTS[2] | {"id": "y", "amount": 5},
        EVENTS[2] | {"id": "z", "amount": "1"},
    ]
    found = run("ledger", "post", ledger, lines(desk / "c.jsonl", bad), "--json")
    assert found.code == 1
    made = json.loads(found.out)
    assert made["applied"] == 1
    assert [(x["line"], x["error"]["code"]) for x in made["refused"]] == [
        (1, "LED-002"),
        (2, "LED-017"),
    ]
    words = run("ledger", "post", ledger, str(desk / "c.jsonl"))
    assert "there is no account 'nobody'. Open it first" in words.out


def venue_log(desk: Path) -> Path:
    rows = [
        ("deposit", "10000", "2026-02-05T00:00:01Z", ""),
        ("trade", "-25", "2026-02-05T01:00:00.5Z", "T1"),
        ("funding", "-5.2", "2026-02-05T02:00:00Z", ""),
        ("trade", "389.9", "2026-02-05T03:00:00Z", "T2"),
        ("fee", "-1", "2026-02-05T04:00:00Z", ""),
    ]
    log = desk / "log.csv"
    log.write_text(
        "id,time,asset,amount,kind,reference\n"
        + "".join(f"{k},{t},USDC,{x},{kind},{r}\n" for k, (kind, x, t, r) in enumerate(rows))
    )
    return log


def test_a_venues_log_beside_ours(desk: Path) -> None:
    log = venue_log(desk)
    found = run("ledger", "reconcile", str(desk / "desk.ledger"), "desk", str(log), "--json")
    assert found.code == 1
    made = json.loads(found.out)
    assert made["matched"] == 2
    assert [(b["kind"], b["difference"]) for b in made["breaks"]] == [
        ("amount", "-0.1"),
        ("amount", "0.1"),
        ("missing here", "-1"),
    ]
    assert made["differences"] == {"USDC": "-1"}
    shown = run("ledger", "reconcile", str(desk / "desk.ledger"), "desk", str(log))
    assert "2 matched" in shown.out
    assert "the venue's log less ours: -1 USDC" in shown.out


def test_corrections_are_posted_when_confirmed_and_only_once(desk: Path) -> None:
    ledger, log = str(desk / "desk.ledger"), str(venue_log(desk))
    how = ("ledger", "reconcile", ledger, "desk", log)
    entries = data("ledger", "verify", ledger)["entries"]
    asked = run(*how, "--post")
    assert asked.code == 1 and "3 corrections could be posted; add --post --yes" in asked.out
    assert data("ledger", "verify", ledger)["entries"] == entries
    done = run(*how, "--post", "--yes", "--json")
    made = json.loads(done.out)
    assert (done.code, made["breaks"], made["differences"]) == (0, [], {})
    assert made["corrections"]["posted"] == 3
    assert made["corrections"]["ids"] == [
        "correct:funding:USDC:#2", "correct:trade:USDC:T2", "correct:fee:USDC:#4",
    ]  # fmt: skip
    assert data("ledger", "verify", ledger)["entries"] == entries + 3
    (money,) = data("ledger", "statement", ledger, "desk")["money"]
    assert money["wallet"] == "10358.7"  # 10,359.70 of the row, less 1
    assert money["causes"]["funding"] == "-5.2" and money["causes"]["fees"] == "-36.2"
    again = data(*how, "--post", "--yes")
    assert again["corrections"] == {
        "proposed": 0, "posted": 0, "duplicates": 0, "refused": [], "ids": [],
        "words": "no corrections to post",
    }  # fmt: skip
    assert data("ledger", "verify", ledger)["entries"] == entries + 3


def test_the_same_corrections_from_another_place_count_once(desk: Path) -> None:
    """Two desks reconcile the same log before either has posted."""
    from crossmargin.accounts import Duplicate, Scales
    from crossmargin.accounts.corrections import corrections
    from crossmargin.accounts.journal import open_journal
    from crossmargin.accounts.matching import match_logs
    from crossmargin.venues.transaction_logs import read_transaction_log

    theirs = read_transaction_log(str(venue_log(desk)), scales=Scales())
    with open_journal(str(desk / "desk.ledger"), writer="test") as journal:
        found = match_logs(journal.wallet_lines("desk"), theirs.lines, as_of_ns=2**60)
        events = corrections(found.breaks, "desk", journal.opening_of("desk"), Scales())
        journal.post(events)
        digest = journal.state.digest()
        assert all(isinstance(x, Duplicate) for x in journal.post(events))
        assert journal.state.digest() == digest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("reconcile", "LEDGER", "desk", "LOG", "--yes"), "nothing is to be posted"),
        (("statement", "LEDGER", "nobody"), "no account 'nobody'"),
        (("statement", "LEDGER", "desk", "--ruleset", "span"), "market and a rule-set"),
        (("statement", "LEDGER", "desk", "--entries", "-5"), "-5 entries"),
        (("statement", "LEDGER", "desk", "--html", "x.html"), "market and a rule-set"),
        (("post", "LEDGER", "none.jsonl"), "none.jsonl"),
        (("reconcile", "LEDGER", "desk", "none.csv"), "none.csv"),
        (("import", "none.ledger", "none.csv", "--account", "desk"), "none.ledger"),
    ],
)
def test_wrong_input_is_a_sentence(desk: Path, words: tuple[str, ...], said: str) -> None:
    given = [str(desk / "desk.ledger") if w == "LEDGER" else w for w in words]
    found = run("ledger", *given)
    assert found.code == 2
    assert said in found.err
    assert "Traceback" not in found.err
