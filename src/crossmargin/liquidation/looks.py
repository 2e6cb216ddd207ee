"""Look after look: what a liquidation does over time, in one market or along a path of marks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import LiquidationError
from crossmargin.liquidation.account import Account, Leg, LinearAccount, Standing
from crossmargin.liquidation.costs import ClosingCost
from crossmargin.liquidation.engine import Look, advance, begin
from crossmargin.liquidation.rules import LiquidationRules

Floats = NDArray[np.float64]


class Reduced:
    """An account with part of it closed: what the next look in the same market sees."""

    def __init__(self, account: Account, look: Look) -> None:
        self._account, self._look = account, look
        rows = zip(account.legs, look.quantity.tolist())
        self._legs = tuple(leg.left(q) for leg, q in rows)

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Legs with what is left of them."""
        return self._legs

    @property
    def has_orders(self) -> bool:
        """Whether orders still rest."""
        return self._look.orders

    @property
    def brackets(self) -> object:
        """Brackets of the account, where it has any."""
        return getattr(self._account, "brackets", None)

    def standing(self, quantity: Floats, cost: Floats, *, orders: bool = False) -> Standing:
        """Return equity and requirement; costs paid before are paid."""
        return self._account.standing(quantity, self._look.cost + cost, orders=orders)

    def weights(self, quantity: Floats) -> Floats:
        """Return each leg's share of the requirement."""
        return self._account.weights(quantity)


def after_look(account: Account, look: Look) -> Account:
    """Return the account that the next look sees, in the same market."""
    if isinstance(account, LinearAccount):
        return account.after(look.quantity, look.cost, orders=look.orders)
    return Reduced(account, look)


def liquidate(
    account: Account,
    rules: LiquidationRules,
    times_ns: Iterable[int],
    *,
    costs: ClosingCost | None = None,
    draws: Callable[[int], int] = lambda look: look,
    marks: Callable[[int], Sequence[float]] | None = None,
) -> list[Look]:
    """Take looks at the given moments, until nothing is held that could be closed.

    In an unmoved market it also ends once the account is at its target or was never below its
    line; where marks move every moment is looked at.

    Parameters
    ----------
    account : Account
        At the start.
    rules : LiquidationRules
        The venue's.
    times_ns : iterable of int
        Moments of looks, rising.
    costs : ClosingCost, optional
        What closing costs.
    draws : callable
        The draw of the n-th look; by default its number.
    marks : callable, optional
        Marks of the legs at a moment, ns UTC; for a :class:`LinearAccount`.

    Returns
    -------
    list of Look
        At least one unless there are no moments; the last says where it ended.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` marks for an account that cannot be moved here.
    """
    progress, looks = begin(), list[Look]()
    for number, now_ns in enumerate(times_ns):
        if marks is not None:
            if not isinstance(account, LinearAccount):
                raise LiquidationError(
                    "only a LinearAccount can be moved by its marks",
                    code="LIQ-001",
                    field="marks",
                    hint="take looks with advance(), each at the account of its moment",
                )
            account = account.at(marks(now_ns))
        look = advance(account, rules, progress, now_ns, costs=costs, draw=draws(number))
        looks.append(look)
        account, progress = after_look(account, look), look.progress
        over = ("healthy",) if marks is None else ()
        if progress.state in ("taken-over", "auction", "closed", *over):
            break
    return looks
