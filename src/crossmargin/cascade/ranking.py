"""Designs of a study compared seed by seed, on the random paths that they share."""

from __future__ import annotations

import math

import msgspec

from crossmargin.cascade.figures import unknown
from crossmargin.cascade.outcome import Outcome
from crossmargin.cascade.studies import Study


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """One variant against the first, seed by seed.

    Attributes
    ----------
    label : str
        Which.
    mean : float
        Of the figure.
    difference : float
        Mean of (this − first) over seeds that have both.
    error : float
        Standard error of that difference: paths are common, so it is that of pairs.
    better : float
        Share of seeds on which the figure is smaller than the first's.
    """

    label: str
    mean: float
    difference: float
    error: float
    better: float


def ranked(study: Study, figure: str) -> list[Ranking]:
    """Compare variants in one figure on common paths, in the plan's order.

    Parameters
    ----------
    study : Study
        With two variants or more.
    figure : str
        A field of :class:`Outcome`.

    Raises
    ------
    CascadeError
        ``CAS-003`` for a figure that outcomes do not have.
    """
    if figure not in Outcome.__struct_fields__:
        raise unknown("figure of an outcome", figure, Outcome.__struct_fields__)
    base = [getattr(o, figure) for o in study.outcomes(study.variants[0].label)]
    rows = []
    for variant in study.variants:
        mine = [getattr(o, figure) for o in study.outcomes(variant.label)]
        known = [float(x) for x in mine if x is not None]
        pairs = [float(x) - float(y) for x, y in zip(mine, base) if x is not None and y is not None]
        n = len(pairs)
        mean = math.fsum(pairs) / n if n else math.nan
        spread_ = math.sqrt(math.fsum((d - mean) ** 2 for d in pairs) / (n - 1)) if n > 1 else 0.0
        rows.append(
            Ranking(
                label=variant.label,
                mean=math.fsum(known) / len(known) if known else math.nan,
                difference=mean,
                error=spread_ / math.sqrt(n) if n else math.nan,
                better=sum(d < 0 for d in pairs) / n if n else math.nan,
            )
        )
    return rows
