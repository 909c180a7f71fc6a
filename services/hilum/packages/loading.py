"""Reading a package folder: every fault is found and listed at once, and the engine's digest is checked."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hilum.errors import Rejected
from hilum.packages import rules
from hilum.packages.model import Engine, ModelManifest, ModelPackage
from hilum.strict_yaml import read_yaml

MANIFEST = "model.yaml"
_MANIFEST_LIMIT = 256 * 1024
_ENGINE_LIMIT = 2 * 1024**3


def load(path: Path) -> ModelPackage:
    """The package in folder ``path``; raises Rejected ``model_package_invalid`` that lists every fault."""
    manifest_path = path / MANIFEST
    try:
        if manifest_path.stat().st_size > _MANIFEST_LIMIT:
            raise _rejected(path, [f"{MANIFEST}: larger than {_MANIFEST_LIMIT} bytes"])
        source = manifest_path.read_bytes()
    except OSError as error:
        raise _rejected(path, [f"{MANIFEST}: cannot be read ({error.strerror})"]) from error
    try:
        raw = read_yaml(source)
    except Rejected as error:
        raise _rejected(path, [f"{MANIFEST}: {error.text}"]) from error
    if not isinstance(raw, dict):
        raise _rejected(path, [f"{MANIFEST}: not a mapping"])

    faults: list[str] = []
    manifest: ModelManifest | None = None
    try:
        manifest = ModelManifest.model_validate(raw)
    except ValidationError as error:
        faults += [f"{'.'.join(map(str, e['loc'])) or MANIFEST}: {e['msg']}" for e in error.errors(include_url=False)]
    parts = _valid_parts(raw)
    faults += rules.faults(parts)
    faults += _file_faults(path, parts)
    if faults or manifest is None:
        raise _rejected(path, faults)
    digest = hashlib.sha256(f"{hashlib.sha256(source).hexdigest()} {manifest.engine.sha256}".encode()).hexdigest()
    return ModelPackage.model_validate(raw | {"folder": path, "digest": digest})


def load_all(directory: Path) -> list[ModelPackage]:
    """Every package in the folders of ``directory``, by name; one Rejected lists the faults of all.

    A folder without ``model.yaml`` is no package and is passed over.
    """
    try:
        folders = sorted(entry for entry in directory.iterdir() if (entry / MANIFEST).is_file())
    except OSError as error:
        raise _rejected(directory, [f"cannot be read ({error.strerror})"]) from error
    packages: list[ModelPackage] = []
    faults: list[str] = []
    for folder in folders:
        try:
            packages.append(load(folder))
        except Rejected as error:
            faults.append(error.text)
    by_identity: dict[tuple[str, str], str] = {}
    for package in packages:
        first = by_identity.setdefault((package.name, package.version), package.folder.name)
        if first != package.folder.name:
            faults.append(f"{package.folder.name}: {package.name} {package.version} is also in {first}")
    if faults:
        raise Rejected("model_package_invalid", "\n".join(faults))
    return sorted(packages, key=lambda package: (package.name, package.version))


def _valid_parts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are valid by themselves, so that rules over them are asked even when others are not."""
    parts: dict[str, Any] = {}
    for name, field in ModelManifest.model_fields.items():
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
            parts[name] = adapter.validate_python(raw[field.alias or name])
        except (ValidationError, KeyError):
            continue
    return parts


def _file_faults(path: Path, parts: Mapping[str, Any]) -> list[str]:
    faults = []
    card, engine = parts.get("card"), parts.get("engine")
    if card is not None and not (path / card).is_file():
        faults.append(f"card: {card} is not there")
    if isinstance(engine, Engine):
        file = path / engine.file
        if not file.is_file():
            faults.append(f"engine.file: {engine.file} is not there")
        elif file.stat().st_size > _ENGINE_LIMIT:
            faults.append(f"engine.file: larger than {_ENGINE_LIMIT} bytes")
        else:
            with file.open("rb") as stream:
                actual = hashlib.file_digest(stream, "sha256").hexdigest()
            if actual != engine.sha256:
                faults.append(f"engine.sha256: the file has {actual}")
    return faults


def _rejected(path: Path, faults: list[str]) -> Rejected:
    return Rejected("model_package_invalid", "\n".join(f"{path.name}: {fault}" for fault in faults))
