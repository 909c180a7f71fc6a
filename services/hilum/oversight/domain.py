"""Which model version is live, silent or off: what the site file wants, what a person decided, what was registered."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.errors import Rejected


class State(StrEnum):
    LIVE = "live"
    SILENT = "silent"
    OFF = "off"


_STRICTNESS = {State.LIVE: 0, State.SILENT: 1, State.OFF: 2}
# Why a policy was written without a person.
SITE_FILE = "site_file"
NEW_VERSION = "new_version"
NOT_IN_SITE_FILE = "not_in_site_file"
NOT_INSTALLED = "not_installed"
PACKAGE_CHANGED = "package_changed"
PACKAGE_RESTORED = "package_restored"


@dataclass(frozen=True, slots=True)
class Package:
    """An installed version of a model."""

    name: str
    version: str
    digest: str
    title: str = ""
    use: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is in force for one model name; ``revision`` rises over all names together."""

    algorithm: str
    version: str
    digest: str
    state: State
    revision: int
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Wish:
    """What the site file wants of one name; ``version`` is resolved to one that is installed."""

    version: str
    state: State
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Draft:
    """A policy to be written, before it has a revision and a signature."""

    algorithm: str
    version: str
    digest: str
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Model:
    """One installed version as people see it; ``alarm`` is package_changed, or empty."""

    package: Package
    state: State
    policy: Policy | None
    alarm: str


Versions = Mapping[tuple[str, str], str]  # name and version -> digest


def precedence(version: str) -> tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]:
    """Sorts semantic versions (semver.org 2.0.0, 11): a pre-release comes before its release."""
    release, _, pre = version.partition("-")
    numbers = tuple(int(part) for part in release.split("."))
    parts = tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"\.", pre))
    return numbers, not pre, parts


def wishes(installed: Sequence[Package], listed: Sequence[tuple[str, str, State]] | None) -> dict[str, Wish]:
    """What the site file wants of each installed name.

    ``listed``: name, version (empty: the newest) and state; None: every installed package is live. Raises `Rejected`
    (`algorithm_not_installed`) that names every entry for which nothing is installed.
    """
    newest: dict[str, str] = {}
    for package in sorted(installed, key=lambda package: precedence(package.version)):
        newest[package.name] = package.version
    if listed is None:
        return {name: Wish(version, State.LIVE) for name, version in newest.items()}
    known = {(package.name, package.version) for package in installed}
    missing = [
        f"{name} {version}".strip()
        for name, version, _ in listed
        if (name, version) not in known and (version or name not in newest)
    ]
    if missing:
        raise Rejected("algorithm_not_installed", f"algorithms: not installed: {', '.join(missing)}")
    wanted = {name: Wish(version, State.OFF, listed=False) for name, version in newest.items()}
    return wanted | {name: Wish(version or newest[name], state) for name, version, state in listed}


def drafts(
    installed: Sequence[Package],
    registered: Versions,
    wanted: Mapping[str, Wish],
    before: Mapping[str, Wish],
    current: Mapping[str, Policy],
) -> list[Draft]:
    """What has to be written so that the policies say what they must; nothing when nothing changed.

    ``before``: what the site file wanted when it was last acted on: a person's decision since then stands. What
    happens without a person only restricts, unless the site file itself was changed.
    """
    digests = {(package.name, package.version): package.digest for package in installed}
    found: list[Draft] = []
    for name, wish in sorted(wanted.items()):
        digest = registered.get((name, wish.version), digests[name, wish.version])
        draft = _draft(name, wish, before.get(name), current.get(name), digest, digest == digests[name, wish.version])
        if draft is not None:
            found.append(draft)
    for name, policy in sorted(current.items()):
        if name not in wanted and policy.state is not State.OFF:
            found.append(Draft(name, policy.version, policy.digest, State.OFF, NOT_INSTALLED))
    return found


def _draft(
    name: str, wish: Wish, before: Wish | None, now: Policy | None, digest: str, unchanged: bool
) -> Draft | None:
    usual = SITE_FILE if wish.listed else NOT_IN_SITE_FILE
    if not unchanged:
        if now is not None and (now.state, now.version) == (State.OFF, wish.version):
            return None
        return Draft(name, wish.version, digest, State.OFF, PACKAGE_CHANGED)
    if now is None:
        return Draft(name, wish.version, digest, wish.state, usual)
    draft: Draft | None = None
    if now.reason in (PACKAGE_CHANGED, NOT_INSTALLED):
        draft = Draft(name, wish.version, digest, wish.state, PACKAGE_RESTORED)
    elif before is None or (before.state, before.listed) != (wish.state, wish.listed):
        draft = Draft(name, wish.version, digest, wish.state, usual)
    elif now.version != wish.version:
        draft = Draft(name, wish.version, digest, _stricter(now.state, wish.state), NEW_VERSION)
    if draft is not None and (now.version, now.digest, now.state) == (draft.version, draft.digest, draft.state):
        return None
    return draft


def _stricter(one: State, other: State) -> State:
    return max(one, other, key=_STRICTNESS.__getitem__)


def by_a_person(
    name: str, state: State, reason: str, current: Mapping[str, Policy], registered: Versions, installed: Versions
) -> Draft:
    """A person restricts or enables a model.

    Raises `Rejected`: `model_unknown`, `reason_missing`, `package_changed` (a changed package is not enabled).
    """
    now = current.get(name)
    if now is None:
        raise Rejected("model_unknown", "no policy names this model; `hilum models list` shows those there are")
    if not reason.strip():
        raise Rejected("reason_missing", "say why: the reason is kept with the policy")
    key = (name, now.version)
    if state is not State.OFF and installed.get(key) != registered.get(key, installed.get(key)):
        raise Rejected(PACKAGE_CHANGED, "the files are not those that were registered under this version")
    return Draft(name, now.version, now.digest, state, reason.strip())


def changed(installed: Sequence[Package], registered: Versions) -> list[Package]:
    """Installed versions whose files are not those that were registered."""
    return [
        package
        for package in installed
        if registered.get((package.name, package.version), package.digest) != package.digest
    ]


def models(installed: Sequence[Package], registered: Versions, current: Mapping[str, Policy]) -> list[Model]:
    """Every installed version by name; a version that the policy does not name is off."""
    wrong = changed(installed, registered)
    shown: list[Model] = []
    for package in sorted(installed, key=lambda package: (package.name, precedence(package.version))):
        policy = current.get(package.name)
        named = policy if policy is not None and policy.version == package.version else None
        shown.append(
            Model(
                package=package,
                state=named.state if named is not None else State.OFF,
                policy=named,
                alarm=PACKAGE_CHANGED if package in wrong else "",
            )
        )
    return shown
