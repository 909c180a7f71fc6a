"""The installation that inference runs on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scenes.inference import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    world.log.open()
    yield world
    world.log.close()
