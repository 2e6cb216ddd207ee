"""The commands. Each reads its input, calls the library and prints; nothing is computed here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from crossmargin import __version__
from crossmargin.cli import _account, _brackets, _haircut
from crossmargin.cli import _io as io
from crossmargin.cli._ledger import ledger_app
from crossmargin.cli._prices import prices
from crossmargin.cli._reconcile import reconcile_app

app = App(
    name="crossmargin",
    version=__version__,
    result_action="return_value",
    help="""Cross margin for crypto derivatives: what an account must hold, and why.

    Example: `crossmargin margin account.json --market market.json --ruleset deribit-pm`
    """,
)
rulesets_app = App(
    name="rulesets",
    help="List rule-sets, show one with its sources, compare two, read a file's history.",
)
app.command(rulesets_app)
app.command(_haircut.haircuts)
app.command(_haircut.haircut)
app.command(
    "crossmargin.cli._tiers:tiers",
    help="""Show brackets, effective rates against size, and where one more unit costs a jump.

    Example: `crossmargin tiers isolated-whole BTC-PERPETUAL`

    Example: `crossmargin tiers deribit-sm BTC_USDC-PERPETUAL --size 200`
    """,
)
app.command(prices)
app.command(_account.account)
app.command(_brackets.brackets)
app.command(reconcile_app)
app.command(ledger_app)
app.command(
    "crossmargin.cli._infer:infer",
    help="""Fit unknown figures of a rule-set to a venue's statements.

    Example: `crossmargin infer replies.json --ruleset mine.toml --unknown
    components.perp.tiers.BTC.0.mm=0.002..0.05`
    """,
)
app.command(
    "crossmargin.cli._validate:validate",
    help="""Hold a margin model against recorded history, and write what a risk committee reads.

    Static books are margined on every day and their losses over the horizon counted against it.
    A table of one's own has date, symbol, close (US dollars), and may have vol (30-day implied,
    decimal per year) and funding (paid by longs, share). Amounts are US dollars.

    Benchmarks: ewma-normal-var, historical-es, filtered-es, filtered-es+stress.

    Example: `crossmargin validate house --data recorded --html report.html`

    Example: `crossmargin validate historical-es --data prices.parquet --book directional --json`
    """,
)

AccountArg = Annotated[str, Parameter(help="Account file, or a demo account's name.")]
MarketOpt = Annotated[str, Parameter(help="Market file, or a shipped market's name.")]
AtOpt = Annotated[
    str | None, Parameter(help="Value the account at this later moment (ISO-8601, UTC).")
]
SetOpt = Annotated[
    list[str] | None,
    Parameter(name="--set", help="Supply a rule-set parameter: path=value. May be repeated."),
]
ParamsOpt = Annotated[str | None, Parameter(help="TOML file of supplied parameters.")]
HistoryOpt = Annotated[
    list[str] | None,
    Parameter(
        help="Daily closes (Parquet, CSV) for rule-sets that look back: coins, contracts beside "
        "them (BTC-PERP); or made-up, the demo's own, which were drawn and not recorded. "
        "Repeatable."
    ),
]
JsonOpt = Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")]
HtmlOpt = Annotated[str | None, io.file_option("Write a self-contained HTML report here.")]


def as_list(value: Any) -> Any:
    """Turn an array into lists; JSON writes what is no number as null."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is nothing that JSON can hold")


def _print_json(value: Any) -> None:
    import msgspec

    raw = msgspec.json.format(msgspec.json.encode(value, enc_hook=as_list), indent=2)
    sys.stdout.write(raw.decode() + "\n")


def _console() -> Any:
    from crossmargin.reports.terminal import make_console

    return make_console()


def _moment(at: str | None) -> int | None:
    from crossmargin.units import parse_time

    return None if at is None else parse_time(at, field="--at")


