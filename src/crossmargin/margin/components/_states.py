"""States of an account: thresholds on a ratio, by the venue's own names."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.margin.components._base import Confidence, Data

#: States as the house knows them, the best first.
Meaning = Literal["healthy", "reduce-only", "liquidation", "bankrupt"]

#: The same in order.
MEANINGS: tuple[Meaning, ...] = ("healthy", "reduce-only", "liquidation", "bankrupt")

Ratio = Literal["equity/mm", "mm/equity", "equity-mm", "equity"]


class StateBand(Data, frozen=True, kw_only=True):
    """One state and when it holds.

    Attributes
    ----------
    state : str
        The venue's word for it.
    meaning : {"healthy", "reduce-only", "liquidation", "bankrupt"}
        What it means here. The line of ``liquidation`` is what a liquidation price is solved for.
    ratio : {"equity/mm", "mm/equity", "equity-mm", "equity"}
        What is compared. With MM = 0 the first two hold for no threshold: nothing can be called.
    below, at_most, above, at_least : float
        Exactly one threshold; ``at_most`` and ``at_least`` include it.
    source, confidence
        As for components.
    """

    state: Annotated[str, Meta(min_length=1, max_length=40)]
    meaning: Meaning
    ratio: Ratio
    below: float | None = None
    at_most: float | None = None
    above: float | None = None
    at_least: float | None = None
    source: str
    confidence: Confidence

    def __post_init__(self) -> None:
        """Refuse a band with no threshold, with two, or on the wrong side of its ratio."""
        low = [t for t in (self.below, self.at_most) if t is not None]
        high = [t for t in (self.above, self.at_least) if t is not None]
        if len(low) + len(high) != 1:
            raise ValueError(f"the state {self.state!r} needs exactly one threshold")
        if bool(high) != (self.ratio == "mm/equity"):
            raise ValueError(
                f"the state {self.state!r} is entered on the wrong side: worse is a larger "
                "mm/equity and a smaller value of the other ratios"
            )
        if self.ratio in ("equity/mm", "mm/equity") and self.threshold <= 0:
            raise ValueError(f"the state {self.state!r} needs a threshold above 0")

    @property
    def threshold(self) -> float:
        """The one threshold."""
        given = (self.below, self.at_most, self.above, self.at_least)
        return next(t for t in given if t is not None)

    @property
    def words(self) -> str:
        """The condition, for people."""
        names = {"below": "<", "at_most": "≤", "above": ">", "at_least": "≥"}
        sign = next(s for f, s in names.items() if getattr(self, f) is not None)
        return f"{self.ratio.replace('mm', 'MM')} {sign} {self.threshold:g}"

    @property
    def line(self) -> tuple[float, float]:
        """Factor k and amount c such that the band begins where ``equity − k·MM − c`` is 0."""
        if self.ratio == "equity/mm":
            return self.threshold, 0.0
        if self.ratio == "mm/equity":
            return 1.0 / self.threshold, 0.0
        return (1.0, self.threshold) if self.ratio == "equity-mm" else (0.0, self.threshold)

    def holds(self, equity: float, mm: float) -> bool:
        """Whether a pot with this equity and maintenance margin is in the band or worse.

        Equity and MM are in US dollars; a negative equity below a positive MM is in every band of
        a ratio.
        """
        if self.ratio in ("equity/mm", "mm/equity") and mm <= 0:
            return False
        factor, amount = self.line
        gap = equity - factor * mm - amount
        return gap < 0 or (gap == 0 and (self.at_most is not None or self.at_least is not None))
