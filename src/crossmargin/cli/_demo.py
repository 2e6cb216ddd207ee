"""The demo: four accounts people recognise, in a calm market and in a crash."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from crossmargin.cli import _io as io
from crossmargin.errors import InputError
from crossmargin.margin import Statement, load_ruleset, make_statement
from crossmargin.venues import market_names

ORDER = ("covered-call", "basis-trader", "short-vol-desk", "directional")


def demo_statements() -> list[tuple[str, Statement]]:
    """Return (market, statement) for every demo account in every shipped market."""
    rules = load_ruleset(io.DEFAULT_RULESET)
    out = []
    for name in ORDER:
        account = io.load_account(name)
        for market in market_names():
            out.append((market, make_statement(account, io.load_market(market), rules)))
    return out


def run_demo(*, json: bool, html: str | None) -> None:
    """Print the demo, and write a report for each account and market when asked."""
    made = demo_statements()
    written: list[Path] = []
    if html is not None:
        written = _write(Path(html), made)
    if json:
        import msgspec

        rows: Any = [{"market": market, "statement": one} for market, one in made]
        raw = msgspec.json.format(msgspec.json.encode(rows), indent=2)
        sys.stdout.write(raw.decode() + "\n")
        return
    from crossmargin.reports.demo import print_demo

    print_demo(made)
    for path in written:
        print(f"report written to {path}")


def _write(folder: Path, made: list[tuple[str, Statement]]) -> list[Path]:
    from crossmargin.analytics import profiles
    from crossmargin.book import book_from_accounts
    from crossmargin.margin import evaluate
    from crossmargin.reports import render_report

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder {str(folder)!r}: {(error.strerror or '').lower()}",
            code="INP-014",
        ) from None
    rules = load_ruleset(io.DEFAULT_RULESET)
    paths = []
    for market, one in made:
        done = evaluate(
            book_from_accounts([io.load_account(one.account)]), io.load_market(market), rules
        )
        path = folder / f"{one.account}-{market}.html"
        io.write_whole(path, render_report(one, profiles(done)).encode())
        paths.append(path)
    return paths
