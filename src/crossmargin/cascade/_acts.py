"""What people do of their own accord, booked: money in and out, positions reduced in the market."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade import _look
from crossmargin.cascade._lookout import Standing
from crossmargin.cascade._measure import Marks
from crossmargin.cascade._outside import Outside
from crossmargin.cascade._round import Desk, Window
from crossmargin.cascade._settle import absorb
from crossmargin.cascade._venue import sums, to_grid
from crossmargin.cascade.impact import fill
from crossmargin.cascade.setting import Actions, Behaviour
from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]


class View:
    """Accounts as those see them who decide what people do: measured once, when first asked."""

    def __init__(self, desk: Desk, now: Marks) -> None:
        self._desk, self._now = desk, now
        self._found: tuple[Standing, Floats] | None = None

    def _measured(self) -> tuple[Standing, Floats]:
        if self._found is None:
            lookout, rows = self._desk.lookout, self._desk.venue.rows
            copied = rows.copied()
            lookout.fold_all(copied)
            self._found = lookout.standing(self._now), copied.quantity
        return self._found

    def equity(self) -> Floats:
        """Return the equity of every account, haircuts taken."""
        return self._measured()[0].equity

    def maintenance(self) -> Floats:
        """Return the requirement of every account."""
        return self._measured()[0].mm

    def free(self) -> NDArray[np.bool_]:
        """Say who is neither under liquidation nor gone: others can do nothing."""
        return np.asarray(self._desk.state == _look.HEALTHY)

    def quantity(self) -> Floats:
        """Return the coins of every position."""
        return self._measured()[1]


def act(behaviour: Behaviour, outside: Outside, desk: Desk, window: Window, now: Marks) -> Marks:
    """Ask what people do, and book it; return the marks after it."""
    actions = outside.ask(behaviour, View(desk, now))
    if actions is None:
        return now
    _check(actions, desk)
    venue, rows = desk.venue, desk.venue.rows
    account = desk.holders.account[actions.row]
    ids = np.unique(np.concatenate([actions.account, account])).astype(np.int32)
    # Whoever is in liquidation, or gone, does nothing any more.
    ids = ids[desk.state[ids] == _look.HEALTHY]
    desk.lookout.fold(ids)
    desk.touch(ids)
    free = desk.state == _look.HEALTHY
    cash = to_grid(np.where(free[actions.account], actions.cash_usd, 0.0), venue.cent)
    np.add.at(rows.base, actions.account, cash)
    venue.base += float(cash.sum())
    venue.external += float(cash.sum())
    held = np.where(free[account] & ~window.halted[rows.contract[actions.row]], 1.0, 0.0)
    held *= np.abs(rows.quantity[actions.row])
    contract = rows.contract[actions.row]
    units = np.minimum(to_grid(held * actions.share, venue.quanta[contract]), held)
    if not units.any():
        return now
    sign = np.sign(rows.quantity[actions.row])
    k = venue.quanta.size
    net = sums(contract, -sign * units, k)
    found = fill(window.impact, window.flow, net, window.depth, window.price)
    price = found.price[contract] - (now.mark[:k] - now.worth)[contract]
    money = to_grid(sign * units * price, venue.cent)
    rows.quantity[actions.row] -= sign * units
    np.add.at(rows.base, account, money)
    venue.base += float(money.sum())
    venue.absorber_base -= float(money.sum())
    venue.absorber_q -= net
    for side, whole in ((1.0, venue.long), (-1.0, venue.short)):
        whole -= sums(contract, np.where(sign == side, units, 0.0), k)
    window.flow += net
    absorb(desk, net, found.price, now)
    outside.fill(window)
    return outside.now(venue)


def _check(actions: Actions, desk: Desk) -> None:
    rows = desk.venue.rows
    fits = actions.account.shape == actions.cash_usd.shape
    fits = fits and actions.row.shape == actions.share.shape
    if fits and actions.account.size:
        fits = actions.account.min() >= 0 and int(actions.account.max()) < rows.base.size
    if fits and actions.row.size:
        fits = actions.row.min() >= 0 and int(actions.row.max()) < rows.quantity.size
        fits = fits and np.unique(actions.row).size == actions.row.size
        fits = fits and bool(((actions.share >= 0) & (actions.share <= 1)).all())
    if not (fits and np.isfinite(actions.cash_usd).all()):
        raise CascadeError(
            "what people do names accounts and positions that are there, each position once, "
            "shares from 0 to 1",
            code="CAS-001",
            field="behaviour",
        )
