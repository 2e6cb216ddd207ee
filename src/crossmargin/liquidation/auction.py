"""Derive's Dutch auction: a slice of an account, cheaper by the second, to whoever bids.

Solvent accounts are sold slice by slice at a falling fraction of their value until a buffer above
maintenance margin is reached; insolvent ones are given away with money on top. Net margin as the
venue has it: MM and MtM hold collateral and cash, and MM ≥ 0 is healthy.

Source: Derive v2-core at 7736900, DutchAuction.sol (derive-v2.md §7, published). What happens to
the cash set aside when an auction turns insolvent is not stated there: here it is set aside no
longer (inferred).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.errors import LiquidationError
from crossmargin.figures import Data
from crossmargin.units import NS_PER_SECOND

Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[int, Meta(gt=0)]


class AuctionTerms(Data, frozen=True, kw_only=True):
    """Figures of the auction.

    Attributes
    ----------
    start, cutoff : float
        Fraction of value asked at the start and at the end of the fast phase.
    fast_s, slow_s, insolvent_s : int
        Length of each phase, seconds.
    fee_rate : float
        Of the value sold at the fair fraction, paid to the security module first.
    buffer : float
        How far beyond maintenance margin an auction goes.
    mtm_cutoff : float
        Accounts worth less are sold whole, US dollars.
    """

    start: Share
    cutoff: Share
    fast_s: Seconds
    slow_s: Seconds
    insolvent_s: Seconds
    fee_rate: Share
    buffer: Annotated[float, Meta(ge=0)]
    mtm_cutoff: Annotated[float, Meta(ge=0, le=1000)] = 0.0

    def __post_init__(self) -> None:
        """Refuse an auction whose price would rise."""
        if self.cutoff > self.start:
            raise ValueError("the cutoff lies above the start of the auction")


@dataclass(frozen=True, slots=True)
class NetMargin:
    """An account's maintenance margin and value, both net, US dollars, under one scenario."""

    mm: float
    mtm: float

    def buffered(self, buffer: float) -> float:
        """Return the buffer margin ``BM = MM + buffer·(MM − MtM)``."""
        return self.mm + buffer * (self.mm - self.mtm)


