"""`python -m hilum.simulator.world`: live seeds through; a failing one is told with the command that replays it."""

# ruff: noqa: T201 - a command

import argparse
import sys
import time
from pathlib import Path

from hilum.simulator.world.runner import STUDIES, Tally, run, tell_lives
from hilum.simulator.world.world import live

_TOLD = 40  # lines of a failing history
_EVERY = 20  # seeds between two lines of progress


def main() -> int:
    told = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    told.add_argument("--seeds", type=int, default=200)
    told.add_argument("--first", type=int, default=1)
    told.add_argument("--seed", type=int, help="this one alone, its whole history to a file")
    told.add_argument("--studies", type=int, default=STUDIES)
    told.add_argument("--lives", type=int, nargs=3, metavar=("FIRST", "END", "STEP"), help="as lines of JSON")
    arguments = told.parse_args()
    if arguments.lives is not None:
        for line in tell_lives(range(*arguments.lives), arguments.studies):
            print(line, flush=True)
        return 0
    if arguments.seed is not None:
        return _one(arguments.seed, arguments.studies)
    began, tally = time.monotonic(), Tally()
    for life, wrong in run(arguments.first, arguments.seeds, arguments.studies):
        tally.add(life)
        if wrong:
            tally.failed.append(f"seed {life.seed}: {wrong}")
            print(f"seed {life.seed}: {wrong}\n  again: make simulate SEED={life.seed}", flush=True)
        if tally.lived % _EVERY == 0:
            spent = time.monotonic() - began
            print(f"{tally.lived} of {arguments.seeds} seeds, {len(tally.failed)} failed, {spent:.0f} s", flush=True)
    spent = time.monotonic() - began
    print(
        f"{tally.lived} seeds of {arguments.studies} studies, each lived twice: {tally.seconds / 3600:.1f} h of "
        f"simulated time in {spent:.0f} s; {tally.happenings['durable']:,} events, {tally.happenings['fault']:,} "
        f"faults, {tally.happenings['kill']:,} kills; {len(tally.failed)} failed"
    )
    return bool(tally.failed)


def _one(seed: int, studies: int) -> int:
    report = live(seed, studies, keep_all=True)
    path = Path(f"seed-{seed}.history")
    path.write_text("\n".join(report.lines) + "\n")
    ((_, wrong),) = run(seed, 1, studies)
    print("\n".join(report.lines[-_TOLD:]))
    print(f"seed {seed}: {wrong or 'all that must hold did'}; {report.seconds:.0f} s, history in {path}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
