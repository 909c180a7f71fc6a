"""What the documents point to is there, and what they tell people to type is understood."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from hilum.cli.commands import app
from hilum.embedded import SERVICES

REPOSITORY = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted([REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("models/*/*.md")])
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
_COMMAND = re.compile(r"^ {4}hilum (.+?)(?: +#.*)?$", re.MULTILINE)
_INLINE = re.compile(r"`hilum ([^`]+)`")
_VARIABLE = re.compile(r"`HILUM_([A-Z]+)__([A-Z_]+)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(document: Path) -> None:
    links = _LINK.findall(document.read_text("utf-8"))

    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_command_is_one(document: Path) -> None:
    text = document.read_text("utf-8")
    told = [*_COMMAND.findall(text), *_INLINE.findall(text)]

    assert [line for line in told if not _understood(line.split())] == []


def _understood(words: list[str]) -> bool:
    """The subcommand and each option that it names exist; what they are given is not looked at."""
    command: Any = typer.main.get_command(app)
    groups = hasattr(command, "commands")
    while groups and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
        groups = hasattr(command, "commands")
    if groups and words and not words[0].startswith("-"):
        return False
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return all(word.split("=")[0] in known for word in words if word.startswith("--"))


def test_every_setting_that_a_document_names_is_one() -> None:
    for document in DOCUMENTS:
        for service, setting in _VARIABLE.findall(document.read_text("utf-8")):
            assert service.lower() in SERVICES
            source = (REPOSITORY / "services" / "hilum" / service.lower() / "settings.py").read_text()
            assert re.search(rf"^    {setting.lower()}:", source, re.MULTILINE), (document, setting)
