"""What a worker process is made of."""

import subprocess
import sys


def test_a_worker_imports_only_what_pixels_and_engines_need() -> None:
    listing = "import sys, hilum.inference.adapters.worker; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    heavy = {"grpc", "google", "pydantic", "sqlalchemy", "opentelemetry", "yaml", "scipy", "highdicom"}
    assert not loaded & heavy


def test_the_service_itself_loads_no_engine_and_no_pixel_library() -> None:
    listing = "import sys, hilum.inference.service; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert not loaded & {"onnxruntime", "pydicom"}
