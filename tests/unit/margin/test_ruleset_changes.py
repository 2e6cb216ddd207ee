"""What differs between rule-sets, and the record of who changed what."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from crossmargin.errors import CrossmarginError
from crossmargin.margin import (
    Ruleset,
    changes_path,
    check_changes,
    encode_changes,
    expired_changes,
    flat_parameters,
    load_ruleset,
    make_change,
    parameter_changes,
    read_changes,
    ruleset_ids,
)
from crossmargin.units import parse_time

RANGE = "scenarios.underlyings.BTC.price_range"
FLOOR = "components.roll_shock.currencies.BTC.floor"


def rules(**changes: float) -> Ruleset:
    return load_ruleset("deribit-pm", overrides=changes)


def at_range(value: float) -> Ruleset:
    return rules(**{RANGE: value})


WHO = {"author": "A. Ito", "approver": "B. Okoro", "reason": "calmer market"}


class TestDiff:
    def test_a_rule_set_does_not_differ_from_itself(self) -> None:
        for name in ruleset_ids():
            assert parameter_changes(load_ruleset(name), load_ruleset(name)) == []

    def test_what_was_set_is_what_differs(self) -> None:
        found = parameter_changes(rules(), rules(**{RANGE: 0.18, FLOOR: 0.02}))
        assert {(c.path, c.before, c.after) for c in found} == {
            (RANGE, 0.16, 0.18),
            (FLOOR, 0.01, 0.02),
        }
        assert all(not c.text and c.source_before.startswith("pme_2026 2026-02-15") for c in found)

    def test_every_path_can_be_set(self) -> None:
        """Paths are those of --set: setting A's value in B takes the difference away."""
        before, after = rules(), rules(**{RANGE: 0.18, FLOOR: 0.02})
        for change in parameter_changes(before, after):
            back = load_ruleset(
                "deribit-pm",
                overrides={RANGE: 0.18, FLOOR: 0.02, change.path: change.before},
            )
            assert change.path not in {c.path for c in parameter_changes(before, back)}

    def test_added_and_removed_rows(self) -> None:
        old, new = load_ruleset("binance-usdm", on="2021-04-01"), load_ruleset("binance-usdm")
        found = {c.path: c for c in parameter_changes(old, new)}
        assert found["effective_from"].text
        assert found["components.futures.tiers.BTC_USDT.0.im"].before == 0.008
        gone = found["components.futures.tiers.BTC_USDT.8.im"]
        assert gone.removed and not gone.added and gone.after is None
        turned = {c.path: c for c in parameter_changes(new, old)}
        assert turned.keys() == found.keys()
        assert turned["components.futures.tiers.BTC_USDT.8.im"].added

    def test_equal_hash_where_nothing_differs(self) -> None:
        """Hashes and differences agree on every pair of shipped rule-sets."""
        loaded = [load_ruleset(name) for name in ruleset_ids()]
        for a in loaded[:6]:
            for b in loaded:
                same = flat_parameters(a) == flat_parameters(b)
                assert same == (a.content_hash == b.content_hash)


class TestRecord:
    def test_a_history_of_three(self) -> None:
        log = [make_change(rules(), at_range(0.14), [], time="2026-01-01", **WHO)]
        log.append(make_change(at_range(0.14), at_range(0.15), log, time="2026-01-02", **WHO))
        log.append(make_change(at_range(0.15), rules(), log, time="2026-01-02", **WHO))
        assert [c.previous for c in log[1:]] == [c.hash for c in log[:-1]]
        check_changes(rules(), log)
        with pytest.raises(CrossmarginError, match="RUL-043"):
            check_changes(rules(), log[:-1])

    @pytest.mark.parametrize(
        "wrong",
        [
            {"author": " "},
            {"reason": ""},
            {"reason": "two\nlines"},
            {"approver": "a.  ITO "},
            {"expires": "2026-01-01"},
            {"expires": "2025-12-31T23:59:59Z"},
        ],
    )
    def test_refused(self, wrong: dict[str, str]) -> None:
        wrong = {"approver": "a. Ito", **wrong} if "approver" in wrong else wrong
        with pytest.raises(CrossmarginError, match="RUL-040"):
            make_change(rules(), at_range(0.14), [], time="2026-01-01", **{**WHO, **wrong})

    def test_no_time_zone_is_refused(self) -> None:
        with pytest.raises(CrossmarginError, match="INP-010"):
            make_change(rules(), at_range(0.14), [], time="2026-01-01T10:00:00", **WHO)

    def test_nothing_changes(self) -> None:
        with pytest.raises(CrossmarginError, match="nothing to record"):
            make_change(rules(), rules(), [], time="2026-01-01", **WHO)

    def test_a_gap_and_a_step_back_in_time_are_refused(self) -> None:
        log = [make_change(rules(), at_range(0.14), [], time="2026-01-02", **WHO)]
        with pytest.raises(CrossmarginError, match="RUL-041"):
            make_change(at_range(0.15), at_range(0.16), log, time="2026-01-03", **WHO)
        with pytest.raises(CrossmarginError, match="RUL-040"):
            make_change(at_range(0.14), at_range(0.15), log, time="2026-01-01", **WHO)


