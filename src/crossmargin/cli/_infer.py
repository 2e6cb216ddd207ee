"""Fitting a rule-set's unknown figures to a venue's statements."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from crossmargin.cli import _io as io


def infer(
    *case: Annotated[str, Parameter(help="Case files (crossmargin-case/1).", negative=())],
    ruleset: Annotated[str, Parameter(help="Rule-set id or TOML file with the rest in place.")],
    unknown: Annotated[
        list[str], Parameter(help="What to fit: path=LOW..HIGH. May be repeated.", negative=())
    ],
    seed: Annotated[int, Parameter(help="Of the random starts.")] = 0,
    starts: Annotated[int, Parameter(help="How many starts of the search.")] = 8,
    json: Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")] = False,
    out: Annotated[
        str | None, io.file_option("Write the identified figures here, for --params.")
    ] = None,
) -> None:
    """Fit unknown parameters of a rule-set to margins that a venue states.

    Says which figures the statements pin down, which only in combination, and which not at all.

    Example: `crossmargin infer replies.json --ruleset mine.toml --unknown
    components.perp.tiers.BTC.0.mm=0.002..0.05`
    """
    from crossmargin.analytics import Unknown, read_cases
    from crossmargin.analytics import infer as fit
    from crossmargin.analytics.reconcile import OwnCase
    from crossmargin.errors import InputError
    from crossmargin.margin import load_ruleset

    cases = [one for path in case for one in read_cases(path)]
    own = [one for one in cases if isinstance(one, OwnCase)]
    if len(own) != len(cases) or not own:
        raise InputError(
            "cases to fit are written in crossmargin-case/1",
            code="INP-003",
            field="format",
            hint="see docs/files.md",
        )
    asked = [_unknown(text) for text in unknown]
    done = fit(
        load_ruleset(ruleset),
        [Unknown(path=path, low=low, high=high) for path, low, high in asked],
        own,
        seed=seed,
        starts=starts,
        progress=_progress if sys.stderr.isatty() and not json else None,
    )
    if out is not None:
        known = {p.path: p.value for p in done.parameters if p.verdict == "identified"}
        io.write_whole(out, _toml(known).encode())
    if json:
        import msgspec

        raw = msgspec.json.format(msgspec.json.encode(done.as_dict()), indent=2)
        sys.stdout.write(raw.decode() + "\n")
        return
    from crossmargin.reports.reconcile_cases import print_inference
    from crossmargin.reports.terminal import make_console

    print_inference(make_console(), done)


def _progress(done: int, whole: int) -> None:
    sys.stderr.write(f"\rstart {done} of {whole}" + ("\n" if done == whole else ""))
    sys.stderr.flush()


def _unknown(text: str) -> tuple[str, float, float]:
    from crossmargin.errors import InputError

    path, _, bounds = text.partition("=")
    low, dots, high = bounds.partition("..")
    try:
        if not (path and dots):
            raise ValueError
        return path, float(low), float(high)
    except ValueError:
        raise InputError(
            f"{text!r} is not path=LOW..HIGH",
            code="INP-003",
            field="--unknown",
            hint="for example components.perp.rate=0.01..0.2",
        ) from None


def _toml(values: dict[str, float]) -> str:
    lines = ["# figures fitted to a venue's statements"]
    lines += [f'"{path}" = {value!r}' for path, value in values.items()]
    return "\n".join(lines) + "\n"
