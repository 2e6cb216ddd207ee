"""Inferring a rule-set's unknown parameters from figures that a venue computed.

Given portfolios with the margins a venue (or its simulator) states for them, the unknown figures
of a rule-set are fitted so that ours agree, and what the figures do not pin down is named.

Method: bounded least squares over the relative errors, from several seeded starts, because a
margin is piecewise in its parameters. At the solution the singular values of the Jacobian say
which directions of parameter space no figure sees: a parameter whose own column vanishes is *not
seen*, one that takes part in a vanishing direction is seen *only in combination*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.reconcile import OwnCase
from crossmargin.book import Book, book_from_accounts
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.margin import (
    Evaluation,
    Ruleset,
    evaluate,
    ruleset_from_dict,
)
from crossmargin.market import Snapshot, snapshot_from_file
from crossmargin.stats import generator

Floats = NDArray[np.float64]
Verdict = Literal["identified", "only in combination", "not seen"]

#: A singular value this much smaller than the largest is a direction that no figure sees.
_BLIND = 1e-7
#: Share of a blind direction above which a parameter takes part in it.
_PART = 1e-3
_STEP = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A parameter to fit.

    Attributes
    ----------
    path : str
        Dotted path, as for ``--set``.
    low, high : float
        Bounds.
    """

    path: str
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse bounds that leave no room."""
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise InputError(
                f"the bounds of {self.path!r} are {self.low:g} to {self.high:g}; a range is needed",
                code="INP-004",
                field=self.path,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """One fitted parameter.

    Attributes
    ----------
    path : str
        Dotted path.
    value : float
        Best value; where `verdict` is not ``identified`` one of many.
    verdict : {"identified", "only in combination", "not seen"}
        What the figures say about it.
    sensitivity : float
        Largest change of a figure, US dollars, for a change of 1 % of the parameter's range.
    with_ : tuple of str
        Parameters it can be traded against without any figure changing.
    at_bound : bool
        Whether it ended at a bound: the range may be too narrow.
    """

    path: str
    value: float
    verdict: Verdict
    sensitivity: float
    with_: tuple[str, ...] = ()
    at_bound: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """Outcome of a fit.

    Attributes
    ----------
    parameters : tuple of Inferred
        In the order asked for.
    worst_relative_error : float
        Of all figures at the solution, ``|ours − theirs| / max(|theirs|, 1)``.
    figures, cases : int
        How many figures of how many cases were fitted.
    ruleset : Ruleset
        The rule-set with the fitted values supplied.
    """

    parameters: tuple[Inferred, ...]
    worst_relative_error: float
    figures: int
    cases: int
    ruleset: Ruleset

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "cases": self.cases,
            "figures": self.figures,
            "worst_relative_error": self.worst_relative_error,
            "parameters": [
                {
                    "path": p.path,
                    "value": p.value,
                    "verdict": p.verdict,
                    "usd_per_1_percent_of_range": p.sensitivity,
                    "traded_against": list(p.with_),
                    "at_bound": p.at_bound,
                }
                for p in self.parameters
            ],
        }


def evaluation_figures(done: Evaluation) -> dict[str, float]:
    """Name the figures of an evaluation that cost nothing more: margins, equity, components.

    A subset of :func:`crossmargin.analytics.reconcile.statement_figures`, US dollars.
    """
    frame = done.frame
    usd = frame.pot_usd
    out = {
        "im": done.im_usd,
        "mm": done.mm_usd,
        "equity": float(done.have.mm @ usd),
        "equity_im": float(done.have.im @ usd),
    }
    out["available"] = out["equity_im"] - out["im"]
    by_group = usd[frame.arrangement.group_pot]
    for name, part in done.need.parts.items():
        out[f"components.{name}.im"] = float(part.im @ by_group)
        out[f"components.{name}.mm"] = float(part.mm @ by_group)
    for name, (im, mm) in done.need.pool_parts.items():
        out[f"components.{name}.im"], out[f"components.{name}.mm"] = (
            float(im @ usd),
            float(mm @ usd),
        )
    return out


def infer(
    ruleset: Ruleset,
    unknown: Sequence[Unknown],
    cases: Sequence[OwnCase],
    *,
    starts: int = 8,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Inference:
    """Fit unknown parameters of a rule-set to figures of a venue.

    Parameters
    ----------
    ruleset : Ruleset
        With every other figure in place.
    unknown : sequence of Unknown
        What to fit.
    cases : sequence of OwnCase
        Portfolios, markets and expected figures (``im``, ``mm``, ``equity``, ``equity_im``,
        ``available``, ``components.NAME.im|mm``). Their own rule-set and parameters are not read.
    starts : int
        Starts of the search; the first is the middle of the ranges, the others are drawn.
    seed : int
        Of the draws: the same seed gives the same result.
    progress : callable, optional
        Called with (starts done, starts).

    Raises
    ------
    InputError
        When nothing is asked for, a figure is not one of these, or no start can be computed.
    """
    from scipy.optimize import least_squares

    if not unknown or not cases:
        raise InputError("nothing to fit: give unknown parameters and cases", code="INP-009")
    target = _Target(ruleset, unknown, cases)
    rng = generator(seed)
    best: Any = None
    why: CrossmarginError | None = None
    for number in range(starts):
        x0 = np.full(len(unknown), 0.5) if number == 0 else rng.uniform(0.02, 0.98, len(unknown))
        try:
            found = least_squares(
                target.errors,
                x0,
                bounds=(0.0, 1.0),
                method="dogbox",
                xtol=1e-15,
                ftol=1e-15,
                gtol=1e-15,
            )
        except CrossmarginError as error:
            why = error
            continue
        if best is None or found.cost < best.cost:
            best = found
        if progress is not None:
            progress(number + 1, starts)
        if float(np.abs(best.fun).max(initial=0.0)) < 1e-12:
            break
    if best is None:
        assert why is not None
        raise why
    return target.outcome(best.x, float(np.abs(best.fun).max(initial=0.0)))


class _Target:
    """Errors of all figures as a function of the unknowns, each scaled to 0 to 1."""

    def __init__(
        self, ruleset: Ruleset, unknown: Sequence[Unknown], cases: Sequence[OwnCase]
    ) -> None:
        self.raw = ruleset.as_dict()
        self.unknown = unknown
        self.low = np.array([u.low for u in unknown])
        self.high = np.array([u.high for u in unknown])
        self.cases: list[tuple[Book, Snapshot, dict[str, float]]] = []
        for case in cases:
            theirs = {name: float(value) for name, value in case.expected.items()}
            book = book_from_accounts([case.account])
            self.cases.append((book, snapshot_from_file(case.market), theirs))
        self.scale = np.array([max(abs(v), 1.0) for _, _, t in self.cases for v in t.values()])
        if not self.scale.size:
            raise InputError("the cases state no figures", code="INP-009", field="expected")

    def rules(self, x: Floats) -> Ruleset:
        values = self.low + np.clip(x, 0.0, 1.0) * (self.high - self.low)
        overrides = {u.path: float(v) for u, v in zip(self.unknown, values)}
        return ruleset_from_dict(self.raw, overrides=overrides, what="the rule-set to fit")

    def differences(self, x: Floats) -> Floats:
        """Return ours less theirs, US dollars."""
        rules = self.rules(x)
        out = []
        for book, market, theirs in self.cases:
            ours = evaluation_figures(evaluate(book, market, rules))
            for name, value in theirs.items():
                if name not in ours:
                    raise InputError(
                        f"{name!r} is no figure that can be fitted",
                        code="INP-003",
                        account=book.account_ids[0],
                        field=f"expected.{name}",
                        hint=f"known are {', '.join(ours)}",
                    )
                out.append(ours[name] - value)
        return np.array(out)

    def errors(self, x: Floats) -> Floats:
        """Return relative errors."""
        return np.asarray(self.differences(x) / self.scale, dtype=np.float64)

    def jacobian(self, x: Floats) -> Floats:
        """Return the change of each figure by each unknown: the larger of both one-sided steps."""
        here = self.differences(x)
        columns = []
        for k in range(x.size):
            steps = []
            for sign in (1.0, -1.0):
                moved = x.copy()
                moved[k] = np.clip(moved[k] + sign * _STEP, 0.0, 1.0)
                if moved[k] != x[k]:
                    steps.append((self.differences(moved) - here) / (moved[k] - x[k]))
            columns.append(max(steps, key=lambda s: float(np.abs(s).max(initial=0.0))))
        return np.stack(columns, axis=1)

    def outcome(self, x: Floats, worst: float) -> Inference:
        """Say which parameters the figures pin down."""
        slope = self.jacobian(x)
        reach = np.abs(slope).max(axis=0)
        seen = reach > _BLIND * max(float(reach.max(initial=0.0)), 1e-300)
        partners = _traded(slope, seen)
        values = self.low + x * (self.high - self.low)
        parameters = []
        for k, u in enumerate(self.unknown):
            verdict: Verdict = "identified"
            if not seen[k]:
                verdict = "not seen"
            elif partners[k]:
                verdict = "only in combination"
            parameters.append(
                Inferred(
                    path=u.path,
                    value=float(values[k]),
                    verdict=verdict,
                    sensitivity=float(reach[k]) * 0.01,
                    with_=tuple(self.unknown[j].path for j in partners[k]),
                    at_bound=bool(seen[k] and (x[k] < 1e-9 or x[k] > 1.0 - 1e-9)),
                )
            )
        return Inference(
            parameters=tuple(parameters),
            worst_relative_error=worst,
            figures=self.scale.size,
            cases=len(self.cases),
            ruleset=self.rules(x),
        )


def _traded(slope: Floats, seen: NDArray[np.bool_]) -> list[list[int]]:
    """Find, for each parameter, those it can be traded against without any figure moving."""
    partners: list[list[int]] = [[] for _ in range(slope.shape[1])]
    columns = np.flatnonzero(seen)
    if columns.size < 2:
        return partners
    # Columns of one length each: a small parameter is not a blind one.
    unit = slope[:, columns] / np.linalg.norm(slope[:, columns], axis=0)
    _, sizes, directions = np.linalg.svd(unit, full_matrices=True)
    sizes = np.concatenate([sizes, np.zeros(columns.size - sizes.size)])
    for size, direction in zip(sizes, directions):
        if size <= 1e-5 * sizes[0]:
            part = columns[np.abs(direction) > _PART]
            for k in part:
                partners[k] = sorted({*partners[k], *(int(j) for j in part if j != k)})
    return partners
