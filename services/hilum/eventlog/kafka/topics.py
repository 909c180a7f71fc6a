"""The topics as the cluster must have them: made where they are missing, checked where they are not.

Two of three replicas in sync make an append durable, so one may be lost at any time, with its zone; a log that may
forget more than that is refused at the start, with everything that is wrong with it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from hilum.clock import Clock
from hilum.contracts.topics import Topic
from hilum.errors import Fault, Unavailable
from hilum.eventlog.kafka.settings import KafkaSettings

PARTITIONS = 12
LARGEST_BYTES = 16 * 1024 * 1024  # of an event; what is larger belongs into the object store
_OVERHEAD_BYTES = 64 * 1024
_REPLICAS = 3
_IN_SYNC = 2
_DAY_MS = 24 * 60 * 60 * 1000
_LOOKS = 50
_LOOK_SECONDS = 0.1


def configuration(topic: Topic, settings: KafkaSettings) -> dict[str, str]:
    """The settings with which ``topic`` is made; all but the retention must stay."""
    wanted = {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "min.insync.replicas": "1" if settings.one_broker else str(_IN_SYNC),
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(LARGEST_BYTES + _OVERHEAD_BYTES),
        "unclean.leader.election.enable": "false",
    }
    if not topic.compacted:
        wanted["retention.ms"] = str(settings.days(topic.name) * _DAY_MS)
        wanted["retention.bytes"] = "-1"
    return wanted


async def ensure(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], partitions: int, settings: KafkaSettings, clock: Clock
) -> None:
    """Raises `Fault` (`log_misconfigured`) with every fault, `Unavailable` when the topics did not come."""
    names = [settings.topic_prefix + topic.name for topic in topics]
    there = set(await admin.list_topics())
    missing = [topic for topic in topics if settings.topic_prefix + topic.name not in there]
    if missing:
        await _create(admin, missing, partitions, settings)
    described = await _described(admin, names, clock)
    zones = {broker["node_id"]: broker["rack"] for broker in (await admin.describe_cluster())["brokers"]}
    configured = await _configured(admin, names)
    faults = [
        f"{name}: {fault}"
        for name, topic in zip(names, topics, strict=True)
        for fault in (
            *_faults_of_partitions(described[name], partitions, zones, settings),
            *_faults_of_configuration(configured.get(name, {}), configuration(topic, settings)),
        )
    ]
    if faults:
        raise Fault("log_misconfigured", "; ".join(faults))


async def _create(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], partitions: int, settings: KafkaSettings
) -> None:
    replicas = 1 if settings.one_broker else _REPLICAS
    answer = await admin.create_topics(
        [
            NewTopic(
                settings.topic_prefix + topic.name,
                partitions,
                replicas,
                topic_configs=configuration(topic, settings),
            )
            for topic in topics
        ]
    )
    faults = []
    for name, code, *text in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:  # another service starts beside us
            faults.append(f"{name}: {(text and text[0]) or error.__name__}")
    if faults:
        raise Fault("log_misconfigured", f"topics could not be made: {'; '.join(faults)}")


async def _described(admin: AIOKafkaAdminClient, names: Sequence[str], clock: Clock) -> Mapping[str, Any]:
    """By name, once each partition has a leader: a topic just made is not known everywhere at once."""
    for _ in range(_LOOKS):
        described = {topic["topic"]: topic for topic in await admin.describe_topics(list(names))}
        if all(
            (topic := described.get(name))
            and topic["partitions"]
            and all(p["leader"] >= 0 for p in topic["partitions"])
            for name in names
        ):
            return described
        await clock.sleep(_LOOK_SECONDS)
    raise Unavailable("log_unavailable", "some partitions of the event log have no leader")


async def _configured(admin: AIOKafkaAdminClient, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for answer in answers
        for _code, _text, _kind, name, entries in answer.resources
    }


def _faults_of_partitions(
    topic: Mapping[str, Any], partitions: int, zones: Mapping[int, str | None], settings: KafkaSettings
) -> list[str]:
    faults = []
    if len(topic["partitions"]) != partitions:
        faults.append(f"{len(topic['partitions'])} partitions where {partitions} are fixed")
    if settings.one_broker:
        return faults
    few = min(len(partition["replicas"]) for partition in topic["partitions"])
    if few < _REPLICAS:
        faults.append(f"{few} replicas where {_REPLICAS} are required")
    if settings.zones_required:
        homes = [[zones.get(node) for node in partition["replicas"]] for partition in topic["partitions"]]
        if any(zone is None for replicas in homes for zone in replicas):
            faults.append("a broker does not say its zone (broker.rack)")
        elif any(len(replicas) - max(Counter(replicas).values()) < _IN_SYNC for replicas in homes):
            faults.append(f"the loss of one zone leaves fewer than {_IN_SYNC} replicas")
    return faults


def _faults_of_configuration(has: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    faults = []
    for key, value in wanted.items():
        found = has.get(key, "")
        if key.startswith("retention."):
            continue  # the operators' to change
        if key in ("min.insync.replicas", "max.message.bytes"):
            wrong = not found.isdigit() or int(found) < int(value)
        else:
            wrong = found != value
        if wrong:
            faults.append(f"{key} is {found or 'unknown'} where {value} is required")
    return faults
