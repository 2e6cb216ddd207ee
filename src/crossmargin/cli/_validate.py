"""``validate``: a margin model held against recorded history."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from crossmargin.cli._io import file_option, parse_overrides, write_whole
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crossmargin.validation import Contender

#: Says where the recorded data lies.
DATA_VARIABLE = "CROSSMARGIN_DATA"


def validate(
    model: Annotated[
        str,
        Parameter(help="Rule-set (id or TOML file), or a benchmark named above."),
    ] = "house",
    *,
    against: Annotated[
        list[str] | None,
        Parameter(help="Challenger: rule-set or benchmark. Repeat; default all benchmarks."),
    ] = None,
    data: Annotated[
        str | None,
        Parameter(help="Folder of recorded data, or a table of prices; default $CROSSMARGIN_DATA."),
    ] = None,
    portfolios: Annotated[
        str | None, Parameter(help="TOML file of books; default the house's.")
    ] = None,
    book: Annotated[
        list[str] | None, Parameter(help="Only this book or group of books. Repeatable.")
    ] = None,
    level: Annotated[float, Parameter(help="Confidence that margin is held to.")] = 0.99,
    horizon: Annotated[int, Parameter(help="Days over which a loss is made.")] = 1,
    requirement: Annotated[
        Literal["im", "mm"], Parameter(help="Requirement of rule-sets that is held.")
    ] = "im",
    dollar: Annotated[
        str, Parameter(help="Settlement of linear contracts under rule-sets: USDC or USDT.")
    ] = "USDC",
    since: Annotated[str | None, Parameter(help="First day of the history (ISO date).")] = None,
    until: Annotated[str | None, Parameter(help="Last day of the history (ISO date).")] = None,
    start_up: Annotated[
        int | None,
        Parameter(help="Days before the first tested; default 500, 250 with options."),
    ] = None,
    adversarial: Annotated[
        int, Parameter(help="Draw this many books in search of weak ones; 0 for no search.")
    ] = 40,
    steps: Annotated[bool, Parameter(help="Also the answer to a step in volatility.")] = True,
    vary: Annotated[
        list[str] | None,
        Parameter(help="Try other values, alone and in pairs: decay=0.94,0.99. Repeatable."),
    ] = None,
    own_tools: Annotated[
        bool,
        Parameter(help="Run a statistical model again with each of its own tools (4 passes)."),
    ] = False,
    seed: Annotated[int, Parameter(help="Of everything drawn.")] = 0,
    set_: Annotated[
        list[str] | None,
        Parameter(name="--set", help="Supply a rule-set parameter: path=value. Repeatable."),
    ] = None,
    params: Annotated[str | None, Parameter(help="TOML file of supplied parameters.")] = None,
    html: Annotated[str | None, file_option("Write the committee's report here.")] = None,
    json: Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Hold a margin model against recorded history, and write what a risk committee reads.

    Static books are margined on every day and their losses over the horizon are counted against
    it: coverage, clustering, expected shortfall, procyclicality with and without each tool, the
    answer to a step in volatility, a league with challengers, and a verdict with its power.
    Amounts are US dollars, margins also shares of gross size.

    A table has date, symbol, close and may have vol (30-day implied, decimal) and funding.

    Benchmarks: ewma-normal-var, historical-es, filtered-es, filtered-es+stress.

    Example: `crossmargin validate house --data recorded --html report.html`

    Example: `crossmargin validate derive-pm2 --against house --data recorded`

    Example: `crossmargin validate historical-es --data prices.parquet --book directional --json`
    """
    from crossmargin.cli._app import _console, _print_json
    from crossmargin.cli._progress import Meter
    from crossmargin.validation import (
        choose,
        house_portfolios,
        make_setting,
        read_history,
        sensitivity,
    )
    from crossmargin.validation import validate as run
    from crossmargin.validation.plain import plain_validation

    _check(level, horizon, start_up, adversarial, seed, since, until)
    place = data or os.environ.get(DATA_VARIABLE)
    if place is None:
        raise InputError(
            "no history was named",
            code="INP-005",
            field="--data",
            hint=f"give --data FOLDER or TABLE, or set {DATA_VARIABLE}",
        )
    file = house_portfolios() if portfolios is None else _read_portfolios(portfolios)
    overrides = parse_overrides(set_ or [], params)
    contenders = _contenders(model, against, level, requirement, dollar, overrides)
    history = read_history(place).between(since, until)
    books, left_out = _known(choose(file, book), history, horizon)
    setting = make_setting(
        books, history, file.held, level=level, horizon=horizon, start_up=start_up
    )
    tried = _varied(vary)
    meters: dict[str, Meter] = {}

    def told(what: str, done: int, total: int) -> None:
        if what not in meters:
            for meter in meters.values():
                meter.__exit__(None, None, None)
            meters[what] = Meter(f"steps of {what}").__enter__()
        meters[what].step(done, total)

    def build(values: Mapping[str, float]) -> Contender:
        given = {**overrides, **values}
        return _one(model, level, requirement, dollar, given)

    try:
        varied = None
        if tried:
            varied = sensitivity(
                build,
                _base(model, tried, level, overrides),
                tried,
                setting,
                progress=lambda done, total: told("the parameters' runs", done, total),
            )
        made = run(
            contenders,
            setting,
            crashes=file.crashes,
            seed=seed,
            adversarial=adversarial,
            steps=steps,
            own_tools=own_tools,
            varied=varied,
            proxy=_proxy(place, books, file),
            progress=told,
        )
    finally:
        for meter in meters.values():
            meter.__exit__(None, None, None)
    made.test.untested.update(left_out)
    if html is not None:
        from crossmargin import __version__
        from crossmargin.reports.validation import render_validation

        write_whole(html, render_validation(made, version=__version__).encode())
    if json:
        _print_json(plain_validation(made))
        return
    from crossmargin.reports.validation_terminal import print_validation

    print_validation(_console(), made)
    if html is not None:
        _console().print(f"report written to {html}")


