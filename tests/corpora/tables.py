"""Tables in Markdown, as the pages of both corpora need them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

Rows = Sequence[Mapping[str, str]]
ByReader = Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]]
"""Reader to file to cause to fields, as in a file of explanations."""


def agreement_table(agreement: Rows) -> list[str]:
    """A table with a row a field and four columns a reader, and the sums; `(file)` counts what both read at all."""
    readers = list(dict.fromkeys(row["reader"] for row in agreement))
    outcomes = ("agree", "only_hilum", "only_other", "differs")
    by_field: dict[str, dict[str, Mapping[str, str]]] = defaultdict(dict)
    for row in agreement:
        by_field[row["field"]][row["reader"]] = row
    names = [f"{reader}: {outcome.replace('_', ' ')}" for reader in readers for outcome in outcomes]
    lines = [table_row(["field", *names]), "|---|" + "---:|" * len(names)]
    for field, row_of in sorted(by_field.items()):
        cells = [row_of[reader][outcome] if reader in row_of else "0" for reader in readers for outcome in outcomes]
        lines.append(table_row([f"`{field}`", *(cell if cell != "0" else "" for cell in cells)]))
    sums = [
        str(sum(int(row[outcome]) for row in agreement if row["reader"] == reader and row["field"][0] != "("))
        for reader in readers
        for outcome in outcomes
    ]
    return [*lines, table_row(["all fields", *sums]), ""]


def difference_tables(causes: Mapping[str, str], readers: ByReader) -> list[str]:
    """Each cause with its text, then the files and fields of each reader where it is the reason."""
    lines = []
    for cause, text in causes.items():
        lines += [f"### {cause}", "", text, ""]
        for reader, files in readers.items():
            of_it = {file: by_cause[cause] for file, by_cause in files.items() if cause in by_cause}
            lines += [f"- {reader}: `{file}`: {', '.join(fields)}" for file, fields in sorted(of_it.items())]
        lines.append("")
    return lines


def table_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
