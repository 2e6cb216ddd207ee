"""A pot handed over to the liquidator: positions, debts paid out of its own coins, what is left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from crossmargin.accounts import events as ev
from crossmargin.accounts.amounts import ONE, PLACES, text_of
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.pots import Position, Pot
from crossmargin.liquidation._desk import Desk, account_of, place_of
from crossmargin.liquidation.takeover import Takeover

#: Decimals of a conversion's price.
_RATE = Decimal("1e-18")


@dataclass(frozen=True, slots=True)
class Taken:
    """A position that the liquidator holds now: signed contract quanta, and the price it paid."""

    contract: Contract
    signed: int
    price: str


def netted(taken: Sequence[Taken]) -> list[Taken]:
    """Return what the liquidator is left with: long and short of one contract cancel with it.

    What is left of them has the price of its own side; the profit of what cancelled is made.
    """
    net: dict[str, int] = {}
    for one in taken:
        net[one.contract.id] = net.get(one.contract.id, 0) + one.signed
    found = []
    for one in taken:
        signed = net[one.contract.id]
        if signed * one.signed > 0:
            found.append(Taken(one.contract, signed, one.price))
            net[one.contract.id] = 0
    return found


def cancelled(taken: Sequence[Taken], left: Sequence[Taken]) -> list[tuple[Contract, int]]:
    """Return what the liquidator made (lost, < 0) on legs that cancelled, by contract."""
    made: dict[str, int] = {}
    for sign, rows in ((-1, taken), (1, left)):
        for one in rows:
            value = sign * one.contract.traded_value(one.signed, exact(one.price))
            made[one.contract.id] = made.get(one.contract.id, 0) + value
    contracts = {one.contract.id: one.contract for one in taken}
    return [(contracts[name], quanta) for name, quanta in made.items() if quanta]


def exact(price: str) -> int:
    """Return a price in 1e-18."""
    return int(Decimal(price) * ONE)


class HandingOver:
    """Posts what hands a pot over.

    Parameters
    ----------
    desk : Desk
        Prices and events.
    spread : float
        Of a conversion, as a share of what is bought.
    """

    def __init__(self, desk: Desk, spread: float) -> None:
        self._desk = desk
        self._spread = Decimal(repr(spread))

    def positions(self, pot: Pot, found: Takeover, held: Sequence[Position]) -> list[Taken]:
        """Hand all positions over, and the money that goes with them.

        Parameters
        ----------
        pot : Pot
            Whose.
        found : Takeover
            At which prices, leg by leg.
        held : sequence of Position
            In the order of its legs.
        """
        desk, taken = self._desk, list[Taken]()
        for position, leg in zip(held, found.legs, strict=True):
            contract, signed = position.contract, position.held.balance
            if not signed:
                continue
            fair = leg.price is None or found.at_mark
            at = desk.leg_price(contract) if fair or leg.price is None else leg.price
            price = desk.price(contract, at, signed > 0)
            desk.do(
                ev.Takeover,
                instrument=contract.id,
                quantity=text_of(abs(signed), contract.quantity_decimals),
                price=price,
                account=account_of(pot),
                pot=pot.id,
                leg=position.leg,
            )
            taken.append(Taken(contract, signed, price))
        self.settle_session(pot)
        self.pay_own_debts(pot)
        settled = {one.contract.settlement for one in taken}
        for asset in sorted(self._wallets(pot)):
            if asset in settled or found.price == "with-margin":
                self._forfeit(pot, asset)
        return taken

    def net_pair(self, legs: Sequence[Position], units: float) -> None:
        """Close the long and the short leg of one contract against each other, at the mark."""
        long, short = sorted(legs, key=lambda position: -position.held.balance)
        desk, home = self._desk, place_of(long.pot)
        desk.do(
            ev.LiquidationStep,
            instrument=long.contract.id,
            quantity=desk.quantity(long, units),
            price=text_of(desk.exact_mark(long.contract), PLACES),
            account=home.account,
            pot=home.pot,
            leg=long.leg,
            counterparty=ev.Side(account=home.account, pot=home.pot, leg=short.leg),
        )

    def settle_session(self, pot: Pot) -> None:
        """Settle the session where a pot's profit or loss waits for it."""
        waiting = {line.asset for kind, _, line in pot.money() if kind == "session"}
        for asset in sorted(waiting):
            self._desk.do(ev.SettleSession, asset=asset)

    def pay_own_debts(self, pot: Pot) -> None:
        """Change what a pot has in other assets into what it owes, as far as it goes.

        Requirements row A22 (several currencies): the spread is a line of its own. The coins with
        the most value go first.
        """
        wallets = self._wallets(pot)
        for debt in sorted(a for a, quanta in wallets.items() if quanta < 0):
            rich = [a for a, quanta in wallets.items() if quanta > 0]
            for source in sorted(rich, key=lambda a: (-self._worth(a, wallets[a]), a)):
                lack = -pot.wallet(debt).balance
                if lack <= 0:
                    break
                self._convert(pot, source, debt, lack)

    def _convert(self, pot: Pot, source: str, debt: str, lack: int) -> None:
        desk = self._desk
        rate = (Decimal(desk.coin(source)) / Decimal(desk.coin(debt))).quantize(_RATE, ROUND_FLOOR)
        given, got = (desk.state.asset(a).decimals for a in (source, debt))
        # What one quantum of the source brings, its spread paid.
        each = rate * (1 - self._spread) * Decimal(10) ** (got - given)
        if each <= 0:
            return
        # One more of each, for the roundings against the pot.
        wanted = int(((lack + 2) / each).to_integral_value(ROUND_CEILING)) + 1
        amount = min(wanted, self._free(pot, source))
        if amount > 0 and amount * each >= 1:
            desk.do(
                ev.Convert,
                account=account_of(pot),
                pot=pot.id,
                source=source,
                amount=desk.text(amount, source),
                target=debt,
                price=format(rate, "f"),
                spread=format(self._spread, "f"),
            )

    def _forfeit(self, pot: Pot, asset: str) -> None:
        left = self._free(pot, asset)
        if left > 0:
            self._desk.do(
                ev.Forfeit,
                account=account_of(pot),
                pot=pot.id,
                asset=asset,
                amount=self._desk.text(left, asset),
            )

    def _free(self, pot: Pot, asset: str) -> int:
        """Return what a wallet can pay: less interest that is owed."""
        return pot.wallet(asset).balance + min(0, pot.line("owed", asset).balance)

    def _wallets(self, pot: Pot) -> dict[str, int]:
        """Return wallets at home that are not empty."""
        return {
            line.asset: line.balance
            for kind, location, line in pot.money()
            if kind == "wallet" and not location
        }

    def _worth(self, asset: str, quanta: int) -> float:
        found = quanta / self._desk.quanta_per_unit(asset)
        return found if math.isfinite(found) else 0.0
