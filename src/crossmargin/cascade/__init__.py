"""What happens to everyone: impact, depth, loop gain, contagion, open interest, simulation."""

from __future__ import annotations

from crossmargin.cascade.behaviour import Entrants, Habits, Wealth, banking_hours, house_habits
from crossmargin.cascade.book_walk import BookWalk, depth_of_book, recorded_book
from crossmargin.cascade.depth import DepthRule, Resilience, Withdrawal, stressed_depth, withdrawal
from crossmargin.cascade.fragility import Fragility, fragility
from crossmargin.cascade.gain import Gain, loop_gain
from crossmargin.cascade.generate import generate_population
from crossmargin.cascade.hooks import (
    LiveBehaviour,
    LiveBooks,
    LiveFunding,
    LiveMargins,
    LiveMarks,
    wealth_of,
)
from crossmargin.cascade.impact import (
    Bounded,
    Fill,
    Impact,
    Linear,
    LogLinear,
    Power,
    coins_to,
    fill,
)
from crossmargin.cascade.marks import MarkRule, Wrapped
from crossmargin.cascade.on_rules import BookCascade, BookRules, cascade_on_rules
from crossmargin.cascade.paths import MonteCarlo, jump, replayed, scripted
from crossmargin.cascade.population import Population, population
from crossmargin.cascade.procyclical import Procyclical
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
from crossmargin.cascade.volatility import Volatility

__all__ = [
    "Actions",
    "Behaviour",
    "BookCascade",
    "BookRules",
    "BookWalk",
    "Books",
    "Bounded",
    "CascadeMarket",
    "CascadeResult",
    "CascadeRules",
    "DepthRule",
    "Entrants",
    "Fill",
    "Fragility",
    "Funding",
    "Gain",
    "Habits",
    "Impact",
    "Linear",
    "LiveBehaviour",
    "LiveBooks",
    "LiveFunding",
    "LiveMargins",
    "LiveMarks",
    "LogLinear",
    "Margins",
    "MarkRule",
    "Marks",
    "MonteCarlo",
    "People",
    "Population",
    "Power",
    "Procyclical",
    "Resilience",
    "ShockResponse",
    "Volatility",
    "Wealth",
    "Weather",
    "Withdrawal",
    "Wrapped",
    "banking_hours",
    "cascade_on_rules",
    "coins_to",
    "common_triggers",
    "depth_of_book",
    "fill",
    "fragility",
    "generate_population",
    "house_habits",
    "jump",
    "loop_gain",
    "population",
    "position_triggers",
    "recorded_book",
    "replayed",
    "scripted",
    "shock_response",
    "simulate",
    "stressed_depth",
    "wealth_of",
    "withdrawal",
]
