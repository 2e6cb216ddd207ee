"""What balances are worth as margin."""

from __future__ import annotations

from typing import Literal

from crossmargin.margin.components._base import Confidence, Data, Fraction


class AssetRule(Data, frozen=True, kw_only=True):
    """How a balance counts.

    Attributes
    ----------
    haircut : float
        Share cut from a positive balance.
    stress : {"none", "up", "down", "both"}
        Which side of its price move enters the scenarios as profit and loss.
    """

    haircut: Fraction = 0.0
    stress: Literal["none", "up", "down", "both"] = "none"


class Collateral(Data, frozen=True, kw_only=True):
    """What balances are worth as margin.

    Attributes
    ----------
    source, confidence
        As for components.
    haircut_levels : list of {"im", "mm"}
        Levels that the haircut touches.
    assets : dict of str to AssetRule
        By asset; ``default`` serves the rest, and without it an asset not named is refused when
        it is worth something in the pot.
    """

    source: str
    confidence: Confidence
    note: str = ""
    haircut_levels: tuple[Literal["im", "mm"], ...] = ("im",)
    assets: dict[str, AssetRule] = {}
