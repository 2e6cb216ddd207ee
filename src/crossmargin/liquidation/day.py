"""A venue's day: marks come in, accounts are margined, and what the rules decide is posted.

The driver between this room and the ledger. It reads where accounts stand from the ledger's state,
lets :func:`~crossmargin.liquidation.advance` decide, and turns each step into an event: forced
closes, takeovers, the fund, deleveraging, shared losses. Nothing moves but by an event, so the
ledger can be replayed and sums to zero after each. Accounts hold linear contracts in one settlement
asset, margined at flat rates.

Order of layers: rules' own (``layers``). A position taken over is closed in the market at the mark
less slippage, as far as fund and account pay for that; the rest goes against holders at its
bankruptcy price (source: requirements rows B08, B09; cascades.md (a) steps 7 to 9).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np

from crossmargin.accounts import Applied, Outcome, Refused, State, house_ladder
from crossmargin.accounts import events as ev
from crossmargin.accounts.amounts import from_quanta, text_of
from crossmargin.accounts.chart import LIQUIDATOR_POT, SYSTEM, fund_line
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.pots import Position, Pot
from crossmargin.accounts.states import AccountState, Ladder
from crossmargin.errors import LiquidationError, invariant
from crossmargin.liquidation.account import LinearAccount, linear_account
from crossmargin.liquidation.adl_scores import Candidates
from crossmargin.liquidation.costs import ClosingCost
from crossmargin.liquidation.engine import Look, Progress, TrailStep, advance, begin
from crossmargin.liquidation.last_resort import Bearers, Resolution, resolve_loss
from crossmargin.liquidation.rules import LiquidationRules
from crossmargin.liquidation.waterfall import Fund
from crossmargin.units import format_time

#: Decimals of the prices that steps are booked at.
_PRICE = Decimal("1e-8")

Post = Callable[[Sequence[ev.Event]], Sequence[Outcome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Margin of one contract: shares of notional, ``0 < mm <= im``."""

    im: float
    mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where a pot stands, in the settlement asset.

    Attributes
    ----------
    equity : int
        Quanta, rounded down.
    im, mm : float
        Quanta.
    """

    equity: int
    im: float
    mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What one mark did.

    Attributes
    ----------
    time_ns : int
        When.
    states : dict of str to int
        Accounts by state afterwards.
    calls : int
        Accounts that came into ``warning`` or worse from ``healthy``.
    breached : tuple of str
        Accounts found below their line for the first time.
    closed : float
        Notional closed in the market by force, settlement asset.
    taken_over : int
        Positions taken over.
    fund, fund_paid : int
        Balance afterwards and what it paid in this tick, quanta.
    deleveraged, shared : int
        Contract quanta closed against holders; quanta of loss shared out.
    uncovered : int
        Quanta that no layer bore: they stand on the liquidator.
    events : int
        Posted.
    """

    time_ns: int
    states: dict[str, int]
    calls: int
    breached: tuple[str, ...]
    closed: float
    taken_over: int
    fund: int
    fund_paid: int
    deleveraged: int
    shared: int
    uncovered: int
    events: int


