"""The key that signs policies: Ed25519 (RFC 8032), in one file that only its owner may read."""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.errors import Rejected, Unavailable


def load_or_make(path: Path) -> Ed25519PrivateKey:
    """The key in ``path``; made with mode 0600 when there is none, with the public key beside it (``.pub``).

    Raises `Rejected` (`policy_key`) when the file holds no such key or others may read it, `Unavailable`.
    """
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise Rejected("policy_key", f"{path.name} must be readable by its owner alone (mode 0600)")
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise Unavailable("policy_key", f"{path.name} cannot be read or made: {error.strerror}") from error
    except ValueError as error:
        raise Rejected("policy_key", f"{path.name} holds no private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Rejected("policy_key", f"{path.name} holds no Ed25519 key")
    return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(path)


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 over the raw public key, in hex."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()


def sign(policy: Policy, key: Ed25519PrivateKey) -> None:
    """Fill in ``key_id`` and ``signature``."""
    policy.key_id = fingerprint(key.public_key())
    policy.signature = key.sign(_signed(policy))


def is_signed_by(policy: Policy, key: Ed25519PublicKey) -> bool:
    try:
        key.verify(policy.signature, _signed(policy))
    except InvalidSignature:
        return False
    return policy.key_id == fingerprint(key)


def load_public(path: Path) -> Ed25519PublicKey:
    """Raises `Rejected` (`policy_key`)."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Rejected("policy_key", f"{path.name} holds no public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Rejected("policy_key", f"{path.name} holds no Ed25519 key")
    return key


def _signed(policy: Policy) -> bytes:
    bare = Policy()
    bare.CopyFrom(policy)
    bare.ClearField("signature")
    return bare.SerializeToString(deterministic=True)
