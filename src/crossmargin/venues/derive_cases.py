"""Recorded margin cases of Derive: portfolio, market, parameters and the venue's own figures.

The schema ``derive-golden/1`` states every number as a decimal string. A case brings its own
parameters; they are laid over the shipped rule-set of its model, so that any parameter set can
be tried. Which figures are compared is up to :mod:`crossmargin.analytics.reconcile`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    Book,
    PositionEntry,
    book_from_accounts,
)
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.instruments import Option, Perpetual, Registry
from crossmargin.margin import Ruleset
from crossmargin.market import (
    AssetPrice,
    Forward,
    InstrumentQuote,
    Snapshot,
    exact_confidence,
)
from crossmargin.units import NS_PER_SECOND
from crossmargin.venues.derive_params import case_rulesets
from crossmargin.venues.derive_schema import (
    DERIVE_SCHEMA,
    CaseFile,
    Expiry,
    Model,
    number,
    spot_asset,
)

#: Cases state seconds to expiry; the moment they are counted from does not matter.
_NOW_NS = 1_767_225_600 * NS_PER_SECOND


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


def prepare_case(case: CaseFile) -> DeriveCase:
    """Turn a case into book, market and rule-set.

    Raises
    ------
    InputError, RulesetError
        For parameters that the contracts refuse, and for what cannot be read.
    """
    try:
        ruleset, trusted = case_rulesets(case)
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
        cash=number(case.portfolio.cash, "portfolio.cash"),
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
        strike = number(option.strike, f"{where}.strike")
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
        if number(perp.amount, f"portfolio.perps[{row}].amount") == 0:
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
    price = 0.0 if feed is None else number(feed.perp_price, f"market.{underlying}.perp_price")
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
                figure = number(vol.vol, f"{at}.vol")
                if figure < 0:
                    raise InputError(
                        f"the volatility {figure:g} is below 0", code="MKT-009", field=f"{at}.vol"
                    )
                found[key][number(vol.strike, f"{at}.strike")] = figure
    return found


def _price(value: object, where: str) -> float:
    price = number(value, where)
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
    fixed = number(expiry.forward_fixed, f"{where}.forward_fixed")
    variable = number(expiry.forward_variable, f"{where}.forward_variable")
    if min(fixed, variable) < 0 or fixed + variable <= 0:
        raise InputError(
            f"{where} has no positive forward ({fixed:g} + {variable:g})",
            code="MKT-009",
            field=where,
        )
    return Forward(
        price_usd=fixed + variable,
        parts_usd=(fixed, variable),
        rate=number(expiry.rate, f"{where}.rate"),
        time_ns=_NOW_NS,
        confidence=exact_confidence(expiry.forward_confidence, f"{where}.forward_confidence"),
        rate_confidence=exact_confidence(expiry.rate_confidence, f"{where}.rate_confidence"),
        vol_confidence=exact_confidence(expiry.vol_confidence, f"{where}.vol_confidence"),
    )


def _account(case: CaseFile) -> AccountFile:
    """Write the portfolio as an account: perpetuals stand at the mark, their profit in cash."""
    held = case.portfolio
    cash = number(held.cash, "portfolio.cash")
    positions = []
    for row, perp in enumerate(held.perps):
        where = f"portfolio.perps[{row}]"
        cash += number(perp.unrealised_pnl, f"{where}.unrealised_pnl")
        cash += number(perp.unsettled_funding, f"{where}.unsettled_funding")
        amount = number(perp.amount, f"{where}.amount")
        if amount:
            name = f"{perp.underlying}-PERP"
            positions.append(PositionEntry(instrument=name, quantity=amount, entry_price="mark"))
    for row, option in enumerate(held.options):
        where = f"portfolio.options[{row}]"
        amount = number(option.amount, f"{where}.amount")
        strike = number(option.strike, f"{where}.strike")
        if amount:
            name = option_id(option.underlying, option.seconds_to_expiry, strike, option.type)
            positions.append(PositionEntry(instrument=name, quantity=amount))
    balances = [BalanceEntry(asset="USDC", amount=cash)]
    for row, base in enumerate(held.base):
        amount = number(base.amount, f"portfolio.base[{row}].amount")
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
