"""A second, independent implementation of the margin rules, in plain scalar Python.

Nothing here is shared with ``crossmargin.margin``: instrument names, the market file, scenarios,
Black-76, netting, the components and the equity are all written again from their definitions,
with loops over one account. It is slow on purpose. Three inputs, all plain dicts: an account
file, a market file and a rule-set (``load_ruleset(id).as_dict()``).

Sources: reference/venues.md §1 (Deribit) and §5 (brackets), reference/requirements.md (A00, A01,
A10, A11, A24, B03, B12), and the field definitions of the rule-set vocabulary.

Open orders are taken by brute force over all subsets of fills, component by component.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from typing import Any

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
STABLECOINS = ("USD", "USDC", "USDT")
YEAR = 365 * 86_400 * 1_000_000  # microseconds
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# --------------------------------------------------------------------------- the input formats


def microseconds(text: str) -> int:
    """ISO-8601 as whole microseconds since 1970."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)


@cache
def instrument(name: str) -> dict[str, Any]:
    """Read a Deribit name."""
    parts = name.split("-")
    stem = parts[0]
    under, _, quote = stem.partition("_")
    inverse = not quote
    out: dict[str, Any] = {
        "name": name,
        "stem": stem,
        "underlying": under,
        "quote": quote or "USD",
        "settle": quote or under,
        "inverse": inverse,
        "expiry": None,
    }
    if len(parts) == 1:
        out["kind"] = "spot"
    elif parts[1] == "PERPETUAL":
        out["kind"] = "perpetual"
    else:
        day, month, year = parts[1][:-5], parts[1][-5:-2], parts[1][-2:]
        when = datetime(2000 + int(year), MONTHS.index(month) + 1, int(day), 8, tzinfo=UTC)
        out["expiry"] = (when - EPOCH) // timedelta(microseconds=1)
        out["kind"] = "future"
        if len(parts) == 4:
            out["kind"] = "option"
            out["strike"] = float(parts[2].replace("d", "."))
            out["call"] = parts[3] == "C"
    return out


