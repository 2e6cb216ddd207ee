"""Accounts and a small market of their own for the report's tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from crossmargin.analytics import PriceProfile, profiles
from crossmargin.book import book_from_accounts, parse_account
from crossmargin.margin import Statement, evaluate, load_ruleset, make_statement
from crossmargin.market import Snapshot, snapshot_from_file
from crossmargin.market.files import MarketFile

MARKET: dict[str, Any] = {
    "format": "crossmargin-market/1",
    "as_of": "2026-02-25T08:00:00Z",
    "source": "a test",
    "assets": [
        {"asset": "BTC", "price_usd": 50_000.0},
        {"asset": "ETH", "price_usd": 2_000.0},
        {"asset": "USDC", "price_usd": 1.0},
    ],
    "forwards": [
        {"underlying": "BTC", "expiry": "2026-03-27T08:00:00Z", "price_usd": 50_000.0},
        {"underlying": "ETH", "expiry": "2026-03-27T08:00:00Z", "price_usd": 2_000.0},
    ],
    "surfaces": [
        {
            "underlying": name,
            "expiry": "2026-03-27T08:00:00Z",
            "forward_usd": forward,
            "a": 0.02,
            "b": 0.05,
            "rho": -0.2,
            "m": 0.0,
            "sigma": 0.2,
            "k_min": -3.0,
            "k_max": 3.0,
        }
        for name, forward in (("BTC", 50_000.0), ("ETH", 2_000.0))
    ],
    "instruments": [
        {"instrument": "BTC_USDC-PERPETUAL", "price_mark": 50_000.0, "funding_rate_8h": 1e-4},
        {"instrument": "BTC-PERPETUAL", "price_mark": 50_000.0, "funding_rate_8h": 1e-4},
        {"instrument": "ETH_USDC-PERPETUAL", "price_mark": 2_000.0, "funding_rate_8h": 1e-4},
    ],
}

Made = tuple[Statement, list[PriceProfile]]
Maker = Callable[..., Made]


def market() -> Snapshot:
    import msgspec

    return snapshot_from_file(msgspec.convert(MARKET, MarketFile))


@pytest.fixture(scope="session")
def make() -> Maker:
    """Return a function that makes a statement and its profiles."""
    snapshot = market()

    def build(
        positions: list[tuple[str, float, float | None]],
        *,
        rules: str = "deribit-pm-cross",
        balances: tuple[tuple[str, float], ...] = (("USDC", 50_000.0),),
        account: str = "test",
        description: str = "",
        solve: bool = True,
    ) -> Made:
        data = {
            "format": "crossmargin-account/1",
            "account": account,
            "description": description,
            "balances": [{"asset": a, "amount": x} for a, x in balances],
            "positions": [
                {"instrument": i, "quantity": q} | ({} if e is None else {"entry_price": e})
                for i, q, e in positions
            ],
        }
        file, ruleset = parse_account(json.dumps(data)), load_ruleset(rules)
        done = evaluate(book_from_accounts([file]), snapshot, ruleset)
        made = make_statement(file, snapshot, ruleset, solve=solve)
        return made, profiles(done)

    return build


COVERED: list[tuple[str, float, float | None]] = [
    ("BTC_USDC-PERPETUAL", 1.0, 49_000.0),
    ("BTC_USDC-27MAR26-55000-C", -1.0, None),
]


@pytest.fixture(scope="session")
def covered(make: Maker) -> Made:
    """A long perpetual and a short call."""
    return make(COVERED)
