"""Requirements rows A04, A13, A15 and B08 through engine, driver and ledger: the rows' numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from crossmargin.accounts import Applied, State, apply
from crossmargin.accounts import events as ev
from crossmargin.liquidation import LiquidationRules, liquidation_rules
from crossmargin.liquidation.day import Rates, Tick, VenueDay
from crossmargin.liquidation.rules import rules_from_toml
from crossmargin.units import NS_PER_SECOND, format_time

PERP, FUTURE = "BTC_USDC-PERPETUAL", "BTC_USDC-27MAR26"
START = 1_770_249_600 * NS_PER_SECOND

#: The rows close an isolated position whole: its margin is forfeited, or what is left returned.
WHOLE = """
format = "crossmargin-liquidation/1"
id = "whole"
venue = "none"
title = "Everything at once"
sources.rows = {{title = "requirements rows A04, A15", date = "2026-11-23"}}
trigger = {{source = "rows", confidence = "house"}}

[[steps]]
name = "everything"
source = "rows"
confidence = "house"
{how}

[[layers]]
name = "fund"
source = "rows"
confidence = "house"
"""
FORFEITED = 'kind = "takeover"\nwhen = "exhausted"\ntaker = "fund"\nprice = "with-margin"'
RETURNED = 'kind = "reduce-share"\nshare = 1.0\nabove_usd = 0.0\nwindow_s = 0.0'


def whole(how: str) -> LiquidationRules:
    return rules_from_toml(WHOLE.format(how=how))


class Row:
    """A trader with pots, somebody rich on the other side, and a fund."""

    def __init__(self, rules: LiquidationRules, pots: dict[str, str], fund: str = "0") -> None:
        self.state, self.number = State(), 0
        terms = {"underlying": "BTC", "quote": "USDC", "settlement": "USDC"}
        self.do(ev.ListContract, instrument=PERP, type="perpetual", **terms)
        self.do(
            ev.ListContract,
            instrument=FUTURE,
            type="future",
            expiry="2026-03-27T08:00:00Z",
            **terms,
        )
        for name in ("trader", "rich"):
            self.do(ev.OpenAccount, account=name)
        self.do(ev.Deposit, account="rich", asset="USDC", amount="1000000")
        for pot, amount in pots.items():
            if pot != "cross":
                self.do(ev.OpenPot, account="trader", pot=pot)
            self.do(ev.Deposit, account="trader", pot=pot, asset="USDC", amount=amount)
        if fund != "0":
            self.do(ev.FundPayIn, group="main", asset="USDC", amount=fund)
        rates = dict.fromkeys((PERP, FUTURE), Rates(im=0.10, mm=0.05))
        self.day = VenueDay(self.state, self.post, rates, rules)

    def post(self, events: Any) -> list[Any]:
        found = []
        for event in events:
            found.append(apply(self.state, event))
            self.state.audit()
        return found

    def do(self, kind: type[Any], **fields: Any) -> None:
        self.number += 1
        (found,) = self.post([kind(id=f"e{self.number}", time=format_time(START), **fields)])
        assert isinstance(found, Applied), found

    def buy(self, instrument: str, pot: str, *, sell: bool = False) -> None:
        mine, other = ev.Side(account="trader", pot=pot), ev.Side(account="rich")
        buyer, seller = (other, mine) if sell else (mine, other)
        trade = ev.Trade(
            instrument=instrument, quantity="1", price="50000", buyer=buyer, seller=seller
        )
        self.do(ev.Fill, trade=trade)

    def path(self, *prices: str) -> list[Tick]:
        return [
            self.day.mark(START + k * NS_PER_SECOND, dict.fromkeys((PERP, FUTURE), price))
            for k, price in enumerate(prices)
        ]

    def equity(self) -> Decimal:
        """What the trader has in all pots, to the cent."""
        total = sum(
            self.day.stand(pot).equity for pot in self.state.accounts["trader"].pots.values()
        )
        return (Decimal(total) / 10**6).quantize(Decimal("0.01"))

    @property
    def fund(self) -> Decimal:
        return Decimal(self.state.ledger.balance("sys:fund/main", "USDC")) / 10**6


class TestRowA15:
    """Long a perpetual, short a future, 5,000 each, 50,000 to 60,000 and back."""

    PATH = ("50000", "52380.95", "52380.952381", "60000", "50000")

    @pytest.mark.parametrize(("how", "ends"), [(FORFEITED, "5000.00"), (RETURNED, "7619.05")])
    def test_isolated_the_short_leg_goes(self, how: str, ends: str) -> None:
        row = Row(whole(how), {"long": "5000", "short": "5000"})
        row.buy(PERP, "long")
        row.buy(FUTURE, "short", sell=True)
        ticks = row.path(*self.PATH)
        # 5 % of 52,380.952380… is what 5,000 less the loss still is: equality is safe.
        assert [tick.breached for tick in ticks] == [(), (), ("trader/short",), (), ()]
        (first, *_) = [s for name, s in ticks[2].trail if name == "trader/short"]
        assert round(first.before.equity, 2) == 2_619.05
        assert round(first.price or 0.0, 2) == 52_380.95
        assert row.equity() == Decimal(ends)
        assert row.fund == (Decimal("2619.047619") if how == FORFEITED else 0)
        assert not row.state.pot("trader", "short").open_positions()

    def test_cross_nothing_happens(self) -> None:
        row = Row(whole(FORFEITED), {"cross": "10000"})
        row.buy(PERP, "cross")
        row.buy(FUTURE, "cross", sell=True)
        ticks = row.path(*self.PATH)
        assert not any(tick.breached or tick.trail for tick in ticks)
        assert row.equity() == Decimal("10000.00")
        assert len(row.state.pot("trader").open_positions()) == 2


class TestRowA04:
    """Wallet 20,000, long 1 at 50,000, path 50,000, 40,000, 50,000."""

    PATH = ("50000", "47368.43", "47368.42", "40000", "50000")

    def test_isolated_with_5_000_ends_at_15_000(self) -> None:
        row = Row(whole(FORFEITED), {"cross": "15000", "iso": "5000"})
        row.buy(PERP, "iso")
        ticks = row.path(*self.PATH)
        # 5,000 − (50,000 − P) = 5 % of P at 47,368.42…
        assert [bool(tick.breached) for tick in ticks] == [False, False, True, False, False]
        assert row.equity() == Decimal("15000.00")

    def test_cross_survives_and_ends_at_20_000(self) -> None:
        row = Row(whole(FORFEITED), {"cross": "20000"})
        row.buy(PERP, "cross")
        ticks = row.path(*self.PATH[:4])
        stand = row.day.stand(row.state.pot("trader"))
        assert (stand.equity, stand.mm) == (10_000 * 10**6, 2_000 * 10**6)
        ticks += row.path()
        row.day.mark(START + 10 * NS_PER_SECOND, dict.fromkeys((PERP, FUTURE), "50000"))
        assert not any(tick.breached for tick in ticks)
        assert row.equity() == Decimal("20000.00")


class TestRowA13:
    """Wallet 20,000, long 1 at 50,000, a gap straight to 25,000."""

    @pytest.mark.parametrize("rules", ["house", "binance", "bybit-uta"])
    @pytest.mark.parametrize(
        ("pots", "pot", "lost", "deficit"),
        [
            ({"cross": "15000", "iso": "5000"}, "iso", 5_000, 20_000),
            ({"cross": "20000"}, "cross", 20_000, 5_000),
        ],
    )
    def test_loss_and_deficit_make_25_000(
        self, rules: str, pots: dict[str, str], pot: str, lost: int, deficit: int
    ) -> None:
        row = Row(liquidation_rules(rules), pots, fund="100000")
        row.buy(PERP, pot)
        ticks = row.path("50000", "25000")
        losses = [loss for tick in ticks for loss in tick.losses]
        assert [loss.deficit for loss in losses] == [deficit * 10**6]
        assert [loss.fund for loss in losses] == [deficit * 10**6]
        assert row.equity() == Decimal(20_000 - lost)
        assert row.fund == 100_000 - deficit


def test_row_b08_a_deficit_of_120_000_and_a_fund_of_100_000() -> None:
    """Fund 0, 20,000 to the next layer, and nothing to the one below that."""
    row = Row(liquidation_rules("house"), {"cross": "130000"}, fund="100000")
    for _ in range(10):
        row.buy(PERP, "cross")
    ticks = row.path("50000", "25000")
    (loss,) = [loss for tick in ticks for loss in tick.losses]
    quanta = 10**6
    # Holders are closed on whole quanta of a contract, and so bear forty quanta more.
    assert loss.deficit == 120_000 * quanta
    assert (loss.fund, loss.adl) == (100_000 * quanta - 40, 20_000 * quanta + 40)
    assert (loss.shared, loss.uncovered) == (0, 0)
    assert row.fund == Decimal("0.000040")
