"""Rows computed directly between ticks against compiling the rule-set anew in that market."""

from __future__ import annotations

import numpy as np
import pytest
from tests.live_books import FUSED, at_market, made

from crossmargin.margin import load_ruleset
from crossmargin.margin.fused import compile_program
from crossmargin.margin.live._direct import DirectRows
from crossmargin.margin.live._prices import Dependence, at_prices
from crossmargin.margin.live._refresh import difference, in_market
from crossmargin.margin.live._world import World


def programs(name: str, instruments: int = 150):
    book, snapshot = made(name, 150, instruments=instruments)
    rules = load_ruleset(name)
    used = (book.instruments_used(), book.assets_used())
    program = compile_program(book.registry, snapshot, rules, *used)

    def compiled(market):
        return compile_program(book.registry, market, rules, *used)

    return book.registry, snapshot, program, compiled


def assert_same_rows(ours, theirs) -> None:
    """Each figure within 1e-14 of the largest of its row; what is beside the table too."""
    assert (np.isnan(ours.table) == np.isnan(theirs.table)).all()
    size = np.nanmax(np.abs(theirs.table), axis=1, keepdims=True)
    assert np.nanmax(np.abs(ours.table - theirs.table) / np.maximum(size, 1e-300)) <= 1e-14
    np.testing.assert_allclose(ours.segment_terms, theirs.segment_terms, rtol=1e-14)
    np.testing.assert_allclose(ours.pot_usd, theirs.pot_usd, rtol=1e-15)
    np.testing.assert_allclose(ours.combine.im.number, theirs.combine.im.number, rtol=1e-13)
    np.testing.assert_allclose(ours.combine.mm.number, theirs.combine.mm.number, rtol=1e-13)
    for name in ("weight", "tail", "flags"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_array_equal(ours.lanes.columns, theirs.lanes.columns)


@pytest.mark.parametrize("name", FUSED)
def test_rows_at_other_prices_are_those_of_compiling_there(name):
    registry, snapshot, program, compiled = programs(name)
    first = program.units.frame.view
    for asset in [a for a in registry.assets if a in snapshot.assets]:
        codes = Dependence(program).codes([registry.asset(asset)])
        rows = DirectRows(program, codes)
        for factor in (0.55, 0.97, 1.0003, 1.8):
            world = World(snapshot, registry)
            prices = {asset: snapshot.assets[asset].price_usd * factor}
            world.set_prices(prices)
            view = world.moved_view(first, registry.terms)
            ours = at_prices(program, rows, view)
            # In the same view, and in a market that was written out and read again.
            assert_same_rows(ours, in_market(program, view))
            theirs = compiled(at_market(snapshot, registry, prices, {}))
            size = np.nanmax(np.abs(theirs.table), axis=1, keepdims=True)
            assert np.nanmax(np.abs(ours.table - theirs.table) / np.maximum(size, 1e-300)) <= 1e-12


@pytest.mark.parametrize("name", FUSED)
def test_what_a_price_does_not_touch_keeps_its_row(name):
    """Codes are found by what they depend on; here every row is computed and compared."""
    registry, snapshot, program, _compiled = programs(name, 60)
    for asset in [a for a in registry.assets if a in snapshot.assets]:
        touched = np.zeros(program.layout.size, dtype=bool)
        touched[Dependence(program).codes([registry.asset(asset)])] = True
        world = World(snapshot, registry)
        world.set_prices({asset: snapshot.assets[asset].price_usd * 1.01})
        there = in_market(program, world.moved_view(program.units.frame.view, registry.terms))
        # What was paid is read off a contract's price, and divided by it again: to rounding.
        size = np.nanmax(np.abs(program.table), axis=1, keepdims=True)
        error = np.abs(there.table - program.table) / np.maximum(size, 1e-300)
        differs = np.any(error > 1e-15, axis=1)
        assert differs.any()
        assert not (differs & ~touched).any()
        # What is said to have changed is all that has.
        change = difference(program, there)
        same = ~np.isin(program.layout.group, np.flatnonzero(change.groups))
        outside = same & program.in_group[program.layout.group]
        np.testing.assert_array_equal(there.table[outside], program.table[outside])


@pytest.mark.parametrize("name", FUSED)
def test_rows_at_other_volatilities(name):
    registry, snapshot, program, _compiled = programs(name, 60)
    rows = DirectRows(program, Dependence(program).codes([registry.asset("BTC")]))
    world = World(snapshot, registry)
    world.set_prices({"BTC": snapshot.assets["BTC"].price_usd * 1.05})
    for factor in (1.3, 0.8):
        world.scale_vols("BTC", factor)
        view = world.moved_view(program.units.frame.view, registry.terms)
        assert_same_rows(at_prices(program, rows, view), in_market(program, view))


def test_both_coins_at_once():
    registry, snapshot, program, _compiled = programs("deribit-pm-cross", 60)
    assets = [registry.asset("BTC"), registry.asset("ETH")]
    rows = DirectRows(program, Dependence(program).codes(assets))
    world = World(snapshot, registry)
    prices = {a: snapshot.assets[a].price_usd for a in ("BTC", "ETH")}
    world.set_prices({"BTC": prices["BTC"] * 0.9, "ETH": prices["ETH"] * 1.2})
    view = world.moved_view(program.units.frame.view, registry.terms)
    assert_same_rows(at_prices(program, rows, view), in_market(program, view))


def test_a_lost_peg_reaches_every_group():
    """Derive's peg factor multiplies what every group needs, and comes from one price."""
    registry, snapshot, program, _compiled = programs("derive-pm2", 60)
    rows = DirectRows(program, Dependence(program).codes([registry.asset("USDC")]))
    world = World(snapshot, registry)
    world.set_prices({"USDC": 0.93})
    view = world.moved_view(program.units.frame.view, registry.terms)
    ours = at_prices(program, rows, view)
    assert ours.level != program.level
    assert_same_rows(ours, in_market(program, view))
    assert difference(program, ours, rows.codes).groups[program.in_group].all()
