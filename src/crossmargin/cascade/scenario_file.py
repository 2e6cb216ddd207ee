"""Scenarios of cascades as data: who is there, what happens, what the venue's rules are.

A scenario is a TOML file. Every figure has a basis: a source that the file lists, and how sure it
is. A file with a figure of which nobody says where it comes from is refused, so that a calibrated
scenario cannot pass for a measured one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from crossmargin.cascade.figures import convert, parse_toml, unknown, wrong_rule
from crossmargin.cascade.scenario_types import Basis, Scenario
from crossmargin.codec import read_bytes
from crossmargin.errors import CascadeError
from crossmargin.units import parse_time

#: Sections whose leaves are figures, and so need a basis.
_FIGURES = (
    "clock", "assets", "coins", "population", "noise", "depth", "impact", "marks", "funding",
    "behaviour", "procyclical", "rules",
)  # fmt: skip
#: Leaves that name or describe, and are no figures.
_WORDS = ("name", "asset", "note", "title")


def scenario_from_toml(text: str, what: str) -> Scenario:
    """Read and check a scenario.

    Raises
    ------
    CascadeError
        ``CAS-002`` for an unknown key, a figure out of range, a source that is not listed or a
        figure without a basis; ``CAS-003`` for a name that is none.
    """
    return scenario_from_data(parse_toml(text, what), what)


def scenario_from_data(raw: Mapping[str, Any], what: str) -> Scenario:
    """Check plain data and make a scenario of it; see :func:`scenario_from_toml`."""
    made = convert(raw, Scenario, what)
    for basis in made.basis:
        if basis.source not in made.sources:
            raise wrong_rule(
                f"{what}: a basis names the source {basis.source!r}, which is not listed", "basis"
            )
    for place in figure_places(raw):
        if basis_of(made, place) is None:
            raise wrong_rule(f"{what}: nobody says where {place} comes from", place)
    for basis in made.basis:
        for pattern in basis.figures:
            if not any(fnmatchcase(place, pattern) for place in figure_places(raw)):
                raise wrong_rule(
                    f"{what}: the basis of {pattern!r} is of no figure in the file", "basis"
                )
    _check_names(made, what)
    return made


def _check_names(made: Scenario, what: str) -> None:
    names = made.names
    if len(set(names)) != len(names):
        raise wrong_rule(f"{what}: an asset appears twice", "assets")
    asked = [("lead", made.lead)] + [("collateral", b.asset) for b in made.population.collateral]
    asked += [("shocks", name) for name in made.shocks]
    for field, name in asked:
        if name is not None and name not in names:
            error = unknown("asset", name, names)
            error.field = field
            raise error
    others = ((c, c.redeems) for c in (*made.assets, *made.coins))
    for coin, base in others:
        if base is not None and base not in ("USD", *names):
            raise unknown(f"asset that {coin.name} redeems for", base, ["USD", *names])
    for name, move in made.shocks.items():
        if not move > -1:
            raise wrong_rule(f"{what}: a price cannot move by {move:g}", f"shocks.{name}")
    if made.population.walls == "groups" and len(made.population.groups) != len(made.assets):
        raise wrong_rule(
            f"{what}: {len(made.population.groups)} groups for {len(made.assets)} contracts",
            "population.groups",
        )
    parse_time(made.clock.start, field="clock.start")


def figure_places(raw: Mapping[str, Any]) -> Iterator[str]:
    """Yield the place of every figure of a scenario's data: ``assets.BTC.depth_usd``."""
    for section in _FIGURES:
        yield from _leaves(raw.get(section), section)


def _leaves(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in _WORDS:
                yield from _leaves(inner, f"{place}.{key}")
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for row, inner in enumerate(value):
            yield from _leaves(inner, f"{place}.{inner.get('name', inner.get('asset', row))}")
    elif value is not None and value != []:
        yield place


def basis_of(scenario: Scenario, place: str) -> Basis | None:
    """Return the first basis that covers a place, or None."""
    for basis in scenario.basis:
        if any(fnmatchcase(place, pattern) for pattern in basis.figures):
            return basis
    return None


def with_changes(scenario: Scenario, changes: Mapping[str, Any]) -> Scenario:
    """Return a scenario with some figures changed; what is changed is the user's.

    Parameters
    ----------
    scenario : Scenario
        Left as it is.
    changes : mapping of str to value
        By place: ``population.median_leverage``, ``rules.fund_share``,
        ``assets.BTC.depth_usd``; ``*`` for every row of a list (``assets.*.mm_rate``).

    Raises
    ------
    CascadeError
        ``CAS-003`` for a place that a scenario does not have, ``CAS-002`` for a value that the
        place does not take.
    """
    if not changes:
        return scenario
    raw = msgspec.to_builtins(scenario)
    for place, value in changes.items():
        section, _, rest = place.partition(".")
        if section not in _FIGURES or not rest:
            raise unknown("place in a scenario", place, [f"{s}.…" for s in _FIGURES])
        _put(raw[section], rest.split("."), value, place)
    raw["sources"].setdefault("user", {"title": "given by the user", "date": "as run"})
    user = {"figures": list(changes), "source": "user", "confidence": "user"}
    raw["basis"] = [user, *raw["basis"], {**user, "figures": ["*"]}]
    made = convert(raw, Scenario, scenario.id)
    _check_names(made, scenario.id)
    return made


def _put(value: Any, path: list[str], new: Any, place: str) -> None:
    key, *rest = path
    if isinstance(value, list):
        rows = [v for v in value if key in ("*", v.get("name"), v.get("asset"))]
        if not rows or not rest:
            raise unknown("place in a scenario", place, [v.get("name", "?") for v in value])
        for row in rows:
            _put(row, rest, copy.copy(new), place)
    elif not isinstance(value, dict) or key not in value:
        known = value if isinstance(value, dict) else ()
        raise unknown("place in a scenario", place, known)
    elif rest:
        _put(value[key], rest, new, place)
    else:
        value[key] = new


@lru_cache(maxsize=1)
def _shipped_texts() -> dict[str, str]:
    folder = files("crossmargin.cascade") / "scenarios"
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".toml")
    }


def scenario_ids() -> list[str]:
    """Return the ids of the shipped scenarios, sorted."""
    return sorted(_shipped_texts())


def load_scenario(name: str) -> Scenario:
    """Return a shipped scenario by its id, or one from a TOML file.

    Raises
    ------
    CascadeError
        ``CAS-003`` where there is none of that name; as :func:`scenario_from_toml`.
    InputError
        ``INP-005`` for a file that cannot be read.
    """
    texts = _shipped_texts()
    if name in texts:
        return scenario_from_toml(texts[name], f"{name}.toml")
    if name.endswith(".toml") or Path(name).is_file():
        try:
            text = read_bytes(name, what="scenario").decode("utf-8")
        except UnicodeDecodeError:
            raise CascadeError(
                f"scenario {name!r} is not text in UTF-8", code="CAS-002", field="scenario"
            ) from None
        return scenario_from_toml(text, name)
    raise unknown("scenario", name, texts)
