"""What if: add, remove or roll legs, and see what becomes of every part of the requirement.

The question is asked of an account that is priced already. A trade in what the account holds
changes numbers in priced rows; one in something else prices the account once more and keeps it.

Source: style-and-ecosystem.md, C.4 (builders, baskets that net hedges, breakdown with the total);
the arithmetic is the engine's own, and the answer is that of evaluating the changed account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from crossmargin.analytics.what_if_types import ComponentChange, GroupChange, Side, WhatIfAnswer
from crossmargin.book import AccountFile, Leg
from crossmargin.errors import MarginError
from crossmargin.instruments import parse_instrument
from crossmargin.margin import (
    ComponentLine,
    Evaluation,
    Ruleset,
    Trade,
    TradedAccount,
    component_lines,
    position_greeks,
    pot_lines,
    pot_name,
    sum_by,
    worst_state,
)
from crossmargin.market import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """Buy (> 0) or sell (< 0) units of an instrument; at the mark without a price."""

    instrument: str
    quantity: float
    price: float | None = None
    pool: str = "cross"
    leg: Leg = "net"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Close a position, or `quantity` units of it (unsigned); at the mark without a price."""

    instrument: str
    quantity: float | None = None
    price: float | None = None
    pool: str = "cross"
    leg: Leg = "net"


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """Close a position (or `quantity` units of it) and open as many in another instrument."""

    old: str
    new: str
    quantity: float | None = None
    pool: str = "cross"
    leg: Leg = "net"


Change = Add | Remove | Roll


@lru_cache(maxsize=4096)
def _id(name: str) -> str:
    return parse_instrument(name).id


def trades_of(account: AccountFile, changes: Sequence[Change]) -> list[Trade]:
    """Write changes as trades, in their order.

    What an earlier change has done counts: what is added first can be removed after it.

    Raises
    ------
    MarginError
        ``MRG-023`` when what is to be closed is not held, or less of it.
    """
    held: dict[tuple[str, str, str], float] = {}
    for row in account.positions:
        key = (_id(row.instrument), row.pool, row.leg)
        held[key] = held.get(key, 0.0) + float(row.quantity)
    trades: list[Trade] = []

    def book(trade: Trade) -> None:
        key = (_id(trade.instrument), trade.pool, trade.leg)
        held[key] = held.get(key, 0.0) + trade.quantity
        trades.append(trade)

    def closing(name: str, size: float | None, pool: str, leg: Leg) -> float:
        here = held.get((_id(name), pool, leg), 0.0)
        if here == 0.0 or (size is not None and not 0.0 < size <= abs(here)):
            said = "is not held" if here == 0.0 else f"is held with {here:g}, not {size:g}"
            places = ", ".join(sorted({k[0] for k, q in held.items() if q != 0.0})[:6])
            raise MarginError(
                f"{name} {said}" + ("" if pool == "cross" else f" in pool {pool!r}"),
                code="MRG-023",
                account=account.account,
                instrument=name,
                field="remove",
                hint=f"the account holds {places or 'no positions'}",
            )
        return -here if size is None else -float(np.copysign(size, here))

    for change in changes:
        if isinstance(change, Add):
            book(
                Trade(
                    instrument=change.instrument,
                    quantity=change.quantity,
                    price=change.price,
                    pool=change.pool,
                    leg=change.leg,
                )
            )
        elif isinstance(change, Remove):
            size = closing(change.instrument, change.quantity, change.pool, change.leg)
            book(
                Trade(
                    instrument=change.instrument,
                    quantity=size,
                    price=change.price,
                    pool=change.pool,
                    leg=change.leg,
                )
            )
        else:
            size = closing(change.old, change.quantity, change.pool, change.leg)
            book(Trade(instrument=change.old, quantity=size, pool=change.pool, leg=change.leg))
            book(Trade(instrument=change.new, quantity=-size, pool=change.pool, leg=change.leg))
    return trades


class WhatIf:
    """An account that is asked what-if questions.

    Parameters
    ----------
    account, snapshot, ruleset
        As it stands.
    instruments : sequence of str
        What will be asked about beside what is held; priced at once, so that a first question
        in them is as quick as the next.
    """

    def __init__(
        self,
        account: AccountFile,
        snapshot: Snapshot,
        ruleset: Ruleset,
        instruments: Sequence[str] = (),
    ) -> None:
        self._account, self._snapshot, self._ruleset = account, snapshot, ruleset
        first = [Trade(instrument=name, quantity=1.0) for name in instruments]
        self._warm = TradedAccount(account, snapshot, ruleset, first)
        now = self._warm.evaluation([False] * len(first))
        self._side, self._parts, self._groups = side_of(now), _parts(now), _groups(now)

    @property
    def before(self) -> Side:
        """The account as it stands."""
        return self._side

    def traded(self, changes: Sequence[Change]) -> TradedAccount:
        """Return the priced account for these changes; kept for the next question."""
        trades = trades_of(self._account, changes)
        again = self._warm.again(trades)
        if again is None:
            again = TradedAccount(self._account, self._snapshot, self._ruleset, trades)
            self._warm = again
        return again

    def ask(self, changes: Sequence[Change]) -> WhatIfAnswer:
        """Say what becomes of the account after some changes, made together.

        Raises
        ------
        MarginError
            ``MRG-020`` for a contract that has expired, ``MRG-022`` for a trade of nothing,
            ``MRG-023`` when what is to be closed is not held.
        CrossmarginError
            What the market or the rule-set lacks for a new leg.
        """
        made = self.traded(changes)
        done = made.evaluation()
        after = side_of(done)
        return WhatIfAnswer(
            account=self._account.account,
            ruleset=self._ruleset.id,
            fills=made.fills(),
            before=self._side,
            after=after,
            components=_component_changes(self._parts, _parts(done)),
            groups=_group_changes(self._groups, _groups(done)),
            sentence=_sentence(self._side, after),
        )


