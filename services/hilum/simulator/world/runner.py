"""Many seeds on every core, each lived twice: the second life in a process whose hashes differ must be the same."""

import logging
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from hilum.simulator.world.world import Report, live

STUDIES = 40
_LIVES_A_PROCESS = 25


@dataclass
class Tally:
    """What came of the seeds so far."""

    lived: int = 0
    seconds: float = 0.0  # of simulated time
    happenings: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def add(self, report: Report) -> None:
        self.lived += 1
        self.seconds += report.seconds
        self.happenings.update(report.counts)


def quiet_live(seed: int, studies: int) -> Report:
    """As `live`, in a process where what the services log about their troubles would drown everything else."""
    logging.disable(logging.CRITICAL)
    return live(seed, studies)


def run(first: int, seeds: int, studies: int = STUDIES) -> Iterator[tuple[Report, str]]:
    """Each seed's report and what is wrong with it; empty when nothing is. In the order of the seeds."""
    workers = max(1, (os.cpu_count() or 2) // 2)
    wanted = range(first, first + seeds)
    with _pool(workers, "1") as ones, _pool(workers, "2") as others:
        lives = ones.map(quiet_live, wanted, [studies] * seeds)
        again = others.map(quiet_live, wanted, [studies] * seeds)
        for one, other in zip(lives, again, strict=True):
            yield one, wrong_with(one, other)


def wrong_with(one: Report, other: Report) -> str:
    if one.violation is not None:
        return str(one.violation)
    if one.digest != other.digest:
        return f"not_deterministic: {one.digest[:16]} and {other.digest[:16]}"
    return "" if other.violation is None else str(other.violation)


def _pool(workers: int, hash_seed: str) -> ProcessPoolExecutor:
    """Processes that order their sets in a way of their own."""
    context = multiprocessing.get_context("spawn")
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = hash_seed
    try:
        pool = ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=_LIVES_A_PROCESS)
        pool.submit(time.monotonic).result()
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before
    return pool
