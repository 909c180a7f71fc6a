"""Which policies are written, and why; what only a person may do."""

from datetime import UTC, datetime

import pytest

from hilum.errors import Rejected
from hilum.oversight.domain import (
    Draft,
    Package,
    Policy,
    State,
    Wish,
    by_a_person,
    changed,
    drafts,
    models,
    precedence,
    wishes,
)

AT = datetime(2026, 3, 2, tzinfo=UTC)
ONE = Package("lungs", "1.0.0", "d1")
TWO = Package("lungs", "2.0.0", "d2")
LIVE, SILENT, OFF = State.LIVE, State.SILENT, State.OFF


def in_force(state: State, version: str = "1.0.0", reason: str = "site_file", digest: str = "d1") -> dict[str, Policy]:
    return {"lungs": Policy("lungs", version, digest, state, 7, reason, AT)}


def written(
    installed: list[Package],
    wish: Wish,
    before: Wish | None,
    current: dict[str, Policy],
    registered: dict[tuple[str, str], str] | None = None,
) -> list[tuple[str, State, str]]:
    known = registered or {(package.name, package.version): package.digest for package in installed}
    last = {"lungs": before} if before is not None else {}
    found = drafts(installed, known, {"lungs": wish}, last, current)
    return [(draft.version, draft.state, draft.reason) for draft in found]


def test_without_a_list_the_newest_of_each_name_is_live() -> None:
    assert wishes([TWO, ONE], None) == {"lungs": Wish("2.0.0", LIVE)}


def test_what_the_list_leaves_out_is_off() -> None:
    other = Package("bones", "1.0.0", "d3")

    assert wishes([ONE, other], [("bones", "", SILENT)]) == {
        "bones": Wish("1.0.0", SILENT),
        "lungs": Wish("1.0.0", OFF, listed=False),
    }


def test_every_entry_that_is_not_installed_is_named() -> None:
    with pytest.raises(Rejected, match=r"lungs 9\.0\.0, bones") as caught:
        wishes([ONE], [("lungs", "9.0.0", LIVE), ("bones", "", LIVE)])
    assert caught.value.code == "algorithm_not_installed"


def test_versions_sort_as_semantic_versions() -> None:
    versions = ["1.10.0", "1.2.0", "1.10.0-rc.2", "1.10.0-rc.10", "1.10.0-alpha"]

    assert sorted(versions, key=precedence) == ["1.2.0", "1.10.0-alpha", "1.10.0-rc.2", "1.10.0-rc.10", "1.10.0"]


def test_a_first_start_writes_what_the_site_file_wants() -> None:
    assert written([ONE], Wish("1.0.0", SILENT), None, {}) == [("1.0.0", SILENT, "site_file")]


def test_a_start_without_a_change_writes_nothing() -> None:
    wish = Wish("1.0.0", LIVE)

    assert written([ONE], wish, wish, in_force(LIVE)) == []


def test_a_persons_decision_outlives_a_restart() -> None:
    wish = Wish("1.0.0", LIVE)

    assert written([ONE], wish, wish, in_force(OFF, reason="drift")) == []


def test_a_site_file_that_changed_its_mind_wins() -> None:
    found = written([ONE], Wish("1.0.0", LIVE), Wish("1.0.0", SILENT), in_force(OFF, reason="drift"))

    assert found == [("1.0.0", LIVE, "site_file")]


def test_a_new_version_does_not_enable_what_a_person_restricted() -> None:
    found = written([ONE, TWO], Wish("2.0.0", LIVE), Wish("1.0.0", LIVE), in_force(SILENT, reason="drift"))

    assert found == [("2.0.0", SILENT, "new_version")]


def test_a_version_with_other_files_is_switched_off() -> None:
    wish = Wish("1.0.0", LIVE)
    tampered = Package("lungs", "1.0.0", "other")
    registered = {("lungs", "1.0.0"): "d1"}

    assert written([tampered], wish, wish, in_force(LIVE), registered) == [("1.0.0", OFF, "package_changed")]
    assert written([tampered], wish, None, {}, registered) == [("1.0.0", OFF, "package_changed")]
    assert written([tampered], wish, wish, in_force(OFF, reason="package_changed"), registered) == []
    assert changed([tampered], registered) == [tampered]


def test_its_own_files_bring_a_version_back() -> None:
    wish = Wish("1.0.0", LIVE)

    found = written([ONE], wish, wish, in_force(OFF, reason="package_changed"))

    assert found == [("1.0.0", LIVE, "package_restored")]


def test_what_is_no_longer_installed_is_switched_off() -> None:
    assert drafts([], {}, {}, {}, in_force(LIVE)) == [Draft("lungs", "1.0.0", "d1", OFF, "not_installed")]
    assert drafts([], {}, {}, {}, in_force(OFF)) == []


def test_a_changed_package_is_not_enabled_by_a_person_but_may_be_switched_off() -> None:
    registered, installed = {("lungs", "1.0.0"): "d1"}, {("lungs", "1.0.0"): "other"}

    with pytest.raises(Rejected, match="package_changed"):
        by_a_person("lungs", LIVE, "please", in_force(OFF), registered, installed)
    assert by_a_person("lungs", OFF, "stop", in_force(LIVE), registered, installed).state is OFF


def test_only_the_version_that_the_policy_names_is_live() -> None:
    shown = models([TWO, ONE], {}, in_force(LIVE, "2.0.0"))

    assert [(model.package.version, model.state) for model in shown] == [("1.0.0", OFF), ("2.0.0", LIVE)]
