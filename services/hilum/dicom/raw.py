"""Elements that nobody has parsed yet, by keyword.

pydicom's own look-ups check and convert their keys each time, and compare tags in Python; for the fifty elements that
are asked of every instance that is most of the work.
"""

from functools import cache, lru_cache

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag

_UNSIGNED_SHORT_BYTES = 2


@lru_cache(8192)
def interned(tag: int) -> BaseTag:
    """One object a tag: found in a dictionary without a comparison in Python."""
    return BaseTag(tag)


@cache
def tag_and_vr(keyword: str) -> tuple[BaseTag, str]:
    """By PS3.6."""
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return interned(tag), dictionary_VR(tag)


def stored(dataset: Dataset, keyword: str) -> DataElement | RawDataElement | None:
    """What the data set holds, as it holds it; None where it holds nothing."""
    return dataset._dict.get(tag_and_vr(keyword)[0])  # noqa: SLF001


def unsigned_short(dataset: Dataset, keyword: str) -> int | None:
    """The one value of a raw element of VR US (PS3.5 6.2); None where it is something else, or parsed."""
    raw = stored(dataset, keyword)
    if (
        isinstance(raw, RawDataElement)
        and isinstance(raw.value, bytes)
        and len(raw.value) == _UNSIGNED_SHORT_BYTES
        and (raw.VR == "US" or (raw.VR is None and tag_and_vr(keyword)[1] == "US"))
    ):
        return int.from_bytes(raw.value, "little" if raw.is_little_endian else "big")
    return None
