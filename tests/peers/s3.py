"""S3Proxy: an object store that speaks S3 over a folder, and checks signatures, digests and conditions of requests."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from peers.child import required, running
from peers.ports import take_free_port, wait_for_port
from peers.testbed import maven_jars

_HERE = Path(__file__).parent / "s3_server"
_JAVA = ("-Xms32m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@dataclass(frozen=True)
class S3:
    """A running server with one bucket."""

    endpoint: str
    bucket: str
    access_key_id: str
    secret_access_key: str
    region: str
    log: Path


@contextmanager
def s3(config: pytest.Config | None = None) -> Iterator[S3]:
    """A server with an empty bucket and keys of its own."""
    jars = maven_jars("s3proxy", _HERE / "pom.xml", config)
    java = required("java", "default-jdk-headless")
    port = take_free_port()
    with tempfile.TemporaryDirectory(prefix="hilum-s3-") as scratch:
        folder = Path(scratch)
        server = S3(
            f"http://127.0.0.1:{port}", "hilum", "tests", secrets.token_urlsafe(24), "us-east-1", folder / "log"
        )
        (folder / "data" / server.bucket).mkdir(parents=True)  # to S3Proxy a folder is a bucket
        properties = {
            "s3proxy.endpoint": server.endpoint,
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": server.access_key_id,
            "s3proxy.credential": server.secret_access_key,
            "jclouds.provider": "filesystem-nio2",
            "jclouds.filesystem.basedir": folder / "data",
        }
        settings = folder / "s3proxy.conf"
        settings.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        logging = f"-Dlogback.configurationFile={_HERE / 'logback.xml'}"
        program = (java, *_JAVA, logging, "-cp", f"{jars}/*", "org.gaul.s3proxy.Main", "--properties", settings)
        with running(program, server.log) as process:
            try:
                wait_for_port(port, lambda: process.poll() is None, 30.0)
            except RuntimeError as error:
                raise RuntimeError(f"S3Proxy did not start:\n{server.log.read_text()[-2000:]}") from error
            yield server


@pytest.fixture(scope="session")
def s3_server(pytestconfig: pytest.Config) -> Iterator[S3]:
    """One S3 server a session."""
    with s3(pytestconfig) as server:
        yield server
