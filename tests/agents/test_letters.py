from __future__ import annotations

import json

import pytest

from agents.letters import names
from domain.event import Identifier

MAIL = Identifier("email", "zoe.zed@shop.example")
PHONE = Identifier("phone", "+491701234567")
SHORT = Identifier("user_id", "10")
LONG = Identifier("user_id", "customer-77")


@pytest.mark.parametrize(
    ("raw", "who"),
    [
        (b'{"email": "Zoe.Zed@Shop.Example"}', MAIL),
        (b'{"email": "zoe.zed\\u0040shop.example",,}', MAIL),
        (json.dumps({"inner": json.dumps({"to": MAIL.value})}).encode(), MAIL),
        ('{"email": "zoe.zed@shop.example"}'.encode("utf-16"), MAIL),
        (b'\xff{"email": "zoe.zed@shop.example", cut o', MAIL),
        (b'{"phone": "+49 170 123 45 67",,}', PHONE),
        (b'{"phone": "0170/123-4567"}', PHONE),
        (b'{"phone": "+49 (170) 1234567"}', PHONE),
        (b'{"user_id": "10"}', SHORT),
        (b'{"userId": 10}', SHORT),
        (b'{"said": "I am customer-77, help"}', LONG),
        (b"no JSON at all, from customer-77", LONG),
    ],
)
def test_a_letter_names_somebody_however_it_is_written(raw: bytes, who: Identifier) -> None:
    """Case, escapes, encodings, damage and the ways to write a number hide nobody."""
    assert names(raw, [who])


@pytest.mark.parametrize(
    ("raw", "who"),
    [
        (b'{"user_id": "c-102", "at": "2026-10-10T10:10:10Z", "value": 10}', SHORT),
        (b'{"said": "10 out of 10"}', SHORT),
        (b'{"user_id": "customer-771"}', LONG),
        (b'{"phone": "+49 170 123 45 68"}', PHONE),
        (b'{"a": 170, "b": 1234567}', PHONE),
        (b'{"email": "zed@shop.example"}', MAIL),
    ],
)
def test_a_letter_names_nobody_by_chance(raw: bytes, who: Identifier) -> None:
    """A customer number that is part of a date, a price or another number is nobody's name."""
    assert not names(raw, [who])
