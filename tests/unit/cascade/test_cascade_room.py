"""What a cascade takes of memory: columns that stay, and little beside them."""

import tracemalloc

import numpy as np
import pytest

from crossmargin.cascade import CascadeMarket, CascadeRules, generate_population, simulate

ACCOUNTS = 300_000


def peak_of(call):
    """Return what a call gives, and the most that NumPy and Python held during it, bytes."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def crowd():
    return peak_of(lambda: generate_population(ACCOUNTS, 8, 1))


def test_a_population_is_made_in_little_more_room_than_it_takes(crowd):
    people, peak = crowd
    assert peak < 1.35 * people.nbytes


def test_a_run_takes_twice_its_population(crowd):
    people = crowd[0]
    news = np.full((4, 8), -0.03)
    market = CascadeMarket(
        exogenous=news, depth_usd=20.0 * people.open_interest() * people.price[:8]
    )
    simulate(generate_population(100, 8, 1), CascadeMarket(exogenous=news))
    run, peak = peak_of(lambda: simulate(people, market, CascadeRules(fund_usd=1e12)))
    assert run.hit.mean() > 0.1
    # Coins, what is read first of an account, keys of watches, what was closed: 120 bytes an
    # account; batches of measurements, and orders of those hit, on top.
    assert peak < 2.5 * people.nbytes


@pytest.mark.parametrize("more", [0.5, 1.0])
@pytest.mark.parametrize("k", [1, 8])
def test_blocks_change_no_bit_of_a_population(k, more, monkeypatch):
    whole = generate_population(500, k, 3, more_positions=more)
    for name in ("_blocks", "generate"):
        monkeypatch.setattr(f"crossmargin.cascade.{name}.ACCOUNTS", 7)
    parts = generate_population(500, k, 3, more_positions=more)
    for name in ("cash", "start", "contract", "quantity", "entry", "coll_start", "coll_quantity"):
        assert getattr(parts, name).tobytes() == getattr(whole, name).tobytes(), name
    np.testing.assert_array_equal(parts.open_interest(), whole.open_interest())
