"""The components of OKX, Bybit, SPAN and TIMS written again with plain loops over one account.

Sources: reference/venues.md §2 and §4, reference/clearing-practice-and-validation.md §1.1 and
§1.3. Open orders by brute force over all subsets of fills; where the engine promises a bound or
gives no credit to groups with orders, the docstring says so.
"""

from __future__ import annotations

import math
from typing import Any

from .margin_oracle import (
    Account,
    Market,
    black76_delta,
    by_instrument,
    held_value,
    log_ratio,
    scan,
    scenarios_for,
    shocks_for,
    unit_delta,
)


def rule_of(table: dict[str, Any], underlying: str) -> Any:
    return table[underlying] if underlying in table else table.get("default")


def slices(amount: float, steps: list[tuple[float, float]]) -> float:
    """Each slice of an amount at its own rate."""
    total = 0.0
    for k, (low, rate) in enumerate(steps):
        high = steps[k + 1][0] if k + 1 < len(steps) else math.inf
        total += max(0.0, min(amount, high) - low) * rate
    return total


def index_of(inst: dict[str, Any], pot: tuple, market: Market) -> float:
    return market.usd(inst["underlying"]) / market.usd(pot[1])


def coins(inst: dict[str, Any], q: float, market: Market) -> float:
    """Signed coins of contract size."""
    if inst["inverse"] and inst["kind"] != "option":
        return q / market.price(inst)
    return q


def vega(inst: dict[str, Any], market: Market) -> float:
    """US dollars per 1.00 of volatility, of one option."""
    forward, years, vol = market.price(inst), market.years(inst), market.vol(inst)
    s = vol * math.sqrt(years)
    d1 = log_ratio(forward, inst["strike"]) / s + 0.5 * s
    density = math.exp(-0.5 * d1 * d1) / math.sqrt(2.0 * math.pi)
    return forward * math.sqrt(years) * density * market.usd(inst["quote"])


def composite(spec: dict, inst: dict[str, Any], account: Account, leader: str) -> float:
    """Weighted mean of the deltas with the forward moved; coins of everything else."""
    market = account.market
    if inst["kind"] != "option":
        return unit_delta(inst, market)
    reach = shocks_for(account.rules, leader)["price_range"]
    total = weight = 0.0
    for point, w in zip(spec["deltas"]["points"], spec["deltas"]["weights"]):
        forward = market.price(inst) * (1.0 + point * reach)
        total += w * black76_delta(
            forward, inst["strike"], market.vol(inst), market.years(inst), inst["call"]
        )
        weight += w
    return total / weight


def rows_of(account: Account, group: tuple, chosen: tuple[bool, ...]) -> list[dict[str, Any]]:
    rows = [p for p in account.positions if p["group"] == group]
    return rows + account.filled(chosen, group)


def has_orders(account: Account, group: tuple) -> bool:
    return any(leg["group"] == group for order in account.orders for leg in order["legs"])


def venue_component(
    account: Account, spec: dict, group: tuple, orders: bool, done: dict[str, Any]
) -> float:
    """One component of one group, in the pot's numeraire."""
    kind = spec["kind"]
    if kind == "scan-part":
        scans = next(c for c in account.rules["components"] if c["kind"] == "scan")
        return float(scan(account, scans, group, orders, spec["blocks"])["margin"])
    if kind == "product-offset":
        return product_credit(account, spec, group, orders)
    if kind == "spread-credit":
        return inter_credit(account, spec, group, orders)
    if kind == "risk-cap":
        return risk_cap(account, spec, group, orders, done)
    if kind == "factor":
        return float(spec["value"])
    if kind == "unpublished":
        held = {r["inst"]["kind"] for r in rows_of(account, group, ())}
        assert spec["left_out"] or not held & set(spec["kinds"])
        return 0.0
    charge = {
        "basis": basis,
        "minimum-charge": minimum_charge,
        "depeg": depeg,
        "contract-charge": contract_charge,
        "expiry-spread": expiry_spread,
        "calendar-spread": calendar,
        "delivery-charge": delivery,
    }[kind]
    return max(
        charge(account, spec, group, rows_of(account, group, chosen))
        for chosen in account.fills(orders)
    )


def basis(account: Account, spec: dict, group: tuple, rows: list) -> float:
    """Each expiry's net delta at the larger of floor and annual rate, all settlements together."""
    market = account.market
    total = 0.0
    for expiry in dict.fromkeys(r["inst"]["expiry"] for r in rows):
        net, years = 0.0, 0.0
        for r in rows:
            if r["inst"]["expiry"] == expiry and r["inst"]["kind"] != "spot":
                net += (
                    r["q"] * unit_delta(r["inst"], market) * index_of(r["inst"], group[0], market)
                )
                years = market.years(r["inst"])
        rates = rule_of(spec["underlyings"], group[1])
        total += abs(net) * max(rates["floor"], rates["annual"] * years)
    return total


