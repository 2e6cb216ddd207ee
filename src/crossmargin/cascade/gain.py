"""The loop-gain matrix of a population: how a fall of one asset makes others fall.

Accounts at their maintenance line cut all positions by one share ``f = 1 − E/MM`` when prices move
by returns r. To first order the sales move the returns by ``G·r``:

    G_kl = (1/D_k) · Σ_i (n_ik/MM_i) · [ n_il + c_il·(1 − h_l) − m_l·|n_il| ]

and everything together by ``(I − G)⁻¹·r₀``, which is stable where the spectral radius of G is
below 1. Collateral that nobody trades has a row of zeros and a column of its own: its fall makes
accounts sell something else. Hedged accounts contribute negative terms.

Source: reference cascades.md §1.2 (derived and checked there). Beyond it and house: under brackets
m_l is the rate of a position's last slice and MM_i in the denominator the relief of a whole cut,
``Σ m_l·|n_il|``, which is MM itself where rates are flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade._exposure import Exposure, exposure_of
from crossmargin.cascade.figures import numbers, spread_over
from crossmargin.cascade.population import Population
from crossmargin.errors import CascadeError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: A leading eigenvalue counts as real where its imaginary part is below this share of it.
_REAL = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Loop gain of a set of accounts.

    Attributes
    ----------
    assets : tuple of str
        J names; the first K are traded.
    depth : float64[K]
        D, US dollars.
    matrix : float64[J, J]
        G: return of the row's asset per return of the column's.
    exposure, relief, hedging : float64[J, J]
        Its parts: ``matrix = exposure − relief + hedging``. What accounts lose; what the smaller
        position frees; delta hedgers.
    active : int
        Accounts that count as being at the line.
    radius : float
        Spectral radius ρ(G).
    real : bool
        Whether the leading eigenvalue is real and not negative: else moves alternate, and a
        radius above 1 is no one-way cascade.
    right : float64[J]
        Leading right eigenvector: what moves together, and in which proportion. Σ|·| = 1.
    left : float64[J]
        Leading left eigenvector: whose fall feeds that motion most, collateral included. Σ|·| = 1.
    """

    assets: tuple[str, ...]
    depth: Floats
    matrix: Floats
    exposure: Floats
    relief: Floats
    hedging: Floats
    active: int
    radius: float
    real: bool
    right: Floats
    left: Floats

    @property
    def stable(self) -> bool:
        """Whether cascades end within the range in which G holds."""
        return self.radius < 1.0

    @property
    def distance(self) -> float:
        """Distance to criticality, ``1 − ρ``; negative beyond it."""
        return 1.0 - self.radius

    @property
    def critical_depth_scale(self) -> float:
        """Multiple of today's depth, in all assets alike, at which ρ = 1: it is ρ itself."""
        return self.radius

    def critical_leverage_scale(self) -> float:
        """Multiple of leverage at the line (maintenance rates divided by it) at which ρ = 1.

        With rates m/s the exposure part grows s-fold and the relief part stays:
        ``ρ(s·exposure − relief + hedging) = 1``. In the scalar case it gives ``L* = 1 + D/A``.

        Returns
        -------
        float
            The crossing nearest to 1; infinite where there is none above, and 0 where a market
            that is beyond criticality stays so without any leverage (hedgers alone).
        """
        beyond: float = self._excess(1.0)
        if beyond == 0.0:
            return 1.0
        inner, outer = 1.0, 1.0
        for _ in range(60):
            inner, outer = outer, outer * (0.8 if beyond > 0 else 1.25)
            if (self._excess(outer) > 0) != (beyond > 0):
                from scipy.optimize import brentq

                return float(brentq(self._excess, inner, outer, xtol=1e-12, rtol=1e-12))
        return 0.0 if beyond > 0 else np.inf

    def _excess(self, scale: float) -> float:
        return spectral_radius(scale * self.exposure - self.relief + self.hedging) - 1.0

    def radius_among(self, assets: Sequence[str]) -> float:
        """Return ρ where only these assets move and all others stand still.

        Never above ρ of the whole where no entry of G is negative. A thin contract whose depth
        is a guess may rule ρ: without it one sees the rest.
        """
        place = [k for k, name in enumerate(self.assets) if name in set(assets)]
        return spectral_radius(self.matrix[np.ix_(place, place)])

    def depth_elasticity(self) -> Floats:
        """Relative fall of ρ per relative rise of one asset's depth; they sum to 1. float64[J].

        ``−∂ln ρ/∂ln D_k = l_k·r_k/(l·r)``: where it is largest, depth buys most stability. The
        derivative per US dollar is ``−ρ·l_k·r_k/(l·r)/D_k``.
        """
        both = self.left * self.right
        whole = float(both.sum())
        return both / whole if whole else np.zeros(both.size)

    def response(self, shock: ArrayLike) -> Floats:
        """Total returns ``(I − G)⁻¹·r₀``, float64[J].

        Parameters
        ----------
        shock : array_like [J]
            r₀, returns.

        Raises
        ------
        CascadeError
            ``CAS-020`` where ρ ≥ 1: there is no finite answer.
        """
        r0 = numbers("shock", shock)
        if r0.shape != (len(self.assets),):
            raise CascadeError("a return for each asset is needed", code="CAS-001", field="shock")
        if not self.stable:
            raise CascadeError(
                f"the loop gain is {self.radius:.4g}: a shock to these accounts has no finite sum",
                code="CAS-020",
                field="shock",
                hint="ask for the response with thresholds (shock_response), where it ends",
            )
        return np.asarray(np.linalg.solve(np.eye(r0.size) - self.matrix, r0))


