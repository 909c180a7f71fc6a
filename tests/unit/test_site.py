"""The site file: strict, every fault at once, no PHI needed to explain one."""

import copy
from pathlib import Path
from typing import Any

import pytest

from hilum.errors import Rejected
from hilum.site import Site, load_site, parse_site

WHOLE: dict[str, Any] = {
    "site": "st-elsewhere",
    "timezone": "Europe/Berlin",
    "feeds": [{"sending_application": "RIS", "sending_facility": "A"}, {"sending_application": "RIS"}],
    "ris": {"port": 2575, "strategy": "omi"},
    "ehr": {"url": "http://127.0.0.1:8080/fhir"},
    "pacs": {"port": 104, "ae_title": "PACS 1"},
    "algorithms": [{"name": "pneumothorax", "state": "silent"}],
}


def faults(document: Any) -> str:
    with pytest.raises(Rejected) as rejected:
        parse_site(document)
    assert rejected.value.code == "site_file"
    return rejected.value.text


def test_the_shortest_file_names_the_site_alone() -> None:
    site = parse_site({"site": "a"})
    assert (site.ris, site.ehr, site.pacs, site.algorithms) == (None, None, None, None)
    assert site.matching.require_order


def test_every_fault_is_listed_at_once() -> None:
    text = faults(
        {
            "site": "Not A Name",
            "timezone": "Mars/Olympus",
            "feeds": [{"sending_application": "RIS"}, {"sending_application": "RIS"}],
            "ris": {"port": 70_000, "strategy": "fax", "colour": "red"},
            "ehr": {"url": "ftp://x"},
            "pacs": {"ae_title": "A TITLE THAT IS TOO LONG"},
            "completeness": {"quiet_seconds": 0},
        }
    )
    for place in (
        "site:",
        "timezone:",
        "feeds:",
        "ris.port:",
        "ris.strategy:",
        "ris.colour:",
        "ehr.url:",
        "pacs.port:",
        "pacs.ae_title:",
        "completeness.quiet_seconds:",
    ):
        assert place in text, place


@pytest.mark.parametrize(
    "place", [(), ("feeds", 0), ("ris",), ("ehr",), ("pacs",), ("completeness",), ("matching",), ("algorithms", 0)]
)
def test_an_unknown_key_is_refused_wherever_it_stands(place: tuple[str | int, ...]) -> None:
    document: Any = copy.deepcopy({**WHOLE, "completeness": {}, "matching": {}})
    target = document
    for step in place:
        target = target[step]
    target["typo"] = 1
    assert f"{'.'.join(map(str, (*place, 'typo')))}: Extra inputs are not permitted" in faults(document)


@pytest.mark.parametrize("document", [None, [], "text", 7])
def test_a_file_that_is_no_mapping_is_refused(document: Any) -> None:
    assert faults(document).startswith("file:")


@pytest.mark.parametrize("title", ["", " ", "A" * 17, "BACK\\SLASH", "UML\u00c4UT", "TAB\tBED"])
def test_an_ae_title_keeps_to_the_standard(title: str) -> None:
    """PS3.5 6.2, VR AE: 1 to 16 characters of the default repertoire, no backslash, not only spaces."""
    assert "pacs.ae_title" in faults({"site": "a", "pacs": {"port": 104, "ae_title": title}})


def test_off_without_quotes_is_off(tmp_path: Path) -> None:
    """YAML 1.1 reads a bare `off` as false."""
    path = tmp_path / "site.yaml"
    path.write_text("site: a\nalgorithms: [{name: x, state: off}]\n")
    site = load_site(path)
    assert site.algorithms is not None
    assert site.algorithms[0].state == "off"


def test_a_sender_is_found_by_both_names_then_by_its_application() -> None:
    site = parse_site(WHOLE)
    assert site.feed("RIS", "A") == site.feeds[0]
    assert site.feed("RIS", "B") == site.feeds[1]
    assert site.feed("OTHER", "A") is None


def test_the_revision_follows_the_meaning_and_nothing_else() -> None:
    base = parse_site({"site": "a", "ehr": {"url": "http://x", "patient_identifier_system": {"A": "1", "B": "2"}}})
    same = parse_site({"ehr": {"patient_identifier_system": {"B": "2", "A": "1"}, "url": "http://x"}, "site": "a"})
    other = parse_site({"site": "a", "ehr": {"url": "http://x", "patient_identifier_system": {"A": "1", "B": "3"}}})
    assert base.revision == same.revision
    assert base.revision != other.revision
    assert base.revision != Site(site="a").revision


@pytest.mark.parametrize("content", [b"site: [", b"site: a\n\tb: c", b"\xff\xfe\x00", b"a: &x [*x, *y]"])
def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(content)
    with pytest.raises(Rejected) as rejected:
        load_site(path)
    assert "site.yaml" in rejected.value.text


def test_a_fault_in_the_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("site: a\nris:\n  port: [1\npacs: {}\n")
    with pytest.raises(Rejected) as rejected:
        load_site(path)
    assert "line 4" in rejected.value.text


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as rejected:
        load_site(tmp_path / "site.yaml")
    assert rejected.value.code == "site_file"
