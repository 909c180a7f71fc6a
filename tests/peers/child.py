"""A child process that never outlives its test."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest


def required(program: str, package: str) -> str:
    """The path of ``program``; the test fails, naming the Debian package, where it is not installed."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        pytest.fail(f"{program} is absent: install the Debian package {package}, or run tools/setup")
    return path


@contextlib.contextmanager
def running(
    arguments: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in its own process group, with what it prints in ``log``; end the group on leaving."""
    with log.open("ab") as printed:
        process = subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=stdin,
            stdout=printed if stdout is None else stdout,
            stderr=printed,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], seconds: float = 5.0) -> None:
    """End the group of ``process``: politely, then by force."""
    for step in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, step)
        try:
            process.wait(seconds)
            break
        except subprocess.TimeoutExpired:
            continue
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
