"""Who a shock brings to the line, and where it ends: the loop gain with its active set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade._exposure import Exposure, exposure_of
from crossmargin.cascade.figures import numbers
from crossmargin.cascade.gain import Gain, depths_of, gain_of, gain_parts, spectral_radius
from crossmargin.cascade.population import Population
from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShockResponse:
    """What a shock does to accounts with their distances to the line, to first order in returns.

    Attributes
    ----------
    shock, returns : float64[J]
        First returns, and all together.
    share : float64[A]
        By how much each account is cut, 0 to 1.
    active, closed : int
        Accounts cut in part, and closed whole.
    sold : float64[K]
        US dollars at today's marks: longs closed minus shorts bought back.
    gain : Gain
        Of the accounts that are cut in part, at the end.
    rounds : int
        Rounds played.
    settled : bool
        Whether it has come to rest.
    exact : bool
        Whether the end is the solution of the linear system of its active set (to rounding).
    """

    shock: Floats
    returns: Floats
    share: Floats
    active: int
    closed: int
    sold: Floats
    gain: Gain
    rounds: int
    settled: bool
    exact: bool

    def amplification(self) -> Floats:
        """Total return over the shock of each asset; NaN where it was not shocked."""
        out = np.full(self.shock.size, np.nan)
        np.divide(self.returns, self.shock, out=out, where=self.shock != 0)
        return out


def shock_response(
    population: Population,
    depth: ArrayLike,
    shock: ArrayLike,
    *,
    price: ArrayLike | None = None,
    gamma: ArrayLike | None = None,
    margin_slope: ArrayLike | None = None,
    rounds: int = 5_000,
    tolerance: float = 1e-13,
) -> ShockResponse:
    """Iterate the active set for a shock: who reaches the line, who is closed, where it ends.

    Each account is cut by ``f_i = −(slack_i + X_i·r)/relief_i`` between 0 and 1, nobody buys on
    gains, and ``r = r₀ − Σ_i n_i·f_i/D``. Played round by round from r₀; when the set of those cut
    in part (and of those closed) stands still, the linear system ``(I − G)·r = …`` of the set is
    solved at once and accepted if the solution has the same set. For long books that rise and fall
    together this is the first fixed point, the one that rounds converge to.

    Parameters
    ----------
    population, depth, price, gamma, margin_slope
        As of :func:`loop_gain`.
    shock : array_like [J]
        r₀, returns.
    rounds : int
        At most so many.
    tolerance : float
        Comes to rest when no return moves by more.

    Notes
    -----
    Equity and requirement are linear in the returns here, without a change of bracket on the way:
    first order, as G itself. Large moves belong to the simulation.
    """
    seen = exposure_of(population, price, margin_slope)
    return respond(
        seen, population.assets, depth, shock, gamma=gamma, rounds=rounds, tolerance=tolerance
    )


def respond(
    seen: Exposure,
    assets: tuple[str, ...],
    depth: ArrayLike,
    shock: ArrayLike,
    *,
    gamma: ArrayLike | None = None,
    rounds: int = 5_000,
    tolerance: float = 1e-13,
) -> ShockResponse:
    """Iterate the active set of exposures, wherever they are from; see :func:`shock_response`."""
    d = depths_of(depth, seen.notional.shape[1])
    r0 = numbers("shock", shock)
    if r0.shape != seen.prices.shape:
        raise CascadeError("a return for each asset is needed", code="CAS-001", field="shock")
    hedging = gain_parts(seen, d, np.zeros(seen.relief.size, dtype=bool), gamma)[2]
    play = _Play(seen, d, r0, hedging)
    r, state, due = r0.copy(), None, 1
    done, settled, exact = 0, False, False
    for done in range(1, rounds + 1):
        share = play.share(r)
        sets = play.sets(share)
        if done >= due or (state is not None and bool((sets == state).all())):
            solved = play.solve(sets)
            due = 2 * done
            if solved is not None and bool((play.sets(play.share(solved)) == sets).all()):
                r, settled, exact = solved, True, True
                break
        state = sets
        new = play.next(r, share)
        if not np.isfinite(new).all():
            # Hedgers who overdo it: moves alternate and grow.
            break
        moved = float(np.abs(new - r).max(initial=0.0))
        r = new
        if moved <= tolerance:
            settled = True
            break
    share = play.share(r)
    partial = (share > 0) & (share < 1)
    parts = gain_parts(seen, d, partial, gamma)
    return ShockResponse(
        shock=r0,
        returns=r,
        share=share,
        active=int(partial.sum()),
        closed=int((share >= 1).sum()),
        sold=np.asarray(seen.notional.T @ share),
        gain=gain_of(assets, d, *parts, int(partial.sum())),
        rounds=done,
        settled=settled,
        exact=exact,
    )


class _Play:
    """The map from returns to returns, and its linear solution on one set."""

    def __init__(self, seen: Exposure, depth: Floats, r0: Floats, hedging: Floats) -> None:
        self.seen, self.depth, self.r0, self.hedging = seen, depth, r0, hedging
        self.bracket = (seen.gained - seen.freed).tocsr()
        self.inverse = np.divide(
            1.0, seen.relief, out=np.zeros(seen.relief.size), where=seen.relief > 0
        )

    def share(self, r: Floats) -> Floats:
        lacks = -(self.seen.slack + self.bracket @ r)
        return np.asarray(np.clip(lacks * self.inverse, 0.0, 1.0))

    @staticmethod
    def sets(share: Floats) -> NDArray[np.int8]:
        """0 idle, 1 cut in part, 2 closed."""
        return ((share > 0).astype(np.int8) + (share >= 1)).astype(np.int8)

    def _pushed(self, share: Floats) -> Floats:
        out = np.zeros(self.r0.size)
        out[: self.depth.size] = -np.asarray(self.seen.notional.T @ share) / self.depth
        return out

    def next(self, r: Floats, share: Floats) -> Floats:
        return np.asarray(self.r0 + self._pushed(share) + self.hedging @ r)

    def solve(self, sets: NDArray[np.int8]) -> Floats | None:
        """Solve for the returns on this set; None where there is no stable answer."""
        exposure, relief, _ = gain_parts(self.seen, self.depth, sets == 1, None)
        g = exposure - relief + self.hedging
        if spectral_radius(g) >= 1.0:
            return None
        # Slack delays the cuts of the partial set; those closed have sold all they hold.
        fixed = np.where(sets == 1, -self.seen.slack * self.inverse, np.where(sets == 2, 1.0, 0.0))
        return np.asarray(np.linalg.solve(np.eye(g.shape[0]) - g, self.r0 + self._pushed(fixed)))
