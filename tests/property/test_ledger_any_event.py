"""Any event at all, sensible or absurd, is applied, a duplicate or refused: never a traceback.

Every field of every kind is drawn from what fits it and from what does not.
"""

from __future__ import annotations

import random
from typing import Any, get_args

import msgspec
import pytest
from tests.soak.draw import CONTRACTS, PERP, TIME, Draw, beginning

from crossmargin.accounts import (
    Applied,
    Duplicate,
    Event,
    Refused,
    State,
    apply,
    parse_events,
    payload,
    replay,
)
from crossmargin.accounts import events as ev

AMOUNTS = (
    "0", "1", "-1", "0.5", "3", "100", "250000", "0.00000001", "0.000000000000000001", "1e5",
    "", " ", "NaN", "9" * 24, "9" * 30, "0." + "0" * 60 + "1", "-0", "007", "1.50", "٣",
)  # fmt: skip
NAMES = ("a000", "a001", "a003", "a004", "sys", "nobody", "", "x" * 90, "a/b", "new", "a\n")
FIELDS: dict[str, tuple[Any, ...]] = {
    "id": (),
    "time": (TIME, TIME, TIME, "2026-12-31T00:00:00Z", "2026-12-31", "noon", ""),
    "account": NAMES,
    "owner": (None, *NAMES),
    "parent": (None, *NAMES),
    "pot": ("cross", "iso", "venue", "liquidator", "none", "", "p"),
    "asset": ("USDC", "BTC", "ETH", "NEW", "", "a:b"),
    "fee_asset": (None, "USDC", "BTC", "NEW", "a:b"),
    "instrument": (*CONTRACTS, "COINS", "NONE", ""),
    "location": ("", "", "chain", "a:b"),
    "group": ("main", "other", "", "a/b"),
    "pending": (True, False),
    "leg": ("net", "net", "long", "short"),
    "decimals": (0, 6, 18),
    "quantity_decimals": (0, 8, 18),
    "elapsed_s": (1, 3_600, 10**9),
    "interval_s": (1, 3_600),
    "period_s": (None, 1, 600, 7),
    "into": (1, 2, 7, 1_000),
    "each": (1, 3, 1_000),
    "scope": ("asset", "contract", "account"),
    "target": (),
    "name": ("curve_floor", "curve_kink", "fund_share", "group", "legs", "ring_fenced", "junk"),
    "value": ("true", "false", "net", "hedge", "0.5", "2", "junk", "-1"),
    "type": ("spot", "perpetual", "future", "option"),
    "underlying": ("BTC", "ETH", ""),
    "quote": ("USD", "USDC"),
    "settlement": ("USDC", "BTC"),
    "expiry": (None, "2026-03-27T08:00:00Z", "never"),
    "strike": (None, "50000", "0"),
    "right": (None, "call", "put"),
    "reason": ("",),
    "proof_time": (TIME, "never"),
    "source": (),
    "fund": (),
}


class AnyEvent:
    """Draws any event."""

    def __init__(self, seed: int, state: State) -> None:
        self.rng = random.Random(seed)
        self.state = state
        self.number = 0
        self.fills: list[ev.Fill] = []
        self.ids: list[str] = ["list PERP"]

    def struct(self, kind: type[msgspec.Struct]) -> Any:
        values = {}
        for field in msgspec.structs.fields(kind):
            if field.name == "id":
                values["id"] = self.identity()
            elif field.required or self.rng.random() < 0.5:
                values[field.name] = self.value(kind, field.name, field.type)
        return kind(**values)

    def identity(self) -> str:
        self.number += 1
        name = self.rng.choice((f"n{self.number}",) * 8 + ("n3", "tab\tbed"))
        self.ids.append(name)
        return name

    def value(self, kind: type, name: str, hint: Any) -> Any:
        rng = self.rng
        if name in ("buyer", "seller", "counterparty"):
            return rng.choice((None, self.struct(ev.Side)))
        if name in ("source", "target") and kind is ev.MovePosition:
            return self.struct(ev.Side)
        if name in ("source", "target") and kind in (ev.MoveMoney, ev.Cover):
            return self.struct(ev.Place)
        if name == "target" and kind in (ev.FundCover, ev.SocialisedLoss):
            return self.struct(ev.Place)
        if name == "source" and kind is ev.FundPayIn:
            return rng.choice(("world", "fees"))
        if name in ("source", "target"):
            pool = {ev.SwitchMode: FIELDS["pot"], ev.Convert: FIELDS["asset"]}
            return rng.choice(pool.get(kind, (*NAMES, "USDC", PERP)))
        if name == "trade":
            return self.struct(ev.Trade)
        if name == "trades":
            return [self.struct(ev.Trade) for _ in range(rng.randrange(1, 3))]
        if name == "fill":
            return rng.choice(self.fills) if self.fills else self.struct(ev.Fill)
        if name == "against" and kind is ev.Adl:
            return [self.struct(ev.AdlShare)]
        if name == "shares":
            return [self.struct(ev.LossShare) for _ in range(rng.randrange(1, 3))]
        if name == "prices":
            return {rng.choice(FIELDS["instrument"]): rng.choice(AMOUNTS)}
        if name == "samples":
            return tuple(rng.choice(AMOUNTS) for _ in range(rng.randrange(0, 3)))
        if name == "of" or (name == "pending" and kind in (ev.Post, ev.Void)):
            return rng.choice([*self.state.pendings, *self.ids[-20:], "never"])
        literal = get_args(hint) if not isinstance(hint, type) else ()
        if FIELDS.get(name):
            return rng.choice(FIELDS[name])
        if hint is bool:
            return rng.random() < 0.5
        if literal and all(isinstance(x, str) for x in literal) and "Literal" in str(hint):
            return rng.choice(literal)
        return rng.choice(AMOUNTS)

    def event(self) -> Any:
        made = self.struct(self.rng.choice(get_args(Event)))
        if isinstance(made, ev.Fill):
            self.fills.append(made)
        return made


@pytest.mark.parametrize("seed", range(6))
def test_any_event_is_an_outcome(seed: int) -> None:
    state, log = State(), []
    for event in beginning(6):
        assert isinstance(apply(state, event), Applied)
        log.append(event)
    sane, absurd = Draw(state, seed), AnyEvent(seed, state)
    kinds: set[str] = set()
    for number in range(2_000):
        event = sane.event() if number % 4 == 0 else absurd.event()
        outcome = apply(state, event)
        assert isinstance(outcome, (Applied, Duplicate, Refused))
        if isinstance(outcome, Applied):
            kinds.add(type(event).__name__)
            log.append(event)
            # What was accepted can be written and read back.
            ((_, again),) = parse_events(payload(event))
            assert again == event
        elif isinstance(outcome, Refused):
            assert outcome.error.code and str(outcome.error)
        if number % 50 == 0:
            state.audit()
    state.audit()
    assert replay(log).digest() == state.digest()
    assert len(kinds) > 20
