"""Limits against a slow scan over sizes, on random accounts under every shipped rule-set.

The scan below shares nothing with the solver: it writes the filled account out as a file, entry
prices and cash by plain arithmetic, evaluates it from the start, and applies the rule of the
pre-trade check share by share with loops. Sizes are compared with the solver's answer.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    OrderEntry,
    OrderLeg,
    PositionEntry,
    book_from_accounts,
    parse_account,
)
from crossmargin.errors import CrossmarginError
from crossmargin.instruments import Registry, parse_instrument
from crossmargin.margin import (
    Evaluation,
    Ruleset,
    check_order,
    evaluate,
    fenced_margins,
    largest_order,
    largest_withdrawal,
    load_ruleset,
    ruleset_ids,
    top_up,
)
from crossmargin.margin.engine import equity
from crossmargin.market import Snapshot, decode_market, snapshot_from_file
from crossmargin.pricing import black76

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from golden.test_engine_against_oracle import COVERS, QUIET, SUPPLIED, WORST_FILL, some_accounts

#: Rule-sets whose parameters the random accounts know.
IDS = [name for name in ruleset_ids() if name in COVERS]
Pots = dict[str, tuple[float, float]]


def rules_of(name: str) -> Ruleset:
    return load_ruleset(
        name, overrides={**WORST_FILL, **SUPPLIED.get(name, {}), **QUIET.get(name, {})}
    )


def pots_of(who: AccountFile, world: Snapshot, rules: Ruleset) -> tuple[Pots, Evaluation]:
    """Equity and IM of every pot by name, US dollars; orders beside fences ask the wallet."""
    done = evaluate(book_from_accounts([who]), world, rules)
    frame, a, book = done.frame, done.frame.arrangement, done.frame.book
    have = equity(frame, done.need, fenced_margins(frame, done.need))
    found: dict[str, list[float]] = {}
    names = []
    for pot in range(a.pots):
        row = int(a.pot_position[pot])
        name = book.pool_names[a.pot_pool[pot]]
        if rules.data.pools.by == "position":
            if row < 0:
                name += "/wallet"
            else:
                leg = int(book.position_leg[row])
                name += f"/{book.registry[int(book.position_instrument[row])].id}" + (
                    f"/{leg}" if leg else ""
                )
        elif a.pot_asset[pot] >= 0:
            name += f"/{book.registry.assets[a.pot_asset[pot]]}"
        names.append(name)
        found[name] = [float(have.im[pot] * frame.pot_usd[pot]), 0.0]
    for pot, name in enumerate(names):
        held, worst = float(done.need.im[pot]), float(done.need_orders.im[pot])
        if rules.data.pools.by == "position" and not name.endswith("/wallet"):
            found[name][1] += held
            found[name.split("/")[0] + "/wallet"][1] += max(0.0, worst - held)
        else:
            found[name][1] += worst * float(frame.pot_usd[pot])
    return {name: (e, i) for name, (e, i) in found.items()}, done


def filled(who: AccountFile, name: str, q: float, price: float, fee: float = 0.0) -> AccountFile:
    """Write out the account after a fill: average entry, realised profit, cash."""
    item = parse_instrument(name)
    size = item.contract_size
    rows, cash, done = [], 0.0, False
    for row in who.positions:
        if (
            done
            or row.pool != "cross"
            or row.leg != "net"
            or parse_instrument(row.instrument) != item
        ):
            rows.append(row)
            continue
        done = True
        old = float(row.quantity)
        new = old + q
        if item.kind in ("option", "spot"):
            entry: Any = row.entry_price
        elif old * q > 0:
            e = float(row.entry_price)  # type: ignore[arg-type]
            entry = new / (old / e + q / price) if item.inverse else (old * e + q * price) / new
        else:
            e = float(row.entry_price)  # type: ignore[arg-type]
            shut = min(abs(q), abs(old)) * (1 if old > 0 else -1)
            cash += size * shut * ((1 / e - 1 / price) if item.inverse else (price - e))
            entry = e if abs(q) <= abs(old) else price
        if new != 0.0:
            rows.append(msgspec.structs.replace(row, quantity=new, entry_price=entry))
    if not done:
        raw = {"instrument": name, "quantity": q, "entry_price": price}
        rows.append(msgspec.convert(raw, PositionEntry))
    if item.kind in ("option", "spot"):
        cash -= q * price * size
    balances = list(who.balances)
    for place, row in enumerate(balances):
        if row.asset == item.settlement and row.pool == "cross" and row.location is None:
            balances[place] = msgspec.structs.replace(row, amount=float(row.amount) + cash)
            break
    else:
        if cash:
            raw = {"asset": item.settlement, "amount": cash}
            balances.append(msgspec.convert(raw, BalanceEntry))
    return msgspec.structs.replace(who, positions=rows, balances=balances)


def passes(
    who: AccountFile, world: Snapshot, rules: Ruleset, name: str, q: float, price: float
) -> bool:
    """The rule of the pre-trade check, share by share, everything evaluated from the start."""
    now, _ = pots_of(who, world, rules)
    # All of them must pass; what does not fit mostly fails at the whole.
    for j in range(16, 0, -1):
        share = q * j / 16
        leg = OrderLeg(instrument=name, quantity=share, price=price)
        resting = msgspec.structs.replace(who, orders=[*who.orders, OrderEntry(id="n", legs=[leg])])
        rest, _ = pots_of(resting, world, rules)
        after, _ = pots_of(filled(who, name, share, price), world, rules)
        for pot in set(rest) | set(after):
            e0, i0 = now.get(pot, (0.0, 0.0))
            e1, i1 = after.get(pot, (0.0, 0.0))
            i2 = rest.get(pot, (0.0, 0.0))[1]
            slop = 1e-9 * max(1.0, abs(e0), abs(i0), abs(i1), abs(i2))
            room = e1 - i1 >= -slop and e0 - i2 >= -slop
            harmless = i1 <= i0 + slop and e1 - i1 >= e0 - i0 - slop
            if not (room or harmless):
                return False
    return True


def accounts_of(
    name: str, seed: int, count: int, orders: str
) -> tuple[Snapshot, list[AccountFile]]:
    data, raw = some_accounts(name, seed, count, orders=orders)
    world = snapshot_from_file(decode_market(json.dumps(data).encode(), "market"))
    found = []
    for one in raw:
        who = parse_account(json.dumps(one))
        rows = [
            p
            if p.entry_price != "mark"
            else msgspec.structs.replace(p, entry_price=price_of(p.instrument, world))
            for p in who.positions
        ]
        found.append(msgspec.structs.replace(who, positions=rows))
    return world, found


def price_of(name: str, world: Snapshot) -> float:
    """The mark of a future, perpetual or spot; a round price near the mark of an option."""
    registry = Registry([parse_instrument(name)])
    view = world.view(registry)
    item = registry[0]
    if item.kind != "option":
        return float(view.price[0])
    forward = float(view.price[0])
    value = float(
        black76(forward, item.strike, float(view.years[0]), float(view.vol[0]), item.is_call)
    )
    return value / forward if item.inverse else value


@pytest.mark.parametrize("orders", ["", "single"])
@pytest.mark.parametrize("name", IDS)
def test_largest_order_against_the_scan(name: str, orders: str) -> None:
    rules = rules_of(name)
    rng = random.Random(f"sizes/{name}/{orders}")
    answered = bounded = positive = 0
    for seed in (1, 2):
        world, people = accounts_of(name, seed, 3, orders)
        for who in people:
            held = [p.instrument for p in who.positions]
            if not held or "cross" not in {p.id for p in who.pools}:
                continue
            target = rng.choice(held)
            side = rng.choice(["buy", "sell"])
            sign = 1.0 if side == "buy" else -1.0
            try:
                price = price_of(target, world) * rng.choice([1.0, 0.99, 1.01])
                got = largest_order(who, world, rules, target, side, price=price)
            except CrossmarginError:
                continue
            answered += 1
            positive += got.quantity > 0
            if got.quantity > 0:
                for part in (0.9999,):
                    q = sign * got.quantity * part
                    assert passes(who, world, rules, target, q, price), (who.account, target, part)
            if got.beyond is not None and got.unknown_beyond is None:
                bounded += 1
                # Where nothing fits, a cent is below what plain sums can tell: ask for more.
                least = 1_000.0 * got.beyond if got.quantity == 0 else got.beyond
                for part in (1.0001,):
                    q = sign * least * part
                    try:
                        fits = passes(who, world, rules, target, q, price)
                    except CrossmarginError:
                        continue
                    assert not fits, (who.account, target, side, part, got)
    assert answered >= 2 and bounded >= 1


@pytest.mark.parametrize("name", IDS)
def test_accepted_exactly_when_it_is_at_most_the_largest(name: str) -> None:
    rules = rules_of(name)
    rng = random.Random(f"check/{name}")
    compared = 0
    for seed in (0,):
        world, people = accounts_of(name, seed, 6, "single")
        for place, who in enumerate(people):
            held = [p.instrument for p in who.positions]
            if not held or "cross" not in {p.id for p in who.pools}:
                continue
            target, side = rng.choice(held), rng.choice(["buy", "sell"])
            sign = 1.0 if side == "buy" else -1.0
            try:
                got = largest_order(who, world, rules, target, side)
            except CrossmarginError:
                continue
            base = got.quantity or (got.beyond or 1.0)
            # Both sides of the line for everybody, and further off by turns.
            for part in (0.999999, 1.000001, *((0.25, 1.01) if place % 2 else (0.99, 3.0))):
                size = base * part
                leg = OrderLeg(instrument=target, quantity=sign * size)
                try:
                    order = OrderEntry(id="n", legs=[leg])
                    accepted = check_order(who, world, rules, order).accepted
                except CrossmarginError:
                    assert size > got.quantity
                    continue
                assert accepted == (size <= got.quantity or got.unbounded), (part, got)
                compared += 1
    assert compared >= 8


@pytest.mark.parametrize("name", IDS)
def test_withdrawals_leave_nothing_to_spare(name: str) -> None:
    rules = rules_of(name)
    tried = 0
    for seed in (0, 1):
        world, people = accounts_of(name, seed, 5, "single" if seed % 2 else "")
        for who in people:
            for row in who.balances:
                if row.location is not None or any(
                    b.asset == row.asset and b.pool == row.pool and b.location for b in who.balances
                ):
                    continue
                try:
                    got = largest_withdrawal(who, world, rules, row.asset, pool=row.pool)
                    now, _ = pots_of(who, world, rules)
                except CrossmarginError:
                    continue
                home = {"position": f"{row.pool}/wallet", "settlement": f"{row.pool}/{row.asset}"}
                pot = home.get(rules.data.pools.by, row.pool)

                def excess(
                    amount: float,
                    who: AccountFile = who,
                    row: Any = row,
                    pot: str = pot,
                    world: Snapshot = world,
                ) -> float:
                    less = [
                        msgspec.structs.replace(b, amount=float(b.amount) - amount)
                        if b is row
                        else b
                        for b in who.balances
                    ]
                    less = [b for b in less if float(b.amount) != 0.0]
                    thin = msgspec.structs.replace(who, balances=less)
                    if not (less or who.positions or who.orders):
                        return 0.0
                    have, need = pots_of(thin, world, rules)[0].get(pot, (0.0, 0.0))
                    return have - need

                scale = 1e-9 * max(1.0, *(abs(x) for pair in now.values() for x in pair))
                if got.amount > 0:
                    tried += 1
                    assert excess(got.amount) >= -scale
                    assert excess(got.amount * 0.5) >= -scale
                if got.beyond is not None:
                    more = got.beyond * 1.000001
                    assert excess(more) < scale
                if got.reason.startswith("the pot is below"):
                    assert excess(0.0) < 0
    assert tried >= 3


@pytest.mark.parametrize("name", IDS)
def test_a_top_up_reaches_the_line_and_less_does_not(name: str) -> None:
    rules = rules_of(name)
    needed = 0
    for seed in (0, 1):
        world, people = accounts_of(name, seed, 5, "")
        for who in people:
            for asset, pool in {(b.asset, b.pool) for b in who.balances}:
                try:
                    got = top_up(who, world, rules, asset, pool=pool)
                except CrossmarginError:
                    continue
                if not got.amount:
                    continue
                needed += 1
                home = {"position": f"{pool}/wallet", "settlement": f"{pool}/{asset}"}
                pot = home.get(rules.data.pools.by, pool)

                def excess(
                    amount: float,
                    who: AccountFile = who,
                    asset: str = asset,
                    pool: str = pool,
                    pot: str = pot,
                    world: Snapshot = world,
                ) -> float:
                    rows = list(who.balances)
                    mine = [i for i, b in enumerate(rows) if (b.asset, b.pool) == (asset, pool)]
                    at = min(mine, key=lambda i: rows[i].location is not None)
                    total = float(rows[at].amount) + amount
                    rows[at] = msgspec.structs.replace(rows[at], amount=total)
                    more = msgspec.structs.replace(who, balances=rows)
                    have, need = pots_of(more, world, rules)[0].get(pot, (0.0, 0.0))
                    return have - need

                scale = 1e-9 * max(1.0, got.value_usd or 0.0, got.short_usd)
                assert excess(got.amount) >= -10 * scale
                assert excess(got.amount * 0.999) < 0
    assert needed >= (0 if name.startswith(("paradex", "isolated")) else 1)
