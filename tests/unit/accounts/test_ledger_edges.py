"""To the last quantum: which way each amount is rounded, and where each bound stands."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.helpers import PERP
from tests.ledgers import INVERSE, Venue

from crossmargin.accounts import average_entry, project_account
from crossmargin.accounts import events as ev
from crossmargin.accounts.events import Side

D = Decimal
QUANTUM = D("0.000001")


@pytest.fixture
def v() -> Venue:
    made = Venue()
    made.perpetual()
    made.accounts("a", "b", "c")
    return made


def test_funding_payers_round_up_receivers_down(v: Venue) -> None:
    """3.3 quanta are due from two contracts, 1.65 to each of the other side."""
    v.fill("a", "b", "1", "50000")
    v.fill("a", "c", "1", "50000")
    v.do(ev.Funding, instrument=PERP, rate="0.000000000033", price="50000.00001")
    # 2 contracts: 3.3 quanta paid as 4; 1.65 received as 1, twice; 2 left over.
    assert v.wallet("a") == -4 * QUANTUM
    assert v.wallet("b") == v.wallet("c") == QUANTUM
    assert v.line("sys:rounding") == 2 * QUANTUM and v.line("sys:funding") == 0
    v.do(ev.Funding, instrument=PERP, rate="-0.000000000033", price="50000.00001")
    assert v.wallet("a") == -QUANTUM and v.wallet("b") == -QUANTUM


def test_debtors_round_up_lenders_down(v: Venue) -> None:
    v.deposit("a", "1")
    v.deposit("b", "2")
    v.do(ev.FeeCharge, account="c", asset="USDC", amount="0.000010")
    fields = {"asset": "USDC", "elapsed_s": 31_536_000, "rate": "0.41", "lender": "suppliers"}
    v.do(ev.Interest, **fields)
    # 4.1 quanta are due as 5; by 1 : 2 that is 1.67 and 3.33, paid as 1 and 3, 1 left over.
    assert v.line("c/cross:owed") == -5 * QUANTUM
    assert v.wallet("a") == 1 + QUANTUM and v.wallet("b") == 2 + 3 * QUANTUM
    assert v.line("sys:rounding") == QUANTUM and v.line("sys:interest") == 0


def test_a_session_pays_gains_down_and_losses_up(v: Venue) -> None:
    name = "ETH_USDC-PERPETUAL"
    v.perpetual(name, underlying="ETH", session=True)
    v.fill("a", "b", "0.5", "3000", name)
    v.mark("3000.000001", name)
    v.do(ev.SettleSession, asset="USDC")
    assert v.wallet("a") == 0 and v.wallet("b") == -QUANTUM
    v.mark("3000.000002", name)
    v.do(ev.SettleSession, asset="USDC")
    assert v.wallet("a") == QUANTUM and v.wallet("b") == -QUANTUM


def test_an_option_of_the_session_pays_into_the_session(v: Venue) -> None:
    name = "BTC_USDC-27MAR26-50000-C"
    v.do(ev.ListContract, instrument=name, type="option", underlying="BTC", quote="USDC",
         settlement="USDC", expiry="2026-03-27T08:00:00Z", strike="50000", right="call",
         session=True)  # fmt: skip
    v.fill("a", "b", "1", "100", name)
    v.do(ev.Expiry, time="2026-03-27T08:00:00Z", instrument=name, price="50500")
    assert v.wallet("a") == -100 and v.line("a/cross:session") == 500
    v.do(ev.SettleSession, asset="USDC")
    assert v.wallet("a") == 400 and v.wallet("b") == -400


def test_conversion_rounds_against_the_trader(v: Venue) -> None:
    v.deposit("a", "1")
    v.do(ev.Convert, account="a", source="USDC", amount="1", target="BTC", price="0.000019999",
         spread="0.0001")  # fmt: skip
    # 1,999.9 satoshi are given as 1,999; the spread of 0.1999 is taken as 1.
    assert v.wallet("a", "BTC") == D("0.00001998")


@pytest.mark.parametrize("kind", [ev.Withdrawal, ev.Reserve])
def test_not_one_quantum_more_than_there_is(v: Venue, kind: type[ev.EventBase]) -> None:
    v.deposit("a", "5")
    v.refused("LED-005", kind, account="a", asset="USDC", amount="5.000001")
    v.do(kind, account="a", asset="USDC", amount="5")


def test_a_location_cannot_be_overdrawn(v: Venue) -> None:
    v.deposit("a", "5", location="chain")
    there, home = ev.Place(account="a", location="chain"), ev.Place(account="a")
    move = {"source": there, "target": home, "asset": "USDC"}
    v.refused("LED-005", ev.MoveMoney, amount="5.000001", **move)
    v.refused("LED-008", ev.MoveMoney, source=home, target=home, asset="USDC", amount="1")
    v.do(ev.MoveMoney, amount="5", **move)
    assert v.wallet("a") == 5


def test_an_owner_cannot_take_out_what_he_owes_as_interest(v: Venue) -> None:
    v.deposit("a", "10")
    v.do(ev.Borrow, account="a", asset="USDC", amount="100")
    v.do(ev.Interest, asset="USDC", elapsed_s=31_536_000, rate="0.05")
    v.refused("LED-005", ev.Withdrawal, account="a", asset="USDC", amount="105.000001")
    v.do(ev.Withdrawal, account="a", asset="USDC", amount="105")


def test_a_short_moves_at_its_entry_too(v: Venue) -> None:
    v.fill("b", "a", "2", "50000")
    v.do(ev.MovePosition, instrument=PERP, quantity="2", source=Side(account="a"),
         target=Side(account="c"))  # fmt: skip
    assert v.wallet("a") == v.wallet("c") == 0
    assert average_entry(v.state.pot("c").positions[PERP, "net"]) == 50_000
    v.mark("49000")
    assert v.equity("c") == 2_000 and v.equity("b") == -2_000


def test_an_inverse_short_switches_pots_at_its_entry(v: Venue) -> None:
    v.inverse()
    v.do(ev.OpenPot, account="a", pot="iso")
    v.deposit("a", "1", "BTC")
    v.fill("b", "a", "50000", "50000", INVERSE)
    v.do(ev.SwitchMode, account="a", instrument=INVERSE, source="cross", target="iso", amount="0.5")
    v.mark("40000", INVERSE)
    assert v.equity("a", "BTC") == D("0.5") and v.equity("a", "BTC", pot="iso") == D("0.75")
    v.refused("LED-011", ev.SwitchMode, account="a", instrument=INVERSE, source="cross",
              target="iso")  # fmt: skip


def test_what_is_held_is_no_collateral(v: Venue) -> None:
    v.deposit("a", "100")
    v.do(ev.Withdrawal, account="a", asset="USDC", amount="30", pending=True)
    v.deposit("a", "7", pending=True)
    balances = project_account(v.state, "a").balances
    assert [(b.amount, b.pending) for b in balances] == [("70", False), ("7", True)]


def test_a_bust_names_what_was_booked(v: Venue) -> None:
    v.fill("a", "b", "1", "50000")
    booked = v.log[-1]
    other = ev.Fill(
        id=booked.id,
        time=booked.time,
        trade=v.trade(PERP, "2", "50000", Side(account="a"), Side(account="b")),
    )
    told = v.refused("LED-014", ev.Bust, fill=other)
    assert "not booked as it is given" in told
    unknown = ev.Fill(id="never", time=booked.time, trade=other.trade)
    v.refused("LED-014", ev.Bust, fill=unknown)
    v.do(ev.Bust, fill=booked)


def test_the_digest_knows_every_part_of_the_state(v: Venue) -> None:
    """Each event changes the digest, also those that move no money."""
    seen = {v.state.digest()}
    v.do(ev.Mark, prices={PERP: "1"})
    seen.add(v.state.digest())
    v.do(ev.SetState, account="a", state="warning")
    seen.add(v.state.digest())
    v.do(ev.SetParameter, scope="account", target="a", name="borrowing", value="true")
    seen.add(v.state.digest())
    v.do(ev.Proof, location="chain", proof_time="2026-02-25T08:00:00Z")
    seen.add(v.state.digest())
    assert len(seen) == 5


def test_average_entry_of_nothing(v: Venue) -> None:
    v.fill("a", "b", "1", "50000")
    v.fill("b", "a", "1", "50000")
    assert average_entry(v.state.pot("a").positions[PERP, "net"]) is None
