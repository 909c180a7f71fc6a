"""Both clients against real servers: ingest, ledger and oversight in one process."""

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from hilum.api.worklist.v1.worklist_pb2 import ListCasesRequest, ReplayDeadLetterRequest
from hilum.api.worklist.v1.worklist_pb2_grpc import LedgerServiceStub
from hilum.client import Addresses, HilumClient, SyncHilumClient
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.embedded import Options, Running, running
from hilum.errors import Duplicate, HilumError, Overloaded, Rejected, Unavailable
from hilum.eventlog.sqlite import SqliteEventLog
from scenes.story import ALGORITHM, Story, sent

ORDER = (
    b"MSH|^~\\&|RIS|HOSPITAL|HILUM|SITE|20260302080000||ORM^O01|C1|P|2.3.1\r"
    b"PID|1||P7^^^HOSPITAL^MR||Doe^Jane||19700101|F\r"
    b"ORC|NW|PL7|FI7||SC\r"
    b"OBR|1|PL7|FI7|71046^Chest^C4||||||||||||||ACC7||||||DX\r"
)


class System:
    """What runs, told of by hand-made events as well."""

    def __init__(self, hilum: Running, story: Story) -> None:
        self.hilum = hilum
        self.story = story
        self.addresses = Addresses(
            *(f"127.0.0.1:{hilum.services[name].grpc_port}" for name in ("ingest", "ledger", "oversight"))  # type: ignore[attr-defined]
        )

    async def heard(self, cases: int) -> None:
        """Until the last delivery of so many cases has landed in the ledger."""
        async with HilumClient(self.addresses) as client:
            for _ in range(400):
                entries = [entry async for entry in client.list_cases()]
                if [one.state for entry in entries for one in entry.deliveries] == ["landed"] * cases:
                    return
                await asyncio.sleep(0.05)
        raise AssertionError(entries)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    options = Options(
        state=tmp_path,
        mllp_port=0,
        grpc_port=0,
        http_port=0,
        services=("ingest", "ledger", "oversight"),
        overrides={"ledger": {"grpc_port": 0, "in_hand_seconds": 0.0}, "oversight": {"grpc_port": 0}},
    )
    async with running(options) as hilum:
        log = SqliteEventLog(tmp_path / "log.db")
        log.open()
        yield System(hilum, Story(tmp_path, log, None))  # type: ignore[arg-type]
        log.close()


async def test_a_message_is_submitted_and_acknowledged(system: System) -> None:
    async with HilumClient(system.addresses) as client:
        answer = await client.submit(ORDER)

    assert (answer.code, answer.message_control_id, answer.accepted) == ("AA", "C1", True)
    assert answer.message.startswith(b"MSH|")


async def test_a_refused_message_is_a_rejection_with_its_reason(system: System) -> None:
    async with HilumClient(system.addresses) as client:
        with pytest.raises(Rejected) as caught:
            await client.submit(b"not HL7")

    assert caught.value.code == "header_missing"


async def test_a_stream_answers_each_message_in_order_and_goes_on_after_a_refusal(system: System) -> None:
    async def messages() -> AsyncIterator[bytes]:
        yield ORDER
        yield b"not HL7"
        yield ORDER.replace(b"|C1|", b"|C2|")

    async with HilumClient(system.addresses) as client:
        answers = [answer async for answer in client.submit_stream(messages())]

    assert [(answer.code, answer.message_control_id) for answer in answers] == [("AA", "C1"), ("AE", ""), ("AA", "C2")]


