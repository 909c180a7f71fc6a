"""The published images: what the committed tables say of them is so, and every difference is explained."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from corpora import dicom_corpus
from corpora.comparison import Comparison, Explanations
from corpora.published import read_rows

published = pytest.mark.shared
pytestmark = pytest.mark.timeout(300)  # every file through dcm2xml


def test_the_page_is_what_the_tables_make() -> None:
    assert dicom_corpus.PAGE.read_text(encoding="utf-8") == dicom_corpus.page(), "run tools/corpora"


def test_every_answer_has_its_outcome_in_the_terms_of_the_standard() -> None:
    """Success is stored; Cxxx (PS3.4 B.2.3) is put aside or a dead letter, with its reason."""
    rows = read_rows(dicom_corpus.ANSWERS)
    assert len(rows) > 250
    for row in rows:
        if row["status"] == "0x0000":
            assert row["outcome"] == "stored"
        elif row["status"].startswith("0x"):
            assert row["status"].startswith("0xC")
            assert row["outcome"] in {"put aside", "refused"}
            assert row["reason"]
        else:
            assert row["status"] in {"context not accepted", "not sent"}


@published
async def test_every_published_image_is_answered_as_the_table_says(shared_data: Path, tmp_path: Path) -> None:
    assert await dicom_corpus.answered(shared_data, tmp_path) == read_rows(dicom_corpus.ANSWERS), "run tools/corpora"


@pytest.fixture(scope="module")
def comparisons(shared_data: Path) -> Mapping[str, Comparison]:
    return dicom_corpus.compared(shared_data)


@published
@pytest.mark.peers
@pytest.mark.parametrize("reader", dicom_corpus.READERS)
def test_every_difference_from_another_reader_is_explained_and_no_other(
    reader: str, comparisons: Mapping[str, Comparison]
) -> None:
    assert Explanations.load(dicom_corpus.EXPLANATIONS, reader).faults(comparisons[reader]) == []


@published
@pytest.mark.peers
def test_the_readers_agree_as_the_table_says(comparisons: Mapping[str, Comparison]) -> None:
    assert dicom_corpus.agreement(comparisons) == read_rows(dicom_corpus.AGREEMENT), "run tools/corpora"
