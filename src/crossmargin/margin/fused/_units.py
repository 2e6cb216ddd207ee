"""What one unit of every code counts: the reference engine, asked about one unit at a time.

A *unit book* has an account for every code that holds one unit of it and nothing else. What the
engine's own stages say of these accounts are the coefficients of the fused kernel, so no formula
is written twice: a price, a haircut or a charge is decided where it always was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import Book, catalogue_of, plain_book
from crossmargin.errors import CrossmarginError
from crossmargin.instruments import Registry
from crossmargin.margin._faults import Faults
from crossmargin.margin._formula import Part
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._phi import static_discount
from crossmargin.margin._scan import scanned
from crossmargin.margin._shared import SharedMarket
from crossmargin.margin._stages import Stage, run_stage
from crossmargin.margin.components import Component, Scan
from crossmargin.margin.engine import equity, requirement
from crossmargin.margin.fused._layout import BALANCE, COST, POSITION, Layout
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import MarketView, Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def unit_book(registry: Registry, layout: Layout, codes: Ints, carrier: int) -> Book:
    """Return a book in which account k holds one unit of code ``codes[k]``.

    Contracts are entered at the mark; :class:`Units` takes them at other prices. Balances stand
    beside an empty position, so that the account takes part in scenarios.

    Parameters
    ----------
    registry : Registry
        Instruments and assets.
    layout : Layout
        Codes.
    codes : int64[K]
        Positions and balances; no costs.
    carrier : int
        An instrument whose position of size 0 stands beside balances.
    """
    k = codes.size
    held = layout.what[codes] == POSITION
    item = layout.item[codes]
    position = np.where(held, item, carrier)
    owned = np.flatnonzero(~held)
    return plain_book(
        registry,
        [f"unit-{i}" for i in range(k)],
        position_account=np.arange(k),
        position_instrument=position,
        position_quantity=np.where(held, 1.0, 0.0),
        position_entry=np.full(k, np.nan),
        balance_account=owned,
        balance_asset=item[owned],
        balance_amount=np.ones(owned.size),
    )


@dataclass(frozen=True, slots=True)
class Units:
    """The unit book of some codes, arranged and priced.

    Attributes
    ----------
    codes : int64[K]
        Positions and balances, one an account.
    frame : Frame
        One unit of each.
    entry : float64[K]
        Entry prices that make the profit of a contract its value at the mark (0, or without end
        where it is inverse): what was paid is a code of its own.
    """

    codes: Ints
    frame: Frame
    entry: Floats

    def in_market(self, view: MarketView) -> Units:
        """Return the same units in another market."""
        return Units(self.codes, self.frame.in_market(view), self.entry)

    def sized(self, size: float, *, at_mark: bool = False) -> Frame:
        """Return the frame with `size` units of each code.

        Parameters
        ----------
        size : float
            Negative for shorts and debts.
        at_mark : bool
            Whether contracts were entered at the mark, so that their profit is 0.
        """
        book = self.frame.book
        other = replace(
            book,
            position_quantity=book.position_quantity * size,
            balance_amount=book.balance_amount * size,
        )
        entry = self.entry
        if at_mark:
            entry = self.frame.view.price[book.position_instrument]
        return self.frame.with_book(other, entry)


def units_for(
    registry: Registry, layout: Layout, snapshot: Snapshot, ruleset: Ruleset
) -> tuple[Units | None, dict[int, CrossmarginError], Faults]:
    """Arrange and price the unit book of all codes but costs.

    Returns
    -------
    units : Units or None
        Of the codes that this market can value; None where there is no contract among them.
    bad : dict of int to CrossmarginError
        By code: why the others cannot be valued.
    faults : Faults
        Takes what stages refuse later, one account a code of `units`.
    """
    codes = np.flatnonzero(layout.what != COST)
    positions = layout.item[layout.what == POSITION]
    assets = layout.item[layout.what == BALANCE]
    shared = SharedMarket(catalogue_of(registry, positions, assets), snapshot, ruleset)
    fine = [i for i in positions.tolist() if i not in shared.refused]
    # Balances take part in scenarios beside a contract that is open, not beside an expired one.
    expiry = registry.terms.expiry_ns
    fine.sort(key=lambda i: bool(0 < expiry[i] <= snapshot.moment_ns))
    first = Faults(codes.size)
    with np.errstate(all="ignore"):
        carrier = fine[0] if fine else int(positions[0])
        shared.frame(unit_book(registry, layout, codes, carrier), first)
        bad = {int(codes[row]): error for row, error in first.reasons.items()}
        good = codes[~first.bad]
        faults = Faults(good.size)
        if not (layout.what[good] == POSITION).any():
            return None, bad, faults
        book = unit_book(registry, layout, good, carrier)
        inverse = registry.terms.inverse[book.position_instrument]
        entry = np.where(inverse, np.inf, 0.0)
        return Units(good, shared.frame(book, faults), entry), bad, faults


def equities(frame: Frame) -> Floats:
    """Return equity at the initial and the maintenance level by account, ``[2, K]``."""
    need = requirement(frame, levels=())
    have = equity(frame, need)
    account = frame.book.pool_account[frame.arrangement.pot_pool]
    k = frame.book.size
    return np.stack([np.bincount(account, weights=row, minlength=k) for row in (have.im, have.mm)])


def charge_of(units: Units, spec: Component, size: float) -> Part:
    """Run a stage on the unit book at a size."""
    frame = units.sized(size)
    book = frame.book
    return run_stage(
        spec, Stage(frame, book.position_quantity, book.balance_amount, {}, None, False)
    )


def by_account(frame: Frame, values: Floats) -> Floats:
    """Sum a value by group to accounts."""
    a = frame.arrangement
    account = frame.book.pool_account[a.pot_pool[a.group_pot]]
    return sum_by(values, account, frame.book.size)


@dataclass(frozen=True, slots=True)
class ScanUnits:
    """Scenario rows of one unit of each code.

    Attributes
    ----------
    row : float64[K, S]
        Change of value in each scenario, weights of the scenarios included, in the pot's
        numeraire.
    paid : float64[K, S]
        The part of it that comes from the mark of a contract in profit (see cost codes).
    value : float64[K]
        Value today of options whose segment takes a static discount; 0 elsewhere.
    weight : float64[K, S]
        Weights of the scenarios of the code's group.
    long, short : float64[K]
        Static discount.
    offset, cap, dampener : float64[K]
        Of the code's settlement asset.
    """

    row: Floats
    paid: Floats
    value: Floats
    weight: Floats
    long: Floats
    short: Floats
    offset: Floats
    cap: Floats
    dampener: Floats


def scan_units(units: Units, spec: Scan) -> ScanUnits:
    """Return what one unit of each code gains in each scenario."""
    frame = units.sized(1.0)
    a, book = frame.arrangement, frame.book
    one = scanned(spec, frame, book.position_quantity, book.balance_amount, orders=False)
    mark = units.sized(1.0, at_mark=True)
    other = scanned(spec, mark, book.position_quantity, book.balance_amount, orders=False)
    k = units.codes.size
    rows = one.rows.copy()
    for b in range(book.balance_pool.size):
        rows[book.balance_pool[b]] += one.held[b]
    # A balance stands beside an empty position, whose segment is that of another asset.
    segment = a.position_segment.copy()
    stressed = a.balance_segment >= 0
    segment[book.balance_pool[stressed]] = a.balance_segment[stressed]
    weight = np.broadcast_to(one.phi.weight, (a.segments, rows.shape[1]))[segment]
    discount = static_discount(spec, frame, np.zeros(a.segments))
    ones = np.ones(k)
    return ScanUnits(
        row=rows * weight,
        paid=(one.rows - other.rows) * weight,
        value=one.value,
        weight=weight,
        long=ones if discount is None else discount.long[segment],
        short=ones if discount is None else discount.short[segment],
        offset=one.phi.offset[segment],
        cap=one.phi.cap[segment],
        dampener=one.phi.dampener[segment],
    )
