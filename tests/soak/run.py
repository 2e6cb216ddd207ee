"""The long run: ``python -m tests.soak.run`` (``make soak``), a million random events.

Chapters of events over many accounts, each from a seed of its own. After every event, by sums of
our own over all lines of the ledger: each asset sums to 0 (contracts too, so longs equal shorts),
and at a random mark the profit of each contract, made and unmade, sums to 0 over its holders. An
event that is refused or a duplicate has changed no balance. At the end of a chapter the events
are written as a file, read back and replayed: same transfers, same digest.

Then as many events again of liquidation: thin accounts through falling marks under one venue's
rules after another (tests/soak/watch.py says which laws are held). Every chapter has a ledger of
its own, so that memory does not grow with the run.
"""

from __future__ import annotations

import argparse
import hashlib
import operator
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from crossmargin.accounts import Applied, BadLine, Refused, State, apply, parse_events, payload
from crossmargin.accounts.ledger import Line
from tests.soak.crash import RULES, days, must_have_seen
from tests.soak.draw import ASSETS, CONTRACTS, Draw, beginning, ending


@dataclass
class Chapter:
    """What a chapter saw."""

    events: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    seconds_events: float = 0.0
    seconds_replay: float = 0.0
    digest: str = ""


_balance = operator.attrgetter("balance")


def balances(lines: list[Line]) -> list[int]:
    return list(map(_balance, lines))


def must_sum_to_zero(state: State) -> dict[str, list[int]]:
    """Sum every asset over all its lines, and return the balances."""
    found = {}
    for asset, lines in state.ledger.by_asset.items():
        found[asset] = values = balances(lines)
        assert sum(values) == 0, f"{asset} sums to {sum(values)}"
    return found


def must_cancel(state: State, name: str, mark: int) -> None:
    """Sum profit made and unmade over the holders of a contract, as an exact fraction."""
    contract = state.contracts[name]
    top = 0
    below = 1
    for position in contract.holders.values():
        value, below = contract.value(position.held.balance, mark)
        if not contract.premium_at_once:
            value += position.cost.balance * below
        top += value
    assert top + contract.realised * below == 0, f"{name} at {mark}: {top}/{below}"


def must_be_over(state: State) -> None:
    """Once every contract is closed nothing is held, nothing has a cost, clearing is empty."""
    must_sum_to_zero(state)
    state.audit()
    for line in state.ledger.open_lines():
        kind = line.name.split(":")[1]
        assert kind not in ("position", "cost", "session", "clearing", "funding"), line
    for asset in ("USDC", "BTC"):
        assert state.ledger.balance("sys:rounding", asset) >= 0


def same(before: dict[str, list[int]], after: dict[str, list[int]]) -> bool:
    """Whether no balance differs; lines that were opened and left at 0 do not count."""
    for asset, values in after.items():
        old = before.get(asset, [])
        if old != values[: len(old)] or any(values[len(old) :]):
            return False
    return True


def chapter(events: int, accounts: int, seed: int) -> Chapter:
    """Run one chapter.

    Raises
    ------
    AssertionError
        With the event, when a law is broken.
    """
    state, seen = State(), Chapter()
    log: list[bytes] = []
    moved = hashlib.sha256()
    for event in beginning(accounts):
        assert isinstance(apply(state, event), Applied), event
        log.append(payload(event))
    draw = Draw(state, seed)
    last, marks = must_sum_to_zero(state), draw.rng.__class__(seed + 1)
    start = time.perf_counter()
    for number in range(events):
        event = draw.event()
        watched = number % 500 == 0
        digest = state.digest() if watched else ""
        outcome = apply(state, event)
        now = must_sum_to_zero(state)
        must_cancel(state, marks.choice(CONTRACTS), marks.randrange(1, 10**23))
        if isinstance(outcome, Applied):
            log.append(payload(event))
            moved.update(repr(outcome.transfers).encode())
        else:
            assert same(last, now), f"{outcome} moved money: {event}"
            assert not watched or digest == state.digest(), f"{outcome} changed the state: {event}"
            if isinstance(outcome, Refused):
                seen.refusals[outcome.error.code] += 1
        last = now
        seen.outcomes[type(event).__name__, type(outcome).__name__] += 1
        if number % 200 == 0:
            state.audit()
    for event in ending():
        outcome = apply(state, event)
        assert isinstance(outcome, Applied), outcome
        log.append(payload(event))
        moved.update(repr(outcome.transfers).encode())
    must_be_over(state)
    seen.seconds_events = time.perf_counter() - start
    seen.events = events
    seen.digest = state.digest()
    start = time.perf_counter()
    assert _replayed(b"\n".join(log), accounts) == (seen.digest, moved.hexdigest())
    seen.seconds_replay = time.perf_counter() - start
    _must_have_seen(seen)
    return seen


