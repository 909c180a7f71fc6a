"""Every input that was kept, and every one that once broke a promise, is run again."""

from pathlib import Path

import pytest

from fuzz.limits import processor_seconds
from fuzz.seeds import SEEDS
from fuzz.targets import CORPUS, CRASHES, TARGETS

_ONE_INPUT_SECONDS = 20.0


def kept(folder: Path) -> list[tuple[str, Path]]:
    return [(target, path) for target in TARGETS for path in sorted((folder / target).glob("*"))]


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_breaks_no_promise(target: str) -> None:
    check, inputs = TARGETS[target].load(), [path.read_bytes() for path in sorted(TARGETS[target].corpus.iterdir())]
    assert inputs
    for data in inputs:
        with processor_seconds(_ONE_INPUT_SECONDS):
            check(data)


@pytest.mark.parametrize(
    ("target", "path"), kept(CRASHES), ids=lambda value: value if isinstance(value, str) else value.name
)
def test_what_once_broke_a_promise_breaks_none_now(target: str, path: Path) -> None:
    check = TARGETS[target].load()
    with processor_seconds(_ONE_INPUT_SECONDS):
        check(path.read_bytes())


def test_every_folder_belongs_to_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS) == set(SEEDS)
    assert {path.name for path in CRASHES.iterdir()} <= set(TARGETS)


def test_the_corpus_is_small() -> None:
    sizes = [path.stat().st_size for _, path in kept(CORPUS)]
    assert max(sizes) <= 16 * 1024
    assert sum(sizes) <= 1024 * 1024


@pytest.mark.parametrize("target", TARGETS)
def test_a_seed_is_no_larger_than_what_is_searched(target: str) -> None:
    assert all(len(data) <= TARGETS[target].max_bytes for data in SEEDS[target]())
