"""Mutated replies are read or refused in a sentence: no traceback, no position lost in silence.

The replies are hand-built from documentation (tests/unit/venues/replies.py); what a mutation does
is drawn by hypothesis, so that a failure shrinks to one change.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.venues import replies as R
from tests.unit.venues.test_brackets import SHAPES

from crossmargin.book import book_from_accounts, parse_account, write_account
from crossmargin.errors import InputError
from crossmargin.venues import VenueReading, read_account_replies, read_brackets
from crossmargin.venues.brackets import choose, parameters_toml

ODD: list[Any] = [
    None, "", "0", 0, -1, 1, "x", "NaN", "Infinity", "-0", "1e400", "1e-400", "9" * 60, 10**30,
    1e300, 5e-324, 0.1, True, False, [], {}, [[]], [None], {"a": 1}, "\u0000", "٣", "BTC-PERPETUAL",
    "BTCUSDT", "BTC/USDT:USDT", "BTC-USDT-SWAP", "long", "isolated", " 1", "1_000", "0x10", "1,5",
    "哈基米", "[red]", '"', "\\", "\n",
]  # fmt: skip


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List the paths of everything inside a reply."""
    items: Any = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutate(draw: st.DrawFn, reply: Any) -> Any:
    mine = copy.deepcopy(reply)
    for _ in range(draw(st.integers(1, 3))):
        paths = list(places(mine))
        if not paths:
            return mine
        path = draw(st.sampled_from(paths))
        node = mine
        for step in path[:-1]:
            node = node[step]
        how = draw(st.sampled_from(["odd", "odd", "drop", "twice", "swap", "other"]))
        key = path[-1]
        if how == "drop":
            del node[key]
        elif how == "twice" and isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
        elif how == "swap" and isinstance(node[key], str):
            node[key] = draw(st.sampled_from([f"-{node[key]}", node[key] * 2, node[key][:-1]]))
        elif how == "other":
            node[key] = copy.deepcopy(_at(mine, draw(st.sampled_from(paths))))
        else:
            node[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return mine


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    try:
        for step in path:
            node = node[step]
    except (KeyError, IndexError, TypeError):
        return None
    return node


@st.composite
def mutated_accounts(draw: st.DrawFn, name: str) -> list[Any]:
    replies = list(R.ACCOUNTS[name])
    place = draw(st.integers(0, len(replies) - 1))
    replies[place] = (
        mutate(draw, replies[place])
        if isinstance(replies[place], dict | list)
        else draw(st.sampled_from(ODD))
    )
    return replies


def check_sentence(error: InputError) -> None:
    text = str(error)
    assert text.startswith(error.code) and len(text) < 1_200
    msgspec.json.encode(error.as_dict())


@pytest.mark.parametrize("name", sorted(R.ACCOUNTS))
@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_mutated_accounts_are_read_or_refused(name: str, data: st.DataObject) -> None:
    replies = data.draw(mutated_accounts(name))
    try:
        reading = read_account_replies(replies)
    except InputError as error:
        check_sentence(error)
        return
    # What is read is an account file that reads back as itself, and a reading that encodes.
    assert parse_account(write_account(reading.account)) == reading.account
    book = book_from_accounts([reading.account])
    assert (book.position_quantity != 0).all()
    assert len(reading.reported.positions) == len(reading.account.positions)
    raw = msgspec.json.encode(reading)
    assert msgspec.json.decode(raw, type=VenueReading) == reading


@pytest.mark.parametrize("name", sorted(SHAPES))
@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_mutated_brackets_are_read_or_refused(name: str, data: st.DataObject) -> None:
    import tomllib
    from decimal import Decimal

    reply = data.draw(st.composite(lambda draw: mutate(draw, SHAPES[name]))())
    try:
        reading = read_brackets(reply)
        tables, notes = choose(reading, [])
        text = parameters_toml(
            reading,
            tables,
            source="x\ny\u2028",
            prices={"BTC": Decimal(60_000), "USDT": Decimal("0.999")},
            contract_sizes={"BTC-USDT-SWAP": Decimal("0.01")},
            notes=notes,
        )
    except InputError as error:
        check_sentence(error)
        return
    tiers = tomllib.loads(text)["components"]["futures"]["tiers"]
    assert set(tiers) == {table.key for table in tables}
    for rows in tiers.values():
        floors = [row["floor"] for row in rows]
        assert floors[0] == 0 and floors == sorted(set(floors))


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_position_is_never_lost_in_silence(data: st.DataObject) -> None:
    """Whatever is changed in one position, the others stay, or the whole is refused."""
    replies = copy.deepcopy(R.ACCOUNTS["Bybit cross"])
    rows = replies[1]["result"]["list"]
    rows.append({**copy.deepcopy(rows[0]), "symbol": "ETHUSDT"})
    field = data.draw(st.sampled_from(sorted(rows[0])))
    rows[0][field] = data.draw(st.sampled_from(ODD))
    try:
        reading = read_account_replies(replies)
    except InputError as error:
        check_sentence(error)
        return
    held = [p.instrument for p in reading.account.positions]
    assert "ETH_USDT-PERPETUAL" in held
    if len(held) < 2:
        assert field == "size" and float(rows[0]["size"]) == 0
