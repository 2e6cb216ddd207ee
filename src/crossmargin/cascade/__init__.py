"""What happens to everyone: impact, depth, loop gain, contagion, open interest, simulation."""

from __future__ import annotations

from crossmargin.cascade.fragility import Fragility, fragility
from crossmargin.cascade.gain import Gain, loop_gain
from crossmargin.cascade.generate import generate_population
from crossmargin.cascade.population import Population, population
from crossmargin.cascade.result import CascadeResult
from crossmargin.cascade.setting import (
    Actions,
    Behaviour,
    Books,
    CascadeMarket,
    CascadeRules,
    Funding,
    Margins,
    Marks,
    People,
    Weather,
)
from crossmargin.cascade.shock import ShockResponse, shock_response
from crossmargin.cascade.simulate import simulate
from crossmargin.cascade.triggers import common_triggers, position_triggers

__all__ = [
    "Actions",
    "Behaviour",
    "Books",
    "CascadeMarket",
    "CascadeResult",
    "CascadeRules",
    "Fragility",
    "Funding",
    "Gain",
    "Margins",
    "Marks",
    "People",
    "Population",
    "ShockResponse",
    "Weather",
    "common_triggers",
    "fragility",
    "generate_population",
    "loop_gain",
    "population",
    "position_triggers",
    "shock_response",
    "simulate",
]
