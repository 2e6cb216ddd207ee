"""Last resorts posted: takeover, the liquidator's closing, fund, deleveraging, shared loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

import numpy as np

from crossmargin.accounts import events as ev
from crossmargin.accounts.amounts import from_quanta, text_of
from crossmargin.accounts.chart import LIQUIDATOR_POT, SYSTEM
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.pots import Position, Pot
from crossmargin.accounts.standing import average_entry
from crossmargin.liquidation._desk import Desk, Stand, account_of
from crossmargin.liquidation.account import linear_account
from crossmargin.liquidation.adl_scores import Candidates
from crossmargin.liquidation.costs import ClosingCost
from crossmargin.liquidation.engine import Look
from crossmargin.liquidation.last_resort import Bearers, Resolution, resolve_loss
from crossmargin.liquidation.rules import LiquidationRules
from crossmargin.liquidation.waterfall import Fund


class Seen:
    """What a tick has done so far."""

    def __init__(self) -> None:
        self.breached: list[str] = []
        self.closed = 0.0
        self.taken_over = self.fund_paid = self.deleveraged = self.shared = 0


class LastResorts:
    """Posts what happens once an account cannot be helped any more."""

    def __init__(self, desk: Desk, rules: LiquidationRules, costs: ClosingCost) -> None:
        self._desk, self._rules, self._costs = desk, rules, costs

    def take_over(self, pot: Pot, look: Look, by_name: Mapping[str, Position], seen: Seen) -> None:
        """Hand positions to the liquidator, and let it be rid of them."""
        assert look.takeover is not None
        taken = []
        for number, leg in enumerate(look.takeover.legs, 1):
            position = by_name[leg.name]
            contract = position.contract
            signed = position.held.balance
            fair = leg.price is None or look.takeover.price == "with-margin"
            unit = contract.size / 10**18
            price = self._desk.mark(contract) * unit if fair or leg.price is None else leg.price
            text = self._desk.price(contract, price, signed > 0)
            # What is left in the wallet goes with the last position.
            last = number == len(look.takeover.legs)
            self._desk.do(
                ev.Takeover,
                instrument=contract.id,
                quantity=text_of(abs(signed), contract.quantity_decimals),
                price=text,
                account=account_of(pot),
                pot=pot.id,
                leg=position.leg,
                margin=self._left_after(position, text) if last else "0",
            )
            seen.taken_over += 1
            taken.append((contract, signed, float(text)))
        for contract, signed, price in taken:
            self._unwind(contract, signed, price, seen)

    def _left_after(self, position: Position, price: str) -> str:
        """Return what the wallet will hold once a position has been handed over at a price."""
        contract = position.contract
        at = int(Decimal(price) * 10**18)
        value = contract.traded_value(position.held.balance, at)
        wallet = position.pot.wallet(self._desk.asset).balance
        left = max(0, wallet + value + position.cost.balance)
        return from_quanta(left, self._desk.asset, self._desk.state.scales)

    def _unwind(self, contract: Contract, signed: int, price: float, seen: Seen) -> None:
        """Close what was taken over: in the market as far as it is paid for, else by holders."""
        units = signed / 10**contract.quantity_decimals
        leg = linear_account(
            quantity=units,
            mark=self._desk.mark(contract) * contract.size / 10**18,
            rate=self._desk.rate(contract).mm,
            equity=0.0,
            names=[contract.id],
        ).legs[0]
        fill = self._costs.price(leg, abs(units)) / (contract.size / 10**18)
        loss = math.ceil((price - fill) * units * contract.size / 10**18 * self._desk.unit)
        # Money that came with the positions pays first.
        loss -= max(0, self._desk.liquidator.wallet(self._desk.asset).balance)
        found: Resolution | None = None
        if loss > 0:
            found = self._resolve(contract, signed, price, loss)
            self._deleverage(contract, signed, price, found, seen)
        rest = abs(signed) if found is None else found.market_contracts
        if rest:
            self._desk.do(
                ev.LiquidationStep,
                instrument=contract.id,
                quantity=text_of(rest, contract.quantity_decimals),
                price=self._desk.price(contract, fill * contract.size / 10**18, signed > 0),
                account=SYSTEM,
                pot=LIQUIDATOR_POT,
            )
            seen.closed += rest / 10**contract.quantity_decimals * fill * contract.size / 10**18
        self.bear(self._desk.liquidator, found, seen)
        self._surplus_to_fund()

    def _resolve(self, contract: Contract, signed: int, price: float, loss: int) -> Resolution:
        holders = self._desk.holders(contract, signed)
        standings = [self._desk.stand(p.pot) for p in holders]
        marks = self._desk.mark(contract)
        candidates = Candidates(
            contracts=tuple(p.held.balance for p in holders),
            mark=marks,
            entry=np.array([_entry(p) for p in holders]),
            bankruptcy=np.array(
                [_bankruptcy(marks, p, s, self._desk.unit) for p, s in zip(holders, standings)]
            ),
            unit=contract.size / 10**18 / 10**contract.quantity_decimals,
            wallet=np.array([p.pot.wallet(self._desk.asset).balance for p in holders])
            / self._desk.unit,
            profit=np.array(
                [
                    s.equity - p.pot.wallet(self._desk.asset).balance
                    for p, s in zip(holders, standings)
                ]
            )
            / self._desk.unit,
            mm=np.array([s.mm for s in standings]) / self._desk.unit,
        )
        return resolve_loss(
            self._rules,
            loss,
            signed,
            price,
            self._bearers(candidates),
            quanta_per_usd=self._desk.unit,
        )

    def _deleverage(
        self, contract: Contract, signed: int, price: float, found: Resolution, seen: Seen
    ) -> None:
        if found.adl is None or not found.adl.fills:
            return
        holders = self._desk.holders(contract, signed)
        shares = []
        for fill in found.adl.fills:
            position = holders[fill.row]
            shares.append(
                ev.AdlShare(
                    account=account_of(position.pot),
                    pot=position.pot.id,
                    leg=position.leg,
                    quantity=text_of(fill.contracts, contract.quantity_decimals),
                )
            )
        self._desk.do(
            ev.Adl,
            instrument=contract.id,
            price=self._desk.price(contract, price * contract.size / 10**18, signed > 0),
            account=SYSTEM,
            pot=LIQUIDATOR_POT,
            against=shares,
        )
        seen.deleveraged += found.adl.contracts

    def bear(self, pot: Pot, found: Resolution | None, seen: Seen) -> None:
        """Let the fund, then everybody, pay what a wallet lacks once its positions are gone."""
        lack = -pot.wallet(self._desk.asset).balance
        if lack <= 0 or pot.open_positions():
            return
        place = (
            ev.Place(account=SYSTEM, pot=LIQUIDATOR_POT)
            if pot.account is None
            else ev.Place(account=account_of(pot), pot=pot.id)
        )
        if found is None:
            found = resolve_loss(
                self._rules, lack, 0, 1.0, self._bearers(None), quanta_per_usd=self._desk.unit
            )
        by_fund = min(lack, self._desk.fund)
        if by_fund:
            self._desk.do(
                ev.FundCover,
                group=self._desk.group,
                target=place,
                asset=self._desk.asset,
                amount=from_quanta(by_fund, self._desk.asset, self._desk.state.scales),
            )
            seen.fund_paid += by_fund
        lack -= by_fund
        if lack and found.shared is not None:
            self._share(place, pot, found, lack, seen)

    def _share(self, place: ev.Place, pot: Pot, found: Resolution, lack: int, seen: Seen) -> None:
        assert found.shared is not None
        shares, left = [], lack
        for payer, amount in zip(self._desk.payers(), found.shared.charged):
            paid = min(amount, left, max(0, payer.wallet(self._desk.asset).balance))
            if paid and payer is not pot:
                left -= paid
                text = from_quanta(paid, self._desk.asset, self._desk.state.scales)
                shares.append(ev.LossShare(account=account_of(payer), pot=payer.id, amount=text))
        if shares:
            self._desk.do(ev.SocialisedLoss, target=place, asset=self._desk.asset, shares=shares)
            seen.shared += lack - left

    def _surplus_to_fund(self) -> None:
        wallet = self._desk.liquidator.wallet(self._desk.asset).balance
        if wallet > 0 and not self._desk.liquidator.open_positions():
            # The liquidator keeps nothing: what closing left over feeds the fund.
            self._desk.do(
                ev.FundPayIn,
                group=self._desk.group,
                asset=self._desk.asset,
                amount=from_quanta(wallet, self._desk.asset, self._desk.state.scales),
                source="liquidator",
            )

    def _bearers(self, candidates: Candidates | None) -> Bearers:
        able = [
            max(0, min(self._desk.stand(pot).equity, pot.wallet(self._desk.asset).balance))
            for pot in self._desk.payers()
        ]
        # What the liquidator lacks already is the fund's to pay, and cannot be paid with twice.
        owed = max(0, -self._desk.liquidator.wallet(self._desk.asset).balance)
        fund = max(0, self._desk.fund - owed)
        return Bearers(
            fund=Fund(balance=fund, peak=fund),
            candidates=candidates,
            equity=able,
            start=self._desk.count,
        )


def _entry(position: Position) -> float:
    found = average_entry(position)
    return math.nan if found is None else float(found)


def _bankruptcy(mark: float, position: Position, here: Stand, unit: int) -> float:
    """Price of this position at which its account has nothing, all else at the mark."""
    coins = position.held.balance / 10**position.contract.quantity_decimals
    coins *= position.contract.size / 10**18
    return float(mark - here.equity / unit / coins)