@app.command
def margin(
    account: AccountArg,
    *,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: Annotated[list[str] | None, Parameter(help="Rule-set id or TOML file.")] = None,
    history: HistoryOpt = None,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    location_down: Annotated[
        str | None, Parameter(help="As if this venue or chain held nothing for the account.")
    ] = None,
    json: JsonOpt = False,
    html: HtmlOpt = None,
) -> int:
    """Compute and explain the margin of one account.

    Where one of several rule-sets refuses, the others are shown and the exit code is 2.

    Example: `crossmargin margin covered-call --market crash-2026-02-05`

    Example: `crossmargin margin my.json --market now.json --ruleset deribit-pm
    --ruleset paradex-pm`

    Example: `crossmargin margin short-vol-desk --ruleset house --history made-up`

    Example: `crossmargin margin my.json --market now.json --ruleset house --history closes.parquet`

    Example: `crossmargin margin my.json --market now.json --location-down ethereum`

    Example: `crossmargin margin my.json --market now.json --at 2026-02-27T07:45:00Z
    --html report.html`
    """
    from crossmargin.analytics import expiry_cliff

    who, world = io.load_account(account), io.load_market(market)
    world = io.with_history(world, history or [])
    if location_down is not None:
        from crossmargin.book import account_without_location

        who = account_without_location(who, location_down)
    moment = _moment(at)
    rules = io.load_rules(
        ruleset or [io.DEFAULT_RULESET], io.parse_overrides(set_ or [], params), None
    )
    rules, made, refused = _statements(who, world, rules, moment)
    cliffs = [expiry_cliff(who, world.at(moment), r) for r in rules] if moment is not None else []
    if html is not None:
        _write_report(html, who, world, rules, made, moment)
    if json:
        rows: list[Any] = [{"statement": x, "cliff": y} for x, y in zip(made, cliffs)] or list(made)
        _print_json(rows[0] if len(rows) == 1 else rows)
        return _report_refusals(refused)
    from crossmargin.reports.terminal import print_cliff, print_statement

    console = _console()
    for place, one in enumerate(made):
        print_statement(console, one)
        if cliffs and (cliff := cliffs[place]) is not None:
            print_cliff(console, cliff)
    if html is not None:
        console.print(f"report written to {html}")
    return _report_refusals(refused)


def _report_refusals(refused: list[Any]) -> int:
    for error in refused:
        sys.stderr.write(f"{error}\n")
    return 2 if refused else 0


