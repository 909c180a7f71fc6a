"""The floors of the benchmarks: what is missed is said, and fails only where that was asked for."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from floors import Floors


@pytest.mark.parametrize(
    ("value", "missed", "said"),
    [
        (0.17, ["rate"], "0.17 (floor: at least 0.18, aim 0.4: not met): floor NOT met"),
        (0.18, [], "0.18 (floor: at least 0.18, aim 0.4: not met): floor met"),
        (0.40, [], "0.40 (floor: at least 0.18, aim 0.4: met): floor met"),
    ],
)
def test_at_least(value: float, missed: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    floors = Floors()
    floors.at_least("rate", value, 0.18, 0.4)
    assert floors.missed == missed
    assert capsys.readouterr().out == f"  rate: {said}\n"


@pytest.mark.parametrize(("value", "missed"), [(249.9, []), (250.0, ["p99"]), (float("inf"), ["p99"])])
def test_below(value: float, missed: list[str]) -> None:
    floors = Floors()
    floors.below("p99", value, 250.0)
    assert floors.missed == missed


@pytest.mark.parametrize("strict", ["", "1"])
def test_a_missed_floor_fails_the_program_only_where_that_was_asked_for(
    strict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HILUM_BENCH_STRICT", strict)
    floors = Floors()
    floors.settle()
    floors.below("p99", 300.0, 250.0)
    if strict:
        with pytest.raises(SystemExit, match="p99"):
            floors.settle()
    else:
        floors.settle()
