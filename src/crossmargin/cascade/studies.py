"""Many runs of a scenario: sweeps over its figures, seeds of what happens, designs side by side.

A study is a plan: a scenario, variants of it, seeds. Every variant meets the same seeds, so that
designs are compared on common random paths. Runs go to processes; each result is written to a
folder whole or not at all, so that a study that was killed goes on where it stood and ends with the
same bytes as one that was not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from crossmargin.cascade._study_pool import answers
from crossmargin.cascade.outcome import Outcome, Spread, burdens, lorenz, outcome, spread
from crossmargin.cascade.scenario_file import with_changes
from crossmargin.cascade.scenario_types import Scenario
from crossmargin.codec import draft_of
from crossmargin.errors import CascadeError
from crossmargin.figures import Data

#: Points of a price path that are kept of a run, for fans.
_POINTS = 121

Progress = Callable[[int, int], None]


class Variant(Data, frozen=True, kw_only=True):
    """One design: a name, and what is changed in the scenario for it.

    Attributes
    ----------
    label : str
        Unique in a plan.
    changes : dict
        By place, as :func:`crossmargin.cascade.with_changes` takes them.
    """

    label: str
    changes: dict[str, Any] = msgspec.field(default_factory=dict)


class Plan(Data, frozen=True, kw_only=True):
    """What a study runs.

    Attributes
    ----------
    scenario : Scenario
        Changed by each variant.
    variants : list of Variant
        One or more.
    seeds : list of int
        Of what happens; the same for each variant.
    """

    scenario: Scenario
    variants: Annotated[list[Variant], Meta(min_length=1)]
    seeds: Annotated[list[int], Meta(min_length=1)]


class Record(Data, frozen=True, kw_only=True):
    """One run that is done.

    Attributes
    ----------
    variant : str
        Label.
    seed : int
        Of what happened.
    outcome : Outcome
        Its figures.
    minutes, path : list of float
        Price of the lead asset over its first, at some moments.
    lorenz : list of float
        Of the notional closed in deleveraging over winners, at even shares; empty without any.
    radius : float
        Threshold gain of those whom the scripted news reaches (:func:`news_gain`).
    """

    format: Literal["crossmargin-cascade-run/1"] = "crossmargin-cascade-run/1"
    variant: str
    seed: int
    outcome: Outcome
    minutes: list[float]
    path: list[float]
    lorenz: list[float] = msgspec.field(default_factory=list)
    radius: float = 0.0


class Study(Data, frozen=True, kw_only=True):
    """All runs of a plan, in its order.

    Attributes
    ----------
    scenario : str
        Id.
    lead : str
        Asset whose price the figures are about.
    variants : list of Variant
        As planned.
    seeds : list of int
        As planned.
    records : list of Record
        By variant, then by seed.
    """

    format: Literal["crossmargin-cascade-study/1"] = "crossmargin-cascade-study/1"
    scenario: str
    lead: str
    variants: list[Variant]
    seeds: list[int]
    records: list[Record]

    def outcomes(self, label: str) -> list[Outcome]:
        """Return the outcomes of one variant, by seed."""
        return [r.outcome for r in self.records if r.variant == label]

    def spread(self, label: str) -> Spread:
        """Return the figures of one variant over its seeds."""
        return spread(self.outcomes(label))

    def fan(
        self, label: str, levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)
    ) -> tuple[list[float], dict[float, np.ndarray[Any, np.dtype[np.float64]]]]:
        """Return minutes, and the lead's move from the start in % at some quantiles."""
        mine = [r for r in self.records if r.variant == label]
        moves = 100.0 * (np.array([r.path for r in mine]) - 1.0)
        return mine[0].minutes, {q: np.quantile(moves, q, axis=0) for q in levels}

    def lorenz(self, label: str) -> list[float]:
        """Return the mean Lorenz curve of one variant's runs with deleveraging; empty if none."""
        mine = [r.lorenz for r in self.records if r.variant == label and r.lorenz]
        return [float(x) for x in np.mean(mine, axis=0)] if mine else []

    def worst(self, label: str) -> Record:
        """Return the run of one variant with the deepest fall, the first of several."""
        mine = [r for r in self.records if r.variant == label]
        return min(mine, key=lambda r: (r.outcome.drop, r.seed))


def grid(axes: Mapping[str, Sequence[Any]]) -> list[Variant]:
    """Return a variant for every combination of values; the last axis runs fastest.

    Parameters
    ----------
    axes : mapping of str to sequence
        By place in the scenario.
    """
    made = []
    for values in itertools.product(*axes.values()):
        changes = dict(zip(axes, values))
        label = ", ".join(f"{place} = {value}" for place, value in changes.items())
        made.append(Variant(label=label or "as it is", changes=changes))
    return made


def seeds_of(first: int, count: int) -> list[int]:
    """Return seeds, one after another from the first.

    Raises
    ------
    CascadeError
        ``CAS-001`` for none, or a seed below 0.
    """
    if count < 1 or first < 0 or first + count > 2**63:
        raise CascadeError(
            f"{count} seeds from {first} on", code="CAS-001", field="seeds",
            hint="at least one seed, from 0 on",
        )  # fmt: skip
    return list(range(first, first + count))


