"""Bugs planted on purpose, each in the shape in which it is really made. The seeded world must find every one.

Usage: make mutants [SEEDS=200] [NAMES=...]. Prints which seed found it, and by which rule.
"""

# ruff: noqa: T201 - a command

import argparse
import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from hilum.eventlog.consumer import Consumer, GiveUp
from hilum.imaging import app as imaging
from hilum.imaging.adapters.journal import EventJournal
from hilum.imaging.domain import Decision
from hilum.inference.adapters.state import SqlTaskQueue
from hilum.ingest.adapters.state import EventLogRaw, SqlSightings
from hilum.ingest.ports import Sighting
from hilum.integration import app as integration
from hilum.integration.adapters import hl7_rendering, ris
from hilum.integration.adapters.documents import Documents
from hilum.integration.adapters.state import SqlState
from hilum.integration.domain.plan import Standing
from hilum.integration.domain.priority import Ratchet
from hilum.simulator.world.world import live
from hilum.store import relay as relaying
from hilum.store import sql
from hilum.workflow.adapters.fact_book import SqlFacts
from hilum.workflow.app import Workflow
from hilum.workflow.domain import decision

STUDIES = 40


def _unawaited(work: Callable[..., Any]) -> Callable[..., Any]:
    """``work`` begun and not waited for."""

    async def begin(*told: Any) -> None:
        task = asyncio.ensure_future(work(*told))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    return begin


def acknowledged_before_the_append() -> None:
    EventLogRaw.keep = _unawaited(EventLogRaw.keep)  # type: ignore[method-assign]


def stored_before_its_event() -> None:
    EventJournal.stored = _unawaited(EventJournal.stored)  # type: ignore[method-assign]


def no_dedupe() -> None:
    SqlSightings.note = lambda *_: Sighting.FIRST  # type: ignore[method-assign,assignment]


def stale_guard() -> None:
    """The guard was asked when the delivery was planned, and is not asked again when it is sent."""
    integration.judge = lambda *_, **__: (Standing.DUE, None)  # type: ignore[assignment]


def lost_outbox_row() -> None:
    """Forgotten when it is taken out, not when the log has it."""
    right = relaying.relay

    async def relay(outbox: Any, log: Any, clock: Any) -> None:
        outbox.outbox_news.set()
        while True:
            await outbox.outbox_news.wait()
            outbox.outbox_news.clear()
            try:
                while waiting := await outbox.outgoing(256):
                    await outbox.relayed(waiting[-1].sequence)
                    await log.append([one.event for one in waiting])
            except relaying.Unavailable:
                outbox.outbox_news.set()
                await clock.sleep(1.0)

    for name, module in list(sys.modules.items()):
        if name.startswith("hilum.") and getattr(module, "relay", None) is right:
            module.relay = relay  # type: ignore[attr-defined]


def offset_saved_before_state() -> None:
    """In a transaction of its own, and first; what waits for a retry is still put back."""
    advance = sql._advance

    async def offsets_first(self: Any, group: str, records: Any, handle: Any, on_error: Any, after: Any) -> Any:
        def ends(transaction: Any) -> list[Any]:
            known = sql._positions(transaction.connection, group)
            last = {sql._place(record): record.offset + 1 for record in records}
            moves = [(place, known.get(place, 0), end) for place, end in last.items() if end > known.get(place, 0)]
            advance(transaction.connection, group, moves)
            return moves

        def state(transaction: Any) -> Any:
            """As it was, on offsets put back for as long as the transaction lasts."""
            advance(transaction.connection, group, [(place, after, before) for place, before, after in moves if before])
            for place, before, _ in moves:
                if not before:
                    transaction.connection.execute(
                        sql._POSITIONS.delete().where(
                            sql._POSITIONS.c.group_name == group,
                            sql._POSITIONS.c.topic == place.topic,
                            sql._POSITIONS.c.partition == place.partition,
                        )
                    )
            stop = sql._consume(transaction, group, records, handle, on_error)
            if after is not None:
                after(transaction)
            return stop

        moves = await self.transact(ends)
        return await self.transact(state)

    sql.SqlStore.consume = offsets_first  # type: ignore[method-assign]


def ratchet_lowered() -> None:
    integration._ratchet = lambda *_: Ratchet()  # type: ignore[assignment]


def merge_ignored() -> None:
    SqlFacts._add_merge = lambda *_: None  # type: ignore[method-assign,assignment]


def late_instance_ignored() -> None:
    hear = Workflow.hear_instance

    def hear_in_time(self: Any, book: Any, site: str, study: str, fact: Any, cause: Any, now: Any) -> None:
        row = book.case_of_study(site, study)
        case = book.case(row.case_id) if row is not None else None
        if case is None or not case.completeness.complete:
            hear(self, book, site, study, fact, cause, now)

    Workflow.hear_instance = hear_in_time  # type: ignore[method-assign]


def report_status_ignored() -> None:
    decision.report_status = lambda _: ""  # type: ignore[assignment]


