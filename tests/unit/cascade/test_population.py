"""Columns of a population: what they say of accounts, and what they refuse."""

import dataclasses

import numpy as np
import pytest

from crossmargin.cascade import generate_population, population
from crossmargin.errors import CascadeError
from crossmargin.liquidation import Brackets


def pair(**more):
    """Return a long of 2 BTC with 1 BTC of collateral against a short of 2 BTC with a debt."""
    columns = {
        "contracts": ["BTC"],
        "assets": ["BTC", "USDE"],
        "price": [50_000.0, 1.0],
        "haircut": [0.05, 0.0],
        "mm_rate": [0.05],
        "cash": [0.0, 30_000.0],
        "start": [0, 1, 2],
        "contract": [0, 0],
        "quantity": [2.0, -2.0],
        "coll_start": [0, 1, 2],
        "coll_asset": [0, 1],
        "coll_quantity": [1.0, -1_000.0],
    }
    return population(**{**columns, **more})


def test_equity_and_maintenance_of_wrong_way_collateral():
    # Requirements row A06: at 35,087.72 a long of 2 BTC with 1 BTC at 5 % stands on its line.
    people = pair()
    assert people.equity().tolist() == [47_500.0, 29_000.0]
    assert people.maintenance().tolist() == [5_000.0, 5_000.0]
    line = [100_000 / 2.85, 1.0]
    assert people.equity(line)[0] == pytest.approx(people.maintenance(line)[0], abs=1e-6)
    assert people.health().tolist() == [9.5, 5.8]
    assert people.open_interest().tolist() == [2.0]
    assert people.absorber.tolist() == [0.0]


def test_brackets_are_marginal():
    table = Brackets((0.0, 60_000.0), (0.01, 0.10))
    people = pair(brackets=[table])
    assert people.maintenance().tolist() == pytest.approx([600 + 4_000] * 2)
    assert people.maintenance([20_000.0, 1.0]).tolist() == pytest.approx([table.mm(40_000)] * 2)
    with pytest.raises(CascadeError, match=r"CAS-010.*jump"):
        pair(brackets=[Brackets((0.0, 6.0), (0.01, 0.10), marginal=False)])


@pytest.mark.parametrize(
    ("wrong", "code", "word"),
    [
        ({"start": [0, 1]}, "CAS-001", "rows of accounts"),
        ({"contract": [0, 1]}, "CAS-001", "listed"),
        ({"quantity": [2.0]}, "CAS-001", "quantity"),
        ({"mm_rate": [0.1, 0.2]}, "CAS-001", "mm_rate"),
        ({"start": [0, 2, 2]}, "CAS-001", "two positions"),
        ({"cash": [0.0, np.nan]}, "CAS-010", "account '1'"),
        ({"cash": [0.0, np.inf], "ids": ["ann", "bob"]}, "CAS-010", "bob"),
        ({"price": [0.0, 1.0]}, "CAS-010", "above 0"),
        ({"haircut": 1.5}, "CAS-010", "haircuts"),
        ({"entry": [-1.0, 1.0]}, "CAS-010", "entry"),
        ({"assets": ["BTC", "BTC"]}, "CAS-001", "twice"),
        ({"ids": ["ann"]}, "CAS-001", "ids"),
    ],
)
def test_refuses(wrong, code, word):
    with pytest.raises(CascadeError) as caught:
        pair(**wrong)
    assert caught.value.code == code
    assert word in str(caught.value)


def test_generated_population_is_matched_and_starts_above_its_line():
    people = generate_population(2_000, 5, 7)
    again = generate_population(2_000, 5, 7)
    for name in ("cash", "quantity", "contract", "start", "coll_quantity"):
        assert getattr(people, name).tobytes() == getattr(again, name).tobytes()
    held = people.open_interest()
    assert (held > 0).all()
    assert np.abs(people.absorber) == pytest.approx(0.0, abs=1e-9 * held.max())
    assert people.health().min() >= 1.2 - 1e-9
    loose = generate_population(2_000, 5, 7, matched=False)
    gross = np.bincount(
        loose.account, np.abs(loose.quantity) * loose.price[loose.contract], loose.size
    )
    leverage = gross / loose.equity()
    assert np.median(leverage) == pytest.approx(5.0, rel=0.06)
    assert leverage.max() <= 50.0 + 1e-9
    assert dataclasses.replace(loose, cash=loose.cash + 1).equity().sum() == pytest.approx(
        loose.equity().sum() + loose.size
    )
    # Hill's estimator over the largest tenth: Pareto with tail 1.2.
    top = np.sort(loose.equity())[::-1][:200]
    assert 1.0 / np.log(top[:-1] / top[-1]).mean() == pytest.approx(1.2, rel=0.2)


def test_one_sided_population_needs_an_absorber():
    people = generate_population(50, ["BTC"], 1, long_share=1.0, hedged=0.0, coins=0.0)
    assert people.absorber[0] == pytest.approx(-people.quantity.sum())
    assert people.open_interest()[0] == pytest.approx(people.quantity.sum())


@pytest.mark.parametrize("wrong", [{"n": 0}, {"hedged": 1.5}, {"tail": 0.0}])
def test_no_such_population(wrong):
    with pytest.raises(CascadeError, match="CAS-010"):
        generate_population(**{"n": 10, "assets": 2, "seed": 1, **wrong})
