"""Greeks in the attribution of profit: they add up exactly, and each is what it should be."""

from __future__ import annotations

from fractions import Fraction

import pytest
from tests.helpers import CALL, EXPIRY, PERP, black, market
from tests.ledgers import COIN_PUT, INVERSE, Venue, four_contracts, mark_four

from crossmargin.accounts import events as ev
from crossmargin.accounts.greeks_pnl import GREEK_CAUSES, GreekAttribution
from crossmargin.errors import LedgerError
from crossmargin.market import Snapshot

TIMES = ("2026-02-25T08:00:00Z", "2026-02-25T20:00:00Z", "2026-02-27T08:00:00Z")
YEARS = (30 / 365, 29.5 / 365, 28 / 365)


def at(step: int, spot: float, vol: float) -> Snapshot:
    return market(
        {"BTC": spot, "USDC": 1.0},
        marks={PERP: spot, INVERSE: spot},
        vols={CALL: vol, COIN_PUT: vol},
        forwards={("BTC", EXPIRY): spot},
        as_of=TIMES[step],
    )


def mark(venue: Venue, step: int, spot: float, vol: float) -> list:
    return list(mark_four(venue, spot, vol, YEARS[step]).transfers)


def trade(venue: Venue, name: str, quantity: str, price: str) -> list:
    made = venue.do(
        ev.Fill,
        trade=ev.Trade(
            instrument=name, quantity=quantity, price=price,
            buyer=ev.Side(account="a", fee="1" if name in (PERP, CALL) else "0"),
            seller=ev.Side(account="b"),
        ),
    )  # fmt: skip
    return list(made.transfers)


@pytest.mark.parametrize("asset", ["USDC", "BTC"])
def test_the_parts_add_up_to_the_price_exactly(asset: str) -> None:
    venue = four_contracts()
    mark(venue, 0, 50_000.0, 0.6)
    for name, quantity, price in (
        (PERP, "0.7", "50010"), (INVERSE, "20000", "49990"), (CALL, "1.5", "3400"),
        (COIN_PUT, "2", "0.03"),
    ):  # fmt: skip
        trade(venue, name, quantity, price)
    pot = venue.state.pot("a")
    found = GreekAttribution(venue.state, pot, asset, at(0, 50_000.0, 0.6))
    for step, spot, vol in ((1, 50_700.0, 0.63), (2, 47_300.0, 0.8)):
        found.add(trade(venue, PERP, "0.2", "50300"))
        found.add(trade(venue, COIN_PUT, "0.5", "0.031"))
        found.add(venue.do(ev.Funding, instrument=PERP, rate="0.0001", price="50000").transfers)
        found.add(mark(venue, step, spot, vol))
        made = found.step(venue.state, at(step, spot, vol))
        assert set(made) == set(GREEK_CAUSES)
        assert all(isinstance(x, Fraction) for x in made.values())
    assert found.total == found._ledger.causes(venue.state)["price"]
    assert found.total == sum(found.causes.values())
    assert found.causes["vega"] != 0 and found.causes["theta"] < 0
    # Two steps of a few per cent: the expansion explains most of it.
    assert abs(found.causes["residual"]) < abs(found.causes["gamma"])


def test_each_greek_by_its_own_move() -> None:
    """One thing moves at a time; the others are 0, and the residual is what is beyond the second
    order, worked out by pricing again."""
    venue = four_contracts()
    mark(venue, 0, 50_000.0, 0.6)
    trade(venue, CALL, "1", "3400")
    pot = venue.state.pot("a")

    def parts(step: int, spot: float, vol: float) -> dict[str, float]:
        mark(venue, 0, 50_000.0, 0.6)
        found = GreekAttribution(venue.state, pot, "USDC", at(0, 50_000.0, 0.6))
        mark(venue, step, spot, vol)
        return {k: float(v) / 1e6 for k, v in found.step(venue.state, at(step, spot, vol)).items()}

    def price(spot: float, years: float, vol: float) -> float:
        return black(spot, 50_000, years, vol, call=True)

    moved = parts(0, 50_500.0, 0.6)
    bump = 1.0
    up, here, down = (price(50_000 + x, YEARS[0], 0.6) for x in (bump, 0.0, -bump))
    assert moved["delta"] == pytest.approx((up - down) / 2 * 500, rel=1e-6)
    assert moved["gamma"] == pytest.approx((up - 2 * here + down) * 500**2 / 2, rel=1e-4)
    assert moved["vega"] == moved["theta"] == moved["trades"] == 0
    whole = price(50_500, YEARS[0], 0.6) - here
    assert sum(moved.values()) == pytest.approx(whole, abs=1e-6)
    vol = parts(0, 50_000.0, 0.61)
    assert vol["vega"] == pytest.approx(price(50_000, YEARS[0], 0.61) - here, rel=1e-3)
    assert vol["delta"] == vol["gamma"] == vol["theta"] == 0
    day = parts(1, 50_000.0, 0.6)
    assert day["theta"] == pytest.approx(price(50_000, YEARS[1], 0.6) - here, rel=1e-2)
    assert day["delta"] == day["gamma"] == day["vega"] == 0


def test_a_contract_that_settles_is_no_revaluation_and_time_does_not_run_back() -> None:
    venue = four_contracts()
    mark(venue, 0, 50_000.0, 0.6)
    trade(venue, PERP, "1", "50000")
    pot = venue.state.pot("a")
    found = GreekAttribution(venue.state, pot, "USDC", at(1, 50_000.0, 0.6))
    with pytest.raises(LedgerError, match="before it began"):
        found.step(venue.state, at(0, 50_000.0, 0.6))
    found.add(venue.do(ev.Delist, instrument=PERP, price="51000").transfers)
    made = found.step(venue.state, at(1, 51_000.0, 0.6))
    assert made["trades"] == 1_000 * 10**6
    assert made["delta"] == made["residual"] == 0
