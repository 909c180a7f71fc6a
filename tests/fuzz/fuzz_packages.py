"""A model package's manifest and its rules: it holds, or it is refused with a list of faults."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hilum.errors import Rejected
from hilum.oversight.domain import Package, precedence, wishes
from hilum.packages import ModelPackage, load, load_all
from hilum.workflow.domain import eligibility

_FOLDER = TemporaryDirectory(prefix="hilum-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
_PACKAGE = Path(_FOLDER.name) / "package"
ENGINE = b"an engine"
_SEEN = ("", "CR", "18", "-0.5", "nan", "inf", "1_8", "\u0661", "chest", "x" * 1024)


def check(data: bytes) -> None:
    """``data`` is ``model.yaml``; card and engine stand beside it."""
    _PACKAGE.mkdir(exist_ok=True)
    (_PACKAGE / "CARD.md").write_text("card")
    (_PACKAGE / "model.onnx").write_bytes(ENGINE)
    (_PACKAGE / "model.yaml").write_bytes(data)
    try:
        package = load(_PACKAGE)
    except Rejected as error:
        assert error.code == "model_package_invalid"
        assert all(line.strip() for line in error.text.splitlines())
        assert error.text.strip()
        assert len(error.text) <= 4096 + 256 * len(data)
        error.text.encode("utf-8")
        return
    assert load_all(Path(_FOLDER.name)) == [package]
    installed = [Package(package.name, package.version, package.digest)]
    assert wishes(installed, None)[package.name].version == package.version
    assert precedence(package.version) > precedence("0.0.0-0") or package.version.startswith("0.0.0-")
    check_rules(package)


def check_rules(package: ModelPackage) -> None:
    for declared in (*package.eligibility.study, *package.eligibility.instance):
        value = tuple(declared.value) if isinstance(declared.value, list) else declared.value
        rule = eligibility.Rule(declared.id, declared.field, declared.op.value, value, declared.missing == "pass")
        for seen in _SEEN:
            arrived = frozenset({rule.field.partition(".")[0]})
            outcome = eligibility.judge(rule, {rule.field: seen}, arrived)
            assert outcome.outcome is not eligibility.Outcome.UNKNOWN
            if rule.op in {"at_least", "at_most"} and seen in {"nan", "inf", "1_8", "\u0661"}:
                assert outcome.outcome is eligibility.Outcome.FAILED, "that is no decimal string (PS3.5 6.2 DS, IS)"
