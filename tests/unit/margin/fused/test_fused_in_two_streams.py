"""The batch in two streams against the record kernel, which knows nothing of directions."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest

from crossmargin.book import CompactBook, NumberedIds, generate_book
from crossmargin.margin import load_ruleset
from crossmargin.margin.fused import Program, Results, compile_program, holdings_of, run_program
from crossmargin.margin.fused._batch import BLOCK
from crossmargin.margin.fused._batch_tables import batch_tables
from crossmargin.margin.fused._combine import (
    ADD,
    DIV,
    MAX,
    MIN,
    MUL,
    NEG,
    NUMBER,
    PUSH,
    SQRT,
    SUB,
    Steps,
    run_steps,
)
from crossmargin.margin.fused._directions import ALONG, APART, STILL
from crossmargin.margin.fused._expression import column_text, steps_text, sum_accounts
from crossmargin.margin.fused._run import kept_batch
from crossmargin.market import generated_market

RULES = {"deribit-pm": ("mixed", ["BTC", "ETH"]), "derive-pm2": ("linear", None)}
COLUMNS = ("equity", "equity_im", "im", "mm")


def world(name: str, accounts: int, seed: int = 5):
    kind, underlyings = RULES[name]
    registry, snapshot = generated_market(seed=1, venue_kind=kind, underlyings=underlyings)
    return generate_book(accounts, seed=seed, registry=registry, snapshot=snapshot), snapshot


def program_for(name: str, book: CompactBook, snapshot) -> Program:
    return compile_program(
        book.registry, snapshot, load_ruleset(name), book.instruments_used(), book.assets_used()
    )


def gross(program: Program, holdings) -> np.ndarray:
    """The largest size of anything that is summed for an account, US dollars."""
    rows = np.nan_to_num(np.abs(program.table)).max(axis=1)
    usd = program.pot_usd[program.layout.pot]
    each = np.abs(holdings.quantity) * (rows * usd)[holdings.code]
    owner = np.repeat(np.arange(holdings.size), np.diff(holdings.start))
    return np.bincount(owner, weights=each, minlength=holdings.size) + 1e-9


def assert_same(program: Program, holdings) -> Results:
    ours = run_program(program, holdings, totals=True)
    theirs = run_program(program, holdings, totals=True, batch=False)
    scale = gross(program, holdings)
    for name in COLUMNS:
        a, b = getattr(ours, name), getattr(theirs, name)
        assert np.array_equal(np.isnan(a), np.isnan(b)), name
        fine = ~np.isnan(b)
        assert np.max(np.abs(a - b)[fine] / scale[fine], initial=0.0) <= 1e-13, name
    fine = ~np.isnan(theirs.equity + theirs.mm)
    assert np.array_equal(np.isinf(ours.health[fine]), np.isinf(theirs.health[fine]))
    assert np.isnan(ours.health[~fine]).all()
    assert np.array_equal(ours.over, theirs.over)
    for part, (im, mm) in theirs.parts.items():
        assert ours.parts[part][0] == pytest.approx(im, rel=1e-12, abs=1e-6), part
        assert ours.parts[part][1] == pytest.approx(mm, rel=1e-12, abs=1e-6), part
    return ours


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_generated_books(name: str, seed: int) -> None:
    book, snapshot = world(name, 2_500, seed)
    program = program_for(name, book, snapshot)
    tables = batch_tables(program)
    assert tables is not None
    assert np.bincount(tables.roles.role, minlength=3)[[STILL, ALONG, APART]].all()
    assert_same(program, holdings_of(book, program))


def dense(name: str, accounts: int, positions: int) -> tuple[CompactBook, object]:
    """A book of accounts that hold a lot each, of everything, and of nothing every fifth time."""
    book, snapshot = world(name, 200)
    random = np.random.default_rng(7)
    instruments, assets = book.instruments_used(), book.assets_used()
    count = np.where(np.arange(accounts) % 5 == 4, 0, positions)
    held = np.concatenate(
        [np.sort(random.choice(instruments, n, replace=False)) for n in count if n]
    )
    owned = np.where(count > 0, assets.size, 0)
    size = held.size
    spread = np.exp(random.normal(size=size) * 2)
    return replace(
        book,
        ids=NumberedIds(accounts),
        position_start=np.concatenate([[0], np.cumsum(count)]),
        position_instrument=held.astype(book.position_instrument.dtype),
        position_quantity=random.normal(size=size) * spread,
        position_entry=np.full(size, np.nan),
        balance_start=np.concatenate([[0], np.cumsum(owned)]),
        balance_asset=np.tile(assets, int((count > 0).sum())).astype(book.balance_asset.dtype),
        balance_amount=random.normal(size=int(owned.sum())) * 1e4,
    ), snapshot


@pytest.mark.parametrize("name", RULES)
def test_accounts_with_hundreds_of_positions_and_with_none(name: str) -> None:
    book, snapshot = dense(name, BLOCK + 70, 400)
    program = program_for(name, book, snapshot)
    holdings = holdings_of(book, program)
    ours = assert_same(program, holdings)
    batch = kept_batch(holdings, program, batch_tables(program).roles)
    assert batch.scan_offset.dtype == np.uint32, "more rows than two bytes count"
    assert (ours.mm[4::5] == 0.0).all() and np.isposinf(ours.health[4::5]).all()


@pytest.mark.parametrize("name", RULES)
def test_a_number_that_is_not_finite_stays_in_its_account(name: str) -> None:
    book, snapshot = world(name, 1_500)
    program = program_for(name, book, snapshot)
    clean = run_program(program, holdings_of(book, program))
    random = np.random.default_rng(3)
    chosen = np.sort(random.choice(np.flatnonzero(np.diff(book.position_start)), 60, replace=False))
    quantity = book.position_quantity.copy()
    for k, account in enumerate(chosen.tolist()):
        first, last = book.position_start[account], book.position_start[account + 1]
        quantity[random.integers(first, last)] = (np.nan, np.inf, -np.inf)[k % 3]
    dirty = holdings_of(replace(book, position_quantity=quantity), program)
    found = run_program(program, dirty)
    others = np.setdiff1d(np.arange(book.regular), chosen)
    assert found.columns[others].tobytes() == clean.columns[others].tobytes()
    assert not np.isfinite(found.equity + found.im + found.mm)[chosen].any()


@pytest.mark.parametrize("name", RULES)
def test_a_market_that_cannot_value_everything(name: str) -> None:
    book, snapshot = world(name, 1_500)
    quotes, forwards = dict(snapshot.quotes), dict(snapshot.forwards)
    del quotes[next(k for k in quotes if "PERPETUAL" in k and k.startswith("ETH"))]
    del forwards[next(iter(forwards))]
    program = program_for(name, book, replace(snapshot, quotes=quotes, forwards=forwards))
    found = assert_same(program, holdings_of(book, program))
    assert 0 < np.isnan(found.equity).sum() < book.regular


def test_bytes_do_not_depend_on_threads_or_memory() -> None:
    book, snapshot = world("derive-pm2", 20_000)
    program = program_for("derive-pm2", book, snapshot)
    holdings = holdings_of(book, program)
    one = run_program(program, holdings, totals=True)
    before = one.columns.tobytes()
    two = run_program(program, holdings, totals=True, threads=3)
    assert two.columns.tobytes() == before
    assert {k: [x.tobytes() for x in v] for k, v in one.parts.items()} == {
        k: [x.tobytes() for x in v] for k, v in two.parts.items()
    }
    one.columns[:] = np.nan
    again = run_program(program, holdings, into=one)
    assert again.columns is one.columns and again.columns.tobytes() == before


@pytest.mark.parametrize("name", RULES)
def test_memory_is_within_two_hundred_bytes_an_account(name: str) -> None:
    book, snapshot = world(name, 20_000)
    program = program_for(name, book, snapshot)
    holdings = holdings_of(book, program)
    batch = kept_batch(holdings, program, batch_tables(program).roles)
    assert (holdings.nbytes + batch.nbytes) / book.regular <= 200.0
    # Kept for the next run; split anew where a code has another role.
    assert kept_batch(holdings, program, batch.roles) is batch
    role = batch.roles.role.copy()
    role[role == ALONG] = APART
    other = kept_batch(holdings, program, replace(batch.roles, role=role))
    assert other is not batch and other.scan_code.size > batch.scan_code.size


def test_a_split_with_other_roles_gives_the_same_figures() -> None:
    # Rows taken out of the closed form and put into the scan must not change anything.
    book, snapshot = world("deribit-pm", 1_000)
    program = program_for("deribit-pm", book, snapshot)
    holdings = holdings_of(book, program)
    ours = run_program(program, holdings)
    tilted = program.table.copy()
    linear = batch_tables(program).roles.role == ALONG
    # A hair's breadth off their direction: far beyond roundings, far below any figure.
    random = np.random.default_rng(1)
    tilted[linear, : 8 * program.nv] *= 1.0 + 1e-13 * random.normal(
        size=(int(linear.sum()), 8 * program.nv)
    )
    other = replace(program, table=tilted)
    role = batch_tables(other).roles.role
    assert (role[linear] == APART).sum() > linear.sum() / 2
    found = run_program(other, holdings)
    assert np.max(np.abs(found.mm - ours.mm) / gross(program, holdings)) <= 1e-11


def test_cross_settled_segments_are_left_to_the_record_kernel() -> None:
    book, snapshot = world("deribit-pm", 300)
    program = program_for("deribit-pm-cross", book, snapshot)
    assert batch_tables(program) is None
    assert np.isfinite(run_program(program, holdings_of(book, program)).im).all()


def test_steps_as_straight_code() -> None:
    """Every operation, against the stack machine."""
    lanes = program_for("derive-pm2", *world("derive-pm2", 50)).lanes
    random = np.random.default_rng(0)
    op = [PUSH, PUSH, MUL, NUMBER, ADD, PUSH, MAX, PUSH, NEG, MIN, PUSH, DIV, PUSH, SUB, PUSH, MUL,
          SQRT]  # fmt: skip
    column = [0, 1, 0, 0, 0, 2, 0, 3, 0, 0, 4, 0, 5, 0, 5, 0, 0]
    number = [1.0, 0.5, 0.0, 2.0, 0.0, 1.5, 0.0, 1.0, 0.0, 0.0, 3.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]
    steps = Steps(op=np.array(op), column=np.array(column), number=np.array(number), depth=3)
    width, n = 8 * (lanes.vectors + 1), 40
    records = random.normal(size=(n, width)) + 3.0
    # The record kernel has the requirement of the scan in its own place, the batch in two lanes.
    scan = np.abs(records[:, lanes.columns[0, 0]])
    records[:, lanes.columns[0, 0]] = scan
    with np.errstate(all="ignore"):
        expected, stack = np.empty(n), np.empty((3, n))
        flat = records.reshape(-1)
        run_steps(steps.op, steps.column, steps.number, lanes.columns, flat, width, n,
                  stack, expected)  # fmt: skip
    records[:, [7, 15]] = scan[:, None]
    text, plain = steps_text(steps, lanes), column_text(1, lanes)
    texts = "|".join([text, plain, plain, plain])
    kinds = np.array([1.0, 1.0, 0.0, np.inf, 1.0, 1.0, 1.0, 1.0])
    mark, account = np.full(n, 7, dtype=np.uint16), np.arange(n, dtype=np.uint8)
    out, over, pots = np.zeros(5 * n), np.zeros(n, dtype=bool), np.zeros(2 * n)
    keeps = np.zeros(8, dtype=np.uint8)

    @numba.njit
    def run(records, mark, account, kinds, keeps, out, over, pots):
        sum_accounts(records, 0, n, 0, mark, account, kinds, keeps, out, over, pots, width, "7,15",
                     texts, -1)  # fmt: skip

    run(records.reshape(-1), mark, account, kinds, keeps, out, over, pots)
    np.testing.assert_allclose(out.reshape(n, 5)[:, 2], expected, rtol=1e-14)
