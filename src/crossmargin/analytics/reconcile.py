"""Reconciling: theirs, ours and the difference, figure by figure.

A case is a portfolio, a market, parameters and the figures somebody else computed. Two schemas
are read: ``derive-golden/1``, and ``crossmargin-case/1``, in which any venue's statement can be
written. The error of a figure is ``|ours − theirs| / max(|theirs|, 1)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from crossmargin.book import AccountFile
from crossmargin.codec import decode_json, read_bytes
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.margin import Statement, load_ruleset, make_statement
from crossmargin.market import MarketFile, snapshot_from_file
from crossmargin.units import parse_time
from crossmargin.venues.derive_cases import prepare_case
from crossmargin.venues.derive_figures import case_figures, flatten, record_figures
from crossmargin.venues.derive_schema import DERIVE_SCHEMA, CaseFile

CASE_FORMAT = "crossmargin-case/1"
#: Default tolerance of a figure's error.
TOLERANCE = 1e-10


class OwnCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A case of our own schema.

    Attributes
    ----------
    ruleset : str
        Id in the catalogue.
    parameters : dict
        Dotted path to value, laid over the rule-set.
    expected : dict of str to number
        By the name of :func:`statement_figures`.
    whole : bool
        Whether the figures are whole units, truncated toward zero.
    on : str or None
        Date that chooses among dated versions of the rule-set.
    at : str or None
        Moment of valuation; default the market's.
    tolerance : float or None
        For this case, where the venue rounds what it shows.
    """

    format: Literal["crossmargin-case/1"]
    name: str
    ruleset: str
    account: AccountFile
    market: MarketFile
    expected: dict[str, float | str]
    parameters: dict[str, Any] = {}
    source: str = ""
    whole: bool = False
    on: str | None = None
    at: str | None = None
    tolerance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure.

    Attributes
    ----------
    name : str
        As in the record.
    theirs, ours : float
        Their figure and ours; ours is NaN where the engine has no such figure.
    error : float
        ``|ours − theirs| / max(|theirs|, 1)``; for whole figures 0 or infinite.
    """

    name: str
    theirs: float
    ours: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case.

    Attributes
    ----------
    name, model : str
        Of the case; model is the rule-set or the venue's model.
    lines : tuple of Line
        Figures compared.
    uncompared : tuple of str
        Figures of the record that the engine does not have under that name.
    refused : str or None
        Why nothing was computed.
    agreed_refusal : bool
        Whether the venue refuses the case too.
    basis : {"oracle_run", "expected"}
        Which of their figures were taken.
    tolerance : float
        What an error may be.
    """

    name: str
    model: str
    lines: tuple[Line, ...] = ()
    uncompared: tuple[str, ...] = ()
    refused: str | None = None
    agreed_refusal: bool = False
    basis: str = "expected"
    tolerance: float = TOLERANCE

    @property
    def worst(self) -> float:
        """Largest error among the figures."""
        return max((line.error for line in self.lines), default=0.0)

    @property
    def passed(self) -> bool:
        """Whether every figure lies within the tolerance."""
        return self.refused is None and self.worst <= self.tolerance and bool(self.lines)

    @property
    def failed(self) -> bool:
        """Whether a figure is off, or what the venue computed was refused here."""
        if self.refused is not None:
            return not self.agreed_refusal
        return not self.passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """All cases, in the order read."""

    cases: tuple[CaseResult, ...]

    @property
    def worst(self) -> float:
        """Largest error of all figures that were compared."""
        return max((case.worst for case in self.cases), default=0.0)

    def as_dict(self) -> dict[str, Any]:
        """Return the summary that ``--json`` prints."""
        return {
            "cases": len(self.cases),
            "passed": sum(case.passed for case in self.cases),
            "refused": [
                {"case": case.name, "reason": case.refused}
                for case in self.cases
                if case.refused is not None
            ],
            "failed": [
                {
                    "case": case.name,
                    "worst_relative_error": _json_number(case.worst),
                    "figures": [
                        {
                            "figure": line.name,
                            "theirs": _json_number(line.theirs),
                            "ours": _json_number(line.ours),
                            "relative_error": _json_number(line.error),
                        }
                        for line in case.lines
                        if line.error > case.tolerance
                    ],
                }
                for case in self.cases
                if case.failed
            ],
            "worst_relative_error": _json_number(self.worst),
            "figures": sum(len(case.lines) for case in self.cases),
        }


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def reconcile(paths: Iterable[str | Path], *, tolerance: float | None = None) -> Reconciliation:
    """Compute the cases of some files and compare them with their figures.

    Parameters
    ----------
    paths : iterable of str or Path
        Case files; a file may hold many cases.
    tolerance : float, optional
        What an error may be; default 1e-10, or a case's own.

    Raises
    ------
    InputError
        When a file cannot be read. A case that cannot be computed is a result with its reason.
    """
    return reconcile_cases(
        [case for path in paths for case in read_cases(path)], tolerance=tolerance
    )


