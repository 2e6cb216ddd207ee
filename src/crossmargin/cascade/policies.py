"""Designs that are compared on common paths, and what a fund must be for them.

Each family changes one thing: how accounts are walled off, haircuts, how much is closed at once,
whom deleveraging closes, whether trading halts, how large the fund is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from crossmargin.cascade.figures import unknown
from crossmargin.cascade.outcome import Outcome
from crossmargin.cascade.scenario_types import Scenario
from crossmargin.cascade.studies import Study, Variant, grid
from crossmargin.errors import CascadeError
from crossmargin.liquidation import breaker, exhaustion_curve, fund_size

#: Rules of deleveraging that are compared; all settle at the bankruptcy price or the mark.
_ADL = ("capped-pro-rata", "pro-rata", "risk-aware", "bitmex", "binance", "hyperliquid-decompiled")
_FUNDS = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.03)
_HAIRCUTS = (0.0, 0.5, 1.0, 2.0)


def _modes(scenario: Scenario) -> list[Variant]:
    groups = list(range(len(scenario.assets)))
    majors = [min(g, 1) for g in groups]
    return [
        Variant(label="cross", changes={"population.walls": "cross"}),
        Variant(
            label="sub-account for the first contract",
            changes={"population.groups": majors, "population.walls": "groups"},
        ),
        Variant(label="isolated", changes={"population.walls": "isolated"}),
    ]


def _haircuts(scenario: Scenario) -> list[Variant]:
    made = []
    for factor in _HAIRCUTS:
        changes = {
            f"{section}.{coin.name}.haircut": min(1.0, factor * coin.haircut)
            for section, coins in (("assets", scenario.assets), ("coins", scenario.coins))
            for coin in coins
        }
        made.append(Variant(label=f"haircuts × {factor:g}", changes=changes))
    return made


def _closing(scenario: Scenario) -> list[Variant]:
    return [
        Variant(label="as little as suffices", changes={"rules.liquidation": "house"}),
        Variant(
            label="a fifth, then the rest",
            changes={"rules.changes": {}, "rules.liquidation": "hyperliquid"},
        ),
        Variant(
            label="everything at once",
            changes={
                "rules.liquidation": "hyperliquid",
                "rules.changes": {"steps.market-orders.share": 1.0},
            },
        ),
    ]


def _adl(scenario: Scenario) -> list[Variant]:
    return [Variant(label=name, changes={"rules.adl": name}) for name in _ADL]


def _breakers(scenario: Scenario) -> list[Variant]:
    breaker("three-tiers")
    return [
        Variant(label="no breaker", changes={"rules.breaker": None}),
        Variant(label="three tiers", changes={"rules.breaker": "three-tiers"}),
    ]


def _funds(scenario: Scenario) -> list[Variant]:
    return [
        Variant(
            label=f"fund of {100 * share:.2f} % of open interest",
            changes={"rules.fund_share": share},
        )
        for share in _FUNDS
    ]


_FAMILIES: dict[str, Callable[[Scenario], list[Variant]]] = {
    "modes": _modes,
    "haircuts": _haircuts,
    "closing": _closing,
    "adl": _adl,
    "breakers": _breakers,
    "fund": _funds,
}


#: What each family is about, for titles.
FAMILY_WORDS = {
    "modes": "cross, sub-account, isolated",
    "haircuts": "haircut schedules",
    "closing": "how much is closed at once",
    "adl": "whom deleveraging closes",
    "breakers": "circuit breakers",
    "fund": "size of the fund",
}


def policy_families() -> list[str]:
    """Return the names of the families of designs."""
    return list(_FAMILIES)


def policy_variants(scenario: Scenario, family: str) -> list[Variant]:
    """Return the designs of a family, for a scenario.

    Parameters
    ----------
    scenario : Scenario
        What they change.
    family : str
        ``modes`` (cross, one sub-account, isolated; the same people and money), ``haircuts``
        (the scenario's, times a factor), ``closing`` (as little as suffices, a fifth first,
        everything), ``adl`` (whom deleveraging closes), ``breakers``, ``fund`` (its size).

    Raises
    ------
    CascadeError
        ``CAS-003`` for a family that is none.
    """
    if family not in _FAMILIES:
        raise unknown("family of designs", family, _FAMILIES)
    return _FAMILIES[family](scenario)


#: Grid of the phase diagram: median leverage across, factors on the scenario's depth up.
PHASE_LEVERAGE = (2.0, 3.0, 5.0, 8.0, 12.0)
PHASE_DEPTH = (0.25, 0.5, 1.0, 2.0, 4.0)


def phase_variants(
    scenario: Scenario,
    leverage: Sequence[float] = PHASE_LEVERAGE,
    depth: Sequence[float] = PHASE_DEPTH,
) -> list[Variant]:
    """Return the grid of a phase diagram: depths outside, leverages inside.

    The market is that of the closed form: books do not thin out, impact stays, and everything is
    sold in the market. Otherwise the picture shows the venue's last layers: where a fund is used
    up, deleveraging closes positions without moving a price, and more leverage can end in a
    smaller fall.

    Parameters
    ----------
    scenario : Scenario
        What is changed.
    leverage : sequence of float
        Median leverages.
    depth : sequence of float
        Factors on the scenario's own depth.
    """
    plain = {
        "depth.withdrawal": False,
        "impact.permanent_share": 1.0,
        "rules.deleveraging": "haircut",
    }
    depths = [factor * scenario.depth.factor for factor in depth]
    axes = {"depth.factor": depths, "population.median_leverage": list(leverage)}
    return [Variant(label=v.label, changes={**plain, **v.changes}) for v in grid(axes)]


class FundAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How large a fund must be; money in US dollars.

    Attributes
    ----------
    target : float
        Wanted chance that the fund is used up.
    by_target : float
        Least fund that meets it on these runs.
    by_shortfall : float
        Mean of the deficits beyond it.
    two_largest : float
        The two largest shortfalls of people together, in the worst run: "cover 2" under stress.
    sizes, exhausted : list of float
        Curve: funds, and the chance that each is used up.
    """

    target: float
    by_target: float
    by_shortfall: float
    two_largest: float
    sizes: list[float]
    exhausted: list[float]


