"""Tasks: one result each, the most urgent first, whatever dies on the way."""

import asyncio
import os
import signal
import sys

import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider

from hilum import telemetry
from hilum.contracts import topics
from hilum.errors import Rejected
from hilum.inference.adapters.wire import WorkerSetup, pack
from hilum.inference.service import build
from hilum.inference.settings import Settings
from hilum.openinference import open_inference_grpc_pb2 as pb
from hilum.openinference import open_inference_grpc_pb2_grpc as pb_grpc
from scenes.images import make_image
from scenes.inference import MODEL, WAIT_SECONDS, World, channel_to


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_task_becomes_one_result_with_its_findings(world: World) -> None:
    async with world.running():
        await world.send(1, world.image("a", bright=True))
        (result,) = await world.results(1)
    assert (result.outcome, result.reason, result.task_id, result.case_id) == ("resulted", "", "task-1", "case-1")
    (finding,) = result.findings
    assert (finding.finding, finding.state, finding.code.code) == ("spot", "present", "36118008")
    assert finding.probability > finding.threshold
    assert (finding.box.row0, finding.box.column0, finding.box.row1, finding.box.column1) == (50, 125, 100, 175)
    assert world.objects.exists(finding.map_object_key)
    assert result.inputs[0].sop_instance_uid == "1.2.3"
    assert result.engine.startswith("onnxruntime")
    assert result.started_at.ToDatetime() <= result.ended_at.ToDatetime()


async def test_the_most_urgent_of_what_waits_goes_first(world: World) -> None:
    key = world.image("a", bright=False)
    async with world.running() as service:
        os.kill(service.workers.pids[0], signal.SIGSTOP)
        await world.send(0, key)  # in hand, and held up
        await asyncio.sleep(1)
        for number, urgency in enumerate(("backfill", "routine", "urgent"), start=1):
            await world.send(number, key, urgency)
        await asyncio.sleep(1.5)
        os.kill(service.workers.pids[0], signal.SIGCONT)
        results = await world.results(4)
    order = sorted(results, key=lambda result: result.started_at.ToDatetime())
    assert [result.task_id for result in order] == ["task-0", "task-3", "task-2", "task-1"]