def _statements(
    who: Any, world: Any, rules: list[Any], moment: int | None
) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the rule-sets that answer, their statements, and why the others refuse."""
    from crossmargin.errors import CrossmarginError
    from crossmargin.margin import make_statement

    good, made, refused = [], [], []
    for rule in rules:
        try:
            made.append(make_statement(who, world, rule, at_ns=moment))
            good.append(rule)
        except CrossmarginError as error:
            refused.append(error)
    if not made:
        raise refused[0]
    return good, made, refused


def _write_report(
    path: str,
    who: Any,
    world: Any,
    rules: list[Any],
    made: list[Any],
    moment: int | None,
    comparison: list[Any] | None = None,
) -> None:
    from crossmargin.analytics import profiles, watch_gauges
    from crossmargin.book import book_from_accounts
    from crossmargin.margin import CarriedAccount, evaluate
    from crossmargin.reports import render_report

    market = world if moment is None else world.at(moment)
    done = evaluate(book_from_accounts([who]), market, rules[0])
    lines = profiles(done)
    gauges = None
    if done.mm_usd > 0:
        gauges = watch_gauges(lines, CarriedAccount(who, market, rules[0]), market)
    text = render_report(
        made[0], lines, comparison=comparison or (made if len(made) > 1 else ()), gauges=gauges
    )
    io.write_whole(path, text.encode())


@app.command
def compare(
    account: Annotated[str, Parameter(help="Account file, or a demo account's name.", negative=())],
    *more: str,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: Annotated[list[str] | None, Parameter(help="Rule-sets; default all.")] = None,
    history: HistoryOpt = None,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    json: JsonOpt = False,
    html: HtmlOpt = None,
) -> None:
    """Put one account, or several, under several rule-sets side by side.

    One account: saving and its tail cost are shown as a pair: what pooling frees, and what it
    puts at stake. Several accounts: one table of initial margins; --html opens each cell's
    components, --json lists them.

    Example: `crossmargin compare short-vol-desk --market crash-2026-02-05`

    Example: `crossmargin compare covered-call basis-trader short-vol-desk directional
    --html table.html`
    """
    from crossmargin.analytics import compare as compare_account
    from crossmargin.margin import ruleset_ids

    who, world = io.load_account(account), io.load_market(market)
    world = io.with_history(world, history or [])
    overrides = io.parse_overrides(set_ or [], params)
    names = ruleset or ruleset_ids()
    rules = io.load_rules(names, overrides if ruleset else {}, None)
    if overrides and not ruleset:
        rules = _those_that_know(names, overrides)
    moment = _moment(at)
    if more:
        everyone = [who, *(io.load_account(name) for name in more)]
        _compare_many(everyone, world if moment is None else world.at(moment), rules, json, html)
        return
    rows = compare_account(who, world, rules, at_ns=moment)
    if html is not None:
        good = [r.statement for r in rows if r.statement is not None]
        if good:
            first = next(r for r in rules if r.id == good[0].ruleset.id)
            _write_report(html, who, world, [first], good, moment, rows)
    if json:
        _print_json(rows)
        return
    from crossmargin.reports.terminal import print_comparison

    console = _console()
    print_comparison(console, who.account, rows)
    if html is not None:
        console.print(f"report written to {html}")


def _compare_many(
    everyone: list[Any], world: Any, rules: list[Any], json: bool, html: str | None
) -> None:
    from crossmargin.analytics import compare_accounts
    from crossmargin.reports.matrix import print_matrix, render_matrix

    matrix = compare_accounts(everyone, world, rules)
    if html is not None:
        io.write_whole(html, render_matrix(matrix, version=__version__).encode())
    if json:
        _print_json(matrix.as_dict())
        return
    console = _console()
    print_matrix(console, matrix)
    if html is not None:
        console.print(f"report written to {html}")


def _those_that_know(names: list[str], overrides: dict[str, Any]) -> list[Any]:
    """Apply overrides to the rule-sets that have such parameters, and none to the others."""
    from crossmargin.errors import RulesetError
    from crossmargin.margin import load_ruleset

    rules, used = [], False
    for name in names:
        try:
            rules.append(load_ruleset(name, overrides=overrides))
            used = True
        except RulesetError:
            rules.append(load_ruleset(name))
    if not used:
        load_ruleset(names[0], overrides=overrides)
    return rules


@rulesets_app.command(name="list")
def rulesets_list(*, json: JsonOpt = False) -> None:
    """List the rule-sets that are shipped.

    Example: `crossmargin rulesets list`
    """
    from crossmargin.margin import load_ruleset, ruleset_ids

    rules = [load_ruleset(name) for name in ruleset_ids()]
    if json:
        _print_json(
            [
                {
                    "id": r.id,
                    "venue": r.data.venue,
                    "title": r.data.title,
                    "effective_from": r.data.effective_from,
                    "complete": r.complete,
                    "gaps": r.gaps,
                    "hash": r.content_hash,
                }
                for r in rules
            ]
        )
        return
    from crossmargin.reports.rulesets import print_ruleset_list

    print_ruleset_list(_console(), rules)


@rulesets_app.command(name="show")
def rulesets_show(
    name: Annotated[str, Parameter(help="Rule-set id or TOML file.")],
    *,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    json: JsonOpt = False,
) -> None:
    """Show one rule-set: stages, parameters, sources, what is not known.

    Example: `crossmargin rulesets show deribit-pm`
    """
    from crossmargin.margin import load_ruleset, read_changes

    rules = load_ruleset(name, overrides=io.parse_overrides(set_ or [], params))
    log = read_changes(name) if name.endswith(".toml") else []
    if json:
        _print_json(
            {**rules.as_dict(), "hash": rules.content_hash, "gaps": rules.gaps, "recorded": log}
        )
        return
    from crossmargin.reports.rulesets import print_ruleset

    console = _console()
    print_ruleset(console, rules)
    if log:
        from crossmargin.reports.ruleset_changes import print_changes

        print_changes(console, log, [])


@app.command
def demo(
    *,
    json: JsonOpt = False,
    html: Annotated[str | None, Parameter(help="Folder for the reports.")] = None,
) -> None:
    """Show four accounts in a calm market and in a crash.

    Example: `crossmargin demo --html reports`
    """
    from crossmargin.cli._demo import run_demo

    run_demo(json=json, html=html)


@app.command
def verify(statement: Annotated[str, Parameter(help="Statement as JSON.")]) -> int:
    """Compute a statement again from its own inputs and compare, byte for byte.

    Example: `crossmargin margin covered-call --json > s.json && crossmargin verify s.json`
    """
    from crossmargin.codec import read_bytes
    from crossmargin.margin import decode_statement, encode_statement, recompute

    code = 0
    for raw in io.statements_in(read_bytes(statement, what="statement")):
        made = decode_statement(raw)
        same = encode_statement(recompute(made)) == encode_statement(made)
        print(
            f"{made.account} under {made.ruleset.id}: "
            + ("the same, byte for byte" if same else "DIFFERENT when computed again")
        )
        code = code if same else 1
    return code


@app.command
def schema(
    kind: Annotated[
        str,
        Parameter(help="account, market, ruleset, statement, case, or of a large book's JSON."),
    ] = "account",
) -> None:
    """Print the JSON Schema of a file format.

    Example: `crossmargin schema account > account.schema.json`
    """
    from crossmargin.cli._schemas import schema_of

    _print_json(schema_of(kind))


@app.command
def snapshot(
    source: Annotated[
        list[str],
        Parameter(help="Deribit book-summary replies (JSON), or a recorded chain (Parquet)."),
    ],
    *,
    out: Annotated[str, io.file_option("Market file to write.")],
    at: Annotated[
        str | None, Parameter(help="Moment: of the reply, or the first recorded one from it on.")
    ] = None,
    price: Annotated[
        list[str] | None, Parameter(help="Price in US dollars: USDC=0.9998. May be repeated.")
    ] = None,
    perps: Annotated[str | None, Parameter(help="Recorded perpetuals (Parquet).")] = None,
    futures: Annotated[str | None, Parameter(help="Recorded dated futures (Parquet).")] = None,
    fitted_only: Annotated[
        bool, Parameter(help="Write forwards and surfaces without the quotes.")
    ] = False,
    json: JsonOpt = False,
) -> None:
    """Build a market from a venue's reply or a recorded chain, and say what was dropped.

    Example: `crossmargin snapshot summary.json --at 2026-11-22T10:00:00Z --price USDC=0.9998
    --out now.json`

    Example: `crossmargin snapshot chain.parquet --at 2026-02-05T21:00:00Z --perps perps.parquet
    --out m.json`
    """
    from crossmargin.cli._snapshot import run_snapshot

    run_snapshot(
        source=[Path(s) for s in source],
        out=out,
        at=at,
        price=price or [],
        perps=perps,
        futures=futures,
        keep_quotes=not fitted_only,
        json=json,
    )


# Commands of their own modules register themselves with the application above.
from crossmargin.cli import _balance as _balance  # noqa: E402
from crossmargin.cli import _book as _book  # noqa: E402
from crossmargin.cli import _cascade_gain as _cascade_gain  # noqa: E402
from crossmargin.cli import _cascade_interest as _cascade_interest  # noqa: E402
from crossmargin.cli import _cascade_run as _cascade_run  # noqa: E402
from crossmargin.cli import _correlation_stress as _correlation_stress  # noqa: E402
from crossmargin.cli import _diff as _diff  # noqa: E402
from crossmargin.cli import _efficiency as _efficiency  # noqa: E402
from crossmargin.cli import _explain as _explain  # noqa: E402
from crossmargin.cli import _frontier as _frontier  # noqa: E402
from crossmargin.cli import _inverse as _inverse  # noqa: E402
from crossmargin.cli import _ledger_post as _ledger_post  # noqa: E402
from crossmargin.cli import _letters as _letters  # noqa: E402
from crossmargin.cli import _liquidate as _liquidate  # noqa: E402
from crossmargin.cli import _models as _models  # noqa: E402
from crossmargin.cli import _plan_series as _plan_series  # noqa: E402
from crossmargin.cli import _plans as _plans  # noqa: E402
from crossmargin.cli import _stress as _stress  # noqa: E402
from crossmargin.cli import _survival as _survival  # noqa: E402
from crossmargin.cli import _venues as _venues  # noqa: E402
from crossmargin.cli import _what_if as _what_if  # noqa: E402
