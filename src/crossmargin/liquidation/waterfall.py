"""Who pays for a loss: layer after layer, none touched before the one above it is used up.

Integers throughout: the layers sum to the loss to the last quantum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossmargin.errors import LiquidationError, invariant


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a waterfall.

    Attributes
    ----------
    name : str
        What pays: the account's collateral, the fund, deleveraged holders, everybody.
    available : int or None
        Quanta that are there, at least 0; None where it takes whatever is left.
    limit : int or None
        The most that one loss may take of it, at least 0; None without one. A venue may cap what
        one account or block costs its fund; beyond it the layer counts as used up.
    """

    name: str
    available: int | None
    limit: int | None = None

    @property
    def capacity(self) -> int | None:
        """What it can bear of one loss; None for whatever comes."""
        known = [x for x in (self.available, self.limit) if x is not None]
        return min(known) if known else None


@dataclass(frozen=True, slots=True)
class Borne:
    """What a layer bore: `used` of its capacity, and what is `left` of what it had."""

    name: str
    used: int
    left: int | None
    limited: bool


@dataclass(frozen=True, slots=True)
class Waterfall:
    """A loss, laid over its layers.

    Attributes
    ----------
    deficit : int
        Quanta to be covered.
    layers : tuple of Borne
        In order.
    uncovered : int
        What no layer bore.
    """

    deficit: int
    layers: tuple[Borne, ...]
    uncovered: int

    def used(self, name: str) -> int:
        """Return what a layer bore, by its name; 0 where there is none of it."""
        return sum(layer.used for layer in self.layers if layer.name == name)


def cover(deficit: int, layers: Sequence[Layer]) -> Waterfall:
    """Lay a loss over its layers.

    Source: requirements row B08 (deficit 120,000 on a fund of 100,000: fund 0, 20,000 to the
    next layer; no layer is used before the one above is empty; all layers sum to the deficit).

    Parameters
    ----------
    deficit : int
        Quanta, at least 0.
    layers : sequence of Layer
        First to last.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` for a negative figure, ``LIQ-006`` for a layer that is named twice.
    """
    names = [layer.name for layer in layers]
    if len(set(names)) != len(names):
        raise LiquidationError("a layer is named twice", code="LIQ-006", field="layers")
    figures = [deficit] + [x for y in layers for x in (y.available, y.limit) if x is not None]
    if any(isinstance(x, float) or x < 0 for x in figures):
        raise LiquidationError(
            "a waterfall is counted in whole quanta of at least 0", code="LIQ-001", field="layers"
        )
    rest, borne = deficit, []
    for layer in layers:
        capacity = layer.capacity
        used = rest if capacity is None else min(rest, capacity)
        rest -= used
        left = None if layer.available is None else layer.available - used
        borne.append(Borne(layer.name, used, left, layer.limit is not None and used == layer.limit))
    found = Waterfall(deficit, tuple(borne), rest)
    check(found, layers)
    return found


def check(found: Waterfall, layers: Sequence[Layer]) -> None:
    """Hold the two laws: layers sum to the loss, and none pays while one above it could.

    Raises
    ------
    InvariantViolation
        Where either is broken.
    """
    paid = sum(layer.used for layer in found.layers)
    invariant(paid + found.uncovered == found.deficit, "the layers sum to the deficit")
    room = False
    for layer, bore in zip(layers, found.layers):
        invariant(bore.used >= 0, "a layer pays at least 0")
        invariant(not (room and bore.used), "no layer pays while one above it has room")
        capacity = layer.capacity
        room = room or capacity is None or bore.used < capacity
    invariant(not (room and found.uncovered), "nothing stays uncovered while a layer has room")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fund:
    """An insurance fund of one group of contracts, in quanta.

    Attributes
    ----------
    balance : int
        At least 0.
    peak : int
        The highest balance within the window that a trigger looks at.
    """

    balance: int
    peak: int

    def after(self, *, paid: int = 0, received: int = 0) -> Fund:
        """Return the fund after it bore a loss and took in what liquidations left over.

        ``F' = F + residue + fees − min(F, D)`` (cascades.md §1.3, published).

        Raises
        ------
        LiquidationError
            ``LIQ-007`` where it is to pay more than it has.
        """
        if paid < 0 or received < 0:
            raise LiquidationError(
                "a fund pays and receives at least 0", code="LIQ-001", field="paid"
            )
        if paid > self.balance:
            raise LiquidationError(
                f"the fund has {self.balance} and cannot pay {paid}",
                code="LIQ-007",
                field="paid",
                hint="the rest goes to the next layer",
            )
        balance = self.balance - paid + received
        return Fund(balance=balance, peak=max(self.peak, balance))


def drawdown_excess(balance: int, peak: int, loss: int, *, ratio_ppm: int) -> int:
    """Return what a loss takes the pool down beyond the fall that it bears by itself.

    Bybit's rule: deleveraging starts where ``(P&L − 8h peak)/peak < −0.30``, and users cover
    only the excess; a pool of 1 million with a loss of 350,000 leaves 50,000 to them (cascades.md
    §3.1, published). An empty pool bears nothing.

    Parameters
    ----------
    balance, peak : int
        Of the pool, quanta.
    loss : int
        At least 0.
    ratio_ppm : int
        The fall it bears, in millionths of the peak.
    """
    floor = max(0, peak - peak * ratio_ppm // 1_000_000)
    bears = max(0, min(balance, balance - floor))
    return max(0, loss - bears)
