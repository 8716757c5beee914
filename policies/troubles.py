"""What looking a workspace's files through has found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing said in vain: the check that found it, where (`file:line`), what, and what to do
    about it."""

    check: str
    place: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.cause}; {self.remedy}"
