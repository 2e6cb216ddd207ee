"""A moved snapshot is the shocked view of the snapshot."""

from __future__ import annotations

import numpy as np
import pytest
from tests.oracles import random_accounts

from crossmargin.errors import MarketDataError
from crossmargin.instruments import Registry
from crossmargin.market import MovedMarket, decode_market, snapshot_from_file
from crossmargin.venues import load_market


def registry_of(names: list[str]) -> Registry:
    registry = Registry()
    for name in names:
        registry.resolve(name)
    return registry


@pytest.mark.parametrize("seed", range(8))
def test_as_a_shocked_view(seed: int) -> None:
    import json

    raw, names = random_accounts.market(seed)
    snapshot = snapshot_from_file(decode_market(json.dumps(raw).encode(), "m"))
    registry = registry_of([name for kind in names.values() for name in kind])
    rng = np.random.default_rng(seed)
    ratio = {"BTC": rng.uniform(0.5, 1.6), "ETH": rng.uniform(0.5, 1.6)}
    moved = MovedMarket(snapshot, registry).at(
        {coin: snapshot.assets[coin].price_usd * by for coin, by in ratio.items()}
    )
    by = np.array([ratio.get(name, 1.0) for name in registry.assets])
    ours, theirs = moved.view(registry), snapshot.view(registry).shocked(by, registry.terms)
    for name in ("asset_usd", "price", "vol", "years", "funding_rate_8h", "rate", "settled"):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=1e-13, equal_nan=True, err_msg=name
        )


def test_prices_are_the_ones_asked_for_to_the_bit() -> None:
    snapshot = load_market("calm-2026-02-03")
    moved = MovedMarket(snapshot, Registry())
    assert moved.at({"BTC": 77_777.77}).assets["BTC"].price_usd == 77_777.77
    assert moved.at({}).assets == snapshot.assets


@pytest.mark.parametrize(
    ("coin", "price", "code"), [("XMR", 1.0, "MKT-001"), ("BTC", 0, "MKT-009")]
)
def test_refusals(coin: str, price: float, code: str) -> None:
    moved = MovedMarket(load_market("calm-2026-02-03"), Registry())
    with pytest.raises(MarketDataError) as caught:
        moved.at({coin: price})
    assert caught.value.code == code
