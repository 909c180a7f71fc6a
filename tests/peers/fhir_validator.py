"""The HAPI FHIR validator (R4): one Java process a session, asked over its standard input."""

import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from peers.child import required, running
from peers.testbed import maven_jars

_HAPI = Path(__file__).parent / "hapi"
_SECONDS = 60.0


@dataclass(frozen=True)
class Issue:
    """One remark of the validator. ``resource`` is the position of the resource in the list that was asked about."""

    resource: int
    severity: str  # fatal, error, warning, information
    location: str
    message: str

    @property
    def is_error(self) -> bool:
        return self.severity in ("error", "fatal")


class FhirValidator:
    """Call it with resources as JSON texts; it returns every issue that HAPI finds in them."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._answers: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __call__(self, resources: Sequence[str]) -> list[Issue]:
        return [issue for position, resource in enumerate(resources) for issue in self._validate(position, resource)]

    def errors(self, resources: Sequence[str]) -> list[Issue]:
        """The issues of severity error or fatal alone."""
        return [issue for issue in self(resources) if issue.is_error]

    def wait_until_ready(self) -> None:
        while "ready" not in self._answer():
            pass

    def _validate(self, position: int, resource: str) -> Iterator[Issue]:
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            file.write(resource)
            file.flush()
            assert self._process.stdin is not None
            self._process.stdin.write(file.name.encode() + b"\n")
            self._process.stdin.flush()
            while "done" not in (answer := self._answer()):
                yield Issue(position, answer["severity"], answer["location"], answer["message"])

    def _answer(self) -> dict[str, str]:
        try:
            line = self._answers.get(timeout=_SECONDS)
        except queue.Empty:
            line = b""
        if not line:
            raise RuntimeError(f"the FHIR validator gave no answer:\n{self._log.read_text()[-2000:]}")
        answer: dict[str, str] = json.loads(line)
        return answer

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(b"")


@pytest.fixture(scope="session")
def fhir_validator(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[FhirValidator]:
    """The validator, started once a session: the first start fetches 145 MB, later ones take about 3 s."""
    java = required("java", "default-jdk-headless")
    jars = maven_jars("hapi-r4", _HAPI / "pom.xml", pytestconfig)
    log = tmp_path_factory.mktemp("fhir_validator") / "log"
    options = ("-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8")
    with running(
        [java, *options, "-cp", f"{jars}/*", _HAPI / "Validate.java"],
        log,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        validator = FhirValidator(process, log)
        validator.wait_until_ready()
        yield validator
