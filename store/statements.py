"""SQLAlchemy Core constructs, compiled once to text and handed to the driver.

Executing Core through its own connection costs 1.3 to 2.7 times the raw driver; compiling once
keeps one portable definition of every statement and pays for it once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from operator import itemgetter
from typing import Any, Literal

from sqlalchemy import BindParameter, Dialect, Insert, Table, bindparam, insert
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement
from sqlalchemy.sql.util import find_tables
from sqlalchemy.sql.visitors import iterate, replacement_traverse

DialectName = Literal["sqlite", "postgresql"]


@cache
def _dialect(name: DialectName) -> Dialect:
    # Imported where asked for: either is a good part of what `--help` may take.
    if name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.dialect(paramstyle="qmark")
    from sqlalchemy.dialects.postgresql import psycopg

    return psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]


class Statement:
    """One SQL statement with named parameters, some of which may be lists (for `IN`).

    List parameters are padded to a power of two with their last value, so that few texts are
    ever compiled and the driver's own statement cache keeps hitting.
    """

    def __init__(self, clause: ClauseElement) -> None:
        self._clause: Any = replacement_traverse(clause, {}, _written_out)
        self._lists = _lists(clause)
        self._texts: dict[tuple[Any, ...], _Compiled] = {}

    @cached_property
    def tables(self) -> frozenset[str]:
        """The names of all tables that it reads or changes."""
        found = find_tables(
            self._clause, check_columns=True, include_crud=True, include_selects=True
        )
        return frozenset(table.name for table in found if isinstance(table, Table))

    def on(self, dialect: DialectName, parameters: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        """The text and positional values for these parameters."""
        lists = [_padded(parameters[name]) for name in self._lists]
        shape = (dialect, *map(len, lists))
        compiled = self._texts.get(shape)
        if compiled is None:
            given = dict(zip(self._lists, lists, strict=True))
            compiled = self._texts[shape] = self._compile(dialect, given)
        if compiled.plain:  # one list and nothing else, as many are
            return compiled.text, lists[0]
        values = [*compiled.constants, *[parameters[name] for name in compiled.singles]]
        for items in lists:
            values += items
        return compiled.text, compiled.ordered(values)

    def _compile(self, dialect: DialectName, lists: Mapping[str, Sequence[Any]]) -> _Compiled:
        compiled = self._clause.compile(dialect=_dialect(dialect))
        assert isinstance(compiled, SQLCompiler)
        required = {name for name, bound in compiled.binds.items() if bound.required}
        state = compiled.construct_expanded_state({**dict.fromkeys(required), **lists})
        order = list(state.positiontup or ())
        singles = tuple(sorted(required - lists.keys()))
        names = [f"{name}_{n}" for name in self._lists for n in range(1, len(lists[name]) + 1)]
        others = state.parameters.keys() & set(order) - required - set(names)
        constants = {name: state.parameters[name] for name in sorted(others)}
        positions = {name: at for at, name in enumerate((*constants, *singles, *names))}
        plain = len(lists) == 1 and order == names
        ordered = _picking([positions[name] for name in order])
        return _Compiled(state.statement, tuple(constants.values()), singles, ordered, plain)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement's text, and how its values are put in order.

    `ordered` takes the constants that the dialect adds, the values of `singles` and those of all
    lists. `plain` says that the only parameters are those of one list, in their order.
    """

    text: str
    constants: tuple[Any, ...]
    singles: tuple[str, ...]
    ordered: Callable[[Sequence[Any]], Sequence[Any]]
    plain: bool


def _picking(positions: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    if len(positions) > 1:
        return itemgetter(*positions)
    return lambda values: [values[position] for position in positions]


class Insertion:
    """`INSERT` of whole rows into one table, columns in the table's own order.

    With `replacing`, a row whose primary key is there already is overwritten.
    """

    def __init__(self, table: Table, *, replacing: bool = False) -> None:
        self.columns = tuple(column.name for column in table.columns)
        self._keys = [column.name for column in table.primary_key] if replacing else []
        self._clause: Insert = insert(table)
        self._texts: dict[DialectName, str] = {}

    def on(self, dialect: DialectName) -> str:
        """The text; its parameters are the table's columns in order."""
        text = self._texts.get(dialect)
        if text is None:
            compiled = self._clause.compile(
                dialect=_dialect(dialect), column_keys=list(self.columns)
            )
            text = self._texts[dialect] = str(compiled) + self._replacement()
        return text

    def _replacement(self) -> str:
        if not self._keys:
            return ""
        others = [name for name in self.columns if name not in self._keys]
        settings = ", ".join(f"{name} = excluded.{name}" for name in others)
        return f" ON CONFLICT ({', '.join(self._keys)}) DO UPDATE SET {settings}"


def _lists(clause: ClauseElement) -> tuple[str, ...]:
    found = (part for part in iterate(clause) if isinstance(part, BindParameter))
    return tuple(sorted({str(part.key) for part in found if part.expanding and part.required}))


def _written_out(element: Any, **_: Any) -> Any:
    """A constant as part of the text: a partial index serves `state = 'open'`, not `state = ?`."""
    if isinstance(element, BindParameter) and not element.required:
        return bindparam(
            None,
            element.value,
            element.type,
            expanding=element.expanding,
            literal_execute=True,
        )
    return None


def _padded(values: Sequence[Any]) -> Sequence[Any]:
    if not values:
        return [None]  # matches nothing: `x IN (NULL)` is never true
    size = 1 << (len(values) - 1).bit_length()
    if size == len(values):
        return values
    return [*values, *[values[-1]] * (size - len(values))]
