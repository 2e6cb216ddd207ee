"""Entries for tests of the store: entry `i` is always the same, whoever makes it."""

from __future__ import annotations

import random

from crossmargin.accounts.store import Entry, Record, TransferRow

ASSETS = ("USD", "BTC", "ETH", "contract:BTC-PERP")


def made_entry(i: int) -> Entry:
    """Return entry number `i`, counted from 1: 0 to 4 transfers, amounts of any size."""
    rng = random.Random(f"entry {i}")
    transfers = tuple(
        TransferRow(
            f"owner{rng.randrange(50)}/main/wallet",
            f"sys:{rng.choice(('clearing', 'fees', 'fund/BTC'))}",
            rng.choice(ASSETS),
            rng.choice((1, rng.randrange(1, 10**9), 2**63 + rng.randrange(10**9), 10**38 - 1)),
            rng.choice(("deposit", "fill", "fee")),
        )
        for _ in range(rng.randrange(5))
    )
    payload = rng.randbytes(rng.randrange(200))
    return Entry(f"event-{i}", 1_770_000_000_000_000_000 + i, "fill", payload, transfers)


def made_entries(first: int, last: int) -> list[Entry]:
    """Return entries, both ends included."""
    return [made_entry(i) for i in range(first, last + 1)]


def content(record: Record) -> tuple[object, ...]:
    """Return what a record says, for comparing with an entry."""
    return (record.id, record.time_ns, record.kind, record.payload, record.transfers)


def wanted(i: int) -> tuple[object, ...]:
    """Return what the record of entry `i` must say."""
    e = made_entry(i)
    return (e.id, e.time_ns, e.kind, e.payload, e.transfers)
