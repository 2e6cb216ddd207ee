"""What commands share: finding files, reading overrides, writing whole files."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Parameter

from crossmargin.codec import draft_of
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from crossmargin.book import AccountFile
    from crossmargin.margin import Ruleset
    from crossmargin.market import FactorHistory, Snapshot

DEFAULT_MARKET = "calm-2026-02-03"
DEFAULT_RULESET = "deribit-pm-cross"


def load_account(name: str) -> AccountFile:
    """Load an account: a file, or the name of a demo account."""
    from crossmargin.book import parse_account, read_account
    from crossmargin.venues import shipped_files

    if not Path(name).exists():
        known = shipped_files("accounts")
        if name in known:
            return parse_account(known[name], name)
        if not name.endswith(".json") and "/" not in name:
            raise InputError(
                f"no account file and no demo account {name!r}",
                code="INP-005",
                hint=f"give a file, or one of {', '.join(known)}",
            )
    return read_account(name)


def load_market(name: str) -> Snapshot:
    """Load a market: a file, or the name of a shipped market."""
    from crossmargin.market import decode_market, read_market, snapshot_from_file
    from crossmargin.venues import shipped_files

    if not Path(name).exists():
        known = shipped_files("markets")
        if name in known:
            return snapshot_from_file(decode_market(known[name], name))
        if not name.endswith(".json") and "/" not in name:
            raise InputError(
                f"no market file and no shipped market {name!r}",
                code="INP-005",
                hint=f"give a file, or one of {', '.join(known)}",
            )
    return read_market(name)


def read_histories(paths: list[str]) -> FactorHistory:
    """Read daily closes from tables; a path that is no file may be a shipped history."""
    from contextlib import ExitStack

    from crossmargin.market import read_factor_history
    from crossmargin.venues import history_names, shipped_history

    shipped = history_names()
    with ExitStack() as stack:
        places = [
            stack.enter_context(shipped_history(path))
            if path in shipped and not Path(path).exists()
            else path
            for path in paths
        ]
        return read_factor_history(*places)


def with_history(snapshot: Snapshot, paths: list[str]) -> Snapshot:
    """Return the market with daily closes from tables, as far as they were known by its time.

    A day's close is known when the day is over. A path that is no file may be a shipped history.

    Raises
    ------
    InputError, MarketDataError
        As :func:`crossmargin.market.read_factor_history`; ``MKT-044`` where no day is left.
    """
    if not paths:
        return snapshot
    from dataclasses import replace

    from crossmargin.errors import MarketDataError
    from crossmargin.units import NS_PER_SECOND, format_time

    last = format_time(snapshot.as_of_ns - 86_400 * NS_PER_SECOND)[:10]
    history = read_histories(paths).until(last)
    if not history.days:
        raise MarketDataError(
            f"the history has no day that was over by {format_time(snapshot.as_of_ns)}",
            code="MKT-044",
            field="--history",
            hint="give daily closes from before the market",
        )
    return replace(snapshot, history=history)


def parse_overrides(
    assignments: list[str], params: str | None, *, option: str = "--set",
    example: str = "components.fee_provision.rate=0.0003",
) -> dict[str, Any]:  # fmt: skip
    """Read ``--set path=value`` and a TOML file of dotted paths or tables.

    `option` and `example` are what a complaint names.

    Raises
    ------
    InputError
        ``INP-013`` when an assignment has no ``=`` or the file is not TOML.
    """
    found: dict[str, Any] = {}
    if params is not None:
        try:
            found.update(_flatten(tomllib.loads(Path(params).read_text(encoding="utf-8"))))
        except OSError as error:
            raise InputError(
                f"cannot read parameter file {params!r}: {(error.strerror or '').lower()}",
                code="INP-005",
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"parameter file {params!r} is not TOML: {error}", code="INP-013"
            ) from None
    for text in assignments:
        path, sign, raw = text.partition("=")
        if not sign or not path:
            raise InputError(
                f"{text!r} is not an assignment",
                code="INP-013",
                field=option,
                hint=f"write {option} {example}",
            )
        found[path.strip()] = _value(raw.strip())
    return found


def _value(raw: str) -> Any:
    try:
        return tomllib.loads(f"x = {raw}")["x"]
    except tomllib.TOMLDecodeError:
        return raw


def _flatten(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in table.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            out.update(_flatten(value, path + "."))
        else:
            out[path] = value
    return out


def load_rules(names: list[str], overrides: dict[str, Any], on: str | None) -> list[Ruleset]:
    """Load several rule-sets with the same overrides, chosen by date where versions exist."""
    from crossmargin.margin import load_ruleset

    return [load_ruleset(name, overrides=overrides, on=on) for name in names]


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file so that a reader never sees half of it.

    Raises
    ------
    InputError
        ``INP-014`` when the place cannot be written.
    """
    try:
        target = Path(path).resolve()
        if target.exists() and not target.is_file():
            raise InputError(
                f"cannot write {str(path)!r}: it is not a regular file",
                code="INP-014",
                hint="name a file",
            )
        with draft_of(target) as draft:
            draft.write_bytes(data)
    except OSError as error:
        raise InputError(
            f"cannot write {str(path)!r}: {(error.strerror or 'unknown reason').lower()}",
            code="INP-014",
            hint="check that the folder exists and may be written",
        ) from None


def must_be_writable(path: str | Path | None) -> None:
    """Refuse a place that cannot be written before long work is done for it; None passes.

    Raises
    ------
    InputError
        ``INP-014``, as :func:`write_whole` would at the end.
    """
    if path is None:
        return
    target = Path(path)
    try:
        target = target.resolve()
        wrong = "it is not a regular file" if target.exists() and not target.is_file() else ""
        if not wrong and not target.parent.is_dir():
            wrong = "no such file or directory"
        elif not wrong and not os.access(target.parent, os.W_OK | os.X_OK):
            wrong = "permission denied"
    except OSError as error:
        wrong = (error.strerror or "unknown reason").lower()
    if wrong:
        raise InputError(
            f"cannot write {str(path)!r}: {wrong}",
            code="INP-014",
            hint="check that the folder exists and may be written, and name a file",
        )


def file_option(text: str) -> Parameter:
    """Return the option of a file to be written; a place that cannot be is refused at once."""
    return Parameter(help=text, validator=lambda _, path: must_be_writable(path))


def statements_in(raw: bytes) -> list[bytes]:
    """Return the statements that ``margin --json`` wrote: one, several, or with their cliffs.

    Raises
    ------
    InputError
        ``INP-002`` when it is not whole JSON.
    """
    import msgspec

    from crossmargin.codec import decode_json

    found = decode_json(raw, msgspec.Raw, what="statement")
    if bytes(found).lstrip()[:1] != b"[":
        rows = [found]
    else:
        rows = decode_json(raw, list[msgspec.Raw], what="statement")
    out = []
    for row in rows:
        fields = decode_json(bytes(row), dict[str, msgspec.Raw], what="statement")
        out.append(bytes(fields.get("statement", row)))
    return out
