"""The price's part of profit, by Greek: delta, gamma, vega, theta, trades, and what is left.

What was held at the beginning of a step is revalued at its end, and the change is split by a
Taylor expansion at the beginning:

    Δ·dF + ½·Γ·dF² + vega·dσ + θ·dt + residual

What trades within the step made against the mark at its end, and what settled, is a part of its
own. The parts are exact fractions of quanta and add up to the price's part of
:class:`~crossmargin.accounts.pnl.Attribution`: the residual is what the expansion leaves, named.

Source: the expansion is common practice; Greeks are those of :mod:`crossmargin.pricing`
(undiscounted: what interest does is in the residual). The order of the parts is ours (house).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from crossmargin.accounts.amounts import ONE
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.ledger import Transfer
from crossmargin.accounts.pnl import Attribution, begin
from crossmargin.accounts.pots import Pot
from crossmargin.accounts.project import registry_of
from crossmargin.accounts.state import State
from crossmargin.errors import LedgerError
from crossmargin.market import Snapshot
from crossmargin.pricing import black76_greeks, black76_inverse_greeks
from crossmargin.units import NS_PER_DAY

GreekCause = Literal["delta", "gamma", "vega", "theta", "trades", "residual"]
GREEK_CAUSES: tuple[GreekCause, ...] = get_args(GreekCause)

_NS_PER_YEAR = 365 * NS_PER_DAY


@dataclass(frozen=True, slots=True)
class _Point:
    """What an instrument's value depends on at one moment, and its mark in the ledger."""

    forward: float
    vol: float
    years: float
    mark: int


@dataclass(frozen=True, slots=True)
class _Held:
    """A position at the beginning of a step."""

    contract: Contract
    quanta: int
    at: _Point


class GreekAttribution:
    """Splits the price's part of a pot's profit in one asset, step by step.

    Parameters
    ----------
    state : State
        At the beginning; every held contract marked.
    pot : Pot
        Whose.
    asset : str
        Settlement asset.
    snapshot : Snapshot
        The market that belongs to the marks: forwards and volatilities.
    """

    def __init__(self, state: State, pot: Pot, asset: str, snapshot: Snapshot) -> None:
        self.pot, self.asset = pot.name, asset
        self.causes: dict[GreekCause, Fraction] = dict.fromkeys(GREEK_CAUSES, Fraction(0))
        self._ledger: Attribution = begin(state, pot, asset)
        self._price = Fraction(0)
        self._held: list[_Held] = []
        self._time_ns = 0
        self._stand(state, snapshot)

    @property
    def total(self) -> Fraction:
        """The price's part so far, quanta; the causes add up to it exactly."""
        return sum(self.causes.values(), Fraction(0))

    def add(self, transfers: Iterable[Transfer]) -> None:
        """Take in what an event within the step moved."""
        self._ledger.add(transfers)

    def step(self, state: State, snapshot: Snapshot) -> dict[GreekCause, Fraction]:
        """End a step at the state as it is, and begin the next; return what this one made.

        Raises
        ------
        LedgerError
            ``LED-010`` for an open position without a mark; ``LED-018`` for a step back in time.
        """
        if snapshot.moment_ns < self._time_ns:
            raise LedgerError(
                "a step cannot end before it began",
                code="LED-018",
                field="snapshot",
                hint="give the market of the later moment",
            )
        price = self._ledger.causes(state)["price"]
        made: dict[GreekCause, Fraction] = dict.fromkeys(GREEK_CAUSES, Fraction(0))
        before, self._price = self._price, price
        held, began_ns = self._held, self._time_ns
        points = _points(state, snapshot, [x.contract for x in held])
        revalued = Fraction(0)
        for one in held:
            now = points.get(one.contract.id)
            if now is None:
                # Settled or delisted within the step: that is no revaluation.
                continue
            change = _value(one.contract, one.quanta, now.mark)
            change -= _value(one.contract, one.quanta, one.at.mark)
            revalued += change
            parts = _expanded(one, now, (snapshot.moment_ns - began_ns) / _NS_PER_YEAR)
            for cause, quanta in parts.items():
                made[cause] += quanta
            made["residual"] += change - sum(parts.values(), Fraction(0))
        made["trades"] = price - before - revalued
        for cause, quanta in made.items():
            self.causes[cause] += quanta
        self._stand(state, snapshot)
        return made

    def _stand(self, state: State, snapshot: Snapshot) -> None:
        """Take down what is held now, and where its prices are."""
        account, _, pot = self.pot.partition("/")
        open_ = [
            p
            for p in state.pot(account, pot).open_positions()
            if p.contract.settlement == self.asset
        ]
        points = _points(state, snapshot, [p.contract for p in open_])
        self._held = [_Held(p.contract, p.held.balance, points[p.contract.id]) for p in open_]
        self._time_ns = snapshot.moment_ns


