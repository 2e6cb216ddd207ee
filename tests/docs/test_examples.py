"""Every example runs offline, in a folder of its own, and prints what it is there to show."""

from __future__ import annotations

import runpy
import socket
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.py"))

#: A line that each must print.
SHOWS = {
    "01_margin_of_an_account": "initial margin",
    "02_compare_rule_sets": "deribit-sm-cross",
    "03_build_a_market_from_a_reply": "dropped",
    "04_write_a_rule_set": "hash",
    "05_many_accounts": "accounts",
    "06_size_costs": "split over two accounts",
    "07_a_venues_day": "all of them what was written",
    "08_a_cascade": "is used up in a tenth of the runs",
    "09_a_desks_morning": "margin path: peak",
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise AssertionError("an example asked for the network")

    monkeypatch.setattr(socket, "create_connection", offline)
    monkeypatch.setattr(socket.socket, "connect", offline)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    out = capsys.readouterr().out
    assert SHOWS[path.stem] in out
    assert "nan" not in out.lower().split()


def test_every_example_is_here_and_short() -> None:
    assert [path.stem for path in EXAMPLES] == sorted(SHOWS)
    for path in EXAMPLES:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 80, path.name
