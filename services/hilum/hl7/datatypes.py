"""Data types as the path table reads them (HL7 v2.5.1 2A): which components of a place belong to a logical field."""

import re

Part = tuple[str, int, int]
"""Suffix of the name, components after the place's own, subcomponent from 1."""

PARTS: dict[str, tuple[Part, ...]] = {
    "ST": (("", 0, 0),),
    "TX": (("", 0, 0),),  # the whole field, repetitions as lines
    "UI": (("", 0, 0),),  # a DICOM UID (PS3.5 9.1), as the first component of an EI or RP
    "EI": (("", 0, 0), (".authority", 1, 1), (".authority_uid", 2, 1)),
    "CX": (("", 0, 0), (".authority", 3, 1), (".authority_uid", 3, 2), (".type", 4, 1)),
    "HD": (("", 0, 0), (".uid", 1, 1)),
    "CWE": (("", 0, 0), (".text", 1, 1), (".system", 2, 1)),
    "XPN": ((".family", 0, 1), (".given", 1, 1), (".middle", 2, 1), (".suffix", 3, 1), (".prefix", 4, 1)),
    "XCN": (("", 0, 0), (".family", 1, 1), (".given", 2, 1), (".authority", 8, 1)),
    "NDL": (("", 0, 1), (".family", 0, 2), (".given", 0, 3)),
    "PL": ((".point_of_care", 0, 0), (".room", 1, 1), (".bed", 2, 1), (".facility", 3, 1)),
}

_UID = re.compile(r"(?:0|[1-9][0-9]*+)(?:\.(?:0|[1-9][0-9]*+))++\Z")


def plausible(data_type: str, value: str) -> bool:
    """Whether ``value`` can be of ``data_type``; only UI is checked, an explicit null passes."""
    return data_type != "UI" or value == '""' or (len(value) <= 64 and _UID.match(value) is not None)
