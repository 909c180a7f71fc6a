"""What an instance says of itself, and what is made of it where it says it badly."""

from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from zoneinfo import ZoneInfo

import pytest
from pydicom import Dataset, dcmread

from datasets.images import image, item
from hilum.dicom.ages import age_in_years
from hilum.dicom.facts import read_facts
from hilum.dicom.uids import is_uid
from hilum.errors import Rejected

ZONE = ZoneInfo("Europe/Berlin")


def reread(dataset: Dataset) -> Dataset:
    """As it comes from the wire: raw elements, parsed when asked for."""
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=False)
    return dcmread(BytesIO(stream.getvalue()), force=True)


def refused(dataset: Dataset) -> str:
    with pytest.raises(Rejected) as caught:
        read_facts(dataset)
    return caught.value.code


@pytest.mark.parametrize("uid", ["1.2", "2.25.0", "1.2.840.10008.5.1.4.1.1.2", "1." + "2" * 62, "1.02"])
def test_a_uid_is_numbers_and_dots_of_at_most_64_characters(uid: str) -> None:
    assert is_uid(uid)


@pytest.mark.parametrize("uid", ["", "1", "1.", ".1", "1..2", "1.2a", "1.2/../3", "1." + "2" * 63, "1.2\n"])
def test_anything_else_is_no_uid(uid: str) -> None:
    assert not is_uid(uid)


def test_missing_and_invalid_uids_are_refused_by_reason() -> None:
    missing, invalid = image([[0]]), image([[0]])
    del missing.StudyInstanceUID
    invalid.SeriesInstanceUID = "not a uid"
    assert refused(missing) == "uid_missing"
    assert refused(invalid) == "uid_invalid"


def test_group_0002_that_names_another_instance_is_refused() -> None:
    dataset = image([[0]])
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.9"
    assert refused(dataset) == "uids_disagree"


def test_names_are_decoded_by_the_character_set() -> None:
    dataset = image([[0]], SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jürgen^^Dr")
    facts = read_facts(reread(dataset))
    assert (facts.family_name, facts.given_name) == ("Müller", "Jürgen")


def test_the_alphabetic_group_comes_before_the_ideographic() -> None:
    dataset = image([[0]], SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎")
    assert read_facts(reread(dataset)).patient_name == "Yamada^Tarou"


def test_an_unknown_character_set_costs_no_instance() -> None:
    dataset = reread(image([[0]], PatientName="Doe^Jane"))
    dataset.SpecificCharacterSet = "ISO_IR 9999"
    assert read_facts(dataset).sop_instance_uid == "1.2.3.3"


def test_identifiers_come_with_who_assigned_them() -> None:
    dataset = image(
        [[0]],
        PatientID="123 ",
        IssuerOfPatientID="HOSP",
        AccessionNumber="A1",
        IssuerOfAccessionNumberSequence=item(UniversalEntityID="1.2.9", UniversalEntityIDType="ISO"),
    )
    facts = read_facts(reread(dataset))
    assert (facts.patient_id, facts.issuer_of_patient_id) == ("123", "HOSP")
    assert (facts.accession_number, facts.accession_issuer) == ("A1", "1.2.9")


def test_an_issuer_may_stand_in_its_qualifiers() -> None:
    dataset = image([[0]], PatientID="1", IssuerOfPatientIDQualifiersSequence=item(UniversalEntityID="1.2.7"))
    assert read_facts(dataset).issuer_of_patient_id == "1.2.7"


@pytest.mark.parametrize(
    ("age", "born", "studied", "years"),
    [
        ("018Y", "", "", 18),
        ("006M", "", "", 0.5),
        ("052W", "", "", 1.0),
        ("010D", "", "", 0.03),
        ("", "20000310", "20180310", 18),
        ("", "20000310", "20180309", 17.99),
        ("", "20000229", "20180228", 17.99),
        ("", "20000229", "20180301", 18),
        ("18", "20000310", "20180310", 18),
        ("", "20180310", "20000310", None),
        ("", "20001310", "20180310", None),
        ("", "", "20180310", None),
    ],
)
def test_ages_in_years(age: str, born: str, studied: str, years: float | None) -> None:
    found = age_in_years(age, born, studied)
    assert found == (None if years is None else pytest.approx(years, abs=0.005))


def test_tags_are_text_with_several_values_joined_as_on_the_wire() -> None:
    dataset = image([[0]], Modality="CT", ImageType=["ORIGINAL", "PRIMARY"], SliceThickness="2.5", PatientAge="003Y")
    tags = read_facts(reread(dataset)).tags
    assert tags["Modality"] == "CT"
    assert tags["ImageType"] == "ORIGINAL\\PRIMARY"
    assert tags["SliceThickness"] == "2.5"
    assert tags["PatientAgeYears"] == "3"
    assert tags["Rows"] == "1"
    assert "ViewPosition" not in tags


def test_blanks_around_each_of_several_values_are_padding() -> None:
    """PS3.5 6.2, CS: a rule that asks for DERIVED must find it, whichever way the element was encoded."""
    dataset = image([[0]])
    dataset.ImageType = ["DERIVED ", "PRIMARY"]
    assert read_facts(reread(dataset)).tags["ImageType"] == "DERIVED\\PRIMARY"
    assert read_facts(dataset).tags["ImageType"] == "DERIVED\\PRIMARY"


def test_a_value_that_cannot_be_read_is_absent_and_the_rest_stands() -> None:
    dataset = image([[0]], Modality="DX", PatientID="7")
    dataset.add_new("SliceThickness", "DS", "1")
    raw = reread(dataset)
    raw._dict[raw["SliceThickness"].tag] = raw.get_item("SliceThickness")._replace(value=b"\xff\xfethick")  # type: ignore[union-attr]
    facts = read_facts(raw)
    assert facts.tags["Modality"] == "DX"
    assert facts.patient_id == "7"


def test_study_time_is_the_sites_unless_the_instance_states_an_offset() -> None:
    dataset = image([[0]], StudyDate="20240701", StudyTime="0815")
    assert read_facts(dataset).study_datetime(ZONE) == datetime(2024, 7, 1, 6, 15, tzinfo=UTC)
    dataset.TimezoneOffsetFromUTC = "-0500"
    expected = datetime(2024, 7, 1, 8, 15, tzinfo=timezone(timedelta(hours=-5)))
    assert read_facts(dataset).study_datetime(ZONE) == expected


@pytest.mark.parametrize(
    ("date", "time"), [("20240231", "10"), ("yesterday", ""), ("", "101010"), ("20240701", "2561")]
)
def test_a_date_or_time_that_cannot_be_is_none(date: str, time: str) -> None:
    dataset = image([[0]])
    dataset.add_new("StudyDate", "LO", date)
    dataset.add_new("StudyTime", "LO", time)
    assert read_facts(dataset).study_datetime(ZONE) is None
