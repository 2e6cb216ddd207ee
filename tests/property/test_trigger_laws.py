"""No account crosses its line without having been due, whatever moves."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.live_books import FUSED, made

from crossmargin.margin import load_ruleset
from crossmargin.margin.fused import Holdings, Program, compile_program, holdings_of, run_program
from crossmargin.margin.live._price import PriceTable, price_table, program_at
from crossmargin.margin.live.triggers import Triggers

ACCOUNTS = 150


@cache
def case(name: str, seed: int) -> tuple[Program, Holdings, PriceTable]:
    book, snapshot = made(name, ACCOUNTS, seed=seed, instruments=80)
    program = compile_program(
        book.registry, snapshot, load_ruleset(name), book.instruments_used(), book.assets_used()
    )
    return program, holdings_of(book, program), price_table(program)


moves = st.lists(
    st.tuples(
        st.sampled_from(["price", "price", "vol", "time", "all"]),
        st.floats(-0.12, 0.12),
        st.floats(-0.12, 0.12),
        st.floats(-0.15, 0.2),
        st.integers(1, 5_000),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("name", FUSED)
@settings(max_examples=12, deadline=None)
@given(steps=moves, seed=st.integers(1, 3), jitter=st.integers(0, 1_000))
def test_whatever_moves_nobody_crosses_unseen(name, steps, seed, jitter):
    program, holdings, prices = case(name, seed)
    triggers = Triggers(program, holdings, prices=prices)
    home = program.units.frame.view
    rng = np.random.default_rng(jitter)
    vol, years, now = home.vol.copy(), home.years.copy(), home.as_of_ns
    rho = np.ones(len(triggers.assets))
    of = prices.drivers.of_asset
    for what, btc, eth, share, seconds in steps:
        before = triggers.breached.copy()
        if what in ("price", "all"):
            rho = rho * np.exp([btc, eth][: rho.size])
        if what in ("vol", "all"):
            vol = vol * (1.0 + share * rng.uniform(0.2, 1.0, vol.size))
        if what in ("time", "all"):
            now += seconds * 10**9
            years = years - seconds / (365.0 * 86_400.0)
        ratio = np.where(of >= 0, rho[np.maximum(of, 0)], 1.0)[: home.asset_usd.size]
        view = replace(home, vol=vol, years=years, as_of_ns=now)
        view = view.shocked(ratio, program.registry.terms)
        tick = triggers.market(view) if what != "price" else triggers.move(
            dict(zip(triggers.assets, (triggers.base * rho).tolist()))
        )  # fmt: skip
        want = run_program(program_at(program, prices.drivers, 1.0, view), holdings).health < 1.0
        np.testing.assert_array_equal(triggers.breached, want)
        np.testing.assert_array_equal(tick.breached, np.flatnonzero(want & ~before))
        np.testing.assert_array_equal(tick.recovered, np.flatnonzero(before & ~want))
