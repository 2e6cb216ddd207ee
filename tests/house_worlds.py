"""A made-up market with a past, for tests of the house model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from typing import Any

import numpy as np

from crossmargin.book import AccountFile, parse_account
from crossmargin.margin import Ruleset, load_ruleset
from crossmargin.market import (
    FactorHistory,
    Snapshot,
    decode_market,
    factor_history,
    snapshot_from_file,
)
from crossmargin.stats import stream

LAST = date(2026, 3, 30)
AS_OF = "2026-03-31T00:00:00Z"
PRICES = {"BTC": 50_000.0, "ETH": 3_000.0, "SOL": 100.0}
OPTION = "BTC_USDC-24APR26-50000-C"
FUTURE = "BTC_USDC-24APR26"
PUT = "BTC_USDC-24APR26-45000-P"
#: Contracts without a series of their own move with their coin.
NO_BASIS = {"tail__basis__least": 0.0, "tail__basis__rate": 0.0, "tail__hypothetical": []}
#: Enough days for the filter and few enough for quick tests.
SMALL = {"tail.days": 300, "tail.stress_days": 60, "tail.fewest": 100, "tail.long_days": 500}


@cache
def history(
    days: int = 600, *, seed: int = 11, late: int = 0, vols: bool = False, contracts: bool = False
) -> FactorHistory:
    """Closes of three coins that end at `PRICES`; the last begins `late` days after the first.

    With `contracts` each has a perpetual beside it that ends at its coin's price; that of ETH
    begins on day 400, and BTC has a series of 90 days besides.
    """
    rng = np.random.default_rng(seed)
    common, own = rng.standard_t(4, days - 1), rng.standard_t(4, (days - 1, 3))
    level = 0.02 * np.exp(0.6 * np.sin(np.arange(days - 1) / 45.0))
    x = level[:, None] * (0.7 * common[:, None] + 0.5 * own) * np.array([1.0, 1.3, 1.6])
    past = np.exp(np.concatenate([np.zeros((1, 3)), np.cumsum(x, axis=0)]))
    closes = past / past[-1] * np.array(list(PRICES.values()))
    closes[:late, 2] = math.nan
    stamps = [(LAST - timedelta(days=days - 1 - k)).isoformat() for k in range(days)]
    moves = {"BTC": 0.6 * np.exp(np.cumsum(0.04 * rng.standard_normal(days)))} if vols else None
    columns = {name: closes[:, k] for k, name in enumerate(PRICES)}
    if contracts:
        for k, (name, tenor) in enumerate(
            (("BTC", "PERP"), ("ETH", "PERP"), ("SOL", "PERP"), ("BTC", "90D"))
        ):
            b = 0.0008 * stream(seed, k + 1).standard_t(4, days)
            b -= b[-1]
            columns[f"{name}-{tenor}"] = columns[name] * np.exp(b)
        columns["ETH-PERP"][:400] = math.nan
    return factor_history(stamps, columns, moves, source="made up")


@cache
def market(past: FactorHistory | None = None) -> Snapshot:
    """The market at the end of a history."""
    past = history() if past is None else past
    prices = dict(zip(past.coins, past.price[-1].tolist()))
    own = dict(zip(past.contracts, past.contract[-1].tolist() if past.contracts else ()))
    raw: dict[str, Any] = {
        "format": "crossmargin-market/1",
        "as_of": past.days[-1] + "T00:00:00Z" if past.days[-1] < "2026-03-30" else AS_OF,
        "assets": [{"asset": k, "price_usd": v} for k, v in prices.items()]
        + [{"asset": "USDC", "price_usd": 1.0}, {"asset": "USDT", "price_usd": 0.999}],
        "instruments": [
            {"instrument": f"{k}_{d}-PERPETUAL", "price_mark": own.get(f"{k}-PERP", v) / p}
            for k, v in prices.items()
            for d, p in (("USDC", 1.0), ("USDT", 0.999))
        ]
        + [{"instrument": n, "price_mark": prices["BTC"]} for n in ("BTC-PERPETUAL", FUTURE)]
        + [{"instrument": n, "vol": 0.6} for n in (OPTION, PUT)],
        "forwards": [
            {"underlying": "BTC", "expiry": "2026-04-24T08:00:00Z", "price_usd": prices["BTC"]}
        ],
        "liquidity": [
            {"underlying": k, "adv_coins": 2e9 / v, "sigma_daily": 0.03, "half_spread": 2e-4}
            for k, v in prices.items()
        ],
    }
    made = snapshot_from_file(decode_market(json.dumps(raw).encode(), "made"))
    return replace(made, history=past)


def account(
    *positions: tuple[str, float], balances: dict[str, float] | None = None, name: str = "a"
) -> AccountFile:
    """An account whose futures stand at the mark."""
    raw = {
        "format": "crossmargin-account/1",
        "account": name,
        "balances": [{"asset": k, "amount": v} for k, v in (balances or {"USD": 50_000.0}).items()],
        "positions": [
            {"instrument": n, "quantity": q, "entry_price": "mark"}
            if n not in (OPTION, PUT)
            else {"instrument": n, "quantity": q}
            for n, q in positions
        ],
    }
    return parse_account(json.dumps(raw).encode(), name)


def rules(**changes: Any) -> Ruleset:
    """The house rule-set on a short window, with dotted changes written with ``__``."""
    given = {key.replace("__", "."): value for key, value in changes.items()}
    return load_ruleset("house", overrides={**SMALL, **given})
