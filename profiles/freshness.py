"""How far each source has told of, and what is too old by that to promote by.

A source's watermark is the newest instant it has told of. It is kept only for sources whose
longest lag the workspace declares, and moved in steps of a small part of that lag: whoever reads
it may take a source to be staler than it is, by no more than that, and never fresher.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, String, bindparam, cast, exists, insert, select, update

from domain.context import FieldLabel
from domain.event import Event
from profiles.state import Fragment
from store import keys
from store import tables as t
from store.database import Snapshot
from store.instants import instant, micros
from store.statements import Statement
from store.work import Work

STEPS_A_LAG = 20

_KEPT = Statement(
    select(t.sources.c.source, t.sources.c.watermark_at).where(
        t.sources.c.source.in_(bindparam("names", expanding=True))
    )
)
_ADVANCE = Statement(
    update(t.sources)
    .where(t.sources.c.source == bindparam("name"), t.sources.c.watermark_at < bindparam("to_at"))
    .values(watermark_at=bindparam("to_at"))
)
_BEGIN = Statement(
    insert(t.sources).from_select(
        ["source", "watermark_at"],
        select(cast(bindparam("name"), String), cast(bindparam("to_at"), BigInteger)).where(
            ~exists().where(t.sources.c.source == bindparam("name"))
        ),
    )
)


class Freshness:
    """The watermarks of the sources that may lag, as of one instant of the store."""

    def __init__(self, snapshot: Snapshot, lags: Mapping[str, timedelta]) -> None:
        self._lags = lags
        rows = snapshot.rows(_KEPT, names=sorted(lags)) if lags else ()
        self._kept = {name: instant(at) for name, at in rows}

    def take(self, event: Event, work: Work) -> None:
        """Prepare what an event says of how far its source has come."""
        lag = self._lags.get(event.source)
        if lag is None or event.occurred_at is None:
            return
        kept = self._kept.get(event.source)
        if kept is not None and event.time - kept < lag / STEPS_A_LAG:
            return
        work.move(keys.source(event.source))
        for change in (_BEGIN, _ADVANCE) if kept is None else (_ADVANCE,):
            work.change(change, name=event.source, to_at=micros(event.time))

    def stale(
        self,
        event: Event,
        now: datetime,
        person: Fragment,
        fields: Iterable[FieldLabel],
        computed: Iterable[str],
    ) -> Mapping[str, str]:
        """The fields that a silent source told, each with that source.

        Args:
            event: it counts for its source, whatever was kept.
            computed: fields made from the events of all sources: one that is silent makes each
                of them stale.
        """
        silent = sorted(name for name in self._lags if self._is_silent(name, event, now))
        if not silent:
            return {}
        found = dict.fromkeys(computed, silent[0])
        for label in fields:
            root, _, path = label.name.partition(".")
            trait = person.traits.get(path.partition(".")[0]) if root == "profile" else None
            if trait is not None and trait.source in silent:
                found[label.name] = trait.source
        return found

    def _is_silent(self, name: str, event: Event, now: datetime) -> bool:
        heard = self._kept.get(name)
        if event.source == name and event.occurred_at is not None:
            heard = event.time if heard is None else max(heard, event.time)
        return heard is None or now - heard > self._lags[name]
