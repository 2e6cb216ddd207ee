"""One population taken apart: gain, what shocks reach, fuses, leverage, concentration, overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade._exposure import exposure_of
from crossmargin.cascade.figures import number, unknown
from crossmargin.cascade.gain import Gain, depths_of, loop_gain
from crossmargin.cascade.ladder import DensityMap, Fuse, density_map, fuse_price, linear_depth
from crossmargin.cascade.leverage import (
    Concentration,
    SystemicScore,
    concentration,
    crowding,
    leverage,
    systemic_score,
)
from crossmargin.cascade.population import Population
from crossmargin.cascade.scalar import slope_of_depth
from crossmargin.cascade.shock import ShockResponse, shock_response
from crossmargin.cascade.triggers import common_triggers, position_triggers

Floats = NDArray[np.float64]

#: A return of all assets alike, or returns by asset.
Move = float | Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractFragility:
    """One contract: what stands to be closed on either side of its mark.

    Attributes
    ----------
    contract : str
    mark, depth : float
        US dollars; D.
    open_interest : float
        Longs, the absorber's included, US dollars.
    own_gain : float
        ``G_kk`` with everybody at the line: what its own fall does to it.
    interest_over_depth : float
        OI/D: fragile where high.
    longs_below, shorts_above : float
        Notional with a trigger on that side, US dollars, at trigger prices.
    fuse_down, fuse_up : Fuse
        First prices at which liquidatable notional outruns a linear book of depth D.
    map : DensityMap
        Longs closed below the mark and shorts closed above it, by price.
    peak_gain, peak_price : float
        Largest local gain ``λ·ℓ(p)`` of the map below the mark, and the middle of its bin.
    gain_share : float
        Share of the bins below the mark in which the local gain is above 1.
    """

    contract: str
    mark: float
    depth: float
    open_interest: float
    own_gain: float
    interest_over_depth: float
    longs_below: float
    shorts_above: float
    fuse_down: Fuse
    fuse_up: Fuse
    map: DensityMap
    peak_gain: float
    peak_price: float
    gain_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragility:
    """Outcome of :func:`fragility`.

    Attributes
    ----------
    gain : Gain
        As if everybody stood at the line.
    shocks : tuple of ShockResponse
        From where accounts stand, by common move of all assets.
    contracts : tuple of ContractFragility
        The largest by open interest.
    leverage : float
        Λ of everybody.
    concentration : Concentration
        Of gross notional by account.
    overlap : float
    score : SystemicScore
    open_interest : float
        All contracts, US dollars.
    depth : float64[K]
    """

    gain: Gain
    shocks: tuple[ShockResponse, ...]
    contracts: tuple[ContractFragility, ...]
    leverage: float
    concentration: Concentration
    overlap: float
    score: SystemicScore
    open_interest: float
    depth: Floats


def fragility(
    population: Population,
    depth: ArrayLike,
    *,
    moves: Sequence[Move] = (-0.2, -0.1, 0.1, 0.2),
    contracts: int = 5,
    together: bool = True,
    reach: float = 0.5,
    bins: int = 32,
    gamma: ArrayLike | None = None,
) -> Fragility:
    """Work out everything at once.

    Parameters
    ----------
    population : Population
    depth : array_like [K]
        D, US dollars.
    moves : sequence of float or mapping
        A return of all assets, −0.1 is a fall of 10 %, or returns by asset; above −1.
    contracts : int
        How many get maps and fuses.
    together : bool
        Whether triggers are those of a common move of all assets; otherwise of each contract
        alone, the others standing still.
    reach : float
        How far the maps reach from the mark, in (0, 1).
    bins : int
        Of each side of a map.
    gamma : array_like [K], optional
        Of delta hedgers; see :func:`crossmargin.cascade.gain.loop_gain`.
    """
    d = depths_of(depth, len(population.contracts))
    steps = [move_of(move, population.assets) for move in moves]
    oi = population.open_interest() * population.price[: d.size]
    if together:
        move = common_triggers(population)[population.account]
        trigger = population.price[population.contract] * (1.0 + move)
    else:
        trigger = position_triggers(population)
    biggest = np.argsort(-oi, kind="stable")[: int(number("contracts", contracts, least=0))]
    far = number("reach", reach, above=0.0, most=0.99)
    notional = exposure_of(population).notional
    gross = np.asarray(abs(notional).sum(axis=1)).ravel()
    spread = concentration(gross)
    overlap = crowding(notional, np.where(np.isfinite(d), d, 1e300))
    level = leverage(notional.data, population.equity())
    whole = loop_gain(population, d, gamma=gamma)
    return Fragility(
        gain=whole,
        shocks=tuple(shock_response(population, d, step, gamma=gamma) for step in steps),
        contracts=tuple(
            _contract(population, int(k), whole, oi, trigger, far, int(bins))
            for k in biggest.tolist()
            if oi[k] > 0
        ),
        leverage=level,
        concentration=spread,
        overlap=overlap,
        score=systemic_score(level, spread.herfindahl, overlap),
        open_interest=float(oi.sum()),
        depth=d,
    )


def move_of(move: Move, assets: Sequence[str]) -> Floats:
    """Return the returns of all assets that a move means, float64[J].

    Raises
    ------
    CascadeError
        ``CAS-001`` for a return that is not above −1, ``CAS-003`` for an asset that is not there.
    """
    if isinstance(move, Mapping):
        out = np.zeros(len(assets))
        for name, value in move.items():
            if name not in assets:
                raise unknown("asset", name, assets)
            out[assets.index(name)] = number(f"move of {name}", value, above=-1.0)
        return out
    return np.full(len(assets), number("move", move, above=-1.0))


def _contract(
    population: Population,
    k: int,
    gain: Gain,
    interest: Floats,
    trigger: Floats,
    reach: float,
    bins: int,
) -> ContractFragility:
    mark, d = float(population.price[k]), float(gain.depth[k])
    mine = population.contract == k
    q, t = population.quantity[mine], trigger[mine]
    # A long that is closed by a rise, or a short by a fall, is somebody's hedge: it steadies.
    feeds = np.where(q > 0, t <= mark, t >= mark)
    q, t = np.abs(q[feeds]), t[feeds]
    below = t <= mark
    edges = np.concatenate(
        [
            np.linspace(mark * (1.0 - reach), mark, bins + 1),
            np.linspace(mark, mark * (1.0 + reach), bins + 1)[1:],
        ]
    )
    spread = density_map(t, q, edges)
    slope = float(slope_of_depth(d, mark)) if np.isfinite(d) else 0.0
    local = spread.gain(slope)[:bins]
    peak = int(np.argmax(local))
    stands = linear_depth(min(d, 1e300), mark)
    return ContractFragility(
        contract=population.contracts[k],
        mark=mark,
        depth=d,
        open_interest=float(interest[k]),
        own_gain=float(gain.matrix[k, k]),
        interest_over_depth=float(interest[k]) / d,
        longs_below=float((q * t)[below].sum()),
        shorts_above=float((q * t)[~below].sum()),
        fuse_down=fuse_price(t[below], q[below], mark=mark, depth=stands),
        fuse_up=fuse_price(t[~below], q[~below], mark=mark, depth=stands, side="up"),
        map=spread,
        peak_gain=float(local[peak]),
        peak_price=float(0.5 * (edges[peak] + edges[peak + 1])),
        gain_share=float((local > 1.0).mean()),
    )
