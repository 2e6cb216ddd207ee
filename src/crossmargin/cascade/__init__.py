"""What happens to everyone: impact, depth, loop gain, contagion, open interest, simulation."""

from __future__ import annotations

from crossmargin.cascade.generate import generate_population
from crossmargin.cascade.population import Population, population
from crossmargin.cascade.result import CascadeResult

__all__ = ["CascadeResult", "Population", "generate_population", "population"]
