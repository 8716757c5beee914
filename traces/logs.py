"""Lines of the log that say which decision and trace they belong to, and nothing of a person.

Whoever logs gives fixed words and, in `extra={"fields": {...}}`, ids, codes and names from the
workspace; never what came in with an event, and never the text of an exception.
"""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple

LOGGER = "safeconduct"


class Correlation(NamedTuple):
    """What a line belongs to; the last two are 32 and 16 hex digits, None without spans."""

    decision_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None


_NOTHING = Correlation()
CURRENT: ContextVar[Correlation] = ContextVar("correlation", default=_NOTHING)


class Correlate(logging.Filter):
    """Gives every record `decision_id`, `trace_id` and `span_id`; lets all of them pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Name what the record belongs to."""
        record.decision_id, record.trace_id, record.span_id = CURRENT.get()
        return True


class JsonLines(logging.Formatter):
    """One JSON object a line. Of an exception it keeps the type, for its text may quote input."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        said = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name, None) for name in Correlation._fields},
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            said["error"] = record.exc_info[0].__name__
        return json.dumps(said, ensure_ascii=False, default=str)
