"""What the manifests beside the published data say of each file."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """One file: ``name`` is its path under its folder, ``kind`` what the manifest says it holds."""

    path: Path
    name: str
    project: str
    licence: str
    kind: str


def messages(shared_data: Path) -> list[Published]:
    """Every HL7 v2 message, in the order of the names."""
    return _listed(shared_data / "hl7", "message_type")


def images(shared_data: Path) -> list[Published]:
    """Every DICOM file, in the order of the names."""
    return _listed(shared_data / "dicom", "modality")


def _listed(folder: Path, kind: str) -> list[Published]:
    with (folder / "MANIFEST.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if (folder / row["file"]).is_file()]
    found = [
        Published(folder / row["file"], row["file"], row["source_repo"], row["licence"], row[kind]) for row in rows
    ]
    return sorted(found, key=lambda each: each.name)


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """A table of at least one row."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def as_rows(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[dict[str, str]]:
    """As `read_rows` gives them back once they are written."""
    return [dict(zip(header, map(str, row), strict=True)) for row in rows]
