"""The Kafka log without a broker: events as records, and what an operator may tell it."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from hilum.contracts import topics
from hilum.eventlog.kafka.records import incoming, outgoing
from hilum.eventlog.kafka.settings import KafkaSettings
from hilum.eventlog.kafka.topics import configuration
from hilum.eventlog.port import Event, TopicPartition, partition_of

AT = datetime(2026, 10, 25, 0, 30, 0, 123_457, UTC)
PLACE = TopicPartition("orders", 3)


def told(**changes: Any) -> KafkaSettings:
    return KafkaSettings(**({"brokers": ["one:9092"]} | changes))


def as_read(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]) -> SimpleNamespace:
    return SimpleNamespace(offset=7, timestamp=1_000, key=key, value=value, headers=headers)


def test_an_event_is_a_cloud_event_in_binary_mode() -> None:
    record = outgoing(Event("orders", "site|A", "hilum.Order", b"v", "id", AT, {"traceparent": "00-ab"}), 12)
    assert record.place == TopicPartition("orders", partition_of("site|A", 12))
    assert (record.key, record.value) == (b"site|A", b"v")
    assert dict(record.headers) == {
        "content-type": b"application/protobuf",
        "ce_specversion": b"1.0",
        "ce_source": b"hilum",
        "ce_id": b"id",
        "ce_type": b"hilum.Order",
        "ce_time": b"2026-10-25T00:30:00.123457+00:00",
        "traceparent": b"00-ab",
    }


def test_a_time_is_the_same_instant_in_whatever_zone_it_was_told() -> None:
    local = AT.astimezone(timezone(timedelta(hours=-7)))
    record = outgoing(Event("orders", "key", "type", b"", "id", local), 12)
    back = incoming(PLACE, as_read(record.key, record.value, list(record.headers)))
    assert back.event.time == AT
    assert back.event.time.utcoffset() == timedelta(0)


def test_a_header_that_would_pass_for_ours_is_refused() -> None:
    for name in ("ce_id", "ce_anything", "content-type"):
        with pytest.raises(ValueError, match=name):
            outgoing(Event("orders", "key", "type", b"", "id", AT, {name: "x"}), 12)


@pytest.mark.parametrize("time", [b"", b"yesterday", b"2026-10-25"], ids=["none", "no time", "naive"])
def test_a_foreign_record_is_an_event_of_one_identity(time: bytes) -> None:
    record = as_read(None, None, [("x", None), ("ce_time", time), ("y", b"\xff")])
    first, again = incoming(PLACE, record), incoming(PLACE, record)
    assert first == again
    assert (first.event.type, first.event.key, first.event.value) == ("", "", b"")
    assert first.event.headers == {"x": "", "y": "\N{REPLACEMENT CHARACTER}"}
    assert first.event.time.tzinfo is UTC
    record.offset = 8
    assert incoming(PLACE, record).event.event_id != first.event.event_id


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"brokers": []}, "brokers"),
        ({"brokers": ["no port"]}, "brokers"),
        ({"topic_prefix": "a b"}, "topic_prefix"),
        ({"unknown": 1}, "unknown"),
        ({"append_seconds": 0}, "append_seconds"),
        ({"retention_days": {"nonsense": 3}}, "nonsense"),
        ({"retention_days": {"studies": 3}}, "studies"),
        ({"retention_days": {"orders": 0}}, "orders"),
        ({"sasl": {"username": "hilum", "password_file": "/absent"}}, "password_file"),
        ({"tls": {"ca_file": "/absent"}}, "ca_file"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        told(**wrong)


def test_a_password_goes_over_no_open_line(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    sasl = {"username": "hilum", "password_file": tmp_path / "password"}
    with pytest.raises(ValidationError, match="needs tls"):
        told(sasl=sasl | {"mechanism": "PLAIN"})
    with pytest.raises(ValidationError, match="come together"):
        told(tls={"certificate_file": tmp_path / "password"})
    scram = told(sasl=sasl).connection()
    assert (scram["security_protocol"], scram["sasl_mechanism"]) == ("SASL_PLAINTEXT", "SCRAM-SHA-512")
    assert scram["sasl_plain_password"] == "secret"
    both = told(sasl=sasl | {"mechanism": "PLAIN"}, tls={})
    assert both.connection()["security_protocol"] == "SASL_SSL"
    assert "secret" not in repr(both) + both.model_dump_json()


def test_topics_are_kept_as_the_plan_says() -> None:
    settings = told(retention_days={"orders": 3})
    days = {
        topic.name: int(configuration(topic, settings)["retention.ms"]) / 86_400_000
        for topic in topics.ALL
        if not topic.compacted
    }
    assert (days["messages"], days["orders"], days["findings"], days["dead-letters"]) == (30, 3, 14, 90)
    compacted = [topic.name for topic in topics.ALL if configuration(topic, settings)["cleanup.policy"] == "compact"]
    assert compacted == ["studies", "policies"]
    assert all("retention.ms" not in configuration(topics.BY_NAME[name], settings) for name in compacted)
