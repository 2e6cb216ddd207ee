"""What a contract of the ledger is worth, in whole quanta and exact fractions.

A position of q contract quanta is worth, in quanta of the settlement asset,

* linear: ``q · size · price``;
* inverse perpetuals and futures (q in contracts of `size` US dollars, profit in coin):
  ``−q · size / price``;
* options and coins: linear in the price, which for an option settled in its coin is in coin.

Unrealised profit is ``value(q, mark) + cost``, where `cost` is minus the value at which it was
opened. Source: the conventions of ``requirements.md`` (linear), row A18 (inverse).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from crossmargin.accounts.amounts import ONE, PLACES, nearest_div, power_of_ten
from crossmargin.accounts.chart import contract_asset
from crossmargin.errors import LedgerError
from crossmargin.instruments import Future, Instrument, Kind, Option, Perpetual, Spot

if TYPE_CHECKING:
    from crossmargin.accounts.pots import Position

Right = Literal["call", "put"]


@dataclass(slots=True, eq=False)
class Contract:
    """An instrument as the ledger knows it.

    Attributes
    ----------
    id, kind, underlying, quote, settlement
        As of :class:`crossmargin.instruments.Instrument`.
    size : int
        Contract size in 1e-18.
    quantity_decimals : int
        Decimals of a quantity.
    settlement_decimals : int
        Of the settlement asset.
    expiry_ns, strike, right
        Where it has them; strike in 1e-18.
    premium_at_once : bool
        An option whose premium is paid when it trades; else it is margined like a future.
    session : bool
        Whether profit and funding wait in the session line until the session is settled.
    group : str
        Whose insurance fund stands behind it.
    mark : int or None
        Last mark price in 1e-18.
    realised : int
        Profit that has left cost lines so far, all holders; with the costs it sums to 0.
    open : bool
        False once expired or delisted.
    terms_since : int
        Events applied when its size last changed.
    holders : dict
        Positions ever opened, by line name.
    """

    id: str
    kind: Kind
    underlying: str
    quote: str
    settlement: str
    size: int
    quantity_decimals: int
    settlement_decimals: int
    expiry_ns: int | None
    strike: int | None
    right: Right | None
    premium_at_once: bool
    session: bool
    group: str
    asset: str
    inverse: bool
    mark: int | None
    realised: int
    open: bool
    terms_since: int
    holders: dict[str, Position]
    _up: int
    _down: int

    def value(self, quantity: int, price: int) -> tuple[int, int]:
        """Return the exact value as a fraction ``(numerator, denominator > 0)`` of quanta."""
        if self.inverse:
            return -quantity * self._up, price * self._down
        return quantity * price * self._up, self._down

    def traded_value(self, quantity: int, price: int) -> int:
        """Return the value of a trade in whole quanta, halves to even.

        Both sides book the same whole number, so nothing is lost by rounding it.
        """
        top, bottom = self.value(quantity, price)
        return nearest_div(top, bottom)

    def instrument(self) -> Instrument:
        """Return it as an instrument of the risk rooms (floats: the door out)."""
        terms = {
            "id": self.id,
            "underlying": self.underlying,
            "quote": self.quote,
            "settlement": self.settlement,
        }
        size = self.size / ONE
        if self.kind == "spot":
            return Spot(**terms, contract_size=size)
        if self.kind == "perpetual":
            return Perpetual(**terms, contract_size=size)
        assert self.expiry_ns is not None
        if self.kind == "future":
            return Future(**terms, contract_size=size, expiry_ns=self.expiry_ns)
        assert self.strike is not None and self.right is not None
        return Option(
            **terms,
            contract_size=size,
            expiry_ns=self.expiry_ns,
            strike=self.strike / ONE,
            option_type=self.right,
        )

    def intrinsic(self, price: int) -> tuple[int, int]:
        """Return what one unit of price an option pays at a settlement price, as a fraction.

        ``max(S − K, 0)`` for a linear call, divided by S for one settled in its coin; in 1e-18.
        Source: Deribit's delivery of inverse options; ``requirements.md``, conventions.
        """
        assert self.strike is not None
        gap = price - self.strike if self.right == "call" else self.strike - price
        gap = max(gap, 0)
        if self.settlement == self.underlying:
            return gap * ONE, price
        return gap, 1

    def rescale(self) -> None:
        """Work out the constants of :meth:`value` from size and decimals."""
        gap = self.settlement_decimals - self.quantity_decimals
        places = gap if self.inverse else gap - 2 * PLACES
        self._up = self.size * power_of_ten(max(places, 0))
        self._down = power_of_ten(max(-places, 0))


def make_contract(
    *,
    id: str,
    kind: Kind,
    underlying: str,
    quote: str,
    settlement: str,
    size: int,
    quantity_decimals: int,
    settlement_decimals: int,
    expiry_ns: int | None = None,
    strike: int | None = None,
    right: Right | None = None,
    premium_at_once: bool = True,
    session: bool = False,
    group: str = "",
) -> Contract:
    """Make a contract and refuse terms that none can have.

    Raises
    ------
    LedgerError
        ``LED-003`` for a dated contract without expiry, or an option without strike and right.
    """
    dated = kind in ("future", "option")
    if dated != (expiry_ns is not None) or (kind == "option") != (strike is not None):
        raise LedgerError(
            f"a {kind} needs {'an expiry' if dated else 'no expiry'}"
            f"{', a strike and a right' if kind == 'option' else ' and no strike'}",
            code="LED-003",
            instrument=id,
            field="expiry" if dated != (expiry_ns is not None) else "strike",
            hint="give exactly the terms of its kind",
        )
    if (kind == "option") != (right is not None):
        raise LedgerError(
            "an option, and nothing else, is a call or a put",
            code="LED-003",
            instrument=id,
            field="right",
        )
    made = Contract(
        id=id,
        kind=kind,
        underlying=underlying,
        quote=quote,
        settlement=settlement,
        size=size,
        quantity_decimals=quantity_decimals,
        settlement_decimals=settlement_decimals,
        expiry_ns=expiry_ns,
        strike=strike,
        right=right,
        premium_at_once=kind == "option" and premium_at_once,
        session=session,
        group=group,
        asset=contract_asset(id),
        inverse=kind in ("perpetual", "future") and settlement == underlying,
        mark=None,
        realised=0,
        open=True,
        terms_since=0,
        holders={},
        _up=0,
        _down=1,
    )
    made.rescale()
    return made