class Market:
    """One market file."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.now = microseconds(data["as_of"])
        self.assets = {row["asset"]: row["price_usd"] for row in data["assets"]}
        self.forwards = {
            (row["underlying"], microseconds(row["expiry"])): row["price_usd"]
            for row in data.get("forwards", [])
        }
        self.surfaces = {
            (row["underlying"], microseconds(row["expiry"])): row
            for row in data.get("surfaces", [])
        }
        self.rows = {row["instrument"]: row for row in data.get("instruments", [])}

    def usd(self, asset: str) -> float:
        return 1.0 if asset == "USD" else self.assets[asset]

    def years(self, inst: dict[str, Any]) -> float:
        """ACT/365 to expiry; 0 for a perpetual (which takes the floor of the roll rate)."""
        if inst["expiry"] is None:
            return 0.0
        return (inst["expiry"] - self.now) / YEAR

    def price(self, inst: dict[str, Any]) -> float:
        """Mark price of a delta-one instrument, forward of an option, in the quote currency."""
        row = self.rows.get(inst["name"], {})
        if inst["kind"] in ("perpetual", "future", "spot") and row.get("price_mark") is not None:
            return row["price_mark"]
        if inst["kind"] == "spot":
            return self.usd(inst["underlying"]) / self.usd(inst["quote"])
        return self.forwards[inst["underlying"], inst["expiry"]] / self.usd(inst["quote"])

    def index(self, inst: dict[str, Any]) -> float:
        """Index price of the underlying in the quote currency."""
        return self.usd(inst["underlying"]) / self.usd(inst["quote"])

    def vol(self, inst: dict[str, Any]) -> float:
        row = self.rows.get(inst["name"], {})
        if row.get("vol") is not None:
            return row["vol"]
        svi = self.surfaces[inst["underlying"], inst["expiry"]]
        fitted = microseconds(svi["fitted_at"]) if svi.get("fitted_at") else self.now
        years = (inst["expiry"] - fitted) / YEAR
        strike_usd = inst["strike"] * self.usd(inst["quote"])
        x = math.log(strike_usd / svi["forward_usd"]) - svi["m"]
        w = svi["a"] + svi["b"] * (svi["rho"] * x + math.sqrt(x * x + svi["sigma"] ** 2))
        return math.sqrt(max(w, 0.0) / years)


# ------------------------------------------------------------------------------------- pricing


@cache
def black76(forward: float, strike: float, vol: float, years: float, call: bool) -> float:
    """Undiscounted Black-76, built on the out-of-the-money side so that wings stay accurate."""
    otm_call = strike >= forward
    deviation = vol * math.sqrt(years)
    if deviation <= 0.0:
        otm = 0.0
    else:
        d1 = log_ratio(forward, strike) / deviation + 0.5 * deviation
        d2 = d1 - deviation
        if otm_call:
            otm = forward * _cdf(d1) - strike * _cdf(d2)
        else:
            otm = strike * _cdf(-d2) - forward * _cdf(-d1)
    if call == otm_call:
        return otm
    return otm + abs(forward - strike)


def log_ratio(forward: float, strike: float) -> float:
    """ln(F/K); near the money from the exact difference, hours before expiry it matters."""
    if abs(forward - strike) < 0.5 * strike:
        return math.log1p((forward - strike) / strike)
    return math.log(forward / strike)


def _cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def black76_delta(forward: float, strike: float, vol: float, years: float, call: bool) -> float:
    deviation = vol * math.sqrt(years)
    if deviation <= 0.0:
        below = 0.5 if forward == strike else float(forward > strike)
        return below if call else below - 1.0
    d1 = log_ratio(forward, strike) / deviation + 0.5 * deviation
    return _cdf(d1) if call else -_cdf(-d1)


def unit_value(inst: dict[str, Any], forward: float, vol: float, years: float) -> float:
    """Value of one option in its settlement asset."""
    value = black76(forward, inst["strike"], vol, years, inst["call"])
    return value / forward if inst["inverse"] else value


def unit_delta(inst: dict[str, Any], market: Market) -> float:
    """Delta of one unit in coins of the underlying."""
    price = market.price(inst)
    if inst["kind"] == "option":
        return black76_delta(
            price, inst["strike"], market.vol(inst), market.years(inst), inst["call"]
        )
    return 1.0 / price if inst["inverse"] else 1.0


# ----------------------------------------------------------------------------------- scenarios


def shocks_for(rules: dict[str, Any], underlying: str) -> dict[str, Any]:
    table = rules["scenarios"]["underlyings"]
    return table[underlying] if underlying in table else table["default"]


def scenarios_for(rules: dict[str, Any], underlying: str) -> list[dict[str, Any]]:
    """Every scenario of one underlying, in the order of the file, volatility fastest."""
    shocks = shocks_for(rules, underlying)
    reach = shocks["price_range"]
    out = []
    for block in rules["scenarios"]["blocks"]:
        for number, raw in enumerate(block["moves"]):
            move = raw * reach if block["unit"] == "range" else raw
            if isinstance(block["weight"], list):
                weight = block["weight"][number]
            elif block["weight"] == "range/move":
                weight = reach / abs(move) * shocks["extended_factor"]
            else:
                weight = block["weight"]
            linear = move
            if block["extended"] and rules["scenarios"]["cap_linear"]:
                linear = max(-reach, min(reach, move))
            for state in block["vols"]:
                out.append(
                    {
                        "move": move,
                        "linear": linear,
                        "vol": state,
                        "weight": weight,
                        "tail": block["extended"],
                    }
                )
    return out


def shocked_vol(vol: float, years: float, state: str, rules: dict, underlying: str) -> float:
    if state == "same":
        return vol
    shocks = shocks_for(rules, underlying)
    reference = rules["scenarios"]["reference_days"]
    days = max(years * 365.0, shocks["days_floor"])
    # The floor bounds the ratio; which power applies follows the actual tenor.
    power = shocks["short_power"] if years * 365.0 < reference else shocks["long_power"]
    scale = (reference / days) ** power
    if state == "up":
        return max(vol * (1.0 + shocks["vol_up"] * scale), shocks["vol_floor_up"])
    return vol * max(0.0, 1.0 - shocks["vol_down"] * scale)


def unit_pnl(
    inst: dict[str, Any], market: Market, rules: dict[str, Any], scenario: dict[str, Any]
) -> float:
    """Profit of one unit in one scenario, in the settlement asset."""
    price = market.price(inst)
    if inst["kind"] != "option":
        after = price * (1.0 + scenario["linear"])
        return 1.0 / price - 1.0 / after if inst["inverse"] else after - price
    years, vol = market.years(inst), market.vol(inst)
    leader = rules["groups"].get(inst["underlying"], inst["underlying"])
    new_vol = shocked_vol(vol, years, scenario["vol"], rules, leader)
    after = unit_value(inst, price * (1.0 + scenario["move"]), new_vol, years)
    return after - unit_value(inst, price, vol, years)


# --------------------------------------------------------------------------------- the account


def number(value: Any) -> float:
    return float(value)


def by_currency(table: dict[str, Any], asset: str, groups: dict[str, str]) -> Any:
    """Parameters of a settlement asset; USD serves stablecoins, then the default."""
    if asset in table:
        return table[asset]
    asset = groups.get(asset, asset)
    if asset in table:
        return table[asset]
    if asset in STABLECOINS and "USD" in table:
        return table["USD"]
    return table.get("default")


class Account:
    """One account seen through a rule-set: rows with the pot, group and segment they belong to."""

    def __init__(self, data: dict, market: Market, rules: dict) -> None:
        self.market, self.rules = market, rules
        by = rules["pools"]["by"]
        self.positions: list[dict[str, Any]] = []
        for row, entry in enumerate(data.get("positions", [])):
            inst = instrument(entry["instrument"])
            pool = entry.get("pool", "cross")
            pot = (pool, *self._own(by, inst["settle"], row))
            self.positions.append(
                {
                    "row": row,
                    "inst": inst,
                    "q": number(entry["quantity"]),
                    "entry": entry.get("entry_price"),
                    "leverage": entry.get("leverage"),
                    "fence": entry.get("fenced_margin"),
                    "pool": pool,
                    "pot": pot,
                    **self._place(pot, inst),
                }
            )
        self.balances: list[dict[str, Any]] = []
        for entry in data.get("balances", []):
            pool, asset = entry.get("pool", "cross"), entry["asset"]
            pot = (pool, *self._own(by, asset, None))
            self.balances.append({"asset": asset, "amount": number(entry["amount"]), "pot": pot})
        self.orders: list[dict[str, Any]] = []
        self.limits: dict[str, float | None] = {}
        for entry in data.get("orders", []):
            self._order(by, entry.get("pool", "cross"), None, entry["legs"])
        for entry in data.get("quote_groups", []):
            self.limits[entry["id"]] = entry.get("protection_limit_usd")
            for quote in entry["quotes"]:
                for side, word in ((1.0, "bid"), (-1.0, "ask")):
                    size = number(quote.get(f"{word}_quantity", 0.0))
                    if size:
                        leg = {
                            "instrument": quote["instrument"],
                            "quantity": side * size,
                            "price": quote.get(f"{word}_price"),
                        }
                        self._order(by, entry.get("pool", "cross"), entry["id"], [leg])

    def _own(self, by: str, asset: str, row: int | None) -> tuple[str, int | None]:
        if by == "settlement":
            return (asset if self.rules["numeraire"] == "settlement" else "USD", None)
        return ("USD", row if by == "position" else None)

    def _place(self, pot: tuple, inst: dict[str, Any]) -> dict[str, Any]:
        leader = self.rules["groups"].get(inst["underlying"], inst["underlying"])
        return {"group": (pot, leader), "segment": inst["settle"]}

    def _order(self, by: str, pool: str, quotes: str | None, legs: list[dict]) -> None:
        out = []
        for leg in legs:
            inst = instrument(leg["instrument"])
            held = [
                p["row"]
                for p in self.positions
                if p["pool"] == pool and p["inst"]["name"] == inst["name"]
            ]
            pot = (pool, *self._own(by, inst["settle"], held[0] if held else None))
            out.append(
                {
                    "inst": inst,
                    "q": number(leg["quantity"]),
                    "price": leg.get("price"),
                    **self._place(pot, inst),
                }
            )
        self.orders.append({"quotes": quotes, "legs": out})

    def rate(self, pot: tuple, asset: str) -> float:
        """Units of the pot's numeraire per unit of an asset."""
        return self.market.usd(asset) / self.market.usd(pot[1])

    def groups(self) -> list[tuple]:
        found = [p["group"] for p in self.positions]
        found += [leg["group"] for order in self.orders for leg in order["legs"]]
        found += [b["group"] for b in self.stressed()]
        return list(dict.fromkeys(found))

    def stressed(self) -> list[dict[str, Any]]:
        """Balances whose price is moved with the positions, with the side that counts."""
        out: list[dict[str, Any]] = []
        if not any(c["kind"] == "scan" for c in self.rules["components"]):
            return out
        # A pot without positions, orders or debt owes nothing for what it owns.
        busy = {p["pot"] for p in self.positions}
        busy |= {leg["group"][0] for order in self.orders for leg in order["legs"]}
        busy |= {b["pot"] for b in self.balances if b["amount"] < 0.0}
        for row in self.balances:
            if row["pot"] not in busy or row["amount"] == 0.0:
                continue
            rule = self.rules["collateral"]["assets"].get(row["asset"]) or self.rules["collateral"][
                "assets"
            ].get("default")
            if rule is None or rule["stress"] == "none" or row["asset"] == row["pot"][1]:
                continue
            leader = self.rules["groups"].get(row["asset"], row["asset"])
            out.append(
                {
                    **row,
                    "side": rule["stress"],
                    "group": (row["pot"], leader),
                    "segment": row["asset"],
                }
            )
        return out

    def pots(self) -> list[tuple]:
        found = [p["pot"] for p in self.positions] + [b["pot"] for b in self.balances]
        found += [leg["group"][0] for order in self.orders for leg in order["legs"]]
        if self.rules["pools"]["by"] == "position":
            found += [(p["pool"], "USD", None) for p in self.positions]
        return list(dict.fromkeys(found))

    def fills(self, orders: bool) -> list[tuple[bool, ...]]:
        """All subsets of orders that may fill."""
        return list(product((False, True), repeat=len(self.orders))) if orders else [()]

    def filled(self, chosen: tuple[bool, ...], group: tuple) -> list[dict[str, Any]]:
        """Legs in a group of the orders that fill."""
        return [
            leg
            for order, yes in zip(self.orders, chosen)
            if yes
            for leg in order["legs"]
            if leg["group"] == group
        ]


