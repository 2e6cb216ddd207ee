"""Trigger prices against computing every account, and each bound against what it bounds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tests.live_books import FUSED, made

from crossmargin.margin import load_ruleset
from crossmargin.margin.fused import Holdings, Program, compile_program, holdings_of, run_program
from crossmargin.margin.fused._combine import DIV, MUL, NUMBER, PUSH, SQRT, SUB, Steps
from crossmargin.margin.live import _exposures as ex
from crossmargin.margin.live._curves import (
    curve_values,
    delta_slopes,
    steepness,
    tilts,
    time_moves,
    vol_moves,
)
from crossmargin.margin.live._price import price_table, program_at
from crossmargin.margin.live._signed import (
    NotBounded,
    require_convex,
    signed_program,
    signed_table,
)
from crossmargin.margin.live._tables import ABOVE, BELOW, Filler
from crossmargin.margin.live.triggers import Triggers
from crossmargin.market import MarketView
from crossmargin.pricing import black76

ACCOUNTS = 400


@cache
def case(name: str) -> tuple[Program, Holdings]:
    book, snapshot = made(name, ACCOUNTS, instruments=80)
    rules = load_ruleset(name)
    program = compile_program(
        book.registry, snapshot, rules, book.instruments_used(), book.assets_used()
    )
    return program, holdings_of(book, program)


@cache
def table(name: str):
    return price_table(case(name)[0])


def brute(name: str, rho, view: MarketView | None = None) -> np.ndarray:
    """Who is below the line, computed by the rule-set's own pass in a market compiled anew."""
    program, holdings = case(name)
    return run_program(program_at(program, table(name).drivers, rho, view), holdings).health < 1.0


def at_prices(triggers: Triggers, rho) -> dict[str, float]:
    return dict(zip(triggers.assets, (triggers.base * rho).tolist()))


# ---- bounds of single curves ---------------------------------------------------------------


def random_options(rng, n: int):
    strike = np.exp(rng.normal(size=n) * 0.5) * 100.0
    years = 10.0 ** rng.uniform(-2.5, 0.3, n)
    vol = rng.uniform(0.05, 1.5, n)
    call = rng.random(n) < 0.5
    return np.full(n, 100.0), strike, years, vol, call


def values_at(options, growth, deviation, rho):
    forward, strike, _, _, call = options
    value = np.empty((strike.size, growth.size))
    slope = np.empty_like(value)
    curve_values(forward, strike, call, np.ones(strike.size), growth, deviation, rho, value, slope)
    return value, slope


def test_curves_are_black_76_and_its_slope():
    rng = np.random.default_rng(1)
    options = random_options(rng, 300)
    forward, strike, years, vol, call = options
    growth = np.array([1.0, 0.4, 1.8, 6.0, 0.0, -0.5])
    deviation = np.repeat((vol * np.sqrt(years))[:, None], growth.size, axis=1)
    value, slope = values_at(options, growth, deviation, 1.1)
    for h, g in enumerate(growth[:4]):
        want = black76(forward * 1.1 * g, strike, years, vol, call)
        np.testing.assert_allclose(value[:, h], want, rtol=1e-12, atol=1e-11)
        near = [values_at(options, growth, deviation, 1.1 + x)[0][:, h] for x in (-1e-5, 1e-5)]
        np.testing.assert_allclose(slope[:, h], (near[1] - near[0]) / 2e-5, atol=2e-3)
    # A forward at 0 or below leaves a put its strike less the forward, and a call nothing.
    np.testing.assert_allclose(value[:, 5], np.where(call, 0.0, strike + 55.0))
    np.testing.assert_allclose(slope[:, 5], np.where(call, 0.0, 50.0))


@pytest.mark.parametrize("end", [0.5, 0.93, 1.08, 2.0])
def test_slopes_of_delta_bound_it(end):
    rng = np.random.default_rng(2)
    options = random_options(rng, 400)
    forward, strike, years, vol, _ = options
    s = vol * np.sqrt(years)
    one = np.ones(1)
    ends = [values_at(options, one, s[:, None], rho)[1][:, 0] for rho in (1.0, end)]
    lo, hi = np.empty(400), np.empty(400)
    delta_slopes(forward, strike, np.ones(400), s, 1.0, end, *ends, lo, hi)
    for rho in np.linspace(1.0, end, 13)[1:]:
        now = rho * values_at(options, one, s[:, None], rho)[1][:, 0]
        room = 1e-9 * 100.0
        assert (ends[0] + (rho - 1.0) * lo <= now + room).all()
        assert (ends[0] + (rho - 1.0) * hi >= now - room).all()


