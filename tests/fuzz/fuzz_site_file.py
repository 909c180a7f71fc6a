"""The site file: it holds, or it is refused with a list of faults."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hilum.errors import Rejected
from hilum.ingest.domain.feeds import FeedProfile, Feeds
from hilum.oversight.domain import Package, wishes
from hilum.oversight.service import wanted_by
from hilum.site import Site, load_site

_FOLDER = TemporaryDirectory(prefix="hilum-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
_FILE = Path(_FOLDER.name) / "site.yaml"
_INSTALLED = [
    Package("chest", "1.0.0", "a" * 64),
    Package("chest", "1.1.0-rc.1", "b" * 64),
    Package("head", "2.0.0", "c" * 64),
]
_FAULTS_BYTES = 64


def check(data: bytes) -> None:
    """``data`` is the file."""
    _FILE.write_bytes(data)
    try:
        site = load_site(_FILE)
    except Rejected as error:
        assert error.code == "site_file"
        check_faults(error.text, len(data))
        assert all(line.strip() and line.isprintable() for line in error.text.splitlines())
        return
    assert site.revision == load_site(_FILE).revision
    assert str(site.zone)
    for act in (feeds_of, installed_of):
        try:
            act(site)
        except Rejected as error:
            check_faults(error.text, len(data))


def check_faults(text: str, size: int) -> None:
    """There are some, and no more of them than the file can hold."""
    assert text.strip()
    assert len(text) <= 4096 + _FAULTS_BYTES * size
    assert "Traceback" not in text
    text.encode("utf-8")


def feeds_of(site: Site) -> None:
    profiles = (
        FeedProfile(
            feed.sending_application, feed.sending_facility, feed.default_charset, feed.identifier_authority, feed.paths
        )
        for feed in site.feeds
    )
    Feeds(site.site, site.zone, profiles, identifier_authority=site.identifier_authority)


def installed_of(site: Site) -> None:
    wanted = wanted_by(site, _INSTALLED)
    assert set(wanted) == {"chest", "head"}
    assert wishes(_INSTALLED, None).keys() == wanted.keys()
