"""A writer is killed again and again, mostly within commits; nothing it was told is lost.

The writer is a process of its own and this one records what it acknowledges. After each kill the
log is verified and read whole: every acknowledged entry is there, each once and with its content,
and what is sent again is reported as a duplicate exactly where it was there. ``CROSSMARGIN_KILLS``
sets the number of kills of each database (20 unless told; ``make crash`` takes 1,000).
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.ledger_entries import content, made_entries, wanted
from tests.postgres import running_server

from crossmargin.accounts.store import open_store, verify_store

KILLS = int(os.environ.get("CROSSMARGIN_KILLS", "20"))
#: A ledger is begun anew after so many kills, so that reading it whole stays cheap.
ROUNDS = 40
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


class Victims:
    """The process that forks writers, and the pipe on which they tell what they do."""

    def __init__(self) -> None:
        path = os.pathsep.join(p for p in [str(Path(__file__).parents[2]), *sys.path] if p)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash_writer"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        self._rest = b""

    def start(self, place: str, first: int, seed: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{place} {first} {seed}\n".encode())
        self._process.stdin.flush()

    def line(self) -> list[str]:
        """Wait for a line."""
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            if not select.select([self._process.stdout], [], [], 60)[0]:
                raise AssertionError("the writer says nothing")
            more = os.read(self._process.stdout.fileno(), 65536)
            assert more, "the process that forks writers has ended"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode().split()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture(scope="module")
def victims():
    made = Victims()
    yield made
    made.close()


@dataclass
class Told:
    """What this process has recorded of a ledger: all that was acknowledged, over its kills."""

    acknowledged: int = 0
    there: int = 0
    killed: int = 0
    inside: int = 0
    kept: int = 0
    again: int = 0
    committing: int = 0


def until_killed(victims: Victims, place: str, told: Told, rng: random.Random, kill) -> None:
    """Let a writer run from the first entry that was not acknowledged, and kill it.

    Parameters
    ----------
    kill : callable
        Kills, given the pids of the writer and of its server process.
    """
    told.killed += 1
    seed = f"{rng.random()}"
    victims.start(place, told.acknowledged + 1, seed)
    moment = rng.choice(("opening", "commit", "commit", "commit", "commit", "anywhere"))
    wait = rng.random() * {"opening": 0.01, "commit": 0.002, "anywhere": 0.03}[moment]
    commits = rng.randrange(1, 5)
    pid = served = committing = 0
    dead = False

    def strike() -> None:
        nonlocal dead
        end = time.perf_counter() + wait
        while time.perf_counter() < end:
            pass
        dead = True
        kill(pid, served)

    start = told.acknowledged
    while True:
        word, *rest = victims.line()
        if word == "x":
            assert dead, rest
            break
        if word == "f":
            pid = int(rest[0])
            if moment == "opening" and kill is at_once:
                strike()
        elif word == "p":
            served = int(rest[1])
            if moment == "anywhere":
                strike()
        elif word == "c":
            committing = int(rest[0])
            commits -= 1
            if not dead and (commits == 0 or moment == "opening"):
                strike()
        elif word == "a":
            last, duplicates = int(rest[0]), int(rest[1])
            assert duplicates == max(0, min(told.there, last) - told.acknowledged)
            told.again += duplicates
            told.acknowledged, committing = last, 0
        else:
            # Only when the server was killed does the writer live to tell of it.
            assert word == "e" and dead and rest[0] in ("STO-011", "STO-014"), (word, rest)
    told.inside += committing > 0
    told.committing = committing
    assert told.acknowledged >= start


def at_once(pid: int, served: int) -> None:
    os.kill(pid, signal.SIGKILL)


def hold(place: str, told: Told) -> None:
    """Look at what is there: all that was acknowledged, in order, once, with its content."""
    before = max(told.there, told.acknowledged)
    if place.startswith("postgresql"):
        # The server may still be within the commit of a client that is gone: the lock tells.
        with open_store(place, writer="look", create=True, wait_s=20.0):
            pass
    if place.startswith("postgresql") or Path(place).exists():
        try:
            found = verify_store(place)
        except Exception as error:
            # Killed before the tables were made, nothing was acknowledged.
            assert getattr(error, "code", "") == "STO-001" and told.acknowledged == 0, error
            return
        assert found.ok, found
        with open_store(place) as store:
            told.there = 0
            for told.there, record in enumerate(store.read(), 1):
                assert record.seq == told.there and content(record) == wanted(told.there)
        assert found.entries == told.there
    if told.committing:
        assert told.there in (before, told.committing)  # a commit is whole or not there
        told.kept += told.there == told.committing
        told.committing = 0
    assert told.there >= told.acknowledged


def finish(place: str, told: Told) -> None:
    """Send everything again, as a writer would that remembers nothing, and one entry more."""
    with open_store(place, writer="last", create=True, wait_s=20.0) as store:
        done = store.append(made_entries(1, told.there + 1))
    assert [a.duplicate for a in done] == [True] * told.there + [False]
    found = verify_store(place)
    assert found.ok and found.entries == told.there + 1


def check(told: list[Told], kills: int) -> None:
    """Say how it went, and hold it to having been a test at all."""
    inside, kept = sum(t.inside for t in told), sum(t.kept for t in told)
    killed = sum(t.killed for t in told)
    print(
        f"{killed} kills, {inside} between the beginning of a commit and its acknowledgement "
        f"({kept} had reached the disk, {inside - kept} not); {sum(t.there for t in told)} "
        f"entries, {sum(t.again for t in told)} were there when they were sent again"
    )
    assert killed == kills and inside >= kills // 5
    assert kills < 100 or 0 < kept < inside


def test_a_killed_writer_of_a_file(victims, tmp_path) -> None:
    rng = random.Random(5)
    ledgers = []
    for turn in range(KILLS):
        if turn % ROUNDS == 0:
            ledgers.append(Told())
        place = str(tmp_path / f"ledger{len(ledgers)}")
        until_killed(victims, place, ledgers[-1], rng, at_once)
        hold(place, ledgers[-1])
        if turn % ROUNDS == ROUNDS - 1 or turn == KILLS - 1:
            finish(place, ledgers[-1])
            for end in ("", "-wal", "-shm"):
                Path(place + end).unlink(missing_ok=True)
    check(ledgers, KILLS)


@pytest.fixture(scope="module")
def server():
    with running_server() as found:
        yield found


def test_a_killed_writer_of_a_server(victims, server) -> None:
    rng = random.Random(6)
    ledgers = []
    for turn in range(KILLS):
        if turn % ROUNDS == 0:
            ledgers.append(Told())
            place = server.database("crash")
        until_killed(victims, place, ledgers[-1], rng, at_once)
        hold(place, ledgers[-1])
        if turn % ROUNDS == ROUNDS - 1 or turn == KILLS - 1:
            finish(place, ledgers[-1])
    check(ledgers, KILLS)


@pytest.mark.parametrize("whole", [False, True], ids=["session", "server"])
def test_a_killed_server(whole, victims, server) -> None:
    """The server's process of the writer's session is killed, or the server itself."""
    rng = random.Random(7)
    told = Told()
    place = server.database("struck")
    kills = max(2, KILLS // 20)

    def strike(pid: int, served: int) -> None:
        if whole:
            server.kill()
        else:
            server.kill_session(served)

    for _ in range(kills):
        until_killed(victims, place, told, rng, strike)
        hold(place, told)
    finish(place, told)
    assert told.killed == kills