def test_steepness_bounds_the_change_with_volatility():
    rng = np.random.default_rng(3)
    for _ in range(300):
        strike, low = 100.0 * np.exp(rng.normal() * 0.4), rng.uniform(0.5, 1.0)
        high = low * np.exp(rng.uniform(0.0, 0.5))
        least = 10.0 ** rng.uniform(-2, 0)
        most = least * np.exp(rng.uniform(0.0, 0.6))
        bound = steepness(100.0, strike, 1.0, 1.0, low, high, least, most)
        for rho in np.linspace(low, high, 5):
            s = np.linspace(least, most, 6)
            price = black76(np.full(6, 100.0 * rho), strike, 1.0, s, np.full(6, True))
            assert (np.diff(price) <= bound * np.diff(s) + 1e-10).all()


def test_time_and_volatility_move_deviations_by_no_more():
    program, _ = case("derive-pm2")
    for lanes in table("derive-pm2").options:
        assert lanes is not None
        o = lanes.options
        from crossmargin.margin.live._contracts import describe_options

        hours = 3.0 / (24.0 * 365.0)
        allowed = time_moves(o, o.deviation, hours)
        home = program.units.frame.view
        for share in (0.3, 1.0):
            later = replace(home, years=home.years - share * hours)
            moved = program_at(program, table("derive-pm2").drivers, 1.0, later)
            now = describe_options(moved, o.code)
            assert (np.abs(now.deviation - o.deviation) <= allowed * share * 1.02 + 1e-15).all()
            np.testing.assert_allclose(now.deviations(1.0)[:, o.turned].shape[1], o.turned.size)
        for y in (-0.2, 0.1):
            now = describe_options(program, o.code, o.vol * (1.0 + y))
            limit = vol_moves(o, o.deviation, abs(y)) * (1 + 1e-12)
            assert (np.abs(now.deviation - o.deviation) <= limit).all()


def test_turned_curves_stay_within_their_tilt():
    for lanes in table("derive-pm2").options:
        assert lanes is not None
        o = lanes.options
        assert o.turned.size == 2
        for here, end in ((1.0, 0.7), (0.9, 1.2), (1.1, 1.13)):
            anchor = o.deviations(here)
            out = np.empty((o.size, 2))
            tilts(here, end, o.turned, o.forward, o.strike, o.unit, o.growth, anchor,
                  o.turn_slope, o.turn_base, 0.0, out)  # fmt: skip
            for rho in np.linspace(here, end, 9)[1:]:
                true = o.curves(rho, o.deviations(rho))[0][:, o.turned]
                frozen = o.curves(rho, anchor)[0][:, o.turned]
                room = out * abs(rho - here) + 1e-9 * (o.unit * o.forward)[:, None]
                assert (np.abs(true - frozen) <= room).all()


# ---- tables --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("rho", [0.61, 1.0, 1.37])
def test_the_table_is_the_engines_own_at_other_prices(name, rho):
    program, _ = case(name)
    prices = table(name)
    drivers = prices.drivers.asset.size
    at = np.linspace(rho, 1.0 / rho, drivers)
    mine = Filler(program, prices).exact(at)
    theirs = signed_table(program_at(program, prices.drivers, at), prices.signed)
    scale = np.maximum(np.abs(theirs), np.repeat(prices.gross, 2)[:, None])
    assert np.max(np.abs(mine - theirs) / np.maximum(scale, 1e-9)) < 1e-12


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("side", [BELOW, ABOVE])
@pytest.mark.parametrize("end", [0.5, 0.91, 1.06, 1.9])
def test_lines_bound_every_row_from_the_side_that_hurts(name, side, end):
    program, _ = case(name)
    prices = table(name)
    filler = Filler(program, prices)
    signed = prices.signed
    here = 0.97
    for driver in range(prices.drivers.asset.size):
        anchor = filler.anchor(driver, here)
        rows = filler.both[driver]
        line, true = filler.empty(), filler.empty()
        for rho in np.linspace(here, end, 7):
            filler.bound(line, driver, anchor, here, end, rho, side)
            filler.fill(true, driver, rho, filler.anchor(driver, rho))
            gain = true.rows[rows] - line.rows[rows]
            if signed.value >= 0:
                # Today's value is taken off: there the other side hurts.
                gain[:, signed.value] *= -1.0
            if signed.limit >= 0:
                gain[:, signed.limit : signed.limit + 2] = 0.0
            beside = true.apart[rows] - line.apart[rows]
            sign = np.where(rows % 2 == 0, 1.0, -1.0)[:, None] * (1.0 if side == BELOW else -1.0)
            scale = np.maximum(np.repeat(prices.gross, 2)[rows][:, None], 1e-9)
            assert np.min(gain * sign / scale) >= -1e-13
            assert np.min(beside * sign / scale) >= -1e-13


