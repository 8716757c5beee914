"""The learnt models of a store: which is in force, the exact one of a version, and keeping one.

Versions are never overwritten, so what a model decided can be decided again after any training.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from threading import Lock

from sqlalchemy import bindparam, select

from agents.learning.bandit import Bandit
from agents.learning.logistic import Logistic
from agents.learning.propensity import Learner
from agents.workspace import Workspace
from domain.context import Context
from domain.errors import StoreError
from domain.journey import Journey, LearningName
from store import tables as t
from store.database import Database
from store.instants import instant, micros
from store.statements import Statement
from store.work import Work

LOADED_MAX = 16
"""How many models stay in memory: a bandit takes 4 MB."""

_COLUMNS = (
    t.propensity_models.c.version,
    t.propensity_models.c.journey,
    t.propensity_models.c.learning,
    t.propensity_models.c.n,
    t.propensity_models.c.parent,
    t.propensity_models.c.trained_at,
    t.propensity_models.c.until_at,
    t.propensity_models.c.lessons,
    t.propensity_models.c.rewarded,
)
_NEWEST = Statement(
    select(*_COLUMNS)
    .where(
        t.propensity_models.c.journey == bindparam("journey"),
        t.propensity_models.c.learning == bindparam("learning"),
    )
    .order_by(t.propensity_models.c.n.desc())
    .limit(1)
)
_CONTENT = Statement(
    select(
        t.propensity_models.c.journey,
        t.propensity_models.c.learning,
        t.propensity_models.c.n,
        t.propensity_models.c.content,
    ).where(t.propensity_models.c.version == bindparam("version"))
)


@dataclass(frozen=True, slots=True)
class Version:
    """What is known of one version of a journey's model, apart from the model itself.

    It learnt from `lessons`, of which `rewarded` ended well, its parents' included, whose outcomes
    were known `until`.
    """

    version: str
    journey: str
    learning: LearningName
    n: int
    parent: str | None
    trained_at: datetime
    until: datetime
    lessons: int
    rewarded: int


class Models:
    """The models of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loaded: OrderedDict[str, Learner] = OrderedDict()
        self._one_at_a_time = Lock()

    def in_force(self, workspace: Workspace, context: Context) -> Context:
        """The context, and which model's turn it is for each journey that it may be about."""
        if not workspace.learns:
            return context
        about = {one.name for one in workspace.triggered.get(context.event.name, ())}
        about.update(one.journey for one in context.instances)
        about.update(context.entering)
        found = {}
        for name in sorted(about & workspace.learns):
            journey = workspace.journeys[name]
            newest = None if journey.model else self.newest(journey)
            version = journey.model or (newest.version if newest else None)
            if version is not None:
                found[name] = version
        return replace(context, models=found) if found else context

    def newest(self, journey: Journey) -> Version | None:
        """The journey's newest model of the kind that it learns by."""
        rows = self._database.rows(_NEWEST, journey=journey.name, learning=journey.learning)
        if not rows:
            return None
        version, name, learning, n, parent, trained_at, until, lessons, rewarded = rows[0]
        times = instant(int(trained_at)), instant(int(until))
        return Version(version, name, learning, n, parent, *times, lessons, rewarded)

    def of(self, version: str) -> Learner:
        """The exact model of a version, kept in memory; nobody may teach it."""
        with self._one_at_a_time:
            if version not in self._loaded:
                self._loaded[version] = self.copy(version)
                if len(self._loaded) > LOADED_MAX:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(version)
            return self._loaded[version]

    def copy(self, version: str) -> Learner:
        """A model of its own, to be taught."""
        rows = self._database.rows(_CONTENT, version=version)
        if not rows:
            raise StoreError(
                f"model `{version}` is not in this store",
                remedy="pin the journey to another `model`, or to none for the newest",
            )
        journey, learning, n, content = rows[0]
        if _version(journey, learning, n, bytes(content)) != version:
            raise StoreError(
                f"model `{version}` is not what it was when it was kept",
                place="table propensity_models",
                remedy="restore the store from a backup",
            )
        return untaught(learning, bytes(content))

    def keep(
        self,
        journey: Journey,
        model: Learner,
        parent: Version | None,
        *,
        at: datetime,
        until: datetime,
        lessons: int,
        rewarded: int,
    ) -> Version:
        """Write a new version: `lessons` and `rewarded` are those taken since its parent."""
        content, n = model.content(), parent.n + 1 if parent else 1
        version = Version(
            version=_version(journey.name, journey.learning, n, content),
            journey=journey.name,
            learning=journey.learning,
            n=n,
            parent=parent.version if parent else None,
            trained_at=at,
            until=until,
            lessons=lessons + (parent.lessons if parent else 0),
            rewarded=rewarded + (parent.rewarded if parent else 0),
        )
        work = Work(shown_as="table propensity_models")
        work.insert(
            t.propensity_models,
            version=version.version,
            journey=version.journey,
            learning=version.learning,
            n=version.n,
            parent=version.parent,
            trained_at=micros(at),
            until_at=micros(until),
            lessons=version.lessons,
            rewarded=version.rewarded,
            content=content,
        )
        self._database.commit([work])
        return version


def _version(journey: str, learning: LearningName, n: int, content: bytes) -> str:
    return sha256(f"{journey}:{learning}:{n}:".encode() + content).hexdigest()[:16]


def untaught(learning: LearningName, content: bytes | None = None) -> Learner:
    """A model of a kind, made again from its content, or new. `constant` is none."""
    return Bandit(content) if learning == "bandit" else Logistic(content)
