"""A venue's day: marks come in, accounts are margined, and what the rules decide is posted.

The driver between this room and the ledger. It reads where accounts stand from the ledger's state,
lets :func:`~crossmargin.liquidation.advance` decide, and turns each step into an event: forced
closes, takeovers, the fund, deleveraging, shared losses, margin calls. Nothing moves but by an
event, so the ledger can be replayed and sums to zero after each. Margin is that of flat rates or of
a whole rule-set; contracts may be linear, inverse or options, in any settlement asset.

Order of layers: rules' own (``layers``). A position taken over is closed in the market at the mark
less slippage, as far as fund and account pay for that; the rest goes against holders at its
bankruptcy price (source: requirements rows B08, B09; cascades.md (a) steps 7 to 9).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossmargin.accounts import Outcome, State, house_ladder
from crossmargin.accounts import events as ev
from crossmargin.accounts.pots import Position, Pot
from crossmargin.accounts.states import LADDER, AccountState, Ladder
from crossmargin.errors import LiquidationError
from crossmargin.liquidation._day_records import Loss, Seen
from crossmargin.liquidation._desk import Desk, Post, account_of
from crossmargin.liquidation._last_posts import LastResorts
from crossmargin.liquidation.account import Standing
from crossmargin.liquidation.costs import ClosingCost
from crossmargin.liquidation.engine import Progress, TrailStep, advance, begin
from crossmargin.liquidation.rules import LiquidationRules
from crossmargin.liquidation.ruleset_margin import RulesetMargin
from crossmargin.liquidation.standings import FlatRates, Rates, Stand
from crossmargin.market import Snapshot
from crossmargin.units import format_time

__all__ = ["Loss", "Rates", "Stand", "Tick", "VenueDay", "day_rows"]


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
    losses : tuple of Loss
        Who bore what accounts could not.
    trail : tuple of (str, TrailStep)
        Every step of the rules, with its pot.
    in_breach_ns : dict of str to int
        Pots under liquidation after this mark: time since they fell below their line.
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
    losses: tuple[Loss, ...] = ()
    trail: tuple[tuple[str, TrailStep], ...] = ()
    in_breach_ns: dict[str, int] = field(default_factory=dict)


class VenueDay:
    """Runs a venue on its ledger, mark by mark.

    Parameters
    ----------
    state : State
        Of the ledger; changed by `post` alone.
    post : callable
        Applies events to that state, durably where it keeps them; for example ``journal.post``.
    margin : mapping of str to Rates, or RulesetMargin
        Flat rates by instrument (every contract that is held needs one), or a rule-set.
    rules : LiquidationRules
        The venue's.
    asset : str
        What everything is counted in.
    group : str
        Whose fund pays where a loss belongs to no contract.
    costs : ClosingCost, optional
        What forced closes cost beyond fees.
    ladder : Ladder, optional
        States of accounts; the house's by default.
    conversion_spread : float
        Share that is lost when coins are changed to pay a debt.
    name : str
        Begins the ids of events.
    """

    def __init__(
        self,
        state: State,
        post: Post,
        margin: Mapping[str, Rates] | RulesetMargin,
        rules: LiquidationRules,
        *,
        asset: str = "USDC",
        group: str = "main",
        costs: ClosingCost | None = None,
        ladder: Ladder | None = None,
        conversion_spread: float = 0.0,
        name: str = "day",
    ) -> None:
        self._desk = Desk(state, post, asset, group, name)
        self._margin = margin if isinstance(margin, RulesetMargin) else FlatRates(margin)
        self._rules, self._costs = rules, costs or ClosingCost()
        self._last = LastResorts(self._desk, self._margin, rules, self._costs, conversion_spread)
        self._ladder = ladder or house_ladder()
        self._progress: dict[str, Progress] = {}

    # ---- what comes in ---------------------------------------------------------------------

    def mark(
        self,
        time_ns: int,
        prices: Mapping[str, str] | None = None,
        *,
        coins: Mapping[str, str] | None = None,
        snapshot: Snapshot | None = None,
    ) -> Tick:
        """Take marks, and do what follows for every account.

        Parameters
        ----------
        time_ns : int
            Not before the last one.
        prices : mapping of str to str, optional
            Decimal text by instrument; where a snapshot is given, beside its own.
        coins : mapping of str to str, optional
            Prices of coins in the asset of account; those that are left out stay as they were.
        snapshot : Snapshot, optional
            The market, for a day under a rule-set: marks and prices of coins are taken from it.

        Raises
        ------
        LiquidationError
            ``LIQ-010`` for a moment before the last, ``LIQ-001`` for a contract without rates or
            a coin without a price.
        """
        desk = self._desk
        if time_ns < desk.now:
            raise LiquidationError(
                "a mark cannot come before the last one", code="LIQ-010", field="time_ns"
            )
        desk.now = time_ns
        before, seen = desk.count, Seen()
        desk.coins.update({name: _positive(text, name) for name, text in (coins or {}).items()})
        desk.take_marks({**self._marks(snapshot), **(prices or {})})
        self._margin.take(desk)
        for pot in desk.payers():
            if pot.open_positions():
                self._look(pot, seen)
        for pot in desk.payers():
            # Deleveraging may close the last position of somebody who is bankrupt himself.
            if self._is_bankrupt(pot):
                self._own_debts(pot, seen)
        calls = self._set_states()
        states: dict[str, int] = {}
        for pot in desk.state.pots():
            states[pot.state] = states.get(pot.state, 0) + 1
        return Tick(
            time_ns=time_ns,
            states=states,
            calls=calls,
            breached=tuple(seen.breached),
            closed=seen.closed,
            taken_over=seen.taken_over,
            fund=desk.fund(),
            fund_paid=seen.fund_paid,
            deleveraged=seen.deleveraged,
            shared=seen.shared,
            uncovered=max(0, -desk.liquidator.wallet(desk.asset).balance),
            events=desk.count - before,
            losses=tuple(seen.losses),
            trail=tuple(seen.trail),
            in_breach_ns={
                pot: x.in_breach_ns(time_ns)
                for pot, x in sorted(self._progress.items())
                if x.breached_ns is not None
            },
        )

    def _marks(self, snapshot: Snapshot | None) -> dict[str, str]:
        """Take a market in, and return the marks that follow from it."""
        if not isinstance(self._margin, RulesetMargin):
            if snapshot is not None:
                raise LiquidationError(
                    "a day at flat rates takes prices, not a market",
                    code="LIQ-001",
                    field="snapshot",
                    hint="margin the day by a RulesetMargin",
                )
            return {}
        if snapshot is not None:
            self._margin.snapshot = snapshot
        return self._margin.marks(self._desk)

    def funding(self, time_ns: int, rates: Mapping[str, str]) -> None:
        """Settle funding: longs pay ``value · rate`` where the rate is positive."""
        self._desk.now = max(self._desk.now, time_ns)
        for instrument, rate in sorted(rates.items()):
            self._desk.do(ev.Funding, instrument=instrument, rate=rate)

    def post(self, events: Sequence[ev.Event]) -> Sequence[Outcome]:
        """Post what others do: deposits, fills; see :func:`.day_file.run_day` for a whole day."""
        return self._desk.post(events)

    def stand(self, pot: Pot) -> Stand:
        """Return where a pot stands at the last marks."""
        return self._margin.stand(self._desk, pot)

    # ---- one account -----------------------------------------------------------------------

    def _look(self, pot: Pot, seen: Seen) -> None:
        """Let the rules look at an account, and post what they decide."""
        desk = self._desk
        progress = self._progress.get(pot.name, begin())
        held = pot.open_positions()
        for position in held:
            self._margin.check(desk, position.contract)
        here = self._margin.stand(desk, pot)
        at = Standing(here.equity / desk.unit, here.mm / desk.unit)
        if progress.state == "healthy" and self._rules.line.holds(at):
            return
        look = advance(
            self._margin.account(desk, pot, held, here),
            self._rules,
            progress,
            desk.now,
            costs=self._costs,
            draw=desk.count,
        )
        if progress.state == "healthy" and look.trail:
            seen.breached.append(pot.name)
        seen.trail += [(pot.name, step) for step in look.trail]
        by_name = {_leg_name(p, held): p for p in held}
        for step in look.trail:
            if step.action == "close" and step.leg is not None and step.units > 0:
                self._close(by_name[step.leg], step, seen)
            elif step.action == "net-pair":
                self._last.hand.net_pair([p for p in held if p.contract.id == step.leg], step.units)
        if look.takeover is not None:
            rows = [by_name[leg.name] for leg in look.takeover.legs]
            self._last.take_over(pot, look.takeover, rows, seen)
        done = look.progress.state in ("taken-over", "closed")
        if done:
            self._own_debts(pot, seen)
        # Who is well again is kept while a timer of his may run, who is not well in any case.
        if done or (look.progress.state == "healthy" and not look.progress.last_ns):
            self._progress.pop(pot.name, None)
        else:
            self._progress[pot.name] = look.progress

    def _is_bankrupt(self, pot: Pot) -> bool:
        """Whether nothing is open in a pot and it owes more than it has."""
        if pot.open_positions() or not any(line.balance < 0 for _, _, line in pot.money()):
            return False
        return self._margin.stand(self._desk, pot).equity < 0

    def _own_debts(self, pot: Pot, seen: Seen) -> None:
        """Let a pot whose positions are gone pay what it owes, and the layers the rest."""
        if pot.open_positions():
            return
        self._last.hand.settle_session(pot)
        self._last.hand.pay_own_debts(pot)
        owed = [line.asset for kind, _, line in pot.money() if kind == "wallet"]
        for asset in sorted(set(owed)):
            if pot.wallet(asset).balance < 0:
                self._last.bear(pot, asset, {self._desk.group: None}, seen)

    def _close(self, position: Position, step: TrailStep, seen: Seen) -> None:
        """Post a forced close."""
        desk, contract = self._desk, position.contract
        if not position.held.balance:
            return
        units = desk.quantity(position, step.units)
        assert step.price is not None
        if step.from_fund > 0 and self._last.owners_price(position, step) > 0:
            self._last.close_with_fund(position, units, step, seen)
            return
        fee = math.ceil(step.fee * desk.quanta_per_unit(contract.settlement))
        desk.do(
            ev.LiquidationStep,
            instrument=contract.id,
            quantity=units,
            price=desk.price(contract, step.price, position.held.balance > 0),
            account=account_of(position.pot),
            pot=position.pot.id,
            leg=position.leg,
            fee=desk.text(fee, contract.settlement),
        )
        seen.closed += step.units * self._last.leg(contract, 1).unit_usd
        if step.from_fund > 0:
            self._last.cover(position, step.from_fund, seen)

    def _set_states(self) -> int:
        """Post the states that have changed and the calls due; return how many left ``healthy``."""
        calls, desk = 0, self._desk
        for pot in desk.payers():
            here = self._margin.stand(desk, pot)
            equity = here.equity if here.equity_im is None else here.equity_im
            now: AccountState = self._ladder.state(
                equity, here.im, here.mm, pot.state, equity_mm=here.equity
            )
            if not pot.open_positions():
                now = "bankrupt" if here.equity < 0 else "healthy"
            if now == pot.state:
                continue
            worse = LADDER.index(now) > LADDER.index(pot.state)
            calls += pot.state == "healthy"
            desk.do(ev.SetState, account=account_of(pot), pot=pot.id, state=now)
            if worse and now != "bankrupt":
                self._call(pot, now, here, equity)
        return calls

    def _call(self, pot: Pot, now: AccountState, here: Stand, equity: int) -> None:
        """Post a margin call: what the account has, and what it should have in this state."""
        desk = self._desk
        lines = {"warning": self._ladder.warning * here.im, "reduce-only": here.im}
        desk.do(
            ev.MarginCall,
            account=account_of(pot),
            pot=pot.id,
            asset=desk.asset,
            equity=desk.text(here.equity if now == "liquidating" else equity, desk.asset),
            required=desk.text(math.ceil(lines.get(now, here.mm)), desk.asset),
        )


def _leg_name(position: Position, held: Sequence[Position]) -> str:
    """Return the name of a position among the legs of its pot."""
    twice = len({p.contract.id for p in held}) < len(held)
    name = position.contract.id
    return f"{name}#{position.leg}" if twice else name


def _positive(text: str, name: str) -> float:
    """Read the price of a coin."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not (math.isfinite(found) and found > 0):
        raise LiquidationError(
            f"{text!r} is no price of {name}",
            code="LIQ-001",
            field="coins",
            hint="give a number above 0 as text",
        )
    return found


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
