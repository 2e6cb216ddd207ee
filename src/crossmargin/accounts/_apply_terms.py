"""What there is: assets, contracts, accounts, pots and their parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crossmargin.accounts.amounts import ONE, fixed, scaled
from crossmargin.accounts.chart import SYSTEM, check_name
from crossmargin.accounts.contract import make_contract
from crossmargin.accounts.events import (
    DefineAsset,
    ListContract,
    MarginCall,
    OpenAccount,
    OpenPot,
    SetParameter,
    SetState,
)
from crossmargin.accounts.pots import Account, Pot
from crossmargin.accounts.state import Asset, State
from crossmargin.errors import LedgerError
from crossmargin.units import parse_time

Pots = tuple[Pot, ...]


def define_asset(state: State, event: DefineAsset) -> Pots:
    """Fix the decimals of an asset that nothing has used."""
    if event.asset in state.assets:
        raise LedgerError(
            f"{event.asset} is in use with {state.assets[event.asset].decimals} decimals",
            code="LED-004",
            field="asset",
            hint="define an asset before anything uses it",
        )
    check_name(event.asset, "asset")
    state.put(state.assets, event.asset, Asset(event.asset, event.decimals))
    return ()


def list_contract(state: State, event: ListContract) -> Pots:
    """List an instrument under an id that is free."""
    name = event.instrument
    if name in state.contracts or not name.isprintable() or not 0 < len(name) <= 80:
        raise LedgerError(
            f"{name!r} {'is listed already' if name in state.contracts else 'is not a name'}",
            code="LED-004",
            instrument=name,
            field="instrument",
        )
    check_name(event.underlying, "underlying")
    check_name(event.quote, "quote")
    check_name(event.group, "group")
    made = make_contract(
        id=name,
        kind=event.type,
        underlying=event.underlying,
        quote=event.quote,
        settlement=event.settlement,
        size=fixed(event.size, name="size", sign="positive"),
        quantity_decimals=event.quantity_decimals,
        settlement_decimals=state.asset(event.settlement).decimals,
        expiry_ns=None if event.expiry is None else parse_time(event.expiry, field="expiry"),
        strike=None
        if event.strike is None
        else fixed(event.strike, name="strike", sign="positive"),
        right=event.right,
        premium_at_once=event.premium == "at_once",
        session=event.session,
        group=event.group,
    )
    if event.type == "spot":
        state.asset(event.underlying)
    state.put(state.contracts, name, made)
    return ()


def open_account(state: State, event: OpenAccount) -> Pots:
    """Open an account with its pot ``cross``."""
    name = check_name(event.account, "account")
    if name in state.accounts or name == SYSTEM:
        raise LedgerError(
            f"there is an account {name!r}", code="LED-004", account=name, field="account"
        )
    if event.parent is not None and event.parent not in state.accounts:
        raise LedgerError(
            f"there is no account {event.parent!r}",
            code="LED-002",
            account=name,
            field="parent",
            hint="open the parent first",
        )
    owner = event.owner
    if owner is None:
        owner = name if event.parent is None else state.accounts[event.parent].owner
    made = Account(
        name,
        check_name(owner, "owner"),
        parent=event.parent,
        ring_fenced=event.ring_fenced,
        legs=event.legs,
        borrowing=event.borrowing,
    )
    made.pots["cross"] = Pot(state.ledger, made, "cross", f"{name}/cross")
    state.put(state.accounts, name, made)
    return ()


def open_pot(state: State, event: OpenPot) -> Pots:
    """Open a further pot."""
    account = state.trader(event.account).account
    assert account is not None
    name = check_name(event.pot, "pot")
    if name in account.pots:
        raise LedgerError(
            f"account {account.id!r} has a pot {name!r}",
            code="LED-004",
            account=account.id,
            field="pot",
        )
    made = Pot(state.ledger, account, name, f"{account.id}/{name}", event.mode)
    state.put(account.pots, name, made)
    return ()


def set_state(state: State, event: SetState) -> Pots:
    """Record the state of a pot; what it allows is enforced from the next event on."""
    state.set(state.trader(event.account, event.pot), "state", event.state)
    return ()


def margin_call(state: State, event: MarginCall) -> Pots:
    """Note that a holder was called upon; amounts must be such as the asset has."""
    state.trader(event.account, event.pot)
    decimals = state.asset(event.asset).decimals
    scaled(event.equity, decimals, name="equity")
    scaled(event.required, decimals, name="required", sign="not negative")
    if event.until is not None:
        parse_time(event.until, field="until")
    return ()


def set_parameter(state: State, event: SetParameter) -> Pots:
    """Change one parameter that is known."""
    change = _PARAMETERS.get((event.scope, event.name))
    if change is None:
        known = ", ".join(name for scope, name in _PARAMETERS if scope == event.scope)
        raise LedgerError(
            f"no {event.scope} has a parameter {event.name!r}",
            code="LED-018",
            field="name",
            hint=f"one of {known}",
        )
    change(state, event.target, event.value)
    return ()


def _curve(part: str) -> Callable[[State, str, str], None]:
    def change(state: State, target: str, value: str) -> None:
        asset = state.asset(target)
        figure = fixed(value, name="value", sign="not negative")
        state.set(asset, "curve", replace(asset.curve, **{part: figure}))

    return change


def _fund_share(state: State, target: str, value: str) -> None:
    share = fixed(value, name="value", sign="not negative")
    if share > ONE:
        raise LedgerError("a share above 1", code="LED-018", field="value", hint="give 0 to 1")
    state.set(state.asset(target), "fund_share", share)


def _fund_group(state: State, target: str, value: str) -> None:
    state.set(state.asset(target), "fund_group", check_name(value, "group"))


def _group(state: State, target: str, value: str) -> None:
    state.set(state.contract(target), "group", check_name(value, "group"))


def _flag(name: str) -> Callable[[State, str, str], None]:
    def change(state: State, target: str, value: str) -> None:
        if value not in ("true", "false"):
            raise LedgerError(f"{value!r} is neither true nor false", code="LED-018", field="value")
        state.set(state.trader(target).account, name, value == "true")

    return change


def _legs(state: State, target: str, value: str) -> None:
    account = state.trader(target).account
    assert account is not None
    if value not in ("net", "hedge"):
        raise LedgerError(f"{value!r} is neither net nor hedge", code="LED-018", field="value")
    if any(p.held.balance for pot in account.pots.values() for p in pot.positions.values()):
        raise LedgerError(
            "an account with open positions cannot change its legs",
            code="LED-018",
            account=target,
            field="value",
            hint="close them first",
        )
    state.set(account, "legs", value)


_PARAMETERS: dict[tuple[str, str], Callable[[State, str, str], None]] = {
    ("asset", "curve_floor"): _curve("floor"),
    ("asset", "curve_slope"): _curve("slope"),
    ("asset", "curve_kink"): _curve("kink"),
    ("asset", "curve_slope_above"): _curve("slope_above"),
    ("asset", "fund_share"): _fund_share,
    ("asset", "fund_group"): _fund_group,
    ("contract", "group"): _group,
    ("account", "borrowing"): _flag("borrowing"),
    ("account", "ring_fenced"): _flag("ring_fenced"),
    ("account", "legs"): _legs,
}

HANDLERS: dict[type, Callable[[State, Any], Pots]] = {
    DefineAsset: define_asset,
    ListContract: list_contract,
    OpenAccount: open_account,
    OpenPot: open_pot,
    SetState: set_state,
    MarginCall: margin_call,
    SetParameter: set_parameter,
}
