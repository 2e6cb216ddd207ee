"""Recorded margin cases of Derive: portfolio, market, parameters and the venue's own figures.

The schema ``derive-golden/1`` states every number as a decimal string. A case brings its own
parameters; they are laid over the shipped rule-set of its model, so that any parameter set can
be tried. Which figures are compared is up to :mod:`crossmargin.analytics.reconcile`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    Book,
    PositionEntry,
    book_from_accounts,
)
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.instruments import Option, Perpetual, Registry
from crossmargin.margin import Ruleset, load_ruleset, ruleset_from_dict
from crossmargin.market import (
    AssetPrice,
    Forward,
    InstrumentQuote,
    Snapshot,
    exact_confidence,
)
from crossmargin.units import NS_PER_SECOND

DERIVE_SCHEMA = "derive-golden/1"
#: Cases state seconds to expiry; the moment they are counted from does not matter.
_NOW_NS = 1_767_225_600 * NS_PER_SECOND
_DAY_S = 86_400.0

Number = float | str
Model = Literal["pm2", "pm1", "srm"]


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """Part of a case; what it does not name (a remark, a surface's parameters) is left alone."""


class Vol(_Part, frozen=True, kw_only=True):
    """Volatility of one strike, per year."""

    strike: Number
    vol: Number


class Expiry(_Part, frozen=True, kw_only=True):
    """One expiry: forward in two portions, rate, volatilities, and how far each is trusted."""

    seconds_to_expiry: int
    forward_fixed: Number
    forward_variable: Number
    forward_confidence: Number = 1.0
    rate: Number = 0.0
    rate_confidence: Number = 1.0
    vol_confidence: Number = 1.0
    vols: list[Vol] = []


class Underlying(_Part, frozen=True, kw_only=True):
    """Feeds of one underlying; a perpetual's price of 0 means that there is none."""

    spot: Number
    spot_confidence: Number = 1.0
    perp_price: Number = 0.0
    perp_confidence: Number = 1.0
    expiries: list[Expiry] = []


class CollateralPrice(_Part, frozen=True, kw_only=True):
    """Feed of one collateral asset, US dollars."""

    asset: str
    price: Number
    confidence: Number = 1.0


class CaseMarket(_Part, frozen=True, kw_only=True):
    """Market of a case."""

    stable_price: Number
    underlyings: dict[str, Underlying]
    collateral_prices: list[CollateralPrice] = []


class CasePerp(_Part, frozen=True, kw_only=True):
    """Perpetual: profit and funding not yet paid into cash are stated."""

    underlying: str
    amount: Number
    unrealised_pnl: Number = 0.0
    unsettled_funding: Number = 0.0


class CaseOption(_Part, frozen=True, kw_only=True):
    """Option."""

    underlying: str
    seconds_to_expiry: int
    strike: Number
    type: Literal["call", "put"]
    amount: Number


class CaseBase(_Part, frozen=True, kw_only=True):
    """Collateral other than cash."""

    asset: str
    amount: Number


class CasePortfolio(_Part, frozen=True, kw_only=True):
    """What an account holds."""

    cash: Number
    perps: list[CasePerp] = []
    options: list[CaseOption] = []
    base: list[CaseBase] = []


class CaseFile(_Part, frozen=True, kw_only=True):
    """One case."""

    name: str
    model: Model
    market: CaseMarket
    portfolio: CasePortfolio
    params: dict[str, Any]
    underlying: str | None = None
    expected: dict[str, Any] | None = None
    oracle_run: dict[str, Any] | None = None
    tolerance: str = ""


@dataclass(frozen=True, slots=True)
class DeriveCase:
    """A case made ready for the engine.

    Attributes
    ----------
    name, model
        As in the file.
    book, snapshot, ruleset
        What the engine takes.
    trusted : Ruleset or None
        The rule-set over the three scenarios of a trusted assessor, in portfolio models.
    underlying : str or None
        Asset that stands for the manager's spot feed.
    collaterals : list of str
        Assets of the portfolio's base rows, in the file's order.
    cash : float
        As stated, without profit of perpetuals.
    """

    name: str
    model: Model
    book: Book
    snapshot: Snapshot
    ruleset: Ruleset
    trusted: Ruleset | None
    underlying: str | None
    collaterals: list[str] = field(default_factory=list)
    cash: float = 0.0


def _number(value: object, where: str) -> float:
    """Read a decimal string or number, refusing what is no finite number."""
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
    except ValueError:
        raise InputError(
            f"{where} is {value!r}, not a number", code="INP-004", field=where
        ) from None
    return number


def spot_asset(underlying: str) -> str:
    """Name the asset that stands for an underlying's own feed.

    A collateral of the same name has a feed of its own, and its price may differ.
    """
    return f"{underlying}INDEX"


def prepare_case(case: CaseFile) -> DeriveCase:
    """Turn a case into book, market and rule-set.

    Raises
    ------
    InputError, RulesetError
        For parameters that the contracts refuse, and for what cannot be read.
    """
    try:
        ruleset, trusted = _ruleset(case)
        registry, quotes = _instruments(case)
        snapshot = _snapshot(case, quotes)
        account = _account(case)
        book = book_from_accounts([account], registry)
        for name in case.market.underlyings:
            registry.asset(spot_asset(name))
        registry.asset("USDC")
    except CrossmarginError as error:
        raise error.located(account=case.name) from None
    return DeriveCase(
        name=case.name,
        model=case.model,
        book=book,
        snapshot=snapshot,
        ruleset=ruleset,
        trusted=trusted,
        underlying=None if case.underlying is None else spot_asset(case.underlying),
        collaterals=[b.asset for b in case.portfolio.base],
        cash=_number(case.portfolio.cash, "portfolio.cash"),
    )


# ---- market and portfolio ---------------------------------------------------------------


def _expiry_ns(seconds: int) -> int:
    return _NOW_NS + seconds * NS_PER_SECOND


def option_id(underlying: str, seconds: int, strike: float, kind: str) -> str:
    """Name an option of a case."""
    return f"{underlying}-{seconds}S-{strike!r}-{kind}"


def _instruments(case: CaseFile) -> tuple[Registry, dict[str, InstrumentQuote]]:
    registry = Registry()
    quotes: dict[str, InstrumentQuote] = {}
    vols = _volatilities(case)
    for row, option in enumerate(case.portfolio.options):
        where = f"portfolio.options[{row}]"
        strike = _number(option.strike, f"{where}.strike")
        key = (option.underlying, option.seconds_to_expiry)
        known = vols.get(key)
        name = option_id(option.underlying, option.seconds_to_expiry, strike, option.type)
        if known is None:
            raise InputError(
                f"the market has no expiry in {option.seconds_to_expiry} s for {option.underlying}",
                code="MKT-004",
                instrument=name,
                field=where,
                hint="add the expiry to market.underlyings",
            )
        if strike not in known and option.seconds_to_expiry > 0:
            raise InputError(
                f"the market has no volatility for the strike {strike:g}",
                code="MKT-005",
                instrument=name,
                field=f"{where}.strike",
                hint="add the strike to the expiry's vols",
            )
        registry.add(
            Option(
                id=name,
                underlying=spot_asset(option.underlying),
                quote="USD",
                settlement="USDC",
                expiry_ns=_expiry_ns(option.seconds_to_expiry),
                strike=strike,
                option_type=option.type,
            )
        )
        if strike in known:
            quotes[name] = InstrumentQuote(vol=known[strike], time_ns=_NOW_NS)
    for row, perp in enumerate(case.portfolio.perps):
        if _number(perp.amount, f"portfolio.perps[{row}].amount") == 0:
            continue
        quotes[_add_perpetual(registry, case, perp.underlying)] = _perpetual_quote(
            case, perp.underlying, row
        )
    return registry, quotes


def _add_perpetual(registry: Registry, case: CaseFile, underlying: str) -> str:
    name = f"{underlying}-PERP"
    registry.add(
        Perpetual(id=name, underlying=spot_asset(underlying), quote="USD", settlement="USDC")
    )
    return name


def _perpetual_quote(case: CaseFile, underlying: str, row: int) -> InstrumentQuote:
    feed = case.market.underlyings.get(underlying)
    price = 0.0 if feed is None else _number(feed.perp_price, f"market.{underlying}.perp_price")
    if feed is None or price <= 0:
        raise InputError(
            f"the market has no price for the perpetual of {underlying}",
            code="MKT-003",
            instrument=f"{underlying}-PERP",
            field=f"portfolio.perps[{row}]",
            hint="add perp_price to the underlying's market",
        )
    where = f"market.underlyings.{underlying}.perp_confidence"
    return InstrumentQuote(
        price_mark=price,
        time_ns=_NOW_NS,
        confidence=exact_confidence(feed.perp_confidence, where),
    )


def _volatilities(case: CaseFile) -> dict[tuple[str, int], dict[float, float]]:
    found: dict[tuple[str, int], dict[float, float]] = {}
    for name, feed in case.market.underlyings.items():
        for row, expiry in enumerate(feed.expiries):
            where = f"market.underlyings.{name}.expiries[{row}]"
            key = (name, expiry.seconds_to_expiry)
            if key in found:
                raise InputError(f"{where} appears twice", code="INP-007", field=where)
            found[key] = {}
            for place, vol in enumerate(expiry.vols):
                at = f"{where}.vols[{place}]"
                figure = _number(vol.vol, f"{at}.vol")
                if figure < 0:
                    raise InputError(
                        f"the volatility {figure:g} is below 0", code="MKT-009", field=f"{at}.vol"
                    )
                found[key][_number(vol.strike, f"{at}.strike")] = figure
    return found


def _price(value: object, where: str) -> float:
    price = _number(value, where)
    if price <= 0:
        raise InputError(f"{where} is {price:g}, not a positive price", code="MKT-009", field=where)
    return price


def _snapshot(case: CaseFile, quotes: dict[str, InstrumentQuote]) -> Snapshot:
    market = case.market
    stable = _price(market.stable_price, "market.stable_price")
    assets = {"USDC": AssetPrice(price_usd=stable, time_ns=_NOW_NS)}
    forwards: dict[tuple[str, int], Forward] = {}
    for name, feed in market.underlyings.items():
        where = f"market.underlyings.{name}"
        quote = AssetPrice(
            price_usd=_price(feed.spot, f"{where}.spot"),
            time_ns=_NOW_NS,
            confidence=exact_confidence(feed.spot_confidence, f"{where}.spot_confidence"),
        )
        assets[spot_asset(name)] = quote
        # Without a feed of its own the coin is worth its spot.
        assets[name] = quote
        for row, expiry in enumerate(feed.expiries):
            forwards[spot_asset(name), _expiry_ns(expiry.seconds_to_expiry)] = _forward(
                expiry, f"{where}.expiries[{row}]"
            )
    for row, item in enumerate(market.collateral_prices):
        where = f"market.collateral_prices[{row}]"
        assets[item.asset] = AssetPrice(
            price_usd=_price(item.price, f"{where}.price"),
            time_ns=_NOW_NS,
            confidence=exact_confidence(item.confidence, f"{where}.confidence"),
        )
    return Snapshot(
        as_of_ns=_NOW_NS, assets=assets, forwards=forwards, quotes=quotes, source=DERIVE_SCHEMA
    )


def _forward(expiry: Expiry, where: str) -> Forward:
    fixed = _number(expiry.forward_fixed, f"{where}.forward_fixed")
    variable = _number(expiry.forward_variable, f"{where}.forward_variable")
    if min(fixed, variable) < 0 or fixed + variable <= 0:
        raise InputError(
            f"{where} has no positive forward ({fixed:g} + {variable:g})",
            code="MKT-009",
            field=where,
        )
    return Forward(
        price_usd=fixed + variable,
        parts_usd=(fixed, variable),
        rate=_number(expiry.rate, f"{where}.rate"),
        time_ns=_NOW_NS,
        confidence=exact_confidence(expiry.forward_confidence, f"{where}.forward_confidence"),
        rate_confidence=exact_confidence(expiry.rate_confidence, f"{where}.rate_confidence"),
        vol_confidence=exact_confidence(expiry.vol_confidence, f"{where}.vol_confidence"),
    )


def _account(case: CaseFile) -> AccountFile:
    """Write the portfolio as an account: perpetuals stand at the mark, their profit in cash."""
    held = case.portfolio
    cash = _number(held.cash, "portfolio.cash")
    positions = []
    for row, perp in enumerate(held.perps):
        where = f"portfolio.perps[{row}]"
        cash += _number(perp.unrealised_pnl, f"{where}.unrealised_pnl")
        cash += _number(perp.unsettled_funding, f"{where}.unsettled_funding")
        amount = _number(perp.amount, f"{where}.amount")
        if amount:
            name = f"{perp.underlying}-PERP"
            positions.append(PositionEntry(instrument=name, quantity=amount, entry_price="mark"))
    for row, option in enumerate(held.options):
        where = f"portfolio.options[{row}]"
        amount = _number(option.amount, f"{where}.amount")
        strike = _number(option.strike, f"{where}.strike")
        if amount:
            name = option_id(option.underlying, option.seconds_to_expiry, strike, option.type)
            positions.append(PositionEntry(instrument=name, quantity=amount))
    balances = [BalanceEntry(asset="USDC", amount=cash)]
    for row, base in enumerate(held.base):
        amount = _number(base.amount, f"portfolio.base[{row}].amount")
        if amount < 0:
            raise InputError(
                f"{base.asset} is owed; collateral is at least 0",
                code="INP-006",
                field=f"portfolio.base[{row}].amount",
            )
        balances.append(BalanceEntry(asset=base.asset, amount=amount))
    return AccountFile(
        format="crossmargin-account/1", account=case.name, balances=balances, positions=positions
    )


# ---- parameters -------------------------------------------------------------------------


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
        value = _number(self.raw[name], f"{self.path}.{name}")
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
        spot = _number(entry.get("spot"), f"{where}.spot")
        if state in ("skew", "smile") and spot != 1.0:
            raise _refused(f"{where} turns the surface and moves the price to {spot:g}")
        if spot <= 0:
            raise _refused(f"{where} takes the price to {spot:g}")
        weight = _number(entry.get("dampening", 1.0), f"{where}.dampening")
        if weight < 0:
            raise _refused(f"{where} has a dampening of {weight:g}")
        blocks.append({"moves": [spot - 1.0], "vols": [state], "weight": weight})
    for state in ("skew", "smile"):
        if sum(b["vols"] == [state] for b in blocks) > 1:
            raise _refused(f"more than one {state} scenario")
    return blocks


def _ruleset(case: CaseFile) -> tuple[Ruleset, Ruleset | None]:
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
    held = {p.underlying for p in case.portfolio.perps if _number(p.amount, "amount")}
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
        o.seconds_to_expiry <= 0 and _number(o.amount, "amount") for o in case.portfolio.options
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


def _basis(raw: dict[str, Any], params: _Params) -> None:
    basis = params.part("basis_contingency")
    up, down = basis.number("spot_up"), basis.number("spot_down")
    if not (1 < up < 3 and 0 < down < 1):
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
    _basis(raw, params)
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
    _basis(raw, params)
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
