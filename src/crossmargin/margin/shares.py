"""Shares: what each position contributes to the requirement, adding up to the total.

The share of position i is the Aumann–Shapley value ``q_i ∫₀¹ ∂M(tq)/∂q_i dt``: the account is
built up in proportion from nothing, and each position is charged for what it adds on the way.
For a requirement that is homogeneous this is Euler's allocation; brackets, dampeners and
minimum charges are not homogeneous, and the integral covers them too. Jumps along the way
belong to no position and get a line of their own.

Source
------
Aumann and Shapley, *Values of Non-Atomic Games* (1974); Tasche, "Capital allocation to business
units and sub-portfolios: the Euler principle" (2008).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._formula import bracket_jumps
from crossmargin.margin._frame import Frame
from crossmargin.margin.engine import Requirement, requirement

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)
#: A panel narrower than 2^-DEPTH holds a jump, not a slope.
_DEPTH = 40
#: Panels at most: a path with more kinks than this leaves the rest to the named line.
_PANELS = 2_000
_TOLERANCE = 1e-12
#: Half-width, relative, of the step over a known jump.
_STEP = 1e-12
#: A panel is not refined below this, relative to the whole: in a book that nearly cancels the
#: requirement itself is known no better, and even ``_PANELS`` of it stay below the 1e-9 promised.
_NOISE = 1e-13


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of a requirement in US dollars.

    Attributes
    ----------
    position : float64[N]
        By position; may be negative for a hedge.
    balance : float64[B]
        By balance that takes part in the scenarios.
    fixed : float
        What does not scale with the account (margin on debt).
    jumps : float
        Steps along the way: whole-notional brackets and the like.
    total : float
        The requirement they add up to, to 1e-9.
    """

    position: Floats
    balance: Floats
    fixed: float
    jumps: float
    total: float


def _usd(frame: Frame, need: Requirement, level: str) -> tuple[float, Floats]:
    a = frame.arrangement
    pot = need.im if level == "im" else need.mm
    mine = need.share_im if level == "im" else need.share_mm
    held = need.balance_share_im if level == "im" else need.balance_share_mm
    rows = np.concatenate(
        [mine * frame.pot_usd[a.position_pot], held * frame.pot_usd[a.balance_pot]]
    )
    return float(pot @ frame.pot_usd), rows


def shares(frame: Frame, *, level: str = "im") -> Shares:
    """Split the requirement of a frame (one account) among its positions.

    Parameters
    ----------
    frame : Frame
        One account, or several that are to be split together.
    level : {"im", "mm"}
        Which requirement.

    Returns
    -------
    Shares
        Without open orders: their margin is a line of its own in the statement.
    """
    book = frame.book
    size = book.position_quantity.size

    def at(t: float) -> tuple[float, Floats]:
        need = requirement(
            frame, quantity=book.position_quantity * t, amount=book.balance_amount * t
        )
        return _usd(frame, need, level)

    total, _ = at(1.0)
    start, _ = at(0.0)
    scale = max(abs(total), 1.0)
    out = np.zeros(size + book.balance_amount.size)
    jumps = 0.0
    panels = 0

    def integral(low: float, high: float) -> Floats:
        half = 0.5 * (high - low)
        part = np.zeros(out.size)
        for node, weight in zip(_NODES, _WEIGHTS):
            t = low + half * (1.0 + node)
            part += half * weight * at(t)[1] / t
        return part

    # The panel with the largest gap is halved first: where the panels run out, what is left
    # unrefined is what matters least.
    heap: list[tuple[float, float, float, float, float, int, Floats]] = []

    def take(low: float, high: float, m_low: float, m_high: float, depth: int) -> None:
        nonlocal panels, jumps, out
        panels += 1
        part = integral(low, high)
        gap = (m_high - m_low) - float(part.sum())
        if abs(gap) <= scale * max(_TOLERANCE * 0.5 * (high - low), _NOISE):
            out += part
        elif depth >= _DEPTH:
            out += part
            jumps += gap
        else:
            # Lower ends differ, so that parts are never compared.
            heapq.heappush(heap, (-abs(gap), low, high, m_low, m_high, depth, part))

    low, m_low = 0.0, start
    for edge in bracket_jumps(frame, book.position_quantity).tolist():
        # A jump whose place is known is stepped over, not searched for.
        before, after = edge * (1.0 - _STEP), min(edge * (1.0 + _STEP), 1.0)
        if before <= low:
            continue
        m_before, m_after = at(before)[0], at(after)[0]
        take(low, before, m_low, m_before, 0)
        jumps += m_after - m_before
        low, m_low = after, m_after
    take(low, 1.0, m_low, total, 0)
    while heap and panels <= _PANELS:
        _, low, high, m_low, m_high, depth, _ = heapq.heappop(heap)
        middle = 0.5 * (low + high)
        m_mid, _ = at(middle)
        take(low, middle, m_low, m_mid, depth + 1)
        take(middle, high, m_mid, m_high, depth + 1)
    for _, _, _, m_low, m_high, _, part in heap:
        out += part
        jumps += (m_high - m_low) - float(part.sum())
    # What the quadrature left behind is below the tolerance; it goes with the jumps so that
    # the lines add up.
    jumps += total - start - float(out.sum()) - jumps
    if abs(jumps) <= 1e-9 * scale:
        jumps = 0.0
        if size and total != start:
            out[int(np.argmax(np.abs(out)))] += total - start - float(out.sum())
    return Shares(out[:size], out[size:], start, jumps, total)
