"""Many seeds on every core, each lived twice: the second life, in a process whose hashes differ, must be the same."""

import json
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

from hilum.simulator.world.world import Report, live

STUDIES = 40


@dataclass(frozen=True)
class Life:
    """What is told of one life; ``wrong`` is empty when all that must hold did."""

    seed: int
    digest: str
    wrong: str
    seconds: float
    counts: dict[str, int]


@dataclass
class Tally:
    """What came of the seeds so far."""

    lived: int = 0
    seconds: float = 0.0  # of simulated time
    happenings: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def add(self, life: Life) -> None:
        self.lived += 1
        self.seconds += life.seconds
        self.happenings.update(life.counts)


def life_of(report: Report) -> Life:
    wrong = "" if report.violation is None else str(report.violation)
    return Life(report.seed, report.digest, wrong, report.seconds, dict(report.counts))


def tell_lives(seeds: range, studies: int) -> Iterator[str]:
    """A line of JSON for each seed. What the services log about their troubles would drown everything else."""
    logging.disable(logging.CRITICAL)
    for seed in seeds:
        yield json.dumps(life_of(live(seed, studies)).__dict__)


def run(first: int, seeds: int, studies: int = STUDIES) -> Iterator[tuple[Life, str]]:
    """Each seed's life and what is wrong with it, or with its being lived again; in the order of the seeds."""
    lanes = max(1, min(seeds, (os.cpu_count() or 2) // 2))
    with ExitStack() as stack:
        lives = [
            [stack.enter_context(_Lane(first + n, lanes, first + seeds, studies, hashes)) for n in range(lanes)]
            for hashes in ("1", "2")
        ]
        for number in range(seeds):
            one, other = (lane[number % lanes].next() for lane in lives)
            yield one, wrong_with(one, other)


def wrong_with(one: Life, other: Life) -> str:
    if not one.wrong and one.digest != other.digest:
        return f"not_deterministic: {one.digest[:16]} and {other.digest[:16]}"
    return one.wrong or other.wrong


class _Lane:
    """A process that lives every so-manieth seed, with hashes of its own."""

    def __init__(self, first: int, step: int, end: int, studies: int, hashes: str) -> None:
        command = [sys.executable, "-m", "hilum.simulator.world", "--lives", str(first), str(end), str(step)]
        self._process = subprocess.Popen(  # noqa: S603 - this very module
            [*command, "--studies", str(studies)],
            env=os.environ | {"PYTHONHASHSEED": hashes},
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def next(self) -> Life:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the seeded world ended with {self._process.wait()}")
        return Life(**json.loads(line))
