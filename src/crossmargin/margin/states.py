"""States of a pot: what its equity and requirements mean, in the house's words and the venue's.

Source
------
The house's four states are its own; thresholds and names of a venue are data of its rule-set
(``[[states]]``), with their sources there.
"""

from __future__ import annotations

from dataclasses import dataclass

from crossmargin.margin.components import MEANINGS, Meaning, StateBand
from crossmargin.margin.ruleset import Ruleset


@dataclass(frozen=True, slots=True)
class PotState:
    """State of one pot.

    Attributes
    ----------
    state : {"healthy", "reduce-only", "liquidation", "bankrupt"}
        In the house's words.
    venue_state : str
        In the venue's; empty where the rule-set names none or none holds.
    """

    state: Meaning
    venue_state: str = ""


def state_of(equity_im: float, equity_mm: float, im: float, mm: float) -> Meaning:
    """Return the state of a pot: healthy, reduce-only, liquidation or bankrupt.

    At equality the better state holds: an order whose fill leaves IM = equity passes.
    """
    if equity_mm < 0:
        return "bankrupt"
    if equity_mm < mm:
        return "liquidation"
    return "reduce-only" if equity_im < im else "healthy"


def venue_band(bands: list[StateBand], equity: float, mm: float) -> StateBand | None:
    """Return the worst band that holds, of bands listed worst first; US dollars."""
    return next((band for band in bands if band.holds(equity, mm)), None)


def pot_state(rules: Ruleset, equity_im: float, equity_mm: float, im: float, mm: float) -> PotState:
    """Return the state of a pot, amounts in US dollars.

    Where the rule-set draws its own liquidation line, that line decides over equity = MM.
    """
    bands = rules.data.states
    state = state_of(equity_im, equity_mm, im, mm)
    if state == "liquidation" and any(b.meaning == "liquidation" for b in bands):
        state = "reduce-only" if equity_im < im else "healthy"
    band = venue_band(bands, equity_mm, mm)
    if band is None:
        return PotState(state)
    return PotState(max(state, band.meaning, key=MEANINGS.index), band.state)