async def test_cases_come_typed_and_page_by_page(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.ledger.adapters.grpc_server._PAGE", 2)
    for number in range(1, 6):
        await system.story.resulted_case(f"A{number}", f"1.2.{number}", number)
    await system.heard(5)

    async with HilumClient(system.addresses) as client:
        entries = [entry async for entry in client.list_cases()]
        chosen = [entry async for entry in client.list_cases(accession_number="A3")]

    assert [entry.accession_number for entry in entries] == ["A1", "A2", "A3", "A4", "A5"]
    assert [entry.study_instance_uid for entry in chosen] == ["1.2.3"]
    assert chosen[0].disposition == "resulted"
    assert chosen[0].findings[0].finding == "pneumothorax"
    assert chosen[0].deliveries[0].proof["acknowledgement_code"] == "AA"
    assert chosen[0].timeline[0].what == "order_received"


async def test_a_page_token_of_ones_own_making_is_refused(system: System) -> None:
    async with grpc.aio.insecure_channel(system.addresses.ledger) as channel:
        stub = LedgerServiceStub(channel)
        for request in (ListCasesRequest(page_token="x"), ListCasesRequest(page_size=5000)):
            with pytest.raises(grpc.RpcError) as caught:
                await stub.ListCases(request, timeout=5)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_worklist_is_the_ledgers(system: System) -> None:
    await system.story.resulted_case()
    await system.heard(1)

    async with HilumClient(system.addresses) as client:
        (entry,) = await client.worklist()

    assert (entry.accession_number, entry.ordered_priority, entry.priority) == ("A1", "R", "S")


async def test_dead_letters_are_listed_shown_and_replayed_once(system: System) -> None:
    async with HilumClient(system.addresses) as client:
        with pytest.raises(Rejected):
            await client.submit(b"not HL7")
        letters = await client.dead_letters()
        while not letters:
            await asyncio.sleep(0.05)
            letters = await client.dead_letters()
        letter = letters[0]
        assert (letter.group, letter.topic, letter.reason) == ("ingest", "messages", "header_missing")

        shown = await client.dead_letter(letter.dead_letter_id)
        assert shown.payload == b""
        assert b"not HL7" in (await client.dead_letter(letter.dead_letter_id, include_payload=True)).payload

        await client.replay_dead_letter(letter.dead_letter_id)
        for _ in range(200):
            state = (await client.dead_letter(letter.dead_letter_id)).dead_letter.state
            if state == "replayed":
                break
            await asyncio.sleep(0.05)
        assert state == "replayed"
        with pytest.raises(Duplicate):
            await client.replay_dead_letter(letter.dead_letter_id)
        with pytest.raises(Rejected, match="dead_letter_unknown"):
            await client.dead_letter("nobody")


async def test_a_data_set_refused_at_the_door_is_not_sent_back(system: System) -> None:
    await system.story.dead_letter("refused", "instances", group="imaging", held=Instance(reason="uid_missing"))
    async with HilumClient(system.addresses) as client, asyncio.timeout(10):
        while not await client.dead_letters():
            await asyncio.sleep(0.05)
        with pytest.raises(Rejected, match="dead_letter_final"):
            await client.replay_dead_letter("letter-refused")
    request = ReplayDeadLetterRequest(dead_letter_id="letter-refused")
    async with grpc.aio.insecure_channel(system.addresses.ledger) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await LedgerServiceStub(channel).ReplayDeadLetter(request)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_reconcile_names_what_does_not_hold(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.ledger.adapters.desk._PAUSE_SECONDS", 0.01)
    await system.story.resulted_case()
    await system.heard(1)
    digest = hashlib.sha256(sent(1)).hexdigest()
    receipt = {"peer": "ris", "kind": "message", "identity": "H1", "sha256": digest, "outcome": "effect"}
    receipts = json.dumps(receipt).encode()

    async with HilumClient(system.addresses) as client:
        whole = await client.reconcile(receipts)
        without = await client.reconcile(b"\n")
        with pytest.raises(Rejected, match="receipts_unreadable"):
            await client.reconcile(b"{")

    broken = {check.name for check in whole.checks if not check.holds}
    assert broken <= {"identity:pneumonia-paediatric"}  # no workflow runs here to answer for the other model
    assert {identity.algorithm: identity.resulted for identity in whole.identities}[ALGORITHM] == 1
    assert "receipts_match_landed" in {check.name for check in without.checks if not check.holds}


async def test_models_are_listed_and_set(system: System) -> None:
    async with HilumClient(system.addresses) as client:
        before = {model.name: model for model in await client.models()}
        revision = await client.set_model_state(ALGORITHM, "silent", "trial")
        after = {model.name: model for model in await client.models()}
        with pytest.raises(Rejected, match="model_unknown"):
            await client.set_model_state("nobody", "off", "x")

    assert before[ALGORITHM].state == "live"
    assert (after[ALGORITHM].state, after[ALGORITHM].reason) == ("silent", "trial")
    assert revision > max(model.revision for model in before.values())


async def test_the_synchronous_client_does_the_same(system: System) -> None:
    await system.story.resulted_case()
    await system.heard(1)

    def work() -> None:
        with SyncHilumClient(system.addresses) as client:
            assert client.submit(ORDER).accepted
            assert [answer.code for answer in client.submit_stream([ORDER])] == ["AA"]
            assert [entry.accession_number for entry in client.list_cases()] == ["A1"]
            assert [entry.priority for entry in client.worklist()] == ["S"]
            assert all(letter.reason for letter in client.dead_letters())
            assert ALGORITHM in {model.name for model in client.models()}
            assert client.set_model_state(ALGORITHM, "off", "maintenance") > 0
            assert client.reconcile().identities
            with pytest.raises(Rejected):
                client.dead_letter("nobody")
            with pytest.raises(Rejected):
                client.replay_dead_letter("nobody")

    await asyncio.to_thread(work)


async def test_a_server_that_is_away_is_unavailable() -> None:
    async with HilumClient(Addresses("127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1"), deadline_seconds=1.0) as client:
        with pytest.raises(Unavailable):
            await client.worklist()


async def test_a_call_never_outlasts_its_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with HilumClient(Addresses(address, address, address), deadline_seconds=0.5) as client:
            with pytest.raises(Unavailable):
                await asyncio.wait_for(client.worklist(), 5)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, Rejected),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
        (grpc.StatusCode.ALREADY_EXISTS, Duplicate),
    ],
)
def test_a_status_becomes_the_error_that_names_the_remedy(status: grpc.StatusCode, kind: type[HilumError]) -> None:
    from hilum.client.wire import error_of

    class Failed(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return status

        def details(self) -> str:
            return "failed_code: with words: and more"

    error = error_of(Failed())

    assert isinstance(error, kind)
    assert (error.code, error.text) == ("failed_code", "with words: and more")


@pytest.mark.parametrize(
    ("service", "name"),
    [("ledger", "hilum.api.worklist.v1.LedgerService"), ("oversight", "hilum.api.oversight.v1.OversightService")],
)
async def test_health_and_reflection_answer(system: System, service: str, name: str) -> None:
    address = getattr(system.addresses, service)

    def ask() -> tuple[int, list[str]]:
        with grpc.insecure_channel(address) as channel:
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            return health.status, list(ProtoReflectionDescriptorDatabase(channel).get_services())

    status, services = await asyncio.to_thread(ask)

    assert status == health_pb2.HealthCheckResponse.SERVING
    assert name in services


async def test_what_was_told_before_the_start_is_known_when_ready(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "log.db")
    log.open()
    await Story(tmp_path, log, None).resulted_case()  # type: ignore[arg-type]
    log.close()
    options = Options(state=tmp_path, http_port=0, services=("ledger",), overrides={"ledger": {"grpc_port": 0}})
    async with (
        running(options) as hilum,
        HilumClient(Addresses(ledger=f"127.0.0.1:{hilum.ledger_grpc_port}")) as client,
    ):
        assert [entry.accession_number async for entry in client.list_cases()] == ["A1"]