def spectral_radius(matrix: ArrayLike) -> float:
    """Return the largest absolute eigenvalue of a square matrix."""
    square = numbers("matrix", matrix)
    live = np.flatnonzero((square != 0).any(axis=1))
    found = np.linalg.eigvals(square[np.ix_(live, live)])
    return float(np.abs(found).max(initial=0.0))


def loop_gain(
    population: Population,
    depth: ArrayLike,
    *,
    active: Literal["all"] | ArrayLike = "all",
    price: ArrayLike | None = None,
    gamma: ArrayLike | None = None,
    margin_slope: ArrayLike | None = None,
) -> Gain:
    """Loop gain of a population.

    Parameters
    ----------
    population : Population
        Accounts; those without positions never count.
    depth : array_like [K]
        D of each contract, US dollars; infinite where nothing moves its price.
    active : "all" or bool[A]
        Who is at the line. ``all`` asks what would happen if everybody were: a property of the
        positions, and an upper end for books on one side; for a set that a shock reaches see
        :func:`shock_response`.
    price : array_like [J], optional
        Prices; default the population's marks.
    gamma : array_like [K], optional
        Γ of delta hedgers, coins per US dollar, negative where short: adds ``−Γ_k·S_k²/D_k``.
    margin_slope : array_like [K] or [K, J], optional
        By how much a maintenance rate rises per unit of fall, ``−∂m_k/∂r_k`` (or of each asset l):
        procyclical margins. Adds ``−(∂m/∂r)·|n|`` to the bracket; the reference writes the term
        with the derivative's own sign.

    Raises
    ------
    CascadeError
        ``CAS-001`` for figures that do not fit together.
    """
    seen = exposure_of(population, price, margin_slope)
    return gain_from(seen, population.assets, depth, active=active, gamma=gamma)


def gain_from(
    seen: Exposure,
    assets: tuple[str, ...],
    depth: ArrayLike,
    *,
    active: Literal["all"] | ArrayLike = "all",
    gamma: ArrayLike | None = None,
) -> Gain:
    """Loop gain of exposures, wherever they are from; see :func:`loop_gain`."""
    d = depths_of(depth, seen.notional.shape[1])
    chosen = chosen_accounts(seen, active)
    return gain_of(assets, d, *gain_parts(seen, d, chosen, gamma), int(chosen.sum()))


def depths_of(depth: ArrayLike, contracts: int) -> Floats:
    """Return a checked depth of each contract, US dollars, float64[K]."""
    d = numbers("depth", depth, above=0.0, finite=False)
    if d.shape not in ((), (contracts,)):
        raise CascadeError(
            f"{d.size} depths for {contracts} contracts", code="CAS-001", field="depth"
        )
    return np.broadcast_to(d, (contracts,)).astype(np.float64)


