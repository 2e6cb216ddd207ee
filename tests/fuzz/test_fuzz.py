"""A short run of the fuzzer on every reader; the long one is ``make fuzz``."""

from __future__ import annotations

import pytest

from tests.fuzz.run import feed, one
from tests.fuzz.targets import Target, targets

NAMES = [target.name for target in targets()]


@pytest.mark.parametrize("place", range(len(NAMES)), ids=NAMES)
def test_mutated_files_are_read_or_refused(place: int) -> None:
    seen, findings = feed(targets()[place], 1_500, seed=1)
    assert not findings, findings[0]
    assert seen["read"] > 0 and seen["refused"] > 0


def test_the_fuzzer_finds_what_it_looks_for() -> None:
    """A reader that turns what is missing into 0, and one that falls over."""

    def zero(raw: bytes) -> dict[str, float]:
        return {"amount": 0.0}

    from tests.fuzz.targets import no_silent_zero

    silent = Target("silent", [{}], zero, no_silent_zero)
    assert one(silent, b'{"amount": "ten"}')[0] == "finding"
    assert one(silent, b'{"amount": 0}')[0] == "read"
    broken = Target("broken", [{}], lambda raw: 1 // 0, no_silent_zero)
    assert one(broken, b"{}")[0] == "finding"
