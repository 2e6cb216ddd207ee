"""``crossmargin haircuts``: published schedules; ``crossmargin haircut``: one from a history."""

from __future__ import annotations

import re
from typing import Annotated, Any

from cyclopts import Parameter

JsonOpt = Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")]


def haircuts(
    venue: Annotated[str | None, Parameter(help="Short name of a venue; default all.")] = None,
    *,
    asset: Annotated[str | None, Parameter(help="Only this coin.")] = None,
    on: Annotated[str | None, Parameter(help="Day (ISO date); default the newest.")] = None,
    json: JsonOpt = False,
) -> None:
    """List the haircut schedules that venues have published, with date and confidence.

    Examples
    --------
    crossmargin haircuts kraken-futures

    crossmargin haircuts --asset BTC --json
    """
    from crossmargin.cli._app import _print_json
    from crossmargin.errors import InputError, RulesetError
    from crossmargin.margin import collateral_from_haircuts, haircut_files

    if on is not None and not re.fullmatch(r"\d{4}(-\d{2}(-\d{2})?)?", on):
        raise InputError(
            f"{on!r} is not a date", code="INP-010", field="--on", hint="write 2026-01-31"
        )
    books = haircut_files()
    if venue is not None and venue not in books:
        raise RulesetError(
            f"no haircuts of {venue!r} are shipped",
            code="RUL-026",
            hint=f"known are {', '.join(books)}",
        )
    rows: list[dict[str, Any]] = []
    for name in [venue] if venue is not None else list(books):
        for scheme in sorted({entry.id for entry in books[name].entries}):
            table = collateral_from_haircuts(name, scheme, on=on)
            for coin, entry in table.sources.items():
                if asset is not None and coin.upper() != asset.upper():
                    continue
                rule = table.assets.get(coin)
                rows.append(
                    {
                        "venue": name,
                        "scheme": scheme,
                        "asset": coin,
                        "kind": entry.kind,
                        "date": entry.date,
                        "confidence": entry.confidence,
                        "rule": table.as_dict().get(coin),
                        "words": None if rule is None else _words(rule),
                        "refused": table.refused.get(coin),
                        "note": entry.note,
                        "source": entry.source,
                    }
                )
    if asset is not None and not rows:
        raise RulesetError(
            f"no published schedule names {asset!r}",
            code="RUL-026",
            hint="list them all with: crossmargin haircuts",
        )
    if json:
        _print_json(rows)
        return
    _print_rows(rows)


def _words(rule: Any) -> str:
    from crossmargin.reports.rulesets import asset_words

    return asset_words(rule)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    from crossmargin.reports.terminal import make_console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("venue", "scheme", "asset", "stated", "how it counts"):
        table.add_column(name, overflow="fold", no_wrap=name in ("asset", "venue"))
    for row in rows:
        stated = " ".join(x for x in (row["kind"], row["date"], f"({row['confidence']})") if x)
        table.add_row(
            row["venue"],
            row["scheme"],
            row["asset"],
            stated,
            row["words"] or f"refused: {row['refused']}",
        )
    console = make_console()
    console.print(table)
    console.print(
        "Snapshots with a date: venues change these often. An example is a documentation's "
        "illustration, not a setting."
    )
