"""Command sets, read and written; pynetdicom agrees with both."""

import random
import struct
from io import BytesIO

import pytest
from pydicom.uid import UID
from pynetdicom import dimse_messages
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import decode

from hilum.errors import Rejected
from hilum.imaging.adapters.commands import C_STORE_RQ, Answer, Command, read_command, write_response

CT = "1.2.840.10008.5.1.4.1.1.2"
REQUEST = Command(C_STORE_RQ, 7, CT, "1.2.3", has_data_set=True)


def store_request() -> bytes:
    """As pynetdicom encodes it."""
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = 7, 0
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = UID(CT), UID("1.2.3")
    primitive.DataSet = BytesIO(b"\x00\x00")
    message = dimse_messages.C_STORE_RQ()
    message.primitive_to_message(primitive)
    fragments = message.encode_msg(1, 16384)
    return bytes(next(fragments).presentation_data_value_list[0][1][1:])


def test_a_request_of_pynetdicom_is_read() -> None:
    assert read_command(store_request()) == REQUEST


@pytest.mark.parametrize("comment", ["", "data_set_unreadable: odd", "x" * 200, "Ü"])
def test_a_response_is_read_by_pynetdicom(comment: str) -> None:
    read = decode(BytesIO(write_response(REQUEST, Answer(0xC001, comment))), True, True)
    assert (read.CommandField, read.MessageIDBeingRespondedTo, read.CommandDataSetType) == (0x8001, 7, 0x0101)
    assert (read.Status, read.AffectedSOPClassUID, read.AffectedSOPInstanceUID) == (0xC001, CT, "1.2.3")
    assert len(read.get("ErrorComment", "")) <= 64
    assert ("ErrorComment" in read) is bool(comment)
    assert read.CommandGroupLength == len(write_response(REQUEST, Answer(0xC001, comment))) - 12


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole[:-1],
        lambda whole: whole + b"\0" * 4,
        lambda whole: whole + struct.pack("<HHI", 8, 0x18, 0),
        lambda whole: whole.replace(struct.pack("<HHIH", 0, 0x0100, 2, 1), struct.pack("<HHIH", 0, 0x0100, 2, 0x8001)),
        lambda whole: whole.replace(struct.pack("<HHI", 0, 0x0110, 2), struct.pack("<HHI", 0, 0x0111, 2)),
        lambda whole: whole + struct.pack("<HHI", 0, 0x1000, 70) + b"9" * 70,
    ],
    ids=["cut", "half an element", "another group", "a response", "no message ID", "a long UID"],
)
def test_what_is_no_request_is_refused(change) -> None:
    with pytest.raises(Rejected, match="command_invalid"):
        read_command(change(store_request()))


def test_noise_is_refused_or_read_and_nothing_else() -> None:
    chance = random.Random(5)
    whole = store_request()
    refused = 0
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 2, 8))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            read_command(bytes(data))
        except Rejected:
            refused += 1
    assert 0 < refused < 2000
