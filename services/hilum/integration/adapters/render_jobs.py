"""What the rendering process is asked to make, and how it makes it."""

from dataclasses import dataclass
from io import BytesIO
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from hilum.errors import Fault, Rejected
from hilum.integration.adapters.fhir_site import FhirSite
from hilum.integration.domain.case import CaseState
from hilum.integration.domain.plan import Kind
from hilum.integration.domain.result import AlgorithmResult
from hilum.objects.port import Objects

_LARGEST_MAP = 4096 * 4096


@dataclass(frozen=True)
class ReportJob:
    """The FHIR transaction of a result."""

    result: AlgorithmResult
    case: CaseState
    site: FhirSite
    patient_reference: str | None


@dataclass(frozen=True)
class ImageJob:
    """The SR or the Secondary Capture of a result."""

    kind: Kind
    result: AlgorithmResult
    case: CaseState
    timezone: str
    delivery_id: str


Job = ReportJob | ImageJob


def perform(job: Job, objects: Objects) -> bytes:
    """The document. The libraries are heavy, so that only the rendering process imports them, and once.

    Raises `hilum.errors` with a coded reason.
    """
    if isinstance(job, ReportJob):
        from hilum.integration.adapters.fhir_rendering import render_report  # noqa: PLC0415

        return render_report(job.result, job.case, job.site, job.patient_reference)
    return _image(job, objects)


def _image(job: ImageJob, objects: Objects) -> bytes:
    from hilum.integration.adapters import secondary_capture as capture  # noqa: PLC0415
    from hilum.integration.adapters.dicom_source import read_source  # noqa: PLC0415
    from hilum.integration.adapters.structured_report import DicomSite, render_structured_report  # noqa: PLC0415

    site = DicomSite(ZoneInfo(job.timezone))
    keys = {image.sop_instance_uid: image.object_key for image in job.result.inputs}
    if job.kind is Kind.STRUCTURED_REPORT:
        sources = [read_source(objects.get(key)) for key in keys.values()]
        return render_structured_report(job.result, job.case, site, job.delivery_id, sources)
    uid, findings = capture.marked(job.result)
    if uid not in keys:
        raise Fault("no_source_image", "the marked image is not among those that were analysed")
    source = read_source(objects.get(keys[uid]), pixels=True)
    placed = {f.id: f.localisation.activation_key for f in findings if f.localisation is not None}
    maps = {finding: _map(objects.get(key)) for finding, key in placed.items() if key}
    picture = capture.render_overlay(job.result, source, maps)
    return capture.render_secondary_capture(job.result, job.case, site, job.delivery_id, source, picture)


def _map(data: bytes) -> NDArray[np.float32]:
    """An activation map as inference stored it (.npy, float32, two dimensions)."""
    try:
        found = np.load(BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise Rejected("map_unreadable", "an activation map cannot be read") from None
    if not isinstance(found, np.ndarray) or found.ndim != 2 or not 0 < found.size <= _LARGEST_MAP:
        raise Rejected("map_unreadable", "an activation map has an unusable shape")
    return found.astype(np.float32)
