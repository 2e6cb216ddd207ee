"""What happens to everyone: impact, depth, loop gain, contagion, open interest, simulation."""

from __future__ import annotations

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
from crossmargin.cascade.simulate import simulate

__all__ = [
    "Actions",
    "Behaviour",
    "Books",
    "CascadeMarket",
    "CascadeResult",
    "CascadeRules",
    "Funding",
    "Margins",
    "Marks",
    "People",
    "Population",
    "Weather",
    "generate_population",
    "population",
    "simulate",
]
