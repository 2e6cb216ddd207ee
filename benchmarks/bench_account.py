"""One account of 200 positions on a market of 1,500 instruments: warm evaluation.

The same table is also priced with NumPy and with a QuantLib loop (the best a user could put
together without this library).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.harness import Measure, Scale, Spread, interleaved, number, report
from crossmargin.book import AccountFile, BalanceEntry, PositionEntry, book_from_accounts
from crossmargin.instruments import Registry, parse_instrument
from crossmargin.margin import (
    equity,
    evaluate,
    frame_for,
    load_ruleset,
    make_statement,
    requirement,
)
from crossmargin.market import AssetPrice, Forward, InstrumentQuote, Snapshot
from crossmargin.scenarios import RiskTable, build_scenarios, build_table, plan_table
from crossmargin.units import parse_time

AS_OF = parse_time("2026-02-03T04:29:35Z")
DAYS = ("6FEB26", "13FEB26", "20FEB26", "27FEB26", "27MAR26", "24APR26", "26JUN26", "25SEP26")


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


def run(scale: Scale) -> list[Measure]:
    """Measure the risk table, then the account on it, up to a statement."""
    snapshot, names = build_market()
    registry = Registry(parse_instrument(n) for n in names)
    rules = load_ruleset("deribit-pm-cross")
    spec = rules.data.scenarios
    assert spec is not None
    view = snapshot.view(registry)
    plan = plan_table(registry, build_scenarios(spec, ["BTC", "ETH"]))
    account = build_account(names, 200)
    frame = frame_for(book_from_accounts([account], registry), snapshot, rules, kernel="numba")
    # The whole market's table, as an engine that serves many accounts keeps it.
    full = build_table(plan, view, kernel="numba")

    def on(table: Callable[[], RiskTable]) -> float:
        there = frame.in_market(frame.view)
        there.__dict__["table"] = table()
        need = requirement(there)
        return float(equity(there, need).mm.sum() + need.im.sum())

    fast = {
        "table": lambda: build_table(plan, view, kernel="numba"),
        "table by numpy": lambda: build_table(plan, view, kernel="numpy"),
        "repriced": lambda: on(lambda: build_table(plan, view, kernel="numba")),
        "given": lambda: on(lambda: full),
        "from files": lambda: evaluate(
            book_from_accounts([account]), snapshot, rules, kernel="numba"
        ),
    }
    slow = {
        "statement": lambda: make_statement(account, snapshot, rules, kernel="numba", solve=False),
        "with liquidation prices": lambda: make_statement(account, snapshot, rules, kernel="numba"),
    }
    times = interleaved(fast, scale) | interleaved(slow, replace(scale, repeats=3))
    size = f"{len(registry):,} instruments × {plan.scenarios.size} scenarios"
    rows = [
        (f"risk table, {size}, numba", "table", 2.0),
        (f"risk table, {size}, numpy", "table by numpy", None),
        ("account of 200 with the whole market repriced", "repriced", 5.0),
        ("account of 200 on a given table", "given", None),
        ("account of 200 from its file to the requirement", "from files", None),
        ("account of 200, statement, explained", "statement", None),
        ("account of 200, statement with liquidation prices", "with liquidation prices", None),
    ]
    out = []
    for title, name, line in rows:
        ratio = times[name].over(times["table"]) if name in fast else None
        note = "deribit-pm-cross" + ("" if ratio is None else f"; {ratio}× the numba table")
        ms = [1e3 * s for s in times[name].seconds]
        spread = Spread.of(ms)
        out.append(
            Measure(
                title, line, None, None, spread.median, "ms", note, spread.low, spread.high, "lower"
            )
        )
    out.append(quantlib_row(registry, view, plan.scenarios, times["table"].median))
    return out


def quantlib_row(registry: Registry, view: Any, scenarios: Any, table_s: float) -> Measure:
    """Cost of the same table with a loop over QuantLib's blackFormula (150 options, scaled)."""
    title = "risk table, QuantLib blackFormula loop"
    try:
        import QuantLib as ql
    except ImportError:
        return report(title, None, "ms", "not installed: QuantLib")
    options = [k for k in range(len(registry)) if registry[k].kind == "option"][:150]
    start = time.perf_counter()
    for k in options:
        terms = registry.terms
        right = ql.Option.Call if terms.is_call[k] else ql.Option.Put
        deviation = float(view.vol[k] * np.sqrt(view.years[k]))
        for m in scenarios.move[0]:
            forward = float(view.price[k] * (1 + m))
            ql.blackFormula(right, float(terms.strike[k]), forward, deviation)
    everything = int(np.count_nonzero(registry.terms.kind == 3))
    took = (time.perf_counter() - start) * everything / len(options)
    note = f"one pass over {len(options)} options, scaled; {number(took / table_s)}× ours"
    return report(title, took * 1e3, "ms", note)
