"""Every error this product raises on purpose, and what each is for.

    SafeconductError                 names the place, the cause and the remedy
    ├── UsageError                   the command's words are off (exit 2)
    ├── ConfigurationError           a workspace file is wrong (exit 2)
    ├── InputError                   one input row is unusable: it becomes a dead letter
    ├── StoreError                   the store cannot be used (exit 2)
    │   ├── StoreLocked              another process writes this store (exit 2)
    │   └── KeyGone                  a person's key was destroyed meanwhile: read again
    ├── LedgerBroken                 the record was altered (exit 1)
    └── DeliveryError                a channel refused or may have lost a message
        └── DeliveryUnknown          nobody can say whether it was delivered

Expected outcomes (a denial, a lost swap) are values, not exceptions.
"""

from __future__ import annotations


class SafeconductError(Exception):
    """A fault a person can act on: `place: cause; remedy`.

    Args:
        cause: what is wrong, lower case, one sentence, identifiers in backticks.
        place: where, as `file:line`, a table and key, or a command option.
        remedy: what to do about it.
        column: where in that line, from 1; None where nobody can tell.
    """

    def __init__(
        self,
        cause: str,
        *,
        place: str | None = None,
        remedy: str | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.place = place
        self.remedy = remedy
        self.column = column

    def __str__(self) -> str:
        place = f"{self.place}:{self.column}" if self.place and self.column else self.place
        head = f"{place}: {self.cause}" if place else self.cause
        return f"{head}; {self.remedy}" if self.remedy else head


class UsageError(SafeconductError):
    """The command was called in a way that cannot be carried out."""


class ConfigurationError(SafeconductError):
    """A workspace file says something that cannot be meant."""


class InputError(SafeconductError):
    """One input row cannot become an event.

    Args:
        reason: the dead letter's stable code, such as `invalid_json`.

    `raw` is the row by itself, where it came as an item of a batch.
    """

    def __init__(
        self, reason: str, cause: str, *, place: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(cause, place=place, remedy=remedy)
        self.reason = reason
        self.raw: bytes | None = None


class StoreError(SafeconductError):
    """The store is missing, damaged, of another version, or unreadable."""


class StoreLocked(StoreError):
    """Another process holds the store's writing lock."""


class KeyGone(StoreError):
    """The key of a person's fragment was not unwrapped, or was destroyed since."""


class LedgerBroken(SafeconductError):
    """The decision record does not verify."""


class DeliveryError(SafeconductError):
    """A channel proved that a message was not delivered."""


class DeliveryUnknown(DeliveryError):
    """A channel cannot say whether a message was delivered."""