def _check(
    level: float,
    horizon: int,
    start_up: int | None,
    adversarial: int,
    seed: int,
    since: str | None,
    until: str | None,
) -> None:
    import re

    for ok, text, field, hint in (
        (0.5 <= level < 1.0, f"a level of {level:g}", "--level", "between 0.5 and 1, like 0.99"),
        (1 <= horizon <= 60, f"a horizon of {horizon}", "--horizon", "1 to 60 days"),
        (start_up is None or start_up >= 0, f"a start-up of {start_up}", "--start-up",
         "0 days or more"),
        (0 <= adversarial <= 5_000, f"{adversarial} adversarial books", "--adversarial",
         "0 to 5,000"),
        (seed >= 0, f"a seed of {seed}", "--seed", "a whole number from 0 on"),
    ):  # fmt: skip
        if not ok:
            raise InputError(text, code="INP-004", field=field, hint=f"give {hint}")
    for day, field in ((since, "--since"), (until, "--until")):
        if day is not None and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", day):
            raise InputError(
                f"{day!r} is not a date", code="INP-010", field=field, hint="write 2026-01-31"
            )


def _read_portfolios(path: str) -> Any:
    from crossmargin.codec import read_bytes
    from crossmargin.validation import portfolios_from_toml

    try:
        text = read_bytes(path, what="file of portfolios").decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path!r} is not UTF-8 text", code="INP-002") from None
    return portfolios_from_toml(text, path)


def _contenders(
    model: str,
    against: list[str] | None,
    level: float,
    requirement: Literal["im", "mm"],
    dollar: str,
    overrides: dict[str, Any],
) -> list[Contender]:
    """Build the model on trial and its challengers; overrides are of the one on trial."""
    from crossmargin.validation import challengers

    names = against or [one.name for one in challengers(level)]
    first = _one(model, level, requirement, dollar, overrides)
    others = [_one(name, level, requirement, dollar, {}) for name in names if name != model]
    return [first, *others]


