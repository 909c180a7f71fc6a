"""A patient's age in years, from what an instance states (PS3.5 6.2 AS, DA)."""

import re
from datetime import UTC, date, datetime

_AGE = re.compile(r"([0-9]{1,3})([DWMY])")
_YEARS_A_UNIT = {"D": 1 / 365.2425, "W": 7 / 365.2425, "M": 1 / 12, "Y": 1.0}


def age_in_years(patient_age: str, birth_date: str, study_date: str) -> float | None:
    """Years from (0010,1010), such as ``018M``; else from the two dates. None where neither says."""
    if stated := _AGE.fullmatch(patient_age.strip().upper()):
        return round(int(stated[1]) * _YEARS_A_UNIT[stated[2]], 2)
    born, studied = read_date(birth_date), read_date(study_date)
    if born is None or studied is None or studied < born:
        return None
    return round(_years_between(born, studied), 2)


def read_date(text: str) -> date | None:
    """A DA value, or the form with dots of ACR-NEMA; None where it is neither, or no such day exists."""
    try:
        return datetime.strptime(text.strip().replace(".", ""), "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _years_between(born: date, studied: date) -> float:
    """Whole birthdays passed, and the part of a year since: whole on a birthday, so that a bound at 18 means it."""
    years = studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day))
    birthday = _birthday(born, born.year + years)
    return years + min((studied - birthday).days / 366, 0.99)


def _birthday(born: date, year: int) -> date:
    try:
        return born.replace(year=year)
    except ValueError:  # 29 February
        return date(year, 3, 1)
