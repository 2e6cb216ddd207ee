"""What is said of a replay: JSON lines, lines for the terminal, rows for Parquet."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crossmargin.cli._app import _console
from crossmargin.units import format_time

if TYPE_CHECKING:
    from crossmargin.book import CompactBook
    from crossmargin.margin import Breaches, Ruleset
    from crossmargin.market import Snapshot, Ticks


@dataclass
class Replay:
    """What a replay has seen so far.

    Attributes
    ----------
    fallen : int
        Falls below the line; an account that recovers may fall again.
    who : set of int
        Accounts that fell.
    latencies_s : list of float
        Of every tick: from the price in to the last breached account flagged.
    deficit_usd : float
        What accounts below the line lack at the last tick.
    late_s : float
        How far the replay fell behind its pace at worst.
    """

    ticks: int = 0
    breached_ticks: int = 0
    fallen: int = 0
    who: set[int] = field(default_factory=set)
    recovered: int = 0
    latencies_s: list[float] = field(default_factory=list)
    late_s: float = 0.0
    deficit_usd: float = 0.0
    worst_deficit_usd: float = 0.0
    worst_time_ns: int = 0
    most_below: int = 0
    below: int = 0
    failed: int = 0


def latency_summary(latencies_s: list[float]) -> dict[str, Any]:
    """Return quantiles of the latency in milliseconds, and a histogram of doubling widths."""
    import numpy as np

    ms = np.asarray(latencies_s) * 1e3
    if not ms.size:
        return {"ticks": 0, "p50_ms": None, "p99_ms": None, "max_ms": None, "histogram": []}
    low = int(np.floor(np.log2(max(float(ms.min()), 1e-3))))
    high = int(np.floor(np.log2(max(float(ms.max()), 1e-3)))) + 1
    edges = 2.0 ** np.arange(low, high + 1)
    counts, _ = np.histogram(np.maximum(ms, edges[0]), edges)
    return {
        "ticks": int(ms.size),
        "p50_ms": float(np.quantile(ms, 0.5)),
        "p99_ms": float(np.quantile(ms, 0.99)),
        "max_ms": float(ms.max()),
        "histogram": [
            {"from_ms": float(a), "to_ms": float(b), "ticks": int(n)}
            for a, b, n in zip(edges[:-1], edges[1:], counts)
        ],
    }


def event_rows(held: CompactBook, events: list[tuple[int, Breaches]]) -> Any:
    """Return one row an event: an account that fell below the line, or came back above it."""
    import numpy as np
    import polars as pl

    columns: dict[str, list[Any]] = {
        name: []
        for name in ("tick", "time", "account_id", "event", "equity_usd", "mm_usd", "health")
    }
    for number, made in events:
        for event, places in (("below", made.fallen), ("recovered", made.recovered)):
            n = int(places.size)
            columns["tick"] += [number] * n
            columns["time"] += [made.time_ns] * n
            columns["account_id"] += [held.name(int(k)) for k in places]
            columns["event"] += [event] * n
            for name in ("equity_usd", "mm_usd", "health"):
                columns[name] += getattr(made, name).tolist() if event == "below" else [None] * n
    health = [None if x is None or not np.isfinite(x) else x for x in columns["health"]]
    return pl.DataFrame(
        {
            "tick": pl.Series(columns["tick"], dtype=pl.Int64),
            "time": pl.Series(columns["time"], dtype=pl.Datetime("ns", "UTC")),
            "account_id": pl.Series(columns["account_id"], dtype=pl.String),
            "event": pl.Series(columns["event"], dtype=pl.String),
            "equity_usd": pl.Series(columns["equity_usd"], dtype=pl.Float64),
            "mm_usd": pl.Series(columns["mm_usd"], dtype=pl.Float64),
            "health": pl.Series(health, dtype=pl.Float64),
        }
    )


def breach_dict(held: CompactBook, made: Breaches, deficit_usd: float, top: int) -> dict[str, Any]:
    """Return what a tick did, and what is lacking after it; amounts in US dollars."""
    worst = worst_fallen(made, top)
    return {
        "time": format_time(made.time_ns),
        "prices_usd": made.prices_usd,
        "newly_below": int(made.fallen.size),
        "deficit_newly_below_usd": float(made.deficits_usd.sum()),
        "recovered": int(made.recovered.size),
        "below": made.below,
        "deficit_usd": deficit_usd,
        "failed": made.failed,
        "worst": [
            {
                "account": held.name(int(made.fallen[k])),
                "equity_usd": float(made.equity_usd[k]),
                "mm_usd": float(made.mm_usd[k]),
                "deficit_usd": float(made.deficits_usd[k]),
                "health": float(made.health[k]) if math.isfinite(made.health[k]) else None,
            }
            for k in worst
        ],
    }


def worst_fallen(made: Breaches, top: int) -> list[int]:
    """Return the places of the fallen accounts with the lowest health, lowest first."""
    import numpy as np

    return [int(k) for k in np.argsort(made.health, kind="stable")[:top]]


class JsonLines:
    """One JSON object a line: what is replayed, each tick at which anything happens, the sum."""

    def __init__(self, held: CompactBook, top: int) -> None:
        self._held, self._top = held, top

    def _write(self, kind: str, value: dict[str, Any]) -> None:
        import msgspec

        sys.stdout.write(msgspec.json.encode({"kind": kind, **value}).decode() + "\n")
        sys.stdout.flush()

    def begin(
        self,
        world: Snapshot,
        rules: Ruleset,
        ticks: Ticks,
        ignored: dict[str, list[str]],
        prices_as: str,
        warnings: list[str],
    ) -> None:
        self._write(
            "replay",
            {
                "format": "crossmargin-book-watch/1",
                "ruleset": rules.id,
                "ruleset_hash": rules.content_hash,
                "market_as_of": format_time(world.as_of_ns),
                "at": format_time(world.moment_ns),
                "accounts": self._held.size,
                "ticks": len(ticks),
                "coins": list(ticks.coins),
                "prices_as": prices_as,
                **{k.replace(", ", "_").replace(" ", "_"): v for k, v in ignored.items()},
                "warnings": warnings,
            },
        )

    def start(self, made: Breaches, deficit_usd: float) -> None:
        self._write("start", breach_dict(self._held, made, deficit_usd, self._top))

    def tick(self, made: Breaches, deficit_usd: float) -> None:
        if made.fallen.size or made.recovered.size:
            self._write("tick", breach_dict(self._held, made, deficit_usd, self._top))

    def end(self, kept: Replay, out: str | None) -> None:
        self._write("summary", summary_dict(kept, out))


def summary_dict(kept: Replay, out: str | None) -> dict[str, Any]:
    """Return the sum of a replay as plain data."""
    return {
        "ticks": kept.ticks,
        "ticks_with_breaches": kept.breached_ticks,
        "newly_below": kept.fallen,
        "accounts_fallen": len(kept.who),
        "recovered": kept.recovered,
        "below": kept.below,
        "most_below": kept.most_below,
        "worst_deficit_usd": kept.worst_deficit_usd,
        "worst_time": format_time(kept.worst_time_ns) if kept.worst_deficit_usd else None,
        "failed_at_most": kept.failed,
        "late_s": kept.late_s,
        "latency": latency_summary(kept.latencies_s),
        "results": out,
    }


class Lines:
    """Tables for the terminal."""

    def __init__(self, held: CompactBook, top: int) -> None:
        self._held, self._top, self._console = held, top, _console()

    def begin(
        self,
        world: Snapshot,
        rules: Ruleset,
        ticks: Ticks,
        ignored: dict[str, list[str]],
        prices_as: str,
        warnings: list[str],
    ) -> None:
        from crossmargin.reports.watch import print_begin

        print_begin(
            self._console, self._held.size, world, rules, ticks, ignored, prices_as, warnings
        )

    def start(self, made: Breaches, deficit_usd: float) -> None:
        from crossmargin.reports.watch import print_start

        print_start(self._console, made, deficit_usd)

    def tick(self, made: Breaches, deficit_usd: float) -> None:
        """Say who crossed; what is lacking in all stands at the end."""
        if made.fallen.size or made.recovered.size:
            from crossmargin.reports.watch import print_tick

            worst = worst_fallen(made, 3)
            names = [self._held.name(int(made.fallen[k])) for k in worst]
            print_tick(self._console, made, list(zip(names, made.health[worst].tolist())))

    def end(self, kept: Replay, out: str | None) -> None:
        from crossmargin.reports.watch import print_end

        print_end(self._console, summary_dict(kept, out))
