"""Random cases of the schema ``derive-golden/1``: legal, and as far from the usual as that allows.

Bounds are those of reference/derive-v2.md §2.7 (setter bounds) and, for PM1 and SRM, which the
document gives no bounds for, wide ones of our own.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

DAY_S = 86_400
MONTH_S = 30 * DAY_S
ONE_UNIT = Decimal("1e-18")

#: Name: (usual figure, low, high); both ends are legal.
VOL_SHOCK = {
    "range_up": ("0.5", 0, 10),
    "range_down": ("0.275", 0, 10),
    "short_term_power": ("0.3", 0, 10),
    "long_term_power": ("0.13", 0, 10),
    "min_vol_up_shock": ("0.45", 0, 20),
}
PM2_MARGIN = {
    "im_factor": ("1", 0.5, 10),
    "mm_factor": ("0.8", 0.1, 10),
    "short_rate_mult_scale": ("0.5", 0, 10),
    "long_rate_mult_scale": ("1", 0, 10),
    "short_rate_add_scale": ("0.08", 0, 10),
    "long_rate_add_scale": ("0.08", 0, 10),
    "short_base_static_discount": ("1.04", 0, 4),
    "long_base_static_discount": ("0.95", 0, 4),
}
PM2_OTHER = {
    "peg_loss_threshold": ("0.98", 0, 100),
    "peg_loss_factor": ("2", 0, 10),
    "conf_threshold": ("0.55", 0, 1),
    "conf_margin": ("1", 0, 20),
    "mm_perp_percent": ("0.015", 0, 3),
    "im_perp_percent": ("0.005", 0, 3),
    "mm_option_percent": ("0.003", 0, 2),
    "im_option_percent": ("0.002", 0, 2),
}
SKEW = {
    "linear_base_cap": ("0.15", 0, 10),
    "abs_base_cap": ("0.15", 0, 10),
    "linear_c_base": ("-0.05", -10, 10),
    "abs_c_base": ("-0.05", -10, 10),
    "min_k_star": ("0.01", 1e-6, 10),
    "width_scale": ("4", 0, 10),
    "vol_param_static": ("0.6", 0, 10),
    "vol_param_scale": ("-0.1", -20, 20),
}
BASIS = {
    "spot_up": ("1.045", 1.0001, 2.9999),
    "spot_down": ("0.955", 0.0001, 0.9999),
    "add_factor": ("0.5", 0, 20),
    "mult_factor": ("2", 0, 20),
}
PM1_MARGIN = {
    "im_factor": ("1.25", 1, 4),
    "base_static_discount": ("0.95", 0, 1),
    "rate_mult_scale": ("1", 0, 5),
    "rate_add_scale": ("0.12", 0, 5),
}
PM1_OTHER = {
    "peg_loss_threshold": ("0.99", 0, 1),
    "peg_loss_factor": ("4", 0, 20),
    "conf_threshold": ("0.55", 0, 1),
    "conf_margin": ("1", 0, 1.5),
    "base_percent": ("0.03", 0, 1),
    "perp_percent": ("0.03", 0, 1),
    "option_percent": ("0.02", 0, 1),
}
SRM_PERP = {"mm_req": ("0.065", 0.001, 0.999), "im_req": ("0.1", 0.999, 0.9999)}
SRM_BASE = {"margin_factor": ("0.8", 0, 1), "im_scale": ("0.9375", 0, 1)}
SRM_OPTION = {
    "max_spot_req": ("0.15", 0, 1.2),
    "min_spot_req": ("0.13", 0, 1.2),
    "mm_call_spot_req": ("0.09", 0, 1),
    "mm_put_spot_req": ("0.09", 0, 1),
    "mm_put_mtm_req": ("0.09", 0, 1),
    "unpaired_im_scale": ("1.2", 1, 3),
    "unpaired_mm_scale": ("1.1", 1, 3),
    "mm_offset_scale": ("1.05", 1, 3),
}
SRM_ORACLE = {
    "perp_threshold": ("0.55", 0, 1),
    "option_threshold": ("0.55", 0, 1),
    "base_threshold": ("0.55", 0, 1),
    "factor": ("1", 0, 1),
}
SRM_DEPEG = {"threshold": ("0.99", 0, 1), "factor": ("2", 0, 3)}


def text(x: float | Decimal) -> str:
    return format(Decimal(repr(x)) if isinstance(x, float) else x, "f")


class Draw:
    """One random case; everything comes from the generator passed in."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        # How often a parameter leaves its usual figure; a third of the cases keep them all.
        self.wild = float(rng.choice([0.0, 0.2, 0.9]))
        self.size = float(10.0 ** rng.choice([-9, -2, 0, 0, 0, 3, 8]))

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, options: list[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def log(self, low: float, high: float) -> float:
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def params(self, table: dict[str, tuple[str, float, float]]) -> dict[str, str]:
        out = {}
        for name, (usual, low, high) in table.items():
            if not self.chance(self.wild):
                out[name] = usual
            else:
                middle = float(np.round(self.rng.uniform(low, high), 6))
                near = float(np.clip(float(usual) * self.log(0.3, 3), low, high))
                out[name] = text(float(self.pick([low, high, middle, near, near])))
        return out

    def confidence(self, threshold: str) -> str:
        """Around the threshold to the last digit, or anywhere."""
        at = Decimal(threshold)
        options = [at, at - ONE_UNIT, at + ONE_UNIT, Decimal(0), Decimal(1)]
        options.append(Decimal(int(self.rng.integers(10**18))) * ONE_UNIT)
        options += [Decimal(1)] * 6
        return text(min(max(self.pick(options), Decimal(0)), Decimal(1)))

    def amount(self, *, signed: bool = True) -> str:
        if self.chance(0.07):
            return "0"
        x = Decimal(repr(float(self.size * self.log(0.01, 100))))
        x = x.quantize(Decimal("1e-18"))
        return text(-x if signed and self.chance(0.55) else x)

    def vol(self) -> str:
        return text(self.pick([self.log(0.2, 1.5), self.log(0.2, 1.5), self.log(0.01, 2000)]))

    def seconds(self, count: int) -> list[int]:
        usual = [int(self.log(600, 400 * DAY_S)) for _ in range(count)]
        special = [
            -5, -DAY_S, 0, 1, 60, 1799, 1800, 1801, 900, 863, DAY_S, DAY_S - 1,
            MONTH_S - 1, MONTH_S, MONTH_S + 1, 400 * DAY_S,
        ]  # fmt: skip
        every = usual + [int(s) for s in self.rng.choice(special, size=count, replace=False)]
        found = dict.fromkeys(int(s) for s in self.rng.permutation(np.array(every, dtype=int)))
        return list(found)[:count]

    def expiry(self, seconds: int, spot: float, threshold: str) -> dict[str, Any]:
        forward = spot * self.log(0.9, 1.1)
        left = min(1.0, max(0.0, seconds / 1800))
        fixed = 0.0 if left == 1.0 else spot * self.log(0.97, 1.03) * (1.0 - left)
        strikes = {text(round(spot * self.log(0.3, 3), int(self.pick([0, 2, 6])) + 3))
                   for _ in range(int(self.rng.integers(1, 5)))}  # fmt: skip
        if self.chance(0.2):
            strikes.add(text(forward))
        return {
            "seconds_to_expiry": seconds,
            "forward_fixed": text(fixed),
            "forward_variable": text(forward * left),
            "forward_confidence": self.confidence(threshold),
            "rate": text(self.pick([0.05, 0.0, -1.2, -0.03, 0.3, 2.0])),
            "rate_confidence": self.confidence(threshold),
            "vol_confidence": self.confidence(threshold),
            "svi": None,
            "vols": [{"strike": k, "vol": self.vol()} for k in sorted(strikes)],
        }

    def underlying(self, thresholds: list[str], expiries: int) -> dict[str, Any]:
        spot = round(self.pick([self.log(1000, 100000), self.log(0.01, 10)]), 8)
        seconds = self.seconds(expiries)
        return {
            "spot": text(spot),
            "spot_confidence": self.confidence(self.pick(thresholds)),
            "perp_price": text(spot * self.log(0.95, 1.05)),
            "perp_confidence": self.confidence(self.pick(thresholds)),
            "expiries": [self.expiry(s, spot, self.pick(thresholds)) for s in seconds],
        }

    def options(self, name: str, feed: dict[str, Any]) -> list[dict[str, Any]]:
        rows = []
        for e in feed["expiries"]:
            for vol in e["vols"]:
                for kind in ("call", "put"):
                    if self.chance(0.6):
                        rows.append(
                            {
                                "underlying": name,
                                "seconds_to_expiry": e["seconds_to_expiry"],
                                "strike": vol["strike"],
                                "type": kind,
                                "amount": self.amount(),
                            }
                        )
        return rows

    def perp(self, name: str) -> dict[str, Any]:
        amount = self.amount()
        paid = 0.0 if amount == "0" else self.size
        return {
            "underlying": name,
            "amount": amount,
            "unrealised_pnl": text(paid * float(self.rng.normal()) * 100),
            "unsettled_funding": text(paid * float(self.rng.normal())),
        }

    def cash(self) -> str:
        return text(self.pick([0.0, 1000.0, self.size * 5e4, -self.size * 5e4, -1e-6]))

    def stable(self) -> str:
        return self.pick(["1", "1", "0.98", "0.979999999999999999", "1.02", "0.9", "0.5"])

    def blocks(self, *, tails: bool) -> list[dict[str, str]]:
        moves = ["1.18", "1.09", "1", "0.955", "0.865", "1.045", "0.82", "1.0001", "0.0001"]
        rows = []
        for _ in range(int(self.rng.integers(1, 12))):
            row = {"spot": self.pick(moves), "vol": self.pick(["Up", "None", "Down"])}
            rows.append({**row, "dampening": "1"} if tails else row)
        if tails:
            rows += [
                {"spot": spot, "vol": "Up", "dampening": d}
                for spot, d in [("6", "0.012"), ("0.34", "0.0545"), ("3", "0"), ("1.5", "2.5")]
                if self.chance(0.5)
            ]
            rows += [
                {"spot": "1", "vol": kind, "dampening": self.pick(["1", "0.3"])}
                for kind in ("Linear", "Abs")
                if self.chance(0.7)
            ]
        return [rows[i] for i in self.rng.permutation(len(rows))]

    def vol_shock(self) -> dict[str, str]:
        floor = self.pick([DAY_S, DAY_S, 864, 400 * DAY_S]) if self.chance(self.wild) else DAY_S
        return {**self.params(VOL_SHOCK), "dte_floor_seconds": str(floor)}


def case_pm2(draw: Draw, name: str) -> dict[str, Any]:
    other = draw.params(PM2_OTHER)
    threshold = other["conf_threshold"]
    feed = draw.underlying([threshold], int(draw.rng.integers(0, 7)))
    kinds = [k for k in ("ETH", "WEETH", "USDT", "BTC") if draw.chance(0.4)]
    spot = float(feed["spot"])
    prices = [
        {
            "asset": k,
            "price": text(draw.log(0.9, 1.1) * (spot if k == "ETH" else draw.log(0.5, 1e5))),
            "confidence": draw.confidence(threshold),
        }
        for k in kinds
    ]
    rules = {}
    for k in kinds:
        mm = draw.pick(["0", "1", "0.15", "0.02"])
        rules[k] = {
            "risk_cancelling": draw.chance(0.5),
            "mm_haircut": mm,
            "im_haircut": text(draw.pick([Decimal(0), 1 - Decimal(mm), (1 - Decimal(mm)) / 8])),
        }
    held = kinds[:]
    return {
        "name": name,
        "model": "pm2",
        "underlying": "ETH",
        "market": {
            "stable_price": draw.stable(),
            "underlyings": {"ETH": feed},
            "collateral_prices": prices,
        },
        "portfolio": {
            "cash": draw.cash(),
            "perps": [draw.perp("ETH")] if draw.chance(0.6) else [],
            "options": draw.options("ETH", feed) if draw.chance(0.85) else [],
            "base": [{"asset": k, "amount": draw.amount(signed=False)} for k in held],
        },
        "params": {
            "scenarios": draw.blocks(tails=True),
            "vol_shock": draw.vol_shock(),
            "margin": draw.params(PM2_MARGIN),
            "basis_contingency": draw.params(BASIS),
            "other_contingency": other,
            "skew_shock": draw.params(SKEW),
            "collateral": rules,
        },
    }


def case_pm1(draw: Draw, name: str) -> dict[str, Any]:
    other = draw.params(PM1_OTHER)
    feed = draw.underlying([other["conf_threshold"]], int(draw.rng.integers(0, 7)))
    shock = draw.vol_shock()
    shock.pop("min_vol_up_shock")
    held = draw.chance(0.5)
    return {
        "name": name,
        "model": "pm1",
        "underlying": "BTC",
        "market": {
            "stable_price": draw.stable(),
            "underlyings": {"BTC": feed},
            "collateral_prices": [],
        },
        "portfolio": {
            "cash": draw.cash(),
            "perps": [draw.perp("BTC")] if draw.chance(0.6) else [],
            "options": draw.options("BTC", feed) if draw.chance(0.85) else [],
            "base": [{"asset": "BTC", "amount": draw.amount(signed=False)}] if held else [],
        },
        "params": {
            "vol_shock": shock,
            "margin": draw.params(PM1_MARGIN),
            "basis_contingency": draw.params(BASIS),
            "other_contingency": other,
            "scenarios": draw.blocks(tails=False),
        },
    }


def case_srm(draw: Draw, name: str) -> dict[str, Any]:
    names = [n for n in ("ETH", "BTC", "SOL") if draw.chance(0.75)] or ["ETH"]
    markets, feeds = {}, {}
    perps: list[Any] = []
    options: list[Any] = []
    base: list[Any] = []
    for n in names:
        markets[n] = {
            "perp": draw.params(SRM_PERP),
            "base": draw.params(SRM_BASE),
            "option": draw.params(SRM_OPTION),
            "oracle_contingency": draw.params(SRM_ORACLE),
        }
        thresholds = [v for k, v in markets[n]["oracle_contingency"].items() if k != "factor"]
        feeds[n] = draw.underlying(thresholds, int(draw.rng.integers(0, 5)))
        perps += [draw.perp(n)] if draw.chance(0.5) else []
        options += draw.options(n, feeds[n]) if draw.chance(0.8) else []
        base += [{"asset": n, "amount": draw.amount(signed=False)}] if draw.chance(0.5) else []
    return {
        "name": name,
        "model": "srm",
        "underlying": None,
        "market": {
            "stable_price": draw.stable(),
            "underlyings": feeds,
            "collateral_prices": [],
        },
        "portfolio": {"cash": draw.cash(), "perps": perps, "options": options, "base": base},
        "params": {"depeg": draw.params(SRM_DEPEG), "markets": markets},
    }


MAKERS = {"pm2": case_pm2, "pm1": case_pm1, "srm": case_srm}


def random_case(model: str, seed: int) -> dict[str, Any]:
    """One case; the same model and seed give the same case."""
    draw = Draw(np.random.default_rng([sorted(MAKERS).index(model), seed]))
    return MAKERS[model](draw, f"{model} {seed}")
