"""Two readers of the same files, field by field, and the committed explanation of each difference."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Row = Mapping[str, Any]
"""Logical field to value; what is absent or empty has no key."""
GROUPS = "(groups)"
"""Stands for the number of orders, reports or patients where the readers do not find as many."""
WHOLE = "(file)"
"""Stands for every field of a file that the other does not read."""

AGREE, ONLY_HILUM, ONLY_OTHER, DIFFERS = "agree", "only Hilum", "only the other", "differs"


@dataclass(frozen=True)
class Unread:
    """The other's reason for not reading a file."""

    reason: str


Readings = Mapping[str, Sequence[Row] | Unread]
"""File to what was read of each of its groups."""


@dataclass(frozen=True)
class Difference:
    """``ours`` and ``theirs`` are what was read: for a person to look at, never for a committed file."""

    file: str
    field: str
    ours: Any
    theirs: Any


@dataclass(frozen=True)
class Comparison:
    """``counts``: by field, how many files have which outcome; ``differences``: every one that is not agreement."""

    counts: Mapping[str, Counter[str]]
    differences: tuple[Difference, ...]


def compare(ours: Mapping[str, Sequence[Row]], theirs: Readings) -> Comparison:
    """Field by field over the files of ``ours``; where the numbers of groups differ, over those that both have."""
    counts: dict[str, Counter[str]] = {}
    differences: list[Difference] = []
    for file, rows in ours.items():
        other = theirs[file]
        if isinstance(other, Unread):
            differences.append(Difference(file, WHOLE, "", other.reason))
            counts.setdefault(WHOLE, Counter())[ONLY_HILUM] += 1
            for field in {field for row in rows for field in row}:
                counts.setdefault(field, Counter())[ONLY_HILUM] += 1
            continue
        counts.setdefault(WHOLE, Counter())[AGREE] += 1
        counts.setdefault(GROUPS, Counter())[AGREE if len(rows) == len(other) else DIFFERS] += 1
        if len(rows) != len(other):
            differences.append(Difference(file, GROUPS, len(rows), len(other)))
        for field, mine, their in _columns(rows, other):
            outcome = _outcome(mine, their)
            counts.setdefault(field, Counter())[outcome] += 1
            if outcome != AGREE:
                differences.append(Difference(file, field, mine, their))
    return Comparison(counts, tuple(differences))


def _columns(ours: Sequence[Row], theirs: Sequence[Row]) -> Iterator[tuple[str, list[Any], list[Any]]]:
    pairs = list(zip(ours, theirs, strict=False))
    for field in sorted({field for pair in pairs for row in pair for field in row}):
        yield field, [mine.get(field, "") for mine, _ in pairs], [their.get(field, "") for _, their in pairs]


def _outcome(ours: list[Any], theirs: list[Any]) -> str:
    if ours == theirs:
        return AGREE
    if not any(theirs):
        return ONLY_HILUM
    return DIFFERS if any(ours) else ONLY_OTHER


@dataclass(frozen=True)
class Explanations:
    """Why each difference between Hilum and one other reader is as it is.

    ``causes``: name to text. ``differences``: file to field to name of the cause.
    """

    causes: Mapping[str, str]
    differences: Mapping[str, Mapping[str, str]]

    @classmethod
    def load(cls, path: Path, reader: str) -> "Explanations":
        """Those of ``reader``. The file: ``causes: {name: text}``, ``readers: {reader: {file: {cause: [field]}}}``."""
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        differences: dict[str, dict[str, str]] = {}
        for file, by_cause in (document["readers"][reader] or {}).items():
            for cause, fields in by_cause.items():
                differences.setdefault(file, {}).update(dict.fromkeys(fields, cause))
        return cls(document["causes"], differences)

    def faults(self, comparison: Comparison) -> list[str]:
        """Differences without an explanation, explanations of nothing, causes without a text; a line each."""
        found = {(difference.file, difference.field) for difference in comparison.differences}
        explained = {(file, field) for file, fields in self.differences.items() for field in fields}
        causes = {cause for fields in self.differences.values() for cause in fields.values()}
        return [
            *(f"not explained: {file}: {field}" for file, field in sorted(found - explained)),
            *(f"explains no difference: {file}: {field}" for file, field in sorted(explained - found)),
            *(f"has no text: {cause}" for cause in sorted(causes - set(self.causes))),
        ]


def agreement_rows(reader: str, comparison: Comparison) -> list[tuple[object, ...]]:
    """A row a field: in how many files it is read alike, by Hilum alone, by the other alone, differently."""
    return [
        (reader, field, *(comparison.counts[field][outcome] for outcome in (AGREE, ONLY_HILUM, ONLY_OTHER, DIFFERS)))
        for field in sorted(comparison.counts)
    ]


AGREEMENT_HEADER = ("reader", "field", "agree", "only_hilum", "only_other", "differs")
