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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossmargin.accounts import State, house_ladder
from crossmargin.accounts import events as ev
from crossmargin.accounts.pots import Position, Pot
from crossmargin.accounts.states import AccountState, Ladder
from crossmargin.errors import LiquidationError
from crossmargin.liquidation._desk import Desk, Post, Rates, Stand, account_of
from crossmargin.liquidation._last_posts import LastResorts, Seen
from crossmargin.liquidation.account import LinearAccount, linear_account
from crossmargin.liquidation.costs import ClosingCost
from crossmargin.liquidation.engine import Progress, TrailStep, advance, begin
from crossmargin.liquidation.rules import LiquidationRules
from crossmargin.units import format_time

__all__ = ["Rates", "Stand", "Tick", "VenueDay", "day_rows"]


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
        self._desk = Desk(state, post, rates, asset, group, name)
        self._rules, self._costs = rules, costs or ClosingCost()
        self._last = LastResorts(self._desk, rules, self._costs)
        self._ladder = ladder or house_ladder()
        self._progress: dict[str, Progress] = {}

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
        desk = self._desk
        if time_ns < desk.now:
            raise LiquidationError(
                "a mark cannot come before the last one", code="LIQ-010", field="time_ns"
            )
        desk.now = time_ns
        before, seen = desk.count, Seen()
        desk.do(ev.Mark, prices=dict(prices))
        for pot in desk.payers():
            if pot.open_positions():
                self._look(pot, seen)
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
            fund=desk.fund,
            fund_paid=seen.fund_paid,
            deleveraged=seen.deleveraged,
            shared=seen.shared,
            uncovered=max(0, -desk.liquidator.wallet(desk.asset).balance),
            events=desk.count - before,
        )

    def funding(self, time_ns: int, rates: Mapping[str, str]) -> None:
        """Settle funding: longs pay ``value · rate`` where the rate is positive."""
        self._desk.now = max(self._desk.now, time_ns)
        for instrument, rate in sorted(rates.items()):
            self._desk.do(ev.Funding, instrument=instrument, rate=rate)

    def stand(self, pot: Pot) -> Stand:
        """Return where a pot stands at the last marks."""
        return self._desk.stand(pot)

    # ---- one account -----------------------------------------------------------------------

    def _look(self, pot: Pot, seen: Seen) -> None:
        """Let the rules look at an account, and post what they decide."""
        desk = self._desk
        progress = self._progress.get(pot.name, begin())
        here = desk.stand(pot)
        if progress.state == "healthy" and here.equity >= here.mm:
            return
        held = pot.open_positions()
        look = advance(
            self._linear(held, here),
            self._rules,
            progress,
            desk.now,
            costs=self._costs,
            draw=desk.count,
        )
        if progress.state == "healthy" and look.trail:
            seen.breached.append(pot.name)
        by_name = {p.contract.id: p for p in held}
        for step in look.trail:
            if step.action == "close" and step.leg is not None and step.units > 0:
                seen.closed += self._close(by_name[step.leg], step)
        if look.takeover is not None:
            self._last.take_over(pot, look, by_name, seen)
        done = look.progress.state in ("taken-over", "closed")
        if done:
            self._last.bear(pot, None, seen)
        self._progress[pot.name] = begin() if done else look.progress

    def _linear(self, held: Sequence[Position], here: Stand) -> LinearAccount:
        """Return an account as the rules see it; a unit is one contract."""
        desk, contracts = self._desk, [p.contract for p in held]
        return linear_account(
            quantity=[desk.units(p) for p in held],
            mark=[desk.mark(c) * c.size / 10**18 for c in contracts],
            rate=[desk.rate(c).mm for c in contracts],
            equity=here.equity / desk.unit,
            names=[c.id for c in contracts],
            lot=[10.0**-c.quantity_decimals for c in contracts],
        )

    def _close(self, position: Position, step: TrailStep) -> float:
        """Post a forced close; return its notional."""
        desk, contract = self._desk, position.contract
        units = desk.quantity(position, step.units)
        assert step.price is not None
        price = desk.price(contract, step.price, position.held.balance > 0)
        desk.do(
            ev.LiquidationStep,
            instrument=contract.id,
            quantity=units,
            price=price,
            account=account_of(position.pot),
            pot=position.pot.id,
            leg=position.leg,
            fee=desk.amount(step.fee, up=True),
        )
        return float(units) * float(price) * contract.size / 10**18

    def _set_states(self) -> int:
        """Post the states that have changed; return how many accounts left ``healthy``."""
        calls = 0
        for pot in self._desk.payers():
            here = self._desk.stand(pot)
            now: AccountState = self._ladder.state(here.equity, here.im, here.mm, pot.state)
            if not pot.open_positions():
                now = "bankrupt" if here.equity < 0 else "healthy"
            if now != pot.state:
                calls += pot.state == "healthy"
                self._desk.do(ev.SetState, account=account_of(pot), pot=pot.id, state=now)
        return calls


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
