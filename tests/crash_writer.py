"""Writers to be killed: a process that forks them on command, so that each starts in milliseconds.

On the standard input come lines ``PLACE NEXT SEED``. Each forks a writer that opens the ledger and
appends entries NEXT, NEXT + 1, … in batches of a size drawn with SEED, until it is killed. What
happens is written to the standard output, one line each:

``p PID BACKEND``   the writer has opened the ledger (BACKEND: process of the server, or 0)
``c LAST``          it is about to commit entries up to LAST
``a LAST DUPLICATES``  they were acknowledged; so many of them were there before
``e CODE``          the store refused; the writer ends
``x STATUS``        the writer is gone
"""

from __future__ import annotations

import os
import random
import sys

from crossmargin.accounts.store import open_store
from crossmargin.errors import StoreError
from tests.ledger_entries import made_entries


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def write(place: str, first: int, rng: random.Random) -> None:
    """Append until killed."""
    say(f"f {os.getpid()}")
    store = open_store(place, writer="victim", create=True, wait_s=20.0)
    backend = store._backend
    commit = backend.commit
    last = first - 1

    def told() -> None:
        say(f"c {last}")
        commit()

    backend.commit = told  # type: ignore[method-assign]
    served = backend._connection.info.backend_pid if place.startswith("postgresql") else 0
    say(f"p {os.getpid()} {served}")
    size = rng.choice((1, 7, 60, 250))
    while last < first + 20_000:
        start, last = last + 1, last + rng.randrange(1, 2 * size)
        done = store.append(made_entries(start, last))
        if [a.seq for a in done] != list(range(start, last + 1)):
            say("e order")
            return
        say(f"a {last} {sum(a.duplicate for a in done)}")


def main() -> None:
    """Fork a writer for each line."""
    # Loaded before the first fork, not in each.
    import alembic.command
    import sqlalchemy.dialects.sqlite

    from crossmargin.accounts.store import _sqlite

    try:
        from crossmargin.accounts.store import _postgres
    except ImportError:
        _postgres = None  # type: ignore[assignment]
    del alembic, sqlalchemy, _sqlite, _postgres
    for line in sys.stdin:
        place, first, seed = line.split()
        child = os.fork()
        if child == 0:
            try:
                write(place, int(first), random.Random(seed))
            except StoreError as error:
                say(f"e {error.code}")
            except BaseException as error:
                say(f"e {type(error).__name__}")
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        say(f"x {status}")


if __name__ == "__main__":
    main()