def minimum_charge(account: Account, spec: dict, group: tuple, rows: list) -> float:
    market = account.market
    gross = 0.0
    for r in by_instrument(rows).values():
        if r["inst"]["kind"] != "spot":
            size = r["q"] * unit_delta(r["inst"], market)
            gross += abs(size) * index_of(r["inst"], group[0], market)
    if gross == 0.0:
        return 0.0
    rule = rule_of(spec["underlyings"], group[1])
    usd = market.usd(group[0][1])
    bands = [(b["floor"], b["multiplier"]) for b in rule["bands"]]
    return slices(gross * usd * rule["rate"], bands) / usd


def depeg(account: Account, spec: dict, group: tuple, rows: list) -> float:
    market = account.market
    left: dict[str, float] = {}
    for r in rows:
        quote = r["inst"]["quote"]
        left[quote] = left.get(quote, 0.0) + r["q"] * unit_delta(r["inst"], market)
    index = market.usd(group[1])
    total = 0.0
    for one, two in spec["pairs"]:
        a, b = left.get(one, 0.0), left.get(two, 0.0)
        if a * b >= 0.0:
            continue
        hedged = min(abs(a), abs(b))
        left[one] = a - math.copysign(hedged, a)
        left[two] = b - math.copysign(hedged, b)
        price = min(market.usd(s) for s in (one, two) if s != "USD")
        level = next(
            v
            for v in spec["levels"]
            if v["from_price"] <= price and (v["to_price"] is None or price <= v["to_price"])
        )
        total += slices(hedged * index, [(s["floor"], s["rate"]) for s in level["sizes"]])
    return total / market.usd(group[0][1])


def contract_charge(account: Account, spec: dict, group: tuple, rows: list) -> float:
    market = account.market
    mine = [r for r in rows if r["inst"]["kind"] in spec["kinds"]]
    if spec["net"] == "group":
        nets = [sum(coins(r["inst"], r["q"], market) for r in mine)]
    else:
        nets = [coins(r["inst"], r["q"], market) for r in by_instrument(mine).values()]
    count = sum(max(0.0, -n) if spec["side"] == "short" else abs(n) for n in nets)
    if count == 0.0:
        return 0.0
    rule = rule_of(spec["underlyings"], group[1])
    usd = market.usd(group[0][1])
    return count * (rule["usd"] + rule["index"] * market.usd(group[1])) / usd


def expiry_spread(account: Account, spec: dict, group: tuple, rows: list) -> float:
    """Pair opposite expiries off, nearest first."""
    market = account.market
    left: dict[float, float] = {}
    for r in rows:
        inst = r["inst"]
        if spec["of"] == "vega":
            unit = vega(inst, market) / market.usd(group[0][1]) if inst["kind"] == "option" else 0.0
        else:
            unit = unit_delta(inst, market) * index_of(inst, group[0], market)
        at = market.years(inst) * (365.0 if spec["of"] == "vega" else 1.0)
        left[at] = left.get(at, 0.0) + r["q"] * unit
    total = 0.0
    gaps = sorted((t - s, s, t) for s in left for t in left if s < t)
    for gap, s, t in gaps:
        if left[s] * left[t] < 0.0:
            hedged = min(abs(left[s]), abs(left[t]))
            left[s] -= math.copysign(hedged, left[s])
            left[t] -= math.copysign(hedged, left[t])
            total += hedged * gap * rule_of(spec["factors"], group[1])
    return total


# ---------------------------------------------------------------------------------------- SPAN


def calendar(account: Account, spec: dict, group: tuple, rows: list) -> float:
    market = account.market
    rules = rule_of(spec["underlyings"], group[1])
    if rules is None:
        return 0.0
    nets: dict[float, float] = {}
    for r in rows:
        days = market.years(r["inst"]) * 365.0
        delta = r["q"] * composite(spec, r["inst"], account, group[1])
        nets[days] = nets.get(days, 0.0) + delta
    long, short = [0.0] * len(rules["tiers"]), [0.0] * len(rules["tiers"])
    for days, net in nets.items():
        for k, tier in enumerate(rules["tiers"]):
            if tier["from_days"] <= days and (tier["to_days"] is None or days < tier["to_days"]):
                long[k] += max(0.0, net)
                short[k] += max(0.0, -net)
                break
    usd = market.usd(group[0][1])
    total = 0.0
    for line in rules["spreads"]:
        unit = (line["usd"] + line["index"] * market.usd(group[1])) / usd
        a, b = line["first"] - 1, line["second"] - 1
        for x, y in ((a, b),) if a == b else ((a, b), (b, a)):
            n = min(long[x], short[y])
            long[x] -= n
            short[y] -= n
            total += n * unit
    return total