def _value(contract: Contract, quanta: int, mark: int) -> Fraction:
    return Fraction(*contract.value(quanta, mark))


def _points(state: State, snapshot: Snapshot, contracts: list[Contract]) -> dict[str, _Point]:
    """Return where the prices of contracts that are open stand."""
    open_ = {c.id: c for c in contracts if c.open}
    if not open_:
        return {}
    registry = registry_of(state)
    rows = {name: registry.resolve(name) for name in sorted(open_)}
    options = [rows[name] for name, c in sorted(open_.items()) if c.kind == "option"]
    view = snapshot.view(registry, options)
    found = {}
    for name, contract in sorted(open_.items()):
        if contract.mark is None:
            raise LedgerError(
                f"{name} has never been marked",
                code="LED-010",
                instrument=name,
                field="price",
                hint="mark it first",
            )
        row, mark = rows[name], contract.mark
        if contract.kind == "option":
            point = _Point(
                float(view.price[row]), float(view.vol[row]), float(view.years[row]), mark
            )
        else:
            # A future's value depends on its own mark alone.
            point = _Point(mark / ONE, 0.0, math.inf, mark)
        found[name] = point
    return found


def _expanded(one: _Held, now: _Point, years: float) -> dict[GreekCause, Fraction]:
    """Return the terms of the expansion, quanta, as the exact fractions of their floats.

    Linear: value q·F. Inverse: −q/F, so that delta is q/F² and gamma −2q/F³ (row A18). Options:
    Black-76 in dollars, or in coin, where ``dc/dF = δ/F`` and ``d²c/dF² = γ/F − δ/F²`` with the net
    transaction delta δ and its gamma.
    """
    contract, then = one.contract, one.at
    move = now.forward - then.forward
    if contract.kind != "option":
        if not contract.inverse:
            exact = _value(contract, one.quanta, now.mark) - _value(contract, one.quanta, then.mark)
            return {"delta": exact}
        held = float(_value(contract, one.quanta, ONE))  # −q in coin quanta at a price of 1
        return {
            "delta": Fraction(-held / then.forward**2 * move),
            "gamma": Fraction(held / then.forward**3 * move * move),
        }
    unit = float(_value(contract, one.quanta, ONE))
    assert contract.strike is not None
    terms = (then.forward, contract.strike / ONE, then.years, then.vol, contract.right == "call")
    if contract.settlement == contract.underlying:
        coin = black76_inverse_greeks(*terms)
        f = then.forward
        delta, vega, theta = float(coin.delta) / f, float(coin.vega), float(coin.theta)
        gamma = float(coin.gamma) / f - float(coin.delta) / f**2
    else:
        usd = black76_greeks(*terms)
        delta, gamma = float(usd.delta), float(usd.gamma)
        vega, theta = float(usd.vega), float(usd.theta)
    return {
        "delta": Fraction(unit * delta * move),
        "gamma": Fraction(unit * 0.5 * gamma * move * move),
        "vega": Fraction(unit * vega * (now.vol - then.vol)),
        "theta": Fraction(unit * theta * years),
    }
