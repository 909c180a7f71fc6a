"""A priority on its way to a RIS that answers well, late, wrongly or not at all."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hilum.hl7.message import parse
from hilum.ids import derived_id
from hilum.integration.adapters.hl7_rendering import message_control_id
from hilum.simulator.ris import Ris
from hilum.simulator.script import Act, Step
from hilum.site import Site
from scenes.system import ALGORITHM, case_message, integration, make_site, result_message


@pytest.fixture
async def ris(tmp_path: Path) -> AsyncIterator[Ris]:
    kept = tmp_path / "kept"
    kept.mkdir()
    ris = Ris(kept=kept, receipts=tmp_path / "receipts.jsonl")
    await ris.start()
    yield ris
    await ris.stop()


def site(ris: Ris, **changes: object) -> Site:
    return make_site(
        ris={
            "port": ris.port,
            "acknowledgement_timeout_seconds": 0.3,
            "attempts": 3,
            "retry_seconds": 0.05,
            **changes,
        }
    )


def received(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted((folder / "kept").iterdir())]


async def test_a_finding_lands_with_its_acknowledgement_as_proof(ris: Ris, tmp_path: Path) -> None:
    async with integration(tmp_path, site(ris)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        delivery = (await system.ended("priority"))["priority"]
    assert (delivery.state, delivery.priority, delivery.attempts) == ("landed", "S", 1)
    proofs = {proof.name: proof.value for proof in delivery.proofs}
    assert proofs == {"message_control_id": message_control_id(delivery.delivery_id), "acknowledgement_code": "AA"}
    (message,) = received(tmp_path)
    assert system.objects.get(delivery.object_key) == message
    assert parse(message).get("OBR-18") == "ACC-1001"
    assert system.states("priority") == ["planned", "landed"]


async def test_the_order_of_case_and_result_does_not_matter(ris: Ris, tmp_path: Path) -> None:
    async with integration(tmp_path, site(ris)) as system:
        await system.say_result(result_message())
        await system.say_case(case_message())
        assert (await system.ended("priority"))["priority"].state == "landed"


async def test_a_result_told_twice_is_delivered_once(ris: Ris, tmp_path: Path) -> None:
    async with integration(tmp_path, site(ris)) as system:
        await system.say_case(case_message())
        for version in (2, 3):
            await system.say_result(result_message())
            await system.say_case(case_message(version=version))
        await system.ended("priority")
    assert len(list(ris.receipts)) == 1


@pytest.mark.parametrize(
    ("step", "state"),
    [
        (Step(Act.DROP_BEFORE), "landed"),
        (Step(Act.DROP_AFTER), "landed"),
        (Step(Act.SILENT), "landed"),
        (Step(Act.WRONG_ID), "landed"),
        (Step(Act.SERVE, delay_seconds=0.6), "landed"),
        (Step(Act.REFUSE, code="AR"), "landed"),
        (Step(Act.REFUSE, code="CE"), "landed"),
        (Step(Act.REFUSE, code="AE"), "refused"),
        (Step(Act.REFUSE, code="CR"), "refused"),
    ],
)
async def test_one_misbehaviour(ris: Ris, tmp_path: Path, step: Step, state: str) -> None:
    ris.script.then(step)
    async with integration(tmp_path, site(ris)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        assert (await system.ended("priority"))["priority"].state == state
    assert len(received(tmp_path)) == (1 if state == "landed" else 0)
    assert ris.receipts.count("conflict") == 0


@pytest.mark.parametrize(
    ("step", "state", "reason"),
    [
        (Step(Act.SILENT), "unconfirmed", "ris_no_answer"),
        (Step(Act.WRONG_ID), "unconfirmed", "ris_wrong_control_id"),
        (Step(Act.DROP_AFTER), "unconfirmed", "ris_no_answer"),
        (Step(Act.REFUSE, code="AR"), "refused", "ris_ar"),
    ],
)
async def test_resends_are_bounded_and_of_the_same_bytes(
    ris: Ris, tmp_path: Path, step: Step, state: str, reason: str
) -> None:
    ris.script.otherwise = step
    async with integration(tmp_path, site(ris)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        delivery = (await system.ended("priority"))["priority"]
    assert (delivery.state, delivery.reason, delivery.attempts) == (state, reason, 3)
    assert len({(receipt.identity, receipt.sha256) for receipt in ris.receipts}) <= 1
    assert ris.receipts.count("conflict") == 0


async def test_an_absent_ris_is_waited_for_without_counting(ris: Ris, tmp_path: Path) -> None:
    port = ris.port
    await ris.stop()
    async with integration(tmp_path, site(ris_at(port))) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        await system.until(lambda newest: "priority" in newest and newest["priority"].reason == "ris_unreachable")
        again = Ris()
        await again.start(port)
        try:
            delivery = (await system.ended("priority"))["priority"]
        finally:
            await again.stop()
    assert (delivery.state, delivery.attempts) == ("landed", 1)


class ris_at:
    """Stands in for a RIS that is away: only its port is known."""

    def __init__(self, port: int) -> None:
        self.port = port


async def test_a_report_that_became_final_before_the_send_suppresses_it(ris: Ris, tmp_path: Path) -> None:
    port = ris.port
    await ris.stop()
    async with integration(tmp_path, site(ris_at(port))) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        await system.until(lambda newest: "priority" in newest and newest["priority"].reason == "ris_unreachable")
        await system.say_case(case_message(version=2, report_status="F"))
        delivery = (await system.ended("priority"))["priority"]
    assert delivery.state == "suppressed:report_final"
    assert delivery.case_version == 2


async def test_what_may_have_arrived_is_not_called_suppressed(ris: Ris, tmp_path: Path) -> None:
    ris.script.otherwise = Step(Act.SILENT)
    async with integration(tmp_path, site(ris, attempts=50, retry_seconds=0.2)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        await system.until(lambda newest: "priority" in newest and newest["priority"].reason == "ris_no_answer")
        await system.say_case(case_message(version=2, report_status="F"))
        delivery = (await system.ended("priority"))["priority"]
    assert (delivery.state, delivery.reason) == ("unconfirmed", "report_final")


async def test_a_conflict_holds_and_its_end_frees(ris: Ris, tmp_path: Path) -> None:
    async with integration(tmp_path, site(ris)) as system:
        await system.say_case(case_message(conflict="conflict:identity"))
        await system.say_result(result_message())
        held = (await system.ended("priority"))["priority"]
        assert (held.state, held.reason) == ("held", "identity_conflict")
        await system.say_case(case_message(version=2))
        await system.until(lambda newest: newest["priority"].state == "landed")
    assert system.states("priority") == ["held", "planned", "landed"]


async def test_a_negative_raises_nothing(ris: Ris, tmp_path: Path) -> None:
    async with integration(tmp_path, site(ris)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message(state="absent"))
        assert (await system.ended("priority"))["priority"].state == "suppressed:nothing_to_raise"
    assert list(ris.receipts) == []


async def test_a_rerun_does_not_raise_twice(ris: Ris, tmp_path: Path) -> None:
    async with integration(tmp_path, site(ris)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        await system.ended("priority")
        await system.say_result(result_message("result-2", revision=2))
        await system.until(lambda newest: newest["priority"].revision == 2)
    assert system.newest()["priority"].state == "suppressed:already_raised"


async def test_an_algorithm_that_the_site_silences_sends_nothing(ris: Ris, tmp_path: Path) -> None:
    peers = site(ris).ris
    assert peers is not None
    silent = make_site(ris=peers.model_dump(), algorithms=[{"name": ALGORITHM, "state": "silent"}])
    async with integration(tmp_path, silent) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        assert (await system.ended("priority"))["priority"].state == "suppressed:algorithm_silent"


async def test_an_order_goes_back_changed_where_the_site_says_so(ris: Ris, tmp_path: Path) -> None:
    async with integration(tmp_path, site(ris, strategy="orm")) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        assert (await system.ended("priority"))["priority"].state == "landed"
    (message,) = [parse(raw) for raw in received(tmp_path)]
    assert (message.get("ORC-1"), message.get("ORC-7.6"), message.get("OBR-20")) == ("XO", "S", "SPS-1")


async def test_a_restart_sends_the_same_bytes_under_the_same_control_id(ris: Ris, tmp_path: Path) -> None:
    ris.script.otherwise = Step(Act.SILENT)
    async with integration(tmp_path, site(ris, acknowledgement_timeout_seconds=30)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        await system.until(lambda _: len(list(ris.receipts)) == 1)
    ris.script.otherwise = Step()
    async with integration(tmp_path, site(ris)) as system:
        delivery = (await system.ended("priority"))["priority"]
    assert delivery.state == "landed"
    assert [receipt.outcome for receipt in ris.receipts] == ["effect", "repeat"]
    assert delivery.delivery_id == derived_id("delivery", "ris", "case-1", ALGORITHM, "1.0.0", "priority", "1")


async def test_no_priority_on_a_projection_that_fell_behind(ris: Ris, tmp_path: Path) -> None:
    async with integration(tmp_path, site(ris), max_staleness_seconds=0.001) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        await system.until(lambda newest: "priority" in newest)
        await asyncio.sleep(1.5)
        assert system.states("priority") == ["planned"]
    assert list(ris.receipts) == []


async def test_a_package_changed_since_is_a_coded_reason_not_a_crash(ris: Ris, tmp_path: Path) -> None:
    port = ris.port
    await ris.stop()
    async with integration(tmp_path, site(ris_at(port))) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        await system.until(lambda newest: "priority" in newest)
    shutil.rmtree(tmp_path / "models" / ALGORITHM)
    async with integration(tmp_path, site(ris_at(port)), package=False) as system:
        assert (await system.ended("priority"))["priority"].reason == "result_lost"