def test_what_is_no_known_curve_is_refused(monkeypatch):
    program, _ = case("derive-pm2")
    import crossmargin.margin.live._price as module

    real = module._scenario_factors
    monkeypatch.setattr(
        module,
        "_scenario_factors",
        lambda *args: (lambda a, b, c: (a * 1.0001, b, c))(*real(*args)),
    )
    with pytest.raises(NotBounded, match="neither a straight line nor a known curve"):
        price_table(program)


def test_parts_that_share_a_lane_at_some_prices_only_are_refused(monkeypatch):
    """Rounding decides whether two levels keep one ratio, and with it how many lanes there are."""
    program, _ = case("derive-pm2")
    import crossmargin.margin.live._price as module

    real = module.program_at

    def apart(*args):
        there = real(*args)
        columns = there.lanes.columns[:-1]
        return replace(there, lanes=replace(there.lanes, columns=columns))

    monkeypatch.setattr(module, "program_at", apart)
    with pytest.raises(NotBounded, match="share a lane at some prices"):
        price_table(program)


def test_slack_that_is_not_concave_is_refused():
    program, _ = case("derive-pm2")
    signed = table("derive-pm2").signed
    terms = program.segment_terms.copy()
    terms[:, :2] = terms[:, 1::-1] + np.array([0.1, 0.0])
    with pytest.raises(NotBounded, match="discounted less than debt"):
        signed_program(replace(program, segment_terms=terms), signed)
    program, _ = case("deribit-pm-cross")
    terms = program.segment_terms.copy()
    terms[:, 0] = 1.5
    with pytest.raises(NotBounded, match="gains count for more"):
        signed_program(replace(program, segment_terms=terms), table("deribit-pm-cross").signed)


def steps(*words: tuple[int, float]) -> Steps:
    return Steps(
        op=np.array([w[0] for w in words]), column=np.zeros(len(words), dtype=np.int64),
        number=np.array([w[1] for w in words]), depth=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (((PUSH, -1.0),), "lowers the requirement"),
        (((PUSH, 1.0), (SQRT, 0.0)), "more than sums"),
        (((PUSH, 1.0), (PUSH, 1.0), (SUB, 0.0)), "more than sums"),
        (((PUSH, 1.0), (PUSH, 1.0), (DIV, 0.0)), "more than sums"),
        (((PUSH, 1.0), (PUSH, 1.0), (MUL, 0.0)), "are multiplied"),
        (((PUSH, 1.0), (NUMBER, -1.0), (MUL, 0.0)), "are multiplied"),
    ],
)
def test_expressions_that_are_not_convex_are_refused(words, why):
    with pytest.raises(NotBounded, match=why):
        require_convex(steps(*words), moving=False)


# ---- accounts ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUSED)
def test_slack_of_pots_is_that_of_the_pass(name):
    program, holdings = case(name)
    triggers = Triggers(program, holdings, prices=table(name))
    rho = np.linspace(0.9, 1.15, len(triggers.assets))
    triggers.move(at_prices(triggers, rho))
    e = triggers.pots
    triggers._visit(np.arange(e.pot_account.size))
    total = np.bincount(e.pot_account, weights=e.sums[:, ex.SLACK], minlength=holdings.size)
    whole = run_program(program_at(program, triggers.prices.drivers, rho), holdings)
    scale = np.maximum(np.abs(whole.equity), whole.mm) + 1.0
    assert np.max(np.abs(total - (whole.equity - whole.mm)) / scale) < 1e-10