def chosen_accounts(seen: Exposure, active: str | ArrayLike) -> Bools:
    """Return who counts as being at the line, bool[A]: never who holds nothing."""
    holds = seen.relief > 0
    if isinstance(active, str):
        if active != "all":
            raise CascadeError(
                f"active accounts are 'all' or a mask, not {active!r}",
                code="CAS-003",
                field="active",
            )
        return holds
    mask = np.asarray(active, dtype=bool)
    if mask.shape != holds.shape:
        raise CascadeError(
            f"a mask of {mask.size} for {holds.size} accounts", code="CAS-001", field="active"
        )
    return np.asarray(mask & holds)


def gain_parts(
    seen: Exposure, depth: Floats, chosen: Bools, gamma: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    """Return exposure, relief and hedging parts, [J, J]."""
    j, k = seen.prices.size, depth.size
    weight = np.divide(1.0, seen.relief, out=np.zeros(seen.relief.size), where=chosen)
    parts = []
    for bracket in (seen.gained, seen.freed):
        part = np.zeros((j, j))
        part[:k] = _weighted(seen.notional, weight, bracket) / depth[:, None]
        parts.append(part)
    hedging = np.zeros((j, j))
    if gamma is not None:
        bend = spread_over("gamma", numbers("gamma", gamma), depth.shape)
        hedging[np.arange(k), np.arange(k)] = -bend * seen.prices[:k] ** 2 / depth
    return parts[0], parts[1], hedging


def _weighted(notional: csr_matrix, weight: Floats, bracket: csr_matrix) -> Floats:
    """``notionalᵀ·diag(weight)·bracket``, leaving out accounts of no weight."""
    rows = np.flatnonzero(weight)
    if not rows.size:
        return np.zeros((notional.shape[1], bracket.shape[1]))
    if rows.size < weight.size:
        notional, bracket, weight = notional[rows], bracket[rows], weight[rows]
    scaled = notional.copy()
    scaled.data = scaled.data * np.repeat(weight, np.diff(scaled.indptr))
    return np.asarray((scaled.T @ bracket).toarray(), dtype=np.float64)


def gain_of(
    assets: tuple[str, ...],
    depth: Floats,
    exposure: Floats,
    relief: Floats,
    hedging: Floats,
    active: int,
) -> Gain:
    """Put parts together and work out the leading eigenvectors."""
    matrix = exposure - relief + hedging
    size, real, right, left = leading_motion(matrix)
    return Gain(
        assets=assets,
        depth=depth,
        matrix=matrix,
        exposure=exposure,
        relief=relief,
        hedging=hedging,
        active=active,
        radius=size,
        real=real,
        right=right,
        left=left,
    )


def leading_motion(matrix: Floats) -> tuple[float, bool, Floats, Floats]:
    """Return spectral radius, whether it is a real eigenvalue, and its right and left vectors.

    Rows of zeros (assets that nobody is made to trade) are left out of the decomposition: the
    right vector is 0 there, and the left one follows from ``l = l·G/λ``.
    """
    from scipy.linalg import eig

    right, left = np.zeros(matrix.shape[0]), np.zeros(matrix.shape[0])
    live = np.flatnonzero((matrix != 0).any(axis=1))
    if not live.size:
        return 0.0, True, right, left
    value, across, along = eig(matrix[np.ix_(live, live)], left=True, right=True)
    lead = int(np.argmax(np.abs(value)))
    top = complex(value[lead])
    size = abs(top)
    if size == 0.0:
        return 0.0, True, right, left
    real = abs(top.imag) <= _REAL * size and top.real > 0
    right[live] = along[:, lead].real
    left = across[:, lead].real @ matrix[live] / (top.real if real else size)
    return size, real, _normed(right), _normed(left)


def _normed(vector: Floats) -> Floats:
    whole = float(np.abs(vector).sum())
    if whole == 0.0:
        return vector
    return np.asarray(vector / (whole if vector.sum() >= 0 else -whole))
