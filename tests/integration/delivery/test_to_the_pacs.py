"""Results on their way to an archive: dcmtk's storescp, and Orthanc."""

import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from hilum.integration.adapters.hospital import SitePeers
from hilum.site import Site
from peers.orthanc import Orthanc
from peers.ports import take_free_port
from peers.storescp import StoreScp
from scenes.results import STUDY_UID
from scenes.system import IMAGE_KEY, case_message, integration, make_site, result_message

pytestmark = pytest.mark.peers
BOTH = ("structured_report", "secondary_capture")


def site(port: int, ae_title: str) -> Site:
    return make_site(
        pacs={"port": port, "ae_title": ae_title, "timeout_seconds": 5, "attempts": 2, "retry_seconds": 0.1}
    )


async def test_both_objects_land_as_they_were_rendered(storescp: StoreScp, tmp_path: Path) -> None:
    async with integration(tmp_path, site(storescp.port, storescp.ae_title)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        deliveries = await system.ended(*BOTH, seconds=60)
        for kind in BOTH:
            delivery = deliveries[kind]
            proofs = {proof.name: proof.value for proof in delivery.proofs}
            assert (delivery.state, proofs["dimse_status"]) == ("landed", "0000")
            (file,) = [f for f in storescp.files() if proofs["sop_instance_uid"] in f.name]
            sent = system.objects.get(delivery.object_key)
            assert delivery.sha256 == hashlib.sha256(sent).digest()
            (system_file := tmp_path / "sent.dcm").write_bytes(sent)
            assert dcmread(file) == dcmread(system_file)
            assert dcmread(file).StudyInstanceUID == STUDY_UID


async def test_a_negative_has_a_report_and_no_picture(storescp: StoreScp, tmp_path: Path) -> None:
    async with integration(tmp_path, site(storescp.port, storescp.ae_title)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message(state="absent"))
        deliveries = await system.ended(*BOTH, seconds=60)
    assert deliveries["structured_report"].state == "landed"
    assert deliveries["secondary_capture"].state == "suppressed:no_image_marked"


async def test_orthanc_holds_what_landed(orthanc: Orthanc, tmp_path: Path) -> None:
    async with integration(tmp_path, site(orthanc.dicom_port, orthanc.ae_title)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        deliveries = await system.ended(*BOTH, seconds=60)
    assert {delivery.state for delivery in deliveries.values()} == {"landed"}
    uids = {tags["SOPInstanceUID"] for tags in orthanc.tags()}
    assert uids >= {p.value for d in deliveries.values() for p in d.proofs if p.name == "sop_instance_uid"}


async def test_an_archive_that_refuses_the_association_is_asked_again_and_then_no_more(
    start_storescp: Callable[..., StoreScp], tmp_path: Path
) -> None:
    scp = start_storescp("--refuse")
    async with integration(tmp_path, site(scp.port, scp.ae_title)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        deliveries = await system.ended(*BOTH, seconds=60)
    assert {deliveries[kind].state for kind in BOTH} == {"refused"}
    assert {deliveries[kind].reason for kind in BOTH} == {"association_rejected"}


# pynetdicom leaves the socket of a connection that was refused to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_absent_archive_is_waited_for(tmp_path: Path) -> None:
    async with integration(tmp_path, site(take_free_port(), "NOBODY")) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        await system.until(
            lambda newest: all(kind in newest and newest[kind].reason == "connection_failed" for kind in BOTH), 60
        )
        assert {system.newest()[kind].state for kind in BOTH} == {"planned"}


async def test_an_unreadable_image_ends_as_a_coded_reason(storescp: StoreScp, tmp_path: Path) -> None:
    async with integration(tmp_path, site(storescp.port, storescp.ae_title)) as system:
        system.objects.put(IMAGE_KEY, b"not a DICOM file")
        await system.say_case(case_message())
        await system.say_result(result_message())
        deliveries = await system.ended(*BOTH, seconds=60)
    assert {(deliveries[kind].state, deliveries[kind].reason) for kind in BOTH} == {("refused", "source_unreadable")}
    assert storescp.files() == []


async def test_a_rendering_process_that_dies_is_started_again(storescp: StoreScp, tmp_path: Path) -> None:
    async with integration(tmp_path, site(storescp.port, storescp.ae_title)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        hospital = system.service.hospital
        assert isinstance(hospital, SitePeers)
        await system.until(lambda _: hospital.renderer.pid is not None, 60)
        pid = hospital.renderer.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        deliveries = await system.ended(*BOTH, seconds=60)
        assert hospital.renderer.pid != pid
    assert {deliveries[kind].state for kind in BOTH} == {"landed"}
