"""Derive v2's margins written again: one case, plain Python, a loop for every sum.

Source: reference/derive-v2.md (§1 conventions, §2 PM2, §3 PM1, §4 SRM), which re-states the
contracts of derivexyz/v2-core at commit 7736900d395703c4f675376caa4c315402943831 (published).
Numbers are floats; what is compared with a threshold stays an exact decimal (§8.9). Nothing of
the engine is imported: a fault of the one is not a fault of the other.

A case is a dict of the schema ``derive-golden/1``. The answer has the names of its
``oracle_run``.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

YEAR_S = 365 * 86400
MONTH_S = 30 * 86400


def num(text: Any) -> float:
    return float(text)


def exact(text: Any) -> Decimal:
    return Decimal(str(text))


def normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def option_value(kind: str, f: float, k: float, vol: float, t: float, df: float) -> float:
    """§1.1: Black-76, intrinsic at no deviation, the whole forward from a deviation of 24 on."""
    s = vol * math.sqrt(t)
    if s <= 0.0 or f <= 0.0:
        return df * max(0.0, f - k if kind == "call" else k - f)
    if s >= 24.0:
        return df * (f if kind == "call" else k)
    d1 = (math.log(f / k) + 0.5 * s * s) / s
    d2 = d1 - s
    if kind == "call":
        return max(0.0, df * (f * normal(d1) - k * normal(d2)))
    return max(0.0, df * (k * normal(-d2) - f * normal(-d1)))


class Expiry:
    """One expiry of one underlying: its feed and the options held in it."""

    def __init__(self, row: dict[str, Any], held: list[tuple[str, Decimal, float]]) -> None:
        self.name = row["seconds_to_expiry"]
        self.seconds = max(0, row["seconds_to_expiry"])
        self.t = self.seconds / YEAR_S
        self.fixed = num(row["forward_fixed"])
        self.variable = num(row["forward_variable"])
        self.rate = max(0.0, num(row["rate"]))
        self.confidences = {
            "forward": exact(row["forward_confidence"]),
            "rate": exact(row["rate_confidence"]),
            "vol": exact(row["vol_confidence"]),
        }
        self.vols = {exact(v["strike"]): num(v["vol"]) for v in row["vols"]}
        self.held = held

    @property
    def forward(self) -> float:
        return self.variable + self.fixed

    @property
    def gross(self) -> float:
        return math.fsum(abs(q) for _, _, q in self.held)

    def value(self, spot: float, df: float, vol_of: Any) -> float:
        """Value of what is held: spot moves the variable part alone (§1.2)."""
        f = self.variable * spot + self.fixed
        return math.fsum(
            q * option_value(kind, f, float(k), vol_of(k), self.t, df) for kind, k, q in self.held
        )

    def base_value(self, df: float) -> float:
        return self.value(1.0, df, lambda k: self.vols[k])

    def naked(self) -> float:
        """§2.5: shorts by strike, a call against a put of the same strike."""
        net: dict[Decimal, float] = {}
        for _, k, q in self.held:
            net[k] = net.get(k, 0.0) + q
        return math.fsum(max(0.0, -q) for q in net.values())


def expiries_of(case: dict[str, Any], underlying: str) -> list[Expiry]:
    out = []
    for row in case["market"]["underlyings"][underlying]["expiries"]:
        held: dict[tuple[str, Decimal], float] = {}
        for o in case["portfolio"]["options"]:
            if (o["underlying"], o["seconds_to_expiry"]) == (underlying, row["seconds_to_expiry"]):
                key = (o["type"], exact(o["strike"]))
                held[key] = held.get(key, 0.0) + num(o["amount"])
        out.append(Expiry(row, [(kind, k, q) for (kind, k), q in held.items() if q != 0.0]))
    return [e for e in out if e.held]


def perp_of(case: dict[str, Any], underlying: str) -> tuple[float, float]:
    """Quantity, and the money in it that is not yet paid."""
    rows = [p for p in case["portfolio"]["perps"] if p["underlying"] == underlying]
    return (
        math.fsum(num(p["amount"]) for p in rows),
        math.fsum(num(p["unrealised_pnl"]) + num(p["unsettled_funding"]) for p in rows),
    )


def penalty(confidence: Decimal, threshold: Any, factor: Any) -> float:
    """``(1 − conf)·factor`` under the threshold, strictly, at 18 decimals; else nothing."""
    if confidence < exact(threshold):
        return float((1 - confidence) * exact(factor))
    return 0.0


def vol_shocks(case: dict[str, Any], e: Expiry) -> tuple[float, float]:
    """§2.2: factors up and down; 30 days itself is short-term (§8.11)."""
    p = case["params"]["vol_shock"]
    power = p["short_term_power"] if e.seconds <= MONTH_S else p["long_term_power"]
    x = (MONTH_S / max(e.seconds, int(p["dte_floor_seconds"]))) ** num(power)
    return 1.0 + num(p["range_up"]) * x, max(0.0, 1.0 - num(p["range_down"]) * x)


def skewed(case: dict[str, Any], e: Expiry, kind: str, k: Decimal) -> float:
    """§2.3: the smile turned about the forward, linearly or on both sides."""
    p = case["params"]["skew_shock"]
    name = {"Linear": "linear", "Abs": "abs"}[kind]
    st = math.sqrt(e.t)
    cap = num(p[f"{name}_base_cap"]) + num(p[f"{name}_c_base"]) * st
    width = (
        num(p["width_scale"]) * st * (num(p["vol_param_static"]) + num(p["vol_param_scale"]) * st)
    )
    k_star = max(num(p["min_k_star"]), width)
    where = math.log(float(k) / e.forward)
    if kind == "Abs":
        where = abs(where)
    turn = where * cap / k_star
    # The document's clamp(turn, -cap, cap) leaves a negative cap open. Upstream cases 124, 126,
    # 128 and 130 and PMRMLib_2 (_getExpirySkewedShockedMTM) say: the bound is taken by side.
    turn = min(cap, turn) if where >= 0.0 else max(-cap, turn)
    return e.vols[k] * max(0.0, 1.0 + turn)


def shocked_vol(case: dict[str, Any], e: Expiry, kind: str, k: Decimal) -> float:
    vol = e.vols[k]
    up, down = vol_shocks(case, e)
    if kind == "Up":
        floor = num(case["params"]["vol_shock"].get("min_vol_up_shock", 0))
        return max(floor, vol * up)
    if kind == "Down":
        return vol * down
    if kind in ("Linear", "Abs"):
        return skewed(case, e, kind, k)
    return vol


def discounted(case: dict[str, Any], e: Expiry, value: float, df: float) -> float:
    """§2.2 and §3: the static discount by the sign of the netted, shocked value."""
    p = case["params"]["margin"]
    if case["model"] == "pm1":
        if value < 0.0:
            return value
        rate = e.rate * num(p["rate_mult_scale"]) + num(p["rate_add_scale"])
        return value * num(p["base_static_discount"]) * math.exp(-e.t * rate)
    if value >= 0.0:
        rate = e.rate * num(p["long_rate_mult_scale"]) + num(p["long_rate_add_scale"])
        return value * num(p["long_base_static_discount"]) * math.exp(-e.t * rate)
    rate = e.rate * num(p["short_rate_mult_scale"]) + num(p["short_rate_add_scale"])
    return value * min(1.0 / df, num(p["short_base_static_discount"]) * math.exp(e.t * rate))


class Portfolio:
    """What PM1 and PM2 share: one underlying, one perpetual, its expiries, collateral."""

    def __init__(self, case: dict[str, Any]) -> None:
        name = case["underlying"]
        feed = case["market"]["underlyings"][name]
        self.case = case
        self.spot = num(feed["spot"])
        self.spot_conf = exact(feed["spot_confidence"])
        self.perp_price = num(feed["perp_price"])
        self.stable = num(case["market"]["stable_price"])
        self.perp, self.perp_value = perp_of(case, name)
        self.core_conf = self.spot_conf
        if self.perp != 0.0:
            self.core_conf = min(self.core_conf, exact(feed["perp_confidence"]))
        self.expiries = expiries_of(case, name)
        self.collateral = list(self._collateral())
        self.mtm_ex_cash = math.fsum(
            [self.perp_value]
            + [e.base_value(self.df(e)) for e in self.expiries]
            + [value for _, value, _, _ in self.collateral]
        )
        self.mtm = self.mtm_ex_cash + num(case["portfolio"]["cash"])

    def df(self, e: Expiry) -> float:
        return math.exp(-e.rate * e.t) if self.case["model"] == "pm2" else 1.0

    def _collateral(self) -> Any:
        """Amount, value in USDC, whether it moves with spot, confidence."""
        prices = {c["asset"]: c for c in self.case["market"].get("collateral_prices", [])}
        for row in self.case["portfolio"]["base"]:
            q = num(row["amount"])
            if self.case["model"] == "pm1":
                yield row["asset"], q * self.spot / self.stable, True, self.spot_conf
                continue
            feed = prices[row["asset"]]
            rules = self.case["params"]["collateral"][row["asset"]]
            value = q * num(feed["price"]) / self.stable
            conf = min(exact(feed["confidence"]), self.spot_conf)
            yield row["asset"], value, rules["risk_cancelling"], conf

    def pnl(self, spot: float, vol: str, dampening: float) -> float:
        """§2.3: change against today's value, netted expiries discounted, then dampened."""
        parts = [dampening * self.perp * self.perp_price * (spot - 1.0)]
        for e in self.expiries:
            df = self.df(e)
            value = e.value(
                spot, df, {k: shocked_vol(self.case, e, vol, k) for k in e.vols}.__getitem__
            )
            change = dampening * (discounted(self.case, e, value, df) - e.base_value(df))
            parts.append(-abs(change) if vol in ("Linear", "Abs") else change)
        for _, value, moves, _ in self.collateral:
            if moves:
                parts.append(dampening * value * (spot - 1.0))
        return math.fsum(parts)

    def basis_shocks(self) -> tuple[float, float]:
        p = self.case["params"]["basis_contingency"]
        return num(p["spot_up"]), num(p["spot_down"])

    def basis(self) -> float:
        """§2.4: options alone, undiscounted, the worse of both moves in each expiry."""
        p = self.case["params"]["basis_contingency"]
        parts = []
        for e in self.expiries:
            df = self.df(e)
            now = e.base_value(df)
            moves = [e.value(h, df, e.vols.__getitem__) - now for h in self.basis_shocks()]
            scale = num(p["add_factor"]) + num(p["mult_factor"]) * e.t
            parts.append(min(*moves, 0.0) * scale)
        return math.fsum(parts)

    def depeg(self) -> float:
        p = self.case["params"]["other_contingency"]
        return max(0.0, num(p["peg_loss_threshold"]) - self.stable) * num(p["peg_loss_factor"])

    def confidence_cost(self, conf: Decimal, notional: float) -> float:
        p = self.case["params"]["other_contingency"]
        return notional * penalty(conf, p["conf_threshold"], p["conf_margin"])

    def expiry_conf(self, e: Expiry) -> Decimal:
        return min(self.core_conf, *e.confidences.values())

    def expiry_costs(self) -> float:
        return math.fsum(
            self.confidence_cost(self.expiry_conf(e), self.spot * e.gross) for e in self.expiries
        )

    def components(self) -> dict[str, Any]:
        """What both models record beside their contingencies."""
        rows = []
        for e in self.expiries:
            df, (up, down) = self.df(e), vol_shocks(self.case, e)
            moved = [e.value(h, df, e.vols.__getitem__) for h in self.basis_shocks()]
            row = {
                "seconds_to_expiry": e.name,
                "min_confidence": str(self.expiry_conf(e)),
                "gross_options": e.gross,
                "mtm": e.base_value(df),
                "basis_up_mtm": moved[0],
                "basis_down_mtm": moved[1],
                "vol_shock_up": up,
                "vol_shock_down": down,
            }
            if self.case["model"] == "pm1":
                row["static_discount"] = discounted(self.case, e, 1.0, df)
            else:
                row["discount"] = df
                row["static_discount_pos"] = discounted(self.case, e, 1.0, df)
                row["static_discount_neg"] = -discounted(self.case, e, -1.0, df)
            rows.append(row)
        return {
            "total_mtm_ex_cash": self.mtm_ex_cash,
            "min_confidence": str(self.core_conf),
            "expiries": rows,
        }

    def scenario_pnls(self) -> list[float]:
        return [
            self.pnl(num(s["spot"]), s["vol"], num(s.get("dampening", 1)))
            for s in self.case["params"]["scenarios"]
        ]

    def trusted_pnls(self) -> list[float]:
        """§2.6: basis up, basis down and no move, volatility as it is."""
        return [self.pnl(h, "None", 1.0) for h in (*self.basis_shocks(), 1.0)]


