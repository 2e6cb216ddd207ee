"""Holding the engine's columns against the oracle's dicts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from crossmargin.book import book_from_accounts, parse_account
from crossmargin.margin.engine import equity, frame_for, requirement
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import decode_market, snapshot_from_file

from .margin_oracle import evaluate

REL = 1e-10
ABS_USD = 1e-9


def engine_result(
    accounts: list[dict[str, Any]],
    market: dict[str, Any],
    rules: Ruleset,
    *,
    orders: bool = False,
    kernel: str = "numpy",
) -> list[dict[str, Any]]:
    """What the engine says of every account of one book, in the oracle's shape."""
    snapshot = snapshot_from_file(decode_market(json.dumps(market).encode(), "market"))
    book = book_from_accounts([parse_account(json.dumps(a)) for a in accounts])
    frame = frame_for(book, snapshot, rules, kernel=kernel)
    need = requirement(frame, orders=orders)
    have = equity(frame, need)
    a = frame.arrangement
    assets = book.registry.assets
    first = {}
    for row, pool in enumerate(book.position_pool):
        first.setdefault(int(book.pool_account[pool]), row)
    out: list[dict[str, Any]] = [{"pots": {}, "groups": {}} for _ in accounts]
    keys = []
    for pot in range(a.pots):
        pool = int(a.pot_pool[pot])
        owner = int(book.pool_account[pool])
        held = int(a.pot_position[pot])
        numeraire = "USD" if a.pot_asset[pot] < 0 else assets[a.pot_asset[pot]]
        key = (
            book.pool_names[pool],
            numeraire,
            None if held < 0 else held - first[owner],
        )
        keys.append((owner, key))
        out[owner]["pots"][key] = {
            "im": need.im[pot],
            "mm": need.mm[pot],
            "credit_im": need.credit_im[pot],
            "credit_mm": need.credit_mm[pot],
            "equity_im": have.im[pot],
            "equity_mm": have.mm[pot],
        }
    for group in range(a.groups):
        owner, pot_key = keys[int(a.group_pot[group])]
        cell: dict[str, Any] = {
            "im": need.group_im[group],
            "mm": need.group_mm[group],
            "parts": {n: (p.im[group], p.mm[group]) for n, p in need.parts.items()},
        }
        if need.scan is not None:
            cell["vector"] = need.scan.vector[group]
            cell["raw"] = need.scan.raw[group]
            cell["scan_margin"] = need.scan.margin[group]
        out[owner]["groups"][pot_key, assets[int(a.group_underlying[group])]] = cell
    return out


class Comparison:
    """Collects the worst error and every disagreement.

    Parameters
    ----------
    bounds : iterable of str
        Components for which the engine may give an upper bound; it must not lie below the
        oracle. Totals made of them are held to the same.
    ignore : iterable of str
        Components that are not compared.
    """

    def __init__(self, bounds: Iterable[str] = (), ignore: Iterable[str] = ()) -> None:
        self.bounds = set(bounds)
        self.ignore = set(ignore)
        self.worst = 0.0
        self.values = 0
        self.faults: list[str] = []

    def number(
        self, where: str, engine: float, oracle: float, unit_usd: float, bound: bool = False
    ) -> None:
        self.values += 1
        if bound and engine > oracle:
            return
        gap = abs(engine - oracle)
        largest = max(abs(engine), abs(oracle))
        if not gap <= max(ABS_USD / unit_usd, REL * largest):
            self.faults.append(f"{where}: engine {engine!r}, oracle {oracle!r}")
        elif gap * unit_usd > ABS_USD:
            self.worst = max(self.worst, gap / largest)

    def account(self, label: str, engine: Mapping, oracle: Mapping, *, raw: bool = True) -> None:
        for key in dict.fromkeys([*engine["pots"], *oracle["pots"]]):
            ours = oracle["pots"].get(key)
            theirs = engine["pots"].get(key)
            if ours is None or theirs is None:
                rest = ours or theirs
                if any(v for k, v in rest.items() if k != "numeraire_usd"):
                    self.faults.append(f"{label} pot {key}: only on one side: {rest}")
                continue
            for field, value in theirs.items():
                where = f"{label} pot {key} {field}"
                loose = bool(self.bounds) and field in ("im", "mm")
                self.number(where, value, ours[field], ours["numeraire_usd"], loose)
        for key in dict.fromkeys([*engine["groups"], *oracle["groups"]]):
            ours = oracle["groups"].get(key)
            theirs = engine["groups"].get(key)
            if ours is None or theirs is None:
                if (ours or theirs)["im"]:
                    self.faults.append(f"{label} group {key}: only on one side")
                continue
            usd = oracle["pots"][key[0]]["numeraire_usd"]
            where = f"{label} group {key}"
            for field in ("im", "mm"):
                loose = bool(self.bounds)
                self.number(f"{where} {field}", theirs[field], ours[field], usd, loose)
            for name, pair in ours["parts"].items():
                if name in self.ignore:
                    continue
                for level in (0, 1):
                    self.number(
                        f"{where} {name} {('im', 'mm')[level]}",
                        theirs["parts"][name][level] if name in theirs["parts"] else np.nan,
                        pair[level],
                        usd,
                        name in self.bounds,
                    )
            for field in ("vector", "raw") if raw else ("vector",):
                if field in ours:
                    if len(ours[field]) != len(theirs[field]):
                        self.faults.append(f"{where} {field}: lengths differ")
                    for s, value in enumerate(ours[field]):
                        self.number(f"{where} {field}[{s}]", theirs[field][s], value, usd)


def compare(
    accounts: list[dict[str, Any]],
    market: dict[str, Any],
    rules: Ruleset,
    *,
    orders: bool = False,
    one_by_one: bool = False,
    into: Comparison | None = None,
) -> Comparison:
    """Hold the engine against the oracle on some accounts."""
    found = Comparison() if into is None else into
    plain = rules.as_dict()
    if one_by_one:
        engine = [engine_result([a], market, rules, orders=orders)[0] for a in accounts]
    else:
        engine = engine_result(accounts, market, rules, orders=orders)
    for data, theirs in zip(accounts, engine):
        ours = evaluate(data, market, plain, orders=orders)
        found.account(f"{rules.id} {data['account']}", theirs, ours, raw=not orders)
    return found
