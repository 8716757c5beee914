from __future__ import annotations

import pytest

from domain.errors import StoreError
from store.vault import Vault

KEY = b"k" * 32


def test_what_is_sealed_opens_only_where_it_belongs() -> None:
    """A sealed value cannot be moved to another person, class or table."""
    vault = Vault(KEY)
    for person in ("p-1", "p-2"):
        vault.new_key(person, "erasable")
        vault.new_key(person, "evidence")
    sealed = vault.seal("p-1", "erasable", "profiles", b"Maya")
    assert b"Maya" not in sealed
    assert vault.open("p-1", "erasable", "profiles", sealed) == b"Maya"
    for person, retention, table in (
        ("p-2", "erasable", "profiles"),
        ("p-1", "evidence", "profiles"),
        ("p-1", "erasable", "decisions"),
    ):
        with pytest.raises(StoreError, match="does not open"):
            vault.open(person, retention, table, sealed)  # type: ignore[arg-type]


def test_a_forgotten_key_opens_nothing() -> None:
    """Without its data key what was sealed stays sealed; with the wrapped one it opens again."""
    vault = Vault(KEY)
    wrapped = vault.new_key("p-1", "erasable")
    sealed = vault.seal("p-1", "erasable", "profiles", b"Maya")
    vault.forget("p-1", "erasable")
    assert not vault.knows("p-1", "erasable")
    with pytest.raises(KeyError):
        vault.open("p-1", "erasable", "profiles", sealed)
    vault.unwrap("p-1", "erasable", wrapped)
    assert vault.open("p-1", "erasable", "profiles", sealed) == b"Maya"
    with pytest.raises(StoreError):
        Vault(KEY).unwrap("p-2", "erasable", wrapped)


def test_fingerprints_need_the_key() -> None:
    """The same value has one fingerprint under one key, another under another, and per kind."""
    one, two = Vault(KEY), Vault(b"j" * 32)
    assert one.fingerprint("identifier", "phone", "+1") == Vault(KEY).fingerprint(
        "identifier", "phone", "+1"
    )
    seen = {
        one.fingerprint("identifier", "phone", "+1"),
        two.fingerprint("identifier", "phone", "+1"),
        one.fingerprint("instance", "phone", "+1"),
        one.fingerprint("identifier", "phone+1", ""),
    }
    assert len(seen) == 4


def test_a_vault_shows_nothing_of_itself() -> None:
    """No key appears where a vault is printed."""
    assert repr(Vault(KEY)) == "Vault()"