def pm2(case: dict[str, Any]) -> dict[str, Any]:
    """§2.5 and §2.6."""
    book = Portfolio(case)
    p, rules = case["params"]["other_contingency"], case["params"]["margin"]
    mm_cont = [abs(book.perp) * book.spot * num(p["mm_perp_percent"])]
    im_cont = [abs(book.perp) * book.spot * num(p["im_perp_percent"])]
    for e in book.expiries:
        mm_cont.append(e.naked() * book.spot * num(p["mm_option_percent"]))
        im_cont.append(e.naked() * book.spot * num(p["im_option_percent"]))
    for asset, value, _, conf in book.collateral:
        cut = case["params"]["collateral"][asset]
        mm_cont.append(value * num(cut["mm_haircut"]))
        im_cont.append(value * num(cut["im_haircut"]))
        im_cont.append(book.confidence_cost(conf, value))
    im_cont.append(book.confidence_cost(book.core_conf, abs(book.perp) * book.spot))
    im_cont.append(book.expiry_costs())
    basis, pnls = book.basis(), book.scenario_pnls()
    mm_c, im_c = math.fsum(mm_cont), math.fsum(im_cont)
    span = min([basis, *pnls])
    mm_factor = num(rules["mm_factor"])
    trusted = min([basis, *book.trusted_pnls()])
    return {
        "im": span * (num(rules["im_factor"]) + book.depeg()) - im_c - mm_c + book.mtm,
        "mm": span * mm_factor - mm_c + book.mtm,
        "mtm": book.mtm,
        "worst_scenario": [*pnls, basis].index(span),
        "scenarios": [
            {**s, "pnl": x} for s, x in zip(case["params"]["scenarios"], pnls, strict=True)
        ],
        "trusted_mm": trusted * mm_factor - mm_c + book.mtm,
        "components": {
            **book.components(),
            "collateral_values": [value for _, value, _, _ in book.collateral],
            "basis_contingency": basis,
            "mm_contingency": mm_c,
            "im_contingency": im_c,
        },
    }


