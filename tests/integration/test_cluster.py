"""A book on a local Ray cluster: the same bytes as one machine, also when a worker is killed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from crossmargin.book import CompactBook, generate_book, write_compact
from crossmargin.errors import InputError, MarginError
from crossmargin.margin import load_ruleset
from crossmargin.margin.at_scale import BookColumns, evaluate_compact
from crossmargin.margin.cluster import GRAIN, ClusterBook, joined, shard_bounds, shard_outcome
from crossmargin.market import Snapshot, generated_market

ACCOUNTS = 3 * GRAIN + 1_000
COLUMNS = ("equity", "equity_im", "im", "mm", "health", "protected")


@pytest.fixture(scope="module")
def made() -> tuple[CompactBook, Snapshot]:
    registry, snapshot = generated_market(seed=1, underlyings=["BTC", "ETH"], instruments=200)
    book = generate_book(ACCOUNTS, seed=5, registry=registry, snapshot=snapshot)
    # One contract that nobody can price, and a position beyond the venue's limit.
    quotes = dict(snapshot.quotes)
    quotes.pop(next(k for k in quotes if "PERPETUAL" in k and k.startswith("ETH_")))
    return book, generated_like(snapshot, quotes)


def generated_like(snapshot: Snapshot, quotes: dict) -> Snapshot:
    from dataclasses import replace

    return replace(snapshot, quotes=quotes)


def assert_same_bytes(ours: BookColumns, whole: BookColumns) -> None:
    for name in COLUMNS:
        assert getattr(ours, name).tobytes() == getattr(whole, name).tobytes(), name
    assert ours.components == whole.components
    assert ours.engine == whole.engine
    assert list(ours.failures) == list(whole.failures)
    some = list(whole.failures)[::97]
    assert some
    assert [ours.failures[k].as_dict() for k in some] == [whole.failures[k].as_dict() for k in some]


@pytest.mark.parametrize("accounts, workers", [(1, 4), (GRAIN, 2), (100_000, 3), (1_000_003, 7)])
def test_shards_cover_the_book_at_multiples_of_a_grain(accounts: int, workers: int) -> None:
    bounds = shard_bounds(accounts, workers)
    assert bounds[0][0] == 0 and bounds[-1][1] == accounts
    assert all(a[1] == b[0] and b[0] % GRAIN == 0 for a, b in itertools.pairwise(bounds))
    assert 1 <= len(bounds) <= workers


@pytest.mark.parametrize("rules", ["deribit-pm", "deribit-sm"])
def test_shards_joined_are_the_whole_without_a_cluster(rules: str, made) -> None:
    book, snapshot = made
    ruleset = load_ruleset(rules)
    whole = evaluate_compact(book, snapshot, ruleset)
    bounds = shard_bounds(book.regular, 3)
    parts = [
        shard_outcome(evaluate_compact(book.part(a, b), snapshot, ruleset, catalogue=book))
        for a, b in bounds
    ]
    assert_same_bytes(joined(book, [a for a, _ in bounds], parts), whole)


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra: cluster)")
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000
    )
    yield ray
    ray.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_two_workers_give_the_bytes_of_one_machine(cluster, made, tmp_path) -> None:
    book, snapshot = made
    rules = load_ruleset("deribit-pm")
    write_compact(book, tmp_path / "book")
    whole = evaluate_compact(book, snapshot, rules)
    seen: list[tuple[int, int]] = []
    with ClusterBook(tmp_path / "book", workers=2) as spread:
        assert sum(spread.workers()) == book.size
        found = spread.evaluate(snapshot, rules, progress=lambda a, b: seen.append((a, b)))
        assert spread.restarted == 0
    assert_same_bytes(found, whole)
    assert seen[-1] == (book.size, book.size) and len(seen) == 2


@pytest.mark.filterwarnings("ignore")
def test_a_worker_killed_in_the_middle_is_replaced(cluster, made, tmp_path) -> None:
    book, snapshot = made
    rules = load_ruleset("deribit-pm")
    write_compact(book, tmp_path / "book")
    whole = evaluate_compact(book, snapshot, rules)
    with ClusterBook(tmp_path / "book", workers=2) as spread:
        spread.workers()
        first = spread.evaluate(snapshot, rules)
        # Gone before the next valuation reaches it: the call comes back as lost.
        cluster.kill(spread._actors[1], no_restart=True)
        second = spread.evaluate(snapshot, rules)
        assert spread.restarted == 1
        third = spread.evaluate(snapshot, rules)
        assert spread.restarted == 1
    for found in (first, second, third):
        assert_same_bytes(found, whole)


@pytest.mark.filterwarnings("ignore")
def test_a_worker_killed_while_it_computes_is_replaced(cluster, made) -> None:
    """The shard travels from memory here, and the worker dies of its own hand mid-run."""
    book, snapshot = made
    rules = load_ruleset("deribit-pm")
    whole = evaluate_compact(book, snapshot, rules)
    import os
    import signal
    import threading
    import time

    with ClusterBook(book, workers=2) as spread:
        spread.workers()
        pid = cluster.get(spread._actors[0].__ray_call__.remote(lambda self: os.getpid()))
        timer = threading.Thread(target=lambda: (time.sleep(0.02), os.kill(pid, signal.SIGKILL)))
        timer.start()
        found = spread.evaluate(snapshot, rules)
        timer.join()
        again = spread.evaluate(snapshot, rules)
    assert_same_bytes(found, whole)
    assert_same_bytes(again, whole)
    assert np.isfinite(found.im).any()


@pytest.mark.filterwarnings("ignore")
def test_wrong_questions_are_answered_in_sentences(cluster, made) -> None:
    with pytest.raises(InputError, match="0 workers"):
        ClusterBook(made[0], workers=0)


def test_an_address_where_nothing_listens_is_refused_at_once(made) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra: cluster)")
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(MarginError, match="no Ray cluster answers"):
        ClusterBook(made[0], address="127.0.0.1:9")


def test_without_ray_the_extra_is_named(monkeypatch, made) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MarginError, match="Ray, which is not installed") as caught:
        ClusterBook(made[0])
    assert caught.value.code == "MRG-031"
