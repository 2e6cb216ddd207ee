"""Depth of contracts where nobody supplies one: quoted for the majors, scaled by volume for others.

D is the notional whose sale moves price by 100 % under linear impact: a hundred times the notional
within 1 % of the middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade.figures import number, value_of
from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]

DepthBasis = Literal["supplied", "panel", "scaled by volume"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractDepth:
    """Depth of each contract, and where it is from.

    Attributes
    ----------
    usd : float64[K]
        D.
    basis : tuple of str [K]
        ``supplied``, ``panel`` (a dated panel of one large venue, secondary) or ``scaled by
        volume`` (house).
    per_volume : float
        D per US dollar of daily volume that scaled ones have; NaN where none is.
    """

    usd: Floats
    basis: tuple[DepthBasis, ...]
    per_volume: float

    def known(self, contracts: Sequence[str]) -> tuple[str, ...]:
        """Return the contracts whose depth is supplied or from the panel, not scaled."""
        return tuple(c for c, b in zip(contracts, self.basis) if b != "scaled by volume")


def contract_depth(
    contracts: Sequence[str],
    *,
    supplied: Mapping[str, float] | None = None,
    volume: Mapping[str, float] | None = None,
    scale: float = 1.0,
) -> ContractDepth:
    """Find a depth for each contract.

    Supplied by name first, then the panel of ``depth.toml``, then the median of
    panel depth over daily volume times the contract's own volume (house: a straight line through
    five majors, an order of magnitude), then what is supplied for ``*``.

    Parameters
    ----------
    contracts : sequence of str
        Coins.
    supplied : mapping of str to float, optional
        D, US dollars, above 0.
    volume : mapping of str to float, optional
        US dollars a day.
    scale : float
        Multiple of every depth that is not supplied.

    Raises
    ------
    CascadeError
        ``CAS-023`` where a contract has none of the three, ``CAS-003`` for a supplied depth of
        something that is no contract.
    """
    given, traded = dict(supplied or {}), dict(volume or {})
    for name in given:
        if name != "*" and name not in contracts:
            raise CascadeError(
                f"a depth is supplied for {name!r}, which is no contract here",
                code="CAS-003",
                instrument=name,
                field="depth",
                hint="contracts are " + ", ".join(list(contracts)[:8]),
            )
    factor = number("scale", scale, above=0.0)
    within = value_of("depth.toml", "depth_1pct_usd")
    panel = {coin: 100.0 * float(one) for coin, one in within.items()}
    ratios = [panel[c] / traded[c] for c in panel if traded.get(c, 0.0) > 0]
    per_volume = float(np.median(ratios)) if ratios else np.nan
    usd, basis = list[float](), list[DepthBasis]()
    for coin in contracts:
        if coin in given:
            usd.append(number(f"depth of {coin}", given[coin], above=0.0))
            basis.append("supplied")
        elif coin in panel:
            usd.append(factor * panel[coin])
            basis.append("panel")
        elif ratios and traded.get(coin, 0.0) > 0:
            usd.append(factor * per_volume * traded[coin])
            basis.append("scaled by volume")
        elif "*" in given:
            usd.append(number("depth of *", given["*"], above=0.0))
            basis.append("supplied")
        else:
            raise CascadeError(
                f"there is no depth for {coin}",
                code="CAS-023",
                instrument=coin,
                field="depth",
                hint=f"supply one: {coin}=1e9, or *=1e9 for all that have none",
            )
    return ContractDepth(usd=np.array(usd), basis=tuple(basis), per_volume=per_volume)