@pytest.mark.parametrize("name", FUSED)
def test_nobody_crosses_between_its_trigger_prices(name):
    """Within its bounds an account stays on its side, wherever its prices go there."""
    program, holdings = case(name)
    triggers = Triggers(program, holdings, prices=table(name))
    before = triggers.breached
    assert 0 < before.sum() < before.size
    d = len(triggers.assets)
    low = np.full((holdings.size, d), 0.3)
    high = np.full((holdings.size, d), 3.0)
    for account in range(holdings.size):
        for asset, (a, b) in triggers.bounds(account).items():
            k = triggers.assets.index(asset)
            low[account, k] = max(a / triggers.base[k], 0.3)
            high[account, k] = min(b / triggers.base[k], 3.0)
    assert (low < high).any(axis=1).mean() > 0.95
    rng = np.random.default_rng(4)
    seen = np.zeros(holdings.size, dtype=int)
    for k in range(40):
        rho = np.exp(rng.normal(size=d) * (0.01, 0.05, 0.2)[k % 3])
        inside = ((rho > low) & (rho < high)).all(axis=1)
        seen += inside
        now = brute(name, rho)
        assert (now[inside] == before[inside]).all()
    assert (seen > 0).mean() > 0.9
    # The corners, one account at a time: where a bound is nearest to being wrong.
    for account in range(0, holdings.size, 13):
        rho = np.where(rng.random(d) < 0.5, low[account], high[account])
        assert brute(name, rho)[account] == before[account]


@pytest.mark.parametrize("name", FUSED)
def test_bounds_are_near_the_line(name):
    """A bound that is far from the crossing would be true and useless."""
    program, holdings = case(name)
    triggers = Triggers(program, holdings, pace={"BTC": 1.0}, prices=table(name))
    k = triggers.assets.index("BTC")
    before = triggers.breached
    grid = np.exp(np.linspace(0.0, -0.3, 31))
    first = np.full(holdings.size, np.nan)
    for rho in grid[::-1]:
        at = np.ones(len(triggers.assets))
        at[k] = rho
        crossed = brute(name, at) != before
        first[crossed] = rho
    crossing = np.flatnonzero(np.isfinite(first))
    assert crossing.size > 10
    ways = []
    for account in crossing.tolist():
        low, _ = triggers.bounds(account).get("BTC", (0.0, np.inf))
        ways.append((1.0 - low / triggers.base[k]) / (1.0 - first[account]))
    assert max(ways) <= 1.0 + 1e-9
    assert np.median(ways) > 0.5


@pytest.mark.parametrize("name", ["deribit-pm", "deribit-pm-cross"])
def test_accounts_beyond_a_limit_are_due_at_every_move(name):
    program, holdings = case(name)
    ((component, (column, limit)),) = program.limits.items()
    tight = np.where(np.isfinite(limit), 2e4, np.inf)
    tightened = replace(program, limits={component: (column, tight)})
    triggers = Triggers(tightened, holdings, prices=table(name))
    want = np.flatnonzero(run_program(tightened, holdings).over)
    assert want.size
    np.testing.assert_array_equal(triggers.over, want)
    rng = np.random.default_rng(5)
    rho = np.ones(len(triggers.assets))
    for _ in range(12):
        rho = rho * np.exp(rng.normal(size=rho.size) * 0.02)
        triggers.move(at_prices(triggers, rho))
        now = program_at(program, triggers.prices.drivers, rho)
        over = run_program(replace(now, limits={component: (column, tight)}), holdings).over
        np.testing.assert_array_equal(triggers.over, np.flatnonzero(over))


def test_what_cannot_be_valued_is_not_watched():
    program, holdings = case("derive-pm2")
    code = int(holdings.code[holdings.start[7]])
    apart = program.apart.copy()
    apart[code] = True
    broken = program.table.copy()
    broken[code] = np.nan
    triggers = Triggers(replace(program, apart=apart, table=broken), holdings,
                        prices=replace(table("derive-pm2"), unknown=apart))  # fmt: skip
    holders = np.unique(
        np.repeat(np.arange(holdings.size), np.diff(holdings.start))[holdings.code == code]
    )
    np.testing.assert_array_equal(triggers.uncovered, holders)
    tick = triggers.move({"BTC": triggers.base[0] * 0.5})
    assert not np.isin(tick.breached, holders).any()


def test_edited_accounts_are_due_and_left_alone():
    program, holdings = case("derive-pm2")
    triggers = Triggers(program, holdings, prices=table("derive-pm2"))
    below = np.flatnonzero(triggers.breached)[:2]
    triggers.edited(below)
    assert not triggers.breached[below].any()
    price = float(triggers.base[0])
    assert np.isin(below, triggers.due("BTC", price)).all()
    assert not np.isin(triggers.move({"BTC": 0.7 * price}).breached, below).any()


