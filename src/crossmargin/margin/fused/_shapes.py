"""What a component is as a function of quantities, so that it can be summed in one pass.

A component that can be fused is a sum over buckets of a simple function of Σ q·c, with a
coefficient c by contract. The coefficient is what the reference stage charges one unit; only
the shape is stated here. Anything else is left to the vectorised stages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from crossmargin.margin.components import (
    BasisContingency,
    CollateralConfidence,
    CorrelationContingency,
    DeltaConcentration,
    NakedShort,
    OracleConfidence,
    PegFactor,
    RateMargin,
    Roll,
    Scan,
)

#: ``row``: Σ_i |q_i|·c_i. ``net``: Σ over buckets |Σ q·c|. ``short``: Σ over strikes
#: max(0, −Σ q·c). ``worst``: Σ over buckets max(0, −Σ q·u, −Σ q·d). ``limit``: nothing while
#: |Σ q·c| over the group is within a limit, beyond which the account is computed apart.
#: ``level``: the same figure for every group. ``scan``: the scan. ``none``: 0 for every holding.
Shape = Literal["row", "net", "short", "worst", "limit", "level", "scan", "none"]


class NotFusable(Exception):
    """Why a rule-set, or this market under it, cannot be computed in one pass."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """A component and its shape."""

    spec: Any
    shape: Shape


def _rate(spec: RateMargin) -> Shape:
    single = spec.scheme != "slope" and all(
        len(tiers) == 1 and tiers[0].known_to is None for tiers in spec.tiers.values()
    )
    if not single:
        raise NotFusable(f"the rate of {spec.name} depends on size")
    return "row"


def _correlation(spec: CorrelationContingency) -> Shape:
    if spec.flagged:
        raise NotFusable(f"{spec.name} looks across currencies")
    return "none"


#: Shape of each kind of component that has one.
SHAPES: dict[type, Callable[[Any], Shape]] = {
    Scan: lambda spec: "scan",
    Roll: lambda spec: "net",
    DeltaConcentration: lambda spec: "limit",
    CorrelationContingency: _correlation,
    RateMargin: _rate,
    BasisContingency: lambda spec: "worst",
    NakedShort: lambda spec: "short",
    PegFactor: lambda spec: "level",
    # Nothing while every feed is trusted; the compiler sees to that.
    OracleConfidence: lambda spec: "none",
    CollateralConfidence: lambda spec: "none",
}


def shape_of(spec: Any) -> Shaped:
    """Return a component with its shape.

    Raises
    ------
    NotFusable
        When it has none.
    """
    find = SHAPES.get(type(spec))
    if find is None:
        raise NotFusable(f"{spec.name} has no shape that can be summed in one pass")
    return Shaped(spec, find(spec))