def size_fund(study: Study, label: str, target: float = 0.01) -> FundAnswer:
    """Size the fund of one variant from the deficits of its runs.

    Parameters
    ----------
    study : Study
        With many seeds: a chance of 1 % cannot be seen in fewer than 100 runs.
    label : str
        Variant; best one with a large fund, so that deficits do not depend on deleveraging.
    target : float
        Chance that the fund is used up, between 0 and 1.

    Raises
    ------
    CascadeError
        ``CAS-001`` for a target that is no chance, or for too few runs to see it.

    Notes
    -----
    Source: requirements row B08 (P(exhaustion) against fund size; sizing by ES of deficits). The
    two largest stressed deficits: cover 2 of PFMI principle 4 (clearing-practice §1.8, published).
    """
    made: list[Outcome] = study.outcomes(label)
    if not 0 < target < 1:
        raise CascadeError(f"{target:g} is no chance", code="CAS-001", field="target")
    if not made:
        raise unknown("variant", label, [v.label for v in study.variants])
    if len(made) * target < 1 - 1e-9:
        raise CascadeError(
            f"{len(made)} runs cannot show a chance of {target:g}",
            code="CAS-001",
            field="target",
            hint=f"run at least {int(np.ceil(1 / target))} seeds",
        )
    deficits = np.array([m.deficit_usd for m in made])
    sized = fund_size(deficits, 1.0 - target)
    sizes = np.linspace(0.0, 1.1 * float(deficits.max()) or 1.0, 41)
    return FundAnswer(
        target=target,
        by_target=sized.by_quantile,
        by_shortfall=sized.by_shortfall,
        two_largest=max(m.two_largest_usd for m in made),
        sizes=sizes.tolist(),
        exhausted=exhaustion_curve(sizes, deficits).tolist(),
    )
