"""Times as HL7 writes them (TS and DTM, HL7 v2.5.1 2A.22): ``YYYY[MM[DD[HH[MM[SS[.SSSS]]]]]][+/-ZZZZ]``."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_TIMESTAMP = re.compile(
    r"(?P<year>\d{4})(?:(?P<month>\d\d)(?:(?P<day>\d\d)(?:(?P<hour>\d\d)(?:(?P<minute>\d\d)"
    r"(?:(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?)?)?)?)?)?(?:(?P<sign>[+-])(?P<hours>\d\d)(?P<minutes>\d\d))?\Z",
    re.ASCII,
)


def read_timestamp(text: str, zone: tzinfo) -> datetime | None:
    """The instant in UTC that ``text`` begins; None when it is no timestamp.

    Without an offset it is local time in ``zone``, the earlier of the two where clocks go back. A shorter
    precision means its beginning: keep the text beside the instant where the precision matters.
    """
    match = _TIMESTAMP.match(text.strip())
    if match is None:
        return None
    parts = match.groupdict()
    offset: tzinfo = zone
    if parts["sign"]:
        minutes = int(parts["hours"]) * 60 + int(parts["minutes"])
        if minutes >= 24 * 60:
            return None
        offset = timezone(timedelta(minutes=minutes if parts["sign"] == "+" else -minutes))
    try:
        local = datetime(
            int(parts["year"]),
            int(parts["month"] or 1),
            int(parts["day"] or 1),
            int(parts["hour"] or 0),
            int(parts["minute"] or 0),
            int(parts["second"] or 0),
            int((parts["fraction"] or "0").ljust(6, "0")),
            tzinfo=offset,
        )
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def write_timestamp(at: datetime) -> str:
    """``at`` to the second with its offset; ``at`` must be aware."""
    return at.isoformat("T", "seconds").replace("-", "", 2).replace("T", "").replace(":", "")