AuctionState = Literal["solvent", "insolvent", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Auction:
    """An auction under way.

    Attributes
    ----------
    terms : AuctionTerms
        Figures.
    state : AuctionState
        Phase.
    started_ns : int
        When this phase's clock began, ns UTC.
    reserved : float
        Cash that bidders have paid in: it is the account's own and is not sold on.
    fee : float
        Paid to the security module at the start, US dollars.
    shortfall : float
        MM shortfall frozen when it became insolvent: what gates withdrawals.
    """

    terms: AuctionTerms
    state: AuctionState
    started_ns: int
    reserved: float = 0.0
    fee: float = 0.0
    shortfall: float = 0.0

    def elapsed_s(self, now_ns: int) -> int:
        """Return whole seconds since this phase began.

        Raises
        ------
        LiquidationError
            ``LIQ-010`` for a moment before it.
        """
        if now_ns < self.started_ns:
            raise LiquidationError("the auction begins later", code="LIQ-010", field="now_ns")
        return (now_ns - self.started_ns) // NS_PER_SECOND


def price_fraction(terms: AuctionTerms, elapsed_s: int) -> float:
    """Return the fraction d of value that is asked after so many seconds.

    Linear from start to cutoff in the fast phase; then ``cutoff − floor(cutoff·T)/slow``, T being
    whole seconds into the slow phase: the chain truncates ``cutoff·T``, so that d goes down a
    staircase of steps of 1/slow, up to one step above the straight line; 0 after.
    """
    if elapsed_s < 0:
        raise LiquidationError("the auction begins later", code="LIQ-010", field="elapsed_s")
    if elapsed_s < terms.fast_s:
        return terms.start - (terms.start - terms.cutoff) * elapsed_s / terms.fast_s
    into = elapsed_s - terms.fast_s
    if into >= terms.slow_s:
        return 0.0
    # As written in decimals: 0.7·10 is 7, not the 6.999… of its binary neighbour.
    return terms.cutoff - math.floor(Fraction(repr(terms.cutoff)) * into) / terms.slow_s


def largest_fraction(terms: AuctionTerms, net: NetMargin, d: float, reserved: float = 0.0) -> float:
    """Return the largest fraction of the account that may be sold.

    ``f = BM/(BM − MtM·d − R·(1 − d))`` with BM capped at 0; 1 where ``MtM < mtm_cutoff``. Selling
    it brings BM to exactly 0.
    """
    if net.mtm < terms.mtm_cutoff:
        return 1.0
    bm = min(net.buffered(terms.buffer), 0.0)
    if bm == 0.0:
        return 0.0
    return bm / (bm - net.mtm * d - reserved * (1.0 - d))


def start_auction(terms: AuctionTerms, net: NetMargin, now_ns: int) -> Auction:
    """Start an auction; the fee leaves the account's cash before the first bid.

    Solvent where MtM > 0, with the fee ``f(d = 1, R = 0)·MtM·fee_rate``; insolvent otherwise
    (MtM = 0 is insolvent), without one.

    Parameters
    ----------
    net : NetMargin
        After interest and settlement of perpetuals.

    Raises
    ------
    LiquidationError
        ``LIQ-009`` when MM is at least 0: the account is healthy.
    """
    if net.mm >= 0:
        raise LiquidationError(
            f"maintenance margin is {net.mm:g}: a healthy account is not auctioned",
            code="LIQ-009",
            field="mm",
        )
    if net.mtm > 0:
        fee = largest_fraction(terms, net, 1.0) * net.mtm * terms.fee_rate
        return Auction(terms=terms, state="solvent", started_ns=now_ns, fee=fee)
    return _insolvent(Auction(terms=terms, state="insolvent", started_ns=now_ns), net, now_ns)


def _insolvent(auction: Auction, net: NetMargin, now_ns: int) -> Auction:
    return replace(
        auction, state="insolvent", started_ns=now_ns, reserved=0.0, shortfall=max(0.0, -net.mm)
    )


def review(auction: Auction, net: NetMargin, now_ns: int) -> Auction:
    """Return the auction as it stands after a look at the account.

    A solvent one ends when ``BM ≥ 0``; when ``MtM < 0`` or ``R ≥ MtM`` it ends and is started
    again where the account is still below, insolvent if ``MtM ≤ 0``. An insolvent one ends when
    ``MM ≥ 0``.
    """
    if auction.state == "ended":
        return auction
    if auction.state == "insolvent":
        return replace(auction, state="ended") if net.mm >= 0 else auction
    if net.buffered(auction.terms.buffer) >= 0:
        return replace(auction, state="ended")
    if net.mtm < 0 or auction.reserved >= net.mtm:
        if net.mm >= 0:
            return replace(auction, state="ended")
        return start_auction(auction.terms, net, now_ns)
    return auction


def turn_insolvent(auction: Auction, net: NetMargin, now_ns: int) -> Auction:
    """Turn a solvent auction that nobody bid on into an insolvent one.

    Raises
    ------
    LiquidationError
        ``LIQ-010`` before the slow phase is over, ``LIQ-009`` where MM is at least 0.
    """
    terms = auction.terms
    if auction.state != "solvent" or auction.elapsed_s(now_ns) < terms.fast_s + terms.slow_s:
        raise LiquidationError(
            "an auction turns insolvent only after its slow phase",
            code="LIQ-010",
            field="now_ns",
        )
    if net.mm >= 0:
        raise LiquidationError("maintenance margin is at least 0 again", code="LIQ-009", field="mm")
    return _insolvent(auction, net, now_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctionBid:
    """What a bid gets and pays.

    Attributes
    ----------
    fraction : float
        Of the account without the cash set aside.
    price : float
        Paid by the bidder to the account; below 0 it is paid to the bidder.
    price_fraction : float
        d, of value; 0 in an insolvent auction.
    largest : float
        What could have been bought.
    bidder_cash : float
        Cash that the bidder must hold at least.
    from_fund, socialised : float
        Of what is paid to the bidder: out of the security module, and by printing cash.
    ends : bool
        Whether the auction ends with it.
    """

    fraction: float
    price: float
    price_fraction: float
    largest: float
    bidder_cash: float
    from_fund: float = 0.0
    socialised: float = 0.0
    ends: bool


def place_bid(
    auction: Auction, net: NetMargin, fraction: float, now_ns: int, *, fund: float = 0.0
) -> tuple[Auction, AuctionBid]:
    """Buy a fraction of the account, at most the largest that may be sold.

    Solvent: price ``p·(MtM − R)·d``; afterwards R holds it. Insolvent: the bidder is paid
    ``p`` times what runs linearly from ``−min(MtM, 0)`` to ``−MM``, out of the security module
    first and by printing cash for the rest.

    Parameters
    ----------
    net : NetMargin
        The account now, cash set aside included.
    fraction : float
        Asked for, above 0 and up to 1.
    fund : float
        Cash in the security module.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` a fraction that is none, ``LIQ-009`` nothing may be sold.
    """
    if not 0 < fraction <= 1:
        raise LiquidationError(
            f"a bid is for a fraction above 0 and up to 1, not {fraction:g}",
            code="LIQ-001",
            field="fraction",
        )
    if auction.state == "ended":
        raise LiquidationError("the auction has ended", code="LIQ-009", field="state")
    if auction.state == "insolvent":
        return _insolvent_bid(auction, net, fraction, now_ns, fund)
    terms, reserved = auction.terms, auction.reserved
    d = price_fraction(terms, auction.elapsed_s(now_ns))
    most = largest_fraction(terms, net, d, reserved)
    if most <= 0:
        raise LiquidationError(
            "the buffer is there already: nothing may be sold", code="LIQ-009", field="fraction"
        )
    part = min(fraction, most)
    price = part * (net.mtm - reserved) * d
    bid = AuctionBid(
        fraction=part,
        price=price,
        price_fraction=d,
        largest=most,
        bidder_cash=price + abs(net.buffered(terms.buffer) - reserved) * part,
        ends=part >= most,
    )
    state: AuctionState = "ended" if bid.ends else "solvent"
    return replace(auction, state=state, reserved=reserved + price), bid


def _insolvent_bid(
    auction: Auction, net: NetMargin, fraction: float, now_ns: int, fund: float
) -> tuple[Auction, AuctionBid]:
    run = min(auction.elapsed_s(now_ns), auction.terms.insolvent_s) / auction.terms.insolvent_s
    low, high = -min(net.mtm, 0.0), max(-net.mm, 0.0)
    paid = fraction * (low + (high - low) * run)
    module = min(paid, fund)
    bid = AuctionBid(
        fraction=fraction,
        price=-paid,
        price_fraction=0.0,
        largest=1.0,
        bidder_cash=max(0.0, abs(net.mm) * fraction - paid),
        from_fund=module,
        socialised=paid - module,
        ends=fraction == 1.0,
    )
    return (replace(auction, state="ended") if bid.ends else auction), bid


def withdrawals_blocked(auctions: list[Auction], fund: float) -> bool:
    """Whether cash may not leave the venue.

    While the MM shortfalls of insolvent auctions, frozen at their start, exceed what the security
    module holds (derive-v2.md §6, published).
    """
    return math.fsum(a.shortfall for a in auctions if a.state == "insolvent") > fund
