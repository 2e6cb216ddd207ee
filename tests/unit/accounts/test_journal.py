"""The kept ledger: durable posts, replay on opening, P&L by cause, lines for a venue's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossmargin.accounts import Applied, Duplicate, Refused, State, apply
from crossmargin.accounts import events as ev
from crossmargin.accounts.journal import Journal, open_journal
from crossmargin.accounts.matching import match_logs
from crossmargin.accounts.store import Entry, create_store, open_store
from crossmargin.errors import LedgerError, StoreError

TIME = "2026-02-05T00:00:00Z"
PERP = "BTC_USDC-PERPETUAL"


def a22() -> list[ev.Event]:
    """The sequence of requirements row A22."""
    perp = ev.ListContract(
        id="list", time=TIME, instrument=PERP, type="perpetual", underlying="BTC", quote="USDC",
        settlement="USDC",
    )  # fmt: skip

    def fill(name: str, quantity: str, price: str, fee: str, *, buys: bool) -> ev.Fill:
        side = ev.Side(account="a", fee=fee)
        trade = ev.Trade(
            instrument=PERP, quantity=quantity, price=price,
            buyer=side if buys else None, seller=None if buys else side,
        )  # fmt: skip
        return ev.Fill(id=f"fill:{name}", time=TIME, trade=trade)

    return [
        perp,
        ev.OpenAccount(id="open", time=TIME, account="a"),
        ev.Deposit(id="deposit:1", time=TIME, account="a", asset="USDC", amount="10000"),
        fill("T1", "1", "50000", "25", buys=True),
        ev.Mark(id="mark", time=TIME, prices={PERP: "51000"}),
        ev.Funding(id="funding:1", time=TIME, instrument=PERP, rate="0.0001"),
        fill("T2", "0.4", "51000", "10.2", buys=False),
    ]


def made(path: Path) -> Path:
    create_store(path)
    with open_journal(path, writer="test") as journal:
        outcomes = journal.post(a22())
    assert all(isinstance(x, Applied) for x in outcomes)
    return path


def test_what_was_posted_is_there_after_opening_again(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ledger")
    with open_journal(path) as again:
        wallet = again.state.pot("a").wallet("USDC").balance
        assert wallet == 10_359_700_000
        fresh = State()
        for event in a22():
            apply(fresh, event)
        assert again.state.digest() == fresh.digest()


def test_duplicates_and_refusals_are_answers_and_are_not_stored(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ledger")
    late = ev.Deposit(id="deposit:2", time=TIME, account="nobody", asset="USDC", amount="1")
    with open_journal(path, writer="test") as journal:
        found = journal.post([*a22(), late])
        assert [type(x) for x in found] == [*([Duplicate] * 7), Refused]
        assert sum(1 for _ in journal.records()) == 7


def test_a_store_that_fails_ends_the_journal_and_a_new_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "a.ledger")
    more = ev.Deposit(id="deposit:2", time=TIME, account="a", asset="USDC", amount="1")
    with open_journal(path, writer="test") as journal:

        def full(self: object, entries: object) -> None:
            raise StoreError("the disk is full", code="STO-009")

        with monkeypatch.context() as patch:
            patch.setattr(type(journal._store), "append", full)
            with pytest.raises(StoreError, match="full"):
                journal.post([more])
        with pytest.raises(StoreError, match="not to be used"):
            journal.post([more])
    with open_journal(path, writer="test") as journal:
        assert isinstance(journal.post([more])[0], Applied)
        assert journal.state.pot("a").wallet("USDC").balance == 10_360_700_000


def test_what_is_posted_together_is_stored_together_or_not_at_all(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ledger")

    def more(name: str) -> ev.Deposit:
        return ev.Deposit(id=name, time=TIME, account="a", asset="USDC", amount="1")

    with open_journal(path, writer="test") as journal:
        with journal.together():
            journal.post([more("x")])
            journal.post([more("y")])
            assert journal.state.pot("a").wallet("USDC").balance == 10_361_700_000
            assert sum(1 for _ in journal.records()) == 7
        assert sum(1 for _ in journal.records()) == 9
        with pytest.raises(KeyError), journal.together():
            journal.post([more("z")])
            raise KeyError
        with pytest.raises(StoreError, match="not to be used"):
            journal.post([more("w")])
    with open_journal(path) as again:
        assert again.state.count == 9


def test_a_log_whose_transfers_are_not_those_of_its_events_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ledger"
    create_store(path)
    with open_store(path, writer="forger") as store:
        from crossmargin.accounts import payload
        from crossmargin.accounts.store import TransferRow

        opened, deposit = a22()[1:3]
        forged = [TransferRow("sys:world", "a/cross:wallet", "USDC", 7, "deposit")]
        store.append([Entry(opened.id, 0, "open_account", payload(opened))])
        store.append([Entry(deposit.id, 0, "deposit", payload(deposit), forged)])
    with pytest.raises(LedgerError, match="moves other amounts") as error:
        open_journal(path)
    assert error.value.code == "LED-030"
    with open_store(path, writer="forger") as store:
        store.append([Entry("x", 0, "deposit", b"{}")])
    with pytest.raises(LedgerError, match="does not give what was stored"):
        open_journal(path)


def test_a_snapshot_spares_the_replay_and_a_bad_one_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossmargin.accounts import journal as module

    monkeypatch.setattr(module, "SNAPSHOT_EVERY", 5)
    path = made(tmp_path / "a.ledger")
    seen: list[tuple[int, int]] = []
    with open_journal(path, writer="test", progress=lambda a, b: seen.append((a, b))) as journal:
        digest = journal.state.digest()
    with open_journal(path, writer="test", progress=lambda a, b: seen.append((a, b))) as journal:
        assert journal.state.digest() == digest
    assert seen == [(7, 7)]
    with open_store(path, writer="test") as store:
        store.snapshot_put("state", 7, b"nonsense")
    with open_journal(path) as journal:
        assert journal.state.digest() == digest


def test_lines_for_a_venues_log(tmp_path: Path) -> None:
    with open_journal(made(tmp_path / "a.ledger")) as journal:
        lines = journal.wallet_lines("a")
        assert [(x.reference, x.kind, x.amount) for x in lines] == [
            ("", "deposit", 10_000_000_000),
            ("T1", "trade", -25_000_000),
            ("", "funding", -5_100_000),
            ("T2", "trade", 389_800_000),
        ]
        found = match_logs(lines, lines, as_of_ns=0)
        assert found.breaks == ()
        with pytest.raises(LedgerError, match="no account 'b'"):
            journal.wallet_lines("b")


def test_reading_needs_no_lock_and_cannot_post(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ledger")
    with open_journal(path, writer="one"), open_journal(path) as reader:
        assert isinstance(reader, Journal)
        with pytest.raises(StoreError):
            reader.post([ev.Deposit(id="z", time=TIME, account="a", asset="USDC", amount="1")])
