"""Small builders shared by tests: rule-sets, markets and accounts in a few words each."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crossmargin.book import AccountFile, book_from_accounts, parse_account
from crossmargin.margin import (
    Evaluation,
    Frame,
    Requirement,
    Ruleset,
    evaluate,
    frame_for,
    requirement,
    ruleset_from_dict,
)
from crossmargin.market import Snapshot, decode_market, snapshot_from_file

#: Thirty days before the expiry of 27 March 2026, 08:00 UTC.
AS_OF = "2026-02-25T08:00:00Z"
EXPIRY = "2026-03-27T08:00:00Z"
PERP = "BTC_USDC-PERPETUAL"
ETH_PERP = "ETH_USDC-PERPETUAL"
CALL = "BTC_USDC-27MAR26-50000-C"
PUT = "BTC_USDC-27MAR26-50000-P"

GRID = [-0.16, -0.12, -0.08, -0.04, 0.0, 0.04, 0.08, 0.12, 0.16]
STATES = ["up", "same", "down"]
FIXTURE_G_SCENARIOS: dict[str, Any] = {
    "blocks": [{"moves": GRID, "vols": STATES}],
    "underlyings": {"default": {"price_range": 0.16, "vol_up": 0.5, "vol_down": 0.25}},
}


def normal_cdf(x: float) -> float:
    """Standard normal distribution by the error function."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def black(forward: float, strike: float, years: float, vol: float, *, call: bool) -> float:
    """Black-76 without discounting, written from the textbook for the tests alone."""
    s = vol * math.sqrt(years)
    d1 = math.log(forward / strike) / s + 0.5 * s
    d2 = d1 - s
    if call:
        return forward * normal_cdf(d1) - strike * normal_cdf(d2)
    return strike * normal_cdf(-d2) - forward * normal_cdf(-d1)


