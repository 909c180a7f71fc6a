"""The published messages: what the committed tables say of them is so, and every difference is explained."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from corpora import hl7_corpus
from corpora.comparison import Comparison, Explanations
from corpora.published import read_rows

published = pytest.mark.shared
pytestmark = pytest.mark.timeout(300)  # a first run fetches jars


def test_the_page_is_what_the_tables_make() -> None:
    assert hl7_corpus.PAGE.read_text(encoding="utf-8") == hl7_corpus.page(), "run tools/corpora"


def test_every_refused_message_is_a_dead_letter_with_the_reason_that_was_told() -> None:
    rows = read_rows(hl7_corpus.ANSWERS)
    assert len(rows) > 500
    for row in rows:
        assert row["code"] in {"AA", "AE", "AR"}
        assert row["dead_letter"] == row["reason"]
        assert (row["code"] == "AA") == (row["reason"] == "")


@published
async def test_every_published_message_is_answered_as_the_table_says(shared_data: Path, tmp_path: Path) -> None:
    assert await hl7_corpus.answered(shared_data, tmp_path) == read_rows(hl7_corpus.ANSWERS), "run tools/corpora"


@pytest.fixture(scope="module")
def comparisons(shared_data: Path, pytestconfig: pytest.Config) -> Mapping[str, Comparison]:
    return hl7_corpus.compared(shared_data, pytestconfig)


@published
@pytest.mark.peers
@pytest.mark.parametrize("reader", hl7_corpus.READERS)
def test_every_difference_from_another_reader_is_explained_and_no_other(
    reader: str, comparisons: Mapping[str, Comparison]
) -> None:
    assert Explanations.load(hl7_corpus.EXPLANATIONS, reader).faults(comparisons[reader]) == []


@published
@pytest.mark.peers
def test_the_readers_agree_as_the_table_says(comparisons: Mapping[str, Comparison]) -> None:
    assert hl7_corpus.agreement(comparisons) == read_rows(hl7_corpus.AGREEMENT), "run tools/corpora"