def reconcile_cases(
    cases: Iterable[CaseFile | OwnCase], *, tolerance: float | None = None
) -> Reconciliation:
    """Compute decoded cases; see :func:`reconcile`."""
    found = [
        _own(case, tolerance)
        if isinstance(case, OwnCase)
        else _derive(case, TOLERANCE if tolerance is None else tolerance)
        for case in cases
    ]
    return Reconciliation(cases=tuple(found))


def read_cases(path: str | Path) -> list[CaseFile | OwnCase]:
    """Read the cases of a file.

    Raises
    ------
    InputError
        ``INP-003`` for a file of neither schema, and as :func:`crossmargin.codec.decode_json`.
    """
    what = f"case file {str(path)!r}"
    raw = read_bytes(path, what="case file")
    plain: Any = decode_json(raw, Any, what=what)
    return cases_from(plain, what)


def cases_from(plain: Any, what: str) -> list[CaseFile | OwnCase]:
    """Read the cases of decoded JSON; see :func:`read_cases`."""
    rows = plain
    if isinstance(plain, dict):
        schema = plain.get("schema") or plain.get("format")
        if schema not in (DERIVE_SCHEMA, CASE_FORMAT) and "model" not in plain:
            raise InputError(
                f"{what} is of the schema {schema!r}",
                code="INP-003",
                field="schema",
                hint=f"cases are read in {DERIVE_SCHEMA} and {CASE_FORMAT}",
            )
        rows = plain.get("cases", [plain])
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{what} holds no cases", code="INP-003", field="cases")
    return [_case(row, place, what) for place, row in enumerate(rows)]


def _case(row: Any, place: int, what: str) -> CaseFile | OwnCase:
    kind: Any = CaseFile
    if isinstance(row, dict) and row.get("format") == CASE_FORMAT:
        kind = OwnCase
    name = row.get("name", place) if isinstance(row, dict) else place
    try:
        found: CaseFile | OwnCase = msgspec.convert(row, kind, strict=True)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `")
        raise InputError(
            f"case {name!r} of {what}: {message[0].lower()}{message[1:]}",
            code="INP-003",
            field=where.rstrip("`").removeprefix("$").lstrip(".") or None,
        ) from None
    return found


# ---- their figures ----------------------------------------------------------------------


def _compare(name: str, theirs: float, ours: float, *, whole: bool) -> Line:
    """Compare one figure; whole figures are truncated toward zero."""
    if whole:
        error = 0.0 if abs(ours - theirs) < 1.0 else math.inf
    else:
        error = abs(ours - theirs) / max(abs(theirs), 1.0)
    if math.isnan(error):
        error = math.inf
    return Line(name=name, theirs=theirs, ours=ours, error=error)


# ---- Derive -----------------------------------------------------------------------------


def _derive(case: CaseFile, tolerance: float) -> CaseResult:
    run = case.oracle_run or {}
    reverted = bool(run.get("reverted"))
    basis = "oracle_run" if run.get("im") is not None else "expected"
    record = run if basis == "oracle_run" else (case.expected or {})
    theirs = record_figures(record)
    if basis == "expected":
        # Their own model's intermediate names are not the contracts'.
        theirs = {k: v for k, v in theirs.items() if not k.startswith("components.")}
    try:
        ours = case_figures(prepare_case(case), wanted=frozenset(theirs))
    except CrossmarginError as error:
        return CaseResult(
            name=case.name,
            model=case.model,
            refused=str(error),
            agreed_refusal=reverted or not theirs,
            basis=basis,
            tolerance=tolerance,
        )
    whole = basis == "expected" and _whole(case.expected or {})
    ours["worst_scenario"] = _same_worst(theirs, ours, tolerance)
    lines = tuple(
        _compare(name, value, ours[name], whole=whole)
        for name, value in theirs.items()
        if not math.isnan(ours.get(name, math.nan))
    )
    return CaseResult(
        name=case.name,
        model=case.model,
        lines=lines,
        uncompared=tuple(n for n in theirs if math.isnan(ours.get(n, math.nan))),
        basis=basis,
        tolerance=tolerance,
    )


