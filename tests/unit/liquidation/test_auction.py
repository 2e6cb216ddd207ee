"""Derive's auction: price fraction with its staircase, buffer, restarts, insolvency."""

from __future__ import annotations

import msgspec
import pytest

from crossmargin.errors import LiquidationError
from crossmargin.liquidation import (
    Auction,
    AuctionTerms,
    NetMargin,
    largest_fraction,
    place_bid,
    price_fraction,
    review,
    start_auction,
    turn_insolvent,
    withdrawals_blocked,
)

SECOND = 1_000_000_000
TERMS = AuctionTerms(
    start=0.95,
    cutoff=0.70,
    fast_s=900,
    slow_s=43_200,
    insolvent_s=3_600,
    fee_rate=0.10,
    buffer=0.15,
)
LOW = NetMargin(mm=-100.0, mtm=120.0)


def test_the_published_ramp() -> None:
    """0.95 to 0.70 in 15 minutes, to 0 in 12 hours more (docs.derive.xyz, deploy script)."""
    assert price_fraction(TERMS, 0) == 0.95
    assert price_fraction(TERMS, 450) == pytest.approx(0.825)
    assert price_fraction(TERMS, 900) == 0.70
    assert price_fraction(TERMS, 900 + 43_200) == 0.0


def test_the_slow_phase_is_a_staircase() -> None:
    """Whole steps of 1/slow, never under the straight line, less than a step above it."""
    steps = set()
    for into in range(0, 43_200, 7):
        d = price_fraction(TERMS, 900 + into)
        gone = (0.70 - d) * 43_200
        assert gone == pytest.approx(round(gone), abs=1e-6)
        assert round(gone) == 7 * into // 10, "integer arithmetic, not binary fractions"
        line = 0.70 * (1 - into / 43_200)
        assert -1e-12 <= d - line < 1 / 43_200
        steps.add(round(gone))
    assert price_fraction(TERMS, 901) == 0.70 and price_fraction(TERMS, 902) < 0.70
    assert 2e-5 < 1 / 43_200 < 2.4e-5


def test_selling_the_largest_fraction_reaches_the_buffer() -> None:
    d, reserved = 0.9, 15.0
    net = NetMargin(mm=-60.0, mtm=110.0)
    f = largest_fraction(TERMS, net, d, reserved)
    price = f * (net.mtm - reserved) * d
    mtm = (net.mtm - reserved) * (1 - f) + reserved + price
    mm = (net.mm - reserved) * (1 - f) + reserved + price
    assert NetMargin(mm, mtm).buffered(0.15) == pytest.approx(0, abs=1e-12)


def test_small_accounts_go_whole() -> None:
    terms = msgspec.structs.replace(TERMS, mtm_cutoff=200.0)
    assert largest_fraction(terms, LOW, 0.9) == 1.0
    assert largest_fraction(TERMS, NetMargin(40.0, 120.0), 0.9) == 0.0


def test_a_solvent_auction() -> None:
    auction = start_auction(TERMS, LOW, 5 * SECOND)
    # f = BM/(BM − MtM) with BM = −100 − 0.15·220 = −133.
    assert auction.fee == pytest.approx(133 / 253 * 120 * 0.10)
    net = NetMargin(LOW.mm - auction.fee, LOW.mtm - auction.fee)
    after, bid = place_bid(auction, net, 0.05, 5 * SECOND)
    assert bid.price == pytest.approx(0.05 * net.mtm * 0.95) and not bid.ends
    assert after.reserved == bid.price and after.state == "solvent"
    assert bid.bidder_cash == pytest.approx(bid.price + abs(net.buffered(0.15)) * 0.05)
    after, bid = place_bid(auction, net, 1.0, 5 * SECOND)
    assert bid.ends and after.state == "ended" and bid.fraction == bid.largest < 1
    with pytest.raises(LiquidationError, match="has ended"):
        place_bid(after, net, 0.1, 6 * SECOND)