def pm1(case: dict[str, Any]) -> dict[str, Any]:
    """§3: the static contingency scales with the IM factor, the confidence cost does not."""
    book = Portfolio(case)
    p, rules = case["params"]["other_contingency"], case["params"]["margin"]
    q_base = math.fsum(num(b["amount"]) for b in case["portfolio"]["base"])
    static = math.fsum(
        [
            book.spot * abs(book.perp) * num(p["perp_percent"]),
            book.spot * q_base * num(p["base_percent"]),
            *(e.naked() * book.spot * num(p["option_percent"]) for e in book.expiries),
        ]
    )
    cost = book.confidence_cost(book.core_conf, (abs(book.perp) + q_base) * book.spot)
    cost += book.expiry_costs()
    basis, pnls = book.basis(), book.scenario_pnls()
    span = min([basis, *pnls])
    trusted = min([basis, *book.trusted_pnls()])
    return {
        "im": (span - static) * (num(rules["im_factor"]) + book.depeg()) - cost + book.mtm,
        "mm": span - static + book.mtm,
        "mtm": book.mtm,
        "worst_scenario": [*pnls, basis].index(span),
        "scenarios": [
            {**s, "pnl": x} for s, x in zip(case["params"]["scenarios"], pnls, strict=True)
        ],
        "trusted_mm": trusted - static + book.mtm,
        "components": {
            **book.components(),
            "base_value": math.fsum(value for _, value, _, _ in book.collateral),
            "basis_contingency": basis,
            "static_contingency": static,
            "confidence_contingency": cost,
        },
    }


