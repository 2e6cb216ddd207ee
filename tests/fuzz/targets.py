"""What is fuzzed: each reader with the files it is fed, and what must hold of what it reads."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from crossmargin.accounts import BadLine, Refused, State, apply, parse_events, payload
from crossmargin.analytics.reconcile import cases_from
from crossmargin.book import book_from_accounts, parse_account
from crossmargin.codec import decode_json
from crossmargin.margin import load_ruleset, ruleset_from_dict, ruleset_ids
from crossmargin.market import decode_market, snapshot_from_file
from crossmargin.venues import read_account_replies, read_brackets, shipped_files
from crossmargin.venues.derive_cases import prepare_case
from crossmargin.venues.derive_schema import CaseFile
from tests.soak.draw import Draw, beginning
from tests.unit.venues.replies import ACCOUNTS
from tests.unit.venues.test_brackets import SHAPES


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes
    ----------
    name : str
        Of the reader.
    documents : list
        Good files, as data.
    read : callable
        Takes bytes; returns what was read or raises an error of this package.
    check : callable
        Takes what was read and the decoded file; raises AssertionError for a silent zero or a
        number that is none.
    """

    name: str
    documents: list[Any]
    read: Callable[[bytes], Any]
    check: Callable[[Any, Any], None]


def _zeros(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of numbers that are 0 in plain data."""
    if isinstance(node, dict):
        return [p for k, v in node.items() for p in _zeros(v, (*path, k))]
    if isinstance(node, list | tuple):
        return [p for k, v in enumerate(node) for p in _zeros(v, (*path, k))]
    if isinstance(node, int | float) and not isinstance(node, bool) and node == 0:
        return [path]
    return []


def _said(node: Any, path: tuple[Any, ...]) -> bool:
    """Whether a file says a zero at a path itself."""
    for part in path:
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            return False
    try:
        return float(node) == 0.0
    except (TypeError, ValueError):
        return False


#: Defaults of 0 that mean "none": no bid, no ask.
_NONE = {"bid_quantity", "ask_quantity"}


def no_silent_zero(read: Any, document: Any) -> None:
    """Every zero that was read stands in the file."""
    for path in _zeros(msgspec.to_builtins(read)):
        assert path[-1] in _NONE or _said(document, path), f"silent zero at {path}"


def _account(raw: bytes) -> Any:
    account = parse_account(raw)
    book = book_from_accounts([account])
    for column in (book.balance_amount, book.position_quantity, book.leg_quantity):
        assert all(math.isfinite(x) for x in column), "a quantity that is no number"
    assert all(q != 0 for q in book.position_quantity), "a position of nothing"
    return account


def _market(raw: bytes) -> Any:
    data = decode_market(raw, "fuzz")
    snapshot = snapshot_from_file(data)
    prices = [a.price_usd for a in snapshot.assets.values()]
    prices += [f.price_usd for f in snapshot.forwards.values()]
    assert all(math.isfinite(p) and p > 0 for p in prices), "a price that is none"
    return data


def _ruleset(raw: bytes) -> Any:
    try:
        plain = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        plain = decode_json(raw, dict, what="fuzz")
    return ruleset_from_dict(plain, what="fuzz").data


def _cases(raw: bytes) -> Any:
    found = cases_from(decode_json(raw, Any, what="fuzz"), "fuzz")
    for case in found:
        if isinstance(case, CaseFile):
            prepare_case(case)
    return found


def _replies(raw: bytes) -> Any:
    replies = decode_json(raw, Any, what="fuzz")
    reading = read_account_replies(replies if isinstance(replies, list) else [replies])
    book = book_from_accounts([reading.account])
    assert all(q != 0 for q in book.position_quantity), "a position of nothing"
    assert len(reading.reported.positions) == len(reading.account.positions)
    return reading


def _brackets(raw: bytes) -> Any:
    reading = read_brackets(decode_json(raw, Any, what="fuzz"))
    for table in reading.tables:
        floors = [bracket.floor for bracket in table.brackets]
        assert floors[0] == 0 and floors == sorted(set(floors)), "brackets out of order"
    return reading.tables


def _events(raw: bytes) -> Any:
    """Lines of an event file, applied to a small venue: whole or not at all."""
    state = State()
    for event in beginning(4):
        apply(state, event)
    events = []
    for _, event in parse_events(raw):
        if isinstance(event, BadLine):
            raise event.error
        before = state.digest()
        outcome = apply(state, event)
        if isinstance(outcome, Refused):
            assert state.digest() == before, "a refused event changed the state"
            raise outcome.error
        events.append(event)
    state.audit()
    return events


def _drawn_events() -> list[Any]:
    """Some events of every common kind, as plain data."""
    state = State()
    for event in beginning(4):
        apply(state, event)
    draw = Draw(state, 1)
    return [json.loads(payload(draw.event())) for _ in range(60)]


def _whatever(read: Any, document: Any) -> None:
    """Nothing more to hold."""


CASE = {
    "name": "made up",
    "model": "pm1",
    "underlying": "ETH",
    "market": {
        "stable_price": "1",
        "underlyings": {
            "ETH": {
                "spot": "1500",
                "spot_confidence": "1",
                "perp_price": "1505",
                "perp_confidence": "1",
                "expiries": [
                    {
                        "seconds_to_expiry": 500400,
                        "forward_fixed": "0",
                        "forward_variable": "1501",
                        "forward_confidence": "1",
                        "rate": "0.03",
                        "rate_confidence": "1",
                        "vol_confidence": "1",
                        "vols": [{"strike": "1500", "vol": "1.04"}],
                    }
                ],
            }
        },
        "collateral_prices": [],
    },
    "portfolio": {
        "cash": "10",
        "perps": [{"underlying": "ETH", "amount": "1", "unrealised_pnl": "3"}],
        "options": [
            {
                "underlying": "ETH",
                "seconds_to_expiry": 500400,
                "strike": "1500",
                "type": "call",
                "amount": "1",
            }
        ],
        "base": [{"asset": "ETH", "amount": "2"}],
    },
    "params": {
        "vol_shock": {
            "range_up": "0.45",
            "range_down": "0.3",
            "short_term_power": "0.3",
            "long_term_power": "0.13",
            "dte_floor_seconds": "86400",
        },
        "margin": {
            "im_factor": "1.3",
            "base_static_discount": "0.95",
            "rate_mult_scale": "4",
            "rate_add_scale": "0.05",
        },
        "basis_contingency": {
            "spot_up": "1.05",
            "spot_down": "0.95",
            "add_factor": "0.25",
            "mult_factor": "0.01",
        },
        "other_contingency": {
            "peg_loss_threshold": "0.98",
            "peg_loss_factor": "2",
            "conf_threshold": "0.6",
            "conf_margin": "0.5",
            "base_percent": "0.02",
            "perp_percent": "0.02",
            "option_percent": "0.01",
        },
        "scenarios": [{"spot": "1.15", "vol": "Up"}, {"spot": "0.85", "vol": "None"}],
    },
    "expected": {"im": "1"},
}


def targets() -> list[Target]:
    """Return every reader with its files."""
    accounts = [json.loads(raw) for raw in shipped_files("accounts").values()]
    markets = [json.loads(raw) for raw in shipped_files("markets").values()]
    rules = [load_ruleset(name).as_dict() for name in ruleset_ids()]
    small = [{k: v[:4] if isinstance(v, list) else v for k, v in m.items()} for m in markets]
    return [
        Target("account", accounts, _account, no_silent_zero),
        Target("market", small, _market, no_silent_zero),
        Target("rule-set", rules, _ruleset, _whatever),
        Target("venue account", list(ACCOUNTS.values()), _replies, _whatever),
        Target("brackets", list(SHAPES.values()), _brackets, _whatever),
        Target("events", _drawn_events(), _events, _whatever),
        Target("case", [CASE, {"schema": "derive-golden/1", "cases": [CASE]}], _cases, _whatever),
    ]