# ---------------------------------------------------------------------------------------- scan


def conversion(
    account: Account, spec: dict, group: tuple, row: dict[str, Any], scenario: dict[str, Any]
) -> float:
    """Numeraire per unit of a row's settlement asset, in one scenario.

    At the shocked price each row is converted at the move it was revalued at: options at the
    full one, what is capped in the tails at the capped one.
    """
    pot, underlying = group
    rate = account.rate(pot, row["segment"])
    if spec["conversion"] == "base" or row["segment"] != underlying or underlying == pot[1]:
        return rate
    move = scenario["move"] if row["inst"]["kind"] == "option" else scenario["linear"]
    return rate * (1.0 + move)


def coin_value_change(
    account: Account, spec: dict, group: tuple, p: dict[str, Any], scenario: dict[str, Any]
) -> float:
    """What the coins in a position's profit and value gain when the coin is stressed."""
    pot, underlying = group
    if spec["conversion"] == "base" or p["segment"] != underlying or underlying == pot[1]:
        return 0.0
    rules = account.rules["collateral"]["assets"]
    rule = rules.get(p["segment"]) or rules.get("default")
    side = "none" if rule is None else rule["stress"]
    move = scenario["move"] if p["inst"]["kind"] == "option" else scenario["linear"]
    if side == "none" or (side == "up" and move < 0) or (side == "down" and move > 0):
        return 0.0
    held = unrealised(p, account.market) + held_value(p, account.market)
    return held * account.rate(pot, p["segment"]) * move


