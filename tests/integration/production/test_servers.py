"""The servers themselves: what is started is what the suites of the production plane rely on."""

import hashlib
import hmac
from datetime import UTC, datetime

import httpx
import pytest

from peers.kafka import Kafka
from peers.postgres import Postgres
from peers.s3 import S3

pytestmark = pytest.mark.production


def test_postgresql_keeps_what_was_committed_when_it_is_stopped_and_when_it_is_killed(
    postgres_server: Postgres,
) -> None:
    postgres_server.execute("CREATE TABLE kept (text TEXT NOT NULL)")
    for number, end in enumerate((postgres_server.stop, postgres_server.kill)):
        postgres_server.execute(f"INSERT INTO kept VALUES ('{number}')")
        end()
        postgres_server.start()
    assert postgres_server.execute("SELECT text FROM kept ORDER BY text").split() == ["0", "1"]
    assert postgres_server.execute("SHOW fsync") == "on"
    stranger = Postgres(postgres_server.port, "not the password", postgres_server.log, (), postgres_server.processes)
    with pytest.raises(RuntimeError, match="password authentication failed"):
        stranger.execute("SELECT 1")


def test_s3_takes_what_is_signed_and_nothing_else(s3_server: S3) -> None:
    with httpx.Client(trust_env=False) as client:
        assert _send(client, s3_server, "PUT", "a/key", b"data", s3_server.secret_access_key).status_code == 200
        assert _send(client, s3_server, "GET", "a/key", b"", s3_server.secret_access_key).content == b"data"
        assert _send(client, s3_server, "GET", "a/key", b"", "not the secret").status_code == 403
        assert client.get(f"{s3_server.endpoint}/{s3_server.bucket}/a/key").status_code == 403


def test_three_brokers_are_a_cluster_that_misses_one_and_takes_it_back(three_brokers: Kafka) -> None:
    three_brokers.brokers[1].stop()
    three_brokers.wait_until_ready()
    three_brokers.brokers[1].start()
    three_brokers.wait_until_ready()


def _send(client: httpx.Client, server: S3, method: str, key: str, body: bytes, secret: str) -> httpx.Response:
    """Signed by AWS Signature Version 4."""
    now, digest = datetime.now(UTC), hashlib.sha256(body).hexdigest()
    path, host = f"/{server.bucket}/{key}", server.endpoint.removeprefix("http://")
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}"}
    signed = ";".join(headers)
    request = "\n".join([method, path, "", *(f"{name}:{value}" for name, value in headers.items()), "", signed, digest])
    scope = f"{now:%Y%m%d}/{server.region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    derived = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        derived = hmac.digest(derived, part.encode(), "sha256")
    credential = f"Credential={server.access_key_id}/{scope}, SignedHeaders={signed}, Signature={derived.hex()}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 {credential}"
    return client.request(method, server.endpoint + path, headers=headers, content=body)
