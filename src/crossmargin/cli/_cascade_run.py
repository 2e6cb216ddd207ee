"""``cascade run``, ``cascade sweep``, ``cascade contagion``, ``cascade scenarios``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._app import HtmlOpt, JsonOpt, _console, _print_json, as_list
from crossmargin.cli._assigned import assignments, unreadable
from crossmargin.cli._cascade import cascade_app
from crossmargin.cli._progress import Meter
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from crossmargin.cascade.scenario_types import Scenario
    from crossmargin.cascade.studies import Plan, Study, Variant

ScenarioArg = Annotated[
    str, Parameter(help="A shipped scenario (see cascade scenarios), or a TOML file.")
]
SetOpt = Annotated[
    list[str] | None,
    Parameter(name="--set", help="Change a figure: population.median_leverage=8. Repeatable."),
]
WorkersOpt = Annotated[int, Parameter(help="Processes.")]
QuietOpt = Annotated[bool, Parameter(help="Show no progress.", negative=())]
FolderOpt = Annotated[
    str | None, Parameter(help="Keep results here; a run that was broken off goes on.")
]


@cascade_app.command
def run(
    scenario: ScenarioArg,
    *,
    seed: Annotated[int, Parameter(help="Of what happens; the people are the scenario's.")] = 1,
    runs: Annotated[int, Parameter(help="So many runs for the fan, from the seed on.")] = 1,
    set_: SetOpt = None,
    workers: WorkersOpt = 1,
    folder: FolderOpt = None,
    html: HtmlOpt = None,
    quiet: QuietOpt = False,
    json: JsonOpt = False,
) -> None:
    """Run a scenario: fall, liquidations, who bears the loss, contagion, published facts beside it.

    Money in US dollars. It ranks designs; it does not forecast prices.

    Example: `crossmargin cascade run crash --seed 3 --html crash.html`

    Example: `crossmargin cascade run depeg --set marks.redemption=true`
    """
    from crossmargin.cascade.build import run_scenario
    from crossmargin.reports.cascade import print_cascade, render_cascade

    asked = _scenario(scenario, set_)
    many = None
    if runs < 1:
        raise InputError(f"{runs} runs", code="INP-004", field="--runs", hint="at least 1")
    _processes(workers)
    if runs > 1:
        many = _study(_plan(asked, [_as_it_is()], seed, runs), folder, workers, quiet or json)
    with Meter("steps", quiet=quiet or json) as meter:
        people, found = run_scenario(asked, _seed(seed), progress=meter.step)
    view = _view(asked, people, found)
    if html is not None:
        from crossmargin import __version__

        io.write_whole(html, render_cascade(view, version=__version__, extra=_fan(many)).encode())
    if json:
        _print_json(
            {
                "scenario": asked.id,
                "seed": seed,
                "changes": set_ or [],
                "threshold_gain": view.radius,
                "outcome": view.outcome,
                "contagion_inside": view.inside or None,
                "facts": list(view.facts),
                "paths": _paths(view),
                "many": None if many is None else many.spread(many.variants[0].label),
                "limits": _limits(),
            }
        )
        return
    print_cascade(_console(), view)
    if many is not None:
        from crossmargin.reports.cascade_study import print_study

        print_study(_console(), f"{runs} runs from seed {seed} on", many, None)


@cascade_app.command
def sweep(
    scenario: ScenarioArg,
    *,
    vary: Annotated[
        list[str] | None,
        Parameter(help="Values of a figure: rules.fund_share=0,0.01,0.02. Repeatable: a grid."),
    ] = None,
    policy: Annotated[
        str | None,
        Parameter(help="Designs side by side: modes, haircuts, closing, adl, breakers, fund."),
    ] = None,
    phase: Annotated[
        bool, Parameter(help="Leverage against depth, with the line ρ = 1.", negative=())
    ] = False,
    seed: Annotated[int, Parameter(help="First seed.")] = 1,
    seeds: Annotated[int, Parameter(help="How many seeds, the same for each variant.")] = 10,
    target: Annotated[
        float | None, Parameter(help="Size the fund so that it is used up with this chance.")
    ] = None,
    set_: SetOpt = None,
    workers: WorkersOpt = 1,
    folder: FolderOpt = None,
    html: HtmlOpt = None,
    quiet: QuietOpt = False,
    json: JsonOpt = False,
) -> None:
    """Run variants of a scenario on the same random paths, and put them side by side.

    Money in US dollars. A folder makes it resumable: what is done is not run again.

    Example: `crossmargin cascade sweep crash --vary population.median_leverage=3,5,8 --seeds 20`

    Example: `crossmargin cascade sweep crash --policy adl --seeds 20 --workers 2 --html adl.html`

    Example: `crossmargin cascade sweep crash --phase --seeds 3 --folder phase`

    Example: `crossmargin cascade sweep crash --seeds 100 --target 0.05`
    """
    from crossmargin.cascade.policies import (
        FAMILY_WORDS,
        PHASE_DEPTH,
        PHASE_LEVERAGE,
        phase_variants,
        policy_variants,
        size_fund,
    )

    asked = _scenario(scenario, set_)
    if target is not None and not 0 < target < 1:
        raise InputError(
            f"{target:g} is no chance", code="INP-004", field="--target", hint="0.05 is 5 %"
        )
    given = [bool(vary), policy is not None, phase]
    if sum(given) > 1:
        raise InputError(
            "only one of --vary, --policy and --phase says what the variants are",
            code="INP-004",
            field="--vary",
        )
    variants: list[Variant] = [_as_it_is()]
    if vary:
        variants = _grid(vary)
    elif policy is not None:
        variants = policy_variants(asked, policy)
    elif phase:
        variants = phase_variants(asked, PHASE_LEVERAGE, PHASE_DEPTH)
    made = _study(_plan(asked, variants, seed, seeds), folder, workers, quiet or json)
    funds = None if target is None else size_fund(made, made.variants[0].label, target)
    about = "leverage against depth" if phase else "sweep"
    title = f"{asked.title}: " + (FAMILY_WORDS[policy] if policy is not None else about)
    if html is not None:
        from crossmargin import __version__
        from crossmargin.reports.cascade_study import render_study

        page = render_study(
            title, made, version=__version__, funds=funds,
            phase=(PHASE_LEVERAGE, PHASE_DEPTH) if phase else None,
        )  # fmt: skip
        io.write_whole(html, page.encode())
    if json:
        spreads = {v.label: made.spread(v.label) for v in made.variants}
        _print_json({"study": made, "spread": spreads, "fund": funds, "limits": _limits()})
        return
    from crossmargin.reports.cascade_study import print_study

    print_study(_console(), title, made, funds)


@cascade_app.command
def contagion(
    scenario: ScenarioArg,
    *,
    shock: Annotated[
        list[str] | None,
        Parameter(help="Move one asset: BTC=-0.12. Repeatable; default the scenario's shocks."),
    ] = None,
    policy: Annotated[str, Parameter(help="Order of closing, for what accounts carry.")] = (
        "proportional"
    ),
    prices: Annotated[
        bool, Parameter(help="Let sales move prices: a run for each shock.", negative=())
    ] = False,
    set_: SetOpt = None,
    quiet: QuietOpt = False,
    json: JsonOpt = False,
) -> None:
    """Find what a shock to one asset closes of the others: across accounts, or through prices too.

    Shares of notional, 0 to 1. Walls: `--set population.walls=isolated`.

    Example: `crossmargin cascade contagion crash --shock BTC=-0.12`

    Example: `crossmargin cascade contagion depeg --prices`
    """
    import msgspec

    from crossmargin.cascade.build import people_of, shock_runs
    from crossmargin.cascade.contagion import crowd_contagion, run_contagion
    from crossmargin.reports.cascade import print_contagion

    asked = _scenario(scenario, set_)
    moves = assignments(shock, "--shock", "BTC=-0.12") if shock else dict(asked.shocks)
    if prices:
        with Meter("shocks", quiet=quiet or json) as meter:
            people, found = shock_runs(asked, moves, progress=meter.step)
        made = run_contagion(people, found)
    else:
        made = crowd_contagion(people_of(asked), moves, policy)  # type: ignore[arg-type]
    if json:
        _print_json({"through_prices": prices, **msgspec.to_builtins(made, enc_hook=as_list)})
        return
    print_contagion(_console(), made, through_prices=prices)


@cascade_app.command
def scenarios(
    name: Annotated[str | None, Parameter(help="Show one with the basis of its figures.")] = None,
    *,
    json: JsonOpt = False,
) -> None:
    """List the shipped scenarios, or show where the figures of one come from.

    Example: `crossmargin cascade scenarios 2025-10-10`
    """
    from crossmargin.cascade.scenario_file import load_scenario, scenario_ids
    from crossmargin.reports.cascade import print_basis, print_scenarios

    if name is not None:
        shown = load_scenario(name)
        if json:
            _print_json(shown)
            return
        print_basis(_console(), shown)
        return
    rows = [load_scenario(each) for each in scenario_ids()]
    if json:
        _print_json([{"id": r.id, "title": r.title, "note": r.note} for r in rows])
        return
    print_scenarios(_console(), rows)


def _scenario(name: str, changes: list[str] | None) -> Scenario:
    from crossmargin.cascade.scenario_file import load_scenario, with_changes

    return with_changes(load_scenario(name), _changes(changes))


def _value(text: str) -> Any:
    """Read a value as TOML has it; what is none is text."""
    import tomllib

    try:
        return tomllib.loads(f"v = {text}")["v"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _changes(texts: list[str] | None) -> dict[str, Any]:
    made = {}
    for text in texts or []:
        place, sign, value = text.partition("=")
        if not sign or not place.strip():
            raise unreadable(text, "--set", "population.median_leverage=8")
        made[place.strip()] = _value(value.strip())
    return made


def _grid(texts: list[str]) -> list[Variant]:
    from crossmargin.cascade.studies import grid

    axes = {}
    for text in texts:
        place, sign, values = text.partition("=")
        if not sign or not place.strip() or not values.strip():
            raise unreadable(text, "--vary", "rules.fund_share=0,0.01")
        axes[place.strip()] = [_value(v.strip()) for v in values.split(",")]
    return grid(axes)


def _as_it_is() -> Variant:
    from crossmargin.cascade.studies import Variant

    return Variant(label="as it is")


def _seed(seed: int) -> int:
    from crossmargin.cascade.studies import seeds_of

    return seeds_of(seed, 1)[0]


def _plan(asked: Scenario, variants: list[Variant], seed: int, seeds: int) -> Plan:
    from crossmargin.cascade.studies import Plan, seeds_of

    return Plan(scenario=asked, variants=variants, seeds=seeds_of(seed, seeds))


def _study(plan: Plan, folder: str | None, workers: int, quiet: bool) -> Study:
    from crossmargin.cascade.studies import run_study

    _processes(workers)
    with Meter("runs", quiet=quiet) as meter:
        return run_study(plan, folder=folder, workers=workers, progress=meter.step)


def _processes(workers: int) -> None:
    if not 1 <= workers <= 256:
        raise InputError(f"{workers} processes", code="INP-004", field="--workers", hint="1 to 256")


def _view(asked: Scenario, people: Any, found: Any) -> Any:
    from crossmargin.cascade.build import script_gain
    from crossmargin.cascade.contagion import crowd_contagion
    from crossmargin.cascade.facts import fact_table, judge
    from crossmargin.cascade.heat import heat
    from crossmargin.cascade.outcome import outcome
    from crossmargin.reports.cascade import CascadeView

    lead = asked.lead_row
    made = outcome(people, found, lead)
    inside = crowd_contagion(people, asked.shocks, "proportional") if asked.shocks else None
    return CascadeView(
        scenario=asked,
        people=people,
        run=found,
        outcome=made,
        radius=script_gain(asked, people),
        heat=heat(people, found, min(lead, len(people.contracts) - 1)),
        inside=inside,
        facts=judge(fact_table(asked.facts), people, found, made, lead) if asked.facts else [],
    )


def _fan(many: Study | None) -> list[Any]:
    if many is None:
        return []
    from crossmargin.reports.cascade_study import fan_cards

    return fan_cards(many)


def _paths(view: Any) -> dict[str, Any]:
    run = view.run
    return {
        "minutes": view.minutes,
        "assets": list(view.people.assets),
        "contracts": list(view.people.contracts),
        "price_usd": run.price.tolist(),
        "exogenous_usd": run.exogenous.tolist(),
        "open_interest_coins": run.open_interest.tolist(),
        "sold_usd": run.sold.tolist(),
        "bought_usd": run.bought.tolist(),
        "adl_usd": run.adl.tolist(),
        "fund_usd": run.fund.tolist(),
        "rounds": run.rounds.tolist(),
    }


def _limits() -> list[str]:
    from crossmargin.reports.cascade import LIMITS

    return list(LIMITS)
