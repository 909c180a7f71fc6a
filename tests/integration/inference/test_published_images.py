"""Every published DICOM file, good or broken, ends as a finding or as a coded step; nothing else."""

from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread

from hilum.inference.adapters.contracts import engine_spec
from hilum.inference.adapters.reading import read_images
from hilum.inference.adapters.worker import load_engine
from hilum.inference.domain import Input, StepFailed
from hilum.inference.ports import ModelKey, ReadImages
from hilum.objects.files import FileObjects
from hilum.packages import load
from scenes.models import write_package


def single_frames(files: list[Path]) -> int:
    """How many of them hold one frame of pixels, as far as pydicom can tell."""
    headers = (dcmread(path, force=True, specific_tags=["Rows", "NumberOfFrames", "PixelData"]) for path in files)
    return sum("PixelData" in header and str(header.get("NumberOfFrames") or 1) == "1" for header in headers)


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore")  # as in a worker: pydicom warns of what it mends
def test_every_published_file_ends_as_a_finding_or_a_coded_step(shared_data: Path, tmp_path: Path) -> None:
    files = [path for path in (shared_data / "dicom").rglob("*") if path.is_file() and path.suffix != ".csv"]
    spec = engine_spec(load(write_package(tmp_path / "package")))
    engine, objects = load_engine(spec, 1), FileObjects(tmp_path / "objects")
    ends: Counter[str] = Counter()
    for path in files:
        objects.put("instances/one.dcm", path.read_bytes())
        job = ReadImages(ModelKey(spec.name, spec.version), "r", (Input("1.2", "1.2", "1.2", "instances/one.dcm"),))
        try:
            (finding,) = read_images(spec, engine, objects, job)
            assert 0 <= finding.probability <= 1
            ends["read"] += 1
        except StepFailed as failure:
            ends[failure.step] += 1
    assert ends.keys() == {"read", "decode", "preprocess"}
    assert sum(ends.values()) == len(files)
    assert ends["read"] >= 0.9 * single_frames(files)