def delivery(account: Account, spec: dict, group: tuple, rows: list) -> float:
    market = account.market
    rule = rule_of(spec["underlyings"], group[1])
    if rule is None:
        return 0.0
    net = sum(
        r["q"] * composite(spec, r["inst"], account, group[1])
        for r in rows
        if r["inst"]["expiry"] is not None and market.years(r["inst"]) * 365.0 < rule["days"]
    )
    unit = rule["usd"] + rule["index"] * market.usd(group[1])
    return abs(net) * unit / market.usd(group[0][1])


def risk_of(account: Account, group: tuple) -> float:
    """Price risk from the scan without orders."""
    spec = next(c for c in account.rules["components"] if c["kind"] == "scan")
    loss = [-v for v in scan(account, spec, group, False)["vector"]]
    points = scenarios_for(account.rules, group[1])
    active = loss.index(max(loss))
    if loss[active] <= 0.0:
        return 0.0
    pair = active
    for s, point in enumerate(points):
        here = points[active]
        alike = (point["move"], point["weight"]) == (here["move"], here["weight"])
        if alike and point["vol"] != here["vol"]:
            pair = s
            break
    still = [x for x, point in zip(loss, points) if point["move"] == 0.0]
    return max(0.0, (loss[active] + loss[pair]) / 2.0 - sum(still) / len(still))


def inter_credit(account: Account, spec: dict, group: tuple, orders: bool) -> float:
    """Credit of one group; a group with orders that may fill takes no part."""
    pot = group[0]
    deltas: dict[str, float] = {}
    for g in account.groups():
        if g[0] != pot or (orders and has_orders(account, g)):
            continue
        deltas[g[1]] = sum(
            p["q"] * composite(spec, p["inst"], account, g[1])
            for p in account.positions
            if p["group"] == g
        )
    left = {name: abs(d) for name, d in deltas.items()}
    total = 0.0
    for spread in spec["spreads"] if spec["active"] else []:
        legs = spread["legs"]
        if any(deltas.get(leg["group"], 0.0) == 0.0 for leg in legs):
            continue
        if len({(deltas[leg["group"]] > 0) == (leg["side"] == "A") for leg in legs}) > 1:
            continue
        n = min(left[leg["group"]] / leg["ratio"] for leg in legs)
        for leg in legs:
            left[leg["group"]] -= n * leg["ratio"]
            if leg["group"] == group[1]:
                wfpr = risk_of(account, group) / abs(deltas[group[1]])
                total += wfpr * n * leg["ratio"] * spread["credit"]
    return total


def risk_cap(account: Account, spec: dict, group: tuple, orders: bool, done: dict) -> float:
    rows = [p for p in account.positions if p["group"] == group]
    if orders and has_orders(account, group):
        return 0.0
    if any(r["inst"]["kind"] != "option" and r["q"] != 0.0 for r in rows):
        return 0.0
    if any(r["q"] < 0.0 for r in by_instrument(rows).values()):
        return 0.0
    worth = sum(
        held_value(r, account.market) * account.rate(group[0], r["inst"]["settle"]) for r in rows
    )
    risk = sum(done[n][0] for n in spec["of"]) - sum(done[n][0] for n in spec["less"])
    return max(0.0, risk - worth)


# ---------------------------------------------------------------------------------------- TIMS


def product_credit(account: Account, spec: dict, group: tuple, orders: bool) -> float:
    product = next((p for p in spec["products"] if group[1] in p["members"]), None)
    if product is None:
        return 0.0
    mine = [g for g in account.groups() if g[0] == group[0] and g[1] in product["members"]]
    if len(mine) < 2:
        return 0.0
    scans = next(c for c in account.rules["components"] if c["kind"] == "scan")
    vectors = {g: scan(account, scans, g, orders)["vector"] for g in mine}
    worst, losses = math.inf, {}
    for s in range(len(vectors[mine[0]])):
        total = sum(v[s] if v[s] < 0 else product["offset"] * v[s] for v in vectors.values())
        if total < worst:
            worst = total
            losses = {g: max(0.0, -v[s]) for g, v in vectors.items()}
    own = max(0.0, -min(vectors[group]))
    whole = sum(losses.values())
    if worst >= 0.0 or whole == 0.0:
        return own
    return own - losses[group] * (-worst / whole)
