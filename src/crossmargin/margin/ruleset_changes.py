"""Who changed which parameter of a rule-set file, who approved it, why, and until when.

Beside ``desk.toml`` stands ``desk.changes.jsonl``: one record a line, in order of time. Each
record carries the SHA-256 of the record before it, and of itself, so that a line that was
altered, removed or put in between is found; a last line that was removed is found because the
rule-set file is then not what the last record left. Whoever can write both files can write a new
history from its beginning: keep a copy of the last hash elsewhere if that matters.

Source: house. The four fields (author, approver, reason, expiry) are those of change control as
venues and clearing houses practise it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from crossmargin.codec import decode_json, read_bytes
from crossmargin.errors import RulesetError
from crossmargin.margin.ruleset import Ruleset
from crossmargin.margin.ruleset_diff import Value, flat_parameters, parameter_changes
from crossmargin.units import format_time, parse_time

CHANGE_FORMAT = "crossmargin-change/1"

#: What the first record has instead of the hash of the one before.
_FIRST = "0" * 64

#: Longest name or reason, in characters: a line of a log stays one.
_LONGEST = 2_000


class ChangedParameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One parameter of a change; a value that is not there is None and said to be so."""

    path: str
    before: Value
    after: Value
    added: bool = False
    removed: bool = False


class ChangeRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One change of a rule-set file.

    Attributes
    ----------
    time, expires : str, str or None
        ISO-8601 UTC; `expires` of a temporary change.
    ruleset : str
        Id of the rule-set after the change.
    author, approver, reason : str
        Two different people, and a sentence.
    hash_before, hash_after : str
        Content hashes of the rule-set (SHA-256 over everything that enters a number).
    changes : list of ChangedParameter
        What differs.
    previous, hash : str
        SHA-256 of the record before (zeros for the first) and of this one without `hash`.
    """

    format: Literal["crossmargin-change/1"] = "crossmargin-change/1"
    time: str
    ruleset: str
    author: str
    approver: str
    reason: str
    expires: str | None = None
    hash_before: str
    hash_after: str
    changes: list[ChangedParameter]
    previous: str
    hash: str = ""

    @property
    def digest(self) -> str:
        """What `hash` must be."""
        bare = msgspec.structs.replace(self, hash="")
        return hashlib.sha256(msgspec.json.encode(bare)).hexdigest()


def changes_path(ruleset_file: str | Path) -> Path:
    """Return where the changes of a rule-set file are recorded."""
    return Path(ruleset_file).with_suffix(".changes.jsonl")


def make_change(
    before: Ruleset,
    after: Ruleset,
    log: Sequence[ChangeRecord],
    *,
    time: str,
    author: str,
    approver: str,
    reason: str,
    expires: str | None = None,
) -> ChangeRecord:
    """Make the record of a change that follows those of a log.

    Parameters
    ----------
    before, after : Ruleset
        What was in force, and what is to be.
    log : sequence of ChangeRecord
        So far.
    time : str
        Of the change, ISO-8601 UTC.
    author, approver, reason : str
        Who, who else, and why.
    expires : str, optional
        When a temporary change is to be taken back.

    Raises
    ------
    RulesetError
        ``RUL-040`` for a field that is empty, an author who approves, an expiry that is not after
        the change, a time before the last record, or nothing that changes; ``RUL-041`` where the
        last record left another rule-set than `before`.
    """
    moment = parse_time(time, field="time")
    fields = {"author": author, "approver": approver, "reason": reason}
    for name, text in fields.items():
        _check_text(name, text)
    if _person(author) == _person(approver):
        raise RulesetError(
            f"{author!r} is both author and approver",
            code="RUL-040",
            field="approver",
            hint="a change is approved by somebody else",
        )
    until = None if expires is None else parse_time(expires, field="expires")
    if until is not None and until <= moment:
        raise RulesetError(
            f"the change expires at {expires}, not after it is made at {time}",
            code="RUL-040",
            field="expires",
            hint="give a later time, or none for a lasting change",
        )
    _check_follows(before, log, moment)
    found = parameter_changes(before, after)
    if not found:
        raise RulesetError(
            "the two rule-sets have the same parameters: there is nothing to record",
            code="RUL-040",
            field="changes",
        )
    made = ChangeRecord(
        time=format_time(moment),
        ruleset=after.id,
        author=author.strip(),
        approver=approver.strip(),
        reason=reason.strip(),
        expires=None if until is None else format_time(until),
        hash_before=before.content_hash,
        hash_after=after.content_hash,
        changes=[
            ChangedParameter(
                path=c.path, before=c.before, after=c.after, added=c.added, removed=c.removed
            )
            for c in found
        ],
        previous=log[-1].hash if log else _FIRST,
    )
    return msgspec.structs.replace(made, hash=made.digest)


def _check_text(name: str, text: str) -> None:
    if not text.strip() or len(text) > _LONGEST or not text.isprintable():
        raise RulesetError(
            f"the {name} of a change is {'empty' if not text.strip() else 'not one line of text'}",
            code="RUL-040",
            field=name,
            hint=f"write who or why in one line of at most {_LONGEST:,} characters",
        )


def _person(name: str) -> str:
    return re.sub(r"\s+", " ", name).strip().casefold()


def _check_follows(before: Ruleset, log: Sequence[ChangeRecord], moment: int) -> None:
    if not log:
        return
    last = log[-1]
    if moment < parse_time(last.time):
        raise RulesetError(
            f"the change is dated before the last one, which was made at {last.time}",
            code="RUL-040",
            field="time",
        )
    if last.hash_after != before.content_hash:
        raise RulesetError(
            f"the last recorded change left the rule-set {last.hash_after[:16]}, and this one "
            f"starts from {before.content_hash[:16]}",
            code="RUL-041",
            field="hash_before",
            hint="record what happened in between first",
        )


def encode_changes(log: Sequence[ChangeRecord]) -> bytes:
    """Write a log: one record a line."""
    return b"".join(msgspec.json.encode(record) + b"\n" for record in log)


def read_changes(ruleset_file: str | Path) -> list[ChangeRecord]:
    """Read the changes recorded beside a rule-set file and check their chain.

    Parameters
    ----------
    ruleset_file : str or Path
        The ``.toml`` file; without a file of changes the list is empty.

    Raises
    ------
    InputError
        ``INP-002`` and ``INP-003`` for a line that is no record.
    RulesetError
        ``RUL-042`` for a line that was altered, or that does not follow the one before.
    """
    path = changes_path(ruleset_file)
    if not path.exists():
        return []
    log: list[ChangeRecord] = []
    lines = read_bytes(path, what="change record").splitlines()
    for number, line in enumerate(lines, 1):
        what = f"line {number} of {path.name!r}"
        record = decode_json(line, ChangeRecord, what=what)
        expected = log[-1].hash if log else _FIRST
        if record.hash != record.digest:
            _broken(f"{what} was altered after it was recorded", number)
        if record.previous != expected:
            _broken(f"{what} does not follow the line before it: a line is missing", number)
        if log and record.hash_before != log[-1].hash_after:
            _broken(f"{what} starts from another rule-set than the line before left", number)
        log.append(record)
    return log


def _broken(says: str, number: int) -> None:
    raise RulesetError(
        says,
        code="RUL-042",
        field=f"line {number}",
        hint="restore the file from where its history is kept",
    )


def check_changes(rules: Ruleset, log: Sequence[ChangeRecord]) -> None:
    """See that a rule-set file is what its last recorded change left.

    Raises
    ------
    RulesetError
        ``RUL-043`` where it is not: the file was changed without a record, the last record was
        removed, or what the file extends has changed.
    """
    if log and log[-1].hash_after != rules.content_hash:
        raise RulesetError(
            f"the rule-set {rules.id!r} is {rules.content_hash[:16]}, and its last recorded change "
            f"of {log[-1].time} left {log[-1].hash_after[:16]}",
            code="RUL-043",
            field="hash_after",
            hint="it was changed without a record, a record was removed, or what it extends "
            "has changed",
        )


def expired_changes(
    rules: Ruleset, log: Sequence[ChangeRecord], at_ns: int
) -> list[tuple[ChangeRecord, list[str]]]:
    """Return temporary changes that are past their expiry and still in force, and where.

    Parameters
    ----------
    rules : Ruleset
        What is used.
    log : sequence of ChangeRecord
        Of its file.
    at_ns : int
        The moment that counts as now.

    Returns
    -------
    list of (ChangeRecord, list of str)
        Each with the paths that still have the value that it gave them and that no later record
        touched.
    """
    now = flat_parameters(rules)
    found = []
    for place, record in enumerate(log):
        if record.expires is None or parse_time(record.expires) > at_ns:
            continue
        later = {c.path for r in log[place + 1 :] for c in r.changes}
        left = [
            c.path
            for c in record.changes
            if c.path not in later
            and (c.path not in now if c.removed else c.path in now and now[c.path] == c.after)
        ]
        if left:
            found.append((record, left))
    return found