async def test_the_result_belongs_to_the_trace_of_its_task(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "TRACER", TracerProvider().get_tracer("test"))
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with world.running():
        await world.send(1, world.image("a", bright=True), headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
        (record,) = await world.records(topics.FINDINGS.name, 1)
    assert record.event.headers["traceparent"].split("-")[1] == trace


async def test_a_redelivered_task_gives_its_result_once(world: World) -> None:
    key = world.image("a", bright=True)
    async with world.running():
        await world.send(1, key)
        await world.send(1, key)  # the same event again
        await world.send(1, key, event="another event")  # the same task by another event
        assert len(await world.results(1)) == 1
    async with world.running():
        await world.send(1, key, event="yet another")
        assert len(await world.results(1)) == 1


@pytest.mark.parametrize(
    ("changes", "content", "reason"),
    [
        ({"algorithm": "unheard-of"}, None, "failed:package"),
        ({"package_digest": "0" * 64}, None, "failed:package"),
        ({}, None, "failed:fetch"),
        ({}, b"no image", "failed:decode"),
        ({}, make_image(8, 8, PixelData=bytes(128)), "failed:preprocess"),
    ],
)
async def test_every_failure_ends_as_a_coded_step(
    world: World, changes: dict[str, str], content: bytes | None, reason: str
) -> None:
    if content is not None:
        world.objects.put("instances/bad.dcm", content)
    async with world.running():
        await world.send(1, "instances/bad.dcm", **changes)
        (result,) = await world.results(1)
    assert (result.outcome, result.reason) == ("failed", reason)
    assert not result.findings


async def test_a_task_that_makes_no_sense_is_a_dead_letter_and_stops_nothing(world: World) -> None:
    key = world.image("a", bright=True)
    async with world.running():
        await world.send(1, key, algorithm="")
        await world.send(2, key)
        assert [result.task_id for result in await world.results(1)] == ["task-2"]
        assert len(await world.dead_letters(1)) == 1


async def test_a_worker_killed_in_the_middle_costs_no_task(world: World) -> None:
    keys = [world.image(f"image-{number}", bright=number % 2 == 0) for number in range(40)]
    async with world.running() as service:
        for number, key in enumerate(keys):
            await world.send(number, key)
        await world.results(3)
        for _ in range(2):
            os.kill(service.workers.pids[0], signal.SIGKILL)
            await asyncio.sleep(1.5)
        results = await world.results(40)
    assert sorted(result.task_id for result in results) == sorted(f"task-{number}" for number in range(40))
    assert {result.outcome for result in results} == {"resulted"}


async def test_a_worker_that_hangs_is_ended_and_its_task_is_done_by_another(world: World) -> None:
    key = world.image("a", bright=True)
    async with world.running(task_seconds=2) as service:
        await world.send(1, key)
        await world.results(1)
        os.kill(service.workers.pids[0], signal.SIGSTOP)  # it hangs
        await world.send(2, key)
        await asyncio.sleep(2.5)
        results = await world.results(2)
    assert {result.task_id: result.outcome for result in results} == {"task-1": "resulted", "task-2": "resulted"}


async def test_a_task_that_ends_every_worker_that_takes_it_ends_as_failed_engine(world: World) -> None:
    side = 5000
    pixels = np.random.default_rng(1).integers(0, 4096, (side, side), np.uint16)
    world.objects.put("instances/huge.dcm", make_image(side, side, PixelData=pixels.tobytes()))
    async with world.running(task_seconds=0.03) as service:
        await world.send(1, "instances/huge.dcm")
        (result,) = await world.results(1)
        assert (result.outcome, result.reason) == ("failed", "failed:engine")
        async with channel_to(service) as channel:  # the service itself goes on
            request = pb.ModelReadyRequest(name=MODEL)
            assert (await pb_grpc.GRPCInferenceServiceStub(channel).ModelReady(request, timeout=WAIT_SECONDS)).ready


async def test_what_waited_when_the_service_ended_is_done_when_it_starts_again(world: World) -> None:
    key = world.image("a", bright=True)
    for number in range(30):
        await world.send(number, key)
    async with world.running():
        await world.results(1)
    async with world.running():
        results = await world.results(30)
    # What the first one appended but had not yet forgotten is appended again: the same events, which readers drop.
    assert {result.task_id for result in results} == {f"task-{number}" for number in range(30)}
    assert len({result.SerializeToString(deterministic=True) for result in results}) == 30


async def test_no_worker_outlives_the_service(world: World) -> None:
    async with world.running(workers=2) as service:
        pids = service.workers.pids
        assert len(pids) == 2
    assert all(is_gone(pid) for pid in pids)


async def test_a_service_whose_parent_is_killed_leaves_no_worker(world: World) -> None:
    """`kill -9` of the whole process closes the worker's pipe, on which it ends."""
    setup = WorkerSetup((), str(world.folder / "objects"), 1, 2**31)
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys, subprocess; from hilum.inference.adapters import wire\n"
        "child = subprocess.Popen([sys.executable, '-m', 'hilum.inference.adapters.worker'], stdin=-1, stdout=-1)\n"
        "child.stdin.write(sys.stdin.buffer.read()); child.stdin.flush(); wire.read_frame(child.stdout)\n"
        "print(child.pid, flush=True); child.wait()",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write(pack(setup))
    parent.stdin.close()
    pid = int(await asyncio.wait_for(parent.stdout.readline(), WAIT_SECONDS))
    parent.kill()
    await parent.wait()
    for _ in range(100):
        if is_gone(pid):
            break
        await asyncio.sleep(0.05)
    assert is_gone(pid)


async def test_a_package_that_does_not_hold_stops_the_start(world: World) -> None:
    (world.folder / "models" / MODEL / "model.onnx").write_bytes(b"tampered")
    with pytest.raises(Rejected, match="sha256"):
        build(Settings(), world.platform())
