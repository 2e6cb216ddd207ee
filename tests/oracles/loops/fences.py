"""Fenced margins, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._formula import Part
from crossmargin.margin._frame import Frame
from crossmargin.margin._scan import ScanResult

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What must be held, by pot and group, in each pot's numeraire.

    Attributes
    ----------
    im, mm : float64[P]
        Initial and maintenance requirement of each pot.
    group_im, group_mm : float64[G]
        Before credit between groups.
    parts : dict of str to Part
        Every component, by group.
    pool_parts : dict of str to (float64[P], float64[P])
        Components that belong to a pot as a whole (debt): IM and MM.
    credit_im, credit_mm : float64[P]
        Credit between groups, subtracted.
    scan : ScanResult or None
        The scan, when the rule-set has one.
    share_im, share_mm : float64[N]
        ``q·∂/∂q`` of each position, through combination and credit.
    balance_share_im, balance_share_mm : float64[B]
        The same for balances whose price enters the scan.
    """

    im: Floats
    mm: Floats
    group_im: Floats
    group_mm: Floats
    parts: dict[str, Part]
    pool_parts: dict[str, tuple[Floats, Floats]]
    credit_im: Floats
    credit_mm: Floats
    scan: ScanResult | None
    share_im: Floats
    share_mm: Floats
    balance_share_im: Floats
    balance_share_mm: Floats


def fenced_margins(frame: Frame, need: Requirement) -> Floats:
    """Return the margin pledged to each position, in its settlement asset.

    A position's own ``fenced_margin`` counts; without one, its entry notional over its leverage;
    without that, what its initial margin lacks beside its own value and profit. Zero where a
    rule-set does not fence positions.
    """
    book, a = frame.book, frame.arrangement
    pledged = np.zeros(book.position_quantity.size)
    profit, value = frame.position_values()
    for pot in np.flatnonzero(a.pot_position >= 0):
        row = int(a.pot_position[pot])
        if not np.isnan(book.position_fence[row]):
            pledged[row] = book.position_fence[row]
        elif not np.isnan(book.position_leverage[row]) and value[row] == 0:
            pledged[row] = _entry_notional(frame, row) / book.position_leverage[row]
        else:
            lacking = need.im[pot] / frame.position_rate[row] - profit[row] - value[row]
            pledged[row] = max(0.0, lacking)
    return pledged


def _move_fences(frame: Frame, pledged: Floats) -> Floats:
    """Move pledged margin from each pool's wallet into its fenced pots, in US dollars."""
    a = frame.arrangement
    move = np.zeros(a.pots)
    wallet = {
        int(pool): pot
        for pot, (pool, mark) in enumerate(zip(a.pot_pool, a.pot_position))
        if mark < 0
    }
    for pot in np.flatnonzero(a.pot_position >= 0):
        row = int(a.pot_position[pot])
        amount = float(pledged[row] * frame.position_rate[row])
        move[pot] += amount
        home = wallet.get(int(a.pot_pool[pot]))
        if home is not None:
            move[home] -= amount
    return move


def _entry_notional(frame: Frame, row: int) -> float:
    book = frame.book
    instrument = np.array([book.position_instrument[row]])
    quantity = np.array([book.position_quantity[row]])
    now = float(frame.notional(instrument, quantity)[0])
    entry = float((book.position_entry if frame.entry is None else frame.entry)[row])
    if np.isnan(entry):
        return now
    mark = float(frame.view.price[instrument[0]])
    inverse = bool(frame.terms.inverse[instrument[0]])
    return now * (mark / entry if inverse else entry / mark)
