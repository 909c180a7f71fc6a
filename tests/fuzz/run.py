"""Every target for a fixed time, each in a process of its own: ``python -m fuzz.run --seconds 60 [TARGET ...]``.

What breaks a promise is written to ``tests/fuzz/crashes/TARGET``, which git ignores until it has a name: it may have
begun from published data, and is to be written again without it. What reaches new code stays in ``tests/fuzz/corpus``
only with ``--keep``. Published data is begun from with ``--published``, and not together with that.
"""

import argparse
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz.engine import AGAIN
from fuzz.published import published
from fuzz.targets import HERE, TARGETS, Target

_INPUT_SECONDS = 20
_MEMORY_MIB = 2048
_GRACE_SECONDS = 90  # to start, to read the corpus, and for the last input
_KEPT_BYTES = 16 * 1024
_STATE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)/")
_STATISTIC = re.compile(r"stat::(\w+):\s+(\d+)")


@dataclass(frozen=True)
class Report:
    """What one target's run came to; ``output`` is the engine's."""

    executions: int
    coverage: int
    features: int
    corpus: int
    peak_mib: int
    processor_seconds: float
    crashes: list[Path]
    output: str

    @property
    def broken(self) -> bool:
        return bool(self.crashes) or not self.executions


def run(target: Target, seconds: int, seed: int, *, keep: bool, begin_published: bool) -> Report:
    """Search for ``seconds``. The corpus is begun from, and published data where that is asked for."""
    target.crashes.mkdir(parents=True, exist_ok=True)
    target.corpus.mkdir(parents=True, exist_ok=True)
    before = set(target.crashes.iterdir())
    with TemporaryDirectory(prefix="hilum-fuzz-") as name:
        folder = Path(name)
        found, begun = folder / "found", folder / "begun"
        found.mkdir()
        begun.mkdir()
        for number, data in enumerate(published(target.name) if begin_published else ()):
            (begun / f"{number:04d}").write_bytes(data)
        (folder / "words").write_text(target.dictionary)
        options = [
            f"-dict={folder / 'words'}",
            f"-max_total_time={seconds}",
            f"-max_len={target.max_bytes}",
            f"-timeout={_INPUT_SECONDS}",
            f"-rss_limit_mb={_MEMORY_MIB}",
            f"-seed={seed}",
            f"-artifact_prefix={target.crashes}{os.sep}",
            "-print_final_stats=1",
        ]
        spent = os.times().children_user
        output = _engine(target, [*options, str(found), str(target.corpus), str(begun)], seconds + _GRACE_SECONDS)
        spent = os.times().children_user - spent
        if keep:
            _keep(target, folder, found)
    target_crashes = sorted(set(target.crashes.iterdir()) - before)
    if not any(target.crashes.iterdir()):
        target.crashes.rmdir()
    states, statistics = _STATE.findall(output), dict(_STATISTIC.findall(output))
    coverage, features, corpus = map(int, states[-1]) if states else (0, 0, 0)
    executions, peak = int(statistics.get("number_of_executed_units", 0)), int(statistics.get("peak_rss_mb", 0))
    return Report(executions, coverage, features, corpus, peak, spent, target_crashes, output)


def _engine(target: Target, arguments: list[str], limit: float, again: Path | None = None) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    if again is not None:
        again.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m fuzz.engine {target.name} "$@"\n')
        again.chmod(0o700)
        environment[AGAIN] = str(again)
    command = [sys.executable, "-m", "fuzz.engine", target.name, *arguments]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, check=False
    )
    return done.stdout.decode("utf-8", "replace")


def _keep(target: Target, folder: Path, found: Path) -> None:
    """Merge what was found into the corpus: the fewest and smallest inputs that reach as much."""
    merged = folder / "merged"
    merged.mkdir()
    options = ["-merge=1", f"-max_len={_KEPT_BYTES}", str(merged), str(target.corpus), str(found)]
    _engine(target, options, 600, folder / "again")
    smallest = sorted(merged.iterdir(), key=lambda path: path.stat().st_size)
    assert smallest, "a merge that keeps nothing has failed"
    for path in target.corpus.iterdir():
        path.unlink()
    for path in smallest:
        (target.corpus / path.name).write_bytes(path.read_bytes())


def main() -> int:
    arguments = argparse.ArgumentParser(description="Search every reader for what breaks its promises.")
    arguments.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all when none is named")
    arguments.add_argument("--seconds", type=int, default=60, help="for each target")
    arguments.add_argument("--seed", type=int, default=1, help="0: another one each time")
    began = arguments.add_mutually_exclusive_group()
    began.add_argument("--keep", action="store_true", help="merge what reaches new code into the corpus")
    began.add_argument("--published", action="store_true", help="begin from published data too, where it is there")
    chosen = arguments.parse_args()
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        print("the search needs Atheris, which is there for Linux on x86-64 alone; the structured tests run anywhere")
        return 0
    broken = []
    print(
        f"{'target':12} {'executions':>11} {'a second':>9} {'edges':>6} {'features':>9} {'corpus':>7} {'MiB':>5}",
        flush=True,
    )
    for name in chosen.targets or TARGETS:
        began = time.monotonic()
        report = run(TARGETS[name], chosen.seconds, chosen.seed, keep=chosen.keep, begin_published=chosen.published)
        rate = report.executions / max(time.monotonic() - began, 1)
        row = f"{name:12} {report.executions:11} {rate:9.0f} {report.coverage:6} {report.features:9} {report.corpus:7}"
        print(f"{row} {report.peak_mib:5}", flush=True)
        if report.broken:
            broken.append(name)
            print("\n".join(report.output.splitlines()[-40:]))
            for path in report.crashes:
                print(f"again: PYTHONPATH={HERE.parent} {sys.executable} -m fuzz.engine {name} {path}")
    if broken:
        print(f"broken: {', '.join(broken)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
