"""`hilum dead-letters`: listed, shown to an engineer, sent back where that has an effect."""

import asyncio
import json
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from hilum.cli.commands import app
from hilum.cli.content import hl7_text
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from scenes.story import Story


def hilum(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def printed(*arguments: str) -> Any:
    result = hilum(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def ask(*arguments: str) -> Result:
    """In a thread of its own: some commands run an event loop."""
    return await asyncio.to_thread(hilum, *arguments)


async def test_dead_letters_are_listed_with_their_reason_and_without_their_content(story: Story) -> None:
    await story.dead_letter(await story.message("M9"))
    await story.heard()

    (letter,) = printed("dead-letters", "list", "--json", "--state", str(story.folder))

    assert letter["reason"] == "segment_missing"
    assert letter["state"] == "kept"
    assert letter.keys() == {"dead_letter_id", "group", "topic", "reason", "text", "at", "state", "attempts"}


async def test_a_dead_letter_shows_its_payload_only_when_asked(story: Story) -> None:
    event = await story.message("M9")
    await story.dead_letter(event)
    await story.heard()
    show = ("dead-letters", "show", f"letter-{event}", "--state", str(story.folder))

    assert "what it choked on" not in hilum(*show).stdout
    assert "what it choked on" not in hilum(*show, "--json").stdout
    assert "what it choked on" in hilum(*show, "--payload").stdout


async def test_replay_sends_the_event_back_and_only_once(story: Story) -> None:
    event = await story.message("M9")
    await story.dead_letter(event)
    await story.heard()
    replay = ("dead-letters", "replay", f"letter-{event}", "--state", str(story.folder))

    assert (await ask(*replay)).exit_code == 0
    await story.heard()

    letters = await asyncio.to_thread(printed, "dead-letters", "list", "--json", "--state", str(story.folder))
    assert [letter["state"] for letter in letters] == ["replayed"]
    again = await ask(*replay)
    assert again.exit_code == 1
    assert "dead_letter_replayed" in again.stderr


async def test_replay_wants_names_or_all(story: Story) -> None:
    await story.heard()
    state = ("--state", str(story.folder))
    assert (await ask("dead-letters", "replay", *state)).exit_code == 2
    assert (await ask("dead-letters", "replay", "x", *state)).exit_code == 2
    assert (await ask("dead-letters", "replay", "--all", *state)).exit_code == 0


async def test_a_refused_message_is_shown_as_hl7_with_what_its_sender_was_told(story: Story) -> None:
    raw = RawMessage(
        payload="MSH|^~\\&|RIS|||||||M1|P|2.5||||||8859/1\rPID|1||7^^^H||Müller^Anna\x1b[31m\r".encode("latin_1"),
        acknowledgement_code="AE",
        reason="segment_missing",
    )
    await story.dead_letter("event", held=raw)
    await story.heard()

    show = ("dead-letters", "show", "letter-event", "--state", str(story.folder))
    without, shown = hilum(*show).stdout, hilum(*show, "--payload").stdout

    assert "Müller" not in without
    assert "acknowledgement_code: AE\nacknowledgement_reason: segment_missing\n" in without
    assert shown.splitlines()[-1] == "PID|1||7^^^H||Müller^Anna\\x1b[31m"
    assert printed(*show, "--payload", "--json")["payload"].splitlines()[0].startswith("MSH|")


async def test_a_large_message_is_shown_from_the_object_store(story: Story) -> None:
    story.objects.put("messages/abc", b"MSH|^~\\&|LARGE\r")
    await story.dead_letter("event", held=RawMessage(object_key="messages/abc"))
    await story.dead_letter("lost", held=RawMessage(object_key="messages/gone"))
    await story.heard()
    state = ("--payload", "--state", str(story.folder))

    assert "MSH|^~\\&|LARGE" in hilum("dead-letters", "show", "letter-event", *state).stdout
    assert "object_missing" in hilum("dead-letters", "show", "letter-lost", *state).stdout


def test_a_message_in_no_character_set_is_shown_with_its_bytes_escaped() -> None:
    assert hl7_text(b"MSH|^~\\&|\xfc\nPID|1\n") == "MSH|^~\\&|\\xfc\nPID|1"


async def test_another_event_is_shown_as_its_fields_with_long_bytes_abbreviated(story: Story) -> None:
    instance = Instance(sop_instance_uid="1.2.3", sha256=bytes(500))
    await story.dead_letter("event", "instances", group="workflow", held=instance)
    await story.heard()

    document = printed("dead-letters", "show", "letter-event", "--payload", "--json", "--state", str(story.folder))

    assert document["payload"]["sop_instance_uid"] == "1.2.3"
    assert document["payload"]["sha256"] == "00" * 32 + "... (500 bytes)"
    assert "acknowledgement_code" not in document


async def test_the_newest_are_listed_and_the_rest_counted(story: Story) -> None:
    for number in range(4):
        await story.dead_letter(f"event{number}", reason="charset_unknown" if number else "segment_missing")
    await story.heard()
    arguments = ("dead-letters", "list", "--state", str(story.folder))

    shown = hilum(*arguments, "--limit", "2").stdout
    assert shown.index("letter-event3") < shown.index("letter-event2")
    assert "letter-event1" not in shown
    assert "... and 2 older" in shown
    assert len(printed(*arguments, "--limit", "2", "--json")) == 4
    assert "letter-event0" not in hilum(*arguments, "--reason", "charset_unknown").stdout
    assert len(printed(*arguments, "--reason", "charset_unknown", "--json")) == 3


async def test_a_data_set_refused_at_the_door_is_not_sent_back(story: Story) -> None:
    await story.dead_letter("refused", "instances", group="imaging", held=Instance(reason="uid_missing"))
    await story.dead_letter(await story.message("M9"))
    await story.heard()
    state = ("--state", str(story.folder))

    refused = await ask("dead-letters", "replay", "letter-refused", *state)
    assert refused.exit_code == 1
    assert "dead_letter_final" in refused.stderr

    every = await ask("dead-letters", "replay", "--all", *state)
    assert every.exit_code == 0
    assert every.stdout.startswith("1 sent back\n1 left: ")