def count(
    value: float, scenario: dict, spec: dict, segment: str, numeraire_usd: float, groups: dict
) -> float:
    """The per-segment map: what a segment's profit or loss counts."""
    rule = by_currency(spec["currencies"], segment, groups) or {
        "pnl_offset": 1.0,
        "max_offset_usd": None,
        "dampener_usd": 0.0,
    }
    weighted = scenario["weight"] * value
    if weighted >= 0.0:
        if scenario["tail"] and not spec["tail_gains_count"]:
            return 0.0
        gain = rule["pnl_offset"] * weighted
        if rule["max_offset_usd"] is not None:
            gain = min(gain, rule["max_offset_usd"] / numeraire_usd)
        return gain
    loss = -weighted
    if scenario["tail"]:
        loss = max(0.0, loss - rule["dampener_usd"] / numeraire_usd)
    return -loss


def fill_profit(leg: dict[str, Any], account: Account) -> float:
    """What a fill at the order's price gains against the mark, less the fee, settlement asset."""
    market, inst = account.market, leg["inst"]
    mark = market.price(inst)
    fee_rate = account.rules["orders"]["fee_rate"]
    fee = fee_rate * full_notional(inst, leg["q"], market)
    if leg["price"] is None:
        return -fee
    paid = number(leg["price"])
    if inst["kind"] == "option":
        value = unit_value(inst, mark, market.vol(inst), market.years(inst))
        return leg["q"] * (value - paid) - fee
    if inst["inverse"]:
        return leg["q"] * (1.0 / paid - 1.0 / mark) - fee
    return leg["q"] * (mark - paid) - fee


def fill_losses(account: Account, group: tuple) -> float:
    """Most that fills away from the mark can lose in a group, over all subsets of orders."""
    usd = account.market.usd(group[0][1])
    total, capped = 0.0, {}
    for order in account.orders:
        gain = sum(
            fill_profit(leg, account) * account.rate(group[0], leg["inst"]["settle"])
            for leg in order["legs"]
            if leg["group"] == group
        )
        if order["quotes"] is None:
            total += max(0.0, -gain)
        else:
            capped[order["quotes"]] = capped.get(order["quotes"], 0.0) + max(0.0, -gain)
    for name, loss in capped.items():
        limit = account.limits[name]
        total += loss if limit is None else min(loss, limit / usd)
    return total