def test_healthy_accounts_are_left_alone() -> None:
    with pytest.raises(LiquidationError, match="LIQ-009"):
        start_auction(TERMS, NetMargin(0.0, 100.0), 0)
    running = start_auction(TERMS, LOW, 0)
    with pytest.raises(LiquidationError, match="nothing may be sold"):
        place_bid(running, NetMargin(50.0, 120.0), 0.5, SECOND)


def test_a_look_at_the_account() -> None:
    running = start_auction(TERMS, LOW, 0)
    assert review(running, LOW, SECOND) == running
    # Above maintenance, below the buffer: it goes on.
    assert review(running, NetMargin(5.0, 120.0), SECOND).state == "solvent"
    assert review(running, NetMargin(20.0, 120.0), SECOND).state == "ended"
    # Worth less than what bidders paid in: it ends and starts again.
    paid = Auction(terms=TERMS, state="solvent", started_ns=0, reserved=130.0)
    again = review(paid, LOW, 9 * SECOND)
    assert (again.state, again.started_ns, again.reserved) == ("solvent", 9 * SECOND, 0.0)
    gone = review(running, NetMargin(-150.0, -10.0), 9 * SECOND)
    assert (gone.state, gone.shortfall, gone.fee) == ("insolvent", 150.0, 0.0)
    assert review(gone, NetMargin(0.0, 1.0), 10 * SECOND).state == "ended"
    assert review(gone, NetMargin(-1.0, 1.0), 10 * SECOND).state == "insolvent"


def test_value_of_nothing_is_insolvent() -> None:
    found = start_auction(TERMS, NetMargin(-100.0, 0.0), 0)
    assert found.state == "insolvent" and found.fee == 0.0 and found.shortfall == 100.0


def test_nobody_bids() -> None:
    running = start_auction(TERMS, LOW, 0)
    with pytest.raises(LiquidationError, match="LIQ-010"):
        turn_insolvent(running, LOW, (900 + 43_199) * SECOND)
    over = (900 + 43_200) * SECOND
    _, bid = place_bid(running, LOW, 0.1, over)
    assert bid.price == 0.0 and bid.price_fraction == 0.0
    assert turn_insolvent(running, LOW, over).state == "insolvent"
    with pytest.raises(LiquidationError, match="LIQ-009"):
        turn_insolvent(running, NetMargin(0.0, 120.0), over)


@pytest.mark.parametrize(
    ("elapsed", "whole"), [(0, 40.0), (1_800, 70.0), (3_600, 100.0), (9_999, 100.0)]
)
def test_an_insolvent_bid_is_paid_for(elapsed: int, whole: float) -> None:
    """From −MtM to −MM over an hour; the security module first, then everybody."""
    net = NetMargin(mm=-100.0, mtm=-40.0)
    running = start_auction(TERMS, net, 0)
    after, bid = place_bid(running, net, 0.5, elapsed * SECOND, fund=25.0)
    assert bid.price == pytest.approx(-0.5 * whole)
    assert bid.from_fund + bid.socialised == pytest.approx(0.5 * whole)
    assert bid.from_fund == min(25.0, 0.5 * whole) and after.state == "insolvent"
    assert bid.bidder_cash == pytest.approx(50.0 - 0.5 * whole)
    after, bid = place_bid(running, net, 1.0, elapsed * SECOND)
    assert bid.ends and after.state == "ended" and bid.socialised == pytest.approx(whole)


def test_withdrawals_wait_for_the_module() -> None:
    running = start_auction(TERMS, NetMargin(-100.0, -1.0), 0)
    assert withdrawals_blocked([running, running], 150.0)
    assert not withdrawals_blocked([running], 100.0)
    assert not withdrawals_blocked([start_auction(TERMS, LOW, 0)], 0.0)


def test_bad_questions() -> None:
    running = start_auction(TERMS, LOW, 100 * SECOND)
    with pytest.raises(LiquidationError, match="begins later"):
        place_bid(running, LOW, 0.5, 0)
    with pytest.raises(LiquidationError, match="begins later"):
        price_fraction(TERMS, -1)
    with pytest.raises(LiquidationError, match="fraction"):
        place_bid(running, LOW, 0.0, 100 * SECOND)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**msgspec.to_builtins(TERMS), "cutoff": 0.99}, AuctionTerms)
