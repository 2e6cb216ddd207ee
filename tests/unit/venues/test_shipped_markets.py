"""The demo markets inside the package."""

from __future__ import annotations

from importlib.resources import files
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from crossmargin.errors import InputError
from crossmargin.instruments import Registry, parse_instrument
from crossmargin.market import decode_market
from crossmargin.market.arbitrage import butterfly_violations, calendar_violations
from crossmargin.venues import load_market, market_names

NAMES = ["calm-2026-02-03", "crash-2026-02-05"]


def test_names() -> None:
    assert market_names() == NAMES
    with pytest.raises(InputError, match="calm-2026-02-03") as caught:
        load_market("boom")
    assert caught.value.code == "INP-030"


@pytest.mark.parametrize("name", NAMES)
def test_no_recorded_option_or_future_is_shipped(name: str) -> None:
    raw = files("crossmargin._data").joinpath("markets", f"{name}.json").read_bytes()
    data = decode_market(raw, name)
    assert {one.instrument for one in data.instruments} == {
        "BTC-PERPETUAL",
        "ETH-PERPETUAL",
        "BTC_USDC-PERPETUAL",
        "ETH_USDC-PERPETUAL",
    }
    for one in data.instruments:
        assert one.bid is None
        assert one.ask is None
        assert one.vol is None
        assert one.funding_rate_8h is not None
        assert round(one.funding_rate_8h, 6) == one.funding_rate_8h
        assert "candle" in one.source
        assert "Binance" in one.source
    for forward in data.forwards:
        assert round(forward.price_usd, 2) == forward.price_usd
    for surface in data.surfaces:
        assert surface.rmse_vol_points_10_90_delta is not None
        for number in msgspec.structs.astuple(surface):
            if isinstance(number, float):
                assert float(f"{number:.10g}") == number
    prices = {one.asset: one for one in data.assets}
    assert prices["USDC"].source.startswith("assumed at par")


@pytest.mark.parametrize("name", NAMES)
def test_surfaces_are_free_of_arbitrage_and_near_their_forwards(name: str) -> None:
    market = load_market(name)
    for coin in ("BTC", "ETH"):
        slices = [market.surfaces[key] for key in sorted(market.surfaces) if key[0] == coin]
        assert len(slices) == 12
        assert [one for smile in slices for one in butterfly_violations(smile)] == []
        assert [one for a, b in pairwise(slices) for one in calendar_violations(a, b)] == []
    for key, smile in market.surfaces.items():
        assert market.forwards[key].price_usd == smile.forward_usd
        assert abs(np.log(smile.forward_usd / market.asset_usd(key[0]))) < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_contract_can_be_priced(name: str) -> None:
    names = (
        "BTC-PERPETUAL",
        "ETH_USDC-PERPETUAL",
        "BTC-27MAR26",
        "BTC_USDC-27MAR26",
        "ETH-26JUN26-2000-P",
        "BTC_USDC-27MAR26-80000-C",
        "BTC_USDC",
    )
    registry = Registry([parse_instrument(one) for one in names])
    view = load_market(name).view(registry)
    assert np.all(np.isfinite(view.price))
    assert np.all(view.price > 0)
    assert view.vol[4] > 0.3


def test_the_fall_has_more_volatility_at_lower_prices() -> None:
    calm, crash = (load_market(name) for name in NAMES)
    for coin in ("BTC", "ETH"):
        assert crash.asset_usd(coin) < 0.85 * calm.asset_usd(coin)
    march = parse_instrument("BTC-27MAR26-70000-P")
    registry = Registry([march])
    assert crash.view(registry).vol[0] > 1.3 * calm.view(registry).vol[0]
