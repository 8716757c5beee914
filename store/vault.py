"""Keys, sealing and fingerprints: what makes kept data unreadable without the key, and erasable.

One key-encryption key (from `SAFECONDUCT_KEY` or a 0600 file beside the store) wraps a random
data key per profile fragment and retention class. Destroying a wrapped key makes everything
sealed under it unreadable. Fingerprints are HMAC-SHA-256 under keys derived from the
key-encryption key (HKDF, RFC 5869), because a plain hash of a phone number is brute-forced in
minutes.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.context import Retention
from domain.errors import KeyGone, StoreError

KEY_BYTES = 32
KEY_VARIABLE = "SAFECONDUCT_KEY"
_NONCE_BYTES = 12
_TOKEN = b"unsubscribe"
_CHECKED = b"safeconduct, fingerprints of format 2"  # a store of another format is refused
_CIPHERS_MAX = 50_000
_FINGERPRINTS_MAX = 4_096

KeyId = tuple[str, Retention]


def load_key(beside: Path | None) -> bytes:
    """The key-encryption key: `SAFECONDUCT_KEY` (base64 of 32 bytes), else `<store>.key`.

    The file is made at first use with mode 0600. `beside` is the store's path, or None for a
    store in memory, whose key lives as long as it does.
    """
    given = given_key()
    if given is not None:
        return given
    if beside is None:
        return os.urandom(KEY_BYTES)
    path = beside.with_name(beside.name + ".key")
    try:
        return _decode(path.read_text(encoding="ascii"), place=str(path))
    except UnicodeDecodeError as error:
        raise _bad_key(str(path)) from error
    except FileNotFoundError:
        if beside.exists() and beside.stat().st_size > 0:
            raise StoreError(
                "the store's key is missing, and without it nothing in the store can be read",
                place=str(path),
                remedy=f"put the key file back, or set `{KEY_VARIABLE}`",
            ) from None
    except OSError as error:
        raise StoreError(f"the key cannot be read: {error.strerror}", place=str(path)) from error
    return _make_key(path)


def given_key() -> bytes | None:
    """The key-encryption key from `SAFECONDUCT_KEY`, or None where it is not set."""
    given = os.environ.get(KEY_VARIABLE)
    return _decode(given, place=f"environment variable `{KEY_VARIABLE}`") if given else None


def _make_key(path: Path) -> bytes:
    key = os.urandom(KEY_BYTES)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _decode(path.read_text(encoding="ascii"), place=str(path))
    except OSError as error:
        raise StoreError(
            f"the key cannot be written: {error.strerror}",
            place=str(path),
            remedy="name a store in a folder that you may write to, with `--store`",
        ) from error
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(key) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def _decode(text: str, *, place: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad_key(place) from error
    if len(key) != KEY_BYTES:
        raise _bad_key(place)
    return key


def _bad_key(place: str) -> StoreError:
    return StoreError(
        f"the key is not base64 of {KEY_BYTES} bytes",
        place=place,
        remedy="make one with `openssl rand -base64 32`, or restore the one this store began with",
    )


class Vault:
    """Seals, opens and fingerprints; holds the unwrapped data keys of recent fragments."""

    def __init__(self, key: bytes) -> None:
        self._wrapper = AESGCM(_derive(key, b"wrap"))
        self._tokens = AESSIV(_derive(key, b"tokens"))
        self._letters = AESGCM(_derive(key, b"dead letters"))
        self._fingerprints = _derive(key, b"fingerprints")
        self._ledger = _derive(key, b"ledger")
        self._ciphers: OrderedDict[KeyId, tuple[bytes, AESGCM]] = OrderedDict()
        # One decision asks for the same fingerprints several times.
        self._told = lru_cache(_FINGERPRINTS_MAX)(self._tell)
        self.check = hmac.digest(_derive(key, b"check"), _CHECKED, "sha256").hex()

    def __repr__(self) -> str:
        return "Vault()"

    def fingerprint(self, kind: str, *parts: str) -> str:
        """32 hex digits that stand for a value and, without the key, tell nothing about it."""
        return self._told(kind, *parts)

    def _tell(self, kind: str, *parts: str) -> str:
        told = [part.encode("utf-8", "surrogatepass") for part in parts]
        # Each part with its length, so that no two lists of parts read the same.
        message = b"".join(b"%d:%b" % (len(part), part) for part in told)
        return self.fingerprint_bytes(kind, message).hex()

    def fingerprint_bytes(self, kind: str, data: bytes) -> bytes:
        """16 bytes that stand for `data`."""
        return hmac.digest(self._fingerprints, kind.encode() + b"\x1f" + data, "sha256")[:16]

    def ledger_mac(self, data: bytes) -> bytes:
        """32 bytes that only the holder of the key can make for `data`."""
        return hmac.digest(self._ledger, data, "sha256")

    def new_key(self, profile_id: str, retention: Retention) -> bytes:
        """A fresh data key, wrapped for keeping; from now on this fragment can be sealed."""
        data_key = AESGCM.generate_key(bit_length=256)
        wrapped = _seal(self._wrapper, data_key, _label(profile_id, retention))
        self._remember((profile_id, retention), wrapped, data_key)
        return wrapped

    def unwrap(self, profile_id: str, retention: Retention, wrapped: bytes) -> None:
        """Make a kept data key usable, in the place of one that was made and not kept."""
        key_id = (profile_id, retention)
        if self.holds(profile_id, retention, wrapped):
            self._ciphers.move_to_end(key_id)
            return
        data_key = _open(self._wrapper, wrapped, _label(profile_id, retention))
        self._remember(key_id, wrapped, data_key)

    def holds(self, profile_id: str, retention: Retention, wrapped: bytes) -> bool:
        """Whether what is sealed now is sealed under this very key, and no later one."""
        known = self._ciphers.get((profile_id, retention))
        return known is not None and known[0] == wrapped

    def knows(self, profile_id: str, retention: Retention) -> bool:
        """Whether this fragment's key is at hand (made or unwrapped)."""
        return (profile_id, retention) in self._ciphers

    def forget(self, profile_id: str, retention: Retention) -> None:
        """Drop an unwrapped data key, so that nothing here can open what was sealed under it."""
        self._ciphers.pop((profile_id, retention), None)

    def seal(self, profile_id: str, retention: Retention, table: str, data: bytes) -> bytes:
        """Encrypt for one fragment, class and table; the ciphertext cannot be moved elsewhere."""
        return _seal(self._cipher(profile_id, retention), data, _label(profile_id, table))

    def open(self, profile_id: str, retention: Retention, table: str, sealed: bytes) -> bytes:
        """Decrypt what `seal` made; raises `StoreError` where it was altered or moved."""
        return _open(self._cipher(profile_id, retention), sealed, _label(profile_id, table))

    def open_kept(
        self, profile_id: str, retention: Retention, table: str, sealed: bytes
    ) -> bytes | None:
        """Decrypt what may have outlived its key; None where that is gone, or is another by now.

        An altered value cannot be told from one under a destroyed key; the ledger can tell.
        """
        if not self.knows(profile_id, retention):
            return None
        try:
            return self.open(profile_id, retention, table, sealed)
        except StoreError:
            return None

    def seal_letter(self, data: bytes) -> bytes:
        """Encrypt a dead letter, which belongs to no person yet."""
        return _seal(self._letters, data, b"dead")

    def open_letter(self, sealed: bytes) -> bytes:
        """Decrypt what `seal_letter` made."""
        return _open(self._letters, sealed, b"dead")

    def seal_token(self, data: bytes) -> bytes:
        """Encrypt what is handed out for good; equal data give equal bytes (RFC 5297)."""
        return self._tokens.encrypt(data, [_TOKEN])

    def open_token(self, sealed: bytes) -> bytes | None:
        """Decrypt what `seal_token` made; None where it was made by somebody else, or altered."""
        try:
            return self._tokens.decrypt(sealed, [_TOKEN])
        except (InvalidTag, ValueError):
            return None

    def _cipher(self, profile_id: str, retention: Retention) -> AESGCM:
        known = self._ciphers.get((profile_id, retention))
        if known is None:
            raise KeyGone(
                f"the {retention} key of `{profile_id}` is not at hand",
                remedy="read the person again: an erasure may have destroyed it meanwhile",
            )
        return known[1]

    def _remember(self, key_id: KeyId, wrapped: bytes, data_key: bytes) -> None:
        self._ciphers[key_id] = (bytes(wrapped), AESGCM(data_key))
        self._ciphers.move_to_end(key_id)
        if len(self._ciphers) > _CIPHERS_MAX:
            self._ciphers.popitem(last=False)


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"safeconduct/1/" + purpose).derive(key)


def _label(*parts: str) -> bytes:
    return "\x1f".join(parts).encode()


def _seal(cipher: AESGCM, data: bytes, label: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, data, label)


def _open(cipher: AESGCM, sealed: bytes, label: bytes) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], label)
    except (InvalidTag, ValueError) as error:
        raise StoreError(
            "a sealed value does not open: it was altered, or the key is another one",
            remedy="check the key file, then run `safeconduct ledger verify`",
        ) from error
