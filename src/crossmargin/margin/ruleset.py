"""Rule-sets: reading, checking, extending and overriding them.

A rule-set is data. It is refused when a key is unknown or a figure out of range; it says of
itself which components have no source; and its hash covers everything that enters a number.
"""

from __future__ import annotations

import copy
import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UnsetType

from crossmargin.errors import RulesetError
from crossmargin.margin.components import (
    MEANINGS,
    CorrelationContingency,
    Debt,
    PotComponent,
    ProductOffset,
    RiskCap,
    RulesetData,
    Scan,
    ScanPart,
    SizeComponent,
    SpreadCredit,
    TailLeg,
)
from crossmargin.margin.expression import Expression
from crossmargin.margin.haircut_tables import expand_collateral


@dataclass(frozen=True)
class Ruleset:
    """A validated rule-set.

    Parameters
    ----------
    data : RulesetData
        The content after extension and overrides.
    overrides : tuple of str
        Paths of parameters that the user supplied.
    """

    data: RulesetData
    overrides: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Identifier, for example ``deribit-pm``."""
        return self.data.id

    @cached_property
    def expressions(self) -> dict[str, Expression]:
        """Compiled steps in order, then ``im`` and ``mm``."""
        combine = self.data.combine
        return {
            **{name: Expression(text) for name, text in combine.steps.items()},
            "im": Expression(combine.im),
            "mm": Expression(combine.mm),
        }

    @cached_property
    def scan(self) -> Scan | None:
        """The scenario component, when there is one."""
        found = [c for c in self.data.components if isinstance(c, Scan)]
        return found[0] if found else None

    @property
    def by_owner(self) -> bool:
        """Whether an account's requirement depends on its owner's other accounts."""
        return any(
            isinstance(c, SizeComponent) and c.aggregate == "owner" for c in self.data.components
        )

    @cached_property
    def liquidation_line(self) -> tuple[float, float]:
        """Factor k and US dollars c: a pot may be liquidated where ``equity < k·MM + c``.

        (1, 0) unless the rule-set's states put the line elsewhere: where the mildest state
        begins that means liquidation.
        """
        lines = [band.line for band in self.data.states if band.meaning == "liquidation"]
        return lines[-1] if lines else (1.0, 0.0)

    @cached_property
    def gaps(self) -> list[str]:
        """Components that have no source: left out, refused when needed, or user-supplied."""
        found = []
        for c in self.data.components:
            if c.unknown:
                found.append(f"{c.name}: {c.note or 'not published'}")
        if self.data.scenarios is not None:
            table = self.data.scenarios.underlyings
            hidden = [name for name, shock in table.items() if not shock.vols_known]
            if hidden:
                whose = "" if len(hidden) == len(table) else f" of {', '.join(hidden)}"
                found.append(f"scenarios: volatility shocks{whose} not published")
        if self.data.orders.method == "refuse":
            found.append(f"open_orders: {self.data.orders.note or 'not published'}")
        elif self.data.orders.confidence in ("house", "user"):
            found.append(f"open_orders: {self.data.orders.note or 'house formula'}")
        if self.data.collateral.confidence == "unconfirmed":
            found.append(f"collateral: {self.data.collateral.note or 'haircuts incomplete'}")
        found += [
            f"collateral of {name}: the venue's total is not supplied, its weight is not scaled"
            for name, rule in self.data.collateral.assets.items()
            if rule.unscaled
        ]
        return found

    @property
    def complete(self) -> bool:
        """Whether every component has a source."""
        return not self.gaps

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over everything that enters a number."""
        figures = msgspec.structs.replace(self.data, evidence=[])
        return hashlib.sha256(msgspec.json.encode(figures, order="sorted")).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return the content as plain data; :func:`ruleset_from_dict` reads it back."""
        data: dict[str, Any] = msgspec.to_builtins(self.data)
        return data


def ruleset_from_dict(
    raw: Mapping[str, Any],
    *,
    overrides: Mapping[str, Any] | None = None,
    what: str = "rule-set",
    _open: tuple[str, ...] = (),
) -> Ruleset:
    """Check a rule-set given as plain data, and apply overrides.

    Parameters
    ----------
    raw : mapping
        As in a rule-set file; ``extends`` names a base whose tables it refines.
    overrides : mapping of str to value, optional
        Dotted paths to user-supplied values, for example
        ``{"components.delta_shock.growth": "linear"}``; components are addressed by name.
    what : str
        Name used in errors.

    Raises
    ------
    RulesetError
        ``RUL-001`` malformed, ``RUL-002`` unknown base or path, ``RUL-004`` bad expression,
        ``RUL-005`` a name used twice or a source that is not listed, ``RUL-026`` a haircut
        table that is not there.
    """
    content = _extended(dict(raw), what, _open)
    for path, value in (overrides or {}).items():
        _assign(content, path, value, what)
    expand_collateral(content, what)
    try:
        data = msgspec.convert(content, RulesetData, strict=True)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        raise RulesetError(
            f"{what}: {message[0].lower()}{message[1:]}",
            code="RUL-001",
            field=place.rstrip("`").removeprefix("$").lstrip(".") or None,
            hint=(
                f"check what was supplied ({', '.join(sorted(overrides))}), then the rule-set"
                if overrides
                else "correct the rule-set file; unknown keys are refused on purpose"
            ),
        ) from None
    _check_finite(content, what, "")
    ruleset = Ruleset(data, tuple(sorted(overrides or ())))
    _check(ruleset, what)
    return ruleset


def _check_finite(node: Any, what: str, path: str) -> None:
    """Refuse infinities and NaN, which TOML can write and no rule means."""
    if isinstance(node, float) and not math.isfinite(node):
        raise RulesetError(
            f"{what}: {node} is not a finite number", code="RUL-001", field=path.rstrip(".")
        )
    items = node.items() if isinstance(node, Mapping) else ()
    if isinstance(node, list):
        items = ((str(place), item) for place, item in enumerate(node))  # type: ignore[assignment]
    for key, value in items:
        _check_finite(value, what, f"{path}{key}.")


def _extended(raw: dict[str, Any], what: str, open_: tuple[str, ...]) -> dict[str, Any]:
    base_id = raw.get("extends")
    if base_id is None:
        return copy.deepcopy(raw)
    if base_id in open_:
        raise RulesetError(f"{what} extends itself", code="RUL-002", field="extends")
    base = _extended(_shipped_dict(str(base_id)), str(base_id), (*open_, str(base_id)))
    # What the base was checked on says nothing about what refines it.
    base.pop("evidence", None)
    return _merged(base, raw)


def _merged(base: dict[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Refine `base` by `top`: tables merge, components merge by name, the rest is replaced."""
    result = copy.deepcopy(base)
    for key, value in top.items():
        known = result.get(key)
        named = isinstance(value, list) and all(isinstance(c, Mapping) for c in value)
        if key == "components" and isinstance(known, list) and named:
            by_name = {c["name"]: c for c in known}
            for component in value:
                name = str(component.get("name"))
                by_name[name] = _merged(by_name.get(name, {}), component)
            result[key] = list(by_name.values())
        elif isinstance(known, dict) and isinstance(value, Mapping):
            result[key] = _merged(known, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _assign(content: dict[str, Any], path: str, value: Any, what: str) -> None:
    node: Any = content
    parts = path.split(".")
    for depth, part in enumerate(parts[:-1]):
        if isinstance(node, list):
            found = [c for c in node if isinstance(c, dict) and c.get("name") == part]
            if not found and part.isascii() and part.isdigit() and int(part) < len(node):
                found = [node[int(part)]]
            nxt = found[0] if found else None
        else:
            optional = depth > 0 or part in ("groups", "offset")
            nxt = node.setdefault(part, {}) if optional else node.get(part)
        if not isinstance(nxt, dict | list):
            raise RulesetError(
                f"{what} has no parameter {path!r}",
                code="RUL-002",
                field=".".join(parts[: depth + 1]),
                hint="list the parameters with: crossmargin rulesets show ID --json",
            )
        node = nxt
    if not isinstance(node, dict):
        raise RulesetError(f"{what} has no parameter {path!r}", code="RUL-002", field=path)
    # A copy: a later path may reach into it, and the caller's value stays as it was.
    node[parts[-1]] = copy.deepcopy(value)


def _check(ruleset: Ruleset, what: str) -> None:
    data = ruleset.data
    names = [c.name for c in data.components]
    repeated = {n for n in names if names.count(n) > 1}
    if repeated:
        raise RulesetError(
            f"{what} has two components called {min(repeated)!r}",
            code="RUL-005",
            field="components",
        )
    cited = {c.source for c in data.components} | {data.collateral.source, data.orders.source}
    if data.offset.method != "none":
        cited.add(data.offset.source)
    cited |= {band.source for band in data.states}
    unlisted = sorted(cited - set(data.sources))
    if unlisted:
        raise RulesetError(
            f"{what} cites the source {unlisted[0]!r}, which it does not list",
            code="RUL-005",
            field="sources",
        )
    pool_level = {c.name for c in data.components if isinstance(c, PotComponent)}
    constants = set(data.combine.constants)
    taken = constants & (set(names) | set(data.combine.steps) | {"im", "mm"})
    if taken:
        raise RulesetError(
            f"{what} has a constant called {min(taken)!r}, which is taken",
            code="RUL-005",
            field=f"combine.constants.{min(taken)}",
        )
    known = set(names) - pool_level | constants
    if sum(isinstance(c, Scan) for c in data.components) > 1:
        raise RulesetError(f"{what} has more than one scan", code="RUL-005", field="components")
    for step, expression in ruleset.expressions.items():
        if step in names or (step in ("im", "mm") and step in data.combine.steps):
            raise RulesetError(
                f"{what} has a step called {step!r}, which is taken",
                code="RUL-005",
                field=f"combine.steps.{step}",
            )
        missing = sorted(set(expression.names) - known)
        if missing:
            raise RulesetError(
                f"{what} combines {missing[0]!r}, which is no component or earlier step",
                code="RUL-004",
                field=f"combine.{step}",
            )
        if step in data.combine.steps:
            known.add(step)
    used = {n for e in ruleset.expressions.values() for n in e.names}
    unused = sorted(set(names) - used)
    if set(unused) - pool_level:
        raise RulesetError(
            f"{what} has the component {min(set(unused) - pool_level)!r}, which is never combined",
            code="RUL-005",
            field="combine",
        )
    _check_scan_users(ruleset, what)
    _check_tail(data, what)
    _check_states(data, what)
    _check_profit(data, set(names) - pool_level, what)
    if ruleset.scan is not None and data.scenarios is None:
        raise RulesetError(f"{what} scans without scenarios", code="RUL-005", field="scenarios")


def _check_scan_users(ruleset: Ruleset, what: str) -> None:
    """Refuse components that read the scan or other components where those are not there."""
    data = ruleset.data
    readers = (CorrelationContingency, ScanPart, ProductOffset, SpreadCredit)
    for c in data.components if ruleset.scan is None else ():
        if isinstance(c, readers):
            raise RulesetError(
                f"{what} has the component {c.name!r}, which reads a scan, and no scan",
                code="RUL-005",
                field="components",
            )
    blocks = {block.name for block in data.scenarios.blocks} if data.scenarios else set()
    seen = {c.name for c in data.components if isinstance(c, Scan)}
    for c in data.components:
        missing = set(c.blocks) - blocks if isinstance(c, ScanPart) else set()
        if isinstance(c, RiskCap):
            missing = {*c.of, *c.less} - seen
        if missing:
            raise RulesetError(
                f"the component {c.name!r} of {what} names {min(missing)!r}, which is no "
                f"{'block' if isinstance(c, ScanPart) else 'component before it'}",
                code="RUL-005",
                field=f"components.{c.name}",
            )
        if not isinstance(c, PotComponent):
            seen.add(c.name)


def _check_tail(data: RulesetData, what: str) -> None:
    """Refuse legs of a tail without their section, twice, without a base, or not in dollars."""
    legs = [c.leg for c in data.components if isinstance(c, TailLeg)]
    wrong = ""
    if legs and isinstance(data.tail, UnsetType):
        wrong = "charges a tail and has no section tail"
    elif legs and "base" not in legs:
        wrong = "charges legs of a tail without its base"
    elif len(set(legs)) < len(legs):
        wrong = "charges a leg of the tail twice"
    elif legs and (data.numeraire != "USD" or data.pools.by != "account"):
        wrong = "measures a tail that is not of whole pots in US dollars"
    if wrong:
        raise RulesetError(f"{what} {wrong}", code="RUL-005", field="tail")


def _check_profit(data: RulesetData, known: set[str], what: str) -> None:
    """Refuse profit that is to count after a component which is not there, and mixed debts."""
    for market, rule in data.collateral.profit.items():
        if rule.after is not None and rule.after not in known:
            raise RulesetError(
                f"{what} counts profit after {rule.after!r}, which is no component",
                code="RUL-005",
                field=f"collateral.profit.{market}.after",
            )
    if data.collateral.per == "coin" and any(isinstance(c, Debt) for c in data.components):
        raise RulesetError(
            f"{what} nets debts within a coin and charges them as a requirement as well",
            code="RUL-005",
            field="collateral.per",
        )


def _check_states(data: RulesetData, what: str) -> None:
    """Refuse states that are named twice or not in order."""
    names = [band.state for band in data.states]
    if len(set(names)) != len(names):
        raise RulesetError(f"{what} has two states of one name", code="RUL-005", field="states")
    order = [MEANINGS.index(band.meaning) for band in data.states]
    if order != sorted(order, reverse=True):
        raise RulesetError(
            f"{what} lists its states out of order: the worst comes first",
            code="RUL-005",
            field="states",
        )


def ruleset_from_toml(
    text: str, *, overrides: Mapping[str, Any] | None = None, what: str = "rule-set"
) -> Ruleset:
    """Read a rule-set from TOML text; see :func:`ruleset_from_dict`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesetError(f"{what} is not TOML: {error}", code="RUL-001") from None
    return ruleset_from_dict(raw, overrides=overrides, what=what)


@lru_cache(maxsize=1)
def _shipped() -> dict[str, str]:
    folder = files("crossmargin.margin") / "rulesets"
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".toml")
    }


@lru_cache(maxsize=256)
def _parsed(text: str) -> dict[str, Any]:
    """Parse a shipped file once; whoever changes the result copies it first."""
    return tomllib.loads(text)


def _shipped_dict(ruleset_id: str, on: str | None = None) -> dict[str, Any]:
    """Return the shipped file of an id: of several dated versions the one in force `on`."""
    versions = []
    for text in _shipped().values():
        raw = _parsed(text)
        if raw.get("id") == ruleset_id:
            versions.append(raw)
    if not versions:
        known = ", ".join(sorted({_parsed(t)["id"] for t in _shipped().values()}))
        raise RulesetError(
            f"unknown rule-set {ruleset_id!r}", code="RUL-002", hint=f"known are {known}"
        )
    versions.sort(key=lambda raw: str(raw.get("effective_from", "")))
    if on is not None:
        past = [raw for raw in versions if str(raw.get("effective_from", "")) <= on]
        return past[-1] if past else versions[0]
    return versions[-1]


def ruleset_ids() -> list[str]:
    """Return the ids of the shipped rule-sets, sorted."""
    return sorted({_parsed(text)["id"] for text in _shipped().values()})


def load_ruleset(
    name: str, *, overrides: Mapping[str, Any] | None = None, on: str | None = None
) -> Ruleset:
    """Load a rule-set by id, or from a file.

    Parameters
    ----------
    name : str
        An id of the catalogue, or a path ending in ``.toml``.
    overrides : mapping, optional
        See :func:`ruleset_from_dict`.
    on : str, optional
        ISO date that chooses among dated versions; default the newest.

    Raises
    ------
    RulesetError
        ``RUL-002`` unknown id or unreadable file, and as :func:`ruleset_from_dict`.
    """
    if name.endswith(".toml"):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise RulesetError(
                f"cannot read rule-set {name!r}: {str(why).lower()}", code="RUL-002"
            ) from None
        return ruleset_from_toml(text, overrides=overrides, what=f"rule-set {name!r}")
    raw = _shipped_dict(name, on)
    return ruleset_from_dict(raw, overrides=overrides, what=f"rule-set {name!r}")