def scan(account: Account, spec: dict, group: tuple, orders: bool) -> dict[str, Any]:
    """Worst loss over the scenarios of one group, with its vectors."""
    pot, underlying = group
    market, rules = account.market, account.rules
    numeraire_usd = market.usd(pot[1])
    positions = [p for p in account.positions if p["group"] == group]
    balances = [b for b in account.stressed() if b["group"] == group]
    mine = [o for o in account.orders if any(x["group"] == group for x in o["legs"])]
    if not orders:
        mine = []
    segments = [p["segment"] for p in positions] + [b["segment"] for b in balances]
    segments += [x["segment"] for o in mine for x in o["legs"] if x["group"] == group]
    segments = list(dict.fromkeys(segments))
    vector, raw = [], []
    subsets = list(product((False, True), repeat=len(mine)))
    worst_by_subset = [0.0] * len(subsets)
    for scenario in scenarios_for(rules, underlying):
        base = dict.fromkeys(segments, 0.0)
        for p in positions:
            profit = p["q"] * unit_pnl(p["inst"], market, rules, scenario)
            base[p["segment"]] += profit * conversion(account, spec, group, p, scenario)
            base[p["segment"]] += coin_value_change(account, spec, group, p, scenario)
        for b in balances:
            move = scenario["linear"]
            if b["side"] == "up":
                move = max(move, 0.0)
            elif b["side"] == "down":
                move = min(move, 0.0)
            base[b["segment"]] += b["amount"] * account.rate(pot, b["asset"]) * move
        losses = []
        for order in mine:
            by_segment: dict[str, float] = {}
            for leg in order["legs"]:
                if leg["group"] != group:
                    continue
                profit = leg["q"] * unit_pnl(leg["inst"], market, rules, scenario)
                profit += fill_profit(leg, account)
                profit *= conversion(account, spec, group, leg, scenario)
                by_segment[leg["segment"]] = by_segment.get(leg["segment"], 0.0) - profit
            assert len(by_segment) == 1, "the oracle takes orders of one settlement asset"
            losses.append(next(iter(by_segment.items())))
        best: float | None = None
        best_raw = 0.0
        for which, chosen in enumerate(subsets):
            after = dict(base)
            quoted: dict[tuple[str, str], float] = {}
            for order, (segment, loss), yes in zip(mine, losses, chosen):
                if not yes:
                    continue
                if order["quotes"] is None:
                    after[segment] -= loss
                else:
                    key = (order["quotes"], segment)
                    quoted[key] = quoted.get(key, 0.0) + loss
            for (name, segment), loss in quoted.items():
                limit = account.limits[name]
                if limit is not None:
                    loss = min(loss, limit / numeraire_usd)
                after[segment] -= loss
            total = sum(
                count(v, scenario, spec, s, numeraire_usd, account.rules["groups"])
                for s, v in after.items()
            )
            worst_by_subset[which] = max(worst_by_subset[which], -total)
            if best is None or total < best:
                best = total
            best_raw = min(best_raw, sum(after.values())) if which else sum(after.values())
        assert best is not None
        vector.append(best)
        raw.append(best_raw)
    return {"margin": max(worst_by_subset), "vector": vector, "raw": raw}


# ---------------------------------------------------------------------------- other components


def settlement_notional(inst: dict[str, Any], q: float, market: Market) -> float:
    """Unsigned size of a delta-one position at the mark, in its settlement asset."""
    price = market.price(inst)
    return abs(q) / price if inst["inverse"] else abs(q) * price


def rate_margin(
    spec: dict, inst: dict, q: float, leverage: float | None, account: Account, pot: tuple
) -> tuple[float, float]:
    """Rate times notional of one position, in the pot's numeraire."""
    if inst["kind"] not in spec["kinds"] or q == 0:
        return 0.0, 0.0
    market = account.market
    to_numeraire = account.rate(pot, inst["settle"])
    coins = abs(q) / market.price(inst) if inst["inverse"] else abs(q)
    size = settlement_notional(inst, q, market)
    if spec["scheme"] == "slope":
        table = spec["slopes"]
        slope = next(table[k] for k in (inst["stem"], inst["underlying"], "default") if k in table)
        base = size
        if spec["price"] == "index" and not inst["inverse"]:
            base = abs(q) * market.index(inst)
        size = base  # one price for the whole component, its leverage too
        im = (slope["im"] + slope["per_coin"] * coins) * base * to_numeraire
        mm = (slope["mm"] + slope["per_coin"] * coins) * base * to_numeraire
    else:
        table = spec["tiers"]
        tiers = next(table[k] for k in (inst["stem"], inst["underlying"], "default") if k in table)
        if spec["price"] == "index" and not inst["inverse"]:
            size = abs(q) * market.index(inst)
        notional = size * market.usd(inst["settle"])
        im = mm = 0.0
        if spec["scheme"] == "marginal":
            for row, tier in enumerate(tiers):
                top = tiers[row + 1]["floor"] if row + 1 < len(tiers) else math.inf
                part = max(0.0, min(notional, top) - tier["floor"])
                im += tier["im"] * part
                mm += tier["mm"] * part
        else:
            chosen = tiers[0]
            for tier in tiers[1:]:
                if notional > tier["floor"]:
                    chosen = tier
            im, mm = chosen["im"] * notional, chosen["mm"] * notional
        im, mm = im / market.usd(pot[1]), mm / market.usd(pot[1])
    if spec["use_leverage"] and leverage is not None:
        im = max(im, size * to_numeraire / leverage)
    return im, mm


