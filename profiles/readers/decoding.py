"""Turns the bytes of a row into a JSON value within the limits, or says what is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from domain.canonical import canonical
from domain.errors import InputError
from domain.event import EVENT_BYTES_MAX, EVENT_DEPTH_MAX, EVENT_KEYS_MAX
from profiles.readers.fields import invalid, mapping

BATCH_BYTES_MAX = 512 * 1024
BATCH_ITEMS_MAX = 100
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
KEY_SHOWN_MAX = 40

_Trail: TypeAlias = "tuple[_Trail, str | int] | None"


@dataclass(frozen=True, slots=True)
class Items:
    """The items of a batch, each as its own bytes, and the `context` that is stated for all."""

    raws: list[bytes]
    context: Mapping[str, Any] = field(default_factory=dict)


class _Batch(msgspec.Struct):
    """A Segment batch; each item stays bytes, so that a bad one spoils no other."""

    batch: list[msgspec.Raw]
    context: msgspec.Raw = msgspec.Raw(b"null")


class _Events(msgspec.Struct, forbid_unknown_fields=True):
    """A batch of Braze Currents: the list, and nothing beside it."""

    events: list[msgspec.Raw]


_VALUE = msgspec.json.Decoder()
_BATCH = msgspec.json.Decoder(_Batch)
_EVENTS = msgspec.json.Decoder(_Events)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_OPENS_LIST = re.compile(rb"[ \t\r\n]*\[")
_OPENS_EVENTS = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"events"')
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_BYTE = re.compile(r"\(byte (\d+)\)")
_STRING = re.compile(rb'"([^"]*)"[ \t\r\n]*(:?)')
_NOT_NUMBERS = (b"NaN", b"Infinity", b"-Infinity")


def decode(raw: bytes) -> Any:
    """The JSON value of one event's bytes. Raises `InputError` for all that it cannot be.

    The value is walked only where counting bytes leaves a doubt: there are never more levels
    than opening brackets nor more keys than colons, and what else is forbidden has a spelling.
    """
    if len(raw) > EVENT_BYTES_MAX:
        raise InputError(
            "too_large",
            f"`$` has {len(raw)} bytes, more than {EVENT_BYTES_MAX}",
            remedy="send large content by reference",
        )
    try:
        value = _VALUE.decode(raw)
    except RecursionError as error:
        raise _too_deep("$") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _fault(raw, str(error)) from error
    if not _is_plain(raw):
        inspect(value)
    if _may_repeat(raw):
        _check_keys(raw)
    return value


def carried(raw: bytes, at: str) -> Any:
    """The JSON value in a string of the row; what is wrong with it is told by the row's path."""
    try:
        return decode(raw)
    except InputError as error:
        cause = error.cause.replace("`$", f"`{at}", 1)
        raise InputError(error.reason, cause, remedy=error.remedy) from error


def batch_items(raw: bytes) -> Items | None:
    """The items of a batch; None where the row is no batch."""
    if not (_OPENS_LIST.match(raw) or b'"batch"' in raw or _OPENS_EVENTS.match(raw)):
        return None
    if len(raw) > BATCH_BYTES_MAX:
        raise InputError(
            "too_large",
            f"`$` has {len(raw)} bytes, more than the {BATCH_BYTES_MAX} of a batch",
            remedy="send smaller batches",
        )
    items = _split(raw)
    if items is None:
        return None
    if not items.raws:
        raise invalid("$", "is an empty batch", "send at least one event")
    if len(items.raws) > BATCH_ITEMS_MAX:
        raise InputError(
            "too_large",
            f"`$` has {len(items.raws)} events, more than the {BATCH_ITEMS_MAX} of a batch",
            remedy="send smaller batches",
        )
    return items


def alone(raw: bytes, context: Mapping[str, Any]) -> bytes:
    """An item of a batch as a row that reads the same by itself."""
    return b'{"context":%b,"batch":[%b]}' % (canonical(context), raw) if context else raw


def inspect(value: Any) -> None:
    """Raise `InputError` where a value is too deep, has too many keys, or cannot be kept."""
    keys = 0
    waiting: list[tuple[Any, _Trail, int]] = [(value, None, 1)]
    while waiting:
        node, trail, depth = waiting.pop()
        if not isinstance(node, (dict, list)):
            _check_scalar(node, trail)
            continue
        if depth > EVENT_DEPTH_MAX:
            raise _too_deep(_path(trail))
        if isinstance(node, list):
            waiting.extend((child, (trail, i), depth + 1) for i, child in enumerate(node))
            continue
        keys += len(node)
        if keys > EVENT_KEYS_MAX:
            raise InputError(
                "too_many_keys",
                f"`{_path(trail)}` takes the event past {EVENT_KEYS_MAX} keys",
                remedy="send only what decisions need",
            )
        for key, child in node.items():
            _check_text(key, trail)
            waiting.append((child, (trail, key), depth + 1))


