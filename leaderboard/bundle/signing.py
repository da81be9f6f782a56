"""Ed25519 signatures (RFC 8032) that bind a manifest to an account, and the private keys that make them.

What is signed names the format and the bundle's id, so that a signature says nothing about anything else.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from leaderboard.bundle.documents import read_canonical
from leaderboard.bundle.errors import BundleError, SigningKeyError, shown
from leaderboard.bundle.manifest import bundle_id, checked_hash, decode_manifest
from leaderboard.bundle.names import SIGNATURE
from leaderboard.records.canonical import canonical_json
from leaderboard.records.files import store_error, sync_folder


DOMAIN: Final = b"robustarena bundle 1\n"

# y coordinates of the points of small order, also as y + p: under such a key one signature fits many messages.
_PRIME: Final = 2**255 - 19
_ORDER_8: Final = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL: Final = frozenset({0, 1, _PRIME - 1, _PRIME, _PRIME + 1})


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What signature.json holds: the public key and the signature, hexadecimal."""

    algorithm: Literal["ed25519"]
    key: str
    signature: str

    def __post_init__(self) -> None:
        checked_hash("key", self.key)
        for half in (self.signature[:64], self.signature[64:]):
            checked_hash("each half of the signature", half)


def generate_key() -> Ed25519PrivateKey:
    """A new private key."""
    return Ed25519PrivateKey.generate()


def account_of(key: Ed25519PrivateKey) -> str:
    """The account that a private key signs for: its public key, hexadecimal."""
    return key.public_key().public_bytes_raw().hex()


def save_key(path: Path, key: Ed25519PrivateKey) -> None:
    """Writes a private key as PEM that only its owner can read. Raises SigningKeyError where the file exists."""
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except FileExistsError:
        raise SigningKeyError(f"{path} exists; a key is never overwritten. Use it, or name another file") from None
    except OSError as error:
        raise store_error(path, error) from error


def load_key(path: Path) -> Ed25519PrivateKey:
    """Reads a private key. Raises SigningKeyError where it is missing, malformed or readable by others."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(65_536)
    except FileNotFoundError:
        raise SigningKeyError(f"{path} is missing; expected a private key as PEM") from None
    except OSError as error:
        raise SigningKeyError(f"{path} cannot be read: {error.strerror}; expected a private key as PEM") from error
    if mode & 0o077:
        raise SigningKeyError(f"{path} has mode {mode:04o}: others can read or change it. Run chmod 600 {path}")
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SigningKeyError(f"{path} is no private key as PEM without a password; expected Ed25519") from None
    if not isinstance(key, Ed25519PrivateKey):
        kind = type(key).__name__.removesuffix("PrivateKey")
        raise SigningKeyError(f"{path} is of the kind {kind}; expected Ed25519: openssl genpkey -algorithm ed25519")
    return key


def sign(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """The contents of signature.json for a manifest. Raises BundleError where the manifest is another account's."""
    account = decode_manifest(manifest).account
    if account != account_of(key):
        raise BundleError(f"the manifest is of account {account[:12]}, the key of {account_of(key)[:12]}")
    signature = key.sign(_message(manifest)).hex()
    return canonical_json(Signature(algorithm="ed25519", key=account, signature=signature))


def verify_signature(manifest: bytes, signature: bytes, account: str) -> None:
    """Refuses, with BundleError, a signature of another manifest, by another key than the account, or malformed."""
    read = read_canonical(signature, Signature, SIGNATURE)
    if read.key != account:
        raise BundleError(f"{SIGNATURE}: signed by key {read.key[:12]}, the manifest is of account {account[:12]}")
    _refuse_small_order(account)
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(account)).verify(
            bytes.fromhex(read.signature), _message(manifest)
        )
    except InvalidSignature:
        raise BundleError(
            f"{SIGNATURE}: not a signature of bundle {bundle_id(manifest)[:12]} by account {account[:12]}; "
            "the manifest was changed, or the signature is of another one"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BundleError(f"{SIGNATURE}: account {shown(account)} is no Ed25519 key: {error}") from None


def _message(manifest: bytes) -> bytes:
    return DOMAIN + bundle_id(manifest).encode("ascii")


def _refuse_small_order(account: str) -> None:
    y = int.from_bytes(bytes.fromhex(account), "little") & (2**255 - 1)
    if y in _SMALL or y in (_ORDER_8, _PRIME - _ORDER_8):
        raise BundleError(f"account {account[:12]} is a key of small order, with which anyone can sign")