def option_margin(
    spec: dict, inst: dict, q: float, account: Account, pot: tuple
) -> tuple[float, float]:
    """Standard margin of one option position, in the pot's numeraire."""
    if inst["kind"] != "option" or q >= 0:
        return 0.0, 0.0
    market = account.market
    f = spec["factors"].get(inst["underlying"]) or spec["factors"]["default"]
    spot, strike = market.index(inst), inst["strike"]
    mark = unit_value(inst, market.price(inst), market.vol(inst), market.years(inst))
    if not inst["inverse"]:
        mark /= spot
    otm = max(strike - spot, 0.0) if inst["call"] else max(spot - strike, 0.0)
    im = max(f["otm_base"] - otm / spot, f["otm_floor"]) + mark
    if inst["call"]:
        mm = f["mm"] + mark
    else:
        mm = max(f["mm"], f["mm"] * mark) + mark
        im = max(im, mm)
    scale = abs(q) * (1.0 if inst["inverse"] else spot) * account.rate(pot, inst["settle"])
    return im * scale, mm * scale


def full_notional(inst: dict[str, Any], q: float, market: Market) -> float:
    """Unsigned size that a fee is charged on, in the settlement asset; of options, the forward.

    The sources do not say whether an option's notional is at the index or at the forward.
    """
    if inst["kind"] == "option":
        return abs(q) * (1.0 if inst["inverse"] else market.price(inst))
    return settlement_notional(inst, q, market)


