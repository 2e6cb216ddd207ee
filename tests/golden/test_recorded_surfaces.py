"""SVI on recorded Deribit chains: two days before, and in, the fall of 5 February 2026.

The recordings live outside the repository; ``CROSSMARGIN_DATA`` names their folder. Bounds are
what was measured when the fit was written, plus a margin of about a fifth: they show how good the
fit is, expiry by expiry, and where five parameters are too few.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossmargin.market.arbitrage import (
    butterfly_violations,
    calendar_quote_violations,
    calendar_violations,
    quote_violations,
)
from crossmargin.market.fit import SmileQuotes, SurfaceFit, fit_surface, otm_mask, vega_weight
from crossmargin.market.forwards import ForwardCurve, forward_from_parity
from crossmargin.units import year_fraction

CALM = datetime(2026, 2, 3, 4, tzinfo=UTC)
FALL = datetime(2026, 2, 5, 21, 29, tzinfo=UTC)

# Root mean square error between 10 and 90 delta, in vol points, by expiry in order of time.
BOUNDS = {
    (CALM, "BTC"): [0.11, 0.26, 0.11, 0.22, 0.20, 0.19, 0.22, 0.22, 0.12, 0.19, 0.11, 0.12],
    (CALM, "ETH"): [0.98, 0.35, 0.41, 0.41, 0.28, 0.25, 0.13, 0.19, 0.11, 0.20, 0.11, 0.11],
    (FALL, "BTC"): [1.15, 0.96, 0.97, 0.54, 0.47, 0.38, 0.61, 0.48, 0.23, 0.40, 0.42, 0.26],
    (FALL, "ETH"): [1.15, 1.00, 0.95, 1.00, 0.65, 0.49, 0.48, 0.42, 0.29, 1.16, 0.99, 1.38],
}
MOMENTS = list(BOUNDS)


@dataclass(frozen=True)
class Chain:
    """One underlying at one moment: quotes by expiry, and the raw rows."""

    quotes: list[SmileQuotes]
    rows: list[pl.DataFrame]
    as_of_ns: int
    index_usd: float


def ns(moment: datetime) -> int:
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1_000


@pytest.fixture(scope="module")
def recorded() -> dict[tuple[datetime, str], Chain]:
    folder = os.environ.get("CROSSMARGIN_DATA")
    if not folder:
        pytest.skip("CROSSMARGIN_DATA is not set: recorded option chains are not tested")
    path = Path(folder) / "deribit_options_2026q1.parquet"
    if not path.exists():
        pytest.skip(f"CROSSMARGIN_DATA has no {path.name}: recorded option chains are not tested")
    lazy = pl.scan_parquet(path).filter(pl.col("implied_volatility").is_not_null())
    chains = {}
    for after in (CALM, FALL):
        first = pl.col("timestamp") == pl.col("timestamp").min()
        snapshot = lazy.filter(pl.col("timestamp") >= after).filter(first).collect()
        for coin in ("BTC", "ETH"):
            chains[after, coin] = chain_of(snapshot.filter(pl.col("currency") == coin))
    return chains


def chain_of(rows: pl.DataFrame) -> Chain:
    as_of = ns(rows["timestamp"][0])
    quotes, groups = [], []
    for (expiry,), group in sorted(rows.group_by("expiry_datetime"), key=lambda pair: pair[0]):
        group = group.sort("strike", "option_type")
        forward = float(np.median(group["underlying"]))
        years = year_fraction(as_of, ns(expiry))
        is_call = group["option_type"].cast(pl.String) == "call"
        otm = group.filter(otm_mask(group["strike"], is_call, forward))
        strike, vol = otm["strike"].to_numpy(), otm["implied_volatility"].to_numpy()
        both = (otm["bid_price"].is_not_null() & otm["ask_price"].is_not_null()).to_numpy()
        quotes.append(
            SmileQuotes(
                strike=strike,
                vol=vol,
                forward_usd=forward,
                years=years,
                weight=vega_weight(strike, vol, forward, years, two_sided=both),
                expiry_ns=ns(expiry),
            )
        )
        groups.append(group)
    return Chain(quotes, groups, as_of, float(np.median(rows["index_price"])))


@pytest.fixture(scope="module")
def surfaces(recorded: dict[tuple[datetime, str], Chain]) -> dict[tuple[datetime, str], SurfaceFit]:
    return {key: fit_surface(chain.quotes) for key, chain in recorded.items()}


Surfaces = dict[tuple[datetime, str], SurfaceFit]
Chains = dict[tuple[datetime, str], Chain]


@pytest.mark.parametrize("key", MOMENTS, ids=lambda key: f"{key[1]}-{key[0]:%d%b}")
def test_error_between_10_and_90_delta(surfaces: Surfaces, key: tuple[datetime, str]) -> None:
    fits = surfaces[key].fits
    assert len(fits) == 12
    measured = [100.0 * (fit.rmse_vol_10_90 or 0.0) for fit in fits]
    too_wide = [
        f"{fit.slice.years * 365:.2f}d: {error:.3f} > {bound}"
        for fit, error, bound in zip(fits, measured, BOUNDS[key], strict=True)
        if error > bound
    ]
    assert not too_wide
    assert all(fit.converged for fit in fits)


@pytest.mark.parametrize("key", MOMENTS, ids=lambda key: f"{key[1]}-{key[0]:%d%b}")
def test_no_arbitrage_on_the_fitted_range(surfaces: Surfaces, key: tuple[datetime, str]) -> None:
    surface = surfaces[key]
    slices = [fit.slice for fit in surface.fits]
    assert [str(one) for smile in slices for one in butterfly_violations(smile)] == []
    assert all(fit.butterfly_free for fit in surface.fits)
    assert [str(one) for one in surface.calendar] == []
    for near, far in pairwise(slices):
        assert calendar_violations(near, far) == []


@pytest.mark.parametrize("key", MOMENTS, ids=lambda key: f"{key[1]}-{key[0]:%d%b}")
def test_prices_implied_by_the_fit_pass_the_model_free_checks(
    recorded: Chains, surfaces: Surfaces, key: tuple[datetime, str]
) -> None:
    pairs = list(zip(recorded[key].quotes, surfaces[key].fits, strict=True))
    for quotes, fit in pairs:
        vol = fit.slice.vol(quotes.strike)
        assert (
            quote_violations(
                quotes.strike, vol, quotes.forward_usd, quotes.years, tolerance_vol=1e-9
            )
            == []
        )


def test_recorded_marks_are_free_of_calendar_arbitrage(recorded: Chains) -> None:
    for chain in recorded.values():
        for near, far in pairwise(chain.quotes):
            assert (
                calendar_quote_violations(
                    near.strike,
                    near.vol,
                    near.forward_usd,
                    near.years,
                    far.strike,
                    far.vol,
                    far.forward_usd,
                    far.years,
                )
                == []
            )


@pytest.mark.parametrize("key", MOMENTS, ids=lambda key: f"{key[1]}-{key[0]:%d%b}")
def test_forwards_by_parity(recorded: Chains, key: tuple[datetime, str]) -> None:
    chain = recorded[key]
    off = []
    for rows, quotes in zip(chain.rows, chain.quotes, strict=True):
        tight = pl.col("ask_price") - pl.col("bid_price") <= 0.1 * pl.col("ask_price")
        mids = rows.filter(tight).with_columns(mid=(pl.col("bid_price") + pl.col("ask_price")) / 2)
        is_call = pl.col("option_type").cast(pl.String) == "call"
        both = mids.filter(is_call).join(mids.filter(~is_call), on="strike", suffix="_put")
        if both.height < 3:
            continue
        found = forward_from_parity(both["mid"], both["mid_put"], both["strike"], in_coin=True)
        off.append(abs(found / quotes.forward_usd - 1.0))
    assert len(off) >= 6
    assert np.median(off) < 1e-3 and max(off) < 4e-3


@pytest.mark.parametrize("key", MOMENTS, ids=lambda key: f"{key[1]}-{key[0]:%d%b}")
def test_each_forward_is_predicted_from_its_neighbours(
    recorded: Chains, key: tuple[datetime, str]
) -> None:
    chain = recorded[key]
    known = [(quotes.expiry_ns or 0, quotes.forward_usd) for quotes in chain.quotes]
    for left_out in range(1, len(known) - 1):
        kept = known[:left_out] + known[left_out + 1 :]
        curve = ForwardCurve(
            underlying=key[1],
            index_usd=chain.index_usd,
            expiry_ns=tuple(expiry for expiry, _ in kept),
            forward_usd=tuple(forward for _, forward in kept),
        )
        expiry, forward = known[left_out]
        assert curve.forward(expiry, chain.as_of_ns) == pytest.approx(forward, rel=2e-3)


def test_time_of_a_market(recorded: Chains) -> None:
    for after in (CALM, FALL):
        start = time.perf_counter()
        for coin in ("BTC", "ETH"):
            fit_surface(recorded[after, coin].quotes)
        assert time.perf_counter() - start < 5.0