def what_if(
    account: AccountFile, snapshot: Snapshot, ruleset: Ruleset, changes: Sequence[Change]
) -> WhatIfAnswer:
    """Ask one question of an account; for several keep a :class:`WhatIf`."""
    return WhatIf(account, snapshot, ruleset).ask(changes)


def side_of(done: Evaluation) -> Side:
    """Sum an evaluated account up."""
    usd, pots = done.frame.pot_usd, pot_lines(done)
    equity, im = float(done.have.im @ usd), done.im_usd
    return Side(
        equity_im_usd=equity,
        equity_mm_usd=float(done.have.mm @ usd),
        im_usd=im,
        mm_usd=done.mm_usd,
        available_usd=equity - im,
        health=min((p.health for p in pots if p.health is not None), default=None),
        state=worst_state(p.state for p in pots),
    )


_Key = tuple[str, str, str]


def _parts(done: Evaluation) -> dict[_Key, ComponentLine]:
    orders = float((done.need_orders.im - done.need.im) @ done.frame.pot_usd)
    lines = {
        (line.pot, line.group, line.name): line for line in component_lines(done.frame, done.need)
    }
    if orders:
        extra = ComponentLine(
            pot="*", group="*", name="open orders", im_usd=orders, mm_usd=0.0, source="",
            confidence="", note="",
        )  # fmt: skip
        lines["*", "*", "open orders"] = extra
    return lines


def _component_changes(
    before: dict[_Key, ComponentLine], after: dict[_Key, ComponentLine]
) -> list[ComponentChange]:
    found = []
    for key in dict.fromkeys([*before, *after]):
        a, b = before.get(key), after.get(key)
        factors = [None if x is None else x.factor_im for x in (a, b)]
        ims = [0.0 if x is None else x.im_usd for x in (a, b)]
        mms = [0.0 if x is None else x.mm_usd for x in (a, b)]
        if any(ims) or any(mms) or any(f is not None for f in factors):
            found.append(
                ComponentChange(
                    pot=key[0],
                    group=key[1],
                    name=key[2],
                    im_before_usd=ims[0],
                    im_after_usd=ims[1],
                    mm_before_usd=mms[0],
                    mm_after_usd=mms[1],
                    factor_im_before=factors[0],
                    factor_im_after=factors[1],
                )
            )
    return found


_Group = tuple[float, str | None, float, float, float, float]
_FLAT: _Group = (0.0, None, 0.0, 0.0, 0.0, 0.0)


def _groups(done: Evaluation) -> dict[tuple[str, str], _Group]:
    """Return each group's requirement, binding scenario and sensitivities, by pot and coin."""
    frame, need = done.frame, done.need
    a, greeks = frame.arrangement, position_greeks(frame)
    sums = [
        sum_by(values, a.position_group, a.groups)
        for values in (greeks.delta, greeks.gamma, greeks.vega_usd, greeks.theta_usd)
    ]
    found = {}
    for g in range(a.groups):
        binding = None
        if need.scan is not None and need.scan.binding[g] >= 0:
            labels = frame.table.scenarios.labels[int(frame.group_scenario_row[g])]
            binding = labels[int(need.scan.binding[g])]
        im = float(need.group_im[g]) * float(frame.pot_usd[a.group_pot[g]])
        delta, gamma, vega, theta = (float(s[g]) for s in sums)
        name = frame.book.registry.assets[int(a.group_underlying[g])]
        found[pot_name(frame, int(a.group_pot[g])), name] = (
            im, binding, delta, gamma, vega, theta,
        )  # fmt: skip
    return found


def _group_changes(
    before: dict[tuple[str, str], _Group], after: dict[tuple[str, str], _Group]
) -> list[GroupChange]:
    found = []
    for key in dict.fromkeys([*before, *after]):
        a, b = before.get(key, _FLAT), after.get(key, _FLAT)
        if not (any(x for x in a if not isinstance(x, str)) or any(b[:1] + b[2:])):
            continue
        found.append(
            GroupChange(
                pot=key[0],
                group=key[1],
                im_usd=(a[0], b[0]),
                binding=(a[1], b[1]),
                delta=(a[2], b[2]),
                gamma=(a[3], b[3]),
                vega_usd=(a[4], b[4]),
                theta_usd=(a[5], b[5]),
            )
        )
    return found


def _sentence(before: Side, after: Side) -> str:
    step = after.im_usd - before.im_usd
    size = f"{abs(step):,.2f} USD"
    first = (
        "initial margin stays as it is"
        if abs(step) < 0.005
        else f"initial margin {'rises' if step > 0 else 'falls'} by {size}"
    )
    if after.available_usd >= 0:
        return f"{first}; {after.available_usd:,.2f} USD stay available"
    lacking = f"{-after.available_usd:,.2f} USD of initial margin would be lacking"
    if after.available_usd >= before.available_usd:
        return f"{first}; {lacking}, less than the {-before.available_usd:,.2f} USD that lack now"
    return f"{first}; {lacking}"
