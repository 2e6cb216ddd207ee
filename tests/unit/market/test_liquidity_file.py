"""The market file's sections ``liquidity`` and ``depth``."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from crossmargin.errors import CrossmarginError
from crossmargin.instruments import Registry
from crossmargin.market import (
    LIQUIDITY_FIGURES,
    Snapshot,
    decode_market,
    file_from_snapshot,
    snapshot_from_file,
    write_market,
)

BASE: dict[str, Any] = {
    "format": "crossmargin-market/1",
    "as_of": "2026-02-25T08:00:00Z",
    "assets": [{"asset": "BTC", "price_usd": 50_000}, {"asset": "USDC", "price_usd": 1}],
    "instruments": [{"instrument": "BTC_USDC-PERPETUAL", "price_mark": 50_000}],
}
FULL = {
    "adv_coins": 100.0,
    "sigma_daily": 0.04,
    "open_interest_coins": 900.0,
    "half_spread": 0.0,
}
BOOK = {"bids": [[49_990, 2.0], [49_980, 1.5]], "asks": [[50_010, 1.0]]}


def read(**sections: Any) -> Snapshot:
    raw = json.dumps({**BASE, **sections}).encode()
    return snapshot_from_file(decode_market(raw, "market"))


def test_round_trip_and_hash() -> None:
    made = read(
        liquidity=[
            {"underlying": "BTC", **FULL, "as_of": "2026-02-24T00:00:00Z", "source": "us"},
            {"instrument": "BTC/USDC:USDC", "adv_coins": 7.0},
        ],
        depth=[{"instrument": "BTC_USDC-PERPETUAL", **BOOK}],
    )
    assert set(made.liquidity) == {"BTC", "BTC_USDC-PERPETUAL"}  # canonical
    assert made.depth["BTC_USDC-PERPETUAL"].bids == ((49_990.0, 2.0), (49_980.0, 1.5))
    again = snapshot_from_file(decode_market(write_market(file_from_snapshot(made)), "again"))
    assert again == made and again.content_hash == made.content_hash
    assert read().content_hash != made.content_hash
    less = read(liquidity=[{"underlying": "BTC", **FULL, "adv_coins": 101.0}])
    assert less.content_hash != made.content_hash


def test_a_market_without_them_is_written_as_before() -> None:
    written = write_market(file_from_snapshot(read()))
    assert b"liquidity" not in written and b"depth" not in written


def test_columns() -> None:
    registry = Registry()
    for name in ("BTC_USDC-PERPETUAL", "BTC-PERPETUAL"):
        registry.resolve(name)
    made = read(
        instruments=[
            *BASE["instruments"],
            {"instrument": "BTC-PERPETUAL", "price_mark": 50_000},
        ],
        liquidity=[
            {"underlying": "BTC", **FULL, "as_of": "2026-02-23T08:00:00Z"},
            {"instrument": "BTC_USDC-PERPETUAL", "adv_coins": 7.0},
        ],
    )
    columns = made.view(registry).liquidity
    place = registry.assets.index("BTC")
    assert columns.asset[place].tolist() == [FULL[name] for name in LIQUIDITY_FIGURES]
    assert columns.asset_age_days[place] == 2.0
    assert np.isnan(columns.asset[registry.assets.index("USDC")]).all()
    # Its own volume, its underlying's volatility, and nothing for the rest.
    assert columns.instrument[0, 0] == 7.0 and columns.instrument[0, 1] == 0.04
    assert np.isnan(columns.instrument[0, 2:]).all() and np.isnan(columns.instrument[1, 0])


def test_only_what_is_used_goes_into_a_statement() -> None:
    registry = Registry()
    used = registry.resolve("BTC_USDC-PERPETUAL")
    made = read(
        liquidity=[
            {"underlying": "BTC", **FULL},
            {"underlying": "SOL", **FULL},
            {"instrument": "BTC-PERPETUAL", **FULL},
        ],
        depth=[{"instrument": name, **BOOK} for name in ("BTC_USDC-PERPETUAL", "BTC-PERPETUAL")],
    )
    kept = made.restricted_to(registry, [used], [])
    assert set(kept.liquidity) == {"BTC"} and set(kept.depth) == {"BTC_USDC-PERPETUAL"}


@pytest.mark.parametrize(
    ("sections", "code", "words"),
    [
        ({"liquidity": [{"underlying": "BTC", "adv_coins": 0}]}, "MKT-041", "adv_coins is 0"),
        ({"liquidity": [{"underlying": "BTC", "sigma_daily": -1}]}, "MKT-041", "sigma_daily"),
        ({"liquidity": [{"underlying": "BTC", "half_spread": 1}]}, "MKT-041", "half_spread"),
        ({"liquidity": [{"underlying": "BTC", "sigma_daily": 65}]}, "MKT-041", "sigma_daily"),
        ({"liquidity": [{"adv_coins": 1}]}, "INP-003", "either an underlying or an instrument"),
        (
            {"liquidity": [{"underlying": "BTC", "instrument": "BTC-PERPETUAL"}]},
            "INP-003",
            "either",
        ),
        ({"liquidity": [{"underlying": "BTC_USDC"}]}, "INP-003", "not an asset"),
        ({"liquidity": [{"instrument": "BTC-1"}]}, "INP-001", "BTC-1"),
        ({"liquidity": [{"underlying": "BTC"}, {"underlying": "BTC"}]}, "MKT-011", "twice"),
        (
            {"liquidity": [{"underlying": "BTC", "as_of": "2026-03-01T00:00:00Z"}]},
            "MKT-011",
            "after",
        ),
        ({"liquidity": [{"underlying": "BTC", "volume": 1}]}, "INP-003", "volume"),
        ({"depth": [{"instrument": "BTC_USDC", "bids": [[1, 0]]}]}, "MKT-041", "bids"),
        ({"depth": [{"instrument": "BTC_USDC", "bids": [[1, 1, 1]]}]}, "INP-003", "depth"),
        (
            {"depth": [{"instrument": "BTC_USDC", "bids": [[2, 1]], "asks": [[1, 1]]}]},
            "MKT-010",
            "crossed",
        ),
        ({"depth": [{"instrument": "BTC_USDC"}, {"instrument": "BTC/USDC"}]}, "MKT-011", "twice"),
    ],
)
def test_faults_are_refused(sections: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(CrossmarginError) as caught:
        read(**sections)
    assert caught.value.code == code and words in str(caught.value)