@pytest.mark.parametrize("name", FUSED)
def test_replaced_accounts_stand_where_others_with_the_same_rows_do(name):
    """An account that is given the rows of another crosses when that one does."""
    program, holdings = case(name)
    triggers = Triggers(program, holdings, prices=table(name))
    givers = np.arange(100, 160)

    def rows_of(account: int) -> Holdings:
        a, b = int(holdings.start[account]), int(holdings.start[account + 1])
        return Holdings(
            start=np.array([0, b - a]), code=holdings.code[a:b].copy(),
            quantity=holdings.quantity[a:b].copy(), level=holdings.level[a : b + 1].copy(),
        )  # fmt: skip

    level = holdings.level.copy()
    for k, giver in enumerate(givers.tolist()):
        assert triggers.replace(k, rows_of(giver))
        assert triggers.replace(k, rows_of(giver))
    np.testing.assert_array_equal(holdings.level, level)
    assert triggers.uncovered.size == 0
    np.testing.assert_array_equal(triggers.breached[:60], triggers.breached[givers])
    rng = np.random.default_rng(7)
    rho = np.ones(len(triggers.assets))
    crossed = 0
    for step in range(12):
        rho = rho * np.exp(rng.normal(size=rho.size) * (0.02 if step % 4 else 0.15))
        tick = triggers.move(at_prices(triggers, rho))
        want = brute(name, rho)
        want[:60] = want[givers]
        np.testing.assert_array_equal(triggers.breached, want)
        mine = np.isin(np.arange(60), np.concatenate([tick.breached, tick.recovered]))
        theirs = np.isin(givers, np.concatenate([tick.breached, tick.recovered]))
        np.testing.assert_array_equal(mine, theirs)
        crossed += mine.sum()
    assert crossed > 5
    for k, giver in enumerate(givers.tolist()):
        assert set(triggers.bounds(k)) == set(triggers.bounds(giver))


def test_a_market_that_differs_in_more_is_refused():
    program, holdings = case("derive-pm2")
    triggers = Triggers(program, holdings, prices=table("derive-pm2"))
    home = program.units.frame.view
    vols = home.vol * 1.02
    for other in (
        replace(home, vol=vols, rate=home.rate + 0.01),
        replace(home, vol=vols, confidence=home.confidence // 2),
        replace(home, vol=vols, price_variable=home.price_variable * 1.001),
        replace(home, vol=vols, as_of_ns=home.as_of_ns - 1),
    ):
        with pytest.raises(NotBounded, match=r"rates, or|forwards|backwards"):
            triggers.market(other)


def test_who_was_or_is_within_rounding_is_for_the_requirement_to_judge(monkeypatch):
    from crossmargin.margin.live import _triggers_core as module

    monkeypatch.setattr(module, "ROUNDING", 0.01)
    program, holdings = case("derive-pm2")
    triggers = Triggers(program, holdings, prices=table("derive-pm2"))
    e = triggers.pots

    def near() -> np.ndarray:
        return np.abs(e.sums[:, ex.SLACK]) <= e.sums[:, ex.GUARD]

    exposed = np.zeros(holdings.size, dtype=bool)
    exposed[e.pot_account[e.pot[e.driver == triggers.assets.index("BTC")]]] = True
    before = near()
    tick = triggers.move({"BTC": float(triggers.base[0]) * 0.97})
    left, came = before & ~near() & exposed, near() & ~before & exposed
    assert left.any() and came.any()
    np.testing.assert_array_equal(tick.unsure, np.flatnonzero((before | near()) & exposed))


def test_assets_that_move_more_than_lines_are_refused():
    program, holdings = case("derive-pm2")
    triggers = Triggers(program, holdings, prices=table("derive-pm2"))
    with pytest.raises(NotBounded, match="USDC"):
        triggers.move({"USDC": 0.98})
    home = program.units.frame.view
    prices = home.asset_usd.copy()
    prices[program.registry.asset("USDC")] *= 0.98
    with pytest.raises(NotBounded, match="more than lines"):
        triggers.market(replace(home, asset_usd=prices))


def test_due_computes_nothing_and_finds_whom_a_move_visits():
    program, holdings = case("derive-pm2")
    triggers = Triggers(program, holdings, prices=table("derive-pm2"))
    price = float(triggers.base[0]) * 0.9
    before = triggers.pots.figures.copy()
    due = triggers.due("BTC", price)
    np.testing.assert_array_equal(triggers.pots.figures, before)
    tick = triggers.move({"BTC": price})
    assert tick.visited == due.size
    assert np.isin(tick.breached, due).all() and np.isin(tick.recovered, due).all()
    assert triggers.move({"BTC": price}).visited == 0
    assert triggers.nbytes > 0
