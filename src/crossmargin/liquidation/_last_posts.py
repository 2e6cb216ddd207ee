"""Last resorts posted: takeover, the liquidator's closing, fund, deleveraging, shared loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from crossmargin.accounts import events as ev
from crossmargin.accounts.amounts import text_of
from crossmargin.accounts.chart import LIQUIDATOR_POT, SYSTEM
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.pots import Position, Pot
from crossmargin.accounts.standing import average_entry
from crossmargin.liquidation._desk import Desk, account_of, place_of
from crossmargin.liquidation._handing_over import HandingOver, Taken, exact
from crossmargin.liquidation.account import Leg
from crossmargin.liquidation.adl_scores import Candidates
from crossmargin.liquidation.costs import ClosingCost
from crossmargin.liquidation.engine import TrailStep
from crossmargin.liquidation.last_resort import Bearers, Resolution, resolve_loss
from crossmargin.liquidation.rules import LiquidationRules
from crossmargin.liquidation.standings import Margining
from crossmargin.liquidation.takeover import Takeover
from crossmargin.liquidation.waterfall import Fund


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Who bore what one account could not, in quanta of one asset.

    Attributes
    ----------
    pot, asset : str
        Whose, and in what.
    deficit : int
        The sum of the others.
    fund, adl, shared, uncovered : int
        By layer; what is uncovered stands on the liquidator (or on the pot itself).
    fund_left : dict of str to int
        What the funds that were called upon have left, by group.
    """

    pot: str
    asset: str
    deficit: int
    fund: int
    adl: int
    shared: int
    uncovered: int
    fund_left: dict[str, int]


@dataclass(slots=True)
class _Borne:
    """What the losses of one account in one asset came to, by the groups of its contracts."""

    by_fund: dict[str, int] = field(default_factory=dict)
    by_holders: int = 0

    def add(self, group: str, found: Resolution | None) -> None:
        """Take a position in; two quanta more for the roundings of its two trades."""
        used = 0 if found is None else found.waterfall.used("fund") + 2
        self.by_fund[group] = self.by_fund.get(group, 0) + used
        self.by_holders += 0 if found is None else sum(found.adl_charged)


@dataclass(slots=True)
class Seen:
    """What a tick has done so far."""

    breached: list[str] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    trail: list[tuple[str, TrailStep]] = field(default_factory=list)
    closed: float = 0.0
    taken_over: int = 0
    deleveraged: int = 0
    fund_paid: int = 0
    shared: int = 0


