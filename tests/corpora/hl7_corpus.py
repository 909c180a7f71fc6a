"""The tables of the published messages: where they are kept, and how they are made anew."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from corpora import hl7_answers, hl7_page, hl7_readers
from corpora.comparison import AGREEMENT_HEADER, Comparison, agreement_rows, compare
from corpora.published import as_rows, messages, read_rows

_HERE = Path(__file__).parent
ANSWERS, AGREEMENT = _HERE / "hl7-answers.csv", _HERE / "hl7-agreement.csv"
EXPLANATIONS = _HERE / "hl7-explanations.yaml"
PAGE = _HERE.parent.parent / "docs" / "corpora" / "hl7.md"
READERS = ("hl7apy", "hapi")


async def answered(shared_data: Path, folder: Path) -> list[dict[str, str]]:
    """The table of answers, made anew in an empty ``folder``."""
    found = await hl7_answers.answers(messages(shared_data), folder)
    return as_rows(hl7_answers.HEADER, hl7_answers.rows(found))


def compared(shared_data: Path, config: pytest.Config | None = None) -> dict[str, Comparison]:
    """Each reader's agreement, made anew."""
    files = messages(shared_data)
    ours, kinds = hl7_readers.hilum(files)
    read = [file for file in files if file.name in ours]
    theirs = {"hl7apy": hl7_readers.hl7apy(read, kinds), "hapi": hl7_readers.hapi(read, kinds, config)}
    return {reader: compare(ours, theirs[reader]) for reader in READERS}


def agreement(comparisons: Mapping[str, Comparison]) -> list[dict[str, str]]:
    rows = [row for reader, comparison in comparisons.items() for row in agreement_rows(reader, comparison)]
    return as_rows(AGREEMENT_HEADER, rows)


def page() -> str:
    """The page that the committed tables make."""
    document = yaml.safe_load(EXPLANATIONS.read_text(encoding="utf-8"))
    return hl7_page.page(read_rows(ANSWERS), read_rows(AGREEMENT), document["causes"], document["readers"])
