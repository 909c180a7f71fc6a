"""Our own corpus of messages, one of each kind, and what each is answered."""

from pathlib import Path

import pytest
import yaml

from hilum.hl7.judge import Rules
from hilum.hl7.paths import PathTables, load_tables

CORPUS = Path(__file__).resolve().parents[2] / "corpus" / "hl7"


@pytest.fixture(scope="session")
def tables() -> PathTables:
    return load_tables()


@pytest.fixture(scope="session")
def rules(tables: PathTables) -> Rules:
    return Rules(tables, default_charset="8859/1")


@pytest.fixture(scope="session")
def corpus() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(CORPUS.glob("*.hl7"))}


@pytest.fixture(scope="session")
def answers(corpus: dict[str, bytes]) -> dict[str, tuple[str, str, str]]:
    refused = yaml.safe_load((CORPUS / "answers.yaml").read_text(encoding="utf-8"))
    return {name: tuple(refused.get(name, ("AA", "0", ""))) for name in corpus}