def component(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    """Return one component, sourced as a house formula."""
    return {"kind": kind, "name": name, "source": "s", "confidence": "house", **fields}


def rules_dict(*components: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Return a rule-set as plain data: one pot, plain sum of the components, no haircuts.

    Sections given by name replace the defaults; ``combine`` may be omitted.
    """
    total = " + ".join(c["name"] for c in components if c["kind"] != "borrow") or "0"
    raw: dict[str, Any] = {
        "format": "crossmargin-ruleset/1",
        "id": "made-for-a-test",
        "venue": "none",
        "title": "made for a test",
        "effective_from": "2026-01-01",
        "sources": {"s": {"title": "test", "date": "2026-01-01"}},
        "pools": {"by": "account"},
        "collateral": {
            "source": "s",
            "confidence": "house",
            "assets": {"default": {"haircut": 0.0}},
        },
        "orders": {"method": "worst-fill", "source": "s", "confidence": "house"},
        "components": list(components),
        "combine": {"im": total, "mm": total},
    }
    if any(c["kind"] == "scan" for c in components):
        raw["scenarios"] = copy.deepcopy(FIXTURE_G_SCENARIOS)
    raw.update(sections)
    return raw


def rules(*components: dict[str, Any], **sections: Any) -> Ruleset:
    """Return a checked rule-set; see :func:`rules_dict`."""
    return ruleset_from_dict(rules_dict(*components, **sections))


def scan_rules(**sections: Any) -> Ruleset:
    """Return the rule-set of Fixture G: one scan over 27 cells."""
    return rules(component("scan", "scan"), **sections)


def flat_rate(im: float, mm: float, **fields: Any) -> dict[str, Any]:
    """Return a rate component with one bracket."""
    tiers = {"default": [{"floor": 0.0, "im": im, "mm": mm}]}
    return component("rate", "futures", **{"scheme": "marginal", "tiers": tiers, **fields})


def market(
    prices: Mapping[str, float] | None = None,
    *,
    marks: Mapping[str, float] | None = None,
    vols: Mapping[str, float] | None = None,
    forwards: Mapping[tuple[str, str], float] | None = None,
    funding: Mapping[str, float] | None = None,
    as_of: str = AS_OF,
) -> Snapshot:
    """Return a market from plain tables.

    `prices` are US dollars by asset, `marks` and `vols` by instrument, `forwards` by
    (underlying, expiry), `funding` by perpetual.
    """
    entries: dict[str, dict[str, Any]] = {}
    for field, table in (("price_mark", marks), ("vol", vols), ("funding_rate_8h", funding)):
        for name, value in (table or {}).items():
            entries.setdefault(name, {"instrument": name})[field] = value
    content = {
        "format": "crossmargin-market/1",
        "as_of": as_of,
        "assets": [{"asset": a, "price_usd": p} for a, p in (prices or {}).items()],
        "forwards": [
            {"underlying": u, "expiry": e, "price_usd": p} for (u, e), p in (forwards or {}).items()
        ],
        "instruments": list(entries.values()),
    }
    return snapshot_from_file(decode_market(json.dumps(content).encode(), "market"))


def fixture_g(vol: float = 0.6, spot: float = 50_000.0) -> Snapshot:
    """Return the market of Fixture G: spot = forward = 50,000, 30 days, 60 %."""
    names = [
        f"BTC_USDC-27MAR26-{k}-{r}"
        for k in (40_000, 45_000, 50_000, 55_000, 60_000, 100_000)
        for r in "CP"
    ]
    return market(
        {"BTC": spot, "ETH": 3_000.0, "USDC": 1.0},
        marks={
            PERP: spot,
            ETH_PERP: 3_000.0,
            "BTC_USDC-27MAR26": spot,
            "BTC-PERPETUAL": spot,
            "BTC_USDC": spot,
        },
        vols=dict.fromkeys(names, vol),
        forwards={("BTC", EXPIRY): spot},
        funding={PERP: 0.0001, ETH_PERP: 0.0001, "BTC-PERPETUAL": 0.0001},
    )


def account(
    *positions: Sequence[Any] | Mapping[str, Any],
    balances: Mapping[str, float | str] | Sequence[Mapping[str, Any]] | None = None,
    orders: Iterable[Mapping[str, Any]] = (),
    quote_groups: Iterable[Mapping[str, Any]] = (),
    name: str = "a",
    **more: Any,
) -> AccountFile:
    """Return an account.

    A position is ``(instrument, quantity)``, marked to market already, or
    ``(instrument, quantity, entry)``, or a mapping in the file's own words. Balances are amounts
    by asset, or rows in the file's own words.
    """
    rows: list[Any]
    if balances is None or isinstance(balances, Mapping):
        rows = [{"asset": a, "amount": v} for a, v in (balances or {}).items()]
    else:
        rows = list(balances)
    held = []
    for position in positions:
        if isinstance(position, Mapping):
            held.append(dict(position))
        else:
            row = list(position)
            entry = row[2] if len(row) > 2 else "mark"
            held.append({"instrument": row[0], "quantity": row[1], "entry_price": entry})
    content = {
        "format": "crossmargin-account/1",
        "account": name,
        "balances": rows,
        "positions": held,
        "orders": list(orders),
        "quote_groups": list(quote_groups),
        **more,
    }
    return parse_account(json.dumps(content))


def frame(who: AccountFile, ruleset: Ruleset, snapshot: Snapshot) -> Frame:
    """Return the priced frame of one account."""
    return frame_for(book_from_accounts([who]), snapshot, ruleset)


def need(
    ruleset: Ruleset, snapshot: Snapshot, *positions: Any, orders: bool = False, **more: Any
) -> Requirement:
    """Return the requirement of an account given in place."""
    return requirement(frame(account(*positions, **more), ruleset, snapshot), orders=orders)


def im(ruleset: Ruleset, snapshot: Snapshot, *positions: Any, **more: Any) -> float:
    """Return the initial margin of an account given in place, in US dollars."""
    who = frame(account(*positions, **more), ruleset, snapshot)
    return float(requirement(who).im @ who.pot_usd)


def done(ruleset: Ruleset, snapshot: Snapshot, *positions: Any, **more: Any) -> Evaluation:
    """Return the evaluation of an account given in place."""
    return evaluate(book_from_accounts([account(*positions, **more)]), snapshot, ruleset)
