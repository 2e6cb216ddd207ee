"""The same questions asked of the reference engine, account file by account file.

What a gate falls back to for accounts that its compiled check does not take, and what the tests
hold the compiled check to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from crossmargin.book import AccountFile, OrderEntry, OrderLeg, QuoteGroup, book_from_accounts
from crossmargin.errors import CrossmarginError
from crossmargin.margin._probe import OrderProbe
from crossmargin.margin._standing import Standing, standing
from crossmargin.margin.engine import frame_for
from crossmargin.margin.live._gate_rest import quote
from crossmargin.margin.pretrade import check_order, shares_of
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Change = tuple[str, float, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowCheck:
    """A decision of the reference engine; fields as in a gate's answer."""

    accepted: bool
    rule: str
    pot: str
    equity_usd: float
    im_before_usd: float
    im_after_usd: float
    excess_usd: float
    rounding_usd: float
    debt_usd: float


def slow_check(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    legs: Sequence[Change],
    removed: Sequence[str],
    *,
    allow_debt: bool = True,
) -> SlowCheck:
    """Check an order of some legs, or (with `removed`) what resting orders become, one a leg.

    Parameters
    ----------
    account : AccountFile
        As it stands.
    snapshot, ruleset
        Market and rules.
    legs : sequence of (instrument, quantity, price or None)
        The order; or what order k of `removed` becomes.
    removed : sequence of str
        Ids of resting orders that change.
    allow_debt : bool
        Whether a fill may leave or deepen a debt.

    Raises
    ------
    CrossmarginError
        Where the account or the order cannot be valued.
    """
    try:
        if removed:
            return _change(account, snapshot, ruleset, legs, removed, allow_debt)
        return _order(account, snapshot, ruleset, legs, allow_debt)
    except CrossmarginError as error:
        raise error.located(account=account.account) from None


def _fresh(account: AccountFile) -> str:
    taken = {order.id for order in account.orders}
    return next(name for k in range(len(taken) + 1) if (name := f"new-{k}") not in taken)


def _entry(name: str, legs: Sequence[Change]) -> OrderEntry:
    return OrderEntry(
        id=name,
        legs=[OrderLeg(instrument=i, quantity=q, price=p) for i, q, p in legs],
    )


def _order(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    legs: Sequence[Change],
    allow_debt: bool,
) -> SlowCheck:
    entry = _entry(_fresh(account), legs)
    found = check_order(account, snapshot, ruleset, entry, allow_debt=allow_debt)
    worst = min(found.pots, key=lambda p: p.room)
    debt = 0.0
    if not allow_debt:
        probe = OrderProbe(account, snapshot, ruleset, entry)
        debt = max(probe.filled_at(size)[1] for size in shares_of(probe))
    return SlowCheck(
        accepted=found.accepted,
        rule=found.rule,
        pot=worst.pot,
        equity_usd=found.equity_usd,
        im_before_usd=found.im_before_usd,
        im_after_usd=found.im_after_usd,
        excess_usd=found.excess_usd,
        rounding_usd=found.rounding_usd,
        debt_usd=debt,
    )


def changed(
    account: AccountFile, removed: Sequence[str], legs: Sequence[Change | None]
) -> AccountFile:
    """Return the account with some resting orders changed, or withdrawn where the leg is None."""
    becomes = dict(zip(removed, legs))
    orders = []
    for order in account.orders:
        leg = becomes.get(order.id, order)
        if leg is order:
            orders.append(order)
        elif leg is not None:
            orders.append(_entry(order.id, [leg]))  # type: ignore[list-item]
    groups: list[QuoteGroup] = []
    for group in account.quote_groups:
        quotes = []
        for k, one in enumerate(group.quotes):
            for side, quantity, price in (
                ("bid", float(one.bid_quantity), one.bid_price),
                ("ask", -float(one.ask_quantity), one.ask_price),
            ):
                name = f"{group.id}/{k}/{side}"
                if name not in becomes:
                    if quantity:
                        held = None if price is None else float(price)
                        quotes.append(quote(one.instrument, quantity, held))
                elif (leg := becomes[name]) is not None:
                    quotes.append(quote(*leg))
        if quotes:
            groups.append(msgspec.structs.replace(group, quotes=quotes))
    return msgspec.structs.replace(account, orders=orders, quote_groups=groups)


def _stands(account: AccountFile, snapshot: Snapshot, ruleset: Ruleset) -> Standing:
    return standing(frame_for(book_from_accounts([account]), snapshot, ruleset))


def _at(found: Standing, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    place = [found.names.index(n) if n in found.names else -1 for n in names]
    equity = np.array([found.equity[p] if p >= 0 else 0.0 for p in place])
    return equity, np.array([found.im[p] if p >= 0 else 0.0 for p in place])


def _change(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    legs: Sequence[Change],
    removed: Sequence[str],
    allow_debt: bool,
) -> SlowCheck:
    """Every changed order rests beside the rest, and is taken as filled while the others rest."""
    after = changed(account, removed, legs)
    probes = []
    for k, leg in enumerate(legs):
        others: list[Change | None] = [*legs[:k], None, *legs[k + 1 :]]
        without = changed(account, removed, others)
        probes.append(OrderProbe(without, snapshot, ruleset, _entry(_fresh(without), [leg])))
    names = tuple(dict.fromkeys(name for probe in probes for name in probe.names))
    equity, im = _at(_stands(account, snapshot, ruleset), names)
    _, resting = _at(_stands(after, snapshot, ruleset), names)
    rounding = max(probe.rounding(1.0) for probe in probes)
    room = equity - resting
    passes = np.ones(len(names), dtype=bool)
    owed = 0.0
    for k, probe in enumerate(probes):
        mine = [names.index(n) for n in probe.names]
        for size in shares_of(probe):
            filled, debt = probe.filled_at(size)
            owed = max(owed, debt)
            name, quantity, price = legs[k]
            part: list[Change | None] = [*legs[:k], (name, quantity * size, price), *legs[k + 1 :]]
            waiting = (
                _at(_stands(changed(account, removed, part), snapshot, ruleset), probe.names)[1]
                if size < 1.0
                else resting[mine]
            )
            here = np.minimum(equity[mine] - waiting, filled.excess)
            worse = np.maximum(filled.im - im[mine], (equity - im)[mine] - filled.excess)
            passes[mine] &= (here >= -rounding) | (worse <= rounding)
            room[mine] = np.minimum(room[mine], here)
    rule = "room" if np.all(room >= -rounding) else "reducing"
    if not passes.all():
        rule = "refused"
    elif not allow_debt and owed > rounding:
        rule = "debt"
    return SlowCheck(
        accepted=rule in ("room", "reducing"),
        rule=rule,
        pot=names[int(np.argmin(room))],
        equity_usd=float(equity.sum()),
        im_before_usd=float(im.sum()),
        im_after_usd=float(resting.sum()),
        excess_usd=float(room.min()),
        rounding_usd=rounding,
        debt_usd=0.0 if allow_debt else owed,
    )
