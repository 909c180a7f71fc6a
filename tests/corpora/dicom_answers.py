"""Every published image by C-STORE, byte for byte as it is in its file: what it was answered, and what became of it."""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from io import BytesIO
from itertools import islice
from pathlib import Path

from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from corpora.dicom_files import opened, syntax_of, taken_apart
from corpora.published import Published
from corpora.system import doors, events
from hilum.contracts import topics
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.contracts.instances.v1.instances_pb2 import Instance

_CONTEXTS = 128  # PS3.8 9.3.2.2: odd numbers from 1 to 255
_SECONDS = 30.0
_NOT_ACCEPTED, _NOT_SENT = "context not accepted", "not sent"


@dataclass(frozen=True)
class Answer:
    """One file. ``sop_class`` and ``transfer_syntax`` are names of PS3.6, ``licence`` is the manifest's.

    ``status`` is that of the C-STORE-RSP, or why there was none; ``outcome`` is stored, put aside or refused, and
    ``reason`` the code kept with it: of a stored instance, why its pixels cannot be an input.
    """

    file: str
    project: str
    licence: str
    sop_class: str
    transfer_syntax: str
    status: str
    outcome: str
    reason: str


HEADER = tuple(field.name for field in fields(Answer))


def rows(answers: Iterable[Answer]) -> list[tuple[object, ...]]:
    return [astuple(answer) for answer in answers]


@dataclass(frozen=True)
class _Request:
    file: Published
    data_set: bytes
    sop_class: str
    sop_instance: str
    syntax: str


async def answers(files: list[Published], folder: Path) -> list[Answer]:
    """What Hilum answers each file, in order. ``folder`` is empty, and Hilum's for the time."""
    requests = [_request(file) for file in files]
    async with doors(folder) as system:
        statuses = await asyncio.to_thread(_send, system.dicom_port, requests)
        await asyncio.sleep(0)
    outcomes = await _outcomes(folder)
    found = []
    for request in requests:
        status = statuses.get(request.file.name, _NOT_SENT)
        digest = hashlib.sha256(request.data_set).digest()
        outcome, reason = outcomes.get(digest, ("", "")) if status.startswith("0x") else ("", "")
        found.append(
            Answer(
                request.file.name,
                request.file.project,
                request.file.licence,
                UID(request.sop_class).name if request.sop_class else "none",
                UID(request.syntax).name,
                status,
                outcome,
                reason,
            )
        )
    return found


def _request(file: Published) -> _Request:
    parts = taken_apart(file)
    dataset = opened(file.path)
    sop_class = str(dataset.get("SOPClassUID") or parts.meta.get(0x0002, ""))
    sop_instance = str(dataset.get("SOPInstanceUID") or parts.meta.get(0x0003, ""))
    return _Request(file, parts.data_set, sop_class, sop_instance, syntax_of(parts, dataset))


def _send(port: int, requests: Iterable[_Request]) -> dict[str, str]:
    """Status by file name, without those that name no class or instance: C-STORE cannot carry them."""
    statuses: dict[str, str] = {}
    for batch in _batches(request for request in requests if request.sop_class and request.sop_instance):
        waiting = list(batch)
        while waiting:
            waiting = _over_one_association(port, waiting, statuses)
    return statuses


def _batches(requests: Iterable[_Request]) -> Iterator[list[_Request]]:
    waiting = iter(requests)
    while batch := list(islice(waiting, _CONTEXTS)):
        yield batch


def _over_one_association(port: int, requests: list[_Request], statuses: dict[str, str]) -> list[_Request]:
    """Send until all are answered or the association ends; returns those that are left."""
    entity = AE("CORPORA")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS
    for sop_class, syntax in dict.fromkeys((request.sop_class, request.syntax) for request in requests):
        entity.add_requested_context(UID(sop_class), UID(syntax))
    association = entity.associate("127.0.0.1", port)
    if not association.is_established:
        raise AssertionError("no association")
    accepted = {
        (str(context.abstract_syntax), str(context.transfer_syntax[0])): context.context_id
        for context in association.accepted_contexts
    }
    association._reactor_checkpoint.clear()  # else the library's own loop may take an answer
    for place, request in enumerate(requests):
        context = accepted.get((request.sop_class, request.syntax))
        if context is None:
            statuses[request.file.name] = _NOT_ACCEPTED
            continue
        status = _exchange(association, request, context)
        statuses[request.file.name] = f"0x{status:04X}" if status is not None else "association ended"
        if status is None:
            association.abort()
            return requests[place + 1 :]
    association._reactor_checkpoint.set()
    association.release()
    return []


def _exchange(association: Association, request: _Request, context: int) -> int | None:
    store = C_STORE()
    store.MessageID, store.Priority = 1, 2
    store.AffectedSOPClassUID, store.AffectedSOPInstanceUID = UID(request.sop_class), UID(request.sop_instance)
    store.DataSet = BytesIO(request.data_set)
    association.dimse.send_msg(store, context)
    _, answer = association.dimse.get_msg(block=True)
    return None if answer is None or answer.Status is None else int(answer.Status)


async def _outcomes(folder: Path) -> dict[bytes, tuple[str, str]]:
    """By SHA-256 of the data set."""
    found: dict[bytes, tuple[str, str]] = {}
    for event in await events(folder, topics.INSTANCES):
        instance = Instance.FromString(event.value)
        aside = instance.object_key.startswith("quarantine/")
        found[instance.sha256] = ("put aside" if aside else "stored", instance.reason)
    for event in await events(folder, topics.DEAD_LETTERS):
        letter = DeadLetter.FromString(event.value)
        instance = Instance.FromString(letter.value)
        found[instance.sha256] = ("refused", letter.reason)
    return found
