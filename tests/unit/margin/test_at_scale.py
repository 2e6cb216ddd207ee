"""A large book: broken accounts by cause, exact totals, owners, interruption."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from benchmarks.ruleset_worlds import WORLDS, rules, world
from tests.helpers import component, flat_rate, rules_dict

from crossmargin.book import (
    Book,
    CompactBook,
    book_from_accounts,
    compact_book,
    join_books,
    parse_account,
    select_accounts,
)
from crossmargin.errors import MarginError
from crossmargin.margin import (
    at_scale,
    evaluate_book,
    evaluate_compact,
    load_ruleset,
    ruleset_from_dict,
)
from crossmargin.margin._exact_sum import ExactSums
from crossmargin.margin._frame import sum_by
from crossmargin.market import Snapshot


def same_failures(ours: Any, theirs: Any) -> None:
    assert {k: e.as_dict() for k, e in ours.failures.items()} == {
        k: e.as_dict() for k, e in theirs.failures.items()
    }
    assert all(type(e) is type(theirs.failures[k]) for k, e in ours.failures.items())


def same_columns(ours: Any, theirs: Any) -> None:
    for field in ("equity", "equity_im", "im", "mm"):
        one, two = getattr(ours, field), getattr(theirs, field)
        scale = np.maximum(np.abs(theirs.equity), np.abs(theirs.im)) + 1e3
        assert (np.isnan(one) == np.isnan(two)).all()
        assert not (np.abs(one - two) > 1e-12 * scale).any()


class TestBrokenAccounts:
    """The same accounts fail with the same words as one by one, whatever the cause."""

    def holed(self, snapshot: Snapshot, names: list[str]) -> Snapshot:
        """A market without a perpetual, a volatility, a rate, a forward and an asset."""
        perpetual = next(n for n in names if n.endswith(":BTC") or "PERPETUAL" in n)
        quotes = {k: q for k, q in snapshot.quotes.items() if k != perpetual}
        forwards = dict(snapshot.forwards)
        keys = sorted(forwards)
        del forwards[keys[1]]
        forwards[keys[2]] = replace(forwards[keys[2]], rate=None)
        surfaces = {k: v for k, v in snapshot.surfaces.items() if k != keys[3]}
        return replace(snapshot, quotes=quotes, forwards=forwards, surfaces=surfaces)

    @pytest.mark.parametrize(
        "name",
        [
            "deribit-pm",
            "deribit-pm-cross",
            "derive-pm2",
            "derive-srm",
            "isolated",
            "span",
            "okx-pm",
        ],
    )
    def test_holes_in_the_market(self, name: str) -> None:
        book, snapshot = world(name, 200, seed=6, instruments=120)
        names = [item.id for item in book.registry]
        market = self.holed(snapshot, names)
        whole = book.accounts(0, book.size)
        theirs = evaluate_book(whole, market, rules(name))
        ours = evaluate_compact(book, market, rules(name), engine="vectorised", chunk=64)
        assert len({e.code for e in theirs.failures.values()}) >= 2
        assert 0 < len(theirs.failures) < book.size
        same_failures(ours, theirs)
        same_columns(ours, theirs)

    @pytest.mark.parametrize(
        ("name", "gone", "codes"),
        [
            ("deribit-pm", ["components.delta_shock.growth"], {"RUL-030"}),
            ("okx-pm", ["components.mr2.left_out"], {"RUL-030"}),
            ("bybit-pm", ["components.im_factor.value"], {"RUL-030"}),
            ("bybit-pm", ["components.stablecoin_spread.levels"], {"RUL-030"}),
            ("bybit-pm", ["components.futures_contingency.underlyings.default"], {"RUL-030"}),
            ("binance-pm", ["components.futures_usdm.tiers.default"], {"RUL-011", "RUL-013"}),
            ("binance-usdm-multi", ["collateral.assets.ETH.haircut"], {"RUL-020"}),
            ("drift-v2", ["components.borrows.assets"], set()),
            ("mango-v4", ["components.perpetuals.markets.default"], {"RUL-011"}),
        ],
    )
    def test_gaps_in_the_rules(self, name: str, gone: list[str], codes: set[str]) -> None:
        """What a venue does not publish refuses who needs it, and nobody else."""
        supplied = {k: v for k, v in WORLDS[name].supplied.items() if k not in gone}
        ruleset = load_ruleset(name, overrides=supplied)
        book, snapshot = world(name, 150, seed=8, instruments=120)
        big = replace(book, position_quantity=book.position_quantity * 20_000.0)
        for one in (book, big):
            theirs = evaluate_book(one.accounts(0, one.size), snapshot, ruleset)
            ours = evaluate_compact(one, snapshot, ruleset, engine="vectorised", chunk=64)
            same_failures(ours, theirs)
            same_columns(ours, theirs)
        assert codes <= {e.code for e in theirs.failures.values()}

    def test_contracts_that_the_venue_does_not_trade(self) -> None:
        book, snapshot = world("deribit-sm", 100, seed=2, instruments=100)
        theirs = evaluate_book(book.accounts(0, 100), snapshot, rules("hyperliquid"))
        ours = evaluate_compact(book, snapshot, rules("hyperliquid"), engine="vectorised")
        assert {"RUL-014"} <= {e.code for e in theirs.failures.values()}
        same_failures(ours, theirs)

    def test_nan_quantities(self) -> None:
        """No number comes out of one that is none."""
        book, snapshot = world("deribit-pm-cross", 60, seed=2, instruments=100)
        quantity = book.position_quantity.copy()
        quantity[::50] = np.nan
        broken = replace(book, position_quantity=quantity)
        ours = evaluate_compact(broken, snapshot, rules("deribit-pm-cross"), engine="vectorised")
        touched = np.add.reduceat(np.isnan(quantity), book.position_start[:-1]) > 0
        assert set(ours.failures) == set(np.flatnonzero(touched))
        assert {e.code for e in ours.failures.values()} == {"INP-004"}
        assert np.isnan(ours.im[touched]).all()
        fine = evaluate_compact(book, snapshot, rules("deribit-pm-cross"), engine="vectorised")
        np.testing.assert_array_equal(ours.im[~touched], fine.im[~touched])

    def test_orders_where_no_formula_is_published(self) -> None:
        book = book_from_accounts([order_account(f"o{k}", k % 3 == 0) for k in range(30)])
        _, snapshot = world("deribit-sm", 1, seed=2)
        ruleset = rules("deribit-sm")
        assert ruleset.data.orders.method == "refuse"
        ours = evaluate_compact(compact_book(book), snapshot, ruleset, engine="vectorised")
        assert len(ours.failures) == 10
        assert {e.code for e in ours.failures.values()} == {"RUL-032"}


def order_account(name: str, ordered: bool) -> Any:
    raw: dict[str, Any] = {
        "format": "crossmargin-account/1",
        "account": name,
        "balances": [{"asset": "BTC", "amount": 2.0}],
        "positions": [
            {"instrument": "BTC-PERPETUAL", "quantity": 1000, "entry_price": "mark"},
        ],
    }
    if ordered:
        leg = {"instrument": "BTC-PERPETUAL", "quantity": 100}
        raw["orders"] = [{"id": "o", "legs": [leg]}]
    return parse_account(json.dumps(raw))


class TestTotals:
    def test_sums_are_exact_in_any_order(self) -> None:
        rng = np.random.default_rng(3)
        values = rng.normal(size=5_000) * 10.0 ** rng.integers(-12, 13, 5_000)
        exact = float(sum((Fraction(v) for v in values.tolist()), Fraction(0)))
        parts = [values, values[::-1], np.sort(values)]
        for order in parts:
            sums = ExactSums()
            for piece in np.array_split(order, 17):
                one = ExactSums()
                one.add("x", 0, piece)
                sums.merge(one)
            assert sums.rounded() == {"x": (exact, 0.0)}
        assert math.fsum(values) == exact

    def test_components_add_up_to_the_requirement(self) -> None:
        """A rule-set that adds its components gives a total that its components add up to."""
        book, snapshot = world("deribit-sm", 400, seed=5, instruments=100)
        found = evaluate_compact(book, snapshot, rules("deribit-sm"), engine="vectorised")
        for column, level in enumerate(("im", "mm")):
            parts = sum(pair[column] for pair in found.components.values())
            assert parts == pytest.approx(getattr(found, level).sum(), rel=1e-12)

    def test_failed_accounts_are_not_in_the_totals(self) -> None:
        book, snapshot = world("deribit-sm", 200, seed=5, instruments=100)
        quotes = dict(list(snapshot.quotes.items())[1:])
        market = replace(snapshot, quotes=quotes)
        ours = evaluate_compact(book, market, rules("deribit-sm"), engine="vectorised")
        assert ours.failures
        fine = np.array([k for k in range(book.size) if k not in ours.failures])
        kept = compact_book(select_accounts(book.accounts(0, book.size), fine))
        again = evaluate_compact(kept, market, rules("deribit-sm"), engine="vectorised")
        assert again.components == ours.components


class TestOwners:
    """Charges on what an owner holds in all accounts: nobody is parted from his other accounts."""

    RULES = rules_dict(
        flat_rate(0.1, 0.05),
        component(
            "concentration",
            "size",
            aggregate="owner",
            per="underlying",
            measure="usd",
            scales={"default": {"threshold": 1e5, "rate": 0.1, "power": 1.0, "max_rate": 0.5}},
        ),
    )

    def test_a_book_by_owner(self) -> None:
        book, snapshot = world("deribit-sm", 60, seed=5, instruments=100)
        owners = [f"owner{k % 7}" for k in range(60)]
        ruleset = ruleset_from_dict(self.RULES)
        assert ruleset.by_owner
        owned = replace(book, owners=owners, position_quantity=book.position_quantity * 1e3)
        seen: list[tuple[int, int]] = []
        ours = evaluate_compact(owned, snapshot, ruleset, progress=lambda a, b: seen.append((a, b)))
        theirs = evaluate_book(owned.accounts(0, 60), snapshot, ruleset)
        for field in ("equity", "equity_im", "im", "mm", "health"):
            np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))
        same_failures(ours, theirs)
        assert seen == [(60, 60)]
        assert ours.components["size"][0] > 0

    @pytest.mark.parametrize("missing", ["BTC", "ETH"])
    def test_charges_by_account_refuse_who_needs_a_figure(self, missing: str) -> None:
        raw = dict(self.RULES)
        size = {**raw["components"][1], "aggregate": "account", "measure": "adv"}
        ruleset = ruleset_from_dict({**raw, "components": [raw["components"][0], size]})
        assert not ruleset.by_owner
        book, snapshot = world("deribit-sm", 80, seed=5, instruments=100)
        liquidity = {k: v for k, v in snapshot.liquidity.items() if k != missing}
        market = replace(snapshot, liquidity=liquidity)
        ours = evaluate_compact(book, market, ruleset, engine="vectorised", chunk=32)
        theirs = evaluate_book(book.accounts(0, 80), market, ruleset)
        assert 0 < len(theirs.failures) < 80
        same_failures(ours, theirs)
        same_columns(ours, theirs)


class TestJoining:
    def test_a_book_cut_and_joined_is_the_same(self) -> None:
        accounts = [order_account(f"o{k}", k % 2 == 0) for k in range(6)]
        book = book_from_accounts(accounts)
        parts = select_accounts(book, [0, 1, 2]), select_accounts(book, [3, 4, 5])
        joined = join_books(*parts)
        for name in Book.__dataclass_fields__:
            one, two = getattr(joined, name), getattr(book, name)
            if isinstance(two, np.ndarray):
                assert one.dtype == two.dtype, name
                np.testing.assert_array_equal(one, two)
            else:
                assert one == two


class TestRunning:
    def test_progress_is_told_by_chunk(self) -> None:
        book, snapshot = world("dydx-v4", 25, seed=1)
        seen: list[tuple[int, int]] = []
        evaluate_compact(
            book,
            snapshot,
            rules("dydx-v4"),
            chunk=10,
            engine="vectorised",
            progress=lambda done, total: seen.append((done, total)),
        )
        assert seen == [(10, 25), (20, 25), (25, 25)]

    @pytest.mark.parametrize("threads", [1, 2])
    def test_an_interruption_stops_it(self, threads: int, monkeypatch: Any) -> None:
        """Nothing is computed after Ctrl-C but the chunks already begun."""
        book, snapshot = world("dydx-v4", 200, seed=1)
        begun: list[int] = []
        real = at_scale.evaluate_chunk

        def counted(first: int, part: Book, shared: Any) -> Any:
            begun.append(first)
            return real(first, part, shared)

        monkeypatch.setattr(at_scale, "evaluate_chunk", counted)

        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evaluate_compact(
                book,
                snapshot,
                rules("dydx-v4"),
                chunk=10,
                threads=threads,
                engine="vectorised",
                progress=stop,
            )
        assert len(begun) <= threads + 2

    def test_an_empty_book(self) -> None:
        book, snapshot = world("deribit-pm", 5, seed=1)
        none = CompactBook(
            registry=book.registry,
            ids=[],
            position_start=np.zeros(1, dtype=np.int64),
            position_instrument=book.position_instrument[:0],
            position_quantity=np.empty(0),
            position_entry=np.empty(0),
            balance_start=np.zeros(1, dtype=np.int64),
            balance_asset=book.balance_asset[:0],
            balance_amount=np.empty(0),
        )
        found = evaluate_compact(none, snapshot, rules("deribit-pm"), engine="vectorised")
        assert found.im.size == 0
        assert not found.failures

    def test_a_kernel_that_is_not_there_is_said(self) -> None:
        book, snapshot = world("span", 5, seed=1, instruments=60)
        with pytest.raises(MarginError, match="MRG-030"):
            evaluate_compact(book, snapshot, rules("span"), engine="fused")


def test_few_and_many_sums_have_the_same_bits() -> None:
    """However many targets there are: rows are added in their order."""
    rng = np.random.default_rng(1)
    for columns in (1, 2, 7, 33):
        for rows in (1, 5, 40, 900):
            values = rng.normal(size=(rows, columns)) * 10.0 ** rng.integers(-8, 9, (rows, 1))
            index = rng.integers(-1, 50, rows)
            few = sum_by(values, index, 50)
            many = sum_by(values, index, 500)
            np.testing.assert_array_equal(few, many[:50])
            slow = np.zeros((50, columns))
            for row, target in enumerate(index.tolist()):
                if target >= 0:
                    slow[target] += values[row]
            np.testing.assert_array_equal(few, slow)