def _one(
    name: str,
    level: float,
    requirement: Literal["im", "mm"],
    dollar: str,
    given: Mapping[str, Any],
) -> Contender:
    """Build a benchmark with changed fields, or a rule-set with changed parameters."""
    from crossmargin.margin import load_ruleset
    from crossmargin.validation import OfLosses, OfRuleset, OfTail, challengers, tail_of

    benchmarks = {one.name: one for one in challengers(level)}
    if name in benchmarks:
        return OfLosses(_changed(benchmarks[name], given))
    rules = load_ruleset(name, overrides=dict(given))
    tail = tail_of(rules)
    if tail is not None:
        return OfTail(ruleset=rules, spec=tail)
    return OfRuleset(ruleset=rules, requirement=requirement, dollar=dollar)


def _changed(benchmark: Any, given: Mapping[str, Any]) -> Any:
    """Return a benchmark with other figures in its fields."""
    from dataclasses import fields, replace

    known = {
        one.name: getattr(benchmark, one.name)
        for one in fields(benchmark)
        if isinstance(getattr(benchmark, one.name), int | float) and one.name != "level"
    }
    for name, value in given.items():
        if name not in known or not isinstance(value, int | float):
            raise InputError(
                f"the benchmark {benchmark.name!r} has no figure {name!r}",
                code="INP-013",
                field="--set",
                hint=f"it has {', '.join(known)}",
            )
    return replace(benchmark, **{k: type(known[k])(v) for k, v in given.items()})


def _varied(texts: list[str] | None) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for text in texts or []:
        name, sign, values = text.partition("=")
        try:
            found[name.strip()] = [float(one) for one in values.split(",")]
        except ValueError:
            sign = ""
        if not sign or not name.strip():
            raise InputError(
                f"{text!r} varies nothing",
                code="INP-013",
                field="--vary",
                hint="write decay=0.94,0.99",
            )
    return found


def _base(
    model: str, tried: dict[str, list[float]], level: float, overrides: dict[str, Any]
) -> dict[str, float]:
    """Return today's values of the parameters that are varied."""
    from crossmargin.margin import flat_parameters, load_ruleset
    from crossmargin.validation import challengers

    for one in challengers(level):
        if one.name == model:
            _changed(one, {name: values[0] for name, values in tried.items()})
            asked = _changed(one, overrides)
            return {name: float(getattr(asked, name)) for name in tried}
    known = flat_parameters(load_ruleset(model, overrides=overrides))
    out = {}
    for name in tried:
        value = known.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InputError(
                f"the rule-set {model!r} has no figure {name!r}",
                code="INP-013",
                field="--vary",
                hint=f"see crossmargin rulesets show {model}",
            )
        out[name] = float(value)
    return out


def _known(books: list[Any], history: Any, horizon: int) -> tuple[list[Any], dict[str, str]]:
    """Part the books into those whose series the history has, and the others with a reason."""
    kept, left_out = [], {}
    for book in books:
        needed = [leg.symbol for leg in book.legs] + [leg.asset for leg in book.legs]
        needed += [pledge.asset for pledge in book.collateral]
        missing = [name for name in dict.fromkeys(needed) if not history.has(name)]
        days = [leg.days for leg in book.legs if leg.kind != "perpetual"]
        if days and min(days) <= horizon:
            left_out[book.name] = f"an option of {min(days)} days ends within the horizon"
        elif missing:
            left_out[book.name] = f"the history has no prices of {', '.join(missing)}"
        else:
            kept.append(book)
    if not kept:
        name, why = next(iter(left_out.items()))
        raise InputError(
            f"no book can be valued: {name}: {why}", code="INP-003", field="portfolio",
            hint=f"the history has {', '.join(history.symbols)}",
        )  # fmt: skip
    return kept, left_out


def _proxy(place: str, books: list[Any], file: Any) -> Any:
    """Measure the volatility proxy where books rest on it and chains are recorded."""
    from pathlib import Path

    from crossmargin.validation.proxy_error import CHAINS, proxy_error

    if not any(book.synthetic for book in books) or not (Path(place) / CHAINS).is_file():
        return None
    return proxy_error(place, file.held)