def control_id_renewed_on_resend() -> None:
    right, of, sent = hl7_rendering.message_control_id, Documents.of, Counter[str]()

    async def anew(self: Any, record: Any, render: Any, _kept: Any = None) -> Any:
        sent[record.id] += 1
        return await of(self, replace(record, object_key=""), render)

    def renewed(delivery_id: str) -> str:
        return right(f"{delivery_id} {sent[delivery_id]}")

    ris.message_control_id = hl7_rendering.message_control_id = renewed
    Documents.of = anew  # type: ignore[method-assign]


def policy_not_pinned() -> None:
    policy = SqlState._policy

    def newest(self: Any, message: Any) -> Any:
        unpinned = type(message)()
        unpinned.CopyFrom(message)
        unpinned.policy_revision = 0
        return policy(self, unpinned)

    SqlState._policy = newest  # type: ignore[method-assign]


def dead_letter_dropped() -> None:
    on_error = Consumer._on_error

    def dropped(self: Any, record: Any, error: Exception) -> Any:
        outcome = on_error(self, record, error)
        return GiveUp(None) if isinstance(outcome, GiveUp) else outcome

    Consumer._on_error = dropped  # type: ignore[method-assign]


def other_content_overwrites() -> None:
    imaging.decide = lambda *_: Decision.STORE  # type: ignore[assignment]


def a_claim_never_passes_on() -> None:
    """Neither at a start nor when it is old: what a dead process had on its way stays there."""
    SqlState.recover = lambda *_: None  # type: ignore[method-assign,assignment]
    integration.CLAIMED_FOR = timedelta(days=36_500)


def a_task_is_lost_with_its_performer() -> None:
    claim = SqlTaskQueue.claim

    def for_ever(self: Any, holder: str, now: Any, _held_for: Any) -> Any:
        return claim(self, holder, now, timedelta(days=36_500))

    SqlTaskQueue.claim = for_ever  # type: ignore[method-assign]
    SqlTaskQueue.recover = lambda *_: None  # type: ignore[method-assign,assignment]


def rendered_anew_on_resend() -> None:
    """What may have arrived is made again, from the case as it is now."""
    of = Documents.of

    async def anew(self: Any, record: Any, render: Any, _kept: Any = None) -> Any:
        return await of(self, replace(record, object_key=""), render)

    Documents.of = anew  # type: ignore[method-assign]


MUTANTS: tuple[Callable[[], None], ...] = (
    acknowledged_before_the_append,
    stored_before_its_event,
    no_dedupe,
    stale_guard,
    lost_outbox_row,
    offset_saved_before_state,
    ratchet_lowered,
    merge_ignored,
    late_instance_ignored,
    report_status_ignored,
    control_id_renewed_on_resend,
    policy_not_pinned,
    dead_letter_dropped,
    other_content_overwrites,
    a_claim_never_passes_on,
    a_task_is_lost_with_its_performer,
    rendered_anew_on_resend,
)


@dataclass(frozen=True)
class Hunt:
    """``seed`` is the first that found it, 0 when none did."""

    name: str
    seed: int
    found: str
    seconds: float


def hunt(name: str, seeds: int, studies: int = STUDIES) -> Hunt:
    """In a process of its own: what is planted stays."""
    logging.disable(logging.CRITICAL)
    next(one for one in MUTANTS if one.__name__ == name)()
    began = time.monotonic()
    for seed in range(1, seeds + 1):
        violation = live(seed, studies).violation
        if violation is not None:
            return Hunt(name, seed, str(violation), time.monotonic() - began)
    return Hunt(name, 0, "", time.monotonic() - began)


def hunt_apart(name: str, seeds: int, studies: int = STUDIES) -> Hunt:
    """`hunt` in a process of its own."""
    command = [sys.executable, "-m", "simulation.mutants", "--hunt", name, "--seeds", str(seeds)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [*command, "--studies", str(studies)], env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    return Hunt(**json.loads(done.stdout))


def main() -> int:
    told = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    told.add_argument("--seeds", type=int, default=200)
    told.add_argument("--studies", type=int, default=STUDIES)
    told.add_argument("--hunt", metavar="NAME", help="this one, here; told as JSON")
    told.add_argument("names", nargs="*")
    arguments = told.parse_args()
    if arguments.hunt:
        print(json.dumps(asdict(hunt(arguments.hunt, arguments.seeds, arguments.studies))))
        return 0
    names = arguments.names or [one.__name__ for one in MUTANTS]
    missed = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hunts = [pool.submit(hunt_apart, name, arguments.seeds, arguments.studies) for name in names]
        for found in (one.result() for one in hunts):
            said = f"seed {found.seed:3d}  {found.found}" if found.seed else "NOT FOUND"
            print(f"{found.name:36s} {said}  ({found.seconds:.0f} s)", flush=True)
            if not found.seed:
                missed.append(found.name)
    print(f"{len(names) - len(missed)} of {len(names)} planted bugs found within {arguments.seeds} seeds")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
