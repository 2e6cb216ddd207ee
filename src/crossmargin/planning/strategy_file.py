"""The file of strategies that ``allocate`` reads."""

from __future__ import annotations

from typing import Annotated

import msgspec


class StrategyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[[strategy]]``; amounts a unit and a period, US dollars.

    `profit` left out means the mean of its scenarios; `most` left out means no bound.
    """

    name: Annotated[str, msgspec.Meta(min_length=1)]
    im: Annotated[float, msgspec.Meta(ge=0)]
    profit: float | None = None
    most: Annotated[float, msgspec.Meta(ge=0)] | None = None
    venue: str = ""


class StrategyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    strategy: Annotated[list[StrategyEntry], msgspec.Meta(min_length=1)]