def _replayed(log: bytes, accounts: int) -> tuple[str, str]:
    """Replay a log from its bytes; return the digests of the state and of its transfers."""
    state, moved = State(), hashlib.sha256()
    first = len(beginning(accounts))
    for number, event in parse_events(log):
        assert not isinstance(event, BadLine), event
        outcome = apply(state, event)
        assert isinstance(outcome, Applied), (event, outcome)
        if number > first:
            moved.update(repr(outcome.transfers).encode())
    return state.digest(), moved.hexdigest()


def _must_have_seen(seen: Chapter) -> None:
    """A run that never did something has not tested it."""
    if seen.events < 5_000:
        return
    applied = {name for name, outcome in seen.outcomes if outcome == "Applied"}
    wanted = {
        "Fill", "Block", "Bust", "Mark", "Deposit", "Withdrawal", "MoveMoney", "Reserve", "Post",
        "Void", "FeeCharge", "Funding", "Borrow", "Repay", "Interest", "Convert", "SettleSession",
        "MovePosition", "SwitchMode", "LiquidationStep", "Takeover", "Adl", "FundCover",
        "SocialisedLoss", "FundPayIn", "Correct", "SetState", "SetParameter",
    }  # fmt: skip
    assert wanted <= applied, f"never applied: {sorted(wanted - applied)}"
    assert any(outcome == "Duplicate" for _, outcome in seen.outcomes)
    assert {"LED-001", "LED-002", "LED-005", "LED-008", "LED-011", "LED-012"} <= set(seen.refusals)


def main() -> int:
    """Run the chapters that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chapters", type=int, default=10, help="of each part")
    parser.add_argument("--events", type=int, default=60_000, help="events a chapter")
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20260205)
    parser.add_argument("--part", choices=("ledger", "liquidation", "both"), default="both")
    asked = parser.parse_args()
    start, done = time.perf_counter(), 0
    if asked.part != "liquidation":
        done += _ledger_part(asked)
    if asked.part != "ledger":
        done += _liquidation_part(asked)
    seconds = time.perf_counter() - start
    print(f"{done:,} events over {asked.accounts} accounts in {seconds:,.0f} s, "
          f"{done / seconds:,.0f} a second; memory at most {_peak_mib():,.0f} MiB")  # fmt: skip
    print("every law held after each")
    return 0


def _ledger_part(asked: argparse.Namespace) -> int:
    total: Counter[str] = Counter()
    for number in range(asked.chapters):
        seen = chapter(asked.events, asked.accounts, asked.seed + number)
        for (_, outcome), count in seen.outcomes.items():
            total[outcome] += count
        print(
            f"ledger, chapter {number + 1} of {asked.chapters}, seed {asked.seed + number}: "
            f"{seen.events:,} events checked in {seen.seconds_events:.0f} s, replayed in "
            f"{seen.seconds_replay:.0f} s, state {seen.digest[:16]}",
            flush=True,
        )
    counts = ", ".join(f"{count:,} {name.lower()}" for name, count in sorted(total.items()))
    print(f"{len(ASSETS)} assets and {len(CONTRACTS) + 1} contracts: {counts}")
    return sum(total.values())


def _liquidation_part(asked: argparse.Namespace) -> int:
    found = []
    for number in range(asked.chapters):
        rules = RULES[number % len(RULES)]
        start = time.perf_counter()
        seen = days(rules, asked.events, asked.accounts, asked.seed + number, say=_say)
        found.append(seen)
        layers = ", ".join(f"{name} {count:,}" for name, count in sorted(seen.losses.items()))
        _say("")
        print(
            f"liquidation, chapter {number + 1} of {asked.chapters}, {rules}, seed "
            f"{asked.seed + number}: {seen.events:,} events and {seen.marks:,} marks in "
            f"{time.perf_counter() - start:.0f} s; {seen.breaches:,} breaches, at most "
            f"{seen.looks} looks and {seen.longest_s:,.0f} s in breach; borne by {layers}; state "
            f"{seen.digest[:16]}",
            flush=True,
        )
    if asked.chapters >= len(RULES) and asked.events >= 5_000:
        must_have_seen(found)
    return sum(seen.events for seen in found)


def _say(text: str) -> None:
    """Write one line over the last one, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r{text:<78}", end="" if text else "\r", file=sys.stderr, flush=True)


def _peak_mib() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


if __name__ == "__main__":
    sys.exit(main())