class LastResorts:
    """Posts what happens once an account cannot be helped any more."""

    def __init__(
        self,
        desk: Desk,
        margin: Margining,
        rules: LiquidationRules,
        costs: ClosingCost,
        spread: float,
    ) -> None:
        self._desk, self._margin, self._rules, self._costs = desk, margin, rules, costs
        self.hand = HandingOver(desk, spread)
        self._has_fund = any(x.name == "fund" for x in rules.layers)
        self._fund_limit = next((x.limit_usd for x in rules.layers if x.name == "fund"), None)

    def take_over(self, pot: Pot, found: Takeover, held: Sequence[Position], seen: Seen) -> None:
        """Hand positions to the liquidator, and let it be rid of them."""
        taken = self.hand.positions(pot, found, held)
        seen.taken_over += len(taken)
        borne: dict[str, _Borne] = {}
        for one in taken:
            mine = borne.setdefault(one.contract.settlement, _Borne())
            mine.add(one.contract.group, self._unwind(one, seen))
        for asset, mine in borne.items():
            # A rule-set that names no fund lets the taker pay, whose purse the fund is.
            caps = mine.by_fund if self._has_fund else dict.fromkeys(mine.by_fund)
            self.bear(self._desk.liquidator, asset, caps, seen, pot.name, mine.by_holders)
            self._surplus_to_fund(asset, next(reversed(mine.by_fund)))

    # ---- closing what was taken over -------------------------------------------------------

    def _unwind(self, one: Taken, seen: Seen) -> Resolution | None:
        """Close what was taken over: in the market as far as it is paid for, else by holders."""
        desk, contract, signed = self._desk, one.contract, one.signed
        fill = self._fill(contract, signed)
        # What the market brings less than was paid for it.
        loss = contract.traded_value(signed, exact(one.price))
        loss -= contract.traded_value(signed, exact(fill))
        # Money that came with the positions pays first.
        loss -= max(0, desk.liquidator.wallet(contract.settlement).balance)
        found: Resolution | None = None
        if loss > 0:
            found = self._resolve(one, loss)
            self._deleverage(one, found, seen)
        rest = abs(signed) if found is None else found.market_contracts
        if rest:
            desk.do(
                ev.LiquidationStep,
                instrument=contract.id,
                quantity=text_of(rest, contract.quantity_decimals),
                price=fill,
                account=SYSTEM,
                pot=LIQUIDATOR_POT,
            )
            seen.closed += rest * desk.lot(contract) * self.leg(contract, signed).unit_usd
        return found

    def leg(self, contract: Contract, signed: int) -> Leg:
        """Return a position of the liquidator as a leg."""
        desk, option = self._desk, contract.kind == "option"
        mark, coin = desk.mark(contract), desk.coin(contract.settlement)
        if option:
            unit = desk.coin(contract.underlying)
        else:
            unit = coin / mark if contract.inverse else mark * coin
        return Leg(
            name=contract.id,
            quantity=signed * desk.lot(contract),
            mark=desk.leg_price(contract),
            unit_usd=unit,
            point_usd=1.0 if option else math.nan,
            inverse=contract.inverse,
        )

    def _fill(self, contract: Contract, signed: int) -> str:
        """Return the price at which the market takes a position."""
        leg = self.leg(contract, signed)
        fill = self._costs.price(leg, abs(leg.quantity))
        return self._desk.price(contract, fill, signed > 0)

    def _resolve(self, one: Taken, loss: int) -> Resolution:
        desk, contract = self._desk, one.contract
        asset = contract.settlement
        holders = desk.holders(contract, one.signed)
        stands = [self._margin.stand(desk, p.pot) for p in holders]
        equity = np.array([s.equity for s in stands]) / desk.unit
        wallet = np.array(
            [p.pot.wallet(asset).balance / desk.quanta_per_unit(asset) for p in holders]
        )
        ruin = [self._bankruptcy(p, e) for p, e in zip(holders, equity.tolist())]
        candidates = Candidates(
            contracts=tuple(p.held.balance for p in holders),
            mark=desk.mark(contract),
            entry=np.array([_entry(p) for p in holders]),
            bankruptcy=np.array(ruin),
            unit=desk.lot(contract),
            inverse=contract.inverse,
            wallet=wallet,
            profit=equity - wallet,
            mm=np.array([s.mm for s in stands]) / desk.unit,
        )
        return resolve_loss(
            self._rules,
            loss,
            one.signed,
            float(one.price),
            self._bearers(asset, contract.group, candidates),
            quanta_per_usd=round(desk.quanta_per_unit(asset)),
        )

    def _bankruptcy(self, position: Position, equity: float) -> float:
        """Price of a position at which its account has nothing, all else at the mark.

        Infinite where no price takes that much from a holder of an inverse contract.
        """
        desk, contract = self._desk, position.contract
        mark, units = desk.mark(contract), desk.units(position)
        own = equity / desk.coin(contract.settlement)
        if contract.inverse:
            reciprocal = 1.0 / mark + own / units
            return 1.0 / reciprocal if reciprocal > 0 else math.inf
        return mark - own / units

    def _deleverage(self, one: Taken, found: Resolution, seen: Seen) -> None:
        if found.adl is None or not found.adl.fills:
            return
        contract = one.contract
        holders = self._desk.holders(contract, one.signed)
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
            price=one.price,
            account=SYSTEM,
            pot=LIQUIDATOR_POT,
            against=shares,
        )
        seen.deleveraged += found.adl.contracts

    # ---- fund and everybody ----------------------------------------------------------------

    def bear(
        self,
        pot: Pot,
        asset: str,
        funds: Mapping[str, int | None],
        seen: Seen,
        whose: str | None = None,
        by_holders: int = 0,
    ) -> None:
        """Let funds, then everybody, pay what a wallet lacks once its positions are gone.

        Parameters
        ----------
        pot : Pot
            The trader's, or the liquidator's.
        asset : str
            What is lacking.
        funds : mapping of str to int or None
            Groups whose funds pay, in order, and what each may pay of this loss.
        seen : Seen
            Taken down there.
        whose : str, optional
            The account that it is the loss of; the pot's own by default.
        by_holders : int
            Quanta of that loss that holders have borne already.
        """
        desk = self._desk
        lack = max(0, -pot.wallet(asset).balance)
        if not lack and not by_holders:
            return
        rest = lack
        for group, cap in funds.items():
            if cap is None and self._fund_limit is not None:
                cap = int(self._fund_limit * desk.quanta_per_unit(asset))
            paid = min(rest, desk.fund(asset, group), rest if cap is None else cap)
            if paid:
                desk.do(
                    ev.FundCover,
                    group=group,
                    target=place_of(pot),
                    asset=asset,
                    amount=desk.text(paid, asset),
                )
            rest -= paid
        seen.fund_paid += lack - rest
        shared = self._share(pot, asset, rest, seen)
        seen.losses.append(
            Loss(
                pot=whose or pot.name,
                asset=asset,
                deficit=lack + by_holders,
                fund=lack - rest,
                adl=by_holders,
                shared=shared,
                uncovered=rest - shared,
                fund_left={group: desk.fund(asset, group) for group in funds},
            )
        )

    def _share(self, pot: Pot, asset: str, lack: int, seen: Seen) -> int:
        """Share a loss out as the rules say; return the quanta that were paid."""
        if lack <= 0 or not any(layer.share is not None for layer in self._rules.layers):
            return 0
        desk = self._desk
        found = resolve_loss(
            self._rules,
            lack,
            0,
            1.0,
            self._bearers(asset, None, None),
            quanta_per_usd=round(desk.quanta_per_unit(asset)),
        )
        if found.shared is None:
            return 0
        shares, left = [], lack
        for payer, amount in zip(desk.payers(), found.shared.charged):
            paid = min(amount, left, max(0, payer.wallet(asset).balance))
            if paid and payer is not pot:
                left -= paid
                shares.append(
                    ev.LossShare(
                        account=account_of(payer), pot=payer.id, amount=desk.text(paid, asset)
                    )
                )
        if shares:
            desk.do(ev.SocialisedLoss, target=place_of(pot), asset=asset, shares=shares)
            seen.shared += lack - left
        return lack - left

    def _surplus_to_fund(self, asset: str, group: str) -> None:
        wallet = self._desk.liquidator.wallet(asset).balance
        if wallet > 0 and not self._desk.liquidator.open_positions():
            # The liquidator keeps nothing: what closing left over feeds the fund.
            self._desk.do(
                ev.FundPayIn,
                group=group,
                asset=asset,
                amount=self._desk.text(wallet, asset),
                source="liquidator",
            )

    def _bearers(self, asset: str, group: str | None, candidates: Candidates | None) -> Bearers:
        """Return who could bear a loss; without a group no fund: it has paid what it may."""
        desk = self._desk
        able = []
        for pot in desk.payers():
            wallet = pot.wallet(asset).balance
            equity = self._margin.stand(desk, pot).equity if wallet > 0 else 0
            worth = math.floor(equity / desk.unit * desk.quanta_per_unit(asset))
            able.append(max(0, min(worth, wallet)))
        # What the liquidator lacks already is the fund's to pay, and cannot be paid with twice.
        owed = max(0, -desk.liquidator.wallet(asset).balance)
        fund = 0 if group is None else max(0, desk.fund(asset, group) - owed)
        return Bearers(
            fund=Fund(balance=fund, peak=fund),
            candidates=candidates,
            equity=able,
            start=desk.count,
        )


def _entry(position: Position) -> float:
    found = average_entry(position)
    return math.nan if found is None else float(found)
