from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import KeyGone, StoreError
from store.vault import KEY_BYTES, KEY_VARIABLE, Vault, load_key

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
    with pytest.raises(KeyGone):
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
    assert f"{Vault(KEY)!s}" == "Vault()"


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=300), place=st.integers(0), bit=st.integers(0, 7))
def test_an_altered_value_does_not_open(data: bytes, place: int, bit: int) -> None:
    """What was sealed comes back byte for byte; with one bit changed it does not come at all."""
    vault = Vault(KEY)
    vault.new_key("p-1", "erasable")
    sealed = vault.seal("p-1", "erasable", "profiles", data)
    assert vault.open("p-1", "erasable", "profiles", sealed) == data
    altered = bytearray(sealed)
    altered[place % len(sealed)] ^= 1 << bit
    for wrong in (bytes(altered), sealed[:-1], sealed[:5], b""):
        with pytest.raises(StoreError, match="does not open"):
            vault.open("p-1", "erasable", "profiles", wrong)


def test_the_same_value_is_never_sealed_alike() -> None:
    """Two ciphertexts of one value do not show that it is one value."""
    vault = Vault(KEY)
    vault.new_key("p-1", "erasable")
    sealed = {vault.seal("p-1", "erasable", "profiles", b"Maya") for _ in range(20)}
    assert len(sealed) == 20


def test_a_data_key_opens_only_under_the_key_that_wrapped_it() -> None:
    """Another key, another person or another class cannot unwrap it."""
    wrapped = Vault(KEY).new_key("p-1", "erasable")
    Vault(KEY).unwrap("p-1", "erasable", wrapped)
    with pytest.raises(StoreError, match="does not open"):
        Vault(b"j" * 32).unwrap("p-1", "erasable", wrapped)
    with pytest.raises(StoreError, match="does not open"):
        Vault(KEY).unwrap("p-1", "evidence", wrapped)


def test_a_dead_letter_opens_under_its_own_key_only() -> None:
    """Letters of nobody are sealed too, apart from every person's."""
    vault = Vault(KEY)
    sealed = vault.seal_letter(b"{}")
    assert vault.open_letter(sealed) == b"{}"
    with pytest.raises(StoreError, match="does not open"):
        Vault(b"j" * 32).open_letter(sealed)
    vault.new_key("p-1", "erasable")
    with pytest.raises(StoreError, match="does not open"):
        vault.open_letter(vault.seal("p-1", "erasable", "dead_letters", b"{}"))


def test_the_key_of_the_surroundings_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SAFECONDUCT_KEY` is taken, with or without a line's end, and no file is made."""
    monkeypatch.setenv(KEY_VARIABLE, base64.b64encode(KEY).decode() + "\n")
    assert load_key(tmp_path / "s.db") == KEY
    assert not list(tmp_path.glob("s.db*"))


def test_a_key_is_made_once_and_kept_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first use writes a random key that only its owner can read; later uses find it."""
    monkeypatch.delenv(KEY_VARIABLE)
    before = os.umask(0)
    try:
        made = load_key(tmp_path / "s.db")
    finally:
        os.umask(before)
    assert len(made) == KEY_BYTES
    assert load_key(tmp_path / "s.db") == made
    assert load_key(tmp_path / "other.db") != made
    assert stat.S_IMODE((tmp_path / "s.db.key").stat().st_mode) == 0o600


def test_a_store_in_memory_has_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is kept, no key is."""
    monkeypatch.delenv(KEY_VARIABLE)
    assert load_key(None) != load_key(None)


NO_KEYS = ("hello", "aGVsbG8=", base64.b64encode(KEY + b"k").decode(), "k" * 44 + "!")


@pytest.mark.parametrize(
    ("given_by", "text"),
    [("file", ""), *((by, text) for by in ("file", "variable") for text in NO_KEYS)],
)
def test_a_key_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_by: str, text: str
) -> None:
    """Text that is not base64 of 32 bytes is refused with its place, and is not shown."""
    monkeypatch.delenv(KEY_VARIABLE)
    file = tmp_path / "s.db.key"
    if given_by == "file":
        file.write_text(text)
    else:
        monkeypatch.setenv(KEY_VARIABLE, text)
    with pytest.raises(StoreError, match="is not base64 of 32 bytes") as told:
        load_key(tmp_path / "s.db")
    assert (str(file) if given_by == "file" else KEY_VARIABLE) in str(told.value.place)
    assert not text or text not in str(told.value)


def test_a_key_of_other_letters_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no text at all are an error to act on, not a traceback."""
    monkeypatch.delenv(KEY_VARIABLE)
    (tmp_path / "s.db.key").write_bytes(b"\xff\xfe" * 22)
    with pytest.raises(StoreError, match="is not base64 of 32 bytes"):
        load_key(tmp_path / "s.db")


def test_a_key_that_cannot_be_read_is_an_error_to_act_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in the key file's place is named."""
    monkeypatch.delenv(KEY_VARIABLE)
    (tmp_path / "s.db.key").mkdir()
    with pytest.raises(StoreError, match="the key cannot be read") as told:
        load_key(tmp_path / "s.db")
    assert told.value.place == str(tmp_path / "s.db.key")


def test_a_key_that_cannot_be_written_is_an_error_to_act_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is not there is named."""
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(StoreError, match="the key cannot be written"):
        load_key(tmp_path / "nowhere" / "s.db")


def test_a_store_without_its_key_gets_no_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fresh key would hide that the old one is lost."""
    monkeypatch.delenv(KEY_VARIABLE)
    (tmp_path / "s.db").write_bytes(b"something")
    with pytest.raises(StoreError, match="the store's key is missing"):
        load_key(tmp_path / "s.db")
    assert not (tmp_path / "s.db.key").exists()
