"""Recognises the words by which people end and resume messages, in any language and spelling."""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

LIST = Path(__file__).parent / "stop_words.toml"
CONTAINED_LETTERS_MIN = 3

Meaning = Literal["stop", "start", "suspicion"]

# Letters that Unicode takes for whole ones, and people for an accented other.
_PLAIN = str.maketrans({"\u0131": "i", "đ": "d", "ł": "l", "ø": "o"})


@dataclass(frozen=True, slots=True)
class Words:
    """Whole messages, folded, that end (`stop`) or resume (`start`) messages."""

    stop: frozenset[str]
    start: frozenset[str]

    def meaning(self, text: str) -> Meaning | None:
        """What a message says: a stop word of any language is one whatever the locale.

        A message that merely contains one is a `suspicion`. A word in a script that is written
        without spaces is contained wherever it stands.
        """
        said = folded(text)
        if said in self.stop:
            return "stop"
        if said in self.start:
            return "start"
        among = f" {said} "
        return "suspicion" if any(_is_within(word, among, said) for word in self.stop) else None


def _is_within(word: str, among: str, said: str) -> bool:
    if _is_unspaced(word):
        return len(word) > 1 and word in said
    return len(word) >= CONTAINED_LETTERS_MIN and f" {word} " in among


@lru_cache(maxsize=4096)
def _is_unspaced(word: str) -> bool:
    """Whether the word's script has no spaces between words: Chinese, Japanese, Thai, Korean."""
    scripts = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "HANGUL")
    return unicodedata.name(word[0], "").startswith(scripts)


def folded(text: str) -> str:
    """The message without case, accents and punctuation, its words one space apart.

    `S T O P` is one word.
    """
    plain = unicodedata.normalize("NFKD", text).casefold().translate(_PLAIN)
    kept = (_kept(char) for char in unicodedata.normalize("NFKD", plain))
    words = "".join(kept).split()
    spelt_out = len(words) > 1 and all(len(word) == 1 for word in words)
    return ("" if spelt_out else " ").join(words)


def _kept(char: str) -> str:
    if char.isalnum():
        return char
    category = unicodedata.category(char)
    return "" if category[0] == "M" or category == "Cf" or char in "'\u2019" else " "


@lru_cache(maxsize=8)
def read_words(more: tuple[str, ...] = ()) -> Words:
    """The list that comes with the program, and `more` stop words of the workspace's own."""
    lists = tomllib.loads(LIST.read_text(encoding="utf-8"))
    stop = [word for words in lists["stop"].values() for word in words]
    start = [word for words in lists["start"].values() for word in words]
    return Words(_all((*stop, *more)), _all(start))


def _all(words: Iterable[str]) -> frozenset[str]:
    return frozenset(filter(None, map(folded, words)))
