"""`hilum dead-letters`."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.table import Table

from hilum.cli import books
from hilum.cli.showing import console, show_json
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.errors import Rejected
from hilum.eventlog import consumer
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.ledger.adapters import documents
from hilum.ledger.adapters.desk import replayable, unknown
from hilum.ledger.adapters.read_only import read_only


def show_all(state: Path, as_json: bool) -> None:
    found = books.dead_letters(state)
    if as_json:
        show_json([documents.dead_letter(one) for one in found])
        return
    table = Table(title=f"{len(found)} dead letters", title_justify="left")
    for name in ("dead letter", "at", "group", "topic", "reason", "text", "state"):
        table.add_column(name, overflow="fold")
    for one in found:
        table.add_row(
            one.dead_letter_id, documents.rfc3339(one.at), one.group, one.topic, one.reason, one.text, one.state
        )
    console().print(table)


def show_one(state: Path, dead_letter_id: str, payload: bool, as_json: bool) -> None:
    with read_only(state) as view:
        letter = view.dead_letter(dead_letter_id)
    if letter is None:
        raise unknown()
    document = documents.dead_letter(letter) | {"type": letter.type, "event_id": letter.event_id}
    if payload:
        document["payload"] = documents.payload(letter)
    if as_json:
        show_json(document)
        return
    for name, value in document.items():
        typer.echo(f"{name}: {str(value).replace(chr(13), chr(10))}")


def replay(state: Path, dead_letter_ids: list[str], every: bool) -> None:
    if every == bool(dead_letter_ids):
        raise Rejected("dead_letters", "name the dead letters, or say --all")
    with read_only(state) as view:
        wanted = dead_letter_ids or [one.dead_letter_id for one in view.dead_letters() if one.state == "kept"]
        letters = [replayable(view.letter(dead_letter_id)) for dead_letter_id in wanted]
    asyncio.run(_replay(state, letters))
    typer.echo(f"{len(letters)} sent back")


async def _replay(state: Path, letters: list[DeadLetter]) -> None:
    log = SqliteEventLog(state / "log.db")
    log.open()
    try:
        for letter in letters:
            await consumer.replay(log, letter, datetime.now(UTC))
    finally:
        log.close()
