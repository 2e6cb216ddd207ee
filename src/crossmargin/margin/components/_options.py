"""Charges on options that look at an expiry or a strike as a whole."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from crossmargin.margin.components._base import BaseComponent, Data, NonNegative, Rate


class BasisContingency(BaseComponent, frozen=True, kw_only=True, tag="basis-contingency"):
    """What each expiry's options alone would lose in a move of their forward.

    ``Σ_e −min(V_e(up) − V_e, V_e(down) − V_e, 0) × (add + per_year × years)``, volatility
    unchanged.

    Attributes
    ----------
    up, down : float
        Moves of the underlying, as fractions.
    add, per_year : float
        Share of the loss that counts.
    """

    up: Annotated[float, Meta(gt=0, le=2)]
    down: Annotated[float, Meta(gt=-1, lt=0)]
    add: Annotated[float, Meta(ge=0, le=20)]
    per_year: Annotated[float, Meta(ge=0, le=20)]


class NakedShort(BaseComponent, frozen=True, kw_only=True, tag="naked-short"):
    """Rate on short options by expiry and strike: ``max(0, −(calls + puts)) × index × rate``.

    A long call cancels a short put of the same strike and expiry.
    """

    im: Rate
    mm: Rate


class BoundedOptionFactors(Data, frozen=True, kw_only=True):
    """Figures of :class:`OptionBounded` for one underlying.

    Attributes
    ----------
    max_spot, min_spot : float
        Initial requirement of a short option, of the index: ``max(min, max − out-of-the-money)``.
    mm_call, mm_put : float
        Maintenance requirement, of the index.
    mm_put_mark : float
        Maintenance requirement of a short put, of its own value.
    unpaired_im, unpaired_mm : float
        What net short calls add to the largest loss, of the forward.
    mm_offset : float
        Initial requirement of a put is at least this times its maintenance requirement.
    """

    max_spot: NonNegative
    min_spot: NonNegative
    mm_call: NonNegative
    mm_put: NonNegative
    mm_put_mark: NonNegative
    unpaired_im: NonNegative
    unpaired_mm: NonNegative
    mm_offset: NonNegative


class OptionBounded(BaseComponent, frozen=True, kw_only=True, tag="option-bounded"):
    """Margin of an expiry's options: the sum of shorts alone, or the largest payoff loss if less.

    The margin is net of the options' value: long options count only where they bound a loss.
    """

    factors: dict[str, BoundedOptionFactors]
