"""A process under strace, and what the kernel saw of it: which writes and syncs ended before which answer began."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

WATCHED = "rename,renameat,fdatasync,fsync,pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg"
_WRITES = frozenset({"pwrite64", "pwritev", "pwritev2", "write", "writev"})
_SENDS = frozenset({"sendto", "sendmsg", "write", "writev"})
_SYNCS = frozenset({"fdatasync", "fsync"})
_BYTES = 16_384  # shown of each buffer: a page of a database and a message, whole
_LINE = re.compile(r"(?P<thread>\d+) +[\d.]+ (?P<rest>.*)")
_BEGUN = re.compile(r"(?P<name>\w+)\((?P<text>.*?)(?P<left><unfinished \.\.\.>)?$")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<text>.*)")
_FILE = re.compile(r"\d+<(?P<path>[^>]*)>")


@dataclass(frozen=True)
class Call:
    """One system call: its order at entry and at exit among all, and what strace printed of it."""

    name: str
    text: str
    began: int
    ended: int

    @property
    def done(self) -> bool:
        """It returned, and no error."""
        result = re.search(r"\) += (-?\d+)", self.text)
        return result is not None and int(result[1]) >= 0

    @property
    def path(self) -> str:
        """The file or socket of its first argument."""
        found = _FILE.match(self.text)
        return found["path"] if found else ""


def read_trace(lines: Iterable[str]) -> list[Call]:
    """The calls of ``strace -f -y -ttt``; those that never returned have no end in time."""
    lines = list(lines)
    calls: list[Call] = []
    begun: dict[tuple[str, str], tuple[str, int]] = {}  # thread, call -> what was printed, and where
    for at, line in enumerate(lines):
        of_thread = _LINE.match(line)
        if of_thread is None:
            continue
        thread, rest = of_thread["thread"], of_thread["rest"]
        if resumed := _RESUMED.match(rest):
            text, began = begun.pop((thread, resumed["name"]), ("", at))
            calls.append(Call(resumed["name"], text + resumed["text"], began, at))
        elif call := _BEGUN.match(rest):
            if call["left"]:
                begun[thread, call["name"]] = (call["text"], at)
            else:
                calls.append(Call(call["name"], call["text"], at, at))
    calls += [Call(name, text, began, len(lines)) for (_, name), (text, began) in begun.items()]
    return sorted(calls, key=lambda call: call.began)


def kept_before(calls: Sequence[Call], files: str, content: str, answer: str) -> bool:
    """Whether ``content`` was written to a file whose path matches ``files``, and that file synced, before ``answer``.

    A write ends before its sync begins, and the sync ends before the first call that sends ``answer`` begins.
    Raises AssertionError where ``answer`` was never sent.
    """
    told = next((call for call in calls if call.name in _SENDS and answer in call.text), None)
    assert told is not None, f"{answer} was never sent"
    written = [
        call
        for call in calls
        if call.name in _WRITES and call.done and content in call.text and re.search(files, call.path)
    ]
    synced = [call for call in calls if call.name in _SYNCS and call.done and call.ended < told.began]
    return any(write.path == sync.path and write.ended < sync.began for write in written for sync in synced)


@dataclass
class Traced:
    """A Python program under strace; ``port`` is the first line that it printed."""

    port: int
    trace: Path
    process: "subprocess.Popen[str]"

    def calls(self, answer: str, seconds: float = 10.0) -> list[Call]:
        """What was seen, once ``answer`` is among it: strace writes a moment after the peer has read."""
        until = time.monotonic() + seconds
        while answer not in (text := self.trace.read_text(errors="replace")) and time.monotonic() < until:
            time.sleep(0.05)
        return read_trace(text.splitlines())


@contextmanager
def traced(program: str, *arguments: str | Path, trace: Path) -> Iterator[Traced]:
    """Run Python source ``program`` under strace, all threads followed; kill it on leaving.

    Skips where strace is absent or may not trace.
    """
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    if subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody trace a process")
    watching = [
        "-f",
        "--seccomp-bpf",
        "-y",
        "-ttt",
        "-s",
        str(_BYTES),
        "-e",
        f"trace={WATCHED}",
        "-e",
        "signal=none",
        "-o",
        str(trace),
    ]
    printed = trace.with_suffix(".stderr").open("w+")
    process = subprocess.Popen(
        [strace, *watching, sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=printed,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first.strip().isdigit():
            printed.seek(0)
            raise RuntimeError(f"the program did not become ready:\n{printed.read()[-2000:]}")
        yield Traced(int(first), trace, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its own group: strace itself lets SIGTERM pass by
        process.communicate()
        printed.close()
