"""A private PostgreSQL server for tests: on a folder of its own, a Unix socket, no network.

Binaries are looked for on the PATH, in Debian's folders, and in the wheel ``pgserver`` (which is
not imported: only its programs are used). The server keeps fsync on, as the store demands. Run as
root it is started as another user, since initdb refuses root.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import pytest

USER = "crossmargin"


class NoServerError(Exception):
    """Why no server can be started here."""


def binaries() -> list[Path]:
    """Folders that hold initdb and postgres, the likeliest first."""
    found = []
    on_path = shutil.which("postgres")
    if on_path:
        found.append(Path(on_path).resolve().parent)
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    spec = importlib.util.find_spec("pgserver")
    if spec is not None and spec.origin:
        found.append(Path(spec.origin).parent / "pginstall" / "bin")
    return [p for p in dict.fromkeys(found) if (p / "initdb").exists()]


class PostgresServer:
    """A server that can be started, stopped and killed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _other_user()
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        tried = ["no initdb on the PATH, in /usr/lib/postgresql, or in pgserver"]
        for place in binaries():
            self._bin = place
            shutil.rmtree(self.data, ignore_errors=True)
            try:
                self._run("initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8",
                          "--no-locale", "--no-sync", "-k")  # fmt: skip
                self.start()
                return
            except (OSError, NoServerError) as error:
                self.stop()
                tried.append(f"{place}: {error}")
        raise NoServerError("; ".join(tried[1:] or tried))

    def _as_user(self) -> dict[str, object]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments], check=False, capture_output=True, text=True,
            cwd=self.folder, timeout=60, env=_plain(), **self._as_user(),
        )  # type: ignore[call-overload]  # fmt: skip
        if done.returncode:
            raise NoServerError(done.stderr.strip().splitlines()[-1] if done.stderr else program)

    def start(self) -> None:
        """Start, and return when it answers."""
        log = open(self.folder / "log", "ab")  # noqa: SIM115
        self._process = subprocess.Popen(
            [self._bin / "postgres", "-D", str(self.data), "-c", "listen_addresses=",
             "-c", f"unix_socket_directories={self.folder}", "-c", "max_connections=20",
             "-c", "shared_buffers=32MB"],
            stdout=log, stderr=log, cwd=self.folder, env=_plain(), **self._as_user(),
        )  # type: ignore[call-overload]  # fmt: skip
        log.close()
        self.wait()

    def wait(self, seconds: float = 30.0) -> None:
        """Return when the server answers."""
        import psycopg

        end = time.monotonic() + seconds
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.Error as error:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > end:
                    tail = (self.folder / "log").read_text(errors="replace").splitlines()[-1:]
                    raise NoServerError(f"it does not answer: {error}; {tail}") from None
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the server itself, and start it again when its children have noticed and gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        with contextlib.suppress(FileNotFoundError):
            (self.data / "postmaster.pid").unlink()
        end = time.monotonic() + 30
        while True:
            try:
                self.start()
                return
            except NoServerError:
                # Its children still hold its shared memory.
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def kill_session(self, pid: int) -> None:
        """Kill the process of one session: the server ends all of them and recovers."""
        before = self._times_ready()
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 30
        while self._times_ready() == before:
            assert time.monotonic() < end, "the server has not recovered"
            time.sleep(0.02)
        self.wait()

    def _times_ready(self) -> int:
        return (self.folder / "log").read_bytes().count(b"ready to accept connections")

    def stop(self) -> None:
        """Stop, whatever its clients do."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        self._process = None

    def url(self, database: str) -> str:
        """URL of a database on this server."""
        return f"postgresql://{USER}@/{database}?host={quote(str(self.folder), safe='')}"

    def database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)


def _other_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise NoServerError("initdb refuses root, and there is no other user")


def _plain() -> dict[str, str]:
    """An environment without settings of other servers."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}


@contextlib.contextmanager
def running_server():
    """A server for as long as the block lasts; skips the test, saying why, where there is none."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (extra [postgres])")
    folder = Path(tempfile.mkdtemp(prefix="cm-pg-"))
    server = None
    try:
        folder.chmod(0o755)
        try:
            server = PostgresServer(folder)
        except (NoServerError, OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"no PostgreSQL can be started here: {error}")
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
