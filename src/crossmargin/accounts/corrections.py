"""What a reconciliation proposes, as events that can be posted: each by an id of its own.

The same break gives the same event, so that posting it again changes nothing. A correction names
the event that was wrong; what was never booked has none, and names the opening of the account.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from crossmargin.accounts import events as ev
from crossmargin.accounts.amounts import Scales, text_of
from crossmargin.accounts.matching import Break, Class, correction_of
from crossmargin.units import format_time

_START = "correct"
_AGAINST: dict[str, Literal["world", "fees", "funding", "interest"]] = {
    "fee": "fees",
    "funding": "funding",
    "interest": "interest",
}


def corrections(
    breaks: Iterable[Break], account: str, opening: str, scales: Scales
) -> list[ev.Correct]:
    """Return the events that would mend breaks; what has to be asked or relabelled has none.

    Parameters
    ----------
    breaks : iterable of Break
        Of a reconciliation, the venue's log on their side.
    account : str
        Whose.
    opening : str
        Id of the event that opened the account.
    scales : Scales
        Decimals of the ledger's assets.
    """
    found = []
    for one in breaks:
        proposed = correction_of(one)
        if proposed.what not in ("book", "reverse") or proposed.amount == 0:
            continue
        line = (*one.theirs, *one.ours)[0]
        of = event_of(one.ours[0].id) if one.ours else opening
        named = line.reference or f"#{line.id}"
        found.append(
            ev.Correct(
                id=f"{_START}:{proposed.kind}:{one.asset}:{named}",
                time=format_time(line.time_ns),
                of=of,
                account=account,
                asset=one.asset,
                amount=text_of(proposed.amount, scales.of(one.asset)),
                against=_AGAINST.get(proposed.kind, "world"),
                reason=proposed.words,
            )
        )
    return found


def event_of(line: str) -> str:
    """Return the id of the event of one of our lines: ``ID (ASSET)``."""
    return line.rpartition(" (")[0]


def meaning_of(id: str) -> tuple[Class, str] | None:
    """Return class and reference of a correction by its id; None for another kind of id."""
    parts = id.split(":", 3)
    if len(parts) < 4 or parts[0] != _START:
        return None
    kind: Class = parts[1]  # type: ignore[assignment]
    return kind, "" if parts[3].startswith("#") else parts[3]
