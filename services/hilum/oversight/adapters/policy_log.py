"""`hilum.oversight.ports.PolicyLog` on the event log; one writer at a time, whatever its process."""

import asyncio
import fcntl
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import DecodeError

from hilum.contracts import topics
from hilum.contracts.policies.v1 import policies_pb2
from hilum.eventlog.port import EventLog, TopicPartition, event_of
from hilum.ids import event_id
from hilum.oversight.adapters import keys
from hilum.oversight.domain import Draft, Policy, State

_LOG = logging.getLogger(__name__)
_BATCH = 256
_STATES = {state.value: state for state in State}


class SignedPolicies:
    def __init__(self, log: EventLog, key: Ed25519PrivateKey) -> None:
        self._log = log
        self._key = key

    async def current(self) -> Mapping[str, Policy]:
        return await current(self._log)

    async def write(self, drafts: Sequence[Draft], after: int, at: datetime) -> Sequence[Policy]:
        written, events = [], []
        for revision, draft in enumerate(drafts, after + 1):
            message = policies_pb2.Policy(
                algorithm=draft.algorithm,
                algorithm_version=draft.version,
                package_digest=draft.digest,
                state=draft.state,
                revision=revision,
                reason=draft.reason,
            )
            message.at.FromDatetime(at)
            keys.sign(message, self._key)
            cause = event_id("policy", f"{draft.algorithm} {at.isoformat()}", revision)
            events.append(event_of(topics.POLICIES, draft.algorithm, message, cause, at))
            written.append(_policy(message))
        await self._log.append(events)
        return written


async def current(log: EventLog) -> Mapping[str, Policy]:
    """What is in force, by model name."""
    return {name: _policy(message) for name, message in (await read_all(log)).items()}


async def read_all(log: EventLog) -> Mapping[str, policies_pb2.Policy]:
    """The newest policy of each model as the log holds it, read to the end."""

    async def start(_place: TopicPartition) -> int:
        return 0

    heads = await log.heads([topics.POLICIES.name])
    left = sum(heads.values())
    reader = await log.reader("policies-read", [topics.POLICIES.name], start)
    newest: dict[str, policies_pb2.Policy] = {}
    try:
        while left > 0:
            records = await reader.fetch(_BATCH, 1.0)
            left -= len(records)
            for record in records:
                try:
                    policy = policies_pb2.Policy.FromString(record.event.value)
                    policy.at.ToDatetime(UTC)
                except (DecodeError, ValueError):
                    _LOG.error("an event of %s is no policy", topics.POLICIES.name)
                    continue
                held = newest.get(policy.algorithm)
                if held is None or policy.revision > held.revision:
                    newest[policy.algorithm] = policy
    finally:
        await reader.close()
    return newest


@asynccontextmanager
async def only_writer(path: Path) -> AsyncIterator[None]:
    """Hold the lock file ``path``, so that no two processes give out one revision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
        yield


def _policy(message: policies_pb2.Policy) -> Policy:
    """A state that this version does not know is off: what nobody here understands must not act."""
    return Policy(
        algorithm=message.algorithm,
        version=message.algorithm_version,
        digest=message.package_digest,
        state=_STATES.get(message.state, State.OFF),
        revision=message.revision,
        reason=message.reason,
        at=message.at.ToDatetime(UTC),
    )