class VenueDay:
    """Runs a venue on its ledger, mark by mark.

    Parameters
    ----------
    state : State
        Of the ledger; changed by `post` alone.
    post : callable
        Applies events to that state, durably where it keeps them; for example ``journal.post``.
    rates : mapping of str to Rates
        By instrument; every contract that is held needs one.
    rules : LiquidationRules
        The venue's.
    asset : str
        Settlement asset of all contracts.
    group : str
        Whose fund pays.
    costs : ClosingCost, optional
        What forced closes cost beyond fees.
    ladder : Ladder, optional
        States of accounts; the house's by default.
    name : str
        Begins the ids of events.
    """

    def __init__(
        self,
        state: State,
        post: Post,
        rates: Mapping[str, Rates],
        rules: LiquidationRules,
        *,
        asset: str = "USDC",
        group: str = "main",
        costs: ClosingCost | None = None,
        ladder: Ladder | None = None,
        name: str = "day",
    ) -> None:
        self._state, self._post, self._rates, self._rules = state, post, dict(rates), rules
        self._asset, self._group, self._name = asset, group, name
        self._costs = costs or ClosingCost()
        self._ladder = ladder or house_ladder()
        self._progress: dict[str, Progress] = {}
        self._count = 0
        self._unit = 10 ** state.asset(asset).decimals
        self._now = 0

    # ---- what comes in ---------------------------------------------------------------------

    def mark(self, time_ns: int, prices: Mapping[str, str]) -> Tick:
        """Take marks, and do what follows for every account.

        Parameters
        ----------
        time_ns : int
            Not before the last one.
        prices : mapping of str to str
            Decimal text by instrument.

        Raises
        ------
        LiquidationError
            ``LIQ-010`` for a moment before the last, ``LIQ-001`` for a contract without rates.
        """
        if time_ns < self._now:
            raise LiquidationError(
                "a mark cannot come before the last one", code="LIQ-010", field="time_ns"
            )
        self._now = time_ns
        before, seen = self._count, _Seen()
        self._do(ev.Mark, prices=dict(prices))
        for pot in list(self._state.pots()):
            if pot.open_positions():
                self._look(pot, seen)
        calls = self._set_states()
        states: dict[str, int] = {}
        for pot in self._state.pots():
            states[pot.state] = states.get(pot.state, 0) + 1
        return Tick(
            time_ns=time_ns,
            states=states,
            calls=calls,
            breached=tuple(seen.breached),
            closed=seen.closed,
            taken_over=seen.taken_over,
            fund=self._fund,
            fund_paid=seen.fund_paid,
            deleveraged=seen.deleveraged,
            shared=seen.shared,
            uncovered=max(0, -self._liquidator.wallet(self._asset).balance),
            events=self._count - before,
        )

    def funding(self, time_ns: int, rates: Mapping[str, str]) -> None:
        """Settle funding: longs pay ``value · rate`` where the rate is positive."""
        self._now = max(self._now, time_ns)
        for instrument, rate in sorted(rates.items()):
            self._do(ev.Funding, instrument=instrument, rate=rate)

    def stand(self, pot: Pot) -> Stand:
        """Return where a pot stands at the last marks."""
        equity, im, mm = 0, 0.0, 0.0
        for _, _, line in pot.money():
            if line.asset == self._asset and not line.name.endswith((":held", ":arriving")):
                equity += line.balance
        for position in pot.open_positions():
            value, contract = self._value(position), position.contract
            equity += value + position.cost.balance
            rates = self._rate(contract)
            im += abs(value) * rates.im
            mm += abs(value) * rates.mm
        return Stand(equity=equity, im=im, mm=mm)

    # ---- one account -----------------------------------------------------------------------

    def _look(self, pot: Pot, seen: _Seen) -> None:
        """Let the rules look at an account, and post what they decide."""
        progress = self._progress.get(pot.name, begin())
        here = self.stand(pot)
        if progress.state == "healthy" and here.equity >= here.mm:
            return
        held = pot.open_positions()
        look = advance(
            self._linear(held, here),
            self._rules,
            progress,
            self._now,
            costs=self._costs,
            draw=self._count,
        )
        if progress.state == "healthy" and look.trail:
            seen.breached.append(pot.name)
        by_name = {p.contract.id: p for p in held}
        for step in look.trail:
            if step.action in ("close", "net-pair") and step.leg is not None and step.units > 0:
                seen.closed += self._close(by_name[step.leg], step)
        if look.takeover is not None:
            self._take_over(pot, look, by_name, seen)
        done = look.progress.state in ("taken-over", "closed")
        if done:
            self._bear(pot, None, seen)
        self._progress[pot.name] = begin() if done else look.progress

    def _linear(self, held: Sequence[Position], here: Stand) -> LinearAccount:
        contracts = [p.contract for p in held]
        marks = [self._mark(c) for c in contracts]
        sizes = [c.size / 10**18 for c in contracts]
        return linear_account(
            quantity=[self._units(p) for p in held],
            # A unit is one contract: its notional is the mark times its size.
            mark=[m * s for m, s in zip(marks, sizes)],
            rate=[self._rate(c).mm for c in contracts],
            equity=here.equity / self._unit,
            names=[c.id for c in contracts],
            lot=[10.0**-c.quantity_decimals for c in contracts],
        )

    def _close(self, position: Position, step: TrailStep) -> float:
        """Post a forced close; return its notional."""
        contract = position.contract
        units = self._quantity(position, step.units)
        assert step.price is not None
        price = self._price(contract, step.price, position.held.balance > 0)
        self._do(
            ev.LiquidationStep,
            instrument=contract.id,
            quantity=units,
            price=price,
            account=_account(position.pot),
            pot=position.pot.id,
            leg=position.leg,
            fee=self._amount(step.fee, up=True),
        )
        return float(units) * float(price) * contract.size / 10**18

    # ---- last resorts ----------------------------------------------------------------------

    def _take_over(
        self, pot: Pot, look: Look, by_name: Mapping[str, Position], seen: _Seen
    ) -> None:
        """Hand positions to the liquidator, and let it be rid of them."""
        assert look.takeover is not None
        taken = []
        for leg in look.takeover.legs:
            position = by_name[leg.name]
            contract = position.contract
            signed = position.held.balance
            mark = self._mark(contract)
            fair = leg.price is None or look.takeover.price == "with-margin"
            unit = contract.size / 10**18
            price = mark if fair or leg.price is None else leg.price / unit
            text = self._price(contract, price * unit, signed > 0)
            self._do(
                ev.Takeover,
                instrument=contract.id,
                quantity=text_of(abs(signed), contract.quantity_decimals),
                price=text,
                account=_account(pot),
                pot=pot.id,
                leg=position.leg,
            )
            seen.taken_over += 1
            taken.append((contract, signed, float(text)))
        # What is left in the wallet went with the positions.
        self._hand_over_money(pot)
        for contract, signed, price in taken:
            self._unwind(contract, signed, price, seen)

    def _hand_over_money(self, pot: Pot) -> None:
        wallet = pot.wallet(self._asset).balance
        if wallet > 0:
            self._do(
                ev.MoveMoney,
                source=ev.Place(account=_account(pot), pot=pot.id),
                target=ev.Place(account=SYSTEM, pot=LIQUIDATOR_POT),
                asset=self._asset,
                amount=from_quanta(wallet, self._asset, self._state.scales),
            )

    def _unwind(self, contract: Contract, signed: int, price: float, seen: _Seen) -> None:
        """Close what was taken over: in the market as far as it is paid for, else by holders."""
        units = signed / 10**contract.quantity_decimals
        leg = linear_account(
            quantity=units,
            mark=self._mark(contract) * contract.size / 10**18,
            rate=self._rate(contract).mm,
            equity=0.0,
            names=[contract.id],
        ).legs[0]
        fill = self._costs.price(leg, abs(units)) / (contract.size / 10**18)
        loss = math.ceil((price - fill) * units * contract.size / 10**18 * self._unit)
        # Money that came with the positions pays first.
        loss -= max(0, self._liquidator.wallet(self._asset).balance)
        found: Resolution | None = None
        if loss > 0:
            found = self._resolve(contract, signed, price, loss)
            self._deleverage(contract, signed, price, found, seen)
        rest = abs(signed) if found is None else found.market_contracts
        if rest:
            self._do(
                ev.LiquidationStep,
                instrument=contract.id,
                quantity=text_of(rest, contract.quantity_decimals),
                price=self._price(contract, fill * contract.size / 10**18, signed > 0),
                account=SYSTEM,
                pot=LIQUIDATOR_POT,
            )
            seen.closed += rest / 10**contract.quantity_decimals * fill * contract.size / 10**18
        self._bear(self._liquidator, found, seen)
        self._surplus_to_fund()

    def _resolve(self, contract: Contract, signed: int, price: float, loss: int) -> Resolution:
        holders = self._holders(contract, signed)
        standings = [self.stand(p.pot) for p in holders]
        marks = self._mark(contract)
        candidates = Candidates(
            contracts=tuple(p.held.balance for p in holders),
            mark=marks,
            entry=np.array([_entry(p) for p in holders]),
            bankruptcy=np.array(
                [_bankruptcy(marks, p, s, self._unit) for p, s in zip(holders, standings)]
            ),
            unit=contract.size / 10**18 / 10**contract.quantity_decimals,
            wallet=np.array([p.pot.wallet(self._asset).balance for p in holders]) / self._unit,
            profit=np.array(
                [s.equity - p.pot.wallet(self._asset).balance for p, s in zip(holders, standings)]
            )
            / self._unit,
            mm=np.array([s.mm for s in standings]) / self._unit,
        )
        return resolve_loss(
            self._rules, loss, signed, price, self._bearers(candidates), quanta_per_usd=self._unit
        )

    def _deleverage(
        self, contract: Contract, signed: int, price: float, found: Resolution, seen: _Seen
    ) -> None:
        if found.adl is None or not found.adl.fills:
            return
        holders = self._holders(contract, signed)
        shares = []
        for fill in found.adl.fills:
            position = holders[fill.row]
            shares.append(
                ev.AdlShare(
                    account=_account(position.pot),
                    pot=position.pot.id,
                    leg=position.leg,
                    quantity=text_of(fill.contracts, contract.quantity_decimals),
                )
            )
        self._do(
            ev.Adl,
            instrument=contract.id,
            price=self._price(contract, price * contract.size / 10**18, signed > 0),
            account=SYSTEM,
            pot=LIQUIDATOR_POT,
            against=shares,
        )
        seen.deleveraged += found.adl.contracts

    def _bear(self, pot: Pot, found: Resolution | None, seen: _Seen) -> None:
        """Let the fund, then everybody, pay what a wallet lacks once its positions are gone."""
        lack = -pot.wallet(self._asset).balance
        if lack <= 0 or pot.open_positions():
            return
        place = (
            ev.Place(account=SYSTEM, pot=LIQUIDATOR_POT)
            if pot.account is None
            else ev.Place(account=_account(pot), pot=pot.id)
        )
        if found is None:
            found = resolve_loss(
                self._rules, lack, 0, 1.0, self._bearers(None), quanta_per_usd=self._unit
            )
        by_fund = min(lack, self._fund)
        if by_fund:
            self._do(
                ev.FundCover,
                group=self._group,
                target=place,
                asset=self._asset,
                amount=from_quanta(by_fund, self._asset, self._state.scales),
            )
            seen.fund_paid += by_fund
        lack -= by_fund
        if lack and found.shared is not None:
            self._share(place, pot, found, lack, seen)

    def _share(self, place: ev.Place, pot: Pot, found: Resolution, lack: int, seen: _Seen) -> None:
        assert found.shared is not None
        shares, left = [], lack
        for payer, amount in zip(self._payers(), found.shared.charged):
            paid = min(amount, left, max(0, payer.wallet(self._asset).balance))
            if paid and payer is not pot:
                left -= paid
                text = from_quanta(paid, self._asset, self._state.scales)
                shares.append(ev.LossShare(account=_account(payer), pot=payer.id, amount=text))
        if shares:
            self._do(ev.SocialisedLoss, target=place, asset=self._asset, shares=shares)
            seen.shared += lack - left

    def _surplus_to_fund(self) -> None:
        wallet = self._liquidator.wallet(self._asset).balance
        if wallet > 0 and not self._liquidator.open_positions():
            # The liquidator keeps nothing: what closing left over feeds the fund.
            self._do(
                ev.FundPayIn,
                group=self._group,
                asset=self._asset,
                amount=from_quanta(wallet, self._asset, self._state.scales),
                source="liquidator",
            )

    def _bearers(self, candidates: Candidates | None) -> Bearers:
        able = [
            max(0, min(self.stand(pot).equity, pot.wallet(self._asset).balance))
            for pot in self._payers()
        ]
        # What the liquidator lacks already is the fund's to pay, and cannot be paid with twice.
        owed = max(0, -self._liquidator.wallet(self._asset).balance)
        fund = max(0, self._fund - owed)
        return Bearers(
            fund=Fund(balance=fund, peak=fund),
            candidates=candidates,
            equity=able,
            start=self._count,
        )

    # ---- states ----------------------------------------------------------------------------

    def _set_states(self) -> int:
        """Post the states that have changed; return how many accounts left ``healthy``."""
        calls = 0
        for pot in list(self._state.pots()):
            here = self.stand(pot)
            now: AccountState = self._ladder.state(here.equity, here.im, here.mm, pot.state)
            if not pot.open_positions():
                now = "bankrupt" if here.equity < 0 else "healthy"
            if now != pot.state:
                calls += pot.state == "healthy"
                self._do(ev.SetState, account=_account(pot), pot=pot.id, state=now)
        return calls

    # ---- small things ----------------------------------------------------------------------

    @property
    def _liquidator(self) -> Pot:
        return self._state.system[LIQUIDATOR_POT]

    @property
    def _fund(self) -> int:
        return self._state.ledger.balance(fund_line(self._group), self._asset)

    def _payers(self) -> list[Pot]:
        return list(self._state.pots())

    def _holders(self, contract: Contract, signed: int) -> list[Position]:
        """Return traders' positions on the other side, by name."""
        return [
            p
            for _, p in sorted(contract.holders.items())
            if p.pot.account is not None and p.held.balance * signed < 0
        ]

    def _do(self, kind: type[Any], **fields: Any) -> None:
        """Post one event; what the driver decides is never refused, or the driver is wrong."""
        self._count += 1
        event = kind(id=f"{self._name}:{self._count}", time=format_time(self._now), **fields)
        (outcome,) = self._post([event])
        why = str(outcome.error) if isinstance(outcome, Refused) else ""
        invariant(isinstance(outcome, Applied), f"{event} was not applied: {why}")

    def _rate(self, contract: Contract) -> Rates:
        found = self._rates.get(contract.id)
        if found is None:
            raise LiquidationError(
                f"there are no margin rates for {contract.id}",
                code="LIQ-001",
                instrument=contract.id,
                field="rates",
            )
        return found

    def _mark(self, contract: Contract) -> float:
        if contract.mark is None:
            raise LiquidationError(
                f"{contract.id} is held and has never been marked",
                code="LIQ-001",
                instrument=contract.id,
                field="prices",
            )
        return contract.mark / 10**18

    def _value(self, position: Position) -> int:
        self._mark(position.contract)
        mark = position.contract.mark
        assert mark is not None
        top, below = position.contract.value(position.held.balance, mark)
        return top // below

    def _units(self, position: Position) -> float:
        return float(position.held.balance / 10**position.contract.quantity_decimals)

    def _quantity(self, position: Position, units: float) -> str:
        """Write units as whole quanta, rounded up to suffice and never beyond what is held."""
        decimals = position.contract.quantity_decimals
        quanta = Decimal(units).scaleb(decimals)
        nearest = int(quanta.to_integral_value(ROUND_HALF_EVEN))
        # Rounding of floats is no reason to close another lot.
        close = abs(quanta - nearest) < Decimal("1e-6")
        whole = nearest if close else int(quanta.to_integral_value(ROUND_CEILING))
        return text_of(min(max(whole, 1), abs(position.held.balance)), decimals)

    def _price(self, contract: Contract, unit_value: float, sells: bool) -> str:
        """Write the price of one coin, rounded against the one who is closed."""
        price = Decimal(unit_value) / (Decimal(contract.size) / 10**18)
        rounding = ROUND_FLOOR if sells else ROUND_CEILING
        return format(max(price.quantize(_PRICE, rounding=rounding), _PRICE), "f")

    def _amount(self, usd: float, *, up: bool) -> str:
        quanta = usd * self._unit
        return from_quanta(
            math.ceil(quanta) if up else math.floor(quanta), self._asset, self._state.scales
        )


