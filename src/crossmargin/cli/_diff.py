"""Two rule-sets side by side, what the step does to a book, and who decided on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._app import (
    AtOpt,
    JsonOpt,
    MarketOpt,
    ParamsOpt,
    SetOpt,
    _console,
    _moment,
    _print_json,
    rulesets_app,
)
from crossmargin.cli._assigned import one_or_more
from crossmargin.cli._book import (
    KEPT,
    SHOWN,
    BookHtmlOpt,
    Engine,
    EngineOpt,
    ThreadsOpt,
    TopOpt,
    cores,
    load_book,
    load_rules_on,
    margin_book,
)
from crossmargin.errors import CrossmarginError, InputError

if TYPE_CHECKING:
    from crossmargin.analytics import BookImpact
    from crossmargin.margin import ChangeRecord, Ruleset


@rulesets_app.command(name="diff")
def rulesets_diff(
    a: Annotated[str, Parameter(help="Rule-set in force: id, id@DATE, or TOML file.")],
    b: Annotated[str, Parameter(help="Rule-set to come; --set and --params apply to it.")],
    *,
    book: Annotated[
        str | None, Parameter(help="Stored book: say what the change does to it.")
    ] = None,
    market: MarketOpt = io.DEFAULT_MARKET,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    threads: ThreadsOpt = None,
    engine: EngineOpt = "auto",
    top: TopOpt = None,
    record: Annotated[
        bool, Parameter(help="Record the change beside B (a TOML file).", negative="")
    ] = False,
    author: Annotated[str | None, Parameter(help="Who makes the change.")] = None,
    approver: Annotated[str | None, Parameter(help="Who approves it: somebody else.")] = None,
    reason: Annotated[str | None, Parameter(help="Why, in a sentence.")] = None,
    expires: Annotated[
        str | None, Parameter(help="When a temporary change ends (ISO-8601, UTC).")
    ] = None,
    json: JsonOpt = False,
    html: BookHtmlOpt = None,
) -> int:
    """List what differs between two rule-sets; with --book, what that does before it takes effect.

    With --record, the change from A to B is written beside B with author, approver, reason and
    expiry; --at is then the moment of the change.

    Example: `crossmargin rulesets diff deribit-pm deribit-pm
    --set scenarios.underlyings.BTC.price_range=0.18 --book mybook --market market.json`

    Example: `crossmargin rulesets diff binance-usdm@2021-03-18 binance-usdm`

    Example: `crossmargin rulesets diff desk-old.toml desk.toml --record --author "A. Ito"
    --approver "B. Okoro" --reason "calmer market" --expires 2026-03-01 --at 2026-02-03T12:00:00Z`
    """
    from crossmargin.analytics import diff_rulesets

    one_or_more(top, "--top")
    one_or_more(threads, "--threads")
    about = {"--author": author, "--approver": approver, "--reason": reason, "--expires": expires}
    overrides = io.parse_overrides(set_ or [], params)
    before, after = load_rules_on(a, {}), load_rules_on(b, overrides)
    if record:
        _check_recordable(b, overrides, at, about)
    elif any(value is not None for value in about.values()):
        given = next(name for name, value in about.items() if value is not None)
        raise InputError(
            f"{given} belongs to a record, and --record is not given",
            code="INP-013",
            field=given,
            hint="add --record, or leave it out",
        )
    impact = None
    if book is not None:
        found = _impact(
            book, market, None if record else at, before, after, threads, engine, top, json
        )
        if found is None:
            return 130
        impact = found
    made = diff_rulesets(before, after, impact)
    if html is not None:
        from crossmargin import __version__
        from crossmargin.reports.book_html import render_diff

        io.write_whole(html, render_diff(made, version=__version__).encode())
    where = _record(b, before, after, at, about) if record else None
    if json:
        _print_json(made)
        return 0
    from crossmargin.reports.ruleset_changes import print_diff

    console = _console()
    print_diff(console, made, shown=top or SHOWN)
    if html is not None:
        console.print(f"report written to {html}", markup=False)
    if where is not None:
        console.print(f"change recorded in {where}", markup=False)
    return 0


def _impact(
    book: str,
    market: str,
    at: str | None,
    before: Ruleset,
    after: Ruleset,
    threads: int | None,
    engine: Engine,
    top: int | None,
    json: bool,
) -> BookImpact | None:
    from crossmargin.analytics import book_impact

    world, moment = io.load_market(market), _moment(at)
    world = world if moment is None else world.at(moment)
    read = load_book(book)
    held, aside = read.book, int(read.rejected.rows.size)
    sides = []
    for name, rules in (("A", before), ("B", after)):
        done = margin_book(
            held,
            world,
            rules,
            threads=cores(threads),
            engine=engine,
            quiet=json,
            what=f" under {name}",
        )
        if done is None:
            return None
        sides.append((rules, done))
    return book_impact(
        held, world, *sides, market=Path(market).name, rejected=aside, top=top or KEPT
    )


def _check_recordable(
    b: str, overrides: dict[str, Any], at: str | None, about: dict[str, str | None]
) -> None:
    """See that a change can be recorded, before a book is margined for it."""
    if not b.endswith(".toml"):
        raise InputError(
            f"{b!r} is no file that a record could stand beside",
            code="INP-013",
            field="--record",
            hint="record changes of a rule-set file (.toml)",
        )
    if overrides:
        raise InputError(
            "parameters that are supplied with the call are in no file",
            code="INP-013",
            field="--record",
            hint="write them into the rule-set file, then record the change",
        )
    missing = [name for name in ("--author", "--approver", "--reason") if about[name] is None]
    if at is None:
        missing.append("--at")
    if missing:
        raise InputError(
            f"a record of a change needs {', '.join(missing)}",
            code="INP-013",
            field=missing[0],
            hint="--at is the moment of the change (ISO-8601, UTC)",
        )


def _record(
    b: str, before: Ruleset, after: Ruleset, at: str | None, about: dict[str, str | None]
) -> Path:
    from crossmargin.margin import changes_path, encode_changes, make_change, read_changes

    log = read_changes(b)
    made = make_change(
        before,
        after,
        log,
        time=at or "",
        author=about["--author"] or "",
        approver=about["--approver"] or "",
        reason=about["--reason"] or "",
        expires=about["--expires"],
    )
    place = changes_path(b)
    io.write_whole(place, encode_changes([*log, made]))
    return place


@rulesets_app.command(name="log")
def rulesets_log(
    file: Annotated[str, Parameter(help="Rule-set file (TOML).")],
    *,
    at: Annotated[
        str | None, Parameter(help="Name temporary changes that had expired by this moment.")
    ] = None,
    json: JsonOpt = False,
) -> int:
    """Show the recorded changes of a rule-set file, and check that none was altered or left out.

    Exit code 1 when the records do not hold: a line was altered or removed, or the file is not
    what the last record left.

    Example: `crossmargin rulesets log desk.toml --at 2026-04-01T00:00:00Z`
    """
    import sys

    from crossmargin.margin import check_changes, load_ruleset, read_changes

    if not file.endswith(".toml"):
        raise InputError(
            f"{file!r} is no rule-set file",
            code="INP-013",
            field="file",
            hint="shipped rule-sets change with the package; its changelog records them",
        )
    rules = load_ruleset(file)
    log: list[ChangeRecord] = []
    broken: CrossmarginError | None = None
    try:
        log = read_changes(file)
        check_changes(rules, log)
    except CrossmarginError as error:
        broken = error
    expired = expired_lines(rules, log, at)
    if json:
        _print_json(
            {
                "ruleset": rules.id,
                "hash": rules.content_hash,
                "records": log,
                "whole": broken is None,
                "fault": None if broken is None else broken.as_dict(),
                "expired": expired,
            }
        )
    else:
        from crossmargin.reports.ruleset_changes import print_changes

        console = _console()
        if log:
            print_changes(console, log, expired)
        count = f"{len(log)} recorded change{'s' if len(log) > 1 else ''}"
        if broken is None and log:
            console.print(f"{count}, whole; the last left what the file is")
        elif broken is None:
            console.print("no change is recorded")
    if broken is not None:
        sys.stderr.write(f"{broken}\n")
        return 1
    return 0


def expired_lines(rules: Ruleset, log: list[ChangeRecord], at: str | None) -> list[str]:
    """Say which temporary changes had expired by a moment and are still in force."""
    moment = _moment(at)
    if moment is None:
        return []
    from crossmargin.margin import expired_changes
    from crossmargin.reports.ruleset_changes import expired_words

    return [expired_words(record, paths) for record, paths in expired_changes(rules, log, moment)]