def run_one(plan: bytes, variant: int, seed: int) -> bytes:
    """Run one variant with one seed, in whatever process this is; bytes in, bytes out.

    Parameters
    ----------
    plan : bytes
        A plan as MessagePack.
    variant : int
        Which of its variants.
    seed : int
        Of what happens.

    Returns
    -------
    bytes
        A :class:`Record` as JSON.
    """
    from crossmargin.cascade.build import run_scenario, script_gain

    asked = msgspec.msgpack.decode(plan, type=Plan)
    chosen = asked.variants[variant]
    scenario = with_changes(asked.scenario, chosen.changes)
    people, run = run_scenario(scenario, seed)
    price = run.price[:, scenario.lead_row]
    keep = np.unique(np.linspace(0, price.size - 1, min(price.size, _POINTS)).round().astype(int))
    minutes = (run.times_ns[keep] - run.times_ns[0]) / 60e9
    record = Record(
        variant=chosen.label,
        seed=seed,
        outcome=outcome(people, run, scenario.lead_row),
        minutes=minutes.tolist(),
        path=(price[keep] / price[0]).tolist(),
        lorenz=lorenz(burdens(people, run).closed),
        radius=script_gain(scenario, people),
    )
    return msgspec.json.encode(record)


def run_study(
    plan: Plan,
    *,
    folder: str | Path | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Progress | None = None,
    run: Callable[[bytes, int, int], bytes] = run_one,
) -> Study:
    """Run a plan, or what is left of it.

    Parameters
    ----------
    plan : Plan
        What to run.
    folder : path, optional
        Where results are kept; made where it is not there. Runs that it holds are not run again,
        and seeds may be added later.
    workers : int
        Processes; 1 runs here. They are started afresh (spawn), so the caller's main module must
        be importable.
    executor : Executor, optional
        Runs the work instead: any ``concurrent.futures`` executor, a cluster's for example.
    progress : callable, optional
        Told how many runs of how many are done.
    run : callable
        What runs one: plan, variant, seed to a record's JSON. Must be importable by name where
        other processes run it.

    Returns
    -------
    Study
        The same whatever ran where, in which order and how often it was interrupted.

    Raises
    ------
    CascadeError
        ``CAS-001`` for labels that are not unique, ``CAS-002`` for a folder that holds another
        study, or a variant that the scenario refuses.
    """
    labels = [v.label for v in plan.variants]
    if len(set(labels)) != len(labels) or len(set(plan.seeds)) != len(plan.seeds):
        raise CascadeError("a plan's labels and seeds are unique", code="CAS-001", field="variants")
    for variant in plan.variants:
        with_changes(plan.scenario, variant.changes)
    place = None if folder is None else _claimed(Path(folder), plan)
    jobs = [(v, s) for v in range(len(labels)) for s in plan.seeds]
    found: dict[tuple[int, int], Record] = {}
    for job in jobs:
        kept = None if place is None else _kept(place, job, plan)
        if kept is not None:
            found[job] = kept
    open_jobs = [job for job in jobs if job not in found]
    if progress is not None:
        progress(len(found), len(jobs))
    raw = msgspec.msgpack.encode(plan)
    for job, answer in answers(raw, open_jobs, workers, executor, run):
        found[job] = msgspec.json.decode(answer, type=Record)
        if place is not None:
            with draft_of(place / _name(job)) as draft:
                draft.write_bytes(answer)
        if progress is not None:
            progress(len(found), len(jobs))
    return Study(
        scenario=plan.scenario.id,
        lead=plan.scenario.names[plan.scenario.lead_row],
        variants=plan.variants,
        seeds=plan.seeds,
        records=[found[job] for job in jobs],
    )


def _name(job: tuple[int, int]) -> str:
    return f"run-{job[0]:04d}-{job[1]:010d}.json"


def _claimed(folder: Path, plan: Plan) -> Path:
    """Make the folder this study's, or see that it is."""
    mine = msgspec.json.encode({"scenario": plan.scenario, "variants": plan.variants})
    target = folder / "plan.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            with draft_of(target) as draft:
                draft.write_bytes(mine)
        held = target.read_bytes()
    except OSError as error:
        raise CascadeError(
            f"cannot keep a study in {str(folder)!r}: "
            f"{(error.strerror or 'unknown reason').lower()}",
            code="CAS-002",
            field="folder",
            hint="name a folder that may be written",
        ) from None
    if held != mine:
        raise CascadeError(
            f"{str(folder)!r} holds another study",
            code="CAS-002",
            field="folder",
            hint="name another folder, or run the plan it was begun with",
        )
    return folder


def _kept(folder: Path, job: tuple[int, int], plan: Plan) -> Record | None:
    """Return a result that is there whole, or None; a damaged one is run again."""
    try:
        record = msgspec.json.decode((folder / _name(job)).read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None
    same = record.variant == plan.variants[job[0]].label and record.seed == job[1]
    return record if same else None
