"""Derive's recorded liquidations end to end: PM1 margin by our engine, auction by our rules."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crossmargin.liquidation import (
    AuctionTerms,
    NetMargin,
    largest_fraction,
    place_bid,
    price_fraction,
    review,
    start_auction,
)
from crossmargin.venues.derive_cases import prepare_case
from crossmargin.venues.derive_figures import case_figures
from crossmargin.venues.derive_schema import CaseFile

GOLDEN = os.environ.get("CROSSMARGIN_GOLDEN")
needs_golden = pytest.mark.skipif(GOLDEN is None, reason="CROSSMARGIN_GOLDEN is not set")
SECOND = 1_000_000_000
FILE = Path(GOLDEN or "") / "derive" / "upstream-pm1-liquidations.json"


def cases() -> list[dict[str, Any]]:
    if GOLDEN is None:
        return []
    found: list[dict[str, Any]] = json.loads(FILE.read_text())["cases"]
    return found


def terms_of(case: dict[str, Any]) -> AuctionTerms:
    raw = case["auction_params"]
    return AuctionTerms(
        start=float(raw["starting_mtm_percentage"]),
        cutoff=float(raw["fast_auction_cutoff_percentage"]),
        fast_s=raw["fast_auction_length_s"],
        slow_s=raw["slow_auction_length_s"],
        insolvent_s=raw["insolvent_auction_length_s"],
        fee_rate=float(raw["liquidator_fee_rate"]),
        buffer=float(raw["buffer_margin_percentage"]),
        mtm_cutoff=float(raw["mtm_cutoff"]),
    )


def net_margin(
    case: dict[str, Any], market: dict[str, Any], elapsed: int, held: float, cash: float
) -> NetMargin:
    """MM and MtM by the margin engine: `held` of the option, `cash` beside it."""
    options = copy.deepcopy(case["start"]["portfolio"]["options"])
    for option in options:
        option["seconds_to_expiry"] = option.pop("expiry_at_s") - elapsed
        option["amount"] = float(option["amount"]) * held
    raw = {
        "name": case["name"],
        "model": case["model"],
        "underlying": case["underlying"],
        "market": market,
        "params": case["params"],
        "portfolio": {"cash": cash, "perps": [], "options": options, "base": []},
    }
    made = prepare_case(msgspec.convert(raw, CaseFile))
    figures = case_figures(made, wanted=frozenset())
    return NetMargin(figures["mm"], figures["mtm"])


@needs_golden
def test_there_are_six() -> None:
    assert len(cases()) == 6


@needs_golden
@pytest.mark.parametrize("case", cases(), ids=lambda case: str(case["name"]))
def test_recorded_liquidation(case: dict[str, Any]) -> None:
    terms, start = terms_of(case), case["start"]
    held, cash = 1.0, float(start["portfolio"]["cash"])
    close = lambda value: pytest.approx(float(value), rel=1e-12, abs=1e-11)
    auction = start_auction(terms, net_margin(case, start["market"], 0, held, cash), 0)
    # The file states the fee as a float of another computation.
    assert auction.fee == close(start["liquidation_fee_approx"])
    cash -= auction.fee
    for action in case["actions"]:
        elapsed, want = action["elapsed_s"], action["expected"]
        net = net_margin(case, action["market"], elapsed, held, cash)
        assert net.mtm == close(want["pre_mtm"]) and net.mm == close(want["pre_mm"])
        assert net.buffered(terms.buffer) == close(want["pre_bm"])
        auction = review(auction, net, elapsed * SECOND)
        assert auction.state == "solvent"
        asked = float(action["requested_fraction"])
        reserved = auction.reserved
        auction, bid = place_bid(auction, net, asked, elapsed * SECOND)
        assert bid.largest == close(want["pre_max_fraction"])
        assert bid.price == close(want["cash_from_bidder"])
        assert bid.fraction == close(want["final_fraction_of_current"])
        held *= 1.0 - bid.fraction
        cash = (cash - reserved) * (1.0 - bid.fraction) + reserved + bid.price
        net = net_margin(case, action["market"], elapsed, held, cash)
        assert net.mtm == close(want["post_mtm"]) and net.mm == close(want["post_mm"])
        assert net.buffered(terms.buffer) == close(want["post_bm"])
        ended = float(want["post_max_fraction"]) == 0.0
        assert (auction.state == "ended") is ended
        if not ended:
            d = price_fraction(terms, elapsed)
            left = largest_fraction(terms, net, d, auction.reserved)
            assert left == close(want["post_max_fraction"])