def by_instrument(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Net quantity of each instrument."""
    out: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row["inst"]["name"]
        if name not in out:
            out[name] = {"inst": row["inst"], "q": 0.0}
        out[name]["q"] += row["q"]
    return out


def deltas(rows: list[dict[str, Any]], market: Market) -> float:
    """Net delta in coins."""
    return sum(row["q"] * unit_delta(row["inst"], market) for row in rows)


def roll(account: Account, spec: dict, group: tuple, orders: bool) -> float:
    """Sum over (segment, expiry) of |net delta| times max(floor, annual × years)."""
    pot, _ = group
    market = account.market
    rows = [p for p in account.positions if p["group"] == group]
    legs = [x for o in account.orders for x in o["legs"] if x["group"] == group] if orders else []
    total = 0.0
    keys = dict.fromkeys((r["segment"], r["inst"]["expiry"]) for r in rows + legs)
    for segment, expiry in keys:
        rates = by_currency(spec["currencies"], segment, account.rules["groups"])
        assert rates is not None, f"no roll rates for {segment}"
        worst = 0.0
        for chosen in account.fills(orders):
            inside = [
                r
                for r in rows + account.filled(chosen, group)
                if (r["segment"], r["inst"]["expiry"]) == (segment, expiry)
            ]
            size = 0.0
            for r in inside:
                unit = 1.0 if r["inst"]["inverse"] else market.index(r["inst"])
                unit = 0.0 if r["inst"]["kind"] == "spot" else unit  # no basis to roll
                size += r["q"] * unit_delta(r["inst"], market) * unit
            years = market.years(inside[0]["inst"]) if inside else 0.0
            rate = max(rates["floor"], rates["annual"] * years)
            worst = max(worst, abs(size) * rate * account.rate(pot, segment))
        total += worst
    return total


def component(
    account: Account, spec: dict, group: tuple, orders: bool, done: dict[str, tuple[float, float]]
) -> tuple[float, float]:
    """One component of one group: IM and MM in the pot's numeraire."""
    pot, underlying = group
    market = account.market
    kind = spec["kind"]
    index = market.usd(underlying) / market.usd(pot[1])
    rows = [p for p in account.positions if p["group"] == group]
    subsets = account.fills(orders)
    if kind in ("rate", "option-formula"):
        return _per_position(account, spec, group, orders)
    if kind == "roll":
        value = roll(account, spec, group, orders)
    elif kind == "delta-concentration":
        rule = spec["underlyings"].get(underlying) or spec["underlyings"].get("default")
        value = 0.0
        if rule is not None:
            for chosen in subsets:
                coins = abs(deltas(rows + account.filled(chosen, group), market))
                beyond = max(0.0, coins - rule["threshold_usd"] / market.usd(underlying))
                assert beyond == 0.0 or spec["growth"] == "linear", "unknown growth law"
                shock = min(rule["max_shock"], rule["per_coin"] * beyond)
                value = max(value, shock * coins * index)
    elif kind == "correlation-contingency":
        value = 0.0
        # A charge for netting between flagged currencies: one of them alone nets nothing.
        others = {g[1] for g in account.groups() if g[0] == pot and g[1] in spec["flagged"]}
        if underlying in spec["flagged"] and len(others) > 1:
            scans = [c["name"] for c in account.rules["components"] if c["kind"] == "scan"]
            value = spec["rate"] * sum(done[name][0] for name in scans)
    elif kind == "min-delta":
        value = 0.0
        for chosen in subsets:
            long = short = 0.0
            for row in by_instrument(rows + account.filled(chosen, group)).values():
                delta = row["q"] * unit_delta(row["inst"], market)
                long += max(delta, 0.0)
                short += max(-delta, 0.0)
            charge = spec["net_rate"] * abs(long - short) + spec["hedged_rate"] * min(long, short)
            value = max(value, charge * index)
    elif kind == "funding-provision":
        value = 0.0
        for chosen in subsets:
            paid = 0.0
            for row in rows + account.filled(chosen, group):
                inst = row["inst"]
                if inst["kind"] != "perpetual":
                    continue
                size = settlement_notional(inst, row["q"], market) * account.rate(
                    pot, inst["settle"]
                )
                rate = market.rows[inst["name"]]["funding_rate_8h"]
                paid += math.copysign(size, row["q"]) * rate * spec["hours"] / 8.0
            value = max(value, paid)
    elif kind == "fee-provision":
        value = 0.0
        if spec["rate"] is not None:
            for chosen in subsets:
                total = 0.0
                for row in rows + account.filled(chosen, group):
                    inst, q = row["inst"], row["q"]
                    size = full_notional(inst, q, market)
                    total += spec["rate"] * size * account.rate(pot, inst["settle"])
                value = max(value, total)
    else:
        raise AssertionError(kind)
    return value, value


def _per_position(account: Account, spec: dict, group: tuple, orders: bool) -> tuple[float, float]:
    """Components of single positions; with orders each instrument after its worst fill."""
    pot, _ = group

    def one(inst: dict, q: float, leverage: float | None) -> tuple[float, float]:
        if spec["kind"] == "rate":
            return rate_margin(spec, inst, q, leverage, account, pot)
        return option_margin(spec, inst, q, account, pot)

    rows = [p for p in account.positions if p["group"] == group]
    ordered: set[str] = set()
    if orders:
        ordered = {
            x["inst"]["name"] for o in account.orders for x in o["legs"] if x["group"] == group
        }
    im = mm = 0.0
    for name in sorted({p["inst"]["name"] for p in rows} | ordered):
        # Legs of one contract are one position, at the lowest leverage any of them asks for.
        held = [p for p in rows if p["inst"]["name"] == name]
        asked = [p["leverage"] for p in held if p["leverage"] is not None]
        leverage = min(asked) if asked else None
        if name not in ordered:
            a, b = one(instrument(name), sum(p["q"] for p in held), leverage)
            im, mm = im + a, mm + b
            continue
        worst_im = worst_mm = 0.0
        for chosen in account.fills(True):
            legs = [x for x in account.filled(chosen, group) if x["inst"]["name"] == name]
            q = sum(p["q"] for p in held) + sum(x["q"] for x in legs)
            a, b = one(instrument(name), q, leverage)
            worst_im, worst_mm = max(worst_im, a), max(worst_mm, b)
        im, mm = im + worst_im, mm + worst_mm
    return im, mm


# -------------------------------------------------------------------------------------- totals


def combine(rules: dict, parts: dict[str, tuple[float, float]]) -> tuple[float, float]:
    """Evaluate the combining expressions at both levels."""
    out = []
    for level, key in enumerate(("im", "mm")):
        names: dict[str, Any] = {name: pair[level] for name, pair in parts.items()}
        space = {"__builtins__": {}, "max": max, "min": min, "abs": abs, "sqrt": math.sqrt}
        for step, text in rules["combine"]["steps"].items():
            names[step] = eval(text, space, names)
        out.append(eval(rules["combine"][key], space, names))
    return out[0], out[1]


def group_credit(account: Account, pot: tuple, margins: dict[tuple, float]) -> float:
    """Credit between groups of one pot."""
    offset = account.rules["offset"]
    if offset["method"] == "none" or not offset["active"]:
        return 0.0
    total = 0.0
    for pair in offset["pairs"]:
        keys = [(pot, name) for name in pair["groups"]]
        if any(key not in margins for key in keys):
            continue
        nets = [
            deltas([p for p in account.positions if p["group"] == key], account.market)
            for key in keys
        ]
        if nets[0] * nets[1] >= 0.0:
            continue
        a, b = (margins[key] for key in keys)
        if offset["method"] == "pair-credit":
            credit = pair["value"] * 2.0 * min(a, b)
        else:
            credit = a + b - math.sqrt(max(0.0, a * a + b * b - 2.0 * pair["value"] * a * b))
        if pair["max_credit_usd"] is not None:
            credit = min(credit, pair["max_credit_usd"] / account.market.usd(pot[1]))
        total += credit
    return total


def unrealised(p: dict[str, Any], market: Market) -> float:
    """Profit so far of a future or perpetual, in its settlement asset."""
    inst = p["inst"]
    if inst["kind"] not in ("perpetual", "future") or p["entry"] in (None, "mark"):
        return 0.0
    price, entry = market.price(inst), number(p["entry"])
    if inst["inverse"]:
        return p["q"] * (1.0 / entry - 1.0 / price)
    return p["q"] * (price - entry)


def held_value(p: dict[str, Any], market: Market) -> float:
    """Market value of an option or of spot, in its settlement asset."""
    inst = p["inst"]
    if inst["kind"] == "option":
        return p["q"] * unit_value(inst, market.price(inst), market.vol(inst), market.years(inst))
    return p["q"] * market.price(inst) if inst["kind"] == "spot" else 0.0


def entry_notional_usd(p: dict[str, Any], market: Market) -> float:
    """Size at the entry price, in US dollars."""
    inst = p["inst"]
    entry = market.price(inst) if p["entry"] in (None, "mark") else number(p["entry"])
    size = abs(p["q"]) / entry if inst["inverse"] else abs(p["q"]) * entry
    return size * market.usd(inst["settle"])


def evaluate(
    account_file: dict[str, Any],
    market_file: dict[str, Any],
    rules: dict[str, Any],
    *,
    orders: bool = False,
) -> dict[str, Any]:
    """Requirement and equity of one account.

    Returns
    -------
    dict
        ``pots``: by (pool, numeraire, position row or None), with im, mm, equity_im, equity_mm,
        credit, pool parts. ``groups``: by (pot, underlying), with im, mm, ``parts`` by component
        and the scan's ``vector``.
    """
    market = Market(market_file)
    account = Account(account_file, market, rules)
    groups: dict[tuple, dict[str, Any]] = {}
    debts: dict[str, dict[tuple, tuple[float, float]]] = {}
    for spec in rules["components"]:
        if spec["kind"] == "borrow":
            debts[spec["name"]] = {}
            for pot in account.pots():
                owed = -sum(
                    min(b["amount"], 0.0) * account.rate(pot, b["asset"])
                    for b in account.balances
                    if b["pot"] == pot
                )
                debts[spec["name"]][pot] = (spec["im"] * owed, spec["mm"] * owed)
    for group in account.groups():
        parts: dict[str, tuple[float, float]] = {}
        cell: dict[str, Any] = {"parts": parts}
        for spec in rules["components"]:
            if spec["kind"] == "scan":
                found = scan(account, spec, group, orders)
                cell["vector"], cell["raw"] = found["vector"], found["raw"]
                parts[spec["name"]] = (found["margin"], found["margin"])
        for spec in rules["components"]:
            if spec["kind"] not in ("scan", "borrow"):
                parts[spec["name"]] = component(account, spec, group, orders, parts)
        cell["im"], cell["mm"] = combine(rules, {**dict.fromkeys(debts, (0.0, 0.0)), **parts})
        if orders and not any(c["kind"] == "scan" for c in rules["components"]):
            lost = fill_losses(account, group)
            cell["im"], cell["mm"] = cell["im"] + lost, cell["mm"] + lost
        groups[group] = cell
    pots: dict[tuple, dict[str, Any]] = {}
    for pot in account.pots():
        mine = {key: cell for key, cell in groups.items() if key[0] == pot}
        out: dict[str, Any] = {"numeraire_usd": market.usd(pot[1])}
        for level in ("im", "mm"):
            margins = {key: cell[level] for key, cell in mine.items()}
            credit = group_credit(account, pot, margins)
            owed = sum(by_pot[pot][level == "mm"] for by_pot in debts.values())
            out[f"credit_{level}"] = credit
            out[level] = sum(margins.values()) - credit + owed
        collateral = rules["collateral"]
        for level in ("im", "mm"):
            total = 0.0
            for b in account.balances:
                if b["pot"] != pot:
                    continue
                value = b["amount"] * account.rate(pot, b["asset"])
                if value > 0 and b["asset"] != pot[1] and level in collateral["haircut_levels"]:
                    table = collateral["assets"]
                    rule = table[b["asset"]] if b["asset"] in table else table["default"]
                    value *= 1.0 - rule["haircut"]
                total += value
            for p in account.positions:
                if p["pot"] == pot:
                    value = held_value(p, market)
                    coin = p["inst"]["underlying"]
                    spot = p["inst"]["kind"] == "spot" and value > 0 and coin != pot[1]
                    if spot and level in collateral["haircut_levels"]:
                        table = collateral["assets"]
                        own = rules["pools"]["by"] == "settlement"
                        rule = table.get(coin) or table.get("default")
                        assert rule is not None or own, f"no haircut for spot {coin}"
                        value *= 1.0 - (rule["haircut"] if rule else 0.0)
                    profit = unrealised(p, market) + value
                    total += profit * account.rate(pot, p["inst"]["settle"])
            out[f"equity_{level}"] = total
        pots[pot] = out
    if rules["pools"]["by"] == "position":
        for p in account.positions:
            usd = market.usd(p["inst"]["settle"])
            if p["fence"] is not None:
                fence = number(p["fence"]) * usd
            elif p["leverage"] is not None and p["inst"]["kind"] in ("perpetual", "future"):
                fence = entry_notional_usd(p, market) / p["leverage"]
            else:
                own = (unrealised(p, market) + held_value(p, market)) * usd
                fence = max(0.0, pots[p["pot"]]["im"] - own)
            for level in ("equity_im", "equity_mm"):
                pots[p["pot"]][level] += fence
                pots[p["pool"], "USD", None][level] -= fence
    return {"pots": pots, "groups": groups}
