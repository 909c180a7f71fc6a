"""Every published DICOM file, sent by dcmtk's storescu, is stored with an identical data set or rightly refused."""

import warnings
from collections import defaultdict
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

pytestmark = [pytest.mark.shared, pytest.mark.peers]

# storescu proposes one encoding at a time besides the uncompressed ones.
OPTIONS = {
    "1.2.840.10008.1.2": ["-xi"],
    "1.2.840.10008.1.2.1": ["-xe"],
    "1.2.840.10008.1.2.1.99": ["-xd"],
    "1.2.840.10008.1.2.2": ["-xb"],
    "1.2.840.10008.1.2.4.50": ["-xy"],
    "1.2.840.10008.1.2.4.51": ["-xx"],
    "1.2.840.10008.1.2.4.70": ["-xs"],
    "1.2.840.10008.1.2.4.80": ["-xt"],
    "1.2.840.10008.1.2.4.81": ["-xu"],
    "1.2.840.10008.1.2.4.90": ["-xv"],
    "1.2.840.10008.1.2.4.91": ["-xw"],
    "1.2.840.10008.1.2.5": ["-xr"],
}
# Files that dcmtk itself does not read, or whose SOP class it is too old to know (the label maps).
NOT_SENT = {
    "MR_truncated.dcm",
    "SC_rgb_jpeg.dcm",
    "Tag-0040-A170-VR-CS.dcm",
    "rtdose_rle.dcm",
    "rtdose_rle_1frame.dcm",
    "rtplan_truncated.dcm",
    "sparse-labelmap-noppv.dcm",
    "sparse-labelmap-ppv5.dcm",
}
SUCCESS, CONFLICT, UID_MISSING = 0x0000, 0xC010, 0xC002


def readable(folder: Path) -> dict[Path, Dataset]:
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix not in {".csv", ".md", ".txt", ".json"}:
                try:
                    dataset = dcmread(path, force=True)
                except Exception:  # noqa: BLE001 - not a DICOM file to pydicom
                    continue
                if "SOPClassUID" in dataset and "SOPInstanceUID" in dataset:
                    found[path] = dataset
    return found


def content(dataset: Dataset) -> dict[int, object]:
    """Elements by tag, without what a sender makes anew: group lengths, data set padding, group 0002."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            int(element.tag): [content(item) for item in element.value] if element.VR == "SQ" else element.value
            for element in dataset
            if element.tag.element != 0 and int(element.tag) != 0xFFFCFFFC
        }


async def test_every_published_file_is_stored_identically_or_rightly_refused(imaging, shared_data: Path) -> None:
    files = readable(shared_data / "dicom")
    by_option: dict[str, list[Path]] = defaultdict(list)
    for path, dataset in files.items():
        syntax = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID", "1.2.840.10008.1.2")
        by_option[OPTIONS[str(syntax)][0]].append(path)
    statuses: dict[Path, int] = {}
    async with imaging() as running:
        for option, paths in by_option.items():
            statuses |= (await running.storescu(paths, "-R", option)).statuses
        instances, letters = await running.instances(), await running.dead_letters()
        kept: dict[str, list[Dataset]] = defaultdict(list)
        for instance in instances:
            kept[instance.sop_instance_uid].append(running.stored(instance.object_key))
    refused = {letter.key: letter for letter in letters}
    wrong = []
    for path, status in statuses.items():
        uid = str(files[path].SOPInstanceUID)
        if status in (SUCCESS, CONFLICT):
            if not any(content(each) == content(files[path]) for each in kept[uid]):
                wrong.append((path.name, hex(status), "not identical"))
        elif not (status == UID_MISSING and uid in refused and refused[uid].reason == "uid_missing"):
            wrong.append((path.name, hex(status), "not kept"))
    assert not wrong
    assert {path.name for path in files if path not in statuses} == NOT_SENT