class TestFile:
    @pytest.fixture
    def history(self, tmp_path: Path) -> Path:
        log = [make_change(rules(), at_range(0.14), [], time="2026-01-01", **WHO)]
        log.append(make_change(at_range(0.14), at_range(0.15), log, time="2026-01-02", **WHO))
        log.append(make_change(at_range(0.15), at_range(0.17), log, time="2026-01-03", **WHO))
        file = tmp_path / "desk.toml"
        changes_path(file).write_bytes(encode_changes(log))
        return file

    def test_round_trip(self, history: Path) -> None:
        log = read_changes(history)
        assert len(log) == 3 and encode_changes(log) == changes_path(history).read_bytes()
        assert changes_path(history).name == "desk.changes.jsonl"
        assert read_changes(history.with_name("other.toml")) == []

    @pytest.mark.parametrize("gone", [0, 1])
    def test_a_removed_line_is_found(self, history: Path, gone: int) -> None:
        lines = changes_path(history).read_bytes().splitlines(keepends=True)
        del lines[gone]
        changes_path(history).write_bytes(b"".join(lines))
        with pytest.raises(CrossmarginError, match="RUL-042"):
            read_changes(history)

    def test_a_removed_last_line_is_found_by_the_file(self, history: Path) -> None:
        lines = changes_path(history).read_bytes().splitlines(keepends=True)
        changes_path(history).write_bytes(b"".join(lines[:-1]))
        with pytest.raises(CrossmarginError, match="RUL-043"):
            check_changes(at_range(0.17), read_changes(history))

    def test_lines_in_another_order_are_found(self, history: Path) -> None:
        a, b, c = changes_path(history).read_bytes().splitlines(keepends=True)
        changes_path(history).write_bytes(b + a + c)
        with pytest.raises(CrossmarginError, match="RUL-042"):
            read_changes(history)

    @pytest.mark.parametrize("field", ["author", "reason", "time", "hash_after", "previous"])
    def test_an_altered_field_is_found(self, history: Path, field: str) -> None:
        log = read_changes(history)
        old = getattr(log[1], field)
        log[1] = msgspec.structs.replace(log[1], **{field: "x" + old[1:]})
        changes_path(history).write_bytes(encode_changes(log))
        with pytest.raises(CrossmarginError, match="RUL-042"):
            read_changes(history)

    def test_an_altered_line_with_its_own_hash_renewed_is_found(self, history: Path) -> None:
        log = read_changes(history)
        touched = msgspec.structs.replace(log[1], author="Somebody")
        log[1] = msgspec.structs.replace(touched, hash=touched.digest)
        changes_path(history).write_bytes(encode_changes(log))
        with pytest.raises(CrossmarginError, match="RUL-042"):
            read_changes(history)

    @pytest.mark.parametrize("raw", [b"", b"{\n", b'{"format": "x"}\n', b"[]\n", b"\xff\xfe\n"])
    def test_what_is_no_record(self, history: Path, raw: bytes) -> None:
        changes_path(history).write_bytes(raw)
        with pytest.raises(CrossmarginError, match=r"INP-00[23]"):
            read_changes(history)

    def test_half_a_line_is_found(self, history: Path) -> None:
        whole = changes_path(history).read_bytes()
        changes_path(history).write_bytes(whole[:-40])
        with pytest.raises(CrossmarginError, match="INP-002"):
            read_changes(history)


class TestExpiry:
    def test_named_from_its_expiry_on_until_taken_back(self) -> None:
        lower = at_range(0.14)
        log = [make_change(rules(), lower, [], time="2026-01-01", expires="2026-02-01", **WHO)]
        before, after = parse_time("2026-01-31T23:59:59Z"), parse_time("2026-02-01")
        assert expired_changes(lower, log, before) == []
        assert expired_changes(lower, log, after) == [(log[0], [RANGE])]
        assert expired_changes(rules(), log, after) == []

    def test_a_later_record_settles_it(self) -> None:
        lower = at_range(0.14)
        log = [make_change(rules(), lower, [], time="2026-01-01", expires="2026-02-01", **WHO)]
        other = at_range(0.15)
        log.append(make_change(lower, other, log, time="2026-01-15", **WHO))
        log.append(make_change(other, lower, log, time="2026-01-16", **WHO))
        assert expired_changes(lower, log, parse_time("2026-03-01")) == []
