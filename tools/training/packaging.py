"""Bring a package's model.yaml up to a newly trained engine: its digest, and a device UID derived from it."""

import hashlib
import re
from pathlib import Path

from hilum.ids import derived_uid


def write_manifest(package: Path) -> None:
    """Rewrite ``engine.sha256`` and ``device.uid`` in place; every other line of the manifest stays as written."""
    manifest = package / "model.yaml"
    digest = hashlib.sha256((package / "model.onnx").read_bytes()).hexdigest()
    text = manifest.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^(\s*sha256:\s*).*$", rf'\g<1>"{digest}"', text)
    text = re.sub(r"(?m)^(\s*uid:\s*).*$", rf"\g<1>{derived_uid('model', package.name, digest)}", text)
    manifest.write_text(text, encoding="utf-8")
    print(f"{package.name}: engine {digest[:12]}, {(package / 'model.onnx').stat().st_size / 1e6:.2f} MB")