def isolated(e: Expiry, spot: float, rules: dict[str, Any], kind: str, k: Decimal, q: float) -> Any:
    """§4: IM, MM and value of one option by itself; a long one adds nothing to the margins."""
    strike = float(k)
    v = q * option_value(kind, e.forward, strike, e.vols[k], e.t, 1.0)
    if q >= 0.0:
        return 0.0, 0.0, v
    otm = max(0.0, (strike - spot) / spot if kind == "call" else (spot - strike) / spot)
    share = max(num(rules["min_spot_req"]), num(rules["max_spot_req"]) - otm)
    im = v + q * spot * share
    if kind == "call":
        return im, v + q * spot * num(rules["mm_call_spot_req"]), v
    mm = v + min(q * spot * num(rules["mm_put_spot_req"]), v * num(rules["mm_put_mtm_req"]))
    return min(im, mm * num(rules["mm_offset_scale"])), mm, v


def max_loss(e: Expiry, scale: float) -> float:
    """§4: worst payoff at 0 and at the strikes, and the calls that nothing pairs."""
    worst = 0.0
    for x in [0.0, *(float(k) for _, k, _ in e.held)]:
        payoff = math.fsum(
            q * max(0.0, x - float(k) if kind == "call" else float(k) - x) for kind, k, q in e.held
        )
        worst = min(worst, payoff)
    calls = math.fsum(q for kind, _, q in e.held if kind == "call")
    if calls < 0.0:
        worst += calls * e.forward * scale
    return worst


