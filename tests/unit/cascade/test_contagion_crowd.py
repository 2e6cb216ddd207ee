"""Row A05 for one account and for a crowd; walls between positions; a coin that nobody trades."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossmargin.cascade.contagion import crowd_contagion, exposure, largest
from crossmargin.cascade.crowd import (
    Holding,
    fenced,
    gross,
    long_side,
    with_assets,
    with_collateral,
    with_interest,
    with_leverage,
)
from crossmargin.cascade.generate import generate_population
from crossmargin.cascade.population import Population, population
from crossmargin.errors import CascadeError


def row_a05(**more: object) -> Population:
    return population(
        contracts=["BTC", "ETH"],
        price=[50_000, 3_000],
        mm_rate=0.05,
        cash=[10_000],
        start=[0, 2],
        contract=[0, 1],
        quantity=[2, 20],
        **more,  # type: ignore[arg-type]
    )


class TestRowA05:
    @pytest.mark.parametrize(
        ("policy", "btc", "eth"),
        [
            ("riskiest-first", 1.0, 1 / 3),
            ("proportional", 0.7368421, 0.7368421),
            ("hedge-preserving", 0.7368421, 0.7368421),
        ],
    )
    def test_closed_by_policy(self, policy: str, btc: float, eth: float) -> None:
        found = crowd_contagion(row_a05(), {"BTC": -0.08}, policy)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.matrix, [[btc, eth]], rtol=1e-6)
        assert found.liquidated.tolist() == [1]
        assert found.without_position.tolist() == [0.0]

    def test_isolated_pots_stop_it(self) -> None:
        pots = fenced(row_a05())
        found = crowd_contagion(pots, {"BTC": -0.08}, "riskiest-first")
        np.testing.assert_allclose(found.matrix, [[1.0, 0.0]])
        assert largest(found) == ("", "", 0.0)

    def test_a_sub_account_of_both_stops_nothing(self) -> None:
        together = fenced(row_a05(), groups=[3, 3])
        found = crowd_contagion(together, {"BTC": -0.08}, "riskiest-first")
        np.testing.assert_allclose(found.matrix, [[1.0, 1 / 3]])


def crowd(seed: int = 1, n: int = 400) -> Population:
    made = generate_population(
        n, ["BTC", "ETH", "SOL"], seed, mm_rate=[0.0125, 0.0125, 0.025], coins=0.0
    )
    return with_interest(made, [5e9, 3e9, 1e9])


def test_walls_change_nothing_but_who_pays() -> None:
    """Same positions, same money, the same health in each pot as in the account it comes from."""
    people = with_collateral(crowd(), [Holding(asset="ETH", accounts=0.3, part=0.6)], seed=2)
    people = replace(people, entry=people.entry * 1.02)
    pots = fenced(people)
    assert pots.owner is not None
    for one, many in (
        (people.equity(), pots.equity()),
        (people.maintenance(), pots.maintenance()),
        (gross(people), gross(pots)),
    ):
        together = np.bincount(pots.owner, many, minlength=people.size)
        np.testing.assert_allclose(together, one, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(pots.health(), people.health()[pots.owner], rtol=1e-9)
    assert pots.size == people.quantity.size
    coins = np.bincount(pots.owner[pots.coll_account], pots.coll_quantity, minlength=people.size)
    mine = np.bincount(people.coll_account, people.coll_quantity, minlength=people.size)
    np.testing.assert_allclose(coins, mine, rtol=1e-12)


def test_isolated_pots_have_no_entry_off_the_diagonal_in_a_crowd() -> None:
    pots = fenced(crowd())
    found = crowd_contagion(pots, {"BTC": -0.15, "ETH": 0.2, "SOL": -0.3}, "proportional")
    np.testing.assert_array_equal(found.matrix - np.diag(np.diag(found.matrix)), 0.0)
    assert (np.diag(found.matrix) > 0).all()
    cross = crowd_contagion(crowd(), {"BTC": -0.15}, "proportional")
    assert largest(cross)[2] > 0.0


def test_columns_against_one_account_at_a_time() -> None:
    """The matrix in plain Python: proportional cut ``1 − E/MM``, at most everything."""
    people = crowd(seed=3, n=60)
    found = crowd_contagion(people, {"BTC": -0.2}, "proportional")
    price = [float(p) for p in people.price * [0.8, 1, 1]]
    closed, held, count = [0.0] * 3, [0.0] * 3, 0
    for row in range(people.size):
        legs = range(int(people.start[row]), int(people.start[row + 1]))
        equity, need = float(people.cash[row]), 0.0
        for i in legs:
            k = int(people.contract[i])
            equity += float(people.quantity[i]) * (price[k] - float(people.entry[i]))
            need += float(people.mm_rate[k]) * abs(float(people.quantity[i])) * price[k]
        cut = min(1.0, 1.0 - equity / need) if equity < need else 0.0
        count += cut > 0
        for i in legs:
            k = int(people.contract[i])
            value = abs(float(people.quantity[i])) * float(people.price[k])
            held[k] += value
            closed[k] += cut * value
    assert count > 5
    assert found.liquidated.tolist() == [count]
    np.testing.assert_allclose(found.matrix[0], np.array(closed) / held, rtol=1e-9)
    # Linear contracts of different coins are no hedges: the solver of single accounts agrees.
    slow = crowd_contagion(people, {"BTC": -0.2}, "hedge-preserving")
    np.testing.assert_allclose(slow.matrix, found.matrix, rtol=1e-6)


def test_a_depeg_closes_positions_in_coins_that_did_not_move() -> None:
    people = with_assets(with_leverage(crowd(), 6.0), ["USDe"], [1.0], [0.05])
    people = with_collateral(people, [Holding(asset="USDe", accounts=0.4, part=0.9)], seed=7)
    found = crowd_contagion(people, {"USDe": -0.35}, "proportional")
    assert (found.matrix[0] > 0.0).all()
    assert found.without_position.tolist() == [1.0]  # nobody trades it
    assert found.unexposed.tolist() == [0.0]  # but all who were closed hold it
    _, holds = exposure(people, "USDe")
    assert 0.35 < holds.mean() < 0.45


def test_wrong_way_collateral_is_held_by_longs() -> None:
    people = crowd()
    held = with_collateral(people, [Holding(asset="SOL", accounts=1.0, part=1.0, side="long")], 1)
    _, coin = exposure(held, "SOL")
    np.testing.assert_array_equal(coin, long_side(people))
    np.testing.assert_allclose(held.equity(), people.equity(), rtol=1e-12)


def test_leverage_is_multiplied_down_to_the_line_at_most() -> None:
    people = crowd()
    tight = with_leverage(people, 3.0)
    assert (tight.health() >= np.minimum(1.05, people.health()) - 1e-9).all()
    free = tight.health() > 1.0500001
    np.testing.assert_allclose(tight.equity()[free], people.equity()[free] / 3.0)


def test_open_interest_is_what_was_asked_for_and_leverage_stays() -> None:
    made = generate_population(300, ["BTC", "ETH"], 5, coins=0.2)
    grown = with_interest(made, [7e9, 2e9])
    np.testing.assert_allclose(grown.open_interest() * grown.price, [7e9, 2e9])
    np.testing.assert_allclose(grown.absorber, 0.0, atol=1e-6)
    np.testing.assert_allclose(gross(grown) / grown.equity(), gross(made) / made.equity())


def test_unknown_names_are_refused_in_words() -> None:
    with pytest.raises(CascadeError, match="no asset called 'DOGE'"):
        crowd_contagion(row_a05(), {"DOGE": -0.1}, "proportional")
    with pytest.raises(CascadeError, match="no policy"):
        crowd_contagion(row_a05(), {"BTC": -0.1}, "best")  # type: ignore[arg-type]
    with pytest.raises(CascadeError, match="no asset of the population"):
        with_collateral(row_a05(), [Holding(asset="USDe", accounts=1, part=1)], seed=1)
