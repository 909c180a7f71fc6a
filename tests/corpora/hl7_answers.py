"""Every published message over one real MLLP connection: what it was answered, and what became of it."""

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from corpora.published import Published
from corpora.system import doors, events
from hilum.contracts import topics
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from hilum.hl7.message import Message, parse

_FACTS = (topics.ORDERS, topics.REPORTS, topics.PATIENTS)
_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """One message. ``kind`` and ``licence`` are the manifest's, ``version`` is MSH-12.1.

    ``code`` is MSA-1, ``condition`` (table 0357) and ``place`` are those of its ERR; ``reason`` is the code kept with
    the message, ``dead_letter`` that of its dead letter. The rest counts the facts that it stated.
    """

    file: str
    project: str
    licence: str
    kind: str
    version: str
    code: str
    condition: str
    place: str
    reason: str
    dead_letter: str
    orders: int
    reports: int
    patients: int


HEADER = tuple(field.name for field in fields(Answer))


def rows(answers: Iterable[Answer]) -> list[tuple[object, ...]]:
    return [astuple(answer) for answer in answers]


async def answers(files: list[Published], folder: Path) -> list[Answer]:
    """What Hilum answers each file, in order. ``folder`` is empty, and Hilum's for the time."""
    async with doors(folder) as system:
        reader, writer = await asyncio.open_connection("127.0.0.1", system.mllp_port)
        told = []
        for file in files:
            writer.write(b"\x0b" + _payload(file) + b"\x1c\r")
            told.append((await reader.readuntil(b"\x1c\r"))[1:-2])
        writer.close()
        kept = await events(folder, topics.MESSAGES)
        refused = sum(RawMessage.FromString(event.value).acknowledgement_code != "AA" for event in kept)
        await _until_digested(folder, refused)
    messages = {event.event_id: RawMessage.FromString(event.value) for event in kept}
    reasons = {message.sha256: message.reason for message in messages.values()}
    if len(reasons) != len(files):
        raise AssertionError(f"{len(files)} messages were sent, {len(reasons)} different ones kept")
    letters = await _letters(folder)
    facts = await _facts(folder, {event_id: message.sha256 for event_id, message in messages.items()})
    found = []
    for file, answer in zip(files, map(parse, told), strict=True):
        digest = hashlib.sha256(_payload(file)).digest()
        found.append(
            Answer(
                file.name,
                file.project,
                file.licence,
                file.kind,
                _version(_payload(file)),
                answer.get("MSA-1"),
                answer.get("ERR-3.1") or answer.get("ERR-1.4.1"),
                _place(answer),
                reasons[digest],
                letters.get(digest, ""),
                *(facts.get(digest, Counter())[topic.name] for topic in _FACTS),
            )
        )
    return found


def _payload(file: Published) -> bytes:
    """The bytes of one block: some files bring their framing along."""
    return re.sub(rb"\A\x0b|\x1c\r?\Z", b"", file.path.read_bytes())


async def _until_digested(folder: Path, refused: int) -> None:
    """Until every refused message is a dead letter and no further fact comes."""
    before = -1
    async with asyncio.timeout(_SECONDS):
        while True:
            letters = len(await events(folder, topics.DEAD_LETTERS))
            facts = sum([len(await events(folder, topic)) for topic in _FACTS])
            if letters == refused and facts == before:
                return
            before = facts
            await asyncio.sleep(0.5)


async def _letters(folder: Path) -> dict[bytes, str]:
    letters = [DeadLetter.FromString(event.value) for event in await events(folder, topics.DEAD_LETTERS)]
    return {RawMessage.FromString(letter.value).sha256: letter.reason for letter in letters}


async def _facts(folder: Path, digests: Mapping[str, bytes]) -> dict[bytes, Counter[str]]:
    found: dict[bytes, Counter[str]] = {}
    for topic in _FACTS:
        for event in await events(folder, topic):
            fact = topic.message.FromString(event.value)
            found.setdefault(digests[fact.message_id], Counter())[topic.name] += 1  # type: ignore[attr-defined]
    return found


def _place(answer: Message) -> str:
    """The segment and field that the ERR names, as ``PID-3``: ERR-2 from 2.5 on, else ERR-1 (2.5.1 2.15.5)."""
    segment, field = (answer.get("ERR-2.1"), answer.get("ERR-2.3")) if answer.get("ERR-3.1") else _older_place(answer)
    return "-".join(filter(None, (segment, field)))


def _older_place(answer: Message) -> tuple[str, str]:
    return answer.get("ERR-1.1"), answer.get("ERR-1.3")


def _version(payload: bytes) -> str:
    header = re.split(rb"[\r\n]", payload.removeprefix(b"\xef\xbb\xbf"), maxsplit=1)[0]
    parts = header.split(header[3:4]) if header.startswith(b"MSH") and len(header) > 4 else []
    text = parts[11].split(header[4:5])[0].decode("ascii", "replace").strip() if len(parts) > 11 else ""
    return text if re.fullmatch(r"\d(\.\d){0,2}", text) else "none" if not text else "other"