class _Seen:
    """What a tick has done so far."""

    def __init__(self) -> None:
        self.breached: list[str] = []
        self.closed = 0.0
        self.taken_over = self.fund_paid = self.deleveraged = self.shared = 0


def _account(pot: Pot) -> str:
    return SYSTEM if pot.account is None else pot.account.id


def _entry(position: Position) -> float:
    from crossmargin.accounts.standing import average_entry

    found = average_entry(position)
    return math.nan if found is None else float(found)


def _bankruptcy(mark: float, position: Position, here: Stand, unit: int) -> float:
    """Price of this position at which its account has nothing, all else at the mark."""
    coins = position.held.balance / 10**position.contract.quantity_decimals
    coins *= position.contract.size / 10**18
    return float(mark - here.equity / unit / coins)


def day_rows(ticks: Sequence[Tick]) -> Iterator[dict[str, Any]]:
    """Return ticks as plain rows, for a table or a file."""
    for tick in ticks:
        yield {
            "time": format_time(tick.time_ns),
            **{f"accounts_{state}": n for state, n in sorted(tick.states.items())},
            "calls": tick.calls,
            "breached": len(tick.breached),
            "closed": tick.closed,
            "taken_over": tick.taken_over,
            "fund": tick.fund,
            "fund_paid": tick.fund_paid,
            "deleveraged": tick.deleveraged,
            "shared": tick.shared,
            "uncovered": tick.uncovered,
        }
