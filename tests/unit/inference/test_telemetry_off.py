"""The engine tells nobody about its use."""

import os
import subprocess
import sys
from pathlib import Path


def test_loading_the_engine_leaves_no_trace_to_report(tmp_path: Path) -> None:
    folders = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(tmp_path))
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | folders
    command = [sys.executable, "-B", "-c", "import hilum.inference.engines.onnx"]
    subprocess.run(command, env=environment, check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []
