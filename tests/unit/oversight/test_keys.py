"""The key that signs policies, and what a signature stands for."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.errors import Rejected
from hilum.oversight.adapters import keys


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "oversight.key"

    first = keys.load_or_make(path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.fingerprint(keys.load_or_make(path).public_key()) == keys.fingerprint(first.public_key())
    assert keys.fingerprint(keys.load_public(path.with_suffix(".pub"))) == keys.fingerprint(first.public_key())


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "oversight.key"
    keys.load_or_make(path)
    path.chmod(0o640)

    with pytest.raises(Rejected, match="0600"):
        keys.load_or_make(path)


@pytest.mark.parametrize("kind", ["nonsense", "another key"])
def test_a_file_without_an_ed25519_key_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "oversight.key"
    other = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(other if kind == "another key" else b"nonsense")
    path.chmod(0o600)

    with pytest.raises(Rejected, match="policy_key"):
        keys.load_or_make(path)


@pytest.mark.parametrize("field", ["state", "revision", "algorithm", "package_digest"])
def test_a_policy_that_was_altered_does_not_verify(field: str) -> None:
    key = Ed25519PrivateKey.generate()
    policy = Policy(algorithm="lungs", state="off", revision=3, package_digest="d")
    keys.sign(policy, key)
    assert keys.is_signed_by(policy, key.public_key())

    setattr(policy, field, 4 if field == "revision" else "live")

    assert not keys.is_signed_by(policy, key.public_key())


def test_another_key_does_not_vouch_for_a_policy() -> None:
    policy = Policy(algorithm="lungs", state="off")
    keys.sign(policy, Ed25519PrivateKey.generate())

    assert not keys.is_signed_by(policy, Ed25519PrivateKey.generate().public_key())
