"""Overlapping books: what one holder's sale costs the others, by holder and asset.

Holdings are notionals in US dollars, [holders, assets]; signed where short positions are held.
Depth D is the notional whose sale moves price by 100 % under linear impact. Where a function takes
dense or sparse holdings, everything goes through products with [assets, assets] matrices: a
million holders are no matter.

Source: reference cascades.md §1.3. What is marked **[M]** there was recalled from the primary
paper, whose full text could not be opened: the formula is **unconfirmed** until it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import number, numbers, same_shape
from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]


def overlap_matrix(holdings: ArrayLike, depth: ArrayLike) -> Floats:
    """Liquidity-weighted overlap ``Ω_ij = Σ_μ Π_iμ·Π_jμ/D_μ``, US dollars.

    What i loses when j sells all it has, under linear impact. Source: Cont and Schaanning 2017,
    **[M]** in cascades.md §1.3: unconfirmed. [A, A]: for a few thousand holders at most.
    """
    pi, d = _checked(holdings, depth)
    return np.asarray((pi / d) @ pi.T)


def _product(holdings: Any, weights: Floats) -> Floats:
    """Multiply dense and sparse holdings alike."""
    return np.asarray(holdings @ weights, dtype=np.float64)


def _checked(holdings: Any, depth: ArrayLike) -> tuple[Any, Floats]:
    from scipy.sparse import issparse

    pi = holdings.tocsr() if issparse(holdings) else numbers("holdings", holdings)
    d = numbers("depth", depth, above=0.0)
    if pi.ndim != 2 or pi.shape[1] != d.size:
        raise CascadeError(
            "holdings need a column for each depth", code="CAS-001", field="holdings"
        )
    return pi, d


@dataclass(frozen=True, slots=True, kw_only=True)
class EndogenousRisk:
    """Leading eigenpair of the overlap.

    Attributes
    ----------
    value : float
        Largest eigenvalue of Ω, US dollars.
    index : float64[A]
        ERI: its eigenvector, of length 1, with a sum that is not negative.
    """

    value: float
    index: Floats


def endogenous_risk_index(holdings: Any, depth: ArrayLike) -> EndogenousRisk:
    """Endogenous Risk Index: leading eigenvector of Ω, without Ω.

    ``Ω = XXᵀ`` with ``X = Π·D^(−½)``, so its eigenvectors are X times those of the small ``XᵀX``.

    Source: Cont and Schaanning 2017, **[M]** in cascades.md §1.3: unconfirmed; the reduction is
    linear algebra.

    Parameters
    ----------
    holdings : array_like or sparse [A, J]
        US dollars, signed.
    depth : array_like [J]
        US dollars, above 0.
    """
    pi, d = _checked(holdings, depth)
    root = 1.0 / np.sqrt(d)
    small = _dense(pi.T @ pi) * np.outer(root, root)
    value, vectors = np.linalg.eigh(0.5 * (small + small.T))
    top = float(max(value[-1], 0.0))
    if top == 0.0:
        return EndogenousRisk(value=0.0, index=np.zeros(pi.shape[0]))
    index = _product(pi, root * vectors[:, -1]) / np.sqrt(top)
    return EndogenousRisk(value=top, index=index if index.sum() >= 0 else -index)


def _dense(matrix: Any) -> Floats:
    from scipy.sparse import issparse

    return np.asarray(matrix.toarray() if issparse(matrix) else matrix, dtype=np.float64)


def _own(pi: Any, d: Floats) -> Floats:
    """``Ω_ii``: what a holder's sale costs itself."""
    from scipy.sparse import issparse

    square = pi.multiply(pi) if issparse(pi) else pi * pi
    return _product(square, 1.0 / d).ravel()


def indirect_contagion_index(holdings: Any, depth: ArrayLike) -> Floats:
    """Loss that each holder's full sale inflicts on the others, US dollars: ``Σ_{j≠i} Ω_ij``.

    Source: Cont and Schaanning 2017, **[M]** in cascades.md §1.3 (row-wise loss inflicted):
    unconfirmed. Short positions of others gain, and count as negative losses.
    """
    pi, d = _checked(holdings, depth)
    whole = _product(pi.T, np.ones(pi.shape[0])) / d
    return _product(pi, whole).ravel() - _own(pi, d)


@dataclass(frozen=True, slots=True, kw_only=True)
class DebtRank:
    """Distress that spreads over overlapping books.

    Attributes
    ----------
    distress : float64[A]
        h at the end: share of equity lost, 0 to 1.
    score : float
        Equity-weighted mean of it beyond the first distress.
    rounds : int
        Rounds until nothing moved.
    spectral_radius : float or None
        Of Λ; distress stays proportional to the shock where it is below 1. None for large books.
    settled : bool
        Whether nothing moved any more.
    """

    distress: Floats
    score: float
    rounds: int
    spectral_radius: float | None
    settled: bool


#: Books up to this many holders have the radius of their matrix worked out.
_SMALL = 500


def debt_rank(
    holdings: Any,
    equity: ArrayLike,
    depth: ArrayLike,
    first: ArrayLike,
    *,
    own: bool = False,
    rounds: int = 1_000,
    tolerance: float = 1e-12,
) -> DebtRank:
    """Spread distress: ``h_i(t+1) = min{1, h_i(t) + Σ_j Λ_ij·(h_j(t) − h_j(t−1))}``, Λ = Ω/E.

    A fast screening score beside the full simulation.

    Source: Bardoscia et al. 2015 (abstract read, formula **[M]** in cascades.md §1.3:
    unconfirmed); Λ from the overlap is the reference's own proposal.

    Parameters
    ----------
    holdings : array_like or sparse [A, J]
        US dollars, signed; distress is passed on where the overlap is positive on balance.
    equity : array_like [A]
        US dollars, above 0.
    depth : array_like [J]
        US dollars, above 0.
    first : array_like [A]
        Distress at the start, 0 to 1.
    own : bool
        Whether a holder's own sale hurts itself too.
    rounds, tolerance : int, float
        At most so many rounds, or until no h moves by more.
    """
    pi, d = _checked(holdings, depth)
    e, h = numbers("equity", equity, above=0.0), numbers("first", first, least=0.0, most=1.0)
    same_shape(equity=e, first=h)
    if pi.shape[0] != e.size:
        raise CascadeError("holdings need a row for each equity", code="CAS-001", field="holdings")
    mine = np.zeros(e.size) if own else _own(pi, d)
    step, start, played, settled = h, h, 0, False
    for done in range(1, int(number("rounds", rounds, least=1)) + 1):
        played = done
        spread = _product(pi, _product(pi.T, step) / d).ravel() - mine * step
        new = np.clip(h + np.maximum(spread, 0.0) / e, 0.0, 1.0)
        h, step = new, new - h
        if float(step.max(initial=0.0)) <= tolerance:
            settled = True
            break
    radius = None
    if e.size <= _SMALL:
        whole = _dense(pi)
        matrix = (whole / d) @ whole.T
        np.fill_diagonal(matrix, matrix.diagonal() - mine)
        radius = float(np.abs(np.linalg.eigvals(matrix / e[:, None])).max(initial=0.0))
    return DebtRank(
        distress=h,
        score=float(((h - start) * e).sum() / e.sum()),
        rounds=played,
        spectral_radius=radius,
        settled=settled,
    )
