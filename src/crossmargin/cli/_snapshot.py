"""Building a market file, and saying what was dropped and why."""

from __future__ import annotations

import json as json_lib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from crossmargin.cli._io import write_whole
from crossmargin.codec import read_bytes
from crossmargin.errors import InputError
from crossmargin.market import write_market
from crossmargin.units import format_time, parse_time
from crossmargin.venues import (
    SnapshotReport,
    market_file,
    snapshot_from_book_summary,
    snapshot_from_recorded_chain,
)


def run_snapshot(
    *,
    source: list[Path],
    out: str,
    at: str | None,
    price: list[str],
    perps: str | None,
    futures: str | None,
    keep_quotes: bool,
    json: bool,
) -> None:
    """Read the source, write the market, print the report."""
    prices = _prices(price)
    if any(path.suffix == ".parquet" for path in source):
        report = _recorded(source, at, perps, futures, prices)
    else:
        report = _summaries(source, at, prices)
    market = report.snapshot
    if not (market.forwards or market.quotes):
        why = report.dropped[0].sentence if report.dropped else "the reply lists nothing"
        raise InputError(
            f"nothing in the source can be used: {why.rstrip('.')}",
            code="INP-034",
            field="source",
            hint="check the moment and the source; nothing was written",
        )
    write_whole(out, write_market(market_file(report, keep_quotes=keep_quotes)))
    if json:
        sys.stdout.write(json_lib.dumps(_plain(report, out), indent=2) + "\n")
    else:
        _print(report, out)


def _prices(assignments: list[str]) -> dict[str, float]:
    found = {}
    for text in assignments:
        asset, sign, raw = text.partition("=")
        try:
            found[asset.strip()] = float(raw)
        except ValueError:
            sign = ""
        if not sign:
            raise InputError(
                f"{text!r} is not a price",
                code="INP-013",
                field="--price",
                hint="write USDC=0.9998",
            )
    return found


def _recorded(
    source: list[Path],
    at: str | None,
    perps: str | None,
    futures: str | None,
    prices: dict[str, float],
) -> SnapshotReport:
    if len(source) != 1:
        raise InputError("give one recorded chain", code="INP-013", field="source")
    if at is None:
        raise InputError(
            "a recorded chain holds many moments",
            code="INP-013",
            field="--at",
            hint="give the moment: the first snapshot from it on is taken",
        )
    return snapshot_from_recorded_chain(
        source[0], at, perps_path=perps, futures_path=futures, index_price=prices
    )


def _summaries(source: list[Path], at: str | None, prices: dict[str, float]) -> SnapshotReport:
    replies: list[Any] = []
    for path in source:
        raw = read_bytes(path, what="book summary")
        try:
            replies.append(json_lib.loads(raw))
        except ValueError as error:
            raise InputError(
                f"book summary {str(path)!r} is not complete JSON: {error}", code="INP-002"
            ) from None
    return snapshot_from_book_summary(
        replies,
        as_of_ns=None if at is None else parse_time(at, field="--at"),
        index_price=prices,
    )


def _plain(report: SnapshotReport, out: str) -> dict[str, Any]:
    return {
        "written": out,
        "as_of": format_time(report.snapshot.as_of_ns),
        "assets": {k: v.price_usd for k, v in sorted(report.snapshot.assets.items())},
        "dropped": [
            {"instrument": d.instrument, "reason": str(d.reason), "sentence": d.sentence}
            for d in report.dropped
        ],
        "fits": [
            {
                "underlying": f.underlying,
                "expiry": format_time(f.expiry_ns),
                "quotes": f.fit.n,
                "rmse_vol_points": f.fit.rmse_vol * 100,
                "rmse_vol_points_10_90_delta": None
                if f.fit.rmse_vol_10_90 is None
                else f.fit.rmse_vol_10_90 * 100,
                "butterfly_free": f.fit.butterfly_free,
            }
            for f in report.fits
        ],
        "violations": [
            {
                "underlying": v.underlying,
                "expiry": format_time(v.expiry_ns),
                "what": str(v.record),
            }
            for v in report.violations
        ],
        "notes": list(report.notes),
    }


def _print(report: SnapshotReport, out: str) -> None:
    from rich.text import Text

    from crossmargin.reports._terminal import HouseTable
    from crossmargin.reports.terminal import make_console

    console = make_console()
    market = report.snapshot
    console.print(
        f"market of {format_time(market.as_of_ns)} written to {out}: "
        + ", ".join(f"{k} {v.price_usd:,.4f} USD" for k, v in sorted(market.assets.items()))
    )
    table = HouseTable()
    table.add_column("surface")
    for name in ("forward, USD", "quotes", "RMSE, vol points", "10–90 delta", "butterfly"):
        table.add_column(name, justify="right")
    for f in report.fits:
        inner = f.fit.rmse_vol_10_90
        table.add_row(
            f"{f.underlying} {format_time(f.expiry_ns)[:10]}",
            f"{f.fit.slice.forward_usd:,.2f}",
            str(f.fit.n),
            f"{f.fit.rmse_vol * 100:.3f}",
            "–" if inner is None else f"{inner * 100:.3f}",
            "free" if f.fit.butterfly_free else "arbitrage",
        )
    console.print(table)
    count = Counter(str(d.reason) for d in report.dropped)
    if count:
        console.print(
            "dropped: " + ", ".join(f"{n} × {reason}" for reason, n in sorted(count.items()))
        )
        for d in report.dropped[:8]:
            console.print(Text(f"• {d.sentence}", "dim"))
        if len(report.dropped) > 8:
            console.print(Text(f"• and {len(report.dropped) - 8} more (see --json)", "dim"))
    else:
        console.print("nothing was dropped")
    for v in report.violations[:8]:
        console.print(Text(f"• {v.underlying} {v.record}", "yellow"))
    if len(report.violations) > 8:
        console.print(Text(f"• and {len(report.violations) - 8} more violations", "yellow"))
    if not report.violations:
        console.print("no butterfly or calendar arbitrage in the fitted range")
    for note in report.notes:
        console.print(Text(f"• {note}", "dim"))
