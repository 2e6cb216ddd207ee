"""One account of 200 positions on a market of 1,500 instruments: warm evaluation.

Run: ``python benchmarks/bench_account.py [--write]``. Prints medians of repeats with the
machine's same-run calibration, and what the same table costs with numpy and with a QuantLib
loop (the best a user could put together without this library).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from crossmargin.book import AccountFile, BalanceEntry, PositionEntry, book_from_accounts
from crossmargin.instruments import Registry, deribit_name, parse_instrument
from crossmargin.margin import (
    equity,
    evaluate,
    frame_for,
    load_ruleset,
    make_statement,
    requirement,
)
from crossmargin.market import AssetPrice, Forward, InstrumentQuote, Snapshot
from crossmargin.scenarios import build_scenarios, build_table, plan_table
from crossmargin.units import parse_time

AS_OF = parse_time("2026-02-03T04:29:35Z")
DAYS = ("6FEB26", "13FEB26", "20FEB26", "27FEB26", "27MAR26", "24APR26", "26JUN26", "25SEP26")
RESULTS = Path(__file__).parent / "results" / "account.json"


def median_ms(run: Callable[[], object], repeats: int) -> float:
    """Median wall time of `repeats` runs after two warm-ups, milliseconds."""
    for _ in range(2):
        run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def build_market() -> tuple[Snapshot, list[str]]:
    """Make a market of about 1,500 options plus perpetuals and futures, BTC and ETH."""
    assets = {
        "BTC": AssetPrice(price_usd=78_000.0, time_ns=AS_OF),
        "ETH": AssetPrice(price_usd=2_330.0, time_ns=AS_OF),
        "USDC": AssetPrice(price_usd=0.9998, time_ns=AS_OF),
    }
    forwards: dict[tuple[str, int], Forward] = {}
    quotes: dict[str, InstrumentQuote] = {}
    names: list[str] = []
    for coin, spot, step in (("BTC", 78_000.0, 1_000.0), ("ETH", 2_330.0, 50.0)):
        quotes[f"{coin}-PERPETUAL"] = InstrumentQuote(
            price_mark=spot, funding_rate_8h=1e-5, time_ns=AS_OF
        )
        names.append(f"{coin}-PERPETUAL")
        for turn, day in enumerate(DAYS):
            future = parse_instrument(f"{coin}-{day}")
            forward = spot * (1 + 0.002 * turn)
            forwards[coin, future.expiry_ns] = Forward(price_usd=forward, time_ns=AS_OF)  # type: ignore[attr-defined]
            names.append(future.id)
            for k in range(-23, 24):
                strike = round(spot / step) * step + k * step
                vol = 0.45 + 0.0004 * k * k
                for right in "CP":
                    item = parse_instrument(f"{coin}-{day}-{strike:g}-{right}")
                    quotes[item.id] = InstrumentQuote(vol=vol, time_ns=AS_OF)
                    names.append(item.id)
    return Snapshot(as_of_ns=AS_OF, assets=assets, forwards=forwards, quotes=quotes), names


def build_account(names: list[str], size: int, seed: int = 7) -> AccountFile:
    """Make an account of `size` random positions."""
    rng = random.Random(seed)
    positions = []
    for name in rng.sample(names, size):
        quantity = rng.choice([-1, 1]) * rng.uniform(0.1, 5.0)
        linear = parse_instrument(name).kind != "option"
        positions.append(
            PositionEntry(
                instrument=name,
                quantity=quantity * 1_000 if linear else quantity,
                entry_price="mark" if linear else None,
            )
        )
    balances = [BalanceEntry(asset="BTC", amount=50.0), BalanceEntry(asset="USDC", amount=1e6)]
    return AccountFile(
        format="crossmargin-account/1", account="bench", balances=balances, positions=positions
    )


def measure(repeats: int) -> dict[str, Any]:
    """Measure everything in one run."""
    snapshot, names = build_market()
    registry = Registry(parse_instrument(n) for n in names)
    rules = load_ruleset("deribit-pm-cross")
    spec = rules.data.scenarios
    assert spec is not None
    view = snapshot.view(registry)
    plan = plan_table(registry, build_scenarios(spec, ["BTC", "ETH"]))
    out: dict[str, Any] = {"instruments": len(registry), "scenarios": plan.scenarios.size}
    for kernel in ("numba", "numpy"):
        out[f"table_{kernel}_ms"] = median_ms(
            lambda kernel=kernel: build_table(plan, view, kernel=kernel), repeats
        )
    account = build_account(names, 200)
    book = book_from_accounts([account], registry)
    frame = frame_for(book, snapshot, rules, kernel="numba")
    # The whole market's table, as an engine that serves many accounts keeps it.
    full = build_table(plan, view, kernel="numba")

    def warm() -> float:
        """Reprice the whole market, then the account: requirement and equity."""
        there = frame.in_market(frame.view)
        there.__dict__["table"] = build_table(plan, view, kernel="numba")
        need = requirement(there)
        return float(equity(there, need).mm.sum() + need.im.sum())

    def alone() -> float:
        """The account on a table that is there already."""
        there = frame.in_market(frame.view)
        there.__dict__["table"] = full
        need = requirement(there)
        return float(equity(there, need).mm.sum() + need.im.sum())

    out["positions"] = 200
    out["account_full_market_ms"] = median_ms(warm, repeats)
    out["account_given_table_ms"] = median_ms(alone, repeats)
    out["evaluate_from_files_ms"] = median_ms(
        lambda: evaluate(book_from_accounts([account]), snapshot, rules, kernel="numba"), 5
    )
    out["statement_explained_ms"] = median_ms(
        lambda: make_statement(account, snapshot, rules, kernel="numba", solve=False), 3
    )
    out["statement_with_liquidation_ms"] = median_ms(
        lambda: make_statement(account, snapshot, rules, kernel="numba"), 1
    )
    out["quantlib_table_ms"] = quantlib_table_ms(registry, view, plan.scenarios)
    return out


def quantlib_table_ms(registry: Registry, view: Any, scenarios: Any) -> float:
    """Cost of the same table with a loop over QuantLib's blackFormula (one pass, scaled)."""
    import QuantLib as ql

    start = time.perf_counter()
    done = 0
    options = [k for k in range(len(registry)) if registry[k].kind == "option"][:150]
    for k in options:
        terms = registry.terms
        right = ql.Option.Call if terms.is_call[k] else ql.Option.Put
        deviation = float(view.vol[k] * np.sqrt(view.years[k]))
        for m in scenarios.move[0]:
            forward = float(view.price[k] * (1 + m))
            ql.blackFormula(right, float(terms.strike[k]), forward, deviation)
        done += 1
    everything = int(np.count_nonzero(registry.terms.kind == 3))
    return (time.perf_counter() - start) * 1e3 * everything / done


