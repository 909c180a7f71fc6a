"""The demonstration, as a newcomer runs it: one command, an answer within a minute, nothing left behind."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from pydicom import dcmread

HILUM = Path(sys.executable).parent / "hilum"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"


def run(tmp_path: Path, *options: str | Path, seconds: float = 110.0) -> subprocess.CompletedProcess[str]:
    """Run the demonstration with a folder of its own for temporary files."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [HILUM, "demo", "--out", tmp_path / "out", *options]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(scratch), "COLUMNS": "140"},
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One run: where it wrote, and what it said."""
    folder = tmp_path_factory.mktemp("demo")
    done = run(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder, done.stdout


def test_it_keeps_to_its_time_and_memory(demo: tuple[Path, str]) -> None:
    found = re.search(r"([\d.]+) s in all, at most (\d+) MB", demo[1])
    assert found is not None
    assert float(found[1]) < 60
    assert int(found[2]) < 800


def test_it_says_at_both_ends_that_it_is_no_clinical_use(demo: tuple[Path, str]) -> None:
    lines = demo[1].strip().splitlines()
    assert "not for clinical use" in lines[0]
    assert "not for clinical use" in lines[-1]


def test_nothing_that_it_shows_is_cut_or_jargon(demo: tuple[Path, str]) -> None:
    assert "…" not in demo[1]
    tables = [line for line in demo[1].splitlines() if line.startswith("│") and "/" not in line]
    assert [line for line in tables if re.search("monochrome|suppressed|conditional|[a-z]_[a-z]", line)] == []


def test_it_cleans_up(demo: tuple[Path, str]) -> None:
    assert list((demo[0] / "scratch").iterdir()) == []
    assert [path.name for path in demo[0].iterdir() if path.name not in ("scratch", "out")] == []


def test_the_sick_move_up_the_reading_list(demo: tuple[Path, str]) -> None:
    found = re.search(r"stood at place ([\d.]+) on average,\s+now at ([\d.]+)", demo[1])
    assert found is not None
    assert float(found[2]) < float(found[1])


def test_every_examination_is_in_the_ledger_with_a_result_or_a_reason(demo: tuple[Path, str]) -> None:
    entries = json.loads((demo[0] / "out" / "ledger.json").read_text())
    phantom = [entry for entry in entries if entry["algorithm"] == "pneumothorax-phantom"]
    assert len(phantom) == 19
    assert all(entry["disposition"] != "in_progress" for entry in entries)
    reasons = {entry["disposition"] for entry in phantom}
    assert {"resulted", "never_arrived", "unmatched", "conflict:identity", "ineligible:view"} <= reasons


def test_the_ledger_agrees_with_the_peers(demo: tuple[Path, str]) -> None:
    verdict = json.loads((demo[0] / "out" / "reconcile.json").read_text())
    assert verdict["adds_up"] is True
    assert [check for check in verdict["checks"] if not check["holds"]] == []


def test_a_report_that_came_first_suppresses_the_priority_not_the_finding(demo: tuple[Path, str]) -> None:
    entries = json.loads((demo[0] / "out" / "ledger.json").read_text())
    states = [
        {delivery["kind"]: delivery["state"] for delivery in entry.get("deliveries", [])}
        for entry in entries
        if entry["disposition"] == "resulted"
    ]
    [suppressed] = [state for state in states if state.get("priority", "").startswith("suppressed:report_final")]
    assert suppressed["diagnostic_report"] == suppressed["structured_report"] == "landed"


def test_what_it_leaves_can_be_opened(demo: tuple[Path, str]) -> None:
    out = demo[0] / "out"
    overlays = sorted((out / "overlays").glob("*.png"))
    assert overlays
    with Image.open(overlays[0]) as overlay:
        assert min(overlay.size) > 100
    kinds = {dcmread(path, stop_before_pixels=True).SOPClassUID for path in (out / "dicom").glob("*.dcm")}
    assert COMPREHENSIVE_3D_SR in kinds
    assert all(path.read_bytes().startswith(b"MSH|") for path in (out / "hl7").iterdir())
    assert all(json.loads(path.read_text())["resourceType"] == "Bundle" for path in (out / "fhir").iterdir())


def test_labels_that_cannot_be_read_are_wrong_use(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\na.jpg,ill\n")
    done = run(tmp_path, "--images", tmp_path, "--labels", labels)
    assert done.returncode == 2
    assert "labels" in done.stdout + done.stderr


@pytest.mark.shared
@pytest.mark.timeout(240)
def test_real_radiographs_get_figures_with_intervals(tmp_path: Path, shared_data: Path) -> None:
    unseen = Path(__file__).parents[2] / "models" / "pneumonia-paediatric" / "unseen.csv"
    rows = list(csv.DictReader(unseen.read_text().splitlines()))
    by_label = {label: [row for row in rows if row["label"] == label] for label in {row["label"] for row in rows}}
    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, ["file", "label"])
        writer.writeheader()
        writer.writerows(row for some in by_label.values() for row in some[:12])
    done = run(tmp_path, "--images", shared_data / "cxr" / "paediatric", "--labels", labels, seconds=220)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for measure in ("sensitivity", "specificity", "AUC"):
        assert re.search(measure + r".*\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)", done.stdout)
