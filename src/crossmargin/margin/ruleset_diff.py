"""What differs between two rule-sets, parameter by parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from crossmargin.margin.ruleset import Ruleset

#: A parameter: a number, a text, a flag, nothing, or a short list of them.
Value = bool | int | float | str | list[Any] | None

#: What names a row of a list of tables, the first that is there.
_NAMES = ("name", "state")

#: What a file says of its tests: no part of the rules, and not in their hash.
_LEFT_OUT = ("evidence",)

#: Parts, and fields of any part, that say where figures come from and are no figures themselves.
_TEXTS = ("format", "id", "venue", "title", "effective_from", "effective_to", "extends")
_TEXT_PARTS = ("sources", "limits")
_TEXT_FIELDS = ("note", "source", "confidence")


class ParameterChange(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter that differs.

    Attributes
    ----------
    path : str
        Dotted, as ``--set`` takes it where it can be set.
    before, after : bool, int, float, str, list or None
        Its value; None also where it is not there.
    added, removed : bool
        Whether the first or the second rule-set does not have it at all.
    text : bool
        Whether it is a title, note, date or source: it enters no number by itself.
    source_before, source_after : str
        What the part it belongs to cites, with date and confidence; empty where it cites nothing.
    """

    path: str
    before: Value
    after: Value
    added: bool = False
    removed: bool = False
    text: bool = False
    source_before: str = ""
    source_after: str = ""


def flat_parameters(rules: Ruleset) -> dict[str, Value]:
    """Return every parameter by its dotted path.

    Components and states are addressed by name, other rows of tables by number. Lists of plain
    values are one parameter.

    Parameters
    ----------
    rules : Ruleset
        After extension and overrides.
    """
    out: dict[str, Value] = {}
    for key, value in rules.as_dict().items():
        if key not in _LEFT_OUT:
            _flatten(value, key, out)
    return out


def parameter_changes(before: Ruleset, after: Ruleset) -> list[ParameterChange]:
    """Return the parameters that differ, in the order of the file of `after`.

    Parameters
    ----------
    before, after : Ruleset
        Two rule-sets; usually two versions of one.
    """
    old, new = flat_parameters(before), flat_parameters(after)
    paths = [*new, *(path for path in old if path not in new)]
    return [
        ParameterChange(
            path=path,
            before=old.get(path),
            after=new.get(path),
            added=path not in old,
            removed=path not in new,
            text=_is_text(path),
            source_before=_source(before, path) if path in old else "",
            source_after=_source(after, path) if path in new else "",
        )
        for path in paths
        if path not in old or path not in new or not _same(old[path], new[path])
    ]


def _is_text(path: str) -> bool:
    parts = path.split(".")
    return path in _TEXTS or parts[0] in _TEXT_PARTS or parts[-1] in _TEXT_FIELDS


def _same(a: Value, b: Value) -> bool:
    """Whether two values are the same figure: 1 and 1.0 are, 1 and true are not."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _flatten(node: Any, path: str, out: dict[str, Value]) -> None:
    if isinstance(node, Mapping):
        if not node:
            return
        for key, value in node.items():
            _flatten(value, f"{path}.{key}", out)
    elif isinstance(node, list | tuple):
        if any(isinstance(row, Mapping | list | tuple) for row in node):
            for place, row in enumerate(node):
                _flatten(row, f"{path}.{_name(row, place)}", out)
        else:
            out[path] = list(node)
    else:
        out[path] = node


def _name(row: Any, place: int) -> str:
    if isinstance(row, Mapping):
        for key in _NAMES:
            if isinstance(row.get(key), str):
                return str(row[key])
    return str(place)


def _source(rules: Ruleset, path: str) -> str:
    """Return what the part of a path cites: key, date, confidence."""
    head, _, rest = path.partition(".")
    part: Any = None
    if head == "components":
        name = rest.partition(".")[0]
        part = next((c for c in rules.data.components if c.name == name), None)
    elif head == "states":
        name = rest.partition(".")[0]
        part = next((b for b in rules.data.states if b.state == name), None)
    elif head == "scenarios":
        part = rules.scan
    elif head in ("collateral", "orders", "offset"):
        part = getattr(rules.data, head)
    key = getattr(part, "source", "")
    if not key:
        return ""
    source = rules.data.sources.get(key)
    date = "" if source is None else f" {source.date}"
    return f"{key}{date} ({getattr(part, 'confidence', 'house')})"
