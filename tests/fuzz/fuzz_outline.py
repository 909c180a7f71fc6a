"""The outline of a data set beside the library's parser: the same elements with the same values, or no outline."""

import warnings
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence

from hilum.dicom.outline import outline


def check(data: bytes) -> None:
    """Byte 0, when odd, says explicit VR; the data set follows, in little endian."""
    if not data:
        return
    implicit, data_set = data[0] % 2 == 0, data[1:]
    found = outline(memoryview(data_set), implicit=implicit)
    if found is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = read_dataset(BytesIO(data_set), implicit, True)
        assert same(found, parsed)


def same(one: Dataset, other: Dataset) -> bool:
    """Element by element, before and after their values are worked out."""
    assert list(one._dict) == list(other._dict)
    assert one.original_character_set == other.original_character_set
    for tag in list(one._dict):
        raw, parsed = one._dict[tag], other._dict[tag]
        if isinstance(raw, RawDataElement) and isinstance(parsed, RawDataElement):
            assert (raw.VR, bytes(raw.value or b"")) == (parsed.VR, bytes(parsed.value or b""))
        assert worked_out(one, tag) == worked_out(other, tag), tag
    return True


def worked_out(dataset: Dataset, tag: Any) -> Any:
    """What an access comes to: VR and value, or the kind of error."""
    try:
        element = dataset[tag]
        value = element.value
        if isinstance(value, Sequence):
            return element.VR, [[worked_out(item, inner) for inner in list(item._dict)] for item in value]
        return element.VR, bytes(value) if isinstance(value, bytes | memoryview) else str(value)
    except Exception as error:  # noqa: BLE001 - pydicom raises anything at access
        return type(error).__name__
