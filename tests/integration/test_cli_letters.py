"""Letters: what a holder is told of a day in which he is called, reduced and taken over."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crossmargin.accounts import events as ev
from crossmargin.accounts.journal import open_journal
from crossmargin.accounts.letters import letters_of
from crossmargin.accounts.store import create_store
from crossmargin.cli import main
from crossmargin.errors import LedgerError
from crossmargin.liquidation import liquidation_rules
from crossmargin.liquidation.day import Rates, VenueDay
from crossmargin.units import NS_PER_SECOND, format_time

PERP = "BTC_USDC-PERPETUAL"
START = 1_770_249_600 * NS_PER_SECOND
PRICES = ("50000", "46100", "45500", "45200", "30000")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("letters") / "desk.ledger")
    create_store(path)
    head = {"time": format_time(START)}
    made: list[Any] = [
        ev.ListContract(
            id="list", **head, instrument=PERP, type="perpetual", underlying="BTC", quote="USDC",
            settlement="USDC", quantity_decimals=4,
        ),
        ev.FundPayIn(id="fund", **head, group="main", asset="USDC", amount="50000"),
    ]  # fmt: skip
    for name, money in (("alice", "7000"), ("bob", "200000")):
        made.append(ev.OpenAccount(id=name, **head, account=name, owner=name.title()))
        made.append(ev.Deposit(id=f"d {name}", **head, account=name, asset="USDC", amount=money))
    trade = ev.Trade(
        instrument=PERP, quantity="1", price="50000",
        buyer=ev.Side(account="alice"), seller=ev.Side(account="bob"),
    )  # fmt: skip
    made.append(ev.Fill(id="fill", **head, trade=trade))
    with open_journal(path, writer="test") as journal:
        journal.post(made)
        rates = {PERP: Rates(im=0.10, mm=0.05)}
        day = VenueDay(journal.state, journal.post, rates, liquidation_rules("house"))
        for k, price in enumerate(PRICES):
            day.mark(START + (k + 1) * 60 * NS_PER_SECOND, {PERP: price})
    return path


def run(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["ledger", "letters", *words])
    return code, out.getvalue(), err.getvalue()


def test_the_letters_of_a_bad_day(ledger: str, tmp_path: Path) -> None:
    page = tmp_path / "letters.html"
    code, out, _ = run(ledger, "alice", "--json", "--html", str(page))
    letters = json.loads(out)
    assert code == 0
    assert [(x["kind"], x["state"]) for x in letters][:2] == [
        ("margin call", "reduce-only"),
        ("closing", letters[1]["state"]),
    ]
    call = letters[0]
    # 7,000 less 3,900 against 10 % of 46,100.
    assert (call["equity"], call["required"], call["lacking"]) == ("3100", "4610", "1510")
    assert "closed by force" in call["otherwise"] and call["until"] is None
    for words in ("Margin call for alice/cross", "Lacking: 1510 USDC", "to Alice", "Otherwise: "):
        assert words in call["text"]
    closings = [x for x in letters if x["kind"] == "closing"]
    whats = [line["what"] for x in closings for line in x["lines"]]
    assert whats[0] == "closed" and "taken over" in whats
    first = closings[0]["lines"][0]
    assert (first["instrument"], first["price"]) == (PERP, PRICES[3])
    fee = Decimal(first["quantity"]) * Decimal(PRICES[3]) * Decimal("0.005")
    assert abs(Decimal(first["fee"]) - fee) <= Decimal("0.000001")
    made = Decimal(first["quantity"]) * (Decimal(PRICES[3]) - 50_000)
    assert Decimal(first["amount"]) == made
    assert closings[-1]["wallet"] == {"USDC": "0"}
    written = page.read_text()
    assert "Margin call for alice/cross" in written and "Positions of alice/cross" in written
    assert written.count("<h2") == len(letters)


def test_text_last_and_nobody(ledger: str) -> None:
    code, out, _ = run(ledger, "alice", "--last", "1")
    assert code == 0 and out.count("of the ledger)") == 1
    code, out, _ = run(ledger, "bob")
    assert (code, out) == (0, "no letters\n")
    code, _, err = run(ledger, "carol")
    assert code == 2 and "carol" in err
    code, _, err = run(ledger, "alice", "--last", "0")
    assert code == 2 and "1 or more" in err


def test_an_unknown_account_has_no_letters(ledger: str) -> None:
    with open_journal(ledger) as journal, pytest.raises(LedgerError):
        letters_of(journal.state, "nobody", journal.records())
