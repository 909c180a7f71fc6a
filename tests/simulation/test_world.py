"""Whole worlds, small ones: `make simulate` lives the large ones."""

import logging
from collections.abc import Iterator

import pytest

from hilum.simulator.world.runner import run
from hilum.simulator.world.world import live
from simulation import mutants

_STUDIES = 10
pytestmark = pytest.mark.timeout(600)  # seconds of a busy machine; alone it takes some ten


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_every_study_ends_as_told_and_a_seed_is_the_same_wherever_it_is_lived() -> None:
    """Each seed is lived in two processes whose hashes differ."""
    wrong = {life.seed: said for life, said in run(1, 4, _STUDIES) if said}
    assert wrong == {}


def test_a_world_befalls_what_it_says() -> None:
    counts = live(1, _STUDIES).counts
    assert all(counts[what] for what in ("fault", "kill", "boot", "durable", "put", "ris", "ehr", "pacs"))


def test_two_seeds_are_two_worlds() -> None:
    assert live(1, 2).digest != live(2, 2).digest


def test_a_planted_bug_is_found() -> None:
    """The shortest of `make mutants`; in a process of its own, which keeps the bug."""
    found = mutants.hunt_apart("dead_letter_dropped", 3, _STUDIES)
    assert found.found.startswith("refused_is_kept")
