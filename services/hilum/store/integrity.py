"""Whether a state database is whole, asked before a service writes to it.

SQLite finds a damaged page when it comes upon it, and cuts a damaged write-ahead log without a word. Neither may wait
for the day on which the page is needed: state that lost its newest decisions would decide them anew.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from hilum.errors import Fault
from hilum.eventlog.integrity import check_write_ahead_log

_LOG = logging.getLogger(__name__)
CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
QUICK_BYTES = 256 * 1024 * 1024
"""Up to this size a database is read whole at each start: well under a second."""
_RESTORE = "restore it, together with its -wal, from a copy of the state folder"
_REMAKE = "move it and its -wal away, and the next start makes it again from the log"
# What these hold is a projection of the log and nothing else.
_REMADE = frozenset({"ledger", "imaging"})


def check_state(path: Path, *, ended_in_order: bool) -> None:
    """Raises `Fault` (`state_corrupt`) that says what to do when the database at ``path`` is damaged.

    A large one is read whole only after an end that was not in order; a content that was altered within a page, its
    structure left as it was, is not found. An absent database is whole. Blocks.
    """
    if not path.exists():
        return
    size = path.stat().st_size
    if size > QUICK_BYTES and ended_in_order:
        return
    if size > QUICK_BYTES:
        _LOG.info("%s is read whole (%d MiB): the last run did not end in order", path.name, size >> 20)
    try:
        check_write_ahead_log(path)
    except Fault as error:
        raise corrupt(path, error.text) from error
    try:
        # Read-only: the end of a connection that may write would carry its write-ahead log into the database.
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if is_corrupt(error):
            raise corrupt(path, str(error)) from error
        return  # away, not damaged: whoever opens it for its service says so
    if found != "ok":
        raise corrupt(path, found.splitlines()[-1])


def is_corrupt(error: BaseException | None) -> bool:
    """Whether a database driver's error tells of damage; no retry helps then."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in CORRUPT


def corrupt(path: Path, what: str) -> Fault:
    """The error that names the file of a service's state and the remedy."""
    remedy = _REMAKE if path.stem in _REMADE else _RESTORE
    return Fault("state_corrupt", f"{path} is damaged ({what}): {remedy}")