def _split(raw: bytes) -> Items | None:
    try:
        return _listed(raw)
    except RecursionError as error:
        raise _too_deep("$") from error
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        salvaged = _salvaged(raw)
        if salvaged is None:
            raise _fault(raw, str(error)) from error
        return salvaged


def _listed(raw: bytes) -> Items:
    if _OPENS_LIST.match(raw):
        return Items([bytes(item) for item in _LIST.decode(raw)])
    if _OPENS_EVENTS.match(raw):
        try:
            return Items([bytes(item) for item in _EVENTS.decode(raw).events])
        except msgspec.ValidationError:
            pass  # an event, or a Segment batch, that begins with this word
    found = _BATCH.decode(raw)
    return Items([bytes(item) for item in found.batch], _shared(bytes(found.context)))


def _shared(raw: bytes) -> Mapping[str, Any]:
    return mapping({"context": carried(raw, "$.context")}, "context")


def _salvaged(raw: bytes) -> Items | None:
    """The items of a batch in which something is written that is almost JSON, such as `NaN`.

    Spelt again one by one, so that each item is judged by itself.
    """
    try:
        loose = json.loads(raw.decode())
    except (ValueError, RecursionError):
        return None
    _check_keys(raw)
    context: Any = None
    if isinstance(loose, dict):
        context = loose.get("context")
        loose = loose["events"] if loose.keys() == {"events"} else loose.get("batch")
    if not isinstance(loose, list):
        return None
    try:
        return Items([_spelt(item) for item in loose], _shared(_spelt(context)))
    except (ValueError, RecursionError):
        return None


def _spelt(item: Any) -> bytes:
    try:
        return json.dumps(item, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(item).encode()


def _is_plain(raw: bytes) -> bool:
    return (
        raw.count(b"{") + raw.count(b"[") <= EVENT_DEPTH_MAX
        and raw.count(b":") <= EVENT_KEYS_MAX
        and b"\\u0000" not in raw
        and _LONG_NUMBER.search(raw) is None
    )


def _may_repeat(raw: bytes) -> bool:
    """Whether some key is there twice, in one object or in two; escapes leave it open."""
    if b"\\" in raw:
        return True
    keys = [key for key, colon in _STRING.findall(raw) if colon]
    return len(set(keys)) < len(keys)


def _check_keys(raw: bytes) -> None:
    """Raise where an object has a key twice: readers differ in which they take (RFC 8259, 4)."""
    repeated: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in found:
            if key in seen:
                repeated.append(key)
            seen.add(key)

    json.loads(raw, object_pairs_hook=pairs)
    if repeated:
        shown = ascii(repeated[0][:KEY_SHOWN_MAX])[1:-1].replace("`", "?")
        raise InputError(
            "invalid_json", f"`$` has the key `{shown}` twice", remedy="send each key once"
        )


def _fault(raw: bytes, said: str) -> InputError:
    """Why these bytes are no JSON value, by path where a lenient parser still sees one."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        return InputError(
            "invalid_utf8", f"`$` is not UTF-8 at byte {error.start}", remedy="send UTF-8"
        )
    try:
        inspect(json.loads(text))
    except InputError as found:
        return found
    except (ValueError, RecursionError):
        pass
    return _unparsed(raw, said)


def _unparsed(raw: bytes, said: str) -> InputError:
    found = _BYTE.search(said)
    at = int(found[1]) if found else len(raw)
    if "Integer" in said:
        return _too_long("$")
    if raw[at:].startswith(_NOT_NUMBERS) or "out of range" in said:
        return _not_finite("$")
    where = f"at byte {at}" if found else "at its end"
    return InputError(
        "invalid_json", f"`$` is malformed {where}", remedy="send one JSON value per row"
    )


def _check_scalar(value: Any, trail: _Trail) -> None:
    if isinstance(value, str):
        _check_text(value, trail)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _not_finite(_path(trail))
    elif isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
        raise _too_long(_path(trail))


def _check_text(text: str, trail: _Trail) -> None:
    if "\0" in text:
        raise invalid(_path(trail), "holds a NUL character", "leave it out")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise invalid(
            _path(trail), "holds half a surrogate pair", "send whole characters"
        ) from error


def _too_deep(path: str) -> InputError:
    return InputError(
        "too_deep",
        f"`{path}` is nested deeper than {EVENT_DEPTH_MAX}",
        remedy="send flatter events",
    )


def _not_finite(path: str) -> InputError:
    return InputError("not_finite", f"`{path}` is no finite number", remedy="send null instead")


def _too_long(path: str) -> InputError:
    return invalid(path, "is an integer beyond 64 bits", "write it as a string")


def _path(trail: _Trail) -> str:
    parts: list[str] = []
    while trail is not None:
        trail, key = trail
        if isinstance(key, int):
            parts.append(f"[{key}]")
        elif _PLAIN_KEY.fullmatch(key):
            parts.append(f".{key[:KEY_SHOWN_MAX]}")
        else:
            parts.append(f"[{ascii(key[:KEY_SHOWN_MAX]).replace('`', '?')}]")
    return "$" + "".join(reversed(parts))
