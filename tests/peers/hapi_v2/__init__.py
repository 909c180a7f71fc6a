"""HAPI HL7v2, another maker's reader and receiver of HL7 v2: three Java programs over its jars (README.md beside this).

The jars come from Maven once, the classes are compiled once; both stay in the cache of the testbed.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from peers.child import required, running
from peers.testbed import cache, maven_jars

_HERE = Path(__file__).parent
_POM = _HERE / "pom.xml"
_SHORT = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # for a run of seconds


@dataclass(frozen=True)
class Reading:
    """What HAPI reads of one file, or why it does not.

    ``rows`` has an element an order, report or patient: segment name to segments, each a map of field number to
    repetitions, components and subcomponents, unescaped.
    """

    file: Path
    version: str
    structure: str
    rows: list[dict[str, list[dict[str, list[list[list[str]]]]]]]
    error: str
    text: str


@dataclass(frozen=True)
class Figures:
    """What ``Bench`` measured: messages read in ``seconds``; ``per_cpu_second`` is of its thread's own time."""

    messages: int
    seconds: float
    per_second: float
    per_cpu_second: float
    places: int
    valued: int
    absent: tuple[str, ...]


def classpath(config: pytest.Config | None = None) -> str:
    """The jars and the compiled programs; fetched and compiled first where they are not."""
    jars = maven_jars("hapi-v2", _POM, config)
    sources = sorted(_HERE.glob("*.java"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (_POM, *sources))).hexdigest()[:12]
    classes = cache() / f"hapi-v2-classes-{digest}"
    if not classes.is_dir():
        javac = required("javac", "default-jdk-headless")
        with tempfile.TemporaryDirectory(dir=cache(), prefix="hapi-v2-") as scratch:
            arguments = [javac, "-Xlint:all", "-d", f"{scratch}/classes", "-cp", f"{jars}/*", *map(str, sources)]
            subprocess.run(arguments, check=True, capture_output=True, timeout=120.0)
            with contextlib.suppress(FileExistsError):  # another run was quicker
                os.rename(f"{scratch}/classes", classes)  # noqa: PTH104 - onto a folder it must fail
    return f"{classes}:{jars}/*"


def command(
    program: str, *arguments: object, options: Sequence[str] = (), config: pytest.Config | None = None
) -> list[str]:
    """The command line of ``Fields``, ``Bench`` or ``Service``; ``options`` are Java's own."""
    java = required("java", "default-jdk-headless")
    return [java, *options, "-cp", classpath(config), program, *(str(argument) for argument in arguments)]


def read_fields(files: Sequence[Path], config: pytest.Config | None = None) -> list[Reading]:
    """What HAPI reads of each file, in order."""
    done = subprocess.run(
        command("Fields", options=_SHORT, config=config),
        input="".join(f"{file}\n" for file in files),
        capture_output=True,
        text=True,
        check=True,
        timeout=300.0,
    )
    return [_reading(json.loads(line)) for line in done.stdout.splitlines()]


def bench(file: Path, seconds: float, places: Sequence[str] = ()) -> Figures:
    """Messages a second that HAPI parses and reads 20 order fields of, or ``places`` (``/.PID-3-1``) instead."""
    arguments = command("Bench", file, seconds, *places)
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60.0 + 3 * seconds)
    figures = json.loads(done.stdout)
    return Figures(**{**figures, "absent": tuple(figures["absent"])})


@dataclass(frozen=True)
class Service:
    """A running HL7Service on loopback."""

    port: int
    pid: int
    file: Path


@contextlib.contextmanager
def serving(
    file: Path, log: Path, port: int = 0, *, validating: bool = False, under: Sequence[str] = ()
) -> Iterator[Service]:
    """HAPI's HL7Service, which forces each message to ``file`` before it acknowledges it; ended on leaving.

    ``validating``: with the checks of a context of its defaults. ``under`` is the command line that its own follows.
    """
    arguments = [*under, *command("Service", port, file, *(["validating"] if validating else []))]
    with running(arguments, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"HAPI's service did not start:\n{log.read_text()[-2000:]}")
        yield Service(json.loads(line)["port"], process.pid, file)


def _reading(answer: dict[str, Any]) -> Reading:
    return Reading(
        Path(answer["file"]),
        answer.get("version", ""),
        answer.get("structure", ""),
        answer.get("rows", []),
        answer.get("error", ""),
        answer.get("text", ""),
    )
