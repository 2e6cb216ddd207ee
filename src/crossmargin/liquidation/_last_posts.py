"""Last resorts posted: takeover, the liquidator's closing, fund, deleveraging, shared loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from crossmargin.accounts import events as ev
from crossmargin.accounts.amounts import text_of
from crossmargin.accounts.chart import LIQUIDATOR_POT, SYSTEM
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.pots import Position, Pot
from crossmargin.accounts.standing import average_entry
from crossmargin.liquidation._day_records import Borne, Loss, Seen
from crossmargin.liquidation._desk import Desk, account_of, place_of
from crossmargin.liquidation._handing_over import HandingOver, Taken, cancelled, exact, netted
from crossmargin.liquidation.account import Leg
from crossmargin.liquidation.adl_scores import Candidates
from crossmargin.liquidation.costs import ClosingCost, price_at_cost
from crossmargin.liquidation.engine import TrailStep
from crossmargin.liquidation.last_resort import Bearers, Resolution, resolve_loss, with_purse
from crossmargin.liquidation.rules import LiquidationRules
from crossmargin.liquidation.standings import Margining
from crossmargin.liquidation.takeover import Takeover
from crossmargin.liquidation.waterfall import Fund


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
        self._desk, self._margin, self._costs = desk, margin, costs
        self._rules = with_purse(rules)
        self.hand = HandingOver(desk, spread)
        self._open: list[Taken] = []
        self._borne: dict[str, Borne] = {}
        self._uncovered: dict[tuple[str, str], int] = {}
        self._fund_limit = next((x.limit_usd for x in rules.layers if x.name == "fund"), None)
        # Any other layer is a fund of its own, whose group has its name.
        self._others = {
            x.name: x.limit_usd
            for x in rules.layers
            if x.name != "fund" and x.adl is None and x.share is None
        }

    def take_over(self, pot: Pot, found: Takeover, held: Sequence[Position], seen: Seen) -> None:
        """Hand positions to the liquidator, and let it be rid of them."""
        taken = self.hand.positions(pot, found, held)
        seen.taken_over += len(taken)
        self._be_rid_of(taken, pot.name, seen)

    def _be_rid_of(self, taken: Sequence[Taken], whose: str, seen: Seen) -> None:
        """Close what the liquidator holds, and lay what that loses on the layers."""
        borne = dict[str, Borne]()
        for one in taken:
            borne.setdefault(one.contract.settlement, Borne()).may_pay(one.contract.group, 0)
        self._borne = borne
        # What gains comes first, so that it pays for what loses.
        self._open = sorted(netted(taken), key=self._loss)
        self._lay_what_lacks(taken)
        while self._open:
            one = self._open[0]
            mine = borne[one.contract.settlement]
            resolved = self._unwind(one, seen)
            if resolved is not None:
                mine.may_pay(one.contract.group, resolved.waterfall.used("fund"))
                for name in self._others:
                    mine.by_other[name] = mine.by_other.get(name, 0) + resolved.waterfall.used(name)
                mine.by_holders += self._borne_by_holders(one, resolved)
            self._open.pop(0)
        for asset, mine in borne.items():
            caps = mine.caps(len(taken))
            self.bear(self._desk.liquidator, asset, caps, seen, whose, mine.by_holders)
            self._surplus_to_fund(asset, next(reversed(mine.by_fund)))

    def _lay_what_lacks(self, taken: Sequence[Taken]) -> None:
        """Lay on the funds what lacks before anything is closed.

        That is what hedge legs that cancelled have lost, on their group's, and an old debt of the
        liquidator, on the first; as far as money that came with the positions does not pay it.
        """
        lacking = {asset: max(0, -self._purse(asset)) for asset in self._borne}
        for contract, made in cancelled(taken, self._open):
            asset = contract.settlement
            part = min(lacking[asset], max(0, -made))
            self._borne[asset].may_pay(contract.group, part)
            lacking[asset] -= part
        for asset, mine in self._borne.items():
            mine.may_pay(next(iter(mine.by_fund)), lacking[asset])

    # ---- closing what was taken over -------------------------------------------------------

    def _unwind(self, one: Taken, seen: Seen) -> Resolution | None:
        """Close what was taken over: in the market as far as it is paid for, else by holders."""
        desk, contract, signed = self._desk, one.contract, one.signed
        fill = self._fill(contract, signed)
        # Money that came with the positions pays first.
        loss = self._loss(one) - max(0, self._purse(contract.settlement))
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

    def close_with_fund(
        self, position: Position, quantity: str, step: TrailStep, seen: Seen
    ) -> None:
        """Close a part at the price that its owner bears; the layers pay what the market lacks.

        The liquidator stands between: it takes the part over at the owner's price and closes it in
        the market as far as the fund pays for that, and against holders where it does not.
        """
        desk, contract = self._desk, position.contract
        before = position.held.balance
        owner = desk.price(contract, self.owners_price(position, step), before > 0)
        place = place_of(position.pot)
        desk.do(
            ev.Takeover,
            instrument=contract.id,
            quantity=quantity,
            price=owner,
            account=place.account,
            pot=place.pot,
            leg=position.leg,
        )
        part = Taken(contract, before - position.held.balance, owner)
        self._be_rid_of([part], position.pot.name, seen)

    def owners_price(self, position: Position, step: TrailStep) -> float:
        """Return the price at which the owner bears what a step says; none where not above 0.

        An owner who lacks more than the part is worth would have to be paid for buying it back.
        """
        leg = self.leg(position.contract, position.held.balance)
        return price_at_cost(leg, step.cost / step.units)

    def cover(self, position: Position, usd: float, seen: Seen) -> None:
        """Pay a pot's debts where no price of a part can bring it what it lacks, up to that."""
        pot, contract = position.pot, position.contract
        self.hand.settle_session(pot)
        self.hand.pay_own_debts(pot)
        owed = {line.asset for kind, _, line in pot.money() if kind == "wallet"}
        for asset in sorted(owed, key=lambda one: (one != contract.settlement, one)):
            each = self._desk.quanta_per_unit(asset)
            lack = min(max(0, -pot.wallet(asset).balance), math.ceil(usd * each))
            self.bear(pot, asset, {contract.group: None}, seen, lack=lack)
            usd = max(0.0, usd - lack / each)

    def _borne_by_holders(self, one: Taken, found: Resolution) -> int:
        """Return what holders lost against the market: whole contracts, so a little more."""
        if found.adl is None:
            return 0
        closed = found.adl.contracts if one.signed > 0 else -found.adl.contracts
        return self._loss(Taken(one.contract, closed, one.price), one.signed)

    def _loss(self, one: Taken, whole: int = 0) -> int:
        """Return what the market brings less than was paid for a position, quanta.

        As part of a `whole` position it is filled at that one's price.
        """
        fill = exact(self._fill(one.contract, whole or one.signed))
        paid = one.contract.traded_value(one.signed, exact(one.price))
        return paid - one.contract.traded_value(one.signed, fill)

    def _purse(self, asset: str) -> int:
        """Return what the liquidator has once options are worth what was paid for them."""
        paid = sum(
            one.contract.traded_value(one.signed, exact(one.price))
            for one in self._open
            if one.contract.settlement == asset and one.contract.premium_at_once
        )
        return self._desk.liquidator.wallet(asset).balance + paid

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

        Below 0 where no price takes that much from a holder of an inverse contract.
        """
        desk, contract = self._desk, position.contract
        mark, units = desk.mark(contract), desk.units(position)
        own = equity / desk.coin(contract.settlement)
        if contract.inverse:
            reciprocal = 1.0 / mark + own / units
            return 1.0 / reciprocal if reciprocal else math.inf
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
        lack: int | None = None,
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
        lack : int, optional
            Quanta to be paid; what the wallet is below 0 by default.
        """
        desk = self._desk
        lack = max(0, -pot.wallet(asset).balance) if lack is None else lack
        if not lack and not by_holders:
            return
        rest, limits = lack, {**dict.fromkeys(funds, self._fund_limit), **self._others}
        for group, limit in limits.items():
            cap = funds.get(group)
            if cap is None and limit is not None:
                cap = int(limit * desk.quanta_per_unit(asset))
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
        left, before = rest - shared, self._uncovered.get((pot.name, asset), 0)
        self._uncovered[pot.name, asset] = left
        if left == lack == before and not by_holders:
            # Nobody could pay any of it, again: it has been reported.
            return
        seen.losses.append(
            Loss(
                pot=whose or pot.name,
                asset=asset,
                deficit=lack + by_holders,
                fund=lack - rest,
                adl=by_holders,
                shared=shared,
                uncovered=left,
                fund_left={group: desk.fund(asset, group) for group in limits},
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
        able, contracts, profit = [], [], []
        for pot in desk.payers():
            wallet = pot.wallet(asset).balance
            held = [p for p in pot.open_positions() if p.contract.settlement == asset]
            contracts.append(sum(abs(desk.value(p)) for p in held))
            gain = sum(desk.value(p) + p.cost.balance for p in held if p.cost.balance)
            profit.append(max(0, gain + pot.line("session", asset).balance))
            equity = self._margin.stand(desk, pot).equity if wallet > 0 else 0
            worth = math.floor(equity / desk.unit * desk.quanta_per_unit(asset))
            able.append(max(0, min(worth, wallet)))
        fund, others = 0, dict.fromkeys(self._others, 0)
        if group is not None:
            # What was laid on a fund before cannot be paid with twice.
            borne = self._borne[asset]
            fund = max(0, desk.fund(asset, group) - borne.by_fund.get(group, 0))
            for name in others:
                others[name] = max(0, desk.fund(asset, name) - borne.by_other.get(name, 0))
        return Bearers(
            fund=Fund(balance=fund, peak=fund),
            candidates=candidates,
            equity=able,
            contracts=contracts,
            profit=profit,
            others=others,
            start=desk.count,
        )


def _entry(position: Position) -> float:
    found = average_entry(position)
    return math.nan if found is None else float(found)
