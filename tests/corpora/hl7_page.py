"""docs/corpora/hl7.md: what became of the published messages, from the committed tables alone."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from corpora.tables import ByReader, Rows, agreement_table, difference_tables, table_row

_HEAD = """# The published HL7 v2 messages

Made by `tools/corpora` from `tests/corpora/hl7-answers.csv`, `hl7-agreement.csv` and `hl7-explanations.yaml`; a test
makes them anew and compares. The messages are no part of the project: only their names, counts and coded reasons are.
"""

_ANSWERS = """## What each was answered

Sent over one MLLP connection to Hilum as it starts without a site file: processing ID P, character set 8859/1 where
MSH-18 is empty, the kinds of messages of `paths.yaml`. Every message that was refused is a dead letter with the reason
that its sender was told; no accepted one is.
"""

_KINDS = """## By kind of message

What the manifest says each file holds, its version (MSH-12), and where it comes from. Facts are what was published of
the accepted ones: orders, reports, patients.
"""

_AGREEMENT = """## Agreement with independent readers

Every file that Hilum can read and whose kind is in the path table, whatever it is answered: the logical fields of
`paths.yaml` as Hilum reads them, beside hl7apy and HAPI HL7v2. Figures are files. *Only Hilum*: the other reads
nothing there, or refuses the file. `(file)` counts the files that both read, `(groups)` those with as many orders,
reports or patients to both.
"""

_DIFFERENCES = """## Every difference, and why

`(groups)` is the number of orders, reports or patients; `(file)` stands for a file that the other refuses.
"""


def page(answers: Rows, agreement: Rows, causes: Mapping[str, str], readers: ByReader) -> str:
    """The whole page; ``readers`` as in the file of explanations."""
    return "\n".join([*_answers(answers), *_kinds(answers), *_agreement(agreement), *_differences(causes, readers)])


def _answers(answers: Rows) -> list[str]:
    told = Counter((row["code"], row["condition"], row["reason"], row["place"]) for row in answers)
    lines = [_HEAD, _ANSWERS, "| answer | ERR | reason | at | files |", "|---|---|---|---|---:|"]
    ordered = sorted(told.items(), key=lambda item: (item[0][0], -item[1], item[0]))
    lines += [table_row([*key, str(count)]) for key, count in ordered]
    lines += [table_row(["", "", "", "all", str(len(answers))]), ""]
    return lines


def _kinds(answers: Rows) -> list[str]:
    groups: dict[tuple[str, str, str, str], list[Mapping[str, str]]] = defaultdict(list)
    for row in answers:
        groups[row["kind"], row["version"], row["project"], row["licence"]].append(row)
    columns = ("kind", "version", "project", "licence", "files", "accepted", "facts", "refused and dead-lettered")
    lines = [_KINDS, table_row(columns), "|---|---|---|---|---:|---:|---:|---|"]
    for key, rows in sorted(groups.items()):
        accepted = sum(row["code"] == "AA" for row in rows)
        facts = "/".join(str(sum(int(row[name]) for row in rows)) for name in ("orders", "reports", "patients"))
        refused = Counter(
            f"{row['code']} {row['condition']} {row['dead_letter']}" for row in rows if row["code"] != "AA"
        )
        told = ", ".join(f"{reason} ({count})" for reason, count in sorted(refused.items()))
        lines.append(table_row([*key, str(len(rows)), str(accepted), facts if accepted else "", told]))
    return [*lines, ""]


def _agreement(agreement: Rows) -> list[str]:
    return [_AGREEMENT, *agreement_table(agreement)]


def _differences(causes: Mapping[str, str], readers: ByReader) -> list[str]:
    return [_DIFFERENCES, *difference_tables(causes, readers)]