def srm(case: dict[str, Any]) -> dict[str, Any]:
    """§4: market after market, added up."""
    cash, stable = num(case["portfolio"]["cash"]), num(case["market"]["stable_price"])
    im, mm, mtm, lines = [cash], [cash], [cash], []
    peg = case["params"]["depeg"]
    off_peg = max(0.0, num(peg["threshold"]) - stable) * num(peg["factor"])
    for name, rules in case["params"]["markets"].items():
        feed = case["market"]["underlyings"][name]
        spot, spot_conf = num(feed["spot"]), exact(feed["spot_confidence"])
        oracle = rules["oracle_contingency"]
        perp, unpaid = perp_of(case, name)
        base = math.fsum(num(b["amount"]) for b in case["portfolio"]["base"] if b["asset"] == name)
        shorts = abs(perp)
        for level in (im, mm, mtm):
            level.append(unpaid)
        if perp != 0.0:
            price = num(feed["perp_price"])
            im.append(-abs(perp) * price * num(rules["perp"]["im_req"]))
            mm.append(-abs(perp) * price * num(rules["perp"]["mm_req"]))
            conf = min(spot_conf, exact(feed["perp_confidence"]))
            cost = penalty(conf, oracle["perp_threshold"], oracle["factor"])
            im.append(-abs(perp) * spot * cost)
        if base != 0.0:
            factor = num(rules["base"]["margin_factor"])
            mm.append(base * spot * factor)
            im.append(base * spot * factor * num(rules["base"]["im_scale"]))
            mtm.append(base * spot / stable)
            if factor != 0.0:
                cost = penalty(spot_conf, oracle["base_threshold"], oracle["factor"])
                im.append(-base * spot * cost)
        for e in expiries_of(case, name):
            rows = [isolated(e, spot, rules["option"], *held) for held in e.held]
            for (kind, k, q), (row_im, row_mm, value) in zip(e.held, rows, strict=True):
                lines.append((name, e.name, kind, k, q, row_im, row_mm, value))
            option = rules["option"]
            apart_im, apart_mm, value = (math.fsum(r[i] for r in rows) for i in range(3))
            im.append(max(apart_im, max_loss(e, num(option["unpaired_im_scale"]))))
            mm.append(max(apart_mm, max_loss(e, num(option["unpaired_mm_scale"]))))
            mtm.append(value)
            short = math.fsum(-q for _, _, q in e.held if q < 0.0)
            conf = min(spot_conf, e.confidences["forward"], e.confidences["vol"])
            im.append(-short * spot * penalty(conf, oracle["option_threshold"], oracle["factor"]))
            shorts += short
        im.append(-shorts * spot * off_peg)
    return {
        "im": math.fsum(im),
        "mm": math.fsum(mm),
        "mtm": math.fsum(mtm),
        "scenarios": [],
        "components": {
            "isolated_options": [
                {
                    "underlying": name,
                    "seconds_to_expiry": seconds,
                    "strike": str(k),
                    "type": kind,
                    "amount": q,
                    "isolated_im": row_im,
                    "isolated_mm": row_mm,
                    "mtm": value,
                }
                for name, seconds, kind, k, q, row_im, row_mm, value in lines
            ]
        },
    }


def run(case: dict[str, Any]) -> dict[str, Any]:
    """Figures of one case, by the names of ``oracle_run``."""
    return {"pm2": pm2, "pm1": pm1, "srm": srm}[case["model"]](case)


def as_text(figures: Any) -> Any:
    """Floats as strings that give them back, as the schema has them."""
    if isinstance(figures, dict):
        return {k: as_text(v) for k, v in figures.items()}
    if isinstance(figures, list):
        return [as_text(v) for v in figures]
    return repr(figures) if isinstance(figures, float) else figures
