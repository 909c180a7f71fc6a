"""Fixtures that every suite shares."""

import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))  # the package `peers`: real servers as fixtures

# In an activated environment pynetdicom's storescu and storescp would stand before DCMTK's.
_PROGRAMS = os.environ.get("PATH", os.defpath).split(os.pathsep)
os.environ["PATH"] = os.pathsep.join(p for p in _PROGRAMS if Path(p) != Path(sys.executable).parent)

pytest_plugins = (
    "peers.ports",
    "peers.fhir_validator",
    "peers.storescp",
    "peers.orthanc",
    "peers.kafka",
    "peers.postgres",
    "peers.s3",
)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The published data that stands beside the checkout; tests that need it skip where it is absent."""
    path = Path(os.environ.get("HILUM_SHARED", REPOSITORY.parent / "shared")) / "data"
    if not path.is_dir():
        pytest.skip(f"published data absent: {path.name} (set HILUM_SHARED)")
    return path