def _same_worst(theirs: dict[str, float], ours: dict[str, float], tolerance: float) -> float:
    """Return their worst scenario where ours is as bad in it: ties have no order in floating point.

    An index equal to the number of scenarios is the basis contingency.
    """
    named, found = theirs.get("worst_scenario"), ours.get("worst_scenario", math.nan)
    if named is None or math.isnan(found):
        return found
    last = ours.get("components.basis_contingency", 0.0)

    def loss(place: float) -> float:
        return ours.get(f"scenarios[{int(place)}].pnl", last)

    gap = abs(loss(named) - loss(found))
    return named if gap <= tolerance * max(1.0, abs(loss(found))) else found


def _whole(expected: dict[str, Any]) -> bool:
    """Whether a record states whole dollars: no figure of it has a fraction."""
    figures = [expected.get(name) for name in ("im", "mm", "mtm")]
    known = [str(figure) for figure in figures if figure is not None]
    return bool(known) and all("." not in text and "e" not in text.lower() for text in known)


# ---- our own schema ---------------------------------------------------------------------


def _own(case: OwnCase, tolerance: float | None) -> CaseResult:
    allowed = next(t for t in (tolerance, case.tolerance, TOLERANCE) if t is not None)
    try:
        rules = load_ruleset(case.ruleset, overrides=case.parameters, on=case.on)
        moment = None if case.at is None else parse_time(case.at, field="at")
        statement = make_statement(
            case.account, snapshot_from_file(case.market), rules, at_ns=moment
        )
        ours = statement_figures(statement)
        theirs = _expected(case, ours)
    except CrossmarginError as error:
        return CaseResult(name=case.name, model=case.ruleset, refused=str(error), tolerance=allowed)
    return CaseResult(
        name=case.name,
        model=case.ruleset,
        lines=tuple(
            _compare(name, value, ours[name], whole=case.whole) for name, value in theirs.items()
        ),
        tolerance=allowed,
    )


def _expected(case: OwnCase, ours: dict[str, float]) -> dict[str, float]:
    theirs = {}
    for name, figure in case.expected.items():
        try:
            theirs[name] = float(figure)
        except ValueError:
            theirs[name] = math.nan
        if name not in ours or not math.isfinite(theirs[name]):
            why = "is no figure of a statement" if name not in ours else "is not a number"
            raise InputError(
                f"{name!r} {why}",
                code="INP-003",
                account=case.name,
                field=f"expected.{name}",
                hint=f"figures of this statement are {', '.join(list(ours)[:12])}, ...",
            )
    return theirs


def statement_figures(statement: Statement) -> dict[str, float]:
    """Name every figure of a statement that a venue may report too.

    Returns
    -------
    dict of str to float
        US dollars. ``im``, ``mm``, ``equity``, ``available``, ``health`` and the other totals by
        their field's name; ``components.NAME.im`` summed over groups and
        ``components.NAME.GROUP.im``; ``groups.GROUP.im``, ``groups.GROUP.scenarios[i]``;
        ``pots.NAME.im`` in the pot's own numeraire; ``positions.INSTRUMENT.value_usd`` and the
        like; ``liquidation.UNDERLYING.down`` and ``.up``.
    """
    plain: dict[str, Any] = msgspec.to_builtins(statement)
    out = flatten(plain["totals"])
    for line in plain["components"]:
        for level in ("im", "mm"):
            name = f"components.{line['name']}"
            out[f"{name}.{level}"] = out.get(f"{name}.{level}", 0.0) + line[f"{level}_usd"]
            group = f"{name}.{line['group']}.{level}"
            out[group] = out.get(group, 0.0) + line[f"{level}_usd"]
    for line in plain["groups"]:
        name = f"groups.{line['group']}"
        for level in ("im", "mm"):
            key = f"{name}.{level}"
            out[key] = out.get(key, 0.0) + line[f"{level}_usd"]
        for place, value in enumerate(line["pnl_usd"]):
            out[f"{name}.scenarios[{place}]"] = value
    for line in plain["pots"]:
        out.update(flatten({k: line[k] for k in line if k != "name"}, f"pots.{line['name']}"))
    for table, key in (("positions", "instrument"), ("balances", "asset")):
        for line in plain[table]:
            out.update(flatten(line, f"{table}.{line[key]}"))
    for line in plain["liquidation"]:
        for side in ("down", "up"):
            price = line[side]["price_usd"]
            if price is not None:
                out[f"liquidation.{line['underlying']}.{side}"] = price
    return out
