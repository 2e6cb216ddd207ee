"""To the last quantum: which way each amount is rounded, and where each bound stands."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.helpers import PERP
from tests.ledgers import INVERSE, Venue

from crossmargin.accounts import average_entry, project_account
from crossmargin.accounts import events as ev
from crossmargin.accounts.events import Side
from crossmargin.market import FundingIndex, funding_rate, funding_rule, funding_since

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


def test_an_inverse_future_settles_in_coin(v: Venue) -> None:
    """Long 50,000 USD at 50,000, settled at 62,500: 1 − 0.8 coins."""
    name = "BTC-27MAR26"
    v.do(ev.ListContract, instrument=name, type="future", underlying="BTC", quote="USD",
         settlement="BTC", quantity_decimals=0, expiry="2026-03-27T08:00:00Z")  # fmt: skip
    v.fill("a", "b", "50000", "50000", name)
    v.do(ev.Expiry, time="2026-03-27T08:00:00Z", instrument=name, price="62500")
    assert v.wallet("a", "BTC") == D("0.2") and v.wallet("b", "BTC") == D("-0.2")
    assert v.line("sys:rounding", "BTC") == 0


def test_funding_by_the_time_is_the_index_of_the_market_room(v: Venue) -> None:
    """Derive (derive-v2.md, section 5): an index that grows by the time."""
    v.fill("a", "b", "2.5", "50000")
    rule = funding_rule("derive-v2")
    index = FundingIndex(value=0.0, time_ns=0)
    start, now = index, 0
    for premium, price, seconds in (
        (0.0, 50_000, 3_600),
        (0.004, 51_234, 1_717),
        (-1.0, 47_777, 60),
    ):
        rate = funding_rate(rule, premium).rate
        now += seconds * 10**9
        index = index.accrue(rate, price, now)
        v.do(ev.Funding, instrument=PERP, rate=f"{rate:.18f}", price=str(price),
             elapsed_s=seconds, interval_s=3_600)  # fmt: skip
    assert float(v.wallet("a")) == pytest.approx(funding_since(2.5, start, index), abs=3e-6)
    assert float(v.wallet("b")) == pytest.approx(funding_since(-2.5, start, index), abs=3e-6)


def test_pots_of_one_account_do_not_answer_for_each_other_unasked(v: Venue) -> None:
    v.do(ev.OpenPot, account="a", pot="iso")
    v.deposit("a", "10")
    v.do(ev.FeeCharge, account="a", pot="iso", asset="USDC", amount="3")
    cover = {"source": ev.Place(account="a"), "target": ev.Place(account="a", pot="iso")}
    v.refused("LED-019", ev.Cover, asset="USDC", amount="3", **cover)
    v.do(ev.SetParameter, scope="account", target="a", name="ring_fenced", value="false")
    v.refused("LED-013", ev.Cover, asset="USDC", amount="3.000001", **cover)
    v.do(ev.Cover, asset="USDC", amount="3", **cover)
    assert v.wallet("a") == 7 and v.wallet("a", pot="iso") == 0


def test_an_id_is_printable(v: Venue) -> None:
    for name in ("a\tb", "", "x" * 201):
        v.refused("LED-017", ev.Deposit, id=name, account="a", asset="USDC", amount="1")


def test_a_struct_made_in_python_is_checked_like_a_line(v: Venue) -> None:
    """msgspec checks what it decodes, not what a caller makes."""
    perp = {"instrument": PERP, "rate": "0.1", "price": "5"}
    v.refused("LED-017", ev.Funding, elapsed_s=-5, **perp)
    v.refused("LED-017", ev.Funding, interval_s=0, **perp)
    v.refused("LED-017", ev.Redenominate, instrument=PERP, into=0)
    v.refused("LED-017", ev.SetState, account="a", state="asleep")
    v.refused("LED-017", ev.Deposit, account="a", asset="USDC", amount=1.5)
    v.refused("LED-017", ev.Deposit, account=object(), asset="USDC", amount="1")
    junk = v.trade(PERP, "1", "5", Side(account="a", leg="both"), None)  # type: ignore[arg-type]
    v.refused("LED-017", ev.Fill, trade=junk)


def test_times_that_64_bits_do_not_hold_are_refused(v: Venue) -> None:
    for time in ("1969-12-31T23:59:59Z", "2300-01-01T00:00:00Z"):
        v.refused("INP-010", ev.Deposit, time=time, account="a", asset="USDC", amount="1")


def test_a_value_beyond_all_bounds_is_refused(v: Venue) -> None:
    nines = "9" * 24
    trade = v.trade(PERP, nines, nines, Side(account="a"), Side(account="b"))
    assert "more than exist" in v.refused("LED-001", ev.Fill, trade=trade)


def test_a_correction_names_what_it_corrects(v: Venue) -> None:
    fee = v.do(ev.FeeCharge, account="a", asset="USDC", amount="3")
    put_right = {"account": "a", "asset": "USDC", "against": "fees"}
    v.refused("LED-014", ev.Correct, of="never", amount="1", **put_right)
    done = v.do(ev.Correct, of=fee.id, amount="1", **put_right)
    assert v.wallet("a") == -2 and v.line("sys:fees") == 2
    assert [t.code for t in done.transfers] == ["correction:fees"]
    v.do(ev.Correct, of=fee.id, amount="-0.5", **put_right)
    assert v.wallet("a") == D("-2.5")
