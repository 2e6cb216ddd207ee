"""Snapshots are a cache: what they restore is the state, and goes on like it."""

from __future__ import annotations

import pytest
from tests.helpers import PERP
from tests.ledgers import Venue
from tests.soak.draw import CONTRACTS, PRICES, TIME, Draw, beginning

from crossmargin.accounts import Applied, State, apply, begin, money_of, restore, snapshot
from crossmargin.accounts import events as ev
from crossmargin.accounts.pnl import CAUSES, position_value
from crossmargin.errors import LedgerError


def drawn(events: int, seed: int) -> tuple[State, Draw]:
    state = State()
    for event in beginning(20):
        assert isinstance(apply(state, event), Applied)
    draw = Draw(state, seed)
    for _ in range(events):
        apply(state, draw.event())
    return state, draw


def test_a_restored_state_goes_on_as_the_first_does() -> None:
    state, draw = drawn(1_500, 11)
    copy = restore(snapshot(state))
    assert copy.digest() == state.digest()
    assert snapshot(copy) == snapshot(restore(snapshot(copy)))
    kinds = set()
    for _ in range(1_500):
        event = draw.event()
        one, two = apply(state, event), apply(copy, event)
        assert type(one) is type(two), event
        if isinstance(one, Applied) and isinstance(two, Applied):
            assert one.transfers == two.transfers and one.seq == two.seq
            kinds.add(type(event).__name__)
    copy.audit()
    assert copy.digest() == state.digest()
    assert len(kinds) > 20


def test_a_damaged_snapshot_is_refused() -> None:
    state, _ = drawn(50, 1)
    raw = snapshot(state)
    for bad in (b"", raw[:-1], raw.replace(b"a001/cross:wallet", b"a002/cross:wallet"), b"\xc1"):
        with pytest.raises(LedgerError, match="LED-021"):
            restore(bad)


def test_causes_add_up_to_the_change_of_equity() -> None:
    """Over thousands of random events, exactly, for every pot and asset."""
    state, draw = drawn(300, 5)
    mark = ev.Mark(id="all", time=TIME, prices={n: str(PRICES[n]) for n in CONTRACTS})
    assert isinstance(apply(state, mark), Applied)

    def equity(pot: object, asset: str) -> object:
        money = money_of(state, pot, asset)  # type: ignore[arg-type]
        counted = money.wallet + money.elsewhere + money.session + money.loan + money.owed
        costs = sum(
            p.cost.balance
            for p in pot.positions.values()  # type: ignore[attr-defined]
            if p.contract.settlement == asset
        )
        return counted + costs + position_value(pot, asset)  # type: ignore[arg-type]

    watched = [(pot, asset) for pot in state.pots() for asset in ("USDC", "BTC", "ETH")]
    books = [begin(state, pot, asset) for pot, asset in watched]
    before = [equity(pot, asset) for pot, asset in watched]
    year = {"asset": "USDC", "elapsed_s": 31_536_000, "rate": "0.1", "lender": "suppliers"}
    for number in range(2_000):
        event = draw.event()
        if number % 500 == 0:
            event = ev.Interest(id=f"interest {number}", time=TIME, **year)
        outcome = apply(state, event)
        if isinstance(outcome, Applied):
            moved = outcome.transfers
            for book in books:
                book.add(moved)
    seen = set()
    for (pot, asset), book, start in zip(watched, books, before):
        causes = book.causes(state)
        assert start + sum(causes.values()) == equity(pot, asset)  # type: ignore[operator]
        seen |= {cause for cause, amount in causes.items() if amount}
    assert seen == set(CAUSES)


def test_causes_of_row_a22() -> None:
    """Price 1,000, funding −5.10, fees −35.20: 959.70 in all."""
    v = Venue()
    v.perpetual()
    v.accounts("a")
    v.deposit("a", "10000")
    book = begin(v.state, v.state.pot("a"), "USDC")
    book.add(v.fill("a", None, "1", "50000", fees=("25", "0")).transfers)
    v.mark("51000")
    book.add(v.do(ev.Funding, instrument=PERP, rate="0.0001").transfers)
    book.add(v.fill(None, "a", "0.4", "51000", fees=("0", "10.2")).transfers)
    causes = {cause: v.text(int(amount)) for cause, amount in book.causes(v.state).items()}
    assert {cause: str(x) for cause, x in causes.items() if x} == {
        "price": "1000",
        "funding": "-5.1",
        "fees": "-35.2",
    }
