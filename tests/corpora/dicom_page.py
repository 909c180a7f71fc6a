"""docs/corpora/dicom.md: what became of the published images, from the committed tables alone."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from corpora.comparison import GROUPS
from corpora.tables import ByReader, Rows, agreement_table, difference_tables, table_row

_HEAD = """# The published DICOM files

Made by `tools/corpora` from `tests/corpora/dicom-answers.csv`, `dicom-agreement.csv` and `dicom-explanations.yaml`; a
test makes them anew and compares. The files are no part of the project: only their names, counts and coded reasons are.
"""

_ANSWERS = """## What each was answered

Each data set was sent by C-STORE byte for byte as it stands in its file, in the order of the names, in its own transfer
syntax. A stored instance with a reason is kept and cannot be an input. Of several files with one SOP Instance UID (the
same image in several encodings) the first is stored, the others are put aside. Directories (DICOMDIR) are no storage
SOP class: their context is not accepted. A file without a SOP class or instance UID cannot be sent at all.
"""

_KINDS = """## By SOP class and encoding
"""

_AGREEMENT = """## Agreement with independent readers

Every file whose data set Hilum can read and identify, whatever became of it: what imaging publishes, beside a plain
script on pydicom and beside dcmtk's dcm2xml. Figures are files. *Only Hilum*: the other reads nothing there, or refuses
the file. `(file)` counts the files that both read.
"""

_DIFFERENCES = """## Every difference, and why

`(file)` stands for a file that the other refuses.
"""


def page(answers: Rows, agreement: Rows, causes: Mapping[str, str], readers: ByReader) -> str:
    """The whole page; ``readers`` as in the file of explanations."""
    lines = [*_answers(answers), *_kinds(answers)]
    lines += [_AGREEMENT, *agreement_table([row for row in agreement if row["field"] != GROUPS])]
    lines += [_DIFFERENCES, *difference_tables(causes, readers)]
    return "\n".join(lines)


def _answers(answers: Rows) -> list[str]:
    told = Counter((row["status"], row["outcome"], row["reason"]) for row in answers)
    lines = [_HEAD, _ANSWERS, "| status | outcome | reason | files |", "|---|---|---|---:|"]
    lines += [table_row([*key, str(count)]) for key, count in sorted(told.items())]
    return [*lines, table_row(["", "", "all", str(len(answers))]), ""]


def _kinds(answers: Rows) -> list[str]:
    groups: dict[tuple[str, str, str, str], list[Mapping[str, str]]] = defaultdict(list)
    for row in answers:
        groups[row["sop_class"], row["transfer_syntax"], row["project"], _short(row["licence"])].append(row)
    columns = ("SOP class", "transfer syntax", "project", "licence", "files", "stored", "others")
    lines = [_KINDS, table_row(columns), "|---|---|---|---|---:|---:|---|"]
    for key, rows in sorted(groups.items()):
        stored = sum(row["outcome"] == "stored" for row in rows)
        others = Counter(" ".join(filter(None, (row["status"], row["reason"]))) for row in rows)
        others = Counter({what: count for what, count in others.items() if what != "0x0000"})
        told = ", ".join(f"{what} ({count})" for what, count in sorted(others.items()))
        lines.append(table_row([*key, str(len(rows)), str(stored or ""), told]))
    return [*lines, ""]


def _short(licence: str) -> str:
    """Without the remarks that the table of answers has in full."""
    return licence.split(" (", maxsplit=1)[0]
