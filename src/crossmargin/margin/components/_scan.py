"""The scan: worst loss over the scenarios."""

from __future__ import annotations

from typing import Literal

from crossmargin.margin.components._base import BaseComponent, Data, Fraction, NonNegative


class CurrencyOffset(Data, frozen=True, kw_only=True):
    """Per settlement currency: what its netted gains and tail losses count.

    Attributes
    ----------
    pnl_offset : float
        Share of a gain that may offset other currencies' losses in the same group.
    max_offset_usd : float or None
        Largest gain that may offset; None for no cap.
    dampener_usd : float
        Allowance subtracted from a weighted tail loss before it counts.
    """

    pnl_offset: Fraction = 1.0
    max_offset_usd: NonNegative | None = None
    dampener_usd: NonNegative = 0.0


class Scan(BaseComponent, frozen=True, kw_only=True, tag="scan"):
    """Worst loss over the scenarios, per group.

    Attributes
    ----------
    currencies : dict of str to CurrencyOffset
        By settlement asset; ``USD`` serves stablecoins, ``default`` the rest.
    tail_gains_count : bool
        Whether a gain in a tail scenario offsets other segments.
    conversion : {"base", "shocked"}
        Price at which a coin's profit is converted to the numeraire in a scenario.
    """

    currencies: dict[str, CurrencyOffset] = {}
    tail_gains_count: bool = False
    conversion: Literal["base", "shocked"] = "base"
