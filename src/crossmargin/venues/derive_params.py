"""The parameters of a recorded Derive case, laid over the shipped rule-set of its model.

Bounds are those of the contracts' setters (derive-v2.md §2.7, PMRMLib_2.sol, PMRMLib.sol, commit
7736900d): what a setter refuses is refused here, with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crossmargin.errors import InputError
from crossmargin.margin import Ruleset, load_ruleset, ruleset_from_dict
from crossmargin.venues.derive_schema import CaseFile, Model, number, spot_asset

_DAY_S = 86_400.0


@dataclass(frozen=True)
class _Params:
    """Reader of nested parameters that names what is missing."""

    raw: dict[str, Any]
    path: str = "params"

    def part(self, name: str) -> _Params:
        value = self.raw.get(name)
        if not isinstance(value, dict):
            raise InputError(
                f"{self.path}.{name} is missing", code="INP-003", field=f"{self.path}.{name}"
            )
        return _Params(value, f"{self.path}.{name}")

    def number(self, name: str, low: float = 0.0, high: float = math.inf) -> float:
        if name not in self.raw:
            raise InputError(
                f"{self.path}.{name} is missing", code="INP-003", field=f"{self.path}.{name}"
            )
        value = number(self.raw[name], f"{self.path}.{name}")
        if not low <= value <= high:
            raise _refused(f"{self.path}.{name} is {value:g}, outside {low:g} to {high:g}")
        return value


def _refused(why: str) -> InputError:
    return InputError(f"the contracts refuse these parameters: {why}", code="INP-017")


_STATES = {"None": "same", "Up": "up", "Down": "down", "Linear": "skew", "Abs": "smile"}
_MOST_SCENARIOS = 40


def _blocks(raw: object, *, turned: bool) -> list[dict[str, Any]]:
    """Write the scenarios as blocks of one move and one volatility state each."""
    if not isinstance(raw, list) or not raw:
        raise InputError("params.scenarios is missing", code="INP-003", field="params.scenarios")
    if turned and len(raw) > _MOST_SCENARIOS:
        raise _refused(f"{len(raw)} scenarios, more than {_MOST_SCENARIOS}")
    blocks = []
    for row, entry in enumerate(raw):
        where = f"params.scenarios[{row}]"
        state = _STATES.get(str(entry.get("vol"))) if isinstance(entry, dict) else None
        if state is None:
            raise InputError(f"{where} is no scenario", code="INP-003", field=where)
        spot = number(entry.get("spot"), f"{where}.spot")
        if state in ("skew", "smile") and spot != 1.0:
            raise _refused(f"{where} turns the surface and moves the price to {spot:g}")
        if spot <= 0:
            raise _refused(f"{where} takes the price to {spot:g}")
        weight = number(entry.get("dampening", 1.0), f"{where}.dampening")
        if weight < 0:
            raise _refused(f"{where} has a dampening of {weight:g}")
        blocks.append({"moves": [spot - 1.0], "vols": [state], "weight": weight})
    for state in ("skew", "smile"):
        if sum(b["vols"] == [state] for b in blocks) > 1:
            raise _refused(f"more than one {state} scenario")
    return blocks


def case_rulesets(case: CaseFile) -> tuple[Ruleset, Ruleset | None]:
    """Lay a case's parameters over the rule-set of its model.

    Returns
    -------
    ruleset : Ruleset
        As the case says.
    trusted : Ruleset or None
        The same over the three scenarios of a trusted assessor, in portfolio models.

    Raises
    ------
    InputError
        ``INP-003`` a parameter is missing, ``INP-017`` the contracts refuse it.
    """
    build: dict[Model, Callable[[CaseFile], dict[str, Any]]] = {
        "pm2": _pm2,
        "pm1": _pm1,
        "srm": _srm,
    }
    raw = build[case.model](case)
    ruleset = ruleset_from_dict(raw, what=f"parameters of {case.name!r}")
    if case.model == "srm":
        return ruleset, None
    basis = _component(raw, "basis")
    raw["scenarios"]["blocks"] = [
        {"moves": [move], "vols": ["same"]} for move in (basis["up"], basis["down"], 0.0)
    ]
    return ruleset, ruleset_from_dict(raw, what=f"parameters of {case.name!r}")


def _template(ruleset_id: str) -> dict[str, Any]:
    return load_ruleset(ruleset_id).as_dict()


def _component(raw: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in raw["components"] if c["name"] == name)
    return found


def _manager(case: CaseFile) -> str:
    """Name the one underlying of a portfolio-margin account."""
    name = case.underlying or next(iter(case.market.underlyings), "")
    held = {p.underlying for p in case.portfolio.perps if number(p.amount, "amount")}
    held |= {o.underlying for o in case.portfolio.options}
    if name not in case.market.underlyings or held - {name}:
        raise InputError(
            f"a portfolio-margin account holds one underlying, {name!r}; found "
            f"{', '.join(repr(x) for x in sorted(held)) or 'no market for it'}",
            code="INP-003",
            field="underlying",
        )
    return name


def _vol_shocks(case: CaseFile, params: _Params) -> dict[str, Any]:
    shock = params.part("vol_shock")
    days_floor = shock.number("dte_floor_seconds", 0, 400 * _DAY_S) / _DAY_S
    # 30 days over the larger of floor and time left: the contracts stop at a division by 0.
    if days_floor == 0 and any(
        o.seconds_to_expiry <= 0 and number(o.amount, "amount") for o in case.portfolio.options
    ):
        raise _refused(f"{shock.path}.dte_floor_seconds is 0 while an expired option is held")
    return {
        "price_range": 0.5,
        "vol_up": shock.number("range_up", 0, 10),
        "vol_down": shock.number("range_down", 0, 10),
        "short_power": shock.number("short_term_power", 0, 10),
        "long_power": shock.number("long_term_power", 0, 10),
        "days_floor": days_floor,
    }


def _basis(raw: dict[str, Any], params: _Params, *, most: float, legal: bool = False) -> None:
    """Set the basis contingency; `legal` says whether `most` itself may be the upper move."""
    basis = params.part("basis_contingency")
    up, down = basis.number("spot_up"), basis.number("spot_down")
    if not (1 < up <= most and (legal or up < most) and 0 < down < 1):
        raise _refused(f"basis scenarios at {up:g} and {down:g}")
    _component(raw, "basis").update(
        up=up - 1.0,
        down=down - 1.0,
        add=basis.number("add_factor", 0, 20),
        per_year=basis.number("mult_factor", 0, 20),
    )


def _trust(raw: dict[str, Any], params: _Params, collateral: str, *, peg: float = 10.0) -> None:
    """Set threshold and factor of the confidence charges, and the peg, whose factor is bounded."""
    other = params.part("other_contingency")
    threshold = str(other.raw.get("conf_threshold", ""))
    other.number("conf_threshold", 0, 1)
    factor = other.number("conf_margin", 0, 20)
    for table in (
        _component(raw, "confidence")["perpetuals"],
        _component(raw, "confidence")["options"],
        _component(raw, collateral)["assets"],
    ):
        table["default"].update(threshold=threshold, factor=factor)
    _component(raw, "peg").update(
        threshold=other.number("peg_loss_threshold", 0, 100),
        factor=other.number("peg_loss_factor", 0, peg),
    )


def _tier(im: float, mm: float) -> dict[str, Any]:
    return {"default": [{"floor": 0.0, "im": im, "mm": mm}]}


def _pm2(case: CaseFile) -> dict[str, Any]:
    raw, params = _template("derive-pm2"), _Params(case.params)
    name = spot_asset(_manager(case))
    margin, other = params.part("margin"), params.part("other_contingency")
    skew = params.part("skew_shock")
    shocks = _vol_shocks(case, params)
    shocks["vol_floor_up"] = params.part("vol_shock").number("min_vol_up_shock", 0, 20)
    shocks["turn"] = {
        "skew_cap": skew.number("linear_base_cap", 0, 10),
        "skew_cap_tenor": skew.number("linear_c_base", -10, 10),
        "smile_cap": skew.number("abs_base_cap", 0, 10),
        "smile_cap_tenor": skew.number("abs_c_base", -10, 10),
        "k_star_min": skew.number("min_k_star", 0, 10),
        "k_star_width": skew.number("width_scale", 0, 10),
        "vol_static": skew.number("vol_param_static", 0, 10),
        "vol_scale": skew.number("vol_param_scale", -20, 20),
    }
    raw["scenarios"]["blocks"] = _blocks(case.params.get("scenarios"), turned=True)
    raw["scenarios"]["underlyings"] = {name: shocks}
    _component(raw, "scenarios")["static_discount"] = {
        side: {
            "base": margin.number(f"{side}_base_static_discount", 0, 4),
            "rate_mult": margin.number(f"{side}_rate_mult_scale", 0, 10),
            "rate_add": margin.number(f"{side}_rate_add_scale", 0, 10),
        }
        for side in ("long", "short")
    }
    raw["combine"]["constants"] = {
        "im_factor": margin.number("im_factor", 0.5, 10),
        "mm_factor": margin.number("mm_factor", 0.1, 10),
    }
    _basis(raw, params, most=3.0)
    _trust(raw, params, "collateral_confidence")
    _component(raw, "collateral_confidence")["spot_of"] = [name]
    perp, option = (
        (other.number(f"mm_{kind}_percent", 0, high), other.number(f"im_{kind}_percent", 0, high))
        for kind, high in (("perp", 3), ("option", 2))
    )
    _component(raw, "perpetuals")["tiers"] = _tier(perp[0] + perp[1], perp[0])
    _component(raw, "naked_shorts").update(im=option[0] + option[1], mm=option[0])
    _pm2_collateral(raw, case, params, name)
    return raw


def _pm2_collateral(raw: dict[str, Any], case: CaseFile, params: _Params, underlying: str) -> None:
    table = params.part("collateral")
    assets: dict[str, Any] = {}
    groups: dict[str, str] = {}
    for asset in table.raw:
        rule = table.part(asset)
        mm, extra = rule.number("mm_haircut", 0, 1), rule.number("im_haircut", 0, 1)
        if mm + extra > 1.0 + 1e-12:
            raise _refused(f"haircuts of {asset} add up to {mm + extra:g}")
        cancelling = rule.raw.get("risk_cancelling")
        if not isinstance(cancelling, bool):
            raise InputError(
                f"{rule.path}.risk_cancelling is neither true nor false",
                code="INP-003",
                field=f"{rule.path}.risk_cancelling",
            )
        assets[asset] = {
            "mm": {"kind": "flat", "factor": 1.0 - mm},
            "im": {"kind": "flat", "factor": max(0.0, 1.0 - mm - extra)},
            "stress": "both" if cancelling else "none",
        }
        if cancelling:
            groups[asset] = underlying
    raw["collateral"]["assets"] = assets
    raw["groups"] = groups


def _pm1(case: CaseFile) -> dict[str, Any]:
    raw, params = _template("derive-pm1"), _Params(case.params)
    underlying = _manager(case)
    name = spot_asset(underlying)
    margin, other = params.part("margin"), params.part("other_contingency")
    raw["scenarios"]["blocks"] = _blocks(case.params.get("scenarios"), turned=False)
    raw["scenarios"]["underlyings"] = {name: _vol_shocks(case, params)}
    _component(raw, "scenarios")["static_discount"] = {
        "long": {
            "base": margin.number("base_static_discount", 0, 4),
            "rate_mult": margin.number("rate_mult_scale", 0, 10),
            "rate_add": margin.number("rate_add_scale", 0, 10),
        }
    }
    raw["combine"]["constants"] = {"im_factor": margin.number("im_factor", 0, 10)}
    _basis(raw, params, most=3.0, legal=True)
    # PMRMLib.sol (commit b02a82dc) allows a peg factor of 20, PMRMLib_2_1.sol one of 10.
    _trust(raw, params, "base_confidence", peg=20.0)
    perp, base = other.number("perp_percent", 0, 10), other.number("base_percent", 0, 10)
    naked = other.number("option_percent", 0, 10)
    _component(raw, "perpetuals")["tiers"] = _tier(perp, perp)
    _component(raw, "base").update(im=base, mm=base)
    _component(raw, "naked_shorts").update(im=naked, mm=naked)
    raw["collateral"]["assets"] = {underlying: {"stress": "both"}}
    raw["groups"] = {underlying: name}
    return raw


def _srm(case: CaseFile) -> dict[str, Any]:
    raw, params = _template("derive-srm"), _Params(case.params)
    depeg, markets = params.part("depeg"), params.part("markets")
    _component(raw, "peg").update(
        threshold=depeg.number("threshold", 0, 100), factor=depeg.number("factor", 0, 100)
    )
    tiers: dict[str, Any] = {}
    factors: dict[str, Any] = {}
    trust: dict[str, dict[str, Any]] = {"perpetuals": {}, "options": {}, "assets": {}}
    assets: dict[str, Any] = {}
    for underlying in markets.raw:
        market = markets.part(underlying)
        name = spot_asset(underlying)
        if "perp" in market.raw:
            perp = market.part("perp")
            mm, im = perp.number("mm_req", 0, 10), perp.number("im_req", 0, 10)
            tiers[name] = [{"floor": 0.0, "im": im, "mm": mm}]
        if "option" in market.raw:
            factors[name] = _srm_options(market.part("option"))
        if "base" in market.raw:
            base = market.part("base")
            factor, scale = base.number("margin_factor", 0, 1), base.number("im_scale", 0, 1)
            assets[underlying] = {
                "mm": {"kind": "flat", "factor": factor},
                "im": {"kind": "flat", "factor": factor * scale},
                "price": "par",
            }
        _srm_trust(market, name, underlying, trust)
    _component(raw, "perpetuals")["tiers"] = tiers
    _component(raw, "options")["factors"] = factors
    _component(raw, "confidence").update(perpetuals=trust["perpetuals"], options=trust["options"])
    _component(raw, "collateral_confidence")["assets"] = trust["assets"]
    raw["collateral"]["assets"] = assets
    return raw


def _srm_options(option: _Params) -> dict[str, float]:
    return {
        ours: option.number(theirs, 0, 10)
        for ours, theirs in (
            ("max_spot", "max_spot_req"),
            ("min_spot", "min_spot_req"),
            ("mm_call", "mm_call_spot_req"),
            ("mm_put", "mm_put_spot_req"),
            ("mm_put_mark", "mm_put_mtm_req"),
            ("unpaired_im", "unpaired_im_scale"),
            ("unpaired_mm", "unpaired_mm_scale"),
            ("mm_offset", "mm_offset_scale"),
        )
    }


def _srm_trust(
    market: _Params, name: str, underlying: str, trust: dict[str, dict[str, Any]]
) -> None:
    if "oracle_contingency" not in market.raw:
        return
    feeds = market.part("oracle_contingency")
    factor = feeds.number("factor", 0, 20)
    # Collateral that counts nothing is not charged for doubt about its price either.
    counts = "base" in market.raw and market.part("base").number("margin_factor", 0, 1) > 0
    for table, key, threshold, counted, sides, cost in (
        ("perpetuals", name, "perp_threshold", ["spot", "perpetual"], "gross", factor),
        ("options", name, "option_threshold", ["spot", "forward", "vol"], "short", factor),
        ("assets", underlying, "base_threshold", ["spot"], "gross", factor if counts else 0.0),
    ):
        feeds.number(threshold, 0, 1)
        trust[table][key] = {
            "threshold": str(feeds.raw[threshold]),
            "factor": cost,
            "feeds": counted,
            "sides": sides,
        }