def main(argv: list[str] | None = None) -> int:
    """Print the table; with --write also store it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--repeats", type=int, default=25)
    options = parser.parse_args(argv)
    from calibration import calibrate

    machine = calibrate()
    out = measure(options.repeats)
    rows = [
        ("risk table, numba kernel", "table_numba_ms", "≤ 2"),
        ("risk table, numpy kernel", "table_numpy_ms", ""),
        ("risk table, QuantLib blackFormula loop", "quantlib_table_ms", ""),
        ("account of 200 with the whole market repriced", "account_full_market_ms", "≤ 5"),
        ("account of 200 on a given table", "account_given_table_ms", ""),
        ("from account file to requirement", "evaluate_from_files_ms", ""),
        ("statement, explained", "statement_explained_ms", ""),
        ("statement with liquidation prices", "statement_with_liquidation_ms", ""),
    ]
    print(f"{out['instruments']} instruments × {out['scenarios']} scenarios; {machine}")
    for label, key, target in rows:
        ratio = out[key] / out["table_numba_ms"]
        print(f"{label:<48}{out[key]:>10.3f} ms  {ratio:>8.1f}× table   {target}")
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(
            json.dumps({"calibration": str(machine), **out}, indent=2, sort_keys=True) + "\n"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())


__all__ = ["build_account", "build_market", "deribit_name", "main", "measure"]
