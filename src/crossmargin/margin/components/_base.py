"""What every kind of component shares: figures with bounds, strict data, source and confidence."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Rate = Annotated[float, Meta(ge=0, le=10)]
NonNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]

#: How well a figure is known. ``house`` is our own formula, ``user`` came with the call.
Confidence = Literal["published", "mirror", "secondary", "inferred", "unconfirmed", "house", "user"]


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Strict data."""


class BaseComponent(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"
):
    """Fields of every component.

    Attributes
    ----------
    name : str
        Name in the combining expressions and in statements.
    source : str
        Key into the rule-set's sources.
    confidence : Confidence
        Of the formula and its figures together: the weaker of the two.
    note : str
        What is not known, in a sentence, for the statement.
    """

    name: str
    source: str
    confidence: Confidence
    note: str = ""

    @property
    def unknown(self) -> bool:
        """Whether a figure without a source is missing, so that the rule-set is incomplete."""
        return False

    @property
    def leaves_out(self) -> bool:
        """Whether what is unknown is left out of the number, and not refused when needed."""
        return False

    @property
    def dimensionless(self) -> bool:
        """Whether the value is a factor in the expression, not an amount of money."""
        return False


class PotComponent(
    BaseComponent, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"
):
    """A component of a pot as a whole: added to the groups' sum, never in an expression."""
