"""Made-up markets: wide, priced throughout, free of arbitrage, the same from the same seed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from crossmargin.errors import InputError
from crossmargin.instruments import parse_instrument
from crossmargin.market import (
    butterfly_violations,
    calendar_violations,
    file_from_snapshot,
    generated_market,
    generated_underlyings,
    read_market,
    write_market,
)

KINDS = ("mixed", "inverse", "linear")


@pytest.mark.parametrize("kind", KINDS)
def test_everything_listed_has_a_price(kind: str) -> None:
    registry, snapshot = generated_market(venue_kind=kind)  # type: ignore[arg-type]
    assert 1_400 < len(registry) < 1_650
    view = snapshot.view(registry)
    assert np.isfinite(view.price).all() and (view.price > 0).all()
    assert not view.settled.any()
    for item in registry:
        assert parse_instrument(item.id) == item
        assert item.inverse == (item.settlement == item.underlying)
    inverse = {item.inverse for item in registry}
    assert inverse == {"mixed": {True, False}, "inverse": {True}, "linear": {False}}[kind]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_surfaces_are_free_of_arbitrage(seed: int) -> None:
    _, snapshot = generated_market(seed=seed)
    for name in generated_underlyings():
        slices = [s for (under, _), s in sorted(snapshot.surfaces.items()) if under == name]
        assert len(slices) == 8
        assert not any(butterfly_violations(one) for one in slices)
        assert not any(calendar_violations(near, far) for near, far in pairwise(slices))


def test_the_seed_moves_prices_and_a_choice_moves_none() -> None:
    registry, snapshot = generated_market(seed=1)
    again, same = generated_market(seed=1)
    assert same.content_hash == snapshot.content_hash
    assert again.content_hash == registry.content_hash
    _, other = generated_market(seed=2)
    assert other.content_hash != snapshot.content_hash
    _, part = generated_market(seed=1, underlyings=["ETH"], instruments=100)
    assert part.assets["ETH"] == snapshot.assets["ETH"]
    assert set(part.assets) == {"ETH", "USDC", "USDT"}


def test_size_and_kinds() -> None:
    registry, _ = generated_market(instruments=5_000)
    assert 4_800 < len(registry) < 5_300
    registry, _ = generated_market(kinds=("perpetual",), venue_kind="linear", dollar="USDT")
    assert [item.id for item in registry][:2] == ["BTC_USDT-PERPETUAL", "ETH_USDT-PERPETUAL"]
    assert len(registry) == len(generated_underlyings())
    registry, _ = generated_market(kinds=("spot", "future"), underlyings=["BTC"])
    assert sorted({item.kind for item in registry}) == ["future", "spot"]


def test_a_market_file_brings_it_back(tmp_path: Path) -> None:
    registry, snapshot = generated_market(seed=1, instruments=300)
    (tmp_path / "market.json").write_bytes(write_market(file_from_snapshot(snapshot)))
    again = read_market(tmp_path / "market.json")
    left, right = snapshot.view(registry), again.view(registry)
    np.testing.assert_allclose(right.price, left.price, rtol=1e-12)
    np.testing.assert_allclose(right.vol, left.vol, rtol=1e-12)
    assert again.liquidity == snapshot.liquidity


@pytest.mark.parametrize(
    "options",
    [
        {"underlyings": ["PEPE"]},
        {"dollar": "DAI"},
        {"kinds": ["swap"]},
        {"venue_kind": "quanto"},
    ],
)
def test_what_it_does_not_have_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        generated_market(**options)  # type: ignore[arg-type]
    assert caught.value.code == "INP-047" and caught.value.field == next(iter(options))
