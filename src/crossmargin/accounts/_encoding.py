"""An event as bytes: what a log keeps, and what tells two events of one id apart."""

from __future__ import annotations

import hashlib

import msgspec

from crossmargin.accounts.events import Event

encode = msgspec.json.Encoder().encode


def payload(event: Event) -> bytes:
    """Return an event as canonical JSON bytes, for a log."""
    return encode(event)


def fingerprint(event: Event) -> bytes:
    """Return 16 bytes that tell an event's content."""
    return hashlib.blake2b(encode(event), digest_size=16).digest()
