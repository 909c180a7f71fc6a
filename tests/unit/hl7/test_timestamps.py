"""HL7 times to instants, across precision, offset and daylight saving."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from hilum.hl7.timestamps import read_timestamp, write_timestamp

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024", datetime(2023, 12, 31, 23, tzinfo=UTC)),
        ("20240701", datetime(2024, 6, 30, 22, tzinfo=UTC)),
        ("202407011530", datetime(2024, 7, 1, 13, 30, tzinfo=UTC)),
        ("20240115153045.1234-0500", datetime(2024, 1, 15, 20, 30, 45, 123400, tzinfo=UTC)),
        ("20241027023000", datetime(2024, 10, 27, 0, 30, tzinfo=UTC)),  # twice that night: the earlier
        ("20240331023000", datetime(2024, 3, 31, 1, 30, tzinfo=UTC)),  # never that night
    ],
)
def test_a_time_is_read_in_its_zone(text: str, instant: datetime) -> None:
    assert read_timestamp(text, BERLIN) == instant


@pytest.mark.parametrize(
    "text", ["", "24", "2024-01-15", "20241301", "20240115250000", "20240115+9900", "٢٠٢٤", "0001+0100", "20240115\n1"]
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert read_timestamp(text, BERLIN) is None


def test_times_are_written_with_their_offset() -> None:
    assert write_timestamp(datetime(2024, 7, 1, 12, tzinfo=BERLIN)) == "20240701120000+0200"
