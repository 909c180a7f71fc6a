"""Microseconds since 1970, as the databases keep time."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.clock import at_microseconds, microseconds

TIMES = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001


@given(TIMES)
def test_microseconds_are_exact_both_ways(at: datetime) -> None:
    assert at_microseconds(microseconds(at)) == at


def test_both_sides_of_a_daylight_saving_change_are_an_hour_apart() -> None:
    zone = ZoneInfo("Europe/Berlin")
    early, late = (datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=fold) for fold in (0, 1))
    assert microseconds(late.astimezone(UTC)) - microseconds(early.astimezone(UTC)) == 3_600_000_000


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        microseconds(datetime(2026, 1, 1))  # noqa: DTZ001
