"""`hilum dead-letters`."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.table import Table

from hilum.cli import books
from hilum.cli.content import answered, content
from hilum.cli.ending import CHECK_FAILED, DONE
from hilum.cli.showing import console, show_json
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.errors import Rejected
from hilum.eventlog import consumer
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.ledger.adapters import documents
from hilum.ledger.adapters.desk import final, is_final, replayable, unknown
from hilum.ledger.adapters.read_only import read_only
from hilum.objects.files import FileObjects


def show_all(state: Path, limit: int, reason: str, as_json: bool) -> None:
    found = [one for one in books.dead_letters(state) if reason in ("", one.reason)]
    if as_json:
        show_json([documents.dead_letter(one) for one in found])
        return
    table = Table(title=f"{len(found)} dead letters, the newest first", title_justify="left")
    for name in ("dead letter", "at", "group", "topic", "reason", "text", "state"):
        table.add_column(name, overflow="fold")
    for one in found[: -limit - 1 : -1]:
        table.add_row(
            one.dead_letter_id, documents.rfc3339(one.at), one.group, one.topic, one.reason, one.text, one.state
        )
    screen = console()
    screen.print(table)
    if len(found) > limit:
        screen.print(f"... and {len(found) - limit} older; --limit shows more", highlight=False)


def show_one(state: Path, dead_letter_id: str, payload: bool, as_json: bool) -> None:
    with read_only(state) as view:
        letter = view.dead_letter(dead_letter_id)
    if letter is None:
        raise unknown()
    document = documents.dead_letter(letter) | {"type": letter.type, "event_id": letter.event_id}
    document |= answered(letter.topic, letter.payload)
    if payload:
        document["payload"] = content(letter.topic, letter.payload, FileObjects(state / "objects"))
    if as_json:
        show_json(document)
        return
    held = document.pop("payload", None)
    for name, value in document.items():
        typer.echo(f"{name}: {value}")
    if held is not None:
        typer.echo("payload:")
        typer.echo(held if isinstance(held, str) else json.dumps(held, indent=1, ensure_ascii=False))


def replay(state: Path, dead_letter_ids: list[str], every: bool) -> int:
    if every == bool(dead_letter_ids):
        raise Rejected("dead_letters", "name the dead letters, or say --all")
    with read_only(state) as view:
        wanted = dead_letter_ids or [one.dead_letter_id for one in view.dead_letters() if one.state == "kept"]
        letters = [view.letter(dead_letter_id) for dead_letter_id in wanted]
    refused = [letter for letter in letters if letter is not None and is_final(letter)]
    if refused and not every:
        typer.echo(str(final()), err=True)
        for letter in refused:
            typer.echo(letter.dead_letter_id, err=True)
        return CHECK_FAILED
    sent = [replayable(letter) for letter in letters if letter not in refused]
    asyncio.run(_replay(state, sent))
    typer.echo(f"{len(sent)} sent back")
    if refused:
        typer.echo(f"{len(refused)} left: {final().text}")
    return DONE


async def _replay(state: Path, letters: list[DeadLetter]) -> None:
    log = SqliteEventLog(state / "log.db")
    log.open()
    try:
        for letter in letters:
            await consumer.replay(log, letter, datetime.now(UTC))
    finally:
        log.close()
