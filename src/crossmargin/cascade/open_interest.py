"""Open interest: how trades, expiries and forced closes change it, and how to read it with price.

Open interest is Σ long = Σ short, in the contract's own unit. Source: requirements row A21; what
is not in the row is said where it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import number, numbers, same_shape
from crossmargin.errors import CascadeError
from crossmargin.instruments import Option, expiry_of, parse_instrument

Floats = NDArray[np.float64]

Quadrant = Literal["new longs", "new shorts", "short covering", "long liquidation", "unchanged"]


def interest_from_flags(
    quantity: ArrayLike, buyer_opens: ArrayLike, seller_opens: ArrayLike, start: float = 0.0
) -> Floats:
    """Open interest after each trade of one contract, from what the venue says of both sides.

    Both open: +q. Both close: −q. One of each: 0, the contract changes hands.

    Parameters
    ----------
    quantity : array_like [T]
        Traded, above 0.
    buyer_opens, seller_opens : array_like of bool [T]
        Whether that side opens; else it closes.
    start : float
        Before the first trade, at least 0.

    Returns
    -------
    float64[T]

    Raises
    ------
    CascadeError
        ``CAS-021`` where more would be closed than was open.
    """
    q = numbers("quantity", quantity, above=0.0)
    buys = np.asarray(buyer_opens, dtype=bool).astype(np.float64)
    sells = np.asarray(seller_opens, dtype=bool).astype(np.float64)
    same_shape(quantity=q, buyer_opens=buys, seller_opens=sells)
    open_now = number("start", start, least=0.0) + np.cumsum(q * (buys + sells - 1.0))
    if (open_now < -1e-9 * (start + q.sum())).any():
        raise CascadeError(
            f"trade {int(np.argmax(open_now < 0))} closes more than is open",
            code="CAS-021",
            field="quantity",
            hint="the open interest at the start may be missing, or a flag is wrong",
        )
    return np.maximum(open_now, 0.0)


class PositionLedger:
    """Who holds what, so that open interest follows from positions and not from flags.

    Quantities may be of any number type; with integers and fractions the laws hold exactly.
    """

    def __init__(self) -> None:
        self._held: dict[str, dict[str, float]] = {}

    def trade(self, contract: str, buyer: str, seller: str, quantity: float) -> float:
        """Book a trade and return the change of open interest.

        A side that crosses zero closes with one part and opens with the other.
        """
        if not (math.isfinite(quantity) and quantity > 0):
            raise CascadeError(
                f"a trade of {quantity:g} is none",
                code="CAS-001",
                instrument=contract,
                field="quantity",
            )
        before = self.open_interest(contract)
        self._add(contract, buyer, quantity)
        self._add(contract, seller, -quantity)
        return self.open_interest(contract) - before

    def close_pair(self, contract: str, long: str, short: str, quantity: float) -> float:
        """Close a long against a short (auto-deleveraging): open interest falls by the quantity.

        Raises
        ------
        CascadeError
            ``CAS-021`` where one of them does not hold as much.
        """
        for holder, has in (
            (long, self.position(contract, long)),
            (short, -self.position(contract, short)),
        ):
            if has < quantity:
                raise CascadeError(
                    f"{quantity:g} cannot be closed of a position of {max(has, 0):g}",
                    code="CAS-021",
                    account=holder,
                    instrument=contract,
                    field="quantity",
                )
        return self.trade(contract, short, long, quantity)

    def expire(self, contract: str) -> float:
        """Settle a contract: all positions end. Return the change of open interest."""
        gone = self.open_interest(contract)
        self._held.pop(contract, None)
        return -gone

    def position(self, contract: str, holder: str) -> float:
        """Return what a holder has, signed."""
        return self._held.get(contract, {}).get(holder, 0)

    def longs(self, contract: str) -> float:
        """Sum of all long positions."""
        return sum(q for q in self._held.get(contract, {}).values() if q > 0)

    def shorts(self, contract: str) -> float:
        """Sum of all short positions, at least 0."""
        return -sum(q for q in self._held.get(contract, {}).values() if q < 0)

    def open_interest(self, contract: str) -> float:
        """Contracts outstanding."""
        return self.longs(contract)

    def contracts(self) -> list[str]:
        """Names of contracts with positions."""
        return sorted(self._held)

    def _add(self, contract: str, holder: str, quantity: float) -> None:
        held = self._held.setdefault(contract, {})
        left = held.get(holder, 0) + quantity
        if left:
            held[holder] = left
        else:
            held.pop(holder, None)
        if not held:
            del self._held[contract]


def quadrants(
    price: ArrayLike, open_interest: ArrayLike, *, least: float = 0.0
) -> tuple[Quadrant, ...]:
    """Read each step of price and open interest.

    Price up with OI up: new longs press. Price down, OI up: new shorts press. Price up, OI down:
    shorts cover. Price down, OI down: longs are closed. Every contract has both sides, so the
    name says who is thought to press, no more (row A21; the usual reading, secondary).

    Parameters
    ----------
    price, open_interest : array_like [T]
        Above 0, and at least 0.
    least : float
        Relative moves up to this count as none.

    Returns
    -------
    tuple of str
        T − 1 of them.
    """
    p, oi = numbers("price", price, above=0.0), numbers("open_interest", open_interest, least=0.0)
    same_shape(price=p, open_interest=oi)
    limit = number("least", least, least=0.0)
    up = np.diff(p) / p[:-1]
    more = np.diff(oi) / np.where(oi[:-1] > 0, oi[:-1], np.maximum(oi[1:], 1.0))
    names: dict[tuple[bool, bool], Quadrant] = {
        (True, True): "new longs",
        (False, True): "new shorts",
        (True, False): "short covering",
        (False, False): "long liquidation",
    }
    return tuple(
        "unchanged" if abs(a) <= limit or abs(b) <= limit else names[a > 0, b > 0]
        for a, b in zip(up.tolist(), more.tolist())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class InterestBreakdown:
    """Open interest of one underlying, split.

    Attributes
    ----------
    underlying : str
    by_contract : dict of str to float
    by_expiry : dict of int to float
        By expiry, ns UTC; 0 for what does not expire.
    calls, puts : dict of float to float
        Of options, by strike, all expiries together.
    walls : dict of int to float
        By expiry: the strike with the most open interest, calls and puts together.
    put_call : float
        Puts over calls; NaN without calls.
    """

    underlying: str
    by_contract: dict[str, float]
    by_expiry: dict[int, float]
    calls: dict[float, float]
    puts: dict[float, float]
    walls: dict[int, float]
    put_call: float


def interest_breakdown(open_interest: Mapping[str, float]) -> tuple[InterestBreakdown, ...]:
    """Split open interest by contract, expiry and strike, underlying by underlying.

    Parameters
    ----------
    open_interest : mapping of str to float
        By instrument (any spelling that is known), coins, at least 0.

    Raises
    ------
    InputError
        ``INP-001`` for an instrument that is unknown.
    """
    sums: dict[str, list[tuple[str, float]]] = {}
    for name, amount in open_interest.items():
        number(name, amount, least=0.0)
        sums.setdefault(parse_instrument(name).underlying, []).append((name, amount))
    return tuple(_breakdown(coin, rows) for coin, rows in sorted(sums.items()))


def _breakdown(underlying: str, rows: Sequence[tuple[str, float]]) -> InterestBreakdown:
    expiries: dict[int, float] = {}
    sides: dict[str, dict[float, float]] = {"call": {}, "put": {}}
    strikes: dict[int, dict[float, float]] = {}
    for name, amount in rows:
        item = parse_instrument(name)
        when = expiry_of(item) or 0
        expiries[when] = expiries.get(when, 0.0) + amount
        if isinstance(item, Option):
            for table in (sides[item.option_type], strikes.setdefault(when, {})):
                table[item.strike] = table.get(item.strike, 0.0) + amount
    calls, puts = (math.fsum(side.values()) for side in (sides["call"], sides["put"]))
    return InterestBreakdown(
        underlying=underlying,
        by_contract=dict(sorted(rows)),
        by_expiry=dict(sorted(expiries.items())),
        calls=dict(sorted(sides["call"].items())),
        puts=dict(sorted(sides["put"].items())),
        # Of equal strikes the lower one, so that the answer does not depend on the order.
        walls={when: _largest(table.items()) for when, table in sorted(strikes.items())},
        put_call=puts / calls if calls else math.nan,
    )


def _largest(items: Iterable[tuple[float, float]]) -> float:
    return min(items, key=lambda item: (-item[1], item[0]))[0]
