"""The command line: exit codes, JSON shapes, and every fault told."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from hilum.cli.commands import app
from hilum.cli.sending import messages_in
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.oversight.adapters.policy_log import read_all
from scenes.story import ALGORITHM, Story

REPOSITORY = Path(__file__).resolve().parents[3]


def hilum(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def printed(*arguments: str) -> Any:
    result = hilum(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def ask(*arguments: str) -> Result:
    """In a thread of its own: some commands run an event loop."""
    return await asyncio.to_thread(hilum, *arguments)


async def test_ledger_json_is_one_object_a_study_and_algorithm(story: Story) -> None:
    await story.resulted_case()
    await story.heard()

    (entry,) = printed("ledger", "--json", "--state", str(story.folder))

    assert {
        "accession_number",
        "study_instance_uid",
        "patient_id",
        "algorithm",
        "version",
        "disposition",
        "reason",
        "timeline",
        "deliveries",
    } <= entry.keys()
    assert (entry["accession_number"], entry["disposition"], entry["reason"]) == ("A1", "resulted", "")
    assert entry["timeline"][0].keys() == {"at", "what", "detail"}
    assert entry["deliveries"][0]["proof"] == {"message_control_id": "H1", "acknowledgement_code": "AA"}


async def test_ledger_can_be_asked_for_one_accession_number(story: Story) -> None:
    await story.resulted_case("A1", "1.2.3", 1)
    await story.resulted_case("A2", "1.2.4", 2)
    await story.heard()

    arguments = ("ledger", "--accession-number", "A2", "--state", str(story.folder))
    assert [entry["accession_number"] for entry in printed(*arguments, "--json")] == ["A2"]
    shown = hilum(*arguments)
    assert "last_image_received" in shown.stdout or "image_received" in shown.stdout


async def test_reconcile_exits_0_when_it_adds_up(story: Story) -> None:
    await story.resulted_case()
    await story.heard()

    found = printed("ledger", "reconcile", "--json", "--state", str(story.folder))

    assert found["adds_up"] is True
    assert found["identities"][0]["expected"] == 1


async def test_reconcile_exits_1_when_it_does_not(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.cli.books._PAUSE_SECONDS", 0.0)
    await story.resulted_case()
    await story.message("LOST")
    await story.heard()

    result = hilum("ledger", "reconcile", "--state", str(story.folder))

    assert result.exit_code == 1
    assert "messages_accounted" in result.stdout


async def test_reconcile_compares_the_receipts_it_is_given(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.cli.books._PAUSE_SECONDS", 0.0)
    await story.resulted_case()
    await story.heard()
    empty, broken = tmp_path / "empty.jsonl", tmp_path / "broken.jsonl"
    empty.write_text("")
    broken.write_text("{\n")

    state = ("--state", str(story.folder))
    assert hilum("ledger", "reconcile", "--receipts", str(empty), *state).exit_code == 1
    refused = hilum("ledger", "reconcile", "--receipts", str(broken), *state)
    assert refused.exit_code == 2
    assert "line 1" in refused.stderr


async def test_the_state_may_be_named_before_the_subcommand(story: Story) -> None:
    await story.resulted_case()
    await story.heard()

    assert hilum("ledger", "--state", str(story.folder), "reconcile").exit_code == 0


async def test_worklist_puts_the_raised_study_first(story: Story) -> None:
    await story.policy()
    order = await story.order("A0", "CM", "1.2.2")
    await story.image("1.2.2", accession="A0")
    await story.case("resulted", case_id="case-0", study="1.2.2", orders=(order,), result_id="none")
    await story.resulted_case("A1", "1.2.3", 1)
    await story.heard()

    found = printed("worklist", "--json", "--state", str(story.folder))

    assert [(one["accession_number"], one["ordered_priority"], one["priority"]) for one in found] == [
        ("A1", "R", "S"),
        ("A0", "R", "R"),
    ]
    assert found[0]["because"] == "pneumothorax 0.93"
    assert "A1" in hilum("worklist", "--state", str(story.folder)).stdout


async def test_worklist_leaves_out_what_is_read(story: Story) -> None:
    order = await story.order("A0", "CM", "1.2.2")
    await story.case("resulted", study="1.2.2", orders=(order,), report_status="F")
    await story.heard()

    assert printed("worklist", "--json", "--state", str(story.folder)) == []


async def test_a_model_is_set_with_a_reason_and_a_new_signed_revision(story: Story) -> None:
    await story.policy()
    state = str(story.folder)

    done = await ask("models", "set", ALGORITHM, "--state", "off", "--reason", "drift", "--directory", state)
    assert done.exit_code == 0, done.output
    shown = await asyncio.to_thread(printed, "models", "list", "--json", "--state", state)

    (model,) = [model for model in shown if model["name"] == ALGORITHM]
    assert (model["state"], model["revision"], model["reason"]) == ("off", 2, "drift")
    assert model.keys() == {
        "name",
        "version",
        "title",
        "use",
        "digest",
        "state",
        "revision",
        "reason",
        "at",
        "alarm",
    }
    policy = (await read_all(story.log))[ALGORITHM]
    assert len(policy.signature) == 64


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["no-such-model", "--state", "off", "--reason", "x"], "model_unknown"),
        ([ALGORITHM, "--state", "sometimes", "--reason", "x"], "state_unknown"),
        ([ALGORITHM, "--state", "off", "--reason", " "], "reason_missing"),
    ],
)
async def test_a_model_is_not_set_without_sense(story: Story, arguments: list[str], code: str) -> None:
    await story.policy()

    result = await ask("models", "set", *arguments, "--directory", str(story.folder))

    assert result.exit_code == 2
    assert code in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["ledger"], ["ledger", "reconcile"], ["worklist"], ["dead-letters", "list"], ["models", "list"]],
    ids=" ".join,
)
def test_a_folder_that_holds_no_state_is_wrong_use(arguments: list[str], tmp_path: Path) -> None:
    result = hilum(*arguments, "--state", str(tmp_path))

    assert result.exit_code == 2
    assert "state_unknown" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_state_directory_can_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_STATE", str(tmp_path / "elsewhere"))

    assert "elsewhere" in hilum("worklist").stderr


async def test_a_model_is_set_in_the_state_directory_of_the_environment(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    await story.policy()
    monkeypatch.setenv("HILUM_STATE", str(story.folder))

    done = await ask("models", "set", ALGORITHM, "--state", "silent", "--reason", "trial")

    assert done.exit_code == 0, done.output
    assert (await read_all(story.log))[ALGORITHM].state == "silent"
    assert "HILUM_STATE" in (await ask("models", "set", "--help")).stdout


async def test_the_ledger_is_read_after_the_system_stopped(story: Story) -> None:
    await story.resulted_case()
    await story.heard()
    story.store.close()
    story.log.close()

    assert len(printed("ledger", "--json", "--state", str(story.folder))) == 1
    assert hilum("ledger", "reconcile", "--state", str(story.folder)).exit_code == 0


def test_every_fault_of_a_site_file_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("site: Not A Name\nris: {port: 99999}\nsurprise: 1\n")

    result = hilum("config", "check", str(file))

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 3


def test_an_algorithm_that_is_not_installed_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("site: a\nalgorithms: [{name: nobody-has-this}]\n")

    result = hilum("config", "check", str(file))

    assert result.exit_code == 2
    assert "nobody-has-this" in result.stderr


def test_a_site_file_that_holds_is_told_so(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("site: a\n")

    assert hilum("config", "check", str(file)).exit_code == 0


def test_serve_ends_with_2_when_a_setting_is_bad(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("site: Not A Name\nris: {port: 99999}\n")

    result = hilum("serve", "all", "--state", str(tmp_path / "state"), "--config", str(file))

    assert result.exit_code == 2
    assert "ris.port" in result.stderr
    assert not (tmp_path / "state").exists()


def test_serve_tells_one_fault_a_line(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("site: Not A Name\nris: {port: 99999}\nsurprise: 1\n")

    told = hilum("serve", "all", "--state", str(tmp_path / "state"), "--config", str(file)).stderr.splitlines()

    assert [line.split()[0:2] for line in told] == [
        ["site_file:", "site:"],
        ["site_file:", "ris.port:"],
        ["site_file:", "surprise:"],
    ]


def test_serve_knows_the_services() -> None:
    result = hilum("serve", "nothing")

    assert result.exit_code == 2
    assert "ingest, imaging, workflow" in result.stderr


def test_the_published_schema_of_the_site_file_is_current() -> None:
    published = json.loads((REPOSITORY / "docs/schemas/site.schema.json").read_text())

    assert published == json.loads(hilum("config", "schema").stdout), "run: hilum config schema"


def test_help_imports_nothing_heavy() -> None:
    heavy = ("grpc", "sqlalchemy", "pydicom", "pydantic", "opentelemetry", "numpy")
    code = f"import sys; import hilum.cli.commands; print([name for name in {heavy} if name in sys.modules])"
    began = time.monotonic()
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert found.strip() == "[]"
    assert time.monotonic() - began < 10


def test_a_file_of_several_messages_is_sent_one_by_one() -> None:
    one, other = b"MSH|^~\\&|A\rPID|1\r", b"MSH|^~\\&|B\rPID|2\r"

    assert messages_in(one + other) == [one, other]
    assert messages_in((one + other).replace(b"\r", b"\r\n")) == [one, other]
    assert messages_in(b"\x0b" + one + b"\x1c\r") == [one]
    assert messages_in(b"not HL7 at all") == [b"not HL7 at all\r"]


async def test_the_log_is_never_made_by_reading(story: Story, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert (await ask("models", "list", "--state", str(other))).exit_code == 2
    assert not (other / "log.db").exists()
    assert isinstance(story.log, SqliteEventLog)
