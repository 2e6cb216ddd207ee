"""Event files: good lines become events, bad ones say where and what."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.ledgers import TIME, Venue

from crossmargin.accounts import (
    BadLine,
    Duplicate,
    State,
    apply,
    parse_events,
    payload,
    read_events,
)
from crossmargin.accounts import events as ev
from crossmargin.errors import CrossmarginError

GOOD = (
    b'{"kind":"deposit","id":"1","time":"2026-02-25T08:00:00Z","account":"a","asset":"USDC",'
    b'"amount":"5"}'
)


def test_a_good_file_and_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(GOOD + b"\n\n" + GOOD.replace(b'"1"', b'"2"') + b"\r\n")
    rows = list(read_events(path))
    assert [number for number, _ in rows] == [1, 3]
    assert all(isinstance(event, ev.Deposit) for _, event in rows)


@pytest.mark.parametrize(
    ("line", "words", "field"),
    [
        (GOOD.replace(b"deposit", b"gift"), "gift", "kind"),
        (GOOD.replace(b'"amount":"5"', b'"amount":5'), "amount", "amount"),
        (GOOD.replace(b'"asset":"USDC",', b""), "asset", None),
        (GOOD.replace(b'"pot"', b"").replace(b'"asset"', b'"aset"'), "aset", None),
        (GOOD[:-3], "line 1", None),
        (GOOD.replace(b"08:00:00Z", b"08:00:00"), "time zone", "time"),
        (b"[" * 100_000, "line 1", None),
        (b'{"kind":"mark","id":"1","time":"2026-02-25T08:00:00Z","prices":{}}', "prices", "prices"),
        (b"\xff\xfe", "line 1", None),
        (b"7", "line 1", None),
    ],
)
def test_a_bad_line_is_a_value(line: bytes, words: str, field: str | None) -> None:
    (row,) = parse_events(line)
    number, found = row
    assert number == 1 and isinstance(found, BadLine)
    assert found.error.code == "LED-017"
    assert words in str(found.error) and "line 1" in str(found.error)
    if field is not None:
        assert found.error.field == field
    assert found.error.hint


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CrossmarginError, match="INP-005"):
        list(read_events(tmp_path / "none"))


def test_payload_reads_back_to_the_same_event() -> None:
    v = Venue()
    v.perpetual()
    v.accounts("a")
    v.fill("a", None, "1", "5")
    log = b"\n".join(payload(event) for event in v.log)
    state = State()
    for (_, event), original in zip(parse_events(log), v.log):
        assert event == original
        assert not isinstance(event, BadLine)
        apply(state, event)
    assert state.digest() == v.state.digest()
    assert isinstance(apply(state, v.log[-1]), Duplicate)
    assert TIME in log.decode()
