"""PostgreSQL, the Debian package: a server of its own, with a password of its own, on loopback."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from peers.child import required, running
from peers.ports import take_free_port

_VERSIONS = Path("/usr/lib/postgresql")
_USER = "postgres"  # of the system: the package makes it, and the server refuses to run as root
_ROLE = "hilum"
_SECONDS = 30.0


@dataclass
class Postgres:
    """A server that can be stopped, killed and started again on what is left in its folder."""

    port: int
    password: str
    log: Path
    program: Sequence[str]
    processes: ExitStack
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Of the database ``hilum``, as clients write it; SQLAlchemy wants its driver's name behind the scheme."""
        return f"postgresql://{_ROLE}:{self.password}@127.0.0.1:{self.port}/{_ROLE}"

    def execute(self, statement: str, database: str = _ROLE) -> str:
        """The rows that psql prints for ``statement``, one a line."""
        options = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port))
        psql = (required("psql", "postgresql-client"), *options, "-U", _ROLE, "-d", database, "-c", statement)
        return _output(psql, {"PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "5"})

    def start(self) -> None:
        """Return once it answers."""
        process = self.process = self.processes.enter_context(running(self.program, self.log))
        until = time.monotonic() + _SECONDS
        while True:
            try:
                self.execute("SELECT 1", "postgres")
            except RuntimeError as error:
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"PostgreSQL did not start: {error}\n{self.log.read_text()[-2000:]}") from error
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """As an upgrade does: clients are cut off, and nothing is left to recover."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL of the server; its children end when they miss it."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        self.process.wait(_SECONDS)
        self.process = None


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server with one database, ``hilum``, that belongs to the role of the same name."""
    folder = Path(tempfile.mkdtemp(prefix="hilum-postgres-"))
    try:
        as_user = _as_its_user(folder)
        data, port, password = folder / "data", take_free_port(), secrets.token_urlsafe(16)
        (folder / "password").write_text(password)
        (folder / "password").chmod(0o644)  # the folder itself is its user's alone
        access = ("--username", _ROLE, "--auth=scram-sha-256", f"--pwfile={folder}/password")
        _output([*as_user, _program("initdb"), "-D", str(data), *access, "--encoding=UTF8", "--no-locale"])
        (folder / "password").unlink()
        options = ("-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
        program = [*as_user, _program("postgres"), "-D", str(data), *options]
        with ExitStack() as processes:
            server = Postgres(port, password, folder / "log", program, processes)
            server.start()
            server.execute(f"CREATE DATABASE {_ROLE}", "postgres")
            try:
                yield server
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder)


def _as_its_user(folder: Path) -> list[str]:
    """How to run a program that root may not run; ``folder`` becomes its user's."""
    if os.geteuid() != 0:
        return []
    try:
        user = pwd.getpwnam(_USER)
    except KeyError:
        pytest.fail(f"there is no user {_USER}: install the Debian package postgresql, or run tools/setup production")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return [required("setpriv", "util-linux"), f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]


def _program(name: str) -> str:
    """Debian keeps the server's programs off PATH, in a folder a version."""
    found = sorted(_VERSIONS.glob(f"*/bin/{name}"), key=lambda path: int(path.parent.parent.name))
    return str(found[-1]) if found else required(name, "postgresql")


def _output(arguments: Sequence[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        arguments,
        env={**os.environ, **(environment or {})},
        cwd="/",  # the server's user may not read ours
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{Path(arguments[0]).name}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout.strip()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One PostgreSQL a session."""
    with postgres() as server:
        yield server
