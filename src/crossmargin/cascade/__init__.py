"""What happens to everyone: impact, depth, loop gain, contagion, open interest, simulation."""

from __future__ import annotations

from crossmargin.cascade.behaviour import (
    Entrants,
    Habits,
    Wealth,
    banking_hours,
    house_habits,
)
from crossmargin.cascade.book_walk import (
    BookWalk,
    depth_of_book,
    recorded_book,
)
from crossmargin.cascade.build import (
    people_of,
    run_scenario,
    shock_runs,
)
from crossmargin.cascade.contagion import (
    CrowdContagion,
    crowd_contagion,
    run_contagion,
)
from crossmargin.cascade.crowd import (
    Holding,
    fenced,
    with_collateral,
    with_interest,
    with_leverage,
)
from crossmargin.cascade.depth import (
    DepthRule,
    Resilience,
    Withdrawal,
    stressed_depth,
    withdrawal,
)
from crossmargin.cascade.facts import (
    Judged,
    fact_table,
    judge,
)
from crossmargin.cascade.fragility import (
    Fragility,
    fragility,
)
from crossmargin.cascade.gain import (
    Gain,
    loop_gain,
)
from crossmargin.cascade.generate import (
    generate_population,
)
from crossmargin.cascade.heat import (
    Heat,
    heat,
    news_gain,
)
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
from crossmargin.cascade.marks import (
    MarkRule,
    Wrapped,
)
from crossmargin.cascade.modes import (
    ModeFigures,
    Trader,
    compare_modes,
    play_mode,
    trader_of,
    withstood,
)
from crossmargin.cascade.on_rules import (
    BookCascade,
    BookRules,
    cascade_on_rules,
)
from crossmargin.cascade.outcome import (
    Outcome,
    Spread,
    burdens,
    lorenz,
    outcome,
    spread,
)
from crossmargin.cascade.paths import (
    MonteCarlo,
    jump,
    replayed,
    scripted,
)
from crossmargin.cascade.policies import (
    FundAnswer,
    phase_variants,
    policy_families,
    policy_variants,
    size_fund,
)
from crossmargin.cascade.population import (
    Population,
    population,
)
from crossmargin.cascade.procyclical import (
    Procyclical,
)
from crossmargin.cascade.ranking import ranked
from crossmargin.cascade.result import (
    CascadeResult,
)
from crossmargin.cascade.rule_comparison import RulesetOutcome, compare_rulesets
from crossmargin.cascade.scenario_file import (
    load_scenario,
    scenario_from_toml,
    scenario_ids,
    with_changes,
)
from crossmargin.cascade.scenario_types import Scenario
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
from crossmargin.cascade.shock import (
    ShockResponse,
    shock_response,
)
from crossmargin.cascade.simulate import (
    simulate,
)
from crossmargin.cascade.studies import Plan, Study, Variant, grid, run_study, seeds_of
from crossmargin.cascade.triggers import (
    common_triggers,
    position_triggers,
)
from crossmargin.cascade.volatility import (
    Volatility,
)

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
    "CrowdContagion",
    "DepthRule",
    "Entrants",
    "Fill",
    "Fragility",
    "FundAnswer",
    "Funding",
    "Gain",
    "Habits",
    "Heat",
    "Holding",
    "Impact",
    "Judged",
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
    "ModeFigures",
    "MonteCarlo",
    "Outcome",
    "People",
    "Plan",
    "Population",
    "Power",
    "Procyclical",
    "Resilience",
    "RulesetOutcome",
    "Scenario",
    "ShockResponse",
    "Spread",
    "Study",
    "Trader",
    "Variant",
    "Volatility",
    "Wealth",
    "Weather",
    "Withdrawal",
    "Wrapped",
    "banking_hours",
    "burdens",
    "cascade_on_rules",
    "coins_to",
    "common_triggers",
    "compare_modes",
    "compare_rulesets",
    "crowd_contagion",
    "depth_of_book",
    "fact_table",
    "fenced",
    "fill",
    "fragility",
    "generate_population",
    "grid",
    "heat",
    "house_habits",
    "judge",
    "jump",
    "load_scenario",
    "loop_gain",
    "lorenz",
    "news_gain",
    "outcome",
    "people_of",
    "phase_variants",
    "play_mode",
    "policy_families",
    "policy_variants",
    "population",
    "position_triggers",
    "ranked",
    "recorded_book",
    "replayed",
    "run_contagion",
    "run_scenario",
    "run_study",
    "scenario_from_toml",
    "scenario_ids",
    "scripted",
    "seeds_of",
    "shock_response",
    "shock_runs",
    "simulate",
    "size_fund",
    "spread",
    "stressed_depth",
    "trader_of",
    "wealth_of",
    "with_changes",
    "with_collateral",
    "with_interest",
    "with_leverage",
    "withdrawal",
    "withstood",
]
