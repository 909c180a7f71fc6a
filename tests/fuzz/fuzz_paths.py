"""Field paths and what a site file may put in place of the built-in ones."""

from hilum.errors import Rejected
from hilum.hl7.fieldpath import parse_path
from hilum.hl7.message import parse
from hilum.hl7.paths import compile_tables

_MESSAGES = tuple(
    parse(text.encode())
    for text in (
        "MSH|^~\\&|A|B|C|D|20260101||ORM^O01|1|P|2.5.1\rPID|1||7^^^H&1.2&ISO^MR~8^^^X^PI||Doe^Ann~Roe\rORC|NW|1^A&B|2\r"
        "OBR|1|||T^Text^L~U|||||||||||||||ACC\rOBX|1|NM|113014^DICOM^DCM||1~2\\F\\3\rOBX|2|TX|X||a\\.br\\b\rZDS|1.2^^^D",
        "MSH$%~?*$A$B\rPID$$$1%2*3~4",
        "MSH|^~\rPID|||1^2~3",
    )
)
_DOCUMENT = {
    "schema": 1,
    "fragments": {"numbers": {"accession_number": {"type": "EI", "at": ["OBR-18"]}}},
    "structures": {
        "ORM_O01": {
            "messages": ["ORM^O01"],
            "kind": "order",
            "groups": ["ORC", "OBR"],
            "include": ["numbers"],
            "fields": {
                "patient_identifiers": {"type": "CX", "each": "PID-3"},
                "reason": {"type": "TX", "at": ["OBR-31"]},
                "uid": {"type": "UI", "at": ["ZDS-1"]},
            },
            "required": ["accession_number"],
        }
    },
}
_KEYS = ("accession_number", "patient_identifiers", "ORM_O01.reason", "uid", "no_such_field")


def check(data: bytes) -> None:
    """Byte 0 chooses the field that is overridden; the paths follow, one a line, as UTF-8."""
    if not data:
        return
    written = data[1:].decode("utf-8", "replace").split("\n")
    for text in written:
        check_path(text)
    try:
        tables = compile_tables(_DOCUMENT, {_KEYS[data[0] % len(_KEYS)]: written})
    except Rejected as error:
        assert error.code == "path_table_bad"
        assert error.text.strip()
        return
    structure = tables.structures["ORM_O01"]
    for message in _MESSAGES:
        for values in structure.checked.read(message):
            list(structure.missing(values))
            list(structure.implausible(values))
        assert all(value for values in structure.all.read(message) for value in values.values())


def check_path(text: str) -> None:
    try:
        path = parse_path(text)
    except Rejected as error:
        assert error.code == "path_bad"
        return
    assert path.text == text
    for message in _MESSAGES:
        value, raw, every = path.read(message), path.raw(message), path.read_all(message)
        assert isinstance(value, str)
        assert raw in message.text or path.segment == "MSH"
        assert "" not in every
        if path.occurrence.index is None and not path.occurrence.first:
            continue
        assert not value or "\n".join(every).startswith(value) or path.repetition.index, "the first of them comes first"
